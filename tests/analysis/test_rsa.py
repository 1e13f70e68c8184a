from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import rsatoolbox
from rsatoolbox.rdm import RDMs
from scipy.stats import spearmanr

from analysis.features import average, model_rdm, weighted_images
from analysis.matrices import match, stack
from analysis.rsa import METHODS, compare
from study.observers import factor_weights, simulate_observers, simulate_triplets
from study.ratings import read_ratings, read_triplets, triplet_counts, triplet_rdm

pytestmark = pytest.mark.filterwarnings("error")

ITEMS = ["ann", "bob", "cid", "dot"]
RATINGS = pd.DataFrame(combinations(ITEMS, 2), columns=["a", "b"]).assign(value=[1.0, 2, 3, 4, 5, 6])


@pytest.fixture
def csv(tmp_path):
    def write(table, name="ratings.csv"):
        path = tmp_path / name
        path.write_text(table) if isinstance(table, str) else table.to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def factors():
    rng = np.random.default_rng(3)
    names = [f"id{i:02}" for i in range(14)]
    return pd.DataFrame(rng.standard_normal((14, 4)), names, ["jaw", "eyes", "nose", "hair"])


def random_rdm(n, seed, count=1):
    pairs = n * (n - 1) // 2
    values = np.random.default_rng(seed).random((count, pairs))
    return RDMs(values, pattern_descriptors={"identity": [f"id{i:02}" for i in range(n)]})


# --- ratings -----------------------------------------------------------------------------------------------


def test_ratings_keep_every_value_whatever_the_order_of_rows_and_items(csv):
    shuffled = RATINGS.sample(frac=1, random_state=0)
    shuffled.loc[[0, 3], ["a", "b"]] = shuffled.loc[[0, 3], ["b", "a"]].to_numpy()
    rdms = read_ratings(csv(shuffled), direction="dissimilarity")
    assert list(rdms.pattern_descriptors["identity"]) == ITEMS
    np.testing.assert_array_equal(rdms.get_vectors(), [[1, 2, 3, 4, 5, 6]])
    assert rdms.rdm_descriptors["simulated"] == [False]


def test_similarity_ratings_are_turned_round(csv):
    rdms = read_ratings(csv(RATINGS), direction="similarity")
    np.testing.assert_array_equal(rdms.get_vectors(), [[5, 4, 3, 2, 1, 0]])


def test_columns_may_have_other_names_and_a_rater(csv):
    table = pd.concat([RATINGS.assign(who="x"), RATINGS.assign(who="y", value=RATINGS["value"] * 2)])
    table.columns = ["img1", "img2", "distance", "who"]
    rdms = read_ratings(csv(table), direction="dissimilarity", columns=("img1", "img2", "distance", "who"))
    assert rdms.rdm_descriptors["rater"] == ["x", "y"]
    assert rdms.rdm_descriptors["index"] == [0, 1]
    np.testing.assert_array_equal(rdms.get_vectors(), [[1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 12]])


def test_several_files_are_several_groups(csv):
    files = [csv(RATINGS, "memory.csv"), csv(RATINGS.assign(value=[6.0, 5, 4, 3, 2, 1]), "photo.csv")]
    rdms = read_ratings(files, direction="dissimilarity")
    assert rdms.rdm_descriptors["group"] == ["memory", "photo"]
    named = read_ratings({"m": files[0], "p": files[1]}, direction="dissimilarity")
    assert named.rdm_descriptors["group"] == ["m", "p"]
    other = RATINGS.replace("dot", "eve")
    with pytest.raises(ValueError, match="memory and other judged different items; they differ in dot, eve"):
        read_ratings([files[0], csv(other, "other.csv")], direction="dissimilarity")


