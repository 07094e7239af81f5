"""How the objects of drawn scenes get on their pictures: soft outlines, gentle shading, a quiet background."""

import numpy as np
import numpy.typing as npt

from .outlines import OUTLINES

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")

RGB = np.array(
    [
        [0.86, 0.19, 0.18],
        [0.96, 0.56, 0.12],
        [0.97, 0.86, 0.28],
        [0.24, 0.68, 0.32],
        [0.18, 0.44, 0.83],
        [0.6, 0.3, 0.72],
    ],
    dtype=np.float32,
)
"""One colour per name, before it varies a little."""

REACH = 1.15
"""No outline goes farther from its centre than this, in radii."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


def paint_block(
    generator: np.random.Generator, size: int, kinds: Ints, centres: Floats, radii: Floats
) -> tuple[Bytes, Bools]:
    """Paint scenes.

    Args:
        generator: Source of colours, turns and noise.
        size: Height and width of the pictures, in pixels.
        kinds: Size, colour and shape of every object, shape (N, M, 3); -1 where there is none.
        centres: In pixels, x and y, shape (N, M, 2).
        radii: In pixels, shape (N, M).

    Returns:
        Pixels of shape (N, 3, size, size), and masks of shape (N, M, size, size).
    """
    n, most = radii.shape
    pictures = _background(generator, n, size)
    masks = np.zeros((n, most, size, size), dtype=bool)
    turns = generator.normal(0, 0.08, (n, most)).astype(np.float32)
    colours = RGB[kinds[..., 1]] + generator.normal(0, 0.025, (n, most, 3)).astype(np.float32)
    for number in range(most):
        for shape, name in enumerate(SHAPES):
            rows = np.flatnonzero(kinds[:, number, 2] == shape)
            if len(rows):
                given = (centres[rows, number], radii[rows, number], turns[rows, number])
                _paint(pictures, masks, rows, number, name, *given, colours[rows, number])
    pictures += 0.012 * generator.standard_normal(pictures.shape, dtype=np.float32)
    return np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8), masks


def _background(generator: np.random.Generator, n: int, size: int) -> Floats:
    """Return a pale or a dark ground for each picture, lighter towards one side; shape (n, 3, size, size)."""
    light = np.where(
        generator.random((n, 1)) < 0.6, generator.uniform(0.8, 0.94, (n, 1)), generator.uniform(0.12, 0.24, (n, 1))
    )
    ground = light + generator.normal(0, 0.025, (n, 3))
    angle = generator.uniform(0, 2 * np.pi, (n, 1, 1))
    axis = np.linspace(-1, 1, size)
    slope = 0.05 * (np.cos(angle) * axis + np.sin(angle) * axis[:, None])
    return (ground[..., None, None] + slope[:, None]).astype(np.float32)


def _paint(
    pictures: Floats,
    masks: Bools,
    rows: Ints,
    number: int,
    name: str,
    centres: Floats,
    radii: Floats,
    turns: Floats,
    colours: Floats,
) -> None:
    """Paint objects of one shape, one on each of the pictures ``rows``; pictures and masks are modified."""
    size = pictures.shape[-1]
    # Only a window around the object is looked at: pixel centres are at halves.
    reach = int(np.ceil(REACH * radii.max())) + 2
    offsets = np.arange(-reach, reach + 1)
    at = np.floor(centres).astype(np.int64)
    x, y = at[:, :1] + offsets, at[:, 1:] + offsets
    away_x = (x + 0.5 - centres[:, :1]).astype(np.float32)[:, None, :]
    away_y = (y + 0.5 - centres[:, 1:]).astype(np.float32)[:, :, None]
    cos, sin = (f(turns)[:, None, None] for f in (np.cos, np.sin))
    points = np.stack(np.broadcast_arrays(cos * away_x + sin * away_y, cos * away_y - sin * away_x), -1)
    points = points.reshape(len(rows), -1, 2) / radii[:, None, None]
    distance = OUTLINES[name](points.astype(np.float32)) * radii[:, None]
    distance = distance.reshape(len(rows), len(offsets), len(offsets))
    cover = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    # A little lighter at the top left, as under a lamp.
    shade = 1 - 0.12 * (away_x + away_y) / radii[:, None, None]
    is_inside = (x >= 0)[:, None, :] & (x < size)[:, None, :] & ((y >= 0) & (y < size))[:, :, None]
    one, down, across = np.nonzero(is_inside & (cover > 0))
    where = (rows[one], y[one, down], x[one, across])
    amount = cover[one, down, across][:, None]
    old = pictures.transpose(0, 2, 3, 1)[where]
    new = colours[one] * shade[one, down, across][:, None]
    pictures.transpose(0, 2, 3, 1)[where] = old + amount * (new - old)
    masks[rows[one], number, y[one, down], x[one, across]] = distance[one, down, across] <= 0
