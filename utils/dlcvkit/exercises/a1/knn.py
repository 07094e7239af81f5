"""k-nearest neighbours: distances, voting, cross-validation."""

from __future__ import annotations

import torch

from dlcvkit.checking import (
    READY_MADE_DISTANCES,
    TORCH_LAYERS,
    Case,
    Function,
    Invariant,
    Mistake,
    Speed,
    drawn,
    given,
    labels,
    normal,
)


def _squared(x_train, x_test):
    return torch.cdist(x_test.flatten(1), x_train.flatten(1), compute_mode="donot_use_mm_for_euclid_dist") ** 2


def _subtracted(x_train, x_test):
    return x_test.flatten(1)[:, None] - x_train.flatten(1)[None]


def _two_loops(x_train, x_test):
    rows = [[((a - b) ** 2).sum() for b in x_train.flatten(1)] for a in x_test.flatten(1)]
    return torch.stack([torch.stack(row) for row in rows])


_DISTANCE_MISTAKES = [
    Mistake(
        "takes the square root",
        lambda x_train, x_test: _squared(x_train, x_test).sqrt(),
        hint="squared distances are asked for: the order of the neighbours is the same without the root",
    ),
    Mistake(
        "rows are training images and columns test images",
        lambda x_train, x_test: _squared(x_train, x_test).T,
        hint="row i belongs to test image i, column j to training image j",
    ),
    Mistake(
        "adds up absolute differences",
        lambda x_train, x_test: _subtracted(x_train, x_test).abs().sum(-1),
        hint="the differences are squared before they are added up",
    ),
    Mistake(
        "adds up differences without squaring them",
        lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1),
        hint="differences of opposite sign must not cancel",
    ),
    Mistake(
        "squares the sum instead of summing the squares",
        lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1) ** 2,
        hint="look at the order of squaring and summing",
    ),
    Mistake(
        "takes the mean over the pixels instead of the sum",
        lambda x_train, x_test: _squared(x_train, x_test) / x_train[0].numel(),
        hint="the distance adds up over pixels; nothing is divided",
    ),
    Mistake(
        "the cross term has the wrong sign",
        lambda x_train, x_test: (x_test.flatten(1)[:, None] + x_train.flatten(1)[None]).square().sum(-1),
        hint="expand the square of a difference again and look at the term with both images",
    ),
    Mistake(
        "the cross term lacks its factor 2",
        lambda x_train, x_test: _squared(x_train, x_test) + x_test.flatten(1) @ x_train.flatten(1).T,
        hint="expand the square of a difference again and look at the term with both images",
    ),
    Mistake(
        "leaves out the squares of the test images",
        lambda x_train, x_test: _squared(x_train, x_test) - x_test.flatten(1).square().sum(1, keepdim=True),
        hint="the expanded square has three terms; one of them depends on the test image alone",
    ),
    Mistake(
        "leaves out the squares of the training images",
        lambda x_train, x_test: _squared(x_train, x_test) - x_train.flatten(1).square().sum(1),
        hint="the expanded square has three terms; one of them depends on the training image alone",
    ),
]

_DISTANCE_CASES = [
    Case("five images of 3×4×2", x_train=normal(7, 3, 4, 2), x_test=normal(5, 3, 4, 2)),
    Case("rows of numbers", x_train=normal(4, 6), x_test=normal(4, 6)),
]

knn_two_loops = Function(
    functions=("compute_distances_two_loops",),
    reference=_squared,
    cases=_DISTANCE_CASES,
    points={"dists": 3},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    mistakes=_DISTANCE_MISTAKES,
)

knn_one_loop = Function(
    functions=("compute_distances_one_loop",),
    reference=_squared,
    cases=_DISTANCE_CASES,
    points={"dists": 3},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    mistakes=_DISTANCE_MISTAKES,
    speed=Speed(_two_loops, factor=3, case=Case(x_train=normal(60, 64), x_test=normal(20, 64))),
)

knn_no_loops = Function(
    functions=("compute_distances_no_loops",),
    reference=_squared,
    cases=_DISTANCE_CASES,
    points={"dists": 4},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    is_loop_free=True,
    mistakes=_DISTANCE_MISTAKES,
    speed=Speed(_two_loops, factor=10, case=Case(x_train=normal(60, 64), x_test=normal(20, 64))),
)

