"""One small net at three levels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a3.pytorch_and_resnet.bare import bare_case, layers_case, net_case


def _cases(case):
    return [
        case("one image", 1, 3, (6, 7), (4, 5), 3),
        case("one channel", 2, 1, (5, 8), (3, 2), 4),
        case("one filter", 2, 2, (4, 6), (1, 1), 3),
        case("one class", 3, 2, (4, 7), (3, 4), 1),
        case("2×3 pixels", 2, 2, (2, 3), (3, 4), 5),
        case("wide images", 2, 2, (3, 14), (4, 3), 2),
        case("non-contiguous", 3, 3, (6, 5), (4, 2), 3).strided(),
        case("float32", 2, 3, (8, 5), (4, 6), 3).float32(),
        case("numbers of 10,000", 2, 2, (5, 6), (3, 4), 3, std=1e4),
        case("as many filters as classes", 4, 4, (4, 4), (4, 4), 4),
    ]


def _bare(x, params, fault=""):
    pad = 0 if fault == "no second padding" else 1
    h = functional.conv2d(x, params["W1"], None if fault == "no b1" else params["b1"], padding=1)
    h = functional.max_pool2d(functional.relu(h), 3, 2, 1) if fault == "pools 3×3" else functional.relu(h)
    h = h if fault == "pools 3×3" else functional.max_pool2d(h, 2)
    h = functional.conv2d(h, params["W2"], None if fault == "no b2" else params["b2"], padding=pad)
    h = functional.gelu(h) if fault == "GELU" else functional.relu(h)
    if fault == "flattens":
        return h.flatten(1)[:, : len(params["W3"])] @ params["W3"] + params["b3"]
    h = h.mean(dim=3).amax(dim=2) if fault == "half mean, half maximum" else h.mean(dim=(2, 3))
    scores = h @ params["W3"]
    if fault == "no b3":
        return scores
    if fault == "softmax":
        return (scores + params["b3"]).softmax(1)
    if fault == "data":
        return (scores + params["b3"]).data
    return scores + params["b3"]


def _bare_in_place(x, params):
    x -= x.mean()
    return _bare(x, params)


def _bare_changing_weights(x, params):
    if not params["W1"].requires_grad:
        params["W1"] *= 2
    return _bare(x, params)


def _bare_by_unfolding(x, params):
    N, _, H, W = x.shape
    h = params["W1"].flatten(1) @ functional.unfold(x, 3, padding=1) + params["b1"][:, None]
    h = h.clamp(min=0).reshape(N, -1, H, W)[:, :, : H // 2 * 2, : W // 2 * 2]
    h = h.reshape(N, -1, H // 2, 2, W // 2, 2).amax(dim=(3, 5))
    h = params["W2"].flatten(1) @ functional.unfold(h, 3, padding=1) + params["b2"][:, None]
    return torch.einsum("nfp,fk->nk", h.clamp(min=0), params["W3"]) / h.shape[2] + params["b3"]


def _bare_by_modules(x, params):
    h = nn.ReLU()(functional.conv2d(x, params["W1"], params["b1"], padding="same"))
    h = nn.MaxPool2d(2, 2)(h)
    h = nn.ReLU()(functional.conv2d(h, params["W2"], params["b2"], padding=(1, 1)))
    return functional.linear(functional.adaptive_avg_pool2d(h, 1)[:, :, 0, 0], params["W3"].T, params["b3"])


convnet_by_tensors = Hidden(
    cases=_cases(bare_case),
    mutants={
        **{
            fault: lambda x, params, fault=fault: _bare(x, params, fault)
            for fault in (
                "no second padding",
                "no b1",
                "no b2",
                "no b3",
                "pools 3×3",
                "GELU",
                "flattens",
                "half mean, half maximum",
                "softmax",
                "data",
            )
        },
        "changes x": _bare_in_place,
        "changes weights": _bare_changing_weights,
        "returns None": lambda x, params: None,
        "takes W3 as torch keeps it": lambda x, params: _bare(
            x, {**params, "W3": params["W3"].reshape(params["W3"].T.shape).T}
        ),
    },
    solutions={"unfolded, einsum": _bare_by_unfolding, "modules and linear": _bare_by_modules},
)


def _net(fault=""):
    class ConvNet(nn.Module):
        def __init__(self, in_channels, widths, num_classes):
            super().__init__()
            if fault == "not named":
                self.layers = [nn.Conv2d(in_channels, widths[0], 3, padding=1), nn.Conv2d(*widths, 3, padding=1)]
                self.fc = nn.Linear(widths[1], num_classes)
                return
            self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=fault != "no bias")
            self.conv2 = nn.Conv2d(widths[0], widths[1], 3, padding=0 if fault == "no second padding" else 1)
            last = nn.Linear(widths[1], num_classes)
            if fault == "another name":
                self.fc3 = last
            else:
                self.fc = last
            if fault == "widths exchanged":
                self.conv1 = nn.Conv2d(in_channels, widths[1], 3, padding=1)
                self.conv2 = nn.Conv2d(widths[1], widths[0], 3, padding=1)
                self.fc = nn.Linear(widths[0], num_classes)
            if fault == "kernel 5":
                self.conv1 = nn.Conv2d(in_channels, widths[0], 5, padding=2)
            if fault == "batch norm":
                self.bn = nn.BatchNorm2d(widths[0])

        def forward(self, x):
            h = functional.relu(self.conv1(x))
            h = functional.max_pool2d(h, 2, stride=1) if fault == "pools with stride 1" else functional.max_pool2d(h, 2)
            h = functional.relu(self.conv2(h.detach() if fault == "detaches" else h))
            h = functional.dropout(h) if fault == "dropout" else h
            h = h.mean(dim=2).amax(dim=2) if fault == "half mean, half maximum" else h.mean(dim=(2, 3))
            scores = self.fc(h)
            if fault == "nothing returned":
                return None
            return scores.softmax(1) if fault == "softmax" else scores

    return ConvNet


class _NetOfModules(nn.Module):
    """Layers without weights as attributes too; the mean by a pooling layer."""

    def __init__(self, in_channels, widths, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], kernel_size=(3, 3), padding="same")
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(widths[0], widths[1], kernel_size=3, padding=(1, 1))
        self.relu = nn.ReLU(inplace=True)
        self.mean = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(in_features=widths[1], out_features=num_classes)

    def forward(self, x):
        h = self.pool(self.relu(self.conv1(x)))
        return self.fc(torch.flatten(self.mean(self.relu(self.conv2(h))), 1))


class _NetByHand(nn.Module):
    """Only the weights are the layers'; the rest is arithmetic."""

    def __init__(self, in_channels, widths, num_classes):
        super().__init__()
        first, second = widths
        layers = {"conv1": nn.Conv2d(in_channels, first, 3), "conv2": nn.Conv2d(first, second, 3)}
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.fc = nn.Linear(second, num_classes)

    def forward(self, x):
        bare = {"W1": self.conv1.weight, "b1": self.conv1.bias, "W2": self.conv2.weight, "b2": self.conv2.bias}
        return _bare_by_unfolding(x, bare | {"W3": self.fc.weight.T, "b3": self.fc.bias})


