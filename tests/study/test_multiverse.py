"""Every claim under every choice: what is recomputed, how far verdicts hold, and when a stored multiverse counts."""

import pandas as pd
import pytest
from tiny_study import tiny_study

from report import prose
from study import certainty, claims, multiverse, stimuli, stored
from study.settings import ParameterError

CHOICES = {
    "measure": ["accuracy", "probability"],
    "ranking": ["positive", "absolute"],
    "likeness": ["overlap"],
}


@pytest.fixture(scope="module")
def tiny(root):
    changes = {"multiverse": CHOICES, "multiverse_resamples": 150, "calibration_experiments": 20}
    return tiny_study(root, **changes)


@pytest.fixture(scope="module")
def table(tiny):
    return multiverse.analyses(tiny)


def test_every_claim_is_recomputed_under_the_choices_it_depends_on(table):
    counts = table.claim.value_counts().to_dict()
    # C3 has one choice more, the likeness of maps, whose list leaves the study's own value out.
    assert counts == {"C1": 1, "C2": 4, "C3": 8, "C4": 4, "C5": 4, "C6": 4, "C7": 4, "C8": 1, "C9": 4}
    assert table.groupby("claim").is_default.sum().eq(1).all()
    numbers = table[table.claim == "C2"][["estimate", "ci_low", "ci_high"]]
    assert len(numbers.drop_duplicates()) >= 3  # accuracies on so few images can tie


def test_the_default_analysis_is_the_ledgers(tiny, table):
    default = table[table.is_default].set_index("claim")
    for record in claims.ledger(tiny):
        for name in ("estimate", "ci_low", "ci_high"):
            assert default[name][record["id"]] == pytest.approx(record[name], nan_ok=True)
        assert default.verdict[record["id"]] == record["verdict"]


