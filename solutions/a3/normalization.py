# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Normalisation
#
# A deep net multiplies by one matrix after another, and if each makes the signal a little too small or too large,
# twenty of them make it vanish or explode. One remedy is to choose the first weights with great care. Another is to let
# the net itself bring its signals back to mean 0 and variance 1 at every layer, in every step. It lets nets train that
# would not move otherwise, at learning rates that would be too high, and it has traps of its own, since what is done
# to one image now depends on others. You will
#
# - write **batch norm** for rows and for images, forward and backward, and derive its gradient **twice**: step by step
#   through its graph, and as one short formula;
# - follow its **running statistics** over many steps, see what evaluation makes of them, and fold the whole layer into
#   the convolution before it;
# - write **layer, group and instance norm**, which do the same along other axes and do without running statistics;
# - see **what it is good for**: two nets over ten sizes of first weights, and three sizes of batches.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $x$, $y$ | what a norm is given and what it gives on | $(N, D)$, or $(N, C, H, W)$ |
# | $\mu$, $\sigma^2$ | mean, and variance divided by the count: *biased* | batch norm: $(D,)$ or $(C,)$ |
# | $\hat{x}$ | $x$ with mean 0 and variance 1 | as $x$ |
# | $\gamma$, $\beta$ | scale and shift, which are learned | $(D,)$ or $(C,)$ |
# | $\varepsilon$ | a small number that is added to the variance | a number, $10^{-5}$ |
# | $\bar{\mu}$, $\bar{\sigma}^2$ | running mean and variance of batch norm | as $\mu$, $\sigma^2$ |
# | $m$ | momentum: the share of them that is kept | a number, 0.9 |
# | $G$ | number of groups in group norm | a number |
# | $dT$, short for $\partial L / \partial T$ | gradient of the loss with respect to any tensor $T$ | as $T$ |

# %% tags=["setup"]
import math
import time

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Polygon
from matplotlib.ticker import PercentFormatter
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, load_photograph, normalize
from dlcvkit.layers import affine_backward, affine_forward, conv_forward, relu_backward, relu_forward, softmax_loss
from dlcvkit.plotting import COLOURS, show_images
from dlcvkit.settings import is_fast
from dlcvkit.training import Solver, torch_rule

# %% [markdown]
# ## 1. Why
#
# Take layers of $M$ units with ReLU, weights that are drawn independently with mean 0 and standard deviation $s$, and
# no biases. A unit adds up $M$ terms, so its variance is $s^2$ times the sum of the squared inputs. ReLU cuts off the
# negative half, and with it half of the mean square. From layer to layer the root mean square of the signal is
# therefore multiplied by about
#
# $$f = s \sqrt{M / 2} .$$
#
# With $M = 100$: $s = 0.1$ gives $f = 1/\sqrt2$, and twenty such layers multiply by $2^{-10}$, a thousandth. $s = 0.2$
# gives $f = \sqrt2$ and $2^{10}$. Only He's $s = \sqrt{2/M} = 0.141$ gives 1, and only at the start: once the weights
# are trained, nobody keeps $f$ where it was. The gradient is multiplied by the same factors on its way back.
#
# What if the signal is brought back to size at every layer, whatever $s$ is? The obvious way, to normalise once in a
# while from outside, does not work: the gradient knows nothing of it, and the next step
# may undo it. So normalisation
# becomes a *layer*, with a backward pass that knows.
#
# ## 2. Batch norm, forward
#
# Every feature, a column of $x$, is normalised over the images of the batch:
#
# $$\mu_d = \frac1N \sum_{i=1}^{N} x_{id}, \qquad
# \sigma_d^2 = \frac1N \sum_{i=1}^{N} (x_{id} - \mu_d)^2, \qquad
# \hat{x}_{id} = \frac{x_{id} - \mu_d}{\sqrt{\sigma_d^2 + \varepsilon}}, \qquad
# y_{id} = \gamma_d \, \hat{x}_{id} + \beta_d .$$
#
# - $\gamma$ and $\beta$, of shape $(D,)$, give back what normalisation took: with $\gamma_d = \sqrt{\sigma_d^2 +
#   \varepsilon}$ and $\beta_d = \mu_d$ the layer does nothing at all. But now the size of a feature is *one* weight,
#   and no longer the result of all the layers before it. They start at 1 and 0. A bias right before batch norm is
#   useless: it is taken off again with the mean.
# - $\varepsilon$ is a fixed small number (no noise) and stands under the root. A feature with the same value for all
#   images has $\sigma_d^2 = 0$; without $\varepsilon$ that would be $0/0$, with it $\hat{x} = 0$.
# - Compute the variance from the deviations $x - \mu$, not as $\frac1N \sum x^2 - \mu^2$. On paper they are equal. In
#   float32, with its seven digits, a feature with mean 1000 and standard deviation 1 has squares near $10^6$ that are
#   known to 0.03 each, and the difference of two such numbers should be 1. The checks contain features far from zero.
# - With a single row, $N = 1$, the mean is the row itself: $\hat{x} = 0$ and $y = \beta$, whatever $x$ is, and so
#   $dx = 0$. torch refuses such a batch in training. We take the formula at its word, and remember that a batch of one
#   learns nothing here.
#
# ### Training and evaluation
#
# In use, an image should not get another answer because others stand next to it, and there may be one image only. So
# in *evaluation* batch norm divides by fixed statistics, gathered in *training* as running averages. In every step of
# training
#
# $$\bar{\mu} \leftarrow m\, \bar{\mu} + (1 - m)\, \mu, \qquad
# \bar{\sigma}^2 \leftarrow m\, \bar{\sigma}^2 + (1 - m)\, \sigma^2,$$
#
# all of shape $(D,)$, with momentum $m = 0.9$. Evaluation uses $\bar{\mu}$ and $\bar{\sigma}^2$ in place of $\mu$ and
# $\sigma^2$ and leaves them as they are. Two conventions of this course differ from torch: torch's `momentum` is
# $1 - m$, and its running variance is the unbiased one, larger by $\frac{N}{N-1}$. And our functions are pure: the new
# running statistics are *returned*, and the old ones never changed in place.
#
# ## 3. Batch norm, backward
#
# $x$ reaches $y$ along three paths: directly, through the mean, and through the variance. Cut the computation into
# steps so small that each has a derivative you know, and go back one by one. With $c = x - \mu$, $v = \sigma^2$ and
# $r = 1/\sqrt{v + \varepsilon}$:

# %% tags=["demo"]
go, back = {"arrowstyle": "-|>", "color": COLOURS[0], "lw": 1.4}, {"arrowstyle": "-|>", "color": COLOURS[1], "lw": 1.4}
figure, axis = plt.subplots(figsize=(11, 4.1), layout="constrained")
boxes = {
    "minus": (4.1, 0, "$-$"),
    "times": (9.0, 0, "$\\times$"),
    "scale": (11.3, 0, "$\\times$"),
    "shift": (13.4, 0, "$+$"),
    "mean": (2.3, -2.3, "mean"),
    "var": (5.9, -2.3, "mean of\nsquares"),
    "root": (7.9, -2.3, "$1/\\sqrt{\\cdot + \\varepsilon}$"),
}
for x0, y0, text in boxes.values():
    axis.text(x0, y0, text, ha="center", va="center", fontsize=11, bbox={"boxstyle": "round,pad=0.45", "fc": "white"})
for x0, x1, name, grad in [
    (0.2, 3.8, "$x$", "$dx$, a sum of two"),
    (4.4, 8.7, "$c$", "$dc$, a sum of two"),
    (9.3, 11.0, "$\\hat{x}$", "$d\\hat{x}$"),
    (11.6, 13.1, "$\\gamma\\hat{x}$", "$dy$"),
    (13.7, 15.3, "$y$", "$dy$"),
]:
    axis.annotate("", (x1, 0.12), (x0, 0.12), arrowprops=go)
    axis.annotate("", (x0, -0.12), (x1, -0.12), arrowprops=back)
    axis.text((x0 + x1) / 2, 0.25, f"{name}\n$(N, D)$", ha="center", va="bottom", fontsize=10, color=COLOURS[0])
    axis.text((x0 + x1) / 2, -0.25, grad, ha="center", va="top", fontsize=10, color=COLOURS[1])
