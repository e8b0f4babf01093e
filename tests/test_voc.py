"""VOC folders as people have them, every bad input there is a word for, and images of every kind."""

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import boxes_map, write_voc
from PIL import Image

from segmix_core.data import check_disjoint, open_dataset
from segmix_core.data.check import check
from segmix_core.data.voc import VOC_CATEGORIES, open_images, open_voc, read_ids, voc_palette
from segmix_core.errors import InputError, LabelError

FIRST = "train_0000"


def write_list(root: Path, split: str, *lines: str, folder: str = "Segmentation") -> Path:
    path = root / "ImageSets" / folder / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_label(path: Path, label: np.ndarray, mode: str = "P") -> None:
    image = Image.fromarray(label)
    if mode == "P":
        image.putpalette(voc_palette().tobytes())
    image.save(path)


def refused(call: Callable[[], object], where: str, what: str, todo: str) -> InputError:
    """The InputError that `call` raises, in one line: the place, what is wrong, and one thing to do."""
    with pytest.raises(InputError) as caught:
        call()
    error = caught.value
    assert where in error.where, error
    assert re.search(what, error.what), error
    assert todo in error.todo, error
    assert str(error) == f"{error.where}: {error.what}; {error.todo}"
    assert "\n" not in str(error)
    return error


# What opens


def test_a_folder_opens_with_its_images_and_label_maps(tiny_voc: Path) -> None:
    dataset = open_voc(tiny_voc, "train")
    assert (len(dataset), dataset.name, dataset.split) == (24, "voc2012", "train")
    assert dataset.categories == VOC_CATEGORIES
    assert dataset.ids[:2] == (FIRST, "train_0001")
    rng = np.random.default_rng(7)
    for index in range(3):
        image, label = dataset.pair(index)
        np.testing.assert_array_equal(label, boxes_map(rng))
        assert image.shape == (64, 64, 3)
        assert image.dtype == label.dtype == np.uint8
        np.testing.assert_array_equal(
            image, np.asarray(Image.open(tiny_voc / "JPEGImages" / f"train_000{index}.jpg"))
        )
    assert set(dataset.ids).isdisjoint(open_voc(tiny_voc, "val").ids)


def test_the_order_is_that_of_the_list(tiny_voc: Path) -> None:
    write_list(tiny_voc, "some", "val_0003", "", "  train_0005  ", FIRST)
    assert open_voc(tiny_voc, "some").ids == ("val_0003", "train_0005", FIRST)


def test_a_list_saved_with_a_byte_order_mark(tiny_voc: Path) -> None:
    write_list(tiny_voc, "some").write_text("val_0003\r\nval_0001\r\n", encoding="utf-8-sig")
    assert open_voc(tiny_voc, "some").ids == ("val_0003", "val_0001")


@pytest.mark.parametrize("nesting", ["VOC2012", "VOCdevkit/VOC2012"])
def test_the_download_opens_at_every_level(tmp_path: Path, nesting: str) -> None:
    inner = write_voc(tmp_path / nesting, {"val": [np.array([[0, 7, 255]], dtype=np.uint8)]})
    for root in {inner, inner.parent, tmp_path}:
        dataset = open_voc(root, "val")
        assert dataset.root == inner
        assert dataset.label(0).tolist() == [[0, 7, 255]]


@pytest.mark.parametrize("written", ["train_aug", "trainaug"])
@pytest.mark.parametrize("asked", ["train_aug", "trainaug"])
@pytest.mark.parametrize("folder", ["Segmentation", "SegmentationAug"])
def test_train_aug_has_two_spellings(tiny_voc: Path, written: str, asked: str, folder: str) -> None:
    write_list(tiny_voc, written, FIRST, folder=folder)
    assert open_voc(tiny_voc, asked).ids == (FIRST,)


