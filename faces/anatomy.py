"""Where everything on a face is: sizes, positions, outlines, colours and landmarks from factors and views.

Head coordinates: u to the right and v downwards from the point between the eyes, in units of half the height
of an average head. Turning the head moves what lies nearer to the camera further (parallax).
"""

import math
from types import SimpleNamespace

import torch
from torch import Tensor

from .drawing import grid, hill, over, palette, rgb, smoothstep, texture, turn
from .outlines import both, oval

LANDMARKS = {  # names, and where they lie on the head (u, v)
    "left_eye": lambda g: (-g.eye_x, 0.0),
    "right_eye": lambda g: (g.eye_x, 0.0),
    "left_brow_inner": lambda g: (g.brow_half - g.brow_x, brow_line(g, -1.0)),
    "left_brow_outer": lambda g: (-g.brow_half - g.brow_x, brow_line(g, 1.0)),
    "right_brow_inner": lambda g: (g.brow_x - g.brow_half, brow_line(g, -1.0)),
    "right_brow_outer": lambda g: (g.brow_x + g.brow_half, brow_line(g, 1.0)),
    "nose_bridge": lambda g: (0.0, 0.0),
    "nose_tip": lambda g: (0.0, g.nose_y),
    "left_mouth_corner": lambda g: (-g.mouth_width, g.mouth_y - g.curl),
    "right_mouth_corner": lambda g: (g.mouth_width, g.mouth_y - g.curl),
    "mouth": lambda g: (0.0, g.mouth_y + 0.3 * g.gap),
    "chin": lambda g: (0.0, g.bottom),
}
HEAD = 0.83  # half height of an average head, in half frames
SKIN = [
    (0.24, 0.14, 0.10),
    (0.40, 0.25, 0.17),
    (0.58, 0.39, 0.27),
    (0.76, 0.56, 0.42),
    (0.90, 0.71, 0.58),
    (0.97, 0.83, 0.74),
]
HAIR = [
    (0.05, 0.04, 0.045),
    (0.13, 0.085, 0.06),
    (0.27, 0.16, 0.09),
    (0.46, 0.30, 0.16),
    (0.70, 0.52, 0.30),
    (0.90, 0.77, 0.52),
]
IRIS = [(0.17, 0.09, 0.04), (0.30, 0.17, 0.07), (0.38, 0.36, 0.16), (0.33, 0.48, 0.40), (0.30, 0.50, 0.68)]


def geometry(f: dict[str, Tensor], view: dict[str, Tensor]) -> SimpleNamespace:
    """Sizes and positions in head units from factors in standard units and the expression."""
    smile, opened, closed = view["smile"], view["mouth_open"], view["eye_closure"]
    lid = 0.074 * (1 + 0.11 * f["eye_size"] + 0.15 * f["eye_opening"])
    return SimpleNamespace(
        # outline
        width=0.665 * (1 + 0.055 * f["face_width"]),
        top=0.97,
        bottom=1.0 * (1 + 0.045 * f["face_length"] + 0.045 * f["chin_length"]) + 0.10 * opened,
        cheek=0.035 * f["cheek"] + 0.01 + 0.02 * smile,
        jaw=-0.035 + 0.055 * f["jaw_width"],
        chin=-0.015 + 0.04 * f["chin_width"],
        ear=0.17 * (1 + 0.14 * f["ear_size"]),
        neck=0.40 * (1 + 0.10 * f["neck_width"]),
        # eyes
        eye_x=0.285 + 0.020 * f["eye_spacing"],
        eye_width=0.142 * (1 + 0.085 * f["eye_size"]),
        lid_up=lid * (1 - closed) * (1 - 0.12 * smile),
        lid_low=0.045 * (1 + 0.11 * f["eye_size"]) * (1 - 0.5 * closed) * (1 - 0.2 * smile),
        eye_tilt=0.07 + 0.07 * f["eye_tilt"],
        iris=0.066 * (1 + 0.05 * f["eye_size"]),
        # brows
        brow_y=-0.205 - 0.026 * f["brow_height"] - 0.035 * view["brow_raise"],
        brow_x=0.285 + 0.028 * f["brow_spacing"] + 0.01,
        brow_half=0.185,
        brow_thick=0.034 * torch.exp(0.30 * f["brow_thickness"]),
        brow_arch=0.045 + 0.026 * f["brow_arch"],
        brow_angle=0.04 + 0.10 * f["brow_angle"],
        # nose
        nose_y=0.345 + 0.036 * f["nose_length"],
        nose_width=0.125 * (1 + 0.15 * f["nose_width"]) * (1 + 0.05 * smile),
        bridge=0.070 * (1 + 0.16 * f["nose_bridge"]),
        relief=1.0 + 0.15 * f["nose_bridge"],
        # mouth
        mouth_y=0.585 - 0.016 * f["mouth_height"],
        mouth_width=0.215 * (1 + 0.09 * f["mouth_width"]) * (1 + 0.13 * smile - 0.1 * opened),
        lip_up=0.046 * torch.exp(0.26 * f["lip_thickness"]) * (1 - 0.15 * smile),
        lip_low=0.064 * torch.exp(0.26 * f["lip_thickness"]) * (1 - 0.15 * smile),
        bow=0.30 + 0.12 * f["lip_bow"],
        curl=0.055 * smile,
        gap=0.17 * opened,
    )


