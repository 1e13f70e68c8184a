"""Procedural objects for pretraining: classes of everyday things as varied in their views as the faces."""

import inspect

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from . import shapes
from .drawing import (
    background,
    camera,
    chunks,
    cover,
    difference,
    grid,
    over,
    shade,
    side_by_side,
    soft,
    texture,
    turn,
)
from .outlines import either, oval

# Every function of `shapes`; an image's random numbers depend on its class's place in this table.
CLASSES = {
    name: outline
    for name, outline in vars(shapes).items()
    if inspect.isfunction(outline) and outline.__module__ == shapes.__name__
}
_VIEW, _SHAPE = 64, 24  # random numbers of an image's view, then those of its shape


def make_objects(images_per_class: int, size: int, seed: int, classes: int | None = None) -> xr.Dataset:
    """`images_per_class` pictures of `size` x `size` pixels of each of the first `classes` classes (default: all).

    Returns a Dataset with `pixels (image, channel, y, x)` uint8 and the coordinates `identity` (the class's name)
    and `name` ("mug/0003") on `image`, class-major. Image k of a class depends only on (seed, class, k). Shape,
    colours, pattern, pose, scale, position, light, background, clutter and noise vary from image to image, and
    colours are drawn alike for all classes. Raises ValueError for a size below 16, no images or a negative seed.
    """
    names = list(CLASSES)[:classes]
    tables = [_numbers(index, images_per_class, seed) for index in range(len(names))]
    jobs = [(index, rows) for index in range(len(names)) for rows in chunks(images_per_class, size)]
    pixels = side_by_side(lambda job: _draw(names[job[0]], tables[job[0]][job[1]], size, seed), jobs)
    return xr.Dataset(
        {"pixels": (("image", "channel", "y", "x"), torch.cat(pixels).numpy())},
        coords={
            "identity": ("image", np.repeat(names, images_per_class)),
            "name": ("image", [f"{label}/{k:04d}" for label in names for k in range(images_per_class)]),
            "channel": ["R", "G", "B"],
        },
        attrs={"source": "procedural objects", "seed": seed},
    )


def _numbers(index: int, images: int, seed: int) -> Tensor:
    """Random numbers (images, _VIEW + _SHAPE) float32 from 0 to 1 of a class."""
    streams = [np.random.default_rng([seed, index, k, 5]) for k in range(images)]
    return torch.from_numpy(np.stack([stream.random(_VIEW + _SHAPE, np.float32) for stream in streams]))


def _draw(label: str, table: Tensor, size: int, seed: int) -> Tensor:
    """Pixels (N, 3, size, size) uint8 of one class from its random numbers (N, _VIEW + _SHAPE)."""
    view, shape = shapes.Draw(table[:, :_VIEW]), shapes.Draw(table[:, _VIEW:])
    frame_x, frame_y = grid(size)
    back = {
        "background_slope": view(-0.4, 0.4),
        "background_angle": view(-180.0, 180.0),
        "background_texture": view(0.0, 0.3),
        "background_place": view(-3.0, 3.0),
    }
    image = background(frame_x, frame_y, _colour(view), back, seed)
    image = _clutter(image, frame_x, frame_y, view, 2.0 / size)

    scale = view(0.58, 0.92)
    x, y = (frame_x - view(-0.2, 0.2)) / scale, (frame_y - view(-0.2, 0.2)) / scale
    x, y = turn(x, y, view(-0.55, 0.55))
    x = (x + view(-0.25, 0.25) * y) / view(0.82, 1.12) * torch.sign(view(-1.0, 1.0))
    layers = CLASSES[label](x, y, shape)
    pixel = (2.0 / size) / scale
    light = view(-0.8, 0.8), view(-0.9, 0.1)
    pattern = _pattern(x, y, view, seed)
    colours = [_colour(view) for _ in range(4)]

    whole = either(*(distance for distance, *_ in layers))
    slope = difference(whole, 2) / pixel, difference(whole, 1) / pixel
    reach = view(0.03, 0.12)
    cast = soft(whole + reach * (light[0] * slope[0] + light[1] * slope[1]), 0.5 * reach + pixel)
    image = shade(image, 1.0 - view(0.1, 0.45) * cast)
    for distance, colour, *tone in layers:
        tone, gloss = _sheet(distance, light, pixel, *tone)
        if colour == 0:
            tone = tone * (1.0 + pattern)
        image = over(image, shade(colours[colour], tone) + gloss.unsqueeze(1), cover(distance, pixel))
    image = image * torch.exp(view(-0.3, 0.25)).unsqueeze(1)
    return camera(image, view(0.0, 0.6), view(0.5, 6.0), torch.floor(view(0.0, 2.0**24 - 1)))


