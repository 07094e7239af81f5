"""The three-layer net."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden, Mistake, given
from dlcvkit.exercises.a3.convnets.shallow import making, net_case
from dlcvkit.layers import (
    affine_backward,
    affine_forward,
    conv_backward,
    conv_forward,
    max_pool_backward,
    max_pool_forward,
    relu_backward,
    relu_forward,
    softmax_loss,
)

NEEDS_GPU = "on the CPU it is the same generator; where there is a GPU, the check on it notices"
SYMMETRIC = "normal numbers with the other sign are normal numbers"
_SQUARE = "filters are square, and axis -2 of four is axis 2"
_POOL = {"height": 2, "width": 2, "stride": 2}


class _Net:
    """Layer by layer; subclasses are wrong in one thing each."""

    last = 0.01
    one_seed = None

    def __init__(
        self,
        input_shape,
        num_filters,
        filter_size,
        hidden_dim,
        num_classes,
        *,
        reg=0.0,
        seed=0,
        device="cpu",
        dtype=torch.float32,
    ):
        C, H, W = input_shape
        self.reg, self.pad = reg, (filter_size - 1) // 2
        self.generator = torch.Generator(device=device).manual_seed(seed if self.one_seed is None else self.one_seed)
        self.params = {}
        self.add("3", (hidden_dim, num_classes), self.last, dtype)
        self.add("1", (num_filters, C, filter_size, filter_size), self.size(C * filter_size**2), dtype)
        inputs = self.inputs(num_filters, H, W)
        self.add("2", (inputs, hidden_dim), self.size(inputs), dtype)

    def size(self, fan_in):
        return math.sqrt(2 / fan_in)

    def inputs(self, F, H, W):
        return F * (H // 2) * (W // 2)

    def add(self, number, shape, std, dtype):
        w = torch.empty(shape, dtype=dtype, device=self.generator.device)
        self.params["W" + number] = w.normal_(0, std, generator=self.generator)
        width = shape[0] if len(shape) == 4 else shape[1]
        self.params["b" + number] = torch.zeros(width, dtype=dtype, device=w.device)

    def scores(self, X):
        p = self.params
        h, conv = conv_forward(X, p["W1"], p["b1"], {"stride": 1, "pad": self.pad})
        h, pool = max_pool_forward(h, _POOL)
        h, gate = relu_forward(h)
        h, first = affine_forward(h, p["W2"], p["b2"])
        h, inner = relu_forward(h)
        h, second = affine_forward(h, p["W3"], p["b3"])
        return h, (conv, pool, gate, first, inner, second)

    def back(self, dscores, caches):
        conv, pool, gate, first, inner, second = caches
        d, dW3, db3 = affine_backward(dscores, second)
        d, dW2, db2 = affine_backward(relu_backward(d, inner), first)
        _, dW1, db1 = conv_backward(max_pool_backward(relu_backward(d, gate), pool), conv)
        return {"b3": db3, "W3": dW3, "b2": db2, "W2": dW2, "b1": db1, "W1": dW1}

    def loss(self, X, y=None):
        scores, caches = self.scores(X)
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        return self.penalised(loss, self.back(dscores, caches))

    def penalised(self, loss, grads):
        for name in ("W1", "W2", "W3"):
            loss = loss + self.reg / 2 * self.params[name].norm() ** 2
            grads[name] = grads[name] + self.reg * self.params[name]
        return loss, grads


class _ByAutograd(_Net):
    def loss(self, X, y=None):
        p = {name: w.detach().clone().requires_grad_() for name, w in self.params.items()}
        with torch.enable_grad():
            h = functional.relu(functional.conv2d(X, p["W1"], p["b1"], padding="same"))
            h = functional.max_pool2d(h, 2).flatten(1) @ p["W2"] + p["b2"]
            scores = functional.linear(h.relu(), p["W3"].T, p["b3"])
            if y is None:
                return scores.detach()
            loss = functional.cross_entropy(scores, y)
            loss = loss + sum(0.5 * self.reg * (w * w).sum() for name, w in p.items() if name[0] == "W")
            loss.backward()
        return [loss.detach(), {name: w.grad for name, w in p.items()}]


class _ByFormula(_Net):
    """Softmax, affine layers and ReLUs written out; a float for the loss."""

    def loss(self, X, y=None):
        p = self.params
        maps, conv = conv_forward(X, p["W1"], p["b1"], {"pad": p["W1"].shape[-1] // 2})
        pooled, pool = max_pool_forward(maps.clamp(min=0), _POOL)
        flat = pooled.reshape(X.shape[0], -1)
        hidden = torch.einsum("nd,dm->nm", flat, p["W2"]) + p["b2"]
        active = hidden.clamp(min=0)
        scores = active.mm(p["W3"]).add(p["b3"])
        if y is None:
            return scores
        shifted = scores - scores.max(1, keepdim=True).values
        log_p = shifted - shifted.exp().sum(1, keepdim=True).log()
        d = (log_p.exp() - functional.one_hot(y, scores.shape[1])) / len(X)
        dhidden = (d @ p["W3"].T) * (hidden > 0)
        dmaps = max_pool_backward((dhidden @ p["W2"].T).view_as(pooled), pool) * (maps > 0)
        _, dW1, db1 = conv_backward(dmaps, conv)
        grads = {"W1": dW1, "b1": db1, "W2": flat.T @ dhidden, "b2": dhidden.sum(0), "W3": active.T @ d, "b3": d.sum(0)}
        loss, grads = self.penalised(-log_p[range(len(y)), y].mean(), grads)
        return float(loss), grads


class _Small(_Net):
    def size(self, fan_in):
        return 0.01


class _Xavier(_Net):
    def size(self, fan_in):
        return math.sqrt(1 / fan_in)


class _LargeLast(_Net):
    last = 0.1


class _IgnoresSeed(_Net):
    one_seed = 3


class _RoundsUp(_Net):
    def inputs(self, F, H, W):
        return F * -(-H // 2) * -(-W // 2)


class _Unpadded(_Net):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pad = 0


class _PaddedByOne(_Net):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.pad = 1


class _FirstWeightsForEver(_Net):
    """Computes with the weights that it was built with."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.own = dict(self.params)

    def scores(self, X):
        given, self.params = self.params, self.own
        try:
            return super().scores(X)
        finally:
            self.params = given


