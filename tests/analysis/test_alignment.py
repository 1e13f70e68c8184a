"""The average of maps laid on each face by its landmarks."""

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform

from analysis import alignment

CORNERS = np.array([[20.0, 20.0], [40.0, 20.0], [30.0, 42.0], [30.0, 30.0]])


def blobs(centres):
    """A bright spot at each (x, y), `(N, 64, 64)`."""
    y, x = np.mgrid[:64, :64]
    spots = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18) for cx, cy in centres]
    return torch.tensor(np.array(spots), dtype=torch.float32)


def test_what_lies_at_one_place_of_every_face_comes_back_to_that_place():
    rng = np.random.default_rng(0)
    moves = [
        SimilarityTransform(scale=s, rotation=r, translation=t)
        for s, r, t in zip(
            rng.uniform(0.8, 1.2, 8), rng.uniform(-0.3, 0.3, 8), rng.uniform(-6, 6, (8, 2)), strict=True
        )
    ]
    centre = np.array([[32.0, 32.0]])
    landmarks = np.array([(move(CORNERS - centre) + centre) for move in moves])
    mouths = np.array([(move(CORNERS[2:3] - centre) + centre)[0] for move in moves])
    shared = alignment.average_aligned(blobs(mouths), landmarks)
    assert shared.shape == (8, 64, 64) and shared.dtype == torch.float32
    for one, (x, y) in zip(shared, mouths, strict=True):
        highest = np.unravel_index(int(one.argmax()), one.shape)
        assert np.hypot(highest[1] - x, highest[0] - y) < 1.5
    unaligned = (blobs(mouths).sum(0) - blobs(mouths)) / 7
    assert shared.amax((1, 2)).mean() > 2 * (unaligned / blobs(mouths).sum((1, 2)).mean()).amax((1, 2)).mean()


def test_the_image_itself_has_no_part_in_its_average():
    landmarks = np.broadcast_to(CORNERS, (3, 4, 2))
    maps = blobs([(10, 10), (50, 10), (50, 10)])
    first = alignment.average_aligned(maps, landmarks)[0]
    np.testing.assert_allclose(first, maps[1] / maps[1].sum(), atol=1e-6)
    maps[0] = torch.rand(64, 64)
    np.testing.assert_allclose(first, alignment.average_aligned(maps, landmarks)[0], atol=1e-7)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input_is_one_clear_error():
    line = np.stack([np.arange(4.0), np.arange(4.0)], 1)
    with pytest.raises(ValueError, match="at least 2 images"):
        alignment.average_aligned(blobs([(10, 10)]), CORNERS[None])
    with pytest.raises(ValueError, match="image 1 fit no transform"):
        alignment.average_aligned(blobs([(10, 10)] * 2), np.stack([CORNERS, line]))
