# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Convolution
#
# A fully-connected layer does not know that its input is an image: shuffle the pixels of all images in the same way, and
# it learns just as well. A convolution knows two things about images. What belongs together lies side by side, so a unit
# looks at a small window; and a pattern is the same pattern wherever it turns up, so all windows share their weights. In
# this notebook you will
#
# - write convolution **as it is defined**, with stride, padding, dilation and groups, and derive its **backward pass**;
# - turn it into **one matrix product**, more than a thousand times faster, and test it with an identity that needs no
#   reference;
# - build the **cheap forms** of it that small networks are made of: 1×1 and depthwise separable;
# - compute **how far** a unit sees and **what a network costs**, for any network, and find the mistake in a table that
#   has been copied for years.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $X$ | images, `x` | $(N, C, H, W)$ |
# | $\tilde X$ | the same with $P$ rows and columns of zeros on every side | $(N, C, H + 2P, W + 2P)$ |
# | $w$, $b$ | filters and their biases | $(F, C/G, HH, WW)$, $(F,)$ |
# | $Y$ | output, `out` | $(N, F, H', W')$ |
# | $S$, $P$, $D$, $G$ | stride, padding, dilation, number of groups | numbers |
# | $\hat X$ | windows as columns, `cols` | $(N, C \cdot HH \cdot WW, H' W')$ |
# | $dT$, short for $\partial L / \partial T$ | gradient of the loss with respect to any tensor $T$ | as $T$ |
#
# The four numbers come in a dict, `conv_param`, with the keys `stride`, `pad`, `dilation` and `groups`; those that are
# missing are 1, 0, 1 and 1.

# %% tags=["setup"]
import math
import time
from itertools import product

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle
from torch.nn import functional
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import load_photograph
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast


def draw_grid(axis, values, title, colours=None):
    """Draw a matrix as a grid of numbers; ``colours`` maps (row, column) to the colour of a cell."""
    rows, columns = values.shape
    for i, j in product(range(rows), range(columns)):
        fill = (colours or {}).get((i, j), "white")
        axis.add_patch(Rectangle((j, i), 1, 1, facecolor=fill, edgecolor="#888888", lw=0.8))
        axis.text(j + 0.5, i + 0.52, f"{values[i, j]:g}", ha="center", va="center", fontsize=10)
    axis.set_xlim(-0.1, columns + 0.1)
    axis.set_ylim(rows + 0.1, -0.1)
    axis.set_aspect("equal")
    axis.axis("off")
    axis.set_title(title, fontsize=10)


# %% [markdown]
# ## 1. A window that slides
#
# Take an image of 224×224 pixels in three colours, and let a layer compute 64 numbers for every pixel, as the first layer
# of VGG16 does. Fully connected, that is $3 \cdot 224^2$ inputs and $64 \cdot 224^2$ outputs: $4.8 \cdot 10^{11}$ weights.
# Let every output see only the 3×3 pixels around it, and 87 million are left. Let all outputs of one kind use the *same*
# 27 weights, and it is $64 \cdot 27 = 1728$. The output says where in the image each of 64 small patterns was found.
#
# Move the image by a pixel, and the output moves along (at stride 1, and apart from the edge): convolution is
# *equivariant* to shifts. Nothing has to be learned twice because it turned up on the left once and on the right
# another time.

# %% tags=["demo"]
picture = torch.tensor([[1, 0, 2, 1, 0], [0, 1, 3, 0, 1], [2, 1, 0, 1, 2], [1, 0, 1, 3, 0], [0, 2, 1, 0, 1]]).double()
kernel = torch.tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]]).double()
places = functional.conv2d(picture[None, None], kernel[None, None], stride=2)[0, 0]

figure, axes = plt.subplots(1, 3, figsize=(8, 2.9), layout="constrained", width_ratios=[5, 3, 3])
window = {(i, j): "#f7c5ca" for i in range(3) for j in range(2, 5)}
draw_grid(axes[0], picture, "image, 5×5, and the second window", window)
draw_grid(axes[1], kernel, "kernel, 3×3", {(i, j): "#dddddd" for i in range(3) for j in range(3)})
draw_grid(axes[2], places, "output at stride 2, 2×2", {(0, 1): "#f7c5ca"})
plt.show()

# %% [markdown]
# The red window times the kernel, entry by entry, and summed: $2 + 0 - 0 + 6 + 0 - 2 + 0 + 0 - 2 = 4$. This kernel
# answers where it is brighter on the left than on the right.
#
# (Mathematicians turn the kernel round before they multiply and call *that* convolution; without the turn it is
# cross-correlation. For weights that are learned it makes no difference, and deep learning has settled on the name of
# the one and the formula of the other.)
#
# ## 2. How many places
#
# Along one axis, a window of $k$ entries that lie $D$ pixels apart is $D(k-1) + 1$ pixels long. With $P$ pixels added on
# each side, $H + 2P - D(k-1) - 1$ pixels are left to go after the first place, in steps of $S$, and a last step that would
# carry the window over the edge is not taken:
#
# $$H' = \left\lfloor \frac{H + 2P - D\,(k - 1) - 1}{S} \right\rfloor + 1 .$$
#
# The same holds for $W'$, with the window's width. Pixels that no step reaches are ignored, without a word. A window
# longer than the padded image has no place at all; the formula must not be asked then, because it may well answer
# 0 or less.


# %% exercise="a3/conv_output_size"
def conv_output_size(size, kernel, stride=1, pad=0, dilation=1):
    """Compute how many places a sliding window has along one axis.

    Args:
        size: Pixels along the axis, at least 1.
        kernel: Entries of the window along the axis, at least 1.
        stride: Pixels from one place to the next, at least 1.
        pad: Pixels added on each of the two sides, at least 0.
        dilation: Pixels from one entry of the window to the next, at least 1.

    Returns:
        The number of places, an int of at least 1.

    Raises:
        ValueError: If the window, gaps included, is longer than the padded axis; with a message that says so.
    """
    ### BEGIN SOLUTION
    length = dilation * (kernel - 1) + 1
    rest = size + 2 * pad - length
    if rest < 0:
        raise ValueError(f"the window is {length} pixels long, the padded axis {size + 2 * pad}")
    return rest // stride + 1
    ### END SOLUTION


# %% check="a3/conv_output_size"
check("a3/conv_output_size", conv_output_size)

# %% [markdown]
# Two things to remember. With stride 1, an odd window and $P = D(k-1)/2$ the size stays: pad 1 for 3×3, 2 for 5×5, 3 for
# 7×7. And AlexNet's first layer, a window of 11 with stride 4, makes 55 places of 227 pixels. With 224 pixels, the number
# that its paper gives, it makes 54, with one pixel left over; torch's version of the network pads by 2.

# %% tags=["demo"]
for size, kernel_size, stride, pad in ((227, 11, 4, 0), (224, 11, 4, 0), (224, 11, 4, 2), (32, 5, 1, 2), (7, 3, 2, 0)):
    places = conv_output_size(size, kernel_size, stride, pad)
    print(f"{size:3} pixels, window {kernel_size:2}, stride {stride}, pad {pad}: {places:3} places")

