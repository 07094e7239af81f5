"""Bags of visual words."""

from __future__ import annotations

import torch

from dlcvkit.checking import READY_MADE_DISTANCES, Case, Function, Mistake, drawn, given, normal


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
