"""Sums of all pairs of rows, and products of batches of matrices."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Function, Mistake, Speed, normal

pairwise_sums = Function(
    functions=("pairwise_sums",),
    reference=lambda a, b: torch.stack(torch.broadcast_tensors(a.unsqueeze(1), b.unsqueeze(0))).sum(0),
    cases=[
        Case("three and five rows", a=normal(3, 4), b=normal(5, 4)),
        Case("as many rows as columns", a=normal(3, 3), b=normal(3, 3)),
    ],
    points={"sums": 3},
    is_loop_free=True,
    mistakes=[
        Mistake(
            "pairs row i with row i only",
            lambda a, b: a + b,
            hint="every row of a meets every row of b: give a an axis of length 1 for b's rows to fill",
        ),
        Mistake(
            "has the axes of a and b exchanged",
            lambda a, b: a[None] + b[:, None],
            hint="the first axis counts rows of a, the second rows of b",
        ),
        Mistake(
            "subtracts instead of adding",
            lambda a, b: a[:, None] - b[None],
            hint="sums are asked for; kNN will want the differences",
        ),
        Mistake(
            "multiplies instead of adding",
            lambda a, b: a[:, None] * b[None],
            hint="sums are asked for",
        ),
        Mistake(
            "adds up the columns too",
            lambda a, b: (a[:, None] + b[None]).sum(-1),
            hint="the last axis, of length D, stays",
        ),
        Mistake(
            "pairs columns with columns",
            lambda a, b: a[:, :, None] + b.T[None] if len(a) == a.shape[1] else a[:, :, None] + b[0],
            hint="the new axis goes between the rows and the columns of a, not at the end",
        ),
        Mistake(
            "runs all pairs together in one axis",
            lambda a, b: (a[:, None] + b[None]).flatten(0, 1),
            hint="i and j get an axis each: (N, M, D), not (N * M, D)",
        ),
        Mistake(
            "uses the first row of b only",
            lambda a, b: (a + b[0])[:, None].expand(-1, len(b), -1),
            hint="sums[i, j] depends on j",
        ),
    ],
)


def _products(x, y):
    return torch.einsum("bnm,bmp->bnp", x, y)


def _loop_over_products(x, y):
    return torch.stack([a @ b for a, b in zip(x, y, strict=True)])


batched_matmul = Function(
    functions=("batched_matmul",),
    reference=_products,
    cases=[
        Case("no size twice", x=normal(2, 3, 4), y=normal(2, 4, 5)),
        Case("all sizes equal", x=normal(3, 3, 3), y=normal(3, 3, 3)),
    ],
    points={"products": 2},
    is_loop_free=True,
    speed=Speed(_loop_over_products, factor=3, case=Case(x=normal(128, 8, 8), y=normal(128, 8, 8))),
    mistakes=[
        Mistake(
            "multiplies entry by entry",
            lambda x, y: x * y,
            hint="* works entry by entry; a matrix product adds up over the axis that the two share",
        ),
        Mistake(
            "multiplies in the opposite order",
            lambda x, y: y @ x,
            hint="matrix products do not commute: x comes first",
        ),
        Mistake(
            "transposes y",
            lambda x, y: x @ y.mT,
            hint="rows of x meet columns of y: y is used as it is",
        ),
        Mistake(
            "transposes x",
            lambda x, y: x.mT @ y,
            hint="rows of x meet columns of y: x is used as it is",
        ),
        Mistake(
            "uses the first matrix of y for the whole batch",
            lambda x, y: x @ y[0],
            hint="matrix b of x meets matrix b of y",
        ),
        Mistake(
            "adds up over the batch",
            lambda x, y: _products(x, y).sum(0),
            hint="the batch axis stays: B products come out",
        ),
        Mistake(
            "multiplies every matrix of x with every matrix of y",
            lambda x, y: x[:, None] @ y[None],
            hint="matrix b of x meets matrix b of y, so there are B products, not B * B",
        ),
        Mistake(
            "transposes the products",
            lambda x, y: _products(x, y).mT,
            hint="each product has the rows of x and the columns of y",
        ),
        Mistake(
            "takes the mean over the shared axis instead of the sum",
            lambda x, y: _products(x, y) / x.shape[2],
            hint="a matrix product adds up; nothing is divided",
        ),
        Mistake(
            "reverses the batch of y",
            lambda x, y: _products(x, y.flip(0)),
            hint="matrix b of x meets matrix b of y",
        ),
    ],
)
