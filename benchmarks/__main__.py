"""`python -m benchmarks`: every benchmark, into `_build/bench`."""

from benchmarks import faces, lrp

if __name__ == "__main__":
    faces.main()
    lrp.main([])
