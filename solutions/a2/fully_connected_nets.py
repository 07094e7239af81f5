# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Fully-connected nets, and how to train them
#
# A deep net has more weights than it has images to learn from, and will learn the images by heart if nothing stops it.
# This notebook builds a net of any depth out of layers that you have, adds what stops it, and then trains it the way
# that experienced people do:
#
# - **dropout**: a layer that destroys part of its input, and why dividing by $1 - p$ makes up for it;
# - **a net from a list**: hidden sizes, normalisation and dropout are settings, and backward does not care which;
# - **more brakes**: max-norm on weights, cutout and mixup on images, early stopping on time;
# - **ensembles**: why several nets know more than the best of them;
# - **a recipe** in seven steps that finds a mistake or a bad setting in minutes instead of nights.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $X$, $y$ | images and their labels $0 \dots K-1$ | $(N, D)$ or $(N, C, H, W)$, $(N,)$ |
# | $W_\ell$, $b_\ell$ | weights of affine layer $\ell = 1 \dots L+1$; the first $L$ are hidden | $(D_\ell, M_\ell)$, $(M_\ell,)$ |
# | $\gamma_\ell$, $\beta_\ell$ | scale and shift of the normalisation in hidden layer $\ell$ | $(M_\ell,)$ |
# | $p$ | probability that dropout *drops* an entry | $()$ |
# | $m$ | mask: 0 where an entry is dropped, 1 where it is kept | that of the layer's input |
# | $\lambda$ | share of an image in its mixture with another | $()$ |
# | $\rho_e$ | class probabilities that model $e$ of an ensemble gives one image | $(K,)$ |

# %% tags=["setup"]
import math
import time

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import PercentFormatter
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, normalize
from dlcvkit.layers import (
    affine_backward,
    affine_forward,
    layernorm_backward,
    layernorm_forward,
    relu_backward,
    relu_forward,
    softmax_loss,
)
from dlcvkit.plotting import COLOURS, show_images
from dlcvkit.settings import is_fast
from dlcvkit.training import Solver, torch_rule

# %% [markdown]
# ## The data
#
# Photographs if CIFAR-10 has been downloaded, drawn shapes if not; the line below the cell says which. Every colour
# channel is shifted and scaled by the mean and standard deviation of the *training* images.

# %% tags=["demo"]
data = load_images("cifar10", n_train=2000 if is_fast() else 9000)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val, x_test = (normalize(images, mean, std) for images in (data.x_train, data.x_val, data.x_test))
y_train, y_val, y_test = data.y_train, data.y_val, data.y_test
D, K = x_train[0].numel(), len(data.classes)

# %% [markdown]
# ## 1. Dropout
#
# In training, every entry $x_j$ of a layer's output is set to zero with probability $p$, each by itself, anew for every
# image and every step. A unit can then not rely on one particular other unit being there, and what is learned gets
# spread over many. When the net is used, nothing is dropped.
#
# **Why divide.** Let $m_j$ be 1 with probability $1 - p$ and 0 otherwise. What the next layer gets is then smaller on
# average than $x_j$:
#
# $$\mathbb{E}[m_j x_j] = (1 - p) \cdot x_j + p \cdot 0 = (1 - p)\, x_j .$$
#
# Its weights would be learned for inputs that are $1 - p$ times as large as those they meet later, when nothing is
# dropped. *Inverted* dropout puts this right at once, in training, and leaves the net as it is when it is used:
#
# $$\tilde{x}_j = \frac{m_j}{1 - p}\, x_j, \qquad \mathbb{E}[\tilde{x}_j] = x_j, \qquad
# \frac{\partial \tilde{x}_j}{\partial x_j} = \frac{m_j}{1 - p} .$$
#
# It is the probability of *keeping* that stands below the fraction line. With $p = 0.5$ the two are equal, so that the
# wrong one goes unnoticed there, and nowhere else.
#
# **What it costs.** The mean is right, but there is noise now. Since $m_j^2 = m_j$,
#
# $$\operatorname{Var}[\tilde{x}_j] = \mathbb{E}[\tilde{x}_j^2] - x_j^2 = \frac{(1 - p)\, x_j^2}{(1 - p)^2} - x_j^2
# = \frac{p}{1 - p}\, x_j^2 .$$
#
# A unit $s = \sum_j w_j \tilde{x}_j$ of the next layer, with weights $w$ of shape $(D_\ell,)$, adds up independent
# terms:
#
# $$\mathbb{E}[s] = \sum_j w_j x_j, \qquad \operatorname{Var}[s] = \frac{p}{1 - p} \sum_j w_j^2 x_j^2 .$$
#
# Here is the link to a penalty. Under a squared error $(s - t)^2$ with target $t$, the expected loss is the loss at the
# mean plus the variance,
#
# $$\mathbb{E}\big[(s - t)^2\big] = \big(\mathbb{E}[s] - t\big)^2 + \frac{p}{1 - p} \sum_j w_j^2 x_j^2,$$
#
# an L2 penalty that is stronger for the inputs that are large, and stronger for larger $p$: factor 1 at $p = 0.5$, 9 at
# $p = 0.9$.


# %% exercise="a2/dropout"
def dropout_forward(x, p, is_training, generator):
    """Drop entries at random in training; pass everything through otherwise.

    Args:
        x: Any shape, floating point.
        p: Probability that an entry is dropped, from 0 up to but not including 1.
        is_training: Whether to drop.
        generator: ``torch.Generator`` on the device of x; the only source of randomness.

    Returns:
        ``(out, cache)``: in training each entry is, independently of all others, 0 with probability p and otherwise
        divided by the probability of keeping it; else out equals x. Shape, dtype and device of x. The cache is what
        backward needs.
    """
    ### BEGIN SOLUTION
    if not is_training:
        return x, None
    is_kept = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p
    scale = is_kept.to(x.dtype) / (1 - p)
    return x * scale, scale
    ### END SOLUTION


