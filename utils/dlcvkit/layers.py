"""Layers as forward/backward pairs, ready-made, for notebooks that build on an earlier one.

torch's functions and autograd do the work here, so that nothing of what an earlier notebook asks for by hand is given
away. The interface is that of the course: ``f_forward(...) -> (out, cache)`` and ``f_backward(dout, cache)``.
"""

from __future__ import annotations

from collections.abc import Callable
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
