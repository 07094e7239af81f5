"""Encoder and decoder blocks, compared with torch's own."""

from __future__ import annotations

from torch import nn
from torch.func import functional_call

from dlcvkit.checking import Case, Mistake, Module, normal
from dlcvkit.exercises.a4.transformer.attention import mask
from dlcvkit.exercises.a4.transformer.heads import attend_in_heads, feed
from dlcvkit.exercises.a4.transformer.pieces import (
    READY_MADE_ATTENTION,
    SafeAttention,
    as_torch,
    attention_params,
    feed_forward_params,
    kept_by_each_thread,
    norm,
    norm_weights,
    plain_answers,
    torch_mask,
    under,
    use_module,
)

_ATTENTION_FAULTS = ("no mask", "inverted")


def _attend(x, context, mask, weights, name, init, fault):
    inner = fault if fault in _ATTENTION_FAULTS else ""
    return attend_in_heads(x, context, mask, under(weights, name), init["heads"], inner)[0]


def encode(init, x, mask, weights, fault=""):
    """The encoder block, spoilt by one ``fault``."""
    if fault == "post-norm":
        x = norm(x + _attend(x, x, mask, weights, "attention", init, fault), weights, "norm1")
        return norm(x + feed({}, x, under(weights, "feed_forward")), weights, "norm2")
    h = norm(x, weights, "norm1", fault)
    found = _attend(h, x if fault == "context not normalised" else h, mask, weights, "attention", init, fault)
    x = {"no first shortcut": found, "shortcut carries the norm": h + found}.get(fault, x + found)
    h = norm(x, weights, "norm1" if fault == "norm1 twice" else "norm2", fault)
    found = feed({}, h, under(weights, "feed_forward"))
    return {"no second shortcut": found, "second shortcut carries the norm": h + found}.get(fault, x + found)


def encoder_params(name, D, hidden):
    """Describe the weights of an encoder block; ``name`` is empty or ends in a dot."""
    return {
        **attention_params(f"{name}attention.", D),
        **feed_forward_params(f"{name}feed_forward.", D, hidden),
        **norm_weights(f"{name}norm1", D),
        **norm_weights(f"{name}norm2", D),
    }


def _shared_for_torch(weights):
    feed_names = {"linear1": "fc1", "linear2": "fc2"}
    renamed = {
        f"{theirs}.{part}": weights[f"feed_forward.{ours}.{part}"]
        for theirs, ours in feed_names.items()
        for part in ("weight", "bias")
    }
    return renamed | {key: value for key, value in weights.items() if key.startswith("norm")}


@kept_by_each_thread
def _hollow_encoder(D, heads, hidden):
    layer = nn.TransformerEncoderLayer(D, heads, hidden, 0.0, batch_first=True, norm_first=True, device="meta")
    layer.self_attn = SafeAttention(D, heads, batch_first=True, device="meta")
    return layer


@kept_by_each_thread
def _hollow_decoder(D, heads, hidden):
    layer = nn.TransformerDecoderLayer(D, heads, hidden, 0.0, batch_first=True, norm_first=True, device="meta")
    layer.self_attn = SafeAttention(D, heads, batch_first=True, device="meta")
    layer.multihead_attn = SafeAttention(D, heads, batch_first=True, device="meta")
    return layer


def encode_by_torch(init, x, mask, weights):
    """``nn.TransformerEncoderLayer`` with our weights."""
    D, heads = init["D"], init["heads"]
    layer = _hollow_encoder(D, heads, init["hidden"])
    renamed = as_torch(under(weights, "attention"), prefix="self_attn.") | _shared_for_torch(weights)
    blocked = torch_mask(mask, len(x), heads, x.shape[1], x.shape[1])
    return functional_call(layer, renamed, (x,), {"src_mask": blocked})


def _spoilt_encoder(fault):
    return plain_answers(lambda init, x, mask, weights: encode(init, x, mask, weights, fault))


def encoder_case(name, N, T, D, heads, hidden, mask=None, std=1.0):
    """Describe a case of the encoder block."""
    init = {"D": D, "heads": heads, "hidden": hidden}
    return Case(name, init=init, params=encoder_params("", D, hidden), x=normal(N, T, D, std=std), mask=mask)


_ORDER = "pre-norm: what goes into a branch is normalised, what the shortcut carries is not"

