"""Hand-made features: colour histograms, histograms of oriented gradients, whitening, visual words."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import one_hot, pad

from dlcvkit.checking import READY_MADE_DISTANCES, Case, Function, Mistake, drawn, given, normal, uniform


def _bin_counts(img, bins):
    return one_hot((img * bins).long().clamp_max(bins - 1).flatten(1), bins).to(img.dtype).sum(1)


def _color_histogram(img, bins):
    return (_bin_counts(img, bins) / img[0].numel()).flatten()


def _loses_white(img, bins):
    index = (img * bins).long().flatten(1)
    return one_hot(index, bins + 1)[..., :bins].to(img.dtype).mean(1).flatten()


def _rounds(img, bins):
    return one_hot((img * (bins - 1)).round().long().flatten(1), bins).to(img.dtype).mean(1).flatten()


def _stretches_range(img, bins):
    low, high = img.min(), img.max()
    return _color_histogram((img - low) / (high - low), bins)


def _lower_bin_on_edges(img, bins):
    index = ((img * bins).ceil().long() - 1).clamp_min(0)
    return one_hot(index.flatten(1), bins).to(img.dtype).mean(1).flatten()


color_histogram = Function(
    functions=("color_histogram",),
    reference=_color_histogram,
    cases=[
        Case("three channels of 4×5", img=uniform(3, 4, 5), bins=8),
        Case("two channels of 5×3", img=uniform(2, 5, 3, low=0.2, high=0.7), bins=5),
        Case("values on the edges of the bins", img=given([[[0.0, 0.25, 0.5], [0.75, 1.0, 1.0]]]), bins=4),
    ],
    points={"histogram": 3},
    forbidden=frozenset({"histc", "histogram", "histogramdd"}),
    mistakes=[
        Mistake(
            "loses pixels of value 1",
            _loses_white,
            hint="a value of exactly 1 belongs to the last bin",
        ),
        Mistake(
            "counts pixels without dividing",
            lambda img, bins: _bin_counts(img, bins).flatten(),
            hint="shares are asked for, so that images of any size compare: divide by the number of pixels",
        ),
        Mistake(
            "divides by the number of values in all channels",
            lambda img, bins: (_bin_counts(img, bins) / img.numel()).flatten(),
            hint="the bins of each channel add up to 1",
        ),
        Mistake(
            "puts all channels into one histogram",
            lambda img, bins: _color_histogram(img.reshape(1, -1, 1), bins),
            hint="each channel has a histogram of its own; they stand one after the other",
        ),
        Mistake(
            "rounds to the nearest bin",
            _rounds,
            hint="bin b holds the values from b/bins up to, but not including, (b+1)/bins: cut off, do not round",
        ),
        Mistake(
            "spreads the bins from the darkest to the brightest value",
            _stretches_range,
            hint="the bins divide the range from 0 to 1, whatever the image holds",
        ),
        Mistake(
            "counts a value on an edge in the lower bin",
            _lower_bin_on_edges,
            hint="bin b holds the values from b/bins up to, but not including, (b+1)/bins",
        ),
        Mistake(
            "lists the channels inside each bin",
            lambda img, bins: (_bin_counts(img, bins) / img[0].numel()).T.flatten(),
            hint="all bins of channel 0 come first, then all bins of channel 1",
        ),
        Mistake(
            "returns a table of channels and bins",
            lambda img, bins: _bin_counts(img, bins) / img[0].numel(),
            hint="the result is one row of C * bins numbers",
        ),
    ],
)


def _differences(gray, mode="replicate"):
    padded = pad(gray[None, None], (1, 1, 1, 1), mode=mode)[0, 0]
    return padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]


def _polar(gx, gy):
    return torch.hypot(gx, gy), torch.remainder(torch.atan2(gy, gx), math.pi)


def _image_gradients(img):
    return _polar(*_differences(img.mean(0)))


def _forward_differences(img):
    gray = pad(img.mean(0)[None, None], (0, 1, 0, 1), mode="replicate")[0, 0]
    return _polar(gray[:-1, 1:] - gray[:-1, :-1], gray[1:, :-1] - gray[:-1, :-1])


def _signed(img):
    gx, gy = _differences(img.mean(0))
    return torch.hypot(gx, gy), torch.atan2(gy, gx)


def _full_turn(img):
    magnitude, angle = _signed(img)
    return magnitude, torch.remainder(angle, 2 * math.pi)


def _keeps_pi(img):
    magnitude, angle = _signed(img)
    return magnitude, torch.where(angle < 0, angle + math.pi, angle)


def _absolute_angle(img):
    magnitude, angle = _signed(img)
    return magnitude, angle.abs()


def _rows_upwards(img):
    gx, gy = _differences(img.mean(0))
    return _polar(gx, -gy)


def _axes_swapped(img):
    gx, gy = _differences(img.mean(0))
    return _polar(gy, gx)


def _from_differences(magnitude):
    """Build a mistake's variant that has the right angle and a magnitude of its own."""

    def variant(img):
        gray = img.mean(0)
        return magnitude(*_differences(gray)), _image_gradients(img)[1]

    return variant