for x0, y0, x1, y1, name, grad, side in [
    (1.0, -0.75, 1.9, -1.85, "", "$d\\mu / N$", -1),
    (2.7, -1.85, 3.9, -0.5, "$\\mu\\ (D,)$", "$d\\mu$", 1),
    (4.9, -0.75, 5.6, -1.7, "", "$\\frac{2}{N} c\\, dv$", -1),
    (8.1, -1.8, 8.85, -0.5, "$r\\ (D,)$", "$dr$", 1),
]:
    axis.annotate("", (x1 - 0.08 * side, y1), (x0 - 0.08 * side, y0), arrowprops=go)
    axis.annotate("", (x0 + 0.08 * side, y0), (x1 + 0.08 * side, y1), arrowprops=back)
    x_label, y_label = (x0 + x1) / 2, (y0 + y1) / 2
    axis.text(x_label - 0.25, y_label, name, ha="right", va="center", fontsize=10, color=COLOURS[0])
    align = {"ha": "left" if side > 0 else "right", "va": "center"}
    axis.text(x_label + 0.25 * side, y_label, grad, **align, fontsize=10, color=COLOURS[1])
axis.annotate("", (7.2, -2.2), (6.55, -2.2), arrowprops=go)
axis.annotate("", (6.55, -2.42), (7.2, -2.42), arrowprops=back)
axis.text(6.88, -2.1, "$v\\ (D,)$", ha="center", va="bottom", fontsize=10, color=COLOURS[0])
axis.text(6.88, -2.55, "$dv$", ha="center", va="top", fontsize=10, color=COLOURS[1])
for x0, name, grad in [(11.3, "$\\gamma\\ (D,)$", "$d\\gamma$"), (13.4, "$\\beta\\ (D,)$", "$d\\beta$")]:
    axis.annotate("", (x0 - 0.08, -0.4), (x0 - 0.08, -1.7), arrowprops=go)
    axis.annotate("", (x0 + 0.08, -1.7), (x0 + 0.08, -0.4), arrowprops=back)
    axis.text(x0 - 0.15, -1.95, name, ha="right", va="center", fontsize=10, color=COLOURS[0])
    axis.text(x0 + 0.15, -1.95, grad, ha="left", va="center", fontsize=10, color=COLOURS[1])
axis.set_xlim(-0.1, 15.6)
axis.set_ylim(-3.1, 1.0)
axis.axis("off")
axis.set_title(
    "batch norm in training: forward in blue, with shapes; backward in red, with the same shapes", fontsize=10
)
plt.show()

# %% [markdown]
# From the right to the left. Where a $(D,)$ tensor met an $(N, D)$ one, it was used for every row, so its gradient is a
# sum over the rows; where a mean was taken, each row had a share of $\frac1N$. All products are entry by entry, all
# sums run over the rows $i = 1 \dots N$, and row $i$ has shape $(D,)$:
#
# $$\begin{aligned}
# y_i &= \gamma \hat{x}_i + \beta & d\beta &= \textstyle\sum_i dy_i, \quad d\gamma = \sum_i dy_i\, \hat{x}_i, \quad
# d\hat{x}_i = \gamma\, dy_i \\
# \hat{x}_i &= c_i\, r & dc_i &= r\, d\hat{x}_i, \quad dr = \textstyle\sum_i c_i\, d\hat{x}_i \\
# r &= (v + \varepsilon)^{-1/2} & dv &= -\tfrac12\, r^3\, dr \\
# v &= \tfrac1N \textstyle\sum_i c_i^2 & dc_i &\mathrel{+}= \tfrac2N\, c_i\, dv \\
# c_i &= x_i - \mu & dx_i &= dc_i, \quad d\mu = -\textstyle\sum_i dc_i \\
# \mu &= \tfrac1N \textstyle\sum_i x_i & dx_i &\mathrel{+}= \tfrac1N\, d\mu
# \end{aligned}$$
#
# $c$ is used twice, and $x$ too: what comes back along their two paths is added up ($\mathrel{+}=$).
#
# In *evaluation* $\mu$ and $v$ are given numbers that do not depend on $x$. The lower paths are gone, and what is left
# is $dx = \gamma\, r\, dy$, with $r$ from the running variance. $d\gamma$ and $d\beta$ are the same sums as before,
# with the $\hat{x}$ of evaluation. So the cache has to say which of the two it was.


# %% exercise="a3/batchnorm"
def batchnorm_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    """Compute the forward pass of batch norm.

    Args:
        x: Shape (N, D), floating point, N at least 1; may be far from zero, or the same in all rows. Not modified.
        gamma: Scale per feature, shape (D,).
        beta: Shift per feature, shape (D,).
        running_mean: Running mean so far, shape (D,); not modified.
        running_var: Running (biased) variance so far, shape (D,), at least 0; not modified.
        is_training: True normalises by the mean and biased variance of the batch, False by the running ones.
        momentum: Share of the running statistics that is kept in training, from 0 to 1.
        eps: Added to the variance, under the root.

    Returns:
        ``(out, running_mean, running_var, cache)``: the output of shape (N, D); the running statistics, both (D,), in
        training momentum times the old plus 1 - momentum times those of the batch, in evaluation as they came; and
        what ``batchnorm_backward`` needs.
    """
    ### BEGIN SOLUTION
    if is_training:
        mean = x.mean(dim=0)
        var = (x - mean).square().mean(dim=0)
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * var
    else:
        mean, var = running_mean, running_var
    centred = x - mean
    inv_std = 1 / (var + eps).sqrt()
    out = gamma * (centred * inv_std) + beta
    return out, running_mean, running_var, (centred, inv_std, gamma, is_training)
    ### END SOLUTION


# %% exercise="a3/batchnorm"
def batchnorm_backward(dout, cache):
    """Compute the backward pass of batch norm, step by step.

    Args:
        dout: Upstream gradient of ``out``, shape (N, D).
        cache: What ``batchnorm_forward`` returned, of a call in training or in evaluation.

    Returns:
        ``(dx, dgamma, dbeta)``: gradients of shapes (N, D), (D,) and (D,).
    """
    ### BEGIN SOLUTION
    centred, inv_std, gamma, is_training = cache
    N = len(dout)
    dbeta = dout.sum(dim=0)
    dgamma = (dout * centred * inv_std).sum(dim=0)
    dx_hat = dout * gamma
    dcentred = dx_hat * inv_std
    if not is_training:
        return dcentred, dgamma, dbeta
    dinv_std = (dx_hat * centred).sum(dim=0)
    dvar = -0.5 * inv_std**3 * dinv_std
    dcentred = dcentred + 2 / N * centred * dvar
    dmean = -dcentred.sum(dim=0)
    return dcentred + dmean / N, dgamma, dbeta
    ### END SOLUTION


# %% check="a3/batchnorm"
check("a3/batchnorm", batchnorm_forward, batchnorm_backward)

# %% [markdown]
# The promise of section 1, with your layer: twenty layers of 100 units, weights of five sizes $s$. Without batch norm
# the signal follows $f^\ell$ (dotted lines); He's $s = 0.141$ is the only one that stays level. With it, in front of
# every ReLU, the five curves are one, at $\sqrt{1/2} = 0.71$, which is what ReLU leaves of mean 0 and variance 1: $s$ is
# divided out, and only $\varepsilon$ remembers it.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
start = torch.randn(200, 100, generator=generator)
start = start / start.square().mean().sqrt()
noise = torch.randn(20, 100, 100, generator=generator)
ones, zeros = torch.ones(100), torch.zeros(100)
sizes_shown = (0.07, 0.1, math.sqrt(2 / 100), 0.2, 0.28)
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.3), sharey=True, layout="constrained")
for s, colour in zip(sizes_shown, COLOURS, strict=False):
    for axis, has_norm in zip(axes, (False, True), strict=True):
        signal, sizes = start, [1.0]
        for w in noise:
            signal = signal @ (s * w)
            if has_norm:
                signal = batchnorm_forward(signal, ones, zeros, zeros, ones, True)[0]
            signal = signal.clamp(min=0)
            sizes.append(float(signal.square().mean().sqrt()))
        axis.semilogy(sizes, color=colour, label=f"s = {s:.3g}", lw=1.8)
    axes[0].semilogy([(s * math.sqrt(50)) ** layer for layer in range(21)], color=colour, ls=":", lw=1)
