"""Each sanity check passes where it should and fails where it should."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segmix_core.attacks import sanity
from segmix_core.attacks.adaptive import LOSSES, Aim, Loss, objective_of
from segmix_core.attacks.pgd import Objective
from segmix_core.attacks.sanity import (
    finite_and_unmasked,
    never_helps,
    noise,
    noise_is_weaker,
    nothing_at_zero,
    transfer_is_not_stronger,
    unbounded_reaches_zero,
)
from segmix_core.records import Separation

NAN = math.nan


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_random_signs_of_its_size_and_is_clipped() -> None:
    image = torch.full((2, 3, 64, 64), 0.5)
    image[0, 0] = 0.0
    image[0, 1] = 1.0
    found = (noise(image, 4.0, seeded()) - image) * 255
    free = torch.cat([found[0, 2].flatten(), found[1].flatten()])
    torch.testing.assert_close(free.abs(), torch.full_like(free, 4.0), rtol=0, atol=1e-4)
    assert 0.48 < (free > 0).double().mean() < 0.52
    assert found[0, 0].min() == 0
    assert found[0, 0].max().item() == pytest.approx(4.0, abs=1e-4)
    assert found[0, 1].max() == 0
    assert torch.equal(noise(image, 4.0, seeded()), noise(image, 4.0, seeded()))
    assert not torch.equal(noise(image, 4.0, seeded()), noise(image, 4.0, seeded(1)))
    assert torch.equal(noise(image, 0.0, seeded()), image)


def test_nothing_may_change_at_zero() -> None:
    assert nothing_at_zero(81.25, 81.25).holds
    for at_zero in (81.24, 81.26, NAN):
        check = nothing_at_zero(81.25, at_zero)
        assert not check.holds
        assert "81.25 clean" in check.detail


def test_more_of_an_attack_never_helps() -> None:
    assert never_helps("epsilon", {4: 10.0, 1: 60.0, 2: 30.0}).holds  # in any order
    assert never_helps("epsilon", {1: 60.0, 2: 60.4}).holds
    check = never_helps("steps", {100: 20.0, 300: 20.6})
    assert not check.holds
    assert check.name == "more steps never helps the defender"
    assert check.detail == "20 at 100, 20.6 at 300; tolerance 0.5"
    assert never_helps("steps", {100: 20.0, 300: 20.6}, tolerance=1.0).holds
    # Small rises do not add up unnoticed.
    assert not never_helps("epsilon", {1: 10.0, 2: 10.4, 4: 10.8}).holds
    for broken in ({1: NAN, 2: 3.0}, {1: 3.0, 2: NAN}, {1: 3.0}, {}):
        assert not never_helps("epsilon", broken).holds


def test_noise_must_be_weaker() -> None:
    assert noise_is_weaker(20.0, 70.0).holds
    for attacked, random in ((70.0, 20.0), (70.0, 70.0), (0.0, 0.0), (NAN, 70.0), (20.0, NAN)):
        assert not noise_is_weaker(attacked, random).holds
    # What leads by a little is the worst of many draws.
    assert not noise_is_weaker(69.6, 70.0, by=0.5).holds
    ahead = noise_is_weaker(69.4, 70.0, by=0.5)
    assert ahead.holds
    assert ahead.detail == "69.4 attacked, 70 with noise; by more than 0.5 asked"


def test_an_unbounded_attack_must_reach_zero() -> None:
    assert unbounded_reaches_zero(0.0).holds
    assert unbounded_reaches_zero(1.0).holds
    assert not unbounded_reaches_zero(1.1).holds
    assert unbounded_reaches_zero(1.1, at_most=2.0).holds
    assert not unbounded_reaches_zero(NAN).holds


def test_transfer_may_not_be_stronger() -> None:
    assert transfer_is_not_stronger(20.0, 60.0).holds
    assert transfer_is_not_stronger(20.4, 20.0).holds
    assert not transfer_is_not_stronger(60.0, 20.0).holds
    assert not transfer_is_not_stronger(20.4, 20.0, tolerance=0.1).holds
    assert not transfer_is_not_stronger(NAN, 20.0).holds


class Smooth(nn.Module):
    """A small network of smooth parts, whose images may pass a spoiler first."""

    def __init__(self, spoil: object = None, head: str = "plain") -> None:
        super().__init__()
        self.architecture = {"head": head}
        draw = seeded(3)
        self.weight = torch.randn(3, 3, 3, 3, generator=draw)
        self.spoil = spoil

    def forward(self, image_BCHW: Tensor) -> Separation:
        if self.spoil is not None:
            image_BCHW = self.spoil(image_BCHW)
        return Separation(torch.conv2d(image_BCHW, self.weight, padding=1).tanh() * 2)


def rounded(image_BCHW: Tensor) -> Tensor:
    """Sixteen shades: no gradient, and none that could be."""
    return (image_BCHW * 15).round() / 15


def turned(image_BCHW: Tensor) -> Tensor:
    """The image, with the gradient of its negative."""
    return image_BCHW.detach() * 2 - image_BCHW


def exploded(image_BCHW: Tensor) -> Tensor:
    """The image, with a gradient that is infinite."""
    return image_BCHW + 0 * (image_BCHW - image_BCHW.detach()).sqrt()


def broken_for_one(image_BCHW: Tensor) -> Tensor:
    """The second image loses its gradient."""
    return torch.cat([image_BCHW[:1], image_BCHW[1:].detach()]) if len(image_BCHW) > 1 else image_BCHW


@pytest.mark.parametrize(
    ("spoil", "holds", "told"),
    [
        (None, True, "js: slopes differ by"),
        (rounded, False, "js: zero for 3 of 3 images"),
        (turned, False, r"slopes differ by (199\.9|200\.0) %"),
        (exploded, False, "not finite for 3 of 3 images"),
        (broken_for_one, False, "zero for 2 of 3 images"),
    ],
)
def test_masked_gradients_are_found(spoil: object, holds: bool, told: str) -> None:
    image = torch.rand(3, 3, 12, 12, generator=seeded())
    label = torch.randint(0, 3, (3, 12, 12), generator=seeded(1))
    check = finite_and_unmasked(Smooth(spoil), image, label, generator=seeded(2))
    assert check.holds == holds, check.detail
    assert re.search(told, check.detail)


@pytest.mark.parametrize("spoiled", LOSSES)
def test_the_gradient_of_every_loss_is_probed(spoiled: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    def objective(model: Any, aim: Aim, loss: Loss, *, measured: str) -> Objective:
        return objective_of(Smooth(exploded) if loss == spoiled else model, aim, loss, measured=measured)

    monkeypatch.setattr(sanity, "objective_of", objective)
    image = torch.rand(3, 3, 12, 12, generator=seeded())
    label = torch.randint(0, 3, (3, 12, 12), generator=seeded(1))
    check = finite_and_unmasked(Smooth(), image, label, generator=seeded(2))
    assert (check.holds, check.detail) == (False, f"{spoiled}: not finite for 3 of 3 images")


def test_images_that_are_broken_are_not_probed() -> None:
    image = torch.rand(3, 3, 12, 12, generator=seeded())
    label = torch.randint(0, 3, (3, 12, 12), generator=seeded(1))
    label[1:] = 255
    check = finite_and_unmasked(Smooth(broken_for_one), image, label, generator=seeded(2))
    assert check.holds
    assert "over 1 images" in check.detail
    label[0] = 255
    assert not finite_and_unmasked(Smooth(), image, label, generator=seeded(2)).holds


def test_probing_what_a_head_lacks_is_refused() -> None:
    image, label = torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    for aim in ("final", "joint", "phantom"):
        with pytest.raises(ValueError, match=r"SSH|phantom"):
            finite_and_unmasked(Smooth(), image, label, aim=aim, generator=seeded())
