"""Drawn pictures of ten classes: small, in colour and noisy like CIFAR-10, and there without a download."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .outlines import OUTLINES

CLASSES = tuple(OUTLINES)
SIZE = 32
BLOCK = 250

Array = npt.NDArray[np.float32]


def shapes(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return drawn images of ten classes, each a little different in place, size, turn, colour and background.

    Each ten images in a row hold every class once, and a longer dataset begins with the shorter one of the same seed.
    The colours of shape and background lean a little towards the class, as they do in photographs, so that pixels say
    something about the class but far from all.

    Args:
        n: How many; at least 1.
        seed: Seed of everything that varies; at least 0.

    Returns:
        Images of shape (n, 3, 32, 32), float32 in [0, 1] in steps of 1/255, RGB; labels of shape (n,), int64 in 0 … 9,
        the index into ``CLASSES``.

    Raises:
        ValueError: If ``n`` is less than 1 or ``seed`` is negative.
    """
    if n < 1 or seed < 0:
        raise ValueError(f"n must be at least 1 and seed at least 0; n is {n}, seed is {seed}")
    blocks = [_draw_block(np.random.default_rng([seed, block])) for block in range(-(-n // BLOCK))]
    pixels = np.concatenate([pixels for pixels, _ in blocks])[:n]
    labels = np.concatenate([labels for _, labels in blocks])[:n]
    return torch.from_numpy(pixels).float().div_(255), torch.from_numpy(labels)


def _draw_block(generator: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return pixels of shape (BLOCK, 3, 32, 32), uint8, and labels of shape (BLOCK,), int64."""
    tens = np.tile(np.arange(len(CLASSES)), (BLOCK // len(CLASSES), 1))
    labels = generator.permuted(tens, axis=1).reshape(-1).astype(np.int64)
    cover = _cover(labels, generator)[:, None]
    shape_colour, ground_colour = _colours(labels, generator)
    ground = ground_colour[..., None, None] + _clouds(generator, 0.15)
    _add_blots(ground, generator)
    figure = shape_colour[..., None, None] + _clouds(generator, 0.10)
    picture = ground + cover * (figure - ground)
    picture *= generator.uniform(0.75, 1.2, (BLOCK, 1, 1, 1)).astype(np.float32)
    noise = generator.standard_normal(picture.shape, dtype=np.float32)
    noise *= generator.uniform(0.01, 0.07, (BLOCK, 1, 1, 1)).astype(np.float32)
    picture += noise
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8), labels


def _grid() -> Array:
    """Return the pixel centres as x, y; shape (32 * 32, 2)."""
    axis = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _cover(labels: npt.NDArray[np.int64], generator: np.random.Generator) -> Array:
    """Return how much of each pixel the shape covers, in [0, 1]; shape (N, 32, 32)."""
    n = len(labels)
    radius = generator.uniform(7.5, 13.0, (n, 1, 1)).astype(np.float32)
    centre = generator.normal(SIZE / 2, 2.1, (n, 1, 2)).astype(np.float32)
    turn = generator.normal(0, 0.3, n).astype(np.float32)
    stretch = np.exp(generator.normal(0, 0.13, (n, 1, 2))).astype(np.float32)
    mirrored = generator.choice(np.array([-1, 1], dtype=np.float32), n)
    cos, sin = np.cos(turn), np.sin(turn)
    # Rows of the matrix that takes the picture's axes to the shape's.
    turned = np.stack([np.stack([mirrored * cos, mirrored * sin], 1), np.stack([-sin, cos], 1)], 1)
    points = ((_grid() - centre) @ turned.transpose(0, 2, 1)) / (radius * stretch)
    distance = np.empty((n, SIZE * SIZE), dtype=np.float32)
    for label, name in enumerate(CLASSES):
        mine = labels == label
        distance[mine] = OUTLINES[name](points[mine])
    # One pixel of soft edge: half covered where the outline passes through the pixel's centre.
    cover: Array = np.clip(0.5 - distance * radius[..., 0], 0, 1)
    return cover.reshape(n, SIZE, SIZE)


def _colours(labels: npt.NDArray[np.int64], generator: np.random.Generator) -> tuple[Array, Array]:
    """Return a colour for each shape and for its background, never too alike; each of shape (N, 3)."""
    n = len(labels)
    hue = labels / len(CLASSES)
    figure = _rgb(hue + generator.normal(0, 0.17, n), generator.uniform(0.25, 0.9, n), generator.uniform(0.35, 1.0, n))
    ground = _rgb(
        3 * hue + generator.normal(0, 0.23, n), generator.uniform(0.1, 0.7, n), generator.uniform(0.1, 0.9, n)
    )
    # Where the two are nearly the same, the background is made darker or lighter, whichever is farther away.
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    gap = (figure - ground) @ weights
    push = np.where(gap >= 0, -1, 1) * np.clip(0.25 - np.abs(gap), 0, None)
    return figure, (ground + push[:, None]).astype(np.float32)


def _rgb(hue: npt.NDArray[np.float64], saturation: npt.NDArray[np.float64], value: npt.NDArray[np.float64]) -> Array:
    """Return RGB colours from hue (in turns, wrapped), saturation and value; shape (N, 3)."""
    wheel = np.clip(np.abs((hue[:, None] + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    colours: Array = (value[:, None] * (1 - saturation[:, None] * (1 - wheel))).astype(np.float32)
    return colours


def _clouds(generator: np.random.Generator, strength: float) -> Array:
    """Return soft variation, a 4x4 grid of random colours smoothly enlarged; shape (N, 3, 32, 32)."""
    coarse = generator.normal(0, strength, (BLOCK, 3, 4, 4)).astype(np.float32)
    place = np.linspace(0, 3, SIZE)
    weight = np.clip(1 - np.abs(place[:, None] - np.arange(4)), 0, None).astype(np.float32)
    # Linear along both axes at once: (N * 3, 4 * 4) times (4 * 4, 32 * 32).
    return (coarse.reshape(-1, 16) @ np.kron(weight, weight).T).reshape(BLOCK, 3, SIZE, SIZE)


def _add_blots(ground: Array, generator: np.random.Generator) -> None:
    """Put three blots of another colour on each background, in place, so that not every edge is the shape's."""
    x, y = _grid().T
    for _ in range(3):
        centre = generator.uniform(0, SIZE, (BLOCK, 2, 1)).astype(np.float32)
        radius = generator.uniform(1.5, 6.0, (BLOCK, 1)).astype(np.float32)
        colour = generator.uniform(0, 1, (BLOCK, 3, 1, 1)).astype(np.float32)
        strength = generator.uniform(0.2, 0.7, (BLOCK, 1)).astype(np.float32)
        distance = np.sqrt(np.square(x - centre[:, 0]) + np.square(y - centre[:, 1])) - radius
        cover = (np.clip(0.5 - distance, 0, 1) * strength).reshape(BLOCK, 1, SIZE, SIZE)
        ground += cover * (colour - ground)
