"""Anybody's faces: who goes where is decided, told and checked before anything is computed."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_study import tiny_study

from study import claims, design, explorer, humans, models, parameters, relevance, stimuli
from study.settings import ParameterError

NOTHING = {"pretrainings": {"none": "none"}, "depths": None}
GENDERS = ("female", "male")


def write(path, seed: int):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve people with ten photographs each; CelebA's and FairFace's layouts; all tiny."""
    folder = tmp_path_factory.mktemp("data")
    for person in range(12):
        for k in range(10):
            write(folder / "people" / f"p{person}" / f"{k}.jpg", 10 * person + k)
    rows = [f"p{n},{GENDERS[n % 2]}" for n in range(12)]
    (folder / "genders.csv").write_text("\n".join(["identity,gender", *rows]))
    (folder / "women.csv").write_text("\n".join(["identity,gender", *(f"p{n},f" for n in range(12))]))
    names = [f"{k:06}.jpg" for k in range(60)]
    for k, name in enumerate(names):
        write(folder / "celeba" / "img_align_celeba" / name, k)
    whose = [
        k // 8 if k < 32 else k for k in range(60)
    ]  # four people with eight photographs, the rest with one
    text = "".join(f"{name} {who}\n" for name, who in zip(names, whose, strict=True))
    (folder / "celeba" / "identity_CelebA.txt").write_text(text)
    said = "".join(f"{name} {2 * (k % 2) - 1} {2 * (k % 3 > 0) - 1}\n" for k, name in enumerate(names))
    (folder / "celeba" / "list_attr_celeba.txt").write_text(f"60\nMale Smiling \n{said}")
    points = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    names_of = " ".join(f"{point}_{axis}" for point in points for axis in "xy")
    eyes = "".join(f"{name} 14 16 26 16 20 22 15 30 25 30\n" for name in names)
    (folder / "celeba" / "list_landmarks_align_celeba.txt").write_text(f"60\n{names_of}\n{eyes}")
    rows = []
    for k in range(48):
        file = f"{'train' if k < 40 else 'val'}/{k}.jpg"
        write(folder / "fairface" / file, k)
        rows.append(f"{file},{k},{GENDERS[k % 2].title()},{('Black', 'East Asian', 'White')[k % 3]},True")
    (folder / "fairface.csv").write_text("\n".join(["file,age,gender,race,service_test", *rows]))
    return folder


def folders(root, data, **changes):
    """Folders of people with many photographs each."""
    given = {"faces": "people", "attribute_tables": ["genders.csv"], "minimum_images": 6, "maximum_images": 8}
    return tiny_study(root, data, **NOTHING | given | changes)


def flat(root, data, **changes):
    """CelebA's files side by side, with a task of its own."""
    tables = ["celeba/identity_CelebA.txt", "celeba/list_attr_celeba.txt"]
    given = {"faces": "celeba", "attribute_tables": tables, "minimum_images": 6}
    tasks = {"tasks": ["smiling", "identity"], "finetuning_samples": {"smiling": 64, "identity": 64}}
    return tiny_study(root, data, **NOTHING | given | tasks | changes)


def strangers(root, data, **changes):
    """FairFace's table, in which nobody is named."""
    tasks = {"tasks": ["gender", "race"], "finetuning_samples": {"gender": 64, "race": 64}}
    given = {"faces": "fairface", "attribute_tables": ["fairface.csv"], "explained_people": "new"}
    return tiny_study(root, data, **NOTHING | given | tasks | changes)


def test_people_with_many_photographs_serve_both_tasks(root, data):
    s = folders(root, data, identity_people=4)
    faces = stimuli.faces(s)
    frame = pd.DataFrame({name: faces[name].values for name in ("identity", "gender", "group", "split")})
    people = frame.groupby("group").identity.unique()
    assert {group: len(names) for group, names in people.items()} == {"identity": 4, "others": 8}
    assert not set(people["identity"]) & set(people["others"])
    assert (frame.identity.value_counts() == s.p.maximum_images).all()
    told = design.plan(s.p)
    assert "identity: 4 people, 32 images: 20 train, 4 validation, 8 test" in told
    assert "gender: 8 people (4 female, 4 male), 64 images" in told
    assert "left out, beyond maximum_images=8 of a person: 24 of 120 files" in told
    assert (
        stimuli.listed(folders(root, data, identity_people=4, stimulus_seed=1).p).group.ne(frame.group).any()
    )


