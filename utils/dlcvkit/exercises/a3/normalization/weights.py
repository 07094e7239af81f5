"""Normalisation of weights, and batch norm folded into the weights before it."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Function, Mistake, normal, uniform

# Weight norm.


def _weight_norm(v, g):
    return g * functional.normalize(v, dim=0, eps=1e-300)


def _spoilt_weight_norm(*, dims=(0,), is_fixed=False, squared=False, power=2, g_off=False, clamps=0.0):
    def layer(v, g):
        norm = torch.linalg.vector_norm(v, ord=power, dim=dims, keepdim=True).clamp(min=clamps)
        norm = norm.detach() if is_fixed else norm
        direction = v / (norm**2 if squared else norm)
        return direction if g_off else g * direction

    return layer


def _right(v, g, dw):
    variables = [value.detach().clone().requires_grad_() for value in (v, g)]
    with torch.enable_grad():
        w = _weight_norm(*variables)
        gradients = torch.autograd.grad(w, variables, dw)
    return w.detach(), *gradients


def _changed(dv=None, dg=None):
    def variant(v, g, dw):
        w, right_dv, right_dg = _right(v, g, dw)
        return w, dv(v, g, dw, right_dv) if dv else right_dv, dg(v, g, dw) if dg else right_dg

    return variant


def _direction(v):
    return functional.normalize(v, dim=0, eps=1e-300)


weight_norm = ForwardBackward(
    functions=("weight_norm_forward", "weight_norm_backward"),
    reference=_weight_norm,
    upstream={"w": "dw"},
    cases=[
        Case("5×3", v=normal(5, 3, std=2.0), g=normal(3), dw=normal(5, 3)),
        Case("3×4", v=normal(3, 4, std=0.3), g=normal(4, std=2.0), dw=normal(3, 4)),
    ],
    points={"w": 1, "dv": 2, "dg": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD | frozenset({"_weight_norm", "_weight_norm_interface", "renorm"}),
    mistakes=[
        Mistake(
            "takes the norm of the rows",
            _spoilt_weight_norm(dims=(1,)),
            hint="w has shape (D, M): the weights of one output are a column",
        ),
        Mistake(
            "takes one norm for all columns",
            _spoilt_weight_norm(dims=(0, 1)),
            hint="every column has a length of its own",
        ),
        Mistake(
            "divides by the square of the norm",
            _spoilt_weight_norm(squared=True),
            hint="a column of w has length |g|: what do you divide by?",
        ),
        Mistake(
            "takes the sum of absolute values for the norm",
            _spoilt_weight_norm(power=1),
            hint="the norm is the root of a sum of squares",
        ),
        Mistake("leaves g out", _spoilt_weight_norm(g_off=True), hint="the length of a column of w is |g|"),
        Mistake(
            "takes the norm for a constant in the backward pass",
            _spoilt_weight_norm(is_fixed=True),
            hint="every entry of v moves the norm of its column: look at the second term of dv",
        ),
        Mistake(
            "leaves g out of dv",
            _changed(dv=lambda v, g, dw, dv: dv / g),
            hint="w is g times a direction, and the chain rule multiplies by g",
        ),
        Mistake(
            "does not divide dv by the norm",
            _changed(dv=lambda v, g, dw, dv: dv * v.norm(dim=0)),
            hint="a long v is hard to turn: look at the factor before the bracket",
        ),
        Mistake(
            "adds the part along v instead of taking it off",
            _changed(dv=lambda v, g, dw, dv: 2 * g * dw / v.norm(dim=0) - dv),
            hint="which component of dw cannot change the direction of v?",
        ),
        Mistake(
            "multiplies dw by v instead of its direction in dg",
            _changed(dg=lambda v, g, dw: (dw * v).sum(0)),
            hint="what is g multiplied by in the forward pass?",
        ),
        Mistake(
            "averages dg over the inputs",
            _changed(dg=lambda v, g, dw: (dw * _direction(v)).mean(0)),
            hint="g serves all entries of its column and what flows back adds up",
        ),
        Mistake(
            "adds dg up over the outputs",
            _changed(dg=lambda v, g, dw: (dw * _direction(v)).sum(1)),
            hint="g has one entry per output: look at the axis that disappears",
        ),
    ],
)


# Folding.


def _fold(w, b, gamma, beta, running_mean, running_var, eps=1e-5):
    fused = torch.nn.utils.fuse_conv_bn_weights(w, b, running_mean, running_var, eps, gamma, beta)
    return tuple(part.detach() for part in fused)


def _spoilt_fold(
    *, root="inside", bias="right", gamma_off=False, beta_off=False, on_inputs=False, mean_sign=1, by=None
):
    """Return folding with a mistake."""

    def fold(w, b, gamma, beta, running_mean, running_var, eps=1e-5):
        std = {
            "inside": (running_var + eps).sqrt(),
            "outside": running_var.sqrt() + eps,
            "without eps": running_var.sqrt(),
            "left out": running_var + eps,
        }[root]
        scale = (torch.ones_like(gamma) if gamma_off else gamma) / std
        scale = by(scale) if by else scale
        shift = 0 * beta if beta_off else beta
        folded = {
            "right": (b - mean_sign * running_mean) * scale + shift,
            "without b": shift - running_mean * scale,
            "b unscaled": b - running_mean * scale + shift,
            "mean unscaled": b * scale - running_mean + shift,
            "without mean": b * scale + shift,
            "b as it was": b,
        }[bias]
        return w * (scale[None, :, None, None] if on_inputs else scale[:, None, None, None]), folded

    return fold


def _fold_case(name, shape, **options):
    filters = shape[0]
    return Case(
        name,
        w=normal(*shape),
        b=normal(filters),
        gamma=normal(filters),
        beta=normal(filters),
        running_mean=normal(filters),
        running_var=uniform(filters, low=0.3, high=3.0),
        **options,
    )


fold_batchnorm = Function(
    functions=("fold_batchnorm",),
    reference=_fold,
    cases=[
        _fold_case("4 filters of 3×3×2", (4, 3, 3, 2)),
        _fold_case("eps 0.5", (3, 2, 1, 5), eps=0.5),
        _fold_case("as many filters as channels", (3, 3, 2, 3)),
    ],
    points={"w": 2, "b": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake("leaves eps out", _spoilt_fold(root="without eps"), hint="evaluation divides by the root of var + eps"),
        Mistake(
            "adds eps after the root",
            _spoilt_fold(root="outside"),
            hint="eps is added to the variance, before the root is taken",
        ),
        Mistake(
            "divides by the variance instead of the standard deviation",
            _spoilt_fold(root="left out"),
            hint="write down what evaluation does to one output of the convolution",
        ),
        Mistake(
            "leaves gamma out",
            _spoilt_fold(gamma_off=True),
            hint="write down what evaluation does to one output of the convolution",
        ),
        Mistake("leaves beta out", _spoilt_fold(beta_off=True), hint="what is added last in batch norm?"),
        Mistake(
            "drops the bias of the convolution",
            _spoilt_fold(bias="without b"),
            hint="what enters batch norm is the convolution with its bias",
        ),
        Mistake(
            "adds the bias of the convolution unscaled",
            _spoilt_fold(bias="b unscaled"),
            hint="the bias goes through batch norm like everything else",
        ),
        Mistake(
            "takes the running mean off unscaled",
            _spoilt_fold(bias="mean unscaled"),
            hint="the mean is taken off before the division",
        ),
        Mistake("leaves the running mean out", _spoilt_fold(bias="without mean"), hint="batch norm takes a mean off"),
        Mistake("leaves the bias as it was", _spoilt_fold(bias="b as it was"), hint="the bias changes as well"),
        Mistake("adds the running mean", _spoilt_fold(mean_sign=-1), hint="batch norm takes the mean off"),
        Mistake(
            "scales the input channels instead of the filters",
            _spoilt_fold(on_inputs=True),
            hint="w has shape (F, C, HH, WW), and what batch norm sees are the F outputs",
        ),
        Mistake(
            "divides by the scale",
            _spoilt_fold(by=lambda scale: 1 / scale),
            hint="write down what evaluation does to one output of the convolution",
        ),
    ],
)
