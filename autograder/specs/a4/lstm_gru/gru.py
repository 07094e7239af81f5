"""The GRU: one family of steps, spoilt in many ways, and other ways to compute it."""

from __future__ import annotations

import torch

from dlcvkit.checking import Hidden, given
from dlcvkit.exercises.a4.lstm_gru.gru import step_case
from dlcvkit.exercises.a4.lstm_gru.lstm import sequence_case, upstream_at_the_end

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


def _forward(x, prev_h, Wx, Wh, bx, bh, fault=""):
    """The step, spoilt by one ``fault``."""
    sigmoid = _SIGMOIDS.get(fault, torch.sigmoid)
    tanh = overflowing_tanh if fault == "tanh that overflows" else torch.tanh
    H = prev_h.shape[1]
    x_r, x_z, x_n = (x @ Wx + bx).split(H, dim=1)
    h_r, h_z, h_n = (prev_h @ Wh + bh).split(H, dim=1)
    if fault == "candidate first":
        (x_n, x_r, x_z), (h_n, h_r, h_z) = (x_r, x_z, x_n), (h_r, h_z, h_n)
    if fault == "input biases twice":
        x_n = x_n + bx[2 * H :]
    if fault == "gates without the input":
        x_r, x_z = 0 * x_r, 0 * x_z
    if fault == "gates without the state":
        h_r, h_z = 0 * h_r, 0 * h_z
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    if fault == "resets with 1 - r":
        r = 1 - r
    n = tanh(x_n + (z if fault == "resets with z" else r) * h_n)
    next_h = (1 - z) * n + z * prev_h
    if fault == "adds without weighing":
        next_h = n + z * prev_h
    if fault == "keeps all of the old state":
        next_h = (1 - z) * n + prev_h
    if fault == "tanh of the mixture":
        next_h = tanh(next_h)
    return next_h, (x, prev_h, Wx, Wh, r, z, n, h_n)


def _backward(dnext_h, cache, fault=""):
    """The gradients, spoilt by one ``fault``."""
    x, prev_h, Wx, Wh, r, z, n, m = cache
    dz = dnext_h * (prev_h - n) * z * (1 - z)
    dn = dnext_h * (1 - z) * (1 - n**2)
    if fault == "dn without 1 - z":
        dn = dnext_h * (1 - n**2)
    if fault == "dn by z":
        dn = dnext_h * z * (1 - n**2)
    dr = dn * m * r * (1 - r)
    if fault == "dr by n":
        dr = dn * n * r * (1 - r)
    if fault == "r and z swapped":
        dr, dz = dz, dr
    from_m = dn * r
    if fault == "reset on both sides":
        dn = dn * r
    dax, dah = torch.cat([dr, dz, dn], dim=1), torch.cat([dr, dz, from_m], dim=1)
    direct = dnext_h * (1 - z if fault == "direct way by 1 - z" else z)
    dprev_h = direct + (dax if fault == "dprev_h from the input's share" else dah) @ Wh.T
    if fault == "direct way twice":
        dprev_h = dprev_h + direct
    dWh = dnext_h.T @ dah if fault == "dWh from the upstream gradient" else prev_h.T @ dah
    dx, dWx, dbx, dbh = dax @ Wx.T, x.T @ dax, dax.sum(0), dah.sum(0)
    if fault == "biases swapped":
        dbx, dbh = dbh, dbx
    if fault == "dx from the hidden share":
        dx = dah @ Wx.T
    if fault == "db as a row":
        dbx, dbh = dbx[None], dbh[None]
    if fault == "one bias":
        return dx, dprev_h, dWx, dWh, dbx
    return dx, dprev_h, dWx, dWh, dbx, dbh


_FORWARD = """sigmoid that overflows, sigmoid of clamped numbers, tanh that overflows, candidate first,
    input biases twice, gates without the input, gates without the state, resets with 1 - r, resets with z,
    adds without weighing, keeps all of the old state, tanh of the mixture"""
_BACKWARD = """dn without 1 - z, dn by z, dr by n, r and z swapped, reset on both sides, direct way by 1 - z,
    dprev_h from the input's share, direct way twice, dWh from the upstream gradient, biases swapped,
    dx from the hidden share, db as a row, one bias"""


