"""The subsets of Tables 4 and 5 and of Fig. 5: against literal definitions, VOC's counts and drawn scenes."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segmix_core import subsets as room
from segmix_core.cooccurrence import cooccurrence_matrix, dataset_presence
from segmix_core.data import silhouettes
from segmix_core.data.annotations import read_annotation
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.label_table import read_label_table
from segmix_core.data.voc import VOC_CATEGORIES, open_voc
from segmix_core.errors import InputError
from segmix_core.experiments import FIGURES, PRINTED_IMAGES, TABLES
from segmix_core.experiments.paper import COMPANIONS, THRESHOLDS
from segmix_core.subsets import build_subsets, counts, describe_subsets, missing, voc_subsets


def listed(
    ids: tuple[str, ...], categories: tuple[str, ...] = VOC_CATEGORIES, root: Path = Path("nowhere")
) -> SegmentationDataset:
    """A list of images of which only the label table is known."""
    return SegmentationDataset(
        name="drawn", root=root, split="val", categories=categories, ids=ids, image_paths=(), label_paths=()
    )


IMAGES = st.lists(
    st.frozensets(st.sampled_from(["person", *COMPANIONS, "cat", "sheep"]), max_size=5), max_size=12
)
OFTEN = st.lists(st.sampled_from([0, 9, 10, 11, 19, 20, 29, 30, 40, 49, 50, 51]), min_size=28, max_size=28)


@settings(deadline=None, max_examples=200)
@given(IMAGES, OFTEN)
def test_every_subset_is_its_definition(images: list[frozenset[str]], often: list[int]) -> None:
    used = ["person", *COMPANIONS, "cat", "sheep"]
    together = dict(zip(map(frozenset, combinations(used, 2)), often, strict=True))
    matrix = np.zeros((21, 21), dtype=np.int64)
    for pair, number in together.items():
        first, second = (VOC_CATEGORIES.index(name) for name in pair)
        matrix[first, second] = matrix[second, first] = number
    presence = np.array([[name in image for name in VOC_CATEGORIES] for image in images], dtype=bool)
    presence = presence.reshape(-1, 21)
    presence[::2, 0] = True  # background counts nowhere
    ids = tuple(f"image {number}" for number in range(len(images)))
    found = build_subsets(listed(ids), presence, matrix)

    def expect(name: str, wanted: list[bool]) -> None:
        chosen = tuple(identifier for identifier, here in zip(ids, wanted, strict=True) if here)
        assert found[name].ids == chosen, name

    for number in (2, 3, 4):
        expect(f"unique/{number}", [len(image) == number for image in images])
    for thing in COMPANIONS:
        expect(f"with-person/{thing}", [image == {"person", thing} for image in images])
        expect(f"alone/{thing}", [image == {thing} for image in images])
    for threshold in THRESHOLDS:
        rare = [
            [together[frozenset(pair)] < threshold for pair in combinations(image, 2)] for image in images
        ]
        every = [len(image) >= 2 and all(pairs) for image, pairs in zip(images, rare, strict=True)]
        expect(f"rare/{threshold}", every)
        expect(f"rare-any/{threshold}", [any(pairs) for pairs in rare])
        single = [len(image) == 1 for image in images]
        expect(f"rare-or-single/{threshold}", [a or b for a, b in zip(every, single, strict=True)])


@pytest.fixture(scope="module")
def val() -> dict[str, room.Subset]:
    """The subsets of VOC's val that its label maps tell, with C_ss of train_aug."""
    return voc_subsets()


def test_the_label_table_is_read_as_a_data_set_would_be(val: dict[str, room.Subset]) -> None:
    table = read_label_table()
    ids = tuple(np.array(table.ids)[table.on("val")].tolist())
    matrix = cooccurrence_matrix(table.presence("train_aug"))
    assert build_subsets(listed(ids), table.presence("val"), matrix) == val


