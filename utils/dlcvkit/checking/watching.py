"""Watch what student code asks torch to do: forbidden operations, and tensors that would break on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TORCH_LAYERS = frozenset({"torch.nn"})
"""Everything in torch.nn and torch.nn.functional, and the aten operations that they end in."""

AUTOGRAD = frozenset({"torch.autograd"})
"""Automatic differentiation in any form."""

TORCH_OPTIM = frozenset({"torch.optim"})
"""torch's optimisers, and ``torch.nn.utils``, which clips gradients."""

READY_MADE_DISTANCES = frozenset({"cdist", "_cdist_forward", "_euclidean_dist", "pdist", "dist", "pairwise_distance"})
"""Ready-made distances."""

_AUTOGRAD_CALLS = frozenset(
    {"backward", "grad", "requires_grad_", "set_grad_enabled", "vjp", "jvp", "jacobian", "vmap"}
)

_LAYER_OPS = frozenset(
    """convolution _convolution convolution_overrideable conv1d conv2d conv3d conv_transpose2d mkldnn_convolution
    batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
    _batch_norm_with_update layer_norm native_layer_norm group_norm native_group_norm instance_norm dropout
    native_dropout alpha_dropout softmax _softmax log_softmax _log_softmax embedding _euclidean_dist cdist
    _cdist_forward pairwise_distance cosine_similarity max_pool2d max_pool2d_with_indices bilinear lstm gru
    rnn_tanh _thnn_fused_lstm_cell kl_div cosine_embedding_loss hinge_embedding_loss margin_ranking_loss
    triplet_margin_loss binary_cross_entropy_with_logits _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_efficient_attention pixel_shuffle native_multi_head_attention _transform_bias_rescale_qkv
    relu prelu selu celu rrelu threshold grid_sampler""".split()
)
# Not layers, though torch keeps them in the same place.
_NOT_LAYERS = frozenset({"pad", "one_hot", "linear", "flatten_dense_tensors", "unflatten_dense_tensors"})


@cache
def _forbidden_ops(groups: frozenset[str]) -> frozenset[str]:
    names = set(groups)
    if groups & TORCH_LAYERS:
        names |= _LAYER_OPS | {name for name in dir(torch._C._nn) if not name.startswith("__")}
        names -= _NOT_LAYERS
    return frozenset(names)


def _bare_name(func: Any) -> str:
    schema = getattr(func, "_schema", None)
    if schema is not None:
        return str(schema.name).partition("::")[2]
    qualified = getattr(func, "_qualified_op_name", None)
    if qualified is not None:
        return str(qualified).partition("::")[2]
    return str(getattr(func, "__name__", ""))


class ForbiddenOps:
    """Context that notes the first forbidden operation, at the level of torch functions and of aten dispatch.

    What is looked at is what torch is asked to do, not what the source says, so ``getattr(F, "con" + "v2d")`` and
    ``torch.ops.aten.convolution`` are seen as well as ``F.conv2d``.

    Args:
        forbidden: Names of operations (as torch spells them) and the groups ``TORCH_LAYERS`` and ``AUTOGRAD``.

    Attributes:
        used: Name of the first forbidden operation, or None.
    """

    def __init__(self, forbidden: frozenset[str]) -> None:
        self.used: str | None = None
        self._forbidden = forbidden
        self._ops = _forbidden_ops(forbidden)
        self._function_mode = _FunctionWatcher(self._note_function)
        self._dispatch_mode = _DispatchWatcher(self._note_op)

    def __enter__(self) -> ForbiddenOps:
        if self._forbidden:
            self._function_mode.__enter__()  # type: ignore[no-untyped-call]
            self._dispatch_mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forbidden:
            self._dispatch_mode.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
            self._function_mode.__exit__(kind, error, trace)  # type: ignore[no-untyped-call]

    def _note_function(self, func: Any, kwargs: Mapping[str, Any]) -> None:
        if self.used is not None:
            return
        name = _bare_name(func)
        module = getattr(func, "__module__", None) or ""
        if self._forbidden & TORCH_LAYERS and module.startswith("torch.nn") and name not in _NOT_LAYERS:
            self.used = f"{module}.{name}"
        elif self._forbidden & AUTOGRAD and (_is_autograd(func, name, module) or kwargs.get("requires_grad")):
            self.used = f"autograd ({name})"
        elif self._is_forbidden(name):
            self.used = f"torch.{name}"
        else:
            self._function_mode.harmless.add(func)

    def _is_forbidden(self, name: str) -> bool:
        """Return whether an operation is forbidden, as itself, in place (``relu_``) or as the gradient of one."""
        plain = name.removesuffix("_backward").removesuffix("_")
        return name in self._ops or plain in self._ops

    def _note_op(self, func: Any) -> None:
        if self.used is not None:
            return
        name = _bare_name(func)
        if self._is_forbidden(name):
            self.used = f"torch.{name.lstrip('_')}"
        elif self._forbidden & TORCH_OPTIM:
            self.used = _optimiser_at_work(name)
        else:
            self._dispatch_mode.harmless.add(func)


