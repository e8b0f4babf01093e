"""MS-COCO's published layout: instances as JSON, painted into label maps of 80 categories and background.

Overlaps: crowd regions are painted first, as 255 (ignored), then objects from the largest area to the
smallest, so that a smaller object lies on a larger one and any object on a crowd. COCO's own semantic maps
do not say which object is in front.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from segmix_core.data.dataset import MAX_PIXELS, Checked, Listed, Problem, SegmentationDataset, read_image
from segmix_core.errors import InputError
from segmix_core.files import alone, file_digest, new_folder, replacing, write_text
from segmix_core.records import IGNORE_INDEX

MAPS = Path(__file__).resolve().parents[2] / "data" / "generated"
"""Where label maps are kept: they are made from the annotations on first use."""

_PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "trainval35k": (("train2017",), ("train2014", "valminusminival2014")),
    "minival": (("val2017",), ("minival2014",)),
}
"""Lists of the paper as lists of published files: the 2017 ones hold the same images as the 2014 ones."""

_FOLDERS = {"valminusminival2014": "val2014", "minival2014": "val2014"}
_FOLDERS_BEFORE = {"train2017": ("train2014", "val2014"), "val2017": ("val2014",)}
"""Where the images of 2017's lists lay in 2014, under names with the folder in front."""

_BEFORE = re.compile(r"^COCO_(train|val)2014_")

_RULE = 2  # counts up when `paint` paints otherwise: maps of before are not taken
_MANY = 2000  # images from which several processes pay
_LARGEST = 65_535  # pixels along a side: JPEG has no larger image
_FAR = 10.0**6  # pixels: no corner lies that far out, and a float holds it
_KEYS = ("images", "annotations", "categories")
_RESTORE = "restore the file as published"


@dataclass(frozen=True)
class CocoObject:
    """An annotation: one object, or a crowd."""

    number: int  # id of the annotation
    category: int  # 1..80, or 255 for a crowd
    area: float
    segmentation: Any


@dataclass(frozen=True)
class CocoImage:
    """An image of an annotation file, with what is painted on it."""

    source: str  # the annotation file
    number: int  # its id there
    file: str  # name of the image file
    folder: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]

    @property
    def identifier(self) -> str:
        """Its name in lists: the file's, without the suffix."""
        return Path(self.file).stem

    def __str__(self) -> str:
        return f"{self.source}, image {self.number}"


def name_of_any_year(identifier: str) -> str:
    """What 2014's and 2017's name of an image share; other names stay as they are."""
    return _BEFORE.sub("", identifier)


def open_coco(
    root: Path,
    split: str,
    *,
    need_images: bool = True,
    maps: Path = MAPS,
    progress: Callable[[int, int], None] | None = None,
) -> SegmentationDataset:
    """Open a list of MS-COCO: annotations/instances_<split>.json, images in images/<split> or <split>.

    `trainval35k` (118,287 images) and `minival` (5,000) are made of the annotations of 2017 (train2017,
    val2017) or else of those of 2014 (train2014 with valminusminival2014; minival2014); to the annotations
    of 2017 the images of either year will do. Label maps are made on first use under `maps`, in a folder
    named after the annotation files' digest, where a stopped process goes on; a list whose maps are all
    there is opened without reading the annotations again. An image without annotations is all background.

    Args:
        progress: told how many of the list's label maps are there, while they are made.

    Raises:
        InputError: a file is missing, is not such a file, or holds an annotation that cannot be painted;
            the message names file and annotation.
    """
    root = Path(root)
    sources = _sources(root, split)
    digest = hashlib.sha256(f"rule {_RULE}".encode())
    for path in sources:
        digest.update(file_digest(path).encode())
    folder = maps / f"coco-{digest.hexdigest()[:12]}-{split}"
    known = _known(folder)
    names, records = known or _read_all(sources)
    image_paths = _image_paths(root, split, records) if need_images else ()
    if known is None:  # painting takes long: the images come first
        _make_maps(folder, records, progress)
        _remember(folder, names, records)
    return SegmentationDataset(
        name="coco",
        root=root,
        split=split,
        categories=names,
        ids=tuple(record.identifier for record in records),
        image_paths=image_paths,
        label_paths=tuple(folder / f"{record.identifier}.png" for record in records),
    )


