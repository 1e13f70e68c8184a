"""`python -m benchmarks`: every benchmark, into `_build/bench`."""

import argparse

from benchmarks import faces, lrp

if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Every benchmark, into _build/bench; python -m benchmarks.lrp --help for parts of it.",
    ).parse_args()
    faces.main()
    lrp.main([])
