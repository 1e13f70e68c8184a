"""Draws faces from factors and views: layers of signed distances, shaded as if in relief."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .anatomy import brow_distance, colours, face_outline, geometry, hair_shape, landmarks, place, turned
from .drawing import (
    background,
    bump,
    camera,
    chunks,
    cover,
    difference,
    grid,
    hill,
    over,
    rgb,
    shade,
    side_by_side,
    smoothstep,
    soft,
    texture,
)
from .factors import FACTOR_NAMES, PARTS, VIEW_NAMES
from .outlines import both, circle, either, oval


class Picture(NamedTuple):
    """Pixels uint8 (N, 3, y, x); parts uint8 (N, y, x), indices into PARTS; landmarks float32 (N, landmark, 2) in
    pixels (x, y), the centre of the first pixel being 0."""

    pixels: Tensor
    parts: Tensor
    landmarks: Tensor


class Scene(NamedTuple):
    """All that the layers need to know: factors f, view, geometry g, colours c, every pixel's coordinates, light,
    shape of the hair, and the seed of the textures."""

    f: dict[str, Tensor]
    view: dict[str, Tensor]
    g: SimpleNamespace
    c: SimpleNamespace
    at: SimpleNamespace
    light: SimpleNamespace
    hair: SimpleNamespace
    seed: int


def render(factors: np.ndarray, views: np.ndarray, size: int, seed: int) -> Picture:
    """Pictures (pixels, parts, landmarks) of `factors` (N, factor) seen in `views` (N, view).

    A pure function, image by image: rows may be reordered, swapped (`swap_parts`) and rendered again, and what
    the change did not touch keeps its pixels and its noise. `seed` chooses the textures of skin, hair and
    background; use the seed the views were sampled with to reproduce a dataset's pixels. Raises ValueError for
    a size below 16, tables of another shape, or a value that is not finite.
    """
    factors, views = (torch.as_tensor(np.asarray(table, np.float32)) for table in (factors, views))
    n, shapes = len(factors), (tuple(factors.shape), tuple(views.shape))
    if not n or shapes != ((n, len(FACTOR_NAMES)), (n, len(VIEW_NAMES))):
        wanted = f"(images, {len(FACTOR_NAMES)}) and (images, {len(VIEW_NAMES)})"
        raise ValueError(f"factors and views must have shapes {wanted}, got {shapes[0]} and {shapes[1]}")
    if not (torch.isfinite(factors).all() and torch.isfinite(views).all()):
        raise ValueError("factors and views must be finite")
    drawn = side_by_side(lambda rows: _draw(factors[rows], views[rows], size, seed), chunks(n, size))
    return Picture(*(torch.cat(tensors) for tensors in zip(*drawn, strict=True)))


def _draw(factors: Tensor, views: Tensor, size: int, seed: int) -> Picture:
    view = {name: views[:, k].view(-1, 1, 1) for k, name in enumerate(VIEW_NAMES)}
    # Factors saturate at +-3 so that no value, however extreme, breaks the drawing.
    factor = {
        name: 3.0 * torch.tanh(factors[:, k].view(-1, 1, 1) / 3.0) for k, name in enumerate(FACTOR_NAMES)
    }
    g, at = geometry(factor, view), place(view, size)
    hair = hair_shape(at, g, factor, seed)
    s = Scene(factor, view, g, colours(factor, view), at, lighting(view), hair, seed)
    backdrop = rgb(view["background_red"], view["background_green"], view["background_blue"])
    image = background(*grid(size), backdrop, view, seed)
    labels = torch.zeros_like(at.u, dtype=torch.uint8)
    for layer in (draw_back_hair, draw_body, draw_head, draw_hair):
        image = layer(image, labels, s)
    exposure = torch.exp(view["exposure"]).unsqueeze(1) * s.light.colour
    pixels = camera(image * exposure, view["blur"], view["noise"], view["noise_seed"])
    return Picture(pixels, labels, landmarks(g, view, size))


def lighting(view: dict[str, Tensor]) -> SimpleNamespace:
    """Direction of the light in head coordinates, its share and its colour."""
    yaw, pitch = turned(view)
    x, y = view["light_x"] - yaw, view["light_y"] - pitch
    length = torch.sqrt(x * x + y * y + 1.0)
    colour = 1.0 + view["light_warmth"].unsqueeze(1) * rgb(0.06, 0.0, -0.08)
    share = view["light_contrast"]
    return SimpleNamespace(x=x / length, y=y / length, z=1.0 / length, share=share, colour=colour)


def _lit(light: SimpleNamespace, nx: Tensor, ny: Tensor, nz: Tensor) -> Tensor:
    """Wrapped Lambertian brightness of unit normals, 1 for a surface facing a typical light."""
    lambert = ((nx * light.x + ny * light.y + nz * light.z + 0.25) / 1.25).clamp(min=0.0)
    return (1.0 - light.share) * 0.95 + light.share * 1.25 * lambert


def _tinted(colour: Tensor, tone: Tensor) -> Tensor:
    """Skin in the light: shadows fall off faster in blue and green than in red (light scattered inside the skin)."""
    dark = (1.0 - tone).clamp(min=0.0)
    return colour * torch.stack([tone + 0.10 * dark, tone - 0.03 * dark, tone - 0.06 * dark], 1)


def draw_back_hair(image: Tensor, labels: Tensor, s: Scene) -> Tensor:
    """Hair behind the head and the neck, in shadow."""
    at, hair, c = s.at, s.hair, s.c
    alpha = cover(hair.outer, at.pixel) * hair.thin
    tone = (0.48 + 0.10 * hair.strands).clamp(0.2, 0.9)
    _label(labels, "hair", (alpha > 0.25) & (hair.outer < 0))
    return over(image, shade(c.hair, tone), alpha)


def draw_body(image: Tensor, labels: Tensor, s: Scene) -> Tensor:
    """Neck, shoulders and clothes."""
    at, g, c, light, view = s.at, s.g, s.c, s.light, s.view
    x, y, side = at.x, at.y, at.x.abs()
    flare = smoothstep(0.85, 1.45, y)
    neck = both(side - g.neck - 0.5 * flare * flare, 0.40 + 0.35 * (side / g.neck) ** 2 - y)
    nx = (x / (g.neck * 1.3)).clamp(-0.95, 0.95)
    under_chin = 1.0 - 0.45 * soft(y - g.bottom - 0.02, 0.22)
    tone = _lit(light, nx, torch.zeros_like(nx), torch.sqrt(1 - nx * nx)) * under_chin * 0.95
    alpha = cover(neck, at.pixel)
    image = over(image, _tinted(c.skin, tone), alpha)
    _label(labels, "skin", alpha > 0.5)
    collar = 1.16 + 0.05 * view["collar"]
    shoulders = 1.18 + 0.30 * (side - 0.35).clamp(min=0.0) - y
    neckline = collar + 0.07 * view["collar"] - 0.9 * (side - 0.05).clamp(min=0.0) - y
    body = both(shoulders, neckline)
    fold = 0.85 + 0.18 * (x * light.x) - 0.2 * smoothstep(0.05, -0.02, -body)
    alpha = cover(body, at.pixel)
    image = over(image, shade(c.clothes, fold), alpha)
    _label(labels, "background", alpha > 0.5)
    return image


def draw_head(image: Tensor, labels: Tensor, s: Scene) -> Tensor:
    """Ears, face and everything on it, below the front hair."""
    at, g, c, light, hair = s.at, s.g, s.c, s.light, s.hair
    distance, q, r = face_outline(at, g)
    # ears
    ex, ey = at.a - g.width - 0.01, at.v - 0.07
    ear = cover((oval(ex, ey, 0.075, g.ear) - 1.0) * 0.08, at.pixel)
    tone = 0.80 - 0.22 * bump(ex - 0.01, ey, 0.035, 0.09) + 0.25 * light.x * torch.sign(at.u)
    image = over(image, _tinted(c.skin * rgb(1.0, 0.93, 0.92), tone), ear)
    _label(labels, "skin", ear > 0.5)

    face = cover(distance, at.pixel)
    tone, gloss = relief(s, q, r)
    skin = blemishes(s)
    shadow = 1.0 - 0.32 * soft(-hair.window, 0.07) * hair.thin * (1.0 - cover(-hair.window, 0.2 * at.pixel))
    layer = _tinted(skin, tone * shadow) + 0.5 * (gloss * (0.25 + 0.5 * c.skin.mean(1))).unsqueeze(1)
    layer = draw_nose(draw_beard(layer, s, q), s)
    for feature in (draw_mouth, draw_eyes, draw_brows):
        layer = feature(layer, s, tone)
    layer, glasses = draw_glasses(layer, s)
    image = over(image, layer, face)
    label_face(labels, s, face > 0.5, q)
    _label(labels, "eyes", (face * glasses) > 0.4)
    return image


def relief(s: Scene, q: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness and gloss of the skin: a dome with the face's hills on it, lit and partly in shadow."""
    at, light = s.at, s.light
    height = _height(s)
    slope_x, slope_y = (difference(height, axis) / at.pixel for axis in (2, 1))
    # dome: flat in front, steep at the edge
    steep = (q * q).clamp(max=0.96)
    nx, ny = at.u / r * steep - slope_x, at.v / r * steep - slope_y
    nz = torch.sqrt(1.0 - steep * steep)
    length = torch.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx / length, ny / length, nz / length
    tone = _lit(light, nx, ny, nz)
    # half vector between light and camera
    hx, hy, hz = light.x, light.y, light.z + 1.0
    half = torch.sqrt(hx * hx + hy * hy + hz * hz)
    mirror = ((nx * hx + ny * hy + nz * hz) / half).clamp(min=0.0)
    for _ in range(4):
        mirror = mirror * mirror
    gloss = mirror * light.share * 0.45
    return tone * (1.0 - _occlusion(s).clamp(max=0.8)), gloss


