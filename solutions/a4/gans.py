# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Nets that draw
#
# So far nets were asked questions about images. Now one has to *make* images: turn random numbers into digits that
# nobody has written. There is no right answer to compare a drawing with, so the loss itself has to be invented. This
# notebook does it twice. A **generative adversarial net** (GAN) has a second net judge the drawings, and trains both
# against each other. A **variational autoencoder** (VAE) squeezes images through a narrow code and sees to it that
# random codes can be drawn as well. You will
#
# - derive the **losses of the two players**, what they are worth when neither can improve, and compute them so that no
#   logit is too large;
# - see on the smallest **game** there is why training two nets against each other is not descent, and why it matters
#   who moves first;
# - build a **fully-connected** and a **convolutional** pair of nets, train them with two kinds of loss, and watch digits
#   appear out of noise;
# - derive the loss of a **VAE**, let gradients pass through a random draw, and walk from one digit to another.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $z$ | noise, or the code of an image | $(N, Z)$ |
# | $G(z)$ | generated images | $(N, 1, 28, 28)$ |
# | $s(x)$ | logit that the discriminator gives an image: large for "real" | $(N, 1)$ |
# | $D(x) = \sigma(s(x))$ | its probability that the image is real, $\sigma(s) = 1 / (1 + e^{-s})$ | $(N, 1)$ |
# | $p_r$, $p_g$ | densities of real and of generated images | functions of $x$ |
# | $V$ | value of the game: $D$ raises it, $G$ lowers it | a number |
# | $t$ | targets of a cross-entropy, between 0 and 1 | that of the logits |
# | $\eta$ | size of a step | a number |
# | $\mu$, $\log \sigma^2$ | mean and logarithm of the variance of an image's code | $(N, Z)$ each |
# | $\beta$ | weight of the divergence in the loss of a VAE | a number |

# %% tags=["setup"]
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import MissingDataError, load_digits, load_mnist
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast

# %% [markdown]
# ## 1. Two players
#
# The **generator** $G$ turns noise $z$ into an image $G(z)$. The **discriminator** $D$ looks at one image and says with
# which probability it is real. $D$ wants to be right about both kinds, and $G$ wants $D$ to be wrong:
#
# $$\min_G \max_D V(G, D), \qquad
# V(G, D) = \mathbb{E}_{x \sim p_r} \bigl[ \log D(x) \bigr] + \mathbb{E}_{z} \bigl[ \log \bigl( 1 - D(G(z)) \bigr) \bigr] .$$
#
# **What the best $D$ knows.** Hold $G$ fixed and write the second expectation over the images that $G$ makes:
#
# $$V = \int \Bigl( p_r(x) \log D(x) + p_g(x) \log \bigl( 1 - D(x) \bigr) \Bigr) \, dx .$$
#
# If $D$ may be any function, each $x$ can be settled by itself. With $a = p_r(x)$ and $b = p_g(x)$, both numbers, the
# derivative of $a \log d + b \log (1 - d)$ is $\frac{a}{d} - \frac{b}{1 - d}$, and it is zero at
#
# $$D^*(x) = \frac{p_r(x)}{p_r(x) + p_g(x)}, \qquad s^*(x) = \log \frac{p_r(x)}{p_g(x)} .$$
#
# The second form follows from $\sigma(\log \frac{a}{b}) = \frac{a}{a + b}$: the best *logit* is the logarithm of how
# much more likely the image is in the world than in the generator. Nobody can write down $p_r$ of images, but a net can
# learn this ratio from samples of both. That is the trick of the whole method.
#
# **What is left for $G$.** Put $D^*$ into $V$. With $m = \frac12 (p_r + p_g)$, so that $D^* = p_r / 2m$,
#
# $$V(G, D^*) = \mathbb{E}_{p_r} \Bigl[ \log \frac{p_r}{2m} \Bigr] + \mathbb{E}_{p_g} \Bigl[ \log \frac{p_g}{2m} \Bigr]
# = - 2 \log 2 + \underbrace{\mathrm{KL}(p_r \,\|\, m) + \mathrm{KL}(p_g \,\|\, m)}_{2 \, \mathrm{JS}(p_r, p_g)} ,$$
#
# where $\mathrm{KL}(p \,\|\, m) = \mathbb{E}_{p} [\log \frac{p}{m}]$ is the Kullback-Leibler divergence, never negative,
# and JS (Jensen-Shannon) is the mean of the two. It lies between 0, for equal densities, and $\log 2$, for densities
# that nowhere overlap. So $G$ does best with $p_g = p_r$. Then $D^* = \frac12$ everywhere, all logits are 0, and
# $V = -2 \log 2$: the discriminator has nothing to go by but to toss a coin.
#
# Below, in one dimension, where densities can be drawn: the generator (red) comes closer to the real density (blue)
# from left to right, and the best discriminator (black) goes flat.

# %% tags=["demo"]
x = torch.linspace(-5, 5, 2001, dtype=torch.float64)


def bell(mean, std):
    return torch.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


real = 0.6 * bell(1.5, 0.6) + 0.4 * bell(-1.0, 0.5)
stages = [bell(-3.2, 0.5), bell(0.2, 1.6), 0.5 * bell(1.4, 0.65) + 0.5 * bell(-1.0, 0.6)]
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.0), layout="constrained", sharey=True)
for axis, fake in zip(axes, stages, strict=True):
    best = real / (real + fake)
    value = torch.trapezoid(real * best.log() + fake * (fake / (real + fake)).log(), x)
    axis.fill_between(x, real, color=COLOURS[0], alpha=0.4, label="real, $p_r$")
    axis.fill_between(x, fake, color=COLOURS[1], alpha=0.4, label="generated, $p_g$")
    axis.plot(x, best, color="black", label="best discriminator, $D^*$")
    axis.axhline(0.5, color="grey", lw=0.8, ls="--")
    distance = (float(value) + 2 * math.log(2)) / 2
    axis.set_title(f"JS {distance:.3f}, loss of the best D: {-value:.3f}", fontsize=10)
    axis.set_xlabel("x")
handles, names = axes[0].get_legend_handles_labels()
figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# ## 2. Noise
#
# The generator's input decides *which* image is drawn: equal noise, equal image. Any distribution will do that is easy
# to draw from and has no holes; we take $Z$ independent numbers, uniform in $[-1, 1)$.


# %% exercise="a4/sample_noise"
def sample_noise(count, dim, generator=None, device="cpu"):
    """Draw noise for a generator net.

    Args:
        count: Number of vectors, N, at least 0.
        dim: Entries of each, Z.
        generator: ``torch.Generator`` on ``device``, the only source of randomness; None takes torch's own.
        device: Where the noise is made.

    Returns:
        float32 tensor of shape (N, Z), each entry drawn by itself, uniform in [-1, 1).
    """
    ### BEGIN SOLUTION
    return 2 * torch.rand(count, dim, generator=generator, device=device) - 1
    ### END SOLUTION


# %% check="a4/sample_noise"
check("a4/sample_noise", sample_noise)

# %% [markdown]
# ## 3. Cross-entropy of a logit
#
# Both players are judged by logarithms of $D(x) = \sigma(s)$ and of $1 - D(x) = \sigma(-s)$. A discriminator soon gets
# very sure of itself, and then computing a probability first and its logarithm afterwards fails: in float32 $\sigma(20)$
# is exactly 1, and the logarithm of $1 - \sigma(20)$ minus infinity. So the net returns *logits*, and the probability
# is never computed. With $\mathrm{softplus}(s) = \log(1 + e^s)$,
#
# $$-\log \sigma(s) = \log (1 + e^{-s}) = \mathrm{softplus}(-s), \qquad
# -\log \bigl( 1 - \sigma(s) \bigr) = \mathrm{softplus}(s) .$$
#
# The cross-entropy with a target $t$ between 0 and 1 is, for one entry,
#
# $$\ell(s, t) = t \; \mathrm{softplus}(-s) + (1 - t) \; \mathrm{softplus}(s) = \mathrm{softplus}(s) - t s, \qquad
# \frac{\partial \ell}{\partial s} = \sigma(s) - t ,$$
#
# since $\mathrm{softplus}(-s) = \mathrm{softplus}(s) - s$. Still, $e^s$ is infinite in float32 from $s = 89$ on. Take
# the larger of the two terms under the logarithm out of it:
#
# $$\mathrm{softplus}(s) = \log(e^0 + e^s) = \max(s, 0) + \log \bigl( 1 + e^{-|s|} \bigr) .$$
#
# No exponent is positive now, and `log1p(y)`, the logarithm of $1 + y$, keeps its digits when $y$ is tiny.
#
# **A corner that is not there.** This is right for every $s$ as a *value*. Its gradient is to come from autograd, which
# differentiates each piece by itself, and both $\max(s, 0)$ and $|s|$ have a corner at 0. The corners cancel, as
# softplus is smooth; but autograd takes the slope of $|s|$ at 0 as 0, and that of `s.clamp(min=0)` as 0 or 1, never as
# the $\frac12$ that would be right: $\sigma(0) = \frac12$. Logits of exactly 0 are no accident: a last layer that
# starts at 0 gives nothing else. `torch.maximum` shares the slope equally between two equal numbers, and
# `torch.logaddexp(a, b)`, which is $\log(e^a + e^b)$ computed as above, has no corner at all.


