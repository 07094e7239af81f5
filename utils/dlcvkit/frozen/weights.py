"""Where the weights of frozen networks come from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from dlcvkit.data.home import data_home
from dlcvkit.frozen.network import FrozenNetwork, Head, small_cnn

OWN_WEIGHTS = Path(__file__).with_name("small_cnn.safetensors")
SQUEEZENET_FILE = "weights/squeezenet1_1-b8a52dc0.pth"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class FrozenError(RuntimeError):
    """A network's weights are missing or unreadable; the message says which and what to do, in one line."""


def write_weights(path: Path, features: nn.Sequential, head: Head, about: Mapping[str, Any]) -> None:
    """Write a small CNN in half precision, in one step: an interrupted write leaves the former file.

    Args:
        path: The file, safetensors.
        features: Layers of ``small_cnn()``.
        head: Its head.
        about: What JSON can hold; ``mean``, ``std`` and ``classes`` are read back by ``read_weights``.
    """
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    state |= {f"classifier.{name}": value for name, value in head.state_dict().items()}
    partial = path.with_name(f".{path.name}.partial")
    save_file({name: value.half().contiguous() for name, value in state.items()}, partial, {"about": json.dumps(about)})
    os.replace(partial, path)


def read_weights(path: Path) -> FrozenNetwork:
    """Return the small CNN of a file, in float32, on the CPU.

    Raises:
        FrozenError: If the file is missing or is not one that ``write_weights`` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  (no mapping)
        features, head = small_cnn(classes=len(about["classes"]))
        network = FrozenNetwork("small CNN", features, head, about["classes"], 32, about["mean"], about["std"])
        network.load_state_dict(state)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FrozenError(f"{path} holds no small CNN ({type(error).__name__}); install the kit again") from None
    return network


def load_frozen(
    name: Literal["small", "squeezenet"] | None = None,
    *,
    device: torch.device | str = "cpu",
    dest: str | os.PathLike[str] | None = None,
) -> FrozenNetwork:
    """Return a trained network whose weights stay as they are.

    Args:
        name: ``small``, the kit's own CNN for 32x32 images of ten classes, which is always there; ``squeezenet``,
            SqueezeNet 1.1 for ImageNet's 1,000 classes; None takes SqueezeNet if it is downloaded, else the small one.
        device: Where it is put.
        dest: The data folder; by default ``data_home()``.

    Raises:
        FrozenError: If SqueezeNet is asked for and is not there, or a file is damaged.
        ValueError: If ``name`` is another word.

    Source:
        Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016.
    """
    if name not in (None, "small", "squeezenet"):
        raise ValueError(f"name is 'small', 'squeezenet' or None, not {name!r}")
    path = data_home(dest) / SQUEEZENET_FILE
    if name == "small" or (name is None and not path.is_file()):
        return read_weights(OWN_WEIGHTS).to(device)
    return _squeezenet(path).to(device)


def _squeezenet(path: Path) -> FrozenNetwork:
    # torchvision takes a second to import; who uses the small network need not wait for it.
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    if not path.is_file():
        raise FrozenError(f"{path} is not there; get it with ./data_download.sh squeezenet")
    model = squeezenet1_1()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        # A damaged archive can raise nearly anything; each means the same to the reader.
        kind = type(error).__name__
        raise FrozenError(f"{path} is damaged ({kind}); get it anew with ./data_download.sh squeezenet") from None
    for layer in model.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # activations are kept, so nothing may write over them
    classifier = nn.Sequential(model.classifier, nn.Flatten())
    classes = SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"]
    return FrozenNetwork("SqueezeNet 1.1", model.features, classifier, classes, 224, IMAGENET_MEAN, IMAGENET_STD)