def test_stimuli_are_mapped_to_identities_and_the_unavailable_reported(csv):
    names = csv("stimulus,lfw_identity\nann,Zoe\nbob,\ncid,Carl\ndot,Dora\n", "names.csv")
    rdms = read_ratings(csv(RATINGS), direction="dissimilarity", names=names)
    assert rdms.descriptors["unavailable"] == ["bob"]
    assert list(rdms.pattern_descriptors["identity"]) == ["Carl", "Dora", "Zoe"]
    assert list(rdms.pattern_descriptors["stimulus"]) == ["cid", "dot", "ann"]
    # cid-dot, cid-ann, dot-ann
    np.testing.assert_array_equal(rdms.get_vectors(), [[6, 2, 3]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            RATINGS.rename(columns={"value": "score"}),
            r"no column 'value'; the file has \['a', 'b', 'score'\]",
        ),
        (RATINGS.iloc[:0], "no rows"),
        ("", "not a readable CSV"),
        ("a,b,value\nann,bob,1,2\nann,cid,3,4\n", "not a readable CSV"),
        ("a,b,value\nann,bob,1\nann,cid,3,4\n", "not a readable CSV"),
        ("a,b,value\nann,bob\nann,cid,3\n", "line 2: the value is empty"),
        ("a,b,value\n\nann,bob,x\n\n", "line 3: rating 'x'"),
        ("a;b;value\nann;bob;1\n", "the file has"),
        (RATINGS.drop(index=[1, 4]), "no rating for ann – cid, bob – dot"),
        (
            pd.concat([RATINGS, RATINGS.iloc[[0]].assign(value=9)]),
            "line 8: 'ann' and 'bob' were rated before",
        ),
        (
            pd.concat([RATINGS, pd.DataFrame({"a": ["bob"], "b": ["ann"], "value": [9.0]})]),
            "line 8: 'bob' and 'ann' were rated before",
        ),
        (RATINGS.assign(b=[*RATINGS["b"][:5], "cid"]), "line 7: 'cid' is paired with itself"),
        (
            RATINGS.assign(value=["1", "2", "much", "4", "5", "6"]),
            "line 4: rating 'much' is not a finite number",
        ),
        (RATINGS.assign(value=["1", "2", "NaN", "4", "5", "6"]), "line 4: rating 'NaN'"),
        (RATINGS.assign(value=["1", "inf", "3", "4", "5", "6"]), "line 3: rating 'inf'"),
        (RATINGS.assign(value=[1, 2, None, 4, 5, 6]), "line 4: the value is empty"),
        (RATINGS.assign(a=["ann", None, "ann", "bob", "bob", "cid"]), "line 3: the a is empty"),
        (RATINGS.iloc[:1], "only 2 items"),
    ],
)
def test_bad_ratings_are_named(csv, table, message):
    with pytest.raises(ValueError, match=message):
        read_ratings(csv(table), direction="dissimilarity")


def test_a_pair_rated_twice_alike_is_fine(csv):
    table = pd.concat([RATINGS, RATINGS.iloc[[2]]])
    assert read_ratings(csv(table), direction="dissimilarity").get_vectors()[0, 2] == 3


def test_direction_must_be_declared_and_known(csv):
    with pytest.raises(ValueError, match=r"'distance'.*dissimilarity or similarity"):
        read_ratings(csv(RATINGS), direction="distance")
    with pytest.raises(TypeError, match="direction"):
        read_ratings(csv(RATINGS))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("stimulus,identity\nann,A\nbob,B\ncid,C\n", "dot not in the table of names"),
        ("stimulus,identity\nann,A\nbob,A\ncid,C\ndot,D\n", "identity 'A' occurs more than once"),
        ("stimulus,identity\nann,A\nann,B\ncid,C\ndot,D\n", "stimulus 'ann' occurs more than once"),
        ("stimulus\nann\n", "needs two columns"),
        ("stimulus,identity\nann,A\nbob,\ncid,\ndot,D\n", "only 2 rated items have an identity"),
    ],
)
def test_bad_names_are_named(csv, names, message):
    with pytest.raises(ValueError, match=message):
        read_ratings(csv(RATINGS), direction="dissimilarity", names=csv(names, "names.csv"))


