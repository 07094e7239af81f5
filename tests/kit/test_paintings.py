import pytest
import torch

from dlcvkit.data import painting
from dlcvkit.data.paintings import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_painting_is_a_square_colour_picture(kind):
    picture = painting(kind, 48)
    assert picture.shape == (3, 48, 48)
    assert picture.dtype == torch.float32
    assert picture.is_contiguous()
    assert 0 <= picture.min() < picture.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_painting_is_the_same_for_the_same_seed_and_another_for_another(kind):
    assert torch.equal(painting(kind, 40, 3), painting(kind, 40, 3))
    assert not torch.equal(painting(kind, 40, 3), painting(kind, 40, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_painting_shows_the_same(kind):
    small, large = painting(kind, 32), painting(kind, 64)
    halved = torch.nn.functional.avg_pool2d(large, 2)
    assert (halved - small).abs().mean() < 0.5 * (small - small.mean((1, 2), keepdim=True)).abs().mean()


def test_paintings_differ_in_colour():
    means = torch.stack([painting(kind, 48).mean((1, 2)) for kind in KINDS])
    assert torch.pdist(means).min() > 0.1


def test_a_kind_that_is_not_there_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'strokes', 'mosaic', 'waves', not 'fresco'"):
        painting("fresco")


def test_a_painting_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=r"size is at least 32, not 31"):
        painting("strokes", 31)
