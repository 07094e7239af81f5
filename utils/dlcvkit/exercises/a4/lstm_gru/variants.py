"""Ways to spoil a step or a whole sequence, for the modules beside this one.

A wrong gradient is described by a forward pass that gives the right value with the gradient of something else.
"""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Mistake

BY_HAND = TORCH_LAYERS | AUTOGRAD | {"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "_thnn_fused_gru_cell"}
"""What may not be used where a recurrent layer is written by hand."""


def kept(value, like):
    """The value of the one with the gradient of the other."""
    return value.detach() + like - like.detach()


def scaled_gradient(value, factor):
    return kept(value, value * factor)


def sigmoid_slope_forgotten(a):
    return kept(a.sigmoid(), a)


def tanh_slope_forgotten(a):
    return kept(a.tanh(), a)


def sigmoid_slope_for_tanh(a):
    """tanh with the slope g (1 - g)."""
    g = a.tanh().detach()
    return kept(g, g * (1 - g) * a)


def interleaved(a, count):
    """Gates of a matrix whose columns are taken to go through all gates of the first unit, then of the second."""
    return a.unflatten(1, (-1, count)).unbind(2)


def at_one_step(chosen):
    """Weights whose gradient comes from one step alone; ``chosen(T)`` is its number."""

    def weights(each, t, T):
        return each if t == chosen(T) else each.detach()

    return weights


def unrolled(step, begin, *, between=lambda state: state, weights=lambda each, t, T: each, output=lambda h: h):
    """A layer that repeats a step.

    Args:
        step: Maps x at one step (N, D), the parts of the state and the weights to the next state, a tuple whose first
            part is h.
        begin: Maps h0 to the first state.
        between: Applied to the state before every step but the first.
        weights: Maps each weight, the step's number and the number of steps to what the step is given.
        output: Applied to h (N, T, H) at last.

    Returns:
        The layer, a function of ``x``, ``h0`` and the weights, all by keyword.
    """

    def layer(**given):
        x, h0, *rest = given.values()
        T = x.shape[1]
        state, outputs = begin(h0), []
        for t in range(T):
            own = [weights(each, t, T) for each in rest]
            state = step(x[:, t], *(between(state) if t else state), *own)
            outputs.append(state[0])
        return output(torch.stack(outputs, dim=1))

    return layer


def _only_the_last(h):
    return torch.cat([h[:, :-1].detach(), h[:, -1:]], dim=1)


def sequence_mistakes(step, begin):
    """Mistakes of a layer that repeats a right ``step``, whatever the step."""

    def spoilt(**changes):
        return unrolled(step, begin, **changes)

    return [
        Mistake(
            "starts from zeros instead of h0",
            unrolled(step, lambda h0: begin(torch.zeros_like(h0))),
            hint="what is the hidden state before the first step?",
        ),
        Mistake(
            "returns the steps in the wrong order",
            spoilt(output=lambda h: h.flip(1)),
            hint="h[:, 0] is the state after the first step",
        ),
        Mistake(
            "does not carry the gradient from one step back to the one before",
            spoilt(between=lambda state: tuple(part.detach() for part in state)),
            hint="h after step t reaches the loss in two ways: directly, and through step t + 1",
        ),
        Mistake(
            "uses the upstream gradient of the last step only",
            spoilt(output=_only_the_last),
            hint="every h[:, t] was an output: dh[:, t] is added to what comes back from step t + 1",
        ),
        Mistake(
            "takes the gradient of the weights from the first step only",
            spoilt(weights=at_one_step(lambda T: 0)),
            hint="all steps share the weights, and their contributions add up: look at = and +=",
        ),
        Mistake(
            "takes the gradient of the weights from the last step only",
            spoilt(weights=at_one_step(lambda T: T - 1)),
            hint="all steps share the weights, and their contributions add up: look at = and +=",
        ),
        Mistake(
            "averages the gradient of the weights over the steps",
            spoilt(weights=lambda each, t, T: scaled_gradient(each, 1 / T)),
            hint="all steps share the weights, and their contributions add up; nothing is divided",
        ),
    ]