def test_people_may_need_more_images_than_are_used(root, data):
    images = design.check(folders(root, data, identity_people=4, minimum_images=10, maximum_images=6).p)
    assert (images.identity.value_counts() == 6).all() and images.group.nunique() == 2


@pytest.mark.parametrize(
    ("rated", "names", "said"),
    [
        (b"", None, r"ratings: .*rated\.csv: not a readable CSV table: its first line"),
        (b"\xff\xfea\0", None, r"ratings: .*rated\.csv: not a readable CSV table in UTF-8"),
        (
            b"a;b;value\np0;p1;3\n",
            None,
            r"ratings: .*rated\.csv: needs one column 'a', 'b', 'value'; the file has",
        ),
        (
            b"a,b,value\np0,p1,much\n",
            None,
            r"ratings: .*rated\.csv, line 2: rating 'much' is not a finite number",
        ),
        (b"a,b,value\np0,p1,1\np0,p2,2\np1,p2,1e308\n", None, r"rated\.csv, line 4: rating '1e308'"),
        (
            b"a,b,value\np0,p1,1\np0,p2,2\np1,p2,3\n",
            None,
            r"ratings: 3 of 3 rated people are among .* 4 are needed",
        ),
        (
            b"a,b,value\np0,p1,1\n",
            b"stimulus\np0\n",
            r"ratings_names='whose.csv': .*whose\.csv: needs two columns",
        ),
        (b"a,b,value\np0,p1,1\n", b"", r"ratings_names='whose.csv': .*whose\.csv: not a readable CSV"),
        (None, None, r"'rated\.csv': no such file or folder under data="),
    ],
)
def test_bad_ratings_are_one_error_before_anything_is_computed(tmp_path, data, rated, names, said):
    for name, content in (("rated.csv", rated), ("whose.csv", names)):
        (data / name).unlink(missing_ok=True)
        if content is not None:
            (data / name).write_bytes(content)
    given = {"ratings": ["rated.csv"], "ratings_names": None if names is None else "whose.csv"}
    with pytest.raises(ParameterError, match=said):
        folders(tmp_path / "store", data, **given)
    assert not list(tmp_path.rglob("*")), "nothing was computed"


@pytest.mark.slow
def test_identity_alone_needs_no_table_and_no_ratings(root, data):
    several = {"none": "none", "objects": "procedural:objects"}
    s = folders(root, data, tasks=["identity"], attribute_tables=[], pretrainings=several)
    records = {record["id"]: record for record in claims.ledger(s)}
    assert records["C1"]["parts"] is not None and records["C8"]["verdict"] == "inconclusive"
    assert records["C8"]["n"] == 0 and not humans.by_level(s).estimate.notna().any()
    assert set(models.accuracy(s).task) == {"identity"}
    alone = folders(
        root, data, tasks=["identity"], attribute_tables=[], identity_people=5, pretrainings=several
    )
    assert "in no task, people with fewer than 6 images, or not drawn" in design.plan(alone.p)
    assert [label for label, _ in relevance.examples(s)] == ["mean of 8 people (everyone)"]
    shown = explorer.explore(s)
    assert shown.label.values.tolist() in ([], ["mean of 8 people (everyone)"])


def test_a_flat_folder_with_tables_and_an_attribute_as_task(root, data):
    s = flat(root, data)
    faces = stimuli.faces(s)
    assert faces.sizes["image"] == 60 and set(faces.smiling.values) == {"yes", "no"}
    assert stimuli.classes(faces, "smiling") == ["no", "yes"] and len(stimuli.classes(faces, "identity")) == 4
    aligned = stimuli.faces(flat(root, data, landmarks_table="celeba/list_landmarks_align_celeba.txt"))
    assert aligned.attrs["crop"] == "eyes" and (aligned.split == faces.split).all()
    assert (aligned.pixels != faces.pixels).any()
    accuracy = models.accuracy(s)
    assert set(accuracy.task) == {"smiling", "identity"} and accuracy.accuracy.between(0, 1).all()


