"""Whole matrices at a time: the product, sums that undo broadcasting, and a layer of sigmoids."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal


def _matrices(n, d, m, **options):
    return {"X": normal(n, d, **options), "W": normal(d, m), "dout": normal(n, m)}


def _matmul_loop(X, W):
    out = X.new_zeros(X.shape[0], W.shape[1])
    for d in range(X.shape[1]):
        out += X[:, d, None] * W[None, d]
    return out, {"X": X, "W": W}


def _matmul_loop_backward(dout, cache):
    X, W = cache["X"], cache["W"]
    dX, dW = torch.zeros_like(X), torch.zeros_like(W)
    for n in range(X.shape[0]):
        for m in range(W.shape[1]):
            dX[n] += dout[n, m] * W[:, m]
            dW[:, m] += dout[n, m] * X[n]
    return [dX, dW]


def _matmul(X, W):
    return X @ W, (X, W)


matmul = Hidden(
    cases=[
        Case("one row, one feature, one output", **_matrices(1, 1, 1)),
        Case("one feature", **_matrices(5, 1, 3)),
        Case("one output", **_matrices(5, 3, 1)),
        Case("with gaps", **_matrices(4, 6, 5)).strided(),
        Case("float32", **_matrices(7, 5, 3)).float32(),
        Case("numbers of 1e5", **_matrices(3, 4, 5, std=1e5)),
        Case("no upstream gradient", X=normal(2, 3), W=normal(3, 4), dout=given([[0.0] * 4] * 2)),
        Case("N = M", **_matrices(3, 5, 3)),
    ],
    mutants={
        "swaps the gradients": (_matmul, lambda dout, cache: (cache[0].T @ dout, dout @ cache[1].T)),
        "dX from the right, untransposed": (_matmul, lambda dout, cache: (dout @ cache[1], cache[0].T @ dout)),
        "dW transposed": (_matmul, lambda dout, cache: (dout @ cache[1].T, dout.T @ cache[0])),
        "dW from the first row": (
            _matmul,
            lambda dout, cache: (dout @ cache[1].T, cache[0][:1].T @ dout[:1]),
        ),
        "changes the upstream gradient": (
            _matmul,
            lambda dout, cache: (dout.mul_(2) @ cache[1].T / 2, cache[0].T @ dout / 2),
        ),
        "negative dW": (_matmul, lambda dout, cache: (dout @ cache[1].T, -cache[0].T @ dout)),
        "one gradient only": (_matmul, lambda dout, cache: dout @ cache[1].T),
        "sums dout over the outputs": (
            _matmul,
            lambda dout, cache: (
                dout.sum(1, keepdim=True) * cache[1].sum(1)[None],
                cache[0].T @ dout,
            ),
        ),
        "uses autograd": (
            _matmul,
            lambda dout, cache: torch.autograd.functional.vjp(lambda X, W: X @ W, cache, dout)[1],
        ),
    },
    solutions={
        "loops, a list of gradients": (_matmul_loop, _matmul_loop_backward),
        "by einsum": (
            lambda X, W: (torch.einsum("nd,dm->nm", X, W), (W, X)),
            lambda dout, cache: (
                torch.einsum("nm,dm->nd", dout, cache[0]),
                torch.einsum("nd,nm->dm", cache[1], dout),
            ),
        ),
        "by broadcasting": (
            lambda X, W: ((X[:, :, None] * W[None]).sum(1), (X, W)),
            lambda dout, cache: (
                (dout[:, None, :] * cache[1][None]).sum(2),
                (dout.T @ cache[0]).T,
            ),
        ),
    },
)


def _sum_from_the_left(dout, shape):
    while dout.dim() > len(shape):
        dout = dout.sum(-1)
    for axis, size in enumerate(shape):
        if size == 1:
            dout = dout.sum(axis, keepdim=True)
    return dout


def _sum_at_once(dout, shape):
    padded = (1,) * (dout.dim() - len(shape)) + tuple(shape)
    axes = [axis for axis, size in enumerate(padded) if size == 1]
    return (dout.sum(axes, keepdim=True) if axes else dout).reshape(shape)


def _sum_by_differences(dout, shape):
    """Look at which sizes differ, instead of which are 1."""
    while dout.dim() > len(shape):
        dout = dout.sum(0)
    for axis in range(dout.dim()):
        if dout.shape[axis] != shape[axis]:
            dout = torch.stack([part.unsqueeze(axis) for part in dout.unbind(axis)]).sum(0)
    return dout


def _sum_by_index(dout, shape):
    """Count where every entry came from."""
    source = torch.arange(torch.Size(shape).numel(), device=dout.device).reshape(shape).expand(dout.shape)
    out = dout.new_zeros(torch.Size(shape).numel())
    out.index_add_(0, source.reshape(-1), dout.reshape(-1))
    return out.reshape(shape)


def _sum_drops_ones(dout, shape):
    return _sum_at_once(dout, shape).squeeze()


def _sum_in_place(dout, shape):
    result = _sum_at_once(dout, shape)
    dout.zero_()
    return result


def _one_added_axis(dout, shape):
    if dout.dim() > len(shape):
        dout = dout.sum(0)
    for axis, size in enumerate(shape):
        if size == 1:
            dout = dout.sum(axis, keepdim=True)
    return dout.reshape(shape) if dout.numel() == torch.Size(shape).numel() else dout


def _first_stretched_axis(dout, shape):
    while dout.dim() > len(shape):
        dout = dout.sum(0)
    for axis, size in enumerate(shape):
        if size == 1:
            return dout.sum(axis, keepdim=True)
    return dout


sum_to_shape = Hidden(
    cases=[
        Case("(4, 3) to ()", dout=normal(4, 3), shape=()),
        Case("(2, 3, 4, 5) to (4, 1)", dout=normal(2, 3, 4, 5), shape=(4, 1)),
        Case("(2, 3, 4) to (1, 3, 1)", dout=normal(2, 3, 4), shape=(1, 3, 1)),
        Case("(2, 3, 4) to (1,)", dout=normal(2, 3, 4), shape=(1,)),
        Case("(3, 1) to (1, 1)", dout=normal(3, 1), shape=(1, 1)),
        Case("all square", dout=normal(3, 3, 3), shape=(3, 1)),
        Case("(1, 3) to (3,)", dout=normal(1, 3), shape=(3,)),
        Case("() to ()", dout=normal(), shape=()),
        Case("with gaps", dout=normal(2, 4, 3), shape=(4, 1)).strided(),
        Case("float32", dout=normal(5, 4, 3), shape=(4, 1)).float32(),
        Case("numbers of 1e8", dout=normal(6, 3, std=1e8), shape=(1, 3)),
    ],
    mutants={
        "sums the last axes away": _sum_from_the_left,
        "drops axes of length 1": _sum_drops_ones,
        "changes dout": _sum_in_place,
        "sums one added axis at most": _one_added_axis,
        "sums one stretched axis at most": _first_stretched_axis,
        "sums absolute values": lambda dout, shape: _sum_at_once(dout.abs(), shape),
        "multiplies the copies": lambda dout, shape: _sum_at_once(dout.abs().log(), shape).exp(),
        "takes the largest of the copies": lambda dout, shape: dout.flatten().amax().expand(shape).clone(),
        "uses torch's own": lambda dout, shape: dout.sum_to_size(shape),
        "for matrices and rows alone": lambda dout, shape: (
            dout.sum(0) if len(shape) == 1 else _sum_at_once(dout, shape)
        ),
    },
    solutions={
        "all axes at once": _sum_at_once,
        "axis by axis where sizes differ": _sum_by_differences,
        "by index": _sum_by_index,
    },
)


def _broadcast(x, b):
    return x + b, (x, b)


def _sums(dout, cache):
    return tuple(_sum_at_once(dout, value.shape) for value in cache)


def _terms(x, b, out, **options):
    return {"x": normal(*x, **options), "b": normal(*b), "dout": normal(*out)}


broadcast_add = Hidden(
    cases=[
        Case("equal shapes", **_terms((3, 2), (3, 2), (3, 2))),
        Case("one row", **_terms((1, 4), (4,), (1, 4))),
        Case("a number b", **_terms((3, 2), (), (3, 2))),
        Case("a number x", **_terms((), (2, 3), (2, 3))),
        Case("x shorter than b", **_terms((3,), (4, 3), (4, 3))),
        Case("all square", **_terms((3, 3), (3,), (3, 3))),
        Case("with gaps", **_terms((2, 1, 4), (3, 1), (2, 3, 4))).strided(),
        Case("float32", **_terms((6, 4), (4,), (6, 4))).float32(),
        Case("numbers of 1e6", **_terms((5, 1), (1, 2), (5, 2), std=1e6)),
    ],
    mutants={
        "sums over axis 0 for b, always": (_broadcast, lambda dout, cache: (dout, dout.sum(0))),
        "swaps the shapes": (_broadcast, lambda dout, cache: _sums(dout, cache[::-1])),
        "swaps the gradients": (_broadcast, lambda dout, cache: _sums(dout, cache)[::-1]),
        "one stretched axis at most": (
            _broadcast,
            lambda dout, cache: tuple(_first_stretched_axis(dout, value.shape) for value in cache),
        ),
        "changes dout": (_broadcast, lambda dout, cache: (_sums(dout, cache)[0], _sum_in_place(dout, cache[1].shape))),
        "negative db": (_broadcast, lambda dout, cache: (_sums(dout, cache)[0], -_sums(dout, cache)[1])),
        "drops axes of length 1": (
            _broadcast,
            lambda dout, cache: tuple(_sum_drops_ones(dout, value.shape) for value in cache),
        ),
        "uses torch's own": (
            _broadcast,
            lambda dout, cache: tuple(dout.sum_to_size(value.shape) for value in cache),
        ),
    },
    solutions={
        "all axes at once": (_broadcast, _sums),
        "shapes in a dict, by index": (
            lambda x, b: (b + x, {"x": tuple(x.shape), "b": tuple(b.shape)}),
            lambda dout, cache: [_sum_by_index(dout, cache["x"]), _sum_by_index(dout, cache["b"])],
        ),
    },
)


def _layer(X, W, b):
    out = 0.5 * (1 + torch.tanh((X @ W + b) / 2))
    return out, (X, W, out)


def _layer_backward(dout, cache):
    X, W, out = cache
    dscores = dout * (out - out**2)
    return dscores @ W.T, X.T @ dscores, dscores.sum(0)


def _layer_neuron_by_neuron(X, W, b):
    columns = []
    for m in range(W.shape[1]):
        columns.append(1 / (1 + torch.exp(-(X * W[:, m]).sum(1) - b[m])))
    return torch.stack(columns, dim=1), {"X": X, "W": W, "columns": columns}


def _neuron_by_neuron_backward(dout, cache):
    X, W = cache["X"], cache["W"]
    dX, dW, db = torch.zeros_like(X), torch.zeros_like(W), W.new_zeros(W.shape[1])
    for m, out in enumerate(cache["columns"]):
        d = dout[:, m] * out * (1 - out)
        dX += d[:, None] * W[:, m]
        dW[:, m] = (d[:, None] * X).sum(0)
        db[m] = d.sum()
    return [dX, dW, db]


def _with_ones(X, W, b):
    """The bias trick: a column of ones beside X, a row b below W."""
    wide, tall = torch.cat([X, torch.ones_like(X[:, :1])], 1), torch.cat([W, b[None]])
    out = 1 / (1 + torch.exp(-(wide @ tall)))
    return out, (wide, tall, out)


def _with_ones_backward(dout, cache):
    wide, tall, out = cache
    dscores = dout * out * (1 - out)
    both = wide.T @ dscores
    return (dscores @ tall.T)[:, :-1], both[:-1], both[-1]


def _layer_with(slope):
    """A layer's backward with another slope of the sigmoid, ``slope(out)``."""

    def backward(dout, cache):
        X, W, out = cache
        dscores = dout * slope(out)
        return dscores @ W.T, X.T @ dscores, dscores.sum(0)

    return backward


