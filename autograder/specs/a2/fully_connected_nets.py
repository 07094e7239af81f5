"""Hidden cases, mutants and other solutions for solutions/a2/fully_connected_nets.py."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, Mistake, given, normal
from dlcvkit.exercises.a2.fully_connected_nets.nets import ALL, making, net_case
from dlcvkit.exercises.a2.fully_connected_nets.norms import limiting
from dlcvkit.exercises.a2.fully_connected_nets.pictures import one_hot
from dlcvkit.exercises.a2.fully_connected_nets.voting import averaging, following
from dlcvkit.layers import affine_backward, affine_forward, layer, relu_backward, relu_forward, softmax_loss


def _keep(x, p, generator):
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p


def _dropping(
    *,
    scale=lambda p: 1 / (1 - p),
    mask=_keep,
    used=lambda x, p: x,
    back=lambda dout, kept, scale: dout * kept * scale,
    inverted_back=False,
    remembers_last=False,
    in_place=False,
    training_alone=True,
    first=None,
):
    """Return dropout_forward and dropout_backward with parts replaced."""
    last = {}

    def forward(x, p, is_training, generator):
        if training_alone and not is_training:
            return used(x, p), (torch.ones_like(x), 1.0)
        kept = mask(x, p, generator).to(x.dtype)
        last["cache"] = (kept, scale(p))
        if in_place:
            x *= kept * scale(p)
            return x, last["cache"]
        return x * kept * scale(p), last["cache"]

    def backward(dout, cache):
        return back(dout, *(last["cache"] if remembers_last and last else cache))

    return forward, backward


def _row_mask(x, p, generator):
    shape = (x.shape[0], *[1] * (x.dim() - 1))
    return (torch.rand(shape, generator=generator, dtype=x.dtype, device=x.device) >= p).expand(x.shape)


def _column_mask(x, p, generator):
    return (torch.rand(x.shape[1:], generator=generator, dtype=x.dtype, device=x.device) >= p).expand(x.shape)


def _exact_count(x, p, generator):
    order = torch.randperm(x.numel(), generator=generator, device=x.device)
    return (order >= round(p * x.numel())).reshape(x.shape)


def _in_pairs(x, p, generator):
    half = (-(-x.shape[-1] // 2),)
    kept = torch.rand(x.shape[:-1] + half, generator=generator, dtype=x.dtype, device=x.device) >= p
    return kept.repeat_interleave(2, dim=-1)[..., : x.shape[-1]]


def _global_mask(x, p, generator):
    return torch.rand(x.shape, dtype=x.dtype, device=x.device) >= p


def _own_seed(x, p, generator):
    return _keep(x, p, torch.Generator(device=x.device).manual_seed(0))


def _reseeding(x, p, generator):
    return _keep(x, p, generator.manual_seed(generator.initial_seed()))


def _normal_mask(x, p, generator):
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p


def _by_bernoulli_forward(x, p, is_training, generator):
    if is_training:
        kept = torch.empty_like(x, memory_format=torch.contiguous_format).bernoulli_(1 - p, generator=generator).bool()
        return torch.where(kept, x / (1 - p), torch.zeros_like(x)), {"kept": kept, "p": p, "training": True}
    return x.clone(), {"kept": None, "p": p, "training": False, "note": "nothing was dropped"}


def _by_bernoulli_backward(dout, cache):
    if not cache["training"]:
        return dout.clone()
    return (dout / (1 - cache["p"])).masked_fill(~cache["kept"], 0.0)


def _by_loop_forward(x, p, is_training, generator):
    factors = torch.ones_like(x)
    if is_training:
        uniform = torch.rand(x.numel(), generator=generator, device=x.device, dtype=torch.float64).tolist()
        factors = torch.tensor([0.0 if u < p else 1 / (1 - p) for u in uniform], dtype=x.dtype, device=x.device)
        factors = factors.reshape(x.shape)
    return factors * x, factors


def _by_loop_backward(dout, cache):
    return torch.stack([row * factor for row, factor in zip(dout, cache, strict=True)])


dropout = Hidden(
    cases=[
        Case("p = 0.1", x=normal(7, 9), p=0.1, seed=4, dout=normal(7, 9)),
        Case("p = 0.95", x=normal(9, 9), p=0.95, seed=5, dout=normal(9, 9)),
        Case("one entry", x=normal(1, 1), p=0.5, seed=6, dout=normal(1, 1)),
        Case("images", x=normal(2, 3, 4, 5), p=0.4, seed=7, dout=normal(2, 3, 4, 5)),
        Case("one axis", x=normal(23), p=0.2, seed=8, dout=normal(23)),
        Case("zeros in x", x=given([[0.0, 1.0, 0.0], [-2.0, 0.0, 3.0]]), p=0.3, seed=9, dout=normal(2, 3)),
        Case("entries of 1e6", x=normal(5, 4, std=1e6), p=0.6, seed=10, dout=normal(5, 4, std=1e6)),
        Case("float32", x=normal(6, 7), p=0.3, seed=11, dout=normal(6, 7)).float32(),
        Case("non-contiguous", x=normal(6, 7), p=0.3, seed=12, dout=normal(6, 7)).strided(),
    ],
    mutants={
        "divides by p": _dropping(scale=lambda p: 1 / max(p, 1e-9)),
        "never scales": _dropping(scale=lambda p: 1.0),
        "multiplies by the keep probability": _dropping(scale=lambda p: 1 - p),
        "scales when it is used instead": _dropping(scale=lambda p: 1.0, used=lambda x, p: x * (1 - p)),
        "p is the probability of keeping": _dropping(mask=lambda x, p, g: _keep(x, 1 - p, g)),
        "drops when it is used too": _dropping(training_alone=False),
        "never drops": _dropping(mask=lambda x, p, g: torch.ones_like(x), scale=lambda p: 1.0),
        "drops whole rows": _dropping(mask=_row_mask),
        "drops whole columns": _dropping(mask=_column_mask),
        "drops an exact count": _dropping(mask=_exact_count),
        "drops in pairs": _dropping(mask=_in_pairs),
        "draws without the generator": _dropping(mask=_global_mask),
        "makes a generator of its own": _dropping(mask=_own_seed),
        "seeds the generator anew": _dropping(mask=_reseeding),
        "draws normal numbers": _dropping(mask=_normal_mask),
        "goes back without the mask": _dropping(back=lambda dout, kept, scale: dout * scale),
        "goes back without the scale": _dropping(back=lambda dout, kept, scale: dout * kept),
        "goes back through what was dropped": _dropping(back=lambda dout, kept, scale: dout * (1 - kept) * scale),
        "goes back with the last mask": _dropping(remembers_last=True),
        "goes back as the identity": _dropping(back=lambda dout, kept, scale: dout),
        "changes x": _dropping(in_place=True),
        "returns float64": _dropping(
            mask=lambda x, p, g: _keep(x.double(), p, g),
            scale=lambda p: torch.tensor([1 / (1 - p)], dtype=torch.float64),
        ),
        "returns no cache": (lambda x, p, is_training, generator: x, lambda dout, cache: dout),
        "uses torch's dropout": (
            lambda x, p, is_training, generator: (functional.dropout(x, p, is_training), None),
            lambda dout, cache: dout,
        ),
    },
    solutions={
        "bernoulli_ and a dict": (_by_bernoulli_forward, _by_bernoulli_backward),
        "loops over entries and rows": (_by_loop_forward, _by_loop_backward),
    },
    equivalent={
        "dropout_forward: torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p -> "
        "torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) > p": "a uniform number equals p once "
        "in millions of draws",
        "dropout_forward: torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) -> "
        "torch.rand(x.shape, generator=generator, device=x.device)": "uniform numbers of float32 decide as well; out gets "
        "its dtype from x",
    },
)


def _params(
    input_dim,
    hidden_dims,
    num_classes,
    normalization,
    weight_scale,
    generator,
    *,
    std=lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    transposed=False,
    norm_at_end=False,
    always_norm=False,
    bias=0.0,
    gamma=1.0,
    from_zero=False,
    draw=torch.randn,
    one_generator_each=False,
    ignores_scale=False,
    dtype=torch.float32,
    named_for_all=False,
):
    """Build weights; each keyword switches a mistake on."""
    dims, params, device = [input_dim, *hidden_dims, num_classes], {}, generator.device
    for index in range(len(dims) - 1):
        number, (fan_in, fan_out) = index if from_zero else index + 1, dims[index : index + 2]
        source = torch.Generator(device=device).manual_seed(0) if one_generator_each else generator
        size = std(fan_in, fan_out) if weight_scale is None or ignores_scale else weight_scale
        shape = (fan_out, fan_in) if transposed else (fan_in, fan_out)
        params[f"W{number}"] = (size * draw(shape, generator=source, device=device)).to(dtype)
        params[f"b{number}"] = torch.full((fan_out,), bias, device=device, dtype=dtype)
        is_normed = normalization is not None or always_norm
        if is_normed and (norm_at_end or index < len(hidden_dims)):
            width = fan_in if named_for_all else fan_out
            params[f"gamma{number}"] = torch.full((width,), gamma, device=device, dtype=dtype)
            params[f"beta{number}"] = torch.zeros(width, device=device, dtype=dtype)
    return params


def _building(**mistakes):
    return lambda *arguments: _params(*arguments, **mistakes)


def _params_by_init(input_dim, hidden_dims, num_classes, normalization, weight_scale, generator):
    params, fan_in = {}, input_dim
    for number, fan_out in enumerate([*hidden_dims, num_classes], 1):
        W = torch.empty(fan_in, fan_out, device=generator.device)
        if weight_scale is None:
            torch.nn.init.kaiming_normal_(W, mode="fan_out", nonlinearity="relu", generator=generator)
        else:
            W.normal_(0, weight_scale, generator=generator)
        params |= {f"W{number}": W, f"b{number}": W.new_zeros(fan_out)}
        fan_in = fan_out
    for number, width in enumerate(hidden_dims, 1):
        if normalization:
            params[f"beta{number}"] = torch.zeros(width, device=generator.device)
            params[f"gamma{number}"] = torch.ones(width, device=generator.device)
    return params


def _params_backwards(input_dim, hidden_dims, num_classes, normalization, weight_scale, generator):
    """Box and Muller's normal numbers, the last layer first."""
    dims, params, home = [input_dim, *hidden_dims, num_classes], {}, {"device": generator.device}
    for number in range(len(dims) - 1, 0, -1):
        shape = dims[number - 1 : number + 1]
        u, v = torch.rand(2, *shape, generator=generator, dtype=torch.float64, **home)
        numbers = (-2 * (1 - u).log()).sqrt() * (2 * math.pi * v).cos()
        std = (2 / shape[0]) ** 0.5 if weight_scale is None else weight_scale
        params[f"W{number}"] = (std * numbers).float()
        params[f"b{number}"] = torch.zeros(shape[1], **home)
        if normalization is not None and number < len(dims) - 1:
            params[f"gamma{number}"], params[f"beta{number}"] = (
                torch.ones(shape[1], **home),
                torch.zeros(shape[1], **home),
            )
    return params


