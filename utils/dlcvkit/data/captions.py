"""Pictures with captions: COCO's photographs if they are here, drawn scenes if not."""

import os
from dataclasses import dataclass

from torch import Tensor

from .coco import Captions, load_coco
from .errors import MissingDataError
from .scenes import scenes


@dataclass(frozen=True, eq=False)
class CaptionData:
    """Pictures with captions, in two parts that share no picture.

    Attributes:
        x_train: Pictures, shape (N_train, 3, S, S), float32 in [0, 1].
        captions_train: The right captions of each of them, one or more.
        x_val: Pictures that are not trained on, shape (N_val, 3, S, S).
        captions_val: Their captions.
        name: ``coco`` or ``scenes``: what this really is.
        note: One line that says which data this is, and how to get photographs if it is drawn.
    """

    x_train: Tensor
    captions_train: Captions
    x_val: Tensor
    captions_val: Captions
    name: str
    note: str


def load_captions(
    n_train: int = 4000,
    n_val: int = 500,
    *,
    size: int = 48,
    photograph_size: int = 64,
    seed: int = 0,
    dest: str | os.PathLike[str] | None = None,
) -> CaptionData:
    """Return pictures with captions, with drawn scenes in place of photographs that have not been downloaded.

    Both parts of COCO come from its 5,000 validation photographs, the split that ``./data_download.sh`` fetches.

    Args:
        n_train: Pictures to train on; at least 1.
        n_val: Pictures to look at what was learned; at least 1.
        size: Height and width of drawn scenes, in pixels.
        photograph_size: Height and width of photographs, in pixels.
        seed: Seed of the choice or of the drawing; at least 0.
        dest: The data folder; by default ``data_home()``.

    Returns:
        The two parts; ``name`` and ``note`` say whether they are real.

    Raises:
        DataError: If a downloaded file is damaged. Damage is reported, never papered over with the stand-in.
        ValueError: If a number is less than 1, ``seed`` is negative, or more photographs are wanted than there are.
    """
    if n_train < 1 or n_val < 1:
        raise ValueError(f"n_train and n_val must be at least 1; they are {n_train} and {n_val}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0; it is {seed}")
    counts = f"{n_train:,} train, {n_val:,} validation pictures"
    try:
        found = load_coco("val", n_train + n_val, size=photograph_size, seed=seed, dest=dest)
    except MissingDataError:
        found = None
    if found is None:
        # Seeds that are told apart by being even or odd, so that no two calls meet.
        train, val = scenes(n_train, 2 * seed, size=size), scenes(n_val, 2 * seed + 1, size=size)
        how = "./data_download.sh coco-annotations coco-val fetches the photographs"
        note = f"Drawn scenes: {counts}, in place of COCO; {how}."
        return CaptionData(train.images, train.captions, val.images, val.captions, "scenes", note)
    x, captions = found
    note = f"COCO 2017 captions: {counts}."
    parts = (x[:n_train], captions[:n_train], x[n_train:], captions[n_train:])
    return CaptionData(*parts, "coco", note)
