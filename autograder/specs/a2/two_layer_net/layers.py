"""The affine layer and ReLU, forward and backward, each spoilt in many ways."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal
from dlcvkit.layers import affine_backward as ready_affine_backward
from dlcvkit.layers import affine_forward as ready_affine_forward
from dlcvkit.layers import relu_backward as ready_relu_backward
from dlcvkit.layers import relu_forward as ready_relu_forward

# The affine layer.


def _forward(x, w, b):
    return x.flatten(1) @ w + b, (x, w, b)


def _backward(dout, cache, fault=""):
    """The three gradients, spoilt by one ``fault``."""
    x, w, _ = cache
    rows = x.flatten(1)
    upstream = dout
    if fault == "upstream without sign":
        upstream = dout.abs()
    if fault == "mean upstream":
        upstream = dout.mean(0, keepdim=True).expand_as(dout)
    dx, dw, db = (upstream @ w.T).reshape(x.shape), rows.T @ upstream, upstream.sum(0)
    if fault == "first image only":
        dw = rows[:1].T @ dout[:1]
    if fault == "last image left out":
        dw, db = rows[:-1].T @ dout[:-1], dout[:-1].sum(0)
    if fault == "opposite sign":
        dx, dw, db = -dx, -dw, -db
    if fault == "dw first":
        return dw, dx, db
    if fault == "db first":
        return db, dw, dx
    if fault == "two gradients":
        return dx, dw
    if fault == "db keeps an axis":
        db = db[None]
    if fault == "float32":
        dw = dw.float()
    if fault == "w added to dw":
        dw = dw + w
    if fault == "divided by the outputs":
        dx = dx / w.shape[1]
    return dx, dw, db


def _spoilt(backward, fault):
    return lambda dout, cache: backward(dout, cache, fault)


def _einsum_forward(x, w, b):
    rows = x.reshape(len(x), -1)
    return torch.einsum("nd,dm->nm", rows, w) + b, {"rows": rows, "shape": x.shape, "w": w, "more": "ignored"}


def _einsum_backward(dout, cache):
    dx = torch.einsum("nm,dm->nd", dout, cache["w"]).reshape(cache["shape"])
    return [dx, torch.einsum("nd,nm->dm", cache["rows"], dout), torch.einsum("nm->m", dout)]


def _looping_forward(x, w, b):
    return torch.stack([(image.flatten()[:, None] * w).sum(0) + b for image in x]), (x, w)


def _looping_backward(dout, cache):
    x, w = cache
    dx, dw, db = torch.zeros_like(x), torch.zeros_like(w), torch.zeros_like(dout[0])
    for i in range(len(x)):
        dx[i] = (w * dout[i]).sum(1).reshape(x.shape[1:])
        dw += torch.outer(x[i].flatten(), dout[i])
        db += dout[i]
    return dx, dw, db


def _float32_forward(x, w, b):
    return torch.addmm(b.float(), x.flatten(1).float(), w.float()), (x, w)


def _float32_backward(dout, cache):
    x, w = cache
    ones = torch.ones(1, len(x), device=x.device)
    d = dout.float()
    return (w.float() @ d.T).T.reshape(x.shape), (d.T @ x.flatten(1).float()).T, (ones @ d)[0]


def _forward_of_images(x, w, b):
    N, C, H, W = x.shape
    return _forward(x.reshape(N, C * H * W), w, b)


def _forward_by_view(x, w, b):
    return x.view(len(x), -1) @ w + b, (x, w, b)


def _forward_squeezed(x, w, b):
    return x.flatten(1).squeeze() @ w + b, (x, w, b)


def _forward_adding_in_place(x, w, b):
    b += 1
    return x.flatten(1) @ w + b, (x, w, b)


def _forward_flattening_in_place(x, w, b):
    x.resize_(len(x), x[0].numel()) if x.is_contiguous() else x.mul_(2)
    return x.flatten(1) @ w + b, (x, w, b)


def _backward_in_place(dout, cache):
    x, w, b = cache
    x *= 2
    return _backward(dout, (x / 2, w, b))


def _forward_normalised(x, w, b):
    return (x.flatten(1) @ w + b) / x[0].numel(), (x, w, b)


affine = Hidden(
    cases=[
        Case("one image", x=normal(1, 3, 2, 2), w=normal(12, 4), b=normal(4), dout=normal(1, 4)),
        Case("one feature", x=normal(5, 1), w=normal(1, 3), b=normal(3), dout=normal(5, 3)),
        Case("one output", x=normal(4, 2, 3), w=normal(6, 1), b=normal(1), dout=normal(4, 1)),
        Case("one of everything", x=normal(1, 1), w=normal(1, 1), b=normal(1), dout=normal(1, 1)),
        Case("five axes", x=normal(2, 1, 3, 2, 2), w=normal(12, 7), b=normal(7), dout=normal(2, 7)),
        Case("non-contiguous", x=normal(3, 2, 4), w=normal(8, 5), b=normal(5), dout=normal(3, 5)).strided(),
        Case("float32", x=normal(4, 3, 3), w=normal(9, 2), b=normal(2), dout=normal(4, 2)).float32(),
        Case(
            "numbers of 10,000",
            x=normal(6, 5, std=1e4),
            w=normal(5, 4, std=1e2),
            b=normal(4, std=1e6),
            dout=normal(6, 4, std=1e-3),
        ),
        Case("no gradient from above", x=normal(3, 4), w=normal(4, 2), b=normal(2), dout=normal(3, 2, std=0.0)),
        Case("weights of zero", x=normal(3, 4), w=normal(4, 2, std=0.0), b=normal(2), dout=normal(3, 2)),
        Case("N = D = M", x=normal(4, 4), w=normal(4, 4), b=normal(4), dout=normal(4, 4)),
    ],
    mutants={
        **{
            fault: (_forward, _spoilt(_backward, fault))
            for fault in (
                "upstream without sign",
                "mean upstream",
                "first image only",
                "last image left out",
                "opposite sign",
                "dw first",
                "db first",
                "two gradients",
                "db keeps an axis",
                "w added to dw",
                "divided by the outputs",
            )
        },
        "takes images only": (_forward_of_images, _backward),
        "insists on contiguous memory": (_forward_by_view, _backward),
        "drops axes of length 1": (_forward_squeezed, _backward),
        "changes b": (_forward_adding_in_place, _backward),
        "changes x": (_forward_flattening_in_place, _backward),
        "changes x in the backward pass": (_forward, _backward_in_place),
        "divides by the number of features": (_forward_normalised, _backward),
        "subtracts the bias": (lambda x, w, b: (x.flatten(1) @ w - b, (x, w, b)), _backward),
        "returns no cache": (lambda x, w, b: x.flatten(1) @ w + b, _backward),
        "leaves it to autograd": (ready_affine_forward, ready_affine_backward),
        "backward not written": (_forward, lambda dout, cache: None),
    },
    solutions={
        "einsum, cache as a dict, gradients as a list": (_einsum_forward, _einsum_backward),
        "image by image": (_looping_forward, _looping_backward),
        "in float32, other products": (_float32_forward, _float32_backward),
        "ready-made linear": (
            lambda x, w, b: (functional.linear(x.flatten(1), w.T, b), (x, w, b)),
            _backward,
        ),
    },
)


# ReLU.


def _relu_forward(x):
    return x.clamp(min=0), x


def _relu_backward(dout, x):
    return dout * (x > 0)


def _relu_in_place(x):
    x[x < 0] = 0
    return x, x


def _relu_backward_in_place(dout, x):
    dout[x <= 0] = 0
    return dout


def _relu_by_entry(x):
    flat = [max(value, 0.0) for value in x.flatten().tolist()]
    return torch.tensor(flat, dtype=x.dtype, device=x.device).reshape(x.shape), x


def _relu_backward_by_entry(dout, x):
    dx = torch.zeros_like(dout)
    for place in (x > 0).nonzero():
        dx[tuple(place)] = dout[tuple(place)]
    return dx


relu = Hidden(
    cases=[
        Case("one row", x=normal(1, 6), dout=normal(1, 6)),
        Case("one axis", x=normal(7), dout=normal(7)),
        Case("one number", x=given([[-0.5]]), dout=normal(1, 1)),
        Case("all negative", x=normal(3, 4, mean=-20.0), dout=normal(3, 4)),
        Case("all positive", x=normal(3, 4, mean=20.0), dout=normal(3, 4)),
        Case("all zero", x=normal(2, 5, std=0.0), dout=normal(2, 5)),
        Case("close to zero", x=normal(4, 5, std=1e-9), dout=normal(4, 5)),
        Case("numbers of 10,000", x=normal(4, 5, std=1e4), dout=normal(4, 5, std=1e4)),
        Case("non-contiguous", x=normal(3, 2, 4), dout=normal(3, 2, 4)).strided(),
        Case("float32", x=normal(5, 3), dout=normal(5, 3)).float32(),
        Case("no gradient from above", x=normal(3, 4), dout=normal(3, 4, std=0.0)),
    ],
    mutants={
        "changes x": (_relu_in_place, lambda dout, out: dout * (out > 0)),
        "changes dout": (_relu_forward, _relu_backward_in_place),
        "sets small positive numbers to 0": (lambda x: (torch.where(x > 1e-6, x, 0.0), x), lambda d, x: d * (x > 1e-6)),
        "returns the mask as dx": (_relu_forward, lambda dout, x: x > 0),
        "opposite sign": (_relu_forward, lambda dout, x: -dout * (x > 0)),
        "averages dx": (_relu_forward, lambda dout, x: dout * (x > 0) / len(x)),
        "cuts by the absolute value": (_relu_forward, lambda dout, x: dout * (x.abs() > 0)),
        "multiplies by the sign": (_relu_forward, lambda dout, x: dout * x.sign()),
        "compares with the mean": (lambda x: (x * (x > x.mean()), x), lambda dout, x: dout * (x > x.mean())),
        "softplus": (lambda x: (x.exp().log1p(), x), lambda dout, x: dout * x.sigmoid()),
        "loses the dtype": (lambda x: (x.clamp(min=0).long(), x), _relu_backward),
        "takes matrices only": (lambda x: (x * (x > 0).reshape(x.shape[0], x.shape[1]), x), _relu_backward),
        "returns no cache": (lambda x: x.clamp(min=0), _relu_backward),
        "uses torch's": (lambda x: (functional.relu(x), x), _relu_backward),
        "leaves it to autograd": (ready_relu_forward, ready_relu_backward),
    },
    solutions={
        "by where, the output as cache": (
            lambda x: (torch.where(x > 0, x, 0.0),) * 2,
            lambda dout, out: torch.where(out > 0, dout, torch.zeros_like(dout)),
        ),
        "half of x plus its absolute value": (
            lambda x: [(x + x.abs()) / 2, {"gate": (x.sign() + 1).div(2).floor() * x.sign()}],
            lambda dout, cache: cache["gate"] * dout,
        ),
        "entry by entry": (_relu_by_entry, _relu_backward_by_entry),
        "in float32": (lambda x: (x.float() * (x > 0), x > 0), lambda dout, gate: dout.float() * gate),
    },
)
