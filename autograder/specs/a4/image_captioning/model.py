"""The captioning net: its loss, and asking it."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit import sequences
from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.image_captioning.asking import asking_case
from dlcvkit.exercises.a4.image_captioning.model import model_case

PAD, START, END = 0, 1, 2


class _Weights:
    """Weights by name, as the notebook's own constructor makes them."""

    def __init__(self, cell_type, vocab_size, feature_dim, embed_dim, hidden_dim, seed=0):
        V, D, E, H = vocab_size, feature_dim, embed_dim, hidden_dim
        G = H if cell_type == "rnn" else 4 * H
        shapes = {"W_proj": (D, H), "b_proj": (H,), "W_embed": (V, E), "Wx": (E, G), "Wh": (H, G), "b": (G,)}
        shapes |= {"W_vocab": (H, V), "b_vocab": (V,)} | ({"Wa": (H, G)} if cell_type == "attention" else {})
        self.cell_type = cell_type
        self.params = {name: torch.zeros(shape) for name, shape in shapes.items()}


def _cell(cell_type, p, x, h, c, places):
    """Take a step, written out; return h, c and the attention weights."""
    gates = x @ p["Wx"] + h @ p["Wh"] + p["b"]
    if cell_type == "rnn":
        return gates.tanh(), c, None
    weights = None
    if cell_type == "attention":
        weights = torch.einsum("nlh,nh->nl", places, h).div(h.shape[1] ** 0.5).softmax(1)
        gates = gates + torch.einsum("nl,nlh->nh", weights, places) @ p["Wa"]
    i, f, o, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c, weights


def _net(fault=""):
    class CaptioningRNN(_Weights):
        def loss(self, features, captions):
            if fault == "changes the features":
                features += 1
            with torch.enable_grad():
                variable = features.detach().clone().requires_grad_()
                p = {name: value.detach().clone().requires_grad_() for name, value in self.params.items()}
                loss = self._forward(p, variable, captions)
                like = [variable, *p.values()]
                found = torch.autograd.grad(loss, like, allow_unused=True)
            found = [torch.zeros_like(v) if g is None else g for v, g in zip(like, found, strict=True)]
            grads, dfeatures = dict(zip(p, found[1:], strict=True)), found[0]
            if fault == "grads without W_proj":
                del grads["W_proj"]
            if fault == "gradient of the places":
                dfeatures = dfeatures * features.shape[1]
            if fault == "grads of h0 not divided by L":
                grads["b_proj"] = grads["b_proj"] * features.shape[1]
            if fault == "embedding of repeated words overwritten":
                grads["W_embed"] = grads["W_embed"].clamp(-0.05, 0.05)
            if fault == "returns None":
                return None
            if fault == "two results":
                return loss.detach(), grads
            if fault == "mean gradients":
                grads = {name: g / len(features) for name, g in grads.items()}
            return loss.detach(), grads, dfeatures

        def _forward(self, p, features, captions):
            places = features @ p["W_proj"] + p["b_proj"]
            if fault == "ReLU on the places":
                places = places.relu()
            if fault == "no bias of the projection":
                places = features @ p["W_proj"]
            h = places.amax(1) if fault == "maximum of the places" else places.mean(1)
            h = h.tanh() if fault == "tanh of the first state" else h
            c = h if fault == "cell state starts at h0" else torch.zeros_like(h)
            words, y = captions[:, :-1], captions[:, 1:]
            if fault == "the last word is not predicted":
                words, y = captions[:, :-2], captions[:, 1:-1]
            if fault == "<start> is not fed":
                words, y = captions[:, 1:-1], captions[:, 2:]
            x = p["W_embed"][words]
            x = x.tanh() if fault == "tanh of the words" else x
            states = []
            kind = "lstm" if fault == "never looks" and self.cell_type == "attention" else self.cell_type
            for t in range(x.shape[1]):
                h, c, _ = _cell(kind, p, x[:, t], h, c, places)
                states.append(h)
            scores = torch.stack(states, 1) @ p["W_vocab"] + p["b_vocab"]
            each = functional.cross_entropy(scores.transpose(1, 2), y, reduction="none")
            if fault == "only the first caption's mask":
                return (each * (y[:1] != PAD)).sum() / len(y)
            if fault == "per caption the mean of its words":
                mask = y != PAD
                return ((each * mask).sum(1) / mask.sum(1)).mean()
            return (each * (y != PAD)).sum() / len(y)

    return CaptioningRNN


