"""SBD as published, and train_aug made from it: whose label maps, which images, what is refused."""

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import boxes_map, write_voc
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix
from test_voc import refused, write_label, write_list

from segmix_core.data import check_disjoint, sbd
from segmix_core.data.check import check
from segmix_core.data.sbd import Made, make_train_aug, read_sbd_label, train_aug_ids
from segmix_core.data.voc import open_voc, voc_palette
from segmix_core.errors import InputError, WorkError

SIZE = 24
OWN = ("train_0000", "train_0001", "train_0002")  # VOC's train list; SBD has the first two as well
VAL = ("val_0000", "val_0001")  # SBD trains on the first
EXTRA = ("2008_000007", "2009_000001", "2011_003276")  # SBD's alone: two of its train, one of its val


def sbd_map(seed: int) -> np.ndarray:
    """A label map as SBD has them, without void."""
    label = boxes_map(np.random.default_rng(seed), size=SIZE)
    label[label == 255] = 0
    return label


def write_mat(path: Path, label: object, field: str = "Segmentation") -> None:
    """`cls/ID.mat` as published: boundaries of each category, the label map, the categories present."""
    boundaries = np.empty((20, 1), dtype=object)
    for category in range(20):
        boundaries[category, 0] = csc_matrix(np.asarray(label) == category + 1)
    present = np.array([[1], [15]], dtype=np.uint8)
    struct = {"Boundaries": boundaries, field: label, "CategoriesPresent": present}
    savemat(path, {"GTcls": struct}, do_compression=True)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """SBD and VOC, side by side: every image in VOC's JPEGImages, SBD's also in its img."""
    maps = [boxes_map(np.random.default_rng(seed), size=SIZE) for seed in range(5)]
    voc = write_voc(tmp_path / "VOCdevkit" / "VOC2012", {"train": maps[:3], "val": maps[3:]})
    dataset = tmp_path / "benchmark_RELEASE" / "dataset"
    for name in ("cls", "inst", "img"):
        (dataset / name).mkdir(parents=True)
    (dataset / "train.txt").write_text("".join(f"{one}\n" for one in (EXTRA[1], OWN[0], VAL[0], EXTRA[2])))
    (dataset / "val.txt").write_text("".join(f"{one}\n" for one in (OWN[1], EXTRA[0])))
    for seed, identifier in enumerate((*EXTRA, *OWN[:2], VAL[0])):
        write_mat(dataset / "cls" / f"{identifier}.mat", sbd_map(100 + seed))
        if identifier in EXTRA:
            noise = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(noise).save(voc / "JPEGImages" / f"{identifier}.jpg")
        shutil.copy(voc / "JPEGImages" / f"{identifier}.jpg", dataset / "img")
    return dataset, voc


def left_over(voc: Path) -> list[str]:
    """What lies in the VOC folder that was not there before, but for the lock."""
    known = {"JPEGImages", "SegmentationClass", "ImageSets", ".lock"}
    lists = {path.name for path in (voc / "ImageSets" / "Segmentation").iterdir()} - {"train.txt", "val.txt"}
    return sorted({path.name for path in voc.iterdir()} - known | lists)


# What is made


def test_train_aug_is_sbd_and_voc_train_without_voc_val(folders: tuple[Path, Path]) -> None:
    told: list[tuple[int, int]] = []
    made = make_train_aug(*folders, progress=lambda done, total: told.append((done, total)))
    assert made == Made(images=6, from_voc=3, from_sbd=3, standard=False)
    assert told == [(done, 6) for done in range(1, 7)]
    opened = open_voc(folders[1], "train_aug")
    assert opened.ids == (*EXTRA, *OWN)
    check_disjoint(opened, open_voc(folders[1], "val"))
    assert left_over(folders[1]) == ["SegmentationClassAug", "train_aug.txt"]
    assert len(list((folders[1] / "SegmentationClassAug").iterdir())) == 6


def test_voc_train_keeps_its_own_label_maps_and_the_others_take_sbds(folders: tuple[Path, Path]) -> None:
    make_train_aug(*folders)
    opened, own = open_voc(folders[1], "train_aug"), open_voc(folders[1], "train")
    for index, identifier in enumerate(opened.ids):
        image, label = opened.pair(index)
        assert image.shape == (SIZE, SIZE, 3)
        expected = own.label(OWN.index(identifier)) if identifier in OWN else sbd_map(100 + index)
        np.testing.assert_array_equal(label, expected)
        assert (label == 255).any() == (identifier in OWN)
        with Image.open(opened.label_paths[index]) as drawn:
            assert drawn.mode == "P"
            assert drawn.getpalette() == voc_palette().ravel().tolist()


