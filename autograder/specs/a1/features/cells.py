"""Histograms of orientations, cell by cell."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, given, uniform


def _tents(magnitude, angle, bins):
    """Share votes by the circular distance to every centre; shape (H, W, bins)."""
    if bins == 1:
        return magnitude[..., None]
    centres = torch.arange(bins, device=angle.device, dtype=angle.dtype) + 0.5
    gap = (angle[..., None] * bins / math.pi - centres).abs()
    gap = torch.minimum(gap, bins - gap)
    return magnitude[..., None] * (1 - gap).clamp(min=0)


def cells_by_tents(magnitude, angle, cell, bins):
    votes = _tents(magnitude, angle, bins)
    rows = [
        torch.stack([votes[y : y + cell, x : x + cell].sum((0, 1)) for x in range(0, votes.shape[1] - cell + 1, cell)])
        for y in range(0, votes.shape[0] - cell + 1, cell)
    ]
    return torch.stack(rows)


def _cells_by_pixels(magnitude, angle, cell, bins):
    rows, columns = magnitude.shape[0] // cell, magnitude.shape[1] // cell
    out = magnitude.new_zeros(rows, columns, bins)
    for y in range(rows * cell):
        for x in range(columns * cell):
            place = float(angle[y, x]) * bins / math.pi - 0.5
            lower = math.floor(place)
            out[y // cell, x // cell, lower % bins] += magnitude[y, x] * (1 - (place - lower))
            out[y // cell, x // cell, (lower + 1) % bins] += magnitude[y, x] * (place - lower)
    return out


def _cells_in_float32(magnitude, angle, cell, bins):
    return _cells_by_pixels(magnitude.float(), angle.float(), cell, bins)


def cells_bins_first(magnitude, angle, cell, bins):
    return cells_by_tents(magnitude, angle, cell, bins).permute(2, 0, 1).contiguous().permute(1, 2, 0)


def _cells_assign(magnitude, angle, cell, bins):
    """Assign instead of add, so that two votes of one pixel for one bin leave the second alone."""
    place = angle * bins / math.pi - 0.5
    lower = place.floor().long()
    share = place - lower
    votes = magnitude.new_zeros(*magnitude.shape, bins)
    votes.scatter_(2, (lower % bins)[..., None], (magnitude * (1 - share))[..., None])
    votes.scatter_(2, ((lower + 1) % bins)[..., None], (magnitude * share)[..., None])
    rows, columns = magnitude.shape[0] // cell, magnitude.shape[1] // cell
    return votes[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, bins).sum((1, 3))


def _cells_nine_bins(magnitude, angle, cell, bins):
    return cells_by_tents(magnitude, angle, cell, 9)


def _cells_square_grid(magnitude, angle, cell, bins):
    size = min(magnitude.shape)
    return cells_by_tents(magnitude[:size, :size], angle[:size, :size], cell, bins)


def _cells_at_the_end(magnitude, angle, cell, bins):
    top, left = magnitude.shape[0] % cell, magnitude.shape[1] % cell
    return cells_by_tents(magnitude[top:, left:], angle[top:, left:], cell, bins)


def _cells_maximum(magnitude, angle, cell, bins):
    votes = _tents(magnitude, angle, bins)
    rows, columns = votes.shape[0] // cell, votes.shape[1] // cell
    return votes[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, bins).amax((1, 3))


def _cells_full_turn(magnitude, angle, cell, bins):
    return cells_by_tents(magnitude, angle / 2, cell, bins)


def _cells_squared(magnitude, angle, cell, bins):
    return cells_by_tents(magnitude**2, angle, cell, bins)


def _cells_scales_in_place(magnitude, angle, cell, bins):
    out = cells_by_tents(magnitude, angle, cell, bins)
    angle *= bins / math.pi
    return out


def _angles(*shape):
    return uniform(*shape, high=math.pi)


cell_histograms = Hidden(
    cases=[
        Case("one cell that is the whole image", magnitude=uniform(5, 5), angle=_angles(5, 5), cell=5, bins=9),
        Case("cells of one pixel", magnitude=uniform(3, 4), angle=_angles(3, 4), cell=1, bins=5),
        Case("one bin", magnitude=uniform(4, 6), angle=_angles(4, 6), cell=2, bins=1),
        Case("two bins", magnitude=uniform(6, 4), angle=_angles(6, 4), cell=2, bins=2),
        Case("pixels left over", magnitude=uniform(9, 14), angle=_angles(9, 14), cell=4, bins=7),
        Case("angles near 0", magnitude=uniform(4, 4), angle=uniform(4, 4, high=0.1), cell=2, bins=9),
        Case("angles near π", magnitude=uniform(4, 4), angle=uniform(4, 4, low=3.05, high=3.14), cell=2, bins=9),
        Case(
            "angles in the centres of bins",
            magnitude=uniform(2, 2),
            angle=given([[math.pi / 8] * 2, [0.0] * 2]),
            cell=2,
            bins=4,
        ),
        Case("large magnitudes", magnitude=uniform(4, 6, high=1e4), angle=_angles(4, 6), cell=3, bins=6),
        Case("float32", magnitude=uniform(8, 6), angle=_angles(8, 6), cell=2, bins=9).float32(),
        Case("non-contiguous tensors", magnitude=uniform(6, 8), angle=_angles(6, 8), cell=2, bins=6).strided(),
    ],
    mutants={
        "assigns votes instead of adding them": _cells_assign,
        "always uses nine bins": _cells_nine_bins,
        "uses a square part of the image": _cells_square_grid,
        "leaves out pixels at the top and left": _cells_at_the_end,
        "takes the strongest vote of a cell": _cells_maximum,
        "spreads the bins over a full turn": _cells_full_turn,
        "squares the magnitudes": _cells_squared,
        "scales the angles in place": _cells_scales_in_place,
        "flattens the result": lambda *args: cells_by_tents(*args).flatten(),
        "returns float64 whatever the input": lambda *args: cells_by_tents(*args).double(),
        "loses pixels of bin 0": lambda *args: cells_by_tents(*args) * (torch.arange(args[3]) > 0),
    },
    solutions={
        "tents": cells_by_tents,
        "loops over pixels": _cells_by_pixels,
        "float32": _cells_in_float32,
        "view with bins first": cells_bins_first,
    },
    equivalent={
        "cell_histograms: magnitude.shape[1] -> magnitude.shape[-1]": "magnitude has two axes, so the last is axis 1",
    },
)
