"""Steps: a result depends on what it declares and on nothing else, and is made again exactly when that changes."""

import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pydantic import Field
from tiny_study import tiny_study

from study import asymmetry, generalisation, masking, networks, provenance, relevance, stimuli
from study.settings import Settings, source
from study.steps import Study, UndeclaredError, step
from study.store import Parts, StoreError, content_digest

calls = []


class Toy(Settings):
    factor: int = 2
    shift: int = 1
    each: dict[str, int] = Field({"a": 1, "b": 2})
    folder: str = source("procedural")
    pretrainings: dict[str, str] = Field({"faces": "none"})
    tasks: tuple[str, ...] = ("gender", "identity")
    seeds: int = 2
    pretraining_runs: int = 1
    first_seed: int = 0
    scope: str = "all"
    workers: int = 1
    threads: int = 1
    data: str = "."

    def path(self, name):
        return provenance.Path(self.data) / name


@step("factor")
def base(s, x):
    calls.append("base")
    return {"value": s.p.factor * x}


@step("shift", needs=[base])
def shifted(s, x):
    calls.append("shifted")
    return base(s, x)["value"] + s.p.shift


@step("each[name]")
def entry(s, name):
    return s.p.each[name]


@step("folder", keep=True)
def content(s):
    return xr.Dataset({"x": ("i", np.arange(3))})


@step("shift", needs=[base])
def peeks(s, x):
    return base(s, x)["value"] + s.p.factor


@step("shift")
def strays(s, x):
    return base(s, x)


@step("each[name]", "shift")
def looks_round(s, name):
    return len(s.grid) + s.p.each["b"]


@step("shift", needs=[base.of(lambda s, x: [(x + 1,)])])
def next_one(s, x):
    return base(s, x)


@step("shift", needs=[base.of(lambda s, *_: [(cell.seed,) for cell in s.grid], "grid")])
def whole(s):
    return sum(base(s, cell.seed)["value"] for cell in s.grid)


@step()
def several(s):
    return {
        "table": pd.DataFrame({"x": [0.1 + 0.2, np.nan]}),
        "data": content.function(s),
        "note": ["text", 1],
    }


@pytest.fixture
def toy(tmp_path):
    calls.clear()
    return Study(Toy(), tmp_path)


def made(study):
    """Kinds of the results made since the last call."""
    fresh, calls[:] = list(calls), []
    return fresh


def test_a_result_is_made_once_and_read_back(toy):
    assert [shifted(toy, 3), shifted(toy, 3), shifted(Study(Toy(), toy.store.root), 3)] == [7, 7, 7]
    assert made(toy) == ["base", "shifted"]


def test_changing_a_parameter_makes_exactly_what_depends_on_it_again(toy):
    shifted(toy, 3), made(toy)
    assert shifted(toy.but(shift=5), 3) == 11 and made(toy) == ["shifted"]
    assert shifted(toy.but(factor=3), 3) == 10 and made(toy) == ["base", "shifted"]
    assert shifted(toy.but(each={}), 3) == 7 and made(toy) == []
    assert shifted.depends_on() == {"factor", "shift"}


def test_an_undeclared_parameter_cannot_be_read(toy):
    with pytest.raises(
        UndeclaredError, match=r"step \S*peeks reads the parameter 'factor' and does not declare"
    ):
        peeks(toy, 1)
    assert not peeks.has(toy, 1)
    assert toy.p.factor == 2, "outside of a step anything can be read"


def test_an_undeclared_result_cannot_be_asked_for(toy):
    with pytest.raises(UndeclaredError, match=r"asks for step \S*base with \[1\]"):
        strays(toy, 1)
    with pytest.raises(UndeclaredError, match="`needs` do not name"):
        next_one(toy, 1)


def test_the_grid_is_a_parameter_like_others(toy):
    with pytest.raises(UndeclaredError, match="does not declare 'grid'"):
        looks_round(toy, "a")
    assert whole(toy) == 4
    assert whole(toy.but(seeds=3)) == 12
    assert whole.key(toy.but(seeds=3)) != whole.key(toy)


def test_one_entry_of_a_dict_is_a_parameter_of_its_own(toy):
    other = toy.but(each={"a": 1, "b": 7})
    assert entry.key(toy, "a") == entry.key(other, "a") and entry.key(toy, "b") != entry.key(other, "b")
    assert [entry(toy, "a"), entry(other, "b")] == [1, 7]


