"""Parameters: what a user may set, and what they are told when it is wrong."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from study import parameters as params
from study.parameters import ParameterError


@pytest.mark.parametrize("profile", [p for p in params.profiles() if p not in ("lfw", "paper")])
def test_profiles_without_data_load(profile):
    assert params.load(profile).profile == profile


def test_photograph_profile_needs_data(tmp_path):
    with pytest.raises(ParameterError, match=r"data: needed.*--data"):
        params.load("lfw")
    assert params.load("lfw", tmp_path).data == str(tmp_path)


def test_the_full_study_has_public_weights_at_their_size(tmp_path):
    p = params.load("paper", tmp_path)
    assert (p.width, p.image_size, p.scope) == (1.0, 224, "classifier")
    assert set(p.pretrainings.values()) == {"public:imagenet", "public:vgg-face"}
    with pytest.raises(
        ParameterError, match=r"width=1, image_size=64: the network 'imagenet'.*image_size=224"
    ):
        params.load("paper", tmp_path, image_size=64)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sedes", 3, r"sedes=3: unknown parameter; did you mean 'seeds'"),
        ("seeds", "three", r"seeds='three'.*integer.*a whole number, at least 2"),
        ("seeds", True, r"seeds=True"),
        ("seeds", 1, r"seeds=1.*greater than or equal to 2"),
        ("fill", "pink", r"fill='pink'.*'mean', 'blur', 'noise' or 'grey'"),
        ("percents", [5.0, 3.0], r"percents=.*ascend"),
        ("percents", [0.0, 50.0], r"percents"),
        ("transfer_percents", [5.0, 3.0], r"transfer_percents=.*ascend"),
        ("shortcut_methods", ["epsilon", "epsilon"], r"shortcut_methods=.*each once"),
        ("width", float("nan"), r"width=nan"),
        ("finetuning_samples", {"gender": 100}, r"finetuning_samples: no entry for \['identity'\]"),
        ("pretrainings", {"a\nb": "none"}, r"pretrainings: label 'a\\nb': give one of 1 to 80 printable"),
        ("pretrainings", {" ": "none"}, r"pretrainings: label ' '"),
        ("rated_identities", 121, r"rated_identities=121: at most identities=120"),
        ("seeds", 8, r"pretraining_runs=5, seeds=8: .*set seeds=10, or pretraining_runs=1"),
        ("seeds", 5, r"pretraining_runs=5, seeds=5: .*at least 2; set seeds=10"),
        ("pretraining_runs", 2, r"pretraining_runs=2: .*set pretraining_runs=3, or 1"),
        ("tasks", ["gender", "smiling"], r"tasks=\['gender', 'smiling'\]: of drawn faces only"),
        ("tasks", ["<b>"], r"tasks.*<b>"),
        ("finetuning_samples", {"gender": 0, "identity": -5}, r"finetuning_samples.gender=0.*greater than"),
    ],
)
def test_bad_value_is_one_error_that_names_it(name, value, said):
    with pytest.raises(ParameterError, match=said):
        params.load("demo", **{name: value})


def test_new_people_have_no_true_identity():
    with pytest.raises(ParameterError, match="explained_people='new', explain='true'"):
        params.load("demo", explained_people="new", explain="true")
    assert params.load("demo", explained_people="new", explain="true", tasks=["gender"], depths=None)


def test_two_bad_values_are_both_named():
    with pytest.raises(ParameterError, match=r"(?s)fill='x'.*seeds=0|seeds=0.*fill='x'"):
        params.load("demo", fill="x", seeds=0)


def test_unknown_profile_lists_those_there_are():
    with pytest.raises(ParameterError, match=r"profile='nope'.*demo.*smoke"):
        params.load("nope")


def test_none_means_as_in_the_profile():
    assert params.load("smoke", seeds=None).seeds == params.load("smoke").seeds


def test_assignments_are_read_as_yaml():
    read = params.parse_assignments(["seeds=4", "percents=[5.0, 10.0]", "fill=blur", "augment=true"])
    assert read == {"seeds": 4, "percents": [5.0, 10.0], "fill": "blur", "augment": True}
    with pytest.raises(ParameterError, match="name=value"):
        params.parse_assignments(["seeds"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crop={a: [", r"crop=\{a: \[: no valid YAML"),
        ("seeds=2020-13-45", r"seeds=2020-13-45: no valid YAML"),
        ("finetuning_samples={gender: 9, gender: 8}", r"finetuning_samples=.*'gender' stands there twice"),
        ("profile=smoke", r"profile=smoke: .*--profile"),
        ("data=here", r"data=here: .*--data"),
    ],
)
def test_bad_assignment_is_one_error_that_names_it(text, said):
    with pytest.raises(ParameterError, match=said):
        params.parse_assignments([text])
    with pytest.raises(ParameterError, match="seeds: given twice, as 3 and as 4"):
        params.parse_assignments(["seeds=3", "seeds=4"])


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes profiles of texts, beside the real one called demo."""
    (tmp_path / "demo.yml").write_text((params.PROFILES / "demo.yml").read_text())
    monkeypatch.setattr(params, "PROFILES", tmp_path)

    def make(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.yml").write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


def test_null_resets_a_value_where_that_is_allowed(made):
    made(cropped="inherit: demo\ncrop: 120\n", uncropped="inherit: cropped\ncrop: null\n")
    assert params.load("cropped").crop == 120 and params.load("uncropped").crop is None
    assert params.load("cropped", **params.parse_assignments(["crop=null"])).crop is None
    assert params.from_notebook({"profile": "cropped", "crop": None}).crop == 120
    assert params.from_notebook({"profile": "cropped", "crop": "none"}).crop is None
    with pytest.raises(ParameterError, match=r"seeds='none': should be a valid integer"):
        params.load("demo", **params.parse_assignments(["seeds=null"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1\n- 2\n", r"profile='bad': write one `name: value` a line; it holds \[1, 2\]"),
        ("seeds: [1\nx: 2", r"profile='bad': no valid YAML in line 2"),
        (
            "inherit: demo\nseeds: 6\nseeds: 9\n",
            r"profile='bad': no valid YAML in line 1: 'seeds' stands there twice",
        ),
        ("inherit: bad", r"profile='bad': inherits from itself \(bad -> bad\)"),
        ("inherit: other", r"profile='bad': inherits from itself \(bad -> other -> bad\)"),
        ("inherit: gone", r"profile='gone', from which 'bad' inherits: no such profile"),
        ("inherit: [demo]", r"profile=\['demo'\], from which 'bad' inherits"),
        ("profile: demo", r"profile='bad' sets `profile`"),
        (b"\xff\xfe\x00", r"profile='bad': bad\.yml cannot be read"),
        ("inherit: demo\n1: 2", r"1=2: unknown parameter|1"),
        ("inherit: demo\ndata: 5", r"data=5: no such folder"),
    ],
)
def test_bad_profile_is_one_error_that_names_it(made, text, said):
    made(bad=text, other="inherit: bad")
    with pytest.raises(ParameterError, match=said):
        params.load("bad")


def test_data_must_exist(tmp_path):
    for folder in (tmp_path / "gone", "\0", "~nobody-of-this-name/x", "x" * 5000):
        with pytest.raises(ParameterError, match=r"data=.*no such folder"):
            params.load("smoke", folder)


def test_a_gpu_that_is_not_there_is_found_at_once(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="device='cuda': PyTorch finds no GPU"):
        params.load("smoke", device="cuda")


def test_errors_are_short_and_in_plain_words():
    with pytest.raises(ParameterError) as caught:
        params.load("demo", percents=["x"] * 50, explained_images="y" * 5000, nonsense=3)
    text = str(caught.value)
    assert len(text.splitlines()) <= 10 and all(len(line) < 400 for line in text.splitlines())
    assert not any(word in text for word in ("Annotated", "FieldInfo", "typing", "tuple", "Ge(", "pydantic"))


EXAMPLES = settings(max_examples=int(os.environ.get("EXAMPLES", "30")), deadline=None)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
WORDS = st.sampled_from(
    ["gender", "identity", "measure", "accuracy", "epsilon", "procedural", "none", "objects"]
)
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = sorted(set(params.Parameters.model_fields) - {"profile", "data"})


def leaves(value):
    if isinstance(value, dict):
        return [leaf for pair in value.items() for part in pair for leaf in leaves(part)]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]


def gives_parameters_or_one_error(load, names):
    """One short error that names a parameter or a value that was given; None if there was none."""
    try:
        assert isinstance(load(), params.Parameters)
    except ParameterError as error:
        text = str(error)
        assert any(name in text for name in names), (text, names)
        assert len(text.splitlines()) <= 10 and len(text) < 5000
        assert "FieldInfo" not in text and "Annotated" not in text


@EXAMPLES
@given(
    st.dictionaries(st.sampled_from(FIELDS) | st.text(min_size=1, max_size=9), VALUES, min_size=1, max_size=3)
)
@example({"finetuning_samples": {"gender": 0, "identity": -5}})
@example({"width": float("inf")})
@example({"profile ": 3})
def test_any_values_give_parameters_or_one_error(values):
    values = {name: value for name, value in values.items() if name not in ("profile", "data")}
    names = [params._short(name, str) for name in values] + [
        repr(leaf) for v in values.values() for leaf in leaves(v)
    ]
    gives_parameters_or_one_error(lambda: params.load("smoke", **values), [*names, "data"])


@EXAMPLES
@given(
    st.sampled_from(FIELDS), st.text(max_size=30) | VALUES.map(lambda value: yaml.safe_dump(value).strip())
)
def test_any_assignment_gives_parameters_or_one_error(name, text):
    load = lambda: params.load("smoke", **params.parse_assignments([f"{name}={text}"]))  # noqa: E731
    gives_parameters_or_one_error(load, [name, "data"])


@EXAMPLES
@given(
    st.text(max_size=60)
    | st.binary(max_size=20)
    | st.dictionaries(
        st.sampled_from([*FIELDS, "inherit", "profile", "data"]) | SCALARS, VALUES, max_size=4
    ).map(lambda values: yaml.safe_dump(values))
)
def test_any_profile_gives_parameters_or_one_error(content):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "odd.yml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="replace"))
        patch.setattr(params, "PROFILES", Path(folder))
        gives_parameters_or_one_error(lambda: params.load("odd"), ["odd", "=", ": "])


def test_notebook_with_an_unknown_variable_fails():
    assert (
        params.from_notebook({"profile": "smoke", "seeds": None, "In": [], "_": 3, "np": object()}).seeds == 2
    )
    with pytest.raises(ParameterError, match="did you mean 'seeds'"):
        params.from_notebook({"profile": "smoke", "seed": 3})


def test_every_profile_sets_only_known_parameters():
    for path in params.PROFILES.glob("*.yml"):
        assert set(yaml.safe_load(path.read_text())) <= set(params.Parameters.model_fields) | {"inherit"}


def test_every_parameter_is_described():
    for name in params.Parameters.model_fields:
        assert params.Parameters.model_fields[name].description, name
        assert name in params.describe(name)


def test_no_settings_hide_each_others_checks():
    """Validators are found by name: of two that are called alike, one would be lost without a word."""
    mixins = [base for base in params.Parameters.__mro__[1:] if issubclass(base, params.Settings)]
    names = [n for mixin in mixins for n in vars(mixin) if n[0] == "_" and n[1] != "_" and n != "_abc_impl"]
    assert len(names) > 5 and len(set(names)) == len(names)
