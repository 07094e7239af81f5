"""What the gates do over time: traces, how much of a memory is left, and a forget gate that starts open."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import AUTOGRAD, Case, Function, Mistake, drawn, normal, uniform
from dlcvkit.exercises.a4.lstm_gru.lstm import lstm_cell, lstm_layer
from dlcvkit.exercises.a4.lstm_gru.variants import BY_HAND

# Traces.


def _traces(x, h0, Wx, Wh, b):
    h = lstm_layer(x, h0, Wx, Wh, b)
    i, f, o, g = (x @ Wx + _seen(h, h0) @ Wh + b).chunk(4, dim=2)
    return {"i": i.sigmoid(), "f": f.sigmoid(), "o": o.sigmoid(), "g": g.tanh(), "c": _cells(x, h0, Wx, Wh, b)}


def _seen(h, h0):
    """The hidden state that each step is given."""
    return torch.cat([h0[:, None], h[:, :-1]], dim=1)


def _cells(x, h0, Wx, Wh, b):
    h, c, cells = h0, torch.zeros_like(h0), []
    for t in range(x.shape[1]):
        h, c = lstm_cell(x[:, t], h, c, Wx, Wh, b)
        cells.append(c)
    return torch.stack(cells, dim=1)


def _spoilt_traces(**changes):
    """The traces, those of them changed that are named: ``f=lambda traces: ...``."""

    def variant(**given):
        right = _traces(**given)
        return right | {name: change(right) for name, change in changes.items()}

    return variant


def _of_the_state_after(x, h0, Wx, Wh, b):
    """Gates that see the hidden state of their own step."""
    right = _traces(x, h0, Wx, Wh, b)
    i, f, o, g = (x @ Wx + lstm_layer(x, h0, Wx, Wh, b) @ Wh + b).chunk(4, dim=2)
    return {"i": i.sigmoid(), "f": f.sigmoid(), "o": o.sigmoid(), "g": g.tanh(), "c": right["c"]}


def _before_the_sigmoid(**given):
    right = _traces(**given)
    return right | {name: right[name].logit() for name in "ifo"} | {"g": right["g"].atanh()}


def _steps_first(**given):
    return {name: value.transpose(0, 1) for name, value in _traces(**given).items()}


lstm_traces = Function(
    functions=("lstm_traces",),
    reference=_traces,
    cases=[
        Case(
            "two sequences of 4 steps",
            x=normal(2, 4, 3),
            h0=normal(2, 5),
            Wx=normal(3, 20),
            Wh=normal(5, 20),
            b=normal(20),
        )
    ],
    points={"traces": 3},
    forbidden=BY_HAND,
    mistakes=[
        Mistake(
            "gives the gates before the sigmoid",
            _before_the_sigmoid,
            hint="a gate is what comes out of the sigmoid, a number from 0 to 1; g comes out of a tanh",
        ),
        Mistake(
            "gives the cell state before each step",
            _spoilt_traces(c=lambda right: torch.cat([0 * right["c"][:, :1], right["c"][:, :-1]], dim=1)),
            hint="c[:, t] is the cell state after step t",
        ),
        Mistake(
            "gives the hidden state for the cell state",
            _spoilt_traces(c=lambda right: right["o"] * right["c"].tanh()),
            hint="c is the cell state, from which h is made",
        ),
        Mistake(
            "gives tanh of the cell state",
            _spoilt_traces(c=lambda right: right["c"].tanh()),
            hint="c is the cell state itself, which can be larger than 1",
        ),
        Mistake(
            "swaps o and g",
            _spoilt_traces(o=lambda right: right["g"], g=lambda right: right["o"]),
            hint="the four blocks are i, f, o, g, from the left",
        ),
        Mistake(
            "swaps i and f",
            _spoilt_traces(i=lambda right: right["f"], f=lambda right: right["i"]),
            hint="the four blocks are i, f, o, g, from the left",
        ),
        Mistake(
            "puts the steps before the sequences",
            _steps_first,
            hint="axis 0 counts the sequences and axis 1 the steps: along which axis are the steps stacked?",
        ),
        Mistake(
            "shows the gates the hidden state of their own step",
            _of_the_state_after,
            hint="the gates of step t see the hidden state that step t - 1 left",
        ),
    ],
)


# How much of a memory is left.


def _left_at_the_end(f):
    """The derivative of the last cell state with respect to what each step writes, by autograd."""
    written = torch.zeros_like(f).requires_grad_()
    with torch.enable_grad():
        c = torch.zeros_like(f[:, 0])
        for t in range(f.shape[1]):
            c = f[:, t] * c + written[:, t]
        (left,) = torch.autograd.grad(c.sum(), written)
    return left


def shut_now_and_then(*shape):
    """Gates of which about a fifth are exactly 0."""

    def make(generator):
        f = torch.rand(shape, generator=generator, dtype=torch.float64)
        return torch.where(f < 0.2, 0.0, f)

    return drawn(make)


def _own_gate_included(f):
    return f.flip(1).cumprod(1).flip(1)


def _quotient(f):
    return f.prod(1, keepdim=True) / f.cumprod(1)


memory_kept = Function(
    functions=("memory_kept",),
    reference=_left_at_the_end,
    cases=[
        Case("two sequences of 5 steps, 3 cells", f=uniform(2, 5, 3, low=0.2)),
        Case("gates that are shut now and then", f=shut_now_and_then(4, 6, 5)),
    ],
    points={"kept": 2},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "counts the gate of the step itself",
            _own_gate_included,
            hint="what step t writes does not pass the forget gate of step t: which one does it meet first?",
        ),
        Mistake(
            "multiplies from the first step on",
            lambda f: f.cumprod(1),
            hint="what is written at step t meets the gates that come later",
        ),
        Mistake(
            "multiplies the gates before step t",
            lambda f: torch.cat([torch.ones_like(f[:, :1]), f.cumprod(1)[:, :-1]], dim=1),
            hint="what is written at step t meets the gates that come later",
        ),
        Mistake(
            "divides by gates, of which some are 0",
            _quotient,
            hint="a forget gate can be shut, and 0 / 0 is not a number: can it be done by multiplying alone?",
        ),
        Mistake(
            "multiplies all gates for every step",
            lambda f: f.prod(1, keepdim=True).expand_as(f),
            hint="what is written at step t meets only the gates that come later",
        ),
        Mistake(
            "adds the gates up",
            lambda f: f.flip(1).cumsum(1).flip(1) - f,
            hint="every gate on the way multiplies what is there",
        ),
        Mistake(
            "takes the gate of the next step only",
            lambda f: torch.cat([f[:, 1:], torch.ones_like(f[:, :1])], dim=1),
            hint="what is written at step t meets every gate until the end",
        ),
    ],
)


# A forget gate that starts open.


def _opened(value, block=1, rest=lambda b: b):
    """The bias with ``value(steps, b)`` in one of its blocks."""

    def variant(b, steps):
        H = len(b) // 4
        parts = list(rest(b).split(H))
        parts[block] = value(steps, parts[block])
        return torch.cat(parts)

    return variant


def _constant(number):
    return lambda steps, old: torch.full_like(old, number(steps))


def _logit(steps):
    keep = 1 - 1 / steps
    return math.log(keep / (1 - keep))


open_forget_gate = Function(
    functions=("open_forget_gate",),
    reference=_opened(_constant(_logit)),
    cases=[Case("3 units, 100 steps", b=normal(12), steps=100), Case("4 units, 2.5 steps", b=normal(16), steps=2.5)],
    points={"b": 2},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "sets the bias to the gate's value",
            _opened(_constant(lambda steps: 1 - 1 / steps)),
            hint="a bias stands before the sigmoid: which pre-activation gives this gate?",
        ),
        Mistake(
            "takes the logarithm of steps itself",
            _opened(_constant(math.log)),
            hint="solve sigmoid(b) = 1 - 1 / steps for b, step by step",
        ),
        Mistake(
            "closes the forget gate",
            _opened(_constant(lambda steps: -_logit(steps))),
            hint="is sigmoid of your bias close to 1 or close to 0?",
        ),
        Mistake(
            "sets the first block",
            _opened(_constant(_logit), block=0),
            hint="the four blocks are i, f, o, g, from the left",
        ),
        Mistake(
            "sets the third block",
            _opened(_constant(_logit), block=2),
            hint="the four blocks are i, f, o, g, from the left",
        ),
        Mistake(
            "adds to what is there",
            _opened(lambda steps, old: old + _logit(steps)),
            hint="the entries of the forget gate are replaced",
        ),
        Mistake(
            "sets the other biases to zero",
            _opened(_constant(_logit), rest=torch.zeros_like),
            hint="the other three blocks stay as they are",
        ),
        Mistake(
            "sets all four blocks",
            lambda b, steps: torch.full_like(b, _logit(steps)),
            hint="the other three blocks stay as they are",
        ),
    ],
)
