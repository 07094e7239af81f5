"""Mean and standard deviation of columns, taken from the data itself or from the training part."""

from __future__ import annotations

import torch

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Mistake, given, normal


def _scaled(x, mean, std):
    return (x - mean) / torch.where(std > 0, std, 1)


def _spread(x, dim=0, correction=0):
    """Return the standard deviation; exactly zero where all entries are equal, whatever rounding says."""
    std = x.std(dim, correction=0, keepdim=True)
    if correction:
        std = std * (len(x) / (len(x) - correction)) ** 0.5  # undefined for one row, so that no case shows NaN
    return std.where(x.amax(dim, keepdim=True) > x.amin(dim, keepdim=True), 0)


def _normalize(x):
    return _scaled(x, x.mean(0), _spread(x))


_COLUMNS_WITH_A_CONSTANT = given([[1.0, 3.0, -2.0], [2.0, 3.0, 0.5], [4.0, 3.0, 1.0], [9.0, 3.0, 0.25]])

normalize_columns = Function(
    functions=("normalize_columns",),
    reference=_normalize,
    cases=[
        Case("seven rows of four", x=normal(7, 4, mean=2, std=3)),
        Case("a constant column", x=_COLUMNS_WITH_A_CONSTANT),
        Case("tiny numbers, as many rows as columns", x=normal(4, 4, std=1e-4)),
    ],
    points={"normalized": 4},
    forbidden=TORCH_LAYERS,
    is_loop_free=True,
    mistakes=[
        Mistake(
            "divides by N - 1 in the standard deviation",
            lambda x: _scaled(x, x.mean(0), _spread(x, correction=1)),
            hint="torch.std divides by N - 1 unless told correction=0",
        ),
        Mistake(
            "normalises rows instead of columns",
            lambda x: _scaled(x, x.mean(1, keepdim=True), _spread(x, dim=1)),
            hint="dim names the axis that disappears: statistics of a column run over axis 0",
        ),
        Mistake(
            "uses one mean and one standard deviation for the whole matrix",
            lambda x: _scaled(x, x.mean(), x.std(correction=0)),
            hint="every column has a mean and a standard deviation of its own",
        ),
        Mistake(
            "uses one mean and one standard deviation for the whole matrix",
            lambda x: _scaled(x, x.mean(), x.std(correction=0) * (x.numel() / (x.numel() - 1)) ** 0.5),
            hint="every column has a mean and a standard deviation of its own",
        ),
        Mistake(
            "subtracts the mean only",
            lambda x: x - x.mean(0),
            hint="each column is also divided by its standard deviation",
        ),
        Mistake(
            "divides by the standard deviation only",
            lambda x: _scaled(x, 0, _spread(x)),
            hint="subtract the column's mean first",
        ),
        Mistake(
            "divides by the variance",
            lambda x: _scaled(x, x.mean(0), _spread(x) ** 2),
            hint="the standard deviation is the square root of the variance",
        ),
        Mistake(
            "divides by the sum of squares without the mean over rows",
            lambda x: _scaled(x, x.mean(0), (x - x.mean(0)).square().sum(0).sqrt()),
            hint="the variance is a mean: divide the sum of squares by the number of rows",
        ),
        Mistake(
            "takes the root mean square of x for its standard deviation",
            lambda x: _scaled(x, x.mean(0), x.square().mean(0).sqrt()),
            hint="the standard deviation measures distances from the mean: subtract first, then square",
        ),
        Mistake(
            "subtracts the mean after dividing",
            lambda x: x / torch.where(_spread(x) > 0, _spread(x), 1) - x.mean(0),
            hint="the brackets matter: first subtract the mean, then divide",
        ),
        Mistake(
            "adds a small number to every standard deviation",
            lambda x: (x - x.mean(0)) / (_spread(x) + 1e-5),
            hint="only constant columns need care: replace their standard deviation by 1, leave the others exact",
        ),
        Mistake(
            "adds a small number to every standard deviation",
            lambda x: (x - x.mean(0)) / (_spread(x) + 1e-8),
            hint="only constant columns need care: replace their standard deviation by 1, leave the others exact",
        ),
        Mistake(
            "scales each column to the range from 0 to 1",
            lambda x: _scaled(x, x.amin(0), x.amax(0) - x.amin(0)),
            hint="mean 0 and standard deviation 1 are asked for, not a range",
        ),
    ],
)


