"""Where a vision transformer looks: attention maps and rollout."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from dlcvkit.checking import Case, Function, Mistake, drawn, normal
from dlcvkit.checking.module import load_params
from dlcvkit.exercises.a4.vision_transformer.whole import block, block_weights, one_way, part_of

# The maps.


def _use_blocks(attention_maps, x, heads, depth, mlp_dim, params):
    settings = {"activation": "gelu", "norm_first": True, "batch_first": True}
    blocks = nn.ModuleList(nn.TransformerEncoderLayer(x.shape[2], heads, mlp_dim, **settings) for _ in range(depth))
    load_params(blocks, params, "the list of blocks")
    with one_way():
        return attention_maps(blocks.eval(), x)


def _maps(*, without_norm=False, standing=False, without_mlp=False, after=False, second_norm=False, arrange=None):
    """The maps by torch's own layers; the keywords switch mistakes on."""

    def reference(x, heads, depth, mlp_dim, params):
        layer = block(x.shape[2], heads, mlp_dim).eval()
        maps = []
        for number in range(depth):
            weights = part_of(params, str(number))
            h = functional_call(layer, weights, (x,)) if after else x
            norm = layer.norm2 if second_norm else layer.norm1
            normed = functional_call(norm, part_of(weights, "norm2" if second_norm else "norm1"), (h,))
            h = h if without_norm else normed
            told = {"need_weights": True, "average_attn_weights": False}
            out, found = functional_call(layer.self_attn, part_of(weights, "self_attn"), (h, h, h), told)
            maps.append(found)
            if not standing:
                x = x + out if without_mlp else functional_call(layer, weights, (x,))
        stacked = torch.stack(maps)
        return stacked if arrange is None else arrange(stacked)

    return reference


def maps_case(name, N, T, dim, heads, depth, mlp_dim, std=1.0):
    """Describe ``depth`` blocks and a sequence (N, T, dim) for them."""
    params = {}
    for number in range(depth):
        params |= block_weights(str(number), dim, mlp_dim)
    x = normal(N, T, dim, std=std, mean=0.5)
    return Case(name, x=x, heads=heads, depth=depth, mlp_dim=mlp_dim, params=params)


attention_maps = Function(
    functions=("attention_maps",),
    reference=_maps(),
    call=_use_blocks,
    cases=[
        maps_case("two images, two heads, three blocks", 2, 5, 6, 2, 3, 7),
        maps_case("as many images as heads and blocks", 3, 4, 6, 3, 3, 5),
    ],
    points={"maps": 3},
    mistakes=[
        Mistake(
            "lets the attention see tokens that are not normalised",
            _maps(without_norm=True),
            hint="with norm first, what does the attention inside a block get to see?",
        ),
        Mistake(
            "normalises with the norm of the other branch",
            _maps(second_norm=True),
            hint="a block has a norm for each branch: norm1 stands before the attention",
        ),
        Mistake(
            "gives every block the tokens that enter the first",
            _maps(standing=True),
            hint="each block takes what the one before it has given",
        ),
        Mistake(
            "goes on without the second branch of the block",
            _maps(without_mlp=True),
            hint="the next block takes the output of this one: the whole block, not only its attention",
        ),
        Mistake(
            "looks at what leaves a block instead of what enters it",
            _maps(after=True),
            hint="the attention of a block works on the block's input",
        ),
        Mistake(
            "averages the heads",
            _maps(arrange=lambda maps: maps.mean(2)),
            hint="torch averages the heads unless it is told not to: average_attn_weights",
        ),
        Mistake(
            "puts the images first",
            _maps(arrange=lambda maps: maps.transpose(0, 1)),
            hint="the result has the axes block, image, head, query, key",
        ),
        Mistake(
            "exchanges queries and keys",
            _maps(arrange=lambda maps: maps.mT),
            hint="each row of a map belongs to a query and sums to 1",
        ),
        Mistake(
            "returns the last block's maps only",
            _maps(arrange=lambda maps: maps[-1]),
            hint="the result has the axes block, image, head, query, key",
        ),
    ],
)