# %% exercise="a2/dropout"
def dropout_backward(dout, cache):
    """Go back through dropout.

    Args:
        dout: Upstream gradient, the shape of out.
        cache: From ``dropout_forward``.

    Returns:
        Gradient with respect to x, the shape of dout.
    """
    ### BEGIN SOLUTION
    return dout if cache is None else dout * cache
    ### END SOLUTION


# %% check="a2/dropout"
check("a2/dropout", dropout_forward, dropout_backward)

# %% [markdown]
# The formulas at work: one unit with 400 inputs, and its value under 3,000 masks. The mean stays where it was (black
# line); the spread is that of the formula (dashed: two standard deviations to either side).

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
x, w = torch.rand(400, generator=generator), torch.randn(400, generator=generator) / 20
figure, axes = plt.subplots(1, 3, figsize=(10, 2.6), sharex=True, layout="constrained")
for axis, p, colour in zip(axes, (0.1, 0.5, 0.8), COLOURS, strict=False):
    noisy, _ = dropout_forward(x.expand(3000, 400), p, True, generator)
    spread = math.sqrt(p / (1 - p)) * (w * x).norm().item()
    axis.hist((noisy @ w).numpy(), bins=40, color=colour, alpha=0.7)
    axis.axvline((x @ w).item(), color="black")
    for side in (-2, 2):
        axis.axvline((x @ w).item() + side * spread, color="black", ls="--", lw=0.9)
    axis.set_title(f"p = {p}: std {(noisy @ w).std():.2f}, formula {spread:.2f}", fontsize=10)
    axis.set_xlabel("value of the unit, s")
axes[0].set_ylabel("masks")
plt.show()

# %% [markdown] question="dropout" points=3
# **Question 1 (3 points).** (a) A net was trained at $p = 0.2$, but with $x_j / p$ in place of $x_j / (1 - p)$. By
# which factor are the inputs of the next layer, on average, too large in training? Why does the loss in training still
# fall, and what do you see on validation images? (b) During training, the training loss of a net with dropout is often
# *above* its validation loss. Give a reason that has nothing to do with luck, and say how to measure a training loss
# that can be compared.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) On average an entry is $(1 - p)\,x/p = 4x$: four times too large. Training adapts the weights
# behind the layer to inputs of that size, so its loss falls. When the net is used, nothing is dropped or scaled and the
# inputs are only a quarter of what the weights were learned for; with biases and several layers, scores come out wrong
# and validation accuracy is poor (and with each further layer worse). (b) In training parts of the net are missing: the
# loss is that of a damaged net, and it is averaged over an epoch in which the net was still getting better. Evaluate
# the training images with `is_training=False`, after the epoch.
#
# *Rubric.* 1 point: factor 4. 1 point: weights adapt in training, mismatch when used. 1 point: noise or damage in
# training, and evaluation without dropout as the remedy.
# ### END MARK SCHEME

# %% [markdown]
# ## 2. A net from a list
#
# A net with $L$ hidden layers does this (norm and dropout only if asked for):
#
# $$\big(\text{affine} \to \text{norm} \to \text{ReLU} \to \text{dropout}\big) \times L \to \text{affine} \to
# \text{softmax loss} .$$
#
# `norm` is *layer normalisation* here: every row is brought to mean 0 and variance 1 over its $M_\ell$ entries, then
# scaled by $\gamma_\ell$ and shifted by $\beta_\ell$. You will write it in stage 3; until then the kit has
# `layernorm_forward(x, gamma, beta)` and `layernorm_backward(dout, cache)`, which returns `dx, dgamma, dbeta`. The
# affine and ReLU layers of the notebooks before are here as well: `affine_backward` returns `dx, dw, db`, and
# `relu_backward` returns `dx`.
#
# ### The weights
#
# `W1`, `b1` … up to `W{L+1}`, `b{L+1}`, and, with normalisation, `gamma1`, `beta1` … up to `gamma{L}`, `beta{L}`: the
# last layer gives scores, and is not normalised. Weights are drawn from a normal distribution with He's standard
# deviation, whose variance is 2 divided by the layer's number of inputs, unless another standard deviation is asked
# for.


# %% exercise="a2/build_params"
def build_params(input_dim, hidden_dims, num_classes, normalization, weight_scale, generator):
    """Draw the first weights of a net.

    Args:
        input_dim: Numbers per image, D.
        hidden_dims: Sizes of the hidden layers, a list of L numbers, possibly empty.
        num_classes: K.
        normalization: ``"layer"``, or None for nets without gamma and beta.
        weight_scale: Standard deviation of all weights W; None takes He's, layer by layer.
        generator: ``torch.Generator`` to draw from; the weights are put on its device.

    Returns:
        Name to float32 tensor: ``W1`` (D, hidden_dims[0]), ``b1``, … ``W{L+1}`` (hidden_dims[-1], K), ``b{L+1}``, and
        for each hidden layer, if normalised, ``gamma1``, ``beta1``, …. b and beta start as zeros, gamma as ones.
    """
    ### BEGIN SOLUTION
    dims = [input_dim, *hidden_dims, num_classes]
    device = generator.device
    params = {}
    for number in range(1, len(dims)):
        fan_in, fan_out = dims[number - 1], dims[number]
        std = math.sqrt(2 / fan_in) if weight_scale is None else weight_scale
        params[f"W{number}"] = std * torch.randn(fan_in, fan_out, generator=generator, device=device)
        params[f"b{number}"] = torch.zeros(fan_out, device=device)
        if normalization == "layer" and number <= len(hidden_dims):
            params[f"gamma{number}"] = torch.ones(fan_out, device=device)
            params[f"beta{number}"] = torch.zeros(fan_out, device=device)
    return params
    ### END SOLUTION


