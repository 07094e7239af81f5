"""Attention maps and rollout."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden
from dlcvkit.exercises.a4.vision_transformer.looking import maps_case, rows_that_sum_to_one

# attention_maps.


def _maps(blocks, x, fault=""):
    """The maps, by queries and keys, spoilt by one ``fault``."""
    found = []
    for block in blocks:
        attention = block.self_attn
        D, heads = x.shape[2], attention.num_heads
        h = functional.layer_norm(x, x.shape[2:]) if fault == "a norm without weights" else block.norm1(x)
        projected = functional.linear(h, attention.in_proj_weight, attention.in_proj_bias)
        if fault == "no bias":
            projected = functional.linear(h, attention.in_proj_weight)
        q, k, v = projected.split(D, dim=2)
        if fault == "keys and values":
            k = v
        if fault == "heads interleaved":
            q, k = (each.unflatten(2, (-1, heads)).permute(0, 3, 1, 2) for each in (q, k))
        else:
            q, k = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (q, k))
        size = D if fault == "scaled by D" else D // heads
        scores = q @ k.mT / size**0.5
        if fault == "scores":
            found.append(scores)
        elif fault == "softmax over queries":
            found.append(scores.softmax(2))
        elif fault == "one head only":
            found.append(scores.softmax(3)[:, :1].expand_as(scores))
        elif fault == "without the class token":
            found.append(scores.softmax(3)[..., 1:, 1:])
        else:
            found.append(scores.softmax(3))
        x = block.norm2(block(x)) if fault == "normed twice" else block(x)
    if fault == "a list":
        return found
    if fault == "blocks in reverse":
        return torch.stack(found[::-1])
    if fault == "heads first":
        return torch.stack(found).transpose(1, 2)
    if fault == "first block only":
        return torch.stack(found[:1])
    if fault == "training mode":
        for block in blocks:
            block.train()
        return _maps(blocks, x)
    return torch.stack(found)


def _in_place(blocks, x):
    found = []
    for block in blocks:
        h = block.norm1(x)
        found.append(block.self_attn(h, h, h, average_attn_weights=False)[1])
        x.copy_(block(x))
    return torch.stack(found)


def _by_hooks(blocks, x):
    """Listen to what the norms give while the blocks run."""
    heard = []
    handles = [block.norm1.register_forward_hook(lambda module, args, out: heard.append(out)) for block in blocks]
    for block in blocks:
        x = x + block._sa_block(block.norm1(x), None, None)
        x = x + block._ff_block(block.norm2(x))
    for handle in handles:
        handle.remove()
    found = [block.self_attn(h, h, h, average_attn_weights=False)[1] for block, h in zip(blocks, heard, strict=True)]
    return torch.stack(found)


attention_maps = Hidden(
    cases=[
        maps_case("one image", 1, 5, 6, 3, 2, 4),
        maps_case("one block", 2, 4, 4, 2, 1, 6),
        maps_case("one head", 2, 4, 5, 1, 2, 3),
        maps_case("one token", 3, 1, 4, 2, 2, 5),
        maps_case("as many heads as numbers", 2, 3, 4, 4, 2, 4),
        maps_case("large tokens", 2, 5, 6, 2, 2, 7, std=20.0),
        maps_case("everything of size 4", 4, 4, 4, 4, 4, 4),
        maps_case("non-contiguous", 2, 5, 6, 3, 2, 4).strided(),
        maps_case("float32", 2, 6, 8, 2, 3, 9).float32(),
    ],
    mutants={
        "changes x": _in_place,
        **{
            fault: lambda blocks, x, fault=fault: _maps(blocks, x, fault)
            for fault in (
                "a norm without weights",
                "no bias",
                "keys and values",
                "heads interleaved",
                "scaled by D",
                "scores",
                "softmax over queries",
                "one head only",
                "without the class token",
                "normed twice",
                "blocks in reverse",
                "heads first",
                "first block only",
                "training mode",
            )
        },
    },
    solutions={"queries and keys by hand": _maps, "by hooks": _by_hooks},
    equivalent={
        "attention_maps: block.self_attn(h, h, h, need_weights=True, average_attn_weights=False) -> block.self_attn(h, h, h, average_attn_weights=False)": "torch's default is to give the weights",
    },
)


# attention_rollout.


def _rollout(maps, fault=""):
    """The rollout from the last block down, spoilt by one ``fault``."""
    B, N, h, T, _ = maps.shape
    whole = torch.eye(T, dtype=maps.dtype, device=maps.device).expand(N, T, T)
    for number in reversed(range(B)):
        step = maps[number].sum(1) / h
        if fault == "one head only":
            step = maps[number, :, 0]
        if fault == "median of heads":
            step = maps[number].median(1).values
        half = 0.4 if fault == "shortcut of 0.6" else 0.5
        shortcut = torch.eye(T, dtype=maps.dtype, device=maps.device)
        if fault == "shortcut into the class token":
            shortcut = torch.zeros_like(shortcut)
            shortcut[:, 0] = 1
        if fault == "ones for the shortcut":
            shortcut = torch.ones_like(shortcut) / T
        if fault == "first block without shortcut" and number == 0:
            half = 1.0
        if fault == "last block without shortcut" and number == B - 1:
            half = 1.0
        if fault == "without the first block" and number == 0 and B > 1:
            continue
        step = half * step + (1 - half) * shortcut
        if fault == "transposed":
            step = step.mT
        whole = whole @ step
    if fault == "mean over images":
        return whole.mean(0)
    if fault == "without the class token":
        return whole[:, 1:, 1:]
    if fault == "transposed at the end":
        return whole.mT
    if fault == "columns normalised":
        return whole / whole.sum(1, keepdim=True)
    if fault == "largest entry made 1":
        return whole / whole.amax((1, 2), keepdim=True)
    return whole


def _normalised_at_the_end(maps):
    T = maps.shape[-1]
    joint = maps.mean(2)
    joint = joint + torch.eye(T, dtype=maps.dtype, device=maps.device)
    whole = joint[0]
    for step in joint[1:]:
        whole = torch.bmm(step, whole)
    return whole / whole.sum(-1, keepdim=True)


def _by_recursion(maps):
    """(A R + R) / 2, without an identity but for the first."""
    first = maps[0].mean(1)
    whole = (first + torch.eye(first.shape[-1], dtype=maps.dtype, device=maps.device)) / 2
    for step in maps[1:]:
        whole = torch.einsum("nhst,ntu->nsu", step, whole) / (2 * step.shape[1]) + whole / 2
    return whole


attention_rollout = Hidden(
    cases=[
        Case("one block", maps=rows_that_sum_to_one(1, 2, 3, 4, 4)),
        Case("one image", maps=rows_that_sum_to_one(2, 1, 3, 5, 5)),
        Case("one head", maps=rows_that_sum_to_one(3, 2, 1, 4, 4)),
        Case("two tokens", maps=rows_that_sum_to_one(3, 2, 2, 2, 2)),
        Case("one token", maps=rows_that_sum_to_one(3, 2, 2, 1, 1)),
        Case("twelve blocks", maps=rows_that_sum_to_one(12, 2, 2, 6, 6, sharpness=6.0)),
        Case("non-contiguous", maps=rows_that_sum_to_one(3, 2, 2, 5, 5)).strided(),
        Case("float32", maps=rows_that_sum_to_one(3, 2, 4, 7, 7)).float32(),
    ],
    mutants={
        fault: lambda maps, fault=fault: _rollout(maps, fault)
        for fault in (
            "one head only",
            "median of heads",
            "shortcut of 0.6",
            "shortcut into the class token",
            "ones for the shortcut",
            "first block without shortcut",
            "last block without shortcut",
            "without the first block",
            "transposed",
            "mean over images",
            "without the class token",
            "transposed at the end",
            "columns normalised",
            "largest entry made 1",
        )
    },
    solutions={
        "from the last block down": _rollout,
        "normalised at the end": _normalised_at_the_end,
        "without a matrix for the shortcut": _by_recursion,
    },
    equivalent={
        "attention_rollout: torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device) -> "
        "torch.eye(maps.shape[-1], device=maps.device)": "0 and 0.5 are exact in float32, and the sum has the maps' dtype",
        "attention_rollout: maps.shape[-1] -> maps.shape[-2]": "maps have as many rows as columns",
    },
)
