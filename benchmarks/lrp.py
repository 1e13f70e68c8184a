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
           layouts (here "accurate" is contiguous), since sums are rounded differently in each.
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

import numpy as np
import torch
from captum.attr import LRP as CaptumLRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from torch import Tensor, nn
from zennit import composites, rules, types

from analysis.lrp import LRP
from faces import make_objects
from study import training, vgg
from study.memory import keep_heap

RESULT, TABLES = Path("_build/bench/lrp.json"), Path("_build/bench/lrp.md")
PARTS = ("table", "scaling", "agreement", "precision", "gpu")
BOX = {"low": (-2.2, -2.1, -1.9), "high": (2.3, 2.5, 2.7)}
COMPOSITES = (
    "epsilon",
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
)
TABLE_COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_gamma_box")
HEAPS = ("default", "kept")
PLAIN = ("plain forward pass", "torch")
HEADS = 10
LIBRARIES = ("own", "own accurate", "zennit", "zennit channels_last")  # whose float32 errors are measured


def network(quick: bool, classes: int = 1000) -> vgg.VGG16:
    width, size = (0.125, 64) if quick else (1.0, 224)
    return vgg.vgg16(classes, width=width, size=size, seed=0).eval()


def pixels(count: int, model: vgg.VGG16, seed: int = 0) -> Tensor:
    size = model.architecture.size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def own(model: nn.Module, name: str, **options) -> LRP:
    return LRP(model, name, **(BOX if name == "epsilon_gamma_box" else {}), **options)


def zennit_composite(name: str, dtype: torch.dtype = torch.float32):
    low, high = (torch.tensor(BOX[end], dtype=dtype).view(1, 3, 1, 1) for end in ("low", "high"))
    table = {
        "epsilon_plus": composites.EpsilonPlus,
        "epsilon_plus_flat": composites.EpsilonPlusFlat,
        "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1,
        "epsilon_alpha2_beta1_flat": composites.EpsilonAlpha2Beta1Flat,
        "epsilon_gamma_box": lambda: composites.EpsilonGammaBox(low, high),
        "epsilon": lambda: composites.LayerMapComposite(
            [*composites.layer_map_base(), (types.Linear, rules.Epsilon())]
        ),
    }
    return table[name]()


def zennit_map(model: nn.Module, images: Tensor, targets: Tensor, name: str) -> Tensor:
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    with zennit_composite(name, images.dtype).context(model) as hooked:
        logits = hooked(images)
        start = torch.zeros_like(logits).scatter_(1, targets[:, None], 1.0) * logits.detach()
        return torch.autograd.grad(logits, images, start)[0]


def captum_map(model: nn.Module, images: Tensor, targets: Tensor, convolution: type) -> Tensor:
    for layer in model.modules():  # captum removes the rules after every call
        if isinstance(layer, nn.Conv2d):
            layer.rule = convolution()
        elif isinstance(layer, nn.Linear):
            layer.rule = EpsilonRule()
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    return CaptumLRP(model).attribute(images, target=targets).detach()


# Table


def table(quick: bool, rounds: int) -> dict:
    """Seconds and passes per map of every method with the default heap and with the kept one."""
    return {heap: _child(heap, quick, rounds) for heap in HEAPS}


