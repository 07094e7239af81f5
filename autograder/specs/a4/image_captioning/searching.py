"""Beam search."""

from __future__ import annotations

import math

import torch

from dlcvkit.checking import Hidden, drawn
from dlcvkit.exercises.a4.image_captioning.searching import search_case

_NAMES = {"end": 2, "A": 0, "B": 3, "x": 4, "y": 5, "z": 6}
_WORDS = 7
_START = 1


def _tree(rules, rest):
    """Describe a table from rules: the two words before, ``(before, last)``, to probabilities of what follows.

    The first word has ("start", "start") before it, the second ("start", that word). What no rule names follows
    ``rest``. Probabilities are powers of 2 or not: sums of logarithms tie only where they should.
    """
    names = {**_NAMES, "start": _START}

    def draw(g):
        table = torch.full((1, _WORDS, _WORDS, _WORDS), math.log(1e-6), dtype=torch.float64)
        for word, p in rest.items():
            table[..., names[word]] = math.log(p)
        for (before, last), probabilities in rules.items():
            row = table[0, names[before], names[last]]
            row[:] = math.log(1e-6)
            for word, p in probabilities.items():
                row[names[word]] = math.log(p)
        return table

    return drawn(draw)


def _tree_case(name, rules, beam, max_length, rest=None):
    rest = dict.fromkeys("ABxyz", 0.2) if rest is None else rest
    return search_case(name, _WORDS, beam, max_length, table=_tree(rules, rest))


_GREEDY_WINS = {
    ("start", "start"): {"A": 0.4, "B": 0.35, "end": 0.25},
    ("start", "A"): {"x": 0.4, "y": 0.3, "z": 0.3},
    ("start", "B"): {"y": 0.5, "z": 0.5},
    ("A", "x"): {"end": 1.0},
}
_NARROW = {
    ("start", "start"): {"A": 0.7, "end": 0.2, "B": 0.1},
    ("start", "A"): {"x": 0.4, "y": 0.38, "end": 0.22},
    ("A", "y"): {"end": 1.0},
}
_TIE = {
    ("start", "start"): {"A": 0.25, "B": 0.25, "x": 0.25, "end": 0.25},
    ("start", "A"): {"end": 0.5, "y": 0.5},
    ("start", "B"): {"end": 1.0},
    ("start", "x"): {"end": 1.0},
}
_OVERTAKEN = {
    ("start", "start"): {"A": 0.6, "end": 0.3, "B": 0.1},
    ("start", "A"): {"x": 0.9, "end": 0.1},
    ("A", "x"): {"end": 0.9, "y": 0.1},
}


def _one_word(V):
    def draw(g):
        return torch.randn(2, V, V, V, generator=g, dtype=torch.float64).log_softmax(-1)

    return drawn(draw)


def _search(fault=""):
    def beam_search(step, state, start, end, beam, max_length):
        live = [((), 0.0)]
        fed, aside = start, []
        for t in range(max_length):
            log_probs, state = step(state, fed)
            V = log_probs.shape[1]
            candidates = []
            for place, (words, score) in enumerate(live):
                for word in range(V):
                    total = log_probs[place, word] + (0.0 if fault == "forgets the score so far" else score)
                    candidates.append((float(total), place, word, words))
            key = {
                "ties to the larger word": lambda c: (-c[0], c[1], -c[2]),
                "ties to the later beginning": lambda c: (-c[0], -c[1], c[2]),
                "ties to the smaller word first": lambda c: (-c[0], c[2], c[1]),
            }.get(fault, lambda c: (-c[0], c[1], c[2]))
            candidates.sort(key=key)
            width = beam + 1 if fault == "one more" else beam
            width = beam if fault != "all in the first step" or t else V
            width = beam + 1 if fault == "one more" else width
            width = 1 if fault == "greedy after the first step" and t else width
            kept = candidates[:width]
            if fault == "ended ones make room":
                kept = [c for c in candidates if c[2] == end][:beam] + [c for c in candidates if c[2] != end][:beam]
                kept.sort(key=key)
            over = [((*c[3], c[2]), c[0]) for c in kept if c[2] == end]
            on = [c for c in kept if c[2] != end]
            aside += over
            live = [((*c[3], c[2]), c[0]) for c in on]
            if not live or (fault == "stops at beam ended ones" and len(aside) >= beam):
                break
            rows = torch.tensor([c[1] for c in on], device=start.device)
            state = tuple(part[rows] for part in state)
            fed = torch.tensor([c[2] for c in on], device=start.device)
        pool = aside if fault == "forgets what was cut off" and aside else [*aside, *live]
        if fault == "last one of equal ends":
            pool = pool[::-1]
        if fault == "those cut off first":
            pool = [*live, *aside]
        best = max(pool, key=lambda found: found[1])
        if fault == "the first put aside":
            best = pool[0]
        if fault == "the last put aside":
            best = pool[-1]
        score = best[1] / len(best[0]) if fault == "mean score" else best[1]
        return torch.tensor(best[0], device=start.device), torch.tensor(score, device=start.device)

    return beam_search


