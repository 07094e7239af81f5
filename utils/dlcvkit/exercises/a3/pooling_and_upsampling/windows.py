"""A fully-connected layer as a convolution, so that it can slide over larger images."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, normal


def _filters(W, b, shape):
    """One column of W at a time."""
    return torch.stack([column.reshape(shape) for column in W.unbind(1)]), b.clone()


def _with_filters(change):
    """The right answer with filters ``change(W, shape)``."""
    return lambda W, b, shape: (change(W, shape), b)


def _channels_last(W, shape):
    C, H, width = shape
    return W.T.reshape(-1, H, width, C).permute(0, 3, 1, 2)


fc_to_conv = Function(
    functions=("fc_to_conv",),
    reference=_filters,
    cases=[
        Case("2×3×4 features, five outputs", W=normal(24, 5), b=normal(5), shape=(2, 3, 4)),
        Case("3×2×2 features, twelve outputs", W=normal(12, 12), b=normal(12), shape=(3, 2, 2)),
        Case("one pixel", W=normal(6, 4), b=normal(4), shape=(6, 1, 1)),
    ],
    points={"w": 2, "b": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "reshapes W without transposing it",
            _with_filters(lambda W, shape: W.reshape(-1, *shape)),
            hint="a filter is a column of W; reshape reads row after row",
        ),
        Mistake(
            "puts the outputs last",
            _with_filters(lambda W, shape: W.reshape(*shape, -1)),
            hint="filters have shape (M, C, H, W): one filter per output comes first",
        ),
        Mistake(
            "takes the features to be flattened with the channels last",
            _with_filters(_channels_last),
            hint="flatten(1) keeps the order (C, H, W): all pixels of channel 0 come first",
        ),
        Mistake(
            "exchanges height and width",
            _with_filters(lambda W, shape: W.T.reshape(-1, shape[0], shape[2], shape[1]).mT),
            hint="the features were flattened in the order (C, H, W)",
        ),
        Mistake(
            "turns the filters upside down and left to right",
            _with_filters(lambda W, shape: W.T.reshape(-1, *shape).flip(2, 3)),
            hint="the convolution of nets does not flip its filters",
        ),
        Mistake(
            "leaves the filters flat",
            _with_filters(lambda W, shape: W.T),
            hint="filters have shape (M, C, H, W)",
        ),
        Mistake(
            "gives the bias the shape of a filter",
            lambda W, b, shape: (_filters(W, b, shape)[0], b[:, None, None, None]),
            hint="the bias of a convolution has shape (M,), as that of the affine layer",
        ),
        Mistake(
            "leaves the bias out",
            lambda W, b, shape: (_filters(W, b, shape)[0], torch.zeros_like(b)),
            hint="each output keeps its bias",
        ),
    ],
)