def _height(s: Scene) -> Tensor:
    """Hills and hollows on the dome of the face, in head units."""
    g, f, smile = s.g, s.f, s.view["smile"]
    u, v, a, nu, nv = s.at.u, s.at.v, s.at.a, s.at.nu, s.at.nv
    # nose: a ridge that widens and rises towards a round tip, and two wings
    down = nv - g.nose_y
    rise = (0.30 + 0.70 * smoothstep(-0.35, -0.05, down)) * smoothstep(0.09, -0.06, down)
    ridge = g.bridge + (g.nose_width * 0.55 - g.bridge) * smoothstep(0.0, 0.32, nv)
    height = 0.130 * g.relief * rise * smoothstep(-0.25, -0.02, nv) * hill((nu / ridge) ** 2)
    height = height + 0.055 * bump(nu, down + 0.045, g.nose_width * 0.62, 0.070)
    height = height + 0.045 * bump(nu.abs() - g.nose_width * 0.72, down + 0.005, g.nose_width * 0.40, 0.055)
    # sockets, brow ridge, cheekbones, chin, muzzle, folds
    socket = (0.040 + 0.013 * f["eye_depth"]).clamp(min=0.008)
    height = height - socket * bump(a - g.eye_x, v + 0.01, 0.17, 0.11)
    full = 1 + 0.35 * f["cheek"] + 0.5 * smile
    height = height + 0.035 * bump(a - 0.46, v - 0.20 + 0.03 * smile, 0.17, 0.15) * full
    height = height + 0.035 * bump(u, v - g.mouth_y, 0.30, 0.17)
    height = height + 0.040 * bump(u, v - (g.bottom - 0.13), 0.16, 0.10)
    height = height - 0.022 * bump(u, v - (g.mouth_y + g.lip_low + g.gap + 0.06), 0.14, 0.045)
    fold = 0.010 + 0.010 * smoothstep(-0.5, 2.0, f["age"]) + 0.014 * smile.clamp(min=0.0)
    bend = g.nose_width + 0.07 + 0.45 * (v - g.nose_y + 0.04) * 0.55
    along = soft((v - 0.47).abs() - 0.13, 0.07)
    return height - fold * hill(((a - bend) / 0.035) ** 2) * along


