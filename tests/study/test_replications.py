"""The study again with everything new: what is new in it, how verdicts are counted, and how intervals are checked."""

import numpy as np
import pandas as pd
import pytest
from tiny_study import tiny_study

from report import prose
from study import claims, multiverse, networks, replications, stimuli, stored
from study import relevance as maps


def table(verdicts, claim="C4"):
    """One part per replication, from 0 on, each with the interval from 0 to 1."""
    rows = pd.DataFrame(
        {"replication": range(len(verdicts)), "claim": claim, "part": "tasks", "verdict": verdicts}
    )
    return rows.assign(estimate=0.5, ci_low=0.0, ci_high=1.0, shown=True)


def drawn(truth, error, promised, replications=10, parts=300, seed=0):
    """Estimates with a normal error around a truth per part, and intervals that promise another error."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        [(r, "C2", f"part {k}") for r in range(1, replications + 1) for k in range(parts)],
        columns=["replication", "claim", "part"],
    )
    frame["estimate"] = truth + error * rng.standard_normal(len(frame))
    return frame.assign(ci_low=frame.estimate - 1.96 * promised, ci_high=frame.estimate + 1.96 * promised)


def test_everything_is_new_in_a_replication(tiny):
    studies = [replications.replication(tiny, number) for number in range(4)]
    assert studies[0].settings == tiny.settings
    seeds = [{cell.seed for cell in s.grid} for s in studies]
    runs = [{cell.run for cell in s.grid} for s in studies]
    for several in (seeds, runs):
        assert len(set.union(*several)) == sum(map(len, several))
    assert len({s.p.stimulus_seed for s in studies}) == 4
    keys = {maps.explain.key(s, s.grid[0]) for s in studies}
    keys |= {networks.pretrained.key(s, s.grid[0].pretraining, s.grid[0].run) for s in studies}
    assert len(keys) == 8
    faces = [stimuli.faces(s).pixels.values for s in studies[:2]]
    assert (faces[0] != faces[1]).any(axis=(1, 2, 3)).all()


def test_verdicts_are_counted_against_the_studys_own():
    found = replications.held(table(["supported", "supported", "inconclusive", "supported", "contradicted"]))
    assert found == {"C4": {"n": 4, "same": 2, "supported": 2, "inconclusive": 1, "contradicted": 1}}
    assert replications.held(table(["supported"])) == {}


def test_good_intervals_contain_the_mean_of_the_others_and_narrow_ones_do_not():
    good = replications.coverage(replications.contained(drawn(0.3, 0.1, 0.1))).set_index("compared")
    assert good.intervals.tolist() == [3000, 3000]
    assert good.rate["widened"] == pytest.approx(0.95, abs=0.01)
    assert good.rate["contains"] == pytest.approx(0.937, abs=0.01)
    assert ((good.low <= good.rate) & (good.rate <= good.high)).all()
    narrow = replications.coverage(replications.contained(drawn(0.3, 0.1, 0.05))).set_index("compared")
    assert narrow.rate["widened"] < 0.8


def test_the_study_itself_and_intervals_that_are_not_finite_take_no_part():
    rows = drawn(0.0, 1.0, 1.0, replications=5, parts=2)
    itself = rows[rows.replication == 1].assign(replication=0, estimate=1e6)
    broken = rows[rows.replication == 1].assign(replication=6, ci_high=np.inf)
    pd.testing.assert_frame_equal(
        replications.contained(pd.concat([itself, rows, broken])), replications.contained(rows)
    )
    assert replications.contained(rows[rows.replication < 3]).empty


def test_claims_show_what_varies_beside_what_intervals_promise():
    rows = drawn(0.3, 0.1, 0.05, replications=200, parts=3).assign(verdict="supported", shown=False)
    rows["shown"] = rows.part == "part 1"
    (found,) = replications.by_claim(
        pd.concat([rows[rows.replication == 1].assign(replication=0), rows])
    ).to_dict("records")
    assert found["spread"] == pytest.approx(2, rel=0.1) and found["n"] == found["same"] == 200
    assert found["verdict"] == "supported" and found["contains"] < 0.8
    assert replications.by_claim(table(["supported"])).empty


def test_replications_are_stored_and_counted_in_the_ledger(root, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    monkeypatch.setattr(
        claims, "STEPS", {name: claims.STEPS[name] for name in ("C1", "C2")}
    )  # the others take long
    s = tiny_study(root, replications=2, multiverse={})
    assert multiverse.ledger(s.but(replications=0))[0]["replications"] is None
    stored.store(s, "replications")
    kept = stored.recall("replications").tables["replications"]
    assert set(kept.replication) == {0, 1, 2}
    assert kept[kept.shown].groupby("replication").claim.agg(list).map(set).eq(set(claims.STEPS)).all()
    monkeypatch.setattr(replications, "tables", lambda _: pytest.fail("they are stored"))
    own = claims.ledger(s)
    records = multiverse.ledger(s.but(replications=0))
    for record, before in zip(records, own, strict=True):
        again = record["replications"]
        verdicts = kept[kept.shown & (kept.claim == record["id"]) & (kept.replication > 0)].verdict
        assert again["n"] == 2 and again["same"] == (verdicts == before["verdict"]).sum()
    assert "of 2 replications" in prose.ledger(records).data
    assert set(replications.best(s.but(finetuning_rate=0.5, replications=0), own)[0].replication) == {0}


def test_replications_that_are_stored_are_not_made_again(tiny, tmp_path, monkeypatch):
    """More of them later, with the same command, go on where the last ones ended."""
    made = []

    def ledger(s):
        made.append(s.p.stimulus_seed - tiny.p.stimulus_seed)
        part = {"label": "tasks", "estimate": 0.5, "ci_low": 0.0, "ci_high": 1.0, "verdict": "supported"}
        return [{"id": "C4", "part": "tasks", "parts": [part]}]

    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    monkeypatch.setattr(claims, "ledger", ledger)
    for number in (1, 3):
        stored.store(tiny.but(replications=number), "replications")
    assert made == [0, 1000, 2000, 3000]
    assert stored.recall("replications").tables["replications"].replication.tolist() == [0, 1, 2, 3]
    stored.store(tiny.but(replications=1, fill="blur"), "replications")
    assert made[4:] == [0, 1000], "another study"
