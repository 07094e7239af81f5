# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Activations and initialization
#
# Two choices are made before a net has seen a single image: the function that bends the signal between the layers, and
# the numbers that the weights start with. Made badly, the signal dies on its way up or the gradient on its way down,
# and no optimiser mends that. In this notebook you will
#
# - write **eight activations** with their gradients, each one safe for inputs of any size;
# - derive **how large first weights must be** from the variance of a sum: LeCun, Xavier and He are one line of algebra
#   apart;
# - **watch signals** collapse, saturate and survive in deep nets, and predict by which factor;
# - train nets that differ in nothing but these choices, and count the ReLUs that **die** of a learning rate.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $x$ | what enters a layer, one row per image | $(N, D)$ |
# | $W$, $b$ | weights and biases of a linear layer | $(D, M)$, $(M,)$ |
# | $s = xW + b$ | scores, before the activation | $(N, M)$ |
# | $h = f(s)$ | activations, `out` in code | shape of $s$ |
# | $\partial L / \partial h$ | upstream gradient, `dout` in code | shape of $h$ |
# | $\partial L / \partial s$ | what backward returns; `dx`, since $s$ is what enters $f$ | shape of $s$ |
# | $D$, $M$ | *fan-in* and *fan-out*: inputs of one output, outputs of one input | numbers |
#
# An activation works on each entry by itself: tensors of any shape go in, and the same shape comes out.

# %% tags=["setup"]
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, normalize
from dlcvkit.layers import affine_backward, affine_forward, relu_backward, relu_forward, softmax_loss
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast
from dlcvkit.training import Solver

# %% [markdown]
# ## 1. Functions that squash
#
# Without a function in between, two layers are one: $(x W_1) W_2 = x (W_1 W_2)$. The oldest remedy is the **sigmoid**,
#
# $$\sigma(x) = \frac{1}{1 + e^{-x}}, \qquad
# \sigma'(x) = \frac{e^{-x}}{(1 + e^{-x})^2} = \frac{1}{1 + e^{-x}} \cdot \frac{e^{-x}}{1 + e^{-x}} = \sigma(x)\,(1 - \sigma(x)).$$
#
# The last form is the one to use: the output is all that backward needs, and it never leaves $[0, 1]$. The middle form
# is infinity over infinity as soon as $e^{-x}$ overflows, at $x \approx -710$ in float64 and already at $-89$ in
# float32. The same goes for $e^x / (1 + e^x)$ on the other side. What is always safe is an exponential of something
# negative. With $t = e^{-|x|} \in (0, 1]$,
#
# $$\sigma(x) = \frac{1}{1 + t} \;\text{ if } x \ge 0, \qquad \sigma(x) = \frac{t}{1 + t} \;\text{ if } x < 0 .$$
#
# By the chain rule, backward multiplies the upstream gradient by the derivative, entry by entry. Write both functions;
# `cache` is whatever you want to hand from one to the other. In this notebook's activations, torch's own versions of
# them and autograd are out of bounds.


# %% exercise="a2/sigmoid_activation"
def sigmoid_forward(x):
    """Compute the sigmoid of every entry.

    Args:
        x: Floating-point tensor of any shape; any finite values, not modified.

    Returns:
        out: Shape, dtype and device of ``x``; entries from 0 to 1, finite whatever the size of x.
        cache: Anything that ``sigmoid_backward`` needs.
    """
    ### BEGIN SOLUTION
    t = (-x.abs()).exp()
    out = torch.where(x < 0, t, 1) / (1 + t)
    return out, out
    ### END SOLUTION


# %% exercise="a2/sigmoid_activation"
def sigmoid_backward(dout, cache):
    """Compute the gradient of the loss with respect to the sigmoid's input.

    Args:
        dout: Upstream gradient, shape of ``out``; not modified.
        cache: From ``sigmoid_forward``.

    Returns:
        dx: Shape of ``dout``.
    """
    ### BEGIN SOLUTION
    out = cache
    return dout * out * (1 - out)
    ### END SOLUTION


# %% check="a2/sigmoid_activation"
check("a2/sigmoid_activation", sigmoid_forward, sigmoid_backward)

# %% [markdown]
# ### tanh
#
# The sigmoid's outputs are all positive, which question 1 will hold against it. Stretched to the range from $-1$ to $1$
# it is the hyperbolic tangent:
#
# $$\tanh(x) = \frac{e^x - e^{-x}}{e^x + e^{-x}} = 2\,\sigma(2x) - 1 .$$
#
# With $h = \tanh(x)$, so $\sigma(2x) = \frac{1 + h}{2}$, the chain rule gives
#
# $$\tanh'(x) = 4\,\sigma(2x)\,(1 - \sigma(2x)) = 4 \cdot \frac{1 + h}{2} \cdot \frac{1 - h}{2} = 1 - h^2 .$$
#
# Again the output is enough for backward, and again the quotient as it stands breaks for large inputs. Mind the sign.


# %% exercise="a2/tanh_activation"
def tanh_forward(x):
    """Compute the hyperbolic tangent of every entry.

    Args:
        x: Floating-point tensor of any shape; any finite values, not modified.

    Returns:
        out: Shape, dtype and device of ``x``; entries from -1 to 1, finite whatever the size of x.
        cache: Anything that ``tanh_backward`` needs.
    """
    ### BEGIN SOLUTION
    t = (-2 * x.abs()).exp()
    out = x.sign() * (1 - t) / (1 + t)
    return out, out
    ### END SOLUTION


# %% exercise="a2/tanh_activation"
def tanh_backward(dout, cache):
    """Compute the gradient of the loss with respect to tanh's input.

    Args:
        dout: Upstream gradient, shape of ``out``; not modified.
        cache: From ``tanh_forward``.

    Returns:
        dx: Shape of ``dout``.
    """
    ### BEGIN SOLUTION
    out = cache
    return dout * (1 - out * out)
    ### END SOLUTION


# %% check="a2/tanh_activation"
check("a2/tanh_activation", tanh_forward, tanh_backward)

