"""Planted evidence and interventions: relevance must find what is known to matter, and noise must not pass for it."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import faces
from analysis import attribution as baselines
from analysis import evidence as ground_truth
from analysis import masking
from analysis.lrp import COMPOSITES
from report import summaries
from study import Study, archive, experiments, interventions, maps, planted, training, truth, vgg
from study import parameters as params
from study.planted import Planted

MARGIN = 0.03  # of average precision; the seed of the network and of its rivals moves it by less
SET = "brows+jaw"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One set, two seeds, from random weights: seconds on one core."""
    p = params.load(
        "smoke",
        pretrainings={"none": "none"},
        tasks=["gender"],
        finetuning_samples={"gender": 600},
        evidence=[SET],
        width=0.125,
        finetuning_rate=2e-3,
        evidence_people=1500,
        evidence_samples=7500,
        evidence_images=60,
    )
    return Study(p, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def tables(study):
    return truth.tables(study)


@pytest.fixture(scope="module")
def held_out(study):
    """Relevance of a network, the truth, and the three that relevance must beat, for what the network gets right."""
    p, found = study.parameters, planted.held_out_faces(study.parameters, study.store, SET)
    model = planted.network(p, study.store, Planted(SET, 0))
    images = vgg.normalise(torch.from_numpy(found.pixels.sel(shown="original").values))
    label = torch.from_numpy(found.label.values)
    right = (model(images).argmax(1) == label).numpy() & found.truth.values.any((1, 2))
    relevance = masking.rank(maps.attribute(p, model, images, label, p.composite), "positive")[right]
    return relevance, found.truth.values[right], list(found.identity.values[right])


def replacement(name, relevance, identities, seed):
    control = masking.controls(name, relevance, seed=seed, identities=identities)
    return control - control.amin((1, 2), keepdim=True)


REPLACEMENTS = ("random", "centre", "other_image")


def finds_the_evidence(candidate, held_out):
    """Whether maps score above noise, the centre prior and the relevance of other images, each by a margin."""
    relevance, evidence, identities = held_out
    score = ground_truth.average_precision(candidate, evidence).mean()
    rivals = [replacement(name, relevance, identities, seed=0) for name in REPLACEMENTS]
    return all(score > ground_truth.average_precision(r, evidence).mean() + MARGIN for r in rivals)


def test_relevance_finds_the_planted_evidence(held_out):
    assert finds_the_evidence(held_out[0], held_out)


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_what_is_not_relevance_does_not_pass_for_it(name, held_out):
    relevance, _, identities = held_out
    for seed in (0, 1, 2):
        assert not finds_the_evidence(replacement(name, relevance, identities, seed), held_out)


def test_the_network_learned_the_cue_and_nothing_else(tables):
    accuracy = tables["learned"].set_index("shown").accuracy
    assert accuracy["unchanged"] > 0.8
    assert accuracy["cue of the other class"] < 0.2
    row = tables["learned"].set_index("shown").loc["cue removed"]
    assert row.low < 0.5 < row.high


def test_faces_without_the_cue_are_those_of_no_difference_between_the_classes(study):
    p, found = study.parameters, planted.held_out_faces(study.parameters, study.store, SET)
    plain = faces.make_faces(
        30,
        2,
        p.image_size,
        p.stimulus_seed + planted.PEOPLE_APART,
        first_identity=p.evidence_people,
        evidence=SET.split("+"),
        shift=0.0,
    )
    difference = found.pixels.sel(shown="removed").values.astype(int) - plain.pixels.values
    assert np.abs(difference).max() <= 1  # factors are float32: a rounded grey level may differ
    assert found.label.values.mean() == 0.5


def test_truth_lies_where_the_planted_part_is_or_was(study):
    found = planted.held_out_faces(study.parameters, study.store, SET)
    inside = planted.part_mask(found, SET)
    density = [(found.truth.values * m).sum() / m.sum() for m in (inside, ~inside)]
    assert density[0] > 3 * density[1]


def test_people_of_training_and_of_test_differ(study):
    p = study.parameters
    trained = planted.training_faces(p, study.store, SET)
    assert trained.sizes["image"] == p.evidence_people
    assert (
        set(trained.identity.values) & set(planted.held_out_faces(p, study.store, SET).identity.values)
        == set()
    )


def test_scores_have_an_interval_for_every_method_and_metric(study, tables):
    scores, p = tables["scores"], study.parameters
    assert len(scores) == 2 * 2 * len(p.evidence_methods) * len(ground_truth.METRICS)
    assert ((scores.low <= scores.estimate) & (scores.estimate <= scores.high)).all()
    assert scores.estimate.between(0, 1).all()
    shown = truth.shown(scores)
    assert len(shown) == len(scores) / 2 and not shown.duplicated(["truth", "method", "metric"]).any()


def test_means_are_over_images_that_the_network_gets_right(study, tables):
    p = study.parameters
    found = planted.score_all(p, study.store)
    own = found.score.sel(
        {"truth": "change", "reading": "positive", "method": "epsilon_plus", "metric": "mass"}
    )
    assert (np.isfinite(own.values) <= found.correct.sel(shown="original").values).all()
    row = tables["scores"].query(
        "truth=='change' and reading=='positive' and method=='epsilon_plus' and metric=='mass'"
    )
    assert row.estimate.item() == pytest.approx(np.nanmean(own.values, axis=1).mean())


def test_the_ranking_starts_at_the_best_and_names_the_best_composite(tables):
    ranked = tables["ranking"]
    assert ranked.estimate.is_monotonic_decreasing
    best = ranked.set_index("method").loc[truth.winner(ranked)]
    assert best.kind == "LRP" and best.behind == 0
    assert (ranked.behind - (best.estimate - ranked.estimate)).abs().max() < 1e-9


def test_names_of_methods_are_those_of_the_code():
    composites, methods = set(planted.COMPOSITES), set(params.load("grid").evidence_methods)
    assert composites == {*COMPOSITES, "epsilon_gamma_box"}
    controls = set(masking.CONTROLS) - {"least"} | {"random_weights"}
    assert methods == composites | set(baselines.METHODS) | controls
    assert set(params.get_args(params.Part)) == set(faces.PART_FACTORS)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("evidence", ["brow"], r"'brow' names no part of a face: \['brow'\]"),
        ("evidence", ["jaw+jaw"], "each part, and each set, once"),
        ("evidence", ["jaw+brows", "brows+jaw"], "each part, and each set, once"),
        ("evidence", [], "evidence="),
        ("evidence_methods", ["epsilon", "epsilon"], "name each method once"),
        ("evidence_methods", ["edges", "centre"], "at least one composite"),
        ("evidence_shift", 0.0, "evidence_shift=0.0"),
        ("evidence_images", 4, "evidence_images=4"),
    ],
)
def test_bad_parameters_are_one_error_that_names_them(name, value, said):
    with pytest.raises(params.ParameterError, match=said):
        params.load("demo", **{name: value})


