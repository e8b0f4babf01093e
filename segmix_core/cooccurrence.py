"""How often categories occur together: presence, Algorithm 1, and the clusters of section 3.1.1."""

from collections.abc import Callable, Iterable

import numpy as np

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import LabelError
from segmix_core.records import IGNORE_INDEX


def presence(
    label_maps: Iterable[np.ndarray],
    num_categories: int,
    *,
    ignore_index: int = IGNORE_INDEX,
    least_share: float = 0.0,
) -> np.ndarray:
    """Which categories each label map holds, in at least one pixel.

    Args:
        label_maps: integer arrays of any shape, 0..N-1 or `ignore_index`.
        least_share: of all pixels, 0..1, below which a category does not count (pseudo-categories, R18).

    Returns:
        bool (n, N); column 0 is background.

    Raises:
        LabelError: a label out of range, or a map that is not of integers; names its position.
    """
    rows = []
    for position, label_map in enumerate(label_maps):
        flat = np.asarray(label_map).ravel()
        if flat.dtype.kind not in "iu":
            raise LabelError(
                f"label map {position}", f"is of {flat.dtype}, and not of category numbers", "give integers"
            )
        # Label maps are made of runs: looking a value up only where one ends is several times faster.
        ends = np.flatnonzero(flat[1:] != flat[:-1])
        values = np.unique(np.append(flat[ends], flat[-1:]))
        values = values[values != ignore_index]
        if len(values) and not (values[0] >= 0 and values[-1] < num_categories):
            wrong = values[-1] if values[-1] >= num_categories else values[0]
            raise LabelError(
                f"label map {position}",
                f"label {wrong} is outside 0..{num_categories - 1}",
                f"only {ignore_index} may mark ignored pixels",
            )
        row = np.zeros(num_categories, dtype=bool)
        if least_share:
            values = values[[np.count_nonzero(flat == value) >= least_share * flat.size for value in values]]
        row[values] = True
        rows.append(row)
    return np.array(rows, dtype=bool).reshape(-1, num_categories)


def dataset_presence(
    dataset: SegmentationDataset, *, progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """`presence` over the label maps of a data set, one in memory at a time: bool (n, N)."""

    def maps() -> Iterable[np.ndarray]:
        for index in range(len(dataset)):
            yield dataset.label(index)
            if progress is not None:
                progress(index + 1, len(dataset))

    return presence(maps(), len(dataset.categories))


def cooccurrence_matrix(presence: np.ndarray) -> np.ndarray:
    """C_ss of Algorithm 1: in how many images two categories occur together.

    Background and ignored pixels count nowhere and the diagonal is zero (R6).

    Args:
        presence: bool (n, N), column 0 background.

    Returns:
        int64 (N, N), symmetric; row and column 0 all zero.
    """
    held = np.asarray(presence).astype(np.float64)  # BLAS multiplies floats; counts stay exact below 2**53
    held[:, 0] = 0
    matrix = (held.T @ held).astype(np.int64)
    np.fill_diagonal(matrix, 0)
    return matrix


def clusters(presence: np.ndarray) -> tuple[np.ndarray, ...]:
    """The images that hold each category (section 3.1.1): N int64 arrays, number 0 (background) empty."""
    held = np.asarray(presence)
    none = np.zeros(0, dtype=np.int64)
    return (none, *(np.flatnonzero(held[:, category]) for category in range(1, held.shape[1])))
