"""The LSTM that looks at a picture before each step."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, ForwardBackward, Mistake, normal
from dlcvkit.exercises.a4.image_captioning.attending import attend


def lstm_cell(x, h, c, w_in, w_state, b):
    """Return the next h and c by torch, whose gates are i, f, g, o where ours are i, f, o, g."""
    weights = []
    for weight in (w_in.T, w_state.T, b):
        i, f, o, g = weight.chunk(4)
        weights.append(torch.cat([i, f, g, o]))
    return torch.lstm_cell(x, (h, c), *weights, torch.zeros_like(b))


def attention_lstm_by_torch(
    x,
    h0,
    places,
    Wx,
    Wh,
    Wa,
    b,
    *,
    query="before",
    cell="zero",
    context="places",
    stops=None,
    weights_of="all",
):
    """The attention LSTM; each keyword switches a mistake on.

    ``stops`` names where no gradient is let through from step to step: the query, h, c, or the places of all steps but
    one. ``weights_of`` names the steps whose weights get a gradient.
    """
    h = h0
    c = torch.zeros_like(h0) if cell == "zero" else h0 if cell == "h0" else torch.ones_like(h0)
    mean = places.mean(1)
    T = x.shape[1]
    outs, attention = [], []
    for t in range(T):
        seen = (
            places.detach()
            if (stops == "places but first" and t) or (stops == "places but last" and t < T - 1)
            else places
        )
        q = h0 if query == "h0" else h
        q = q.detach() if stops == "query" else q
        found, weights = attend(q, seen)
        found = mean if context == "mean" else torch.zeros_like(found) if context == "none" else found
        together = torch.cat([x[:, t], found], 1)
        both = torch.cat([Wx, Wa])
        state = Wh, b
        if (weights_of == "first" and t) or (weights_of == "last" and t < T - 1):
            both, state = both.detach(), tuple(each.detach() for each in state)
        before = h.detach() if stops == "h" else h
        h, c = lstm_cell(together, before, c.detach() if stops == "c" else c, both, *state)
        if query == "after":
            weights = attend(h, places)[1]
        outs.append(h)
        attention.append(weights)
    return torch.stack(outs, 1), torch.stack(attention, 1)


def _with(**flags):
    return lambda x, h0, places, Wx, Wh, Wa, b: attention_lstm_by_torch(x, h0, places, Wx, Wh, Wa, b, **flags)


def recurrence_case(name, N, T, L, E, H, std=1.0):
    """Describe words (N, T, E), a first state (N, H), places (N, L, H), weights, and the gradient of all h."""
    return Case(
        name,
        x=normal(N, T, E, std=std),
        h0=normal(N, H, std=std),
        places=normal(N, L, H, std=std),
        Wx=normal(E, 4 * H, std=E**-0.5),
        Wh=normal(H, 4 * H, std=H**-0.5),
        Wa=normal(H, 4 * H, std=H**-0.5),
        b=normal(4 * H, std=0.5),
        dh=normal(N, T, H),
    )


attention_lstm = ForwardBackward(
    functions=("attention_lstm_forward", "attention_lstm_backward"),
    reference=attention_lstm_by_torch,
    upstream={"h": "dh"},
    cases=[
        recurrence_case("3 steps", 2, 3, 5, 3, 4),
        recurrence_case("as many words as features of a state", 3, 4, 2, 3, 3),
    ],
    points={"h": 1, "weights": 1, "dx": 1, "dh0": 1, "dplaces": 1, "dWx": 1, "dWh": 1, "dWa": 1, "db": 1},
    mistakes=[
        Mistake("looks at the picture with h0 at every step", _with(query="h0"), hint="which state asks in step t?"),
        Mistake(
            "returns the weights that the state after the step would give",
            _with(query="after"),
            hint="the weights are those of the look that was taken before the step",
        ),
        Mistake("starts the cell state at h0", _with(cell="h0"), hint="with what does the cell state start?"),
        Mistake("starts the cell state at 1", _with(cell="ones"), hint="with what does the cell state start?"),
        Mistake("ignores the context", _with(context="none"), hint="the context goes in beside the word, through Wa"),
        Mistake(
            "takes the mean of the places for the context",
            _with(context="mean"),
            hint="the context is what attention gives, not the plain mean",
        ),
        Mistake(
            "forgets the gradient that reaches the state as a query",
            _with(stops="query"),
            hint="each state is used three times: in the output, in the next step, and as the query of the next look",
        ),
        Mistake(
            "forgets the gradient that reaches the state through the next step",
            _with(stops="h"),
            hint="each state is used three times: in the output, in the next step, and as the query of the next look",
        ),
        Mistake("does not carry the gradient of the cell state", _with(stops="c"), hint="c has a past as well as h"),
        Mistake(
            "keeps the gradient of the places of the first step only",
            _with(stops="places but first"),
            hint="the same places are looked at in every step: gradients add up",
        ),
        Mistake(
            "keeps the gradient of the places of the last step only",
            _with(stops="places but last"),
            hint="the same places are looked at in every step: gradients add up",
        ),
        Mistake(
            "keeps the gradient of the weights of the first step only",
            _with(weights_of="first"),
            hint="the same weights are used in every step: gradients add up",
        ),
        Mistake(
            "keeps the gradient of the weights of the last step only",
            _with(weights_of="last"),
            hint="the same weights are used in every step: gradients add up",
        ),
    ],
)
