"""Cases and mutants of all activations that work on each entry by itself."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, given, normal, uniform

# Where exp overflows (710 in float64, 89 in float32), just before it does, and far beyond.
_FAR = [[-1e4, -711.0, -709.0, -89.0, -88.0, -1.0], [1e4, 711.0, 709.0, 89.0, 88.0, 0.5]]


def entrywise_cases(*options):
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


def pair(value, slope):
    """Make forward and backward from a function of x and its options, and its derivative."""

    def forward(x, *options):
        return value(x, *options), (x, options)

    def backward(dout, cache):
        x, options = cache
        return dout * slope(x, *options)

    return forward, backward


def entrywise_mutants(value, slope):
    """Return what goes wrong with a pair whatever its function is."""
    forward, backward = pair(value, slope)
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
