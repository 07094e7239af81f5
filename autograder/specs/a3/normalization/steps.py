"""Batch norm over several steps."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, normal

from .batch import forward, looping_forward


def _steps(batches, x, gamma, beta, momentum=0.9, eps=1e-5, fault=""):
    mean, var = torch.zeros_like(gamma), torch.ones_like(gamma)
    if fault == "starts with the first batch":
        mean, var = batches[0].mean(0), batches[0].var(0, correction=0)
    if fault == "starts with gamma and beta":
        mean, var = beta, gamma
    outs = []
    for number, batch in enumerate(batches):
        if fault == "stops before the last" and number == len(batches) - 1:
            outs.append(forward(batch, gamma, beta, mean, var, True, momentum, eps)[0])
            break
        out, mean, var, _ = forward(batch, gamma, beta, mean, var, True, momentum, eps)
        outs.append(out)
    if fault == "eps forgotten at the end":
        eps = 1e-5
    out, *_ = forward(x, gamma, beta, mean, var, False, momentum, eps)
    if fault == "updates in evaluation":
        mean, var = (
            momentum * mean + (1 - momentum) * x.mean(0),
            momentum * var + (1 - momentum) * x.var(0, correction=0),
        )
    if fault == "last output alone":
        return outs[-1], out, mean, var
    if fault == "one long batch":
        rows = torch.cat([*outs])
        return rows, out, mean, var
    if fault == "evaluates the last batch":
        out = outs[-1][:1].expand_as(out)
    return torch.stack(outs), out, mean, var


def _unrolled(batches, x, gamma, beta, momentum=0.9, eps=1e-5):
    T = len(batches)
    mean = batches.mean(1, keepdim=True)
    var = ((batches - mean) ** 2).mean(1, keepdim=True)
    outs = (batches - mean) / (var + eps).sqrt() * gamma + beta
    shares = torch.tensor([(1 - momentum) * momentum ** (T - 1 - t) for t in range(T)], dtype=x.dtype, device=x.device)
    running_mean = torch.einsum("t,td->d", shares, mean[:, 0])
    running_var = momentum**T + torch.einsum("t,td->d", shares, var[:, 0])
    return [outs, (x - running_mean) / (running_var + eps).sqrt() * gamma + beta, running_mean, running_var]


def _recursive(batches, x, gamma, beta, momentum=0.9, eps=1e-5):
    def at(T):
        if T == 0:
            return (), gamma * 0, gamma * 0 + 1
        before, mean, var = at(T - 1)
        out, mean, var, _ = looping_forward(batches[T - 1], gamma, beta, mean, var, True, momentum, eps)
        return (*before, out), mean, var

    outs, mean, var = at(len(batches))
    return torch.stack(outs), looping_forward(x, gamma, beta, mean, var, False, momentum, eps)[0], mean, var


def _steps_case(name, shape, count, mean=0.0, std=1.0, **options):
    features = shape[2]
    return Case(
        name,
        batches=normal(*shape, mean=mean, std=std),
        x=normal(count, features, mean=mean, std=std),
        gamma=normal(features),
        beta=normal(features),
        **options,
    )


batchnorm_over_steps = Hidden(
    cases=[
        _steps_case("one batch", (1, 4, 3), 2),
        _steps_case("batches of one row", (5, 1, 3), 2),
        _steps_case("one feature", (3, 4, 1), 1),
        _steps_case("as many of everything", (3, 3, 3), 3, mean=1.0),
        _steps_case("eight batches far from zero", (8, 6, 2), 4, mean=100.0, std=0.5),
        _steps_case("momentum 0", (3, 4, 2), 2, momentum=0.0),
        _steps_case("momentum 1", (3, 4, 2), 2, momentum=1.0),
        _steps_case("momentum 0.3, eps 0.2", (4, 2, 5), 3, std=0.2, momentum=0.3, eps=0.2),
        _steps_case("non-contiguous", (4, 5, 3), 2, mean=2.0).strided(),
        _steps_case("float32", (6, 5, 4), 3, mean=1.0).float32(),
    ],
    mutants={
        fault: (
            lambda batches, x, gamma, beta, momentum=0.9, eps=1e-5, _fault=fault: _steps(
                batches, x, gamma, beta, momentum, eps, _fault
            )
        )
        for fault in (
            "starts with the first batch",
            "starts with gamma and beta",
            "stops before the last",
            "eps forgotten at the end",
            "updates in evaluation",
            "last output alone",
            "one long batch",
            "evaluates the last batch",
        )
    },
    solutions={
        "unrolled, einsum": _unrolled,
        "recursive, entry by entry": _recursive,
    },
)
