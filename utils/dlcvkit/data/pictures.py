"""Any picture of the reader's own as a tensor."""

import os
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .errors import DataError


def load_picture(path: str | os.PathLike[str], size: int | None = None) -> Tensor:
    """Return a picture file as a tensor, the way a viewer would show it.

    The rotation that a camera noted is applied, grey becomes colour, transparent parts become white.

    Args:
        path: A PNG, JPEG or other file that Pillow reads.
        size: Length of the shorter side, in pixels, at least 1; None keeps the picture as large as it is.

    Returns:
        Shape (3, H, W), float32 in [0, 1], RGB.

    Raises:
        DataError: If the file is missing, is no picture or is damaged; one line says which.
        ValueError: If ``size`` is less than 1.
    """
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    name = os.fspath(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(name) as file:
                picture = ImageOps.exif_transpose(file)
                picture = _on_white(picture)
    except FileNotFoundError:
        raise DataError(f"{name} does not exist") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{name} is too large; make it smaller than 80 megapixels") from None
    except Exception as error:
        # A damaged file can raise nearly anything; each means the same to the reader.
        raise DataError(f"{name} is not a readable picture ({type(error).__name__})") from None
    if size is not None:
        scale = size / min(picture.size)
        wanted = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(wanted, Image.Resampling.LANCZOS)
    pixels = np.array(picture, dtype=np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow cuts 16-bit grey off at 255 instead of scaling it.
        values = np.asarray(picture, dtype=np.float64)
        top = 65535 if values.max() > 255 else 255
        return Image.fromarray(np.uint8(np.clip(values * 255 / top, 0, 255))).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
