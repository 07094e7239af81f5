"""The net from a plan."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden, Mistake, given
from dlcvkit.exercises.a3.convnets.deep import deep_case, making
from dlcvkit.layers import (
    affine_backward,
    affine_forward,
    conv_backward,
    conv_forward,
    layer,
    max_pool_backward,
    max_pool_forward,
    relu_backward,
    relu_forward,
    softmax_loss,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)

from .shallow import NEEDS_GPU, SYMMETRIC

_POOL = {"height": 2, "width": 2, "stride": 2}
_bare_conv_forward, _bare_conv_backward = layer(lambda x, w: functional.conv2d(x, w, padding=1))


class _Net:
    """Block by block, with caches by number; subclasses are wrong in one thing each."""

    last = 0.01

    def __init__(self, input_shape, plan, num_classes, *, reg=0.0, seed=0, device="cpu", dtype=torch.float32):
        self.reg, self.plan = reg, plan
        self.filters = [step for step in plan if step != "pool"]
        generator = torch.Generator(device=device).manual_seed(seed)
        self.params, self.state = {}, {}
        C, H, W = input_shape
        pools = len(plan) - len(self.filters)
        for _ in range(pools):
            H, W = self.half(H), self.half(W)
        place = {"device": device, "dtype": dtype}
        for number, (inputs, F) in enumerate(zip([C, *self.filters], self.filters, strict=False), 1):
            self.params[f"W{number}"] = self.size(9 * inputs, F) * torch.randn(
                F, inputs, 3, 3, generator=generator, **place
            )
            self.params |= {f"gamma{number}": torch.ones(F, **place), f"beta{number}": torch.zeros(F, **place)}
            self.state |= {f"mean{number}": torch.zeros(F, **place), f"var{number}": torch.ones(F, **place)}
        self.n = len(self.filters)
        D = [C, *self.filters][-1] * H * W
        self.params[f"W{self.n + 1}"] = self.last * torch.randn(D, num_classes, generator=generator, **place)
        self.params[f"b{self.n + 1}"] = torch.zeros(num_classes, **place)

    def half(self, size):
        return size // 2

    def size(self, fan_in, filters):
        return math.sqrt(2 / fan_in)

    def normalise(self, h, number, is_training):
        p, s = self.params, self.state
        out, mean, var, cache = spatial_batchnorm_forward(
            h, p[f"gamma{number}"], p[f"beta{number}"], s[f"mean{number}"], s[f"var{number}"], is_training
        )
        if is_training:
            s[f"mean{number}"], s[f"var{number}"] = mean, var
        return out, cache

    def forward(self, X, is_training):
        h, number, blocks = X, 0, []
        for step in self.plan:
            if step == "pool":
                h, cache = max_pool_forward(h, _POOL)
                blocks.append(("pool", 0, cache))
                continue
            number += 1
            h, conv = _bare_conv_forward(h, self.params[f"W{number}"])
            h, norm = self.normalise(h, number, is_training)
            h, gate = relu_forward(h)
            blocks.append(("conv", number, (conv, norm, gate)))
        scores, cache = affine_forward(h, self.params[f"W{number + 1}"], self.params[f"b{number + 1}"])
        return scores, (blocks, cache)

    def backward(self, dscores, caches):
        blocks, cache = caches
        grads = {}
        d, grads[f"W{self.n + 1}"], grads[f"b{self.n + 1}"] = affine_backward(dscores, cache)
        for kind, number, cache in blocks[::-1]:
            if kind == "pool":
                d = max_pool_backward(d, cache)
                continue
            conv, norm, gate = cache
            d, grads[f"gamma{number}"], grads[f"beta{number}"] = spatial_batchnorm_backward(
                relu_backward(d, gate), norm
            )
            d, grads[f"W{number}"] = _bare_conv_backward(d, conv)
        return grads

    def loss(self, X, y=None):
        scores, caches = self.forward(X, y is not None)
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        grads = self.backward(dscores, caches)
        for number in range(1, self.n + 2):
            W = self.params[f"W{number}"]
            loss = loss + 0.5 * self.reg * W.square().sum()
            grads[f"W{number}"] = grads[f"W{number}"] + self.reg * W
        return loss, grads


class _Recursive(_Net):
    """One step of the plan, then the rest of it; statistics are updated in place."""

    def loss(self, X, y=None):
        self.grads = {}
        result, _ = self.go(X, list(self.plan), 1, y)
        if y is None:
            return result
        for name in self.params:
            if name[0] == "W":
                result = result + self.reg * (self.params[name] * self.params[name]).sum() / 2
                self.grads[name] = self.grads[name] + self.reg * self.params[name]
        return float(result), self.grads

    def go(self, x, plan, number, y):
        if not plan:
            scores, cache = affine_forward(x, self.params[f"W{number}"], self.params[f"b{number}"])
            if y is None:
                return scores, None
            loss, d = softmax_loss(scores, y)
            d, self.grads[f"W{number}"], self.grads[f"b{number}"] = affine_backward(d, cache)
            return loss, d
        if plan[0] == "pool":
            out, cache = max_pool_forward(x, _POOL)
            result, d = self.go(out, plan[1:], number, y)
            return result, None if y is None else max_pool_backward(d, cache)
        W = self.params[f"W{number}"]
        maps, conv = conv_forward(x, W, W.new_zeros(len(W)), {"pad": 1})
        mean, var = self.state[f"mean{number}"], self.state[f"var{number}"]
        gamma, beta = self.params[f"gamma{number}"], self.params[f"beta{number}"]
        out, new_mean, new_var, norm = spatial_batchnorm_forward(maps, gamma, beta, mean, var, y is not None)
        mean.copy_(new_mean)
        var.copy_(new_var)
        result, d = self.go(out.clamp(min=0), plan[1:], number + 1, y)
        if y is None:
            return result, None
        d, self.grads[f"gamma{number}"], self.grads[f"beta{number}"] = spatial_batchnorm_backward(d * (out > 0), norm)
        d, self.grads[f"W{number}"], _ = conv_backward(d, conv)
        return result, d


class _ByAutograd(_Net):
    """Everything by torch, statistics with its momentum and corrected variance."""

    def run(self, p, X, is_training):
        h, number = X, 0
        for step in self.plan:
            if step == "pool":
                h = functional.max_pool2d(h, 2)
                continue
            number += 1
            h = functional.conv2d(h, p[f"W{number}"], stride=1, padding=1)
            mean, var = f"mean{number}", f"var{number}"
            weights = p[f"gamma{number}"], p[f"beta{number}"]
            if not is_training:
                h = functional.batch_norm(h, self.state[mean], self.state[var], *weights)
            else:
                m, v = h.detach().mean((0, 2, 3)), h.detach().var((0, 2, 3), correction=0)
                self.state[mean] = self.state[mean] + 0.1 * (m - self.state[mean])
                self.state[var] = self.state[var] + 0.1 * (v - self.state[var])
                h = functional.batch_norm(h, None, None, *weights, training=True)
            h = h.relu()
        return h.flatten(1) @ p[f"W{number + 1}"] + p[f"b{number + 1}"]

    def loss(self, X, y=None):
        if y is None:
            return self.run(self.params, X, False)
        p = {name: value.detach().clone().requires_grad_() for name, value in self.params.items()}
        with torch.enable_grad():
            loss = functional.cross_entropy(self.run(p, X, True), y)
            for name in p:
                loss = loss + (0.5 * self.reg * p[name].pow(2).sum() if name.startswith("W") else 0)
            loss.backward()
        return loss.detach(), {name: value.grad for name, value in p.items()}


class _TorchVariance(_Net):
    def normalise(self, h, number, is_training):
        name = f"var{number}"
        old = self.state[name]
        result = super().normalise(h, number, is_training)
        if is_training:
            count = h.numel() / h.shape[1]
            self.state[name] = 0.9 * old + (self.state[name] - 0.9 * old) * count / (count - 1)
        return result


class _OldStatistics(_Net):
    """Puts the batch's statistics in the place of the running ones."""

    def normalise(self, h, number, is_training):
        result = super().normalise(h, number, is_training)
        if is_training:
            var, mean = torch.var_mean(h, dim=(0, 2, 3), correction=0)
            self.state[f"mean{number}"], self.state[f"var{number}"] = mean, var
        return result


