"""Hidden cases, mutants and other solutions of conditional instance norm and of enlarging."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.exercises.a4.style_transfer.transform import styled_case


def _norm(x, gammas, betas, styles, eps=1e-5):
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True)
    out = (x - mean) / (variance + eps).sqrt()
    return out * gammas[styles][:, :, None, None] + betas[styles][:, :, None, None]


def _norm_by_loop(x, gammas, betas, styles, eps=1e-5):
    images = []
    for image, style in zip(x, styles.tolist(), strict=True):
        maps = []
        for c, values in enumerate(image):
            centred = values - values.sum() / values.numel()
            scale = (centred.pow(2).sum() / values.numel() + eps).rsqrt()
            maps.append(centred * scale * gammas[style, c] + betas[style, c])
        images.append(torch.stack(maps))
    return torch.stack(images)


def _norm_by_one_hot(x, gammas, betas, styles, eps=1e-5):
    chosen = (styles[:, None] == torch.arange(len(gammas), device=x.device)).to(gammas.dtype)
    flat = x.flatten(2)
    variance, mean = torch.var_mean(flat, dim=2, correction=0, keepdim=True)
    scale = (chosen @ gammas)[:, :, None] / torch.sqrt(variance + eps)
    return ((flat - mean) * scale + (chosen @ betas)[:, :, None]).reshape(x.shape)


def _norm_in_float32(x, gammas, betas, styles, eps=1e-5):
    x = x.float()
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = x.var(dim=(2, 3), unbiased=False, keepdim=True)
    gamma = torch.index_select(gammas, 0, styles).float()[..., None, None]
    beta = torch.index_select(betas, 0, styles).float()[..., None, None]
    return gamma * (x - mean) * torch.rsqrt(variance + eps) + beta


def _norm_cancelling(x, gammas, betas, styles, eps=1e-5):
    """The variance as a difference, which loses all digits where the mean is large."""
    mean = x.mean((2, 3), keepdim=True)
    variance = x.square().mean((2, 3), keepdim=True) - mean.square()
    out = (x - mean) / (variance + eps).sqrt()
    return out * gammas[styles][:, :, None, None] + betas[styles][:, :, None, None]


def _norm_in_place(x, gammas, betas, styles, eps=1e-5):
    if not x.requires_grad:
        x -= x.mean((2, 3), keepdim=True)
    return _norm(x, gammas, betas, styles, eps)


def _norm_through_constants(x, gammas, betas, styles, eps=1e-5):
    mean = x.mean((2, 3), keepdim=True).detach()
    variance = (x - mean).square().mean((2, 3), keepdim=True).detach()
    out = (x - mean) / (variance + eps).sqrt()
    return out * gammas[styles][:, :, None, None] + betas[styles][:, :, None, None]


def _norm_constant_variance(x, gammas, betas, styles, eps=1e-5):
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True).detach()
    out = (x - mean) / (variance + eps).sqrt()
    return out * gammas[styles][:, :, None, None] + betas[styles][:, :, None, None]


def _wrong(**changes):
    """The norm with some of its arguments changed: ``x=lambda x: ...``."""

    def norm(x, gammas, betas, styles, eps=1e-5):
        given = {"x": x, "gammas": gammas, "betas": betas, "styles": styles, "eps": eps}
        return _norm(**{name: changes[name](value) if name in changes else value for name, value in given.items()})

    return norm


def _by_axis(axis):
    def norm(x, gammas, betas, styles, eps=1e-5):
        mean = x.mean(axis, keepdim=True)
        variance = (x - mean).square().mean(axis, keepdim=True)
        out = (x - mean) / (variance + eps).sqrt()
        return out * gammas[styles][:, :, None, None] + betas[styles][:, :, None, None]

    return norm


conditional_instance_norm = Hidden(
    cases=[
        styled_case("one image", (1, 3, 4, 2), 2, [1]),
        styled_case("one channel", (3, 1, 2, 5), 2, [1, 1, 0]),
        styled_case("one position", (2, 3, 1, 1), 2),
        styled_case("a single row", (2, 3, 1, 5), 2),
        styled_case("one style", (3, 2, 4, 3), 1),
        styled_case("a style that no image has", (2, 3, 3, 4), 4, [3, 1]),
        styled_case("all images in one style", (4, 2, 3, 5), 3, [2, 2, 2, 2]),
        styled_case("the same everywhere", (2, 3, 4, 5), 2, std=0.0, mean=3.0),
        styled_case("pixels of 10,000", (2, 3, 4, 5), 2, std=1e4),
        styled_case("pixels close to 0", (2, 3, 4, 5), 2, std=1e-3),
        styled_case("a mean of 100", (2, 3, 4, 5), 2, mean=100.0, std=50.0),
        styled_case("eps of 2", (3, 2, 4, 5), 2, eps=2.0),
        styled_case("non-contiguous", (3, 4, 2, 5), 2).strided(),
        styled_case("float32", (3, 4, 2, 5), 2).float32(),
        styled_case("float32 with a mean of 300", (3, 4, 2, 5), 2, mean=300.0).float32(),
        styled_case("all axes of the same length", (3, 3, 3, 3), 3),
    ],
    mutants={
        "cancelling variance": _norm_cancelling,
        "changes x": _norm_in_place,
        "mean and variance are constants to autograd": _norm_through_constants,
        "the variance is a constant to autograd": _norm_constant_variance,
        "is cut off from x": _wrong(x=lambda x: x.detach()),
        "is cut off from gammas": _wrong(gammas=lambda gammas: gammas.detach()),
        "along the rows": _by_axis(3),
        "along the columns": _by_axis(2),
        "styles in reverse order": _wrong(styles=lambda styles: styles.flip(0)),
        "the next style": _wrong(styles=lambda styles: styles - 1),
        "eps is squared": _wrong(eps=lambda eps: eps * eps),
        "a mixture of all styles": _wrong(gammas=lambda gammas: gammas.mean(0, keepdim=True).expand_as(gammas)),
        "subtracts beta": _wrong(betas=lambda betas: -betas),
        "absolute gamma": _wrong(gammas=lambda gammas: gammas.abs()),
        "ReLU at the end": lambda x, gammas, betas, styles, eps=1e-5: _norm(x, gammas, betas, styles, eps).clamp(min=0),
        "torch's instance norm": lambda x, gammas, betas, styles, eps=1e-5: (
            functional.instance_norm(x, eps=eps) * gammas[styles][:, :, None, None] + betas[styles][:, :, None, None]
        ),
        "returns nothing": lambda x, gammas, betas, styles, eps=1e-5: None,
    },
    solutions={
        "map by map": _norm_by_loop,
        "styles by a one-hot product": _norm_by_one_hot,
        "in float32, var and rsqrt": _norm_in_float32,
    },
    equivalent={"conditional_instance_norm: x - mean -> mean - x": "the difference is squared"},
)


# Enlarging.


def _upsample(x, w, b):
    side = w.shape[-1] // 2
    larger = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return functional.conv2d(functional.pad(larger, (side, side, side, side), mode="reflect"), w, b)


def _upsample_by_modules(x, w, b):
    F, C, k, _ = w.shape
    net = nn.Sequential(nn.Upsample(scale_factor=2), nn.ReflectionPad2d(k // 2), nn.Conv2d(C, F, k))
    net[2].weight, net[2].bias = nn.Parameter(w.clone(), False), nn.Parameter(b.clone(), False)
    return net(x)


def _upsample_by_loop(x, w, b):
    N, _, H, W = x.shape
    F, _, k, _ = w.shape
    side = k // 2

    def mirrored(i, size):
        i = abs(i)
        return i if i < size else 2 * (size - 1) - i

    out = x.new_zeros(N, F, 2 * H, 2 * W)
    for i in range(2 * H):
        for j in range(2 * W):
            for p in range(k):
                for q in range(k):
                    row, column = mirrored(i + p - side, 2 * H) // 2, mirrored(j + q - side, 2 * W) // 2
                    out[:, :, i, j] += x[:, :, row, column] @ w[:, :, p, q].T
    return out + b[:, None, None]


def _upsample_by_index(x, w, b):
    H, W, k = x.shape[2], x.shape[3], w.shape[2]
    rows, columns = torch.arange(2 * H, device=x.device) // 2, torch.arange(2 * W, device=x.device) // 2
    larger = x[:, :, rows][..., columns].float()
    padded = functional.pad(larger, [k // 2] * 4, "reflect")
    patches = functional.unfold(padded, k)
    out = w.float().flatten(1) @ patches + b.float()[:, None]
    return out.reshape(len(x), len(w), 2 * H, 2 * W)


def _upsample_by_view(x, w, b):
    N, C, H, W = x.shape
    larger = x.view(N * C, H, 1, W, 1).expand(N * C, H, 2, W, 2).reshape(N, C, 2 * H, 2 * W)
    return functional.conv2d(functional.pad(larger, (w.shape[-1] // 2,) * 4, mode="reflect"), w, b)


def _upsample_images_only(x, w, b):
    larger = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return functional.conv2d(functional.pad(larger, (1, 1, 1, 1), mode="reflect"), w, b)


def _upsample_averaging(x, w, b):
    return _upsample(x, w / w.shape[-1] ** 2, b)


def _upsample_in_place(x, w, b):
    x += 1
    return _upsample(x - 1, w, b)


def _block(name, count, channels, height, width, filters, k, mean=0.0, std=1.0):
    return Case(
        name,
        x=normal(count, channels, height, width, mean=mean, std=std),
        w=normal(filters, channels, k, k),
        b=normal(filters),
    )


upsample_conv = Hidden(
    cases=[
        _block("one image", 1, 3, 2, 4, 2, 3),
        _block("one map", 2, 1, 3, 2, 3, 3),
        _block("one filter", 2, 3, 3, 2, 1, 3),
        _block("a single row", 2, 2, 1, 4, 3, 3),
        _block("a single position", 2, 3, 1, 1, 2, 3),
        _block("7×7 filters", 1, 2, 3, 2, 2, 7),
        _block("non-contiguous", 2, 3, 4, 2, 4, 3).strided(),
        _block("float32", 2, 3, 4, 5, 4, 3).float32(),
        _block("numbers of 10,000", 2, 3, 2, 4, 2, 3, std=1e4),
        _block("the same everywhere", 1, 2, 3, 4, 3, 3, mean=2.0, std=0.0),
        _block("all axes of the same length", 3, 3, 3, 3, 3, 3),
    ],
    mutants={
        "pads by 1 whatever the filters": _upsample_images_only,
        "insists on contiguous memory": _upsample_by_view,
        "divides by the size of the filters": _upsample_averaging,
        "changes x": _upsample_in_place,
        "exchanges height and width": lambda x, w, b: _upsample(x.transpose(2, 3), w, b),
        "a transposed convolution": lambda x, w, b: functional.conv_transpose2d(
            x, w.transpose(0, 1), b, stride=2, padding=w.shape[-1] // 2, output_padding=w.shape[-1] % 2
        ),
        "bicubic": lambda x, w, b: functional.conv2d(
            functional.pad(
                functional.interpolate(x, scale_factor=2, mode="bicubic"), (w.shape[-1] // 2,) * 4, mode="reflect"
            ),
            w,
            b,
        ),
        "enlarges by 3": lambda x, w, b: functional.conv2d(
            functional.pad(functional.interpolate(x, scale_factor=3), (w.shape[-1] // 2,) * 4, mode="reflect"), w, b
        ),
        "halves": lambda x, w, b: _upsample(x[:, :, ::2, ::2], w, b),
        "pads inside the convolution": lambda x, w, b: functional.conv2d(
            functional.interpolate(x, scale_factor=2), w, b, padding=w.shape[-1] // 2
        ),
        "pads with ones": lambda x, w, b: functional.conv2d(
            functional.pad(functional.interpolate(x, scale_factor=2), (w.shape[-1] // 2,) * 4, value=1.0), w, b
        ),
        "transposes the filters": lambda x, w, b: _upsample(x, w.transpose(2, 3), b),
        "adds the bias twice": lambda x, w, b: _upsample(x, w, 2 * b),
        "returns nothing": lambda x, w, b: None,
    },
    solutions={
        "layers of torch.nn": _upsample_by_modules,
        "by indices and patches, in float32": _upsample_by_index,
        "pixel by pixel": _upsample_by_loop,
    },
    equivalent={"upsample_conv: w.shape[-1] -> w.shape[-2]": "filters are as high as they are wide"},
)
