"""The archive for PASCAL's server: what is in it, what is refused, and what a reader of it must not trust."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_voc import refused, write_list

from segmix_core.data.dataset import Problem, read_image
from segmix_core.data.voc import open_images, voc_palette
from segmix_core.errors import InputError, WorkError
from segmix_core.evaluation.submission import check_submission, write_submission

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
SIZES = {"2008_000006": (11, 17), "2008_000011": (16, 9), "2012_004331": (8, 8)}  # height, width
IDS, SHAPES = tuple(SIZES), tuple(SIZES.values())


def predict(image: np.ndarray) -> np.ndarray:
    """Labels 0..20 that depend on image and place."""
    height, width = image.shape[:2]
    place = np.arange(height * width).reshape(height, width)
    return (place + int(image[0, 0].sum())) % 21


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """The test half of VOC 2012 as published: images and a list, no label maps."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    (root / "JPEGImages").mkdir(parents=True)
    for seed, (identifier, size) in enumerate(SIZES.items()):
        noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "JPEGImages" / f"{identifier}.jpg")
    write_list(root, "test", *reversed(IDS))
    return root


def written(
    root: Path, out: Path, predict: Callable[[np.ndarray], np.ndarray] = predict, **named: str
) -> Path:
    ids, paths = zip(*open_images(root, "test"), strict=True)
    return write_submission(predict, ids, paths, out, **named)


