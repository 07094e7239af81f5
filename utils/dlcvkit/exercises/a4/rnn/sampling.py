"""Words drawn from scores: the probabilities, which are exact, and the draw, of which properties are checked."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, Case, Function, Invariant, Mistake, given, normal
from dlcvkit.exercises.a2.fully_connected_nets.statistics import is_share

_ROWS = 3000


def _kept(logits, top_k):
    """True for scores of which fewer than ``top_k`` of their row are larger."""
    if top_k is None:
        return torch.ones_like(logits, dtype=torch.bool)
    return (logits[:, None, :] > logits[:, :, None]).sum(2) < top_k


def _probabilities(logits, temperature, top_k):
    if temperature == 0:
        return functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
    return functional.softmax((logits / temperature).masked_fill(~_kept(logits, top_k), -torch.inf), dim=1)


def _tempered(scale):
    """The probabilities with another use of the temperature."""
    return lambda logits, temperature, top_k: (
        _probabilities(logits, 0, None) if temperature == 0 else _probabilities(scale(logits, temperature), 1.0, top_k)
    )


def _renormalized(logits, temperature, top_k):
    """Scores that are cut become 0 and stay in the race."""
    if temperature == 0:
        return _probabilities(logits, 0, None)
    return (logits / temperature * _kept(logits, top_k)).softmax(1)


def _not_renormalized(logits, temperature, top_k):
    return _probabilities(logits, temperature, None) * _kept(logits, top_k)


def _exactly_k(logits, temperature, top_k):
    """Of equal scores the first ones are kept."""
    if temperature == 0 or top_k is None:
        return _probabilities(logits, temperature, None)
    order = logits.argsort(dim=1, descending=True, stable=True)
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(1, order[:, :top_k], True)
    return (logits / temperature).masked_fill(~kept, -torch.inf).softmax(1)


def _picked_by_topk(logits, temperature, top_k):
    """Of equal scores those are kept that torch happens to pick."""
    if temperature == 0 or top_k is None:
        return _probabilities(logits, temperature, None)
    picked = logits.topk(min(top_k, logits.shape[1]), dim=1).indices
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(1, picked, True)
    return (logits / temperature).masked_fill(~kept, -torch.inf).softmax(1)


def _whole_batch(logits, temperature, top_k):
    """One threshold for all rows."""
    if temperature == 0 or top_k is None:
        return _probabilities(logits, temperature, top_k)
    least = logits.flatten().topk(min(top_k, logits.numel())).values[-1]
    return (logits / temperature).masked_fill(logits < least, -torch.inf).softmax(1)


def _shared_best(logits, temperature, top_k):
    if temperature > 0:
        return _probabilities(logits, temperature, top_k)
    best = (logits == logits.amax(1, keepdim=True)).to(logits.dtype)
    return best / best.sum(1, keepdim=True)


sampling_probabilities = Function(
    functions=("sampling_probabilities",),
    reference=_probabilities,
    cases=[
        Case("temperature 1", logits=normal(3, 5), temperature=1.0, top_k=None),
        Case("temperature 0.4, top 3", logits=normal(4, 6), temperature=0.4, top_k=3),
        Case("temperature 3", logits=normal(2, 4), temperature=3.0, top_k=None),
        Case(
            "equal scores at the edge",
            logits=given([[2.0, 1.0, 3.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0, 5.0]]),
            temperature=0.5,
            top_k=2,
        ),
        Case(
            "temperature 0", logits=given([[1.0, 3.0, 2.0], [-2.0, -1.0, -1.0], [0.0] * 3]), temperature=0.0, top_k=None
        ),
    ],
    points={"probabilities": 3},
    forbidden=AUTOGRAD,
    mistakes=[
        Mistake(
            "multiplies by the temperature",
            _tempered(lambda logits, temperature: logits * temperature),
            hint="a high temperature brings probabilities closer together, a low one sets them apart",
        ),
        Mistake(
            "ignores the temperature",
            _tempered(lambda logits, temperature: logits),
            hint="the scores are divided by the temperature before the softmax",
        ),
        Mistake(
            "divides the probabilities by the temperature",
            lambda logits, temperature, top_k: (
                _probabilities(logits, float(temperature > 0), top_k) / (temperature or 1.0)
            ),
            hint="it is the scores that are divided, before the softmax",
        ),
        Mistake(
            "ignores top_k",
            lambda logits, temperature, top_k: _probabilities(logits, temperature, None),
            hint="words whose score is below the k-th largest of their row get probability 0",
        ),
        Mistake(
            "keeps the smallest scores",
            lambda logits, temperature, top_k: (
                _probabilities(logits, temperature, None)
                if temperature == 0 or top_k is None
                else (logits / temperature).masked_fill(~_kept(-logits, top_k), -torch.inf).softmax(1)
            ),
            hint="which words should be left over, the likely or the unlikely ones?",
        ),
        Mistake(
            "sets cut scores to 0",
            _renormalized,
            hint="exp(0) is 1: which score makes the probability 0?",
        ),
        Mistake(
            "does not spread what was cut off",
            _not_renormalized,
            hint="the probabilities of the words that are kept add up to 1: cut first, then take the softmax",
        ),
        Mistake(
            "keeps k words where scores are equal",
            _exactly_k,
            hint="what as large as the k-th largest score is stays, so there may be more than k",
        ),
        Mistake(
            "keeps the k words that topk picks where scores are equal",
            _picked_by_topk,
            hint="what as large as the k-th largest score is stays, so there may be more than k",
        ),
        Mistake(
            "drops the k-th word",
            lambda logits, temperature, top_k: _probabilities(logits, temperature, top_k and max(top_k - 1, 1)),
            hint="the k-th largest score itself is kept: look at < and <=",
        ),
        Mistake(
            "has one threshold for the whole batch",
            _whole_batch,
            hint="every row has a k-th largest score of its own",
        ),
        Mistake(
            "divides by a temperature of 0",
            lambda logits, temperature, top_k: (
                _probabilities(logits, temperature, top_k) if temperature > 0 else logits * torch.nan
            ),
            hint="temperature 0 is a case of its own: the largest score gets everything",
        ),
        Mistake(
            "shares between equal scores at temperature 0",
            _shared_best,
            hint="at temperature 0 one word gets everything: of equal ones the first",
        ),
        Mistake(
            "takes the softmax over the batch",
            lambda logits, temperature, top_k: (
                _probabilities(logits, 0, None)
                if temperature == 0
                else (logits / temperature).masked_fill(~_kept(logits, top_k), -torch.inf).softmax(0)
            ),
            hint="the probabilities of a row add up to 1: along which axis is that?",
        ),
    ],
)


# The draw.


def _draw(sample, logits, temperature, top_k, seed):
    def source(number):
        return torch.Generator(device=logits.device).manual_seed(number)

    many = logits[:1].expand(_ROWS, -1)
    going_on = source(seed)
    return {
        "words": sample(logits, temperature, top_k, source(seed)),
        "many": sample(many, temperature, top_k, going_on),
        "next": sample(many, temperature, top_k, going_on),
        "again": sample(many, temperature, top_k, source(seed)),
        "other": sample(many, temperature, top_k, source(seed + 1)),
    }


def _gives_words(result, logits, temperature, top_k, seed):
    for name, count in (("words", len(logits)), ("many", _ROWS)):
        words = result[name]
        if not isinstance(words, torch.Tensor):
            return f"sample returned {'None' if words is None else f'a {type(words).__name__}'}; expected a tensor"
        if tuple(words.shape) != (count,) or words.dtype != torch.int64:
            kind = f"shape {tuple(words.shape)} and dtype {str(words.dtype)[6:]}"
            return f"the words have {kind}; expected ({count},) and int64"
        if bool((words < 0).any()) or bool((words >= logits.shape[1]).any()):
            return f"a word is not in 0 to {logits.shape[1] - 1}"
    possible = _probabilities(logits, temperature, top_k) > 0
    if not bool(possible.gather(1, result["words"][:, None]).all()):
        return "a word of probability 0 was drawn"
    return None


def _has_frequencies(result, logits, temperature, top_k, seed):
    expected = _probabilities(logits[:1].double(), temperature, top_k)[0].tolist()
    for name in ("many", "next"):
        share = torch.bincount(result[name].flatten(), minlength=len(expected)).double() / _ROWS
        for word, (got, wanted) in enumerate(zip(share.tolist(), expected, strict=True)):
            if not is_share(got, wanted, _ROWS):
                return f"word {word} is drawn in {got:.1%} of {_ROWS} rows with equal scores; expected {wanted:.1%}"
    return None


def _follows_generator(result, logits, temperature, top_k, seed):
    if not torch.equal(result["many"], result["again"]):
        return "generators with equal seeds give different words; expected the same ones"
    if float(_probabilities(logits[:1], temperature, top_k).max()) > 0.99:
        return None  # there is hardly a choice
    if torch.equal(result["many"], result["other"]):
        return "generators with different seeds give the same words; expected other ones"
    if torch.equal(result["many"], result["next"]):
        return "two calls in a row with one generator give the same words; expected new ones"
    return None


sample = Invariant(
    functions=("sample",),
    cases=[
        Case("temperature 1", logits=normal(6, 5), temperature=1.0, top_k=None, seed=1),
        Case("temperature 2, top 3", logits=normal(6, 7), temperature=2.0, top_k=3, seed=2),
        Case("temperature 0", logits=normal(5, 4), temperature=0.0, top_k=None, seed=3),
    ],
    properties={"words": _gives_words, "frequencies": _has_frequencies, "generator": _follows_generator},
    points={"words": 1, "frequencies": 1, "generator": 1},
    hints={
        "words": "one word per row: which axis of length 1 has to go?",
        "frequencies": "draw with the probabilities of sampling_probabilities, for each row by itself",
        "generator": "pass generator= to whatever draws, and make no generator of your own",
    },
    forbidden=AUTOGRAD,
    call=_draw,
)
