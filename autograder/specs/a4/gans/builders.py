"""The two pairs of nets."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal


def _discriminator(hidden_dim=256, *, fault=""):
    H = 256 if fault == "hidden size fixed" else hidden_dim
    bias = fault != "no biases"
    layers = [nn.Flatten(), nn.Linear(784, H, bias=bias), nn.LeakyReLU(), nn.Linear(H, H, bias=bias), nn.LeakyReLU()]
    layers.append(nn.Linear(H, 1, bias=fault not in ("no biases", "no last bias")))
    if fault == "slope only once":
        layers[4] = nn.ReLU()
    if fault == "dropout":
        layers.insert(5, nn.Dropout(0.3))
    if fault == "batch normalisation":
        layers.insert(2, nn.BatchNorm1d(H))
    if fault == "no flatten":
        layers = layers[1:]
    if fault == "tanh":
        layers[2] = nn.Tanh()
    if fault == "squeezed":
        layers.append(nn.Flatten(0))
    if fault == "a list":
        return layers
    if fault == "a probability":
        return nn.Sequential(*layers, nn.Sigmoid())
    return nn.Sequential(*layers)


def _spoilt(build, fault):
    return lambda **settings: build(**settings, fault=fault)


class _Discriminator(nn.Module):
    def __init__(self, hidden_dim=256):
        super().__init__()
        sizes = [784, hidden_dim, hidden_dim, 1]
        self.layers = nn.ModuleList(nn.Linear(sizes[k], sizes[k + 1]) for k in range(3))

    def forward(self, images):
        h = images.reshape(images.shape[0], -1)
        for number, layer in enumerate(self.layers):
            h = layer(h) if number == 0 else layer(torch.where(h > 0, h, 0.01 * h))
        return h


class _ByTensors(nn.Module):
    """Weights as bare parameters."""

    def __init__(self, *sizes):
        super().__init__()
        self.weights = nn.ParameterList()
        for one, other in pairwise(sizes):
            self.weights.append(nn.Parameter(torch.randn(other, one) / one**0.5))
            self.weights.append(nn.Parameter(torch.zeros(other)))

    def chain(self, h, between):
        for number in range(0, len(self.weights), 2):
            if number:
                h = between(h)
            h = h @ self.weights[number].T + self.weights[number + 1]
        return h


class _DiscriminatorByTensors(_ByTensors):
    def forward(self, images):
        return self.chain(images.flatten(1), lambda h: torch.maximum(h, 0.01 * h))


class _GeneratorByTensors(_ByTensors):
    def forward(self, noise):
        return self.chain(noise, lambda h: h.clamp(min=0)).tanh()[:, None, :].unflatten(2, (28, 28))


def _images(count, name, **init):
    return Case(name, init=init, table=normal(997), x=normal(count, 1, 28, 28))


discriminator = Hidden(
    cases=[
        _images(1, "one image", hidden_dim=5),
        _images(2, "one hidden unit", hidden_dim=1),
        _images(4, "hidden_dim 33", hidden_dim=33),
        _images(3, "non-contiguous", hidden_dim=6).strided(),
        _images(3, "float32", hidden_dim=6).float32(),
        Case("large pixels", init={"hidden_dim": 4}, table=normal(997), x=normal(3, 1, 28, 28, std=100.0)),
    ],
    mutants={
        fault: _spoilt(_discriminator, fault)
        for fault in (
            "hidden size fixed",
            "no biases",
            "no last bias",
            "slope only once",
            "dropout",
            "batch normalisation",
            "no flatten",
            "tanh",
            "squeezed",
            "a list",
            "a probability",
        )
    },
    solutions={
        "a module with a list of layers": _Discriminator,
        "weights as tensors": lambda hidden_dim=256: _DiscriminatorByTensors(784, hidden_dim, hidden_dim, 1),
    },
)


def _generator(noise_dim=96, hidden_dim=1024, *, fault=""):
    Z = 96 if fault == "noise fixed" else noise_dim
    H = 1024 if fault == "hidden size fixed" else hidden_dim
    bias = fault != "no biases"
    layers = [
        nn.Linear(Z, H, bias=bias),
        nn.ReLU(),
        nn.Linear(H, H, bias=bias),
        nn.ReLU(),
        nn.Linear(H, 784, bias=bias),
    ]
    layers += [nn.Tanh(), nn.Unflatten(1, (1, 28, 28))]
    if fault == "batch normalisation":
        layers.insert(1, nn.BatchNorm1d(H))
    if fault == "ReLU only once":
        del layers[3]
    if fault == "dropout":
        layers.insert(4, nn.Dropout(0.2))
    if fault == "pixels transposed":
        layers[-1] = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), _Turned())
    if fault == "hard tanh":
        layers[5] = nn.Hardtanh()
    if fault == "a list":
        return layers
    return nn.Sequential(*layers)


class _Turned(nn.Module):
    def forward(self, x):
        return x.transpose(2, 3)


class _Generator(nn.Module):
    def __init__(self, noise_dim=96, hidden_dim=1024):
        super().__init__()
        self.first, self.second = nn.Linear(noise_dim, hidden_dim), nn.Linear(hidden_dim, hidden_dim)
        self.last = nn.Linear(hidden_dim, 28 * 28)

    def forward(self, z):
        h = functional.relu(self.second(functional.relu(self.first(z))))
        return (2 * torch.sigmoid(2 * self.last(h)) - 1).view(len(z), 1, 28, 28)


def _noise(count, noise_dim, hidden_dim, name):
    return Case(
        name,
        init={"noise_dim": noise_dim, "hidden_dim": hidden_dim},
        table=normal(997, std=0.5),
        x=normal(count, noise_dim),
    )


generator = Hidden(
    cases=[
        _noise(1, 4, 6, "one image"),
        _noise(3, 1, 9, "noise of 1"),
        _noise(2, 7, 1, "one hidden unit"),
        _noise(5, 30, 12, "noise of 30"),
        _noise(3, 6, 5, "non-contiguous").strided(),
        _noise(3, 6, 5, "float32").float32(),
    ],
    mutants={
        fault: _spoilt(_generator, fault)
        for fault in (
            "noise fixed",
            "hidden size fixed",
            "batch normalisation",
            "ReLU only once",
            "dropout",
            "pixels transposed",
            "hard tanh",
            "no biases",
            "a list",
        )
    },
    solutions={
        "a module with three layers": _Generator,
        "weights as tensors": lambda noise_dim=96, hidden_dim=1024: _GeneratorByTensors(
            noise_dim, hidden_dim, hidden_dim, 784
        ),
    },
    equivalent={
        "generator: nn.Unflatten(1, (1, 28, 28)) -> nn.Unflatten(1, (-1, 28, 28))": "torch finds out that -1 stands for 1",
    },
)


def _dc_discriminator(channels=16, *, fault=""):
    C = 16 if fault == "channels fixed" else channels
    padding = {"padding_mode": "reflect"} if fault == "reflects at the border" else {}
    layers = [
        nn.Conv2d(1, C, 4, stride=2, padding=1, **padding),
        nn.LeakyReLU(0.2),
        nn.Conv2d(C, 2 * C, 4, stride=2, padding=1),
        nn.BatchNorm2d(2 * C, eps=1e-1 if fault == "large eps" else 1e-5),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(98 * C, 1),
    ]
    if fault == "no slope after normalisation":
        layers[4] = nn.ReLU()
    if fault == "instance normalisation":
        layers[3] = nn.InstanceNorm2d(2 * C, affine=True)
    if fault == "group normalisation":
        layers[3] = nn.GroupNorm(1, 2 * C)
    if fault == "no running statistics":
        layers[3] = nn.BatchNorm2d(2 * C, track_running_stats=False)
    if fault == "other momentum":
        layers[3] = nn.BatchNorm2d(2 * C, momentum=0.9)
    if fault == "no last bias":
        layers[6] = nn.Linear(98 * C, 1, bias=False)
    if fault == "pooling":
        layers[0] = nn.Sequential(nn.Conv2d(1, C, 4, padding="same"), nn.AvgPool2d(2))
    if fault == "squeezed":
        layers.append(nn.Flatten(0))
    if fault == "a list":
        return layers
    net = nn.Sequential(*layers)
    return net.eval() if fault == "in eval mode" else net


class _DcDiscriminator(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.one = nn.Conv2d(1, channels, (4, 4), (2, 2), (1, 1))
        self.two = nn.Conv2d(channels, channels * 2, (4, 4), (2, 2), (1, 1))
        self.norm = nn.BatchNorm2d(channels * 2)
        self.score = nn.Linear(7 * 7 * channels * 2, 1)

    def forward(self, x):
        h = functional.leaky_relu(self.one(x), 0.2)
        h = functional.leaky_relu(self.norm(self.two(h)), 0.2)
        return self.score(h.reshape(len(x), -1))


def _padded_discriminator(channels=16):
    steps = []
    for is_second, one, other in ((False, 1, channels), (True, channels, 2 * channels)):
        steps += [nn.ZeroPad2d(1), nn.Conv2d(one, other, 4, 2)]
        steps += [nn.BatchNorm2d(other)] * is_second + [nn.LeakyReLU(negative_slope=0.2)]
    return nn.Sequential(*steps, nn.Flatten(1), nn.Linear(98 * channels, 1, bias=True))


dc_discriminator = Hidden(
    cases=[
        _images(1, "one image", channels=2),
        _images(5, "one channel", channels=1),
        _images(2, "7 channels", channels=7),
        _images(3, "non-contiguous", channels=3).strided(),
        _images(3, "float32", channels=3).float32(),
        Case("pixels close together", init={"channels": 2}, table=normal(997), x=normal(3, 1, 28, 28, std=0.05)),
    ],
    mutants={
        fault: _spoilt(_dc_discriminator, fault)
        for fault in (
            "channels fixed",
            "reflects at the border",
            "large eps",
            "no slope after normalisation",
            "instance normalisation",
            "group normalisation",
            "no running statistics",
            "other momentum",
            "no last bias",
            "pooling",
            "squeezed",
            "a list",
            "in eval mode",
        )
    },
    solutions={
        "a module with a forward": _DcDiscriminator,
        "padding as a layer": _padded_discriminator,
    },
)


def _dc_generator(noise_dim=96, channels=16, *, fault=""):
    C = 16 if fault == "channels fixed" else channels
    Z = 96 if fault == "noise fixed" else noise_dim
    layers = [
        nn.Linear(Z, 98 * C),
        nn.Unflatten(1, (2 * C, 7, 7)),
        nn.BatchNorm2d(2 * C),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * C, C, 4, stride=2, padding=1),
        nn.BatchNorm2d(C),
        nn.ReLU(),
        nn.ConvTranspose2d(C, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    ]
    if fault == "normalised images":
        layers.insert(8, nn.BatchNorm2d(1))
    if fault == "upsampled":
        layers[4] = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2 * C, C, 4, padding="same"))
    if fault == "output padding":
        layers[4] = nn.ConvTranspose2d(2 * C, C, 4, stride=2, padding=2, output_padding=1)
        layers[7] = nn.ConvTranspose2d(C, 1, 4, stride=2, padding=1)
    if fault == "one ReLU only":
        layers[3] = nn.Identity()
    if fault == "no running statistics":
        layers[2] = nn.BatchNorm2d(2 * C, track_running_stats=False)
    if fault == "other momentum":
        layers[5] = nn.BatchNorm2d(C, momentum=0.9)
    if fault == "no last bias":
        layers[7] = nn.ConvTranspose2d(C, 1, 4, stride=2, padding=1, bias=False)
    if fault == "drops the channel":
        layers.append(nn.Flatten(0, 1))
    if fault == "a list":
        return layers
    net = nn.Sequential(*layers)
    return net.eval() if fault == "in eval mode" else net


class _DcGenerator(nn.Module):
    def __init__(self, noise_dim=96, channels=16):
        super().__init__()
        self.channels = channels
        self.start = nn.Linear(noise_dim, 2 * channels * 49)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.up = nn.ConvTranspose2d(2 * channels, channels, kernel_size=4, stride=2, padding=1)
        self.second = nn.BatchNorm2d(channels)
        self.paint = nn.ConvTranspose2d(channels, 1, kernel_size=4, stride=2, padding=1)

    def forward(self, z):
        h = self.start(z).reshape(z.shape[0], 2 * self.channels, 7, 7)
        h = functional.relu(self.second(self.up(self.norm(h).relu())))
        return torch.tanh(self.paint(h))


class _Cropped(nn.Module):
    def forward(self, x):
        return x[:, :, 1:-1, 1:-1]


def _cropped_generator(noise_dim=96, channels=16):
    """The border cut off afterwards instead of by padding."""
    norm = nn.BatchNorm2d(channels * 2)
    start = nn.Sequential(nn.Linear(noise_dim, channels * 98), nn.Unflatten(-1, (channels * 2, 7, 7)), norm, nn.ReLU())
    middle = nn.Sequential(nn.ConvTranspose2d(channels * 2, channels, 4, 2), _Cropped(), nn.BatchNorm2d(channels))
    end = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(channels, 1, 4, 2), _Cropped(), nn.Tanh())
    return nn.Sequential(start, middle, end)


def _dc_noise(count, noise_dim, channels, name):
    return Case(
        name, init={"noise_dim": noise_dim, "channels": channels}, table=normal(997), x=normal(count, noise_dim)
    )


dc_generator = Hidden(
    cases=[
        _dc_noise(1, 4, 2, "one image"),
        _dc_noise(4, 1, 3, "noise of 1"),
        _dc_noise(3, 6, 1, "one channel"),
        _dc_noise(2, 20, 5, "noise of 20, 5 channels"),
        _dc_noise(3, 6, 2, "non-contiguous").strided(),
        _dc_noise(3, 6, 2, "float32").float32(),
    ],
    mutants={
        fault: _spoilt(_dc_generator, fault)
        for fault in (
            "channels fixed",
            "noise fixed",
            "normalised images",
            "upsampled",
            "output padding",
            "one ReLU only",
            "no running statistics",
            "other momentum",
            "no last bias",
            "drops the channel",
            "a list",
            "in eval mode",
        )
    },
    solutions={
        "a module with a forward": _DcGenerator,
        "cropped instead of padded": _cropped_generator,
    },
)