# %% exercise="a4/bce_with_logits"
def bce_with_logits(logits, targets):
    """Compute the binary cross-entropy of logits.

    Args:
        logits: Any shape, floating point; may be as large as 10,000 in size. Not modified.
        targets: The same shape, each entry between 0 and 1 (0 and 1 included, and anything between).

    Returns:
        Mean over all entries of ``-t * log(sigmoid(s)) - (1 - t) * log(1 - sigmoid(s))``, a tensor without axes. Value
        and gradient (by autograd, with respect to ``logits``) are finite for all logits, and the gradient is
        ``(sigmoid(s) - t)`` divided by the number of entries, also where a logit is exactly 0.
    """
    ### BEGIN SOLUTION
    return (torch.logaddexp(logits, torch.zeros_like(logits)) - targets * logits).mean()
    ### END SOLUTION


# %% check="a4/bce_with_logits"
check("a4/bce_with_logits", bce_with_logits)

# %% [markdown]
# What it saves: one logit in float32, with target 0, computed by way of the probability and by your function. The naive
# loss ends where $1 - \sigma(s)$ becomes 0; adding a small number inside the logarithm bends it into a constant, and
# the slope, which is what training sees, drops to 0 for the very images that are most wrong.

# %% tags=["demo"]
logits = torch.linspace(-10, 40, 1001)
naive = {
    "by way of the probability": lambda s: -(1 - s.sigmoid()).log(),
    "with 1e-6 in the logarithm": lambda s: -(1 - s.sigmoid() + 1e-6).log(),
    "yours": lambda s: torch.stack([bce_with_logits(each, torch.zeros(())) for each in s]),
}
figure, axes = plt.subplots(1, 2, figsize=(10, 3.1), layout="constrained")
for (name, loss), colour, width in zip(naive.items(), COLOURS, (5, 2.5, 1.5), strict=False):
    s = logits.clone().requires_grad_()
    value = loss(s)
    value.sum().backward()
    axes[0].plot(logits, value.detach(), color=colour, lw=width, label=name)
    axes[1].plot(logits, s.grad, color=colour, lw=width)
axes[0].set_ylabel("loss with target 0")
axes[1].set_ylabel("slope of the loss")
axes[0].legend(frameon=False, fontsize=9)
for axis in axes:
    axis.set_xlabel("logit")
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## 4. The losses of the two players
#
# **The discriminator** raises $V$, so its loss is $-V$, with a mean over the batch for each expectation. With $N_r$
# real images and $N_g$ generated ones (the two need not be equal in number),
#
# $$L_D = \frac{1}{N_r} \sum_{i=1}^{N_r} \ell \bigl( s(x_i), 1 \bigr)
# + \frac{1}{N_g} \sum_{j=1}^{N_g} \ell \bigl( s(G(z_j)), 0 \bigr) .$$
#
# Two means, added: the loss of a discriminator that only tosses a coin is $\log 2 + \log 2 = 1.386$.
#
# **The generator** could lower $V$, of which only the second part depends on it: minimise
# $\frac{1}{N_g} \sum_j \log (1 - D(G(z_j)))$. This is the *saturating* loss, for a reason that is question 1. What is
# used in practice is another loss, with the same aim: raise the probability that $D$ takes the image for real,
#
# $$L_G = - \frac{1}{N_g} \sum_{j=1}^{N_g} \log D(G(z_j)) = \frac{1}{N_g} \sum_{j=1}^{N_g} \ell \bigl( s(G(z_j)), 1 \bigr) .$$
#
# It is worth $\log 2 = 0.693$ when $D$ tosses a coin. Note that $L_G \ne -L_D$: the two no longer play for one and the
# same $V$.


# %% exercise="a4/discriminator_loss"
def discriminator_loss(logits_real, logits_fake):
    """Compute the loss of the discriminator.

    Args:
        logits_real: Logits of real images, shape (N_r, 1); may be as large as 10,000 in size.
        logits_fake: Logits of generated images, shape (N_g, 1).

    Returns:
        Mean cross-entropy of the real images with target 1 plus mean cross-entropy of the generated images with target
        0, a tensor without axes through which gradients pass.
    """
    ### BEGIN SOLUTION
    on_real = bce_with_logits(logits_real, torch.ones_like(logits_real))
    on_fake = bce_with_logits(logits_fake, torch.zeros_like(logits_fake))
    return on_real + on_fake
    ### END SOLUTION


# %% check="a4/discriminator_loss"
check("a4/discriminator_loss", discriminator_loss)


# %% exercise="a4/generator_loss"
def generator_loss(logits_fake):
    """Compute the (non-saturating) loss of the generator.

    Args:
        logits_fake: Logits of generated images, shape (N_g, 1); may be as large as 10,000 in size.

    Returns:
        Mean of ``-log(sigmoid(s))``, a tensor without axes through which gradients pass.
    """
    ### BEGIN SOLUTION
    return bce_with_logits(logits_fake, torch.ones_like(logits_fake))
    ### END SOLUTION


# %% check="a4/generator_loss"
check("a4/generator_loss", generator_loss)

# %% [markdown]
# The two losses of a generator for one generated image, against the logit that $D$ gives it. At the start of training
# all generated images are on the left: they are noise, and $D$ sees that.

# %% tags=["demo"]
logits = torch.linspace(-8, 8, 401)
curves = {
    "saturating, $\\log(1 - D)$": lambda s: functional.logsigmoid(-s),
    "non-saturating, $-\\log D$": lambda s: -functional.logsigmoid(s),
}
figure, axes = plt.subplots(1, 2, figsize=(10, 3.1), layout="constrained")
for (name, loss), colour in zip(curves.items(), COLOURS, strict=False):
    s = logits.clone().requires_grad_()
    value = loss(s)
    value.sum().backward()
    axes[0].plot(logits, value.detach(), color=colour, label=name)
    axes[1].plot(logits, s.grad, color=colour)
