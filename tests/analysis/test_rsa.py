"""Dissimilarities of models and their agreement with people's: plain formulas, rsatoolbox, planted truths."""

from itertools import combinations

import numpy as np
import pytest
import rsatoolbox
from rsatoolbox.rdm import RDMs
from scipy.stats import spearmanr

from analysis.dissimilarity import match, model_rdm, stack, weighted_images
from analysis.rsa import compare

pytestmark = pytest.mark.filterwarnings("error")


def random_rdm(n, seed, count=1):
    pairs = n * (n - 1) // 2
    values = np.random.default_rng(seed).random((count, pairs))
    return RDMs(values, pattern_descriptors={"identity": [f"id{i:02}" for i in range(n)]})


def test_model_rdm_is_the_plain_formula_on_the_mean_of_each_identity():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((8, 3, 5)) + 1
    identities = ["b", "a", "c", "a", "b", "c", "d", "d"]
    rdm = model_rdm(features, identities, level="features")
    means = [features[np.array(identities) == k].mean(axis=0).ravel() for k in "abcd"]
    expected = [1 - np.corrcoef(u, v)[0, 1] for u, v in combinations(means, 2)]
    np.testing.assert_allclose(rdm.get_vectors()[0], expected)
    assert list(rdm.pattern_descriptors["identity"]) == list("abcd")
    assert rdm.rdm_descriptors["level"] == ["features"]


def test_bad_features_are_named():
    good = np.random.default_rng(0).random((3, 4))
    with pytest.raises(ValueError, match="features of b are not finite"):
        model_rdm(np.where((np.arange(3) == 1)[:, None], np.nan, good), list("abc"))
    with pytest.raises(ValueError, match="features of c are not finite or do not vary"):
        model_rdm(np.vstack([good[:2], np.ones(4)]), list("abc"))


def test_weighted_images_ignore_pixels_without_relevance_and_the_scale_of_relevance():
    rng = np.random.default_rng(0)
    pixels, relevance = rng.random((5, 3, 6, 6)), rng.standard_normal((5, 6, 6)).clip(min=0)
    weighted = weighted_images(pixels, relevance)
    assert not weighted[np.broadcast_to((relevance == 0)[:, None], weighted.shape)].any()
    np.testing.assert_allclose(weighted, weighted_images(pixels, 7 * relevance))
    ones = weighted_images(pixels, np.ones((5, 6, 6)))
    np.testing.assert_allclose(ones, (pixels - pixels.mean(axis=0)) / 36)
    with pytest.raises(ValueError, match="image 2 has no relevance"):
        weighted_images(pixels, np.where(np.arange(5)[:, None, None] == 2, 0, relevance))


def test_stack_keeps_order_and_descriptors():
    one, two = random_rdm(5, 0), random_rdm(5, 1, 2)
    one.rdm_descriptors["level"], two.rdm_descriptors["level"] = ["maps"], ["pixels", "features"]
    both = stack([one, two])
    assert both.rdm_descriptors["level"] == ["maps", "pixels", "features"]
    np.testing.assert_array_equal(both.get_vectors(), np.vstack([one.get_vectors(), two.get_vectors()]))
    assert stack([one]).rdm_descriptors["level"] == ["maps"]
    with pytest.raises(ValueError, match="over other identities"):
        stack([one, random_rdm(6, 0)])


def test_match_keeps_the_common_identities_with_their_values():
    models, humans = random_rdm(8, 0), random_rdm(6, 1)
    humans.pattern_descriptors["identity"] = ["id05", "id03", "elsewhere", "id01", "id00", "id07"]
    ours, theirs = match(models, humans)
    assert list(ours.pattern_descriptors["identity"]) == ["id00", "id01", "id03", "id05", "id07"]
    assert list(theirs.pattern_descriptors["identity"]) == ["id00", "id01", "id03", "id05", "id07"]
    assert ours.get_matrices()[0, 1, 3] == models.get_matrices()[0, 1, 5]
    assert theirs.get_matrices()[0, 1, 3] == humans.get_matrices()[0, 3, 0]
    humans.pattern_descriptors["identity"] = list("abcdef")
    with pytest.raises(ValueError, match="have 0 in common"):
        match(models, humans)