# --- triplets ----------------------------------------------------------------------------------------------

TRIPLETS = pd.DataFrame(
    [
        ("ann", "bob", "cid", "cid"),
        ("bob", "ann", "dot", "dot"),
        ("ann", "cid", "dot", "ann"),
        ("bob", "cid", "dot", "cid"),
        ("cid", "bob", "ann", "ann"),
    ],
    columns=["a", "b", "c", "odd"],
)


def test_triplet_dissimilarity_is_the_share_of_splits(csv):
    rdms = read_triplets(csv(TRIPLETS))
    expected = {("ann", "bob"): 1 / 3, ("ann", "cid"): 1, ("bob", "cid"): 2 / 3, ("cid", "dot"): 0.5}
    index = {pair: i for i, pair in enumerate(combinations(ITEMS, 2))}
    for pair, share in expected.items():
        assert rdms.get_vectors()[0, index[pair]] == pytest.approx(share)
    assert rdms.rdm_descriptors["triplets"] == [5]
    assert rdms.rdm_descriptors["fewest"] == [2]
    counts = triplet_counts(TRIPLETS).set_index(["a", "b"])
    assert counts.loc[("ann", "bob"), ["together", "split"]].tolist() == [3, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TRIPLETS.iloc[:2], "cid – dot never occur"),
        (TRIPLETS.replace({"odd": {"dot": "eve"}}), "line 3: the odd one, 'eve', is none of"),
        (TRIPLETS.replace({"b": {"bob": "ann"}}), "line 2: an item occurs twice"),
        (TRIPLETS.drop(columns="odd"), "no column 'odd'"),
        (TRIPLETS.iloc[:0], "no rows"),
    ],
)
def test_bad_triplets_are_named(csv, table, message):
    with pytest.raises(ValueError, match=message):
        read_triplets(csv(table))


def test_triplets_with_unavailable_items_are_left_out(csv):
    names = csv("s,i\nann,A\nbob,B\ncid,C\ndot,\n", "names.csv")
    rdms = read_triplets(csv(TRIPLETS), names=names)
    assert rdms.descriptors["unavailable"] == ["dot"]
    assert list(rdms.pattern_descriptors["identity"]) == ["A", "B", "C"]
    np.testing.assert_allclose(rdms.get_vectors(), [[0.5, 1.0, 0.5]])


# --- models ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["correlation", "cosine", "euclidean"])
def test_model_rdm_is_the_plain_formula_on_the_mean_of_each_identity(method):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((8, 3, 5)) + 1
    identities = ["b", "a", "c", "a", "b", "c", "d", "d"]
    rdm = model_rdm(features, identities, method, level="features")
    means = [features[np.array(identities) == k].mean(axis=0).ravel() for k in "abcd"]
    distance = {
        "correlation": lambda u, v: 1 - np.corrcoef(u, v)[0, 1],
        "cosine": lambda u, v: 1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v),
        "euclidean": lambda u, v: np.mean((u - v) ** 2),
    }[method]
    np.testing.assert_allclose(rdm.get_vectors()[0], [distance(u, v) for u, v in combinations(means, 2)])
    assert list(rdm.pattern_descriptors["identity"]) == list("abcd")
    assert rdm.rdm_descriptors["level"] == ["features"]


def test_bad_features_are_named():
    good = np.random.default_rng(0).random((3, 4))
    with pytest.raises(ValueError, match="'manhattan'; use one of"):
        model_rdm(good, list("abc"), "manhattan")
    with pytest.raises(ValueError, match="features of 'b' are not finite"):
        model_rdm(np.where(np.eye(3, 4, 4) + (np.arange(3) == 1)[:, None], np.nan, good), list("abc"))
    with pytest.raises(ValueError, match="features of 'c' do not vary"):
        model_rdm(np.vstack([good[:2], np.ones(4)]), list("abc"))
    with pytest.raises(ValueError, match="3 rows of values but 2 identities"):
        average(good, list("ab"))


