"""Gradients of a score with respect to the pixels: as they are, as a saliency map, and guided."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, given, labels, normal
from dlcvkit.exercises.a4.network_visualization.networks import chosen, classifier, gradient_of, ran


def _label(*values):
    return given(list(values), dtype=torch.int64)


def linear(classes, features):
    """Describe the weights of a linear classifier."""
    return {"matrix": normal(classes, features), "bias": normal(classes)}


def convolutional(classes, *widths):
    """Describe the weights of convolutions, from the images' channels to each width, and of the scores after them."""
    kernels = {
        f"kernel{number}": normal(after, before, 3, 3, std=0.5)
        for number, (before, after) in enumerate(itertools.pairwise(widths), 1)
    }
    return {**kernels, "matrix": normal(classes, widths[-1]), "bias": normal(classes)}


def _call(function, images, labels, weights):
    return ran(function, classifier(weights), images, labels, images=images)


def _scored(objective):
    """The gradient of ``objective(scores, labels)``."""
    return lambda images, labels, weights: gradient_of(lambda x: objective(classifier(weights)(x), labels), images)


_plain = _scored(chosen)


def _by_images(images, labels, weights):
    """Every score differentiated with respect to the other images as well: the classes in the wrong order."""
    return _plain(images, labels.flip(0), weights)


score_gradient = Function(
    functions=("score_gradient",),
    reference=_plain,
    call=_call,
    cases=[
        Case("3 images of 2×4×3, linear", images=normal(3, 2, 4, 3), labels=_label(3, 0, 3), weights=linear(5, 24)),
        Case("2 images of 3×5×4", images=normal(2, 3, 5, 4), labels=_label(2, 1), weights=convolutional(4, 3, 5)),
        Case("two layers", images=normal(4, 1, 6, 5), labels=labels(4, 3), weights=convolutional(3, 1, 4, 3)),
    ],
    points={"gradient": 3},
    mistakes=[
        Mistake(
            "differentiates the mean of the scores over the images",
            _scored(lambda scores, labels: chosen(scores, labels) / len(labels)),
            hint="each image has a score and a gradient of its own, however many others are in the batch",
        ),
        Mistake(
            "differentiates the sum of all scores",
            _scored(lambda scores, labels: scores.sum()),
            hint="of each row of scores, one entry counts: that of the image's class",
        ),
        Mistake(
            "differentiates the highest score instead of that of the label",
            _scored(lambda scores, labels: scores.amax(1).sum()),
            hint="the class that is asked about stands in labels; the net may prefer another",
        ),
        Mistake(
            "differentiates the loss",
            _scored(lambda scores, labels: functional.cross_entropy(scores, labels, reduction="sum")),
            hint="differentiate the score itself: no softmax, no logarithm, no minus sign",
        ),
        Mistake(
            "differentiates the mean loss",
            _scored(lambda scores, labels: functional.cross_entropy(scores, labels)),
            hint="differentiate the score itself: no softmax, no logarithm, no mean",
        ),
        Mistake(
            "differentiates the probability",
            _scored(lambda scores, labels: chosen(scores.softmax(1), labels)),
            hint="differentiate the score, before any softmax",
        ),
        Mistake(
            "differentiates the logarithm of the probability",
            _scored(lambda scores, labels: chosen(scores.log_softmax(1), labels)),
            hint="differentiate the score, before any softmax",
        ),
        Mistake(
            "picks every label's score in every row",
            _scored(lambda scores, labels: scores[:, labels].sum()),
            hint="scores[:, labels] has shape (N, N): row i needs the entry labels[i] alone",
        ),
        Mistake(
            "gives the images each other's labels",
            _by_images,
            hint="label i belongs to image i",
        ),
        Mistake(
            "takes absolute values",
            lambda **inputs: _plain(**inputs).abs(),
            hint="the gradient keeps its sign; the saliency map comes next",
        ),
    ],
)


def _mapped(reduce, objective=chosen):
    """A map made of the gradient by ``reduce``."""
    return lambda **inputs: reduce(_scored(objective)(**inputs))


def _largest(gradient):
    return torch.linalg.vector_norm(gradient, ord=float("inf"), dim=1)


saliency_map = Function(
    functions=("saliency_map",),
    reference=_mapped(_largest),
    call=_call,
    cases=[
        Case("3 images of 3×4×5, linear", images=normal(3, 3, 4, 5), labels=_label(2, 0, 2), weights=linear(4, 60)),
        Case("2 images of 2×5×3", images=normal(2, 2, 5, 3), labels=_label(1, 4), weights=convolutional(5, 2, 6)),
    ],
    points={"saliency": 2},
    mistakes=[
        Mistake(
            "leaves the absolute value out",
            _mapped(lambda gradient: gradient.amax(1)),
            hint="a pixel that speaks strongly against the class counts as much as one that speaks for it",
        ),
        Mistake(
            "takes the absolute value after the maximum",
            _mapped(lambda gradient: gradient.amax(1).abs()),
            hint="the largest size is asked for: -5 outweighs 2",
        ),
        Mistake(
            "adds the channels up",
            _mapped(lambda gradient: gradient.abs().sum(1)),
            hint="of a pixel's channels the one with the largest size counts",
        ),
        Mistake(
            "adds the channels up before the absolute value",
            _mapped(lambda gradient: gradient.sum(1).abs()),
            hint="channels of opposite sign must not cancel: of each pixel's channels, the largest size counts",
        ),
        Mistake(
            "averages the channels",
            _mapped(lambda gradient: gradient.abs().mean(1)),
            hint="of a pixel's channels the one with the largest size counts",
        ),
        Mistake(
            "keeps the channel axis",
            _mapped(lambda gradient: gradient.abs().amax(1, keepdim=True)),
            hint="the map has one number per pixel: shape (N, H, W)",
        ),
        Mistake(
            "takes the maximum over the images",
            _mapped(lambda gradient: gradient.abs().amax(0)),
            hint="axis 0 counts images, axis 1 channels",
        ),
        Mistake(
            "keeps all channels",
            _mapped(lambda gradient: gradient.abs()),
            hint="one number per pixel remains: of its channels the largest size",
        ),
        Mistake(
            "divides each map by its largest entry",
            _mapped(lambda gradient: _largest(gradient) / _largest(gradient).amax((1, 2), keepdim=True)),
            hint="scaling a map to [0, 1] is for showing it; return the gradient's own size",
        ),
        Mistake(
            "maps the gradient of the loss",
            _mapped(_largest, lambda scores, labels: functional.cross_entropy(scores, labels, reduction="sum")),
            hint="the map shows the gradient of the score, which score_gradient returns",
        ),
    ],
)