for axis, title in zip(axes, ("without batch norm", "with batch norm"), strict=True):
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("layer")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
axes[0].set_ylabel("root mean square of the signal")
axes[0].legend(frameon=False, fontsize=8, loc="lower left")
plt.show()

# %% [markdown]
# ## 4. The same gradient in one line
#
# Put the steps into one another. From $dv = -\frac12 r^3 \sum_j c_j\, d\hat{x}_j$ and $c = \hat{x} / r$,
#
# $$\frac2N\, c_i\, dv = -\frac1N\, r^3\, c_i \sum_j c_j\, d\hat{x}_j
# = -r\, \hat{x}_i \cdot \frac1N \sum_j \hat{x}_j\, d\hat{x}_j ,
# \qquad\text{so}\qquad
# dc_i = r \Bigl( d\hat{x}_i - \hat{x}_i \cdot \frac1N \sum_j \hat{x}_j\, d\hat{x}_j \Bigr) .$$
#
# When this is added up over the rows for $d\mu$, the second term vanishes, since $\sum_i \hat{x}_i = 0$:
# $d\mu = -r \sum_j d\hat{x}_j$. Writing $\langle t \rangle = \frac1N \sum_j t_j$ for the mean over the rows, shape
# $(D,)$,
#
# $$dx_i = r \bigl( d\hat{x}_i - \langle d\hat{x} \rangle - \hat{x}_i \langle \hat{x}\, d\hat{x} \rangle \bigr)
# = \gamma\, r \bigl( dy_i - \langle dy \rangle - \hat{x}_i \langle \hat{x}\, dy \rangle \bigr)
# = \frac{\gamma\, r}{N} \bigl( N\, dy_i - d\beta - \hat{x}_i\, d\gamma \bigr) .$$
#
# $\gamma$ may leave the means here because it is the same for all rows. (Keep that in mind for layer norm.)
#
# The formula can be read. Adding a constant to a whole column of $x$ does not change $y$, so $dx$ must not point in that
# direction: $\langle dy \rangle$ is taken off. Stretching the column does not change $y$ either ($\varepsilon$ aside),
# so the component along $\hat{x}$ is taken off as well. What is left is what the batch can do about the loss. In
# evaluation nothing is taken off: $dx = \gamma\, r\, dy$.
#
# Write it as one expression without looking back at the steps. It is given the cache of *your* `batchnorm_forward`,
# and must not call `batchnorm_backward`.


# %% exercise="a3/batchnorm_backward_alt"
def batchnorm_backward_alt(dout, cache):
    """Compute the backward pass of batch norm by the closed form.

    Args:
        dout: Upstream gradient of ``out``, shape (N, D).
        cache: What ``batchnorm_forward`` returned, of a call in training or in evaluation.

    Returns:
        ``(dx, dgamma, dbeta)``: gradients of shapes (N, D), (D,) and (D,), the same as those of ``batchnorm_backward``.
    """
    ### BEGIN SOLUTION
    centred, inv_std, gamma, is_training = cache
    x_hat = centred * inv_std
    dbeta, dgamma = dout.sum(dim=0), (dout * x_hat).sum(dim=0)
    kept = dout - (dbeta + x_hat * dgamma) / len(dout) if is_training else dout
    return gamma * inv_std * kept, dgamma, dbeta
    ### END SOLUTION


# %% check="a3/batchnorm_backward_alt"
check("a3/batchnorm_backward_alt", batchnorm_backward_alt)

# %% [markdown]
# Is it worth the paper? Expect the two to agree to the last few digits of float32, and the closed form to be twice as
# fast or better: what takes the time is reading and writing $(N, D)$ tensors, and it does so less often. Measured on one
# core, 500 rows of 1,000 features: 1.7 ms and 0.8 ms.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
x, dout = torch.randn(2, 500, 1000, generator=generator)
ones, zeros = torch.ones(1000), torch.zeros(1000)
cache = batchnorm_forward(3 * x + 5, ones, zeros, zeros, ones, True)[3]
by_steps, closed = batchnorm_backward(dout, cache), batchnorm_backward_alt(dout, cache)
difference = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(by_steps, closed, strict=True))
print(f"largest difference {difference:.0e} of the largest entry")
times = {}
for function in (batchnorm_backward, batchnorm_backward_alt):
    spent = []
    for _ in range(5 if is_fast() else 30):
        begin = time.perf_counter()
        function(dout, cache)
        spent.append(time.perf_counter() - begin)
    times[function.__name__] = min(spent)
    print(f"{function.__name__:24} {1000 * min(spent):.2f} ms")

# %% [markdown]
# ## 5. Over many steps
#
# A layer that has seen nothing should leave $x$ about as it is: $\bar{\mu} = 0$, $\bar{\sigma}^2 = 1$ to begin with,
# both of shape $(D,)$. Unroll the update over $T$ batches with the statistics $\mu^{(1)} \dots \mu^{(T)}$:
#
# $$\bar{\mu}^{(T)} = m^T\, \bar{\mu}^{(0)} + (1 - m) \sum_{t=1}^{T} m^{T-t}\, \mu^{(t)} ,$$
#
# and likewise for $\bar{\sigma}^2$. It is a weighted mean whose weights add up to 1 and fade with age: the last batch
# has weight $1 - m$, the one before it $(1 - m)\, m$. The start itself has weight $m^T$: at $m = 0.9$ still 35 % after
# ten steps, and less than 1 % only after 44. Who evaluates before that, evaluates the start.


# %% exercise="a3/batchnorm_over_steps"
def batchnorm_over_steps(batches, x, gamma, beta, momentum=0.9, eps=1e-5):
    """Pass training batches through a fresh batch-norm layer, one after the other, then evaluate.

    Use your ``batchnorm_forward``. The layer starts with a running mean of 0 and a running variance of 1.

    Args:
        batches: T batches, shape (T, N, D), T at least 1; passed in training mode, first to last.
        x: Rows to evaluate after the last batch, shape (M, D).
        gamma: Scale per feature, shape (D,).
        beta: Shift per feature, shape (D,).
        momentum: Share of the running statistics that is kept in every step.
        eps: Added to the variance, in training and in evaluation.

    Returns:
        ``(outs, out, running_mean, running_var)``: the outputs of the batches, shape (T, N, D); the output for ``x`` in
        evaluation mode, shape (M, D); and the running statistics at the end, both (D,).
    """
    ### BEGIN SOLUTION
    running_mean, running_var = torch.zeros_like(gamma), torch.ones_like(gamma)
    outs = []
    for batch in batches:
        out, running_mean, running_var, _ = batchnorm_forward(
            batch, gamma, beta, running_mean, running_var, True, momentum, eps
        )
        outs.append(out)
    out, *_ = batchnorm_forward(x, gamma, beta, running_mean, running_var, False, momentum, eps)
    return torch.stack(outs), out, running_mean, running_var
    ### END SOLUTION


# %% check="a3/batchnorm_over_steps"
check("a3/batchnorm_over_steps", batchnorm_over_steps)

# %% [markdown]
# A feature with true mean 3 and variance 4, seen through batches. What to expect: $m = 0.9$ arrives after some 40
# steps, $m = 0.99$ needs 400 and is calmer then; batches of 4 are noisier than batches of 64, and their running
# variance settles too low, at $\frac{N-1}{N} \cdot 4 = 3$. That is what *biased* means. It is no mistake: in training
# the same batches were divided by the same variances.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
ones, zeros = torch.ones(1), torch.zeros(1)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for number, (N, m) in enumerate([(4, 0.9), (64, 0.9), (64, 0.99)]):
    state, path = (zeros, ones), [(0.0, 1.0)]
    for _ in range(500):
        batch = 3 + 2 * torch.randn(N, 1, generator=generator)
        _, *state, _ = batchnorm_forward(batch, ones, zeros, *state, True, m)
        path.append(tuple(float(value) for value in state))
    for axis, values in zip(axes, zip(*path, strict=True), strict=True):
        axis.plot(values, color=COLOURS[number], lw=1.2, label=f"N = {N}, m = {m}")
