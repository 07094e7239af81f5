# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A two-layer net
#
# A linear classifier has one template per class, and a straight line between any two. Put a second layer on top of the
# first, with something that is *not* linear in between, and both limits fall: the first layer draws a few hundred
# patterns, and the second decides which of them speak for which class. In this notebook you will
#
# - write the layers as **pairs**, one function forward and one backward, so that nets of any depth can be put together
#   from them;
# - derive the gradients of an **affine layer**, of **ReLU** and of two **losses**, and learn to read them off the
#   shapes;
# - build and train a **net**, after the checks that everybody makes before training in earnest: the first loss, the
#   gradient, and fifty images learned by heart;
# - see what the hidden units have learned.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $X$ | images, one per row once they are flattened | $(N, D)$ |
# | $y$ | labels, $0 \dots K-1$ | $(N,)$ |
# | $W_1, b_1$ | weights and bias of the first layer | $(D, H)$, $(H,)$ |
# | $A = X W_1 + b_1$ | what the $H$ hidden units are given | $(N, H)$ |
# | $Z = \max(0, A)$ | what they give on | $(N, H)$ |
# | $W_2, b_2$ | weights and bias of the second layer | $(H, K)$, $(K,)$ |
# | $S = Z W_2 + b_2$ | scores | $(N, K)$ |
# | $L$ | loss | a number |
# | $dT$, short for $\partial L / \partial T$ | gradient of the loss with respect to any tensor $T$ | as $T$ |
#
# In this stage the regulariser is $\frac{\lambda}{2} \sum W^2$ with a factor $\frac12$, unlike in stage 1, and it
# leaves biases alone.

# %% tags=["setup"]
import time

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, normalize
from dlcvkit.plotting import COLOURS, draw_regions, show_images
from dlcvkit.settings import is_fast
from dlcvkit.training import Solver

# %% [markdown]
# ## 1. The net as a chain
#
# Forward, each layer takes what the one before it gives. Backward, the gradient of the loss comes back along the same
# chain: a layer is told $dY$, how the loss depends on its *output*, and has to say how the loss depends on its
# *inputs*. It needs to know nothing else of the net. That is the whole trick, and it is why layers can be written one
# by one.

# %% tags=["demo"]
steps = ["affine", "ReLU", "affine", "loss"]
tensors = ["$X$\n$(N, D)$", "$A$\n$(N, H)$", "$Z$\n$(N, H)$", "$S$\n$(N, K)$", "$L$\nnumber"]
gradients = ["$dX$", "$dA$", "$dZ$", "$dS$"]
weights = {0: "$W_1\\ (D, H),\\ b_1\\ (H,)$", 2: "$W_2\\ (H, K),\\ b_2\\ (K,)$", 3: "$y\\ (N,)$"}
weight_gradients = {0: "$dW_1,\\ db_1$", 2: "$dW_2,\\ db_2$"}
figure, axis = plt.subplots(figsize=(10, 2.9), layout="constrained")
go, back = {"arrowstyle": "->", "color": COLOURS[0], "lw": 1.6}, {"arrowstyle": "->", "color": COLOURS[1], "lw": 1.6}
for number, name in enumerate(steps):
    middle = 2 * number + 1
    axis.text(middle, 0, name, ha="center", va="center", fontsize=12, bbox={"boxstyle": "round,pad=0.5", "fc": "white"})
    axis.annotate("", (middle - 0.45, 0.15), (middle - 1.55, 0.15), arrowprops=go)
    axis.annotate("", (middle - 1.55, -0.15), (middle - 0.45, -0.15), arrowprops=back)
    if number in weights:
        axis.text(middle, 1.05, weights[number], ha="center", va="center", fontsize=11, color=COLOURS[0])
        axis.annotate("", (middle, 0.38), (middle, 0.85), arrowprops=go)
    if number in weight_gradients:
        axis.text(middle, -1.05, weight_gradients[number], ha="center", va="center", fontsize=11, color=COLOURS[1])
        axis.annotate("", (middle, -0.85), (middle, -0.38), arrowprops=back)
axis.annotate("", (8.55, 0.15), (7.45, 0.15), arrowprops=go)
for number, text in enumerate(tensors):
    axis.text(2 * number, 0.5, text, ha="center", va="center", fontsize=11, color=COLOURS[0])
    if number < 4:
        axis.text(2 * number, -0.45, gradients[number], ha="center", va="center", fontsize=11, color=COLOURS[1])
axis.set_xlim(-0.7, 8.7)
axis.set_ylim(-1.3, 1.3)
axis.axis("off")
plt.show()

