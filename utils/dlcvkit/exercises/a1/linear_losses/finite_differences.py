"""The gradient of any function by centred differences."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, Case, Function, Mistake, normal


def _points(x):
    """Numbers from -1 to 1, one for each entry of ``x``: weights that tell the entries apart."""
    return torch.linspace(-1, 1, x.numel(), dtype=x.dtype, device=x.device).reshape(x.shape)


_FUNCTIONS = {
    "sum of squares": lambda x: (x**2).sum(),
    "sum of cubes": lambda x: (x**3).sum(),
    "weighted sines": lambda x: (_points(x) * x.sin()).sum(),
    "products of neighbours": lambda x: (x[..., 1:] * x[..., :-1] ** 2).sum(),
    "a Python number": lambda x: float((_points(x) * x.exp()).sum()),
    "logarithm of a sum": lambda x: x.exp().sum().log(),
}


def _call_numerical_gradient(numerical_gradient, f, x, h):
    before = x.clone()
    gradient = numerical_gradient(_FUNCTIONS[f], x, h)
    if torch.equal(x, before):
        state = "unchanged"
    else:
        state = "off by rounding" if torch.allclose(x, before, rtol=0, atol=1e-3 * h) else "changed"
    x.copy_(before)  # so that an entry not put back costs its own points only
    return gradient, state


def _value(f, x):
    return torch.as_tensor(_FUNCTIONS[f](x), dtype=x.dtype, device=x.device)


def _quotient(f, x, *, up, down, width):
    """Difference quotient in every entry, from ``f(x + up)`` and ``f(x - down)``."""
    steps = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape)
    values = [_value(f, x + up * step) - _value(f, x - down * step) for step in steps]
    return torch.stack(values).reshape(x.shape) / width


def _centred(f, x, h):
    return _quotient(f, x, up=h, down=h, width=2 * h)


def _never_put_back(f, x, h):
    moved = x.clone()
    quotients = []
    for index in range(x.numel()):
        step = torch.eye(x.numel(), dtype=x.dtype, device=x.device)[index].reshape(x.shape)
        quotients.append((_value(f, moved + h * step) - _value(f, moved - h * step)) / (2 * h))
        moved = moved - h * step
    return torch.stack(quotients).reshape(x.shape), "changed"


numerical_gradient = Function(
    functions=("numerical_gradient",),
    reference=lambda f, x, h: (_centred(f, x, h), "unchanged"),
    call=_call_numerical_gradient,
    cases=[
        Case("sum of cubes, h = 0.5", f="sum of cubes", x=normal(3, 4), h=0.5),
        Case("sines, h = 1e-5", f="weighted sines", x=normal(2, 3, 2), h=1e-5),
        Case("a transposed matrix", f="products of neighbours", x=normal(3, 5), h=0.1).strided(),
    ],
    points={"gradient": 3, "x": 1},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "divides by h instead of by the distance between the two points",
            lambda f, x, h: (2 * _centred(f, x, h), "unchanged"),
            hint="how far apart are the two points at which f is evaluated?",
        ),
        Mistake(
            "does not divide",
            lambda f, x, h: (2 * h * _centred(f, x, h), "unchanged"),
            hint="a slope is a difference of values divided by a distance",
        ),
        Mistake(
            "takes the forward difference",
            lambda f, x, h: (_quotient(f, x, up=h, down=0, width=h), "unchanged"),
            hint="the centred difference evaluates f on both sides of x",
        ),
        Mistake(
            "takes the backward difference",
            lambda f, x, h: (_quotient(f, x, up=0, down=h, width=h), "unchanged"),
            hint="the centred difference evaluates f on both sides of x",
        ),
        Mistake(
            "compares f(x + h) with f(x) and divides by 2h",
            lambda f, x, h: (_quotient(f, x, up=h, down=0, width=2 * h), "unchanged"),
            hint="the centred difference evaluates f on both sides of x",
        ),
        Mistake(
            "subtracts in the wrong order",
            lambda f, x, h: (-_centred(f, x, h), "unchanged"),
            hint="where f rises, the slope is positive",
        ),
        Mistake(
            "ignores h",
            lambda f, x, h: (_centred(f, x, 1e-5), "unchanged"),
            hint="the step is an argument",
        ),
        Mistake(
            "moves all entries at once",
            lambda f, x, h: (
                ((_value(f, x + h) - _value(f, x - h)) / (2 * h)).expand(x.shape).clone(),
                "unchanged",
            ),
            hint="each entry has a slope of its own: move one and leave the others",
        ),
        Mistake(
            "leaves every entry moved when it goes on to the next",
            _never_put_back,
            hint="put the entry back before you move the next one",
        ),
        Mistake(
            "moves the entries of a copy while f is given x itself",
            lambda f, x, h: (torch.zeros_like(x), "unchanged"),
            hint="flatten and reshape copy a tensor with gaps in memory; f has to see the entry that you moved",
        ),
        Mistake(
            "does not put x back exactly",
            lambda f, x, h: (_centred(f, x, h), "off by rounding"),
            hint="adding h and subtracting it again rounds: keep the old number and assign it",
        ),
    ],
)
