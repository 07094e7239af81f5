"""Batch norm over several batches: what becomes of the running statistics, and what evaluation makes of them."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, normal, uniform
from dlcvkit.exercises.a3.normalization.batch import batch_norm


def _over_steps(
    *,
    start_mean=0.0,
    start_var=1.0,
    carry=True,
    frozen=False,
    evaluates_in_training=False,
    trains_in_evaluation=False,
    even=False,
    skips=0,
    reverse=False,
    momentum_at=None,
):
    """The layer over several batches; each keyword switches a mistake on."""

    def run(batches, x, gamma, beta, momentum=0.9, eps=1e-5):
        kept = momentum if momentum_at is None else momentum_at(momentum)
        first = torch.full_like(gamma, start_mean), torch.full_like(gamma, start_var)
        state, outs = first, []
        for number, batch in enumerate(batches.flip(0) if reverse else batches):
            given = state if carry else first
            out, *after = batch_norm(batch, gamma, beta, *given, not trains_in_evaluation, kept, eps)
            outs.append(out)
            state = state if number < skips or frozen else tuple(after)
        if even:
            var, mean = torch.var_mean(batches, 1, correction=0)
            state = mean.mean(0), var.mean(0)
        out, mean, var = batch_norm(x, gamma, beta, *state, evaluates_in_training, kept, eps)
        return torch.stack(outs), out, mean, var

    return run


def _case(name, shape, count, mean=0.0, std=1.0, **options):
    _, _, features = shape
    return Case(
        name,
        batches=normal(*shape, mean=mean, std=std),
        x=normal(count, features, mean=mean, std=std),
        gamma=normal(features),
        beta=uniform(features, low=-2.0, high=2.0),
        **options,
    )


batchnorm_over_steps = Function(
    functions=("batchnorm_over_steps",),
    reference=_over_steps(),
    cases=[
        _case("4 batches of 5×3", (4, 5, 3), 2, mean=2.0, std=3.0),
        _case("2 batches, momentum 0.5, eps 0.1", (2, 3, 4), 1, momentum=0.5, eps=0.1),
    ],
    points={"outs": 1, "out": 1, "running_mean": 1, "running_var": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "starts the running variance at 0",
            _over_steps(start_var=0.0),
            hint="a layer that has seen nothing should leave x as it is: which mean and variance do that?",
        ),
        Mistake(
            "starts the running mean at 1",
            _over_steps(start_mean=1.0),
            hint="a layer that has seen nothing should leave x as it is: which mean and variance do that?",
        ),
        Mistake(
            "begins anew with every batch",
            _over_steps(carry=False),
            hint="what one call returns as running statistics goes into the next call",
        ),
        Mistake(
            "never takes over the running statistics that come back",
            _over_steps(frozen=True),
            hint="what one call returns as running statistics goes into the next call",
        ),
        Mistake(
            "evaluates in training mode",
            _over_steps(evaluates_in_training=True),
            hint="the last call is not training: it uses the statistics of the steps before",
        ),
        Mistake(
            "trains in evaluation mode",
            _over_steps(trains_in_evaluation=True),
            hint="look at is_training in the loop",
        ),
        Mistake(
            "averages the statistics of all batches alike",
            _over_steps(even=True),
            hint="later batches count more: the running statistics come from batchnorm_forward",
        ),
        Mistake(
            "goes through the batches in reverse",
            _over_steps(reverse=True),
            hint="look at the order of the batches, first to last along axis 0",
        ),
        Mistake(
            "leaves the first batch out",
            _over_steps(skips=1),
            hint="count the updates: one for each batch",
        ),
        Mistake(
            "uses 1 - momentum as momentum",
            _over_steps(momentum_at=lambda momentum: 1 - momentum),
            hint="momentum is passed on as it comes",
        ),
        Mistake(
            "uses the default momentum whatever is asked for",
            _over_steps(momentum_at=lambda momentum: 0.9),
            hint="pass momentum and eps on in every call",
        ),
    ],
)