# %% [markdown]
# In code a layer is a pair of functions:
#
# - `f_forward(inputs...) -> (out, cache)` computes the output and puts aside, in `cache`, whatever its partner will
#   need;
# - `f_backward(dout, cache) -> gradients` gets $dY$ as `dout`, with the shape of `out`, and returns one gradient per
#   input, each with the shape of that input.
#
# What the cache holds is your business: nobody else looks into it. The checks below call your backward with the cache
# of your own forward and with *random* `dout`. In a real net `dout` is never all ones, and a backward that takes it
# for granted would pass unnoticed.
#
# ## 2. The affine layer
#
# An image comes in with any axes, $(d_1, \dots, d_k)$, and leaves as $M$ numbers. Flattened, it is a row of
# $D = d_1 \cdots d_k$ features, and for the batch
#
# $$\underbrace{Y}_{(N, M)} = \underbrace{X}_{(N, D)} \, \underbrace{W}_{(D, M)} + \underbrace{b}_{(M,)} ,
# \qquad Y_{im} = \sum_{d=1}^{D} X_{id} W_{dm} + b_m .$$
#
# The bias is not hidden in $X$ any more (that was stage 1): it has a place of its own, and is added to every row.
#
# ### Backward
#
# Given $dY$ with entries $dY_{im} = \partial L / \partial Y_{im}$, ask of each input: which outputs does it reach, and
# with which factor? Sum over those.
#
# $X_{id}$ reaches the outputs of image $i$, all $M$ of them, with factor $W_{dm}$; $W_{dm}$ reaches output $m$ of all
# $N$ images, with factor $X_{id}$; and $b_m$ reaches the same ones, with factor 1:
#
# $$dX_{id} = \sum_{m=1}^{M} dY_{im} W_{dm}, \qquad
# dW_{dm} = \sum_{i=1}^{N} X_{id} \, dY_{im}, \qquad
# db_m = \sum_{i=1}^{N} dY_{im} .$$
#
# As matrices, and each with the shape that its tensor has:
#
# $$\underbrace{dX}_{(N, D)} = \underbrace{dY}_{(N, M)} \underbrace{W^\top}_{(M, D)}, \qquad
# \underbrace{dW}_{(D, M)} = \underbrace{X^\top}_{(D, N)} \underbrace{dY}_{(N, M)}, \qquad
# \underbrace{db}_{(M,)} = \text{sum of the rows of } dY .$$
#
# Should you forget the formulas, the shapes bring them back: there is one way to multiply an $(N, M)$ and a $(D, M)$
# tensor so that $(N, D)$ comes out. What the shapes do *not* tell is whether to add up or to average over the images.
# The sums above do: $W$ is shared, so every image has its say. The $\frac1N$ of the mean loss is in $dY$ already.
#
# `x.flatten(1)` keeps axis 0 and makes one of the others. Return `dx` in the shape that `x` came in.


# %% exercise="a2/affine"
def affine_forward(x, w, b):
    """Compute the forward pass of an affine (fully-connected) layer.

    Args:
        x: Images of shape (N, d_1, ..., d_k), k at least 1, with D = d_1 * ... * d_k features each.
        w: Weights of shape (D, M), dtype and device as ``x``.
        b: Bias of shape (M,).

    Returns:
        ``(out, cache)``: the output of shape (N, M), and what ``affine_backward`` needs.
    """
    ### BEGIN SOLUTION
    return x.flatten(1) @ w + b, (x, w)
    ### END SOLUTION


# %% exercise="a2/affine"
def affine_backward(dout, cache):
    """Compute the backward pass of an affine layer.

    Args:
        dout: Upstream gradient of shape (N, M).
        cache: What ``affine_forward`` returned.

    Returns:
        ``(dx, dw, db)``: gradients of shapes (N, d_1, ..., d_k), (D, M) and (M,).
    """
    ### BEGIN SOLUTION
    x, w = cache
    dx = (dout @ w.T).reshape(x.shape)
    dw = x.flatten(1).T @ dout
    db = dout.sum(dim=0)
    return dx, dw, db
    ### END SOLUTION


# %% check="a2/affine"
check("a2/affine", affine_forward, affine_backward)

# %% [markdown]
# ## 3. ReLU
#
# Two affine layers in a row are one affine layer. What makes a second one worthwhile is a function in between that is
# not linear, and the simplest that works is the *rectified linear unit*, entry by entry:
#
# $$Z = \max(0, A), \qquad
# \frac{\partial Z_{ih}}{\partial A_{ih}} = \begin{cases} 1 & A_{ih} > 0 \\ 0 & A_{ih} < 0 \end{cases}
# \qquad\Longrightarrow\qquad
# dA_{ih} = \begin{cases} dZ_{ih} & A_{ih} > 0 \\ 0 & \text{otherwise,} \end{cases}$$
#
# with $Z$, $A$, $dZ$ and $dA$ of one shape, any shape. A gate: it is open or shut, for each image and unit by itself,
# and what decided in the forward pass decides in the backward pass as well. That is what the cache is for.
#
# ### At zero
#
# At $A_{ih} = 0$ there is a kink and no derivative. The slope from the left is 0 and from the right 1; any number
# between is a *subgradient*: a line of that slope through the kink stays below the function. We take 0, as torch does.
# Does it matter? With random real numbers an exact 0 has probability zero, one might say. But floating-point numbers
# are not real numbers, and zeros are made on purpose: by padding, by an earlier ReLU, by weights that start at 0. So
# the choice is a convention that everybody in a net has to share, and it is checked. Zero has something to be said for
# it: a unit that gives nothing on takes no blame either, and the gradient can be read off the output alone, as
# $Z > 0$.


# %% exercise="a2/relu"
def relu_forward(x):
    """Compute the forward pass of ReLU.

    Args:
        x: Tensor of any shape; not modified.

    Returns:
        ``(out, cache)``: max(0, x), of the shape of ``x``, and what ``relu_backward`` needs.
    """
    ### BEGIN SOLUTION
    return x.clamp(min=0), x
    ### END SOLUTION


# %% exercise="a2/relu"
def relu_backward(dout, cache):
    """Compute the backward pass of ReLU.

    Args:
        dout: Upstream gradient, of the shape of ``x``.
        cache: What ``relu_forward`` returned.

    Returns:
        dx: Gradient of the shape of ``x``; the slope of ReLU at 0 is taken as 0.
    """
    ### BEGIN SOLUTION
    x = cache
    return dout * (x > 0)
    ### END SOLUTION