# Rollout.


def roll(maps, *, mix=None, heads=None, backwards=False, entrywise=False, averaged=False, last_only=False):
    """Return the rollout of attention maps; the keywords switch mistakes on."""
    each = maps.mean(2) if heads is None else heads(maps)
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    each = 0.5 * each + 0.5 * identity if mix is None else mix(each, identity)
    if averaged:
        return each.mean(0)
    if last_only:
        return each[-1]
    whole = each[0]
    for step in each[1:]:
        whole = whole * step if entrywise else whole @ step if backwards else step @ whole
    return whole


def _rolled(**changes):
    return lambda maps: roll(maps, **changes)


def _through_all_heads(maps):
    """One chain for each head, averaged at the end."""
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    whole = identity
    for step in 0.5 * maps + 0.5 * identity:
        whole = step @ whole
    return whole.mean(1)


def rows_that_sum_to_one(*shape, sharpness=2.0):
    """Describe attention maps of a shape."""

    def draw(generator):
        scores = sharpness * torch.randn(shape, generator=generator, dtype=torch.float64)
        return scores.softmax(-1)

    return drawn(draw)


attention_rollout = Function(
    functions=("attention_rollout",),
    reference=_rolled(),
    cases=[
        Case("three blocks, two images, two heads, five tokens", maps=rows_that_sum_to_one(3, 2, 2, 5, 5)),
        Case("everything of size 4", maps=rows_that_sum_to_one(4, 4, 4, 4, 4)),
    ],
    points={"rollout": 3},
    mistakes=[
        Mistake(
            "multiplies in the wrong order",
            _rolled(backwards=True),
            hint="a row of the last block says which of its inputs count; what multiplies it from the right?",
        ),
        Mistake(
            "forgets the shortcut",
            _rolled(mix=lambda each, identity: each),
            hint="half of what leaves a block's attention came past it, from the same token",
        ),
        Mistake(
            "adds the shortcut without halving",
            _rolled(mix=lambda each, identity: each + identity),
            hint="rows are to sum to 1, after each block",
        ),
        Mistake(
            "multiplies entry by entry",
            _rolled(entrywise=True),
            hint="sum over all tokens in between: a product of matrices",
        ),
        Mistake(
            "averages over the blocks",
            _rolled(averaged=True),
            hint="blocks follow one another: what a later one mixes, earlier ones have mixed already",
        ),
        Mistake(
            "uses the last block only", _rolled(last_only=True), hint="the first block has mixed the patches already"
        ),
        Mistake(
            "sums over the heads",
            _rolled(heads=lambda maps: maps.sum(2)),
            hint="the mean over heads keeps the rows' sums at 1",
        ),
        Mistake(
            "takes the maximum over the heads",
            _rolled(heads=lambda maps: maps.amax(2)),
            hint="the mean over heads keeps the rows' sums at 1",
        ),
        Mistake(
            "averages the heads at the end",
            _through_all_heads,
            hint="the heads of a block are brought together before the next block",
        ),
        Mistake(
            "takes the columns of a map for its queries",
            lambda maps: roll(maps.mT),
            hint="rows are queries, and it is the rows that sum to 1",
        ),
        Mistake(
            "leaves the first block out",
            lambda maps: roll(maps[1:]),
            hint="the first block counts like every other one: where does the product start?",
        ),
        Mistake(
            "leaves the class token out",
            lambda maps: roll(maps)[:, 1:, 1:],
            hint="the class token is a token: the result has T rows and T columns",
        ),
        Mistake(
            "returns the row of the class token only",
            lambda maps: roll(maps)[:, 0],
            hint="all rows are asked for; the class token's is read off afterwards",
        ),
    ],
)
