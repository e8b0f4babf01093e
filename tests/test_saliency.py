"""Scores of salient objects, worked out by hand, and the one-logit network end to end."""

import numpy as np
import pytest

from segmix_core.evaluation.saliency import BETA_SQUARED, SaliencyScores


def square() -> np.ndarray:
    mask = np.zeros((10, 10), dtype=np.uint8)
    mask[2:7, 2:7] = 1
    return mask


def test_the_mask_itself_is_perfect_and_its_inverse_is_not() -> None:
    scores = SaliencyScores()
    scores.update(square().astype(float), square())
    assert scores.as_json() == {"maxF": 1.0, "maxF_of_means": 1.0, "MAE": 0.0, "MAE_unscaled": 0.0}
    worst = SaliencyScores()
    worst.update(1 - square().astype(float), square())
    assert worst.as_json()["MAE"] == worst.as_json()["MAE_unscaled"] == 1.0
    # At threshold 0 everything is called salient: precision 1/4, recall 1.
    expected = (1 + BETA_SQUARED) * 0.25 / (BETA_SQUARED * 0.25 + 1)
    assert worst.as_json()["maxF"] == pytest.approx(expected, abs=1e-4)


def test_the_two_conventions_differ_where_images_want_different_thresholds() -> None:
    """One image is right only above a high threshold, the other only at a low one."""
    first, second = np.zeros((10, 10)), np.zeros((10, 10))
    mask = square()
    first[mask == 1], first[0] = 1.0, 0.6  # a false stripe up to 0.6
    second[2:7, 2:7] = 0.3
    second[2, 2] = 1.0
    scores = SaliencyScores()
    scores.update(first, mask)
    scores.update(second, mask)
    found = scores.as_json()
    # Below 0.3 (of 1): image 1 has precision 25/35, image 2 is perfect. Recall is 1 in both.
    single = (1 + BETA_SQUARED) * (25 / 35) / (BETA_SQUARED * (25 / 35) + 1)
    assert found["maxF"] == pytest.approx((single + 1) / 2, abs=2e-4)
    precision = (25 / 35 + 1) / 2
    assert found["maxF_of_means"] == pytest.approx(
        (1 + BETA_SQUARED) * precision / (BETA_SQUARED * precision + 1), abs=2e-4
    )
    assert found["maxF"] != found["maxF_of_means"]
    errors = (10 * 0.6 / 100, (24 * 0.7) / 100)
    assert found["MAE"] == pytest.approx(sum(errors) / 2, abs=2e-3)


def test_a_faint_map_has_an_error_that_stretching_hides() -> None:
    faint = 0.2 + 0.4 * square()  # 51 of 255 where nothing is salient, 153 where something is
    scores = SaliencyScores()
    scores.update(faint, square())
    found = scores.as_json()
    assert found["MAE"] == 0
    assert found["MAE_unscaled"] == pytest.approx(0.75 * 0.2 + 0.25 * 0.4)
