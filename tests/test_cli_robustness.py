"""The command line of robustness: `attack`, `evaluate --perturbation`, and the parts of `run`."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, boxes_map, write_voc
from PIL import Image
from scipy.io import savemat
from test_cli import NUMBER, has_kind, refused, segmix
from test_robustness import SHORT, TINY

from segmix_core import results, run
from segmix_core.attacks.sanity import Check
from segmix_core.cli.progress import ProgressLine
from segmix_core.data.voc import VOC_CATEGORIES
from segmix_core.experiments import METHODS, SCALES, TABLES
from segmix_core.experiments.robustness import PARTS, STUDIES, SURROGATE, TOLERANCE, UNIVERSALS
from segmix_core.models import SourceSeparation, read_checkpoint
from segmix_core.robustness import adaptive, checkpoint
from segmix_core.robustness.universal import CRAFTED

SIZE = 48


@pytest.fixture(scope="module", autouse=True)
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "CACHE", folder / "cache")
        patch.setattr("segmix_core.data.GENERATED", folder / "generated")
        patch.setitem(SCALES, "smoke", TINY)
        patch.setitem(STUDIES, "smoke", SHORT)
        yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Networks:
    """Checkpoints, and a VOC folder with lists train and val."""

    root: Path
    full: Path  # right about every pixel of val, and not by much
    plain: Path

    def of(self, network: Path) -> tuple[object, ...]:
        """The options that name a network and the list val."""
        return (network, "--dataset", "voc2012", "--root", self.root)

    def attack(self, out: Path, *options: object) -> tuple[object, ...]:
        """A command that takes a second or two."""
        steps = () if "noise" in options else ("--steps", 3)
        crafted_on = ("--craft-split", "train") if set(options) & set(CRAFTED) else ()
        return ("attack", *self.of(self.full), *crafted_on, *steps, "--out", out, *options)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    folder = tmp_path_factory.mktemp("networks")
    rng = np.random.default_rng(2)
    maps = [boxes_map(rng, size=SIZE) for _ in range(9)]
    root = write_voc(folder / "voc", {"train": maps[:4], "val": maps[4:]})
    for path in (root / "JPEGImages").glob("val_*.jpg"):
        small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        small.resize((SIZE, SIZE)).save(path, quality=95)
    made = []
    for name in ("sourcesep-cm", "baseline"):
        options = ("--scale", "smoke", "--dataset", "voc2012", "--root", root, "--split", "train")
        trained = segmix(
            "train", name, *options, "--pretrained", "none", "--out", folder / name, "--json"
        ).document()
        made.append(Path(trained["checkpoint"]))
    content = read_checkpoint(made[0])
    torch.manual_seed(3)
    model = SourceSeparation(
        21, backbone="resnet18w32", head="full", output_stride=8, aspp_channels=8, aspp_rates=(2, 4, 6)
    ).eval()
    torch.save(content | {"model": model.state_dict()}, made[0])
    for path in sorted((root / "JPEGImages").glob("val_*.jpg")):
        image_BCHW = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            said_HW = model(image_BCHW).dominant.argmax(1)[0].to(torch.uint8).numpy()
        Image.fromarray(said_HW).save(root / "SegmentationClass" / f"{path.stem}.png")
    return Networks(root, *made)


LINE = {
    "attack": str,
    "epsilon": NUMBER,
    "aim": str | None,
    "output": str,
    "access": str | None,
    "images": int,
    "steps": int | None,
    "mIoU": NUMBER,
    "aAcc": NUMBER,
    "valid": bool,
    "checks": dict,
    "failed": [str],
}
CLEAN = {"clean_mIoU": NUMBER, "clean_aAcc": NUMBER}
DOCUMENT = {"images": int, "crop": int, "measured": str}

# `segmix attack`


@pytest.mark.parametrize("attack", ["sea", "apgd"])
def test_an_attack_on_single_images(attack: str, networks: Networks, tmp_path: Path) -> None:
    command = networks.attack(tmp_path, "--attack", attack, "--epsilon", "8,0")
    document = segmix(*command, "--json").document()
    of_images = LINE | CLEAN | {"noise_mIoU": NUMBER, "noise_aAcc": NUMBER, "mean_image_accuracy": NUMBER}
    has_kind(document, DOCUMENT | {"results": [of_images]})
    assert (document["images"], document["crop"], document["measured"]) == (5, SIZE, "dominant")
    none, some = document["results"]
    assert (none["epsilon"], some["epsilon"]) == (0, 8)
    evaluated = segmix("evaluate", *networks.of(networks.full), "--json").document()
    assert none["aAcc"] == none["noise_aAcc"] == evaluated["outputs"]["dominant"]["aAcc"] == 100
    assert some["aAcc"] < some["noise_aAcc"] < 100
    assert some["mean_image_accuracy"] == pytest.approx(some["aAcc"], abs=1e-3)  # as many pixels in each
    assert [(line["valid"], line["steps"], line["attack"]) for line in (none, some)] == [
        (True, steps, attack) for steps in (1, 3)
    ]
    assert list(none["checks"]) == ["size 0 changes nothing"]
    assert list(some["checks"]) == [
        "noise of the same size is weaker",
        "gradients are finite and not masked",
        "more epsilon never helps the defender",
    ]
    text = segmix(*command).out.splitlines()
    assert text[0] == f"5 images, centre {SIZE} pixels, output dominant"
    assert len({len(line) for line in text[1:]}) == 1  # columns stand below their titles
    noise = segmix(*networks.attack(tmp_path, "--attack", "noise", "--epsilon", 8), "--json").document()
    has_kind(noise, DOCUMENT | {"results": [LINE | CLEAN]})
    (line,) = noise["results"]
    assert (line["aAcc"], line["steps"], line["valid"]) == (some["noise_aAcc"], None, True)
    assert (line["aim"], line["output"], line["access"]) == (None, "dominant", None)


def test_generated_scenes_out_of_context_need_no_folder(networks: Networks) -> None:
    document = segmix("evaluate", networks.full, "--dataset", "silhouettes-outofcontext", "--json").document()
    assert document["images"] == SCALES["smoke"].silhouettes[1] // 2


def test_without_a_folder_it_is_kept_beside_the_checkpoint(networks: Networks, tmp_path: Path) -> None:
    network = tmp_path / "checkpoint.pt"
    network.write_bytes(networks.full.read_bytes())
    options = ("--attack", "sea", "--epsilon", 1, "--output", "dominant", "--split", "val")
    command = ("attack", *networks.of(network), *options, "--images", 2, "--steps", 2)
    (line,) = segmix(*command, "--json").document()["results"]
    assert (line["epsilon"], line["images"], line["steps"]) == (1, 2, 2)
    assert list((tmp_path / "attacks").rglob("*.npz"))


def test_every_aim_is_measured_at_the_output_that_it_is_about(networks: Networks, tmp_path: Path) -> None:
    found = {}
    for aim in ("dominant", "final", "joint", "phantom"):
        command = networks.attack(
            tmp_path, "--attack", "apgd", "--epsilon", 8, "--output", aim, "--images", 3
        )
        document = segmix(*command, "--json").document()
        (line,) = document["results"]
        assert (document["images"], line["aim"], line["output"]) == (3, aim, document["measured"])
        found[aim] = (document["measured"], document["results"][0]["mean_image_accuracy"])
    assert {aim: measured for aim, (measured, _) in found.items()} == {
        "dominant": "dominant", "final": "final", "joint": "dominant", "phantom": "dominant",
    }  # fmt: skip
    assert len({right for _, right in found.values()}) == 4
    assert found["dominant"][1] < found["phantom"][1]


@pytest.mark.parametrize("attack", [pytest.param("uap", marks=pytest.mark.slow), *CRAFTED[1:]])
def test_a_crafted_perturbation_is_what_evaluate_reads(
    attack: str, networks: Networks, tmp_path: Path
) -> None:
    steps = 1 if attack == "uap" else 4
    command = networks.attack(tmp_path, "--attack", attack, "--steps", steps)
    said = segmix(*command, "--json")
    document = said.document()
    crafted = LINE | CLEAN | {"control": str | None, "making": dict}
    has_kind(document, DOCUMENT | {"results": [crafted]})
    lines = document["results"]
    plain = segmix("evaluate", *networks.of(networks.full), "--json").document()["outputs"]["dominant"]
    for line in lines:
        assert (line["clean_mIoU"], line["clean_aAcc"]) == (plain["mIoU"], plain["aAcc"])
    assert [line["control"] for line in lines] == [
        None, "signs of the same size", "signs of the same RMS", "shuffled",
    ]  # fmt: skip
    assert {(line["attack"], line["epsilon"], line["steps"]) for line in lines} == {(attack, 10, steps)}
    least = min(line["mIoU"] for line in lines[1:])  # as reports compare them
    assert lines[0]["valid"] == (lines[0]["mIoU"] + TOLERANCE < least)
    assert all(line["valid"] and not line["checks"] for line in lines[1:])  # noise is nobody's attack
    as_text = segmix(*command).out.splitlines()
    assert as_text[2].split() == ["as", "they", "are", "0", str(plain["mIoU"]), str(plain["aAcc"])]
    assert len(as_text) == 3 + len(lines)
    unit = "images" if attack == "uap" else "steps"
    total = 4 if attack == "uap" else steps
    assert f"crafting {attack}, epsilon 10: {total}/{total} {unit}, " in said.err
    assert "fooling rate (%)" in said.err
    assert "shuffled, epsilon 10: 5/5 images" in said.err
    assert "loss" not in said.err
    (file,) = tmp_path.glob("*.safetensors")
    assert len(list(tmp_path.glob("*.png"))) == 1
    assert lines[0]["making"]["file"] == file.name
    shown = segmix("evaluate", *networks.of(networks.full), "--perturbation", file, "--json").document()
    assert shown["outputs"]["dominant"]["aAcc"] == lines[0]["aAcc"] < 100
    assert shown["perturbation"]["name"] == attack
    noise = {name: of["dominant"] for name, of in shown["perturbation"]["controls"].items()}
    assert noise.keys() == {line["control"] for line in lines[1:]}
    assert all(noise[line["control"]]["mIoU"] == line["mIoU"] for line in lines[1:])
    assert lines[0]["access"] == shown["perturbation"]["access"] == "white-box"
    assert [line["access"] for line in lines[1:]] == [None] * 3
    other = segmix("evaluate", *networks.of(networks.plain), "--perturbation", file, "--json").document()
    assert other["perturbation"]["access"] == "transfer"
    assert segmix(*command, "--json").document() == document  # from the folder


def test_where_no_image_holds_a_category_pixels_tell(networks: Networks, tmp_path: Path) -> None:
    masks = (networks.root / "SegmentationClass").glob("val_*.png")
    held = {int(number) for mask in masks for number in np.unique(np.array(Image.open(mask)))}
    absent = next(name for number, name in enumerate(VOC_CATEGORIES) if number not in held)
    options = ("--attack", "gd-uap-none", "--categories", absent, "--json")
    attacked, *noise = segmix(*networks.attack(tmp_path, *options)).document()["results"]
    assert (attacked["clean_mIoU"], attacked["clean_aAcc"]) == (None, 100)
    told = "aAcc" if None in [line["mIoU"] for line in (attacked, *noise)] else "mIoU"
    assert attacked["valid"] == (attacked[told] + TOLERANCE < min(line[told] for line in noise))
    assert list(attacked["checks"]) == ["noise of the same size is weaker"]


def test_a_check_that_fails_is_said(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "noise of the same size is weaker"
    monkeypatch.setattr(checkpoint, "noise_is_weaker", lambda *given, **by: Check(name, False, "made up"))
    command = networks.attack(tmp_path, "--attack", "apgd", "--epsilon", 8)
    (line,) = segmix(*command, "--json").document()["results"]
    assert (line["valid"], line["failed"], line["checks"][name]) == (False, [name], "made up")
    *_, clean, attacked, noise = segmix(*command).out.splitlines()
    assert attacked.endswith(f"INVALID, does not hold: {name}")
    told = {"as they are": (clean, "clean"), "noise": (noise, "noise")}  # what it has to be held against
    for beside, (said, of) in told.items():
        assert said.startswith(f"{beside}  ")
        assert said.split()[-2:] == [str(line[f"{of}_mIoU"]), str(line[f"{of}_aAcc"])]


def test_an_interrupted_attack_goes_on_where_it_was(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(adaptive.TOGETHER, "cpu", (2, 2**18))
    options = ("--attack", "apgd", "--epsilon", 4, "--json")
    undisturbed = segmix(*networks.attack(tmp_path / "whole", *options)).document()
    batches: list[int] = []
    attack = adaptive.attack

    def count(model: Any, image_BCHW: torch.Tensor, *given: Any, **named: Any) -> Any:
        batches.append(len(image_BCHW))
        return attack(model, image_BCHW, *given, **named)

    within: list[float] = []

    def interrupt(self: ProgressLine, done: int, total: int, terms: dict[str, float] | None = None) -> None:
        if "noise" in self.what or self.what == "as they are":
            return
        if terms:  # at every step of a batch
            assert (self.unit, done, total) == ("images", 0, 5)
            within.append(terms["of this batch (%)"])
            return
        assert (self.unit, done, total) == ("images", 2, 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(adaptive, "attack", count)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(ProgressLine, "__call__", interrupt)
        said = segmix(*networks.attack(tmp_path / "out", *options))
    refused(said, "attack: interrupted; give the same command to go on", status=130)
    assert batches == [2]
    assert within == sorted(within)
    assert (within[0], len(within)) == (0, 4)  # the start, and three steps
    assert segmix(*networks.attack(tmp_path / "out", *options)).document() == undisturbed
    assert batches == [2, 2, 1]
    part = max((tmp_path / "out").rglob("001.npz"), key=lambda path: path.stat().st_mtime)
    part.write_bytes(part.read_bytes()[:99])
    broken = segmix(*networks.attack(tmp_path / "out", *options))
    last = replace(broken, err=broken.err.splitlines(keepends=True)[-1])  # after what went well before
    refused(last, str(part), "no part of an attack; delete it")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--attack", "seaa"), ("unknown name 'seaa'", "did you mean 'sea'?")),
        (("--attack", "gd-uap"), ("did you mean 'gd-uap-",)),
        (("--epsilon", "-1"), ("--epsilon", "-1 is not in 0..255")),
        (("--epsilon", "1,256"), ("256 is not in 0..255",)),
        (("--epsilon", "nan"), ("nan is not in 0..255",)),
        (("--epsilon", "x"), ("--epsilon",)),
        (("--epsilon", ","), ("--epsilon",)),
        (("--epsilon", "1,,2"), ("--epsilon", "names nothing in a place between commas")),
        (("--attack", "uap", "--output", "phantom"), ("--output phantom", "uap is about one output")),
        (("--attack", "noise", "--output", "joint"), ("--output joint", "choose dominant or final")),
        (("--attack", "noise", "--steps", "4"), ("--steps", "noise takes no steps")),
        (("--attack", "apgd", "--craft-split", "nosuch"), ("--craft-split", "not crafted on a list")),
        (
            ("--attack", "uap", "--epsilon", "0,10"),
            ("0 leaves nothing to craft; give sizes of 1e-06 or more",),
        ),
        (
            ("--attack", "gd-uap-none", "--steps", "1", "--epsilon", "1e-9"),
            ("1e-09 leaves nothing to craft",),
        ),
        (("--attack", "uap", "--craft-split", "trian"), ("trian", "train")),
        (("--steps", "0"), ("--steps",)),
        (("--images", "0"), ("--images",)),
        (("--categories", "persn"), ("mean 'person'?",)),
        (("--split", "vla"), ("vla", "val")),
        (("--device", "cpi"), ("did you mean 'cpu'?",)),
        (("--out", "FILE"), ("FILE", "cannot write here", "name another folder")),
        (("--out", "FILE", "--attack", "gd-uap-none"), ("FILE", "cannot write here")),
        (("--out", "FILE/below", "--attack", "noise"), ("cannot write here",)),
        (("--root", "NONE"), ("NONE", "no such folder")),
        (("--output", "phantm"), ("invalid choice: 'phantm'",)),
    ],
    ids=" ".join,
)
def test_what_cannot_be_attacked_is_one_line(
    networks: Networks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise AssertionError("attacked before it looked")

    monkeypatch.setattr(adaptive, "attack", fail)
    monkeypatch.setattr(adaptive, "_scored", fail)
    monkeypatch.setattr("segmix_core.robustness.universal.craft_gd_uap", fail)
    monkeypatch.setattr("segmix_core.robustness.universal.craft_uap", fail)
    places = {"FILE": tmp_path / "file", "NONE": tmp_path / "none"}
    places["FILE"].write_text("mine")
    given, named = (
        [text.replace("FILE", str(places["FILE"])).replace("NONE", str(places["NONE"])) for text in texts]
        for texts in (options, parts)
    )
    refused(segmix(*networks.attack(tmp_path / "out", *given)), *named)
    assert places["FILE"].read_text() == "mine"


@pytest.mark.parametrize("attack", ["apgd", "noise", "uap"])
def test_a_list_without_labels_cannot_be_attacked(attack: str, networks: Networks, tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", {"train": [np.full((SIZE, SIZE), 255)] * 2})
    command = ("attack", networks.full, "--dataset", "voc2012", "--root", root, "--split", "train")
    crafted_on = ("--craft-split", "train") if attack in CRAFTED else ()
    said = segmix(*command, *crafted_on, "--attack", attack, "--out", tmp_path / "out")
    last = replace(said, err=said.err.splitlines(keepends=True)[-1])  # after the look at the images
    refused(last, str(root), "no image has a labelled pixel; choose a list with labels")


def test_a_report_knows_the_parts_of_the_study() -> None:
    refused(segmix("report", "robustnes"), "did you mean 'robustness'?", "adaptive", "table11")


def test_a_network_that_does_not_fit_is_one_line(networks: Networks, tmp_path: Path) -> None:
    given = ("--out", tmp_path / "out")
    for attack, aims in (("sea", ("final", "joint", "phantom")), ("uap", ("final",))):
        for aim in aims:
            said = segmix("attack", *networks.of(networks.plain), *given, "--attack", attack, "--output", aim)
            refused(said, str(networks.plain), f"a head 'plain' has no '{aim}' to attack; choose dominant")
    refused(segmix("attack", *networks.of(tmp_path / "none.pt"), *given), "no such checkpoint")
    (tmp_path / "mine.pt").write_text("mine")
    refused(segmix("attack", *networks.of(tmp_path / "mine.pt"), *given), "not a checkpoint")
    content = read_checkpoint(networks.plain)
    content["architecture"]["num_categories"] = 5
    model = SourceSeparation(
        5, backbone="resnet18w32", head="plain", output_stride=8, aspp_channels=8, aspp_rates=(2, 4, 6)
    )
    torch.save(content | {"model": model.state_dict()}, tmp_path / "five.pt")
    for attack in ("sea", "gd-uap-none"):
        said = segmix("attack", *networks.of(tmp_path / "five.pt"), *given, "--attack", attack)
        refused(said, "knows 5 categories, not 21")
    sizes = ("--kind", "saliency", "--images", 4, "--val", 2, "--size", 32, "--out", tmp_path / "salient")
    segmix("data", "make", "silhouettes", *sizes)
    salient = ("--dataset", "silhouettes-saliency", "--root", tmp_path / "salient", "--split", "test", *given)
    refused(
        segmix("attack", networks.full, *salient), "silhouettes-saliency", "salient objects are not attacked"
    )
    assert not (tmp_path / "out").exists()


# `segmix evaluate --perturbation`


def test_a_perturbation_is_rescaled_and_recorded(networks: Networks, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    v_CHW = rng.uniform(-1, 1, (3, 12, 12))
    v_CHW *= 8 / np.abs(v_CHW).max()
    np.save(tmp_path / "pixel.npy", v_CHW)
    np.save(tmp_path / "unit.npy", v_CHW[None] / 255)
    np.save(tmp_path / "half.npy", v_CHW / 2)

    def shown(name: str, *options: object) -> Any:
        common = ("evaluate", *networks.of(networks.full), "--json", *options)
        return segmix(*common, *(("--perturbation", tmp_path / name) if name else ())).document()

    plain, perturbed = shown(""), shown("pixel.npy")
    assert plain["perturbation"] is None
    assert perturbed["outputs"]["dominant"]["aAcc"] < plain["outputs"]["dominant"]["aAcc"] == 100
    assert shown("pixel.npy", "--epsilon", 0)["outputs"] == plain["outputs"]
    assert shown("unit.npy", "--perturbation-scale", "unit")["outputs"] == perturbed["outputs"]
    half = shown("pixel.npy", "--epsilon", 4)
    assert half["outputs"] == shown("half.npy")["outputs"] != perturbed["outputs"]
    recorded = half["perturbation"]
    kinds = {"name": str, "epsilon": NUMBER, "fit": str, "access": str, "origin": dict, "controls": dict}
    has_kind(recorded, kinds)
    assert (recorded["name"], recorded["epsilon"], recorded["fit"]) == ("pixel", 4, "resize")
    assert recorded["access"] == "transfer"  # nobody knows what it was made on
    assert recorded["origin"]["rescaled_from"] == 8
    fits = {fit: shown("pixel.npy", "--fit", fit) for fit in ("resize", "tile", "center_pad")}
    assert [document["perturbation"]["fit"] for document in fits.values()] == list(fits)
    assert len({str(document["outputs"]) for document in fits.values()}) == 3
    assert fits["resize"] == perturbed


@pytest.mark.parametrize(
    ("v", "parts"),
    [
        (np.ones((3, 8)), ("an array of 3 x 8", "give 3 x H x W")),
        (np.ones((2, 3, 8, 8)), ("an array of 2 x 3 x 8 x 8",)),
        (np.ones((3, 0, 8)), ("an array of 3 x 0 x 8", "with pixels in it")),
        (np.full((3, 8, 8), np.nan), ("values that are not finite",)),
        (np.full((3, 8, 8), 256.0), ("beyond 255",)),
        (np.full((3, 8, 8), 0.5), ("scale 'unit'", "--perturbation-scale")),
        (np.zeros((3, 8, 8)), ("zero everywhere",)),
        (np.array([{"run": "code"}], dtype=object), ("no whole .npy file of numbers",)),
    ],
    ids=["rank", "number", "empty", "nan", "range", "scale", "zero", "pickle"],
)
def test_a_file_that_is_no_perturbation_is_one_line(
    v: np.ndarray, parts: tuple[str, ...], networks: Networks, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", v)
    command = ("evaluate", *networks.of(networks.full), "--perturbation")
    refused(segmix(*command, tmp_path / "v.npy"), str(tmp_path / "v.npy"), *parts)


def test_protocol_full_takes_no_crop(networks: Networks) -> None:
    command = ("evaluate", *networks.of(networks.full), "--protocol", "full", "--crop", 20)
    refused(segmix(*command), "--crop, where protocol full takes each image whole; leave one out")


def test_options_of_a_perturbation_need_one(networks: Networks, tmp_path: Path) -> None:
    command = ("evaluate", *networks.of(networks.full))
    for option in (("--epsilon", 4), ("--fit", "tile"), ("--perturbation-scale", "unit")):
        refused(segmix(*command, *option), "without a perturbation; name one with --perturbation")
    refused(segmix(*command, "--perturbation", tmp_path / "none.mat"), "no such perturbation")
    refused(segmix(*command, "--perturbation", tmp_path, "--epsilon", -1), "-1 is not in 0..255")


def test_what_the_study_refuses_is_found_before_tables_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmix_core.run.run_tables", lambda *given, **named: pytest.fail("trained first"))
    command = ("run", "table6", "--scale", "smoke", "--out", tmp_path / "rows.jsonl")
    refused(segmix(*command, "--methods", "basline"), "did you mean 'baseline'")
    refused(segmix(*command, "--seeds", SURROGATE), "choose other seeds")
    refused(segmix(*command, "--perturbations", tmp_path), "ResNet-152.mat: no such perturbation")
    for whole in ("tables", "figures"):  # Table 6 and Fig. 6 are among them
        refused(segmix("run", whole, "--scale", "smoke", "--methods", "basline"), "did you mean 'baseline'")
    alone = ("run", "table1", "--scale", "smoke", "--methods", "baseline")
    refused(segmix(*alone), "--methods or --perturbations without robustness")


# Progress


def said_by(progress: ProgressLine, *given: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    progress(*given)
    return stream.getvalue()


def test_progress_names_the_number_that_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    for terms, told in (
        ({"dominant": 1.0, "total": 2.5}, ", loss 2.500"),
        ({"fooling rate (%)": 12.5}, ", fooling rate (%) 12.500"),
        ({}, ""),
    ):
        line = said_by(ProgressLine("work", "steps"), 2, 2, terms, monkeypatch=monkeypatch)
        assert line == f"work: 2/2 steps{told}\n"


def test_the_time_between_two_pieces_of_work_is_not_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = ProgressLine("data", "images")
    for began in (0.0, 3600.0):  # an hour of training between two lists
        now = began
        said_by(progress, 0, 100, monkeypatch=monkeypatch)
        now = began + 50
        line = said_by(progress, 100, 100, monkeypatch=monkeypatch)
        assert line == "data: 100/100 images, 2.00/s, 0.0 min left\n"


# `segmix run`


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published perturbations where they are at hand, else files of their form."""
    names = [one.file for one in UNIVERSALS if one.file is not None]
    data = Path(os.environ.get("SEGMIX_DATA", ROOT.parent / "shared" / "data"))
    published = data / "uap" / "moosavi_uap"
    if all((published / name).is_file() for name in names):
        return published
    folder = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(0)
    for name in names:
        savemat(folder / name, {"r": rng.uniform(-10, 10, (224, 224, 3)).astype(np.float32)})
    return folder


