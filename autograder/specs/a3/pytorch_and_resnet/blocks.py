"""Plain, residual and bottleneck blocks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a3.pytorch_and_resnet.residual import bottleneck_case, plain_case, residual_case


def _conv(channels, width, size, stride=1, **options):
    return nn.Conv2d(channels, width, size, stride=stride, padding=size // 2, bias=False, **options)


def _block(kind, fault=""):
    """One of the three blocks as a class, spoilt by one ``fault``."""
    is_deep = kind == "bottleneck"

    class Block(nn.Module):
        expansion = 4 if is_deep else 1

        def __init__(self, in_channels, width, stride=1, zero_init=False):
            super().__init__()
            out = self.expansion * width
            sizes = [(in_channels, width, 1), (width, width, 3), (width, out, 1)] if is_deep else []
            sizes = sizes or [(in_channels, width, 3), (width, width, 3)]
            strided = 1 if is_deep else 0
            for place, (before, after, size) in enumerate(sizes):
                conv = _conv(before, after, size, stride if place == strided else 1)
                if fault == "biases":
                    conv = nn.Conv2d(before, after, size, padding=size // 2, stride=stride if place == strided else 1)
                if fault == "no padding" and size == 3:
                    conv = nn.Conv2d(before, after, 3, stride=stride if place == strided else 1, bias=False)
                if fault == "stride forgotten":
                    conv = _conv(before, after, size)
                setattr(self, f"conv{place + 1}", conv)
                norm = nn.BatchNorm2d(after, eps=1e-2 if fault == "another eps" else 1e-5)
                setattr(self, f"bn{place + 1}", norm)
            self.depth = len(sizes)
            self.shortcut = nn.Identity()
            needs = stride != 1 or in_channels != out
            needs = stride != 1 if fault == "projects for strides only" else needs
            needs = in_channels != out if fault == "projects for channels only" else needs
            needs = (stride != 1 and in_channels != out) if fault == "projects if both differ" else needs
            needs = True if fault == "projects always" else needs
            if needs and kind != "plain":
                projection = _conv(in_channels, out, 1, stride)
                if fault == "projection of 3×3":
                    projection = _conv(in_channels, out, 3, stride)
                if fault == "projection with a bias":
                    projection = nn.Conv2d(in_channels, out, 1, stride)
                if fault == "projection without stride":
                    projection = _conv(in_channels, out, 1)
                parts = [projection] if fault == "projection without norm" else [projection, nn.BatchNorm2d(out)]
                self.shortcut = nn.Sequential(*parts)
            if zero_init:
                last = getattr(self, f"bn{self.depth}")
                nn.init.zeros_(last.bias if fault == "zeros beta" else last.weight)
                if fault == "zeros the shortcut too" and needs:
                    nn.init.zeros_(self.shortcut[1].weight)

        def forward(self, x):
            if fault == "overwrites x":
                x = functional.relu_(x)
            h, first = x, None
            for place in range(1, self.depth + 1):
                h = getattr(self, f"conv{place}")(h)
                if fault == "ReLU on conv1's output too" and place == 1:
                    h = h.relu()
                h = getattr(self, f"bn{1 if fault == 'bn1 twice' and place == 2 else place}")(h)
                if place < self.depth:
                    h = functional.leaky_relu(h, 0.01) if fault == "leaky ReLU" else h.relu()
                    h = functional.dropout(h, 0.5, self.training) if fault == "dropout" else h
                    first = h if first is None else first
            if fault == "evaluation only":
                self.eval()
            if kind != "plain":
                short = self.shortcut(x)
                short = short.detach() if fault == "detaches the shortcut" else short
                h = h + (first if fault == "shortcut from the first layer" and first.shape == h.shape else short)
                h = h * short if fault == "multiplies" else h
            h = h.detach() if fault == "detaches" else h
            if fault == "nothing returned":
                return None
            return functional.relu6(h) if fault == "ReLU6" else h.relu()

    return Block


_FAULTS = (
    "biases",
    "no padding",
    "stride forgotten",
    "another eps",
    "overwrites x",
    "ReLU on conv1's output too",
    "bn1 twice",
    "leaky ReLU",
    "dropout",
    "detaches",
    "nothing returned",
)
_SHORTCUT_FAULTS = (
    "projects for strides only",
    "projects for channels only",
    "projects if both differ",
    "projects always",
    "projection of 3×3",
    "projection with a bias",
    "projection without stride",
    "projection without norm",
    "zeros beta",
    "zeros the shortcut too",
    "detaches the shortcut",
    "multiplies",
)


class _Sequences(nn.Module):
    """The plain block: layers from a list, called through the functional interface."""

    expansion = 1

    def __init__(self, in_channels, width, stride=1):
        super().__init__()
        for number, channels in enumerate((in_channels, width), 1):
            self.add_module(f"conv{number}", nn.Conv2d(channels, width, 3, (stride, 1)[number - 1], 1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(width))

    def forward(self, x):
        for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2)):
            x = functional.conv2d(x, conv.weight, stride=conv.stride, padding="same" if conv.stride == (1, 1) else 1)
            x = torch.relu_(bn(x))
        return x


class _Strided(nn.Module):
    """The plain block by unfolding; ReLU as a maximum."""

    expansion = 1

    def __init__(self, in_channels, width, stride=1):
        super().__init__()
        self.bn2, self.bn1 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, bias=False)
        self.conv1 = nn.Conv2d(in_channels, width, 3, bias=False)
        self.stride = stride

    def _convolve(self, x, conv, stride):
        columns = functional.unfold(x, 3, padding=1, stride=stride)
        size = [(length - 1) // stride + 1 for length in x.shape[2:]]
        return torch.einsum("fd,ndp->nfp", conv.weight.flatten(1), columns).unflatten(2, size)

    def forward(self, x):
        h = self.bn1(self._convolve(x, self.conv1, self.stride))
        h = self.bn2(self._convolve(h.clamp(min=0), self.conv2, 1))
        return torch.maximum(h, torch.zeros_like(h))


class _Optional(nn.Module):
    """The residual block with None for the identity, and the sum in place."""

    expansion = 1

    def __init__(self, in_channels, width, stride=1, zero_init=False):
        super().__init__()
        self.conv1, self.conv2 = _conv(in_channels, width, 3, stride), _conv(width, width, 3)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.shortcut = None
        if (in_channels, 1) != (width, stride):
            self.shortcut = nn.Sequential(_conv(in_channels, width, 1, stride), nn.BatchNorm2d(width))
        if zero_init:
            nn.init.constant_(self.bn2.weight, 0)

    def forward(self, x):
        out = self.conv2(functional.relu(self.bn1(self.conv1(x)), inplace=True))
        out = self.bn2(out)
        out += x if self.shortcut is None else self.shortcut(x)
        return functional.relu(out, inplace=True)


class _Empty(nn.Module):
    """The residual block with an empty sequence for the identity; the projection sees every s-th pixel."""

    expansion = 1

    def __init__(self, in_channels, width, stride=1, zero_init=False):
        super().__init__()
        self.shortcut = nn.Sequential()
        if not (stride == 1 and in_channels == width):
            self.shortcut.append(nn.Conv2d(in_channels, width, 1, bias=False))
            self.shortcut.append(nn.BatchNorm2d(width))
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = (nn.BatchNorm2d(width) for _ in range(2))
        self.bn2.weight.data.mul_(0.0 if zero_init else 1.0)
        self.stride = stride

    def forward(self, x):
        seen = x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]
        branch = nn.Sequential(self.conv1, self.bn1, nn.ReLU(), self.conv2, self.bn2)
        return (self.shortcut(seen) + branch(x)).clamp_min(0)


class _OptionalDeep(nn.Module):
    """The bottleneck with None for the identity, and the sum in place."""

    expansion = 4

    def __init__(self, in_channels, width, stride=1, zero_init=False):
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = None
        if stride > 1 or in_channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        if zero_init:
            self.bn3.weight = nn.Parameter(torch.zeros_like(self.bn3.weight))

    def forward(self, x):
        out = nn.functional.relu(self.bn1(self.conv1(x)), inplace=True)
        out = nn.functional.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += x if self.shortcut is None else self.shortcut(x)
        return out.relu_()


class _EmptyDeep(nn.Module):
    """The bottleneck with 1×1 convolutions as products of matrices."""

    expansion = 4

    def __init__(self, in_channels, width, stride=1, zero_init=False):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(size) for size in (width, width, 4 * width))
        self.stride = stride
        parts = [nn.Conv2d(in_channels, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)]
        self.shortcut = nn.Sequential(*(parts if stride != 1 or in_channels != 4 * width else []))
        if zero_init:
            with torch.no_grad():
                self.bn3.weight[:] = 0

    def forward(self, x):
        h = self.bn1(torch.einsum("nchw,fc->nfhw", x, self.conv1.weight[:, :, 0, 0]))
        h = self.bn2(self.conv2(h.relu()))
        h = self.bn3(torch.einsum("nchw,fc->nfhw", h.relu(), self.conv3.weight[:, :, 0, 0]))
        return torch.relu(h + self.shortcut(x[..., :: self.stride, :: self.stride]))


def _cases(case, same, wide):
    """Cases for a block; ``same`` channels keep the identity possible at width 3, ``wide`` do not."""
    return [
        case("one image", 1, same, (4, 5), 3, 1),
        case("one input channel", 2, 1, (5, 4), 3, 1),
        case("width 1", 2, 2, (4, 6), 1, 1),
        case("stride 2 and more channels", 2, 2, (7, 4), 5, 2),
        case("stride 2, even sizes", 2, same, (6, 4), 3, 2),
        case("stride 3", 2, 2, (8, 7), 4, 3),
        case("stride 2 on 2×3 pixels", 4, 2, (2, 3), 3, 2),
        case("fewer channels", 3, wide, (4, 3), 2, 1),
        case("non-contiguous", 2, same, (5, 6), 3, 1).strided(),
        case("non-contiguous, stride 2", 2, 2, (5, 6), 3, 2).strided(),
        case("float32", 3, same, (6, 5), 3, 1).float32(),
        case("small numbers", 2, same, (5, 4), 3, 2, std=0.01),
    ]


plain_block = Hidden(
    cases=_cases(plain_case, 3, 7),
    mutants={fault: _block("plain", fault) for fault in _FAULTS},
    solutions={"from a list, functional": _Sequences, "unfolded": _Strided},
)

residual_block = Hidden(
    cases=_cases(residual_case, 3, 7),
    mutants={
        fault: _block("residual", fault) for fault in (*_FAULTS, *_SHORTCUT_FAULTS, "shortcut from the first layer")
    },
    solutions={"None for the identity, in place": _Optional, "an empty sequence, every s-th pixel": _Empty},
)

bottleneck_block = Hidden(
    cases=_cases(bottleneck_case, 12, 17),
    mutants={fault: _block("bottleneck", fault) for fault in (*_FAULTS, *_SHORTCUT_FAULTS) if fault != "bn1 twice"},
    solutions={"None for the identity, in place": _OptionalDeep, "products of matrices": _EmptyDeep},
)
