"""The network, with layers one by one or by autograd, and nets that are wrong in one thing each."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden, Mistake, given, normal
from dlcvkit.exercises.a2.fully_connected_nets.nets import ALL, making, net_case
from dlcvkit.exercises.a2.fully_connected_nets.pictures import one_hot
from dlcvkit.layers import affine_backward, affine_forward, layer, relu_backward, relu_forward, softmax_loss

from .dropping import by_bernoulli_backward, by_bernoulli_forward, by_loop_forward
from .weights import make_params

_norm_forward, _norm_backward = layer(lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta))


class _Net:
    """Layers one by one, caches in lists; subclasses are wrong in one thing each."""

    dropout_forward, dropout_backward = staticmethod(by_bernoulli_forward), staticmethod(by_bernoulli_backward)

    def __init__(
        self,
        input_dim,
        hidden_dims,
        num_classes,
        *,
        dropout=0.0,
        normalization=None,
        reg=0.0,
        weight_scale=None,
        seed=0,
        device="cpu",
    ):
        self.dropout, self.normalization, self.reg, self.depth = dropout, normalization, reg, len(hidden_dims)
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.params = make_params(input_dim, hidden_dims, num_classes, normalization, weight_scale, self.generator)

    def drops(self, number, is_training):
        return is_training and self.dropout > 0

    def forward(self, X, is_training):
        caches, h = [], X
        for number in range(1, self.depth + 1):
            h, affine = affine_forward(h, self.params[f"W{number}"], self.params[f"b{number}"])
            norm = dropped = None
            if self.normalization is not None:
                h, norm = _norm_forward(h, self.params[f"gamma{number}"], self.params[f"beta{number}"])
            h, relu = relu_forward(h)
            if self.drops(number, is_training):
                h, dropped = self.dropout_forward(h, self.dropout, True, self.generator)
            caches.append((affine, norm, relu, dropped))
        scores, last = affine_forward(h, self.params[f"W{self.depth + 1}"], self.params[f"b{self.depth + 1}"])
        return scores, (caches, last)

    def backward(self, dscores, caches):
        gradients = {}
        dh, gradients[f"W{self.depth + 1}"], gradients[f"b{self.depth + 1}"] = affine_backward(dscores, caches[1])
        for number in range(self.depth, 0, -1):
            affine, norm, relu, dropped = caches[0][number - 1]
            if dropped is not None:
                dh = self.dropout_backward(dh, dropped)
            dh = relu_backward(dh, relu)
            if norm is not None:
                dh, gradients[f"gamma{number}"], gradients[f"beta{number}"] = _norm_backward(dh, norm)
            dh, gradients[f"W{number}"], gradients[f"b{number}"] = affine_backward(dh, affine)
        return gradients

    def loss(self, X, y=None):
        scores, caches = self.forward(X, y is not None)
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        gradients = self.backward(dscores, caches)
        for name, value in self.params.items():
            if name.startswith("W"):
                loss = loss + 0.5 * self.reg * value.square().sum()
                gradients[name] = gradients[name] + self.reg * value
        return loss, gradients


class _ByFormula(_Net):
    """Everything written out, without the kit's layers; a float for the loss."""

    def loss(self, X, y=None):
        scores, caches = super().forward(X.reshape(len(X), -1), y is not None)
        if y is None:
            return scores
        target = torch.eye(scores.shape[1], dtype=X.dtype, device=X.device)[y] if y.dim() == 1 else y
        shifted = scores - scores.max(dim=1, keepdim=True).values
        log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
        gradients = self.backward((log_p.exp() * target.sum(1, keepdim=True) - target) / len(X), caches)
        penalty = 0.0
        for number in range(1, self.depth + 2):
            W = self.params[f"W{number}"]
            penalty += (W.flatten() @ W.flatten()).item() / 2
            gradients[f"W{number}"].add_(W, alpha=self.reg)
        return -(target * log_p).sum(dim=1).mean().item() + self.reg * penalty, gradients


