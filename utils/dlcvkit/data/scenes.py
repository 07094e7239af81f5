"""Drawn scenes: a few plain objects each, with captions, boxes and masks, and there without a download.

The captions' grammar::

    caption  = object, [relation, object, ["and", relation, object]];
    object   = "a", size, colour, shape;
    relation = "above" | "below" | "left of" | "right of";

The relations all start from the first object. Each object of a scene can be named first, so a scene of three objects
has three right captions. The customary one stands in front: it names large objects before small ones, and of two
equally large ones that first which is above or left of the other. No two objects of a scene have both colour and shape
in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .scene_painting import COLOURS, SHAPES, Floats, paint_block

SIZES = ("small", "large")
RELATIONS = ("above", "below", "left of", "right of")
BLOCK = 250
MOST_OBJECTS = 3

RADII = ((0.105, 0.125), (0.175, 0.2))
"""Range of radii of small and large objects, as a share of the picture's side."""

GAP = 0.03
"""Least room between two objects; they are farther apart along one axis than along the other by twice as much."""

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures and what is in them; M is the largest number of objects in a scene.

    Attributes:
        images: Shape (N, 3, S, S), float32 in [0, 1] in steps of 1/255, RGB.
        captions: All right captions of each picture, one for each object that can be named first; the customary one in
            front.
        objects: Size, colour and shape of each object, as indices into ``SIZES``, ``COLOURS`` and ``SHAPES``; shape
            (N, M, 3), int64; -1 where there is no object.
        masks: Which pixels belong to the object, those whose centre is inside its outline; shape (N, M, S, S), bool.
        boxes: The smallest box around the mask: left, top, right, bottom in pixels, the last two just beyond it, so
            that ``mask[top:bottom, left:right]`` holds all of it; shape (N, M, 4), int64; 0 where there is no object.
    """

    images: Tensor
    captions: tuple[tuple[str, ...], ...]
    objects: Tensor
    masks: Tensor
    boxes: Tensor


def scenes(n: int, seed: int = 0, *, size: int = 48, objects: tuple[int, int] = (2, 2)) -> Scenes:
    """Draw scenes. A longer dataset begins with the shorter one of the same seed, size and number of objects.

    Args:
        n: How many; at least 1.
        seed: Seed of everything that varies; at least 0.
        size: Height and width of a picture, in pixels; 24 … 256.
        objects: Least and largest number of objects in a scene, 1 … 3; both ends are drawn.

    Returns:
        The scenes.

    Raises:
        ValueError: If an argument is out of range.
    """
    least, most = objects
    if n < 1 or seed < 0:
        raise ValueError(f"n must be at least 1 and seed at least 0; n is {n}, seed is {seed}")
    if not 24 <= size <= 256:
        raise ValueError(f"size must be 24 to 256 pixels, not {size}")
    if not 1 <= least <= most <= MOST_OBJECTS:
        raise ValueError(f"objects are two numbers from 1 to {MOST_OBJECTS}, the smaller first, not {objects}")
    parts = []
    for block in range(-(-n // BLOCK)):
        generator = np.random.default_rng([seed, size, least, most, block])
        kinds = _draw_kinds(generator, least, most)
        centres, radii = _place(generator, kinds)
        # A block is drawn whole and cut, as its pictures share one stream of random numbers.
        keep = min(BLOCK, n - block * BLOCK)
        pixels, masks = paint_block(generator, size, kinds, centres * size, radii * size)
        parts.append((pixels[:keep], masks[:keep], kinds[:keep], centres[:keep]))
    pixels, masks, kinds, centres = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Scenes(
        torch.from_numpy(pixels).float().div_(255),
        tuple(_describe(each, places) for each, places in zip(kinds, centres, strict=True)),
        torch.from_numpy(kinds),
        torch.from_numpy(masks),
        torch.from_numpy(_boxes(masks)),
    )


def _draw_kinds(generator: np.random.Generator, least: int, most: int) -> Ints:
    """Return size, colour and shape of objects, no two with the same colour and shape; (BLOCK, most, 3)."""
    looks = generator.permuted(np.tile(np.arange(len(COLOURS) * len(SHAPES)), (BLOCK, 1)), axis=1)[:, :most]
    sizes = generator.integers(0, len(SIZES), (BLOCK, most))
    kinds = np.stack([sizes, looks // len(SHAPES), looks % len(SHAPES)], axis=-1).astype(np.int64)
    counts = generator.integers(least, most + 1, BLOCK)
    kinds[np.arange(most) >= counts[:, None]] = -1
    return kinds


def _place(generator: np.random.Generator, kinds: Ints) -> tuple[Floats, Floats]:
    """Return centres (N, M, 2) as x and y, and radii (N, M), all as shares of the side; objects keep apart."""
    low, high = np.array(RADII).T
    is_there = kinds[..., 0] >= 0
    size = np.where(is_there, kinds[..., 0], 0)
    radii = generator.uniform(low[size], high[size])
    centres = np.zeros((*radii.shape, 2))
    waiting = np.arange(len(kinds))
    while len(waiting):
        # Outlines reach up to 1.1 radii from the centre.
        rim = 1.1 * radii[waiting][..., None] + 0.02
        tried = generator.uniform(rim, 1 - rim, (len(waiting), radii.shape[1], 2))
        fits = _keep_apart(tried, radii[waiting], is_there[waiting])
        centres[waiting[fits]] = tried[fits]
        waiting = waiting[~fits]
    return centres.astype(np.float32), radii.astype(np.float32)


def _keep_apart(centres: npt.NDArray[np.float64], radii: npt.NDArray[np.float64], is_there: Bools) -> Bools:
    """Return for which scenes no objects touch, and all lie clearly beside or clearly above each other; (N,)."""
    fits = np.ones(len(centres), dtype=bool)
    for one in range(radii.shape[1]):
        for other in range(one):
            away = np.abs(centres[:, one] - centres[:, other])
            near = np.hypot(away[:, 0], away[:, 1]) < 1.1 * (radii[:, one] + radii[:, other]) + GAP
            is_oblique = np.abs(away[:, 0] - away[:, 1]) < 2 * GAP
            fits &= ~((near | is_oblique) & is_there[:, one] & is_there[:, other])
    return fits


def _describe(kinds: Ints, centres: Floats) -> tuple[str, ...]:
    """Return the captions of one scene, one for each object that can be named first, the customary one in front."""
    present = [index for index, kind in enumerate(kinds) if kind[0] >= 0]
    # The larger first; of two alike, the one that is above or left of the other has the smaller sum of x and y.
    present.sort(key=lambda index: (-int(kinds[index, 0]), float(centres[index].sum())))
    names = {i: f"a {SIZES[kinds[i, 0]]} {COLOURS[kinds[i, 1]]} {SHAPES[kinds[i, 2]]}" for i in present}
    captions = []
    for first in present:
        others = [f"{_relation(centres[first], centres[i])} {names[i]}" for i in present if i != first]
        captions.append(" ".join([names[first], *([" and ".join(others)] if others else [])]))
    return tuple(captions)


def _relation(one: Floats, other: Floats) -> str:
    across, down = (one - other).tolist()
    if abs(down) > abs(across):
        return "above" if down < 0 else "below"
    return "left of" if across < 0 else "right of"


def _boxes(masks: Bools) -> Ints:
    boxes = []
    for axis in (2, 3):  # what is left are columns, then rows
        found: Bools = np.max(masks, axis=axis)
        length = found.shape[-1]
        first, last = found.argmax(-1), length - found[..., ::-1].argmax(-1)
        boxes.append(np.where(np.any(found, axis=-1, keepdims=True), np.stack([first, last], -1), 0))
    across, down = boxes
    return np.stack([across[..., 0], down[..., 0], across[..., 1], down[..., 1]], axis=-1).astype(np.int64)


def caption_attributes(caption: str) -> tuple[str, ...]:
    """Return what a caption says: size, colour and shape of its objects, and the relations, in the order of its words.

    ``"left of"`` is one attribute. The words ``a`` and ``and`` say nothing.

    >>> caption_attributes("a small red ring left of a large blue star")
    ('small', 'red', 'ring', 'left of', 'large', 'blue', 'star')
    """
    words = caption.replace("left of", "left_of").replace("right of", "right_of").split()
    return tuple(word.replace("_", " ") for word in words if word not in ("a", "and"))


def count_right_attributes(caption: str, right: Sequence[str]) -> tuple[int, int]:
    """Compare a caption with the right ones of its picture, attribute by attribute in their order.

    Args:
        caption: Any text.
        right: The right captions, at least one; the one that agrees best counts.

    Returns:
        How many attributes agree, and how many there are: those of the right caption, or those of ``caption`` if it has
        more, so that what is said beyond the scene counts as wrong.

    >>> count_right_attributes("a small red ring", ["a small blue ring"])
    (2, 3)
    """
    said = caption_attributes(caption)
    best = (0, 1)
    for number, text in enumerate(right):
        wanted = caption_attributes(text)
        agreed = sum(one == other for one, other in zip(said, wanted, strict=False))
        found = agreed, max(len(wanted), len(said))
        if not number or found[0] * best[1] > best[0] * found[1]:
            best = found
    return best