def test_train_aug_takes_its_label_maps_from_their_own_folder(tiny_voc: Path) -> None:
    write_list(tiny_voc, "train_aug", FIRST)
    without = open_voc(tiny_voc, "train_aug")
    assert without.label_paths[0].parent.name == "SegmentationClass"
    (tiny_voc / "SegmentationClassAug").mkdir()
    write_label(tiny_voc / "SegmentationClassAug" / f"{FIRST}.png", np.full((64, 64), 9, dtype=np.uint8))
    assert (open_voc(tiny_voc, "train_aug").label(0) == 9).all()
    assert open_voc(tiny_voc, "train").label_paths[0].parent.name == "SegmentationClass"


def test_every_list_uses_the_augmented_folder_where_it_is_the_only_one(tiny_voc: Path) -> None:
    (tiny_voc / "SegmentationClass").rename(tiny_voc / "SegmentationClassAug")
    assert open_voc(tiny_voc, "val").label_paths[0].parent.name == "SegmentationClassAug"


def test_a_list_of_pairs_of_paths(tiny_voc: Path) -> None:
    (tiny_voc / "Other").mkdir()
    write_label(tiny_voc / "Other" / "a.png", np.full((64, 64), 4, dtype=np.uint8))
    write_list(tiny_voc, "pairs", f"/JPEGImages/{FIRST}.jpg /Other/a.png")
    dataset = open_voc(tiny_voc, "pairs")
    assert dataset.ids == (FIRST,)
    assert (dataset.label(0) == 4).all()
    assert dataset.image(0).shape == (64, 64, 3)


@pytest.mark.parametrize("named", ["a.b", "a.b.jpg", "JPEGImages/a.b.JPG", "/VOC2012/JPEGImages/a.b.png"])
def test_an_id_keeps_its_dots_and_loses_the_suffix_of_an_image(tiny_voc: Path, named: str) -> None:
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (tiny_voc / folder / f"{FIRST}.{suffix}").rename(tiny_voc / folder / f"a.b.{suffix}")
    write_list(tiny_voc, "some", named)
    assert open_voc(tiny_voc, "some").ids == read_ids(tiny_voc, "some") == ("a.b",)
    assert open_images(tiny_voc, "some") == [("a.b", tiny_voc / "JPEGImages" / "a.b.jpg")]
    assert open_voc(tiny_voc, "some").label(0).shape == (64, 64)


def test_a_list_without_label_maps_opens_for_prediction(tiny_voc: Path) -> None:
    write_list(tiny_voc, "test", "val_0003", FIRST)
    for identifier in ("val_0003", FIRST):
        (tiny_voc / "SegmentationClass" / f"{identifier}.png").unlink()
    images = open_images(tiny_voc.parent, "test")
    assert images == [
        (identifier, tiny_voc / "JPEGImages" / f"{identifier}.jpg") for identifier in ("val_0003", FIRST)
    ]
    refused(lambda: open_voc(tiny_voc, "test"), "SegmentationClass/val_0003.png", "does not exist", "restore")
    (tiny_voc / "JPEGImages" / f"{FIRST}.jpg").unlink()
    refused(lambda: open_images(tiny_voc, "test"), f"{FIRST}.jpg", "on list test and does not", "take it off")


def test_trainval_takes_vocs_own_label_maps(tiny_voc: Path) -> None:
    shutil.copytree(tiny_voc / "SegmentationClass", tiny_voc / "SegmentationClassAug")
    write_label(tiny_voc / "SegmentationClassAug" / f"{FIRST}.png", np.full((64, 64), 9, dtype=np.uint8))
    write_list(tiny_voc, "trainval", FIRST, "val_0001")
    dataset = open_voc(tiny_voc, "trainval")
    assert dataset.ids == (FIRST, "val_0001")
    assert {path.parent.name for path in dataset.label_paths} == {"SegmentationClass"}
    assert (dataset.label(0) == 255).any()


