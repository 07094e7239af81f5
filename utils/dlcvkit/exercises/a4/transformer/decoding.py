"""Greedy decoding, tried on a net that follows a script."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Function, Mistake, drawn, integers


class Scripted:
    """A net whose next token depends on everything it has been given, and which notes how it is used."""

    def __init__(self, script, pad):
        self.script, self.pad = script, pad
        self.calls = {"encode": 0, "decode": 0, "graph": "none"}
        self.training = False

    def _note(self, name):
        self.calls[name] += 1
        if torch.is_grad_enabled():
            self.calls["graph"] = "built"

    def encode(self, source):
        """Return something that looks like a memory, shape (N, T, 1)."""
        self._note("encode")
        return (source[..., None] + 1) * torch.arange(1, source.shape[1] + 1, device=source.device)[:, None]

    def decode(self, target, memory, source):
        """Return scores of shape (N, S, V), those of a step from the tokens up to it, the memory and the source."""
        self._note("decode")
        place = torch.arange(1, target.shape[1] + 1, device=target.device)
        past = ((target + 1) * place * place).cumsum(dim=1) + memory.sum(dim=(1, 2))[:, None]
        return self.script[(past + source.sum(dim=1)[:, None]) % len(self.script)]


def decode_greedily(net, source, start, end, max_length, fault=""):
    """The tokens that have the largest score, spoilt by one ``fault``."""
    memory = net.encode(source)
    found = torch.full((len(source), 1), end if fault == "starts with end" else start, device=source.device)
    is_done = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    limit = max_length + {"one too many": 1, "one too few": -1}.get(fault, 0)
    for _ in range(limit):
        if fault == "encodes every time":
            memory = net.encode(source)
        scores = net.decode(found[:, -1:] if fault == "last token only" else found, memory, source)
        scores = scores[:, 0] if fault == "scores of the first step" else scores[:, -1]
        best = scores.argmin(dim=-1) if fault == "smallest score" else scores.argmax(dim=-1)
        if fault not in ("goes on after the end", "ends are not noticed"):
            best = best.masked_fill(is_done, end if fault == "end for padding" else net.pad)
        found = torch.cat([found, best[:, None]], dim=1)
        is_done = is_done | (best == (net.pad if fault == "ends at padding" else end))
        if fault in ("never stops early", "ends are not noticed"):
            continue
        if is_done.any() if fault == "stops with the first" else is_done.all():
            break
    if fault == "end dropped":
        found = found.masked_fill(found == end, net.pad)
    return found if fault == "start kept" else found[:, 1:]


def _run(decoder, source, script, start, end, pad, max_length, *fault):
    net = Scripted(script, pad)
    with torch.enable_grad():
        found = decoder(net, source, start, end, max_length, *fault)
    return found, net.calls


def _call(decoder, source, script, start, end, pad, max_length):
    return _run(decoder, source, script, start, end, pad, max_length)


def _reference(fault=""):
    def reference(source, script, start, end, pad, max_length):
        with torch.no_grad():
            net = Scripted(script, pad)
            found = decode_greedily(net, source, start, end, max_length, fault)
        return found, net.calls

    return reference


def _with_a_graph(**inputs):
    return _run(decode_greedily, *inputs.values())


def script(V, *, end=None, often=0.0):
    """Describe scores for 101 situations; ``often`` is added to those of ``end``."""

    def draw(generator):
        scores = torch.randn(101, V, generator=generator, dtype=torch.float64)
        if end is not None:
            scores[:, end] += often
        return scores

    return drawn(draw)


def decoding_case(name, N, T, V, start, end, pad, max_length, often=0.0):
    """Describe a case of greedy decoding."""
    given = {"source": integers(N, T, high=V), "script": script(V, end=end, often=often)}
    return Case(name, **given, start=start, end=end, pad=pad, max_length=max_length)


greedy_decode = Function(
    functions=("greedy_decode",),
    reference=_reference(),
    call=_call,
    cases=[
        decoding_case("four sequences of different lengths", 4, 3, 6, 5, 4, 3, 12, often=0.6),
        decoding_case("cut off at max_length", 3, 4, 7, 0, 1, 2, 5, often=-9.0),
        decoding_case("one sequence", 1, 2, 5, 4, 3, 2, 20, often=1.0),
    ],
    points={"tokens": 3, "calls": 1},
    mistakes=[
        Mistake(name, _reference(fault), hint=hint)
        for name, fault, hint in (
            ("returns the start token too", "start kept", "the start token is what decoding begins with, no answer"),
            (
                "gives decode the last token alone",
                "last token only",
                "the net has no memory of its own: what does it need to know?",
            ),
            (
                "goes on after the end token",
                "goes on after the end",
                "what belongs behind the end of a sequence while others go on?",
            ),
            (
                "does not notice the end token",
                "ends are not noticed",
                "what belongs behind the end of a sequence, and when is everything done?",
            ),
            (
                "fills up with end tokens",
                "end for padding",
                "behind the first end token stands padding, net.pad",
            ),
            ("stops with the first sequence that ends", "stops with the first", "the others are not done yet"),
            (
                "runs to max_length though all sequences have ended",
                "never stops early",
                "when is there nothing left to do?",
            ),
            (
                "takes the scores of the first step",
                "scores of the first step",
                "decode returns scores for all steps: which one speaks of the next token?",
            ),
            ("makes one token too many", "one too many", "count the tokens that you return, not those that you feed"),
            ("makes one token too few", "one too few", "count the tokens that you return, not those that you feed"),
            ("removes the end token", "end dropped", "the end token belongs to the answer"),
            (
                "encodes the source at every step",
                "encodes every time",
                "the memory does not depend on what has been decoded",
            ),
            ("takes the smallest score", "smallest score", "scores are large where a token is likely"),
        )
    ]
    + [
        Mistake(
            "builds a graph for a backward pass that never comes",
            _with_a_graph,
            hint="nothing is trained here: which context tells torch so?",
        )
    ],
)


def permutation_gap(net, x, order, fault=""):
    """How far a net is from being equivariant, spoilt by one ``fault``."""
    after = net(x)
    moved = (
        after[:, order.argsort()]
        if fault == "inverse order"
        else after
        if fault == "output unmoved"
        else after[:, order]
    )
    change = net(x[:, order]) - moved
    if fault == "mean":
        return change.abs().mean()
    return change.max() if fault == "no absolute value" else change.abs().max()


def future_leak(net, tokens, place, other, fault=""):
    """How much of the future shows, spoilt by one ``fault``."""
    changed = tokens.clone()
    if fault == "all from place on":
        changed[:, place:] = other
    else:
        changed[:, place] = other
    change = net(changed) - net(tokens)
    seen = {
        "place counted": change[:, : place + 1],
        "last step alone": change[:, place - 1 : place],
        "first step alone": change[:, :1],
        "all steps": change,
        "after place": change[:, place:],
    }.get(fault, change[:, :place])
    if fault == "mean of the leak":
        return seen.abs().mean()
    return seen.max() if fault == "no absolute value" else seen.abs().max()


def _mixes(x, how):
    """Nets without weights on (N, T, D)."""
    steps = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)[:, None]
    return {
        "mean": lambda: x + 2 * x.mean(dim=1, keepdim=True),
        "sum so far": lambda: x.cumsum(dim=1),
        "positions": lambda: x * (1 + steps),
        "falls": lambda: x - 3 * steps.sin() * x.abs().amax(dim=1, keepdim=True),
        "last step": lambda: x - x[:, -1:],
        "two ahead": lambda: x + x.roll(-2, dims=1) * (steps < x.shape[1] - 2),
        "first sees all": lambda: x + (steps == 0) * x.square().sum(dim=1, keepdim=True),
        "future lowers": lambda: x.cumsum(dim=1) - x.square().flip(1).cumsum(dim=1).flip(1),
    }[how]()


def _use(gap, leak, how, x, order, table, tokens, place, other):
    def on_vectors(vectors):
        return _mixes(vectors, how)

    def on_tokens(numbers):
        return _mixes(functional.embedding(numbers, table), how)

    return gap(on_vectors, x, order), leak(on_tokens, tokens, place, other)


def _invariants(fault=""):
    def reference(how, x, order, table, tokens, place, other):
        return _use(
            lambda *given: permutation_gap(*given, fault),
            lambda *given: future_leak(*given, fault),
            how,
            x,
            order,
            table,
            tokens,
            place,
            other,
        )

    return reference


def invariant_case(name, how, N, T, D, V, place):
    """Describe a case: a net by name, vectors and tokens for it."""
    return Case(
        name,
        how=how,
        x=drawn(lambda g: torch.randn(N, T, D, generator=g, dtype=torch.float64)),
        order=drawn(lambda g: torch.randperm(T, generator=g)),
        # the last token, which is put in, has the largest numbers, so that changes have a sign
        table=drawn(
            lambda g: (
                torch.randn(V, D, generator=g, dtype=torch.float64) * (1 + 9 * (torch.arange(V) == V - 1))[:, None]
            )
        ),
        tokens=integers(N, T, high=V - 1),
        place=place,
        other=V - 1,
    )


invariants = Function(
    functions=("permutation_gap", "future_leak"),
    reference=_invariants(),
    call=_use,
    cases=[
        invariant_case("a net that mixes all steps alike", "mean", 2, 5, 3, 7, 2),
        invariant_case("a net that sees the past", "sum so far", 2, 6, 3, 7, 3),
        invariant_case("a net that looks two steps ahead", "two ahead", 2, 5, 4, 9, 3),
        invariant_case("a net in which the future lowers numbers", "future lowers", 1, 7, 4, 9, 4),
    ],
    points={"gap": 1, "leak": 2},
    mistakes=[
        Mistake(name, _invariants(fault), hint=hint)
        for name, fault, hint in (
            (
                "puts the output back in the opposite direction",
                "inverse order",
                "the same order is applied to the input of one run and to the output of the other",
            ),
            (
                "compares with an output that is not permuted",
                "output unmoved",
                "equivariant, not invariant: the output is to move along",
            ),
            ("takes the mean of the differences", "mean", "one wrong entry is enough: the largest difference counts"),
            (
                "takes the mean of the changes",
                "mean of the leak",
                "one wrong entry is enough: the largest change counts",
            ),
            ("forgets the absolute value", "no absolute value", "differences may be negative"),
            ("counts the changed step itself", "place counted", "that step may change: which ones come before it?"),
            ("looks at the step just before alone", "last step alone", "all earlier steps count"),
            ("looks at the first step alone", "first step alone", "all earlier steps count"),
            ("looks at all steps", "all steps", "which steps may change, and which may not?"),
            ("looks at the later steps", "after place", "which steps may change, and which may not?"),
        )
    ],
)