# %% check="a2/relu"
check("a2/relu", relu_forward, relu_backward)

# %% [markdown] question="without_relu" points=3
# **Question 1 (3 points).** Leave ReLU out, so that $S = (X W_1 + b_1) W_2 + b_2$. (a) Write $S$ as one affine layer
# and give the shapes of its weights and bias. (b) With $D = 3072$, $K = 10$ and $H = 5$: can this net compute
# everything that a linear classifier can? (c) ReLU itself is made of two straight pieces. How can a net of such units,
# with enough of them, follow a curved boundary?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $S = X (W_1 W_2) + (b_1 W_2 + b_2)$ with $W_1 W_2$ of shape $(D, K)$ and $b_1 W_2 + b_2$ of shape
# $(K,)$. (b) No: the product of a $(3072, 5)$ and a $(5, 10)$ matrix has rank at most 5, while a linear classifier's
# weights can have rank 10. So it can do less, and with $H \ge K$ exactly as much. (c) Every unit folds the input space
# along its hyperplane $x \cdot w + b = 0$; between the folds the scores are linear. A boundary is made of straight
# pieces, one for each region between folds, and more units give more and shorter pieces.
#
# *Rubric.* 1 point: one affine layer with both shapes. 1 point: no, because of the rank. 1 point: piecewise linear,
# with pieces that get shorter with more units.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. Losses of scores
#
# In stage 1 a loss knew the weights. Here it is the end of the chain and knows scores alone: it returns $L$ and
# $dS$, which starts the backward pass. Where the scores come from, and how their weights are regularised, is
# the net's business.
#
# ### Softmax
#
# With the scores $s = S_i$ of image $i$, shape $(K,)$, the probability of class $k$ and the loss are
#
# $$p_{ik} = \frac{e^{s_k}}{\sum_{j} e^{s_j}}, \qquad
# L = -\frac1N \sum_{i=1}^{N} \log p_{i y_i}
# = \frac1N \sum_{i=1}^{N} \Bigl( \log \sum_{j=1}^{K} e^{s_j} - s_{y_i} \Bigr) .$$
#
# The second form is easy to differentiate. The derivative of the logarithm of the sum is
# $e^{s_k} / \sum_j e^{s_j} = p_{ik}$, and $s_{y_i}$ contributes $-1$ where $k = y_i$:
#
# $$\frac{\partial L}{\partial S_{ik}} = \frac1N \bigl( p_{ik} - [k = y_i] \bigr), \qquad
# \underbrace{dS}_{(N, K)} = \frac1N \bigl( \underbrace{P}_{(N, K)} - \underbrace{Q}_{(N, K)} \bigr),$$
#
# where $[\,\cdot\,]$ is 1 if the statement holds and 0 if not, and row $i$ of $Q$ is 1 at $y_i$ and 0 elsewhere.
# Probability minus truth: each row of $dS$ adds up to 0, since what the true class is pulled up by, the others are
# pushed down by.
#
# *Two things to hold on to.* Before training all scores are about equal, so all $p \approx \frac1K$ and the **first
# loss is $\log K$**, 2.303 for ten classes. And scores may be large: subtract each image's largest one first, which
# changes no probability, and compute $\log p$ as a difference of the shifted score and $\log \sum$, never as the
# logarithm of a quotient.


# %% exercise="a2/softmax_loss"
def softmax_loss(scores, y):
    """Compute the softmax loss and its gradient.

    Args:
        scores: Shape (N, K), floating point; may be as large as 10,000 in size. Not modified.
        y: int64 labels of shape (N,), each in 0 .. K - 1.

    Returns:
        ``(loss, dscores)``: the mean of -log p[i, y[i]], a number, and its gradient of shape (N, K).
    """
    ### BEGIN SOLUTION
    rows = torch.arange(len(scores), device=scores.device)
    shifted = scores - scores.amax(dim=1, keepdim=True)
    log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    loss = -log_p[rows, y].mean()
    dscores = log_p.exp()
    dscores[rows, y] -= 1
    return loss, dscores / len(scores)
    ### END SOLUTION


# %% check="a2/softmax_loss"
check("a2/softmax_loss", softmax_loss)

# %% [markdown]
# ### Multiclass SVM
#
# The other loss of stage 1, with margin 1. With $m_{ij} = S_{ij} - S_{i y_i} + 1$, shape $(N, K)$,
#
# $$L = \frac1N \sum_{i=1}^{N} \sum_{j \ne y_i} \max(0, m_{ij}) .$$
#
# Each violated margin, $m_{ij} > 0$ with $j \ne y_i$, holds $S_{ij}$ once with a plus and $S_{i y_i}$ once with a
# minus:
#
# $$\frac{\partial L}{\partial S_{ij}} = \frac1N \, [m_{ij} > 0] \quad (j \ne y_i), \qquad
# \frac{\partial L}{\partial S_{i y_i}} = -\frac1N \sum_{j \ne y_i} [m_{ij} > 0] .$$
#
# Again each row adds up to 0. The first loss, with all scores about equal, is $K - 1$: nine violated margins of 1.


