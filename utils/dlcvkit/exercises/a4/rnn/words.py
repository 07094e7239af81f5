"""From words to vectors, and from states to scores."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, given, integers, normal
from dlcvkit.exercises.a4.rnn.faults import changed


def _embed(x, W):
    return functional.embedding(x, W)


def _last_wins(dW, head, inputs):
    """The gradient if each occurrence of a word replaces what was there."""
    kept = torch.zeros_like(dW)
    for word, share in zip(inputs["x"].flatten().tolist(), head.flatten(0, 1), strict=True):
        kept[word] = share
    return kept


def _averaged(dW, head, inputs):
    counts = torch.bincount(inputs["x"].flatten(), minlength=len(dW)).clamp(min=1)
    return dW / counts[:, None].to(dW.dtype)


word_embedding = ForwardBackward(
    functions=("word_embedding_forward", "word_embedding_backward"),
    reference=_embed,
    cases=[
        Case(
            "words that occur more than once",
            x=given([[2, 0, 2, 5], [0, 2, 3, 3]], torch.int64),
            W=normal(6, 3),
            dout=normal(2, 4, 3),
        ),
        Case("3 sequences of 4 words out of 9", x=integers(3, 4, high=9), W=normal(9, 2), dout=normal(3, 4, 2)),
    ],
    points={"out": 1, "dW": 2},
    forbidden=TORCH_LAYERS | AUTOGRAD | {"embedding_dense", "embedding_bag"},
    mistakes=[
        Mistake(
            "overwrites where a word occurs again",
            changed(_embed, dW=_last_wins),
            hint="each occurrence of a word brings a gradient and they add up; dW[x] += dout writes each row only once",
        ),
        Mistake(
            "averages over the occurrences of a word",
            changed(_embed, dW=_averaged),
            hint="each occurrence of a word brings a gradient, and they add up; nothing is divided",
        ),
        Mistake(
            "averages over the batch",
            changed(_embed, dW=lambda dW, head, inputs: dW / len(head)),
            hint="the loss takes the mean; here everything is added up",
        ),
        Mistake(
            "gives the words of the batch only",
            changed(_embed, dW=lambda dW, head, inputs: dW[inputs["x"].unique()]),
            hint="dW has the shape of W: a row for each of the V words, zero for those that do not occur",
        ),
        Mistake(
            "returns the gradient of every occurrence by itself",
            changed(_embed, dW=lambda dW, head, inputs: head),
            hint="dW has the shape of W, (V, D): what does an occurrence of word v add to?",
        ),
        Mistake(
            "puts time in front of the batch",
            changed(_embed, output=lambda out: out.transpose(0, 1)),
            hint="out keeps the axes of x, and the vectors come behind them",
        ),
        Mistake(
            "flattens batch and time",
            changed(_embed, output=lambda out: out.flatten(0, 1)),
            hint="out has shape (N, T, D)",
        ),
        Mistake(
            "takes the words to be numbered from 1",
            lambda x, W: _embed((x - 1) % len(W), W),
            hint="word 0 has row 0",
        ),
        Mistake(
            "ignores the upstream gradient",
            changed(_embed, upstream=lambda head, out, inputs: torch.ones_like(head)),
            hint="dW adds up rows of dout, not ones",
        ),
    ],
)


def _affine(x, w, b):
    return functional.linear(x, w.T, b)


temporal_affine = ForwardBackward(
    functions=("temporal_affine_forward", "temporal_affine_backward"),
    reference=_affine,
    cases=[
        Case("2 sequences of 3 steps", x=normal(2, 3, 4), w=normal(4, 5), b=normal(5), dout=normal(2, 3, 5)),
        Case("as many features as outputs", x=normal(3, 2, 3), w=normal(3, 3), b=normal(3), dout=normal(3, 2, 3)),
    ],
    points={"out": 1, "dx": 1, "dw": 1, "db": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "leaves the bias out",
            lambda x, w, b: _affine(x, w, None),
            hint="every step of every sequence gets b added",
        ),
        Mistake(
            "multiplies by the transpose of w",
            lambda x, w, b: _affine(x, w.T, b),
            hint="w has shape (D, M): features in rows, outputs in columns",
        ),
        Mistake(
            "multiplies by w on the way back as well",
            changed(_affine, dx=lambda dx, head, inputs: head @ inputs["w"]),
            hint="dx has D features again: what does a matrix product do on its way back?",
        ),
        Mistake(
            "leaves the sequences apart in dw",
            changed(_affine, dw=lambda dw, head, inputs: inputs["x"].mT @ head),
            hint="all sequences and all steps share w: dw has shape (D, M)",
        ),
        Mistake(
            "averages dw and db over the batch",
            changed(
                _affine,
                dw=lambda dw, head, inputs: dw / len(head),
                db=lambda db, head, inputs: db / len(head),
            ),
            hint="the loss takes the mean; here everything is added up",
        ),
        Mistake(
            "averages dw and db over sequences and steps",
            changed(
                _affine,
                dw=lambda dw, head, inputs: dw / (head.shape[0] * head.shape[1]),
                db=lambda db, head, inputs: db / (head.shape[0] * head.shape[1]),
            ),
            hint="nothing is divided here: what all steps of all sequences bring adds up",
        ),
        Mistake(
            "adds db up over the batch only",
            changed(_affine, db=lambda db, head, inputs: head.sum(0)),
            hint="b is shared by all steps as well: db has shape (M,)",
        ),
        Mistake(
            "takes dw and db from the last step only",
            changed(
                _affine,
                dw=lambda dw, head, inputs: inputs["x"][:, -1].T @ head[:, -1],
                db=lambda db, head, inputs: head[:, -1].sum(0),
            ),
            hint="all steps share w and b, and what they bring adds up",
        ),
        Mistake(
            "returns dw transposed",
            changed(_affine, dw=lambda dw, head, inputs: dw.T),
            hint="dw has the shape of w, (D, M)",
        ),
        Mistake(
            "ignores the upstream gradient",
            changed(_affine, upstream=lambda head, out, inputs: torch.ones_like(head)),
            hint="every gradient holds dout",
        ),
    ],
)
