"""Activations that pass positive numbers on: leaky ReLU, ELU and SELU."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden

from .entrywise import entrywise_cases, entrywise_mutants, pair

_LAMBDA, _ALPHA = 1.0507009873554805, 1.6732632423543772


def _leaky(x, slope):
    return torch.where(x > 0, x, slope * x)


def _leaky_slope(x, slope):
    return torch.where(x > 0, torch.ones_like(x), slope * torch.ones_like(x))


def _leaky_forward_in_a_copy(x, slope):
    out, left = x.clone(), x <= 0
    out[left] *= slope
    return out, {"left": left, "slope": slope, "unused": x}


def _leaky_backward_in_a_copy(dout, cache):
    dx = dout.clone()
    dx[cache["left"]] *= cache["slope"]
    return dx


leaky_relu = Hidden(
    cases=entrywise_cases({"slope": 0.1}, {"slope": 0.0}, {"slope": 0.01}, {"slope": 1.0}, {"slope": 0.9}),
    mutants={
        **entrywise_mutants(_leaky, _leaky_slope),
        "calls torch's leaky ReLU": pair(functional.leaky_relu, _leaky_slope),
        "slope is always 0.01": pair(lambda x, slope: _leaky(x, 0.01), lambda x, slope: _leaky_slope(x, 0.01)),
        "gradient's slope is always 0.01": pair(_leaky, lambda x, slope: _leaky_slope(x, 0.01)),
        "divides by slope": pair(lambda x, slope: _leaky(x, 1 / (slope or 1)), _leaky_slope),
        "sides exchanged": pair(
            lambda x, slope: torch.where(x > 0, slope * x, x), lambda x, slope: _leaky_slope(-x, slope)
        ),
        "subtracts slope on the left": pair(lambda x, slope: torch.where(x > 0, x, x - slope), _leaky_slope),
        "takes the minimum": pair(
            lambda x, slope: torch.minimum(x, slope * x), lambda x, slope: _leaky_slope(-x, slope)
        ),
        "chooses the side by the mean": pair(lambda x, slope: x if x.mean() > 0 else slope * x, _leaky_slope),
    },
    solutions={
        "the larger of two lines": pair(
            lambda x, slope: torch.maximum(x, slope * x), lambda x, slope: (x > 0) + slope * (x <= 0)
        ),
        "two clamps": pair(lambda x, slope: x.clamp(min=0) + slope * x.clamp(max=0), _leaky_slope),
        "in a copy": (_leaky_forward_in_a_copy, _leaky_backward_in_a_copy),
    },
)


def _elu(x, alpha):
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def _elu_slope(x, alpha):
    return torch.where(x > 0, torch.ones_like(x), alpha * x.clamp(max=0).exp())


def _elu_forward_in_a_copy(x, alpha):
    out, left = x.clone(), x <= 0
    out[left] = alpha * (x[left].exp() - 1)
    return out, (left, out, alpha)


def _elu_backward_in_a_copy(dout, cache):
    left, out, alpha = cache
    dx = dout.clone()
    dx[left] = dout[left] * (out[left] + alpha)
    return dx


elu = Hidden(
    cases=entrywise_cases({"alpha": 0.1}, {"alpha": 1.0}, {"alpha": 2.5}, {"alpha": 0.7}),
    mutants={
        **entrywise_mutants(_elu, _elu_slope),
        "calls torch's ELU": pair(functional.elu, _elu_slope),
        "calls torch's CELU": pair(lambda x, alpha: torch.celu(x, alpha), _elu_slope),
        "divides x by alpha in the exponent": pair(
            lambda x, alpha: torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0) / alpha)),
            lambda x, alpha: torch.where(x > 0, torch.ones_like(x), (x.clamp(max=0) / alpha).exp()),
        ),
        "overflows where it is multiplied by 0": pair(
            _elu, lambda x, alpha: (x > 0).to(x.dtype) + (x <= 0).to(x.dtype) * alpha * x.exp()
        ),
        "sides exchanged": pair(lambda x, alpha: -_elu(-x, alpha), lambda x, alpha: _elu_slope(-x, alpha)),
        "mirrors the exponent": pair(
            lambda x, alpha: torch.where(x > 0, x, alpha * ((-x.abs()).exp() + 1)), _elu_slope
        ),
        "adds alpha to the positive side of the gradient": pair(
            _elu, lambda x, alpha: torch.where(x > 0, x + alpha, _elu(x, alpha) + alpha)
        ),
        "alpha is always 1": pair(lambda x, alpha: _elu(x, 1.0), lambda x, alpha: _elu_slope(x, 1.0)),
    },
    solutions={
        "the unused branch overflows unseen": pair(
            lambda x, alpha: torch.where(x > 0, x, alpha * (x.exp() - 1)),
            lambda x, alpha: torch.where(x > 0, 1.0, alpha * x.exp()),
        ),
        "in a copy, gradient from the output": (_elu_forward_in_a_copy, _elu_backward_in_a_copy),
        "two clamps": pair(
            lambda x, alpha: x.clamp(min=0) + alpha * (x.clamp(max=0).exp() - 1),
            lambda x, alpha: (x > 0) + (x <= 0) * alpha * (-x.abs()).exp(),
        ),
    },
    equivalent={
        "elu_forward: x > 0 -> x >= 0": "both sides give 0 at 0",
        "elu_forward: x.clamp(max=0) -> x": "where it overflows the other branch is taken, and nothing is multiplied by it",
        "elu_forward: x.clamp(max=0) -> x.clamp(max=1)": "the branch is only taken up to 0",
    },
)


def _selu(x, scale=_LAMBDA, alpha=_ALPHA):
    return scale * _elu(x, alpha)


def _selu_slope(x, scale=_LAMBDA, alpha=_ALPHA):
    return scale * _elu_slope(x, alpha)


selu = Hidden(
    cases=entrywise_cases(),
    mutants={
        **entrywise_mutants(_selu, _selu_slope),
        "calls torch's SELU": pair(torch.selu, _selu_slope),
        "constants with three digits": pair(lambda x: _selu(x, 1.05, 1.67), lambda x: _selu_slope(x, 1.05, 1.67)),
        "lambda inside the exponent": pair(
            lambda x: _LAMBDA * torch.where(x > 0, x, _ALPHA * torch.expm1(_LAMBDA * x.clamp(max=0))), _selu_slope
        ),
        "lambda squared in the gradient": pair(_selu, lambda x: _LAMBDA * _selu_slope(x)),
        "gradient of ELU with alpha 1": pair(_selu, lambda x: _elu_slope(x, 1.0)),
        "mirrored": pair(lambda x: -_selu(-x), lambda x: _selu_slope(-x)),
        "overflows where it is multiplied by 0": pair(
            _selu, lambda x: _LAMBDA * ((x > 0).to(x.dtype) + (x <= 0).to(x.dtype) * _ALPHA * x.exp())
        ),
        "standardises the batch instead": pair(
            lambda x: (x - x.mean()) / (x.std(correction=0) + 1e-5), lambda x: torch.ones_like(x)
        ),
    },
    solutions={
        "the unused branch overflows unseen": pair(
            lambda x: torch.where(x > 0, _LAMBDA * x, _LAMBDA * _ALPHA * (x.exp() - 1)),
            lambda x: torch.where(x > 0, _LAMBDA, _LAMBDA * _ALPHA * x.exp()),
        ),
        "two clamps, gradient from the output": (
            lambda x: (_selu(x.clamp(min=0)) + _selu(x.clamp(max=0)), _selu(x)),
            lambda dout, out: dout * torch.where(out > 0, _LAMBDA, out + _LAMBDA * _ALPHA),
        ),
    },
    equivalent={
        "selu_forward: x > 0 -> x >= 0": "both sides give 0 at 0",
        "selu_forward: x.clamp(max=0) -> x": "where it overflows the other branch is taken, and nothing is multiplied by it",
        "selu_forward: x.clamp(max=0) -> x.clamp(max=1)": "the branch is only taken up to 0",
    },
)
