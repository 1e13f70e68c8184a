"""Batched drawing in torch: coordinates, coverage from signed distances, textures, backgrounds, camera.

Fields are (N, y, x) float32; images (N, 3, y, x) float32 from 0 to 1; a parameter is (N, 1, 1) and a colour
(N, 3, 1, 1). Signed distances are negative inside. Only operations whose result does not depend on an
element's place in memory are used (no atan2, pow or sigmoid), so that an image is the same in any batch.
"""

import functools
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .outlines import Number

SMALLEST = 16  # pixels a side: fewer show no parts
TEXTURE_SIZE = 256
CHUNK_PIXELS = 2**16  # keeps the fields of one chunk in the processor's cache
Job = TypeVar("Job")
Drawn = TypeVar("Drawn")


def chunks(images: int, size: int) -> list[slice]:
    """Consecutive rows of `images` pictures of `size` x `size` pixels that are drawn together.

    ValueError for a size below SMALLEST.
    """
    if size < SMALLEST:
        raise ValueError(f"size must be at least {SMALLEST} pixels, got {size}")
    step = max(1, CHUNK_PIXELS // size**2)
    return [slice(i, min(i + step, images)) for i in range(0, images, step)]


def side_by_side(draw: Callable[[Job], Drawn], jobs: Iterable[Job]) -> list[Drawn]:
    """`draw(job)` for every job, in order, on as many threads as torch has.

    Each job is drawn by one thread: splitting every one of thousands of small operations would gain less, and
    stall at each of them when other programs are busy. torch's own number of threads is 1 meanwhile.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(torch.no_grad()(draw), jobs))
    finally:
        torch.set_num_threads(threads)


def grid(size: int) -> tuple[Tensor, Tensor]:
    """Pixel centres (1, size, size) as x to the right and y downwards, from -1 to 1 over the frame."""
    line = (torch.arange(size, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
    return line.view(1, 1, size).expand(1, size, size), line.view(1, size, 1).expand(1, size, size)


def smoothstep(low: Number, high: Number, value: Tensor) -> Tensor:
    """0 up to `low`, 1 from `high` on, a smooth cubic between; falling where `low` is above `high`."""
    return _cubic((value - low) * (1.0 / (high - low)))


def cover(distance: Tensor, pixel: Number) -> Tensor:
    """Share of each pixel inside a shape: anti-aliased over one pixel width (in the unit of the distance)."""
    return (distance * (-1.0 / pixel)).add_(0.5).clamp_(0.0, 1.0)


def soft(distance: Tensor, width: Number) -> Tensor:
    """1 well inside a shape and 0 well outside, with a smooth edge of the given half width."""
    return _cubic((distance * (-0.5 / width)).add_(0.5))


def _cubic(t: Tensor) -> Tensor:
    """3 t^2 - 2 t^3 for t cut to 0..1; overwrites t."""
    t.clamp_(0.0, 1.0)
    return (t * -2.0).add_(3.0).mul_(t).mul_(t)


def hill(square: Tensor) -> Tensor:
    """A bell of height 1 from a squared distance: nearly exp(-square), but exactly 0 beyond 4, and fast."""
    t = (square * -0.25).add_(1.0).clamp_(min=0.0)
    t.mul_(t)
    return t.mul_(t)


def bump(x: Tensor, y: Tensor, width: Number, height: Number) -> Tensor:
    """A hill of height 1 at the origin, 1/e at distance `width` across and `height` down."""
    return hill((x * (1.0 / width)).square_() + (y * (1.0 / height)).square_())


def turn(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates in a frame turned clockwise on the screen by `angle` (radians)."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def over(image: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """`colour` (N, 3, y or 1, x or 1) laid over `image` where `alpha` (N, y, x) is 1."""
    return torch.lerp(image, colour.expand_as(image), alpha.unsqueeze(1).expand_as(image))


def shade(image: Tensor, factor: Tensor) -> Tensor:
    """`image` (or a colour) times a field (N, y, x)."""
    return image * factor.unsqueeze(1)


def rgb(red: Number, green: Number, blue: Number) -> Tensor:
    """A colour (N, 3, 1, 1) from three parameters (N, 1, 1), or (1, 3, 1, 1) from three numbers."""
    return torch.stack([torch.as_tensor(channel).view(-1, 1, 1) for channel in (red, green, blue)], 1)


def palette(stops: list[tuple[float, float, float]], place: Tensor) -> Tensor:
    """Colours (N, 3, 1, 1) at `place` (N, 1, 1), 0 to 1, along a list of colours."""
    table = torch.tensor(stops, dtype=torch.float32)
    t = place.flatten().clamp(0.0, 1.0) * (len(stops) - 1)
    low = t.long().clamp(max=len(stops) - 2)
    mixed = table[low] + (table[low + 1] - table[low]) * (t - low).unsqueeze(1)
    return mixed.view(-1, 3, 1, 1)


def difference(field: Tensor, axis: int) -> Tensor:
    """Central difference per pixel of a field (N, y, x) along an axis, zero at the border."""
    n = field.shape[axis]
    inner = (field.narrow(axis, 2, n - 2) - field.narrow(axis, 0, n - 2)) * 0.5
    return torch.nn.functional.pad(inner, [1, 1, 0, 0] if axis == 2 else [0, 0, 1, 1])


@functools.lru_cache(maxsize=4)
def textures(seed: int) -> Tensor:
    """Tileable noise (3, 257, 257), zero mean and unit variance: cloudy (0), strands (1), spots (2).

    The last row and column repeat the first, so that interpolation wraps.
    """
    n = TEXTURE_SIZE
    rng = np.random.default_rng([seed, 4])
    frequency = np.fft.fftfreq(n)[:, None] * n, np.fft.rfftfreq(n)[None, :] * n
    radius = np.hypot(*frequency)
    cloudy = np.where(radius > 0, 1.0 / np.maximum(radius, 1.0) ** 1.6, 0.0)
    strands = np.exp(-(((radius - 22.0) / 14.0) ** 2))
    spots = np.exp(-(((radius - 26.0) / 5.0) ** 2))
    tiles = []
    for spectrum in (cloudy, strands, spots):
        tile = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, n))) * spectrum, s=(n, n))
        tiles.append(np.pad((tile - tile.mean()) / tile.std(), (0, 1), mode="wrap"))
    return torch.from_numpy(np.stack(tiles).astype(np.float32))


def texture(seed: int, kind: int, x: Tensor, y: Tensor) -> Tensor:
    """Noise of one kind at coordinates in tiles (1 = one whole tile), bilinear and wrapping."""
    tile = textures(seed)[kind : kind + 1].unsqueeze(0)
    x, y = torch.broadcast_tensors(x, y)
    place = torch.stack([x - torch.floor(x), y - torch.floor(y)], -1) * 2.0 - 1.0
    return torch.nn.functional.grid_sample(
        tile.expand(len(place), -1, -1, -1), place, mode="bilinear", align_corners=True
    ).squeeze(1)


def background(x: Tensor, y: Tensor, colour: Tensor, view: dict[str, Tensor], seed: int) -> Tensor:
    """A colour gradient with a cloudy pattern: image (N, 3, y, x) from the background_* views."""
    angle = view["background_angle"] * (math.pi / 180.0)
    slope = x * torch.cos(angle) + y * torch.sin(angle)
    place = view["background_place"]
    pattern = texture(seed, 0, x * 0.2 + place, y * 0.2 + place * 0.618)
    field = 1.0 + view["background_slope"] * slope + view["background_texture"] * pattern
    return shade(colour, field).clamp(0.0, 1.0)


def camera(image: Tensor, blur: Tensor, noise: Tensor, seeds: Tensor) -> Tensor:
    """Blur (N, 1, 1; standard deviation in 64ths of the frame), add noise (N, 1, 1; standard deviation in grey
    levels): uint8 (N, 3, y, x).

    `seeds` (N,) are whole numbers, one sample of noise each.
    """
    image = _blur(_film(image), blur)
    shape = tuple(image.shape[1:])
    streams = [np.random.default_rng(int(seed)) for seed in seeds.flatten()]
    sample = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])
    image = image * 255.0 + torch.from_numpy(sample) * noise.unsqueeze(1)
    return torch.round(image).clamp(0.0, 255.0).to(torch.uint8)


def _film(image: Tensor) -> Tensor:
    """Brightness above 0.8 is compressed, so that nothing bright burns out to white."""
    bright = (image - 0.8).clamp(min=0.0) / 0.2
    return image.clamp(0.0, 0.8) + 0.2 * bright / (1.0 + bright)


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    sigma = sigma * (image.shape[-1] / 64.0)
    reach = math.ceil(2 * image.shape[-1] / 64)
    offsets = torch.arange(reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma.view(-1, 1).clamp(min=0.05)) ** 2)
    weights = weights / (weights[:, :1] + 2.0 * weights[:, 1:].sum(1, keepdim=True))
    for axis in (2, 3):
        size = image.shape[axis]
        pad = [reach, reach, 0, 0] if axis == 3 else [0, 0, reach, reach]
        padded = torch.nn.functional.pad(image, pad, mode="replicate")
        total = image * weights[:, 0].view(-1, 1, 1, 1)
        for k in range(1, reach + 1):
            pair = padded.narrow(axis, reach - k, size) + padded.narrow(axis, reach + k, size)
            total = total + pair * weights[:, k].view(-1, 1, 1, 1)
        image = total
    return image
