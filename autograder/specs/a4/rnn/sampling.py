"""Probabilities of words, and draws."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal


def _by_sorting(logits, temperature, top_k, fault=""):
    if temperature == 0:
        rows = [[float(n == row.index(max(row))) for n in range(len(row))] for row in logits.tolist()]
        if fault == "last of the best":
            rows = [row[::-1] for row in _by_sorting(logits.flip(1), 0.0, None).tolist()]
        return torch.tensor(rows, dtype=logits.dtype, device=logits.device)
    V = logits.shape[1]
    powers = ((logits - logits.amax(1, keepdim=True)) / temperature).exp()
    if top_k is not None:
        k = top_k if fault == "fails for k above V" else min(top_k, V)
        least = logits.sort(dim=1).values[:, -k] if k <= V else logits[:, k]
        keep = logits >= least[:, None]
        if fault == "k-th excluded":
            keep = logits > least[:, None]
        powers = torch.where(keep, powers, torch.zeros_like(powers))
    return powers / powers.sum(1, keepdim=True)


def _row_by_row(logits, temperature, top_k):
    found = []
    for row in logits:
        scores = row if temperature == 0 else row / temperature
        if temperature == 0:
            row_found = torch.zeros_like(row)
            row_found[int(row.argmax())] = 1
        else:
            order = scores.argsort(descending=True)
            edge = scores[order[: top_k or len(row)][-1]]
            row_found = torch.zeros_like(row)
            row_found[scores >= edge] = torch.softmax(scores[scores >= edge], 0)
        found.append(row_found.float())
    return torch.stack(found)


def _unstable(logits, temperature, top_k):
    powers = (logits / temperature).exp() if temperature else _by_sorting(logits, 0.0, None)
    if top_k is not None and temperature:
        powers = powers * (logits >= logits.topk(min(top_k, logits.shape[1])).values[:, -1:])
    return powers / powers.sum(1, keepdim=True)


def _small_temperature(logits, temperature, top_k):
    """Adds a small number instead of treating 0 by itself."""
    return _by_sorting(logits, temperature + 1e-3, top_k)


def _in_place(logits, temperature, top_k):
    found = _by_sorting(logits, temperature, top_k)
    if top_k is not None and top_k <= logits.shape[1]:
        logits[logits < logits.topk(top_k).values[:, -1:]] = -1e9
    return found


def _top_of_probability(logits, temperature, top_k):
    """Keeps what has at least 1 / top_k of the probability."""
    found = _by_sorting(logits, temperature, None)
    if top_k is None or temperature == 0:
        return found
    found = found * (found >= min(1 / top_k, float(found.amax(1).min())))
    return found / found.sum(1, keepdim=True)


def _probability_case(name, logits, temperature, top_k):
    return Case(name, logits=logits, temperature=temperature, top_k=top_k)


sampling_probabilities = Hidden(
    cases=[
        _probability_case("one word", normal(3, 1), 0.7, None),
        _probability_case("one row", normal(1, 6), 1.5, 2),
        _probability_case("top 1", normal(4, 5), 2.0, 1),
        _probability_case("top 1, equal scores", given([[1.0, 4.0, 4.0], [2.0, 2.0, 2.0]]), 1.0, 1),
        _probability_case("all of them", normal(3, 5), 1.2, 5),
        _probability_case("more than there are", normal(3, 5), 0.8, 9),
        _probability_case("top 4 of 5", normal(3, 5), 0.8, 4),
        _probability_case("temperature 0 and top 2", normal(4, 5), 0.0, 2),
        _probability_case("temperature 0, equal scores", given([[0.0, 7.0, 7.0, 1.0], [5.0] * 4]), 0.0, None),
        _probability_case("scores of 10,000", normal(3, 5, std=1e4), 1.0, None),
        _probability_case("large scores, low temperature", normal(3, 4, mean=2e3, std=1.0), 0.05, 3),
        _probability_case("high temperature", normal(2, 6), 40.0, 3),
        _probability_case("rows of different heights", given([[1.0, 2.0, 3.0], [101.0, 103.0, 102.0]]), 1.0, 2),
        _probability_case("negative scores", normal(3, 5, mean=-50.0), 0.6, 3),
        _probability_case("memory with gaps", normal(3, 5), 0.6, 3).strided(),
        _probability_case("float32", normal(3, 5), 0.6, 3).float32(),
        _probability_case("float32 at temperature 0", normal(3, 5), 0.0, None).float32(),
    ],
    mutants={
        "overflows": _unstable,
        "small number added to the temperature": _small_temperature,
        "changes the scores": _in_place,
        "cut by probability": _top_of_probability,
        "last of the best": lambda *inputs: _by_sorting(*inputs, "last of the best"),
        "fails for k above V": lambda *inputs: _by_sorting(*inputs, "fails for k above V"),
        "k-th excluded": lambda *inputs: _by_sorting(*inputs, "k-th excluded"),
        "log-probabilities": lambda *inputs: _by_sorting(*inputs).log(),
        "the best word instead of probabilities": lambda *inputs: _by_sorting(*inputs).argmax(1),
        "top_k at temperature 0 only": lambda logits, temperature, top_k: _by_sorting(
            logits, temperature, top_k if temperature == 0 else None
        ),
        "integers at temperature 0": lambda logits, temperature, top_k: (
            _by_sorting(logits, temperature, top_k).long()
            if temperature == 0
            else _by_sorting(logits, temperature, top_k)
        ),
    },
    solutions={"sorted": _by_sorting, "row by row, float32": _row_by_row},
    equivalent={
        "sampling_probabilities: logits.topk(min(top_k, logits.shape[1]), dim=1)"
        " -> logits.topk(min(top_k, logits.shape[1]))": "topk takes the last axis by default, which is axis 1 of two",
        "sampling_probabilities: logits.shape[1] -> logits.shape[-1]": "logits has two axes, so axis 1 is the last one",
    },
)


def _by_cumulative_sums(logits, temperature, top_k, generator):
    """One uniform number per row, and where it falls."""
    shares = _by_sorting(logits, temperature, top_k).double()
    at = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64, device=logits.device)
    return ((shares.cumsum(1) <= at) & (shares.cumsum(1) < 1 - 1e-12)).sum(1)


def _by_noise(logits, temperature, top_k, generator):
    """The largest of log-probability and Gumbel noise."""
    shares = _by_sorting(logits, temperature, top_k).double()
    noise = torch.rand(shares.shape, generator=generator, dtype=torch.float64, device=logits.device)
    return (shares.log() - (-noise.clamp(min=1e-300).log()).log()).argmax(1)


def _draw(logits, temperature, top_k, generator, fault=""):
    shares = _by_sorting(logits, temperature, top_k)
    if fault == "scores for probabilities":
        shares = logits - logits.amin(1, keepdim=True) + 1e-3
    if fault == "no temperature":
        shares = _by_sorting(logits, 1.0, top_k)
    if fault == "no top_k":
        shares = _by_sorting(logits, temperature, None)
    if fault == "evenly among what is left":
        shares = (shares > 0).to(shares.dtype)
    if fault == "likeliest":
        return shares.argmax(1)
    if fault == "global generator":
        return torch.multinomial(shares, 1)[:, 0]
    if fault == "its own seed":
        generator = torch.Generator(device=logits.device).manual_seed(0)
    if fault == "seeds the generator":
        generator.manual_seed(generator.initial_seed())
    if fault == "one draw for all rows":
        return torch.multinomial(shares[:1], 1, generator=generator)[0].expand(len(logits))
    words = torch.multinomial(shares, 1, generator=generator)
    if fault == "keeps the axis":
        return words
    if fault == "floating point":
        return words[:, 0].to(logits.dtype)
    if fault == "list":
        return words[:, 0].tolist()
    if fault == "counted from 1":
        return words[:, 0] + 1
    return words[:, 0]


_DRAW_FAULTS = (
    "scores for probabilities",
    "no temperature",
    "no top_k",
    "evenly among what is left",
    "likeliest",
    "global generator",
    "its own seed",
    "seeds the generator",
    "one draw for all rows",
    "keeps the axis",
    "floating point",
    "list",
    "counted from 1",
)


def _draw_case(name, logits, temperature, top_k, seed):
    return Case(name, logits=logits, temperature=temperature, top_k=top_k, seed=seed)


sample = Hidden(
    cases=[
        _draw_case("one row", given([[0.0, 1.0, 2.0]]), 1.0, None, 11),
        _draw_case("one word", normal(3, 1), 1.0, None, 10),
        _draw_case("two words", given([[0.3, -0.2], [5.0, -5.0]]), 0.5, None, 12),
        _draw_case("temperature 3", given([[0.0, 2.0, 4.0, 1.0], [1.0] * 4]), 3.0, None, 13),
        _draw_case("top 2, low temperature", given([[0.0, 0.2, 0.1, -0.1], [3.0, 2.0, 1.0, 0.0]]), 0.3, 2, 14),
        _draw_case("top 1", normal(4, 5), 1.0, 1, 15),
        _draw_case("temperature 0 and equal scores", given([[1.0, 4.0, 4.0], [2.0, 2.0, 2.0]]), 0.0, None, 16),
        _draw_case("scores of 10,000", given([[1e4, 1e4 + 1, 0.0], [-1e4, 0.0, 1e4]]), 1.0, None, 17),
        _draw_case("memory with gaps", normal(3, 5), 1.0, 3, 18).strided(),
        _draw_case("float32", normal(3, 5), 1.0, None, 19).float32(),
    ],
    mutants={name: lambda *inputs, name=name: _draw(*inputs, name) for name in _DRAW_FAULTS},
    solutions={
        "multinomial": _draw,
        "cumulative sums": _by_cumulative_sums,
        "Gumbel noise": _by_noise,
    },
    equivalent={
        "sample: torch.multinomial(probabilities, 1, generator=generator)[:, 0]"
        " -> torch.multinomial(probabilities, 1, generator=generator)[:, -1]": "there is one column, the first and last",
    },
)
