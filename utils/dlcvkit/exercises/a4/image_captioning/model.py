"""The captioning net: its loss and all gradients, with weights loaded."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Mistake, Module, drawn, normal
from dlcvkit.exercises.a4.image_captioning.recurrence import attention_lstm_by_torch, lstm_cell

_PAD, _START, _END = 0, 1, 2


def _states(cell_type, x, h0, places, weights):
    if cell_type == "attention":
        rest = [weights[name] for name in ("Wx", "Wh", "Wa", "b")]
        return attention_lstm_by_torch(x, h0, places, *rest)[0]
    w = weights["Wx"], weights["Wh"], weights["b"]
    h, c, outs = h0, torch.zeros_like(h0), []
    for t in range(x.shape[1]):
        if cell_type == "rnn":
            h = torch.rnn_tanh_cell(x[:, t], h, w[0].T, w[1].T, w[2], torch.zeros_like(w[2]))
        else:
            h, c = lstm_cell(x[:, t], h, c, *w)
        outs.append(h)
    return torch.stack(outs, 1)


def _loss(
    init,
    weights,
    features,
    captions,
    *,
    first="mean",
    shift=1,
    masked=True,
    reduction="batch",
    masks="pad",
    stops=None,
):
    """The loss; each keyword switches a mistake on."""
    places = features @ weights["W_proj"] + weights["b_proj"]
    seen = places.detach() if stops == "start" else places
    h0 = {"mean": seen.mean(1), "sum": seen.sum(1), "zero": torch.zeros_like(seen[:, 0]), "place": seen[:, 0]}[first]
    words, y = (captions[:, :-1], captions[:, 1:]) if shift else (captions, captions)
    x = weights["W_embed"][words]
    h = _states(init["cell_type"], x, h0, places.detach() if stops == "places" else places, weights)
    scores = h @ weights["W_vocab"] + weights["b_vocab"]
    each = functional.cross_entropy(scores.flatten(0, 1), y.flatten(), reduction="none").reshape(y.shape)
    unwanted = {"pad": y == _PAD, "input": words == _PAD, "end": (y == _PAD) | (y == _END)}[masks]
    each = each.masked_fill(unwanted, 0) if masked else each
    if reduction == "words":
        return each.sum() / (y != _PAD).sum()
    return each.sum() if reduction == "sum" else each.mean() if reduction == "steps" else each.sum() / len(y)


def _answers(**flags):
    def reference(init, params, features, captions):
        trained = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        variable = features.detach().clone().requires_grad_()
        with torch.enable_grad():
            loss = _loss(init, trained, variable, captions, **flags)
            like = [variable, *trained.values()]
            found = torch.autograd.grad(loss, like, allow_unused=True)
        found = [torch.zeros_like(v) if g is None else g for v, g in zip(like, found, strict=True)]
        return loss.detach(), dict(zip(trained, found[1:], strict=True)), found[0]

    return reference


def _use(net, features, captions):
    return net.loss(features, captions)


def draw_captions(N, T, V, *, full=False):
    """Describe captions (N, T): <start>, words, <end>, <pad>; the first fills its row, the others may be shorter."""

    def draw(g):
        rows = torch.randint(3, V, (N, T), generator=g)
        rows[:, 0] = _START
        lengths = torch.randint(2, T + 1, (N,), generator=g)
        lengths[0] = T
        if N > 1:
            lengths[1] = T if full else 2
        steps = torch.arange(T)
        rows[steps == lengths[:, None] - 1] = _END
        return rows.masked_fill(steps >= lengths[:, None], _PAD)

    return drawn(draw)


def net_weights(cell_type, V, D, E, H):
    """Describe the weights of a captioning net by name."""
    G = H if cell_type == "rnn" else 4 * H
    weights = {
        "W_proj": normal(D, H, std=D**-0.5),
        "b_proj": normal(H, std=0.5),
        "W_embed": normal(V, E),
        "Wx": normal(E, G, std=E**-0.5),
        "Wh": normal(H, G, std=H**-0.5),
        "b": normal(G, std=0.5),
        "W_vocab": normal(H, V),
        "b_vocab": normal(V, std=0.5),
    }
    return weights | ({"Wa": normal(H, G, std=H**-0.5)} if cell_type == "attention" else {})


def net_init(cell_type, V, D, E, H):
    """Return the arguments of the constructor."""
    return {"cell_type": cell_type, "vocab_size": V, "feature_dim": D, "embed_dim": E, "hidden_dim": H}


def model_case(name, cell_type, N, L, T, V, D, E, H, std=1.0, full=False):
    """Describe pictures (N, L, D) with captions (N, T)."""
    return Case(
        name,
        init=net_init(cell_type, V, D, E, H),
        params=net_weights(cell_type, V, D, E, H),
        features=normal(N, L, D, std=std),
        captions=draw_captions(N, T, V, full=full),
    )


captioning_rnn = Module(
    functions=("CaptioningRNN",),
    reference=_answers(),
    call=_use,
    cases=[
        model_case("rnn", "rnn", 3, 4, 5, 7, 2, 3, 6),
        model_case("lstm", "lstm", 2, 3, 4, 6, 5, 2, 3),
        model_case("attention", "attention", 3, 5, 4, 7, 4, 3, 2),
    ],
    points={"loss": 2, "gradients": 3, "dfeatures": 1},
    mistakes=[
        Mistake("counts padding", _answers(masked=False), hint="which of the target words are no words?"),
        Mistake(
            "masks where the input is <pad> instead of the target",
            _answers(masks="input"),
            hint="the mask belongs to the words that are to be predicted",
        ),
        Mistake("does not count <end>", _answers(masks="end"), hint="to stop is to be learned as well"),
        Mistake(
            "averages over the words",
            _answers(reduction="words"),
            hint="the sum over the words of a caption, the mean over the captions",
        ),
        Mistake(
            "averages over steps and captions",
            _answers(reduction="steps"),
            hint="the sum over the words of a caption, the mean over the captions",
        ),
        Mistake(
            "adds up over the batch",
            _answers(reduction="sum"),
            hint="the sum over the words of a caption, the mean over the captions",
        ),
        Mistake(
            "predicts the word that went in",
            _answers(shift=0),
            hint="the target of a step is the word after the one that goes in",
        ),
        Mistake(
            "sends no gradient from the first state to the places",
            _answers(stops="start"),
            hint="places are used for the first state and, with attention, in every step: two gradients add up",
        ),
        Mistake(
            "starts with a state of zeros", _answers(first="zero"), hint="how does the picture get in at the start?"
        ),
        Mistake(
            "starts with the first place instead of the mean of all",
            _answers(first="place"),
            hint="how does the picture get in at the start?",
        ),
        Mistake("adds the places up for the first state", _answers(first="sum"), hint="a mean is wanted, not a sum"),
        Mistake(
            "sends no gradient from attention to the places",
            _answers(stops="places"),
            hint="places are used for the first state and, with attention, in every step: two gradients add up",
        ),
    ],
)