def _optimiser_at_work(name: str) -> str | None:
    """Return which part of torch an operation is asked for by: an optimiser's own operations are plain arithmetic."""
    if name.startswith("_fused_"):
        return f"torch.{name}"
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(("torch.optim", "torch.nn.utils")):
            return module
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _is_autograd(func: Any, name: str, module: str) -> bool:
    if name == "__set__":  # x.requires_grad = True
        return getattr(func, "__self__", None) is Tensor.requires_grad
    return name in _AUTOGRAD_CALLS or module.startswith(("torch.autograd", "torch._functorch"))


class _FunctionWatcher(TorchFunctionMode):
    def __init__(self, note: Callable[[Any, Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._note = note
        self.harmless: set[Any] = set()
        """What need not be looked at again: a loop asks for the same few functions thousands of times."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if kwargs:
            self._note(func, kwargs)
            return func(*args, **kwargs)
        if func not in self.harmless:
            self._note(func, {})
        return func(*args)


class _DispatchWatcher(TorchDispatchMode):
    def __init__(self, note: Callable[[Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._note = note
        self.harmless: set[Any] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, seconds of it, to keep it away from this class

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self.harmless:
            self._note(func)
        return func(*args, **kwargs) if kwargs else func(*args)


_FACTORIES = frozenset(
    """tensor as_tensor zeros ones empty full arange linspace logspace eye rand randn randint randperm scalar_tensor
    normal asarray tril_indices triu_indices""".split()
)
# Indexing accepts indices on the CPU for a tensor anywhere; assignment copies across devices.
_CROSSES_DEVICES = frozenset(
    {"__getitem__", "__setitem__", "copy_", "to", "type_as", "__get__", "index_put_", "__len__"}
)


class HomelessTensors(TorchFunctionMode):
    """Context that finds, on the CPU, what would break on a GPU: tensors made without ``device=``.

    Such a tensor is marked; the mark spreads to whatever is computed from marked tensors alone. Combining a marked
    tensor of one or more dimensions with an unmarked one is what CUDA would refuse.

    Attributes:
        line: Line of the first such combination in student code, or None.
    """

    _MARK = "_dlcvkit_homeless"

    def __init__(self) -> None:
        super().__init__()
        self.line: int | None = None

    def is_homeless(self, value: Any) -> bool:
        """Return whether ``value`` is a tensor of at least one dimension that was made without ``device=``."""
        return isinstance(value, Tensor) and value.dim() > 0 and hasattr(value, self._MARK)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = _bare_name(func)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        marked = [tensor for tensor in tensors if hasattr(tensor, self._MARK)]
        result = func(*args, **kwargs)
        if name in _FACTORIES and not tensors:
            is_new = kwargs.get("device") is None and not _has_positional_device(args)
        elif name in _CROSSES_DEVICES and tensors:
            has_moved = (name == "to" and _names_device(args[1:], kwargs)) or name == "type_as"
            is_new = hasattr(tensors[0], self._MARK) and not has_moved
            if has_moved and result is tensors[0]:
                result = result.view_as(result)  # on the CPU nothing moves, and the mark would stay
        else:
            is_new = bool(tensors) and len(marked) == len(tensors)
            homes = [t for t in tensors if not hasattr(t, self._MARK) and t.dim() > 0]
            if homes and any(t.dim() > 0 for t in marked) and self.line is None:
                self.line = _student_line()
        if is_new:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    setattr(leaf, self._MARK, True)
        return result


def _has_positional_device(args: Iterable[Any]) -> bool:
    return any(isinstance(arg, torch.device) for arg in args)


def _names_device(args: Iterable[Any], kwargs: Mapping[str, Any]) -> bool:
    return kwargs.get("device") is not None or any(isinstance(arg, torch.device | str | Tensor) for arg in args)


def _student_line() -> int:
    """Return the line number of the nearest frame outside torch and this package, 0 if there is none."""
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("torch", "dlcvkit")):
            return frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return 0
