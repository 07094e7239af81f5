"""One step of a recurrent network, and the steps of a whole sequence."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, Case, ForwardBackward, Mistake, drawn, normal
from dlcvkit.exercises.a4.rnn.faults import changed, differentiate

FORBIDDEN = TORCH_LAYERS | AUTOGRAD | {"rnn_tanh_cell"}


def _no_bias(b):
    return torch.zeros_like(b)


# One step.


def _step(x, prev_h, Wx, Wh, b):
    return torch.rnn_tanh_cell(x, prev_h, Wx.T.contiguous(), Wh.T.contiguous(), b, _no_bias(b))


def _sum(x, prev_h, Wx, Wh, b):
    """What the tanh is taken of."""
    return x @ Wx + prev_h @ Wh + b


def step_case(name, N, D, H, std=1.0):
    return Case(
        name,
        x=normal(N, D, std=std),
        prev_h=normal(N, H),
        Wx=normal(D, H),
        Wh=normal(H, H),
        b=normal(H),
        dnext_h=normal(N, H),
    )


def _wh_turned(dprev_h, head, inputs):
    slope = 1 - _step(**inputs) ** 2
    return (head * slope) @ inputs["Wh"]


def _from_the_new_state(dWh, head, inputs):
    out = _step(**inputs)
    return out.T @ (head * (1 - out**2))


rnn_step = ForwardBackward(
    functions=("rnn_step_forward", "rnn_step_backward"),
    reference=_step,
    cases=[step_case("3 sequences, 4 features, 5 units", 3, 4, 5), step_case("as many features as units", 2, 3, 3)],
    upstream={"next_h": "dnext_h"},
    points={"next_h": 2, "dx": 1, "dprev_h": 1, "dWx": 1, "dWh": 1, "db": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "leaves the bias out",
            lambda x, prev_h, Wx, Wh, b: _step(x, prev_h, Wx, Wh, _no_bias(b)),
            hint="three terms stand inside the tanh",
        ),
        Mistake("leaves the tanh out", _sum, hint="the sum of the three terms goes through tanh"),
        Mistake(
            "leaves the bias outside the tanh",
            lambda x, prev_h, Wx, Wh, b: _step(x, prev_h, Wx, Wh, _no_bias(b)) + b,
            hint="which terms stand inside the tanh?",
        ),
        Mistake(
            "multiplies the state by the transpose of Wh",
            lambda x, prev_h, Wx, Wh, b: _step(x, prev_h, Wx, Wh.T, b),
            hint="states are rows here: entry (i, j) of Wh leads from unit i of the old state to unit j of the new one",
        ),
        Mistake(
            "forgets the old state",
            lambda x, prev_h, Wx, Wh, b: _step(x, torch.zeros_like(prev_h), Wx, Wh, b),
            hint="the new state depends on the input and on the old state",
        ),
        Mistake(
            "forgets the derivative of tanh",
            changed(_step, _sum),
            hint="dnext_h is the gradient behind the tanh; what is it before the tanh?",
        ),
        Mistake(
            "takes 1 - h for the derivative of tanh",
            changed(_step, _sum, lambda head, out, inputs: head * (1 - out)),
            hint="look up the derivative of tanh, written with the value of tanh itself: something is squared",
        ),
        Mistake(
            "squares the difference",
            changed(_step, _sum, lambda head, out, inputs: head * (1 - out) ** 2),
            hint="what is squared in the derivative of tanh: the whole difference, or the value of tanh alone?",
        ),
        Mistake(
            "takes h (1 - h) for the derivative of tanh",
            changed(_step, _sum, lambda head, out, inputs: head * out * (1 - out)),
            hint="that is the derivative of the sigmoid",
        ),
        Mistake(
            "takes the tanh a second time",
            changed(_step, _sum, lambda head, out, inputs: head * (1 - out.tanh() ** 2)),
            hint="next_h has been through the tanh already: is what you square next_h, or its tanh?",
        ),
        Mistake(
            "puts what stands inside the tanh into the formula for its value",
            changed(_step, _sum, lambda head, out, inputs: head * (1 - _sum(**inputs) ** 2)),
            hint="1 minus the square of what: of the sum before the tanh, or of what came out of it?",
        ),
        Mistake(
            "multiplies by Wh on the way back as well",
            changed(_step, dprev_h=_wh_turned),
            hint="forward multiplied the state by Wh from the right: what does a matrix product do on its way back?",
        ),
        Mistake(
            "takes dWh from the new state",
            changed(_step, dWh=_from_the_new_state),
            hint="which state was multiplied by Wh in this step?",
        ),
        Mistake(
            "averages db over the batch",
            changed(_step, db=lambda db, head, inputs: db / len(head)),
            hint="every row of the batch used the same bias, and their gradients add up",
        ),
        Mistake(
            "does not add db up",
            changed(_step, db=lambda db, head, inputs: head * (1 - _step(**inputs) ** 2)),
            hint="db has the shape of b, (H,): which axis has to go?",
        ),
        Mistake(
            "ignores the upstream gradient",
            changed(_step, upstream=lambda head, out, inputs: torch.ones_like(head)),
            hint="every gradient begins with dnext_h",
        ),
    ],
)


# A whole sequence.


def _sequence(x, h0, Wx, Wh, b):
    weights = [Wx.T.contiguous(), Wh.T.contiguous(), b, _no_bias(b)]
    return torch.rnn_tanh(x.contiguous(), h0[None].contiguous(), weights, True, 1, 0.0, False, False, True)[0]


def _unrolled(carry=lambda state, h0: state, weights=lambda t, Wx, Wh, b: (Wx, Wh, b)):
    """The sequence step by step; ``carry`` makes of a state what the next step is given."""

    def layer(x, h0, Wx, Wh, b):
        states, state = [], h0
        for t in range(x.shape[1]):
            state = _step(x[:, t], state, *weights(t, Wx, Wh, b))
            states.append(state)
            state = carry(state, h0)
        return torch.stack(states, dim=1)

    return layer


def sequence_case(name, N, T, D, H, dh=None, **scales):
    weights = {"Wx": normal(D, H, std=scales.get("Wx", 0.6)), "Wh": normal(H, H, std=scales.get("Wh", 0.6))}
    return Case(name, x=normal(N, T, D), h0=normal(N, H), **weights, b=normal(H), dh=dh or normal(N, T, H))


def last_step_only(N, T, H):
    """Describe an upstream gradient that is 0 but for the last step, as when only the last state is used."""
    return drawn(lambda g: torch.randn(N, T, H, generator=g, dtype=torch.float64) * (torch.arange(T)[:, None] == T - 1))


def _weight_gradient(name, step):
    """The gradient that one use of a weight, at one step, brings."""

    def change(gradient, head, inputs):
        copies = {**inputs, name: inputs[name].expand(head.shape[1], *inputs[name].shape)}

        def pick(t, Wx, Wh, b):
            given = {"Wx": Wx, "Wh": Wh, "b": b}
            return ({**given, name: given[name][t]}).values()

        return differentiate(_unrolled(weights=pick), copies, head)[1][f"d{name}"][step]

    return change


def _one_step_short(dh0, head, inputs):
    """The gradient of the first state that was computed, in place of that of the state before it."""
    first = _step(inputs["x"][:, 0], inputs["h0"], inputs["Wx"], inputs["Wh"], inputs["b"])
    if head.shape[1] == 1:
        return head[:, 0]
    rest = {**inputs, "x": inputs["x"][:, 1:], "h0": first}
    return head[:, 0] + differentiate(_sequence, rest, head[:, 1:])[1]["dh0"]


def _only_last(head, out, inputs):
    return torch.cat([torch.zeros_like(head[:, :-1]), head[:, -1:]], dim=1)


def _of_one_step(step):
    return {f"d{name}": _weight_gradient(name, step) for name in ("Wx", "Wh", "b")}


rnn_sequence = ForwardBackward(
    functions=("rnn_forward", "rnn_backward"),
    reference=_sequence,
    cases=[
        sequence_case("2 sequences of 4 steps", 2, 4, 3, 5),
        sequence_case("a gradient at the last step only", 3, 3, 2, 4, last_step_only(3, 3, 4)),
        sequence_case("one step", 2, 1, 3, 4),
    ],
    upstream={"h": "dh"},
    points={"h": 3, "dx": 2, "dh0": 1, "dWx": 1, "dWh": 1, "db": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "starts from zeros instead of h0",
            lambda x, h0, Wx, Wh, b: _sequence(x, torch.zeros_like(h0), Wx, Wh, b),
            hint="which state does the first step start from?",
        ),
        Mistake(
            "starts every step from h0",
            _unrolled(carry=lambda state, h0: h0),
            hint="a step starts from the state that the step before it has left",
        ),
        Mistake(
            "reads the sequence from its end",
            lambda x, h0, Wx, Wh, b: _sequence(x.flip(1), h0, Wx, Wh, b).flip(1),
            hint="forward runs from the first step to the last; only backward turns round",
        ),
        Mistake(
            "leaves the last state out and puts h0 in front",
            lambda x, h0, Wx, Wh, b: torch.cat([h0[:, None], _sequence(x, h0, Wx, Wh, b)[:, :-1]], dim=1),
            hint="h[:, 0] is the state after the first step; h0 is not part of h",
        ),
        Mistake(
            "puts time in front of the batch",
            changed(_sequence, output=lambda out: out.transpose(0, 1)),
            hint="axis 0 counts the sequences, axis 1 the steps: along which axis do you stack?",
        ),
        Mistake(
            "returns the last state only",
            changed(_sequence, output=lambda out: out[:, -1]),
            hint="h holds the states after all T steps",
        ),
        Mistake(
            "leaves the bias out",
            lambda x, h0, Wx, Wh, b: _sequence(x, h0, Wx, Wh, _no_bias(b)),
            hint="every step adds b; does your rnn_step_forward?",
        ),
        Mistake(
            "forgets the gradient that comes from later steps",
            changed(_sequence, _unrolled(carry=lambda state, h0: state.detach())),
            hint="a state goes two ways, up to the output and on to the next step: what comes back on both adds up",
        ),
        Mistake(
            "looks at the upstream gradient of the last step only",
            changed(_sequence, upstream=_only_last),
            hint="dh holds a gradient for every step: where is dh[:, t] added to what comes from step t + 1?",
        ),
        Mistake(
            "keeps the weights' gradient of the first step only",
            changed(_sequence, **_of_one_step(0)),
            hint="all steps share the weights, so their gradients add up over the steps: look at = and +=",
        ),
        Mistake(
            "keeps the weights' gradient of the last step only",
            changed(_sequence, **_of_one_step(-1)),
            hint="all steps share the weights, so their gradients add up over the steps",
        ),
        Mistake(
            "averages over the steps",
            changed(
                _sequence,
                **{name: lambda value, head, inputs: value / head.shape[1] for name in ("dWx", "dWh", "db")},
            ),
            hint="the gradients of the steps add up, and nothing is divided",
        ),
        Mistake(
            "returns dx from the last step to the first",
            changed(_sequence, dx=lambda dx, head, inputs: dx.flip(1)),
            hint="backward meets the last step first: in which order do you collect?",
        ),
        Mistake(
            "stops one step short of h0",
            changed(_sequence, dh0=_one_step_short),
            hint="h0 lies before the first step: what you return must have gone back through that step as well",
        ),
        Mistake(
            "ignores the upstream gradient",
            changed(_sequence, upstream=lambda head, out, inputs: torch.ones_like(head)),
            hint="dh[:, t] is what comes from above at step t",
        ),
    ],
)