@pytest.mark.parametrize("mode", ["P", "L"])
def test_palette_and_grey_label_maps_read_alike(tiny_voc: Path, mode: str) -> None:
    label = boxes_map(np.random.default_rng(1))
    write_label(tiny_voc / "SegmentationClass" / f"{FIRST}.png", label, mode)
    with Image.open(tiny_voc / "SegmentationClass" / f"{FIRST}.png") as written:
        assert written.mode == mode
    np.testing.assert_array_equal(open_voc(tiny_voc, "train").label(0), label)


def test_label_maps_alone_open_where_images_are_not_needed(tiny_voc: Path) -> None:
    for path in (tiny_voc / "JPEGImages").iterdir():
        path.unlink()
    assert len(open_voc(tiny_voc, "train", need_images=False)) == 24
    (tiny_voc / "JPEGImages").rmdir()
    dataset = open_dataset("voc2012", tiny_voc, "train", need_images=False)
    assert dataset.image_paths == ()
    assert dataset.label(0).shape == (64, 64)
    refused(lambda: open_voc(tiny_voc, "train"), str(tiny_voc), "no folder JPEGImages", "give the folder")


def test_the_digest_changes_with_any_image_label_map_or_order(tiny_voc: Path) -> None:
    def digest() -> str:
        return open_voc(tiny_voc, "train").digest()

    seen = [digest()]
    assert digest() == seen[0]
    ids = open_voc(tiny_voc, "train").ids
    write_list(tiny_voc, "train", *reversed(ids))
    seen.append(digest())
    (tiny_voc / "JPEGImages" / f"{FIRST}.jpg").write_bytes(b"another")
    seen.append(digest())
    (tiny_voc / "SegmentationClass" / f"{FIRST}.png").write_bytes(b"another")
    seen.append(digest())
    assert len(set(seen)) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", value) for value in seen)


