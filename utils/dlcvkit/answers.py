"""Answers that are trained and handed in as a file: what a file holds, and how it is evaluated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from dlcvkit.data import MissingDataError, load_cifar10, normalize, shapes

ENOUGH = {"cifar10": {"fair": 0.28, "good": 0.33}, "shapes": {"fair": 0.25, "good": 0.31}}
"""Share of right test images that each quantity asks for, by the dataset trained on."""

_PIXELS = 3 * 32 * 32
_CLASSES = 10


def rows_with_bias(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return images as normalised rows with a 1 at the end, which makes the last row of the weights a bias.

    Args:
        images: Shape (N, C, H, W), floating point; not modified.
        mean: Mean per channel over the training images, shape (C,).
        std: Standard deviation per channel over the training images, shape (C,), positive.

    Returns:
        Shape (N, C * H * W + 1).

    Raises:
        ValueError: If an entry of ``std`` is not positive.
    """
    rows = normalize(images, mean, std).flatten(1)
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


def save_linear_answer(path: str | os.PathLike[str], W: Tensor, mean: Tensor, std: Tensor, dataset: str) -> None:
    """Write a linear classifier to a safetensors file, in one step.

    Args:
        path: Where to; an earlier file is replaced.
        W: Weights for ``rows_with_bias``, shape (3073, 10).
        mean: Mean per channel that the rows were made with, shape (3,).
        std: Standard deviation per channel that the rows were made with, shape (3,).
        dataset: ``data.name`` of the images it was trained on.

    Raises:
        ValueError: If no test images are known for ``dataset``.
    """
    if dataset not in ENOUGH:
        raise ValueError(f"dataset is {dataset!r}; expected {' or '.join(map(repr, ENOUGH))}")
    tensors = {"W": W, "mean": mean, "std": std}
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    # A tensor, not the file's metadata: only tensors pass between the student's code and the judge.
    tensors["dataset"] = torch.tensor(list(dataset.encode()), dtype=torch.uint8)
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(save(tensors))
    partial.replace(target)


def evaluate_linear_answer(tensors: Mapping[str, Tensor], seed: int, count: int) -> dict[str, str | None]:
    """Evaluate a file of ``save_linear_answer`` on test images of the dataset that it names.

    Args:
        tensors: What the file holds; anything may be wrong with it.
        seed: Seed of the test images for ``shapes``; of their choice for CIFAR-10.
        count: Number of test images.

    Returns:
        ``file``, ``fair`` and ``good`` to None if earned, else to what is wrong in one line.

    Raises:
        MissingDataError: If the weights were trained on CIFAR-10 and its test images are not on this machine. Then
            nothing is known about the answer, which is neither a pass nor a fail.
    """
    problem = _malformed(tensors)
    if problem is not None:
        return {"file": problem, "fair": f"cannot be evaluated: {problem}", "good": f"cannot be evaluated: {problem}"}
    dataset = _dataset(tensors)
    images, labels = _test_images(dataset, seed, count)
    rows = rows_with_bias(images, tensors["mean"].float(), tensors["std"].float())
    accuracy = ((rows @ tensors["W"].float()).argmax(1) == labels).double().mean().item()
    verdicts: dict[str, str | None] = {"file": None}
    for name, enough in ENOUGH[dataset].items():
        text = f"{accuracy:.1%} of {len(labels):,} test images ({dataset}) are right; expected at least {enough:.0%}"
        verdicts[name] = None if accuracy >= enough else text
    return verdicts


def _dataset(tensors: Mapping[str, Tensor]) -> str:
    code = tensors["dataset"]
    is_text = code.dtype == torch.uint8 and code.dim() == 1 and len(code) <= 32
    return bytes(code.tolist()).decode("ascii", "replace") if is_text else ""


def _malformed(tensors: Mapping[str, Tensor]) -> str | None:
    wanted = {"W": (_PIXELS + 1, _CLASSES), "mean": (3,), "std": (3,)}
    names = {*wanted, "dataset"}
    if set(tensors) != names:
        return f"holds {', '.join(sorted(tensors)) or 'nothing'}; expected {', '.join(sorted(names))}"
    for name, shape in wanted.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            return f"{name} has shape {tuple(tensor.shape)}; expected {shape}"
        if not tensor.is_floating_point() or not bool(tensor.float().isfinite().all()):
            return f"{name} has entries that are not finite real numbers"
    if not bool((tensors["std"].float() > 0).all()):
        return "std has entries that are not positive"
    if _dataset(tensors) not in ENOUGH:
        return f"dataset is not the name of a known dataset; expected {' or '.join(ENOUGH)}"
    return None


@cache
def _test_images(dataset: str, seed: int, count: int) -> tuple[Tensor, Tensor]:
    if dataset == "shapes":
        return shapes(count, seed=seed)
    try:
        return load_cifar10("test", count, seed=seed)
    except MissingDataError as error:
        raise MissingDataError(f"the answer was trained on CIFAR-10, and {error}") from error
