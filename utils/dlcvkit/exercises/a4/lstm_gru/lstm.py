"""The LSTM, one step and many."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, ForwardBackward, Mistake, drawn, normal
from dlcvkit.exercises.a4.lstm_gru.variants import (
    BY_HAND,
    interleaved,
    kept,
    scaled_gradient,
    sequence_mistakes,
    sigmoid_slope_for_tanh,
    sigmoid_slope_forgotten,
    tanh_slope_forgotten,
    unrolled,
)


def to_torch(w):
    """Weights or bias with the gates in torch's order, transposed as torch has them."""
    i, f, o, g = w.chunk(4, dim=-1)
    return torch.cat([i, f, g, o], dim=-1).t().contiguous()


def lstm_cell(x, prev_h, prev_c, Wx, Wh, b):
    bias = to_torch(b)
    return torch.lstm_cell(x, (prev_h, prev_c), to_torch(Wx), to_torch(Wh), bias, torch.zeros_like(bias))


# One step, put together from pieces that can be replaced.


def _four(a):
    *three, a_g = a.chunk(4, dim=1)
    return *(each.sigmoid() for each in three), a_g.tanh()


def _cell(i, f, g, prev_c):
    return f * prev_c + i * g


def _hidden(o, c):
    return o * c.tanh()


def spoilt_step(*, gates=_four, cell=_cell, hidden=_hidden):
    def step(x, prev_h, prev_c, Wx, Wh, b):
        i, f, o, g = gates(x @ Wx + prev_h @ Wh + b)
        next_c = cell(i, f, g, prev_c)
        return hidden(o, next_c), next_c

    return step


def _gates_by(arrange):
    """Gates from the four blocks in another arrangement."""

    def gates(a):
        i, f, o, g = arrange(a)
        return i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()

    return gates


def _torch_order(a):
    i, f, g, o = a.chunk(4, dim=1)
    return i, f, o, g


def _forget_first(a):
    f, i, o, g = a.chunk(4, dim=1)
    return i, f, o, g


def _sigmoid_throughout(a):
    return a.sigmoid().chunk(4, dim=1)


def _no_sigmoid_slope(a):
    *three, a_g = a.chunk(4, dim=1)
    return *(sigmoid_slope_forgotten(each) for each in three), a_g.tanh()


def _candidate_by(function):
    def gates(a):
        *three, a_g = a.chunk(4, dim=1)
        return *(each.sigmoid() for each in three), function(a_g)

    return gates


def _old_cell_shown(x, prev_h, prev_c, Wx, Wh, b):
    i, f, o, g = _four(x @ Wx + prev_h @ Wh + b)
    return _hidden(o, prev_c), _cell(i, f, g, prev_c)


def _only_dnext_c_to_prev_c(x, prev_h, prev_c, Wx, Wh, b):
    i, f, o, g = _four(x @ Wx + prev_h @ Wh + b)
    return _hidden(o, _cell(i, f, g, prev_c.detach())), _cell(i, f, g, prev_c)


def _dnext_c_forgotten(x, prev_h, prev_c, Wx, Wh, b):
    next_h, next_c = lstm_cell(x, prev_h, prev_c, Wx, Wh, b)
    return next_h, next_c.detach()


def _averaged(x, prev_h, prev_c, Wx, Wh, b):
    return lstm_cell(x, prev_h, prev_c, *(scaled_gradient(each, 1 / len(x)) for each in (Wx, Wh, b)))