# %% [markdown]
# ### What a slope of 1/4 does to a gradient
#
# $\sigma (1 - \sigma)$ is largest where $\sigma = \frac12$, at $x = 0$: there it is $\frac14$. A gradient that goes
# down through $L$ sigmoid layers is multiplied by $L$ such slopes, one per layer,
#
# $$\frac{\partial L}{\partial s^{(l)}} = \Bigl( \frac{\partial L}{\partial s^{(l+1)}} \underbrace{W^{(l+1)\top}}_{(M,\,D)} \Bigr)
# \odot \underbrace{\sigma'(s^{(l)})}_{\le\, 1/4}, \qquad s^{(l)} \text{ of shape } (N, D),$$
#
# so unless the weights make up for it, ten layers leave at most $4^{-10} \approx 10^{-6}$ of it, and where units are
# saturated, far less. The slope of tanh reaches 1, but only at 0: it dies more slowly. The figures of section 4 show
# both.

# %% [markdown] question="positive_outputs" points=3
# **Question 1 (3 points).** A layer follows a sigmoid layer, so all its inputs $x_d$ are positive. Take one image and
# one unit with $s = \sum_d x_d w_d$. (a) What can you say about the signs of the entries of $\partial L / \partial w$,
# shape $(D,)$? (b) The best direction would be to raise $w_1$ and to lower $w_2$. What does the path of single-image
# steps look like? (c) What mitigates this in practice, and why has tanh less of it?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\partial L / \partial w_d = (\partial L / \partial s)\, x_d$; the first factor is the same for
# all $d$ and the second is positive, so all entries have one sign. (b) A step raises both weights or lowers both; the
# wanted direction can only be reached by a zig-zag of alternating steps. (c) A batch adds up gradients of several
# images, whose $\partial L / \partial s$ have different signs, so that the sum's entries may differ in sign;
# subtracting the mean (batch normalization) or a learning rate per weight help as well. The outputs of tanh have both
# signs and a mean near 0.
#
# *Rubric.* 1 point: all entries share the sign of the upstream gradient, with the reason. 1 point: zig-zag. 1 point:
# one remedy and that tanh is centred at 0.
# ### END MARK SCHEME

# %% [markdown]
# ## 2. Functions that let pass
#
# ReLU, $\max(0, x)$, has slope 1 wherever it is on, so depth alone does not shrink anything. Where it is off, its slope
# is 0: a unit that is off for all images gets no gradient and stays off. The functions below keep the right half and
# give the left one a slope, with $a, \alpha, \lambda$ numbers (`slope`, `alpha`, `SELU_LAMBDA` in code):
#
# | | for $x > 0$ | for $x \le 0$ | slope for $x > 0$ | slope for $x \le 0$ |
# | --- | --- | --- | --- | --- |
# | leaky ReLU | $x$ | $a\,x$ | $1$ | $a$ |
# | ELU | $x$ | $\alpha\,(e^x - 1)$ | $1$ | $\alpha\, e^x$ |
# | SELU | $\lambda\, x$ | $\lambda\, \alpha\,(e^x - 1)$ | $\lambda$ | $\lambda\, \alpha\, e^x$ |
#
# At exactly 0 there is a kink (except for ELU with $\alpha = 1$), and the slope of the *left* side is taken, as torch
# does.
#
# Two traps. First, both branches of `torch.where` are computed for *all* entries. That is harmless as long as the
# unused one is only passed over, but $e^x$ for $x = 10^4$ is infinite, and infinity times 0 is not 0 but `nan`. Clamp
# $x$ from above before the exponential, and the question does not arise. Second, for tiny $x$ the difference $e^x - 1$
# loses digits; `torch.expm1` computes it without loss.


# %% exercise="a2/leaky_relu"
def leaky_relu_forward(x, slope):
    """Compute leaky ReLU of every entry.

    Args:
        x: Floating-point tensor of any shape; any finite values, not modified.
        slope: Slope of the left side, a number from 0 to 1.

    Returns:
        out: Shape, dtype and device of ``x``.
        cache: Anything that ``leaky_relu_backward`` needs.
    """
    ### BEGIN SOLUTION
    is_right = x > 0
    return torch.where(is_right, x, slope * x), (is_right, slope)
    ### END SOLUTION


# %% exercise="a2/leaky_relu"
def leaky_relu_backward(dout, cache):
    """Compute the gradient of the loss with respect to leaky ReLU's input.

    Args:
        dout: Upstream gradient, shape of ``out``; not modified.
        cache: From ``leaky_relu_forward``.

    Returns:
        dx: Shape of ``dout``; the slope at 0 is that of the left side.
    """
    ### BEGIN SOLUTION
    is_right, slope = cache
    return torch.where(is_right, dout, slope * dout)
    ### END SOLUTION


# %% check="a2/leaky_relu"
check("a2/leaky_relu", leaky_relu_forward, leaky_relu_backward)


# %% exercise="a2/elu"
def elu_forward(x, alpha):
    """Compute the exponential linear unit of every entry.

    Args:
        x: Floating-point tensor of any shape; any finite values, not modified.
        alpha: Depth of the left side, a number above 0.

    Returns:
        out: Shape, dtype and device of ``x``; entries above -alpha, finite whatever the size of x.
        cache: Anything that ``elu_backward`` needs.
    """
    ### BEGIN SOLUTION
    out = torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))
    return out, (out, alpha)
    ### END SOLUTION


# %% exercise="a2/elu"
def elu_backward(dout, cache):
    """Compute the gradient of the loss with respect to ELU's input.

    Args:
        dout: Upstream gradient, shape of ``out``; not modified.
        cache: From ``elu_forward``.

    Returns:
        dx: Shape of ``dout``; the slope at 0 is that of the left side.
    """
    ### BEGIN SOLUTION
    out, alpha = cache
    return dout * torch.where(out > 0, 1, out + alpha)
    ### END SOLUTION


# %% check="a2/elu"
check("a2/elu", elu_forward, elu_backward)

# %% [markdown]
# SELU is ELU with two constants that section 5 will derive: with them, activations of mean 0 and variance 1 keep mean 0
# and variance 1, layer after layer.

