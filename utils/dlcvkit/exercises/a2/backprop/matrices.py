"""Whole matrices at a time: the product, the rule for broadcasting, and a layer made of gates."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Function, Mistake, normal
from dlcvkit.exercises.a2.backprop.gates import READY_MADE_SIGMOIDS


def _product(X, W):
    return functional.linear(X, W.T)


matmul = ForwardBackward(
    functions=("matmul_forward", "matmul_backward"),
    reference=_product,
    cases=[
        Case("4×3 times 3×2", X=normal(4, 3), W=normal(3, 2), dout=normal(4, 2)),
        Case("all square", X=normal(3, 3), W=normal(3, 3), dout=normal(3, 3)),
        Case("one row", X=normal(1, 5), W=normal(5, 4), dout=normal(1, 4)).strided(),
    ],
    points={"out": 1, "dX": 2, "dW": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "forgets to transpose W in dX",
            lambda X, W, dout: (X @ W, dout @ W, X.T @ dout),
            hint="dX has the shape of X; if all matrices are square, only the derivation tells which is transposed",
        ),
        Mistake(
            "forgets to transpose X in dW",
            lambda X, W, dout: (X @ W, dout @ W.T, X @ dout),
            hint="dW has the shape of W; if all matrices are square, only the derivation tells which is transposed",
        ),
        Mistake(
            "puts the factors of dW in the wrong order",
            lambda X, W, dout: (X @ W, dout @ W.T, dout.T @ X),
            hint="dW[d, m] adds up X[n, d] dout[n, m] over n: which index comes first?",
        ),
        Mistake(
            "puts the factors of dX in the wrong order",
            lambda X, W, dout: (X @ W, W @ dout.T, X.T @ dout),
            hint="dX[n, d] adds up dout[n, m] W[d, m] over m: which index comes first?",
        ),
        Mistake(
            "leaves the upstream gradient out",
            lambda X, W, dout: (
                X @ W,
                torch.ones_like(dout) @ W.T,
                X.T @ torch.ones_like(dout),
            ),
            hint="how does the loss depend on each entry of the output?",
        ),
        Mistake(
            "averages dW over the rows",
            lambda X, W, dout: (X @ W, dout @ W.T, X.T @ dout / len(X)),
            hint="W is used by every row, so the contributions add up; the mean over the images belongs to the loss",
        ),
        Mistake(
            "swaps the two gradients",
            lambda X, W, dout: (X @ W, X.T @ dout, dout @ W.T),
            hint="gradients come in the order of the inputs: X, then W",
        ),
        Mistake(
            "multiplies entry by entry",
            lambda X, W: X * W,
            hint="out[n, m] adds up products over d: look at the operator",
        ),
        Mistake(
            "multiplies by the transpose of W",
            lambda X, W: X @ W.T,
            hint="in this course weights have shape (D, M)",
        ),
    ],
)


def _kept_axes(d, shape):
    """``shape`` with axes of length 1 in front, as long as the shape of ``d``."""
    return (1,) * (d.dim() - len(shape)) + tuple(shape)


def _sum_over(d, shape, *, is_summed, reduce=torch.sum):
    """Reduce ``d`` over the axes that ``is_summed(axis, size before broadcasting, is new)`` picks."""
    new = d.dim() - len(shape)
    axes = [axis for axis, size in enumerate(_kept_axes(d, shape)) if is_summed(axis, size, axis < new)]
    return reduce(d, dim=axes, keepdim=True) if axes else d


def _all_over(d, shape):
    return _sum_over(d, shape, is_summed=lambda axis, size, is_new: size == 1)


def _take_first(d, shape):
    kept = _kept_axes(d, shape)
    return d[tuple(slice(0, 1) if size == 1 else slice(None) for size in kept)].reshape(shape)


sum_to_shape = Function(
    functions=("sum_to_shape",),
    reference=lambda dout, shape: dout.sum_to_size(shape),
    cases=[
        Case("(4, 3) to (3,)", dout=normal(4, 3), shape=(3,)),
        Case("(3, 3) to (3, 1)", dout=normal(3, 3), shape=(3, 1)),
        Case("(2, 3, 4) to (3, 1)", dout=normal(2, 3, 4), shape=(3, 1)),
        Case("nothing to do", dout=normal(2, 3), shape=(2, 3)),
    ],
    points={"sum": 3},
    forbidden=TORCH_LAYERS | AUTOGRAD | {"sum_to_size"},
    mistakes=[
        Mistake(
            "takes the mean over the broadcast axes",
            lambda dout, shape: _sum_over(
                dout, shape, is_summed=lambda axis, size, is_new: size == 1, reduce=torch.mean
            ).reshape(shape),
            hint="the gradients of all copies add up; nothing is divided",
        ),
        Mistake(
            "keeps the first of the copies instead of adding them up",
            lambda dout, shape: _take_first(dout, shape),
            hint="every copy made by broadcasting acts on the loss",
        ),
        Mistake(
            "leaves the axes that broadcasting added",
            lambda dout, shape: _all_over(dout, shape),
            hint="the result has exactly the shape asked for: which axes did the input not have at all?",
        ),
        Mistake(
            "drops the axes of length 1",
            lambda dout, shape: _all_over(dout, shape).squeeze(),
            hint="an axis of length 1 in the input is still there in its gradient: look at keepdim",
        ),
        Mistake(
            "adds up the new axes in front alone",
            lambda dout, shape: _sum_over(dout, shape, is_summed=lambda axis, size, is_new: is_new).reshape(
                dout.shape[dout.dim() - len(shape) :]
            ),
            hint="an axis of length 1 that was stretched is summed as well",
        ),
        Mistake(
            "adds up the stretched axes alone",
            lambda dout, shape: _sum_over(dout, shape, is_summed=lambda axis, size, is_new: not is_new and size == 1),
            hint="axes that the input did not have at all are summed as well",
        ),
        Mistake(
            "matches the shapes from the left",
            lambda dout, shape: dout.sum_to_size((*shape, *(1,) * (dout.dim() - len(shape)))).reshape(shape),
            hint="broadcasting matches shapes from the right",
        ),
        Mistake(
            "adds up everything",
            lambda dout, shape: dout.sum().expand(shape).clone(),
            hint="an axis that was not stretched keeps its entries apart",
        ),
        Mistake(
            "returns the gradient as it came",
            lambda dout, shape: dout,
            hint="the result has the shape that the input had before broadcasting",
        ),
        Mistake(
            "reshapes without adding up",
            lambda dout, shape: dout.flatten()[: torch.Size(shape).numel()].reshape(shape),
            hint="every copy made by broadcasting acts on the loss",
        ),
    ],
)


def _summed(change):
    """A broadcast addition whose backward treats both gradients by ``change(d, shape)``."""
    return lambda x, b, dout: (x + b, change(dout, x.shape), change(dout, b.shape))


broadcast_add = ForwardBackward(
    functions=("broadcast_add_forward", "broadcast_add_backward"),
    reference=lambda x, b: x + b,
    cases=[
        Case("a row to every row of 4×3", x=normal(4, 3), b=normal(3), dout=normal(4, 3)),
        Case("a column and a row", x=normal(4, 1), b=normal(1, 3), dout=normal(4, 3)),
        Case("one number per channel", x=normal(2, 3, 2, 4), b=normal(3, 1, 1), dout=normal(2, 3, 2, 4)),
    ],
    points={"out": 1, "dx": 1, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD | {"sum_to_size"},
    mistakes=[
        Mistake(
            "returns the upstream gradient in its own shape",
            _summed(lambda d, shape: d),
            hint="the gradient of an input has the shape of that input",
        ),
        Mistake(
            "takes the mean over the broadcast axes",
            _summed(lambda d, shape: d.sum_to_size(shape) * (torch.Size(shape).numel() / d.numel())),
            hint="the gradients of all copies add up; nothing is divided",
        ),
        Mistake(
            "keeps the first of the copies instead of adding them up",
            _summed(_take_first),
            hint="every copy made by broadcasting acts on the loss",
        ),
        Mistake(
            "adds up for b alone",
            lambda x, b, dout: (x + b, dout, dout.sum_to_size(b.shape)),
            hint="the first input may be the one that is stretched",
        ),
        Mistake(
            "leaves the upstream gradient out",
            _summed(lambda d, shape: torch.ones_like(d).sum_to_size(shape)),
            hint="how does the loss depend on each entry of the output?",
        ),
        Mistake("subtracts b", lambda x, b: x - b, hint="this gate adds: look at the operator, and at the sign of db"),
        Mistake("multiplies", lambda x, b: x * b, hint="this gate adds: look at the operator in forward"),
        Mistake(
            "adds up everything",
            _summed(lambda d, shape: d.sum().expand(shape).clone()),
            hint="an axis that was not stretched keeps its entries apart",
        ),
    ],
)


def _layer(X, W, b):
    return torch.sigmoid(functional.linear(X, W.T, b))


def _layer_backward(change):
    """A layer whose backward is given a wrong gradient of its scores, ``change(dout, out, scores)``."""

    def variant(X, W, b, dout):
        out = _layer(X, W, b)
        dscores = change(dout, out, X @ W + b)
        return out, dscores @ W.T, X.T @ dscores, dscores.sum(0)

    return variant


def _true_slope(dout, out, scores):
    return dout * out * (1 - out)


def _right_but(**changed):
    """A layer with one gradient replaced by ``changed(X, W, dscores)``."""

    def variant(X, W, b, dout):
        out = _layer(X, W, b)
        dscores = _true_slope(dout, out, None)
        right = {"dX": lambda X, W, d: d @ W.T, "dW": lambda X, W, d: X.T @ d, "db": lambda X, W, d: d.sum(0)}
        return out, *((right | changed)[name](X, W, dscores) for name in right)

    return variant


sigmoid_layer = ForwardBackward(
    functions=("sigmoid_layer_forward", "sigmoid_layer_backward"),
    reference=_layer,
    cases=[
        Case("4 rows, 3 features, 2 outputs", X=normal(4, 3), W=normal(3, 2), b=normal(2), dout=normal(4, 2)),
        Case("all square", X=normal(3, 3), W=normal(3, 3), b=normal(3), dout=normal(3, 3)),
    ],
    points={"out": 1, "dX": 1.5, "dW": 1.5, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD | READY_MADE_SIGMOIDS,
    mistakes=[
        Mistake(
            "leaves the bias out",
            lambda X, W, b: _layer(X, W, torch.zeros_like(b)),
            hint="three gates in a row: product, bias, sigmoid",
        ),
        Mistake(
            "leaves the sigmoid out",
            lambda X, W, b: functional.linear(X, W.T, b),
            hint="three gates in a row: product, bias, sigmoid",
        ),
        Mistake(
            "adds the bias after the sigmoid",
            lambda X, W, b: torch.sigmoid(X @ W) + b,
            hint="three gates in a row: product, bias, sigmoid",
        ),
        Mistake(
            "goes backward past the sigmoid as if it were not there",
            _layer_backward(lambda dout, out, scores: dout),
            hint="the gates in reverse: the sigmoid's backward comes first, and its result is the next one's upstream",
        ),
        Mistake(
            "takes the sigmoid's slope at the scores as if they were its output",
            _layer_backward(lambda dout, out, scores: dout * scores * (1 - scores)),
            hint="which cache belongs to which gate?",
        ),
        Mistake(
            "leaves the upstream gradient out",
            _layer_backward(lambda dout, out, scores: out * (1 - out)),
            hint="the gates in reverse: dout goes into the last one",
        ),
        Mistake(
            "takes the mean over the rows for db",
            _right_but(db=lambda X, W, d: d.mean(0)),
            hint="b was stretched over the rows: the gradients of all copies add up",
        ),
        Mistake(
            "does not add up over the rows for db",
            _right_but(db=lambda X, W, d: d),
            hint="the gradient of b has the shape of b",
        ),
        Mistake(
            "takes the first row for db",
            _right_but(db=lambda X, W, d: d[0]),
            hint="b was stretched over the rows: the gradients of all copies add up",
        ),
        Mistake(
            "forgets to transpose W in dX",
            _right_but(dX=lambda X, W, d: d @ W),
            hint="dX has the shape of X; if all matrices are square, only the derivation tells",
        ),
        Mistake(
            "averages dW over the rows",
            _right_but(dW=lambda X, W, d: X.T @ d / len(X)),
            hint="W is used by every row, so the contributions add up",
        ),
    ],
)
