"""Parts of a net that stylises in one pass: instance norm with a style to choose, and enlarging without a grid."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import TORCH_LAYERS, Case, Finding, Function, Interrupted, Kind, Mistake, given, labels, normal

_WRT = ("x", "gammas", "betas")


def _three_gradients(function, x, gammas, betas, styles, eps, upstream):
    """The output, and its gradients by autograd under their names."""
    variables = {
        name: value.detach().clone().requires_grad_() for name, value in zip(_WRT, (x, gammas, betas), strict=True)
    }
    with torch.enable_grad():
        out = function(*variables.values(), styles, eps)
        if not isinstance(out, torch.Tensor) or not out.requires_grad or out.shape != upstream.shape:
            return out, None
        found = torch.autograd.grad(out, list(variables.values()), upstream, allow_unused=True)
    filled = {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(variables.items(), found, strict=True)}
    return out.detach(), filled


def _apply(conditional_instance_norm, x, gammas, betas, styles, eps, upstream):
    """Return the output on the inputs as they are, and the gradients by autograd.

    Raises:
        Interrupted: If there is no gradient; it holds the output.
    """
    out = conditional_instance_norm(x, gammas, betas, styles, eps)
    gradients = _three_gradients(conditional_instance_norm, x, gammas, betas, styles, eps, upstream)[1]
    if gradients is None:
        text = "there is no gradient: the output has another shape than x, or is cut off from it"
        hint = "compute with x, gammas and betas to the end; no item(), no detach(), no torch.no_grad()"
        raise Interrupted(Finding(Kind.STRUCTURE, text, hint=hint), (out, None), ["gradients"])
    return out, gradients


def _with_gradients(norm):
    """What is expected of a function with this ``norm(x, gammas, betas, styles, eps)``."""
    return lambda **given: _three_gradients(norm, **given)


def _normalised(x, eps):
    if x[0, 0].numel() == 1:
        return torch.zeros_like(x) * x  # instance_norm refuses to normalise a single position
    return functional.instance_norm(x, eps=eps)


def _each(gammas, betas, styles):
    return gammas.index_select(0, styles)[:, :, None, None], betas.index_select(0, styles)[:, :, None, None]


def _norm(x, gammas, betas, styles, eps):
    gamma, beta = _each(gammas, betas, styles)
    return torch.addcmul(beta, _normalised(x, eps), gamma)


def _over(dims, correction=0):
    """The norm with statistics over other axes."""

    def norm(x, gammas, betas, styles, eps):
        gamma, beta = _each(gammas, betas, styles)
        mean = x.mean(dims, keepdim=True)
        # Not var_mean, which warns where nothing is left to divide by.
        squares = (x - mean).square().sum(dims, keepdim=True)
        variance = squares / (x.numel() // mean.numel() - correction)
        return (x - mean) / (variance + eps) ** 0.5 * gamma + beta

    return norm


def _divided_by(size_of):
    def norm(x, gammas, betas, styles, eps):
        gamma, beta = _each(gammas, betas, styles)
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        return (x - mean) / size_of(variance, eps) * gamma + beta

    return norm


def _std_plus_eps(x, gammas, betas, styles, eps):
    gamma, beta = _each(gammas, betas, styles)
    std = x.std((2, 3), correction=min(1, x[0, 0].numel() - 1), keepdim=True)
    return (x - x.mean((2, 3), keepdim=True)) / (std + eps) * gamma + beta


def _conditional(name, norm, hint):
    return Mistake(name, _with_gradients(norm), hint)


def styled_case(name, shape, count, styles=None, eps=1e-5, mean=0.0, std=1.0):
    """Return a case of conditional instance norm: maps of ``shape`` in ``count`` styles, at random if not given."""
    return Case(
        name,
        x=normal(*shape, mean=mean, std=std),
        gammas=normal(count, shape[1], mean=1.0, std=0.5),
        betas=normal(count, shape[1]),
        styles=labels(shape[0], count) if styles is None else given(styles, dtype=torch.int64),
        eps=eps,
        upstream=normal(*shape),
    )


conditional_instance_norm = Function(
    functions=("conditional_instance_norm",),
    reference=_with_gradients(_norm),
    call=_apply,
    cases=[
        styled_case("three images, two styles", (3, 4, 3, 5), 2, [1, 0, 1]),
        styled_case("two images, three styles, a large eps", (2, 3, 5, 2), 3, [2, 0], eps=0.5, mean=1.0),
        styled_case("as many images as channels and styles", (3, 3, 2, 4), 3, [0, 2, 2]),
    ],
    points={"out": 3, "gradients": 1},
    forbidden=TORCH_LAYERS,
    mistakes=[
        _conditional(
            "normalises over the batch as well",
            _over((0, 2, 3)),
            hint="that is batch norm: here each image has a mean and a variance of its own",
        ),
        _conditional(
            "normalises over the channels as well",
            _over((1, 2, 3)),
            hint="each channel has a mean and a variance of its own",
        ),
        _conditional(
            "normalises over the channels at each position",
            _over((1,)),
            hint="the statistics run over the positions, axes 2 and 3",
        ),
        _conditional(
            "divides by H * W - 1 in the variance",
            _over((2, 3), correction=1),
            hint="the variance is the mean square, without a correction",
        ),
        _conditional(
            "leaves eps out",
            _divided_by(lambda variance, eps: variance**0.5),
            hint="eps is added to the variance",
        ),
        _conditional(
            "adds eps to the standard deviation",
            _divided_by(lambda variance, eps: variance**0.5 + eps),
            hint="eps is added to the variance, under the root",
        ),
        _conditional(
            "takes torch's std as it stands and adds eps to it",
            _std_plus_eps,
            hint="the variance is divided by H * W, and eps is added to it under the root",
        ),
        _conditional(
            "divides by the variance",
            _divided_by(lambda variance, eps: variance + eps),
            hint="divide by the standard deviation, the root of variance plus eps",
        ),
        _conditional(
            "uses an eps of its own",
            lambda x, gammas, betas, styles, eps: _norm(x, gammas, betas, styles, 1e-5),
            hint="eps is an argument",
        ),
        _conditional(
            "gives all images the first style",
            lambda x, gammas, betas, styles, eps: _norm(x, gammas, betas, torch.zeros_like(styles), eps),
            hint="styles[i] says which row of gammas and betas image i gets",
        ),
        _conditional(
            "gives all images the style of the first image",
            lambda x, gammas, betas, styles, eps: _norm(x, gammas, betas, styles[:1].expand_as(styles), eps),
            hint="styles[i] says which row of gammas and betas image i gets",
        ),
        _conditional(
            "gives image i the style i",
            lambda x, gammas, betas, styles, eps: _norm(x, gammas, betas, torch.arange(len(x), device=x.device), eps),
            hint="styles[i] says which row of gammas and betas image i gets",
        ),
        _conditional(
            "exchanges gamma and beta",
            lambda x, gammas, betas, styles, eps: _norm(x, betas, gammas, styles, eps),
            hint="gamma multiplies, beta is added",
        ),
        _conditional(
            "leaves beta out",
            lambda x, gammas, betas, styles, eps: _norm(x, gammas, torch.zeros_like(betas), styles, eps),
            hint="beta is added at the end",
        ),
        _conditional(
            "leaves gamma out",
            lambda x, gammas, betas, styles, eps: _norm(x, torch.ones_like(gammas), betas, styles, eps),
            hint="the normalised map is multiplied by gamma",
        ),
        _conditional(
            "multiplies by 1 + gamma",
            lambda x, gammas, betas, styles, eps: _norm(x, gammas + 1, betas, styles, eps),
            hint="gamma is the whole factor",
        ),
        _conditional(
            "does not subtract the mean",
            lambda x, gammas, betas, styles, eps: (
                _norm(x, gammas, betas, styles, eps)
                + x.mean((2, 3), keepdim=True)
                / (x.var((2, 3), correction=0, keepdim=True) + eps) ** 0.5
                * _each(gammas, betas, styles)[0]
            ),
            hint="subtract each map's mean before dividing",
        ),
    ],
)


def _enlarged(x):
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def _upsample(enlarge=_enlarged, mode="reflect", after=None):
    """The block with its parts: how it enlarges and how it pads."""

    def block(x, w, b):
        side = w.shape[2] // 2
        larger = enlarge(x)
        padded = functional.pad(larger, (side,) * 4, mode=mode)
        out = functional.conv2d(padded, w, b)
        return out if after is None else after(out)

    return block


def _padded_first(x, w, b):
    """Padding before enlarging, cut back to size."""
    side = w.shape[2] // 2
    larger = _enlarged(functional.pad(x, (side,) * 4, mode="reflect"))
    cut = larger[:, :, side : side + 2 * x.shape[2] + 2 * side, side : side + 2 * x.shape[3] + 2 * side]
    return functional.conv2d(cut, w, b)


def _convolved_first(x, w, b):
    side = w.shape[2] // 2
    return _enlarged(functional.conv2d(functional.pad(x, (side,) * 4, mode="reflect"), w, b))


def _tiled(x):
    return x.repeat(1, 1, 2, 2)


def _spread(x):
    """Zeros in between, as a transposed convolution has them."""
    larger = x.new_zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    larger[:, :, ::2, ::2] = x
    return larger


upsample_conv = Function(
    functions=("upsample_conv",),
    reference=_upsample(),
    cases=[
        Case("3×3 filters, maps of 3×4", x=normal(2, 3, 3, 4), w=normal(5, 3, 3, 3), b=normal(5)),
        Case("5×5 filters, maps of 2×3", x=normal(1, 2, 2, 3), w=normal(3, 2, 5, 5), b=normal(3)),
        Case("1×1 filters", x=normal(2, 4, 2, 3), w=normal(3, 4, 1, 1), b=normal(3)),
    ],
    points={"out": 3},
    mistakes=[
        Mistake(
            "pads with zeros",
            _upsample(mode="constant"),
            hint="the border is padded by reflection: zeros would show as a dark frame",
        ),
        Mistake(
            "pads by repeating the border",
            _upsample(mode="replicate"),
            hint="reflection leaves the border pixel itself out: 2 1 | 0 1 2",
        ),
        Mistake(
            "lets the border wrap round",
            _upsample(mode="circular"),
            hint="padding is by reflection",
        ),
        Mistake(
            "tiles the maps instead of enlarging them",
            _upsample(enlarge=_tiled),
            hint="each entry becomes a square of 2×2 equal entries; repeat puts copies of the whole map side by side",
        ),
        Mistake(
            "puts zeros between the entries",
            _upsample(enlarge=_spread),
            hint="that is what a transposed convolution does; here each entry becomes a square of 2×2 equal entries",
        ),
        Mistake(
            "enlarges with bilinear interpolation",
            _upsample(enlarge=lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear")),
            hint="nearest neighbour: each entry becomes a square of 2×2 equal entries",
        ),
        Mistake(
            "pads before it enlarges",
            _padded_first,
            hint="first enlarge, then pad, then convolve",
        ),
        Mistake(
            "convolves before it enlarges",
            _convolved_first,
            hint="first enlarge, then pad, then convolve: the filters smooth out the steps",
        ),
        Mistake(
            "does not enlarge",
            _upsample(enlarge=lambda x: x),
            hint="the output is twice as high and twice as wide",
        ),
        Mistake(
            "enlarges the height only",
            _upsample(enlarge=lambda x: x.repeat_interleave(2, 2)),
            hint="both axes of the positions double",
        ),
        Mistake(
            "does not pad",
            lambda x, w, b: functional.conv2d(_enlarged(x), w, b),
            hint="the filters take k // 2 pixels off each side; pad as many",
        ),
        Mistake(
            "leaves the bias out",
            lambda x, w, b: _upsample()(x, w, torch.zeros_like(b)),
            hint="b has an entry per output map",
        ),
        Mistake(
            "turns the filters round",
            lambda x, w, b: _upsample()(x, w.flip(2, 3), b),
            hint="deep learning's convolution does not turn filters; conv2d does it right",
        ),
        Mistake(
            "applies ReLU",
            _upsample(after=functional.relu),
            hint="nothing comes after the convolution here",
        ),
    ],
)
