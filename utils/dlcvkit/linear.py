"""Ready-made losses of a linear classifier, for notebooks of the first stage that build on an earlier one.

torch and autograd do the work here, so that nothing of what an earlier notebook asks for by hand is given away.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def softmax_loss(W: Tensor, X: Tensor, y: Tensor, reg: float) -> tuple[float, Tensor]:
    """Return the softmax loss of a linear classifier and its gradient.

    Args:
        W: Weights, shape (D, C), floating point; not modified.
        X: One example per row, shape (N, D), same dtype and device as ``W``; not modified.
        y: Labels, shape (N,), int64 in 0 … C-1.
        reg: Strength of the penalty, at least 0.

    Returns:
        The mean cross-entropy plus ``reg * sum(W**2)``, a Python float, and its gradient with respect to ``W``, shape
        (D, C).

    Source:
        Bishop, "Pattern recognition and machine learning", 2006, section 4.3.4.
    """
    return _with_gradient(lambda weights: functional.cross_entropy(X @ weights, y), W, reg)


def svm_loss(W: Tensor, X: Tensor, y: Tensor, reg: float, delta: float = 1.0) -> tuple[float, Tensor]:
    """Return the multiclass hinge loss of a linear classifier and its gradient.

    Args:
        W: Weights, shape (D, C), floating point; not modified.
        X: One example per row, shape (N, D), same dtype and device as ``W``; not modified.
        y: Labels, shape (N,), int64 in 0 … C-1.
        reg: Strength of the penalty, at least 0.
        delta: Margin by which the right class is to win, above 0.

    Returns:
        The mean over the examples of the hinge losses summed over the wrong classes, plus ``reg * sum(W**2)``, a Python
        float, and its gradient with respect to ``W``, shape (D, C).

    Source:
        Weston & Watkins, "Support vector machines for multi-class pattern recognition", 1999, section 3.
    """
    # torch takes the mean over the classes where this loss takes the sum.
    classes = W.shape[1]
    return _with_gradient(lambda weights: classes * functional.multi_margin_loss(X @ weights, y, margin=delta), W, reg)


def _with_gradient(data_loss: Callable[[Tensor], Tensor], W: Tensor, reg: float) -> tuple[float, Tensor]:
    weights = W.detach().clone().requires_grad_()
    with torch.enable_grad():
        loss = data_loss(weights) + reg * weights.square().sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    return loss.item(), gradient
