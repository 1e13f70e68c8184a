"""Training learns, is exact in what it repeats and freezes, and names data it cannot use."""

import numpy as np
import pytest
import torch
from torch import nn

from study import parallel, vgg
from study.training import Muon, accuracy, predict, train
from study.vgg import new_classifier, normalise, sequential, vgg16

CLASSES = 3
EPOCHS = 2
SETTINGS = {"samples": EPOCHS * 48, "batch_size": 8, "learning_rate": 1e-3, "weight_decay": 0.01, "seed": 0}


@pytest.fixture(scope="module")
def data():
    """Noisy pictures in which the class is the colour that dominates."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(48) % CLASSES
    pixels = torch.randint(0, 120, (48, 3, 32, 32), generator=generator)
    pixels[torch.arange(48), labels] += 100
    return pixels.to(torch.uint8), labels


def network(batch_norm: bool = True, **options):
    return vgg16(CLASSES, width=1 / 16, size=32, hidden=16, batch_norm=batch_norm, **options)


def copy_of(model: nn.Module) -> dict:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict, after: dict) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_learns_an_easy_task(data):
    model = network(dropout=0.0)
    history = train(model, *data, **SETTINGS | {"samples": 12 * 48, "learning_rate": 5e-3}, validation=data)
    assert accuracy(model, *data) > 0.95
    assert history.columns.tolist() == [
        "images",
        "train_loss",
        "train_accuracy",
        "validation_accuracy",
        "seconds",
    ]
    assert history["images"].tolist() == [112, 224, 344, 456, 576]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert history["validation_accuracy"].iloc[-1] == accuracy(model, *data)
    assert not model.training


@pytest.mark.parametrize(
    "options", [{}, {"augment": True}, {"bfloat16": True}, {"scope": "classifier"}], ids=str
)
def test_same_seed_same_weights_whatever_the_global_generator(data, options):
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        model = network(seed=5)
        history = train(model, *data, **SETTINGS, **options)
        assert torch.equal(torch.get_rng_state(), before), "the global generator was left changed"
        results.append((copy_of(model), history.drop(columns="seconds")))
    assert not changed(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_seed_changes_order_and_dropout(data):
    weights = []
    for seed in (0, 1):
        model = network()
        train(model, *data, **SETTINGS | {"seed": seed})
        weights.append(copy_of(model))
    assert "classifier.6.weight" in changed(*weights)


def test_validation_only_reports(data):
    with_it, without = network(), network()
    train(with_it, *data, **SETTINGS, validation=(data[0][:5], data[1][:5]))
    history = train(without, *data, **SETTINGS)
    assert not changed(copy_of(with_it), copy_of(without))
    assert history["validation_accuracy"].isna().all()


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize(
    ("scope", "learning"),
    [
        ("classifier", ("classifier",)),
        (
            "last_block",
            ("classifier", *(f"features.{layer}" for layer in (34, 35, 37, 38, 40, 41))),
        ),
        ("all", ("",)),
    ],
)
def test_scope_freezes_everything_else(data, scope, learning, augment):
    model = network()
    train(model, *data, **SETTINGS)
    before = copy_of(model)
    train(model, *data, **SETTINGS, scope=scope, augment=augment)
    should_change = {name for name in before if name.startswith(learning)}
    assert changed(before, copy_of(model)) == should_change


def test_frozen_trunk_leaves_no_gradients(data):
    model = network()
    train(model, *data, **SETTINGS, scope="classifier")
    assert all(parameter.grad is None for parameter in model.features.parameters())


def test_precomputed_trunk_gives_what_running_it_every_step_gives(data):
    """Training the classifier on stored features is the same as with the trunk in the loop."""
    model = new_classifier(network(seed=1), CLASSES, seed=2)
    train(model, *data, **SETTINGS, scope="classifier")

    reference = new_classifier(network(seed=1), CLASSES, seed=2).eval()
    trunk, head = sequential(reference)[:-7], reference.classifier.train()
    weights, biases = ([p for p in head.parameters() if p.ndim == n] for n in (2, 1))
    optimiser = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.01}, {"params": biases, "weight_decay": 0.0}]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=12)
    order = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for _ in range(EPOCHS):
        for batch in torch.randperm(48, generator=order).tensor_split(6):
            with torch.no_grad():
                features = trunk(normalise(data[0][batch]))
            loss = nn.functional.cross_entropy(head(features), data[1][batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    torch.testing.assert_close(model.classifier[6].weight, reference.classifier[6].weight)


def test_augmentation_moves_images_but_keeps_them(data):
    from study.training import _augment

    column = torch.zeros(200, 3, 32, 32)
    column[:, :, 12:20, 4:12] = 1
    moved = _augment(column, torch.Generator().manual_seed(0))
    centre = (moved.mean((1, 2)) * torch.arange(32)).sum(1) / moved.mean((1, 2)).sum(1)
    assert moved.shape == column.shape
    mirrored = centre > 16
    assert 60 < mirrored.sum() < 140
    # The square's centre is at column 7.5, so 23.5 when mirrored; shift 2 pixels, scale 8 % at most.
    assert ((torch.where(mirrored, 31 - centre, centre) - 7.5).abs() < 3).all()
    assert (torch.where(mirrored, 31 - centre, centre) - 7.5).std() > 0.5
    assert (moved.mean((1, 2, 3)) / column.mean((1, 2, 3)) - 1).abs().max() < 0.25


@pytest.mark.parametrize("n", [2, 7, 9, 48])
def test_any_number_of_images_and_batch_size(data, n):
    model = network()
    train(model, data[0][:n], data[1][:n], **SETTINGS | {"samples": 1})
    assert predict(model, data[0]).isfinite().all()


def test_training_can_go_on_after_evaluation(data):
    model = network()
    predict(model, data[0])
    train(model, *data, **SETTINGS)
    assert model.features[1].running_mean.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y + 1), r"training labels hold 3; the network's classes are 0\.\.2"),
        (lambda x, y: (x, y - 1), "training labels hold -1"),
        (lambda x, y: (x[:0], y[:0]), "training split is empty"),
        (lambda x, y: (x, torch.full_like(y, 2)), "all training labels are 2"),
    ],
    ids=["high", "negative", "empty", "one class"],
)
def test_unusable_data_is_named(data, change, message):
    with pytest.raises(ValueError, match=message):
        train(network(), *change(*data), **SETTINGS)


def test_unusable_validation_is_named(data):
    with pytest.raises(ValueError, match="the validation split is empty"):
        train(network(), *data, **SETTINGS, validation=(data[0][:0], data[1][:0]))


def test_diverging_loss_stops_and_names_the_learning_rate(data):
    with pytest.raises(ValueError, match=r"loss is (nan|inf).*learning_rate 1e\+30"):
        train(network(batch_norm=False), *data, **SETTINGS | {"learning_rate": 1e30, "samples": 5 * 48})


def test_predict_does_not_depend_on_batches_or_mode(data, monkeypatch):
    model = network()
    whole = predict(model, data[0])
    monkeypatch.setattr(vgg, "AT_ONCE", 7 * 32 * 32)
    assert [len(part) for part in vgg.portions(data[0])] == [7] * 6 + [6] and len(
        vgg.portions(data[0], 4)
    ) == 12
    assert whole.shape == (48, CLASSES)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(predict(model.train(), data[0]), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(predict(model, normalise(data[0]), normalised=True), whole, rtol=0, atol=0)
    assert predict(sequential(model)[:-1], data[0]).shape == (48, 16)


@pytest.mark.parametrize(("samples", "steps"), [(3, 1), (10, 1), (48, 6), (71, 9), (73, 9), (480, 60)])
def test_samples_are_rounded_to_whole_batches(data, samples, steps):
    """With whole epochs, sets of different sizes were shown different numbers of images."""
    taken = []
    history = train(network(), *data, **SETTINGS | {"samples": samples}, after_step=taken.append)
    assert len(taken) == steps and taken[-1] == 1 and len(history) == min(steps, 5)
    assert history.train_loss.between(0.1, 10).all()


def test_progress_is_told_of_all_samples(data, monkeypatch):
    told = []
    monkeypatch.setattr(parallel, "progress", told.append)
    train(network(), *data, **SETTINGS | {"samples": 100})
    assert sum(told) == pytest.approx(100) and len(told) == 5


def test_muon_turns_gradients_into_steps_of_equal_size_in_all_directions():
    torch.manual_seed(0)
    singular = torch.logspace(0, -2, 8)
    left, right = torch.linalg.qr(torch.randn(8, 8))[0], torch.linalg.qr(torch.randn(27, 8))[0]
    gradient = (left * singular) @ right.T
    kernel = torch.nn.Parameter(torch.zeros(8, 3, 3, 3))
    kernel.grad = gradient.view_as(kernel).clone()
    Muon([kernel], lr=0.1, weight_decay=0.0).step()
    sizes = torch.linalg.svdvals(kernel.detach().flatten(1)) / (0.1 * 0.2 * 27**0.5)
    assert sizes.max() < 1.3 and sizes[:3].min() > 0.5 and (kernel.detach().flatten(1) * gradient).sum() < 0


def test_muon_learns_too(data):
    model = network(dropout=0.0)
    train(model, *data, **SETTINGS | {"samples": 12 * 48, "learning_rate": 5e-3}, muon=True)
    assert accuracy(model, *data) > 0.95