@pytest.mark.parametrize("above", [0, 1, 2])
def test_sbd_opens_at_every_level_of_its_archive(folders: tuple[Path, Path], above: int) -> None:
    root = [folders[0], *folders[0].parents][above]
    assert make_train_aug(root, folders[1].parents[1]).images == 6


def test_label_maps_alone_are_held_to_sbds_own_images(folders: tuple[Path, Path]) -> None:
    dataset, voc = folders
    shutil.copy(voc / "JPEGImages" / f"{OWN[2]}.jpg", dataset / "img")
    shutil.rmtree(voc / "JPEGImages")
    assert make_train_aug(dataset, voc).images == 6
    assert len(open_voc(voc, "train_aug", need_images=False)) == 6


@pytest.mark.parametrize("do_compression", [True, False])
def test_a_label_map_is_read_as_it_was_written(tmp_path: Path, do_compression: bool) -> None:
    label = np.arange(21, dtype=np.uint8).reshape(3, 7)
    savemat(tmp_path / "a.mat", {"GTcls": {"Segmentation": label}}, do_compression=do_compression)
    np.testing.assert_array_equal(read_sbd_label(tmp_path / "a.mat"), label)


# The standard list


def whole_lists() -> tuple[list[str], list[str], list[str]]:
    """Lists of the published lengths: 2,237 of SBD's images are on VOC's, 1,161 on train and 1,076 on val."""
    train = [f"train_{number}" for number in range(1464)]
    val = [f"val_{number}" for number in range(1449)]
    return train, [f"sbd_{number}" for number in range(9118)] + train[:1161] + val[:1076], val


def test_whole_lists_give_10582_images() -> None:
    train, both, val = whole_lists()
    ids = train_aug_ids(train, both, val)
    assert len(ids) == len(set(ids)) == 10582
    assert ids == sorted(ids)
    assert not set(ids) & set(val)


def test_whole_lists_that_give_another_number(folders: tuple[Path, Path]) -> None:
    train, both, val = whole_lists()
    for wrong in (val[:-400], [*val, "sbd_0"]):
        refused(lambda wrong=wrong: train_aug_ids(train, both, wrong), "train_aug", "not 10582", "restore")
    assert len(train_aug_ids(train, both[1:], val)) == 10581  # lists of another length are taken as they are
    assert len(train_aug_ids(train[1:], both, val)) == 10582


def test_what_was_made_says_whether_it_was_held_to_the_number(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sbd, "VOC_TRAIN", 3)
    monkeypatch.setattr(sbd, "SBD_IMAGES", 6)
    refused(lambda: make_train_aug(*folders), "train_aug", "give 6 images, not 10582", "restore")
    assert left_over(folders[1]) == []
    monkeypatch.setattr(sbd, "TRAIN_AUG", 6)
    assert make_train_aug(*folders).standard


# Stopped half-way


def test_a_stopped_process_is_gone_on_from(folders: tuple[Path, Path]) -> None:
    dataset, voc = folders

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_train_aug(dataset, voc, progress=stop)
    (part,) = left_over(voc)
    assert not (voc / "SegmentationClassAug").exists()
    with pytest.raises(InputError, match="no such list"):
        open_voc(voc, "train_aug")
    assert len(list((voc / part).iterdir())) == 4
    marked = voc / part / f"{EXTRA[0]}.png"
    write_label(marked, np.full((SIZE, SIZE), 20, dtype=np.uint8))
    assert make_train_aug(dataset, voc).images == 6
    assert left_over(voc) == ["SegmentationClassAug", "train_aug.txt"]
    assert (open_voc(voc, "train_aug").label(0) == 20).all()  # taken over, not written again


def test_what_was_begun_from_other_files_is_not_gone_on_from(folders: tuple[Path, Path]) -> None:
    dataset, voc = folders

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_train_aug(dataset, voc, progress=stop)
    write_mat(dataset / "cls" / f"{EXTRA[0]}.mat", sbd_map(5))
    os.utime(dataset / "cls" / f"{EXTRA[0]}.mat", ns=(7, 7))
    make_train_aug(dataset, voc)
    assert left_over(voc) == ["SegmentationClassAug", "train_aug.txt"]
    np.testing.assert_array_equal(open_voc(voc, "train_aug").label(0), sbd_map(5))


