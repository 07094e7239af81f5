"""GELU, which is smooth everywhere, and maxout, which learns its own shape."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, given, normal

_SATURATED = given([[-1e4, -800.0, -5.0, 0.0], [0.5, 5.0, 800.0, 1e4]])


def _cdf(x):
    return torch.special.ndtr(x)


def _density(x):
    return (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


gelu = ForwardBackward(
    functions=("gelu_forward", "gelu_backward"),
    reference=lambda x: functional.gelu(x),
    cases=[
        Case("3×5", x=normal(3, 5), dout=normal(3, 5)),
        Case("four axes", x=normal(1, 2, 3, 2, std=2), dout=normal(1, 2, 3, 2)),
        Case("up to ±1e4", x=_SATURATED, dout=normal(2, 4)),
    ],
    points={"out": 1, "dx": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD | {"gelu_backward"},
    mistakes=[
        Mistake(
            "computes the tanh approximation",
            lambda x: functional.gelu(x, approximate="tanh"),
            hint="the exact form is asked for, with the error function",
        ),
        Mistake(
            "computes the sigmoid approximation",
            lambda x: x * torch.sigmoid(1.702 * x),
            hint="the exact form is asked for, with the error function",
        ),
        Mistake(
            "does not divide by the root of 2 inside erf",
            lambda x: x / 2 * (1 + torch.erf(x)),
            hint="look at how Φ is written with erf: the argument of erf is not x itself",
        ),
        Mistake(
            "leaves the factor 1/2 out",
            lambda x: 2 * functional.gelu(x),
            hint="a probability is at most 1: what is yours far on the right?",
        ),
        Mistake(
            "returns Φ(x) without the factor x",
            lambda x: _cdf(x),
            hint="GELU weighs x by a probability; the probability alone squashes",
        ),
        Mistake(
            "leaves the second term of the gradient out",
            lambda x, dout: (functional.gelu(x), dout * _cdf(x)),
            hint="x Φ(x) is a product: x stands in both factors",
        ),
        Mistake(
            "leaves the first term of the gradient out",
            lambda x, dout: (functional.gelu(x), dout * x * _density(x)),
            hint="x Φ(x) is a product: x stands in both factors",
        ),
        Mistake(
            "leaves x out of the second term of the gradient",
            lambda x, dout: (functional.gelu(x), dout * (_cdf(x) + _density(x))),
            hint="write the product rule down: one factor is kept in each term",
        ),
        Mistake(
            "does not normalise the density",
            lambda x, dout: (functional.gelu(x), dout * (_cdf(x) + x * (-x.square() / 2).exp())),
            hint="look at the factor in front of the exponential: the density integrates to 1",
        ),
        Mistake(
            "leaves the 1/2 out of the exponent of the density",
            lambda x, dout: (
                functional.gelu(x),
                dout * (_cdf(x) + x * (-x.square()).exp() / math.sqrt(2 * math.pi)),
            ),
            hint="look at the exponent of the standard normal density",
        ),
        Mistake(
            "ignores the upstream gradient",
            lambda x, dout: (functional.gelu(x), _cdf(x) + x * _density(x)),
            hint="the chain rule multiplies the derivative by what comes from above",
        ),
    ],
)


def _scores(x, w, b):
    return torch.einsum("nd,pdm->pnm", x, w) + b[:, None]


def _pick(scores, winner):
    return scores.gather(0, winner[None])[0]


def _maxout(x, w, b):
    scores = _scores(x, w, b)
    return _pick(scores, scores.argmax(0))  # of equal scores argmax takes the first


def _gradients(x, w, dscores):
    return torch.einsum("pnm,pdm->nd", dscores, w), torch.einsum("nd,pnm->pdm", x, dscores), dscores.sum(1)


def _with_routing(route):
    """Make a variant that is right in front and sends ``route(scores, dout)``, shape (P, N, M), to the pieces."""

    def variant(x, w, b, dout):
        return _maxout(x, w, b), *_gradients(x, w, route(_scores(x, w, b), dout))

    return variant


def _routed_to_winner(scores, dout):
    return functional.one_hot(scores.argmax(0), len(scores)).movedim(-1, 0) * dout


def _with_gradients(change):
    """Make a variant whose gradients are the right ones, changed."""

    def variant(x, w, b, dout):
        return _maxout(x, w, b), *change(*_gradients(x, w, _routed_to_winner(_scores(x, w, b), dout)), len(x))

    return variant


_EQUAL_PIECES = given([[[1.0, -2.0], [0.0, 1.0]], [[1.0, -2.0], [0.0, 1.0]], [[-1.0, 3.0], [2.0, 0.0]]])

maxout = ForwardBackward(
    functions=("maxout_forward", "maxout_backward"),
    reference=_maxout,
    cases=[
        Case("3 pieces", x=normal(4, 5), w=normal(3, 5, 2), b=normal(3, 2), dout=normal(4, 2)),
        Case("2 pieces, one image", x=normal(1, 3), w=normal(2, 3, 4), b=normal(2, 4), dout=normal(1, 4)),
        Case(
            "two equal pieces",
            x=given([[1.0, 0.0], [-1.0, 2.0], [0.0, 3.0]]),
            w=_EQUAL_PIECES,
            b=given([[0.0, 1.0], [0.0, 1.0], [-1.0, 0.0]]),
            dout=normal(3, 2),
        ),
    ],
    points={"out": 2, "dx": 2, "dw": 2, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "takes the smallest piece",
            lambda x, w, b: _scores(x, w, b).amin(0),
            hint="maxout keeps the largest of the pieces",
        ),
        Mistake(
            "leaves the biases out",
            lambda x, w, b: _scores(x, w, torch.zeros_like(b)).max(0).values,
            hint="every piece has a bias of its own, added before the comparison",
        ),
        Mistake(
            "adds the biases after the comparison",
            lambda x, w, b: _scores(x, w, torch.zeros_like(b)).max(0).values + b.amax(0),
            hint="every piece has a bias of its own, added before the comparison",
        ),
        Mistake(
            "takes the mean of the pieces",
            lambda x, w, b: _scores(x, w, b).mean(0),
            hint="one piece answers for each entry; the others do not count",
        ),
        Mistake(
            "sends the gradient to every piece",
            _with_routing(lambda scores, dout: dout.expand_as(scores)),
            hint="a piece that was not the largest had no influence on the output",
        ),
        Mistake(
            "sends the gradient to the first piece always",
            _with_routing(lambda scores, dout: torch.cat([dout[None], torch.zeros_like(scores[1:])])),
            hint="which piece won differs from entry to entry; the cache can remember it",
        ),
        Mistake(
            "splits the gradient among equal pieces",
            _with_routing(lambda s, dout: dout * (s == s.amax(0)) / (s == s.amax(0)).sum(0)),
            hint="of equally large pieces the first one gets the whole gradient",
        ),
        Mistake(
            "sends the whole gradient to each of several equal pieces",
            _with_routing(lambda s, dout: dout * (s == s.amax(0))),
            hint="of equally large pieces the first one gets the gradient, the others none",
        ),
        Mistake(
            "of equal pieces the last one gets the gradient",
            _with_routing(lambda s, dout: _routed_to_winner(s.flip(0), dout).flip(0)),
            hint="of equally large pieces the first one counts",
        ),
        Mistake(
            "takes the mean over the images for db",
            _with_gradients(lambda dx, dw, db, n: (dx, dw, db / n)),
            hint="the bias is added to every row: its gradient adds up over the rows",
        ),
        Mistake(
            "takes the mean over the images for dw",
            _with_gradients(lambda dx, dw, db, n: (dx, dw / n, db)),
            hint="nothing was averaged in the forward pass",
        ),
        Mistake(
            "adds up dx over the images",
            _with_gradients(lambda dx, dw, db, n: (dx.sum(0).expand_as(dx), dw, db)),
            hint="an image influences its own row of the output alone",
        ),
    ],
)
