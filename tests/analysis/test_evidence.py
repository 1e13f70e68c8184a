"""Scores against known evidence: published values for masks, known answers, ties, and bad input."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score  # a dependency of rsatoolbox

from analysis import evidence

MASK = np.array([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((20, 9, 7))


def test_known_answers_for_a_mask():
    relevance = np.array([[[4.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 0.0]]])
    found = {name: value.item() for name, value in evidence.scores(relevance, MASK).items()}
    # places: 4 (hit), 3, 2, 1 (hit)
    assert found == pytest.approx({"mass": 0.5, "rank": 0.5, "pointing": 1.0, "precision": (1 + 2 / 4) / 2})


def test_known_answers_for_graded_truth():
    truth = np.array([[[8.0, 4.0], [4.0, 0.0]]])  # 1, 1/2, 1/2, 0: an area of 2
    relevance = np.array([[[0.0, 3.0], [1.0, 2.0]]])
    found = {name: value.item() for name, value in evidence.scores(relevance, truth).items()}
    own = (1 * 1 + 1 * 2 / 3) / 2  # precision 1, then both halves enter together at 2 / 3
    average = (0.5 * 0.5 + 0 + 0.5 * 1 / 3 + 1 * 2 / 4) / 2
    expected = {"mass": 2 / 6, "rank": 0.5 / 1.5, "pointing": 0.5, "precision": average / own}
    assert found == pytest.approx(expected)


def test_the_truth_itself_is_the_best_map_by_order(maps):
    for truth in (maps, (maps > 0.7).astype(float)):
        found = evidence.scores(truth, truth)
        for name in ("rank", "pointing", "precision"):
            np.testing.assert_allclose(found[name], 1)
        one_pixel = (truth == truth.max((1, 2), keepdims=True)).astype(float)
        np.testing.assert_allclose(evidence.scores(one_pixel, truth)["mass"], 1)


def test_average_precision_of_a_mask_is_that_of_scikit_learn_with_and_without_ties(maps):
    truth = np.random.default_rng(1).random(maps.shape) < 0.2
    for relevance in (maps, maps.round(1), np.maximum(maps - 0.6, 0)):
        expected = [
            average_precision_score(t.ravel(), r.ravel()) for t, r in zip(truth, relevance, strict=True)
        ]
        np.testing.assert_allclose(evidence.scores(relevance, truth)["precision"], expected)


def test_ties_count_as_the_mean_of_all_their_orders():
    rng = np.random.default_rng(2)
    truth = rng.random((1, 4, 5))
    relevance = rng.integers(0, 3, (1, 4, 5)).astype(float)
    broken = relevance + 1e-6 * rng.random((20000, 4, 5))
    many = np.repeat(truth, len(broken), axis=0)
    tied, every = evidence.scores(relevance, truth), evidence.scores(broken, many)
    for name in ("rank", "pointing"):
        assert tied[name].item() == pytest.approx(every[name].mean(), abs=0.01)


def test_a_map_without_relevance_is_at_chance():
    truth = np.repeat(MASK, 2, axis=0)
    for blank in (np.zeros_like(truth), np.full_like(truth, 3.0)):
        for name, values in evidence.scores(blank, truth).items():
            np.testing.assert_allclose(values, 0.25, err_msg=name)


def test_scores_ignore_the_scale_of_maps_and_truth_and_other_images(maps):
    truth = maps[::-1] ** 2
    found = evidence.scores(maps, truth)
    scaled = evidence.scores(maps * np.linspace(1, 9, 20)[:, None, None], truth * 7)
    alone = evidence.scores(maps[3:4], truth[3:4])
    assert list(found) == list(evidence.METRICS)
    for name, values in found.items():
        np.testing.assert_allclose(scaled[name], values, err_msg=name)
        np.testing.assert_array_equal(alone[name], values[3:4])


def test_change_sums_absolute_differences_of_bytes_without_wrapping():
    before = np.array([[[[10, 200]], [[0, 5]], [[0, 0]]]], np.uint8)
    after = np.array([[[[250, 200]], [[0, 2]], [[1, 0]]]], np.uint8)
    np.testing.assert_array_equal(evidence.change(before, after), [[[241, 3]]])


@pytest.mark.parametrize(
    ("maps", "truth", "message"),
    [
        (MASK[0], MASK[0], r"must both be \(N, H, W\)"),
        (MASK, MASK[:, :, :2], r"must both be \(N, H, W\)"),
        (MASK[:0], MASK[:0], "N >= 1"),
        (-MASK, MASK, "masking.rank"),
        (MASK, -MASK, "truth hold values that are negative"),
        (MASK * np.nan, MASK, "maps hold values.* not finite"),
        (MASK, MASK + np.inf, "truth hold values.* not finite"),
        (MASK, MASK * 0, "1 image.* have no evidence .first: image 0"),
    ],
)
def test_bad_input_is_one_clear_error(maps, truth, message):
    with pytest.raises(ValueError, match=message):
        evidence.scores(maps, truth)
