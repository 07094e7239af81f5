"""Windows as columns, the way back, and the gap between two maps that should be adjoint."""

from __future__ import annotations

from itertools import product

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal


def _places(size, kernel, stride, pad, dilation):
    return (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1


# im2col.


def _columns(x, kernel, stride=1, pad=0, dilation=1, fault=""):
    """The columns, spoilt by one ``fault``."""
    if fault == "square windows":
        kernel = (kernel[0], kernel[0])
    if fault == "padding capped by the kernel":
        pad = min(pad, kernel[0])
    wide = functional.pad(x, (pad, pad, pad, pad), value=1.0 if fault == "padding of ones" else 0.0)
    high = _places(x.shape[2], kernel[0], stride, pad, dilation)
    broad = _places(x.shape[3], kernel[1], stride, pad, dilation)
    if fault == "width for height":
        high = broad
    parts = []
    for p, q in product(range(kernel[0]), range(kernel[1])):
        if fault == "dilation one way only":
            part = wide[:, :, p * dilation :, q:]
        elif fault == "kernel exchanged":
            part = wide[:, :, q * dilation :, p * dilation :]
        else:
            part = wide[:, :, p * dilation :, q * dilation :]
        part = part[:, :, : stride * high : stride, : stride * broad : stride]
        parts.append(part.mT if fault == "places exchanged" else part)
    cols = torch.stack([part.flatten(2) for part in parts], dim=2).flatten(1, 2)
    if fault == "first image only":
        cols = cols[:1].expand_as(cols)
    if fault == "five axes":
        cols = cols.unflatten(1, (x.shape[1], -1))
    if fault == "opposite sign":
        cols = -cols
    return cols


def _by_views(x, kernel, stride=1, pad=0, dilation=1):
    wide = functional.pad(x, (pad, pad, pad, pad))
    long = [dilation * (k - 1) + 1 for k in kernel]
    windows = wide.unfold(2, long[0], stride).unfold(3, long[1], stride)[..., ::dilation, ::dilation]
    return windows.permute(0, 1, 4, 5, 2, 3).reshape(len(x), -1, windows.shape[2] * windows.shape[3])


def _by_indices(x, kernel, stride=1, pad=0, dilation=1):
    """All rows and columns of all entries at all places, as in many courses."""
    wide = functional.pad(x, (pad, pad, pad, pad))

    def where(axis):
        entries = torch.arange(kernel[axis], device=x.device) * dilation
        count = _places(x.shape[2 + axis], kernel[axis], stride, pad, dilation)
        return entries[:, None] + torch.arange(count, device=x.device) * stride

    rows, columns = where(0), where(1)
    picked = wide[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    return picked.flatten(4).flatten(1, 3)


def _by_strides(x, kernel, stride=1, pad=0, dilation=1):
    wide = functional.pad(x, (pad, pad, pad, pad)).contiguous()
    a, b, c, d = wide.stride()
    size = [*x.shape[:2], *kernel]
    size += [_places(x.shape[2 + axis], kernel[axis], stride, pad, dilation) for axis in (0, 1)]
    windows = wide.as_strided(size, (a, b, c * dilation, d * dilation, c * stride, d * stride))
    return windows.reshape(size[0], size[1] * size[2] * size[3], -1).float()


def _place_by_place(x, kernel, stride=1, pad=0, dilation=1):
    """Right, but loops over the places."""
    wide = functional.pad(x, (pad, pad, pad, pad))
    high, broad = (_places(x.shape[2 + axis], kernel[axis], stride, pad, dilation) for axis in (0, 1))
    found = []
    for i, j in product(range(high), range(broad)):
        corner = wide[:, :, i * stride :, j * stride :]
        found.append(corner[:, :, : dilation * kernel[0] : dilation, : dilation * kernel[1] : dilation].flatten(1))
    return torch.stack(found, dim=2)


_FAULTS = [
    "square windows",
    "padding capped by the kernel",
    "padding of ones",
    "width for height",
    "dilation one way only",
    "kernel exchanged",
    "places exchanged",
    "first image only",
    "five axes",
    "opposite sign",
]


def _changing(function):
    def changed(x, *args, **kwargs):
        x += 1
        return function(x, *args, **kwargs)

    return changed


im2col = Hidden(
    cases=[
        Case("one image, one channel", x=normal(1, 1, 4, 5), kernel=(2, 3), options={}),
        Case("the window is the whole image", x=normal(2, 3, 3, 4), kernel=(3, 4), options={}),
        Case("1×1", x=normal(2, 3, 3, 2), kernel=(1, 1), options={}),
        Case("1×1 with a stride", x=normal(2, 2, 5, 4), kernel=(1, 1), options={"stride": 3}),
        Case("padding larger than the window", x=normal(1, 2, 3, 2), kernel=(1, 2), options={"pad": 3, "stride": 2}),
        Case("a stride larger than the window", x=normal(2, 1, 7, 8), kernel=(2, 2), options={"stride": 4}),
        Case(
            "everything at once",
            x=normal(2, 3, 9, 8),
            kernel=(3, 2),
            options={"stride": 2, "pad": 2, "dilation": 3},
        ),
        Case("square window", x=normal(2, 2, 4, 5), kernel=(2, 2), options={"pad": 1}),
        Case("a tall window", x=normal(2, 2, 6, 4), kernel=(5, 1), options={"pad": 1}),
        Case("non-contiguous", x=normal(2, 3, 5, 4), kernel=(3, 2), options={"stride": 2, "pad": 1}).strided(),
        Case("float32", x=normal(2, 2, 5, 4), kernel=(2, 3), options={}).float32(),
        Case("numbers of 10,000", x=normal(2, 2, 4, 5, std=1e4), kernel=(2, 3), options={"pad": 1}),
    ],
    mutants={
        **{fault: lambda *a, fault=fault, **k: _columns(*a, fault=fault, **k) for fault in _FAULTS},
        "loops over places": _place_by_place,
        "uses torch's": lambda x, kernel, stride=1, pad=0, dilation=1: functional.unfold(
            x, kernel, dilation, pad, stride
        ),
        "changes x": _changing(_columns),
        "insists on contiguous memory": lambda x, *a, **k: _columns(x.view(-1).view(x.shape), *a, **k),
        "integers": lambda *a, **k: _columns(*a, **k).long(),
    },
    solutions={"views": _by_views, "indices": _by_indices, "strides, float32": _by_strides, "stacked": _columns},
)


# col2im.


def _image(cols, shape, kernel, stride=1, pad=0, dilation=1, fault=""):
    """The image, spoilt by one ``fault``."""
    if fault == "shape exchanged":
        shape = (shape[1], shape[0])
    high, broad = (_places(shape[axis], kernel[axis], stride, pad, dilation) for axis in (0, 1))
    parts = cols.reshape(len(cols), -1, *kernel, high, broad)
    if fault == "batch first":
        parts = cols.reshape(-1, len(cols), *kernel, high, broad).transpose(0, 1)
    wide = parts.new_zeros(*parts.shape[:2], shape[0] + 2 * pad, shape[1] + 2 * pad)
    if fault == "starts from ones":
        wide += 1
    for p, q in product(range(kernel[0]), range(kernel[1])):
        tall = slice(p * dilation, p * dilation + stride * high, stride)
        across = slice(q * dilation, q * dilation + stride * broad, stride)
        if fault == "the first wins":
            wide[:, :, tall, across] = torch.where(
                wide[:, :, tall, across] == 0, parts[:, :, p, q], wide[:, :, tall, across]
            )
        elif fault == "the largest wins":
            wide[:, :, tall, across] = torch.maximum(wide[:, :, tall, across], parts[:, :, p, q])
        else:
            wide[:, :, tall, across] += parts[:, :, p, q]
    if fault == "cut from behind":
        return wide[:, :, pad:-pad, pad:-pad]
    if fault == "divided by the entries":
        wide = wide / (kernel[0] * kernel[1])
    if fault == "opposite sign":
        wide = -wide
    return wide[:, :, pad : pad + shape[0], pad : pad + shape[1]]


def _by_index_add(cols, shape, kernel, stride=1, pad=0, dilation=1):
    """Number the pixels, unfold the numbers, and add every entry to its pixel's number."""
    wide = torch.arange((shape[0] + 2 * pad) * (shape[1] + 2 * pad), device=cols.device)
    wide = wide.reshape(1, 1, shape[0] + 2 * pad, shape[1] + 2 * pad)
    numbers = _columns(wide, kernel, stride, 0, dilation)[0].flatten()
    flat = cols.reshape(len(cols), -1, numbers.numel())
    total = cols.new_zeros(*flat.shape[:2], wide.numel()).index_add(2, numbers, flat)
    return total.unflatten(2, wide.shape[2:])[:, :, pad : pad + shape[0], pad : pad + shape[1]]


def _by_matrix(cols, shape, kernel, stride=1, pad=0, dilation=1):
    """One matrix per axis that says which entry at which place meets which pixel."""

    def meets(axis):
        places = torch.arange(_places(shape[axis], kernel[axis], stride, pad, dilation), device=cols.device)
        entries = torch.arange(kernel[axis], device=cols.device)
        at = entries[:, None, None] * dilation + places[None, :, None] * stride - pad
        return (at == torch.arange(shape[axis], device=cols.device)).float()

    rows, columns = meets(0), meets(1)
    parts = cols.float().reshape(len(cols), -1, *kernel, rows.shape[1], columns.shape[1])
    return torch.einsum("ncpqij,piu,qjv->ncuv", parts, rows, columns)


def _image_place_by_place(cols, shape, kernel, stride=1, pad=0, dilation=1):
    """Right, but loops over the places."""
    high, broad = (_places(shape[axis], kernel[axis], stride, pad, dilation) for axis in (0, 1))
    parts = cols.reshape(len(cols), -1, *kernel, high, broad)
    wide = cols.new_zeros(*parts.shape[:2], shape[0] + 2 * pad, shape[1] + 2 * pad)
    for i, j in product(range(high), range(broad)):
        corner = wide[:, :, i * stride :, j * stride :]
        corner[:, :, : dilation * kernel[0] : dilation, : dilation * kernel[1] : dilation] += parts[..., i, j]
    return wide[:, :, pad : pad + shape[0], pad : pad + shape[1]]


_IMAGE_FAULTS = [
    "shape exchanged",
    "batch first",
    "starts from ones",
    "the first wins",
    "the largest wins",
    "cut from behind",
    "divided by the entries",
    "opposite sign",
]

col2im = Hidden(
    cases=[
        Case("one image, one channel", cols=normal(1, 6, 9), shape=(4, 5), kernel=(2, 3), options={}),
        Case("the window is the whole image", cols=normal(2, 36, 1), shape=(3, 4), kernel=(3, 4), options={}),
        Case("1×1", cols=normal(2, 3, 6), shape=(3, 2), kernel=(1, 1), options={}),
        Case("pixels that no window shows", cols=normal(2, 2, 4), shape=(5, 4), kernel=(1, 1), options={"stride": 3}),
        Case(
            "padding larger than the window",
            cols=normal(1, 4, 20),
            shape=(3, 2),
            kernel=(1, 2),
            options={"pad": 3, "stride": 2},
        ),
        Case(
            "a stride larger than the window", cols=normal(2, 4, 4), shape=(7, 8), kernel=(2, 2), options={"stride": 4}
        ),
        Case(
            "everything at once",
            cols=normal(2, 18, 20),
            shape=(9, 8),
            kernel=(3, 2),
            options={"stride": 2, "pad": 2, "dilation": 3},
        ),
        Case("square window", cols=normal(2, 8, 30), shape=(4, 5), kernel=(2, 2), options={"pad": 1}),
        Case("a tall window", cols=normal(2, 10, 24), shape=(6, 4), kernel=(5, 1), options={"pad": 1}),
        Case("all ones", cols=normal(1, 9, 20, mean=1.0, std=0.0), shape=(6, 7), kernel=(3, 3), options={}),
        Case(
            "non-contiguous", cols=normal(2, 18, 9), shape=(5, 4), kernel=(3, 2), options={"stride": 2, "pad": 1}
        ).strided(),
        Case("float32", cols=normal(2, 12, 8), shape=(5, 4), kernel=(2, 3), options={}).float32(),
    ],
    mutants={
        **{fault: lambda *a, fault=fault, **k: _image(*a, fault=fault, **k) for fault in _IMAGE_FAULTS},
        "loops over places": _image_place_by_place,
        "uses torch's": lambda cols, shape, kernel, stride=1, pad=0, dilation=1: functional.fold(
            cols, shape, kernel, dilation, pad, stride
        ),
        "changes cols": _changing(_image),
        "insists on contiguous memory": lambda cols, *a, **k: _image(cols.view(-1).view(cols.shape), *a, **k),
    },
    solutions={"index_add": _by_index_add, "a matrix per axis, float32": _by_matrix, "reshaped": _image},
    equivalent={
        "col2im: 2 * pad -> 3 * pad": "further rows at the bottom are cut off with the padding",
        "col2im: 2 * pad -> 3 * pad #2": "further columns on the right are cut off with the padding",
    },
)


# adjoint_gap.


def _gap(forward, adjoint, x, y, fault=""):
    """The gap, spoilt by one ``fault``."""
    left, right = torch.vdot(forward(x).flatten(), y.flatten()), torch.vdot(x.flatten(), adjoint(y).flatten())
    if fault == "same product twice":
        right = left
    if fault == "maps exchanged":
        right = torch.vdot(forward(x).flatten(), x.flatten()) if x.numel() == y.numel() else left
    if fault == "first row only":
        left = (forward(x) * y)[0].sum()
    size = left.abs() + right.abs()
    if fault == "squared":
        return (left - right) ** 2 / (left**2 + right**2)
    if fault == "true or false":
        return float((left - right).abs() > 1e-6 * size)
    if fault == "not a number where both are 0":
        return (left - right).abs() / size
    if fault == "a small number in the denominator":
        return (left - right).abs() / (size + 1e-3)
    if fault == "1 where both are 0" and size == 0:
        return 1.0
    if fault == "one minus":
        return 1 - (left - right).abs() / size
    return (left - right).abs() / size if size > 0 else 0.0


def _gap_by_sums(forward, adjoint, x, y):
    left = sum(one * other for one, other in zip(forward(x).flatten().tolist(), y.flatten().tolist(), strict=True))
    right = sum(one * other for one, other in zip(x.flatten().tolist(), adjoint(y).flatten().tolist(), strict=True))
    return 0 if left == right else abs(left - right) / (abs(left) + abs(right))


def _gap_by_einsum(forward, adjoint, x, y):
    pair = torch.stack([torch.tensordot(forward(x), y, y.dim()), torch.tensordot(x, adjoint(y), x.dim())])
    return (pair[0] - pair[1]).abs() / pair.abs().sum().clamp(min=1e-30)


adjoint_gap = Hidden(
    cases=[
        Case("as many entries in both", A=normal(6, 6), B=normal(6, 6), x=normal(2, 3), y=normal(3, 2)),
        Case("single numbers", A=normal(1, 1), B=normal(1, 1), x=normal(1), y=normal(1)),
        Case("both products 0", A=normal(6, 8, std=0.0), B=None, x=normal(2, 4), y=normal(3, 2)),
        Case("one product 0", A=normal(6, 8, std=0.0), B=normal(8, 6), x=normal(2, 4), y=normal(3, 2)),
        Case("small numbers", A=normal(6, 8, std=1e-4), B=normal(8, 6, std=1e-4), x=normal(2, 4), y=normal(3, 2)),
        Case("large numbers", A=normal(6, 8, std=1e4), B=normal(8, 6, std=1e4), x=normal(2, 4), y=normal(3, 2)),
        Case("a third pair", A=normal(12, 8), B=normal(8, 12), x=normal(2, 4), y=normal(2, 3, 2)),
        Case("a fourth pair", A=normal(12, 8), B=normal(8, 12), x=normal(2, 1, 4), y=normal(12)),
        Case("a large adjoint pair", A=normal(60, 48), B=None, x=normal(4, 3, 4), y=normal(6, 10)),
        Case("non-contiguous", A=normal(6, 8), B=normal(8, 6), x=normal(2, 4), y=normal(3, 2)).strided(),
        Case("float32", A=normal(6, 8, mean=1.0), B=normal(8, 6, mean=-1.0), x=normal(2, 4), y=normal(3, 2)).float32(),
    ],
    mutants={
        fault: lambda *a, fault=fault: _gap(*a, fault=fault)
        for fault in (
            "same product twice",
            "maps exchanged",
            "first row only",
            "squared",
            "true or false",
            "not a number where both are 0",
            "a small number in the denominator",
            "1 where both are 0",
            "one minus",
        )
    },
    solutions={"by tensordot": _gap_by_einsum, "in Python": _gap_by_sums},
    equivalent={"adjoint_gap: left - right -> right - left": "the absolute value of the difference is taken"},
)
