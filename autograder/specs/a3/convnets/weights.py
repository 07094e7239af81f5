"""First weights with Kaiming's size."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a3.convnets.weights import weights_case


def _fan_in(shape):
    return shape[0] if len(shape) == 2 else shape[1] * shape[2] * shape[3]


def _drawing(
    *,
    fan=_fan_in,
    size=lambda fan_in: (2 / fan_in) ** 0.5,
    draw=torch.randn,
    source=lambda generator: generator,
    shape_of=lambda shape: shape,
    kind=lambda dtype: dtype,
    shift=0.0,
):
    """Return kaiming_weights with parts replaced."""

    def kaiming_weights(shape, generator, dtype=torch.float32):
        place = {"device": generator.device, "dtype": kind(dtype)}
        return size(fan(shape)) * (draw(shape_of(shape), generator=source(generator), **place) + shift)

    return kaiming_weights


def _uniform(shape, **options):
    return math.sqrt(12) * (torch.rand(shape, **options) - 0.5)


def _one_filter(shape, **options):
    return torch.randn((1, *shape[1:]), **options).expand(shape).clone()


def _global(shape, *, generator, **options):
    return torch.randn(shape, **options)


def _signs(shape, **options):
    return torch.randn(shape, **options).sign()


def _by_init(shape, generator, dtype=torch.float32):
    w = torch.empty(shape, dtype=dtype, device=generator.device)
    mode = "fan_out" if w.dim() == 2 else "fan_in"  # (D, M) is the transpose of what torch expects
    return torch.nn.init.kaiming_normal_(w, mode=mode, nonlinearity="relu", generator=generator)


def _entry_by_entry(shape, generator, dtype=torch.float32):
    """Fill with Box and Muller's normal numbers, one output at a time."""
    w = torch.zeros(shape, dtype=torch.float64, device=generator.device)
    outputs = w.T if w.dim() == 2 else w
    for row in outputs:
        u, v = torch.rand(2, *row.shape, generator=generator, dtype=torch.float64, device=generator.device)
        row.copy_((-2 * (1 - u).log()).sqrt() * torch.cos(2 * math.pi * v) / math.sqrt(row.numel() / 2))
    return w.to(dtype)


def _normal_in_place(shape, generator, dtype=None):
    count = 1
    for size in shape[:1] if len(shape) == 2 else shape[1:]:
        count *= size
    w = torch.zeros(shape, device=generator.device, dtype=dtype or torch.float32)
    return w.normal_(mean=0.0, std=math.sqrt(2.0 / count), generator=generator)


kaiming_weights = Hidden(
    cases=[
        weights_case("one channel", (30, 1, 4, 7), 3),
        weights_case("filters of 1×1", (12, 40, 1, 1), 4),
        weights_case("one filter", (1, 20, 5, 5), 5),
        weights_case("many filters", (300, 3, 3, 3), 6),
        weights_case("one unit", (500, 1), 7),
        weights_case("few inputs, many units", (7, 300), 8),
        weights_case("filters, float64", (16, 5, 3, 6), 9, "float64"),
    ],
    mutants={
        "counts filters": _drawing(fan=lambda shape: shape[0]),
        "counts columns of matrices": _drawing(fan=lambda shape: math.prod(shape[1:])),
        "counts outputs": _drawing(fan=lambda s: s[1] if len(s) == 2 else s[0] * s[2] * s[3]),
        "counts channels only": _drawing(fan=lambda s: s[0] if len(s) == 2 else s[1]),
        "counts the window only": _drawing(fan=lambda s: s[0] if len(s) == 2 else s[2] * s[3]),
        "takes the window for square": _drawing(fan=lambda s: s[0] if len(s) == 2 else s[1] * s[2] ** 2),
        "counts all entries": _drawing(fan=math.prod),
        "one over the fan-in": _drawing(size=lambda fan_in: (1 / fan_in) ** 0.5),
        "the variance for the deviation": _drawing(size=lambda fan_in: 2 / fan_in),
        "Xavier's factor": _drawing(size=lambda fan_in: (2 / (2 * fan_in)) ** 0.5),
        "small and constant": _drawing(size=lambda fan_in: 0.01),
        "uniform numbers": _drawing(draw=torch.rand),
        "uniform numbers of the right size": _drawing(draw=_uniform),
        "signs": _drawing(draw=_signs),
        "one filter for all": _drawing(draw=_one_filter),
        "a mean of a tenth": _drawing(shift=0.3),
        "without the generator": _drawing(draw=_global),
        "a generator of its own": _drawing(
            source=lambda generator: torch.Generator(device=generator.device).manual_seed(0)
        ),
        "seeds the generator anew": _drawing(source=lambda generator: generator.manual_seed(generator.initial_seed())),
        "transposed": _drawing(shape_of=lambda shape: shape[::-1]),
        "float64 always": _drawing(kind=lambda dtype: torch.float64),
        "float32 always": _drawing(kind=lambda dtype: torch.float32),
    },
    solutions={
        "torch.nn.init": _by_init,
        "output by output, Box and Muller": _entry_by_entry,
        "normal_": _normal_in_place,
    },
    equivalent={
        "kaiming_weights: return math.sqrt(2 / fan_in) * numbers -> return -(math.sqrt(2 / fan_in) * numbers)": "normal "
        "numbers with the other sign are normal numbers",
    },
)
