"""Any picture of a student's own becomes a tensor, or one line says why not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dlcvkit.data import DataError, load_picture

GRADIENT = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3
ORIENTATION = 274  # the EXIF tag


@pytest.fixture
def save(tmp_path):
    def write(image, name="picture.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def test_colours_come_as_they_are(save):
    picture = load_picture(save(Image.fromarray(GRADIENT)))
    assert picture.shape == (3, 6, 4) and picture.dtype == torch.float32
    assert np.array_equal((picture * 255).round().byte().permute(1, 2, 0).numpy(), GRADIENT)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(save, mode):
    if mode == "I;16":
        image = Image.fromarray(GRADIENT[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(GRADIENT).convert(mode)
    name = "picture.jpg" if mode == "CMYK" else "picture.png"
    picture = load_picture(save(image, name))
    assert picture.shape == (3, 6, 4)
    assert 0 <= picture.min() < picture.max() <= 1


def test_sixteen_bits_of_grey_are_scaled_not_cut(save):
    grey = GRADIENT[..., 0]
    picture = load_picture(save(Image.fromarray(grey.astype(np.uint16) * 257)))
    assert np.abs(picture[0].numpy() * 255 - grey).max() <= 1


def test_what_is_transparent_becomes_white(save):
    clear = Image.new("RGBA", (3, 2), (0, 0, 0, 0))
    assert load_picture(save(clear)).min() == 1


def test_a_camera_held_upright_is_turned_back(save):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # turn by 90 degrees clockwise to see it right
    upright = load_picture(save(Image.fromarray(GRADIENT), "photo.png", exif=exif))
    expected = torch.from_numpy(np.rot90(GRADIENT, -1).copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(upright, expected)


@pytest.mark.parametrize(("size", "shape"), [(None, (3, 6, 4)), (8, (3, 12, 8)), (2, (3, 3, 2)), (1, (3, 2, 1))])
def test_the_shorter_side_has_the_size_asked_for(save, size, shape):
    assert load_picture(save(Image.fromarray(GRADIENT)), size).shape == shape


def test_a_size_of_zero_is_refused(save):
    with pytest.raises(ValueError, match="at least 1"):
        load_picture(save(Image.fromarray(GRADIENT)), 0)


def test_what_is_no_picture_gets_one_line(tmp_path, save):
    whole = save(Image.fromarray(np.tile(GRADIENT, (20, 20, 1)))).read_bytes()
    files = {"text.png": b"hello", "empty.jpg": b"", "cut.png": whole[: len(whole) // 2]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is not a readable picture") as caught:
            load_picture(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="does not exist"):
        load_picture(tmp_path / "gone.png")
    with pytest.raises(DataError, match="is not a readable picture"):
        load_picture(tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(save):
    with pytest.raises(DataError, match="too large"):
        load_picture(save(Image.new("1", (20_000, 10_000))))
