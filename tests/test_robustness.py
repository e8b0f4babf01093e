"""Attacks on lists of images, perturbations that are kept, and the study: measured once, and whole."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_voc
from PIL import Image
from scipy.io import savemat
from test_results import ATTACKED, MADE
from test_results import row as result_row
from torch import Tensor

import segmix_core
from segmix_core import results, run
from segmix_core.attacks import Perturbation, control_of, fit, read_perturbation, write_perturbation
from segmix_core.attacks.adaptive import Adversary, available_aims
from segmix_core.attacks.gd_uap import GDUAP
from segmix_core.attacks.sanity import Check, finite_and_unmasked
from segmix_core.attacks.uap import UAP
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.voc import open_voc
from segmix_core.errors import InputError
from segmix_core.evaluation import Scores, evaluate
from segmix_core.experiments import find_experiment
from segmix_core.experiments.robustness import KINDS, STUDIES, SURROGATE, UNIVERSALS, Part, find_parts
from segmix_core.experiments.scales import SMOKE
from segmix_core.files import file_digest
from segmix_core.models import SourceSeparation
from segmix_core.report.robustness import curves, drops
from segmix_core.request import Request
from segmix_core.results import row_key
from segmix_core.rng import stream
from segmix_core.robustness import adaptive, at_hand, condition, protocol, study, target, universal
from segmix_core.robustness.adaptive import AttackedSet, attack_dataset, attack_folder, batch_of, worst_of
from segmix_core.robustness.at_hand import published
from segmix_core.robustness.condition import SOURCES, attack_digest
from segmix_core.robustness.study import run_study
from segmix_core.robustness.target import Clock, Target
from segmix_core.robustness.universal import Shown, crafted, crafting, ways
from segmix_core.run import OutOfTimeError, Ran

CROP = 32
SEA = Adversary(epsilon=8.0, steps=3, losses=("masked-ce", "js"))


def network(seed: int) -> SourceSeparation:
    torch.manual_seed(seed)
    model = SourceSeparation(
        21, backbone="resnet18w32", head="full", output_stride=8, aspp_channels=8, aspp_rates=(1, 2, 3)
    )
    return model.eval()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> SourceSeparation:
    return network(3)


@pytest.fixture(scope="module")
def other() -> SourceSeparation:
    return network(0)


@pytest.fixture(scope="module")
def images(model: SourceSeparation, tmp_path_factory: pytest.TempPathFactory) -> SegmentationDataset:
    """Five images, wide and low, so that a crop pads them, whose labels are what the network says of them."""
    shape = (24, 40)
    folder = tmp_path_factory.mktemp("own") / "voc"
    root = write_voc(folder, {"val": [np.zeros(shape, np.uint8)] * 5})
    rng = np.random.default_rng(5)
    for path in (root / "JPEGImages").iterdir():
        small = Image.fromarray(rng.integers(0, 256, (6, 10, 3), dtype=np.uint8))
        small.resize(shape[::-1]).save(path, quality=95)
    dataset = open_voc(root, "val")
    shown_BCHW, _, _ = batch_of(dataset, range(5), CROP, "cpu")
    with torch.no_grad():
        said_BHW = model(shown_BCHW).dominant.argmax(1).to(torch.uint8).numpy()
    for path, said in zip(dataset.label_paths, said_BHW, strict=True):
        label = np.full(shape, 255, np.uint8)
        label[:, 4:36] = said[4:28]
        Image.fromarray(label).save(path)
    return open_voc(root, "val")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(adaptive.TOGETHER, "cpu", (2, 2**18))


def attacked(model: SourceSeparation, images: SegmentationDataset, **given: Any) -> AttackedSet:
    return attack_dataset(
        model, images, given.pop("adversary", SEA), **{"measured": "dominant", "crop": CROP} | given
    )


def same(one: AttackedSet, two: AttackedSet) -> bool:
    return (
        one.scores.keys() == two.scores.keys()
        and one.by_loss.keys() == two.by_loss.keys()
        and all(
            np.array_equal(one.scores[name].per_image_nNN, two.scores[name].per_image_nNN)
            for name in one.scores
        )
        and np.array_equal(one.right_n, two.right_n)
        and all(np.array_equal(one.by_loss[name], two.by_loss[name]) for name in one.by_loss)
    )


def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SourceSeparation, Tensor]]:
    """The networks that judge, and the images that they are shown."""
    kept: list[tuple[SourceSeparation, Tensor]] = []
    scored = adaptive._scored

    def keep(judge: SourceSeparation, image_BCHW: Tensor, *rest: Any) -> dict[str, np.ndarray]:
        kept.append((judge, image_BCHW.clone()))
        return scored(judge, image_BCHW, *rest)

    monkeypatch.setattr(adaptive, "_scored", keep)
    return kept


# Attacks on the images of a list


def test_an_attack_takes_from_a_network_that_was_right_everywhere(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    clean = attacked(model, images, adversary=replace(SEA, epsilon=0.0))
    found = attacked(model, images)
    noisy = attacked(model, images, adversary=None, epsilon=8.0)
    assert clean.right_n.tolist() == [1.0] * 5
    assert (found.right_n < noisy.right_n).all()
    assert found.right_n.mean() < 0.97
    assert found.by_loss.keys() == {"masked-ce", "js"}
    assert np.allclose(found.right_n, np.minimum(*found.by_loss.values()))


def test_an_attack_that_was_stopped_goes_on_at_its_batch_bit_for_bit(
    model: SourceSeparation,
    images: SegmentationDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = attacked(model, images)
    batches: list[int] = []
    attack = adaptive.attack

    def count(model: SourceSeparation, image_BCHW: Tensor, *rest: Any, **named: Any) -> Any:
        batches.append(len(image_BCHW))
        return attack(model, image_BCHW, *rest, **named)

    def stop(done: int, number: int) -> None:
        assert (done, number) == (2, 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(adaptive, "attack", count)
    with pytest.raises(KeyboardInterrupt):
        attacked(model, images, folder=tmp_path, progress=stop)
    assert batches == [2]
    told: list[tuple[int, int]] = []
    gone_on = attacked(
        model, images, folder=tmp_path, progress=lambda done, number: told.append((done, number))
    )
    assert batches == [2, 2, 1]
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert same(gone_on, undisturbed)
    assert same(attacked(model, images, folder=tmp_path), undisturbed)
    assert batches == [2, 2, 1]


def spoil_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def spoil_images(path: Path) -> None:
    """A whole part, of another number of images."""
    with np.load(path) as opened:
        part = {name: opened[name][:1] for name in opened.files}
    np.savez(path, **part)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_bytes,
        spoil_images,
        lambda path: path.write_bytes(path.read_bytes()[:400]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("mine"),
        lambda path: np.savez(path),
        lambda path: np.savez(path, matrix=np.array([{}], dtype=object)),
    ],
)
def test_a_damaged_part_is_one_line(
    spoil: Any, model: SourceSeparation, images: SegmentationDataset, tmp_path: Path
) -> None:
    quick = Adversary(epsilon=1.0, steps=1, losses=("js",))
    attacked(model, images, adversary=quick, folder=tmp_path)
    spoil(tmp_path / "001.npz")
    with pytest.raises(InputError, match=r"001.npz: is no part of an attack; delete it"):
        attacked(model, images, adversary=quick, folder=tmp_path)
    (tmp_path / "001.npz").unlink()
    assert len(attacked(model, images, adversary=quick, folder=tmp_path).right_n) == 5


@pytest.mark.parametrize("adversary", [replace(SEA, epsilon=0.0), None])
def test_epsilon_0_is_plain_evaluation(
    adversary: Adversary | None, model: SourceSeparation, images: SegmentationDataset
) -> None:
    found = attacked(model, images, adversary=adversary, epsilon=0.0)
    plain = evaluate(model, images, crop=CROP, batch_size=2)
    assert found.scores.keys() == plain.keys() == {"dominant", "final"}
    for name, scores in plain.items():
        assert np.array_equal(found.scores[name].per_image_nNN, scores.per_image_nNN)


@pytest.mark.parametrize("adversary", [SEA, None])
def test_padding_is_left_alone(
    adversary: Adversary | None,
    model: SourceSeparation,
    images: SegmentationDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = seen(monkeypatch)
    attacked(model, images, adversary=adversary, epsilon=8.0)
    shown_BCHW = torch.cat([image for _, image in kept])
    image_BCHW, _, inside_BHW = batch_of(images, range(5), CROP, "cpu")
    assert inside_BHW.float().mean() == 24 / 32
    change_BHW = (shown_BCHW - image_BCHW).abs().amax(1)
    assert not change_BHW[~inside_BHW].any()
    assert (change_BHW[inside_BHW] > 0).float().mean() > 0.9
    assert float(change_BHW.max()) <= 8 / 255 + 1e-6


def test_transfer_is_judged_by_the_other_network(
    model: SourceSeparation,
    other: SourceSeparation,
    images: SegmentationDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = seen(monkeypatch)
    own = attacked(model, images)
    transferred = attacked(model, images, judges=other, measured="final")
    assert [judge is other for judge, _ in kept] == [False] * 3 + [True] * 3
    for (_, one), (_, two) in zip(kept[:3], kept[3:], strict=True):
        assert torch.equal(one, two)  # the attack itself does not know who will judge
    _, label_BHW, _ = batch_of(images, range(5), CROP, "cpu")
    with torch.no_grad():
        final = other(torch.cat([image for _, image in kept[3:]])).outputs()["final"]
    valid_BHW = label_BHW != 255
    right_B = ((final.argmax(1) == label_BHW) & valid_BHW).sum((1, 2)) / valid_BHW.sum((1, 2))
    assert transferred.right_n == pytest.approx(right_B.numpy())
    assert not np.allclose(transferred.right_n, own.right_n, atol=0.1)


def test_a_network_that_judges_is_put_into_evaluation_mode(images: SegmentationDataset) -> None:
    model = network(3)
    expected = attacked(model, images, adversary=None, epsilon=4.0)
    model.train()
    assert same(attacked(model, images, adversary=None, epsilon=4.0), expected)
    assert not model.training


def test_the_worst_of_several_is_taken_for_each_image() -> None:
    def one(rights: list[int], finals: list[int]) -> AttackedSet:
        """Of 10 pixels in each image, so many right."""
        outputs = {"dominant": rights, "final": finals}
        scores = {
            name: Scores(np.array([[[right, 10 - right], [0, 0]] for right in counts]), ("background", "cat"))
            for name, counts in outputs.items()
        }
        return AttackedSet(scores, np.array(rights) / 10, {"js": np.array(rights) / 10})

    worst = worst_of([one([9, 2, 5], [1, 2, 3]), one([4, 8, 5], [7, 8, 9])])
    assert worst.right_n.tolist() == [0.4, 0.2, 0.5]
    assert worst.scores["dominant"].per_image_nNN[:, 0, 0].tolist() == [4, 2, 5]
    # Another output is read on the image that is worst for the measured one; of equals the first counts.
    assert worst.scores["final"].per_image_nNN[:, 0, 0].tolist() == [7, 2, 3]
    assert worst.scores["dominant"].as_json()["aAcc"] == pytest.approx(100 * 11 / 30, abs=1e-4)


def test_a_folder_of_an_attack_is_named_after_all_that_decides_it(tmp_path: Path) -> None:
    identity = {"images": "a", "crop": 32, "seed": 0}
    adversaries = [
        SEA, None, replace(SEA, epsilon=4.0), replace(SEA, steps=4), replace(SEA, aim="joint"),
        replace(SEA, losses=("js", "masked-ce")), replace(SEA, shrink=False),
    ]  # fmt: skip
    folders = [attack_folder(tmp_path, one, **identity) for one in adversaries]
    folders += [attack_folder(tmp_path, SEA, **identity | {name: "b"}) for name in identity]
    assert len(set(folders)) == len(adversaries) + 3
    assert attack_folder(tmp_path, replace(SEA), **identity) == folders[0]


def test_some_images_of_a_list_keep_their_order_and_have_another_digest(images: SegmentationDataset) -> None:
    some = images.only([3, 0])
    assert some.ids == (images.ids[3], images.ids[0])
    assert np.array_equal(some.pair(0)[0], images.pair(3)[0])
    assert np.array_equal(some.pair(1)[1], images.pair(0)[1])
    whole = images.digest()
    digests = {whole, some.digest(), images.only([0, 3]).digest(), images.only([0]).digest()}
    assert len(digests) == 4
    assert images.only(range(5)).digest() == whole


# Universal perturbations


def rough(size: int) -> Perturbation:
    v_CHW = torch.rand(3, size, size, generator=torch.Generator().manual_seed(1)) * 20 - 10
    return Perturbation("rough", v_CHW, {"attack": "none"})


@pytest.mark.parametrize(("height", "width"), [(33, 47), (8, 8)])
def test_controls_are_made_at_the_size_of_the_image(height: int, width: int) -> None:
    """Resized noise would be averaged away: its largest size and its RMS are those after the fitting."""
    one = rough(8)
    fitted = replace(one, v_CHW=fit(one.v_CHW, height, width))
    grey = torch.full((2, 3, height, width), 0.5)
    change = {
        way.control: (way.perturb()(grey) - grey)[0] * 255
        for way in ways(one, access="transfer", published=False)
    }
    assert float(change[None].abs().max()) == pytest.approx(fitted.epsilon, abs=1e-3)
    assert change["signs of the same size"].abs() == pytest.approx(fitted.epsilon, abs=1e-3)
    assert change["signs of the same RMS"].abs() == pytest.approx(fitted.rms, abs=1e-3)
    assert fitted.rms < fitted.epsilon
    rng = stream(0, "control", "rough", "shuffled")
    shuffled = control_of(fitted, "shuffled", rng=rng).v_CHW
    assert change["shuffled"] == pytest.approx(shuffled, abs=1e-3)
    assert change["shuffled"].flatten().sort().values == pytest.approx(
        change[None].flatten().sort().values, abs=1e-3
    )


def test_a_perturbation_is_shown_in_its_ways() -> None:
    shown = [(way.fit, way.control) for way in ways(rough(8), access="transfer", published=True)]
    controls = (None, "signs of the same size", "signs of the same RMS", "shuffled")
    assert shown == [(how, control) for how in ("resize", "tile", "center_pad") for control in controls]
    own = [*ways(rough(8), access="white-box", published=False)]
    assert [(way.fit, way.control) for way in own] == shown[:4]
    assert {way.access for way in own} == {"white-box"}
    for way in own:
        assert results._misplaced(way.condition(), results.CONDITION) is None
    assert Shown(rough(8), fit="tile", control="shuffled").condition() == {
        "kind": "universal", "name": "rough", "control": "shuffled",
        "epsilon": round(rough(8).epsilon, 2), "severity": None, "aim": None, "access": "transfer",
        "how": "tile", "valid": True, "making": {"attack": "none", "code": attack_digest("universal")[:12]},
    }  # fmt: skip


def test_crafting_takes_its_length_from_a_study_or_from_steps() -> None:
    smoke = STUDIES["smoke"]
    assert crafting("uap", size=9) == UAP(size=9)
    assert crafting("gd-uap-part", size=9, epsilon=4, seed=2) == GDUAP(
        knowledge="part", size=9, epsilon=4, seed=2
    )
    of_study = crafting("gd-uap-none", size=9, study=smoke)
    assert isinstance(of_study, GDUAP)
    assert (of_study.iterations, of_study.check_every, of_study.watched) == (20, 10, 4)
    assert crafting("uap", size=9, study=smoke) == UAP(size=9, images=4, passes=1)
    short = crafting("gd-uap-none", size=9, steps=400)
    assert short == GDUAP(size=9, iterations=400)
    few = crafting("gd-uap-none", size=9, steps=60)
    assert isinstance(few, GDUAP)
    # Looking takes no longer than crafting.
    assert (few.iterations, few.check_every, few.watched) == (60, 60, 30)
    assert crafting("uap", size=9, study=smoke, steps=7) == UAP(size=9, images=4, passes=7)
    with pytest.raises(InputError, match="did you mean 'gd-uap-data'"):
        crafting("gd-uap-dat", size=9)


def test_a_published_perturbation_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such perturbation; put ResNet-152.mat there"):
        published(tmp_path, UNIVERSALS[0])


@pytest.mark.parametrize(
    ("largest", "advice"),
    [(10.0, None), (50.0, "restore the file"), (10 / 255, "multiply it by 255")],
)
def test_a_published_perturbation_has_its_published_size(
    tmp_path: Path, largest: float, advice: str | None
) -> None:
    v_WHC = np.linspace(-largest, largest, 8 * 8 * 3, dtype=np.float32).reshape(8, 8, 3)
    savemat(tmp_path / "ResNet-152.mat", {"r": v_WHC})
    if advice is None:
        found = published(tmp_path, UNIVERSALS[0])
        assert found is not None
        assert found.epsilon == pytest.approx(10)
    else:
        with pytest.raises(InputError, match=f"and 10 of 255 was published; {advice}"):
            published(tmp_path, UNIVERSALS[0])


def test_a_file_of_gd_uap_stands_in_for_crafting(tmp_path: Path) -> None:
    declared = {one.name: one for one in UNIVERSALS}
    assert published(tmp_path, declared["gd-uap-none"]) is None
    assert published(tmp_path, declared["uap"]) is None
    v_1CHW = np.linspace(-10, 10, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
    np.save(tmp_path / "gd-uap-none.npy", v_1CHW)
    found = published(tmp_path, declared["gd-uap-none"])
    assert found is not None
    assert (found.name, found.epsilon) == ("gd-uap-none", 10)
    np.save(tmp_path / "gd-uap-none.npy", v_1CHW / 255)
    with pytest.raises(InputError, match=r"and 10 of 255 was published; multiply it by 255"):
        published(tmp_path, declared["gd-uap-none"])
    (tmp_path / "gd-uap-data.npy").mkdir()
    with pytest.raises(InputError, match=r"gd-uap-data\.npy: no such perturbation"):
        published(tmp_path, declared["gd-uap-data"])


# The study

TINY = replace(
    SMOKE, crop=33, eval_crop=48, batch_size=4, aspp_channels=8, stage1_steps=1, stage2_steps=1,
    silhouettes=(8, 4, 48),
)  # fmt: skip
SHORT = replace(
    STUDIES["smoke"], images=2, steps=2, longer=3, corrupted=2, uap_images=1, gd_uap_iterations=2,
    gd_uap_check_every=2, gd_uap_watched=2,
)  # fmt: skip
NAMES = ("baseline", "sourcesep-cm")
STUDY: tuple[tuple[tuple[Part, ...], tuple[str, ...]], ...] = (
    (("universal", "adaptive"), NAMES),
    (("corruptions", "matrix"), NAMES[:1]),
)


def ask(name: str, *, seed: int = 0, **given: Any) -> Request:
    return Request(experiment=find_experiment(name), scale=TINY, pretrained="none", seed=seed, **given)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "CACHE", folder / "cache")
        patch.setattr("segmix_core.data.GENERATED", folder / "generated")
        patch.setitem(STUDIES, "smoke", SHORT)
        patch.setattr(study, "CORRUPTIONS", ("gaussian_noise", "contrast"))  # some need seconds to compile
        patch.setattr(study, "METHODS", NAMES)  # that attack each other
        yield folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of perturbations in the form of the published ones."""
    folder = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(0)
    for one in UNIVERSALS:
        if one.file is not None:
            savemat(folder / one.file, {"r": rng.uniform(-10, 10, (224, 224, 3)).astype(np.float32)})
    return folder


