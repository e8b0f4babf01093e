"""What is read off a confusion matrix, and the matrices of single images that a run leaves behind.

A metric of any subset of images, and any resampling of them, is a sum over stored matrices: no network has
to run again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from segmix_core.errors import InputError
from segmix_core.files import replacing

_LARGEST = 4 << 30
"""Bytes of the matrices of one run, unpacked: 5,000 images of COCO take 0.13 GB for each output and stage."""


def iou(matrix_NN: np.ndarray) -> np.ndarray:
    """Intersection over union of each category: integers (..., N, N), label x prediction -> float64 (..., N).

    0..1; NaN where a category has no pixel in label or prediction: it counts in no mean.
    """
    hit = np.diagonal(matrix_NN, axis1=-2, axis2=-1)
    union = matrix_NN.sum(-1) + matrix_NN.sum(-2) - hit
    result: np.ndarray = np.divide(hit, union, out=np.full(hit.shape, np.nan), where=union > 0)
    return result


def miou(matrix_NN: np.ndarray, categories: Sequence[int] | None = None) -> np.ndarray:
    """Mean IoU, 0..1, over `categories` or all, without those that have no pixel: (..., N, N) -> (...).

    NaN where none has a pixel.
    """
    values = iou(matrix_NN) if categories is None else iou(matrix_NN)[..., list(categories)]
    counted = (~np.isnan(values)).sum(-1)
    result: np.ndarray = np.divide(
        np.nansum(values, -1), counted, out=np.full(counted.shape, np.nan), where=counted > 0
    )
    return result


def aacc(matrix_NN: np.ndarray) -> np.ndarray:
    """Share of pixels that are right, 0..1 (aAcc): (..., N, N) -> (...); NaN without a pixel."""
    total = matrix_NN.sum((-2, -1))
    right = np.diagonal(matrix_NN, axis1=-2, axis2=-1).sum(-1)
    result: np.ndarray = np.divide(right, total, out=np.full(total.shape, np.nan), where=total > 0)
    return result


def sparse(matrices_nNN: np.ndarray) -> csr_array:
    """Confusion matrices of single images, a row of N * N for each: (n, N, N) -> int64 (n, N * N).

    An image holds few of the categories: whole, COCO's would take 260 MB for each output of a network.
    """
    return csr_array(matrices_nNN.reshape(len(matrices_nNN), -1).astype(np.int64, copy=False))


@dataclass(frozen=True, kw_only=True)
class ImageConfusions:
    """The confusion matrices of every evaluation image of a run, and which subsets each image is in."""

    ids: tuple[str, ...]
    categories: tuple[str, ...]
    matrices: dict[str, csr_array]  # "stage1 dominant", ... -> int64 (n, N * N), as of `sparse`
    subsets: dict[str, np.ndarray] = field(default_factory=dict)  # name -> bool (n,), `segmix_core.subsets`

    def of(self, stage: int, output: str) -> csr_array:
        """The matrices of all images, int64 (n, N * N).

        Raises:
            KeyError: no such stage or output.
        """
        return self.matrices[f"stage{stage} {output}"]

    def total(self, stage: int, output: str, subset: str | None = None) -> np.ndarray:
        """The matrix of the images of a subset together, or of all: int64 (N, N).

        Raises:
            KeyError: no such stage, output or subset.
        """
        number = len(self.categories)
        matrices = self.of(stage, output)
        summed: np.ndarray = (matrices if subset is None else matrices[self.subsets[subset]]).sum(0)
        return summed.reshape(number, number)


def save_confusions(path: Path, confusions: ImageConfusions) -> None:
    """Write the matrices to an .npz file, in one step."""
    shape = len(confusions.ids), len(confusions.categories), len(confusions.categories)
    arrays = {
        f"matrix {name}": matrices.astype(np.int32).toarray().reshape(shape)
        for name, matrices in confusions.matrices.items()
    }
    arrays |= {f"subset {name}": held for name, held in confusions.subsets.items()}
    arrays |= {"ids": np.array(confusions.ids), "categories": np.array(confusions.categories)}
    with replacing(path) as temporary, temporary.open("wb") as opened:
        np.savez_compressed(opened, **arrays)


def load_confusions(path: Path) -> ImageConfusions:
    """Read what `save_confusions` wrote; nothing in the file is run.

    Raises:
        InputError: no such file, or not one of these.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > _LARGEST:
                raise ValueError("more than any run leaves")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            return _confusions_of(dict(archive))
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "restore it, or take its rows out of the results") from error
    except Exception as error:  # numpy and zipfile raise half a dozen kinds for a file that is cut or damaged
        raise InputError(path, "not a file of confusion matrices", "restore it") from error


def _confusions_of(arrays: dict[str, np.ndarray]) -> ImageConfusions:
    """What the arrays of a file say, or ValueError (KeyError, where there are no ids)."""
    ids, categories = arrays.pop("ids"), arrays.pop("categories")
    for names in (ids, categories):
        if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != len(names):
            raise ValueError("names that are no texts, or are there twice")
    matrices, subsets = {}, {}
    for name, array in arrays.items():
        kind, _, what = name.partition(" ")
        if kind == "matrix":
            if array.shape != (len(ids), len(categories), len(categories)) or array.dtype != np.int32:
                raise ValueError(f"{name} is no matrix of counts for each image")
            if array.size and array.min() < 0:
                raise ValueError(f"{name} counts less than nothing")
            matrices[what] = sparse(array)
        elif kind == "subset":
            if array.shape != ids.shape or array.dtype != bool:
                raise ValueError(f"{name} does not say of each image whether it is in")
            subsets[what] = array
    return ImageConfusions(
        ids=tuple(ids.tolist()), categories=tuple(categories.tolist()), matrices=matrices, subsets=subsets
    )
