"""Whitening by principal components."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Function, Mistake, drawn


def _spectrum(X):
    """Return mean, eigenvalues from large to small, and eigenvectors as columns with LAPACK's signs."""
    mean = X.mean(0)
    centred = X - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(X))
    return mean, values.flip(0).clamp_min(0), vectors.flip(1)


def _largest_positive(V):
    rows = V.abs().argmax(0, keepdim=True)
    return V * torch.where(V.gather(0, rows) < 0, -1.0, 1.0).to(V.dtype)


def _pca_whiten(
    X,
    k,
    eps,
    *,
    fix_signs=_largest_positive,
    divisor=lambda values, eps: (values + eps).sqrt(),
    ascending=False,
    scale=1.0,
):
    mean, values, V = _spectrum(X)
    if ascending:
        values, V = values.flip(0), V.flip(1)
    W = fix_signs(V[:, :k]) / divisor(values[:k] * scale, eps)
    return (X - mean) @ W, mean, W


def _signs_of_svd(X, k, eps):
    mean = X.mean(0)
    _, lengths, Vh = torch.linalg.svd(X - mean, full_matrices=False)
    W = Vh[:k].T / (lengths[:k].square() / len(X) + eps).sqrt()
    return (X - mean) @ W, mean, W


def _does_not_center(X, k, eps):
    values, V = torch.linalg.eigh(X.T @ X / len(X))
    W = _largest_positive(V.flip(1)[:, :k]) / (values.flip(0)[:k] + eps).sqrt()
    return X @ W, X.mean(0), W


def _projects_uncentred(X, k, eps):
    _, mean, W = _pca_whiten(X, k, eps)
    return X @ W, mean, W


def _rotates_back(X, k, eps):
    mean, values, V = _spectrum(X)
    W = V[:, :k] / (values[:k] + eps).sqrt() @ V[:, :k].T
    return (X - mean) @ W, mean, W


def _rows_for_columns(X, k, eps):
    mean, values, V = _spectrum(X)
    W = _largest_positive(V.T[:, :k]) / (values[:k] + eps).sqrt()
    return (X - mean) @ W, mean, W


def _divides_by_columns(X, k, eps):
    mean, std = X.mean(0), X.std(0, correction=0)
    return ((X - mean) / std)[:, :k], mean, torch.diag(1 / std)[:, :k]


def _correlated(rows, columns, *, shift=0.0):
    """Draw rows whose covariance has well separated eigenvalues and no axis-parallel eigenvectors."""

    def draw(g):
        scales = 2.0 ** -torch.arange(columns, dtype=torch.float64)
        rotation = torch.linalg.qr(torch.randn(columns, columns, generator=g, dtype=torch.float64))[0]
        # Orthonormal columns with mean zero make the eigenvalues the squares of the scales, whatever the seed.
        raw = torch.randn(rows, min(rows - 1, columns), generator=g, dtype=torch.float64)
        basis = torch.linalg.qr(raw - raw.mean(0))[0] * math.sqrt(rows)
        centre = shift * torch.linspace(1, 2, columns, dtype=torch.float64)
        return (basis * scales[: basis.shape[1]]) @ rotation[:, : basis.shape[1]].T + centre

    return drawn(draw)


pca_whiten = Function(
    functions=("pca_whiten",),
    reference=_pca_whiten,
    cases=[
        Case("12 rows of 5, 3 directions", X=_correlated(12, 5, shift=2.0), k=3, eps=0.01),
        Case("9 rows of 3, all directions", X=_correlated(9, 3, shift=-1.0), k=3, eps=0.1),
    ],
    points={"Z": 3, "mean": 1, "W": 2},
    mistakes=[
        Mistake(
            "does not centre the data",
            _does_not_center,
            hint="subtract the mean of each column before anything else",
        ),
        Mistake(
            "projects the data without centring it",
            _projects_uncentred,
            hint="what is projected is X minus its mean",
        ),
        Mistake(
            "takes the mean of each row",
            lambda X, k, eps: (_pca_whiten(X, k, eps)[0], X.mean(1), _pca_whiten(X, k, eps)[2]),
            hint="the mean has one entry per column of X: average over the rows",
        ),
        Mistake(
            "divides the covariance by N - 1",
            lambda X, k, eps: _pca_whiten(X, k, eps, scale=len(X) / (len(X) - 1)),
            hint="the covariance here is the mean over N rows",
        ),
        Mistake(
            "does not divide the covariance by N",
            lambda X, k, eps: _pca_whiten(X, k, eps, scale=len(X)),
            hint="the covariance here is the mean over N rows",
        ),
        Mistake(
            "rotates without whitening",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: 1.0),
            hint="after the rotation each direction is divided by its standard deviation",
        ),
        Mistake(
            "divides by the variance instead of the standard deviation",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: values + eps),
            hint="an eigenvalue is a variance; the standard deviation is its root",
        ),
        Mistake(
            "adds eps outside the root",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: values.sqrt() + eps),
            hint="eps is added to the eigenvalue, under the root",
        ),
        Mistake(
            "leaves eps out",
            lambda X, k, eps: _pca_whiten(X, k, eps, divisor=lambda values, eps: values.sqrt()),
            hint="eps is added to the eigenvalue, under the root",
        ),
        Mistake(
            "takes singular values for variances",
            lambda X, k, eps: _pca_whiten(
                X, k, eps, divisor=lambda values, eps: ((values * len(X)).sqrt() + eps).sqrt()
            ),
            hint="the singular values of X - mean are the roots of N times the eigenvalues",
        ),
        Mistake(
            "keeps all directions",
            lambda X, k, eps: _pca_whiten(X, X.shape[1], eps),
            hint="keep the first k columns",
        ),
        Mistake(
            "keeps the directions of smallest variance",
            lambda X, k, eps: _pca_whiten(X, k, eps, ascending=True),
            hint="eigh sorts from small to large; the directions wanted are the last ones, largest first",
        ),
        Mistake(
            "lists the directions from small to large variance",
            lambda X, k, eps: tuple(value if value.dim() == 1 else value.flip(1) for value in _pca_whiten(X, k, eps)),
            hint="the direction of largest variance comes first",
        ),
        Mistake(
            "leaves the signs of the eigenvectors as eigh gives them",
            lambda X, k, eps: _pca_whiten(X, k, eps, fix_signs=lambda V: V),
            hint="in each column, the entry of largest absolute value is positive",
        ),
        Mistake(
            "leaves the signs of the eigenvectors as svd gives them",
            _signs_of_svd,
            hint="in each column, the entry of largest absolute value is positive",
        ),
        Mistake(
            "makes the first entry of each eigenvector positive",
            lambda X, k, eps: _pca_whiten(X, k, eps, fix_signs=lambda V: V * V[:1].sign()),
            hint="in each column, the entry of largest absolute value is positive",
        ),
        Mistake(
            "rotates back to the original axes",
            _rotates_back,
            hint="W has one column per direction: shape (D, k)",
        ),
        Mistake(
            "takes rows of the matrix of eigenvectors for columns",
            _rows_for_columns,
            hint="eigh returns eigenvectors as columns; svd returns them as rows",
        ),
        Mistake(
            "divides each column by its standard deviation without rotating",
            _divides_by_columns,
            hint="whitening removes correlations: rotate to the eigenvectors of the covariance first",
        ),
    ],
)