def halve(root: Path, split: str, out: Path) -> tuple[int, int]:
    """Make two lists of one, for a sample of COCO in a single file: Table 3 needs a list to be measured on.

    Of the images by id, the first, third, ... are `train2017` of `out`, and the others its `val2017`. Beside
    the two annotation files lie links to the folder of the images.

    Args:
        out: a folder, which is made.

    Returns:
        The images of each list.

    Raises:
        InputError: `out` is there already; a file is missing or broken; there are fewer than two images.
    """
    path, *more = _sources(Path(root), split)
    if more:
        raise InputError(path, f"is not all of list {split}", f"name one: {', '.join(_PARTS[split][-1])}")
    _, records = _read(path)
    if len(records) < 2:
        raise InputError(path, "names a single image", "name a list of two or more")
    images = _image_path(Path(root), records[0]).parent
    if not images.is_dir():
        raise InputError(images, "no such folder of images", "restore the images")
    content = json.loads(path.read_bytes())
    halves = {
        name: {record.number for record in records[first::2]}
        for name, first in (("train2017", 0), ("val2017", 1))
    }
    with new_folder(Path(out)) as made:
        for folder in ("annotations", "images"):
            (made / folder).mkdir()
        for name, kept in halves.items():
            half = content | {
                "images": [entry for entry in content["images"] if entry["id"] in kept],
                "annotations": [entry for entry in content["annotations"] if entry["image_id"] in kept],
            }
            write_text(_file(made, name), json.dumps(half))
            (made / "images" / name).symlink_to(images.resolve(), target_is_directory=True)
    return len(halves["train2017"]), len(halves["val2017"])


