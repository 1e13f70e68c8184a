"""Masking: exactly the stated pixels change, and controls are what they claim to be."""

import numpy as np
import pytest
import torch
import xarray as xr

from analysis import masking


@pytest.fixture
def images():
    return torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def scores():
    return torch.randn(6, 12, 10, generator=torch.Generator().manual_seed(2))


def test_rank_sums_channels_before_it_takes_the_sign():
    relevance = torch.tensor([[[[1.0]], [[-3.0]]]])
    found = {by: masking.rank(relevance, by).item() for by in masking.RANKINGS}
    assert found == {"signed": -2.0, "positive": 0.0, "absolute": 2.0}


@pytest.mark.parametrize("percent", [0, 0.4, 1, 12.5, 33.3, 50, 99.9, 100])
def test_every_image_has_exactly_the_stated_number_even_when_all_scores_tie(scores, percent):
    expected = round(percent / 100 * 120)
    for s in (scores, torch.zeros_like(scores), scores.clamp(min=0), torch.full_like(scores, -torch.inf)):
        assert masking.select(s, percent, seed=0).sum((1, 2)).tolist() == [expected] * 6


def test_selected_pixels_score_at_least_as_high_as_the_others(scores):
    for s in (scores, scores.round(), scores * 1e-30, -scores.abs()):
        mask = masking.select(s, 30, seed=0)
        for image, m in zip(s, mask, strict=True):
            assert image[m].min() >= image[~m].max()


def test_many_percents_at_once_are_nested_and_equal_to_one_at_a_time(scores):
    tied = scores.clamp(min=0)
    together = masking.select(tied, [10, 40, 80], seed=3)
    for p, mask in zip([10, 40, 80], together, strict=True):
        assert torch.equal(mask, masking.select(tied, p, seed=3))
    assert (together[0] <= together[1]).all() and (together[1] <= together[2]).all()


def test_ties_are_spread_over_the_image_and_follow_the_seed():
    flat = torch.zeros(400, 8, 8)
    mask = masking.select(flat, 25, seed=0)
    share = mask.float().mean(0)  # every pixel should be chosen in about a quarter of the images
    assert (share - 0.25).abs().max() < 5 * (0.25 * 0.75 / 400) ** 0.5
    assert torch.equal(mask, masking.select(flat, 25, seed=0))
    assert not torch.equal(mask, masking.select(flat, 25, seed=1))


def test_negative_zero_ties_with_zero():
    signs = torch.zeros(200, 4, 4)
    signs[:, :2] = -0.0
    assert masking.select(signs, 50, seed=0)[:, :2].float().mean() > 0.4


@pytest.mark.parametrize("mode", masking.MODES)
def test_exactly_the_masked_pixels_change_in_all_channels(images, scores, mode):
    mask = masking.select(scores, 20, seed=0)
    filling = torch.full_like(images, -1.0)
    changed = masking.apply(images, mask, mode, filling) != images
    expected = mask if mode == "remove" else ~mask
    assert torch.equal(changed, expected.unsqueeze(1).expand_as(changed))


def test_a_stack_of_masks_gives_a_stack_of_images(images, scores):
    masks = masking.select(scores, [10, 50], seed=0)
    filling = masking.fillings(images, "mean")
    stack = masking.apply(images, masks, "keep", filling)
    assert stack.shape == (2, *images.shape)
    assert torch.equal(stack[1], masking.apply(images, masks[1], "keep", filling))


def test_fillings_have_the_statistics_they_promise(images):
    images = images * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    mean = masking.fillings(images, "mean")
    assert torch.allclose(mean[0], mean[5])
    assert torch.allclose(mean[0, :, 0, 0], images.mean((0, 2, 3)))
    big = images.repeat(20, 1, 4, 4)
    noise = masking.fillings(big, "noise", seed=4)
    assert torch.allclose(noise.mean((0, 2, 3)), big.mean((0, 2, 3)), atol=0.02)
    assert torch.allclose(noise.std((0, 2, 3)), big.std((0, 2, 3)), rtol=0.02)
    assert torch.equal(noise, masking.fillings(big, "noise", seed=4))
    blur = masking.fillings(images, "blur", sigma=2.0)
    assert (blur.std((2, 3)) < 0.4 * images.std((2, 3))).all()
    assert torch.allclose(masking.fillings(images * 0 + 1, "blur"), images * 0 + 1, atol=1e-5)
    assert (masking.fillings(images, "grey", constant=0.5) == 0.5).all()


