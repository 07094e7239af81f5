# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Convolutional nets
#
# A fully-connected layer has a weight for every pixel and learns a horse in the left half of the image without learning
# anything about horses in the right half. A convolution looks through a small window, with the same weights wherever
# the window stands; pooling then makes the maps smaller, so that the next window sees more of the image. You have
# written these layers. Now you stack them, and the stack beats every net of this course so far. In this notebook you
# will
#
# - put layers together into larger ones, and build a **three-layer net** and a **deep net** from them, the second from
#   a plan written as a list;
# - go through the **checks before training**: the first loss, the gradient, fifty images learned by heart;
# - keep two kinds of numbers apart, those that are learned and those that are counted: a net with **batch norm**
#   behaves differently in training and in use;
# - **augment** the training images, and find out when that helps;
#
# and look at what the nets have learned: filters, activation maps, mistakes.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $X$, $y$ | images and their labels $0 \dots K-1$ | $(N, C, H, W)$, $(N,)$ |
# | $W_1, b_1$ | filters and bias of a convolution with $F$ filters of $k \times k$ pixels | $(F, C, k, k)$, $(F,)$ |
# | $A$ | what a convolution gives, one map per filter | $(N, F, H', W')$ |
# | $\gamma, \beta$ | scale and shift of batch norm | $(F,)$ each |
# | $\mu, v$ | running mean and variance of batch norm | $(F,)$ each |
# | $S$ | scores | $(N, K)$ |
# | $L$ | loss | a number |
# | $\lambda$ | strength of the regulariser, `reg` in code | a number |
# | $dT$, short for $\partial L / \partial T$ | gradient of the loss with respect to any tensor $T$ | as $T$ |
#
# The layers come ready-made: `conv`, `max_pool`, `spatial_batchnorm`, `affine` and `relu`, each as a pair of `_forward`
# and `_backward`, and `softmax_loss`. They are called as those that you wrote and run faster, since torch is inside.
# Nothing else of torch's layers and no autograd is needed.