def entries(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        return {entry.name: opened.extractfile(entry).read() for entry in opened}


def pack(out: Path, contents: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    """An archive of the given files, and of entries without content."""
    with tarfile.open(out, "w:gz") as opened:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
        for entry in more:
            opened.addfile(entry)
    return out


def png(label: np.ndarray, mode: str = "P", palette: np.ndarray | None = None) -> bytes:
    drawn, content = Image.fromarray(label), io.BytesIO()
    if mode == "P":
        drawn.putpalette((voc_palette() if palette is None else palette).tobytes())
    drawn.save(content, format="PNG")
    return content.getvalue()


# What is written


def test_the_archive_holds_each_prediction_in_its_place(voc: Path, tmp_path: Path) -> None:
    out = written(voc, tmp_path / "new" / "a.tgz")
    assert out == tmp_path / "new" / "a.tgz"
    found = entries(out)
    assert list(found) == [f"{FOLDER}/{identifier}.png" for identifier in sorted(IDS)]
    for identifier, content in zip(sorted(IDS), found.values(), strict=True):
        with Image.open(io.BytesIO(content)) as drawn:
            assert (drawn.format, drawn.mode) == ("PNG", "P")
            assert drawn.getpalette() == voc_palette().ravel().tolist()
            image = read_image(voc / "JPEGImages" / f"{identifier}.jpg")
            np.testing.assert_array_equal(np.asarray(drawn), predict(image))
    assert check_submission(out, IDS, SHAPES) == ()
    assert [path.name for path in out.parent.iterdir()] == ["a.tgz"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_the_same_predictions_give_the_same_bytes(
    voc: Path, tmp_path: Path, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(voc, tmp_path / "a.tgz").read_bytes()
    write_list(voc, "test", *IDS)  # another order
    monkeypatch.setattr("time.time", lambda: 1e9)
    again = written(voc, tmp_path / "b.tar.gz", lambda image: predict(image).astype(dtype))
    assert again.read_bytes() == first
    with tarfile.open(again) as opened:
        for entry in opened:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, 0, "", "")
            assert (entry.mode, entry.isreg()) == (0o644, True)


def test_competition_and_split_name_the_folder(voc: Path, tmp_path: Path) -> None:
    out = written(voc, tmp_path / "a.tgz", competition="comp5", split="val")
    assert {str(Path(name).parent) for name in entries(out)} == {"results/VOC2012/Segmentation/comp5_val_cls"}
    assert check_submission(out, IDS, SHAPES, competition="comp5", split="val") == ()
    for asked in ({"competition": "comp6", "split": "val"}, {"competition": "comp5", "split": "test"}):
        assert len(check_submission(out, IDS, SHAPES, **asked)) == 6  # three not asked for, three missing
    refused(lambda: written(voc, out, competition="comp7"), "competition", "comp7", "comp")


def test_progress_and_what_predict_is_given(voc: Path, tmp_path: Path) -> None:
    told, given = [], []
    ids, paths = zip(*open_images(voc, "test"), strict=True)

    def look(image: np.ndarray) -> np.ndarray:
        given.append((image.shape, image.dtype))
        return predict(image)

    write_submission(look, ids, paths, tmp_path / "a.tgz", progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert given == [((*SIZES[identifier], 3), np.uint8) for identifier in sorted(IDS)]


def test_an_id_that_holds_dots(voc: Path, tmp_path: Path) -> None:
    write_submission(predict, ["a.b"], [voc / "JPEGImages" / f"{IDS[0]}.jpg"], tmp_path / "a.tgz")
    assert list(entries(tmp_path / "a.tgz")) == [f"{FOLDER}/a.b.png"]


# What is refused when it is written


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda label: label.T, r"shape \(17, 11\).*shape \(11, 17\)"),
        (lambda label: label[:-1], r"shape \(10, 17\)"),
        (lambda label: label[None], r"shape \(1, 11, 17\)"),
        (lambda label: label / 1.0, "float64"),
        (lambda label: label > 3, "bool"),
        (lambda label: label + 1, r"label 21, outside 0\.\.20"),
        (lambda label: label - 1, r"label -1, outside 0\.\.20"),
        (lambda label: np.where(label == 3, 255, label).astype(np.uint8), r"label 255, outside 0\.\.20"),
        (lambda label: label + 256, "outside"),
    ],
)
def test_a_prediction_that_the_server_would_not_take(
    voc: Path, tmp_path: Path, wrong: Callable[[np.ndarray], np.ndarray], what: str
) -> None:
    out = tmp_path / "out" / "a.tgz"
    written(voc, out)
    before = out.read_bytes()
    first = lambda image: (wrong if image.shape[:2] == SHAPES[0] else np.asarray)(predict(image))  # noqa: E731
    refused(lambda: written(voc, out, first), f"{IDS[0]}.jpg", what, "predict")
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["a.tgz"]


def test_nothing_is_left_where_predicting_or_the_disk_fails(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()

    def fail(image: np.ndarray) -> np.ndarray:
        raise WorkError("out of memory")

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(WorkError, match="out of memory"):
        written(voc, tmp_path / "out" / "a.tgz", fail)
    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(WorkError, match="No space left"):
        written(voc, tmp_path / "out" / "a.tgz")
    assert list((tmp_path / "out").iterdir()) == []


def test_lists_and_names_that_cannot_be_handed_in(voc: Path, tmp_path: Path) -> None:
    path = voc / "JPEGImages" / f"{IDS[0]}.jpg"
    out = tmp_path / "out" / "a.tgz"
    refused(lambda: write_submission(predict, [], [], out), "list test", "no image", "at least one")
    refused(lambda: write_submission(predict, ["a", "a"], [path] * 2, out), "list test", "a twice", "remove")
    refused(
        lambda: write_submission(predict, ["a"], [path], tmp_path / "a.zip"), "a.zip", "takes .tgz", "name"
    )
    with pytest.raises(ValueError, match="shorter"):
        write_submission(predict, ["a", "b"], [path], out)
    path.write_bytes(path.read_bytes()[:200])
    refused(lambda: write_submission(predict, ["a"], [path], out), path.name, "cut short", "restore")
    assert not out.exists()


# What reading it back finds


@pytest.fixture
def good(voc: Path, tmp_path: Path) -> dict[str, bytes]:
    return entries(written(voc, tmp_path / "good.tgz"))


def problems(tmp_path: Path, contents: dict[str, bytes], *more: tarfile.TarInfo) -> list[tuple[str, str]]:
    """File name and fault of each problem of an archive of these files."""
    found = check_submission(pack(tmp_path / "a.tgz", contents, *more), IDS, SHAPES)
    assert all(isinstance(problem, Problem) for problem in found)
    return [(Path(problem.path).name, problem.problem) for problem in found]


def test_an_archive_packed_by_tar_is_good(good: dict[str, bytes], tmp_path: Path) -> None:
    folders = [tarfile.TarInfo(name) for name in ("results", "results/VOC2012", FOLDER)]
    for folder in folders:
        folder.type = tarfile.DIRTYPE
    assert problems(tmp_path, good, *folders) == []


LABEL = np.zeros(SHAPES[0], dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (png(LABEL.T), "is 11x17 pixels for an image of 17x11"),
        (png(LABEL + np.uint8(21)), "has label 21, outside 0..20"),
        (png(LABEL + np.uint8(255)), "has label 255, outside 0..20"),
        (png(LABEL, "L"), "is a PNG of mode L, not with a palette"),
        (png(np.stack([LABEL] * 3, 2), "RGB"), "is a PNG of mode RGB, not with a palette"),
        (png(LABEL + np.uint8(2), palette=voc_palette()[::-1].copy()), "has other colours than VOC's"),
        (png(LABEL)[:-30], "is no whole PNG"),
        (png(LABEL)[:40], "is no whole PNG"),
        (b"", "is no whole PNG"),
        (b"<!DOCTYPE html>", "is no whole PNG"),
    ],
)
def test_a_label_map_that_the_server_would_not_take(
    good: dict[str, bytes], tmp_path: Path, content: bytes, what: str
) -> None:
    assert problems(tmp_path, good | {f"{FOLDER}/{IDS[0]}.png": content}) == [(f"{IDS[0]}.png", what)]


def test_a_jpeg_under_the_name_of_a_png(good: dict[str, bytes], tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(LABEL).save(content, format="JPEG")
    changed = good | {f"{FOLDER}/{IDS[1]}.png": content.getvalue()}
    assert problems(tmp_path, changed) == [(f"{IDS[1]}.png", "is no whole PNG")]


def test_files_that_are_missing_further_or_there_twice(good: dict[str, bytes], tmp_path: Path) -> None:
    less = {name: content for name, content in good.items() if IDS[1] not in name}
    assert problems(tmp_path, less) == [(f"{IDS[1]}.png", "is missing")]
    more = good | {"../../evil.png": b"x", f"/{FOLDER}/{IDS[0]}.png": b"x", f"{FOLDER}/2008_000007.png": b"x"}
    assert problems(tmp_path, more) == [
        ("evil.png", "is not asked for"),
        (f"{IDS[0]}.png", "is not asked for"),
        ("2008_000007.png", "is not asked for"),
    ]
    assert problems(tmp_path, good, tarfile.TarInfo(next(iter(good)))) == [
        (f"{IDS[0]}.png", "is there twice")
    ]
    assert not (tmp_path.parent / "evil.png").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_not_followed(good: dict[str, bytes], tmp_path: Path, kind: bytes) -> None:
    name = f"{FOLDER}/{IDS[2]}.png"
    less = {other: content for other, content in good.items() if other != name}
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, f"{FOLDER}/{IDS[0]}.png"
    assert problems(tmp_path, less, entry) == [(f"{IDS[2]}.png", "is no plain file")]
    folder = tarfile.TarInfo("elsewhere")
    folder.type = tarfile.DIRTYPE
    assert problems(tmp_path, good, folder) == [("elsewhere", "is not asked for")]


def test_a_bomb_is_not_unpacked(good: dict[str, bytes], tmp_path: Path) -> None:
    (found,) = problems(tmp_path, good | {"zeros": bytes(1 << 20)})
    assert found[0] == "a.tgz"
    assert "unpacks to more than" in found[1]
    for side, what in ((5000, "is 5000x5000 pixels for an image of 17x11"), (60000, "is no whole PNG")):
        claims = bytearray(png(LABEL))
        claims[16:24] = side.to_bytes(4, "big") * 2
        claims[29:33] = zlib.crc32(claims[12:29]).to_bytes(4, "big")
        changed = good | {f"{FOLDER}/{IDS[0]}.png": bytes(claims)}
        assert problems(tmp_path, changed) == [(f"{IDS[0]}.png", what)]
    name = f"{FOLDER}/{IDS[0]}.png"
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as opened:
        for other, content in good.items():
            entry = tarfile.TarInfo(other)
            if other == name:  # sparse: a terabyte, none of it there
                entry.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 40)}
                content = b""
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    (found,) = check_submission(tmp_path / "a.tgz", IDS, SHAPES)
    assert found == Problem(name, "is no plain file")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.7, 0.98])
