"""MS-COCO's layout on small folders drawn here, on the published sample where it is at hand, and broken."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from segmix_core import results
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data import check_disjoint, coco
from segmix_core.data.check import check
from segmix_core.data.coco import halve, open_coco
from segmix_core.errors import InputError

HEIGHT, WIDTH = 40, 60


def box(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    """A rectangle of whole pixels as COCO writes it: corners between pixels."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def runs_of(mask: np.ndarray) -> list[int]:
    """Uncompressed run lengths down the columns, beginning outside."""
    flat = mask.T.ravel()
    edges = (
        np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]])))
        if flat.size
        else np.array([])
    )
    return np.diff(np.concatenate([[0], edges])).tolist()


def annotation(number: int, image: int, category: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": segmentation,
        "area": 100.0, "iscrowd": 0, "bbox": [0, 0, 1, 1],
    } | more  # fmt: skip


def content() -> dict[str, Any]:
    """Three images: a small cat on a large sofa, a crowd under an object, and one with nothing."""
    crowd = np.zeros((HEIGHT, WIDTH), dtype=bool)
    crowd[5:35, 5:55] = True
    packed = coco_mask.encode(np.asfortranarray(crowd.astype(np.uint8)))["counts"].decode()
    return {
        "images": [
            {"id": number, "file_name": f"{number:012d}.jpg", "height": HEIGHT, "width": WIDTH}
            for number in (7, 9, 11)
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 1, "name": "person"}, {"id": 63, "name": "couch"}],
        "annotations": [
            annotation(1, 7, 17, box(20, 10, 30, 20), area=100.0),
            annotation(2, 7, 63, box(10, 5, 50, 35), area=1200.0),
            annotation(3, 9, 1, {"size": [HEIGHT, WIDTH], "counts": runs_of(crowd)}, iscrowd=1),
            annotation(4, 9, 17, box(0, 0, 20, 20), area=400.0),
            annotation(5, 9, 1, {"size": [HEIGHT, WIDTH], "counts": packed}, iscrowd=1),
        ],
    }


def write(root: Path, whole: dict[str, Any], split: str = "train2017") -> Path:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(whole))
    folder = root / "images" / coco._FOLDERS.get(split, split)
    folder.mkdir(parents=True, exist_ok=True)
    for entry in whole["images"]:
        if "id" in entry:
            Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(folder / f"{entry['id']:012d}.jpg")
    return root


def opened(tmp_path: Path, whole: dict[str, Any] | None = None, split: str = "train2017") -> Any:
    root = write(tmp_path / "coco", whole or content(), split)
    return open_coco(root, split, maps=tmp_path / "maps")


def test_categories_are_numbered_by_their_ids(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    assert dataset.categories == ("background", "person", "cat", "couch")
    assert dataset.ids == ("000000000007", "000000000009", "000000000011")
    assert dataset_presence(dataset)[:, 1:].tolist() == [
        [False, True, True],
        [False, True, False],
        [False] * 3,
    ]
    assert cooccurrence_matrix(dataset_presence(dataset))[2, 3] == 1


def test_the_smaller_object_lies_on_the_larger_one(tmp_path: Path) -> None:
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[5:35, 10:50] = 3
    expected[10:20, 20:30] = 2
    assert np.array_equal(opened(tmp_path).label(0), expected)
    turned = content()
    turned["annotations"].reverse()
    assert np.array_equal(opened(tmp_path / "again", turned).label(0), expected)


def test_a_crowd_is_ignored_except_under_objects(tmp_path: Path) -> None:
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[5:35, 5:55] = 255
    expected[:20, :20] = 2
    assert np.array_equal(opened(tmp_path).label(1), expected)
    assert not opened(tmp_path).label(2).any()
    image, label = opened(tmp_path).pair(1)
    assert image.shape[:2] == label.shape


def test_a_polygon_is_filled_as_another_library_fills_it(tmp_path: Path) -> None:
    points = [12.3, 4.1, 48.7, 9.9, 55.2, 33.3, 20.4, 36.8, 6.6, 20.5]
    whole = content() | {"annotations": [annotation(1, 7, 17, [points])]}
    label = opened(tmp_path, whole).label(0)
    canvas = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(canvas).polygon(points, fill=1, outline=1)
    other = np.asarray(canvas) > 0
    wrong = (label == 2) != other
    border = other ^ np.asarray(Image.fromarray(other).resize((WIDTH, HEIGHT)))
    assert not border.any()
    assert wrong.sum() < 2 * (WIDTH + HEIGHT) * 0.6  # along the outline alone
    inner = other[:-2, :-2] & other[2:, 2:] & other[:-2, 2:] & other[2:, :-2]
    assert (label[1:-1, 1:-1][inner] == 2).all()


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=150, deadline=None)
def test_compressed_runs_are_read_as_the_library_writes_them(mask: np.ndarray) -> None:
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    segmentation = {"size": list(mask.shape), "counts": packed}
    assert np.array_equal(coco._mask(segmentation, *mask.shape, "here"), mask)
    plain = {"size": list(mask.shape), "counts": runs_of(mask)}
    assert np.array_equal(coco._mask(plain, *mask.shape, "here"), mask)