def test_weighted_images_ignore_pixels_without_relevance_and_the_scale_of_relevance():
    rng = np.random.default_rng(0)
    pixels, relevance = rng.random((5, 3, 6, 6)), rng.standard_normal((5, 6, 6))
    weighted = weighted_images(pixels, relevance)
    assert not weighted[np.broadcast_to((relevance <= 0)[:, None], weighted.shape)].any()
    np.testing.assert_allclose(weighted, weighted_images(pixels, 7 * relevance))
    ones = weighted_images(pixels, np.ones((5, 6, 6)))
    np.testing.assert_allclose(ones, (pixels - pixels.mean(axis=0)) / 36)
    with pytest.raises(ValueError, match="image 2 has no positive relevance"):
        weighted_images(pixels, np.where(np.arange(5)[:, None, None] == 2, -1, relevance))
    with pytest.raises(ValueError, match="must be"):
        weighted_images(pixels, relevance[:, :3])


def test_stack_aligns_identities_and_keeps_descriptors():
    one, two = random_rdm(5, 0), random_rdm(5, 1)
    one.rdm_descriptors["level"], two.rdm_descriptors["seed"] = ["maps"], [3]
    two.pattern_descriptors["identity"] = two.pattern_descriptors["identity"][::-1]
    both = stack([one, two])
    assert both.rdm_descriptors["level"] == ["maps", None] and both.rdm_descriptors["seed"] == [None, 3]
    assert both.get_matrices()[1, 0, 1] == two.get_matrices()[0, 4, 3]
    assert stack([one]).rdm_descriptors["level"] == ["maps"]
    with pytest.raises(ValueError, match="0 and 1 are over other items; they differ in id05"):
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


# --- comparison --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_estimate_and_ceiling_are_rsatoolbox_s(method):
    models, humans = random_rdm(9, 0, 2), random_rdm(9, 1, 3)
    humans.dissimilarities += 2 * models.dissimilarities[0]
    result = compare(models, humans, method, draws=20, permutations=50)
    theirs = rsatoolbox.rdm.compare(models, humans, METHODS[method]).mean(axis=1)
    np.testing.assert_allclose(result.table["estimate"], theirs)
    low, high = result.ceiling
    assert low <= high
    assert result.table["share"][0] == pytest.approx(theirs[0] / low)
    assert result.table.loc[0, ["items", "pairs", "raters"]].tolist() == [9, 36, 3]


def test_order_of_identities_does_not_matter():
    models, humans = random_rdm(8, 0), random_rdm(8, 1)
    order = np.random.default_rng(0).permutation(8)
    moved = RDMs(
        models.get_matrices()[:, order][:, :, order],
        pattern_descriptors={"identity": [models.pattern_descriptors["identity"][i] for i in order]},
    )
    one, two = (compare(m, humans, draws=30, permutations=99).table for m in (models, moved))
    pd.testing.assert_frame_equal(one, two)


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


def test_simulated_people_are_recognised_and_a_stranger_is_not(factors):
    humans = simulate_observers(factors, {"jaw": 2, "eyes": 1}, raters=6, noise=0.5, seed=0)
    good = model_rdm(factors[["jaw", "eyes"]], factors.index, "euclidean", name="good")
    bad = model_rdm(factors[["hair", "nose"]], factors.index, "euclidean", name="bad")
    result = compare(stack([good, bad]), humans, draws=200, permutations=500)
    table = result.table.set_index("name")
    assert table.loc["good", "p"] < 0.01 < table.loc["bad", "p"]
    assert table.loc["good", "ci_low"] > 0.2
    assert table["simulated"].all()
    difference = result.difference([0], [1])
    assert difference["ci_low"] > 0 and difference["p"] < 0.05
    assert result.mean([0, 1])["estimate"] == pytest.approx(table["estimate"].mean())


def test_one_rater_has_no_ceiling_and_says_so():
    result = compare(random_rdm(6, 0), random_rdm(6, 1), draws=10, permutations=9)
    assert result.ceiling is None
    assert "no noise ceiling" in result.note
    assert np.isnan(result.table["share"][0])