def _parts(n, d, m, **options):
    return {"X": normal(n, d, **options), "W": normal(d, m), "b": normal(m), "dout": normal(n, m)}


sigmoid_layer = Hidden(
    cases=[
        Case("one row, one feature, one output", **_parts(1, 1, 1)),
        Case("one row", **_parts(1, 4, 3)),
        Case("one output", **_parts(5, 4, 1)),
        Case("with gaps", **_parts(4, 2, 5)).strided(),
        Case("float32", **_parts(6, 3, 4)).float32(),
        Case("scores of 1e4", **_parts(4, 3, 5, std=1e4)),
        Case("no upstream gradient", X=normal(2, 3), W=normal(3, 4), b=normal(4), dout=given([[0.0] * 4] * 2)),
    ],
    mutants={
        "slope out": (_layer, _layer_with(lambda out: out)),
        "slope of tanh": (_layer, _layer_with(lambda out: 1 - out**2)),
        "slope 1/4": (_layer, _layer_with(lambda out: torch.full_like(out, 0.25))),
        "bias subtracted": (lambda X, W, b: _layer(X, W, -b), _layer_backward),
        "bias before the product": (
            lambda X, W, b: _layer(X + b.mean(), W, 0 * b),
            _layer_backward,
        ),
        "swaps dW and db": (_layer, lambda dout, cache: [_layer_backward(dout, cache)[i] for i in (0, 2, 1)]),
        "gates in forward order": (
            _layer,
            lambda dout, cache: (
                (dout @ cache[1].T) * cache[0] * (1 - cache[0]),
                cache[0].T @ dout,
                dout.sum(0),
            ),
        ),
        "uses torch's sigmoid": (
            lambda X, W, b: (torch.sigmoid(X @ W + b), (X, W, torch.sigmoid(X @ W + b))),
            _layer_backward,
        ),
        "overflows": (
            lambda X, W, b: ((X @ W + b).exp() / (1 + (X @ W + b).exp()), (X, W, _layer(X, W, b)[0])),
            _layer_backward,
        ),
        "changes the upstream gradient": (
            _layer,
            lambda dout, cache: _layer_backward(dout.mul_(2), cache),
        ),
    },
    solutions={
        "by tanh": (_layer, _layer_backward),
        "neuron by neuron": (_layer_neuron_by_neuron, _neuron_by_neuron_backward),
        "the bias trick": (_with_ones, _with_ones_backward),
    },
)
