"""PASCAL VOC's `Annotations`, one XML file an image: its objects, and whether something stands before one."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from segmix_core.errors import InputError

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class VocObject:
    """One `<object>`. A flag whose element is missing is False: VOC's files of 2007 have no `occluded`."""

    category: int  # 1..N-1
    occluded: bool
    truncated: bool
    difficult: bool
    box: Box  # xmin, ymin, xmax, ymax in pixels from 1; a few of VOC's are fractions


@dataclass(frozen=True)
class Annotation:
    """The objects of an image, in the order of the file; at least one."""

    objects: tuple[VocObject, ...]


class _DoctypeError(Exception):
    """The file declares a document type, which is where entities come from."""


class _Tree(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Stop before anything in the declaration is read."""
        raise _DoctypeError


def read_annotation(path: Path, categories: Sequence[str]) -> Annotation:
    """The objects of an annotation file.

    Args:
        categories: names of the data set, [0] is "background" and names no object.

    Raises:
        InputError: no such file, XML that is broken or declares a document type (entities are never
            expanded), no object, an unknown category, a flag that is not 0 or 1, a box that ends before it
            begins.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=_Tree()))
    except FileNotFoundError as error:
        raise InputError(
            path, "no such annotation", "restore the file or take its id off the list"
        ) from error
    except _DoctypeError:
        raise InputError(path, "declares a document type", "remove the DOCTYPE from the XML") from None
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(path, f"not readable as XML ({error})", "restore the file") from error
    found = root.findall("object") if root.tag == "annotation" else []
    if not found:
        raise InputError(path, "names no object", "restore the file as published")
    return Annotation(
        tuple(
            _object(entry, f"{path}, object {number}", categories)
            for number, entry in enumerate(found, start=1)
        )
    )


def _object(entry: ElementTree.Element, where: str, categories: Sequence[str]) -> VocObject:
    name = entry.findtext("name", "").strip()
    known = categories[1:]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
        raise InputError(where, f"unknown category '{name}'", hint)
    return VocObject(
        category=1 + known.index(name),
        occluded=_flag(entry, "occluded", where),
        truncated=_flag(entry, "truncated", where),
        difficult=_flag(entry, "difficult", where),
        box=_box(entry, where),
    )


def _flag(entry: ElementTree.Element, name: str, where: str) -> bool:
    text = entry.findtext(name, "0").strip()
    if text not in ("0", "1"):
        raise InputError(where, f"{name} is '{text}'", "write 0 or 1")
    return text == "1"


def _box(entry: ElementTree.Element, where: str) -> Box:
    texts = [entry.findtext(f"bndbox/{side}", "") for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        left, top, right, bottom = (float(text) for text in texts)
    except ValueError:
        left = top = right = bottom = math.nan
    # A comparison with NaN is false, so that a number which is none is refused as well.
    if not (-math.inf < left <= right < math.inf and -math.inf < top <= bottom < math.inf):
        raise InputError(where, f"its box is {texts}", "write xmin, ymin, xmax and ymax in pixels")
    return left, top, right, bottom