axes[0].set_ylabel("loss")
axes[1].set_ylabel("slope with respect to the logit")
axes[0].legend(frameon=False, fontsize=9)
for axis in axes:
    axis.axvline(0, color="grey", lw=0.8, ls="--")
    axis.set_xlabel("logit of a generated image")
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown] question="why_non_saturating" points=3
# **Question 1 (3 points).** (a) Give the slope of both losses of the generator with respect to a logit $s$, and their
# limits for $s \to -\infty$ and $s \to \infty$. (b) Early in training $D$ tells drawings from digits without effort.
# What happens to $G$ under the saturating loss, and why does training $D$ for longer first make it worse? (c) Do the
# two losses want different things of $G$? Compare the signs of their slopes, and say which drawings of a batch each of
# the two attends to.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Saturating: $\frac{d}{ds} \log(1 - \sigma(s)) = -\sigma(s)$, which goes to 0 for $s \to -\infty$
# and to $-1$ for $s \to \infty$. Non-saturating: $-\frac{d}{ds} \log \sigma(s) = -(1 - \sigma(s)) = -\sigma(-s)$, to
# $-1$ and to 0. (b) All drawings have logits far below 0, where the saturating slope is about $e^{s}$: by the chain
# rule every gradient of $G$ has this factor, so $G$ hardly moves. The longer $D$ is trained, the lower the logits of
# drawings and the smaller the factor: the better the judge, the less it teaches. (c) Both slopes are negative
# everywhere: both want every logit to rise, and with $D$ fixed the best they could hope for is the same. They weight
# the drawings differently: the saturating one attends to those that fool $D$ already, the non-saturating one to those
# that $D$ sees through.
#
# *Rubric.* 1 point: both slopes with limits. 1 point: vanishing factor through the chain rule, worse with a better D.
# 1 point: same direction, opposite weights on drawings.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. The smallest game
#
# Gradient descent on one loss goes downhill, and with small steps the loss falls. With two players no quantity has to
# fall. The smallest example: $f(x, y) = x \cdot y = \sum_d x_d y_d$ with $x$ and $y$ of shape $(D,)$. Player $x$ lowers
# $f$ and player $y$ raises it; nobody can improve at $x = y = 0$. The gradients are
# $\partial f / \partial x = y$ and $\partial f / \partial y = x$.
#
# **Both at once.** Each moves from the old point, $x' = x - \eta y$ and $y' = y + \eta x$. The distance from the
# solution changes to
#
# $$|x'|^2 + |y'|^2 = |x|^2 - 2 \eta \, x \cdot y + \eta^2 |y|^2 + |y|^2 + 2 \eta \, x \cdot y + \eta^2 |x|^2
# = (1 + \eta^2) \bigl( |x|^2 + |y|^2 \bigr) .$$
#
# The terms with $x \cdot y$ cancel, and what is left grows in *every* step, for every $\eta$ however small: a spiral
# outwards.
#
# **One after the other.** First $x' = x - \eta y$, and then $y$ answers the new $x$: $y' = y + \eta x'$. For one entry
# of $x$ and $y$ this is a linear map,
#
# $$\begin{pmatrix} x' \\ y' \end{pmatrix} = \begin{pmatrix} 1 & -\eta \\ \eta & 1 - \eta^2 \end{pmatrix}
# \begin{pmatrix} x \\ y \end{pmatrix}, \qquad \det = 1 - \eta^2 + \eta^2 = 1, \qquad \mathrm{trace} = 2 - \eta^2 .$$
#
# Two eigenvalues with product 1, and as long as $|2 - \eta^2| < 2$, that is $0 < \eta < 2$, they are complex, so both
# have size 1: nothing grows, nothing shrinks. There is even a quantity that stays exactly as it is,
#
# $$Q(x, y) = |x|^2 + |y|^2 - \eta \, x \cdot y .$$
#
# To see it, write $Q$ at the new point with $y' = y + \eta x'$, and then put $x' = x - \eta y$ in:
#
# $$Q(x', y') = |x'|^2 + |y|^2 + \eta \, x' \cdot y
# = |x|^2 - 2 \eta \, x \cdot y + \eta^2 |y|^2 + |y|^2 + \eta \, x \cdot y - \eta^2 |y|^2 = Q(x, y) .$$
#
# For $D = 1$ the curves of constant $Q$ are ellipses as long as $\eta < 2$: the players circle for ever. That is better
# than a spiral outwards, and it is why the training loop below lets the generator move *after* the discriminator. It
# is not convergence either.


# %% exercise="a4/alternating_gradient"
def alternating_gradient(x, y, lr, steps, alternate=True):
    """Let two players take gradient steps on the function x·y, which x lowers and y raises.

    Args:
        x: Where the first player starts, shape (D,), floating point. Not modified.
        y: Where the second player starts, shape (D,). Not modified.
        lr: Size of the steps; at least 0.
        steps: Number of steps, at least 0; in each of them both players move once.
        alternate: If true, x moves first and y answers the new x; otherwise both move from the old point.

    Returns:
        ``(xs, ys)``: the paths, each of shape (steps + 1, D) and the dtype of ``x``; entry 0 is the start and entry k
        the point after k steps.
    """
    ### BEGIN SOLUTION
    xs, ys = [x], [y]
    for _ in range(steps):
        new_x = x - lr * y
        y = y + lr * (new_x if alternate else x)
        x = new_x
        xs.append(x)
        ys.append(y)
    return torch.stack(xs), torch.stack(ys)
    ### END SOLUTION


# %% check="a4/alternating_gradient"
check("a4/alternating_gradient", alternating_gradient)

# %% [markdown]
# Your paths from the point $(1, 0)$. On the left both players move at once; in the middle one after the other, with the
# ellipses that $Q$ predicts as lines; on the right the distance from the solution, with the prediction
# $(1 + \eta^2)^{k/2}$ for step $k$ as dots.

# %% tags=["demo"]
one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
figure, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
turn = torch.linspace(0, 2 * math.pi, 400, dtype=torch.float64)
for lr, colour, count in zip((0.1, 0.4, 1.2), COLOURS, (60, 12, 3), strict=False):
    xs, ys = alternating_gradient(one, zero, lr, count, alternate=False)
    axes[0].plot(xs, ys, color=colour, marker=".", lw=0.8, ms=4, label=f"$\\eta$ = {lr}")
    xs, ys = alternating_gradient(one, zero, lr, 60)
    axes[1].plot(xs, ys, color=colour, marker=".", lw=0, ms=5)
    size = (1 - lr * turn.cos() * turn.sin()).rsqrt()  # Q is 1 on this curve
    axes[1].plot(size * turn.cos(), size * turn.sin(), color=colour, lw=0.8)
    kept = (xs**2 + ys**2 - lr * xs * ys).sum(1)
    print(f"step size {lr}: Q stays within {float((kept - kept[0]).abs().max()):.0e} of {float(kept[0]):g}")
    if lr < 1:
        for alternate, style in ((False, "--"), (True, "-")):
            xs, ys = alternating_gradient(one, zero, lr, 60, alternate)
            name = "one after the other" if alternate else "both at once"
            axes[2].plot((xs**2 + ys**2).sum(1).sqrt(), color=colour, ls=style, label=f"$\\eta$ = {lr}, {name}")
        axes[2].plot(range(0, 61, 3), (1 + lr**2) ** (torch.arange(0, 61, 3) / 2), color="black", marker=".", lw=0)
axes[0].set_title("both at once: outwards", fontsize=10)
axes[1].set_title("one after the other: round and round", fontsize=10)
axes[2].set_title("distance from the solution", fontsize=10)
axes[2].set_xlabel("step")
axes[2].set_ylim(0, 4.5)
axes[2].legend(frameon=False, fontsize=8, loc="upper right")
axes[0].legend(frameon=False, fontsize=9, loc="lower right")
for axis in axes[:2]:
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    axis.set_aspect("equal")
    axis.set_xlim(-2.7, 2.7)
    axis.set_ylim(-2.7, 2.7)
    axis.plot(0, 0, color="black", marker="+", ms=9)
for axis in axes:
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## 6. A fully-connected pair
#
# Pixels are scaled to $[-1, 1]$, ink is 1, and both nets are written with `torch.nn` from here on. In `nn.Linear`
# weights are (outputs, inputs), and every layer has a bias. With `hidden_dim` $H$:
#
# | discriminator | what comes out | | generator | what comes out |
# | --- | --- | --- | --- | --- |
# | flatten | $(N, 784)$ | | linear $Z \to H$, ReLU | $(N, H)$ |
# | linear $784 \to H$, leaky ReLU 0.01 | $(N, H)$ | | linear $H \to H$, ReLU | $(N, H)$ |
# | linear $H \to H$, leaky ReLU 0.01 | $(N, H)$ | | linear $H \to 784$, tanh | $(N, 784)$ |
# | linear $H \to 1$ | $(N, 1)$ | | reshape | $(N, 1, 28, 28)$ |
#
# The **leaky ReLU** is $s$ for $s > 0$ and $0.01 \, s$ otherwise: all that $G$ learns comes to it through $D$, and
# where a ReLU of $D$ is shut nothing comes through. The **tanh** keeps pixels in range. The discriminator has no
# sigmoid at its end, because the losses take logits.
#
# Counting is a good habit. With $H = 256$ the discriminator has
# $784 \cdot 256 + 256 + 256 \cdot 256 + 256 + 256 + 1 = 267{,}009$ parameters.


# %% exercise="a4/discriminator"
def discriminator(hidden_dim=256):
    """Build the fully-connected discriminator.

    Args:
        hidden_dim: Size of both hidden layers, H.

    Returns:
        ``torch.nn.Module`` that takes images of shape (N, 1, 28, 28) to logits of shape (N, 1): flatten, then linear
        layers 784-H-H-1 with biases and a leaky ReLU of slope 0.01 after each of the first two. Its ``parameters()``
        come in the order of the layers, as in ``nn.Sequential``.
    """
    ### BEGIN SOLUTION
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, hidden_dim),
        nn.LeakyReLU(0.01),
        nn.Linear(hidden_dim, hidden_dim),
        nn.LeakyReLU(0.01),
        nn.Linear(hidden_dim, 1),
    )
    ### END SOLUTION