STEP_MISTAKES = [
    Mistake(
        "splits the gates in torch's order",
        spoilt_step(gates=_gates_by(_torch_order)),
        hint="the four blocks are i, f, o, g, from the left; torch has i, f, g, o",
    ),
    Mistake(
        "swaps the input gate and the forget gate",
        spoilt_step(gates=_gates_by(_forget_first)),
        hint="the four blocks are i, f, o, g, from the left; which of them multiplies prev_c?",
    ),
    Mistake(
        "takes every fourth column for a gate",
        spoilt_step(gates=_gates_by(lambda a: interleaved(a, 4))),
        hint="each gate is a block of H columns that lie side by side",
    ),
    Mistake(
        "squashes g by a sigmoid",
        spoilt_step(gates=_sigmoid_throughout),
        hint="g is no gate: it is what is written, and it can be negative",
    ),
    Mistake(
        "forgets the tanh of the cell",
        spoilt_step(hidden=lambda o, c: o * c),
        hint="what the output gate lets through is tanh of the cell state",
    ),
    Mistake(
        "forgets the output gate",
        spoilt_step(hidden=lambda o, c: c.tanh()),
        hint="the hidden state is what the output gate lets through",
    ),
    Mistake(
        "forgets the input gate",
        spoilt_step(cell=lambda i, f, g, prev_c: f * prev_c + g),
        hint="what is written is the candidate g, as far as the input gate is open",
    ),
    Mistake(
        "shows the old cell state",
        _old_cell_shown,
        hint="the hidden state is computed from the new cell state",
    ),
    Mistake(
        "leaves the bias out",
        lambda x, prev_h, prev_c, Wx, Wh, b: lstm_cell(x, prev_h, prev_c, Wx, Wh, 0 * b),
        hint="all four blocks have a bias",
    ),
    Mistake(
        "forgets the previous hidden state",
        lambda x, prev_h, prev_c, Wx, Wh, b: lstm_cell(x, prev_h, prev_c, Wx, 0 * Wh, b),
        hint="the gates see the input and the previous hidden state",
    ),
    Mistake(
        "forgets dnext_c",
        _dnext_c_forgotten,
        hint="the cell state reaches the loss in two ways: through next_h, and through the steps to come",
    ),
    Mistake(
        "passes only dnext_c back to prev_c",
        _only_dnext_c_to_prev_c,
        hint="prev_c gets its share of the whole gradient of the cell, what came through next_h included",
    ),
    Mistake(
        "forgets the way from dnext_h into the cell",
        spoilt_step(hidden=lambda o, c: o * c.detach().tanh()),
        hint="next_h contains tanh(next_c): the gradient of the cell has two terms",
    ),
    Mistake(
        "passes dnext_h * o on without the slope of tanh",
        spoilt_step(hidden=lambda o, c: o * tanh_slope_forgotten(c)),
        hint="between next_h and next_c there is a tanh, which has a slope",
    ),
    Mistake(
        "takes c instead of tanh(c) for the slope of tanh",
        spoilt_step(hidden=lambda o, c: o * kept(c.tanh(), (1 - c.detach() ** 2) * c)),
        hint="the slope of tanh is written in terms of its output, not of its input",
    ),
    Mistake(
        "passes the gradient of the cell back without the forget gate",
        spoilt_step(cell=lambda i, f, g, prev_c: kept(f * prev_c, f * prev_c.detach() + prev_c) + i * g),
        hint="prev_c was multiplied by something on its way into next_c",
    ),
    Mistake(
        "takes c instead of tanh(c) in the gradient of the output gate",
        spoilt_step(hidden=lambda o, c: kept(o * c.tanh(), o * c.detach() + o.detach() * c.tanh())),
        hint="what was the output gate multiplied with in the forward pass?",
    ),
    Mistake(
        "takes the new cell state in the gradient of the forget gate",
        spoilt_step(
            cell=lambda i, f, g, prev_c: kept(
                f * prev_c + i * g, f * (f * prev_c + i * g).detach() + f.detach() * prev_c + i * g
            )
        ),
        hint="what was the forget gate multiplied with in the forward pass?",
    ),
    Mistake(
        "forgets the slope of the sigmoids",
        spoilt_step(gates=_no_sigmoid_slope),
        hint="from a gate to its pre-activation there is one more factor",
    ),
    Mistake(
        "forgets the slope of the tanh of g",
        spoilt_step(gates=_candidate_by(tanh_slope_forgotten)),
        hint="from g to its pre-activation there is one more factor",
    ),
    Mistake(
        "gives g the slope of a sigmoid",
        spoilt_step(gates=_candidate_by(sigmoid_slope_for_tanh)),
        hint="three blocks went through a sigmoid and one through a tanh; their slopes differ",
    ),
    Mistake(
        "averages the gradient of the weights over the batch",
        _averaged,
        hint="all rows use the same weights and their contributions add up; the loss has averaged already",
    ),
]