for axis, truth, name in zip(axes, (3, 4), ("mean", "variance"), strict=True):
    axis.axhline(truth, color="black", ls="--", lw=0.9)
    axis.set_title(f"running {name}; the true one is dashed", fontsize=10)
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
axes[1].legend(frameon=False, fontsize=8, loc="lower right")
plt.show()

# %% [markdown] question="wrong_statistics" points=3
# **Question 1 (3 points).** Three nets with batch norm disappoint in use. Explain each from the formulas, and say what
# to do. (a) A fully-connected net classifies images one at a time, and gives every image the very same scores. (b)
# After a short training of 8 steps with $m = 0.99$ the training loss is low, but evaluation, even on the *training*
# images, is no better than guessing. (c) A net was trained on photographs taken by day and is used at night; evaluation
# is poor, but better when its layers are left in training mode with batches of 200 night photographs. Why could that be,
# and why does it get worse again when such a batch holds only photographs of one class?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) The net was left in training mode. With $N = 1$, $\hat{x} = 0$ in every batch-norm layer, so its
# output is $\beta$ whatever goes in, and all that follows is the same for every image. Evaluate with
# `is_training=False`. (b) The running statistics are still almost those of the start: $0.99^8 = 0.92$ of $0$ and $1$.
# Evaluation thus divides by other numbers than training did, and the layers behind get inputs of a size and position
# they were not trained for. A smaller $m$, or before evaluation some forward passes through training images to gather
# the statistics, without training. (c) Night photographs have another mean and variance (in every layer) than the
# running ones; those of the batch are right for them, and put the inputs of the next layer where it expects them. That
# works as long as the batch is a fair sample: a batch of one class has statistics of its own, and what distinguishes
# the class from the others is taken off with the mean. Remedy: gather running statistics anew on a mixed sample of
# night photographs (needs no labels), then evaluate.
#
# *Rubric.* 1 point each, for cause and remedy. (a) needs $\hat{x} = 0$, (b) the share $m^T$ of the start, (c) the shift
# of statistics, and that the batch has to be a mixed one.
# ### END MARK SCHEME

# %% [markdown]
# ## 6. Spatial batch norm
#
# Behind a convolution, $x$ has shape $(N, C, H, W)$. A filter is the same everywhere in the image, and what it finds
# should be treated the same everywhere: all pixels of all images are one population. So each *channel* has one mean and
# one variance, over $N \cdot H \cdot W$ values,
#
# $$\mu_c = \frac{1}{NHW} \sum_{i=1}^{N} \sum_{h=1}^{H} \sum_{w=1}^{W} x_{ichw}, \qquad
# \sigma_c^2 = \frac{1}{NHW} \sum_{i,h,w} (x_{ichw} - \mu_c)^2,$$
#
# and $\gamma, \beta, \bar{\mu}, \bar{\sigma}^2$ have shape $(C,)$. A single image is no trouble any more, as long as it
# has some pixels.
#
# This is batch norm of rows, where a row is a pixel: an $(NHW, C)$ tensor. Only mind how you get there.
# `x.reshape(-1, C)` has the right shape and the wrong content: it cuts memory into pieces of $C$ numbers, and in memory
# the neighbours of a number are the next pixels of the *same* channel. The channel axis has to come last first. And the
# same on the way back.


# %% exercise="a3/spatial_batchnorm"
def spatial_batchnorm_forward(x, gamma, beta, running_mean, running_var, is_training, momentum=0.9, eps=1e-5):
    """Compute the forward pass of spatial batch norm.

    Args:
        x: Shape (N, C, H, W), floating point, every axis at least 1. Not modified.
        gamma: Scale per channel, shape (C,).
        beta: Shift per channel, shape (C,).
        running_mean: Running mean so far, shape (C,); not modified.
        running_var: Running (biased) variance so far, shape (C,), at least 0; not modified.
        is_training: True normalises each channel by its mean and biased variance over images and pixels, False by the
            running ones.
        momentum: Share of the running statistics that is kept in training, from 0 to 1.
        eps: Added to the variance, under the root.

    Returns:
        ``(out, running_mean, running_var, cache)``: the output of shape (N, C, H, W); the running statistics, both
        (C,), updated in training and as they came in evaluation; and what ``spatial_batchnorm_backward`` needs.
    """
    ### BEGIN SOLUTION
    rows = x.movedim(1, 3)  # (N, H, W, C)
    out, running_mean, running_var, cache = batchnorm_forward(
        rows.reshape(-1, x.shape[1]), gamma, beta, running_mean, running_var, is_training, momentum, eps
    )
    return out.reshape(rows.shape).movedim(3, 1), running_mean, running_var, cache
    ### END SOLUTION


# %% exercise="a3/spatial_batchnorm"
def spatial_batchnorm_backward(dout, cache):
    """Compute the backward pass of spatial batch norm.

    Args:
        dout: Upstream gradient of ``out``, shape (N, C, H, W).
        cache: What ``spatial_batchnorm_forward`` returned, of a call in training or in evaluation.

    Returns:
        ``(dx, dgamma, dbeta)``: gradients of shapes (N, C, H, W), (C,) and (C,).
    """
    ### BEGIN SOLUTION
    rows = dout.movedim(1, 3)  # (N, H, W, C)
    dx, dgamma, dbeta = batchnorm_backward_alt(rows.reshape(-1, dout.shape[1]), cache)
    return dx.reshape(rows.shape).movedim(3, 1), dgamma, dbeta
    ### END SOLUTION


# %% check="a3/spatial_batchnorm"
check("a3/spatial_batchnorm", spatial_batchnorm_forward, spatial_batchnorm_backward)

# %% [markdown]
# ## 7. Folded away
#
# In evaluation batch norm is one multiplication and one addition per channel. A convolution in front of it is linear
# too. With the filters $w$ of shape $(F, C, HH, WW)$, the bias $b$ of shape $(F,)$, $*$ for the convolution, and
# $s_f = \gamma_f / \sqrt{\bar{\sigma}_f^2 + \varepsilon}$ of shape $(F,)$,
#
# $$y_f = s_f \bigl( (w_f * x) + b_f - \bar{\mu}_f \bigr) + \beta_f
# = \underbrace{(s_f w_f)}_{w'_f} * x \; + \; \underbrace{s_f (b_f - \bar{\mu}_f) + \beta_f}_{b'_f} .$$
#
# Two layers are one convolution with other weights. In use, batch norm costs nothing, and this is how nets are shipped.
# It works for the order *convolution, then norm*. The other way round, the shift of the norm would have to become a
# part of the bias, and zero padding spoils it: padded zeros are put in behind the norm and are not shifted, so that
# pixels at the border would need another bias.


# %% exercise="a3/fold_batchnorm"
def fold_batchnorm(w, b, gamma, beta, running_mean, running_var, eps=1e-5):
    """Fold a batch-norm layer in evaluation mode into the convolution in front of it.

    Args:
        w: Filters, shape (F, C, HH, WW); not modified.
        b: Bias, shape (F,); not modified.
        gamma: Scale per output channel of the convolution, shape (F,); may be 0 or negative.
        beta: Shift, shape (F,).
        running_mean: Shape (F,).
        running_var: Shape (F,), at least 0.
        eps: Added to the variance, under the root.

    Returns:
        ``(w, b)``: filters (F, C, HH, WW) and bias (F,) of the one convolution that gives what both layers gave.
    """
    ### BEGIN SOLUTION
    scale = gamma / (running_var + eps).sqrt()
    return w * scale[:, None, None, None], (b - running_mean) * scale + beta
    ### END SOLUTION


# %% check="a3/fold_batchnorm"
check("a3/fold_batchnorm", fold_batchnorm)