# %% check="a4/discriminator"
check("a4/discriminator", discriminator)

# %% [markdown]
# The generator ends with a layer that gives flat images their axes: `nn.Unflatten(1, (1, 28, 28))`. Before you run the
# check, work out how many parameters it has with $Z = 96$ and $H = 1024$.


# %% exercise="a4/generator"
def generator(noise_dim=96, hidden_dim=1024):
    """Build the fully-connected generator.

    Args:
        noise_dim: Entries of a noise vector, Z.
        hidden_dim: Size of both hidden layers, H.

    Returns:
        ``torch.nn.Module`` that takes noise of shape (N, Z) to images of shape (N, 1, 28, 28): linear layers Z-H-H-784
        with biases, ReLU after each of the first two, and tanh after the last. Its ``parameters()`` come in the order
        of the layers.
    """
    ### BEGIN SOLUTION
    return nn.Sequential(
        nn.Linear(noise_dim, hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, 784),
        nn.Tanh(),
        nn.Unflatten(1, (1, 28, 28)),
    )
    ### END SOLUTION


# %% check="a4/generator"
check("a4/generator", generator)

# %% [markdown]
# ### The training loop
#
# One step, of which each line has its reason:
#
# 1. Draw a batch of real images and as many noise vectors; make drawings $G(z)$.
# 2. $D$ moves, on `discriminator_loss`. The drawings are *detached*: autograd takes them for plain numbers, so that no
#    work is spent on gradients of $G$ that nobody would use.
# 3. $G$ moves, on `generator_loss` of the new $D$ (one after the other, section 5). Here gradients do pass through $D$
#    into $G$. They also leave gradients in $D$'s own parameters, which are thrown away before $D$'s next step.
#
# Adam is used with $\beta_1 = 0.5$ instead of 0.9: the opponent changes all the time, and a gradient that is ten steps
# old is about a game that is over.

# %% tags=["demo"]
SIZE = 2000 if is_fast() else 10_000


def load_digit_images():
    """Return images (N, 1, 28, 28) in [0, 1] with labels, and one line that says what they are."""
    for split, name in (("train", "training"), ("test", "test")):
        try:
            images, labels = load_mnist(split, SIZE)
        except MissingDataError:
            continue
        return images, labels, f"MNIST: {len(images):,} of the {name} images."
    images, labels = load_digits()
    images = functional.interpolate(images, size=24, mode="bicubic", align_corners=False)
    note = f"8x8 digits, {len(images):,} of them, enlarged, in place of MNIST; ./data_download.sh mnist fetches that."
    return functional.pad((2 * images - 0.5).clamp(0, 1), (2, 2, 2, 2)), labels, note  # more contrast, and a margin


images, labels, note = load_digit_images()
print(note)


def tile(images, columns):
    """Lay images (N, 1, 28, 28) out as one picture, ``columns`` in a row."""
    return images.reshape(-1, columns, 28, 28).transpose(1, 2).reshape(-1, 28 * columns)


def show_sheet(axis, images, columns, title=None):
    axis.imshow(tile(images, columns), cmap="gray", vmin=float(images.min()), vmax=float(images.max()))
    axis.axis("off")
    if title:
        axis.set_title(title, fontsize=10)


figure, axis = plt.subplots(figsize=(9.6, 1.3), layout="constrained")
show_sheet(axis, images[:32], 16)
plt.show()


# %% tags=["demo"]
def draw(G, noise):
    """Return the drawings of a generator as it is used, with running statistics if it is normalised."""
    G.eval()
    with torch.no_grad():
        drawings = G(noise)
    G.train()
    return drawings


def train_gan(D, G, d_loss, g_loss, images, steps, *, lr, boundary=0.0, batch_size=100, name="GAN"):
    """Train two nets against each other.

    Returns:
        Dict with the losses of D and of G and the share of images that D got right, step by step, and with
        snapshots: pairs of a step and the drawings for always the same noise.
    """
    source = torch.Generator().manual_seed(1)
    same_noise = sample_noise(16, 96, source)
    moments = {round(steps * share) for share in (0.03, 0.1, 0.2, 0.4, 0.7, 1)}
    d_rule, g_rule = (torch.optim.Adam(net.parameters(), lr=lr, betas=(0.5, 0.999), fused=True) for net in (D, G))
    history = {"D": [], "G": [], "right": [], "snapshots": []}
    for step in tqdm(range(1, steps + 1), desc=name):
        real = 2 * images[torch.randint(len(images), (batch_size,), generator=source)] - 1
        fake = G(sample_noise(batch_size, 96, source))
        on_real, on_fake = D(real), D(fake.detach())
        loss_d = d_loss(on_real, on_fake)
        d_rule.zero_grad()
        loss_d.backward()
        d_rule.step()
        loss_g = g_loss(D(fake))
        g_rule.zero_grad()
        loss_g.backward()
        g_rule.step()
        right = (on_real > boundary).float().mean() + (on_fake < boundary).float().mean()
        for key, value in (("D", loss_d), ("G", loss_g), ("right", right / 2)):
            history[key].append(float(value.detach()))
        if step in moments:
            history["snapshots"].append((step, draw(G, same_noise)))
    return history