# %% exercise="a2/svm_loss"
def svm_loss(scores, y):
    """Compute the multiclass SVM loss with margin 1 and its gradient.

    Args:
        scores: Shape (N, K), floating point. Not modified.
        y: int64 labels of shape (N,), each in 0 .. K - 1.

    Returns:
        ``(loss, dscores)``: the mean over the images of the sum of violated margins, a number, and its gradient of
        shape (N, K).
    """
    ### BEGIN SOLUTION
    rows = torch.arange(len(scores), device=scores.device)
    margins = (scores - scores[rows, y][:, None] + 1).clamp(min=0)
    margins[rows, y] = 0
    loss = margins.sum() / len(scores)
    dscores = (margins > 0).to(scores.dtype)
    dscores[rows, y] = -dscores.sum(dim=1)
    return loss, dscores / len(scores)
    ### END SOLUTION


# %% check="a2/svm_loss"
check("a2/svm_loss", svm_loss)

# %% [markdown]
# Side by side, for one image whose true class is 1: what each loss asks of the scores, minus the gradient, as arrows.
# The SVM pulls with all its strength at the classes that come within 1 of the true score and ignores the rest. Softmax
# pulls at all of them, in proportion to their probability, and is never quite content.

# %% tags=["demo"]
example = torch.tensor([[2.2, 1.6, 0.9, -0.4, -2.0]])
figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained", sharey=True)
for axis, (name, loss_function) in zip(axes, {"softmax": softmax_loss, "SVM": svm_loss}.items(), strict=True):
    loss, dscores = loss_function(example, torch.tensor([1]))
    axis.bar(range(5), example[0], color=[COLOURS[2] if k == 1 else COLOURS[6] for k in range(5)], width=0.6)
    for k, (score, pull) in enumerate(zip(example[0].tolist(), (0 - dscores[0]).tolist(), strict=True)):
        if abs(pull) > 1e-6:
            arrow = {"arrowstyle": "-|>", "color": COLOURS[1], "lw": 2, "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", (k, score + pull), (k, score), arrowprops=arrow)
        axis.text(k, -2.9, f"{pull:+.2f}", ha="center", fontsize=9, color=COLOURS[1])
    axis.set_title(f"{name}: loss {float(loss):.2f}", fontsize=10)
    axis.set_xticks(range(5), [f"{k}\n(true)" if k == 1 else str(k) for k in range(5)])
    axis.set_xlabel("class")
    axis.set_ylim(-3.3, 4.2)
    axis.axhline(0, color="black", lw=0.8)
axes[0].set_ylabel("score, and where it is pulled")
plt.show()

# %% [markdown]
# ## 5. First weights
#
# For a linear classifier any start would do. Now it is different. Suppose that all columns of $W_1$ are equal, and all
# rows of $W_2$: then all hidden units compute the same number, get the same gradient and stay the same for ever. The
# net has one hidden unit, $H$ times over. Random numbers **break the symmetry**. They should be small, so that the
# first scores are near 0 and the first loss near $\log K$, and not too small, as question 2 will show. (What size is
# right for deep nets takes up half of the next notebook.) Biases break no symmetry and start at 0.


# %% exercise="a2/initialize_weights"
def initialize_weights(
    input_dim, hidden_dim, num_classes, weight_scale, generator=None, device="cpu", dtype=torch.float32
):
    """Draw the first weights of a two-layer net.

    Args:
        input_dim: Features per image, D.
        hidden_dim: Hidden units, H.
        num_classes: Classes, K.
        weight_scale: Standard deviation of the weights.
        generator: ``torch.Generator`` on ``device``, the only source of randomness; None takes torch's own.
        device: Where the tensors are made.
        dtype: Their floating-point type.

    Returns:
        Dict with ``"W1"`` of shape (D, H) and ``"W2"`` of shape (H, K), ``weight_scale`` times standard normal numbers,
        and ``"b1"`` of shape (H,) and ``"b2"`` of shape (K,), all zeros.
    """
    ### BEGIN SOLUTION
    place = {"device": device, "dtype": dtype}
    return {
        "W1": weight_scale * torch.randn(input_dim, hidden_dim, generator=generator, **place),
        "b1": torch.zeros(hidden_dim, **place),
        "W2": weight_scale * torch.randn(hidden_dim, num_classes, generator=generator, **place),
        "b2": torch.zeros(num_classes, **place),
    }
    ### END SOLUTION


# %% check="a2/initialize_weights"
check("a2/initialize_weights", initialize_weights)

# %% [markdown]
# ## 6. The net
#
# All parts are there. The loss of the net is softmax of its scores, plus the regulariser:
#
# $$L = L_{\text{softmax}}(S, y) + \frac{\lambda}{2} \Bigl( \sum_{d,h} (W_1)_{dh}^2 + \sum_{h,k} (W_2)_{hk}^2 \Bigr).$$
#
# The regulariser adds $\lambda W_1$ to $dW_1$ and $\lambda W_2$ to $dW_2$; the factor $\frac12$ is there to cancel the
# 2 that differentiating brings down. Backwards, one layer after the other:
#
# $$\underbrace{dS}_{(N, K)} \;\xrightarrow{\text{affine}}\; \underbrace{dZ}_{(N, H)},\, dW_2,\, db_2
# \;\xrightarrow{\text{ReLU}}\; \underbrace{dA}_{(N, H)} \;\xrightarrow{\text{affine}}\; dX,\, dW_1,\, db_1 .$$
#
# Written out, this is $dZ = dS\, W_2^\top$, then $dA = dZ$ where $A > 0$ and else 0, then $dW_1 = X^\top dA + \lambda
# W_1$. You need not write it out: call your layers. $dX$ is not needed here (it will be, when images are to be changed
# instead of weights).
#
# `loss(X)` returns scores; `loss(X, y)` returns the loss and a dict of gradients under the names of the weights. The
# check puts weights of its own into `params`, so read them from there whenever `loss` is called.