class _ByHand(_Weights):
    """All pairs by hand, with steps for every cell type."""

    def loss(self, features, captions):
        p, N, L = self.params, *features.shape[:2]
        places = torch.einsum("nld,dh->nlh", features, p["W_proj"]) + p["b_proj"]
        with torch.enable_grad():
            start = places.detach().requires_grad_()
            own = {name: p[name].detach().requires_grad_() for name in p if name not in ("W_proj", "b_proj")}
            h, total = start.sum(1) / L, 0
            c = torch.zeros_like(h)
            for t in range(captions.shape[1] - 1):
                h, c, _ = _cell(self.cell_type, own, own["W_embed"][captions[:, t]], h, c, start)
                log_probs = (h @ own["W_vocab"] + own["b_vocab"]).log_softmax(1)
                picked = log_probs.gather(1, captions[:, t + 1 : t + 2])[:, 0]
                total = total - picked[captions[:, t + 1] != PAD].sum()
            loss = total / N
            dplaces, *found = torch.autograd.grad(loss, [start, *own.values()])
        grads = dict(zip(own, found, strict=True))
        grads["W_proj"] = torch.einsum("nld,nlh->dh", features, dplaces)
        grads["b_proj"] = dplaces.sum((0, 1))
        return loss.detach(), grads, dplaces @ p["W_proj"].T


captioning_rnn = Hidden(
    cases=[
        *(model_case(f"{cell}, one picture", cell, 1, 3, 5, 6, 2, 3, 4) for cell in ("rnn", "lstm", "attention")),
        *(model_case(f"{cell}, one place", cell, 3, 1, 4, 6, 3, 2, 3) for cell in ("rnn", "attention")),
        *(model_case(f"{cell}, <end> alone", cell, 2, 3, 2, 5, 3, 2, 3) for cell in ("lstm", "attention")),
        model_case("attention, no padding", "attention", 2, 3, 5, 6, 3, 2, 3, full=True),
        model_case("rnn, sizes of 1", "rnn", 2, 2, 3, 4, 1, 1, 1),
        model_case("attention, sizes of 1", "attention", 2, 2, 3, 4, 1, 1, 1),
        model_case("lstm, equal sizes", "lstm", 4, 4, 4, 4, 4, 4, 4),
        model_case("attention, equal sizes", "attention", 4, 4, 4, 4, 4, 4, 4),
        model_case("attention, long", "attention", 3, 4, 15, 7, 3, 3, 3),
        model_case("rnn, large features", "rnn", 2, 3, 4, 6, 3, 2, 3, std=1e3),
        *(model_case(f"{c}, non-contiguous", c, 3, 4, 5, 6, 3, 2, 3).strided() for c in ("rnn", "lstm", "attention")),
        *(model_case(f"{c}, float32", c, 3, 4, 5, 6, 3, 2, 3).float32() for c in ("rnn", "lstm", "attention")),
    ],
    mutants={
        fault: _net(fault)
        for fault in (
            "changes the features",
            "grads without W_proj",
            "gradient of the places",
            "grads of h0 not divided by L",
            "embedding of repeated words overwritten",
            "returns None",
            "two results",
            "mean gradients",
            "ReLU on the places",
            "no bias of the projection",
            "maximum of the places",
            "tanh of the first state",
            "cell state starts at h0",
            "the last word is not predicted",
            "<start> is not fed",
            "tanh of the words",
            "never looks",
            "only the first caption's mask",
            "per caption the mean of its words",
        )
    },
    solutions={"one graph": _net(), "step by step, the projection by hand": _ByHand},
)