# %%
SELU_LAMBDA = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


# %% exercise="a2/selu"
def selu_forward(x):
    """Compute the scaled exponential linear unit of every entry.

    Args:
        x: Floating-point tensor of any shape; any finite values, not modified.

    Returns:
        out: Shape, dtype and device of ``x``, finite whatever the size of x.
        cache: Anything that ``selu_backward`` needs.
    """
    ### BEGIN SOLUTION
    out = SELU_LAMBDA * torch.where(x > 0, x, SELU_ALPHA * torch.expm1(x.clamp(max=0)))
    return out, out
    ### END SOLUTION


# %% exercise="a2/selu"
def selu_backward(dout, cache):
    """Compute the gradient of the loss with respect to SELU's input.

    Args:
        dout: Upstream gradient, shape of ``out``; not modified.
        cache: From ``selu_forward``.

    Returns:
        dx: Shape of ``dout``; the slope at 0 is that of the left side.
    """
    ### BEGIN SOLUTION
    out = cache
    return dout * torch.where(out > 0, SELU_LAMBDA, out + SELU_LAMBDA * SELU_ALPHA)
    ### END SOLUTION


# %% check="a2/selu"
check("a2/selu", selu_forward, selu_backward)

# %% [markdown]
# ### GELU
#
# ReLU multiplies $x$ by 0 or 1, depending on its sign. The *Gaussian error linear unit* multiplies by the probability
# that a standard normal number is below $x$: a soft gate instead of a switch. BERT, GPT-2 and vision transformers use
# it.
#
# $$\operatorname{gelu}(x) = x\,\Phi(x), \qquad \Phi(x) = \tfrac12 \bigl(1 + \operatorname{erf}(x / \sqrt 2)\bigr) .$$
#
# Since $\operatorname{erf}'(z) = \frac{2}{\sqrt\pi} e^{-z^2}$, the derivative of $\Phi$ is the normal density, and the
# product rule does the rest:
#
# $$\Phi'(x) = \tfrac12 \cdot \tfrac{2}{\sqrt\pi}\, e^{-x^2/2} \cdot \tfrac{1}{\sqrt 2} = \tfrac{1}{\sqrt{2\pi}}\, e^{-x^2/2} = \varphi(x),
# \qquad \operatorname{gelu}'(x) = \Phi(x) + x\,\varphi(x) .$$
#
# Use `torch.erf`. Much code has the approximation $\frac x2 \bigl(1 + \tanh(\sqrt{2/\pi}\,(x + 0.044715\,x^3))\bigr)$
# from the days when `erf` was slow; it is off by up to $4.7 \cdot 10^{-4}$, and a net that was trained with one form
# should be run with the same. Here the exact one is asked for.


# %% exercise="a2/gelu"
def gelu_forward(x):
    """Compute the Gaussian error linear unit of every entry, in its exact form.

    Args:
        x: Floating-point tensor of any shape; any finite values, not modified.

    Returns:
        out: Shape, dtype and device of ``x``.
        cache: Anything that ``gelu_backward`` needs.
    """
    ### BEGIN SOLUTION
    cdf = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    return x * cdf, (x, cdf)
    ### END SOLUTION


# %% exercise="a2/gelu"
def gelu_backward(dout, cache):
    """Compute the gradient of the loss with respect to GELU's input.

    Args:
        dout: Upstream gradient, shape of ``out``; not modified.
        cache: From ``gelu_forward``.

    Returns:
        dx: Shape of ``dout``.
    """
    ### BEGIN SOLUTION
    x, cdf = cache
    density = (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)
    return dout * (cdf + x * density)
    ### END SOLUTION


# %% check="a2/gelu"
check("a2/gelu", gelu_forward, gelu_backward)

# %% [markdown]
# ### Maxout
#
# Why choose a shape at all? A maxout layer has $P$ linear layers side by side, its *pieces*, and keeps the largest of
# their scores, entry by entry. With $w$ of shape $(P, D, M)$ and $b$ of shape $(P, M)$,
#
# $$S_{pnm} = \sum_{d=1}^{D} x_{nd}\, w_{pdm} + b_{pm} \quad (P, N, M), \qquad h_{nm} = \max_p S_{pnm} \quad (N, M) .$$
#
# The maximum of lines is convex, and with enough pieces any convex function can be approached; ReLU is the case of two
# pieces, one of them 0. Nothing saturates, and some piece always gets the
# gradient; the price is $P$ times the weights.
#
# Backward: only the winner $p^*(n, m)$ had any influence on $h_{nm}$, so it gets the upstream gradient, and the others
# nothing. (Of equally large pieces the *first* counts as the winner.) From there on every piece is a linear layer:
#
# $$\frac{\partial L}{\partial S_{pnm}} = \frac{\partial L}{\partial h_{nm}}\, [\,p = p^*(n, m)\,], \qquad
# \frac{\partial L}{\partial w_p} = \underbrace{x^\top}_{(D,\,N)} \underbrace{\frac{\partial L}{\partial S_p}}_{(N,\,M)}, \qquad
# \frac{\partial L}{\partial b_p} = \sum_n \frac{\partial L}{\partial S_{pn}}, \qquad
# \frac{\partial L}{\partial x} = \sum_p \frac{\partial L}{\partial S_p}\, w_p^\top ,$$
#
# the last of shape $(N, D)$: all pieces read the same $x$, so their gradients add up. Matrix products broadcast over
# leading axes: `x @ w` has shape $(P, N, M)$, and `w.mT` transposes the last two axes.


# %% exercise="a2/maxout"
def maxout_forward(x, w, b):
    """Compute a maxout layer.

    Args:
        x: Inputs of shape (N, D); not modified, as the others.
        w: Weights of shape (P, D, M), one matrix for each piece.
        b: Biases of shape (P, M).

    Returns:
        out: Largest score of any piece, shape (N, M).
        cache: Anything that ``maxout_backward`` needs.
    """
    ### BEGIN SOLUTION
    scores = x @ w + b[:, None]  # (P, N, M)
    winner = scores.argmax(dim=0)  # (N, M); of equal scores argmax takes the first
    return scores.amax(dim=0), (x, w, winner)
    ### END SOLUTION


