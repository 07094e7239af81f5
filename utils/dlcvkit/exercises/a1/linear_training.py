"""Training a linear classifier: mini-batches, the loop, penalties, the search for settings."""

from __future__ import annotations

from itertools import product

import torch
from torch.nn import functional

from dlcvkit.answers import evaluate_linear_answer
from dlcvkit.checking import (
    AUTOGRAD,
    TORCH_LAYERS,
    Case,
    Function,
    Invariant,
    LossWithGradient,
    Mistake,
    SavedAnswer,
    given,
    labels,
    normal,
)
from dlcvkit.exercises.a1.training_properties import (
    draw_batches,
    has_pairs,
    keeps_losses,
    obeys_generator,
    reaches_all_rows,
    record_training,
    starts_small,
    steps_down,
    trains_on_batches,
)

sample_batch = Invariant(
    functions=("sample_batch",),
    cases=[
        Case("4 of 11 rows", X=normal(11, 3), y=labels(11, 4), batch_size=4, seed=1),
        Case("a batch larger than the data", X=normal(3, 5), y=labels(3, 3), batch_size=8, seed=2),
    ],
    properties={"pairs": has_pairs, "reach": reaches_all_rows, "generator": obeys_generator},
    points={"pairs": 1, "reach": 1, "generator": 1},
    hints={
        "pairs": "draw batch_size row numbers once, with replacement, and index both X and y with them",
        "reach": "row numbers run from 0 to N - 1, both included, and every row may be drawn",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
    },
    call=draw_batches,
)


predict_linear = Function(
    functions=("predict_linear",),
    reference=lambda W, X: functional.linear(X, W.T).argmax(1),
    cases=[
        Case("6 rows, 4 classes", W=normal(5, 4), X=normal(6, 5)),
        Case("square", W=normal(4, 4), X=normal(4, 4)),
        Case("a tie", W=given([[1.0, 2.0, 2.0], [0.0, 1.0, 1.0]]), X=given([[1.0, 0.0], [-1.0, 0.0], [0.0, -2.0]])),
    ],
    points={"labels": 2},
    mistakes=[
        Mistake(
            "takes the class with the lowest score",
            lambda W, X: (X @ W).argmin(1),
            hint="the higher the score, the more the classifier believes in the class",
        ),
        Mistake(
            "takes the best row of each class instead of the best class of each row",
            lambda W, X: (X @ W).argmax(0),
            hint="scores have shape (N, C): look at which axis holds the classes",
        ),
        Mistake(
            "returns the highest score instead of its class",
            lambda W, X: (X @ W).amax(1),
            hint="the answer is where the maximum stands, not how large it is",
        ),
        Mistake(
            "takes the score farthest from zero",
            lambda W, X: (X @ W).abs().argmax(1),
            hint="a very negative score speaks against a class",
        ),
        Mistake(
            "ties go to the last class",
            lambda W, X: W.shape[1] - 1 - (X @ W).flip(1).argmax(1),
            hint="of equally high scores, the class with the smaller number wins",
        ),
        Mistake(
            "returns the scores instead of labels",
            lambda W, X: X @ W,
            hint="one label per row is asked for: the class with the highest score",
        ),
        Mistake(
            "multiplies with the transpose of W",
            lambda W, X: (X @ W.T).argmax(1),
            hint="W has shape (D, C): column c scores class c",
        ),
    ],
)


train_linear_classifier = Invariant(
    functions=("train_linear_classifier",),
    cases=[
        Case("12 steps", X=normal(20, 5), y=labels(20, 3), lr=0.05, reg=0.1, steps=12, batch_size=4, seed=1),
        Case("2 classes", X=normal(9, 7), y=labels(9, 2), lr=0.2, reg=0.0, steps=8, batch_size=16, seed=2),
    ],
    properties={"start": starts_small, "batches": trains_on_batches, "update": steps_down, "losses": keeps_losses},
    points={"start": 1, "batches": 1, "update": 2, "losses": 1},
    hints={
        "start": "0.001 * torch.randn(D, C, ...) with generator=, dtype= and device=; C is the largest label plus 1",
        "batches": "in every step: one new batch from sample_batch, then one call of loss_fn(W, X_batch, y_batch, reg)",
        "update": "a step takes lr times the gradient away from W; return the W after the last step",
        "losses": "append the loss that loss_fn returned, once in each step",
    },
    forbidden=TORCH_LAYERS | AUTOGRAD,
    call=record_training,
)


