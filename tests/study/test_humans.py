"""Networks are compared with people on images they never saw, and the claim is that of the table."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_study import tiny_study

from study import humans, networks, stimuli, vgg


def test_rated_people_are_shown_as_no_network_saw_them(tiny):
    faces = humans.rated(tiny)
    assert set(faces.split.values) == {"test"}
    assert set(faces.identity.values) == set(stimuli.classes(stimuli.faces(tiny), "identity"))
    assert pd.Series(faces.identity.values).value_counts().max() <= humans.IMAGES_PER_PERSON


def test_agreement_has_the_first_network_of_each_run_and_every_level(tiny):
    result = humans.agreement(tiny)
    table = pd.DataFrame(result["networks"]).query("pairs == @humans.ALL")
    assert len(table) == 1 + 4 * len(tiny.firsts), "pixels are the same for all networks"
    assert set(table.model) == {"none", *(cell.name for cell in tiny.firsts)}
    levels = humans.by_level(tiny).set_index("level")
    assert list(levels.index) == list(humans.LEVELS.values())
    assert (levels[["estimate", "low", "high"]].abs() < 5).all(axis=None) and levels.p.between(0, 1).all()
    weighted = table[table.level == "weighted"].estimate.mean()
    assert levels.estimate[humans.LEVELS["weighted"]] == pytest.approx(weighted)
    assert result["share"] == pytest.approx(weighted / result["ceiling"][0])
    assert result["simulated"] and result["people"] == 4 and result["pairs"] == 6
    families = humans.by_family(tiny)
    assert len(families) == 4 * 4 and (families.low <= families.estimate).all()
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
    correlation, gain, verified, more, beside = claim["parts"]
    table = humans.by_level(tiny).query("pairs == @humans.ALL").set_index("level")
    row = table.loc[humans.LEVELS["weighted"]]
    assert [correlation[name] for name in ("estimate", "ci_low", "ci_high")] == list(
        row[["estimate", "low", "high"]]
    )
    assert gain["estimate"] == pytest.approx(row.estimate - table.estimate[humans.LEVELS["pixels"]])
    assert verified["estimate"] == pytest.approx(table.estimate[humans.LEVELS["verified"]])
    assert more["estimate"] == pytest.approx(verified["estimate"] - correlation["estimate"])
    assert correlation["n"] == result["pairs"] and correlation["detectable"] > 0
    assert claim["region"]["low"] == 0 and claim["region"]["smallest"] == tiny.p.smallest_correlation
    assert beside["label"] == "weighted images: objects minus faces"


def test_pretrainings_are_compared_on_the_same_pairs_without_a_say_in_the_verdict(tiny):
    *_, beside = parts = humans.claim(tiny)["parts"]
    assert [part["decides"] for part in parts] == [True, True, False, False, False]
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


# ------------------------------------------------------------ verification


def verifier(biases: float) -> tuple[vgg.VGG16, torch.Tensor, torch.Tensor]:
    """A network in float64, a pair of faces, and their embeddings."""
    model = vgg.vgg16(3, width=1 / 16, size=32, hidden=12, seed=1).double().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0, biases, generator=generator)
    images = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)
    return model, images, vgg.sequential(model)[:-1](images).detach()


@pytest.mark.parametrize("composite", ["epsilon_gamma_box", "epsilon_plus", "epsilon"])
def test_both_faces_of_a_pair_explain_their_cosine(composite):
    model, images, own = verifier(0.1)
    unit = own / own.norm(dim=1, keepdim=True)
    found = humans.explain_cosine(model, images, own, unit.flip(0), composite)
    assert torch.allclose(found.start, torch.cosine_similarity(own, own.flip(0)))
    assert (found.biases.abs() > 1e-3).all() and found.pixels.ne(0).all()
    assert torch.allclose(found.relevance.sum((1, 2, 3)), found.start - found.biases - found.epsilon)
    others = torch.stack([unit.flip(0), unit], 1)
    several = humans.explain_cosine(model, images, own, others, composite)
    assert torch.allclose(several.relevance[:, 0], found.relevance), "several others share the passes up"
    assert torch.allclose(several.start[:, 1], torch.ones(2, dtype=torch.float64))


def test_without_biases_and_stabilisers_it_is_gradient_times_input():
    model, images, own = verifier(0)
    others = (own / own.norm(dim=1, keepdim=True)).flip(0)
    found = humans.explain_cosine(model, images, own, others, "epsilon")
    leaf = images.clone().requires_grad_()
    cosines = (vgg.sequential(model)[:-1](leaf) * others).sum(1) / own.norm(dim=1)
    (gradient,) = torch.autograd.grad(cosines.sum(), leaf)
    assert torch.allclose(
        found.relevance, gradient * images, rtol=1e-3, atol=1e-3 * found.relevance.abs().max()
    )
    assert torch.allclose(found.relevance.sum((1, 2, 3)), cosines, rtol=1e-3)
    # BiLRP: products of both faces' maps of each unit of the embedding, here summed over the other face's pixels.
    lengths, every = own.norm(dim=1), torch.eye(own.shape[1], dtype=torch.float64).expand(2, -1, -1)
    unit = humans.explain_cosine(model, images, own, every, "epsilon").relevance.sum(2) * lengths.view(
        -1, 1, 1, 1
    )
    for face, other in ((0, 1), (1, 0)):
        joint = torch.einsum("kyx,kvu->yxvu", unit[face], unit[other]) / lengths.prod()
        assert torch.allclose(joint.sum((2, 3)), found.relevance[face].sum(0), rtol=1e-3, atol=1e-5)


def test_relevance_for_verification_is_the_mean_of_the_pairs(tiny):
    cell, faces = tiny.firsts[0], humans.rated(tiny)
    found, own = (
        humans.verification(tiny, cell),
        torch.from_numpy(humans.responses(tiny, cell).features.values),
    )
    who = faces.identity.values
    people = torch.stack([own[who == name].mean(0) for name in np.unique(who)])
    images = vgg.normalise(torch.from_numpy(faces.pixels.values))
    every = torch.nn.functional.normalize(people, dim=1).expand(len(own), -1, -1)
    maps = humans.explain_cosine(networks.network(tiny, cell), images, own, every, tiny.p.composite)
    others = np.unique(who) != who[:, None]
    mean = [
        pairs.sum(1)[torch.from_numpy(o)].mean(0) for pairs, o in zip(maps.relevance, others, strict=True)
    ]
    np.testing.assert_allclose(found.relevance.values, torch.stack(mean), rtol=1e-3, atol=1e-6)
    cosines = [
        np.mean([torch.cosine_similarity(e, p, 0) for p in people[o]])
        for e, o in zip(own, others, strict=True)
    ]
    np.testing.assert_allclose(found.cosine.values, cosines, rtol=1e-4)


def test_pairs_shown_are_at_the_corners_of_both_rankings(tiny):
    pairs, who = humans.pairs(tiny), humans.rated(tiny).identity.values
    cells = humans.verifiers(tiny)
    assert {cell.task for cell in cells} == {"identity"} and list(pairs.pair.values) == list(humans.PAIRS)
    judged = humans._human_rdms(tiny).get_matrices().mean(0)
    names, above = np.unique(who), np.triu_indices(4, 1)
    for people, image in zip(pairs.people.values, pairs.image.values, strict=True):
        one, other = np.searchsorted(names, who[image])
        assert one != other and people == pytest.approx((judged[above] < judged[one, other]).sum() / 5)
    both, apart = pairs.people + pairs.networks, pairs.people - pairs.networks
    assert (
        both[0] == both.min()
        and both[1] == both.max()
        and apart[2] == apart.min()
        and apart[3] == apart.max()
    )
    shown = [torch.from_numpy(humans.responses(tiny, c).features.values[pairs.image.values]) for c in cells]
    cosines = torch.stack([torch.cosine_similarity(*own.unbind(1), dim=1) for own in shown]).mean(0)
    np.testing.assert_allclose(pairs.cosine.values, cosines, rtol=1e-5)
    assert pairs.relevance.dims == ("pair", "face", "y", "x")
    assert (np.abs(pairs.relevance.values).sum((2, 3)) > 0).all()


def test_no_pair_of_photographs_is_shown(root, photographs):
    people = {"attribute_tables": ["genders.csv"], "minimum_images": 6, "crop": 36}
    s = tiny_study(root, photographs, faces="people", pretrainings={"others": "others"}, **people)
    with pytest.raises(ValueError, match="not for photographs"):
        humans.pairs.function(s)