def step_case(name, N, D, H, *, std=1.0, b=None):
    return Case(
        name,
        x=normal(N, D),
        prev_h=normal(N, H, std=0.5),
        prev_c=normal(N, H),
        Wx=normal(D, 4 * H, std=std),
        Wh=normal(H, 4 * H, std=std),
        b=b or normal(4 * H, std=std),
        dnext_h=normal(N, H),
        dnext_c=normal(N, H),
    )


lstm_step = ForwardBackward(
    functions=("lstm_step_forward", "lstm_step_backward"),
    reference=lstm_cell,
    cases=[step_case("two rows, 3 features, 5 units", 2, 3, 5), step_case("four rows, 5 features, 2 units", 4, 5, 2)],
    points={"next_h": 1, "next_c": 1, "dx": 1, "dprev_h": 1, "dprev_c": 2, "dWx": 1, "dWh": 1, "db": 1},
    upstream={"next_h": "dnext_h", "next_c": "dnext_c"},
    forbidden=BY_HAND,
    mistakes=STEP_MISTAKES,
)


# Many steps.


def lstm_layer(x, h0, Wx, Wh, b):
    bias = to_torch(b)
    weights = [to_torch(Wx), to_torch(Wh), bias, torch.zeros_like(bias)]
    # cuDNN wants the weights in one piece of memory and warns if they are not.
    with torch.backends.cudnn.flags(enabled=False):
        return torch.lstm(x, (h0[None], torch.zeros_like(h0)[None]), weights, True, 1, 0.0, False, False, True)[0]


def _begin(h0):
    return h0, torch.zeros_like(h0)


def upstream_at_the_end(N, T, H):
    """A gradient that is zero at every step but the last."""
    return drawn(lambda g: torch.randn(N, T, H, generator=g, dtype=torch.float64) * (torch.arange(T)[:, None] == T - 1))


def sequence_case(name, N, T, D, H, *, gates=4, std=0.7, dh=None, **more):
    biases = {"b": normal(4 * H, std=std)} if gates == 4 else {"bx": normal(3 * H), "bh": normal(3 * H)}
    return Case(
        name,
        x=normal(N, T, D),
        h0=normal(N, H, std=0.5),
        Wx=normal(D, gates * H, std=std),
        Wh=normal(H, gates * H, std=std),
        **{**biases, **more},
        dh=dh or normal(N, T, H),
    )


lstm = ForwardBackward(
    functions=("lstm_forward", "lstm_backward"),
    reference=lstm_layer,
    cases=[
        sequence_case("two sequences of 4 steps", 2, 4, 3, 5),
        sequence_case("a loss at the last step only", 3, 3, 2, 4, dh=upstream_at_the_end(3, 3, 4)),
    ],
    points={"h": 2, "dx": 1, "dh0": 1, "dWx": 1, "dWh": 1, "db": 1},
    upstream={"h": "dh"},
    forbidden=BY_HAND,
    mistakes=[
        Mistake(
            "starts the cell at h0",
            unrolled(spoilt_step(), lambda h0: (h0, h0)),
            hint="only the hidden state starts at h0; the cell starts empty",
        ),
        Mistake(
            "empties the cell before every step",
            unrolled(spoilt_step(), _begin, between=lambda state: (state[0], 0 * state[1])),
            hint="two things go from one step to the next",
        ),
        Mistake(
            "does not carry the gradient of the cell from one step back to the one before",
            unrolled(spoilt_step(), _begin, between=lambda state: (state[0], state[1].detach())),
            hint="lstm_step_backward returns two gradients for the step before, dprev_h and dprev_c",
        ),
        Mistake(
            "does not carry the gradient of h from one step back to the one before",
            unrolled(spoilt_step(), _begin, between=lambda state: (state[0].detach(), state[1])),
            hint="h after step t reaches the loss in two ways: directly, and through step t + 1",
        ),
        *sequence_mistakes(spoilt_step(), _begin),
    ],
)
