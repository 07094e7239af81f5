"""What a vision transformer costs."""

from __future__ import annotations

import torch
from torch import nn

from dlcvkit.checking import Case, Function, Mistake


def _layers(image_size, patch_size, num_classes, dim, depth, mlp_dim, in_channels):
    """Return the layers of the net with the number of tokens that each one sees, and its bare parameters."""
    T = (image_size // patch_size) ** 2 + 1
    with torch.device("meta"):
        embed = nn.Linear(in_channels * patch_size**2, dim)
        head = nn.Linear(dim, num_classes)
        blocks = []
        for _ in range(depth):
            blocks += [nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), nn.LayerNorm(dim), nn.LayerNorm(dim)]
            blocks += [nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)]
        bare = [torch.zeros(dim), torch.zeros(T, dim)]
        norm = nn.LayerNorm(dim)
    return [(embed, T - 1), *((layer, T) for layer in blocks), (norm, T), (head, 1)], bare


def _cost(image_size, patch_size, num_classes, dim, depth, mlp_dim, in_channels, **faults):
    layers, bare = _layers(image_size, patch_size, num_classes, dim, depth, mlp_dim, in_channels)
    T = len(bare[1])
    linear = [(layer, tokens) for layer, tokens in layers if isinstance(layer, nn.Linear)]
    cost = {
        "tokens": T,
        "parameters": sum(p.numel() for layer, _ in layers for p in layer.parameters()) + sum(p.numel() for p in bare),
        "linear": sum(tokens * layer.weight.numel() for layer, tokens in linear),
        "attention": depth * 2 * T * T * dim,
    }
    biases = sum(len(layer.bias) for layer, _ in linear)
    norms = sum(p.numel() for layer, _ in layers if isinstance(layer, nn.LayerNorm) for p in layer.parameters())
    square = dim * dim + dim
    changes = {
        "no class token": {
            "tokens": T - 1,
            "parameters": cost["parameters"] - 2 * dim,
            "linear": cost["linear"] - sum(layer.weight.numel() for layer, tokens in linear if tokens == T),
            "attention": depth * 2 * (T - 1) ** 2 * dim,
        },
        "no token counted": {"tokens": T - 1},
        "no biases in attention": {"parameters": cost["parameters"] - depth * 4 * dim},
        "no biases": {"parameters": cost["parameters"] - biases},
        "no norms": {"parameters": cost["parameters"] - norms},
        "no last norm": {"parameters": cost["parameters"] - 2 * dim},
        "one norm a block": {"parameters": cost["parameters"] - depth * 2 * dim},
        "no positions": {"parameters": cost["parameters"] - T * dim},
        "no class token's numbers": {"parameters": cost["parameters"] - dim},
        "no output projection": {
            "parameters": cost["parameters"] - depth * square,
            "linear": cost["linear"] - depth * T * dim * dim,
        },
        "head for all tokens": {"linear": cost["linear"] + (T - 1) * dim * num_classes},
        "class token embedded": {"linear": cost["linear"] + dim * in_channels * patch_size**2},
        "scores only": {"attention": cost["attention"] // 2},
        "linear in tokens": {"attention": 2 * depth * T * dim},
        "no depth": {"attention": 2 * T * T * dim},
        "two operations": {"linear": 2 * cost["linear"], "attention": 2 * cost["attention"]},
        "patches attend only": {"attention": depth * 2 * (T - 1) ** 2 * dim},
    }
    return cost | (changes[faults["fault"]] if faults else {})


def _with(fault):
    def variant(**case):
        return _cost(**case, fault=fault)

    return variant


def _by_torch(**case):
    return _cost(**case)


def _call(vit_cost, **settings):
    return vit_cost(**settings)


def cost_case(name, image_size, patch_size, num_classes, dim, depth, mlp_dim, in_channels=3):
    """Describe a net."""
    return Case(
        name,
        image_size=image_size,
        patch_size=patch_size,
        num_classes=num_classes,
        dim=dim,
        depth=depth,
        mlp_dim=mlp_dim,
        in_channels=in_channels,
    )


vit_cost = Function(
    functions=("vit_cost",),
    reference=_by_torch,
    call=_call,
    cases=[
        cost_case("ViT-B/16", 224, 16, 1000, 768, 12, 3072),
        cost_case("a small net for one channel", 12, 4, 5, 6, 3, 8, 1),
    ],
    points={"cost": 4},
    mistakes=[
        Mistake(
            "forgets the class token when it counts tokens",
            _with("no token counted"),
            hint="the sequence has one element more than there are patches",
        ),
        Mistake(
            "forgets the class token",
            _with("no class token"),
            hint="the sequence has one element more than there are patches, and the nets and attention see all of them",
        ),
        Mistake(
            "leaves the biases of attention out",
            _with("no biases in attention"),
            hint="query, key, value and the projection of the heads' outputs have D biases each",
        ),
        Mistake(
            "leaves the biases out", _with("no biases"), hint="every nn.Linear has M biases besides its D M weights"
        ),
        Mistake("leaves the layer norms out", _with("no norms"), hint="a layer norm has a scale and a shift, D each"),
        Mistake(
            "leaves the last layer norm out",
            _with("no last norm"),
            hint="one layer norm belongs to no block",
        ),
        Mistake(
            "counts one layer norm a block",
            _with("one norm a block"),
            hint="a block has two branches, with a norm each",
        ),
        Mistake("leaves the positions out", _with("no positions"), hint="positions are learned: T rows of D"),
        Mistake(
            "forgets the class token, or its position, among the parameters",
            _with("no class token's numbers"),
            hint="the class token has D numbers, and a row among the positions",
        ),
        Mistake(
            "leaves the projection of the heads' outputs out",
            _with("no output projection"),
            hint="attention has four D×D matrices: query, key, value, and one for what the heads bring together",
        ),
        Mistake(
            "applies the head to every token",
            _with("head for all tokens"),
            hint="how many tokens of an image does the head read?",
        ),
        Mistake(
            "embeds the class token like a patch",
            _with("class token embedded"),
            hint="the class token is no patch: it goes through no embedding",
        ),
        Mistake(
            "counts one of the two products of attention",
            _with("scores only"),
            hint="queries times keys, and then the weights times the values",
        ),
        Mistake(
            "takes attention for linear in the tokens",
            _with("linear in tokens"),
            hint="every token is compared with every token",
        ),
        Mistake("counts the attention of one block", _with("no depth"), hint="there are depth blocks"),
        Mistake(
            "counts multiplications and additions apart",
            _with("two operations"),
            hint="a multiplication and the addition that goes with it count as one",
        ),
        Mistake(
            "lets only patches attend",
            _with("patches attend only"),
            hint="the class token attends and is attended to",
        ),
    ],
)
