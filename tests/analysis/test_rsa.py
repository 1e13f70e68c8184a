"""Dissimilarities of models and their agreement with people's: plain formulas, rsatoolbox, planted truths."""

from itertools import combinations

import numpy as np
import pytest
import rsatoolbox
from rsatoolbox.rdm import RDMs
from scipy.stats import spearmanr

from analysis.rsa import compare, match, model_rdm, stack, weighted_images

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
    result = compare(models, humans, draws=20, permutations=50)
    expected = rsatoolbox.rdm.compare(models, humans, "spearman").mean(axis=1)
    np.testing.assert_allclose(result.table["estimate"], expected)
    low, high = result.ceiling
    assert low <= high
    assert result.table["share"][0] == pytest.approx(expected[0] / low)
    assert (result.table["pairs"] == 36).all() and (result.table["control"] == "none").all()


def test_same_seed_same_result_and_the_global_generator_is_left_alone():
    models, humans = random_rdm(8, 0), random_rdm(8, 1)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (compare(models, humans, draws=40, permutations=99, seed=s) for s in (5, 5, 6))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    np.testing.assert_array_equal(one.draws, two.draws)
    np.testing.assert_array_equal(one.null, two.null)
    assert not np.array_equal(one.null, other.null)


def test_bootstrap_leaves_out_pairs_of_an_item_with_its_copy():
    # If copies counted, their shared 0 would make unrelated matrices agree.
    models, humans = random_rdm(12, 0), random_rdm(12, 1)
    result = compare(models, humans, draws=300, permutations=9)
    assert abs(np.nanmean(result.draws) - result.table["estimate"][0]) < 0.05


def test_what_agrees_is_recognised_and_a_stranger_is_not():
    factors, identities = np.random.default_rng(3).standard_normal((14, 40)), [f"id{i:02}" for i in range(14)]
    seen = model_rdm(factors[:, :20], identities, name="seen").dissimilarities
    noise = np.random.default_rng(0).normal(scale=0.1, size=(6, seen.shape[1]))
    humans = RDMs(seen + noise, pattern_descriptors={"identity": identities})
    good = model_rdm(factors[:, :20], identities, name="good")
    bad = model_rdm(factors[:, 20:], identities, name="bad")
    result = compare(stack([good, bad]), humans, draws=200, permutations=500)
    table = result.table.set_index("name")
    assert table.loc["good", "p"] < 0.01 < table.loc["bad", "p"]
    assert table.loc["good", "low"] > 0.2
    difference = result.difference([0], [1])
    assert difference["low"] > 0 and difference["p"] < 0.05
    assert result.mean([0, 1])["estimate"] == pytest.approx(table["estimate"].mean())


def test_one_rater_has_no_ceiling_and_says_so():
    result = compare(random_rdm(6, 0), random_rdm(6, 1), draws=10, permutations=9)
    assert result.ceiling is None
    assert "no noise ceiling" in result.note
    assert np.isnan(result.table["share"][0])


def test_agreement_that_is_only_gender_vanishes_within_gender():
    rng = np.random.default_rng(4)
    identities = [f"id{i:02}" for i in range(16)]
    groups = {identity: "fm"[i % 2] for i, identity in enumerate(identities)}
    first, second = np.triu_indices(16, 1)
    apart = (first % 2 != second % 2) * 3.0
    models, humans = (
        RDMs(apart + rng.random((1, 120)), pattern_descriptors={"identity": identities}) for _ in range(2)
    )
    raw = compare(models, humans, draws=50, permutations=300).table
    held = compare(models, humans, groups=groups, draws=50, permutations=300).table
    assert raw["estimate"][0] > 0.6 and raw["p"][0] < 0.02
    assert abs(held["estimate"][0]) < 0.3 and held["p"][0] > 0.05
    assert held["pairs"][0] == 56 and held["control"][0] == "within"
    m, h = (r.get_vectors()[0][apart == 0] for r in (models, humans))
    assert held["estimate"][0] == pytest.approx(spearmanr(m, h)[0])


def test_permutations_stay_within_groups():
    # A category dissimilarity is invariant under permutations within categories, so it cannot be significant.
    identities = [f"id{i:02}" for i in range(10)]
    groups = {identity: "fm"[i % 2] for i, identity in enumerate(identities)}
    first, second = np.triu_indices(10, 1)
    pairs = np.where(first % 2 != second % 2, 9.0, first % 2)[None]
    models = RDMs(pairs, pattern_descriptors={"identity": identities})
    result = compare(models, random_rdm(10, 1), groups=groups, draws=5, permutations=50)
    np.testing.assert_allclose(result.null, result.table["estimate"][0])
    assert result.table["p"][0] == 1


@pytest.mark.slow
def test_permutation_test_has_its_nominal_false_positive_rate():
    p = [
        compare(random_rdm(8, s), random_rdm(8, 10_000 + s), draws=1, permutations=99).table["p"][0]
        for s in range(1000)
    ]
    # 99 % binomial range for 1,000 experiments at 5 %; two-sided p with 99 permutations is at most 5 %.
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.07


@pytest.mark.slow
def test_bootstrap_intervals_over_items_cover_the_agreement_in_the_population():
    def people(n, rng):
        factors = rng.standard_normal((n, 3))
        first, second = np.triu_indices(n, 1)
        d = (factors[first] - factors[second]) ** 2
        names = {"identity": [f"id{i:04}" for i in range(n)]}
        noisy = (d[:, [0, k]].sum(axis=1) + 0.5 * rng.standard_normal(len(d)) for k in (1, 2))
        return [RDMs(v[None], pattern_descriptors=names) for v in noisy]

    rng = np.random.default_rng(0)
    population = [r.get_vectors()[0] for r in people(1500, rng)]
    truth = spearmanr(*population)[0]
    inside = 0
    for seed in range(120):
        row = compare(*people(17, rng), draws=120, permutations=1, seed=seed).table.iloc[0]
        inside += row["low"] <= truth <= row["high"]
    # 99 % binomial range for 120 experiments at 95 %.
    assert 0.89 <= inside / 120 < 1


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