def test_a_network_that_learned_nothing_is_an_error_that_says_what_to_do(study):
    found = planted.score_all(study.parameters, study.store)
    with pytest.raises(ValueError, match="raise evidence_samples"):
        truth.scores(study.parameters, found.assign(score=found.score * np.nan))


def test_the_default_composite_is_the_one_that_won():
    """The stored result sets the default; make it with `python -m report store truth`."""
    assert experiments.EXPERIMENTS["truth"] == "study.truth"
    assert params.load().composite == truth.winner(archive.recall("truth").tables["ranking"])


# ------------------------------------------------------------ interventions


def test_swapping_a_part_changes_the_logit_as_recorded(study):
    p, cell = study.parameters, study.grid[0]
    found = interventions.intervene(p, study.store, cell)
    index = interventions.chosen(p, study.store)
    own = maps.explain(p, study.store, cell).isel(image=index)
    swapped = interventions.swapped_faces(p, study.store)
    logits = training.predict(study.network(cell), torch.from_numpy(swapped.sel(part="hair").values[0]))
    expected = own.logit.values - logits.numpy()[np.arange(len(index)), own.target.values]
    np.testing.assert_allclose(found.effect.sel(changed="swap", region="hair"), expected, atol=1e-5)
    np.testing.assert_allclose(found["size"].sel(changed="swap", region="hair"), np.abs(expected), atol=1e-5)