def _occlusion(s: Scene) -> Tensor:
    """Darkness in sockets, below nose and lip, in the nose's cast shadow, below the eyes and in wrinkles."""
    g, f, light = s.g, s.f, s.light
    u, v, a, nu, nv = s.at.u, s.at.v, s.at.a, s.at.nu, s.at.nv
    dark = (0.15 + 0.04 * f["eye_depth"]) * bump(a - g.eye_x + 0.03, v + 0.055, 0.15, 0.075)
    dark = dark + 0.15 * bump(nu + 0.04 * light.x, nv - g.nose_y - 0.075, g.nose_width * 1.15, 0.045)
    cast = bump(nu + 0.22 * light.x, nv - g.nose_y + 0.02, 0.10, 0.10)
    dark = dark + 0.30 * light.share * cast * smoothstep(0.0, 0.10, -nu * light.x * 3.0)
    dark = dark + 0.10 * bump(u, v - (g.mouth_y + g.lip_low + g.gap + 0.045), 0.12, 0.03)
    dark = dark + (0.03 + 0.05 * smoothstep(-0.5, 2.0, f["age"])) * bump(a - g.eye_x, v - 0.10, 0.12, 0.03)
    lines = smoothstep(0.3, 2.2, f["age"]) * 0.09
    wrinkle = torch.sin((v + 0.06 * u * u) * 62.0).clamp(min=0.0) * soft((v + 0.45).abs() - 0.08, 0.05)
    crow = torch.sin((v + 0.02) * 90.0 + a * 10.0).clamp(min=0.0) * bump(a - g.eye_x - 0.21, v, 0.05, 0.06)
    return dark + lines * (wrinkle * soft(a - 0.30, 0.12) + crow)