class _NoGradientOfBiases(_Net):
    def back(self, dscores, caches):
        return {name: value for name, value in super().back(dscores, caches).items() if name[0] == "W"}


class _SkipsInnerGate(_Net):
    def back(self, dscores, caches):
        conv, pool, gate, first, _, second = caches
        ones = relu_forward(torch.ones_like(affine_backward(dscores, second)[0]))[1]
        return super().back(dscores, (conv, pool, gate, first, ones, second))


class _StartsFromScores(_Net):
    def back(self, dscores, caches):
        return super().back(dscores * dscores.numel(), caches)


class _ChangesWeights(_Net):
    def loss(self, X, y=None):
        result = super().loss(X, y)
        for name in self.params:
            self.params[name] = 0.9 * self.params[name]
        return result


class _RegularisesInPlace(_Net):
    """Adds the gradient of the regulariser to the weights."""

    def penalised(self, loss, grads):
        for name in ("W1", "W2", "W3"):
            loss = loss + self.reg / 2 * self.params[name].norm() ** 2
            self.params[name] = self.params[name] + self.reg * grads[name]
        return loss, grads


class _BiasesOfOne(_Net):
    def add(self, number, shape, std, dtype):
        super().add(number, shape, std, dtype)
        self.params["b" + number] += 1


class _Float64(_Net):
    def loss(self, X, y=None):
        result = super().loss(X, y)
        return result.double() if y is None else result


