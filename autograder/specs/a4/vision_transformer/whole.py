"""The vision transformer."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.vision_transformer.whole import vit_case


def _size(patch_size):
    return (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)


class _Embedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.size = _size(patch_size)
        self.proj = nn.Linear(in_channels * self.size[0] * self.size[1], dim)

    def forward(self, x):
        rows = x.unfold(2, self.size[0], self.size[0]).unfold(3, self.size[1], self.size[1])
        return self.proj(rows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2))


def _vit(fault=""):
    class ViT(nn.Module):
        def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_dim, in_channels=3):
            super().__init__()
            (H, W), (PH, PW) = image_size, _size(patch_size)
            places = (H // PH) * (W // PW) + (0 if fault == "no row for the class token" else 1)
            colours = 3 if fault == "always three colours" else in_channels
            self.embed = _Embedding(patch_size, colours, dim)
            std = 1.0 if fault == "large start" else 0.02
            cls, pos = std * torch.randn(dim), std * torch.randn(places, dim)
            if fault == "class token with axes":
                cls = cls[None, None]
            if fault == "positions of zeros":
                pos = torch.zeros_like(pos)
            if fault == "class token of zeros":
                cls = torch.zeros_like(cls)
            if fault == "tiny start":
                cls, pos = cls * 1e-3, pos * 1e-3
            self.cls, self.pos = nn.Parameter(cls), nn.Parameter(pos)
            if fault == "positions as a buffer":
                del self.pos
                self.register_buffer("pos", pos)
            settings = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
            if fault == "dropout":
                settings["dropout"] = 0.1
            if fault == "another eps":
                settings["layer_norm_eps"] = 1e-2
            if fault == "no biases":
                settings["bias"] = False
            if fault == "SiLU":
                settings["activation"] = functional.silu
            if fault == "GELU by tanh":
                settings["activation"] = lambda x: functional.gelu(x, approximate="tanh")
            if fault == "one head":
                heads = 1
            hidden = 4 * dim if fault == "mlp_dim of 4 D" else mlp_dim
            layer = nn.TransformerEncoderLayer(dim, heads, hidden, **settings)
            layers = [nn.TransformerEncoderLayer(dim, heads, hidden, **settings) for _ in range(depth)]
            if fault == "copies":
                layers = [copy.deepcopy(layer) for _ in range(depth)]
            if fault == "one block, many times":
                layers = [layer] * depth
            self.blocks = nn.ModuleList(layers)
            if fault == "a list of blocks":
                self.blocks = nn.ModuleList()
                self.layers = layers
            if fault == "nn.TransformerEncoder":
                self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
            self.norm = nn.LayerNorm(dim, eps=1e-2 if fault == "another eps" else 1e-5)
            self.head = nn.Linear(dim, num_classes)
            self.depth = depth

        def tokens(self, x):
            rows = self.embed(x)
            if fault == "positions shifted":
                return torch.cat([self.cls.expand(len(x), 1, -1), rows], 1) + self.pos.roll(1, 0)
            out = torch.cat([self.cls.expand(len(x), 1, -1), rows], 1) + self.pos
            return functional.layer_norm(out, out.shape[2:]) if fault == "tokens normed" else out

        def forward(self, x):
            h = self.tokens(x)
            blocks = list(self.blocks)
            blocks = blocks[::-1] if fault == "blocks in reverse" else blocks
            blocks = blocks[:-1] if fault == "last block left out" and len(blocks) > 1 else blocks
            for number, block in enumerate(blocks):
                before = h
                h = block(h)
                h = h + before if fault == "another shortcut" else h
                h = self.norm(h) if fault == "norm after every block" and number < len(blocks) - 1 else h
                h = h + self.pos if fault == "positions in every block" and number < len(blocks) - 1 else h
            h = self.norm(h)
            h = h.amax(1) if fault == "maximum" else h[:, 1] if fault == "first patch" else h[:, 0]
            h = h.detach() if fault == "detaches" else h
            h = h.tanh() if fault == "tanh" else h
            scores = self.head(h)
            if fault == "nothing returned":
                return None
            return scores.log_softmax(1) if fault == "log softmax" else scores

    return ViT


class _ByParts(nn.Module):
    """Blocks by their branches, the convolution for the embedding, the head on one token from the start."""

    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_dim, in_channels=3):
        super().__init__()
        self.kernel = (in_channels, *_size(patch_size))
        self.embed = _Embedding(patch_size, in_channels, dim)
        count = image_size[0] * image_size[1] // (self.kernel[1] * self.kernel[2])
        self.cls = nn.Parameter(torch.empty(dim).normal_(std=0.02))
        self.pos = nn.Parameter(nn.init.trunc_normal_(torch.empty(1 + count, dim), std=0.02))
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            block = nn.TransformerEncoderLayer(dim, heads, mlp_dim, 0, functional.gelu, 1e-5, True, True)
            self.blocks.append(block)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def tokens(self, x):
        kernel = self.embed.proj.weight.unflatten(1, self.kernel)
        rows = functional.conv2d(x, kernel, self.embed.proj.bias, stride=self.kernel[1:]).flatten(2).mT
        return torch.cat([(self.cls + self.pos[0]).expand(len(x), 1, -1), rows + self.pos[1:]], dim=1)

    def forward(self, x):
        h = self.tokens(x)
        for block in self.blocks:
            normed = block.norm1(h)
            h = h + block.self_attn(normed, normed, normed)[0]
            h = h + block.linear2(functional.gelu(block.linear1(block.norm2(h))))
        return functional.linear(self.norm(h[:, 0]), self.head.weight, self.head.bias)


class _InSequence(_ByParts):
    """The blocks as an nn.Sequential."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.blocks = nn.Sequential(*self.blocks)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.tokens(x)).select(1, 0)))