def _penalty(W, l1, l2):
    return l1 * functional.l1_loss(W, torch.zeros_like(W), reduction="sum") + l2 * W.square().sum()


def _penalty_gradient(W, l1, l2):
    return l1 * W.sign() + 2 * l2 * W


elastic_net_penalty = LossWithGradient(
    functions=("elastic_net_penalty",),
    reference=_penalty,
    cases=[
        Case("4×3", W=normal(4, 3), l1=0.3, l2=0.7),
        Case("zeros in W", W=given([[0.0, -2.0, 0.5], [1.5, 0.0, -0.25]]), l1=0.5, l2=0.1),
    ],
    points={"R": 1, "dR": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "halves the square term",
            lambda W, l1, l2: _penalty(W, l1, l2 / 2),
            hint="this stage's penalty is l2 times the sum of squares, without a factor 1/2",
        ),
        Mistake(
            "leaves the factor 2 out of the gradient of the squares",
            lambda W, l1, l2: (_penalty(W, l1, l2), l1 * W.sign() + l2 * W),
            hint="differentiate w² once more",
        ),
        Mistake(
            "leaves the sign out of the gradient of the absolute values",
            lambda W, l1, l2: (_penalty(W, l1, l2), l1 + 2 * l2 * W),
            hint="|w| falls where w is negative, and its slope at 0 is taken as 0",
        ),
        Mistake(
            "takes the slope of |w| at 0 as 1",
            lambda W, l1, l2: (_penalty(W, l1, l2), l1 * torch.where(W >= 0, 1.0, -1.0) + 2 * l2 * W),
            hint="at w = 0 the slope of |w| is taken as 0",
        ),
        Mistake(
            "multiplies by |w| where the gradient has the sign of w",
            lambda W, l1, l2: (_penalty(W, l1, l2), l1 * W.abs() + 2 * l2 * W),
            hint="the slope of |w| is +1 or -1, however large w is",
        ),
        Mistake(
            "swaps l1 and l2",
            lambda W, l1, l2: _penalty(W, l2, l1),
            hint="l1 belongs to the absolute values, l2 to the squares",
        ),
        Mistake(
            "adds up weights without taking absolute values",
            lambda W, l1, l2: (l1 * W.sum() + l2 * W.square().sum(), _penalty_gradient(W, l1, l2)),
            hint="weights of opposite sign must not cancel",
        ),
        Mistake(
            "takes the mean over the weights instead of the sum",
            lambda W, l1, l2: _penalty(W, l1, l2) / W.numel(),
            hint="the penalty adds up over all weights; nothing is divided",
        ),
        Mistake(
            "takes the norm instead of the sum of squares",
            lambda W, l1, l2: l1 * W.abs().sum() + l2 * W.norm(),
            hint="no square root is taken",
        ),
        Mistake(
            "leaves the absolute values out",
            lambda W, l1, l2: _penalty(W, 0.0, l2),
            hint="the penalty has two terms",
        ),
        Mistake(
            "leaves the squares out",
            lambda W, l1, l2: _penalty(W, l1, 0.0),
            hint="the penalty has two terms",
        ),
    ],
)


class _Scripted:
    """A model whose accuracies are known beforehand, and that notes what it was trained with, how often and on what."""

    def __init__(self, lrs, regs, table, X_train, y_train, X_val):
        self._places = {(lr, reg): (i, j) for (i, lr), (j, reg) in _grid(lrs, regs)}
        self._table, self._train, self._val = table, (X_train, y_train), X_val
        self.record = {"lr": None, "reg": None, "trained on": "nothing", "trainings": 0}

    def fit(self, X, y, lr, reg):
        is_train = X.shape == self._train[0].shape and torch.equal(X, self._train[0]) and torch.equal(y, self._train[1])
        rows = "X_train, y_train" if is_train else "other rows or labels"
        self.record = {"lr": lr, "reg": reg, "trained on": rows, "trainings": self.record["trainings"] + 1}

    def accuracy(self, X, y):
        place = self._places.get((self.record["lr"], self.record["reg"]))
        if place is None:
            return 0.0
        right = self._table[place[0]][place[1]]
        is_val = X.shape == self._val.shape and torch.equal(X, self._val)
        return right if is_val else 0.95 - right / 2


def _grid(lrs, regs):
    return product(enumerate(lrs), enumerate(regs))


def _plain(value):
    if isinstance(value, _Scripted):
        return value.record
    return value.tolist() if isinstance(value, torch.Tensor) else value