# %% exercise="a2/two_layer_net"
class TwoLayerNet:
    """Affine, ReLU, affine, softmax.

    Attributes:
        params: Name to weight: W1 (D, H), b1 (H,), W2 (H, K), b2 (K,).
        reg: Strength of the regulariser.
    """

    def __init__(
        self,
        input_dim,
        hidden_dim,
        num_classes,
        weight_scale=1e-3,
        reg=0.0,
        generator=None,
        device="cpu",
        dtype=torch.float32,
    ):
        self.params = initialize_weights(input_dim, hidden_dim, num_classes, weight_scale, generator, device, dtype)
        self.reg = reg

    def loss(self, X, y=None):
        """Compute scores, or loss and gradients.

        Args:
            X: Images of shape (N, d_1, ..., d_k) with D features each; dtype and device as the weights.
            y: int64 labels of shape (N,), or None.

        Returns:
            Without ``y``: scores of shape (N, K). With ``y``: ``(loss, grads)``, the softmax loss plus
            ``0.5 * reg * (sum(W1 ** 2) + sum(W2 ** 2))``, a number, and its gradients, a dict with the names and
            shapes of ``params``.
        """
        # Compute scores from W1, b1, W2 and b2 in self.params, and keep the caches.
        ### BEGIN SOLUTION
        W1, b1, W2, b2 = (self.params[name] for name in ("W1", "b1", "W2", "b2"))
        hidden, hidden_cache = affine_forward(X, W1, b1)
        active, relu_cache = relu_forward(hidden)
        scores, scores_cache = affine_forward(active, W2, b2)
        ### END SOLUTION
        if y is None:
            return scores
        # Compute the loss with its regulariser, then go back through the layers.
        ### BEGIN SOLUTION
        loss, dscores = softmax_loss(scores, y)
        loss = loss + 0.5 * self.reg * ((W1**2).sum() + (W2**2).sum())
        dactive, dW2, db2 = affine_backward(dscores, scores_cache)
        dhidden = relu_backward(dactive, relu_cache)
        _, dW1, db1 = affine_backward(dhidden, hidden_cache)
        return loss, {"W1": dW1 + self.reg * W1, "b1": db1, "W2": dW2 + self.reg * W2, "b2": db2}
        ### END SOLUTION


# %% check="a2/two_layer_net"
check("a2/two_layer_net", TwoLayerNet)

# %% [markdown]
# ### Is the gradient right?
#
# The check above compares with torch. Outside of a course nobody has a reference, and one compares with **numbers**.
# Moving every weight by itself takes two losses per weight; for a whole net it is cheaper to move all entries of a
# tensor $T$ at once, along a random direction $V$ of the same shape:
#
# $$\frac{L(T + hV) - L(T - hV)}{2h} \;\approx\; \sum_{p} dT_p V_p ,$$
#
# where $p$ runs over the entries. One number per direction; a wrong entry in $dT$ is all but certain to show, since
# $V$ meets them all. Below, for your net and for one in which a plausible mistake was planted. Expect $10^{-8}$ or
# less where all is well. (A unit whose $A$ changes sign within $h$ would spoil it: keep $h$ small, and compute in
# float64.)


# %% tags=["demo"]
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


class PastTheGate(TwoLayerNet):
    """Takes db1 before ReLU instead of after it."""

    def loss(self, X, y=None):
        result = super().loss(X, y)
        if y is not None:
            scores = super().loss(X)
            result[1]["b1"] = (softmax_loss(scores, y)[1] @ self.params["W2"].T).sum(0)
        return result


generator = torch.Generator().manual_seed(0)
few_x, few_y = torch.randn(8, 3, 4, generator=generator, dtype=torch.float64), torch.arange(8) % 3
for kind in (TwoLayerNet, PastTheGate):
    net = kind(12, 20, 3, 0.5, 0.3, torch.Generator().manual_seed(1), dtype=torch.float64)
    errors = {name: relative_error(net, few_x, few_y, name, generator) for name in net.params}
    print(f"{kind.__name__:12}", "   ".join(f"{name} {error:.0e}" for name, error in errors.items()))

# %% [markdown]
# ## 7. Folds in the plane
#
# In stage 1 a cloud inside a ring defeated every linear classifier. Each hidden unit draws one line, where its $A_{ih}
# = 0$ (dashed below): on one side it is silent, on the other it grows with the distance. Two such folds leave an open
# wedge, whatever their place; three can close a triangle around the cloud. More of them make it rounder, and three
# arms of a spiral take a few dozen. Each step below uses all points.


# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
angles = 2 * torch.pi * torch.rand(60, generator=generator)
ring = torch.stack([angles.cos(), angles.sin()], dim=1) * 2 + 0.15 * torch.randn(60, 2, generator=generator)
rings = torch.cat([0.5 * torch.randn(30, 2, generator=generator), ring]), (torch.arange(90) >= 30).long()
radius = torch.linspace(0.2, 2.2, 60).repeat(3)
turn = 2.2 * radius + (2 * torch.pi / 3 * torch.arange(3)).repeat_interleave(60)
turn = turn + 0.12 * torch.randn(180, generator=generator)
spirals = radius[:, None] * torch.stack([turn.cos(), turn.sin()], dim=1), torch.arange(3).repeat_interleave(60)


