"""analysis.lrp beside zennit and captum: python -m benchmarks.lrp [--quick] [--parts table scaling ...]

Figures go to `_build/bench/lrp.json`, one entry per part, and as tables to `_build/bench/lrp.md`.

table      VGG-16, 224 px, batch of 8, all processor threads. Every method is called in turn, round after
           round, with a plain forward pass (channels_last) before and after it; a figure is the median over
           rounds of a call's seconds over the mean of its two plain passes, per map. Other libraries sit out
           the last round.
           Once with the heap as users of each library find it (analysis.lrp does not change it), and once,
           in a process of its own, after `analysis.memory.keep_heap()` at the start, as the study's workers
           run, which holds for everybody. A peer runs in the memory layout that is faster for it, found out
           first on two images.
scaling    Seconds per map and peak memory for 64, 256 and 1024 images streamed to a file, each in a process
           of its own, through a narrow VGG-16; time for 1, 4 and 16 targets and for 1, 5 and 20 heads through
           the full one, batch of 4.
agreement  VGG-16 at 224 px, one image: largest difference from zennit in float64, relative to the largest
           relevance. At 96 px, eight networks and images: the errors of both in float32 and in both memory
           layouts ("accurate" is contiguous), since sums are rounded differently in each.
precision  A narrow VGG-16 trained on objects for a minute: maps in mixed precision against float32, and
           zennit's in bfloat16 throughout.
gpu        Maps per second in float32 and mixed precision and the share of the matrix-product rate, where
           there is a GPU; "not measured" otherwise.

The full run takes about a quarter of an hour on two quiet cores; `--quick`, a minute or two, has a narrow
network at 64 px and says nothing about speed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from torch import Tensor, nn

from analysis import lrp
from benchmarks import peers
from faces import make_objects
from study import training, vgg
from study.memory import keep_heap

RESULT, TABLES = Path("_build/bench/lrp.json"), Path("_build/bench/lrp.md")
BOX = {"low": (-2.2, -2.1, -1.9), "high": (2.3, 2.5, 2.7)}
COMPOSITES = (*lrp.COMPOSITES, "epsilon_gamma_box")
TABLE_COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_gamma_box")
HEAPS = ("default", "kept")
HEADS = 10
SHARES = ("pixels", "biases", "epsilon")  # who took the logit
LIBRARIES = ("analysis.lrp", "accurate", "zennit", "zennit channels_last")  # errors in float32
LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format


def network(quick: bool) -> vgg.VGG16:
    width, size = (0.125, 64) if quick else (1.0, 224)
    return vgg.vgg16(1000, width=width, size=size, seed=0).eval()


def pixels(count: int, model: vgg.VGG16, seed: int = 0) -> Tensor:
    size = model.architecture.size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def engine(model: nn.Module, name: str, **options) -> lrp.LRP:
    return lrp.LRP(model, name, **(BOX if name == "epsilon_gamma_box" else {}), **options)


def zennit_map(model: nn.Module, images: Tensor, targets: Tensor, name: str) -> Tensor:
    return peers.zennit_map(model, images, targets, peers.zennit_composite(name, BOX, images.dtype))


# Table


class Method(NamedTuple):
    """A row of the table: a call, how many maps per image it makes, and its memory layout."""

    name: str
    library: str
    call: Callable[[], object]
    layout: torch.memory_format = LAST
    maps: int = 1


def table(quick: bool, rounds: int) -> dict:
    """Passes per map of every method with the default heap and with the kept one."""
    rows = []
    for heap in HEAPS:
        rows += _child("heap_table", quick=quick, rounds=rounds, heap=heap)["rows"]
    return {"unit": "plain forward passes per map", "rows": rows}


def heap_table(quick: bool, rounds: int, heap: str) -> dict:
    """One row per method, with one of HEAPS."""
    if heap == "kept" and not keep_heap():
        return {"rows": [{"method": "not measured: this C library has no mallopt"}]}
    model = network(quick)
    images, targets = pixels(8, model), torch.arange(8)
    models = {layout: _laid_out(model, layout) for layout in (CONTIGUOUS, LAST)}

    def explained(label: str, name: str, maps: int = 1, layout=LAST, **options) -> Method:
        call = _explaining(model, images, targets, name, accurate=layout == CONTIGUOUS, **options)
        call()
        return Method(label, "analysis.lrp", call, layout, maps)

    def by_peer(label: str, library: str, peer: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Method:
        def call(layout: torch.memory_format, count: int) -> Callable[[], Tensor]:
            x = images[:count].contiguous(memory_format=layout)
            return lambda: peer(models[layout], x, targets[:count])

        layout = min(models, key=lambda layout: _seconds(call(layout, 2)))
        return Method(label, library, call(layout, len(images)), layout)

    plus = "epsilon_plus"
    methods = [explained(name, name) for name in TABLE_COMPOSITES]
    methods.append(explained("epsilon_plus, mixed precision", plus, mixed=True))
    methods += [explained(f"{name}, accurate", name, layout=CONTIGUOUS) for name in ("epsilon", plus)]
    methods.append(explained(f"epsilon_plus, {HEADS} heads on one trunk", plus, maps=HEADS, heads=HEADS))
    methods.append(explained(f"epsilon_plus, mean over {HEADS} heads", plus, heads=HEADS, mean=True))
    for name in TABLE_COMPOSITES:
        methods.append(by_peer(name, "zennit", lambda m, x, y, name=name: zennit_map(m, x, y, name)))
    for name, rule in (("epsilon", EpsilonRule), (plus, Alpha1_Beta0_Rule)):
        rules = {nn.Conv2d: rule, nn.Linear: EpsilonRule}
        peer = lambda m, x, y, rules=rules: peers.captum_map(m, x, y, rules)  # noqa: E731
        methods.append(by_peer(name, "captum", peer))
    x = images.contiguous(memory_format=LAST)
    plain = Method("plain forward pass", "torch", torch.no_grad()(lambda: models[LAST](x)))
    plain.call()
    return {"rows": _rows(heap, [*methods, plain], plain, rounds)}


def _rows(heap: str, methods: list[Method], plain: Method, rounds: int) -> list[dict]:
    """Every method in turn, round after round, with a plain pass before and after it."""
    seconds: list[list[float]] = [[] for _ in methods]
    passes: list[list[float]] = [[] for _ in methods]
    for number in range(rounds):
        before = _seconds(plain.call)
        for method, times, ratios in zip(methods, seconds, passes, strict=True):
            if method.library in ("zennit", "captum") and number == rounds - 1 > 0:
                continue
            times.append(_seconds(method.call))
            after = _seconds(plain.call)
            ratios.append(times[-1] / statistics.mean((before, after)) / method.maps)
            before = after
            name = f"{method.name}, {method.library}"
            _say(f"heap {heap}, round {number + 1}: {name}: {ratios[-1]:.2f} passes per map")
    return [
        {
            "method": method.name,
            "library": method.library,
            "layout": str(method.layout).removeprefix("torch."),
            "heap": heap,
            "passes": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
            "passes_rounds": ratios,
            "seconds_rounds": times,
        }
        for method, times, ratios in zip(methods, seconds, passes, strict=True)
    ]


def _explaining(
    model: vgg.VGG16,
    images: Tensor,
    targets: Tensor,
    name: str,
    heads: int = 0,
    mean: bool = False,
    **options,
) -> Callable[[], lrp.Explanation]:
    """A call of the engine, prepared; `heads`: this many fresh last layers with 40 classes on one trunk."""
    if not heads:
        prepared = engine(model, name, **options)
        return lambda: prepared.explain(images, targets)
    whole = vgg.sequential(model)
    tops = [nn.Sequential(nn.Linear(whole[-1].in_features, 40)) for _ in range(heads)]
    prepared = engine(whole[:-1], name, heads=tops, **options)
    return lambda: prepared.explain(images, [targets] * heads, mean=mean)


def _laid_out(model: vgg.VGG16, layout: torch.memory_format) -> vgg.VGG16:
    copied = copy.deepcopy(model)
    copied.features.to(memory_format=layout)
    return copied


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# Scaling


def scaling(quick: bool, rounds: int) -> dict:
    """Time and memory against numbers of images, targets and heads."""
    counts = (16, 64, 256) if quick else (64, 256, 1024)
    images = [_child("streamed", quick=quick, count=count) for count in counts]
    model = network(quick)
    x, y = pixels(4, model), torch.arange(4)
    calls = {}
    for count in (1, 4, 16):
        calls["targets", count] = _explaining(
            model, x, (y[:, None] + torch.arange(count)) % 40, "epsilon_plus"
        )
    for count in (1, 5, 20):
        for what, mean in (("heads", False), ("mean over heads", True)):
            calls[what, count] = _explaining(model, x, y, "epsilon_plus", heads=count, mean=mean)
    next(iter(calls.values()))()
    measured = {key: [] for key in calls}
    for _ in range(min(rounds, 2)):
        for key, call in calls.items():
            measured[key].append(_seconds(call))
            _say(f"{key[1]} {key[0]}: {measured[key][-1]:.2f} s")
    lines = [
        {"what": what, "count": count, "seconds": statistics.median(seconds), "seconds_rounds": seconds}
        for (what, count), seconds in measured.items()
    ]
    return {"images": images, "batch": len(x), "targets_and_heads": lines}


def streamed(quick: bool, count: int) -> dict:
    """Streams `count` images through a narrow VGG-16 into a file."""
    model = vgg.vgg16(40, width=0.25, size=64 if quick else 112, seed=0).eval()
    size = model.architecture.size
    plus = engine(model, "epsilon_plus")
    plus.explain(pixels(16, model), torch.arange(16))
    before = _peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        path, shape = Path(folder) / "maps.npy", (count, size, size)
        maps = np.lib.format.open_memmap(path, "w+", dtype=np.float32, shape=shape)

        def write(first: int, explanation: lrp.Explanation) -> None:
            values = explanation.relevance.sum(1).numpy()
            maps[first : first + len(values)] = values
            maps.flush()

        batches = ((pixels(16, model, seed), torch.arange(16)) for seed in range(count // 16))
        seconds = _seconds(lambda: plus.stream(batches, write))
    return {
        "images": count,
        "size": size,
        "seconds_per_map": seconds / count,
        "peak_memory_mb": _peak_memory(),
        "peak_memory_mb_after_one_batch": before,
        "file_mb": count * size**2 * 4 / 1e6,
    }


def _peak_memory() -> float:
    """Peak resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


