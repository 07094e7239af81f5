"""Layers as forward/backward pairs, ready-made, for notebooks that build on an earlier one.

torch's functions and autograd do the work here, so that nothing of what an earlier notebook asks for by hand is given
away. The interface is that of the course: ``f_forward(...) -> (out, cache)`` and ``f_backward(dout, cache)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Forward = Callable[..., tuple[Tensor, Any]]
Backward = Callable[..., Any]


def layer(function: Callable[..., Tensor]) -> tuple[Forward, Backward]:
    """Make a pair of forward and backward functions.

    Args:
        function: Maps tensors and plain values to one tensor.

    Returns:
        ``forward(*arguments) -> (out, cache)``, and ``backward(dout, cache)``, which returns one gradient per
        floating-point tensor among the arguments, in their order: a tuple, or a tensor if it is the only one. Neither
        modifies its arguments.
    """

    def forward(*arguments: Any) -> tuple[Tensor, Any]:
        tracked = [
            argument.detach().requires_grad_()
            if isinstance(argument, Tensor) and argument.is_floating_point()
            else argument
            for argument in arguments
        ]
        variables = [argument for argument in tracked if isinstance(argument, Tensor) and argument.requires_grad]
        with torch.enable_grad():
            out = function(*tracked)
        return out.detach(), (out, variables)

    def backward(dout: Tensor, cache: Any) -> Any:
        out, variables = cache
        gradients = torch.autograd.grad(out, variables, dout, retain_graph=True)
        return gradients if len(gradients) > 1 else gradients[0]

    return forward, backward


affine_forward, affine_backward = layer(lambda x, w, b: functional.linear(x.flatten(1), w.T, b))
"""``affine_forward(x, w, b)``: x (N, ...) with D entries per image, w (D, M), b (M,); out (N, M)."""

relu_forward, relu_backward = layer(functional.relu)
"""``relu_forward(x)``: x of any shape; out of the same shape."""

layernorm_forward, layernorm_backward = layer(lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta))
"""``layernorm_forward(x, gamma, beta)``: x (N, M), gamma and beta (M,); out (N, M), each row of x brought to mean 0 and
variance 1 (biased, plus 1e-5), then scaled by gamma and shifted by beta."""


def _convolve(x: Tensor, w: Tensor, b: Tensor, conv_param: Mapping[str, int]) -> Tensor:
    given = {"stride": 1, "pad": 0, "dilation": 1, "groups": 1, **conv_param}
    return functional.conv2d(x, w, b, given["stride"], given["pad"], given["dilation"], given["groups"])


def _pool(x: Tensor, pool_param: Mapping[str, int]) -> Tensor:
    return functional.max_pool2d(x, (pool_param["height"], pool_param["width"]), pool_param["stride"])


conv_forward, conv_backward = layer(_convolve)
"""``conv_forward(x, w, b, conv_param)``: x (N, C, H, W), w (F, C // groups, HH, WW), b (F,); ``conv_param`` has the
keys ``stride``, ``pad``, ``dilation``, ``groups``, which are 1, 0, 1, 1 where they are missing; out (N, F, H', W')."""

max_pool_forward, max_pool_backward = layer(_pool)
"""``max_pool_forward(x, pool_param)``: x (N, C, H, W); ``pool_param`` has the keys ``height``, ``width``, ``stride``;
pixels left over at the end of an axis are dropped; out (N, C, H', W')."""


def spatial_batchnorm_forward(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    is_training: bool,
    momentum: float = 0.9,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Normalise every channel over images and positions, then scale and shift it.

    Args:
        x: Shape (N, C, H, W); not modified.
        gamma: Scale per channel, shape (C,).
        beta: Shift per channel, shape (C,).
        running_mean: Shape (C,); not modified.
        running_var: Shape (C,), biased; not modified.
        is_training: Whether the batch's own statistics are taken, or the running ones.
        momentum: Share of the running statistics that is kept.
        eps: Added to the variance.

    Returns:
        ``out`` (N, C, H, W), the running mean and variance afterwards, and the cache.

    Source:
        Ioffe & Szegedy, "Batch normalization", 2015, algorithms 1 and 2.
    """
    mean, var = (None, None) if is_training else (running_mean, running_var)
    forward, backward = layer(
        lambda x, gamma, beta: functional.batch_norm(x, mean, var, gamma, beta, training=is_training, eps=eps)
    )
    out, cache = forward(x, gamma, beta)
    if is_training:
        batch_var, batch_mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        running_mean = batch_mean.lerp(running_mean, momentum)
        running_var = batch_var.lerp(running_var, momentum)
    return out, running_mean, running_var, (backward, cache)


def spatial_batchnorm_backward(dout: Tensor, cache: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``x``, ``gamma`` and ``beta``, given that of ``out``, shape (N, C, H, W)."""
    backward, inner = cache
    dx, dgamma, dbeta = backward(dout, inner)
    return dx, dgamma, dbeta


def softmax_loss(scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy of scores and its gradient.

    Args:
        scores: Shape (N, K), floating point; not modified.
        y: Labels, shape (N,), int64 in 0 … K-1; or one distribution over the classes per image, shape (N, K), the
            dtype of ``scores``.

    Returns:
        The loss, a 0-dimensional tensor, and its gradient with respect to ``scores``, shape (N, K).

    Source:
        Bishop, "Pattern recognition and machine learning", 2006, section 4.3.4.
    """
    return _loss_and_gradient(lambda s: functional.cross_entropy(s, y), scores)


def svm_loss(scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the multiclass hinge loss with margin 1, summed over the wrong classes, and its gradient.

    Args:
        scores: Shape (N, K), floating point; not modified.
        y: Labels, shape (N,), int64 in 0 … K-1.

    Returns:
        The mean loss over the images, a 0-dimensional tensor, and its gradient with respect to ``scores``, (N, K).

    Source:
        Weston & Watkins, "Support vector machines for multi-class pattern recognition", 1999, section 3.
    """
    # torch takes the mean over the classes where this loss takes the sum.
    return _loss_and_gradient(lambda s: s.shape[1] * functional.multi_margin_loss(s, y), scores)


def _loss_and_gradient(loss: Callable[[Tensor], Tensor], scores: Tensor) -> tuple[Tensor, Tensor]:
    variable = scores.detach().requires_grad_()
    with torch.enable_grad():
        value = loss(variable)
    (gradient,) = torch.autograd.grad(value, variable)
    return value.detach(), gradient
