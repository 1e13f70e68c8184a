"""Procedural objects: reproducible, at least 20 classes, told apart by shape rather than by colour."""

import numpy as np
import pytest
import torch

from faces import make_objects
from faces.drawing import grid
from faces.objects import CLASSES
from faces.outlines import either
from faces.shapes import Draw


@pytest.fixture(scope="module")
def objects():
    return make_objects(12, 48, seed=0)


def test_the_dataset_says_what_it_holds(objects):
    images = 12 * len(CLASSES)
    assert objects["pixels"].dtype == np.uint8
    assert objects["pixels"].dims == ("image", "channel", "y", "x")
    assert objects["pixels"].shape == (images, 3, 48, 48)
    assert list(dict.fromkeys(objects["identity"].values)) == list(CLASSES)
    assert len(set(objects["name"].values)) == images
    assert objects["name"].values[13] == f"{list(CLASSES)[1]}/0001"


def test_there_are_at_least_twenty_classes_and_fewer_on_request(objects):
    assert len(set(objects["identity"].values)) >= 20
    three = make_objects(12, 48, seed=0, classes=3)
    assert three.equals(objects.isel(image=slice(0, 36)))


@pytest.mark.parametrize("size", [33, 48])
def test_asking_for_more_changes_nothing_of_what_was_there(size):
    few, more = make_objects(2, size, 4, classes=4), make_objects(5, size, 4, classes=4)
    assert few.equals(more.isel(image=[0, 1, 5, 6, 10, 11, 15, 16]))
    assert not np.array_equal(few["pixels"], make_objects(2, size, 5, classes=4)["pixels"])


def test_images_of_a_class_differ(objects):
    pixels = objects["pixels"].values.reshape(len(CLASSES), 12, -1).astype(int)
    for images in pixels:
        distance = np.abs(images[:, None] - images[None]).mean(2)
        assert distance[~np.eye(12, dtype=bool)].min() > 5


def test_colours_do_not_give_the_class_away():
    train, test = (make_objects(40, 24, seed=s, classes=20) for s in (1, 2))

    def colours(dataset):
        pixels = dataset["pixels"].values / 255.0
        return np.hstack([pixels.mean((2, 3)), pixels[:, :, 8:16, 8:16].mean((2, 3))])

    distance = ((colours(test)[:, None] - colours(train)[None]) ** 2).sum(2)
    nearest = train["identity"].values[distance.argmin(1)]
    assert np.mean(nearest == test["identity"].values) < 0.15  # chance is 0.05


@pytest.mark.parametrize("label", list(CLASSES))
def test_every_class_has_a_silhouette_of_its_own(label):
    def silhouette(name):
        table = torch.full((1, 24), 0.5)
        x, y = grid(64)
        return either(*(distance for distance, *_ in CLASSES[name](x, y, Draw(table))))[0] < 0

    own = silhouette(label)
    assert 0.02 < own.float().mean() < 0.85
    for other in CLASSES:
        if other != label:
            shape = silhouette(other)
            assert (own & shape).sum() / (own | shape).sum() < 0.93, other


def test_a_size_too_small_to_draw_is_named():
    with pytest.raises(ValueError, match="size must be at least 16"):
        make_objects(1, 15, 0)