def heap_table(quick: bool, rounds: int, heap: str) -> dict:
    """One row per method, with one of HEAPS."""
    if heap == "kept" and not keep_heap():
        return {"not_measured": "this C library has no mallopt"}
    model = network(quick)
    images = pixels(8, model)
    targets = torch.arange(8)
    layouts = {layout: _laid_out(model, layout) for layout in (torch.contiguous_format, torch.channels_last)}
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    placed = {}
    for name in TABLE_COMPOSITES:
        engine = own(model, name)
        calls[name, "analysis.lrp"] = lambda engine=engine: engine.explain(images, targets)
    mixed = own(model, "epsilon_plus", mixed=True)
    calls["epsilon_plus, mixed precision", "analysis.lrp"] = lambda: mixed.explain(images, targets)
    for name in ("epsilon", "epsilon_plus"):
        engine = own(model, name, accurate=True)
        calls[f"{name}, accurate", "analysis.lrp"] = lambda engine=engine: engine.explain(images, targets)
        placed[f"{name}, accurate", "analysis.lrp"] = "contiguous_format"
    trunk, heads = _heads(model, HEADS)
    shared = own(trunk, "epsilon_plus", heads=heads)
    per_head = (f"epsilon_plus, {HEADS} heads on one trunk", "analysis.lrp")
    calls[per_head] = lambda: shared.explain(images, [targets] * HEADS)
    calls[f"epsilon_plus, mean over {HEADS} heads", "analysis.lrp"] = lambda: shared.explain(
        images, [targets] * HEADS, mean=True
    )
    maps = {per_head: HEADS}
    peers = {
        (name, "zennit"): lambda m, x, t, name=name: zennit_map(m, x, t, name) for name in TABLE_COMPOSITES
    }
    peers["epsilon", "captum"] = lambda m, x, t: captum_map(m, x, t, EpsilonRule)
    peers["epsilon_plus", "captum"] = lambda m, x, t: captum_map(m, x, t, Alpha1_Beta0_Rule)
    for key, peer in peers.items():
        seconds = {
            layout: _seconds(
                lambda peer=peer, m=m, layout=layout: peer(m, _placed(images[:2], layout), targets[:2])
            )
            for layout, m in layouts.items()
        }
        layout = min(seconds, key=seconds.get)
        placed[key] = str(layout).removeprefix("torch.")
        x = _placed(images, layout)
        calls[key] = lambda peer=peer, m=layouts[layout], x=x: peer(m, x, targets)
    last, x = layouts[torch.channels_last], _placed(images, torch.channels_last)
    calls[PLAIN] = lambda: _plain(last, x)
    for key, call in calls.items():
        if key[1] in ("analysis.lrp", "torch"):
            call()
    rows = _rounds(heap, calls, rounds, maps, placed)
    return {"images": len(images), "size": model.architecture.size, "rows": rows}


def _rounds(heap: str, calls: dict, rounds: int, maps: dict, layouts: dict) -> list[dict]:
    """One row per method; `maps` per call and image where not 1, `layouts` where not channels_last."""
    seconds, passes = {key: [] for key in calls}, {key: [] for key in calls}
    for number in range(rounds):
        before = _seconds(calls[PLAIN])
        for key, call in calls.items():
            if key[1] in ("zennit", "captum") and number == rounds - 1 > 0:
                continue
            seconds[key].append(_seconds(call))
            after = _seconds(calls[PLAIN])
            passes[key].append(seconds[key][-1] / statistics.mean((before, after)) / maps.get(key, 1))
            before = after
            _say(f"heap {heap}, round {number + 1}: {', '.join(key)}: {passes[key][-1]:.2f} passes per map")
    return [
        {
            "method": key[0],
            "library": key[1],
            "layout": layouts.get(key, "channels_last"),
            "passes_per_map": statistics.median(passes[key]),
            "passes_per_map_rounds": passes[key],
            "seconds_per_call_rounds": seconds[key],
        }
        for key in calls
    ]


def _laid_out(model: vgg.VGG16, layout: torch.memory_format) -> vgg.VGG16:
    copied = copy.deepcopy(model)
    copied.features.to(memory_format=layout)
    return copied


def _placed(images: Tensor, layout: torch.memory_format) -> Tensor:
    return images.contiguous(memory_format=layout)