three_layer_convnet = Hidden(
    cases=[
        net_case("one image", (1, 3, 6, 4), (4, 3), 5, 3, reg=0.2, y=given([2], dtype=torch.int64)),
        net_case("one channel, one filter", (3, 1, 6, 6), (1, 3), 4, 3, reg=0.1),
        net_case("filters of 1×1", (3, 3, 4, 6), (5, 1), 4, 6, reg=0.1),
        net_case("filters of 7×7", (2, 2, 9, 8), (2, 7), 5, 3, reg=0.1),
        net_case("odd height and width", (3, 2, 7, 5), (3, 3), 6, 4, reg=0.5),
        net_case("high", (2, 2, 11, 3), (3, 3), 4, 5, reg=0.1),
        net_case("wide", (2, 2, 2, 13), (3, 5), 4, 5, reg=0.1),
        net_case("one hidden unit", (4, 2, 4, 4), (3, 3), 1, 3, reg=0.1),
        net_case("one class", (3, 2, 4, 6), (2, 3), 3, 1, reg=0.3),
        net_case("filters larger than the images", (2, 2, 3, 4), (3, 7), 4, 3, reg=0.1),
        net_case("reg 1e4", (2, 2, 4, 6), (3, 3), 4, 3, reg=1e4),
        net_case("scores of 1e5", (3, 2, 4, 6), (3, 3), 4, 3, x_std=1e4, std=1.0),
        net_case("weights of 0", (3, 2, 4, 6), (3, 3), 4, 3, std=0.0, reg=0.1),
        net_case("images of 0", (3, 2, 4, 6), (3, 3), 4, 3, x_std=0.0, reg=0.1),
        net_case("float32", (4, 3, 6, 8), (4, 3), 6, 5, reg=0.1).float32(),
        net_case("non-contiguous", (4, 3, 6, 8), (4, 3), 6, 5, reg=0.1).strided(),
    ],
    mistakes=[
        Mistake(
            "leaves the last layer out of the regulariser",
            making(penalized=("W1", "W2")),
            hint="there are three tensors of weights",
        ),
        Mistake(
            "leaves the hidden layer out of the regulariser",
            making(penalized=("W1", "W3")),
            hint="there are three tensors of weights",
        ),
        Mistake("takes the root of the sum of squares", making(root=True), hint="squares are added and no root taken"),
        Mistake(
            "divides the regulariser by the number of images",
            making(per_image=True),
            hint="softmax_loss is a mean over the images already; the regulariser is added as it is",
        ),
    ],
    mutants={
        "first weights of 0.01 throughout": _Small,
        "first weights without the factor 2": _Xavier,
        "the last weights ten times too large": _LargeLast,
        "ignores the seed": _IgnoresSeed,
        "biases start at 1": _BiasesOfOne,
        "rounds odd sizes up": _RoundsUp,
        "does not pad": _Unpadded,
        "pads by 1 whatever the filters": _PaddedByOne,
        "ignores the weights in params": _FirstWeightsForEver,
        "no gradients of biases": _NoGradientOfBiases,
        "goes back past the inner ReLU": _SkipsInnerGate,
        "goes back from a gradient that is not averaged": _StartsFromScores,
        "changes its weights": _ChangesWeights,
        "regularises in place": _RegularisesInPlace,
        "scores in float64": _Float64,
    },
    solutions={
        "layer by layer, pooling before ReLU": _Net,
        "autograd, a list": _ByAutograd,
        "by formula, a float": _ByFormula,
    },
    equivalent={
        "ThreeLayerConvNet.__init__: torch.Generator(device=device) -> torch.Generator()": NEEDS_GPU,
        "ThreeLayerConvNet.__init__: 0.01 * torch.randn(hidden_dim, num_classes, generator=generator, **place) -> "
        "-0.01 * torch.randn(hidden_dim, num_classes, generator=generator, **place)": SYMMETRIC,
        "ThreeLayerConvNet.loss: W1.shape[2] -> W1.shape[3]": _SQUARE,
        "ThreeLayerConvNet.loss: W1.shape[2] -> W1.shape[-2]": _SQUARE,
    },
)