encoder_block = Module(
    functions=("EncoderBlock",),
    reference=plain_answers(encode_by_torch),
    call=use_module,
    cases=[
        encoder_case("two heads", 2, 3, 4, 2, 6),
        encoder_case("a mask per sequence and a blocked row", 2, 4, 6, 3, 5, mask(2, 1, 4, 4, blocked=[2])),
    ],
    points={"out": 3, "gradients": 1},
    forbidden=READY_MADE_ATTENTION,
    mistakes=[
        Mistake("normalises after the additions (post-norm)", _spoilt_encoder("post-norm"), hint=_ORDER),
        Mistake("leaves the first shortcut out", _spoilt_encoder("no first shortcut"), hint="there are two additions"),
        Mistake(
            "leaves the second shortcut out", _spoilt_encoder("no second shortcut"), hint="there are two additions"
        ),
        Mistake("adds attention to the normalised x", _spoilt_encoder("shortcut carries the norm"), hint=_ORDER),
        Mistake(
            "adds the feed-forward net to its normalised input",
            _spoilt_encoder("second shortcut carries the norm"),
            hint=_ORDER,
        ),
        Mistake(
            "leaves norm1 out", _spoilt_encoder("without norm1"), hint="a layer norm stands in front of each branch"
        ),
        Mistake(
            "leaves norm2 out", _spoilt_encoder("without norm2"), hint="a layer norm stands in front of each branch"
        ),
        Mistake("uses norm1 twice", _spoilt_encoder("norm1 twice"), hint="the second branch has a norm of its own"),
        Mistake(
            "takes keys and values from the x that is not normalised",
            _spoilt_encoder("context not normalised"),
            hint="queries, keys and values come from the same normalised vectors",
        ),
        Mistake("ignores the mask", _spoilt_encoder("no mask"), hint="who gets the mask?"),
    ],
)


def decode(init, x, memory, mask, memory_mask, weights, fault=""):
    """The decoder block, spoilt by one ``fault``."""
    if fault == "masks swapped":
        mask, memory_mask = memory_mask, mask
    inner = {"self-attention without mask": (None, memory_mask), "cross-attention without mask": (mask, None)}
    mask, memory_mask = inner.get(fault, (mask, memory_mask))
    if fault == "same mask twice":
        memory_mask = mask
    feed_weights = under(weights, "feed_forward")
    if fault == "post-norm":
        x = norm(x + _attend(x, x, mask, weights, "self_attention", init, ""), weights, "norm1")
        x = norm(x + _attend(x, memory, memory_mask, weights, "cross_attention", init, ""), weights, "norm2")
        return norm(x + feed({}, x, feed_weights), weights, "norm3")
    self_name, cross_name = "self_attention", "cross_attention"
    if fault == "attentions swapped":
        self_name, cross_name = cross_name, self_name
    h = norm(x, weights, "norm1", fault)
    before = x
    x = x + _attend(h, h, mask, weights, self_name, init, "")
    x = x - before if fault == "no first shortcut" else x
    if fault != "no cross-attention":
        h = norm(x, weights, "norm2", fault)
        context = {"memory normalised": norm(memory, weights, "norm2"), "context is itself": h}.get(fault, memory)
        if fault == "queries from memory":
            found = _attend(context, h, None, weights, cross_name, init, "")
        else:
            found = _attend(h, context, memory_mask, weights, cross_name, init, "")
        x = found if fault == "no second shortcut" else x + found
    found = feed({}, norm(x, weights, "norm2" if fault == "norm2 twice" else "norm3", fault), feed_weights)
    return found if fault == "no third shortcut" else x + found


def decoder_params(name, D, hidden):
    """Describe the weights of a decoder block; ``name`` is empty or ends in a dot."""
    return {
        **attention_params(f"{name}self_attention.", D),
        **attention_params(f"{name}cross_attention.", D),
        **feed_forward_params(f"{name}feed_forward.", D, hidden),
        **norm_weights(f"{name}norm1", D),
        **norm_weights(f"{name}norm2", D),
        **norm_weights(f"{name}norm3", D),
    }


