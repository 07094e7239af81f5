"""First weights: Kaiming's size for layers of both kinds, and how the first weights of a net are told."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Case, Invariant, given

SIGMAS = 5.5


def _draw(kaiming_weights, shape, dtype, seed, home):
    def generator(number):
        return torch.Generator(device=home.device).manual_seed(number)

    kind, source = getattr(torch, dtype), generator(seed)
    first = [kaiming_weights(tuple(shape), source, kind) for _ in range(2)]
    return {
        "w": first[0],
        "next": first[1],
        "again": kaiming_weights(tuple(shape), generator(seed), kind),
        "other": kaiming_weights(tuple(shape), generator(seed + 1), kind),
        "by default": kaiming_weights((2, 3), generator(seed)),
    }


def _has_shape(result, shape, dtype, seed, home):
    w = result["w"]
    if not isinstance(w, torch.Tensor):
        return f"kaiming_weights returned {'None' if w is None else f'a {type(w).__name__}'}; expected a tensor"
    if tuple(w.shape) != tuple(shape):
        return f"the weights have shape {tuple(w.shape)}; expected {tuple(shape)}"
    if w.dtype != getattr(torch, dtype) or w.device.type != home.device.type:
        return f"the weights are {w.dtype} on {w.device.type}; expected torch.{dtype} on {home.device.type}"
    if result["by default"].dtype != torch.float32:
        return f"without dtype the weights are {result['by default'].dtype}; expected torch.float32"
    return None


def _has_kaiming_size(result, shape, dtype, seed, home):
    w = result["w"].double().flatten()
    fan_in = shape[0] if len(shape) == 2 else math.prod(shape[1:])
    std, count = math.sqrt(2 / fan_in), len(w)
    size, mean = float(w.square().mean().sqrt()), float(w.mean())
    if abs(size / std - 1) > SIGMAS / math.sqrt(2 * count):
        return f"weights of shape {tuple(shape)} have a size of about {size:.3g}; expected {std:.3g}"
    if abs(mean) > SIGMAS * std / math.sqrt(count):
        return f"weights of shape {tuple(shape)} have the mean {mean:.3g}; expected about 0"
    # A third more than the standard error, because the distribution of the fourth power has a long tail.
    if count >= 1000 and abs(float((w / size).pow(4).mean()) - 3) > 1.33 * SIGMAS * math.sqrt(24 / count):
        return "the weights are not distributed normally"
    if len(w.unique()) < 0.99 * count:
        return "numbers occur more than once; expected each to be drawn by itself"
    return None


def _follows_generator(result, shape, dtype, seed, home):
    if not torch.equal(result["w"], result["again"]):
        return "generators with equal seeds give different weights; expected the same ones"
    if torch.equal(result["w"], result["other"]):
        return "generators with different seeds give the same weights; expected other ones"
    if torch.equal(result["w"], result["next"]):
        return "two calls in a row give the same weights; expected new ones at every call"
    return None


def weights_case(name, shape, seed, dtype="float32"):
    """Return a case of ``kaiming_weights``; ``home`` is a tensor that says on which device the generator is."""
    return Case(name, shape=list(shape), dtype=dtype, seed=seed, home=given([0.0]))


kaiming_weights = Invariant(
    functions=("kaiming_weights",),
    cases=[
        weights_case("20 filters of 3×5×3", (20, 3, 5, 3), 1),
        weights_case("60 inputs, 35 units, float64", (60, 35), 2, "float64"),
    ],
    properties={"shape": _has_shape, "size": _has_kaiming_size, "generator": _follows_generator},
    points={"shape": 1, "size": 2, "generator": 1},
    hints={
        "shape": "the shape is the one asked for, and so is the dtype",
        "size": "how many numbers does one output add up? for filters and for matrices they stand on different axes",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
    },
    call=_draw,
)


def tell_weights(build, wanted, like, others):
    """Say in words what the first weights of a net are.

    Args:
        build: Seed to a fresh net's weights by name.
        wanted: Name to standard deviation, or to the text ``zeros`` or ``ones``.
        like: A tensor with the dtype and device that they should have.
        others: Name to a standard deviation that a known mistake gives.

    Returns:
        Name to what was found, beside ``seed``; equal to ``expect_weights(wanted)`` if all is well.
    """
    first, again, other = build(0), build(0), build(1)
    told = {name: _tell(first.get(name), [spread, others.get(name, spread)], like) for name, spread in wanted.items()}
    drawn = [name for name, spread in wanted.items() if not isinstance(spread, str)]
    try:
        is_repeated = all(torch.equal(first[name], again[name]) for name in drawn)
        is_new = not any(torch.equal(first[name], other[name]) for name in drawn)
    except (KeyError, TypeError, RuntimeError):
        is_repeated = is_new = False
    told["seed"] = _SEEDED if is_repeated and is_new else "weights do not follow from the seed"
    # Whatever is made without device= ends up on another one here.
    with torch.device("meta"):
        try:
            elsewhere = build(0)
        except (RuntimeError, NotImplementedError):
            elsewhere = {}
    homeless = [name for name in wanted if getattr(elsewhere.get(name), "is_meta", True)]
    return told | dict.fromkeys(homeless, "made without device=")


_SEEDED = "equal seeds, equal weights"


def expect_weights(wanted):
    """Return what ``tell_weights`` says if all is well."""
    return {name: _spoken(spread) for name, spread in wanted.items()} | {"seed": _SEEDED}


def _spoken(spread):
    return spread if isinstance(spread, str) else f"normal numbers of about {spread:.2g}"


def _tell(w, spreads, like):
    if not isinstance(w, torch.Tensor):
        return "no tensor"
    if w.dtype != like.dtype or w.device.type != like.device.type:
        return f"{str(w.dtype).removeprefix('torch.')} on {w.device.type}"
    if bool((w == 0).all()):
        return "zeros"
    if bool((w == 1).all()):
        return "ones"
    size = float(w.double().square().mean().sqrt())
    for spread in spreads:
        if not isinstance(spread, str) and abs(size / spread - 1) <= SIGMAS / math.sqrt(2 * w.numel()):
            return _spoken(spread)
    return f"numbers of about {size:.2g}"