def test_the_palette_is_vocs() -> None:
    palette = voc_palette()
    assert palette.shape == (256, 3)
    assert palette[[0, 1, 2, 4, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [0, 0, 128],
        [192, 128, 128],  # person
        [0, 64, 128],  # tvmonitor
        [224, 224, 192],  # void
    ]
    assert len(VOC_CATEGORIES) == 21
    assert VOC_CATEGORIES[0] == "background"
    assert list(VOC_CATEGORIES[1:]) == sorted(VOC_CATEGORIES[1:])


# What is refused when a list is opened


def test_a_missing_root(tmp_path: Path) -> None:
    refused(lambda: open_voc(tmp_path / "VOC", "val"), str(tmp_path / "VOC"), "no such folder", "--root")


def test_a_root_of_another_layout(tmp_path: Path) -> None:
    refused(lambda: open_voc(tmp_path, "val"), str(tmp_path), "no folder ImageSets", "VOC layout")


@pytest.mark.parametrize("split", ["../Segmentation/val", "/etc/passwd", "a/b"])
def test_a_list_is_a_name_and_no_path(tiny_voc: Path, split: str) -> None:
    refused(lambda: open_voc(tiny_voc, split), f"list {split}", "is a path", "name a list of")


def test_a_line_of_a_list_does_not_lead_out_of_the_folder(tiny_voc: Path) -> None:
    (tiny_voc.parent / "outside.png").write_bytes(
        (tiny_voc / "SegmentationClass" / "val_0000.png").read_bytes()
    )
    write_list(tiny_voc, "leading", "/JPEGImages/val_0000.jpg /../outside.png")
    refused(lambda: open_voc(tiny_voc, "leading"), str(tiny_voc), "leads out of it: .*outside", "restore")


def test_a_missing_list_names_the_nearest_one(tiny_voc: Path) -> None:
    error = refused(lambda: open_voc(tiny_voc, "vall"), "Segmentation/vall.txt", "no such list", "'val'?")
    assert "lists here: train, val" in error.todo


def test_an_empty_list(tiny_voc: Path) -> None:
    write_list(tiny_voc, "val", "", "  ")
    refused(lambda: open_voc(tiny_voc, "val"), "val.txt", "empty", "name at least one image")


def test_a_list_that_is_not_text(tiny_voc: Path) -> None:
    write_list(tiny_voc, "val").write_bytes(b"\xff\xd8\xff\xe0")
    refused(lambda: open_voc(tiny_voc, "val"), "val.txt", "not text", "UTF-8")


@pytest.mark.parametrize(
    "line",
    ["x" * 5000, "x" * 201, "\N{SNOWMAN}" * 67, f"{FIRST}.jpg {'y' * 201}.png", f"{FIRST} {'up/' * 350}z"],
    ids=["line", "name", "name in bytes", "second name", "second path"],
)
def test_a_line_too_long_for_a_name_of_a_file(tiny_voc: Path, line: str) -> None:
    write_list(tiny_voc, "val", "val_0000", line)
    what = rf"names no file that a disk can store \({len(line)} characters\)"
    for read in (lambda: open_voc(tiny_voc, "val"), lambda: open_images(tiny_voc, "val")):
        refused(read, "val.txt, line 2", what, "one id a line")
    assert [one.path[-15:] for one in check("voc2012", tiny_voc).problems] == ["val.txt, line 2"]


def test_the_longest_name_is_looked_for(tiny_voc: Path) -> None:
    write_list(tiny_voc, "val", "x" * 200)
    refused(lambda: open_voc(tiny_voc, "val"), "x" * 200, "does not exist", "restore")


def test_a_list_that_names_an_image_twice(tiny_voc: Path) -> None:
    write_list(tiny_voc, "val", "val_0001", "val_0002", "val_0001")
    for opening in (open_voc, open_images, read_ids):
        refused(lambda: opening(tiny_voc, "val"), "list val", "names image val_0001 twice", "remove one")  # noqa: B023


@pytest.mark.parametrize(
    ("folder", "name"), [("JPEGImages", "val_0003.jpg"), ("SegmentationClass", "val_0003.png")]
)
def test_a_missing_image_or_label_map(tiny_voc: Path, folder: str, name: str) -> None:
    (tiny_voc / folder / name).unlink()
    refused(
        lambda: open_voc(tiny_voc, "val"), f"{folder}/{name}", "on list val and does not exist", "restore"
    )
    assert len(open_voc(tiny_voc, "train")) == 24


def test_training_images_on_the_evaluation_list(tiny_voc: Path) -> None:
    train, val = open_voc(tiny_voc, "train"), open_voc(tiny_voc, "val")
    check_disjoint(train, val)
    write_list(tiny_voc, "leaky", "val_0000", "val_0004", "train_0002")
    error = refused(
        lambda: check_disjoint(train, open_voc(tiny_voc, "leaky")),
        str(tiny_voc),
        "1 images",
        "take",
    )
    assert "train_0002" in error.what
    refused(
        lambda: check_disjoint(open_voc(tiny_voc, "leaky"), val), str(tiny_voc), "2 images.*val_0000", "take"
    )


def test_an_unknown_data_set(tiny_voc: Path) -> None:
    refused(
        lambda: open_dataset("voc2021", tiny_voc, "val"), "dataset", "unknown name 'voc2021'", "'voc2012'?"
    )


# What is refused when a file is read


def broken_label(tiny_voc: Path, label: np.ndarray, what: str, mode: str = "L") -> InputError:
    write_label(tiny_voc / "SegmentationClass" / f"{FIRST}.png", label, mode)
    dataset = open_voc(tiny_voc, "train")
    dataset.label(1)
    error = refused(lambda: dataset.label(0), f"SegmentationClass/{FIRST}.png", what, "")
    assert isinstance(error, LabelError)
    return error


@pytest.mark.parametrize("wrong", [21, 22, 128, 254])
@pytest.mark.parametrize("mode", ["P", "L"])
def test_a_label_between_the_last_category_and_void(tiny_voc: Path, wrong: int, mode: str) -> None:
    label = np.array([[0, 20, 255, wrong]], dtype=np.uint8)
    error = broken_label(tiny_voc, label, rf"label {wrong} is outside 0\.\.20", mode)
    assert "only 255 may mark ignored pixels" in error.todo


def test_a_colour_label_map(tiny_voc: Path) -> None:
    error = broken_label(tiny_voc, np.zeros((64, 64, 3), dtype=np.uint8), "mode RGB")
    assert "8-bit palette or grey PNG" in error.todo


def test_a_16_bit_label_map(tiny_voc: Path) -> None:
    error = broken_label(tiny_voc, np.ones((64, 64), dtype=np.uint16), "mode I")
    assert "8-bit palette or grey PNG" in error.todo


def test_a_label_map_of_another_size(tiny_voc: Path) -> None:
    write_label(tiny_voc / "SegmentationClass" / f"{FIRST}.png", np.zeros((64, 48), dtype=np.uint8))
    dataset = open_voc(tiny_voc, "train")
    refused(lambda: dataset.pair(0), f"{FIRST}.png", "48x64 pixels for an image of 64x64", "its own size")


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.6, 0.95])
def test_a_truncated_jpeg(tiny_voc: Path, kept: float) -> None:
    path = tiny_voc / "JPEGImages" / f"{FIRST}.jpg"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(lambda: open_voc(tiny_voc, "train").image(0), f"{FIRST}.jpg", "cut short or damaged", "restore")


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.9])
def test_a_truncated_png(tiny_voc: Path, kept: float) -> None:
    path = tiny_voc / "SegmentationClass" / f"{FIRST}.png"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(lambda: open_voc(tiny_voc, "train").label(0), f"{FIRST}.png", "cut short or damaged", "restore")