def blemishes(s: Scene) -> Tensor:
    """Skin colour over the face: blush, freckles, a mole."""
    at, g, c, f = s.at, s.g, s.c, s.f
    cheeks, nose = (
        bump(at.a - 0.42, at.v - 0.25, 0.17, 0.14),
        bump(at.nu, at.nv - g.nose_y + 0.02, 0.12, 0.08),
    )
    blush = 0.5 * cheeks + 0.5 * nose
    skin = c.skin * torch.stack([1 + 0.03 * blush, 1 - 0.11 * blush, 1 - 0.10 * blush], 1)
    spots = texture(s.seed, 2, at.u * 0.85 + f["freckles"], at.v * 0.85 + f["freckles"] * 0.618)
    amount = smoothstep(0.5, 1.7, f["freckles"]) * bump(at.a - 0.22, at.v - 0.2, 0.38, 0.24)
    place = f["mole"]
    x, y = at.u - 0.30 * torch.sign(place), at.v - 0.1 - 0.28 * (place.abs() - 0.6)
    mole = cover(circle(x, y, 0.026), at.pixel) * smoothstep(0.6, 0.65, place.abs())
    dark = 0.28 * amount * smoothstep(0.6, 1.4, spots) + 0.6 * mole * (1 - amount)
    return over(skin, c.skin * rgb(0.62, 0.45, 0.36), dark.clamp(max=1.0))


