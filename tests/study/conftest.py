"""Fixtures: one tiny study that all tests, in all processes, share the store of; photographs as a user has them."""

import itertools
import os

import pandas as pd
import pytest
from PIL import Image
from tiny_study import tiny_study

import faces


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Folder of the store; the processes of one test run share it, as two builds would."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "store"


@pytest.fixture(scope="session")
def tiny(root):
    return tiny_study(root)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder as a user would have one: people, things, genders and ratings."""
    folder = tmp_path_factory.mktemp("photographs")
    drawn = faces.make_faces(14, 8, 40, seed=5)
    rows = []
    for k, (who, gender) in enumerate(zip(drawn.identity.values, drawn.gender.values, strict=True)):
        if int(who[-2:]) >= 4 and k % 8 >= 2:
            continue  # four people with many images, ten with two
        path = folder / "people" / who / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.pixels.values[k].transpose(1, 2, 0)).save(path)
        rows.append({"identity": who, "file": path.name, "gender": gender})
    pd.DataFrame(rows).to_csv(folder / "genders.csv", index=False)
    for name, things in (
        ("things", faces.make_objects(6, 40, 0, 3)),
        ("others", faces.make_faces(3, 6, 40, 99)),
    ):
        for k, label in enumerate(things.identity.values):
            path = folder / name / str(label) / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(things.pixels.values[k].transpose(1, 2, 0)).save(path)
    rated = sorted({row["identity"] for row in rows})[:6]
    pairs = [
        {"one": f"{a}.jpg", "two": f"{b}.jpg", "far": 1 + k % 5}
        for k, (a, b) in enumerate(itertools.combinations(rated, 2))
    ]
    pd.DataFrame(pairs).to_csv(folder / "ratings.csv", index=False)
    names = [{"stimulus": f"{name}.jpg", "identity": name} for name in rated]
    pd.DataFrame(names).to_csv(folder / "names.csv", index=False)
    return folder