def _known(folder: Path) -> tuple[tuple[str, ...], list[CocoImage]] | None:
    """Categories and images of a folder whose label maps are all there; the images without their objects."""
    try:
        content = json.loads((folder / "contents.json").read_bytes())
        records = [CocoImage(**image | {"objects": ()}) for image in content["images"]]
        names = tuple(content["categories"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    here = {entry.name for entry in os.scandir(folder)}
    return (names, records) if all(f"{one.identifier}.png" in here for one in records) else None


def _remember(folder: Path, names: tuple[str, ...], records: Sequence[CocoImage]) -> None:
    images = [{**vars(one), "objects": None} for one in records]
    write_text(folder / "contents.json", json.dumps({"categories": names, "images": images}) + "\n")


def _read_all(sources: Sequence[Path]) -> tuple[tuple[str, ...], list[CocoImage]]:
    names: tuple[str, ...] | None = None
    records: list[CocoImage] = []
    for path in sources:
        categories, found = _read(path)
        if names not in (None, categories):
            raise InputError(path, "has other categories than its companion", "restore both as published")
        names = categories
        records += found
    assert names is not None
    _refuse_doubles(records)
    return names, records


def check_coco(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Read every annotation file of a COCO folder, unpack every segmentation and open every image.

    Objects without a pixel are counted in a note: published annotations have some, too small to be drawn.

    Raises:
        InputError: no such folder, or no annotation file in it. Everything else is a `Problem`.
    """
    paths = sorted((Path(root) / "annotations").glob("instances_*.json"))
    if not paths:
        raise InputError(root, "has no annotations/instances_*.json", "give the folder in COCO's layout")
    problems: dict[Problem, None] = {}
    seen: set[Path] = set(paths)
    looked: set[tuple[Path, int, int]] = set()
    records: list[CocoImage] = []
    lists = []
    for path in paths:
        try:
            found = _read(path)[1]
            lists.append(Listed(path.stem.removeprefix("instances_"), len(found)))
            records += found
        except InputError as error:
            problems.setdefault(Problem(error.where, error.what))
    without_pixels = 0
    for done, record in enumerate(records, start=1):
        image = _image_path(Path(root), record)
        try:
            without_pixels += sum(not mask.any() for _, mask in _masks(record))
        except InputError as error:
            problems.setdefault(Problem(error.where, error.what))
        seen.add(image)
        said = image, record.height, record.width
        if said not in looked:  # some stand on two lists
            looked.add(said)
            try:
                _look(record, image)
            except InputError as error:
                problems.setdefault(Problem(error.where, error.what))
        if progress is not None:
            progress(done, len(records))
    size = sum(path.stat().st_size for path in seen if path.is_file())
    objects = sum(len(record.objects) for record in records)
    notes = (f"{without_pixels} of {objects} annotations cover no pixel",) if without_pixels else ()
    return Checked(len(seen), size, tuple(problems), notes, tuple(lists))


def _look(record: CocoImage, path: Path) -> None:
    """Raise InputError where an image is missing, damaged or of another size than its record says."""
    height, width, _ = read_image(path).shape
    if (height, width) != (record.height, record.width):
        raise InputError(
            path,
            f"is of {width}x{height} pixels, and {record} says {record.width}x{record.height}",
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


def _image_paths(root: Path, split: str, records: Sequence[CocoImage]) -> tuple[Path, ...]:
    paths = tuple(_image_path(root, record) for record in records)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            missing[0],
            f"is on list {split} and does not exist ({len(missing)} of {len(paths)} images are missing)",
            "restore the images",
        )
    return paths


def _image_path(root: Path, record: CocoImage) -> Path:
    """Where an image lies; where it is missing, the place at which it is looked for first."""
    places = [Path(record.folder, record.file)]
    for before in _FOLDERS_BEFORE.get(record.folder, ()):
        places.append(Path(before, f"COCO_{before}_{record.file}"))
    paths = [parent / place for place in places for parent in (root / "images", root)]
    return next((path for path in paths if path.is_file()), paths[0])


def _refuse_doubles(records: Iterable[CocoImage]) -> None:
    seen: set[str] = set()
    for record in records:
        if record.identifier in seen:
            raise InputError(record, f"file {record.file} is named twice", _RESTORE)
        seen.add(record.identifier)


def _read(path: Path) -> tuple[tuple[str, ...], list[CocoImage]]:
    """Categories, background first, and the images of an annotation file, by id, each entry checked."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is no whole JSON ({error})", _RESTORE) from error
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "restore the file") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _KEYS):
        raise InputError(path, f"is no file of instances: it needs the lists {', '.join(_KEYS)}", _RESTORE)
    categories = _by_id(path, "category", content["categories"], {"name": _is_name})
    names = [categories[identifier]["name"] for identifier in sorted(categories)]
    ((often, times),) = Counter(["background", *names]).most_common(1)
    if times > 1:
        raise InputError(path, f"category {often} is there {times} times, background counted", _RESTORE)
    if not names:
        raise InputError(path, "names no category", _RESTORE)
    if len(names) >= IGNORE_INDEX:
        raise InputError(
            path,
            f"has {len(names)} categories: a label map of 8 bits has room for {IGNORE_INDEX - 1}",
            "leave some out",
        )
    number_of = {identifier: 1 + place for place, identifier in enumerate(sorted(categories))}
    images = _by_id(
        path, "image", content["images"], {"file_name": _is_file_name, "height": _is_side, "width": _is_side}
    )
    for identifier, entry in images.items():
        if entry["height"] * entry["width"] > MAX_PIXELS:
            raise InputError(f"{path}, image {identifier}", f"has more than {MAX_PIXELS} pixels", _RESTORE)
    annotations = _by_id(
        path,
        "annotation",
        content["annotations"],
        {
            "image_id": _is_whole,
            "category_id": _is_whole,
            "area": _is_area,
            "iscrowd": lambda value: _is_whole(value) and value in (0, 1),
            "segmentation": lambda value: isinstance(value, list | dict),
        },
    )
    objects: dict[int, list[CocoObject]] = {identifier: [] for identifier in images}
    for identifier, entry in annotations.items():
        where = f"{path}, annotation {identifier}"
        if entry["image_id"] not in images:
            raise InputError(where, f"names image {entry['image_id']}, which is not there", _RESTORE)
        if entry["category_id"] not in number_of:
            raise InputError(where, f"names category {entry['category_id']}, which is not there", _RESTORE)
        category = IGNORE_INDEX if entry["iscrowd"] else number_of[entry["category_id"]]
        one = CocoObject(identifier, category, float(entry["area"]), entry["segmentation"])
        objects[entry["image_id"]].append(one)
    part = path.stem.removeprefix("instances_")
    records = [
        CocoImage(
            source=str(path),
            number=identifier,
            file=entry["file_name"],
            folder=_FOLDERS.get(part, part),
            height=entry["height"],
            width=entry["width"],
            objects=tuple(objects[identifier]),
        )
        for identifier, entry in sorted(images.items())
    ]
    if not records:
        raise InputError(path, "names no image", _RESTORE)
    _refuse_doubles(records)
    return ("background", *names), records


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_side(value: Any) -> bool:
    return _is_whole(value) and 1 <= value <= _LARGEST


def _is_area(value: Any) -> bool:
    """A number of pixels, from 0 to the largest image's; no NaN, and nothing that a float cannot hold."""
    return (_is_whole(value) or isinstance(value, float)) and 0 <= value <= _LARGEST**2


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def _is_file_name(value: Any) -> bool:
    """A name within one folder: nothing that leads out of it, and nothing that no disk can store."""
    plain = _is_name(value) and not set(value) & {"/", "\\"} and value not in (".", "..")
    return plain and Path(value).stem != "" and len(value.encode()) <= 200


