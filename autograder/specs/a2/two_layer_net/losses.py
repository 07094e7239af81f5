"""Softmax and multiclass SVM, each spoilt in many ways."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, labels, normal

_INDICES = "indices on the CPU may index a tensor on any device"


def _label(*values):
    return given(list(values), dtype=torch.int64)


# Losses of scores.


def softmax(scores, y, fault=""):
    """Softmax, spoilt by one ``fault``."""
    N, index = len(scores), torch.arange(len(scores), device=scores.device)
    shifts = scores.amax(1, keepdim=True)
    if fault == "shift per class":
        shifts = scores.amax(0)
    if fault == "no shift":
        shifts = 0.0
    if fault == "shift by the mean":
        shifts = scores.mean(1, keepdim=True)
    if fault == "shift by the first score":
        shifts = scores[:, :1]
    exponentials = (scores - shifts).exp()
    totals = exponentials.sum(1, keepdim=True)
    probabilities = exponentials / totals
    logs = scores - shifts - totals.log()
    if fault == "logarithm of p":
        logs = probabilities.log()
    if fault == "clamped p":
        logs = probabilities.clamp(min=1e-12).log()
    if fault == "base 2":
        logs = logs / 2**0.5
    loss = -logs[index, y].mean()
    if fault == "all columns":
        loss = -logs[:, y].mean()
    if fault == "median":
        loss = -logs[index, y].median()
    slopes = probabilities.clone()
    if fault == "1 at every column":
        slopes -= 1
    elif fault == "adds 1":
        slopes[index, y] += 1
    elif fault == "all labels":
        slopes[:, y] -= 1
    elif fault == "sets the true class":
        slopes[index, y] = -1
    elif fault == "scores instead of probabilities":
        slopes = scores.clone()
        slopes[index, y] -= 1
    else:
        slopes[index, y] -= 1
    if fault == "derivative of the sigmoid":
        slopes = slopes * probabilities * (1 - probabilities)
    return loss, slopes / N


def _softmax_in_place(scores, y):
    scores -= scores.amax(1, keepdim=True)
    return softmax(scores, y)


def softmax_by_rows(scores, y):
    total, slopes = 0.0, torch.empty_like(scores)
    for i, label in enumerate(y.tolist()):
        s = scores[i] - scores[i].max()
        log_p = s - s.exp().sum().log()
        total -= log_p[label].item()
        slopes[i] = log_p.exp() / len(y)
        slopes[i, label] -= 1 / len(y)
    return total / len(y), slopes


def softmax_by_differences(scores, y):
    """Every score less the true one's, summed stably by a second shift."""
    gaps = scores - scores.gather(1, y[:, None])
    top = gaps.amax(1)
    logs = top + (gaps - top[:, None]).exp().sum(1).log()
    slopes = (gaps - logs[:, None]).exp() - functional.one_hot(y, scores.shape[1]).to(scores.dtype)
    return [logs.mean(), (slopes.T / len(y)).T]


def _in_float32(loss):
    return lambda scores, y: loss(scores.float(), y)


def _result_mutants(loss):
    """Wrong results of a correct loss."""
    return {
        "loss alone": lambda scores, y: loss(scores, y)[0],
        "gradient first": lambda scores, y: loss(scores, y)[::-1],
        "one loss per image": lambda scores, y: (
            loss(scores, y)[0] * torch.ones_like(scores[:, 0]),
            loss(scores, y)[1],
        ),
        "transposed gradient": lambda scores, y: (loss(scores, y)[0], loss(scores, y)[1].T),
        "four images": lambda scores, y: loss(scores[:4], y[:4]),
        "at least three classes": lambda scores, y: (scores[:, 2].sum(), loss(scores, y))[1],
        "float64 whatever comes in": lambda scores, y: loss(scores.double(), y),
        "gradient of the first image": lambda scores, y: (
            loss(scores, y)[0],
            loss(scores, y)[1] * (torch.arange(len(y), device=scores.device) == 0)[:, None],
        ),
        "gradient divided by the classes": lambda scores, y: (
            loss(scores, y)[0],
            loss(scores, y)[1] / scores.shape[1],
        ),
        "labels from 1": lambda scores, y: loss(scores, (y - 1).clamp(min=0)),
    }


