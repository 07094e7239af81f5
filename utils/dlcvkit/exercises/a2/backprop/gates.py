"""The gates that every network is wired from, each with its local derivatives."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, given, normal

READY_MADE_SIGMOIDS = frozenset({"sigmoid", "sigmoid_", "special_expit", "expit", "sigmoid_backward"})
"""Ready-made sigmoids besides those that count as torch layers."""

_PAIR = [
    Case("2×3", x=normal(2, 3), y=normal(2, 3), dout=normal(2, 3)),
    Case("three axes", x=normal(3, 1, 4), y=normal(3, 1, 4), dout=normal(3, 1, 4)).strided(),
]


def _ignores_upstream(forward, slopes):
    """The mistake of returning local derivatives alone."""
    return Mistake(
        "leaves the upstream gradient out",
        lambda x, y, dout: (forward(x, y), *slopes(x, y)),
        hint="the local derivative is half of the chain rule: how does the loss depend on this gate's output?",
    )


add_gate = ForwardBackward(
    functions=("add_forward", "add_backward"),
    reference=lambda x, y: x + y,
    cases=_PAIR,
    points={"out": 1, "dx": 1, "dy": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        _ignores_upstream(lambda x, y: x + y, lambda x, y: (torch.ones_like(x), torch.ones_like(y))),
        Mistake("subtracts", lambda x, y: x - y, hint="this gate adds: look at the operator, and at the sign of dy"),
        Mistake("multiplies its inputs", lambda x, y: x * y, hint="this gate adds: look at the operator in forward"),
        Mistake(
            "multiplies the upstream gradient by the other input",
            lambda x, y, dout: (x + y, dout * y, dout * x),
            hint="that is the local derivative of x * y; how much does x + y grow with x?",
        ),
        Mistake(
            "multiplies the upstream gradient by the gate's own input",
            lambda x, y, dout: (x + y, dout * x, dout * y),
            hint="how much does x + y grow when x grows by a little? does that depend on x?",
        ),
        Mistake(
            "shares the upstream gradient out between the inputs",
            lambda x, y, dout: (x + y, dout / 2, dout / 2),
            hint="each input moves the sum by as much as it moves itself: nothing is divided",
        ),
        Mistake(
            "gives the whole gradient to the first input",
            lambda x, y, dout: (x + y, dout, torch.zeros_like(dout)),
            hint="both inputs move the sum",
        ),
        Mistake(
            "takes the mean",
            lambda x, y: (x + y) / 2,
            hint="the sum of the inputs is asked for",
        ),
    ],
)


mul_gate = ForwardBackward(
    functions=("mul_forward", "mul_backward"),
    reference=lambda x, y: x * y,
    cases=_PAIR,
    points={"out": 1, "dx": 1, "dy": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        _ignores_upstream(lambda x, y: x * y, lambda x, y: (y, x)),
        Mistake(
            "multiplies the upstream gradient by the gate's own input",
            lambda x, y, dout: (x * y, dout * x, dout * y),
            hint="hold y fixed and differentiate x * y with respect to x: what is left?",
        ),
        Mistake(
            "passes the upstream gradient through unchanged",
            lambda x, y, dout: (x * y, dout, dout),
            hint="that is what an addition does; the slope of x * y in x is not 1",
        ),
        Mistake(
            "multiplies by both inputs",
            lambda x, y, dout: (x * y, dout * x * y, dout * x * y),
            hint="in the derivative with respect to x, the factor x itself is gone",
        ),
        Mistake(
            "divides by the other input",
            lambda x, y, dout: (x * y, dout / y, dout / x),
            hint="differentiate x * y with respect to x; nothing is divided",
        ),
        Mistake(
            "adds the gradients of both inputs up",
            lambda x, y, dout: (x * y, dout * (x + y), dout * (x + y)),
            hint="each input has a gradient of its own; they are added only where one tensor is used twice",
        ),
        Mistake("adds its inputs", lambda x, y: x + y, hint="this gate multiplies: look at the operator in forward"),
        Mistake("divides", lambda x, y: x / y, hint="this gate multiplies: look at the operator in forward"),
    ],
)


def _first_of_equals(x, y):
    return torch.where(x >= y, x, y)


def _routed(goes_to_x, goes_to_y):
    """A max gate whose backward sends shares of the upstream gradient, ``goes_to_x(x, y)`` and ``goes_to_y(x, y)``."""
    return lambda x, y, dout: (_first_of_equals(x, y), dout * goes_to_x(x, y), dout * goes_to_y(x, y))


max_gate = ForwardBackward(
    functions=("max_forward", "max_backward"),
    reference=_first_of_equals,
    cases=[
        Case("3×4", x=normal(3, 4), y=normal(3, 4), dout=normal(3, 4)),
        Case(
            "ties",
            x=given([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]),
            y=given([[1.0, 0.5, 0.5], [0.0, -3.0, 2.0]]),
            dout=normal(2, 3),
        ),
    ],
    points={"out": 1, "dx": 1.5, "dy": 1.5},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "splits the gradient where the inputs are equal",
            lambda x, y: torch.maximum(x, y),
            hint="of equal inputs the first one is taken to be the larger, and gets all of the gradient",
        ),
        Mistake(
            "gives the gradient to the second input where both are equal",
            lambda x, y: torch.where(x > y, x, y),
            hint="look at > and >=: of equal inputs, the first one gets the gradient",
        ),
        Mistake(
            "gives the gradient to both inputs where they are equal",
            _routed(lambda x, y: x >= y, lambda x, y: y >= x),
            hint="look at > and >=: exactly one of the inputs gets the gradient, in every entry",
        ),
        Mistake(
            "gives the gradient to neither input where they are equal",
            _routed(lambda x, y: x > y, lambda x, y: y > x),
            hint="look at > and >=: exactly one of the inputs gets the gradient, in every entry",
        ),
        Mistake(
            "gives the gradient to the smaller input",
            _routed(lambda x, y: x < y, lambda x, y: x >= y),
            hint="which of the two inputs can move the output?",
        ),
        Mistake(
            "gives the gradient to both inputs everywhere",
            _routed(lambda x, y: torch.ones_like(x), lambda x, y: torch.ones_like(y)),
            hint="the input that is not the maximum can move a little without the output noticing",
        ),
        Mistake(
            "multiplies the gradient by the maximum",
            _routed(lambda x, y: x * (x >= y), lambda x, y: y * (x < y)),
            hint="where x is the larger, the output is x: what is the slope of that?",
        ),
        Mistake(
            "leaves the upstream gradient out",
            lambda x, y, dout: (torch.maximum(x, y), (x >= y).to(x.dtype), (x < y).to(y.dtype)),
            hint="the local derivative is half of the chain rule: how does the loss depend on this gate's output?",
        ),
        Mistake(
            "takes the minimum",
            lambda x, y: torch.where(x <= y, x, y),
            hint="this gate returns the larger of its inputs",
        ),
        Mistake(
            "takes the largest entry of the whole tensor",
            lambda x, y: torch.maximum(x.max(), y.max()).expand_as(x),
            hint="the gate compares x and y entry by entry",
        ),
    ],
)


copy_gate = ForwardBackward(
    functions=("copy_forward", "copy_backward"),
    reference=lambda x: (x.clone(), x.clone()),
    cases=[
        Case("2×3", x=normal(2, 3), dfirst=normal(2, 3), dsecond=normal(2, 3)),
        Case("5 numbers", x=normal(5), dfirst=normal(5), dsecond=normal(5)).strided(),
    ],
    points={"first": 0.5, "second": 0.5, "dx": 2},
    upstream={"first": "dfirst", "second": "dsecond"},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "keeps the gradient of the first copy alone",
            lambda x: (x.clone(), x.detach().clone()),
            hint="x acts on the loss through both of its copies",
        ),
        Mistake(
            "keeps the gradient of the second copy alone",
            lambda x: (x.detach().clone(), x.clone()),
            hint="x acts on the loss through both of its copies",
        ),
        Mistake(
            "takes the mean of the two gradients",
            lambda x, dfirst, dsecond: (x, x, (dfirst + dsecond) / 2),
            hint="a step of x is a step of both copies, and each has its own effect: nothing is divided",
        ),
        Mistake(
            "multiplies the two gradients",
            lambda x, dfirst, dsecond: (x, x, dfirst * dsecond),
            hint="effects along one path multiply; what becomes of effects along two separate paths?",
        ),
        Mistake(
            "subtracts one gradient from the other",
            lambda x, dfirst, dsecond: (x, x, dfirst - dsecond),
            hint="look at the sign: both effects count",
        ),
        Mistake(
            "multiplies the gradient by x",
            lambda x, dfirst, dsecond: (x, x, (dfirst + dsecond) * x),
            hint="the slope of a copy is 1, whatever x is",
        ),
        Mistake(
            "leaves the upstream gradients out",
            lambda x, dfirst, dsecond: (x, x, torch.full_like(x, 2.0)),
            hint="how does the loss depend on each of the copies?",
        ),
        Mistake(
            "shares x out between the copies",
            lambda x: (x / 2, x / 2),
            hint="both outputs are x itself",
        ),
    ],
)


def _overflowing_backward(x, dout):
    small = torch.exp(-x)
    return torch.sigmoid(x), dout * small / (1 + small) ** 2


sigmoid_gate = ForwardBackward(
    functions=("sigmoid_forward", "sigmoid_backward"),
    reference=lambda x: torch.sigmoid(x),
    cases=[
        Case("3×2", x=normal(3, 2, std=2.0), dout=normal(3, 2)),
        Case("from -1e4 to 1e4", x=given([-1e4, -800.0, -30.0, 0.0, 30.0, 800.0, 1e4]), dout=normal(7)),
    ],
    points={"out": 2, "dx": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD | READY_MADE_SIGMOIDS,
    mistakes=[
        Mistake(
            "divides e^x by 1 + e^x, which is infinity by infinity for large x",
            lambda x: torch.exp(x) / (1 + torch.exp(x)),
            hint="which form has an exponential that may only become too small, or too large in one place?",
        ),
        Mistake(
            "computes the derivative from exponentials that overflow",
            _overflowing_backward,
            hint="the derivative can be written with the output alone, which lies between 0 and 1",
        ),
        Mistake(
            "takes e^x where the definition has e^-x",
            lambda x: 1 / (1 + torch.exp(x)),
            hint="the sigmoid rises: look at the sign in the exponent",
        ),
        Mistake("computes tanh", lambda x: torch.tanh(x), hint="the sigmoid lies between 0 and 1, and is 1/2 at 0"),
        Mistake(
            "leaves the factor 1 - out out of the derivative",
            lambda x, dout: (torch.sigmoid(x), dout * torch.sigmoid(x)),
            hint="the slope vanishes at both ends: where out is near 0, and where it is near 1",
        ),
        Mistake(
            "leaves the factor out out of the derivative",
            lambda x, dout: (torch.sigmoid(x), dout * (1 - torch.sigmoid(x))),
            hint="the slope vanishes at both ends: where out is near 0, and where it is near 1",
        ),
        Mistake(
            "puts the input where the output belongs in the derivative",
            lambda x, dout: (torch.sigmoid(x), dout * x * (1 - x)),
            hint="out (1 - out): which of the two did you keep in the cache?",
        ),
        Mistake(
            "applies the sigmoid to the output once more in the derivative",
            lambda x, dout: (
                torch.sigmoid(x),
                dout * torch.sigmoid(torch.sigmoid(x)) * (1 - torch.sigmoid(torch.sigmoid(x))),
            ),
            hint="what is in the cache is the output already",
        ),
        Mistake(
            "leaves the upstream gradient out",
            lambda x, dout: (torch.sigmoid(x), torch.sigmoid(x) * (1 - torch.sigmoid(x))),
            hint="the local derivative is half of the chain rule: how does the loss depend on this gate's output?",
        ),
        Mistake(
            "takes the derivative of tanh",
            lambda x, dout: (torch.sigmoid(x), dout * (1 - torch.sigmoid(x) ** 2)),
            hint="1 - out² belongs to tanh; differentiate 1 / (1 + e^-x)",
        ),
    ],
)
