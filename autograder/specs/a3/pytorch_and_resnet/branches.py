"""Inception, squeeze-and-excitation, depthwise separable."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a3.pytorch_and_resnet.branches import inception_case, separable_case, squeeze_case


def _inception(fault=""):
    class InceptionBlock(nn.Module):
        def __init__(self, in_channels, c1, r3, c3, r5, c5, cp):
            super().__init__()
            has_bias = fault != "no biases"
            self.one = nn.Conv2d(in_channels, c1, 1, bias=has_bias)
            self.three_reduce = nn.Conv2d(in_channels, r3, 1, bias=has_bias)
            self.three = nn.Conv2d(r3, c3, 3, padding=0 if fault == "no padding" else 1)
            self.five_reduce = nn.Conv2d(in_channels, r5, 1)
            self.five = nn.Conv2d(r5, c5, 5, padding=1 if fault == "padding 1 for 5×5" else 2)
            self.pool_project = nn.Conv2d(in_channels, cp, 1)
            if fault == "no reduction":
                self.three = nn.Conv2d(in_channels, c3, 3, padding=1)
            if fault == "3×3 for 5×5":
                self.five = nn.Conv2d(r5, c5, 3, padding=1)
            if fault == "batch norm":
                self.norm = nn.BatchNorm2d(c1)
            if fault == "widths exchanged":
                self.three_reduce, self.five_reduce = nn.Conv2d(in_channels, c3, 1), nn.Conv2d(in_channels, c5, 1)

        def forward(self, x):
            if fault == "overwrites x":
                x = x.relu_()
            relu = functional.leaky_relu if fault == "leaky ReLU" else functional.relu
            pool = {"kernel_size": 3, "stride": 1, "padding": 1}
            if fault == "pools 5×5":
                pool = {"kernel_size": 5, "stride": 1, "padding": 2}
            if fault == "pools with stride 3":
                pool = {"kernel_size": 3}
            shared = self.three_reduce if fault == "one reduction for both" else self.five_reduce
            if fault == "one reduction for both" and self.three_reduce.out_channels != self.five.in_channels:
                shared = self.five_reduce
            five = relu(self.five(relu(shared(x))))
            parts = [relu(self.one(x)), relu(self.three(relu(self.three_reduce(x)))), five]
            parts.append(relu(self.pool_project(functional.max_pool2d(x, **pool))))
            if fault == "a list":
                return parts
            if fault == "three branches":
                parts = parts[:3]
            if fault == "detaches a branch":
                parts[2] = parts[2].detach()
            if fault == "side by side in width":
                return torch.cat([part[:, :1] for part in parts], 3)
            return torch.cat(parts[::-1] if fault == "reversed" else parts, 1)

    return InceptionBlock


class _InceptionOfSequences(nn.Module):
    """Branches made in forward; pooling as a maximum of windows."""

    def __init__(self, in_channels, c1, r3, c3, r5, c5, cp):
        super().__init__()
        sizes = {"one": (in_channels, c1, 1), "three_reduce": (in_channels, r3, 1), "three": (r3, c3, 3)}
        sizes |= {"five_reduce": (in_channels, r5, 1), "five": (r5, c5, 5), "pool_project": (in_channels, cp, 1)}
        for name, (before, after, size) in sizes.items():
            self.add_module(name, nn.Conv2d(before, after, size, padding="same"))

    def forward(self, x):
        padded = functional.pad(x, (1, 1, 1, 1), value=-torch.inf)
        pooled = padded.unfold(2, 3, 1).unfold(3, 3, 1).amax(dim=(4, 5))
        relu = nn.ReLU()
        return torch.cat(
            (
                nn.Sequential(self.one, relu)(x),
                nn.Sequential(self.three_reduce, relu, self.three, relu)(x),
                nn.Sequential(self.five_reduce, relu, self.five, relu)(x),
                nn.Sequential(self.pool_project, relu)(pooled),
            ),
            dim=-3,
        )


class _InceptionFilled(nn.Module):
    """Branches written into one tensor, their reductions computed together."""

    def __init__(self, in_channels, c1, r3, c3, r5, c5, cp):
        super().__init__()
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.pool_project = nn.Conv2d(in_channels, cp, 1)
        self.one, self.three_reduce = nn.Conv2d(in_channels, c1, 1), nn.Conv2d(in_channels, r3, 1)
        self.five_reduce = nn.Conv2d(in_channels, r5, 1)
        self.three, self.five = nn.Conv2d(r3, c3, 3, 1, 1), nn.Conv2d(r5, c5, 5, 1, 2)
        self.parts = (c1, r3, r5)

    def forward(self, x):
        together = (self.one, self.three_reduce, self.five_reduce)
        weight, bias = torch.cat([c.weight for c in together]), torch.cat([c.bias for c in together])
        one, three, five = functional.conv2d(x, weight, bias).relu().split(self.parts, dim=1)
        outs = [one, self.three(three).relu(), self.five(five).relu(), self.pool_project(self.pool(x)).relu()]
        return torch.hstack(outs)


inception_block = Hidden(
    cases=[
        inception_case("one image", 1, 3, (5, 6), (2, 3, 4, 2, 3, 5)),
        inception_case("one channel", 2, 1, (6, 4), (3, 2, 2, 4, 1, 2)),
        inception_case("one filter each", 2, 4, (4, 6), (1, 1, 1, 1, 1, 1)),
        inception_case("one pixel", 2, 3, (1, 1), (2, 3, 4, 2, 3, 5)),
        inception_case("a row of pixels", 2, 3, (1, 9), (4, 1, 2, 3, 2, 3)),
        inception_case("negative input", 2, 2, (4, 5), (3, 2, 4, 1, 2, 2), std=5.0),
        inception_case("non-contiguous", 2, 3, (6, 5), (2, 4, 3, 2, 5, 1)).strided(),
        inception_case("float32", 3, 4, (6, 7), (5, 3, 2, 4, 3, 2)).float32(),
        inception_case("small numbers", 2, 3, (4, 6), (2, 3, 4, 2, 3, 5), std=1e-3),
    ],
    mutants={
        fault: _inception(fault)
        for fault in (
            "no biases",
            "no padding",
            "padding 1 for 5×5",
            "no reduction",
            "3×3 for 5×5",
            "batch norm",
            "widths exchanged",
            "overwrites x",
            "leaky ReLU",
            "pools 5×5",
            "pools with stride 3",
            "one reduction for both",
            "a list",
            "three branches",
            "detaches a branch",
            "side by side in width",
            "reversed",
        )
    },
    solutions={"sequences, windows": _InceptionOfSequences, "reductions together": _InceptionFilled},
)


def _squeeze(fault=""):
    class SqueezeExcite(nn.Module):
        def __init__(self, channels, reduction=16):
            super().__init__()
            units = max(1, channels // reduction)
            if fault == "R may be 0":
                units = channels // reduction
            if fault == "R rounded up":
                units = -(-channels // reduction)
            if fault == "reduction as R":
                units = reduction
            self.fc1 = nn.Linear(channels, units, bias=fault != "no biases")
            self.fc2 = nn.Linear(units, channels)
            if fault == "convolutions":
                self.fc1, self.fc2 = nn.Conv2d(channels, units, 1), nn.Conv2d(units, channels, 1)

        def forward(self, x):
            if fault == "overwrites x":
                gate = self.fc2(self.fc1(x.mean((2, 3))).relu()).sigmoid()
                return x.mul_(gate[:, :, None, None])
            z = x.mean(dim=(0, 2, 3), keepdim=False)[None] if fault == "mean over the batch too" else x.mean(dim=(2, 3))
            z = z.detach() if fault == "detaches" else z
            z = x[:, :, 0, 0] if fault == "looks at one pixel" else z
            h = functional.gelu(self.fc1(z)) if fault == "GELU" else functional.relu(self.fc1(z))
            h = self.fc2(h)
            gate = functional.hardsigmoid(h) if fault == "hard sigmoid" else h.sigmoid()
            gate = h.relu().sigmoid() if fault == "ReLU before the sigmoid" else gate
            gate = 2 * gate if fault == "twice the gate" else gate
            if fault == "gates the last axis" and gate.shape[1] == x.shape[3]:
                return x * gate[:, None, None, :]
            return None if fault == "nothing returned" else x * gate[:, :, None, None]

    return SqueezeExcite


class _SqueezePooled(nn.Module):
    """Pooling as a module, the gate by view and expand."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        self.pool, self.sigmoid = nn.AdaptiveAvgPool2d(1), nn.Sigmoid()
        self.fc1 = nn.Linear(channels, channels // reduction or 1)
        self.fc2 = nn.Linear(channels // reduction or 1, channels)

    def forward(self, x):
        N, C = x.shape[:2]
        gate = self.sigmoid(self.fc2(torch.relu_(self.fc1(self.pool(x).view(N, C)))))
        return x * gate.view(N, C, 1, 1).expand_as(x)


class _SqueezeByHand(nn.Module):
    """Products of matrices, and a sigmoid out of exponentials."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        self.fc2 = nn.Linear(max(channels // reduction, 1), channels)
        self.fc1 = nn.Linear(channels, self.fc2.in_features)

    def forward(self, x):
        z = torch.einsum("nchw->nc", x) / (x.shape[2] * x.shape[3])
        h = (z @ self.fc1.weight.T + self.fc1.bias).clamp(min=0)
        h = torch.einsum("nr,cr->nc", h, self.fc2.weight) + self.fc2.bias
        return torch.einsum("nchw,nc->nchw", x, 1 / (1 + (-h).exp()))


squeeze_excite = Hidden(
    cases=[
        squeeze_case("one image", 1, 8, (4, 3), 4, 2),
        squeeze_case("one channel", 3, 1, (4, 5), 2, 1),
        squeeze_case("one pixel", 3, 6, (1, 1), 3, 2),
        squeeze_case("no reduction", 2, 5, (3, 4), 1, 5),
        squeeze_case("reduction 16 of 35 channels", 2, 35, (3, 2), 16, 2),
        squeeze_case("as many channels as columns", 2, 4, (3, 4), 2, 2),
        squeeze_case("large gates", 2, 6, (3, 4), 2, 3, std=30.0),
        squeeze_case("non-contiguous", 3, 6, (4, 5), 2, 3).strided(),
        squeeze_case("float32", 4, 12, (5, 3), 4, 3).float32(),
        squeeze_case("negative input", 3, 6, (2, 5), 3, 2, mean=-3.0),
    ],
    mutants={
        fault: _squeeze(fault)
        for fault in (
            "R may be 0",
            "R rounded up",
            "reduction as R",
            "no biases",
            "convolutions",
            "overwrites x",
            "mean over the batch too",
            "detaches",
            "looks at one pixel",
            "GELU",
            "hard sigmoid",
            "ReLU before the sigmoid",
            "twice the gate",
            "nothing returned",
        )
    },
    solutions={"pooled, expanded": _SqueezePooled, "matrices and exponentials": _SqueezeByHand},
)


def _separable(fault=""):
    class DepthwiseSeparableBlock(nn.Module):
        expansion = 1

        def __init__(self, in_channels, width, stride=1):
            super().__init__()
            groups = 1 if fault == "full convolution" else in_channels
            bias = fault == "biases"
            pad = 0 if fault == "no padding" else 1
            stride = 1 if fault == "stride forgotten" else stride
            self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, pad, groups=groups, bias=bias)
            if fault == "as many kernels as outputs" and width % in_channels == 0:
                self.depthwise = nn.Conv2d(in_channels, width, 3, stride, pad, groups=groups, bias=False)
            self.bn1 = nn.BatchNorm2d(in_channels, eps=1e-2 if fault == "another eps" else 1e-5)
            size = 3 if fault == "pointwise 3×3" else 1
            self.pointwise = nn.Conv2d(in_channels, width, size, padding=size // 2, bias=False)
            self.bn2 = nn.BatchNorm2d(width)

        def forward(self, x):
            if fault == "overwrites x":
                x = x.clamp_(-1, 1)
            if fault == "pointwise first" and x.shape[1] == self.bn2.num_features:
                h = functional.relu(self.bn2(self.pointwise(x)))
                return functional.relu(self.bn1(self.depthwise(h)))
            h = self.bn1(self.depthwise(x))
            h = functional.relu6(5 * h) / 5 if fault == "ReLU6" else functional.relu(h)
            h = functional.dropout(h, 0.5, self.training) if fault == "dropout" else h
            h = self.bn2(self.pointwise(h.detach() if fault == "detaches" else h))
            h = functional.leaky_relu(h, 0.01) if fault == "leaky ReLU" else functional.relu(h)
            if fault == "adds a shortcut" and h.shape == x.shape:
                h = h + x
            return None if fault == "nothing returned" else h

    return DepthwiseSeparableBlock


class _SeparableByChannels(nn.Module):
    """One convolution per channel, in a loop; the pointwise one as a product."""

    expansion = 1

    def __init__(self, in_channels, width, stride=1):
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(in_channels), nn.BatchNorm2d(width)
        self.stride = stride

    def forward(self, x):
        kernels = self.depthwise.weight
        filtered = [
            functional.conv2d(x[:, c : c + 1], kernels[c : c + 1], stride=self.stride, padding=1)
            for c in range(x.shape[1])
        ]
        h = self.bn1(torch.cat(filtered, 1)).clamp(min=0)
        return self.bn2(torch.einsum("fc,nchw->nfhw", self.pointwise.weight[:, :, 0, 0], h)).clamp(min=0)


class _SeparableInPlace(nn.Module):
    """Keyword arguments throughout, ReLU in place."""

    expansion = 1

    def __init__(self, in_channels, width, stride=1):
        super().__init__()
        self.pointwise = nn.Conv2d(in_channels, width, kernel_size=(1, 1), bias=False)
        self.depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size=(3, 3),
            groups=in_channels,
            stride=(stride, stride),
            padding=(1, 1),
            bias=False,
        )
        self.bn1 = nn.BatchNorm2d(num_features=in_channels)
        self.bn2 = nn.BatchNorm2d(num_features=width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        for layer in (self.depthwise, self.bn1, self.relu, self.pointwise, self.bn2, self.relu):
            x = layer(x)
        return x


depthwise_separable_block = Hidden(
    cases=[
        separable_case("one image", 1, 3, (4, 5), 2, 1),
        separable_case("one input channel", 2, 1, (5, 4), 3, 1),
        separable_case("one filter", 3, 4, (4, 6), 1, 1),
        separable_case("as many filters as channels", 2, 4, (5, 6), 4, 1),
        separable_case("twice the filters", 2, 3, (4, 6), 6, 1),
        separable_case("stride 2, even sizes", 2, 4, (6, 8), 4, 2),
        separable_case("stride 3", 2, 3, (8, 7), 5, 3),
        separable_case("non-contiguous", 3, 4, (5, 7), 3, 2).strided(),
        separable_case("float32", 3, 4, (6, 5), 5, 1).float32(),
        separable_case("numbers of 100", 2, 3, (5, 4), 4, 1, std=100.0),
    ],
    mutants={
        fault: _separable(fault)
        for fault in (
            "full convolution",
            "biases",
            "no padding",
            "stride forgotten",
            "as many kernels as outputs",
            "another eps",
            "pointwise 3×3",
            "overwrites x",
            "pointwise first",
            "ReLU6",
            "dropout",
            "detaches",
            "leaky ReLU",
            "adds a shortcut",
            "nothing returned",
        )
    },
    solutions={"channel by channel": _SeparableByChannels, "keywords, in place": _SeparableInPlace},
)
