"""Attention, and the LSTM with attention."""

from __future__ import annotations

import torch

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.image_captioning.attending import attention_case
from dlcvkit.exercises.a4.image_captioning.recurrence import recurrence_case
from dlcvkit.sequences import lstm_step_backward, lstm_step_forward


def _forward(h, places, fault=""):
    scale = places.shape[2] ** -0.5
    scores = (places * h[:, None, :]).sum(2) * scale
    if fault == "clamps the scores":
        scores = scores.clamp(max=30.0)
    top = scores.max() if fault == "subtracts the largest score of all pictures" else scores.amax(1, keepdim=True)
    top = 0.0 if fault == "does not subtract the largest score" else top
    raised = (scores - top).exp()
    weights = raised / (raised.sum(1, keepdim=True) + (1e-3 if fault == "adds to the denominator" else 0.0))
    context = (weights[:, :, None] * places).sum(1)
    if fault == "adds the query":
        context = context + h
    if fault == "changes h":
        h += 1
    return context, weights, (h, places, weights, scale)


def _backward(dcontext, cache, fault=""):
    h, places, weights, scale = cache
    dweights = (places * dcontext[:, None, :]).sum(2)
    inner = (weights * dweights).sum(1, keepdim=True)
    inner = dweights.mean(1, keepdim=True) if fault == "subtracts the plain mean" else inner
    inner = inner.sum(0) if fault == "adds up over pictures" else inner
    dscores = weights * (dweights - inner) * scale
    dscores = -dscores if fault == "wrong sign" else dscores
    dscores = dscores * scale if fault == "scales twice" else dscores
    dh = (dscores[:, :, None] * places).sum(1)
    dplaces = weights[:, :, None] * dcontext[:, None, :] + dscores[:, :, None] * h[:, None, :]
    if fault == "uses the context for h":
        dplaces = weights[:, :, None] * dcontext[:, None, :] + dscores[:, :, None] * dcontext[:, None, :]
    if fault == "exchanged":
        return dplaces, dh
    return dh, dplaces


def _pair(fault=""):
    def dot_product_attention_forward(h, places):
        return _forward(h, places, fault)

    def dot_product_attention_backward(dcontext, cache):
        return _backward(dcontext, cache, fault)

    return dot_product_attention_forward, dot_product_attention_backward


def _forward_by_products(h, places):
    query = h / places.shape[-1] ** 0.5
    scores = torch.bmm(places, query.unsqueeze(2)).squeeze(2)
    weights = (scores - scores.logsumexp(1, keepdim=True)).exp()
    return torch.bmm(weights.unsqueeze(1), places).squeeze(1), weights, (query, h, places, weights)


def _backward_by_products(dcontext, cache):
    query, h, places, weights = cache
    context = torch.bmm(weights.unsqueeze(1), places).squeeze(1)
    # d weights - mean of d weights is (place - context) . dcontext
    dscores = weights * torch.bmm(places - context[:, None], dcontext.unsqueeze(2)).squeeze(2)
    dquery = torch.bmm(dscores.unsqueeze(1), places).squeeze(1)
    dplaces = torch.bmm(weights.unsqueeze(2), dcontext.unsqueeze(1)) + torch.bmm(
        dscores.unsqueeze(2), query.unsqueeze(1)
    )
    return dquery / h.shape[1] ** 0.5, dplaces


def _forward_one_by_one(h, places):
    contexts, weights = [], []
    for query, each in zip(h, places, strict=True):
        scores = each @ query / query.numel() ** 0.5
        raised = torch.exp(scores - scores.max())
        weights.append(raised / raised.sum())
        contexts.append(weights[-1] @ each)
    return torch.stack(contexts), torch.stack(weights), [h, places, torch.stack(weights)]


def _backward_one_by_one(dcontext, cache):
    dhs, dplaces = [], []
    for query, each, weights, dz in zip(*cache, dcontext, strict=True):
        jacobian = weights.diag() - torch.outer(weights, weights)
        dscores = jacobian @ (each @ dz) / query.numel() ** 0.5
        dhs.append(each.T @ dscores)
        dplaces.append(torch.outer(weights, dz) + torch.outer(dscores, query))
    return torch.stack(dhs), torch.stack(dplaces)