def test_a_truncated_archive(voc: Path, tmp_path: Path, kept: float) -> None:
    out = written(voc, tmp_path / "a.tgz")
    out.write_bytes(out.read_bytes()[: int(kept * out.stat().st_size)])
    found = [problem.problem for problem in check_submission(out, IDS, SHAPES)]
    assert found[0] == "the archive is cut short or damaged"
    assert found[1:] == ["is missing"] * 3


def test_a_tar_cut_short_within_its_gzip(voc: Path, tmp_path: Path) -> None:
    content = gzip.decompress(written(voc, tmp_path / "a.tgz").read_bytes())
    (tmp_path / "a.tgz").write_bytes(gzip.compress(content[:700]))
    assert check_submission(tmp_path / "a.tgz", IDS, SHAPES) != ()


def test_a_damaged_archive_is_told_never_a_crash(voc: Path, tmp_path: Path) -> None:
    out = written(voc, tmp_path / "a.tgz")
    content, rng = gzip.decompress(out.read_bytes()), np.random.default_rng(5)
    told = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), size=3):
            damaged[place] ^= int(rng.integers(1, 256))
        out.write_bytes(gzip.compress(damaged, 1))
        told += bool(check_submission(out, IDS, SHAPES))
    assert told > 50


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such archive"):
        check_submission(tmp_path / "a.tgz", IDS, SHAPES)


@pytest.mark.parametrize(
    "headers",
    [{"GNU.sparse.map": "a,b"}, {"GNU.sparse.size": "x", "GNU.sparse.realsize": "y"}, {"size": "-5120"}],
    ids=["sparse map", "sparse size", "negative size"],
)
def test_hostile_headers_are_a_problem_never_a_crash(tmp_path: Path, headers: dict[str, str]) -> None:
    out = tmp_path / "results.tgz"
    with tarfile.open(out, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("results/VOC2012/Segmentation/comp6_test_cls/a.png")
        entry.pax_headers = headers
        archive.addfile(entry, io.BytesIO())
    problems = check_submission(out, ["a"], [(4, 4)])
    assert problems


def test_what_does_not_read_back_is_not_handed_in(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmix_core.evaluation.submission._png", lambda label: b"no picture")
    with pytest.raises(WorkError, match=r"a\.tgz: was not written whole"):
        written(voc, tmp_path / "new" / "a.tgz")
    assert list((tmp_path / "new").iterdir()) == []