def _script(search, X_train, y_train, X_val, y_val, lrs, regs, table):
    def make_model():
        return _Scripted(lrs, regs, table, X_train, y_train, X_val)

    result = search(make_model, lrs, regs, X_train, y_train, X_val, y_val)
    return [_plain(part) for part in result] if isinstance(result, list | tuple) else result


def _search(
    make_model,
    lrs,
    regs,
    X_train,
    y_train,
    X_val,
    y_val,
    *,
    one=False,
    last=False,
    on_train=False,
    worst=False,
    late=False,
    fits_val=False,
    settings=False,
):
    """Search the grid; each keyword switches a mistake on."""
    models, table = [], [[0.0] * len(regs) for _ in lrs]
    for (i, lr), (j, reg) in _grid(lrs, regs):
        model = models[0] if one and models else make_model()
        model.fit(X_val if fits_val else X_train, y_val if fits_val else y_train, lr, reg)
        table[i][j] = model.accuracy(X_train, y_train) if on_train else model.accuracy(X_val, y_val)
        models.append(model)
    flat = [-value if worst else value for row in table for value in row]
    best = models[-1 if last else len(flat) - 1 - flat[::-1].index(max(flat)) if late else flat.index(max(flat))]
    return (best.record["lr"], best.record["reg"]) if settings else best, table


def _searching(**mistakes):
    def variant(**inputs):
        return _script(lambda *args: _search(*args, **mistakes), **inputs)

    return variant


def _transposed(**inputs):
    best, table = _searching()(**inputs)
    return best, [list(column) for column in zip(*table, strict=True)]


def _as_dict(**inputs):
    best, table = _searching()(**inputs)
    return best, {(lr, reg): table[i][j] for (i, lr), (j, reg) in _grid(inputs["lrs"], inputs["regs"])}


_SPLIT = {"X_train": normal(6, 3), "y_train": labels(6, 2), "X_val": normal(4, 3), "y_val": labels(4, 2)}

hyperparameter_search = Function(
    functions=("hyperparameter_search",),
    reference=_searching(),
    call=_script,
    cases=[
        Case("2×3", **_SPLIT, lrs=[0.1, 0.01], regs=[0.0, 0.5, 2.0], table=[[0.3, 0.5, 0.2], [0.4, 0.1, 0.25]]),
        Case("a tie", **_SPLIT, lrs=[1.0, 0.1, 0.3], regs=[0.2, 0.1], table=[[0.1, 0.2], [0.4, 0.3], [0.4, 0.2]]),
    ],
    points={"best": 2, "accuracies": 2},
    mistakes=[
        Mistake(
            "all trials share one model",
            _searching(one=True),
            hint="best = model keeps a second name for the same object, not a copy: call make_model() for every trial",
        ),
        Mistake(
            "returns the model of the last trial",
            _searching(last=True),
            hint="keep the model only when its validation accuracy beats the best so far",
        ),
        Mistake(
            "chooses by training accuracy",
            _searching(on_train=True),
            hint="what a model has learned by heart says nothing: measure on X_val, y_val",
        ),
        Mistake("keeps the worst model", _searching(worst=True), hint="higher accuracy is better"),
        Mistake(
            "ties go to the later trial",
            _searching(late=True),
            hint="of equally good trials the first one stays: look at > and >=",
        ),
        Mistake(
            "rows belong to reg and columns to lr",
            _transposed,
            hint="accuracies[i, j] belongs to lrs[i] and regs[j]",
        ),
        Mistake(
            "trains on the validation images",
            _searching(fits_val=True),
            hint="fit on X_train, y_train; validation images are only for measuring",
        ),
        Mistake(
            "returns a dict instead of a table",
            _as_dict,
            hint="accuracies is a tensor of shape (len(lrs), len(regs))",
        ),
        Mistake(
            "returns the settings instead of the model",
            _searching(settings=True),
            hint="best is the model itself, as it was after fit",
        ),
    ],
)


linear_answer = SavedAnswer(
    functions=(),
    cases=[Case("test images", seed=1, count=1000)],
    points={"file": 1, "fair": 2, "good": 2},
    evaluate=evaluate_linear_answer,
    hints={
        "file": "write the file with save_linear_answer",
        "fair": "look at the loss curve: does it fall, and has it stopped falling?",
        "good": "search learning rates and strengths around the best so far, and train the last model for longer",
    },
)
