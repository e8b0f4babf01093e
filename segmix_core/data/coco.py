"""MS-COCO's published layout: instances as JSON, painted into label maps of 80 categories and background.

Overlaps: crowd regions are painted first, as 255 (ignored), then objects from the largest area to the
smallest, so that a smaller object lies on a larger one and any object on a crowd. COCO's own semantic maps
do not say which object is in front.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco_mask

from segmix_core.data.dataset import SegmentationDataset
from segmix_core.errors import InputError
from segmix_core.files import alone, file_digest, replacing, write_text
from segmix_core.records import IGNORE_INDEX

if TYPE_CHECKING:
    from segmix_core.data.check import Checked

MAPS = Path(__file__).resolve().parents[2] / "data" / "generated"
"""Where label maps are kept: they are made from the annotations on first use."""

_PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "trainval35k": (("train2017",), ("train2014", "valminusminival2014")),
    "minival": (("val2017",), ("minival2014",)),
}
"""Lists of the paper as lists of published files: the 2017 ones hold the same images as the 2014 ones."""

_FOLDERS = {"valminusminival2014": "val2014", "minival2014": "val2014"}
_MANY = 2000  # images from which several processes pay
_KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class _Object:
    number: int  # the annotation's id
    category: int  # 1..80, or 255 for a crowd
    area: float
    segmentation: Any


@dataclass(frozen=True)
class _Record:
    """An image of an annotation file, with what is painted on it."""

    source: str  # the annotation file
    number: int
    file: str
    folder: str
    height: int
    width: int
    objects: tuple[_Object, ...]

    @property
    def identifier(self) -> str:
        return Path(self.file).stem

    def __str__(self) -> str:
        return f"{self.source}, image {self.number}"


def open_coco(
    root: Path,
    split: str,
    *,
    need_images: bool = True,
    maps: Path = MAPS,
    progress: Callable[[int, int], None] | None = None,
) -> SegmentationDataset:
    """Open a list of MS-COCO: annotations/instances_<split>.json, images in images/<split> or <split>.

    `trainval35k` and `minival` are made of the files of 2017 (train2017, val2017) or else of those of 2014
    (train2014 and instances_valminusminival2014.json; instances_minival2014.json). Label maps are made on
    first use under `maps`, in a folder named after the annotation file's digest; a stopped process is gone
    on from. An image without annotations is all background. The annotation file is read once, and only the
    segmentations are kept in memory while maps are made.

    Raises:
        InputError: a file is missing, is not such a file, or holds an annotation that cannot be painted;
            the message names file and annotation.
    """
    root = Path(root)
    sources = _sources(root, split)
    digest = hashlib.sha256("".join(file_digest(path) for path in sources).encode()).hexdigest()[:12]
    folder = maps / f"coco-{digest}-{split}"
    names: tuple[str, ...] | None = None
    records: list[_Record] = []
    for path in sources:
        categories, found = _read(path)
        if names not in (None, categories):
            raise InputError(path, "has other categories than its companion", "restore both as published")
        names = categories
        records += found
    assert names is not None
    _refuse_doubles(records)
    image_paths = tuple(_image_path(root, record) for record in records) if need_images else ()
    for path in image_paths:
        if not path.is_file():
            raise InputError(path, f"is on list {split} and does not exist", "restore it")
    _make_maps(folder, records, progress)
    return SegmentationDataset(
        name="coco",
        root=root,
        split=split,
        categories=names,
        ids=tuple(record.identifier for record in records),
        image_paths=image_paths,
        label_paths=tuple(folder / f"{record.identifier}.png" for record in records),
    )


def check_coco(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Read every annotation file of a COCO folder, paint every image and open it.

    Raises:
        InputError: no such folder, or no annotation file in it. Everything else is a `Problem`.
    """
    from segmix_core.data.check import Checked, Problem  # it opens data sets, this one among them

    paths = sorted((Path(root) / "annotations").glob("instances_*.json"))
    if not paths:
        raise InputError(root, "has no annotations/instances_*.json", "give the folder in COCO's layout")
    problems: dict[Problem, None] = {}
    seen: set[Path] = set(paths)
    records = []
    for path in paths:
        try:
            records += _read(path)[1]
        except InputError as error:
            problems.setdefault(Problem(error.where, error.what))
    for done, record in enumerate(records, start=1):
        image = _image_path(Path(root), record)
        seen.add(image)
        for look in (
            lambda record=record: paint(record),
            lambda record=record, image=image: _look(record, image),
        ):
            try:
                look()
            except InputError as error:
                problems.setdefault(Problem(error.where, error.what))
        if progress is not None:
            progress(done, len(records))
    size = sum(path.stat().st_size for path in seen if path.is_file())
    return Checked(len(seen), size, tuple(problems))


