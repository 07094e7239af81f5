"""Chunks of text, and the language model."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden
from dlcvkit.exercises.a4.rnn.models import model_case
from dlcvkit.exercises.a4.rnn.texts import sequence

# Chunks.


def _chunks(tokens, batch_size, chunk_length, fault=""):
    steps = (len(tokens) - 1) // batch_size
    if fault == "all tokens are inputs":
        steps = len(tokens) // batch_size
    if fault == "rounds up" and len(tokens) > batch_size:
        steps = -(-(len(tokens) - 1) // batch_size)
    found = []
    for begin in range(0, steps, chunk_length):
        columns = torch.arange(begin, min(begin + chunk_length, steps), device=tokens.device)
        if fault == "first step of each chunk left out" and len(columns) > 1:
            columns = columns[1:]
        if fault == "the last chunk is filled up":
            columns = torch.arange(begin, begin + chunk_length, device=tokens.device) % steps
        places = columns + steps * torch.arange(batch_size, device=tokens.device)[:, None]
        if fault == "one token between readers":
            places = columns + (steps + 1) * torch.arange(batch_size, device=tokens.device)[:, None]
            places = places.clamp(max=len(tokens) - 2)
        ahead = chunk_length if fault == "targets of the next chunk" else 1
        targets = tokens[(places + ahead).clamp(max=len(tokens) - 1)]
        if fault == "last target of a chunk is lost" and targets.shape[1] > 1:
            places, targets = places[:, :-1], targets[:, :-1]
        found.append((tokens[places], targets))
    if fault == "the last chunk is left out where it is one step" and found and found[-1][0].shape[1] == 1:
        found.pop()
    if fault == "from the end":
        found.reverse()
    if fault == "inputs and targets side by side":
        return [torch.cat(pair, 1) for pair in found]
    if fault == "two lists":
        return [pair[0] for pair in found], [pair[1] for pair in found]
    if fault == "stacked":
        return [torch.stack(pair) for pair in found]
    return found


def _by_unfold(tokens, batch_size, chunk_length):
    """Pairs of neighbours first, then readers, then chunks."""
    if len(tokens) - 1 < batch_size:
        return []
    pairs = tokens.unfold(0, 2, 1)  # (L - 1, 2)
    steps = len(pairs) // batch_size
    rows = pairs[: steps * batch_size].reshape(batch_size, steps, 2)
    return [chunk.unbind(2) for chunk in rows.split(chunk_length, dim=1)]


def _by_lists(tokens, batch_size, chunk_length):
    words, found = tokens.tolist(), []
    steps = (len(words) - 1) // batch_size
    parts = [words[n * steps : (n + 1) * steps + 1] for n in range(batch_size)]
    at = 0
    while at < steps:
        end = min(at + chunk_length, steps)
        pair = [[part[at + off : end + off] for part in parts] for off in (0, 1)]
        found.append([torch.tensor(rows, device=tokens.device) for rows in pair])
        at = end
    return found


def _chunks_in_place(tokens, batch_size, chunk_length):
    found = _chunks(tokens, batch_size, chunk_length)
    tokens[-1] = 0
    return found


_CHUNK_FAULTS = (
    "all tokens are inputs",
    "rounds up",
    "first step of each chunk left out",
    "the last chunk is filled up",
    "one token between readers",
    "targets of the next chunk",
    "last target of a chunk is lost",
    "the last chunk is left out where it is one step",
    "from the end",
    "inputs and targets side by side",
    "two lists",
    "stacked",
)


def _text_case(name, length, batch_size, chunk_length, words=None):
    return Case(name, tokens=sequence(length, words), batch_size=batch_size, chunk_length=chunk_length)


truncated_bptt_chunks = Hidden(
    cases=[
        _text_case("the last chunk has one step", 22, 3, 3),
        _text_case("the text divides evenly", 25, 3, 4),
        _text_case("one token more than that", 26, 3, 4),
        _text_case("one token less than that", 24, 3, 4),
        _text_case("chunks of one step", 9, 2, 1),
        _text_case("chunks longer than the text", 11, 2, 50),
        _text_case("one step for each reader", 5, 4, 3),
        _text_case("too short a text", 4, 4, 2),
        _text_case("one token", 1, 1, 1),
        _text_case("as many readers as steps", 26, 5, 5),
        _text_case("few words", 60, 4, 6, words=3),
        _text_case("memory with gaps", 31, 3, 4).strided(),
    ],
    mutants={
        **{name: lambda *inputs, name=name: _chunks(*inputs, name) for name in _CHUNK_FAULTS},
        "changes the text": _chunks_in_place,
    },
    solutions={"indices": _chunks, "unfold": _by_unfold, "lists": _by_lists},
)

# The model.


def _model(inputs, targets, h0, params, fault=""):
    E, Wx, Wh, b, Wo, bo = (params[name] for name in ("E", "Wx", "Wh", "b", "Wo", "bo"))
    N, T = inputs.shape
    if fault == "zeros for h0":
        h0 = torch.zeros_like(h0)
    states = [h0]
    for t in range(T):
        states.append((E[inputs[:, t]] @ Wx + states[-1] @ Wh + b).tanh())
    h, before = torch.stack(states[1:], 1), torch.stack(states[:-1], 1)
    scores = h @ Wo + bo
    logs = scores - scores.logsumexp(2, keepdim=True)
    right = torch.zeros_like(scores).scatter(2, targets[..., None], 1.0)
    slopes = (logs.exp() - right) / N
    loss = -(logs * right).sum() / N
    dh, later, da = slopes @ Wo.T, torch.zeros_like(h0), torch.zeros_like(h)
    for t in reversed(range(T)):
        da[:, t] = (dh[:, t] + later) * (1 - h[:, t] ** 2)
        later = da[:, t] @ Wh.T if fault != "no gradient through time" else 0 * later
    dwords = da @ Wx.T
    rows = torch.zeros_like(right[:, :, : len(E)]).scatter(2, inputs[..., None], 1.0)
    if fault == "embedding of the targets":
        rows = right
    grads = {
        "E": torch.einsum("ntv,ntd->vd", rows, dwords),
        "Wx": torch.einsum("ntd,nth->dh", E[inputs], da),
        "Wh": torch.einsum("ntg,nth->gh", before, da),
        "b": da.sum((0, 1)),
        "Wo": torch.einsum("nth,ntv->hv", h, slopes),
        "bo": slopes.sum((0, 1)),
    }
    last = h[:, -1]
    if fault == "no gradient for E":
        del grads["E"]
    if fault == "gradient of h0 as well":
        grads["h0"] = later
    if fault == "other names":
        grads = {f"d{name}": gradient for name, gradient in grads.items()}
    if fault == "gradients in a tuple":
        grads = tuple(grads.values())
    if fault == "h_last with an axis":
        last = h[:, -1:]
    if fault == "last state of the last sequence":
        last = h[-1]
    if fault == "exchanges b and bo" and len(b) == len(bo):
        grads["b"], grads["bo"] = grads["bo"], grads["b"]
    if fault == "loss of the last step":
        loss = -(logs * right)[:, -1].sum() / N
    if fault == "loss in bits":
        loss = loss / torch.tensor(2.0).log()
    if fault == "Wo without the last step":
        grads["Wo"] = torch.einsum("nth,ntv->hv", h[:, :-1], slopes[:, :-1])
    if fault == "two results":
        return loss, grads
    if fault == "state before gradients":
        return loss, last, grads
    return loss, grads, last


_MODEL_FAULTS = (
    "zeros for h0",
    "no gradient through time",
    "embedding of the targets",
    "no gradient for E",
    "gradient of h0 as well",
    "other names",
    "gradients in a tuple",
    "h_last with an axis",
    "last state of the last sequence",
    "loss of the last step",
    "loss in bits",
    "Wo without the last step",
    "two results",
    "state before gradients",
)


def _model_one_by_one(inputs, targets, h0, params):
    """One sequence at a time; the losses and gradients of the sequences are averaged."""
    parts = [_model(inputs[n : n + 1], targets[n : n + 1], h0[n : n + 1], params) for n in range(len(inputs))]
    grads = {name: torch.stack([part[1][name] for part in parts]).mean(0) for name in params}
    return sum(float(part[0]) for part in parts) / len(parts), grads, torch.cat([part[2] for part in parts])


def _model_descends(inputs, targets, h0, params):
    found = _model(inputs, targets, h0, params)
    for name, gradient in found[1].items():
        params[name] -= 0.1 * gradient
    return found


def _model_changes_h0(inputs, targets, h0, params):
    loss, grads, last = _model(inputs, targets, h0, params)
    h0.copy_(last)
    return loss, grads, h0


language_model_loss = Hidden(
    cases=[
        model_case("one sequence", 1, 4, 5, 3, 2),
        model_case("one sequence of one step", 1, 1, 3, 2, 2),
        model_case("17 steps", 3, 17, 5, 2, 4),
        model_case("all sizes equal", 4, 4, 4, 4, 4),
        model_case("many words", 2, 3, 40, 2, 3),
        model_case("memory with gaps", 2, 4, 6, 3, 4).strided(),
        model_case("float32", 2, 4, 6, 3, 4).float32(),
    ],
    mutants={
        **{name: lambda *inputs, name=name: _model(*inputs, name) for name in _MODEL_FAULTS},
        "changes the weights": _model_descends,
        "changes h0": _model_changes_h0,
    },
    solutions={"in one piece": _model, "one sequence at a time": _model_one_by_one},
    equivalent={
        "language_model_loss: torch.ones_like(targets, dtype=torch.bool)"
        " -> torch.ones_like(targets)": "the loss makes floating-point weights of the mask: ones, whatever its dtype was",
    },
)
