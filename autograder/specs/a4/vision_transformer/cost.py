"""What a vision transformer costs."""

from __future__ import annotations

import torch
from torch import nn

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a4.vision_transformer.cost import cost_case


def _by_hand(image_size, patch_size, num_classes, dim, depth, mlp_dim, in_channels=3, fault=""):
    """The dict, spoilt by one ``fault``."""
    side = image_size // patch_size
    T = side * side + 1
    C = 3 if fault == "always three channels" else in_channels
    M = 4 * dim if fault == "mlp_dim taken for 4 D" else mlp_dim
    length = C * patch_size * patch_size
    projections = 3 * dim * dim if fault == "three projections" else 4 * dim * dim
    weights = projections + 2 * dim * M
    biases = 4 * dim + M + dim
    if fault == "biases of the small net left out":
        biases = 4 * dim
    norms = 4 * dim
    parameters = length * dim + dim + dim + T * dim + depth * (weights + biases + norms)
    parameters += 2 * dim + dim * num_classes + num_classes
    tokens_in_head = 0 if fault == "head left out" else 1
    linear = (T - 1) * length * dim + depth * T * weights + tokens_in_head * dim * num_classes
    attention = depth * 2 * T * T * dim
    if fault == "biases counted as multiply-adds":
        linear += (T - 1) * dim + depth * T * biases + num_classes
    if fault == "embedding left out":
        linear -= (T - 1) * length * dim
    if fault == "tokens of the small net without the class token":
        linear -= depth * 2 * dim * M
    if fault == "attention without D":
        attention = depth * 2 * T * T
    if fault == "attention in linear":
        linear += attention
    if fault == "floats":
        return {
            "tokens": (image_size / patch_size) ** 2 + 1,
            "parameters": float(parameters) + 0.5,
            "linear": linear,
            "attention": attention,
        }
    if fault == "no bias in the head":
        parameters -= num_classes
    if fault == "no bias in the embedding":
        parameters -= dim
    if fault == "parameters of one block":
        parameters -= (depth - 1) * (weights + biases + norms)
    if fault == "a tuple":
        return T, parameters, linear, attention
    if fault == "another key":
        return {"tokens": T, "params": parameters, "linear": linear, "attention": attention}
    return {"tokens": T, "parameters": parameters, "linear": linear, "attention": attention}


def _by_building(image_size, patch_size, num_classes, dim, depth, mlp_dim, in_channels=3):
    """Build the net on no device and ask it."""
    T = 1 + (image_size // patch_size) ** 2
    with torch.device("meta"):
        net = nn.ModuleList([nn.Linear(in_channels * patch_size**2, dim), nn.Linear(dim, num_classes)])
        blocks = nn.ModuleList(nn.TransformerEncoderLayer(dim, 1, mlp_dim) for _ in range(depth))
        norm = nn.LayerNorm(dim)
    modules = [net, blocks, norm]
    parameters = sum(p.numel() for module in modules for p in module.parameters()) + (T + 1) * dim
    matrices = sum(p.numel() for p in blocks.parameters() if p.dim() == 2)
    linear = (T - 1) * net[0].weight.numel() + T * matrices + net[1].weight.numel()
    return {"tokens": T, "parameters": parameters, "linear": linear, "attention": 2 * depth * T**2 * dim}


FAULTS = """always three channels, mlp_dim taken for 4 D, three projections, biases of the small net left out, head left out,
    biases counted as multiply-adds, embedding left out, tokens of the small net without the class token,
    attention without D, attention in linear, floats, no bias in the head, no bias in the embedding,
    parameters of one block, a tuple, another key"""


def _mutant(fault):
    return lambda *sizes, **options: _by_hand(*sizes, **options, fault=fault)


vit_cost = Hidden(
    cases=[
        cost_case("one patch", 8, 8, 3, 4, 2, 5),
        cost_case("patches of one pixel", 5, 1, 2, 6, 1, 7, 2),
        cost_case("one block", 16, 4, 7, 10, 1, 24),
        cost_case("no block", 12, 3, 4, 5, 0, 9),
        cost_case("one class", 10, 5, 1, 8, 4, 6, 4),
        cost_case("ViT-L/16", 224, 16, 1000, 1024, 24, 4096),
        cost_case("the net of this notebook", 32, 4, 10, 64, 3, 128),
    ],
    mutants={" ".join(fault.split()): _mutant(" ".join(fault.split())) for fault in FAULTS.split(",")},
    solutions={"sums by hand": _by_hand, "builds the net": _by_building},
)
