"""Weight norm, and batch norm folded into a convolution."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal, uniform

# Weight norm.


def _forward(v, g, fault=""):
    norm = torch.linalg.vector_norm(v, dim=0)
    if fault == "eps added":
        norm = norm + 1e-5
    if fault == "clamped norm":
        norm = norm.clamp(min=1.0)
    if fault == "v changed":
        v /= norm
        norm = torch.ones_like(norm)
    size = g.abs() if fault == "size of g" else g
    if fault == "exponential g":
        size = g.exp()
    w = size * v / norm
    if fault == "g per input" and len(v) == len(g):
        w = g[:, None] * v / norm
    return w, (v, norm, g)


def _backward(dw, cache, fault=""):
    v, norm, g = cache
    unit = v / norm
    dg = (dw * unit).sum(0)
    dv = g / norm * (dw - unit * dg)
    if fault == "projection on v":
        dv = g / norm * (dw - v * (dw * v).sum(0))
    if fault == "norm in front":
        dv = g * norm * (dw - unit * dg)
    if fault == "g inside":
        dv = (dw - g * unit * dg) / norm
    if fault == "one projection for all":
        dv = g / norm * (dw - unit * dg.sum())
    if fault == "order":
        return dg, dv
    if fault == "sign":
        return -dv, -dg
    if fault == "size of g":
        dv = dv * g.sign()
    return dv, dg


def _looping_forward(v, g):
    columns = []
    for m in range(v.shape[1]):
        length = sum(value**2 for value in v[:, m]) ** 0.5
        columns.append(v[:, m] * (g[m] / length))
    return torch.stack(columns, 1), {"v": v, "g": g}


def _looping_backward(dw, cache):
    v, g = cache["v"], cache["g"]
    dv, dg = torch.zeros_like(v), torch.zeros_like(g)
    for m in range(v.shape[1]):
        column, upstream = v[:, m], dw[:, m]
        length = column.dot(column).sqrt()
        dg[m] = upstream.dot(column) / length
        dv[:, m] = g[m] * upstream / length - g[m] * column.dot(upstream) * column / length**3
    return [dv, dg]


def _projecting_backward(dw, cache):
    v, norm, g = cache
    unit = v / norm
    eye = torch.eye(len(v), dtype=v.dtype, device=v.device)[:, :, None]
    projection = eye - torch.einsum("dm,em->dem", unit, unit)
    return torch.einsum("dem,em,m->dm", projection, dw, g / norm), torch.einsum("dm,dm->m", dw, unit)


def _spoilt(function, fault):
    if function is _backward:
        return lambda dw, cache: _backward(dw, cache, fault)
    return lambda v, g: _forward(v, g, fault)


def _case(name, D, M, v=None, g=None, std=1.0, dw_std=1.0):
    return Case(name, v=v or normal(D, M, std=std), g=g or normal(M), dw=normal(D, M, std=dw_std))


weight_norm = Hidden(
    cases=[
        _case("one input", 1, 3),
        _case("one output", 4, 1),
        _case("one of everything", 1, 1),
        _case("as many inputs as outputs", 4, 4),
        _case("g of 0 and below", 4, 3, g=given([0.0, -2.0, 1.5])),
        _case("long directions", 5, 3, std=1e4),
        _case("short directions", 5, 3, std=1e-4),
        _case("a zero among the entries", 3, 2, v=given([[0.0, 1.0], [3.0, 0.0], [-4.0, 0.0]])),
        _case("non-contiguous", 5, 4).strided(),
        _case("float32", 6, 5, std=0.1).float32(),
        _case("no gradient from above", 4, 3, dw_std=0.0),
    ],
    mutants={
        **{
            fault: (_spoilt(_forward, fault), _backward)
            for fault in ("eps added", "clamped norm", "v changed", "size of g", "exponential g", "g per input")
        },
        **{
            f"backward: {fault}": (_forward, _spoilt(_backward, fault))
            for fault in (
                "projection on v",
                "norm in front",
                "g inside",
                "one projection for all",
                "order",
                "sign",
                "size of g",
            )
        },
        "leaves it to torch": (lambda v, g: (torch._weight_norm(v, g[None], 1), _forward(v, g)[1]), _backward),
        "backward not written": (_forward, lambda dw, cache: None),
    },
    solutions={
        "column by column, a dict for a cache": (_looping_forward, _looping_backward),
        "with the projection matrix": (_forward, _projecting_backward),
        "results in float32": (
            lambda v, g: (_forward(v.double(), g.double())[0].float(), _forward(v.double(), g.double())[1]),
            lambda dw, cache: tuple(value.float() for value in _backward(dw.double(), cache)),
        ),
    },
)


# Folding.


def _fold(w, b, gamma, beta, running_mean, running_var, eps=1e-5, fault=""):
    if fault == "eps ignored":
        eps = 1e-5
    scale = gamma / (running_var + eps).sqrt()
    if fault == "size of gamma":
        scale = scale.abs()
    folded = (b - running_mean) * scale + beta
    if fault == "beta scaled":
        folded = (b - running_mean + beta) * scale
    if fault == "no scale in b":
        folded = b - running_mean + beta
    if fault == "w in place":
        w *= scale[:, None, None, None]
        return w, folded
    if fault == "last axis" and w.shape[3] == len(scale):
        return w * scale, folded
    if fault == "order":
        return folded, w * scale[:, None, None, None]
    if fault == "w alone":
        return w * scale[:, None, None, None]
    if fault == "flat filters":
        return w.flatten(1) * scale[:, None], folded
    if fault == "keeps axes":
        folded = folded[:, None, None]
    return w * scale[:, None, None, None], folded


def _fold_by_filter(w, b, gamma, beta, running_mean, running_var, eps=1e-5):
    filters, biases = [], []
    for f in range(len(w)):
        std = (running_var[f] + eps) ** 0.5
        filters.append(gamma[f] * w[f] / std)
        biases.append(gamma[f] * (b[f] - running_mean[f]) / std + beta[f])
    return [torch.stack(filters), torch.stack(biases)]


def _fold_by_matrix(w, b, gamma, beta, running_mean, running_var, eps=1e-5):
    matrix = torch.diag(gamma * torch.rsqrt(running_var + eps))
    return (matrix @ w.flatten(1)).reshape(w.shape), torch.mv(matrix, b) - torch.mv(matrix, running_mean) + beta


def _fold_by_probing(w, b, gamma, beta, running_mean, running_var, eps=1e-5):
    """Evaluate batch norm at 0 and at 1: what it adds, and what it multiplies by."""

    def evaluate(y):
        return gamma * (y - running_mean) / (running_var + eps).sqrt() + beta

    slope = evaluate(torch.ones_like(b)) - evaluate(torch.zeros_like(b))
    return torch.einsum("fchw,f->fchw", w, slope), evaluate(b)


def _fold_case(name, shape, gamma=None, spread=None, std=1.0, **options):
    filters = shape[0]
    return Case(
        name,
        w=normal(*shape, std=std),
        b=normal(filters),
        gamma=gamma or normal(filters),
        beta=normal(filters),
        running_mean=normal(filters),
        running_var=spread or uniform(filters, low=0.3, high=3.0),
        **options,
    )


fold_batchnorm = Hidden(
    cases=[
        _fold_case("one filter", (1, 3, 3, 3)),
        _fold_case("1×1 filters", (5, 4, 1, 1)),
        _fold_case("one channel", (4, 1, 2, 5)),
        _fold_case("all axes as long", (3, 3, 3, 3)),
        _fold_case("gamma of 0 and below", (3, 2, 2, 3), gamma=given([0.0, -2.0, 1.0])),
        _fold_case("small running variance, eps 0.01", (3, 2, 3, 1), spread=given([0.0, 1e-4, 0.02]), eps=0.01),
        _fold_case("large running variance", (2, 3, 2, 2), spread=given([1e6, 1e4])),
        _fold_case("non-contiguous", (4, 3, 2, 5)).strided(),
        _fold_case("float32", (6, 3, 3, 2)).float32(),
    ],
    mutants={
        fault: (
            lambda w, b, gamma, beta, running_mean, running_var, eps=1e-5, _fault=fault: _fold(
                w, b, gamma, beta, running_mean, running_var, eps, _fault
            )
        )
        for fault in (
            "eps ignored",
            "size of gamma",
            "beta scaled",
            "no scale in b",
            "w in place",
            "last axis",
            "order",
            "w alone",
            "flat filters",
            "keeps axes",
        )
    },
    solutions={
        "filter by filter, a list": _fold_by_filter,
        "a diagonal matrix": _fold_by_matrix,
        "batch norm at 0 and at 1": _fold_by_probing,
    },
)
