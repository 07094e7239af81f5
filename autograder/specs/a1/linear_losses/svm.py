"""The multiclass SVM loss: one family with loops and one without, spoilt in many ways."""

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

_KINK = "at a margin of exactly 0 the loss is the same, and any slope between those of the two sides is valid"


def _svm_loops(W, X, y, reg, delta=1.0, squared=False, fault=""):
    """The loss with loops, spoilt by one ``fault``."""
    N, K = len(X), W.shape[1]
    loss, dW = 0.0, torch.zeros_like(W)
    for i in range(1 if fault == "starts at image 1" else 0, N - 1 if fault == "leaves the last image out" else N):
        scores = X[i] @ W
        for j in range(1 if fault == "starts at class 1" else 0, 3 if fault == "three classes" else K):
            if j == y[i] and fault != "true class counts":
                if fault == "breaks at the true class":
                    break
                continue
            margin = scores[j] - scores[y[i]] + delta
            if margin > 0:
                slope = 2 * margin if squared else 1.0
                loss += margin**2 if squared else margin
                dW[:, j] += slope * X[i]
                if fault != "assigns the true column":
                    dW[:, y[i]] -= slope * X[i]
                else:
                    dW[:, y[i]] = -slope * X[i]
        if fault == "regulariser inside the loop":
            loss += reg * (W**2).sum()
    if fault != "regulariser inside the loop":
        loss = loss / N + reg * (W**2).sum()
    return loss, dW / N + 2 * reg * W


def _svm(W, X, y, reg, delta=1.0, squared=False, fault=""):
    """The loss without loops, spoilt by one ``fault``."""
    N = len(X)
    scores = X @ W
    own = scores[torch.arange(N, device=X.device), y][:, None]
    margins = (scores - own + delta).clamp(min=0)
    if fault == "absolute margins":
        margins = (scores - own + delta).abs()
    if fault == "own by column":
        margins = (scores - scores[:, y[:1]] + delta).clamp(min=0)
    margins = margins.scatter(1, y[:, None], 0.0) if fault != "true class counts" else margins
    loss = ((margins**2 if squared else margins).sum()) / N + reg * (W**2).sum()
    slopes = 2 * margins if squared else (margins > 0).to(W.dtype)
    if fault == "slopes of zero margins":
        slopes = torch.ones_like(margins).scatter(1, y[:, None], 0.0)
    if fault == "plain slopes":
        slopes = (margins > 0).to(W.dtype)
    if fault == "no factor two" and squared:
        slopes = margins
    true_slopes = -slopes.sum(1, keepdim=True)
    if fault == "true class once":
        true_slopes = -torch.ones_like(true_slopes)
    if fault == "sum over images":
        true_slopes = -slopes.sum() / N * torch.ones_like(own)
    if fault != "no true class":
        slopes = slopes.scatter(1, y[:, None], true_slopes)
    dW = X.T @ slopes
    if fault == "gradient not averaged":
        return loss, dW + 2 * reg * W
    return loss, dW / N + 2 * reg * W


def _svm_by_mask(W, X, y, reg, delta=1.0, squared=False):
    own = torch.arange(W.shape[1], device=W.device) == y[:, None]
    scores = X @ W
    true_scores = torch.where(own, scores, 0.0).sum(1, keepdim=True)
    violation = torch.where(own, 0.0, scores - true_scores + delta)
    violation = torch.maximum(violation, torch.zeros_like(violation))
    power = 2 if squared else 1
    loss = (violation**power).sum(1).mean() + reg * torch.einsum("dk,dk->", W, W)
    slopes = power * violation ** (power - 1) * (violation > 0)
    slopes = slopes - own * slopes.sum(1, keepdim=True)
    return loss.item(), (slopes.T @ X / len(X) + 2 * reg * W.T).T


