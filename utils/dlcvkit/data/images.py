"""Images split for training, choosing and testing: the real ones if they are here, a stand-in if not."""

import os
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from . import cifar, mnist
from .bundled import load_digits
from .cifar import load_cifar10
from .errors import MissingDataError
from .mnist import load_mnist
from .shapes import CLASSES as SHAPE_CLASSES
from .shapes import shapes
from .subset import balanced_order


@dataclass(frozen=True, eq=False)
class ImageData:
    """A dataset in three parts that share no image.

    Attributes:
        x_train: Images, shape (N_train, C, H, W), float32 in [0, 1].
        y_train: Labels, shape (N_train,), int64 in 0 … K-1.
        x_val: Images to choose settings by, shape (N_val, C, H, W).
        y_val: Their labels, shape (N_val,).
        x_test: Images to use once, at the end, shape (N_test, C, H, W).
        y_test: Their labels, shape (N_test,).
        classes: The K names.
        name: ``cifar10``, ``mnist``, ``shapes`` or ``digits``: what this really is.
        note: One line that says which data this is, and how to get the real one if it is a stand-in.
    """

    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    name: str
    note: str


def load_images(
    name: Literal["cifar10", "mnist", "shapes", "digits"] = "cifar10",
    *,
    n_train: int | None = 5000,
    n_val: int = 1000,
    n_test: int | None = 1000,
    seed: int = 0,
    dest: str | os.PathLike[str] | None = None,
) -> ImageData:
    """Return a dataset split in three, with a stand-in for what has not been downloaded.

    ``shapes`` stands in for CIFAR-10 and the digits for MNIST. Validation images are taken from the training split.
    Every part is class-balanced as far as its size allows.

    Args:
        name: The dataset wanted.
        n_train: Training images; None for all that validation leaves.
        n_val: Validation images; at least 1.
        n_test: Test images; None for all.
        seed: Seed of the choice, and of the drawing for ``shapes``.
        dest: The data folder; by default ``data_home()``.

    Returns:
        The three parts; ``name`` and ``note`` say whether they are real.

    Raises:
        DataError: If a downloaded file is damaged. Damage is reported, never papered over with the stand-in.
        ValueError: If the name is unknown, or more images are wanted than there are.
    """
    if name not in ("cifar10", "mnist", "shapes", "digits"):
        raise ValueError(f"images are 'cifar10', 'mnist', 'shapes' or 'digits', not {name!r}")
    wanted = (n_train, n_val, n_test, seed)
    if name == "shapes":
        return _drawn(*wanted, reason="")
    if name == "digits":
        return _digits(*wanted, reason="")
    load = load_cifar10 if name == "cifar10" else load_mnist
    title = "CIFAR-10" if name == "cifar10" else "MNIST"
    try:
        test = load("test", n_test, seed=seed, dest=dest)
        train = load("train", dest=dest) if n_train is None else load("train", n_train + n_val, seed=seed, dest=dest)
    except MissingDataError:
        stand_in = _drawn if name == "cifar10" else _digits
        return stand_in(*wanted, reason=f", in place of {title}; ./data_download.sh {name} fetches the real images")
    classes = cifar.CLASSES if name == "cifar10" else mnist.CLASSES
    return _split(train, test, n_val, seed, classes, name, title)


def channel_statistics(x_train: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel over training images.

    They come from the training images alone: validation and test images stand for what has not been seen.

    Args:
        x_train: Shape (N, C, H, W), floating point.

    Returns:
        Mean and standard deviation (divided by the count, not the count less one), each of shape (C,).

    Raises:
        ValueError: If the images do not have four axes.
    """
    if x_train.dim() != 4:
        raise ValueError(f"images have shape (N, C, H, W), not {tuple(x_train.shape)}")
    std, mean = torch.std_mean(x_train, dim=(0, 2, 3), correction=0)
    return mean, std


def normalize(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return images with each channel shifted by ``mean`` and divided by ``std``.

    Args:
        x: Shape (N, C, H, W), floating point; not modified.
        mean: Shape (C,).
        std: Shape (C,), positive.

    Returns:
        Shape (N, C, H, W).

    Raises:
        ValueError: If an entry of ``std`` is not positive.
    """
    if not bool((std > 0).all()):
        raise ValueError(f"std must be positive, not {std.tolist()}")
    return (x - mean[:, None, None]) / std[:, None, None]


def _split(
    pool: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    n_val: int,
    seed: int,
    classes: tuple[str, ...],
    name: str,
    title: str,
    reason: str = "",
) -> ImageData:
    """Take validation out of ``pool``; both parts are balanced because every stretch of the order is."""
    x, y = pool
    if not 1 <= n_val < len(x):
        raise ValueError(f"{title} has {len(x)} images for training and validation; n_val is {n_val}")
    order = torch.from_numpy(balanced_order(y.numpy(), seed))
    val, train = order[:n_val], order[n_val:]
    note = f"{title}: {len(train):,} train, {n_val:,} validation, {len(test[0]):,} test images{reason}."
    return ImageData(x[train], y[train], x[val], y[val], *test, classes, name, note)


def _drawn(n_train: int | None, n_val: int, n_test: int | None, seed: int, *, reason: str) -> ImageData:
    pool = shapes((5000 if n_train is None else n_train) + n_val, seed=2 * seed)
    # An odd seed is never one that training images are drawn with.
    test = shapes(1000 if n_test is None else n_test, seed=2 * seed + 1)
    return _split(pool, test, n_val, seed, SHAPE_CLASSES, "shapes", "Drawn shapes", reason)


def _digits(n_train: int | None, n_val: int, n_test: int | None, seed: int, *, reason: str) -> ImageData:
    x, y = load_digits()
    # There are 1,797 in all: the wishes for larger datasets are cut to what there is.
    order = torch.from_numpy(balanced_order(y.numpy(), seed))
    tests = min(297 if n_test is None else n_test, 297)
    validation = min(n_val, 300)
    trains = min(1200 if n_train is None else n_train, 1200)
    test, pool = order[:tests], order[tests : tests + validation + trains]
    return _split(
        (x[pool], y[pool]), (x[test], y[test]), validation, seed, mnist.CLASSES, "digits", "8x8 digits", reason
    )