# %% exercise="a2/maxout"
def maxout_backward(dout, cache):
    """Compute the gradients of the loss with respect to a maxout layer's inputs and weights.

    Args:
        dout: Upstream gradient, shape (N, M); not modified.
        cache: From ``maxout_forward``.

    Returns:
        dx: Shape (N, D).
        dw: Shape (P, D, M).
        db: Shape (P, M).
    """
    ### BEGIN SOLUTION
    x, w, winner = cache
    pieces = torch.arange(len(w), device=w.device)[:, None, None]
    dscores = dout * (winner == pieces)  # (P, N, M)
    return (dscores @ w.mT).sum(dim=0), x.T @ dscores, dscores.sum(dim=1)
    ### END SOLUTION


# %% check="a2/maxout"
check("a2/maxout", maxout_forward, maxout_backward)

# %% [markdown]
# ### All of them
#
# Function and derivative, drawn by your code. Look at where the derivative is (nearly) 0: a unit there learns nothing.
# GELU's slope is not confined to the range from 0 to 1: it dips to $-0.13$ and rises to $1.13$.


# %% tags=["demo"]
def maxout_of_three(x):
    """Return the largest of three lines, as a layer with D = M = 1."""
    w, b = torch.tensor([-0.8, 0.2, 1.2]).reshape(3, 1, 1), torch.tensor([-1.2, 0.0, -0.8])[:, None]
    return maxout_forward(x[:, None], w, b)


activations = {
    "sigmoid": (sigmoid_forward, sigmoid_backward),
    "tanh": (tanh_forward, tanh_backward),
    "ReLU": (relu_forward, relu_backward),
    "leaky ReLU, a = 0.1": (lambda x: leaky_relu_forward(x, 0.1), leaky_relu_backward),
    "ELU, α = 1": (lambda x: elu_forward(x, 1.0), elu_backward),
    "SELU": (selu_forward, selu_backward),
    "GELU": (gelu_forward, gelu_backward),
    "maxout of three lines": (maxout_of_three, lambda dout, cache: maxout_backward(dout[:, None], cache)[0][:, 0]),
}
x = torch.linspace(-4, 4, 801)
figure, axes = plt.subplots(2, 4, figsize=(11, 5), sharex=True, sharey=True, layout="constrained")
for axis, (name, (forward, backward)) in zip(axes.flat, activations.items(), strict=True):
    out, cache = forward(x)
    axis.axhline(0, color="grey", lw=0.6)
    axis.axvline(0, color="grey", lw=0.6)
    axis.plot(x, out.flatten(), color=COLOURS[0], lw=2, label="function")
    axis.plot(x, backward(torch.ones_like(x), cache), color=COLOURS[1], lw=1.5, ls="--", label="derivative")
    axis.set_title(name, fontsize=10)
    axis.set_ylim(-2, 3.2)
axes[0, 0].legend(frameon=False, fontsize=9, loc="upper left")
plt.show()

# %% [markdown]
# ## 3. How large should first weights be?
#
# Let the weights $w_{dm}$ be independent, with mean 0 and variance $v$, and independent of the inputs. A score is a sum
# of $D$ products, $s_m = \sum_d x_d\, w_{dm}$. Its mean is 0. For its variance, the mixed terms vanish because
# different weights are uncorrelated, and what is left is
#
# $$\operatorname{Var}[s_m] = \sum_{d=1}^{D} \mathbb E[x_d^2]\, \mathbb E[w_{dm}^2] = D\, v\; \mathbb E[x^2]
# \qquad \bigl(= D\, v\, \operatorname{Var}[x] \text{ if } x \text{ has mean } 0\bigr).$$
#
# So each layer multiplies the mean square of the signal by $D\,v$, and $L$ layers by $(D v)^L$. Anything but
# $D\,v \approx 1$ means growth or decay at an exponential rate. Three answers, each for a situation of its own:
#
# - **LeCun.** An activation that is close to the identity near 0, as tanh and SELU are: $v = 1/D$.
# - **Xavier** (Glorot). Going backward, $\partial L / \partial x_d = \sum_m w_{dm}\, \partial L / \partial s_m$ is a
#   sum of $M$ products, so gradients want $v = 1/M$. Both cannot be had unless $D = M$; the compromise is
#   $v = 2/(D + M)$.
# - **He** (Kaiming). Scores are as likely to be negative as positive, and ReLU sets the negative ones to 0. The other
#   half keeps its squares, so $\mathbb E[h^2] = \frac12 \mathbb E[s^2]$: every layer halves the mean square. To make up
#   for it, $v = 2/D$.
#
# | kind | standard deviation $\sqrt v$ |
# | --- | --- |
# | `"zero"` | $0$ |
# | `"small"` | $0.01$ |
# | `"lecun"` | $\sqrt{1 / D}$ |
# | `"xavier"` | $\sqrt{2 / (D + M)}$ |
# | `"he"` | $\sqrt{2 / D}$ |
#
# The root goes over the whole fraction: the standard deviation of He is $\sqrt{2/D}$ and neither $2/D$ nor $2/\sqrt D$.
#
# What counts as $D$ and $M$? The number of terms in the sum, whatever the layer. Our linear weights have shape
# $(D, M)$. (torch's `Linear.weight` is the transpose, $(M, D)$; formulas that are copied from there have the fans
# exchanged.) One output of a convolution with weights of shape $(F, C, H\!H, W\!W)$ adds up one window in all input
# channels, so its fan-in is $C \cdot H\!H \cdot W\!W$; and one input contributes to $F \cdot H\!H \cdot W\!W$ outputs,
# its fan-out.
#
# All kinds but the first are normal numbers. Biases start at 0: there is no symmetry left for them to break.