@pytest.mark.parametrize("control", ["within", "partial"])
def test_agreement_that_is_only_gender_vanishes_when_gender_is_controlled(control):
    rng = np.random.default_rng(4)
    identities = [f"id{i:02}" for i in range(16)]
    groups = {identity: "fm"[i % 2] for i, identity in enumerate(identities)}
    first, second = np.triu_indices(16, 1)
    apart = (first % 2 != second % 2) * 3.0
    models, humans = (
        RDMs(apart + rng.random((1, 120)), pattern_descriptors={"identity": identities}) for _ in range(2)
    )
    raw = compare(models, humans, draws=50, permutations=300).table
    held = compare(models, humans, groups=groups, control=control, draws=50, permutations=300).table
    assert raw["estimate"][0] > 0.6 and raw["p"][0] < 0.02
    assert abs(held["estimate"][0]) < 0.3 and held["p"][0] > 0.05
    assert held["pairs"][0] == (56 if control == "within" else 120)


def test_controls_agree_with_their_textbook_formulas():
    identities = [f"id{i:02}" for i in range(10)]
    groups = {identity: "fm"[i % 2] for i, identity in enumerate(identities)}
    models, humans = random_rdm(10, 0), random_rdm(10, 1)
    first, second = np.triu_indices(10, 1)
    apart = (first % 2 != second % 2).astype(float)
    m, h = models.get_vectors()[0], humans.get_vectors()[0]
    options = {"groups": groups, "draws": 5, "permutations": 9}
    within = compare(models, humans, control="within", **options).table["estimate"][0]
    assert within == pytest.approx(spearmanr(m[apart == 0], h[apart == 0])[0])
    mh, mg, hg = spearmanr(m, h)[0], spearmanr(m, apart)[0], spearmanr(h, apart)[0]
    partial = compare(models, humans, control="partial", **options).table["estimate"][0]
    assert partial == pytest.approx((mh - mg * hg) / np.sqrt((1 - mg**2) * (1 - hg**2)))


def test_permutations_under_a_control_stay_within_groups():
    # A category dissimilarity is invariant under permutations within categories, so it cannot be significant.
    identities = [f"id{i:02}" for i in range(10)]
    groups = {identity: "fm"[i % 2] for i, identity in enumerate(identities)}
    first, second = np.triu_indices(10, 1)
    pairs = np.where(first % 2 != second % 2, 9.0, first % 2)[None]
    models = RDMs(pairs, pattern_descriptors={"identity": identities})
    result = compare(models, random_rdm(10, 1), groups=groups, control="within", draws=5, permutations=50)
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
        inside += row["ci_low"] <= truth <= row["ci_high"]
    # 99 % binomial range for 120 experiments at 95 %.
    assert 0.89 <= inside / 120 < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "pearson"}, "'pearson'; use one of spearman"),
        ({"control": "gender"}, "'gender'; use 'within'"),
        ({"control": "within"}, "go together"),
        ({"control": "partial", "method": "kendall", "groups": {}}, "'partial' is defined for"),
        ({"control": "within", "groups": {"id00": "f"}}, "no group for identity 'id01'"),
        ({"control": "within", "groups": {f"id{i:02}": "f" for i in range(6)}}, "of one group"),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        compare(random_rdm(6, 0), random_rdm(6, 1), **change)


def test_bad_matrices_are_named():
    humans = random_rdm(6, 1)
    with pytest.raises(ValueError, match=r"differ in 1 identities, such as \['id06'\]"):
        compare(random_rdm(7, 0), humans)
    flat, holed = random_rdm(6, 0), random_rdm(6, 0)
    flat.dissimilarities[:] = 2
    holed.dissimilarities[0, 3] = np.nan
    with pytest.raises(ValueError, match="model matrix 0 has no variation"):
        compare(flat, humans)
    with pytest.raises(ValueError, match="model matrix 0 has values that are not finite"):
        compare(holed, humans)
    with pytest.raises(ValueError, match="human matrix 0 has values that are not finite"):
        compare(humans, holed)