image_gradients = Function(
    functions=("image_gradients",),
    reference=_image_gradients,
    cases=[
        Case("three channels of 5×7", img=uniform(3, 5, 7)),
        Case("one channel of 6×4", img=uniform(1, 6, 4)),
        Case("a ramp that darkens to the right", img=given([[[0.75, 0.5, 0.25, 0.0]] * 3])),
    ],
    points={"magnitude": 2, "angle": 2},
    mistakes=[
        Mistake(
            "halves the differences",
            _from_differences(lambda gx, gy: torch.hypot(gx, gy) / 2),
            hint="the difference of the two neighbours is taken as it is; nothing is divided",
        ),
        Mistake(
            "leaves out the square root",
            _from_differences(lambda gx, gy: gx.square() + gy.square()),
            hint="the magnitude is the length of the arrow (gx, gy)",
        ),
        Mistake(
            "adds absolute differences instead of taking the length",
            _from_differences(lambda gx, gy: gx.abs() + gy.abs()),
            hint="the magnitude is the length of the arrow (gx, gy)",
        ),
        Mistake(
            "adds the channels up instead of averaging them",
            lambda img: _image_gradients(img * len(img)),
            hint="grey is the mean over the channels",
        ),
        Mistake(
            "uses the first channel only",
            lambda img: _image_gradients(img[:1]),
            hint="grey is the mean over the channels",
        ),
        Mistake(
            "pads the border with zeros",
            lambda img: _polar(*_differences(img.mean(0), mode="constant")),
            hint="beyond the border the nearest pixel is repeated; black there would draw an edge around the image",
        ),
        Mistake(
            "wraps around at the border",
            lambda img: _polar(*_differences(img.mean(0), mode="circular")),
            hint="beyond the border the nearest pixel is repeated; the opposite side has no part in it",
        ),
        Mistake(
            "takes the difference to one neighbour only",
            _forward_differences,
            hint="the difference goes from the neighbour before to the neighbour after, over two steps",
        ),
        Mistake(
            "takes differences as torch.gradient does",
            lambda img: _polar(*reversed(torch.gradient(img.mean(0)))),
            hint="nothing is halved, and beyond the border the nearest pixel is repeated",
        ),
        Mistake(
            "swaps the horizontal and the vertical difference in the angle",
            _axes_swapped,
            hint="atan2 takes gy first; gx runs along the columns, gy along the rows",
        ),
        Mistake(
            "leaves an angle of π as it is",
            _keeps_pi,
            hint="π is the same orientation as 0, and [0, π) leaves it out",
        ),
        Mistake(
            "returns signed angles",
            _signed,
            hint="opposite directions count as one orientation: fold the angles into [0, π)",
        ),
        Mistake(
            "folds the angles into a full turn",
            _full_turn,
            hint="opposite directions count as one orientation: fold the angles into [0, π), half a turn",
        ),
        Mistake(
            "takes the absolute value of the angle",
            _absolute_angle,
            hint="the direction opposite to -0.2 is π - 0.2, not 0.2",
        ),
        Mistake(
            "counts rows upwards",
            _rows_upwards,
            hint="gy is the pixel below minus the pixel above: row numbers grow downwards",
        ),
        Mistake(
            "leaves the border out",
            lambda img: tuple(value[1:-1, 1:-1] for value in _image_gradients(img)),
            hint="every pixel has a gradient: beyond the border the nearest pixel is repeated",
        ),
        Mistake(
            "gives angles in degrees",
            lambda img: (_image_gradients(img)[0], torch.rad2deg(_image_gradients(img)[1])),
            hint="angles are in radians",
        ),
    ],
)


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


