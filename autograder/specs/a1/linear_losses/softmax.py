"""The softmax loss: one family with loops and one without, spoilt in many ways."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, labels, normal

from .penalised_losses import (
    IDENTITY,
    INDICES,
    MANY_WEIGHTS,
    TWO_AXES,
    given_labels,
    in_float32,
    penalty_mutants,
    spoilt,
)


def _softmax_loops(W, X, y, reg, fault=""):
    """The loss with loops, spoilt by one ``fault``."""
    N, K = len(X), W.shape[1]
    loss, dW = 0.0, torch.zeros_like(W)
    for i in range(1 if fault == "starts at image 1" else 0, N - 1 if fault == "leaves the last image out" else N):
        scores = X[i] @ W
        shift = (
            torch.zeros_like(scores[0]) if fault == "no shift" else scores[0 if fault == "first score" else ...].max()
        )
        if fault == "shift by the mean":
            shift = scores.mean()
        total = 0.0
        for j in range(1 if fault == "sum without class 0" else 0, K):
            total = total + (scores[j] - shift).exp()
        log_total = torch.log2(total) if fault == "base 2" else torch.log(total)
        loss += log_total - (scores[y[i]] - (0 if fault == "shift in the sum only" else shift))
        for j in range(3 if fault == "three classes" else K):
            p = (scores[j] - shift).exp() / (1 if fault == "not normalised" else total)
            dW[:, j] += (p - (0 if fault == "no true class" else int(j == y[i]))) * X[i]
        if fault == "regulariser inside the loop":
            loss += reg * (W**2).sum()
    if fault != "regulariser inside the loop":
        loss = loss / N + reg * (W**2).sum()
    return loss, dW / N + 2 * reg * W


def _softmax(W, X, y, reg, fault=""):
    """The loss without loops, spoilt by one ``fault``."""
    N, index = len(X), torch.arange(len(X), device=X.device)
    scores = X @ W
    shifts = scores.amax(1, keepdim=True)
    if fault in ("one shift for all", "over everything"):
        shifts = scores.max()
    if fault in ("shift per class", "over the images"):
        shifts = scores.amax(0)
    if fault == "no shift":
        shifts = 0.0
    exponentials = (scores - shifts).exp()
    totals = exponentials.sum(0 if fault == "over the images" else 1, keepdim=True)
    if fault == "over everything":
        totals = exponentials.sum()
    probabilities = exponentials / totals
    logs = scores - shifts - totals.log()
    if fault == "logarithm of p":
        logs = probabilities.log()
    if fault == "small number inside":
        logs = (probabilities + 1e-8).log()
    if fault == "clamped p":
        logs = probabilities.clamp(min=1e-12).log()
    own = logs[index, y]
    loss = -own.mean() + reg * (W**2).sum()
    if fault == "logarithm of the mean":
        loss = -probabilities[index, y].mean().log() + reg * (W**2).sum()
    if fault == "all classes":
        loss = -logs.sum() / N + reg * (W**2).sum()
    if fault == "all columns":
        loss = -logs[:, y].mean() + reg * (W**2).sum()
    if fault == "largest score":
        loss = -logs.amax(1).mean() + reg * (W**2).sum()
    if fault == "opposite sign":
        loss = own.mean() + reg * (W**2).sum()
    slopes = probabilities.clone()
    if fault == "1 at every column":
        slopes -= 1
    elif fault == "adds 1":
        slopes[index, y] += 1
    elif fault == "all labels":
        slopes[:, y] -= 1
    elif fault == "true class only":
        slopes = torch.zeros_like(slopes)
        slopes[index, y] = probabilities[index, y] - 1
    elif fault != "no true class":
        slopes[index, y] -= 1
    return loss, X.T @ slopes / N + 2 * reg * W


def _softmax_by_differences(W, X, y, reg):
    """Without a shift of its own: every score less the true one's, summed stably by a second shift."""
    scores = X @ W
    gaps = scores - scores.gather(1, y[:, None])
    top = gaps.amax(1)
    logs = top + (gaps - top[:, None]).exp().sum(1).log()
    slopes = (gaps - logs[:, None]).exp() - torch.nn.functional.one_hot(y, W.shape[1]).to(W.dtype)
    return float(logs.mean() + reg * (W * W).sum()), (slopes.T @ X / len(X) + 2 * reg * W.T).T


