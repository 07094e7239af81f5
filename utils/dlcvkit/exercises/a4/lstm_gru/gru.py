"""The GRU, one step and many."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, ForwardBackward, Mistake, normal
from dlcvkit.exercises.a4.lstm_gru.lstm import sequence_case, upstream_at_the_end
from dlcvkit.exercises.a4.lstm_gru.variants import (
    BY_HAND,
    interleaved,
    kept,
    scaled_gradient,
    sequence_mistakes,
    sigmoid_slope_forgotten,
    tanh_slope_forgotten,
)


def gru_cell(x, prev_h, Wx, Wh, bx, bh):
    return torch.gru_cell(x, prev_h, Wx.t(), Wh.t(), bx, bh)


# One step, put together from pieces that can be replaced.


def _thirds(a):
    return a.chunk(3, dim=1)


def _candidate(a, r, m):
    return (a + r * m).tanh()


def _mixed(z, n, prev_h):
    return (1 - z) * n + z * prev_h


def spoilt_step(*, split=_thirds, gate=torch.sigmoid, candidate=_candidate, mix=_mixed):
    def step(x, prev_h, Wx, Wh, bx, bh):
        (x_r, x_z, x_n), (h_r, h_z, m) = split(x @ Wx + bx), split(prev_h @ Wh + bh)
        return mix(gate(x_z + h_z), candidate(x_n, gate(x_r + h_r), m), prev_h)

    return step


def _update_first(a):
    z, r, n = a.chunk(3, dim=1)
    return r, z, n


def _reset_before(x, prev_h, Wx, Wh, bx, bh):
    (x_r, x_z, x_n), (h_r, h_z, _) = _thirds(x @ Wx + bx), _thirds(prev_h @ Wh + bh)
    W_n, b_n = Wh.chunk(3, dim=1)[2], bh.chunk(3)[2]
    r = (x_r + h_r).sigmoid()
    return _mixed((x_z + h_z).sigmoid(), (x_n + (r * prev_h) @ W_n + b_n).tanh(), prev_h)


def _with_candidate_bias(add):
    """A step in which ``add(r, product, b)`` says how the candidate's hidden bias comes in."""

    def step(x, prev_h, Wx, Wh, bx, bh):
        (x_r, x_z, x_n), (h_r, h_z, p_n) = _thirds(x @ Wx + bx), _thirds(prev_h @ Wh)
        b_r, b_z, b_n = bh.chunk(3)
        r = (x_r + h_r + b_r).sigmoid()
        return _mixed((x_z + h_z + b_z).sigmoid(), (x_n + add(r, p_n, b_n)).tanh(), prev_h)

    return step


def _reset_times_state(x, prev_h, Wx, Wh, bx, bh):
    def candidate(a, r, m):
        return (a + kept(r * m, r * prev_h.detach() + r.detach() * m)).tanh()

    return spoilt_step(candidate=candidate)(x, prev_h, Wx, Wh, bx, bh)


def _gates_see_a_constant(x, prev_h, Wx, Wh, bx, bh):
    seen = prev_h.detach()
    (x_r, x_z, x_n), (h_r, h_z, m) = _thirds(x @ Wx + bx), _thirds(seen @ Wh + bh)
    return _mixed((x_z + h_z).sigmoid(), _candidate(x_n, (x_r + h_r).sigmoid(), m), prev_h)


def _averaged(x, prev_h, Wx, Wh, bx, bh):
    return gru_cell(x, prev_h, *(scaled_gradient(each, 1 / len(x)) for each in (Wx, Wh, bx, bh)))


