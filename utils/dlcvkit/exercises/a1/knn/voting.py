"""Labels by the votes of the nearest neighbours."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Function, Mistake, drawn, given, labels


def vote(dists, y_train, k, *, largest=False, ties_to_larger=False):
    nearest = dists.argsort(dim=1, descending=largest, stable=True)[:, :k]
    votes = torch.nn.functional.one_hot(y_train[nearest], int(y_train.max()) + 1).sum(1)
    if ties_to_larger:
        return votes.shape[1] - 1 - votes.flip(1).argmax(1)
    return votes.argmax(1)  # the first of equal counts, so ties go to the smaller label


def nearest_label(dists, y_train, k):
    return y_train[dists.argmin(1)]


def _nearest_among_tied(dists, y_train, k):
    order = dists.argsort(dim=1, stable=True)[:, :k]
    near = y_train[order]
    votes = torch.nn.functional.one_hot(near, int(y_train.max()) + 1).sum(1)
    is_tied = votes.gather(1, near) == votes.amax(1, keepdim=True)
    return near.gather(1, is_tied.int().argmax(1, keepdim=True))[:, 0]


predict_labels = Function(
    functions=("predict_labels",),
    reference=vote,
    cases=[
        Case("k = 1", dists=drawn(lambda g: torch.rand(6, 9, generator=g)), y_train=labels(9, 4), k=1),
        Case("k = 5", dists=drawn(lambda g: torch.rand(8, 20, generator=g)), y_train=labels(20, 3), k=5),
        Case(
            "a tie",
            dists=given([[3.0, 1.0, 4.0, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0, 0.5]]),
            y_train=given([2, 7, 2, 5, 0], dtype=torch.int64),
            k=4,
        ),
    ],
    points={"labels": 4},
    mistakes=[
        Mistake(
            "ties go to the larger label",
            lambda dists, y_train, k: vote(dists, y_train, k, ties_to_larger=True),
            hint="among labels with equally many votes the smaller one wins",
        ),
        Mistake(
            "ties go to the nearer neighbour",
            _nearest_among_tied,
            hint="among labels with equally many votes the smaller one wins, however far its neighbours are",
        ),
        Mistake(
            "takes the k farthest images",
            lambda dists, y_train, k: vote(dists, y_train, k, largest=True),
            hint="small distances are the near ones",
        ),
        Mistake(
            "returns indices of training images instead of their labels",
            lambda dists, y_train, k: dists.argmin(1),
            hint="an index into the training set still has to be looked up in y_train",
        ),
        Mistake(
            "looks at the nearest image only",
            nearest_label,
            hint="all k neighbours vote",
        ),
        Mistake(
            "uses k + 1 neighbours",
            lambda dists, y_train, k: vote(dists, y_train, k + 1),
            hint="look at where the slice of neighbours ends",
        ),
        Mistake(
            "uses k - 1 neighbours",
            lambda dists, y_train, k: vote(dists, y_train, max(k - 1, 1)),
            hint="look at where the slice of neighbours ends",
        ),
        Mistake(
            "returns the number of votes instead of the label",
            lambda dists, y_train, k: (
                torch.nn.functional.one_hot(y_train[dists.argsort(dim=1, stable=True)[:, :k]], int(y_train.max()) + 1)
                .sum(1)
                .amax(1)
            ),
            hint="the answer is the label with the most votes, not how many it got",
        ),
        Mistake(
            "averages the labels of the neighbours",
            lambda dists, y_train, k: y_train[dists.argsort(dim=1, stable=True)[:, :k]].double().mean(1).long(),
            hint="labels are names, not quantities: count votes",
        ),
    ],
)