# %% check="a2/build_params"
check("a2/build_params", build_params)

# %% [markdown]
# ### Forward, and a tape
#
# With so many settings, backward could become a second copy of every `if` in forward. There is a better way: forward
# writes down what it did, one entry per layer that was really applied, such as
#
# ```
# (affine_backward, cache, ["W1", "b1"])      (relu_backward, cache, [])      (dropout_backward, cache, [])
# ```
#
# and backward reads the tape from its end: each entry takes the gradient of what came out and returns that of what went
# in, besides those of the weights it names. By the chain rule that is all there is to do, in whatever order the layers
# came. Any pair of functions can be plugged in, and backward need not know.
#
# The loss is the mean over the images plus the penalty of all weight matrices, biases and normalisation left out:
#
# $$L = \frac{1}{N} \sum_{i=1}^{N} \ell_i + \frac{\text{reg}}{2} \sum_{\ell=1}^{L+1} \sum_{d,m} (W_\ell)_{dm}^2, \qquad
# \frac{\partial L}{\partial W_\ell} = \left.\frac{\partial L}{\partial W_\ell}\right|_{\text{data}} + \text{reg} \, W_\ell .$$
#
# Which layers are training, and which are not: `loss(X, y)` is training, `loss(X)` is use.


# %% exercise="a2/fully_connected_net"
class FullyConnectedNet:
    """A net of affine layers, (affine - [layer norm] - ReLU - [dropout]) x L - affine, with softmax loss.

    Attributes:
        params: Name to weight, as ``build_params`` makes them; others may be put in their place.
        dropout: Probability of dropping, 0 for none.
        normalization: ``"layer"`` or None.
        reg: Strength of the penalty.
        depth: Number of hidden layers, L.
        generator: Draws the first weights, then the masks of dropout; another may be put in its place.
    """

    def __init__(
        self,
        input_dim,
        hidden_dims,
        num_classes,
        *,
        dropout=0.0,
        normalization=None,
        reg=0.0,
        weight_scale=None,
        seed=0,
        device="cpu",
    ):
        self.dropout, self.normalization, self.reg = dropout, normalization, reg
        self.depth = len(hidden_dims)
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.params = build_params(input_dim, hidden_dims, num_classes, normalization, weight_scale, self.generator)

    def forward(self, X, is_training):
        """Compute scores.

        Args:
            X: Images, shape (N, ...) with D numbers each.
            is_training: Whether dropout drops.

        Returns:
            ``(scores, tape)``: scores of shape (N, K), and what ``loss`` needs in order to go back.
        """
        ### BEGIN SOLUTION
        out, tape = X, []
        for number in range(1, self.depth + 1):
            out, cache = affine_forward(out, self.params[f"W{number}"], self.params[f"b{number}"])
            tape.append((affine_backward, cache, [f"W{number}", f"b{number}"]))
            if self.normalization == "layer":
                out, cache = layernorm_forward(out, self.params[f"gamma{number}"], self.params[f"beta{number}"])
                tape.append((layernorm_backward, cache, [f"gamma{number}", f"beta{number}"]))
            out, cache = relu_forward(out)
            tape.append((relu_backward, cache, []))
            if self.dropout > 0:
                out, cache = dropout_forward(out, self.dropout, is_training, self.generator)
                tape.append((dropout_backward, cache, []))
        names = [f"W{self.depth + 1}", f"b{self.depth + 1}"]
        out, cache = affine_forward(out, *(self.params[name] for name in names))
        tape.append((affine_backward, cache, names))
        return out, tape
        ### END SOLUTION

    def loss(self, X, y=None):
        """Compute scores, or loss and gradients.

        Args:
            X: Images, shape (N, ...) with D numbers each.
            y: Labels, shape (N,), int64; or one distribution over the classes per image, shape (N, K), which
                ``softmax_loss`` takes as well; or None.

        Returns:
            Without y, the scores, shape (N, K), with nothing dropped. With y, ``(loss, gradients)``: a number, with
            penalty, in training; and name to gradient for every entry of ``params``.
        """
        ### BEGIN SOLUTION
        scores, tape = self.forward(X, y is not None)
        if y is None:
            return scores
        loss, dout = softmax_loss(scores, y)
        gradients = {}
        for backward, cache, names in reversed(tape):
            if names:
                dout, *found = backward(dout, cache)
                gradients.update(zip(names, found, strict=True))
            else:
                dout = backward(dout, cache)
        for number in range(1, self.depth + 2):
            W = self.params[f"W{number}"]
            loss = loss + 0.5 * self.reg * (W * W).sum()
            gradients[f"W{number}"] = gradients[f"W{number}"] + self.reg * W
        return loss, gradients
        ### END SOLUTION


# %% check="a2/fully_connected_net"
check("a2/fully_connected_net", FullyConnectedNet)

# %% [markdown]
# ## 3. Max-norm
#
# A penalty pulls on all weights all the time. *Max-norm* leaves them alone until they go too far: after a step, every
# column $w$ of $W$, shape $(D_\ell,)$, which is what one unit receives, is shrunk back to norm $c$ (`limit`) if it is
# longer:
#
# $$w \leftarrow w \cdot \min\!\left(1, \frac{c}{\lVert w \rVert_2}\right) .$$
#
# It goes well with dropout: the noise makes large learning rates useful, and max-norm keeps these from blowing the
# weights up.
#
# A name that ends in `_` says, by torch's convention, that a function changes its argument in place. So does this one,
# the only one in this notebook. It returns nothing, so that nobody takes it for one that makes a new tensor.