def colours(f: dict[str, Tensor], view: dict[str, Tensor]) -> SimpleNamespace:
    """Colours (N, 3, 1, 1) of skin, hair, lips and eyes."""
    skin = palette(SKIN, _share(f["skin_tone"] + 0.25))
    skin = skin * (1 + f["skin_warmth"].unsqueeze(1) * rgb(0.005, 0.012, -0.045))
    hair = palette(HAIR, _share(f["hair_lightness"] - 0.4))
    hair = hair * (1 + smoothstep(0.3, 2.0, f["hair_redness"]).unsqueeze(1) * rgb(0.45, -0.12, -0.40))
    hair = over(hair, rgb(0.72, 0.72, 0.73), 0.85 * smoothstep(0.8, 2.0, f["hair_grey"]))
    redness = (0.5 + 0.25 * f["lip_colour"]).clamp(0.0, 1.2).unsqueeze(1)
    lips = torch.lerp(rgb(0.90, 0.78, 0.76), rgb(0.94, 0.46, 0.50), redness)
    lips = skin * lips + redness * rgb(0.05, 0.0, 0.01)
    return SimpleNamespace(
        skin=skin,
        hair=hair,
        lips=lips,
        brow=0.75 * palette(HAIR, _share(-0.7 - f["brow_colour"])),
        beard=0.85 * palette(HAIR, _share(-0.6 - f["beard_colour"])),
        iris=palette(IRIS, _share(f["iris_colour"] - 0.3)),
        clothes=rgb(view["clothes_red"], view["clothes_green"], view["clothes_blue"]),
    )


def _share(factor: Tensor) -> Tensor:
    """Share of a normal population below a factor's value, from 0 to 1."""
    return 0.5 + 0.5 * torch.erf(factor / math.sqrt(2.0))


def place(view: dict[str, Tensor], size: int) -> SimpleNamespace:
    """Every pixel's coordinates on the body (x, y), the head (u, v; a = |u|) and the nose (nu, nv), and its side."""
    x, y = grid(size)
    scale = HEAD * view["scale"]
    x, y = (x - view["shift_x"]) / scale, (y - view["shift_y"] + 0.02) / scale
    x, y = turn(x, y, view["roll"] * (math.pi / 180.0))
    yaw, pitch = turned(view)
    depth = _depth(x, y)
    u, v = x - yaw * depth, y - pitch * depth
    lift = 0.26 * smoothstep(-0.15, 0.40, v)
    nose = {"nu": u - yaw * lift, "nv": v - pitch * lift}
    return SimpleNamespace(x=x, y=y, u=u, v=v, a=u.abs(), **nose, pixel=(2.0 / size) / scale)


def _depth(x: Tensor, y: Tensor) -> Tensor:
    """Depth of the head towards the camera at screen position (x, y), for parallax."""
    return 0.85 - 0.75 * ((x / 0.70) ** 2 + (y / 1.05) ** 2).clamp(max=1.25)


