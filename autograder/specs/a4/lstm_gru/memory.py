"""Hidden cases of the traces, of what is left of a memory, and of the open forget gate."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, given, normal, uniform
from dlcvkit.exercises.a4.lstm_gru.memory import shut_now_and_then

from .faults import extreme_biases, names, overflowing_sigmoid


def _case(name, N, T, D, H, *, std=0.7, b=None):
    return Case(
        name,
        x=normal(N, T, D),
        h0=normal(N, H, std=0.5),
        Wx=normal(D, 4 * H, std=std),
        Wh=normal(H, 4 * H, std=std),
        b=b or normal(4 * H, std=std),
    )


def _by_stacking(x, h0, Wx, Wh, b, fault=""):
    h, c = h0, torch.zeros_like(h0)
    if fault == "starts from zeros":
        h = torch.zeros_like(h0)
    if fault == "cell starts at h0":
        c = h0
    sigmoid = overflowing_sigmoid if fault == "sigmoid that overflows" else torch.sigmoid
    rows = []
    for t in range(x.shape[1]):
        a = x[:, t] @ Wx + h @ Wh + (0 if fault == "no bias" else b)
        i, f, o, g = a.split(h.shape[1], dim=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), torch.tanh(g)
        c = i * g if fault == "cell emptied at every step" else f * c + i * g
        h = o * (c if fault == "no tanh" else torch.tanh(c))
        if fault == "written instead of g":
            g = i * g
        rows.append((i, f, o, g, h if fault == "h for c" else c))
    stacked = [torch.stack(each, dim=1) for each in zip(*rows, strict=True)]
    if fault == "last step only":
        stacked = [each[:, -1] for each in stacked]
    if fault == "a list":
        return stacked
    return dict(zip(("i", "f", "o", "g", "h" if fault == "wrong key" else "c"), stacked, strict=True))


def _into_place(x, h0, Wx, Wh, b):
    N, T, _ = x.shape
    H = h0.shape[1]
    traces = {name: x.new_empty(N, T, H) for name in ("i", "f", "o", "g", "c")}
    h, c = h0, 0 * h0
    from_x = torch.einsum("ntd,dk->ntk", x, Wx) + b
    for t in range(T):
        a = from_x[:, t] + h @ Wh
        for k, name in enumerate("ifog"):
            own = a[:, k * H : (k + 1) * H]
            traces[name][:, t] = own.tanh() if name == "g" else own.sigmoid()
        c = traces["f"][:, t] * c + traces["i"][:, t] * traces["g"][:, t]
        traces["c"][:, t] = c
        h = traces["o"][:, t] * c.tanh()
    return traces


_TRACE_FAULTS = """starts from zeros, cell starts at h0, no bias, cell emptied at every step, no tanh,
    written instead of g, h for c, last step only, a list, wrong key, sigmoid that overflows"""


def _impolite(x, h0, Wx, Wh, b):
    b.mul_(0.5)
    return _by_stacking(x, h0, Wx, Wh, b)


lstm_traces = Hidden(
    cases=[
        _case("one step", 2, 1, 3, 4),
        _case("one sequence of 17 steps", 1, 17, 3, 4, std=0.4),
        _case("one feature, one unit", 3, 2, 1, 1),
        _case("non-contiguous", 3, 4, 2, 5).strided(),
        _case("float32", 2, 5, 3, 4).float32(),
        _case("gates at ±50 and ±1000", 2, 3, 2, 5, std=0.1, b=given(extreme_biases(20))),
    ],
    mutants={
        **{name: (lambda *a, name=name: _by_stacking(*a, fault=name)) for name in names(_TRACE_FAULTS)},
        "changes the bias": _impolite,
    },
    solutions={"stacked": _by_stacking, "into place": _into_place},
)


# How much of a memory is left.


def _by_multiplying(f):
    kept = torch.ones_like(f)
    for t in range(f.shape[1] - 2, -1, -1):
        kept[:, t] = kept[:, t + 1] * f[:, t + 1]
    return kept


def _by_products(f):
    return torch.stack([f[:, t + 1 :].prod(dim=1) for t in range(f.shape[1])], dim=1)


def _by_cumprod(f):
    later = torch.cat([torch.ones_like(f[:, :1]), f[:, 1:].flip(1)], dim=1)
    return later.cumprod(1).flip(1)


def _by_logarithms(f):
    logs = f.log()
    return (logs.flip(1).cumsum(1).flip(1) - logs).exp()


def _in_place(f):
    for t in range(f.shape[1] - 2, -1, -1):
        f[:, t] *= f[:, t + 1]
    return f


memory_kept = Hidden(
    cases=[
        Case("one step", f=uniform(2, 1, 3)),
        Case("two steps, one cell", f=uniform(3, 2, 1)),
        Case("one sequence of 17 steps", f=uniform(1, 17, 4, low=0.8)),
        Case("as many steps as cells", f=uniform(4, 4, 4)),
        Case("all gates shut", f=given([[[0.0, 0.0]] * 3])),
        Case("all gates open", f=given([[[1.0]] * 4])),
        Case("non-contiguous", f=shut_now_and_then(3, 5, 2)).strided(),
        Case("float32", f=uniform(2, 6, 3, low=0.5)).float32(),
    ],
    mutants={
        "by logarithms": _by_logarithms,
        "in place": _in_place,
        "ends with zeros": lambda f: torch.cat([_by_products(f)[:, :-1], torch.zeros_like(f[:, :1])], dim=1),
        "leaves the last step out": lambda f: _by_products(f)[:, :-1],
        "along the cells": lambda f: _by_products(f.mT).mT,
        "along the batch": lambda f: _by_products(f.transpose(0, 1)).transpose(0, 1),
        "the last gate left out": lambda f: _by_products(torch.cat([f[:, :-1], torch.ones_like(f[:, -1:])], dim=1)),
        "averaged over the cells": lambda f: _by_products(f).mean(2),
        "steps in reverse": lambda f: _by_products(f).flip(1),
        "quotient with a small number added": lambda f: f.prod(1, keepdim=True) / (f.cumprod(1) + 1e-8),
    },
    solutions={"from behind": _by_multiplying, "product by product": _by_products, "by cumprod": _by_cumprod},
    equivalent={"memory_kept: f[:, 0] -> f[:, -1]": "only the shape of this slice is used"},
)


# A forget gate that starts open.


def _by_logit(b, steps):
    i, _, o, g = b.chunk(4)
    keep = torch.full_like(i, 1 - 1 / steps)
    return torch.cat([i, torch.log(keep / (1 - keep)), o, g])


def _by_mask(b, steps):
    H = len(b) // 4
    place = torch.arange(4 * H, device=b.device) // H
    return torch.where(place == 1, math.log(steps - 1), b)


def _by_row(b, steps):
    rows = b.clone().reshape(4, -1)
    rows[1] = -math.log(1 / (1 - 1 / steps) - 1)
    return rows.flatten()


def _given_in_place(b, steps):
    b[len(b) // 4 : len(b) // 2] = math.log(steps - 1)
    return b


def _one_entry(b, steps):
    new = b.clone()
    new[len(b) // 4] = math.log(steps - 1)
    return new


def _every_fourth(b, steps):
    new = b.clone()
    new[1::4] = math.log(steps - 1)
    return new


def _with(value):
    def variant(b, steps):
        i, f, o, g = b.chunk(4)
        return torch.cat([i, torch.full_like(f, value(steps)), o, g])

    return variant


open_forget_gate = Hidden(
    cases=[
        Case("a gate half open", b=normal(8), steps=2),
        Case("a gate rather shut", b=normal(12), steps=1.25),
        Case("one unit", b=normal(4), steps=10),
        Case("a thousand steps", b=normal(20), steps=1000),
        Case("non-contiguous", b=normal(12), steps=7).strided(),
        Case("float32", b=normal(16), steps=30).float32(),
    ],
    mutants={
        "in place": _given_in_place,
        "first entry of the block only": _one_entry,
        "every fourth entry": _every_fourth,
        "always 1": _with(lambda steps: 1.0),
        "logarithm of steps plus 1": _with(lambda steps: math.log(steps + 1)),
        "logarithm to base 10": _with(lambda steps: math.log10(steps - 1)),
        "sigmoid of the share": _with(lambda steps: 1 / (1 + math.exp(1 / steps - 1))),
        "steps as a whole number": _with(lambda steps: math.log(max(int(steps) - 1, 1))),
        "half the bias": lambda b, steps: _by_mask(b, steps)[: len(b) // 2],
    },
    solutions={"by the logit": _by_logit, "by a mask": _by_mask, "as rows": _by_row},
    equivalent={
        "open_forget_gate: 2 * H -> -2 * H": "of 4H entries, the end 2H from the front is the end 2H from behind"
    },
)
