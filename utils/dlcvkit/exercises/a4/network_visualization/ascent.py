"""Steps of gradient ascent on pixels: towards a class, and towards whatever a layer already sees."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, given, labels, normal, uniform
from dlcvkit.exercises.a4.network_visualization.gradients import convolutional, linear
from dlcvkit.exercises.a4.network_visualization.networks import chosen, classifier, features, gradient_of, ran


def _call_class(function, images, targets, lr, l2, weights):
    return ran(function, classifier(weights), images, targets, lr, l2, images=images)


def _unit(gradient):
    return functional.normalize(gradient.flatten(1), dim=1).reshape(gradient.shape)


def _towards_class(*, score=chosen, middle=0.5, factor=1.0, norm=_unit, low=0.0, high=1.0, sign=1, start=0.0):
    """One step, each keyword a place where it can go wrong."""

    def run(images, targets, lr, l2, weights):
        model = classifier(weights)

        def objective(x):
            return score(model(x), targets) - factor * l2 * functional.mse_loss(
                x, torch.full_like(x, middle), reduction="sum"
            )

        return (images + sign * lr * norm(gradient_of(objective, images)) - start * lr).clamp(low, high)

    return run


def _pull_once(images, targets, lr, l2, weights):
    """The gradient of the penalty without its factor 2."""
    return _towards_class(factor=0.5)(images, targets, lr, l2, weights)


def _penalty_outside(images, targets, lr, l2, weights):
    """The score's gradient is normalised by itself, and the penalty's is added as it is."""
    model = classifier(weights)
    gradient = gradient_of(lambda x: chosen(model(x), targets), images)
    return (images + lr * (_unit(gradient) - 2 * l2 * (images - 0.5))).clamp(0, 1)


def _by_norm(reduce):
    return lambda gradient: gradient / reduce(gradient)


class_visualization_step = Function(
    functions=("class_visualization_step",),
    reference=_towards_class(),
    call=_call_class,
    cases=[
        Case(
            "3 images of 2×4×3, linear",
            images=uniform(3, 2, 4, 3, low=0.2, high=0.8),
            targets=labels(3, 3),
            lr=0.5,
            l2=0.7,
            weights=linear(4, 24),
        ),
        Case(
            "2 images of 3×5×4, a long step",
            images=uniform(2, 3, 5, 4),
            targets=given([3, 3], dtype=torch.int64),
            lr=4.0,
            l2=0.05,
            weights=convolutional(4, 3, 5),
        ),
        Case(
            "an image without gradient",
            images=given([[[[0.5, 0.5], [0.5, 0.5]]], [[[0.2, 0.9], [0.4, 0.7]]]]),
            targets=given([1, 0], dtype=torch.int64),
            lr=0.3,
            l2=0.4,
            weights={"matrix": given([[1.0, -2.0, 0.5, 0.25], [0.0, 0.0, 0.0, 0.0]]), "bias": normal(2)},
        ),
    ],
    points={"images": 4},
    mistakes=[
        Mistake(
            "goes down instead of up",
            _towards_class(sign=-1),
            hint="the objective is to grow: add the gradient",
        ),
        Mistake(
            "leaves the penalty out",
            _towards_class(factor=0.0),
            hint="the objective has two terms, and so has its gradient",
        ),
        Mistake(
            "adds the penalty instead of subtracting it",
            _towards_class(factor=-1.0),
            hint="the penalty pulls pixels back to grey: look at its sign",
        ),
        Mistake(
            "pulls pixels to 0 instead of 0.5",
            _towards_class(middle=0.0),
            hint="pixels run from 0 to 1: which value is the middle?",
        ),
        Mistake(
            "leaves the 2 of the penalty's gradient out",
            _pull_once,
            hint="differentiate l2 * (x - 0.5) ** 2",
        ),
        Mistake(
            "normalises before it takes the penalty off",
            _penalty_outside,
            hint="G is the gradient of the whole objective; divide by its norm at the end",
        ),
        Mistake(
            "does not divide by the norm",
            _towards_class(norm=lambda gradient: gradient),
            hint="the step has the length lr, however steep the objective is",
        ),
        Mistake(
            "divides by one norm for the whole batch",
            _towards_class(norm=_by_norm(lambda gradient: gradient.norm().clamp(min=1e-30))),
            hint="each image is a climb of its own: one norm per image",
        ),
        Mistake(
            "divides each colour channel by its own norm",
            _towards_class(norm=lambda g: g / g.flatten(2).norm(dim=2)[..., None, None].clamp(min=1e-30)),
            hint="one norm per image, over all its channels and pixels",
        ),
        Mistake(
            "divides by the largest entry",
            _towards_class(norm=_by_norm(lambda gradient: gradient.abs().amax((1, 2, 3), keepdim=True) + 1e-30)),
            hint="the Euclidean norm is asked for: root of the sum of squares",
        ),
        Mistake(
            "divides 0 by 0",
            _towards_class(norm=_by_norm(lambda gradient: gradient.flatten(1).norm(dim=1)[:, None, None, None])),
            hint="what if a gradient is zero everywhere?",
        ),
        Mistake(
            "takes the sign of the gradient",
            _towards_class(norm=torch.sign),
            hint="the step has the direction of the gradient and the length lr",
        ),
        Mistake(
            "lets pixels leave [0, 1]",
            _towards_class(low=-1e9, high=1e9),
            hint="a pixel is between 0 and 1, or it cannot be shown",
        ),
        Mistake(
            "climbs the log-probability",
            _towards_class(score=lambda scores, targets: -functional.cross_entropy(scores, targets, reduction="sum")),
            hint="the score itself is climbed: a probability also grows by making the other classes less likely",
        ),
        Mistake(
            "climbs the highest score",
            _towards_class(score=lambda scores, targets: scores.amax(1).sum()),
            hint="the class that is asked for stands in targets",
        ),
    ],
)


def _call_dream(function, image, lr, shift, weights):
    return ran(function, features(weights), image, lr, tuple(shift), image=image)


def _mean_size(gradient):
    return gradient.abs().mean()


def _dream(*, there=1, back=-1, swapped=False, size=_mean_size, sign=1, low=0.0, high=1.0, strength=None, safe=True):
    """One step, each keyword a place where it can go wrong."""

    def run(image, lr, shift, weights):
        model = features(weights)
        down, across = reversed(shift) if swapped else shift

        def rolled(x, by):
            return torch.roll(x, (by * down, by * across), (2, 3))

        def objective(x):
            return (strength or (lambda maps: maps.square().mean()))(model(x))

        start = rolled(image, there)
        with torch.no_grad():
            value = objective(start)
        gradient = rolled(gradient_of(objective, start), back)
        length = size(gradient)
        move = gradient / length if float(length) > 0 or not safe else gradient
        return (image + sign * lr * move).clamp(low, high), value

    return run


def _moved_image(image, lr, shift, weights):
    """The image stays rolled."""
    down, across = shift
    moved, value = _dream(there=0, back=0)(image.roll((down, across), (2, 3)), lr, shift, weights)
    return moved, value


deepdream_step = Function(
    functions=("deepdream_step",),
    reference=_dream(),
    call=_call_dream,
    cases=[
        Case("3×6×5", image=uniform(1, 3, 6, 5), lr=0.05, shift=[2, -1], weights={"kernel1": normal(4, 3, 3, 3)}),
        Case(
            "two layers, a long step",
            image=uniform(1, 2, 5, 7),
            lr=0.4,
            shift=[0, 3],
            weights={"kernel1": normal(3, 2, 3, 3), "kernel2": normal(5, 3, 3, 3)},
        ),
        Case(
            "a layer that is silent",
            image=uniform(1, 1, 4, 5),
            lr=0.1,
            shift=[1, 2],
            weights={"kernel1": given([[[[-1.0] * 3] * 3]])},
        ),
    ],
    points={"image": 4, "strength": 1},
    mistakes=[
        Mistake(
            "divides 0 by 0",
            _dream(safe=False),
            hint="what if the layer is silent and the gradient zero everywhere?",
        ),
        Mistake(
            "does not roll",
            _dream(there=0, back=0),
            hint="the layer is to see the rolled image",
        ),
        Mistake(
            "rolls the image but not the gradient back",
            _dream(back=0),
            hint="the gradient belongs to the rolled image: take the shift back before it is added",
        ),
        Mistake(
            "rolls the gradient the same way again",
            _dream(back=1),
            hint="the way back has the opposite shift",
        ),
        Mistake(
            "rolls in the opposite direction",
            _dream(there=-1, back=1),
            hint="torch.roll moves towards higher indices for positive shifts",
        ),
        Mistake(
            "swaps the two shifts",
            _dream(swapped=True),
            hint="shift holds rows first, then columns, and images have the axes (1, C, H, W)",
        ),
        Mistake(
            "returns the image rolled",
            _moved_image,
            hint="what comes back lies where the image lay that came in",
        ),
        Mistake(
            "goes down instead of up",
            _dream(sign=-1),
            hint="the activations are to grow: add the gradient",
        ),
        Mistake(
            "does not divide by the gradient's mean size",
            _dream(size=lambda gradient: torch.ones(())),
            hint="the step is measured in pixels' units: on average a pixel moves by lr",
        ),
        Mistake(
            "divides by the gradient's norm",
            _dream(size=torch.linalg.vector_norm),
            hint="the mean of the absolute values is asked for",
        ),
        Mistake(
            "divides by the largest entry",
            _dream(size=lambda gradient: gradient.abs().max()),
            hint="the mean of the absolute values is asked for",
        ),
        Mistake(
            "divides by the standard deviation",
            _dream(size=lambda gradient: gradient.std()),
            hint="the mean of the absolute values is asked for",
        ),
        Mistake(
            "divides by the mean without absolute values",
            _dream(size=torch.mean, safe=False),
            hint="entries of opposite sign must not cancel",
        ),
        Mistake(
            "lets pixels leave [0, 1]",
            _dream(low=-1e9, high=1e9),
            hint="a pixel is between 0 and 1, or it cannot be shown",
        ),
        Mistake(
            "raises the activations instead of their squares",
            _dream(strength=torch.mean),
            hint="strength is the mean of the squares: what is strong already gets the most",
        ),
        Mistake(
            "takes the sum of the squares for the strength",
            _dream(strength=lambda maps: maps.square().sum()),
            hint="the mean over all entries of the maps, so that layers of any size can be compared",
        ),
        Mistake(
            "takes the norm for the strength",
            _dream(strength=lambda maps: nn.functional.normalize(maps.flatten(), dim=0) @ maps.flatten()),
            hint="the mean of the squares, without a root",
        ),
    ],
)
