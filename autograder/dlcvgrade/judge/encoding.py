"""Values as JSON and safetensors bytes, and back: what crosses the wall of the sandbox instead of pickles.

Runs on both sides. Encoding copes with anything that student code returns; decoding trusts nothing that it is given.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

MAX_NODES = 100_000
MAX_DEPTH = 20
MAX_TEXT = 2_000
MAX_TENSOR_BYTES = 32 * 2**20

_DTYPES = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool}
    | {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
)


class Unencodable(ValueError):
    """The value is too large, too deep or too long to be sent."""


class Undecodable(ValueError):
    """What arrived describes no value."""


def encode(value: Any) -> tuple[Any, bytes]:
    """Return a value as (JSON node, safetensors bytes).

    Args:
        value: Tensors, numbers, strings, None, and lists, tuples and dicts of them. Whatever else stands in there is
            replaced by a note of its type.

    Raises:
        Unencodable: If it is larger than the limits of this module.
    """
    tensors: dict[str, Tensor] = {}
    counter = [0]
    node = _node(value, tensors, counter, 0)
    return node, save(tensors) if tensors else b""


def _node(value: Any, tensors: dict[str, Tensor], counter: list[int], depth: int) -> Any:
    counter[0] += 1
    if counter[0] > MAX_NODES or depth > MAX_DEPTH:
        raise Unencodable("the answer has too many parts")
    if value is None or isinstance(value, bool):
        return {"is": "plain", "value": value}
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise Unencodable("a string in the answer is too long")
        return {"is": "plain", "value": str(value).encode("utf-8", "replace").decode()}
    if isinstance(value, Tensor):
        return _tensor_node(value, tensors)
    if isinstance(value, numbers.Real):
        return _number_node(value)
    if isinstance(value, dict):
        pairs = [
            [_node(key, tensors, counter, depth + 1), _node(item, tensors, counter, depth + 1)]
            for key, item in value.items()
        ]
        return {"is": "dict", "items": pairs}
    if isinstance(value, list | tuple):
        items = [_node(item, tensors, counter, depth + 1) for item in value]
        return {"is": "tuple" if isinstance(value, tuple) else "list", "items": items}
    return {"is": "other", "type": str(type(value).__name__)[:40]}


def _number_node(value: numbers.Real) -> Any:
    if isinstance(value, numbers.Integral):
        number = int(value)
        if number.bit_length() > 4096:
            raise Unencodable("an integer in the answer is too long")
        return {"is": "int", "value": format(number, "x")}
    return {"is": "float", "value": float(value).hex()}


def _tensor_node(value: Tensor, tensors: dict[str, Tensor]) -> Any:
    is_dense = value.layout is torch.strided and not (value.is_meta or value.is_nested or value.is_quantized)
    if not is_dense or value.dtype not in _DTYPES:
        return {"is": "unreadable"}
    if value.numel() * value.element_size() > MAX_TENSOR_BYTES:
        raise Unencodable("a tensor in the answer is too large")
    name = str(len(tensors))
    tensors[name] = value.detach().as_subclass(Tensor).cpu().clone(memory_format=torch.contiguous_format)
    return {"is": "tensor", "name": name}


def decode(node: Any, body: bytes) -> Any:
    """Return the value that ``encode`` was given, tensors on the CPU and contiguous.

    Raises:
        Undecodable: If the node or the bytes are not what ``encode`` makes.
    """
    try:
        tensors = load(body) if body else {}
        return _value(node, tensors, [0], 0)
    except Undecodable:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise Undecodable(f"the answer cannot be read ({type(error).__name__})") from None


def _value(node: Any, tensors: dict[str, Tensor], counter: list[int], depth: int) -> Any:
    counter[0] += 1
    if counter[0] > 2 * MAX_NODES or depth > MAX_DEPTH:
        raise Undecodable("the answer has too many parts")
    kind = node["is"]
    if kind == "plain":
        value = node["value"]
        if value is not None and not isinstance(value, bool | str):
            raise Undecodable("a plain value is none")
        return value
    if kind == "int":
        if len(node["value"]) > 1100:
            raise Undecodable("an integer is too long")
        return int(node["value"], 16)
    if kind == "float":
        return _float(node["value"])
    if kind == "tensor":
        return tensors[str(node["name"])]
    if kind in ("list", "tuple"):
        items = [_value(item, tensors, counter, depth + 1) for item in node["items"]]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        pairs = [[_value(part, tensors, counter, depth + 1) for part in pair] for pair in node["items"]]
        return {_key(key): item for key, item in pairs}
    if kind == "unreadable":
        return torch.empty(0, device="meta")
    if kind == "other":
        name = str(node["type"])[:40]
        return type(name if name.isidentifier() else "object", (), {})()
    raise Undecodable(f"{str(kind)[:20]!r} is no kind of value")


def _float(text: str) -> float:
    if len(text) > 40:
        raise Undecodable("a number is too long")
    value = float.fromhex(text)
    return value if math.isfinite(value) else float(text)


def _key(key: Any) -> Any:
    if isinstance(key, Tensor):
        raise Undecodable("a key of a dict is a tensor")
    hash(key)
    return key
