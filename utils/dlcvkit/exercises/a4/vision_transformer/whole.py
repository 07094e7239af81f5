"""The vision transformer."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from dlcvkit.checking import Case, Finding, Function, Interrupted, Kind, Mistake, normal
from dlcvkit.checking.module import load_params
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import fc_weights, gradients_of, gradients_or_stop
from dlcvkit.exercises.a4.vision_transformer.embedding import embed
from dlcvkit.exercises.a4.vision_transformer.patches import as_argument, size_of

_LARGE = 0.05
_SMALL = 0.005


@contextmanager
def one_way():
    """Let torch compute its encoder layers in one way only: it has a faster one that rounds differently."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _start(net):
    """Return, in words, how the weights of a fresh net begin."""
    found = {}
    for name in ("cls", "pos"):
        value = getattr(net, name, None)
        if not isinstance(value, torch.Tensor):
            found[name] = "missing"
        elif not isinstance(value, nn.Parameter):
            found[name] = "not an nn.Parameter"
        else:
            spread = float(value.detach().double().pow(2).mean().sqrt())
            found[name] = "zeros" if spread == 0 else "too large" if spread > _LARGE else "small random numbers"
            if 0 < spread < _SMALL:
                found[name] = "too small"
    first = [
        value.detach()
        for name, value in net.named_parameters(remove_duplicate=False)
        if name.endswith("linear1.weight")
    ]
    is_copied = any(torch.equal(first[0], other) for other in first[1:])
    found["blocks"] = "equal weights in several blocks" if is_copied else "weights of their own"
    return found


def _drops(layer):
    attends = isinstance(layer, nn.MultiheadAttention)
    return (isinstance(layer, nn.Dropout) and layer.p > 0) or (attends and layer.dropout > 0)


def _use_vit(vit, init, params, x):
    options = {name: as_argument(value) for name, value in init.items()}
    net = vit(**options)
    if isinstance(net, nn.Module) and any(_drops(layer) for layer in net.modules()):
        reason = "ViT has dropout above 0; torch's encoder layer has 0.1 unless it is told otherwise"
        raise Interrupted(Finding(Kind.STRUCTURE, reason))
    start = _start(net) if isinstance(net, nn.Module) else {}
    load_params(net, params, "ViT")
    with one_way():
        evaluating = net.eval()(x)
        training = net.train()(x)
        values = [start, net.tokens(x), evaluating, training]
        return (*values, gradients_or_stop(net, x, dict(net.named_parameters()), values))


def block_weights(name, dim, mlp_dim):
    """Describe the weights of an ``nn.TransformerEncoderLayer`` under its name."""
    return {
        f"{name}.self_attn.in_proj_weight": normal(3 * dim, dim, std=1.2 * dim**-0.5),
        f"{name}.self_attn.in_proj_bias": normal(3 * dim, std=0.4),
        **fc_weights(f"{name}.self_attn.out_proj", dim, dim),
        **fc_weights(f"{name}.linear1", mlp_dim, dim),
        **fc_weights(f"{name}.linear2", dim, mlp_dim),
        **norm_weights(f"{name}.norm1", dim),
        **norm_weights(f"{name}.norm2", dim),
    }


def norm_weights(name, dim):
    """Describe the weights of a layer norm under its name."""
    return {f"{name}.weight": normal(dim, mean=1.0, std=0.4), f"{name}.bias": normal(dim, std=0.4)}


def part_of(weights, name):
    """Return the weights below a name, without it."""
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(f"{name}.")}


def block(dim, heads, mlp_dim, **changes):
    """Return one of torch's encoder layers on no device, to be called with weights; ``changes`` are its settings."""
    settings = {"activation": "gelu", "norm_first": True, "batch_first": True, "dropout": 0.0} | changes
    return nn.TransformerEncoderLayer(dim, heads, mlp_dim, device="meta", **settings)


def _tokens(x, weights, init, *, without_positions=False, cls_last=False, cls_without_position=False):
    rows = embed(x, weights["embed.proj.weight"], weights["embed.proj.bias"], init["patch_size"])
    cls = weights["cls"].expand(len(rows), 1, -1)
    pos = weights["pos"]
    if cls_without_position:
        return torch.cat([cls, rows + pos[1:]], dim=1)
    both = torch.cat([rows, cls] if cls_last else [cls, rows], dim=1)
    return both if without_positions else both + pos


def _scores(
    x,
    weights,
    init,
    *,
    settings=None,
    blocks=None,
    without_norm=False,
    reads="class token",
    softmax=False,
    norm_before=False,
    **flags,
):
    h = _tokens(x, weights, init, **flags)
    depth = init["depth"] if blocks is None else blocks
    layer = block(init["dim"], init["heads"], init["mlp_dim"], **(settings or {}))
    scale, shift = weights["norm.weight"], weights["norm.bias"]

    def normalise(rows):
        return functional.layer_norm(rows, rows.shape[-1:], scale, shift)

    h = normalise(h) if norm_before else h
    for number in range(depth):
        h = functional_call(layer, part_of(weights, f"blocks.{number}"), (h,))
    h = h if without_norm or norm_before else normalise(h)
    chosen = {"class token": h[:, 0], "last": h[:, -1], "mean": h.mean(1), "mean of patches": h[:, 1:].mean(1)}[reads]
    scores = functional.linear(chosen, weights["head.weight"], weights["head.bias"])
    return scores.softmax(1) if softmax else scores