# %% exercise="a2/initialize"
def initialize(shape, kind, generator, dtype=torch.float32):
    """Draw the first weights of a layer.

    Args:
        shape: (D, M) for a linear layer, or (F, C, HH, WW) for a convolution; a tuple.
        kind: ``"zero"``, ``"small"``, ``"lecun"``, ``"xavier"`` or ``"he"``.
        generator: ``torch.Generator``, the only source of randomness; the weights are made on its device,
            ``generator.device``.
        dtype: Floating dtype of the weights.

    Returns:
        Weights of that shape, normally distributed with mean 0 and the standard deviation of the table above.
    """
    ### BEGIN SOLUTION
    window = math.prod(shape[2:])
    fan_in, fan_out = shape if len(shape) == 2 else (shape[1] * window, shape[0] * window)
    std = {
        "zero": 0.0,
        "small": 0.01,
        "lecun": math.sqrt(1 / fan_in),
        "xavier": math.sqrt(2 / (fan_in + fan_out)),
        "he": math.sqrt(2 / fan_in),
    }[kind]
    return std * torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
    ### END SOLUTION


# %% check="a2/initialize"
check("a2/initialize", initialize)

# %% [markdown]
# ## 4. Watching the signal
#
# To see whether the algebra holds, send images through a stack of layers without biases, $h \leftarrow f(h\,W_l)$, and
# note mean and standard deviation of all $N \cdot M$ entries after every one of them.


# %% exercise="a2/layer_statistics"
def layer_statistics(x, weights, activation):
    """Measure the activations of every layer of a stack.

    Args:
        x: Inputs of shape (N, D); not modified.
        weights: List of L weight matrices, the first of shape (D, M1), the next of shape (M1, M2), and so on.
        activation: Maps a tensor to one of the same shape, such as ``torch.tanh``.

    Returns:
        means: Mean over all entries of each layer's activations, shape (L,).
        stds: Their standard deviations, shape (L,), with the count as the divisor (``correction=0``).
    """
    ### BEGIN SOLUTION
    means, stds = [], []
    for W in weights:
        x = activation(x @ W)
        means.append(x.mean())
        stds.append(x.std(correction=0))
    return torch.stack(means), torch.stack(stds)
    ### END SOLUTION


# %% check="a2/layer_statistics"
check("a2/layer_statistics", layer_statistics)

# %% [markdown]
# Six layers of 4096 units, standard normal inputs. What to expect, by the algebra:
#
# - **tanh, std 0.01.** $D v = 4096 \cdot 10^{-4} = 0.41$: each layer multiplies the standard deviation by about
#   $\sqrt{0.41} = 0.64$. The signal collapses towards 0, and so does every gradient of a weight, since $x$ is a factor
#   of it.
# - **tanh, std 0.05.** $D v = 10$: scores of size 3, and tanh is flat there. The histogram piles up at $\pm 1$, where
#   the slope is 0.
# - **tanh, Xavier.** $D v = 1$. A slow decay remains, because tanh is below the identity, but every layer has a signal.
# - **ReLU, std 0.01.** $\frac12 \cdot 0.41$: each layer multiplies the root mean square by 0.45.
# - **ReLU, Xavier.** $\frac12 \cdot 1$: a factor of 0.71 per layer, $\frac18$ after six.
# - **ReLU, He.** $\frac12 \cdot 2 = 1$: the same histogram in every layer.


# %% tags=["demo"]
def relu(x):
    return relu_forward(x)[0]


def tanh(x):
    return tanh_forward(x)[0]


width, depth = (1024, 6) if is_fast() else (4096, 6)
x = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
settings = [
    ("tanh, std 0.01", tanh, "small", 1),
    ("tanh, std 0.05", tanh, "small", 5),
    ("tanh, Xavier", tanh, "xavier", 1),
    ("ReLU, std 0.01", relu, "small", 1),
    ("ReLU, Xavier", relu, "xavier", 1),
    ("ReLU, He", relu, "he", 1),
]
figure, axes = plt.subplots(len(settings), depth, figsize=(11, 9), sharex="row", layout="constrained")
for row, (name, activation, kind, factor) in zip(axes, tqdm(settings, desc="histograms"), strict=True):
    generator = torch.Generator().manual_seed(1)
    weights = [factor * initialize((width, width), kind, generator) for _ in range(depth)]
    means, stds = layer_statistics(x, weights, activation)
    print(f"{name:15}  std of the layers:  " + "  ".join(f"{std:7.4f}" for std in stds))
    h = x
    for axis, W, mean, std in zip(row, weights, means, stds, strict=True):
        h = activation(h @ W)
        shown, limits, colour = (h, (-1, 1), COLOURS[0]) if activation is tanh else (h[h > 0], (0, 3), COLOURS[2])
        heights, edges = shown.flatten().histogram(bins=40, range=limits)
        axis.stairs(heights, edges, fill=True, color=colour)
        axis.set_title(f"mean {mean:.2f}, std {std:.3f}".replace("-0.00", "0.00"), fontsize=7.5, pad=2)
        axis.set_yticks([])
        axis.tick_params(labelsize=7)
    row[0].set_ylabel(name if activation is tanh else f"{name}\n(above 0)", fontsize=9)
figure.supxlabel("activation, from layer 1 on the left to layer 6 on the right", fontsize=9)
plt.show()

# %% [markdown]
# ### And the gradient
#
# The way down: a random gradient of size 1 enters at the top of 20 layers of 256 units and is sent back by your
# backward functions. Forward the layers kept their signal as well as their initialization allows; now the slopes
# decide.


# %% tags=["demo"]
def gradient_sizes(activation, kind, width=256, depth=20):
    """Return the standard deviation of the gradient with respect to the scores of every layer, from the first."""
    forward, backward = activation
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(200, width, generator=generator)
    weights, caches, sizes = [], [], []
    for _ in range(depth):
        weights.append(initialize((width, width), kind, generator))
        h, cache = forward(h @ weights[-1])
        caches.append(cache)
    dh = torch.randn(h.shape, generator=generator)
    for W, cache in zip(reversed(weights), reversed(caches), strict=True):
        ds = backward(dh, cache)
        sizes.append(ds.std().item())
        dh = ds @ W.T
    return sizes[::-1]


figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
pairs = {
    "sigmoid": "xavier",
    "tanh": "xavier",
    "leaky ReLU, a = 0.1": "xavier",
    "ReLU": "he",
    "SELU": "lecun",
    "GELU": "lecun",
}
for number, (name, kind) in enumerate(pairs.items()):
    sizes = gradient_sizes(activations[name], kind)
    per_layer = (sizes[0] / sizes[-1]) ** (1 / (len(sizes) - 1))
    label = f"{name}, {kind}: × {per_layer:.2f} per layer"
    axis.semilogy(range(1, len(sizes) + 1), sizes, "os^vDP"[number] + "-", ms=4, color=COLOURS[number], label=label)
axis.set_xticks(range(1, 21, 2))
axis.set_xlabel("layer (the gradient enters at layer 20)")
axis.set_ylabel("std of the gradient")
axis.legend(frameon=False, fontsize=8)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# Xavier's $M v = 1$ leaves it to the slopes alone. The sigmoid's multiply the gradient by 0.23 per layer, close to the
# bound of $\frac14$: after 20 layers nothing is left. tanh loses 8 % per layer. ReLU with He's weights keeps the size,
# since $M v \cdot \frac12 = 1$ on the way down as well. Leaky ReLU and GELU are half shut like ReLU, and with $v = 1/D$
# they lose a third and a half per layer: they need larger weights, as ReLU does.

# %% [markdown] question="first_weights" points=3
# **Question 2 (3 points).** (a) Ten layers of equal width, ReLU, Xavier weights. By which factor does the root mean
# square of the activations differ between input and tenth layer? (b) A convolution has weights of shape
# $(128, 64, 3, 3)$ and is followed by ReLU. Which standard deviation does He ask for, to three digits? (c) All weights
# and biases of a net with one hidden ReLU layer start at 0. Which of its parameters $W_1, b_1, W_2, b_2$ ever change
# under gradient descent? And if all weights of $W_1$ started at the same number 0.1, and those of $W_2$ as well?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Each layer multiplies the mean square by $\frac12 D v = \frac12$, ten of them by $2^{-10}$, so the
# root mean square by $2^{-5} = 1/32$. (b) The fan-in is $64 \cdot 3 \cdot 3 = 576$, so $\sqrt{2/576} = 0.0589$. (c) The
# hidden activations are 0, so $\partial L/\partial W_2 = h^\top \partial L / \partial s = 0$; and
# $\partial L/\partial h = (\partial L/\partial s) W_2^\top = 0$, so nothing reaches $W_1$ and $b_1$. Only $b_2$ moves,
# for ever: the net learns how frequent the classes are. With equal weights gradients do flow, but all hidden units
# compute the same and get the same gradient, so they stay copies of each other: a net with one hidden unit. Different
# random numbers break the symmetry.
#
# *Rubric.* 1 point: 1/32. 1 point: 0.0589 with fan-in 576. 1 point: only the last bias moves; with equal weights the
# units stay equal.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. Where SELU's constants come from
#
# With LeCun's weights, $v = 1/D$, a score has the variance $q = \mathbb E[x^2]$, the mean square of its inputs. As a
# sum of many terms it is close to normal, so the mean square of the next layer's inputs is a function of this one
# number:
#
# $$q \;\mapsto\; \mathbb E\bigl[f(\sqrt q\, z)^2\bigr], \qquad z \sim \mathcal N(0, 1) .$$
#
# SELU is built such that mean 0 and mean square 1 reproduce themselves: $\mathbb E[f(z)] = 0$ and
# $\mathbb E[f(z)^2] = 1$. Two equations, two unknowns. Completing the square,
# $e^{kz} e^{-z^2/2} = e^{k^2/2} e^{-(z-k)^2/2}$, gives the integrals over the left side,
#
# $$I_k = \mathbb E\bigl[e^{kz};\, z < 0\bigr] = e^{k^2/2}\, \Phi(-k), \qquad I_1 \approx 0.2616, \quad I_2 \approx 0.1681,$$
#
# and on the right side $\mathbb E[z;\, z > 0] = 1/\sqrt{2\pi}$ and $\mathbb E[z^2;\, z > 0] = \frac12$. So
#
# $$\lambda \Bigl( \tfrac{1}{\sqrt{2\pi}} + \alpha \bigl(I_1 - \tfrac12\bigr) \Bigr) = 0
# \;\Rightarrow\; \alpha = \frac{1/\sqrt{2\pi}}{1/2 - I_1}, \qquad
# \lambda^2 \Bigl( \tfrac12 + \alpha^2 \bigl(I_2 - 2 I_1 + \tfrac12\bigr) \Bigr) = 1 .$$


# %% tags=["demo"]
def left_integral(k):
    """Return the expectation of exp(k z) over negative standard normal z."""
    return math.exp(k * k / 2) * 0.5 * (1 + math.erf(-k / math.sqrt(2)))


alpha = (1 / math.sqrt(2 * math.pi)) / (0.5 - left_integral(1))
scale = (0.5 + alpha**2 * (left_integral(2) - 2 * left_integral(1) + 0.5)) ** -0.5
print(f"alpha  {alpha:.15f}   difference from the constant above {abs(alpha - SELU_ALPHA):.0e}")
print(f"lambda {scale:.15f}   difference from the constant above {abs(scale - SELU_LAMBDA):.0e}")

# %% [markdown]
# That 1 is a fixed point would be worth little if signals moved away from it. The left figure draws the map above,
# computed as an integral; where it crosses the diagonal, nothing changes. SELU crosses it at 1, from above to below:
# weak signals grow, strong ones shrink, and each layer leaves only 0.78 (the slope there) of a small deviation. ReLU
# with He's weights *is* the diagonal: whatever size comes in goes on, neither mended nor spoilt. tanh stays below it,
# and the signal shrinks without end, though ever more slowly. On the right the same in nets of 40 layers of 512 units,
# started at three sizes. The width is finite, so every layer errs a little by chance: SELU corrects that, and ReLU
# drifts, since nothing calls it back.


# %% tags=["demo"]
def selu(x):
    return selu_forward(x)[0]