# --- simulated observers -----------------------------------------------------------------------------------


def test_known_weights_are_recovered_exactly_without_noise(factors):
    rdms = simulate_observers(factors, {"jaw": 3, "nose": 1}, raters=1, noise=0, seed=0)
    table = factor_weights(rdms, factors, draws=20).set_index("factor")
    np.testing.assert_allclose(table["weight"], [3, 0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(table["share"], [0.75, 0, 0.25, 0], atol=1e-9)
    np.testing.assert_allclose(table["r2"], 1)
    assert table["simulated"].all()


def test_known_weights_are_inside_the_intervals_with_noise(factors):
    rdms = simulate_observers(factors, {"jaw": 3, "nose": 1}, raters=1, noise=0.3, seed=1)
    table = factor_weights(rdms, factors, draws=200).set_index("factor")
    assert table.loc["jaw", "ci_low"] < 0.75 < table.loc["jaw", "ci_high"]
    assert table.loc["nose", "ci_low"] < 0.25 < table.loc["nose", "ci_high"]
    assert 0.5 < table.loc["jaw", "r2"] < 1


def test_simulated_observers_say_so_and_differ_by_rater_and_seed(factors):
    rdms, again, other = (
        simulate_observers(factors, {"jaw": 1}, raters=3, noise=0.5, seed=s) for s in (0, 0, 1)
    )
    assert all("simulated" in rater for rater in rdms.rdm_descriptors["rater"])
    np.testing.assert_array_equal(rdms.get_vectors(), again.get_vectors())
    assert not np.array_equal(rdms.get_vectors(), other.get_vectors())
    assert len(np.unique(rdms.get_vectors()[:, 0])) == 3


def test_simulated_triplets_carry_the_weights_through_a_file(factors, csv):
    choices = simulate_triplets(factors, {"jaw": 1}, raters=4, triplets=600, noise=0.1, seed=0)
    direct = triplet_rdm(choices.drop(columns="rater"))
    assert direct.rdm_descriptors["simulated"] == [True]
    read = read_triplets(csv(choices))
    np.testing.assert_array_equal(direct.get_vectors(), read.get_vectors())
    table = factor_weights(direct, factors, draws=10).set_index("factor")
    assert table.loc["jaw", "share"] > 0.8
    by_rater = read_triplets(csv(choices), columns=("a", "b", "c", "odd", "rater"))
    assert by_rater.rdm_descriptors["triplets"] == [600] * 4


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ({"ears": 1}, {}, "no factor 'ears'; there are jaw, eyes"),
        ({"jaw": -1}, {}, "weight of 'jaw' is -1"),
        ({"jaw": float("nan")}, {}, "weight of 'jaw' is nan"),
        ({"jaw": 0}, {}, "at least one factor"),
        ({"jaw": 1}, {"raters": 0}, "raters is 0"),
        ({"jaw": 1}, {"noise": -0.1}, "noise is -0.1"),
    ],
)
def test_bad_observers_are_named(factors, weights, options, message):
    with pytest.raises(ValueError, match=message):
        simulate_observers(factors, weights, **{"raters": 2, "noise": 0.1, "seed": 0} | options)


def test_bad_factors_are_named(factors):
    rdms = simulate_observers(factors, {"jaw": 1}, raters=1, noise=0, seed=0)
    with pytest.raises(ValueError, match="factor 'nose' is the same for all items"):
        factor_weights(rdms, factors.assign(nose=1.0))
    with pytest.raises(ValueError, match="no factors for identity 'id13'"):
        factor_weights(rdms, factors.iloc[:13])
    with pytest.raises(ValueError, match="more than one row"):
        simulate_observers(pd.concat([factors, factors.iloc[:1]]), {"jaw": 1}, raters=1, noise=0, seed=0)
