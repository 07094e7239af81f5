"""COCO 2017: photographs with captions, from the official annotation file and the folder of images."""

import json
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from .errors import DataError, MissingDataError
from .home import data_home

FOLDER = "coco"
SPLITS = ("train", "val")
_PHOTOGRAPHS = {"val": "get them with ./data_download.sh coco-val", "train": "see https://cocodataset.org"}
Captions = tuple[tuple[str, ...], ...]


def load_coco(
    split: Literal["train", "val"] = "val",
    n: int | None = None,
    *,
    size: int = 64,
    seed: int = 0,
    dest: str | os.PathLike[str] | None = None,
) -> tuple[Tensor, Captions]:
    """Return photographs of COCO 2017 and their captions.

    Read are ``coco/annotations/captions_val2017.json`` and ``coco/val2017/*.jpg`` below the data folder (or the same
    with ``train2017``), as the official archives unpack. Of every photograph the middle is taken, as large a square as
    there is, and brought to ``size``.

    Args:
        split: ``val`` (5,000 photographs, which ``./data_download.sh`` fetches) or ``train`` (118,287).
        n: How many, chosen at random; None for all that have a caption, in the order of the file. A smaller choice is
            part of a larger one of the same seed.
        size: Height and width of the result, in pixels; at least 1.
        seed: Seed of the choice; at least 0.
        dest: The data folder; by default ``data_home()``.

    Returns:
        Images of shape (N, 3, size, size), float32 in [0, 1], RGB; the captions of each image, mostly five, without
        white space at their ends and with single blanks inside.

    Raises:
        MissingDataError: If the annotations or the folder of images are not there.
        DataError: If a file is damaged or does not hold what it should.
        ValueError: If ``split`` is another word, ``size`` is less than 1, or ``n`` is not between 1 and what there is.

    Source:
        Chen et al., "Microsoft COCO captions: data collection and evaluation server", 2015, sections 2 and 3.
    """
    if split not in SPLITS:
        raise ValueError(f"split is 'train' or 'val', not {split!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    folder = data_home(dest) / FOLDER
    path = folder / "annotations" / f"captions_{split}2017.json"
    if not path.is_file():
        raise MissingDataError(f"{path.name} is not in {path.parent}; get it with ./data_download.sh coco-annotations")
    photographs = folder / f"{split}2017"
    if not photographs.is_dir():
        raise MissingDataError(f"COCO's photographs are not in {photographs}; {_PHOTOGRAPHS[split]}")
    entries = read_captions(path)
    if n is not None:
        if not 1 <= n <= len(entries):
            raise ValueError(f"COCO 2017 ({split}) in {folder} has {len(entries)} images; n is {n}")
        order = np.random.default_rng(seed).permutation(len(entries))[:n]
        entries = [entries[row] for row in order]
    pixels = np.stack([_read_photograph(photographs / name, size, _PHOTOGRAPHS[split]) for name, _ in entries])
    return torch.from_numpy(pixels).float().div_(255), tuple(captions for _, captions in entries)


def read_captions(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return file name and captions of every image of a captions file that has any, in the order of its images.

    Args:
        path: JSON in COCO's format: ``images`` with ``id`` and ``file_name``, ``annotations`` with ``image_id`` and
            ``caption``.

    Raises:
        DataError: If the file cannot be read, is no JSON, or does not hold what it should.
    """
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        mend = "get it anew with ./data_download.sh coco-annotations"
        raise DataError(f"{path} is damaged, it is not JSON; {mend}") from error
    names: dict[int, str] = {}
    for entry in _list_in(contents, "images", path):
        number, name = _field(entry, "id", int, "images", path), _field(entry, "file_name", str, "images", path)
        if number in names:
            raise DataError(f"{path} has two images with the id {number}")
        # What cannot be printed would spoil the message that names it.
        if not name.isprintable() or Path(name).name != name or name in ("", ".", ".."):
            raise DataError(f"{path} names {name!r}, expected a file in the folder of images")
        names[number] = name
    captions: dict[int, list[str]] = {number: [] for number in names}
    for entry in _list_in(contents, "annotations", path):
        number = _field(entry, "image_id", int, "annotations", path)
        text = " ".join(_field(entry, "caption", str, "annotations", path).split())
        if number not in captions:
            raise DataError(f"{path} has a caption for image {number}, which is not among its images")
        if text:
            captions[number].append(text)
    found = [(names[number], tuple(texts)) for number, texts in captions.items() if texts]
    if not found:
        raise DataError(f"{path} has no captions")
    return found


def _list_in(contents: Any, key: str, path: Path) -> list[Any]:
    found = contents.get(key) if isinstance(contents, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{path} has no list {key!r}; is it the file of captions?")
    return found


def _field(entry: Any, key: str, kind: type, where: str, path: Path) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if type(value) is not kind:
        expected = "a whole number" if kind is int else "text"
        raise DataError(
            f"{path} has an entry in {where!r} whose {key!r} is not {expected}; is it the file of captions?"
        )
    return value


def _read_photograph(path: Path, size: int, how: str) -> npt.NDArray[np.uint8]:
    """Return the middle of a photograph, shape (3, size, size); ``how`` says where to get it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                # JPEG decodes to a half, a quarter or an eighth several times faster.
                file.draft("RGB", (2 * size, 2 * size))
                picture = file.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path} is not there; {how}") from None
    except Exception as error:
        # A damaged file can raise nearly anything; each means the same to the reader.
        raise DataError(f"{path} is not a readable image ({type(error).__name__}); {how}") from None
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX, box=square)).transpose(2, 0, 1)
