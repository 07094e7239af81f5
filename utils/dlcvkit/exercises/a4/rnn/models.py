"""A language model put together: loss, gradients and the state that is carried on."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, Function, Mistake, gradients_by_autograd, integers, normal


def _states(inputs, h0, params):
    weights = [params["Wx"].T.contiguous(), params["Wh"].T.contiguous(), params["b"], torch.zeros_like(params["b"])]
    words = functional.embedding(inputs, params["E"])
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN goes backward only through what it was told is training
        return torch.rnn_tanh(words, h0[None].contiguous(), weights, True, 1, 0.0, False, False, True)[0]


def _loss_of(targets, h, params):
    scores = functional.linear(h, params["Wo"].T, params["bo"])
    return functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="sum") / len(targets)


def _model(inputs, targets, h0, params, states=_states, loss=_loss_of):
    value, gradients = gradients_by_autograd(lambda w: loss(targets, states(inputs, h0, w), w), params)
    with torch.no_grad():
        return value, gradients, states(inputs, h0, params)[:, -1]


def _with(**parts):
    return lambda inputs, targets, h0, params: _model(inputs, targets, h0, params, **parts)


def _changed(loss=lambda value, inputs: value, gradients=lambda found, inputs: found, h=None):
    """The right quantities, with one of them changed."""

    def variant(inputs, targets, h0, params):
        value, found, last = _model(inputs, targets, h0, params)
        return loss(value, inputs), gradients(found, inputs), last if h is None else h(inputs, h0, params)

    return variant


def _cut(inputs, h0, params):
    """States through which no gradient goes back to earlier steps."""
    states, state = [], h0
    for t in range(inputs.shape[1]):
        state = _states(inputs[:, t : t + 1], state.detach(), params)[:, 0]
        states.append(state)
    return torch.stack(states, dim=1)


def _last_step(targets, h, params):
    return _loss_of(targets[:, -1:], h[:, -1:], params)


def model_case(name, N, T, V, D, H):
    params = {
        "E": normal(V, D),
        "Wx": normal(D, H),
        "Wh": normal(H, H, std=0.6),
        "b": normal(H),
        "Wo": normal(H, V),
        "bo": normal(V),
    }
    return Case(name, inputs=integers(N, T, high=V), targets=integers(N, T, high=V), h0=normal(N, H), params=params)


language_model_loss = Function(
    functions=("language_model_loss",),
    reference=_model,
    cases=[
        model_case("2 sequences of 5 steps, 6 words", 2, 5, 6, 3, 4),
        model_case("one step", 3, 1, 4, 2, 3),
    ],
    points={"loss": 2, "grads": 3, "h_last": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD,
    mistakes=[
        Mistake(
            "starts from zeros instead of h0",
            _with(states=lambda inputs, h0, params: _states(inputs, torch.zeros_like(h0), params)),
            hint="h0 is what the chunk before has left: is it handed on to rnn_forward?",
        ),
        Mistake(
            "scores the last step only",
            _with(loss=_last_step),
            hint="a word is predicted at every step",
        ),
        Mistake(
            "returns h0 as the state to carry on",
            _changed(h=lambda inputs, h0, params: h0),
            hint="the next chunk goes on from the state after the last step of this one",
        ),
        Mistake(
            "returns the first state",
            _changed(h=lambda inputs, h0, params: _states(inputs, h0, params)[:, 0]),
            hint="the next chunk goes on from the state after the last step of this one",
        ),
        Mistake(
            "returns all states",
            _changed(h=_states),
            hint="the next chunk goes on from one state per sequence, shape (N, H)",
        ),
        Mistake(
            "predicts the inputs",
            lambda inputs, targets, h0, params: _model(inputs, inputs, h0, params),
            hint="what is to be predicted are the targets",
        ),
        Mistake(
            "reads the targets",
            lambda inputs, targets, h0, params: _model(targets, targets, h0, params),
            hint="what is read are the inputs: a network that sees the answer has nothing to learn",
        ),
        Mistake(
            "takes the mean over the steps",
            _changed(
                lambda value, inputs: value / inputs.shape[1],
                lambda found, inputs: {name: g / inputs.shape[1] for name, g in found.items()},
            ),
            hint="the loss is that of temporal_softmax_loss: summed over the steps",
        ),
        Mistake(
            "divides by the size of the batch twice",
            _changed(
                lambda value, inputs: value / len(inputs),
                lambda found, inputs: {name: g / len(inputs) for name, g in found.items()},
            ),
            hint="temporal_softmax_loss has divided already",
        ),
        Mistake(
            "sends no gradient back through time",
            _with(states=_cut),
            hint="is the gradient of the states handed to rnn_backward as it is?",
        ),
        Mistake(
            "leaves the embedding as it is",
            _changed(gradients=lambda found, inputs: found | {"E": torch.zeros_like(found["E"])}),
            hint="what rnn_backward returns for x has one more layer to go",
        ),
        Mistake(
            "descends already",
            _changed(gradients=lambda found, inputs: {name: -g for name, g in found.items()}),
            hint="return the gradients; the optimiser subtracts them",
        ),
    ],
)