# %% exercise="a2/max_norm_"
def max_norm_(w, limit):
    """Shrink the columns of w that are longer than the limit; the others stay as they are.

    Args:
        w: Weights, shape (D, M); MODIFIED in place. May be a view with gaps in memory.
        limit: Largest Euclidean norm of a column, above 0.
    """
    ### BEGIN SOLUTION
    norm = w.square().sum(dim=0).sqrt()
    w *= torch.where(norm > limit, limit / norm, 1.0)
    ### END SOLUTION


# %% check="a2/max_norm_"
check("a2/max_norm_", max_norm_)

# %% [markdown]
# ## 4. Changed images
#
# Another way to keep a net from learning images by heart is never to show it the same one twice.
#
# ### Cutout
#
# A square of side $q$ (`size`) is set to zero in every image, which is the mean colour after normalisation. Its centre
# is any of the $H \cdot W$ pixels with equal probability, for each image by itself, and what reaches beyond the border
# is cut off. With the centre at row $r$, the square covers the rows $r - \lfloor q/2 \rfloor \dots r - \lfloor q/2
# \rfloor + q - 1$ as far as they exist; columns alike.


# %% exercise="a2/cutout"
def cutout(x, size, generator):
    """Set a square in every image to zero.

    Args:
        x: Images, shape (N, C, H, W), floating point.
        size: Side of the square in pixels, at least 1; may be larger than an image.
        generator: ``torch.Generator`` on the device of x; the only source of randomness.

    Returns:
        The shape and dtype of x. In each image one square around a random pixel is 0 in all channels; it covers the
        rows from ``centre - size // 2`` on, ``size`` of them, as far as the image reaches, and columns alike.

    Source:
        DeVries & Taylor, "Improved regularization of convolutional neural networks with cutout", 2017, section 3.
    """
    ### BEGIN SOLUTION
    N, _, H, W = x.shape
    row = torch.randint(H, (N, 1, 1, 1), generator=generator, device=x.device)
    column = torch.randint(W, (N, 1, 1, 1), generator=generator, device=x.device)
    down = torch.arange(H, device=x.device)[:, None] - row + size // 2  # (N, 1, H, 1), 0 … size - 1 inside
    across = torch.arange(W, device=x.device) - column + size // 2  # (N, 1, 1, W)
    is_inside = (down >= 0) & (down < size) & (across >= 0) & (across < size)
    return x.masked_fill(is_inside, 0)
    ### END SOLUTION


# %% check="a2/cutout"
check("a2/cutout", cutout)

# %% [markdown]
# ### Mixup
#
# Two images are laid over each other, and so are their labels, written as one-hot rows $t$ of shape $(K,)$:
#
# $$\tilde{x} = \lambda x_i + (1 - \lambda) x_j, \qquad \tilde{t} = \lambda t_i + (1 - \lambda) t_j, \qquad
# \lambda \sim \operatorname{Beta}(\alpha, \alpha) .$$
#
# The net is asked to go in a straight line from one image to the other, rather than to jump somewhere in between. For
# small $\alpha$ most $\lambda$ lie near 0 or 1, and images are hardly mixed; $\alpha = 1$ draws $\lambda$ uniformly.
#
# **The loss is linear in the labels.** With the probabilities $q = \operatorname{softmax}(s)$ of the scores $s$, both
# of shape $(K,)$, the cross-entropy against a distribution $t$ is $\ell(s, t) = -\sum_c t_c \log q_c$, and so
#
# $$\ell(s, \tilde{t}) = -\sum_c \big(\lambda t_{ic} + (1 - \lambda) t_{jc}\big) \log q_c
# = \lambda\, \ell(s, t_i) + (1 - \lambda)\, \ell(s, t_j) .$$
#
# Mixing labels and mixing losses are the same. Note what is *not* linear: the scores $s$ are those of the mixed image,
# which are not the mixture of the scores. The gradient follows suit: $\partial \ell / \partial s = q - \tilde{t}$,
# shape $(K,)$. It vanishes at $q = \tilde{t}$: the best answer to a mixture is to be unsure to just that degree, while
# against a one-hot label no finite scores are large enough.
#
# One $\lambda$ serves a whole batch, and a random permutation of the batch says who is mixed with whom. The
# distribution comes with the notebook:


# %%
def draw_beta(alpha, generator):
    """Return a number between 0 and 1 from the distribution Beta(alpha, alpha), by Jöhnk's method.

    Args:
        alpha: Above 0, and best not much above 2, where most tries are thrown away.
        generator: ``torch.Generator``; the only source of randomness.
    """
    while True:
        u, v = torch.rand(2, generator=generator, dtype=torch.float64, device=generator.device).pow(1 / alpha).tolist()
        if 0 < u + v <= 1:
            return u / (u + v)


# %% exercise="a2/mixup"
def mixup(x, y_onehot, alpha, generator):
    """Mix every image of a batch with another one, and labels alike.

    Args:
        x: Images, shape (N, ...), floating point.
        y_onehot: Their labels as one-hot rows, shape (N, K), dtype of x.
        alpha: Parameter of the Beta distribution, above 0.
        generator: ``torch.Generator`` on the device of x; the only source of randomness.

    Returns:
        ``(x_mixed, y_mixed)``, shapes and dtypes of x and y_onehot: lambda times a row plus 1 - lambda times the row of
        its partner, with one lambda from ``draw_beta`` for the batch, and partners by a random permutation of the batch.

    Source:
        Zhang, Cissé, Dauphin & Lopez-Paz, "mixup: beyond empirical risk minimization", 2018, section 2.
    """
    ### BEGIN SOLUTION
    lam = draw_beta(alpha, generator)
    partner = torch.randperm(len(x), generator=generator, device=x.device)
    x_mixed = lam * x + (1 - lam) * x[partner]
    y_mixed = lam * y_onehot + (1 - lam) * y_onehot[partner]
    return x_mixed, y_mixed
    ### END SOLUTION


