"""The captioning net at work: word after word, greedily."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Mistake, Module, drawn, integers, normal
from dlcvkit.exercises.a4.image_captioning.attending import attend
from dlcvkit.exercises.a4.image_captioning.model import net_init, net_weights
from dlcvkit.exercises.a4.image_captioning.recurrence import lstm_cell

_PAD, _START, _END = 0, 1, 2


def _ask(net, features, words, max_length):
    state = net.start(features)
    found = []
    for t in range(words.shape[1]):
        log_probs, state = net.step(state, words[:, t])
        found.append(log_probs)
    # What belongs to one picture stands in one row: turned round, the state belongs to the pictures turned round.
    turned = tuple(part.flip(0) for part in state)
    found.append(net.step(turned, words[:, 0].flip(0))[0])
    tokens, weights = net.sample(features, max_length)
    return torch.stack(found, 1), tokens, weights


def _start(features, params, first):
    places = features @ params["W_proj"] + params["b_proj"]
    h = places.mean(1) if first == "mean" else torch.zeros_like(places[:, 0])
    return h, torch.zeros_like(h), places


def _step(init, params, state, tokens, *, carries=True, output="log", query="before"):
    h, c, places = state
    x, rest = params["W_embed"][tokens], (params["Wh"], params["b"])
    weights = None
    if init["cell_type"] == "rnn":
        wx, (wh, b) = params["Wx"], rest
        h = torch.rnn_tanh_cell(x, h, wx.T, wh.T, b, torch.zeros_like(b))
    elif init["cell_type"] == "lstm":
        h, c = lstm_cell(x, h, c, params["Wx"], *rest)
    else:
        context, weights = attend(h, places)
        h, c = lstm_cell(torch.cat([x, context], 1), h, c, torch.cat([params["Wx"], params["Wa"]]), *rest)
        weights = attend(h, places)[1] if query == "after" else weights
    scores = h @ params["W_vocab"] + params["b_vocab"]
    out = scores if output == "scores" else scores.softmax(1) if output == "probabilities" else scores.log_softmax(1)
    return out, (h, c if carries else torch.zeros_like(c), places), weights


def _answers(
    *,
    first="mean",
    begins=_START,
    feeds="last",
    fills=True,
    filler=_PAD,
    all_stop=False,
    clears=True,
    hides_end=False,
    **flags,
):
    """Answers of a net at work; each keyword switches a mistake on."""

    def reference(init, params, features, words, max_length):
        state = _start(features, params, first)
        found = []
        for t in range(words.shape[1]):
            log_probs, state, _ = _step(init, params, state, words[:, t], **flags)
            found.append(log_probs)
        turned = tuple(part.flip(0) for part in state)
        found.append(_step(init, params, turned, words[:, 0].flip(0), **flags)[0])
        state = _start(features, params, first)
        tokens = features.new_full((len(features),), begins, dtype=torch.int64)
        is_over = torch.zeros_like(tokens, dtype=torch.bool)
        caption, looks = [], []
        for _ in range(max_length):
            log_probs, state, weights = _step(init, params, state, tokens, **flags)
            chosen = log_probs.argmax(1)
            chosen = chosen.masked_fill(is_over, filler) if fills else chosen
            if weights is not None:
                looks.append(weights.masked_fill(is_over[:, None], 0) if clears else weights)
            is_over = is_over | (chosen == _END)
            is_over = is_over | is_over.any() if all_stop else is_over
            caption.append(chosen.masked_fill(chosen == _END, _PAD) if hides_end else chosen)
            tokens = tokens if feeds == "start" else chosen
        return torch.stack(found, 1), torch.stack(caption, 1), torch.stack(looks, 1) if looks else None

    return reference


def asking_case(name, cell_type, N, L, V, D, E, H, *, max_length=6, T=3, std=1.5, end=2.0):
    """Describe pictures (N, L, D), words (N, T) to be fed, and what the score of <end> has on top."""
    params = net_weights(cell_type, V, D, E, H)
    params["W_vocab"] = normal(H, V, std=3.0)
    params["W_embed"] = normal(V, E, std=2.0)
    params["b_vocab"] = drawn(
        lambda g: torch.randn(V, generator=g, dtype=torch.float64) * 0.5 + end * (torch.arange(V) == _END)
    )
    return Case(
        name,
        init=net_init(cell_type, V, D, E, H),
        params=params,
        features=normal(N, L, D, std=std),
        words=integers(N, T, high=V),
        max_length=max_length,
    )


captioner = Module(
    functions=("Captioner",),
    reference=_answers(),
    call=_ask,
    cases=[
        asking_case("rnn", "rnn", 6, 3, 5, 3, 3, 4),
        asking_case("lstm", "lstm", 6, 2, 5, 4, 2, 3),
        asking_case("attention", "attention", 8, 4, 5, 3, 4, 3),
    ],
    points={"log_probs": 2, "tokens": 2, "weights": 1},
    mistakes=[
        Mistake(
            "returns scores",
            _answers(output="scores"),
            hint="which of the three: scores, probabilities, their logarithms?",
        ),
        Mistake(
            "returns probabilities",
            _answers(output="probabilities"),
            hint="which of the three: scores, probabilities, their logarithms?",
        ),
        Mistake("starts with a state of zeros", _answers(first="zero"), hint="the first state is that of the loss"),
        Mistake(
            "does not carry the cell state along", _answers(carries=False), hint="what belongs to the state of an LSTM?"
        ),
        Mistake("starts with <pad>", _answers(begins=_PAD), hint="which word is fed first?"),
        Mistake("feeds <start> again and again", _answers(feeds="start"), hint="which word is fed in the next step?"),
        Mistake("goes on behind <end>", _answers(fills=False, clears=False), hint="what comes behind <end>?"),
        Mistake("fills up with <end>", _answers(filler=_END), hint="what comes behind <end>?"),
        Mistake(
            "stops all captions as soon as one ends",
            _answers(all_stop=True),
            hint="each picture's caption ends for itself",
        ),
        Mistake("leaves <end> out", _answers(hides_end=True), hint="<end> is part of what the net says"),
        Mistake(
            "returns weights of steps behind <end>",
            _answers(clears=False),
            hint="there is nothing to look for behind <end>: weights are 0 there",
        ),
        Mistake(
            "returns the weights that the state after the step would give",
            _answers(query="after"),
            hint="the weights are those of the look that was taken before the word was said",
        ),
    ],
)