def test_a_process_stopped_between_list_and_folder(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, voc = folders

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            make_train_aug(dataset, voc)
    assert not (voc / "SegmentationClassAug").exists()
    assert make_train_aug(dataset, voc).images == 6
    assert len(open_voc(voc, "train_aug")) == 6


def test_a_disk_that_fails_leaves_nothing(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(WorkError, match="No space left"):
        make_train_aug(*folders)
    assert left_over(folders[1]) == []


def test_what_is_there_already_is_not_replaced(folders: tuple[Path, Path]) -> None:
    dataset, voc = folders
    write_list(voc, "train_aug", OWN[0])
    refused(lambda: make_train_aug(dataset, voc), "train_aug.txt", "names other than these 6", "remove it")
    write_list(voc, "train_aug", *OWN, *EXTRA)
    make_train_aug(dataset, voc)
    error = refused(
        lambda: make_train_aug(dataset, voc), "SegmentationClassAug", "there already", "remove it"
    )
    assert error.where == str(voc / "SegmentationClassAug")


# What is refused


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_truncated_mat(folders: tuple[Path, Path], kept: float, compressed: bool) -> None:
    path = folders[0] / "cls" / f"{EXTRA[1]}.mat"
    if not compressed:
        savemat(path, {"GTcls": {"Segmentation": sbd_map(1)}})
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(lambda: make_train_aug(*folders), f"cls/{EXTRA[1]}.mat", "cut short|holds no struct", "restore")
    assert left_over(folders[1]) == []


def test_a_mat_that_unpacks_to_more_than_any_label_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mat"
    for kept, order in ((np.zeros((4000, 4000), np.uint8), "<"), (np.zeros((2000, 4000), np.uint16), ">")):
        savemat(path, {"GTcls": {"Segmentation": kept}}, do_compression=True)
        if order == ">":
            path.write_bytes(_other_order(path.read_bytes()))
        assert path.stat().st_size < 100_000
        with monkeypatch.context() as patched:
            patched.setattr("segmix_core.data.sbd.MAX_PIXELS", 1_000_000)
            patched.setattr("segmix_core.data.sbd.loadmat", lambda *_, **__: pytest.fail("it was unpacked"))
            refused(lambda: read_sbd_label(path), "a.mat", "unpacks to more than 1000000 bytes", "restore")
    write_mat(path, sbd_map(1))
    np.testing.assert_array_equal(read_sbd_label(path), sbd_map(1))


def _other_order(content: bytes) -> bytes:
    """The header and the tag of one packed element as a big-endian machine writes them."""
    kind, length = struct.unpack("<II", content[128:136])
    return content[:126] + b"MI" + struct.pack(">II", kind, length) + content[136:]


def test_a_damaged_mat_is_refused_or_read_but_never_crashes(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    write_mat(path, sbd_map(1))
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    refusals: list[str] = []
    for _ in range(200):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), size=3):
            content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        try:
            assert read_sbd_label(path).max() <= 20
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in refusals)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"GTinst": {"Segmentation": np.zeros((4, 4), np.uint8)}}, "no struct GTcls"),
        ({"GTcls": {"Boundaries": np.zeros((4, 4), np.uint8)}}, "no struct GTcls with a field Segmentation"),
        ({"GTcls": np.zeros((4, 4), np.uint8)}, "no struct GTcls"),
        ({"GTcls": "Segmentation"}, "no struct GTcls"),
        ({"GTcls": {"Segmentation": "text"}}, "no uint8 matrix"),
        ({"GTcls": {"Segmentation": np.zeros((4, 4))}}, "no uint8 matrix"),
        ({"GTcls": {"Segmentation": np.zeros((4, 4, 3), np.uint8)}}, "no uint8 matrix"),
        ({"GTcls": {"Segmentation": np.full((4, 4), 21, np.uint8)}}, r"label 21 is outside 0\.\.20"),
        ({"GTcls": {"Segmentation": np.full((4, 4), 255, np.uint8)}}, r"label 255 is outside 0\.\.20"),
    ],
)
def test_a_mat_of_something_else(tmp_path: Path, content: dict[str, object], what: str) -> None:
    savemat(tmp_path / "a.mat", content)
    refused(lambda: read_sbd_label(tmp_path / "a.mat"), "a.mat", what, "restore")


