"""The network is torchvision's, at any size and width; its copies change what they say and nothing else."""

import pytest
import torch
import torchvision
from torch import nn

from study.vgg import (
    merge_batch_norm,
    new_classifier,
    normalise,
    randomise,
    sequential,
    vgg16,
)

SMALL = {"width": 1 / 16, "size": 32, "hidden": 24}


def images(n: int = 4, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def assert_same_state(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("batch_norm", [False, True])
def test_full_size_network_is_torchvisions(batch_norm):
    ours = vgg16(1000, batch_norm=batch_norm, seed=3).eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    with torch.device("meta"):
        theirs = (torchvision.models.vgg16_bn if batch_norm else torchvision.models.vgg16)(weights=None)
    theirs.load_state_dict(ours.state_dict(), assign=True)
    ours.load_state_dict(theirs.state_dict())
    x = images(1, 224)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("size", "side"), [(32, 1), (63, 1), (64, 2), (100, 3), (224, 7), (256, 7)], ids=lambda value: str(value)
)
def test_any_size_from_32_pixels(size, side):
    model = vgg16(5, width=1 / 16, size=size, hidden=8).eval()
    assert model.classifier[0].in_features == 32 * side * side
    with torch.inference_mode():
        assert model(images(2, size)).shape == (2, 5)


def test_width_multiplies_channels_and_hidden():
    model = vgg16(7, width=0.25, size=64)
    channels = [layer.out_channels for layer in model.features if isinstance(layer, nn.Conv2d)]
    assert channels == [16, 16, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128]
    assert [layer.out_features for layer in model.classifier if isinstance(layer, nn.Linear)] == [
        1024,
        1024,
        7,
    ]


def test_seed_alone_fixes_the_weights():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = vgg16(5, batch_norm=True, seed=4, **SMALL)
    assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
    torch.manual_seed(2)
    assert_same_state(first.state_dict(), vgg16(5, batch_norm=True, seed=4, **SMALL).state_dict())
    other = vgg16(5, batch_norm=True, seed=5, **SMALL)
    assert not torch.equal(first.features[0].weight, other.features[0].weight)


def test_signal_reaches_the_logits_of_a_small_network():
    """Standard deviation 0.01 whatever the number of inputs left narrow networks unable to start learning."""
    logits = vgg16(50, width=0.25, size=64, batch_norm=True)(images(6, 64))
    assert 0.5 < logits.std().item() < 1.2, "the full-size network has 0.77"


def test_initial_scale_is_torchvisions():
    model = vgg16(1000, width=0.5, size=64)
    weight = model.features[10].weight
    assert weight.std().item() == pytest.approx((2 / (weight.shape[0] * 9)) ** 0.5, rel=0.02)
    assert vgg16(9, width=1 / 16, hidden=4096).classifier[3].weight.std().item() == pytest.approx(
        0.01, rel=0.02
    )
    assert not any(layer.bias.any() for layer in model.classifier if isinstance(layer, nn.Linear))


def test_normalise_matches_torchvision():
    pixels = torch.randint(
        0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    expected = torchvision.models.VGG16_Weights.IMAGENET1K_V1.transforms(crop_size=8, resize_size=8)(pixels)
    torch.testing.assert_close(normalise(pixels), expected)
    torch.testing.assert_close(normalise(pixels.float()), expected)
    torch.testing.assert_close(normalise(pixels[0]), expected[0])
    assert normalise(pixels.double()).dtype == torch.float32


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(8, 8),
        torch.zeros(2, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(2, 3, 8, 8, dtype=torch.int64),
        torch.full((2, 3, 8, 8), -0.5),
        torch.full((2, 3, 8, 8), 256.0),
        torch.full((2, 3, 8, 8), float("nan")),
    ],
    ids=["grey", "no channels", "channels last", "int64", "negative", "too bright", "nan"],
)
def test_normalise_refuses_what_is_not_an_image(pixels):
    with pytest.raises(ValueError, match="pixels"):
        normalise(pixels)


def test_merged_batch_norm_gives_the_same_outputs():
    model = vgg16(5, batch_norm=True, **SMALL)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.weight, -1.5, 1.5),
                    (module.bias, -0.5, 0.5),
                    (module.running_mean, -1, 1),
                    (module.running_var, 0.2, 3),
                ):
                    tensor.uniform_(low, high, generator=generator)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merged = merge_batch_norm(model)
    x = images()
    with torch.inference_mode():
        torch.testing.assert_close(merged(x), model.eval()(x), rtol=1e-4, atol=1e-5)
    assert merged(x).std() > 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in merged.modules())
    assert not merged.training
    assert_same_state(before, model.state_dict())


def test_merging_a_network_without_batch_norm_copies_it():
    model = vgg16(5, **SMALL)
    merged = merge_batch_norm(model)
    assert_same_state(merged.state_dict(), model.state_dict())
    merged.features[0].weight.data.zero_()
    assert model.features[0].weight.any()


def test_sequential_is_flat_and_shares_weights():
    model = merge_batch_norm(vgg16(5, batch_norm=True, **SMALL))
    flat = sequential(model)
    assert not any(list(module.children()) for module in flat)
    x = images()
    assert torch.equal(flat(x), model(x))
    assert flat[0].weight is model.features[0].weight
    assert not flat.training


def test_new_classifier_has_three_new_layers_and_the_old_convolutions():
    """With the last layer alone, networks of one pretraining were too alike."""
    model = vgg16(5, batch_norm=True, **SMALL)
    changed = new_classifier(model, 3, seed=1)
    assert changed.architecture.classes == 3
    assert changed.eval()(images()).shape == (4, 3)
    kept = {k: v for k, v in changed.state_dict().items() if not k.startswith("classifier")}
    assert_same_state(kept, {k: v for k, v in model.state_dict().items() if k in kept})
    again, other = (new_classifier(model, 3, seed=seed).classifier for seed in (1, 2))
    for layer in (0, 3, 6):
        assert torch.equal(changed.classifier[layer].weight, again[layer].weight)
        assert not torch.equal(changed.classifier[layer].weight, other[layer].weight)
        assert layer == 6 or not torch.equal(changed.classifier[layer].weight, model.classifier[layer].weight)
    changed.features[0].weight.data.zero_()
    assert model.features[0].weight.any(), "the copy shares weights with the original"


def test_randomised_network_keeps_each_layers_scale():
    model = merge_batch_norm(vgg16(5, batch_norm=True, width=0.25, size=32, seed=1))
    model.features[2].weight.data *= 7
    random = randomise(model, seed=0)
    for (name, learned), drawn in zip(model.named_parameters(), random.parameters(), strict=True):
        if learned.ndim > 1 and learned.numel() > 2000:
            assert drawn.square().mean().sqrt().item() == pytest.approx(
                learned.square().mean().sqrt().item(), rel=0.1
            ), name
            assert not torch.equal(drawn, learned)
    assert_same_state(random.state_dict(), randomise(model, seed=0).state_dict())
    with torch.inference_mode():
        assert random(images()).std(0).min() > 0, "the outputs must depend on the image"


def test_randomise_asks_for_merged_batch_norm():
    with pytest.raises(ValueError, match="merge"):
        randomise(vgg16(5, batch_norm=True, **SMALL), seed=0)
