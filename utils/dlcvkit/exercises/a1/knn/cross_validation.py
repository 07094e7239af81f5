"""Folds, the accuracies of every k on them, and the k to take."""

from __future__ import annotations

import torch

from dlcvkit.checking import READY_MADE_DISTANCES, TORCH_LAYERS, Case, Function, Invariant, Mistake, drawn

from .distances import squared
from .voting import nearest_label, vote


def _as_folds(result, n, folds):
    parts = [(torch.as_tensor(train), torch.as_tensor(val)) for train, val in result]
    if len(parts) != folds:
        raise ValueError("wrong number of folds")
    return parts


def _partitions(result, n, folds):
    parts = _as_folds(result, n, folds)
    together = torch.cat([val for _, val in parts]).tolist()
    if sorted(together) == list(range(n)):
        return None
    missing = len(set(range(n)) - set(together))
    repeated = len(together) - len(set(together))
    return f"the validation parts miss {missing} of {n} indices and repeat {repeated}; expected each index once"


def _balances(result, n, folds):
    sizes = [len(val) for _, val in _as_folds(result, n, folds)]
    if sum(sizes) != n:
        return f"the validation parts have {sizes} indices, {sum(sizes)} together; expected {n}"
    if max(sizes) - min(sizes) > 1:
        return f"the validation parts have {sizes} indices; expected sizes that differ by at most 1"
    return None


def _complements(result, n, folds):
    for number, (train, val) in enumerate(_as_folds(result, n, folds)):
        if sorted(train.tolist() + val.tolist()) != list(range(n)):
            overlap = len(set(train.tolist()) & set(val.tolist()))
            return (
                f"in fold {number} training and validation share {overlap} indices; expected none, and all {n} in total"
            )
    return None


def _is_int64(result, n, folds):
    for train, val in result:
        for part in (train, val):
            if not isinstance(part, torch.Tensor):
                return f"a part is a {type(part).__name__}; expected an int64 tensor of one dimension"
            if part.dtype != torch.int64 or part.dim() != 1:
                return f"a part has dtype {part.dtype} and {part.dim()} dimensions; expected int64 and 1"
    return None


kfold_indices = Invariant(
    functions=("kfold_indices",),
    uses_global_random_state=True,  # a shuffled partition is one, too
    cases=[Case("10 in 5", n=10, folds=5), Case("11 in 3", n=11, folds=3)],
    properties={"partition": _partitions, "balance": _balances, "complement": _complements, "dtype": _is_int64},
    points={"partition": 1, "balance": 1, "complement": 1, "dtype": 1},
    hints={
        "partition": "every index is held out exactly once over all folds",
        "balance": "spread what is left over by the division, one index to a fold",
        "complement": "fold i trains on everything that it does not validate on",
        "dtype": "indices are int64 tensors of one dimension",
    },
)


def _accuracies(x, y, folds, k_choices, *, vote=vote, score=None, on_train=False):
    parts = torch.arange(len(x)).tensor_split(folds)
    table = {k: [] for k in k_choices}
    for held_out in range(folds):
        val = parts[held_out]
        train = torch.cat([part for number, part in enumerate(parts) if number != held_out])
        if on_train:
            val = train
        dists = squared(x[train], x[val])
        for k in k_choices:
            right = vote(dists, y[train], k) == y[val]
            table[k].append(score(right) if score else right.double().mean().item())
    return table


def _blobs(count, classes, spread):
    """Points around class centres on a line, classes in turn, so that every fold sees each of them."""

    def draw(g):
        centres = torch.arange(count) % classes
        return centres[:, None] * 2.0 + spread * torch.randn(count, 3, generator=g, dtype=torch.float64)

    return drawn(draw)


def _in_turn(count, classes):
    return drawn(lambda g: torch.arange(count) % classes)


