"""How many procedural faces and objects are drawn per second: python -m benchmarks.faces."""

import json
import platform
import statistics
import time
from pathlib import Path

import torch

from faces import make_faces, make_objects
from faces.objects import CLASSES

SIZE, THREADS, REPEATS = 64, 2, 5
TARGET = 300  # faces per second
RESULT = Path("_build/bench/faces.json")


def main() -> None:
    """Draws at 64 px on two threads, five times over, and writes the median and each repeat."""
    torch.set_num_threads(THREADS)
    faces = _rates(lambda: make_faces(40, 8, SIZE, seed=0))
    objects = _rates(lambda: make_objects(320 // len(CLASSES), SIZE, seed=0))
    result = {
        "size": SIZE,
        "threads": THREADS,
        "faces_per_second": statistics.median(faces),
        "faces_per_second_repeats": faces,
        "objects_per_second": statistics.median(objects),
        "objects_per_second_repeats": objects,
        "target_faces_per_second": TARGET,
        "target_met": statistics.median(faces) >= TARGET,
        "torch": torch.__version__,
        "processor": platform.machine(),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"faces: {result['faces_per_second']:.0f} per second at {SIZE} px on {THREADS} threads"
        f" (target {TARGET}), objects: {result['objects_per_second']:.0f}; written to {RESULT}"
    )


def _rates(make) -> list[float]:
    make()  # warm up
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        images = make().sizes["image"]
        rates.append(round(images / (time.perf_counter() - start), 1))
    return rates


if __name__ == "__main__":
    main()