def test_voc_val_has_the_counts_that_its_masks_give(val: dict[str, room.Subset]) -> None:
    """Facts computed once from the official masks; the paper prints 375, 121, and 45 for person and car."""
    number = counts(val)
    assert [number[f"unique/{n}"] for n in (2, 3, 4)] == [374, 122, 23]
    things = ("horse", "motorbike", "bicycle", "bottle", "car")
    assert [number[f"with-person/{thing}"] for thing in things] == [32, 34, 30, 20, 15]
    assert [number[f"alone/{thing}"] for thing in things] == [44, 23, 29, 35, 45]
    assert [number[f"rare/{t}"] for t in (50, 40, 30, 20, 10)] == [49, 33, 20, 16, 8]
    assert [number[f"rare-any/{t}"] for t in (50, 40, 30, 20, 10)] == [109, 90, 65, 52, 33]
    single = int((read_label_table().presence("val")[:, 1:].sum(1) == 1).sum())
    assert [number[f"rare-or-single/{t}"] - number[f"rare/{t}"] for t in THRESHOLDS] == [single] * 5


def test_a_subset_is_described_beside_the_printed_count(val: dict[str, room.Subset]) -> None:
    lines = {name: (what, images, printed) for name, what, images, printed in
             describe_subsets(val, PRINTED_IMAGES)}  # fmt: skip
    assert lines.keys() == val.keys()
    assert lines["unique/2"] == ("2 categories", 374, 375)
    assert lines["with-person/car"] == ("person and car, nothing else", 15, 45)
    assert lines["rare/50"][1:] == (49, None)
    assert "fewer than 50 training images" in lines["rare/50"][0]


def test_every_subset_that_a_table_reads_or_the_paper_counts_is_built() -> None:
    rows = [row for table in TABLES.values() for row in table]
    rows += [row for figure in FIGURES.values() for row in figure.rows]
    assert {row.subset for row in rows} - {None} <= set(room.NAMES)
    assert PRINTED_IMAGES.keys() <= set(room.NAMES)


def test_what_labels_alone_cannot_tell_is_named(val: dict[str, room.Subset]) -> None:
    absent = missing(listed(("one",)))
    assert set(absent) == {*room.OCCLUSION, *room.OBJECTS}
    assert not set(absent) & set(val)
    assert [name for name in room.NAMES if name not in absent] == list(val)
    assert "Annotations" in absent["occlusion/all"]
    assert "SegmentationObject" in absent["objects/3"]


def test_a_category_of_another_name_gives_no_subset() -> None:
    """COCO says motorcycle: an image of a person alone is none of person and motorbike."""
    renamed = tuple({"motorbike": "motorcycle"}.get(name, name) for name in VOC_CATEGORIES)
    dataset = replace(listed(("a", "b", "c"), renamed), name="coco")
    presence = np.zeros((3, 21), dtype=bool)
    presence[0, renamed.index("person")] = True
    presence[1, [renamed.index("person"), renamed.index("motorcycle")]] = True
    found = build_subsets(dataset, presence, np.zeros((21, 21), dtype=np.int64))
    gone = {"with-person/motorbike", "alone/motorbike"}
    assert not gone & set(found)
    assert {name for name in missing(dataset) if "/motor" in name} == gone
    assert missing(dataset)["alone/motorbike"] == "coco names no category 'motorbike', as VOC and Table 5 do"
    assert set(found) | set(missing(dataset)) == set(room.NAMES)
    nobody = replace(dataset, categories=tuple(name.replace("person", "human") for name in VOC_CATEGORIES))
    left = build_subsets(nobody, presence, np.zeros((21, 21), dtype=np.int64))
    assert not [name for name in left if name.startswith("with-person/")]
    assert left["alone/motorbike"].ids == ()
    assert missing(nobody)["with-person/horse"] == "coco names no category 'person', as VOC and Table 5 do"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("subsets") / "made"
    silhouettes.make(out, images=4, val=160, size=48, seed=11)
    return out


