"""`python -m report`: build the book, run one section, show where a build stands, compare two builds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from report import failures

if __name__ == "__main__":
    failures.heed_ctrl_c()  # before the imports that take seconds

from tqdm import tqdm

from report import build
from study import open_study, store, stored
from study import parameters as params


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it succeeded, 1 if it failed, 2 if the request was wrong, 130 after Ctrl-C."""
    chosen = _parser().parse_args(arguments)
    try:
        print(chosen.command(chosen))
        return 0
    except Exception as error:
        return failures.tell(error, build.BUILD / getattr(chosen, "profile", ""))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m report", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], object], text: str, profile: str | None):
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        if profile:
            made.add_argument("--profile", default=profile, help="a file in profiles/ (default: %(default)s)")
            made.add_argument("--data", help="folder with your images and tables")
        return made

    usual = params.DEFAULT_PROFILE
    add("book", _book, "execute every section that changed, then render the pages", usual)
    add("pdf", _pdf, "the whole paper as one PDF (needs a Chromium)", usual)
    run = add("run", _run, "execute and render one section with changed parameters", usual)
    run.add_argument("section", help="file name in book/, without the ending")
    text = "run an expensive experiment and store its tables in book/stored"
    kept = add("store", _store, text, stored.PROFILE)
    kept.add_argument("experiment", choices=sorted(stored.EXPERIMENTS))
    for changed in (run, kept):
        changed.add_argument(
            "-p", dest="changes", action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
        )
    add("check", _check, "compare every stored result with what was written", None)
    add("status", _status, "list the sections, what they took, and whether they are up to date", usual)
    pair = add("compare", _compare, "a page that shows what moved between two builds", None)
    for name in ("first", "second"):
        pair.add_argument(name, help="a profile that was built, its folder, or its claims.json")
    return parser


def _book(chosen: argparse.Namespace) -> str:
    return build.summary(build.build(chosen.profile, chosen.data))


def _pdf(chosen: argparse.Namespace) -> str:
    return f"open {build.print_pdf(chosen.profile, chosen.data)}"


def _run(chosen: argparse.Namespace) -> str:
    changes = params.parse_assignments(chosen.changes)
    made = build.run_section(chosen.section, chosen.profile, chosen.data, changes)
    return "\n".join(f"{name:9} {path}" for name, path in made.items())


def _store(chosen: argparse.Namespace) -> object:
    s = open_study(chosen.profile, chosen.data, **params.parse_assignments(chosen.changes))
    return stored.store(s, chosen.experiment)


def _status(chosen: argparse.Namespace) -> str:
    lines = [f"{'section':16} {'state':12} {'seconds':>8} {'memory, MB':>11}"]
    for row in build.status(chosen.profile, chosen.data):
        seconds, memory = ("" if row[k] is None else row[k] for k in ("seconds", "peak_memory_mb"))
        lines.append(f"{row['section']:16} {row['state']:12} {seconds:>8} {memory:>11}")
    return "\n".join(lines)


def _check(chosen: argparse.Namespace) -> str:
    results, damaged = store.Store().results(), 0
    for folder in tqdm(results, desc="checking", unit="result"):
        try:
            store.check(folder)
        except store.StoreError as error:
            damaged += 1
            tqdm.write(str(error))
    if damaged:
        raise store.StoreError(f"{damaged} of {len(results)} results are damaged: delete what is named above")
    return f"{len(results)} results, all as they were written"


def _compare(chosen: argparse.Namespace) -> str:
    return f"open {build.compare(chosen.first, chosen.second)}"


if __name__ == "__main__":
    sys.exit(main())
