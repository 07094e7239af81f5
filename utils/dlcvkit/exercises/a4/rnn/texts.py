"""A long text, cut into batches of chunks that go on where the last ones ended."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, drawn


def _readers(tokens, batch_size, chunk_length):
    """Let ``batch_size`` readers start at equal distances and read on, a chunk at a time."""
    steps = (len(tokens) - 1) // batch_size
    words = tokens.tolist()
    chunks = []
    for begin in range(0, steps, chunk_length):
        read = range(begin, min(begin + chunk_length, steps))
        for_inputs = [[words[reader * steps + s] for s in read] for reader in range(batch_size)]
        for_targets = [[words[reader * steps + s + 1] for s in read] for reader in range(batch_size)]
        chunks.append((tokens.new_tensor(for_inputs), tokens.new_tensor(for_targets)))
    return chunks


def _in_reading_order(tokens, batch_size, chunk_length):
    size = batch_size * chunk_length
    count = (len(tokens) - 1) // size
    return [
        (
            tokens[k * size : (k + 1) * size].reshape(batch_size, chunk_length),
            tokens[k * size + 1 : (k + 1) * size + 1].reshape(batch_size, chunk_length),
        )
        for k in range(count)
    ]


def _each(change):
    """The right chunks, each of them spoilt."""
    return lambda tokens, batch_size, chunk_length: [
        change(*chunk) for chunk in _readers(tokens, batch_size, chunk_length)
    ]


def _overlapping(tokens, batch_size, chunk_length):
    """Windows that move on by one step."""
    steps = (len(tokens) - 1) // batch_size
    whole = _readers(tokens, batch_size, steps)[0]
    starts = range(max(steps - chunk_length + 1, 1))
    return [tuple(part[:, s : s + chunk_length] for part in whole) for s in starts]


def _dealt_out(tokens, batch_size, chunk_length):
    """Row n holds every batch_size-th token."""
    steps = (len(tokens) - 1) // batch_size
    pair = [tokens[s : s + steps * batch_size].reshape(steps, batch_size).T for s in (0, 1)]
    return list(zip(*(part.split(chunk_length, dim=1) for part in pair), strict=True))


def _targets_within(change):
    """Rows cut from the inputs alone, ``change(row)`` makes the targets of a row of inputs."""

    def variant(tokens, batch_size, chunk_length):
        steps = (len(tokens) - 1) // batch_size
        rows = tokens[: steps * batch_size].reshape(batch_size, steps)
        pair = rows, change(rows)
        return list(zip(*(part.split(chunk_length, dim=1) for part in pair), strict=True))

    return variant


def sequence(length, words=None):
    """Describe a text of ``length`` tokens: all different, or drawn from ``words``."""
    if words is None:
        return drawn(lambda g: torch.randperm(3 * length, generator=g)[:length])
    return drawn(lambda g: torch.randint(words, (length,), generator=g))


truncated_bptt_chunks = Function(
    functions=("truncated_bptt_chunks",),
    reference=_readers,
    cases=[
        Case("25 tokens, 2 readers, chunks of 4", tokens=sequence(25), batch_size=2, chunk_length=4),
        Case("tokens are left over, and the last chunk is short", tokens=sequence(30), batch_size=3, chunk_length=4),
        Case("one reader", tokens=sequence(10), batch_size=1, chunk_length=3),
    ],
    points={"chunks": 4},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "cuts the text in reading order",
            _in_reading_order,
            hint="row n of a chunk goes on where row n of the chunk before ended, so that its state fits",
        ),
        Mistake(
            "leaves out the short chunk at the end",
            lambda tokens, batch_size, chunk_length: [
                chunk for chunk in _readers(tokens, batch_size, chunk_length) if chunk[0].shape[1] == chunk_length
            ],
            hint="every reader reads its part to the end: the last chunk may be shorter",
        ),
        Mistake(
            "gives the inputs as targets",
            _each(lambda inputs, targets: (inputs, inputs)),
            hint="what is to be predicted is the next token",
        ),
        Mistake(
            "exchanges inputs and targets",
            _each(lambda inputs, targets: (targets, inputs)),
            hint="inputs first; the target is the token that follows",
        ),
        Mistake(
            "predicts the token before",
            _targets_within(lambda rows: rows.roll(1, dims=1)),
            hint="the target is the token that follows",
        ),
        Mistake(
            "lets the targets run round in a circle",
            _targets_within(lambda rows: rows.roll(-1, dims=1)),
            hint="after the last input of a row comes the first token of the next row's part",
        ),
        Mistake(
            "puts time in front of the batch",
            _each(lambda inputs, targets: (inputs.T, targets.T)),
            hint="axis 0 counts the readers, axis 1 the steps",
        ),
        Mistake(
            "lets chunks overlap",
            _overlapping,
            hint="a chunk begins where the chunk before has ended; each token is read once",
        ),
        Mistake(
            "deals the tokens out in turn",
            _dealt_out,
            hint="each reader reads a coherent part: neighbours in a row are neighbours in the text",
        ),
        Mistake(
            "loses a token where the text divides evenly",
            lambda tokens, batch_size, chunk_length: _readers(tokens[:-1], batch_size, chunk_length),
            hint="with L tokens, how many have a token that follows?",
        ),
    ],
)
