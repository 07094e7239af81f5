"""Batches drawn at random."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, labels, normal


def _indices(X, batch_size, generator):
    return torch.randint(len(X), (batch_size,), generator=generator, device=X.device)


def sample(X, y, batch_size, generator):
    rows = _indices(X, batch_size, generator)
    return X[rows], y[rows]


def sample_by_uniform(X, y, batch_size, generator):
    u = torch.rand(batch_size, generator=generator, device=X.device, dtype=torch.float64)
    rows = (u * X.shape[0]).floor().long()
    return torch.index_select(X, 0, rows), torch.index_select(y, 0, rows)


def _sample_by_weights(X, y, batch_size, generator):
    weights = torch.ones(len(X), device=X.device)
    rows = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
    return [X[rows, :], y[rows]]


def sample_apart(X, y, batch_size, generator):
    return X[_indices(X, batch_size, generator)], y[_indices(X, batch_size, generator)]


def sample_globally(X, y, batch_size, generator):
    rows = torch.randint(len(X), (batch_size,), device=X.device)
    return X[rows], y[rows]


def _sample_own_generator(X, y, batch_size, generator):
    return sample(X, y, batch_size, torch.Generator(device=X.device).manual_seed(0))


def _sample_own_seed_once(X, y, batch_size, generator):
    return sample(X, y, batch_size, generator.manual_seed(0))


def _sample_first(X, y, batch_size, generator):
    return X[:batch_size], y[:batch_size]


def _sample_without_last(X, y, batch_size, generator):
    rows = torch.randint(max(len(X) - 1, 1), (batch_size,), generator=generator, device=X.device)
    return X[rows], y[rows]


def _sample_without_first(X, y, batch_size, generator):
    rows = torch.randint(min(1, len(X) - 1), len(X), (batch_size,), generator=generator, device=X.device)
    return X[rows], y[rows]


def _sample_without_replacement(X, y, batch_size, generator):
    rows = torch.randperm(len(X), generator=generator, device=X.device)[:batch_size]
    return X[rows], y[rows]


def _sample_columns(X, y, batch_size, generator):
    rows = torch.randint(X.shape[1], (batch_size,), generator=generator, device=X.device)
    return X[rows], y[rows]


def _sample_x_only(X, y, batch_size, generator):
    return X[_indices(X, batch_size, generator)]


def _sample_stretch(X, y, batch_size, generator):
    first = int(torch.randint(max(len(X) - batch_size, 1), (1,), generator=generator, device=X.device))
    return X[first : first + batch_size], y[first : first + batch_size]


sample_batch = Hidden(
    cases=[
        Case("one row", X=normal(1, 4), y=given([0], dtype=torch.int64), batch_size=3, seed=3),
        Case("one row at a time", X=normal(3, 7), y=labels(3, 2), batch_size=1, seed=4),
        Case("float32", X=normal(7, 2), y=labels(7, 3), batch_size=5, seed=5).float32(),
        Case("non-contiguous", X=normal(9, 4), y=labels(9, 5), batch_size=9, seed=6).strided(),
    ],
    mutants={
        "draws X and y apart": sample_apart,
        "ignores the generator": sample_globally,
        "makes a generator of its own": _sample_own_generator,
        "seeds the generator anew": _sample_own_seed_once,
        "always the first rows": _sample_first,
        "never the last row": _sample_without_last,
        "never the first row": _sample_without_first,
        "draws without replacement": _sample_without_replacement,
        "draws as many numbers as there are columns": _sample_columns,
        "returns X alone": _sample_x_only,
        "takes neighbouring rows": _sample_stretch,
    },
    solutions={
        "scales uniform numbers": sample_by_uniform,
        "multinomial, returned as a list": _sample_by_weights,
    },
    equivalent={
        "sample_batch: torch.randint(len(X), (batch_size,), generator=generator, device=X.device) -> "
        "torch.randint(len(X), (batch_size,), generator=generator)": "the CPU is the default device, and rows may be "
        "indexed from there; with a GPU the same cases run on it, and its generator refuses to draw on the CPU",
    },
)
