"""The style loss over several layers, and the mixture of styles."""

from __future__ import annotations

import torch

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Mistake, given, normal, uniform
from dlcvkit.exercises.a4.style_transfer.differentiable import differentiated, with_gradient
from dlcvkit.exercises.a4.style_transfer.grams import gram_of


def _style(name, variant, hint):
    return Mistake(name, differentiated(variant, "features"), hint)


def _over_layers(of_layer):
    """A loss that adds ``of_layer(gram, target, weight)`` up over the layers that have a weight."""

    def loss(features, targets, weights):
        return sum(of_layer(gram_of(features[name]), targets[name], weight) for name, weight in weights.items())

    return loss


def _per_image(gram, target):
    return ((gram - target) ** 2).sum((1, 2))


def _layer(gram, target, weight):
    return weight * _per_image(gram, target).mean()


def _all_layers(features, targets, weights):
    return sum(_layer(gram_of(maps), targets[name], weights.get(name, 1.0)) for name, maps in features.items())


def _one_layer(place):
    """The share of the layer at a place in the order of the weights."""

    def loss(features, targets, weights):
        name = list(weights)[place]
        return _layer(gram_of(features[name]), targets[name], weights[name])

    return loss


def _of_sizes(loss):
    """A loss that is told the maps too: ``loss(maps, target, weight)``."""

    def total(features, targets, weights):
        return sum(loss(features[name], targets[name], weight) for name, weight in weights.items())

    return total


def _call_style_loss(style_loss, **inputs):
    return with_gradient(style_loss, "features", **inputs)


style_loss = Function(
    functions=("style_loss",),
    reference=differentiated(_over_layers(_layer), "features"),
    call=_call_style_loss,
    cases=[
        Case(
            "two layers, two images",
            features={"relu1": normal(2, 3, 4, 5), "relu2": normal(2, 4, 2, 3)},
            targets={"relu1": normal(1, 3, 3, std=0.3), "relu2": normal(1, 4, 4, std=0.3)},
            weights={"relu1": 0.5, "relu2": 3.0},
        ),
        Case(
            "three layers, of which two have a weight",
            features={"a": normal(1, 2, 3, 3), "b": normal(1, 5, 2, 2), "c": normal(1, 3, 1, 4)},
            targets={"a": normal(1, 2, 2), "b": normal(1, 5, 5), "c": normal(1, 3, 3)},
            weights={"c": 2.0, "a": 0.25},
        ),
    ],
    points={"loss": 3, "gradient": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _style(
            "counts layers that have no weight",
            _all_layers,
            hint="run over the layers of weights; features may hold more",
        ),
        _style(
            "ignores the weights",
            _over_layers(lambda gram, target, weight: _layer(gram, target, 1.0)),
            hint="each layer's share is multiplied by its weight",
        ),
        _style(
            "squares the weights",
            _over_layers(lambda gram, target, weight: _layer(gram, target, weight**2)),
            hint="the weight stands outside the square",
        ),
        _style(
            "divides by the sum of the weights",
            lambda features, targets, weights: _over_layers(_layer)(features, targets, weights) / sum(weights.values()),
            hint="the layers are added up, each with its weight, and that is all",
        ),
        _style(
            "averages over the layers",
            lambda features, targets, weights: _over_layers(_layer)(features, targets, weights) / len(weights),
            hint="the layers are added up",
        ),
        _style(
            "averages over the entries of the Gram matrix",
            _over_layers(lambda gram, target, weight: weight * ((gram - target) ** 2).mean()),
            hint="squares are added up over both axes of the Gram matrix; only images are averaged over",
        ),
        _style(
            "adds up over the images",
            _over_layers(lambda gram, target, weight: weight * _per_image(gram, target).sum()),
            hint="the loss is a mean over the N images",
        ),
        _style(
            "averages the Gram matrices of the images first",
            _over_layers(lambda gram, target, weight: weight * ((gram.mean(0) - target[0]) ** 2).sum()),
            hint="each image is compared with the target by itself; then the squares are averaged",
        ),
        _style(
            "takes absolute differences",
            _over_layers(lambda gram, target, weight: weight * (gram - target).abs().sum((1, 2)).mean()),
            hint="differences are squared",
        ),
        _style(
            "takes a norm instead of its square",
            _over_layers(lambda gram, target, weight: weight * _per_image(gram, target).sqrt().mean()),
            hint="no root is taken of the sum of squares",
        ),
        _style(
            "takes half of it",
            _over_layers(lambda gram, target, weight: _layer(gram, target, weight) / 2),
            hint="the formula above has no factor one half",
        ),
        _style(
            "divides by four times the squared number of channels",
            _over_layers(lambda gram, target, weight: _layer(gram, target, weight) / (4 * gram.shape[1] ** 2)),
            hint="that is another paper's convention; here the Gram matrix is normalised already",
        ),
        _style(
            "compares Gram matrices that are not normalised",
            _of_sizes(lambda maps, target, weight: _layer(gram_of(maps) * maps[0].numel(), target, weight)),
            hint="gram_matrix_forward divides by C * H * W",
        ),
        _style(
            "counts the last layer only",
            _one_layer(-1),
            hint="add up (+=) over the layers",
        ),
        _style(
            "counts the first layer only",
            _one_layer(0),
            hint="return after the loop, not in it",
        ),
    ],
)


