"""Hidden cases, mutants and other solutions for solutions/a1/features.py."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, Mistake, drawn, given, integers, normal, uniform


def _counts_by_comparison(img, bins):
    low = torch.arange(bins, device=img.device)
    scaled = (img * bins).flatten(1)[..., None]
    inside = (scaled >= low) & ((scaled < low + 1) | (low == bins - 1))
    return inside.to(img.dtype).mean(1).flatten()


def _counts_by_addition(img, bins):
    channels, pixels = img.shape[0], img.shape[1] * img.shape[2]
    out = img.new_zeros(channels, bins)
    index = (img * bins).floor().long().clamp(0, bins - 1).reshape(channels, pixels)
    out.scatter_add_(1, index, img.new_ones(channels, pixels))
    return (out / pixels).reshape(-1)


def _color_in_float32(img, bins):
    return _counts_by_comparison(img, bins).float()


def _color_view_with_gaps(img, bins):
    shares = _counts_by_comparison(img, bins)
    return torch.stack([shares, shares], dim=1)[:, 0]


def _color_three_channels(img, bins):
    return torch.cat([_counts_by_comparison(img[c : c + 1], bins) for c in range(3)])


def _color_first_channel(img, bins):
    return _counts_by_comparison(img[:1], bins)


def _color_square(img, bins):
    return _counts_by_comparison(img, bins) * (img.shape[1] / img.shape[2])


def _color_clamps_in_place(img, bins):
    out = _counts_by_comparison(img, bins)
    img.clamp_(max=1 - 1e-6)
    return out


def _color_eight_bins(img, bins):
    return _counts_by_comparison(img, 8)


def _color_no_minlength(img, bins):
    index = (img * bins).long().clamp_max(bins - 1).flatten(1)
    return torch.cat([torch.bincount(channel) / channel.numel() for channel in index]).to(img.dtype)


def _color_off_by_one(img, bins):
    return _counts_by_comparison(img, bins).roll(1)


def _color_bytes(img, bins):
    return _counts_by_comparison((img * 255).round() / 255, bins)


def _color_views_only(img, bins):
    return _counts_by_comparison(img.view(len(img), 1, -1), bins)


def _color_float64(img, bins):
    return _counts_by_comparison(img, bins).double()


color_histogram = Hidden(
    cases=[
        Case("one pixel", img=uniform(3, 1, 1), bins=4),
        Case("one bin", img=uniform(2, 3, 4), bins=1),
        Case("a tall image of four channels", img=uniform(4, 9, 2), bins=7),
        Case("one channel", img=uniform(1, 6, 5), bins=16),
        Case("only black and white", img=drawn(lambda g: torch.randint(0, 2, (3, 4, 7), generator=g).double()), bins=5),
        Case("all white", img=given([[[1.0, 1.0, 1.0]]] * 2), bins=3),
        Case("a dark image", img=uniform(3, 5, 4, high=0.1), bins=6),
        Case("float32", img=uniform(3, 6, 4), bins=8).float32(),
        Case("a non-contiguous image", img=uniform(3, 4, 6), bins=8).strided(),
    ],
    mutants={
        "knows three channels only": _color_three_channels,
        "looks at the first channel only": _color_first_channel,
        "is right for square images only": _color_square,
        "clamps the image in place": _color_clamps_in_place,
        "always uses eight bins": _color_eight_bins,
        "drops empty bins at the end": _color_no_minlength,
        "puts counts one bin too far": _color_off_by_one,
        "rounds to bytes first": _color_bytes,
        "works on contiguous images only": _color_views_only,
        "returns float64 whatever the input": _color_float64,
        "returns zeros": lambda img, bins: img.new_zeros(img.shape[0] * bins),
        "uses torch.histc": lambda img, bins: torch.cat([torch.histc(c, bins, 0, 1) / c.numel() for c in img]),
    },
    solutions={
        "comparison": _counts_by_comparison,
        "scatter": _counts_by_addition,
        "float32": _color_in_float32,
        "view with gaps": _color_view_with_gaps,
    },
    equivalent={
        "color_histogram: torch.cat(shares).to(img.dtype) -> torch.cat(shares)": (
            "counts divided by counts are float32, which is accepted for float64 images by design"
        ),
    },
)


def _gray_differences(gray):
    height, width = gray.shape
    rows = torch.arange(height, device=gray.device)
    columns = torch.arange(width, device=gray.device)
    gx = gray[:, (columns + 1).clamp(max=width - 1)] - gray[:, (columns - 1).clamp(min=0)]
    gy = gray[(rows + 1).clamp(max=height - 1)] - gray[(rows - 1).clamp(min=0)]
    return gx, gy


def _fold(angle):
    angle = torch.where(angle < 0, angle + math.pi, angle)
    return torch.where(angle >= math.pi, torch.zeros_like(angle), angle)


def _gradients_by_index(img):
    gx, gy = _gray_differences(img.mean(0))
    return (gx * gx + gy * gy).sqrt(), _fold(torch.atan2(gy, gx))


def _gradients_by_loops(img):
    gray = img.sum(0) / img.shape[0]
    height, width = gray.shape
    magnitude, angle = torch.zeros_like(gray), torch.zeros_like(gray)
    for y in range(height):
        for x in range(width):
            gx = float(gray[y, min(x + 1, width - 1)] - gray[y, max(x - 1, 0)])
            gy = float(gray[min(y + 1, height - 1), x] - gray[max(y - 1, 0), x])
            magnitude[y, x] = math.hypot(gx, gy)
            angle[y, x] = math.atan2(gy, gx) % math.pi
    return magnitude, angle


def _gradients_in_float32(img):
    return _gradients_by_index(img.float())


def _gradients_of_transposed(img):
    magnitude, angle = _gradients_by_index(img.transpose(1, 2))
    # Mirroring at the diagonal exchanges gx and gy: the angle becomes π/2 minus it.
    angle = torch.remainder(math.pi / 2 - angle, math.pi)
    return magnitude.T, torch.where(magnitude.T == 0, torch.zeros_like(angle.T), angle.T)


def _arctangent_of_quotient(img):
    gx, gy = _gray_differences(img.mean(0))
    return torch.hypot(gx, gy), torch.remainder(torch.atan(gy / gx), math.pi)


def _guarded_quotient(img):
    gx, gy = _gray_differences(img.mean(0))
    return torch.hypot(gx, gy), torch.remainder(torch.atan(gy / (gx + 1e-2)), math.pi)


def _zero_on_border(img):
    magnitude, angle = _gradients_by_index(img)
    for value in (magnitude, angle):
        value[0], value[-1], value[:, 0], value[:, -1] = 0, 0, 0, 0
    return magnitude, angle


def _inner_pixels_only(img):
    magnitude, angle = _gradients_by_index(img)
    return magnitude[1:-1, 1:-1], angle[1:-1, 1:-1]


def _one_sided_border(img):
    """Full one-sided differences at the border, as numpy.gradient takes them."""
    gray = img.mean(0)
    gx, gy = _gray_differences(gray)
    gx[:, 0], gx[:, -1], gy[0], gy[-1] = 2 * gx[:, 0], 2 * gx[:, -1], 2 * gy[0], 2 * gy[-1]
    return torch.hypot(gx, gy), torch.remainder(torch.atan2(gy, gx), math.pi)


def _gray_by_luminance(img):
    weights = img.new_tensor([0.299, 0.587, 0.114])[: len(img), None, None]
    return _gradients_by_index((img * weights).sum(0, keepdim=True))


def _mean_of_magnitudes(img):
    return torch.stack([_gradients_by_index(c[None])[0] for c in img]).mean(0), _gradients_by_index(img)[1]


def _three_channels_assumed(img):
    return _gradients_by_index(img.sum(0, keepdim=True) / 3)


def _subtracts_in_place(img):
    out = _gradients_by_index(img)
    img -= img.mean()
    return out


def _flipped_vertical(img):
    gx, gy = _gray_differences(img.mean(0))
    return torch.hypot(gx, gy), torch.remainder(torch.atan2(-gy, gx), math.pi)


def _angle_first(img):
    magnitude, angle = _gradients_by_index(img)
    return angle, magnitude


image_gradients = Hidden(
    cases=[
        Case("one pixel", img=uniform(3, 1, 1)),
        Case("one row", img=uniform(2, 1, 6)),
        Case("one column", img=uniform(3, 5, 1)),
        Case("two rows", img=uniform(4, 2, 5)),
        Case("a flat region", img=given([[[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 1.0]]] * 3)),
        Case("a ramp that brightens downwards", img=given([[[0.0] * 3, [0.25] * 3, [0.5] * 3, [1.0] * 3]])),
        Case("a ramp that darkens downwards", img=given([[[1.0] * 4, [0.5] * 4, [0.25] * 4]])),
        Case("float32", img=uniform(3, 7, 4)).float32(),
        Case("a non-contiguous image", img=uniform(3, 4, 9)).strided(),
    ],
    mutants={
        "divides gy by gx": _arctangent_of_quotient,
        "divides gy by gx plus a small number": _guarded_quotient,
        "sets the border to zero": _zero_on_border,
        "returns the inner pixels only": _inner_pixels_only,
        "takes one-sided differences at the border": _one_sided_border,
        "weighs the channels by luminance": _gray_by_luminance,
        "averages magnitudes instead of channels": _mean_of_magnitudes,
        "divides by three whatever the number of channels": _three_channels_assumed,
        "subtracts the mean in place": _subtracts_in_place,
        "counts rows upwards": _flipped_vertical,
        "returns the angle first": _angle_first,
        "returns float64 whatever the input": lambda img: tuple(v.double() for v in _gradients_by_index(img)),
        "returns one tensor": lambda img: torch.stack(_gradients_by_index(img)),
    },
    solutions={
        "indices": _gradients_by_index,
        "loops": _gradients_by_loops,
        "float32": _gradients_in_float32,
        "through the transposed image": _gradients_of_transposed,
    },
    equivalent={
        (
            "image_gradients: torch.cat([gray[:1], gray, gray[-1:]], dim=0) -> torch.cat([gray[:1], gray, gray[-1:]])"
        ): "0 is the default of dim",
    },
)


def _tents(magnitude, angle, bins):
    """Share votes by the circular distance to every centre; shape (H, W, bins)."""
    if bins == 1:
        return magnitude[..., None]
    centres = torch.arange(bins, device=angle.device, dtype=angle.dtype) + 0.5
    gap = (angle[..., None] * bins / math.pi - centres).abs()
    gap = torch.minimum(gap, bins - gap)
    return magnitude[..., None] * (1 - gap).clamp(min=0)


def _cells_by_tents(magnitude, angle, cell, bins):
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


def _cells_bins_first(magnitude, angle, cell, bins):
    return _cells_by_tents(magnitude, angle, cell, bins).permute(2, 0, 1).contiguous().permute(1, 2, 0)


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
    return _cells_by_tents(magnitude, angle, cell, 9)


def _cells_square_grid(magnitude, angle, cell, bins):
    size = min(magnitude.shape)
    return _cells_by_tents(magnitude[:size, :size], angle[:size, :size], cell, bins)


def _cells_at_the_end(magnitude, angle, cell, bins):
    top, left = magnitude.shape[0] % cell, magnitude.shape[1] % cell
    return _cells_by_tents(magnitude[top:, left:], angle[top:, left:], cell, bins)


def _cells_maximum(magnitude, angle, cell, bins):
    votes = _tents(magnitude, angle, bins)
    rows, columns = votes.shape[0] // cell, votes.shape[1] // cell
    return votes[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, bins).amax((1, 3))


def _cells_full_turn(magnitude, angle, cell, bins):
    return _cells_by_tents(magnitude, angle / 2, cell, bins)


def _cells_squared(magnitude, angle, cell, bins):
    return _cells_by_tents(magnitude**2, angle, cell, bins)


def _cells_scales_in_place(magnitude, angle, cell, bins):
    out = _cells_by_tents(magnitude, angle, cell, bins)
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
        "flattens the result": lambda *args: _cells_by_tents(*args).flatten(),
        "returns float64 whatever the input": lambda *args: _cells_by_tents(*args).double(),
        "loses pixels of bin 0": lambda *args: _cells_by_tents(*args) * (torch.arange(args[3]) > 0),
    },
    solutions={
        "tents": _cells_by_tents,
        "loops over pixels": _cells_by_pixels,
        "float32": _cells_in_float32,
        "view with bins first": _cells_bins_first,
    },
    equivalent={
        "cell_histograms: magnitude.shape[1] -> magnitude.shape[-1]": "magnitude has two axes, so the last is axis 1",
    },
)


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
    return _blocks_by_loops(_cells_by_tents(*_gradients_by_index(img), cell, bins), eps).reshape(-1)


def _hog_by_unfold(img, cell, bins, eps):
    return _blocks_by_unfold(_cells_bins_first(*_gradients_by_index(img), cell, bins), eps).flatten()


def _hog_in_float32(img, cell, bins, eps):
    return _hog_by_loops(img.float(), cell, bins, eps)


def _hog_view_with_gaps(img, cell, bins, eps):
    features = _hog_by_unfold(img, cell, bins, eps)
    return torch.stack([features, features], dim=1)[:, 1]


def _hog_of_color(img, cell, bins, eps):
    return torch.cat([_hog_by_loops(channel[None], cell, bins, eps) for channel in img])


def _hog_with_gradients(gradients):
    def variant(img, cell, bins, eps):
        return _blocks_by_loops(_cells_by_tents(*gradients(img), cell, bins), eps).flatten()

    return variant


def _hog_binary_magnitude(img, cell, bins, eps):
    magnitude, angle = _gradients_by_index(img)
    cells = _cells_by_tents((magnitude > 0).to(img.dtype), angle, cell, bins)
    return _blocks_by_loops(cells, eps).flatten()


def _hog_stretched(img, cell, bins, eps):
    return _hog_by_loops((img - img.min()) / (img.max() - img.min()), cell, bins, eps)


def _hog_changes_image(img, cell, bins, eps):
    out = _hog_by_loops(img, cell, bins, eps)
    img.mul_(255)
    return out


def _hog_mixed_up(img, cell, bins, eps):
    magnitude, angle = _gradients_by_index(img)
    return _blocks_by_loops(_cells_by_tents(angle, magnitude, cell, bins), eps).flatten()


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
        "sets the border to zero": _hog_with_gradients(_zero_on_border),
        "takes one-sided differences at the border": _hog_with_gradients(_one_sided_border),
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


def _by_svd(X, k, eps):
    mean = X.sum(0) / X.shape[0]
    _, lengths, Vh = torch.linalg.svd(X - mean, full_matrices=False)
    V = Vh[:k].T.clone()
    for j in range(V.shape[1]):
        if V[V[:, j].abs().argmax(), j] < 0:
            V[:, j] = -V[:, j]
    W = V * (lengths[:k] ** 2 / len(X) + eps) ** -0.5
    return X @ W - mean @ W, mean, W


def _by_cov(X, k, eps):
    values, V = torch.linalg.eigh(torch.cov(X.T, correction=0).reshape(X.shape[1], X.shape[1]))
    V = V[:, torch.argsort(values, descending=True)[:k]]
    values = values.sort(descending=True).values[:k].clamp(min=0)
    peaks = torch.take_along_dim(V, V.abs().argmax(0)[None], 0)
    W = (V * torch.where(peaks < 0, -1, 1).to(V.dtype) / (values + eps).sqrt()).T.contiguous().T
    return (X - X.mean(0)) @ W, X.mean(0), W


def _whitened_in_float32(X, k, eps):
    return _by_svd(X.float(), k, eps)


def _keeps_all(X, k, eps):
    return _by_cov(X, X.shape[1], eps)


def _keeps_one_more(X, k, eps):
    return _by_cov(X, k + 1, eps)


def _mean_as_row(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, mean[None], W


def _returns_directions(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, mean, W / W.norm(dim=0)


def _transposed_map(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, mean, W.T


def _fixed_eps(X, k, eps):
    return _by_cov(X, k, 1e-5)


def _centres_in_place(X, k, eps):
    out = _by_cov(X.clone(), k, eps)
    X -= X.mean(0)
    return out


def _largest_negative(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return -Z, mean, -W


def _signs_by_sum(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    signs = torch.where(W.sum(0) < 0, -1.0, 1.0).to(W.dtype)
    return Z * signs, mean, W * signs


def _signs_by_scores(X, k, eps):
    """Make the largest projection positive instead of the largest entry of the eigenvector."""
    Z, mean, W = _by_cov(X, k, eps)
    signs = torch.take_along_dim(Z, Z.abs().argmax(0)[None], 0).sign()
    return Z * signs, mean, W * signs


def _random_signs(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    signs = torch.randint(0, 2, (k,)).to(W.dtype) * 2 - 1
    return Z * signs, mean, W * signs


def _exactly_unit_variance(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z / Z.std(0, correction=0), mean, W


def _zero_mean(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, torch.zeros_like(mean), W


def _overall_mean(X, k, eps):
    _, mean, W = _by_cov(X, k, eps)
    return (X - X.mean()) @ W, mean, W


def _singular_values_as_variances(X, k, eps):
    _, mean, W = _by_cov(X, k, eps)
    lengths = torch.linalg.svdvals(X - mean)[:k]
    V = W / W.norm(dim=0)
    W = V / (lengths + eps).sqrt()
    return (X - mean) @ W, mean, W


def _rows(count, columns, *, shift=0.0, ratio=2.0):
    """Draw rows whose covariance has eigenvalues ``ratio ** (-2 j)`` in a random orthonormal basis."""

    def draw(g):
        rank = min(count - 1, columns)
        raw = torch.randn(count, rank, generator=g, dtype=torch.float64)
        basis = torch.linalg.qr(raw - raw.mean(0))[0] * math.sqrt(count)
        rotation = torch.linalg.qr(torch.randn(columns, columns, generator=g, dtype=torch.float64))[0]
        centre = shift * torch.linspace(1, 2, columns, dtype=torch.float64)
        return basis * ratio ** -torch.arange(rank, dtype=torch.float64) @ rotation[:, :rank].T + centre

    return drawn(draw)


pca_whiten = Hidden(
    cases=[
        Case("one direction", X=_rows(7, 4), k=1, eps=0.05),
        Case("one sample", X=given([[3.0]]), k=1, eps=0.25),
        Case("two samples", X=_rows(2, 3, shift=1.0), k=1, eps=0.1),
        Case("more columns than samples", X=_rows(5, 9, shift=0.5), k=4, eps=0.01),
        Case("one column", X=normal(6, 1, mean=4.0), k=1, eps=0.1),
        Case("all directions", X=_rows(20, 4), k=4, eps=1e-4),
        Case("a large eps", X=_rows(10, 3, shift=-2.0), k=2, eps=5.0),
        Case("far from zero", X=_rows(15, 5, shift=20.0), k=3, eps=0.01),
        Case("large numbers", X=drawn(lambda g: 1e3 * _rows(8, 3).make(g)), k=2, eps=1.0),
        Case("float32", X=_rows(16, 5, shift=1.0), k=3, eps=0.05).float32(),
        Case("non-contiguous data", X=_rows(11, 4), k=2, eps=0.05).strided(),
    ],
    mistakes=[
        Mistake(
            "makes the largest projection positive",
            _signs_by_scores,
            hint="the sign is decided by the eigenvector's own entries, not by the projected data",
        ),
    ],
    mutants={
        "keeps all directions": _keeps_all,
        "keeps one direction too many": _keeps_one_more,
        "returns the mean as a row": _mean_as_row,
        "returns unit eigenvectors for W": _returns_directions,
        "returns W transposed": _transposed_map,
        "always uses eps = 1e-5": _fixed_eps,
        "centres the data in place": _centres_in_place,
        "makes the largest entry negative": _largest_negative,
        "makes the sum of the entries positive": _signs_by_sum,
        "leaves signs to chance": _random_signs,
        "scales Z to variance exactly 1": _exactly_unit_variance,
        "returns zeros for the mean": _zero_mean,
        "subtracts one mean over everything": _overall_mean,
        "takes singular values for variances": _singular_values_as_variances,
        "returns Z alone": lambda X, k, eps: _by_cov(X, k, eps)[0],
        "returns float64 whatever the input": lambda X, k, eps: tuple(v.double() for v in _by_cov(X, k, eps)),
    },
    solutions={"svd": _by_svd, "torch.cov": _by_cov, "float32": _whitened_in_float32},
    equivalent={
        "pca_whiten: values.flip(0) -> values.flip(-1)": "values has one axis",
        "pca_whiten: vectors * largest.sign() -> vectors / largest.sign()": "dividing by 1 or -1 multiplies by it",
        # Only eigenvalues of 0, up to rounding, are touched; their eigenvectors are not unique, so no case has them.
        "pca_whiten: values.clamp(min=0) -> values": "differs only where the eigenvector is not unique",
        "pca_whiten: values.clamp(min=0) -> values.clamp(min=-1)": "differs only where the eigenvector is not unique",
    },
)


def _squares(patches, centroids):
    return (patches[:, None] - centroids).pow(2).sum(2)


def _bag_by_one_hot(patches, centroids):
    nearest = _squares(patches, centroids).min(dim=1).indices
    return (nearest[:, None] == torch.arange(len(centroids), device=nearest.device)).to(patches.dtype).mean(0)


def _bag_by_scatter(patches, centroids):
    squares = patches.pow(2).sum(1, keepdim=True) + centroids.pow(2).sum(1) - 2 * patches @ centroids.T
    bag = patches.new_zeros(len(centroids))
    bag.index_add_(0, squares.argmin(1), patches.new_ones(len(patches)))
    return bag / bag.sum()


def _bag_in_float32(patches, centroids):
    return _bag_by_one_hot(patches.float(), centroids.float())


def _bag_view_with_gaps(patches, centroids):
    bag = _bag_by_one_hot(patches, centroids)
    return torch.stack([bag, bag], dim=1)[:, 0]


def _bag_with_loop(patches, centroids):
    bag = patches.new_zeros(len(centroids))
    for patch in patches:
        bag[(centroids - patch).square().sum(1).argmin()] += 1
    return bag / len(patches)


def _bag_assigns(patches, centroids):
    bag = patches.new_zeros(len(centroids))
    nearest = _squares(patches, centroids).argmin(1)
    bag[nearest] = bag[nearest] + 1
    return bag / len(patches)


def _bag_of_presence(patches, centroids):
    return (_bag_by_one_hot(patches, centroids) > 0).to(patches.dtype)


def _bag_unit_length(patches, centroids):
    bag = _bag_by_one_hot(patches, centroids)
    return bag / bag.norm()


def _bag_without_centroid_squares(patches, centroids):
    return _tally(patches.pow(2).sum(1, keepdim=True) - 2 * patches @ centroids.T, patches)


def _tally(costs, patches):
    words = costs.argmin(1)
    return (words[:, None] == torch.arange(costs.shape[1], device=words.device)).to(patches.dtype).mean(0)


def _bag_by_cosine(patches, centroids):
    lengths = patches.norm(dim=1, keepdim=True) * centroids.norm(dim=1)
    return _tally(-patches @ centroids.T / lengths.clamp(min=1e-12), patches)


def _bag_first_number(patches, centroids):
    return _bag_by_one_hot(patches[:, :1], centroids[:, :1])


def _bag_of_words_used(patches, centroids):
    return torch.unique(_squares(patches, centroids).argmin(1), return_counts=True)[1].to(patches.dtype) / len(patches)


def _bag_as_words(patches, centroids):
    return _squares(patches, centroids).argmin(1)


def _bag_in_place(patches, centroids):
    out = _bag_by_one_hot(patches, centroids)
    patches -= patches.mean(0)
    return out


def _bag_sorted(patches, centroids):
    return _bag_by_one_hot(patches, centroids).sort(descending=True).values


def _long_and_short(g):
    lengths = torch.linspace(0.2, 3, 7, dtype=torch.float64)
    return torch.randn(7, 4, generator=g, dtype=torch.float64) * lengths[:, None]


bag_of_visual_words = Hidden(
    cases=[
        Case("one patch", patches=normal(1, 4), centroids=normal(6, 4)),
        Case("one word", patches=normal(5, 3), centroids=normal(1, 3)),
        Case("fewer patches than words", patches=normal(3, 5), centroids=normal(9, 5)),
        Case("as many patches as words", patches=normal(6, 2), centroids=normal(6, 2)),
        Case("numbers instead of patches", patches=normal(12, 1), centroids=normal(4, 1)),
        Case("long and short words", patches=normal(30, 4), centroids=drawn(_long_and_short)),
        Case("equal words", patches=normal(6, 3), centroids=given([[5.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3])),
        Case(
            "whole numbers with many ties",
            patches=drawn(lambda g: integers(40, 2, low=-2, high=3).make(g).double()),
            centroids=given([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [0.0, 0.0]]),
        ),
        Case("large numbers", patches=normal(15, 6, std=1e3), centroids=normal(4, 6, std=1e3)),
        Case("float32", patches=normal(20, 8), centroids=normal(5, 8)).float32(),
        Case("non-contiguous patches", patches=normal(10, 4), centroids=normal(3, 4)).strided(),
    ],
    mutants={
        "loops over the patches": _bag_with_loop,
        "assigns counts instead of adding them": _bag_assigns,
        "notes only whether a word occurs": _bag_of_presence,
        "scales the bag to length 1": _bag_unit_length,
        "leaves the squares of the words out": _bag_without_centroid_squares,
        "compares directions instead of distances": _bag_by_cosine,
        "looks at the first number of each patch only": _bag_first_number,
        "leaves out words that do not occur": _bag_of_words_used,
        "returns the word of each patch": _bag_as_words,
        "centres the patches in place": _bag_in_place,
        "sorts the bag": _bag_sorted,
        "uses torch.cdist": lambda patches, centroids: _tally(torch.cdist(patches, centroids), patches),
        "returns float64 whatever the input": lambda *args: _bag_by_one_hot(*args).double(),
    },
    solutions={
        "one-hot": _bag_by_one_hot,
        "scatter": _bag_by_scatter,
        "float32": _bag_in_float32,
        "view with gaps": _bag_view_with_gaps,
    },
    equivalent={
        "bag_of_visual_words: counts.to(patches.dtype) -> counts": (
            "counts divided by a number are float32, which is accepted for float64 patches by design"
        ),
    },
)
