"""Learning-rate schedules."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden


def _lr_by_table(step, schedule, lr, total, warmup=0, min_lr=0.0, drop_every=10, drop_factor=0.1):
    """Let each schedule be a function of the share of time, as a tensor."""
    number = step + 1
    if number <= warmup:
        return torch.tensor(lr * number / (warmup + 1), dtype=torch.float64)
    t, T = number - 1 - warmup, total - warmup
    falls = {
        "step": lambda: lr * math.exp(math.log(drop_factor) * math.floor(t / drop_every)),
        "cosine": lambda: min_lr + (lr - min_lr) * math.cos(math.pi * min(t, T) / (2 * T)) ** 2,
        "linear": lambda: max(lr - (lr - min_lr) * t / T, min_lr),
        "inverse_sqrt": lambda: lr * (warmup + 1) ** 0.5 * number**-0.5,
    }
    return torch.tensor(falls[schedule](), dtype=torch.float64)


def _lr_by_walking(step, schedule, lr, total, warmup=0, min_lr=0.0, drop_every=10, drop_factor=0.1):
    """Go through all steps so far, as a scheduler object does."""
    if step < warmup:
        return sum(lr / (warmup + 1) for _ in range(step + 1))
    rate = lr
    for done in range(1, step - warmup + 1):
        if schedule == "step" and done % drop_every == 0:
            rate *= drop_factor
        elif schedule == "linear" and done <= total - warmup:
            rate -= (lr - min_lr) / (total - warmup)
        elif schedule == "cosine":
            angle = math.pi * min(done, total - warmup) / (total - warmup)
            rate = 0.5 * (lr + min_lr) + 0.5 * (lr - min_lr) * math.cos(angle)
        elif schedule == "inverse_sqrt":
            rate *= math.sqrt((warmup + done) / (warmup + done + 1))
    return rate


def _lr(step, schedule, lr, total, warmup=0, min_lr=0.0, drop_every=10, drop_factor=0.1):
    return float(_lr_by_table(step, schedule, lr, total, warmup, min_lr, drop_every, drop_factor))


def _lr_rounded(*args, **options):
    return round(_lr(*args, **options), 3)


def _lr_as_factor(step, schedule, lr, total, **options):
    return _lr(step, schedule, lr, total, **options) / lr


def _lr_from_one(step, schedule, *args, **options):
    return _lr(max(step - 1, 0), schedule, *args, **options)


def _lr_ends_early(step, schedule, lr, total, **options):
    return _lr(step, schedule, lr, total - 1 if schedule in ("cosine", "linear") else total, **options)


def _lr_floored(step, schedule, lr, total, min_lr=0.0, **options):
    """Keep the step and inverse-root schedules above min_lr as well."""
    return max(_lr(step, schedule, lr, total, min_lr=min_lr, **options), min_lr)


def _lr_swaps(step, schedule, lr, total, **options):
    return _lr(step, {"cosine": "linear", "linear": "cosine"}.get(schedule, schedule), lr, total, **options)


def _lr_warms_to_floor(step, schedule, lr, total, warmup=0, min_lr=0.0, **options):
    """Let the warm-up climb from min_lr."""
    if step < warmup:
        return min_lr + (lr - min_lr) * (step + 1) / (warmup + 1)
    return _lr(step, schedule, lr, total, warmup=warmup, min_lr=min_lr, **options)


_SETTINGS = {"lr": 0.3, "min_lr": 0.0, "drop_every": 5, "drop_factor": 0.1}

lr_at = Hidden(
    cases=[
        Case("a floor above 0", steps=20, warmup=0, total=15, **_SETTINGS | {"min_lr": 0.05}),
        Case("a long warm-up", steps=20, warmup=12, total=15, **_SETTINGS),
        Case("one step of warm-up", steps=9, warmup=1, total=8, **_SETTINGS | {"min_lr": 0.2}),
        Case("one step after the warm-up", steps=8, warmup=4, total=5, **_SETTINGS | {"min_lr": 0.1}),
        Case("a drop at every step", steps=10, warmup=2, total=9, **_SETTINGS | {"drop_every": 1, "drop_factor": 0.7}),
        Case("many steps", steps=60, warmup=5, total=50, **_SETTINGS | {"lr": 1e-3, "min_lr": 1e-5, "drop_every": 20}),
        Case("no drop at all", steps=10, warmup=0, total=10, **_SETTINGS | {"drop_every": 100}),
    ],
    mutants={
        "rounds": _lr_rounded,
        "returns the factor": _lr_as_factor,
        "counts from 1": _lr_from_one,
        "ends one step early": _lr_ends_early,
        "keeps every schedule above min_lr": _lr_floored,
        "swaps cosine and linear": _lr_swaps,
        "climbs from min_lr": _lr_warms_to_floor,
        "knows one schedule": lambda step, schedule, *args, **options: _lr(step, "cosine", *args, **options),
        "returns a text": lambda step, schedule, *args, **options: str(_lr(step, schedule, *args, **options)),
    },
    solutions={"closed forms as tensors": _lr_by_table, "goes step by step": _lr_by_walking},
    equivalent={
        "lr_at: step < warmup -> step <= warmup": "at step = warmup every schedule is at the full rate, and so is the warm-up's formula"
    },
)
