"""A fully-connected layer as a convolution."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, normal


def _loops(W, b, shape, fault=""):
    """Weight by weight, spoilt by one ``fault``."""
    C, H, width = shape
    w = torch.zeros(W.shape[1], C, H, width, dtype=W.dtype, device=W.device)
    for c in range(C):
        for h in range(H):
            for v in range(width):
                place = (c * H + h) * width + v
                if fault == "rows as long as columns":
                    place = ((c * H + h) * H + v) % len(W)
                if fault == "pixels column by column":
                    place = (c * width + v) * H + h
                if fault == "channels inside":
                    place = (h * width + v) * C + c
                w[:, c, h, v] = W[place]
    if fault == "divided by the pixels":
        w = w / (H * width)
    if fault == "outputs in reverse":
        w = w.flip(0)
    if fault == "channels and outputs exchanged":
        w = w.transpose(0, 1)
    if fault == "half precision":
        w = w.half()
    if fault == "filters alone":
        return w
    if fault == "bias first":
        return b, w
    if fault == "bias divided":
        b = b / (H * width)
    if fault == "bias as a column":
        b = b[:, None]
    return w, b


def _by_einsum(W, b, shape):
    units = torch.eye(len(W), dtype=W.dtype, device=W.device).reshape(-1, *shape)
    return [torch.einsum("dchw,dm->mchw", units, W), b.clone()]


def _in_place(W, b, shape):
    b += 1
    return _loops(W, b - 1, shape)


def _case(name, outputs, *shape):
    C, H, W = shape
    return Case(name, W=normal(C * H * W, outputs), b=normal(outputs), shape=tuple(shape))


fc_to_conv = Hidden(
    cases=[
        _case("one of everything", 1, 1, 1, 1),
        _case("one channel", 4, 1, 3, 5),
        _case("one output", 1, 3, 2, 4),
        _case("one row of pixels", 3, 2, 1, 6),
        _case("one column of pixels", 3, 2, 5, 1),
        _case("square", 7, 3, 4, 4),
        _case("as many outputs as features", 24, 4, 2, 3),
        _case("more outputs than features", 20, 2, 3, 2),
        _case("non-contiguous", 5, 3, 2, 4).strided(),
        _case("float32", 6, 2, 4, 3).float32(),
        Case("numbers of 10,000", W=normal(12, 3, std=1e4), b=normal(3, std=1e4), shape=(2, 3, 2)),
    ],
    mutants={
        **{
            fault: lambda W, b, shape, fault=fault: _loops(W, b, shape, fault)
            for fault in (
                "rows as long as columns",
                "pixels column by column",
                "channels inside",
                "divided by the pixels",
                "outputs in reverse",
                "channels and outputs exchanged",
                "half precision",
                "filters alone",
                "bias first",
                "bias divided",
                "bias as a column",
            )
        },
        "changes b": _in_place,
    },
    solutions={
        "weight by weight": _loops,
        "einsum with unit features, a list": _by_einsum,
        "unflatten, in float32": lambda W, b, shape: (W.float().unflatten(0, shape).movedim(-1, 0), b.float()),
    },
    equivalent={"fc_to_conv: W.shape[1] -> W.shape[-1]": "W has two axes"},
)