knn_cross_validate = Function(
    functions=("knn_cross_validate",),
    reference=_accuracies,
    cases=[
        Case(x=_blobs(30, 3, 1.5), y=_in_turn(30, 3), folds=5, k_choices=[1, 3, 7]),
        Case("folds of unequal size", x=_blobs(23, 3, 1.5), y=_in_turn(23, 3), folds=4, k_choices=[2, 5]),
    ],
    points={"accuracies": 5},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    mistakes=[
        Mistake(
            "measures accuracy on the training part",
            lambda x, y, folds, k_choices: _accuracies(x, y, folds, k_choices, on_train=True),
            hint="the held-out fold is what is predicted",
        ),
        Mistake(
            "returns errors instead of accuracies",
            lambda x, y, folds, k_choices: _accuracies(
                x, y, folds, k_choices, score=lambda right: 1 - right.double().mean().item()
            ),
            hint="accuracy is the share of right predictions",
        ),
        Mistake(
            "counts right predictions without dividing",
            lambda x, y, folds, k_choices: _accuracies(
                x, y, folds, k_choices, score=lambda right: right.double().sum().item()
            ),
            hint="accuracy is a share: divide by the size of the held-out fold",
        ),
        Mistake(
            "divides by the size of the whole set",
            lambda x, y, folds, k_choices: _accuracies(
                x, y, folds, k_choices, score=lambda right: right.double().sum().item() / len(x)
            ),
            hint="divide by the size of the held-out fold",
        ),
        Mistake(
            "ignores k",
            lambda x, y, folds, k_choices: _accuracies(x, y, folds, k_choices, vote=nearest_label),
            hint="each k in k_choices gets predictions of its own",
        ),
        Mistake(
            "gives percent",
            lambda x, y, folds, k_choices: _accuracies(
                x, y, folds, k_choices, score=lambda right: 100 * right.double().mean().item()
            ),
            hint="accuracies are between 0 and 1",
        ),
        Mistake(
            "lists the folds in the opposite order",
            lambda x, y, folds, k_choices: {k: row[::-1] for k, row in _accuracies(x, y, folds, k_choices).items()},
            hint="entry i of each list belongs to the fold that holds out part i",
        ),
    ],
)


def _best(accuracies):
    means = {k: sum(row) / len(row) for k, row in accuracies.items()}
    return min(means, key=lambda k: (-means[k], k))


knn_best_k = Function(
    functions=("knn_best_k",),
    reference=_best,
    cases=[
        Case(accuracies={2: [0.2, 0.3], 5: [0.4, 0.3], 10: [0.3, 0.3]}),
        Case("a tie", accuracies={8: [0.5, 0.25], 3: [0.25, 0.5], 1: [0.25, 0.25]}),
        Case("one lucky fold", accuracies={1: [0.9, 0.1, 0.1], 3: [0.5, 0.5, 0.5], 5: [0.4, 0.5, 0.4]}),
    ],
    points={"k": 2},
    mistakes=[
        Mistake(
            "takes the k with the single best fold",
            lambda accuracies: max(accuracies, key=lambda k: max(accuracies[k])),
            hint="one lucky fold proves little: compare means",
        ),
        Mistake(
            "takes the k with the lowest mean",
            lambda accuracies: min(accuracies, key=lambda k: sum(accuracies[k]) / len(accuracies[k])),
            hint="accuracies are better when they are higher",
        ),
        Mistake(
            "ties go to the larger k",
            lambda accuracies: max(accuracies, key=lambda k: (sum(accuracies[k]) / len(accuracies[k]), k)),
            hint="of equally good k, the smaller one is asked for",
        ),
        Mistake(
            "ties go to the k that comes first",
            lambda accuracies: max(accuracies, key=lambda k: sum(accuracies[k]) / len(accuracies[k])),
            hint="of equally good k, the smaller one is asked for",
        ),
        Mistake(
            "returns the mean accuracy instead of k",
            lambda accuracies: max(sum(row) / len(row) for row in accuracies.values()),
            hint="the answer is the k that reaches the best mean",
        ),
        Mistake(
            "looks at the first fold only",
            lambda accuracies: max(accuracies, key=lambda k: accuracies[k][0]),
            hint="average over all folds",
        ),
    ],
)
