"""The embedded data set: silhouettes of the twenty VOC categories, in VOC layout, reproducible from a seed.

Which categories meet in a picture is a fact: each picture takes the set of categories of one real VOC
image, so that Algorithm 1 counts here what it counts there. Training pictures take theirs from images on
VOC's train_aug list, validation pictures from its val list.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from segmix_core.data.label_table import LABEL_TABLE, read_label_table
from segmix_core.data.silhouettes.scene import Instance, Scene, draw_scene
from segmix_core.data.voc import VOC_CATEGORIES, open_voc, voc_palette
from segmix_core.errors import InputError
from segmix_core.files import file_digest
from segmix_core.rng import stream

__all__ = ["Instance", "Made", "Scene", "draw_scene", "ensure", "make", "make_single_objects"]

_REAL_LIST = {"train": "train_aug", "val": "val"}
_PALETTE = voc_palette().tobytes()


@dataclass(frozen=True)
class Made:
    """What `make` wrote."""

    images: int
    digest: str  # of the label maps and images on both lists


def make(
    out: Path,
    *,
    images: int,
    val: int,
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Generate the data set in VOC layout: `images` on list train, `val` on list val, both on trainval.

    JPEGImages, SegmentationClass, SegmentationObject, Annotations (with `truncated` and `occluded`),
    ImageSets/Segmentation, and SOURCE.json, which names the real image whose categories each picture has.
    The folder appears when it is whole.

    Raises:
        InputError: `out` is there already, or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(out, "is there already", "choose another --out, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise InputError(
            out.parent, f"cannot write here ({error.strerror})", "name another folder"
        ) from error
    try:
        _write_all(temporary, {"train": images, "val": val}, size, seed, progress)
        temporary.chmod(0o755)
        digests = [open_voc(temporary, split).digest() for split in ("train", "val")]
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Made(images + val, sha256("".join(digests).encode()).hexdigest()[:16])


def ensure(folder: Path, *, images: int, val: int, size: int, seed: int) -> Path:
    """The data set under `folder`, generated on first use, in a folder named after all that decides it."""
    path = folder / f"silhouettes-{images}+{val}-{size}px-seed{seed}-{_generator_digest()}"
    if not path.exists():
        try:
            make(path, images=images, val=val, size=size, seed=seed)
        except (InputError, OSError):
            if not path.exists():  # otherwise another process was first
                raise
    return path


@cache
def _generator_digest() -> str:
    """Eight digits that change with the drawing code or the label table."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), LABEL_TABLE]
    return sha256("".join(file_digest(path) for path in files).encode()).hexdigest()[:8]


def make_single_objects(count: int, *, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one object each, to learn to name them from.

    Returns:
        uint8 (count, size, size, 3), RGB, and int64 (count,), categories 1..20 in equal shares.
    """
    labels = 1 + np.arange(count) % (len(VOC_CATEGORIES) - 1)
    pictures = np.empty((count, size, size, 3), dtype=np.uint8)
    for index, category in enumerate(labels.tolist()):
        rng = stream(seed, "silhouettes", "single", index)
        pictures[index] = draw_scene((category,), size=size, rng=rng, alone=True).image
    order = stream(seed, "silhouettes", "single").permutation(count)
    return pictures[order], labels[order]


def _write_all(
    out: Path,
    counts: dict[str, int],
    size: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    for name in (
        "JPEGImages",
        "SegmentationClass",
        "SegmentationObject",
        "Annotations",
        "ImageSets/Segmentation",
    ):
        (out / name).mkdir(parents=True)
    source: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for split, count in counts.items():
        lists[split] = []
        for index, (real, categories) in enumerate(_category_sets(split, count, seed)):
            identifier = f"{split}_{index:06d}"
            scene = draw_scene(categories, size=size, rng=stream(seed, "silhouettes", split, index))
            _write_scene(out, identifier, scene)
            lists[split].append(identifier)
            source[identifier] = real
            if progress is not None:
                progress(len(source), sum(counts.values()))
    lists["trainval"] = lists["train"] + lists["val"]
    for split, identifiers in lists.items():
        text = "".join(f"{identifier}\n" for identifier in identifiers)
        (out / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text, encoding="utf-8")
    made = {"seed": seed, "size": size, "generator": _generator_digest(), "categories_of": source}
    (out / "SOURCE.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def _category_sets(split: str, count: int, seed: int) -> list[tuple[str, tuple[int, ...]]]:
    """Real VOC images and the categories they hold, in an order drawn from the seed; the list repeats."""
    table = read_label_table()
    presence = table.presence()
    rows = np.flatnonzero(table.on(_REAL_LIST[split]) & presence[:, 1:].any(1))
    rows = rows[stream(seed, "silhouettes", split).permutation(len(rows))]
    return [
        (table.ids[row], tuple((1 + np.flatnonzero(presence[row, 1:])).tolist()))
        for row in np.resize(rows, count).tolist()
    ]


def _write_scene(out: Path, identifier: str, scene: Scene) -> None:
    Image.fromarray(scene.image).save(out / "JPEGImages" / f"{identifier}.jpg", quality=92)
    for folder, values in (("SegmentationClass", scene.label), ("SegmentationObject", scene.instance)):
        drawn = Image.fromarray(values)
        drawn.putpalette(_PALETTE)
        drawn.save(out / folder / f"{identifier}.png", compress_level=4)
    (out / "Annotations" / f"{identifier}.xml").write_text(_annotation(identifier, scene), encoding="utf-8")


def _annotation(identifier: str, scene: Scene) -> str:
    """VOC's annotation XML of a scene."""
    root = ElementTree.Element("annotation")

    def add(parent: ElementTree.Element, **fields: object) -> None:
        for name, value in fields.items():
            ElementTree.SubElement(parent, name).text = str(value)

    add(root, folder="silhouettes", filename=f"{identifier}.jpg")
    height, width = scene.label.shape
    add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    add(root, segmented=1)
    for one in scene.instances:
        entry = ElementTree.SubElement(root, "object")
        add(entry, name=VOC_CATEGORIES[one.category], pose="Unspecified")
        add(entry, truncated=int(one.truncated), difficult=0, occluded=int(one.occluded))
        left, top, right, bottom = one.box
        add(ElementTree.SubElement(entry, "bndbox"), xmin=left, ymin=top, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
