import hashlib

import numpy as np
import pytest
import torch

import dlcvkit.data
from dlcvkit.data import MissingDataError, channel_statistics, images, load_images, normalize, shapes
from dlcvkit.data.errors import DataError
from dlcvkit.data.outlines import CORNERS, OUTLINES, polygon
from dlcvkit.data.shapes import CLASSES


def fingerprint(tensor):
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def nearest_mean_accuracy(seed=0):
    x, y = shapes(1500, seed)
    x_test, y_test = shapes(500, seed + 1)
    means = torch.stack([x[y == label].mean(0).flatten() for label in range(10)])
    return (torch.cdist(x_test.flatten(1), means).argmin(1) == y_test).float().mean().item()


def test_shapes_have_the_form_of_cifar10():
    x, y = shapes(37)
    assert x.shape == (37, 3, 32, 32)
    assert y.shape == (37,)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert 0 <= x.min() < x.max() <= 1
    assert torch.equal((x * 255).round() / 255, x)
    assert len(CLASSES) == 10


def test_shapes_are_the_same_for_the_same_seed_and_differ_for_another():
    assert torch.equal(shapes(40, 7)[0], shapes(40, 7)[0])
    assert not torch.equal(shapes(40, 7)[0], shapes(40, 8)[0])


def test_a_longer_dataset_begins_with_the_shorter_one():
    x, y = shapes(600, 2)
    for n in (10, 250, 251):
        assert torch.equal(shapes(n, 2)[0], x[:n])
        assert torch.equal(shapes(n, 2)[1], y[:n])


def test_each_ten_shapes_hold_every_class():
    _, y = shapes(500)
    assert all(sorted(ten) == list(range(10)) for ten in y.reshape(-1, 10).tolist())


def test_no_two_shapes_are_alike():
    x, _ = shapes(500)
    assert len({fingerprint(image) for image in x}) == 500


def test_pixels_say_something_about_the_class_but_far_from_all():
    assert 0.15 < nearest_mean_accuracy() < 0.6


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (-1, 0), (10, -1)])
def test_impossible_wishes_are_refused(n, seed):
    with pytest.raises(ValueError, match="n must be at least 1 and seed at least 0"):
        shapes(n, seed)


