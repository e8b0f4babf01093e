"""Lists of images by what they show: complex scenes (Table 4), company (Table 5), rare company (Fig. 5).

What an image holds is read off its label map: a category counts from its first pixel on. Objects and their
occlusion come from VOC's `Annotations`; where a data set has none, `SegmentationObject` still tells the
number of objects. What a data set cannot tell is left out, and `missing` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from segmix_core.cooccurrence import cooccurrence_matrix
from segmix_core.data.annotations import read_annotation
from segmix_core.data.dataset import SegmentationDataset, read_instances
from segmix_core.data.label_table import read_label_table
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments.paper import COMPANIONS, THRESHOLDS
from segmix_core.records import IGNORE_INDEX

OCCLUSION = ("occlusion/any", "occlusion/all")
OBJECTS = {f"objects/{number}": number for number in (1, 2, 3, 4)}
UNIQUE = {f"unique/{number}": number for number in (2, 3, 4)}
COMPANY = {f"with-person/{thing}": ("person", thing) for thing in COMPANIONS} | {
    f"alone/{thing}": (thing,) for thing in COMPANIONS
}
"""The whole set of categories of an image of Table 5."""

RARE = ("rare", "rare-any", "rare-or-single")
"""The three readings of Fig. 5 (R20)."""

NAMES = (
    *OCCLUSION,
    *OBJECTS,
    *UNIQUE,
    *COMPANY,
    *(f"{reading}/{threshold}" for reading in RARE for threshold in THRESHOLDS),
)
"""Every subset, in the order of the paper."""


@dataclass(frozen=True)
class Subset:
    """A named part of an evaluation list."""

    name: str
    ids: tuple[str, ...]  # in the order of the list
    what: str  # in words


_Found = Iterator[tuple[str, np.ndarray, str]]  # name, bool (n,), what


def build_subsets(
    dataset: SegmentationDataset, presence: np.ndarray, cooccurrence: np.ndarray
) -> dict[str, Subset]:
    """The subsets that a data set can tell, by name, in the order of `NAMES`; one may hold no image.

    Args:
        presence: bool (n, N) of `dataset`.
        cooccurrence: C_ss of the training set, int (N, N).

    Returns:
        Those of `NAMES` that `missing` does not name.

    Raises:
        InputError: an annotation or instance map is missing or broken.
    """
    held = presence[:, 1:]
    found = chain(
        _of_objects(dataset),
        _of_categories(dataset.categories, held),
        _of_rare_company(held, cooccurrence[1:, 1:]),
    )
    return _named(dataset.ids, found)


def voc_subsets() -> dict[str, Subset]:
    """The subsets of VOC's val that the committed label table tells, with C_ss of train_aug.

    Raises:
        InputError: the table is damaged.
    """
    table = read_label_table()
    ids = [identifier for identifier, here in zip(table.ids, table.on("val"), strict=True) if here]
    held = table.presence("val")[:, 1:]
    pairs = cooccurrence_matrix(table.presence("train_aug"))[1:, 1:]
    return _named(ids, chain(_of_categories(VOC_CATEGORIES, held), _of_rare_company(held, pairs)))


def missing(dataset: SegmentationDataset) -> dict[str, str]:
    """The subsets that a data set cannot tell, and why."""
    absent: dict[str, str] = {}
    if not _has(dataset, "Annotations"):
        absent |= dict.fromkeys(OCCLUSION, "no folder Annotations, whose files mark occluded objects")
        if not _has(dataset, "SegmentationObject"):
            absent |= dict.fromkeys(
                OBJECTS, "no folder Annotations or SegmentationObject to count objects in"
            )
    for name, category in _unknown_company(dataset.categories).items():
        absent[name] = f"{dataset.name} names no category '{category}', as VOC and Table 5 do"
    return absent


def counts(subsets: Mapping[str, Subset]) -> dict[str, int]:
    """How many images each subset has."""
    return {name: len(subset.ids) for name, subset in subsets.items()}


def describe_subsets(
    subsets: Mapping[str, Subset], printed: Mapping[str, int]
) -> list[tuple[str, str, int, int | None]]:
    """Each subset's name, what it is, its images, and the number that the paper prints, where it does."""
    return [(name, subset.what, len(subset.ids), printed.get(name)) for name, subset in subsets.items()]


