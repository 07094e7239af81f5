"""When to stop, and how several nets answer together."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, Mistake, given, normal
from dlcvkit.exercises.a2.fully_connected_nets.voting import averaging, following


class _Patient:
    """Early stopping by the list of all values."""

    def __init__(self, patience, min_delta=0.0):
        self.patience, self.min_delta, self.values = patience, min_delta, []
        self.best, self.best_epoch = float("-inf"), None

    def improves(self, value):
        return value - self.best > self.min_delta

    def should_stop(self, value):
        self.values.append(value)
        if self.improves(value):
            self.best, self.best_epoch = value, len(self.values) - 1
        since = len(self.values) if self.best_epoch is None else len(self.values) - 1 - self.best_epoch
        return since >= self.patience


class _CountsDown:
    def __init__(self, patience, min_delta=0.0):
        self.full = self.left = int(patience)
        self.delta = min_delta
        self.best, self.best_epoch, self.epochs = -math.inf, None, 0

    def should_stop(self, value):
        if value <= self.best + self.delta or value != value:
            self.left -= 1
        else:
            self.left, self.best, self.best_epoch = self.full, value, self.epochs
        self.epochs += 1
        return bool(self.left <= 0)


class _SharedState(_Patient):
    values_of_all: list[float] = []  # noqa: RUF012  (the mistake)

    def __init__(self, patience, min_delta=0.0):
        super().__init__(patience, min_delta)
        self.values = self.values_of_all


class _BestOfAll(_Patient):
    best_of_all = float("-inf")

    def should_stop(self, value):
        self.best = _BestOfAll.best_of_all
        stops = super().should_stop(value)
        _BestOfAll.best_of_all = self.best
        return stops


class _StopsForGood(_Patient):
    stopped = False

    def should_stop(self, value):
        self.stopped = super().should_stop(value) or self.stopped
        return self.stopped


class _ReturnsCount(_Patient):
    def should_stop(self, value):
        super().should_stop(value)
        return len(self.values)


class _ReturnsNothing(_Patient):
    def should_stop(self, value):
        super().should_stop(value)


class _RelativeDelta(_Patient):
    def improves(self, value):
        return self.best == float("-inf") or value > self.best * (1 + self.min_delta)


class _StartsAtZero(_Patient):
    def __init__(self, patience, min_delta=0.0):
        super().__init__(patience, min_delta)
        self.best = 0.0


class _IgnoresPatience(_Patient):
    def __init__(self, patience, min_delta=0.0):
        super().__init__(2, min_delta)


early_stopping = Hidden(
    cases=[
        Case("patience 1", patience=1, min_delta=0.0, values=[0.2, 0.3, 0.25, 0.4, 0.4]),
        Case("one value", patience=1, min_delta=0.0, values=[0.5]),
        Case("values below 0", patience=2, min_delta=0.0, values=[-3.0, -2.5, -2.7, -2.6, -2.0, -4.0]),
        Case("a large min_delta", patience=2, min_delta=0.5, values=[0.1, 0.4, 0.55, 0.65, 1.2, 0.3, 1.7]),
        Case("exactly min_delta", patience=2, min_delta=0.25, values=[0.25, 0.5, 0.75, 0.375, 1.0]),
        Case("always the same", patience=4, min_delta=0.0, values=[0.1] * 7),
        Case("always better", patience=1, min_delta=0.0, values=[0.1, 0.2, 0.3, 0.4]),
        Case("not a number", patience=3, min_delta=0.0, values=[float("nan"), 0.2, float("nan"), 0.1, 0.15, 0.3]),
        Case("never a number at first", patience=2, min_delta=0.0, values=[float("nan")] * 3 + [0.5, 0.4, 0.3]),
        Case("slow rise, patience 3", patience=3, min_delta=0.1, values=[0.5, 0.56, 0.59, 0.61, 0.64, 0.66, 0.69, 0.8]),
    ],
    mistakes=[
        Mistake("stops two epochs early", following(needs=-2), hint="how many epochs may pass without improvement?"),
    ],
    mutants={
        "all objects share their values": _SharedState,
        "all objects share their best": _BestOfAll,
        "never starts again once it has stopped": _StopsForGood,
        "returns the count": _ReturnsCount,
        "returns nothing": _ReturnsNothing,
        "min_delta as a share of the best": _RelativeDelta,
        "best starts at 0": _StartsAtZero,
        "ignores patience": _IgnoresPatience,
    },
    solutions={"keeps all values": _Patient, "counts down": _CountsDown},
)


def _answer_by_loop(scores):
    total = torch.zeros_like(scores[0])
    for one in scores:
        e = (one - one.amax(dim=1, keepdim=True)).exp()
        total = total + e / e.sum(dim=1, keepdim=True)
    p = total / len(scores)
    labels = [row.tolist().index(max(row.tolist())) for row in p]
    return [p, torch.tensor(labels, device=scores.device)]


def _answer_by_logs(scores):
    log_p = scores - scores.logsumexp(dim=-1, keepdim=True)
    p = (log_p.logsumexp(dim=0) - math.log(scores.shape[0])).exp()
    return p, p.max(dim=1).indices


def _answer_unstable(scores):
    e = scores.exp()
    p = (e / e.sum(2, keepdim=True)).mean(0)
    return p, p.argmax(1)


def _answer_one_maximum(scores):
    e = (scores - scores.max()).exp()
    p = (e / e.sum(2, keepdim=True)).mean(0)
    return p, p.argmax(1)


def _answer_last_label(scores):
    p = scores.softmax(2).mean(0)
    return p, p.shape[1] - 1 - p.flip(1).argmax(1)


ensemble_predict = Hidden(
    cases=[
        Case("one model", scores=normal(1, 5, 3)),
        Case("one image", scores=normal(4, 1, 3, std=3.0)),
        Case("one class", scores=normal(3, 4, 1)),
        Case("as many models as images and classes", scores=normal(4, 4, 4, std=2.0)),
        Case("scores of 1e4", scores=normal(5, 6, 4, std=1e4)),
        Case("one loud model", scores=given([[[-1e4, 1e4, 0.0]], [[2.0, 0.0, 1.0]], [[3.0, 0.0, 1.0]]])),
        Case("all equal", scores=given([[[1.5] * 4] * 3] * 2)),
        Case("very negative scores", scores=normal(3, 5, 4, mean=-1e4)),
        Case("float32", scores=normal(3, 6, 5, std=3.0)).float32(),
        Case("non-contiguous", scores=normal(3, 6, 5, std=3.0)).strided(),
    ],
    mistakes=[
        Mistake(
            "takes the softmax over everything at once",
            lambda scores: (lambda p: (p, p.argmax(1)))(scores.flatten(1).softmax(1).reshape(scores.shape).mean(0)),
            hint="every row of a model's probabilities adds up to 1",
        ),
        Mistake("averages scores and takes votes", averaging(votes=True, logits=True), hint="average probabilities"),
    ],
    mutants={
        "exponentials without shifting": _answer_unstable,
        "shifts by one maximum for all": _answer_one_maximum,
        "ties to the last class": _answer_last_label,
        "returns probabilities alone": lambda scores: scores.softmax(2).mean(0),
        "returns labels first": lambda scores: averaging()(scores)[::-1],
        "returns scores of the mean": lambda scores: (scores.mean(0), scores.mean(0).argmax(1)),
        "in float64 whatever is given": lambda scores: averaging()(scores.double()),
        "the first model alone": lambda scores: averaging()(scores[:1]),
    },
    solutions={"model by model": _answer_by_loop, "logarithms": _answer_by_logs},
)
