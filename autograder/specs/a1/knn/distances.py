"""Squared distances with two loops, one and none, and L1 distances."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal

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


def broadcast(x_train, x_test):
    return (x_test.flatten(1)[:, None, :] - x_train.flatten(1)[None, :, :]).pow(2).sum(dim=2)


def _expanded(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    return a.pow(2).sum(1, keepdim=True) + b.pow(2).sum(1) - 2 * a @ b.T


def _transposed_result(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    return (b.pow(2).sum(1, keepdim=True) + a.pow(2).sum(1) - 2 * b @ a.T).T


def _in_float32(x_train, x_test):
    return broadcast(x_train.float(), x_test.float())


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
    solutions={"broadcast": broadcast, "transposed view": _transposed_result, "float32": _in_float32},
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
        "takes the root of the squared distance": lambda x_train, x_test: broadcast(x_train, x_test).sqrt(),
    },
    solutions={
        "maximum minus minimum": _l1_by_maximum,
        "float32": lambda x_train, x_test: _l1(x_train.float(), x_test.float()),
        "transposed view": lambda x_train, x_test: _l1(x_test, x_train).T,
    },
)