# Agreement


def agreement(quick: bool, rounds: int) -> dict:
    """Differences from zennit in float64, and the float32 errors of both; the same whatever the rounds."""
    size, size_float32 = (64, 64) if quick else (224, 96)
    model, x = _biased(size, 0, quick)
    model, x, targets = model.double(), x.double(), torch.tensor([3])
    float64 = []
    for name in COMPOSITES:
        reference = zennit_map(model, x, targets, name)
        result = engine(model, name).explain(x, targets)
        shares = {where: (getattr(result, where) / result.start).item() for where in SHARES}
        float64.append({"composite": name, "difference": _error(result.relevance, reference), **shares})
        _say(str(float64[-1]))
    errors: dict[tuple[str, str], list[float]] = {(name, it): [] for name in COMPOSITES for it in LIBRARIES}
    for seed in range(2 if quick else 8):
        model, x = _biased(size_float32, seed, quick)
        exact_model, last = copy.deepcopy(model).double(), _laid_out(model, LAST)
        for name in COMPOSITES:
            exact = engine(exact_model, name).explain(x.double(), targets).relevance
            maps = (
                engine(model, name).explain(x, targets).relevance,
                engine(model, name, accurate=True).explain(x, targets).relevance,
                zennit_map(model, x, targets, name),
                zennit_map(last, x.contiguous(memory_format=LAST), targets, name),
            )
            for library, values in zip(LIBRARIES, maps, strict=True):
                errors[name, library].append(_error(values, exact))
        _say(f"float32, network and image {seed + 1}")
    float32 = [
        {"composite": name, "library": it, "median": statistics.median(e), "largest": max(e), "images": e}
        for (name, it), e in errors.items()
    ]
    return {"size": size, "size_float32": size_float32, "float64": float64, "float32": float32}