z = torch.linspace(-9, 9, 3601, dtype=torch.float64)
density = (-0.5 * z * z).exp() / math.sqrt(2 * math.pi) * (z[1] - z[0])
q = torch.linspace(0, 3, 151, dtype=torch.float64)
compared = [("SELU", "lecun", selu, 1.0), ("ReLU", "he", relu, 2.0), ("tanh", "lecun", tanh, 1.0)]
slope = sum(float((selu(r**0.5 * z).square() * density).sum()) * sign for r, sign in ((1.01, 1), (0.99, -1))) / 0.02
print(f"slope of SELU's map at its fixed point: {slope:.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot([0, 3], [0, 3], color="grey", lw=0.8)
for number, (name, kind, function, gain) in enumerate(compared):
    mapped = (function((gain * q[:, None]).sqrt() * z).square() * density).sum(dim=1)
    left.plot(q, mapped, color=COLOURS[number], ls="-" if number != 1 else "--", lw=2, label=f"{name}, {kind}")
    generator = torch.Generator().manual_seed(0)
    weights = [initialize((512, 512), kind, generator) for _ in range(40)]
    for start in (0.2, 1.0, 2.8):
        x = start**0.5 * torch.randn(200, 512, generator=torch.Generator().manual_seed(1))
        means, stds = layer_statistics(x, weights, function)
        sizes = [start, *(means**2 + stds**2).tolist()]
        right.plot(sizes, color=COLOURS[number], ls="-" if number != 1 else "--", lw=1.5)
left.plot(1, 1, "o", color="black", ms=5)
left.set_xlabel("mean square of a layer's inputs, q")
left.set_ylabel("mean square of its activations")
left.legend(frameon=False, fontsize=9)
right.set_xlabel("layer")
right.set_ylabel("mean square of the activations")
plt.show()

# %% [markdown]
# ## 6. Does it matter for learning?
#
# Nets of eight hidden layers of 100 units, all trained alike: plain SGD, learning rate 0.02, batches of 50. They differ
# in activation and first weights alone. The class below has your functions in it; the linear layers, ReLU and the loss
# come from the kit.


# %% tags=["demo"]
class DeepNet:
    """A fully-connected net with one activation, trained by the kit's solver.

    Args:
        dims: Sizes of the layers, (D, M1, ..., K).
        activation: Forward and backward function.
        kind: Of the first weights, as for ``initialize``.
    """

    def __init__(self, dims, activation, kind):
        generator = torch.Generator().manual_seed(0)
        self.forward, self.backward = activation
        self.params = {}
        for number, shape in enumerate(pairwise(dims), 1):
            self.params[f"W{number}"] = initialize(shape, kind, generator)
            self.params[f"b{number}"] = torch.zeros(shape[1])

    def loss(self, X, y=None):
        depth = len(self.params) // 2
        out, caches, self.activations = X, [], []
        for number in range(1, depth + 1):
            out, cache = affine_forward(out, self.params[f"W{number}"], self.params[f"b{number}"])
            caches.append(cache)
            if number < depth:
                out, cache = self.forward(out)
                caches.append(cache)
                self.activations.append(out)
        if y is None:
            return out
        loss, dout = softmax_loss(out, y)
        gradients = {}
        for number in range(depth, 0, -1):
            if number < depth:
                dout = self.backward(dout, caches.pop())
            dout, gradients[f"W{number}"], gradients[f"b{number}"] = affine_backward(dout, caches.pop())
        return loss, gradients


data = load_images("cifar10", n_train=1000 if is_fast() else 4000)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val = (normalize(images, mean, std).flatten(1) for images in (data.x_train, data.x_val))
y_train, y_val = data.y_train, data.y_val

# %% [markdown]
# What to expect: nets with a signal learn, the others stay at $\log 10 = 2.303$, the dotted line, for as long as you
# care to wait. Measured with 4,000 training images and five epochs, in 14 s of processor time for the six nets
# together:
#
# | validation accuracy | ReLU, small | ReLU, Xavier | ReLU, He | sigmoid, Xavier | tanh, Xavier | SELU, LeCun |
# | --- | --- | --- | --- | --- | --- | --- |
# | CIFAR-10 | 10.0 % | 31.3 % | 33.4 % | 10.0 % | 35.8 % | 38.3 % |
# | drawn shapes | 10.0 % | 30.0 % | 39.3 % | 10.0 % | 32.8 % | 46.1 % |
#
# A net this deep and narrow is no good classifier; it is here because it forgives nothing. The bumps that all curves
# share are the batches, which come in the same order for every net.


# %% tags=["demo"]
def smooth(values, window=20):
    return torch.tensor(values).unfold(0, window, 1).mean(1)


runs = [
    ("ReLU", "small"),
    ("ReLU", "xavier"),
    ("ReLU", "he"),
    ("sigmoid", "xavier"),
    ("tanh", "xavier"),
    ("SELU", "lecun"),
]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
with tqdm(runs, desc="nets") as bar:
    for number, (name, kind) in enumerate(bar):
        net = DeepNet((x_train.shape[1], *[100] * 8, 10), activations[name], kind)
        solver = Solver(
            net, x_train, y_train, x_val, y_val,
            lr=0.02, batch_size=50, epochs=2 if is_fast() else 5, progress=False,
        )  # fmt: skip
        history = solver.train()
        bar.set_postfix(net=f"{name}, {kind}", loss=f"{history.losses[-1]:.2f}", val=f"{solver.best_accuracy:.1%}")
        label = f"{name}, {kind}: validation {solver.best_accuracy:.1%}"
        axis = axes[0] if name == "ReLU" else axes[1]
        axis.plot(smooth(history.losses), color=COLOURS[number % 3], ls=("-", "--", "-.")[number % 3], label=label)
for axis, title in zip(axes, ["ReLU, three kinds of first weights", "other activations"], strict=True):
    axis.axhline(math.log(10), color="grey", lw=0.8, ls=":")
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("step")
    axis.legend(frameon=False, fontsize=8, loc="lower left")
    axis.grid(alpha=0.3)
axes[0].set_ylabel("loss, mean of 20 batches")
plt.show()

# %% [markdown]
# ## 7. Units that die
#
# A ReLU unit is *dead* if its activation is 0 for every image. Its slope is then 0 for every image too, its weights get
# no gradient, and it stays as it is for good. How does a unit that was alive get there? By one step that is too large:
# if all inputs are positive, as pixels from 0 to 1 are, a step along $-\partial L/\partial w$ changes the scores of
# *all* images in one direction, and may push all of them below 0 at once.
#
# Count them. The activations $h$ of a layer have shape $(N, M)$, one column per unit.


# %% exercise="a2/dead_fraction"
def dead_fraction(h):
    """Compute the share of dead units in a layer.

    Args:
        h: Activations of shape (N, M), M units seen on N images; not modified.

    Returns:
        Share of the units whose activation is exactly 0 for every image, from 0 to 1. (A negative activation, as
        leaky ReLU has them, is a sign of life.)
    """
    ### BEGIN SOLUTION
    return (h == 0).all(dim=0).double().mean()
    ### END SOLUTION


# %% check="a2/dead_fraction"
check("a2/dead_fraction", dead_fraction)

# %% [markdown]
# Nets with one hidden layer of 200 units, three epochs of SGD at different learning rates. The share of dead units is
# measured on the 1,000 validation images, with the weights of the best epoch; nets whose loss overflowed are left out.
#
# What to expect, measured in 15 s of processor time: with ReLU on pixels from 0 to 1 nearly all units are alive up to a
# rate of 0.03; then, on CIFAR-10, 38 % are dead at 0.1, 75 % at 0.2 and 87 % at 0.4 (on drawn shapes 19 %, 51 % and 80
# %). With leaky ReLU, and with centred pixels, none are, so their curves on the left lie on top of each other. Centred
# pixels are also worth 8 points of accuracy on CIFAR-10: 38.3 % against 30.0 % at 0.03.

# %% tags=["demo"]
raw_train, raw_val = data.x_train.flatten(1), data.x_val.flatten(1)
trials = [
    ("ReLU, pixels from 0 to 1", activations["ReLU"], raw_train, raw_val),
    ("leaky ReLU, pixels from 0 to 1", activations["leaky ReLU, a = 0.1"], raw_train, raw_val),
    ("ReLU, centred pixels", activations["ReLU"], x_train, x_val),
]
lrs = [0.01, 0.1] if is_fast() else [0.003, 0.01, 0.03, 0.1, 0.2, 0.4]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
with tqdm(total=len(trials) * len(lrs), desc="nets") as bar:
    for number, (name, activation, x_fit, x_see) in enumerate(trials):
        found = []
        for lr in lrs:
            net = DeepNet((x_fit.shape[1], 200, 10), activation, "he")
            solver = Solver(
                net, x_fit, y_train, x_see, y_val,
                lr=lr, batch_size=100, epochs=1 if is_fast() else 3, progress=False,
            )  # fmt: skip
            ended = solver.train().ended
            net.loss(x_see)
            if ended == "finished":
                found.append((lr, float(dead_fraction(net.activations[0])), solver.best_accuracy))
            bar.set_postfix(net=name, lr=lr, ended=ended)
            bar.update()
        rates, dead, accuracies = zip(*found, strict=True)
        for axis, values in ((left, dead), (right, accuracies)):
            axis.semilogx(rates, values, "os^"[number] + "-", color=COLOURS[number], label=name)
        print(f"{name:32} dead " + "  ".join(f"{rate:g}: {share:.0%}" for rate, share in zip(rates, dead, strict=True)))
left.set_ylabel("share of dead units")
right.set_ylabel("validation accuracy")
for axis in (left, right):
    axis.yaxis.set_major_formatter("{x:.0%}")
    axis.set_xticks(lrs, [f"{lr:g}" for lr in lrs])
    axis.minorticks_off()
    axis.set_xlabel("learning rate")
    axis.grid(alpha=0.3)
left.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown] question="dead_units" points=3
# **Question 3 (3 points).** (a) Why can a dead ReLU not recover under gradient descent, if the layers below it do not
# change? When can it recover after all? (b) Read your figure: up to which learning rate do (nearly) all units live, and
# what do centred pixels and leaky ReLU each change, and why? (c) You measure the share of dead units on 20 images
# instead of 1000. Is it too high, too low or fair?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) For every image $h = 0$, and $\partial L/\partial s = \partial L/\partial h \cdot 0 = 0$, so
# neither $w$ nor $b$ of the unit gets a gradient (weight decay moves $w$ towards 0, but the score to $b$, which is
# negative as a rule). If lower layers change, the unit's inputs do, and its score may become positive again. (b) Up to
# about 0.03 on pixels from 0 to 1. Centred pixels have both signs, so that one step raises the scores of some images
# and lowers those of others: no unit dies at any rate at which the loss stays finite. Leaky ReLU has a slope
# everywhere, so no unit is ever without a gradient and none is dead, though a rate that is too high spoils the training
# nevertheless. (c) Too high: a unit that answers to one image in a hundred is silent on most samples of 20, without
# being dead.
#
# *Rubric.* 1 point: no gradient, and a way back through lower layers. 1 point: figure read, both remedies with the
# reason. 1 point: too high, with the reason.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Xavier Glorot and Yoshua Bengio, *Understanding the difficulty of training deep feedforward neural networks*,
#   AISTATS 2010: the histograms, and the compromise of section 3.
# - Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, *Delving deep into rectifiers: surpassing human-level
#   performance on ImageNet classification*, 2015, arXiv:1502.01852: the factor 2.
# - Günter Klambauer, Thomas Unterthiner, Andreas Mayr and Sepp Hochreiter, *Self-normalizing neural networks*, 2017,
#   arXiv:1706.02515: SELU, and a proof that the fixed point attracts.
# - Ian Goodfellow, David Warde-Farley, Mehdi Mirza, Aaron Courville and Yoshua Bengio, *Maxout networks*, 2013,
#   arXiv:1302.4389.
# - Dan Hendrycks and Kevin Gimpel, *Gaussian error linear units (GELUs)*, 2016, arXiv:1606.08415.

# %%
check.summary()