def draw_beard(layer: Tensor, s: Scene, q: Tensor) -> Tensor:
    """Beard on the jaw, moustache above the lip."""
    at, g, c, hair, f = s.at, s.g, s.c, s.hair, s.f
    speckle = 0.88 + 0.12 * hair.strands
    lips = oval(at.u, at.v - g.mouth_y - 0.4 * g.gap, g.mouth_width + 0.03, 0.10 + 0.5 * g.gap)
    low = smoothstep(0.0, 0.20, at.v - 0.30 - 0.32 * (1 - smoothstep(0.1, 0.55, at.a)) + 0.05 * at.a)
    beard = low * smoothstep(0.95, 1.25, lips) * smoothstep(0.6, 1.9, f["beard"]) * 0.92
    lip = both((at.v - (g.mouth_y - 0.085 + 0.35 * at.a * at.a)).abs() - 0.045, at.a - g.mouth_width * 1.05)
    moustache = soft(lip, 0.025) * smoothstep(0.7, 1.8, f["moustache"]) * 0.9
    alpha = both(beard, moustache) * speckle
    tone = (0.80 + 0.16 * hair.strands - 0.25 * smoothstep(0.85, 1.0, q)).clamp(0.35, 1.2)
    return over(layer, shade(c.beard, tone), alpha.clamp(0.0, 1.0))


def draw_nose(layer: Tensor, s: Scene) -> Tensor:
    """Nostrils and the creases around the wings; the form itself is in the relief."""
    at, g, c = s.at, s.g, s.c
    a, y = at.nu.abs(), at.nv - g.nose_y
    nostril = oval(a - 0.42 * g.nose_width, y - 0.030 + 0.10 * (a - 0.05), 0.26 * g.nose_width, 0.020)
    wing = oval(a - 0.66 * g.nose_width, y, 0.42 * g.nose_width, 0.062)
    crease = soft((wing - 1.0).abs() * 0.045 - 0.006, 0.016) * smoothstep(0.0, 0.05, a - 0.62 * g.nose_width)
    dark = (0.60 * soft((nostril - 1.0) * 0.022, 0.014) + 0.26 * crease).clamp(max=0.85)
    return over(layer, c.skin * rgb(0.34, 0.22, 0.19), dark)


def draw_mouth(layer: Tensor, s: Scene, tone: Tensor) -> Tensor:
    """Lips, the line between them, and teeth where the mouth is open."""
    at, g, c, light = s.at, s.g, s.c, s.light
    t = at.u / g.mouth_width
    t2 = t * t
    swell = 1.0 - t2
    line = g.mouth_y - g.curl * t2 + 0.02 * g.curl
    upper_line = line - 0.15 * g.gap * swell
    lower_line = line + 0.85 * g.gap * swell
    bow = 1.0 - g.bow * hill((t / 0.17) ** 2) + 0.10 * hill(((t.abs() - 0.28) / 0.2) ** 2)
    top = upper_line - g.lip_up * swell * bow
    bottom = lower_line + g.lip_low * swell * (0.75 + 0.25 * swell.clamp(min=0.0))
    upper = both(top - at.v, at.v - upper_line)
    lower = both(lower_line - at.v, at.v - bottom)
    inside = both(upper_line - at.v, at.v - lower_line)
    opened = smoothstep(0.01, 0.05, g.gap)
    cavity = cover(inside, at.pixel) * opened
    teeth = cover(both(inside, at.v - upper_line - 0.075 * swell - 0.01), at.pixel) * opened
    layer = over(layer, rgb(0.20, 0.06, 0.06), cavity)
    white = shade(rgb(0.93, 0.90, 0.86), (tone * 0.95 - 0.25 * t2).clamp(0.1, 1.05))
    layer = over(layer, white, teeth * 0.95)
    layer = over(layer, _tinted(c.lips, tone * 0.84), cover(upper, at.pixel))
    shine = bump(at.u + 0.05 * light.x, at.v - 0.55 * lower_line - 0.45 * bottom, 0.09, 0.018)
    lit = _tinted(c.lips, tone * 1.02) + (shine * light.share * 0.30).unsqueeze(1)
    layer = over(layer, lit, cover(lower, at.pixel))
    seam = soft((at.v - upper_line).abs() - 0.006, 0.016) * soft(t.abs() - 1.0, 0.08) * (1.0 - 0.7 * opened)
    corner = bump(t.abs() - 1.03, (at.v - line) * 10.0, 0.10, 0.35)
    return over(layer, c.lips * rgb(0.35, 0.25, 0.25), (0.80 * seam + 0.35 * corner).clamp(max=0.9))


