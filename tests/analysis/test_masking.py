"""Masking: exactly the stated pixels change, fillings and curves are what they claim to be."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

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
    assert (masking.fillings(images, "grey") == 0).all()


@pytest.mark.parametrize("shape", [(12, 10), (32, 32), (9, 40)])
def test_blur_is_a_gaussian_of_an_eighth_of_the_width_with_reflected_borders(shape):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    blur, sigma = masking.fillings(images, "blur"), shape[1] / 8
    radius = min(math.ceil(3 * sigma), shape[0] - 1, shape[1] - 1)
    expected = gaussian_filter(images.double().numpy(), (0, 0, sigma, sigma), mode="mirror", radius=radius)
    np.testing.assert_allclose(blur.numpy(), expected, atol=1e-6)


def test_the_filling_can_come_from_a_reference_set(images):
    white = torch.ones(2, 3, 5, 5)
    assert torch.allclose(masking.fillings(images, "mean", reference=white), torch.ones_like(images))


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
    used = [10, 30, 50]
    ahead = masking.area(most.probability.sel(percent=used)) - masking.area(
        least.probability.sel(percent=used)
    )
    assert (ahead.sel(mode="keep") > 0.1).all() and (ahead.sel(mode="remove") < -0.1).all()


def test_every_doubling_of_the_percent_counts_alike():
    percents = [2.5, 5.0, 10.0, 20.0, 40.0]
    rising = xr.DataArray([0.0, 0.25, 0.5, 0.75, 1.0], dims="percent", coords={"percent": percents})
    assert masking.area(rising).item() == pytest.approx(0.5)
    assert masking.area(rising[::-1]).item() == pytest.approx(0.5)
    late = xr.DataArray([0.0, 0.0, 0.0, 0.0, 1.0], dims="percent", coords={"percent": percents})
    assert masking.area(late).item() == pytest.approx(1 / 8)  # over percents as they are, it would be 0.27
    between = xr.DataArray([0.0, 0.75, 1.0], dims="percent", coords={"percent": [2.5, 20.0, 40.0]})
    assert masking.area(between).item() == pytest.approx(0.5)
    assert masking.area(late[-1:]).item() == 1
    with pytest.raises(ValueError, match="above 0, not 0"):
        masking.area(late.assign_coords(percent=[0.0, 5.0, 10.0, 20.0, 40.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, s: masking.rank(s, "best"), "unknown ranking 'best'"),
        (lambda i, s: masking.select(i, 10, seed=0), r"\(N, H, W\)"),
        (lambda i, s: masking.select(s, 101, seed=0), "0..100, not 101"),
        (lambda i, s: masking.select(s, [5, -1], seed=0), "not -1"),
        (lambda i, s: masking.select(s, float("nan"), seed=0), "not nan"),
        (lambda i, s: masking.select(s.clone().fill_(torch.nan), 10, seed=0), "6 image.*NaN"),
        (lambda i, s: masking.apply(i, s > 0, "hide", i), "unknown mode 'hide'"),
        (lambda i, s: masking.fillings(i, "black"), "unknown filling 'black'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(call, message, images, scores):
    with pytest.raises(ValueError, match=message):
        call(images, scores)
