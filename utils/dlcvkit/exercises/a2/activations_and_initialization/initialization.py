"""First weights, and what becomes of a signal on its way through many layers."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import TORCH_LAYERS, Case, Function, Invariant, Mistake, given, normal

_SIGMAS = 6.0  # a right answer is farther off than this once in 500 million times


def _wanted_std(shape, kind):
    fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(_as_torch(shape), device="meta"))
    variances = {
        "zero": 0.0,
        "small": 1e-4,
        "lecun": 1 / fan_in,
        "xavier": 2 / (fan_in + fan_out),
        "he": torch.nn.init.calculate_gain("relu") ** 2 / fan_in,
    }
    return math.sqrt(variances[kind])


def _as_torch(shape):
    """Return the shape that torch gives such weights: its linear ones are transposed."""
    return shape[::-1] if len(shape) == 2 else shape


def draw_weights(initialize, shape, kind, like, seed):
    """Draw weights twice from one generator, again from an equal one, and from another."""
    size = tuple(shape)

    def generator(number):
        return torch.Generator(device=like.device).manual_seed(number)

    first = generator(seed)
    return {
        "W": initialize(size, kind, first, dtype=like.dtype),
        "next": initialize(size, kind, first, dtype=like.dtype),
        "again": initialize(size, kind, generator(seed), dtype=like.dtype),
        "other": initialize(size, kind, generator(seed + 1), dtype=like.dtype),
    }


def _is_a_tensor_like_it(result, shape, kind, like, seed):
    W = result["W"]
    if not isinstance(W, torch.Tensor):
        return f"initialize returned {'None' if W is None else f'a {type(W).__name__}'}; expected a tensor"
    if tuple(W.shape) != tuple(shape):
        return f"the weights have shape {tuple(W.shape)}; expected {tuple(shape)}"
    if W.dtype != like.dtype:
        return f"the weights have dtype {W.dtype}; expected {like.dtype}, which was passed as dtype"
    if W.device.type != like.device.type:
        return f"the weights are on {W.device.type}; expected {like.device.type}, where the generator is"
    return None


def _entries(result):
    return result["W"].detach().double().cpu().flatten()


def _has_wanted_std(result, shape, kind, like, seed):
    values = _entries(result)
    got, wanted = float(values.square().mean().sqrt()), _wanted_std(shape, kind)
    if not math.isfinite(got):
        return "the weights are not all finite"
    # The root mean square of n normal numbers scatters by 1 / sqrt(2 n) of its size.
    if abs(got - wanted) <= _SIGMAS * wanted / math.sqrt(2 * len(values)):
        return None
    for kind_of_it in ("zero", "small", "lecun", "xavier", "he"):
        stranger = _wanted_std(shape, kind_of_it)
        if kind_of_it != kind and stranger > 0 and abs(got / stranger - 1) <= 0.02:
            return f"the weights have a standard deviation of {got:.4g}, that of kind {kind_of_it!r}, not of {kind!r}"
    transposed = _wanted_std((shape[1], shape[0], *shape[2:]), kind)
    if abs(got / transposed - 1) <= 0.02 if transposed else False:
        return f"the weights have a standard deviation of {got:.4g}: right if the first two axes were exchanged"
    if wanted and abs(got / wanted**2 - 1) <= 0.02:
        return f"the weights have a standard deviation of {got:.4g}, which should be their variance"
    return f"the weights of kind {kind!r} have a standard deviation of {got:.4g}"


def _is_normal(result, shape, kind, like, seed):
    values = _entries(result)
    size = float(values.square().mean().sqrt())
    if kind == "zero" or size == 0:
        return None if kind == "zero" else "all weights are 0"
    count = len(values)
    mean = float(values.mean()) / size
    if abs(mean) > _SIGMAS / math.sqrt(count):
        return f"the mean of the weights is {mean:.2g} of their standard deviation; expected about 0"
    inside = float((values.abs() <= size).double().mean())
    # A normal number is within one standard deviation 68.3 % of the time, a uniform one 57.7 %.
    if abs(inside - 0.6827) > _SIGMAS * math.sqrt(0.6827 * 0.3173 / count):
        return f"{inside:.1%} of the weights are within one standard deviation; expected 68.3 % of normal numbers"
    widest = float(values.abs().max()) / size
    if widest < 2.9 and count >= 10_000:
        return f"no weight is farther than {widest:.2g} standard deviations from 0; normal numbers have tails"
    matrix = values.reshape(shape[0], -1)
    is_repeated = len(matrix) > 1 and torch.equal(matrix[0], matrix[1])
    return "rows of the weights are copies of each other; expected independent numbers" if is_repeated else None


def _obeys_generator(result, shape, kind, like, seed):
    if kind == "zero":
        return None
    if not torch.equal(result["W"], result["again"]):
        return "generators with equal seeds give different weights; expected the same ones"
    if torch.equal(result["W"], result["other"]):
        return "generators with different seeds give the same weights; expected other ones"
    if torch.equal(result["W"], result["next"]):
        return "two calls with one generator give the same weights; expected new numbers from the second"
    return None


initialize = Invariant(
    functions=("initialize",),
    cases=[
        Case("zero, 60×40", shape=[60, 40], kind="zero", like=normal(1), seed=1),
        Case("small, 120×80", shape=[120, 80], kind="small", like=normal(1), seed=2),
        Case("lecun, 200×100", shape=[200, 100], kind="lecun", like=normal(1), seed=3),
        Case("xavier, 300×100", shape=[300, 100], kind="xavier", like=normal(1), seed=4),
        Case("he, 250×100, float32", shape=[250, 100], kind="he", like=normal(1), seed=5).float32(),
        Case("he, 32×64×3×3", shape=[32, 64, 3, 3], kind="he", like=normal(1), seed=6),
    ],
    properties={
        "tensor": _is_a_tensor_like_it,
        "std": _has_wanted_std,
        "normal": _is_normal,
        "generator": _obeys_generator,
    },
    points={"tensor": 1, "std": 3, "normal": 1, "generator": 1},
    hints={
        "tensor": "shape and dtype are arguments; the device is that of the generator",
        "std": "look at the table above: how many inputs does one output add up, for (D, M) and for (F, C, HH, WW)?",
        "normal": "standard normal numbers, all drawn at once, times one number",
        "generator": "hand the generator to the call that draws, and neither seed it nor make another",
    },
    forbidden=TORCH_LAYERS,
    call=draw_weights,
)


_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "identity": torch.clone}


def run_layers(layer_statistics, x, weights, activation):
    """Call with the weights as a list, and the activation as a function."""
    return layer_statistics(x, list(weights.values()), _ACTIVATIONS[activation])


def _spread(h):
    return h.std(correction=0)


def _statistics(
    x, weights, activation, *, mean=torch.mean, std=_spread, before=False, first=False, chained=True, on_scores=False
):
    """Return mean and standard deviation after every layer; each keyword switches a mistake on."""
    h, seen = x, [x] if first else []
    for W in weights.values():
        scores = (h if chained else x) @ W
        out = _ACTIVATIONS[activation](scores)
        seen.append(scores if before else out)
        h = scores if on_scores else out
    return torch.stack([mean(h) for h in seen]), torch.stack([std(h) for h in seen])


def _with(**mistakes):
    def variant(x, weights, activation):
        return _statistics(x, weights, activation, **mistakes)

    return variant


layer_statistics = Function(
    functions=("layer_statistics",),
    reference=lambda x, weights, activation: _statistics(x, weights, activation),
    cases=[
        Case(
            "3 layers, tanh",
            x=normal(6, 5),
            weights={"W1": normal(5, 7), "W2": normal(7, 4), "W3": normal(4, 3)},
            activation="tanh",
        ),
        Case(
            "2 layers, ReLU",
            x=normal(4, 8),
            weights={"W1": normal(8, 8, std=0.5), "W2": normal(8, 6)},
            activation="relu",
        ),
    ],
    points={"means": 2, "stds": 2},
    call=run_layers,
    mistakes=[
        Mistake(
            "looks at the scores before the activation",
            _with(before=True),
            hint="the statistics are those of a layer's output, after the activation",
        ),
        Mistake(
            "leaves the activation out",
            _with(before=True, on_scores=True),
            hint="a layer is a product followed by the activation",
        ),
        Mistake(
            "sends scores instead of activations to the next layer",
            _with(on_scores=True),
            hint="a layer is a product followed by the activation; the next one starts from the result",
        ),
        Mistake(
            "gives the input to every layer",
            _with(chained=False),
            hint="each layer starts from what the one before it returned",
        ),
        Mistake(
            "counts the input as a layer",
            _with(first=True),
            hint="one entry per weight matrix: the input itself has none",
        ),
        Mistake(
            "divides by the count less one",
            _with(std=torch.std),
            hint="the standard deviation is that of these numbers, not an estimate: look at correction",
        ),
        Mistake(
            "returns variances",
            _with(std=lambda h: h.var(correction=0)),
            hint="the standard deviation has the unit of the numbers themselves",
        ),
        Mistake(
            "takes the root mean square without subtracting the mean",
            _with(std=lambda h: h.square().mean().sqrt()),
            hint="the standard deviation measures the distance from the mean, not from 0",
        ),
        Mistake(
            "averages the standard deviations of single units",
            _with(std=lambda h: h.std(dim=0, correction=0).mean()),
            hint="mean and standard deviation are taken over all entries at once, images and units",
        ),
        Mistake(
            "averages the standard deviations of single images",
            _with(std=lambda h: h.std(dim=1, correction=0).mean()),
            hint="mean and standard deviation are taken over all entries at once, images and units",
        ),
        Mistake(
            "looks at the first image alone",
            _with(mean=lambda h: h[0].mean(), std=lambda h: _spread(h[0])),
            hint="mean and standard deviation are taken over all entries at once, images and units",
        ),
        Mistake(
            "averages absolute values",
            _with(mean=lambda h: h.abs().mean()),
            hint="negative activations count as negative",
        ),
    ],
)


dead_fraction = Function(
    functions=("dead_fraction",),
    reference=lambda h: (h.count_nonzero(dim=0) == 0).to(h.dtype).mean(),
    cases=[
        Case("1 of 4", h=given([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.5]])),
        Case(
            "2 of 9, with negative ones",
            h=given(
                [
                    [0.0, -1.0, 0.0, 1.0, 2.0, 0.0, 1.0, 3.0, -2.0],
                    [0.0, -0.1, 0.0, -1.0, 0.0, 3.0, 1.0, 1.0, -1.0],
                    [0.0, -2.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.5, -3.0],
                ]
            ),
        ),
    ],
    points={"fraction": 2},
    mistakes=[
        Mistake(
            "counts zeros instead of dead units",
            lambda h: (h == 0).to(h.dtype).mean(),
            hint="a unit that is 0 for some images is alive: it answers to the others",
        ),
        Mistake(
            "counts images instead of units",
            lambda h: (h == 0).all(dim=1).to(h.dtype).mean(),
            hint="h has shape (N, M): look at which axis holds the images",
        ),
        Mistake(
            "counts every unit that is 0 for some image",
            lambda h: (h == 0).any(dim=0).to(h.dtype).mean(),
            hint="a dead unit is 0 for every single image",
        ),
        Mistake(
            "returns the share of living units",
            lambda h: (h != 0).any(dim=0).to(h.dtype).mean(),
            hint="count those that never answer, not those that do",
        ),
        Mistake(
            "returns a number of units instead of a share",
            lambda h: (h == 0).all(dim=0).sum().to(h.dtype),
            hint="a share is between 0 and 1",
        ),
        Mistake(
            "takes a unit for dead when its outputs add up to 0",
            lambda h: (h.sum(dim=0) == 0).to(h.dtype).mean(),
            hint="positive and negative outputs may cancel; look at each of them",
        ),
        Mistake(
            "takes negative outputs for dead",
            lambda h: (h <= 0).all(dim=0).to(h.dtype).mean(),
            hint="a unit with negative outputs answers; dead is exactly 0",
        ),
        Mistake(
            "divides by the number of images",
            lambda h: (h == 0).all(dim=0).sum() / h.shape[0],
            hint="a share of the units: how many are there?",
        ),
    ],
)