def test_where_nobody_is_named_everybody_is_new(root, data):
    s = strangers(root, data)
    assert stimuli.classes(stimuli.faces(s), "race") == ["Black", "East Asian", "White"]
    assert set(models.accuracy(s).task) == set(models.explained_accuracy(s).task) == {"gender", "race"}
    assert claims.claim(s, "C8")["verdict"] == "inconclusive" and not relevance.examples(s)


@pytest.mark.parametrize(
    ("make", "changes", "said"),
    [
        (folders, {}, r"nobody is left for the gender task: all 12 people .*minimum_images=6.* set identity_people=6"),
        (folders, {"minimum_images": 11}, r"minimum_images=11: only 0 people in 'people'.*have 10 to 10: lower"),
        (folders, {"identity_people": 13}, r"only 12 people .* identity_people=13"),
        (folders, {"identity_people": 11}, r"all 1 people left for the gender task are '.*male'.*identity_people"),
        (folders, {"identity_people": 4, "attribute_tables": ["women.csv"]}, r"all 8 people .*'female'.*two classes"),
        (folders, {"identity_people": 4, "tasks": ["gender"], "explained_people": "known", "minimum_images": 11},
         r"explained_people='known': no person has minimum_images=11"),
        (folders, {"tasks": ["identity"], "explained_people": "new"}, r"all 12 people serve .*explained_people=known"),
        (folders, {"identity_people": 4, "maximum_images": 4, "minimum_images": 4, "test_share": 0.49,
                   "validation_share": 0.49}, r"identity: validation_share=0.49 and test_share=0.49 leave no image"),
        (folders, {"identity_people": 8}, r"gender: .* for 2 of 2 classes, .* with 16 images of 2 people"),
        (folders, {"identity_people": 4, "attribute_tables": []}, r"attribute_tables: needed for tasks="),
        (folders, {"identity_people": 4, "tasks": ["age"], "finetuning_samples": {"age": 9}}, r"column 'age'.*gender"),
        (folders, {"identity_people": 4, "pretrainings": {"a": "people/p0"}}, r"'people/p0'.*no ident"),
        (folders, {"identity_people": 4, "pretrainings": {"a": "procedural:cats"}}, r"'procedural:cats'.*:faces"),
        (strangers, {"explained_people": "known"}, r"no person has minimum_images=20 images.*explained_people=new"),
        (strangers, {"tasks": ["age"], "finetuning_samples": {"age": 9}}, r"age: .* for 48 of 48 classes, such as '0'"),
    ],
)  # fmt: skip
def test_a_design_that_cannot_work_is_one_error(root, data, make, changes, said):
    with pytest.raises(ParameterError, match=said):
        make(root, data, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": 6, "test_share": 0.49, "validation_share": 0.49}, r"identity: .* leave no .* more views"),
        (
            {"tasks": ["gender"], "pretrainings": {"none": "none"}},
            r"one family.*a second pretraining or task",
        ),
    ],
)
def test_drawn_faces_are_checked_alike(root, changes, said):
    with pytest.raises(ParameterError, match=said):
        tiny_study(root, **changes)


def test_what_is_listed_is_what_is_drawn(tiny):
    images, faces = stimuli.listed(tiny.p), stimuli.faces(tiny)
    for name in ("identity", "gender", "group", "split"):
        assert images[name].tolist() == faces[name].values.tolist()


def test_links_and_lock_files_stop_nothing(root, data):
    before = stimuli.faces.key(folders(root, data, identity_people=4))
    for path in (data / ".#genders.csv", data / "people" / ".#p0", data / "people" / "p0" / ".#0.jpg"):
        path.symlink_to("someone@machine.1234")
    (data / "people" / "gone").symlink_to(data / "nowhere")
    (data / "people" / "p1" / "circle.jpg").symlink_to(data / "people" / "p1" / "circle.jpg")
    s = folders(root, data, identity_people=4)
    assert stimuli.faces.key(s) == before
    assert "a broken link" in design.plan(s.p)


@pytest.mark.parametrize("has", [True, False])
def test_precision_is_what_the_machine_has(monkeypatch, has):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": has, "amx_bf16": False})
    assert parameters.load("smoke", precision="auto").precision == ("bfloat16" if has else "float32")
    assert parameters.load("smoke").precision == "float32"
    assert parameters.load("smoke", precision="bfloat16").precision == "bfloat16"