# %% [markdown]
# On real activations: a convolution and your spatial batch norm see 30 batches in training, then both are evaluated and
# compared with the one folded convolution. Expect differences of $10^{-6}$ or so in float32, which is rounding.

# %% tags=["demo"]
data = load_images("cifar10", n_train=2000 if is_fast() else 9000)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val, x_test = (normalize(images, mean, std) for images in (data.x_train, data.x_val, data.x_test))
y_train, y_val, y_test = data.y_train, data.y_val, data.y_test
D, K = x_train[0].numel(), len(data.classes)

generator = torch.Generator().manual_seed(0)
w, b = 0.3 * torch.randn(8, 3, 3, 3, generator=generator), torch.randn(8, generator=generator)
gamma, beta = torch.randn(2, 8, generator=generator)
state, param = (torch.zeros(8), torch.ones(8)), {"stride": 1, "pad": 1}
for images in x_train[:1500].split(50):
    features, _ = conv_forward(images, w, b, param)
    _, *state, _ = spatial_batchnorm_forward(features, gamma, beta, *state, True)
features, _ = conv_forward(x_val[:50], w, b, param)
two_layers = spatial_batchnorm_forward(features, gamma, beta, *state, False)[0]
one_layer, _ = conv_forward(x_val[:50], *fold_batchnorm(w, b, gamma, beta, *state), param)
print(f"outputs up to {two_layers.abs().max():.1f}; largest difference {(two_layers - one_layer).abs().max():.0e}")

# %% [markdown]
# ## 8. Layer norm
#
# The trouble with batches goes away if an image is normalised by *itself*. Layer norm takes mean and variance over the
# $D$ features of a row:
#
# $$\mu_i = \frac1D \sum_{d=1}^{D} x_{id}, \qquad
# \sigma_i^2 = \frac1D \sum_{d=1}^{D} (x_{id} - \mu_i)^2, \qquad
# y_{id} = \gamma_d\, \frac{x_{id} - \mu_i}{\sqrt{\sigma_i^2 + \varepsilon}} + \beta_d .$$
#
# $\mu$ and $\sigma^2$ have shape $(N,)$ now, while $\gamma$ and $\beta$ are still $(D,)$, one per feature. There are no
# running statistics and no difference between training and evaluation. Sequences of any length and batches of one are
# welcome, and every Transformer has a norm of this kind.
#
# **Backward.** The derivation of section 4 holds word for word, with means over the features in place of the rows. With
# $r_i = 1/\sqrt{\sigma_i^2 + \varepsilon}$ and $\langle t \rangle_i = \frac1D \sum_d t_{id}$, both of shape $(N,)$,
#
# $$dx_{id} = r_i \bigl( d\hat{x}_{id} - \langle d\hat{x} \rangle_i - \hat{x}_{id} \langle \hat{x}\, d\hat{x} \rangle_i
# \bigr), \qquad d\hat{x}_{id} = \gamma_d\, dy_{id} .$$
#
# This time $\gamma$ has to stay inside the means, because it differs along the axis that is averaged over. $d\gamma$ and
# $d\beta$ are sums over the rows, as before: that is where *they* are shared.


# %% exercise="a3/layernorm"
def layernorm_forward(x, gamma, beta, eps=1e-5):
    """Compute the forward pass of layer norm.

    Args:
        x: Shape (N, D), floating point; may be far from zero, or the same in a whole row. Not modified.
        gamma: Scale per feature, shape (D,).
        beta: Shift per feature, shape (D,).
        eps: Added to the (biased) variance, under the root.

    Returns:
        ``(out, cache)``: every row with mean 0 and variance 1, then scaled and shifted, shape (N, D); and what
        ``layernorm_backward`` needs.
    """
    ### BEGIN SOLUTION
    centred = x - x.mean(dim=1, keepdim=True)
    inv_std = 1 / (centred.square().mean(dim=1, keepdim=True) + eps).sqrt()
    x_hat = centred * inv_std
    return gamma * x_hat + beta, (x_hat, inv_std, gamma)
    ### END SOLUTION


# %% exercise="a3/layernorm"
def layernorm_backward(dout, cache):
    """Compute the backward pass of layer norm.

    Args:
        dout: Upstream gradient of ``out``, shape (N, D).
        cache: What ``layernorm_forward`` returned.

    Returns:
        ``(dx, dgamma, dbeta)``: gradients of shapes (N, D), (D,) and (D,).
    """
    ### BEGIN SOLUTION
    x_hat, inv_std, gamma = cache
    dx_hat = dout * gamma
    along = x_hat * (dx_hat * x_hat).mean(dim=1, keepdim=True)
    dx = inv_std * (dx_hat - dx_hat.mean(dim=1, keepdim=True) - along)
    return dx, (dout * x_hat).sum(dim=0), dout.sum(dim=0)
    ### END SOLUTION


# %% check="a3/layernorm"
check("a3/layernorm", layernorm_forward, layernorm_backward)

# %% [markdown] question="layer_norm_fails" points=3
# **Question 2 (3 points).** (a) Which values can $\hat{x}$ of layer norm take when $D = 2$, and when $D = 1$? What is
# left of the input? (b) Rows describe flats: rooms (1 to 5), area (30 to 200 m²), price (some 250,000). They go through
# layer norm first. What becomes of the number of rooms, and why does batch norm do better? (c) A hidden layer with 500
# ReLU units is no such case. Which property of an image is removed there all the same, and for which task would you
# miss it?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) With $D = 2$ the two deviations are $\pm$ half the difference and the standard deviation is its
# size, so $\hat{x}$ is $(1, -1)$ or $(-1, 1)$ ($\varepsilon$ aside; $(0, 0)$ if both are equal): only which is larger
# is left, one bit. With $D = 1$ it is 0, nothing is left. (b) Mean and variance of a row are those of its price:
# $\hat{x}$ is about $(-0.71, -0.71, 1.41)$ for every flat. Four rooms more move it by
# $4 / 118{,}000$, about $3 \cdot 10^{-5}$. Features in different units must not share a mean and a variance; batch norm
# gives every feature its own. (c) What all units of one image have in common: the overall level and size of its
# response, and with it, for instance, how bright or rich in contrast the image is, or how sure the layer is. Missed
# where that matters: telling day from night, estimating exposure or a quantity, or noticing that an image is unlike
# anything seen before.
#
# *Rubric.* 1 point: $\pm 1$ and 0. 1 point: price swamps rooms, and batch norm has statistics per feature. 1 point:
# common level or size, with a task.
# ### END MARK SCHEME

# %% [markdown]
# ## 9. One idea, four choices of axes
#
# All norms are one: take some entries of $x$, bring *them* to mean 0 and variance 1 by their own statistics, scale and
# shift per channel. They differ in which entries go together. In the picture a batch is a block of $N$ images, $C$
# channels and $H \cdot W$ pixels, and the coloured cells share one mean and one variance.


# %% tags=["demo"]
def draw_block(axis, is_shared, colour, n=4, c=6, p=5):
    """Draw a block of cells in parallel perspective, with some of them coloured."""

    def at(i, j, k):
        return 0.87 * (j - i), k - 0.5 * (i + j)

    faces = [
        ((i, j, p - 1), [(i, j, p), (i + 1, j, p), (i + 1, j + 1, p), (i, j + 1, p)])
        for i in range(n)
        for j in range(c)
    ]
    faces += [
        ((n - 1, j, k), [(n, j, k), (n, j + 1, k), (n, j + 1, k + 1), (n, j, k + 1)])
        for j in range(c)
        for k in range(p)
    ]
    faces += [
        ((i, c - 1, k), [(i, c, k), (i + 1, c, k), (i + 1, c, k + 1), (i, c, k + 1)])
        for i in range(n)
        for k in range(p)
    ]
    for cell, corners in faces:
        face = colour if is_shared(*cell) else "#f4f4f4"
        axis.add_patch(Polygon([at(*corner) for corner in corners], facecolor=face, edgecolor="#666666", lw=0.6))
    axis.text(*(at(n / 2, -0.7, p)), "$N$", ha="center", va="center", fontsize=10)
    axis.text(*(at(-0.7, c / 2, p)), "$C$", ha="center", va="center", fontsize=10)
    axis.text(*(at(-0.4, c + 0.4, p / 2)), "$H \\cdot W$", ha="left", va="center", fontsize=10)
    axis.set_xlim(-4.2, 7.2)
    axis.set_ylim(-5.4, 5.9)
    axis.set_aspect("equal")
    axis.axis("off")


