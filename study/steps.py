"""One way to declare a result: what it reads, what it needs, and a function that makes it.

    @step("ranking", "fill", "percents", needs=[explain, faces])
    def curves(s, cell): ...

`curves(s, cell)` then reads the result from the store, making it there first if it is missing; `curves.grid(s)` does so
for every network, in parallel. The key of a result is a hash of the step's name, its arguments, the values of the
parameters that it declares (of folders and tables their content), the keys of what it needs, and the code of its module
and of all modules of ours that this one imports. While a step runs it can read no other parameter and ask for no other
step, so a result cannot depend on what its key does not hold.
"""

from __future__ import annotations

import inspect
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache, update_wrapper
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from faces import photographs
from study import parallel, provenance, store
from study.grid import Cell, cells, table
from study.settings import Settings, is_built_in

# What decides which networks there are.
GRID = ("pretrainings", "tasks", "seeds", "pretraining_runs", "first_seed", "scope")
FREE = ("device", "workers", "path")  # where and how fast, never what
IN_MEMORY = 24  # results kept open in a process, the last ones used
Args = tuple[Any, ...]


class UndeclaredError(RuntimeError):
    """A step reads a parameter, or asks for a result, that it does not declare."""


@dataclass(frozen=True)
class Need:
    """A step that another one needs, and with which arguments: `args(s, *arguments of the other)` lists them."""

    step: Step
    args: Callable[..., Iterable[Args]]
    reads: tuple[str, ...] = ()


