"""Convolution by definition: one family of loops, spoilt in many ways."""

from __future__ import annotations

from itertools import product

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal

INDICES = "indices on the CPU may index a tensor on any device"


def settings_of(conv_param):
    return [
        conv_param.get(name, default) for name, default in (("stride", 1), ("pad", 0), ("dilation", 1), ("groups", 1))
    ]


def _forward(x, w, b, conv_param, fault=""):
    """The output, spoilt by one ``fault``."""
    stride, pad, dilation, groups = settings_of(conv_param)
    if fault == "stride not smaller than 2":
        stride = max(stride, 2) if "stride" in conv_param else stride
    if fault == "default stride 2":
        stride = conv_param.get("stride", 2)
    if fault == "default padding 1":
        pad = conv_param.get("pad", 1)
    if fault == "padding capped by the kernel":
        pad = min(pad, w.shape[2] - 1)
    if fault == "square kernel":
        w = w[..., : w.shape[2], : w.shape[2]]
    (N, _, H, W), (F, depth, HH, WW) = x.shape, w.shape
    wide = x.new_zeros(*x.shape[:2], H + 2 * pad, W + 2 * pad)
    wide[:, :, pad : pad + H, pad : pad + W] = x
    if fault == "padding of ones":
        wide = functional.pad(x, (pad,) * 4, value=1.0)
    high = (H + 2 * pad - dilation * (HH - 1) - 1) // stride + 1
    broad = (W + 2 * pad - dilation * (WW - 1) - 1) // stride + 1
    if fault == "height for width":
        broad = high
    out = x.new_zeros(N, F, high, broad)
    for f, i, j in product(range(F), range(high), range(broad)):
        start = f * groups // F * depth
        if fault == "group of f modulo G":
            start = f % groups * depth
        if fault == "group by channels":
            start = min(f * depth, x.shape[1] - depth)
        window = wide[:, start : start + depth, i * stride :, j * stride :]
        window = window[:, :, : dilation * HH : dilation, : dilation * WW : dilation]
        if fault == "kernel transposed" and HH == WW:
            window = window.mT
        out[:, f, i, j] = (window * w[f]).sum((1, 2, 3)) + b[f]
        if fault == "bias of the first filter":
            out[:, f, i, j] += b[0] - b[f]
    if fault == "last row missing":
        out[:, :, -1] = 0
    if fault == "positive outputs only":
        out = out.clamp(min=0)
    if fault == "bias subtracted":
        out = out - 2 * b[:, None, None]
    return out, (wide, x.shape, w, conv_param)


def _backward(dout, cache, fault=""):
    """The gradients, spoilt by one ``fault``."""
    wide, shape, w, conv_param = cache
    stride, pad, dilation, groups = settings_of(conv_param)
    (_, _, H, W), (F, depth, HH, WW) = shape, w.shape
    dwide, dw = torch.zeros_like(wide), torch.zeros_like(w)
    for f, i, j in product(range(F), range(dout.shape[2]), range(dout.shape[3])):
        start = f * groups // F * depth
        if fault == "dx into the first group":
            start = 0
        here = slice(start, start + depth)
        tall = slice(i * stride, i * stride + dilation * HH, dilation)
        across = slice(j * stride, j * stride + dilation * WW, dilation)
        if fault == "dx without dilation":
            tall, across = slice(i * stride, i * stride + HH), slice(j * stride, j * stride + WW)
        if fault == "dx without stride":
            tall, across = slice(i, i + dilation * HH, dilation), slice(j, j + dilation * WW, dilation)
        told = dout[:, f, i, j, None, None, None]
        kernel = w[f].flip(1, 2) if fault == "dx with the kernel turned" else w[f]
        if fault == "dx assigned":
            dwide[:, here, tall, across] = told * kernel
        else:
            dwide[:, here, tall, across] += told * kernel
        seen = wide[:, start : start + depth, i * stride :, j * stride :]
        seen = seen[:, :, : dilation * HH : dilation, : dilation * WW : dilation]
        dw[f] += (told * seen).sum(0)
    db = dout.sum((0, 2, 3))
    if fault == "dw as large as x is deep":
        dw = dw.repeat(1, groups, 1, 1)
    if fault == "dw divided by places":
        dw = dw / dout[0, 0].numel()
    if fault == "db as a column":
        db = db[:, None]
    dx = dwide[:, :, pad : pad + H, pad : pad + W]
    if fault == "dx cut from behind":
        dx = dwide[:, :, pad:-pad, pad:-pad]
    if fault == "dx averaged over filters":
        dx = dx / F
    if fault == "opposite sign":
        dx, dw, db = -dx, -dw, -db
    if fault == "dw first":
        return dw, dx, db
    if fault == "two gradients":
        return dx, dw
    return dx, dw, db