def _look(record: _Record, path: Path) -> None:
    """Raise InputError where an image is missing, damaged or of another size than its record says."""
    try:
        with Image.open(path) as opened:
            size = opened.size
            opened.load()
    except FileNotFoundError as error:
        raise InputError(path, "no such image", "restore the file") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InputError(path, "the image is cut short or damaged", "restore the file") from error
    if size != (record.width, record.height):
        raise InputError(
            path,
            f"is of {size[0]}x{size[1]} pixels, and {record} says {record.width}x{record.height}",
            "restore both as published",
        )


def _sources(root: Path, split: str) -> list[Path]:
    if not root.is_dir():
        raise InputError(root, "no such folder", "give --root the folder that holds annotations")
    wanted = [[_file(root, part) for part in parts] for parts in _PARTS.get(split, ((split,),))]
    for paths in wanted:
        if all(path.is_file() for path in paths):
            return paths
    here = sorted(
        path.stem.removeprefix("instances_") for path in (root / "annotations").glob("instances_*.json")
    )
    asked = " or ".join(" with ".join(path.name for path in paths) for paths in wanted)
    raise InputError(
        root / "annotations",
        f"list {split} needs {asked}",
        f"put it there; lists here: {', '.join(here) or 'none'}",
    )


def _file(root: Path, part: str) -> Path:
    return root / "annotations" / f"instances_{part}.json"


def _image_path(root: Path, record: _Record) -> Path:
    first = root / "images" / record.folder / record.file
    return first if first.is_file() else root / record.folder / record.file


def _refuse_doubles(records: Iterable[_Record]) -> None:
    seen: set[str] = set()
    for record in records:
        if record.identifier in seen:
            raise InputError(record, f"file {record.file} is named twice", "restore the file as published")
        seen.add(record.identifier)


def _read(path: Path) -> tuple[tuple[str, ...], list[_Record]]:
    """Categories, background first, and the images of an annotation file, by id, each entry checked."""
    restore = "restore the file as published"
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(path, f"is no whole JSON ({error})", restore) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _KEYS):
        raise InputError(path, f"is no file of instances: it needs the lists {', '.join(_KEYS)}", restore)
    categories = _by_id(path, "category", content["categories"], {"name": str})
    number_of = {identifier: 1 + place for place, identifier in enumerate(sorted(categories))}
    images = _by_id(path, "image", content["images"], {"file_name": str, "height": int, "width": int})
    annotations = _by_id(
        path,
        "annotation",
        content["annotations"],
        {"image_id": int, "category_id": int, "segmentation": (list, dict)},
    )
    objects: dict[int, list[_Object]] = {identifier: [] for identifier in images}
    for identifier, entry in annotations.items():
        where = f"{path}, annotation {identifier}"
        if entry["image_id"] not in images:
            raise InputError(where, f"names image {entry['image_id']}, which is not there", restore)
        if entry["category_id"] not in number_of:
            raise InputError(where, f"names category {entry['category_id']}, which is not there", restore)
        area = entry.get("area", 0)
        if not isinstance(area, int | float) or not math.isfinite(area):
            raise InputError(where, f"has an area of {area!r}", restore)
        crowd = bool(entry.get("iscrowd", 0))
        category = IGNORE_INDEX if crowd else number_of[entry["category_id"]]
        objects[entry["image_id"]].append(_Object(identifier, category, float(area), entry["segmentation"]))
    part = path.stem.removeprefix("instances_")
    records = []
    for identifier in sorted(images):
        entry = images[identifier]
        if Path(entry["file_name"]).name != entry["file_name"] or min(entry["height"], entry["width"]) < 1:
            raise InputError(f"{path}, image {identifier}", "has a bad file name or size", restore)
        records.append(
            _Record(
                source=str(path),
                number=identifier,
                file=entry["file_name"],
                folder=_FOLDERS.get(part, part),
                height=entry["height"],
                width=entry["width"],
                objects=tuple(objects[identifier]),
            )
        )
    if not records:
        raise InputError(path, "names no image", restore)
    _refuse_doubles(records)
    names = tuple(categories[identifier]["name"] for identifier in sorted(categories))
    return ("background", *names), records


