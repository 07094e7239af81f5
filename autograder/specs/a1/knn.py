"""Hidden cases, mutants and other solutions for solutions/a1/knn.py."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, drawn, given, integers, labels, normal

_DISTANCE_CASES = [
    Case("one test image", x_train=normal(3, 3, 5, 2), x_test=normal(1, 3, 5, 2)),
    Case("one training image", x_train=normal(1, 2, 3, 4), x_test=normal(4, 2, 3, 4)),
    Case("more test than training images", x_train=normal(3, 1, 2, 5), x_test=normal(8, 1, 2, 5)),
    Case("float32", x_train=normal(6, 2, 3, 3), x_test=normal(5, 2, 3, 3)).float32(),
    Case("non-contiguous images", x_train=normal(5, 3, 2, 4), x_test=normal(6, 3, 2, 4)).strided(),
    Case(
        "an image compared with itself", x_train=given([[1.0, 2.0], [3.0, 5.0]]), x_test=given([[3.0, 5.0], [0.0, 0.0]])
    ),
    Case("bright images far from zero", x_train=normal(4, 9, mean=20), x_test=normal(5, 9, mean=20)),
]


def _loops(x_train, x_test, *, root=False, first=None, absolute=False):
    a, b = x_test.reshape(len(x_test), -1), x_train.reshape(len(x_train), -1)
    if first is not None:
        a, b = a[:, :first], b[:, :first]
    out = torch.zeros(len(a), len(b), dtype=a.dtype, device=a.device)
    for i in range(len(a)):
        for j in range(len(b)):
            difference = a[i] - b[j]
            out[i, j] = difference.abs().sum() if absolute else (difference * difference).sum()
    return out.sqrt() if root else out


def _one_loop(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    return torch.stack([(b - row).pow(2).sum(1) for row in a])


def _broadcast(x_train, x_test):
    return (x_test.flatten(1)[:, None, :] - x_train.flatten(1)[None, :, :]).pow(2).sum(dim=2)


def _expanded(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    return a.pow(2).sum(1, keepdim=True) + b.pow(2).sum(1) - 2 * a @ b.T


def _transposed_result(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    return (b.pow(2).sum(1, keepdim=True) + a.pow(2).sum(1) - 2 * b @ a.T).T


def _in_float32(x_train, x_test):
    return _broadcast(x_train.float(), x_test.float())


def _skips_last_column(x_train, x_test):
    out = _loops(x_train, x_test)
    out[:, -1] = 0
    return out


def _starts_at_one(x_train, x_test):
    out = _loops(x_train, x_test)
    out[0] = 0
    return out


def _squares_in_place(x_train, x_test):
    out = _expanded(x_train, x_test)
    x_test.pow_(2)
    return out


def _hard_coded_size(x_train, x_test):
    return (x_test.view(-1, 24)[:, None] - x_train.view(-1, 24)).pow(2).sum(-1)


def _only_square(x_train, x_test):
    out = _loops(x_train, x_test)
    return out if out.shape[0] != out.shape[1] else out.T


def _float64_only(x_train, x_test):
    out = torch.zeros(len(x_test), len(x_train), dtype=torch.float64, device=x_test.device)
    return out + _expanded(x_train, x_test)


def _first_channel(x_train, x_test):
    return _loops(x_train[:, :1], x_test[:, :1])


def _keeps_image_axes(x_train, x_test):
    return (x_test[:, None] - x_train[None]).pow(2).sum(-1)


def _views_only(x_train, x_test):
    return _expanded(x_train.view(len(x_train), -1), x_test.view(len(x_test), -1))


def _mean_over_images(x_train, x_test):
    return _expanded(x_train, x_test) / len(x_train)


_MUTANTS = {
    "leaves out the last training image": _skips_last_column,
    "starts counting test images at 1": _starts_at_one,
    "squares the test images in place": _squares_in_place,
    "works for images of 24 numbers only": _hard_coded_size,
    "transposes square results": _only_square,
    "makes a float64 buffer whatever the input": _float64_only,
    "looks at the first channel only": _first_channel,
    "sums over the last axis only": _keeps_image_axes,
    "divides by the number of training images": _mean_over_images,
    "works on contiguous images only": _views_only,
    "returns nothing": lambda x_train, x_test: None,
    "returns zeros": lambda x_train, x_test: x_test.new_zeros(len(x_test), len(x_train)),
}

_OVERWRITTEN = "every entry is overwritten afterwards"
_SQUARED = "the difference is squared, so its sign does not matter"
_DEFAULT = "this is the default"

knn_two_loops = Hidden(
    cases=_DISTANCE_CASES,
    equivalent={
        "compute_distances_two_loops: x_train.new_zeros(len(test_rows), len(train_rows)) -> "
        "x_train.new_ones(len(test_rows), len(train_rows))": _OVERWRITTEN,
        "compute_distances_two_loops: test_rows[i] - train_rows[j] -> train_rows[j] - test_rows[i]": _SQUARED,
    },
    mutants={
        **_MUTANTS,
        "uses torch.cdist": lambda x_train, x_test: torch.cdist(x_test.flatten(1), x_train.flatten(1)) ** 2,
    },
    solutions={"loops": _loops, "one loop": _one_loop, "expanded square": _expanded, "float32": _in_float32},
)

knn_one_loop = Hidden(
    cases=_DISTANCE_CASES,
    equivalent={
        "compute_distances_one_loop: x_train.new_zeros(len(test_rows), len(train_rows)) -> "
        "x_train.new_ones(len(test_rows), len(train_rows))": _OVERWRITTEN,
        "compute_distances_one_loop: train_rows - test_rows[i] -> test_rows[i] - train_rows": _SQUARED,
    },
    mutants=_MUTANTS,
    solutions={"stacked rows": _one_loop, "transposed view": _transposed_result, "float32": _in_float32},
)

knn_no_loops = Hidden(
    cases=_DISTANCE_CASES,
    mutants={**_MUTANTS, "loops over test images": _one_loop},
    solutions={"broadcast": _broadcast, "transposed view": _transposed_result, "float32": _in_float32},
)


def _l1(x_train, x_test):
    return (x_test.flatten(1)[:, None] - x_train.flatten(1)[None]).abs().sum(-1)


def _l1_by_maximum(x_train, x_test):
    a, b = x_test.flatten(1)[:, None], x_train.flatten(1)[None]
    return (torch.maximum(a, b) - torch.minimum(a, b)).sum(2)


def _l1_of_mean(x_train, x_test):
    return _l1(x_train, x_test) / len(x_train)


def _l1_in_place(x_train, x_test):
    out = _l1(x_train, x_test)
    x_train.abs_()
    return out


l1_distances = Hidden(
    cases=_DISTANCE_CASES,
    equivalent={
        "l1_distances: test_rows[:, None, :] - train_rows[None, :, :] -> "
        "train_rows[None, :, :] - test_rows[:, None, :]": "the absolute value is taken, so the sign does not matter",
    },
    mutants={
        "divides by the number of training images": _l1_of_mean,
        "changes the training images": _l1_in_place,
        "sums over the last axis only": lambda x_train, x_test: (x_test[:, None] - x_train[None]).abs().sum(-1),
        "loops": lambda x_train, x_test: _loops(x_train, x_test, absolute=True),
        "works for images of 24 numbers only": lambda x_train, x_test: _l1(x_train.view(-1, 24), x_test.view(-1, 24)),
        "takes the root of the squared distance": lambda x_train, x_test: _broadcast(x_train, x_test).sqrt(),
    },
    solutions={
        "maximum minus minimum": _l1_by_maximum,
        "float32": lambda x_train, x_test: _l1(x_train.float(), x_test.float()),
        "transposed view": lambda x_train, x_test: _l1(x_test, x_train).T,
    },
)


def _vote_by_bincount(dists, y_train, k):
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
    return _vote_by_bincount(dists, y_train, k).to(dists.dtype)


def _sorts_in_place(dists, y_train, k):
    out = _vote_by_bincount(dists, y_train, k)
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
        "always uses k = 5": lambda dists, y_train, k: _vote_by_bincount(dists, y_train, min(5, len(y_train))),
        "returns class 0": lambda dists, y_train, k: torch.zeros(len(dists), dtype=torch.int64, device=dists.device),
    },
    solutions={"bincount": _vote_by_bincount, "pairwise counts": _vote_by_comparison, "mode, int32": _vote_by_mode},
)


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


def _validate(x, y, folds, k_choices, *, distance=_broadcast, predict=_vote_by_bincount, parts=_folds, as_float=float):
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
