"""The outlines of the ten drawn classes, as signed distances: negative inside, positive outside.

Shapes live in a frame of their own: centred on 0, about one unit in radius, y pointing down. Points come as an array of
shape (N, P, 2), float32: P points for each of N pictures.

Source:
    Quilez, "2D distance functions", 2020, for the polygon.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Outline = Callable[[Array], Array]


def circle(points: Array, centre: tuple[float, float] = (0.0, 0.0), radius: float = 0.9) -> Array:
    """Return distances to a disc; shape (N, P)."""
    distance: Array = np.hypot(points[..., 0] - centre[0], points[..., 1] - centre[1]) - np.float32(radius)
    return distance


def ring(points: Array) -> Array:
    """Return distances to a ring; shape (N, P)."""
    return np.abs(circle(points, radius=0.7)) - np.float32(0.22)


def moon(points: Array) -> Array:
    """Return distances to a crescent, a disc less another disc; shape (N, P)."""
    return np.maximum(circle(points, radius=0.95), -circle(points, (0.5, 0.0), 0.75))


def polygon(points: Array, corners: Sequence[tuple[float, float]]) -> Array:
    """Return distances to a polygon; shape (N, P).

    Args:
        points: Shape (N, P, 2).
        corners: In order along the outline; the last is joined to the first.
    """
    x, y = points[..., 0], points[..., 1]
    nearest = np.full(x.shape, np.inf, dtype=np.float32)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0]), strict=True):
        ex, ey = np.float32(bx - ax), np.float32(by - ay)
        px, py = x - np.float32(ax), y - np.float32(ay)
        along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
        np.minimum(nearest, np.square(px - along * ex) + np.square(py - along * ey), out=nearest)
        # A ray to the left crosses the edge: an odd number of crossings is inside.
        inside ^= ((py < 0) != (y - np.float32(by) < 0)) & ((px * ey < py * ex) == (ey < 0))
    return np.where(inside, -1, 1).astype(np.float32) * np.sqrt(nearest)


def _star(spikes: int, inner: float) -> list[tuple[float, float]]:
    corners = []
    for i in range(2 * spikes):
        radius = 1.05 if i % 2 == 0 else inner
        angle = np.pi * i / spikes
        corners.append((float(radius * np.sin(angle)), float(-radius * np.cos(angle))))
    return corners


def _heart() -> list[tuple[float, float]]:
    t = np.linspace(0, 2 * np.pi, 21)[:-1]
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


# fmt: off
CORNERS: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0.0, -1.0), (1.0, 0.75), (-1.0, 0.75)],
    "star": _star(5, 0.42),
    "cross": [
        (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
        (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3),
    ],
    "heart": _heart(),
    "arrow": [(0.0, -1.0), (0.85, -0.05), (0.3, -0.05), (0.3, 1.0), (-0.3, 1.0), (-0.3, -0.05), (-0.85, -0.05)],
    "hourglass": [(-0.8, -0.95), (0.8, -0.95), (0.12, 0.0), (0.8, 0.95), (-0.8, 0.95), (-0.12, 0.0)],
}
# fmt: on


def _from_corners(name: str) -> Outline:
    return lambda points: polygon(points, CORNERS[name])


OUTLINES: dict[str, Outline] = {
    "circle": circle,
    "ring": ring,
    "moon": moon,
    **{name: _from_corners(name) for name in CORNERS},
}
