"""A generated folder in VOC layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from segmix_core.data.label_table import LABEL_TABLE
from segmix_core.data.silhouettes.scene import Scene
from segmix_core.data.voc import VOC_CATEGORIES, open_voc, voc_palette
from segmix_core.errors import InputError
from segmix_core.files import code_digest, file_digest

_PALETTE = voc_palette().tobytes()


@dataclass(frozen=True)
class Made:
    """What was written."""

    images: int
    digest: str  # of the label maps and images on all lists


def ensured(folder: Path, name: str, make: Callable[[Path], Made]) -> Path:
    """The generated folder `name` under `folder`, made on first use; its name tells all that decides it."""
    path = folder / f"{name}-{generator_digest()}"
    if not path.exists():
        try:
            make(path)
        except (InputError, OSError):
            if not path.exists():  # otherwise another process was first
                raise
    return path


def digest_of(root: Path, splits: Sequence[str]) -> str:
    """Sixteen digits of the images and label maps on these lists."""
    digests = [open_voc(root, split).digest() for split in splits]
    return sha256("".join(digests).encode()).hexdigest()[:16]


def make_folders(out: Path) -> None:
    """The folders of VOC's layout."""
    folders = (
        "JPEGImages",
        "SegmentationClass",
        "SegmentationObject",
        "Annotations",
        "ImageSets/Segmentation",
    )
    for name in folders:
        (out / name).mkdir(parents=True)


def write_lists(out: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Write each list of ids under ImageSets/Segmentation."""
    for split, identifiers in lists.items():
        text = "".join(f"{identifier}\n" for identifier in identifiers)
        (out / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text, encoding="utf-8")


def write_source(out: Path, **made: object) -> None:
    """Write SOURCE.json: how the folder was made."""
    made |= {"generator": generator_digest()}
    (out / "SOURCE.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


@cache
def generator_digest() -> str:
    """Eight digits that change with what is drawn from: code, as `files.code_digest` sees it, or label table."""
    here = Path(__file__).resolve().parent
    drawing = [*sorted(here.glob("*.py")), here.parents[1] / "rng.py"]
    digests = [*map(code_digest, drawing), file_digest(LABEL_TABLE)]
    return sha256("".join(digests).encode()).hexdigest()[:8]


def write_scene(out: Path, identifier: str, scene: Scene) -> None:
    """Write a scene's image, its two maps and its annotation."""
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