# ------------------------------------------------------------ agreement with people


def test_estimate_and_ceiling_are_rsatoolbox_s():
    models, humans = random_rdm(9, 0, 2), random_rdm(9, 1, 3)
    humans.dissimilarities += 2 * models.dissimilarities[0]
    result = compare(models, humans)
    expected = rsatoolbox.rdm.compare(models, humans, "spearman").mean(axis=1)
    np.testing.assert_allclose(result.table["estimate"], expected)
    low, high = result.ceiling
    assert low <= high
    assert result.table["share"][0] == pytest.approx(expected[0] / low)
    assert (result.table["pairs"] == 36).all() and (result.table["control"] == "none").all()


def test_without_an_item_is_the_agreement_over_the_others():
    models, humans = random_rdm(9, 0, 2), random_rdm(9, 1, 3)
    rest = [f"id{i:02}" for i in range(9) if i != 4]
    expected = compare(*(r.subset_pattern("identity", rest) for r in (models, humans))).table["estimate"]
    np.testing.assert_allclose(compare(models, humans).left_out[4], expected)


def test_what_agrees_is_recognised_and_a_stranger_is_not():
    factors, identities = np.random.default_rng(3).standard_normal((14, 40)), [f"id{i:02}" for i in range(14)]
    seen = model_rdm(factors[:, :20], identities, name="seen").dissimilarities
    noise = np.random.default_rng(0).normal(scale=0.1, size=(6, seen.shape[1]))
    humans = RDMs(seen + noise, pattern_descriptors={"identity": identities})
    good = model_rdm(factors[:, :20], identities, name="good")
    bad = model_rdm(factors[:, 20:], identities, name="bad")
    estimate = compare(stack([good, bad]), humans).estimate(np.array([[1, 0], [0, 1], [1, -1], [0.5, 0.5]]))
    low, high = estimate.interval()
    assert low[0] > 0.2 and low[1] < 0 < high[1] and low[2] > 0
    assert estimate.p()[0] < 0.01 < estimate.p()[1] and estimate.p()[2] < 0.05
    assert estimate.value[3] == pytest.approx(estimate.value[:2].mean())


def test_p_is_the_level_at_which_the_interval_reaches_0():
    models, humans = random_rdm(12, 0), random_rdm(12, 1)
    humans.dissimilarities += models.dissimilarities
    estimate = compare(models, humans).estimate([1.0])
    low, high = estimate.interval(1 - float(estimate.p()))
    assert low == pytest.approx(0, abs=1e-6) and high > 0


def test_networks_that_differ_widen_the_interval_and_images_that_all_see_do_not():
    rng, truth = np.random.default_rng(2), random_rdm(20, 0)
    noise = rng.normal(scale=[[0.01]] * 3 + [[0.5]] * 3 + [[0.1]], size=(7, 190))
    models = RDMs(truth.dissimilarities + noise, pattern_descriptors=truth.pattern_descriptors)
    result = compare(models, truth)
    strata, units = ["a"] * 3 + ["b"] * 3 + [""], [*"xyzuvw", ""]
    contrast = np.array([[1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 3]]) / 3
    fixed, varied = result.estimate(contrast), result.estimate(contrast, strata, units)
    np.testing.assert_allclose(varied.value, fixed.value)
    networks = varied.parts[1:].sum(0)
    assert networks[0] < networks[1] / 10 and networks[2] == 0
    single = result.table["estimate"].to_numpy()[3:6]
    assert networks[1] >= single.var(ddof=1) / 3 * 0.99
    np.testing.assert_allclose(varied.se[2], fixed.se[2])
    assert result.estimate(contrast[1], strata, units).se == pytest.approx(varied.se[1])