def _recursive(step, state, start, end, beam, max_length):
    """One level a call; tensors all the way."""

    def go(state, tokens, scores, fed, left):
        if not left or not len(fed):
            return [(float(s), w) for s, w in zip(scores, tokens, strict=True)]
        log_probs, state = step(state, fed)
        totals = (scores[:, None] + log_probs).reshape(-1)
        order = torch.argsort(-totals, stable=True)[:beam]
        parents, words = torch.div(order, log_probs.shape[1], rounding_mode="floor"), order % log_probs.shape[1]
        tokens = torch.cat([tokens.index_select(0, parents), words[:, None]], 1)
        over, on = words.eq(end).nonzero()[:, 0], words.ne(end).nonzero()[:, 0]
        found = [(float(totals[order[i]]), tokens[i]) for i in over.tolist()]
        rest = tuple(part.index_select(0, parents[on]) for part in state)
        return found + go(rest, tokens[on], totals[order[on]], words[on], left - 1)

    found = go(state, start.new_zeros(1, 0), torch.zeros(1, device=start.device), start, max_length)
    best = found[0]
    for each in found[1:]:
        best = each if each[0] > best[0] else best
    return best[1], torch.tensor(best[0], device=start.device)


beam_search = Hidden(
    cases=[
        search_case("one step", 6, 3, 1),
        search_case("one step, a beam wider than the vocabulary", 4, 9, 1),
        search_case("greedy, long", 5, 1, 30, late=5.0),
        search_case("greedy, cut off", 5, 1, 4, late=30.0),
        search_case("cut off", 5, 3, 4, late=30.0),
        search_case("never cut off", 6, 3, 40, late=1.0),
        search_case("very long", 6, 4, 120, late=9.0, spread=0.5),
        search_case("room for all beginnings", 4, 300, 4, spread=0.7, late=1.0),
        search_case("two words", 3, 2, 6, end=0, start=2),
        search_case("<end> is the last word", 6, 3, 7, end=5, start=0),
        search_case("one word, that ends", 1, 2, 3, end=0, start=0, table=_one_word(1)),
        _tree_case("what greedy search finds is pushed out", _GREEDY_WINS, 2, 4),
        _tree_case("what greedy search finds", _GREEDY_WINS, 1, 4),
        _tree_case("room for three", _GREEDY_WINS, 3, 4),
        _tree_case("the beam stays wide", _NARROW, 2, 4),
        _tree_case("equal scores at the border", _TIE, 2, 3),
        _tree_case("equal scores at the end", _TIE, 3, 3),
        _tree_case("equal scores, cut off", _TIE, 4, 2),
        _tree_case("equal candidates of several beginnings", {}, 3, 3),
        _tree_case("of equal candidates, the earlier beginning's", {("A", "B"): {"end": 1.0}}, 2, 3),
        _tree_case("ended and cut off, equal", {("start", "start"): {"A": 0.5, "end": 0.5}}, 2, 1),
        _tree_case("overtaken by a longer one", _OVERTAKEN, 2, 5),
        search_case("float32", 5, 3, 6, spread=1.0).float32(),
        search_case("non-contiguous", 5, 3, 5, spread=1.0).strided(),
    ],
    mutants={
        fault: _search(fault)
        for fault in (
            "forgets the score so far",
            "ties to the larger word",
            "ties to the later beginning",
            "ties to the smaller word first",
            "all in the first step",
            "one more",
            "greedy after the first step",
            "ended ones make room",
            "stops at beam ended ones",
            "forgets what was cut off",
            "last one of equal ends",
            "those cut off first",
            "the first put aside",
            "the last put aside",
            "mean score",
        )
    },
    solutions={"lists": _search(), "recursive": _recursive},
    equivalent={
        **{
            f"beam_search: zip({pair}, strict=True) -> zip({pair}{rest})": "there are as many scores as sequences"
            for pair in ("scores[is_over], tokens[is_over]", "scores, tokens")
            for rest in ("", ", strict=False")
        },
        **{
            f"beam_search: {change}": "with no beginning left, further steps find nothing more"
            for change in ("if len(fed) == 0: -> dropped", "len(fed) == 0 -> len(fed) == -1", "break -> dropped")
        },
        "beam_search: start.new_zeros(1, 0) -> start.new_ones(1, 0)": "a tensor without entries has no ones either",
        "beam_search: start.new_zeros(1, 0) -> start.new_zeros(2, 0)": "only the first row is picked, and none has entries",
        "beam_search: log_probs.shape[1] -> log_probs.shape[-1]": "log_probs has two axes",
    },
)
