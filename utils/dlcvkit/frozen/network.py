"""The shape of a frozen network, and the kit's own small CNN while it trains and after."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS: tuple[tuple[int, ...], ...] = ((32, 32), (64, 64), (128, 128, 128))
"""Filters of the convolutions, block by block; a 2x2 max-pool ends every block but the last."""


class FrozenNetwork(nn.Module):
    """A trained classifier: images in, scores out, and whatever its layers say on the way.

    Every parameter is frozen, and the network is in evaluation mode; gradients flow to the images.

    Args:
        name: What it is called.
        features: Layers that turn an image into maps; images of any size large enough for its pools are taken.
        classifier: Turns maps of shape (N, C, H, W) into scores (N, K).
        classes: The K names.
        image_size: Height and width of the images it was trained on, in pixels.
        mean: Mean per colour channel that is taken off the pixels, in [0, 1].
        std: Standard deviation per colour channel that they are divided by.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        features: nn.Sequential,
        classifier: nn.Module,
        classes: Sequence[str],
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.name = name
        self.features = features
        self.classifier = classifier
        self.classes = tuple(classes)
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return scores, shape (N, K), of images (N, 3, H, W) in [0, 1]."""
        scores: Tensor = self.classifier(self.activations(images)[-1])
        return scores

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the maps after every layer of ``features``, first to last, each of shape (N, C_i, H_i, W_i).

        Args:
            images: Shape (N, 3, H, W), in [0, 1]; not modified.
        """
        maps = [(images - self.mean) / self.std]
        for layer in self.features:
            maps.append(layer(maps[-1]))
        return maps[1:]


class Head(nn.Module):
    """Scores of maps: their mean over all positions, times a matrix.

    Args:
        width: Channels of the maps.
        classes: Number of scores.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)

    def forward(self, maps: Tensor) -> Tensor:
        """Return scores, shape (N, K), of maps (N, C, H, W)."""
        scores: Tensor = self.linear(maps.mean(dim=(2, 3)))
        return scores


def small_cnn(*, trainable: bool = False, classes: int = 10) -> tuple[nn.Sequential, Head]:
    """Return layers and head of the kit's small CNN, with fresh weights.

    Seven 3x3 convolutions in three blocks of 32, 64 and 128 filters, each followed by a ReLU.

    Args:
        trainable: Whether batch norm stands between convolution and ReLU; without it, the convolution has the bias.
        classes: Number of scores.
    """
    layers: list[nn.Module] = []
    before = 3
    for block, widths in enumerate(WIDTHS):
        if block:
            layers.append(nn.MaxPool2d(2))
        for width in widths:
            layers.append(nn.Conv2d(before, width, 3, padding=1, bias=not trainable))
            if trainable:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            before = width
    return nn.Sequential(*layers), Head(before, classes)


def fold_batchnorms(trained: nn.Sequential) -> nn.Sequential:
    """Return the same layers with every batch norm multiplied into the convolution before it.

    In evaluation a batch norm is ``gamma * (x - mean) / sqrt(var + eps) + beta`` with constants, so the convolution can
    do it: filters times ``gamma / sqrt(var + eps)``, and a bias.

    Args:
        trained: Layers of ``small_cnn(trainable=True)``; not modified.
    """
    layers: list[nn.Module] = []
    for layer in trained:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = layers[-1]
            assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
            assert layer.running_mean is not None and layer.running_var is not None
            scale = layer.weight.detach() / (layer.running_var + layer.eps).sqrt()
            convolution.weight.data = convolution.weight.data * scale.reshape(-1, 1, 1, 1)
            convolution.bias.data = layer.bias.detach() - layer.running_mean * scale
        elif isinstance(layer, nn.Conv2d):
            copy = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
            copy.weight.data = layer.weight.detach().clone()
            layers.append(copy)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)
