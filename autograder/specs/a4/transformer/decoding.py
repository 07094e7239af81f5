"""Greedy decoding, and the two tests that need no reference."""

from __future__ import annotations

import torch

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.transformer.decoding import (
    decode_greedily,
    decoding_case,
    invariant_case,
)
from dlcvkit.exercises.a4.transformer.decoding import future_leak as _leak
from dlcvkit.exercises.a4.transformer.decoding import permutation_gap as _gap


def _greedy(fault=""):
    def decode(net, source, start, end, max_length):
        with torch.no_grad():
            return decode_greedily(net, source, start, end, max_length, fault)

    return decode


def _changing_the_source(net, source, start, end, max_length):
    source += 1
    return _greedy()(net, source - 1, start, end, max_length)


def _lists(net, source, start, end, max_length):
    return _greedy()(net, source, start, end, max_length).tolist()


def _always_max_length(net, source, start, end, max_length):
    found = _greedy()(net, source, start, end, max_length)
    return torch.nn.functional.pad(found, (0, max_length - found.shape[1]), value=net.pad)


def _at_least_one(net, source, start, end, max_length):
    return _greedy()(net, source, start, end, max(max_length, 1))


def _at_most_fifty(net, source, start, end, max_length):
    return _greedy()(net, source, start, end, min(max_length, 50))


def _padding_is_0(net, source, start, end, max_length):
    kept, net.pad = net.pad, 0
    found = _greedy()(net, source, start, end, max_length)
    net.pad = kept
    return found


@torch.no_grad()
def _by_columns(net, source, start, end, max_length):
    columns = [torch.full_like(source[:, 0], start)]
    memory, is_alive = net.encode(source), torch.ones_like(source[:, 0], dtype=torch.bool)
    for _ in range(max_length):
        scores = net.decode(torch.stack(columns, dim=1), memory, source)
        columns.append(torch.where(is_alive, scores[:, -1].max(dim=-1).indices, net.pad))
        is_alive = is_alive & (columns[-1] != end)
        if not is_alive.any():
            break
    return torch.stack(columns, dim=1)[:, 1:]


def _in_place(net, source, start, end, max_length):
    tokens = source.new_full((len(source), max_length + 1), net.pad)
    tokens[:, 0] = start
    length = 0
    with torch.inference_mode():
        memory = net.encode(source)
        while length < max_length:
            length += 1
            scores = net.decode(tokens[:, :length], memory, source)
            has_ended = (tokens[:, 1:length] == end).any(dim=1)
            tokens[~has_ended, length] = scores[~has_ended, length - 1].argmax(dim=1)
            if bool((tokens[:, 1 : length + 1] == end).any(dim=1).all()):
                break
    return tokens[:, 1 : length + 1].clone()


greedy_decode = Hidden(
    cases=[
        decoding_case("no token allowed", 3, 4, 6, 0, 1, 2, 0),
        decoding_case("one token allowed", 3, 4, 6, 0, 1, 2, 1),
        decoding_case("ends at once", 4, 3, 5, 0, 3, 4, 9, often=9.0),
        decoding_case("a long answer", 2, 3, 9, 8, 7, 6, 120, often=-9.0),
        decoding_case("many sequences", 12, 3, 5, 1, 0, 4, 40),
        decoding_case("padding is token 0", 5, 3, 6, 1, 2, 0, 15, often=0.8),
        decoding_case("one token in the source", 3, 1, 6, 5, 4, 3, 15, often=0.5),
        decoding_case("non-contiguous", 3, 4, 6, 5, 4, 3, 15, often=0.5).strided(),
    ],
    mutants={
        **{fault: _greedy(fault) for fault in ("ends at padding", "starts with end")},
        "builds a graph": decode_greedily,
        "changes the source": _changing_the_source,
        "lists": _lists,
        "always max_length": _always_max_length,
        "at least one": _at_least_one,
        "at most fifty": _at_most_fifty,
        "padding is 0": _padding_is_0,
        "float tokens": lambda *given: _greedy()(*given).double(),
    },
    solutions={"a list of columns": _by_columns, "in place": _in_place},
    equivalent={
        "greedy_decode: tokens.shape[1] -> tokens.shape[-1]": "tokens have two axes",
    },
)