dot_product_attention = Hidden(
    cases=[
        attention_case("one picture", 1, 4, 3),
        attention_case("one place", 3, 1, 4),
        attention_case("one feature", 3, 4, 1),
        attention_case("many places", 2, 49, 5),
        attention_case("long vectors", 2, 3, 64),
        attention_case("scores in the hundreds of thousands", 3, 5, 4, std=500.0),
        attention_case("small numbers", 3, 4, 5, std=1e-3),
        attention_case("non-contiguous", 3, 4, 5).strided(),
        attention_case("float32", 4, 6, 3).float32(),
    ],
    mutants={
        fault: _pair(fault)
        for fault in (
            "clamps the scores",
            "subtracts the largest score of all pictures",
            "does not subtract the largest score",
            "adds to the denominator",
            "adds the query",
            "changes h",
            "subtracts the plain mean",
            "adds up over pictures",
            "wrong sign",
            "scales twice",
            "uses the context for h",
            "exchanged",
        )
    },
    solutions={
        "batched products": (_forward_by_products, _backward_by_products),
        "one by one": (_forward_one_by_one, _backward_one_by_one),
    },
    equivalent={"dot_product_attention_forward: h.shape[1] -> h.shape[-1]": "h has two axes"},
)


def _run(x, h0, places, Wx, Wh, Wa, b, fault=""):
    W = torch.cat([Wa, Wx] if fault == "exchanges Wa and Wx" else [Wx, Wa])
    h, c = h0, torch.zeros_like(h0)
    states, looks, caches = [], [], []
    for t in range(x.shape[1]):
        context, weights, look = _forward(c if fault == "the cell state asks" else h, places)
        context = h + context if fault == "adds the state to the context" else context
        word = x[:, 0] if fault == "always the first word" else x[:, t]
        h, c, step = lstm_step_forward(torch.cat([word, context], 1), h, c, W, Wh, b)
        states.append(c if fault == "returns cell states" else h)
        looks.append(weights)
        caches.append((look, step))
    states = [h0, *states[:-1]] if fault == "returns the states before" else states
    return torch.stack(states, 1), torch.stack(looks, 1), (caches, x.shape[2])


def _run_back(dh, cache, fault=""):
    caches, E = cache
    carried = torch.zeros_like(dh[:, 0])
    dc, dquery, dplaces = torch.zeros_like(carried), torch.zeros_like(carried), 0
    dx, total = [], [0, 0, 0]
    for t in reversed(range(len(caches))):
        look, step = caches[t]
        if fault == "forgets the gradient of the output":
            out = dh[:, t] if t == len(caches) - 1 else torch.zeros_like(dh[:, t])
        else:
            out = dh[:, t]
        together, carried, dc, *dweights = lstm_step_backward(out + carried + dquery, dc, step)
        dquery, dkeys = _backward(together[:, E:], look)
        dplaces = dplaces + dkeys
        dx.append(together[:, :E])
        total = [a + b for a, b in zip(total, dweights, strict=True)]
    if fault != "dh0 without the query":
        carried = carried + dquery
    dx = dx if fault == "dx in reverse" else dx[::-1]
    dWx, dWa = total[0][:E], total[0][E:]
    if fault == "dWx and dWa exchanged":
        dWx, dWa = dWa, dWx
    if fault == "adds dplaces to dh0":
        carried = carried + dplaces.mean(1)
    return torch.stack(dx, 1), carried, dplaces, dWx, total[1], dWa, total[2]


def _attention_lstm(fault=""):
    def attention_lstm_forward(x, h0, places, Wx, Wh, Wa, b):
        return _run(x, h0, places, Wx, Wh, Wa, b, fault)

    def attention_lstm_backward(dh, cache):
        return _run_back(dh, cache, fault)

    return attention_lstm_forward, attention_lstm_backward