def _error(values: Tensor, exact: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return ((values - exact).abs().max() / exact.abs().max()).item()


def _biased(size: int, seed: int, quick: bool) -> tuple[vgg.VGG16, Tensor]:
    model = vgg.vgg16(10, width=0.125 if quick else 1.0, size=size, hidden=256, seed=seed).eval()
    return peers.with_biases(model, seed), pixels(1, model, seed)


# Precision


def precision(quick: bool, rounds: int) -> dict:
    """Mixed precision on a trained network: Pearson correlation and overlap of the top tenth of pixels."""
    size = 64
    objects = make_objects(10 if quick else 60, size, seed=0)
    labels = torch.from_numpy(np.unique(objects.identity.values, return_inverse=True)[1])
    pictures = torch.from_numpy(objects.pixels.values)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    held, used = order[:64], order[64:]
    model = vgg.vgg16(int(labels.max()) + 1, width=0.25, size=size, batch_norm=True, seed=0)
    training.train(
        model,
        pictures[used],
        labels[used],
        samples=len(used) * (1 if quick else 8),
        batch_size=32,
        learning_rate=1e-3,
        weight_decay=1e-4,
        seed=0,
    )
    accuracy = training.accuracy(model, pictures[held], labels[held])
    model = vgg.merge_batch_norm(model)
    x, targets = vgg.normalise(pictures[held]), labels[held]
    rows = []
    for name in COMPOSITES:
        full, mixed = (engine(model, name, mixed=on).explain(x, targets).relevance for on in (False, True))
        rows.append({"composite": name, "precision": "mixed", **_likeness(full, mixed)})
        if name == "epsilon_plus":
            half = zennit_map(copy.deepcopy(model).bfloat16(), x.bfloat16(), targets, name).float()
            rows.append({"composite": name, "precision": "bfloat16, zennit", **_likeness(full, half)})
    return {"size": size, "held_out_accuracy": accuracy, "rows": rows}


def _likeness(full: Tensor, other: Tensor) -> dict:
    """Of maps with channels summed: the mean over images, and the worst image."""
    full, other = full.sum(1).flatten(1), other.sum(1).flatten(1)
    pearson = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(full, other, strict=True)])
    tenth = full.shape[1] // 10
    tops = [maps.topk(tenth, 1).indices for maps in (full, other)]
    masks = [torch.zeros_like(full, dtype=torch.bool).scatter_(1, top, True) for top in tops]
    overlap = (masks[0] & masks[1]).sum(1) / tenth
    return {
        "pearson": pearson.mean().item(),
        "pearson_worst": pearson.min().item(),
        "top_tenth_overlap": overlap.mean().item(),
        "top_tenth_overlap_worst": overlap.min().item(),
    }


