"""Spatial batch norm."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden

from .batch import backward as rows_backward
from .batch import case, einsum_backward, einsum_forward
from .batch import forward as rows_forward


def _rows(x):
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _images(rows, shape):
    N, C, H, W = shape
    return rows.reshape(N, H, W, C).permute(0, 3, 1, 2)


def _by_rows(forward, backward):
    """Make a spatial pair from one for rows."""

    def spatial_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
        out, mean, var, cache = forward(_rows(x), gamma, beta, running_mean, running_var, is_training, momentum, eps)
        return _images(out, x.shape), mean, var, cache

    def spatial_backward(dout, cache):
        dx, dgamma, dbeta = backward(_rows(dout), cache)
        return _images(dx, dout.shape), dgamma, dbeta

    return spatial_forward, spatial_backward


def _spatial_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5, fault=""):
    mean, var = running_mean, running_var
    dims = (0, 2, 3)
    if is_training:
        var, mean = torch.var_mean(x, dims, correction=0)
        if fault == "mean of the variances of the images":
            var = x.var((2, 3), correction=0).mean(0)
        if fault == "first image alone":
            var, mean = torch.var_mean(x[0], (1, 2), correction=0)
        if fault == "one axis of pixels":
            var = x.mean(3).var((0, 2), correction=0)
        running_mean, running_var = mean.lerp(running_mean, momentum), var.lerp(running_var, momentum)
        if fault == "unbiased by N":
            running_var = running_var + (1 - momentum) * var / max(len(x) - 1, 1)
    x_hat = (x - mean[:, None, None]) / (var[:, None, None] + eps).sqrt()
    if fault == "gamma along the width" and len(gamma) == x.shape[3]:
        out = x_hat * gamma + beta
    else:
        out = x_hat * gamma[:, None, None] + beta[:, None, None]
    if fault == "permuted back wrongly":
        out = _rows(out).reshape(x.shape)
    return out, running_mean, running_var, (x_hat, (var + eps).sqrt(), gamma, is_training)


def _spatial_backward(dout, cache, fault=""):
    x_hat, std, gamma, is_training = cache
    dims = (0, 2, 3)
    dgamma, dbeta = (dout * x_hat).sum(dims), dout.sum(dims)
    count = dout.numel() // dout.shape[1]
    if fault == "count of images":
        count = len(dout)
    if fault == "count of pixels":
        count = dout[0, 0].numel()
    scale = (gamma / std)[:, None, None]
    if not is_training and fault != "evaluation as in training":
        return dout * scale, dgamma, dbeta
    bracket = dout - (dbeta[:, None, None] + x_hat * dgamma[:, None, None]) / count
    if fault == "no scale":
        scale = 1
    dx = bracket * scale
    if fault == "sums over pixels only":
        return dx, (dout * x_hat).sum((2, 3)), dout.sum((2, 3))
    if fault == "order":
        return dx, dbeta, dgamma
    return dx, dgamma, dbeta


def _spoilt_forward(fault):
    def run(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
        return _spatial_forward(x, gamma, beta, running_mean, running_var, is_training, momentum, eps, fault)

    return run


def _spoilt_backward(fault):
    return lambda dout, cache: _spatial_backward(dout, cache, fault)


def _ready_spatial(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    _, mean, var, cache = _spatial_forward(x, gamma, beta, running_mean, running_var, is_training, momentum, eps)
    out = functional.batch_norm(x, running_mean.clone(), running_var.clone(), gamma, beta, is_training, 0.0, eps)
    return out, mean, var, cache


def _mixing_backward(dout, cache):
    dx, dgamma, dbeta = rows_backward(dout.reshape(-1, dout.shape[1]), cache)
    return dx.reshape(dout.shape), dgamma, dbeta


spatial_batchnorm = Hidden(
    cases=[
        case("one pixel, one image", (1, 3, 1, 1), True),
        case("one channel", (2, 1, 3, 4), True),
        case("all axes as long", (3, 3, 3, 3), True, mean=1.0),
        case("all axes as long, evaluation", (3, 3, 3, 3), False, mean=1.0),
        case("one pixel", (5, 4, 1, 1), True),
        case("a row of pixels", (2, 3, 1, 7), True),
        case("one image in evaluation", (1, 2, 3, 5), False),
        case("far from zero", (3, 2, 3, 2), True, mean=1e5, std=0.3),
        case("the same everywhere", (2, 3, 2, 2), True, std=0.0),
        case("evaluation, momentum 0.2, eps 0.3", (2, 5, 2, 3), False, momentum=0.2, eps=0.3),
        case("momentum 0", (2, 3, 4, 1), True, momentum=0.0),
        case("non-contiguous", (2, 3, 4, 5), True, mean=2.0).strided(),
        case("float32", (3, 4, 2, 5), True, mean=1.0, std=2.0).float32(),
        case("no gradient from above", (2, 3, 2, 4), True, dout_std=0.0),
    ],
    mutants={
        **{
            fault: (_spoilt_forward(fault), _spatial_backward)
            for fault in (
                "mean of the variances of the images",
                "first image alone",
                "one axis of pixels",
                "unbiased by N",
                "gamma along the width",
                "permuted back wrongly",
            )
        },
        **{
            f"backward: {fault}": (_spatial_forward, _spoilt_backward(fault))
            for fault in (
                "count of images",
                "count of pixels",
                "evaluation as in training",
                "no scale",
                "sums over pixels only",
                "order",
            )
        },
        "mixes the axes on the way back": (_by_rows(rows_forward, rows_backward)[0], _mixing_backward),
        "leaves it to torch": (_ready_spatial, _spatial_backward),
        "backward not written": (_spatial_forward, lambda dout, cache: None),
    },
    solutions={
        "sums over three axes": (_spatial_forward, _spatial_backward),
        "by rows": _by_rows(rows_forward, rows_backward),
        "by rows, with the Jacobian": _by_rows(einsum_forward, einsum_backward),
    },
)