# %% check="a2/mixup"
check("a2/mixup", mixup)


# %% tags=["demo"]
def one_hot(y):
    return torch.eye(K)[y]


def as_title(row):
    best = row.topk(2)
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return "\n".join(f"{share:.0%} {data.classes[c]}" for share, c in pairs if share > 0.005)


generator = torch.Generator().manual_seed(14)
x, t = x_train[:8], one_hot(y_train[:8])
x_mixed, t_mixed = mixup(x, t, 1.0, generator)
shown = torch.cat([x, cutout(x, 14, generator), x_mixed]) * std[:, None, None] + mean[:, None, None]
titles = [as_title(row) for row in torch.cat([t, t, t_mixed])]
show_images(shown, titles, columns=8, size=1.25, title="as they are, with cutout, with mixup")

# %% [markdown] question="mixup" points=3
# **Question 2 (3 points).** (a) A net is trained with mixup at $\alpha = 1$. Its training loss stays far above zero
# however long it trains, and a classmate takes that for a mistake. Which term in the derivation says that it must, even
# for a perfect net? What is the lowest loss that can be reached on a batch with $\lambda = 0.5$, if no image has a
# partner of its own class? (b) Cutout sets pixels to 0 *after* normalisation. What would change if it were applied
# before, to images in $[0, 1]$?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) The loss is a cross-entropy against $\tilde{t}$, which is at least the entropy of $\tilde{t}$,
# reached at $q = \tilde{t}$; that is zero only for one-hot rows. For $\lambda = 0.5$ and two classes it is $-2 \cdot
# 0.5 \log 0.5 = \log 2 = 0.693$. (b) The squares would be black, which is as far from the mean as an image gets: after
# normalisation a strongly negative value instead of 0. That shifts the mean of the layer's inputs, which is not so when
# the net is used, and a hard black edge is a feature to learn.
#
# *Rubric.* 1 point: entropy of the mixed label as lower bound. 1 point: log 2. 1 point: black instead of mean colour,
# which shifts the statistics.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. Early stopping
#
# The cheapest regulariser of all is to stop. While validation accuracy rises, go on; when it has not risen for a number
# of epochs, the *patience*, stop, and go back to the best weights (the kit's `Solver` does the latter in any case).
#
# An epoch counts as an improvement if its value exceeds the best so far by *more* than `min_delta`. Then, and only
# then, `best` and `best_epoch` change and the waiting starts anew.


# %% exercise="a2/early_stopping"
class EarlyStopping:
    """Says when to stop: once ``patience`` epochs in a row have brought no improvement.

    Attributes:
        best: The value of the last improvement; minus infinity before the first.
        best_epoch: The epoch it came in, counted from 0; None before the first.
    """

    def __init__(self, patience, min_delta=0.0):
        """Start watching.

        Args:
            patience: Epochs in a row without improvement that are enough to stop, at least 1.
            min_delta: A value has to exceed the best by more than this to be an improvement, at least 0.
        """
        ### BEGIN SOLUTION
        self.patience, self.min_delta = patience, min_delta
        self.best, self.best_epoch = -math.inf, None
        self._epoch, self._waited = 0, 0
        ### END SOLUTION

    def should_stop(self, value):
        """Take in one epoch's value.

        Args:
            value: Such as the validation accuracy; higher is better.

        Returns:
            Whether this is the last of ``patience`` or more epochs in a row without improvement, a bool.
        """
        ### BEGIN SOLUTION
        if value > self.best + self.min_delta:
            self.best, self.best_epoch, self._waited = value, self._epoch, 0
        else:
            self._waited += 1
        self._epoch += 1
        return self._waited >= self.patience
        ### END SOLUTION


# %% check="a2/early_stopping"
check("a2/early_stopping", EarlyStopping)

# %% [markdown]
# ## 6. Ensembles
#
# Train $E$ nets that differ in their first weights, their batches or their settings, and let them answer together.
#
# **Why it helps.** Let $f_e$ be the answer of model $e$ to an image whose right answer is $t$ (numbers, for
# simplicity). Over everything that was random in training, all have mean $\mathbb{E}[f_e] = \mu$ and variance
# $\sigma^2$, and two of them have correlation $r$. The error of one is
#
# $$\mathbb{E}\big[(f_e - t)^2\big] = \underbrace{(\mu - t)^2}_{\text{bias}^2} + \underbrace{\sigma^2}_{\text{variance}},$$
#
# because the mixed term $2\,(\mu - t)\,\mathbb{E}[f_e - \mu]$ is zero. The mean $\bar{f} = \frac{1}{E} \sum_e f_e$ has
# the same $\mu$, thus the same bias. Its variance adds up $E$ variances and $E(E-1)$ covariances $r \sigma^2$:
#
# $$\operatorname{Var}[\bar{f}] = \frac{1}{E^2} \Big( E \sigma^2 + E (E - 1)\, r \sigma^2 \Big)
# = \sigma^2 \Big( r + \frac{1 - r}{E} \Big) .$$
#
# Averaging removes variance and leaves bias alone, and it removes only what the models do not share: equal models
# ($r = 1$) gain nothing, and beyond a few the gain is used up.
#
# **What to average.** Probabilities. With the probability $\rho_{ey}$ that model $e$ gives to the right class, and
# since $-\log$ is convex (Jensen's inequality),
#
# $$-\log \Big( \frac{1}{E} \sum_e \rho_{ey} \Big) \le \frac{1}{E} \sum_e \big( -\log \rho_{ey} \big) :$$
#
# the loss of the mean is never worse than the mean loss. Scores have no common scale (any constant may be added to a
# row of them, and a model that is louder is not wiser), and votes forget how sure each model was.


