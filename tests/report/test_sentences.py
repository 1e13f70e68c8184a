"""Sentences are computed from tables."""

import pandas as pd
import xarray as xr

from report import sentences
from study import humans
from study import parameters as params


def test_coverage_in_words():
    rates = pd.DataFrame({"rate": [0.95, 0.8, 0.97], "case": ["a", "b", "c"]})
    assert sentences.coverage(rates) == "2 of 3 settings lie within 93 to 97 %; the lowest is 80.0 % (b)"


def test_leads_in_words():
    rows = [
        ("keep", 5.0, "edges", 0.1, 0.2),
        ("keep", 70.0, "edges", -0.3, -0.1),
        ("remove", 5.0, "edges", -0.1, 0.1),
    ]
    table = pd.DataFrame(rows, columns=["mode", "percent", "control", "low", "high"]).assign(lead=0.0)
    text = sentences.leads(table)
    assert "to keep, relevance is ahead of every control at 5 %, and behind “edges” at 70 %" in text
    assert "to remove, relevance is ahead of every control at no percent, and behind none" in text


def test_where_the_default_of_stored_analyses_has_another_verdict():
    def record(name, there, here):
        return {"id": name, "verdict": here, "robustness": {"default": there}}

    same = [record("C4", "supported", "supported")]
    assert "the verdict of the ledger for every claim" in sentences.defaults(same)
    text = sentences.defaults([*same, record("C5", "supported", "inconclusive")])
    assert (
        "own default says otherwise of C5 (supported there, inconclusive here)" in text and "C4" not in text
    )


def test_replications_in_words():
    rows = [
        ("C1", "supported", 10, 10, 10, 0, 0, 0.9, 0.95, 1.0),
        ("C5", "supported", 10, 4, 4, 6, 0, 0.7, 0.8, 1.6),
    ]
    columns = [
        "claim",
        "verdict",
        "n",
        "same",
        "supported",
        "inconclusive",
        "contradicted",
        "contains",
        "widened",
    ]
    table = pd.DataFrame(rows, columns=[*columns, "spread"])
    text = sentences.verdicts_again(table)
    assert "Of 2 claims, 1 came out as here in every one of 10 replications" in text
    assert "C5 (supported here; 4 supported, 6 open, 0 contradicted)" in text
    overall = pd.DataFrame(
        [("contains", 40, 0.8, 0.7, 0.9), ("widened", 40, 0.875, 0.8, 0.95)],
        columns=["compared", "intervals", "rate", "low", "high"],
    )
    text = sentences.coverage_again(table, overall)
    assert "Of 40 intervals, 80.0 % [70.0, 90.0] contain" in text and "87.5 % [80.0, 95.0]" in text
    assert "those of C5 (80 %)" in text and "1.0 to 1.6 times" in text
    assert "no replications" in sentences.verdicts_again(table.iloc[:0])
    assert "nothing to compare" in sentences.coverage_again(table.iloc[:0], overall)


LOST = pd.DataFrame(
    [
        ("epsilon_gamma_box", "retrained", -0.0008, -0.033, 0.031),
        ("epsilon_gamma_box", "masked", 0.036, -0.2, 0.27),
        ("gradient", "retrained", 0.026, 0.010, 0.042),
        ("gradient", "masked", 0.013, -0.006, 0.033),
    ],
    columns=["ranking", "network", "lost", "low", "high"],
)


def test_retraining_in_words():
    text = sentences.retrained(LOST, "epsilon_gamma_box")
    assert (
        "this costs −0.001 [−0.033, 0.031] of accuracy beyond" in text
        and "no difference that can be told" in text
    )
    assert "Of 2 rankings 1 cost more (“gradient” 0.026 [0.010, 0.042])" in text
    assert "Not trained anew, networks lose 0.036 [−0.200, 0.270]" in text
    assert "costs: more." in sentences.retrained(LOST, "gradient")
    assert "none cost more;" in sentences.retrained(LOST.iloc[:2], "epsilon_gamma_box")
    assert "No networks were retrained" in sentences.retrained(LOST, "epsilon")


def test_leads_of_composites_say_where_nobody_leads():
    rows = [
        ("occlusion", "other method", 0.25, -0.02, -0.04, -0.01),
        ("box", "LRP", 0.22, 0.0, 0.0, 0.0),
        ("plus", "LRP", 0.21, 0.01, 0.002, 0.02),
        ("average", "control", 0.2, 0.01, -0.01, 0.03),
    ]
    columns = ["method", "kind", "estimate", "behind", "behind_low", "behind_high"]
    text = sentences.composites(pd.DataFrame(rows, columns=columns).assign(low=0.2, high=0.3))
    assert "“plus”; the winning composite is ahead of it: 0.01" in text
    assert "“occlusion”; the winning composite is behind it: −0.02" in text
    assert "“average”; the winning composite is neither ahead of it nor behind for certain: 0.01" in text


def test_scores_that_would_have_chosen_another_composite_are_named():
    rows = [
        ("plus", "precision", 0.2),
        ("box", "precision", 0.3),
        ("plus", "mass", 0.2),
        ("box", "mass", 0.1),
    ]
    table = pd.DataFrame(rows, columns=["method", "metric", "estimate"]).assign(
        kind="LRP", evidence="all sets"
    )
    assert "put another composite first: “plus” by relevance mass accuracy" in sentences.best_by_score(table)
    assert "put the same" in sentences.best_by_score(table.assign(estimate=[0.2, 0.3, 0.1, 0.2]))


def test_accuracy_on_planted_evidence_in_words():
    rows = [("unchanged", 0.94), ("unchanged", 0.98), ("cue removed", 0.5), ("cue removed", 0.5)]
    text = sentences.learned(pd.DataFrame(rows, columns=["shown", "accuracy"]))
    assert "0.94 to 0.98 with faces unchanged, 0.50 with faces cue removed." in text


def test_what_is_left_of_the_ledger_in_words():
    def record(name, verdict, holm, again=None):
        return {"id": name, "verdict": verdict, "verdict_holm": holm, "replications": again}

    same = record("C1", "supported", "supported")
    assert sentences.ledger([same]) == "Corrected for testing 1 claims (Holm), every verdict stays."
    text = sentences.ledger([same, record("C5", "supported", "inconclusive")])
    assert "C5 would be inconclusive" in text and "repeated" not in text
    repeated = [same | {"replications": {"n": 10, "same": 10}}]
    repeated.append(record("C5", "supported", "supported", {"n": 10, "same": 4}))
    text = sentences.ledger(repeated)
    assert "repeated 10 times with everything new. In all of them C1 came out as here; C5 in 4." in text


def test_pretrained_networks_are_told_by_where_they_come_from():
    sets = params.load("smoke")
    assert "same 2,000 images" in sentences.pretrained(
        sets
    ) and "Trained already" not in sentences.pretrained(sets)
    public = sets.model_copy(update={"pretrainings": {"a": "public:imagenet", "b": "weights:/secret/b.pth"}})
    said = sentences.pretrained(public)
    assert "“a” (torchvision" in said and "“b”." in said and "single run" in said
    assert "images were shown" not in said and "secret" not in said


def test_pairs_that_are_shown_in_words():
    values = {"people": [0.01, 0.98, 0.2, 0.9], "networks": [0.0, 0.99, 0.8, 0.1]}
    shown = xr.Dataset({name: ("pair", v) for name, v in values.items()}, {"pair": list(humans.PAIRS)})
    text = sentences.pairs(shown)
    assert (
        "of the one 20 % of pairs are more alike than it to observers and 80 % to networks, of the other 90"
        in text
    )
