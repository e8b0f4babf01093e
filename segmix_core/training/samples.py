"""The training batches, each a function of (seed, step) alone."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segmix_core.cooccurrence import clusters, dataset_presence, presence
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.saliency import SaliencyDataset
from segmix_core.data.transforms import augment, augment_one, draw_augmentation
from segmix_core.errors import InputError
from segmix_core.mixing import cluster_pairs
from segmix_core.records import Batch
from segmix_core.rng import stream

LEAST_SHARE = 0.005
"""Of the image: pseudo-categories on fewer pixels are not paired by (R18)."""


class TrainingBatches(Dataset[tuple[Tensor, Tensor, Tensor] | InputError]):
    """Batch number `step` of a run: uint8 images (B, H, W, 3), label maps (B, H, W), presence (B, N).

    An epoch visits every image once, in an order drawn for that epoch; a last part that does not fill a
    batch is left out. With `clustered`, a batch is the dominant images followed by their phantoms, twice
    B in all (categorical clustering, R14). Images travel as uint8 and are made float on the device.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        *,
        batch_size: int,
        crop: int,
        scale_range: tuple[float, float],
        seed: int,
        clustered: bool = False,
    ) -> None:
        if len(dataset) < batch_size:
            raise InputError(
                f"{dataset.root}, split {dataset.split}",
                f"{len(dataset)} images do not fill a batch of {batch_size}",
                "take a larger split or a scale with smaller batches",
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.crop = crop
        self.scale_range = scale_range
        self.seed = seed
        self.clusters = clusters(self.presence) if clustered else None
        if clustered and self.presence[:, 1:].any(0).sum() < 2:
            raise InputError(
                f"{dataset.root}, split {dataset.split}",
                "fewer than two categories to pair images of",
                "take a list with more of them, or a method without categorical clusters",
            )

    @cached_property
    def presence(self) -> np.ndarray:
        """Which categories, or pseudo-categories, each image of the data set holds: bool (n, N)."""
        salient = self._with_pseudo_categories
        if salient is None:
            return dataset_presence(self.dataset)
        maps = (salient.category(index) for index in range(len(salient)))
        return presence(maps, salient.num_pairing_categories, least_share=LEAST_SHARE)

    @property
    def _with_pseudo_categories(self) -> SaliencyDataset | None:
        dataset = self.dataset
        return dataset if isinstance(dataset, SaliencyDataset) and dataset.category_paths else None

    def indices(self, step: int) -> np.ndarray:
        """The images of batch `step`, as indices into the data set."""
        if self.clusters is not None:
            rng = stream(self.seed, "clusters", step)
            return np.concatenate(cluster_pairs(self.clusters, self.batch_size, rng=rng))
        steps_per_epoch = len(self.dataset) // self.batch_size
        epoch, position = divmod(step, steps_per_epoch)
        order = stream(self.seed, "order", epoch).permutation(len(self.dataset))
        return order[position * self.batch_size : (position + 1) * self.batch_size]

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor] | InputError:
        """Batch `step`; bad input comes back as a value, so that it survives a loading process whole."""
        images, labels, paired_by = [], [], []
        salient = self._with_pseudo_categories
        try:
            for slot, index in enumerate(self.indices(step)):
                image, label = self.dataset.pair(int(index))
                rng = stream(self.seed, "augment", step, slot)
                drawn = draw_augmentation(label.shape, self.crop, rng=rng, scale_range=self.scale_range)
                crop, cropped = augment(image, label, drawn, self.crop)
                images.append(crop)
                labels.append(cropped)
                if salient is not None:
                    paired_by.append(augment_one(salient.category(int(index)), drawn, self.crop))
        except InputError as error:
            return error
        if salient is None:
            held = presence(labels, len(self.dataset.categories))
        else:
            held = presence(paired_by, salient.num_pairing_categories, least_share=LEAST_SHARE)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)), torch.from_numpy(held)

    def run(self, start: int, stop: int, *, device: str, workers: int = 0) -> Iterator[Batch]:
        """The batches of steps start..stop-1 on `device`, images as float in 0..1.

        Raises:
            InputError: an image or label map on the way cannot be used.
        """
        loader = DataLoader(
            self,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=workers,
            pin_memory=device.startswith("cuda"),
            prefetch_factor=4 if workers else None,
        )
        for loaded in loader:
            if isinstance(loaded, InputError):
                raise loaded
            image_BHWC, label_BHW, presence_BN = (part.to(device, non_blocking=True) for part in loaded)
            yield Batch(image_BHWC.permute(0, 3, 1, 2).float().div_(255), label_BHW.long(), presence_BN)