def _gates_forward(x, h0, places, Wx, Wh, Wa, b):
    """Everything written out, gate by gate."""
    h, c, kept = h0, torch.zeros_like(h0), []
    for t in range(x.shape[1]):
        z, weights, look = _forward_by_products(h, places)
        i, f, o, g = (x[:, t] @ Wx + z @ Wa + h @ Wh + b).chunk(4, dim=1)
        i, f, o, g = i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()
        new = f * c + i * g
        kept.append((h, c, z, weights, look, i, f, o, g, new.tanh()))
        h, c = o * new.tanh(), new
    states = [step[7] * step[9] for step in kept]
    return torch.stack(states, 1), torch.stack([step[3] for step in kept], 1), (x, Wx, Wh, Wa, kept)


def _gates_backward(dh, cache):
    x, Wx, Wh, Wa, kept = cache
    dx = torch.zeros_like(x)
    dWx, dWh, dWa, db = (w.new_zeros(w.shape) for w in (Wx, Wh, Wa, Wx[0]))
    dplaces = torch.zeros_like(kept[0][4][2])
    d, dc = torch.zeros_like(dh[:, 0]), torch.zeros_like(dh[:, 0])
    for t in range(len(kept) - 1, -1, -1):
        h, c, z, _, look, i, f, o, g, tanh = kept[t]
        d = d + dh[:, t]
        dc = dc + d * o * (1 - tanh**2)
        da = torch.cat([dc * g * i * (1 - i), dc * c * f * (1 - f), d * tanh * o * (1 - o), dc * i * (1 - g**2)], 1)
        dc = dc * f
        dx[:, t] = da @ Wx.T
        dWx, dWh, dWa, db = dWx + x[:, t].T @ da, dWh + h.T @ da, dWa + z.T @ da, db + da.sum(0)
        dquery, dkeys = _backward_by_products(da @ Wa.T, look)
        d = da @ Wh.T + dquery
        dplaces = dplaces + dkeys
    return dx, d, dplaces, dWx, dWh, dWa, db


def _graph_forward(x, h0, places, Wx, Wh, Wa, b):
    """The whole recurrence in one graph."""
    with torch.enable_grad():
        leaves = [each.detach().clone().requires_grad_() for each in (x, h0, places, Wx, Wh, Wa, b)]
        x, h, places, Wx, Wh, Wa, b = leaves
        c, states, looks = torch.zeros_like(h), [], []
        for word in x.unbind(1):
            weights = (torch.einsum("nlh,nh->nl", places, h) / h.shape[1] ** 0.5).softmax(1)
            z = torch.einsum("nl,nlh->nh", weights, places)
            i, f, o, g = (word @ Wx + z @ Wa + h @ Wh + b).split(h.shape[1], 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
            looks.append(weights)
        out = torch.stack(states, 1)
    return out.detach(), torch.stack(looks, 1).detach(), (out, leaves)


def _graph_backward(dh, cache):
    out, leaves = cache
    return torch.autograd.grad(out, leaves, dh)


attention_lstm = Hidden(
    cases=[
        recurrence_case("one step", 2, 1, 3, 4, 3),
        recurrence_case("one picture", 1, 3, 4, 2, 3),
        recurrence_case("one place", 2, 3, 1, 3, 2),
        recurrence_case("one feature of word and state", 2, 3, 4, 1, 1),
        recurrence_case("ten steps", 2, 10, 3, 2, 3),
        recurrence_case("large numbers", 2, 3, 4, 3, 3, std=30.0),
        recurrence_case("non-contiguous", 3, 2, 4, 3, 2).strided(),
        recurrence_case("float32", 2, 4, 3, 3, 4).float32(),
    ],
    mutants={
        fault: _attention_lstm(fault)
        for fault in (
            "exchanges Wa and Wx",
            "the cell state asks",
            "adds the state to the context",
            "always the first word",
            "returns cell states",
            "returns the states before",
            "forgets the gradient of the output",
            "dh0 without the query",
            "dx in reverse",
            "dWx and dWa exchanged",
            "adds dplaces to dh0",
        )
    },
    solutions={"gate by gate": (_gates_forward, _gates_backward), "one graph": (_graph_forward, _graph_backward)},
    equivalent={
        **{
            f"attention_lstm_backward: zip(sums, dweights, strict=True) -> zip({pair})": "a sum of three and three"
            for pair in ("sums, dweights", "sums, dweights, strict=False", "dweights, sums, strict=True")
        },
        "attention_lstm_backward: dh[:, 0] -> dh[:, -1]": "only the shape is taken from it",
    },
)
