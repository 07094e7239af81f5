"""Beam search on a table of probabilities."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Function, Mistake, drawn, given

_MOST = 500


def _find_words(beam_search, table, start, end, beam, max_length):
    def step(state, tokens):
        before, count = state
        return table[count % len(table), before, tokens], (tokens, count + 1)

    return beam_search(step, (start.clone(), torch.zeros_like(start)), start, end, beam, max_length)


def _found(
    table,
    start,
    end,
    beam,
    max_length,
    *,
    width=None,
    per_hypothesis=False,
    probabilities=False,
    normalises=False,
    first_finished=False,
    only_ended=False,
    goes_on=False,
    hides_end=False,
    shows_start=False,
    ties="first",
    final_ties="first",
    is_shrinking=False,
    keeps_order=False,
    worst=False,
    forgets=False,
):
    """The search by lists; each keyword switches a mistake on."""
    begin = int(start[0])
    rows = table.double().tolist()
    live, finished = [(1.0 if probabilities else 0.0, [], begin, begin)], []
    beam = width or beam
    for t in range(max_length):
        candidates = []
        for place, (score, words, before, last) in enumerate(live):
            log_probs = rows[t % len(rows)][before][last]
            for word, log_prob in enumerate(log_probs):
                total = (0.0 if forgets else score) + (
                    torch.tensor(log_prob).exp().item() if probabilities else log_prob
                )
                candidates.append((total, place, word, [*words, word], last))
        order = (lambda c: (c[0], c[1], c[2])) if worst else (lambda c: (-c[0], c[1], c[2]))
        order = (lambda c: (-c[0], -c[1], -c[2])) if ties == "last" else order
        limit = beam - len(finished) if is_shrinking else beam
        if per_hypothesis:
            kept = [
                c
                for place in range(len(live))
                for c in sorted((c for c in candidates if c[1] == place), key=order)[:beam]
            ]
        else:
            kept = sorted(candidates, key=order)[:limit]
        if len(kept) > _MOST:
            raise ValueError("this variant keeps more and more, and is not followed any farther")
        # A state that is not put in the order of the hypotheses belongs to whoever stood in that row.
        rests = [live[min(row, len(live) - 1)][3] if keeps_order else c[4] for row, c in enumerate(kept)]
        following = [(c[0], c[3], rest, c[2]) for c, rest in zip(kept, rests, strict=True)]
        finished += [each for each in following if each[3] == end and not goes_on]
        live = [each for each in following if each[3] != end or goes_on]
        if not live or (first_finished and finished):
            break
    everything = finished + ([] if only_ended and finished else live)

    def merit(each):
        return each[0] / max(len(each[1]), 1) if normalises else each[0]

    best = everything[0]
    for each in everything[1:]:
        if merit(each) > merit(best) or (final_ties == "last" and merit(each) == merit(best)):
            best = each
    words = best[1][:-1] if hides_end and best[1][-1:] == [end] else best[1]
    words = [begin, *words] if shows_start else words
    return torch.tensor(words, dtype=torch.int64, device=table.device), torch.tensor(best[0], dtype=table.dtype)


def _finding(**flags):
    return lambda table, start, end, beam, max_length: _found(table, start, end, beam, max_length, **flags)


def _table(P, V, spread, end, late):
    def draw(g):
        scores = torch.randn(P, V, V, V, generator=g, dtype=torch.float64) * spread
        return (scores - late * (torch.arange(V) == end)).log_softmax(-1)

    return drawn(draw)


def search_case(name, V, beam, max_length, *, P=3, end=2, start=1, spread=1.5, late=2.0, table=None):
    """Describe a search among V words, whose probabilities depend on the step and on the two words before.

    ``late`` is what the score of the end has less than the others.
    """
    return Case(
        name,
        table=_table(P, V, spread, end, late) if table is None else table,
        start=given([start], dtype=torch.int64),
        end=end,
        beam=beam,
        max_length=max_length,
    )


beam_search = Function(
    functions=("beam_search",),
    reference=_found,
    call=_find_words,
    cases=[
        search_case("a beam of 1 is greedy", 5, 1, 6),
        search_case("a beam of 3", 6, 3, 5, spread=1.0),
        search_case("a beam of 2, more steps", 5, 2, 9, spread=2.0, late=4.0),
        search_case("a beam of 4", 5, 4, 5, spread=0.7, late=1.0),
        search_case("room for every prefix", 4, 64, 3, spread=1.0, late=0.0),
    ],
    points={"tokens": 3, "score": 1},
    mistakes=[
        Mistake(
            "keeps the last of equal candidates",
            _finding(ties="last"),
            hint="the text says which of equal scores comes first; torch.topk promises no order",
        ),
        Mistake(
            "takes the last of equal results",
            _finding(final_ties="last"),
            hint="the text says which of equal scores comes first",
        ),
        Mistake(
            "searches greedily, whatever the beam", _finding(width=1), hint="how many beginnings are kept in a step?"
        ),
        Mistake(
            "forgets the score of the beginning",
            _finding(forgets=True),
            hint="the score of a candidate is that of its beginning and that of its last token",
        ),
        Mistake(
            "keeps beam candidates of each beginning",
            _finding(per_hypothesis=True),
            hint="all candidates of a step compete with each other, whoever they come from",
        ),
        Mistake(
            "does not take the states along with the beginnings",
            _finding(keeps_order=True),
            hint="the state of a kept candidate is that of the beginning it continues: rows have to be picked",
        ),
        Mistake("adds up probabilities", _finding(probabilities=True), hint="what is added up are logarithms"),
        Mistake("divides scores by the length", _finding(normalises=True), hint="the score is the plain sum"),
        Mistake(
            "stops at the first caption that ends",
            _finding(first_finished=True),
            hint="a caption that has ended may still be overtaken by one that goes on",
        ),
        Mistake(
            "continues captions that have ended",
            _finding(goes_on=True),
            hint="what has ended is put aside and not continued",
        ),
        Mistake(
            "prefers captions that have ended to those that were cut off",
            _finding(only_ended=True),
            hint="at the limit, those that have not ended take part with the score they have",
        ),
        Mistake("leaves <end> out", _finding(hides_end=True), hint="<end> is the last of the tokens"),
        Mistake(
            "puts the first token in front", _finding(shows_start=True), hint="the first token was given, not found"
        ),
        Mistake(
            "narrows the beam by what has ended",
            _finding(is_shrinking=True),
            hint="in every step the beam is as wide as in the first",
        ),
        Mistake("keeps the least likely candidates", _finding(worst=True), hint="which end of the order is kept?"),
    ],
)
