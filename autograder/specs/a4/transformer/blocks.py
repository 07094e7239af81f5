"""Encoder and decoder blocks."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.transformer.attention import mask
from dlcvkit.exercises.a4.transformer.blocks import decode, decoder_case, encode, encoder_case

from .heads import Attention, FeedForward


class Encoder(nn.Module):
    """The encoder block that is spoilt by one ``fault``; the whole Transformer uses it as it is."""

    fault = ""

    def __init__(self, D, heads, hidden):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(D, eps=1e-2 if self.fault == "another eps" else 1e-5) for _ in range(2))
        self.attention = Attention(D, heads)
        self.feed_forward = FeedForward(D, hidden)
        if self.fault == "one norm":
            self.norm2 = self.norm1
            del self.norm2
        if self.fault == "another name":
            self.attn = self.attention
            del self.attention
        self.init = {"D": D, "heads": heads, "hidden": hidden}

    def forward(self, x, mask=None):
        fault = self.fault
        if fault == "changes x":
            x += 1
        if fault == "one head":
            self.init["heads"] = 1
        if fault == "mask for one sequence" and mask is not None:
            mask = mask[:1]
        out = encode(self.init, x, mask, dict(self.named_parameters()), fault)
        if fault == "another eps":
            h = self.norm1(x)
            out = x + self.attention(h, h, mask)
            out = out + self.feed_forward(self.norm2(out))
        if fault == "dropout":
            out = functional.dropout(out, 0.1, self.training)
        if fault == "ReLU at the end":
            out = out.relu()
        if fault == "a third norm":
            out = functional.layer_norm(out, out.shape[-1:])
        return out.detach() if fault == "detaches" else out


def _encoder(fault):
    return type("EncoderBlock", (Encoder,), {"fault": fault})


class _EncoderByBranches(nn.Module):
    def __init__(self, D, heads, hidden):
        super().__init__()
        self.feed_forward, self.attention = FeedForward(D, hidden), Attention(D, heads)
        self.norm2, self.norm1 = nn.LayerNorm(D), nn.LayerNorm(D)

    def _look(self, x, mask):
        x = self.norm1(x)
        return self.attention(x, x, mask=mask)

    def _think(self, x):
        return self.feed_forward(self.norm2(x))

    def forward(self, x, mask=None):
        for branch, options in ((self._look, (mask,)), (self._think, ())):
            x = branch(x, *options) + x
        return x


class _EncoderByFunctions(nn.Module):
    def __init__(self, D, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(D)
        self.attention = Attention(D, heads)
        self.norm2 = nn.LayerNorm([D])
        self.feed_forward = FeedForward(D, hidden)

    def forward(self, x, mask=None):
        h = functional.layer_norm(x, self.norm1.normalized_shape, self.norm1.weight, self.norm1.bias)
        middle = x.clone()
        middle += self.attention(h, h, mask)
        h = functional.layer_norm(middle, self.norm2.normalized_shape, self.norm2.weight, self.norm2.bias)
        return middle + self.feed_forward(h)


encoder_block = Hidden(
    cases=[
        encoder_case("one sequence", 1, 4, 6, 2, 5),
        encoder_case("one step", 3, 1, 4, 2, 5),
        encoder_case("one head", 2, 3, 4, 1, 7, mask(3, 3)),
        encoder_case("padding", 3, 5, 4, 2, 3, mask(3, 1, 1, 5)),
        encoder_case("everything blocked", 2, 3, 4, 2, 5, mask(3, 3, blocked=[0, 1, 2])),
        encoder_case("large numbers", 2, 4, 4, 2, 5, mask(4, 4), std=30.0),
        encoder_case("small numbers", 2, 4, 4, 2, 5, std=0.01),
        encoder_case("non-contiguous", 2, 3, 6, 3, 5, mask(2, 1, 3, 3)).strided(),
        encoder_case("float32", 2, 4, 6, 2, 5, mask(4, 4)).float32(),
    ],
    mutants={
        fault: _encoder(fault)
        for fault in (
            "another eps",
            "one norm",
            "another name",
            "changes x",
            "one head",
            "mask for one sequence",
            "dropout",
            "ReLU at the end",
            "a third norm",
            "detaches",
            "inverted",
        )
    },
    solutions={"branch by branch": _EncoderByBranches, "by functions": _EncoderByFunctions},
)


class Decoder(nn.Module):
    """The decoder block that is spoilt by one ``fault``; the whole Transformer uses it as it is."""

    fault = ""

    def __init__(self, D, heads, hidden):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(D) for _ in range(3))
        self.self_attention, self.cross_attention = Attention(D, heads), Attention(D, heads)
        self.feed_forward = FeedForward(D, hidden)
        if self.fault == "one attention":
            self.cross_attention = self.self_attention
        if self.fault == "two norms":
            del self.norm3
        if self.fault == "a norm for the memory":
            self.norm4 = nn.LayerNorm(D)
        self.init = {"D": D, "heads": heads, "hidden": hidden}

    def forward(self, x, memory, mask=None, memory_mask=None):
        fault = self.fault
        if fault == "changes x":
            x += 1
        if fault == "changes the memory":
            memory -= memory.mean()
        if fault == "memory detached":
            memory = memory.detach()
        if fault == "one head":
            self.init["heads"] = 1
        if fault == "always causal" and mask is None:
            mask = x.new_ones(x.shape[1], x.shape[1]).bool().tril()
        if fault == "memory mask of the first sequence" and memory_mask is not None:
            memory_mask = memory_mask[:1]
        out = decode(self.init, x, memory, mask, memory_mask, dict(self.named_parameters()), fault)
        if fault == "dropout":
            out = functional.dropout(out, 0.1, self.training)
        if fault == "a last norm":
            out = functional.layer_norm(out, out.shape[-1:])
        return out.detach() if fault == "detaches" else out


def _decoder(fault):
    return type("DecoderBlock", (Decoder,), {"fault": fault})


class _DecoderByBranches(nn.Module):
    def __init__(self, D, heads, hidden):
        super().__init__()
        for number in (3, 1, 2):
            self.add_module(f"norm{number}", nn.LayerNorm(D))
        self.feed_forward = FeedForward(D, hidden)
        self.cross_attention = Attention(D, heads)
        self.self_attention = Attention(D, heads)

    def forward(self, x, memory, mask=None, memory_mask=None):
        branches = (
            lambda h: self.self_attention(h, h, mask),
            lambda h: self.cross_attention(h, memory, memory_mask),
            self.feed_forward,
        )
        for number, branch in enumerate(branches, 1):
            x = x + branch(getattr(self, f"norm{number}")(x))
        return x


class _DecoderBySums(nn.Module):
    def __init__(self, D, heads, hidden):
        super().__init__()
        self.norm1, self.self_attention = nn.LayerNorm(D), Attention(D, heads)
        self.norm2, self.cross_attention = nn.LayerNorm(D), Attention(D, heads)
        self.norm3, self.feed_forward = nn.LayerNorm(D), FeedForward(D, hidden)

    def forward(self, x, memory, mask=None, memory_mask=None):
        own = self.norm1(x)
        looked = self.self_attention(own, own, mask)
        read = self.cross_attention(self.norm2(x + looked), memory, memory_mask)
        return sum([x, looked, read, self.feed_forward(self.norm3(x + looked + read))])


decoder_block = Hidden(
    cases=[
        decoder_case("one sequence", 1, 4, 3, 6, 2, 5, mask(4, 4)),
        decoder_case("one step", 3, 1, 4, 4, 2, 5),
        decoder_case("one step in memory", 2, 4, 1, 4, 2, 5, mask(4, 4)),
        decoder_case("one head", 2, 3, 4, 4, 1, 7, mask(3, 3), mask(3, 4)),
        decoder_case("padding", 3, 4, 5, 4, 2, 3, mask(4, 4), mask(3, 1, 1, 5)),
        decoder_case(
            "masks per sequence", 2, 3, 3, 4, 2, 5, mask(2, 1, 3, 3, blocked=[1]), mask(2, 1, 3, 3, blocked=[0])
        ),
        decoder_case("everything blocked", 2, 2, 3, 4, 2, 5, mask(2, 2, blocked=[0, 1]), mask(2, 3, blocked=[0, 1])),
        decoder_case("large numbers", 2, 4, 3, 4, 2, 5, mask(4, 4), std=30.0),
        decoder_case("non-contiguous", 2, 3, 4, 6, 3, 5, mask(3, 3), mask(2, 1, 3, 4)).strided(),
        decoder_case("float32", 2, 4, 3, 6, 2, 5, mask(4, 4), mask(2, 1, 1, 3)).float32(),
    ],
    mutants={
        fault: _decoder(fault)
        for fault in (
            "one attention",
            "two norms",
            "a norm for the memory",
            "changes x",
            "changes the memory",
            "memory detached",
            "one head",
            "always causal",
            "memory mask of the first sequence",
            "dropout",
            "a last norm",
            "detaches",
        )
    },
    solutions={"branch by branch": _DecoderByBranches, "by sums": _DecoderBySums},
)