@pytest.mark.slow
def test_table_6_stands_beside_what_was_measured(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.jsonl"
    command = ("run", "table6", "--scale", "smoke", "--pretrained", "none", "--out", out, "--json")
    names = ("--methods", ",".join(METHODS))
    clean, universal = [f"{name} 0" for name in METHODS], [f"universal {name} 0" for name in METHODS]
    unnamed = ["published perturbations (need --perturbations)"]
    nothing = segmix(*command, *names, "--budget", "0s").document()
    assert nothing == {"done": [], "held": [], "left": clean + universal + unnamed, "archives": []}
    said = segmix(*command, *names, "--perturbations", files)
    assert said.document() == {"done": clean + universal, "held": [], "left": [], "archives": []}
    assert "uap-resnet152 shuffled: 4/4 images" in said.err
    assert "baseline seed 1000: 2/2 steps, " in said.err
    before = out.read_bytes()
    again = segmix(*command, *names, "--perturbations", files)
    whole = {"done": [], "held": clean + universal, "left": [], "archives": []}
    assert (again.document(), out.read_bytes()) == (whole, before)
    rows = results.read(out)
    monkeypatch.setattr(results, "read_all", lambda folder=None: rows)
    reported = segmix("report", "table6", "--scale", "smoke", "--json").document()["rows"]
    assert [(one["experiment"], one["perturbation"], one["printed"]) for one in reported] == [
        (one.experiment.name, one.perturbation, one.printed) for one in TABLES[6]
    ]
    for one in reported:
        (entry,) = [entry for entry in one["measured"]["smoke"].values() if entry["dataset"] == "silhouettes"]
        same = [
            row
            for row in rows
            if row["experiment"] == one["experiment"]
            and row["reported"]
            and row["eval_dataset"] == "silhouettes"
            and (row["condition"] or {"name": None, "control": None, "how": "resize"}).items()
            >= {"name": one["perturbation"], "control": None, "how": "resize"}.items()
        ]
        assert entry["value"] == pytest.approx(same[0]["metrics"]["mIoU"], abs=0.01)
        assert len(same) == 1
        epsilon = None if one["perturbation"] is None else 10
        assert (entry["condition"] or {"epsilon": None})["epsilon"] == pytest.approx(epsilon, abs=0.01)
    assert "not measured" not in segmix("report", "table6").out


def test_every_method_is_studied_unless_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], tuple[str, ...]]] = []

    def keep(parts: list[str], request_for: object, **given: Any) -> run.Ran:
        asked.append((parts, tuple(given["experiments"])))
        return run.Ran()

    monkeypatch.setattr("segmix_core.robustness.study.run_study", keep)
    segmix("run", "robustness", "universal", "--scale", "smoke")
    segmix("run", "matrix", "--scale", "smoke", "--methods", "mixup, cutmix")
    whole = segmix("run", "figure6", "--scale", "smoke", "--json").document()  # it has no rows of its own
    assert whole == {"done": [], "held": [], "left": [], "archives": []}
    everyone = (*METHODS, "baseline+noise", "baseline+adversarial")
    assert asked == [(list(PARTS), everyone), (["matrix"], ("mixup", "cutmix")), (["universal"], everyone)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("robustnes",), ("did you mean 'robustness'?",)),
        (("table1", "adaptve"), ("did you mean 'adaptive'?",)),
        (("adaptive", "--methods", "mixupp"), ("did you mean 'mixup'?",)),
        (("adaptive", "--methods", "table8/sourcesep-cm-mixed"), ("method of the study",)),
        (("adaptive", "--seeds", "0,1000"), ("seed 1000", "choose other seeds")),
        (("universal", "--perturbations", "NONE"), ("ResNet-152.mat", "no such perturbation")),
        (("adaptive", "--out", "FILE/rows.jsonl"), ("cannot be written",)),
        (("adaptive", "--eval-split", "none"), ("--eval-split none", "leaves a table nothing to measure")),
        (("adaptive", "--dataset", "silhouettes-saliency"), ("no list of segmented images to attack",)),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_cannot_be_studied_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(run, "train", lambda *given, **named: pytest.fail("trained before it looked"))
    (tmp_path / "file").write_text("mine")
    given = [one.replace("FILE", str(tmp_path / "file")).replace("NONE", str(tmp_path)) for one in arguments]
    default = () if "--out" in given else ("--out", tmp_path / "rows.jsonl")
    refused(segmix("run", *given, "--scale", "smoke", *default), *parts)


def test_an_interrupted_study_goes_on_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("segmix_core.robustness.target.cached_run", interrupt)
    said = segmix("run", "adaptive", "--scale", "smoke", "--out", tmp_path / "rows.jsonl")
    refused(said, "run: interrupted; give the same command to go on", status=130)


def test_the_figure_of_a_perturbation_needs_its_file(tmp_path: Path) -> None:
    command = ("figure", 6, "--scale", "smoke", "--pretrained", "none", "--out", tmp_path / "6.png")
    refused(segmix(*command, "--perturbations", tmp_path), "ResNet-152.mat: no such perturbation")
    assert not (tmp_path / "6.png").exists()