class _Gate(torch.autograd.Function):
    """ReLU with a rule of its own on the way back: ``rule(upstream, inputs)``."""

    @staticmethod
    def forward(ctx, inputs, rule):
        ctx.save_for_backward(inputs)
        ctx.rule = rule
        return inputs.clamp(min=0)

    @staticmethod
    def backward(ctx, upstream):
        return ctx.rule(upstream, *ctx.saved_tensors), None


def gated(rule, last=lambda gradient: gradient):
    """The gradient with ``rule`` at every ReLU, and the plain gradient afterwards, which is not to change."""

    class Gate(nn.Module):
        def forward(self, inputs):
            return _Gate.apply(inputs, rule)

    def run(images, labels, weights):
        guided = gradient_of(lambda x: chosen(classifier(weights, Gate)(x), labels), images)
        return last(guided), _plain(images, labels, weights)

    return run


def _guided(upstream, inputs):
    return torch.where((inputs > 0) & (upstream > 0), upstream, 0.0)


def _one_guided(place):
    """Guide at one ReLU only: the first in the net (0) or the last (-1)."""

    def run(images, labels, weights):
        count = sum(name.startswith("kernel") for name in weights)
        numbers = iter(range(count))

        class Gate(nn.Module):
            def __init__(self):
                super().__init__()
                is_guided = next(numbers) == range(count)[place]
                self.rule = _guided if is_guided else lambda upstream, inputs: upstream * (inputs > 0)

            def forward(self, inputs):
                return _Gate.apply(inputs, self.rule)

        guided = gradient_of(lambda x: chosen(classifier(weights, Gate)(x), labels), images)
        return guided, _plain(images, labels, weights)

    return run


def _left_guided(images, labels, weights):
    guided, _ = gated(_guided)(images, labels, weights)
    return guided, guided


def _call_twice(function, images, labels, weights):
    model = classifier(weights)
    guided = ran(function, model, images, labels, images=images)
    return guided, gradient_of(lambda x: chosen(model(x), labels), images)


guided_backprop = Function(
    functions=("guided_backprop",),
    reference=gated(_guided),
    call=_call_twice,
    cases=[
        Case("2 images of 3×5×4", images=normal(2, 3, 5, 4), labels=_label(2, 0), weights=convolutional(4, 3, 5)),
        Case("two ReLUs", images=normal(3, 2, 4, 6), labels=_label(1, 2, 1), weights=convolutional(3, 2, 5, 6)),
    ],
    points={"guided": 4, "gradient afterwards": 1},
    mistakes=[
        Mistake(
            "leaves the hooks in the model",
            _left_guided,
            hint="register_... returns a handle, and the handle can take its hook away again",
        ),
        Mistake(
            "returns the plain gradient",
            gated(lambda upstream, inputs: upstream * (inputs > 0)),
            hint="do the hooks reach every nn.ReLU, also inside of other modules, and does their result count?",
        ),
        Mistake(
            "forgets ReLU's own gate",
            gated(lambda upstream, inputs: upstream.clamp(min=0)),
            hint="two conditions: the signal is positive on its way back, and the unit was active on the way forward",
        ),
        Mistake(
            "takes the absolute value at each ReLU",
            gated(lambda upstream, inputs: upstream.abs() * (inputs > 0)),
            hint="what is negative on the way back is cut off, not turned round",
        ),
        Mistake(
            "keeps the negative signals",
            gated(lambda upstream, inputs: upstream.clamp(max=0) * (inputs > 0)),
            hint="look at which sign is kept",
        ),
        Mistake(
            "cuts the image's gradient off instead of that at each ReLU",
            gated(lambda upstream, inputs: upstream * (inputs > 0), lambda gradient: gradient.clamp(min=0)),
            hint="the cut happens at every ReLU; what reaches the image may be negative",
        ),
        Mistake(
            "cuts the image's gradient off as well",
            gated(_guided, lambda gradient: gradient.clamp(min=0)),
            hint="the cut happens at every ReLU; what reaches the image may be negative",
        ),
        Mistake(
            "guides at the first ReLU only",
            _one_guided(0),
            hint="every nn.ReLU of the model needs its hook",
        ),
        Mistake(
            "guides at the last ReLU only",
            _one_guided(-1),
            hint="every nn.ReLU of the model needs its hook",
        ),
        Mistake(
            "lets negative signals through where the unit was silent",
            gated(lambda upstream, inputs: torch.where(inputs > 0, upstream.clamp(min=0), upstream.clamp(max=0))),
            hint="where the unit was silent nothing passes",
        ),
    ],
)
