"""What both losses have: mutants of regulariser, averages and results, labels, and a case of many weights."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, given, normal

IDENTITY = given([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


TWO_AXES = "W has two axes, so axis 1 is the last one"
INDICES = "indices on the CPU may index a tensor on any device"


def given_labels(*values):
    return given(list(values), dtype=torch.int64)


def in_float32(function):
    def run(W, X, y, reg, *options):
        loss, dW = function(W.float(), X.float(), y, reg, *options)
        return loss, dW

    return run


def _in_float64(function):
    def run(W, X, y, reg, *options):
        return function(W.double(), X.double(), y, reg, *options)

    return run


def spoilt(function, fault):
    return lambda *inputs: function(*inputs, fault=fault)


def _changed(function, loss=lambda loss, W, X, y, reg: loss, dW=lambda dW, W, X, y, reg: dW):
    """A correct function whose results are changed afterwards."""

    def run(W, X, y, reg, *options):
        value, gradient = function(W, X, y, reg, *options)
        return loss(value, W, X, y, reg), dW(gradient, W, X, y, reg)

    return run


def penalty_mutants(function):
    """Wrong regularisers, wrong averages, wrong results; ``function`` is correct."""
    return {
        "no regulariser in the loss": _changed(function, loss=lambda v, W, X, y, reg: v - reg * (W**2).sum()),
        "no regulariser in the gradient": _changed(function, dW=lambda g, W, X, y, reg: g - 2 * reg * W),
        "half the regulariser in the loss": _changed(
            function, loss=lambda v, W, X, y, reg: v - 0.5 * reg * (W**2).sum()
        ),
        "half the regulariser in the gradient": _changed(function, dW=lambda g, W, X, y, reg: g - reg * W),
        "the other stage's factor": _changed(
            function, lambda v, W, X, y, reg: v - 0.5 * reg * (W**2).sum(), lambda g, W, X, y, reg: g - reg * W
        ),
        "norm without square": _changed(function, loss=lambda v, W, X, y, reg: v - reg * (W**2).sum() + reg * W.norm()),
        "absolute values": _changed(
            function,
            lambda v, W, X, y, reg: v - reg * (W**2).sum() + reg * W.abs().sum(),
            lambda g, W, X, y, reg: g - 2 * reg * W + reg * W.sign(),
        ),
        "regulariser divided by N": _changed(
            function,
            lambda v, W, X, y, reg: v - (1 - 1 / len(X)) * reg * (W**2).sum(),
            lambda g, W, X, y, reg: g - (1 - 1 / len(X)) * 2 * reg * W,
        ),
        "first row of W not regularised": _changed(function, loss=lambda v, W, X, y, reg: v - reg * (W[0] ** 2).sum()),
        "loss not averaged": _changed(
            function, loss=lambda v, W, X, y, reg: len(X) * v - (len(X) - 1) * reg * (W**2).sum()
        ),
        "gradient not averaged": _changed(function, dW=lambda g, W, X, y, reg: len(X) * g - (len(X) - 1) * 2 * reg * W),
        "gradient averaged over the classes": _changed(
            function, dW=lambda g, W, X, y, reg: (g - 2 * reg * W) * len(X) / W.shape[1] + 2 * reg * W
        ),
        "gradient of the opposite sign": _changed(function, dW=lambda g, W, X, y, reg: -g),
        "transposed gradient": _changed(function, dW=lambda g, W, X, y, reg: g.T),
        "one loss per image": _changed(function, loss=lambda v, W, X, y, reg: v * torch.ones_like(X[:, 0])),
        "loss alone": lambda *inputs: function(*inputs)[0],
        "gradient first": lambda *inputs: function(*inputs)[::-1],
        "W updated in place": lambda W, *rest: (function(W, *rest), W.sub_(0.1))[0],
        "images centred in place": lambda W, X, *rest: (function(W, X, *rest), X.sub_(1.0))[0],
        "float64 whatever comes in": _in_float64(function),
        "reg fixed": lambda W, X, y, reg, *options: function(W, X, y, 0.3, *options),
        "batches of five": lambda W, X, y, reg, *options: function(
            W, X.reshape(5, -1) if len(X) == 5 else X[:4], y if len(X) == 5 else y[:4], reg, *options
        ),
    }


# A gradient by difference quotients is right, but it calls the loss twice per weight: here that takes too long.
MANY_WEIGHTS = Case("many weights", W=normal(8000, 20, std=0.01), X=normal(2, 8000), y=given_labels(3, 17), reg=0.1)