def _standardize(train, *, over=0, correction=0, **others):
    mean, std = train.mean(over, keepdim=True), _spread(train, over, correction)
    return _scaled(train, mean, std), tuple(_scaled(other, mean, std) for other in others.values())


def _each_for_itself(train, **others):
    return _normalize(train), tuple(_normalize(other) for other in others.values())


def _together(train, **others):
    everything = torch.cat([train, *others.values()])
    mean, std = everything.mean(0), _spread(everything)
    return _scaled(train, mean, std), tuple(_scaled(other, mean, std) for other in others.values())


def _with(mean, std):
    """Return a variant that takes the statistics of ``train`` by the given functions."""

    def variant(train, **others):
        parts = train, *others.values()
        scaled = tuple(_scaled(part, mean(train), std(train)) for part in parts)
        return scaled[0], scaled[1:]

    return variant


def _train_and_others(standardize, train, **others):
    parts = standardize(train, *others.values())
    # What is no tuple stands for both, so that the report says what each of them should have been.
    return (parts[0], tuple(parts[1:])) if isinstance(parts, tuple | list) and parts else (parts, parts)


standardize = Function(
    functions=("standardize",),
    reference=_standardize,
    call=_train_and_others,
    cases=[
        Case("three parts", train=normal(8, 3, mean=1, std=2), val=normal(5, 3), test=normal(2, 3)),
        Case("images", train=normal(6, 3, 2, 4, mean=1), val=normal(4, 3, 2, 4)),
        Case("a column that is constant in train", train=_COLUMNS_WITH_A_CONSTANT, val=normal(5, 3)),
        Case("tiny numbers", train=normal(5, 2, std=1e-4), val=normal(3, 2, std=1e-4)),
    ],
    points={"train": 2, "others": 2},
    forbidden=TORCH_LAYERS,
    mistakes=[
        Mistake(
            "standardises every part by its own statistics",
            _each_for_itself,
            hint="mean and standard deviation come from train; the other parts are only transformed with them",
        ),
        Mistake(
            "takes the statistics of all parts together",
            _together,
            hint="mean and standard deviation come from train alone: the rest stands for what has not been seen",
        ),
        Mistake(
            "returns the other parts unchanged",
            lambda train, **others: (_normalize(train), tuple(others.values())),
            hint="a model that was trained on standardised data wants to be shown standardised data",
        ),
        Mistake(
            "subtracts the mean only",
            _with(lambda t: t.mean(0), lambda t: torch.ones_like(t[0])),
            hint="each feature is also divided by its standard deviation",
        ),
        Mistake(
            "only divides the other parts and does not shift them",
            lambda train, **others: (
                _normalize(train),
                tuple(_scaled(other, 0, _spread(train)) for other in others.values()),
            ),
            hint="the other parts are shifted by the mean of train as well",
        ),
        Mistake(
            "divides by N - 1 in the standard deviation",
            lambda train, **others: _standardize(train, correction=1, **others),
            hint="torch.std divides by N - 1 unless told correction=0",
        ),
        Mistake(
            "uses one mean and one standard deviation for all features",
            _with(lambda t: t.mean(), lambda t: t.std(correction=0)),
            hint="every feature, every position but the first axis, has statistics of its own",
        ),
        Mistake(
            "divides by the variance",
            _with(lambda t: t.mean(0), lambda t: _spread(t)[0] ** 2),
            hint="the standard deviation is the square root of the variance",
        ),
        Mistake(
            "takes statistics per channel instead of per feature",
            lambda train, **others: _standardize(train, over=(0, 2, 3), **others),
            hint="only axis 0 is averaged over; the mean has the shape of one image",
        ),
        Mistake(
            "adds a small number to every standard deviation",
            _with(lambda t: t.mean(0), lambda t: _spread(t)[0] + 1e-8),
            hint="only constant features need care: replace their standard deviation by 1, leave the others exact",
        ),
    ],
)
