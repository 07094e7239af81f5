"""What both losses have: the regulariser with its mistakes, labels, and a loop to be faster than."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Mistake, given, labels, normal


def given_labels(*values):
    return given(list(values), dtype=torch.int64)


def with_gradient_of(value, other):
    """The number of ``value``, the gradient of ``other``."""
    return value.detach() + other - other.detach()


def penalised(data):
    """The loss that an exercise asks for: the data loss and ``reg`` times the sum of squares."""
    return lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * (W**2).sum()


def penalty_mistakes(data):
    return [
        Mistake(
            "leaves the regulariser out",
            lambda W, X, y, reg, **options: data(W, X, y, **options),
            hint="the loss has a part that depends on W alone, and so has its gradient",
        ),
        Mistake(
            "halves the regulariser",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + 0.5 * reg * (W**2).sum(),
            hint="in this stage the regulariser has no factor one half, so its gradient has a factor two",
        ),
        Mistake(
            "divides the regulariser by the number of images",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * (W**2).sum() / len(X),
            hint="average over the images first; the regulariser is added to the average",
        ),
        Mistake(
            "adds the regulariser once per image",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + len(X) * reg * (W**2).sum(),
            hint="add the regulariser once, after the loop or sum over the images",
        ),
        Mistake(
            "takes the norm of W instead of its square",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * W.norm(),
            hint="squares are added up and no root is taken",
        ),
        Mistake(
            "adds up absolute values of W instead of squares",
            lambda W, X, y, reg, **options: data(W, X, y, **options) + reg * W.abs().sum(),
            hint="squares are added up, not absolute values",
        ),
        Mistake(
            "subtracts the regulariser",
            lambda W, X, y, reg, **options: data(W, X, y, **options) - reg * (W**2).sum(),
            hint="large weights cost something: the regulariser makes the loss larger",
        ),
        Mistake(
            "adds up over the images instead of averaging",
            penalised(lambda W, X, y, **options: len(X) * data(W, X, y, **options)),
            hint="divide by the number of images, before the regulariser is added",
        ),
        Mistake(
            "divides by the number of images twice",
            penalised(lambda W, X, y, **options: data(W, X, y, **options) / len(X)),
            hint="divide by the number of images once",
        ),
    ]


def image_by_image(loss):
    """The loss and its gradient, one image at a time: what a vectorised version is timed against."""

    def run(W, X, y, reg):
        with torch.enable_grad():
            variable = W.detach().clone().requires_grad_()
            grads = [torch.autograd.grad(loss(variable, X[i, None], y[i, None]), variable)[0] for i in range(len(X))]
        return torch.stack(grads).mean(0) + 2 * reg * W

    return run


SPEED_CASE = Case(W=normal(32, 10), X=normal(64, 32), y=labels(64, 10), reg=0.1)
