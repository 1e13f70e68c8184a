"""Scores against known evidence: published values for masks, known answers, ties, and bad input."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score  # a dependency of rsatoolbox

from analysis import evidence as ground_truth

FUNCTIONS = {
    "mass": ground_truth.mass_accuracy,
    "rank": ground_truth.rank_accuracy,
    "pointing": ground_truth.pointing_game,
    "precision": ground_truth.average_precision,
}
MASK = np.array([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((20, 9, 7))


def test_every_metric_is_in_the_table_of_scores(maps):
    truth = maps[::-1]
    found = ground_truth.scores(maps, truth)
    assert list(found) == list(ground_truth.METRICS) == list(FUNCTIONS)
    for name, values in found.items():
        np.testing.assert_array_equal(values, FUNCTIONS[name](maps, truth))


def test_known_answers_for_a_mask():
    relevance = np.array([[[4.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 0.0]]])
    found = {name: value.item() for name, value in ground_truth.scores(relevance, MASK).items()}
    # places: 4 (hit), 3, 2, 1 (hit)
    assert found == pytest.approx({"mass": 0.5, "rank": 0.5, "pointing": 1.0, "precision": (1 + 2 / 4) / 2})


def test_known_answers_for_graded_truth():
    truth = np.array([[[8.0, 4.0], [4.0, 0.0]]])  # 1, 1/2, 1/2, 0: an area of 2
    relevance = np.array([[[0.0, 3.0], [1.0, 2.0]]])
    found = {name: value.item() for name, value in ground_truth.scores(relevance, truth).items()}
    own = (1 * 1 + 1 * 2 / 3) / 2  # precision 1, then both halves enter together at 2 / 3
    average = (0.5 * 0.5 + 0 + 0.5 * 1 / 3 + 1 * 2 / 4) / 2
    expected = {"mass": 2 / 6, "rank": 0.5 / 1.5, "pointing": 0.5, "precision": average / own}
    assert found == pytest.approx(expected)


def test_the_truth_itself_is_the_best_map_by_order(maps):
    for truth in (maps, (maps > 0.7).astype(float)):
        found = ground_truth.scores(truth, truth)
        for name in ("rank", "pointing", "precision"):
            np.testing.assert_allclose(found[name], 1)
        one_pixel = (truth == truth.max((1, 2), keepdims=True)).astype(float)
        np.testing.assert_allclose(ground_truth.mass_accuracy(one_pixel, truth), 1)


def test_average_precision_of_a_mask_is_that_of_scikit_learn_with_and_without_ties(maps):
    truth = np.random.default_rng(1).random(maps.shape) < 0.2
    for relevance in (maps, maps.round(1), np.maximum(maps - 0.6, 0)):
        expected = [
            average_precision_score(t.ravel(), r.ravel()) for t, r in zip(truth, relevance, strict=True)
        ]
        np.testing.assert_allclose(ground_truth.average_precision(relevance, truth), expected)


def test_ties_count_as_the_mean_of_all_their_orders():
    rng = np.random.default_rng(2)
    truth = rng.random((1, 4, 5))
    relevance = rng.integers(0, 3, (1, 4, 5)).astype(float)
    broken = relevance + 1e-6 * rng.random((20000, 4, 5))
    many = np.repeat(truth, len(broken), axis=0)
    for name in ("rank", "pointing"):
        mean = FUNCTIONS[name](broken, many).mean()
        assert FUNCTIONS[name](relevance, truth).item() == pytest.approx(mean, abs=0.01)


def test_a_map_without_relevance_is_at_chance():
    truth = np.repeat(MASK, 2, axis=0)
    for blank in (np.zeros_like(truth), np.full_like(truth, 3.0)):
        for name, values in ground_truth.scores(blank, truth).items():
            np.testing.assert_allclose(values, 0.25, err_msg=name)


def test_scores_ignore_the_scale_of_maps_and_truth_and_other_images(maps):
    truth = maps[::-1] ** 2
    for name, metric in FUNCTIONS.items():
        scaled = metric(maps * np.linspace(1, 9, 20)[:, None, None], truth * 7)
        np.testing.assert_allclose(scaled, metric(maps, truth), err_msg=name)
        np.testing.assert_array_equal(metric(maps[3:4], truth[3:4]), metric(maps, truth)[3:4])


def test_change_sums_absolute_differences_of_bytes_without_wrapping():
    before = np.array([[[[10, 200]], [[0, 5]], [[0, 0]]]], np.uint8)
    after = np.array([[[[250, 200]], [[0, 2]], [[1, 0]]]], np.uint8)
    np.testing.assert_array_equal(ground_truth.change(before, after), [[[241, 3]]])


@pytest.mark.parametrize(
    ("maps", "truth", "message"),
    [
        (MASK[0], MASK[0], r"must both be \(N, H, W\)"),
        (MASK, MASK[:, :, :2], r"must both be \(N, H, W\)"),
        (MASK[:0], MASK[:0], "N >= 1"),
        (-MASK, MASK, "masking.rank"),
        (MASK, -MASK, "truth hold negative"),
        (MASK * np.nan, MASK, "maps hold values that are not finite"),
        (MASK, MASK + np.inf, "truth hold values that are not finite"),
        (MASK, MASK * 0, "1 image.* have no evidence .first: image 0"),
    ],
)
def test_bad_input_is_one_clear_error(maps, truth, message):
    for metric in (*FUNCTIONS.values(), ground_truth.scores):
        with pytest.raises(ValueError, match=message):
            metric(maps, truth)


def test_change_needs_two_batches_of_one_shape():
    with pytest.raises(ValueError, match=r"must both be \(N, C, H, W\)"):
        ground_truth.change(MASK, MASK)