def test_a_damaged_png(tiny_voc: Path) -> None:
    path = tiny_voc / "SegmentationClass" / f"{FIRST}.png"
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 12] ^= 0xFF
    path.write_bytes(bytes(content))
    refused(lambda: open_voc(tiny_voc, "train").label(0), f"{FIRST}.png", "cut short or damaged", "restore")


def test_a_file_that_vanishes_after_the_list_was_opened(tiny_voc: Path) -> None:
    dataset = open_voc(tiny_voc, "train")
    dataset.image_paths[0].unlink()
    dataset.label_paths[0].unlink()
    refused(lambda: dataset.image(0), f"{FIRST}.jpg", "no such image", "restore")
    refused(lambda: dataset.label(0), f"{FIRST}.png", "no such label map", "restore")


def test_a_web_page_in_place_of_an_image(tiny_voc: Path) -> None:
    (tiny_voc / "JPEGImages" / f"{FIRST}.jpg").write_text("<!DOCTYPE html><p>Not found</p>")
    refused(lambda: open_voc(tiny_voc, "train").image(0), f"{FIRST}.jpg", "damaged", "restore")


# What is handled, not refused


def reread(tiny_voc: Path, image: Image.Image, **keywords: object) -> np.ndarray:
    image.save(tiny_voc / "JPEGImages" / f"{FIRST}.jpg", quality=95, **keywords)
    read = open_voc(tiny_voc, "train").image(0)
    assert read.dtype == np.uint8
    return read


def close(image: np.ndarray, expected: np.ndarray) -> bool:
    return image.shape == expected.shape and int(abs(image.astype(int) - expected.astype(int)).max()) <= 12


GRADIENT = np.stack(np.broadcast_arrays(*np.ogrid[0:160:4, 0:180:3], 60), axis=2).astype(
    np.uint8
)  # (40, 60, 3)


def test_a_grey_image(tiny_voc: Path) -> None:
    grey = np.ascontiguousarray(GRADIENT[..., 0])
    assert close(reread(tiny_voc, Image.fromarray(grey)), np.stack([grey] * 3, axis=2))


