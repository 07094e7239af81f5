"""Cases: seeded descriptions of the inputs that an exercise is tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

Maker = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class Input:
    """A tensor that is drawn anew from the case's generator every time the case is built.

    Attributes:
        make: Draws the tensor on the CPU from a ``torch.Generator``.
    """

    make: Maker


def normal(*shape: int, mean: float = 0.0, std: float = 1.0) -> Input:
    """Describe a float64 tensor of ``shape`` with normally distributed entries."""
    return Input(lambda g: torch.randn(shape, generator=g, dtype=torch.float64) * std + mean)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Input:
    """Describe a float64 tensor of ``shape`` with entries uniform in ``[low, high)``."""
    return Input(lambda g: torch.rand(shape, generator=g, dtype=torch.float64) * (high - low) + low)


def integers(*shape: int, low: int = 0, high: int) -> Input:
    """Describe an int64 tensor of ``shape`` with entries uniform in ``low .. high - 1``."""
    return Input(lambda g: torch.randint(low, high, shape, generator=g))


def labels(count: int, classes: int) -> Input:
    """Describe int64 labels of shape (count,) in which every class occurs if ``count >= classes``."""
    return Input(lambda g: (torch.arange(count) % classes)[torch.randperm(count, generator=g)])


def booleans(*shape: int) -> Input:
    """Describe a bool tensor of ``shape``, half of it True on average."""
    return Input(lambda g: torch.rand(shape, generator=g) < 0.5)


def given(values: Any, dtype: torch.dtype = torch.float64) -> Input:
    """Describe a tensor with fixed ``values``; integers want ``dtype=torch.int64``."""
    return Input(lambda g: torch.tensor(values, dtype=dtype))


def drawn(make: Maker) -> Input:
    """Describe a tensor by the function that draws it on the CPU from a ``torch.Generator``."""
    return Input(make)


@dataclass(frozen=True)
class Case:
    """One set of inputs: tensors described by ``Input`` and plain values, passed on as they are.

    Attributes:
        name: What is special about the case; shown to students when a hidden case fails.
        inputs: Argument name to ``Input``, plain value (int, float, str, bool, None, list) or dict of those, in calling
            order.
        dtype: Floating dtype that the drawn tensors are converted to.
        is_strided: Whether the drawn tensors are views with gaps in memory.
    """

    name: str
    inputs: dict[str, Any]
    dtype: torch.dtype = torch.float64
    is_strided: bool = False

    def __init__(self, name: str = "", /, **inputs: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "dtype", torch.float64)
        object.__setattr__(self, "is_strided", False)

    def float32(self) -> Case:
        """Return the same case with float32 tensors."""
        return self._with(dtype=torch.float32)

    def strided(self) -> Case:
        """Return the same case with non-contiguous tensors."""
        return self._with(is_strided=True)

    def _with(self, **changes: Any) -> Case:
        copy = Case(self.name, **self.inputs)
        for field, value in {"dtype": self.dtype, "is_strided": self.is_strided, **changes}.items():
            object.__setattr__(copy, field, value)
        return copy

    def build(self, seed: int, device: torch.device | str = "cpu") -> dict[str, Any]:
        """Draw the inputs.

        Args:
            seed: Any integer; the same seed gives bit-equal inputs. The argument's name is mixed in, so that adding
                an argument leaves the others as they were.
            device: Where the tensors are put; they are drawn on the CPU whatever the device.

        Returns:
            Argument name to tensor or plain value, in calling order.
        """
        return {name: self._draw(name, spec, seed, device) for name, spec in self.inputs.items()}

    def _draw(self, name: str, spec: Any, seed: int, device: torch.device | str) -> Any:
        if isinstance(spec, dict):
            return {key: self._draw(f"{name}.{key}", inner, seed, device) for key, inner in spec.items()}
        if not isinstance(spec, Input):
            return spec
        generator = torch.Generator().manual_seed((seed * 1_000_003 + crc32(name.encode())) % 2**63)
        return self._place(spec.make(generator), device)

    def _place(self, tensor: Tensor, device: torch.device | str) -> Tensor:
        if tensor.is_floating_point():
            tensor = tensor.to(self.dtype)
        tensor = tensor.to(device)
        return with_gaps(tensor) if self.is_strided and tensor.dim() else tensor


def with_gaps(tensor: Tensor) -> Tensor:
    """Return an equal tensor of the same shape whose axes lie in reverse order in memory, with gaps in between.

    Neither ``view`` nor ``data_ptr`` arithmetic that takes a tensor for contiguous works on it.
    """
    backwards = tuple(reversed(range(tensor.dim())))
    roomy = tensor.new_zeros((*reversed(tensor.shape), 2))
    roomy[..., 0] = tensor.permute(backwards)
    return roomy[..., 0].permute(backwards)
