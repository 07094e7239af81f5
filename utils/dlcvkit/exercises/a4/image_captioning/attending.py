"""Dot-product attention of one query per picture, by hand."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, normal


def attend(h, places, *, power=-0.5, size=2, axis=1, is_raw=False, stops=None):
    """Attention; each keyword switches a mistake on.

    ``stops`` names where no gradient is let through: the places as keys, the places as values, or the query.
    """
    keys = places.detach() if stops == "keys" else places
    values = places.detach() if stops == "values" else places
    query = h.detach() if stops == "query" else h
    scores = torch.einsum("nlh,nh->nl", keys, query) * places.shape[size] ** power
    weights = scores if is_raw else scores.softmax(axis)
    return torch.einsum("nl,nlh->nh", weights, values), weights


def _with(**flags):
    return lambda h, places: attend(h, places, **flags)


def _going_back(of_softmax, scales=True):
    """Forward as it should be; backward with another derivative of the softmax, or without the scale."""

    def variant(h, places, dcontext):
        scale = places.shape[2] ** -0.5
        context, weights = attend(h, places)
        dscores = of_softmax(weights, torch.einsum("nlh,nh->nl", places, dcontext))
        dscores = dscores * scale if scales else dscores
        dh = torch.einsum("nl,nlh->nh", dscores, places)
        dplaces = torch.einsum("nl,nh->nlh", weights, dcontext) + torch.einsum("nl,nh->nlh", dscores, h)
        return context, weights, dh, dplaces

    return variant


def _softmax_back(weights, dweights):
    return weights * (dweights - (weights * dweights).sum(1, keepdim=True))


def attention_case(name, N, L, H, std=1.0):
    """Describe queries (N, H), places (N, L, H) and the gradient of the context."""
    return Case(name, h=normal(N, H, std=std), places=normal(N, L, H, std=std), dcontext=normal(N, H))


dot_product_attention = ForwardBackward(
    functions=("dot_product_attention_forward", "dot_product_attention_backward"),
    reference=attend,
    upstream={"context": "dcontext"},
    cases=[
        attention_case("3 pictures of 5 places", 3, 5, 4),
        attention_case("as many pictures, places and features", 4, 4, 4),
    ],
    points={"context": 1, "weights": 1, "dh": 1, "dplaces": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake("does not scale the scores", _with(power=0), hint="look at the factor in front of the dot product"),
        Mistake("divides the scores by H", _with(power=-1), hint="the factor in front of the dot product has a root"),
        Mistake("multiplies the scores by the root of H", _with(power=0.5), hint="the root of H stands below the line"),
        Mistake(
            "scales by the number of places", _with(size=1), hint="H is the length of a query, not the number of places"
        ),
        Mistake(
            "takes the softmax over the pictures",
            _with(axis=0),
            hint="the weights of one picture add up to 1: along which axis?",
        ),
        Mistake(
            "does not take the softmax",
            _with(is_raw=True),
            hint="weights are positive and add up to 1; scores are neither",
        ),
        Mistake(
            "forgets that places are also keys",
            _with(stops="keys"),
            hint="places are used twice, in the scores and in the sum: both send a gradient back",
        ),
        Mistake(
            "forgets that places are also values",
            _with(stops="values"),
            hint="places are used twice, in the scores and in the sum: both send a gradient back",
        ),
        Mistake("sends no gradient to h", _with(stops="query"), hint="h is in every score"),
        Mistake(
            "treats the weights of a picture as independent",
            _going_back(lambda weights, dweights: weights * (1 - weights) * dweights),
            hint="in the softmax each score moves all weights: the derivative is a full matrix, not a diagonal one",
        ),
        Mistake(
            "leaves the sum in the derivative of the softmax out",
            _going_back(lambda weights, dweights: weights * dweights),
            hint="raising all scores alike changes nothing: what is subtracted so that dscores add up to 0?",
        ),
        Mistake(
            "goes back through the softmax as if it were not there",
            _going_back(lambda weights, dweights: dweights),
            hint="between dweights and dscores stands the derivative of the softmax",
        ),
        Mistake(
            "forgets the scale on the way back",
            _going_back(_softmax_back, scales=False),
            hint="the scores were scaled on the way there: what does that do to their gradient?",
        ),
    ],
)
