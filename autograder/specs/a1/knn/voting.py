"""Labels by the votes of the nearest neighbours."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, drawn, given, integers, labels, normal

_DEFAULT = "this is the default"


def vote_by_bincount(dists, y_train, k):
    nearest = dists.topk(k, dim=1, largest=False).indices
    return torch.stack([torch.bincount(y_train[row]).argmax() for row in nearest])


def _vote_by_comparison(dists, y_train, k):
    near = y_train[dists.argsort(dim=1)[:, :k]]
    counts = (near[:, :, None] == near[:, None, :]).sum(2)
    best = counts == counts.amax(1, keepdim=True)
    largest = torch.iinfo(near.dtype).max
    return torch.where(best, near, torch.full_like(near, largest)).amin(1)


def _vote_by_mode(dists, y_train, k):
    return torch.mode(y_train[dists.argsort(dim=1)[:, :k]], dim=1).values.int()


def _ten_classes(dists, y_train, k):
    near = y_train[dists.argsort(dim=1)[:, :k]]
    return torch.nn.functional.one_hot(near, 10).sum(1).argmax(1)


def _first_label(dists, y_train, k):
    return y_train[dists.argsort(dim=1)[:, k - 1]]


def _sorts_columns(dists, y_train, k):
    return torch.mode(y_train[dists.argsort(dim=0)[:k].T % len(y_train)], dim=1).values[: len(dists)]


def _float_labels(dists, y_train, k):
    return vote_by_bincount(dists, y_train, k).to(dists.dtype)


def _sorts_in_place(dists, y_train, k):
    out = vote_by_bincount(dists, y_train, k)
    dists.copy_(dists.sort(dim=1).values)
    return out


def _largest_of_near(dists, y_train, k):
    return y_train[dists.argsort(dim=1)[:, :k]].amax(1)


predict_labels = Hidden(
    equivalent={
        "predict_labels: dists.topk(k, dim=1, largest=False) -> dists.topk(k, largest=False)": _DEFAULT,
        "predict_labels: torch.zeros(len(dists), int(y_train.max()) + 1, dtype=torch.int64, device=dists.device) -> "
        "torch.ones(len(dists), int(y_train.max()) + 1, dtype=torch.int64, device=dists.device)": (
            "one vote more for every label changes no winner"
        ),
        "predict_labels: int(y_train.max()) + 1 -> int(y_train.max()) + 2": "the added label never gets a vote",
    },
    cases=[
        Case("one test image", dists=drawn(lambda g: torch.rand(1, 12, generator=g)), y_train=labels(12, 5), k=3),
        Case("k = all", dists=drawn(lambda g: torch.rand(4, 9, generator=g)), y_train=labels(9, 2), k=9),
        Case(
            "labels beyond 9",
            dists=drawn(lambda g: torch.rand(7, 30, generator=g)),
            y_train=integers(30, low=8, high=14),
            k=4,
        ),
        Case("many ties", dists=drawn(lambda g: torch.rand(40, 12, generator=g)), y_train=labels(12, 4), k=4),
        Case(
            "k = 2, always a tie or agreement",
            dists=drawn(lambda g: torch.rand(30, 8, generator=g)),
            y_train=labels(8, 8),
            k=2,
        ),
        Case("float32, non-contiguous", dists=normal(5, 16), y_train=labels(16, 3), k=6).float32().strided(),
        Case("one class", dists=normal(3, 4), y_train=given([0, 0, 0, 0], dtype=torch.int64), k=3),
    ],
    mutants={
        "assumes ten classes": _ten_classes,
        "takes the label of the k-th neighbour": _first_label,
        "sorts along the wrong axis": _sorts_columns,
        "returns floats": _float_labels,
        "sorts the distances in place": _sorts_in_place,
        "takes the largest label among the neighbours": _largest_of_near,
        "always uses k = 5": lambda dists, y_train, k: vote_by_bincount(dists, y_train, min(5, len(y_train))),
        "returns class 0": lambda dists, y_train, k: torch.zeros(len(dists), dtype=torch.int64, device=dists.device),
    },
    solutions={"bincount": vote_by_bincount, "pairwise counts": _vote_by_comparison, "mode, int32": _vote_by_mode},
)