def test_a_run_that_never_ends_is_refused_at_once() -> None:
    began = time.monotonic()
    assert coco._runs("o" * 3_000_000) == []
    assert time.monotonic() - began < 1  # as an integer of so many bits it would take minutes
    assert coco._runs("o" * 12 + "0") == coco._runs("o" * 12) == []
    longest = coco_mask.encode(np.zeros((9000, 9000), np.uint8, order="F"))["counts"].decode()
    assert coco._runs(longest) == [81_000_000]


def test_maps_are_made_once_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    paint = coco.paint

    def count(record: Any) -> np.ndarray:
        painted.append(record.number)
        if len(painted) == 2:
            raise KeyboardInterrupt
        return paint(record)

    monkeypatch.setattr(coco, "paint", count)
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path)
    assert not list((tmp_path / "maps").rglob("*.part"))
    opened(tmp_path)
    assert painted == [7, 9, 9, 11]
    opened(tmp_path)
    assert len(painted) == 4
    changed = content()
    changed["annotations"].pop()
    opened(tmp_path, changed)
    assert len(painted) == 7  # another file, other maps


def test_the_lists_of_the_paper_come_from_either_year(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    with pytest.raises(InputError, match=r"needs instances_val2017\.json or instances_minival2014\.json"):
        write(root, content(), "train2014") and open_coco(root, "minival", maps=tmp_path / "maps")
    other = content()
    for entry in other["images"]:
        entry["id"] += 100
        entry["file_name"] = f"{entry['id']:012d}.jpg"
    for entry in other["annotations"]:
        entry["image_id"] += 100
    write(root, other, "valminusminival2014")
    both = open_coco(root, "trainval35k", maps=tmp_path / "maps")
    assert len(both) == 6
    assert both.image_paths[5].parent.name == "val2014"
    both.pair(4)
    write(root, content(), "train2017")
    assert len(open_coco(root, "trainval35k", maps=tmp_path / "maps")) == 3


def test_the_annotations_of_2017_take_the_images_of_2014(tmp_path: Path) -> None:
    root = write(tmp_path / "coco", content(), "val2017")
    (root / "val2014").mkdir()
    for path in (root / "images" / "val2017").iterdir():
        path.rename(root / "val2014" / f"COCO_val2014_{path.name}")
    dataset = open_coco(root, "minival", maps=tmp_path / "maps")
    assert dataset.ids[0] == "000000000007"
    assert dataset.image_paths[0] == root / "val2014" / "COCO_val2014_000000000007.jpg"
    dataset.pair(0)


def test_an_image_is_known_in_either_year(tmp_path: Path) -> None:
    root = write(tmp_path / "coco", content(), "val2017")
    before = content()
    for entry in before["images"]:
        entry["file_name"] = f"COCO_val2014_{entry['file_name']}"
    write(root, before, "val2014")
    lists = [
        open_coco(root, split, need_images=False, maps=tmp_path / "maps") for split in ("val2014", "val2017")
    ]
    assert not set(lists[0].ids) & set(lists[1].ids)
    for training, evaluation in (lists, lists[::-1]):
        with pytest.raises(InputError, match="share 3 images, such as 000000000007"):
            check_disjoint(training, evaluation)


def test_a_list_of_two_files_is_of_the_same_categories_and_other_images(tmp_path: Path) -> None:
    root = write(write(tmp_path / "coco", content(), "train2014"), content(), "valminusminival2014")
    with pytest.raises(InputError, match=r"valminusminival2014\.json, image 7: .* is named twice"):
        open_coco(root, "trainval35k", maps=tmp_path / "maps")
    other = content()
    other["categories"][0]["name"] = "lion"
    write(root, other, "valminusminival2014")
    with pytest.raises(InputError, match="other categories than its companion"):
        open_coco(root, "trainval35k", maps=tmp_path / "maps")


def test_the_polygons_of_an_object_are_painted_together(tmp_path: Path) -> None:
    whole = content() | {"annotations": [annotation(1, 7, 17, box(0, 0, 5, 5) + box(50, 30, 60, 40))]}
    label = opened(tmp_path, whole).label(0)
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[:5, :5] = expected[30:, 50:] = 2
    assert np.array_equal(label, expected)


def test_whole_maps_are_opened_without_the_annotations_and_a_lost_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(tmp_path)
    label = first.label(1)
    monkeypatch.setattr(coco, "_read", lambda path: pytest.fail("the annotations were read again"))
    again = opened(tmp_path)
    assert again == first
    monkeypatch.undo()
    first.label_paths[1].unlink()
    assert np.array_equal(opened(tmp_path).label(1), label)
    (first.label_paths[1].parent / "contents.json").write_text("{")
    assert opened(tmp_path).ids == first.ids
    monkeypatch.setattr(coco, "_RULE", -1)
    assert opened(tmp_path).label_paths != first.label_paths


def test_several_processes_make_the_same_maps_and_say_how_far_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = opened(tmp_path / "alone")
    monkeypatch.setattr(coco, "_MANY", 1)
    root = write(tmp_path / "coco", content())
    said: list[tuple[int, int]] = []
    pooled = open_coco(
        root, "train2017", maps=tmp_path / "maps", progress=lambda done, total: said.append((done, total))
    )
    assert said == [(1, 3), (2, 3), (3, 3)]
    for index in range(3):
        assert np.array_equal(pooled.label(index), alone.label(index))
    spoilt = write(tmp_path / "spoilt", content() | {"annotations": [annotation(1, 7, 17, [])]})
    before = set((tmp_path / "maps").iterdir())
    with pytest.raises(InputError, match="annotation 1: has no polygon"):
        open_coco(spoilt, "train2017", maps=tmp_path / "maps")
    assert set((tmp_path / "maps").iterdir()) == before


def spoiled(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    whole = content()
    change(whole)
    return whole


BROKEN: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda c: c.pop("annotations"), "no file of instances"),
    (lambda c: c["images"].append(dict(c["images"][0])), "image 7: its id is there twice"),
    (lambda c: c["images"][1].pop("id"), "image number 1: has no id"),
    (lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"]), "is named twice"),
    (lambda c: c["images"][1].update(file_name="../x.jpg"), "no usable 'file_name'"),
    (lambda c: c["images"][1].pop("height"), "image 9: has no usable 'height'"),
    (lambda c: c["annotations"][1].update(id=1), "annotation 1: its id is there twice"),
    (lambda c: c["annotations"][1].update(image_id=8), "annotation 2: names image 8"),
    (lambda c: c["annotations"][1].update(category_id=2), "annotation 2: names category 2"),
    (lambda c: c["images"][1].update(file_name=""), "image 9: has no usable 'file_name'"),
    (lambda c: c["images"][1].update(file_name=".."), "no usable 'file_name'"),
    (lambda c: c["images"][1].update(file_name="a\0b.jpg"), "no usable 'file_name'"),
    (lambda c: c["images"][1].update(file_name="a\ud800.jpg"), "no usable 'file_name'"),
    (lambda c: c["images"][1].update(file_name="x" * 300), "no usable 'file_name'"),
    (lambda c: c["images"][1].update(file_name="\u00e9" * 190), "no usable 'file_name'"),  # 380 bytes
    (lambda c: c["images"][1].update(height=True), "no usable 'height'"),
    (lambda c: c["images"][1].update(width=10**9), "no usable 'width'"),
    (lambda c: c["images"][1].update(width=0), "no usable 'width'"),
    (lambda c: c["images"][1].update(id=True), "image number 1: its id is no whole number"),
    (lambda c: c["categories"][1].update(id=1.0), "category number 1: its id is no whole number"),
    (lambda c: c["annotations"][1].update(id="2"), "annotation number 1: its id is no whole number"),
    (lambda c: c["annotations"][1].update(id=None), "annotation number 1: has no id"),
    (lambda c: c["images"][1].update(height=65_535, width=65_535), "image 9: has more than 89478485 pixels"),
    (lambda c: c["images"][1].update(height=8946, width=10_003), "image 9: has more than 89478485 pixels"),
    (lambda c: c.update(categories=[], annotations=[]), "names no category"),
    (lambda c: c["categories"][1].update(name="cat"), "category cat is there 2 times"),
    (lambda c: c["categories"][1].update(name="background"), "category background is there 2 times"),
    (lambda c: c["categories"].extend({"id": i, "name": f"{i}"} for i in range(100, 400)), "303 categories"),
    (lambda c: c["annotations"][1].update(area=float("nan")), "annotation 2: has no usable 'area'"),
    (lambda c: c["annotations"][1].update(area=10**400), "no usable 'area'"),
    (lambda c: c["annotations"][1].update(area=-1), "no usable 'area'"),
    (lambda c: c["annotations"][1].pop("area"), "no usable 'area'"),
    (lambda c: c["annotations"][1].update(iscrowd="0"), "no usable 'iscrowd'"),
    (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, 10**400, 1, 5]]), "three or more pairs"),
    (lambda c: c["annotations"][1].update(segmentation=box(-20, 5, -10, 35)), "outside of its image"),
    (lambda c: c["annotations"][1].pop("segmentation"), "no usable 'segmentation'"),
    (lambda c: c["annotations"][1].update(segmentation=[]), "annotation 2: has no polygon"),
    (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, 9, 1]]), "three or more pairs"),
    (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, 9]]), "three or more pairs"),
    (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, "x", 1, 5]]), "three or more pairs"),
    (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, np.inf, 1, 5]]), "three or more pairs"),
    (lambda c: c["annotations"][1].update(segmentation=box(70, 5, 90, 35)), "outside of its image"),
    (lambda c: c["annotations"][1].update(segmentation=box(1, 5, 900_000, 35)), "far beyond its image"),
    (lambda c: c["annotations"][2]["segmentation"].update(size=[WIDTH, HEIGHT]), "run lengths are for"),
    (lambda c: c["annotations"][2]["segmentation"]["counts"].append(1), "do not add up"),
    (lambda c: c["annotations"][2]["segmentation"].update(counts=[-5, HEIGHT * WIDTH + 5]), "do not add up"),
    (lambda c: c["annotations"][2]["segmentation"].update(counts=None), "do not add up"),
    (lambda c: c["annotations"][4]["segmentation"].update(counts="PPPPPPPP"), "do not add up"),
    (lambda c: c["annotations"][4]["segmentation"].update(counts="\x00\xff"), "do not add up"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_one_line_that_names_it(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        opened(tmp_path, spoiled(change))
    assert said in str(caught.value)
    assert "instances_train2017.json" in str(caught.value)
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("contents.json"))
    assert not list((tmp_path / "maps").glob("*/*"))  # nor maps of the images before it
    problems = check("coco", tmp_path / "coco").problems
    assert len(problems) == 1
    assert said.split(": ")[-1] in problems[0].problem


def test_objects_too_small_for_a_pixel_are_counted_and_no_fault(tmp_path: Path) -> None:
    whole = content()
    root = write(tmp_path / "coco", whole)
    assert check("coco", root).notes == ()
    whole["annotations"] += [
        annotation(6, 11, 17, [[1, 1, 2, 2, 3, 3]]),
        annotation(7, 11, 17, {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, iscrowd=1),
        annotation(8, 7, 17, box(1, 1, 3, 3), area=1e4),  # wholly covered, but not without pixels
    ]
    found = check("coco", write(tmp_path / "coco", whole))
    assert (found.problems, found.notes) == ((), ("2 of 8 annotations cover no pixel",))
    (listed,) = found.lists
    assert (listed.name, listed.images, listed.published) == ("train2017", 3, 118_287)
    assert not opened(tmp_path, whole).label(2).any()


def test_missing_images_are_said_before_a_map_is_painted(tmp_path: Path) -> None:
    root = write(tmp_path / "coco", content() | {"annotations": [annotation(1, 7, 17, [])]})
    (root / "images" / "train2017" / "000000000009.jpg").unlink()
    with pytest.raises(InputError, match="is on list train2017 and does not exist"):
        open_coco(root, "train2017", maps=tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


def test_each_list_is_held_to_the_size_of_its_images(tmp_path: Path) -> None:
    root = write(tmp_path / "coco", content(), "minival2014")
    assert check("coco", write(root, content(), "val2014")).problems == ()
    other = content()
    other["images"][1]["width"] += 1
    other["annotations"] = []
    (root / "annotations" / "instances_val2014.json").write_text(json.dumps(other))
    (problem,) = check("coco", root).problems
    assert problem.problem.startswith(f"is of {WIDTH}x{HEIGHT} pixels")


def test_cut_json_and_missing_or_other_images_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "coco", content())
    path = root / "annotations" / "instances_train2017.json"
    image = root / "images" / "train2017" / "000000000009.jpg"
    Image.new("RGB", (9, 9)).save(image)
    (problem,) = check("coco", root).problems
    assert problem.problem.startswith("is of 9x9 pixels")
    dataset = open_coco(root, "train2017", maps=tmp_path / "maps")
    with pytest.raises(InputError, match="60x40 pixels for an image of 9x9"):
        dataset.pair(1)
    image.unlink()
    with pytest.raises(InputError, match="is on list train2017 and does not exist"):
        open_coco(root, "train2017", maps=tmp_path / "maps")
    assert len(open_coco(root, "train2017", maps=tmp_path / "maps", need_images=False)) == 3
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="is no whole JSON"):
        open_coco(root, "train2017", maps=tmp_path / "maps")
    path.write_text(json.dumps(content())[:-100])
    with pytest.raises(InputError, match="is no whole JSON"):
        open_coco(root, "train2017", maps=tmp_path / "maps")
    with pytest.raises(InputError, match=r"lists here: train2017"):
        open_coco(root, "val2017", maps=tmp_path / "maps")
    with pytest.raises(InputError, match="no such folder"):
        open_coco(tmp_path / "nowhere", "val2017", maps=tmp_path / "maps")


def test_a_sample_in_one_file_is_halved(tmp_path: Path) -> None:
    root = write(tmp_path / "coco", content())
    assert halve(root, "train2017", tmp_path / "halves") == (2, 1)
    training, evaluation = (
        open_coco(tmp_path / "halves", split, maps=tmp_path / "maps") for split in ("trainval35k", "minival")
    )
    assert [name[-2:] for name in training.ids] == ["07", "11"]
    assert [name[-2:] for name in evaluation.ids] == ["09"]
    check_disjoint(training, evaluation)
    whole = open_coco(root, "train2017", maps=tmp_path / "maps")
    for index, (half, place) in enumerate([(training, 0), (evaluation, 0), (training, 1)]):
        np.testing.assert_array_equal(half.pair(place)[1], whole.pair(index)[1])
    assert check("coco", tmp_path / "halves").problems == ()
    with pytest.raises(InputError, match="is there already"):
        halve(root, "train2017", tmp_path / "halves")
    single = content() | {"images": content()["images"][:1], "annotations": content()["annotations"][:2]}
    with pytest.raises(InputError, match="names a single image"):
        halve(write(tmp_path / "one", single), "train2017", tmp_path / "of one")
    for part in ("train2014", "valminusminival2014"):
        write(tmp_path / "before", content(), part)
    with pytest.raises(InputError, match="name one: train2014, valminusminival2014"):
        halve(tmp_path / "before", "trainval35k", tmp_path / "of one")
    assert not (tmp_path / "of one").exists()


def test_the_committed_rows_are_of_the_halves_of_the_published_sample(
    real_data: Path, tmp_path: Path
) -> None:
    assert halve(real_data / "coco128", "train2017", tmp_path / "halves") == (64, 64)
    training, evaluation = (
        open_coco(tmp_path / "halves", split, maps=tmp_path / "maps").digest()
        for split in ("trainval35k", "minival")
    )
    rows = results.read(results.RESULTS / "coco-demo.jsonl")
    assert {(row["dataset_digest"], row["eval_digest"]) for row in rows} == {(training, evaluation)}


def test_the_published_sample(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "coco128"
    dataset = open_coco(root, "train2017", maps=tmp_path / "maps")
    assert (len(dataset), len(dataset.categories)) == (128, 81)
    whole = json.loads((root / "annotations" / "instances_train2017.json").read_text())
    number = {
        one["id"]: place for place, one in enumerate(sorted(whole["categories"], key=lambda c: c["id"]), 1)
    }
    by_image: dict[int, list[dict[str, Any]]] = {}
    for one in whole["annotations"]:
        by_image.setdefault(one["image_id"], []).append(one)
    compared = 0
    for index, identifier in enumerate(dataset.ids):
        _, label = dataset.pair(index)
        mine = by_image.get(int(identifier), [])
        assert (label == 255).any() == any(one["iscrowd"] for one in mine)
        assert set(np.unique(label)) - {0, 255} <= {number[one["category_id"]] for one in mine}
        if len(mine) == 1 and not mine[0]["iscrowd"]:  # nothing covers it
            seen = (label == number[mine[0]["category_id"]]).sum()
            assert seen == pytest.approx(mine[0]["area"], rel=0.05)
            compared += 1
    assert compared > 10
    assert check("coco", root).problems == ()
