"""Activations that squash: sigmoid and tanh."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Hidden

from .entrywise import entrywise_cases, entrywise_mutants, pair


def sigmoid(x):
    return 1 / (1 + (-x).exp())  # 1 / infinity is 0, as it should be


def _sigmoid_forward_by_sides(x):
    out = torch.empty_like(x)
    left = x < 0
    out[left] = x[left].exp() / (1 + x[left].exp())
    out[~left] = 1 / (1 + (-x[~left]).exp())
    return out, {"x": x}


def _sigmoid_backward_by_decay(dout, cache):
    decay = (-cache["x"].abs()).exp()
    return dout * decay / (1 + decay) ** 2


sigmoid_activation = Hidden(
    cases=entrywise_cases(),
    mutants={
        **entrywise_mutants(sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
        "calls torch's sigmoid": pair(torch.sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
        "calls torch's expit": pair(torch.special.expit, lambda x: sigmoid(x) * sigmoid(-x)),
        "calls torch's backward": (
            lambda x: (sigmoid(x), sigmoid(x)),
            lambda dout, out: torch.ops.aten.sigmoid_backward(dout, out),
        ),
        "clips the input to ±5": pair(
            lambda x: sigmoid(x.clamp(-5, 5)), lambda x: sigmoid(x.clamp(-5, 5)) * sigmoid(-x.clamp(-5, 5))
        ),
        "hard sigmoid": pair(lambda x: (x / 4 + 0.5).clamp(0, 1), lambda x: (x.abs() < 2).to(x.dtype) / 4),
        "softmax over the row": pair(
            lambda x: (x - x.amax(-1, keepdim=True)).exp() / (x - x.amax(-1, keepdim=True)).exp().sum(-1, keepdim=True),
            lambda x: sigmoid(x) * sigmoid(-x),
        ),
    },
    solutions={
        "the plain quotient": (lambda x: (sigmoid(x), sigmoid(x)), lambda dout, out: out * (1 - out) * dout),
        "by tanh": pair(lambda x: 0.5 * (1 + (x / 2).tanh()), lambda x: (1 - (x / 2).tanh() ** 2) / 4),
        "side by side, gradient from x": (_sigmoid_forward_by_sides, _sigmoid_backward_by_decay),
    },
    equivalent={"sigmoid_forward: x < 0 -> x <= 0": "at 0 both sides give 1/2"},
)


def _tanh(x):
    return 2 * sigmoid(2 * x) - 1


def _tanh_forward_by_loop(x):
    values = [math.tanh(value) for value in x.flatten().tolist()]
    out = torch.tensor(values, dtype=x.dtype, device=x.device).reshape(x.shape)
    return out, [out]


tanh_activation = Hidden(
    cases=entrywise_cases(),
    mutants={
        **entrywise_mutants(_tanh, lambda x: 1 - _tanh(x).square()),
        "calls torch's tanh": pair(torch.tanh, lambda x: 1 - _tanh(x).square()),
        "calls torch's sigmoid": pair(lambda x: 2 * torch.sigmoid(2 * x) - 1, lambda x: 1 - _tanh(x).square()),
        "divides hyperbolic functions": pair(lambda x: x.sinh() / x.cosh(), lambda x: 1 / x.cosh().square()),
        "clips the input to ±3": pair(lambda x: _tanh(x.clamp(-3, 3)), lambda x: 1 - _tanh(x).square()),
        "softsign": pair(lambda x: x / (1 + x.abs()), lambda x: 1 / (1 + x.abs()) ** 2),
        "LeCun's scaled tanh": pair(
            lambda x: 1.7159 * _tanh(2 * x / 3), lambda x: 1.7159 * 2 / 3 * (1 - _tanh(2 * x / 3).square())
        ),
        "arctangent": pair(torch.atan, lambda x: 1 / (1 + x.square())),
    },
    solutions={
        "by the sigmoid": (lambda x: (_tanh(x), _tanh(x)), lambda dout, t: (1 - t) * (1 + t) * dout),
        "by expm1, gradient by cosh": pair(
            lambda x: -x.sign() * torch.expm1(-2 * x.abs()) / (1 + (-2 * x.abs()).exp()),
            lambda x: 1 / x.cosh().square(),
        ),
        "one number at a time": (_tanh_forward_by_loop, lambda dout, cache: dout - dout * cache[0] * cache[0]),
    },
)
