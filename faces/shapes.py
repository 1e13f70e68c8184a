"""Outlines of everyday objects as layers of signed distances.

A class is a function of object coordinates (x to the right, y downwards, both from about -1 to 1) and of a
`Draw`, which hands out random parameters; it returns its layers from back to front. Colours are numbers into a
random palette of the image, so that no colour belongs to a class.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Number = float | Tensor


class Layer(NamedTuple):
    """Signed distance (N, y, x), index of its colour in the image's palette, and brightness of that colour."""

    distance: Tensor
    colour: int
    tone: float = 1.0


class Draw:
    """Random parameters (N, 1, 1), uniform between two limits, taken in order from a table (N, k) of 0 to 1."""

    def __init__(self, table: Tensor) -> None:
        self._columns = iter(table.unbind(1))

    def __call__(self, low: float, high: float) -> Tensor:
        return low + (high - low) * next(self._columns).view(-1, 1, 1)

    def whole(self, low: int, high: int) -> Tensor:
        """Whole numbers from `low` to `high`."""
        return torch.floor(self(low, high + 0.999))


# ---------------------------------------------------------------- primitives


def circle(x: Tensor, y: Tensor, radius: Number) -> Tensor:
    return torch.sqrt(x * x + y * y) - radius


def ellipse(x: Tensor, y: Tensor, a: Number, b: Number) -> Tensor:
    q = torch.sqrt((x / a) ** 2 + (y / b) ** 2)
    return (q - 1.0) * (a * b / (0.5 * (a + b)))


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


def either(*distances: Tensor) -> Tensor:
    """Union."""
    total = distances[0]
    for distance in distances[1:]:
        total = torch.minimum(total, distance)
    return total


def both(*distances: Tensor) -> Tensor:
    """Intersection."""
    total = distances[0]
    for distance in distances[1:]:
        total = torch.maximum(total, distance)
    return total


def without(shape: Tensor, hole: Tensor) -> Tensor:
    return torch.maximum(shape, -hole)


def line(distance: Tensor, half: Number) -> Tensor:
    """Stroke along a shape's edge."""
    return distance.abs() - half


def angle(x: Tensor, y: Tensor) -> Tensor:
    """Angle of (x, y) in radians by a polynomial (error below 1e-3; the same in any batch, unlike torch.atan2)."""
    ax, ay = x.abs(), y.abs()
    ratio = torch.minimum(ax, ay) / torch.maximum(ax, ay).clamp(min=1e-6)
    s = ratio * ratio
    a = ((-0.0464964749 * s + 0.15931422) * s - 0.327622764) * s * ratio + ratio
    a = torch.where(ay > ax, math.pi / 2 - a, a)
    a = torch.where(x < 0, math.pi - a, a)
    return torch.where(y < 0, -a, a)


def around(x: Tensor, y: Tensor, times: Number) -> tuple[Tensor, Tensor]:
    """Fold the plane into `times` equal sectors about the origin; the sector's axis becomes x."""
    radius = torch.sqrt(x * x + y * y)
    sector = 2.0 * math.pi / times
    a = angle(x, y) / sector
    a = (a - torch.floor(a + 0.5)) * sector
    return radius * torch.cos(a), radius * torch.sin(a)


# ---------------------------------------------------------------- classes


