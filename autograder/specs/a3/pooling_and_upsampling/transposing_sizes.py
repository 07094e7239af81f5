"""Output padding, and the adjoint of a convolution."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Hidden
from dlcvkit.exercises.a3.pooling_and_upsampling.transposing_sizes import size_case
from dlcvkit.exercises.a3.pooling_and_upsampling.transposing_tests import adjoint_case

_ROOM = "more room at the bottom and on the right than is needed is cut off"


def _by_the_definition(size, kernel, stride, pad):
    out = (size + 2 * pad - kernel) // stride + 1
    return size - (stride * (out - 1) + kernel - 2 * pad)


def _by_sliding(size, kernel, stride, pad):
    end = kernel
    while end + stride <= size + 2 * pad:
        end += stride
    return torch.tensor(size + 2 * pad - end)


output_pad = Hidden(
    cases=[
        size_case("stride 1", 7, 3, 1, 1),
        size_case("one pixel", 1, 1, 3, 0),
        size_case("the filter just fits", 3, 5, 4, 1),
        size_case("one pixel more than fits", 4, 5, 4, 1),
        size_case("224 pixels, kernel 7, stride 2, pad 3", 224, 7, 2, 3),
        size_case("227 pixels, kernel 11, stride 4", 227, 11, 4, 0),
        size_case("as many left over as can be", 15, 2, 7, 3),
        size_case("kernel smaller than stride", 11, 1, 6, 2),
        size_case("filter larger than the image", 4, 9, 3, 4),
    ],
    mutants={
        "remainder of the sum": lambda size, kernel, stride, pad: (size + 2 * pad + kernel) % stride,
        "padding subtracted": lambda size, kernel, stride, pad: (size - 2 * pad - kernel) % stride,
        "one too many": lambda size, kernel, stride, pad: (size + 2 * pad - kernel + 1) % stride,
        "one for even sizes": lambda size, kernel, stride, pad: int(size % 2 == 0),
        "stride less the remainder": lambda size, kernel, stride, pad: stride - (size + 2 * pad - kernel) % stride,
        "remainder by the kernel": lambda size, kernel, stride, pad: (size + 2 * pad - kernel) % kernel,
        "half the padding": lambda size, kernel, stride, pad: (size + pad // 2 - kernel) % stride,
        "the size that comes back": lambda size, kernel, stride, pad: size,
        "a string": lambda size, kernel, stride, pad: str((size + 2 * pad - kernel) % stride),
    },
    solutions={
        "from the two sizes": _by_the_definition,
        "a window that slides, a tensor": _by_sliding,
    },
)


def _gradient(y, w, param, size, fault=""):
    """Window by window, spoilt by one ``fault``."""
    (F, C, HH, WW), (H, W) = w.shape, size
    stride, pad = param["stride"], param["pad"]
    image = y.new_zeros(len(y), C, H + 2 * pad, W + 2 * pad)
    if fault == "flipped":
        w = w.flip(2, 3)
    if fault == "channels and filters exchanged" and F == C:
        w = w.transpose(0, 1)
    for row in range(y.shape[2]):
        for column in range(y.shape[3]):
            top, left = row * stride, column * stride
            copy = torch.einsum("nf,fcij->ncij", y[:, :, row, column], w)
            place = image[:, :, top : top + HH, left : left + WW]
            if fault == "writes":
                place.zero_()
            place += copy
    if fault == "bias of 1":
        image += 1
    if fault == "cut at the lower right":
        return image[:, :, 2 * pad :, 2 * pad :]
    if fault == "cut at the upper left":
        return image[:, :, :H, :W]
    if fault == "not cut":
        return image
    image = image[:, :, pad : pad + H, pad : pad + W]
    if fault == "averaged":
        return image / len(y)
    if fault == "half":
        return image / 2
    if fault == "rows left over moved to the top":
        left_over = (H + 2 * pad - HH) % stride
        return image.roll(left_over, 2)
    return image.clone()


def _no_output_pad(y, w, param, size):
    return _gradient(y, w, param, [param["stride"] * (n - 1) + k - 2 * param["pad"] for n, k in _both(y, w)])


def _largest_output_pad(y, w, param, size):
    extra = param["stride"] - 1
    return _gradient(y, w, param, [param["stride"] * (n - 1) + k - 2 * param["pad"] + extra for n, k in _both(y, w)])


def _both(y, w):
    return zip(y.shape[2:], w.shape[2:], strict=True)


def _stretched(y, w, param, size):
    """The pseudo-inverse in place of the transpose."""
    units = torch.eye(w.shape[1] * size[0] * size[1], dtype=w.dtype, device=w.device)
    A = _gradient_matrix(w, param, size, units)
    return (y.flatten(1) @ torch.linalg.pinv(A).T).reshape(len(y), w.shape[1], *size)


def _gradient_matrix(w, param, size, units):
    images = units.reshape(len(units), w.shape[1], *size)
    windows = _windows(images, w, param)
    return torch.einsum("kchwij,fcij->fhwk", windows, w).flatten(0, 2)


def _windows(images, w, param):
    pad = param["pad"]
    padded = functional.pad(images, (pad, pad, pad, pad))
    return padded.unfold(2, w.shape[2], param["stride"]).unfold(3, w.shape[3], param["stride"])


def _by_the_matrix(y, w, param, size):
    units = torch.eye(w.shape[1] * size[0] * size[1], dtype=w.dtype, device=w.device)
    A = _gradient_matrix(w, param, size, units)
    return (A.T @ y.flatten(1).T).T.reshape(len(y), w.shape[1], *size)


def _in_float32(y, w, param, size):
    return (
        _gradient(y.float(), w.float(), param, size).double()
        if y.dtype == torch.float32
        else _gradient(y, w, param, size)
    )


conv_adjoint = Hidden(
    cases=[
        adjoint_case("one of everything", 1, 1, 1, (1, 1), (1, 1), 1, 0),
        adjoint_case("one image, one channel, one filter", 1, 1, 1, (2, 3), (5, 4), 1, 1),
        adjoint_case("gaps between windows", 2, 2, 3, (1, 2), (7, 6), 3, 0),
        adjoint_case("filters larger than the image", 2, 3, 1, (5, 4), (3, 2), 1, 2),
        adjoint_case("one window, pixels left over", 2, 2, 2, (3, 3), (4, 5), 3, 0),
        adjoint_case("columns left over, rows not", 1, 3, 2, (3, 3), (5, 6), 2, 1),
        adjoint_case("stride 4, pad 2", 2, 2, 2, (5, 3), (9, 10), 4, 2),
        adjoint_case("more filters than channels", 2, 5, 1, (2, 2), (4, 6), 2, 0),
        adjoint_case("one row of pixels", 2, 2, 2, (1, 3), (1, 9), 2, 0),
        adjoint_case("non-contiguous", 2, 3, 2, (3, 2), (6, 7), 2, 1).strided(),
        adjoint_case("float32", 2, 2, 3, (3, 3), (8, 5), 3, 1).float32(),
    ],
    mutants={
        **{
            fault: lambda y, w, param, size, fault=fault: _gradient(y, w, param, size, fault)
            for fault in (
                "flipped",
                "channels and filters exchanged",
                "writes",
                "bias of 1",
                "cut at the lower right",
                "cut at the upper left",
                "not cut",
                "averaged",
                "half",
                "rows left over moved to the top",
            )
        },
        "no output padding": _no_output_pad,
        "always the largest output padding": _largest_output_pad,
        "the inverse": _stretched,
        "zeros": lambda y, w, param, size: 0 * _gradient(y, w, param, size),
    },
    solutions={
        "window by window": _gradient,
        "the matrix": _by_the_matrix,
        "in float32 where the inputs are": _in_float32,
    },
    equivalent={
        "conv_adjoint: conv_param['stride'] - 1 -> conv_param['stride'] + 1": _ROOM,
        "conv_adjoint: conv_param['stride'] - 1 -> conv_param['stride']": _ROOM,
        "conv_adjoint: conv_param['stride'] - 1 -> conv_param['stride'] - 0": _ROOM,
        "conv_adjoint: conv_param['stride'] - 1 -> conv_param['stride'] - -1": _ROOM,
        "conv_adjoint: size[1] -> size[-1]": "size has two entries",
    },
)