def _plain(model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        model(images)


def _heads(model: vgg.VGG16, count: int) -> tuple[nn.Sequential, list[nn.Sequential]]:
    """All but the last layer, and as many fresh last layers with 40 classes."""
    whole = vgg.sequential(model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return whole[:-1], [nn.Sequential(nn.Linear(whole[-1].in_features, 40)) for _ in range(count)]


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# Scaling


def scaling(quick: bool, rounds: int) -> dict:
    """Time and memory against numbers of images, targets and heads."""
    counts = (16, 64, 256) if quick else (64, 256, 1024)
    images = [_child("images", quick, rounds, "--images", str(count)) for count in counts]
    model = network(quick)
    x, targets = pixels(4, model), torch.arange(4)
    engine = own(model, "epsilon_plus")
    calls = {
        ("targets", t): lambda t=t: engine.explain(x, (targets[:, None] + torch.arange(t)) % 40)
        for t in (1, 4, 16)
    }
    for count in (1, 5, 20):
        trunk, heads = _heads(model, count)
        shared = own(trunk, "epsilon_plus", heads=heads)
        calls["heads", count] = lambda shared=shared, count=count: shared.explain(x, [targets] * count)
        calls["mean over heads", count] = lambda shared=shared, count=count: shared.explain(
            x, [targets] * count, mean=True
        )
    engine.explain(x, targets)
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


def images(quick: bool, count: int) -> dict:
    """Streams `count` images through a narrow VGG-16 into a file."""
    model = vgg.vgg16(40, width=0.25, size=64 if quick else 112, seed=0).eval()
    size = model.architecture.size
    engine = own(model, "epsilon_plus")
    engine.explain(pixels(16, model), torch.arange(16))
    before = _peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        maps = np.lib.format.open_memmap(
            Path(folder) / "maps.npy", "w+", dtype=np.float32, shape=(count, size, size)
        )

        def write(first: int, explanation) -> None:
            values = explanation.relevance.sum(1).numpy()
            maps[first : first + len(values)] = values
            maps.flush()

        batches = ((pixels(16, model, seed), torch.arange(16)) for seed in range(count // 16))
        seconds = _seconds(lambda: engine.stream(batches, write))
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


def agreement(quick: bool) -> dict:
    """Differences from zennit in float64, and the float32 errors of both."""
    model, x = _biased(64 if quick else 224, 0, quick)
    model, x, targets = model.double(), x.double(), torch.tensor([3])
    found = {}
    for name in COMPOSITES:
        reference = zennit_map(model, x, targets, name)
        ours = own(model, name).explain(x, targets)
        found[name] = {
            "difference_float64": ((ours.relevance - reference).abs().max() / reference.abs().max()).item(),
            "share_pixels": (ours.pixels / ours.start).item(),
            "share_biases": (ours.biases / ours.start).item(),
            "share_epsilon": (ours.epsilon / ours.start).item(),
        }
        _say(f"{name}: {found[name]}")
    size = 64 if quick else 96
    errors = {name: {library: [] for library in LIBRARIES} for name in found}
    for seed in range(2 if quick else 8):
        model, x = _biased(size, seed, quick)
        exact_model, last = copy.deepcopy(model).double(), _laid_out(model, torch.channels_last)
        for name, measured in errors.items():
            exact = own(exact_model, name).explain(x.double(), targets).relevance
            maps = {
                "own": own(model, name).explain(x, targets).relevance,
                "own accurate": own(model, name, accurate=True).explain(x, targets).relevance,
                "zennit": zennit_map(model, x, targets, name),
                "zennit channels_last": zennit_map(last, _placed(x, torch.channels_last), targets, name),
            }
            for library, values in maps.items():
                measured[library].append(((values - exact).abs().max() / exact.abs().max()).item())
        _say(f"float32, network and image {seed + 1}")
    for name, measured in errors.items():
        found[name]["float32_error"] = {
            library: {"median": statistics.median(values), "largest": max(values), "images": values}
            for library, values in measured.items()
        }
    return {"size": 64 if quick else 224, "size_float32": size, "composites": found}


def _biased(size: int, seed: int, quick: bool) -> tuple[vgg.VGG16, Tensor]:
    """A network with biases that are not 0, as fresh ones have, and an image."""
    model = vgg.vgg16(10, width=0.125 if quick else 1.0, size=size, hidden=256, seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.bias.normal_(0.0, 0.05, generator=generator)
    return model, pixels(1, model, seed)


# Precision


def precision(quick: bool) -> dict:
    """Mixed precision on a trained network: Pearson correlation and overlap of the top tenth of pixels."""
    size = 64
    objects = make_objects(10 if quick else 60, size, seed=0)
    labels = torch.from_numpy(np.unique(objects.identity.values, return_inverse=True)[1])
    faces = torch.from_numpy(objects.pixels.values)
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    held, used = order[:64], order[64:]
    model = vgg.vgg16(int(labels.max()) + 1, width=0.25, size=size, batch_norm=True, seed=0)
    training.fit(
        model,
        faces[used],
        labels[used],
        epochs=1 if quick else 8,
        batch_size=32,
        learning_rate=1e-3,
        weight_decay=1e-4,
        seed=0,
        progress=False,
    )
    accuracy = training.accuracy(model, faces[held], labels[held])
    model = vgg.merge_batch_norm(model)
    x, targets = vgg.normalise(faces[held]), labels[held]
    found = {}
    for name in COMPOSITES:
        full = own(model, name).explain(x, targets).relevance
        found[name] = {"mixed": _likeness(full, own(model, name, mixed=True).explain(x, targets).relevance)}
    half = zennit_map(copy.deepcopy(model).bfloat16(), x.bfloat16(), targets, "epsilon_plus").float()
    full = own(model, "epsilon_plus").explain(x, targets).relevance
    found["epsilon_plus"]["bfloat16_throughout_zennit"] = _likeness(full, half)
    return {"size": size, "held_out_accuracy": float(accuracy), "composites": found}


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
    work = 3 * 2 * sum(_multiply_adds(model, x[:1]))
    found = {"device": torch.cuda.get_device_name()}
    for name, dtype, options in (("float32", torch.float32, {}), ("mixed", torch.bfloat16, {"mixed": True})):
        engine = own(model, "epsilon_plus", **options)
        rate = len(x) / _gpu_seconds(lambda engine=engine: engine.explain(x, targets), rounds)
        a = torch.randn(8192, 8192, device="cuda", dtype=dtype)
        peak = 2 * 8192**3 / _gpu_seconds(lambda a=a: a @ a, rounds)
        found[name] = {"maps_per_second": rate, "share_of_matrix_product_rate": rate * work / peak}
    return found


def _gpu_seconds(call: Callable[[], object], rounds: int) -> float:
    call()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(max(3, rounds)):
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _multiply_adds(model: vgg.VGG16, image: Tensor) -> list[int]:
    counts = []
    for layer in vgg.sequential(model):
        with torch.no_grad():
            image = layer(image)
        if isinstance(layer, nn.Conv2d):
            counts.append(layer.weight[0].numel() * image[0].numel())
        elif isinstance(layer, nn.Linear):
            counts.append(layer.weight.numel())
    return counts


# Running


def _child(part: str, quick: bool, rounds: int, *options: str) -> dict:
    """A part in a process of its own, so that heaps and peaks of memory do not mix."""
    command = [sys.executable, "-m", "benchmarks.lrp", "--child", part, "--rounds", str(rounds), *options]
    done = subprocess.run(command + ["--quick"] * quick, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tables(result: dict) -> str:
    """Every part that was measured, as Markdown."""
    text = [f"# analysis.lrp beside zennit and captum{' (quick: no statement)' * _any_quick(result)}"]
    if "table" in result:
        text += ["## Plain forward passes per map", "median of the rounds (lowest to highest), memory layout"]
        text.append(
            _markdown(("method", "library", *(f"{heap} heap" for heap in HEAPS)), _table_rows(result))
        )
    if "scaling" in result:
        part = result["scaling"]
        fields = ("images", "seconds_per_map", "peak_memory_mb", "peak_memory_mb_after_one_batch")
        rows = [[f"{line[field]:.4g}" for field in fields] for line in part["images"]]
        text += ["## Images, targets, heads", _markdown(fields, rows)]
        rows = [(line["what"], line["count"], f"{line['seconds']:.2f}") for line in part["targets_and_heads"]]
        text.append(_markdown(("what", "count", f"seconds for {part['batch']} images"), rows))
    if "agreement" in result:
        part = result["agreement"]
        rows = [
            (
                name,
                f"{found['difference_float64']:.0e}",
                *(f"{e['median']:.1e} ({e['largest']:.1e})" for e in found["float32_error"].values()),
                *(f"{found[f'share_{where}']:.2f}" for where in ("pixels", "biases", "epsilon")),
            )
            for name, found in part["composites"].items()
        ]
        heads = ("composite", "from zennit, float64", *LIBRARIES)
        text += [
            "## Agreement and rounding",
            f"Of the largest relevance. Float64: one image at {part['size']} px, with the shares of the logit that "
            f"pixels, biases and stabilisers took. Float32: median (largest) over networks and images at "
            f"{part['size_float32']} px.",
            _markdown((*heads, "pixels", "biases", "epsilon"), rows),
        ]
    if "precision" in result:
        part = result["precision"]
        fields = ("pearson", "pearson_worst", "top_tenth_overlap", "top_tenth_overlap_worst")
        rows = [
            (name, kind, *(f"{likeness[field]:.5f}" for field in fields))
            for name, found in part["composites"].items()
            for kind, likeness in found.items()
        ]
        text += [
            "## Mixed precision against float32",
            f"Network trained on objects, {part['held_out_accuracy']:.2f} right on held-out images.",
            _markdown(("composite", "precision", *fields), rows),
        ]
    if "gpu" in result:
        text += ["## GPU", "```json\n" + json.dumps(result["gpu"], indent=1) + "\n```"]
    text += ["## Circumstances"]
    text.append("\n".join(f"- {name}: {part['circumstances']}" for name, part in result.items()))
    return "\n\n".join(text) + "\n"


def _any_quick(result: dict) -> bool:
    return any(part["circumstances"]["quick"] for part in result.values())


def _table_rows(result: dict) -> list[tuple]:
    cells: dict[tuple, dict[str, str]] = {}
    for heap in HEAPS:
        for row in result["table"][heap].get("rows", []):
            rounds = row["passes_per_map_rounds"]
            cell = f"{row['passes_per_map']:.2f} ({min(rounds):.2f} to {max(rounds):.2f})"
            cells.setdefault((row["method"], row["library"]), {})[heap] = f"{cell}, {row['layout']}"
    return [(*key, *(found.get(heap, "not measured") for heap in HEAPS)) for key, found in cells.items()]


def _markdown(heads: tuple, rows: list) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lrp", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a narrow network at 64 px: does it run at all")
    parser.add_argument("--rounds", type=int, help="rounds; 3 unless told, 1 when quick")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=64, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    quick, rounds = options.quick, options.rounds or (1 if options.quick else 3)
    if options.child:
        parts = {
            "table": lambda: table(quick, rounds),
            **{heap: lambda heap=heap: heap_table(quick, rounds, heap) for heap in HEAPS},
            "scaling": lambda: scaling(quick, rounds),
            "images": lambda: images(quick, options.images),
            "agreement": lambda: agreement(quick),
            "precision": lambda: precision(quick),
            "gpu": lambda: gpu(quick, rounds),
        }
        print(json.dumps(parts[options.child]()))
        return
    some = set(options.parts) < set(PARTS)  # then the other parts stay as they were measured before
    result = json.loads(RESULT.read_text()) if some and RESULT.exists() else {}
    for part in options.parts:
        circumstances = {
            "quick": quick,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "processor": platform.processor() or platform.machine(),
            "load_at_start": os.getloadavg()[0],
        }
        result[part] = _child(part, quick, rounds) | {"circumstances": circumstances}
        _write(result)  # at once: a later part may be stopped
    print(f"{_tables(result)}\nwritten to {RESULT} and {TABLES}")


def _write(result: dict) -> None:
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    TABLES.write_text(_tables(result))


if __name__ == "__main__":
    main()
