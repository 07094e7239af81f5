"""Activations that pass positive numbers on: leaky ReLU, ELU and SELU."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, given, normal

_READY_MADE = frozenset({"leaky_relu_backward", "elu_backward", "relu_", "selu_", "celu_", "threshold"})
_FORBIDDEN = TORCH_LAYERS | AUTOGRAD | _READY_MADE

_WITH_ZEROS = given([[0.0, -2.0, 1.5, 0.0], [-0.25, 0.0, 3.0, -1.0]])
_SATURATED = given([[-1e4, -800.0, -30.0, 0.5], [-0.5, 30.0, 800.0, 1e4]])

_LAMBDA, _ALPHA = 1.0507009873554805, 1.6732632423543772


leaky_relu = ForwardBackward(
    functions=("leaky_relu_forward", "leaky_relu_backward"),
    reference=lambda x, slope: functional.leaky_relu(x, slope),
    cases=[
        Case("3×5", x=normal(3, 5), slope=0.1, dout=normal(3, 5)),
        Case("zeros in x", x=_WITH_ZEROS, slope=0.3, dout=normal(2, 4)),
        Case("up to ±1e4", x=_SATURATED, slope=0.01, dout=normal(2, 4)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=_FORBIDDEN,
    mistakes=[
        Mistake(
            "is 0 on the left, like ReLU",
            lambda x, slope: functional.relu(x),
            hint="negative numbers leak through, made smaller by slope",
        ),
        Mistake(
            "puts slope itself on the left",
            lambda x, slope, dout: (torch.where(x > 0, x, slope), torch.where(x > 0, dout, slope * dout)),
            hint="slope is a slope: the left branch is a straight line through 0, not a constant",
        ),
        Mistake(
            "is positive on the left",
            lambda x, slope: torch.where(x > 0, x, -slope * x),
            hint="the output has the sign of x",
        ),
        Mistake(
            "has slope on both sides",
            lambda x, slope: slope * x,
            hint="positive numbers pass unchanged",
        ),
        Mistake(
            "passes the whole gradient on both sides",
            lambda x, slope, dout: (functional.leaky_relu(x, slope), dout),
            hint="where x was negative, the forward pass multiplied: so must the backward pass",
        ),
        Mistake(
            "passes no gradient on the left",
            lambda x, slope, dout: (functional.leaky_relu(x, slope), torch.where(x > 0, dout, 0.0)),
            hint="that is the gradient of ReLU; the left branch has a slope too",
        ),
        Mistake(
            "returns the slope on the left without the upstream gradient",
            lambda x, slope, dout: (functional.leaky_relu(x, slope), torch.where(x > 0, dout, slope)),
            hint="the chain rule multiplies every derivative by what comes from above, on both sides",
        ),
        Mistake(
            "chooses the side by the sign of the upstream gradient",
            lambda x, slope, dout: (functional.leaky_relu(x, slope), functional.leaky_relu(dout, slope)),
            hint="which side an entry is on was decided by x, in the forward pass",
        ),
        Mistake(
            "multiplies by x once more in the gradient",
            lambda x, slope, dout: (functional.leaky_relu(x, slope), dout * functional.leaky_relu(x, slope)),
            hint="the derivative of a straight line does not depend on x",
        ),
        Mistake(
            "takes the slope at 0 from the right",
            lambda x, slope, dout: (functional.leaky_relu(x, slope), torch.where(x >= 0, dout, slope * dout)),
            hint="at exactly 0 the slope of the left side counts: look at > and >=",
        ),
    ],
)


def _elu_by_masks(x, alpha, dout):
    right = (x > 0).to(x.dtype)
    left = 1 - right
    return right * x + left * alpha * (x.exp() - 1), dout * (right + left * alpha * x.exp())


elu = ForwardBackward(
    functions=("elu_forward", "elu_backward"),
    reference=lambda x, alpha: functional.elu(x, alpha),
    cases=[
        Case("3×5", x=normal(3, 5), alpha=0.7, dout=normal(3, 5)),
        Case("zeros in x", x=_WITH_ZEROS, alpha=2.0, dout=normal(2, 4)),
        Case("up to ±1e4", x=_SATURATED, alpha=1.0, dout=normal(2, 4)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=_FORBIDDEN,
    mistakes=[
        Mistake(
            "multiplies infinity by 0 for large positive x",
            _elu_by_masks,
            hint="the left branch is computed for positive x too, where exp is infinite; infinity times 0 is no number",
        ),
        Mistake(
            "leaves alpha out",
            lambda x, alpha: functional.elu(x),
            hint="far on the left the output approaches -alpha",
        ),
        Mistake(
            "does not take 1 away from the exponential",
            lambda x, alpha: torch.where(x > 0, x, alpha * x.clamp(max=0).exp()),
            hint="the two branches meet at 0: what should the left one be there?",
        ),
        Mistake(
            "puts alpha into the exponent",
            lambda x, alpha: torch.where(x > 0, x, (alpha * x).clamp(max=0).exp() - 1),
            hint="alpha stretches the left branch in height, not in width",
        ),
        Mistake(
            "multiplies the right branch by alpha as well",
            lambda x, alpha: alpha * functional.elu(x),
            hint="positive numbers pass unchanged",
        ),
        Mistake(
            "leaves alpha out of the gradient",
            lambda x, alpha, dout: (functional.elu(x, alpha), dout * x.clamp(max=0).exp()),
            hint="alpha is a factor of the left branch, and stays one when you differentiate",
        ),
        Mistake(
            "takes the output for its derivative on the left",
            lambda x, alpha, dout: (
                functional.elu(x, alpha),
                dout * torch.where(x > 0, torch.ones_like(x), functional.elu(x, alpha)),
            ),
            hint="differentiating takes the -1 away: compare the output with alpha exp(x)",
        ),
        Mistake(
            "passes no gradient on the left",
            lambda x, alpha, dout: (functional.elu(x, alpha), torch.where(x > 0, dout, 0.0)),
            hint="that is the gradient of ReLU; the left branch has a slope too",
        ),
        Mistake(
            "ignores the upstream gradient on the left",
            lambda x, alpha, dout: (
                functional.elu(x, alpha),
                torch.where(x > 0, dout, alpha * x.clamp(max=0).exp()),
            ),
            hint="the chain rule multiplies every derivative by what comes from above, on both sides",
        ),
        Mistake(
            "takes the slope at 0 from the right",
            lambda x, alpha, dout: (
                functional.elu(x, alpha),
                dout * torch.where(x >= 0, torch.ones_like(x), alpha * x.clamp(max=0).exp()),
            ),
            hint="at exactly 0 the slope of the left side counts: look at > and >=",
        ),
    ],
)


def _selu(x, scale=_LAMBDA, alpha=_ALPHA):
    return scale * functional.elu(x, alpha)


def _selu_slope(x, scale=_LAMBDA, alpha=_ALPHA):
    return scale * torch.where(x > 0, torch.ones_like(x), alpha * x.clamp(max=0).exp())


def _selu_by_masks(x, dout):
    out, dx = _elu_by_masks(x, _ALPHA, dout)
    return _LAMBDA * out, _LAMBDA * dx


selu = ForwardBackward(
    functions=("selu_forward", "selu_backward"),
    reference=lambda x: functional.selu(x),
    cases=[
        Case("3×5", x=normal(3, 5), dout=normal(3, 5)),
        Case("zeros in x", x=_WITH_ZEROS, dout=normal(2, 4)),
        Case("up to ±1e4", x=_SATURATED, dout=normal(2, 4)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=_FORBIDDEN,
    mistakes=[
        Mistake(
            "multiplies infinity by 0 for large positive x",
            _selu_by_masks,
            hint="the left branch is computed for positive x too, where exp is infinite; infinity times 0 is no number",
        ),
        Mistake(
            "leaves lambda out",
            lambda x: functional.elu(x, _ALPHA),
            hint="both branches are stretched by lambda",
        ),
        Mistake(
            "leaves alpha out", lambda x: _selu(x, alpha=1.0), hint="the left branch is stretched by alpha as well"
        ),
        Mistake(
            "swaps lambda and alpha",
            lambda x: _selu(x, scale=_ALPHA, alpha=_LAMBDA),
            hint="far on the right the slope is lambda, which is 1.05",
        ),
        Mistake(
            "multiplies only the left branch by lambda",
            lambda x: torch.where(x > 0, x, _selu(x)),
            hint="both branches are stretched by lambda",
        ),
        Mistake(
            "multiplies only the right branch by lambda",
            lambda x: torch.where(x > 0, _LAMBDA * x, functional.elu(x, _ALPHA)),
            hint="both branches are stretched by lambda",
        ),
        Mistake(
            "leaves lambda out of the gradient",
            lambda x, dout: (_selu(x), dout * _selu_slope(x, scale=1.0)),
            hint="lambda is a factor of the whole function, and stays one when you differentiate",
        ),
        Mistake(
            "leaves alpha out of the gradient",
            lambda x, dout: (_selu(x), dout * _selu_slope(x, alpha=1.0)),
            hint="alpha is a factor of the left branch, and stays one when you differentiate",
        ),
        Mistake(
            "takes the output for its derivative on the left",
            lambda x, dout: (_selu(x), dout * torch.where(x > 0, _LAMBDA, _selu(x))),
            hint="differentiating takes the -1 away: compare the output with lambda alpha exp(x)",
        ),
        Mistake(
            "adds alpha to the output without lambda",
            lambda x, dout: (_selu(x), dout * torch.where(x > 0, _LAMBDA, _selu(x) + _ALPHA)),
            hint="on the left the derivative is the output plus a constant: which one, with both factors?",
        ),
        Mistake(
            "passes no gradient on the left",
            lambda x, dout: (_selu(x), torch.where(x > 0, _LAMBDA * dout, 0.0)),
            hint="that is the gradient of ReLU; the left branch has a slope too",
        ),
        Mistake(
            "takes the slope at 0 from the right",
            lambda x, dout: (_selu(x), dout * torch.where(x == 0, _LAMBDA, _selu_slope(x))),
            hint="at exactly 0 the slope of the left side counts: look at > and >=",
        ),
    ],
)
