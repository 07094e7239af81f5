"""Learning-rate schedules."""

from __future__ import annotations

import math

import torch
from torch.optim import lr_scheduler

from dlcvkit.checking import Case, Function, Mistake

SCHEDULES = ("step", "cosine", "linear", "inverse_sqrt")


def _walk_schedules(lr_at, steps, warmup, **options):
    """Return the rates of steps 0, 1, ...: those of the warm-up under all schedules, then the rest of each."""
    rates = [[lr_at(step, name, warmup=warmup, **options) for step in range(steps)] for name in SCHEDULES]
    parts = [[row[:warmup] for row in rates], *(row[warmup:] for row in rates)]
    return tuple(_as_numbers(part) for part in parts)


def _as_numbers(rates):
    """Return rates as a tensor; if one of them is no number, that one, for the comparison to say what it is."""
    for rate in (each for row in rates for each in (row if isinstance(row, list) else [row])):
        try:
            float(rate)
        except (TypeError, ValueError, RuntimeError):
            return rate
    return torch.tensor(rates, dtype=torch.float64)


def _scheduler(name, optimiser, lr, total, warmup, min_lr, drop_every, drop_factor):
    if name == "step":
        return lr_scheduler.StepLR(optimiser, drop_every, drop_factor)
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimiser, total - warmup, min_lr)
    if name == "linear":
        return lr_scheduler.LinearLR(optimiser, 1.0, min_lr / lr, total - warmup)
    return lr_scheduler.LambdaLR(optimiser, lambda done: ((warmup + 1) / (warmup + 1 + done)) ** 0.5)


def _torch_rates(name, steps, warmup, lr, total, **options):
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.zeros(1)
    optimiser = torch.optim.SGD([parameter], lr=lr)
    rest = _scheduler(name, optimiser, lr, total, warmup, **options)
    if warmup:
        climb = lr_scheduler.LinearLR(optimiser, 1 / (warmup + 1), 1.0, warmup)
        rest = lr_scheduler.SequentialLR(optimiser, [climb, rest], [warmup])
    rates = []
    for step in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        if name != "cosine" or step < total:  # torch's cosine would come back up
            optimiser.step()
            rest.step()
    return rates


def _torch_schedules(steps, warmup, **options):
    rates = {name: _torch_rates(name, steps, warmup, **options) for name in SCHEDULES}
    return _walk_schedules(lambda step, name, **_: rates[name][step], steps, warmup)


def _scheduled(**mistakes):
    """Make the rates of ``_rate`` with mistakes switched on."""
    return lambda **inputs: _walk_schedules(lambda *args, **options: _rate(*args, **options, **mistakes), **inputs)


def _rate(
    step,
    schedule,
    lr,
    total,
    warmup,
    min_lr,
    drop_every,
    drop_factor,
    *,
    climb=lambda step, warmup: (step + 1) / (warmup + 1),
    late=True,
    clamp=True,
    cosine=lambda share: (1 + math.cos(math.pi * share)) / 2,
    drops=lambda done, every: done // every,
    root=lambda step, warmup: ((warmup + 1) / (step + 1)) ** 0.5,
    uses_floor=True,
):
    """Return the learning rate; each keyword switches a mistake on."""
    if step < warmup:
        return lr * climb(step, warmup)
    done = step - warmup if late else step
    if schedule == "step":
        return lr * drop_factor ** drops(done, drop_every)
    if schedule == "inverse_sqrt":
        return lr * root(step, warmup)
    share = done / (total - warmup if late else total)
    share = min(share, 1.0) if clamp else share
    floor = min_lr if uses_floor else 0.0
    height = cosine(share) if schedule == "cosine" else 1 - share
    return floor + (lr - floor) * height


_ONES = {"lr": 1.0, "drop_every": 4, "drop_factor": 0.5}

lr_at = Function(
    functions=("lr_at",),
    reference=_torch_schedules,
    call=_walk_schedules,
    cases=[
        Case("no warm-up", steps=12, warmup=0, total=12, min_lr=0.0, **_ONES),
        Case("warm-up, and steps beyond the total", steps=17, warmup=3, total=13, min_lr=0.1, **_ONES),
    ],
    points={"warmup": 1, "step": 1, "cosine": 2, "linear": 1, "inverse_sqrt": 1},
    mistakes=[
        Mistake(
            "starts the warm-up at 0",
            _scheduled(climb=lambda step, warmup: step / warmup),
            hint="a first step of length 0 is wasted: look at the rate of step 0",
        ),
        Mistake(
            "reaches the full rate one step early",
            _scheduled(climb=lambda step, warmup: (step + 1) / warmup),
            hint="the full rate belongs to the first step after the warm-up",
        ),
        Mistake(
            "has no warm-up",
            _scheduled(climb=lambda step, warmup: 1.0),
            hint="look at the rates of the steps before warmup",
        ),
        Mistake(
            "counts the schedule from step 0 instead of the end of the warm-up",
            _scheduled(late=False),
            hint="after the warm-up, t = step - warmup counts from 0, and T = total - warmup",
        ),
        Mistake(
            "goes on beyond the last step",
            _scheduled(clamp=False),
            hint="look at what becomes of the rate once step has passed total",
        ),
        Mistake(
            "ends at 0 instead of min_lr",
            _scheduled(uses_floor=False),
            hint="the height above min_lr is what falls, and its share of lr - min_lr goes from 1 to 0",
        ),
        Mistake(
            "goes through a quarter of the cosine instead of half",
            _scheduled(cosine=lambda share: math.cos(math.pi * share / 2)),
            hint="the curve is level at both ends",
        ),
        Mistake(
            "goes through the whole cosine",
            _scheduled(cosine=lambda share: (1 + math.cos(2 * math.pi * share)) / 2),
            hint="the cosine goes from 1 to -1 once",
        ),
        Mistake(
            "drops smoothly instead of by stairs",
            _scheduled(drops=lambda done, every: done / every),
            hint="the exponent counts whole stretches of drop_every steps",
        ),
        Mistake(
            "drops one step late",
            _scheduled(drops=lambda done, every: max(done - 1, 0) // every),
            hint="the first drop comes drop_every steps after the warm-up, not later",
        ),
        Mistake(
            "drops only once",
            _scheduled(drops=lambda done, every: min(done // every, 1)),
            hint="the factor is applied again at every drop",
        ),
        Mistake(
            "falls from the first step on instead of from the end of the warm-up",
            _scheduled(root=lambda step, warmup: (step + 1) ** -0.5),
            hint="at the end of the warm-up the rate is lr",
        ),
        Mistake(
            "counts the inverse root from the end of the warm-up",
            _scheduled(root=lambda step, warmup: (step - warmup + 1) ** -0.5),
            hint="the root runs on the number of all steps taken, the warm-up's included",
        ),
        Mistake(
            "takes no root",
            _scheduled(root=lambda step, warmup: (warmup + 1) / (step + 1)),
            hint="four times the steps, half the rate",
        ),
    ],
)