@pytest.mark.parametrize("name", OUTLINES)
def test_an_outline_has_an_inside_and_stays_in_its_frame(name):
    axis = np.linspace(-2, 2, 81, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(1, -1, 2)
    distance = OUTLINES[name](points)[0]
    inside = points[0][distance < 0]
    assert 0.5 < len(inside) * 0.05**2 < 3.5
    assert np.abs(inside).max() < 1.2
    # A distance changes by no more than the way gone: that is what makes the soft edge one pixel wide.
    grid = distance.reshape(81, 81)
    assert np.abs(np.diff(grid, axis=0)).max() <= 0.05 * 1.001
    assert np.abs(np.diff(grid, axis=1)).max() <= 0.05 * 1.001


def test_the_distance_to_a_square_is_exact():
    points = np.array([[[0, 0], [1.8, 0], [0.5, 0.0], [1.1, 1.2], [-0.8, 0.3]]], dtype=np.float32)
    np.testing.assert_allclose(polygon(points, CORNERS["square"])[0], [-0.8, 1.0, -0.3, 0.5, 0.0], atol=1e-6)


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCVKIT_DATA", str(tmp_path))
    return tmp_path


def test_images_that_are_not_here_are_replaced_and_the_note_says_so(empty_home):
    data = load_images("cifar10", n_train=60, n_val=20, n_test=30)
    assert data.name == "shapes"
    assert data.note == (
        "Drawn shapes: 60 train, 20 validation, 30 test images, in place of CIFAR-10; "
        "./data_download.sh cifar10 fetches the real images."
    )
    assert data.classes == CLASSES
    assert (data.x_train.shape, data.x_val.shape) == ((60, 3, 32, 32), (20, 3, 32, 32))
    assert torch.bincount(data.y_train).tolist() == [6] * 10
    assert torch.bincount(data.y_val).tolist() == [2] * 10
    assert torch.bincount(data.y_test).tolist() == [3] * 10


def test_digits_stand_in_for_mnist(empty_home):
    data = load_images("mnist")
    assert data.name == "digits"
    assert "in place of MNIST" in data.note
    assert data.x_train.shape[1:] == (1, 8, 8)
    assert len(data.x_train) + len(data.x_val) + len(data.x_test) == 1797


@pytest.mark.parametrize("name", ["shapes", "digits"])
def test_a_stand_in_asked_for_by_name_makes_no_excuses(empty_home, name):
    data = load_images(name, n_train=50, n_val=10, n_test=10)
    assert data.name == name
    assert "in place of" not in data.note


@pytest.mark.parametrize("name", ["shapes", "digits"])
def test_the_three_parts_share_no_image(empty_home, name):
    data = load_images(name, n_train=300, n_val=100, n_test=100)
    parts = [{fingerprint(image) for image in part} for part in (data.x_train, data.x_val, data.x_test)]
    assert [len(part) for part in parts] == [300, 100, 100]
    assert len(set.union(*parts)) == 500


def test_real_images_are_used_when_they_are_here(monkeypatch):
    x, y = shapes(300, 5)
    monkeypatch.setattr(images, "load_cifar10", lambda split, n=None, **_: (x[:n], y[:n]))
    data = load_images("cifar10", n_train=None, n_val=100, n_test=50)
    assert data.name == "cifar10"
    assert data.note == "CIFAR-10: 200 train, 100 validation, 50 test images."
    assert data.classes[:2] == ("airplane", "automobile")
    assert {fingerprint(image) for image in data.x_train}.isdisjoint(fingerprint(image) for image in data.x_val)


def test_damaged_images_are_not_papered_over(monkeypatch):
    def fail(*_, **__):
        raise DataError("damaged")

    monkeypatch.setattr(images, "load_cifar10", fail)
    with pytest.raises(DataError, match="damaged"):
        load_images("cifar10")


def test_wrong_wishes_are_refused(empty_home):
    with pytest.raises(ValueError, match="not 'imagenet'"):
        load_images("imagenet")
    with pytest.raises(ValueError, match="n_val is 0"):
        load_images("shapes", n_train=10, n_val=0)


def test_statistics_come_per_channel():
    x = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] *= 5
    mean, std = channel_statistics(x)
    for channel in range(3):
        assert mean[channel] == pytest.approx(x[:, channel].mean().item())
        assert std[channel] == pytest.approx(x[:, channel].numpy().std())
    before = x.clone()
    normal = normalize(x, mean, std)
    assert torch.equal(x, before)
    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(normal.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64))


def test_statistics_of_something_else_are_refused():
    with pytest.raises(ValueError, match=r"not \(5, 12\)"):
        channel_statistics(torch.zeros(5, 12))
    with pytest.raises(ValueError, match="std must be positive"):
        normalize(torch.zeros(1, 1, 2, 2), torch.zeros(1), torch.zeros(1))


def test_the_public_names_are_these():
    assert sorted(dlcvkit.data.__all__) == [
        "CaptionData",
        "DataError",
        "ImageData",
        "MissingDataError",
        "Scenes",
        "caption_attributes",
        "channel_statistics",
        "count_right_attributes",
        "data_home",
        "load_captions",
        "load_cifar10",
        "load_coco",
        "load_digits",
        "load_images",
        "load_mnist",
        "load_photograph",
        "load_picture",
        "normalize",
        "painting",
        "scenes",
        "shapes",
    ]
    assert all(hasattr(dlcvkit.data, name) for name in dlcvkit.data.__all__)
    assert issubclass(MissingDataError, DataError)
