"""Simulated observers judge by the weights that they are given, which can be recovered from their judgements."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import squareform

from faces import make_faces
from study import observers
from study.observers import factor_weights, simulate_observers, squared_differences
from study.ratings import read_triplets, triplet_rdm

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def factors():
    rng = np.random.default_rng(3)
    names = [f"id{i:02}" for i in range(14)]
    return pd.DataFrame(rng.standard_normal((14, 4)), names, ["jaw", "eyes", "nose", "hair"])


def test_factors_have_one_row_for_each_person():
    drawn = make_faces(3, 2, 32, 0)
    table = observers.factors(drawn)
    assert table.index.tolist() == sorted(set(drawn.identity.values))
    assert table.columns.tolist() == drawn.factor.values.tolist()
    np.testing.assert_array_equal(table.to_numpy(), drawn.factors.values[::2])


def test_known_weights_are_recovered_exactly_without_noise(factors):
    rdms = simulate_observers(factors, {"jaw": 3, "nose": 1}, raters=1, noise=0, seed=0)
    weights = factor_weights(rdms, factors)
    assert weights.index.tolist() == ["jaw", "eyes", "nose", "hair"]
    np.testing.assert_allclose(weights, [3, 0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(factor_weights(rdms, factors.iloc[::-1]), weights, atol=1e-9)


def test_known_weights_are_nearly_recovered_with_noise(factors):
    rdms = simulate_observers(factors, {"jaw": 3, "nose": 1}, raters=1, noise=0.3, seed=1)
    weights = factor_weights(rdms, factors)
    np.testing.assert_allclose(weights / weights.sum(), [0.75, 0, 0.25, 0], atol=0.06)


def test_noise_is_in_standard_deviations_of_the_dissimilarities(factors):
    one = simulate_observers(factors, {"jaw": 3}, raters=1, noise=0, seed=0).get_vectors()
    many = simulate_observers(factors, {"jaw": 3}, raters=200, noise=0.5, seed=0).get_vectors()
    assert (many - one).std() == pytest.approx(0.5 * one.std(), rel=0.05)


def test_simulated_observers_say_so_and_differ_by_rater_and_seed(factors):
    rdms, again, other = (
        simulate_observers(factors, {"jaw": 1}, raters=3, noise=0.5, seed=s) for s in (0, 0, 1)
    )
    assert rdms.rdm_descriptors["simulated"] == [True] * 3
    np.testing.assert_array_equal(rdms.get_vectors(), again.get_vectors())
    assert not np.array_equal(rdms.get_vectors(), other.get_vectors())
    assert len(np.unique(rdms.get_vectors()[:, 0])) == 3


def simulate_triplets(factors, weights, raters, triplets, noise, seed):
    """Odd-one-out choices by simulated raters: the item outside the pair that seems most alike."""
    names = factors.index.to_numpy()
    truth = squared_differences(factors[list(weights)]) @ list(weights.values())
    matrix = squareform(truth)
    rng = np.random.default_rng(seed)
    total = raters * triplets
    shown = rng.permuted(np.tile(np.arange(len(names)), (total, 1)), axis=1)[:, :3]
    a, b, c = shown.T
    # Column k is the distance of the pair that leaves out item k.
    left = np.stack([matrix[b, c], matrix[a, c], matrix[a, b]], axis=1)
    seen = left + noise * truth.std() * rng.standard_normal(left.shape)
    odd = shown[np.arange(total), seen.argmin(axis=1)]
    rater = np.repeat([f"simulated {i + 1}" for i in range(raters)], triplets)
    choices = pd.DataFrame({"a": names[a], "b": names[b], "c": names[c], "odd": names[odd], "rater": rater})
    choices.attrs["simulated"] = True
    return choices


def test_simulated_triplets_carry_the_weights_through_a_file(factors, tmp_path):
    choices = simulate_triplets(factors, {"jaw": 1}, raters=4, triplets=600, noise=0.1, seed=0)
    direct = triplet_rdm(choices.drop(columns="rater"))
    assert direct.rdm_descriptors["simulated"] == [True]
    path = tmp_path / "choices.csv"
    choices.to_csv(path, index=False)
    np.testing.assert_array_equal(direct.get_vectors(), read_triplets(path).get_vectors())
    weights = factor_weights(direct, factors)
    assert weights["jaw"] / weights.sum() > 0.8
    by_rater = read_triplets(path, columns=("a", "b", "c", "odd", "rater"))
    assert by_rater.rdm_descriptors["triplets"] == [600] * 4


def test_what_cannot_be_weighted_is_named(factors):
    rdms = simulate_observers(factors, {"jaw": 1}, raters=1, noise=0, seed=0)
    with pytest.raises(ValueError, match="factor 'nose' is the same for all items"):
        factor_weights(rdms, factors.assign(nose=1.0))
    with pytest.raises(KeyError, match="id13"):
        factor_weights(rdms, factors.iloc[:13])
    with pytest.raises(KeyError, match="ears"):
        simulate_observers(factors, {"ears": 1}, raters=1, noise=0, seed=0)
