"""What is recorded of first weights, and what has to hold of them: normal numbers are drawn in more ways than one."""

from __future__ import annotations

import torch

NAMES = ("W1", "b1", "W2", "b2")


def record_weights(initialize, input_dim, hidden_dim, num_classes, weight_scale, seed, dtype):
    def draw(number):
        generator = torch.Generator().manual_seed(number)
        sizes = (input_dim, hidden_dim, num_classes)
        return initialize(*sizes, weight_scale, generator=generator, device="cpu", dtype=getattr(torch, dtype))

    def places(weights):
        if not isinstance(weights, dict):
            return {}
        return {str(name): f"{w.dtype} on {w.device}" for name, w in weights.items() if isinstance(w, torch.Tensor)}

    record = {"first": draw(seed), "again": draw(seed), "other": draw(seed + 1)}
    record["by default"] = places(initialize(2, 3, 2, weight_scale))
    # Whatever is made without device= ends up on another one here.
    with torch.device("meta"):
        try:
            record["elsewhere"] = places(draw(seed))
        except (RuntimeError, NotImplementedError):
            record["elsewhere"] = {}
    return record


def _shapes(input_dim, hidden_dim, num_classes):
    return {
        "W1": (input_dim, hidden_dim),
        "b1": (hidden_dim,),
        "W2": (hidden_dim, num_classes),
        "b2": (num_classes,),
    }


def have_shapes(result, input_dim, hidden_dim, num_classes, weight_scale, seed, dtype):
    weights = result["first"]
    if not isinstance(weights, dict):
        return f"initialize_weights returned {_kind(weights)}; expected a dict with W1, b1, W2 and b2"
    if set(weights) != set(NAMES):
        return f"the weights are called {', '.join(map(str, weights))}; expected W1, b1, W2 and b2"
    for name, wanted in _shapes(input_dim, hidden_dim, num_classes).items():
        got = tuple(weights[name].shape) if isinstance(weights[name], torch.Tensor) else _kind(weights[name])
        if got != wanted:
            return f"{name} has shape {got}; expected {wanted}"
    return None


def _kind(value):
    return "None" if value is None else f"a {type(value).__name__}"


def are_normal(result, input_dim, hidden_dim, num_classes, weight_scale, seed, dtype):
    weights = result["first"]
    for name in ("W1", "W2"):
        w = weights[name].double().flatten()
        size = float(w.square().mean().sqrt())
        # Six standard errors: one right answer in a hundred million is refused.
        slack = 6 / (2 * len(w)) ** 0.5
        if not max(0.0, 1 - slack) * weight_scale < size < (1 + slack) * weight_scale:
            return f"the entries of {name} have a size of about {size:.3g}; expected {weight_scale:.3g}"
        if len(w) < 1000:
            continue
        mean, kurtosis = float(w.mean()), float((w / size).pow(4).mean())
        if abs(mean) > 6 * weight_scale / len(w) ** 0.5:
            return f"the entries of {name} have the mean {mean:.3g}; expected about 0"
        if abs(kurtosis - 3) > 6 * (24 / len(w)) ** 0.5:
            return f"the entries of {name} are not distributed normally"
    return _repeated(weights["W1"], weights["W2"])


def _repeated(first, second):
    for name, w in (("W1", first), ("W2", second)):
        if len(w.unique()) < 0.99 * w.numel():
            return f"numbers occur more than once in {name}; expected each to be drawn by itself"
    count = min(first.numel(), second.numel())
    if count > 1 and torch.equal(first.flatten()[:count], second.flatten()[:count]):
        return "W1 and W2 hold the same numbers; expected new ones for each"
    return None


def are_zero(result, input_dim, hidden_dim, num_classes, weight_scale, seed, dtype):
    for name in ("b1", "b2"):
        if bool((result["first"][name] != 0).any()):
            return f"{name} has entries other than 0"
    return None


def follow_generator(result, input_dim, hidden_dim, num_classes, weight_scale, seed, dtype):
    for name in ("W1", "W2"):
        if not torch.equal(result["first"][name], result["again"][name]):
            return f"generators with equal seeds give a different {name}; expected the same"
        if torch.equal(result["first"][name], result["other"][name]):
            return f"generators with different seeds give the same {name}; expected another"
    return None


def are_in_place(result, input_dim, hidden_dim, num_classes, weight_scale, seed, dtype):
    wanted = f"torch.{dtype} on cpu"
    for name in NAMES:
        got = f"{result['first'][name].dtype} on {result['first'][name].device}"
        if got != wanted:
            return f"{name} is {got}; expected {wanted}"
        if result["by default"].get(name) != "torch.float32 on cpu":
            return f"without dtype and device, {name} is {result['by default'].get(name)}; expected float32 on the CPU"
        if result["elsewhere"].get(name) != wanted:
            return f"{name} was not made on the device that was passed in"
    return None