convnet_by_module = Hidden(
    cases=_cases(net_case),
    mutants={
        fault: _net(fault)
        for fault in (
            "not named",
            "no bias",
            "no second padding",
            "another name",
            "widths exchanged",
            "kernel 5",
            "batch norm",
            "pools with stride 1",
            "detaches",
            "dropout",
            "half mean, half maximum",
            "nothing returned",
            "softmax",
        )
    },
    solutions={"layers without weights as attributes": _NetOfModules, "weights only, by hand": _NetByHand},
)


def _layers(fault=""):
    def convnet_by_layers(in_channels, widths, num_classes):
        first, second = widths
        layers = [
            nn.Conv2d(in_channels, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(second, num_classes),
        ]
        if fault == "no flattening":
            del layers[6]
        if fault == "a list":
            return layers
        if fault == "no second ReLU":
            layers[4] = nn.Identity()
        if fault == "positions exchanged":
            layers[1], layers[2] = layers[2], nn.Identity()
        if fault == "a maximum at the end":
            layers[5] = nn.AdaptiveMaxPool2d(1)
        if fault == "dropout":
            layers[4] = nn.Sequential(nn.ReLU(), nn.Dropout())
        if fault == "named":
            names = ("conv1", "relu1", "pool", "conv2", "relu2", "mean", "flatten", "fc")
            net = nn.Sequential()
            for name, layer in zip(names, layers, strict=True):
                net.add_module(name, layer)
            return net
        if fault == "softmax at the end":
            layers.append(nn.Softmax(1))
        if fault == "kernel 5":
            layers[0] = nn.Conv2d(in_channels, first, 5, padding=2)
        if fault == "in a sequence of its own":
            return nn.Sequential(nn.Sequential(*layers))
        return None if fault == "nothing returned" else nn.Sequential(*layers)

    return convnet_by_layers


def _layers_appended(in_channels, widths, num_classes):
    net = nn.Sequential(nn.Conv2d(in_channels, widths[0], 3, padding="same"), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2))
    net.append(nn.Conv2d(widths[0], widths[1], 3, 1, 1))
    for layer in (nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(1, -1), nn.Linear(widths[1], num_classes)):
        net.append(layer)
    return net


def _layers_by_position(in_channels, widths, num_classes):
    class Mean(nn.Module):
        def forward(self, x):
            return x.flatten(2).mean(2)

    layers = {"0": nn.Conv2d(in_channels, widths[0], 3, padding=1), "1": nn.ReLU()}
    layers |= {"2": nn.MaxPool2d(2), "3": nn.Conv2d(*widths, 3, padding=1), "4": nn.Threshold(0.0, 0.0)}
    layers |= {"5": Mean(), "6": nn.Identity(), "7": nn.Linear(widths[1], num_classes)}
    net = nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, layer)
    return net


convnet_by_layers = Hidden(
    cases=_cases(layers_case),
    mutants={
        fault: _layers(fault)
        for fault in (
            "no flattening",
            "a list",
            "no second ReLU",
            "positions exchanged",
            "a maximum at the end",
            "dropout",
            "named",
            "softmax at the end",
            "kernel 5",
            "in a sequence of its own",
            "nothing returned",
        )
    },
    solutions={"appended one by one": _layers_appended, "by position, layers of its own": _layers_by_position},
)
