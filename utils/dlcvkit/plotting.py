"""Figures that several notebooks draw. Every function returns the figure and leaves showing it to Jupyter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"]
"""Colours that stay apart for colour-blind readers (Paul Tol, "Colour schemes", 2021, "bright")."""


def show_images(
    images: Tensor,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 10,
    size: float = 1.1,
    title: str | None = None,
) -> Figure:
    """Draw images in a grid.

    Args:
        images: Shape (N, C, H, W) with C = 1 or 3; values in [0, 1], others are clipped.
        titles: One short text per image, or None.
        columns: Images per row.
        size: Width and height of one image, in inches.
        title: Heading of the whole figure.

    Returns:
        The figure, ``ceil(N / columns)`` rows high.
    """
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    row_height = size + (0.25 if titles else 0.05)
    height = rows * row_height + (0.4 if title else 0.0)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * size, height), squeeze=False, layout="constrained")
    pixels = images.detach().cpu().clamp(0, 1).permute(0, 2, 3, 1).numpy()
    for number, axis in enumerate(axes.flat):
        axis.axis("off")
        if number < len(images):
            axis.imshow(pixels[number], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if titles:
                axis.set_title(titles[number], fontsize=8, pad=2)
    if title:
        figure.suptitle(title, fontsize=11)
    plt.close(figure)  # returned, not shown twice
    return figure


def draw_regions(axis: Axes, predict: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, steps: int = 120) -> None:
    """Colour the plane by the label that a classifier gives to each point, and mark the training points.

    Args:
        axis: Where to draw.
        predict: Maps points (N, 2) to int64 labels (N,).
        x: Training points of shape (N, 2).
        y: Their labels, int64 of shape (N,), below ``len(COLOURS)``.
        steps: Grid points along each axis.
    """
    low, high = x.amin(0) - 0.5, x.amax(0) + 0.5
    across = torch.linspace(float(low[0]), float(high[0]), steps, dtype=x.dtype)
    up = torch.linspace(float(low[1]), float(high[1]), steps, dtype=x.dtype)
    grid = torch.cartesian_prod(across, up)
    labels = predict(grid).reshape(steps, steps).T
    palette = ListedColormap(COLOURS)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    norm = Normalize(-0.5, len(COLOURS) - 0.5)
    axis.imshow(labels.numpy(), extent=extent, origin="lower", cmap=palette, norm=norm, alpha=0.35, aspect="auto")
    axis.scatter(x[:, 0], x[:, 1], c=y, cmap=palette, norm=norm, edgecolors="black", linewidths=0.5, s=28)
    axis.set_xticks([])
    axis.set_yticks([])


def draw_accuracies(axis: Axes, accuracies: Mapping[int, Sequence[float]], *, xlabel: str) -> None:
    """Plot the accuracy of every fold, with the mean and standard deviation per setting.

    Args:
        axis: Where to draw.
        accuracies: Setting to the accuracies of its folds, each in [0, 1].
        xlabel: What the settings are.
    """
    settings = sorted(accuracies)
    for setting in settings:
        axis.scatter([setting] * len(accuracies[setting]), accuracies[setting], color=COLOURS[0], s=14, alpha=0.6)
    means = [float(np.mean(accuracies[setting])) for setting in settings]
    spread = [float(np.std(accuracies[setting])) for setting in settings]
    axis.errorbar(settings, means, yerr=spread, color=COLOURS[1], capsize=3, label="mean ± standard deviation")
    axis.set_xlabel(xlabel)
    axis.set_ylabel("accuracy")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
