"""Whitening by principal components."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, Mistake, drawn, given, normal


def _by_svd(X, k, eps):
    mean = X.sum(0) / X.shape[0]
    _, lengths, Vh = torch.linalg.svd(X - mean, full_matrices=False)
    V = Vh[:k].T.clone()
    for j in range(V.shape[1]):
        if V[V[:, j].abs().argmax(), j] < 0:
            V[:, j] = -V[:, j]
    W = V * (lengths[:k] ** 2 / len(X) + eps) ** -0.5
    return X @ W - mean @ W, mean, W


def _by_cov(X, k, eps):
    values, V = torch.linalg.eigh(torch.cov(X.T, correction=0).reshape(X.shape[1], X.shape[1]))
    V = V[:, torch.argsort(values, descending=True)[:k]]
    values = values.sort(descending=True).values[:k].clamp(min=0)
    peaks = torch.take_along_dim(V, V.abs().argmax(0)[None], 0)
    W = (V * torch.where(peaks < 0, -1, 1).to(V.dtype) / (values + eps).sqrt()).T.contiguous().T
    return (X - X.mean(0)) @ W, X.mean(0), W


def _whitened_in_float32(X, k, eps):
    return _by_svd(X.float(), k, eps)


def _keeps_all(X, k, eps):
    return _by_cov(X, X.shape[1], eps)


def _keeps_one_more(X, k, eps):
    return _by_cov(X, k + 1, eps)


def _mean_as_row(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, mean[None], W


def _returns_directions(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, mean, W / W.norm(dim=0)


def _transposed_map(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, mean, W.T


def _fixed_eps(X, k, eps):
    return _by_cov(X, k, 1e-5)


def _centres_in_place(X, k, eps):
    out = _by_cov(X.clone(), k, eps)
    X -= X.mean(0)
    return out


def _largest_negative(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return -Z, mean, -W


def _signs_by_sum(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    signs = torch.where(W.sum(0) < 0, -1.0, 1.0).to(W.dtype)
    return Z * signs, mean, W * signs


def _signs_by_scores(X, k, eps):
    """Make the largest projection positive instead of the largest entry of the eigenvector."""
    Z, mean, W = _by_cov(X, k, eps)
    signs = torch.take_along_dim(Z, Z.abs().argmax(0)[None], 0).sign()
    return Z * signs, mean, W * signs


def _random_signs(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    signs = torch.randint(0, 2, (k,)).to(W.dtype) * 2 - 1
    return Z * signs, mean, W * signs


def _exactly_unit_variance(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z / Z.std(0, correction=0), mean, W


def _zero_mean(X, k, eps):
    Z, mean, W = _by_cov(X, k, eps)
    return Z, torch.zeros_like(mean), W


def _overall_mean(X, k, eps):
    _, mean, W = _by_cov(X, k, eps)
    return (X - X.mean()) @ W, mean, W


def _singular_values_as_variances(X, k, eps):
    _, mean, W = _by_cov(X, k, eps)
    lengths = torch.linalg.svdvals(X - mean)[:k]
    V = W / W.norm(dim=0)
    W = V / (lengths + eps).sqrt()
    return (X - mean) @ W, mean, W


def _rows(count, columns, *, shift=0.0, ratio=2.0):
    """Draw rows whose covariance has eigenvalues ``ratio ** (-2 j)`` in a random orthonormal basis."""

    def draw(g):
        rank = min(count - 1, columns)
        raw = torch.randn(count, rank, generator=g, dtype=torch.float64)
        basis = torch.linalg.qr(raw - raw.mean(0))[0] * math.sqrt(count)
        rotation = torch.linalg.qr(torch.randn(columns, columns, generator=g, dtype=torch.float64))[0]
        centre = shift * torch.linspace(1, 2, columns, dtype=torch.float64)
        return basis * ratio ** -torch.arange(rank, dtype=torch.float64) @ rotation[:, :rank].T + centre

    return drawn(draw)


pca_whiten = Hidden(
    cases=[
        Case("one direction", X=_rows(7, 4), k=1, eps=0.05),
        Case("one sample", X=given([[3.0]]), k=1, eps=0.25),
        Case("two samples", X=_rows(2, 3, shift=1.0), k=1, eps=0.1),
        Case("more columns than samples", X=_rows(5, 9, shift=0.5), k=4, eps=0.01),
        Case("one column", X=normal(6, 1, mean=4.0), k=1, eps=0.1),
        Case("all directions", X=_rows(20, 4), k=4, eps=1e-4),
        Case("a large eps", X=_rows(10, 3, shift=-2.0), k=2, eps=5.0),
        Case("far from zero", X=_rows(15, 5, shift=20.0), k=3, eps=0.01),
        Case("large numbers", X=drawn(lambda g: 1e3 * _rows(8, 3).make(g)), k=2, eps=1.0),
        Case("float32", X=_rows(16, 5, shift=1.0), k=3, eps=0.05).float32(),
        Case("non-contiguous data", X=_rows(11, 4), k=2, eps=0.05).strided(),
    ],
    mistakes=[
        Mistake(
            "makes the largest projection positive",
            _signs_by_scores,
            hint="the sign is decided by the eigenvector's own entries, not by the projected data",
        ),
    ],
    mutants={
        "keeps all directions": _keeps_all,
        "keeps one direction too many": _keeps_one_more,
        "returns the mean as a row": _mean_as_row,
        "returns unit eigenvectors for W": _returns_directions,
        "returns W transposed": _transposed_map,
        "always uses eps = 1e-5": _fixed_eps,
        "centres the data in place": _centres_in_place,
        "makes the largest entry negative": _largest_negative,
        "makes the sum of the entries positive": _signs_by_sum,
        "leaves signs to chance": _random_signs,
        "scales Z to variance exactly 1": _exactly_unit_variance,
        "returns zeros for the mean": _zero_mean,
        "subtracts one mean over everything": _overall_mean,
        "takes singular values for variances": _singular_values_as_variances,
        "returns Z alone": lambda X, k, eps: _by_cov(X, k, eps)[0],
        "returns float64 whatever the input": lambda X, k, eps: tuple(v.double() for v in _by_cov(X, k, eps)),
    },
    solutions={"svd": _by_svd, "torch.cov": _by_cov, "float32": _whitened_in_float32},
    equivalent={
        "pca_whiten: values.flip(0) -> values.flip(-1)": "values has one axis",
        "pca_whiten: vectors * largest.sign() -> vectors / largest.sign()": "dividing by 1 or -1 multiplies by it",
        # Only eigenvalues of 0, up to rounding, are touched; their eigenvectors are not unique, so no case has them.
        "pca_whiten: values.clamp(min=0) -> values": "differs only where the eigenvector is not unique",
        "pca_whiten: values.clamp(min=0) -> values.clamp(min=-1)": "differs only where the eigenvector is not unique",
    },
)
