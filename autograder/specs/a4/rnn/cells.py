"""One step, and a sequence of steps."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.exercises.a4.rnn.cells import last_step_only, sequence_case, step_case

# One step.


def _step(x, prev_h, Wx, Wh, b, fault=""):
    total = x @ Wx + prev_h @ Wh + b
    if fault == "bias of the first unit":
        total = x @ Wx + prev_h @ Wh + b[0]
    if fault == "state added, not multiplied":
        total = x @ Wx + prev_h + b
    if fault == "linear for small sums":
        return torch.where(total.abs() < 1, total, total.tanh()), (x, prev_h, Wx, Wh, total.tanh())
    next_h = 2 * total.sigmoid() if fault == "shifted up" else total.tanh()
    if fault == "tanh by exponentials":
        next_h = (total.exp() - (-total).exp()) / (total.exp() + (-total).exp())
    if fault == "sigmoid":
        next_h = total.sigmoid()
    return next_h, (x, prev_h, Wx, Wh, next_h)


def _back(dnext_h, cache, fault=""):
    x, prev_h, Wx, Wh, next_h = cache
    slope = 1 - next_h**2
    if fault == "1 + h squared":
        slope = 1 + next_h**2
    if fault == "slope squared":
        slope = slope**2
    if fault == "slope of the old state":
        slope = 1 - prev_h**2
    da = dnext_h * slope
    found = [da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(0)]
    if fault == "dWh turned":
        found[3] = found[3].T
    if fault == "dprev_h with the upstream gradient added":
        found[1] = found[1] + dnext_h
    if fault == "weights averaged":
        found[2:] = [each / len(x) for each in found[2:]]
    if fault == "db with an axis":
        found[4] = da.sum(0, keepdim=True)
    if fault == "last row only":
        found[2:] = [x[-1:].T @ da[-1:], prev_h[-1:].T @ da[-1:], da[-1]]
    if fault == "dx first, then the weights":
        found[1:4] = [found[2], found[3], found[1]]
    return tuple(found)


def _in_one_product(x, prev_h, Wx, Wh, b):
    """Input, state and a one side by side; one matrix for all."""
    joint = torch.cat([x, prev_h, torch.ones_like(x[:, :1])], dim=1)
    stacked = torch.cat([Wx, Wh, b[None]])
    doubled = torch.exp(-2 * (joint @ stacked).abs())
    value = (1 - doubled) / (1 + doubled) * (joint @ stacked).sign()
    return value, [joint, stacked, x.shape[1], value]


def _back_in_one_product(dnext_h, cache):
    joint, stacked, D, value = cache
    da = dnext_h - dnext_h * value * value
    back, weights = da @ stacked.mT, joint.mT @ da
    return back[:, :D], back[:, D:-1], weights[:D], weights[D:-1], weights[-1]


def _by_einsum(x, prev_h, Wx, Wh, b):
    total = torch.einsum("nd,dh->nh", x.float(), Wx.float()) + torch.einsum("ng,gh->nh", prev_h.float(), Wh.float())
    return (total + b.float()).tanh(), {"given": (x, prev_h, Wx, Wh), "total": total + b.float()}


def _back_by_einsum(dnext_h, cache):
    x, prev_h, Wx, Wh = (each.float() for each in cache["given"])
    da = dnext_h.float() / cache["total"].cosh() ** 2
    found = torch.einsum("nh,dh->nd", da, Wx), torch.einsum("nh,gh->ng", da, Wh)
    return [*found, torch.einsum("nd,nh->dh", x, da), torch.einsum("ng,nh->gh", prev_h, da), da.sum(dim=0)]


def _spoilt(function, *names):
    return {name: lambda *given, name=name: function(*given, name) for name in names}


def _step_changing_the_state(x, prev_h, Wx, Wh, b):
    prev_h.copy_((x @ Wx + prev_h @ Wh + b).tanh())
    return prev_h, (x, prev_h, Wx, Wh, prev_h)


def _step_by_torch(x, prev_h, Wx, Wh, b):
    return torch.rnn_tanh_cell(x, prev_h, Wx.T, Wh.T, b, 0 * b), _step(x, prev_h, Wx, Wh, b)[1]


_STEP_FAULTS = _spoilt(
    _step,
    "bias of the first unit",
    "state added, not multiplied",
    "linear for small sums",
    "shifted up",
    "tanh by exponentials",
    "sigmoid",
)
_BACK_FAULTS = _spoilt(
    _back,
    "1 + h squared",
    "slope squared",
    "slope of the old state",
    "dWh turned",
    "dprev_h with the upstream gradient added",
    "weights averaged",
    "db with an axis",
    "last row only",
    "dx first, then the weights",
)

rnn_step = Hidden(
    cases=[
        step_case("one sequence, one feature, one unit", 1, 1, 1),
        step_case("one sequence", 1, 4, 3),
        step_case("more features than units", 3, 7, 2),
        step_case("all sizes equal", 4, 4, 4),
        step_case("gaps in memory", 3, 4, 5).strided(),
        step_case("float32", 3, 4, 5).float32(),
        step_case("saturated units", 2, 3, 4, std=1e4),
        Case(
            "no state yet",
            x=normal(2, 3),
            prev_h=normal(2, 4, std=0.0),
            Wx=normal(3, 4),
            Wh=normal(4, 4),
            b=normal(4),
            dnext_h=normal(2, 4),
        ),
    ],
    mutants={
        **{name: (function, _back) for name, function in _STEP_FAULTS.items()},
        **{name: (_step, function) for name, function in _BACK_FAULTS.items()},
        "changes the state": (_step_changing_the_state, _back),
        "uses torch's": (_step_by_torch, _back),
        "returns no cache": (lambda *given: _step(*given)[0], _back),
        "backward not written": (_step, lambda dnext_h, cache: None),
    },
    solutions={
        "one matrix product": (_in_one_product, _back_in_one_product),
        "einsum, float32": (_by_einsum, _back_by_einsum),
    },
)

# A sequence.


def _forward(x, h0, Wx, Wh, b, fault=""):
    N, T = x.shape[:2]
    if fault == "batch and time exchanged":
        N, T = T, N
    h = x.new_empty(N, T, len(Wh))
    if fault == "float32":
        h = h.float()
    state = h0
    for t in range(T):
        at = min(t, 3) if fault == "stops reading after 4 steps" else t
        given = x[t] if fault == "batch and time exchanged" else x[:, at]
        state = (given @ Wx + state @ Wh + b).tanh()
        if fault == "state of the first sequence for all":
            state = state[:1].expand(N, -1)
        if fault == "state fades":
            state = 0.99 * state
        h[:, t] = state
    if fault == "one view of the last state":
        h = state[:, None].expand(-1, T, -1)
    if fault == "h0 in front":
        h = torch.cat([h0[:, None], h], 1)
    return h, (x, h0, Wx, Wh, h)


def _backward(dh, cache, fault=""):
    x, h0, Wx, Wh, h = cache
    N, T, H = dh.shape
    before = torch.cat([h0[:, None], h[:, :-1]], dim=1)
    dx, dWx, dWh, db = torch.zeros_like(x), torch.zeros_like(Wx), torch.zeros_like(Wh), dh.new_zeros(H)
    carried = dh.new_zeros(N, H)
    steps = range(T) if fault == "walks forward" else reversed(range(T))
    for t in steps:
        if fault == "starts with the last gradient twice" and t == T - 1:
            carried = dh[:, t]
        if fault == "forgets after 8 steps" and t == T - 9:
            carried = torch.zeros_like(carried)
        total = carried if fault == "last step only" and t < T - 1 else dh[:, t] + carried
        if fault == "adds dh behind the slope":
            da = carried * (1 - h[:, t] ** 2) + dh[:, t]
        else:
            da = total * (1 - h[:, t] ** 2)
        dx[:, t] = da @ Wx.T
        dWx += x[:, t].T @ da
        if fault != "h0 left out of dWh" or t > 0:
            dWh += (h if fault == "dWh from the new state" else before)[:, t].T @ da
        db += da.sum(0)
        carried = da @ (Wh if fault == "Wh not turned" else Wh.T)
        if fault == "carries da":
            carried = da
        if fault == "clips on the way":
            carried = carried.clamp(-1, 1)
        if fault == "carries the gradient of all steps":
            carried = carried + total
    if fault == "dx from behind":
        dx = dx.flip(1)
    if fault == "dh0 adds dh":
        carried = carried + dh[:, 0]
    if fault == "no gradient for h0":
        carried = torch.zeros_like(carried)
    if fault == "averages over steps":
        dWx, dWh, db = dWx / T, dWh / T, db / T
    return dx, carried, dWx, dWh, db


def _weights_at_once(dh, cache):
    """Only the states go step by step; inputs and weights afterwards, in products over all steps."""
    x, h0, Wx, Wh, h = cache
    slopes, carried, parts = 1 - h * h, 0, []
    for t in range(dh.shape[1] - 1, -1, -1):
        parts.insert(0, slopes[:, t] * (dh[:, t] + carried))
        carried = parts[0] @ Wh.mT
    da = torch.stack(parts, 1)
    before = torch.cat([h0[:, None], h], 1)[:, :-1]
    dWx, dWh = torch.tensordot(x, da, ([0, 1], [0, 1])), torch.tensordot(before, da, ([0, 1], [0, 1]))
    return da @ Wx.mT, carried, dWx, dWh, da.sum((0, 1))


def _recursive(x, h0, Wx, Wh, b):
    """The first step, and a recurrent network for the rest."""
    first = torch.tanh(x[:, 0] @ Wx + h0 @ Wh + b)
    if x.shape[1] == 1:
        return first[:, None], (x, h0, Wx, Wh, first, None)
    rest, cache = _recursive(x[:, 1:], first, Wx, Wh, b)
    return torch.cat([first[:, None], rest], 1), (x, h0, Wx, Wh, first, cache)


def _recursive_back(dh, cache):
    x, h0, Wx, Wh, first, rest = cache
    dx, dfirst, dWx, dWh, db = (None, 0, 0, 0, 0) if rest is None else _recursive_back(dh[:, 1:], rest)
    da = (dh[:, 0] + dfirst) * (1 - first**2)
    own = (da @ Wx.T)[:, None]
    dx = own if dx is None else torch.cat([own, dx], 1)
    return dx, da @ Wh.T, dWx + x[:, 0].T @ da, dWh + h0.T @ da, db + da.sum(0)


_FORWARD_FAULTS = _spoilt(
    _forward,
    "batch and time exchanged",
    "stops reading after 4 steps",
    "state of the first sequence for all",
    "state fades",
    "one view of the last state",
    "h0 in front",
)
_BACKWARD_FAULTS = _spoilt(
    _backward,
    "walks forward",
    "starts with the last gradient twice",
    "forgets after 8 steps",
    "last step only",
    "adds dh behind the slope",
    "h0 left out of dWh",
    "dWh from the new state",
    "Wh not turned",
    "carries da",
    "clips on the way",
    "carries the gradient of all steps",
    "dx from behind",
    "dh0 adds dh",
    "no gradient for h0",
    "averages over steps",
)


def _forward_in_place(x, h0, Wx, Wh, b):
    for t in range(x.shape[1]):
        h0 += (x[:, t] @ Wx + h0 @ Wh + b).tanh() - h0
    return _forward(x, h0, Wx, Wh, b)


def _backward_in_place(dh, cache):
    found = _weights_at_once(dh, cache)
    dh[:, 0] += 1
    return found


def _forward_by_torch(x, h0, Wx, Wh, b):
    cell = torch.nn.RNN(x.shape[2], len(Wh), batch_first=True, dtype=x.dtype, device=x.device)
    for parameter, value in zip(cell.parameters(), (Wx.T, Wh.T, b, 0 * b), strict=True):
        parameter.data.copy_(value)
    return cell(x, h0[None])[0], _forward(x, h0, Wx, Wh, b)[1]


rnn_sequence = Hidden(
    cases=[
        sequence_case("one sequence of one step, one feature, one unit", 1, 1, 1, 1),
        sequence_case("one step", 3, 1, 2, 4),
        sequence_case("two steps", 2, 2, 3, 4),
        sequence_case("17 steps", 3, 17, 2, 5),
        sequence_case("17 steps, a gradient at the last one only", 2, 17, 3, 4, last_step_only(2, 17, 4)),
        sequence_case("as many sequences as steps", 4, 4, 3, 5),
        sequence_case("all sizes equal", 3, 3, 3, 3),
        sequence_case("one sequence", 1, 6, 3, 2),
        sequence_case("exploding gradients", 2, 12, 3, 4, Wx=0.01, Wh=2.0),
        sequence_case("gaps in memory", 2, 4, 3, 5).strided(),
        sequence_case("float32", 2, 5, 3, 4).float32(),
    ],
    mutants={
        **{name: (function, _backward) for name, function in _FORWARD_FAULTS.items()},
        **{name: (_forward, function) for name, function in _BACKWARD_FAULTS.items()},
        "changes h0": (_forward_in_place, _backward),
        "changes dh": (_forward, _backward_in_place),
        "uses torch's": (_forward_by_torch, _backward),
        "returns no cache": (lambda *given: _forward(*given)[0], _backward),
        "backward not written": (_forward, lambda dh, cache: None),
    },
    solutions={
        "weights in one product": (_forward, _weights_at_once),
        "recursive": (_recursive, _recursive_back),
    },
    equivalent={
        "rnn_backward: dh[:, 0] -> dh[:, -1]": "only the shape of one step is taken from it",
        "rnn_backward: zip(shared, own, strict=True) -> zip(shared, own)": "both have three entries",
        "rnn_backward: zip(shared, own, strict=True) -> zip(shared, own, strict=False)": "both have three entries",
        "rnn_backward: zip(shared, own, strict=True) -> zip(own, shared, strict=True)": "the two are added",
    },
)
