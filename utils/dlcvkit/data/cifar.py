"""CIFAR-10 from the official archive's batches, or from a folder of image files."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from .errors import DataError, MissingDataError
from .home import data_home
from .subset import choose_rows

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
BATCH_FOLDERS = ("cifar-10-batches-py", "")
IMAGE_FOLDERS = ("cifar10-images", "")


def load_cifar10(
    split: Literal["train", "test"] = "train",
    n: int | None = None,
    *,
    seed: int = 0,
    dest: str | os.PathLike[str] | None = None,
    form: Literal["batches", "files"] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return images and labels of CIFAR-10.

    Two layouts are read: the official ``cifar-10-batches-py``, and image files ``train/CLASS/*``, ``test/CLASS/*`` in
    ``cifar10-images`` or in the data folder itself. A partial copy gives the rows that it has.

    Args:
        split: ``train`` (officially 50,000 images) or ``test`` (10,000).
        n: Size of a class-balanced subset; None for all, in the order of the files.
        seed: Seed of the choice of the subset.
        dest: The data folder; by default ``data_home()``.
        form: Which layout to read where both are there; the batches if None.

    Returns:
        Images of shape (N, 3, 32, 32), float32 in [0, 1], RGB; labels of shape (N,), int64 in 0 … 9.

    Raises:
        MissingDataError: If neither layout is there.
        DataError: If a file is damaged or does not hold what it should.
        ValueError: If ``split`` or ``form`` is another word, or ``n`` is more than there is.

    Source:
        Krizhevsky, "Learning multiple layers of features from tiny images", 2009, chapter 3.
    """
    if split not in BATCHES:
        raise ValueError(f"split is 'train' or 'test', not {split!r}")
    if form not in (None, "batches", "files"):
        raise ValueError(f"form is 'batches', 'files' or None, not {form!r}")
    home = data_home(dest)
    batches = _find(home, BATCH_FOLDERS, BATCHES[split][0]) if form != "files" else None
    files = _find(home, IMAGE_FOLDERS, f"{split}/{CLASSES[0]}") if form != "batches" else None
    if batches is not None:
        data, labels = _read_batches(batches, split)
        rows = choose_rows(labels, n, seed, f"CIFAR-10 ({split}) in {home}")
        data = data[rows]
    elif files is not None:
        paths, labels = _list_files(files / split)
        rows = choose_rows(labels, n, seed, f"CIFAR-10 ({split}) in {home}")
        data = np.stack([_read_image(paths[row]) for row in rows])
    else:
        raise MissingDataError(f"CIFAR-10 ({split}) is not in {home}; get it with ./data_download.sh cifar10")
    return torch.from_numpy(data).float().div_(255), torch.from_numpy(labels[rows])


def _find(home: Path, folders: tuple[str, ...], sign: str) -> Path | None:
    return next((home / folder for folder in folders if (home / folder / sign).exists()), None)


def _read_batches(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    parts = [_read_batch(folder / name) for name in BATCHES[split]]
    return np.concatenate([data for data, _ in parts]), np.concatenate([labels for _, labels in parts])


def _read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    batch = read_pickle(path)
    data = getattr(batch.get(b"data"), "pixels", None) if isinstance(batch, dict) else None
    labels = batch.get(b"labels") if isinstance(batch, dict) else None
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        raise DataError(f"{path} has no data of shape (N, 3072) and dtype uint8")
    if (
        not isinstance(labels, list)
        or len(labels) != len(data)
        or not all(type(y) is int and 0 <= y < 10 for y in labels)
    ):
        raise DataError(f"{path} does not have {len(data)} labels from 0 to 9")
    return data.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def _list_files(folder: Path) -> tuple[list[Path], npt.NDArray[np.int64]]:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(CLASSES):
        found = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        if not found:
            raise DataError(f"{folder / name} holds no images")
        paths += found
        labels += [label] * len(found)
    return paths, np.array(labels, dtype=np.int64)


def _read_image(path: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image") from error
    if pixels.shape != (32, 32, 3):
        raise DataError(f"{path} is {pixels.shape[1]}x{pixels.shape[0]} pixels, expected 32x32")
    return pixels.transpose(2, 0, 1)


def read_pickle(path: Path) -> Any:
    """Return the object in a pickle that may hold dicts, lists, numbers, bytes and arrays of bytes, and nothing else.

    A pickle is a program; the ordinary loader runs whatever it says. This one knows five names, each bound to a
    harmless stand-in. An array comes as an object with the attribute ``pixels``, dtype uint8.

    Raises:
        DataError: If the file is missing, is damaged or names anything else.
    """
    try:
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; ./data_download.sh cifar10 mends it") from error
    except Exception as error:
        # A damaged pickle can raise nearly anything; each means the same to the reader.
        reason = str(error) if isinstance(error, pickle.UnpicklingError) else type(error).__name__
        raise DataError(f"{path} is not a plain batch of images: {reason}") from error


class _Bytes:
    """Stands for an array of bytes while a pickle is read, so that no state from the file reaches numpy's own code."""

    pixels: npt.NDArray[np.uint8]

    def __setstate__(self, state: tuple[int, tuple[int, ...], "_ByteType", bool, bytes]) -> None:
        _, shape, kind, column_major, contents = state
        if not isinstance(kind, _ByteType) or not isinstance(contents, bytes):
            raise pickle.UnpicklingError("it holds an array of an unknown kind")
        self.pixels = np.frombuffer(contents, dtype=np.uint8).reshape(shape, order="F" if column_major else "C")


class _ByteType:
    """Stands for ``numpy.dtype("uint8")``; byte order and the like mean nothing for single bytes."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, expected uint8")

    def __setstate__(self, state: object) -> None:
        pass


def _new_array(kind: type, shape: object, code: object) -> _Bytes:
    if kind is not _Bytes:
        raise pickle.UnpicklingError("it holds an array of an unknown kind")
    return _Bytes()


def _latin_bytes(text: str, encoding: str) -> bytes:
    return text.encode("latin-1")


class _PlainUnpickler(pickle.Unpickler):
    allowed: dict[tuple[str, str], Callable[..., Any]] = {  # noqa: RUF012 (a constant, never changed)
        ("numpy", "ndarray"): _Bytes,
        ("numpy", "dtype"): _ByteType,
        ("numpy.core.multiarray", "_reconstruct"): _new_array,
        ("numpy._core.multiarray", "_reconstruct"): _new_array,
        ("_codecs", "encode"): _latin_bytes,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a batch has no use for")
        return self.allowed[module, name]
