"""DUT-S and ECSSD as published, every bad mask there is a word for, and the generated salient objects."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmix_core.data.check import check
from segmix_core.data.label_table import read_label_table
from segmix_core.data.saliency import SaliencyDataset, check_saliency, open_duts, open_ecssd, read_mask
from segmix_core.data.silhouettes import saliency
from segmix_core.data.silhouettes.saliency import ensure_saliency, make_saliency, salient_instances
from segmix_core.data.silhouettes.scene import Instance, Scene, draw_scene
from segmix_core.data.voc import voc_palette
from segmix_core.errors import InputError, LabelError
from segmix_core.rng import stream

SIZE = (20, 30)  # H, W


def mask_of(number: int) -> np.ndarray:
    """A mask that no other number has: 1 in the first columns."""
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[:, : number + 1] = 1
    return mask


def write_part(images: Path, masks: Path, ids: list[str], *, first: int = 0) -> None:
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for number, one in enumerate(ids, start=first):
        shade = np.full((*SIZE, 3), 20 * number, dtype=np.uint8)
        Image.fromarray(shade).save(images / f"{one}.jpg", quality=95)
        Image.fromarray(mask_of(number) * 255).save(masks / f"{one}.png")


def write_categories(folder: Path, ids: list[str]) -> None:
    folder.mkdir(parents=True)
    for number, one in enumerate(ids):
        label = Image.fromarray(np.where(mask_of(number) == 1, 3 + number, 0).astype(np.uint8))
        label.putpalette(voc_palette().tobytes())
        label.save(folder / f"{one}.png")


TRAIN = ["ILSVRC2012_test_00000004", "n01443537_10007", "sun_aaa"]
TEST = ["ILSVRC2012_test_00000003", "sun_bbb"]


@pytest.fixture
def duts(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    write_part(root / "DUTS-TR/DUTS-TR-Image", root / "DUTS-TR/DUTS-TR-Mask", TRAIN)
    write_part(root / "DUTS-TE/DUTS-TE-Image", root / "DUTS-TE/DUTS-TE-Mask", TEST, first=5)
    return root


@pytest.fixture
def ecssd(tmp_path: Path) -> Path:
    root = tmp_path / "ECSSD"
    write_part(root / "images", root / "ground_truth_mask", ["0001", "0002"])
    return root


def refused(call: Callable[[], object], where: Path, what: str) -> InputError:
    """The InputError that `call` raises, in one line, about the very file."""
    with pytest.raises(InputError, match=what) as caught:
        call()
    assert caught.value.where == str(where)
    assert "\n" not in str(caught.value)
    return caught.value


def mask_path(root: Path, number: int = 0) -> Path:
    return root / "DUTS-TR" / "DUTS-TR-Mask" / f"{TRAIN[number]}.png"


# What opens


def test_duts_opens_as_published(duts: Path) -> None:
    train = open_duts(duts, "train")
    assert (train.name, train.split, train.ids) == ("duts", "train", tuple(TRAIN))
    assert train.categories == ("background", "salient")
    for number in range(3):
        image, mask = train.pair(number)
        assert abs(image.astype(int) - 20 * number).max() <= 2
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, mask_of(number))
    test = open_duts(duts, "test")
    assert test.ids == tuple(TEST)
    np.testing.assert_array_equal(test.label(1), mask_of(6))


def test_the_root_may_be_the_part_itself(duts: Path) -> None:
    assert open_duts(duts / "DUTS-TR", "train").digest() == open_duts(duts, "train").digest()
    assert open_duts(duts / "DUTS-TE", "test").ids == tuple(TEST)


def test_ecssd_opens_as_published(ecssd: Path) -> None:
    for root in (ecssd, ecssd.parent):
        opened = open_ecssd(root)
        assert (opened.name, opened.split, opened.ids) == ("ecssd", "test", ("0001", "0002"))
        np.testing.assert_array_equal(opened.label(1), mask_of(1))


def test_names_that_begin_with_a_dot_are_no_images(duts: Path) -> None:
    (duts / "DUTS-TR/DUTS-TR-Image/._sun_aaa.jpg").write_bytes(b"finder")
    assert open_duts(duts, "train").ids == tuple(TRAIN)


def test_a_mask_may_be_grey_one_bit_or_in_a_palette(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    expected = mask_of(4)
    Image.fromarray(expected * 255).save(path)
    np.testing.assert_array_equal(read_mask(path), expected)
    Image.fromarray(expected * 255).convert("1").save(path)
    with Image.open(path) as opened:
        assert opened.mode == "1"
    np.testing.assert_array_equal(read_mask(path), expected)
    palette = Image.fromarray(1 - expected)  # index 0 is white here: the colour counts
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(path)
    with Image.open(path) as opened:
        assert opened.mode == "P"
    np.testing.assert_array_equal(read_mask(path), expected)


# Pseudo-categories


def test_pseudo_categories_are_found_beside_and_in_the_part(duts: Path, tmp_path: Path) -> None:
    assert open_duts(duts, "train").category_paths == ()
    bare = open_duts(duts, "train").digest()
    write_categories(tmp_path / "elsewhere", TRAIN)
    given = open_duts(duts, "train", pseudo=tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", duts / "DUTS-TR" / "pseudo_categories")
    inside = open_duts(duts, "train")
    shutil.move(duts / "DUTS-TR" / "pseudo_categories", duts / "pseudo_categories")
    for dataset in (given, inside, open_duts(duts, "train")):
        assert dataset.num_pairing_categories == 21
        assert len(dataset.category_paths) == 3
    beside = open_duts(duts, "train")
    for number in range(3):
        np.testing.assert_array_equal(beside.category(number), mask_of(number) * (3 + number))
        np.testing.assert_array_equal(beside.label(number), mask_of(number))
    assert beside.digest() == given.digest() != bare
    assert open_duts(duts, "test").category_paths == ()


def test_some_of_the_images_keep_their_own_pseudo_categories(duts: Path) -> None:
    write_categories(duts / "pseudo_categories", TRAIN)
    some = open_duts(duts, "train").only([2, 0])
    for place, number in enumerate((2, 0)):
        np.testing.assert_array_equal(some.category(place), mask_of(number) * (3 + number))
        np.testing.assert_array_equal(some.label(place), mask_of(number))
    assert open_duts(duts, "test").only([0]).category_paths == ()


def test_pseudo_categories_that_do_not_fit_are_refused(duts: Path) -> None:
    folder = duts / "pseudo_categories"
    refused(lambda: open_duts(duts, "train").category(0), duts, "list train has no pseudo-categories")
    refused(lambda: open_duts(duts, "train", pseudo=folder), folder, "no such folder")
    write_categories(folder, TRAIN)
    path = folder / f"{TRAIN[1]}.png"
    Image.fromarray(np.full(SIZE, 21, dtype=np.uint8)).save(path)
    refused(lambda: open_duts(duts, "train").category(1), path, r"label 21 is outside 0\.\.20")
    Image.fromarray(np.full(SIZE, 255, dtype=np.uint8)).save(path)
    assert (open_duts(duts, "train").category(1) == 255).all()
    Image.fromarray(np.zeros((30, 20), dtype=np.uint8)).save(path)
    refused(
        lambda: open_duts(duts, "train").category(1), path, r"of 20x30 pixels for a mask of 30x20 \(n01443537"
    )
    path.unlink()
    refused(lambda: open_duts(duts, "train"), path, "no such pseudo-categories")


# What is refused


@pytest.mark.parametrize("value", [1, 128, 254])
def test_a_value_between_black_and_white_is_named(duts: Path, value: int) -> None:
    mask = mask_of(0) * np.uint8(255)
    mask[3, 7] = value
    Image.fromarray(mask).save(mask_path(duts))
    error = refused(lambda: open_duts(duts, "train").label(0), mask_path(duts), f"value {value} in a mask")
    assert isinstance(error, LabelError)


def test_a_threshold_decides_about_shades(duts: Path, ecssd: Path) -> None:
    shades = np.zeros(SIZE, dtype=np.uint8)
    shades[0, :5] = (1, 127, 128, 254, 255)
    Image.fromarray(shades).save(mask_path(duts))
    Image.fromarray(shades).save(ecssd / "ground_truth_mask" / "0001.png")
    for opened in (open_duts(duts, "train", threshold=128), open_ecssd(ecssd, threshold=128)):
        assert opened.label(0)[0, :6].tolist() == [0, 0, 1, 1, 1, 0]
        assert set(np.unique(opened.label(1))) == {0, 1}
    digests = {open_duts(duts, "train", threshold=value).digest() for value in (None, 127, 128)}
    assert len(digests) == 3


def test_a_mask_of_another_kind_is_refused(duts: Path) -> None:
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(mask_path(duts))
    refused(lambda: open_duts(duts, "train").label(0), mask_path(duts), "a mask of mode RGB")
    mask_path(duts).write_bytes(b"no image at all")
    refused(lambda: open_duts(duts, "train").label(0), mask_path(duts), "cut short or damaged")
    dataset = open_duts(duts, "train")
    mask_path(duts).unlink()
    refused(lambda: dataset.label(0), mask_path(duts), "no such mask")


def test_an_image_without_a_mask_and_the_reverse_are_refused(duts: Path, ecssd: Path) -> None:
    image = duts / "DUTS-TR/DUTS-TR-Image" / f"{TRAIN[1]}.jpg"
    image.rename(duts / "kept.jpg")
    refused(lambda: open_duts(duts, "train"), mask_path(duts, 1), "has no image DUTS-TR-Image/n01443537")
    (duts / "kept.jpg").rename(image)
    mask_path(duts, 1).unlink()
    refused(lambda: open_duts(duts, "train"), image, "has no mask DUTS-TR-Mask/n01443537_10007.png")
    (ecssd / "ground_truth_mask" / "0002.png").unlink()
    refused(lambda: open_ecssd(ecssd), ecssd / "images" / "0002.jpg", "has no mask")


def test_a_mask_of_another_size_is_refused(ecssd: Path) -> None:
    path = ecssd / "ground_truth_mask" / "0001.png"
    Image.fromarray(np.zeros((30, 20), dtype=np.uint8)).save(path)
    refused(lambda: open_ecssd(ecssd).pair(0), path, "of 20x30 pixels for an image of 30x20")


def test_missing_folders_and_unknown_lists_are_said(duts: Path, ecssd: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'train'"):
        open_duts(duts, "trian")
    refused(lambda: open_duts(tmp_path / "none", "train"), tmp_path / "none", "has no folder DUTS-TR")
    refused(lambda: open_ecssd(duts), duts, "has no folder images")
    shutil.rmtree(ecssd / "ground_truth_mask")
    refused(lambda: open_ecssd(ecssd), ecssd / "ground_truth_mask", "no such folder")
    (ecssd / "ground_truth_mask").mkdir()
    shutil.rmtree(ecssd / "images")
    (ecssd / "images").mkdir()
    refused(lambda: open_ecssd(ecssd), ecssd / "images", "holds no .jpg image")


def test_check_reads_both_parts_of_the_generated_set(tmp_path: Path) -> None:
    root = ensure_saliency(tmp_path, images=3, val=2, size=48, seed=0)
    whole = check("silhouettes-saliency", root)
    assert (whole.files, whole.problems) == (10, ())
    assert [(one.name, one.images, one.published) for one in whole.lists] == [
        ("train", 3, None),
        ("test", 2, None),
    ]
    test_mask = next((root / "ECSSD" / "ground_truth_mask").iterdir())
    test_mask.unlink()
    training_image = next((root / "DUTS-TR" / "DUTS-TR-Image").iterdir())
    training_image.write_bytes(b"no picture")
    found = {Path(one.path) for one in check("silhouettes-saliency", root).problems}
    assert training_image in found
    assert len(found) == 2


def test_check_reads_everything_and_collects_what_is_wrong(duts: Path, ecssd: Path) -> None:
    whole = check_saliency("duts", duts)
    assert (whole.files, whole.problems) == (10, ())
    assert whole.bytes == sum(path.stat().st_size for path in duts.rglob("*.*g"))
    write_categories(duts / "pseudo_categories", TRAIN)
    assert check_saliency("duts", duts).files == 13
    assert check_saliency("ecssd", ecssd).files == 4
    mask_path(duts, 0).unlink()
    Image.fromarray(np.full(SIZE, 128, dtype=np.uint8)).save(mask_path(duts, 1))
    Image.fromarray(np.full(SIZE, 90, dtype=np.uint8)).save(duts / "pseudo_categories" / f"{TRAIN[2]}.png")
    test_image = duts / "DUTS-TE/DUTS-TE-Image" / f"{TEST[1]}.jpg"
    test_image.write_bytes(test_image.read_bytes()[:300])
    steps: list[tuple[int, int]] = []
    found = check_saliency("duts", duts, progress=lambda done, total: steps.append((done, total)))
    assert [(Path(one.path).stem, one.problem) for one in found.problems] == [
        (TRAIN[0], f"has no mask DUTS-TR-Mask/{TRAIN[0]}.png"),
        (TRAIN[1], "value 128 in a mask of 0 and 255"),
        (TRAIN[2], "label 90 is outside 0..20"),
        (TEST[1], "the image is cut short or damaged"),
    ]
    assert steps == [(done, 4) for done in (1, 2, 3, 4)]
    again = check_saliency("duts", duts, threshold=128)
    assert [one for one in found.problems if one not in again.problems] == [found.problems[1]]
    shutil.rmtree(duts / "DUTS-TR")
    assert len(check_saliency("duts", duts).problems) == 1
    refused(lambda: check_saliency("duts", ecssd), ecssd, "has no folder DUTS-TR")


def test_check_counts_images_beside_the_published(duts: Path, ecssd: Path) -> None:
    lengths = [(one.name, one.images, one.published) for one in check("duts", duts).lists]
    assert lengths == [("train", 3, 10553), ("test", 2, 5019)]
    shutil.rmtree(duts / "DUTS-TE")
    lengths = [(one.name, one.images, one.published) for one in check("duts", duts).lists]
    assert lengths == [("train", 3, 10553), ("test", None, 5019)]
    (test,) = check("ecssd", ecssd).lists
    assert (test.images, test.published) == (2, 1000)


# Generated salient objects


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saliency") / "made"
    assert make_saliency(out, images=40, val=12, size=64, seed=3).images == 52
    return out


def opened(root: Path) -> list[SaliencyDataset]:
    return [open_duts(root, "train", pseudo=root / "true_categories"), open_ecssd(root)]


def scene_of(*boxes: tuple[slice, slice], size: int = 80) -> Scene:
    """A scene of rectangles, painted in order; categories 1, 2, ..."""
    instance = np.zeros((size, size), dtype=np.uint8)
    for number, where in enumerate(boxes, start=1):
        instance[where] = number
    instances = tuple(
        Instance(number=number, category=number, box=(1, 1, 1, 1), truncated=False, occluded=False)
        for number in range(1, len(boxes) + 1)
    )
    return Scene(np.zeros((size, size, 3), np.uint8), instance, instance, instances)


def test_the_central_and_the_large_are_salient() -> None:
    middle, corner = (slice(30, 50), slice(30, 50)), (slice(0, 20), slice(0, 20))
    assert salient_instances(scene_of(corner, middle)) == (2,)
    assert salient_instances(scene_of(corner)) == (1,)  # never empty
    left, right = (slice(30, 50), slice(10, 30)), (slice(30, 50), slice(50, 70))
    assert salient_instances(scene_of(left, right)) == (1, 2)
    just_half, less = (slice(30, 50), slice(50, 58)), (slice(30, 50), slice(50, 57))  # 0.52 and 0.46 of it
    assert salient_instances(scene_of(left, just_half)) == (1, 2)
    assert salient_instances(scene_of(left, less)) == (1,)
    # A large one at the border weighs more than a dot in the middle; only what is seen counts.
    dot = (slice(38, 42), slice(38, 42))
    large = (slice(0, 80), slice(44, 80))
    assert salient_instances(scene_of(large, dot)) == (1,)
    cover = (slice(0, 80), slice(45, 80))
    assert salient_instances(scene_of(large, cover)) == (2,)


def test_the_rule_is_as_stated_pixel_by_pixel() -> None:
    """Literal: sum of exp(-d^2 / (2 * 0.25^2)) over the pixels seen; at least half of the heaviest."""
    for index in range(8):
        scene = draw_scene((15, 9, 18), size=32, rng=stream(1, "rule", index))
        weights: dict[int, float] = {}
        for row in range(32):
            for column in range(32):
                down, across = (row + 0.5) / 32 - 0.5, (column + 0.5) / 32 - 0.5
                number = int(scene.instance[row, column])
                if number:
                    gain = np.exp(-(down**2 + across**2) / (2 * 0.25**2))
                    weights[number] = weights.get(number, 0.0) + gain
        heavy = [number for number, weight in sorted(weights.items()) if weight >= max(weights.values()) / 2]
        assert list(salient_instances(scene)) == heavy


def test_the_layout_is_that_of_duts_and_ecssd(made: Path) -> None:
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_dir())
    assert names == [
        "DUTS-TR",
        "DUTS-TR/DUTS-TR-Image",
        "DUTS-TR/DUTS-TR-Mask",
        "ECSSD",
        "ECSSD/ground_truth_mask",
        "ECSSD/images",
        "true_categories",
    ]
    assert [len(dataset) for dataset in opened(made)] == [40, 12]
    assert len(list((made / "true_categories").glob("*.png"))) == 52
    assert check_saliency("duts", made).problems == check_saliency("ecssd", made).problems == ()
    assert open_duts(made, "train").category_paths == ()  # the truth is never taken for pseudo-categories
    train, test = opened(made)
    assert not set(train.ids) & set(test.ids)


def test_masks_are_whole_objects_and_not_all_of_them(made: Path) -> None:
    partial = 0
    for dataset in opened(made):
        for index, one in enumerate(dataset.ids):
            mask = dataset.label(index) == 1
            category = np.asarray(Image.open(made / "true_categories" / f"{one}.png"))
            assert mask.any()
            assert (category[mask] > 0).all()
            partial += bool(((category > 0) & ~mask).mean() > 0.005)
    assert 0.2 < partial / 52 < 0.7  # calling every object salient is wrong that often


@pytest.mark.parametrize("real_list", ["train_aug", "val"])
def test_sets_of_categories_are_those_of_real_images_with_three_at_most(real_list: str) -> None:
    table = read_label_table()
    held = table.pixels[table.on(real_list)][:, 1:21] > 0
    real = [tuple((1 + np.flatnonzero(row)).tolist()) for row in held if 1 <= row.sum() <= 3]
    once = saliency._category_sets(real_list, len(real), seed=0)
    assert sorted(once) == sorted(real)
    assert saliency._category_sets(real_list, len(real) + 3, seed=0)[len(real) :] == once[:3]
    assert saliency._category_sets(real_list, len(real), seed=1) != once


def test_scenes_show_the_sets_of_their_list(made: Path) -> None:
    for dataset, real_list in zip(opened(made), ("train_aug", "val"), strict=True):
        shown = []
        for one in dataset.ids:
            category = np.asarray(Image.open(made / "true_categories" / f"{one}.png"))
            shown.append(tuple(number for number in np.unique(category).tolist() if number))
        assert shown == saliency._category_sets(real_list, len(dataset), seed=3)


def test_no_scene_is_drawn_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "_category_sets", lambda real_list, count, seed: [(8,)] * count)
    make_saliency(tmp_path / "cats", images=3, val=3, size=32, seed=0)
    pictures = {dataset.image(index).tobytes() for dataset in opened(tmp_path / "cats") for index in range(3)}
    assert len(pictures) == 6


def test_the_same_seed_draws_the_same_salient_objects(made: Path, tmp_path: Path) -> None:
    again = make_saliency(tmp_path / "again", images=40, val=12, size=64, seed=3)
    other = make_saliency(tmp_path / "other", images=40, val=12, size=64, seed=4)
    assert again.digest != other.digest
    for first, second in zip(opened(made), opened(tmp_path / "again"), strict=True):
        assert first.digest() == second.digest()


def test_ensure_makes_once_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ensure_saliency(tmp_path, images=3, val=2, size=32, seed=0)
    assert ensure_saliency(tmp_path, images=3, val=2, size=32, seed=0) == path
    with pytest.raises(InputError, match="is there already"):
        make_saliency(path, images=1, val=1, size=32, seed=0)

    def fail(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saliency, "salient_instances", fail)
    assert ensure_saliency(tmp_path, images=3, val=2, size=32, seed=0) == path
    with pytest.raises(KeyboardInterrupt):
        ensure_saliency(tmp_path, images=4, val=2, size=32, seed=0)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
