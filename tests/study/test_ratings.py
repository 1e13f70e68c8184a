"""Judgements of people keep every value on their way from a table, and a table that is wrong is refused by line."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from study.ratings import read_ratings, read_triplets

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


def test_ratings_keep_every_value_whatever_the_order_of_rows_and_items(csv):
    shuffled = RATINGS.sample(frac=1, random_state=0)
    shuffled.loc[[0, 3], ["a", "b"]] = shuffled.loc[[0, 3], ["b", "a"]].to_numpy()
    rdms = read_ratings([csv(shuffled)], direction="dissimilarity")
    assert list(rdms.pattern_descriptors["identity"]) == ITEMS
    np.testing.assert_array_equal(rdms.get_vectors(), [[1, 2, 3, 4, 5, 6]])
    assert rdms.rdm_descriptors["simulated"] == [False]


def test_similarity_ratings_are_turned_round(csv):
    rdms = read_ratings([csv(RATINGS)], direction="similarity")
    np.testing.assert_array_equal(rdms.get_vectors(), [[5, 4, 3, 2, 1, 0]])


def test_columns_may_have_other_names(csv):
    path = csv(RATINGS.set_axis(["img1", "img2", "distance"], axis=1))
    rdms = read_ratings([path], direction="dissimilarity", columns=("img1", "img2", "distance"))
    np.testing.assert_array_equal(rdms.get_vectors(), [[1, 2, 3, 4, 5, 6]])


def test_several_files_are_several_groups(csv):
    files = [csv(RATINGS, "memory.csv"), csv(RATINGS.assign(value=[6.0, 5, 4, 3, 2, 1]), "photo.csv")]
    rdms = read_ratings(files, direction="dissimilarity")
    assert rdms.rdm_descriptors["group"] == ["memory", "photo"]
    assert rdms.rdm_descriptors["index"] == [0, 1]
    np.testing.assert_array_equal(rdms.get_vectors(), [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])
    other = RATINGS.replace("dot", "eve")
    with pytest.raises(ValueError, match="memory and other judged different items; they differ in dot, eve"):
        read_ratings([files[0], csv(other, "other.csv")], direction="dissimilarity")
    with pytest.raises(ValueError, match="two rating files have the same name"):
        read_ratings([files[0], files[0]], direction="dissimilarity")


def test_stimuli_are_mapped_to_identities_and_the_unavailable_reported(csv):
    names = csv("stimulus,lfw_identity\nann,Zoe\nbob,\ncid,Carl\ndot,Dora\n", "names.csv")
    rdms = read_ratings([csv(RATINGS)], direction="dissimilarity", names=names)
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
            r"needs one column 'value'; the file has \['a', 'b', 'score'\]",
        ),
        (RATINGS.iloc[:0], "no rows"),
        ("", "not a readable CSV"),
        ("a,b,value\nann,bob,1,2\nann,cid,3,4\n", "line 2: 4 values in 3 columns"),
        ("a,b,value\nann,bob,1\nann,cid,3,4\n", "line 3: 4 values in 3 columns"),
        ("a,b,value\nann,bob\nann,cid,3\n", "line 2: the value is empty"),
        ("a,b,value,value\nann,bob,1,2\n", "needs one column 'value'"),
        ('a,b,value\n"ann,bob,1\n', "the b is empty"),
        ("a,b,value\nann,{bob},{0}\n", "line 2: rating '{0}'"),
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
        (
            RATINGS.assign(value=[1, 2, 3, 4, 1e308, -1e308]),
            r"line 6: rating '1e\+308' is not a finite number below",
        ),
        ('a,b,value\n"ann\n",bob,x\n', "line 3: rating 'x'"),
        (",".join(map(str, range(999))) + "\n", r"the file has \['0', '1', '2', '3', '4' and 994 more\]"),
        (RATINGS.assign(value=["1", "2", "NaN", "4", "5", "6"]), "line 4: rating 'NaN'"),
        (RATINGS.assign(value=["1", "inf", "3", "4", "5", "6"]), "line 3: rating 'inf'"),
        (RATINGS.assign(value=[1, 2, None, 4, 5, 6]), "line 4: the value is empty"),
        (RATINGS.assign(a=["ann", None, "ann", "bob", "bob", "cid"]), "line 3: the a is empty"),
        (RATINGS.iloc[:1], "only 2 items"),
    ],
)
def test_bad_ratings_are_named(csv, table, message):
    with pytest.raises(ValueError, match=message):
        read_ratings([csv(table)], direction="dissimilarity")


def test_spaces_and_empty_columns_and_rows_do_not_matter(csv):
    lines = [f" {a},{b} , {value},," for a, b, value in RATINGS.itertuples(index=False)]
    path = csv("\n".join(["a, b,value,,", *lines[:3], "", ",,,,", *lines[3:]]))
    rdms = read_ratings([path], direction="dissimilarity")
    np.testing.assert_array_equal(rdms.get_vectors(), [[1, 2, 3, 4, 5, 6]])


def test_a_pair_rated_twice_alike_is_fine(csv):
    table = pd.concat([RATINGS, RATINGS.iloc[[2]]])
    assert read_ratings([csv(table)], direction="dissimilarity").get_vectors()[0, 2] == 3


def test_accents_may_be_written_either_way(csv):
    names = csv("stimulus,identity\nann,Rene\u0301\nbob,B\ncid,C\ndot,D\n", "names.csv")
    rdms = read_ratings([csv(RATINGS)], direction="dissimilarity", names=names)
    assert "Ren\u00e9" in rdms.pattern_descriptors["identity"], "as folders are called"


def test_a_folder_is_no_table_of_ratings(tmp_path):
    with pytest.raises(ValueError, match="not a readable CSV"):
        read_ratings([tmp_path], direction="dissimilarity")


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
        read_ratings([csv(RATINGS)], direction="dissimilarity", names=csv(names, "names.csv"))


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


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TRIPLETS.iloc[:2], "cid – dot never occur"),
        (TRIPLETS.replace({"odd": {"dot": "eve"}}), "line 3: the odd one, 'eve', is none of"),
        (TRIPLETS.replace({"b": {"bob": "ann"}}), "line 2: an item occurs twice"),
        (TRIPLETS.drop(columns="odd"), "needs one column 'odd'"),
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