STEP_MISTAKES = [
    Mistake(
        "applies the reset gate before the matrix product",
        _reset_before,
        hint="multiply prev_h with the candidate's block of Wh and add its bias first; the reset gate comes after that",
    ),
    Mistake(
        "leaves the candidate's hidden bias out of the reset gate's reach",
        _with_candidate_bias(lambda r, product, b: r * product + b),
        hint="the reset gate multiplies the whole hidden share of the candidate; what belongs to that share?",
    ),
    Mistake(
        "swaps the roles of the update gate",
        spoilt_step(mix=lambda z, n, prev_h: z * n + (1 - z) * prev_h),
        hint="where the update gate is 1, the state stays as it was",
    ),
    Mistake(
        "takes the first block for the update gate",
        spoilt_step(split=_update_first),
        hint="the three blocks are r, z, n, from the left",
    ),
    Mistake(
        "takes every third column for a gate",
        spoilt_step(split=lambda a: interleaved(a, 3)),
        hint="each gate is a block of H columns that lie side by side",
    ),
    Mistake(
        "squashes the candidate by a sigmoid",
        spoilt_step(candidate=lambda a, r, m: (a + r * m).sigmoid()),
        hint="the candidate is no gate: it can be negative",
    ),
    Mistake(
        "forgets the reset gate",
        spoilt_step(candidate=lambda a, r, m: (a + m).tanh()),
        hint="the candidate sees the previous state only as far as the reset gate lets it",
    ),
    Mistake(
        "resets the input's share as well",
        spoilt_step(candidate=lambda a, r, m: (r * (a + m)).tanh()),
        hint="the reset gate concerns what the candidate sees of the previous state, not of the input",
    ),
    Mistake(
        "leaves the hidden bias out",
        lambda x, prev_h, Wx, Wh, bx, bh: gru_cell(x, prev_h, Wx, Wh, bx, 0 * bh),
        hint="there are two biases, one for each matrix",
    ),
    Mistake(
        "forgets the direct way back to prev_h",
        spoilt_step(mix=lambda z, n, prev_h: (1 - z) * n + z * prev_h.detach()),
        hint="prev_h appears in the last line of the forward pass as well as in the gates",
    ),
    Mistake(
        "passes dnext_h on to prev_h without the update gate",
        spoilt_step(mix=lambda z, n, prev_h: (1 - z) * n + kept(z * prev_h, z * prev_h.detach() + prev_h)),
        hint="prev_h was multiplied by something on its direct way into next_h",
    ),
    Mistake(
        "forgets the way back to prev_h through the gates",
        _gates_see_a_constant,
        hint="prev_h was multiplied with Wh as well: how many terms has its gradient?",
    ),
    Mistake(
        "gives the update gate the opposite gradient",
        spoilt_step(mix=lambda z, n, prev_h: _mixed(kept(z, -z), n, prev_h)),
        hint="when z grows, what does next_h gain, and what does it lose?",
    ),
    Mistake(
        "forgets the candidate in the gradient of the update gate",
        spoilt_step(mix=lambda z, n, prev_h: (1 - z.detach()) * n + z * prev_h),
        hint="the update gate appears twice in the last line of the forward pass",
    ),
    Mistake(
        "forgets the reset gate on the way back into Wh",
        spoilt_step(candidate=lambda a, r, m: (a + kept(r * m, r * m.detach() + m)).tanh()),
        hint="the hidden share of the candidate was multiplied by r; the input's share was not",
    ),
    Mistake(
        "gives bh the same gradient as bx",
        _with_candidate_bias(lambda r, product, b: r * product + kept(r * b, r * b.detach() + b)),
        hint="in the candidate one of the two biases was multiplied by r, the other was not",
    ),
    Mistake(
        "takes prev_h itself in the gradient of the reset gate",
        _reset_times_state,
        hint="what was the reset gate multiplied with in the forward pass?",
    ),
    Mistake(
        "forgets that the reset gate was computed",
        spoilt_step(candidate=lambda a, r, m: (a + r.detach() * m).tanh()),
        hint="the reset gate depends on x and prev_h, and the candidate on the reset gate",
    ),
    Mistake(
        "forgets the slope of the sigmoids",
        spoilt_step(gate=sigmoid_slope_forgotten),
        hint="from a gate to its pre-activation there is one more factor",
    ),
    Mistake(
        "forgets the slope of the tanh",
        spoilt_step(candidate=lambda a, r, m: tanh_slope_forgotten(a + r * m)),
        hint="from the candidate to its pre-activation there is one more factor",
    ),
    Mistake(
        "averages the gradient of the weights over the batch",
        _averaged,
        hint="all rows use the same weights and their contributions add up; the loss has averaged already",
    ),
]


def step_case(name, N, D, H, *, std=1.0, bx=None, bh=None):
    return Case(
        name,
        x=normal(N, D),
        prev_h=normal(N, H),
        Wx=normal(D, 3 * H, std=std),
        Wh=normal(H, 3 * H, std=std),
        bx=bx or normal(3 * H),
        bh=bh or normal(3 * H),
        dnext_h=normal(N, H),
    )


gru_step = ForwardBackward(
    functions=("gru_step_forward", "gru_step_backward"),
    reference=gru_cell,
    cases=[step_case("two rows, 3 features, 5 units", 2, 3, 5), step_case("four rows, 5 features, 2 units", 4, 5, 2)],
    points={"next_h": 2, "dx": 1, "dprev_h": 2, "dWx": 1, "dWh": 1, "dbx": 1, "dbh": 1},
    upstream={"next_h": "dnext_h"},
    forbidden=BY_HAND,
    mistakes=STEP_MISTAKES,
)


# Many steps.


def gru_layer(x, h0, Wx, Wh, bx, bh):
    weights = [Wx.t().contiguous(), Wh.t().contiguous(), bx, bh]
    # cuDNN wants the weights in one piece of memory and warns if they are not.
    with torch.backends.cudnn.flags(enabled=False):
        return torch.gru(x, h0[None], weights, True, 1, 0.0, False, False, True)[0]


def _one_step(*arguments):
    return (spoilt_step()(*arguments),)


gru = ForwardBackward(
    functions=("gru_forward", "gru_backward"),
    reference=gru_layer,
    cases=[
        sequence_case("two sequences of 4 steps", 2, 4, 3, 5, gates=3),
        sequence_case("a loss at the last step only", 3, 3, 2, 4, gates=3, dh=upstream_at_the_end(3, 3, 4)),
    ],
    points={"h": 2, "dx": 1, "dh0": 1, "dWx": 1, "dWh": 1, "dbx": 1, "dbh": 1},
    upstream={"h": "dh"},
    forbidden=BY_HAND,
    mistakes=sequence_mistakes(_one_step, lambda h0: (h0,)),
)