def built(root: Path) -> tuple[SegmentationDataset, dict[str, room.Subset]]:
    dataset = open_voc(root, "val")
    presence = dataset_presence(dataset)
    return dataset, build_subsets(dataset, presence, cooccurrence_matrix(presence))


def test_occlusion_and_objects_are_those_of_the_drawn_scenes(made: Path) -> None:
    dataset, found = built(made)
    assert list(found) == list(room.NAMES)
    assert not missing(dataset)
    some, every, alone = set(), set(), set()
    number = {}
    for identifier in dataset.ids:
        objects = read_annotation(made / "Annotations" / f"{identifier}.xml", VOC_CATEGORIES).objects
        occluded = sum(one.occluded for one in objects)
        some |= {identifier} if occluded else set()
        every |= {identifier} if occluded == len(objects) else set()
        alone |= {identifier} if occluded and len(objects) == 1 else set()
        instance = np.asarray(Image.open(made / "SegmentationObject" / f"{identifier}.png"))
        number[identifier] = len(set(instance.ravel().tolist()) - {0, 255})
        assert number[identifier] == len(objects)
    assert set(found["occlusion/any"].ids) == some
    assert set(found["occlusion/all"].ids) == every
    assert alone < every < some < set(dataset.ids)  # each of the four tells the next apart
    assert alone
    for wanted in (1, 2, 3, 4):
        expected = tuple(identifier for identifier in dataset.ids if number[identifier] == wanted)
        assert found[f"objects/{wanted}"].ids == expected
        assert expected
    assert max(number.values()) > 4  # which no subset of exactly four may hold
    assert found["objects/2"].what == "2 objects in Annotations"


def without(made: Path, out: Path, *gone: str) -> Path:
    """The generated folder without some of its folders."""
    out.mkdir()
    for entry in made.iterdir():
        if entry.name not in gone:
            (out / entry.name).symlink_to(entry)
    return out


def test_instance_maps_count_objects_where_there_is_no_xml(made: Path, tmp_path: Path) -> None:
    _, full = built(made)
    dataset, found = built(without(made, tmp_path / "maps", "Annotations"))
    assert set(missing(dataset)) == set(room.OCCLUSION)
    assert set(found) == set(room.NAMES) - set(room.OCCLUSION)
    for name in room.OBJECTS:
        assert found[name].ids == full[name].ids
    assert found["objects/1"].what == "1 object in SegmentationObject"


def test_void_in_an_instance_map_is_no_object(tiny_voc: Path) -> None:
    dataset = open_voc(tiny_voc, "val")
    (dataset.root / "SegmentationObject").mkdir()
    for identifier in dataset.ids:
        values = np.full((64, 64), 255, dtype=np.uint8)
        values[:2, :2] = [[0, 1], [2, 2]]
        Image.fromarray(values).save(dataset.root / "SegmentationObject" / f"{identifier}.png")
    found = built(tiny_voc)[1]
    assert found["objects/2"].ids == dataset.ids
    assert found["objects/3"].ids == ()


def test_neither_xml_nor_instance_maps(made: Path, tmp_path: Path) -> None:
    dataset, found = built(without(made, tmp_path / "bare", "Annotations", "SegmentationObject"))
    assert set(missing(dataset)) == {*room.OCCLUSION, *room.OBJECTS}
    assert set(found) == set(room.NAMES) - set(missing(dataset))


def test_a_missing_annotation_is_not_passed_over(made: Path, tmp_path: Path) -> None:
    root = without(made, tmp_path / "holes", "Annotations")
    (root / "Annotations").mkdir()
    with pytest.raises(InputError, match=r"val_000000\.xml: no such annotation"):
        built(root)
    root = without(made, tmp_path / "more", "Annotations", "SegmentationObject")
    (root / "SegmentationObject").mkdir()
    with pytest.raises(InputError, match=r"SegmentationObject/val_000000\.png"):
        built(root)