softmax_loss = Hidden(
    cases=[
        Case("one image", scores=normal(1, 4), y=labels(1, 4)),
        Case("one class", scores=normal(3, 1), y=_label(0, 0, 0)),
        Case("two classes", scores=normal(6, 2), y=labels(6, 2)),
        Case("classes without images", scores=normal(4, 6), y=_label(2, 2, 5, 2)),
        Case("float32", scores=normal(8, 5), y=labels(8, 5)).float32(),
        Case("float32, scores of 200", scores=normal(6, 5, std=200.0), y=labels(6, 5)).float32(),
        Case("non-contiguous", scores=normal(6, 4), y=labels(6, 4)).strided(),
        Case("scores of -10,000", scores=given([[-1e4, -1e4 - 2, -1e4 - 1]]), y=_label(1)),
        Case(
            "images at different heights",
            scores=given([[5000.0, 4999.0, 4998.0], [-5000.0, -5001.0, -4999.0], [0.0, 1.0, 2.0]]),
            y=_label(1, 1, 0),
        ),
        Case(
            "a certain answer", scores=given([[1e4, 0.0, -1e4], [-20.0, 25.0, 0.0], [0.0, 1.0, 3.0]]), y=_label(0, 1, 2)
        ),
        Case("equal scores", scores=normal(5, 4, std=0.0), y=labels(5, 4)),
        Case("as many images as classes", scores=normal(4, 4), y=labels(4, 4)),
        Case("a large batch", scores=normal(60, 10, std=3.0), y=labels(60, 10)),
    ],
    mutants={
        **{
            fault: lambda scores, y, fault=fault: softmax(scores, y, fault)
            for fault in (
                "shift per class",
                "no shift",
                "shift by the mean",
                "shift by the first score",
                "logarithm of p",
                "clamped p",
                "base 2",
                "all columns",
                "median",
                "1 at every column",
                "adds 1",
                "all labels",
                "sets the true class",
                "scores instead of probabilities",
                "derivative of the sigmoid",
            )
        },
        **_result_mutants(softmax),
        "changes the scores": _softmax_in_place,
        "ready-made logarithm of the sum": lambda scores, y: (
            (scores.logsumexp(1) - scores.gather(1, y[:, None])[:, 0]).mean(),
            softmax(scores, y)[1],
        ),
        "ready-made cross-entropy": lambda scores, y: (functional.cross_entropy(scores, y), softmax(scores, y)[1]),
    },
    solutions={
        "row by row, a Python float": softmax_by_rows,
        "differences to the true score, a list": softmax_by_differences,
        "in float32": _in_float32(softmax),
    },
    equivalent={
        "softmax_loss: torch.arange(len(scores), device=scores.device) -> torch.arange(len(scores))": _INDICES,
    },
)


def _svm(scores, y, fault=""):
    """The multiclass SVM, spoilt by one ``fault``."""
    N, index = len(scores), torch.arange(len(scores), device=scores.device)
    own = scores[index, y]
    gaps = scores - (own[None, :N] if fault == "own by column" and scores.shape[1] == N else own[:, None]) + 1
    margins = gaps.abs() if fault == "absolute margins" else gaps.clamp(min=0)
    if fault != "true class counts":
        margins[index, y] = 0
    active = (margins >= 0 if fault == "slopes of zero margins" else margins > 0).to(scores.dtype)
    if fault == "sum in place of the count":
        active[index, y] = -margins.sum(1)
    elif fault == "true class once":
        active[index, y] = -1.0
    elif fault == "adds the count":
        active[index, y] = active.sum(1)
    elif fault == "count over the images":
        active[index, y] = -active.sum(0)[y]
    elif fault != "no true class":
        active[index, y] = -active.sum(1)
    return margins.sum() / (N if fault != "mean over all entries" else margins.numel()), active / N


def _svm_loops(scores, y):
    loss, slopes = 0.0, torch.zeros_like(scores)
    for i in range(len(scores)):
        for j in range(scores.shape[1]):
            margin = scores[i, j] - scores[i, y[i]] + 1
            if j != y[i] and margin > 0:
                loss += float(margin) / len(scores)
                slopes[i, j] += 1 / len(scores)
                slopes[i, y[i]] -= 1 / len(scores)
    return loss, slopes


def _svm_by_mask(scores, y):
    others = 1 - functional.one_hot(y, scores.shape[1]).to(scores.dtype)
    gaps = others * (1 + scores - (scores * (1 - others)).sum(1, keepdim=True))
    active = (gaps > 0).to(scores.dtype)
    slopes = active - (1 - others) * active.sum(1, keepdim=True)
    return [(active * gaps).sum(1).mean(), (slopes.T / len(y)).T]


svm_loss = Hidden(
    cases=[
        Case("one image", scores=normal(1, 4), y=labels(1, 4)),
        Case("one class", scores=normal(3, 1), y=_label(0, 0, 0)),
        Case("two classes", scores=normal(6, 2), y=labels(6, 2)),
        Case("classes without images", scores=normal(4, 6), y=_label(2, 2, 5, 2)),
        Case("float32", scores=normal(8, 5), y=labels(8, 5)).float32(),
        Case("non-contiguous", scores=normal(6, 4), y=labels(6, 4)).strided(),
        Case("all margins met", scores=given([[9.0, 1.0, -2.0], [0.5, 2.0, 8.0]]), y=_label(0, 2)),
        Case("scores of 10,000", scores=normal(6, 5, std=1e4), y=labels(6, 5)),
        Case("equal scores", scores=normal(5, 4, std=0.0), y=labels(5, 4)),
        Case("violated by little", scores=given([[0.0, -1 + 2**-10, -5.0], [3.0, 0.0, 2 + 2**-10]]), y=_label(0, 0)),
        Case("as many images as classes", scores=normal(4, 4), y=labels(4, 4)),
        Case("a large batch", scores=normal(60, 10, std=2.0), y=labels(60, 10)),
    ],
    mutants={
        **{
            fault: lambda scores, y, fault=fault: _svm(scores, y, fault)
            for fault in (
                "own by column",
                "absolute margins",
                "true class counts",
                "slopes of zero margins",
                "sum in place of the count",
                "true class once",
                "adds the count",
                "count over the images",
                "no true class",
                "mean over all entries",
            )
        },
        **_result_mutants(_svm),
        "ready-made": lambda scores, y: (
            scores.shape[1] * functional.multi_margin_loss(scores, y),
            _svm(scores, y)[1],
        ),
        "changes the scores": lambda scores, y: (_svm(scores, y), scores.sub_(1.0))[0],
    },
    solutions={
        "loops": _svm_loops,
        "one-hot masks, a list": _svm_by_mask,
        "in float32": _in_float32(_svm),
    },
    equivalent={
        "svm_loss: torch.arange(len(scores), device=scores.device) -> torch.arange(len(scores))": _INDICES,
    },
)
