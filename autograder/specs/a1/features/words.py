"""Bags of visual words."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, drawn, given, integers, normal


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
