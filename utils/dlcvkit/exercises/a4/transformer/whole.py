"""The whole Transformer."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Mistake, Module, drawn, normal
from dlcvkit.exercises.a4.transformer.blocks import decode_by_torch, decoder_params, encode_by_torch, encoder_params
from dlcvkit.exercises.a4.transformer.pieces import (
    READY_MADE_ATTENTION,
    gradients_or_stop,
    linear,
    linear_weights,
    norm,
    norm_weights,
    reference_gradients,
    under,
)
from dlcvkit.exercises.a4.transformer.tables import encode_positions


def tokens(N, T, V, pad, lengths=()):
    """Describe tokens without ``pad``, which follows where a sequence is shorter than T."""

    def draw(generator):
        drawn_tokens = torch.randint(0, V - 1, (N, T), generator=generator)
        drawn_tokens += drawn_tokens >= pad
        for row, length in enumerate(lengths):
            drawn_tokens[row, length:] = pad
        return drawn_tokens

    return drawn(draw)


def _embed(numbers, weights, fault):
    x = functional.embedding(numbers, weights["embedding.weight"])
    if fault == "embedding scaled":
        x = x * x.shape[-1] ** 0.5
    return x if fault == "no positions" else x + encode_positions(x)


def encode(init, source, weights, fault=""):
    """The encoder, spoilt by one ``fault``."""
    x = _embed(source, weights, "no positions" if fault == "no positions in the source" else fault)
    mask = (source != init["pad"])[:, None, None]
    mask = {"pad visible": None, "pad mask in the decoder only": None, "pad mask inverted": ~mask}.get(fault, mask)
    for layer in range(init["layers"]):
        kept = x
        x = encode_by_torch(init, x, mask, under(weights, f"encoder.{layer}"))
        if fault == "last encoder block only":
            x = kept if layer + 1 < init["layers"] else x
    return x if fault == "no encoder norm" else norm(x, weights, "encoder_norm")


def decode(init, target, memory, source, weights, fault=""):
    """The decoder, spoilt by one ``fault``."""
    T = target.shape[1]
    x = _embed(target, weights, "no positions" if fault == "no positions in the target" else fault)
    causal = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()
    causal = {"no causal mask": None, "causal mask turned": causal.mT}.get(fault, causal)
    visible = (source != init["pad"])[:, None, None]
    visible = {"pad visible": None, "pad mask in the encoder only": None, "pad mask inverted": ~visible}.get(
        fault, visible
    )
    for layer in range(init["layers"]):
        number = 0 if fault == "first decoder block repeated" else layer
        x = decode_by_torch(init, x, memory, causal, visible, under(weights, f"decoder.{number}"))
    x = x if fault == "no decoder norm" else norm(x, weights, "decoder_norm")
    scores = linear(x, weights, "output")
    return scores.softmax(dim=-1) if fault == "probabilities" else scores


def _whole(init, source, target, weights, fault):
    return decode(init, target, encode(init, source, weights, fault), source, weights, fault)


def _leak(scores, decode, target, place):
    """How much scores in front of ``place`` change when all tokens from there on do."""
    changed = target.clone()
    changed[:, place:] += torch.where(target[:, place:] > 0, -1, 1)
    change = (decode(changed) - scores)[:, :place]
    return torch.cat([change.new_zeros(1), change.abs().flatten()]).max()


def _use(net, source, target, place):
    memory = net.encode(source)
    scores = net.decode(target, memory, source)
    leak = _leak(scores, lambda changed: net.decode(changed, memory, source), target, place)
    values = memory, scores, leak
    return (*values, gradients_or_stop(net, {"source": source, "target": target}, values))


def _transformer(fault=""):
    def reference(init, params, source, target, place):
        def forward(source, target, weights=params):
            return _whole(init, source, target, weights, fault)

        memory = encode(init, source, params, fault)
        scores = decode(init, target, memory, source, params, fault)
        gradients = reference_gradients(forward, {"source": source, "target": target}, params)
        leak = torch.zeros_like(scores[0, 0, 0])
        if fault:
            leak = _leak(scores, lambda changed: decode(init, changed, memory, source, params, fault), target, place)
        return memory, scores, leak, gradients

    return reference


def transformer_case(name, source, target, V, D, heads, hidden, layers, pad, *, place=1, lengths=()):
    """Describe a case: shapes of source and target, sizes of the net; ``lengths`` of the sources."""
    init = {"V": V, "D": D, "heads": heads, "hidden": hidden, "layers": layers, "pad": pad}
    params = {"embedding.weight": normal(V, D)}
    for layer in range(layers):
        params |= encoder_params(f"encoder.{layer}.", D, hidden) | decoder_params(f"decoder.{layer}.", D, hidden)
    params |= norm_weights("encoder_norm", D) | norm_weights("decoder_norm", D) | linear_weights("output", V, D)
    given = {"source": tokens(*source, V, pad, lengths), "target": tokens(*target, V, pad), "place": place}
    return Case(name, init=init, params=params, **given)


transformer = Module(
    functions=("Transformer",),
    reference=_transformer(),
    call=_use,
    cases=[
        transformer_case("one layer, padding", (2, 4), (2, 3), 7, 4, 2, 5, 1, 0, lengths=(4, 2)),
        transformer_case("two layers", (2, 3), (2, 4), 6, 6, 3, 4, 2, 5, place=2, lengths=(2, 3)),
    ],
    points={"memory": 2, "scores": 2, "leak": 1, "gradients": 1},
    forbidden=READY_MADE_ATTENTION,
    mistakes=[
        Mistake(name, _transformer(fault), hint=hint)
        for name, fault, hint in (
            ("leaves the positions out", "no positions", "what tells 12 from 21?"),
            ("leaves the positions of the source out", "no positions in the source", "both sequences have an order"),
            ("leaves the positions of the target out", "no positions in the target", "both sequences have an order"),
            ("scales the embeddings", "embedding scaled", "the first paper does so; here embeddings stay as they are"),
            ("leaves encoder_norm out", "no encoder norm", "with pre-norm the sum itself is never normalised"),
            ("leaves decoder_norm out", "no decoder norm", "with pre-norm the sum itself is never normalised"),
            (
                "lets positions of the target see the future",
                "no causal mask",
                "in training all steps are computed at once: what hides the answer?",
            ),
            ("turns the causal mask round", "causal mask turned", "rows are queries, columns are keys"),
            ("lets padding be seen", "pad visible", "who must not attend to padding?"),
            (
                "lets the decoder see padding in the memory",
                "pad mask in the encoder only",
                "the memory is as long as the source, padding included",
            ),
            (
                "lets the encoder see padding",
                "pad mask in the decoder only",
                "encoder blocks take a mask as well",
            ),
            ("shows padding and hides the rest", "pad mask inverted", "True stands for: may attend"),
            ("returns probabilities", "probabilities", "the loss wants scores; nothing comes after the output layer"),
            (
                "uses the last encoder block alone",
                "last encoder block only",
                "does each block get what the last one gave?",
            ),
            (
                "uses the first decoder block for all",
                "first decoder block repeated",
                "every layer has weights of its own",
            ),
        )
    ],
)