def turned(view: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """How far the head is turned to the image's right and down: sines of yaw and pitch."""
    return torch.sin(view["yaw"] * (math.pi / 180.0)), torch.sin(view["pitch"] * (math.pi / 180.0))


def landmarks(g: SimpleNamespace, view: dict[str, Tensor], size: int) -> Tensor:
    """Landmarks (N, landmark, 2) in pixels: the inverse of `place`, by fixed-point iteration."""
    zero = torch.zeros_like(view["yaw"])
    points = [point(g) for point in LANDMARKS.values()]
    u, v = (torch.cat([zero + point[axis] for point in points], 2) for axis in (0, 1))
    on_nose = torch.tensor([name == "nose_tip" for name in LANDMARKS])
    yaw, pitch = turned(view)
    x, y = u.clone(), v.clone()
    for _ in range(12):
        depth = _depth(x, y) + on_nose * 0.26
        x, y = u + yaw * depth, v + pitch * depth
    x, y = turn(x, y, -view["roll"] * (math.pi / 180.0))
    scale = HEAD * view["scale"]
    frame = torch.stack([x * scale + view["shift_x"], y * scale + view["shift_y"] - 0.02], -1).squeeze(1)
    return (frame + 1.0) * (size / 2.0) - 0.5


def face_outline(at: SimpleNamespace, g: SimpleNamespace) -> tuple[Tensor, Tensor, Tensor]:
    """Distance to the face's outline, radius as a share of the outline's, and radius."""
    r = torch.sqrt(at.u * at.u + at.v * at.v).clamp(min=1e-3)
    cos, sin = at.v / r, at.a / r
    height = torch.where(at.v > 0, g.bottom, torch.full_like(g.bottom, g.top))
    rim = 1.0 / torch.sqrt((sin / g.width) ** 2 + (cos / height) ** 2)
    cheek = g.cheek * hill(((cos - 0.40) / 0.28) ** 2)
    jaw = g.jaw * hill(((cos - 0.76) / 0.16) ** 2)
    chin = g.chin * hill(((cos - 0.955) / 0.05) ** 2)
    rim = rim * (1.0 + cheek + jaw + chin)
    return r - rim, r / rim, r


def brow_line(g: SimpleNamespace, t: Tensor | float) -> Tensor:
    """Height of a brow's centre line at t from -1 (inner end) to 1 (outer end)."""
    return g.brow_y + 0.03 - g.brow_angle * 0.185 * t - (g.brow_arch + 0.03) * (1.0 - (t - 0.15) * (t - 0.15))


def brow_distance(at: SimpleNamespace, g: SimpleNamespace) -> Tensor:
    """Signed distance to the nearer brow."""
    t = (at.a - g.brow_x) / g.brow_half
    inner = t.clamp(-1.0, 1.0)
    thick = g.brow_thick * (1.0 - 0.60 * smoothstep(-0.1, 1.05, inner))
    thick = thick * (0.75 + 0.25 * smoothstep(-1.0, -0.7, inner))
    return both((at.v - brow_line(g, inner)).abs() - thick, (t.abs() - 1.0) * g.brow_half)


def hair_shape(at: SimpleNamespace, g: SimpleNamespace, f: dict[str, Tensor], seed: int) -> SimpleNamespace:
    """Coverage of the hair behind and in front of the head, strands, and distance to its inner edge."""
    length = f["hair_length"]
    grown = smoothstep(-2.0, -0.3, length)
    curl = smoothstep(-0.2, 1.8, f["hair_curl"])
    part = 0.16 * f["hair_parting"]
    volume = (0.045 + 0.075 * torch.exp(0.28 * f["hair_volume"]) + 0.05 * curl) * (0.25 + 0.75 * grown)
    low = 0.02 + 1.58 * smoothstep(-0.1, 1.5, length)

    across = (at.u - part) / (0.75 + (at.v + 1.25).clamp(0.12, 1.0))
    wave = torch.sin(at.v * 7.0 + f["hair_volume"] * 5.0) * 0.03 * curl
    offset = f["hair_lightness"] * 1.7 + f["hair_volume"]
    strands = texture(seed, 1, (across + wave) * 1.1 + offset, at.v * (0.10 + 0.55 * curl) + offset * 0.7)

    # Finer than a pixel, a ragged edge would only alias.
    rough = strands * (0.012 + 0.016 * curl) * grown * (0.018 / at.pixel).clamp(max=1.0)
    crown_w = g.width + volume * (0.35 + 0.65 * smoothstep(-0.6, 0.4, length + 0.8 * curl))
    r = oval(at.u, (at.v + 0.10).clamp(max=0.0), crown_w, g.top + volume - 0.10)
    flare = 0.10 * smoothstep(0.0, 1.2, at.v) * (1 + 0.5 * f["hair_volume"])
    outer = both((r - 1.0) * 0.75 - torch.where(at.v > -0.1, flare, 0.0), at.v - low) + rough

    side = g.width * (0.90 - 0.07 * smoothstep(0.2, 1.5, length))
    t = at.a / side
    recess = 0.07 * smoothstep(-0.5, 2.0, f["hair_recession"])
    top = -0.66 + 0.06 * t * t + 0.20 * t * t * t * t - recess * (1.0 + 2.2 * hill(((t - 0.62) / 0.22) ** 2))
    fringe = smoothstep(0.2, 1.6, f["hair_fringe"]) * grown
    sweep = (0.20 + 0.05 * f["hair_fringe"]) * smoothstep(-0.3, 1.0, length)
    top = top + sweep * ((at.u - part).abs() - 0.12).clamp(0.0, 0.45) + fringe * 0.30
    top = torch.minimum(top, torch.full_like(top, -0.32)) + 0.035 * strands * (fringe + 0.3 * grown)
    window = both(top - at.v, at.a - side) - rough * 0.5
    front = both(outer, -window)
    thin = (0.30 + 0.70 * smoothstep(-2.2, -1.0, length)).expand_as(front)
    return SimpleNamespace(outer=outer, front=front, window=window, strands=strands, thin=thin, crown=r)