def _named(ids: Sequence[str], found: _Found) -> dict[str, Subset]:
    known = np.array(ids)
    return {name: Subset(name, tuple(known[chosen].tolist()), what) for name, chosen, what in found}


def _has(dataset: SegmentationDataset, folder: str) -> bool:
    return (dataset.root / folder).is_dir()


def _of_objects(dataset: SegmentationDataset) -> _Found:
    """Table 4, objects: every object counts, whatever its category, `difficult` ones too."""
    if _has(dataset, "Annotations"):
        folder = dataset.root / "Annotations"
        flags = [
            [one.occluded for one in read_annotation(folder / f"{name}.xml", dataset.categories).objects]
            for name in dataset.ids
        ]
        # A lone object counts too: the paper's 1,128 images are more than hold two objects.
        yield OCCLUSION[0], np.array([any(image) for image in flags]), "at least one object marked occluded"
        yield OCCLUSION[1], np.array([all(image) for image in flags]), "every object marked occluded"
        yield from _by_number(np.array([len(image) for image in flags]), "in Annotations")
    elif _has(dataset, "SegmentationObject"):
        folder = dataset.root / "SegmentationObject"
        maps = (
            read_instances(folder / f"{name}.png", dataset.label(index).shape)
            for index, name in enumerate(dataset.ids)
        )
        number = np.array([len(np.setdiff1d(instance, (0, IGNORE_INDEX))) for instance in maps])
        yield from _by_number(number, "in SegmentationObject")


def _by_number(number: np.ndarray, source: str) -> _Found:
    for name, wanted in OBJECTS.items():
        yield name, number == wanted, f"{wanted} object{'s' if wanted > 1 else ''} {source}"


def _unknown_company(categories: Sequence[str]) -> dict[str, str]:
    """The subsets of Table 5 that need a category which is none of `categories`, and which."""
    lacking = {
        name: [category for category in company if category not in categories[1:]]
        for name, company in COMPANY.items()
    }
    return {name: unknown[0] for name, unknown in lacking.items() if unknown}


def _of_categories(categories: Sequence[str], held: np.ndarray) -> _Found:
    """Table 4, categories, and Table 5. `held` is presence without background."""
    number = held.sum(1)
    for name, wanted in UNIQUE.items():
        yield name, number == wanted, f"{wanted} categories"
    unknown = _unknown_company(categories)
    names = np.array(categories[1:])
    for name, company in COMPANY.items():
        if name not in unknown:
            exactly = (held == np.isin(names, company)).all(1)
            yield name, exactly, f"{' and '.join(company)}, nothing else"


def _of_rare_company(held: np.ndarray, pairs: np.ndarray) -> _Found:
    """Fig. 5: images by how often their pairs of categories meet in training (R20)."""
    number = held.sum(1)
    distinct = ~np.eye(len(pairs), dtype=bool)
    seldom = {threshold: (pairs < threshold) & distinct for threshold in THRESHOLDS}
    every = {
        threshold: (number >= 2) & ~_any_pair(held, ~rare & distinct) for threshold, rare in seldom.items()
    }
    for threshold in THRESHOLDS:
        what = f"together in fewer than {threshold} training images"
        yield f"rare/{threshold}", every[threshold], f"two categories or more, every pair {what}"
    for threshold, rare in seldom.items():
        what = f"some pair of categories together in fewer than {threshold} training images"
        yield f"rare-any/{threshold}", _any_pair(held, rare), what
    for threshold in THRESHOLDS:
        what = f"a single category, or as rare/{threshold}"
        yield f"rare-or-single/{threshold}", every[threshold] | (number == 1), what


def _any_pair(held: np.ndarray, such: np.ndarray) -> np.ndarray:
    """Which images hold two categories that `such`, bool (N, N), names as a pair: bool (n,)."""
    found: np.ndarray = ((held @ such) & held).any(1)
    return found