# %% tags=["setup"]
import math
import time

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, normalize
from dlcvkit.layers import (
    affine_backward,
    affine_forward,
    conv_backward,
    conv_forward,
    max_pool_backward,
    max_pool_forward,
    relu_backward,
    relu_forward,
    softmax_loss,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
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
data = load_images(
    "cifar10", n_train=1000 if is_fast() else 9000, n_val=300 if is_fast() else 1000, n_test=300 if is_fast() else 2000
)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val, x_test = (normalize(images, mean, std) for images in (data.x_train, data.x_val, data.x_test))
y_train, y_val, y_test = data.y_train, data.y_val, data.y_test
input_shape, K = x_train[0].shape, len(data.classes)

# %% [markdown]
# ## 1. A sandwich of layers
#
# This is the net of the first half: one convolution with ReLU and pooling, then the two-layer net of stage 2. Boxes are
# drawn as high and wide as their maps, for 32 filters of $5 \times 5$ pixels and 100 hidden units.

# %% tags=["demo"]
boxes = [
    ("images", 3, 32, "$X$\n$3 \\times 32 \\times 32$"),
    ("conv, ReLU", 32, 32, "$32 \\times 32 \\times 32$"),
    ("max pool", 32, 16, "$32 \\times 16 \\times 16$"),
]
figure, axis = plt.subplots(figsize=(10, 3.4), layout="constrained")
left = 0.0
edges = []
for name, maps, side, label in boxes:
    sheets = 3 if maps == 3 else 7
    for sheet in range(sheets):
        corner = (left + 2.2 * (sheets - 1 - sheet), -side / 2 - 1.1 * sheet + 1.1 * (sheets - 1) / 2)
        axis.add_patch(Rectangle(corner, side, side, fc="white", ec=COLOURS[0], lw=1.2))
    width = side + 2.2 * (sheets - 1)
    axis.text(left + width / 2, 24, name, ha="center", fontsize=11)
    axis.text(left + width / 2, -28, label, ha="center", va="center", fontsize=10, color=COLOURS[0])
    edges.append((left, left + width))
    left += width + 25
for name, height, label in (("affine, ReLU", 34, "100"), ("affine", 14, "$S$\n$K = 10$")):
    axis.add_patch(Rectangle((left, -height / 2), 3, height, fc="white", ec=COLOURS[0], lw=1.2))
    axis.text(left + 1.5, 24, name, ha="center", fontsize=11)
    axis.text(left + 1.5, -28, label, ha="center", va="center", fontsize=10, color=COLOURS[0])
    edges.append((left, left + 3))
    left += 33
weights = ["$W_1$: 2,400", "$2 \\times 2$", "$W_2$: 819,200", "$W_3$: 1,000"]
for (_, here), (there, _), text in zip(edges, edges[1:], weights, strict=False):
    axis.annotate(
        "", (there - 1.5, 0), (here + 1.5, 0), arrowprops={"arrowstyle": "->", "color": COLOURS[1], "lw": 1.5}
    )
    axis.text((here + there) / 2, 3, text, ha="center", fontsize=9, color=COLOURS[1])
axis.set_xlim(-2, edges[-1][1] + 12)
axis.set_ylim(-34, 30)
axis.set_aspect("equal")
axis.axis("off")
plt.show()

# %% [markdown]
# Two things are worth a second look. All the filters together have 2,400 weights, while the matrix behind them has
# 340 times as many: what is shared is cheap. And the maps grow smaller at the pooling alone, because the convolution is
# padded with $(k - 1) / 2$ zeros on each side, which for odd $k$ and stride 1 keeps height and width:
#
# $$H' = H + 2 \cdot \frac{k - 1}{2} - k + 1 = H .$$
#
# Convolution, ReLU and pooling go together so often that one writes them as one layer:
#
# $$\underbrace{X}_{(N, C, H, W)} \;\xrightarrow{\text{conv}}\; \underbrace{A}_{(N, F, H', W')}
# \;\xrightarrow{\text{ReLU}}\; \underbrace{Z}_{(N, F, H', W')}
# \;\xrightarrow{\text{max pool}}\; \underbrace{P}_{(N, F, H'', W'')} .$$
#
# A layer made of layers keeps the rules of a layer: forward returns an output and a cache, and the cache is whatever
# backward needs, here the three caches. Backward goes the other way, $dP \to dZ \to dA \to dX$, and each step uses the
# gradient that the step before it has returned.
#
# - `conv_forward(x, w, b, conv_param)` takes a dict with `stride` and `pad`, and `conv_backward(dout, cache)` returns
#   the gradients of `x`, `w` and `b`;
# - `max_pool_forward(x, pool_param)` takes a dict with `height`, `width` and `stride`, and
#   `max_pool_backward(dout, cache)` returns the gradient of `x`.


# %% exercise="a3/conv_relu_pool"
def conv_relu_pool_forward(x, w, b, conv_param, pool_param):
    """Compute a convolution, a ReLU and a max pooling, one after the other.

    Args:
        x: Images of shape (N, C, H, W); not modified.
        w: Filters of shape (F, C, HH, WW), dtype and device as ``x``.
        b: Bias of shape (F,).
        conv_param: Dict with ``stride`` and ``pad``, as ``conv_forward`` takes it.
        pool_param: Dict with ``height``, ``width`` and ``stride``, as ``max_pool_forward`` takes it.

    Returns:
        ``(out, cache)``: the output of shape (N, F, H'', W''), where H' = (H + 2 * pad - HH) // stride + 1 is the
        height after the convolution and H'' = (H' - height) // stride + 1, with the pooling's stride, that after the
        pooling (W'' likewise); and what ``conv_relu_pool_backward`` needs.
    """
    ### BEGIN SOLUTION
    maps, conv_cache = conv_forward(x, w, b, conv_param)
    active, relu_cache = relu_forward(maps)
    out, pool_cache = max_pool_forward(active, pool_param)
    return out, (conv_cache, relu_cache, pool_cache)
    ### END SOLUTION


# %% exercise="a3/conv_relu_pool"
def conv_relu_pool_backward(dout, cache):
    """Compute the backward pass of ``conv_relu_pool_forward``.

    Args:
        dout: Upstream gradient of shape (N, F, H'', W'').
        cache: What ``conv_relu_pool_forward`` returned.

    Returns:
        ``(dx, dw, db)``: gradients of shapes (N, C, H, W), (F, C, HH, WW) and (F,).
    """
    ### BEGIN SOLUTION
    conv_cache, relu_cache, pool_cache = cache
    dactive = max_pool_backward(dout, pool_cache)
    dmaps = relu_backward(dactive, relu_cache)
    return conv_backward(dmaps, conv_cache)
    ### END SOLUTION


# %% check="a3/conv_relu_pool"
check("a3/conv_relu_pool", conv_relu_pool_forward, conv_relu_pool_backward)

# %% [markdown] question="which_first" points=2
# **Question 1 (2 points).** (a) Let $a_1, \dots, a_m$ be the entries of $A$ in one window. Show that ReLU and max
# pooling may be swapped: the output is the same either way. With windows of $2 \times 2$ and stride 2, how many times
# fewer numbers does ReLU look at if it comes second? (b) May ReLU and *average* pooling be swapped? Prove it, or give
# two numbers for which it fails.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) ReLU is non-decreasing, so it carries the largest entry to the largest: $\max_j \max(0, a_j) =
# \max(0, a_1, \dots, a_m) = \max(0, \max_j a_j)$. Pooled maps have a quarter of the entries, so ReLU has four times
# fewer numbers to look at. (b) No: for $a = (1, -1)$ the mean after ReLU is $\frac12$, and ReLU of the mean is 0.
#
# *Rubric.* 1 point: the argument (non-decreasing, or the maximum over all entries and 0), and four. 1 point: no, with
# numbers of both signs that show it.
# ### END MARK SCHEME

# %% [markdown]
# ## 2. First weights
#
# One output of a layer is a sum of products, $a = \sum_{j=1}^{n} w_j x_j$. How many there are, $n$, is called the
# layer's **fan-in**. For weights drawn by themselves with mean 0 and variance $\sigma^2$,
#
# $$\operatorname{Var}[a] = n \, \sigma^2 \, \mathbb{E}[x^2] .$$
#
# If $x$ came out of a ReLU, whose input $a'$ was symmetric around 0, then half of it was cut off and
# $\mathbb{E}[x^2] = \frac12 \operatorname{Var}[a']$. The variance stays what it was, layer after layer, if
#
# $$n \, \sigma^2 \cdot \tfrac12 = 1 \qquad \Longleftrightarrow \qquad \sigma = \sqrt{2 / n} ,$$
#
# which is known as Kaiming's (or He's) initialisation. New is only what $n$ is. An affine layer's weights have the
# shape $(D, M)$, and each output adds up all $D$ inputs. A convolution's weights have the shape
# $(F, C, k_1, k_2)$, and each output adds up one window over all channels. So the fan-in stands on different axes.


# %% exercise="a3/kaiming_weights"
def kaiming_weights(shape, generator, dtype=torch.float32):
    """Draw the first weights of a layer that is followed by a ReLU.

    Args:
        shape: Tuple: (D, M) for an affine layer, (F, C, HH, WW) for a convolution.
        generator: ``torch.Generator``, the only source of randomness.
        dtype: Floating-point type of the weights.

    Returns:
        Tensor of that shape and dtype on the generator's device: normal numbers with mean 0 and standard deviation
        sqrt(2 / fan_in), where fan_in is the number of products that one output adds up.
    """
    ### BEGIN SOLUTION
    fan_in = shape[0] if len(shape) == 2 else math.prod(shape[1:])
    numbers = torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
    return math.sqrt(2 / fan_in) * numbers
    ### END SOLUTION


# %% check="a3/kaiming_weights"
check("a3/kaiming_weights", kaiming_weights)

# %% [markdown]
# ## 3. A three-layer net
#
# With the sandwich in place, the net is short to write: sandwich - affine - ReLU - affine. Its loss is
#
# $$L = L_{\text{softmax}}(S, y) + \frac{\lambda}{2} \Bigl( \sum W_1^2 + \sum W_2^2 + \sum W_3^2 \Bigr),$$
#
# where each sum runs over all entries of a tensor and biases are left alone. With $F$ filters of $k \times k$, $k$ odd,
# a hidden size $M$ and $2 \times 2$ pooling with stride 2, which drops the last row or column of an odd size, the shapes
# are
#
# $$\underbrace{W_1}_{(F, C, k, k)}, \quad \underbrace{b_1}_{(F,)}, \quad
# \underbrace{W_2}_{(F \lfloor H/2 \rfloor \lfloor W/2 \rfloor, \, M)}, \quad \underbrace{b_2}_{(M,)}, \quad
# \underbrace{W_3}_{(M, K)}, \quad \underbrace{b_3}_{(K,)} .$$
#
# `affine_forward` flattens the maps by itself, and `affine_backward` returns `dx` in the shape that they had.
#
# **First weights.** $W_1$ and $W_2$ stand before a ReLU: Kaiming's size. After $W_3$ comes the softmax, and there we
# want something else, first scores near 0, so that no class is favoured before the net has seen anything: $W_3$ gets
# normal numbers with a standard deviation of 0.01. Biases start at 0.
#
# The check puts weights of its own into `params`, so read them from there whenever `loss` is called.


# %% exercise="a3/three_layer_convnet"
class ThreeLayerConvNet:
    """Conv - ReLU - 2×2 max pool - affine - ReLU - affine, with softmax loss.

    The convolution has stride 1 and keeps height and width; the pooling has stride 2.

    Attributes:
        params: Name to weight: W1 (F, C, k, k), b1 (F,), W2 (F * (H // 2) * (W // 2), M), b2 (M,), W3 (M, K), b3 (K,).
        reg: Strength of the regulariser.
    """

    def __init__(
        self,
        input_shape,
        num_filters,
        filter_size,
        hidden_dim,
        num_classes,
        *,
        reg=0.0,
        seed=0,
        device="cpu",
        dtype=torch.float32,
    ):
        """Draw the first weights.

        Args:
            input_shape: Shape of one image, (C, H, W).
            num_filters: Filters of the convolution, F.
            filter_size: Their height and width k, odd.
            hidden_dim: Units of the hidden affine layer, M.
            num_classes: Classes, K.
            reg: Strength of the regulariser.
            seed: Seed of a generator on ``device`` that draws W1 and W2 with Kaiming's size, and W3 as normal numbers
                of standard deviation 0.01, each tensor with new numbers. Biases are 0.
            device: Where the weights are made.
            dtype: Their floating-point type.
        """
        self.reg = reg
        # Fill self.params.
        ### BEGIN SOLUTION
        generator = torch.Generator(device=device).manual_seed(seed)
        place = {"device": device, "dtype": dtype}
        C, H, W = input_shape
        D = num_filters * (H // 2) * (W // 2)
        self.params = {
            "W1": kaiming_weights((num_filters, C, filter_size, filter_size), generator, dtype),
            "b1": torch.zeros(num_filters, **place),
            "W2": kaiming_weights((D, hidden_dim), generator, dtype),
            "b2": torch.zeros(hidden_dim, **place),
            "W3": 0.01 * torch.randn(hidden_dim, num_classes, generator=generator, **place),
            "b3": torch.zeros(num_classes, **place),
        }
        ### END SOLUTION

    def loss(self, X, y=None):
        """Compute scores, or loss and gradients.

        Args:
            X: Images of shape (N, C, H, W); dtype and device as the weights.
            y: int64 labels of shape (N,), or None.

        Returns:
            Without ``y``: scores of shape (N, K). With ``y``: ``(loss, grads)``, the softmax loss plus
            ``0.5 * reg`` times the sum of the squares of W1, W2 and W3, a number, and its gradients, a dict with the
            names and shapes of ``params``.
        """
        ### BEGIN SOLUTION
        W1, b1, W2, b2, W3, b3 = (self.params[name] for name in ("W1", "b1", "W2", "b2", "W3", "b3"))
        same = {"stride": 1, "pad": W1.shape[2] // 2}
        halving = {"height": 2, "width": 2, "stride": 2}
        pooled, sandwich_cache = conv_relu_pool_forward(X, W1, b1, same, halving)
        hidden, hidden_cache = affine_forward(pooled, W2, b2)
        active, relu_cache = relu_forward(hidden)
        scores, scores_cache = affine_forward(active, W3, b3)
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        grads = {}
        dactive, grads["W3"], grads["b3"] = affine_backward(dscores, scores_cache)
        dhidden = relu_backward(dactive, relu_cache)
        dpooled, grads["W2"], grads["b2"] = affine_backward(dhidden, hidden_cache)
        _, grads["W1"], grads["b1"] = conv_relu_pool_backward(dpooled, sandwich_cache)
        for name in ("W1", "W2", "W3"):
            loss = loss + 0.5 * self.reg * (self.params[name] ** 2).sum()
            grads[name] = grads[name] + self.reg * self.params[name]
        return loss, grads
        ### END SOLUTION


# %% check="a3/three_layer_convnet"
check("a3/three_layer_convnet", ThreeLayerConvNet)

# %% [markdown]
# ## 4. Before training
#
# Three checks, each in seconds. What they find in seconds takes days to find in a training run.
#
# **The first loss.** With scores near 0 every class has probability $\frac1K$ and the loss is $\log K$, here 2.303.
# Below also for a net whose $W_3$ was drawn with Kaiming's size like the others.
#
# **The gradient.** All entries of a tensor $T$ are moved along a random direction $V$, of the shape of $T$, and two
# losses are compared with the gradient:
#
# $$\frac{L(T + hV) - L(T - hV)}{2h} \;\approx\; \sum_{p} dT_p V_p ,$$
#
# where $p$ runs over the entries. In float64 and on a small net; expect a relative error of $10^{-6}$ or less. Where it
# is much larger for a net that is right, a ReLU or a pooling has changed sides within $h$.


# %% tags=["demo"]
def make_net(**options):
    return ThreeLayerConvNet(input_shape, 32, 5, 100, K, **options)


net = make_net()
print(f"first loss {float(net.loss(x_train[:200], y_train[:200])[0]):.3f}; log K = {math.log(K):.3f}")
net.params["W3"] = kaiming_weights((100, K), torch.Generator().manual_seed(0))
print(f"with Kaiming's size in W3: {float(net.loss(x_train[:200], y_train[:200])[0]):.3f}")


def relative_error(net, X, y, name, generator, h=1e-6):
    """Compare the gradient of one tensor of weights with the difference of two losses."""
    w, gradient = net.params[name], net.loss(X, y)[1][name]
    direction = torch.randn(w.shape, generator=generator, dtype=w.dtype)
    losses = []
    for step in (h, -h):
        net.params[name] = w + step * direction
        losses.append(float(net.loss(X, y)[0]))
    net.params[name] = w
    numeric, derived = (losses[0] - losses[1]) / (2 * h), float((gradient * direction).sum())
    return abs(numeric - derived) / max(abs(numeric), abs(derived))


generator = torch.Generator().manual_seed(0)
few_x = torch.randn(4, 3, 9, 8, generator=generator, dtype=torch.float64)
few_y = torch.arange(4) % 3
small = ThreeLayerConvNet((3, 9, 8), 4, 3, 6, 3, reg=0.1, dtype=torch.float64)
errors = {name: relative_error(small, few_x, few_y, name, generator) for name in small.params}
print("gradient:", "   ".join(f"{name} {error:.0e}" for name, error in errors.items()))

# %% [markdown]
# **Fifty images by heart.** A net of this size can learn 50 images whatever their labels. If it cannot, something is
# broken; if it can, that says nothing yet about other images. Expect the loss to fall by a factor of 100 or more, all 50
# images right within a few epochs, and of the validation images little more than twice what guessing would give.


# %% tags=["demo"]
def adam():
    return torch_rule(torch.optim.Adam)


def draw_curves(axes, history, name, colour):
    """Plot the loss, smoothed, and the accuracies after every epoch."""
    losses, epochs = torch.tensor(history.losses), len(history.train_accuracies)
    per_epoch, window = len(losses) / epochs, max(1, len(losses) // 60)
    smooth = losses.unfold(0, window, 1).mean(1)
    axes[0].plot([(step + window) / per_epoch for step in range(len(smooth))], smooth, color=colour, lw=1.2, label=name)
    axes[0].set_ylabel("loss of the batch")
    span = range(1, epochs + 1)
    axes[1].plot(span, history.train_accuracies, color=colour, ls=":", marker=".", label=f"{name}, training")
    axes[1].plot(span, history.val_accuracies, color=colour, marker=".", label=f"{name}, validation")
    axes[1].set_ylabel("accuracy")
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.3)


few = Solver(
    make_net(),
    x_train[:50],
    y_train[:50],
    x_val[:300],
    y_val[:300],
    rule=adam(),
    lr=1e-3,
    batch_size=10,
    epochs=20,
    progress=False,
)
history = few.train()
print(f"loss {history.losses[0]:.2f} -> {history.losses[-1]:.4f}; training {history.train_accuracies[-1]:.0%}")
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
draw_curves(axes, history, "50 images", COLOURS[0])
axes[0].set_yscale("log")
axes[1].set_ylim(0, 1.03)
plt.show()

# %% [markdown] question="first_loss" points=3
# **Question 2 (3 points).** (a) Which first loss, and which accuracy, do you expect for ImageNet's 1,000 classes, with
# first scores near 0 and `reg` = 0? (b) With Kaiming's size in $W_3$ the first loss is larger than $\log K$, though the
# net knows as little. Explain why random scores that are *not* near 0 cost more on average than equal ones. (Look at
# one image, and at $L = \log \sum_j e^{s_j} - s_y$ with scores $s_j$ drawn around 0 by themselves.) (c) In another run
# the first loss is exactly 2.3026 for ten classes, and after 200 steps it still is. Name two possible causes, and for
# each what you would print to find out.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\log 1000 \approx 6.91$, and 0.1 %. (b) $s_y$ has mean 0 and drops out on average. Since the
# exponential is convex, large scores add more than small ones take away: $\frac1K \sum_j e^{s_j}$ lies above
# $e^{\text{mean of } s}$, so $\log \sum_j e^{s_j}$ is at least $\log K$ plus the mean score, with equality only if all
# scores are equal. (For normal scores with variance $\sigma^2$ and many classes about $\log K + \sigma^2 / 2$.) A net
# that is confidently wrong loses more than one that is confidently right gains. (c) Exactly $\log K$ means equal scores
# for all images, and staying means that no gradient arrives or none is used. For example: all weights (or $W_3$ and
# what comes before it) are 0: print the norms of the weights; all units behind a ReLU are dead: print the share of zeros
# in the activations; the gradients are 0 or lost: print their norms; the learning rate is 0 or the new weights are not
# put back: print how much the weights change in one step.
#
# *Rubric.* 1 point: 6.9 and 0.1 %. 1 point: convexity, or wrong confidence costs more than right confidence gains.
# 1 point: two causes that explain both *exactly* and *stays*, each with a measurement.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. Training, and what the filters look for
#
# A filter of the first layer has three channels, as images have, so it can be looked at. Weights have no range of their
# own, though: they may be negative, and as large as they like. To be shown, each filter is stretched so that its
# smallest entry becomes 0 and its largest 1. It is one range for all channels of a filter, since a range for each would
# change the colours. For filter $f$ with entries $w_{f c i j}$,
#
# $$u_{f c i j} = \frac{w_{f c i j} - \min_{c', i', j'} w_{f c' i' j'}}
# {\max_{c', i', j'} w_{f c' i' j'} - \min_{c', i', j'} w_{f c' i' j'}} .$$


# %% exercise="a3/stretch_to_images"
def stretch_to_images(x):
    """Stretch tensors to the range of images.

    Args:
        x: Shape (N, C, H, W), floating point, such as N filters; not modified.

    Returns:
        Shape (N, C, H, W): each of the N stretched by itself, all channels alike, so that its smallest entry becomes 0
        and its largest 1. One whose entries are all equal becomes 0.5 everywhere.
    """
    ### BEGIN SOLUTION
    low, high = x.amin(dim=(1, 2, 3), keepdim=True), x.amax(dim=(1, 2, 3), keepdim=True)
    stretched = (x - low) / (high - low)
    return stretched.masked_fill(high == low, 0.5)
    ### END SOLUTION


# %% check="a3/stretch_to_images"
check("a3/stretch_to_images", stretch_to_images)

# %% [markdown]
# Now the training: three epochs with Adam and a learning rate that falls to 0 in a straight line. Measured, on 9,000
# training images and with 27 s of processor time on a busy machine: 50.3 % of the validation images on CIFAR-10, where
# the best two-layer net of stage 2 needed 15 epochs for 49.7 %, and 56.0 % on drawn shapes.


# %% tags=["demo"]
def train(net, images, labels, epochs, lr, progress=True, **options):
    """Train with Adam and a learning rate that falls to 0 in a straight line; return the solver."""
    total = epochs * -(-len(images) // 100)
    solver = Solver(
        net,
        images,
        labels,
        x_val,
        y_val,
        rule=adam(),
        lr=lr,
        schedule=lambda step: 1 - step / total,
        epochs=epochs,
        progress=progress,
        **options,
    )
    solver.train()
    return solver


start = time.perf_counter()
shallow = make_net()
before = shallow.params["W1"]
solver = train(shallow, x_train, y_train, 1 if is_fast() else 3, lr=2e-3)
print(f"{data.name}: validation {solver.best_accuracy:.1%} in {time.perf_counter() - start:.0f} s")

# %% [markdown]
# Now the filters: first 24 of the 32 as they were before training, then as they are after it. Nothing seems to have
# happened. Training has added something, but less than the noise of the start, which nobody has taken away: on
# CIFAR-10 measured as 0.026 against 0.165 on average (root mean square of the entries). Subtract the start, and what the
# filters have *learned* comes to light: bright against dark at several angles, one colour against another, blobs. A
# random filter with a little of that is good enough for a net of three layers, which learns the rest in $W_2$.


# %% tags=["demo"]
def strip(images):
    """Put images (N, C, H, W) side by side with white gaps, shape (H, W', C)."""
    gaps = torch.nn.functional.pad(images, (0, 1), value=1.0)
    return torch.cat(list(gaps), dim=2).permute(1, 2, 0)


after = shallow.params["W1"]
print(f"size of the start {float(before.std()):.3f}, of what was added {float((after - before).std()):.3f}")
rows = {"before training": before, "after training": after, "what training has added": after - before}
figure, axes = plt.subplots(3, 1, figsize=(10, 2.6), layout="constrained")
for axis, (name, filters) in zip(axes, rows.items(), strict=True):
    axis.imshow(strip(stretch_to_images(filters[:24])), interpolation="nearest")
    axis.set_title(name, fontsize=10, loc="left", pad=3)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 6. A deep net
#
# The three-layer net has most of its weights in one matrix that knows nothing of neighbourhood. VGG, a net of 2014,
# showed a better use for them: many small convolutions, $3 \times 3$ throughout, pooling now and then, more filters
# where maps are smaller. Such a net fits into a list. `[16, "pool", 32, "pool", 64, "pool"]` means: a convolution with
# 16 filters, pooling, one with 32, and so on; at the end always comes an affine layer that gives the scores.
#
# For a number $F$ in the plan the net has three layers,
#
# $$\underbrace{X}_{(N, C, H, W)} \;\xrightarrow{3 \times 3 \text{ conv}}\; \underbrace{A}_{(N, F, H, W)}
# \;\xrightarrow{\text{batch norm}}\; \hat A \;\xrightarrow{\text{ReLU}}\; \underbrace{Z}_{(N, F, H, W)} ,$$
#
# the convolution with stride 1, padding 1 and without a bias (question 3 says why), and for `"pool"` it has a
# $2 \times 2$ max pooling with stride 2. Numbering the convolutions $\ell = 1, 2, \dots$, layer $\ell$ has weights
# $W_\ell$ of shape $(F_\ell, F_{\ell-1}, 3, 3)$ with $F_0 = C$, and $\gamma_\ell$, $\beta_\ell$ of shape $(F_\ell,)$.
# After $\ell = 1 \dots n$ the affine layer is number $n + 1$: $W_{n+1}$ of shape $(D, K)$, where $D$ is the number of
# entries that are left of an image, and $b_{n+1}$ of shape $(K,)$.
#
# ### In training and in use
#
# Batch norm shifts and scales each channel by the mean and variance of the *batch*. In training that is what we want.
# In use it is not: an image's scores would depend on which other images happen to be in its batch. So every batch norm
# keeps a **running** mean $\mu$ and variance $v$, each of shape $(F,)$, and in use they take the place of the batch's.
# In training they are updated from the batch's mean $m$ and biased variance $s^2$:
#
# $$\mu \leftarrow 0.9 \, \mu + 0.1 \, m , \qquad v \leftarrow 0.9 \, v + 0.1 \, s^2 .$$
#
# They are not weights: the loss in training does not depend on them, they have no gradient, and no optimiser moves them.
# The net keeps them in a dict of its own, `state`, beside `params`. They start as $\mu = 0$ and $v = 1$.
#
# `spatial_batchnorm_forward(x, gamma, beta, running_mean, running_var, is_training)` returns `out`, the running mean and
# the running variance afterwards (unchanged if `is_training` is False; neither argument is modified), and the cache.
# `spatial_batchnorm_backward(dout, cache)` returns the gradients of `x`, `gamma` and `beta`.
#
# Which of the two it is, the net is told by the labels: `loss(X, y)` is training, `loss(X)` is use. Note what follows:
# `loss(X, y)` changes `state`, and `loss(X)` must not.
#
# A net from a list has no fixed number of layers, so write the forward pass as a loop that notes what the way back
# needs, and the backward pass as a loop over these notes in reverse. Hand a convolution zeros for its bias.


# %% exercise="a3/deep_convnet"
class DeepConvNet:
    """A net from a plan, (3×3 conv - batch norm - ReLU) or 2×2 max pool at each step, then affine, with softmax loss.

    Attributes:
        plan: List of int (filters of a convolution) and ``"pool"``; may be empty.
        params: Name to weight. For convolution l = 1 ... n: ``W{l}`` of shape (F_l, F_(l-1), 3, 3), ``gamma{l}`` and
            ``beta{l}`` of shape (F_l,). For the affine layer: ``W{n+1}`` of shape (D, K) and ``b{n+1}`` of shape (K,).
            Others may be put in their place.
        state: Name to running statistic: ``mean{l}`` and ``var{l}`` of shape (F_l,) for l = 1 ... n. Others may be put
            in their place.
        reg: Strength of the regulariser.
    """

    def __init__(self, input_shape, plan, num_classes, *, reg=0.0, seed=0, device="cpu", dtype=torch.float32):
        """Draw the first weights.

        Args:
            input_shape: Shape of one image, (C, H, W). A pooling drops the last row or column of an odd size.
            plan: List of int and ``"pool"``.
            num_classes: Classes, K.
            reg: Strength of the regulariser.
            seed: Seed of a generator on ``device``. It draws the filters with Kaiming's size, and the last W as normal
                numbers of standard deviation 0.01, each tensor with new numbers. gamma is 1, beta and b are 0, running
                means are 0, running variances 1.
            device: Where the weights are made.
            dtype: Their floating-point type.
        """
        self.plan, self.reg = plan, reg
        # Fill self.params and self.state.
        ### BEGIN SOLUTION
        generator = torch.Generator(device=device).manual_seed(seed)
        place = {"device": device, "dtype": dtype}
        self.params, self.state = {}, {}
        C, H, W = input_shape
        number = 1
        for step in plan:
            if step == "pool":
                H, W = H // 2, W // 2
                continue
            self.params[f"W{number}"] = kaiming_weights((step, C, 3, 3), generator, dtype)
            self.params[f"gamma{number}"] = torch.ones(step, **place)
            self.params[f"beta{number}"] = torch.zeros(step, **place)
            self.state[f"mean{number}"] = torch.zeros(step, **place)
            self.state[f"var{number}"] = torch.ones(step, **place)
            C = step
            number += 1
        self.params[f"W{number}"] = 0.01 * torch.randn(C * H * W, num_classes, generator=generator, **place)
        self.params[f"b{number}"] = torch.zeros(num_classes, **place)
        ### END SOLUTION

    def loss(self, X, y=None):
        """Compute scores in use, or loss and gradients in training.

        Args:
            X: Images of shape (N, C, H, W); dtype and device as the weights.
            y: int64 labels of shape (N,), or None.

        Returns:
            Without ``y``: scores of shape (N, K), with the running statistics, which stay as they are. With ``y``:
            ``(loss, grads)``, the softmax loss plus ``0.5 * reg`` times the sum of the squares of all W, with the
            statistics of the batch, and its gradients, a dict with the names and shapes of ``params``; the running
            statistics in ``state`` are updated.
        """
        ### BEGIN SOLUTION
        out, tape, number = X, [], 1
        for step in self.plan:
            if step == "pool":
                out, cache = max_pool_forward(out, {"height": 2, "width": 2, "stride": 2})
                tape.append((max_pool_backward, cache, []))
                continue
            W, gamma, beta = (self.params[f"{name}{number}"] for name in ("W", "gamma", "beta"))
            out, cache = conv_forward(out, W, torch.zeros_like(beta), {"stride": 1, "pad": 1})
            tape.append((conv_backward, cache, [f"W{number}", "no bias"]))
            statistics = self.state[f"mean{number}"], self.state[f"var{number}"]
            out, *statistics, cache = spatial_batchnorm_forward(out, gamma, beta, *statistics, y is not None)
            self.state[f"mean{number}"], self.state[f"var{number}"] = statistics
            tape.append((spatial_batchnorm_backward, cache, [f"gamma{number}", f"beta{number}"]))
            out, cache = relu_forward(out)
            tape.append((relu_backward, cache, []))
            number += 1
        scores, cache = affine_forward(out, self.params[f"W{number}"], self.params[f"b{number}"])
        tape.append((affine_backward, cache, [f"W{number}", f"b{number}"]))
        if y is None:
            return scores
        loss, dout = softmax_loss(scores, y)
        grads = {}
        for backward, cache, names in reversed(tape):
            if names:
                dout, grads[names[0]], grads[names[1]] = backward(dout, cache)
            else:
                dout = backward(dout, cache)
        grads.pop("no bias", None)
        for name, value in self.params.items():
            if name.startswith("W"):
                loss = loss + 0.5 * self.reg * (value**2).sum()
                grads[name] = grads[name] + self.reg * value
        return loss, grads
        ### END SOLUTION


# %% check="a3/deep_convnet"
check("a3/deep_convnet", DeepConvNet)

# %% [markdown] question="no_bias" points=3
# **Question 3 (3 points).** (a) Give the convolution before a batch norm a bias $b$ of shape $(F,)$, and look at channel
# $f$ in training: $A_{n f i j}$ becomes $A_{n f i j} + b_f$. Show that the output of batch norm does not change. What is
# $db$ then, and which weight does the work that $b$ was meant to do? (b) Multiply all of $W_\ell$ by 10. What happens to
# the output of batch norm, and to $dW_\ell$? (Leave $\varepsilon$ aside.) (c) The regulariser pulls $W_\ell$ towards 0.
# By (b), the net computes the same with small filters as with large ones. What does the regulariser change, then?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) The batch mean of channel $f$ grows by $b_f$ as well, so $A_{nfij} + b_f$ minus the mean is what it
# was, and the variance is, too. The loss does not depend on $b$, so $db = 0$ and $b$ stays where it started. $\beta_f$
# is added after the normalisation and does what $b_f$ was meant to do. (b) The output is the same, since mean and
# standard deviation are multiplied by 10 too. $dW_\ell$ is divided by 10: $L(10\,W) = L(W)$ as a function of $W$ gives
# $10\, dL/dW\,(10 W) = dL/dW\,(W)$. (c) Not what the net can express, but how far a step goes: for filters that are
# smaller, gradients are larger and the same step turns them further. The relative step is about $1 / |W|^2$ with plain
# gradient descent, so the regulariser holds up the learning rate in effect, which would otherwise fall as $W$ grows.
# (It still restrains the last affine layer in the usual way.)
#
# *Rubric.* 1 point: the mean takes $b_f$ away, $db = 0$, $\beta$. 1 point: the same output, a tenth of the gradient.
# 1 point: not the function but the (relative, effective) size of the steps.
# ### END MARK SCHEME

# %% [markdown]
# ### Train it
#
# `Solver` notes the weights of the best epoch and puts them back into `params` at the end. Of `state` it knows nothing,
# and the running statistics of the last epoch do not belong to the weights of an earlier one. After each epoch `Solver`
# calls a function `stop(history)`, which may end the training; here it is put to another use and keeps a copy of the
# statistics when the epoch was the best so far.
#
# Expect more than 50 % of the validation images after three epochs. Measured after four, on 9,000 training images and
# with 31 s of processor time on a busy machine: 59.3 % on CIFAR-10 and 83.8 % on drawn shapes. The net has a
# twenty-fourth of the weights of the three-layer net, and gets further.


# %% tags=["demo"]
def train_deep(images, labels, epochs, plan, lr=3e-3, **options):
    """Train a deep net; return its solver, with weights and statistics of the best epoch in ``solver.model``."""
    net, kept = DeepConvNet(input_shape, plan, K), {}

    def keep_statistics(history):
        if history.val_accuracies[-1] > max(history.val_accuracies[:-1], default=-1.0):
            kept.update(net.state)
        return False

    solver = train(net, images, labels, epochs, lr, stop=keep_statistics, **options)
    net.state.update(kept)
    return solver


plan = [16, "pool", 32, "pool", 64, "pool"]
counts = {
    "three layers": sum(w.numel() for w in shallow.params.values()),
    "deep": sum(w.numel() for w in DeepConvNet(input_shape, plan, K).params.values()),
}
print("weights:", ", ".join(f"{name} {count:,}" for name, count in counts.items()))
start = time.perf_counter()
deep = train_deep(x_train, y_train, 1 if is_fast() else 4, plan)
print(f"{data.name}: validation {deep.best_accuracy:.1%} in {time.perf_counter() - start:.0f} s")
print(f"the same from the model as it now is: {deep.accuracy(x_val, y_val):.1%}")
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
draw_curves(axes, solver.history, "three layers", COLOURS[0])
draw_curves(axes, deep.history, "deep", COLOURS[1])
plt.show()

# %% [markdown]
# ## 7. More images out of few
#
# A horse that stands two pixels further left is a horse, and so is its mirror image. Whoever knows this can make new
# training images from old ones, in every step others, at next to no cost. Two changes are common:
#
# - a **random crop**: put $p$ rows and columns of zeros around the image, $(C, H + 2p, W + 2p)$, and cut a window of the
#   old size, $H \times W$, out of it, at a random place. The window's first row in the padded image is one of
#   $0, 1, \dots, 2p$, all equally likely, and so is its first column; $p$ for both gives the old image. (The images
#   are normalised, so 0 is the mean colour.)
# - **mirroring**: with probability $\frac12$, left and right are swapped.
#
# Row, column and mirroring are drawn by themselves, and for each image of the batch anew. It is enough to mirror the
# window after cutting. A loop over the images is fine; without a loop, index with rows of shape $(N, H, 1)$ and columns
# of shape $(N, 1, W)$.


# %% exercise="a3/augment"
def augment(images, generator, pad=4):
    """Cut a random window out of each padded image and mirror half of them.

    Args:
        images: Shape (N, C, H, W), floating point; not modified.
        generator: ``torch.Generator`` on the device of ``images``, the only source of randomness.
        pad: Rows and columns of zeros added on each side, at least 0.

    Returns:
        Shape (N, C, H, W), dtype as ``images``: for each image a window of H × W pixels of the padded image, its first
        row and its first column drawn evenly from 0 ... 2 * pad, and with probability 1/2 its columns in reverse
        order. The draws are independent of each other and different for each image; channels are treated alike.
    """
    ### BEGIN SOLUTION
    N, C, H, W = images.shape
    padded = images.new_zeros(N, C, H + 2 * pad, W + 2 * pad)
    padded[:, :, pad : pad + H, pad : pad + W] = images
    home = {"generator": generator, "device": images.device}
    top, left = torch.randint(2 * pad + 1, (2, N, 1, 1), **home)
    rows = top + torch.arange(H, device=images.device)[:, None]  # (N, H, 1)
    columns = left + torch.arange(W, device=images.device)  # (N, 1, W)
    image = torch.arange(N, device=images.device)[:, None, None]
    windows = padded[image, :, rows, columns].permute(0, 3, 1, 2)
    is_mirrored = torch.rand(N, 1, 1, 1, **home) < 0.5
    return torch.where(is_mirrored, windows.flip(3), windows)
    ### END SOLUTION


# %% check="a3/augment"
check("a3/augment", augment)

# %% [markdown]
# One image, twenty times. The grey margins are the zeros.


# %% tags=["demo"]
def as_pictures(images):
    """Return normalised images in their own colours, in 0 ... 1."""
    return images * std[:, None, None] + mean[:, None, None]


copies = augment(x_train[2:3].expand(20, -1, -1, -1), torch.Generator().manual_seed(0))
show_images(as_pictures(copies), columns=10, size=0.9)

# %% [markdown]
# Does it help? Two nets alike, one trained on the images as they are, the other on images augmented anew in every step:
# 3,000 of them, few enough to be learned by heart. Expect the net with augmentation to lag behind for two thirds of the
# run, and to come out a little ahead. Measured after 16 epochs, validation accuracy of the best one, with training
# accuracy at the end:
#
# | images | as they are | augmented |
# | --- | --- | --- |
# | CIFAR-10 | 55.4 % (92 %) | 56.7 % (67 %) |
# | drawn shapes | 81.8 % (99 %) | 83.3 % (87 %) |
#
# The accuracy of $p$ on $n$ images has a standard error of $\sqrt{p (1 - p) / n}$, here 1.6 or 1.2 points, so the gain
# itself could be chance, if it did not come out on both. The gap between training and validation, 37 points without and
# 10 with augmentation on photographs, could not.

# %% tags=["demo"]
n_few, epochs = (300, 2) if is_fast() else (3000, 16)
narrow = [16, "pool", 32, "pool", 32, "pool"]
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
for colour, (name, transform) in zip(COLOURS, {"as they are": None, "augmented": augment}.items(), strict=False):
    solver = train_deep(x_train[:n_few], y_train[:n_few], epochs, narrow, transform=transform)
    print(f"{name}: training {solver.history.train_accuracies[-1]:.1%}, validation {solver.best_accuracy:.1%}")
    draw_curves(axes, solver.history, name, colour)
plt.show()

# %% [markdown] question="when_it_helps" points=3
# **Question 4 (3 points).** (a) The dotted lines are accuracies on training images *as they are*, for both nets. Why
# does the net that was trained on augmented images get fewer of them right? And why does its validation accuracy lag
# behind at first and end higher? (b) Somebody augments the validation images too, "so that both are treated
# alike". What does the validation accuracy then tell, and what does it no longer tell? (c) For each of these tasks, say
# which of the two changes you would use and which not, and why: handwritten digits; aerial photographs of fields;
# traffic signs, among them *turn left* and *turn right*.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) It hardly ever sees an image exactly as it is, and never the same window often enough to learn it by
# heart; it has to find what the windows have in common, which is harder, so at first it knows less. The other net goes
# on to learn what is particular to its 3,000 images, which is of no use for others; the augmented one has in effect many
# times as many images and goes on improving. (b) The accuracy on shifted, mirrored images with grey margins, another one
# at every evaluation. It no longer tells how the net does on the images that it will be used for, and two settings (or
# two epochs) are compared on different images. (Averaging the scores of several augmented copies of an image is another
# matter: that is part of the method that is evaluated.) (c) Digits: small shifts, no mirroring (a mirrored 2 is no
# digit). Fields from above: both; there is no left or right from above, and turning by 90° or upside down is possible as
# well. Signs: crops, no mirroring, unless the label is swapped along with it.
#
# *Rubric.* 1 point: harder to learn by heart, and slower but more general. 1 point: no longer the images it is used for
# (or no fixed set to compare by). 1 point: all three tasks right with reasons.
# ### END MARK SCHEME

# %% [markdown]
# ## 8. Looking inside
#
# What does the deep net make of an image? Its activations are not returned by `loss`, but there is a way to get at them
# without touching the class: build a net from the *beginning* of the plan, give it the trained weights and statistics,
# and let its affine layer be the identity. Its scores are then the activations.
#
# Bright is active. After the first pooling the maps still look like the image: this one answers to edges of one
# direction, that one to a colour. Deeper in, there are more maps, each with fewer pixels, and most of them are dark:
# each answers to something more particular, and where exactly it was, is lost little by little.


# %% tags=["demo"]
def activations(net, image, steps, shape):
    """Return what the first ``steps`` steps of a deep net's plan make of an image, shape (F, H, W)."""
    start = DeepConvNet(image.shape, net.plan[:steps], math.prod(shape))
    for mine, theirs in ((start.params, net.params), (start.state, net.state)):
        mine.update({name: theirs[name] for name in mine if name in theirs and mine[name].shape == theirs[name].shape})
    last = len(start.state) // 2 + 1
    start.params[f"W{last}"] = torch.eye(math.prod(shape))
    return start.loss(image[None])[0].reshape(shape)


def tile(maps, columns, gap):
    """Lay maps (F, H, W) out in rows on one sheet, with bright gaps between them."""
    H, W = maps.shape[1:]
    rows = -(-len(maps) // columns)
    sheet = torch.full((rows * (H + gap) - gap, columns * (W + gap) - gap), float(maps.max()))
    for number, each in enumerate(maps):
        row, column = divmod(number, columns)
        top, left = row * (H + gap), column * (W + gap)
        sheet[top : top + H, left : left + W] = each
    return sheet


with torch.no_grad():
    scores = torch.cat([deep.model.loss(images) for images in x_test.split(500)])
is_right = scores.argmax(1) == y_test
chosen = int((scores.softmax(1)[range(len(y_test)), y_test] * is_right).argmax())
figure, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
axes[0].imshow(data.x_test[chosen].permute(1, 2, 0))
axes[0].set_title(data.classes[int(y_test[chosen])], fontsize=10)
sheets = {2: ((16, 16, 16), 4, 2), 4: ((32, 8, 8), 6, 1), 6: ((64, 4, 4), 8, 1)}
for axis, (steps, (shape, columns, gap)) in zip(axes[1:], sheets.items(), strict=True):
    maps = activations(deep.model, x_test[chosen], steps, shape)
    axis.imshow(tile(maps, columns, gap), cmap="gray")
    axis.set_title(f"{shape[0]} maps of {shape[1]}×{shape[2]}", fontsize=10)
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# And where is it wrong? Left, which class is taken for which, on the test images, looked at here for the first time. On
# photographs expect cats and dogs to be mixed up, and cars and trucks, far more often than animals and vehicles. Right,
# the images that the net was most sure of and still got wrong: "true class / answer".

# %% tags=["demo"]
confusion = torch.zeros(K, K).index_put_((y_test, scores.argmax(1)), torch.ones(len(y_test)), accumulate=True)
confusion = confusion / confusion.sum(1, keepdim=True)
print(f"{data.name}: test accuracy {float(is_right.float().mean()):.1%}")
figure = plt.figure(figsize=(10.5, 4.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.1])
axis = left.subplots()
axis.imshow(confusion, cmap="Blues", vmin=0, vmax=1)
for i in range(K):
    for j in range(K):
        share = float(confusion[i, j])
        if share >= 0.05:
            colour = "white" if share > 0.5 else "black"
            axis.text(j, i, f"{share:.0%}"[:-1], ha="center", va="center", fontsize=8, color=colour)
axis.set_xticks(range(K), data.classes, rotation=45, ha="right", fontsize=8)
axis.set_yticks(range(K), data.classes, fontsize=8)
axis.set_xlabel("answer")
axis.set_ylabel("true class")
axis.set_title("share of each true class, in per cent", fontsize=10)
sure = (scores.softmax(1).amax(1) * ~is_right).argsort(descending=True)[:15]
for axis, number in zip(right.subplots(3, 5).flat, sure.tolist(), strict=True):
    axis.imshow(data.x_test[number].permute(1, 2, 0))
    answer = data.classes[int(scores[number].argmax())]
    axis.set_title(f"{data.classes[int(y_test[number])]} /\n{answer}", fontsize=8)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Where to read more
#
# - Yann LeCun, Léon Bottou, Yoshua Bengio and Patrick Haffner, *Gradient-based learning applied to document
#   recognition*, Proceedings of the IEEE 86, 1998: convolution and pooling as one net, in use at banks.
# - Alex Krizhevsky, Ilya Sutskever and Geoffrey Hinton, *ImageNet classification with deep convolutional neural
#   networks*, NIPS 2012: the net that changed the field, with crops and mirroring.
# - Karen Simonyan and Andrew Zisserman, *Very deep convolutional networks for large-scale image recognition*, 2014,
#   arXiv:1409.1556: VGG.
# - Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, *Delving deep into rectifiers*, 2015, arXiv:1502.01852: the
#   size of first weights.
# - Sergey Ioffe and Christian Szegedy, *Batch normalization*, 2015, arXiv:1502.03167.
# - Twan van Laarhoven, *L2 regularization versus batch and weight normalization*, 2017, arXiv:1706.05350: question 3 (c)
#   at length.
# - Matthew Zeiler and Rob Fergus, *Visualizing and understanding convolutional networks*, 2013, arXiv:1311.2901: what
#   deeper filters look for.

# %%
check.summary()
