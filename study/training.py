"""Training and finetuning one network, and its logits: the one trainer of all experiments.

AdamW (Loshchilov & Hutter 2019) or Muon, with a one-cycle learning rate (Smith & Topin 2019) and cross entropy.
"""

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from study import parallel
from study.vgg import VGG16, normalise, portions, sequential

# Augmentation moves an image by at most this share of its side, and scales it by at most this factor.
SHIFT = 0.06
SCALE = 0.08
REPORTS = 5  # how often a training looks at its validation images


def train(
    model: VGG16,
    pixels: Tensor,
    labels: Tensor,
    *,
    samples: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    scope: str = "all",
    trunk_done: bool = False,
    validation: tuple[Tensor, Tensor] | None = None,
    augment: bool = False,
    bfloat16: bool = False,
    muon: bool = False,
    after_step: Callable[[float], None] = lambda share: None,
) -> pd.DataFrame:
    """Train `model` in place and leave it in evaluation mode with the weights of the last step.

    `pixels (N, 3, H, W)` uint8, `labels (N,)` int64 in `0..classes - 1`; `validation` is another such pair,
    which is only reported on and never chooses anything. `samples` images are shown, rounded to whole batches.
    `scope` says what learns: the three linear layers ("classifier"), these and the last block of convolutions
    ("last_block") or everything ("all"); what does not learn runs in evaluation mode, its batch norm statistics
    untouched. With `trunk_done`, `pixels` and those of `validation` are what that has already made of them, by `split`.
    `learning_rate` is the peak of the cycle, of AdamW or (`muon`) of `Muon`. `augment` mirrors each image at random
    and shifts and scales it a little. `seed` fixes data order, dropout and augmentation: same machine, same number of
    threads, same arguments, same weights. `bfloat16` runs layers in mixed precision: nearly twice as fast where the
    processor supports it, far slower where it does not. `after_step(share)` is called after each step with the share
    of training done. Tells `parallel.progress` of the images shown.

    Returns one row for each of REPORTS equal parts of the training: `images` shown so far, `train_loss` and
    `train_accuracy` (running, with dropout and augmentation), `validation_accuracy` (NaN without validation) and
    `seconds`.

    Raises ValueError for an empty split, labels that are no class or all of one class, and a loss that is not finite.
    """
    classes = model.architecture.classes
    _check_labels(labels, classes, "training")
    if labels.unique().numel() < 2:
        raise ValueError(f"all training labels are {labels[0].item()}; at least two classes are needed")
    if validation is not None:
        _check_labels(validation[1], classes, "validation")

    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last)
    trunk, head = split(model, scope)
    frozen_once = trunk_done or (scope != "all" and not augment)
    inputs = predict(trunk, pixels) if frozen_once and not trunk_done else pixels
    checked: nn.Module = head if frozen_once else model
    if validation and frozen_once and not trunk_done:
        validation = predict(trunk, validation[0]), validation[1]
    steps = math.ceil(len(labels) / min(batch_size, len(labels)))  # of an epoch
    total = max(1, round(samples / len(labels) * steps))
    reports = min(REPORTS, total)
    optimiser = (Muon if muon else torch.optim.AdamW)(
        _decayed(head, weight_decay), lr=learning_rate, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=total)
    generator = torch.Generator().manual_seed(seed)

    batches = _batches(len(labels), steps, generator)
    history, done = [], 0
    # Dropout can only draw from the global generator: lend it our seed and give the state back afterwards.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for part in range(1, reports + 1):
            started = time.perf_counter()
            loss_sum, correct, shown = 0.0, 0, 0
            model.eval()
            head.train()
            for batch in islice(batches, total * part // reports - done):
                x, y = inputs[batch].to(device), labels[batch].to(device)
                if not frozen_once:
                    x = _prepare(trunk, x, generator if augment else None)
                with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                    logits = head(x)
                loss = functional.cross_entropy(logits.float(), y)
                if not torch.isfinite(loss):
                    raise ValueError(
                        f"the loss is {loss.item()} at step {done + 1} of {total}; "
                        f"learning_rate {learning_rate} is too high for this network and data"
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                done += 1
                after_step(done / total)
                shown += len(batch)
                loss_sum += loss.item() * len(batch)
                correct += (logits.argmax(1) == y).sum().item()
            row = {
                "images": round(samples * done / total),
                "train_loss": loss_sum / shown,
                "train_accuracy": correct / shown,
                "validation_accuracy": math.nan
                if validation is None
                else accuracy(checked, *validation, normalised=frozen_once),
                "seconds": time.perf_counter() - started,
            }
            history.append(row)
            parallel.progress(samples / reports)
    model.to(memory_format=torch.contiguous_format).eval()
    return pd.DataFrame(history)


def predict(model: nn.Module, pixels: Tensor, *, normalised: bool = False) -> Tensor:
    """Outputs of `model` in evaluation mode, float32 on the CPU: `(N, classes)` logits for a VGG16.

    `pixels (N, 3, H, W)` uint8 or float in 0..255; with `normalised=True` they are taken as `normalise`
    gives them. Any part of a network will do: `sequential(model)[:-1]` gives the last hidden layer.
    """
    spatial = pixels.ndim == 4
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    outputs = []
    with torch.inference_mode():
        for batch in portions(pixels):
            images = batch.to(device) if normalised else normalise(batch.to(device))
            images = images.contiguous(memory_format=torch.channels_last) if spatial else images
            outputs.append(model(images).float().cpu())
    return torch.cat(outputs)


def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor, *, normalised: bool = False) -> float:
    """Share of `pixels`, as `predict` takes them, whose largest logit is that of `labels (N,)`, in 0..1."""
    return (predict(model, pixels, normalised=normalised).argmax(1) == labels).float().mean().item()


def _batches(images: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of images, all in random order again and again, `steps` batches each time."""
    while True:
        # Nearly equal batches: a last batch of one or two images would be noise at full step size.
        yield from torch.randperm(images, generator=generator).tensor_split(steps)


def split(model: VGG16, scope: str) -> tuple[nn.Module, nn.Module]:
    """The part that stays as it is and the part that learns; the second takes the first one's output."""
    if scope == "all":
        return nn.Identity(), model
    layers = sequential(model)
    first = len(model.features) + 2  # after average pooling and flattening
    if scope == "last_block":
        first = [k for k, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)][-2] + 1
    return layers[:first], layers[first:]


class Muon(torch.optim.AdamW):
    """AdamW in which weights of two and more dimensions take steps whose directions all count alike.

    Jordan et al. 2024, "Muon: an optimizer for hidden layers"; kernels `(out, in, k, k)` are taken as matrices
    `(out, in k k)`, and the step is scaled to the size of AdamW's (Liu et al. 2025). `torch.optim.Muon` takes matrices
    alone. The demo's identity networks, shown 8,640 images, name 79 % of new images of their people by it where AdamW's
    name 65 %.
    """

    MOMENTUM = 0.95
    LENGTH = 0.2  # root mean square of AdamW's steps at learning rate 1

    @torch.no_grad()
    def step(self) -> None:
        """One step; uses the gradients of the weights up."""
        for group in self.param_groups:
            for weight in (p for p in group["params"] if p.ndim > 1 and p.grad is not None):
                held = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                held.mul_(self.MOMENTUM).add_(weight.grad)
                direction = _orthogonal((weight.grad + self.MOMENTUM * held).flatten(1))
                size = self.LENGTH * max(direction.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction.reshape(weight.shape), alpha=-group["lr"] * size)
                weight.grad = None  # AdamW passes it over
        super().step()


def _orthogonal(matrix: Tensor, steps: int = 3) -> Tensor:
    """Roughly the nearest matrix whose singular values are 1, by Newton and Schulz's iteration (Jordan et al.)."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x.T if tall else x


def _decayed(module: nn.Module, weight_decay: float) -> list[dict]:
    """Parameter groups: weights decay; biases and batch norm, which set no scale of their own, do not."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]


def _prepare(trunk: nn.Module, pixels: Tensor, generator: torch.Generator | None) -> Tensor:
    images = normalise(pixels)
    if generator is not None:
        images = _augment(images, generator)
    with torch.no_grad():
        return trunk(images.contiguous(memory_format=torch.channels_last))


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of `images (N, 3, H, W)`; shift by up to SHIFT of the side, scale by up to 1 +- SCALE."""
    n = len(images)
    uniform = torch.rand(n, 4, generator=generator) * 2 - 1
    scale = 1 + SCALE * uniform[:, 0]
    transform = torch.zeros(n, 2, 3)
    transform[:, 0, 0] = torch.where(uniform[:, 1] < 0, -scale, scale)
    transform[:, 1, 1] = scale
    # The sampling grid spans -1..1, two units for one side.
    transform[:, :, 2] = 2 * SHIFT * uniform[:, 2:]
    grid = functional.affine_grid(transform.to(images.device), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _check_labels(labels: Tensor, classes: int, split: str) -> None:
    if len(labels) == 0:
        raise ValueError(f"the {split} split is empty")
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ValueError(
            f"{split} labels hold {outside[0].item()}; the network's classes are 0..{classes - 1}"
        )