class _ByAutograd(_Net):
    """The forward pass written out, and autograd for the rest: this class may."""

    def scores(self, params, X, is_training):
        h = X.flatten(1)
        for number in range(1, self.depth + 1):
            h = h @ params[f"W{number}"] + params[f"b{number}"]
            if self.normalization == "layer":
                centred = h - h.mean(1, keepdim=True)
                h = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
                h = h * params[f"gamma{number}"] + params[f"beta{number}"]
            h = h.clamp(min=0)
            if is_training:
                h = h * self.dropout_forward(torch.ones_like(h), self.dropout, True, self.generator)[0]
        return h @ params[f"W{self.depth + 1}"] + params[f"b{self.depth + 1}"]

    def loss(self, X, y=None):
        if y is None:
            return self.scores(self.params, X, False)
        params = {name: value.detach().clone().requires_grad_() for name, value in self.params.items()}
        with torch.enable_grad():
            loss = functional.cross_entropy(self.scores(params, X, True), y)
            for number in range(self.depth + 1, 0, -1):
                loss = loss + self.reg / 2 * params[f"W{number}"].norm() ** 2
            loss.backward()
        return loss.detach(), {name: value.grad for name, value in params.items()}


class _DropsInput(_Net):
    def forward(self, X, is_training):
        if self.drops(0, is_training):
            X = self.dropout_forward(X, self.dropout, True, self.generator)[0]
        return super().forward(X, is_training)


class _DropsLastHiddenOnly(_Net):
    def drops(self, number, is_training):
        return super().drops(number, is_training) and number == self.depth


class _DropsAllButLastHidden(_Net):
    def drops(self, number, is_training):
        return super().drops(number, is_training) and (number < self.depth or self.depth == 1)


class _DropsAlways(_Net):
    def drops(self, number, is_training):
        return self.dropout > 0


class _ReseedsMasks(_Net):
    def forward(self, X, is_training):
        self.generator.manual_seed(1)
        return super().forward(X, is_training)


class _SharesOneGlobalMask(_Net):
    dropout_forward = staticmethod(
        lambda x, p, is_training, generator: by_loop_forward(x, 1 - p if p < 0.9 else p, True, generator)
    )
    dropout_backward = staticmethod(lambda dout, cache: dout * cache)


class _SwapsGammaAndBeta(_Net):
    def backward(self, dscores, caches):
        gradients = super().backward(dscores, caches)
        for number in range(1, self.depth + 1) if self.normalization else ():
            gamma, beta = f"gamma{number}", f"beta{number}"
            gradients[gamma], gradients[beta] = gradients[beta], gradients[gamma]
        return gradients


class _LeavesBiasesOut(_Net):
    def backward(self, dscores, caches):
        return {name: value for name, value in super().backward(dscores, caches).items() if not name.startswith("b")}


class _ForgetsRelu(_Net):
    def backward(self, dscores, caches):
        opened = [
            (affine, norm, relu_forward(torch.ones_like(relu[0]))[1], dropped)
            for affine, norm, relu, dropped in caches[0]
        ]
        return super().backward(dscores, (opened, caches[1]))


class _SharesPenalty(_Net):
    """Divides the penalty by the number of layers."""

    def loss(self, X, y=None):
        self.reg, kept = self.reg / (self.depth + 1), self.reg
        result = super().loss(X, y)
        self.reg = kept
        return result


class _ChangesWeights(_Net):
    def loss(self, X, y=None):
        result = super().loss(X, y)
        for value in self.params.values():
            value *= 0.5
        return result


class _TrainsWithoutLabelsOnly(_Net):
    def forward(self, X, is_training):
        return super().forward(X, not is_training)


_NOTHING_TO_DROP = "dropout with p = 0 passes everything through"
_EQUALLY_MANY = "there are as many gradients as names"

