"""Update rules as pure functions, made from torch's optimisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
Rule = Callable[..., tuple[Tensor, State]]
"""``rule(w, dw, state, lr=...) -> (w, state)``: the weights after one step and what the rule remembers of it."""


def torch_rule(optimiser: Callable[..., torch.optim.Optimizer], **options: Any) -> Rule:
    """Make a rule from an optimiser of torch, so that no rule that students write is given away.

    Args:
        optimiser: Such as ``torch.optim.Adam``; called with a list of one parameter, ``lr`` and the options.
        options: Its other arguments, such as ``momentum=0.9``.

    Returns:
        ``rule(w, dw, state, lr)``. ``state`` is an empty dict before the first step; nothing is modified.
    """

    def rule(w: Tensor, dw: Tensor, state: State, lr: float) -> tuple[Tensor, State]:
        parameter = w.detach().clone().requires_grad_()
        parameter.grad = dw.detach()
        stepper = optimiser([parameter], lr=lr, **options)
        if state:
            stepper.state[parameter] = {
                key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()
            }
        stepper.step()
        remembered = {key: value for key, value in stepper.state[parameter].items() if value is not None}
        return parameter.detach(), remembered

    return rule