def _build_case(name, dims, normalization, weight_scale, seed):
    return Case(
        name,
        input_dim=dims[0],
        hidden_dims=dims[1:-1],
        num_classes=dims[-1],
        normalization=normalization,
        weight_scale=weight_scale,
        seed=seed,
        home=given([0.0]),
    )


build_params = Hidden(
    cases=[
        _build_case("no hidden layer", [60, 20], None, None, 3),
        _build_case("no hidden layer, layer norm", [50, 30], "layer", 0.1, 4),
        _build_case("four hidden layers", [30, 40, 20, 35, 25, 10], "layer", None, 5),
        _build_case("many inputs", [500, 8, 3], None, None, 6),
        _build_case("many units", [8, 500, 3], None, None, 7),
        _build_case("a large scale", [40, 40, 40], None, 3.0, 8),
        _build_case("one class", [70, 30, 1], "layer", None, 9),
    ],
    mutants={
        "Xavier's scale": _building(std=lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
        "one over the root of the inputs": _building(std=lambda fan_in, fan_out: math.sqrt(1 / fan_in)),
        "counts outputs instead of inputs": _building(std=lambda fan_in, fan_out: math.sqrt(2 / fan_out)),
        "variance instead of standard deviation": _building(std=lambda fan_in, fan_out: 2 / fan_in),
        "torch's orientation": _building(transposed=True),
        "normalises scores": _building(norm_at_end=True),
        "gamma and beta without normalisation": _building(always_norm=True),
        "gamma as wide as the inputs": _building(named_for_all=True),
        "biases of 0.01": _building(bias=0.01),
        "gamma starts at 0": _building(gamma=0.0),
        "counts layers from 0": _building(from_zero=True),
        "uniform numbers": _building(draw=torch.rand),
        "uniform numbers, centred": _building(
            draw=lambda shape, generator, device: (
                (torch.rand(shape, generator=generator, device=device) - 0.5) * math.sqrt(12)
            )
        ),
        "one seed for all layers": _building(one_generator_each=True),
        "ignores weight_scale": _building(ignores_scale=True),
        "float64": _building(dtype=torch.float64),
        "draws without the generator": _building(
            draw=lambda shape, generator, device: torch.randn(shape, device=device)
        ),
        "returns a list": lambda *arguments: list(_params(*arguments).values()),
        "starts at zero": _building(std=lambda fan_in, fan_out: 0.0),
    },
    solutions={
        "torch.nn.init": _params_by_init,
        "Box and Muller, from the end": _params_backwards,
    },
)

_norm_forward, _norm_backward = layer(lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta))


