"""The baselines of defence: noise and attacks on what the network sees, and factors that came later."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import TINY, go, same

from segmix_core.errors import InputError
from segmix_core.experiments import DEFENCES, METHODS, TABLES, Cap, Experiment, Method, find_experiment
from segmix_core.losses import cross_entropy_B
from segmix_core.models import SourceSeparation
from segmix_core.request import Request, plan_of
from segmix_core.rng import stream
from segmix_core.training import stages
from segmix_core.training.stages import ADVERSARIAL_EPSILON, Plan, attacked, noisy

RESULTS = Path(__file__).parent.parent / "data" / "results"
BASELINE = METHODS["baseline"].method


# Factors that came after rows were committed


def digest(method: Method) -> str:
    return Experiment(name="", method=method).digest()


def test_committed_rows_carry_the_digests_of_today() -> None:
    rows = [json.loads(line) for path in RESULTS.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert {row["experiment"] for row in rows} >= set(METHODS)
    for row in rows:
        assert digest(Method.stored(row["method"])) == row["method_digest"]
        assert find_experiment(row["experiment"]).digest() == row["method_digest"]


def test_noise_has_a_digest_of_its_own_and_none_has_that_of_before() -> None:
    assert digest(BASELINE) == "2f7416e273c1"
    assert "noise" not in BASELINE.factors()
    assert len({digest(replace(BASELINE, noise=sd)) for sd in (0.0, 5.0, 10.0)}) == 3
    declared = {row.experiment.digest() for table in TABLES.values() for row in table}
    assert declared.isdisjoint(experiment.digest() for experiment in DEFENCES.values())


@pytest.mark.parametrize("name", [*METHODS, *DEFENCES])
def test_factors_are_read_back_with_and_without_what_came_later(name: str) -> None:
    method = find_experiment(name).method
    assert Method.stored(json.loads(json.dumps(method.factors()))) == method
    assert Method.stored(json.loads(json.dumps(asdict(method)))) == method


def test_adversarial_fine_tuning_shares_stage_1_with_the_baseline_and_noise_does_not() -> None:
    adversarial, noise = (DEFENCES[name].method for name in ("baseline+adversarial", "baseline+noise"))
    assert adversarial.stage1() == BASELINE.stage1()
    assert adversarial.stage_of(BASELINE) is None
    assert noise.stage1() != BASELINE.stage1()
    assert noise.output() == adversarial.output() == "dominant"


@pytest.mark.parametrize(
    ("method", "factors", "reason"),
    [
        ("sourcesep-cc", {"cap": Cap()}, "a cap needs partners within a batch, which pairing 'clusters'"),
        ("baseline", {"cap": Cap()}, "which pairing 'none' has not"),
        ("sourcesep-cm", {"finetune": "adversarial"}, "one output of the plain head"),
        ("baseline", {"noise": -1.0}, r"noise of -1.0 is outside 0\.\.255"),
        ("baseline", {"noise": 256.0}, "outside"),
        ("baseline", {"noise": float("nan")}, "outside"),
    ],
)
def test_factors_that_mean_nothing_are_refused(method: str, factors: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(METHODS[method].method, **factors)


def test_a_checkpoint_goes_on_with_the_noise_it_began_with(root: Path, tmp_path: Path) -> None:
    short = replace(TINY, stage1_steps=1, stage2_steps=1)
    for name in ("baseline", "baseline+noise"):
        go(root, tmp_path / name, name, scale=short)
    with pytest.raises(InputError, match=r"method\.noise is None, not 10\.0"):
        go(root, tmp_path / "baseline", "baseline+noise", scale=short, resume=True)
    with pytest.raises(InputError, match=r"method\.noise is 10\.0, not None"):
        go(root, tmp_path / "baseline+noise", "baseline", scale=short, resume=True)


# Noise


def test_noise_has_the_size_it_says_and_ends_at_black_and_white() -> None:
    grey = torch.full((4, 3, 64, 64), 0.5)
    seen = noisy(grey, 10.0, rng=stream(0, "noise", 3))
    moved = 255 * (seen - grey)
    assert float(moved.std()) == pytest.approx(10, rel=0.02)
    assert float(moved.mean()) == pytest.approx(0, abs=0.2)
    assert torch.equal(noisy(grey, 10.0, rng=stream(0, "noise", 3)), seen)
    assert not torch.equal(noisy(grey, 10.0, rng=stream(0, "noise", 4)), seen)
    twice = 255 * (noisy(grey, 20.0, rng=stream(0, "noise", 3)) - grey)
    assert torch.allclose(twice, 2 * moved, atol=1e-3)

    black = noisy(torch.zeros(4, 3, 64, 64), 10.0, rng=stream(0, "noise", 3))
    assert float(black.min()) == 0
    assert float((black == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    assert torch.allclose(255 * black, moved.clamp(min=0), atol=1e-3)
    white = noisy(torch.ones(4, 3, 64, 64), 10.0, rng=stream(0, "noise", 3))
    assert float(white.max()) == 1
    assert float(grey.std()) == 0  # the batch itself is left alone


def spied(monkeypatch: pytest.MonkeyPatch, name: str, position: int) -> list[torch.Tensor]:
    """What a function of the loop adds to its images, call by call."""
    function: Callable[..., torch.Tensor] = getattr(stages, name)
    added: list[torch.Tensor] = []

    def spy(*given: Any, **named: Any) -> torch.Tensor:
        found = function(*given, **named)
        added.append(found - given[position])
        return found

    monkeypatch.setattr(stages, name, spy)
    return added


def test_every_step_of_both_stages_has_its_own_noise(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = spied(monkeypatch, "noisy", 0)
    go(root, tmp_path, "baseline+noise", scale=replace(TINY, stage1_steps=2, stage2_steps=2))
    assert len(added) == 4
    for number, noise in enumerate(added):
        inner = 255 * noise[noise.abs() < 25 / 255]
        assert 8 < float(inner.std()) < 10
        assert not any(torch.equal(noise, other) for other in added[:number])


# Attacked images


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> SourceSeparation:
    scale = replace(TINY, stage1_steps=30, stage2_steps=1)
    return go(root, tmp_path_factory.mktemp("trained"), "baseline", scale=scale)[0]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(Request(experiment=DEFENCES["baseline+adversarial"], scale=TINY), 24)


def a_batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = stream(0, "a batch")
    image_BCHW = torch.from_numpy(rng.random((4, 3, 33, 33), dtype=np.float32))
    label_BHW = torch.tensor([0, 5, 0, 5])[:, None, None].repeat(1, 33, 33)
    image_BCHW[:, :, :8], image_BCHW[:, :, 8:12] = 0.0, 1.0
    label_BHW[:, :4] = 255
    return image_BCHW, label_BHW


def loss_of(model: SourceSeparation, image_BCHW: torch.Tensor, label_BHW: torch.Tensor) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return cross_entropy_B(model(image_BCHW).dominant, label_BHW)


def test_an_attack_stays_within_epsilon_and_raises_the_loss_of_every_image(
    trained: SourceSeparation, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_BCHW, label_BHW = a_batch()
    found_BCHW = attacked(plan, trained, image_BCHW, label_BHW, rng=stream(0, "attack", 1))
    moved = 255 * (found_BCHW - image_BCHW)
    assert float(moved.abs().max()) == pytest.approx(ADVERSARIAL_EPSILON, abs=1e-3)
    assert float(found_BCHW.min()) == 0
    assert float(found_BCHW.max()) == 1
    plain_B, found_B = (loss_of(trained, one, label_BHW) for one in (image_BCHW, found_BCHW))
    monkeypatch.setattr(stages, "ADVERSARIAL_STEPS", 0)
    start_BCHW = attacked(plan, trained, image_BCHW, label_BHW, rng=stream(0, "attack", 1))
    start_B = loss_of(trained, start_BCHW, label_BHW)
    assert float((255 * (start_BCHW - image_BCHW)).abs().max()) <= ADVERSARIAL_EPSILON + 1e-3
    begun_BCHW = 255 * (start_BCHW - image_BCHW)[:, :, 12:]  # noise here: few pixels are cut off at 0 or 1
    assert float(begun_BCHW.abs().mean()) == pytest.approx(ADVERSARIAL_EPSILON / 2, rel=0.05)
    assert (found_B > plain_B).all()
    assert (found_B > start_B).all()
    assert float((found_B - plain_B).mean()) > 4 * float((start_B - plain_B).abs().mean())


def test_an_attack_is_three_steps_of_one_level_each(trained: SourceSeparation, plan: Plan) -> None:
    seen: list[torch.Tensor] = []
    watching = trained.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    image_BCHW, label_BHW = a_batch()
    seen.append(attacked(plan, trained, image_BCHW, label_BHW, rng=stream(0, "attack", 1)))
    watching.remove()
    assert len(seen) == 3 + 1
    for before, after in pairwise(seen):
        assert float(255 * (after - before).abs().max()) == pytest.approx(1.0, abs=1e-3)


def test_an_attack_is_its_steps_own_and_aims_at_the_labels(trained: SourceSeparation, plan: Plan) -> None:
    image_BCHW, label_BHW = a_batch()
    first, again, later = (
        attacked(plan, trained, image_BCHW, label_BHW, rng=stream(0, "attack", step)) for step in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    swapped_BHW = label_BHW.roll(1, 0)
    swapped = attacked(plan, trained, image_BCHW, swapped_BHW, rng=stream(0, "attack", 1))
    assert (loss_of(trained, first, label_BHW) > loss_of(trained, swapped, label_BHW)).all()
    assert (loss_of(trained, swapped, swapped_BHW) > loss_of(trained, first, swapped_BHW)).all()
    alone = attacked(plan, trained, image_BCHW[:1], label_BHW[:1], rng=stream(0, "attack", 1))
    assert float((alone - first[:1]).abs().gt(1e-6).float().mean()) < 0.01  # not through its batch


def test_an_attack_leaves_no_trace_in_the_network(trained: SourceSeparation, plan: Plan) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    trained.train()
    for parameter in trained.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.manual_seed(0)
    attacked(plan, trained, *a_batch(), rng=stream(0, "attack", 1))
    drawn = torch.rand(3)
    assert same(before, trained.state_dict())
    assert all(bool((parameter.grad == 1).all()) for parameter in trained.parameters())
    assert all(module.training for module in trained.modules())
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), drawn)


def test_only_stage_2_is_attacked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added = spied(monkeypatch, "attacked", 2)
    go(root, tmp_path, "baseline+adversarial", scale=replace(TINY, stage1_steps=3, stage2_steps=2))
    assert len(added) == 2
    for moved in added:
        assert float(255 * moved.abs().max()) == pytest.approx(ADVERSARIAL_EPSILON, abs=1e-3)
    assert not torch.equal(*added)
