"""Sums of all pairs of rows, and products of batches of matrices."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, normal


def _sums_by_loop(a, b):
    return torch.stack([row + b for row in a])


def _adds_in_place(a, b):
    a += b[0]
    return a[:, None] + (b - b[0])


def _sums_in_float32(a, b):
    return a.float()[:, None, :] + b.float()[None, :, :]


def _repeated(a, b):
    return a.unsqueeze(1).repeat(1, b.shape[0], 1) + b.unsqueeze(0).repeat(a.shape[0], 1, 1)


def _sums_with_gaps(a, b):
    return (b[:, None] + a[None]).transpose(0, 1)


def _swaps_if_square(a, b):
    sums = a[:, None] + b[None]
    return sums.transpose(0, 1) if len(a) == len(b) else sums


pairwise_sums = Hidden(
    cases=[
        Case("one row each", a=normal(1, 4), b=normal(1, 4)),
        Case("one row in a", a=normal(1, 3), b=normal(5, 3)),
        Case("one row in b", a=normal(6, 2), b=normal(1, 2)),
        Case("one column", a=normal(4, 1), b=normal(3, 1)),
        Case("equally many rows", a=normal(5, 2), b=normal(5, 2)),
        Case("float32", a=normal(3, 7), b=normal(2, 7)).float32(),
        Case("non-contiguous", a=normal(4, 3), b=normal(6, 3)).strided(),
        Case("large numbers", a=normal(3, 4, std=1e8), b=normal(2, 4, std=1e8)),
    ],
    mutants={
        "loops over rows of a": _sums_by_loop,
        "adds in place": _adds_in_place,
        "exchanges the axes of square results": _swaps_if_square,
        "works on contiguous tensors only": lambda a, b: a.view(-1)[: a.numel()].view(len(a), 1, -1) + b[None],
        "works on five rows only": lambda a, b: a[:, None] + b[:5].expand(5, -1),
        "pairs a with itself": lambda a, b: a[:, None] + a[None],
        "adds a twice": lambda a, b: 2 * a[:, None] + b[None],
        "takes the mean of the two": lambda a, b: (a[:, None] + b[None]) / 2,
        "returns a only": lambda a, b: a[:, None].expand(-1, len(b), -1),
        "puts the columns first": lambda a, b: (a[:, None] + b[None]).permute(2, 0, 1),
        "takes absolute values": lambda a, b: (a[:, None] + b[None]).abs(),
        "converts to float64": lambda a, b: a.double()[:, None] + b.double()[None],
    },
    solutions={
        "float32 inside": _sums_in_float32,
        "repeated instead of broadcast": _repeated,
        "a transposed result": _sums_with_gaps,
        "view with sizes": lambda a, b: a.reshape(a.shape[0], 1, a.shape[1]) + b,
    },
)


def _products_by_loop(x, y):
    out = x.new_zeros(x.shape[0], x.shape[1], y.shape[2])
    for b in range(x.shape[0]):
        out[b] = x[b] @ y[b]
    return out


def _scales_in_place(x, y):
    x *= 2
    return x @ y / 2


def _products_by_broadcasting(x, y):
    return (x[:, :, :, None] * y[:, None, :, :]).sum(dim=2)


def _transposed_products(x, y):
    return (y.transpose(1, 2) @ x.transpose(1, 2)).transpose(1, 2)


def _swaps_if_equal(x, y):
    return y @ x if x.shape == y.shape else x @ y


batched_matmul = Hidden(
    cases=[
        Case("one matrix", x=normal(1, 2, 5), y=normal(1, 5, 3)),
        Case("a row times a column", x=normal(4, 1, 6), y=normal(4, 6, 1)),
        Case("a column times a row", x=normal(3, 5, 1), y=normal(3, 1, 2)),
        Case("single numbers", x=normal(5, 1, 1), y=normal(5, 1, 1)),
        Case("batch as large as a matrix", x=normal(4, 4, 4), y=normal(4, 4, 4)),
        Case("float32", x=normal(3, 2, 7), y=normal(3, 7, 4)).float32(),
        Case("non-contiguous", x=normal(2, 3, 5), y=normal(2, 5, 4)).strided(),
        Case("large numbers", x=normal(2, 3, 4, std=1e8), y=normal(2, 4, 2, std=1e8)),
    ],
    mutants={
        "loops over the batch": _products_by_loop,
        "doubles x in place": _scales_in_place,
        "multiplies square matrices in the opposite order": _swaps_if_equal,
        "works on contiguous tensors only": lambda x, y: x.view(-1).view(x.shape) @ y,
        "works on two matrices only": lambda x, y: torch.stack([x[0] @ y[0], x[1] @ y[1]]),
        "works on inner size 4 only": lambda x, y: (x.reshape(len(x), -1, 4)) @ y,
        "adds up over the wrong axis": lambda x, y: (x[:, :, :, None] * y[:, None, :, :]).sum(3),
        "leaves the last term out": lambda x, y: x[:, :, :-1] @ y[:, :-1],
        "returns the first product": lambda x, y: x[0] @ y[0],
        "runs the batch together": lambda x, y: (x @ y).flatten(0, 1),
        "takes the mean over the batch": lambda x, y: (x @ y).mean(0),
        "converts to float64": lambda x, y: x.double() @ y.double(),
        "drops axes of length 1": lambda x, y: (x @ y).squeeze(),
    },
    solutions={
        "matmul operator": lambda x, y: x @ y,
        "einsum": lambda x, y: torch.einsum("ijk,ikl->ijl", x, y),
        "products and a sum": _products_by_broadcasting,
        "a transposed result": _transposed_products,
        "float32 inside": lambda x, y: torch.bmm(x.float(), y.float()),
    },
)
