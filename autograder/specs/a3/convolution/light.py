"""1×1 and depthwise separable convolutions."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal

from .fast import _backward as conv_backward
from .fast import _forward as conv_forward
from .naive import by_views

# pointwise_conv.


def _pointwise(x, w, b):
    return torch.einsum("fc,ncuv->nfuv", w, x) + b[:, None, None]


def _looping(x, w, b):
    return torch.stack([(w[f, :, None, None] * x).sum(1) + b[f] for f in range(len(w))], dim=1)


def _in_place(x, w, b):
    x *= 1.5
    return _pointwise(x / 1.5, w, b)


pointwise_conv = Hidden(
    cases=[
        Case("one image", x=normal(1, 3, 4, 5), w=normal(2, 3), b=normal(2)),
        Case("one channel", x=normal(2, 1, 3, 4), w=normal(5, 1), b=normal(5)),
        Case("one filter", x=normal(2, 4, 3, 2), w=normal(1, 4), b=normal(1)),
        Case("one pixel", x=normal(3, 4, 1, 1), w=normal(2, 4), b=normal(2)),
        Case("as many filters as columns", x=normal(2, 3, 5, 4), w=normal(4, 3), b=normal(4)),
        Case("everything of size 3", x=normal(3, 3, 3, 3), w=normal(3, 3), b=normal(3)),
        Case("non-contiguous", x=normal(2, 3, 5, 4), w=normal(2, 3), b=normal(2)).strided(),
        Case("float32", x=normal(2, 3, 5, 4), w=normal(4, 3), b=normal(4)).float32(),
        Case("numbers of 10,000", x=normal(2, 3, 4, 5, std=1e4), w=normal(2, 3, std=1e2), b=normal(2, std=1e6)),
    ],
    mutants={
        "a loop over filters": _looping,
        "uses torch's": lambda x, w, b: functional.conv2d(x, w[:, :, None, None], b),
        "changes x": _in_place,
        "view": lambda x, w, b: (
            (w @ x.view(len(x), x.shape[1], -1)).view(len(x), len(w), *x.shape[2:]) + b[:, None, None]
        ),
        "squeezed": lambda x, w, b: _pointwise(x, w, b).squeeze(),
        "bias of the first filter": lambda x, w, b: _pointwise(x, w, b[:1].expand_as(b)),
        "bias subtracted": lambda x, w, b: _pointwise(x, w, -b),
        "images mixed": lambda x, w, b: _pointwise(x.reshape(x.shape[1], len(x), *x.shape[2:]).transpose(0, 1), w, b),
        "first channel only": lambda x, w, b: _pointwise(x[:, :1], w[:, :1], b),
        "flat": lambda x, w, b: _pointwise(x, w, b).flatten(2),
    },
    solutions={
        "einsum": _pointwise,
        "channels last, linear": lambda x, w, b: functional.linear(x.movedim(1, 3), w, b).movedim(3, 1),
        "float32, tensordot": lambda x, w, b: (
            torch.tensordot(w.float(), x.float(), ([1], [1])).transpose(0, 1) + b.float()[:, None, None]
        ),
    },
    equivalent={
        "pointwise_conv: x.flatten(2) -> x.flatten(-2)": "x has four axes, so axis 2 is axis -2",
        "pointwise_conv: x.shape[2:] -> x.shape[-2:]": "x has four axes, so those from 2 on are the last two",
    },
)


# depthwise_separable.


def _forward(x, w_depth, w_point, b, conv_param, fault=""):
    """The output, spoilt by one ``fault``."""
    C = len(w_depth)
    settings = {**conv_param, "groups": C}
    if fault == "settings for the second step":
        middle, first = conv_forward(x, w_depth[:, None], w_depth.new_zeros(C), {"groups": C})
        out, second = conv_forward(middle, w_point[:, :, None, None], b, conv_param)
        return out, (first, second)
    if fault == "settings for both steps":
        middle, first = conv_forward(x, w_depth[:, None], w_depth.new_zeros(C), settings)
        out, second = conv_forward(middle, w_point[:, :, None, None], b, conv_param)
        return out, (first, second)
    kernels = w_depth.flip(0) if fault == "kernels in reverse" else w_depth
    if fault == "kernels turned":
        kernels = w_depth.flip(1, 2)
    middle, first = conv_forward(x, kernels[:, None], w_depth.new_zeros(C), settings)
    if fault == "ReLU in between":
        middle = middle.clamp(min=0)
    if fault == "input added" and middle.shape == x.shape:
        middle = middle + x
    mixture = w_point.T if fault == "mixture transposed" and len(w_point) == C else w_point
    out, second = conv_forward(middle, mixture[:, :, None, None], b, {})
    return out, (first, second)


def _backward(dout, cache, fault=""):
    """The gradients, spoilt by one ``fault``."""
    first, second = cache
    dmiddle, dw_point, db = conv_backward(dout, second)
    if fault == "upstream of the first step is ones":
        dmiddle = torch.ones_like(dmiddle)
    dx, dw_depth, _ = conv_backward(dmiddle, first)
    dw_depth, dw_point = dw_depth[:, 0], dw_point[:, :, 0, 0]
    if fault == "dx in between":
        dx = dmiddle
    if fault == "dw_point transposed":
        dw_point = dw_point.T
    if fault == "dw_depth summed":
        dw_depth = dw_depth.sum(0, keepdim=True).expand_as(dw_depth)
    if fault == "three gradients":
        return dx, dw_depth, dw_point
    if fault == "opposite sign":
        return -dx, -dw_depth, -dw_point, -db
    if fault == "db with axes":
        db = db[:, None, None]
    return dx, dw_depth, dw_point, db


def _changing_settings(x, w_depth, w_point, b, conv_param):
    conv_param["groups"] = len(w_depth)
    return _forward(x, w_depth, w_point, b, conv_param)


def _as_one_kernel(x, w_depth, w_point, b, conv_param):
    """The product of both steps as the kernel of an ordinary convolution."""
    full = w_point[:, :, None, None] * w_depth
    out, cache = conv_forward(x, full, b, conv_param)
    return out, (w_depth, w_point, cache)


def _back_as_one_kernel(dout, cache):
    w_depth, w_point, inner = cache
    dx, full, db = conv_backward(dout, inner)
    return dx, (full * w_point[:, :, None, None]).sum(0), (full * w_depth).sum((2, 3)), db


def _by_views_and_einsum(x, w_depth, w_point, b, conv_param):
    C = len(w_depth)
    settings = {**conv_param, "groups": C}
    middle, (windows, *_) = by_views(x.float(), w_depth[:, None].float(), x.new_zeros(C).float(), settings)
    _, first = conv_forward(x.float(), w_depth[:, None].float(), x.new_zeros(C).float(), settings)
    out = torch.einsum("ncij,fc->nfij", middle, w_point.float()) + b.float()[:, None, None]
    return [out, {"middle": middle, "windows": windows, "first": first, "w_point": w_point.float()}]


def _back_by_einsum(dout, cache):
    d = dout.float()
    dmiddle = torch.einsum("nfij,fc->ncij", d, cache["w_point"])
    dw_depth = torch.einsum("ncij,ncijpq->cpq", dmiddle, cache["windows"][:, :, 0])
    dx = conv_backward(dmiddle, cache["first"])[0]
    return [dx, dw_depth, torch.einsum("nfij,ncij->fc", d, cache["middle"]), d.sum((0, 2, 3))]


_FORWARD = [
    "settings for the second step",
    "settings for both steps",
    "kernels in reverse",
    "kernels turned",
    "ReLU in between",
    "mixture transposed",
]
_BACKWARD = [
    "upstream of the first step is ones",
    "dx in between",
    "dw_point transposed",
    "dw_depth summed",
    "three gradients",
    "opposite sign",
    "db with axes",
]


def _case(name, x, kernel, filters, dout, **conv_param):
    return Case(
        name,
        x=normal(*x),
        w_depth=normal(x[1], *kernel),
        w_point=normal(filters, x[1]),
        b=normal(filters),
        conv_param=conv_param,
        dout=normal(x[0], filters, *dout),
    )


depthwise_separable = Hidden(
    cases=[
        _case("no settings", (2, 3, 4, 5), (2, 3), 4, (3, 3)),
        _case("one image, one channel, one filter", (1, 1, 4, 3), (3, 2), 1, (2, 2)),
        _case("one filter", (2, 3, 4, 4), (2, 2), 1, (3, 3)),
        _case("one channel", (2, 1, 4, 5), (2, 3), 3, (3, 3)),
        _case("1×1 in both steps", (2, 3, 3, 2), (1, 1), 2, (3, 2)),
        _case("as many filters as channels, size kept", (2, 3, 4, 5), (3, 3), 3, (4, 5), pad=1),
        _case("everything at once", (2, 4, 7, 8), (3, 2), 3, (4, 5), stride=2, pad=2, dilation=2),
        _case("padding larger than the kernel", (1, 2, 3, 2), (1, 2), 3, (5, 4), pad=3, stride=2),
        _case("non-contiguous", (2, 3, 5, 4), (3, 2), 2, (3, 3), stride=2, pad=1).strided(),
        _case("float32", (2, 2, 5, 4), (2, 3), 3, (4, 2)).float32(),
    ],
    mutants={
        **{name: (lambda *a, name=name: _forward(*a, name), _backward) for name in _FORWARD},
        **{name: (_forward, lambda *a, name=name: _backward(*a, name)) for name in _BACKWARD},
        "input added": (lambda *a: _forward(*a, "input added"), _backward),
        "changes the settings": (_changing_settings, _backward),
        "uses torch's": (
            lambda x, w_depth, w_point, b, conv_param: (
                functional.conv2d(_forward(x, w_depth, w_point, b, conv_param)[1][1][0], w_point[:, :, None, None], b),
                _forward(x, w_depth, w_point, b, conv_param)[1],
            ),
            _backward,
        ),
        "backward not written": (_forward, lambda dout, cache: None),
    },
    solutions={
        "one ordinary convolution": (_as_one_kernel, _back_as_one_kernel),
        "views and einsum, float32": (_by_views_and_einsum, _back_by_einsum),
        "two matrix products": (_forward, _backward),
    },
    equivalent={
        "depthwise_separable_backward: dw_depth[:, 0] -> dw_depth[:, -1]": "the axis has length 1",
        "depthwise_separable_backward: dw_point[:, :, 0, 0] -> dw_point[:, :, -1, 0]": "the axis has length 1",
        "depthwise_separable_backward: dw_point[:, :, 0, 0] -> dw_point[:, :, 0, -1]": "the axis has length 1",
    },
)