# GPU


def gpu(quick: bool, rounds: int) -> dict:
    """Maps per second on a GPU and the share of its matrix-product rate."""
    if not torch.cuda.is_available():
        return {"not_measured": "no CUDA device"}
    model = network(quick).cuda()
    x, targets = pixels(64, model).cuda(), torch.arange(64)
    # Multiply-adds of one forward pass, of which epsilon_plus does three.
    work = 3 * 2 * _multiply_adds(model, x[:1])
    rows = []
    for name, dtype in (("float32", torch.float32), ("mixed", torch.bfloat16)):
        plus = engine(model, "epsilon_plus", mixed=name == "mixed")
        rate = len(x) / _gpu_seconds(lambda plus=plus: plus.explain(x, targets), rounds)
        a = torch.randn(8192, 8192, device="cuda", dtype=dtype)
        peak = 2 * 8192**3 / _gpu_seconds(lambda a=a: a @ a, rounds)
        share = rate * work / peak
        rows.append({"precision": name, "maps_per_second": rate, "share_of_matrix_product_rate": share})
    return {"device": torch.cuda.get_device_name(), "rows": rows}


def _gpu_seconds(call: Callable[[], object], rounds: int) -> float:
    def finished() -> None:
        call()
        torch.cuda.synchronize()

    finished()
    return statistics.median(_seconds(finished) for _ in range(max(3, rounds)))


def _multiply_adds(model: vgg.VGG16, image: Tensor) -> int:
    count = 0
    for layer in vgg.sequential(model):
        with torch.no_grad():
            image = layer(image)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            count += layer.weight[0].numel() * image[0].numel()
    return count


# Running

PARTS = {part.__name__: part for part in (table, scaling, agreement, precision, gpu)}


def _child(function: str, **arguments) -> dict:
    """A function of this module in a process of its own, so that heaps and peaks of memory do not mix."""
    command = [sys.executable, "-m", "benchmarks.lrp", "--child", json.dumps([function, arguments])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tables(result: dict) -> str:
    """Every part that was measured, as Markdown: its lists of rows as tables, without the single rounds."""
    text = ["# analysis.lrp beside zennit and captum"]
    for name, part in result.items():
        text.append(f"## {name}")
        text.append(
            ", ".join(f"{key}: {value}" for key, value in part.items() if not isinstance(value, list))
        )
        text += [_markdown(rows) for rows in part.values() if isinstance(rows, list)]
    return "\n\n".join(text) + "\n"


def _markdown(rows: list[dict]) -> str:
    heads = [key for key, value in rows[0].items() if not isinstance(value, list)]
    cells = [[row.get(head, "") for head in heads] for row in rows]
    cells = [[f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in line] for line in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *cells))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lrp", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a narrow network at 64 px: does it run at all")
    parser.add_argument("--rounds", type=int, help="rounds; 3 unless told, 1 when quick")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        function, given = options.child
        print(json.dumps(globals()[function](**given)))
        return
    quick, rounds = options.quick, options.rounds or (1 if options.quick else 3)
    some = set(options.parts) < set(PARTS)  # then the other parts stay as they were measured before
    result = json.loads(RESULT.read_text()) if some and RESULT.exists() else {}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        circumstances = {
            "quick": quick,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "processor": platform.processor() or platform.machine(),
            "load_at_start": os.getloadavg()[0],
        }
        result[part] = _child(part, quick=quick, rounds=rounds) | {"circumstances": circumstances}
        RESULT.write_text(json.dumps(result, indent=2) + "\n")  # at once: a later part may be stopped
        TABLES.write_text(_tables(result))
    print(f"{_tables(result)}\nwritten to {RESULT} and {TABLES}")


if __name__ == "__main__":
    main()