def _changing_x(net, x, order):
    after = net(x)
    x[:] = x[:, order].clone()
    return (net(x) - after[:, order]).abs().max()


def _changing_tokens(net, tokens, place, other):
    before = net(tokens)
    tokens[:, place] = other
    return (net(tokens) - before)[:, :place].abs().max()


def _first_sequence(net, tokens, place, other):
    return _leak(lambda numbers: net(numbers)[:1], tokens, place, other)


def _gap_by_inverse(net, x, order):
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return torch.linalg.vector_norm(net(x.index_select(1, order)).index_select(1, inverse) - net(x), float("inf"))


def _gap_step_by_step(net, x, order):
    one, other = net(torch.stack([x[:, step] for step in order.tolist()], dim=1)), net(x)
    gaps = [(one[:, to] - other[:, step]).abs().amax() for to, step in enumerate(order.tolist())]
    return torch.stack(gaps).amax()


def _leak_by_where(net, tokens, place, other):
    steps = torch.arange(tokens.shape[1], device=tokens.device)
    changed = torch.where(steps == place, other, tokens)
    one, two = net(tokens)[:, :place], net(changed)[:, :place]
    return torch.maximum(one - two, two - one).max()


def _leak_by_cat(net, tokens, place, other):
    column = torch.full_like(tokens[:, :1], other)
    changed = torch.cat([tokens[:, :place], column, tokens[:, place + 1 :]], dim=1)
    change = net(changed).narrow(1, 0, place) - net(tokens).narrow(1, 0, place)
    return torch.stack([change.max(), -change.min()]).max()


invariants = Hidden(
    cases=[
        invariant_case("one sequence", "mean", 1, 4, 3, 6, 1),
        invariant_case("positions matter", "positions", 2, 4, 3, 6, 2),
        invariant_case("numbers that fall", "falls", 2, 6, 3, 6, 5),
        invariant_case("the last step shows", "last step", 3, 5, 2, 6, 4),
        invariant_case("two ahead, place 1", "two ahead", 2, 5, 3, 8, 1),
        invariant_case("two ahead, the last place", "two ahead", 3, 6, 3, 8, 5),
        invariant_case("the first step sees everything", "first sees all", 3, 5, 2, 8, 3),
        invariant_case("two steps", "sum so far", 2, 2, 2, 5, 1),
        invariant_case("one feature", "future lowers", 2, 5, 1, 7, 3),
        invariant_case("non-contiguous", "mean", 2, 5, 3, 6, 3).strided(),
        invariant_case("float32", "future lowers", 2, 5, 3, 6, 2).float32(),
    ],
    mutants={
        "changes x": (_changing_x, _leak),
        "changes the tokens": (_gap, _changing_tokens),
        "the first sequence alone": (_gap, _first_sequence),
        "all tokens from the place on": (_gap, lambda *given: _leak(*given, "all from place on")),
        "gap without absolute value": (lambda *given: _gap(*given, "no absolute value"), _leak),
        "leak without absolute value": (_gap, lambda *given: _leak(*given, "no absolute value")),
        "place counted": (_gap, lambda *given: _leak(*given, "place counted")),
        "last step alone": (_gap, lambda *given: _leak(*given, "last step alone")),
        "first step alone": (_gap, lambda *given: _leak(*given, "first step alone")),
        "inverse order": (lambda *given: _gap(*given, "inverse order"), _leak),
        "mean of the gap": (lambda *given: _gap(*given, "mean"), _leak),
        "zero": (_gap, lambda net, tokens, place, other: torch.zeros(())),
    },
    solutions={
        "moved back, by where": (_gap_by_inverse, _leak_by_where),
        "step by step, by cat": (_gap_step_by_step, _leak_by_cat),
    },
    equivalent=dict.fromkeys(
        (
            "permutation_gap: net(x[:, order]) - net(x)[:, order] -> net(x)[:, order] - net(x[:, order])",
            "future_leak: net(changed) - net(tokens) -> net(tokens) - net(changed)",
        ),
        "the absolute value of a difference is the same both ways round",
    ),
)