def draw_eyes(layer: Tensor, s: Scene, tone: Tensor) -> Tensor:
    """Lids, white, iris, highlight and lashes; both eyes at once, mirrored."""
    at, g, c, f, light, view = s.at, s.g, s.c, s.f, s.light, s.view
    x = at.a - g.eye_x
    y = at.v + g.eye_tilt * x
    t = x / g.eye_width
    swell = 1.0 - t * t
    skewed = swell * (1.0 - 0.22 * t)
    upper, lower = -g.lid_up * skewed, g.lid_low * swell
    eye = cover(both(upper - y, y - lower), at.pixel)
    # eyelid crease
    crease = soft((y - upper + 0.040 + 0.01 * f["eye_opening"]).abs() - 0.004, 0.014)
    crease = crease * soft(t.abs() - 0.95, 0.15)
    layer = over(layer, c.skin * rgb(0.55, 0.42, 0.38), 0.45 * crease)
    # white, darker under the lid and in the corners
    white = 0.94 - 0.30 * soft(y - upper - 0.012, 0.03) - 0.22 * t * t
    white = shade(rgb(0.97, 0.95, 0.94), white * (0.35 + 0.65 * tone.clamp(max=1.05)))
    layer = over(layer, white, eye)
    # iris, pupil and highlight
    ix = torch.sign(at.u) * x - 0.045 * view["gaze_x"]
    iy = y + 0.010 - 0.022 * view["gaze_y"]
    r = circle(ix, iy, 0.0)
    ring = 1.15 - 0.55 * smoothstep(0.62, 1.0, r / g.iris) + 0.25 * smoothstep(-0.04, 0.05, iy)
    ring = ring * (1.0 - 0.35 * soft(y - upper - 0.008, 0.03))
    layer = over(layer, shade(c.iris, ring), eye * cover(r - g.iris, at.pixel))
    layer = over(layer, rgb(0.03, 0.02, 0.02), eye * cover(r - 0.44 * g.iris, at.pixel))
    glint = circle(ix - 0.035 * light.x, iy + 0.028, 0.014)
    layer = over(layer, torch.ones(1, 3, 1, 1), 0.9 * eye * cover(glint, at.pixel))
    # lash lines
    lashes = f["lashes"]
    lash, wing = 0.012 + 0.008 * smoothstep(-1.5, 2.0, lashes), 1.0 + 0.10 * smoothstep(-1.0, 2.0, lashes)
    upper_lash = soft((y - upper).abs() - lash * (0.6 + 0.4 * t), 0.012) * soft((t - 0.03).abs() - wing, 0.07)
    lower_lash = soft((y - lower).abs() - 0.004, 0.010) * soft(t.abs() - 0.97, 0.07)
    dark = upper_lash * (0.62 + 0.13 * lashes).clamp(0.35, 0.95)
    dark = dark + lower_lash * (0.30 + 0.08 * lashes).clamp(0.1, 0.6)
    return over(layer, c.brow * 0.35, dark.clamp(0.0, 0.95))


def draw_brows(layer: Tensor, s: Scene, tone: Tensor) -> Tensor:
    """Brows, with single hairs where the picture is large enough."""
    at, g, c = s.at, s.g, s.c
    hairs = texture(s.seed, 1, at.a * 2.2 + at.v * 1.2, at.v * 0.5 + 0.3)
    alpha = soft(brow_distance(at, g) + 0.006 * hairs, 0.010 + 0.3 * at.pixel)
    alpha = alpha * (0.86 + 0.10 * hairs).clamp(0.4, 1.0)
    return over(layer, shade(c.brow, 0.75 + 0.35 * tone), alpha)


