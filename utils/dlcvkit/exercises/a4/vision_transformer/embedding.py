"""The patch embedding, and the convolution that it is."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Finding, Function, Interrupted, Kind, Mistake, Module, normal
from dlcvkit.checking.values import kind_of
from dlcvkit.exercises.a3.pytorch_and_resnet.pieces import fc_weights, gradients_of, use_once
from dlcvkit.exercises.a4.vision_transformer.patches import as_argument, size_of

# The module.


def embed(x, weight, bias, patch_size):
    """Return the embedded patches (N, L, D) of images, by a convolution with ``weight`` (D, C * PH * PW)."""
    size = size_of(patch_size)
    kernel = weight.reshape(len(weight), x.shape[1], *size)
    return functional.conv2d(x, kernel, bias, stride=size).flatten(2).mT


def _embedding(
    *,
    without_bias=False,
    mean_subtracted=False,
    pixels_scaled=False,
    relu=False,
    column_order=False,
    channels_last=False,
):
    def forward(x, weights, patch_size):
        size, weight, bias = size_of(patch_size), weights["proj.weight"], weights["proj.bias"]
        if mean_subtracted:
            means = functional.avg_pool2d(x, size)
            x = x - means.repeat_interleave(size[0], 2).repeat_interleave(size[1], 3)
        if channels_last:
            weight = weight.unflatten(1, (*size, x.shape[1])).movedim(3, 1)
        out = embed(x / 255 if pixels_scaled else x, weight, None if without_bias else bias, patch_size)
        if column_order:
            out = out.unflatten(1, (x.shape[2] // size[0], x.shape[3] // size[1])).transpose(1, 2).flatten(1, 2)
        return out.relu() if relu else out

    def reference(init, params, x):
        trained = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        patch_size = init["patch_size"]
        found = gradients_of(lambda images: forward(images, trained, patch_size), x, trained)
        return forward(x, params, patch_size), found

    return reference


def embedding_case(name, N, C, sizes, patch_size, dim):
    """Describe a case: images (N, C, *sizes) whose patches become vectors of length ``dim``."""
    PH, PW = size_of(patch_size)
    init = {"patch_size": as_argument(patch_size), "in_channels": C, "dim": dim}
    return Case(name, init=init, params=fc_weights("proj", dim, C * PH * PW), x=normal(N, C, *sizes))


patch_embedding = Module(
    functions=("PatchEmbedding",),
    reference=_embedding(),
    call=use_once,
    cases=[
        embedding_case("two images of 3×8×12, patches of 4×4", 2, 3, (8, 12), 4, 5),
        embedding_case("patches of 2×3", 2, 2, (4, 9), (2, 3), 7),
    ],
    points={"tokens": 2, "gradients": 1},
    mistakes=[
        Mistake("leaves the bias out", _embedding(without_bias=True), hint="an affine layer has weights and a bias"),
        Mistake(
            "applies ReLU to the tokens",
            _embedding(relu=True),
            hint="the embedding is affine and nothing else: the blocks bring the nonlinearity",
        ),
        Mistake(
            "puts the patches in the order of columns",
            _embedding(column_order=True),
            hint="patch 1 is the right neighbour of patch 0, as patchify has it",
        ),
        Mistake(
            "puts the channel last within a patch",
            _embedding(channels_last=True),
            hint="the weights belong to rows in the order that patchify has: channel slowest",
        ),
        Mistake(
            "subtracts the mean of each patch",
            _embedding(mean_subtracted=True),
            hint="images come in normalised; the embedding changes nothing but by its weights",
        ),
        Mistake(
            "divides the pixels by 255",
            _embedding(pixels_scaled=True),
            hint="images come in normalised; the embedding changes nothing but by its weights",
        ),
    ],
)


# The same as a convolution.


def _call_as_convolution(as_convolution, weight, bias, patch_size, x):
    outputs, inputs = weight.shape
    proj = nn.Linear(inputs, outputs, device=weight.device, dtype=weight.dtype)
    proj.load_state_dict({"weight": weight, "bias": bias})
    conv = as_convolution(proj, as_argument(patch_size))
    if not isinstance(conv, nn.Conv2d):
        got = "None" if conv is None else f"a {kind_of(conv)}"
        raise Interrupted(Finding(Kind.STRUCTURE, f"as_convolution returned {got}; expected an nn.Conv2d"))
    # A device without memory stands in for a GPU.
    try:
        elsewhere = as_convolution(nn.Linear(inputs, outputs, device="meta"), as_argument(patch_size))
        moves = elsewhere.weight.is_meta
    except (RuntimeError, NotImplementedError):
        moves = False
    layer = {"kernel": list(conv.weight.shape), "device": "as proj" if moves else "another than that of proj"}
    return layer, conv.weight.detach(), conv(x)


def _convolution(arrange=None, *, without_bias=False, stride=None, padded=False, device="as proj"):
    """The convolution, with its kernel rearranged: ``arrange(weight, C, PH, PW)``."""

    def reference(weight, bias, patch_size, x):
        PH, PW = size_of(patch_size)
        C = weight.shape[1] // (PH * PW)
        kernel = weight.reshape(-1, C, PH, PW) if arrange is None else arrange(weight, C, PH, PW)
        steps = (PH, PW) if stride is None else stride
        padding = (PH // 2, PW // 2) if padded else 0
        out = functional.conv2d(x, kernel, None if without_bias else bias, stride=steps, padding=padding)
        return {"kernel": list(kernel.shape), "device": device}, kernel, out

    return reference


def convolution_case(name, N, C, sizes, patch_size, dim):
    """Describe a case of ``as_convolution``."""
    PH, PW = size_of(patch_size)
    size = patch_size if isinstance(patch_size, int) else list(patch_size)
    return Case(
        name,
        weight=normal(dim, C * PH * PW, std=0.3),
        bias=normal(dim),
        patch_size=size,
        x=normal(N, C, *sizes),
    )


as_convolution = Function(
    functions=("as_convolution",),
    reference=_convolution(),
    call=_call_as_convolution,
    cases=[
        convolution_case("two images of 3×8×12, patches of 4×4", 2, 3, (8, 12), 4, 5),
        convolution_case("patches of 2×3", 2, 2, (4, 9), (2, 3), 4),
    ],
    points={"layer": 1, "kernel": 1, "output": 1},
    mistakes=[
        Mistake(
            "keeps the bias that nn.Conv2d draws, or has none",
            _convolution(without_bias=True),
            hint="a convolution has a bias too: one number for each filter",
        ),
        Mistake(
            "makes the layer on the CPU wherever proj is",
            _convolution(device="another than that of proj"),
            hint="nn.Conv2d takes a device and a dtype",
        ),
        Mistake(
            "moves on by one pixel",
            _convolution(stride=1),
            hint="patches do not overlap: how far apart are the places of the window?",
        ),
        Mistake(
            "pads the image",
            _convolution(padded=True),
            hint="patches end where the image ends",
        ),
        Mistake(
            "takes the channel for the last axis of a row",
            _convolution(lambda w, C, PH, PW: w.reshape(-1, PH, PW, C).permute(0, 3, 1, 2)),
            hint="a row of weights is in the order of patchify; compare it with the axes of a kernel",
        ),
        Mistake(
            "transposes the kernels",
            _convolution(lambda w, C, PH, PW: w.reshape(-1, C, PW, PH).mT),
            hint="a row of weights is in the order of patchify; compare it with the axes of a kernel",
        ),
        Mistake(
            "turns the kernels round",
            _convolution(lambda w, C, PH, PW: w.reshape(-1, C, PH, PW).flip(2, 3)),
            hint="torch multiplies window and kernel entry by entry; nothing is turned round",
        ),
        Mistake(
            "exchanges filters and inputs",
            _convolution(lambda w, C, PH, PW: w.T.reshape(-1, C, PH, PW)),
            hint="nn.Linear keeps its weights as (outputs, inputs), nn.Conv2d as (filters, channels, ...)",
        ),
    ],
)
