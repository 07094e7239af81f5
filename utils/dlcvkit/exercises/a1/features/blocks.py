"""Blocks of cells brought to length 1, and the whole of HOG."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Function, Mistake, uniform

from .cells import histograms_of_cells, whole_votes
from .gradients import full_turn, gradients_of_image


def _gather_blocks(cells):
    corners = cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]
    return torch.cat(corners, dim=-1)


def _length(v, eps=0.0):
    return (v.square().sum(-1, keepdim=True) + eps * eps).sqrt()


def _normalize_blocks(cells, eps):
    blocks = _gather_blocks(cells)
    return blocks / _length(blocks, eps)


def _separate_blocks(cells, eps):
    blocks = _gather_blocks(cells)[::2, ::2]
    return blocks / _length(blocks, eps)


def _interleaved_blocks(cells, eps):
    blocks = torch.stack([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], dim=-1).flatten(2)
    return blocks / _length(blocks, eps)


def _column_first_blocks(cells, eps):
    blocks = torch.cat([cells[:-1, :-1], cells[1:, :-1], cells[:-1, 1:], cells[1:, 1:]], dim=-1)
    return blocks / _length(blocks, eps)


_EPS_HINT = "the length is the root of the sum of squares plus the square of eps, all under one root"

normalize_blocks = Function(
    functions=("normalize_blocks",),
    reference=_normalize_blocks,
    cases=[
        Case("4×5 cells of 3 bins", cells=uniform(4, 5, 3), eps=0.5),
        Case("a single block", cells=uniform(2, 2, 4, high=3.0), eps=0.1),
    ],
    points={"blocks": 3},
    forbidden=frozenset({"torch.nn", "normalize"}),
    mistakes=[
        Mistake("leaves eps out", lambda cells, eps: _normalize_blocks(cells, 0.0), hint=_EPS_HINT),
        Mistake(
            "adds eps to the length instead of its square under the root",
            lambda cells, eps: _gather_blocks(cells) / (_length(_gather_blocks(cells)) + eps),
            hint=_EPS_HINT,
        ),
        Mistake(
            "adds eps without squaring it",
            lambda cells, eps: _gather_blocks(cells) / _length(_gather_blocks(cells), math.sqrt(eps)),
            hint=_EPS_HINT,
        ),
        Mistake(
            "leaves out the square root",
            lambda cells, eps: _gather_blocks(cells) / _length(_gather_blocks(cells), eps) ** 2,
            hint=_EPS_HINT,
        ),
        Mistake(
            "divides by the sum instead of the length",
            lambda cells, eps: _gather_blocks(cells) / (_gather_blocks(cells).abs().sum(-1, keepdim=True) + eps),
            hint=_EPS_HINT,
        ),
        Mistake(
            "takes the mean of the squares instead of their sum",
            lambda cells, eps: (
                _gather_blocks(cells) / (_gather_blocks(cells).square().mean(-1, keepdim=True) + eps**2).sqrt()
            ),
            hint="the length adds the squares up; nothing is divided under the root",
        ),
        Mistake(
            "flattens the result",
            lambda cells, eps: _normalize_blocks(cells, eps).flatten(),
            hint="the blocks keep their places: three axes, rows, columns and 4 * bins numbers",
        ),
        Mistake(
            "normalises each cell by itself",
            lambda cells, eps: _gather_blocks(cells / _length(cells, eps)),
            hint="one length for the whole block of four cells",
        ),
        Mistake(
            "does not normalise",
            lambda cells, eps: _gather_blocks(cells),
            hint="divide each block by its own length",
        ),
        Mistake(
            "uses blocks that do not overlap",
            _separate_blocks,
            hint="neighbouring blocks share cells: a block starts at every cell but the last of a row or column",
        ),
        Mistake(
            "mixes the four cells bin by bin",
            _interleaved_blocks,
            hint="all bins of the first cell come first, then all bins of the second",
        ),
        Mistake(
            "takes the four cells column by column",
            _column_first_blocks,
            hint="the order is top left, top right, bottom left, bottom right",
        ),
    ],
)


def _hog(img, cell, bins, eps, *, fold=True, gradients=gradients_of_image, cells=histograms_of_cells):
    magnitude, angle = gradients(img)
    blocks = _normalize_blocks(cells(magnitude, angle, cell, bins), eps)
    return blocks.flatten() if fold else blocks


def _half_of_full_turn(img):
    magnitude, angle = full_turn(img)
    return magnitude, angle / 2


def _unit_gradients(img):
    magnitude, angle = gradients_of_image(img)
    return torch.ones_like(magnitude), angle


def _hog_of_cells_alone(img, cell, bins, eps):
    histograms = histograms_of_cells(*gradients_of_image(img), cell, bins)
    return (histograms / _length(histograms, eps)).flatten()


hog = Function(
    functions=("hog",),
    reference=_hog,
    cases=[
        Case("three channels of 12×16", img=uniform(3, 12, 16), cell=4, bins=6, eps=0.5),
        Case("one channel of 11×7", img=uniform(1, 11, 7), cell=2, bins=5, eps=0.1),
    ],
    points={"features": 2},
    mistakes=[
        Mistake(
            "keeps the axes of the blocks",
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, fold=False),
            hint="the feature is one row of numbers: flatten it",
        ),
        Mistake(
            "leaves the cells without blocks and normalisation",
            lambda img, cell, bins, eps: histograms_of_cells(*gradients_of_image(img), cell, bins).flatten(),
            hint="three steps: gradients, cells, blocks",
        ),
        Mistake(
            "normalises cells instead of blocks",
            _hog_of_cells_alone,
            hint="three steps: gradients, cells, blocks",
        ),
        Mistake(
            "flattens along the wrong axes",
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, fold=False).permute(2, 0, 1).flatten(),
            hint="row after row of blocks, and inside each block its numbers in order",
        ),
        Mistake(
            "normalises the whole image at once",
            lambda img, cell, bins, eps: (lambda b: b / _length(b, eps))(
                _gather_blocks(histograms_of_cells(*gradients_of_image(img), cell, bins)).flatten()
            ),
            hint="each block has a length of its own",
        ),
        Mistake(
            "gives opposite directions bins of their own",
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, gradients=_half_of_full_turn),
            hint="opposite directions count as one orientation: use your image_gradients as they are",
        ),
        Mistake(
            "treats every channel by itself",
            lambda img, cell, bins, eps: torch.cat([_hog(channel[None], cell, bins, eps) for channel in img]),
            hint="image_gradients takes the whole image and makes it grey",
        ),
        Mistake(
            "exchanges magnitude and angle",
            lambda img, cell, bins, eps: _hog(
                img, cell, bins, eps, gradients=lambda img: gradients_of_image(img)[::-1]
            ),
            hint="look at the order in which image_gradients returns its results",
        ),
        Mistake(
            "lets every pixel vote with weight 1",
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, gradients=_unit_gradients),
            hint="a vote weighs as much as the pixel's magnitude",
        ),
        Mistake(
            "gives each vote to one bin",
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, cells=whole_votes),
            hint="use your cell_histograms, which share each vote between two bins",
        ),
        Mistake(
            "leaves eps out",
            lambda img, cell, bins, eps: _hog(img, cell, bins, 0.0),
            hint="pass eps on to normalize_blocks",
        ),
    ],
)