def _cell_histograms(magnitude, angle, cell, bins):
    return _sum_cells(_votes(magnitude, angle, bins), cell)


def _whole_votes(magnitude, angle, cell, bins):
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
    reference=_cell_histograms,
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
            _whole_votes,
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
            lambda magnitude, angle, cell, bins: _cell_histograms(torch.ones_like(magnitude), angle, cell, bins),
            hint="strong edges count more: a vote weighs as much as the pixel's magnitude",
        ),
        Mistake(
            "squares the magnitudes",
            lambda magnitude, angle, cell, bins: _cell_histograms(magnitude.square(), angle, cell, bins),
            hint="a vote weighs as much as the pixel's magnitude, not its square",
        ),
        Mistake(
            "spreads the bins over a full turn",
            lambda magnitude, angle, cell, bins: _cell_histograms(magnitude, angle / 2, cell, bins),
            hint="the bins divide half a turn, from 0 to π",
        ),
        Mistake(
            "flattens the result",
            lambda magnitude, angle, cell, bins: _cell_histograms(magnitude, angle, cell, bins).flatten(),
            hint="the cells keep their places: three axes, rows, columns and bins",
        ),
        Mistake(
            "takes the mean over the cell instead of the sum",
            lambda magnitude, angle, cell, bins: _cell_histograms(magnitude, angle, cell, bins) / cell**2,
            hint="votes add up; nothing is divided here",
        ),
        Mistake(
            "gathers every n-th pixel instead of neighbouring ones",
            _strided_cells,
            hint="after a reshape of H to (rows, cell), the axis of size cell runs over neighbouring pixels",
        ),
        Mistake(
            "puts the columns of cells before the rows",
            lambda magnitude, angle, cell, bins: _cell_histograms(magnitude, angle, cell, bins).transpose(0, 1),
            hint="the first axis goes down the image, the second to the right",
        ),
        Mistake(
            "puts the bins first",
            lambda magnitude, angle, cell, bins: _cell_histograms(magnitude, angle, cell, bins).permute(2, 0, 1),
            hint="the bins are the last axis",
        ),
    ],
)


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


def _hog(img, cell, bins, eps, *, fold=True, gradients=_image_gradients, cells=_cell_histograms):
    magnitude, angle = gradients(img)
    blocks = _normalize_blocks(cells(magnitude, angle, cell, bins), eps)
    return blocks.flatten() if fold else blocks


def _half_of_full_turn(img):
    magnitude, angle = _full_turn(img)
    return magnitude, angle / 2


def _unit_gradients(img):
    magnitude, angle = _image_gradients(img)
    return torch.ones_like(magnitude), angle


