"""`python -m report`: build the book, run one section, show where a build stands, compare two builds."""

from __future__ import annotations

import argparse
import sys

from report import BuildError, build, compare, print_pdf, run_section, status
from report.build import summary
from study import experiments
from study import parameters as params


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it succeeded, 1 if a build failed, 2 if the request was wrong."""
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.command(chosen)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m report", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        command.add_argument(
            "--profile", default=params.DEFAULT_PROFILE, help="a file in profiles/ (default: demo)"
        )
        command.add_argument("--data", help="folder with your images and tables")
        return command

    add("book", _book, "execute every section that changed, then render the pages")
    add("pdf", _pdf, "the whole paper as one PDF (needs a Chromium)")
    run = add("run", _run, "execute and render one section with changed parameters")
    run.add_argument("section", help="file name in book/, without the ending")
    run.add_argument(
        "-p", dest="changes", action="append", default=[], metavar="NAME=VALUE", help="may be repeated"
    )
    kept = add("store", _store, "run an expensive experiment and store its tables in book/stored")
    kept.add_argument("experiment", choices=sorted(experiments.EXPERIMENTS))
    kept.set_defaults(profile=experiments.PROFILE)
    add("status", _status, "list the sections, what they took, and whether they are up to date")
    pair = commands.add_parser("compare", help="a page that shows what moved between two builds")
    pair.set_defaults(command=_compare)
    for name in ("first", "second"):
        pair.add_argument(name, help="a profile that was built, its folder, or its claims.json")
    return parser


def _book(chosen: argparse.Namespace) -> int:
    print(summary(build(chosen.profile, chosen.data)))
    return 0


def _pdf(chosen: argparse.Namespace) -> int:
    print(f"open {print_pdf(chosen.profile, chosen.data)}")
    return 0


def _run(chosen: argparse.Namespace) -> int:
    changes = params.parse_assignments(chosen.changes)
    made = run_section(chosen.section, chosen.profile, chosen.data, changes)
    for name, path in made.items():
        print(f"{name:9} {path}")
    return 0


def _store(chosen: argparse.Namespace) -> int:
    print(experiments.store(chosen.experiment, chosen.profile, chosen.data))
    return 0


def _status(chosen: argparse.Namespace) -> int:
    print(f"{'section':16} {'state':12} {'seconds':>8} {'memory, MB':>11}")
    for row in status(chosen.profile, chosen.data):
        seconds, memory = ("" if row[k] is None else row[k] for k in ("seconds", "peak_memory_mb"))
        print(f"{row['section']:16} {row['state']:12} {seconds:>8} {memory:>11}")
    return 0


def _compare(chosen: argparse.Namespace) -> int:
    print(f"open {compare(chosen.first, chosen.second)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
