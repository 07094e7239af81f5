"""The protocol of a class: built, given the case's weights, and used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlcvkit.checking import messages
from dlcvkit.checking.exercise import ComparedExercise, Functions, Inputs
from dlcvkit.checking.findings import Finding, Kind
from dlcvkit.checking.interrupted import Interrupted
from dlcvkit.checking.values import kind_of, shape_text

_SHOWN = 4
"""Names of a state dict that a message tells."""


@dataclass(frozen=True, kw_only=True)
class Module(ComparedExercise):
    """A class with weights: ``Net(**init)``, weights loaded, then ``call(net, ...)``.

    Two inputs of a case have a meaning of their own: ``init``, a dict with the arguments of the constructor, and
    ``params``, a dict of weights by name. The weights replace those in the object's ``params`` (a dict), or are loaded
    into a ``torch.nn.Module``; names and shapes have to agree. ``call`` is given the object and the other inputs, by
    name, and returns the quantities in the order of ``points``. The reference is given all inputs.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.call is None:
            raise ValueError(f"exercise {self.functions} needs a call that says how the object is used")

    def run(self, functions: Functions, inputs: Inputs) -> Any:
        """Build the object, load the weights and use it.

        Raises:
            Interrupted: If the object's weights are not those of the exercise.
        """
        assert self.call is not None
        rest = {name: value for name, value in inputs.items() if name not in ("init", "params")}
        net = functions[0](**inputs["init"])
        load_params(net, inputs["params"], self.functions[0])
        return self.call(net, **rest)


def load_params(net: Any, params: Mapping[str, Tensor], name: str) -> None:
    """Put weights into an object, modified.

    Args:
        net: A ``torch.nn.Module``, or an object with a dict ``params``.
        params: Name to tensor.
        name: What to call the object in messages.

    Raises:
        Interrupted: If its weights have other names or shapes.
    """
    is_module = isinstance(net, torch.nn.Module)
    if is_module:
        _require_state(list(net.state_dict()), list(params), name)
    elif any("." in key for key in params):  # as only state dicts name their entries
        got = "None" if net is None else f"a {kind_of(net)}"
        _refuse(messages.NOT_A_MODULE.format(name=name, got=got))
    present = net.state_dict() if is_module else getattr(net, "params", None)
    if not isinstance(present, dict):
        got = "nothing" if present is None else f"a {kind_of(present)}"
        _refuse(messages.NO_PARAMS.format(name=name, got=got))
    assert isinstance(present, dict)
    if set(present) != set(params):
        _refuse(messages.PARAM_NAMES.format(name=name, got=_names(present), expected=_names(params)))
    for key, wanted in params.items():
        found = present[key]
        if not isinstance(found, Tensor) or found.shape != wanted.shape:
            got = kind_of(found) if not isinstance(found, Tensor) else shape_text(found)
            _refuse(messages.PARAM_SHAPE.format(name=name, key=key, got=got, expected=shape_text(wanted)))
    if is_module:
        floating = next((value for value in params.values() if value.is_floating_point()), None)
        if floating is not None:
            net.to(device=floating.device, dtype=floating.dtype)
        net.load_state_dict({key: value.clone() for key, value in params.items()})
    else:
        present.update({key: value.clone() for key, value in params.items()})


def _require_state(present: list[str], wanted: list[str], name: str) -> None:
    """Insist on the names of a state dict; there may be many, so only those that differ are told."""
    lacking = [key for key in wanted if key not in present]
    more = [key for key in present if key not in wanted]
    if not lacking and not more:
        return
    if lacking:
        text = messages.STATE_LACKS.format(name=name, lacking=_some(lacking))
        text += messages.STATE_INSTEAD.format(more=_some(more)) if more else ""
    else:
        text = messages.STATE_MORE.format(name=name, more=_some(more))
    has_biases = not lacking and all(key.endswith(".bias") for key in more)
    hint = messages.STATE_BIAS_HINT if has_biases else messages.STATE_NAMES_HINT
    raise Interrupted(Finding(Kind.STRUCTURE, text, hint=hint))


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return messages.listing([*names[:_SHOWN], f"{rest} more"] if rest > 1 else names)


def _names(params: Mapping[Any, Any]) -> str:
    return messages.listing([str(key) for key in params]) if params else "none"


def _refuse(text: str) -> None:
    raise Interrupted(Finding(Kind.STRUCTURE, text))


def gradients_by_autograd(
    loss: Callable[[dict[str, Tensor]], Tensor], params: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a loss and its gradients, for references.

    Args:
        loss: Name-to-weight dict to 0-dimensional loss.
        params: The weights; not modified.

    Returns:
        The loss, and the gradient of each weight under its name, zero where the loss does not depend on it.
    """
    variables = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
    with torch.enable_grad():
        value = loss(variables)
        found = torch.autograd.grad(value, list(variables.values()), allow_unused=True)
    gradients = {
        name: torch.zeros_like(variable) if gradient is None else gradient
        for (name, variable), gradient in zip(variables.items(), found, strict=True)
    }
    return value.detach(), gradients