def test_the_filling_can_come_from_a_reference_set(images):
    white = torch.ones(2, 3, 5, 5)
    assert torch.allclose(masking.fillings(images, "mean", reference=white), torch.ones_like(images))


@pytest.mark.parametrize("name", masking.CONTROLS)
def test_every_control_is_a_valid_ranking_that_follows_its_seed(name, images, scores):
    control = masking.controls(name, scores, seed=5, images=images)
    again = masking.controls(name, scores, seed=5, images=images)
    assert control.shape == scores.shape and control.dtype == torch.float32
    assert torch.equal(control, again)
    assert not torch.equal(control, scores)


@pytest.mark.parametrize("shape", [(12, 10), (9, 11)])
def test_blobs_keep_the_amplitude_spectrum_and_move_the_peak(shape):
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    bump = torch.exp(-((y - 3.0) ** 2 + (x - 3.0) ** 2) / 4).expand(50, *shape)
    blobs = masking.controls("blobs", bump, seed=0)
    assert torch.allclose(torch.fft.rfft2(blobs).abs(), torch.fft.rfft2(bump).abs(), atol=1e-4)
    assert len(set(blobs.flatten(1).argmax(1).tolist())) > 20


def test_centre_takes_the_centre():
    mask = masking.select(masking.controls("centre", torch.zeros(1, 9, 9), seed=0), 100 * 9 / 81, seed=0)
    assert mask[0, 3:6, 3:6].all()


def test_average_leaves_the_image_out_and_no_map_dominates():
    scores = torch.zeros(3, 2, 2)
    scores[0, 0, 0], scores[1, 0, 1], scores[2, 1, 0] = 1, 1, 1000
    average = masking.controls("average", scores, seed=0)
    assert torch.allclose(average[0], torch.tensor([[0.0, 0.5], [0.5, 0.0]]))


def test_edges_are_at_the_edge():
    images = torch.zeros(1, 3, 8, 8)
    images[..., 4:] = 1
    edges = masking.controls("edges", torch.zeros(1, 8, 8), seed=0, images=images)
    assert (edges[0, :, 3:5] > 1).all() and (edges[0, :, [0, 1, 2, 5, 6, 7]] == 0).all()


@pytest.mark.parametrize("sizes", [[1] * 7, [2, 2, 2], [5, 1, 4], [3, 3], [5, 1], [4]])
def test_other_image_is_never_the_own_image_and_if_possible_never_the_own_identity(sizes):
    identities = np.repeat([f"id{i}" for i in range(len(sizes))], sizes)
    identities = np.random.default_rng(0).permutation(identities)
    for seed in range(20):
        partner = masking.derangement(len(identities), seed, identities)
        assert sorted(partner) == list(range(len(identities)))
        assert (partner != np.arange(len(identities))).all()
        shared = (identities[partner] == identities).sum()
        assert shared == max(0, 2 * max(sizes) - len(identities)) or len(sizes) == 1
    assert not np.array_equal(masking.derangement(9, 0), masking.derangement(9, 1))


def template(classes=2):
    """A linear network that looks only at the left (class 0) or the right half (class 1) of the image."""
    weight = torch.zeros(classes, 3, 12, 10)
    weight[0, ..., :5] = 1
    weight[1, ..., 5:] = 1
    return weight


