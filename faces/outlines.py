"""Signed distances (N, y, x) float32 to plain shapes, negative inside, at coordinates (x, y) about their centre."""

import functools
import math

import torch
from torch import Tensor

Number = float | Tensor


def oval(x: Tensor, y: Tensor, a: Number, b: Number) -> Tensor:
    """Distance from the origin as a share of that to the ellipse with half axes a across and b down."""
    return torch.sqrt((x / a) ** 2 + (y / b) ** 2)


def circle(x: Tensor, y: Tensor, radius: Number) -> Tensor:
    """Signed distance to a circle about the origin."""
    return torch.sqrt(x * x + y * y) - radius


def either(*distances: Tensor) -> Tensor:
    """Union."""
    return functools.reduce(torch.minimum, distances)


def both(*distances: Tensor) -> Tensor:
    """Intersection."""
    return functools.reduce(torch.maximum, distances)


def ellipse(x: Tensor, y: Tensor, a: Number, b: Number) -> Tensor:
    """Signed distance to an ellipse of half axes a, b, exact near a circle."""
    return (oval(x, y, a, b) - 1.0) * (a * b / (0.5 * (a + b)))


def box(x: Tensor, y: Tensor, a: Number, b: Number, corner: Number = 0.0) -> Tensor:
    """Rectangle of half sizes a, b with rounded corners."""
    dx, dy = x.abs() - a + corner, y.abs() - b + corner
    outside = torch.sqrt(dx.clamp(min=0.0) ** 2 + dy.clamp(min=0.0) ** 2)
    return outside + torch.maximum(dx, dy).clamp(max=0.0) - corner


def stick(x: Tensor, y: Tensor, x0: Number, y0: Number, x1: Number, y1: Number, radius: Number) -> Tensor:
    """Line segment with round ends."""
    dx, dy = x1 - x0, y1 - y0
    along = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy + 1e-9)).clamp(0.0, 1.0)
    return torch.sqrt((x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2) - radius


def convex(x: Tensor, y: Tensor, *points: tuple[Number, Number]) -> Tensor:
    """Convex polygon, corners in clockwise order on the screen."""
    sides = []
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        dx, dy = torch.as_tensor(x1 - x0), torch.as_tensor(y1 - y0)
        sides.append(((x - x0) * dy - (y - y0) * dx) / torch.sqrt(dx * dx + dy * dy))
    return both(*sides)


def line(distance: Tensor, half: Number) -> Tensor:
    """Stroke along a shape's edge."""
    return distance.abs() - half


def around(x: Tensor, y: Tensor, times: Number) -> tuple[Tensor, Tensor]:
    """Fold the plane into `times` equal sectors about the origin; the sector's axis becomes x.

    The angle comes from a polynomial (error below 1e-3), which is the same in any batch, unlike torch.atan2.
    """
    ax, ay = x.abs(), y.abs()
    ratio = torch.minimum(ax, ay) / torch.maximum(ax, ay).clamp(min=1e-6)
    s = ratio * ratio
    a = ((-0.0464964749 * s + 0.15931422) * s - 0.327622764) * s * ratio + ratio
    a = torch.where(ay > ax, math.pi / 2 - a, a)
    a = torch.where(x < 0, math.pi - a, a)
    sector = 2.0 * math.pi / times
    a = torch.where(y < 0, -a, a) / sector
    a = (a - torch.floor(a + 0.5)) * sector
    radius = circle(x, y, 0.0)
    return radius * torch.cos(a), radius * torch.sin(a)
