"""Fooling images: small steps of sign until the net says what it was told to say."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, uniform
from dlcvkit.exercises.a4.network_visualization.gradients import convolutional, linear
from dlcvkit.exercises.a4.network_visualization.networks import classifier, gradient_of, ran


def _call(function, image, target, epsilon, step, max_steps, weights):
    return ran(function, classifier(weights), image, target, epsilon, step, max_steps, image=image)


def _gap(scores, target):
    """The target's lead over the best of the other classes."""
    others = torch.cat([scores[:target], scores[target + 1 :]])
    return scores[target] - others.max()


def _fooling(
    *,
    objective=_gap,
    direction=torch.sign,
    ball=True,
    pixels=True,
    around_first=True,
    early=True,
    first_check=True,
    count=0,
    sign=1,
    fixed=False,
):
    """The algorithm, each keyword a place where it can go wrong."""

    def run(image, target, epsilon, step, max_steps, weights):
        model = classifier(weights)

        def score(x):
            return model(x[None])[0]

        current, taken, kept = image.clone(), 0, None
        while taken < max_steps:
            is_fooled = int(score(current).argmax()) == target
            if is_fooled and early and (first_check or taken):
                break
            gradient = gradient_of(lambda x: objective(score(x), target), current)
            kept = gradient if kept is None or not fixed else kept
            moved = current + sign * step * direction(kept)
            centre = image if around_first else current
            if ball:
                moved = torch.minimum(torch.maximum(moved, centre - epsilon), centre + epsilon)
            current = moved.clamp(0, 1) if pixels else moved
            taken += 1
        return current, taken + count

    return run


def _wrong_image(**options):
    """A mistake that is told from the image: how many steps it takes says nothing."""

    def run(**inputs):
        return _fooling(**options)(**inputs)[0], _fooling()(**inputs)[1]

    return run


def _case(name, shape, target, weights, *, epsilon, step, max_steps, image=None):
    image = image or uniform(*shape)
    return Case(name, image=image, target=target, epsilon=epsilon, step=step, max_steps=max_steps, weights=weights)


fooling_image = Function(
    functions=("fooling_image",),
    reference=_fooling(),
    call=_call,
    cases=[
        _case("linear, room to move", (2, 4, 3), 1, linear(3, 24), epsilon=0.9, step=0.015, max_steps=200),
        _case("3×5×4, a narrow budget", (3, 5, 4), 2, convolutional(4, 3, 5), epsilon=0.03, step=0.02, max_steps=5),
        _case("two layers", (1, 6, 5), 0, convolutional(3, 1, 4, 3), epsilon=0.5, step=0.05, max_steps=12),
        _case("no step allowed", (1, 3, 4), 1, linear(2, 12), epsilon=0.1, step=0.01, max_steps=0),
    ],
    points={"image": 4, "steps": 2},
    mistakes=[
        Mistake(
            "moves away from the target",
            _wrong_image(sign=-1),
            hint="the gradient points to where the gap grows: which way should the image go?",
        ),
        Mistake(
            "takes the gradient instead of its sign",
            _wrong_image(direction=lambda gradient: gradient),
            hint="every pixel moves by step, whatever the size of its gradient; one without gradient stays",
        ),
        Mistake(
            "divides the gradient by its norm instead of taking its sign",
            _wrong_image(direction=lambda gradient: gradient / gradient.norm()),
            hint="the budget is per pixel here, so every pixel takes a step of the same size",
        ),
        Mistake(
            "takes zero gradients for positive ones",
            _wrong_image(direction=lambda gradient: torch.where(gradient >= 0, 1.0, -1.0)),
            hint="the sign of 0 is 0: a pixel that does not matter stays as it is",
        ),
        Mistake(
            "leaves the budget out",
            _wrong_image(ball=False),
            hint="no pixel may end up farther than epsilon from where it was in the image that came in",
        ),
        Mistake(
            "measures the budget from the step before instead of the image that came in",
            _wrong_image(around_first=False),
            hint="many small steps must not add up to more than epsilon: measure from the image that came in",
        ),
        Mistake(
            "lets pixels leave [0, 1]",
            _wrong_image(pixels=False),
            hint="a pixel is between 0 and 1, or it cannot be shown",
        ),
        Mistake(
            "takes all the steps there are",
            _fooling(early=False),
            hint="if the image is right: is the model asked before each step whether anything is left to do?",
        ),
        Mistake(
            "takes a step before it asks for the first time",
            _fooling(first_check=False),
            hint="an image that is of the target's class already needs no step",
        ),
        Mistake(
            "is one step more than there were",
            _fooling(count=1),
            hint="if the image is right: steps are changes of the image, and asking the model is none",
        ),
        Mistake(
            "is one step less than there were",
            _fooling(count=-1),
            hint="if the image is right: steps are changes of the image, the last one included",
        ),
        Mistake(
            "raises the target's score alone",
            _wrong_image(objective=lambda scores, target: scores[target]),
            hint="the target wins by its lead over the others: what happens to the score of the class on top?",
        ),
        Mistake(
            "lowers the other score alone",
            _wrong_image(objective=lambda scores, target: _gap(scores, target) - scores[target]),
            hint="the gap has two terms: the target's score and that of the class on top",
        ),
        Mistake(
            "raises the target's log-probability",
            _wrong_image(objective=lambda scores, target: functional.log_softmax(scores, dim=0)[target]),
            hint="the gap is a difference of two scores; no softmax",
        ),
        Mistake(
            "keeps the direction of the first step",
            _wrong_image(fixed=True),
            hint="after a step the image, its scores and maybe the class on top are others: differentiate again",
        ),
    ],
)