def _softmax_by_rows(W, X, y, reg):
    total, dW = 0.0, torch.zeros_like(W)
    for x, label in zip(X, y.tolist(), strict=True):
        scores = x @ W
        scores = scores - scores.max()
        log_p = scores - scores.exp().sum().log()
        total -= log_p[label].item()
        slope = log_p.exp()
        slope[label] -= 1
        dW += torch.outer(x, slope)
    return total / len(X) + reg * W.square().sum().item(), dW / len(X) + 2 * reg * W


_SOFTMAX_CASES = [
    MANY_WEIGHTS,
    Case("one image", W=normal(4, 3), X=normal(1, 4), y=labels(1, 3), reg=0.2),
    Case("two classes", W=normal(5, 2), X=normal(7, 5), y=labels(7, 2), reg=0.01),
    Case("one feature, more classes than images", W=normal(1, 9), X=normal(3, 1), y=given_labels(8, 0, 4), reg=1.5),
    Case("classes without images", W=normal(3, 6), X=normal(4, 3), y=given_labels(2, 2, 0, 2), reg=0.1),
    Case("float32", W=normal(6, 5), X=normal(8, 6), y=labels(8, 5), reg=0.3).float32(),
    Case("float32, scores of 200", W=normal(4, 5, std=40), X=normal(6, 4, std=3), y=labels(6, 5), reg=0.0).float32(),
    Case("non-contiguous", W=normal(5, 4), X=normal(6, 5), y=labels(6, 4), reg=0.7).strided(),
    Case("scores of -10,000", W=IDENTITY, X=given([[-1e4, -1e4 - 2, -1e4 - 1]]), y=given_labels(1), reg=0.1),
    Case(
        "images at different heights",
        W=IDENTITY,
        X=given([[5000.0, 4999.0, 4998.0], [-5000.0, -5001.0, -4999.0], [0.0, 1.0, 2.0]]),
        y=given_labels(1, 1, 0),
        reg=0.2,
    ),
    Case(
        "a certain answer", W=IDENTITY, X=given([[1e4, 0.0, -1e4], [-20.0, 25.0, 0.0]]), y=given_labels(0, 1), reg=0.01
    ),
    Case("equal scores", W=normal(3, 4, std=0.0), X=normal(5, 3), y=labels(5, 4), reg=0.5),
    Case("as many images as features and classes", W=normal(4, 4), X=normal(4, 4), y=labels(4, 4), reg=0.2),
    Case("a large batch", W=normal(7, 10, std=0.3), X=normal(60, 7), y=labels(60, 10), reg=0.05),
]

_SOFTMAX_MUTANTS = {
    fault: spoilt(_softmax, fault)
    for fault in (
        "one shift for all",
        "shift per class",
        "no shift",
        "over the images",
        "over everything",
        "logarithm of p",
        "small number inside",
        "clamped p",
        "logarithm of the mean",
        "all classes",
        "all columns",
        "largest score",
        "opposite sign",
        "1 at every column",
        "adds 1",
        "all labels",
        "true class only",
        "no true class",
    )
}

_SOFTMAX_SOLUTIONS = {
    "differences to the true score": _softmax_by_differences,
    "as asked": _softmax,
    "float32": in_float32(_softmax),
}

softmax_naive = Hidden(
    cases=_SOFTMAX_CASES,
    mutants={
        **{
            f"{fault}, loops": spoilt(_softmax_loops, fault)
            for fault in (
                "starts at image 1",
                "leaves the last image out",
                "no shift",
                "first score",
                "shift by the mean",
                "sum without class 0",
                "base 2",
                "shift in the sum only",
                "three classes",
                "not normalised",
                "no true class",
                "regulariser inside the loop",
            )
        },
        **_SOFTMAX_MUTANTS,
        **penalty_mutants(_softmax_loops),
    },
    solutions={"loops": _softmax_loops, "row by row": _softmax_by_rows, **_SOFTMAX_SOLUTIONS},
    equivalent={
        "softmax_loss_naive: W.shape[1] -> W.shape[-1]": TWO_AXES,
    },
)

softmax_vectorized = Hidden(
    cases=_SOFTMAX_CASES,
    mutants={
        **_SOFTMAX_MUTANTS,
        **penalty_mutants(_softmax),
        "loops": _softmax_loops,
        "ready-made logarithm of the sum": lambda W, X, y, reg: (
            ((X @ W).logsumexp(1) - (X @ W).gather(1, y[:, None])[:, 0]).mean() + reg * (W**2).sum(),
            _softmax(W, X, y, reg)[1],
        ),
    },
    solutions=_SOFTMAX_SOLUTIONS,
    equivalent={
        "softmax_loss_vectorized: torch.arange(len(X), device=X.device) -> torch.arange(len(X))": INDICES,
    },
)
