"""Folds, accuracies on them, and the best k."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, drawn, labels, normal

from .distances import broadcast
from .voting import vote_by_bincount


def _folds(n, folds, *, device=None):
    return [
        (torch.cat([p for j, p in enumerate(parts) if j != i]), parts[i])
        for parts in [torch.arange(n, device=device).tensor_split(folds)]
        for i in range(folds)
    ]


def _folds_strided(n, folds):
    index = torch.arange(n)
    return [(index[index % folds != i], index[index % folds == i]) for i in range(folds)]


def _folds_shuffled(n, folds):
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    return [(order[torch.isin(order, part, invert=True)], part) for part in order.tensor_split(folds)]


def _folds_dropping_rest(n, folds):
    size = n // folds
    index = torch.arange(n)
    out = []
    for i in range(folds):
        val = index[i * size : (i + 1) * size]
        out.append((index[torch.isin(index, val, invert=True)], val))
    return out


def _folds_rest_in_last(n, folds):
    size = n // folds
    index = torch.arange(n)
    cuts = [i * size for i in range(folds)] + [n]
    out = []
    for i in range(folds):
        val = index[cuts[i] : cuts[i + 1]]
        out.append((index[torch.isin(index, val, invert=True)], val))
    return out


kfold_indices = Hidden(
    cases=[
        Case("2 in 2", n=2, folds=2),
        Case("as many folds as indices", n=7, folds=7),
        Case("17 in 5", n=17, folds=5),
        Case("100 in 2", n=100, folds=2),
    ],
    mutants={
        "drops the indices that are left over": _folds_dropping_rest,
        "puts all that is left over into the last fold": _folds_rest_in_last,
        "trains on everything": lambda n, folds: [(torch.arange(n), val) for _, val in _folds(n, folds)],
        "swaps training and validation": lambda n, folds: [(val, train) for train, val in _folds(n, folds)],
        "trains on the next fold only": lambda n, folds: [
            (_folds(n, folds)[(i + 1) % folds][1], val) for i, (_, val) in enumerate(_folds(n, folds))
        ],
        "counts from 1": lambda n, folds: [(train + 1, val + 1) for train, val in _folds(n, folds)],
        "returns one fold too few": lambda n, folds: _folds(n, folds)[:-1],
        "returns floats": lambda n, folds: [(train.double(), val.double()) for train, val in _folds(n, folds)],
        "always makes 5 folds": lambda n, folds: _folds(n, 5),
        "draws folds with replacement": lambda n, folds: [
            (train, torch.randint(0, n, val.shape, generator=torch.Generator().manual_seed(1)))
            for train, val in _folds(n, folds)
        ],
    },
    solutions={"every folds-th": _folds_strided, "shuffled by an own generator": _folds_shuffled, "split": _folds},
)


def _blobs(count, classes, spread):
    def draw(g):
        centres = torch.arange(count) % classes
        return centres[:, None] * 2.0 + spread * torch.randn(count, 3, generator=g, dtype=torch.float64)

    return drawn(draw)


def _validate(x, y, folds, k_choices, *, distance=broadcast, predict=vote_by_bincount, parts=_folds, as_float=float):
    out = {k: [] for k in k_choices}
    for train, val in parts(len(x), folds):
        dists = distance(x[train], x[val])
        for k in k_choices:
            out[k].append(as_float((predict(dists, y[train], k) == y[val]).double().mean()))
    return out


def _validate_by_k(x, y, folds, k_choices):
    return {k: _validate(x, y, folds, [k])[k] for k in k_choices}


def _validate_as_tensors(x, y, folds, k_choices):
    return _validate(x.float(), y, folds, k_choices, as_float=lambda value: value)


knn_cross_validate = Hidden(
    equivalent={
        "knn_cross_validate: torch.arange(len(x), device=x.device) -> torch.arange(len(x))": (
            "the tensor only serves as an index, and an index may lie on the CPU"
        ),
        "knn_cross_validate: is_right.double().mean().item() -> is_right.double().mean()": (
            "a tensor of no dimensions is taken for a number"
        ),
    },
    cases=[
        Case("two folds", x=_blobs(9, 2, 1.0), y=drawn(lambda g: torch.arange(9) % 2), folds=2, k_choices=[1, 2, 3]),
        Case("images", x=normal(16, 2, 3, 2), y=labels(16, 3), folds=4, k_choices=[5]),
        Case(
            "float32", x=_blobs(21, 3, 2.0), y=drawn(lambda g: torch.arange(21) % 3), folds=3, k_choices=[1, 6]
        ).float32(),
        Case(
            "leave one out", x=_blobs(12, 3, 1.5), y=drawn(lambda g: torch.arange(12) % 3), folds=12, k_choices=[1, 4]
        ),
    ],
    mutants={
        "uses every folds-th image for validation": lambda x, y, folds, k_choices: _validate(
            x, y, folds, k_choices, parts=_folds_strided
        ),
        "leaves out the images that are left over": lambda x, y, folds, k_choices: _validate(
            x, y, folds, k_choices, parts=_folds_dropping_rest
        ),
        "validates on the neighbours' own fold": lambda x, y, folds, k_choices: _validate(
            x, y, folds, k_choices, parts=lambda n, f: [(val, val) for _, val in _folds(n, f)]
        ),
        "averages over the folds": lambda x, y, folds, k_choices: {
            k: sum(row) / len(row) for k, row in _validate(x, y, folds, k_choices).items()
        },
        "always makes 5 folds": lambda x, y, folds, k_choices: _validate(x, y, 5, k_choices),
        "collects all accuracies under the last k": lambda x, y, folds, k_choices: {
            k_choices[-1]: [a for row in _validate(x, y, folds, k_choices).values() for a in row]
        },
        "returns accuracies in one list": lambda x, y, folds, k_choices: list(
            _validate(x, y, folds, k_choices).values()
        ),
        "standardises the images in place": lambda x, y, folds, k_choices: _validate(
            x.sub_(x.mean(0)), y, folds, k_choices
        ),
    },
    solutions={"k in the outer loop": _validate_by_k, "float32, tensors": _validate_as_tensors, "as asked": _validate},
)


def _best_by_sort(accuracies):
    return sorted(accuracies, key=lambda k: (-sum(accuracies[k]) / len(accuracies[k]), k))[0]


def _best_by_tensor(accuracies):
    ks = sorted(accuracies)
    means = torch.tensor([accuracies[k] for k in ks]).double().mean(1)
    return ks[int(means.argmax())]


knn_best_k = Hidden(
    equivalent={
        "knn_best_k: sum(row) / len(row) -> sum(row) * len(row)": "all rows have one entry per fold",
        "knn_best_k: sum(row) / len(row) -> sum(row)": "all rows have one entry per fold",
    },
    cases=[
        Case("one k", accuracies={4: [0.5]}),
        Case("ties listed from large to small", accuracies={100: [0.5, 0.5], 20: [0.5, 0.5], 50: [0.5, 0.5]}),
        Case("best k listed first", accuracies={9: [0.9, 0.7], 3: [0.2, 0.1], 5: [0.4, 0.4]}),
        Case("a high median, a lower mean", accuracies={1: [0.0, 0.6, 0.6], 2: [0.5, 0.5, 0.5]}),
        Case("best mean, lower minimum", accuracies={1: [0.5, 0.5, 0.5], 2: [0.1, 0.8, 0.9]}),
    ],
    mutants={
        "returns the largest k": max,
        "returns the smallest k": min,
        "compares worst folds": lambda accuracies: max(accuracies, key=lambda k: (min(accuracies[k]), -k)),
        "compares medians": lambda accuracies: max(
            accuracies, key=lambda k: (sorted(accuracies[k])[len(accuracies[k]) // 2], -k)
        ),
        "returns the position instead of k": lambda accuracies: list(accuracies).index(_best_by_sort(accuracies)),
        "returns text": lambda accuracies: str(_best_by_sort(accuracies)),
        "looks at the last fold only": lambda accuracies: max(accuracies, key=lambda k: (accuracies[k][-1], -k)),
        "changes the table": lambda accuracies: (_best_by_sort(accuracies), accuracies.clear())[0],
    },
    solutions={"sorted": _best_by_sort, "tensor of means": _best_by_tensor},
)
