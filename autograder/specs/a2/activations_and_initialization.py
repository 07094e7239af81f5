"""Hidden cases, mutants and other solutions for solutions/a2/activations_and_initialization.py."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, given, normal, uniform

_LAMBDA, _ALPHA = 1.0507009873554805, 1.6732632423543772

# Where exp overflows (710 in float64, 89 in float32), just before it does, and far beyond.
_FAR = [[-1e4, -711.0, -709.0, -89.0, -88.0, -1.0], [1e4, 711.0, 709.0, 89.0, 88.0, 0.5]]


def _entrywise_cases(*options):
    """Return cases for a function of each entry; ``options`` holds its settings, taken in turn."""
    settings = list(options) or [{}]

    def case(number, name, x, shape):
        return Case(name, x=x, **settings[number % len(settings)], dout=normal(*shape))

    shapes = {"one entry": (1, 1), "one axis": (17,), "images": (2, 3, 5, 4), "one column": (9, 1)}
    cases = [case(number, name, normal(*shape, std=2), shape) for number, (name, shape) in enumerate(shapes.items())]
    cases += [
        case(4, "float32", normal(6, 5), (6, 5)).float32(),
        case(5, "non-contiguous", normal(4, 6, std=2), (4, 6)).strided(),
        case(6, "zeros", given([[0.0, 0.0, -0.0], [0.0, 1.0, -1.0]]), (2, 3)),
        case(7, "where exponentials overflow", given(_FAR), (2, 6)),
        case(8, "where exponentials overflow, float32", given(_FAR), (2, 6)).float32(),
        case(9, "close to 0", normal(4, 3, std=1e-3), (4, 3)),
        case(10, "negative only", uniform(3, 4, low=-6.0, high=-0.1), (3, 4)),
        case(11, "positive only", uniform(3, 4, low=0.1, high=6.0), (3, 4)),
    ]
    zero_gradient = Case("a zero gradient", x=normal(3, 3), **settings[0], dout=given([[0.0, 1.0, 0.0]] * 3))
    return [*cases, zero_gradient]


def _pair(value, slope):
    """Make forward and backward from a function of x and its options, and its derivative."""

    def forward(x, *options):
        return value(x, *options), (x, options)

    def backward(dout, cache):
        x, options = cache
        return dout * slope(x, *options)

    return forward, backward


def _entrywise_mutants(value, slope):
    """Return what goes wrong with a pair whatever its function is."""
    forward, backward = _pair(value, slope)
    seen = []

    def forward_in_place(x, *options):
        cache = (x.clone(), options)
        return x.copy_(value(x, *options)), cache

    def backward_in_place(dout, cache):
        x, options = cache
        dout *= slope(x, *options)
        return dout

    def forward_remembering(x, *options):
        seen.append((x.clone(), options))
        return value(x, *options), None

    def backward_by_first_call(dout, cache):
        x, options = seen[0]
        return (dout * slope(x, *options)) if x.shape == dout.shape else torch.zeros_like(dout)

    def backward_by_autograd(dout, cache):
        x, options = cache
        variable = x.clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(value(variable, *options), variable, dout)
        return gradient

    def backward_by_differences(dout, cache):
        x, options = cache
        return dout * (value(x + 1e-5, *options) - value(x - 1e-5, *options)) / 2e-5

    return {
        "writes over x": (forward_in_place, backward),
        "writes over dout": (forward, backward_in_place),
        "keeps the cache of the first call": (forward_remembering, backward_by_first_call),
        "differentiates by autograd": (forward, backward_by_autograd),
        "differentiates by finite differences": (forward, backward_by_differences),
        "turns the gradient's sign": (forward, lambda dout, cache: -backward(dout, cache)),
        "adds up the gradient": (forward, lambda dout, cache: backward(dout, cache).sum().expand_as(dout)),
        "rounds to float16": (lambda x, *options: (value(x, *options).half(), (x, options)), backward),
        "returns out without a cache": (value, backward),
    }


def _sigmoid(x):
    return 1 / (1 + (-x).exp())  # 1 / infinity is 0, as it should be


def _sigmoid_forward_by_sides(x):
    out = torch.empty_like(x)
    left = x < 0
    out[left] = x[left].exp() / (1 + x[left].exp())
    out[~left] = 1 / (1 + (-x[~left]).exp())
    return out, {"x": x}


def _sigmoid_backward_by_decay(dout, cache):
    decay = (-cache["x"].abs()).exp()
    return dout * decay / (1 + decay) ** 2


sigmoid_activation = Hidden(
    cases=_entrywise_cases(),
    mutants={
        **_entrywise_mutants(_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
        "calls torch's sigmoid": _pair(torch.sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
        "calls torch's expit": _pair(torch.special.expit, lambda x: _sigmoid(x) * _sigmoid(-x)),
        "calls torch's backward": (
            lambda x: (_sigmoid(x), _sigmoid(x)),
            lambda dout, out: torch.ops.aten.sigmoid_backward(dout, out),
        ),
        "clips the input to ±5": _pair(
            lambda x: _sigmoid(x.clamp(-5, 5)), lambda x: _sigmoid(x.clamp(-5, 5)) * _sigmoid(-x.clamp(-5, 5))
        ),
        "hard sigmoid": _pair(lambda x: (x / 4 + 0.5).clamp(0, 1), lambda x: (x.abs() < 2).to(x.dtype) / 4),
        "softmax over the row": _pair(
            lambda x: (x - x.amax(-1, keepdim=True)).exp() / (x - x.amax(-1, keepdim=True)).exp().sum(-1, keepdim=True),
            lambda x: _sigmoid(x) * _sigmoid(-x),
        ),
    },
    solutions={
        "the plain quotient": (lambda x: (_sigmoid(x), _sigmoid(x)), lambda dout, out: out * (1 - out) * dout),
        "by tanh": _pair(lambda x: 0.5 * (1 + (x / 2).tanh()), lambda x: (1 - (x / 2).tanh() ** 2) / 4),
        "side by side, gradient from x": (_sigmoid_forward_by_sides, _sigmoid_backward_by_decay),
    },
    equivalent={"sigmoid_forward: x < 0 -> x <= 0": "at 0 both sides give 1/2"},
)


def _tanh(x):
    return 2 * _sigmoid(2 * x) - 1


def _tanh_forward_by_loop(x):
    values = [math.tanh(value) for value in x.flatten().tolist()]
    out = torch.tensor(values, dtype=x.dtype, device=x.device).reshape(x.shape)
    return out, [out]


tanh_activation = Hidden(
    cases=_entrywise_cases(),
    mutants={
        **_entrywise_mutants(_tanh, lambda x: 1 - _tanh(x).square()),
        "calls torch's tanh": _pair(torch.tanh, lambda x: 1 - _tanh(x).square()),
        "calls torch's sigmoid": _pair(lambda x: 2 * torch.sigmoid(2 * x) - 1, lambda x: 1 - _tanh(x).square()),
        "divides hyperbolic functions": _pair(lambda x: x.sinh() / x.cosh(), lambda x: 1 / x.cosh().square()),
        "clips the input to ±3": _pair(lambda x: _tanh(x.clamp(-3, 3)), lambda x: 1 - _tanh(x).square()),
        "softsign": _pair(lambda x: x / (1 + x.abs()), lambda x: 1 / (1 + x.abs()) ** 2),
        "LeCun's scaled tanh": _pair(
            lambda x: 1.7159 * _tanh(2 * x / 3), lambda x: 1.7159 * 2 / 3 * (1 - _tanh(2 * x / 3).square())
        ),
        "arctangent": _pair(torch.atan, lambda x: 1 / (1 + x.square())),
    },
    solutions={
        "by the sigmoid": (lambda x: (_tanh(x), _tanh(x)), lambda dout, t: (1 - t) * (1 + t) * dout),
        "by expm1, gradient by cosh": _pair(
            lambda x: -x.sign() * torch.expm1(-2 * x.abs()) / (1 + (-2 * x.abs()).exp()),
            lambda x: 1 / x.cosh().square(),
        ),
        "one number at a time": (_tanh_forward_by_loop, lambda dout, cache: dout - dout * cache[0] * cache[0]),
    },
)


def _leaky(x, slope):
    return torch.where(x > 0, x, slope * x)


def _leaky_slope(x, slope):
    return torch.where(x > 0, torch.ones_like(x), slope * torch.ones_like(x))


def _leaky_forward_in_a_copy(x, slope):
    out, left = x.clone(), x <= 0
    out[left] *= slope
    return out, {"left": left, "slope": slope, "unused": x}


def _leaky_backward_in_a_copy(dout, cache):
    dx = dout.clone()
    dx[cache["left"]] *= cache["slope"]
    return dx


leaky_relu = Hidden(
    cases=_entrywise_cases({"slope": 0.1}, {"slope": 0.0}, {"slope": 0.01}, {"slope": 1.0}, {"slope": 0.9}),
    mutants={
        **_entrywise_mutants(_leaky, _leaky_slope),
        "calls torch's leaky ReLU": _pair(functional.leaky_relu, _leaky_slope),
        "slope is always 0.01": _pair(lambda x, slope: _leaky(x, 0.01), lambda x, slope: _leaky_slope(x, 0.01)),
        "gradient's slope is always 0.01": _pair(_leaky, lambda x, slope: _leaky_slope(x, 0.01)),
        "divides by slope": _pair(lambda x, slope: _leaky(x, 1 / (slope or 1)), _leaky_slope),
        "sides exchanged": _pair(
            lambda x, slope: torch.where(x > 0, slope * x, x), lambda x, slope: _leaky_slope(-x, slope)
        ),
        "subtracts slope on the left": _pair(lambda x, slope: torch.where(x > 0, x, x - slope), _leaky_slope),
        "takes the minimum": _pair(
            lambda x, slope: torch.minimum(x, slope * x), lambda x, slope: _leaky_slope(-x, slope)
        ),
        "chooses the side by the mean": _pair(lambda x, slope: x if x.mean() > 0 else slope * x, _leaky_slope),
    },
    solutions={
        "the larger of two lines": _pair(
            lambda x, slope: torch.maximum(x, slope * x), lambda x, slope: (x > 0) + slope * (x <= 0)
        ),
        "two clamps": _pair(lambda x, slope: x.clamp(min=0) + slope * x.clamp(max=0), _leaky_slope),
        "in a copy": (_leaky_forward_in_a_copy, _leaky_backward_in_a_copy),
    },
)


def _elu(x, alpha):
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def _elu_slope(x, alpha):
    return torch.where(x > 0, torch.ones_like(x), alpha * x.clamp(max=0).exp())


def _elu_forward_in_a_copy(x, alpha):
    out, left = x.clone(), x <= 0
    out[left] = alpha * (x[left].exp() - 1)
    return out, (left, out, alpha)


def _elu_backward_in_a_copy(dout, cache):
    left, out, alpha = cache
    dx = dout.clone()
    dx[left] = dout[left] * (out[left] + alpha)
    return dx


elu = Hidden(
    cases=_entrywise_cases({"alpha": 0.1}, {"alpha": 1.0}, {"alpha": 2.5}, {"alpha": 0.7}),
    mutants={
        **_entrywise_mutants(_elu, _elu_slope),
        "calls torch's ELU": _pair(functional.elu, _elu_slope),
        "calls torch's CELU": _pair(lambda x, alpha: torch.celu(x, alpha), _elu_slope),
        "divides x by alpha in the exponent": _pair(
            lambda x, alpha: torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0) / alpha)),
            lambda x, alpha: torch.where(x > 0, torch.ones_like(x), (x.clamp(max=0) / alpha).exp()),
        ),
        "overflows where it is multiplied by 0": _pair(
            _elu, lambda x, alpha: (x > 0).to(x.dtype) + (x <= 0).to(x.dtype) * alpha * x.exp()
        ),
        "sides exchanged": _pair(lambda x, alpha: -_elu(-x, alpha), lambda x, alpha: _elu_slope(-x, alpha)),
        "mirrors the exponent": _pair(
            lambda x, alpha: torch.where(x > 0, x, alpha * ((-x.abs()).exp() + 1)), _elu_slope
        ),
        "adds alpha to the positive side of the gradient": _pair(
            _elu, lambda x, alpha: torch.where(x > 0, x + alpha, _elu(x, alpha) + alpha)
        ),
        "alpha is always 1": _pair(lambda x, alpha: _elu(x, 1.0), lambda x, alpha: _elu_slope(x, 1.0)),
    },
    solutions={
        "the unused branch overflows unseen": _pair(
            lambda x, alpha: torch.where(x > 0, x, alpha * (x.exp() - 1)),
            lambda x, alpha: torch.where(x > 0, 1.0, alpha * x.exp()),
        ),
        "in a copy, gradient from the output": (_elu_forward_in_a_copy, _elu_backward_in_a_copy),
        "two clamps": _pair(
            lambda x, alpha: x.clamp(min=0) + alpha * (x.clamp(max=0).exp() - 1),
            lambda x, alpha: (x > 0) + (x <= 0) * alpha * (-x.abs()).exp(),
        ),
    },
    equivalent={
        "elu_forward: x > 0 -> x >= 0": "both sides give 0 at 0",
        "elu_forward: x.clamp(max=0) -> x": "where it overflows the other branch is taken, and nothing is multiplied by it",
        "elu_forward: x.clamp(max=0) -> x.clamp(max=1)": "the branch is only taken up to 0",
    },
)


def _selu(x, scale=_LAMBDA, alpha=_ALPHA):
    return scale * _elu(x, alpha)


def _selu_slope(x, scale=_LAMBDA, alpha=_ALPHA):
    return scale * _elu_slope(x, alpha)


selu = Hidden(
    cases=_entrywise_cases(),
    mutants={
        **_entrywise_mutants(_selu, _selu_slope),
        "calls torch's SELU": _pair(torch.selu, _selu_slope),
        "constants with three digits": _pair(lambda x: _selu(x, 1.05, 1.67), lambda x: _selu_slope(x, 1.05, 1.67)),
        "lambda inside the exponent": _pair(
            lambda x: _LAMBDA * torch.where(x > 0, x, _ALPHA * torch.expm1(_LAMBDA * x.clamp(max=0))), _selu_slope
        ),
        "lambda squared in the gradient": _pair(_selu, lambda x: _LAMBDA * _selu_slope(x)),
        "gradient of ELU with alpha 1": _pair(_selu, lambda x: _elu_slope(x, 1.0)),
        "mirrored": _pair(lambda x: -_selu(-x), lambda x: _selu_slope(-x)),
        "overflows where it is multiplied by 0": _pair(
            _selu, lambda x: _LAMBDA * ((x > 0).to(x.dtype) + (x <= 0).to(x.dtype) * _ALPHA * x.exp())
        ),
        "standardises the batch instead": _pair(
            lambda x: (x - x.mean()) / (x.std(correction=0) + 1e-5), lambda x: torch.ones_like(x)
        ),
    },
    solutions={
        "the unused branch overflows unseen": _pair(
            lambda x: torch.where(x > 0, _LAMBDA * x, _LAMBDA * _ALPHA * (x.exp() - 1)),
            lambda x: torch.where(x > 0, _LAMBDA, _LAMBDA * _ALPHA * x.exp()),
        ),
        "two clamps, gradient from the output": (
            lambda x: (_selu(x.clamp(min=0)) + _selu(x.clamp(max=0)), _selu(x)),
            lambda dout, out: dout * torch.where(out > 0, _LAMBDA, out + _LAMBDA * _ALPHA),
        ),
    },
    equivalent={
        "selu_forward: x > 0 -> x >= 0": "both sides give 0 at 0",
        "selu_forward: x.clamp(max=0) -> x": "where it overflows the other branch is taken, and nothing is multiplied by it",
        "selu_forward: x.clamp(max=0) -> x.clamp(max=1)": "the branch is only taken up to 0",
    },
)


def _cdf(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _density(x):
    return (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)


def _gelu(x):
    return x * _cdf(x)


def _gelu_slope(x):
    return _cdf(x) + x * _density(x)


def _gelu_by_tanh(x):
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


def _gelu_slope_by_tanh(x):
    t = (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh()
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)


gelu = Hidden(
    cases=_entrywise_cases(),
    mutants={
        **_entrywise_mutants(_gelu, _gelu_slope),
        "calls torch's GELU": _pair(functional.gelu, _gelu_slope),
        "tanh approximation, in both directions": _pair(_gelu_by_tanh, _gelu_slope_by_tanh),
        "tanh approximation in the gradient": _pair(_gelu, _gelu_slope_by_tanh),
        "SiLU": _pair(lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x))),
        "erf without its 1": _pair(lambda x: x * torch.erf(x / math.sqrt(2)) / 2, _gelu_slope),
        "multiplies by the root of 2 inside erf": _pair(
            lambda x: x / 2 * (1 + torch.erf(x * math.sqrt(2))), _gelu_slope
        ),
        "keeps the factor 2 of erf's derivative": _pair(_gelu, lambda x: _cdf(x) + 2 * x * _density(x)),
        "density of erf instead of the normal one": _pair(
            _gelu, lambda x: _cdf(x) + x * 2 / math.sqrt(math.pi) * (-x.square()).exp()
        ),
        "takes the second term away": _pair(_gelu, lambda x: _cdf(x) - x * _density(x)),
        "ReLU": _pair(lambda x: x.clamp(min=0), lambda x: (x > 0).to(x.dtype)),
        "takes the minimum with Φ": _pair(lambda x: torch.minimum(x, _cdf(x)), _gelu_slope),
    },
    solutions={
        "by erfc": _pair(
            lambda x: x * torch.erfc(-x / 2**0.5) / 2,
            lambda x: (torch.erfc(-x / 2**0.5) + x * (2 / math.pi) ** 0.5 * torch.exp(-(x**2) / 2)) / 2,
        ),
        "by the distribution function": (
            lambda x: (x * torch.special.ndtr(x), (x, torch.special.ndtr(x))),
            lambda dout, cache: dout * (cache[1] + cache[0] * _density(cache[0])),
        ),
    },
)


def _scores(x, w, b):
    return x @ w + b[:, None]  # (P, N, M)


def _maxout_forward(x, w, b):
    scores = _scores(x, w, b)
    return scores.amax(0), (x, w, scores.argmax(0))


def _maxout_backward(dout, cache):
    x, w, winner = cache
    dscores = torch.stack([torch.where(winner == piece, dout, 0) for piece in range(len(w))])
    return (dscores @ w.mT).sum(0), x.T @ dscores, dscores.sum(1)


def _maxout_forward_by_loop(x, w, b):
    out = x @ w[0] + b[0]
    winner = torch.zeros(out.shape, dtype=torch.long, device=x.device)
    for piece in range(1, len(w)):
        scores = x @ w[piece] + b[piece]
        is_larger = scores > out
        out = torch.where(is_larger, scores, out)
        winner = torch.where(is_larger, piece, winner)
    return out, {"x": x, "w": w, "winner": winner}


def _maxout_backward_by_loop(dout, cache):
    x, w, winner = cache["x"], cache["w"], cache["winner"]
    dx, dw, db = torch.zeros_like(x), torch.zeros_like(w), w.new_zeros(w.shape[0], w.shape[2])
    for piece in range(len(w)):
        part = dout * (winner == piece)
        dx += part @ w[piece].T
        dw[piece] += x.T @ part
        db[piece] += part.sum(dim=0)
    return [dx, dw, db]


def _maxout_forward_by_gather(x, w, b):
    scores = (x[:, None, :, None] * w).sum(2) + b  # (N, P, M)
    winner = scores.argmax(1, keepdim=True)
    return scores.gather(1, winner).squeeze(1), (x, w, winner)


def _maxout_backward_by_gather(dout, cache):
    x, w, winner = cache
    dscores = dout.new_zeros(len(x), len(w), w.shape[2]).scatter_(1, winner, dout[:, None])  # (N, P, M)
    return (
        torch.einsum("npm,pdm->nd", dscores, w),
        torch.einsum("nd,npm->pdm", x, dscores),
        dscores.sum(0),
    )


def _maxout_changed(change):
    return _maxout_forward, lambda dout, cache: change(dout, cache, *_maxout_backward(dout, cache))


def _maxout_forward_in_place(x, w, b):
    b += 1
    out, cache = _maxout_forward(x, w, b - 1)
    return out, cache


def _maxout_one_winner_per_row(x, w, b):
    scores = _scores(x, w, b)
    winner = scores.sum(2).argmax(0)  # (N,)
    return scores[winner, torch.arange(len(x), device=x.device)], (x, w, winner[:, None].expand(-1, w.shape[2]))


def _maxout_by_size(x, w, b):
    scores = _scores(x, w, b)
    winner = scores.abs().argmax(0)
    return scores.gather(0, winner[None])[0], (x, w, winner)


def _maxout_input(**shapes):
    return {name: normal(*shapes[name]) for name in ("x", "w", "b", "dout")}


maxout = Hidden(
    cases=[
        Case("one piece", **_maxout_input(x=(3, 4), w=(1, 4, 5), b=(1, 5), dout=(3, 5))),
        Case("one image, one feature, one unit", **_maxout_input(x=(1, 1), w=(3, 1, 1), b=(3, 1), dout=(1, 1))),
        Case("square", **_maxout_input(x=(4, 4), w=(4, 4, 4), b=(4, 4), dout=(4, 4))),
        Case("many images", **_maxout_input(x=(23, 3), w=(5, 3, 2), b=(5, 2), dout=(23, 2))),
        Case("float32", **_maxout_input(x=(6, 5), w=(2, 5, 3), b=(2, 3), dout=(6, 3))).float32(),
        Case("non-contiguous", **_maxout_input(x=(6, 5), w=(3, 5, 4), b=(3, 4), dout=(6, 4))).strided(),
        Case(
            "all scores equal",
            x=normal(4, 3),
            w=given([[[0.0, 0.0]] * 3] * 3),
            b=given([[0.5, -0.5]] * 3),
            dout=normal(4, 2),
        ),
        Case(
            "all scores negative",
            x=normal(4, 3),
            w=normal(2, 3, 2, std=0.1),
            b=normal(2, 2, mean=-9),
            dout=normal(4, 2),
        ),
        Case("scores of 1e4", x=normal(4, 3, std=1e2), w=normal(3, 3, 2, std=1e2), b=normal(3, 2), dout=normal(4, 2)),
        Case("large biases", x=normal(5, 3), w=normal(3, 3, 2), b=normal(3, 2, std=4), dout=normal(5, 2)),
    ],
    mutants={
        "one winner per image": (_maxout_one_winner_per_row, _maxout_backward),
        "the winner is the farthest from 0": (_maxout_by_size, _maxout_backward),
        "starts from 0": (
            lambda x, w, b: (_scores(x, w, b).amax(0).clamp(min=0), (x, w, _scores(x, w, b).argmax(0))),
            (_maxout_backward),
        ),
        "only the first two pieces": (lambda x, w, b: _maxout_forward(x, w[:2], b[:2]), _maxout_backward),
        "writes over b": (_maxout_forward_in_place, _maxout_backward),
        "dw ignores the upstream gradient": _maxout_changed(
            lambda dout, cache, dx, dw, db: (dx, _maxout_backward(torch.ones_like(dout), cache)[1], db)
        ),
        "dx ignores the upstream gradient": _maxout_changed(
            lambda dout, cache, dx, dw, db: (_maxout_backward(torch.ones_like(dout), cache)[0], dw, db)
        ),
        "db for each image": _maxout_changed(lambda dout, cache, dx, dw, db: (dx, dw, db[:, None])),
        "dw transposed": _maxout_changed(lambda dout, cache, dx, dw, db: (dx, dw.mT, db)),
        "swaps dw and dx": _maxout_changed(lambda dout, cache, dx, dw, db: (dw, dx, db)),
        "gradients of the losers": _maxout_changed(lambda dout, cache, dx, dw, db: (dx, dw, dout.sum(0) - db)),
        "dx through the first piece": _maxout_changed(lambda dout, cache, dx, dw, db: (dout @ cache[1][0].T, dw, db)),
        "softmax instead of the maximum": (
            lambda x, w, b: (
                (_scores(x, w, b) * (_scores(x, w, b) - _scores(x, w, b).amax(0)).exp()).sum(0)
                / (_scores(x, w, b) - _scores(x, w, b).amax(0)).exp().sum(0),
                (x, w, _scores(x, w, b).argmax(0)),
            ),
            _maxout_backward,
        ),
    },
    solutions={
        "loop over pieces": (_maxout_forward_by_loop, _maxout_backward_by_loop),
        "gather and scatter, images first": (_maxout_forward_by_gather, _maxout_backward_by_gather),
        "stacked products": (_maxout_forward, _maxout_backward),
    },
)


def _fans(shape):
    window = math.prod(shape[2:])
    return (shape[0], shape[1]) if len(shape) == 2 else (shape[1] * window, shape[0] * window)


_STDS = {
    "zero": lambda fan_in, fan_out: 0.0,
    "small": lambda fan_in, fan_out: 0.01,
    "lecun": lambda fan_in, fan_out: math.sqrt(1 / fan_in),
    "xavier": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    "he": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
}


def _drawing(fans=_fans, draw=torch.randn, seed=None, **stds):
    """Make an ``initialize``; each argument switches a mistake on, ``stds`` in the formula of a kind."""

    def initialize(shape, kind, generator, dtype=torch.float32):
        std = {**_STDS, **stds}[kind](*fans(shape))
        if seed is not None:
            generator = seed(generator)
        return std * draw(shape, generator=generator, dtype=dtype, device=generator.device)

    return initialize


def _linear_as_torch(shape):
    return _fans(shape[::-1]) if len(shape) == 2 else _fans(shape)


def _linear_always(shape):
    return shape[0], shape[1]


def _convolution_always(shape):
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _without_the_window(shape):
    return (shape[0], shape[1]) if len(shape) == 2 else (shape[1], shape[0])


def _one_side_of_the_window(shape):
    return (shape[0], shape[1]) if len(shape) == 2 else (shape[1] * shape[2], shape[0] * shape[2])


def _fan_out_without_the_window(shape):
    return (shape[0], shape[1]) if len(shape) == 2 else (shape[1] * math.prod(shape[2:]), shape[0])


def _exchanged(shape):
    return _fans(shape)[::-1]


def _uniform(shape, generator, dtype, device):
    return (2 * torch.rand(shape, generator=generator, dtype=dtype, device=device) - 1) * math.sqrt(3)


def _positive(shape, **options):
    return torch.randn(shape, **options).abs()


def _shifted(shape, **options):
    return torch.randn(shape, **options) * 0.98 + 0.2


def _truncated(shape, **options):
    return torch.randn(shape, **options).clamp(-2, 2) / 0.9594


def _same_rows(shape, **options):
    return torch.randn((1, *shape[1:]), **options).expand(shape).clone()


def _signs(shape, generator, dtype, device):
    return (torch.randint(2, shape, generator=generator, device=device) * 2 - 1).to(dtype)


def _without_generator(shape, kind, generator, dtype=torch.float32):
    std = _STDS[kind](*_fans(shape))
    return std * torch.randn(shape, dtype=dtype, device=generator.device)


def _in_float32(shape, kind, generator, dtype=torch.float32):
    return _drawing()(shape, kind, generator)


def _on_the_default_device(shape, kind, generator, dtype=torch.float32):
    return _STDS[kind](*_fans(shape)) * torch.randn(shape, generator=generator, dtype=dtype)


def _with_gradient(shape, kind, generator, dtype=torch.float32):
    return _drawing()(shape, kind, generator, dtype).flatten()


def _filled_in_place(shape, kind, generator, dtype=torch.float32):
    W = torch.zeros(shape, dtype=dtype, device=generator.device)
    if kind != "zero":
        fan_in, fan_out = (shape[0], shape[1]) if len(shape) == 2 else (W[0].numel(), W[:, 0].numel())
        std = {"small": 0.01, "lecun": fan_in**-0.5, "xavier": (0.5 * (fan_in + fan_out)) ** -0.5}
        W.normal_(0.0, std.get(kind, (0.5 * fan_in) ** -0.5), generator=generator)
    return W


def _from_uniform_pairs(shape, kind, generator, dtype=torch.float32):
    u, v = torch.rand((2, *shape), generator=generator, dtype=torch.float64, device=generator.device)
    normals = (-2 * torch.log1p(-u)).sqrt() * (2 * math.pi * v).cos()  # Box and Muller
    return (normals * _STDS[kind](*_fans(shape))).to(dtype)


initialize = Hidden(
    cases=[
        Case("zero, 8×3×3×3", shape=[8, 3, 3, 3], kind="zero", like=normal(1), seed=11),
        Case("small, 16×8×5×5", shape=[16, 8, 5, 5], kind="small", like=normal(1), seed=12),
        Case("lecun, 16×64×3×3", shape=[16, 64, 3, 3], kind="lecun", like=normal(1), seed=13),
        Case("xavier, 16×64×3×3", shape=[16, 64, 3, 3], kind="xavier", like=normal(1), seed=14),
        Case("he, 64×16×1×7", shape=[64, 16, 1, 7], kind="he", like=normal(1), seed=15),
        Case("xavier, 8×16×7×5", shape=[8, 16, 7, 5], kind="xavier", like=normal(1), seed=16),
        Case("he, 300×200×1×1", shape=[300, 200, 1, 1], kind="he", like=normal(1), seed=17),
        Case("he, 50×800", shape=[50, 800], kind="he", like=normal(1), seed=18),
        Case("xavier, 40×1000", shape=[40, 1000], kind="xavier", like=normal(1), seed=19),
        Case("lecun, 40×1000, float32", shape=[40, 1000], kind="lecun", like=normal(1), seed=20).float32(),
        Case("one input", shape=[1, 3000], kind="he", like=normal(1), seed=21),
        Case("one output", shape=[3000, 1], kind="lecun", like=normal(1), seed=22),
        Case("one weight", shape=[1, 1], kind="xavier", like=normal(1), seed=23),
        Case("small, 400×300, float32", shape=[400, 300], kind="small", like=normal(1), seed=24).float32(),
    ],
    mutants={
        "takes linear weights for torch's": _drawing(fans=_linear_as_torch),
        "takes convolutions for linear weights": _drawing(fans=_linear_always),
        "takes linear weights for convolutions": _drawing(fans=_convolution_always),
        "leaves the window out of the fans": _drawing(fans=_without_the_window),
        "counts one side of the window": _drawing(fans=_one_side_of_the_window),
        "leaves the window out of fan_out": _drawing(fans=_fan_out_without_the_window),
        "exchanges fan_in and fan_out": _drawing(fans=_exchanged),
        "he is the root of 1/D": _drawing(he=_STDS["lecun"]),
        "he is the root of 1/(2 D)": _drawing(he=lambda fan_in, fan_out: math.sqrt(1 / (2 * fan_in))),
        "he is 2 over the root of D": _drawing(he=lambda fan_in, fan_out: 2 / math.sqrt(fan_in)),
        "he is the variance 2/D": _drawing(he=lambda fan_in, fan_out: 2 / fan_in),
        "xavier is the root of 1/D": _drawing(xavier=_STDS["lecun"]),
        "xavier without the 2": _drawing(xavier=lambda fan_in, fan_out: math.sqrt(1 / (fan_in + fan_out))),
        "xavier takes the bound of the uniform form for the std": _drawing(
            xavier=lambda fan_in, fan_out: math.sqrt(6 / (fan_in + fan_out))
        ),
        "xavier is the variance": _drawing(xavier=lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        "lecun is 1/D": _drawing(lecun=lambda fan_in, fan_out: 1 / fan_in),
        "small is 0.001": _drawing(small=lambda fan_in, fan_out: 0.001),
        "small is a variance of 0.01": _drawing(small=lambda fan_in, fan_out: 0.1),
        "zero is not quite 0": _drawing(zero=lambda fan_in, fan_out: 1e-6),
        "draws uniform numbers": _drawing(draw=_uniform),
        "draws positive numbers": _drawing(draw=_positive),
        "is not centred": _drawing(draw=_shifted),
        "cuts the tails off": _drawing(draw=_truncated),
        "draws one row and repeats it": _drawing(draw=_same_rows),
        "draws signs": _drawing(draw=_signs),
        "ignores the generator": _without_generator,
        "makes a generator of its own": _drawing(seed=lambda g: torch.Generator(device=g.device).manual_seed(0)),
        "seeds the generator anew": _drawing(seed=lambda g: g.manual_seed(0)),
        "copies the generator": _drawing(seed=lambda g: g.clone_state()),
        "always in float32": _in_float32,
        "on the default device": _on_the_default_device,
        "returns a flat tensor": _with_gradient,
    },
    solutions={
        "fills zeros in place": _filled_in_place,
        "from pairs of uniform numbers": _from_uniform_pairs,
        "standard normal numbers times a number": _drawing(),
    },
    equivalent={
        "initialize: shape[2:] -> shape[-2:]": "the last two of four axes; of a linear shape the window is not used",
        "initialize: {'zero': 0.0, 'small': 0.01, 'lecun': math.sqrt(1 / fan_in), 'xavier': math.sqrt(2 / (fan_in + "
        "fan_out)), 'he': math.sqrt(2 / fan_in)}[kind] -> {'zero': 0.0, 'small': -0.01, 'lecun': math.sqrt(1 / fan_in), "
        "'xavier': math.sqrt(2 / (fan_in + fan_out)), 'he': math.sqrt(2 / fan_in)}[kind]": "normal numbers are as likely "
        "as their negatives",
        "initialize: return std * torch.randn(shape, generator=generator, dtype=dtype, device=generator.device) -> "
        "return -(std * torch.randn(shape, generator=generator, dtype=dtype, device=generator.device))": "normal numbers "
        "are as likely as their negatives",
    },
)


def _statistics_in_lists(x, weights, activation):
    means, stds = [], []
    for W in weights:
        x = activation(torch.einsum("nd,dm->nm", x, W))
        means.append(x.mean().item())
        stds.append((x - x.mean()).square().mean().sqrt().item())
    return torch.tensor(means, dtype=x.dtype, device=x.device), torch.tensor(stds, dtype=x.dtype, device=x.device)


def _statistics_recursively(x, weights, activation):
    if not weights:
        return x.new_zeros(0), x.new_zeros(0)
    h = activation(x @ weights[0])
    means, stds = _statistics_recursively(h, weights[1:], activation)
    std = (h.square().mean() - h.mean() ** 2).clamp(min=0).sqrt()
    return torch.cat([h.mean()[None], means]), torch.cat([std[None], stds])


def _statistics(x, weights, activation, mean=torch.mean, std=lambda h: h.std(correction=0), skip=0):
    layers = []
    for W in weights:
        x = activation(x @ W)
        layers.append(x)
    layers = layers[skip:]
    return torch.stack([mean(h) for h in layers]), torch.stack([std(h) for h in layers])


def _statistics_popping(x, weights, activation):
    means, stds = [], []
    while weights:
        x = activation(x @ weights.pop())
        means.append(x.mean())
        stds.append(x.std(correction=0))
    return torch.stack(means), torch.stack(stds)


def _statistics_with(**changes):
    return lambda x, weights, activation: _statistics(x, weights, activation, **changes)


layer_statistics = Hidden(
    cases=[
        Case("one layer", x=normal(5, 4), weights={"W1": normal(4, 3)}, activation="tanh"),
        Case("one image", x=normal(1, 6), weights={"W1": normal(6, 5), "W2": normal(5, 4)}, activation="relu"),
        Case("no activation", x=normal(4, 3, mean=2), weights={"W1": normal(3, 3)}, activation="identity"),
        Case(
            "eight layers",
            x=normal(7, 6),
            weights={f"W{number}": normal(6, 6, std=0.5) for number in range(8)},
            activation="relu",
        ),
        Case("float32", x=normal(6, 9), weights={"W1": normal(9, 4), "W2": normal(4, 7)}, activation="tanh").float32(),
        Case(
            "non-contiguous", x=normal(6, 5), weights={"W1": normal(5, 4), "W2": normal(4, 6)}, activation="relu"
        ).strided(),
        Case(
            "saturated",
            x=normal(4, 5),
            weights={"W1": normal(5, 5, std=1e3), "W2": normal(5, 2)},
            activation="tanh",
        ),
    ],
    mutants={
        "median": _statistics_with(mean=torch.median),
        "mean absolute deviation": _statistics_with(std=lambda h: (h - h.mean()).abs().mean()),
        "leaves the first layer out": lambda x, weights, activation: (
            _statistics(x, weights, activation, skip=1) if len(weights) > 1 else (x.new_zeros(0), x.new_zeros(0))
        ),
        "always tanh": lambda x, weights, activation: _statistics(x, weights, torch.tanh),
        "from the last layer to the first": lambda x, weights, activation: tuple(
            each.flip(0) for each in _statistics(x, weights, activation)
        ),
        "takes weights off the list": _statistics_popping,
        "statistics of the last layer alone": lambda x, weights, activation: tuple(
            each[-1] for each in _statistics(x, weights, activation)
        ),
        "swaps its results": lambda x, weights, activation: _statistics(x, weights, activation)[::-1],
        "per unit": _statistics_with(mean=lambda h: h.mean(0)[0]),
    },
    solutions={
        "numbers in lists": _statistics_in_lists,
        "recursive": _statistics_recursively,
    },
)


def _dead_by_loop(h):
    dead = 0
    for unit in range(h.shape[1]):
        if all(value == 0 for value in h[:, unit].tolist()):
            dead += 1
    return dead / h.shape[1]


dead_fraction = Hidden(
    cases=[
        Case("all dead", h=given([[0.0, 0.0, 0.0], [0.0, -0.0, 0.0]])),
        Case("none dead", h=normal(3, 4)),
        Case("one image", h=given([[0.0, 2.0, 0.0, 0.0, 1.0]])),
        Case("one unit, alive", h=given([[0.0], [0.0], [1e-9]])),
        Case("one unit, dead", h=given([[0.0], [0.0]])),
        Case("many images", h=given([[0.0, 0.0, 0.5]] + [[0.0, 0.0, 0.0]] * 40 + [[0.0, 1.0, 0.0]])),
        Case("outputs that cancel", h=given([[1.0, 0.0, 2.0], [-1.0, 0.0, 3.0]])),
        Case("negative outputs", h=given([[-1.0, 0.0, -2.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])),
        Case("float32", h=given([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])).float32(),
        Case("non-contiguous", h=given([[0.0, 1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.25, 0.0]])).strided(),
    ],
    mutants={
        "looks at the first image alone": lambda h: (h[0] == 0).double().mean(),
        "looks at the first and the last image": lambda h: ((h[0] == 0) & (h[-1] == 0)).double().mean(),
        "takes small outputs for dead": lambda h: (h.abs() < 1e-3).all(dim=0).double().mean(),
        "takes a small mean for dead": lambda h: (h.mean(0).abs() < 0.05).double().mean(),
        "takes positive outputs for dead": lambda h: (h >= 0).all(dim=0).double().mean(),
        "per cent": lambda h: 100 * (h == 0).all(dim=0).double().mean(),
        "one number per unit": lambda h: (h == 0).all(dim=0).double(),
        "is any unit dead?": lambda h: (h == 0).all(dim=0).any(),
        "allows one image": lambda h: ((h != 0).sum(0) <= 1).double().mean(),
        "whole units": lambda h: (h == 0).all(dim=0).sum() // h.shape[1],
    },
    solutions={
        "loop over units": _dead_by_loop,
        "largest absolute value": lambda h: (h.abs().amax(dim=0) == 0).float().mean().item(),
        "one less those that answer": lambda h: 1 - (h != 0).any(0).sum() / h.shape[1],
    },
)