# %% [markdown]
# ## 3. By definition
#
# Filter $f$ has a kernel of $HH \times WW$ entries for each channel that it sees. With one group it sees all of them; with
# $G$ groups, channels and filters are cut into $G$ blocks, and a filter sees the channels of its own block. Let
# $g(f) = \lfloor f / (F/G) \rfloor$ be the block of filter $f$. Then
#
# $$Y_{nfij} = b_f + \sum_{c=0}^{C/G - 1} \sum_{p=0}^{HH-1} \sum_{q=0}^{WW-1}
# \tilde X_{n,\; g(f) \frac{C}{G} + c,\; iS + pD,\; jS + qD} \; w_{fcpq} .$$
#
# Seven indices: four say which output, three what it is the sum of. Write the four as Python loops, if you like; the three
# are a product of two small tensors and a sum. It will be slow, but it is the version that is obviously right, and
# everything faster will be compared with it. A slice with a step, `x[start:stop:dilation]`, picks the window's pixels.
#
# `torch.nn.functional.pad(x, (left, right, top, bottom))` adds zeros to the last two axes; it is the one function of
# `torch.nn` that you may use here. The function below reads the settings.


# %%
def conv_settings(conv_param):
    """Return stride, pad, dilation and groups out of a dict that may lack some of them."""
    return (
        conv_param.get("stride", 1),
        conv_param.get("pad", 0),
        conv_param.get("dilation", 1),
        conv_param.get("groups", 1),
    )


# %% exercise="a3/conv_naive"
def conv_forward_naive(x, w, b, conv_param):
    """Compute the forward pass of a convolution, window by window.

    Args:
        x: Images of shape (N, C, H, W), floating point; not modified.
        w: Filters of shape (F, C // groups, HH, WW), dtype and device as ``x``.
        b: Biases of shape (F,).
        conv_param: Dict with the ints ``stride``, ``pad``, ``dilation`` and ``groups``; those that are missing are 1, 0,
            1 and 1. Both C and F are multiples of ``groups``; the padding may be larger than the kernel.

    Returns:
        ``(out, cache)``: the output of shape (N, F, H_out, W_out), where H_out is conv_output_size of H and HH and W_out
        that of W and WW; and what ``conv_backward_naive`` needs.
    """
    ### BEGIN SOLUTION
    stride, pad, dilation, groups = conv_settings(conv_param)
    N, _, H, W = x.shape
    F, depth, HH, WW = w.shape
    H_out = conv_output_size(H, HH, stride, pad, dilation)
    W_out = conv_output_size(W, WW, stride, pad, dilation)
    padded = functional.pad(x, (pad, pad, pad, pad))
    out = x.new_empty(N, F, H_out, W_out)
    for n, f, i, j in product(range(N), range(F), range(H_out), range(W_out)):
        first = f // (F // groups) * depth
        rows = slice(i * stride, i * stride + dilation * HH, dilation)
        columns = slice(j * stride, j * stride + dilation * WW, dilation)
        out[n, f, i, j] = (padded[n, first : first + depth, rows, columns] * w[f]).sum() + b[f]
    return out, (padded, w, conv_param)
    ### END SOLUTION


# %% [markdown]
# ### The way back
#
# Given $dY$, ask of each input: which outputs does it reach, and with which factor?
#
# **Biases.** $b_f$ reaches all outputs of filter $f$, with factor 1. **Weights.** $w_{fcpq}$ reaches the same outputs, and
# in $Y_{nfij}$ its factor is the pixel that it was multiplied with:
#
# $$db_f = \sum_{n,i,j} dY_{nfij}, \qquad
# dw_{fcpq} = \sum_{n,i,j} dY_{nfij} \; \tilde X_{n,\; g(f) \frac{C}{G} + c,\; iS + pD,\; jS + qD} .$$
#
# Compare with the forward pass: $dw$ is a correlation as well, of $\tilde X$ with $dY$ as the kernel. The entries of this
# kernel lie $S$ apart, and its places $D$ apart: stride and dilation have changed roles.
#
# **Pixels.** A pixel belongs to several windows, and to each of them as another entry. It reaches every output whose
# window covers it:
#
# $$d\tilde X_{n c' u v} = \sum_{f} \; \sum_{\substack{i, p:\; iS + pD = u \\ j, q:\; jS + qD = v}} dY_{nfij} \, w_{fcpq},
# \qquad c' = g(f) \tfrac{C}{G} + c ,$$
#
# where $f$ runs over the filters of the block that $c'$ is in. One need not look for those $i, p, j, q$. Go through the
# outputs instead, as forward did, and let each *give back* to its window: $dY_{nfij}$ times the kernel is **added** to
# the window's place in $d\tilde X$. Where windows overlap, shares add up. At last the padding is cut off: $dX$ is the
# middle of $d\tilde X$. (With stride 1 and dilation 1 the formula reads $d\tilde X_u = \sum_p dY_{u-p} w_p$, the kernel
# meets $dY$ turned round. That is the convolution of the mathematicians: going back turns the one into the other.)
#
# *An example in one dimension.* Let $x = (2, 1, 3, 0)$, $w = (1, -1, 2)$ and $b = 0$:
#
# $$y_0 = 2 \cdot 1 - 1 \cdot 1 + 3 \cdot 2 = 7, \qquad y_1 = 1 \cdot 1 - 3 \cdot 1 + 0 \cdot 2 = -2 .$$
#
# With $dy = (1, -2)$,
#
# $$dw = 1 \cdot (2, 1, 3) - 2 \cdot (1, 3, 0) = (0, -5, 3), \qquad
# dx = 1 \cdot (1, -1, 2, 0) - 2 \cdot (0, 1, -1, 2) = (1, -3, 4, -4) .$$
#
# Had the second window replaced what the first one left in the two pixels they share, $dx$ would be $(1, -2, 2, -4)$:
# wrong where windows overlap, and nowhere else.


# %% exercise="a3/conv_naive"
def conv_backward_naive(dout, cache):
    """Compute the backward pass of a convolution, window by window.

    Args:
        dout: Upstream gradient of shape (N, F, H_out, W_out); not modified.
        cache: What ``conv_forward_naive`` returned.

    Returns:
        ``(dx, dw, db)``: gradients of shapes (N, C, H, W), (F, C // groups, HH, WW) and (F,).
    """
    ### BEGIN SOLUTION
    padded, w, conv_param = cache
    stride, pad, dilation, groups = conv_settings(conv_param)
    F, depth, HH, WW = w.shape
    dpadded, dw = torch.zeros_like(padded), torch.zeros_like(w)
    for n, f, i, j in product(*(range(size) for size in dout.shape)):
        first = f // (F // groups) * depth
        rows = slice(i * stride, i * stride + dilation * HH, dilation)
        columns = slice(j * stride, j * stride + dilation * WW, dilation)
        place = n, slice(first, first + depth), rows, columns
        dpadded[place] += dout[n, f, i, j] * w[f]
        dw[f] += dout[n, f, i, j] * padded[place]
    H, W = padded.shape[2] - 2 * pad, padded.shape[3] - 2 * pad
    return dpadded[:, :, pad : pad + H, pad : pad + W], dw, dout.sum(dim=(0, 2, 3))
    ### END SOLUTION


# %% check="a3/conv_naive"
check("a3/conv_naive", conv_forward_naive, conv_backward_naive)

# %% [markdown]
# The example from above, as images of one row:

# %% tags=["demo"]
line = torch.tensor([2.0, 1.0, 3.0, 0.0]).reshape(1, 1, 1, 4)
entries = torch.tensor([1.0, -1.0, 2.0]).reshape(1, 1, 1, 3)
answer, kept = conv_forward_naive(line, entries, torch.zeros(1), {})
line_gradient, entries_gradient, bias_gradient = conv_backward_naive(
    torch.tensor([1.0, -2.0]).reshape(1, 1, 1, 2), kept
)
for name, tensor in {"y": answer, "dx": line_gradient, "dw": entries_gradient, "db": bias_gradient}.items():
    print(f"{name:2} = {tensor.flatten().tolist()}")

