"""Eqs. 4 and 5 on tensors small enough to work out by hand."""

import math

import pytest
import torch

from segmix_core.losses import (
    cross_entropy_B,
    mixed_label_loss,
    phantom_activation,
    segmentation_loss,
    stage1_loss,
    stage2_loss,
)
from segmix_core.mixing import blend
from segmix_core.models import SourceSeparation
from segmix_core.records import Batch, MixedBatch, Separation


def close(value: float) -> object:
    """Equal to float32 accuracy."""
    return pytest.approx(value, rel=1e-4, abs=1e-6)


def logits(*favoured: int, confidence: float = 4.0, categories: int = 3) -> torch.Tensor:
    """(B, N, 1, 2) logits that favour one category in each sample."""
    scores = torch.zeros(len(favoured), categories, 1, 2)
    for sample, category in enumerate(favoured):
        scores[sample, category] = confidence
    return scores


def labels(*categories: int) -> torch.Tensor:
    """(B, 1, 2) label maps of one category each."""
    return torch.tensor(categories)[:, None, None].expand(-1, 1, 2).contiguous()


def cost(favoured: bool, confidence: float = 4.0, categories: int = 3) -> float:
    """Cross-entropy of `logits` where the favoured category is the label, or is not."""
    total = math.exp(confidence) + categories - 1
    return math.log(total) - (confidence if favoured else 0.0)


def mixed(dominant: torch.Tensor, phantom: torch.Tensor, delta: list[float]) -> MixedBatch:
    size = len(dominant)
    return MixedBatch(torch.zeros(size, 3, 1, 2), dominant, phantom, torch.tensor(delta), torch.arange(size))


def test_plain_segmentation_is_the_mean_over_samples_whatever_their_valid_pixels() -> None:
    label_BHW = labels(1, 0)
    label_BHW[0, 0, 1] = 255
    terms = segmentation_loss(Separation(dominant=logits(1, 2)), label_BHW)
    assert terms["dominant"].item() == terms["total"].item() == close((cost(True) + cost(False)) / 2)


def test_losses_are_float32_of_half_precision_too() -> None:
    half = logits(1).bfloat16()
    assert cross_entropy_B(half, labels(1)).dtype == phantom_activation(half).dtype == torch.float32
    assert cross_entropy_B(half, labels(1)).item() == close(cost(True))


def test_stage1_weights_each_term_as_equation_4_does() -> None:
    separation = Separation(dominant=logits(1, 0), phantom=logits(2, 2), final=logits(0, 2))
    terms = stage1_loss(separation, mixed(labels(1, 2), labels(2, 0), [0.9, 0.6]))
    right, wrong = cost(True), cost(False)
    assert terms["final"].item() == close((wrong + right) / 2)
    assert terms["dominant"].item() == close((0.9 * right + 0.6 * wrong) / 2)
    assert terms["phantom"].item() == close((0.1 * right + 0.4 * wrong) / 2)
    assert terms["total"].item() == pytest.approx(
        sum(terms[name].item() for name in ("final", "dominant", "phantom"))
    )


def test_stage1_without_the_joining_head_has_no_final_term() -> None:
    separation = Separation(dominant=logits(1), phantom=logits(2))
    assert set(stage1_loss(separation, mixed(labels(1), labels(2), [0.7]))) == {
        "dominant",
        "phantom",
        "total",
    }


def test_swapping_the_label_maps_changes_stage1() -> None:
    separation = Separation(dominant=logits(1), phantom=logits(2), final=logits(1))
    straight = stage1_loss(separation, mixed(labels(1), labels(2), [0.7]))["total"]
    swapped = stage1_loss(separation, mixed(labels(2), labels(1), [0.7]))["total"]
    assert straight < swapped


def test_mixed_labels_weigh_both_maps_of_one_output() -> None:
    separation = Separation(dominant=logits(1, 2))
    terms = mixed_label_loss(separation, mixed(labels(1, 0), labels(2, 2), [0.3, 0.6]))
    right, wrong = cost(True), cost(False)
    assert terms["dominant"].item() == close((0.3 * right + 0.6 * wrong) / 2)
    assert terms["phantom"].item() == close((0.7 * wrong + 0.4 * right) / 2)
    assert terms["total"].item() == close((0.3 * right + 0.6 * wrong + 0.7 * wrong + 0.4 * right) / 2)


def test_a_sample_without_valid_pixels_costs_nothing() -> None:
    label_BHW = labels(255, 1)
    loss_B = cross_entropy_B(logits(0, 1), label_BHW)
    assert loss_B[0].item() == 0
    assert loss_B[1].item() == close(cost(True))


