"""The patch embedding, and the convolution that it is."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.vision_transformer.embedding import convolution_case, embedding_case


def _size(patch_size):
    return (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)


def _rows(x, size):
    if x.shape[2] % size[0] or x.shape[3] % size[1]:
        raise ValueError
    return x.unfold(2, size[0], size[0]).unfold(3, size[1], size[1]).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def _embedding(fault=""):
    class PatchEmbedding(nn.Module):
        def __init__(self, patch_size, in_channels, dim):
            super().__init__()
            self.size = _size(patch_size)
            if fault == "square patches":
                self.size = (self.size[0], self.size[0])
            colours = 3 if fault == "always three colours" else in_channels
            length = colours * self.size[0] * self.size[1]
            layer = nn.Linear(length, dim, bias=fault != "no bias")
            if fault == "a convolution":
                layer = nn.Conv2d(in_channels, dim, self.size, self.size)
            if fault == "another name":
                self.projection = layer
            else:
                self.proj = layer
            if fault == "a norm besides":
                self.norm = nn.LayerNorm(dim)

        def forward(self, x):
            if fault == "a convolution":
                return self.proj(x).flatten(2).mT
            rows = _rows(x, self.size)
            if fault == "overwrites x":
                x *= 0
            if fault == "detaches":
                rows = rows.detach()
            if fault == "no gradient":
                return functional.linear(rows, self.proj.weight.detach(), self.proj.bias)
            layer = self.projection if fault == "another name" else self.proj
            out = layer(rows)
            if fault == "tokens last":
                return out.mT
            if fault == "GELU":
                return functional.gelu(out)
            if fault == "dropout":
                return functional.dropout(out, 0.1)
            if fault == "normed":
                return functional.layer_norm(out, out.shape[-1:])
            return None if fault == "nothing returned" else out

    return PatchEmbedding


class _ByConvolution(nn.Module):
    """Weights in a linear layer, used as a convolution."""

    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.kernel = (in_channels, *_size(patch_size))
        self.proj = nn.Linear(in_channels * self.kernel[1] * self.kernel[2], dim)

    def forward(self, x):
        kernel = self.proj.weight.unflatten(1, self.kernel)
        return functional.conv2d(x, kernel, self.proj.bias, stride=self.kernel[1:]).flatten(2).mT


class _ByUnfolding(nn.Module):
    """torch's unfold, and einsum."""

    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.unfold = nn.Unfold(_size(patch_size), stride=_size(patch_size))
        PH, PW = _size(patch_size)
        self.proj = nn.Linear(in_features=PH * PW * in_channels, out_features=dim)

    def forward(self, x):
        return torch.einsum("dk,nkl->nld", self.proj.weight, self.unfold(x)) + self.proj.bias


patch_embedding = Hidden(
    cases=[
        embedding_case("one image", 1, 3, (6, 4), 2, 5),
        embedding_case("one channel", 3, 1, (6, 9), 3, 4),
        embedding_case("one patch", 2, 2, (4, 5), (4, 5), 6),
        embedding_case("tokens of one number", 2, 3, (4, 6), 2, 1),
        embedding_case("wide patches", 2, 2, (3, 8), (1, 4), 5),
        embedding_case("as many channels as images", 3, 3, (6, 6), 2, 12),
        embedding_case("non-contiguous", 2, 3, (4, 6), (2, 3), 4).strided(),
        embedding_case("float32", 2, 3, (8, 4), 4, 7).float32(),
    ],
    mutants={
        fault: _embedding(fault)
        for fault in (
            "square patches",
            "always three colours",
            "no bias",
            "a convolution",
            "another name",
            "a norm besides",
            "overwrites x",
            "detaches",
            "no gradient",
            "tokens last",
            "GELU",
            "dropout",
            "normed",
            "nothing returned",
        )
    },
    solutions={"as a convolution": _ByConvolution, "unfolded, einsum": _ByUnfolding},
)


# as_convolution.


def _conv(proj, patch_size, fault=""):
    """The convolution, spoilt by one ``fault``."""
    PH, PW = _size(patch_size)
    if fault == "square kernels":
        PW = PH
    D, length = proj.weight.shape
    C = 3 if fault == "always three colours" else length // (PH * PW)
    options = {"device": proj.weight.device, "dtype": proj.weight.dtype}
    if fault == "float32 whatever proj is":
        options["dtype"] = torch.float32
    if fault == "dilation":
        options["dilation"] = 2
    stride = (PW, PH) if fault == "stride exchanged" else (PH, PW)
    if fault == "padding":
        options["padding"] = "same"
        stride = 1
    if fault == "circular":
        options |= {"padding": (PH // 2, PW // 2), "padding_mode": "circular"}
    conv = nn.Conv2d(C, D, (PH, PW), stride, bias=fault != "no bias", **options)
    if fault == "untrained":
        return conv
    kernel = proj.weight.detach().reshape(D, C, PH, PW)
    if fault == "filters in reverse":
        kernel = kernel.flip(0)
    if fault == "channels in reverse":
        kernel = kernel.flip(1)
    with torch.no_grad():
        conv.weight.copy_(kernel)
        if fault == "bias of the first filter":
            conv.bias.fill_(proj.bias[0])
        elif fault != "no bias":
            conv.bias.copy_(proj.bias)
    if fault == "bias subtracted":
        conv.bias.data.neg_()
    if fault == "a function":
        return lambda x: conv(x)
    if fault == "weights only":
        return kernel
    return conv


def _conv_by_parameters(proj, patch_size):
    PH, PW = _size(patch_size)
    weight, bias = proj.weight.detach().clone(), proj.bias.detach().clone()
    conv = nn.Conv2d(1, 1, kernel_size=(PH, PW), stride=(PH, PW))
    conv.in_channels, conv.out_channels = weight.shape[1] // (PH * PW), len(weight)
    conv.weight = nn.Parameter(weight.unflatten(1, (-1, PH, PW)))
    conv.bias = nn.Parameter(bias)
    return conv


as_convolution = Hidden(
    cases=[
        convolution_case("one image", 1, 3, (6, 4), 2, 5),
        convolution_case("one channel", 3, 1, (6, 9), 3, 4),
        convolution_case("one patch", 2, 2, (4, 5), (4, 5), 6),
        convolution_case("one filter", 2, 3, (4, 6), 2, 1),
        convolution_case("wide patches", 2, 2, (3, 8), (1, 4), 5),
        convolution_case("high patches", 2, 4, (6, 3), (3, 1), 3),
        convolution_case("as many filters as inputs", 2, 3, (4, 4), 2, 12),
        convolution_case("non-contiguous", 2, 3, (4, 6), (2, 3), 4).strided(),
        convolution_case("float32", 2, 3, (8, 4), 4, 7).float32(),
    ],
    mutants={
        fault: lambda proj, patch_size, fault=fault: _conv(proj, patch_size, fault)
        for fault in (
            "square kernels",
            "always three colours",
            "float32 whatever proj is",
            "dilation",
            "stride exchanged",
            "padding",
            "circular",
            "no bias",
            "untrained",
            "filters in reverse",
            "channels in reverse",
            "bias of the first filter",
            "bias subtracted",
            "a function",
            "weights only",
        )
    },
    solutions={"copied under no_grad": _conv, "parameters replaced": _conv_by_parameters},
)