def _captioner(fault=""):
    class Captioner(_Weights):
        def start(self, features):
            places = features @ self.params["W_proj"] + self.params["b_proj"]
            h = places.amax(1) if fault == "maximum of the places" else places.mean(1)
            c = h if fault == "cell state starts at h0" else torch.zeros_like(h)
            if fault == "keeps the state to itself":
                self.h = h
            return (h, c) if fault == "state without places" else (h, c, places)

        def step(self, state, tokens):
            p = self.params
            if fault == "state without places":
                h, c, places = *state, torch.zeros_like(state[0])[:, None]
            else:
                h, c, places = state
            if fault == "keeps the state to itself":
                h = self.h
            x = p["W_embed"][tokens]
            new, c, _ = _cell(self.cell_type, p, x, h, c, places)
            self.h = new
            scores = new @ p["W_vocab"] + p["b_vocab"]
            scores[:, PAD] -= 1e3 if fault == "never says <pad>" else 0.0
            log_probs = scores.log_softmax(0 if fault == "softmax over the pictures" else 1)
            new = h if fault == "returns the old state" else new
            return log_probs, (new, c) if fault == "state without places" else (new, c, places)

        def sample(self, features, max_length):
            state, N = self.start(features), len(features)
            words = torch.full((N,), START, device=features.device)
            over = torch.zeros(N, dtype=torch.bool, device=features.device)
            tokens, looks = [], []
            for _ in range(max_length - (fault == "one step too few")):
                h, c, places = state if len(state) == 3 else (*state, state[0][:, None])
                looks.append(_cell(self.cell_type, self.params, self.params["W_embed"][words], h, c, places)[2])
                log_probs, state = self.step(state, words)
                words = log_probs.argmin(1) if fault == "least likely" else log_probs.argmax(1)
                words = words.masked_fill(over, PAD)
                if looks[-1] is not None:
                    looks[-1] = looks[-1].masked_fill(over[:, None], 0)
                    if fault == "no weights at <end>":
                        looks[-1] = looks[-1].masked_fill((words == END)[:, None], 0)
                tokens.append(words)
                over = over | (words == END)
                if fault == "<pad> ends a caption":
                    over = over | (words == PAD)
                if fault == "stops when all have ended" and bool(over.all()):
                    break
            tokens = torch.stack(tokens, 1)
            if fault == "starts with <start>":
                tokens = torch.cat([torch.full_like(tokens[:, :1], START), tokens[:, :-1]], 1)
            weights = torch.stack(looks, 1) if self.cell_type == "attention" else None
            if fault == "zero weights instead of None" and weights is None:
                weights = torch.zeros(N, max_length, features.shape[1])
            if fault == "tokens alone":
                return tokens
            return (tokens.float() if fault == "floats" else tokens), weights

    return Captioner


class _ByLists(_Weights):
    """One picture at a time, until it ends; the state is flat."""

    def start(self, features):
        return self._state(features)

    def _state(self, features):
        places = torch.stack([each @ self.params["W_proj"] + self.params["b_proj"] for each in features])
        h = places.sum(1) / features.shape[1]
        # h and c side by side, and the places behind them, flat.
        return (torch.cat([h, 0 * h, places.flatten(1)], 1),)

    def step(self, state, tokens):
        log_probs, state, _ = self._look(state, tokens)
        return log_probs, state

    def _look(self, state, tokens):
        H = self.params["b_proj"].shape[0]
        flat = state[0]
        h, c, places = flat[:, :H], flat[:, H : 2 * H], flat[:, 2 * H :].reshape(len(flat), -1, H)
        h, c, weights = _cell(self.cell_type, self.params, self.params["W_embed"].index_select(0, tokens), h, c, places)
        scores = h @ self.params["W_vocab"] + self.params["b_vocab"]
        return scores - scores.logsumexp(1, keepdim=True), (torch.cat([h, c, places.flatten(1)], 1),), weights

    def sample(self, features, max_length):
        N, L = features.shape[:2]
        tokens = features.new_zeros(N, max_length).long()
        looks = features.new_zeros(N, max_length, L)
        for n in range(N):
            state, word = self.start(features[n : n + 1]), tokens.new_full((1,), START)
            for t in range(max_length):
                log_probs, state, weights = self._look(state, word)
                word = log_probs[0].argmax().reshape(1)
                tokens[n, t] = word[0]
                if weights is not None:
                    looks[n, t] = weights[0]
                if int(word) == END:
                    break
        return tokens, looks if self.cell_type == "attention" else None


