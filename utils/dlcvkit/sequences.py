"""Layers of recurrent nets as forward/backward pairs, ready-made, for notebooks that build on an earlier one.

As in ``dlcvkit.layers``, torch's own functions and autograd do the work. Sequences are (N, T, D): sequences, steps,
features. Gates of the LSTM stand in the order i, f, o, g along the last axis of its weights, which are (D, 4H).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dlcvkit.layers import layer

_TORCH_ORDER = (0, 1, 3, 2)
"""Where torch's gates i, f, g, o are among i, f, o, g."""


def _as_torch(*weights: Tensor) -> tuple[Tensor, ...]:
    """Return LSTM weights (D, 4H) as torch's (4H, D), and a bias (4H,) with its gates in torch's order."""
    found = []
    for weight in weights:
        gates = weight.T.chunk(4) if weight.dim() == 2 else weight.chunk(4)
        found.append(torch.cat([gates[place] for place in _TORCH_ORDER]))
    return tuple(found)


def _without_cudnn() -> AbstractContextManager[None]:
    """Keep to torch's own kernels: cuDNN goes backward only through what it was told is training."""
    return torch.backends.cudnn.flags(enabled=False)


def _rnn_step(x: Tensor, prev_h: Tensor, wx: Tensor, wh: Tensor, b: Tensor) -> Tensor:
    return torch.rnn_tanh_cell(x, prev_h, wx.T, wh.T, b, torch.zeros_like(b))


def _rnn(x: Tensor, h0: Tensor, wx: Tensor, wh: Tensor, b: Tensor) -> Tensor:
    weights = [wx.T.contiguous(), wh.T.contiguous(), b, torch.zeros_like(b)]
    with _without_cudnn():
        return torch.rnn_tanh(x, h0[None].contiguous(), weights, True, 1, 0.0, False, False, True)[0]


def _lstm(x: Tensor, h0: Tensor, wx: Tensor, wh: Tensor, b: Tensor) -> Tensor:
    weights = list(_as_torch(wx, wh, b))
    start = h0[None].contiguous()
    states = (start, torch.zeros_like(start))
    with _without_cudnn():
        return torch.lstm(x, states, [*weights, torch.zeros_like(b)], True, 1, 0.0, False, False, True)[0]


def _lstm_step(x: Tensor, prev_h: Tensor, prev_c: Tensor, wx: Tensor, wh: Tensor, b: Tensor) -> Tensor:
    # Both results in one tensor, because a layer has one output.
    w_ih, w_hh, b_ih = _as_torch(wx, wh, b)
    return torch.stack(torch.lstm_cell(x, (prev_h, prev_c), w_ih, w_hh, b_ih, torch.zeros_like(b)))


word_embedding_forward, word_embedding_backward = layer(lambda words, w: functional.embedding(words, w))
"""``word_embedding_forward(words, w)``: words (N, T) int64, w (V, D); out (N, T, D). Backward returns dw."""

temporal_affine_forward, temporal_affine_backward = layer(lambda x, w, b: functional.linear(x, w.T, b))
"""``temporal_affine_forward(x, w, b)``: x (N, T, D), w (D, M), b (M,); out (N, T, M)."""

rnn_step_forward, rnn_step_backward = layer(_rnn_step)
"""``rnn_step_forward(x, prev_h, wx, wh, b)``: one step, x (N, D), prev_h (N, H), wx (D, H), wh (H, H), b (H,);
the next h (N, H). Backward returns dx, dprev_h, dwx, dwh, db."""

rnn_forward, rnn_backward = layer(_rnn)
"""``rnn_forward(x, h0, wx, wh, b)``: x (N, T, D), h0 (N, H); all h, (N, T, H). Backward
returns dx, dh0, dwx, dwh, db."""

lstm_forward, lstm_backward = layer(_lstm)
"""``lstm_forward(x, h0, wx, wh, b)``: x (N, T, D), h0 (N, H), wx (D, 4H), wh (H, 4H), b (4H,), the first cell state is
0; all h, (N, T, H). Backward returns dx, dh0, dwx, dwh, db."""

_lstm_step_forward, _lstm_step_backward = layer(_lstm_step)


def lstm_step_forward(
    x: Tensor, prev_h: Tensor, prev_c: Tensor, wx: Tensor, wh: Tensor, b: Tensor
) -> tuple[Tensor, Tensor, Any]:
    """Take one step of an LSTM.

    Args:
        x: Input of the step, shape (N, D); like all others not modified.
        prev_h: Hidden state before it, shape (N, H).
        prev_c: Cell state before it, shape (N, H).
        wx: Shape (D, 4H), gates in the order i, f, o, g.
        wh: Shape (H, 4H).
        b: Shape (4H,).

    Returns:
        The next hidden state (N, H), the next cell state (N, H), and the cache.

    Source:
        Hochreiter & Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et al., 2000.
    """
    both, cache = _lstm_step_forward(x, prev_h, prev_c, wx, wh, b)
    return both[0], both[1], cache


def lstm_step_backward(dh: Tensor, dc: Tensor, cache: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return dx, dprev_h, dprev_c, dwx, dwh, db, given the gradients of the next h and the next c, (N, H) each."""
    dx, dprev_h, dprev_c, dwx, dwh, db = _lstm_step_backward(torch.stack([dh, dc]), cache)
    return dx, dprev_h, dprev_c, dwx, dwh, db


def temporal_softmax_loss(x: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of sequences, summed over their steps and averaged over the batch, and its gradient.

    Args:
        x: Scores, shape (N, T, V), floating point, N at least 1; not modified.
        y: Right words, shape (N, T), int64.
        mask: Shape (N, T), bool; steps that are False count for nothing.

    Returns:
        The loss, a 0-dimensional tensor, and its gradient with respect to ``x``, shape (N, T, V).
    """
    variable = x.detach().requires_grad_()
    with torch.enable_grad():
        each = functional.cross_entropy(variable.flatten(0, 1), y.flatten(), reduction="none")
        loss = (each * mask.flatten()).sum() / len(x)
    (gradient,) = torch.autograd.grad(loss, variable)
    return loss.detach(), gradient
