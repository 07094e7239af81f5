"""Normalisation with mistakes in it, and what several exercises say about the same mistake."""

from __future__ import annotations

import torch

from dlcvkit.checking import Mistake

DEFAULT_EPS = 1e-5


def whiten(x, dims, eps=DEFAULT_EPS, *, correction=0, root="inside", is_centred=True, fixed=(), fixed_eps=None):
    """Bring x to mean 0 and variance 1 over ``dims``; each keyword switches a mistake on.

    ``fixed`` names what is taken for a constant in the backward pass: "mean", "var" or both.
    """
    eps = eps if fixed_eps is None else fixed_eps
    mean = x.mean(dims, keepdim=True)
    centred = x - (mean.detach() if "mean" in fixed else mean)
    count = x.numel() // mean.numel()
    var = centred.square().sum(dims, keepdim=True) / max(count - correction, 1)
    std = {
        "inside": lambda: (var + eps).sqrt(),
        "outside": lambda: var.sqrt() + eps,
        "without eps": lambda: var.sqrt(),
        "left out": lambda: var + eps,
    }[root]()
    return (centred if is_centred else x) / (std.detach() if "var" in fixed else std)


def per_channel(values, x):
    """Return values of shape (C,) so that they meet axis 1 of x."""
    return values.reshape(-1, *[1] * (x.dim() - 2))


def with_affine(normed, gamma, beta):
    return normed * per_channel(gamma, normed) + per_channel(beta, normed)


def right_quantities(layer, dout, inputs, wrt=("x", "gamma", "beta")):
    """Return the outputs of a layer, a list, and its gradients by name."""
    variables = {name: inputs[name].detach().clone().requires_grad_() for name in wrt}
    with torch.enable_grad():
        result = layer(**{**inputs, **variables})
        outputs = result if isinstance(result, tuple) else (result,)
        found = torch.autograd.grad(outputs[0], list(variables.values()), dout, allow_unused=True)
    gradients = [torch.zeros_like(variables[n]) if g is None else g for n, g in zip(wrt, found, strict=True)]
    return [value.detach() for value in outputs], {f"d{n}": g for n, g in zip(wrt, gradients, strict=True)}


def changed(layer, **changes):
    """A layer whose gradients are right but for those that are changed, ``dx=lambda dx, inputs: ...``."""

    def variant(dout, **inputs):
        outputs, gradients = right_quantities(layer, dout, inputs)
        given = {**inputs, "dout": dout}
        return (*outputs, *(changes[n](g, given) if n in changes else g for n, g in gradients.items()))

    return variant


def backward_of(layer, other):
    """The outputs of one layer with the gradients of another."""

    def variant(dout, **inputs):
        outputs, _ = right_quantities(layer, dout, inputs)
        return (*outputs, *right_quantities(other, dout, inputs)[1].values())

    return variant


HINTS = {
    "unbiased": "the course takes the biased variance: look at what the sum of squares is divided by",
    "eps outside": "eps is added to the variance, before the root is taken",
    "no eps": "what becomes of a feature that has the same value everywhere?",
    "default eps": "eps is an argument: follow it to where it is added",
    "no root": "what is divided by has to grow like x, not like its square",
    "no centring": "the mean is taken off before anything is divided",
    "mean fixed": "every entry of x moves the mean, and through it all the others: look at what flows back along it",
    "var fixed": "every entry of x moves the variance, and through it all the others: look at what flows back along it",
    "both fixed": "x reaches the output along three paths: directly, through the mean, and through the variance",
    "no gamma": "the normalised values are scaled by gamma before they leave",
    "no beta": "beta is added at the end",
    "dgamma with x": "what is gamma multiplied by in the forward pass: x, or the normalised x?",
    "mean dgamma": "the same gamma is used many times and what flows back adds up; the loss has averaged already",
    "mean dbeta": "the same beta is used many times and what flows back adds up; the loss has averaged already",
    "dbeta with gamma": "beta is added behind gamma: which factor does it meet on its way to the output?",
    "dx without gamma": "on the way back from out to the normalised x there is gamma",
    "ones upstream": "every gradient holds dout: what comes after this layer says how much each output matters",
}

_NAMES = {
    "unbiased": "divides the sum of squares by one less than the count",
    "eps outside": "adds eps after the root",
    "no eps": "leaves eps out",
    "default eps": "uses the default eps whatever is asked for",
    "no root": "divides by the variance instead of the standard deviation",
    "no centring": "does not take the mean off",
    "mean fixed": "takes the mean for a constant in the backward pass",
    "var fixed": "takes the variance for a constant in the backward pass",
    "both fixed": "takes mean and variance for constants in the backward pass",
    "no gamma": "leaves gamma out",
    "no beta": "leaves beta out",
    "dgamma with x": "multiplies dout with x instead of the normalised x in dgamma",
    "mean dgamma": "averages dgamma instead of adding up",
    "mean dbeta": "averages dbeta instead of adding up",
    "dbeta with gamma": "multiplies dbeta by gamma",
    "dx without gamma": "leaves gamma out of dx",
    "ones upstream": "ignores the upstream gradient",
}

_OF_STATISTICS = {
    "unbiased": {"correction": 1},
    "eps outside": {"root": "outside"},
    "no eps": {"root": "without eps"},
    "default eps": {"fixed_eps": DEFAULT_EPS},
    "no root": {"root": "left out"},
    "no centring": {"is_centred": False},
    "mean fixed": {"fixed": ("mean",)},
    "var fixed": {"fixed": ("var",)},
    "both fixed": {"fixed": ("mean", "var")},
}


def mistake(key, variant):
    """Return a mistake that several exercises know."""
    return Mistake(_NAMES[key], variant, hint=HINTS[key])


def shared_mistakes(norm, *, count_of):
    """Return the mistakes that can be made in every norm.

    Args:
        norm: ``norm(**mistakes)`` returns a layer with mistakes of ``whiten`` switched on, besides ``gamma_off`` and
            ``beta_off``.
        count_of: How often one gamma is used, given x.
    """
    right = norm()

    def ignoring_upstream(dout, **inputs):
        return changed(right)(dout=torch.ones_like(dout), **inputs)

    def of_plain_x(dgamma, given):
        products = given["dout"] * given["x"]
        return products.sum([axis for axis in range(products.dim()) if axis != 1])

    def without_gamma(dx, given):
        inputs = {name: value for name, value in given.items() if name != "dout"}
        inputs["gamma"] = torch.ones_like(inputs["gamma"])
        return right_quantities(right, given["dout"], inputs)[1]["dx"]

    spoilt = {
        "dgamma with x": changed(right, dgamma=of_plain_x),
        "mean dgamma": changed(right, dgamma=lambda d, given: d / count_of(given["x"])),
        "mean dbeta": changed(right, dbeta=lambda d, given: d / count_of(given["x"])),
        "dbeta with gamma": changed(right, dbeta=lambda d, given: d * given["gamma"]),
        "dx without gamma": changed(right, dx=without_gamma),
        "ones upstream": ignoring_upstream,
    }
    return [
        *[mistake(key, norm(**flags)) for key, flags in _OF_STATISTICS.items()],
        mistake("no gamma", norm(gamma_off=True)),
        mistake("no beta", norm(beta_off=True)),
        *[mistake(key, variant) for key, variant in spoilt.items()],
    ]
