"""Hidden cases, mutants and other solutions for solutions/a1/linear_training.py."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from dlcvkit.answers import rows_with_bias, save_linear_answer
from dlcvkit.checking import Case, Hidden, given, labels, normal
from dlcvkit.data import channel_statistics, shapes
from dlcvkit.linear import softmax_loss


def _indices(X, batch_size, generator):
    return torch.randint(len(X), (batch_size,), generator=generator, device=X.device)


def _sample(X, y, batch_size, generator):
    rows = _indices(X, batch_size, generator)
    return X[rows], y[rows]


def _sample_by_uniform(X, y, batch_size, generator):
    u = torch.rand(batch_size, generator=generator, device=X.device, dtype=torch.float64)
    rows = (u * X.shape[0]).floor().long()
    return torch.index_select(X, 0, rows), torch.index_select(y, 0, rows)


def _sample_by_weights(X, y, batch_size, generator):
    weights = torch.ones(len(X), device=X.device)
    rows = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
    return [X[rows, :], y[rows]]


def _sample_apart(X, y, batch_size, generator):
    return X[_indices(X, batch_size, generator)], y[_indices(X, batch_size, generator)]


def _sample_globally(X, y, batch_size, generator):
    rows = torch.randint(len(X), (batch_size,), device=X.device)
    return X[rows], y[rows]


def _sample_own_generator(X, y, batch_size, generator):
    return _sample(X, y, batch_size, torch.Generator(device=X.device).manual_seed(0))


def _sample_own_seed_once(X, y, batch_size, generator):
    return _sample(X, y, batch_size, generator.manual_seed(0))


def _sample_first(X, y, batch_size, generator):
    return X[:batch_size], y[:batch_size]


def _sample_without_last(X, y, batch_size, generator):
    rows = torch.randint(max(len(X) - 1, 1), (batch_size,), generator=generator, device=X.device)
    return X[rows], y[rows]


def _sample_without_first(X, y, batch_size, generator):
    rows = torch.randint(min(1, len(X) - 1), len(X), (batch_size,), generator=generator, device=X.device)
    return X[rows], y[rows]


def _sample_without_replacement(X, y, batch_size, generator):
    rows = torch.randperm(len(X), generator=generator, device=X.device)[:batch_size]
    return X[rows], y[rows]


def _sample_columns(X, y, batch_size, generator):
    rows = torch.randint(X.shape[1], (batch_size,), generator=generator, device=X.device)
    return X[rows], y[rows]


def _sample_x_only(X, y, batch_size, generator):
    return X[_indices(X, batch_size, generator)]


def _sample_stretch(X, y, batch_size, generator):
    first = int(torch.randint(max(len(X) - batch_size, 1), (1,), generator=generator, device=X.device))
    return X[first : first + batch_size], y[first : first + batch_size]


sample_batch = Hidden(
    cases=[
        Case("one row", X=normal(1, 4), y=given([0], dtype=torch.int64), batch_size=3, seed=3),
        Case("one row at a time", X=normal(3, 7), y=labels(3, 2), batch_size=1, seed=4),
        Case("float32", X=normal(7, 2), y=labels(7, 3), batch_size=5, seed=5).float32(),
        Case("non-contiguous", X=normal(9, 4), y=labels(9, 5), batch_size=9, seed=6).strided(),
    ],
    mutants={
        "draws X and y apart": _sample_apart,
        "ignores the generator": _sample_globally,
        "makes a generator of its own": _sample_own_generator,
        "seeds the generator anew": _sample_own_seed_once,
        "always the first rows": _sample_first,
        "never the last row": _sample_without_last,
        "never the first row": _sample_without_first,
        "draws without replacement": _sample_without_replacement,
        "draws as many numbers as there are columns": _sample_columns,
        "returns X alone": _sample_x_only,
        "takes neighbouring rows": _sample_stretch,
    },
    solutions={
        "scales uniform numbers": _sample_by_uniform,
        "multinomial, returned as a list": _sample_by_weights,
    },
    equivalent={
        "sample_batch: torch.randint(len(X), (batch_size,), generator=generator, device=X.device) -> "
        "torch.randint(len(X), (batch_size,), generator=generator)": "the CPU is the default device, and rows may be "
        "indexed from there; with a GPU the same cases run on it, and its generator refuses to draw on the CPU",
    },
)


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


def _train(
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
    sample=_sample,
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
    return lambda *args: _train(*args, **mistakes)


def _train_in_place(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    W = torch.empty(X.shape[1], y.amax() + 1, dtype=X.dtype, device=X.device)
    W.normal_(0, 1e-3, generator=generator)
    history = torch.zeros(steps, dtype=torch.float64, device=X.device)
    for step in range(steps):
        X_batch, y_batch = _sample_by_uniform(X, y, batch_size, generator)
        history[step], gradient = loss_fn(W, X_batch, y_batch, reg)
        W -= lr * gradient
    return W, history


def _train_recursively(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    def go_on(W, losses):
        if len(losses) == steps:
            return W, losses
        loss, dW = loss_fn(W, *_sample(X, y, batch_size, generator), reg)
        return go_on(torch.add(W, dW, alpha=-lr), (*losses, loss))

    return go_on(_start(X, y, generator), ())


def _train_by_batch_classes(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    _, y_first = _sample(X, y, batch_size, generator)
    return _train(loss_fn, X, y_first, lr, reg, steps, batch_size, generator, sample=lambda *a: _sample(X, y, *a[2:]))


def _train_distinct_labels(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    distinct = torch.arange(len(y.unique()), device=y.device).repeat(len(y))[: len(y)]
    return _train(loss_fn, X, distinct, lr, reg, steps, batch_size, generator, sample=lambda *a: _sample(X, y, *a[2:]))


def _train_last_loss(*args):
    W, losses = _train(*args)
    return W, losses[-1]


def _train_running_mean(*args):
    W, losses = _train(*args)
    return W, [sum(losses[: i + 1]) / (i + 1) for i in range(len(losses))]


def _train_weights_only(*args):
    return _train(*args)[0]


def _train_labels_apart(*args):
    return _train(*args, sample=_sample_apart)


def _train_ten_classes(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    W = 1e-3 * torch.randn(X.shape[1], 10, generator=generator, dtype=X.dtype, device=X.device)
    losses = []
    for _ in range(steps):
        loss, dW = loss_fn(W, *_sample(X, y, batch_size, generator), reg)
        W = W - lr * dW
        losses.append(loss)
    return W, losses


def _train_float32(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    return _train(loss_fn, X.float(), y, lr, reg, steps, batch_size, generator)


def _train_on_penalty(loss_fn, X, y, lr, reg, steps, batch_size, generator):
    return _train(lambda W, a, b, r: (loss_fn(W, a, b, r)[0], 2 * r * W), X, y, lr, reg, steps, batch_size, generator)


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
        "draws without the generator": _training(sample=_sample_globally),
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


def _by_where(W, l1, l2):
    slope = torch.where(W > 0, 1.0, 0.0) - torch.where(W < 0, 1.0, 0.0)
    return (l1 * W.abs() + l2 * W**2).sum().item(), (l1 * slope + 2 * l2 * W).to(W.dtype)


def _in_float32(W, l1, l2):
    V = W.float()
    return l1 * V.abs().sum() + l2 * V.square().sum(), (l1 * V.sgn() + 2 * l2 * V).T.contiguous().T


def _changes_w(W, l1, l2):
    R = l1 * W.abs().sum() + l2 * W.square().sum()
    gradient = l1 * W.sign()
    W *= 2 * l2
    return R, gradient + W


def _divides_by_w(W, l1, l2):
    return l1 * W.abs().sum() + l2 * W.square().sum(), l1 * W / W.abs() + 2 * l2 * W


def _by_autograd(W, l1, l2):
    V = W.clone().requires_grad_()
    with torch.enable_grad():
        R = l1 * V.abs().sum() + l2 * V.square().sum()
        R.backward()
    return R.detach(), V.grad


elastic_net_penalty = Hidden(
    cases=[
        Case("one weight", W=given([[-3.0]]), l1=0.25, l2=2.0),
        Case("one column", W=normal(7, 1), l1=1.5, l2=0.5),
        Case("no l1", W=normal(3, 5), l1=0.0, l2=0.8),
        Case("no l2", W=normal(5, 3), l1=0.8, l2=0.0),
        Case("all zeros", W=given([[0.0, 0.0], [0.0, 0.0]]), l1=1.0, l2=1.0),
        Case("weights of 1e5", W=normal(3, 4, std=1e5), l1=0.5, l2=0.01),
        Case("float32", W=normal(6, 5), l1=0.2, l2=0.3).float32(),
        Case("non-contiguous", W=normal(4, 6), l1=0.2, l2=0.3).strided(),
        # A gradient by difference quotients is right, but it takes too long for as many weights.
        Case("many weights", W=normal(20_000, 10), l1=0.2, l2=0.3),
    ],
    mutants={
        "changes W": _changes_w,
        "divides by the absolute value": _divides_by_w,
        "uses autograd": _by_autograd,
        "returns the gradient alone": lambda W, l1, l2: l1 * W.sign() + 2 * l2 * W,
        "gradient before penalty": lambda W, l1, l2: (
            l1 * W.sign() + 2 * l2 * W,
            l1 * W.abs().sum() + l2 * W.square().sum(),
        ),
        "penalty per column": lambda W, l1, l2: (
            l1 * W.abs().sum(0) + l2 * W.square().sum(0),
            l1 * W.sign() + 2 * l2 * W,
        ),
        "gradient descends": lambda W, l1, l2: (
            l1 * W.abs().sum() + l2 * W.square().sum(),
            -l1 * W.sign() - 2 * l2 * W,
        ),
        "l1 inside the square": lambda W, l1, l2: (
            (l1 * W.abs() + l2 * W).square().sum(),
            l1 * W.sign() + 2 * l2 * W,
        ),
    },
    solutions={"by where, a Python float": _by_where, "in float32, non-contiguous": _in_float32},
)


def _trials(make_model, lrs, regs, X_train, y_train):
    for i, lr in enumerate(lrs):
        for j, reg in enumerate(regs):
            model = make_model()
            model.fit(X_train, y_train, lr, reg)
            yield i, j, model


def _search_by_sorting(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    tried = [(model.accuracy(X_val, y_val), model) for *_, model in _trials(make_model, lrs, regs, X_train, y_train)]
    best = sorted(tried, key=lambda pair: -pair[0])[0][1]
    return best, torch.tensor([accuracy for accuracy, _ in tried]).reshape(len(lrs), len(regs))


def _search_columns_first(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    models = {}
    accuracies = torch.zeros(len(lrs), len(regs), dtype=torch.float64, device=X_train.device)
    for j, reg in reversed(list(enumerate(regs))):
        for i, lr in reversed(list(enumerate(lrs))):
            models[i, j] = make_model()
            models[i, j].fit(X_train, y_train, lr=lr, reg=reg)
            accuracies[i, j] = models[i, j].accuracy(X_val, y_val)
    first = int(accuracies.flatten().argmax())
    return models[first // len(regs), first % len(regs)], accuracies


def _search_list(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    best, highest, rows = None, float("-inf"), []
    for lr in lrs:
        rows.append([])
        for reg in regs:
            model = make_model()
            model.fit(X_train, y_train, lr, reg)
            rows[-1].append(model.accuracy(X_val, y_val))
            if rows[-1][-1] > highest:
                best, highest = deepcopy(model), rows[-1][-1]
    return best, rows


def _search(
    make_model, lrs, regs, X_train, y_train, X_val, y_val, *, alias=False, row_alias=False, floor=-1.0, later=False
):
    """Search the grid; each keyword switches a mistake on."""
    best, highest = None, floor
    accuracies = torch.zeros(len(lrs), len(regs), dtype=torch.float64, device=X_train.device)
    model = make_model()
    for i, lr in enumerate(lrs):
        model = make_model() if row_alias else model
        for j, reg in enumerate(regs):
            model = model if alias or row_alias else make_model()
            model.fit(X_train, y_train, lr, reg)
            accuracy = accuracies[i, j] = model.accuracy(X_val, y_val)
            if accuracy >= highest if later else accuracy > highest:
                best, highest = model, accuracy
    return best, accuracies


def _search_returns_settings(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    _, accuracies = _search(make_model, lrs, regs, X_train, y_train, X_val, y_val)
    best = int(accuracies.argmax())
    return (lrs[best // len(regs)], regs[best % len(regs)]), accuracies


def _search_fits_twice(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    best, accuracies = _search(make_model, lrs, regs, X_train, y_train, X_val, y_val)
    place = int(accuracies.argmax())
    best.fit(X_train, y_train, lrs[place // len(regs)], regs[place % len(regs)])
    return best, accuracies


def _search_diagonal(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    trials = [
        _search(make_model, [lr], [reg], X_train, y_train, X_val, y_val) for lr, reg in zip(lrs, regs, strict=False)
    ]
    best = max(trials, key=lambda trial: float(trial[1]))[0]
    return best, torch.cat([table for _, table in trials])


def _search_swapped_arguments(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    def make_swapped():
        model = make_model()
        fit = model.fit
        model.fit = lambda X, y, lr, reg: fit(X, y, reg, lr)
        return model

    return _search(make_swapped, lrs, regs, X_train, y_train, X_val, y_val)


def _search_swapped_results(*args):
    return _search(*args)[::-1]


_SPLIT = {"X_train": normal(5, 2), "y_train": labels(5, 3), "X_val": normal(7, 2), "y_val": labels(7, 3)}

hyperparameter_search = Hidden(
    cases=[
        Case("one trial", **_SPLIT, lrs=[0.3], regs=[0.7], table=[[0.25]]),
        Case("the best trial first", **_SPLIT, lrs=[0.3, 0.1], regs=[0.7, 0.9], table=[[0.8, 0.2], [0.4, 0.3]]),
        Case("nobody is right", **_SPLIT, lrs=[0.3, 0.1], regs=[0.7, 0.9], table=[[0.0, 0.0], [0.0, 0.0]]),
        Case("one column", **_SPLIT, lrs=[1.0, 0.1, 0.2], regs=[0.5], table=[[0.1], [0.7], [0.2]]),
        Case("ties", **_SPLIT, lrs=[1.0, 0.1], regs=[0.5, 0.4, 0.3], table=[[0.1, 0.7, 0.7], [0.7, 0.2, 0.7]]),
        Case("float32", **_SPLIT, lrs=[0.5, 0.25], regs=[0.125, 2.0], table=[[0.1, 0.2], [0.6, 0.5]]).float32(),
        Case("strided", **_SPLIT, lrs=[0.5, 0.25], regs=[0.125, 2.0], table=[[0.1, 0.5], [0.6, 0.2]]).strided(),
    ],
    mutants={
        "one model for all trials": lambda *args: _search(*args, alias=True),
        "one model for each lr": lambda *args: _search(*args, row_alias=True),
        "expects more than 0": lambda *args: _search(*args, floor=0.0),
        "ties to the later trial": lambda *args: _search(*args, later=True),
        "returns the settings": _search_returns_settings,
        "trains the best again": _search_fits_twice,
        "tries the diagonal alone": _search_diagonal,
        "swaps lr and reg": _search_swapped_arguments,
        "swaps its results": _search_swapped_results,
    },
    solutions={
        "sorts the trials": _search_by_sorting,
        "columns first, from the end": _search_columns_first,
        "nested list and a deep copy": _search_list,
    },
    equivalent={
        "hyperparameter_search: best, highest = (None, -1.0) -> best, highest = (None, -2.0)": "below every accuracy",
        "hyperparameter_search: best, highest = (None, -1.0) -> best, highest = (None, -0.5)": "below every accuracy",
        "hyperparameter_search: torch.zeros(len(lrs), len(regs), dtype=torch.float64) -> "
        "torch.ones(len(lrs), len(regs), dtype=torch.float64)": "every entry is overwritten",
        "hyperparameter_search: torch.zeros(len(lrs), len(regs), dtype=torch.float64) -> "
        "torch.zeros(len(lrs), len(regs))": "the table may have any floating dtype",
    },
)


@cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="linear-answers-")


@cache
def _trained():
    """Return weights, mean and standard deviation for drawn shapes, good enough for all points."""
    images, y = shapes(4000, seed=0)
    mean, std = channel_statistics(images)
    X = rows_with_bias(images, mean, std)
    generator = torch.Generator().manual_seed(0)
    W, _ = _train(softmax_loss, X, y, 3e-3, 1e-2, 500, 128, generator)
    return W, mean, std


class _File:
    """A path whose file is made when it is first asked for: training takes seconds, and most imports need no file."""

    def __init__(self, name, write):
        self._name, self._write = name, write

    def __str__(self):
        path = Path(_folder().name) / self._name
        if not path.exists():
            self._write(path)
        return str(path)


def _write_changed(**changes):
    def write(path):
        tensors = {"W": torch.zeros(3073, 10), "mean": torch.zeros(3), "std": torch.ones(3)}
        tensors["dataset"] = torch.tensor(list(b"shapes"), dtype=torch.uint8)
        tensors.update(changes)
        save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)

    return write


def _write_trained(change):
    return lambda path: save_linear_answer(path, *change(*_trained()), "shapes")


def _write_double(path):
    W, mean, std = (tensor.double() for tensor in _trained())
    save_file({"W": 7 * W, "mean": mean, "std": std, "dataset": torch.tensor(list(b"shapes"), dtype=torch.uint8)}, path)


linear_answer = Hidden(
    cases=[Case("images never seen", seed=20261121, count=1000)],
    mutants={
        "no file": "/nonexistent/linear_weights.safetensors",
        "not a safetensors file": _File("text", lambda path: path.write_bytes(b"W = 1")),
        "untrained": _File("untrained", _write_changed()),
        "without statistics": _File("bare", _write_changed(mean=None)),
        "transposed": _File("transposed", _write_changed(W=torch.zeros(10, 3073))),
        "without the bias": _File("short", _write_changed(W=torch.zeros(3072, 10))),
        "not a number": _File("nan", _write_changed(W=torch.full((3073, 10), torch.nan))),
        "no known dataset": _File(
            "dataset", _write_changed(dataset=torch.tensor(list(b"imagenet"), dtype=torch.uint8))
        ),
        "a name that is no text": _File("integers", _write_changed(dataset=torch.tensor([300, -1]))),
        "std of zero": _File("flat", _write_changed(std=torch.zeros(3))),
        "classes in another order": _File("rolled", _write_trained(lambda W, m, s: (W.roll(1, 1), m, s))),
    },
    solutions={
        "softmax on drawn shapes": _File("softmax", _write_trained(lambda W, m, s: (W, m, s))),
        "scaled, in float64": _File("double", _write_double),
    },
)