def _by_id(
    path: Path, kind: str, entries: list[Any], fields: dict[str, Callable[[Any], bool]]
) -> dict[int, dict[str, Any]]:
    """Entries by their id.

    Raises:
        InputError: an entry whose id is missing or no whole number, with a field that is missing or not as
            it has to be, or an id twice.
    """
    found: dict[int, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        identifier = entry.get("id") if isinstance(entry, dict) else None
        if not _is_whole(identifier):
            what = "has no id" if identifier is None else "its id is no whole number"
            raise InputError(f"{path}, {kind} number {place}", what, _RESTORE)
        where = f"{path}, {kind} {identifier}"
        if identifier in found:
            raise InputError(where, "its id is there twice", _RESTORE)
        for name, usable in fields.items():
            if not usable(entry.get(name)):
                raise InputError(where, f"has no usable '{name}'", _RESTORE)
        found[identifier] = entry
    return found


def _make_maps(
    folder: Path, records: Sequence[CocoImage], progress: Callable[[int, int], None] | None
) -> None:
    """Paint what is missing of a list; nothing stays of a list that cannot be painted whole."""
    with alone(folder):
        try:
            _paint_missing(folder, records, progress)
        except InputError:  # the mended file will have another digest, and so another folder
            shutil.rmtree(folder)
            raise


def _paint_missing(
    folder: Path, records: Sequence[CocoImage], progress: Callable[[int, int], None] | None
) -> None:
    here = {entry.name for entry in os.scandir(folder)}
    missing = [one for one in records if f"{one.identifier}.png" not in here]
    done = len(records) - len(missing)
    if len(missing) < _MANY:
        for record in missing:
            _write_map(record, folder)
            done += 1
            if progress is not None:
                progress(done, len(records))
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        try:
            for _ in pool.map(_write_map, missing, repeat(folder), chunksize=64):
                done += 1
                if progress is not None:
                    progress(done, len(records))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_map(record: CocoImage, folder: Path) -> None:
    with replacing(folder / f"{record.identifier}.png") as temporary:
        Image.fromarray(paint(record)).save(temporary, format="PNG")


def paint(record: CocoImage) -> np.ndarray:
    """The label map of an image: uint8 (H, W), 0..N-1, 255 in crowds. The module says what covers what.

    Raises:
        InputError: a segmentation that cannot be painted.
    """
    label = np.zeros((record.height, record.width), dtype=np.uint8)
    for one, mask in _masks(record):
        label[mask] = one.category
    return label


def _masks(record: CocoImage) -> Iterator[tuple[CocoObject, np.ndarray]]:
    """The objects of an image with their pixels, bool (H, W), in the order in which they are painted."""
    order = sorted(record.objects, key=lambda one: (one.category != IGNORE_INDEX, -one.area, one.number))
    for one in order:
        where = f"{record.source}, annotation {one.number}"
        yield one, _mask(one.segmentation, record.height, record.width, where)


def _mask(segmentation: Any, height: int, width: int, where: str) -> np.ndarray:
    """bool (H, W) of polygons or of run lengths."""
    if isinstance(segmentation, list):
        polygons = [_polygon(points, height, width, where) for points in segmentation]
        if not polygons:
            raise InputError(where, "has no polygon", _RESTORE)
        merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        return _inside(_runs(merged["counts"].decode()), height, width)
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise InputError(
            where,
            f"its run lengths are for {size}, its image is {height} x {width}",
            _RESTORE,
        )
    found = _runs(counts) if isinstance(counts, str) else counts
    runs: list[int] = found if isinstance(found, list) else []
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
        raise InputError(where, "its run lengths do not add up to its image", _RESTORE)
    return _inside(runs, height, width)


def _inside(runs: list[int], height: int, width: int) -> np.ndarray:
    """Runs of outside and inside take turns, down the columns."""
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(width, height).T


def _polygon(points: Any, height: int, width: int, where: str) -> list[float]:
    """One polygon, x and y in turn, checked: the library that fills it trusts what it gets."""
    numbers = isinstance(points, list) and all(
        type(value) in (int, float) and -_FAR <= value <= _FAR
        for value in points  # NaN is not
    )
    if not numbers or len(points) % 2 or len(points) < 6:
        raise InputError(where, "has a polygon that is not three or more pairs of numbers", _RESTORE)
    x, y = np.array(points[::2]), np.array(points[1::2])
    if x.max() < 0 or y.max() < 0 or x.min() > width or y.min() > height:
        raise InputError(where, "has a polygon outside of its image", _RESTORE)
    if max(abs(x).max() / width, abs(y).max() / height) > 2:
        raise InputError(where, "has a polygon that reaches far beyond its image", _RESTORE)
    return [float(value) for value in points]


def _runs(text: str) -> list[int]:
    """Run lengths from COCO's compressed form: differences to the run before last, five bits a character.

    The last character of each number lacks the 32, and its 16 is the sign. Empty where the text ends within
    a number, holds another character, or a number of more than 60 bits.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 55:
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