def _gates_apart(x, prev_h, Wx, Wh, bx, bh):
    """Six products instead of two, and the state moved towards the candidate."""
    Wx_r, Wx_z, Wx_n = Wx.unflatten(1, (3, -1)).unbind(1)
    Wh_r, Wh_z, Wh_n = Wh.unflatten(1, (3, -1)).unbind(1)
    b = (bx + bh).unflatten(0, (3, -1))
    m = torch.einsum("nk,kh->nh", prev_h, Wh_n) + bh.unflatten(0, (3, -1))[2]
    r = 0.5 + 0.5 * torch.tanh(0.5 * (x @ Wx_r + prev_h @ Wh_r + b[0]))
    z = 0.5 + 0.5 * torch.tanh(0.5 * (x @ Wx_z + prev_h @ Wh_z + b[1]))
    n = torch.tanh(x @ Wx_n + bx.unflatten(0, (3, -1))[2] + r * m)
    return torch.lerp(n, prev_h, z), {"given": (x, prev_h, Wx, Wh), "found": (r, z, n, m)}


def _back_gates_apart(dnext_h, cache):
    x, prev_h, Wx, Wh = cache["given"]
    r, z, n, m = cache["found"]
    H = prev_h.shape[1]
    d_z = (dnext_h * prev_h - dnext_h * n) * (z - z * z)
    d_n = (dnext_h - dnext_h * z) * (1 - n) * (1 + n)
    d_r, d_m = d_n * m * (r - r * r), d_n * r
    dx, dprev_h = torch.zeros_like(x), dnext_h * z
    dWx, dWh = torch.empty_like(Wx), torch.empty_like(Wh)
    for k, (from_x, from_h) in enumerate([(d_r, d_r), (d_z, d_z), (d_n, d_m)]):
        own = slice(k * H, k * H + H)
        dx += from_x @ Wx[:, own].T
        dprev_h = dprev_h + from_h @ Wh[:, own].T
        dWx[:, own] = torch.einsum("nd,nh->dh", x, from_x)
        dWh[:, own] = torch.einsum("nk,nh->kh", prev_h, from_h)
    dbx, dbh = (torch.cat([d_r, d_z, last], dim=1).sum(0) for last in (d_n, d_m))
    return dx, dprev_h, dWx, dWh, dbx, dbh


def _four_blocks(x, prev_h, Wx, Wh, bx, bh):
    """One product with x and the state side by side, in four blocks: r, z, the candidate's input, its hidden share."""
    D, H = x.shape[1], prev_h.shape[1]
    W = torch.zeros(D + H + 1, 4 * H, dtype=x.dtype, device=x.device)
    W[:D, : 3 * H], W[D:-1, : 2 * H], W[D:-1, 3 * H :] = Wx, Wh[:, : 2 * H], Wh[:, 2 * H :]
    W[-1, : 2 * H], W[-1, 2 * H : 3 * H], W[-1, 3 * H :] = (bx + bh)[: 2 * H], bx[2 * H :], bh[2 * H :]
    seen = torch.cat([x, prev_h, torch.ones_like(x[:, :1])], dim=1)
    a = (seen @ W).unflatten(1, (4, H))
    r, z = a[:, 0].sigmoid(), a[:, 1].sigmoid()
    n = torch.addcmul(a[:, 2], r, a[:, 3]).tanh()
    return n + z * (prev_h - n), (seen, W, D, prev_h, r, z, n, a[:, 3])


def _back_four_blocks(dnext_h, cache):
    seen, W, D, prev_h, r, z, n, m = cache
    H = prev_h.shape[1]
    dn = dnext_h * (1 - z) * (1 - n.square())
    da = torch.cat([dn * m * r * (1 - r), dnext_h * (prev_h - n) * z * (1 - z), dn, dn * r], dim=1)
    dseen, dW = da @ W.T, seen.T @ da
    dWh = torch.cat([dW[D:-1, : 2 * H], dW[D:-1, 3 * H :]], dim=1)
    dbh = torch.cat([dW[-1, : 2 * H], dW[-1, 3 * H :]])
    return dseen[:, :D], dnext_h * z + dseen[:, D:-1], dW[:D, : 3 * H], dWh, dW[-1, : 3 * H], dbh


def _by_torch(x, prev_h, Wx, Wh, bx, bh):
    """A forward pass by torch's own cell."""
    return torch.gru_cell(x, prev_h, Wx.t(), Wh.t(), bx, bh), _forward(x, prev_h, Wx, Wh, bx, bh)[1]