# %% [markdown]
# ## 4. As a matrix product
#
# A sum of products over $c, p, q$ is what a row of one matrix and a column of another make. So flatten every window into a
# **column**, and put the columns side by side. With a filter as a row, all outputs of an image are one product:
#
# $$\underbrace{\hat X_n}_{(C \cdot HH \cdot WW,\; H'W')} \quad\text{with}\quad
# \hat X_{n,\; (c \cdot HH + p) \cdot WW + q,\; i W' + j} = \tilde X_{n,\, c,\, iS + pD,\, jS + qD}, \qquad
# \underbrace{Y_n}_{(F,\; H'W')} = \underbrace{w}_{(F,\; C \cdot HH \cdot WW)} \hat X_n + b .$$
#
# The rows are in the order in which $w$ lies in memory: $c$ changes slowest, then $p$, and $q$ fastest. The columns go
# through the output row by row.

# %% tags=["demo"]
small = torch.arange(16).reshape(4, 4)
tints = ["#b9cde5", "#f7c5ca", "#bfe3c5", "#efe6b0"]
figure = plt.figure(figsize=(9, 3.9), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.05])
for number, axis in enumerate(left.subplots(2, 2).flat):
    i, j = divmod(number, 2)
    covered = {(i + p, j + q): tints[number] for p in range(3) for q in range(3)}
    draw_grid(axis, small, f"place {number}: i = {i}, j = {j}", covered)
matrix = functional.unfold(small.double()[None, None], 3)[0]
axis = right.subplots()
draw_grid(axis, matrix, "cols: a column for each place", {(k, n): tints[n] for k in range(9) for n in range(4)})
for k in range(9):
    axis.text(-0.25, k + 0.52, f"p = {k // 3}, q = {k % 3}", ha="right", va="center", fontsize=9, color="#555555")
axis.set_xlim(-2.6, 4.1)
plt.show()

# %% [markdown]
# A loop over all windows would still make a thousand copies for one image of 32×32. But look along a *row* of the matrix: entry $(p, q)$ of the
# window, at all places. That is the padded image itself, from $(pD, qD)$ on, in steps of $S$: one slice. So
# $HH \cdot WW$ slices fill the whole matrix, for all images and channels at once. The check counts the calls to torch and
# does not accept a loop over places.


# %% exercise="a3/im2col"
def im2col(x, kernel, stride=1, pad=0, dilation=1):
    """Write the windows of images as the columns of matrices.

    Args:
        x: Images of shape (N, C, H, W), floating point; not modified.
        kernel: Height and width of the window, (HH, WW).
        stride: Pixels from one place of the window to the next, in both directions.
        pad: Rows and columns of zeros added on each of the four sides; may be larger than the kernel.
        dilation: Pixels from one entry of the window to the next, in both directions.

    Returns:
        cols: Shape (N, C * HH * WW, H_out * W_out), dtype and device of ``x``. Rows are ordered by channel, row of the
        window and column of the window, the last one changing fastest; columns by row and column of the output. There
        may be a loop over the HH * WW entries of the window, but none over places, images or channels.
    """
    ### BEGIN SOLUTION
    N, C, H, W = x.shape
    HH, WW = kernel
    H_out = conv_output_size(H, HH, stride, pad, dilation)
    W_out = conv_output_size(W, WW, stride, pad, dilation)
    padded = functional.pad(x, (pad, pad, pad, pad))
    parts = x.new_empty(N, C, HH, WW, H_out, W_out)
    for p, q in product(range(HH), range(WW)):
        rows = slice(p * dilation, p * dilation + stride * H_out, stride)
        columns = slice(q * dilation, q * dilation + stride * W_out, stride)
        parts[:, :, p, q] = padded[:, :, rows, columns]
    return parts.reshape(N, C * HH * WW, H_out * W_out)
    ### END SOLUTION


# %% check="a3/im2col"
check("a3/im2col", im2col)

# %% [markdown]
# AlexNet's first layer, 96 filters of 11×11 with stride 4 on three channels of 227×227 pixels: the columns are a
# 363×3025 matrix, the filters a 96×363 matrix, and their product is reshaped to 96×55×55.

# %% tags=["demo"]
image = torch.zeros(1, 3, 227, 227)
columns = im2col(image, (11, 11), stride=4)
scores = torch.zeros(96, 363) @ columns
print(f"columns {tuple(columns.shape)}, product {tuple(scores.shape)} = {tuple(scores.reshape(1, 96, 55, 55).shape)}")
print(
    f"{image.numel():,} pixels have become {columns.numel():,} entries, {columns.numel() / image.numel():.1f} times as many"
)

# %% [markdown]
# ### The way back
#
# For the backward pass, think of im2col as a map of its own. It copies: pixel $\tilde X_{uv}$ goes to every place in
# $\hat X$ that shows it. A copy's gradient is the sum of what all copies are told. So `col2im` goes through the same
# slices, in the other direction, and **adds**. It is not the inverse of im2col, because a pixel in four windows comes back
# four times; it is its *adjoint*, or transpose: the matrix that im2col multiplies $x$ with, if all pixels stood in one
# long vector, transposed.


# %% exercise="a3/col2im"
def col2im(cols, shape, kernel, stride=1, pad=0, dilation=1):
    """Add the columns of matrices up to images: the adjoint of ``im2col``.

    Args:
        cols: Shape (N, C * HH * WW, H_out * W_out), rows and columns in the order of ``im2col``; not modified.
        shape: Height and width of the images, (H, W).
        kernel: Height and width of the window, (HH, WW).
        stride: Pixels from one place of the window to the next, in both directions.
        pad: Rows and columns that were added on each of the four sides; they are not part of the result.
        dilation: Pixels from one entry of the window to the next, in both directions.

    Returns:
        x: Images of shape (N, C, H, W), dtype and device of ``cols``: each pixel is the sum of the entries of ``cols``
        that ``im2col`` copies it to; 0 if there are none. There may be a loop over the HH * WW entries of the window,
        but none over places, images or channels.
    """
    ### BEGIN SOLUTION
    H, W = shape
    HH, WW = kernel
    H_out = conv_output_size(H, HH, stride, pad, dilation)
    W_out = conv_output_size(W, WW, stride, pad, dilation)
    parts = cols.unflatten(2, (H_out, W_out)).unflatten(1, (-1, HH, WW))
    padded = cols.new_zeros(parts.shape[0], parts.shape[1], H + 2 * pad, W + 2 * pad)
    for p, q in product(range(HH), range(WW)):
        rows = slice(p * dilation, p * dilation + stride * H_out, stride)
        columns = slice(q * dilation, q * dilation + stride * W_out, stride)
        padded[:, :, rows, columns] += parts[:, :, p, q]
    return padded[:, :, pad : pad + H, pad : pad + W]
    ### END SOLUTION


# %% check="a3/col2im"
check("a3/col2im", col2im)

# %% [markdown]
# ### A test that needs no reference
#
# Two linear maps $A$ and $B$ are adjoint if, for all $x$ in the one space and all $y$ in the other,
#
# $$\langle A x, y \rangle = \langle x, B y \rangle ,$$
#
# where $\langle \cdot, \cdot \rangle$ multiplies two tensors of one shape entry by entry and adds everything up. Every
# backward pass of a linear layer is the adjoint of its forward pass. So draw a random $x$ and a random $y$, and compare
# two numbers: no torch to compare with, no numerical gradient, no tolerance that depends on a step. As a number
# between 0 and 1:
#
# $$\text{gap} = \frac{|\,\langle A x, y \rangle - \langle x, B y \rangle\,|}{|\langle A x, y \rangle| + |\langle x, B y \rangle|} .$$