FORWARD_FAULTS = """stride not smaller than 2, default stride 2, default padding 1, padding capped by the kernel,
    square kernel, padding of ones, height for width, group of f modulo G, group by channels, kernel transposed,
    bias of the first filter, last row missing, positive outputs only, bias subtracted"""
BACKWARD_FAULTS = """dx into the first group, dx without dilation, dx without stride, dx with the kernel turned,
    dx assigned, dw as large as x is deep, dw divided by places, db as a column, dx cut from behind,
    dx averaged over filters, opposite sign, dw first, two gradients"""


def faults(names):
    return [" ".join(name.split()) for name in names.split(",")]


def _by_entries(x, w, b, conv_param):
    """Loops over the entries of the kernel instead of the places, and one group after the other."""
    stride, pad, dilation, groups = settings_of(conv_param)
    wide = functional.pad(x, [pad] * 4)
    high = (wide.shape[2] - dilation * (w.shape[2] - 1) - 1) // stride + 1
    broad = (wide.shape[3] - dilation * (w.shape[3] - 1) - 1) // stride + 1
    parts = []
    for kernels, channels in zip(w.chunk(groups), wide.chunk(groups, dim=1), strict=True):
        total = 0.0
        for p, q in product(range(w.shape[2]), range(w.shape[3])):
            seen = channels[:, :, p * dilation :, q * dilation :]
            seen = seen[:, :, : stride * high : stride, : stride * broad : stride]
            total = total + torch.einsum("ncij,fc->nfij", seen, kernels[:, :, p, q])
        parts.append(total)
    return torch.cat(parts, 1) + b.reshape(-1, 1, 1), {"x": x, "w": w, "settings": (stride, pad, dilation, groups)}


def _back_by_entries(dout, cache):
    stride, pad, dilation, groups = cache["settings"]
    x, w = cache["x"], cache["w"]
    wide = functional.pad(x, [pad] * 4)
    dwide, dw = torch.zeros_like(wide), torch.zeros_like(w)
    high, broad = dout.shape[2:]
    for g, upstream in enumerate(dout.chunk(groups, dim=1)):
        own = slice(g * w.shape[1], (g + 1) * w.shape[1])
        filters = slice(g * upstream.shape[1], (g + 1) * upstream.shape[1])
        for p, q in product(range(w.shape[2]), range(w.shape[3])):
            tall = slice(p * dilation, p * dilation + stride * high, stride)
            across = slice(q * dilation, q * dilation + stride * broad, stride)
            dw[filters, :, p, q] = torch.einsum("nfij,ncij->fc", upstream, wide[:, own, tall, across])
            dwide[:, own, tall, across] += torch.einsum("nfij,fc->ncij", upstream, w[filters, :, p, q])
    bottom, right = dwide.shape[2] - pad, dwide.shape[3] - pad
    return [dwide[:, :, pad:bottom, pad:right], dw, torch.einsum("nfij->f", dout)]


def by_views(x, w, b, conv_param):
    """All windows as a view of the image."""
    stride, pad, dilation, groups = settings_of(conv_param)
    wide = functional.pad(x, (pad, pad, pad, pad))
    lengths = [dilation * (k - 1) + 1 for k in w.shape[2:]]
    windows = wide.unfold(2, lengths[0], stride).unfold(3, lengths[1], stride)[..., ::dilation, ::dilation]
    windows = windows.unflatten(1, (groups, -1))  # (N, G, C / G, H', W', HH, WW)
    filters = w.unflatten(0, (groups, -1))
    out = torch.einsum("ngcijpq,gfcpq->ngfij", windows, filters).flatten(1, 2)
    return out + b[:, None, None], (windows, filters, x, w, conv_param)


def _back_by_views(dout, cache):
    """dx by a sum over all pairs of output and pixel, of which most do not belong together."""
    windows, filters, x, w, conv_param = cache
    stride, pad, dilation, groups = settings_of(conv_param)
    upstream = dout.unflatten(1, (groups, -1))
    dw = torch.einsum("ngfij,ngcijpq->gfcpq", upstream, windows).flatten(0, 1)

    def meets(places, entries, pixels):
        at = torch.arange(places, device=x.device)[:, None, None] * stride - pad
        at = at + torch.arange(entries, device=x.device)[None, :, None] * dilation
        return (at == torch.arange(pixels, device=x.device)).to(x.dtype)

    rows = meets(dout.shape[2], w.shape[2], x.shape[2])
    columns = meets(dout.shape[3], w.shape[3], x.shape[3])
    dx = torch.einsum("ngfij,gfcpq,ipu,jqv->ngcuv", upstream, filters, rows, columns).flatten(1, 2)
    return dx, dw, dout.flatten(2).sum((0, 2))


