"""The generated data set: what it promises about categories, instances, layout and reproducibility."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from segmix_core.data import open_dataset, silhouettes
from segmix_core.data.check import check
from segmix_core.data.label_table import read_label_table
from segmix_core.data.silhouettes import draw_scene, make_single_objects, outofcontext
from segmix_core.data.silhouettes.scene import is_occluded
from segmix_core.data.voc import VOC_CATEGORIES, open_voc
from segmix_core.errors import InputError
from segmix_core.rng import stream


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("silhouettes") / "made"
    report = silhouettes.make(out, images=60, val=20, size=64, seed=3)
    assert report.images == 80
    return out


def test_each_picture_has_the_categories_of_a_real_image(made: Path) -> None:
    table = read_label_table()
    row = {identifier: index for index, identifier in enumerate(table.ids)}
    real = json.loads((made / "SOURCE.json").read_text())["categories_of"]
    for split, real_list in (("train", "train_aug"), ("val", "val")):
        dataset = open_dataset("silhouettes", made, split)
        on_list = table.on(real_list)
        for index, identifier in enumerate(dataset.ids):
            source = row[real[identifier]]
            assert on_list[source]
            held = np.flatnonzero(table.pixels[source, 1:21]) + 1
            drawn = np.unique(dataset.label(index))
            assert drawn[drawn > 0].tolist() == held.tolist()
    assert not {real[i] for i in open_dataset("silhouettes", made, "train").ids} & {
        real[i] for i in open_dataset("silhouettes", made, "val").ids
    }


def test_the_layout_is_voc(made: Path) -> None:
    checked = check("silhouettes", made)
    assert checked.problems == ()
    assert checked.files == 4 * 80  # images, label maps, annotations, instance maps
    dataset = open_dataset("silhouettes", made, "trainval")
    assert len(dataset) == 80
    with Image.open(dataset.label_paths[0]) as label:
        assert label.mode == "P"


def test_annotations_agree_with_the_instance_maps(made: Path) -> None:
    dataset = open_dataset("silhouettes", made, "train")
    for index, identifier in enumerate(dataset.ids):
        label = dataset.label(index)
        instance = np.asarray(Image.open(made / "SegmentationObject" / f"{identifier}.png"))
        assert ((instance > 0) == (label > 0)).all()
        objects = ElementTree.parse(made / "Annotations" / f"{identifier}.xml").findall("object")
        numbers = [number for number in np.unique(instance) if number]
        assert len(objects) == len(numbers)
        for entry, number in zip(objects, numbers, strict=True):
            here = instance == number
            category = VOC_CATEGORIES.index(entry.findtext("name", ""))
            assert (label[here] == category).all()
            rows, columns = np.nonzero(here)
            box = [int(entry.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")]
            assert box == [columns.min() + 1, rows.min() + 1, columns.max() + 1, rows.max() + 1]


def test_occluded_means_that_something_stands_before_it() -> None:
    flags = []
    for index in range(60):
        scene = draw_scene((15, 9, 18), size=64, rng=stream(1, "occlusion", index))
        flags += [one.occluded for one in scene.instances]
    assert 0.1 < np.mean(flags) < 0.9
    alone = [
        draw_scene((8,), size=64, rng=stream(2, "occlusion", index), alone=True).instances
        for index in range(40)
    ]
    assert all(len(instances) == 1 for instances in alone)
    assert np.mean([instances[0].occluded for instances in alone]) < 0.3  # by a passing distractor at most


def test_a_sliver_that_is_hidden_occludes_nothing() -> None:
    hidden = [is_occluded(300, visible) for visible in (300, 299, 290, 289, 0)]
    assert hidden == [False, False, False, True, True]


def test_the_same_seed_draws_the_same_pictures(made: Path, tmp_path: Path) -> None:
    again = silhouettes.make(tmp_path / "again", images=60, val=20, size=64, seed=3)
    other = silhouettes.make(tmp_path / "other", images=60, val=20, size=64, seed=4)
    first = open_dataset("silhouettes", made, "train").digest()
    assert open_dataset("silhouettes", tmp_path / "again", "train").digest() == first
    assert again.digest != other.digest


def test_an_existing_folder_is_left_alone(made: Path) -> None:
    before = sorted(path.name for path in made.rglob("*"))
    with pytest.raises(InputError, match="is there already"):
        silhouettes.make(made, images=1, val=1, size=32, seed=0)
    assert sorted(path.name for path in made.rglob("*")) == before


def test_ensure_makes_once_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = silhouettes.ensure(tmp_path, images=4, val=2, size=32, seed=0)
    stamp = (path / "SOURCE.json").stat().st_mtime_ns
    assert silhouettes.ensure(tmp_path, images=4, val=2, size=32, seed=0) == path
    assert (path / "SOURCE.json").stat().st_mtime_ns == stamp

    def fail(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(silhouettes, "write_scene", fail)
    with pytest.raises(KeyboardInterrupt):
        silhouettes.ensure(tmp_path, images=5, val=2, size=32, seed=0)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_background_covers_about_as_much_as_in_voc() -> None:
    table = read_label_table()
    real = table.pixels[:, 0].sum() / table.pixels[:, :21].sum()
    sets = silhouettes._category_sets("train", 200, 5)
    shares = [
        (draw_scene(categories, size=64, rng=stream(5, "share", index)).label == 0).mean()
        for index, (_, categories) in enumerate(sets)
    ]
    assert abs(np.mean(shares) - real) < 0.07


def test_single_objects_show_what_they_are_named() -> None:
    pictures, labels = make_single_objects(40, size=48, seed=1)
    assert pictures.shape == (40, 48, 48, 3)
    assert np.bincount(labels, minlength=21)[1:].tolist() == [2] * 20
    again, _ = make_single_objects(40, size=48, seed=1)
    assert (again == pictures).all()


@pytest.mark.parametrize("category", range(1, 21), ids=lambda number: VOC_CATEGORIES[number])
def test_every_category_varies(category: int) -> None:
    shapes = {
        draw_scene((category,), size=48, rng=stream(7, "vary", category, index), alone=True).label.tobytes()
        for index in range(6)
    }
    assert len(shapes) == 6


# Out of context


def test_pairs_out_of_context_never_meet_and_ordinary_ones_do() -> None:
    table = read_label_table()
    held = table.presence()[table.on("train_aug") | table.on("val")]
    drawn = outofcontext.category_pairs(600, seed=3)
    for first, second in set(drawn["outofcontext"]):
        assert first != second
        assert not (held[:, first] & held[:, second]).any()
    for first, second in set(drawn["ordinary"]):
        assert (held[:, first] & held[:, second]).sum() >= 3
    assert len(set(drawn["outofcontext"])) > 20
    assert len(set(drawn["ordinary"])) > 20


def test_every_category_is_as_often_on_one_list_as_on_the_other() -> None:
    drawn = outofcontext.category_pairs(500, seed=0)
    counts = {name: np.bincount(np.ravel(pairs), minlength=21) for name, pairs in drawn.items()}
    assert set(np.flatnonzero(counts["outofcontext"])) == set(np.flatnonzero(counts["ordinary"]))
    present = counts["ordinary"] > 0
    assert present.sum() == 18
    assert not present[[VOC_CATEGORIES.index(name) for name in ("background", "person", "car")]].any()
    assert np.abs(counts["outofcontext"] - counts["ordinary"]).max() <= 4
    for count in counts.values():
        assert np.abs(count[present] - 1000 / 18).max() < 5


def test_scenes_out_of_context_lie_in_voc_layout(tmp_path: Path) -> None:
    made = silhouettes.make_out_of_context(tmp_path / "a", images=6, size=48, seed=1)
    assert made.images == 12
    pairs = outofcontext.category_pairs(6, seed=1)
    for split in ("outofcontext", "ordinary"):
        opened = open_voc(tmp_path / "a", split, name="silhouettes-outofcontext")
        shown = [tuple(np.unique(opened.label(index))[1:]) for index in range(len(opened))]
        assert shown == pairs[split]
    again = silhouettes.make_out_of_context(tmp_path / "b", images=6, size=48, seed=1)
    other = silhouettes.make_out_of_context(tmp_path / "c", images=6, size=48, seed=2)
    assert again.digest == made.digest != other.digest
    with pytest.raises(InputError, match="is there already"):
        silhouettes.make_out_of_context(tmp_path / "a", images=6, size=48, seed=1)
