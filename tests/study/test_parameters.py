"""Parameters: what a user may set, and what they are told when it is wrong."""

import pytest
import yaml

from study import parameters as params
from study.parameters import ParameterError


@pytest.mark.parametrize("profile", [p for p in params.profiles() if p != "lfw"])
def test_profiles_without_data_load(profile):
    assert params.load(profile).profile == profile


def test_photograph_profile_needs_data(tmp_path):
    with pytest.raises(ParameterError, match=r"data: needed.*--data"):
        params.load("lfw")
    assert params.load("lfw", tmp_path).data == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sedes", 3, r"sedes=3: unknown parameter; did you mean 'seeds'"),
        ("seeds", "three", r"seeds='three'.*integer.*ge=2"),
        ("seeds", True, r"seeds=True"),
        ("seeds", 1, r"seeds=1.*greater than or equal to 2"),
        ("fill", "pink", r"fill='pink'.*'mean', 'blur', 'noise' or 'grey'"),
        ("percents", [5.0, 3.0], r"percents=.*ascend"),
        ("percents", [0.0, 50.0], r"percents"),
        ("transfer_percents", [5.0, 3.0], r"transfer_percents=.*ascend"),
        ("shortcut_methods", ["epsilon", "epsilon"], r"shortcut_methods=.*each once"),
        ("width", float("nan"), r"width=nan"),
        ("finetuning_samples", {"gender": 100}, r"finetuning_samples: no entry for \['identity'\]"),
        ("rated_identities", 121, r"rated_identities=121: at most identities=120"),
        ("seeds", 8, r"pretraining_runs=3, seeds=8: .*set seeds=9, or pretraining_runs=1"),
        ("seeds", 3, r"pretraining_runs=3, seeds=3: .*at least 2; set seeds=6"),
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
