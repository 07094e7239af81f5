"""The whole Transformer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.transformer.tables import encode_positions
from dlcvkit.exercises.a4.transformer.whole import decode, encode, transformer_case

from .blocks import Decoder, Encoder


def _net(fault=""):
    class Transformer(nn.Module):
        def __init__(self, V, D, heads, hidden, layers, pad):
            super().__init__()
            self.pad = 0 if fault == "padding is 0" else pad
            self.embedding = nn.Embedding(V, D, padding_idx=pad if fault == "no gradient for padding" else None)
            encoders = [Encoder(D, heads, hidden) for _ in range(layers)]
            decoders = [Decoder(D, heads, hidden) for _ in range(layers)]
            if fault == "one block for all layers":
                encoders = encoders[:1] * layers
            if fault == "one layer":
                encoders, decoders = encoders[:1], decoders[:1]
            self.encoder, self.decoder = nn.ModuleList(encoders), nn.ModuleList(decoders)
            if fault == "lists":
                self.encoder, self.decoder = None, None
                self.blocks = encoders, decoders
            self.encoder_norm, self.decoder_norm = nn.LayerNorm(D), nn.LayerNorm(D)
            self.output = nn.Linear(D, V, bias=fault != "output without bias")
            if fault == "two embeddings":
                self.target_embedding = nn.Embedding(V, D)
            if fault == "output tied":
                self.output.weight = self.embedding.weight
            self.init = {"D": D, "heads": heads, "hidden": hidden, "layers": layers, "pad": self.pad}

        def _weights(self):
            return dict(self.named_parameters())

        def encode(self, source):
            if fault == "changes the source":
                source[source == self.pad] = 0
            if fault == "encodes the first sequence":
                source = source[:1].expand_as(source)
            return encode(self.init, source, self._weights(), fault)

        def decode(self, target, memory, source):
            if fault == "memory detached":
                memory = memory.detach()
            scores = decode(self.init, target, memory, source, self._weights(), fault)
            if fault == "last step only":
                return scores[:, -1]
            return functional.dropout(scores, 0.1) if fault == "dropout" else scores

        def forward(self, source, target):
            if fault == "source and target swapped":
                source, target = target, source
            if fault == "decodes its own source":
                return self.decode(source, self.encode(source), source)
            scores = self.decode(target, self.encode(source), source)
            return scores.log_softmax(dim=-1) if fault == "logarithms from forward" else scores

    return Transformer


class _BySequence(nn.ModuleDict):
    """Parts in a dict; positions for the longest sequence seen so far."""

    def __init__(self, V, D, heads, hidden, layers, pad):
        parts = {"embedding": nn.Embedding(V, D), "output": nn.Linear(D, V)}
        for name, block in {"encoder": Encoder, "decoder": Decoder}.items():
            parts[f"{name}_norm"] = nn.LayerNorm(D)
            parts[name] = nn.ModuleList([block(D, heads, hidden) for _ in range(layers)])
        super().__init__(parts)
        self.pad = pad

    def _read(self, numbers):
        x = self["embedding"].weight[numbers]
        return x + encode_positions(x)[None]

    def encode(self, source):
        x, mask = self._read(source), source.ne(self.pad)
        for block in self["encoder"]:
            x = block(x, mask[:, None, None, :].expand(-1, 1, source.shape[1], -1))
        return self["encoder_norm"](x)

    def decode(self, target, memory, source):
        x, steps = self._read(target), torch.arange(target.shape[1], device=target.device)
        causal = (steps <= steps[:, None])[None, None]
        for block in self["decoder"]:
            x = block(x, memory, causal, source.ne(self.pad)[:, None, None, :])
        return self["output"](self["decoder_norm"](x))

    def forward(self, source, target):
        memory = self.encode(source)
        return self.decode(target, memory, source)


class _TargetPadded(nn.Module):
    """Written in one method, with every step of the target for itself."""

    def __init__(self, V, D, heads, hidden, layers, pad):
        super().__init__()
        self.embedding, self.output, self.pad = nn.Embedding(V, D), nn.Linear(D, V), pad
        self.encoder = nn.ModuleList(Encoder(D, heads, hidden) for _ in range(layers))
        self.decoder = nn.ModuleList(Decoder(D, heads, hidden) for _ in range(layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(D), nn.LayerNorm(D)

    def encode(self, source):
        x = self.embedding(source)
        x = x + encode_positions(x)
        for block in self.encoder:
            x = block(x, ~(source == self.pad)[:, None, None])
        return self.encoder_norm(x)

    def decode(self, target, memory, source):
        steps = []
        for length in range(1, target.shape[1] + 1):
            x = self.embedding(target[:, :length])
            x = x + encode_positions(x)
            causal = torch.ones(length, length, device=x.device).tril() > 0
            for block in self.decoder:
                x = block(x, memory, causal, ~(source == self.pad)[:, None, None])
            steps.append(x[:, -1:])
        return self.output(self.decoder_norm(torch.cat(steps, dim=1)))

    def forward(self, source, target):
        return self.decode(target, self.encode(source), source)


transformer = Hidden(
    cases=[
        transformer_case("one sequence", (1, 3), (1, 4), 6, 4, 2, 5, 1, 5, place=3),
        transformer_case("one token each", (2, 1), (2, 1), 5, 4, 2, 3, 1, 0, place=0),
        transformer_case("padding with token 2", (3, 5), (3, 4), 7, 6, 2, 4, 2, 2, lengths=(3, 5, 1)),
        transformer_case("an empty source", (3, 4), (3, 3), 6, 4, 2, 5, 2, 0, lengths=(4, 0, 2)),
        transformer_case("nothing but padding", (2, 3), (2, 3), 6, 4, 2, 5, 1, 1, lengths=(0, 0)),
        transformer_case("an odd number of features", (2, 4), (2, 3), 6, 5, 5, 4, 1, 0, lengths=(4, 3)),
        transformer_case("three layers", (2, 3), (2, 5), 5, 4, 1, 3, 3, 4, place=2, lengths=(2, 3)),
        transformer_case("a long source", (1, 70), (1, 2), 6, 4, 2, 3, 1, 0, lengths=(60,)),
        transformer_case("float32", (2, 4), (2, 3), 7, 4, 2, 5, 1, 0, lengths=(4, 2)).float32(),
    ],
    mutants={
        fault: _net(fault)
        for fault in (
            "padding is 0",
            "no gradient for padding",
            "one block for all layers",
            "one layer",
            "lists",
            "output without bias",
            "two embeddings",
            "output tied",
            "changes the source",
            "encodes the first sequence",
            "memory detached",
            "last step only",
            "dropout",
            "source and target swapped",
            "decodes its own source",
            "logarithms from forward",
        )
    },
    solutions={"parts in a dict": _BySequence, "step by step": _TargetPadded},
    equivalent={
        "Transformer.decode: target.shape[1] -> target.shape[-1]": "target has two axes",
    },
)
