"""Histograms of orientations, cell by cell."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import one_hot

from dlcvkit.checking import Case, Function, Mistake, given, uniform


def _lower_and_share(angle, bins, shift=0.5):
    place = angle * bins / math.pi - shift
    lower = place.floor()
    return lower.long(), place - lower


def _votes(magnitude, angle, bins, *, shift=0.5, swap=False):
    """Spread each pixel's magnitude over its two bins; shape (H, W, bins)."""
    lower, share = _lower_and_share(angle, bins, shift)
    if swap:
        share = 1 - share
    to_lower = one_hot(lower.remainder(bins), bins) * (magnitude * (1 - share))[..., None]
    return to_lower + one_hot((lower + 1).remainder(bins), bins) * (magnitude * share)[..., None]


def _sum_cells(votes, cell):
    rows, columns = votes.shape[0] // cell, votes.shape[1] // cell
    return (
        votes[: rows * cell, : columns * cell]
        .reshape(rows, cell, columns, cell, -1)
        .sum((1, 3))  # over the pixels inside each cell
    )


def histograms_of_cells(magnitude, angle, cell, bins):
    return _sum_cells(_votes(magnitude, angle, bins), cell)


def whole_votes(magnitude, angle, cell, bins):
    index = (angle * bins / math.pi).long().clamp(0, bins - 1)
    return _sum_cells(one_hot(index, bins) * magnitude[..., None], cell)


def _does_not_wrap(magnitude, angle, cell, bins):
    lower, share = _lower_and_share(angle, bins)
    votes = one_hot(lower.clamp(0, bins - 1), bins) * (magnitude * (1 - share))[..., None]
    return _sum_cells(votes + one_hot((lower + 1).clamp(0, bins - 1), bins) * (magnitude * share)[..., None], cell)


def _loses_what_wraps(magnitude, angle, cell, bins):
    lower, share = _lower_and_share(angle, bins)
    votes = one_hot((lower + 1).clamp(0, bins + 1), bins + 2) * (magnitude * (1 - share))[..., None]
    votes = votes + one_hot((lower + 2).clamp(0, bins + 1), bins + 2) * (magnitude * share)[..., None]
    return _sum_cells(votes[..., 1:-1], cell)


def _strided_cells(magnitude, angle, cell, bins):
    votes = _votes(magnitude, angle, bins)
    rows, columns = votes.shape[0] // cell, votes.shape[1] // cell
    return votes[: rows * cell, : columns * cell].reshape(cell, rows, cell, columns, bins).sum((0, 2))


cell_histograms = Function(
    functions=("cell_histograms",),
    reference=histograms_of_cells,
    cases=[
        Case(
            "8×12 pixels in cells of 4",
            magnitude=uniform(8, 12),
            angle=uniform(8, 12, high=math.pi),
            cell=4,
            bins=6,
        ),
        Case(
            "7×11 pixels in cells of 3",
            magnitude=uniform(7, 11),
            angle=uniform(7, 11, high=math.pi),
            cell=3,
            bins=9,
        ),
        Case(
            "one pixel",
            magnitude=given([[2.0]]),
            angle=given([[0.1 * math.pi]]),
            cell=1,
            bins=4,
        ),
    ],
    points={"cells": 4},
    mistakes=[
        Mistake(
            "gives the whole vote to one bin",
            whole_votes,
            hint="a pixel's vote is shared by the two bins whose centres enclose its angle",
        ),
        Mistake(
            "does not go around from the last bin to the first",
            _does_not_wrap,
            hint="orientations are circular: the last bin and bin 0 are neighbours, in both directions",
        ),
        Mistake(
            "loses votes beyond the first and the last bin",
            _loses_what_wraps,
            hint="orientations are circular: the last bin and bin 0 are neighbours, in both directions",
        ),
        Mistake(
            "swaps the two shares",
            lambda magnitude, angle, cell, bins: _sum_cells(_votes(magnitude, angle, bins, swap=True), cell),
            hint="the nearer centre gets the larger share",
        ),
        Mistake(
            "puts the centres of the bins on their lower edges",
            lambda magnitude, angle, cell, bins: _sum_cells(_votes(magnitude, angle, bins, shift=0.0), cell),
            hint="the centre of bin b is at (b + 1/2) π / bins",
        ),
        Mistake(
            "counts pixels instead of adding magnitudes",
            lambda magnitude, angle, cell, bins: histograms_of_cells(torch.ones_like(magnitude), angle, cell, bins),
            hint="strong edges count more: a vote weighs as much as the pixel's magnitude",
        ),
        Mistake(
            "squares the magnitudes",
            lambda magnitude, angle, cell, bins: histograms_of_cells(magnitude.square(), angle, cell, bins),
            hint="a vote weighs as much as the pixel's magnitude, not its square",
        ),
        Mistake(
            "spreads the bins over a full turn",
            lambda magnitude, angle, cell, bins: histograms_of_cells(magnitude, angle / 2, cell, bins),
            hint="the bins divide half a turn, from 0 to π",
        ),
        Mistake(
            "flattens the result",
            lambda magnitude, angle, cell, bins: histograms_of_cells(magnitude, angle, cell, bins).flatten(),
            hint="the cells keep their places: three axes, rows, columns and bins",
        ),
        Mistake(
            "takes the mean over the cell instead of the sum",
            lambda magnitude, angle, cell, bins: histograms_of_cells(magnitude, angle, cell, bins) / cell**2,
            hint="votes add up; nothing is divided here",
        ),
        Mistake(
            "gathers every n-th pixel instead of neighbouring ones",
            _strided_cells,
            hint="after a reshape of H to (rows, cell), the axis of size cell runs over neighbouring pixels",
        ),
        Mistake(
            "puts the columns of cells before the rows",
            lambda magnitude, angle, cell, bins: histograms_of_cells(magnitude, angle, cell, bins).transpose(0, 1),
            hint="the first axis goes down the image, the second to the right",
        ),
        Mistake(
            "puts the bins first",
            lambda magnitude, angle, cell, bins: histograms_of_cells(magnitude, angle, cell, bins).permute(2, 0, 1),
            hint="the bins are the last axis",
        ),
    ],
)