# %% exercise="a2/ensemble_predict"
def ensemble_predict(scores):
    """Let several models answer together by the mean of their probabilities.

    Args:
        scores: Scores of E models for N images, shape (E, N, K); of any size, such as 1e4.

    Returns:
        ``(probabilities, labels)``: shapes (N, K), the dtype of scores, and (N,), int64; of equally likely classes the
        first.
    """
    ### BEGIN SOLUTION
    probabilities = scores.softmax(dim=2).mean(dim=0)
    return probabilities, probabilities.argmax(dim=1)
    ### END SOLUTION


# %% check="a2/ensemble_predict"
check("a2/ensemble_predict", ensemble_predict)

# %% [markdown]
# ## 7. The recipe
#
# Training can fail in a hundred ways and looks alike in most of them: the loss does not go down. Seven steps, each of
# which takes seconds and rules something out before the next one builds on it.
#
# ### Step 1: the first loss
#
# A net that knows nothing gives every class probability $1/K$, so its loss is $-\log \frac{1}{K} = \log K$, here $\log
# 10 = 2.303$. That holds if the scores are near zero. With He's weights they are not: the scores of the last layer have
# a variance $v$ of about 1 or 2, the net is loud about what it does not know, and the loss is higher by about $v/2$.
# Both are fine; what is *not* fine is a first loss that you cannot explain. With a penalty it has to rise by exactly
# $\frac{\text{reg}}{2} \sum W^2$.


# %% tags=["demo"]
def make_net(hidden_dims=(256, 128), **options):
    return FullyConnectedNet(D, hidden_dims, K, **options)


for hidden_dims in ((), (256,), (256, 128), (100, 100, 100, 100)):
    small, he = (
        make_net(hidden_dims, weight_scale=scale).loss(x_train[:500], y_train[:500])[0] for scale in (1e-3, None)
    )
    print(f"hidden layers {hidden_dims!s:22} first loss: {small:.3f} with weights of 0.001, {he:.3f} with He's")
net = make_net(weight_scale=1e-3, reg=1.0)
penalty = 0.5 * sum(float((value**2).sum()) for name, value in net.params.items() if name.startswith("W"))
first = net.loss(x_train[:500], y_train[:500])[0]
print(f"reg = 1: first loss {first:.3f}; expected log 10 + penalty = {math.log(10) + penalty:.3f}")

# %% [markdown]
# ### Step 2: learn a few images by heart
#
# No regularisation, 50 images, and the net has to reach 100 % on *those*. If it cannot, there is a mistake: in
# backward, in the labels, in the learning rate. More data will not help; nothing is cheaper to find than here.
# Expected: 100 % within 20 epochs; measured: after 7, on photographs and on drawn shapes.


# %% tags=["demo"]
def train(model, lr, epochs, *, images=None, x=None, y=None, progress=False, **options):
    """Train with Adam and return the solver, whose history holds the curves."""
    x, y = (x_train, y_train) if x is None else (x, y)
    options = {"batch_size": 128, "rule": torch_rule(torch.optim.Adam), **options}
    solver = Solver(model, x[:images], y[:images], x_val, y_val, lr=lr, epochs=epochs, progress=progress, **options)
    solver.train()
    return solver


few = train(make_net(), 1e-3, 20, images=50, batch_size=25, progress=True)
print("right among the 50 images, epoch by epoch:", *(f"{a:.0%}" for a in few.history.train_accuracies[::3]))

# %% [markdown]
# ### Step 3: a learning rate that makes the loss fall within 100 steps
#
# All the data now, and one setting alone. A good learning rate brings the loss down visibly in 100 steps; take the
# largest that does so without jumping about.
#
# What to expect, measured on CIFAR-10 (mean loss of the last ten steps): $10^{-5}$ has hardly got below $\log 10$
# (2.23); $10^{-4}$ and $5 \cdot 10^{-4}$ reach 1.88 and 1.97; $2 \cdot 10^{-3}$ jumps to 5 first. At $2 \cdot 10^{-2}$
# the loss exceeds 80 and then lies at $\log 10$, as flat as if nothing were wrong: every single ReLU of the second
# layer is dead, and the net gives the same answer to everything.

# %% tags=["demo"]
steps = 40 if is_fast() else 100
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for number, lr in enumerate(tqdm([1e-5, 1e-4, 5e-4, 2e-3, 2e-2], desc="learning rates")):
    losses = train(make_net(), lr, 1, images=steps * 64, batch_size=64).history.losses
    axis.plot(losses, color=COLOURS[number], lw=0.6, alpha=0.4)
    smooth = torch.tensor(losses).unfold(0, 10, 1).mean(1)
    axis.plot(range(9, len(losses)), smooth, color=COLOURS[number], label=f"lr {lr:g}")
axis.axhline(math.log(K), color="grey", ls="--", lw=0.8)
axis.set_yscale("log")
axis.set_ylim(1.5, 8)
axis.set_yticks([1.5, 2, 3, 5, 8], ["1.5", "2", "3", "5", "8"])
axis.minorticks_off()
axis.set_xlabel("step")
axis.set_ylabel("loss, and mean of 10")
axis.legend(frameon=False, fontsize=8, ncols=3)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ### Steps 4 and 5: a coarse grid, then a fine one
#
# Learning rate and one regulariser, spaced by factors, trained for a moment only. The question is not which is best,
# but which region is any good. Then a few *random* points in the best region, trained for a little longer: a grid of
# $3 \times 3$ tries three learning rates, nine random points try nine.
#
# A warning: trials this short favour haste. Dropout slows learning down at first and pays later, so that a grid of two
# epochs always speaks against it. Read the learning rate off the grid, and judge regularisers by runs of full length.

