"""What the checks of modules share: weights for cases, layers as functions of weights, and how a module is used."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Finding, Interrupted, Kind, given, normal, uniform
from dlcvkit.checking.values import kind_of

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def conv_weights(name, filters, channels, size, *, bias=False):
    """Describe the weights of a convolution under its name; ``channels`` are those that each filter sees."""
    described = {f"{name}.weight": normal(filters, channels, size, size, std=(channels * size * size) ** -0.5)}
    return described | ({f"{name}.bias": normal(filters, std=0.5)} if bias else {})


def norm_weights(name, channels):
    """Describe weights and running statistics of a batch norm under its name."""
    return {
        f"{name}.weight": normal(channels, mean=1.0, std=0.4),
        f"{name}.bias": normal(channels, std=0.4),
        f"{name}.running_mean": normal(channels, std=0.4),
        f"{name}.running_var": uniform(channels, low=0.4, high=2.0),
        f"{name}.num_batches_tracked": given(7, dtype=torch.int64),
    }


def fc_weights(name, outputs, inputs):
    """Describe the weights of an affine layer, the way torch keeps them."""
    return {f"{name}.weight": normal(outputs, inputs, std=inputs**-0.5), f"{name}.bias": normal(outputs, std=0.5)}


def convolve(x, weights, name, stride=1, groups=1):
    """Return the convolution of that name, padded so that stride 1 keeps height and width."""
    w = weights[f"{name}.weight"]
    bias = weights.get(f"{name}.bias")
    return functional.conv2d(x, w, bias, stride=stride, padding=w.shape[-1] // 2, groups=groups)


def normalise(x, weights, name, is_training):
    """Return the batch norm of that name, with the batch's statistics or with the running ones."""
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if is_training:
        return functional.batch_norm(x, None, None, scale, shift, training=True)
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    return functional.batch_norm(x, mean, variance, scale, shift)


def transform(x, weights, name):
    """Return the affine layer of that name."""
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def upstream(out):
    """Return a gradient for ``out`` that is different everywhere."""
    return torch.linspace(-1, 2, out.numel(), dtype=out.dtype, device=out.device).reshape(out.shape)


def gradients_of(forward, x, weights):
    """Return the gradients of ``(forward(x) * upstream).sum()`` with respect to x and to weights by name."""
    variable = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        out = forward(variable * 1)  # not the leaf itself, which must not be changed in place
        if not isinstance(out, torch.Tensor) or not out.requires_grad:
            is_cut = isinstance(out, torch.Tensor)
            got = "cut off from the graph" if is_cut else "None" if out is None else f"a {kind_of(out)}"
            raise Interrupted(Finding(Kind.STRUCTURE, f"the output is {got}; expected a tensor to go back from"))
        found = torch.autograd.grad(out, [variable, *weights.values()], upstream(out), allow_unused=True)
    names = ["x", *weights]
    like = [variable, *weights.values()]
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for name, value, gradient in zip(names, like, found, strict=True)
    }


def use_in_both_modes(net, x):
    """Return what a module gives in evaluation and in training mode, and its gradients in training mode.

    Raises:
        Interrupted: If no gradients can be had; it holds the rest.
    """
    values = [net.eval()(x), net.train()(x)]
    return (*values, gradients_or_stop(net, x, dict(net.named_parameters()), values))


def use_once(net, x):
    """Return what a module without modes gives, and its gradients."""
    values = [net(x)]
    return (*values, gradients_or_stop(net, x, dict(net.named_parameters()), values))


def gradients_or_stop(forward, x, weights, values):
    """Return ``gradients_of(forward, x, weights)``.

    Raises:
        Interrupted: If there are none; it holds the values that come before them.
    """
    try:
        return gradients_of(forward, x, weights)
    except Exception as error:
        cause = error.cause if isinstance(error, Interrupted) else error
        raise Interrupted(cause, (*values, None), ["gradients"]) from None


def parameters_among(params):
    """Return the entries of a state dict that are trained."""
    return {name: value for name, value in params.items() if not name.endswith(_BUFFERS)}


def answers_of(forward, is_modal=True, **flags):
    """Return a reference: outputs and gradients of ``forward(x, weights, is_training, init, **flags)``."""

    def reference(init, params, x, **others):
        trained = {name: value.detach().clone().requires_grad_() for name, value in parameters_among(params).items()}

        def run(images, weights, is_training=True):
            return forward(images, weights, is_training, init, **flags)

        modes = (False, True) if is_modal else (True,)
        values = [run(x, params, is_training) for is_training in modes]
        return (*values, gradients_of(lambda images: run(images, {**params, **trained}), x, trained))

    return reference