def _svm_kink_from_above(W, X, y, reg, delta=1.0, squared=False):
    scores = X @ W
    own = scores.gather(1, y[:, None])
    gaps = scores - own + delta
    active = (gaps >= 0).to(W.dtype).scatter(1, y[:, None], 0.0)
    weights = 2 * gaps * active if squared else active
    loss = (weights * gaps * (0.5 if squared else 1.0)).sum() / len(X) + reg * W.square().sum()
    weights = weights.scatter_add(1, y[:, None], -weights.sum(1, keepdim=True))
    return loss, X.T @ weights / len(X) + 2 * reg * W


_SVM_CASES = [
    MANY_WEIGHTS,
    Case("one image", W=normal(4, 3), X=normal(1, 4), y=labels(1, 3), reg=0.2),
    Case("two classes", W=normal(5, 2), X=normal(7, 5), y=labels(7, 2), reg=0.01, delta=0.25),
    Case("one feature, more classes than images", W=normal(1, 9), X=normal(3, 1), y=given_labels(8, 0, 4), reg=1.5),
    Case(
        "classes without images",
        W=normal(3, 6),
        X=normal(4, 3),
        y=given_labels(2, 2, 0, 2),
        reg=0.1,
        delta=1.0,
        squared=True,
    ),
    Case("float32", W=normal(6, 5), X=normal(8, 6), y=labels(8, 5), reg=0.3).float32(),
    Case(
        "float32, squared", W=normal(4, 3), X=normal(6, 4), y=labels(6, 3), reg=0.0, delta=3.0, squared=True
    ).float32(),
    Case("non-contiguous", W=normal(5, 4), X=normal(6, 5), y=labels(6, 4), reg=0.7, delta=1.5).strided(),
    Case("all margins met", W=IDENTITY, X=given([[9.0, 1.0, -2.0], [0.5, 2.0, 8.0]]), y=given_labels(0, 2), reg=0.0),
    Case(
        "all margins met, squared",
        W=IDENTITY,
        X=given([[9.0, 1.0, -2.0]]),
        y=given_labels(0),
        reg=0.4,
        delta=1.0,
        squared=True,
    ),
    Case("scores of 10,000", W=normal(4, 5, std=1e3), X=normal(6, 4, std=10), y=labels(6, 5), reg=1e-6),
    Case("as many images as features and classes", W=normal(4, 4), X=normal(4, 4), y=labels(4, 4), reg=0.2),
    Case(
        "a large batch", W=normal(7, 10, std=0.3), X=normal(60, 7), y=labels(60, 10), reg=0.05, delta=1.0, squared=True
    ),
]

_SVM_SOLUTIONS = {
    "mask": _svm_by_mask,
    "weights at the kink from above": _svm_kink_from_above,
    "scatter": _svm,
    "float32": in_float32(_svm),
}


_SVM_MUTANTS = {
    fault: spoilt(_svm, fault)
    for fault in (
        "absolute margins",
        "own by column",
        "true class counts",
        "slopes of zero margins",
        "plain slopes",
        "no factor two",
        "true class once",
        "sum over images",
        "no true class",
    )
}

svm_naive = Hidden(
    cases=_SVM_CASES,
    mutants={
        **{
            fault: spoilt(_svm_loops, fault)
            for fault in (
                "starts at image 1",
                "leaves the last image out",
                "starts at class 1",
                "three classes",
                "true class counts",
                "breaks at the true class",
                "assigns the true column",
                "regulariser inside the loop",
            )
        },
        **{f"{fault}, vectorised": mutant for fault, mutant in _SVM_MUTANTS.items()},
        **penalty_mutants(_svm_loops),
    },
    solutions={"loops": _svm_loops, **_SVM_SOLUTIONS},
    equivalent={
        "svm_loss_naive: W.shape[1] -> W.shape[-1]": TWO_AXES,
        "svm_loss_naive: margin > 0 -> margin >= 0": _KINK,
    },
)

svm_vectorized = Hidden(
    cases=_SVM_CASES,
    mutants={**_SVM_MUTANTS, **penalty_mutants(_svm), "loops": _svm_loops},
    solutions=_SVM_SOLUTIONS,
    equivalent={
        "svm_loss_vectorized: torch.arange(len(X), device=X.device) -> torch.arange(len(X))": INDICES,
    },
)
