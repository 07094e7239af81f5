"""Columns normalised, and parts standardised by the training part."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal


def _by_formula(x):
    mean = x.sum(dim=0) / x.shape[0]
    deviation = x - mean
    std = ((deviation * deviation).sum(dim=0) / x.shape[0]) ** 0.5
    return deviation / torch.where(std > 0, std, torch.ones_like(std))


def _shifts_in_place(x):
    x -= x.mean(dim=0)
    std = x.std(dim=0, correction=0)
    return x / std.where(std > 0, 1)


def _divides_by_zero(x):
    return (x - x.mean(0)) / x.std(0, correction=0)


def _mean_of_squares(x):
    mean = x.mean(0)
    std = (x.square().mean(0) - mean.square()).clamp_min(0).sqrt()
    return (x - mean) / std.where(std > 0, 1)


def _keeps_constant_columns(x):
    std = x.std(0, correction=0)
    return torch.where(std > 0, (x - x.mean(0)) / std.where(std > 0, 1), x)


def _seven_rows(x):
    deviation = x - x.sum(0) / 7
    std = (deviation.square().sum(0) / 7).sqrt()
    return deviation / std.where(std > 0, 1)


def _by_column_loop(x):
    return torch.stack([_by_formula(column[:, None])[:, 0] for column in x.T], dim=1)


def _ones_on_the_cpu(x):
    std = x.std(0, correction=0)
    return (x - x.mean(0)) / torch.where(std > 0, std, torch.ones(x.shape[1], dtype=x.dtype))


def _by_transposing(x):
    rows = x.T
    centred = rows - rows.mean(1, keepdim=True)
    std = centred.square().mean(1, keepdim=True).sqrt()
    return (centred / std.masked_fill(std == 0, 1.0)).T


def _clamped(x):
    return (x - x.mean(0)) / x.std(0, correction=0).clamp_min(1e-12)


_MATRICES = {
    "one row": normal(1, 3, mean=2),
    "one column": normal(6, 1, mean=-1, std=4),
    "more columns than rows": normal(2, 7),
    "more rows than columns": normal(11, 2, mean=1),
    "two constant columns": given([[0.0, 1.0, -2.5], [0.0, 2.0, -2.5], [0.0, 4.0, -2.5]]),
    "large numbers": normal(5, 3, std=1e6),
    "one row and one column": normal(1, 1),
}
_FAR_FROM_ZERO = normal(6, 3, mean=300)


normalize_columns = Hidden(
    cases=[
        *(Case(name, x=matrix) for name, matrix in _MATRICES.items()),
        Case("float32, far from zero", x=_FAR_FROM_ZERO).float32(),
        Case("non-contiguous", x=normal(5, 4)).strided(),
    ],
    mutants={
        "subtracts the mean in place": _shifts_in_place,
        "divides by zero in constant columns": _divides_by_zero,
        "subtracts the square of the mean from the mean square": _mean_of_squares,
        "leaves constant columns as they are": _keeps_constant_columns,
        "works on seven rows only": _seven_rows,
        "loops over columns": _by_column_loop,
        "makes ones on the CPU": _ones_on_the_cpu,
        "scales columns to length 1": lambda x: (
            (x - x.mean(0)) / (x - x.mean(0)).norm(dim=0).where(x.std(0, correction=0) > 0, 1)
        ),
        "subtracts the median": lambda x: (
            (x - x.median(0).values) / x.std(0, correction=0).where(x.std(0, correction=0) > 0, 1)
        ),
        "divides by the mean absolute deviation": lambda x: (
            (x - x.mean(0)) / (x - x.mean(0)).abs().mean(0).where(x.std(0, correction=0) > 0, 1)
        ),
        "adds the mean": lambda x: (x + x.mean(0)) / x.std(0, correction=0).where(x.std(0, correction=0) > 0, 1),
        "converts to float64": lambda x: _by_formula(x.double()),
        "returns zeros": torch.zeros_like,
    },
    solutions={
        "written out": _by_formula,
        "transposed": _by_transposing,
        "clamped far below any spread": _clamped,
        "float32 inside": lambda x: _by_formula(x.float()),
    },
    equivalent={
        "normalize_columns: torch.where(std > 0, std, 1) -> torch.where(std > 0, std, 2)": (
            "where the standard deviation is zero, so is what it divides"
        ),
    },
)


def _statistics(train):
    mean = train.mean(dim=0)
    std = (train - mean).square().mean(dim=0).sqrt()
    return mean, torch.where(std == 0, torch.ones_like(std), std)


def _standardized(train, *others):
    mean, std = _statistics(train)
    return tuple((part - mean) / std for part in (train, *others))


def _standardized_list(train, *others):
    mean, std = _statistics(train)
    done = [(train - mean) / std]
    for other in others:
        done.append((other - mean) / std)
    return done


def _joined_and_split(train, *others):
    parts = (train, *others)
    mean, std = _statistics(train)
    return torch.split((torch.cat(parts) - mean) / std, [len(part) for part in parts])


def _standardizes_in_place(train, *others):
    mean, std = _statistics(train)
    for part in (train, *others):
        part.sub_(mean).div_(std)
    return (train, *others)


def _by_standardized_train(train, *others):
    scaled, *_ = _standardized(train)
    return (scaled, *(_standardized(scaled, other)[1] for other in others))


def _constant_by_zero(train, *others):
    mean, std = train.mean(0), train.std(0, correction=0)
    return tuple(((part - mean) / std).nan_to_num(0.0, 0.0, 0.0) for part in (train, *others))


def _last_part_for_all(train, *others):
    mean, std = _statistics(others[-1] if others else train)
    return tuple((part - mean) / std for part in (train, *others))


def _first_other_only(train, *others):
    return _standardized(train, *others[:1])


def _two_others(train, *others):
    val, test = others
    return _standardized(train, val, test)


def _others_as_list(train, *others):
    first, *rest = _standardized(train, *others)
    return first, rest


def _rows(train, *others):
    def scale(part):
        std = part.std(1, correction=0, keepdim=True)
        return (part - part.mean(1, keepdim=True)) / std.where(std > 0, 1)

    return tuple(scale(part) for part in (train, *others))


def _std_of_each(train, *others):
    mean = train.mean(0)
    return tuple((part - mean) / _statistics(part)[1] for part in (train, *others))


standardize = Hidden(
    cases=[
        Case("no other part", train=normal(5, 3, mean=2)),
        Case("three other parts", train=normal(6, 2), a=normal(1, 2), b=normal(3, 2), c=normal(6, 2)),
        Case("one training row", train=normal(1, 4), val=normal(3, 4)),
        Case("one feature", train=normal(7, 1, std=5), val=normal(2, 1)),
        Case("as many rows as features", train=normal(4, 4), val=normal(4, 4)),
        Case("parts of equal size that differ much", train=normal(5, 3), val=normal(5, 3, mean=9, std=7)),
        Case("two features constant in train", train=given([[0.0, 1.0, 2.0], [0.0, 5.0, 2.0]]), val=normal(3, 3)),
        Case("float32 images", train=normal(4, 3, 5, 2), test=normal(2, 3, 5, 2)).float32(),
        Case("float32, far from zero", train=_FAR_FROM_ZERO, val=_FAR_FROM_ZERO).float32(),
        Case("non-contiguous images", train=normal(4, 2, 3, 3), val=normal(3, 2, 3, 3)).strided(),
    ],
    mutants={
        "changes its inputs in place": _standardizes_in_place,
        "standardises others by the standardised training part": _by_standardized_train,
        "sets features that are constant in train to zero": _constant_by_zero,
        "takes the statistics of the last part": _last_part_for_all,
        "returns the first of the other parts only": _first_other_only,
        "wants exactly two other parts": _two_others,
        "returns the other parts as a list of their own": _others_as_list,
        "standardises rows": _rows,
        "divides each part by its own standard deviation": _std_of_each,
        "returns the training part only": lambda train, *others: _standardized(train),
        "returns a bare tensor": lambda train, *others: _standardized(train)[0],
        "returns everything in one tensor": lambda train, *others: torch.cat(_standardized(train, *others)),
        "exchanges the order of the parts": lambda train, *others: _standardized(train, *others)[::-1],
        "returns nothing": lambda train, *others: None,
    },
    solutions={
        "written out": _standardized,
        "a list": _standardized_list,
        "joined and split": _joined_and_split,
        "float32 inside": lambda train, *others: _standardized(train.float(), *(other.float() for other in others)),
    },
)