def descend(net, X, y, lr, steps):
    """Step against the gradient, with all points in every step."""
    for _ in range(steps):
        _, grads = net.loss(X, y)
        for name, w in net.params.items():
            net.params[name] = w - lr * grads[name]


panels = [("ring", rings, 2), ("ring", rings, 3), ("ring", rings, 10), ("spirals", spirals, 50)]
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
for axis, (name, (points, kinds), hidden_dim) in zip(axes, tqdm(panels, desc="nets"), strict=True):
    net = TwoLayerNet(2, hidden_dim, int(kinds.max()) + 1, 0.5, 0.0, torch.Generator().manual_seed(4))
    descend(net, points, kinds, lr=0.5, steps=1000)
    draw_regions(axis, lambda grid, net=net: net.loss(grid).argmax(1), points, kinds)
    low, high = axis.get_xlim(), axis.get_ylim()
    if hidden_dim <= 10:
        across = torch.linspace(*low, 2)
        for (u, v), bias in zip(net.params["W1"].T.tolist(), net.params["b1"].tolist(), strict=True):
            axis.plot(across, -(u * across + bias) / v, color="black", lw=1, ls="--")
    axis.set_xlim(low)
    axis.set_ylim(high)
    right = float((net.loss(points).argmax(1) == kinds).float().mean())
    axis.set_title(f"{name}, {hidden_dim} hidden units: {right:.0%}", fontsize=9)
plt.show()

# %% [markdown]
# ## 8. Images, step by step
#
# Photographs if CIFAR-10 has been downloaded, drawn shapes if not; the line below the cell says which. Colours are
# shifted and scaled by the mean and standard deviation of the training images. They need not be flattened: your affine
# layer does that.

# %% tags=["demo"]
data = load_images("cifar10", n_train=2000 if is_fast() else 9000, n_val=500 if is_fast() else 1000, n_test=2000)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val, x_test = (normalize(images, mean, std) for images in (data.x_train, data.x_val, data.x_test))
y_train, y_val, y_test = data.y_train, data.y_val, data.y_test
D, K = x_train[0].numel(), len(data.classes)


def make_net(hidden_dim, weight_scale=1e-2, reg=0.0):
    return TwoLayerNet(D, hidden_dim, K, weight_scale, reg, torch.Generator().manual_seed(0))


# %% [markdown]
# ### First: the first loss
#
# Before any training the loss should be $\log K$, plus what the regulariser adds. If it is not, nothing that follows
# is worth looking at. On the right, how hard the data pull at $W_1$ at the beginning: both depend on the size of the
# first weights.

# %% tags=["demo"]
print(
    f"first loss {float(make_net(100).loss(x_train[:500], y_train[:500])[0]):.3f}; log K = {torch.tensor(K).log():.3f}"
)
net = make_net(100, reg=1.0)
added = 0.5 * sum(float((net.params[name] ** 2).sum()) for name in ("W1", "W2"))
print(f"with reg 1: {float(net.loss(x_train[:500], y_train[:500])[0]):.3f}, of which {added:.3f} are the regulariser's")

scales = torch.logspace(-5, 0, 21).tolist()
firsts = [make_net(100, scale).loss(x_train[:500], y_train[:500]) for scale in scales]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.1), layout="constrained")
axes[0].loglog(scales, [float(loss) for loss, _ in firsts], color=COLOURS[0])
axes[0].axhline(torch.tensor(K).log(), color="grey", lw=1, ls="--", label="log K")
axes[0].set_ylabel("first loss")
axes[0].legend(frameon=False, fontsize=9)
axes[1].loglog(scales, [float(grads["W1"].norm()) for _, grads in firsts], color=COLOURS[1])
axes[1].set_ylabel("norm of the first $dW_1$")
for axis in axes:
    axis.set_xlabel("standard deviation of the first weights")
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown] question="start_at_zero" points=3
# **Question 2 (3 points).** (a) Let all four tensors of weights start at 0. Go through the backward pass: which of
# $dW_1$, $db_1$, $dW_2$, $db_2$ are 0 in the first step, and in all later ones? What can this net learn? (b) Let $W_2$
# alone start at 0, with $W_1$ random. Does this net learn? (c) In the figure on the right, why does the gradient fall
# in proportion to the size of the weights, and what does that mean for training with a very small start?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $A = Z = 0$, so $dW_2 = Z^\top dS = 0$; $W_2 = 0$, so $dZ = dS\,W_2^\top = 0$ and with it $dW_1$
# and $db_1$. Only $db_2$ differs from 0. Nothing of this changes when $b_2$ does, so it stays so for ever: the net
# learns how frequent the classes are and gives all images the same scores. (b) Yes. In the first step $dZ = 0$, so
# $W_1$ rests, but $Z \ne 0$ and $W_2$ moves; from the second step on both do. (c) $dZ = dS\,W_2^\top$ holds $W_2$ as a
# factor, while $dS$ hardly depends on the weights as long as the scores are near 0. So training starts slowly, and the
# more so the smaller $W_2$ is: a plateau at $\log K$.
#
# *Rubric.* 1 point: only $db_2$, for ever, class frequencies. 1 point: (b) yes, with the reason. 1 point: the factor
# $W_2^\top$ and the slow start.
# ### END MARK SCHEME

# %% [markdown]
# ### Second: learn fifty images by heart
#
# `Solver` is the training loop of this course. It draws batches, asks `net.loss` for gradients, steps against them, and
# after every epoch (a pass over all training images) notes the accuracies and keeps the best weights.
#
# A net of this size can learn 50 images whatever their labels. If yours cannot, something is broken: it is the
# cheapest test of the whole chain there is. What to expect: the loss falls by a factor of a hundred and all 50 are
# right after some ten epochs, while few of the validation images are: about 20 %.


