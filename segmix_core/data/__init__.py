"""The data sets, by name."""

from collections.abc import Callable
from pathlib import Path

from segmix_core.data.coco import name_of_any_year, open_coco
from segmix_core.data.context import CONTEXT
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.saliency import open_duts, open_ecssd
from segmix_core.data.voc import open_voc
from segmix_core.errors import InputError
from segmix_core.experiments import Scale, nearest

VOC_LAYOUT = ("silhouettes", "voc2012", "silhouettes-outofcontext")
SALIENCY = ("duts", "ecssd", "silhouettes-saliency")
DATASETS = (*VOC_LAYOUT, "coco", *SALIENCY)
"""What can be opened with labels. The pictures of `context.open_context` have none."""

GENERATED = Path(__file__).resolve().parents[2] / "data" / "generated"


def check_dataset(name: str) -> None:
    """Raise InputError for a name that is none of `DATASETS`."""
    if name in CONTEXT:
        raise InputError(
            f"dataset {name}", "has no label maps", "look at it: segmix figure 4 --pictures ROOT"
        )
    if name not in DATASETS:
        raise nearest("dataset", name, DATASETS)


def open_dataset(
    name: str,
    root: Path,
    split: str,
    *,
    need_images: bool = True,
    pseudo: Path | None = None,
    mask_threshold: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SegmentationDataset:
    """Open a list of a data set by its name.

    Args:
        split: of `silhouettes-saliency`, `train` is its DUTS-TR and `test` its ECSSD.
        pseudo: folder of pseudo-categories, for the training images of DUT-S alone.
        mask_threshold: of DUT-S and ECSSD alone; see `saliency.read_mask`.
        progress: of MS-COCO, told how many label maps are there while they are made.

    Raises:
        InputError: an unknown name or list; a folder or file that is missing.
    """
    check_dataset(name)
    if mask_threshold is not None and name not in SALIENCY:
        raise InputError(f"dataset {name}", "has no masks for --mask-threshold", "leave the option out")
    if pseudo is not None and name not in ("duts", "silhouettes-saliency"):
        raise InputError(f"dataset {name}", "has categories of its own to pair by", "leave --pseudo out")
    if name == "coco":
        return open_coco(root, split, need_images=need_images, progress=progress)
    if name == "ecssd" or (name == "silhouettes-saliency" and split == "test"):
        if split != "test":
            raise nearest("list", split, ("test",))
        return open_ecssd(root, threshold=mask_threshold, name=name)
    if name in SALIENCY:
        return open_duts(root, split, pseudo=pseudo, threshold=mask_threshold, name=name)
    return open_voc(root, split, name=name, need_images=need_images)


def generated_root(scale: Scale) -> Path:
    """The folder of the silhouettes a scale asks for, generated on first use."""
    from segmix_core.data import silhouettes

    images, val, size = scale.silhouettes
    return silhouettes.ensure(GENERATED, images=images, val=val, size=size, seed=0)


def out_of_context_root(scale: Scale) -> Path:
    """The folder of generated scenes in unheard-of company, beside ordinary ones, generated on first use."""
    from segmix_core.data import silhouettes

    _, val, size = scale.silhouettes
    return silhouettes.ensure_out_of_context(GENERATED, images=val // 2, size=size, seed=0)


def saliency_root(scale: Scale) -> Path:
    """The folder of generated salient objects a scale asks for, generated on first use."""
    from segmix_core.data import silhouettes

    images, val, size = scale.silhouettes
    return silhouettes.ensure_saliency(GENERATED, images=images, val=val, size=size, seed=0)


def evaluation_crop(size: int, picture: int, root: Path | None) -> int:
    """Pixels, side of the crop of protocol `crop` on a folder: no padding is put round generated pictures.

    Args:
        size: of a scale's crop (`Scale.eval_crop`).
        picture: of a picture that the scale generates (`Scale.silhouettes`); 0 where it generates none.
        root: the data set; None: the one that the scale asks for, which is generated.
    """
    generated = root is None or GENERATED.resolve() in root.resolve().parents
    return min(size, picture or size) if generated else size


def check_disjoint(training: SegmentationDataset, evaluation: SegmentationDataset) -> None:
    """Raise InputError where an image is on both lists; an image of COCO is the same in 2014 and in 2017."""
    shared = sorted({*map(name_of_any_year, training.ids)} & {*map(name_of_any_year, evaluation.ids)})
    if shared:
        raise InputError(
            f"{training.root}",
            f"lists {training.split} and {evaluation.split} share {len(shared)} images, such as {shared[0]}",
            "take them off the training list, or measure on another list or none",
        )
