"""`python -m benchmarks`: every benchmark, into `_build/bench`; `python -m benchmarks.lrp --help` for parts of it."""

from benchmarks import faces, lrp

if __name__ == "__main__":
    faces.main()
    lrp.main([])
