"""What the modules beside this one share: squashing functions that overflow, and pairs that differ in little."""

from __future__ import annotations

import torch

EXTREME = [-1000.0, -50.0, 0.3, 50.0, 1000.0, -0.7]
"""Biases that saturate gates, with two among them that do not."""


def extreme_biases(count):
    return [EXTREME[k % len(EXTREME)] for k in range(count)]


def overflowing_sigmoid(a):
    return a.exp() / (1 + a.exp())


def overflowing_tanh(a):
    return (a.exp() - (-a).exp()) / (a.exp() + (-a).exp())


def crude_sigmoid(a):
    return a.clamp(-5, 5).sigmoid()


def names(text):
    return [" ".join(name.split()) for name in text.split(",")]


def spoilt(pair, forward_faults, backward_faults):
    """Mutants: the pair with one fault in one of its functions."""
    forward, backward = pair
    return {
        **{name: (lambda *a, name=name: forward(*a, fault=name), backward) for name in names(forward_faults)},
        **{name: (forward, lambda *a, name=name: backward(*a, fault=name)) for name in names(backward_faults)},
    }


def in_float32(forward, backward):
    """The pair computed in float32, whatever it is given."""

    def lower(*tensors):
        return forward(*(each.float() for each in tensors))

    return lower, lambda *a: backward(*(each.float() for each in a[:-1]), a[-1])


def changes(position, forward, backward):
    """The pair, of which forward changes one of its inputs."""

    def impolite(*tensors):
        tensors[position].mul_(0.5)
        return forward(*tensors)

    return impolite, backward


def over_time(step, back, begin):
    """A pair that repeats a step; ``step(x, *state, *weights)`` and ``back(*upstream, cache)``.

    Args:
        step: Forward step; returns the parts of the state, then the cache.
        back: Backward step; returns dx, a gradient per part of the state, and those of the weights.
        begin: Maps h0 to the first state.
    """

    def forward(x, h0, *weights, fault=""):
        state, outputs, caches = begin(h0, fault), [], []
        T = x.shape[1]
        order = range(T - 1, -1, -1) if fault == "runs from behind" else range(T)
        for t in order:
            if fault == "never moves on":
                state = begin(h0, fault)
            *state, cache = step(x[:, t], *state, *weights)
            caches.append(cache)
            outputs.append(state[0])
        if fault == "forgets the last step":
            outputs[-1] = outputs[-2] if T > 1 else h0
        if fault == "stacks the steps first":
            return torch.stack(outputs), caches
        if fault == "returns the last state only":
            return outputs[-1], caches
        if fault == "shifts by a step":
            outputs = [h0, *outputs[:-1]]
        return torch.stack(outputs, dim=1), caches

    def backward(dh, caches, fault=""):
        T = dh.shape[1]
        coming = [torch.zeros_like(dh[:, 0]) for _ in begin(dh[:, 0], "")]
        dxs, totals = [], None
        for t in range(T - 1, -1, -1):
            told = dh[:, t]
            if fault == "shifts the upstream gradient":
                told = dh[:, min(t + 1, T - 1)]
            if fault == "upstream once more":
                told = told + dh[:, T - 1] * (t < T - 1)
            cache = caches[0 if fault == "one cache for all" else t]
            dx, *coming_and_weights = back(told + coming[0], *coming[1:], cache)
            coming, found = coming_and_weights[: len(coming)], coming_and_weights[len(coming) :]
            if fault == "gradient scaled down at every step":
                coming = [0.9 * each for each in coming]
            if fault == "gradient clipped at every step":
                coming = [each.clamp(-1, 1) for each in coming]
            if fault == "cell not carried over two steps" and len(coming) > 1 and t % 2:
                coming[1] = torch.zeros_like(coming[1])
            if fault == "cut after eight steps" and T - t == 8:
                coming = [torch.zeros_like(each) for each in coming]
            dxs.insert(len(dxs) if fault == "dx from behind" else 0, dx)
            totals = found if totals is None else [total + each for total, each in zip(totals, found, strict=True)]
        dh0 = coming[0]
        if fault == "dh0 of the first state":
            dh0 = dh[:, 0]
        if fault == "dh0 summed over the batch":
            dh0 = dh0.sum(0)
        if fault == "weights last":
            return *totals, torch.stack(dxs, dim=1), dh0
        if fault == "opposite sign":
            totals = [-total for total in totals]
        return torch.stack(dxs, dim=1), dh0, *totals

    return forward, backward


FORWARD_OVER_TIME = """runs from behind, never moves on, forgets the last step, stacks the steps first,
    returns the last state only, shifts by a step"""
BACKWARD_OVER_TIME = """shifts the upstream gradient, upstream once more, one cache for all,
    gradient scaled down at every step, gradient clipped at every step, cut after eight steps, dx from behind,
    dh0 of the first state, dh0 summed over the batch, weights last, opposite sign"""