class _Net:
    """Layers one by one, caches in lists; subclasses are wrong in one thing each."""

    dropout_forward, dropout_backward = staticmethod(_by_bernoulli_forward), staticmethod(_by_bernoulli_backward)

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
        self.params = _params(input_dim, hidden_dims, num_classes, normalization, weight_scale, self.generator)

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
        lambda x, p, is_training, generator: _by_loop_forward(x, 1 - p if p < 0.9 else p, True, generator)
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


def _limit_by_loop(w, limit):
    for column in range(w.shape[1]):
        size = sum(float(entry) ** 2 for entry in w[:, column]) ** 0.5
        if size > limit:
            w[:, column] = w[:, column] * limit / size


def _limit_by_clamp(w, limit):
    norm = torch.linalg.norm(w, dim=0, keepdim=True)
    w.copy_(w * (limit / norm.clamp(min=limit)))


def _limit_rebinding(w, limit):
    w = w * (limit / w.norm(dim=0)).clamp(max=1)


def _limit_returning(w, limit):
    return w.mul_(limit / w.norm(dim=0).clamp(min=limit))


def _limit_copy(w, limit):
    return w * (limit / w.norm(dim=0).clamp(min=limit))


def _limit_memory(w, limit):
    """Take the storage of w for its entries."""
    flat = w.as_strided((w.untyped_storage().nbytes() // w.element_size(),), (1,))
    flat *= 0.5


def _limit_ready_made(w, limit):
    w.renorm_(2, 1, limit)


def _limit_nan(w, limit):
    norm = w.norm(dim=0)
    w.copy_(torch.where(norm > limit, w * limit / norm, w / norm * norm))


max_norm_ = Hidden(
    cases=[
        Case("one row", w=normal(1, 6, std=2.0), limit=1.0),
        Case("one column", w=normal(7, 1, std=2.0), limit=1.0),
        Case("square", w=normal(4, 4), limit=1.7),
        Case("all zeros", w=given([[0.0, 0.0], [0.0, 0.0]]), limit=1.0),
        Case("nothing to do", w=normal(5, 3, std=0.1), limit=3.0),
        Case("a small limit", w=normal(5, 3), limit=1e-4),
        Case("weights of 1e6", w=normal(6, 4, std=1e6), limit=10.0),
        Case("exactly at the limit", w=given([[3.0, 0.0, 3.0], [4.0, 5.0, 4.1]]), limit=5.0),
        Case("float32", w=normal(6, 5), limit=1.5).float32(),
        Case("non-contiguous", w=normal(6, 5), limit=1.5).strided(),
    ],
    mistakes=[
        Mistake("takes the largest entry for the norm", limiting(p=float("inf")), hint="the norm is Euclidean"),
    ],
    mutants={
        "works on a copy": _limit_rebinding,
        "returns w": _limit_returning,
        "returns a new tensor": _limit_copy,
        "changes memory beside w": _limit_memory,
        "divides zero by zero": _limit_nan,
        "uses renorm": _limit_ready_made,
    },
    solutions={"column by column": _limit_by_loop, "clamped norms": _limit_by_clamp},
    equivalent={"max_norm_: norm > limit -> norm >= limit": "a column exactly at the limit is multiplied by 1"},
)


def _centres(x, generator, *, rows=None, columns=None, count=None):
    shape = (len(x) if count is None else count,)
    return (
        torch.randint(x.shape[2] if rows is None else rows, shape, generator=generator, device=x.device).tolist(),
        torch.randint(x.shape[3] if columns is None else columns, shape, generator=generator, device=x.device).tolist(),
    )


def _cutting(
    *,
    before=lambda size: size // 2,
    side=lambda size: size,
    value=0.0,
    one_place=False,
    channel=slice(None),
    inside=False,
    source=None,
    swapped=False,
    wraps=False,
    keeps=False,
    height_only=False,
    in_place=False,
    last=0,
    cross=False,
):
    """Return cutout by loops; each keyword switches a mistake on."""

    def cutout(x, size, generator):
        generator = generator if source is None else source(x)
        out = x if in_place else x.clone()
        H, W = x.shape[2:]
        limits = {"rows": max(H - last, 1), "columns": max(W - last, 1)}
        if inside:
            limits = {"rows": max(H - size + 1, 1), "columns": max(W - size + 1, 1)}
        if height_only:
            limits = {"rows": H, "columns": min(H, W)}
        rows, columns = _centres(x, generator, **limits, count=1 if one_place else None)
        for number in range(len(x)):
            row, column = rows[number % len(rows)], columns[number % len(columns)]
            top, left = (row, column) if inside else (row - before(size), column - before(size))
            top, left = (left, top) if swapped else (top, left)
            down, across = range(top, top + side(size)), range(left, left + side(size))
            if wraps:
                down, across = [r % H for r in down], [c % W for c in across]
            down, across = [r for r in down if 0 <= r < H], [c for c in across if 0 <= c < W]
            if keeps:
                hole = torch.zeros_like(out[number])
                for r in down:
                    hole[:, r, across] = out[number][:, r, across]
                out[number] = hole
            elif cross:
                out[number][:, down, :] = 0
                out[number][:, :, across] = 0
            else:
                for r in down:
                    out[number, channel, r, across] = value
        return out

    return cutout


def _cut_by_product(x, size, generator):
    N, _, H, W = x.shape
    centre = torch.rand(N, 2, generator=generator, device=x.device, dtype=torch.float64)
    top = (centre[:, 0] * H).floor().long() - size // 2
    left = (centre[:, 1] * W).floor().long() - size // 2
    r, c = torch.arange(H, device=x.device), torch.arange(W, device=x.device)
    is_outside_rows = (r < top[:, None]) | (r > top[:, None] + size - 1)
    is_outside_columns = (c < left[:, None]) | (c > left[:, None] + size - 1)
    return x * (is_outside_rows[:, None, :, None] | is_outside_columns[:, None, None, :]).to(x.dtype)


cutout = Hidden(
    cases=[
        Case("one image", x=normal(1, 3, 6, 6), size=2, seed=3),
        Case("one pixel", x=normal(4, 3, 5, 4), size=1, seed=4),
        Case("one channel, wide", x=normal(5, 1, 3, 12), size=5, seed=5),
        Case("high", x=normal(5, 2, 13, 4), size=4, seed=6),
        Case("as large as the image", x=normal(3, 2, 6, 6), size=6, seed=7),
        Case("larger than twice the image", x=normal(3, 2, 4, 4), size=9, seed=8),
        Case("float32", x=normal(4, 3, 8, 8), size=3, seed=9).float32(),
        Case("non-contiguous", x=normal(4, 3, 8, 7), size=4, seed=10).strided(),
    ],
    mutants={
        "one place for the batch": _cutting(one_place=True),
        "one channel alone": _cutting(channel=slice(0, 1)),
        "always inside the image": _cutting(inside=True),
        "starts at the centre": _cutting(before=lambda size: 0),
        "one pixel too far up": _cutting(before=lambda size: size // 2 + 1),
        "one pixel too large": _cutting(side=lambda size: size + 1),
        "side 2 * (size // 2)": _cutting(side=lambda size: 2 * (size // 2) or 1),
        "fills with 1": _cutting(value=1.0),
        "swaps rows and columns": _cutting(swapped=True),
        "wraps around the border": _cutting(wraps=True),
        "keeps the square alone": _cutting(keeps=True),
        "cuts rows and columns whole": _cutting(cross=True),
        "takes the height for both": _cutting(height_only=True),
        "never the last row or column": _cutting(last=1),
        "changes x": _cutting(in_place=True),
        "draws without the generator": _cutting(source=lambda x: torch.default_generator),
        "makes a generator of its own": _cutting(source=lambda x: torch.Generator(device=x.device).manual_seed(0)),
        "changes nothing": lambda x, size, generator: x.clone(),
    },
    solutions={"pixel rows in loops": _cutting(), "product with a mask": _cut_by_product},
)


def _beta(alpha, generator):
    a = torch.full((2,), alpha, dtype=torch.float64, device=generator.device)
    gammas = torch._standard_gamma(a, generator=generator)
    return float(gammas[0] / gammas.sum())


def _partner(x, generator):
    return torch.randperm(len(x), generator=generator, device=x.device)


def _mixing(
    *,
    draw=_beta,
    partner=_partner,
    label_partner=None,
    label_lam=lambda lam: lam,
    weights=lambda lam: (lam, 1 - lam),
    source=None,
    hard=False,
    swapped=False,
    per_image=False,
    labels_mixed=True,
    images_mixed=True,
    in_place=False,
    x_only=False,
):
    """Return mixup; each keyword switches a mistake on."""

    def mixup(x, y_onehot, alpha, generator):
        generator = generator if source is None else source(x)
        lam = draw(alpha, generator)
        if per_image:
            lam = torch.tensor([draw(alpha, generator) for _ in x], dtype=x.dtype, device=x.device)
        others = partner(x, generator)
        label_others = others if label_partner is None else label_partner(x, generator)

        def blend(values, who, share):
            if per_image:
                share = share.reshape(-1, *[1] * (values.dim() - 1))
            one, other = weights(share)
            return one * values + other * values[who]

        if in_place:
            x.copy_(blend(x, others, lam))
            return x, blend(y_onehot, label_others, lam)
        x_mixed = blend(x, others, lam) if images_mixed else x.clone()
        y_mixed = blend(y_onehot, label_others, label_lam(lam)) if labels_mixed else y_onehot.clone()
        if hard:
            y_mixed = functional.one_hot(y_mixed.argmax(1), y_onehot.shape[1]).to(y_onehot.dtype)
        if x_only:
            return x_mixed
        return (y_mixed, x_mixed) if swapped else (x_mixed, y_mixed)

    return mixup


def _mix_by_lerp(x, y_onehot, alpha, generator):
    order = torch.rand(x.shape[0], generator=generator, device=x.device, dtype=torch.float64).argsort()
    lam = _beta(alpha, generator)
    return [torch.lerp(values[order], values, lam) for values in (x, y_onehot)]


def _mix_by_matrix(x, y_onehot, alpha, generator):
    lam = _beta(alpha, generator)
    eye = torch.eye(len(x), dtype=x.dtype, device=x.device)
    mixing = lam * eye + (1 - lam) * eye[torch.randperm(len(x), generator=generator, device=x.device)]
    return (mixing @ x.flatten(1)).reshape(x.shape), mixing @ y_onehot


mixup = Hidden(
    cases=[
        Case("one image", x=normal(1, 4), y_onehot=one_hot(1, 3), alpha=1.0, seed=3),
        Case("two images", x=normal(2, 6), y_onehot=one_hot(2, 2), alpha=0.5, seed=4),
        Case("alpha = 0.2", x=normal(7, 4), y_onehot=one_hot(7, 3), alpha=0.2, seed=5),
        Case("alpha = 2", x=normal(4, 9), y_onehot=one_hot(4, 5), alpha=2.0, seed=6),
        Case("one class", x=normal(5, 6), y_onehot=one_hot(5, 1), alpha=1.0, seed=7),
        Case("entries of 1e4", x=normal(5, 6, std=1e4), y_onehot=one_hot(5, 3), alpha=1.0, seed=8),
        Case("float32", x=normal(6, 3, 3, 2), y_onehot=one_hot(6, 4), alpha=1.0, seed=9).float32(),
        Case("non-contiguous", x=normal(6, 2, 4, 3), y_onehot=one_hot(6, 4), alpha=1.0, seed=10).strided(),
    ],
    mutants={
        "weights swapped for labels": _mixing(label_lam=lambda lam: 1 - lam),
        "labels stay": _mixing(labels_mixed=False),
        "images stay": _mixing(images_mixed=False),
        "labels have partners of their own": _mixing(label_partner=_partner),
        "labels are rounded": _mixing(hard=True),
        "always half and half": _mixing(draw=lambda alpha, generator: 0.5),
        "uniform weights": _mixing(
            draw=lambda alpha, generator: float(
                torch.rand(1, generator=generator, dtype=torch.float64, device=generator.device)
            )
        ),
        "the larger share for the image": _mixing(
            draw=lambda alpha, generator: max(b := _beta(alpha, generator), 1 - b)
        ),
        "alpha doubled": _mixing(draw=lambda alpha, generator: _beta(2 * alpha, generator)),
        "one over alpha": _mixing(draw=lambda alpha, generator: _beta(1 / alpha**2, generator)),
        "a weight per image": _mixing(per_image=True),
        "partners with repetition": _mixing(
            partner=lambda x, g: torch.randint(len(x), (len(x),), generator=g, device=x.device)
        ),
        "the neighbour is the partner": _mixing(partner=lambda x, g: torch.arange(len(x), device=x.device).roll(1)),
        "weights that add up to more than 1": _mixing(weights=lambda lam: (lam, 1 - lam / 2)),
        "adds without weights": _mixing(weights=lambda lam: (1.0, 1.0)),
        "subtracts": _mixing(weights=lambda lam: (lam, lam - 1)),
        "returns labels first": _mixing(swapped=True),
        "returns images alone": _mixing(x_only=True),
        "changes x": _mixing(in_place=True),
        "makes a generator of its own": _mixing(source=lambda x: torch.Generator(device=x.device).manual_seed(0)),
        "draws without the generator": _mixing(source=lambda x: torch.default_generator),
    },
    solutions={"lerp, sorted numbers, a list": _mix_by_lerp, "product with a matrix": _mix_by_matrix},
    equivalent={
        "mixup: torch.randperm(len(x), generator=generator, device=x.device) -> "
        "torch.randperm(len(x), generator=generator)": "the CPU is the default device, and rows may be indexed from "
        "there; with a GPU the same cases run on it, and its generator refuses to draw on the CPU",
    },
)


class _Patient:
    """Early stopping by the list of all values."""

    def __init__(self, patience, min_delta=0.0):
        self.patience, self.min_delta, self.values = patience, min_delta, []
        self.best, self.best_epoch = float("-inf"), None

    def improves(self, value):
        return value - self.best > self.min_delta

    def should_stop(self, value):
        self.values.append(value)
        if self.improves(value):
            self.best, self.best_epoch = value, len(self.values) - 1
        since = len(self.values) if self.best_epoch is None else len(self.values) - 1 - self.best_epoch
        return since >= self.patience


class _CountsDown:
    def __init__(self, patience, min_delta=0.0):
        self.full = self.left = int(patience)
        self.delta = min_delta
        self.best, self.best_epoch, self.epochs = -math.inf, None, 0

    def should_stop(self, value):
        if value <= self.best + self.delta or value != value:
            self.left -= 1
        else:
            self.left, self.best, self.best_epoch = self.full, value, self.epochs
        self.epochs += 1
        return bool(self.left <= 0)


class _SharedState(_Patient):
    values_of_all: list[float] = []  # noqa: RUF012  (the mistake)

    def __init__(self, patience, min_delta=0.0):
        super().__init__(patience, min_delta)
        self.values = self.values_of_all


class _BestOfAll(_Patient):
    best_of_all = float("-inf")

    def should_stop(self, value):
        self.best = _BestOfAll.best_of_all
        stops = super().should_stop(value)
        _BestOfAll.best_of_all = self.best
        return stops


class _StopsForGood(_Patient):
    stopped = False

    def should_stop(self, value):
        self.stopped = super().should_stop(value) or self.stopped
        return self.stopped


class _ReturnsCount(_Patient):
    def should_stop(self, value):
        super().should_stop(value)
        return len(self.values)


class _ReturnsNothing(_Patient):
    def should_stop(self, value):
        super().should_stop(value)


class _RelativeDelta(_Patient):
    def improves(self, value):
        return self.best == float("-inf") or value > self.best * (1 + self.min_delta)


class _StartsAtZero(_Patient):
    def __init__(self, patience, min_delta=0.0):
        super().__init__(patience, min_delta)
        self.best = 0.0


class _IgnoresPatience(_Patient):
    def __init__(self, patience, min_delta=0.0):
        super().__init__(2, min_delta)


early_stopping = Hidden(
    cases=[
        Case("patience 1", patience=1, min_delta=0.0, values=[0.2, 0.3, 0.25, 0.4, 0.4]),
        Case("one value", patience=1, min_delta=0.0, values=[0.5]),
        Case("values below 0", patience=2, min_delta=0.0, values=[-3.0, -2.5, -2.7, -2.6, -2.0, -4.0]),
        Case("a large min_delta", patience=2, min_delta=0.5, values=[0.1, 0.4, 0.55, 0.65, 1.2, 0.3, 1.7]),
        Case("exactly min_delta", patience=2, min_delta=0.25, values=[0.25, 0.5, 0.75, 0.375, 1.0]),
        Case("always the same", patience=4, min_delta=0.0, values=[0.1] * 7),
        Case("always better", patience=1, min_delta=0.0, values=[0.1, 0.2, 0.3, 0.4]),
        Case("not a number", patience=3, min_delta=0.0, values=[float("nan"), 0.2, float("nan"), 0.1, 0.15, 0.3]),
        Case("never a number at first", patience=2, min_delta=0.0, values=[float("nan")] * 3 + [0.5, 0.4, 0.3]),
        Case("slow rise, patience 3", patience=3, min_delta=0.1, values=[0.5, 0.56, 0.59, 0.61, 0.64, 0.66, 0.69, 0.8]),
    ],
    mistakes=[
        Mistake("stops two epochs early", following(needs=-2), hint="how many epochs may pass without improvement?"),
    ],
    mutants={
        "all objects share their values": _SharedState,
        "all objects share their best": _BestOfAll,
        "never starts again once it has stopped": _StopsForGood,
        "returns the count": _ReturnsCount,
        "returns nothing": _ReturnsNothing,
        "min_delta as a share of the best": _RelativeDelta,
        "best starts at 0": _StartsAtZero,
        "ignores patience": _IgnoresPatience,
    },
    solutions={"keeps all values": _Patient, "counts down": _CountsDown},
)


def _answer_by_loop(scores):
    total = torch.zeros_like(scores[0])
    for one in scores:
        e = (one - one.amax(dim=1, keepdim=True)).exp()
        total = total + e / e.sum(dim=1, keepdim=True)
    p = total / len(scores)
    labels = [row.tolist().index(max(row.tolist())) for row in p]
    return [p, torch.tensor(labels, device=scores.device)]


def _answer_by_logs(scores):
    log_p = scores - scores.logsumexp(dim=-1, keepdim=True)
    p = (log_p.logsumexp(dim=0) - math.log(scores.shape[0])).exp()
    return p, p.max(dim=1).indices


def _answer_unstable(scores):
    e = scores.exp()
    p = (e / e.sum(2, keepdim=True)).mean(0)
    return p, p.argmax(1)


def _answer_one_maximum(scores):
    e = (scores - scores.max()).exp()
    p = (e / e.sum(2, keepdim=True)).mean(0)
    return p, p.argmax(1)


def _answer_last_label(scores):
    p = scores.softmax(2).mean(0)
    return p, p.shape[1] - 1 - p.flip(1).argmax(1)


ensemble_predict = Hidden(
    cases=[
        Case("one model", scores=normal(1, 5, 3)),
        Case("one image", scores=normal(4, 1, 3, std=3.0)),
        Case("one class", scores=normal(3, 4, 1)),
        Case("as many models as images and classes", scores=normal(4, 4, 4, std=2.0)),
        Case("scores of 1e4", scores=normal(5, 6, 4, std=1e4)),
        Case("one loud model", scores=given([[[-1e4, 1e4, 0.0]], [[2.0, 0.0, 1.0]], [[3.0, 0.0, 1.0]]])),
        Case("all equal", scores=given([[[1.5] * 4] * 3] * 2)),
        Case("very negative scores", scores=normal(3, 5, 4, mean=-1e4)),
        Case("float32", scores=normal(3, 6, 5, std=3.0)).float32(),
        Case("non-contiguous", scores=normal(3, 6, 5, std=3.0)).strided(),
    ],
    mistakes=[
        Mistake(
            "takes the softmax over everything at once",
            lambda scores: (lambda p: (p, p.argmax(1)))(scores.flatten(1).softmax(1).reshape(scores.shape).mean(0)),
            hint="every row of a model's probabilities adds up to 1",
        ),
        Mistake("averages scores and takes votes", averaging(votes=True, logits=True), hint="average probabilities"),
    ],
    mutants={
        "exponentials without shifting": _answer_unstable,
        "shifts by one maximum for all": _answer_one_maximum,
        "ties to the last class": _answer_last_label,
        "returns probabilities alone": lambda scores: scores.softmax(2).mean(0),
        "returns labels first": lambda scores: averaging()(scores)[::-1],
        "returns scores of the mean": lambda scores: (scores.mean(0), scores.mean(0).argmax(1)),
        "in float64 whatever is given": lambda scores: averaging()(scores.double()),
        "the first model alone": lambda scores: averaging()(scores[:1]),
    },
    solutions={"model by model": _answer_by_loop, "logarithms": _answer_by_logs},
)
