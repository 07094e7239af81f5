"""The kit's trained network: what is shipped, how it is read, and the script that made it."""

from __future__ import annotations

import hashlib
import re

import pytest
import torch
from torch import nn

from dlcvkit.data.manifest import load_manifest
from dlcvkit.frozen import FrozenError, load_frozen, read_weights, small_cnn, write_weights
from dlcvkit.frozen.network import fold_batchnorms
from dlcvkit.frozen.train import accuracy, batches, main, train
from dlcvkit.frozen.weights import OWN_WEIGHTS, SQUEEZENET_FILE

CARD = OWN_WEIGHTS.with_name("MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture
def nothing_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCVKIT_DATA", str(tmp_path))
    return tmp_path


def test_the_card_speaks_of_the_file_that_is_shipped():
    content = OWN_WEIGHTS.read_bytes()
    assert len(content) <= 2**20
    assert hashlib.sha256(content).hexdigest() in CARD
    assert f"{sum(p.numel() for p in read_weights(OWN_WEIGHTS).parameters()):,} parameters" in CARD
    (accuracy,) = re.findall(r"\*\*(\d\d\.\d\d) %\*\* of the 10,000 test images", CARD)
    assert float(accuracy) >= 85


def test_it_is_frozen_and_gradients_reach_the_image(nothing_downloaded):
    network = load_frozen()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    scores = network(images)
    assert network.name == "small CNN" and not network.training
    assert scores.shape == (2, 10) == (2, len(network.classes))
    scores[:, 3].sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_activations_are_kept_layer_by_layer_at_any_size():
    network = load_frozen("small")
    images = torch.rand(1, 3, 45, 70)
    maps = network.activations(images)
    assert len(maps) == len(network.features)
    before = [m.clone() for m in maps]
    assert torch.equal(network.classifier(maps[-1]), network(images))
    assert all(torch.equal(a, b) for a, b in zip(before, maps, strict=True)), "a layer wrote over the maps before it"
    assert maps[-1].shape == (1, 128, 11, 17)


def test_its_scores_of_noise_differ_from_those_of_fresh_weights():
    """A file of zeros, or one that is not read, would pass all shapes."""
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = load_frozen("small")(x)
    assert logits.std() > 0.5
    assert not torch.allclose(logits[0], logits[1])


def test_folding_changes_nothing_but_the_layers():
    torch.manual_seed(0)
    features, head = small_cnn(trainable=True)
    for layer in features:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    features.double().eval()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    folded = fold_batchnorms(features).double()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded)
    torch.testing.assert_close(folded(x), features(x))
    assert head.double()(folded(x)).shape == (2, 10)


def test_weights_come_back_from_their_file(tmp_path):
    torch.manual_seed(1)
    features, head = small_cnn(classes=4)
    about = {"classes": ["a", "b", "c", "d"], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3], "seed": 1}
    write_weights(tmp_path / "net.safetensors", features, head, about)
    network = read_weights(tmp_path / "net.safetensors")
    assert network.classes == ("a", "b", "c", "d")
    x = torch.rand(1, 3, 8, 8)
    expected = head(features((x - network.mean) / network.std))
    torch.testing.assert_close(network(x), expected, rtol=0.02, atol=0.002)  # written in half precision
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("content", [b"", b"not a net", b"\x10\0\0\0\0\0\0\0{}"])
def test_a_damaged_file_gets_one_line(tmp_path, content):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(FrozenError, match="holds no small CNN") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_gets_one_line(tmp_path):
    with pytest.raises(FrozenError, match="holds no small CNN"):
        read_weights(tmp_path / "gone.safetensors")


def test_squeezenet_is_asked_for_before_it_is_there(nothing_downloaded):
    with pytest.raises(FrozenError, match=r"data_download\.sh squeezenet"):
        load_frozen("squeezenet")
    with pytest.raises(ValueError, match="'small', 'squeezenet' or None"):
        load_frozen("vgg")  # type: ignore[arg-type]


def test_squeezenet_lies_where_the_download_puts_it():
    (file,) = load_manifest()["squeezenet"].files
    assert f"{file.folder}/{file.name}" == SQUEEZENET_FILE


def test_squeezenet_is_taken_once_it_is_there(nothing_downloaded):
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    model = squeezenet1_1().eval()
    (nothing_downloaded / SQUEEZENET_FILE).parent.mkdir()
    torch.save(model.state_dict(), nothing_downloaded / SQUEEZENET_FILE)
    network = load_frozen()
    x = torch.rand(1, 3, 64, 64)
    assert network.name == "SqueezeNet 1.1" and len(network.classes) == 1000
    torch.testing.assert_close(network(x), model((x - network.mean) / network.std))
    assert load_frozen("small").name == "small CNN"


def test_a_damaged_squeezenet_gets_one_line(nothing_downloaded):
    (nothing_downloaded / SQUEEZENET_FILE).parent.mkdir()
    (nothing_downloaded / SQUEEZENET_FILE).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(FrozenError, match="is damaged"):
        load_frozen()


def test_augmented_batches_hold_every_image_once_and_repeat_with_the_seed():
    x = torch.arange(20.0).reshape(20, 1, 1, 1).expand(20, 3, 9, 9).contiguous()
    y = torch.arange(20)
    first, second = (list(batches(x, y, torch.Generator().manual_seed(5))) for _ in range(2))
    images, labels = (torch.cat(parts) for parts in zip(*first, strict=True))
    assert sorted(labels.tolist()) == list(range(20))
    assert torch.equal(images[:, 0, 4, 4].long(), labels)
    assert torch.equal(images, torch.cat([part for part, _ in second]))


def test_training_learns_to_tell_colours_apart():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    x = torch.rand(300, 3, 16, 16, generator=generator) / 2
    x[torch.arange(300), y] += 0.3
    network = train(x[:240], y[:240], epochs=6, seed=0, lr=0.05, progress=False)
    assert accuracy(network, x[240:], y[240:]) > 0.8  # guessing gives a third


def test_without_cifar10_the_script_says_so(nothing_downloaded, capsys):
    assert main(["--out", str(nothing_downloaded / "net.safetensors")]) == 2
    assert "data_download.sh cifar10" in capsys.readouterr().out
    assert not list(nothing_downloaded.iterdir())
