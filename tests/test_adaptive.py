"""Losses of SEA pixel by pixel; PGD, APGD and the ensemble on networks whose worst case is known."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from segmix_core.attacks import adaptive, sanity
from segmix_core.attacks.adaptive import (
    AIMS,
    LOSSES,
    Adversary,
    aimed,
    apgd,
    attack,
    available_aims,
    objective_of,
    pixel_loss,
    right_share,
)
from segmix_core.attacks.pgd import Judged, pgd
from segmix_core.attacks.sanity import noise
from segmix_core.experiments.robustness import TOLERANCE
from segmix_core.models import SourceSeparation
from segmix_core.records import Separation

EPSILON = 8.0  # of the attacks on the trained network


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def each(image_BCHW: Tensor, seed: int = 0) -> list[torch.Generator]:
    """A generator for each image."""
    return [seeded(100 * seed + number) for number in range(len(image_BCHW))]


def literal_loss(loss: str, logits: Tensor, label: Tensor, done: float) -> tuple[float, float]:
    """Of one image (N, H, W), one pixel at a time and in double precision: raised, and watched."""
    raised, watched, pixels = 0.0, 0.0, 0
    for row in range(label.shape[0]):
        for column in range(label.shape[1]):
            own = int(label[row, column])
            if own == 255:
                continue
            pixels += 1
            scores = logits[:, row, column].double().tolist()
            total = sum(math.exp(score) for score in scores)
            p = [math.exp(score) / total for score in scores]
            entropy = -math.log(p[own])
            right = max(range(len(p)), key=lambda k: p[k]) == own
            if loss == "masked-ce":
                value = entropy if right else 0.0
            elif loss == "segpgd":
                value = (1 - done / 2 if right else done / 2) * entropy
            elif loss == "js":
                q = [float(k == own) for k in range(len(p))]
                m = [(one + other) / 2 for one, other in zip(p, q, strict=True)]
                value = sum(a * math.log(a / b) for a, b in zip(p, m, strict=True) if a > 0) / 2
                value += sum(a * math.log(a / b) for a, b in zip(q, m, strict=True) if a > 0) / 2
            else:
                best = max(score for k, score in enumerate(scores) if k != own)
                value = (best - scores[own]) / math.sqrt(sum(s * s for s in scores)) if right else 0.0
            raised += value
            watched += value if loss == "margin" else entropy
    return raised / pixels, watched / pixels


@pytest.mark.parametrize("done", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_is_its_literal_form(loss: str, done: float) -> None:
    logits = 3 * torch.randn(3, 4, 5, 6, generator=seeded())
    label = torch.randint(0, 4, (3, 5, 6), generator=seeded(1))
    label[0, :2] = 255
    label[1, :, 3:] = logits[1].argmax(0)[:, 3:]
    raised_B, watched_B = pixel_loss(loss, logits, label, done)
    for image in range(3):
        raised, watched = literal_loss(loss, logits[image], label[image], done)
        assert raised_B[image].item() == pytest.approx(raised, rel=1e-5, abs=1e-7)
        assert watched_B[image].item() == pytest.approx(watched, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_pixels_never_count(loss: str) -> None:
    logits = torch.randn(1, 3, 4, 4, generator=seeded()).requires_grad_()
    label = torch.randint(0, 3, (1, 4, 4), generator=seeded(1))
    label[0, 0] = 255
    changed = logits.detach().clone()
    changed[:, :, 0] = torch.tensor([50.0, -50.0, 1e4, -1e4])
    for one, other in zip(
        pixel_loss(loss, logits, label, 0.5), pixel_loss(loss, changed, label, 0.5), strict=True
    ):
        assert one.item() == other.item()
    (gradient,) = torch.autograd.grad(pixel_loss(loss, logits, label, 0.5)[0].sum(), logits)
    assert not gradient[:, :, 0].any()
    assert gradient[:, :, 1:].any()
    assert right_share(logits, label).item() == right_share(changed, label).item()


def test_of_equal_scores_the_first_is_predicted_as_by_argmax() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 3, (2, 21, 16, 16), generator=generator).float()
    logits[1] = 0  # as a ReLU leaves them; of the other image, too, hardly a pixel is without equals
    label = torch.randint(0, 21, (2, 16, 16), generator=generator)
    label[:, :4] = logits.argmax(1)[:, :4]
    label[:, 15] = 255
    right = (logits.argmax(1) == label).sum((1, 2)) / (label != 255).sum((1, 2))
    assert (right > 0.2).all()
    assert torch.equal(right_share(logits, label), right)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_image_without_labels_has_loss_0_and_no_gradient(loss: str) -> None:
    logits = torch.randn(2, 3, 4, 4, generator=seeded()).requires_grad_()
    label = torch.randint(0, 3, (2, 4, 4), generator=seeded(1))
    label[0] = 255
    raised_B, watched_B = pixel_loss(loss, logits, label, 0.5)
    assert raised_B[0].item() == watched_B[0].item() == 0
    assert raised_B[1].item() != 0
    (gradient,) = torch.autograd.grad(raised_B.sum(), logits)
    assert not gradient[0].any()
    assert torch.isfinite(gradient).all()
    assert right_share(logits, label)[0].item() == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gap", [0.0, 20.0, 60.0, 1e4])
def test_gradients_are_finite_at_certainty(loss: str, gap: float) -> None:
    logits = torch.zeros(1, 3, 1, 3)
    logits[0, 0] = gap
    logits.requires_grad_()
    raised_B, watched_B = pixel_loss(loss, logits, torch.tensor([[[0, 1, 255]]]), 0.5)
    (gradient,) = torch.autograd.grad(raised_B.sum(), logits)
    assert torch.isfinite(raised_B).all()
    assert torch.isfinite(watched_B).all()
    assert torch.isfinite(gradient).all()


def test_js_is_0_where_certain_and_right_and_log_2_where_certain_and_wrong() -> None:
    logits = torch.tensor([200.0, 0.0]).reshape(1, 2, 1, 1)
    assert pixel_loss("js", logits, torch.tensor([[[0]]]))[0].item() == 0
    assert pixel_loss("js", logits, torch.tensor([[[1]]]))[0].item() == pytest.approx(math.log(2))


def test_js_still_points_uphill_when_almost_certain() -> None:
    logits = torch.tensor([40.0, 1.0, 0.0]).reshape(1, 3, 1, 1).requires_grad_()  # its softmax rounds to 1
    (gradient,) = torch.autograd.grad(pixel_loss("js", logits, torch.tensor([[[0]]]))[0].sum(), logits)
    first, second = gradient[0, 1:, 0, 0].tolist()
    assert first > second > 0


def test_unknown_losses_and_single_categories_are_refused() -> None:
    label = torch.zeros(1, 1, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="not one of masked-ce, segpgd, js, margin"):
        pixel_loss("hinge", torch.zeros(1, 2, 1, 1), label)
    with pytest.raises(ValueError, match="two categories"):
        pixel_loss("js", torch.zeros(1, 1, 1, 1), label)
    for wrong in ({"aim": "all"}, {"losses": ()}, {"losses": ("hinge",)}, {"steps": 0}, {"epsilon": -1.0}):
        with pytest.raises(ValueError, match=r"aim|losses|steps|epsilon"):
            Adversary(**({"epsilon": 1.0} | wrong))


def test_the_check_points_are_those_of_apgd() -> None:
    assert sorted(adaptive._checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(adaptive._checkpoints(300)) == [66, 123, 171, 210, 240, 261, 279, 297]
    assert sorted(adaptive._checkpoints(90)) == [20, 37, 52, 63, 72, 79, 84, 90]


class Pointwise(nn.Module):
    """A pixel's scores are its own channels, so that the worst case is known; counts its forward passes.

    S_t sees the channels, S_ss the channels turned by one, S_p their negatives.
    """

    def __init__(self, head: str = "full") -> None:
        super().__init__()
        self.architecture = {"head": head}
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.seen: list[Tensor] = []

    def forward(self, image_BCHW: Tensor) -> Separation:
        self.seen.append(image_BCHW.detach())
        scores = self.scale * image_BCHW
        phantom = None if self.architecture["head"] == "plain" else -scores - 10
        final = scores.roll(1, 1) if self.architecture["head"].startswith("full") else None
        return Separation(scores, phantom, final)


def graded(images: int = 2, size: int = 8, *, most: float = 16.0) -> tuple[Tensor, Tensor]:
    """Grey images whose channel 0 is above the others by margins from 0 to `most` (0..255), labelled 0."""
    image = torch.full((images, 3, size, size), 0.5)
    margin = torch.linspace(0.25, most, size * size).reshape(size, size) / 255
    image[:, 0] += margin
    return image, torch.zeros(images, size, size, dtype=torch.long)


def possible(image_BCHW: Tensor, epsilon: float) -> float:
    """The share of pixels of `graded` that no change within epsilon can turn wrong."""
    return float((image_BCHW[0, 0] - image_BCHW[0, 1] > 2 * epsilon / 255).double().mean())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shrink", [True, False])
def test_every_loss_finds_the_worst_case(loss: str, shrink: bool) -> None:
    image, label = graded()
    adversary = Adversary(epsilon=4.0, steps=30, losses=(loss,), shrink=shrink)
    found = attack(Pointwise(), image, label, adversary, measured="dominant", generators=each(image))
    assert found.right_B.tolist() == pytest.approx([possible(image, 4.0)] * 2, abs=1.1 / 64)
    assert torch.equal(found.right_B, right_share(Pointwise()(found.image_BCHW).dominant, label))
    assert torch.equal(found.by_loss[loss], found.right_B)


def test_what_is_found_lies_in_the_ball_and_inside() -> None:
    image, label = graded()
    image[0] = image[0].round()  # black and white: against the ends of 0..1
    inside = torch.zeros_like(label, dtype=torch.bool)
    inside[:, 2:7, 1:] = True
    adversary = Adversary(epsilon=6.0, steps=12)
    for aim in AIMS:
        model = Pointwise()
        found = attack(
            model,
            image,
            label,
            replace(adversary, aim=aim),
            measured="dominant",
            generators=each(image),
            inside_BHW=inside,
        )
        changed = found.image_BCHW - image
        assert changed.abs().max().item() <= 6 / 255 + 1e-6
        assert changed[1].abs().max().item() > 5 / 255
        for seen in (found.image_BCHW, *model.seen):
            assert seen.min() >= 0
            assert seen.max() <= 1
            if len(seen) == 2:
                assert torch.equal(
                    seen.masked_select(~inside[:, None]), image.masked_select(~inside[:, None])
                )


def test_the_radius_shrinks_as_in_sea_and_only_what_is_within_epsilon_is_kept() -> None:
    image, label = graded(1, most=100.0)
    model = Pointwise()
    found = attack(
        model,
        image,
        label,
        Adversary(epsilon=4.0, steps=50, losses=("js",)),
        measured="dominant",
        generators=each(image),
    )
    reach = [(seen - image).abs().max().item() * 255 for seen in model.seen]
    assert len(reach) == 1 + 16 + 16 + 21  # the clean one, and each phase with its start
    assert reach[0] == 0
    assert all(4 < size <= 8.001 for size in reach[1:17])
    assert max(reach[1:17]) > 6.5
    assert all(size <= 6.001 for size in reach[17:33])
    assert max(reach[17:33]) > 4.5
    assert all(size <= 4.001 for size in reach[33:])
    assert found.right_B.item() >= possible(image, 4.0) - 1e-6 > possible(image, 6.0)


@pytest.mark.parametrize("most", [3.0, 100.0], ids=["broken at 2 epsilon, not at epsilon", "never broken"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100])
def test_no_step_more_or_less_than_asked(steps: int, most: float) -> None:
    image, label = graded(1, most=most)
    assert possible(image, 1.0) > 0
    model = Pointwise()
    found = attack(
        model,
        image,
        label,
        Adversary(epsilon=1.0, steps=steps, losses=("js",)),
        measured="dominant",
        generators=each(image),
    )
    assert (found.image_BCHW - image).abs().max() <= 1.0 / 255 + 1e-6  # however few: the last phase has one
    ends = [0, min(round(0.3 * steps), steps - 1), min(round(0.6 * steps), steps - 1), steps]
    phases = sum(after > before for before, after in pairwise(ends))
    assert len(model.seen) == 1 + steps + phases


def test_a_generator_decides_the_result() -> None:
    image, label = graded(2, most=60.0)
    adversary = Adversary(epsilon=3.0, steps=6, losses=("masked-ce",))
    one, same, other = (
        attack(
            Pointwise(), image, label, adversary, measured="dominant", generators=each(image, seed)
        ).image_BCHW
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_worst_of_the_losses_is_kept_for_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image, label = graded(3)
    reached = {"masked-ce": [0.0, 0.3, 0.5], "segpgd": [0.4, 0.2], "js": [0.1, 0.9], "margin": [0.2, 0.3]}
    asked = []

    def descend(objective: object, image_BCHW: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        loss = LOSSES[len(asked)]
        asked.append(len(image_BCHW))
        return torch.full_like(image_BCHW, len(asked) / 10), torch.tensor(reached[loss])

    monkeypatch.setattr(adaptive, "_descend", descend)
    found = attack(
        Pointwise(), image, label, Adversary(epsilon=4.0), measured="dominant", generators=each(image)
    )
    assert asked == [3, 2, 2, 2]  # the first image is broken by the first loss
    assert found.right_B.tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert found.image_BCHW[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.3, 0.2])
    assert found.by_loss["js"].tolist() == pytest.approx([0.0, 0.1, 0.9])
    assert found.by_loss["margin"].tolist() == pytest.approx([0.0, 0.2, 0.3])
    for right_B in found.by_loss.values():
        assert (found.right_B <= right_B).all()


def test_what_a_search_in_bfloat16_says_of_itself_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    image, label = graded(2)
    clean = right_share(Pointwise()(image).dominant, label)
    assert clean.min() > 0
    monkeypatch.setattr(adaptive, "_descend", lambda _, images, *rest: (images, torch.zeros(len(images))))
    common: dict[str, Any] = {"measured": "dominant", "generators": each(image)}
    adversary = Adversary(epsilon=4.0)
    assert attack(Pointwise(), image, label, adversary, **common).right_B.tolist() == [0, 0]
    found = attack(Pointwise(), image, label, adversary, precision="bf16", **common)
    assert torch.equal(found.right_B, clean)
    assert all(torch.equal(right_B, clean) for right_B in found.by_loss.values())


def test_an_attack_that_helps_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    image, label = graded(1)
    label[0, 0] = 1
    clean = right_share(Pointwise()(image).dominant, label)
    monkeypatch.setattr(adaptive, "_descend", lambda _, images, *rest: (images * 0, torch.ones(len(images))))
    found = attack(
        Pointwise(), image, label, Adversary(epsilon=4.0), measured="dominant", generators=each(image)
    )
    assert torch.equal(found.image_BCHW, image)
    assert torch.equal(found.right_B, clean)
    assert all(torch.equal(right_B, clean) for right_B in found.by_loss.values())


def test_size_0_changes_nothing() -> None:
    image, label = graded()
    model = Pointwise()
    adversary = Adversary(epsilon=0.0, steps=3)
    found = attack(model, image, label, adversary, measured="dominant", generators=each(image))
    assert len(model.seen) > len(LOSSES)  # the steps were made, and the ball kept them where they were
    assert all(torch.equal(seen, image) for seen in model.seen)
    assert torch.equal(found.image_BCHW, image)
    assert found.right_B.tolist() == [1.0, 1.0]
    assert set(found.by_loss) == set(LOSSES)


def test_images_with_nothing_right_are_not_attacked_on() -> None:
    image, label = graded(4, most=60.0)
    label[0] = 1  # wrong from the start
    label[1] = 255  # nothing to be right
    image[2] = graded(1, most=2.0)[0][0]  # broken at once
    model = Pointwise()
    found = attack(
        model, image, label, Adversary(epsilon=4.0, steps=20), measured="dominant", generators=each(image)
    )
    assert found.right_B.tolist() == pytest.approx([0.0, 0.0, 0.0, possible(image[3:], 4.0)], abs=1.1 / 64)
    assert torch.equal(found.image_BCHW[:2], image[:2])
    sizes = [len(seen) for seen in model.seen]
    assert sizes[:2] == [4, 2]
    assert set(sizes[-20:]) == {1}
    assert sum(sizes) < 4 + 4 * 23 + 20


def test_an_image_does_not_depend_on_the_others_of_its_batch() -> None:
    image, label = graded(2, most=30.0)
    image[0] = graded(1, most=3.0)[0][0]  # soon broken, so that the batch shrinks on the way
    adversary = Adversary(epsilon=4.0, steps=40)
    crowd, single = Pointwise(), Pointwise()
    both = attack(crowd, image, label, adversary, measured="dominant", generators=each(image))
    alone = attack(single, image[1:], label[1:], adversary, measured="dominant", generators=each(image)[1:])
    assert both.right_B[0].item() == 0
    assert torch.equal(alone.image_BCHW[0], both.image_BCHW[1])
    assert torch.equal(alone.right_B[0], both.right_B[1])
    assert len(crowd.seen) == len(single.seen)
    assert all(torch.equal(many[-1:], one) for many, one in zip(crowd.seen, single.seen, strict=True))


def valley(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
    """A loss that is highest at 0.52 in every pixel, of which the right pixels say nothing."""
    loss_B = -((image_BCHW - 0.52) ** 2).sum((1, 2, 3))
    return Judged(loss_B, loss_B.detach(), torch.ones(len(image_BCHW)))


def test_apgd_halves_its_step_and_keeps_the_highest() -> None:
    image = torch.full((1, 3, 1, 1), 0.5)
    seen: list[float] = []

    def watched(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
        seen.append(image_BCHW.flatten()[0].item())
        return valley(image_BCHW, label_BHW, done)

    label = torch.zeros(1, 1, 1, dtype=torch.long)
    found, right_B = apgd(watched, image, label, epsilon=12.75, steps=100, start_BCHW=image)
    best = min(seen, key=lambda value: abs(value - 0.52))
    assert found.flatten()[0].item() == best
    assert abs(best - 0.52) < 0.001
    assert right_B.item() == 1
    # The step is 2 epsilon = 0.1 up to the first check point, and half of it from there on.
    assert seen[1] == pytest.approx(0.55)
    assert seen[2] == pytest.approx(0.55 + 0.75 * (0.45 - 0.55) + 0.25 * (0.55 - 0.5))
    early = min(abs(value - 0.52) for value in seen[:23])
    assert abs(best - 0.52) < early
    moves = [abs(after - before) for before, after in pairwise(seen)]
    assert max(moves[23:41]) < max(moves[1:22])
    assert max(moves[-6:]) < 0.1 / 2**5


def test_pgd_with_a_fixed_step_stays_coarser() -> None:
    image, label = torch.full((1, 3, 1, 1), 0.5), torch.zeros(1, 1, 1, dtype=torch.long)
    coarse = pgd(valley, image, label, epsilon=12.75, step=25.5, steps=100)
    fine, _ = apgd(valley, image, label, epsilon=12.75, steps=100, start_BCHW=image)
    assert valley(fine, label, 1.0).watched_B > valley(coarse, label, 1.0).watched_B


@pytest.mark.parametrize("pays", [True, False])
def test_a_step_is_halved_only_where_it_does_not_pay(pays: bool) -> None:
    image, label = torch.full((1, 3, 1, 1), 0.5), torch.zeros(1, 1, 1, dtype=torch.long)
    seen: list[float] = []

    def zigzag(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
        """Points up and down in turn; what is watched rises from look to look, or stays."""
        seen.append(image_BCHW.flatten()[0].item())
        loss_B = (image_BCHW * (-1) ** len(seen)).sum((1, 2, 3))
        return Judged(loss_B, torch.tensor([float(len(seen) * pays)]), torch.ones(1))

    apgd(zigzag, image, label, epsilon=1.0, steps=50, start_BCHW=image)
    moves = [abs(after - before) * 255 for before, after in pairwise(seen)]
    assert min(moves[:10]) > 0.5
    assert min(moves[-3:]) > 0.5 if pays else max(moves[-3:]) < 0.1


def test_a_step_is_halved_where_it_rises_often_and_finds_nothing_better() -> None:
    """What is watched falls once, and rises ever after without coming near what it was."""
    image, label = torch.full((1, 3, 1, 1), 0.5), torch.zeros(1, 1, 1, dtype=torch.long)
    seen: list[float] = []

    def below(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
        seen.append(image_BCHW.flatten()[0].item())
        loss_B = (image_BCHW * (-1) ** len(seen)).sum((1, 2, 3))
        watched = 0.0 if len(seen) == 1 else -1 + 1e-3 * len(seen)
        return Judged(loss_B, torch.tensor([watched]), torch.ones(1))

    apgd(below, image, label, epsilon=1.0, steps=50, start_BCHW=image)
    moves = [abs(after - before) * 255 for before, after in pairwise(seen)]
    assert min(moves[:10]) > 0.5
    assert max(moves[-2:]) < 0.3


def test_step_sizes_are_those_of_each_image() -> None:
    """One image climbs a slope and keeps its step; beside it, one crosses a ridge and halves it."""
    image = torch.full((2, 3, 1, 1), 0.5)
    label = torch.zeros(2, 1, 1, dtype=torch.long)
    target = torch.tensor([0.52, 0.9])[:, None, None, None]

    def both(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
        loss_B = -((image_BCHW - target[: len(image_BCHW)]) ** 2).sum((1, 2, 3))
        return Judged(loss_B, loss_B.detach(), torch.ones(len(image_BCHW)))

    found, _ = apgd(both, image, label, epsilon=12.75, steps=60, start_BCHW=image)
    alone, _ = apgd(both, image[:1], label[:1], epsilon=12.75, steps=60, start_BCHW=image[:1])
    assert torch.equal(found[:1], alone)
    assert found[1].flatten()[0].item() == pytest.approx(0.55)


def test_each_aim_raises_what_it_names() -> None:
    image = torch.rand(2, 3, 6, 6, generator=seeded())
    label = torch.randint(0, 3, (2, 6, 6), generator=seeded(1))
    label[0, 0] = 255
    separation = Pointwise()(image)
    assert separation.final is not None
    assert separation.phantom is not None
    dominant, final = (
        pixel_loss("js", logits, label)[0] for logits in (separation.dominant, separation.final)
    )
    assert not torch.allclose(dominant, final)
    found = {aim: aimed(separation, aim, "js", label, 0.0)[0] for aim in AIMS}
    torch.testing.assert_close(found["dominant"], dominant)
    torch.testing.assert_close(found["final"], final)
    torch.testing.assert_close(found["joint"], (dominant + final) / 2)
    valid = label != 255
    active = torch.log1p(separation.phantom.exp()).mean(1)
    torch.testing.assert_close(found["phantom"][0], active[0][valid[0]].mean())
    torch.testing.assert_close(found["phantom"][1], active[1].mean())


def test_a_silenced_phantom_can_still_be_raised() -> None:
    image, label = graded(1)
    model = Pointwise()
    assert model(image).phantom.max() < 0  # l_PPA is 0, and flat
    objective = objective_of(model, "phantom", "js", measured="dominant")
    raised = pgd(objective, image, label, epsilon=8.0, step=2.0, steps=8)
    assert model(raised).phantom.mean() > model(image).phantom.mean() + 0.5
    found = attack(
        model,
        image,
        label,
        Adversary(aim="phantom", epsilon=8.0, steps=5),
        measured="dominant",
        generators=each(image),
    )
    assert set(found.by_loss) == {"phantom"}


@pytest.mark.parametrize("aim", ["dominant", "final"])
def test_an_attack_hits_the_output_it_aims_at(aim: str) -> None:
    """S_ss calls category 1 what S_t calls 0: where half of the pixels are 1, each is right on its half."""
    image, label = graded(1, most=4.0)
    label[0, :, 4:] = 1
    adversary = Adversary(aim=aim, epsilon=8.0, steps=20, losses=("masked-ce",))
    found = {
        measured: attack(
            Pointwise(), image, label, adversary, measured=measured, generators=each(image)
        ).right_B.item()
        for measured in ("dominant", "final")
    }
    assert found[aim] == 0
    assert right_share(Pointwise()(image).outputs()[aim], label).item() == 0.5


def test_heads_without_an_aim_or_a_measure_are_refused() -> None:
    image, label = graded(1)
    for head, allowed in {
        "plain": {"dominant"},
        "no_ssh": {"dominant", "phantom"},
        "full": set(AIMS),
        "full_relu": {"dominant", "joint", "phantom"},  # its ReLU hides the gradients of S_ss
    }.items():
        model = Pointwise(head)
        assert set(available_aims(model)) == allowed
        for aim in AIMS:
            adversary = Adversary(aim=aim, epsilon=0.0, steps=1)
            if aim in allowed:
                attack(model, image, label, adversary, measured="dominant", generators=each(image))
                continue
            with pytest.raises(ValueError, match=f"'{aim}'"):
                attack(model, image, label, adversary, measured="dominant", generators=each(image))
            if head != "full_relu":  # which has the output: it is a bad thing to aim at
                with pytest.raises(ValueError, match=r"head|SSH"):
                    aimed(model(image), aim, "js", label, 0.0)
    with pytest.raises(ValueError, match="'final' to measure"):
        attack(
            Pointwise("no_ssh"),
            image,
            label,
            Adversary(epsilon=1.0),
            measured="final",
            generators=each(image),
        )


def two_colours(images: int, seed: int, *, either_side: bool = True) -> tuple[Tensor, Tensor]:
    """Images of 32 px, part reddish and part bluish; labels 1 and 2, a void line between."""
    draw = seeded(seed)
    image = torch.rand(images, 3, 32, 32, generator=draw) * 0.3 + 0.35
    label = torch.ones(images, 32, 32, dtype=torch.long)
    for number in range(images):
        edge = int(torch.randint(8, 24, (1,), generator=draw))
        label[number, :, edge:] = 2
        image[number, 0, :, :edge] += 0.1
        image[number, 2, :, edge:] += 0.1
        label[number, :, edge] = 255
        if either_side and torch.rand(1, generator=draw) < 0.5:
            image[number], label[number] = image[number].flip(-1), label[number].flip(-1)
    return image, label


def taught(seed: int, *, either_side: bool = True) -> SourceSeparation:
    """A small network that has learnt to tell the two colours, or on fixed sides, where they are."""
    torch.manual_seed(seed)
    model = SourceSeparation(3, backbone="resnet18w32", aspp_channels=16, aspp_rates=(1, 2, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(25):
        image, label = two_colours(8, 100 * seed + step, either_side=either_side)
        outputs = model(image).outputs().values()
        loss = torch.stack([F.cross_entropy(logits, label, ignore_index=255) for logits in outputs]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model.eval()


@pytest.fixture(scope="module")
def trained() -> SourceSeparation:
    return taught(0)


def test_real_attacks_pass_the_sanity_checks(trained: SourceSeparation) -> None:
    image, label = two_colours(2, 10_000)

    def left(epsilon: float, *, on: SourceSeparation = trained, **how: Any) -> float:
        """Per cent of the pixels that the trained network gets right on what was made on a network."""
        adversary = Adversary(epsilon=epsilon, **({"steps": 10, "losses": ("js", "margin")} | how))
        found = attack(on, image, label, adversary, measured="dominant", generators=each(image))
        with torch.no_grad():
            right_B = right_share(trained(found.image_BCHW).dominant, label)
        return 100 * right_B.mean().item()

    with torch.no_grad():
        clean = 100 * right_share(trained(image).dominant, label).mean().item()
        shown = noise(image, EPSILON, seeded())
        with_noise = 100 * right_share(trained(shown).dominant, label).mean().item()
    by_size = {epsilon: left(epsilon) for epsilon in (0.0, EPSILON / 2, EPSILON)}
    by_steps = {steps: left(EPSILON / 2, steps=steps) for steps in (2, 10)}
    grey, grey_label = graded()  # of the trained network a few pixels at the edges withstand anything
    everything = Adversary(epsilon=255.0, steps=10, losses=LOSSES[:1], shrink=False)
    unbounded = attack(
        Pointwise(), grey, grey_label, everything, measured="dominant", generators=each(grey)
    ).right_B
    assert by_size[EPSILON] < by_size[EPSILON / 2] < by_size[0.0]
    assert by_steps[10] < by_steps[2]
    for check in (
        sanity.nothing_at_zero(clean, by_size[0.0]),
        sanity.never_helps("epsilon", by_size),
        sanity.never_helps("steps", by_steps),
        sanity.noise_is_weaker(by_size[EPSILON], with_noise, by=TOLERANCE),
        sanity.unbounded_reaches_zero(100 * unbounded.mean().item()),
        sanity.transfer_is_not_stronger(by_size[EPSILON / 2], left(EPSILON / 2, on=taught(1))),
        sanity.finite_and_unmasked(trained, image, label, generator=seeded()),
    ):
        assert check.holds, f"{check.name}: {check.detail}"


def test_apgd_beats_pgd_beats_noise_on_a_trained_network(trained: SourceSeparation) -> None:
    """Over sixteen images, long enough for APGD to halve its step: of four in ten steps one image decides."""
    image, label = two_colours(16, 1000)
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}

    def right(shown: Tensor) -> float:
        with torch.no_grad():
            return right_share(trained(shown).dominant, label).mean().item()

    adversary = Adversary(epsilon=EPSILON, steps=30, losses=("masked-ce",), shrink=False)
    strong = attack(trained, image, label, adversary, measured="dominant", generators=each(image))
    objective = objective_of(trained, "dominant", "masked-ce", measured="dominant")
    plain = pgd(objective, image, label, epsilon=EPSILON, step=EPSILON / 4, steps=30)
    random = noise(image, EPSILON, seeded())
    assert right(image) > 0.8
    assert strong.right_B.mean().item() == pytest.approx(right(strong.image_BCHW), abs=1e-3)
    assert right(strong.image_BCHW) < right(plain) < right(random)
    assert not trained.training
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in trained.state_dict().items())


def test_a_search_in_bfloat16_finds_as_much() -> None:
    """Over sixteen images: processors round differently, and of a few the searches are farther apart."""
    trained = taught(0, either_side=False)
    image, label = two_colours(16, 1000, either_side=False)
    adversary = Adversary(epsilon=EPSILON / 2, steps=10)
    common: dict[str, Any] = {"measured": "final"}
    exact, coarse = (
        attack(trained, image, label, adversary, generators=each(image), precision=precision, **common)
        for precision in ("fp32", "bf16")
    )
    assert not torch.equal(exact.image_BCHW, coarse.image_BCHW)

    def right(shown: Tensor) -> Tensor:
        with torch.no_grad():
            return right_share(trained(shown).final, label)

    assert coarse.right_B == pytest.approx(right(coarse.image_BCHW), abs=1e-6)
    found = coarse.right_B.mean().item()
    assert found == pytest.approx(exact.right_B.mean().item(), abs=0.02)
    assert found < right(noise(image, EPSILON / 2, seeded())).mean().item() - 0.1


def test_an_attack_puts_the_network_into_evaluation_mode() -> None:
    image, label = graded(1)
    model = Pointwise().train()
    attack(model, image, label, Adversary(epsilon=2.0, steps=2), measured="dominant", generators=each(image))
    assert not model.training
    assert model.scale.grad is None


def test_pgd_is_that_of_a_library() -> None:
    """Both attack the same classifier, which to us is a segmenter whose output is one pixel."""
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    image = torch.rand(5, 3, 8, 8, generator=seeded())
    label = torch.tensor([0, 1, 2, 0, 1])
    wrapped = PyTorchClassifier(
        classifier, nn.CrossEntropyLoss(), (3, 8, 8), 3, clip_values=(0.0, 1.0), device_type="cpu"
    )
    theirs = ProjectedGradientDescentPyTorch(
        wrapped, eps=8 / 255, eps_step=2 / 255, max_iter=7, num_random_init=0, verbose=False
    ).generate(image.numpy(), label.numpy())

    def objective(image_BCHW: Tensor, label_BHW: Tensor, done: float) -> Judged:
        logits_BN11 = classifier(image_BCHW)[:, :, None, None]
        raised_B, watched_B = pixel_loss("segpgd", logits_BN11, label_BHW, 1.0)  # at the end: half of it
        return Judged(raised_B, watched_B, right_share(logits_BN11, label_BHW))

    ours = pgd(objective, image, label[:, None, None], epsilon=8.0, step=2.0, steps=7)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6, rtol=0)
    assert (ours - image).abs().max().item() * 255 == pytest.approx(8.0, abs=1e-3)
    fewer = pgd(objective, image, label[:, None, None], epsilon=8.0, step=2.0, steps=3)
    assert np.abs(fewer.numpy() - theirs).max() > 1 / 255
