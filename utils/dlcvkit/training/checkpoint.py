"""A training run in a file: safetensors for the tensors, JSON in its metadata for the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_SEPARATOR = "/"
_TENSOR = "tensor"


class CheckpointError(ValueError):
    """A file is no checkpoint, or one of another run; the message says which, in one line."""


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a tree to a file in one step: an interrupted write leaves the former file.

    Args:
        path: The file.
        state: Nested dicts with string keys; leaves are tensors and what JSON can hold.
    """
    tensors: dict[str, Tensor] = {}

    def plain(value: Any, place: str) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(inner, f"{place}{_SEPARATOR}{key}") for key, inner in value.items()}
        if isinstance(value, Tensor):
            tensors[place] = value.detach().cpu().contiguous().clone()
            return {_TENSOR: place}
        return value

    told = plain(state, "")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, {"training": json.dumps(told)})
    os.replace(partial, path)


def load_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """Return the tree of a file.

    Args:
        path: The file.
        device: Where its tensors are put.

    Raises:
        CheckpointError: If it is not one that ``save_checkpoint`` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads(file.metadata()["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (a file is no mapping)

        def whole(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            if set(value) == {_TENSOR}:
                return tensors[value[_TENSOR]].to(device)
            return {key: whole(inner) for key, inner in value.items()}

        found: dict[str, Any] = whole(told)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no checkpoint ({type(error).__name__}); delete it to start anew") from None
    return found