def test_swapped_faces_change_near_the_part_and_not_in_the_background(study):
    p = study.parameters
    index = interventions.chosen(p, study.store)
    before = study.explained().isel(image=index)
    swapped = interventions.swapped_faces(p, study.store).sel(part="mouth").values[0]
    moved = np.abs(swapped.astype(int) - before.pixels.values).sum(1)
    assert moved[before.parts.values == faces.procedural.PARTS.index("mouth")].mean() > 5
    assert moved[before.parts.values == faces.procedural.PARTS.index("background")].mean() < 0.5


def test_what_a_part_received_is_the_sum_of_the_map_over_it(study):
    p, cell = study.parameters, study.grid[0]
    found = interventions.intervene(p, study.store, cell).received.sel(ranking="relevance", region="nose")
    index = interventions.chosen(p, study.store)
    relevance = maps.explain(p, study.store, cell).relevance.values[index]
    nose = study.explained().parts.values[index] == faces.procedural.PARTS.index("nose")
    np.testing.assert_allclose(found.sel(question="direction"), (relevance * nose).sum((1, 2)), rtol=1e-4)
    np.testing.assert_allclose(found.sel(question="size"), (np.abs(relevance) * nose).sum((1, 2)), rtol=1e-4)


def test_correlations_are_spearmans_and_zero_where_nothing_varies():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 5, 7))
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(interventions._spearman(a, b), expected)
    assert interventions._spearman(np.ones(7), b[0]) == 0


def test_an_oracle_that_received_the_effect_correlates_perfectly(study):
    found = interventions.intervene_all(study.parameters, study.store, study.grid)
    oracle = found.assign(received=found.received * 0 + found["size"].sel(changed="swap", drop=True))
    rho = interventions.correlations(oracle).sel(question="size", changed="swap", ranking="relevance")
    np.testing.assert_allclose(rho, 1)


def test_the_table_of_interventions_has_every_rival_with_an_interval(study):
    table = interventions.table(study)
    assert set(table.ranking) == {"relevance", "fill", *interventions.RIVALS}
    assert ((table.low <= table.correlation) & (table.correlation <= table.high)).all()
    assert not table.duplicated(["question", "changed", "ranking"]).any()
    for _, rows in table.groupby(["question", "changed"]):
        own = rows.set_index("ranking").correlation["relevance"]
        np.testing.assert_allclose(rows.ahead, own - rows.correlation, atol=1e-12)


@pytest.fixture
def photographs(study, monkeypatch):
    """The same images without what only drawn faces have; fewer of them, so that nothing made before is read."""
    plain = study.faces().drop_vars(["parts", "factors", "views"])
    monkeypatch.setattr(interventions.study_stimuli, "faces", lambda p, store: plain)
    return Study(study.parameters.model_copy(update={"intervention_images": 8}), study.store.root)


def test_fields_of_photographs_cover_every_pixel_once(photographs):
    labels, names = interventions.chosen_regions(photographs.parameters, photographs.store)
    assert labels.shape[1:] == (32, 32)
    assert np.bincount(labels[0].ravel()).tolist() == [64] * 16 == [64] * len(names)


def test_photographs_are_filled_field_by_field(photographs):
    found = interventions.intervene(photographs.parameters, photographs.store, photographs.grid[0])
    assert found.changed.values.tolist() == ["fill"]
    assert found.effect.shape == (1, 8, 16)
    assert (found.received.sel(ranking="area") == 64).all()
    table = interventions.table(photographs)
    assert set(table.ranking) == {"relevance", *interventions.RIVALS}
    assert "filling the region" in summaries.interventions_verdict(table)


def test_verdicts_name_the_best_composite_and_what_it_is_ahead_of(tables):
    text = summaries.composites_verdict(tables["ranking"])
    assert truth.winner(tables["ranking"]).replace("_", " ") in text.partition(".")[0]
    wide = summaries.truth_by_metric(tables["scores"])
    assert list(wide.columns) == list(ground_truth.METRICS.values())
    assert wide.index[0] == tables["ranking"].method[0].replace("_", " ")
