"""Small real images that come with scikit-learn, so they are there without a network."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .subset import choose_rows


def load_digits(n: int | None = None, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return scikit-learn's 1,797 handwritten digits.

    Args:
        n: Size of a class-balanced subset; None for all, in their own order.
        seed: Seed of the choice of the subset.

    Returns:
        Images of shape (N, 1, 8, 8), float32 in [0, 1], ink is 1; labels of shape (N,), int64 in 0 … 9.

    Raises:
        ValueError: If ``n`` is not between 1 and 1797.

    Source:
        Alpaydin & Kaynak, "Optical recognition of handwritten digits", UCI machine learning repository, 1998.
    """
    # scikit-learn takes a second to import; a notebook without digits need not wait for it.
    from sklearn import datasets

    bunch = datasets.load_digits()
    labels = np.asarray(bunch.target, dtype=np.int64)
    rows = choose_rows(labels, n, seed, "the digits dataset")
    images = torch.from_numpy(np.asarray(bunch.images, dtype=np.float32)[rows])
    return images.unsqueeze(1) / 16, torch.from_numpy(labels[rows])


def load_photograph(name: Literal["flower", "china", "portrait"]) -> Tensor:
    """Return a colour photograph that comes with scikit-learn or matplotlib.

    Args:
        name: ``flower`` (a dahlia), ``china`` (a temple) or ``portrait`` (Rear Admiral Grace Hopper).

    Returns:
        Shape (3, 427, 640), the portrait (3, 600, 512); float32 in [0, 1], RGB.

    Raises:
        ValueError: If there is no photograph of that name.
    """
    if name not in ("flower", "china", "portrait"):
        raise ValueError(f"there are the photographs 'flower', 'china' and 'portrait', not {name!r}")
    if name == "portrait":
        import matplotlib

        path = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
        pixels = np.array(Image.open(path).convert("RGB"))
    else:
        from sklearn import datasets

        pixels = np.array(datasets.load_sample_image(f"{name}.jpg"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255
