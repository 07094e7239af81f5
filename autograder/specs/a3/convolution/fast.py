"""Convolution as a matrix product."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden

from .columns import _by_index_add, _by_views, _columns, _image, _image_place_by_place, _place_by_place
from .naive import CASES, in_float32, settings_of
from .naive import _back_by_entries as back_by_entries
from .naive import _backward as back_by_places
from .naive import _by_entries as by_entries
from .naive import _forward as by_places


def _forward(x, w, b, conv_param, fault="", unfold=_columns):
    """The output, spoilt by one ``fault``."""
    stride, pad, dilation, groups = settings_of(conv_param)
    F, depth, HH, WW = w.shape
    if fault == "groups ignored":
        groups = 1
    cols = unfold(x, (HH, WW), stride, pad, dilation)
    shape = [(x.shape[2 + a] + 2 * pad - dilation * (w.shape[2 + a] - 1) - 1) // stride + 1 for a in (0, 1)]
    parts = []
    for g in range(groups):
        filters = w[g * (F // groups) : (g + 1) * (F // groups)].reshape(F // groups, -1)
        if fault == "kernel turned":
            filters = filters.flip(1)
        if fault == "filters reshaped the other way":
            filters = filters.reshape(filters.shape[1], filters.shape[0]).T
        rows = cols[:, g * depth * HH * WW : (g + 1) * depth * HH * WW]
        if fault == "rows dealt out in turn":
            rows = cols[:, g::groups]
        parts.append(filters @ rows)
    out = torch.cat(parts, 1)
    if fault == "groups of outputs exchanged":
        out = torch.cat(parts[::-1], 1)
    if fault == "bias by place" and out.shape[2] == F:
        out = out + b
    elif fault == "no bias for one filter":
        out = out + (b if F > 1 else 0 * b)[:, None]
    else:
        out = out + b[:, None]
    if fault == "places exchanged":
        return out.reshape(*out.shape[:2], *shape[::-1]).mT, (x, w, cols, conv_param)
    return out.reshape(*out.shape[:2], *shape), (x, w, cols, conv_param)


def _backward(dout, cache, fault="", fold=_image):
    """The gradients, spoilt by one ``fault``."""
    x, w, cols, conv_param = cache
    stride, pad, dilation, groups = settings_of(conv_param)
    upstream, filters = dout.flatten(2), w.flatten(1)
    if fault == "upstream reshaped with the images inside":
        upstream = dout.transpose(0, 1).reshape(upstream.shape)
    dw, dcols = [], []
    for told, kernels, rows in zip(
        upstream.chunk(groups, 1), filters.chunk(groups), cols.chunk(groups, 1), strict=True
    ):
        dw.append(torch.einsum("nfl,nkl->fk", told, rows))
        dcols.append(kernels.T @ told)
    if fault == "dcols of the first group":
        dcols = [dcols[0]] * groups
    dw = torch.cat(dw).reshape(w.shape)
    if fault == "dw of the mean column":
        dw = dw / cols.shape[2]
    if fault == "dw as a matrix":
        dw = dw.flatten(1)
    if fault == "dx without padding":
        pad = 0
    dx = fold(torch.cat(dcols, 1), x.shape[2:], w.shape[2:], stride, pad, dilation)
    db = dout.sum((0, 2, 3))
    if fault == "dx averaged over the window":
        dx = dx / w[0, 0].numel()
    if fault == "opposite sign":
        dx, dw, db = -dx, -dw, -db
    if fault == "dw first":
        return dw, dx, db
    if fault == "db over the images":
        db = dout.sum(0)
    return dx, dw, db


_FORWARD = """groups ignored|kernel turned|filters reshaped the other way|rows dealt out in turn|
groups of outputs exchanged|bias by place|places exchanged""".replace("\n", "").split("|")
_BACKWARD = """upstream reshaped with the images inside|dcols of the first group|dw of the mean column|dw as a matrix|
dx without padding|dx averaged over the window|opposite sign|dw first|db over the images""".replace("\n", "").split("|")


def _side_by_side(x, w, b, conv_param):
    """The columns of all images side by side, and all groups in one matrix with blocks of zeros."""
    stride, pad, dilation, groups = settings_of(conv_param)
    cols = _by_views(x, w.shape[2:], stride, pad, dilation)
    N, _, L = cols.shape
    matrix = torch.block_diag(*w.flatten(1).chunk(groups))
    wide = cols.transpose(0, 1).reshape(-1, N * L)
    out = torch.addmm(b[:, None], matrix, wide).reshape(len(w), N, -1).transpose(0, 1)
    high = (x.shape[2] + 2 * pad - dilation * (w.shape[2] - 1) - 1) // stride + 1
    return out.reshape(N, len(w), high, -1), [matrix, wide, x.shape, w.shape, conv_param]


def _back_side_by_side(dout, cache):
    matrix, wide, shape, kernel, conv_param = cache
    stride, pad, dilation, groups = settings_of(conv_param)
    upstream = dout.transpose(0, 1).flatten(1)
    full = (upstream @ wide.T).reshape(groups, kernel[0] // groups, groups, -1)
    own = torch.arange(groups, device=dout.device)
    dw = full[own, :, own].reshape(kernel)
    dcols = (matrix.T @ upstream).reshape(len(wide), shape[0], -1).transpose(0, 1)
    return [_by_index_add(dcols, shape[2:], kernel[2:], stride, pad, dilation), dw, upstream.sum(1)]


conv_im2col = Hidden(
    cases=CASES,
    mutants={
        **{name: (lambda *a, name=name: _forward(*a, name), _backward) for name in _FORWARD},
        **{name: (_forward, lambda *a, name=name: _backward(*a, name)) for name in _BACKWARD},
        "place by place": (by_places, back_by_places),
        "columns place by place": (lambda *a: _forward(*a, unfold=_place_by_place), _backward),
        "back place by place": (_forward, lambda *a: _backward(*a, fold=_image_place_by_place)),
        "uses torch's": (
            lambda x, w, b, conv_param: (
                functional.conv2d(x, w, b, *settings_of(conv_param)),
                _forward(x, w, b, conv_param)[1],
            ),
            _backward,
        ),
        "uses torch's columns": (
            lambda *a: _forward(*a, unfold=lambda x, k, s, p, d: functional.unfold(x, k, d, p, s)),
            _backward,
        ),
        "backward not written": (_forward, lambda dout, cache: None),
    },
    solutions={
        "group by group": (_forward, _backward),
        "side by side, blocks of zeros": (_side_by_side, _back_side_by_side),
        "entry by entry, without columns": (by_entries, back_by_entries),
        "in float32": in_float32(_forward, _backward),
    },
    equivalent={
        "conv_forward_im2col: (filters @ cols).flatten(1, 2) -> (filters @ cols).flatten(1, -2)": "of four axes 2 is -2",
        "conv_forward_im2col: x.shape[2] -> x.shape[-2]": "x has four axes, so axis 2 is axis -2",
        "conv_forward_im2col: x.shape[2:] -> x.shape[-2:]": "x has four axes, so those from 2 on are the last two",
        "conv_backward_im2col: dout.flatten(2) -> dout.flatten(-2)": "dout has four axes, so axis 2 is axis -2",
        "conv_backward_im2col: (filters.mT @ upstream).flatten(1, 2) -> (filters.mT @ upstream).flatten(1, -2)": (
            "of four axes 2 is -2"
        ),
        "conv_backward_im2col: w.shape[2:] -> w.shape[-2:]": "w has four axes, so those from 2 on are the last two",
    },
)