def draw_glasses(layer: Tensor, s: Scene) -> tuple[Tensor, Tensor]:
    """The layer with glasses on, and the coverage of their frame."""
    at, g, f = s.at, s.g, s.f
    worn = smoothstep(1.0, 1.05, f["glasses"])
    rounded = smoothstep(1.1, 1.9, f["glasses"])
    x, y = (at.a - g.eye_x - 0.02).abs(), (at.v - 0.02).abs()
    square = both(x - 0.205, y - 0.135)
    rim = torch.lerp(square, circle(x, y, 0.185), rounded.expand_as(square))
    bridge = both((at.v + 0.01).abs() - 0.016, at.a - g.eye_x + 0.15)
    arm = both((at.v + 0.03).abs() - 0.014, g.eye_x + 0.20 - at.a)
    frame = worn * cover(either(rim.abs() - 0.016, bridge, arm), at.pixel)
    layer = over(layer, torch.ones(1, 3, 1, 1), 0.07 * worn * cover(rim, at.pixel))
    return over(layer, rgb(0.10, 0.085, 0.08), 0.92 * frame), frame


def draw_hair(image: Tensor, labels: Tensor, s: Scene) -> Tensor:
    """Hair in front of the head: strands, sheen, and shade at its edge."""
    at, hair, c, light = s.at, s.hair, s.c, s.light
    nx, ny = (at.u * 0.85).clamp(-0.75, 0.75), (at.v * 0.7 + 0.1).clamp(-0.65, 0.35)
    tone = _lit(light, nx, ny, torch.sqrt(1.0 - nx * nx - ny * ny))
    sheen = bump(torch.zeros_like(at.u), hair.crown - 0.86 + 0.03 * hair.strands, 1.0, 0.09) * (at.v < 0)
    edge = 1.0 - 0.25 * soft(hair.window.abs() - 0.03, 0.05)
    tone = (tone * (0.80 + 0.17 * hair.strands) * edge).clamp(0.12, 1.6)
    colour = shade(c.hair, tone) + (0.10 * light.share * sheen * (0.7 + 0.3 * hair.strands)).unsqueeze(1)
    alpha = cover(hair.front, at.pixel) * hair.thin
    _label(labels, "hair", hair.front < 0)
    return over(image, colour, alpha)


def label_face(labels: Tensor, s: Scene, face: Tensor, q: Tensor) -> None:
    """Parts of the face, each on top of the one before."""
    at, g = s.at, s.g
    _label(labels, "skin", face)
    band = (at.v > g.mouth_y + g.lip_low + g.gap + 0.05) | ((q > 0.74) & (at.v > 0.30))
    _label(labels, "jaw", face & band)
    t = at.u / (g.mouth_width * 1.08)
    inside = 1.0 - t * t
    line = g.mouth_y - g.curl * t * t
    below, above = line - 0.02 - 2.6 * g.lip_up * inside, line + 0.02 + (g.gap + g.lip_low) * inside
    _label(labels, "mouth", face & (at.v > below) & (at.v < above) & (inside > 0))
    half = g.bridge * 1.15 + (g.nose_width * 1.15 - g.bridge * 1.15) * smoothstep(0.0, 0.32, at.nv)
    _label(labels, "nose", face & (at.nu.abs() < half) & (at.nv > -0.06) & (at.nv < g.nose_y + 0.075))
    x = at.a - g.eye_x
    eyes = oval(x, at.v + g.eye_tilt * x + 0.01, g.eye_width * 1.2, 0.105)
    _label(labels, "eyes", face & (eyes < 1.0))
    _label(labels, "brows", face & (brow_distance(at, g) < 0.012))


def _label(labels: Tensor, part: str, where: Tensor) -> None:
    labels.masked_fill_(where, PARTS.index(part))
