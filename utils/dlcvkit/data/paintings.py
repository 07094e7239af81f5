"""Pictures that are drawn like paintings, so that there is a style to transfer without a download."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

Floats = NDArray[np.float64]

KINDS = ("strokes", "mosaic", "waves")
"""What can be painted."""

_FINER = 3
"""Pixels that are drawn for each pixel of the painting, along each axis."""


def painting(kind: str, size: int = 256, seed: int = 0) -> Tensor:
    """Return a square picture in one of the painted styles of this course.

    Args:
        kind: ``strokes``, short strokes of oil that follow a wind over a night sky; ``mosaic``, stones in grout, laid
            in rings; ``waves``, rows of arcs as on old Japanese cloth.
        size: Height and width in pixels, at least 32. A larger painting shows the same in more detail.
        seed: Decides what is drawn by chance; the same seed gives the same painting.

    Returns:
        Shape (3, size, size), float32 in [0, 1], RGB.

    Raises:
        ValueError: If there is no such kind, or ``size`` is less than 32.
    """
    if kind not in KINDS:
        raise ValueError(f"there are the paintings {', '.join(map(repr, KINDS))}, not {kind!r}")
    if size < 32:
        raise ValueError(f"size is at least 32, not {size}")
    pixels = _PAINTERS[kind](size * _FINER, np.random.default_rng(seed))
    picture = Image.fromarray(np.uint8(np.clip(pixels, 0, 1) * 255 + 0.5)).resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255


def _colours(*codes: str) -> Floats:
    """Return colours, shape (N, 3), in [0, 1], of codes such as ``"1b2f6e"``."""
    return np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in codes])


def _blend(palette: Floats, where: Floats) -> Floats:
    """Return colours (..., 3) at ``where`` (...), from 0 for the first colour of a palette to 1 for the last."""
    place = np.clip(where, 0, 1) * (len(palette) - 1)
    lower = np.minimum(place.astype(int), len(palette) - 2)
    share = (place - lower)[..., None]
    blended: Floats = palette[lower] * (1 - share) + palette[lower + 1] * share
    return blended


_NIGHT = _colours("0b1642", "16307a", "2456a8", "4a8cc8", "8fc0d8", "d8dcc0")
_LIGHT = _colours("e89a1c", "f6c63c", "fbe88c", "fdf6cf")


def _strokes(size: int, rng: np.random.Generator) -> Floats:
    centres = np.array([[0.24, 0.26], [0.74, 0.20], [0.56, 0.66], [0.10, 0.80], [0.90, 0.76]])
    centres = centres + rng.normal(0, 0.03, centres.shape)
    radii = np.array([0.20, 0.13, 0.24, 0.15, 0.14])
    turns = np.array([1.0, -1.0, -1.0, 1.0, 1.0])
    stars = np.array([True, True, False, False, True])

    def wind(points: Floats) -> tuple[Floats, Floats, Floats]:
        """Return direction (N, 2), brightness (N,) and share of starlight (N,) at points (N, 2)."""
        x, y = points[:, 0], points[:, 1]
        flow = np.stack([np.ones_like(x), 0.5 * np.sin(7 * x + 2 * y) + 0.25 * np.sin(13 * x)], axis=1)
        bright = 0.30 + 0.16 * np.sin(9 * y + 3 * np.sin(4 * x)) + 0.06 * np.sin(31 * y + 9 * x)
        glow = np.zeros_like(x)
        for centre, radius, turn, is_star in zip(centres, radii, turns, stars, strict=True):
            away = points - centre
            distance = np.sqrt((away**2).sum(axis=1))
            pull = np.exp(-((distance / radius) ** 2))[:, None]
            around = turn * np.stack([-away[:, 1], away[:, 0]], axis=1) / (distance[:, None] + 1e-6)
            flow = flow * (1 - pull) + 1.6 * pull * around
            rings = 0.5 + 0.5 * np.cos(distance / radius * 16)
            bright = bright + pull[:, 0] * (0.22 + 0.20 * rings)
            if is_star:
                glow = np.maximum(glow, np.exp(-((distance / (0.42 * radius)) ** 2)))
        return flow / np.linalg.norm(flow, axis=1, keepdims=True), bright, glow

    picture = Image.new("RGB", (size, size), (13, 24, 70))
    draw = ImageDraw.Draw(picture)
    for count, length, width in ((2600, 0.085, 0.017), (5200, 0.055, 0.0105), (5200, 0.038, 0.0065)):
        points = rng.uniform(-0.04, 1.04, (count, 2))
        _, bright, glow = wind(points)
        path = [points]
        for _ in range(5):
            path.append(path[-1] + wind(path[-1])[0] * length / 5)
        colours = _blend(_NIGHT, bright + rng.normal(0, 0.13, count))
        light = _blend(_LIGHT, glow + rng.normal(0, 0.15, count))
        is_light = (glow > rng.uniform(0.18, 0.6, count))[:, None]
        colours = np.where(is_light, light, colours)
        accent = rng.uniform(size=(count, 1)) < 0.035
        colours = np.where(accent & ~is_light, _LIGHT[1] * 0.9, colours)
        shades = (np.clip(colours + rng.normal(0, 0.02, (count, 3)), 0, 1) * 255).astype(np.uint8)
        thick = max(2, round(width * size))
        lines = np.stack(path, axis=1) * size
        for line, colour in zip(lines, shades, strict=True):
            # A darker edge below the stroke and a lighter one in it: oil stands up from the canvas.
            corners = [tuple(point) for point in line]
            dark, lighter = (tuple(int(v) for v in np.clip(colour * f, 0, 255)) for f in (0.62, 1.18))
            below = [(x + thick * 0.22, y + thick * 0.22) for x, y in corners]
            draw.line(below, fill=dark, width=thick, joint="curve")
            draw.line(corners, fill=tuple(int(v) for v in colour), width=thick, joint="curve")
            above = [(x - thick * 0.2, y - thick * 0.2) for x, y in corners[1:-1]]
            draw.line(above, fill=lighter, width=max(1, thick // 4), joint="curve")
    return np.asarray(picture, dtype=np.float64) / 255


_STONES = _colours("7a1f1f", "c8452a", "e8963c", "f2d9a0", "2f7f79", "174a5c", "101f3a")


def _mosaic(size: int, rng: np.random.Generator) -> Floats:
    cells = 30
    corner = np.stack(np.meshgrid(np.arange(-1, cells + 1), np.arange(-1, cells + 1)), axis=-1).astype(np.float64)
    seeds = corner + 0.5 + rng.uniform(-0.30, 0.30, corner.shape)
    middles = np.array([[0.34, 0.36], [0.86, 0.80], [0.05, 0.98], [0.92, 0.08]]) * cells
    distance = np.min(np.linalg.norm(seeds[..., None, :] - middles, axis=-1), axis=-1)
    ring = (distance / cells * 3.4 + rng.normal(0, 0.03, distance.shape)) % 1.0
    stones = _STONES[np.minimum((ring * len(_STONES)).astype(int), len(_STONES) - 1)]
    stones = np.clip(stones * rng.normal(1.0, 0.13, (*distance.shape, 1)) + rng.normal(0, 0.025, stones.shape), 0, 1)

    x, y = np.meshgrid((np.arange(size) + 0.5) / size * cells, (np.arange(size) + 0.5) / size * cells)
    column, row = x.astype(int) + 1, y.astype(int) + 1
    nearest, second = np.full((size, size), np.inf), np.full((size, size), np.inf)
    chosen = np.zeros((size, size, 2), dtype=int)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            place = np.stack([np.clip(row + down, 0, cells + 1), np.clip(column + across, 0, cells + 1)], axis=-1)
            seed = seeds[place[..., 0], place[..., 1]]
            gap = np.sqrt((seed[..., 0] - x) ** 2 + (seed[..., 1] - y) ** 2)
            is_nearer = gap < nearest
            second = np.where(is_nearer, nearest, np.minimum(second, gap))
            nearest = np.where(is_nearer, gap, nearest)
            chosen[is_nearer] = place[is_nearer]
    edge = second - nearest
    colour = stones[chosen[..., 0], chosen[..., 1]]
    seed = seeds[chosen[..., 0], chosen[..., 1]]
    lit = 1 + 0.16 * ((seed[..., 0] - x) + (seed[..., 1] - y))  # light from the upper left
    is_stone = np.clip((edge - 0.10) / 0.07, 0, 1)[..., None]
    grout = _colours("d9cfbd")[0] * 0.92
    painted: Floats = colour * lit[..., None] * is_stone + grout * (1 - is_stone)
    return painted


_CLOTH = _colours("f3ead6", "14295a", "c9dbe4", "2b5c9e", "f3ead6", "14295a", "d0503c", "f3ead6")


def _waves(size: int, rng: np.random.Generator) -> Floats:
    across, radius = 4.5, 0.5
    x, y = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    # The cloth hangs in soft folds.
    phase = rng.uniform(0, 2 * np.pi, 3)
    u = (x + 0.020 * np.sin(9 * y + phase[0])) * across
    v = (y + 0.026 * np.sin(8 * x + phase[1]) + 0.010 * np.sin(17 * x + phase[2])) * across
    step = radius / 2
    picture = np.ones((size, size, 3)) * _CLOTH[1]
    tints = rng.normal(1.0, 0.06, (64, 64))
    first = int(np.floor(v.min() / step)) - 3
    for row in range(first, int(np.ceil(v.max() / step)) + 3):
        shift = radius * (row % 2)
        column = np.floor(u - shift + 0.5)
        distance = np.hypot(u - column - shift, v - row * step)
        inside = (distance < radius) & (v < row * step + 0.30)
        rings = np.minimum((distance / radius * len(_CLOTH)).astype(int), len(_CLOTH) - 1)[inside]
        tint = tints[row % 64, column[inside].astype(int) % 64]
        is_red = (row * 7 + column[inside].astype(int) * 5) % 4 == 0
        colour = np.where((rings == 6)[:, None] & ~is_red[:, None], _CLOTH[3], _CLOTH[rings])
        picture[inside] = colour * tint[:, None]
        rim = inside & (distance > radius * 0.945)
        picture[rim] = _CLOTH[1]
    threads = 1 + 0.035 * np.sin(x * 2 * np.pi * 110) * np.sin(y * 2 * np.pi * 110)
    painted: Floats = picture * threads[..., None]
    return painted


_PAINTERS: dict[str, Callable[[int, np.random.Generator], Floats]] = {
    "strokes": _strokes,
    "mosaic": _mosaic,
    "waves": _waves,
}