# %% tags=["demo"]
def draw_curves(axes, history, title, scale):
    """Plot the loss of every batch and the accuracies after every epoch."""
    per_epoch = len(history.losses) / len(history.train_accuracies)
    epochs = range(1, len(history.train_accuracies) + 1)
    axes[0].plot(
        [(step + 1) / per_epoch for step in range(len(history.losses))], history.losses, color=COLOURS[0], lw=0.8
    )
    axes[0].set_yscale(scale)
    axes[0].set_ylabel("loss of the batch")
    axes[1].plot(epochs, history.train_accuracies, color=COLOURS[1], marker=".", label="training")
    axes[1].plot(epochs, history.val_accuracies, color=COLOURS[2], marker=".", label="validation")
    axes[1].axhline(1 / K, color="grey", lw=1, ls="--", label="guessing")
    axes[1].set_ylim(0, 1.03)
    axes[1].set_ylabel("accuracy")
    axes[1].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)


few = Solver(make_net(100), x_train[:50], y_train[:50], x_val, y_val, lr=0.05, batch_size=10, epochs=40)
history = few.train()
print(f"loss {history.losses[0]:.2f} -> {history.losses[-1]:.3f}; training {history.train_accuracies[-1]:.0%}")
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
draw_curves(axes, history, "50 images", "log")
plt.show()

# %% [markdown]
# ### Third: all images, five seconds
#
# Now in earnest, with a hundred hidden units and settings that are a guess. Expect more than 40 % of the validation
# images after five epochs. Measured, on 9,000 training images and with 2 s of processor time: 42.2 % on CIFAR-10, where
# the best linear classifier of stage 1 got 38 %, and 48.6 % on drawn shapes.

# %% tags=["demo"]
start = time.perf_counter()
quick = Solver(make_net(100, reg=1e-3), x_train, y_train, x_val, y_val, lr=0.1, epochs=5)
quick.train()
print(f"{data.name}: validation {quick.best_accuracy:.1%} in {time.perf_counter() - start:.1f} s")

# %% [markdown]
# ### Fourth: the search
#
# Hidden units, learning rate, strength of the regulariser and number of epochs are for you to choose, on the
# validation images. Two cuts through the space of settings: on the left short trials over learning rate and hidden
# units; on the right longer ones over the regulariser. What to expect: a learning rate ten times too small has hardly
# started when the trial ends, and one a little too large loses all it had (on drawn shapes with any width, on
# photographs with 200 units); wider nets are better, but less and less so. A regulariser closes the gap between
# training and validation first, and then costs both.


# %% tags=["demo"]
def mirror_some(images, generator):
    """Return images of which every other one, by chance, is mirrored left to right."""
    is_mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(is_mirrored[:, None, None, None], images.flip(-1), images)


def train(hidden_dim, lr, reg, epochs, progress=False, **options):
    """Train a net with a learning rate that falls to 0 in a straight line."""
    total = epochs * -(-len(x_train) // 100)
    net = make_net(hidden_dim, reg=reg)
    solver = Solver(
        net,
        x_train,
        y_train,
        x_val,
        y_val,
        lr=lr,
        schedule=lambda step: 1 - step / total,
        epochs=epochs,
        progress=progress,
        **options,
    )
    solver.train()
    return solver


lrs, sizes = ([0.03, 0.1], [20, 50]) if is_fast() else ([0.01, 0.03, 0.1, 0.3], [20, 50, 100, 200])
regs = [0.0, 0.1] if is_fast() else [0.0, 0.01, 0.03, 0.1, 0.3]
with tqdm(total=len(lrs) * len(sizes) + len(regs), desc="trials") as progress:
    table = torch.zeros(len(lrs), len(sizes))
    for i, lr in enumerate(lrs):
        for j, size in enumerate(sizes):
            table[i, j] = train(size, lr, 0.01, 1 if is_fast() else 3).best_accuracy
            progress.update()
    ends = []
    for reg in regs:
        history = train(100, 0.1, reg, 2 if is_fast() else 8).history
        ends.append((history.train_accuracies[-1], history.val_accuracies[-1]))
        progress.update()

figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.5), layout="constrained")
image = axes[0].imshow(table, cmap="viridis", vmin=0.1, vmax=0.5, aspect="auto")
for i in range(len(lrs)):
    for j in range(len(sizes)):
        value = table[i, j].item()
        axes[0].text(j, i, f"{value:.0%}", ha="center", va="center", color="black" if value > 0.33 else "white")
axes[0].set_xticks(range(len(sizes)), [str(size) for size in sizes])
axes[0].set_yticks(range(len(lrs)), [f"{lr:g}" for lr in lrs])
axes[0].set_xlabel("hidden units")
axes[0].set_ylabel("learning rate")
axes[0].set_title("validation accuracy, reg 0.01", fontsize=10)
figure.colorbar(image, ax=axes[0])
for number, name in enumerate(("training", "validation")):
    axes[1].plot(range(len(regs)), [end[number] for end in ends], color=COLOURS[number + 1], marker="o", label=name)
axes[1].set_xticks(range(len(regs)), [f"{reg:g}" for reg in regs])
axes[1].set_xlabel("strength of the regulariser, reg")
axes[1].set_ylabel("accuracy at the end")
axes[1].set_title("100 hidden units, learning rate 0.1", fontsize=10)
axes[1].legend(frameon=False, fontsize=9)
axes[1].grid(alpha=0.3)
plt.show()

