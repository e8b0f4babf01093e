"""Universal perturbations that are crafted: their steps against literal references, stopping and going on."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segmix_core.attacks import Perturbation, control_of
from segmix_core.attacks import gd_uap as gd_uap_module
from segmix_core.attacks.fooling import FOOLING_RATE, Watched, segmented
from segmix_core.attacks.gd_uap import GDUAP, KNOWLEDGE, _Background, _Making, craft_gd_uap, log_norms
from segmix_core.attacks.uap import UAP, craft_uap, deepfool_segmentation
from segmix_core.data.dataset import SegmentationDataset
from segmix_core.data.voc import open_voc
from segmix_core.errors import InputError
from segmix_core.experiments.robustness import STUDIES
from segmix_core.models import SourceSeparation
from segmix_core.robustness.universal import crafting

SIZE = 32
SMALL_GD = GDUAP(size=SIZE, iterations=12, check_every=4, watched=4)
SMALL_UAP = UAP(size=SIZE, images=4, passes=2, steps=1, candidates=3)


@pytest.fixture(scope="module")
def images(root: Path) -> SegmentationDataset:
    return open_voc(root, "train")


@pytest.fixture(scope="module")
def model() -> SourceSeparation:
    torch.manual_seed(3)
    network = SourceSeparation(
        21, backbone="resnet18w32", head="full", output_stride=8, aspp_channels=8, aspp_rates=(1, 2, 3)
    )
    network.train()
    with (
        torch.no_grad()
    ):  # running statistics, so that an untrained network does not say one thing everywhere
        for _ in range(20):
            network(torch.rand(8, 3, SIZE, SIZE))
    return network.eval()


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that an attack must leave alone: parameters, buffers, what needs gradients, gradients, hooks."""
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [parameter.grad for parameter in model.parameters()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "training": [module.training for module in model.modules()],
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    for name, tensor in before.pop("state").items():
        assert torch.equal(tensor, after["state"][name]), name
    after.pop("state")
    assert after == before


def stop_at(step: int) -> Callable[[int, int, dict[str, float]], None]:
    def report(now: int, _last: int, _terms: dict[str, float]) -> None:
        if now == step:
            raise KeyboardInterrupt

    return report


def craft(kind: str, *args: Any, **options: Any) -> Perturbation:
    return {"uap": craft_uap, "gd-uap": craft_gd_uap}[kind](*args, **options)


SMALL = {"uap": SMALL_UAP, "gd-uap": replace(SMALL_GD, knowledge="data")}


def test_a_network_of_random_weights_says_more_than_one_thing(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    watched = Watched.of(model, "dominant", images, np.arange(8), size=SIZE, device="cpu")
    assert len(watched.clean_BHW.unique()) > 1
    assert watched.fooling_rate(torch.zeros(3, SIZE, SIZE)) == 0


def test_the_fooling_rate_is_the_share_of_pixels_whose_category_changes(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    v = torch.from_numpy(np.random.default_rng(0).uniform(-40, 40, (3, SIZE, SIZE)).astype(np.float32))
    watched = Watched.of(model, "final", images, np.arange(20), size=SIZE, device="cpu")
    changed_B = watched.changed_by(v)
    assert changed_B.shape == (20,)
    for index in (0, 16, 19):  # either side of a batch
        image = images.image(index)[16:48, 16:48].copy()  # the centre of 64 pixels
        clean_BCHW = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        shown_BCHW = (clean_BCHW + v / 255).clamp(0, 1)
        with torch.inference_mode():
            before, after = (segmented(model, shown, "final") for shown in (clean_BCHW, shown_BCHW))
        assert float(changed_B[index]) == pytest.approx(float((before != after).double().mean()))
    assert changed_B.max() > 0
    assert watched.fooling_rate(v) == pytest.approx(float(changed_B.mean()))


@pytest.mark.parametrize("kind", ["uap", "gd-uap"])
def test_crafting_leaves_the_network_alone(
    kind: str, model: SourceSeparation, images: SegmentationDataset
) -> None:
    before = snapshot(model)
    crafted = craft(kind, model, SMALL[kind], images, made_on={"network": "tiny"})
    assert_unchanged(model, before)
    assert crafted.v_CHW.shape == (3, SIZE, SIZE)
    assert 0 < crafted.epsilon <= 10
    assert crafted.origin["attack"] == kind
    assert crafted.origin["network"] == "tiny"
    assert crafted.origin["data"] == images.digest()
    assert crafted.origin["epsilon"] == 10


@pytest.mark.parametrize("kind", ["uap", "gd-uap"])
def test_an_exception_leaves_the_network_alone_too(
    kind: str, model: SourceSeparation, images: SegmentationDataset
) -> None:
    before = snapshot(model)
    with pytest.raises(KeyboardInterrupt):
        craft(kind, model, SMALL[kind], images, report=stop_at(2))
    assert_unchanged(model, before)
    before = snapshot(model)
    with pytest.raises(RuntimeError):
        log_norms(model.encoder, torch.zeros(1, 4, SIZE, SIZE))
    assert_unchanged(model, before)


@pytest.mark.parametrize(("kind", "step"), [("uap", 3), ("uap", 5), ("gd-uap", 4), ("gd-uap", 6)])
def test_stopping_and_going_on_changes_nothing(
    kind: str, step: int, model: SourceSeparation, images: SegmentationDataset, tmp_path: Path
) -> None:
    how, state = SMALL[kind], tmp_path / "state"
    whole = craft(kind, model, how, images)
    with pytest.raises(KeyboardInterrupt):
        craft(kind, model, how, images, state=state, report=stop_at(step))
    assert state.exists()
    told: list[int] = []
    resumed = craft(kind, model, how, images, state=state, report=lambda now, *_: told.append(now))
    assert told[0] == (step + 1 if kind == "uap" else 5)  # goes on, from where the state was written
    assert torch.equal(resumed.v_CHW, whole.v_CHW)
    assert resumed.origin == whole.origin
    assert not state.exists()


def test_gd_uap_goes_on_between_two_checks(
    model: SourceSeparation, images: SegmentationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is written now and then; a halving since the last check is part of it."""
    state = tmp_path / "state"
    monkeypatch.setattr(gd_uap_module, "SATURATED", -1.0)  # whatever stands still is halved
    monkeypatch.setattr(gd_uap_module, "STILL", 1e-3)
    whole = craft("gd-uap", model, SMALL_GD, images)
    monkeypatch.setattr(gd_uap_module, "SAVED_EVERY", 0.0)
    for step in range(1, SMALL_GD.iterations - 1):
        with pytest.raises(KeyboardInterrupt):
            craft("gd-uap", model, SMALL_GD, images, state=state, report=stop_at(step))
        told: list[int] = []
        resumed = craft(
            "gd-uap", model, SMALL_GD, images, state=state, report=lambda now, *_, told=told: told.append(now)
        )
        assert told[0] == step + 1
        assert torch.equal(resumed.v_CHW, whole.v_CHW)
        assert resumed.origin == whole.origin


@pytest.mark.parametrize("kind", ["uap", "gd-uap"])
def test_the_state_of_another_crafting_is_refused(
    kind: str, model: SourceSeparation, images: SegmentationDataset, root: Path, tmp_path: Path
) -> None:
    how, state = SMALL[kind], tmp_path / "state"
    stop = stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        craft(kind, model, how, images, state=state, report=stop, made_on={"weights": "a"})
    others: list[tuple[str, Any, SegmentationDataset, dict[str, Any]]] = [
        (kind, replace(how, seed=1), images, {}),
        (kind, replace(how, epsilon=9.0), images, {}),
        (kind, how, open_voc(root, "val"), {}),
        (kind, how, images, {"output": "final"}),
        (kind, how, images, {"made_on": {"weights": "b"}}),
        *((other, SMALL[other], images, {}) for other in SMALL if other != kind),
    ]
    for other, options, data, extra in others:
        arguments = {"made_on": {"weights": "a"}} | extra
        with pytest.raises(InputError, match="belongs to another crafting"):
            craft(other, model, options, data, state=state, **arguments)
    content = state.read_bytes()
    for cut in (b"", content[: len(content) // 2], b"something else"):
        state.write_bytes(cut)
        with pytest.raises(InputError, match="is no state of a crafting"):
            craft(kind, model, how, images, state=state, made_on={"weights": "a"})
    state.write_bytes(content)
    craft(kind, model, how, images, state=state, made_on={"weights": "a"})


# UAP


@pytest.mark.slow
def test_uap_beats_random_signs_of_its_size(model: SourceSeparation, images: SegmentationDataset) -> None:
    how = replace(SMALL_UAP, images=5, passes=3, steps=5)
    crafted = craft_uap(model, how, images)
    assert crafted.epsilon <= how.epsilon
    unseen = Watched.of(model, "dominant", images, np.arange(24), size=SIZE, device="cpu")
    full = crafted.scaled_to(how.epsilon)
    signs = [
        control_of(full, "signs of the same size", rng=np.random.default_rng(seed)).v_CHW for seed in range(3)
    ]
    assert unseen.fooling_rate(crafted.v_CHW) > 1.2 * max(map(unseen.fooling_rate, signs))


def test_uap_reports_every_visit_and_keeps_the_best_pass(
    model: SourceSeparation, images: SegmentationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([0.4, 0.3])
    kept: list[Tensor] = []

    def rate(_self: Watched, v: Tensor) -> float:
        kept.append(v.clone())
        return next(rates)

    monkeypatch.setattr(Watched, "fooling_rate", rate)
    told: list[tuple[int, int, float]] = []
    crafted = craft_uap(
        model,
        SMALL_UAP,
        images,
        report=lambda now, last, terms: told.append((now, last, terms[FOOLING_RATE])),
    )
    assert told == [(visit, 8, 0.0 if visit < 4 else 40.0) for visit in range(1, 9)]
    assert torch.equal(crafted.v_CHW, kept[0])
    assert not torch.equal(kept[0], kept[1])
    assert crafted.origin["fooling_rate"] == 40
    assert (crafted.origin["passes"], crafted.origin["images"]) == (2, 4)


def test_uap_stays_within_its_limit(model: SourceSeparation, images: SegmentationDataset) -> None:
    limit = 0.25  # of 255: less than a step takes
    crafted = craft_uap(model, replace(SMALL_UAP, epsilon=limit), images)
    assert crafted.epsilon == pytest.approx(limit)


def test_uap_ends_when_its_goal_is_met(model: SourceSeparation, images: SegmentationDataset) -> None:
    crafted = craft_uap(model, replace(SMALL_UAP, goal=1e-3, passes=8), images)
    assert crafted.origin["passes"] < 8
    assert crafted.origin["fooling_rate"] >= 0.1


class Linear(nn.Module):
    """Scores of each pixel that are linear in its colour: DeepFool meets its boundary in one step."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight_NC = nn.Parameter(torch.randn(4, 3, generator=generator, dtype=torch.float64))

    def forward(self, image_BCHW: Tensor) -> Any:
        logits_BNHW = torch.einsum("nc,bchw->bnhw", self.weight_NC, image_BCHW)
        return SimpleNamespace(outputs=lambda: {"dominant": logits_BNHW})


def test_deepfool_takes_the_shortest_step_over_a_linear_boundary() -> None:
    model, how = Linear(), UAP(size=1, overshoot=0.02, goal=0.8)
    image_CHW = torch.tensor([0.5, 0.45, 0.55], dtype=torch.float64)[:, None, None]
    x, weight_NC = image_CHW.flatten().numpy(), model.weight_NC.detach().numpy()
    own = int((weight_NC @ x).argmax())
    steps = []
    for category in range(4):
        if category != own:
            f = (weight_NC[category] - weight_NC[own]) @ x
            w = (weight_NC[category] - weight_NC[own]) / 255  # by the perturbation, in pixel units
            steps.append(abs(f) / (w @ w) * w)
    shortest = min(steps, key=lambda step: float(np.linalg.norm(step)))
    assert np.abs(shortest).max() < 100  # the image stays within 0..1: nothing is clipped
    v_CHW = deepfool_segmentation(
        model,  # type: ignore[arg-type]
        image_CHW,
        torch.tensor([[own]], dtype=torch.uint8),
        torch.ones(1, 1, dtype=torch.bool),
        torch.zeros(3, 1, 1, dtype=torch.float64),
        how,
    )
    np.testing.assert_allclose(v_CHW.flatten().numpy(), 1.02 * shortest, rtol=1e-6)
    assert model.weight_NC.grad is None
    moved = weight_NC @ (x + v_CHW.flatten().numpy() / 255)
    assert int(moved.argmax()) != own


def test_deepfool_looks_beyond_the_category_with_the_next_best_score() -> None:
    """The second best category hardly depends on the image: the boundary of the third is nearer."""
    model = Linear()
    model.weight_NC.data = torch.tensor(
        [[0, 0, 0], [-0.02, 0, 0], [-2, 1, 0], [-3, -3, -3]], dtype=torch.float64
    )
    image_CHW = torch.full((3, 1, 1), 0.5, dtype=torch.float64)
    v_CHW = deepfool_segmentation(
        model,  # type: ignore[arg-type]
        image_CHW,
        torch.zeros(1, 1, dtype=torch.uint8),
        torch.ones(1, 1, dtype=torch.bool),
        torch.zeros(3, 1, 1, dtype=torch.float64),
        UAP(size=1),
    )
    score_N = model((image_CHW + v_CHW / 255)[None]).outputs()["dominant"].flatten()
    assert int(score_N.argmax()) == 2
    assert float(v_CHW.norm()) == pytest.approx(1.02 * 255 * 0.5 / 5**0.5)


def test_deepfool_leaves_an_image_alone_that_is_changed_enough() -> None:
    model, v_CHW = Linear(), torch.full((3, 1, 5), 0.5, dtype=torch.float64)
    image_CHW = torch.rand(3, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    now_HW = model(image_CHW[None] + v_CHW / 255).outputs()["dominant"][0].argmax(0)
    other_HW = (now_HW + 1) % 4
    clean_HW = torch.where(torch.arange(5) < 1, now_HW, other_HW)  # 4 of 5 are changed: 0.8
    for goal, stays in ((0.8, True), (0.81, False)):
        found = deepfool_segmentation(
            model,  # type: ignore[arg-type]
            image_CHW,
            clean_HW,
            torch.ones(1, 5, dtype=torch.bool),
            v_CHW,
            UAP(size=5, goal=goal),
        )
        assert torch.equal(found, v_CHW) is stays
    assert (v_CHW == 0.5).all()


# GD-UAP


def literal_log_norms(model: SourceSeparation, image_BCHW: Tensor) -> float:
    """The sum by the layers of a torchvision ResNet, written out; no ReLU overwrites its input."""
    encoder = model.encoder
    total = 0.0

    def relu(features: Tensor) -> Tensor:
        nonlocal total
        kept = torch.where(features > 0, features, torch.zeros_like(features))
        total += math.log(math.sqrt(float(kept.double().square().sum())))
        return kept

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    features = (image_BCHW - mean[:, None, None]) / std[:, None, None]
    features = encoder.maxpool(relu(encoder.bn1(encoder.conv1(features))))
    for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        for block in layer:
            inner = relu(block.bn1(block.conv1(features)))
            passed = features if block.downsample is None else block.downsample(features)
            features = relu(block.bn2(block.conv2(inner)) + passed)
    return total


@torch.no_grad()
def test_log_norms_are_those_of_every_relu(model: SourceSeparation) -> None:
    image_BCHW = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found = float(log_norms(model.encoder, image_BCHW))
    assert found == pytest.approx(literal_log_norms(model, image_BCHW), rel=1e-5)


def test_a_relu_that_returns_zeros_breaks_nothing() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.ReLU())
    with torch.no_grad():
        encoder[0].bias += 10
        encoder[2].weight.zero_()
        encoder[2].bias.fill_(-1)
    image_BCHW = torch.rand(1, 3, 4, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(log_norms(encoder, image_BCHW), image_BCHW)
    (alone,) = torch.autograd.grad(encoder[:2](image_BCHW).norm().log(), image_BCHW)
    torch.testing.assert_close(gradient, alone)
    assert gradient.abs().sum() > 0


def test_steps_are_adams_of_a_tenth_of_a_pixel_value(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    """Two steps without knowledge against Adam written out, with its gradient by a second way."""
    how = replace(SMALL_GD, iterations=2, check_every=2, epsilon=10.0)
    crafted = craft_gd_uap(model, how, images).v_CHW.double()
    v = _Making(how, "cpu", None, {}).v.detach().clone()
    assert 9.9 < float(v.abs().max()) <= 10
    assert abs(float(v.mean())) < 0.5
    first = second = torch.zeros_like(v, dtype=torch.float64)
    for step in (1, 2):
        leaf = v.clone().requires_grad_()
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        loss = -log_norms(model.encoder, (mean + leaf / 255)[None].clamp(0, 1))
        loss.backward()
        model.zero_grad(set_to_none=True)
        gradient = leaf.grad.double()
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        size = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        before, v = v, (v - 0.1 * size).clamp(-10, 10).float()
        assert float((v - before).abs().max()) == pytest.approx(0.1, rel=0.5)
    near = (crafted - v.double()).abs() < 1e-3
    assert near.double().mean() > 0.999  # a gradient of almost nothing may differ in sign
    start = _Making(how, "cpu", None, {}).v.detach()
    with torch.no_grad():
        moved = [
            float(log_norms(model.encoder, (mean + one.float() / 255)[None])) for one in (start, crafted)
        ]
    assert moved[1] > moved[0]  # norms grow


def test_what_an_attacker_knows_is_what_it_adds_the_perturbation_to(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    known = np.arange(6, 24)
    drawn = {}
    for knowledge in KNOWLEDGE:
        background = _Background(
            replace(SMALL_GD, knowledge=knowledge, size=64), images, known, model.encoder.mean
        )
        drawn[knowledge] = torch.stack([background.draw(iteration) for iteration in range(6)])
        again = background.draw(5)
        assert torch.equal(again, drawn[knowledge][5])
        assert drawn[knowledge].min() >= 0
        assert drawn[knowledge].max() <= 1
        if knowledge == "part":
            assert len(background.known) < len(known) / 2
            assert set(background.known) < set(known)
            share = {index: np.mean(images.label(int(index)) == 0) for index in known}
            others = set(known) - set(background.known)
            assert max(share[one] for one in background.known) <= min(share[one] for one in others)
            other = replace(SMALL_GD, knowledge="part", seed=5)
            same = _Background(other, images, known, model.encoder.mean).known
            assert list(same) == list(background.known)
        if knowledge == "data":
            assert list(background.known) == list(known)
    for one, other in (("none", "range"), ("range", "data"), ("data", "part"), ("none", "part")):
        assert not torch.equal(drawn[one], drawn[other])
    normalised = (drawn["none"] - model.encoder.mean) / model.encoder.std
    assert normalised.abs().max() == 0  # the perturbation alone
    pixel_PC = np.concatenate([images.image(index).reshape(-1, 3) for index in known]) / 255
    noise_PC = drawn["range"].movedim(1, -1).reshape(-1, 3).double().numpy()
    inside = np.clip(  # the same Gaussian, clipped, by other numbers
        np.random.default_rng(0).normal(pixel_PC.mean(0), pixel_PC.std(0), (200_000, 3)), 0, 1
    )
    np.testing.assert_allclose(noise_PC.mean(0), inside.mean(0), atol=0.01)
    np.testing.assert_allclose(noise_PC.std(0), inside.std(0), atol=0.01)
    assert not torch.equal(drawn["range"][0], drawn["range"][1])


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
def test_data_that_are_seen_are_not_those_that_judge(
    knowledge: str, model: SourceSeparation, images: SegmentationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging: list[int] = []
    seen: list[int] = []
    of, pair, image = Watched.of, SegmentationDataset.pair, SegmentationDataset.image

    def watch(model: Any, output: str, dataset: Any, indices: np.ndarray, **options: Any) -> Watched:
        judging.extend(indices.tolist())
        watched = of(model, output, dataset, indices, **options)
        seen.clear()
        return watched

    def note(kind: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: SegmentationDataset, index: int) -> Any:
            seen.append(index)
            return kind(self, index)

        return noted

    monkeypatch.setattr(Watched, "of", staticmethod(watch))
    monkeypatch.setattr(SegmentationDataset, "pair", note(pair))
    monkeypatch.setattr(SegmentationDataset, "image", note(image))
    craft_gd_uap(model, replace(SMALL_GD, knowledge=knowledge), images)
    assert len(judging) == 4
    assert not set(judging) & set(seen)
    assert bool(seen) is (knowledge != "none")


def test_bad_knowledge_and_too_few_images(model: SourceSeparation, images: SegmentationDataset) -> None:
    with pytest.raises(ValueError, match="'all' is not one of none, range, data, part"):
        craft_gd_uap(model, replace(SMALL_GD, knowledge="all"), images)  # type: ignore[arg-type]
    one = replace(images, ids=images.ids[:1])
    with pytest.raises(InputError, match="split train has 1 images"):
        craft_gd_uap(model, SMALL_GD, one)


def making(*, limit: float = 10.0, check_every: int = 400) -> _Making:
    """One whose steps of Adam move nothing: its gradient is zero."""
    one = _Making(GDUAP(size=10, epsilon=limit, check_every=check_every), "cpu", None, {})
    one.v.grad = torch.zeros_like(one.v)
    return one


def fill(one: _Making, share: float, rest: float = 1.0) -> None:
    """Set that share of the 300 values to the limit, alternately above and below."""
    with torch.no_grad():
        one.v.fill_(rest)
        flat = one.v.view(-1)
        count = round(share * 300)
        flat[:count] = one.how.epsilon
        flat[:count:2] *= -1


def test_it_is_halved_where_it_is_saturated_and_stands_still() -> None:
    one = making()
    fill(one, 0.6)
    full = one.v.detach().clone()
    one.step()
    assert torch.equal(one.v, full)  # saturated, and not so before
    one.step()
    assert torch.equal(one.v, full / 2)  # saturated as before
    one.step()
    assert torch.equal(one.v, full / 2)  # not saturated any more


def test_the_state_remembers_how_saturated_it_was(tmp_path: Path) -> None:
    one = making()
    one.state = tmp_path / "state"
    fill(one, 0.6)
    full = one.v.detach().clone()
    one.step()
    one.check(lambda _: 0.5)
    again = _Making(one.how, "cpu", one.state, {})
    again.v.grad = torch.zeros_like(again.v)
    again.step()
    assert torch.equal(again.v, full / 2)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_it_is_not_halved_at_half_or_below(share: float) -> None:
    one = making()
    fill(one, share)
    full = one.v.detach().clone()
    for _ in range(4):
        one.step()
    assert torch.equal(one.v, full)


def test_it_is_not_halved_while_the_saturated_share_moves() -> None:
    one = making()
    for share in (0.6, 0.61, 0.62, 0.61):
        fill(one, share)
        full = one.v.detach().clone()
        one.step()
        assert torch.equal(one.v, full)
    one.step()
    assert torch.equal(one.v, full / 2)


@pytest.mark.parametrize("limit", [10.0, 0.1, 1 / 3])
def test_a_step_ends_within_the_limit_and_counts_what_is_clipped_as_saturated(limit: float) -> None:
    one = making(limit=limit)
    with torch.no_grad():
        one.v.fill_(-2 * limit)
    one.step()
    assert torch.equal(one.v, torch.full_like(one.v, -limit))
    assert float(one.saturation) == 1
    one.step()
    assert torch.equal(one.v, torch.full_like(one.v, -limit) / 2)


@pytest.mark.parametrize(
    ("halvings", "checks"),
    [
        ([], [8, 16, 24]),
        ([3], [7, 15, 23]),
        ([1], [5, 13, 21]),
        ([4], [8, 16, 24]),
        ([6], [10, 18, 26]),
        ([8], [12, 20, 28]),
        ([3, 5], [7, 15, 23]),  # the second was before the check that the first called for
        ([3, 9], [7, 13, 21]),
        ([2, 4, 6, 8, 10, 12, 14, 16, 18], [6, 12, 18]),
    ],
)
def test_checks_are_every_so_often_and_half_of_it_after_a_halving(
    halvings: list[int], checks: list[int]
) -> None:
    one, found = making(check_every=8), []
    while len(found) < 3:
        coming = one.iteration + 1
        fill(one, 1.0 if coming in halvings else 0.2)
        one.saturation = torch.tensor(1.0 if coming in halvings else 0.0, dtype=torch.float64)
        one.step()
        if one.due():
            found.append(one.iteration)
            one.check(lambda _: 0.5)
    assert found == checks


def test_what_is_halved_is_measured_as_it_was_as_well() -> None:
    one, asked = making(check_every=4), []

    def rate(v: Tensor) -> float:
        asked.append(v.clone())
        return float(v.abs().max())

    fill(one, 0.6)
    full = one.v.detach().clone()
    one.step()
    one.step()  # halved
    one.check(rate)
    assert len(asked) == 2
    assert torch.equal(asked[0], full)
    assert torch.equal(asked[1], full / 2)
    assert torch.equal(one.best, full)
    assert (one.best_rate, one.unsuccessful) == (10, 0)
    one.step()
    one.check(rate)  # not halved since
    assert len(asked) == 3
    assert one.unsuccessful == 1


def test_it_ends_after_checks_without_a_better_one_and_keeps_the_best(
    model: SourceSeparation, images: SegmentationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([0.2, 0.5, 0.5, 0.1, 0.6, 0.6, 0.3, 0.4, 0.9])
    kept: list[Tensor] = []

    def rate(_self: Watched, v: Tensor) -> float:
        kept.append(v.clone())
        return next(rates)

    monkeypatch.setattr(Watched, "fooling_rate", rate)
    told: list[tuple[int, int, float]] = []
    how = replace(SMALL_GD, iterations=100, check_every=2, patience=3)
    crafted = craft_gd_uap(
        model, how, images, report=lambda now, last, terms: told.append((now, last, terms[FOOLING_RATE]))
    )
    assert len(kept) == 8
    assert torch.equal(crafted.v_CHW, kept[4])
    assert crafted.origin["iterations"] == 16
    assert crafted.origin["fooling_rate"] == 60
    assert [now for now, _, _ in told] == list(range(1, 17))
    assert {last for _, last, _ in told} == {100}
    assert [told[step][2] for step in (0, 1, 3, 8, 9, 15)] == pytest.approx([0, 20, 50, 50, 60, 60])


def test_what_the_last_iterations_find_counts(
    model: SourceSeparation, images: SegmentationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([0.2, 0.3, 0.9])
    monkeypatch.setattr(Watched, "fooling_rate", lambda _self, v: next(rates))
    crafted = craft_gd_uap(model, replace(SMALL_GD, iterations=5, check_every=2), images)
    assert (crafted.origin["iterations"], crafted.origin["fooling_rate"]) == (5, 90)


def test_fewer_iterations_than_a_check_takes_are_judged_at_the_end(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    how = replace(SMALL_GD, iterations=3, check_every=50)
    crafted = craft_gd_uap(model, how, images)
    assert crafted.origin["fooling_rate"] >= 0
    assert not torch.equal(crafted.v_CHW, _Making(how, "cpu", None, {}).v.detach())


def test_clean_predictions_are_made_once_and_checks_keep_no_activations(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    """Forward passes of whole networks: the held-out images once clean, and once for each check."""
    passed = {"whole": 0, "encoder": 0, "hooked": 0}

    def whole(_module: nn.Module, given: tuple[Tensor, ...], _returned: object) -> None:
        passed["whole"] += len(given[0])
        passed["hooked"] += any(
            module._forward_hooks for module in model.encoder.modules() if is_relu(module)
        )

    def is_relu(module: nn.Module) -> bool:
        return isinstance(module, nn.ReLU)

    hooks = [
        model.register_forward_hook(whole),
        model.encoder.register_forward_hook(
            lambda _module, given, _returned: passed.update(encoder=passed["encoder"] + len(given[0]))
        ),
    ]
    try:
        craft_gd_uap(model, replace(SMALL_GD, iterations=12, check_every=4, watched=5), images)
    finally:
        for hook in hooks:
            hook.remove()
    checks = 3
    assert passed["whole"] == 5 * (1 + checks)
    assert passed["encoder"] == 12 + 5 * (1 + checks)
    assert passed["hooked"] == 0


def test_a_check_shows_fewer_images_than_are_crafted_on_before_it() -> None:
    """Even halved, the distance of two checks is as many images, each also differentiated.

    A check after a halving shows them twice, which costs no more than to differentiate once.
    """
    assert GDUAP().watched <= GDUAP().check_every // 2
    for study in STUDIES.values():
        how = crafting("gd-uap-none", size=8, study=study)
        assert isinstance(how, GDUAP)
        assert how.watched == study.gd_uap_watched <= how.check_every // 2
    assert (gd_uap_module.SATURATED, gd_uap_module.STILL) == (0.5, 1e-5)


@pytest.mark.slow
def test_gd_uap_fills_the_layers_and_beats_its_start(
    model: SourceSeparation, images: SegmentationDataset
) -> None:
    how = replace(SMALL_GD, knowledge="data", iterations=60, check_every=20)
    crafted = craft_gd_uap(model, how, images)
    assert crafted.epsilon <= 10
    watched = Watched.of(model, "dominant", images, np.arange(24), size=SIZE, device="cpu")
    start = _Making(how, "cpu", None, {}).v.detach()
    assert watched.fooling_rate(crafted.v_CHW) > watched.fooling_rate(start)