class Step:
    """A function whose results are kept; made by `step`."""

    def __init__(
        self,
        function: Callable,
        reads: Sequence[str],
        needs: Sequence[Step | Need],
        title: str | None,
        work: Callable[..., float],
        unit: str,
        keep: bool,
    ):
        update_wrapper(self, function)
        self.function, self.keep, self.work, self.unit = function, keep, work, unit
        self.parameters = list(inspect.signature(function).parameters)[1:]
        self.needs = [need if isinstance(need, Need) else need.of(need._same) for need in needs]
        names = [*reads, *(name for need in self.needs for name in need.reads)]
        names = [each for name in names for each in (GRID if name == "grid" else (name,))]
        self.reads = {name.partition("[")[0]: name.partition("[")[2].rstrip("]") for name in names}
        self.kind = f"{function.__module__.removeprefix('study.')}.{function.__name__}"
        self.title = title or function.__name__.replace("_", " ")

    def __repr__(self) -> str:
        return f"step {self.kind}"

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by name, as functions are

    def of(self, args: Callable[..., Iterable[Args]], *reads: str) -> Need:
        """This step as a need, with the arguments that `args(s, *arguments of the step that needs it)` lists.

        `reads` names parameters that decide which arguments these are; they become parameters of the needing step.
        """
        return Need(self, args, reads)

    def every(self) -> Need:
        """This step as a need, for every network of the grid."""
        return Need(self, lambda s, *_: [(cell,) for cell in s.grid], GRID)

    def firsts(self) -> Need:
        """This step as a need, for the first seed of each pretraining run."""
        return Need(self, lambda s, *_: [(cell,) for cell in s.firsts], GRID)

    def _same(self, s: Study, *args: Any) -> list[Args]:
        return [args[: len(self.parameters)]]

    def depends_on(self) -> set[str]:
        """Names of all parameters that can change a result: its own and those of all that it needs."""
        return set(self.reads).union(*(need.step.depends_on() for need in self.needs))

    # -------------------------------------------------------- one result

    def __call__(self, s: Study, *args: Any) -> Any:
        """The result, made if it is missing.

        Raises:
            UndeclaredError: asked for by a step that does not declare it. StoreError: it is there but damaged.
        """
        if (caller := _RUNNING.get()) and (self, args) not in caller.needed:
            raise UndeclaredError(
                f"{caller.step!r} asks for {self!r} with {_plain(args)}, which its `needs` do not name"
            )
        if not self.keep:
            return self._load(s, args)
        return remembered((self.kind, self.key(s, *args)), lambda: self._load(s, args).load())

    def key(self, s: Study, *args: Any) -> str:
        """The key of a result; computing it makes nothing."""
        if (self.kind, args) not in s.keys:
            with _running(None):
                needs = [need.key(s, *needed) for need, needed in self.needed(s, *args)]
                values = self.values(s, *args)
            code = provenance.code(self.__module__)
            s.keys[self.kind, args] = provenance.digest([self.kind, _plain(args), values, needs, code])
        return s.keys[self.kind, args]

    def values(self, s: Study, *args: Any) -> dict[str, Any]:
        """The declared parameters and their values, as the key holds them."""
        return {name: s.content(name, self.value(s.settings, name, args)) for name in self.reads}

    def value(self, settings: Settings, name: str, args: Args) -> Any:
        """A declared parameter; of one declared as `name[argument]` the entry for that argument alone."""
        value, of = getattr(settings, name), self.reads[name]
        if not of:
            return value
        arguments = dict(zip(self.parameters, args, strict=True))
        entry = arguments[of] if of in arguments else next(getattr(a, of) for a in args if hasattr(a, of))
        return {entry: value[entry]}

    def needed(self, s: Study, *args: Any) -> list[tuple[Step, Args]]:
        """What a result is made from: steps and their arguments."""
        return [(need.step, tuple(a)) for need in self.needs for a in need.args(s, *args)]

    def has(self, s: Study, *args: Any) -> bool:
        """Whether the result is there, whole or damaged; reading it finds out which."""
        return s.store.has(self.kind, self.key(s, *args))

    def files(self, s: Study, *args: Any) -> dict[str, str]:
        """Name and hash of every file of a result; StoreError if it is missing or damaged."""
        return store.check(s.store.root / self.kind / self.key(s, *args))

    def _load(self, s: Study, args: Args) -> Any:
        """The result from the store, where it is put if it is missing."""

        def make(folder: Path) -> None:
            with _running(_Call(self, args, s.settings, frozenset(self.needed(s, *args)))):
                store.save(self.function(s, *args), folder)

        def record() -> dict[str, Any]:
            needs = [[need.kind, need.key(s, *needed)] for need, needed in self.needed(s, *args)]
            return {"arguments": _plain(args), "parameters": self.values(s, *args), "needs": needs}

        if not self.has(s, *args):
            self.prepare(s, [args])
        return store.load(s.store.folder(self.kind, self.key(s, *args), make, record))

    # -------------------------------------------------------- many results

    def each(self, s: Study, jobs: Iterable[Args] | None = None) -> None:
        """Make what is missing, of every network or of the `jobs` (argument tuples), with all that it needs.

        Several at a time, with one progress bar for every kind of result.
        """
        jobs = [(cell,) for cell in s.grid] if jobs is None else list(jobs)
        todo = [job for job in jobs if not self.has(s, *job)]
        self.prepare(s, todo)
        p = s.settings
        study = pickle.dumps(p), s.store.root
        tasks = [(self, *study, job) for job in todo]
        sizes = [float(self.work(s, *job)) for job in todo]
        parallel.each(_in_worker, tasks, sizes, self.title, p.workers, p.threads, unit=self.unit)

    def prepare(self, s: Study, jobs: Iterable[Args]) -> None:
        """Make what the results of `jobs` are made from."""
        needs: dict[Step, dict[Args, None]] = {}
        for job in jobs:
            for need, args in self.needed(s, *job):
                needs.setdefault(need, {})[args] = None
        for need, args in needs.items():
            need.each(s, args)

    def all(self, s: Study, jobs: Iterable[Args], dim: str) -> xr.Dataset:
        """The datasets of several argument tuples, made if missing, one after the other along `dim`."""
        jobs = list(jobs)
        self.each(s, jobs)

        def join() -> xr.Dataset:
            # of networks that were tested with other maps: NaN where one was not
            return xr.concat([self(s, *job).load().drop_attrs(deep=False) for job in jobs], dim, join="outer")

        return remembered((self.kind, dim, tuple(self.key(s, *job) for job in jobs)), join)

    def grid(self, s: Study, cells: list[Cell] | None = None) -> xr.Dataset:
        """The datasets of every network, or of `cells`, along `model`, with coordinates that say which each is."""
        cells = s.grid if cells is None else cells
        rows = table(cells)
        whole = self.all(s, [(cell,) for cell in cells], "model")
        return whole.assign_coords({name: ("model", rows[name].to_numpy()) for name in rows})


def step(
    *reads: str,
    needs: Sequence[Step | Need] = (),
    title: str | None = None,
    work: Callable[..., float] = lambda s, *args: 1.0,
    unit: str = "image",
    keep: bool = False,
) -> Callable[[Callable], Step]:
    """Declare a result: a decorator for `function(s, *args)`.

    Args:
        reads: the parameters that the function reads. `name[argument]` is the entry of a dict for that argument (or
            attribute of an argument); "grid" stands for those that decide which networks there are.
        needs: the steps that it asks for: with the same arguments, or as `Step.of` and `Step.every` say.
        title: what the progress bar says. work, unit: how much work a result is (`work(s, *args)`).
        keep: whether a process keeps the result in memory (a dataset, loaded whole).

    The function returns a dataset, a data frame, a network, anything that JSON can hold, or a dict of such by name.
    """
    return lambda function: Step(function, reads, needs, title, work, unit, keep)


