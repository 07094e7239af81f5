"""Squared distances with two loops, one and none, and L1 distances."""

from __future__ import annotations

import torch

from dlcvkit.checking import READY_MADE_DISTANCES, TORCH_LAYERS, Case, Function, Mistake, Speed, normal


def squared(x_train, x_test):
    return torch.cdist(x_test.flatten(1), x_train.flatten(1), compute_mode="donot_use_mm_for_euclid_dist") ** 2


def _subtracted(x_train, x_test):
    return x_test.flatten(1)[:, None] - x_train.flatten(1)[None]


def _two_loops(x_train, x_test):
    rows = [[((a - b) ** 2).sum() for b in x_train.flatten(1)] for a in x_test.flatten(1)]
    return torch.stack([torch.stack(row) for row in rows])


_DISTANCE_MISTAKES = [
    Mistake(
        "takes the square root",
        lambda x_train, x_test: squared(x_train, x_test).sqrt(),
        hint="squared distances are asked for: the order of the neighbours is the same without the root",
    ),
    Mistake(
        "rows are training images and columns test images",
        lambda x_train, x_test: squared(x_train, x_test).T,
        hint="row i belongs to test image i, column j to training image j",
    ),
    Mistake(
        "adds up absolute differences",
        lambda x_train, x_test: _subtracted(x_train, x_test).abs().sum(-1),
        hint="the differences are squared before they are added up",
    ),
    Mistake(
        "adds up differences without squaring them",
        lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1),
        hint="differences of opposite sign must not cancel",
    ),
    Mistake(
        "squares the sum instead of summing the squares",
        lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1) ** 2,
        hint="look at the order of squaring and summing",
    ),
    Mistake(
        "takes the mean over the pixels instead of the sum",
        lambda x_train, x_test: squared(x_train, x_test) / x_train[0].numel(),
        hint="the distance adds up over pixels; nothing is divided",
    ),
    Mistake(
        "the cross term has the wrong sign",
        lambda x_train, x_test: (x_test.flatten(1)[:, None] + x_train.flatten(1)[None]).square().sum(-1),
        hint="expand the square of a difference again and look at the term with both images",
    ),
    Mistake(
        "the cross term lacks its factor 2",
        lambda x_train, x_test: squared(x_train, x_test) + x_test.flatten(1) @ x_train.flatten(1).T,
        hint="expand the square of a difference again and look at the term with both images",
    ),
    Mistake(
        "leaves out the squares of the test images",
        lambda x_train, x_test: squared(x_train, x_test) - x_test.flatten(1).square().sum(1, keepdim=True),
        hint="the expanded square has three terms; one of them depends on the test image alone",
    ),
    Mistake(
        "leaves out the squares of the training images",
        lambda x_train, x_test: squared(x_train, x_test) - x_train.flatten(1).square().sum(1),
        hint="the expanded square has three terms; one of them depends on the training image alone",
    ),
]

_DISTANCE_CASES = [
    Case("five images of 3×4×2", x_train=normal(7, 3, 4, 2), x_test=normal(5, 3, 4, 2)),
    Case("rows of numbers", x_train=normal(4, 6), x_test=normal(4, 6)),
]

knn_two_loops = Function(
    functions=("compute_distances_two_loops",),
    reference=squared,
    cases=_DISTANCE_CASES,
    points={"dists": 3},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    mistakes=_DISTANCE_MISTAKES,
)

knn_one_loop = Function(
    functions=("compute_distances_one_loop",),
    reference=squared,
    cases=_DISTANCE_CASES,
    points={"dists": 3},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    mistakes=_DISTANCE_MISTAKES,
    speed=Speed(_two_loops, factor=3, case=Case(x_train=normal(60, 64), x_test=normal(20, 64))),
)

knn_no_loops = Function(
    functions=("compute_distances_no_loops",),
    reference=squared,
    cases=_DISTANCE_CASES,
    points={"dists": 4},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    is_loop_free=True,
    mistakes=_DISTANCE_MISTAKES,
    speed=Speed(_two_loops, factor=10, case=Case(x_train=normal(60, 64), x_test=normal(20, 64))),
)

l1_distances = Function(
    functions=("l1_distances",),
    reference=lambda x_train, x_test: torch.cdist(x_test.flatten(1), x_train.flatten(1), p=1),
    cases=_DISTANCE_CASES,
    points={"dists": 2},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "squares the differences",
            squared,
            hint="L1 adds up absolute values; nothing is squared",
        ),
        Mistake(
            "adds up differences without taking absolute values",
            lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1),
            hint="differences of opposite sign must not cancel",
        ),
        Mistake(
            "takes the absolute value of the sum",
            lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1).abs(),
            hint="look at the order of taking absolute values and summing",
        ),
        Mistake(
            "rows are training images and columns test images",
            lambda x_train, x_test: _subtracted(x_train, x_test).abs().sum(-1).T,
            hint="row i belongs to test image i, column j to training image j",
        ),
        Mistake(
            "takes the mean over the pixels instead of the sum",
            lambda x_train, x_test: _subtracted(x_train, x_test).abs().mean(-1),
            hint="the distance adds up over pixels; nothing is divided",
        ),
        Mistake(
            "takes the largest difference instead of the sum",
            lambda x_train, x_test: _subtracted(x_train, x_test).abs().amax(-1),
            hint="every pixel counts, not the worst one alone",
        ),
    ],
)
