"""First weights, and what becomes of a signal on its way through many layers."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Hidden, given, normal


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