@pytest.fixture(scope="module")
def done(cache: Path, files: Path) -> Path:
    """The rows of the study: half of its parts of two methods, and all of them of one."""
    path = cache / "rows.jsonl"
    assert find_parts("robustness") == ("universal", "adaptive", "corruptions", "matrix")
    found = [
        run_study(parts, ask, experiments=names, perturbations=files, results_file=path)
        for parts, names in STUDY
    ]
    assert found == [
        Ran(done=[f"{part} {name} 0" for part in parts for name in names]) for parts, names in STUDY
    ]
    return path


def metrics(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((row_key(row), row["metrics"]["aAcc"]) for row in rows)


def of_kind(rows: list[dict[str, Any]], kind: str, name: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["condition"] or {}).get("kind") == kind and row["experiment"] == name]


@pytest.mark.slow
def test_a_second_run_adds_no_row_and_measures_nothing(
    done: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise AssertionError("measured again")

    for name in ("target.evaluate", "protocol.attack_dataset", "target.cached_run", "universal.load_model"):
        monkeypatch.setattr(f"segmix_core.robustness.{name}", fail)
    before = done.read_bytes()
    for parts, names in STUDY:
        again = run_study(parts, ask, experiments=names, perturbations=files, results_file=done)
        assert again == Ran(held=[f"{part} {name} 0" for part in parts for name in names])
    assert done.read_bytes() == before
    keys = [row_key(row) for row in results.read(done)]
    assert len(set(keys)) == len(keys)


def held(rows: list[dict[str, Any]], part: Part, name: str = "baseline", **given: Any) -> bool:
    """Whether rows hold a part of the study of TINY, with the published perturbations."""
    target = Target(ask(name, **given), ask, Clock(None), lambda what, unit: lambda *told: None)
    return study._is_held(target, part, rows, Path("published"))


PARTS_DONE: tuple[tuple[Part, str], ...] = (
    ("universal", "baseline"), ("universal", "sourcesep-cm"), ("adaptive", "sourcesep-cm"),
    ("corruptions", "baseline"), ("matrix", "baseline"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("part", "name"), PARTS_DONE)
def test_a_part_is_held_if_it_is_whole_and_the_last_of_this_code(
    part: Part, name: str, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = results.read(done)
    assert held(rows, part, name)
    assert not held(rows, part, name, seed=9)
    assert not held(rows, part, "mixup")
    assert not held(rows, part, name, precision="bf16")
    assert not held([row | {"dataset_digest": "other"} for row in rows], part, name)
    assert not held([row | {"eval_digest": "other"} for row in rows], part, name)
    assert not held([], part, name)
    # Whatever is missing of what makes it whole; of adaptive attacks the last row does.
    mine = [row for row in rows if row["experiment"] == name and row["condition"] is not None]
    kind = {"adaptive": "adaptive", "corruptions": "corruption"}.get(part, "universal")
    own = [row for row in mine if row["condition"]["kind"] == kind]
    own = [
        row
        for row in own
        if kind != "universal" or (" on " in row["condition"]["name"]) == (part == "matrix")
    ]
    cases = {json.dumps([row["condition"], row["stage"]]): row for row in own}.values()
    for lost in list(cases)[-1:] if part == "adaptive" else cases:
        rest = [row for row in own if (row["condition"], row["stage"]) != (lost["condition"], lost["stage"])]
        assert not held(rest, part, name)

    def by(code: str | None) -> list[dict[str, Any]]:
        changed = []
        for row in own:
            making = {key: value for key, value in row["condition"]["making"].items() if key != "code"}
            making |= {} if code is None else {"code": code}
            changed.append(row | {"condition": row["condition"] | {"making": making}})
        return changed

    assert held(by(None), part, name)  # of before it was noted
    assert not held(by("other"), part, name)
    assert not held(own + by("other"), part, name)
    assert held(by("other") + own, part, name)
    # Of two networks that were trained alike, neither was shown all.
    half = len(own) // 2
    assert not held([row | {"seconds": 1e6} for row in own[:half]] + own[half:], part, name)
    assert held([row | {"seconds": 1e6} for row in own[:half]] + own, part, name)
    monkeypatch.setattr(study, "attack_digest", lambda kind: "other")
    monkeypatch.setattr(study, "adaptive_digest", lambda *given: "other")
    assert held(by("other"), part, name)
    assert not held(own, part, name)


@pytest.mark.slow
def test_what_other_code_measures_stands_below_and_whole(
    cache: Path, done: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is in the cache, but nothing of what its attacks found by that code."""
    path = tmp_path / "rows.jsonl"
    before = [row for row in results.read(done) if row["experiment"] == "baseline"]
    results.append(path, before)
    for room in (study, protocol, universal, condition):
        monkeypatch.setattr(room, "attack_digest", lambda kind: "changed code")
    for part in ("adaptive", "corruptions"):
        common: dict[str, Any] = {"experiments": ("baseline",), "results_file": path}
        assert run_study((part,), ask, **common) == Ran(done=[f"{part} baseline 0"])
        assert run_study((part,), ask, **common) == Ran(held=[f"{part} baseline 0"])
    rows = results.read(path)
    assert [row_key(row) for row in rows[: len(before)]] == [row_key(row) for row in before]
    for kind in ("adaptive", "corruption"):
        old = of_kind(before, kind, "baseline")
        new = of_kind(rows[len(before) :], kind, "baseline")
        assert len(new) == len(old) > 0
        (code,) = {row["condition"]["making"]["code"] for row in new}
        assert code not in {row["condition"]["making"]["code"] for row in old}
    assert all(row["condition"] is not None for row in rows[len(before) :])  # of the same network


@pytest.mark.slow
def test_rows_are_of_the_compared_alone_and_beside_clean_ones(done: Path) -> None:
    rows = results.read(done)
    assert {(row["experiment"], row["seed"]) for row in rows} == {(name, 0) for name in NAMES}
    for name in NAMES:
        clean = [row for row in rows if row["condition"] is None and row["experiment"] == name]
        assert {row["stage"] for row in clean} == {1, 2}
    found = drops(rows)
    assert {drop.experiment for drop in found} == set(NAMES)
    table6 = {one.name for one in UNIVERSALS}
    assert {drop.perturbation for drop in found if " on " not in drop.perturbation} == table6


@pytest.mark.slow
def test_rows_of_universal_perturbations_say_what_was_shown(done: Path) -> None:
    rows = [
        row["condition"] | {"stage": row["stage"]}
        for row in of_kind(results.read(done), "universal", "baseline")
        if " on " not in row["condition"]["name"]
    ]
    shown = {(row["name"], row["control"], row["how"], row["stage"]) for row in rows}
    expected = set()
    for one in UNIVERSALS:
        controls = (None, "signs of the same size", "signs of the same RMS", "shuffled")
        fits = ("resize",) if one.file is None else ("resize", "tile", "center_pad")
        expected |= {(one.name, control, how, 2) for control in controls for how in fits}
        expected |= {(one.name, control, "resize", 1) for control in controls}
    assert shown == expected
    assert len(rows) == len(expected)
    assert {row["access"] for row in rows} == {"transfer"}
    for row in rows:
        making = row["making"]
        if row["name"].startswith("uap-"):
            assert making["file"] in ("ResNet-152.mat", "GoogLeNet.mat")
            assert row["epsilon"] == pytest.approx(10, abs=0.01)
        else:
            assert (row["epsilon"], making["epsilon"], making["output"]) == (10, 10, "dominant")
    networks = {row["making"]["network"] for row in rows if "network" in row["making"]}
    assert len(networks) == 1  # all on the surrogate ...
    own = [
        row["condition"]
        for row in of_kind(results.read(done), "universal", "baseline")
        if row["condition"]["name"] == "uap on baseline"
    ]
    assert own[0]["making"]["network"] not in networks  # ... which is another baseline than the compared one


@pytest.mark.slow
def test_the_matrix_says_who_was_attacked_by_its_own(done: Path) -> None:
    cells = {
        (row["condition"]["name"], row["condition"]["access"])
        for row in of_kind(results.read(done), "universal", "baseline")
        if " on " in row["condition"]["name"]
    }
    assert cells == {
        (f"{attack} on {source}", "white-box" if source == "baseline" else "transfer")
        for attack in ("uap", "gd-uap-none")
        for source in NAMES
    }


@pytest.mark.slow
def test_rows_of_adaptive_attacks_say_what_was_tried(done: Path) -> None:
    rows = of_kind(results.read(done), "adaptive", "sourcesep-cm")
    reported = [row for row in rows if row["output"] == "dominant"]
    shown = [
        tuple(row["condition"][key] for key in ("control", "epsilon", "aim", "access", "how"))
        for row in reported
        if row["stage"] == 2
    ]
    signs = "signs of the same size"
    aims = ("dominant", "final", "joint", "phantom")
    sea = "SEA, 2 steps, 4 losses"
    by_aim = [
        (None, 1.0, aim, "white-box", "SEA, 2 steps, 1 loss" if aim == "phantom" else sea) for aim in aims
    ]
    worst = reported[-1]["condition"]["making"]["aim"]
    assert worst != "phantom"
    assert shown == [
        (None, 0.0, None, None, "as it is"),
        *by_aim,
        (signs, 1.0, None, None, "random signs"),
        (signs, 4.0, None, None, "random signs"),
        (None, 4.0, worst, "white-box", sea),
        (None, 1.0, "dominant", "transfer", sea),
        (None, 1.0, worst, "white-box", "SEA, 3 steps, 4 losses"),
        (None, 255.0, "dominant", "white-box", "APGD, 2 steps, 1 loss"),
        (None, 1.0, "worst", "white-box", sea),
    ]
    assert {row["condition"]["aim"] for row in rows if row["stage"] == 1} == {*aims, "worst"}
    transfer = next(row for row in rows if row["condition"]["access"] == "transfer")
    assert transfer["condition"]["making"]["made on"] == {"experiment": "baseline", "seed": SURROGATE}
    assert {row["eval_images"] for row in rows} == {2}
    assert all(row["per_image"] is not None for row in rows)
    (curve,) = (one for one in curves(results.read(done)) if one.experiment == "sourcesep-cm")
    assert (list(curve.by_epsilon), list(curve.longer), curve.at) == ([0.0, 1.0, 4.0], [2, 3], 1.0)


@pytest.mark.parametrize(
    ("wrong", "probed"), [((), [0, 1]), ((0, 2), [1, 3]), ((0, 1, 2, 3), [4]), (range(5), [0])]
)
def test_gradients_are_probed_where_something_is_right(
    wrong: tuple[int, ...],
    probed: list[int],
    model: SourceSeparation,
    images: SegmentationDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The labels are what the network says; images of which nothing is right leave their place to others."""
    aims = tuple(aim for aim in available_aims(model) if aim != "final")  # which is right elsewhere
    kept: list[Tensor] = []

    def spoiled(dataset: SegmentationDataset, indices: Any, *given: Any) -> Any:
        image_BCHW, label_BHW, inside_BHW = batch_of(dataset, indices, *given)
        for index, label_HW in zip(indices, label_BHW, strict=True):
            if index in wrong:
                label_HW[label_HW != 255] = (label_HW[label_HW != 255] + 1) % 21
        return image_BCHW, label_BHW, inside_BHW

    def probe(model: SourceSeparation, image_BCHW: Tensor, *given: Any, **named: Any) -> Check:
        kept.append(image_BCHW)
        return finite_and_unmasked(model, image_BCHW, *given, **named)

    monkeypatch.setattr(adaptive, "batch_of", spoiled)
    monkeypatch.setattr(adaptive, "finite_and_unmasked", probe)
    monkeypatch.setattr(adaptive, "PROBED", 2)
    check = adaptive.gradients_of(model, images, aims, crop=CROP, device="cpu")
    expected, _, _ = batch_of(images, probed, CROP, "cpu")
    assert len(kept) == len(aims) == 3
    assert all(torch.equal(shown, expected) for shown in kept)
    found = "no image has a right pixel" if len(wrong) == 5 else "js: slopes differ by"
    assert all(f"of {aim}: {found}" in check.detail for aim in aims), check.detail
    assert check.holds or len(wrong) == 5


@pytest.mark.parametrize(
    ("device", "crop", "expected"),
    [
        ("cpu", 80, 16),
        ("cpu", 128, 16),
        ("cpu", 513, 1),
        ("cuda", 80, 64),
        ("cuda", 256, 64),
        ("cuda", 513, 15),
    ],
)
def test_fewer_images_are_attacked_together_where_they_are_larger(
    device: str, crop: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(adaptive.TOGETHER, "cpu", (16, 2**18))
    assert adaptive._together(crop, device) == expected


def test_each_check_is_told_what_it_is_about(
    images: SegmentationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every attack leaves another share of right pixels: a check that read the wrong one would say so."""
    shares = {"dominant": np.array([40.0, 60.0]), "phantom": np.array([90.0, 30.0])}  # the worst of each: 35
    told: dict[int, dict[str, str]] = {}

    def left(case: Any) -> float | np.ndarray:
        if case.adversary is None:
            return 90.0 if case.epsilon == 0 else 80.0 - case.epsilon - 2 * case.stage
        if case.on is not None:
            assert case.on == ("baseline", SURROGATE)
            return 55.0
        if case.epsilon in (0.0, protocol.UNBOUNDED):
            return 90.0 if case.epsilon == 0 else case.stage / 4
        if case.adversary.steps == SHORT.longer:
            return 45.0
        assert case.adversary.steps == SHORT.steps
        return shares[case.adversary.aim] - 10 * (case.stage == 1) - 20 * (case.epsilon > SHORT.at)

    def attacked(target: Any, dataset: Any, case: Any) -> AttackedSet:
        return AttackedSet({}, np.broadcast_to(np.asarray(left(case)) / 100, 2), {})

    def written(target: Any, case: Any, checks: list[Check]) -> dict[str, Any]:
        told[case.stage] = {check.name: check.detail for check in checks if check.holds}
        return {}

    monkeypatch.setattr(protocol, "_attacked", attacked)
    monkeypatch.setattr(protocol, "_adaptive_condition", written)
    monkeypatch.setattr(protocol, "_gradients", lambda target, model, dataset: Check("finite", True, model))
    monkeypatch.setattr(protocol, "available_aims", lambda model: tuple(shares))
    target: Any = SimpleNamespace(
        study=SHORT, output="dominant", model="after 2", stage1="after 1", request=ask("sourcesep-cm"),
        another=lambda name, seed: (name, seed), rows=lambda *given, **how: [],
    )  # fmt: skip
    assert (SHORT.at, SHORT.epsilons, SHORT.steps, SHORT.longer) == (1, (1, 4), 2, 3)
    assert list(protocol._attacks(target, images)) == []
    assert told == {
        2: {
            "size 0 changes nothing": "90 at 0, 90 clean",
            "more epsilon never helps the defender": "the worst aim: 90 at 0, 50 at 1, 30 at 4; "
            "tolerance 0.5; as reported: 90 at 0, 35 at 1, 30 at 4; tolerance 0.5",
            "more steps never helps the defender": "50 at 2, 45 at 3; tolerance 0.5",
            "noise of the same size is weaker": "at 1: 50 attacked, 75 with noise; "
            "at 4: 30 attacked, 72 with noise; by more than 0.5 asked",
            "an unbounded attack reaches zero": "0.5; at most 1 allowed",
            "transfer is not stronger": "50 white-box, 55 transfer; tolerance 0.5",
            "finite": "after 2",
        },
        1: {
            "noise of the same size is weaker": "40 attacked, 77 with noise; by more than 0.5 asked",
            "an unbounded attack reaches zero": "0.25; at most 1 allowed",
            "finite": "after 1",
        },
    }


@pytest.mark.slow
def test_a_check_that_fails_makes_every_row_of_the_network_invalid(
    cache: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def masked(*given: object, **named: object) -> Check:
        return Check("gradients are finite and not masked", False, "made up")

    for name in NAMES:
        for row in of_kind(results.read(done), "adaptive", name):
            condition = row["condition"]
            assert len(condition["making"]["checks"]) == {1: 3, 2: 7}[row["stage"]]
            assert condition["valid"] == (not condition["making"]["failed"])
    target = Target(ask("baseline"), ask, Clock(None), lambda what, unit: lambda *told: None)
    for kept in target.folder.glob("adaptive-*.jsonl"):
        kept.rename(kept.with_suffix(".before"))
    monkeypatch.setattr(adaptive, "finite_and_unmasked", masked)
    path = tmp_path / "rows.jsonl"
    run_study(("adaptive",), ask, experiments=("baseline",), results_file=path)
    for kept in target.folder.glob("adaptive-*.jsonl"):
        kept.with_suffix(".before").replace(kept)
    rows = of_kind(results.read(path), "adaptive", "baseline")
    assert {row["condition"]["valid"] for row in rows} == {False}
    for row in rows:
        assert "gradients are finite and not masked" in row["condition"]["making"]["failed"]
        found = row["condition"]["making"]["checks"]["gradients are finite and not masked"]
        assert found == "of dominant: made up"
    (curve,) = curves(rows)
    assert not curve.valid


def test_adaptive_rows_that_are_kept_are_those_of_the_tolerance(
    images: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides which checks hold, and so whether the rows are valid."""
    target: Any = SimpleNamespace(study=SHORT, shown_in=lambda part: images, folder=tmp_path)
    worst = result_row(condition=ATTACKED | {"kind": "adaptive", "aim": "worst", "making": MADE})
    asked: list[str] = []
    monkeypatch.setattr(protocol, "_attacks", lambda *given: asked.append("anew") or [worst])
    for tolerance, times in ((0.5, 1), (0.5, 1), (0.25, 2), (0.5, 2)):
        monkeypatch.setattr(protocol, "TOLERANCE", tolerance)
        assert list(protocol.adaptive_rows(target)) == [worst]
        assert len(asked) == times
    # A process that was killed as it wrote them left a part.
    (path, _) = tmp_path.glob("adaptive-*.jsonl")
    part = path.rename(path.with_suffix(".part"))
    part.write_bytes(part.read_bytes()[:-40])
    for tolerance in (0.5, 0.25):
        monkeypatch.setattr(protocol, "TOLERANCE", tolerance)
        assert list(protocol.adaptive_rows(target)) == [worst]
    assert (len(asked), results.read(path), part.exists()) == (3, [worst], False)


@pytest.mark.slow
def test_nothing_at_size_0_is_told_from_images_in_the_same_batches(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last digits of a network's scores follow the batch: plain evaluation takes another on a GPU."""
    shown: list[tuple[bool, float]] = []
    attack = protocol.attack_dataset

    def note(*given: Any, **named: Any) -> AttackedSet:
        shown.append((given[2] is None, named["epsilon"]))
        return attack(*given, **named)

    monkeypatch.setattr(protocol, "attack_dataset", note)
    monkeypatch.setattr(target, "evaluate", lambda *given, **named: pytest.fail("in other batches"))
    path = tmp_path / "rows.jsonl"
    run_study(("adaptive",), ask, experiments=("baseline",), seeds=(3,), results_file=path)
    assert [one for one in shown if not one[1]] == [(True, 0.0), (False, 0.0)]
    for row in of_kind(results.read(path), "adaptive", "baseline"):
        assert "size 0 changes nothing" not in row["condition"]["making"]["failed"]


@pytest.mark.slow
def test_corruptions_are_shown_at_every_severity(done: Path) -> None:
    rows = [row for row in of_kind(results.read(done), "corruption", "baseline") if row["reported"]]
    shown = [(row["condition"]["name"], row["condition"]["severity"]) for row in rows]
    assert shown[0] == ("none", 0)
    assert shown[1:] == [
        (name, severity) for name in ("gaussian_noise", "contrast") for severity in range(1, 6)
    ]
    assert len({row["eval_digest"] for row in rows}) == 1
    assert {row["eval_images"] for row in rows} == {2}


@pytest.mark.slow
def test_a_part_that_is_stopped_leaves_no_row_and_goes_on(
    cache: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    seen: list[str] = []
    evaluated = target.evaluate

    def stop_at_the_fifth(*given: Any, **named: Any) -> Any:
        seen.append("image")
        if len(seen) == 5:
            raise KeyboardInterrupt
        return evaluated(*given, **named)

    common: dict[str, Any] = {"experiments": ("mixup",), "results_file": path}
    with monkeypatch.context() as stopped:
        stopped.setattr(target, "evaluate", stop_at_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            run_study(("corruptions",), ask, **common)
    assert not path.exists()
    whole = 1 + 2 * 5
    seen.clear()
    with monkeypatch.context() as counted:
        counted.setattr(
            target, "evaluate", lambda *given, **named: seen.append("x") or evaluated(*given, **named)
        )
        assert run_study(("corruptions",), ask, **common) == Ran(done=["corruptions mixup 0"])
    assert len(seen) == whole - 4
    reported = [row for row in of_kind(results.read(path), "corruption", "mixup") if row["reported"]]
    assert len(reported) == whole
    # Fewer images are other images: nothing that is kept is about them.
    monkeypatch.setitem(STUDIES, "smoke", replace(SHORT, corrupted=1))
    run_study(("corruptions",), ask, **common)
    reported = [row for row in of_kind(results.read(path), "corruption", "mixup") if row["reported"]]
    assert [row["eval_images"] for row in reported] == [2] * whole + [1] * whole


@pytest.mark.slow
def test_a_budget_leaves_parts_says_so_and_is_gone_on_with(
    cache: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    common: dict[str, Any] = {"experiments": NAMES, "results_file": path}
    labels = [f"adaptive {name} 0" for name in NAMES]
    assert run_study(("adaptive",), ask, budget=0.0, **common) == Ran(left=labels)
    assert not path.exists()
    # Time is up as soon as an attack on the second method begins; the first is in the cache.
    target = Target(ask("sourcesep-cm"), ask, Clock(None), lambda what, unit: lambda *told: None)
    for kept in target.folder.glob("adaptive-*.jsonl"):
        kept.unlink()
    batches = sorted((target.folder / "attacks").rglob("*.npz"))
    batches[0].unlink()

    def late(self: Clock, report: Any) -> Any:
        raise OutOfTimeError

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "watched", late)
        ran = run_study(("adaptive",), ask, budget=1e6, **common)
        assert ran == Ran(done=labels[:1], left=labels[1:])
    rows = results.read(path)
    assert {row["experiment"] for row in rows} == {"baseline"}
    assert run_study(("adaptive",), ask, budget=0.0, **common) == Ran(held=labels[:1], left=labels[1:])
    ran = run_study(("adaptive",), ask, budget=1e6, **common)
    assert ran == Ran(done=labels[1:], held=labels[:1])
    assert batches[0].exists()
    again = results.read(path)
    assert again[: len(rows)] == rows
    assert metrics(again) == metrics(
        [
            row
            for row in results.read(done)
            if (row["condition"] or {"kind": "adaptive"})["kind"] in ("adaptive", "blend")
        ]
    )


def test_work_stops_when_the_next_step_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(at=0.0)
    monkeypatch.setattr(target, "time", SimpleNamespace(monotonic=lambda: now.at))
    clock = Clock(10.0)
    told: list[int] = []
    report = clock.watched(lambda done, whole, terms: told.append(done))
    now.at = 3.0
    report(1, 4, {})
    now.at = 5.0
    report(2, 4, {})  # 5 seconds are left for a step that took 3 at most
    now.at = 8.0
    with pytest.raises(OutOfTimeError):
        report(3, 4, {})  # and now 2
    clock.look()
    now.at = 10.0
    report(4, 4, {})  # what is done is done
    assert told == [1, 2, 3, 4]
    with pytest.raises(OutOfTimeError):
        clock.look()
    Clock(None).look()


@pytest.mark.slow
def test_a_committed_perturbation_is_shown_and_none_is_crafted(
    done: Path, cache: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_hand, "COMMITTED", tmp_path)
    folder = tmp_path / f"silhouettes-{TINY.name}"
    folder.mkdir()
    target = Target(ask("baseline"), ask, Clock(None), lambda what, unit: lambda *told: None)
    rows = results.read(done)
    before = of_kind(rows, "universal", "baseline")
    for one in UNIVERSALS:
        if one.file is None:
            made = next(row["condition"] for row in before if row["condition"]["name"] == one.name)
            crafted_file = next((cache / "cache").rglob(made["making"]["file"]))
            found = read_perturbation(crafted_file, name=one.name)
            write_perturbation(folder / f"{one.name}.safetensors", replace(found, v_CHW=found.v_CHW / 2))
            shown = at_hand.committed(one.name, target.request, target.training)
            assert shown is not None
            torch.testing.assert_close(shown.v_CHW, found.v_CHW / 2)
    assert not held(rows, "universal")  # of other pixels
    monkeypatch.setattr(study, "_crafted_on", lambda *given: pytest.fail("crafted anew"))
    path = tmp_path / "rows.jsonl"
    shown_to: dict[str, Any] = {"experiments": ("baseline",), "perturbations": files, "results_file": path}
    assert run_study(("universal",), ask, **shown_to) == Ran(done=["universal baseline 0"])
    assert run_study(("universal",), ask, **shown_to) == Ran(held=["universal baseline 0"])
    digests = {
        row["condition"]["making"]["sha256"] for row in of_kind(results.read(path), "universal", "baseline")
    }
    assert {file_digest(one) for one in folder.iterdir()} <= digests
    # Whoever has published ones of GD-UAP sees them instead.
    shown_to["perturbations"] = shutil.copytree(files, tmp_path / "files")
    rng = np.random.default_rng(1)
    np.save(tmp_path / "files" / "gd-uap-none.npy", rng.uniform(-10, 10, (1, 3, 64, 64)).astype(np.float32))
    assert run_study(("universal",), ask, **shown_to) == Ran(done=["universal baseline 0"])
    assert run_study(("universal",), ask, **shown_to) == Ran(held=["universal baseline 0"])
    ways = {
        (row["condition"]["how"], row["condition"]["making"]["file"], row["stage"])
        for row in of_kind(results.read(path), "universal", "baseline")
        if row["condition"]["name"] == "gd-uap-none"
    }
    named = {(how, "gd-uap-none.npy", 2) for how in ("resize", "tile", "center_pad")}
    crafted_one = {("resize", "gd-uap-none.safetensors", stage) for stage in (1, 2)}
    assert ways == named | {("resize", "gd-uap-none.npy", 1)} | crafted_one


@pytest.mark.parametrize("folder", sorted(at_hand.COMMITTED.iterdir()), ids=lambda path: path.name)
def test_the_committed_perturbations_are_one_set_for_the_images_of_the_rows(folder: Path) -> None:
    dataset, _, scale = folder.name.rpartition("-")
    found = {path.stem: read_perturbation(path) for path in folder.iterdir()}
    assert set(found) == {one.name for one in UNIVERSALS if one.file is None}
    assert len({one.origin["network"] for one in found.values()}) == 1
    rows = results.read(results.RESULTS / f"{folder.name}.jsonl")
    trained_on = {row["dataset_digest"] for row in rows if row["dataset"] == dataset}
    for name, one in found.items():
        how = asdict(crafting(name, size=one.v_CHW.shape[-1], study=STUDIES[scale]))
        asked = {key: value for key, value in how.items() if key not in ("iterations", "passes")}
        assert asked.items() <= one.origin.items()
        assert one.origin["data"] in trained_on
        assert one.v_CHW.abs().max() <= how["epsilon"]


@pytest.mark.parametrize(
    "other", [{"data": "0" * 16}, {"seed": 1}, {"epsilon": 11.0}, {"size": 47}, {"images": 3}, {}]
)
def test_a_perturbation_that_was_crafted_otherwise_is_not_the_committed_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    monkeypatch.setattr(at_hand, "COMMITTED", tmp_path)
    target = Target(ask("baseline"), ask, Clock(None), lambda what, unit: lambda *told: None)
    assert at_hand.committed("uap", target.request, target.training) is None
    how = crafting("uap", size=TINY.eval_crop, study=SHORT)
    origin = asdict(how) | {"attack": "uap", "data": target.training.digest(), "passes": 1} | other
    made = Perturbation("uap", rough(8).v_CHW, origin)
    write_perturbation(tmp_path / f"silhouettes-{TINY.name}" / "uap.safetensors", made)
    assert (at_hand.committed("uap", target.request, target.training) is None) == bool(other)


def test_without_the_published_files_their_rows_are_left(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(study._PARTS, "universal", lambda target, perturbations: iter(()))
    found = run_study(("universal",), ask, experiments=("baseline",), results_file=tmp_path / "rows.jsonl")
    assert found == Ran(
        done=["universal baseline 0"], left=["published perturbations (need --perturbations)"]
    )


def test_what_cannot_be_studied_is_found_before_the_work(
    cache: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "cached_run", lambda *given, **named: pytest.fail("trained before it looked"))
    path = tmp_path / "rows.jsonl"
    common: dict[str, Any] = {"results_file": path}
    with pytest.raises(InputError, match="did you mean 'sourcesep-cm'"):
        run_study(("adaptive",), ask, experiments=("baseline", "sourcesep-mc"), **common)
    with pytest.raises(InputError, match="method of the study"):  # declared, but not compared here
        run_study(("adaptive",), ask, experiments=("table10/mixup+cooccurrence",), **common)
    with pytest.raises(InputError, match="choose other seeds"):
        run_study(("adaptive",), ask, seeds=(0, SURROGATE), **common)
    with pytest.raises(InputError, match=r"ResNet-152.mat: no such perturbation"):
        run_study(("universal",), ask, perturbations=tmp_path, **common)
    (tmp_path / "GoogLeNet.mat").write_text("mine")
    (tmp_path / "ResNet-152.mat").write_bytes((files / "ResNet-152.mat").read_bytes())
    with pytest.raises(InputError, match=r"GoogLeNet.mat: is no whole .mat file"):
        run_study(("universal",), ask, perturbations=tmp_path, **common)
    assert not path.exists()
    with pytest.raises(InputError, match="no list of segmented images to attack"):
        run_study(("adaptive",), lambda name, seed: ask(name, seed=seed, eval_split=None), **common)
    path.write_text("{}\n")
    with pytest.raises(InputError, match=r"rows.jsonl:1"):
        run_study(("adaptive",), ask, **common)
    with pytest.raises(InputError, match="cannot be written"):
        run_study(("adaptive",), ask, results_file=path / "below.jsonl")


def test_every_source_of_attacks_belongs_to_one_kind() -> None:
    package = Path(segmix_core.__file__).parent
    sources = {f"attacks/{path.stem}" for path in (package / "attacks").glob("*.py")} - {"attacks/__init__"}
    sources |= {"corruptions", "robustness/adaptive", "robustness/protocol", "robustness/universal"}
    assert sorted(name for names in SOURCES.values() for name in names) == sorted(sources)
    assert len({attack_digest(kind) for kind in SOURCES}) == len(SOURCES) == len(set(KINDS.values()))


def test_code_that_found_the_same_is_no_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the sources change again."""
    now = {kind: attack_digest(kind)[:12] for kind in SOURCES}
    assert set(condition.FOUND_THE_SAME.values()) <= set(now.values()), "say whether it still holds"
    for said, same in condition.FOUND_THE_SAME.items():
        for kind, digest in now.items():
            assert condition.is_of_this_code(said, kind, "0" * 12) == (digest == same)
            assert not condition.is_of_this_code("another", kind, "0" * 12)
            assert condition.is_of_this_code(None, kind, "0" * 12)  # of before it was noted
    monkeypatch.setattr(condition, "attack_digest", lambda kind: "changed since")
    assert not any(
        condition.is_of_this_code(said, kind, "0" * 12) for said in condition.FOUND_THE_SAME for kind in now
    )


def test_a_perturbation_belongs_to_the_code_of_attacks_and_of_networks(
    images: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_text("weights")
    monkeypatch.setattr(universal, "load_model", lambda path: torch.nn.Identity())
    monkeypatch.setattr(universal, "craft_gd_uap", lambda *given, **named: rough(8).scaled_to(10.0))
    for digest in ("attack_digest", "source_digest", "device_name"):
        for code in ("before", "now", "before"):
            monkeypatch.setattr(universal, digest, lambda *kind, code=code: code)
            crafted(checkpoint, GDUAP(size=8), images, tmp_path / digest, output="dominant")
        files = list((tmp_path / digest).glob("*.safetensors"))
        assert len(files) == 2
        assert len({file.read_bytes() for file in files}) == 1  # what is crafted does not tell


@pytest.mark.slow
def test_a_perturbation_is_crafted_once_and_kept_with_its_picture(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, _ = run.cached_run(ask("baseline"))
    training = run.data_of(ask("baseline"))[0]
    how = crafting("gd-uap-none", size=16, study=SHORT, epsilon=4.0)
    told: list[tuple[int, int, dict[str, float]]] = []
    made = crafted(
        checkpoint, how, training, tmp_path, output="dominant", report=lambda *given: told.append(given)
    )
    assert [(done, whole, list(terms)) for done, whole, terms in told] == [
        (1, 2, ["fooling rate (%)"]), (2, 2, ["fooling rate (%)"]),
    ]  # fmt: skip
    assert made.epsilon <= 4
    with monkeypatch.context() as patch:
        patch.setattr(universal, "load_model", lambda path: pytest.fail("crafted again"))
        again = crafted(checkpoint, how, training, tmp_path, output="dominant")
    assert torch.equal(again.v_CHW, made.v_CHW)
    (picture,) = tmp_path.glob("*.png")
    shade = np.asarray(Image.open(picture)).astype(float)
    expected = made.v_CHW.permute(1, 2, 0).numpy() / (2 * made.epsilon) + 0.5
    assert np.abs(shade / 255 - expected).max() <= 0.5 / 255 + 1e-6
    others = [replace(how, seed=1), replace(how, epsilon=5.0)]
    for other in others:
        crafted(checkpoint, other, training, tmp_path, output="dominant")
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert json.dumps(made.origin)
