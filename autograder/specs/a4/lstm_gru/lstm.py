"""The LSTM: one family of steps, spoilt in many ways, and other ways to compute it."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal
from dlcvkit.exercises.a4.lstm_gru.lstm import sequence_case, step_case, upstream_at_the_end

from .faults import (
    BACKWARD_OVER_TIME,
    FORWARD_OVER_TIME,
    changes,
    crude_sigmoid,
    extreme_biases,
    in_float32,
    over_time,
    overflowing_sigmoid,
    overflowing_tanh,
    spoilt,
)

_SIGMOIDS = {"sigmoid that overflows": overflowing_sigmoid, "sigmoid of clamped numbers": crude_sigmoid}


def _forward(x, prev_h, prev_c, Wx, Wh, b, fault=""):
    """The step, spoilt by one ``fault``."""
    sigmoid = _SIGMOIDS.get(fault, torch.sigmoid)
    tanh = overflowing_tanh if fault == "tanh that overflows" else torch.tanh
    a_i, a_f, a_o, a_g = (x @ Wx + prev_h @ Wh + b).split(prev_h.shape[1], dim=1)
    if fault == "gates rotated":
        a_i, a_f, a_o = a_o, a_i, a_f
    if fault == "candidate first":
        a_g, a_i, a_f, a_o = a_i, a_f, a_o, a_g
    i, f, o, g = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o), tanh(a_g)
    if fault == "coupled gates":
        f = 1 - i
    if fault == "forget gate the wrong way round":
        f = 1 - f
    next_c = f * prev_c + i * g
    if fault == "cell clamped":
        next_c = next_c.clamp(-10, 10)
    if fault == "no old cell":
        next_c = i * g
    tanh_c = tanh(next_c)
    next_h = o * tanh_c
    if fault == "tanh around the gate":
        next_h = tanh(o * next_c)
    if fault == "cell and hidden swapped":
        next_h, next_c = next_c, next_h
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c)


def _backward(dnext_h, dnext_c, cache, fault=""):
    """The gradients, spoilt by one ``fault``."""
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c = cache
    dc = dnext_c + dnext_h * o * (1 - tanh_c**2)
    if fault == "slope of the cell over tanh":
        dc = dnext_c + dnext_h * (1 - tanh_c**2)
    if fault == "dnext_c twice":
        dc = dc + dnext_c
    di, df, do, dg = dc * g, dc * prev_c, dnext_h * tanh_c, dc * i
    if fault == "do from the cell too":
        do = dc * tanh_c
    if fault == "di and dg swapped":
        di, dg = dg, di
    slopes = [s * (1 - s) for s in (i, f, o)]
    slope = 1 - g if fault == "slope 1 - g" else 1 - g**2
    blocks = [di * slopes[0], df * slopes[1], do * slopes[2], dg * slope]
    if fault == "gradients in torch's order":
        blocks = [blocks[0], blocks[1], blocks[3], blocks[2]]
    da = torch.cat(blocks, dim=1)
    dprev_c = dc * (i if fault == "dprev_c by the input gate" else f)
    dprev_h, db = da @ Wh.T, da.sum(0)
    if fault == "dprev_h plus dnext_h":
        dprev_h = dprev_h + dnext_h
    if fault == "db as a row":
        db = da.sum(0, keepdim=True)
    if fault == "no dprev_h":
        dprev_h = torch.zeros_like(prev_h)
    dWh = (o * tanh_c).T @ da if fault == "dWh from the new state" else prev_h.T @ da
    if fault == "dprev_h and dprev_c swapped":
        dprev_h, dprev_c = dprev_c, dprev_h
    if fault == "five gradients":
        return da @ Wx.T, dprev_h, x.T @ da, dWh, db
    return da @ Wx.T, dprev_h, dprev_c, x.T @ da, dWh, db


_FORWARD = """sigmoid that overflows, sigmoid of clamped numbers, tanh that overflows, gates rotated, candidate first,
    coupled gates, forget gate the wrong way round, cell clamped, no old cell, tanh around the gate,
    cell and hidden swapped"""
_BACKWARD = """slope of the cell over tanh, dnext_c twice, do from the cell too, di and dg swapped, slope 1 - g,
    gradients in torch's order, dprev_c by the input gate, dprev_h plus dnext_h, db as a row, no dprev_h,
    dWh from the new state, dprev_h and dprev_c swapped, five gradients"""


def _gates_apart(x, prev_h, prev_c, Wx, Wh, b):
    """Eight products instead of two; the sigmoid by tanh."""
    H = prev_h.shape[1]
    blocks = []
    for k in range(4):
        own = slice(k * H, k * H + H)
        a = torch.einsum("nd,dh->nh", x, Wx[:, own]) + torch.einsum("nk,kh->nh", prev_h, Wh[:, own]) + b[own]
        blocks.append(torch.tanh(a) if k == 3 else 0.5 * (1 + torch.tanh(a / 2)))
    next_c = blocks[1] * prev_c + blocks[0] * blocks[3]
    return blocks[2] * torch.tanh(next_c), next_c, ((x, prev_h, prev_c, Wx, Wh), blocks, next_c)


def _back_gates_apart(dnext_h, dnext_c, cache):
    (x, prev_h, prev_c, Wx, Wh), (i, f, o, g), next_c = cache
    H = prev_h.shape[1]
    squashed = torch.tanh(next_c)
    dc = dnext_c + dnext_h * o - dnext_h * o * squashed * squashed
    pre = [
        dc * g * (i - i * i),
        dc * prev_c * (f - f * f),
        dnext_h * squashed * (o - o * o),
        dc * i * (1 - g) * (1 + g),
    ]
    dx, dprev_h = torch.zeros_like(x), torch.zeros_like(prev_h)
    dWx, dWh, db = torch.zeros_like(Wx), torch.zeros_like(Wh), Wx.new_zeros(4 * H)
    for k, da in enumerate(pre):
        own = slice(k * H, k * H + H)
        dx += torch.einsum("nh,dh->nd", da, Wx[:, own])
        dprev_h += torch.einsum("nh,kh->nk", da, Wh[:, own])
        dWx[:, own] = torch.einsum("nd,nh->dh", x, da)
        dWh[:, own] = torch.einsum("nk,nh->kh", prev_h, da)
        db[own] = da.sum(0)
    return dx, dprev_h, f * dc, dWx, dWh, db


def _side_by_side(x, prev_h, prev_c, Wx, Wh, b):
    """One product: input, state and a one side by side, on the weights stacked."""
    seen = torch.cat([x, prev_h, x.new_ones(len(x), 1)], dim=1)
    W = torch.cat([Wx, Wh, b[None]])
    i, f, o, g = (seen @ W).unflatten(1, (4, -1)).unbind(1)
    i, f, o, g = i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()
    next_c = torch.addcmul(i * g, f, prev_c)
    return o * next_c.tanh(), next_c, [seen, W, x.shape[1], prev_c, torch.stack([i, f, o, g], 1), next_c]


def _back_side_by_side(dnext_h, dnext_c, cache):
    seen, W, D, prev_c, gates, next_c = cache
    i, f, o, g = gates.unbind(1)
    shown = next_c.tanh()
    dc = torch.addcmul(dnext_c, dnext_h * o, 1 - shown.square())
    told = torch.stack([dc * g, dc * prev_c, dnext_h * shown, dc * i], dim=1)
    slopes = torch.cat([gates[:, :3] * (1 - gates[:, :3]), (1 - g.square())[:, None]], dim=1)
    da = (told * slopes).flatten(1)
    dseen, dW = da @ W.T, seen.T @ da
    return dseen[:, :D], dseen[:, D:-1], dc * f, dW[:D], dW[D:-1], dW[-1]


def _by_torch(x, prev_h, prev_c, Wx, Wh, b):
    """A forward pass by torch's own cell."""
    w_ih, w_hh, bias = (torch.cat([w.chunk(4, dim=-1)[k] for k in (0, 1, 3, 2)], dim=-1).t() for w in (Wx, Wh, b[None]))
    next_h, next_c = torch.lstm_cell(x, (prev_h, prev_c), w_ih, w_hh, bias[:, 0], torch.zeros_like(bias[:, 0]))
    return next_h, next_c, _forward(x, prev_h, prev_c, Wx, Wh, b)[2]


