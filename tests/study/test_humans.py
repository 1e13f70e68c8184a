"""Networks are compared with people on images they never saw, and the claim is that of the table."""

import numpy as np
import pandas as pd
import pytest
from tiny_study import tiny_study

from study import humans, stimuli


def test_rated_people_are_shown_as_no_network_saw_them(tiny):
    faces = humans.rated(tiny)
    assert set(faces.split.values) == {"test"}
    assert set(faces.identity.values) == set(stimuli.classes(stimuli.faces(tiny), "identity"))
    assert pd.Series(faces.identity.values).value_counts().max() <= humans.IMAGES_PER_PERSON


def test_agreement_has_the_first_network_of_each_run_and_every_level(tiny):
    result = humans.agreement(tiny)
    table = pd.DataFrame(result["networks"]).query("pairs == @humans.ALL")
    assert len(table) == 1 + 3 * len(tiny.firsts), "pixels are the same for all networks"
    assert set(table.model) == {"none", *(cell.name for cell in tiny.firsts)}
    levels = humans.by_level(tiny).set_index("level")
    assert list(levels.index) == list(humans.LEVELS.values())
    assert (levels[["estimate", "low", "high"]].abs() < 5).all(axis=None) and levels.p.between(0, 1).all()
    weighted = table[table.level == "weighted"].estimate.mean()
    assert levels.estimate[humans.LEVELS["weighted"]] == pytest.approx(weighted)
    assert result["share"] == pytest.approx(weighted / result["ceiling"][0])
    assert result["simulated"] and result["people"] == 4 and result["pairs"] == 6
    families = humans.by_family(tiny)
    assert len(families) == 4 * 3 and (families.low <= families.estimate).all()
    assert families.query("level == @humans.LEVELS['weighted']").estimate.mean() == pytest.approx(weighted)


def test_networks_vary_in_the_intervals(root):
    s = tiny_study(root, pretraining_runs=3, seeds=6)
    assert len(s.firsts) == len(s.grid) / 2
    people, networks, both = humans.claim(s)["parts"][0]["variance"]
    assert people >= 0 and networks + both > 0
    assert humans.claim(s)["parts"][0]["df"][1] <= 4, "the three runs of each of two pretrainings are drawn"


def test_shares_of_the_factors_sum_to_1(root):
    s = tiny_study(root, identities=6, rated_identities=6)
    shares = humans.factor_shares(s).groupby("source").share.sum()
    assert set(shares.index) == {"built in", "observers (simulated)", *humans.LEVELS}
    assert np.isclose(shares[["built in", "observers (simulated)"]], 1).all()
    assert (np.isclose(shares, 1) | (shares == 0)).all(), "a level may follow none of the factors"


def test_the_claim_is_that_of_the_table(tiny):
    result, claim = humans.agreement(tiny), humans.claim(tiny)
    correlation, gain, beside = claim["parts"]
    table = humans.by_level(tiny).query("pairs == @humans.ALL").set_index("level")
    row = table.loc[humans.LEVELS["weighted"]]
    assert [correlation[name] for name in ("estimate", "ci_low", "ci_high")] == list(
        row[["estimate", "low", "high"]]
    )
    assert gain["estimate"] == pytest.approx(row.estimate - table.estimate[humans.LEVELS["pixels"]])
    assert correlation["n"] == result["pairs"] and correlation["detectable"] > 0
    assert claim["region"]["low"] == 0 and claim["region"]["smallest"] == tiny.p.smallest_correlation
    assert beside["label"] == "weighted images: objects minus faces"


def test_pretrainings_are_compared_on_the_same_pairs_without_a_say_in_the_verdict(tiny):
    correlation, gain, beside = humans.claim(tiny)["parts"]
    assert correlation["decides"] and gain["decides"] and not beside["decides"]
    table = pd.DataFrame(humans.agreement(tiny)["networks"]).query(
        "pairs == @humans.ALL and level == 'weighted'"
    )
    of = table.set_index(table.model.str.split("/").str[0]).estimate
    assert beside["estimate"] == pytest.approx(of["objects"].mean() - of["faces"].mean())
    apart = beside["ci_low"] > 0 or beside["ci_high"] < 0
    assert (beside["p"] < 0.05) == apart and beside["verdict"] == ("supported" if apart else "inconclusive")


def test_ratings_of_the_users_own(root, photographs):
    s = tiny_study(
        root,
        photographs,
        faces="people",
        attribute_tables=["genders.csv"],
        pretrainings={"others": "others"},
        minimum_images=6,
        crop=36,
        ratings=["ratings.csv"],
        ratings_columns=["one", "two", "far"],
        ratings_names="names.csv",
    )
    result = humans.agreement(s)
    assert result["people"] == 6 and result["pairs"] == 15 and not result["simulated"]
    assert result["ceiling"] is None and "no noise ceiling" in result["note"]
    assert list(humans.factor_shares(s).source) == ["none"]
    nobody = s.but(ratings=(), ratings_names=None)
    assert humans.agreement(nobody)["note"] == "there are no ratings of these photographs"
    assert {part["verdict"] for part in humans.claim(nobody)["parts"]} == {"inconclusive"}


def test_other_observers_ask_no_network_again(tiny):
    humans.agreement(tiny)
    other = tiny.but(raters=3)
    assert not humans.agreement.has(other)
    assert all(humans.responses.has(other, cell) for cell in other.grid)
