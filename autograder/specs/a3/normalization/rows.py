"""Layer norm."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal
from dlcvkit.layers import layernorm_backward as ready_backward
from dlcvkit.layers import layernorm_forward as ready_forward


def _forward(x, gamma, beta, eps=1e-5, fault=""):
    mean, var = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    if fault == "difference of squares":
        var = (x * x).mean(1, keepdim=True) - mean * mean
    if fault == "eps ignored":
        eps = 1e-5
    if fault == "eps clamps":
        var, eps = var.clamp(min=eps), 0.0
    std = (var + eps).sqrt()
    x_hat = (x - mean) / std
    if fault == "x changed":
        x -= mean
    out = x_hat * gamma + beta
    if fault == "affine per row" and len(x) == x.shape[1]:
        out = x_hat * gamma[:, None] + beta[:, None]
    if fault == "beta scaled":
        out = (x_hat + beta) * gamma
    if fault == "first row for all":
        out = ((x - mean[:1]) / std[:1]) * gamma + beta
    return out, (x, x_hat, std, gamma)


def _backward(dout, cache, fault=""):
    x, x_hat, std, gamma = cache
    back = dout * gamma
    product = (back * x_hat).mean(1, keepdim=True)
    dx = (back - back.mean(1, keepdim=True) - x_hat * product) / std
    if fault == "means over the batch":
        dx = (back - back.mean(0) - x_hat * (back * x_hat).mean(0)) / std
    if fault == "batch norm's closed form":
        plain = dout - dout.mean(1, keepdim=True) - x_hat * (dout * x_hat).mean(1, keepdim=True)
        dx = gamma * plain / std
    if fault == "divided by N":
        dx = (back - back.sum(1, keepdim=True) / len(x) - x_hat * (back * x_hat).sum(1, keepdim=True) / len(x)) / std
    if fault == "no mean":
        dx = (back - x_hat * product) / std
    if fault == "no product":
        dx = (back - back.mean(1, keepdim=True)) / std
    if fault == "plus":
        dx = (back - back.mean(1, keepdim=True) + x_hat * product) / std
    dgamma, dbeta = (dout * x_hat).sum(0), dout.sum(0)
    if fault == "with gamma in dgamma":
        dgamma = dgamma * gamma
    if fault == "order":
        return dx, dbeta, dgamma
    if fault == "means":
        return dx, dgamma / len(x), dbeta / len(x)
    if fault == "keeps an axis":
        dgamma = dgamma[None]
    return dx, dgamma, dbeta


def _looping_forward(x, gamma, beta, eps=1e-5):
    outs, cache = [], []
    for row in x:
        mean = row.sum() / len(row)
        std = (((row - mean) ** 2).sum() / len(row) + eps) ** 0.5
        cache.append(((row - mean) / std, std))
        outs.append(cache[-1][0] * gamma + beta)
    return torch.stack(outs), {"rows": cache, "gamma": gamma}


def _looping_backward(dout, cache):
    dxs, dgamma, dbeta = [], torch.zeros_like(cache["gamma"]), torch.zeros_like(cache["gamma"])
    for d, (x_hat, std) in zip(dout, cache["rows"], strict=True):
        back = d * cache["gamma"]
        centred = x_hat * std
        dvar = -0.5 * (back * centred).sum() / std**3
        dc = back / std + 2 * centred * dvar / len(d)
        dxs.append(dc - dc.sum() / len(d))
        dgamma, dbeta = dgamma + d * x_hat, dbeta + d
    return [torch.stack(dxs), dgamma, dbeta]


def _by_columns_forward(x, gamma, beta, eps=1e-5):
    columns = x.T
    var, mean = torch.var_mean(columns, dim=0, unbiased=False)
    x_hat = (columns - mean) * (var + eps).rsqrt()
    return torch.einsum("dn,d->nd", x_hat, gamma) + beta, (x_hat, var + eps, gamma)


def _by_columns_backward(dout, cache):
    x_hat, var, gamma = cache
    D = len(gamma)
    eye = torch.eye(D, dtype=dout.dtype, device=dout.device)[:, :, None]
    jacobian = eye - 1 / D - torch.einsum("dn,en->den", x_hat, x_hat) / D
    dx = torch.einsum("den,ne,e,n->nd", jacobian, dout, gamma, var.rsqrt())
    return dx, torch.einsum("nd,dn->d", dout, x_hat), dout.sum(0)


def _float32_forward(x, gamma, beta, eps=1e-5):
    out, cache = _forward(x.double(), gamma.double(), beta.double(), eps)
    return out.float(), cache


def _float32_backward(dout, cache):
    return tuple(value.float() for value in _backward(dout.double(), cache))


def _spoilt(function, fault):
    if function is _backward:
        return lambda dout, cache: _backward(dout, cache, fault)
    return lambda x, gamma, beta, eps=1e-5: _forward(x, gamma, beta, eps, fault)


def _case(name, count, features, mean=0.0, std=1.0, x=None, gamma=None, dout_std=1.0, **options):
    return Case(
        name,
        x=x or normal(count, features, mean=mean, std=std),
        gamma=gamma or normal(features),
        beta=normal(features),
        **options,
        dout=normal(count, features, std=dout_std),
    )


layernorm = Hidden(
    cases=[
        _case("one feature", 4, 1),
        _case("two features", 5, 2),
        _case("one of everything", 1, 1),
        _case("as many rows as features", 4, 4, mean=1.0),
        _case("the same in a whole row", 2, 3, x=given([[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]])),
        _case("far from zero", 3, 7, mean=1e5, std=0.3),
        _case("tiny differences", 4, 5, std=1e-4),
        _case("large numbers", 3, 5, std=1e4, dout_std=1e-2),
        _case("eps 0.01", 4, 5, std=0.1, eps=0.01),
        _case("gamma of 0", 4, 3, gamma=given([0.0, 1.0, -2.0])),
        _case("no gradient from above", 3, 4, dout_std=0.0),
        _case("non-contiguous", 5, 4, mean=2.0).strided(),
        _case("float32", 6, 5, mean=1.0, std=2.0).float32(),
        _case("float32, far from zero", 3, 24, mean=100.0).float32(),
    ],
    mutants={
        **{
            fault: (_spoilt(_forward, fault), _backward)
            for fault in (
                "difference of squares",
                "eps ignored",
                "eps clamps",
                "x changed",
                "affine per row",
                "beta scaled",
                "first row for all",
            )
        },
        **{
            f"backward: {fault}": (_forward, _spoilt(_backward, fault))
            for fault in (
                "means over the batch",
                "batch norm's closed form",
                "divided by N",
                "no mean",
                "no product",
                "plus",
                "with gamma in dgamma",
                "order",
                "means",
                "keeps an axis",
            )
        },
        "leaves it to torch": (
            lambda x, gamma, beta, eps=1e-5: (
                functional.layer_norm(x, gamma.shape, gamma, beta, eps),
                _forward(x, gamma, beta, eps)[1],
            ),
            _backward,
        ),
        "leaves it to autograd": (lambda x, gamma, beta, eps=1e-5: ready_forward(x, gamma, beta), ready_backward),
        "backward not written": (_forward, lambda dout, cache: None),
    },
    solutions={
        "row by row, a dict for a cache": (_looping_forward, _looping_backward),
        "by columns, with the Jacobian": (_by_columns_forward, _by_columns_backward),
        "results in float32": (_float32_forward, _float32_backward),
    },
)