class _ByKit(_captioner()):
    """Ready-made steps, and captions masked afterwards."""

    def step(self, state, tokens):
        h, c, places = state
        p, x = self.params, self.params["W_embed"][tokens]
        if self.cell_type == "rnn":
            h, _ = sequences.rnn_step_forward(x, h, p["Wx"], p["Wh"], p["b"])
        elif self.cell_type == "lstm":
            h, c, _ = sequences.lstm_step_forward(x, h, c, p["Wx"], p["Wh"], p["b"])
        else:
            weights = self._weights(state)
            both = torch.cat([(weights[:, None] @ places)[:, 0], x], 1)
            h, c, _ = sequences.lstm_step_forward(both, h, c, torch.cat([p["Wa"], p["Wx"]]), p["Wh"], p["b"])
        return torch.log_softmax(h @ p["W_vocab"] + p["b_vocab"], dim=-1), (h, c, places)

    def _weights(self, state):
        scores = (state[2] @ state[0][:, :, None])[:, :, 0] / state[0].shape[1] ** 0.5
        return scores.softmax(1)

    def sample(self, features, max_length):
        state = self.start(features)
        word = torch.full_like(features[:, 0, 0], START, dtype=torch.int64)
        words, looks = [], []
        for _ in range(max_length):
            looks.append(self._weights(state))
            log_probs, state = self.step(state, word)
            word = log_probs.max(1).indices
            words.append(word)
        tokens, weights = torch.stack(words, 1), torch.stack(looks, 1)
        ended = (tokens == END).cumsum(1)
        behind = (ended - (tokens == END).long()) > 0
        if self.cell_type != "attention":
            return tokens.masked_fill(behind, PAD), None
        return tokens.masked_fill(behind, PAD), weights.masked_fill(behind[:, :, None], 0)


captioner = Hidden(
    cases=[
        *(asking_case(f"{c}, one picture", c, 1, 3, 5, 3, 2, 4) for c in ("rnn", "lstm", "attention")),
        *(asking_case(f"{c}, one step", c, 4, 3, 5, 3, 2, 3, max_length=1) for c in ("rnn", "attention")),
        asking_case("attention, one place", "attention", 3, 1, 5, 3, 2, 3),
        asking_case("lstm, ends at once", "lstm", 4, 2, 5, 3, 2, 3, end=60.0),
        asking_case("attention, ends at once", "attention", 4, 3, 5, 3, 2, 3, end=60.0),
        asking_case("rnn, never ends", "rnn", 4, 2, 5, 3, 2, 3, end=-60.0, max_length=9),
        asking_case("attention, never ends", "attention", 4, 3, 5, 3, 2, 3, end=-60.0, max_length=9),
        asking_case("attention, very long", "attention", 6, 3, 6, 3, 2, 3, end=-1.0, max_length=60),
        asking_case("attention, many pictures", "attention", 40, 3, 5, 3, 3, 4, max_length=8),
        asking_case("lstm, many pictures", "lstm", 40, 3, 5, 3, 3, 4, max_length=8),
        asking_case("lstm, equal sizes", "lstm", 4, 4, 4, 4, 4, 4, max_length=4),
        *(asking_case(f"{c}, non-contiguous", c, 5, 3, 6, 3, 2, 4).strided() for c in ("rnn", "lstm", "attention")),
        *(asking_case(f"{c}, float32", c, 5, 3, 6, 3, 2, 4).float32() for c in ("rnn", "lstm", "attention")),
    ],
    mutants={
        fault: _captioner(fault)
        for fault in (
            "maximum of the places",
            "cell state starts at h0",
            "keeps the state to itself",
            "state without places",
            "never says <pad>",
            "softmax over the pictures",
            "returns the old state",
            "one step too few",
            "least likely",
            "no weights at <end>",
            "<pad> ends a caption",
            "stops when all have ended",
            "starts with <start>",
            "zero weights instead of None",
            "tokens alone",
            "floats",
        )
    },
    solutions={"picture by picture": _ByLists, "ready-made steps": _ByKit},
)
