"""Activations that squash: sigmoid and tanh."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, given, normal

_READY_MADE_SIGMOID = frozenset({"sigmoid", "sigmoid_", "expit", "special_expit", "sigmoid_backward"})
_READY_MADE_TANH = frozenset({"tanh", "tanh_", "tanh_backward"})

_SATURATED = given([[-1e4, -800.0, -30.0, 0.0], [0.5, 30.0, 800.0, 1e4]])


def _exponential_quotient(x):
    return (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())


sigmoid_activation = ForwardBackward(
    functions=("sigmoid_forward", "sigmoid_backward"),
    reference=lambda x: torch.sigmoid(x),
    cases=[
        Case("3×4", x=normal(3, 4), dout=normal(3, 4)),
        Case("four axes", x=normal(2, 1, 3, 2, std=3), dout=normal(2, 1, 3, 2)),
        Case("up to ±1e4", x=_SATURATED, dout=normal(2, 4)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD | _READY_MADE_SIGMOID,
    mistakes=[
        Mistake(
            "is mirrored: falls from 1 to 0",
            lambda x: torch.sigmoid(-x),
            hint="try a large positive x: which value should come out, and what does your exponential do there?",
        ),
        Mistake(
            "divides infinity by infinity for large positive x",
            lambda x, dout: (x.exp() / (1 + x.exp()), dout * x.exp() / (1 + x.exp()) ** 2),
            hint="exp(1e4) is infinite: look at which sign the argument of each exp can have",
        ),
        Mistake(
            "computes the gradient from exponentials that overflow",
            lambda x, dout: (torch.sigmoid(x), dout * (-x).exp() / (1 + (-x).exp()) ** 2),
            hint="the derivative can be written with the output alone, and the output never overflows",
        ),
        Mistake(
            "puts the input where the output belongs in the gradient",
            lambda x, dout: (torch.sigmoid(x), dout * x * (1 - x)),
            hint="look at what the cache holds: in σ(1 - σ), σ is the output",
        ),
        Mistake(
            "leaves out the factor 1 - σ",
            lambda x, dout: (torch.sigmoid(x), dout * torch.sigmoid(x)),
            hint="that is the derivative of exp; differentiate the quotient",
        ),
        Mistake(
            "takes the derivative of tanh",
            lambda x, dout: (torch.sigmoid(x), dout * (1 - torch.sigmoid(x).square())),
            hint="1 - out² belongs to tanh; the slope of the sigmoid is nowhere above 1/4",
        ),
        Mistake(
            "ignores the upstream gradient",
            lambda x, dout: (torch.sigmoid(x), torch.sigmoid(x) * torch.sigmoid(-x)),
            hint="the chain rule multiplies the derivative by what comes from above",
        ),
        Mistake("computes tanh", lambda x: torch.tanh(x), hint="the sigmoid lies between 0 and 1, and is 1/2 at 0"),
    ],
)


tanh_activation = ForwardBackward(
    functions=("tanh_forward", "tanh_backward"),
    reference=lambda x: torch.tanh(x),
    cases=[
        Case("3×4", x=normal(3, 4), dout=normal(3, 4)),
        Case("four axes", x=normal(2, 3, 1, 2, std=2), dout=normal(2, 3, 1, 2)),
        Case("up to ±1e4", x=_SATURATED, dout=normal(2, 4)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD | _READY_MADE_SIGMOID | _READY_MADE_TANH,
    mistakes=[
        Mistake(
            "divides infinity by infinity",
            lambda x, dout: (_exponential_quotient(x), dout * (1 - _exponential_quotient(x).square())),
            hint="exp(1e4) is infinite: cancel the larger exponential before anything is computed",
        ),
        Mistake(
            "divides infinity by infinity for large positive x",
            lambda x: ((2 * x).exp() - 1) / ((2 * x).exp() + 1),
            hint="exp(2e4) is infinite: look at which sign the argument of each exp can have",
        ),
        Mistake(
            "is twice as wide as tanh",
            lambda x: torch.tanh(x / 2),
            hint="the slope of tanh at 0 is 1: look at the factor in front of x",
        ),
        Mistake(
            "computes the sigmoid",
            lambda x: torch.sigmoid(x),
            hint="tanh lies between -1 and 1, and is 0 at 0",
        ),
        Mistake(
            "does not stretch the sigmoid to the range from -1 to 1",
            lambda x: torch.sigmoid(2 * x),
            hint="tanh lies between -1 and 1, and is 0 at 0",
        ),
        Mistake(
            "does not square the output in the gradient",
            lambda x, dout: (torch.tanh(x), dout * (1 - torch.tanh(x))),
            hint="look at the gradient for very negative x: it should vanish there as well",
        ),
        Mistake(
            "puts the input where the output belongs in the gradient",
            lambda x, dout: (torch.tanh(x), dout * (1 - x.square())),
            hint="look at what the cache holds: in 1 - t², t is the output",
        ),
        Mistake(
            "takes the derivative of the sigmoid",
            lambda x, dout: (torch.tanh(x), dout * torch.tanh(x) * (1 - torch.tanh(x))),
            hint="out (1 - out) belongs to the sigmoid; the slope of tanh at 0 is 1",
        ),
        Mistake(
            "ignores the upstream gradient",
            lambda x, dout: (torch.tanh(x), 1 - torch.tanh(x).square()),
            hint="the chain rule multiplies the derivative by what comes from above",
        ),
    ],
)
