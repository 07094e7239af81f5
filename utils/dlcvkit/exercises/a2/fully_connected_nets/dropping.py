"""Dropout: a random mask has no reference, so what holds of every right one is checked."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Finding, Interrupted, Invariant, Kind, messages, normal
from dlcvkit.exercises.a2.fully_connected_nets.statistics import find_mismatch, is_near, is_share

_DRAWS = 5


def _use_dropout(dropout_forward, dropout_backward, x, p, seed, dout):
    def generator(number):
        return torch.Generator(device=x.device).manual_seed(number)

    def forward(values, is_training, source):
        result = dropout_forward(values, p, is_training, source)
        if isinstance(result, list | tuple) and len(result) == 2:
            return result
        got = "None" if result is None else f"a {type(result).__name__}"
        text = messages.WRONG_TUPLE.format(name="dropout_forward", got=got, count=2, names="out and cache")
        raise Interrupted(Finding(Kind.STRUCTURE, text))

    source = generator(seed)
    out, cache = forward(x, True, source)
    second, other_cache = forward(x, True, source)
    evaluated, plain_cache = forward(x, False, source)
    ones = torch.ones(50, 60, dtype=x.dtype, device=x.device)
    source = generator(seed + 1)
    found = {
        "out": out,
        "second": second,
        "evaluated": evaluated,
        "again": forward(x, True, generator(seed))[0],
        "many": [forward(ones, True, generator(seed + number))[0] for number in range(5)],
        "in a row": [forward(ones, True, source)[0] for _ in range(2)],
    }
    try:
        found["dx"] = dropout_backward(dout, cache)
        found["second dx"] = dropout_backward(dout, other_cache)
        found["evaluated dx"] = dropout_backward(dout, plain_cache)
    except Exception as error:
        raise Interrupted(error, found, ["dx"]) from error
    return found


def _scales_what_it_keeps(result, x, p, seed, dout):
    for name in ("out", "second"):
        out = result[name]
        problem = find_mismatch("out", out, x)
        if problem is not None:
            return problem
        kept = out != 0
        if is_near(out[kept], x[kept] / (1 - p)):
            continue
        for factor, what in ((1.0, "x"), (1 - p, "x * (1 - p)"), (1 / p if p else 1.0, "x / p")):
            if is_near(out[kept], x[kept] * factor):
                return f"entries that are kept are {what} in training; expected another scale"
        return "entries that are not 0 are no multiple of x; expected x, scaled alike wherever it is kept"
    return None


def _draws_each_by_itself(result, x, p, seed, dout):
    for out in result["many"]:
        problem = find_mismatch("out", out, result["many"][0])
        if problem is not None:
            return problem
    dropped = torch.stack([out == 0 for out in result["many"]]).double()
    share, count = float(dropped.mean()), dropped.numel()
    if not is_share(share, p, count):
        hint = ": p is the probability of dropping, not of keeping" if is_share(share, 1 - p, count) else ""
        return f"{share:.0%} of {count:,} entries are dropped; expected {p:.0%}{hint}"
    if p == 0:
        return None
    if len({float(draw.sum()) for draw in dropped}) == 1:
        return "every draw drops the same number of entries; expected each entry to be decided by itself"
    for dim, name in ((2, "row"), (1, "column")):
        spread = float(dropped.mean(dim).var()) * dropped.shape[dim] / (p * (1 - p))
        if not 0.5 < spread < 1.6:
            return f"whole {name}s are dropped or kept together, or evenly; expected each entry decided by itself"
    centred = dropped - p
    for one, other in ((centred[:, :, 1:], centred[:, :, :-1]), (centred[:, 1:], centred[:, :-1])):
        if abs(float((one * other).mean())) > 0.05 * p * (1 - p):
            return "neighbours are dropped together; expected each entry to be decided by itself"
    return None


def _obeys_generator(result, x, p, seed, dout):
    if not torch.equal(result["out"], result["again"]):
        return "generators with equal seeds give different masks; expected the same one"
    if p == 0:
        return None
    if torch.equal(result["many"][0], result["many"][1]):
        return "generators with different seeds give the same mask; expected other ones"
    if torch.equal(*result["in a row"]):
        return "two calls in a row give the same mask; expected a new one at every call"
    return None


def _passes_through(result, x, p, seed, dout):
    out = result["evaluated"]
    problem = find_mismatch("out", out, x)
    if problem is not None or is_near(out, x):
        return problem
    if is_near(out, x * (1 - p)):
        return "out is x * (1 - p) when not training; the scale has been taken care of in training"
    return "out differs from x when not training; expected x as it is"


def _goes_the_same_way_back(result, x, p, seed, dout):
    for name, out in (("dx", result["out"]), ("second dx", result["second"])):
        dx = result[name]
        problem = find_mismatch("dx", dx, dout)
        if problem is not None:
            return problem
        told = x != 0
        kept = told & (out != 0)
        if bool((dx[told & ~kept] != 0).any()):
            return "the gradient of an entry that was dropped is not 0"
        if not is_near(dx[kept], dout[kept] / (1 - p)):
            is_unscaled = is_near(dx[kept], dout[kept])
            return f"dx of what was kept is {'dout' if is_unscaled else 'off'}; expected dout, scaled as x was"
    problem = find_mismatch("dx", result["evaluated dx"], dout)
    if problem is None and not is_near(result["evaluated dx"], dout):
        return "dx differs from dout when not training; nothing was dropped then"
    return problem


dropout = Invariant(
    functions=("dropout_forward", "dropout_backward"),
    cases=[
        Case("p = 0.3", x=normal(6, 7), p=0.3, seed=1, dout=normal(6, 7)),
        Case("p = 0.75", x=normal(5, 8), p=0.75, seed=2, dout=normal(5, 8)),
        Case("p = 0", x=normal(3, 4), p=0.0, seed=3, dout=normal(3, 4)),
    ],
    properties={
        "out": _scales_what_it_keeps,
        "mask": _draws_each_by_itself,
        "generator": _obeys_generator,
        "evaluation": _passes_through,
        "dx": _goes_the_same_way_back,
    },
    points={"out": 2, "mask": 1, "generator": 1, "evaluation": 1, "dx": 2},
    hints={
        "out": "which factor makes the expected value of an output equal to its input?",
        "mask": "one independent decision per entry; look at which side of p a uniform number has to fall on",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
        "evaluation": "look at what is_training decides",
        "dx": "forward multiplied every entry by a number; the cache has to hold it",
    },
    forbidden=TORCH_LAYERS | AUTOGRAD,
    call=_use_dropout,
)