def _hog_of_cells_alone(img, cell, bins, eps):
    histograms = _cell_histograms(*_image_gradients(img), cell, bins)
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
            lambda img, cell, bins, eps: _cell_histograms(*_image_gradients(img), cell, bins).flatten(),
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
                _gather_blocks(_cell_histograms(*_image_gradients(img), cell, bins)).flatten()
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
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, gradients=lambda img: _image_gradients(img)[::-1]),
            hint="look at the order in which image_gradients returns its results",
        ),
        Mistake(
            "lets every pixel vote with weight 1",
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, gradients=_unit_gradients),
            hint="a vote weighs as much as the pixel's magnitude",
        ),
        Mistake(
            "gives each vote to one bin",
            lambda img, cell, bins, eps: _hog(img, cell, bins, eps, cells=_whole_votes),
            hint="use your cell_histograms, which share each vote between two bins",
        ),
        Mistake(
            "leaves eps out",
            lambda img, cell, bins, eps: _hog(img, cell, bins, 0.0),
            hint="pass eps on to normalize_blocks",
        ),
    ],
)


def _spectrum(X):
    """Return mean, eigenvalues from large to small, and eigenvectors as columns with LAPACK's signs."""
    mean = X.mean(0)
    centred = X - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(X))
    return mean, values.flip(0).clamp_min(0), vectors.flip(1)


def _largest_positive(V):
    rows = V.abs().argmax(0, keepdim=True)
    return V * torch.where(V.gather(0, rows) < 0, -1.0, 1.0).to(V.dtype)


def _pca_whiten(
    X,
    k,
    eps,
    *,
    fix_signs=_largest_positive,
    divisor=lambda values, eps: (values + eps).sqrt(),
    ascending=False,
    scale=1.0,
):
    mean, values, V = _spectrum(X)
    if ascending:
        values, V = values.flip(0), V.flip(1)
    W = fix_signs(V[:, :k]) / divisor(values[:k] * scale, eps)
    return (X - mean) @ W, mean, W


def _signs_of_svd(X, k, eps):
    mean = X.mean(0)
    _, lengths, Vh = torch.linalg.svd(X - mean, full_matrices=False)
    W = Vh[:k].T / (lengths[:k].square() / len(X) + eps).sqrt()
    return (X - mean) @ W, mean, W


def _does_not_center(X, k, eps):
    values, V = torch.linalg.eigh(X.T @ X / len(X))
    W = _largest_positive(V.flip(1)[:, :k]) / (values.flip(0)[:k] + eps).sqrt()
    return X @ W, X.mean(0), W


def _projects_uncentred(X, k, eps):
    _, mean, W = _pca_whiten(X, k, eps)
    return X @ W, mean, W


def _rotates_back(X, k, eps):
    mean, values, V = _spectrum(X)
    W = V[:, :k] / (values[:k] + eps).sqrt() @ V[:, :k].T
    return (X - mean) @ W, mean, W


def _rows_for_columns(X, k, eps):
    mean, values, V = _spectrum(X)
    W = _largest_positive(V.T[:, :k]) / (values[:k] + eps).sqrt()
    return (X - mean) @ W, mean, W


def _divides_by_columns(X, k, eps):
    mean, std = X.mean(0), X.std(0, correction=0)
    return ((X - mean) / std)[:, :k], mean, torch.diag(1 / std)[:, :k]


def _correlated(rows, columns, *, shift=0.0):
    """Draw rows whose covariance has well separated eigenvalues and no axis-parallel eigenvectors."""

    def draw(g):
        scales = 2.0 ** -torch.arange(columns, dtype=torch.float64)
        rotation = torch.linalg.qr(torch.randn(columns, columns, generator=g, dtype=torch.float64))[0]
        # Orthonormal columns with mean zero make the eigenvalues the squares of the scales, whatever the seed.
        raw = torch.randn(rows, min(rows - 1, columns), generator=g, dtype=torch.float64)
        basis = torch.linalg.qr(raw - raw.mean(0))[0] * math.sqrt(rows)
        centre = shift * torch.linspace(1, 2, columns, dtype=torch.float64)
        return (basis * scales[: basis.shape[1]]) @ rotation[:, : basis.shape[1]].T + centre

    return drawn(draw)