def show_history(history, d_rest, g_rest, title):
    """Plot the drawings over training, and losses and accuracy of D, averaged over some steps around each."""
    snapshots = history["snapshots"]
    _, axis = plt.subplots(figsize=(9.6, 0.58 * len(snapshots)), layout="constrained")
    show_sheet(axis, torch.cat([drawings for _, drawings in snapshots]), 16)
    for row, (step, _) in enumerate(snapshots):
        axis.text(-8, 28 * row + 14, f"step {step}", ha="right", va="center", fontsize=9)
    axis.set_title(title, fontsize=10)
    plt.show()
    _, axes = plt.subplots(1, 2, figsize=(9.6, 2.7), layout="constrained")
    width = max(1, len(history["D"]) // 30)
    for name, rest, colour in (("D", d_rest, COLOURS[0]), ("G", g_rest, COLOURS[1])):
        values = torch.tensor(history[name]).unfold(0, width, 1).mean(1)
        axes[0].plot(torch.arange(len(values)) + width / 2, values, color=colour, label=f"loss of {name}")
        axes[0].axhline(rest, color=colour, lw=1, ls="--")
    axes[0].set_ylim(0, 1.05 * max(values.max(), 1.7 * d_rest))
    axes[0].legend(frameon=False, fontsize=9)
    axes[0].set_title("losses; dashed: if D tosses a coin", fontsize=10)
    values = torch.tensor(history["right"]).unfold(0, width, 1).mean(1)
    axes[1].plot(torch.arange(len(values)) + width / 2, values, color=COLOURS[2])
    axes[1].axhline(0.5, color="grey", lw=1, ls="--")
    axes[1].set_ylim(0.4, 1.02)
    axes[1].set_title("share of images that D gets right", fontsize=10)
    for axis in axes:
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    plt.show()


# %% [markdown]
# **What to expect.** Grey noise first. Then a blot that is the same in every column, whatever the noise: the mean of
# all digits is the first thing that $D$ asks for. In the following few hundred steps the columns part, strokes appear,
# and at the end there are digits made of specks: each pixel of this generator is decided by itself. Columns keep
# changing what they show until the end; the game does not settle.
#
# Look at the curves as well. At first $D$ may be no better than a coin, or worse. Later its loss stays *below*
# $2 \log 2$ (dashed) and that of $G$ above $\log 2$: $D$ keeps an edge. And then both are level while the drawings go
# on getting better, so a loss tells little of the quality of drawings. Measured over the last tenth of the training,
# one run each: losses 1.21 and 1.10 on MNIST (its 10,000 test images), with 68 % of the images told apart; 1.07 and
# 1.54 on the enlarged digits, with 74 %. (Learning rates and numbers of steps, here and below, were chosen by looking at
# drawings of these same images. There is no test set for taste.)

# %% tags=["demo"]
torch.manual_seed(0)
vanilla_g = generator()
steps = 20 if is_fast() else 800
history = train_gan(
    discriminator(), vanilla_g, discriminator_loss, generator_loss, images, steps, lr=1e-3, name="fully-connected"
)
show_history(history, 2 * math.log(2), math.log(2), "fully-connected: the same noise in every row")
recent = slice(-max(1, steps // 10), None)
print({name: round(sum(history[name][recent]) / len(history[name][recent]), 3) for name in ("D", "G", "right")})

# %% [markdown] question="loss_at_the_optimum" points=3
# **Question 2 (3 points).** Losses of GANs do not fall, so they have to be read in another way. (a) Suppose that $D$ is
# the best there is for the present $G$, and its loss is 1.24. How large is $\mathrm{JS}(p_r, p_g)$? Which loss would it
# have if real and generated images nowhere overlapped, and which if $G$ were perfect? (b) In the first step of a fresh
# pair of nets the loss of $D$ is also close to $2 \log 2$. Why is that no sign of success, and what would you do to tell
# the two apart? (c) In one run the loss of $D$ falls to 0.01 and the loss of $G$ climbs to 9. In another both stay near
# their coin-tossing values from beginning to end, while all drawings are grey. Which player is too weak in each, and
# what would you try?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $L_D = -V = 2 \log 2 - 2\,\mathrm{JS}$, so $\mathrm{JS} = (1.386 - 1.24) / 2 = 0.073$. Without
# overlap JS is $\log 2$ and the loss 0; with $p_g = p_r$ it is $2 \log 2 = 1.386$. (b) The formula holds for the *best*
# $D$ only. A fresh $D$ gives logits near 0 whatever it sees, so it is at $2 \log 2$ because it knows nothing, not
# because there is nothing to know. Freeze $G$ and train $D$ (or a new one) for a while: if the loss falls, the two kinds
# of image could be told apart. (Looking at drawings does as well.) (c) First run: $D$ wins, $G$ is too weak or learns
# too slowly; lower the learning rate of $D$ or make it smaller, make $G$ larger or faster, blunt $D$'s targets
# (0.9 instead of 1). Second run: $D$ is too weak to notice that drawings are grey; a larger $D$, a higher learning rate
# for it, more steps of $D$ per step of $G$, or a bug such as gradients that are cut off.
#
# *Rubric.* 1 point: 0.073 with 0 and 1.386. 1 point: only for the best D, and a test such as training D with G frozen.
# 1 point: both diagnoses with a sensible remedy each.
# ### END MARK SCHEME

# %% [markdown]
# ## 7. Least squares
#
# The logarithms can be replaced. In a *least-squares* GAN the discriminator gives scores $s$, not logits, and is asked
# for 1 on real images and 0 on generated ones, by squared error; the generator would like its images to score 1:
#
# $$L_D = \frac12 \cdot \frac{1}{N_r} \sum_{i=1}^{N_r} \bigl( s(x_i) - 1 \bigr)^2
# + \frac12 \cdot \frac{1}{N_g} \sum_{j=1}^{N_g} s(G(z_j))^2, \qquad
# L_G = \frac12 \cdot \frac{1}{N_g} \sum_{j=1}^{N_g} \bigl( s(G(z_j)) - 1 \bigr)^2 .$$
#
# No sigmoid anywhere: the nets are the same as before. The best score follows as in section 1:
# $\frac12 p_r (s - 1)^2 + \frac12 p_g s^2$ is smallest where $p_r (s - 1) + p_g s = 0$, at
# $s^*(x) = p_r(x) / (p_r(x) + p_g(x))$, again the probability of being real. When $p_g = p_r$ all scores are
# $\frac12$, with $L_D = \frac18 + \frac18 = 0.25$ and $L_G = 0.125$.
#
# What is gained: the slope of $L_G$ is proportional to the distance from 1. A drawing far on the wrong side is pulled
# harder, not with force 1 at most, and one that scores 3 is pulled back as well: it is too far from where real images
# are.


# %% exercise="a4/ls_discriminator_loss"
def ls_discriminator_loss(scores_real, scores_fake):
    """Compute the least-squares loss of the discriminator.

    Args:
        scores_real: Scores of real images, shape (N_r, 1).
        scores_fake: Scores of generated images, shape (N_g, 1).

    Returns:
        Half the mean of ``(s - 1) ** 2`` over real images plus half the mean of ``s ** 2`` over generated ones, a
        tensor without axes through which gradients pass.
    """
    ### BEGIN SOLUTION
    return 0.5 * ((scores_real - 1) ** 2).mean() + 0.5 * (scores_fake**2).mean()
    ### END SOLUTION


# %% check="a4/ls_discriminator_loss"
check("a4/ls_discriminator_loss", ls_discriminator_loss)


# %% exercise="a4/ls_generator_loss"
def ls_generator_loss(scores_fake):
    """Compute the least-squares loss of the generator.

    Args:
        scores_fake: Scores of generated images, shape (N_g, 1).

    Returns:
        Half the mean of ``(s - 1) ** 2``, a tensor without axes through which gradients pass.
    """
    ### BEGIN SOLUTION
    return 0.5 * ((scores_fake - 1) ** 2).mean()
    ### END SOLUTION


# %% check="a4/ls_generator_loss"
check("a4/ls_generator_loss", ls_generator_loss)

# %% [markdown]
# **What to expect.** The same story as before. The scale of the losses is another one, and $D$ counts an image as real
# if its score is above $\frac12$. Measured over the last tenth of the training: losses 0.17 and 0.35 on MNIST, with 79 %
# of the images told apart; 0.14 and 0.35 on the enlarged digits, with 82 %.

# %% tags=["demo"]
torch.manual_seed(0)
ls_g = generator()
steps = 20 if is_fast() else 800
history = train_gan(
    discriminator(),
    ls_g,
    ls_discriminator_loss,
    ls_generator_loss,
    images,
    steps,
    lr=1e-3,
    boundary=0.5,
    name="least squares",
)
show_history(history, 0.25, 0.125, "least squares: the same noise in every row")
recent = slice(-max(1, steps // 10), None)
print({name: round(sum(history[name][recent]) / len(history[name][recent]), 3) for name in ("D", "G", "right")})

# %% [markdown]
# ## 8. Convolutions
#
# To a fully-connected net the pixels could be in any order, and it has to learn for each of them by itself that
# neighbours go together: hence the specks. Convolutions know. With $C$ `channels`, and all kernels 4×4, stride 2,
# padding 1:
#
# | discriminator | what comes out | | generator | what comes out |
# | --- | --- | --- | --- | --- |
# | convolution $1 \to C$ | $(N, C, 14, 14)$ | | linear $Z \to 98\, C$ | $(N, 98\, C)$ |
# | leaky ReLU 0.2 | | | unflatten | $(N, 2C, 7, 7)$ |
# | convolution $C \to 2C$ | $(N, 2C, 7, 7)$ | | batch normalisation, ReLU | |
# | batch normalisation, leaky ReLU 0.2 | | | transposed convolution $2C \to C$ | $(N, C, 14, 14)$ |
# | flatten | $(N, 98\, C)$ | | batch normalisation, ReLU | |
# | linear $98\, C \to 1$ | $(N, 1)$ | | transposed convolution $C \to 1$, tanh | $(N, 1, 28, 28)$ |
#
# Every convolution and linear layer has its bias, as is torch's default. Batch normalisation is `nn.BatchNorm2d`, one
# scale and shift per channel, also with torch's defaults; it keeps the two nets from running away from each other, and
# is left out where a net touches images.
#
# **Sizes.** A convolution takes $n$ pixels to $\lfloor (n + 2p - k) / \text{stride} \rfloor + 1$, with padding $p$ and
# kernel $k$; here $28 \to 14 \to 7$. A *transposed* convolution goes the other way: each input pixel lays down a copy
# of the kernel, scaled by its value, the copies `stride` apart; where they overlap they are added, and $p$ pixels are
# cut off on each side:
#
# $$n' = (n - 1) \cdot \text{stride} - 2p + k .$$
#
# With $k = 4$, stride 2 and $p = 1$ this is exactly $2n$. With $k = 3$ it is $2n - 1$, and torch has to be asked for a
# row and a column more (`output_padding=1`). There is a second reason for the even kernel: 4 is a multiple of the
# stride 2, so that every output pixel is reached by equally many copies (borders aside). With 3 they are reached by
# one or by two along each axis, in turn, and drawings come out in a checkerboard. `nn.ConvTranspose2d` has its weights
# as (channels in, channels out, k, k).


# %% exercise="a4/dc_discriminator"
def dc_discriminator(channels=16):
    """Build the convolutional discriminator.

    Args:
        channels: Channels after the first convolution, C.

    Returns:
        ``torch.nn.Module``, in training mode, that takes images of shape (N, 1, 28, 28) to logits of shape (N, 1):
        convolution 1 to C, leaky ReLU 0.2; convolution C to 2C, batch normalisation, leaky ReLU 0.2; flatten; linear
        98C to 1. Convolutions are 4×4 with stride 2 and padding 1; all layers have biases. Its ``parameters()`` come in
        the order of the layers. In eval mode it uses the running statistics of ``nn.BatchNorm2d``.
    """
    ### BEGIN SOLUTION
    return nn.Sequential(
        nn.Conv2d(1, channels, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(2 * channels),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(98 * channels, 1),
    )
    ### END SOLUTION


# %% check="a4/dc_discriminator"
check("a4/dc_discriminator", dc_discriminator)


# %% exercise="a4/dc_generator"
def dc_generator(noise_dim=96, channels=16):
    """Build the convolutional generator.

    Args:
        noise_dim: Entries of a noise vector, Z.
        channels: Channels before the last layer, C.

    Returns:
        ``torch.nn.Module``, in training mode, that takes noise of shape (N, Z) to images of shape (N, 1, 28, 28):
        linear Z to 98C, unflattened to (2C, 7, 7), batch normalisation, ReLU; transposed convolution 2C to C, batch
        normalisation, ReLU; transposed convolution C to 1, tanh. Transposed convolutions are 4×4 with stride 2 and
        padding 1; all layers have biases; normalisation is ``nn.BatchNorm2d``. Its ``parameters()`` come in the order
        of the layers.
    """
    ### BEGIN SOLUTION
    return nn.Sequential(
        nn.Linear(noise_dim, 98 * channels),
        nn.Unflatten(1, (2 * channels, 7, 7)),
        nn.BatchNorm2d(2 * channels),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    ### END SOLUTION


# %% check="a4/dc_generator"
check("a4/dc_generator", dc_generator)

# %% [markdown]
# **What to expect.** With a twelfth of the parameters of the fully-connected generator, and a twenty-sixth of those of
# the discriminator, strokes come out of the first hundred steps already, and the drawings have smooth edges: neighbouring
# pixels are painted by the same kernels. Some look like no digit at all; that gets better for thousands of steps more.
# Real and generated images go through $D$ as two batches, so each is normalised by its own mean and variance.
# Measured over the last tenth of the training: losses 0.90 and 1.47 on MNIST, with 79 % of the images told apart; 0.86
# and 1.68 on the enlarged digits, with 82 %. $D$ is ahead by more than in the fully-connected pair, and still the
# drawings are better: how far $D$ is ahead says as much of $D$ as of $G$.

# %% tags=["demo"]
torch.manual_seed(0)
dc_d, dc_g = dc_discriminator(), dc_generator()
for name, one_net, other in (("discriminator", discriminator(), dc_d), ("generator", vanilla_g, dc_g)):
    counts = [sum(parameter.numel() for parameter in net.parameters()) for net in (one_net, other)]
    print(f"parameters of the {name}: {counts[0]:,} fully-connected, {counts[1]:,} convolutional")
steps = 20 if is_fast() else 700
history = train_gan(dc_d, dc_g, discriminator_loss, generator_loss, images, steps, lr=2e-3, name="convolutional")
show_history(history, 2 * math.log(2), math.log(2), "convolutional: the same noise in every row")
recent = slice(-max(1, steps // 10), None)
print({name: round(sum(history[name][recent]) / len(history[name][recent]), 3) for name in ("D", "G", "right")})

# %% [markdown]
# Two things to look at before believing in a generator. **Has it learned drawings by heart?** Under each drawing below
# stands the training image nearest to it, by squared distance of pixels: they should be relatives, not twins. And **is
# there a path between two drawings?** Noise is mixed from one vector to another, in equal steps; digits should turn
# into each other through shapes that could be digits, with no image laid over another.

# %% tags=["demo"]
source = torch.Generator().manual_seed(5)
drawings = draw(dc_g, sample_noise(16, 96, source))
distances = torch.cdist((drawings.flatten(1) + 1) / 2, images.flatten(1))
nearest = images[distances.argmin(1)]
ends = sample_noise(4, 96, source)
weights = torch.linspace(0, 1, 16)[:, None]
paths = draw(dc_g, torch.cat([(1 - weights) * a + weights * b for a, b in (ends[:2], ends[2:])]))
figure, axes = plt.subplots(2, 1, figsize=(9.6, 3.1), layout="constrained")
show_sheet(axes[0], torch.cat([(drawings + 1) / 2, nearest]), 16, "drawings, and the nearest training images below")
show_sheet(axes[1], paths, 16, "from noise to noise in fifteen steps, twice")
plt.show()

# %% [markdown]
# ## 9. A second way: codes
#
# A GAN says nothing about a *given* image: it has no idea which noise would draw it. An **autoencoder** starts there.
# Its encoder squeezes an image into a code $z$ of $Z$ numbers, and its decoder draws the image again. But random codes
# give nonsense: the decoder has only ever seen the codes of training images, and who knows where they lie. The
# *variational* autoencoder makes two changes.
#
# - The encoder returns not a point but a normal distribution for each image, with means $\mu$ and variances $\sigma^2$,
#   both of shape $(N, Z)$, and the decoder gets a random draw from it. So codes *near* that of an image have to give the
#   image as well.
# - The distribution is held near the standard normal one, $p(z)$ with mean 0 and variance 1. So random codes from
#   $p(z)$ land where the decoder knows its way.
#
# **Where the loss comes from.** Let the decoder give a probability $p(x \mid z)$. The probability of an image under the
# whole model is $p(x) = \mathbb{E}_{z \sim p(z)} [p(x \mid z)]$, and training should make it large for training images.
# Almost all $z$ contribute nothing to that mean, so draw from the encoder's $q(z \mid x)$ instead and correct for it.
# The logarithm of a mean is at least the mean of the logarithm (it curves downwards), hence
#
# $$\log p(x) = \log \mathbb{E}_{z \sim q} \Bigl[ \frac{p(x \mid z) \, p(z)}{q(z \mid x)} \Bigr]
# \;\ge\; \underbrace{\mathbb{E}_{z \sim q} \bigl[ \log p(x \mid z) \bigr]}_{\text{how well the code draws the image}}
# - \underbrace{\mathbb{E}_{z \sim q} \Bigl[ \log \frac{q(z \mid x)}{p(z)} \Bigr]}_{\mathrm{KL}(q(z \mid x) \,\|\, p(z))} .$$
#
# The right side is the *evidence lower bound*; its negative is the loss.
#
# ### The divergence
#
# Entries of a code are independent, so the logarithms add up. For one entry with mean $\mu$ and variance $\sigma^2$,
# $\mathbb{E}_q [(z - \mu)^2] = \sigma^2$ and $\mathbb{E}_q [z^2] = \mu^2 + \sigma^2$, so
#
# $$\mathbb{E}_q [\log q(z)] = -\tfrac12 \bigl( \log 2\pi + \log \sigma^2 + 1 \bigr), \qquad
# \mathbb{E}_q [\log p(z)] = -\tfrac12 \bigl( \log 2\pi + \mu^2 + \sigma^2 \bigr) ,$$
#
# and for the code of image $i$, the difference of the two added up over the entries:
#
# $$\mathrm{KL}_i = \frac12 \sum_{k=1}^{Z} \bigl( \mu_{ik}^2 + \sigma_{ik}^2 - 1 - \log \sigma_{ik}^2 \bigr) .$$
#
# It is 0 for $\mu = 0$ and $\sigma^2 = 1$, and positive otherwise. The encoder returns $\log \sigma^2$, called `logvar`,
# because a net may return any number and a variance must be positive.


# %% exercise="a4/kl_divergence"
def kl_divergence(mu, logvar):
    """Compute the divergence of normal distributions from the standard normal one.

    Args:
        mu: Means, shape (N, Z), floating point. Not modified.
        logvar: Logarithms of the variances, shape (N, Z), from -100 to 100.

    Returns:
        KL(q || p) of each row, shape (N,), where q is normal with independent entries of mean ``mu`` and variance
        ``exp(logvar)``, and p is normal with mean 0 and variance 1.
    """
    ### BEGIN SOLUTION
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1)
    ### END SOLUTION


# %% check="a4/kl_divergence"
check("a4/kl_divergence", kl_divergence)

# %% [markdown]
# ### Gradients through a random draw
#
# The decoder is fed a draw $z \sim q(z \mid x)$, and the loss should tell the encoder how to change $\mu$ and
# $\sigma$. But what is the derivative of a draw? If the sampler hands over a number, there is none. So draw something
# that depends on nothing, and *compute* the code from it:
#
# $$z = \mu + \sigma \, \varepsilon, \qquad \varepsilon \sim \text{standard normal, shape } (N, Z), \qquad
# \sigma = e^{\frac12 \log \sigma^2} .$$
#
# This $z$ has mean $\mu$ and variance $\sigma^2$, and for the $\varepsilon$ that happened to be drawn it is a plain
# function: $\partial z / \partial \mu = 1$ and $\partial z / \partial \log \sigma^2 = \frac12 \sigma \varepsilon$.


# %% exercise="a4/reparametrize"
def reparametrize(mu, logvar, generator=None):
    """Draw codes so that gradients pass to mean and variance.

    Args:
        mu: Means, shape (N, Z), floating point. Not modified.
        logvar: Logarithms of the variances, shape (N, Z).
        generator: ``torch.Generator`` on the device of ``mu``, the only source of randomness; None takes torch's own.

    Returns:
        Codes of the shape, dtype and device of ``mu``: normal with mean ``mu`` and variance ``exp(logvar)``, each entry
        drawn by itself, and computed from ``mu`` and ``logvar`` so that autograd finds its way to both.
    """
    ### BEGIN SOLUTION
    noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + (0.5 * logvar).exp() * noise
    ### END SOLUTION


# %% check="a4/reparametrize"
check("a4/reparametrize", reparametrize)

# %% [markdown]
# Two functions, one test of both: the divergence is a mean over draws of $\log q(z) - \log p(z)$, and your `reparametrize`
# can make the draws. The mean should close in on the number that your `kl_divergence` gives, within the grey band of
# three standard errors.

# %% tags=["demo"]
mu, logvar = torch.tensor([[1.0, -0.5, 0.0]]), torch.tensor([[-1.0, 0.5, 0.0]])
count = 20_000
z = reparametrize(mu.expand(count, 3), logvar.expand(count, 3), torch.Generator().manual_seed(0))
log_q = -0.5 * ((z - mu) ** 2 / logvar.exp() + logvar).sum(1)  # both without the term with 2π, which cancels
terms = log_q + 0.5 * (z**2).sum(1)
draws = torch.arange(1, count + 1)
exact = float(kl_divergence(mu, logvar))
band = 3 * terms.std() / draws.sqrt()
figure, axis = plt.subplots(figsize=(7, 2.7), layout="constrained")
axis.fill_between(draws, exact - band, exact + band, color="lightgrey")
axis.axhline(exact, color="black", lw=1, ls="--", label=f"kl_divergence: {exact:.3f}")
axis.plot(draws, terms.cumsum(0) / draws, color=COLOURS[0], label="mean over draws")
axis.set_xscale("log")
axis.set_xlim(10, count)
axis.set_ylim(exact - 1, exact + 1)
axis.set_xlabel("number of draws")
axis.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# ### The loss
#
# A pixel is taken for a coin that shows ink with probability $\sigma(s)$, where $s$ is the logit that the decoder gives
# it; then $-\log p(x \mid z)$ is the cross-entropy of section 3, *added up* over the pixels of the image, since
# independent probabilities multiply. (Grey pixels, between 0 and 1, are not the outcome of a coin; using them as targets
# is a common and harmless abuse.) With $P$ pixels per image, one draw of the code for each, and a weight $\beta$ that is
# 1 in the bound above,
#
# $$L = \frac1N \sum_{i=1}^{N} \Bigl( \sum_{p=1}^{P} \ell(s_{ip}, x_{ip}) + \beta \, \mathrm{KL}_i \Bigr) .$$
#
# Added up over pixels, averaged over images: with a mean over the pixels the first part would be 784 times smaller and
# the divergence would win.


# %% exercise="a4/vae_loss"
def vae_loss(logits, x, mu, logvar, beta=1.0):
    """Compute the loss of a variational autoencoder.

    Args:
        logits: What the decoder gives, shape (N, C, H, W), floating point.
        x: The images, the same shape, in [0, 1].
        mu: Means of the codes, shape (N, Z).
        logvar: Logarithms of their variances, shape (N, Z).
        beta: Weight of the divergence, at least 0.

    Returns:
        Mean over the N images of the binary cross-entropy added up over all C·H·W entries of an image plus ``beta``
        times the divergence of its code; a tensor without axes through which gradients pass.
    """
    ### BEGIN SOLUTION
    reconstruction = bce_with_logits(logits, x) * x[0].numel()
    return reconstruction + beta * kl_divergence(mu, logvar).mean()
    ### END SOLUTION


# %% check="a4/vae_loss"
check("a4/vae_loss", vae_loss)

# %% [markdown]
# The nets are fully-connected, with one hidden layer of 256 units each; what the last layer of the encoder returns is cut
# in two halves, $\mu$ and $\log \sigma^2$. No opponent, one loss, and it falls.
#
# **What to expect.** Measured per image: 91.5 for the pixels and 21.5 for the code on MNIST, 95.6 and 20.1 on the enlarged
# digits. Images come back from their codes a little blurred: one code has to do for many images, and of what it cannot tell, the decoder draws the mean. Random codes give digits, and shapes between digits, softer than the
# drawings of the GANs and without specks.


# %% tags=["demo"]
def vae_nets(code_dim, hidden_dim=256):
    """Build an encoder, images to means and logarithms of variances side by side, and a decoder, codes to logits."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 2 * code_dim))
    decoder = nn.Sequential(
        nn.Linear(code_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 784), nn.Unflatten(1, (1, 28, 28))
    )
    return encoder, decoder


def train_vae(code_dim, beta, steps, batch_size=100, name="VAE"):
    """Train a VAE; return encoder, decoder and the two parts of the loss, per image, at the end."""
    torch.manual_seed(0)
    source = torch.Generator().manual_seed(1)
    encoder, decoder = vae_nets(code_dim)
    rule = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3, fused=True)
    for _ in tqdm(range(steps), desc=name):
        x = images[torch.randint(len(images), (batch_size,), generator=source)]
        mu, logvar = encoder(x).chunk(2, dim=1)
        loss = vae_loss(decoder(reparametrize(mu, logvar, source)), x, mu, logvar, beta)
        rule.zero_grad()
        loss.backward()
        rule.step()
    with torch.no_grad():
        x = images[:1000]
        mu, logvar = encoder(x).chunk(2, dim=1)
        logits = decoder(reparametrize(mu, logvar, source))
        drawing, divergence = vae_loss(logits, x, mu, logvar, 0.0), kl_divergence(mu, logvar).mean()
    return encoder, decoder, float(drawing), float(divergence)


encoder, decoder, drawing, divergence = train_vae(16, 1.0, 40 if is_fast() else 1200)
print(f"per image: {drawing:.1f} for the pixels, {divergence:.1f} for the code, {drawing + divergence:.1f} in all")

with torch.no_grad():
    mu, _ = encoder(images[:16]).chunk(2, dim=1)
    again = decoder(mu).sigmoid()
    samples = decoder(torch.randn(48, 16, generator=torch.Generator().manual_seed(2))).sigmoid()
figure, axes = plt.subplots(2, 1, figsize=(9.6, 3.7), layout="constrained", height_ratios=[2, 3])
show_sheet(axes[0], torch.cat([images[:16], again]), 16, "images, and what the decoder makes of their codes")
show_sheet(axes[1], samples, 16, "random codes")
plt.show()

# %% [markdown]
# **From one digit to another.** Codes of two images are mixed in equal steps, and every mixture is decoded. Below each
# path, for comparison, the same mixtures of the *pixels*: one image fades while the other appears, and in between lie
# pictures of nothing.

# %% tags=["demo"]
pairs = [(1, 7), (3, 8), (0, 5)]
rows = []
weights = torch.linspace(0, 1, 16)[:, None]
for one_digit, other_digit in pairs:
    ends = torch.stack([images[labels == digit][3] for digit in (one_digit, other_digit)])
    with torch.no_grad():
        mu, _ = encoder(ends).chunk(2, dim=1)
        rows.append(decoder((1 - weights) * mu[0] + weights * mu[1]).sigmoid())
    rows.append((1 - weights[:, :, None, None]) * ends[0] + weights[:, :, None, None] * ends[1])
figure, axis = plt.subplots(figsize=(9.6, 3.7), layout="constrained")
show_sheet(axis, torch.cat(rows), 16, "mixtures of codes, and below each row mixtures of pixels")
plt.show()

# %% [markdown]
# ### The weight of the divergence
#
# With codes of two numbers everything can be seen. Above: a draw from the codes of 1,000 images, coloured by digit, with
# a circle of radius 2, where most of $p(z)$ lies. Below: what the decoder draws for a grid of codes from $-2$ to 2. From
# left to right the divergence counts for nothing, for as much as the bound says, and for twenty times as much.
#
# **What to expect.** Without the divergence codes wander far off, and what lies inside the circle is but a corner of the
# map. With $\beta = 1$ the digits share the circle out among themselves, and the pixels cost next to nothing more (161
# instead of 162 on MNIST, 160 instead of 159 on the enlarged digits). With $\beta = 20$ the pixels cost 194 on both, the
# codes of different digits lie on top of each other, and the grid fades into blurs.

# %% tags=["demo"]
figure, axes = plt.subplots(2, 3, figsize=(9.6, 6.7), layout="constrained", height_ratios=[1, 1.05])
for column, beta in enumerate((0.0, 1.0, 20.0)):
    enc, dec, drawing, divergence = train_vae(2, beta, 30 if is_fast() else 700, name=f"beta {beta:g}")
    with torch.no_grad():
        mu, logvar = enc(images[:1000]).chunk(2, dim=1)
        codes = reparametrize(mu, logvar, torch.Generator().manual_seed(3))
        across = torch.linspace(-2, 2, 12)
        grid = torch.stack([across.repeat(12), -across.repeat_interleave(12)], dim=1)
        drawings = dec(grid).sigmoid()
    for digit in range(10):
        mine = codes[labels[:1000] == digit]
        axes[0, column].scatter(mine[:, 0], mine[:, 1], s=5, color=plt.cm.tab10(digit), label=str(digit))
    axes[0, column].add_patch(plt.Circle((0, 0), 2, fill=False, color="black", lw=1))
    axes[0, column].set_aspect("equal", adjustable="datalim")
    axes[0, column].set_title(f"beta {beta:g}: pixels {drawing:.0f}, code {divergence:.1f}", fontsize=10)
    show_sheet(axes[1, column], drawings, 12, "codes from -2 to 2 in both directions")
figure.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=10, frameon=False, markerscale=3
)
plt.show()

# %% [markdown] question="weight_of_the_divergence" points=3
# **Question 3 (3 points).** (a) What does the divergence do to $\mu$, and what to $\sigma$? Answer by looking at each of
# its terms: what is pulled where, and which term keeps $\sigma$ from becoming 0? (b) With $\beta = 0$, what will the
# encoder do with $\sigma$, and what is the model then? Why do its images, drawn from codes of their own, come out well,
# while random codes from $p(z)$ fail? (c) With $\beta$ very large the divergence is close to 0. What do the codes tell
# about the images then, and what is the best the decoder can do? Why can that still look like a well-trained model if
# one looks at the divergence alone?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\mu^2$ pulls all means to 0, so codes of different images are pushed on top of each other;
# $\sigma^2 - \log \sigma^2$ is smallest at $\sigma = 1$: $-\log \sigma^2$ grows without bound when $\sigma$ becomes small
# and keeps codes from shrinking to points, $\sigma^2$ keeps them from spreading. Clouds of neighbouring images overlap,
# so the space is filled, and similar images have to share it. (b) Noise only hurts the drawing, so $\sigma$ goes to 0
# (and $\mu$ as far apart as it likes): an ordinary autoencoder. Images are drawn well because nothing limits what a
# code may tell. The codes lie anywhere, with gaps and far from the origin; a draw from $p(z)$ meets regions where the
# decoder was never trained. (c) All $q(z \mid x)$ equal $p(z)$, so a code tells nothing about its image (posterior
# collapse). The decoder draws the same for all: for each pixel its mean over the training images, a grey blur. The
# divergence is perfect then; the loss of the pixels shows what is lost.
#
# *Rubric.* 1 point: effect on mean and on variance with the term that forbids 0. 1 point: autoencoder, and why random
# codes fail. 1 point: collapse to the mean image, seen in the loss of the pixels.
# ### END MARK SCHEME

# %% [markdown]
# ## 10. Who draws what?
#
# Looking at a sheet of drawings, it is hard to see what is *not* there. A generator that draws perfect 1s and
# nothing else fools the discriminator for a while: **mode collapse**. Here a small classifier, trained on the real
# images, sorts 1,000 drawings of each model; real images stand on the left for comparison.
#
# The number below each chart is $e^H$ with the entropy $H = -\sum_c q_c \log q_c$ of the shares $q_c$ of the classes: 10
# if all digits are drawn equally often, 1 if only one is.
#
# **What to expect.** Measured on MNIST: 8.5 for the fully-connected GAN, 6.5 with least squares, 9.4 for the convolutional
# one and 9.8 for the VAE; on the enlarged digits 9.3, 9.0, 9.5 and 9.9. These are single runs, and another seed will
# favour other digits. Besides, even the best chart says nothing about the variety *within* a class, and drawings that
# are no digits at all are sorted somewhere too.

# %% tags=["demo"]
torch.manual_seed(0)
reader = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
rule = torch.optim.Adam(reader.parameters(), lr=2e-3)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
held_out, pool = order[: len(images) // 5], order[len(images) // 5 :]
source = torch.Generator().manual_seed(4)
for _ in tqdm(range(100 if is_fast() else 500), desc="reader"):
    batch = pool[torch.randint(len(pool), (100,), generator=source)]
    loss = functional.cross_entropy(reader(images[batch]), labels[batch])
    rule.zero_grad()
    loss.backward()
    rule.step()
with torch.no_grad():
    right = (reader(images[held_out]).argmax(1) == labels[held_out]).float().mean()
    noise = sample_noise(1000, 96, source)
    sheets = {
        "real": images[held_out],
        "fully-connected": (draw(vanilla_g, noise) + 1) / 2,
        "least squares": (draw(ls_g, noise) + 1) / 2,
        "convolutional": (draw(dc_g, noise) + 1) / 2,
        "VAE": decoder(torch.randn(1000, 16, generator=source)).sigmoid(),
    }
    print(f"the classifier gets {right:.1%} of held-out images right")
    figure, axes = plt.subplots(2, 5, figsize=(10.5, 4.2), layout="constrained", height_ratios=[1.6, 1])
    for number, (name, drawings) in enumerate(sheets.items()):
        found = reader(drawings).argmax(1).bincount(minlength=10) / len(drawings)
        spread = torch.exp(-torch.xlogy(found, found).sum())
        show_sheet(axes[0, number], drawings[:48], 6, name)
        axes[1, number].bar(range(10), found, color=COLOURS[number])
        axes[1, number].set_ylim(0, 0.45)
        axes[1, number].set_xticks(range(10))
        axes[1, number].tick_params(labelsize=7)
        axes[1, number].set_xlabel(f"as many as {spread:.1f} classes", fontsize=9)
    axes[1, 0].set_ylabel("share of drawings", fontsize=9)
    plt.show()

# %% [markdown]
# ## Where to read more
#
# - Ian Goodfellow and others, *Generative adversarial nets*, 2014, arXiv:1406.2661: the game, and the proof of section 1.
# - Alec Radford, Luke Metz and Soumith Chintala, *Unsupervised representation learning with deep convolutional
#   generative adversarial networks*, 2015, arXiv:1511.06434: which layers make it work, and arithmetic with noise.
# - Xudong Mao and others, *Least squares generative adversarial networks*, 2016, arXiv:1611.04076.
# - Lars Mescheder, Andreas Geiger and Sebastian Nowozin, *Which training methods for GANs do actually converge?*, 2018,
#   arXiv:1801.04406: games like that of section 5, and what a penalty on gradients does for them.
# - Gauthier Gidel and others, *Negative momentum for improved game dynamics*, 2018, arXiv:1807.04740: taking turns, and
#   why less momentum is more.
# - Augustus Odena, Vincent Dumoulin and Chris Olah, *Deconvolution and checkerboard artifacts*, Distill, 2016.
# - Diederik Kingma and Max Welling, *Auto-encoding variational Bayes*, 2013, arXiv:1312.6114, and Danilo Rezende, Shakir
#   Mohamed and Daan Wierstra, *Stochastic backpropagation and approximate inference in deep generative models*, 2014,
#   arXiv:1401.4082: the VAE, twice in a month.
# - Irina Higgins and others, *beta-VAE: learning basic visual concepts with a constrained variational framework*, ICLR
#   2017.
# - Jonathan Ho, Ajay Jain and Pieter Abbeel, *Denoising diffusion probabilistic models*, 2020, arXiv:2006.11239: what
#   came next.

# %%
check.summary()