def test_a_run_of_several_networks_counts_once():
    truth = random_rdm(15, 0)
    noise = np.random.default_rng(1).normal(scale=0.3, size=(3, 105)).repeat(2, axis=0)
    models = RDMs(truth.dissimilarities + noise, pattern_descriptors=truth.pattern_descriptors)
    contrast, units = np.full(6, 1 / 6), [0, 0, 1, 1, 2, 2]
    result = compare(models, truth)
    once = result.estimate(contrast, ["a"] * 6, units)
    assert once.df[1] == 2
    assert once.parts[1:].sum() > 2 * result.estimate(contrast, ["a"] * 6).parts[1:].sum()


def test_one_rater_has_no_ceiling_and_says_so():
    result = compare(random_rdm(6, 0), random_rdm(6, 1))
    assert result.ceiling is None
    assert "no noise ceiling" in result.note
    assert np.isnan(result.table["share"][0])


def test_agreement_that_is_only_gender_vanishes_within_gender():
    rng = np.random.default_rng(5)
    identities = [f"id{i:02}" for i in range(16)]
    groups = {identity: "fm"[i % 2] for i, identity in enumerate(identities)}
    first, second = np.triu_indices(16, 1)
    apart = (first % 2 != second % 2) * 3.0
    models, humans = (
        RDMs(apart + rng.random((1, 120)), pattern_descriptors={"identity": identities}) for _ in range(2)
    )
    raw, held = (compare(models, humans, groups=of) for of in (None, groups))
    assert raw.table["estimate"][0] > 0.6 and raw.estimate([1]).p() < 0.02
    value = held.table["estimate"][0]
    assert abs(value) < 0.3 and held.estimate([1]).p() > 0.05
    assert held.table["pairs"][0] == 56 and held.table["control"][0] == "within"
    m, h = (r.get_vectors()[0][apart == 0] for r in (models, humans))
    assert value == pytest.approx(spearmanr(m, h)[0])


@pytest.mark.slow
def test_intervals_cover_the_agreement_of_all_people_and_networks():
    # Without the networks in the interval, the difference between kinds is covered in about 60 % of studies.
    weights = np.array([1, 0.5, 1.5, 1, 1, 0.5])

    def study(n, networks, rng):
        factors, (first, second) = rng.standard_normal((n, 6)), np.triu_indices(n, 1)
        differences = (factors[first] - factors[second]) ** 2
        ratings = differences @ weights + 3 * rng.standard_normal((4, len(first)))
        drawn = [k * np.exp(0.5 * rng.standard_normal((networks, 6))) for k in (weights, weights[::-1])]
        names = {"identity": [f"id{i:04}" for i in range(n)]}
        both = (np.vstack(drawn) @ differences.T, ratings)
        result = compare(*(RDMs(values, pattern_descriptors=names) for values in both))
        kind = np.repeat(["a", "b"], networks)
        contrast = np.array([np.full(2 * networks, 0.5), np.where(kind == "a", 1, -1)]) / networks
        return result.estimate(contrast, kind)

    rng = np.random.default_rng(0)
    studies = [study(30, 3, rng) for _ in range(100)]
    truth = np.mean([estimate.value for estimate in studies], axis=0)
    inside = [(low <= truth) & (truth <= high) for low, high in (estimate.interval() for estimate in studies)]
    # 99 % binomial range for 100 studies at 95 %
    assert (np.mean(inside, axis=0) >= 0.89).all()


def test_bad_matrices_are_named():
    humans = random_rdm(6, 1)
    with pytest.raises(ValueError, match="by `match`"):
        compare(random_rdm(7, 0), humans)
    flat, holed = random_rdm(6, 0), random_rdm(6, 0)
    flat.dissimilarities[:] = 2
    holed.dissimilarities[0, 3] = np.nan
    for one, other in ((flat, humans), (humans, flat), (holed, humans), (humans, holed)):
        with pytest.raises(ValueError, match=r"does not vary .* or is not finite"):
            compare(one, other)
    with pytest.raises(KeyError, match="id01"):
        compare(random_rdm(6, 0), humans, groups={"id00": "f"})