# %% [markdown]
# ### Fifth: train for longer
#
# Take a wide net, a rate somewhat below the edge, and a regulariser that costs little; and since a mirrored horse is a
# horse, mirror every other image, which doubles the training images at no cost. Then open the test set, once. Measured,
# on 9,000 training images and with 15 s of processor time: on CIFAR-10 49.7 % of the validation and 49.8 % of the test
# images, with 67 % of the training images at the end; on drawn shapes 65.4 % and 63.6 %, with 72 %.

# %% tags=["demo"]
start = time.perf_counter()
best = train(300, 0.15, 0.01, 3 if is_fast() else 15, progress=True, transform=mirror_some)
seconds = time.perf_counter() - start
print(f"{data.name}: {len(best.history.losses)} steps in {seconds:.0f} s")
print(f"training {best.history.train_accuracies[-1]:.1%}, validation {best.best_accuracy:.1%}")
print(f"test {best.accuracy(x_test, y_test):.1%}")
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
draw_curves(axes, best.history, "300 hidden units", "linear")
plt.show()

# %% [markdown] question="the_gap" points=3
# **Question 3 (3 points).** At the end the net gets far more of the training images right than of the validation
# images. (a) Which of these would you expect to narrow the gap, and which to raise *validation* accuracy: ten times
# `reg`, twice the hidden units, twice the training images, twice the epochs? Give a reason for each. (b) The gap is
# nearly 0 in another run, at 30 % each. What is wrong there, and what would you change first? (c) Why is validation
# accuracy noted after every epoch, but test accuracy once?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Ten times `reg` narrows the gap, mostly by lowering training accuracy; validation gains little or
# loses. Twice the hidden units: more room to learn by heart, so the gap widens, validation may gain a little. Twice
# the images: narrows it from both sides and raises validation; the surest remedy. Twice the epochs: widens it,
# validation hardly gains. (b) Underfitting: the net has not even learned its training images. Raise the learning rate
# (or train for longer, lower `reg`), then enlarge the net. (c) Whatever is looked at in order to choose (settings, the
# best epoch) is fitted by the choice and becomes too optimistic; the test set is an honest estimate only as long as
# nothing was chosen by it.
#
# *Rubric.* 1 point: at least three of four right with reasons. 1 point: underfitting, with a remedy. 1 point: choosing
# makes the estimate optimistic.
# ### END MARK SCHEME

# %% [markdown]
# ### What the hidden units look for
#
# Each column of $W_1$ has the shape of an image: the pattern that opens its unit. Grey is no opinion. Below, the 40
# columns with the largest norm, each stretched to its own range.

# %% tags=["demo"]
columns = best.model.params["W1"].T  # (H, D)
columns = columns[columns.norm(dim=1).argsort(descending=True)[:40]].reshape(-1, 3, 32, 32)
show_images(0.5 + 0.5 * columns / columns.abs().amax(dim=(1, 2, 3), keepdim=True), columns=10, size=1.0)

# %% [markdown] question="what_units_see" points=2
# **Question 4 (2 points).** (a) Describe two of the patterns and the kind of image that opens such a unit. How do they
# differ from the ten templates of a linear classifier, and why can this net cope with horses that look left and horses
# that look right? (b) In a net trained without a regulariser the patterns are covered with noise. Where does the noise
# come from, and why does a regulariser take it away?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Any two read sensibly: a blue top over a brown bottom (sky over ground), a bright centre on a
# dark background, a red bar over a dark one, on drawn shapes a dark disc in a bright ring. They are not tied to a
# class: each is a part or a layout, used with different signs by several classes. (Many are symmetric, since every
# image was seen mirrored as well.) One unit may answer to left-facing and another to right-facing horses, and the
# second layer adds both to the same score. (b) The first weights are
# random. Directions in which the images hardly vary (fine, high-frequency patterns) get next to no gradient from the
# data, so the noise of the start stays in them; and with few images some of it is fitted. The regulariser shrinks all
# weights by the same factor in each step, and what the data do not renew fades away.
#
# *Rubric.* 1 point: two patterns, and several units per class. 1 point: noise of the start (or fitted noise) that only
# the regulariser removes.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - David Rumelhart, Geoffrey Hinton and Ronald Williams, *Learning representations by back-propagating errors*, Nature
#   323, 1986: four pages that started it, with the symmetry that has to be broken.
# - Vinod Nair and Geoffrey Hinton, *Rectified linear units improve restricted Boltzmann machines*, ICML 2010, and
#   Xavier Glorot, Antoine Bordes and Yoshua Bengio, *Deep sparse rectifier neural networks*, AISTATS 2011: why
#   $\max(0, x)$.
# - David Bertoin, Jérôme Bolte, Sébastien Gerchinovitz and Edouard Pauwels, *Numerical influence of ReLU'(0) on
#   backpropagation*, 2021, arXiv:2106.12915: the slope at 0 does matter, in float32 and below.
# - George Cybenko, *Approximation by superpositions of a sigmoidal function*, Mathematics of Control, Signals and
#   Systems 2, 1989: one hidden layer is enough in principle.
# - Chiyuan Zhang, Samy Bengio, Moritz Hardt, Benjamin Recht and Oriol Vinyals, *Understanding deep learning requires
#   rethinking generalization*, 2017, arXiv:1611.03530: nets that learn random labels by heart.

# %%
check.summary()
