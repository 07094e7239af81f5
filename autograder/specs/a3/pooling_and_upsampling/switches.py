"""Max pooling with switches, and unpooling."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, drawn, normal
from dlcvkit.exercises.a3.pooling_and_upsampling.pooling import grid, pooling
from dlcvkit.exercises.a3.pooling_and_upsampling.switches import unpooling_case

_AXES = "of four axes, axis 2 is axis -2"
_SIZES = "size has two entries"


def _with_switches(x, param, fault=""):
    """Window by window, spoilt by one ``fault``."""
    H, W = x.shape[2:]
    HH, WW, stride = param["height"], param["width"], param["stride"]
    values, switches = [], []
    rows, columns = (H - HH) // stride + 1, (W - WW) // stride + 1
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            window = x[:, :, top : top + HH, left : left + WW].flatten(2)
            place = window.argmax(2)
            if fault == "no place in the window":
                place = 0 * place
            if fault == "stride left out":
                top, left = row, column
            if fault == "rows from the window, columns from the image":
                top = 0
            if fault == "by the height of the window":
                u, v = place // HH, place % HH
            else:
                u, v = place // WW, place % WW
            if fault == "column first":
                u, v = place % HH, place // HH
            switches.append((top + u) * W + left + v + (1 if fault == "from 1 on" else 0))
            values.append(window.amax(2) if fault != "absolute values" else window.abs().amax(2))
    out, found = (torch.stack(each, 2).reshape(*x.shape[:2], rows, columns) for each in (values, switches))
    if fault == "float switches":
        found = found.to(x.dtype)
    if fault == "flat switches":
        found = found.flatten(2)
    if fault == "exchanged":
        return found, out
    if fault == "values from flat images":
        out = x.flatten()[found]
    if fault == "one dimension per image":
        found = found + torch.arange(len(x), device=x.device)[:, None, None, None] * H * W
    return out, found


def _switches_by_coordinates(x, param):
    """A picture of all places is cut into the same windows as x."""
    H, W = x.shape[2:]
    places = torch.arange(H * W, device=x.device).reshape(H, W)
    cut = [
        t.unfold(-2, param["height"], param["stride"]).unfold(-2, param["width"], param["stride"]) for t in (x, places)
    ]
    pixels, places = (t.flatten(-2) for t in cut)
    first = (pixels == pixels.amax(-1, keepdim=True)).float().argmax(-1, keepdim=True)
    out = pixels.gather(-1, first).squeeze(-1)
    return [out, places.expand_as(pixels).gather(-1, first).squeeze(-1)]


def _switches_in_float32(x, param):
    out, switches = _with_switches(x, param)
    return out.float(), switches.int()


def _pool_case(name, *shape, pool, x=None):
    return Case(name, x=x or normal(*shape), pool_param=pool)


def _sparse(g):
    return torch.where(torch.rand(2, 2, 7, 6, generator=g) < 0.2, 1.0, 0.0).double()


max_pool_switches = Hidden(
    cases=[
        _pool_case("one image, one channel", 1, 1, 5, 7, pool=pooling(2, 3, 2)),
        _pool_case("1×1 windows", 2, 3, 3, 4, pool=pooling(1, 1, 1)),
        _pool_case("gaps between windows", 2, 2, 7, 9, pool=pooling(2, 1, 3)),
        _pool_case("the whole image", 2, 3, 3, 5, pool=pooling(3, 5, 4)),
        _pool_case("one row of pixels", 1, 2, 1, 8, pool=pooling(1, 3, 1)),
        _pool_case("one column of pixels", 2, 1, 9, 1, pool=pooling(4, 1, 2)),
        _pool_case("high windows", 1, 2, 9, 6, pool=pooling(5, 2, 2)),
        _pool_case("wide windows", 2, 1, 6, 9, pool=pooling(2, 5, 3)),
        _pool_case("non-contiguous", 2, 3, 6, 5, pool=pooling(3, 2, 2)).strided(),
        _pool_case("float32", 3, 2, 7, 6, pool=pooling(2, 3, 2)).float32(),
        _pool_case("all negative", 2, 2, 5, 7, pool=pooling(3, 3, 2), x=normal(2, 2, 5, 7, mean=-1e5)),
        _pool_case("ties, overlapping", 2, 3, 6, 7, pool=pooling(3, 2, 1), x=grid(2, 3, 6, 7)),
        _pool_case("mostly zeros", 2, 2, 7, 6, pool=pooling(2, 2, 2), x=drawn(_sparse)),
        _pool_case("all equal", 1, 2, 5, 6, pool=pooling(3, 3, 2), x=normal(1, 2, 5, 6, mean=-3.0, std=0.0)),
    ],
    mutants={
        **{
            fault: lambda x, param, fault=fault: _with_switches(x, param, fault)
            for fault in (
                "no place in the window",
                "stride left out",
                "rows from the window, columns from the image",
                "by the height of the window",
                "column first",
                "from 1 on",
                "absolute values",
                "float switches",
                "flat switches",
                "exchanged",
                "values from flat images",
                "one dimension per image",
            )
        },
        "uses torch's": lambda x, p: functional.max_pool2d(
            x, (p["height"], p["width"]), p["stride"], return_indices=True
        ),
        "values alone": lambda x, param: _with_switches(x, param)[0],
        "changes x": lambda x, param: _with_switches(x.sub_(1.0), param),
    },
    solutions={
        "window by window": _with_switches,
        "windows of places, a list": _switches_by_coordinates,
        "in float32 and int32": _switches_in_float32,
    },
    equivalent={"max_pool_with_switches: out.shape[2] -> out.shape[-2]": _AXES},
)


def _unpool(x, switches, size, fault=""):
    """Value by value, spoilt by one ``fault``."""
    H, W = size
    out = torch.zeros(*x.shape[:2], H, W, dtype=x.dtype, device=x.device)
    if fault == "filled with the smallest value":
        out += x.amin()
    if fault == "filled with NaN":
        out += float("nan")
    for n in range(len(x)):
        for c in range(x.shape[1]):
            places = switches[0 if fault == "switches of the first image" else n, c]
            if fault == "switches of the first channel":
                places = switches[n, 0]
            values = x[n, c].mT if fault == "values column by column" else x[n, c]
            for value, place in zip(values.flatten(), places.flatten().tolist(), strict=True):
                h, w = divmod(place, W)
                if fault == "largest value stays":
                    out[n, c, h, w] = max(out[n, c, h, w], value)
                elif fault == "mirrored":
                    out[n, c, H - 1 - h, W - 1 - w] = value
                elif fault == "absolute values":
                    out[n, c, h, w] = value.abs()
                else:
                    out[n, c, h, w] = value
    if fault == "in float32 only":
        return out.half()
    return out


def _unpool_by_one_hot(x, switches, size):
    hot = functional.one_hot(switches.flatten(2), size[0] * size[1]).to(x.dtype)
    hot = hot / hot.sum(2, keepdim=True).clamp(min=1)  # several windows, one value
    return (x.flatten(2)[:, :, None] @ hot).reshape(*x.shape[:2], *size)


def _unpool_by_index(x, switches, size):
    out = x.new_zeros(*x.shape[:2], *size).float()
    n = torch.arange(len(x), device=x.device)[:, None, None, None]
    c = torch.arange(x.shape[1], device=x.device)[:, None, None]
    row = torch.div(switches, size[1], rounding_mode="floor")
    out[n, c, row, switches - row * size[1]] = x.float()
    return out


def _twice_the_size(x, switches, size):
    return _unpool(x, switches, (2 * x.shape[2], 2 * x.shape[3]))


def _changes_the_switches(x, switches, size):
    switches %= size[0] * size[1] - 1
    return _unpool(x, switches, size)


def _ties(g, shape):
    return torch.randint(2, shape, generator=g).double()


def _negative(g, shape):
    return torch.randn(shape, generator=g, dtype=torch.float64) - 50


max_unpool = Hidden(
    cases=[
        unpooling_case("one image, one channel", 1, 1, 6, 4, pool=pooling(2, 2, 2), seed=1),
        unpooling_case("1×1 windows", 2, 2, 3, 4, pool=pooling(1, 1, 1), seed=2),
        unpooling_case("gaps between windows", 2, 2, 7, 9, pool=pooling(2, 1, 3), seed=4),
        unpooling_case("one window", 3, 2, 4, 5, pool=pooling(4, 5, 1), seed=5),
        unpooling_case("one row of pixels", 1, 3, 1, 9, pool=pooling(1, 2, 2), seed=6),
        unpooling_case("one column of pixels", 2, 1, 9, 1, pool=pooling(3, 1, 2), seed=7),
        unpooling_case("overlapping by two", 2, 2, 6, 7, pool=pooling(3, 3, 1), seed=8),
        unpooling_case("overlapping, ties", 2, 3, 6, 7, pool=pooling(3, 2, 1), seed=9, of=_ties),
        unpooling_case("all negative", 2, 2, 5, 6, pool=pooling(3, 3, 1), seed=10, of=_negative),
        unpooling_case("more rows than were pooled", 2, 2, 4, 6, pool=pooling(2, 2, 2), size=(9, 6), seed=11),
        unpooling_case("wider than high", 2, 2, 4, 10, pool=pooling(2, 2, 2), seed=12),
        unpooling_case("non-contiguous", 2, 3, 6, 4, pool=pooling(2, 2, 2), seed=13).strided(),
        unpooling_case("float32", 2, 3, 5, 7, pool=pooling(3, 2, 2), seed=14).float32(),
        Case(
            "windows and switches unrelated",
            x=normal(2, 3, 2, 2),
            switches=drawn(
                lambda g: torch.stack([torch.randperm(15, generator=g)[:4] for _ in range(6)]).reshape(2, 3, 2, 2)
            ),
            size=(5, 3),
        ),
    ],
    mutants={
        **{
            fault: lambda x, switches, size, fault=fault: _unpool(x, switches, size, fault)
            for fault in (
                "filled with the smallest value",
                "filled with NaN",
                "switches of the first image",
                "switches of the first channel",
                "values column by column",
                "largest value stays",
                "mirrored",
                "absolute values",
                "in float32 only",
            )
        },
        "twice the size": _twice_the_size,
        "changes the switches": _changes_the_switches,
        "uses torch's": lambda x, switches, size: functional.max_unpool2d(x, switches, 2, output_size=size),
    },
    solutions={
        "value by value": _unpool,
        "one-hot rows": _unpool_by_one_hot,
        "rows and columns, in float32": _unpool_by_index,
    },
    equivalent={
        "max_unpool: x.shape[:2] -> x.shape[:-2]": _AXES,
        "max_unpool: size[1] -> size[-1]": _SIZES,
        "max_unpool: size[1] -> size[-1] #2": _SIZES,
        "max_unpool: switches.flatten(2) -> switches.flatten(-2)": _AXES,
        "max_unpool: x.flatten(2) -> x.flatten(-2)": _AXES,
    },
)