def mug(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h, ear = r(0.38, 0.52), r(0.42, 0.62), r(0.16, 0.26)
    handle = line(ellipse(x - w, y, ear * 1.2, h * 0.55), r(0.045, 0.075))
    body = box(x, y, w, h, 0.08)
    rim = ellipse(x, y + h - 0.03, w, r(0.08, 0.16))
    return [Layer(handle, 0, 0.9), Layer(body, 0), Layer(rim, 0, 1.1), Layer(rim + 0.05, 1, 0.5)]


def bottle(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, neck, shoulder = r(0.22, 0.34), r(0.07, 0.12), r(-0.35, -0.05)
    body = box(x, y - 0.45 - shoulder / 2, w, 0.45 - shoulder / 2, 0.10)
    slope = both(
        x.abs() - neck - (w - neck) * ((y - shoulder + 0.3) / 0.36).clamp(0.0, 1.0), (y - 0.2).abs() - 0.75
    )
    top = box(x, y + 0.6, neck, 0.25)
    label = both(box(x, y - 0.35, w, r(0.15, 0.3)), body)
    cap = box(x, y + 0.82, neck + 0.03, 0.08, 0.02)
    return [
        Layer(either(body, both(slope, y - 0.3, shoulder - 0.32 - y), top), 0),
        Layer(label, 1),
        Layer(cap, 2),
    ]


def chair(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, seat, leg, skew = r(0.34, 0.46), r(0.0, 0.15), r(0.03, 0.055), r(0.1, 0.25)
    back = box(x - skew, y + 0.45, w, 0.45, 0.06)
    slots = box(x - skew, y + 0.42, w - 0.11, r(0.12, 0.3))
    cushion = convex(
        x, y, (skew - w, seat - 0.07), (skew + w, seat - 0.07), (w, seat + 0.13), (-w, seat + 0.13)
    )
    legs = either(
        stick(x, y, skew - w + 0.03, seat, skew - w + 0.05, 0.75, leg),
        stick(x, y, skew + w - 0.03, seat, skew + w - 0.03, 0.75, leg),
        stick(x, y, -w + 0.04, seat + 0.1, -w, 0.92, leg),
        stick(x, y, w - 0.04, seat + 0.1, w, 0.92, leg),
    )
    posts = either(
        stick(x, y, skew - w + 0.03, -0.6, skew - w + 0.03, seat, leg),
        stick(x, y, skew + w - 0.03, -0.6, skew + w - 0.03, seat, leg),
    )
    return [Layer(legs, 0, 0.8), Layer(posts, 0, 0.9), Layer(without(back, slots), 0), Layer(cushion, 1)]


def table(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, depth, leg = r(0.7, 0.9), r(0.12, 0.25), r(0.035, 0.07)
    top = convex(x, y, (-w + 0.15, -0.35 - depth), (w - 0.15, -0.35 - depth), (w, -0.3), (-w, -0.3))
    edge = box(x, y + 0.26, w, 0.05)
    low = r(0.55, 0.8)
    legs = either(
        stick(x, y, -w + 0.09, -0.2, -w + 0.09, low, leg),
        stick(x, y, w - 0.09, -0.2, w - 0.09, low, leg),
        stick(x, y, -w + 0.28, -0.2, -w + 0.28, low - 0.2, leg * 0.8),
        stick(x, y, w - 0.28, -0.2, w - 0.28, low - 0.2, leg * 0.8),
    )
    return [Layer(legs, 1, 0.8), Layer(top, 0), Layer(edge, 0, 0.75)]


def lamp(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    top, low, base = r(0.18, 0.32), r(0.45, 0.62), r(0.25, 0.4)
    cut = r(-0.15, 0.05)
    shade_ = convex(x, y, (-top, -0.85), (top, -0.85), (low, cut), (-low, cut))
    pole = stick(x, y, 0.0, cut, 0.0, 0.8, r(0.03, 0.06))
    foot = ellipse(x, y - 0.82, base, 0.11)
    band = both(shade_, (y - cut + 0.06).abs() - 0.05)
    return [Layer(pole, 1), Layer(foot, 1), Layer(shade_, 0), Layer(band, 2)]


def umbrella(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.75, 0.9), r(0.55, 0.75)
    low = -0.02
    dome = both(ellipse(x, y - low, w, h), y - low)
    scallops = circle((x / w * 2.0 - torch.floor(x / w * 2.0) - 0.5) * w / 2.0, y - low - 0.06, w / 4.0)
    canopy = without(dome, scallops)
    rib = both(canopy, x.abs() - w * 0.5 * torch.sqrt((1.0 - ((y - low) / h) ** 2).clamp(min=0.0)))
    end = r(0.6, 0.8)
    hook = both(line(circle(x - 0.12, y - end, 0.12), 0.035), end - y)
    pole = either(stick(x, y, 0.0, -h - 0.08, 0.0, end, 0.032), hook)
    return [Layer(pole, 1), Layer(canopy, 0), Layer(rib, 2)]


def key(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    bow, end, tooth = r(0.26, 0.36), r(0.75, 0.92), r(0.15, 0.26)
    head = without(ellipse(x + 0.5, y, bow, bow * r(0.8, 1.15)), circle(x + 0.5, y, bow * r(0.4, 0.62)))
    shaft = stick(x, y, -0.28, 0.0, end, 0.0, r(0.05, 0.08))
    a, b = r(0.05, 0.14), r(0.24, 0.34)
    teeth = either(
        box(x - end + a, y - tooth / 2, 0.05, tooth / 2 + 0.02),
        box(x - end + b, y - tooth * 0.4, 0.05, tooth * r(0.35, 0.6) + 0.03),
    )
    return [Layer(either(head, shaft, teeth), 0)]


def hammer(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, top = r(0.05, 0.09), r(0.14, 0.2)
    handle = stick(x, y, 0.0, -0.5, 0.0, 0.85, w)
    block = box(x + 0.15, y + 0.6, r(0.24, 0.34), top, 0.04)
    claw = convex(x, y, (0.1, -0.6 - top), (0.55, -0.62), (0.6, -0.5), (0.1, -0.6 + top))
    grip = stick(x, y, 0.0, 0.45, 0.0, 0.85, w + 0.03)
    return [Layer(handle, 0), Layer(claw, 1, 0.85), Layer(block, 1), Layer(grip, 2)]


def scissors(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    spread, ring = r(0.16, 0.38), r(0.17, 0.24)
    reach = r(0.75, 0.9)
    blades = [
        either(
            convex(x * s, y, (spread - 0.03, -reach), (spread + 0.03, -reach), (0.06, 0.12), (-0.10, 0.08)),
            stick(x * s, y, 0.0, 0.1, -spread * 0.9, 0.5, 0.05),
        )
        for s in (1.0, -1.0)
    ]
    loop = line(ellipse(x.abs() - spread - 0.05, y - 0.65, ring, ring * 1.2), 0.055)
    return [
        Layer(blades[0], 0),
        Layer(blades[1], 0, 0.8),
        Layer(loop, 1),
        Layer(circle(x, y - 0.1, 0.045), 2),
    ]


def book(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h, lift = r(0.6, 0.85), r(0.4, 0.6), r(0.08, 0.22)
    a = x.abs()
    bend = y + lift * torch.sin((a / w).clamp(max=1.1) * 2.6)
    pages = both(a - w + 0.04, bend.abs() - h + 0.04)
    cover_ = both(a - w, (bend - 0.05).abs() - h)
    rows = torch.sin(bend * r(26.0, 40.0))
    text = both(pages + 0.09, 0.07 - a, rows * 0.05 + 0.02)
    spine = both(a - 0.02, pages)
    return [Layer(cover_, 0), Layer(pages, 1, 1.15), Layer(text, 2, 0.6), Layer(spine, 0, 0.6)]


def clock(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    radius, hour, minute = r(0.65, 0.82), r(0.0, 6.28), r(0.0, 6.28)
    dial = circle(x, y, radius)
    fx, fy = around(x, y, 12.0)
    ticks = box(fx - radius * 0.82, fy, radius * 0.07, 0.022)
    hands = either(
        stick(x, y, 0.0, 0.0, torch.cos(hour) * radius * 0.42, torch.sin(hour) * radius * 0.42, 0.045),
        stick(x, y, 0.0, 0.0, torch.cos(minute) * radius * 0.66, torch.sin(minute) * radius * 0.66, 0.032),
    )
    return [Layer(dial, 0), Layer(dial + r(0.07, 0.13), 1, 1.1), Layer(ticks, 2, 0.6), Layer(hands, 2, 0.5)]


def car(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    roof, front, back = r(-0.5, -0.32), r(0.2, 0.42), r(-0.62, -0.3)
    body = box(x, y - 0.12, 0.88, r(0.16, 0.24), 0.10)
    cabin = convex(x, y, (back + 0.12, roof), (front - 0.08, roof), (front + 0.22, 0.0), (back - 0.1, 0.0))
    glass = both(cabin + 0.07, (x - (front + back) / 2).abs() * -1.0 + 0.035, y + 0.03)
    wx, radius = r(0.46, 0.56), r(0.17, 0.22)
    wheel = circle(x.abs() - wx, y - 0.34, radius)
    return [
        Layer(either(body, cabin), 0),
        Layer(glass, 1, 1.1),
        Layer(wheel, 2, 0.4),
        Layer(wheel + radius * 0.5, 1, 0.9),
    ]


def boat(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    deck, low = r(0.25, 0.35), r(0.6, 0.75)
    hull = convex(x, y, (-0.85, deck), (0.88, deck), (r(0.45, 0.65), low), (r(-0.65, -0.5), low))
    mast = stick(x, y, 0.0, deck, 0.0, -0.88, 0.028)
    main = convex(x, y, (0.05, -0.82), (r(0.5, 0.72), deck - 0.1), (0.05, deck - 0.1))
    jib = convex(x, y, (-0.05, r(-0.75, -0.5)), (-0.05, deck - 0.12), (r(-0.65, -0.4), deck - 0.12))
    return [Layer(mast, 2, 0.6), Layer(main, 1), Layer(jib, 1, 0.88), Layer(hull, 0)]


def house(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, eaves, peak = r(0.48, 0.68), r(-0.25, -0.05), r(-0.9, -0.6)
    wall = box(x, y - (0.75 + eaves) / 2, w, (0.75 - eaves) / 2)
    roof = convex(x, y, (0.0, peak), (w + 0.18, eaves + 0.04), (-w - 0.18, eaves + 0.04))
    side = r(0.14, 0.28)
    door = box(x + side, y - 0.53, 0.10, 0.22)
    window = box(x - side, y - r(0.2, 0.4), r(0.09, 0.15), r(0.09, 0.14))
    chimney = box(x - w * r(0.45, 0.65), y - peak - 0.2, 0.07, 0.24)
    return [
        Layer(chimney, 2, 0.8),
        Layer(wall, 0),
        Layer(roof, 1),
        Layer(door, 2, 0.7),
        Layer(both(window, wall + 0.04), 3, 1.1),
    ]


def tree(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    trunk = convex(x, y, (-0.07, 0.0), (0.07, 0.0), (r(0.10, 0.18), 0.92), (r(-0.18, -0.10), 0.92))
    size = r(0.3, 0.42)
    crown = either(
        circle(x, y + 0.48, size),
        circle(x + r(0.25, 0.4), y + r(0.15, 0.3), size * 0.85),
        circle(x - r(0.25, 0.4), y + r(0.15, 0.3), size * 0.85),
        circle(x, y + 0.1, size * 0.9),
    )
    crown = crown + 0.025 * torch.sin(x * 23.0 + 3.0 * torch.sin(y * 19.0)) * torch.sin(y * 21.0)
    return [Layer(trunk, 1, 0.8), Layer(crown, 0)]


def fir(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    trunk = box(x, y - 0.78, r(0.06, 0.11), 0.18)
    w, step = r(0.5, 0.68), r(0.3, 0.36)
    tiers = [
        convex(
            x,
            y,
            (0.0, -0.95 + k * step * 0.95),
            (w * (0.55 + 0.225 * k), -0.28 + k * step),
            (-w * (0.55 + 0.225 * k), -0.28 + k * step),
        )
        for k in (2, 1, 0)
    ]
    return [Layer(trunk, 1, 0.8), *(Layer(tier, 0, 0.85 + 0.1 * k) for k, tier in enumerate(tiers))]


def cactus(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w = r(0.13, 0.19)
    stem = stick(x, y, 0.0, -0.65, 0.0, 0.6, w)
    left, right = r(-0.1, 0.25), r(-0.15, 0.2)
    arms = either(
        stick(x, y, 0.0, left, -0.42, left, w * 0.6),
        stick(x, y, -0.42, left, -0.42, left - r(0.25, 0.45), w * 0.6),
        stick(x, y, 0.0, right, 0.42, right, w * 0.6),
        stick(x, y, 0.42, right, 0.42, right - r(0.25, 0.45), w * 0.6),
    )
    pot = convex(x, y, (-0.36, 0.5), (0.36, 0.5), (0.26, 0.92), (-0.26, 0.92))
    return [Layer(either(stem, arms), 0), Layer(pot, 1)]


def flower(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    petals, reach, heart = r.whole(5, 9), r(0.24, 0.32), r(0.13, 0.2)
    top = y + 0.35
    fx, fy = around(x, top, petals)
    petal = ellipse(fx - reach, fy, reach * 0.8, r(0.11, 0.17))
    stem = stick(x, y, 0.0, -0.3, r(-0.1, 0.1), 0.92, 0.035)
    leaf_ = ellipse(x - 0.2 + 0.4 * (y - 0.5), y - 0.5 + 0.3 * x, 0.22, 0.08)
    return [Layer(stem, 2, 0.8), Layer(leaf_, 2), Layer(petal, 0), Layer(circle(x, top, heart), 1)]


def leaf(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, bend = r(0.34, 0.52), r(-0.15, 0.15)
    u = x - bend * (1.0 - y * y)
    blade = (u.abs() - w * (1.0 - (y + 0.08) ** 2 / 0.72).clamp(min=-0.5) * (1.0 + 0.35 * y)) * 0.75
    vein = both(u.abs() - 0.022, y - 0.95, -0.75 - y)
    rows = torch.sin((y - u.abs() * 0.7) * r(18.0, 26.0))
    ribs = both(blade + 0.05, 0.035 - 0.02 - (rows - 0.86) * 0.15)
    return [Layer(blade, 0), Layer(ribs, 1, 0.8), Layer(vein, 1, 0.8)]


def mushroom(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.55, 0.8), r(0.45, 0.68)
    cap = both(ellipse(x, y - 0.02, w, h), y - 0.05)
    stem = convex(x, y, (-0.14, 0.0), (0.14, 0.0), (r(0.16, 0.28), 0.85), (r(-0.28, -0.16), 0.85))
    gills = ellipse(x, y - 0.04, w * 0.92, 0.09)
    dots = either(
        circle(x, y + h * 0.6, r(0.07, 0.12)),
        circle(x + w * 0.5, y + h * 0.28, r(0.06, 0.1)),
        circle(x - w * 0.45, y + h * 0.3, r(0.06, 0.11)),
    )
    return [Layer(stem, 1), Layer(gills, 1, 0.7), Layer(cap, 0), Layer(both(dots, cap), 2, 1.1)]


def fish(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.5, 0.62), r(0.24, 0.38)
    body = ellipse(x + 0.15, y, w, h)
    tail = without(
        convex(x, y, (0.85, -r(0.25, 0.4)), (0.85, r(0.25, 0.4)), (0.28, 0.0)),
        circle(x - 0.98, y, r(0.15, 0.3)),
    )
    fin = convex(x, y, (-0.25, -h * 0.8), (r(-0.05, 0.1), -h - r(0.12, 0.28)), (0.15, -h * 0.7))
    belly = convex(x, y, (-0.1, h * 0.8), (0.15, h * 0.8), (0.12, h + r(0.08, 0.2)))
    bands = both(body, torch.sin(x * r(9.0, 16.0)) * 0.08 + 0.02)
    gill = both(body, line(circle(x + 0.62, y, 0.28), 0.02), -0.62 - x)
    return [Layer(either(tail, fin, belly), 1), Layer(body, 0), Layer(bands, 2), Layer(gill, 1, 0.7)]


def butterfly(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    a = x.abs()
    lean = r(0.3, 0.6)
    upper = ellipse(
        a - 0.42 + lean * (y + 0.3) * 0.5, y + 0.28 + lean * (a - 0.42) * 0.6, 0.40, r(0.28, 0.38)
    )
    lower = ellipse(a - 0.32, y - 0.35, r(0.24, 0.34), r(0.26, 0.36))
    body = ellipse(x, y, 0.07, 0.55)
    feeler = stick(a, y, 0.02, -0.5, 0.18, -0.8, 0.02)
    spots = either(circle(a - 0.5, y + 0.36, r(0.08, 0.14)), circle(a - 0.34, y - 0.36, r(0.06, 0.12)))
    wings = either(upper, lower)
    return [Layer(feeler, 2, 0.5), Layer(wings, 0), Layer(both(spots, wings), 1), Layer(body, 2, 0.5)]


def star(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    outer, inner = r(0.75, 0.9), r(0.34, 0.46)
    fx, fy = around(y * -1.0, x, 5.0)
    fy = fy.abs()
    ix, iy = inner * math.cos(math.pi / 5), inner * math.sin(math.pi / 5)
    dx, dy = ix - outer, iy
    d = ((fx - outer) * dy - fy * dx) / torch.sqrt(dx * dx + dy * dy)
    return [Layer(d, 0), Layer(d + r(0.08, 0.18), 1)]


def gear(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    teeth, radius, depth = r.whole(8, 13), r(0.52, 0.64), r(0.14, 0.2)
    fx, fy = around(x, y, teeth)
    width = math.pi * radius / teeth * 0.5
    tooth = both(
        fy.abs() - width * (1.25 - 0.5 * (fx - radius) / depth), fx - radius - depth, radius * 0.5 - fx
    )
    hole = circle(x, y, r(0.14, 0.3))
    wheel = without(either(circle(x, y, radius), tooth), hole)
    return [Layer(wheel, 0), Layer(line(circle(x, y, radius * 0.72), r(0.03, 0.06)), 1)]


def arrow(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    neck, half = r(0.0, 0.3), r(0.36, 0.55)
    head = convex(x, y, (neck, -half), (0.9, 0.0), (neck, half))
    shaft = box(x - (neck - 0.85) / 2, y, (neck + 0.9) / 2, r(0.1, 0.22))
    return [Layer(either(head, shaft), 0), Layer(either(head, shaft) + 0.07, 1)]


def cloud(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    low = y - 0.3
    puffs = either(
        circle(x, y + 0.12, r(0.36, 0.46)),
        circle(x + r(0.35, 0.5), y - 0.05, r(0.24, 0.34)),
        circle(x - r(0.35, 0.5), y - 0.02, r(0.26, 0.36)),
        circle(x - 0.68, y - 0.12, r(0.14, 0.2)),
        circle(x + 0.68, y - 0.12, r(0.14, 0.2)),
        box(x, y - 0.18, 0.7, 0.14, 0.1),
    )
    drops = [
        stick(x, y, k * 0.3 - 0.06, 0.48, k * 0.3 - 0.14, 0.48 + r(0.15, 0.35), 0.035)
        for k in (-1.0, 0.0, 1.0)
    ]
    return [Layer(either(*drops), 1), Layer(both(puffs, low), 0)]


def ball(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    radius = r(0.7, 0.85)
    disc = circle(x, y, radius)
    bulge = r(0.15, 0.3)
    seams = either(
        line(circle(x - radius * 1.25, y, radius * (0.75 + bulge)), 0.035),
        line(circle(x + radius * 1.25, y, radius * (0.75 + bulge)), 0.035),
        x.abs() - 0.03,
        y.abs() - 0.03,
    )
    return [Layer(disc, 0), Layer(both(disc, seams), 1, 0.6)]


def crescent(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    moon = without(circle(x, y, 0.8), circle(x - r(0.3, 0.45), y + r(-0.1, 0.1), r(0.6, 0.72)))
    craters = either(circle(x + 0.55, y - 0.1, r(0.05, 0.09)), circle(x + 0.42, y + 0.38, r(0.04, 0.07)))
    return [Layer(moon, 0), Layer(both(craters, moon), 1, 0.8)]


def heart(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    a = x.abs()
    size, tip = r(0.36, 0.44), r(0.75, 0.9)
    lobes = circle(a - 0.34, y + 0.25, size)
    wedge = convex(a, y, (-0.1, -0.2), (0.34 + size * 0.78, 0.0), (0.0, tip), (-0.1, tip))
    shape = either(lobes, wedge)
    shine = stick(x, y, -0.5, -0.3, r(-0.45, -0.3), r(-0.5, -0.42), r(0.04, 0.08))
    return [Layer(shape, 0), Layer(shine, 1, 1.1)]


def cube(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, rise, h = r(0.55, 0.75), r(0.16, 0.3), r(0.6, 0.85)
    turn_ = r(-0.25, 0.25)
    top = convex(x, y, (turn_, -0.25 - 2 * rise), (w, -0.25 - rise), (turn_, -0.25), (-w, -0.25 - rise))
    left = convex(x, y, (-w, -0.25 - rise), (turn_, -0.25), (turn_, -0.25 + h), (-w, -0.25 - rise + h))
    right = convex(x, y, (turn_, -0.25), (w, -0.25 - rise), (w, -0.25 - rise + h), (turn_, -0.25 + h))
    return [Layer(left, 0, 0.85), Layer(right, 0, 0.6), Layer(top, 0, 1.15)]


def spoon(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.2, 0.3), r(0.28, 0.38)
    bowl = ellipse(x, y + 0.52, w, h)
    handle = convex(x, y, (-0.035, -0.3), (0.035, -0.3), (r(0.06, 0.11), 0.9), (r(-0.11, -0.06), 0.9))
    return [Layer(either(bowl, handle - 0.02), 0), Layer(ellipse(x, y + 0.52, w * 0.72, h * 0.75), 0, 0.65)]


def balloon(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.42, 0.56), r(0.52, 0.64)
    skin = ellipse(x / (1.0 - 0.25 * (y + 0.3).clamp(-0.5, 0.6)), y + 0.3, w, h)
    low = h - 0.3
    knot = convex(x, y, (0.0, low - 0.04), (0.08, low + 0.08), (-0.08, low + 0.08))
    string = both((x - 0.07 * torch.sin(y * r(7.0, 11.0))).abs() - 0.02, low - y, y - 0.92)
    return [Layer(string, 1, 0.6), Layer(knot, 0, 0.8), Layer(skin, 0)]


def shoe(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    top = r(-0.55, -0.3)
    heel = convex(x, y, (-0.72, top), (-0.12, top), (0.1, 0.05), (0.1, 0.4), (-0.76, 0.4))
    toe = both(ellipse(x - 0.25, y - 0.38, r(0.52, 0.64), r(0.36, 0.5)), y - 0.4)
    sole = box(x - 0.04, y - 0.44, 0.86, r(0.05, 0.1), 0.05)
    laces = either(
        *[
            stick(x, y, 0.0 + 0.13 * k, -0.2 + 0.13 * k, -0.2 + 0.13 * k, -0.08 + 0.12 * k, 0.025)
            for k in range(3)
        ]
    )
    return [Layer(either(heel, toe), 0), Layer(sole, 1), Layer(laces, 2)]


CLASSES: dict[str, Callable[[Tensor, Tensor, Draw], list[Layer]]] = {
    f.__name__: f
    for f in (
        mug,
        chair,
        tree,
        fish,
        car,
        house,
        bottle,
        flower,
        key,
        lamp,
        leaf,
        cloud,
        star,
        gear,
        arrow,
        umbrella,
        book,
        mushroom,
        butterfly,
        ball,
        clock,
        hammer,
        boat,
        scissors,
        table,
        fir,
        cactus,
        crescent,
        heart,
        cube,
        spoon,
        balloon,
        shoe,
    )
}