pca_whiten = Function(
    functions=("pca_whiten",),
    reference=_pca_whiten,
    cases=[
        Case("12 rows of 5, 3 directions", X=_correlated(12, 5, shift=2.0), k=3, eps=0.01),
        Case("9 rows of 3, all directions", X=_correlated(9, 3, shift=-1.0), k=3, eps=0.1),
    ],
    points={"Z": 3, "mean": 1, "W": 2},
    mistakes=[
        Mistake(
            "does not centre the data",
            _does_not_center,
            hint="subtract the mean of each column before anything else",
        ),
        Mistake(
            "projects the data without centring it",
            _projects_uncentred,
            hint="what is projected is X minus its mean",
        ),
        Mistake(
            "takes the mean of each row",
            lambda X, k, eps: (_pca_whiten(X, k, eps)[0], X.mean(1), _pca_whiten(X, k, eps)[2]),
            hint="the mean has one entry per column of X: average over the rows",
        ),
        Mistake(
            "divides the covariance by N - 1",
            lambda X, k, eps: _pca_whiten(X, k, eps, scale=len(X) / (len(X) - 1)),
            hint="the covariance here is the mean over N rows",
        ),
        Mistake(
            "does not divide the covariance by N",
            lambda X, k, eps: _pca_whiten(X, k, eps, scale=len(X)),
            hint="the covariance here is the mean over N rows",
        ),
        Mistake(
            "rotates without whitening",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: 1.0),
            hint="after the rotation each direction is divided by its standard deviation",
        ),
        Mistake(
            "divides by the variance instead of the standard deviation",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: values + eps),
            hint="an eigenvalue is a variance; the standard deviation is its root",
        ),
        Mistake(
            "adds eps outside the root",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: values.sqrt() + eps),
            hint="eps is added to the eigenvalue, under the root",
        ),
        Mistake(
            "leaves eps out",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: values.sqrt()),
            hint="eps is added to the eigenvalue, under the root",
        ),
        Mistake(
            "takes singular values for variances",
            lambda X, k, eps: _pca_whiten(
                X, k, eps, divisor=lambda values, eps: ((values * len(X)).sqrt() + eps).sqrt()
            ),
            hint="the singular values of X - mean are the roots of N times the eigenvalues",
        ),
        Mistake(
            "keeps all directions",
            lambda X, k, eps: _pca_whiten(X, X.shape[1], eps),
            hint="keep the first k columns",
        ),
        Mistake(
            "keeps the directions of smallest variance",
            lambda X, k, eps: _pca_whiten(X, k, eps, ascending=True),
            hint="eigh sorts from small to large; the directions wanted are the last ones, largest first",
        ),
        Mistake(
            "lists the directions from small to large variance",
            lambda X, k, eps: tuple(value if value.dim() == 1 else value.flip(1) for value in _pca_whiten(X, k, eps)),
            hint="the direction of largest variance comes first",
        ),
        Mistake(
            "leaves the signs of the eigenvectors as eigh gives them",
            lambda X, k, eps: _pca_whiten(X, k, eps, fix_signs=lambda V: V),
            hint="in each column, the entry of largest absolute value is positive",
        ),
        Mistake(
            "leaves the signs of the eigenvectors as svd gives them",
            _signs_of_svd,
            hint="in each column, the entry of largest absolute value is positive",
        ),
        Mistake(
            "makes the first entry of each eigenvector positive",
            lambda X, k, eps: _pca_whiten(X, k, eps, fix_signs=lambda V: V * V[:1].sign()),
            hint="in each column, the entry of largest absolute value is positive",
        ),
        Mistake(
            "rotates back to the original axes",
            _rotates_back,
            hint="W has one column per direction: shape (D, k)",
        ),
        Mistake(
            "takes rows of the matrix of eigenvectors for columns",
            _rows_for_columns,
            hint="eigh returns eigenvectors as columns; svd returns them as rows",
        ),
        Mistake(
            "divides each column by its standard deviation without rotating",
            _divides_by_columns,
            hint="whitening removes correlations: rotate to the eigenvectors of the covariance first",
        ),
    ],
)