def _colour(view: shapes.Draw) -> Tensor:
    """A colour (N, 3, 1, 1), from grey to strong, from dark to light."""
    hue, saturation, value = view(0.0, 1.0), view(0.0, 0.85), view(0.2, 0.95)
    channels = []
    for third in (0.0, 1.0 / 3.0, 2.0 / 3.0):
        distance = (hue - third - torch.floor(hue - third + 0.5)).abs()
        strength = (2.0 - 6.0 * distance).clamp(0.0, 1.0)
        channels.append(value * (1.0 - saturation * (1.0 - strength)))
    return torch.stack(channels, 1)


def _clutter(image: Tensor, x: Tensor, y: Tensor, view: shapes.Draw, pixel: float) -> Tensor:
    """A plain ellipse and a plain bar somewhere behind the object."""
    at_x, a, at_y, b = view(-1.0, 1.0), view(0.15, 0.6), view(-1.0, 1.0), view(0.15, 0.6)
    blob = (oval(x - at_x, y - at_y, a, b) - 1.0) * 0.3
    image = over(image, _colour(view), 0.6 * cover(blob, pixel * 3.0))
    u, _ = turn(x - view(-0.9, 0.9), y, view(-1.6, 1.6))
    return over(image, _colour(view), 0.5 * cover(u.abs() - view(0.02, 0.2), pixel * 2.0))


def _pattern(x: Tensor, y: Tensor, view: shapes.Draw, seed: int) -> Tensor:
    """Stripes, checks, mottle or nothing, from -1 to 1 times its contrast (N, y, x)."""
    kind, frequency, contrast = view(0.0, 4.0), view(8.0, 22.0), view(0.1, 0.4)
    along, across = turn(x, y, view(0.0, 3.14))
    stripes = (torch.sin(along * frequency) * 3.0).clamp(-1.0, 1.0)
    checks = stripes * (torch.sin(across * frequency) * 3.0).clamp(-1.0, 1.0)
    mottle = texture(seed, 0, x * 0.5 + kind, y * 0.5).clamp(-2.0, 2.0) * 0.5
    field = torch.where(kind < 1.0, stripes, torch.where(kind < 2.0, checks, mottle))
    return field * torch.where(kind < 3.0, contrast, 0.0)


def _sheet(
    distance: Tensor, light: tuple[Tensor, Tensor], pixel: Tensor, tone: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Brightness and gloss of a layer as if cut from a thick, round-edged sheet: lambertian shading of its rim."""
    near_edge = (1.0 + distance / 0.22).clamp(0.0, 1.0)
    nx, ny = ((difference(distance, k) / pixel * near_edge).clamp(-0.9, 0.9) * 0.75 for k in (2, 1))
    nz = torch.sqrt((1.0 - nx * nx - ny * ny).clamp(min=0.05))
    length = torch.sqrt(light[0] * light[0] + light[1] * light[1] + 1.0)
    lambert = ((nx * light[0] + ny * light[1] + nz) / length).clamp(min=0.0)
    return (0.45 + 0.65 * lambert) * tone, 0.25 * (lambert * lambert) ** 8
