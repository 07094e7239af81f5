"""Group norm and instance norm."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal

from .batch import backward as rows_backward
from .batch import forward as rows_forward

# Group norm.


def _group_forward(x, gamma, beta, G, eps=1e-5, fault=""):
    N, C, H, W = x.shape
    if fault == "refuses with an assertion":
        assert C % G == 0
    elif fault != "leaves it to reshape" and C % G:
        raise ValueError(f"{G} groups do not divide {C} channels")
    grouped = x.reshape(N, G, -1)
    if fault == "C over G groups":
        grouped = x.reshape(N, C // G, -1)
    if fault == "rows of the batch mixed":
        grouped = x.reshape(G, N, -1).transpose(0, 1)
    if fault == "needs contiguous memory":
        grouped = x.view(N, G, C // G * H * W)
    if fault == "eps ignored":
        eps = 1e-5
    var, mean = torch.var_mean(grouped, 2, correction=0, keepdim=True)
    if fault == "difference of squares":
        var = (grouped * grouped).mean(2, keepdim=True) - mean * mean
    std = (var + eps).sqrt()
    x_hat = (grouped - mean) / std
    if fault == "rows of the batch mixed":
        x_hat = x_hat.transpose(0, 1)
    images = x_hat.reshape(x.shape)
    if fault == "gamma of the group":
        index = torch.arange(C, device=x.device) // (C // G) * (C // G)
        gamma, beta = gamma[index], beta[index]
    out = images * gamma[:, None, None] + beta[:, None, None]
    return out, (images, std, gamma, G)


def _group_backward(dout, cache, fault=""):
    x_hat, std, gamma, G = cache
    N, C, H, W = dout.shape
    back = (dout * gamma[:, None, None]).reshape(N, G, -1)
    normed = x_hat.reshape(N, G, -1)
    mean, product = back.mean(2, keepdim=True), (back * normed).mean(2, keepdim=True)
    if fault == "means over the pixels":
        mean = back.reshape(N, C, -1).mean(2, keepdim=True).expand(N, C, H * W).reshape(back.shape)
    if fault == "no product":
        product = 0
    if fault == "no mean":
        mean = 0
    dx = ((back - mean - normed * product) / std).reshape(dout.shape)
    dgamma, dbeta = (dout * x_hat).sum((0, 2, 3)), dout.sum((0, 2, 3))
    if fault == "summed over the group":
        dgamma = dgamma.reshape(G, -1).sum(1, keepdim=True).expand(G, C // G).reshape(C)
    if fault == "four axes":
        dgamma, dbeta = dgamma.reshape(1, C, 1, 1), dbeta.reshape(1, C, 1, 1)
    if fault == "order":
        return dx, dbeta, dgamma
    if fault == "two gradients":
        return dx, dgamma
    return dx, dgamma, dbeta


def _group_looping_forward(x, gamma, beta, G, eps=1e-5):
    N, C = x.shape[:2]
    size, rest = divmod(C, G)
    if rest:
        raise ValueError("uneven groups")
    out, cache = torch.empty_like(x), []
    for i in range(N):
        for g in range(G):
            channels = slice(g * size, (g + 1) * size)
            part = x[i, channels]
            centred = part - part.mean()
            std = ((centred**2).mean() + eps) ** 0.5
            out[i, channels] = centred / std * gamma[channels, None, None] + beta[channels, None, None]
            cache.append((i, channels, centred / std, std))
    return out, {"parts": cache, "gamma": gamma}


def _group_looping_backward(dout, cache):
    gamma = cache["gamma"]
    dx, dgamma, dbeta = torch.zeros_like(dout), torch.zeros_like(gamma), dout.sum(dim=[0, 2, 3])
    for i, channels, normed, std in cache["parts"]:
        d = dout[i, channels]
        dgamma[channels] += (d * normed).sum((1, 2))
        back = d * gamma[channels, None, None]
        dx[i, channels] = (back - back.mean() - normed * (back * normed).mean()) / std
    return [dx, dgamma, dbeta]


def _split_forward(x, gamma, beta, G, eps=1e-5):
    if x.shape[1] % G != 0:
        raise ValueError(f"G is {G}, but there are {x.shape[1]} channels")
    parts, scales = [], []
    for part in x.chunk(G, dim=1):
        centred = part - part.mean((1, 2, 3), keepdim=True)
        scales.append((centred.pow(2).mean((1, 2, 3), keepdim=True) + eps).rsqrt().expand_as(part))
        parts.append(centred * scales[-1])
    x_hat, r = torch.cat(parts, 1), torch.cat(scales, 1)
    return [torch.einsum("nchw,c->nchw", x_hat, gamma) + beta.reshape(1, -1, 1, 1), (x_hat, r, gamma, G)]


def _split_backward(dout, cache):
    x_hat, r, gamma, G = cache
    back = torch.einsum("nchw,c->nchw", dout, gamma)
    taken = [
        b.mean((1, 2, 3), keepdim=True) + n * (b * n).mean((1, 2, 3), keepdim=True)
        for b, n in zip(back.chunk(G, 1), x_hat.chunk(G, 1), strict=True)
    ]
    dgamma = torch.einsum("nchw,nchw->c", dout, x_hat)
    return (back - torch.cat(taken, 1)) * r, dgamma, torch.einsum("nchw->c", dout)


def _spoilt_group(function, fault):
    if function is _group_backward:
        return lambda dout, cache: _group_backward(dout, cache, fault)
    return lambda x, gamma, beta, G, eps=1e-5: _group_forward(x, gamma, beta, G, eps, fault)


def _image_case(name, shape, mean=0.0, std=1.0, dout_std=1.0, gamma=None, **options):
    return Case(
        name,
        x=normal(*shape, mean=mean, std=std),
        gamma=gamma or normal(shape[1]),
        beta=normal(shape[1]),
        **options,
        dout=normal(*shape, std=dout_std),
    )


spatial_groupnorm = Hidden(
    cases=[
        _image_case("one group", (2, 4, 3, 2), mean=1.0, G=1, refused=3),
        _image_case("a group per channel", (2, 3, 4, 2), mean=1.0, G=3, refused=2),
        _image_case("one image, one pixel", (1, 6, 1, 1), G=2, refused=4),
        _image_case("more groups than channels refused", (2, 2, 2, 3), G=2, refused=4),
        _image_case("one channel", (3, 1, 2, 4), G=1, refused=2),
        _image_case("all axes as long", (4, 4, 4, 4), mean=1.0, G=2, refused=3),
        _image_case("G * G = C", (2, 9, 2, 1), G=3, refused=6),
        _image_case("far from zero", (2, 4, 3, 3), mean=1e5, std=0.3, G=2, refused=3),
        _image_case("eps 0.01", (2, 6, 2, 3), std=0.1, G=3, refused=4, eps=0.01),
        _image_case("gamma of 0", (2, 4, 2, 3), gamma=given([0.0, 1.0, -2.0, 0.5]), G=2, refused=3),
        _image_case("the same everywhere", (2, 4, 2, 3), std=0.0, G=2, refused=3),
        _image_case("non-contiguous", (2, 6, 3, 5), mean=2.0, G=3, refused=4).strided(),
        _image_case("float32", (3, 8, 2, 5), mean=1.0, std=2.0, G=4, refused=3).float32(),
        _image_case("no gradient from above", (2, 6, 2, 4), dout_std=0.0, G=2, refused=5),
    ],
    mutants={
        **{
            fault: (_spoilt_group(_group_forward, fault), _group_backward)
            for fault in (
                "refuses with an assertion",
                "leaves it to reshape",
                "C over G groups",
                "rows of the batch mixed",
                "needs contiguous memory",
                "eps ignored",
                "difference of squares",
                "gamma of the group",
            )
        },
        **{
            f"backward: {fault}": (_group_forward, _spoilt_group(_group_backward, fault))
            for fault in (
                "means over the pixels",
                "no product",
                "no mean",
                "summed over the group",
                "four axes",
                "order",
                "two gradients",
            )
        },
        "leaves it to torch": (
            lambda x, gamma, beta, G, eps=1e-5: (
                functional.group_norm(x, G, gamma, beta, eps),
                _group_forward(x, gamma, beta, G, eps)[1],
            ),
            _group_backward,
        ),
        "returns no cache": (
            lambda x, gamma, beta, G, eps=1e-5: _group_forward(x, gamma, beta, G, eps)[0],
            _group_backward,
        ),
        "backward not written": (_group_forward, lambda dout, cache: None),
    },
    solutions={
        "sums over a reshaped axis": (_group_forward, _group_backward),
        "group by group in loops, a dict for a cache": (_group_looping_forward, _group_looping_backward),
        "chunks and einsum, a list": (_split_forward, _split_backward),
    },
    equivalent={
        "spatial_groupnorm_forward: x.reshape(N, G, -1) -> x.reshape(G, N, -1)": (
            "the same pieces of memory in the same order, numbered in another way and put back alike"
        ),
    },
)


# Instance norm.


def _instance_forward(x, gamma, beta, eps=1e-5, fault=""):
    var, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    if fault == "eps ignored":
        eps = 1e-5
    if fault == "one axis of pixels":
        var, mean = torch.var_mean(x, 3, correction=0, keepdim=True)
    if fault == "variance over the batch":
        var = x.var((0, 2, 3), correction=0, keepdim=True)
    if fault == "first image's mean":
        mean = mean[:1]
    std = (var + eps).sqrt()
    x_hat = (x - mean) / std
    if fault == "beta along the width" and x.shape[3] == len(beta):
        return x_hat * gamma[:, None, None] + beta, (x_hat, std, gamma)
    return x_hat * gamma[:, None, None] + beta[:, None, None], (x_hat, std, gamma)


def _instance_backward(dout, cache, fault=""):
    x_hat, std, gamma = cache
    mean = dout.mean((2, 3), keepdim=True)
    product = (dout * x_hat).mean((2, 3), keepdim=True)
    if fault == "means over the batch":
        mean, product = mean.mean(0), product.mean(0)
    if fault == "no product":
        product = 0
    if fault == "sums for means":
        mean, product = mean * dout[0, 0].numel(), product * dout[0, 0].numel()
    dx = gamma[:, None, None] / std * (dout - mean - x_hat * product)
    dgamma, dbeta = (dout * x_hat).sum((0, 2, 3)), dout.sum((0, 2, 3))
    return (dx, dbeta, dgamma) if fault == "order" else (dx, dgamma, dbeta)


def _instance_by_batchnorm(x, gamma, beta, eps=1e-5):
    N, C, H, W = x.shape
    rows = x.reshape(N * C, H * W).T
    ones = torch.ones_like(rows[0])
    out, _, _, cache = rows_forward(rows, ones, 0 * ones, ones, ones, True, 0.9, eps)
    return out.T.reshape(x.shape) * gamma[:, None, None] + beta[:, None, None], (cache, gamma)


def _instance_by_batchnorm_backward(dout, cache):
    inner, gamma = cache
    N, C = dout.shape[:2]
    x_hat = inner[1].T.reshape(dout.shape)
    dx, _, _ = rows_backward((dout * gamma[:, None, None]).reshape(N * C, -1).T, inner)
    return [dx.T.reshape(dout.shape), (dout * x_hat).sum((0, 2, 3)), dout.sum((0, 2, 3))]


def _spoilt_instance(function, fault):
    if function is _instance_backward:
        return lambda dout, cache: _instance_backward(dout, cache, fault)
    return lambda x, gamma, beta, eps=1e-5: _instance_forward(x, gamma, beta, eps, fault)


instancenorm = Hidden(
    cases=[
        _image_case("one pixel", (3, 2, 1, 1)),
        _image_case("one image, one channel", (1, 1, 3, 4)),
        _image_case("all axes as long", (3, 3, 3, 3), mean=1.0),
        _image_case("a row of pixels", (2, 3, 1, 6)),
        _image_case("far from zero", (2, 3, 3, 4), mean=1e5, std=0.3),
        _image_case("the same everywhere", (2, 3, 2, 3), std=0.0),
        _image_case("eps 0.01", (2, 3, 2, 4), std=0.1, eps=0.01),
        _image_case("non-contiguous", (2, 3, 4, 5), mean=2.0).strided(),
        _image_case("float32", (3, 4, 2, 5), mean=1.0, std=2.0).float32(),
        _image_case("no gradient from above", (2, 3, 2, 4), dout_std=0.0),
    ],
    mutants={
        **{
            fault: (_spoilt_instance(_instance_forward, fault), _instance_backward)
            for fault in (
                "eps ignored",
                "one axis of pixels",
                "variance over the batch",
                "first image's mean",
                "beta along the width",
            )
        },
        **{
            f"backward: {fault}": (_instance_forward, _spoilt_instance(_instance_backward, fault))
            for fault in ("means over the batch", "no product", "sums for means", "order")
        },
        "leaves it to torch": (
            lambda x, gamma, beta, eps=1e-5: (
                functional.instance_norm(x, weight=gamma, bias=beta, eps=eps),
                _instance_forward(x, gamma, beta, eps)[1],
            ),
            _instance_backward,
        ),
        "backward not written": (_instance_forward, lambda dout, cache: None),
    },
    solutions={
        "sums over two axes": (_instance_forward, _instance_backward),
        "batch norm of transposed rows, a list": (_instance_by_batchnorm, _instance_by_batchnorm_backward),
        "group norm in loops": (
            lambda x, gamma, beta, eps=1e-5: _group_looping_forward(x, gamma, beta, x.shape[1], eps),
            _group_looping_backward,
        ),
    },
)
