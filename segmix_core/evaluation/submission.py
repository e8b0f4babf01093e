"""The archive that PASCAL's evaluation server takes: predictions on images whose labels it alone has.

Layout: the development kit of VOC 2012, sections 5.2 and 5.3. comp5 is for networks trained on VOC's own
data alone, comp6 for any other: SBD's label maps and weights learned elsewhere make it comp6.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image

from segmix_core.data.dataset import Problem, read_image
from segmix_core.data.voc import VOC_CATEGORIES, voc_palette
from segmix_core.errors import InputError, WorkError
from segmix_core.experiments import nearest
from segmix_core.files import replacing

Competition = Literal["comp5", "comp6"]

_HIGHEST = len(VOC_CATEGORIES) - 1
_PALETTE = voc_palette().tobytes()
_BESIDES_PIXELS = 16_384  # bytes of an archived PNG: its palette, what else it says, tar's headers


def write_submission(
    predict: Callable[[np.ndarray], np.ndarray],
    ids: Sequence[str],
    image_paths: Sequence[Path],
    out: Path,
    *,
    competition: Competition = "comp6",
    split: str = "test",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Predict every image and write results/VOC2012/Segmentation/COMPETITION_SPLIT_cls/ID.png to a .tgz.

    The same predictions give the same bytes. The archive is read back (`check_submission`) and
    appears when it is whole.

    Args:
        predict: uint8 (H, W, 3), RGB -> integers (H, W), 0..20: the server knows no void.

    Returns:
        `out`.

    Raises:
        WorkError: what was written does not read back as what the server takes; nothing is left then.
        InputError: no image, an id twice, an image that cannot be read, or a prediction of another size
            than its image or with other labels; or `out` cannot be written or is not named .tgz or .tar.gz.
    """
    if not out.name.endswith((".tgz", ".tar.gz")):
        raise InputError(out, "the server takes .tgz or .tar.gz", "name the archive so")
    pairs = sorted(zip(ids, image_paths, strict=True))
    if not pairs:
        raise InputError(f"list {split}", "names no image", "name at least one image")
    for (one, _), (other, _) in pairwise(pairs):
        if one == other:
            raise InputError(f"list {split}", f"names image {one} twice", "remove one of the lines")
    folder = _folder(competition, split)
    shapes = []
    with replacing(out) as temporary:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for done, (identifier, path) in enumerate(pairs, start=1):
                image = read_image(path)
                shapes.append(image.shape[:2])
                content = _png(_checked(predict(image), image, path))
                entry = tarfile.TarInfo(f"{folder}/{identifier}.png")  # of no time, and of no owner
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
                if progress is not None:
                    progress(done, len(pairs))
        names = [identifier for identifier, _ in pairs]
        problems = check_submission(temporary, names, shapes, competition=competition, split=split)
        if problems:
            raise WorkError(f"{out}: was not written whole: {problems[0].path} {problems[0].problem}")
    return out


def check_submission(
    archive: Path,
    ids: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    competition: Competition = "comp6",
    split: str = "test",
) -> tuple[Problem, ...]:
    """Read an archive back, in memory: every id once, in its place, as the server takes it, and nothing else.

    Args:
        sizes: (height, width) of the image of each id.

    Returns:
        What is wrong with it, the archive itself or file by file; nothing where it can be handed in.

    Raises:
        InputError: no such archive.
    """
    if not archive.is_file():
        raise InputError(archive, "no such archive", "write it with 'segmix submit'")
    folder = _folder(competition, split)
    expected = {f"{folder}/{identifier}.png": size for identifier, size in zip(ids, sizes, strict=True)}
    problems: list[Problem] = []
    seen: set[str] = set()
    limit = sum((height + 1) * (width + 1) + _BESIDES_PIXELS for height, width in sizes) + _BESIDES_PIXELS
    try:
        with gzip.open(archive) as packed:
            content = packed.read(limit + 1)
        if len(content) > limit:
            return (
                Problem(str(archive), f"unpacks to more than {limit} bytes, which these images cannot fill"),
            )
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as opened:
            for entry in opened:
                if entry.isdir() and f"{folder}/".startswith(f"{entry.name}/"):
                    continue
                what = _entry_problem(opened, entry, expected.get(entry.name), entry.name in seen)
                seen.add(entry.name)
                if what is not None:
                    problems.append(Problem(entry.name, what))
    except Exception:  # gzip and tarfile raise a dozen kinds for what is cut, damaged or hostile
        problems.append(Problem(str(archive), "the archive is cut short or damaged"))
    problems += [Problem(name, "is missing") for name in expected if name not in seen]
    return tuple(problems)


def _folder(competition: str, split: str) -> str:
    if competition not in get_args(Competition):
        raise nearest("competition", competition, get_args(Competition))
    return f"results/VOC2012/Segmentation/{competition}_{split}_cls"


def _checked(label: np.ndarray, image: np.ndarray, path: Path) -> np.ndarray:
    """The prediction for an image as uint8, held to its size and to the categories."""
    if label.shape != image.shape[:2] or not np.issubdtype(label.dtype, np.integer):
        raise InputError(
            path,
            f"is predicted as {label.dtype} of shape {label.shape}, and its label map must be integers of "
            f"shape {image.shape[:2]}",
            "predict at the size of the image",
        )
    wrong = label[(label < 0) | (label > _HIGHEST)]
    if wrong.size:
        raise InputError(
            path, f"is predicted with label {wrong[0]}, outside 0..{_HIGHEST}", "predict categories alone"
        )
    return label.astype(np.uint8)


def _png(label: np.ndarray) -> bytes:
    drawn = Image.fromarray(label)
    drawn.putpalette(_PALETTE)
    content = io.BytesIO()
    drawn.save(content, format="PNG")
    return content.getvalue()


def _entry_problem(
    opened: tarfile.TarFile, entry: tarfile.TarInfo, size: tuple[int, int] | None, again: bool
) -> str | None:
    """What is wrong with an entry of the archive whose image has `size`; None where nothing is."""
    if size is None:
        return "is not asked for"
    if again:
        return "is there twice"
    stored = opened.extractfile(entry) if entry.isreg() and not entry.issparse() else None
    if stored is None:
        return "is no plain file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            drawn = Image.open(io.BytesIO(stored.read()), formats=["PNG"])
        if (drawn.height, drawn.width) != size:  # before a pixel is unpacked
            return f"is {drawn.width}x{drawn.height} pixels for an image of {size[1]}x{size[0]}"
        if drawn.mode != "P":
            return f"is a PNG of mode {drawn.mode}, not with a palette"
        label, shown = np.asarray(drawn), np.asarray(drawn.convert("RGB"))
    except Exception:  # Pillow raises a dozen kinds for a file that is cut or damaged
        return "is no whole PNG"
    if label.max(initial=0) > _HIGHEST:
        return f"has label {label.max()}, outside 0..{_HIGHEST}"
    if (shown != voc_palette()[label]).any():
        return "has other colours than VOC's"
    return None