def test_curves_on_a_linear_network_whose_relevance_is_known(images):
    weight = template()
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    filling = torch.zeros_like(images)

    def predict(x):
        return torch.einsum("nchw,kchw->nk", x, weight)

    relevance = masking.rank(images * weight[labels])
    percents = [0, 10, 30, 50, 70, 100]
    run = dict(predict=predict, images=images, percents=percents, filling=filling, labels=labels, seed=0)
    most = masking.curves(scores=relevance, **run, batch_size=4)
    least = masking.curves(scores=-relevance, **run)
    assert most.correct.dims == ("mode", "percent", "image")
    full = predict(images).gather(1, labels[:, None])[:, 0].numpy()
    np.testing.assert_allclose(most.logit.sel(mode="keep", percent=100), full, rtol=1e-5)
    np.testing.assert_allclose(most.logit.sel(mode="keep", percent=50), full, rtol=1e-5)
    np.testing.assert_allclose(most.logit.sel(mode="remove", percent=50), 0, atol=1e-5)
    # What is kept and what is removed add up to the image, because all is linear and the filling is 0.
    parts = most.logit.sel(mode="keep") + most.logit.sel(mode="remove")
    np.testing.assert_allclose(parts, full[None].repeat(6, 0), rtol=1e-5)
    assert most.correct.sel(mode="keep", percent=10).all()
    gain = masking.symmetric_gain(most.probability, least.probability)
    assert (gain > 0.1).all()
    assert (masking.symmetric_gain(least.probability, most.probability) < -0.1).all()


def test_symmetric_gain_ignores_what_the_filling_adds():
    percents = np.array([0.0, 50, 100])
    most = xr.DataArray(
        np.array([[0, 0.8, 1], [1, 0.2, 0]])[..., None], dims=("mode", "percent", "image"),
        coords={"mode": ["keep", "remove"], "percent": percents},
    )  # fmt: skip
    least = most.copy(data=np.array([[0, 0.2, 1], [1, 0.8, 0]])[..., None])
    gain = masking.symmetric_gain(most, least)
    shifted = masking.symmetric_gain(most + 0.3, least + 0.3)
    np.testing.assert_allclose(gain.values, 0.3)
    np.testing.assert_allclose(shifted.values, gain.values)


def test_area_is_the_mean_height_and_needs_both_ends():
    line = xr.DataArray([0.0, 0.1, 1.0], dims="percent", coords={"percent": [0, 10, 100]})
    assert masking.area(line).item() == pytest.approx(0.5)
    assert masking.area(line[::-1]).item() == pytest.approx(0.5)
    assert masking.area(line, 0, 10).item() == pytest.approx(0.05)
    assert masking.area(line, 10, 100).item() == pytest.approx(0.55)
    for low, high in ((0, 100), (10, 0), (0, 7)):
        with pytest.raises(ValueError, match="this curve has 0, 10"):
            masking.area(line[:2], low, high)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, s: masking.rank(s, "best"), "unknown ranking 'best'"),
        (lambda i, s: masking.rank(s[0]), r"\(12, 10\)"),
        (lambda i, s: masking.select(i, 10, seed=0), r"\(N, H, W\)"),
        (lambda i, s: masking.select(s, 101, seed=0), "0..100, not 101"),
        (lambda i, s: masking.select(s, [5, -1], seed=0), "not -1"),
        (lambda i, s: masking.select(s, float("nan"), seed=0), "not nan"),
        (lambda i, s: masking.select(s.clone().fill_(torch.nan), 10, seed=0), "6 image.*NaN"),
        (lambda i, s: masking.apply(i, s > 0, "hide", i), "unknown mode 'hide'"),
        (lambda i, s: masking.apply(i, s, "keep", i), "must be bool"),
        (lambda i, s: masking.apply(i, s > 0, "keep", i[:, :1]), "shape"),
        (lambda i, s: masking.fillings(i, "black"), "unknown filling 'black'"),
        (lambda i, s: masking.fillings(i, "blur", sigma=0), "sigma"),
        (lambda i, s: masking.controls("noise", s, seed=0), "unknown control 'noise'"),
        (lambda i, s: masking.controls("edges", s, seed=0), "needs the images"),
        (lambda i, s: masking.controls("average", s[:1], seed=0), "at least 2"),
        (lambda i, s: masking.controls("other_image", s[:1], seed=0), "at least 2"),
        (lambda i, s: masking.controls("other_image", s, seed=0, identities=["a"]), "1 identities for 6"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(call, message, images, scores):
    with pytest.raises(ValueError, match=message):
        call(images, scores)