def test_a_cmyk_image(tiny_voc: Path) -> None:
    assert close(reread(tiny_voc, Image.fromarray(GRADIENT).convert("CMYK")), GRADIENT)


def test_a_palette_png_under_a_jpeg_name(tiny_voc: Path) -> None:
    image = Image.fromarray(GRADIENT).quantize(4)
    image.save(tiny_voc / "JPEGImages" / f"{FIRST}.jpg", format="PNG")
    read = open_voc(tiny_voc, "train").image(0)
    np.testing.assert_array_equal(read, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (6, lambda stored: np.rot90(stored, k=-1)),
        (8, lambda stored: np.rot90(stored, k=1)),
    ],
)
def test_an_image_that_exif_turns(
    tiny_voc: Path, orientation: int, turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert close(reread(tiny_voc, Image.fromarray(GRADIENT), exif=exif.tobytes()), turn(GRADIENT))


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tiny_voc: Path) -> None:
    path = tiny_voc / "JPEGImages" / f"{FIRST}.jpg"
    before = open_voc(tiny_voc, "train").image(0)
    path.write_bytes(path.read_bytes() + struct.pack(">I", 7))
    np.testing.assert_array_equal(open_voc(tiny_voc, "train").image(0), before)


# Real photographs


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "images"), [("train", 437), ("val", 445), ("train_aug", 3131)])
def test_the_small_voc_opens(real_data: Path, split: str, images: int) -> None:
    if not (real_data / "voc2012_small").is_dir():
        pytest.skip(f"no voc2012_small in {real_data}")
    dataset = open_voc(real_data / "voc2012_small", split)
    assert len(dataset) == images
    for index in range(0, images, images // 8):
        image, label = dataset.pair(index)
        assert max(label.shape) == 256
        assert image.std() > 5
        assert set(np.unique(label)) <= {*range(21), 255}


@pytest.mark.real_data
def test_the_published_lists_open_and_do_not_leak(real_data: Path) -> None:
    root = real_data / "voc2012_masks"
    lists = {split: open_voc(root, split, need_images=False) for split in ("train", "train_aug", "val")}
    assert {split: len(opened) for split, opened in lists.items()} == {
        "train": 1464,
        "train_aug": 10582,
        "val": 1449,
    }
    check_disjoint(lists["train_aug"], lists["val"])
    assert set(lists["train"].ids) <= set(lists["train_aug"].ids)


def test_check_reads_test_images_without_label_maps(tiny_voc: Path) -> None:
    """The archive of PASCAL's test images has no label map; unpacked beside trainval, its list is there."""
    before = check("voc2012", tiny_voc)
    names = ("2008_000001", "2008_000002")
    for name in names:
        Image.new("RGB", (20, 16)).save(tiny_voc / "JPEGImages" / f"{name}.jpg")
    write_list(tiny_voc, "test", *names)
    beside = check("voc2012", tiny_voc)
    assert (beside.files, beside.problems) == (before.files + 2, before.problems)
    (tiny_voc / "JPEGImages" / f"{names[1]}.jpg").write_bytes(b"cut")
    assert [Path(one.path).name for one in check("voc2012", tiny_voc).problems] == [f"{names[1]}.jpg"]
    write_label(tiny_voc / "SegmentationClass" / f"{names[0]}.png", np.zeros((16, 20), dtype=np.uint8))
    said = [one.problem for one in check("voc2012", tiny_voc).problems]
    assert said == ["is on list test and does not exist"]  # a list with any label map has to have them all


def test_check_names_every_fault_of_a_list(tiny_voc: Path) -> None:
    """A file that is missing hides neither the next one nor what is damaged."""
    whole = check("voc2012", tiny_voc)
    assert whole.problems == ()
    maps, pictures = tiny_voc / "SegmentationClass", tiny_voc / "JPEGImages"
    (maps / "val_0001.png").unlink()
    (maps / "val_0002.png").unlink()
    (pictures / "val_0003.jpg").unlink()
    (pictures / "val_0004.jpg").write_bytes((pictures / "val_0004.jpg").read_bytes()[:90])
    path = tiny_voc / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text(path.read_text() + "val_0005\n")
    found = {(Path(one.path).name, one.problem) for one in check("voc2012", tiny_voc).problems}
    gone = "is on list val and does not exist"
    assert found == {
        ("val_0001.png", gone),
        ("val_0002.png", gone),
        ("val_0003.jpg", gone),
        ("val_0004.jpg", "the image is cut short or damaged"),
        (f"{tiny_voc.name}, list val", "names image val_0005 twice"),
    }


def test_check_holds_instance_maps_to_their_label_maps(tiny_voc: Path) -> None:
    """Where there are any: each image of VOC's own lists has one, SBD's have none."""
    folder = tiny_voc / "SegmentationObject"
    folder.mkdir()
    for split in ("train", "val"):
        for identifier in open_voc(tiny_voc, split).ids:
            write_label(folder / f"{identifier}.png", np.ones((64, 64), dtype=np.uint8))
    write_list(tiny_voc, "train_aug", *open_voc(tiny_voc, "train").ids, "extra")
    for kind, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        shutil.copy(tiny_voc / kind / f"train_0000.{suffix}", tiny_voc / kind / f"extra.{suffix}")
    assert check("voc2012", tiny_voc).problems == ()
    (folder / "val_0001.png").unlink()
    write_label(folder / "val_0002.png", np.ones((7, 7), dtype=np.uint8))
    found = [(Path(one.path).name, one.problem) for one in check("voc2012", tiny_voc).problems]
    assert found == [
        ("val_0001.png", "no such label map"),
        ("val_0002.png", "instance map of 7x7 pixels for a label map of 64x64"),
    ]


def lengths(dataset: str, root: Path) -> list[tuple[str, int | None, int | None]]:
    found = check(dataset, root)
    return [(one.name, one.images, one.published) for one in found.lists]


def test_check_counts_lists_beside_their_published_lengths(tiny_voc: Path) -> None:
    assert lengths("voc2012", tiny_voc) == [
        ("train", 24, 1464),
        ("val", 10, 1449),
        ("train_aug", None, 10582),
    ]
    assert lengths("silhouettes", tiny_voc) == [("train", 24, None), ("val", 10, None)]
    assert check("voc2012", tiny_voc).problems == ()  # a part of a data set is none
    write_list(tiny_voc, "trainaug", "train_0000", "train_0001", folder="SegmentationAug")
    write_list(tiny_voc, "mine", "val_0000", "val_0000", "gone")
    write_list(tiny_voc, "trainval")
    (tiny_voc / "ImageSets" / "Segmentation" / "val.txt").unlink()
    assert lengths("voc2012", tiny_voc) == [
        ("mine", 2, None),
        ("train", 24, 1464),
        ("trainaug", 2, 10582),
        ("trainval", 0, 2913),
        ("val", None, 1449),
    ]
    (tiny_voc / "ImageSets" / "Segmentation" / "train.txt").unlink()
    assert lengths("silhouettes", tiny_voc)[-2:] == [("train", None, None), ("val", None, None)]


def test_check_reads_the_lists_in_either_folder(tiny_voc: Path) -> None:
    write_list(tiny_voc, "train_aug", "train_0000", "val_0000", "gone", folder="SegmentationAug")
    said = {one.problem for one in check("voc2012", tiny_voc).problems}
    assert said == {
        "is on list train_aug and does not exist",
        "lists train_aug and val share 1 images, such as val_0000",
    }


def test_check_calls_an_empty_test_list_a_problem(tiny_voc: Path) -> None:
    write_list(tiny_voc, "test")
    found = check("voc2012", tiny_voc)
    assert found.files > 0
    assert [one.problem for one in found.problems] == ["the list is empty"]
