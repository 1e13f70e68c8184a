"""Everyday objects as layers of outlines: every function of this module is a class, in this order.

It takes object coordinates (x to the right, y downwards, both (N, y, x) float32 from about -1 to 1) and a `Draw`,
which hands out random parameters, and returns its layers from back to front. Colours are numbers into a random
palette of the image, so that no colour belongs to a class.
"""

import math

import torch
from torch import Tensor

from .outlines import around, both, box, circle, convex, either, ellipse, line, stick

# Signed distance (N, y, x), number of its colour in the image's palette, and brightness of that colour (default: 1).
Layer = tuple[Tensor, int] | tuple[Tensor, int, float]


class Draw:
    """Random parameters (N, 1, 1), uniform between two limits, taken in order from a table (N, k) of 0 to 1."""

    def __init__(self, table: Tensor) -> None:
        self._columns = iter(table.unbind(1))

    def __call__(self, low: float, high: float) -> Tensor:
        return low + (high - low) * next(self._columns).view(-1, 1, 1)

    def whole(self, low: int, high: int) -> Tensor:
        """Whole numbers from `low` to `high`."""
        return torch.floor(self(low, high + 0.999))


def mug(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h, ear = r(0.38, 0.52), r(0.42, 0.62), r(0.16, 0.26)
    handle = line(ellipse(x - w, y, ear * 1.2, h * 0.55), r(0.045, 0.075))
    body = box(x, y, w, h, 0.08)
    rim = ellipse(x, y + h - 0.03, w, r(0.08, 0.16))
    return [(handle, 0, 0.9), (body, 0), (rim, 0, 1.1), (rim + 0.05, 1, 0.5)]


def chair(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, seat, leg, skew = r(0.34, 0.46), r(0.0, 0.15), r(0.03, 0.055), r(0.1, 0.25)
    left, right = skew - w, skew + w
    back = box(x - skew, y + 0.45, w, 0.45, 0.06)
    slots = box(x - skew, y + 0.42, w - 0.11, r(0.12, 0.3))
    cushion = convex(x, y, (left, seat - 0.07), (right, seat - 0.07), (w, seat + 0.13), (-w, seat + 0.13))
    legs = either(
        stick(x, y, left + 0.03, seat, left + 0.05, 0.75, leg),
        stick(x, y, right - 0.03, seat, right - 0.03, 0.75, leg),
        stick(x.abs(), y, w - 0.04, seat + 0.1, w, 0.92, leg),
    )
    posts = either(*(stick(x, y, post, -0.6, post, seat, leg) for post in (left + 0.03, right - 0.03)))
    return [(legs, 0, 0.8), (posts, 0, 0.9), (both(back, -slots), 0), (cushion, 1)]


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
    return [(trunk, 1, 0.8), (crown, 0)]


def fish(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.5, 0.62), r(0.24, 0.38)
    body = ellipse(x + 0.15, y, w, h)
    tail = convex(x, y, (0.85, -r(0.25, 0.4)), (0.85, r(0.25, 0.4)), (0.28, 0.0))
    tail = both(tail, -circle(x - 0.98, y, r(0.15, 0.3)))
    fin = convex(x, y, (-0.25, -h * 0.8), (r(-0.05, 0.1), -h - r(0.12, 0.28)), (0.15, -h * 0.7))
    belly = convex(x, y, (-0.1, h * 0.8), (0.15, h * 0.8), (0.12, h + r(0.08, 0.2)))
    bands = both(body, torch.sin(x * r(9.0, 16.0)) * 0.08 + 0.02)
    gill = both(body, line(circle(x + 0.62, y, 0.28), 0.02), -0.62 - x)
    return [(either(tail, fin, belly), 1), (body, 0), (bands, 2), (gill, 1, 0.7)]


def car(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    roof, front, back = r(-0.5, -0.32), r(0.2, 0.42), r(-0.62, -0.3)
    body = box(x, y - 0.12, 0.88, r(0.16, 0.24), 0.10)
    cabin = convex(x, y, (back + 0.12, roof), (front - 0.08, roof), (front + 0.22, 0.0), (back - 0.1, 0.0))
    glass = both(cabin + 0.07, 0.035 - (x - (front + back) / 2).abs(), y + 0.03)
    wx, radius = r(0.46, 0.56), r(0.17, 0.22)
    wheel = circle(x.abs() - wx, y - 0.34, radius)
    return [(either(body, cabin), 0), (glass, 1, 1.1), (wheel, 2, 0.4), (wheel + radius * 0.5, 1, 0.9)]


def house(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, eaves, peak = r(0.48, 0.68), r(-0.25, -0.05), r(-0.9, -0.6)
    wall = box(x, y - (0.75 + eaves) / 2, w, (0.75 - eaves) / 2)
    roof = convex(x, y, (0.0, peak), (w + 0.18, eaves + 0.04), (-w - 0.18, eaves + 0.04))
    side = r(0.14, 0.28)
    door = box(x + side, y - 0.53, 0.10, 0.22)
    window = both(box(x - side, y - r(0.2, 0.4), r(0.09, 0.15), r(0.09, 0.14)), wall + 0.04)
    chimney = box(x - w * r(0.45, 0.65), y - peak - 0.2, 0.07, 0.24)
    return [(chimney, 2, 0.8), (wall, 0), (roof, 1), (door, 2, 0.7), (window, 3, 1.1)]


def bottle(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, neck, shoulder = r(0.22, 0.34), r(0.07, 0.12), r(-0.35, -0.05)
    body = box(x, y - 0.45 - shoulder / 2, w, 0.45 - shoulder / 2, 0.10)
    slope = x.abs() - neck - (w - neck) * ((y - shoulder + 0.3) / 0.36).clamp(0.0, 1.0)
    slope = both(slope, (y - 0.2).abs() - 0.75, y - 0.3, shoulder - 0.32 - y)
    top = box(x, y + 0.6, neck, 0.25)
    label = both(box(x, y - 0.35, w, r(0.15, 0.3)), body)
    cap = box(x, y + 0.82, neck + 0.03, 0.08, 0.02)
    return [(either(body, slope, top), 0), (label, 1), (cap, 2)]


def flower(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    petals, reach, heart = r.whole(5, 9), r(0.24, 0.32), r(0.13, 0.2)
    top = y + 0.35
    fx, fy = around(x, top, petals)
    petal = ellipse(fx - reach, fy, reach * 0.8, r(0.11, 0.17))
    stem = stick(x, y, 0.0, -0.3, r(-0.1, 0.1), 0.92, 0.035)
    leaf_ = ellipse(x - 0.2 + 0.4 * (y - 0.5), y - 0.5 + 0.3 * x, 0.22, 0.08)
    return [(stem, 2, 0.8), (leaf_, 2), (petal, 0), (circle(x, top, heart), 1)]


def key(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    bow, end, tooth = r(0.26, 0.36), r(0.75, 0.92), r(0.15, 0.26)
    head = both(ellipse(x + 0.5, y, bow, bow * r(0.8, 1.15)), -circle(x + 0.5, y, bow * r(0.4, 0.62)))
    shaft = stick(x, y, -0.28, 0.0, end, 0.0, r(0.05, 0.08))
    a, b = r(0.05, 0.14), r(0.24, 0.34)
    teeth = either(
        box(x - end + a, y - tooth / 2, 0.05, tooth / 2 + 0.02),
        box(x - end + b, y - tooth * 0.4, 0.05, tooth * r(0.35, 0.6) + 0.03),
    )
    return [(either(head, shaft, teeth), 0)]


def lamp(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    top, low, base = r(0.18, 0.32), r(0.45, 0.62), r(0.25, 0.4)
    cut = r(-0.15, 0.05)
    shade_ = convex(x, y, (-top, -0.85), (top, -0.85), (low, cut), (-low, cut))
    pole = stick(x, y, 0.0, cut, 0.0, 0.8, r(0.03, 0.06))
    foot = ellipse(x, y - 0.82, base, 0.11)
    band = both(shade_, (y - cut + 0.06).abs() - 0.05)
    return [(pole, 1), (foot, 1), (shade_, 0), (band, 2)]


def leaf(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, bend = r(0.34, 0.52), r(-0.15, 0.15)
    u = x - bend * (1.0 - y * y)
    blade = (u.abs() - w * (1.0 - (y + 0.08) ** 2 / 0.72).clamp(min=-0.5) * (1.0 + 0.35 * y)) * 0.75
    vein = both(u.abs() - 0.022, y - 0.95, -0.75 - y)
    rows = torch.sin((y - u.abs() * 0.7) * r(18.0, 26.0))
    ribs = both(blade + 0.05, 0.035 - 0.02 - (rows - 0.86) * 0.15)
    return [(blade, 0), (ribs, 1, 0.8), (vein, 1, 0.8)]


def cloud(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    puffs = either(
        circle(x, y + 0.12, r(0.36, 0.46)),
        circle(x + r(0.35, 0.5), y - 0.05, r(0.24, 0.34)),
        circle(x - r(0.35, 0.5), y - 0.02, r(0.26, 0.36)),
        circle(x - 0.68, y - 0.12, r(0.14, 0.2)),
        circle(x + 0.68, y - 0.12, r(0.14, 0.2)),
        box(x, y - 0.18, 0.7, 0.14, 0.1),
    )
    drops = [stick(x, y, k - 0.06, 0.48, k - 0.14, 0.48 + r(0.15, 0.35), 0.035) for k in (-0.3, 0.0, 0.3)]
    return [(either(*drops), 1), (both(puffs, y - 0.3), 0)]


def star(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    outer, inner = r(0.75, 0.9), r(0.34, 0.46)
    fx, fy = around(-y, x, 5.0)
    dx, dy = inner * math.cos(math.pi / 5) - outer, inner * math.sin(math.pi / 5)
    d = ((fx - outer) * dy - fy.abs() * dx) / torch.sqrt(dx * dx + dy * dy)
    return [(d, 0), (d + r(0.08, 0.18), 1)]


def gear(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    teeth, radius, depth = r.whole(8, 13), r(0.52, 0.64), r(0.14, 0.2)
    fx, fy = around(x, y, teeth)
    width = math.pi * radius / teeth * 0.5
    flank = fy.abs() - width * (1.25 - 0.5 * (fx - radius) / depth)
    tooth = both(flank, fx - radius - depth, radius * 0.5 - fx)
    hole = circle(x, y, r(0.14, 0.3))
    wheel = both(either(circle(x, y, radius), tooth), -hole)
    return [(wheel, 0), (line(circle(x, y, radius * 0.72), r(0.03, 0.06)), 1)]


def arrow(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    neck, half = r(0.0, 0.3), r(0.36, 0.55)
    head = convex(x, y, (neck, -half), (0.9, 0.0), (neck, half))
    whole = either(head, box(x - (neck - 0.85) / 2, y, (neck + 0.9) / 2, r(0.1, 0.22)))
    return [(whole, 0), (whole + 0.07, 1)]


def umbrella(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.75, 0.9), r(0.55, 0.75)
    low = -0.02
    dome = both(ellipse(x, y - low, w, h), y - low)
    scallops = circle((x / w * 2.0 - torch.floor(x / w * 2.0) - 0.5) * w / 2.0, y - low - 0.06, w / 4.0)
    canopy = both(dome, -scallops)
    rib = both(canopy, x.abs() - w * 0.5 * torch.sqrt((1.0 - ((y - low) / h) ** 2).clamp(min=0.0)))
    end = r(0.6, 0.8)
    hook = both(line(circle(x - 0.12, y - end, 0.12), 0.035), end - y)
    pole = either(stick(x, y, 0.0, -h - 0.08, 0.0, end, 0.032), hook)
    return [(pole, 1), (canopy, 0), (rib, 2)]


def book(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h, lift = r(0.6, 0.85), r(0.4, 0.6), r(0.08, 0.22)
    a = x.abs()
    bend = y + lift * torch.sin((a / w).clamp(max=1.1) * 2.6)
    pages = both(a - w + 0.04, bend.abs() - h + 0.04)
    cover_ = both(a - w, (bend - 0.05).abs() - h)
    rows = torch.sin(bend * r(26.0, 40.0))
    text = both(pages + 0.09, 0.07 - a, rows * 0.05 + 0.02)
    spine = both(a - 0.02, pages)
    return [(cover_, 0), (pages, 1, 1.15), (text, 2, 0.6), (spine, 0, 0.6)]


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
    return [(stem, 1), (gills, 1, 0.7), (cap, 0), (both(dots, cap), 2, 1.1)]


def butterfly(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    a = x.abs()
    lean = r(0.3, 0.6)
    u, v = a - 0.42 + lean * (y + 0.3) * 0.5, y + 0.28 + lean * (a - 0.42) * 0.6
    upper = ellipse(u, v, 0.40, r(0.28, 0.38))
    lower = ellipse(a - 0.32, y - 0.35, r(0.24, 0.34), r(0.26, 0.36))
    body = ellipse(x, y, 0.07, 0.55)
    feeler = stick(a, y, 0.02, -0.5, 0.18, -0.8, 0.02)
    spots = either(circle(a - 0.5, y + 0.36, r(0.08, 0.14)), circle(a - 0.34, y - 0.36, r(0.06, 0.12)))
    wings = either(upper, lower)
    return [(feeler, 2, 0.5), (wings, 0), (both(spots, wings), 1), (body, 2, 0.5)]


def ball(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    radius = r(0.7, 0.85)
    disc = circle(x, y, radius)
    bulge = r(0.15, 0.3)
    curves = line(circle(x.abs() - radius * 1.25, y, radius * (0.75 + bulge)), 0.035)
    seams = either(curves, x.abs() - 0.03, y.abs() - 0.03)
    return [(disc, 0), (both(disc, seams), 1, 0.6)]


def clock(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    radius, hour, minute = r(0.65, 0.82), r(0.0, 6.28), r(0.0, 6.28)
    dial = circle(x, y, radius)
    fx, fy = around(x, y, 12.0)
    ticks = box(fx - radius * 0.82, fy, radius * 0.07, 0.022)
    hands = either(
        stick(x, y, 0.0, 0.0, torch.cos(hour) * radius * 0.42, torch.sin(hour) * radius * 0.42, 0.045),
        stick(x, y, 0.0, 0.0, torch.cos(minute) * radius * 0.66, torch.sin(minute) * radius * 0.66, 0.032),
    )
    return [(dial, 0), (dial + r(0.07, 0.13), 1, 1.1), (ticks, 2, 0.6), (hands, 2, 0.5)]


def hammer(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, top = r(0.05, 0.09), r(0.14, 0.2)
    handle = stick(x, y, 0.0, -0.5, 0.0, 0.85, w)
    block = box(x + 0.15, y + 0.6, r(0.24, 0.34), top, 0.04)
    claw = convex(x, y, (0.1, -0.6 - top), (0.55, -0.62), (0.6, -0.5), (0.1, -0.6 + top))
    grip = stick(x, y, 0.0, 0.45, 0.0, 0.85, w + 0.03)
    return [(handle, 0), (claw, 1, 0.85), (block, 1), (grip, 2)]


def boat(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    deck, low = r(0.25, 0.35), r(0.6, 0.75)
    hull = convex(x, y, (-0.85, deck), (0.88, deck), (r(0.45, 0.65), low), (r(-0.65, -0.5), low))
    mast = stick(x, y, 0.0, deck, 0.0, -0.88, 0.028)
    main = convex(x, y, (0.05, -0.82), (r(0.5, 0.72), deck - 0.1), (0.05, deck - 0.1))
    jib = convex(x, y, (-0.05, r(-0.75, -0.5)), (-0.05, deck - 0.12), (r(-0.65, -0.4), deck - 0.12))
    return [(mast, 2, 0.6), (main, 1), (jib, 1, 0.88), (hull, 0)]


def scissors(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    spread, ring = r(0.16, 0.38), r(0.17, 0.24)
    reach = r(0.75, 0.9)
    front, back = (
        either(
            convex(u, y, (spread - 0.03, -reach), (spread + 0.03, -reach), (0.06, 0.12), (-0.10, 0.08)),
            stick(u, y, 0.0, 0.1, -spread * 0.9, 0.5, 0.05),
        )
        for u in (x, -x)
    )
    loop = line(ellipse(x.abs() - spread - 0.05, y - 0.65, ring, ring * 1.2), 0.055)
    return [(front, 0), (back, 0, 0.8), (loop, 1), (circle(x, y - 0.1, 0.045), 2)]


def table(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, depth, leg = r(0.7, 0.9), r(0.12, 0.25), r(0.035, 0.07)
    top = convex(x, y, (-w + 0.15, -0.35 - depth), (w - 0.15, -0.35 - depth), (w, -0.3), (-w, -0.3))
    edge = box(x, y + 0.26, w, 0.05)
    a, low = x.abs(), r(0.55, 0.8)
    front = stick(a, y, w - 0.09, -0.2, w - 0.09, low, leg)
    back = stick(a, y, w - 0.28, -0.2, w - 0.28, low - 0.2, leg * 0.8)
    return [(either(front, back), 1, 0.8), (top, 0), (edge, 0, 0.75)]


def fir(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    trunk = box(x, y - 0.78, r(0.06, 0.11), 0.18)
    w, step = r(0.5, 0.68), r(0.3, 0.36)
    layers = [(trunk, 1, 0.8)]
    for k in (2, 1, 0):
        half, top, low = w * (0.55 + 0.225 * k), -0.95 + k * step * 0.95, -0.28 + k * step
        layers.append((convex(x, y, (0.0, top), (half, low), (-half, low)), 0, 0.85 + 0.1 * (2 - k)))
    return layers


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
    return [(either(stem, arms), 0), (pot, 1)]


def crescent(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    moon = both(circle(x, y, 0.8), -circle(x - r(0.3, 0.45), y + r(-0.1, 0.1), r(0.6, 0.72)))
    craters = either(circle(x + 0.55, y - 0.1, r(0.05, 0.09)), circle(x + 0.42, y + 0.38, r(0.04, 0.07)))
    return [(moon, 0), (both(craters, moon), 1, 0.8)]


def heart(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    a = x.abs()
    size, tip = r(0.36, 0.44), r(0.75, 0.9)
    lobes = circle(a - 0.34, y + 0.25, size)
    wedge = convex(a, y, (-0.1, -0.2), (0.34 + size * 0.78, 0.0), (0.0, tip), (-0.1, tip))
    shape = either(lobes, wedge)
    shine = stick(x, y, -0.5, -0.3, r(-0.45, -0.3), r(-0.5, -0.42), r(0.04, 0.08))
    return [(shape, 0), (shine, 1, 1.1)]


def cube(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, rise, h = r(0.55, 0.75), r(0.16, 0.3), r(0.6, 0.85)
    turn_ = r(-0.25, 0.25)
    top = convex(x, y, (turn_, -0.25 - 2 * rise), (w, -0.25 - rise), (turn_, -0.25), (-w, -0.25 - rise))
    left = convex(x, y, (-w, -0.25 - rise), (turn_, -0.25), (turn_, -0.25 + h), (-w, -0.25 - rise + h))
    right = convex(x, y, (turn_, -0.25), (w, -0.25 - rise), (w, -0.25 - rise + h), (turn_, -0.25 + h))
    return [(left, 0, 0.85), (right, 0, 0.6), (top, 0, 1.15)]


def spoon(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.2, 0.3), r(0.28, 0.38)
    bowl = ellipse(x, y + 0.52, w, h)
    handle = convex(x, y, (-0.035, -0.3), (0.035, -0.3), (r(0.06, 0.11), 0.9), (r(-0.11, -0.06), 0.9))
    return [(either(bowl, handle - 0.02), 0), (ellipse(x, y + 0.52, w * 0.72, h * 0.75), 0, 0.65)]


def balloon(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    w, h = r(0.42, 0.56), r(0.52, 0.64)
    skin = ellipse(x / (1.0 - 0.25 * (y + 0.3).clamp(-0.5, 0.6)), y + 0.3, w, h)
    low = h - 0.3
    knot = convex(x, y, (0.0, low - 0.04), (0.08, low + 0.08), (-0.08, low + 0.08))
    string = both((x - 0.07 * torch.sin(y * r(7.0, 11.0))).abs() - 0.02, low - y, y - 0.92)
    return [(string, 1, 0.6), (knot, 0, 0.8), (skin, 0)]


def shoe(x: Tensor, y: Tensor, r: Draw) -> list[Layer]:
    top = r(-0.55, -0.3)
    heel = convex(x, y, (-0.72, top), (-0.12, top), (0.1, 0.05), (0.1, 0.4), (-0.76, 0.4))
    toe = both(ellipse(x - 0.25, y - 0.38, r(0.52, 0.64), r(0.36, 0.5)), y - 0.4)
    sole = box(x - 0.04, y - 0.44, 0.86, r(0.05, 0.1), 0.05)
    laces = [
        stick(x, y, 0.13 * k, -0.2 + 0.13 * k, -0.2 + 0.13 * k, -0.08 + 0.12 * k, 0.025) for k in range(3)
    ]
    return [(either(heel, toe), 0), (sole, 1), (either(*laces), 2)]
