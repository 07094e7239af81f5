"""MNIST from its four idx files."""

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .errors import DataError, MissingDataError
from .home import data_home
from .subset import choose_rows

STEMS = {"train": "train", "test": "t10k"}
CLASSES = tuple("0123456789")


def load_mnist(
    split: Literal["train", "test"] = "train",
    n: int | None = None,
    *,
    seed: int = 0,
    dest: str | os.PathLike[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return images and labels of MNIST.

    Args:
        split: ``train`` (60,000 images) or ``test`` (10,000).
        n: Size of a class-balanced subset; None for all, in the order of the file.
        seed: Seed of the choice of the subset.
        dest: The data folder; by default ``data_home()``.

    Returns:
        Images of shape (N, 1, 28, 28), float32 in [0, 1], ink is 1; labels of shape (N,), int64 in 0 … 9.

    Raises:
        MissingDataError: If the split's files are not there.
        DataError: If a file is damaged, or the two do not belong together.
        ValueError: If ``split`` is another word, or ``n`` is more than there is.

    Source:
        LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", 1998, section III.
    """
    if split not in STEMS:
        raise ValueError(f"split is 'train' or 'test', not {split!r}")
    folder = data_home(dest) / "mnist"
    images = read_idx(folder / f"{STEMS[split]}-images-idx3-ubyte.gz", dimensions=3)
    labels = read_idx(folder / f"{STEMS[split]}-labels-idx1-ubyte.gz", dimensions=1).astype(np.int64)
    if len(images) != len(labels) or (len(labels) and labels.max() > 9):
        raise DataError(f"MNIST ({split}) in {folder} has {len(images)} images but {len(labels)} labels from 0 to 9")
    rows = choose_rows(labels, n, seed, f"MNIST ({split}) in {folder}")
    return torch.from_numpy(images[rows]).unsqueeze(1).float().div_(255), torch.from_numpy(labels[rows])


def read_idx(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the array of bytes in a gzipped idx file.

    The format: two zero bytes, 8 for "unsigned byte", the number of axes, each axis' length as a big-endian 32-bit
    number, then the entries.

    Args:
        path: The file.
        dimensions: How many axes it must have.

    Raises:
        MissingDataError: If the file is not there.
        DataError: If it is damaged, of another type, or has another number of axes.
    """
    try:
        with gzip.open(path, "rb") as file:
            contents = file.read()
    except FileNotFoundError as error:
        raise MissingDataError(f"{path.name} is not in {path.parent}; get it with ./data_download.sh mnist") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; ./data_download.sh mnist mends it") from error
    start = 4 + 4 * dimensions
    if len(contents) < start or contents[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path} is not an idx file of unsigned bytes with {dimensions} axes")
    shape = struct.unpack(f">{dimensions}I", contents[4:start])
    if len(contents) - start != int(np.prod(shape, dtype=np.uint64)):
        raise DataError(f"{path} says it holds {' x '.join(map(str, shape))} bytes but has {len(contents) - start}")
    return np.frombuffer(contents, dtype=np.uint8, offset=start).reshape(shape)
