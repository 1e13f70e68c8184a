"""How many procedural faces and objects are drawn per second: python -m benchmarks.faces."""

import json
import platform
import time
from pathlib import Path

import torch

from faces import make_faces, make_objects
from faces.objects import CLASSES

SIZE, THREADS, REPEATS = 64, 2, 5
TARGET = 300  # faces per second
RESULT = Path("_build/bench/faces.json")


def measure() -> dict:
    """Faces and objects per second at 64 px on two threads: the median of five repeats, and each of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        faces = _rates(lambda: make_faces(40, 8, SIZE, seed=0))
        objects = _rates(lambda: make_objects(320 // len(CLASSES), SIZE, seed=0))
    finally:
        torch.set_num_threads(before)
    median = sorted(faces)[REPEATS // 2]
    return {
        "size": SIZE,
        "threads": THREADS,
        "faces_per_second": median,
        "faces_per_second_repeats": faces,
        "objects_per_second": sorted(objects)[REPEATS // 2],
        "objects_per_second_repeats": objects,
        "target_faces_per_second": TARGET,
        "target_met": median >= TARGET,
        "torch": torch.__version__,
        "processor": platform.machine(),
    }


def _rates(make) -> list[float]:
    make()  # warm up
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        images = make().sizes["image"]
        rates.append(round(images / (time.perf_counter() - start), 1))
    return rates


def main() -> None:
    result = measure()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"faces: {result['faces_per_second']:.0f} per second at {SIZE} px on {THREADS} threads"
        f" (target {TARGET}), objects: {result['objects_per_second']:.0f}; written to {RESULT}"
    )


if __name__ == "__main__":
    main()