def decode_by_torch(init, x, memory, mask, memory_mask, weights):
    """``nn.TransformerDecoderLayer`` with our weights."""
    D, heads, (N, S, _), T = init["D"], init["heads"], x.shape, memory.shape[1]
    layer = _hollow_decoder(D, heads, init["hidden"])
    renamed = {
        **as_torch(under(weights, "self_attention"), prefix="self_attn."),
        **as_torch(under(weights, "cross_attention"), prefix="multihead_attn."),
        **_shared_for_torch(weights),
    }
    masks = {
        "tgt_mask": torch_mask(mask, N, heads, S, S),
        "memory_mask": torch_mask(memory_mask, N, heads, S, T),
    }
    return functional_call(layer, renamed, (x, memory), masks)


def _spoilt_decoder(fault):
    return plain_answers(lambda init, weights, **given: decode(init, **given, weights=weights, fault=fault))


def decoder_case(name, N, S, T, D, heads, hidden, mask=None, memory_mask=None, std=1.0):
    """Describe a case of the decoder block, S steps that attend to T."""
    init = {"D": D, "heads": heads, "hidden": hidden}
    x, memory = normal(N, S, D, std=std), normal(N, T, D, std=std)
    params = decoder_params("", D, hidden)
    return Case(name, init=init, params=params, x=x, memory=memory, mask=mask, memory_mask=memory_mask)


decoder_block = Module(
    functions=("DecoderBlock",),
    reference=plain_answers(decode_by_torch),
    call=use_module,
    cases=[
        decoder_case("3 steps, 5 in memory", 2, 3, 5, 4, 2, 6),
        decoder_case("as many steps as in memory, masks", 2, 4, 4, 6, 3, 5, mask(4, 4), mask(2, 1, 1, 4)),
        decoder_case("nothing to read in memory", 2, 3, 4, 4, 2, 3, mask(3, 3), mask(2, 1, 3, 4, blocked=[0, 1, 2])),
    ],
    points={"out": 3, "gradients": 1},
    forbidden=READY_MADE_ATTENTION,
    mistakes=[
        Mistake("normalises after the additions (post-norm)", _spoilt_decoder("post-norm"), hint=_ORDER),
        Mistake(
            "leaves the mask of the self-attention out",
            _spoilt_decoder("self-attention without mask"),
            hint="there are two masks, one for each attention",
        ),
        Mistake(
            "leaves the mask of the cross-attention out",
            _spoilt_decoder("cross-attention without mask"),
            hint="there are two masks, one for each attention",
        ),
        Mistake("swaps the masks", _spoilt_decoder("masks swapped"), hint="which mask speaks of which keys?"),
        Mistake(
            "uses the mask of the self-attention twice",
            _spoilt_decoder("same mask twice"),
            hint="which mask speaks of which keys?",
        ),
        Mistake(
            "normalises the memory with norm2",
            _spoilt_decoder("memory normalised"),
            hint="the memory has been normalised by whoever made it: norm2 is for the queries",
        ),
        Mistake(
            "attends to itself a second time",
            _spoilt_decoder("context is itself"),
            hint="where do keys and values of the cross-attention come from?",
        ),
        Mistake(
            "takes the queries of the cross-attention from memory",
            _spoilt_decoder("queries from memory"),
            hint="who asks, and who is asked?",
        ),
        Mistake(
            "leaves the cross-attention out",
            _spoilt_decoder("no cross-attention"),
            hint="a decoder block has three branches",
        ),
        Mistake("swaps the two attentions", _spoilt_decoder("attentions swapped"), hint="the order is in the formulas"),
        Mistake(
            "leaves the first shortcut out", _spoilt_decoder("no first shortcut"), hint="there are three additions"
        ),
        Mistake(
            "leaves the second shortcut out", _spoilt_decoder("no second shortcut"), hint="there are three additions"
        ),
        Mistake(
            "leaves the third shortcut out", _spoilt_decoder("no third shortcut"), hint="there are three additions"
        ),
        Mistake(
            "leaves norm1 out", _spoilt_decoder("without norm1"), hint="a layer norm stands in front of each branch"
        ),
        Mistake(
            "leaves norm2 out", _spoilt_decoder("without norm2"), hint="a layer norm stands in front of each branch"
        ),
        Mistake(
            "leaves norm3 out", _spoilt_decoder("without norm3"), hint="a layer norm stands in front of each branch"
        ),
    ],
)
