"""The matrix of a convolution, and the transposed convolution."""

from __future__ import annotations

import torch
from torch.nn import functional

from dlcvkit.checking import Case, Hidden, normal
from dlcvkit.layers import layer

_ROOM = "more room behind the image stays empty and is cut off"


def _matrix(w, size, param, fault=""):
    """Entry by entry, spoilt by one ``fault``."""
    (F, C, HH, WW), (H, W) = w.shape, size
    stride, pad = param["stride"], param["pad"]
    rows, columns = (H + 2 * pad - HH) // stride + 1, (W + 2 * pad - WW) // stride + 1
    if fault == "rounded up":
        rows, columns = -(-(H + 2 * pad - HH) // stride) + 1, -(-(W + 2 * pad - WW) // stride) + 1
    A = w.new_zeros(F, rows, columns, C, H, W)
    for row in range(rows):
        for column in range(columns):
            for u in range(HH):
                for v in range(WW):
                    h, x = row * stride + u - pad, column * stride + v - pad
                    if fault == "pad the wrong way":
                        h, x = row * stride + u + pad, column * stride + v + pad
                    if fault == "window in the middle":
                        h, x = row * stride + u - HH // 2, column * stride + v - WW // 2
                    if fault == "clamped":
                        h, x = min(max(h, 0), H - 1), min(max(x, 0), W - 1)
                    if 0 <= h < H and 0 <= x < W:
                        A[:, row, column, :, h, x] += (
                            w[:, :, v % HH, u % WW] if fault == "rows for columns" else w[:, :, u, v]
                        )
    if fault == "rows as H', W', F":
        A = A.movedim(0, 2)
    if fault == "one channel":
        A = A[:, :, :, :1]
    if fault == "channels added":
        A = A.sum(3, keepdim=True)
    if fault == "six axes":
        return A
    if fault == "negative":
        A = -A
    A = A.reshape(F * rows * columns, -1)
    if fault == "float32 zeros":
        A = A.to(torch.float16)
    return A


def _matrix_by_shifts(w, size, param):
    """A sum of Kronecker products: which row meets which, times which column meets which."""
    (_, _, HH, WW), stride, pad = w.shape, param["stride"], param["pad"]

    def meets(length, kernel, offset):
        out = (length + 2 * pad - kernel) // stride + 1
        place = torch.arange(out, device=w.device)[:, None] * stride + offset - pad
        return (place == torch.arange(length, device=w.device)).to(w.dtype)

    A = 0
    for u in range(HH):
        for v in range(WW):
            down, across = meets(size[0], HH, u), meets(size[1], WW, v)
            A = A + torch.kron(w[:, :, u, v].contiguous(), torch.kron(down, across))
    return A


def _matrix_by_unfold(w, size, param):
    """Columns: the windows of each unit picture, times the flat filters; in float32."""
    C, pad = w.shape[1], param["pad"]
    count = C * size[0] * size[1]
    units = torch.eye(count, device=w.device).reshape(count, C, *size)
    padded = functional.pad(units, (pad, pad, pad, pad))
    windows = padded.unfold(2, w.shape[2], param["stride"]).unfold(3, w.shape[3], param["stride"])
    return torch.einsum("kcrsuv,fcuv->frsk", windows, w.float()).flatten(0, 2)


def _in_place_matrix(w, size, param):
    w *= 2
    return _matrix(w, size, param) / 2


def _ready_matrix(w, size, param):
    units = torch.eye(w.shape[1] * size[0] * size[1], dtype=w.dtype, device=w.device).reshape(-1, w.shape[1], *size)
    return functional.conv2d(units, w, None, param["stride"], param["pad"]).flatten(1).T


def _matrix_case(name, *shape, size, stride=1, pad=0):
    return Case(name, w=normal(*shape), size=size, conv_param={"stride": stride, "pad": pad})


conv_matrix = Hidden(
    cases=[
        _matrix_case("one filter, one channel, one pixel", 1, 1, 1, 1, size=(1, 1)),
        _matrix_case("1×1 filters", 3, 2, 1, 1, size=(2, 3)),
        _matrix_case("1×1 filters, stride 2", 2, 3, 1, 1, size=(4, 3), stride=2),
        _matrix_case("as large as the image", 2, 2, 3, 4, size=(3, 4)),
        _matrix_case("larger than the image", 2, 1, 5, 3, size=(3, 2), pad=1),
        _matrix_case("more padding than filter", 1, 2, 2, 2, size=(2, 3), pad=3),
        _matrix_case("one row of pixels", 2, 2, 1, 3, size=(1, 6), stride=2),
        _matrix_case("pixels left over", 2, 2, 2, 3, size=(7, 6), stride=3),
        _matrix_case("high filters", 2, 1, 4, 2, size=(5, 4), stride=1, pad=1),
        _matrix_case("more filters than channels", 4, 1, 2, 2, size=(3, 4), pad=1),
        _matrix_case("gaps between windows", 2, 2, 1, 2, size=(6, 7), stride=3, pad=1),
        _matrix_case("non-contiguous", 2, 3, 3, 2, size=(4, 5), stride=2, pad=1).strided(),
        _matrix_case("float32", 3, 2, 2, 3, size=(5, 4), pad=1).float32(),
    ],
    mutants={
        **{
            fault: lambda w, size, param, fault=fault: _matrix(w, size, param, fault)
            for fault in (
                "rounded up",
                "pad the wrong way",
                "window in the middle",
                "clamped",
                "rows for columns",
                "rows as H', W', F",
                "one channel",
                "channels added",
                "six axes",
                "negative",
                "float32 zeros",
            )
        },
        "changes w": _in_place_matrix,
        "uses torch's convolution": _ready_matrix,
    },
    solutions={
        "entry by entry": _matrix,
        "Kronecker products": _matrix_by_shifts,
        "windows of unit pictures, in float32": _matrix_by_unfold,
    },
    equivalent={
        "conv_matrix: 2 * pad -> 3 * pad #3": _ROOM,
        "conv_matrix: 2 * pad -> 3 * pad #4": _ROOM,
    },
)


def _param(stride, pad=0, output_pad=0):
    return {"stride": stride, "pad": pad, "output_pad": output_pad}


def _paste(x, w, b, param, fault=""):
    """Pixel by pixel, spoilt by one ``fault``."""
    stride, pad, extra = param["stride"], param["pad"], param["output_pad"]
    (N, _, H, W), (_, F, HH, WW) = x.shape, w.shape
    out = x.new_zeros(N, F, stride * (H - 1) + HH - 2 * pad + extra, stride * (W - 1) + WW - 2 * pad + extra)
    if fault != "bias on copies only":
        out = out + b[:, None, None]
    for n in range(N):
        for h in range(H):
            for v in range(W):
                copy = torch.einsum("c,cfij->fij", x[n, :, h, v], w)
                if fault == "one channel only":
                    copy = x[n, 0, h, v] * w[0]
                if fault == "columns for rows":
                    copy = copy.mT if HH == WW else copy
                for i in range(HH):
                    for j in range(WW):
                        row, column = h * stride + i - pad, v * stride + j - pad
                        if fault == "cut at the top only":
                            row, column = row + pad, column + pad
                        if fault == "stride of rows for both":
                            column = v + j - pad
                        if 0 <= row < out.shape[2] and 0 <= column < out.shape[3]:
                            out[n, :, row, column] += copy[:, i, j]
    if fault == "bias on copies only":
        out = out + b[:, None, None] * (out != 0)
    if fault == "bias subtracted":
        out = out - 2 * b[:, None, None]
    return out, (x, w, param)


def _faulty(fault):
    return lambda x, w, b, param: _paste(x, w, b, param, fault)


def _gather(dout, cache, fault=""):
    """The gradients by slices, spoilt by one ``fault``."""
    x, w, param = cache
    (_, _, H, W), (_, F, HH, WW) = x.shape, w.shape
    stride, pad = param["stride"], param["pad"]
    if fault == "takes pad to be 0":
        pad = 0
    D = functional.pad(dout, (pad, pad, pad, pad))
    D = functional.pad(
        D, (0, max(0, stride * (W - 1) + WW - D.shape[3]), 0, max(0, stride * (H - 1) + HH - D.shape[2]))
    )
    windows = D.unfold(2, HH, stride).unfold(3, WW, stride)[:, :, :H, :W]  # (N, F, H, W, HH, WW)
    dx = torch.einsum("nfhwij,cfij->nchw", windows, w)
    dw = torch.einsum("nfhwij,nchw->cfij", windows, x)
    db = dout.sum((0, 2, 3))
    if fault == "db of the canvas without the last row":
        db = dout[:, :, :-1].sum((0, 2, 3))
    if fault == "opposite sign":
        dx, dw, db = -dx, -dw, -db
    if fault == "filters exchanged in dw":
        dw = dw.flip(0)
    if fault == "dw first":
        return dw, dx, db
    if fault == "two gradients":
        return dx, dw
    if fault == "dx averaged over filters":
        dx = dx / F
    if fault == "dw averaged over pixels":
        dw = dw / (H * W)
    if fault == "dw with F first":
        dw = dw.transpose(0, 1)
    if fault == "w added":
        dw = dw + w
    if fault == "first image only":
        dw = torch.einsum("nfhwij,nchw->cfij", windows[:1], x[:1])
    return dx, dw, db


def _spoilt(fault):
    return lambda dout, cache: _gather(dout, cache, fault)


def _spread(x, stride):
    """x with stride - 1 zeros between its pixels."""
    N, C, H, W = x.shape
    out = x.new_zeros(N, C, stride * (H - 1) + 1, stride * (W - 1) + 1)
    out[:, :, ::stride, ::stride] = x
    return out


def _by_spreading(x, w, b, param):
    """Zeros in between, then an ordinary convolution with turned filters; in float32."""
    HH, WW = w.shape[2:]
    extra = param["output_pad"]
    spread = functional.pad(_spread(x.float(), param["stride"]), (WW - 1, WW - 1 + extra, HH - 1, HH - 1 + extra))
    windows = spread.unfold(2, HH, 1).unfold(3, WW, 1)
    canvas = torch.einsum("nchwij,cfij->nfhw", windows, w.flip(2, 3).float()) + b.float()[:, None, None]
    pad = param["pad"]
    return canvas[:, :, pad : canvas.shape[2] - pad, pad : canvas.shape[3] - pad], {"x": x, "w": w, "param": param}


def _by_matrix(x, w, b, param):
    """The transpose of the convolution's matrix."""
    stride, pad, extra = param["stride"], param["pad"], param["output_pad"]
    size = [stride * (n - 1) + k - 2 * pad + extra for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    A = _matrix_by_shifts(w, size, param)
    out = (x.flatten(1) @ A).reshape(len(x), w.shape[1], *size) + b[:, None, None]
    return out, (x, w, A, param)


def _by_matrix_backward(dout, cache):
    x, w, A, param = cache
    dx = (dout.flatten(1) @ A.T).reshape(x.shape)
    _, dw, db = _gather(dout, (x, w, param))
    return [dx, dw, db]


def _in_place(x, w, b, param):
    out = _paste(x, w, b, param)[0]
    b -= 1
    return out, (x, w, param)


def _ready(x, w, b, p):
    return functional.conv_transpose2d(x, w, b, p["stride"], p["pad"], p["output_pad"])


def case(name, *shape, filters, kernel, stride=1, pad=0, output_pad=0, std=1.0):
    """A case of the transposed convolution."""
    N, C, H, W = shape
    out = [stride * (n - 1) + k - 2 * pad + output_pad for n, k in zip((H, W), kernel, strict=True)]
    return Case(
        name,
        x=normal(*shape, std=std),
        w=normal(C, filters, *kernel),
        b=normal(filters, std=std),
        conv_param=_param(stride, pad, output_pad),
        dout=normal(N, filters, *out),
    )


conv_transpose = Hidden(
    cases=[
        case("one of everything", 1, 1, 1, 1, filters=1, kernel=(1, 1)),
        case("one image, one channel", 1, 1, 3, 2, filters=1, kernel=(2, 3), stride=2),
        case("1×1 filters, stride 2: gaps", 2, 2, 3, 2, filters=3, kernel=(1, 1), stride=2),
        case("gaps, output pad 1", 2, 1, 2, 3, filters=2, kernel=(1, 2), stride=3, output_pad=1),
        case("one pixel", 2, 3, 1, 1, filters=2, kernel=(3, 4), stride=2),
        case("one pixel, output pad", 2, 3, 1, 1, filters=2, kernel=(3, 2), stride=3, output_pad=2),
        case("one row of pixels", 1, 2, 1, 4, filters=2, kernel=(2, 3), stride=2, pad=0, output_pad=1),
        case("filters as large as the stride", 2, 2, 2, 3, filters=3, kernel=(3, 3), stride=3),
        case("pad and output pad", 2, 3, 3, 4, filters=2, kernel=(3, 4), stride=2, pad=1, output_pad=1),
        case("pad 2, output pad 2, stride 3", 1, 2, 3, 2, filters=3, kernel=(5, 4), stride=3, pad=2, output_pad=2),
        case("pad 2, output pad 1, stride 4", 2, 2, 2, 3, filters=1, kernel=(3, 5), stride=4, pad=2, output_pad=1),
        case("much overlap", 1, 1, 4, 5, filters=2, kernel=(4, 3)),
        case("pad larger than the filter's half", 1, 2, 4, 4, filters=2, kernel=(2, 2), stride=1, pad=1),
        case("as many filters as channels", 2, 3, 3, 2, filters=3, kernel=(2, 2), stride=2),
        case("non-contiguous", 2, 3, 3, 4, filters=2, kernel=(3, 2), stride=2, pad=1, output_pad=1).strided(),
        case("float32", 2, 2, 4, 3, filters=3, kernel=(3, 3), stride=2, pad=1).float32(),
        case("numbers of 10,000", 2, 2, 2, 3, filters=2, kernel=(3, 2), stride=2, std=1e4),
    ],
    mutants={
        **{
            fault: (_faulty(fault), _gather)
            for fault in (
                "bias on copies only",
                "one channel only",
                "columns for rows",
                "cut at the top only",
                "stride of rows for both",
                "bias subtracted",
            )
        },
        **{
            fault: (_paste, _spoilt(fault))
            for fault in (
                "takes pad to be 0",
                "db of the canvas without the last row",
                "opposite sign",
                "filters exchanged in dw",
                "dw first",
                "two gradients",
                "dx averaged over filters",
                "dw averaged over pixels",
                "dw with F first",
                "w added",
                "first image only",
            )
        },
        "changes b": (_in_place, _gather),
        "uses torch's": layer(_ready),
        "backward not written": (_paste, lambda dout, cache: None),
    },
    solutions={
        "pixel by pixel": (_paste, _gather),
        "zeros in between and a convolution, in float32": (
            _by_spreading,
            lambda dout, cache: _gather(dout, (cache["x"], cache["w"], cache["param"])),
        ),
        "the matrix, transposed; a list": (_by_matrix, _by_matrix_backward),
    },
    equivalent={
        "conv_transpose_backward: dout.shape[2] -> dout.shape[-2]": "of four axes, axis 2 is axis -2",
        "conv_transpose_backward: torch.zeros_like(w) -> torch.ones_like(w)": "every entry of dw is written",
    },
)