# %% exercise="a3/adjoint_gap"
def adjoint_gap(forward, adjoint, x, y):
    """Measure how far two linear maps are from being adjoint, on one pair of tensors.

    Args:
        forward: Function that maps a tensor of the shape of ``x`` to one of the shape of ``y``.
        adjoint: Function that maps a tensor of the shape of ``y`` to one of the shape of ``x``.
        x: Tensor of any shape.
        y: Tensor of any shape; x and y may differ in shape and in their number of entries.

    Returns:
        The gap, a number from 0 to 1; 0 if both inner products are 0.
    """
    ### BEGIN SOLUTION
    left = (forward(x) * y).sum()
    right = (x * adjoint(y)).sum()
    size = left.abs() + right.abs()
    return (left - right).abs() / size if size > 0 else size
    ### END SOLUTION


# %% check="a3/adjoint_gap"
check("a3/adjoint_gap", adjoint_gap)

# %% [markdown]
# Your own pair, in float64, where rounding alone gives a gap of about $10^{-16}$ (more if the two inner products happen to
# be close to 0). Above $10^{-12}$ something is wrong.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
settings = [{}, {"stride": 2}, {"pad": 3}, {"dilation": 2, "pad": 1}, {"stride": 3, "pad": 2, "dilation": 2}]
for setting in settings:
    x = torch.randn(2, 3, 9, 7, dtype=torch.float64, generator=generator)
    y = torch.randn(im2col(x, (3, 2), **setting).shape, dtype=torch.float64, generator=generator)
    gap = adjoint_gap(
        lambda t, setting=setting: im2col(t, (3, 2), **setting),
        lambda t, setting=setting: col2im(t, (9, 7), (3, 2), **setting),
        x,
        y,
    )
    print(f"{setting!s:45} gap {float(gap):.1e}")

# %% [markdown]
# ### The layer
#
# Now the layer is a few lines, and its backward pass is that of a matrix product. Without groups, for one image and with
# $dY_n$ of shape $(F, H'W')$:
#
# $$\underbrace{dw}_{(F,\; C \cdot HH \cdot WW)} = \sum_n \underbrace{dY_n}_{(F,\; H'W')} \, \underbrace{\hat X_n^\top}_{(H'W',\; C \cdot HH \cdot WW)},
# \qquad
# \underbrace{d\hat X_n}_{(C \cdot HH \cdot WW,\; H'W')} = \underbrace{w^\top}_{(C \cdot HH \cdot WW,\; F)} \, dY_n ,
# \qquad dX = \text{col2im}(d\hat X) .$$
#
# With $G$ groups, the rows of $\hat X_n$ fall into $G$ blocks, the channels of a group, and so do the filters: $G$ smaller
# products side by side. A product of tensors with more than two axes treats all axes but the last two as a batch, and
# axes of different length are matched by broadcasting: with
# $K = \frac{C}{G} \cdot HH \cdot WW$ and $L = H'W'$, $(G, F/G, K)$ times $(N, G, K, L)$ is $(N, G, F/G, L)$.


