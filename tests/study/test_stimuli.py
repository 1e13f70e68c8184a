"""Who sees which images, of drawn faces and of photographs."""

import pandas as pd
import pytest
from tiny_study import tiny_study

from study import claims, stimuli
from study.settings import ParameterError


def of_photographs(root, folder, **changes):
    names = {
        "faces": "people",
        "attribute_tables": ["genders.csv"],
        "pretrainings": {"things": "things", "others": "others"},
        "minimum_images": 6,
        "crop": 36,
        "ratings": ["ratings.csv"],
        "ratings_columns": ["one", "two", "far"],
        "ratings_names": "names.csv",
    }
    return tiny_study(root, folder, **names | changes)


def test_people_of_the_gender_test_are_in_no_training(tiny):
    people = stimuli.faces(tiny)
    frame = pd.DataFrame({name: people[name].values for name in ("identity", "gender", "group", "split")})
    tested = set(frame.query("group == 'others' and split == 'test'").identity)
    assert tested and not tested & set(frame.query("split != 'test'").identity)
    assert not tested & set(frame.query("group == 'identity'").identity)
    assert set(frame.query("group == 'others' and split == 'test'").gender) == {"female", "male"}
    identity = frame.query("group == 'identity'").groupby("identity").split.unique()
    assert all(set(splits) == {"train", "validation", "test"} for splits in identity)


def test_every_network_is_explained_on_the_same_unseen_images(tiny):
    explained = stimuli.explained(tiny)
    assert set(explained.split.values) == {"test"} and set(explained.group.values) == {"identity"}
    counts = pd.Series(explained.identity.values).value_counts()
    assert len(counts) == 4 and counts.max() - counts.min() <= 1


def test_new_people_are_in_no_training_and_no_class(tiny):
    s = tiny.but(explained_people="new")
    new, dataset = stimuli.explained(s), stimuli.faces(s)
    assert set(new.split.values) == {"test"} and set(new.group.values) == {"others"}
    seen = dataset.identity.values[dataset.split.values != "test"]
    assert not set(stimuli.people(s)) & set(seen) and not set(stimuli.people(s)) & set(stimuli.people(tiny))
    assert (stimuli.explained_inputs(s, "identity")[1] == -1).all()
    assert set(stimuli.explained_inputs(s, "gender")[1].tolist()) == {0, 1}


def test_photographs_from_folders_of_the_users_own(root, photographs):
    s = of_photographs(root, photographs)
    groups = pd.Series(stimuli.faces(s).group.values).value_counts()
    assert groups["identity"] == 32 and groups["rated"] == 4 and groups["others"] == 16
    ledger = claims.ledger(s)
    assert {record["verdict"] for record in ledger} <= {"supported", "contradicted", "inconclusive"}
    rated = next(record for record in ledger if record["id"] == "C8")
    assert rated["n"] == 15, "pairs of the six people who were rated"


def test_a_changed_photograph_changes_the_key(tmp_path, photographs):
    s = of_photographs(tmp_path, photographs)
    before = stimuli.faces.key(s)
    assert stimuli.faces.key(of_photographs(tmp_path, photographs)) == before
    path = next((photographs / "people").rglob("*.png"))
    content = path.read_bytes()
    try:
        path.write_bytes(content + b"\0")
        assert stimuli.faces.key(of_photographs(tmp_path, photographs)) != before
    finally:
        path.write_bytes(content)


def test_missing_folder_and_too_few_images_are_named(root, photographs):
    with pytest.raises(ParameterError, match="'nobody': no such file or folder"):
        of_photographs(root, photographs, faces="nobody")
    with pytest.raises(ParameterError, match=r"minimum_images=9: only 0 people"):
        of_photographs(root, photographs, minimum_images=9)
    with pytest.raises(ParameterError, match="attribute_tables: needed"):
        of_photographs(root, photographs, attribute_tables=[])