def _with_a_negative(weights):
    """Weights of which the last is negative, though their sum is not if there are several."""
    return torch.cat([weights[:-1] + 10, torch.full_like(weights[-1:], -0.5)])


_WRONG_WEIGHTS = {"a negative weight": _with_a_negative, "weights of zero": torch.zeros_like}


def _outcome(function, targets, weights):
    try:
        function(targets, weights)
    except Exception as error:
        return type(error).__name__
    return "no error"


def _mix_and_refuse(function, targets, weights):
    """The mixture, and what happens to weights that have no meaning."""
    return function(targets, weights), {
        name: _outcome(function, targets, make(weights)) for name, make in _WRONG_WEIGHTS.items()
    }


_REFUSED = dict.fromkeys(_WRONG_WEIGHTS, "ValueError")


def _mix(mixture):
    """What is expected of a function with this ``mixture(grams, weights)`` that refuses what it should."""

    def expected(targets, weights):
        return {name: mixture(grams, weights) for name, grams in targets.items()}, _REFUSED

    return expected


def _shares(weights):
    return weights / weights.sum()


def _weighted(grams, weights):
    return torch.tensordot(weights, grams, dims=1)[None]


style_mix = Function(
    functions=("style_mix",),
    reference=_mix(lambda grams, weights: _weighted(grams, _shares(weights))),
    call=_mix_and_refuse,
    cases=[
        Case(
            "two styles, two layers",
            targets={"relu1": normal(2, 3, 3), "relu2": normal(2, 5, 5)},
            weights=given([1.0, 3.0]),
        ),
        Case("three styles", targets={"a": normal(3, 4, 4)}, weights=uniform(3, low=0.5, high=2.0)),
        Case(
            "one style has no weight",
            targets={"a": normal(3, 2, 2), "b": normal(3, 3, 3)},
            weights=given([2.0, 0.0, 0.5]),
        ),
    ],
    points={"mixture": 2, "errors": 1},
    mistakes=[
        Mistake(
            "does not divide by the sum of the weights",
            _mix(_weighted),
            hint="only the proportions of the weights count: 1 and 3 mean the same as 0.25 and 0.75",
        ),
        Mistake(
            "divides by the number of styles",
            _mix(lambda grams, weights: _weighted(grams, weights) / len(weights)),
            hint="divide by the sum of the weights",
        ),
        Mistake(
            "gives all styles the same weight",
            _mix(lambda grams, weights: grams.mean(0, keepdim=True)),
            hint="each style's Gram matrix is multiplied by its weight",
        ),
        Mistake(
            "takes the softmax of the weights",
            _mix(lambda grams, weights: _weighted(grams, weights.softmax(0))),
            hint="the weights are proportions: divide by their sum",
        ),
        Mistake(
            "takes the style with the largest weight",
            _mix(lambda grams, weights: grams[int(weights.argmax())][None]),
            hint="all styles take part, each by its share",
        ),
        Mistake(
            "squares the weights",
            _mix(lambda grams, weights: _weighted(grams, _shares(weights**2))),
            hint="a style's share is its weight over the sum of the weights",
        ),
        Mistake(
            "divides by the length of the vector of weights",
            _mix(lambda grams, weights: _weighted(grams, weights / weights.norm())),
            hint="shares add up to 1; their squares need not",
        ),
        Mistake(
            "drops the first axis",
            _mix(lambda grams, weights: _weighted(grams, _shares(weights))[0]),
            hint="the mixture is a target like any other, of shape (1, C, C)",
        ),
        Mistake(
            "keeps the axis of the styles",
            _mix(lambda grams, weights: grams * _shares(weights)[:, None, None]),
            hint="the weighted Gram matrices are added up over the styles",
        ),
        Mistake(
            "takes weights that have no meaning",
            lambda targets, weights: (
                _mix(lambda grams, weights: _weighted(grams, _shares(weights)))(targets, weights)[0],
                dict.fromkeys(_WRONG_WEIGHTS, "no error"),
            ),
            hint="a negative weight, or a sum of 0, raises a ValueError",
        ),
        Mistake(
            "refuses weights that add up to 0, but takes a negative one",
            lambda targets, weights: (
                _mix(lambda grams, weights: _weighted(grams, _shares(weights)))(targets, weights)[0],
                {**_REFUSED, "a negative weight": "no error"},
            ),
            hint="look at each weight as well as at their sum",
        ),
        Mistake(
            "refuses a negative weight, but takes weights of zero",
            lambda targets, weights: (
                _mix(lambda grams, weights: _weighted(grams, _shares(weights)))(targets, weights)[0],
                {**_REFUSED, "weights of zero": "no error"},
            ),
            hint="weights that are all 0 have no proportions",
        ),
    ],
)