def test_a_label_map_of_another_size_than_its_image(folders: tuple[Path, Path]) -> None:
    dataset, voc = folders
    path = dataset / "cls" / f"{EXTRA[2]}.mat"
    write_mat(path, np.zeros((SIZE, SIZE + 1), dtype=np.uint8))
    error = refused(lambda: make_train_aug(dataset, voc), f"{EXTRA[2]}.mat", "25x24 pixels for .* 24x24", "")
    assert f"{EXTRA[2]}.jpg" in error.what
    write_mat(path, sbd_map(1))
    write_label(voc / "SegmentationClass" / f"{OWN[1]}.png", np.zeros((SIZE - 1, SIZE), dtype=np.uint8))
    refused(lambda: make_train_aug(dataset, voc), f"{OWN[1]}.png", "24x23 pixels for", "restore")
    assert left_over(voc) == []


@pytest.mark.parametrize("name", [f"cls/{EXTRA[0]}.mat", "train.txt", "val.txt"])
def test_a_file_of_sbd_that_is_missing(folders: tuple[Path, Path], name: str) -> None:
    (folders[0] / name).unlink()
    refused(lambda: make_train_aug(*folders), name, "no such", "restore")
    assert left_over(folders[1]) == []


def test_an_image_that_is_missing_or_damaged(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "JPEGImages" / f"{EXTRA[0]}.jpg"
    path.write_bytes(path.read_bytes()[:200])
    refused(lambda: make_train_aug(*folders), path.name, "cut short or damaged", "restore")
    path.unlink()  # and SBD's copy is no help: the network would be trained on VOC's
    refused(lambda: make_train_aug(*folders), path.name, "no such image", "restore")
    assert left_over(folders[1]) == []


def test_a_root_without_sbd(folders: tuple[Path, Path], tmp_path: Path) -> None:
    refused(lambda: make_train_aug(tmp_path / "no", folders[1]), "no", "no such folder", "benchmark_RELEASE")
    refused(lambda: make_train_aug(folders[1], folders[1]), "VOC2012", "no folder cls", "benchmark_RELEASE")


# Real lists and label maps


@pytest.mark.real_data
def test_the_real_list_follows_the_same_rule(real_data: Path) -> None:
    root = real_data / "voc2012_masks"
    real, train, val = (open_voc(root, split, need_images=False) for split in ("train_aug", "train", "val"))
    assert len(real) == sbd.TRAIN_AUG
    check_disjoint(real, val)
    # SBD's lists are its own images, which VOC's do not name, and a part of VOC's train and val.
    both = (set(real.ids) - set(train.ids)) | set(val.ids)
    both |= set(sorted(train.ids)[: sbd.SBD_IMAGES - len(both)])
    assert (len(train), len(both)) == (sbd.VOC_TRAIN, sbd.SBD_IMAGES)
    assert tuple(train_aug_ids(train.ids, both, val.ids)) == real.ids


@pytest.mark.real_data
def test_the_real_label_maps_have_void_on_voc_train_alone(real_data: Path) -> None:
    root = real_data / "voc2012_masks"
    real, train = (open_voc(root, split, need_images=False) for split in ("train_aug", "train"))
    own = set(train.ids)
    seen = {(real.ids[index] in own, bool((real.label(index) == 255).any())) for index in range(0, 10582, 40)}
    assert seen == {(True, True), (False, False)}


def test_check_reads_both_lists(folders: tuple[Path, Path]) -> None:
    root, _ = folders
    whole = check("sbd", root)
    assert (whole.files, whole.problems) == (12, ())
    assert [(one.name, one.images) for one in whole.lists] == [("train", 4), ("val", 2)]
    assert sum(one.published or 0 for one in whole.lists) == sbd.SBD_IMAGES
    assert whole.bytes == sum(
        path.stat().st_size for name in ("img", "cls") for path in (root / name).iterdir()
    )
    (root / "cls" / f"{EXTRA[0]}.mat").write_bytes(b"cut")
    write_mat(root / "cls" / f"{EXTRA[1]}.mat", sbd_map(1)[:-1])
    (root / "img" / f"{VAL[0]}.jpg").unlink()
    (root / "cls" / f"{OWN[0]}.mat").unlink()
    said = {Path(one.path).name: one.problem for one in check("sbd", root).problems}
    assert said.keys() == {f"{EXTRA[0]}.mat", f"{EXTRA[1]}.mat", f"{VAL[0]}.jpg", f"{OWN[0]}.mat"}
    assert said[f"{OWN[0]}.mat"] == "no such label map"
    assert "damaged" in said[f"{EXTRA[0]}.mat"]
    assert "for an image of 24x24" in said[f"{EXTRA[1]}.mat"]