vit = Hidden(
    cases=[
        vit_case("one image", 1, 3, (8, 4), 4, 3, 24, 2, 2, 10),
        vit_case("one patch", 2, 2, (4, 4), 4, 3, 24, 1, 2, 10),
        vit_case("one block, one head", 2, 1, (6, 4), 2, 3, 20, 1, 1, 6),
        vit_case("one class", 3, 2, (4, 6), 2, 1, 24, 2, 4, 8),
        vit_case("as many images as tokens", 5, 1, (4, 4), 2, 4, 24, 2, 2, 24),
        vit_case("wide patches", 2, 2, (3, 8), (1, 4), 3, 24, 2, 3, 16),
        vit_case("hidden layer smaller than a token", 2, 3, (4, 8), 4, 3, 32, 2, 8, 3),
        vit_case("four blocks", 2, 1, (4, 4), 2, 3, 24, 4, 2, 12),
        vit_case("non-contiguous", 2, 3, (4, 6), 2, 4, 24, 2, 2, 12).strided(),
        vit_case("float32", 2, 3, (8, 8), 4, 5, 32, 2, 4, 16).float32(),
    ],
    mutants={
        fault: _vit(fault)
        for fault in (
            "no row for the class token",
            "always three colours",
            "large start",
            "class token with axes",
            "positions of zeros",
            "class token of zeros",
            "tiny start",
            "positions as a buffer",
            "dropout",
            "another eps",
            "no biases",
            "SiLU",
            "GELU by tanh",
            "one head",
            "mlp_dim of 4 D",
            "copies",
            "one block, many times",
            "a list of blocks",
            "nn.TransformerEncoder",
            "positions shifted",
            "tokens normed",
            "blocks in reverse",
            "last block left out",
            "another shortcut",
            "norm after every block",
            "positions in every block",
            "maximum",
            "first patch",
            "detaches",
            "tanh",
            "nothing returned",
            "log softmax",
        )
    },
    solutions={"by branches": _ByParts, "blocks in sequence": _InSequence},
    equivalent={
        "ViT.__init__: 0.02 * torch.randn(dim) -> -0.02 * torch.randn(dim)": "a normal number is as likely as its negative",
        "ViT.__init__: 0.02 * torch.randn(dim) -> 0.01 * torch.randn(dim)": "so few numbers do not tell half the spread for certain",
        "ViT.__init__: 0.02 * torch.randn(places, dim) -> -0.02 * torch.randn(places, dim)": "a normal number is as likely as its negative",
        "ViT.__init__: 0.02 * torch.randn(places, dim) -> 0.01 * torch.randn(places, dim)": "so few numbers do not tell half the spread for certain",
        "ViT.__init__: 0.02 * torch.randn(places, dim) -> 0.04 * torch.randn(places, dim)": "so few numbers do not tell twice the spread for certain",
    },
)