def test_analyses_are_made_once_and_then_read_no_images(tiny, table, monkeypatch):
    monkeypatch.setattr(stimuli.faces, "function", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr(multiverse, "decide", lambda *_: pytest.fail("decided again"))
    monkeypatch.setattr(stimuli, "faces", lambda *_: pytest.fail("images were read"))
    pd.testing.assert_frame_equal(multiverse.analyses(tiny.but()), table)


def test_the_ledger_tells_how_far_each_verdict_holds(tiny):
    records = multiverse.ledger(tiny)
    assert [r["robustness"]["analyses"] for r in records] == [1, 4, 8, 4, 4, 4, 4, 1, 4]
    assert "of 8 analyses" in prose.ledger(records).data
    assert "no choice of analysis applies" in prose.ledger(records).data


def analyses(*rows):
    """Analyses of C2: fill, measure, verdict; the first is the default."""
    table = pd.DataFrame(rows, columns=["fill", "measure", "verdict"]).assign(claim="C2")
    return table.assign(is_default=table.index == 0, estimate=0.1, ci_low=0.0, ci_high=0.2, part="keep")


FOUR = analyses(
    ("mean", "logit", "supported"),
    ("mean", "accuracy", "supported"),
    ("grey", "logit", "inconclusive"),
    ("grey", "accuracy", "supported"),
)


def test_robustness_counts_verdicts_and_names_what_flips_them():
    found = multiverse.robustness(FOUR)["C2"]
    assert (found["analyses"], found["share"]) == (4, 0.75)
    assert (found["supported"], found["inconclusive"], found["contradicted"]) == (3, 1, 0)
    assert (found["flips"], found["flips_share"]) == ("fill: grey", 0.5)
    shares = multiverse.by_choice(FOUR).set_index(["choice", "value"]).share
    assert shares["measure", "accuracy"] == 1 and shares["measure", "logit"] == 0.5


def test_robustness_is_that_of_the_verdict_shown():
    """The default of the table may be another: a stored one comes from another machine."""
    shown = {"C2": "inconclusive"}
    found = multiverse.robustness(FOUR, shown)["C2"]
    assert (found["verdict"], found["share"], found["default"]) == ("inconclusive", 0.25, "supported")
    assert (found["flips"], found["flips_share"]) == ("fill: mean", 0.0)
    assert multiverse.by_choice(FOUR, shown).set_index("value").share["grey"] == 0.5


def test_the_ledger_counts_for_the_verdict_it_shows(monkeypatch):
    records = [{"id": "C2", "verdict": "inconclusive", "parts": []}]
    monkeypatch.setattr(multiverse.claims, "ledger", lambda _: records)
    monkeypatch.setattr(multiverse, "best", lambda _: (FOUR, "stored elsewhere"))
    monkeypatch.setattr(
        multiverse.replications, "best", lambda *_: (FOUR.assign(replication=0, shown=True), "")
    )
    (record,) = multiverse.ledger(None)
    assert (record["robustness"]["share"], record["robustness"]["default"]) == (0.25, "supported")


def test_costly_choices_leave_the_studys_analysis_one_at_a_time(tiny):
    varied = {
        "composite": ["epsilon_plus", "epsilon"],
        "fill": ["mean", "blur"],
        "measure": ["accuracy", "logit"],
    }
    names = tuple(varied)
    found = pd.DataFrame(multiverse.tried(tiny.but(multiverse=varied, measure="logit").p, names))
    usual = found.iloc[0]
    assert (usual == pd.Series({name: getattr(tiny.p, name) for name in names} | {"measure": "logit"})).all()
    assert len(found) == len(found.drop_duplicates()) == (1 + 2 + 1) * 2
    assert ((found[["composite", "fill"]] != usual[["composite", "fill"]]).sum(axis=1) <= 1).all()
    assert found.groupby(["composite", "fill"]).measure.agg(set).map(len).eq(2).all()


def test_a_costly_choice_is_judged_where_the_others_are_as_usual():
    rows = [("mean", "a", "supported"), ("blur", "a", "supported"), ("mean", "b", "contradicted")]
    table = analyses(*rows).rename(columns={"measure": "composite"})
    shares = multiverse.by_choice(table).set_index(["choice", "value"]).share
    assert shares["fill", "mean"] == 1 and shares["composite", "b"] == 0


def test_a_stored_multiverse_counts_for_its_own_study_only(tiny, table, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    assert stored.of_study(tiny, "multiverse") is None
    stored.store(tiny, "multiverse")
    kept = stored.of_study(tiny.but(multiverse={}, profile="other", evidence_seeds=9), "multiverse")
    assert kept is not None and len(kept.tables["analyses"]) == len(table)
    assert multiverse.robustness(kept.tables["analyses"]) == multiverse.robustness(table)
    assert stored.of_study(tiny.but(finetuning_rate=0.5), "multiverse") is None


@pytest.mark.parametrize(
    "bad", [{"fill": ["mauve"]}, {"fill": []}, {"measure": ["logit", "logit"]}, {"p": ["a"]}]
)
def test_bad_choices_are_named(bad):
    with pytest.raises(ParameterError, match="multiverse"):
        tiny_study(None, multiverse=bad)


def test_simulated_studies_come_as_tables(tiny):
    found = certainty.tables(tiny)
    assert set(found["coverage"].method) == {"combined", "percentile", "percentile, images redrawn"}
    assert set(found["coverage"].score) == {"normal", "hit or miss"}
    assert "transfer, task" in set(found["transfer"].statistic)
    assert (found["tests"].experiments >= 20).all() and found["tests"].rate.between(0, 1).all()


def test_more_networks_and_people_never_make_a_verdict_less_likely(tiny):
    planned = certainty.power(tiny, claims.ledger(tiny))
    assert set(planned.claim.str[:2]) >= {"C1", "C2", "C8"}
    wide = planned.pivot_table(index=["claim", "people"], columns="networks", values="power")
    assert (wide.diff(axis=1).iloc[:, 1:] > -0.02).all(axis=None)


@pytest.mark.parametrize(
    ("estimate", "bounds", "smallest", "distance"),
    [
        (0.03, [-0.05, 0.05], None, 0.02),
        (0.3, [0.0], 0.1, 0.3),  # to be supported
        (-0.2, [0.0], 0.1, 0.3),  # to be contradicted
        (0.02, [0.0], 0.1, 0.08),
        (-0.3, [0.0], -0.1, 0.3),
    ],
)
def test_a_planned_study_has_to_clear_the_bound_that_decides(estimate, bounds, smallest, distance):
    assert certainty.distance(estimate, bounds, smallest) == pytest.approx(distance)