fully_connected_net = Hidden(
    cases=[
        net_case("no hidden layer", 6, [5], 3, reg=0.5),
        net_case("four hidden layers", 5, [7, 6, 5, 8, 4], 3, reg=0.05),
        net_case("four hidden layers, layer norm", 4, [6, 5, 7, 6, 8], 5, normalization="layer", reg=0.2),
        net_case("reg = 50", 7, [4, 6, 5], 4, reg=50.0),
        net_case("one image", 1, [9, 6], 4, reg=0.1, y=given([2], dtype=torch.int64)),
        net_case("one class", 3, [4, 5], 1, reg=0.3),
        net_case("one feature, one unit", 5, [1, 1], 2),
        net_case("one unit, layer norm", 4, [3, 1, 2], 3, normalization="layer"),
        net_case("images", 4, [36, 6, 7], 3, X=normal(4, 3, 4, 3), reg=0.1),
        net_case("labels that are distributions", 6, [5, 8], 4, y=one_hot(6, 4), reg=0.2),
        net_case("scores of 1e4", 5, [4, 8], 3, X=normal(5, 4, std=2e3), std=2.0),
        net_case("weights of 0", 5, [4, 6], 3, std=0.0),
        net_case("equal hidden sizes", 4, [6, 6, 6, 6], 6, reg=0.1),
        net_case("everything dropped, layer norm", 5, [6, 7, 6], 4, dropout=ALL, normalization="layer", reg=0.3),
        net_case("layer norm, watched", 4, [5, 6], 3, normalization="layer", watched=0.7),
        net_case("watched", 4, [5, 6], 3, watched=0.2),
        net_case("float32", 6, [8, 7, 9], 4, normalization="layer", reg=0.1).float32(),
        net_case("non-contiguous", 6, [8, 7, 9], 4, normalization="layer", reg=0.1, watched=0.5).strided(),
    ],
    mistakes=[
        Mistake("takes the root of the penalty", making(root=True), hint="the penalty is a sum of squares"),
        Mistake("leaves the normalisation out", making(without_norm=True), hint="look at what normalization asks for"),
        Mistake("normalises scores too", making(norm_at_end=True), hint="the last layer is affine and nothing else"),
        Mistake(
            "adds the bias of the first layer alone",
            making(biases_of_first_only=True),
            hint="every affine layer has its bias",
        ),
    ],
    mutants={
        "drops input": _DropsInput,
        "drops in the last hidden layer alone": _DropsLastHiddenOnly,
        "drops in all hidden layers but the last": _DropsAllButLastHidden,
        "drops when it is used": _DropsAlways,
        "the same masks at every call": _ReseedsMasks,
        "keeps with probability p": _SharesOneGlobalMask,
        "swaps the gradients of gamma and beta": _SwapsGammaAndBeta,
        "no gradients for biases": _LeavesBiasesOut,
        "goes back without ReLU": _ForgetsRelu,
        "divides the penalty by the number of layers": _SharesPenalty,
        "changes its weights": _ChangesWeights,
        "drops when it is used and not in training": _TrainsWithoutLabelsOnly,
    },
    solutions={
        "layer by layer, caches in tuples": _Net,
        "the loss by formula, a float": _ByFormula,
        "autograd": _ByAutograd,
    },
    equivalent={
        "FullyConnectedNet.forward: if self.dropout > 0: -> if True:": _NOTHING_TO_DROP,
        "FullyConnectedNet.forward: self.dropout > 0 -> self.dropout >= 0": _NOTHING_TO_DROP,
        "FullyConnectedNet.forward: self.dropout > 0 -> self.dropout > -1": _NOTHING_TO_DROP,
        "FullyConnectedNet.loss: zip(names, found, strict=True) -> zip(names, found)": _EQUALLY_MANY,
        "FullyConnectedNet.loss: zip(names, found, strict=True) -> zip(names, found, strict=False)": _EQUALLY_MANY,
    },
)