lstm_step = Hidden(
    cases=[
        step_case("one row", 1, 4, 3),
        step_case("one feature, one unit", 3, 1, 1),
        step_case("non-contiguous", 3, 4, 5).strided(),
        step_case("float32", 5, 3, 4).float32(),
        step_case("gates at ±50 and ±1000", 3, 2, 5, std=0.1, b=given(extreme_biases(20))),
        Case(
            "a cell state of 30",
            x=normal(2, 3),
            prev_h=normal(2, 4),
            prev_c=normal(2, 4, mean=30.0),
            Wx=normal(3, 16),
            Wh=normal(4, 16),
            b=normal(16),
            dnext_h=normal(2, 4),
            dnext_c=normal(2, 4),
        ),
    ],
    mutants={
        **spoilt((_forward, _backward), _FORWARD, _BACKWARD),
        "changes the cell state": changes(2, _forward, _backward),
        "uses torch's cell": (_by_torch, _backward),
        "returns no cache": (lambda *a: _forward(*a)[:2], _backward),
        "backward not written": (_forward, lambda *a: None),
    },
    solutions={
        "gate by gate": (_gates_apart, _back_gates_apart),
        "one product": (_side_by_side, _back_side_by_side),
        "in float32": in_float32(_forward, _backward),
    },
    equivalent={
        "lstm_step_forward: prev_h.shape[1] -> prev_h.shape[-1]": "prev_h has two axes, so axis 1 is the last one",
    },
)


