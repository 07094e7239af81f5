"""Predicted labels, and the loop that trains."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, labels, normal

from .batches import sample, sample_apart, sample_by_uniform, sample_globally


def _by_loop(W, X):
    best = []
    for row in X:
        scores = (row[:, None] * W).sum(0).tolist()
        best.append(scores.index(max(scores)))
    return torch.tensor(best, device=X.device)


predict_linear = Hidden(
    cases=[
        Case("one row", W=normal(3, 5), X=normal(1, 3)),
        Case("two classes, many rows", W=normal(7, 2), X=normal(23, 7)),
        Case("ties everywhere", W=given([[1.0, 1.0, 1.0, 0.0]]), X=given([[2.0], [-1.0], [0.0], [5.0]])),
        Case("negative scores only", W=normal(4, 3, mean=-9, std=1), X=normal(6, 4, mean=9, std=1)),
        Case("scores of 1e6", W=normal(4, 6, std=1e3), X=normal(9, 4, std=1e3)),
        Case("float32", W=normal(6, 4), X=normal(8, 6)).float32(),
        Case("non-contiguous", W=normal(6, 4), X=normal(8, 6)).strided(),
    ],
    mutants={
        "the larger class wins a tie": lambda W, X: W.shape[1] - 1 - (X @ W).flip(1).argmax(1),
        "the exponential overflows": lambda W, X: ((X @ W).exp() / (X @ W).exp().sum(1, keepdim=True)).argmax(1),
        "only the first two classes": lambda W, X: (X @ W)[:, :2].argmax(1),
        "labels as floats": lambda W, X: (X @ W).argmax(1).to(X.dtype),
        "a column of labels": lambda W, X: (X @ W).argmax(1, keepdim=True),
        "labels count from 1": lambda W, X: (X @ W).argmax(1) + 1,
        "the last row is a bias": lambda W, X: (X[:, :-1] @ W[:-1] + W[-1]).argmax(1),
    },
    solutions={
        "loop over rows": _by_loop,
        "max with indices": lambda W, X: torch.einsum("nd,dc->nc", X, W).max(dim=1).indices,
        "in float32": lambda W, X: (X.float() @ W.float()).argmax(dim=-1).int(),
    },
)


def _start(X, y, generator, scale=1e-3):
    shape = (X.shape[1], int(y.max()) + 1)
    return scale * torch.randn(*shape, generator=generator, dtype=X.dtype, device=X.device)


def train(
    loss_fn,
    X,
    y,
    lr,
    reg,
    steps,
    batch_size,
    generator,
    *,
    scale=1e-3,
    factor=1.0,
    by_lr=True,
    extra=0,
    same_batch=False,
    with_reg=True,
    stale=False,
    whole=False,
    fixed_start=False,
    keep_first_gradient=False,
    decay=1.0,
    sample=sample,
):
    """Train; each keyword switches a mistake on."""
    W = _start(X, y, torch.Generator(device=X.device).manual_seed(0) if fixed_start else generator, scale)
    losses, batch, first_gradient, before = [], None, None, W
    for step in range(steps + extra):
        if batch is None or not same_batch:
            batch = (X, y) if whole else sample(X, y, batch_size, generator)
        loss, dW = loss_fn(W, *batch, reg if with_reg else 0.0)
        first_gradient = dW if first_gradient is None else first_gradient
        before = W
        W = W - factor * decay**step * (lr if by_lr else 1.0) * (first_gradient if keep_first_gradient else dW)
        losses.append(loss)
    return (before if stale else W), losses


def _training(**mistakes):
    return lambda *args: train(*args, **mistakes)


def _train_in_place(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    W = torch.empty(X.shape[1], y.amax() + 1, dtype=X.dtype, device=X.device)
    W.normal_(0, 1e-3, generator=generator)
    history = torch.zeros(steps, dtype=torch.float64, device=X.device)
    for step in range(steps):
        X_batch, y_batch = sample_by_uniform(X, y, batch_size, generator)
        history[step], gradient = loss_fn(W, X_batch, y_batch, reg)
        W -= lr * gradient
    return W, history


def _train_recursively(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    def go_on(W, losses):
        if len(losses) == steps:
            return W, losses
        loss, dW = loss_fn(W, *sample(X, y, batch_size, generator), reg)
        return go_on(torch.add(W, dW, alpha=-lr), (*losses, loss))

    return go_on(_start(X, y, generator), ())


def _train_by_batch_classes(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    _, y_first = sample(X, y, batch_size, generator)
    return train(loss_fn, X, y_first, lr, reg, steps, batch_size, generator, sample=lambda *a: sample(X, y, *a[2:]))


def _train_distinct_labels(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    distinct = torch.arange(len(y.unique()), device=y.device).repeat(len(y))[: len(y)]
    return train(loss_fn, X, distinct, lr, reg, steps, batch_size, generator, sample=lambda *a: sample(X, y, *a[2:]))


def _train_last_loss(*args):
    W, losses = train(*args)
    return W, losses[-1]


def _train_running_mean(*args):
    W, losses = train(*args)
    return W, [sum(losses[: i + 1]) / (i + 1) for i in range(len(losses))]


def _train_weights_only(*args):
    return train(*args)[0]


def _train_labels_apart(*args):
    return train(*args, sample=sample_apart)


def _train_ten_classes(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    W = 1e-3 * torch.randn(X.shape[1], 10, generator=generator, dtype=X.dtype, device=X.device)
    losses = []
    for _ in range(steps):
        loss, dW = loss_fn(W, *sample(X, y, batch_size, generator), reg)
        W = W - lr * dW
        losses.append(loss)
    return W, losses


def _train_float32(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    return train(loss_fn, X.float(), y, lr, reg, steps, batch_size, generator)


def _train_on_penalty(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    return train(lambda W, a, b, r: (loss_fn(W, a, b, r)[0], 2 * r * W), X, y, lr, reg, steps, batch_size, generator)


train_linear_classifier = Hidden(
    cases=[
        Case("one step", X=normal(6, 3), y=labels(6, 3), lr=0.5, reg=0.2, steps=1, batch_size=3, seed=3),
        Case("one image at a time", X=normal(15, 4), y=labels(15, 5), lr=0.02, reg=1.0, steps=25, batch_size=1, seed=4),
        Case(
            "one row", X=normal(1, 3), y=given([1], dtype=torch.int64), lr=0.1, reg=0.0, steps=5, batch_size=2, seed=5
        ),
        Case("many weights", X=normal(12, 80), y=labels(12, 5), lr=0.1, reg=0.1, steps=2, batch_size=4, seed=9),
        Case("float32", X=normal(12, 6), y=labels(12, 4), lr=0.1, reg=0.1, steps=9, batch_size=5, seed=6).float32(),
        Case("strided", X=normal(8, 3), y=labels(8, 2), lr=0.1, reg=0.5, steps=10, batch_size=8, seed=7).strided(),
        Case(
            "a step of size 1",
            X=normal(10, 4, std=0.1),
            y=labels(10, 3),
            lr=1.0,
            reg=0.1,
            steps=6,
            batch_size=4,
            seed=8,
        ),
    ],
    mutants={
        "climbs": _training(factor=-1.0),
        "takes double steps": _training(factor=2.0),
        "forgets lr": _training(by_lr=False),
        "one step too many": _training(extra=1),
        "one step too few": _training(extra=-1),
        "uses one batch all along": _training(same_batch=True),
        "uses all images": _training(whole=True),
        "leaves reg out": _training(with_reg=False),
        "returns the W before the last step": _training(stale=True),
        "starts at zero": _training(scale=0.0),
        "starts with standard normal numbers": _training(scale=1.0),
        "starts without the generator": _training(fixed_start=True),
        "never renews the gradient": _training(keep_first_gradient=True),
        "lets lr decay": _training(decay=0.9),
        "draws without the generator": _training(sample=sample_globally),
        "draws X and y apart": _train_labels_apart,
        "takes the number of classes from the first batch": _train_by_batch_classes,
        "counts the labels that occur": _train_distinct_labels,
        "returns the last loss alone": _train_last_loss,
        "returns running means of the loss": _train_running_mean,
        "returns W alone": _train_weights_only,
        "has ten classes": _train_ten_classes,
        "trains in float32": _train_float32,
        "follows the penalty alone": _train_on_penalty,
    },
    solutions={
        "in place, losses as a tensor": _train_in_place,
        "recursive, losses as a tuple": _train_recursively,
    },
    equivalent={
        "train_linear_classifier: 0.001 * torch.randn(X.shape[1], classes, generator=generator, dtype=X.dtype, "
        "device=X.device) -> -0.001 * torch.randn(X.shape[1], classes, generator=generator, dtype=X.dtype, "
        "device=X.device)": "normal numbers are as likely as their negatives",
        "train_linear_classifier: X.shape[1] -> X.shape[-1]": "X has two axes, so the second is the last",
    },
)