norms = {
    "batch norm\n$C$ means, over $N H W$ each": lambda i, j, k: j == 5,
    "layer norm of images\n$N$ means, over $C H W$ each": lambda i, j, k: i == 3,
    "group norm, $G = 3$\n$N G$ means, over $(C/G) H W$ each": lambda i, j, k: i == 3 and j >= 4,
    "instance norm\n$N C$ means, over $H W$ each": lambda i, j, k: i == 3 and j == 5,
}
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axis, (name, is_shared), colour in zip(axes, norms.items(), COLOURS, strict=False):
    draw_block(axis, is_shared, colour)
    axis.set_title(name, fontsize=9.5)
plt.show()

# %% [markdown] question="axes" points=3
# **Question 3 (3 points).** (a) For activations of shape $(N, C, H, W) = (8, 6, 5, 4)$ give, for batch norm, layer norm
# over $(C, H, W)$, group norm with $G = 3$, and instance norm: the axes that disappear, how many means there are, and
# from how many values each is taken. (b) Which of the four change their output for one image when another image of the
# batch is replaced, in training and in evaluation? (c) In one image, channel 0 is multiplied by 10 everywhere. For
# which of the four does this leave the outputs of *all* channels of *all* images as they were, and for which does it
# change channels other than 0? (Leave $\varepsilon$ aside.)
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Batch: $N, H, W$; 6 means of 160 values. Layer: $C, H, W$; 8 of 120. Group: the two channels of a
# group, $H, W$; 24 of 40. Instance: $H, W$; 48 of 20. (b) Batch norm in training only; in evaluation none. (c) Instance
# norm leaves everything as it was, since mean and standard deviation of that channel in that image grow tenfold as
# well. Layer norm changes all channels of that image; group norm the other channel in the group of channel 0; batch
# norm changes channel 0 in all images (they share its statistics), but no other channel.
#
# *Rubric.* 1 point: at least three rows of (a) right. 1 point: batch norm, in training only. 1 point: instance norm
# leaves all, layer and group norm change other channels (batch norm: other images).
# ### END MARK SCHEME

# %% [markdown]
# ## 10. Group norm and instance norm
#
# Layer norm throws all channels into one pot: an edge detector and a detector of blue. Instance norm gives every
# channel of every image a pot of its own, and loses how strongly one responds compared with another. Group norm is in
# between: channels $1 \dots C$ are split, in their order, into $G$ groups of $C/G$ neighbours, and each group of each
# image is normalised:
#
# $$\mu_{ig} = \frac{G}{C H W} \sum_{c \in \text{group } g} \sum_{h,w} x_{ichw}, \qquad
# \sigma_{ig}^2 = \frac{G}{C H W} \sum_{c \in \text{group } g} \sum_{h,w} (x_{ichw} - \mu_{ig})^2,$$
#
# both of shape $(N, G)$, while $\gamma$ and $\beta$ have shape $(C,)$. With $G = 1$ it is layer norm over $(C, H, W)$,
# with $G = C$ instance norm; both are checked. If $G$ does not divide $C$, there are no such groups, and the function
# raises a `ValueError` that says so. Do not leave that to `reshape`: with $C = 4$, $G = 3$ and images of $2 \times 3$
# pixels there are 24 numbers, and $24 / 3$ comes out even.
#
# Backward is that of layer norm with means over a group: $\gamma$ differs between the channels of a group, so it stays
# inside.


# %% exercise="a3/spatial_groupnorm"
def spatial_groupnorm_forward(x, gamma, beta, G, eps=1e-5):
    """Compute the forward pass of group norm.

    Args:
        x: Shape (N, C, H, W), floating point, every axis at least 1. Not modified.
        gamma: Scale per channel, shape (C,).
        beta: Shift per channel, shape (C,).
        G: Number of groups, at least 1; group g holds the channels from g * C // G up to (g + 1) * C // G, that one
            left out.
        eps: Added to the (biased) variance, under the root.

    Returns:
        ``(out, cache)``: every group of every image with mean 0 and variance 1, then scaled and shifted per channel,
        shape (N, C, H, W); and what ``spatial_groupnorm_backward`` needs.

    Raises:
        ValueError: If G does not divide C.
    """
    ### BEGIN SOLUTION
    N, C, H, W = x.shape
    if C % G:
        raise ValueError(f"{C} channels cannot be split into {G} groups of the same size")
    groups = x.reshape(N, G, -1)
    centred = groups - groups.mean(dim=2, keepdim=True)
    inv_std = 1 / (centred.square().mean(dim=2, keepdim=True) + eps).sqrt()
    x_hat = centred * inv_std  # (N, G, C/G * H * W)
    out = gamma[:, None, None] * x_hat.reshape(N, C, H, W) + beta[:, None, None]
    return out, (x_hat, inv_std, gamma)
    ### END SOLUTION


# %% exercise="a3/spatial_groupnorm"
def spatial_groupnorm_backward(dout, cache):
    """Compute the backward pass of group norm.

    Args:
        dout: Upstream gradient of ``out``, shape (N, C, H, W).
        cache: What ``spatial_groupnorm_forward`` returned.

    Returns:
        ``(dx, dgamma, dbeta)``: gradients of shapes (N, C, H, W), (C,) and (C,).
    """
    ### BEGIN SOLUTION
    x_hat, inv_std, gamma = cache
    dgamma = (dout * x_hat.reshape(dout.shape)).sum(dim=(0, 2, 3))
    dx_hat = (dout * gamma[:, None, None]).reshape(x_hat.shape)
    along = x_hat * (dx_hat * x_hat).mean(dim=2, keepdim=True)
    dx = inv_std * (dx_hat - dx_hat.mean(dim=2, keepdim=True) - along)
    return dx.reshape(dout.shape), dgamma, dout.sum(dim=(0, 2, 3))
    ### END SOLUTION


# %% check="a3/spatial_groupnorm"
check("a3/spatial_groupnorm", spatial_groupnorm_forward, spatial_groupnorm_backward)

# %% [markdown]
# Instance norm by itself: every channel of every image, over its pixels. With one pixel only, $\hat{x} = 0$ and the
# output is $\beta$, as for a batch of one row; torch refuses that as well. You may build on what you have.


# %% exercise="a3/instancenorm"
def instancenorm_forward(x, gamma, beta, eps=1e-5):
    """Compute the forward pass of instance norm.

    Args:
        x: Shape (N, C, H, W), floating point, every axis at least 1. Not modified.
        gamma: Scale per channel, shape (C,).
        beta: Shift per channel, shape (C,).
        eps: Added to the (biased) variance, under the root.

    Returns:
        ``(out, cache)``: every channel of every image with mean 0 and variance 1 over its pixels, then scaled and
        shifted, shape (N, C, H, W); and what ``instancenorm_backward`` needs.
    """
    ### BEGIN SOLUTION
    return spatial_groupnorm_forward(x, gamma, beta, x.shape[1], eps)
    ### END SOLUTION


# %% exercise="a3/instancenorm"
def instancenorm_backward(dout, cache):
    """Compute the backward pass of instance norm.

    Args:
        dout: Upstream gradient of ``out``, shape (N, C, H, W).
        cache: What ``instancenorm_forward`` returned.

    Returns:
        ``(dx, dgamma, dbeta)``: gradients of shapes (N, C, H, W), (C,) and (C,).
    """
    ### BEGIN SOLUTION
    return spatial_groupnorm_backward(dout, cache)
    ### END SOLUTION


# %% check="a3/instancenorm"
check("a3/instancenorm", instancenorm_forward, instancenorm_backward)