def in_float32(forward, backward):
    def lower(x, w, b, conv_param):
        out, cache = forward(x.float(), w.float(), b.float(), conv_param)
        return out, cache

    return lower, lambda dout, cache: backward(dout.float(), cache)


def case(name, x, w, dout, **conv_param):
    return Case(name, x=normal(*x), w=normal(*w), b=normal(w[0]), conv_param=conv_param, dout=normal(x[0], w[0], *dout))


CASES = [
    case("no settings", (2, 2, 4, 5), (3, 2, 2, 3), (3, 3)),
    case("one image, one channel, one filter", (1, 1, 4, 3), (1, 1, 3, 2), (2, 2)),
    case("the window is the whole image", (2, 3, 3, 4), (2, 3, 3, 4), (1, 1)),
    case("1×1", (2, 3, 3, 2), (2, 3, 1, 1), (3, 2)),
    case("1×1 with a stride", (2, 2, 5, 4), (3, 2, 1, 1), (3, 2), stride=2),
    case("padding larger than the kernel", (1, 1, 3, 2), (2, 1, 1, 2), (5, 4), pad=3, stride=2),
    case("a stride larger than the window", (2, 1, 7, 8), (2, 1, 2, 2), (2, 2), stride=4),
    case("a dilated window that overlaps itself", (1, 2, 7, 8), (2, 2, 3, 2), (3, 6), dilation=2),
    case("as many groups as channels", (2, 3, 5, 4), (3, 1, 2, 3), (4, 2), groups=3),
    case("two filters per channel", (2, 3, 4, 4), (6, 1, 2, 2), (3, 3), groups=3),
    case("two groups of three filters", (2, 4, 4, 3), (6, 2, 3, 2), (2, 2), groups=2),
    case("everything at once", (2, 4, 7, 8), (4, 2, 3, 2), (4, 5), stride=2, pad=2, dilation=2, groups=2),
    case(
        "stride, padding and dilation that leave pixels over",
        (1, 2, 8, 6),
        (3, 2, 2, 3),
        (3, 2),
        stride=3,
        pad=1,
        dilation=2,
    ),
    case("as many filters as places", (2, 2, 3, 4), (4, 2, 2, 3), (2, 2)),
    case("square kernel", (2, 2, 4, 5), (3, 2, 2, 2), (3, 4)),
    case("non-contiguous", (2, 3, 5, 4), (2, 3, 3, 2), (3, 3), stride=2, pad=1).strided(),
    case("float32", (2, 2, 5, 4), (3, 2, 2, 3), (4, 2)).float32(),
    Case(
        "numbers of 10,000",
        x=normal(2, 2, 4, 5, std=1e4),
        w=normal(2, 2, 3, 2, std=1e2),
        b=normal(2, std=1e6),
        conv_param={"pad": 1},
        dout=normal(2, 2, 4, 6, std=1e-3),
    ),
    Case(
        "no gradient from above",
        x=normal(1, 2, 3, 4),
        w=normal(2, 2, 2, 2),
        b=normal(2),
        conv_param={},
        dout=normal(1, 2, 2, 3, std=0.0),
    ),
]


def _changes_x(x, w, b, conv_param):
    x -= 1
    return _forward(x, w, b, conv_param)


def _changes_settings(x, w, b, conv_param):
    conv_param["stride"] = conv_param.get("stride", 1)
    return _forward(x, w, b, conv_param)


def _wants_all_settings(x, w, b, conv_param):
    conv_param["stride"], conv_param["pad"]
    return _forward(x, w, b, conv_param)


conv_naive = Hidden(
    cases=CASES,
    mutants={
        **{name: (lambda *a, name=name: _forward(*a, name), _backward) for name in faults(FORWARD_FAULTS)},
        **{name: (_forward, lambda *a, name=name: _backward(*a, name)) for name in faults(BACKWARD_FAULTS)},
        "changes x": (_changes_x, _backward),
        "changes the settings": (_changes_settings, _backward),
        "wants all settings": (_wants_all_settings, _backward),
        "uses torch's": (
            lambda x, w, b, conv_param: (
                functional.conv2d(x, w, b, *settings_of(conv_param)),
                _forward(x, w, b, conv_param)[1],
            ),
            _backward,
        ),
        "returns no cache": (lambda x, w, b, conv_param: _forward(x, w, b, conv_param)[0], _backward),
        "backward not written": (_forward, lambda dout, cache: None),
    },
    solutions={
        "loops over entries of the kernel": (_by_entries, _back_by_entries),
        "views and einsum": (by_views, _back_by_views),
        "in float32": in_float32(_forward, _backward),
        "loops over filters and places": (_forward, _backward),
    },
    equivalent={
        "conv_backward_naive: padded.shape[2] -> padded.shape[-2]": "padded has four axes, so axis 2 is axis -2",
    },
)