# %% exercise="a3/conv_im2col"
def conv_forward_im2col(x, w, b, conv_param):
    """Compute the forward pass of a convolution as a matrix product.

    Args:
        x: Images of shape (N, C, H, W), floating point; not modified.
        w: Filters of shape (F, C // groups, HH, WW), dtype and device as ``x``.
        b: Biases of shape (F,).
        conv_param: Dict with the ints ``stride``, ``pad``, ``dilation`` and ``groups``; those that are missing are 1, 0,
            1 and 1. Both C and F are multiples of ``groups``; the padding may be larger than the kernel.

    Returns:
        ``(out, cache)``: the output of shape (N, F, H_out, W_out), the same as that of ``conv_forward_naive``; and what
        ``conv_backward_im2col`` needs. No loop over places or images.
    """
    ### BEGIN SOLUTION
    stride, pad, dilation, groups = conv_settings(conv_param)
    F, _, HH, WW = w.shape
    cols = im2col(x, (HH, WW), stride, pad, dilation).unflatten(1, (groups, -1))  # (N, G, K, L)
    filters = w.reshape(groups, F // groups, -1)  # (G, F / G, K)
    out = (filters @ cols).flatten(1, 2) + b[:, None]  # (N, F, L)
    H_out = conv_output_size(x.shape[2], HH, stride, pad, dilation)
    return out.unflatten(2, (H_out, -1)), (x.shape[2:], w, cols, conv_param)
    ### END SOLUTION


# %% exercise="a3/conv_im2col"
def conv_backward_im2col(dout, cache):
    """Compute the backward pass of a convolution as two matrix products.

    Args:
        dout: Upstream gradient of shape (N, F, H_out, W_out); not modified.
        cache: What ``conv_forward_im2col`` returned.

    Returns:
        ``(dx, dw, db)``: gradients of shapes (N, C, H, W), (F, C // groups, HH, WW) and (F,). No loop over places or
        images.
    """
    ### BEGIN SOLUTION
    shape, w, cols, conv_param = cache
    stride, pad, dilation, groups = conv_settings(conv_param)
    filters = w.reshape(groups, len(w) // groups, -1)  # (G, F / G, K)
    upstream = dout.flatten(2).unflatten(1, (groups, -1))  # (N, G, F / G, L)
    dw = (upstream @ cols.mT).sum(dim=0).reshape(w.shape)
    dcols = (filters.mT @ upstream).flatten(1, 2)  # (N, G * K, L)
    return col2im(dcols, shape, w.shape[2:], stride, pad, dilation), dw, dout.sum(dim=(0, 2, 3))
    ### END SOLUTION


# %% check="a3/conv_im2col"
check("a3/conv_im2col", conv_forward_im2col, conv_backward_im2col)

# %% [markdown]
# ### How much faster
#
# Three ways to the same numbers: your loops, your matrix product, and torch's own convolution, for a layer of 32 filters
# of 3×3 on images of 16 channels and 32×32 pixels. The times are per image, so that the loops have to do one only; mind
# the logarithmic axis. Measured on one core, in processor time: 511 ms for the loops, 0.27 ms for im2col, 0.11 ms for
# torch. Expect a factor of more than a thousand for the first step and of 2 to 8 for the second; other work on the
# machine disturbs short times most.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
x = torch.randn(32, 16, 32, 32, generator=generator)
w = torch.randn(32, 16, 3, 3, generator=generator)
b = torch.randn(32, generator=generator)
settings = {"pad": 1}
rows = 4 if is_fast() else 32  # of the image that the loops are given


def milliseconds(task, repeats):
    """Return the shortest time of some repeats."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


tasks = {
    "loops": (lambda: conv_forward_naive(x[:1, :, :rows], w, b, settings), 1, rows / 32),
    "im2col": (lambda: conv_forward_im2col(x, w, b, settings), 5, len(x)),
    "torch": (lambda: functional.conv2d(x, w, b, padding=1), 5, len(x)),
}
times = {}
for name, (task, repeats, images) in tqdm(tasks.items(), desc="versions"):
    times[name] = milliseconds(task, repeats) / images
figure, axis = plt.subplots(figsize=(7, 2.1), layout="constrained")
bars = axis.barh(list(times), list(times.values()), color=COLOURS[:3], height=0.6)
axis.bar_label(
    bars, [f"  {value:,.0f} ms" if value > 10 else f"  {value:.2f} ms" for value in times.values()], fontsize=10
)
axis.set_xscale("log")
axis.set_xlim(min(times.values()) / 3, max(times.values()) * 8)
axis.invert_yaxis()
axis.set_xlabel("milliseconds per image, forward")
axis.spines[["top", "right"]].set_visible(False)
plt.show()
print(f"im2col is {times['loops'] / times['im2col']:,.0f} times as fast as the loops", end=", ")
print(f"torch {times['im2col'] / times['torch']:.1f} times as fast as im2col")

# %% [markdown] question="why_copying_pays" points=3
# **Question 1 (3 points).** im2col writes every pixel up to $HH \cdot WW$ times before it multiplies anything, and does
# exactly the multiplications that the loops do. (a) Why is it faster nevertheless? Name two reasons of different kinds.
# (b) A batch of 32 images of 64×224×224 goes through 64 filters of 3×3 with pad 1, in float32. How much memory does
# `cols` take, how much do the images take, and why would keeping `cols` in the cache be a problem in a network of 16
# such layers? Give two ways out. (c) For which kernels does im2col gain nothing over a product with the image as it is?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) The loops call torch several times for every output number; each call costs microseconds of
# overhead, for a few hundred multiplications that take a fraction of one. im2col makes a few dozen calls in all. And one
# large matrix product uses the machine well: each entry that is loaded into the cache is used many times (every column
# for all F filters, every filter for all columns), several multiply-adds are done by one instruction, memory is read in
# order. (b) The images: $32 \cdot 64 \cdot 224^2 = 102{,}760{,}448$ values, 411 MB. The columns are 9 times that, 3.7 GB;
# sixteen layers of this size would keep 59 GB until the backward pass. Ways out: keep x and make the columns anew in the
# backward pass; work through the batch in pieces, or image by image; compute on tiles without writing the whole matrix
# (what libraries do). (c) For 1×1 with stride 1: the columns are the image.
#
# *Rubric.* 1 point: overhead per call, and one reason about how the product uses memory or the processor. 1 point: both
# sizes within 5 %, and one way out. 1 point: 1×1 kernels (stride 1), with the reason.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. What kernels see
#
# Your layer on a photograph of 427×640 pixels, with five kernels made by hand. Two of them are differences of neighbours
# and find edges, one direction each (grey is 0, white and black are the two signs); the Laplacian compares a pixel with
# its four neighbours and finds edges of all directions, and noise. A blur averages, and sharpening is the image plus
# what the blur took away.

# %% tags=["demo"]
photograph = load_photograph("china")
grey = photograph.mean(dim=0, keepdim=True)[None]  # (1, 1, 427, 640)
across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
bell = torch.exp(-(torch.arange(-6.0, 7.0) ** 2) / 18)
blur = torch.outer(bell, bell) / bell.sum() ** 2  # (13, 13)
same = torch.zeros(13, 13)
same[6, 6] = 1


def apply(image, kernel):
    """Convolve every channel of (N, C, H, W) with one kernel, keeping the size."""
    C = image.shape[1]
    filters = kernel.expand(C, 1, *kernel.shape)
    return conv_forward_im2col(image, filters, torch.zeros(C), {"pad": len(kernel) // 2, "groups": C})[0]


pictures = {
    "photograph": photograph[None],
    "bright to dark, left to right": 0.5 + apply(grey, across) / 3,
    "bright to dark, downwards": 0.5 + apply(grey, across.T) / 3,
    "Laplacian": 0.5 + apply(grey, laplacian),
    "blur": apply(photograph[None], blur),
    "sharpen": apply(photograph[None], 2 * same - blur),
}
figure, axes = plt.subplots(2, 3, figsize=(10.5, 5), layout="constrained")
for axis, (name, picture) in zip(axes.flat, pictures.items(), strict=True):
    axis.imshow(picture[0].clamp(0, 1).permute(1, 2, 0), cmap="gray", vmin=0, vmax=1)
    axis.set_title(name, fontsize=10)
    axis.axis("off")
plt.show()

# %% [markdown]
# ### Kernels can be learned
#
# Nobody has to make them by hand. Suppose we are given pictures and what a secret kernel made of them, and nothing else.
# Start from zeros, compute the output, take the squared error
#
# $$L = \frac{1}{2 M} \sum_{n,i,j} \bigl( Y_{nij} - T_{nij} \bigr)^2, \qquad dY = \frac{Y - T}{M}, \qquad Y, T: (N, 1, H', W'),
# \quad M = N H' W',$$
#
# send $dY$ back through your layer, and take a step. The secret kernel is the edge finder of above, and the pictures are
# noise in one run, and patches of the photograph in the other, brought to mean 0 and standard deviation 1. What is
# plotted is the distance to the secret kernel.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
tiles = (grey[:, :, :416, :624].unfold(2, 52, 52).unfold(3, 52, 52)).reshape(-1, 1, 52, 52)
tiles = tiles[torch.randperm(len(tiles), generator=generator)[:16]]
inputs = {
    "noise": (torch.randn(tiles.shape, generator=generator), 0.9),
    "photograph": ((tiles - tiles.mean()) / tiles.std(), 0.2),
}
secret = across[None, None] / 8
steps = 30 if is_fast() else 300
distances, snapshots = {name: [] for name in inputs}, {name: [] for name in inputs}
moments = [0, 3, 10, 30, 100, 299]
with tqdm(total=steps * len(inputs), desc="steps") as progress:
    for name, (x, rate) in inputs.items():
        target = conv_forward_im2col(x, secret, torch.zeros(1), {})[0]
        learned = torch.zeros_like(secret)
        for step in range(steps):
            distances[name].append(float((learned - secret).norm() / secret.norm()))
            if step in moments:
                snapshots[name].append(learned[0, 0])
            out, cache = conv_forward_im2col(x, learned, torch.zeros(1), {})
            learned = learned - rate * conv_backward_im2col((out - target) / target.numel(), cache)[1]
            progress.update()

figure = plt.figure(figsize=(10, 3), layout="constrained")
curves, kernels = figure.subfigures(1, 2, width_ratios=[1, 1.25])
axis = curves.subplots()
for number, (name, values) in enumerate(distances.items()):
    axis.semilogy(values, color=COLOURS[number], label=name)
axis.set_xlabel("step")
axis.set_ylabel("distance to the secret kernel")
axis.set_ylim(1e-4, 3)
axis.grid(alpha=0.3)
axis.legend(frameon=False)
shown = [moment for moment in moments if moment < steps]
axes = kernels.subplots(len(inputs), len(shown) + 1)
for line, (name, row) in zip(axes, snapshots.items(), strict=True):
    for axis, values, title in zip(line, [*row, secret[0, 0]], [*(f"step {m}" for m in shown), "secret"], strict=True):
        axis.imshow(values, cmap="RdBu", vmin=-0.25, vmax=0.25)
        axis.set_title(title, fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
    line[0].set_ylabel(name, fontsize=9)
plt.show()
for name, values in distances.items():
    print(f"{name:10} distance after {len(values)} steps: {values[-1]:.1e}")

# %% [markdown]
# Measured: on noise the distance is below $10^{-4}$ after half a dozen steps; on the photograph it is still 0.08 after 300.
# Neighbouring pixels of a photograph are nearly equal, so all nine entries of the kernel get nearly the same gradient.
# In numbers: the Hessian of this loss is the 9×9 matrix of mean products of the pixels of a window, and its
# eigenvalues are 8.64, for kernels of nine nearly equal entries, and then 0.096 down to 0.012, for differences. The
# first one allows no rate above $2 / 8.64 = 0.23$; at the rate of 0.2, the slowest difference then shrinks by
# $1 - 0.2 \cdot 0.012$, a quarter of a per cent per step. And an edge finder is made of differences. Noise has no such
# preference: all its eigenvalues are near 1. That is why it helps to whiten images, and to normalise what flows between
# layers.
#
# ## 6. Fewer weights
#
# ### One by one
#
# A kernel of 1×1 sees a single pixel. With one channel that would be pointless; with $C$ channels it is a
# fully-connected layer on the $C$ numbers of each pixel, the same one everywhere. It changes the number of channels and
# mixes them, and costs a ninth of a 3×3. There is no window and nothing to unfold: for each image, a $(F, C)$ matrix
# times a $(C, HW)$ matrix,
#
# $$Y_{n f u v} = b_f + \sum_{c=1}^{C} w_{fc} \, X_{n c u v} .$$
#
# The trap is `reshape`: it never moves anything, it only cuts the same sequence of numbers anew. Channels have to be
# where the product wants them before anything is reshaped.


# %% exercise="a3/pointwise_conv"
def pointwise_conv(x, w, b):
    """Compute a 1×1 convolution as a matrix product, without loops.

    Args:
        x: Images of shape (N, C, H, W), floating point; not modified.
        w: Weights of shape (F, C), dtype and device as ``x``.
        b: Biases of shape (F,).

    Returns:
        out: Shape (N, F, H, W).
    """
    ### BEGIN SOLUTION
    return (w @ x.flatten(2)).unflatten(2, x.shape[2:]) + b[:, None, None]
    ### END SOLUTION


# %% check="a3/pointwise_conv"
check("a3/pointwise_conv", pointwise_conv)

# %% [markdown]
# ### Depthwise separable
#
# A layer of $F$ filters does two things at once: it looks at the neighbourhood, and it mixes channels. They can be done one
# after the other. First each channel gets a kernel of its own, and stays by itself: that is a convolution with
# $G = C$ groups and one filter per group, called *depthwise*. Then a 1×1 convolution, *pointwise*, mixes. With $Z$ for what
# is in between,
#
# $$Z_{ncij} = \sum_{p,q} \tilde X_{n,\, c,\, iS + pD,\, jS + qD} \; w^{\text{depth}}_{cpq}, \qquad
# Y_{nfij} = b_f + \sum_c w^{\text{point}}_{fc} \, Z_{ncij},$$
#
# with $w^{\text{depth}}$ of shape $(C, HH, WW)$, $w^{\text{point}}$ of shape $(F, C)$ and $Z$ of shape $(N, C, H', W')$. For
# each place this takes $C \cdot HH \cdot WW + CF$ multiply-adds instead of $C F \cdot HH \cdot WW$, that is
#
# $$\frac{1}{F} + \frac{1}{HH \cdot WW}$$
#
# of them: about an eighth for 3×3 and 128 filters. Networks for telephones are made of it. What it cannot do: its $F$ full
# kernels, $w^{\text{point}}_{fc} w^{\text{depth}}_{cpq}$, all have the same pattern in channel $c$, up to a factor.
#
# You have all the parts. Backward runs through them in reverse.


# %% exercise="a3/depthwise_separable"
def depthwise_separable_forward(x, w_depth, w_point, b, conv_param):
    """Compute a depthwise convolution without biases, followed by a 1×1 convolution with biases.

    Args:
        x: Images of shape (N, C, H, W), floating point; not modified.
        w_depth: One kernel for each channel, shape (C, HH, WW), dtype and device as ``x``.
        w_point: Weights of the 1×1 convolution, shape (F, C).
        b: Biases of the 1×1 convolution, shape (F,).
        conv_param: Dict with the ints ``stride``, ``pad`` and ``dilation`` of the depthwise convolution; those that are
            missing are 1, 0 and 1. Not modified.

    Returns:
        ``(out, cache)``: the output of shape (N, F, H_out, W_out), and what ``depthwise_separable_backward`` needs.
    """
    ### BEGIN SOLUTION
    C = len(w_depth)
    between, first = conv_forward_im2col(x, w_depth[:, None], w_depth.new_zeros(C), {**conv_param, "groups": C})
    out, second = conv_forward_im2col(between, w_point[:, :, None, None], b, {})
    return out, (first, second)
    ### END SOLUTION


# %% exercise="a3/depthwise_separable"
def depthwise_separable_backward(dout, cache):
    """Compute the backward pass of a depthwise separable convolution.

    Args:
        dout: Upstream gradient of shape (N, F, H_out, W_out); not modified.
        cache: What ``depthwise_separable_forward`` returned.

    Returns:
        ``(dx, dw_depth, dw_point, db)``: gradients of shapes (N, C, H, W), (C, HH, WW), (F, C) and (F,).
    """
    ### BEGIN SOLUTION
    first, second = cache
    dbetween, dw_point, db = conv_backward_im2col(dout, second)
    dx, dw_depth, _ = conv_backward_im2col(dbetween, first)
    return dx, dw_depth[:, 0], dw_point[:, :, 0, 0], db
    ### END SOLUTION


# %% check="a3/depthwise_separable"
check("a3/depthwise_separable", depthwise_separable_forward, depthwise_separable_backward)

# %% [markdown]
# ## 7. How far a unit sees
#
# A unit of the first layer sees $k$ pixels in each direction, one of the second sees $k$ units of the first, and so on. The
# *receptive field* is the stretch of the image from the first pixel to the last that a unit depends on. Go through the
# layers from the image on and keep two numbers, both in pixels of the image:
#
# - the **size** $r$ of the field, and
# - the **jump** $j$, from one unit's field to its neighbour's.
#
# For a pixel itself $r = 1$ and $j = 1$. A layer with a window of $k$ entries, $D$ apart, reaches $(k-1)D$ units
# beyond the first one, and neighbouring units of its *input* are $j$ pixels apart. Its stride counts from the next layer
# on:
#
# $$r \leftarrow r + (k - 1)\, D \, j, \qquad j \leftarrow j \, S .$$
#
# (It is $k - 1$ and not $k$: a window of 3 that starts at one pixel ends two pixels further on.) Pooling layers are
# windows like any others. Padding does not enter: it says where fields lie, not how large they are.


# %% exercise="a3/receptive_field"
def receptive_field(layers):
    """Compute how many pixels a unit of the last layer depends on, along one axis.

    Args:
        layers: One tuple (kernel, stride, dilation) of ints, each at least 1, for every layer, from the image on. May be
            empty.

    Returns:
        ``(size, jump)``: ints; pixels from the first to the last that a unit depends on, both included, and pixels from
        one unit's field to its neighbour's. (1, 1) if there are no layers.
    """
    ### BEGIN SOLUTION
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * jump
        jump *= stride
    return size, jump
    ### END SOLUTION


# %% check="a3/receptive_field"
check("a3/receptive_field", receptive_field)

# %% [markdown]
# Three 3×3 see as far as one 7×7. Three of them with dilations 1, 2 and 4 see 15 pixels, with no more weights: the field
# doubles with every layer instead of growing by two pixels. Five blocks of two or three 3×3 layers, each block with a 2×2
# pooling of stride 2 behind it, are the 13 convolutions of VGG16.

# %% tags=["demo"]
vgg16_blocks = [2, 2, 3, 3, 3]  # 3×3 convolutions in each block
print("three 3×3:              ", receptive_field([(3, 1, 1)] * 3))
print("one 7×7:                ", receptive_field([(7, 1, 1)]))
print("dilations 1, 2, 4:      ", receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)]))
layers, fields = [], []
for number, count in enumerate(vgg16_blocks, 1):
    layers += [(3, 1, 1)] * count + [(2, 2, 1)]
    fields.append(receptive_field(layers))
    print(f"VGG16 at pool{number}:         ", fields[-1])

# The paths by which a pixel reaches a unit ten 3×3 layers further on, counted by the backward pass of the layer.
paths = torch.zeros(1, 1, 1, 1, dtype=torch.float64) + 1
ones, no_bias = torch.ones(1, 1, 3, 3, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
for _ in range(10):
    below = torch.zeros(1, 1, paths.shape[2] + 2, paths.shape[3] + 2, dtype=torch.float64)
    paths = conv_backward_im2col(paths, conv_forward_im2col(below, ones, no_bias, {})[1])[0]

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=[1.1, 1])
scene = functional.interpolate(load_photograph("portrait")[None, :, 40:552], size=(224, 224), mode="area")[0]
axes[0].imshow(scene.permute(1, 2, 0))
for number, (size, _) in enumerate(fields):
    corner = 112 - size / 2
    colour = COLOURS[[3, 1, 4, 2, 0][number]]
    box = Rectangle(
        (corner, corner), size, size, fill=False, lw=2.5, edgecolor=colour, label=f"pool{number + 1}: {size}"
    )
    axes[0].add_patch(box)
axes[0].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=10)
axes[0].set_title("VGG16: field of the middle unit behind each block", fontsize=10)
axes[0].axis("off")
share = paths[0, 0] / paths.sum()
shown = axes[1].imshow(share, cmap="magma")
axes[1].set_title(f"ten 3×3: each pixel's share of the {float(paths.sum()):,.0f} paths", fontsize=10)
axes[1].set_xticks(range(0, 21, 5))
axes[1].set_yticks(range(0, 21, 5))
axes[1].set_xlabel("pixel")
figure.colorbar(shown, ax=axes[1], shrink=0.8)
plt.show()
inside = share[5:16, 5:16].sum()
print(
    f"field {tuple(share.shape)}; the 11×11 pixels in the middle, {121 / share.numel():.0%} of them, have {inside:.0%} of the paths"
)

# %% [markdown]
# On the right, something that the size alone does not tell. A pixel in the middle of the field reaches the unit by many
# paths, through every layer and every entry of the kernels; one in the corner by a single path. With equal weights the
# shares follow a bell curve, whose width grows with the square root of the number of layers, while the field grows with
# the number itself. The *effective* field of a deep network is much smaller than its nominal one.
#
# ## 8. What it costs
#
# Whether a network fits can be computed before it is built. Per layer and for one image:
#
# - **weights**: a convolution has $F \cdot \frac{C}{G} \cdot HH \cdot WW$, a fully-connected layer inputs times outputs,
#   pooling none. **Biases**: $F$, or one per output.
# - **multiply-adds**: each output number is a sum of as many products as it has weights. One multiplication with the
#   addition that follows counts as one; adding the bias, ReLU and the comparisons of pooling are left out.
# - **activations**: the numbers that come out. In training all of them are kept for the backward pass. ReLU is computed in
#   place and takes no memory of its own.
#
# A layer is a dict. Its `kind` is `"conv"`, `"pool"` or `"fc"`:
#
# | key | of | meaning |
# | --- | --- | --- |
# | `filters` | conv | number of filters |
# | `kernel` | conv, pool | pair (height, width) |
# | `stride`, `pad` | conv, pool | ints; 1 and 0 if missing |
# | `dilation`, `groups` | conv | ints; 1 and 1 if missing |
# | `outputs` | fc | number of outputs; whatever shape comes in is flattened |
# | `bias` | conv, fc | whether there are biases; `True` if missing |


# %% exercise="a3/conv_cost"
def conv_cost(layers, in_shape):
    """Compute output shapes, weights, multiply-adds and activations of a network, layer by layer, for one image.

    Args:
        layers: One dict per layer, from the image on, with the keys of the table above; not modified. A convolution
            or pooling layer is never behind a fully-connected one.
        in_shape: Shape (C, H, W) of the image.

    Returns:
        A list with one dict per layer and the keys ``shape``, the tuple (F, H_out, W_out) or (outputs,);
        ``weights``, without biases; ``biases``; ``multiply_adds``; and ``activations``, the number of output values. The
        last four are ints.
    """
    ### BEGIN SOLUTION
    table, shape = [], in_shape
    for layer in layers:
        if layer["kind"] == "fc":
            fan_in, shape = math.prod(shape), (layer["outputs"],)
        else:
            stride, pad, dilation, groups = conv_settings(layer)
            C, H, W = shape
            HH, WW = layer["kernel"]
            fan_in = C // groups * HH * WW
            H_out = conv_output_size(H, HH, stride, pad, dilation)
            W_out = conv_output_size(W, WW, stride, pad, dilation)
            shape = (layer.get("filters", C), H_out, W_out)
        has_weights = layer["kind"] != "pool"
        table.append(
            {
                "shape": shape,
                "weights": has_weights * shape[0] * fan_in,
                "biases": shape[0] if has_weights and layer.get("bias", True) else 0,
                "multiply_adds": has_weights * math.prod(shape) * fan_in,
                "activations": math.prod(shape),
            }
        )
    return table
    ### END SOLUTION


# %% check="a3/conv_cost"
check("a3/conv_cost", conv_cost)

# %% [markdown]
# ### VGG16 and AlexNet
#
# VGG16, of 2014, is regular enough to be written down in a few lines: 3×3 with pad 1 throughout, 64, 128, 256, 512 and 512
# filters in its five blocks, and three fully-connected layers. AlexNet, of 2012, began with 96 filters of 11×11 and split
# some of its layers into two groups, because one graphics card could not hold it.

# %%
VGG16 = [
    layer
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for layer in [
        *[{"kind": "conv", "filters": filters, "kernel": (3, 3), "pad": 1}] * count,
        {"kind": "pool", "kernel": (2, 2), "stride": 2},
    ]
] + [{"kind": "fc", "outputs": outputs} for outputs in (4096, 4096, 1000)]

POOL = {"kind": "pool", "kernel": (3, 3), "stride": 2}
ALEXNET = [
    {"kind": "conv", "filters": 96, "kernel": (11, 11), "stride": 4},
    POOL,
    {"kind": "conv", "filters": 256, "kernel": (5, 5), "pad": 2, "groups": 2},
    POOL,
    {"kind": "conv", "filters": 384, "kernel": (3, 3), "pad": 1},
    {"kind": "conv", "filters": 384, "kernel": (3, 3), "pad": 1, "groups": 2},
    {"kind": "conv", "filters": 256, "kernel": (3, 3), "pad": 1, "groups": 2},
    POOL,
    *({"kind": "fc", "outputs": outputs} for outputs in (4096, 4096, 1000)),
]

# %% tags=["demo"]
networks = {"AlexNet": (ALEXNET, (3, 227, 227)), "VGG16": (VGG16, (3, 224, 224))}
for name, (layers, in_shape) in networks.items():
    table = conv_cost(layers, in_shape)
    print(f"{name:10} {'output':>14} {'weights':>13} {'biases':>7} {'multiply-adds':>15} {'activations':>12}")
    print(f"{'input':10} {'×'.join(map(str, in_shape)):>14} {'':>13} {'':>7} {'':>15} {math.prod(in_shape):12,}")
    for layer, row in zip(layers, table, strict=True):
        kernel = "×".join(map(str, layer.get("kernel", ())))
        print(f"{layer['kind']:4} {kernel:5} {'×'.join(map(str, row['shape'])):>14} {row['weights']:13,}", end=" ")
        print(f"{row['biases']:7,} {row['multiply_adds']:15,} {row['activations']:12,}")
    weights, biases, products, activations = (sum(row[key] for row in table) for key in list(table[0])[1:])
    activations += math.prod(in_shape)
    print(f"{'together':10} {'':>14} {weights:13,} {biases:7,} {products:15,} {activations:12,}")
    dense = sum(row["weights"] for layer, row in zip(layers, table, strict=True) if layer["kind"] == "fc")
    print(f"{dense / weights:.1%} of the weights are in fully-connected layers\n")

# %% tags=["demo"]
table = conv_cost(VGG16, (3, 224, 224))
counts, names, block = {"conv": 0, "fc": 0}, [], 1
for layer in VGG16:
    if layer["kind"] == "pool":
        names.append(f"pool{block}")
        block, counts["conv"] = block + 1, 0
    else:
        counts[layer["kind"]] += 1
        names.append(f"conv{block}_{counts['conv']}" if layer["kind"] == "conv" else f"fc{5 + counts['fc']}")
kinds = {"conv": COLOURS[0], "pool": COLOURS[6], "fc": COLOURS[1]}
titles = {
    "weights": "weights, millions",
    "multiply_adds": "multiply-adds, thousand millions",
    "activations": "activations, millions",
}
figure, axes = plt.subplots(3, 1, figsize=(10, 5.2), layout="constrained", sharex=True)
for axis, (key, title) in zip(axes, titles.items(), strict=True):
    scale = 1e9 if key == "multiply_adds" else 1e6
    axis.bar(names, [row[key] / scale for row in table], color=[kinds[layer["kind"]] for layer in VGG16])
    axis.set_title(f"VGG16: {title}", fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
axes[-1].tick_params(axis="x", rotation=60)
plt.show()

# %% [markdown]
# Weights sit at one end of the network, arithmetic and memory at the other. 89.4 % of the 138 million weights are in the
# three fully-connected layers, which do 0.8 % of the multiply-adds; the first block alone has 47 % of the activations, with
# 0.03 % of the weights. Later networks average over all places instead of flattening, and most of their weights are gone.

# %% [markdown] question="three_small_kernels" points=3
# **Question 2 (3 points).** Replace a layer of $C$ filters of 7×7, on $C$ channels, by three layers of $C$ filters of 3×3
# with ReLU in between; stride 1, all padded so that the size stays, biases left out. (a) Compare the receptive fields, the
# weights and the multiply-adds; give formulas. (b) What can the three compute that the one cannot? And without the ReLUs:
# what can the one compute that the three cannot? (c) What do the three cost more of? Is it always wise to go on like
# this, with nothing but small kernels?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Both see 7×7. $3 \cdot 9 C^2 = 27 C^2$ weights against $49 C^2$, 45 % fewer; multiply-adds are
# weights times $HW$, so the same ratio. (b) With ReLU in between the three are not linear: three foldings instead of
# one. Without it they compose to one linear map with a 7×7 kernel, and only to kernels that are sums of products of
# three 3×3 kernels: 49 free entries per pair of channels cannot be had from 27. (Counting is enough.) (c) Activations:
# three outputs to be kept for backward instead of one, so three times the memory; three layers one after another, so
# less to be done in parallel; deeper networks are harder to train. At the image itself a 7×7 with stride 2 is common: with
# C = 3 a large kernel is cheap, and it makes the image small early, while three 3×3 layers at full size with many
# channels are the most expensive part (the first block of VGG16).
#
# *Rubric.* 1 point: field 7 and $27 C^2$ against $49 C^2$ for weights and multiply-adds alike. 1 point: nonlinearity, and
# that 27 entries do not give all 7×7 kernels. 1 point: memory for activations (or depth), with a case where a large
# kernel pays.
# ### END MARK SCHEME

# %% [markdown] question="the_copied_table" points=3
# **Question 3 (3 points).** A table of VGG16's activations, layer by layer as above and with the same sizes in every line,
# has been copied from lecture to lecture. Its last line says: *total memory 24M × 4 bytes ≈ 93 MB per image, forward
# only*. (a) What is the total of the lines, in values and in megabytes at float32? Is 24M × 4 bytes 93 MB, if MB means
# $10^6$ bytes, or if it means $2^{20}$? (b) Somebody explains the difference: the author counted the output of each
# ReLU apart from that of its convolution or fully-connected layer (the last one has none). Compute what that would
# give. Does it explain 24M? (c) How much would a batch of 32 need for activations in training, by your total, and what
# else needs memory then? Why can a network be *tested* on one image with far less than your total?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) 15,237,608 values with the input, so $60{,}950{,}432$ bytes: 61 MB (58 MiB). 24M × 4 bytes is 96 MB,
# or 91.6 MiB: neither is 93. (b) The convolutions put out 13,547,520 values, the first two fully-connected layers 8,192. With
# those twice the total is 28,793,320, or 115 MB. It does not explain 24M, nor does ReLU computed in place, which adds nothing.
# The honest conclusion: the sum is wrong, and how it came about cannot be told from the table; a plausible story is not
# an explanation until it gives the number. (c) $32 \cdot 61$ MB = 1.95 GB. Besides: the gradients of activations (at least
# those of the layer at work), weights, their gradients and the optimiser's state (0.55 GB each for 138 million weights in
# float32; Adam has two), and whatever im2col unfolds. When testing, nothing is kept for a backward pass: a layer's input can
# be thrown away once its output is there, so the largest pair of neighbours is enough, $2 \cdot 3{,}211{,}264$ values
# (conv1_1 and conv1_2), 26 MB.
#
# *Rubric.* 1 point: 15.2 million and 61 MB, and that 24M × 4 bytes fits neither meaning of MB. 1 point: 28.8 million, so the
# explanation fails. 1 point: 1.95 GB, one other consumer, and that testing keeps no activations.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Yann LeCun, Léon Bottou, Yoshua Bengio and Patrick Haffner, *Gradient-based learning applied to document recognition*,
#   Proceedings of the IEEE 86, 1998: LeNet-5, with every design choice explained.
# - Vincent Dumoulin and Francesco Visin, *A guide to convolution arithmetic for deep learning*, 2016, arXiv:1603.07285: every
#   combination of stride, padding and dilation, drawn.
# - Karen Simonyan and Andrew Zisserman, *Very deep convolutional networks for large-scale image recognition*, 2014,
#   arXiv:1409.1556: VGG, and the argument for three 3×3 in place of one 7×7.
# - Kumar Chellapilla, Sidd Puri and Patrice Simard, *High performance convolutional neural networks for document
#   processing*, 2006: where unfolding into a matrix product comes from.
# - Fisher Yu and Vladlen Koltun, *Multi-scale context aggregation by dilated convolutions*, 2015, arXiv:1511.07122.
# - Andrew Howard and others, *MobileNets: efficient convolutional neural networks for mobile vision applications*, 2017,
#   arXiv:1704.04861: depthwise separable layers throughout.
# - Wenjie Luo, Yujia Li, Raquel Urtasun and Richard Zemel, *Understanding the effective receptive field in deep
#   convolutional neural networks*, 2016, arXiv:1701.04128: the bell curve of section 7.

# %%
check.summary()