# %% [markdown]
# What a mean and a variance per channel and image hold, one can see. Above, one photograph as it is, too dark, pale, and
# with a colour cast; below, the four after instance norm with the same $\gamma$ and $\beta$ for all. Brightness,
# contrast and cast are gone, and all else is there. That is why instance norm is at home in style transfer, where
# another picture's $\gamma$ and $\beta$ bring another style.

# %% tags=["demo"]
photograph = load_photograph("china")[:, 13:413, 10:410]
cast = torch.tensor([1.0, 0.75, 0.5])[:, None, None]
pictures = torch.stack([photograph, 0.25 * photograph, 0.6 + 0.3 * photograph, cast * photograph])
normed, _ = instancenorm_forward(pictures, torch.full((3,), 0.22), torch.full((3,), 0.5))
names = ["as it is", "too dark", "pale", "with a cast"]
show_images(torch.cat([pictures, normed]), names + [f"{name}, normalised" for name in names], columns=4, size=2.4)

# %% [markdown]
# ## 11. Normalising weights instead
#
# Let $w$, shape $(D,)$, be the weights of one unit in front of batch norm, and $a > 0$ a number. With $a w$ in place of
# $w$ the unit's output is $a$ times as large, and batch norm divides $a$ out again ($\varepsilon$ aside): the loss does
# not depend on the *length* of the weights at all, $L(a w) = L(w)$. Differentiate that with respect to $a$ at $a = 1$,
# and with respect to $w$:
#
# $$\sum_{d} w_d \frac{\partial L}{\partial w_d} = 0, \qquad
# \frac{\partial L}{\partial w}(a w) = \frac1a\, \frac{\partial L}{\partial w}(w) .$$
#
# The gradient, shape $(D,)$, is at right angles to the weights, so every step of gradient descent makes them longer
# (Pythagoras), and the longer they are, the smaller the gradient. The net slows itself down where the learning rate was
# too high, which is part of why batch norm forgives such rates.
#
# *Weight norm* builds that in without looking at any batch. The weights $w$ of a linear layer, shape $(D, M)$, are made
# from directions $v$ of shape $(D, M)$ and lengths $g$ of shape $(M,)$, column by column:
#
# $$w_{dm} = g_m \frac{v_{dm}}{\lVert v_m \rVert}, \qquad \lVert v_m \rVert = \Bigl( \sum_{d=1}^{D} v_{dm}^2 \Bigr)^{1/2} .$$
#
# Training moves $v$ and $g$. With the unit columns $u_m = v_m / \lVert v_m \rVert$, shape $(D,)$ each, and since the
# derivative of the norm is $\partial \lVert v_m \rVert / \partial v_{dm} = u_{dm}$,
#
# $$dg_m = \sum_{d} u_{dm}\, dw_{dm}, \qquad
# dv_m = \frac{g_m}{\lVert v_m \rVert} \bigl( dw_m - u_m\, dg_m \bigr) .$$
#
# In the bracket the part of $dw_m$ along $v_m$ is taken off: $dv_m$ is at right angles to $v_m$, as above. (The same
# form as in section 4, without a mean.)


# %% exercise="a3/weight_norm"
def weight_norm_forward(v, g):
    """Make the weights of a linear layer from directions and lengths.

    Args:
        v: Directions, shape (D, M), one column per output; no column is zero. Not modified.
        g: Lengths, shape (M,); may be 0 or negative.

    Returns:
        ``(w, cache)``: weights of shape (D, M), column m having the direction of v[:, m] times g[m] over its norm; and
        what ``weight_norm_backward`` needs.
    """
    ### BEGIN SOLUTION
    norm = v.square().sum(dim=0).sqrt()
    unit = v / norm
    return g * unit, (unit, norm, g)
    ### END SOLUTION


# %% exercise="a3/weight_norm"
def weight_norm_backward(dw, cache):
    """Compute the gradients of directions and lengths.

    Args:
        dw: Upstream gradient of ``w``, shape (D, M).
        cache: What ``weight_norm_forward`` returned.

    Returns:
        ``(dv, dg)``: gradients of shapes (D, M) and (M,).
    """
    ### BEGIN SOLUTION
    unit, norm, g = cache
    dg = (dw * unit).sum(dim=0)
    return g / norm * (dw - unit * dg), dg
    ### END SOLUTION


# %% check="a3/weight_norm"
check("a3/weight_norm", weight_norm_forward, weight_norm_backward)

# %% [markdown]
# ## 12. What it is good for
#
# A net of five hidden layers of 50 units each, with or without a norm in front of every ReLU, trained by Adam on 1,000
# images. Your layers do the work; the net keeps the running statistics from call to call.


