"""Hidden cases of the conversion from torch's layout and of the parameter count."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, normal


def _case(name, D, H):
    return Case(
        name,
        weight_ih=normal(4 * H, D),
        weight_hh=normal(4 * H, H),
        bias_ih=normal(4 * H),
        bias_hh=normal(4 * H),
    )


def _in_course_order(w):
    i, f, g, o = w.chunk(4)
    return torch.cat([i, f, o, g])


def _right(weight_ih, weight_hh, bias_ih, bias_hh):
    return _in_course_order(weight_ih).T, _in_course_order(weight_hh).T, _in_course_order(bias_ih + bias_hh)


def _by_index(weight_ih, weight_hh, bias_ih, bias_hh):
    H = weight_hh.shape[1]
    rows = torch.arange(4 * H, device=bias_ih.device)
    rows[2 * H :] = rows[2 * H :].roll(H)
    return weight_ih[rows].mT, weight_hh[rows].mT, bias_ih[rows] + bias_hh[rows]


def _by_copying(weight_ih, weight_hh, bias_ih, bias_hh):
    H = weight_hh.shape[1]
    Wx, Wh = weight_ih.t().clone(), weight_hh.t().clone()
    b = bias_ih.clone()
    b += bias_hh
    for new, old in ((Wx, weight_ih.t()), (Wh, weight_hh.t())):
        new[:, 2 * H : 3 * H] = old[:, 3 * H :]
        new[:, 3 * H :] = old[:, 2 * H : 3 * H]
    return Wx, Wh, torch.cat([b[: 2 * H], b[3 * H :], b[2 * H : 3 * H]])


def _by_axes(weight_ih, weight_hh, bias_ih, bias_hh):
    def arranged(w):
        return w.unflatten(0, (4, -1))[[0, 1, 3, 2]].flatten(0, 1)

    return (
        torch.einsum("kd->dk", arranged(weight_ih)),
        torch.einsum("kh->hk", arranged(weight_hh)),
        arranged(bias_ih + bias_hh),
    )


def _wrong_bias(change):
    return lambda *given: (*_right(*given)[:2], change(*given))


def _transposed_if_needed(w, size):
    return w.T if w.shape[0] != size else w


def _in_place(weight_ih, weight_hh, bias_ih, bias_hh):
    return _right(weight_ih, weight_hh, bias_ih.add_(bias_hh), 0 * bias_hh)


from_torch_lstm = Hidden(
    cases=[
        _case("one unit", 3, 1),
        _case("one feature", 1, 4),
        _case("non-contiguous", 4, 3).strided(),
        _case("float32", 2, 5).float32(),
    ],
    mutants={
        "orders the weights and not the bias": _wrong_bias(lambda wi, wh, bi, bh: bi + bh),
        "orders only the bias": lambda wi, wh, bi, bh: (wi.T, wh.T, _in_course_order(bi + bh)),
        "orders one of the two biases": _wrong_bias(lambda wi, wh, bi, bh: _in_course_order(bi) + bh),
        "subtracts the biases": _wrong_bias(lambda wi, wh, bi, bh: _in_course_order(bi - bh)),
        "drops bias_ih": _wrong_bias(lambda wi, wh, bi, bh: _in_course_order(bh)),
        "rolls all blocks": lambda *given: tuple(each.roll(1, -1) for each in _right(*given)),
        "transposes only what does not look right": lambda wi, wh, bi, bh: (
            _transposed_if_needed(_in_course_order(wi), wi.shape[1]),
            _transposed_if_needed(_in_course_order(wh), wh.shape[1]),
            _in_course_order(bi + bh),
        ),
        "weights swapped": lambda *given: (_right(*given)[1], _right(*given)[0], _right(*given)[2]),
        "adds in place": _in_place,
        "returns the weights only": lambda *given: _right(*given)[:2],
    },
    solutions={"by index": _by_index, "by copying blocks": _by_copying, "by axes": _by_axes},
    equivalent={
        "from_torch_lstm: torch.arange(len(bias_ih), device=bias_ih.device) -> torch.arange(len(bias_ih))": (
            "indices on the CPU may index a tensor on any device"
        )
    },
)


_GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def _all_tensors(kind, D, H):
    shapes = [(D, _GATES[kind] * H), (H, _GATES[kind] * H), (_GATES[kind] * H,)]
    shapes += [(3 * H,)] if kind == "gru" else []
    return sum(torch.empty(shape, device="meta").numel() for shape in shapes)


def _by_cases(kind, D, H):
    if kind == "rnn":
        return H * D + H * H + H
    if kind == "lstm":
        return 4 * H * D + 4 * H * H + 4 * H
    return 3 * H * D + 3 * H * H + 6 * H


def _counted(gates=_GATES, biases=lambda kind: 1 + (kind == "gru")):
    return lambda kind, D, H: gates[kind] * H * (D + H + biases(kind))


count_recurrent_parameters = Hidden(
    cases=[
        Case("one of everything", kind="gru", D=1, H=1),
        Case("a large lstm", kind="lstm", D=512, H=1024),
        Case("a large gru", kind="gru", D=512, H=1024),
        Case("a large rnn", kind="rnn", D=300, H=1000),
        Case("more features than units", kind="lstm", D=9, H=1),
    ],
    mutants={
        "three gates in an lstm": _counted({"rnn": 1, "lstm": 3, "gru": 3}),
        "two gates in a gru": _counted({"rnn": 1, "lstm": 4, "gru": 2}),
        "two biases in an lstm": _counted(biases=lambda kind: 1 + (kind != "rnn")),
        "a cell's weights besides": lambda kind, D, H: _by_cases(kind, D, H) + H * H * (kind == "lstm"),
        "a gru's second bias for the candidate alone": lambda kind, D, H: (
            _by_cases(kind, D, H) - 2 * H * (kind == "gru")
        ),
        "features and units swapped": lambda kind, D, H: _by_cases(kind, H, D),
        "says it in words": lambda kind, D, H: f"{_by_cases(kind, D, H)}",
        "an rnn like an lstm": lambda kind, D, H: _by_cases("lstm" if kind == "rnn" else kind, D, H),
    },
    solutions={"from shapes": _all_tensors, "case by case": _by_cases, "by a formula": _counted()},
)