def _gaps(patches, centroids):
    return patches[:, None] - centroids[None]


def _tally(words, count, dtype):
    return torch.bincount(words, minlength=count).to(dtype) / len(words)


def _bag(patches, centroids, *, cost=None):
    costs = _gaps(patches, centroids).square().sum(-1) if cost is None else cost
    return _tally(costs.argmin(1), len(centroids), patches.dtype)


def _ties_to_last(patches, centroids):
    costs = _gaps(patches, centroids).square().sum(-1)
    return _tally(len(centroids) - 1 - costs.flip(1).argmin(1), len(centroids), patches.dtype)


bag_of_visual_words = Function(
    functions=("bag_of_visual_words",),
    reference=_bag,
    cases=[
        Case("20 patches, 5 words", patches=normal(20, 6), centroids=normal(5, 6)),
        Case(
            "words without a patch",
            patches=normal(8, 3),
            centroids=drawn(lambda g: torch.tensor([[0.0], [50.0], [1.0], [60.0]], dtype=torch.float64).expand(4, 3)),
        ),
        Case(
            "a tie",
            patches=given([[0.0, 0.0], [1.0, 0.0], [4.0, 4.0]]),
            centroids=given([[9.0, 9.0], [1.0, 0.0], [-1.0, 0.0]]),
        ),
    ],
    points={"bag": 4},
    forbidden=READY_MADE_DISTANCES,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "counts patches without dividing",
            lambda patches, centroids: _bag(patches, centroids) * len(patches),
            hint="shares are asked for: divide by the number of patches",
        ),
        Mistake(
            "divides by the number of words",
            lambda patches, centroids: _bag(patches, centroids) * len(patches) / len(centroids),
            hint="shares are asked for: divide by the number of patches",
        ),
        Mistake(
            "drops words after the last one that occurs",
            lambda patches, centroids: _tally(_gaps(patches, centroids).square().sum(-1).argmin(1), 0, patches.dtype),
            hint="every word has its place in the bag, also one that no patch is near to",
        ),
        Mistake(
            "assigns patches to the farthest word",
            lambda patches, centroids: _bag(patches, centroids, cost=-_gaps(patches, centroids).square().sum(-1)),
            hint="the word of a patch is the centroid at the smallest distance",
        ),
        Mistake(
            "takes the largest dot product for the nearest",
            lambda patches, centroids: _bag(patches, centroids, cost=-patches @ centroids.T),
            hint="a long centroid has large dot products with everything: its squared length counts too",
        ),
        Mistake(
            "leaves the factor 2 out of the cross term",
            lambda patches, centroids: _bag(patches, centroids, cost=centroids.square().sum(1) - patches @ centroids.T),
            hint="expand the square of a difference again and look at the term with both",
        ),
        Mistake(
            "adds absolute differences instead of squares",
            lambda patches, centroids: _bag(patches, centroids, cost=_gaps(patches, centroids).abs().sum(-1)),
            hint="the distance is Euclidean: square the differences",
        ),
        Mistake(
            "adds differences without squaring them",
            lambda patches, centroids: _bag(patches, centroids, cost=_gaps(patches, centroids).sum(-1)),
            hint="differences of opposite sign must not cancel",
        ),
        Mistake(
            "gives ties to the later word",
            _ties_to_last,
            hint="of equally near words, the one with the smaller index wins",
        ),
        Mistake(
            "finds the nearest patch of each word",
            lambda patches, centroids: _tally(
                _gaps(patches, centroids).square().sum(-1).argmin(0), len(patches), patches.dtype
            ),
            hint="each patch chooses a word, not the other way round: look at the axis of argmin",
        ),
        Mistake(
            "lets every patch vote for all words, by nearness",
            lambda patches, centroids: torch.softmax(-_gaps(patches, centroids).square().sum(-1), dim=1).mean(0),
            hint="a patch counts for its nearest word alone",
        ),
    ],
)