class Study:
    """One set of parameters, the networks it asks for, and the store of its results.

    Args:
        settings: what to compute.
        root: folder of the store; by default `_build/store`, which all profiles share.
    """

    def __init__(self, settings: Settings, root: str | Path | None = None):
        self.settings = settings
        self.store = store.Store(root)
        self.keys: dict[tuple, str] = {}
        self._contents: dict[str, str] = {}

    @property
    def p(self) -> Any:
        """The parameters; inside a step only those that it declares. UndeclaredError for another."""
        call = _RUNNING.get()
        return self.settings if call is None else call

    @property
    def grid(self) -> list[Cell]:
        """All networks, in a fixed order."""
        if (call := _RUNNING.get()) and any(call.step.reads.get(name) != "" for name in GRID):
            raise UndeclaredError(f"{call.step!r} asks which networks there are, and does not declare 'grid'")
        return cells(self.p)

    @property
    def firsts(self) -> list[Cell]:
        """The networks of the first seed of each pretraining run, for what is too costly to do with every seed.

        Where there is one run, of the first two seeds: a single network says nothing of how networks differ.
        """
        return [c for c in self.grid if c.seed < self.p.first_seed + max(2, self.p.pretraining_runs)]

    @property
    def networks(self) -> pd.DataFrame:
        """One row per network: model (its name), family, and the attributes of `Cell`."""
        return table(self.grid)

    def but(self, **changes: Any) -> Study:
        """The same study with other values of some parameters, which are not checked again."""
        other = Study(self.settings.model_copy(update=changes), self.store.root)
        other._contents = self._contents  # of the user's folders, which are the same
        return other

    def content(self, name: str, value: Any) -> Any:
        """A parameter's value; where it names folders or tables, these with a hash of their content."""
        field = type(self.settings).model_fields[name]
        if not (field.json_schema_extra or {}).get("content"):
            return value
        names = (
            value.values() if isinstance(value, dict) else [value] if isinstance(value, str) else value or ()
        )
        return [value, {n: self._content(n) for n in names if not is_built_in(n)}]

    def _content(self, name: str) -> str:
        if name not in self._contents:
            path = self.settings.path(name)
            self._contents[name] = provenance.file_hash(path) if path.is_file() else self._folder(path)
        return self._contents[name]

    def _folder(self, root: Path) -> str:
        """Content hash of a folder of images; read again only when a name, size or time of one changed."""
        key = provenance.digest([photographs.listing(root), provenance.code("faces.photographs")])
        folder = self.store.folder(
            "fingerprint", key, lambda path: store.save(photographs.fingerprint(root), path), dict
        )
        return store.load(folder)


# ------------------------------------------------------------ what runs now, and what is kept in memory


@dataclass(frozen=True)
class _Call:
    """What runs and what it may ask for; its other attributes are the parameters that it may read."""

    step: Step
    args: Args
    settings: Settings
    needed: frozenset[tuple[Step, Args]]

    def __getattr__(self, name: str) -> Any:
        if name in FREE:
            return getattr(self.settings, name)
        if name not in self.step.reads:
            raise UndeclaredError(
                f"{self.step!r} reads the parameter {name!r} and does not declare it: @step({name!r}, ...)"
            )
        return self.step.value(self.settings, name, self.args)


_RUNNING: ContextVar[_Call | None] = ContextVar("running", default=None)
_MEMORY: OrderedDict[Any, Any] = OrderedDict()


@contextmanager
def _running(call: _Call | None):
    token = _RUNNING.set(call)
    try:
        yield
    finally:
        _RUNNING.reset(token)


def remembered(key: Any, make: Callable[[], Any]) -> Any:
    """What `make()` returned the first time, while it is among the last results used in this process."""
    if key not in _MEMORY:
        _MEMORY[key] = make()
    _MEMORY.move_to_end(key)
    while len(_MEMORY) > IN_MEMORY:
        _MEMORY.popitem(last=False)
    return _MEMORY[key]


def _in_worker(step: Step, settings: bytes, root: Path, args: Args) -> None:
    step(_study(settings, root), *args)


@lru_cache(maxsize=8)
def _study(settings: bytes, root: Path) -> Study:
    """One study for all jobs of a process, which so share its keys."""
    return Study(pickle.loads(settings), root)


def _plain(value: Any) -> Any:
    """Arguments as JSON can hold them."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