# %% tags=["demo"]
lrs, rates = [1e-4, 5e-4, 2.5e-3], [0.0, 0.25, 0.6]
images = 1000 if is_fast() else 3000
trials = 3 if is_fast() else 6
table = torch.zeros(len(lrs), len(rates))
with tqdm(total=9 + trials, desc="trials") as progress:
    for i, lr in enumerate(lrs):
        for j, p in enumerate(rates):
            table[i, j] = train(make_net(dropout=p), lr, 2, images=images).best_accuracy
            progress.update()
    i, j = divmod(int(table.argmax()), len(rates))
    generator = torch.Generator().manual_seed(0)
    fine = []
    for _ in range(trials):
        u, v = torch.rand(2, generator=generator).tolist()
        lr, p = lrs[i] * 2 ** (2 * u - 1), min(max(rates[j] + 0.3 * (v - 0.5), 0.0), 0.8)
        fine.append((train(make_net(dropout=p), lr, 3, images=images).best_accuracy, lr, p))
        progress.update()
best_val, best_lr, best_p = max(fine)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
axes[0].imshow(table, cmap="viridis", aspect="auto")
for i in range(len(lrs)):
    for j in range(len(rates)):
        is_light = table[i, j] > (table.min() + table.max()) / 2
        axes[0].text(j, i, f"{table[i, j]:.1%}", ha="center", va="center", color="black" if is_light else "white")
axes[0].set_xticks(range(len(rates)), rates)
axes[0].set_yticks(range(len(lrs)), [f"{lr:g}" for lr in lrs])
axes[0].set_xlabel("dropout, p")
axes[0].set_ylabel("learning rate")
axes[0].set_title("coarse: validation after 2 epochs", fontsize=10)
points = axes[1].scatter(
    [p for *_, p in fine], [lr for _, lr, _ in fine], c=[a for a, *_ in fine], s=90, cmap="viridis"
)
for accuracy, lr, p in fine:
    axes[1].annotate(f"{accuracy:.1%}", (p, lr), xytext=(8, -3), textcoords="offset points", fontsize=9)
axes[1].set_yscale("log")
axes[1].margins(0.25)
axes[1].set_xlabel("dropout, p")
axes[1].set_ylabel("learning rate")
axes[1].set_title("fine: validation after 3 epochs", fontsize=10)
plt.show()
print(f"best of the fine trials: lr {best_lr:.2g}, p {best_p:.2f}, validation {best_val:.1%}")

# %% [markdown]
# ### Step 6: look at the curves
#
# Now at full length, and four nets side by side that differ in nothing but what keeps them from learning by heart:
# nothing at all, L2, dropout, mixup. Look for the *gap* between training and validation: a wide gap calls for more
# regularisation (or more data), no gap at a low level for a larger net or less of it.
#
# Mixup wraps the net: in training it gets mixed images and labels, and its weights are the net's own.


# %% tags=["demo"]
class WithMixup:
    """A net that is trained on mixtures; its weights are those of ``net``."""

    def __init__(self, net, alpha):
        self.net, self.alpha, self.params = net, alpha, net.params

    def loss(self, X, y=None):
        if y is None:
            return self.net.loss(X)
        return self.net.loss(*mixup(X, one_hot(y), self.alpha, self.net.generator))


epochs = 2 if is_fast() else 8
start = time.perf_counter()
models = {
    "none": make_net(),
    "L2, reg 0.01": make_net(reg=0.01),
    "dropout, p 0.4": make_net(dropout=0.4),
    "mixup, alpha 0.4": WithMixup(make_net(), 0.4),
}
solvers = {}
for name, model in models.items():
    print(name)
    solvers[name] = train(model, 5e-4, epochs, progress=True)
seconds = time.perf_counter() - start

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", width_ratios=[1.5, 1])
for (name, solver), colour in zip(solvers.items(), COLOURS, strict=False):
    history = solver.history
    axes[0].plot(range(1, epochs + 1), history.train_accuracies, color=colour, ls="--", lw=1)
    axes[0].plot(range(1, epochs + 1), history.val_accuracies, color=colour, label=name)
    axes[1].barh(name, history.train_accuracies[-1] - history.val_accuracies[-1], color=colour)
axes[0].yaxis.set_major_formatter(PercentFormatter(1))
axes[0].xaxis.get_major_locator().set_params(integer=True)
axes[0].set_xlabel("epoch")
axes[0].set_ylabel("accuracy")
axes[0].set_title("validation (solid) and training (dashed)", fontsize=10)
axes[0].legend(frameon=False, fontsize=8)
axes[0].grid(alpha=0.3)
axes[1].invert_yaxis()
axes[1].xaxis.set_major_formatter(PercentFormatter(1))
axes[1].set_title("gap after the last epoch", fontsize=10)
plt.show()
for name, solver in solvers.items():
    best = 1 + solver.history.val_accuracies.index(solver.best_accuracy)
    print(f"{name:17} best validation {solver.best_accuracy:.1%}, in epoch {best}")
print(f"{data.name}: {seconds:.0f} s")

# %% [markdown]
# ### Step 7: repeat
#
# With what the curves said: a longer run of a somewhat larger net, layer normalisation, dropout, images that are
# flipped left to right at random, a learning rate that falls to zero along a cosine, and early stopping. Then, once,
# the test images; and, since they have been trained already, all five nets as an ensemble.


# %% tags=["demo"]
def flip(x, generator):
    is_flipped = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    return torch.where(is_flipped, x.flip(3), x)


