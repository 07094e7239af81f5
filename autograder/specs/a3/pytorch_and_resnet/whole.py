"""The ResNet."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a3.pytorch_and_resnet.whole import resnet_case


def _resnet(fault=""):
    class ResNet(nn.Module):
        def __init__(self, block, counts, widths, num_classes, in_channels=3, **options):
            super().__init__()
            channels = widths[0]
            expansion = 1 if fault == "ignores expansion" else block.expansion
            if fault == "stem as wide as the output of a block":
                channels = widths[0] * block.expansion
            bias = fault == "stem with a bias"
            size = 7 if fault == "stem of 7×7" else 3
            colours = 3 if fault == "always three colours" else in_channels
            conv = nn.Conv2d(colours, channels, size, padding=size // 2, bias=bias)
            parts = [conv, nn.BatchNorm2d(channels), nn.ReLU()]
            if fault == "stem with pooling":
                parts.append(nn.MaxPool2d(3, 2, 1))
            self.stem = nn.Sequential(*parts)
            stages = []
            for number, (count, width) in enumerate(zip(counts, widths, strict=True)):
                blocks = []
                for place in range(count):
                    stride = 2 if number and not place else 1
                    if fault == "stride where the width changes" and not place:
                        stride = 2 if number and widths[number] != widths[number - 1] else 1
                    extra = options if fault != "options for the first block only" or not place else {}
                    blocks.append(block(channels, width, stride, **extra))
                    channels = width * expansion
                if fault == "one block instance repeated" and count > 1:
                    blocks[1:] = [blocks[-1]] * (count - 1)
                if fault == "one block too many":
                    blocks.append(block(channels, width, 1, **options))
                stages.append(nn.Sequential(*blocks))
            if fault == "a list of stages":
                self.stages = stages
            elif fault == "stages flattened":
                self.stages = nn.Sequential(*(b for stage in stages for b in stage))
            else:
                self.stages = nn.Sequential(*stages)
            self.fc = nn.Linear(widths[-1] if fault == "fc from the width" else channels, num_classes)

        def features(self, x):
            h = self.stem(x)
            for stage in self.stages:
                h = stage(h)
            if fault == "features with pixels":
                return h
            if fault == "ReLU on features":
                return h.mean(dim=(2, 3)).relu()
            return h.mean(dim=3).amax(dim=2) if fault == "half mean, half maximum" else h.mean(dim=(2, 3))

        def forward(self, x):
            h = self.features(x)
            h = h.mean(dim=(2, 3)) if h.dim() == 4 else h
            h = functional.dropout(h, 0.5, self.training) if fault == "dropout" else h
            h = h.detach() if fault == "detaches" else h
            scores = self.fc(h)
            if fault == "nothing returned":
                return None
            return scores.log_softmax(1) if fault == "log softmax" else scores

    return ResNet


class _ByPairs(nn.Module):
    """Stages made from pairs of widths; the mean by a pooling layer."""

    def __init__(self, block, counts, widths, num_classes, in_channels=3, **options):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]))
        self.stem.append(nn.ReLU(inplace=True))
        sizes = [widths[0], *(width * block.expansion for width in widths)]
        self.stages = nn.Sequential()
        for number, (before, after) in enumerate(pairwise(sizes)):
            first = block(before, widths[number], min(number, 1) + 1, **options)
            others = [block(after, widths[number], 1, **options) for _ in range(1, counts[number])]
            self.stages.append(nn.Sequential(first, *others))
        self.fc = nn.Linear(sizes[-1], num_classes)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def features(self, x):
        for part in (self.stem, *self.stages):
            x = part(x)
        return self.pool(x).flatten(1)

    def forward(self, x):
        return self.fc(self.features(x))


class _ByMethod(nn.Module):
    """Stages from a method that counts channels; the mean over flattened pixels."""

    def __init__(self, block, counts, widths, num_classes, in_channels=3, **options):
        super().__init__()
        self.at, self.block, self.options = widths[0], block, options
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, self.at, (3, 3), padding=(1, 1), bias=False), nn.BatchNorm2d(self.at), nn.ReLU()
        )
        strides = [1] + [2] * (len(counts) - 1)
        self.stages = nn.Sequential(*map(self._stage, counts, widths, strides))
        self.fc = nn.Linear(self.at, num_classes)

    def _stage(self, count, width, stride):
        blocks = []
        for s in [stride] + [1] * (count - 1):
            blocks.append(self.block(self.at, width, stride=s, **self.options))
            self.at = width * self.block.expansion
        return nn.Sequential(*blocks)

    def features(self, x):
        return torch.einsum("nfp->nf", h := self.stages(self.stem(x)).flatten(2)) / h.shape[2]

    def forward(self, x):
        return functional.linear(self.features(x), self.fc.weight, self.fc.bias)


resnet = Hidden(
    cases=[
        resnet_case("one image", 1, 3, (5, 6), (1, 1), (3, 4), 3),
        resnet_case("one stage", 2, 2, (5, 4), (2,), (4,), 3),
        resnet_case("one class, one filter", 2, 1, (6, 4), (1, 1), (1, 1), 1),
        resnet_case("widths that fall", 2, 3, (7, 5), (1, 2), (5, 2), 4),
        resnet_case("equal widths in all stages", 2, 2, (8, 5), (1, 1, 1), (3, 3, 3), 4),
        resnet_case("expansion 3, one stage", 2, 2, (4, 5), (2,), (2,), 3, "wide block"),
        resnet_case("expansion 3, an option", 2, 2, (4, 7), (1, 2), (2, 3), 3, "wide block", slope=0.7),
        resnet_case("three blocks in a stage", 2, 2, (5, 6), (3, 1), (3, 2), 4),
        resnet_case("four stages", 2, 2, (17, 9), (1, 1, 1, 1), (2, 3, 4, 2), 3),
        resnet_case("non-contiguous", 2, 3, (6, 5), (1, 2), (3, 2), 4).strided(),
        resnet_case("float32", 2, 3, (7, 8), (2, 1), (4, 3), 3, slope=0.3).float32(),
    ],
    mutants={
        fault: _resnet(fault)
        for fault in (
            "ignores expansion",
            "stem as wide as the output of a block",
            "stem with a bias",
            "stem of 7×7",
            "always three colours",
            "stem with pooling",
            "stride where the width changes",
            "options for the first block only",
            "one block instance repeated",
            "one block too many",
            "a list of stages",
            "stages flattened",
            "fc from the width",
            "features with pixels",
            "half mean, half maximum",
            "dropout",
            "detaches",
            "nothing returned",
            "log softmax",
        )
    },
    solutions={"pairs of widths": _ByPairs, "a method for stages": _ByMethod},
    equivalent={
        f"ResNet.__init__: zip(counts, widths, strict=True) -> zip(counts, widths{rest})": "there are as many widths as counts"
        for rest in ("", ", strict=False")
    },
)