def _by_id(path: Path, kind: str, entries: list[Any], fields: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Entries by their id.

    Raises:
        InputError: an entry without id or field, or an id twice.
    """
    found: dict[int, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        identifier = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(identifier, int):
            raise InputError(f"{path}, {kind} number {place}", "has no id", "restore the file as published")
        where = f"{path}, {kind} {identifier}"
        if identifier in found:
            raise InputError(where, "its id is there twice", "restore the file as published")
        for name, expected in fields.items():
            if not isinstance(entry.get(name), expected):
                raise InputError(where, f"has no usable '{name}'", "restore the file as published")
        found[identifier] = entry
    return found


def _make_maps(folder: Path, records: Sequence[_Record], progress: Callable[[int, int], None] | None) -> None:
    marker = folder / "complete.txt"
    if marker.is_file():
        return
    with alone(folder):
        missing = [one for one in records if not (folder / f"{one.identifier}.png").is_file()]
        done = len(records) - len(missing)
        if len(missing) < _MANY:
            written: Iterable[None] = map(_write_map, missing, repeat(folder))
        else:
            pool = ProcessPoolExecutor(mp_context=get_context("spawn"))
            written = pool.map(_write_map, missing, repeat(folder), chunksize=64)
        for _ in written:
            done += 1
            if progress is not None:
                progress(done, len(records))
        write_text(marker, f"{len(records)} label maps\n")


def _write_map(record: _Record, folder: Path) -> None:
    with replacing(folder / f"{record.identifier}.png") as temporary:
        Image.fromarray(paint(record)).save(temporary, format="PNG")


def paint(record: _Record) -> np.ndarray:
    """The label map of an image: uint8 (H, W), 0..N-1, 255 in crowds. The module says what covers what.

    Raises:
        InputError: a segmentation that cannot be painted.
    """
    label = np.zeros((record.height, record.width), dtype=np.uint8)
    order = sorted(record.objects, key=lambda one: (one.category != IGNORE_INDEX, -one.area, one.number))
    for one in order:
        where = f"{record.source}, annotation {one.number}"
        label[_mask(one.segmentation, record.height, record.width, where)] = one.category
    return label


def _mask(segmentation: Any, height: int, width: int, where: str) -> np.ndarray:
    """bool (H, W) of polygons or of run lengths."""
    if isinstance(segmentation, list):
        polygons = [_polygon(points, height, width, where) for points in segmentation]
        if not polygons:
            raise InputError(where, "has no polygon", "restore the file as published")
        merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        return _inside(_runs(merged["counts"].decode()), height, width)
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise InputError(
            where,
            f"its run lengths are for {size}, its image is {height} x {width}",
            "restore the file as published",
        )
    found = _runs(counts) if isinstance(counts, str) else counts
    runs: list[int] = found if isinstance(found, list) else []
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
        raise InputError(where, "its run lengths do not add up to its image", "restore the file as published")
    return _inside(runs, height, width)


def _inside(runs: list[int], height: int, width: int) -> np.ndarray:
    """Runs of outside and inside take turns, down the columns."""
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(width, height).T


def _polygon(points: Any, height: int, width: int, where: str) -> list[float]:
    """One polygon, x and y in turn, checked: the library that fills it trusts what it gets."""
    restore = "restore the file as published"
    numbers = isinstance(points, list) and all(
        type(value) in (int, float) and math.isfinite(value) for value in points
    )
    if not numbers or len(points) % 2 or len(points) < 6:
        raise InputError(where, "has a polygon that is not three or more pairs of numbers", restore)
    x, y = np.array(points[::2]), np.array(points[1::2])
    if x.max() < 0 or y.max() < 0 or x.min() > width or y.min() > height:
        raise InputError(where, "has a polygon outside of its image", restore)
    if max(abs(x).max() / width, abs(y).max() / height) > 2:
        raise InputError(where, "has a polygon that reaches far beyond its image", restore)
    return [float(value) for value in points]


def _runs(text: str) -> list[int]:
    """Run lengths from COCO's compressed form: differences to the run before last, five bits a character.

    The last character of each number lacks the 32, and its 16 is the sign. Empty where the text ends within
    a number or holds another character.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            return []
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs if shift == 0 else []