class _SwapsStatistics(_Net):
    def normalise(self, h, number, is_training):
        result = super().normalise(h, number, is_training)
        if is_training:
            mean, var = f"mean{number}", f"var{number}"
            self.state[mean], self.state[var] = self.state[var], self.state[mean]
        return result


class _LastLayerOnly(_Net):
    """Keeps the statistics of the last batch norm alone."""

    def normalise(self, h, number, is_training):
        before = dict(self.state)
        result = super().normalise(h, number, is_training)
        if number < self.n:
            self.state.update(before)
        return result


class _PadsPools(_Net):
    def half(self, size):
        return -(-size // 2)


class _TooSmall(_Net):
    def size(self, fan_in, filters):
        return 0.01


class _CountsOutputs(_Net):
    def size(self, fan_in, filters):
        return math.sqrt(2 / (9 * filters))


class _LargeLast(_Net):
    last = 0.1


class _GammaOfZero(_Net):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.params |= {name: 0 * value for name, value in self.params.items() if name[:2] == "ga"}


class _VarOfZero(_Net):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.state |= {name: 0 * value for name, value in self.state.items()}


class _HasBias(_Net):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.params |= {f"b{number}": torch.zeros(F) for number, F in enumerate(self.filters, 1)}


class _WithBiasGradients(_Net):
    def backward(self, dscores, caches):
        grads = super().backward(dscores, caches)
        return grads | {f"b{number}": torch.zeros(F) for number, F in enumerate(self.filters, 1)}


class _SwapsGammaAndBeta(_Net):
    def backward(self, dscores, caches):
        grads = super().backward(dscores, caches)
        for number in range(1, self.n + 1):
            gamma, beta = f"gamma{number}", f"beta{number}"
            grads[gamma], grads[beta] = grads[beta], grads[gamma]
        return grads


class _ForgetsGates(_Net):
    def backward(self, dscores, caches):
        opened = [
            (kind, number, (*cache[:2], relu_forward(torch.ones_like(cache[2][0]))[1]) if kind == "conv" else cache)
            for kind, number, cache in caches[0]
        ]
        return super().backward(dscores, (opened, caches[1]))


class _FirstLayerOnly(_Net):
    """Regularises the first and the last weights alone."""

    def loss(self, X, y=None):
        result = super().loss(X, y)
        if y is None:
            return result
        loss, grads = result
        for number in range(2, self.n + 1):
            W = self.params[f"W{number}"]
            loss, grads[f"W{number}"] = loss - 0.5 * self.reg * W.square().sum(), grads[f"W{number}"] - self.reg * W
        return loss, grads


class _ChangesWeights(_Net):
    def loss(self, X, y=None):
        result = super().loss(X, y)
        for value in self.params.values():
            value *= 0.5
        return result


class _AlwaysTraining(_Net):
    def forward(self, X, is_training):
        return super().forward(X, True)


class _NeverTraining(_Net):
    def forward(self, X, is_training):
        return super().forward(X, False)


class _PoolsAtTheEnd(_Net):
    """Does all the convolutions first."""

    def forward(self, X, is_training):
        plan, self.plan = self.plan, [*self.filters, *["pool"] * (len(self.plan) - len(self.filters))]
        try:
            return super().forward(X, is_training)
        finally:
            self.plan = plan


deep_convnet = Hidden(
    cases=[
        deep_case("no step at all", (4, 2, 3, 4), [], 3, reg=0.2),
        deep_case("pools alone", (3, 2, 7, 5), ["pool", "pool"], 3, reg=0.1),
        deep_case("a pool first", (3, 2, 6, 8), ["pool", 4], 3, reg=0.1),
        deep_case("two pools in a row", (3, 2, 9, 8), [4, "pool", "pool", 3], 5, reg=0.1),
        deep_case("odd sizes", (2, 3, 11, 7), [3, "pool", 4, "pool", 5], 4, reg=0.3),
        deep_case("five convolutions", (3, 2, 5, 6), [3, 4, "pool", 5, 3, 4], 3, reg=0.1),
        deep_case("equal sizes", (3, 4, 4, 4), [4, 4, "pool", 4], 4, reg=0.1),
        deep_case("one image", (1, 3, 6, 4), [4, "pool", 3], 3, reg=0.2, y=given([1], dtype=torch.int64)),
        deep_case("one channel, one filter", (4, 1, 5, 4), [1, "pool", 1], 3, reg=0.1),
        deep_case("one class", (3, 2, 4, 5), [3, "pool"], 1, reg=0.1),
        deep_case("reg 1e4", (2, 2, 4, 6), [3, "pool", 2], 3, reg=1e4),
        deep_case("images of 1e5", (3, 2, 4, 6), [3, "pool", 4], 3, x_std=1e5),
        deep_case("weights of 0", (3, 2, 4, 6), [3, "pool"], 3, std=0.0, reg=0.1),
        deep_case("float32", (4, 3, 6, 8), [4, "pool", 5], 3, reg=0.1).float32(),
        deep_case("non-contiguous", (4, 3, 6, 8), [4, "pool", 5], 3, reg=0.1).strided(),
    ],
    mistakes=[
        Mistake(
            "keeps the unbiased variance",
            making(correction=1),
            hint="the running variance is made from the biased one: take what spatial_batchnorm_forward returns",
        ),
    ],
    mutants={
        "torch's running variance": _TorchVariance,
        "the batch's statistics in place of the running ones": _OldStatistics,
        "swaps running mean and variance": _SwapsStatistics,
        "keeps the statistics of the last layer alone": _LastLayerOnly,
        "rounds odd sizes up": _PadsPools,
        "first weights of 0.01 throughout": _TooSmall,
        "counts outputs": _CountsOutputs,
        "the last weights ten times too large": _LargeLast,
        "gamma starts at 0": _GammaOfZero,
        "running variance starts at 0": _VarOfZero,
        "convolutions with biases": _HasBias,
        "gradients of biases that are not there": _WithBiasGradients,
        "swaps the gradients of gamma and beta": _SwapsGammaAndBeta,
        "goes back without ReLU": _ForgetsGates,
        "regularises the first and the last weights": _FirstLayerOnly,
        "changes its weights": _ChangesWeights,
        "always in training": _AlwaysTraining,
        "never in training": _NeverTraining,
        "pools at the end": _PoolsAtTheEnd,
    },
    solutions={
        "block by block": _Net,
        "recursion, statistics in place, a float": _Recursive,
        "autograd": _ByAutograd,
    },
    equivalent={
        "DeepConvNet.__init__: torch.Generator(device=device) -> torch.Generator()": NEEDS_GPU,
        "DeepConvNet.__init__: 0.01 * torch.randn(C * H * W, num_classes, generator=generator, **place) -> "
        "-0.01 * torch.randn(C * H * W, num_classes, generator=generator, **place)": SYMMETRIC,
        "DeepConvNet.loss: names[1] -> names[-1]": "there are two names",
    },
)
