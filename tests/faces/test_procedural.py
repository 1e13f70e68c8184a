"""Procedural faces: reproducible, varied, with parts, landmarks and factors that agree with the pixels."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from faces import FACTORS, PART_FACTORS, contact_sheet, make_faces, render, swap_parts
from faces.factors import PARTS, VIEWS, sample_identities, sample_views

SIZE = 64


@pytest.fixture(scope="module")
def faces():
    return make_faces(24, 3, SIZE, seed=0)


def part(dataset, name):
    return dataset["parts"].values == dataset.attrs["parts"].index(name)


def test_the_dataset_says_what_it_holds(faces):
    assert faces["pixels"].dtype == np.uint8
    assert faces["pixels"].dims == ("image", "channel", "y", "x")
    assert faces["pixels"].shape == (72, 3, SIZE, SIZE)
    assert faces["parts"].dtype == np.uint8
    assert faces["factors"].shape == (72, len(FACTORS))
    assert faces["views"].shape == (72, len(VIEWS))
    assert len(set(faces["name"].values)) == 72
    assert faces["name"].values[4] == "id0001/01"
    assert np.all(faces["identity"].values == [name[:6] for name in faces["name"].values])
    assert sorted(set(faces["gender"].values)) == ["female", "male"]


def test_same_seed_same_faces_and_another_seed_others():
    first, again, other = (make_faces(3, 2, 32, seed=s) for s in (5, 5, 6))
    assert first.equals(again)
    assert not np.array_equal(first["pixels"], other["pixels"])
    assert not np.array_equal(first["factors"], other["factors"])


@pytest.mark.parametrize("size", [33, SIZE])
def test_asking_for_more_changes_nothing_of_what_was_there(size):
    few, more = make_faces(3, 2, size, seed=1), make_faces(5, 4, size, seed=1)
    kept = more.isel(image=[0, 1, 4, 5, 8, 9])
    assert few.drop_attrs().equals(kept.drop_attrs())
    later = make_faces(2, 4, size, seed=1, first_identity=3)
    assert later.drop_attrs().equals(more.isel(image=slice(12, 20)).drop_attrs())


def test_pixels_do_not_depend_on_the_number_of_threads():
    threads = torch.get_num_threads()
    try:
        pictures = []
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            pictures.append(make_faces(5, 2, 50, seed=2)["pixels"].values)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])


def test_render_reproduces_the_dataset_row_by_row(faces):
    rows = [40, 3]
    picture = render(faces["factors"].values[rows], faces["views"].values[rows], SIZE, faces.attrs["seed"])
    assert np.array_equal(picture.pixels, faces["pixels"].values[rows])
    assert np.array_equal(picture.parts, faces["parts"].values[rows])
    assert np.array_equal(picture.landmarks, faces["landmarks"].values[rows])


def test_genders_differ_as_stated_and_overlap():
    factors, gender = sample_identities(3000, seed=3)
    male = gender == "male"
    assert abs(male.mean() - 0.5) < 0.001
    difference = factors[male].mean(0) - factors[~male].mean(0)
    stated = np.array([f.shift for f in FACTORS])
    assert np.abs(difference - stated).max() < 0.15
    assert np.abs(factors[male].std(0) - 1).max() < 0.08
    for column in factors.T:
        threshold = (column[male].mean() + column[~male].mean()) / 2
        accuracy = np.mean((column > threshold) == male)
        assert max(accuracy, 1 - accuracy) < 0.90
    assert (stated != 0).sum() >= 8


def test_planted_evidence_leaves_the_other_parts_without_gender():
    factors, gender = sample_identities(2000, seed=4, evidence=["brows"])
    male = gender == "male"
    difference = factors[male].mean(0) - factors[~male].mean(0)
    for factor, d in zip(FACTORS, difference, strict=True):
        assert abs(d - (factor.shift if factor.part == "brows" else 0.0)) < 0.2
    noshift, _ = sample_identities(2000, seed=4, shift=0.0)
    assert np.abs(noshift[male].mean(0) - noshift[~male].mean(0)).max() < 0.2


def test_neither_gender_nor_identity_can_be_read_off_the_raw_pixels():
    def features(dataset):
        x = dataset["pixels"].values.reshape(dataset.sizes["image"], -1) / 127.5 - 1
        return np.hstack([x, np.ones((len(x), 1))])

    train, test = make_faces(200, 2, 24, seed=8), make_faces(150, 1, 24, seed=8, first_identity=500)
    x, target = features(train), np.where(train["gender"] == "male", 1.0, -1.0)
    weights = x.T @ np.linalg.solve(x @ x.T + 100.0 * np.eye(len(x)), target)
    accuracy = np.mean((features(test) @ weights > 0) == (test["gender"].values == "male"))
    assert 0.6 < accuracy < 0.95


def test_every_part_is_in_every_picture(faces):
    for name in faces.attrs["parts"]:
        assert part(faces, name).sum((1, 2)).min() > 0, name


def test_parts_lie_where_the_landmarks_are(faces):
    names = list(faces["landmark"].values)
    ys, xs = np.mgrid[:SIZE, :SIZE]

    def centre(mask):
        n = mask.sum((1, 2))
        return np.stack([(mask * xs).sum((1, 2)) / n, (mask * ys).sum((1, 2)) / n], 1)

    def at(name):
        return faces["landmarks"].values[:, names.index(name)]

    plain = faces["factors"].sel(factor="glasses").values < 1
    eyes = (at("left_eye") + at("right_eye")) / 2
    assert np.abs(centre(part(faces, "eyes")) - eyes)[plain].max() < 2
    brows = [at(f"{side}_brow_{end}") for side in ("left", "right") for end in ("inner", "outer")]
    assert np.abs(centre(part(faces, "brows")) - np.mean(brows, 0)).max() < 3
    assert np.abs(centre(part(faces, "mouth")) - at("mouth")).max() < 3
    assert np.abs(centre(part(faces, "nose"))[:, 0] - at("nose_tip")[:, 0]).max() < 3
    for side in ("left", "right"):
        x, y = np.round(at(f"{side}_eye")).astype(int).T
        assert np.mean(part(faces, "eyes")[np.arange(72), y, x]) > 0.97
    x, y = np.round(at("nose_tip")).astype(int).T
    assert part(faces, "nose")[np.arange(72), y, x].all()
    x, y = np.round(at("chin")).astype(int).T
    assert part(faces, "jaw")[np.arange(72), np.clip(y - 2, 0, SIZE - 1), x].mean() > 0.95
    assert (at("left_eye")[:, 0] < at("right_eye")[:, 0]).all()


@pytest.mark.parametrize("name", list(PART_FACTORS))
def test_swapping_a_part_changes_that_part(faces, name):
    factors, views = faces["factors"].values, faces["views"].values
    swapped = swap_parts(factors, np.roll(factors, 9, 0), [name])
    picture = render(swapped, views, SIZE, faces.attrs["seed"])
    index = faces.attrs["parts"].index(name)
    either = (faces["parts"].values == index) | (picture.parts.numpy() == index)
    near = np.stack([binary_dilation(mask, iterations=3) for mask in either])
    change = np.abs(picture.pixels.numpy().astype(int) - faces["pixels"].values).sum(1)
    assert (change * near).sum() > 0.8 * change.sum()
    assert (change * either).sum((1, 2)).min() > 0
    columns = [f.part != name for f in FACTORS]
    assert np.array_equal(swapped[:, columns], factors[:, columns])


def test_brows_leave_distant_pixels_exactly_as_they_were(faces):
    factors = faces["factors"].values
    picture = render(swap_parts(factors, np.roll(factors, 9, 0), ["brows"]), faces["views"].values, SIZE, 0)
    changed = (picture.pixels.numpy() != faces["pixels"].values).any(1)
    brows = part(faces, "brows") | (picture.parts.numpy() == faces.attrs["parts"].index("brows"))
    near = np.stack([binary_dilation(mask, iterations=12) for mask in brows])
    assert near.mean() < 0.4
    assert not changed[~near].any()


def test_views_of_one_person_differ_within_their_limits():
    views = sample_views(50, 2, seed=0)
    for view, column in zip(VIEWS, views.T, strict=True):
        assert view.low <= column.min() < column.max() <= view.high
    pixels = make_faces(2, 4, 32, seed=0)["pixels"].values.astype(int)
    distance = np.abs(pixels[:, None] - pixels[None]).mean((2, 3, 4))
    assert distance[~np.eye(8, dtype=bool)].min() > 5


def test_a_factor_changes_the_picture_as_it_says():
    factors, _ = sample_identities(4, seed=1)
    factors[:, [f.name for f in FACTORS].index("hair_length")] = [-2, -1, 1, 2]
    picture = render(factors, sample_views(4, 1, seed=1), 48, 1)
    hair = (picture.parts.numpy() == PARTS.index("hair")).sum((1, 2))
    assert hair[3] > 1.5 * hair[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": 15}, "size must be at least 16"),
        ({"size": -64}, "size must be at least 16"),
        ({"evidence": ["ears"]}, "unknown part 'ears'"),
        ({"evidence": "brows"}, "unknown part 'b'"),
        ({"identities": 0}, "images"),
        ({"seed": -1}, "non-negative"),
    ],
)
def test_a_bad_argument_is_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        make_faces(**{"identities": 2, "views": 1, "size": 32, "seed": 0} | arguments)


def test_render_and_swap_refuse_tables_of_the_wrong_shape():
    factors, _ = sample_identities(2, seed=0)
    views = sample_views(2, 1, seed=0)
    with pytest.raises(ValueError, match="views"):
        render(factors, views[:1], 32, 0)
    with pytest.raises(ValueError, match="factors"):
        render(factors[:, 1:], views, 32, 0)
    with pytest.raises(ValueError, match="finite"):
        render(factors * np.nan, views, 32, 0)
    with pytest.raises(ValueError, match="shape"):
        swap_parts(factors, factors[:1], ["nose"])
    with pytest.raises(ValueError, match="unknown part"):
        swap_parts(factors, factors, ["noses"])


def test_extreme_factors_still_draw_a_face():
    factors, _ = sample_identities(2, seed=0)
    picture = render(np.sign(factors) * 1e6, sample_views(2, 1, seed=0), 48, 0)
    assert all(len(np.unique(labels)) >= 6 for labels in picture.parts.numpy())
    assert picture.pixels.float().std() > 10


def test_contact_sheet_keeps_the_order(faces):
    sheet = np.asarray(contact_sheet(faces.isel(image=slice(0, 5)), columns=3))
    assert sheet.shape == (2 * SIZE, 3 * SIZE, 3)
    fifth = faces["pixels"].values[4].transpose(1, 2, 0)
    assert np.array_equal(sheet[SIZE:, SIZE : 2 * SIZE], fifth)