# Many steps.


def _begin(h0, fault):
    if fault == "cell starts at one":
        return [h0, torch.ones_like(h0)]
    return [h0, torch.zeros_like(h0)]


def _all_at_once(x, h0, Wx, Wh, b):
    """The input's share of all steps in one product."""
    N, T, _ = x.shape
    H = h0.shape[1]
    from_x = x @ Wx + b
    gates, cells = x.new_empty(N, T, 4, H), x.new_zeros(N, T + 1, H)
    h = x.new_empty(N, T + 1, H)
    h[:, 0] = h0
    for t in range(T):
        a = (from_x[:, t] + h[:, t] @ Wh).unflatten(1, (4, H))
        gates[:, t] = torch.cat([a[:, :3].sigmoid(), a[:, 3:].tanh()], dim=1)
        i, f, o, g = gates[:, t].unbind(1)
        cells[:, t + 1] = f * cells[:, t] + i * g
        h[:, t + 1] = o * cells[:, t + 1].tanh()
    return h[:, 1:].clone(), (x, h, Wx, Wh, gates, cells)


def _back_all_at_once(dh, cache):
    x, h, Wx, Wh, gates, cells = cache
    i, f, o, g = gates.unbind(2)
    shown = cells[:, 1:].tanh()
    da = torch.empty_like(gates)
    dh_next, dc = torch.zeros_like(h[:, 0]), torch.zeros_like(h[:, 0])
    for t in reversed(range(dh.shape[1])):
        told = dh[:, t] + dh_next
        dc = dc + told * o[:, t] * (1 - shown[:, t] ** 2)
        da[:, t, 0] = dc * g[:, t] * i[:, t] * (1 - i[:, t])
        da[:, t, 1] = dc * cells[:, t] * f[:, t] * (1 - f[:, t])
        da[:, t, 2] = told * shown[:, t] * o[:, t] * (1 - o[:, t])
        da[:, t, 3] = dc * i[:, t] * (1 - g[:, t] ** 2)
        dh_next, dc = da[:, t].flatten(1) @ Wh.T, dc * f[:, t]
    flat = da.flatten(2)
    dWx, dWh = torch.einsum("ntd,ntk->dk", x, flat), torch.einsum("nth,ntk->hk", h[:, :-1], flat)
    return flat @ Wx.T, dh_next, dWx, dWh, flat.sum((0, 1))


_LOOP = over_time(_forward, _backward, _begin)
_APART = over_time(_gates_apart, _back_gates_apart, _begin)

lstm = Hidden(
    cases=[
        sequence_case("one step", 2, 1, 3, 4),
        sequence_case("two steps, one sequence", 1, 2, 4, 3),
        sequence_case("17 steps", 2, 17, 3, 4, std=0.4),
        sequence_case("17 steps, a loss at the last one only", 3, 17, 2, 3, std=0.4, dh=upstream_at_the_end(3, 17, 3)),
        sequence_case("non-contiguous", 3, 4, 2, 5).strided(),
        sequence_case("float32", 2, 5, 3, 4).float32(),
        sequence_case("gates at ±50 and ±1000", 2, 3, 2, 5, std=0.1, b=given(extreme_biases(20))),
    ],
    mutants={
        **spoilt(_LOOP, FORWARD_OVER_TIME + ", cell starts at one", BACKWARD_OVER_TIME),
        "cell not carried over two steps": (
            _LOOP[0],
            lambda *a: _LOOP[1](*a, fault="cell not carried over two steps"),
        ),
        "changes h0": changes(1, *_LOOP),
        "returns no cache": (lambda *a: _LOOP[0](*a)[0], _LOOP[1]),
        "backward not written": (_LOOP[0], lambda *a: None),
    },
    solutions={
        "step by step": _LOOP,
        "gate by gate": _APART,
        "one product for all inputs": (_all_at_once, _back_all_at_once),
        "in float32": in_float32(*_LOOP),
    },
    equivalent={
        "lstm_backward: dh[:, 0] -> dh[:, -1]": "only the shape of this slice is used",
    },
)