epochs = 2 if is_fast() else 12
stopper = EarlyStopping(patience=4)
start = time.perf_counter()
final = make_net((384, 192), dropout=0.25, normalization="layer", seed=1)
total = epochs * -(-len(x_train) // 128)
solver = train(
    final,
    7e-4,
    epochs,
    progress=True,
    transform=flip,
    schedule=lambda step: 0.5 * (1 + math.cos(math.pi * step / total)),
    stop=lambda history: stopper.should_stop(history.val_accuracies[-1]),
)
seconds = time.perf_counter() - start

figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
losses = torch.tensor(solver.history.losses)
axes[0].plot(losses, color=COLOURS[0], lw=0.5, alpha=0.4)
axes[0].plot(range(19, len(losses)), losses.unfold(0, 20, 1).mean(1), color=COLOURS[0])
axes[0].set_xlabel("step")
axes[0].set_ylabel("loss, and mean of 20")
numbers = range(1, len(solver.history.val_accuracies) + 1)
axes[1].plot(numbers, solver.history.train_accuracies, color=COLOURS[0], ls="--", label="training")
axes[1].plot(numbers, solver.history.val_accuracies, color=COLOURS[0], label="validation")
axes[1].plot(stopper.best_epoch + 1, stopper.best, "o", color=COLOURS[1], label="kept")
axes[1].yaxis.set_major_formatter(PercentFormatter(1))
axes[1].xaxis.get_major_locator().set_params(integer=True)
axes[1].set_xlabel("epoch")
axes[1].set_ylabel("accuracy")
axes[1].legend(frameon=False)
for axis in axes:
    axis.grid(alpha=0.3)
plt.show()

scores = torch.stack([model.loss(x_test) for model in [*models.values(), final]])
singles = (scores.argmax(dim=2) == y_test).double().mean(dim=1)
_, together = ensemble_predict(scores)
for name, accuracy in zip([*models, "the last net"], singles.tolist(), strict=True):
    print(f"{name:17} test {accuracy:.1%}")
print(f"the five together test {(together == y_test).double().mean().item():.1%}")
print(f"{data.name}: validation {stopper.best:.1%}, last net trained in {seconds:.0f} s")

# %% [markdown]
# What was measured with 9,000 training images, one run each (the last net: 21 s of one core's time on CIFAR-10):
#
# | | CIFAR-10: best validation | test | drawn shapes: best validation | test |
# | --- | --- | --- | --- | --- |
# | none | 42.2 % | 42.2 % | 58.8 % | 55.4 % |
# | L2 | 44.6 % | 43.0 % | 56.2 % | 55.3 % |
# | dropout | 41.0 % | 39.8 % | 48.0 % | 47.0 % |
# | mixup | 44.0 % | 41.3 % | 54.3 % | 52.5 % |
# | the last net | 48.1 % | 45.9 % | 60.0 % | 60.9 % |
# | all five together | | 46.2 % | | 59.4 % |
#
# Read it with care. An accuracy near 45 % that was counted on 1,000 images scatters by 1.6 points, $\sqrt{0.45 \cdot
# 0.55 / 1000} = 0.016$, so that L2 and mixup cannot be told apart. On CIFAR-10 the net without any regulariser knows 85
# % of its training images after eight epochs and only 41 % of the others, and dropout, with a gap of 7 points, is still
# learning; on drawn shapes all four are, and who has not stopped learning gains nothing from brakes. The five together
# beat the mean of their members by far, but the best of them hardly or not at all: a good net that is averaged with
# four weaker ones is no ensemble of equals. Train the last net three times with other seeds, and try again.
#
# What one can hope for: a fully-connected net does not know that a cat moved three pixels to the right is still a cat.
# It has to learn every place anew, and no regulariser can teach it that. Stage 3 builds it in.

# %% [markdown] question="recipe" points=3
# **Question 3 (3 points).** A classmate reports, one after the other: (a) the first loss is 2.303, and after 300 steps
# it still is 2.303; (b) 50 images are learned by heart with a loss of 0.00, but with all images the loss becomes `nan`
# within 20 steps; (c) training accuracy 46 %, validation accuracy 45 %, both still rising slowly in the last epoch. For
# each say which step of the recipe it belongs to, what you suspect, and what you would try next.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Step 3 (and step 2, which was skipped): the weights hardly move, or no gradient arrives. Learning
# rate far too low, weights so small that signal and gradient vanish on their way through the layers, or a backward that
# returns zeros; or a rate so high that all ReLUs died in the first steps. Try overfitting 50 images, other learning
# rates, He's weights. (b) Step 3: learning rate too high for
# the noise of many different batches (backward is right, as step 2 shows), or a damaged image or label among the
# others. Divide the rate by 10, clip, look at the data. (c) Step 6: no gap, so it is not overfitting but underfitting:
# less regularisation, a larger net, longer training or a higher learning rate at the start; not more dropout.
#
# *Rubric.* 1 point each: a plausible cause that fits what was observed, and a next step that tests it. In (c) asking
# for more regularisation earns nothing.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Nitish Srivastava, Geoffrey Hinton, Alex Krizhevsky, Ilya Sutskever and Ruslan Salakhutdinov, *Dropout: a simple way
#   to prevent neural networks from overfitting*, Journal of Machine Learning Research, 2014: with max-norm, and what it
#   does to features.
# - Hongyi Zhang, Moustapha Cissé, Yann Dauphin and David Lopez-Paz, *mixup: beyond empirical risk minimization*, 2018,
#   arXiv:1710.09412.
# - Terrance DeVries and Graham Taylor, *Improved regularization of convolutional neural networks with cutout*, 2017,
#   arXiv:1708.04552.
# - Stefan Wager, Sida Wang and Percy Liang, *Dropout training as adaptive regularization*, 2013, arXiv:1307.1493:
#   dropout as a penalty, further than here.
# - Lutz Prechelt, *Early stopping, but when?*, in: Neural Networks: Tricks of the Trade, 1998.
# - Balaji Lakshminarayanan, Alexander Pritzel and Charles Blundell, *Simple and scalable predictive uncertainty
#   estimation using deep ensembles*, 2017, arXiv:1612.01474.

# %%
check.summary()