def test_the_content_of_a_folder_counts_and_its_name_does_not_hide_it(tmp_path):
    data = tmp_path / "data" / "people" / "ann"
    data.mkdir(parents=True)
    (data / "1.png").write_bytes(b"x")
    keys = []
    for byte in (b"x", b"x", b"y"):
        (data / "1.png").write_bytes(byte)
        keys.append(content.key(Study(Toy(folder="people", data=str(tmp_path / "data")), tmp_path / "store")))
    assert keys[0] == keys[1] != keys[2]


def test_results_of_every_kind_come_back(toy):
    parts = several(toy)
    assert isinstance(parts, Parts) and set(parts) == {"table", "data", "note"}
    assert parts["table"].x[0] == 0.1 + 0.2 and np.isnan(parts["table"].x[1]) and parts["note"] == ["text", 1]
    xr.testing.assert_equal(parts["data"].load(), content(toy))


def test_a_step_travels_to_other_processes_by_name():
    assert pickle.loads(pickle.dumps(masking.curves)) is masking.curves


def test_a_failing_step_leaves_nothing(toy):
    with pytest.raises(TypeError):
        base(toy, None)
    assert not base.has(toy, None) and base(toy, 1) == {"value": 2}


def test_a_damaged_result_is_named(toy):
    base(toy, 1)
    file = next(toy.store.root.glob("*base/*/result.json"))
    file.write_text("{")
    for use in (base, base.files):
        with pytest.raises(StoreError, match="missing or damaged; delete the folder"):
            use(toy, 1)
    with pytest.raises(StoreError, match="missing or damaged"):
        base.files(toy, 2)
    assert base.has(toy, 1) and not base.has(toy, 2)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that imports another, hashed as ours are."""
    for name in ("analysis", "study"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "analysis" / "low.py").write_text('"""Low."""\nx = 1\n')
    (tmp_path / "study" / "high.py").write_text("from analysis import low\nfrom study import steps\n")
    (tmp_path / "study" / "steps.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    caches = (provenance.code, provenance._module)

    def code():
        for cache in caches:
            cache.cache_clear()
        return provenance.code("study.high")

    yield tmp_path, code
    for cache in caches:
        cache.cache_clear()


def test_code_counts_across_packages_but_words_and_settings_do_not(package):
    folder, code = package
    before = code()
    (folder / "analysis" / "low.py").write_text('"""Other words."""\n# a comment\nx = 1\n')
    assert code() == before
    high = folder / "study" / "high.py"
    high.write_text(high.read_text() + "class Mine(Settings):\n    x: int = 1\n")
    assert code() == before, "values of parameters are in the key themselves"
    (folder / "study" / "steps.py").write_text("x = 2\n")
    assert code() == before, "how results are kept changes none of them"
    (folder / "analysis" / "low.py").write_text("x = 2\n")
    assert code() != before


# ------------------------------------------------------------ the real ones


def results(root):
    return {path.parent.relative_to(root) for path in root.glob("*/*/provenance.json")}


def test_a_change_of_the_study_recomputes_only_what_it_affects(tmp_path):
    tiny = tiny_study(tmp_path, pretrainings={"none": "none"}).but(tasks=("gender",))
    masking.curves.each(tiny)
    before = results(tmp_path)
    masking.curves.each(tiny.but(fill="blur"))
    new = results(tmp_path) - before
    assert {path.parts[0] for path in new} == {"masking.curves"} and len(new) == len(tiny.grid)
    before = results(tmp_path)
    relevance.explain.each(tiny.but(seeds=3))
    kinds = sorted(path.parts[0] for path in results(tmp_path) - before)
    assert kinds == ["networks.finetuned", "networks.stages", "relevance.explain"]


def test_declarations_say_what_decides_a_result():
    assert "fill" in masking.claim.depends_on() and "fill" not in relevance.explain.depends_on()
    assert "likeness" in generalisation.stability.depends_on()
    assert "likeness" not in asymmetry.claim.depends_on()
    assert {"composite", "identities", "width"} <= asymmetry.claim.depends_on()
    assert not {"workers", "profile", "data"} & asymmetry.claim.depends_on()


def test_every_step_of_the_study_declares_what_it_reads(tiny):
    """Made in full by other tests; here: every declared name is a parameter."""
    for declared in (masking.curves, networks.finetuned, stimuli.faces, asymmetry.exchanged_parts):
        assert declared.depends_on() - {"path"} <= set(type(tiny.settings).model_fields)


@pytest.mark.slow
def test_same_parameters_same_content_elsewhere_and_in_parallel(tiny, tmp_path):
    again = tiny_study(tmp_path, workers=2)
    for grid in (relevance.explain, masking.curves):
        assert content_digest(grid.grid(again)) == content_digest(grid.grid(tiny))
