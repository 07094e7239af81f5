"""Blocks of cells brought to length 1, and the whole of HOG."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, drawn, given, uniform

from .cells import cells_bins_first, cells_by_tents
from .gradients import gradients_by_index, one_sided_border, zero_on_border


def _blocks_by_loops(cells, eps):
    rows, columns, bins = cells.shape
    out = cells.new_zeros(rows - 1, columns - 1, 4 * bins)
    for r in range(rows - 1):
        for c in range(columns - 1):
            block = cells[r : r + 2, c : c + 2].reshape(-1)
            out[r, c] = block / (block.dot(block) + eps * eps).sqrt()
    return out


def _blocks_by_unfold(cells, eps):
    blocks = cells.unfold(0, 2, 1).unfold(1, 2, 1).permute(0, 1, 3, 4, 2).flatten(2)
    return (
        blocks
        / torch.linalg.vector_norm(torch.cat([blocks, torch.full_like(blocks[..., :1], eps)], -1), dim=-1)[..., None]
    )


def _blocks_in_float32(cells, eps):
    return _blocks_by_loops(cells.float(), eps)


def _raw_blocks(cells):
    return torch.cat([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], dim=2)


def _blocks_by_largest(cells, eps):
    blocks = _raw_blocks(cells)
    return blocks / (blocks.amax(2, keepdim=True) + eps)


def _blocks_of_whole_image(cells, eps):
    blocks = _raw_blocks(cells)
    return blocks / (blocks.square().sum() + eps**2).sqrt()


def _blocks_subtract_eps(cells, eps):
    blocks = _raw_blocks(cells)
    return blocks / (blocks.square().sum(2, keepdim=True) - eps**2).abs().sqrt()


def _blocks_mean_square(cells, eps):
    blocks = _raw_blocks(cells)
    return blocks / (blocks.square().mean(2, keepdim=True) + eps**2).sqrt()


def _blocks_fixed_eps(cells, eps):
    return _blocks_by_loops(cells, 0.1)


def _blocks_in_place(cells, eps):
    out = _blocks_by_loops(cells, eps)
    cells /= cells.norm()
    return out


def _blocks_square_grid(cells, eps):
    size = min(cells.shape[:2])
    return _blocks_by_loops(cells[:size, :size], eps)


def _blocks_diagonal(cells, eps):
    blocks = torch.cat([cells[:-1, :-1], cells[1:, 1:], cells[:-1, 1:], cells[1:, :-1]], dim=2)
    return blocks / (blocks.square().sum(2, keepdim=True) + eps**2).sqrt()


normalize_blocks = Hidden(
    cases=[
        Case("one row of blocks", cells=uniform(2, 6, 3), eps=0.2),
        Case("one column of blocks", cells=uniform(5, 2, 2), eps=0.2),
        Case("one bin", cells=uniform(3, 4, 1), eps=0.3),
        Case("empty cells", cells=drawn(lambda g: torch.zeros(3, 4, 5, dtype=torch.float64)), eps=0.1),
        Case("faint cells", cells=uniform(3, 3, 4, high=1e-3), eps=0.01),
        Case("strong cells", cells=uniform(3, 5, 4, high=1e3), eps=0.5),
        Case("a large eps", cells=uniform(4, 3, 2), eps=3.0),
        Case("float32", cells=uniform(4, 6, 9), eps=0.1).float32(),
        Case("non-contiguous cells", cells=uniform(4, 3, 5), eps=0.1).strided(),
    ],
    mutants={
        "divides by the largest entry": _blocks_by_largest,
        "divides by the length over the whole image": _blocks_of_whole_image,
        "subtracts eps": _blocks_subtract_eps,
        "takes the mean of the squares": _blocks_mean_square,
        "always uses eps = 0.1": _blocks_fixed_eps,
        "normalises the cells in place": _blocks_in_place,
        "uses a square part of the cells": _blocks_square_grid,
        "takes the diagonal cells first": _blocks_diagonal,
        "flattens the result": lambda cells, eps: _blocks_by_loops(cells, eps).flatten(),
        "returns float64 whatever the input": lambda cells, eps: _blocks_by_loops(cells, eps).double(),
        "uses torch.nn.functional.normalize": lambda cells, eps: torch.nn.functional.normalize(
            _raw_blocks(cells), dim=2, eps=eps
        ),
    },
    solutions={"loops": _blocks_by_loops, "unfold": _blocks_by_unfold, "float32": _blocks_in_float32},
)


def _hog_by_loops(img, cell, bins, eps):
    return _blocks_by_loops(cells_by_tents(*gradients_by_index(img), cell, bins), eps).reshape(-1)


def _hog_by_unfold(img, cell, bins, eps):
    return _blocks_by_unfold(cells_bins_first(*gradients_by_index(img), cell, bins), eps).flatten()


def _hog_in_float32(img, cell, bins, eps):
    return _hog_by_loops(img.float(), cell, bins, eps)


def _hog_view_with_gaps(img, cell, bins, eps):
    features = _hog_by_unfold(img, cell, bins, eps)
    return torch.stack([features, features], dim=1)[:, 1]


def _hog_of_color(img, cell, bins, eps):
    return torch.cat([_hog_by_loops(channel[None], cell, bins, eps) for channel in img])


def _hog_with_gradients(gradients):
    def variant(img, cell, bins, eps):
        return _blocks_by_loops(cells_by_tents(*gradients(img), cell, bins), eps).flatten()

    return variant


def _hog_binary_magnitude(img, cell, bins, eps):
    magnitude, angle = gradients_by_index(img)
    cells = cells_by_tents((magnitude > 0).to(img.dtype), angle, cell, bins)
    return _blocks_by_loops(cells, eps).flatten()


def _hog_stretched(img, cell, bins, eps):
    return _hog_by_loops((img - img.min()) / (img.max() - img.min()), cell, bins, eps)


def _hog_changes_image(img, cell, bins, eps):
    out = _hog_by_loops(img, cell, bins, eps)
    img.mul_(255)
    return out


def _hog_mixed_up(img, cell, bins, eps):
    magnitude, angle = gradients_by_index(img)
    return _blocks_by_loops(cells_by_tents(angle, magnitude, cell, bins), eps).flatten()


hog = Hidden(
    cases=[
        Case("a single block", img=uniform(3, 4, 4), cell=2, bins=9, eps=0.1),
        Case("pixels left over", img=uniform(3, 13, 18), cell=4, bins=9, eps=0.1),
        Case("a tall image", img=uniform(2, 12, 6), cell=3, bins=4, eps=0.2),
        Case("a flat image", img=given([[[0.5] * 6] * 4] * 3), cell=2, bins=3, eps=0.1),
        Case("cells of one pixel", img=uniform(1, 3, 4), cell=1, bins=2, eps=1.0),
        Case("low contrast", img=uniform(3, 8, 8, low=0.5, high=0.51), cell=4, bins=9, eps=0.1),
        Case("32×32 pixels", img=uniform(3, 32, 32), cell=8, bins=9, eps=0.1),
        Case("float32", img=uniform(3, 16, 8), cell=4, bins=9, eps=0.1).float32(),
        Case("a non-contiguous image", img=uniform(3, 8, 12), cell=4, bins=6, eps=0.1).strided(),
    ],
    mutants={
        "always uses cells of 8": lambda img, cell, bins, eps: _hog_by_loops(img, 8, bins, eps),
        "always uses nine bins": lambda img, cell, bins, eps: _hog_by_loops(img, cell, 9, eps),
        "always uses eps = 0.1": lambda img, cell, bins, eps: _hog_by_loops(img, cell, bins, 0.1),
        "exchanges cell and bins": lambda img, cell, bins, eps: _hog_by_loops(img, bins, cell, eps),
        "treats every channel by itself": _hog_of_color,
        "exchanges magnitude and angle": _hog_mixed_up,
        "ignores the strength of the edges": _hog_binary_magnitude,
        "stretches the image to full contrast": _hog_stretched,
        "sets the border to zero": _hog_with_gradients(zero_on_border),
        "takes one-sided differences at the border": _hog_with_gradients(one_sided_border),
        "transposes the image": lambda img, cell, bins, eps: _hog_by_loops(img.transpose(1, 2), cell, bins, eps),
        "scales the image in place": _hog_changes_image,
        "returns float64 whatever the input": lambda *args: _hog_by_loops(*args).double(),
    },
    solutions={
        "loops": _hog_by_loops,
        "unfold": _hog_by_unfold,
        "float32": _hog_in_float32,
        "view with gaps": _hog_view_with_gaps,
    },
)