def test_ignored_pixels_do_not_dilute_the_mean() -> None:
    label_BHW = labels(1)
    half_BHW = label_BHW.clone()
    half_BHW[0, 0, 1] = 255
    torch.testing.assert_close(cross_entropy_B(logits(1), half_BHW), cross_entropy_B(logits(1), label_BHW))


def test_stage2_sums_the_positive_phantom_activation() -> None:
    phantom = torch.tensor([3.0, -5.0, 1.0, -1.0, 0.5, -2.0]).reshape(1, 3, 1, 2)
    terms = stage2_loss(Separation(dominant=logits(1), phantom=phantom), labels(1))
    assert terms["ppa"].item() == close(math.log(1 + 4.5))
    assert terms["dominant"].item() == close(cost(True))
    assert terms["total"].item() == close(math.log(5.5) + cost(True))
    assert set(stage2_loss(Separation(dominant=logits(1), phantom=phantom), labels(1), ppa="off")) == {
        "dominant",
        "total",
    }


def test_each_samples_activation_has_a_logarithm_of_its_own() -> None:
    """R13: the mean of log(1 + 6) and log(1 + 12), not the logarithm of a mean; and S_p is pushed down."""
    phantom = torch.stack([torch.full((3, 1, 2), height) for height in (1.0, 2.0)]).requires_grad_()
    torch.testing.assert_close(phantom_activation(phantom), torch.tensor([7.0, 13.0]).log())
    separation = Separation(dominant=logits(1, 1), phantom=phantom)
    terms = stage2_loss(separation, labels(1, 1))
    assert terms["ppa"].item() == close((math.log(7) + math.log(13)) / 2)
    assert stage2_loss(separation, labels(1, 1), ppa="log_eps")["ppa"].item() == close(
        (math.log(6) + math.log(12)) / 2
    )
    terms["total"].backward()
    assert phantom.grad is not None
    torch.testing.assert_close(phantom.grad[:, 0, 0, 0], 1 / torch.tensor([14.0, 26.0]))


def test_a_silent_phantom_costs_nothing_and_the_printed_form_explodes() -> None:
    silent = torch.full((1, 3, 1, 2), -1.0)
    assert phantom_activation(silent).item() == 0
    assert phantom_activation(silent, "log_eps").item() == close(math.log(1e-6))


def test_the_plain_head_cannot_separate() -> None:
    plain = Separation(dominant=logits(1))
    with pytest.raises(ValueError, match="phantom branch"):
        stage1_loss(plain, mixed(labels(1), labels(2), [0.7]))
    with pytest.raises(ValueError, match="phantom branch"):
        stage2_loss(plain, labels(1))


def test_one_logit_is_scored_by_binary_cross_entropy() -> None:
    logits = torch.tensor([[[[2.0, -1.0, 0.5, 3.0]]], [[[1.0, 1.0, 1.0, 1.0]]]], requires_grad=True)
    label = torch.tensor([[[1, 0, 255, 0]], [[255, 255, 255, 255]]])
    first, second = cross_entropy_B(logits, label)
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(3))) / 3
    assert first.item() == pytest.approx(by_hand, rel=1e-6)
    assert second.item() == 0
    (first + second).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0, 2] == 0
    assert not logits.grad[1].any()
    assert logits.grad[0, 0, 0, 0] < 0 < logits.grad[0, 0, 0, 1]


def test_a_network_takes_apart_the_blends_that_it_has_seen() -> None:
    """Eqs. 1 to 4 together: after some steps on four blends both branches name what their images hold."""
    torch.manual_seed(0)
    image_BCHW = torch.rand(4, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    label_BHW = torch.randint(3, (4, 2, 2)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    mixed = blend(Batch(image_BCHW, label_BHW), torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.6))
    model = SourceSeparation(3, backbone="resnet18w32", aspp_channels=16, aspp_rates=(1, 2, 3)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def right() -> tuple[float, float]:
        separation = model(mixed.image_BCHW)
        assert separation.phantom is not None
        named = ((separation.dominant, mixed.dominant_BHW), (separation.phantom, mixed.phantom_BHW))
        dominant, phantom = (float((scores.argmax(1) == label).float().mean()) for scores, label in named)
        return dominant, phantom

    assert max(right()) < 0.6
    for _ in range(60):
        optimizer.zero_grad()
        stage1_loss(model(mixed.image_BCHW), mixed)["total"].backward()
        optimizer.step()
    assert min(right()) > 0.8
