"""The search for settings."""

from __future__ import annotations

from copy import deepcopy

import torch

from dlcvkit.checking import Case, Hidden, labels, normal


def _trials(make_model, lrs, regs, X_train, y_train):
    for i, lr in enumerate(lrs):
        for j, reg in enumerate(regs):
            model = make_model()
            model.fit(X_train, y_train, lr, reg)
            yield i, j, model


def _search_by_sorting(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    tried = [(model.accuracy(X_val, y_val), model) for *_, model in _trials(make_model, lrs, regs, X_train, y_train)]
    best = sorted(tried, key=lambda pair: -pair[0])[0][1]
    return best, torch.tensor([accuracy for accuracy, _ in tried]).reshape(len(lrs), len(regs))


def _search_columns_first(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    models = {}
    accuracies = torch.zeros(len(lrs), len(regs), dtype=torch.float64, device=X_train.device)
    for j, reg in reversed(list(enumerate(regs))):
        for i, lr in reversed(list(enumerate(lrs))):
            models[i, j] = make_model()
            models[i, j].fit(X_train, y_train, lr=lr, reg=reg)
            accuracies[i, j] = models[i, j].accuracy(X_val, y_val)
    first = int(accuracies.flatten().argmax())
    return models[first // len(regs), first % len(regs)], accuracies


def _search_list(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    best, highest, rows = None, float("-inf"), []
    for lr in lrs:
        rows.append([])
        for reg in regs:
            model = make_model()
            model.fit(X_train, y_train, lr, reg)
            rows[-1].append(model.accuracy(X_val, y_val))
            if rows[-1][-1] > highest:
                best, highest = deepcopy(model), rows[-1][-1]
    return best, rows


def _search(
    make_model, lrs, regs, X_train, y_train, X_val, y_val, *, alias=False, row_alias=False, floor=-1.0, later=False
):
    """Search the grid; each keyword switches a mistake on."""
    best, highest = None, floor
    accuracies = torch.zeros(len(lrs), len(regs), dtype=torch.float64, device=X_train.device)
    model = make_model()
    for i, lr in enumerate(lrs):
        model = make_model() if row_alias else model
        for j, reg in enumerate(regs):
            model = model if alias or row_alias else make_model()
            model.fit(X_train, y_train, lr, reg)
            accuracy = accuracies[i, j] = model.accuracy(X_val, y_val)
            if accuracy >= highest if later else accuracy > highest:
                best, highest = model, accuracy
    return best, accuracies


def _search_returns_settings(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    _, accuracies = _search(make_model, lrs, regs, X_train, y_train, X_val, y_val)
    best = int(accuracies.argmax())
    return (lrs[best // len(regs)], regs[best % len(regs)]), accuracies


def _search_fits_twice(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    best, accuracies = _search(make_model, lrs, regs, X_train, y_train, X_val, y_val)
    place = int(accuracies.argmax())
    best.fit(X_train, y_train, lrs[place // len(regs)], regs[place % len(regs)])
    return best, accuracies


def _search_diagonal(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    trials = [
        _search(make_model, [lr], [reg], X_train, y_train, X_val, y_val) for lr, reg in zip(lrs, regs, strict=False)
    ]
    best = max(trials, key=lambda trial: float(trial[1]))[0]
    return best, torch.cat([table for _, table in trials])


def _search_swapped_arguments(make_model, lrs, regs, X_train, y_train, X_val, y_val):
    def make_swapped():
        model = make_model()
        fit = model.fit
        model.fit = lambda X, y, lr, reg: fit(X, y, reg, lr)
        return model

    return _search(make_swapped, lrs, regs, X_train, y_train, X_val, y_val)


def _search_swapped_results(*args):
    return _search(*args)[::-1]


_SPLIT = {"X_train": normal(5, 2), "y_train": labels(5, 3), "X_val": normal(7, 2), "y_val": labels(7, 3)}

hyperparameter_search = Hidden(
    cases=[
        Case("one trial", **_SPLIT, lrs=[0.3], regs=[0.7], table=[[0.25]]),
        Case("the best trial first", **_SPLIT, lrs=[0.3, 0.1], regs=[0.7, 0.9], table=[[0.8, 0.2], [0.4, 0.3]]),
        Case("nobody is right", **_SPLIT, lrs=[0.3, 0.1], regs=[0.7, 0.9], table=[[0.0, 0.0], [0.0, 0.0]]),
        Case("one column", **_SPLIT, lrs=[1.0, 0.1, 0.2], regs=[0.5], table=[[0.1], [0.7], [0.2]]),
        Case("ties", **_SPLIT, lrs=[1.0, 0.1], regs=[0.5, 0.4, 0.3], table=[[0.1, 0.7, 0.7], [0.7, 0.2, 0.7]]),
        Case("float32", **_SPLIT, lrs=[0.5, 0.25], regs=[0.125, 2.0], table=[[0.1, 0.2], [0.6, 0.5]]).float32(),
        Case("strided", **_SPLIT, lrs=[0.5, 0.25], regs=[0.125, 2.0], table=[[0.1, 0.5], [0.6, 0.2]]).strided(),
    ],
    mutants={
        "one model for all trials": lambda *args: _search(*args, alias=True),
        "one model for each lr": lambda *args: _search(*args, row_alias=True),
        "expects more than 0": lambda *args: _search(*args, floor=0.0),
        "ties to the later trial": lambda *args: _search(*args, later=True),
        "returns the settings": _search_returns_settings,
        "trains the best again": _search_fits_twice,
        "tries the diagonal alone": _search_diagonal,
        "swaps lr and reg": _search_swapped_arguments,
        "swaps its results": _search_swapped_results,
    },
    solutions={
        "sorts the trials": _search_by_sorting,
        "columns first, from the end": _search_columns_first,
        "nested list and a deep copy": _search_list,
    },
    equivalent={
        "hyperparameter_search: best, highest = (None, -1.0) -> best, highest = (None, -2.0)": "below every accuracy",
        "hyperparameter_search: best, highest = (None, -1.0) -> best, highest = (None, -0.5)": "below every accuracy",
        "hyperparameter_search: torch.zeros(len(lrs), len(regs), dtype=torch.float64) -> "
        "torch.ones(len(lrs), len(regs), dtype=torch.float64)": "every entry is overwritten",
        "hyperparameter_search: torch.zeros(len(lrs), len(regs), dtype=torch.float64) -> "
        "torch.zeros(len(lrs), len(regs))": "the table may have any floating dtype",
    },
)
