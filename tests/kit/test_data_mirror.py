"""The same paths once more on real files, where a mirror lies beside the repository."""

from pathlib import Path

import pytest
import torch

from dlcvkit.data import load_cifar10, load_mnist
from dlcvkit.data.download import main

HERE = Path(__file__).parent
MIRROR = HERE.parents[1].parent / "shared" / "mirror"
MANIFEST = str(HERE / "test_data_mirror.toml")

pytestmark = pytest.mark.skipif(
    not MIRROR.is_dir(), reason="wants official files in ../shared/mirror; the others use small archives"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for mirror in (str(MIRROR), MIRROR.as_uri()):
        assert main(["cifar10", "mnist-test", "--mirror", mirror, "--manifest", MANIFEST, "--dest", str(folder)]) == 0
    return folder


def test_the_smaller_cifar10_is_refused_as_the_official_one(tmp_path, capsys):
    assert main(["cifar10", "--mirror", str(MIRROR), "--dest", str(tmp_path / "data")]) == 2
    assert "expected c58f30108f718f92721af3b95e74349a" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_smaller_cifar10_is_accepted_with_its_own_manifest(home):
    for split, rows in (("train", 10_000), ("test", 2_000)):
        x, y = load_cifar10(split, dest=home)
        assert x.shape == (rows, 3, 32, 32)
        assert torch.bincount(y).tolist() == [rows // 10] * 10
        assert 0.4 < x.mean() < 0.55


def test_the_official_mnist_files_are_read(home):
    x, y = load_mnist("test", dest=home)
    assert x.shape == (10_000, 1, 28, 28)
    assert y[:5].tolist() == [7, 2, 1, 0, 4]


def test_what_was_fetched_is_intact(home, capsys):
    assert main(["cifar10", "mnist-test", "--verify", "--manifest", MANIFEST, "--dest", str(home)]) == 0
    assert capsys.readouterr().out.count("is intact") == 3


@pytest.mark.slow
def test_the_image_files_give_the_whole_of_cifar10(tmp_path):
    wanted = ["cifar10-images", "--mirror", str(MIRROR), "--manifest", MANIFEST, "--dest", str(tmp_path)]
    assert main(wanted) == 0
    x, y = load_cifar10("test", dest=tmp_path)
    assert x.shape == (10_000, 3, 32, 32)
    assert torch.bincount(y).tolist() == [1000] * 10
    x, y = load_cifar10("train", 500, dest=tmp_path)
    assert torch.bincount(y).tolist() == [50] * 10