# %% tags=["demo"]
class DeepNet:
    """(affine - [norm] - ReLU) x 5 - affine, with softmax loss; norm is "batch", "layer" or None."""

    def __init__(self, weight_scale, norm, width=50, depth=5, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.norm, self.depth, self.params, self.state = norm, depth, {}, {}
        dims = [D] + [width] * depth + [K]
        for number in range(depth + 1):
            shape = dims[number], dims[number + 1]
            self.params[f"W{number}"] = weight_scale * torch.randn(shape, generator=generator)
            self.params[f"b{number}"] = torch.zeros(shape[1])
            if norm is not None and number < depth:
                self.params[f"gamma{number}"], self.params[f"beta{number}"] = torch.ones(width), torch.zeros(width)
                self.state[number] = torch.zeros(width), torch.ones(width)

    def forward(self, X, is_training):
        out, tape = X, []
        for number in range(self.depth + 1):
            out, cache = affine_forward(out, self.params[f"W{number}"], self.params[f"b{number}"])
            tape.append((affine_backward, cache, [f"W{number}", f"b{number}"]))
            if number == self.depth:
                break
            names = [f"gamma{number}", f"beta{number}"]
            if self.norm == "batch":
                weights = (self.params[name] for name in names)
                out, *state, cache = batchnorm_forward(out, *weights, *self.state[number], is_training)
                self.state[number] = tuple(state)
                tape.append((batchnorm_backward_alt, cache, names))
            elif self.norm == "layer":
                out, cache = layernorm_forward(out, *(self.params[name] for name in names))
                tape.append((layernorm_backward, cache, names))
            out, cache = relu_forward(out)
            tape.append((relu_backward, cache, []))
        return out, tape

    def loss(self, X, y=None):
        scores, tape = self.forward(X, is_training=y is not None)
        if y is None:
            return scores
        loss, dout = softmax_loss(scores, y)
        grads = {}
        for backward, cache, names in reversed(tape):
            result = backward(dout, cache)
            dout, *found = result if names else (result,)
            grads.update(zip(names, found, strict=True))
        return loss, grads


def train(net, epochs, batch_size=50, lr=1e-3):
    """Train with Adam and return the history."""
    images = 300 if is_fast() else 1000
    solver = Solver(
        net,
        x_train[:images],
        y_train[:images],
        x_val,
        y_val,
        rule=torch_rule(torch.optim.Adam),
        lr=lr,
        batch_size=batch_size,
        epochs=epochs,
        progress=False,
    )
    return solver.train()


# %% [markdown]
# ### Ten sizes of first weights
#
# The standard deviation $s$ of all weights runs from $10^{-4}$ to 1. What to expect: without batch norm the net learns in
# a narrow range only. Below it nothing reaches the scores, the loss stays at $\log K$ and accuracy at that of guessing;
# above it scores are huge and the first steps wild. With batch norm it learns for nearly all sizes. Measured on CIFAR-10
# (best validation accuracy): without, exactly 10.0 % for the four smallest sizes, and more than 20 % for two of the ten;
# with, 24 % to 35 % up to $s = 0.13$, then 21.5 % and 15.3 %. The best of the ten is 31.0 % without and 34.9 % with. On
# drawn shapes: 10.0 % for the five smallest sizes and at best 33.1 % without; with, 24 % to 37 % up to $s = 0.13$, then
# 18.7 % and 16.0 %. At $s = 0.13$, the size that suits it best, the net without a norm is ahead: what
# batch norm brings is not the one good size but all the others.

# %% tags=["demo"]
scales = torch.logspace(-4, 0, 4 if is_fast() else 10).tolist()
epochs = 2 if is_fast() else 10
begin = time.process_time()
results = {None: [], "batch": []}
with tqdm(total=2 * len(scales), desc="nets") as progress:
    for norm, histories in results.items():
        for scale in scales:
            histories.append(train(DeepNet(scale, norm), epochs))
            progress.update()
figure, axes = plt.subplots(1, 3, figsize=(12, 3.3), layout="constrained")
for (norm, histories), colour in zip(results.items(), COLOURS, strict=False):
    label = "with batch norm" if norm else "without"
    style = {"color": colour, "marker": "o", "ms": 4, "label": label}
    axes[0].semilogx(scales, [max(history.val_accuracies) for history in histories], **style)
    axes[1].semilogx(scales, [max(history.train_accuracies) for history in histories], **style)
    ends = [sum(history.losses[-20:]) / max(len(history.losses[-20:]), 1) for history in histories]
    axes[2].loglog(scales, ends, **style)
for axis, title in zip(axes, ("best validation accuracy", "best training accuracy", "loss at the end"), strict=True):
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("standard deviation of the first weights")
    axis.grid(alpha=0.3)
for axis in axes[:2]:
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.axhline(1 / K, color="grey", lw=1, ls="--")
    axis.set_ylim(bottom=0)
axes[0].legend(frameon=False, fontsize=8)
plt.show()
for norm, histories in results.items():
    best = " ".join(f"{max(history.val_accuracies):.1%}" for history in histories)
    print(f"{'with' if norm else 'without':8} {best}")
print(f"{data.name}: {time.process_time() - begin:.0f} s of processor time")

# %% [markdown]
# ### Three sizes of batches
#
# Batches of 5, 10 and 50 images, with batch norm, layer norm and no norm; $s = 0.05$, the learning rate is 0.001
# throughout, and every net sees its 1,000 images six times. What to expect: batch norm depends on $N$ most. With 50
# images it learns faster than the net without a norm; with 5 it has no advantage left. Layer norm hardly cares in
# validation. Part of what you see is not the norm: the noisier steps of a small batch would want a smaller learning
# rate, and that shows in the third panel too. Measured after six epochs, training / validation accuracy, one run each
# (on 1,000 validation images differences of 2 points mean nothing):
#
# | | $N = 5$ | $N = 10$ | $N = 50$ |
# | --- | --- | --- | --- |
# | CIFAR-10, batch norm | 31.8 % / 25.3 % | 41.3 % / 32.0 % | 61.8 % / 33.8 % |
# | CIFAR-10, layer norm | 45.8 % / 31.5 % | 50.8 % / 32.7 % | 61.5 % / 30.8 % |
# | CIFAR-10, no norm | 34.2 % / 27.7 % | 42.1 % / 28.7 % | 40.3 % / 30.6 % |
# | drawn shapes, batch norm | 28.1 % / 21.8 % | 35.6 % / 27.7 % | 56.7 % / 31.1 % |
# | drawn shapes, layer norm | 36.4 % / 27.8 % | 39.9 % / 29.1 % | 47.9 % / 28.6 % |
# | drawn shapes, no norm | 32.1 % / 24.1 % | 34.7 % / 25.3 % | 33.9 % / 28.4 % |

# %% tags=["demo"]
epochs = 2 if is_fast() else 6
begin = time.process_time()
curves = {}
batch_sizes = (5, 10, 50)
kinds = {"batch": "batch norm", "layer": "layer norm", None: "no norm"}
with tqdm(total=len(kinds) * len(batch_sizes), desc="nets") as progress:
    for norm in kinds:
        for batch_size in batch_sizes:
            curves[norm, batch_size] = train(DeepNet(0.05, norm), epochs, batch_size)
            progress.update()
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), sharey=True, layout="constrained")
for axis, (norm, name) in zip(axes, kinds.items(), strict=True):
    for batch_size, colour in zip(batch_sizes, COLOURS, strict=False):
        history = curves[norm, batch_size]
        numbers = range(1, len(history.val_accuracies) + 1)
        axis.plot(numbers, history.train_accuracies, color=colour, ls="--", lw=1)
        axis.plot(numbers, history.val_accuracies, color=colour, label=f"N = {batch_size}")
    axis.set_title(name, fontsize=10)
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.grid(alpha=0.3)
axes[0].set_ylim(bottom=0)
axes[0].set_ylabel("validation (solid), training (dashed)")
axes[0].legend(frameon=False, fontsize=8)
plt.show()
for norm, name in kinds.items():
    ends = " ".join(
        f"N = {size}: {curves[norm, size].train_accuracies[-1]:.1%} {curves[norm, size].val_accuracies[-1]:.1%}; "
        for size in batch_sizes
    )
    print(f"{name:12} training, validation {ends}")
print(f"{data.name}: {time.process_time() - begin:.0f} s of processor time")

# %% [markdown] question="batch_size" points=3
# **Question 4 (3 points).** (a) Let a feature have variance $\sigma^2$ over all images. How far does the mean of a batch
# typically lie from the true mean, in units of $\sigma$, for $N = 5$ and for $N = 50$? What does that do to $\hat{x}$ of
# one and the same image from step to step, and why is there nothing of the kind in layer norm? (b) At the size $s = 1$
# batch norm divides $s$ out of every layer, and yet the net learned little. Adam moves every weight by about the
# learning rate per step, here 0.001 in 200 steps. Use section 11. (c) For a detector only two large images fit in
# memory. Is spatial batch norm with $N = 2$ as bad as batch norm of two rows? Which norm would you take, and why?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\sigma / \sqrt{N}$: 0.45 $\sigma$ and 0.14 $\sigma$. The same image gets another $\hat{x}$ in every
# step, depending on its neighbours: noise, three times as much with $N = 5$ (and the variance is estimated as badly).
# A little of it regularises, much of it drowns what is to be learned, and evaluation, without noise, is not what was
# trained. Layer norm takes its statistics from the image alone, so there the batch is not noticed. (b) Only the
# *direction* of the weights matters in front of batch norm. 200 steps of 0.001 move a weight by 0.2 at most, while the
# weights have size 1: directions hardly turn, and the first layers stay what they were, random. (With small weights the
# same steps turn them within a few steps. The last layer, which is not normalised, starts with large scores besides.)
# (c) No: there are $2 H W$ values per channel instead of 2. But the pixels of an image are not independent, two images
# are two scenes, and their common brightness or content still decides the statistics. Group norm: does not depend on
# the batch at all, and has enough values per group; it is the same in training and evaluation. (Layer norm over
# $(C, H, W)$ is defensible; instance norm loses the relative strength of channels.)
#
# *Rubric.* 1 point: both numbers and noise that differs from step to step. 1 point: direction against length of the
# weights. 1 point: more values though not independent, and group norm with a reason.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Sergey Ioffe and Christian Szegedy, *Batch normalization: accelerating deep network training by reducing internal
#   covariate shift*, 2015, arXiv:1502.03167: where it began.
# - Shibani Santurkar, Dimitris Tsipras, Andrew Ilyas and Aleksander Madry, *How does batch normalization help
#   optimization?*, 2018, arXiv:1805.11604: experiments against the explanation in that title, and another one.
# - Jimmy Lei Ba, Jamie Ryan Kiros and Geoffrey Hinton, *Layer normalization*, 2016, arXiv:1607.06450.
# - Dmitry Ulyanov, Andrea Vedaldi and Victor Lempitsky, *Instance normalization: the missing ingredient for fast
#   stylization*, 2016, arXiv:1607.08022.
# - Yuxin Wu and Kaiming He, *Group normalization*, 2018, arXiv:1803.08494: with the picture of section 9, and what
#   becomes of batch norm in small batches.
# - Tim Salimans and Diederik Kingma, *Weight normalization: a simple reparameterization to accelerate training of deep
#   neural networks*, 2016, arXiv:1602.07868.
# - Sergey Ioffe, *Batch renormalization: towards reducing minibatch dependence in batch-normalized models*, 2017,
#   arXiv:1702.03275: a remedy by the inventor.

# %%
check.summary()