gru_step = Hidden(
    cases=[
        step_case("one row", 1, 4, 3),
        step_case("one feature, one unit", 3, 1, 1),
        step_case("non-contiguous", 3, 4, 5).strided(),
        step_case("float32", 5, 3, 4).float32(),
        step_case("gates at ±50 and ±1000", 3, 2, 5, std=0.1, bx=given(extreme_biases(15))),
    ],
    mutants={
        **spoilt((_forward, _backward), _FORWARD, _BACKWARD),
        "changes the state": changes(1, _forward, _backward),
        "uses torch's cell": (_by_torch, _backward),
        "returns no cache": (lambda *a: _forward(*a)[0], _backward),
        "backward not written": (_forward, lambda *a: None),
    },
    solutions={
        "gate by gate": (_gates_apart, _back_gates_apart),
        "one product of four blocks": (_four_blocks, _back_four_blocks),
        "in float32": in_float32(_forward, _backward),
    },
    equivalent={
        "gru_step_forward: prev_h.shape[1] -> prev_h.shape[-1]": "prev_h has two axes, so axis 1 is the last one",
    },
)


# Many steps.


def _begin(h0, fault):
    return [h0]


def _all_at_once(x, h0, Wx, Wh, bx, bh):
    """The input's share of all steps in one product."""
    H = h0.shape[1]
    from_x = x @ Wx + bx
    h, kept = [h0], []
    for a in from_x.unbind(1):
        from_h = h[-1] @ Wh + bh
        r, z = (a[:, : 2 * H] + from_h[:, : 2 * H]).sigmoid().split(H, dim=1)
        m = from_h[:, 2 * H :]
        n = (a[:, 2 * H :] + r * m).tanh()
        h.append((1 - z) * n + z * h[-1])
        kept.append(torch.stack([r, z, n, m]))
    return torch.stack(h[1:], dim=1), (x, torch.stack(h[:-1], dim=1), Wx, Wh, kept)


def _back_all_at_once(dh, cache):
    x, before, Wx, Wh, kept = cache
    coming = torch.zeros_like(before[:, 0])
    for_x, for_h = [], []
    for t in reversed(range(len(kept))):
        r, z, n, m = kept[t]
        told = dh[:, t] + coming
        dn = told * (1 - z) * (1 - n**2)
        gates = [dn * m * r * (1 - r), told * (before[:, t] - n) * z * (1 - z)]
        for_x.append(torch.cat([*gates, dn], dim=1))
        for_h.append(torch.cat([*gates, dn * r], dim=1))
        coming = told * z + for_h[-1] @ Wh.T
    dax, dah = torch.stack(for_x[::-1], dim=1), torch.stack(for_h[::-1], dim=1)
    dWx, dWh = torch.einsum("ntd,ntk->dk", x, dax), torch.einsum("nth,ntk->hk", before, dah)
    return dax @ Wx.T, coming, dWx, dWh, dax.sum((0, 1)), dah.sum((0, 1))


_LOOP = over_time(_forward, _backward, _begin)
_APART = over_time(_gates_apart, _back_gates_apart, _begin)


gru = Hidden(
    cases=[
        sequence_case("one step", 2, 1, 3, 4, gates=3),
        sequence_case("two steps, one sequence", 1, 2, 4, 3, gates=3),
        sequence_case("17 steps", 2, 17, 3, 4, gates=3, std=0.4),
        sequence_case(
            "17 steps, a loss at the last one only", 3, 17, 2, 3, gates=3, std=0.4, dh=upstream_at_the_end(3, 17, 3)
        ),
        sequence_case("non-contiguous", 3, 4, 2, 5, gates=3).strided(),
        sequence_case("float32", 2, 5, 3, 4, gates=3).float32(),
        sequence_case("gates at ±50 and ±1000", 2, 3, 2, 5, gates=3, std=0.1, bx=given(extreme_biases(15))),
    ],
    mutants={
        **spoilt(_LOOP, FORWARD_OVER_TIME, BACKWARD_OVER_TIME),
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
        "gru_backward: dh[:, 0] -> dh[:, -1]": "only the shape of this slice is used",
        "gru_backward: found[2] -> found[-2]": "found holds four gradients",
    },
)