l1_distances = Function(
    functions=("l1_distances",),
    reference=lambda x_train, x_test: torch.cdist(x_test.flatten(1), x_train.flatten(1), p=1),
    cases=_DISTANCE_CASES,
    points={"dists": 2},
    forbidden=READY_MADE_DISTANCES | TORCH_LAYERS,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "squares the differences",
            _squared,
            hint="L1 adds up absolute values; nothing is squared",
        ),
        Mistake(
            "adds up differences without taking absolute values",
            lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1),
            hint="differences of opposite sign must not cancel",
        ),
        Mistake(
            "takes the absolute value of the sum",
            lambda x_train, x_test: _subtracted(x_train, x_test).sum(-1).abs(),
            hint="look at the order of taking absolute values and summing",
        ),
        Mistake(
            "rows are training images and columns test images",
            lambda x_train, x_test: _subtracted(x_train, x_test).abs().sum(-1).T,
            hint="row i belongs to test image i, column j to training image j",
        ),
        Mistake(
            "takes the mean over the pixels instead of the sum",
            lambda x_train, x_test: _subtracted(x_train, x_test).abs().mean(-1),
            hint="the distance adds up over pixels; nothing is divided",
        ),
        Mistake(
            "takes the largest difference instead of the sum",
            lambda x_train, x_test: _subtracted(x_train, x_test).abs().amax(-1),
            hint="every pixel counts, not the worst one alone",
        ),
    ],
)


def _vote(dists, y_train, k, *, largest=False, ties_to_larger=False):
    nearest = dists.argsort(dim=1, descending=largest, stable=True)[:, :k]
    votes = torch.nn.functional.one_hot(y_train[nearest], int(y_train.max()) + 1).sum(1)
    if ties_to_larger:
        return votes.shape[1] - 1 - votes.flip(1).argmax(1)
    return votes.argmax(1)  # the first of equal counts, so ties go to the smaller label


def _nearest_label(dists, y_train, k):
    return y_train[dists.argmin(1)]


def _nearest_among_tied(dists, y_train, k):
    order = dists.argsort(dim=1, stable=True)[:, :k]
    near = y_train[order]
    votes = torch.nn.functional.one_hot(near, int(y_train.max()) + 1).sum(1)
    is_tied = votes.gather(1, near) == votes.amax(1, keepdim=True)
    return near.gather(1, is_tied.int().argmax(1, keepdim=True))[:, 0]


predict_labels = Function(
    functions=("predict_labels",),
    reference=_vote,
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
            lambda dists, y_train, k: _vote(dists, y_train, k, ties_to_larger=True),
            hint="among labels with equally many votes the smaller one wins",
        ),
        Mistake(
            "ties go to the nearer neighbour",
            _nearest_among_tied,
            hint="among labels with equally many votes the smaller one wins, however far its neighbours are",
        ),
        Mistake(
            "takes the k farthest images",
            lambda dists, y_train, k: _vote(dists, y_train, k, largest=True),
            hint="small distances are the near ones",
        ),
        Mistake(
            "returns indices of training images instead of their labels",
            lambda dists, y_train, k: dists.argmin(1),
            hint="an index into the training set still has to be looked up in y_train",
        ),
        Mistake(
            "looks at the nearest image only",
            _nearest_label,
            hint="all k neighbours vote",
        ),
        Mistake(
            "uses k + 1 neighbours",
            lambda dists, y_train, k: _vote(dists, y_train, k + 1),
            hint="look at where the slice of neighbours ends",
        ),
        Mistake(
            "uses k - 1 neighbours",
            lambda dists, y_train, k: _vote(dists, y_train, max(k - 1, 1)),
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


def _accuracies(x, y, folds, k_choices, *, vote=_vote, score=None, on_train=False):
    parts = torch.arange(len(x)).tensor_split(folds)
    table = {k: [] for k in k_choices}
    for held_out in range(folds):
        val = parts[held_out]
        train = torch.cat([part for number, part in enumerate(parts) if number != held_out])
        if on_train:
            val = train
        dists = _squared(x[train], x[val])
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
            lambda x, y, folds, k_choices: _accuracies(x, y, folds, k_choices, vote=_nearest_label),
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
