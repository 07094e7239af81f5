"""Multi-head attention, and the feed-forward net."""

from __future__ import annotations

from torch import nn
from torch.func import functional_call
from torch.nn import functional

from dlcvkit.checking import Case, Mistake, Module, normal
from dlcvkit.exercises.a4.transformer.attention import mask, share
from dlcvkit.exercises.a4.transformer.pieces import (
    READY_MADE_ATTENTION,
    attention_by_torch,
    attention_params,
    feed_forward_params,
    gradients_or_stop,
    linear,
    plain_answers,
    reference_gradients,
    use_module,
)


def attend_in_heads(x, context, mask, weights, heads, fault=""):
    """Output and weights of multi-head attention, spoilt by one ``fault``."""
    if fault == "context ignored":
        context = x
    names = {"query": x, "key": x if fault == "keys from x" else context, "value": context}
    if fault == "query and key swapped":
        projected = linear(x, weights, "key"), linear(context, weights, "query"), linear(context, weights, "value")
    elif fault == "key and value swapped":
        projected = linear(x, weights, "query"), linear(context, weights, "value"), linear(context, weights, "key")
    else:
        projected = tuple(linear(source, weights, name) for name, source in names.items())
    if fault == "heads interleaved":
        q, k, v = (each.unflatten(2, (-1, heads)).movedim(3, 1) for each in projected)
    elif fault == "heads by view":
        q, k, v = (each.reshape(len(each), heads, each.shape[1], -1) for each in projected)
    else:
        q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in projected)
    if fault == "scaled by all features":
        q = q / heads**0.5
    shares = share(q, k, mask, fault)
    out = shares @ v
    if fault == "heads not brought back":
        joined = out.reshape(x.shape)
    elif fault == "heads averaged":
        joined = out.mean(dim=1).repeat(1, 1, heads)
    elif fault == "heads interleaved":
        joined = out.movedim(1, 3).flatten(2)
    else:
        joined = out.transpose(1, 2).flatten(2)
    if fault == "no output layer":
        return joined, shares
    return linear(joined, weights, "output"), shares


def _answers(attention):
    def reference(init, params, **arguments):
        heads = init["heads"]
        out, shares = attention(**arguments, weights=params, heads=heads)
        gradients = reference_gradients(lambda **given: attention(**given, heads=heads)[0], arguments, params)
        return out, shares, gradients

    return reference


def _use(net, **arguments):
    out = net(**arguments)
    shares = net.weights
    return out, shares, gradients_or_stop(net, arguments, (out, shares))


def _spoilt(fault):
    return _answers(lambda **given: attend_in_heads(**given, fault=fault))


def heads_case(name, N, S, T, D, heads, mask=None, std=1.0):
    """Describe a case of multi-head attention; T is None where x is its own context."""
    x = normal(N, S, D, std=std)
    context = normal(N, S if T is None else T, D, std=std)
    init = {"D": D, "heads": heads}
    return Case(name, init=init, params=attention_params("", D), x=x, context=context, mask=mask)


multi_head_attention = Module(
    functions=("MultiHeadAttention",),
    reference=_answers(attention_by_torch),
    call=_use,
    cases=[
        heads_case("two heads, 3 queries, 5 keys", 2, 3, 5, 6, 2),
        heads_case("three heads, a mask for all", 2, 4, None, 6, 3, mask(4, 4)),
        heads_case("a mask per image and a blocked row", 2, 3, 4, 4, 2, mask(2, 1, 3, 4, blocked=[1])),
    ],
    points={"out": 3, "weights": 1, "gradients": 1},
    forbidden=READY_MADE_ATTENTION,
    mistakes=[
        Mistake(
            "splits the features without moving the axis of the heads",
            _spoilt("heads by view"),
            hint="(N, S, D) is cut into (N, S, heads, D / heads) first; only then do axes change places",
        ),
        Mistake(
            "puts the heads together without moving their axis back",
            _spoilt("heads not brought back"),
            hint="a reshape keeps the order in memory: which axes have to lie next to each other before it?",
        ),
        Mistake(
            "deals the features out to the heads one by one",
            _spoilt("heads interleaved"),
            hint="the first head has the first D / heads features, not every heads-th one",
        ),
        Mistake(
            "divides by the root of all D features",
            _spoilt("scaled by all features"),
            hint="a score is a sum over the features of one head",
        ),
        Mistake(
            "leaves the output layer out", _spoilt("no output layer"), hint="one of the four layers has not been used"
        ),
        Mistake(
            "takes keys and values from x",
            _spoilt("context ignored"),
            hint="queries come from x; keys and values come from somewhere else",
        ),
        Mistake(
            "swaps the layers of queries and keys",
            _spoilt("query and key swapped"),
            hint="which layer is applied to what?",
        ),
        Mistake(
            "swaps the layers of keys and values",
            _spoilt("key and value swapped"),
            hint="which layer is applied to what?",
        ),
        Mistake("ignores the mask", _spoilt("no mask"), hint="where does the mask go to?"),
        Mistake("takes True for blocked", _spoilt("inverted"), hint="True stands for: may attend"),
        Mistake(
            "gives equal weights to a row that is blocked as a whole",
            _spoilt("blocked rows uniform"),
            hint="a row with nothing to attend to has weights of 0: your attention_weights can do that",
        ),
        Mistake(
            "averages the heads",
            _spoilt("heads averaged"),
            hint="what the heads found stands side by side, D / heads features of each",
        ),
        Mistake(
            "leaves the division by the root of D / heads out",
            _spoilt("no scale"),
            hint="how large do scores get? your attention_weights knows",
        ),
    ],
)


def feed(init, x, weights, fault=""):
    """The feed-forward net, spoilt by one ``fault``."""
    first = linear(x, weights, "fc1")
    hidden = {"no ReLU": first, "GELU": functional.gelu(first)}.get(fault, first.relu())
    out = linear(hidden, weights, "fc2")
    if fault == "ReLU at the end":
        return out.relu()
    return x + out if fault == "residual inside" else out


def _feed_by_torch(init, x, weights):
    net = nn.Sequential(nn.Linear(init["D"], init["hidden"]), nn.ReLU(), nn.Linear(init["hidden"], init["D"])).to(x)
    renamed = {name.replace("fc1", "0").replace("fc2", "2"): value for name, value in weights.items()}
    return functional_call(net, renamed, (x,))


def _spoilt_feed(fault):
    return plain_answers(lambda init, x, weights: feed(init, x, weights, fault))


def feed_case(name, N, T, D, hidden, std=1.0):
    """Describe a case of the feed-forward net."""
    params = feed_forward_params("", D, hidden)
    return Case(name, init={"D": D, "hidden": hidden}, params=params, x=normal(N, T, D, std=std))


feed_forward = Module(
    functions=("FeedForward",),
    reference=plain_answers(_feed_by_torch),
    call=use_module,
    cases=[feed_case("4 features, 10 units", 2, 3, 4, 10), feed_case("fewer units than features", 2, 4, 5, 3)],
    points={"out": 1, "gradients": 1},
    forbidden=READY_MADE_ATTENTION,
    mistakes=[
        Mistake("leaves ReLU out", _spoilt_feed("no ReLU"), hint="two affine layers in a row are one affine layer"),
        Mistake("uses GELU", _spoilt_feed("GELU"), hint="the text says which activation is used here"),
        Mistake(
            "applies ReLU to the output",
            _spoilt_feed("ReLU at the end"),
            hint="the output is added to something: should it only ever add?",
        ),
        Mistake(
            "adds the input already",
            _spoilt_feed("residual inside"),
            hint="the shortcut belongs to the block around this net",
        ),
    ],
)