_STARTED = {"cls": "small random numbers", "pos": "small random numbers", "blocks": "weights of their own"}


def _net(start=None, **flags):
    """The net; ``start`` replaces what is found of a fresh one, the other keywords switch mistakes on."""

    def reference(init, params, x):
        trained = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        found = gradients_of(lambda images: _scores(images, trained, init, **flags), x, trained)
        scores = _scores(x, params, init, **flags)
        shared = {name: value for name, value in flags.items() if name in _TOKEN_FLAGS}
        return _STARTED | (start or {}), _tokens(x, params, init, **shared), scores, scores, found

    return reference


_TOKEN_FLAGS = ("without_positions", "cls_last", "cls_without_position")


def vit_case(name, N, C, sizes, patch_size, K, dim, depth, heads, mlp_dim):
    """Describe a net and images (N, C, *sizes) for it."""
    PH, PW = size_of(patch_size)
    places = sizes[0] // PH * (sizes[1] // PW)
    params = {"cls": normal(dim), "pos": normal(places + 1, dim, std=0.5)}
    params |= fc_weights("embed.proj", dim, C * PH * PW)
    for number in range(depth):
        params |= block_weights(f"blocks.{number}", dim, mlp_dim)
    params |= norm_weights("norm", dim) | fc_weights("head", K, dim)
    init = {
        "image_size": list(sizes),
        "patch_size": patch_size if isinstance(patch_size, int) else list(patch_size),
        "num_classes": K,
        "dim": dim,
        "depth": depth,
        "heads": heads,
        "mlp_dim": mlp_dim,
        "in_channels": C,
    }
    return Case(name, init=init, params=params, x=normal(N, C, *sizes))


vit = Function(
    functions=("ViT",),
    reference=_net(),
    call=_use_vit,
    cases=[
        vit_case("two images of 3×8×12, two blocks", 2, 3, (8, 12), 4, 5, 24, 2, 3, 20),
        vit_case("patches of 2×3, three blocks", 3, 2, (4, 9), (2, 3), 4, 32, 3, 2, 12),
    ],
    points={"start": 1, "tokens": 1, "evaluation": 3, "training": 1, "gradients": 1},
    mistakes=[
        Mistake(
            "makes the blocks copies of one block",
            _net(start={"blocks": "equal weights in several blocks"}),
            hint="nn.TransformerEncoder copies the layer that it is given, and so do list multiplication and deepcopy",
        ),
        Mistake(
            "starts class token and positions with zeros",
            _net(start={"cls": "zeros", "pos": "zeros"}),
            hint="the docstring says how large the first numbers are",
        ),
        Mistake(
            "starts class token and positions with numbers as large as the signal",
            _net(start={"cls": "too large", "pos": "too large"}),
            hint="the docstring says how large the first numbers are",
        ),
        Mistake(
            "normalises after the sum instead of before the branch",
            _net(settings={"norm_first": False}),
            hint="torch's encoder layer has the original order by default; the ViT has the other one",
        ),
        Mistake(
            "uses ReLU in the blocks",
            _net(settings={"activation": "relu"}),
            hint="torch's encoder layer has ReLU by default; the ViT has GELU",
        ),
        Mistake(
            "lets images attend to each other",
            _net(settings={"batch_first": False}),
            hint="torch's encoder layer takes axis 0 for the sequence unless it is told that the batch is there",
        ),
        Mistake(
            "leaves the last layer norm out",
            _net(without_norm=True),
            hint="with norm first, what leaves the last block has not been normalised",
        ),
        Mistake(
            "normalises before the blocks",
            _net(norm_before=True),
            hint="self.norm comes after the last block",
        ),
        Mistake(
            "reads the mean of all tokens",
            _net(reads="mean"),
            hint="the head reads one token: which one was put there for it?",
        ),
        Mistake(
            "reads the mean of the patches",
            _net(reads="mean of patches"),
            hint="the head reads one token: which one was put there for it?",
        ),
        Mistake(
            "reads the last token",
            _net(reads="last"),
            hint="the head reads the class token; where did add_class_token put it?",
        ),
        Mistake(
            "leaves the positions out",
            _net(without_positions=True),
            hint="tokens(x) gives what add_class_token gives",
        ),
        Mistake(
            "puts the class token last",
            _net(cls_last=True),
            hint="tokens(x) gives what add_class_token gives",
        ),
        Mistake(
            "uses the first block only",
            _net(blocks=1),
            hint="each block takes what the one before it has given",
        ),
        Mistake(
            "applies softmax to the scores",
            _net(softmax=True),
            hint="the loss wants scores: nothing comes after the head",
        ),
    ],
)
