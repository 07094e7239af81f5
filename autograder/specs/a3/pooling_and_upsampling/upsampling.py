"""Bilinear upsampling."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal


def _weights(length, new_length, like, fault=""):
    """Interpolation along one axis as a matrix (new_length, length), spoilt by one ``fault``."""
    M = torch.zeros(new_length, length, dtype=torch.float64)
    for i in range(new_length):
        t = (i + 0.5) * length / new_length - 0.5
        if fault == "scale the other way round":
            t = (i + 0.5) * new_length / length - 0.5
        if fault == "whole factors only":
            t = (i + 0.5) / max(new_length // length, 1) - 0.5
        if fault == "sizes less one":
            t = (i + 0.5) * (length - 1) / max(new_length - 1, 1) - 0.5
        if fault != "indices limited after rounding down":
            t = min(max(t, 0), length - 1)
        low = math.floor(t)
        if fault == "rounded":
            low = round(t)
        share = t - low
        if fault == "squared share":
            share = share**2
        if fault == "smooth share":
            share = share * share * (3 - 2 * share)
        if fault == "half each":
            share = 0.5 if share > 0 else 0.0
        M[i, min(max(low, 0), length - 1)] += 1 - share
        high = max(low, 0) + 1
        if fault == "last pixel twice":
            high = low
        M[i, min(high, length - 1)] += share
    return M.to(like)


def _resize(x, size, fault=""):
    down, across = (_weights(n, m, x, fault) for n, m in zip(x.shape[2:], size, strict=True))
    if fault == "rows only":
        across = _weights(x.shape[3], size[1], x, "rounded")
    if fault == "flipped":
        down = down.flip(0)
    if fault == "in half precision":
        return (down @ x @ across.T).half()
    return down @ x @ across.T


def _faulty(fault):
    return lambda x, size: _resize(x, size, fault)


def _pixel_by_pixel(x, size):
    (H, W), (rows, columns) = x.shape[2:], size
    lines = []
    for i in range(rows):
        t = min(max((i + 0.5) * H / rows - 0.5, 0), H - 1)
        a = int(t)
        row = []
        for j in range(columns):
            r = min(max((j + 0.5) * W / columns - 0.5, 0), W - 1)
            c = int(r)
            corners = [(a, c), (a, min(c + 1, W - 1)), (min(a + 1, H - 1), c), (min(a + 1, H - 1), min(c + 1, W - 1))]
            shares = [(1 - t + a) * (1 - r + c), (1 - t + a) * (r - c), (t - a) * (1 - r + c), (t - a) * (r - c)]
            row.append(sum(s * x[:, :, h, v] for s, (h, v) in zip(shares, corners, strict=True)))
        lines.append(torch.stack(row, 2))
    return torch.stack(lines, 2)


def _tents(x, size):
    """A pixel's weight is a tent around it; beyond the edge the place is limited first. In float32."""

    def tents(length, new_length):
        t = ((torch.arange(new_length, device=x.device) + 0.5) * (length / new_length) - 0.5).clamp(0, length - 1)
        return (1 - (t[:, None] - torch.arange(length, device=x.device)).abs()).clamp(min=0)

    return torch.einsum("ih,nchw,jw->ncij", tents(x.shape[2], size[0]), x.float(), tents(x.shape[3], size[1]))


def _in_place(x, size):
    x += 1
    return _resize(x, size) - 1


def _case(name, *shape, size):
    return Case(name, x=normal(*shape), size=size)


bilinear_upsample = Hidden(
    cases=[
        _case("one pixel", 2, 3, 1, 1, size=(3, 4)),
        _case("one row", 1, 2, 1, 4, size=(5, 9)),
        _case("one column", 2, 1, 5, 1, size=(7, 3)),
        _case("one image, one channel", 1, 1, 3, 2, size=(5, 7)),
        _case("same size", 2, 2, 3, 4, size=(3, 4)),
        _case("rows stay, columns double", 2, 2, 3, 4, size=(3, 8)),
        _case("smaller", 2, 2, 7, 9, size=(3, 4)),
        _case("smaller in rows, larger in columns", 1, 2, 6, 4, size=(4, 11)),
        _case("to one pixel", 2, 2, 4, 5, size=(1, 1)),
        _case("eightfold", 1, 1, 3, 2, size=(24, 16)),
        _case("one pixel more", 2, 1, 5, 6, size=(6, 7)),
        Case("an edge", x=given([[[[0.0, 0.0, 1.0, 1.0]] * 2]]), size=(4, 8)),
        Case("numbers of 10,000", x=normal(2, 2, 3, 4, mean=1e4), size=(5, 6)),
        _case("non-contiguous", 2, 3, 4, 3, size=(6, 7)).strided(),
        _case("float32", 2, 3, 4, 5, size=(9, 7)).float32(),
    ],
    mutants={
        **{
            fault: _faulty(fault)
            for fault in (
                "scale the other way round",
                "whole factors only",
                "sizes less one",
                "indices limited after rounding down",
                "rounded",
                "squared share",
                "smooth share",
                "half each",
                "last pixel twice",
                "rows only",
                "flipped",
                "in half precision",
            )
        },
        "bicubic": lambda x, size: functional.interpolate(x, size=size, mode="bicubic", align_corners=False),
        "uses torch's": lambda x, size: functional.interpolate(x, size=size, mode="bilinear", align_corners=False),
        "changes x": _in_place,
        "flat": lambda x, size: _resize(x, size).flatten(2),
    },
    solutions={
        "two matrices": _resize,
        "pixel by pixel": _pixel_by_pixel,
        "tents, in float32": _tents,
    },
    equivalent={
        "bilinear_upsample: axis - 2 -> 2 - axis": "size has two entries: -1 is 1",
        "bilinear_upsample: torch.arange(new_length, dtype=x.dtype, device=x.device) "
        "-> torch.arange(new_length, device=x.device)": "places in float32 are exact to far less than a thousandth pixel",
        **{
            f"bilinear_upsample: length - 1 -> {other}": "beyond the last pixel both neighbours are that pixel"
            for other in ("length + 1", "length", "length - 0", "length - -1")
        },
    },
)
