# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # PyTorch and residual networks
#
# Until now every layer was yours, forward and backward. You have earned the right to let go: from here on `torch.nn`
# and autograd are allowed, and layers become building blocks. What can be built is then a question of architecture,
# and one idea of 2015 still stands in nearly every net there is: **let a layer add to its input instead of replacing
# it**. In this notebook you will
#
# - write one small net **three times**, with bare tensors, as an `nn.Module` and as an `nn.Sequential`, and find that
#   they are the same net;
# - write the **training step** and the **evaluation** that every PyTorch program has, with their modes and their traps;
# - build **blocks**: plain, residual, bottleneck, Inception, squeeze-and-excitation, depthwise separable; and count
#   what they cost;
# - put them together to a **ResNet**, see what happens to deep nets without shortcuts, and reuse a trained net for
#   **other classes** with a handful of images.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $x$ | images, or what an earlier block gives on | $(N, C, H, W)$ |
# | $F$ | filters of a convolution, its output channels; the block's `width` | a number |
# | $W^{(\ell)}$ | weights of a convolution $k \times k$ from $C$ to $F$ channels | $(F, C, k, k)$ |
# | $\mathcal{F}(x)$ | what the layers of a block compute, the *residual branch* | $(N, F, H', W')$ |
# | $h(x)$ | the *shortcut*: $x$ itself, or $x$ brought to the branch's shape | $(N, F, H', W')$ |
# | $s$ | stride; $H' = \lfloor (H - 1) / s \rfloor + 1$, and $W'$ likewise | a number |
# | $\gamma, \beta$ | scale and shift of a batch norm | $(F,)$ each |
# | $S$ | scores | $(N, K)$ |
# | $L$ | loss | a number |
#
# The formula for $H'$ holds for a $3 \times 3$ convolution with padding 1 and for a $1 \times 1$ convolution without
# padding alike, which is why the two can stand side by side.

# %% tags=["setup"]
import copy
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, normalize
from dlcvkit.plotting import COLOURS, show_images
from dlcvkit.settings import is_fast

# %% [markdown]
# ## 1. One net, three times
#
# The net: a convolution with $F_1$ filters $3 \times 3$, padding 1, ReLU, max-pooling $2 \times 2$; a convolution with
# $F_2$ filters $3 \times 3$, padding 1, ReLU; the mean over all pixels (*global average pooling*); an affine layer that
# gives $K$ scores:
#
# $$\underbrace{x}_{(N, C, H, W)} \to \underbrace{\cdot}_{(N, F_1, H, W)} \to
# \underbrace{\cdot}_{(N, F_1, \lfloor H/2 \rfloor, \lfloor W/2 \rfloor)} \to
# \underbrace{\cdot}_{(N, F_2, \lfloor H/2 \rfloor, \lfloor W/2 \rfloor)} \to
# \underbrace{\cdot}_{(N, F_2)} \to \underbrace{S}_{(N, K)} .$$
#
# Global average pooling has no weights and asks for no particular image size. With a flattened feature map instead,
# the affine layer would be tied to one height and width, and would hold most of the net's weights.
#
# ### Level 1: bare tensors
#
# The weights are tensors that you keep yourself, the layers are functions: `F.conv2d(x, w, b, padding=...)`,
# `F.relu`, `F.max_pool2d`, and for everything else tensor operations. There is no backward pass to write. A tensor
# that was made with `requires_grad=True` has torch note down every operation that it takes part in, a graph like the one
# you wrote in stage 2; `loss.backward()` walks it in reverse and leaves a gradient in every such tensor's `.grad`.
#
# $W_3$ is $(F_2, K)$ here, as it was in all notebooks so far.


# %% exercise="a3/convnet_by_tensors"
def convnet_by_tensors(x, params):
    """Compute the scores of the net from bare tensors.

    Args:
        x: Images, shape (N, C, H, W), floating point; H and W at least 2, odd ones included.
        params: Dict of weights, none of them modified: ``"W1"`` (F1, C, 3, 3), ``"b1"`` (F1,), ``"W2"``
            (F2, F1, 3, 3), ``"b2"`` (F2,), ``"W3"`` (F2, K), ``"b3"`` (K,).

    Returns:
        Scores, shape (N, K). Autograd can go back from them to every weight.
    """
    ### BEGIN SOLUTION
    hidden = F.max_pool2d(F.relu(F.conv2d(x, params["W1"], params["b1"], padding=1)), 2)
    hidden = F.relu(F.conv2d(hidden, params["W2"], params["b2"], padding=1))
    return hidden.mean(dim=(2, 3)) @ params["W3"] + params["b3"]
    ### END SOLUTION


# %% check="a3/convnet_by_tensors"
check("a3/convnet_by_tensors", convnet_by_tensors)

# %% [markdown]
# ### Level 2: a module
#
# Keeping weights by hand does not scale: somebody has to draw them, hand them to the optimiser, move them to the GPU,
# save them. An `nn.Module` is an object that knows its weights. Whatever module or `nn.Parameter` is put into an
# attribute is found by `parameters()`, `state_dict()`, `to(device)`, `train()` and `eval()`, and by those of the modules
# around it. Two methods are yours:
#
# - `__init__` calls `super().__init__()` first (it makes the lists that attributes are entered in), then makes the
#   layers, which draw their own first weights;
# - `forward(x)` uses them. The module is then called like a function, `net(x)`.
#
# **The name of an attribute is the name of its weights.** A layer in `self.conv1` has the entries `conv1.weight` and
# `conv1.bias` in the state dict, and a file of weights fits a net only if the names agree. That is why every exercise
# below fixes the names. And note the shape: `nn.Linear(F2, K)` keeps its weight as $(K, F_2)$ and computes
# $x W^\top + b$.


# %% exercise="a3/convnet_by_module"
class ConvNet(nn.Module):
    """The net of level 1 as a module.

    Its layers, and thus the names of its weights: ``conv1`` and ``conv2`` (3×3, padding 1, with bias) and ``fc``.
    """

    def __init__(self, in_channels, widths, num_classes):
        """Make the layers.

        Args:
            in_channels: Channels of the images, C.
            widths: Pair of filter counts (F1, F2).
            num_classes: Scores per image, K.
        """
        super().__init__()
        ### BEGIN SOLUTION
        first, second = widths
        self.conv1 = nn.Conv2d(in_channels, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.fc = nn.Linear(second, num_classes)
        ### END SOLUTION

    def forward(self, x):
        """Return the scores, shape (N, K), of images of shape (N, C, H, W)."""
        ### BEGIN SOLUTION
        hidden = F.max_pool2d(F.relu(self.conv1(x)), 2)
        hidden = F.relu(self.conv2(hidden))
        return self.fc(hidden.mean(dim=(2, 3)))
        ### END SOLUTION


# %% check="a3/convnet_by_module"
check("a3/convnet_by_module", ConvNet)

# %% [markdown]
# ### Level 3: a sequence
#
# Where each layer feeds the next one and nothing else, even `forward` can be left to torch: `nn.Sequential(a, b, c)`
# is the module that computes `c(b(a(x)))`. Everything has to be a module then, `nn.ReLU()` instead of `F.relu`, and the
# weights are named by position, from 0: ReLU, pooling and the like have none, but they count. Our net has eight modules:
#
# | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |
# | --- | --- | --- | --- | --- | --- | --- | --- |
# | convolution | ReLU | max-pooling | convolution | ReLU | mean over pixels | flatten | affine |
#
# For the mean over all pixels there is `nn.AdaptiveAvgPool2d(1)`, which gives shape $(N, F_2, 1, 1)$; `nn.Flatten()`
# takes the two axes of length 1 away.


# %% exercise="a3/convnet_by_layers"
def convnet_by_layers(in_channels, widths, num_classes):
    """Make the net as a sequence of layers.

    Args:
        in_channels: Channels of the images, C.
        widths: Pair of filter counts (F1, F2).
        num_classes: Scores per image, K.

    Returns:
        ``nn.Sequential`` of the eight modules in the table; its weights are ``0.weight``, ``0.bias``, ``3.weight``,
        ``3.bias``, ``7.weight`` and ``7.bias``.
    """
    ### BEGIN SOLUTION
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(in_channels, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(second, num_classes),
    )
    ### END SOLUTION


# %% check="a3/convnet_by_layers"
check("a3/convnet_by_layers", convnet_by_layers)

# %% [markdown]
# Equal weights, equal scores, equal gradients. Below, the weights of the module are handed to the other two, under the
# names that each of them uses.

# %% tags=["demo"]
torch.manual_seed(0)
x, y = torch.randn(5, 3, 13, 10), torch.arange(5) % 4
by_module = ConvNet(3, (6, 8), 4)
by_layers = convnet_by_layers(3, (6, 8), 4)
state = by_module.state_dict()
by_layers.load_state_dict(dict(zip(by_layers.state_dict(), state.values(), strict=True)))
bare = dict(zip(("W1", "b1", "W2", "b2", "W3", "b3"), (w.clone() for w in state.values()), strict=True))
bare["W3"] = bare["W3"].T.contiguous()  # (F2, K); nn.Linear keeps (K, F2)
for w in bare.values():
    w.requires_grad_()
all_scores = by_module(x), by_layers(x), convnet_by_tensors(x, bare)
for scores in all_scores:
    F.cross_entropy(scores, y).backward()
gradients = by_module.conv1.weight.grad, by_layers[0].weight.grad, bare["W1"].grad
for name, scores, gradient in zip(("module", "sequence", "tensors"), all_scores, gradients, strict=True):
    away = (scores - all_scores[0]).abs().max(), (gradient - gradients[0]).abs().max()
    print(
        f"{name:9} first score {scores[0, 0].item():.6f}; away from the module by at most {away[0]:.0e} in the", end=""
    )
    print(f" scores and {away[1]:.0e} in the gradient of the first convolution")

# %% [markdown]
# ## 2. The two loops of every program
#
# ### One training step
#
# Five lines, and each is there for a reason:
#
# 1. **Mode.** Batch norm and dropout behave differently in training and in use. `net.train()` and `net.eval()` set the
#    mode of a module and all inside it. In evaluation mode batch norm uses its running statistics, which no batch
#    changes then.
# 2. **Forward**: scores, then the mean cross-entropy.
# 3. **Clear.** `backward()` *adds* to `.grad`. What the last step left there has to go: `optimiser.zero_grad()`.
# 4. **Backward.** Fills the `.grad` of every parameter that the loss depends on.
# 5. **Step.** The optimiser changes its parameters in place.
#
# And one line for the memory: return `loss.item()`, a Python number. The loss *tensor* stays tied to the graph of its
# step; in a list of losses those graphs pile up, and where `backward()` was not called, with every activation in them.
#
# What the third line is for, in numbers: $L = 3w$ has the gradient 3, however often one asks. Watch what stands in
# `w.grad`, and what the step makes of it.

# %% tags=["demo"]
w = torch.tensor([1.0], requires_grad=True)
optimiser = torch.optim.SGD([w], lr=0.1)
for number in (1, 2, 3):
    loss = (3 * w).sum()
    loss.backward()
    print(f"after backward number {number}: w.grad = {w.grad.item():g}")
optimiser.step()
print(f"after the step: w = {w.item():.1f}; with the gradient 3 it would be 0.7")
optimiser.zero_grad()
print(f"after zero_grad: w.grad = {w.grad}")

# %% [markdown]
# Sometimes batch norm must not learn from a batch, such as when a part of the net is frozen (section 7). For that, our
# step has a switch.


# %% exercise="a3/train_step"
def train_step(net, x, y, optimiser, keep_statistics=False):
    """Take one step of training on a batch.

    Args:
        net: Module that maps images to scores; its weights are changed by the optimiser. It may come in any mode, and
            its parameters with gradients left over in ``.grad``, which must not matter.
        x: Images, shape (N, C, H, W).
        y: Labels, shape (N,), int64.
        optimiser: ``torch.optim.Optimizer`` over (some of) the parameters of the net.
        keep_statistics: If True the step is taken in evaluation mode, so that batch norms use their running
            statistics and leave them as they are; otherwise in training mode.

    Returns:
        The mean cross-entropy of the batch before the step, a Python float.
    """
    ### BEGIN SOLUTION
    net.train(not keep_statistics)
    loss = F.cross_entropy(net(x), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()
    ### END SOLUTION


# %% check="a3/train_step"
check("a3/train_step", train_step)

# %% [markdown]
# ### Evaluation
#
# Counting right answers wants evaluation mode, no graph (inside `torch.no_grad()` nothing is noted down, and
# activations are forgotten as soon as the next layer has them), and parts small enough for the memory. The last part
# may be smaller, so the mean of the parts' accuracies is *not* the accuracy: count, then divide once. And leave the net
# as you found it: a function that measures should not switch off somebody's training mode.


# %% exercise="a3/evaluate_accuracy"
def evaluate_accuracy(net, x, y, batch_size=500):
    """Return the share of images that a net gets right.

    Args:
        net: Module that maps images to scores. It works in evaluation mode meanwhile, all modules inside it included;
            afterwards ``net.train(...)`` puts it back in the mode, ``net.training``, that it came in.
        x: Images, shape (N, C, H, W), N at least 1.
        y: Labels, shape (N,), int64.
        batch_size: Largest number of images that the net is given at once, at least 1; N need not be a multiple of it.

    Returns:
        Right answers divided by N, a Python float. The right answer has the largest score, of equal ones the first. No
        graph is built.
    """
    ### BEGIN SOLUTION
    was_training = net.training
    net.eval()
    right = 0
    with torch.no_grad():
        for images, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
            right += (net(images).argmax(dim=1) == labels).sum().item()
    net.train(was_training)
    return right / y.numel()
    ### END SOLUTION


# %% check="a3/evaluate_accuracy"
check("a3/evaluate_accuracy", evaluate_accuracy)

# %% [markdown]
# ## 3. Why a deeper net should not be worse
#
# Take a net that is trained, and put more layers on top. The deeper net contains the shallow one: let the new layers
# compute the identity. So its *best* training loss cannot be higher. Trained nets did not know that: on CIFAR-10 a
# plain net of 56 layers made more errors than one of 20, **on the training images** (He et al., 2015, figure 1). That is
# not overfitting. It is a failure to find weights that are there, and section 6 shows it on your own nets.
#
# The cure: if the identity is hard to find, build it in. Let the layers compute what has to be *added*:
#
# $$\underbrace{y}_{(N, F, H', W')} = \operatorname{ReLU}\bigl( \underbrace{\mathcal{F}(x)}_{(N, F, H', W')} +
# \underbrace{h(x)}_{(N, F, H', W')} \bigr), \qquad h(x) = x \text{ if the shapes agree.}$$
#
# To do nothing, all that the block has to learn is $\mathcal{F} = 0$.
#
# **What it does to the gradient.** Leave out the last ReLU for a moment, take batch norm in evaluation mode, where
# images do not depend on one another, flatten the tensors of one image, and put blocks $\ell = 1 \dots B$ in a row,
# $x_{\ell+1} = x_\ell + \mathcal{F}_\ell(x_\ell)$. With the Jacobians $J_\ell = \partial \mathcal{F}_\ell / \partial
# x_\ell$, square matrices $(D, D)$ for $D$ numbers per image,
#
# $$\underbrace{\frac{\partial L}{\partial x_1}}_{(1, D)} = \frac{\partial L}{\partial x_{B+1}}
# \, (I + J_B) (I + J_{B-1}) \cdots (I + J_1)
# = \frac{\partial L}{\partial x_{B+1}} \, \Bigl( I + \sum_\ell J_\ell + \sum_{\ell > m} J_\ell J_m + \dots \Bigr),$$
#
# where a plain net has the single product $J_B \cdots J_1$. The gradient at the top reaches every block as it is, plus
# corrections. (The ReLU after the addition multiplies each factor by a diagonal matrix of zeros and ones: where
# it is shut, nothing passes.)
#
# ### Plain and residual
#
# Both blocks hold two convolutions $3 \times 3$ with padding 1, each followed by a batch norm. The first convolution
# carries the stride. No convolution has a bias: the batch norm after it subtracts the mean and would take a bias away
# with it; its own $\beta$ does that work. A block is made from the channels it gets, its width and its stride, and its
# class says in `expansion` how many times its width it gives on: once.


# %% exercise="a3/plain_block"
class PlainBlock(nn.Module):
    """Two convolutions in a row: conv1, bn1, ReLU, conv2, bn2, ReLU.

    ``conv1`` and ``conv2`` are 3×3 with padding 1 and without bias; ``conv1`` has the stride. ``bn1`` and ``bn2`` are
    ``nn.BatchNorm2d`` with torch's settings.
    """

    expansion = 1

    def __init__(self, in_channels, width, stride=1):
        """Make the layers.

        Args:
            in_channels: Channels of the input, C.
            width: Filters of both convolutions, F.
            stride: Stride of the block, s, at least 1.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        ### END SOLUTION

    def forward(self, x):
        """Return shape (N, F, (H - 1) // s + 1, (W - 1) // s + 1) for x of shape (N, C, H, W); x stays as it is."""
        ### BEGIN SOLUTION
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)))
        ### END SOLUTION


# %% check="a3/plain_block"
check("a3/plain_block", PlainBlock)

# %% [markdown]
# ### The residual block
#
# Three things are to be decided, and the papers differ on them:
#
# - **Where the last ReLU goes.** Here it comes *after* the addition, and `bn2` before it: *post-activation*, as in the
#   first paper. (The second paper moves batch norm and ReLU in front of each convolution, *pre-activation*, and leaves
#   the sum alone.) With a ReLU *before* the addition, $\mathcal{F}$ could only ever add, never take away.
# - **The shortcut where shapes differ.** With a stride, or another number of channels, $x$ cannot be added. Then
#   $h$ is a *projection*: a $1 \times 1$ convolution with the stride of the block, without bias, and a batch norm.
#   Otherwise it is the identity and has no weights at all.
# - **The first $\gamma$ of the last batch norm.** It is 1 by default; with `zero_init` it is 0 in `bn2`, and then
#   $\mathcal{F}(x) = 0$ (since $\beta$ starts at 0 too) and the whole block starts as $\operatorname{ReLU}(h(x))$. On an
#   $x$ that comes out of a ReLU, and with the identity as shortcut, that is $x$ itself.
#
# One trap lies in ReLU's option `inplace=True`: it overwrites its input. Harmless on the output of a batch norm; but
# whoever applies it to $x$ changes what the shortcut carries, and the tensor of whoever called.

# %% tags=["demo"]
GREY = "#e8e8e8"


def draw_block(axis, title, branch, shortcut, after=("+", "ReLU")):
    """Draw the layers of a branch from top to bottom, with a shortcut around them (a text, or None)."""
    names = [*branch, *(after if shortcut is not None else ())]
    for place, name in enumerate(names):
        is_sum = name in ("+", "×")
        style = "circle,pad=0.25" if is_sum else "round,pad=0.3"
        colour = "white" if is_sum else COLOURS[4] if "conv" in name or "fc" in name else GREY
        axis.text(0, -place, name, ha="center", va="center", fontsize=9, bbox={"boxstyle": style, "fc": colour})
        axis.annotate("", (0, -place + 0.27), (0, -place + 0.73), arrowprops={"arrowstyle": "->"})
    end = -len(names)
    axis.annotate("", (0, end + 0.27), (0, end + 0.73), arrowprops={"arrowstyle": "->"})
    axis.text(0.1, 0.75, "$x$", fontsize=11)
    if shortcut is not None:
        joint, line = -len(branch), {"color": COLOURS[1], "lw": 1.6}
        axis.plot([0, 1.5, 1.5], [0.6, 0.6, joint], **line)
        axis.annotate("", (0.3, joint), (1.52, joint), arrowprops={"arrowstyle": "->", **line})
        axis.text(
            1.5, joint / 2 + 0.3, shortcut, ha="center", va="center", fontsize=9, bbox={"fc": "white", "ec": COLOURS[1]}
        )
    axis.set_title(title, fontsize=10)
    axis.set_xlim(-1.6, 2.5)
    axis.set_ylim(-8.4, 1.2)
    axis.axis("off")


figure, axes = plt.subplots(1, 4, figsize=(10, 4.5), layout="constrained")
two = ["conv 3×3", "batch norm", "ReLU", "conv 3×3", "batch norm"]
draw_block(axes[0], "plain", [*two, "ReLU"], None)
draw_block(axes[1], "residual, identity", two, "identity")
draw_block(axes[2], "residual, projection", ["conv 3×3, stride 2", *two[1:]], "conv 1×1,\nstride 2;\nbatch norm")
draw_block(
    axes[3],
    "bottleneck (section 4)",
    ["conv 1×1", "norm, ReLU", "conv 3×3", "norm, ReLU", "conv 1×1", "batch norm"],
    "identity or\nprojection",
)
plt.show()


# %% exercise="a3/residual_block"
class ResidualBlock(nn.Module):
    """The residual block with post-activation: ReLU(bn2(conv2(ReLU(bn1(conv1(x))))) + shortcut(x)).

    ``conv1``, ``bn1``, ``conv2`` and ``bn2`` are as in ``PlainBlock``. ``shortcut`` is the identity, without weights, if
    the stride is 1 and ``in_channels`` equals ``width``; otherwise an ``nn.Sequential`` of a 1×1 convolution with the
    block's stride and without bias (``shortcut.0``) and a batch norm (``shortcut.1``).
    """

    expansion = 1

    def __init__(self, in_channels, width, stride=1, zero_init=False):
        """Make the layers.

        Args:
            in_channels: Channels of the input, C.
            width: Filters of both convolutions, F.
            stride: Stride of the block, s, at least 1.
            zero_init: Whether the weight (gamma) of ``bn2`` starts at 0; all other gammas start at 1 in any case.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != width:
            projection = nn.Conv2d(in_channels, width, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(width))
        if zero_init:
            nn.init.zeros_(self.bn2.weight)
        ### END SOLUTION

    def forward(self, x):
        """Return shape (N, F, (H - 1) // s + 1, (W - 1) // s + 1) for x of shape (N, C, H, W); x stays as it is."""
        ### BEGIN SOLUTION
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))
        ### END SOLUTION


# %% check="a3/residual_block"
check("a3/residual_block", ResidualBlock)

# %% [markdown] question="degradation" points=3
# **Question 1 (3 points).** A plain net with 56 layers has a higher *training* loss than one with 20, and a residual net
# with 56 layers has a lower one. (a) Why is that not overfitting, and which curve would look different if it were? (b) A
# classmate says: "The deep plain net cannot represent what the shallow one does." Show that it can, for a block of two
# convolutions with ReLU and without batch norm: give the weights (with padding 1, $F = C$). Where do you need that its
# input comes out of a ReLU? (c) So the better weights exist. Give two reasons why gradient descent does not find them
# from a random start, and say what the shortcut changes in each.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Overfitting is a low training loss with a high validation loss. Here the training loss itself is
# higher; with overfitting it would be lower than that of the shallow net, and only the validation curve would be worse.
# (b) Let each convolution have $W_{fcij} = 1$ for $f = c$ at the centre of the kernel and 0 elsewhere, no bias: it
# returns its input. The ReLU after it changes nothing as long as the input has no negative entries, which is so when it
# comes out of a ReLU. (c) Any two, such as: random weights are far from this arrangement, and the layers start by
# mixing and losing what the image had, so that late layers get little to work with; with the shortcut the block starts
# close to the identity and has to learn a correction, with weights near 0. The gradient is a product of many Jacobians,
# whose size grows or shrinks with depth and whose directions get lost; with the shortcut it holds the identity as a
# term. The loss surface of a deep plain net is rougher, the path to the identity solution is long and not downhill; the
# shortcut puts the start next to it.
#
# *Rubric.* 1 point: training loss itself, and which curve would differ. 1 point: the centre-one kernel and the
# non-negative input. 1 point: two reasons, each with what the shortcut changes.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. More blocks
#
# ### Bottleneck
#
# Two $3 \times 3$ convolutions on 256 channels hold $2 \cdot 9 \cdot 256^2 \approx 1.18$ million weights. The
# bottleneck does the spatial work on a quarter of the channels: a $1 \times 1$ convolution from $C$ down to $F$
# channels (the width), a $3 \times 3$ convolution on those, and a $1 \times 1$ convolution up to $4F$. With $C = 4F$
# and the identity as shortcut the convolutions hold
#
# $$4F \cdot F + 9 F^2 + F \cdot 4F = 17 F^2$$
#
# weights; for $F = 64$, thus 256 channels, 69,632: a seventeenth. Batch norm follows each convolution, ReLU the first
# two batch norms and the addition. The stride sits on the $3 \times 3$ convolution: in the paper it sits on the first
# $1 \times 1$ one, which then never looks at three quarters of its input; today's libraries have moved it.


# %% exercise="a3/bottleneck_block"
class BottleneckBlock(nn.Module):
    """The bottleneck: ReLU(bn3(conv3(ReLU(bn2(conv2(ReLU(bn1(conv1(x)))))))) + shortcut(x)).

    ``conv1`` is 1×1, ``conv2`` 3×3 with padding 1 and the block's stride, ``conv3`` 1×1 with 4 * width filters; none
    has a bias. ``shortcut`` is the identity, without weights, if the stride is 1 and ``in_channels`` equals
    ``4 * width``; otherwise an ``nn.Sequential`` of a 1×1 convolution with the block's stride and without bias
    (``shortcut.0``) and a batch norm (``shortcut.1``).
    """

    expansion = 4

    def __init__(self, in_channels, width, stride=1, zero_init=False):
        """Make the layers.

        Args:
            in_channels: Channels of the input, C.
            width: Filters of conv1 and conv2, F; the output has 4F channels.
            stride: Stride of the block, s, at least 1.
            zero_init: Whether the weight (gamma) of ``bn3`` starts at 0; all other gammas start at 1 in any case.
        """
        super().__init__()
        ### BEGIN SOLUTION
        channels = self.expansion * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != channels:
            projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))
        if zero_init:
            nn.init.zeros_(self.bn3.weight)
        ### END SOLUTION

    def forward(self, x):
        """Return shape (N, 4F, (H - 1) // s + 1, (W - 1) // s + 1) for x of shape (N, C, H, W); x stays as it is."""
        ### BEGIN SOLUTION
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))
        ### END SOLUTION


# %% check="a3/bottleneck_block"
check("a3/bottleneck_block", BottleneckBlock)

# %% [markdown]
# ### Inception
#
# How large should a kernel be? The Inception block does not choose: four branches look at the same input in different
# ways, and their outputs are put side by side along the channel axis. All keep height and width, so the paddings are 0,
# 1 and 2 for kernels of 1, 3 and 5, and 1 for the pooling.
#
# | branch | layers | channels out |
# | --- | --- | --- |
# | 1 | `one` $1 \times 1$ | $c_1$ |
# | 2 | `three_reduce` $1 \times 1$, `three` $3 \times 3$ | $r_3$, then $c_3$ |
# | 3 | `five_reduce` $1 \times 1$, `five` $5 \times 5$ | $r_5$, then $c_5$ |
# | 4 | max-pooling $3 \times 3$ with stride 1, `pool_project` $1 \times 1$ | $C$, then $c_p$ |
#
# Every convolution has a bias and a ReLU after it, the reducing ones included. They are what makes it affordable: a
# $5 \times 5$ convolution from 192 to 32 channels holds $192 \cdot 32 \cdot 25 = 153{,}600$ weights, and with a reduction to
# 16 channels in front $192 \cdot 16 + 16 \cdot 32 \cdot 25 = 15{,}872$.
#
# The first such block of GoogLeNet has $C = 192$, $c_1 = 64$, $r_3 = 96$, $c_3 = 128$, $r_5 = 16$, $c_5 = 32$,
# $c_p = 32$. Count its output channels before you go on.


# %% exercise="a3/inception_block"
class InceptionBlock(nn.Module):
    """Four branches, concatenated along the channels in the order of the table.

    The convolutions are ``one``, ``three_reduce``, ``three``, ``five_reduce``, ``five`` and ``pool_project``. All have
    stride 1 and a bias, and a ReLU follows each. The max-pooling is 3×3 with stride 1 and padding 1.
    """

    def __init__(self, in_channels, c1, r3, c3, r5, c5, cp):
        """Make the layers.

        Args:
            in_channels: Channels of the input, C.
            c1: Filters of ``one``.
            r3: Filters of ``three_reduce``.
            c3: Filters of ``three``.
            r5: Filters of ``five_reduce``.
            c5: Filters of ``five``.
            cp: Filters of ``pool_project``.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.one = nn.Conv2d(in_channels, c1, 1)
        self.three_reduce = nn.Conv2d(in_channels, r3, 1)
        self.three = nn.Conv2d(r3, c3, 3, padding=1)
        self.five_reduce = nn.Conv2d(in_channels, r5, 1)
        self.five = nn.Conv2d(r5, c5, 5, padding=2)
        self.pool_project = nn.Conv2d(in_channels, cp, 1)
        ### END SOLUTION

    def forward(self, x):
        """Return shape (N, c1 + c3 + c5 + cp, H, W) for x of shape (N, C, H, W); x stays as it is."""
        ### BEGIN SOLUTION
        branches = [
            self.one(x),
            self.three(F.relu(self.three_reduce(x))),
            self.five(F.relu(self.five_reduce(x))),
            self.pool_project(F.max_pool2d(x, 3, stride=1, padding=1)),
        ]
        return F.relu(torch.cat(branches, dim=1))
        ### END SOLUTION


# %% check="a3/inception_block"
check("a3/inception_block", InceptionBlock)

# %% [markdown]
# ### Squeeze and excitation
#
# A convolution looks at a neighbourhood and treats all channels alike everywhere. The squeeze-and-excitation module lets
# the *whole image* say which channels matter. *Squeeze*: the mean of every channel over the pixels, $z$. *Excite*: two
# affine layers with $R$ units in between, and a sigmoid, give one factor per channel, $g$. *Scale*: each channel is
# multiplied by its factor.
#
# $$z_{nc} = \frac{1}{HW} \sum_{i,j} x_{ncij}, \qquad
# \underbrace{g}_{(N, C)} = \sigma\bigl( \operatorname{ReLU}( \underbrace{z}_{(N, C)} W_1^\top + b_1 ) W_2^\top + b_2
# \bigr), \qquad y_{ncij} = g_{nc} \, x_{ncij} ,$$
#
# with $W_1$ of shape $(R, C)$, $b_1$ $(R,)$, $W_2$ $(C, R)$ and $b_2$ $(C,)$, the way `nn.Linear` keeps them. The
# factors lie between 0 and 1 and differ from image to image: a gate that is computed, not learned as a number. It costs
# $2RC + R + C$ weights, and next to no time.


# %% exercise="a3/squeeze_excite"
class SqueezeExcite(nn.Module):
    """Scales every channel by a factor that the whole image decides; ``fc1`` and ``fc2`` are affine layers with bias."""

    def __init__(self, channels, reduction=16):
        """Make the layers.

        Args:
            channels: Channels of the input, C.
            reduction: R is ``channels // reduction``, but at least 1.
        """
        super().__init__()
        ### BEGIN SOLUTION
        units = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, units)
        self.fc2 = nn.Linear(units, channels)
        ### END SOLUTION

    def forward(self, x):
        """Return x with scaled channels, shape (N, C, H, W); x itself stays as it is."""
        ### BEGIN SOLUTION
        squeezed = x.mean(dim=(2, 3))  # (N, C)
        gate = self.fc2(F.relu(self.fc1(squeezed))).sigmoid()
        return x * gate[:, :, None, None]
        ### END SOLUTION


# %% check="a3/squeeze_excite"
check("a3/squeeze_excite", SqueezeExcite)

# %% [markdown]
# ### Depthwise separable
#
# A convolution does two things at once: it looks around, and it mixes channels. Done one after the other they are
# cheap. The *depthwise* convolution filters every channel by itself with one kernel $3 \times 3$ (in torch: as many
# `groups` as channels), and a $1 \times 1$ convolution, the *pointwise* one, mixes. Per output pixel
#
# $$\underbrace{9\,C F}_{\text{full}} \qquad \text{against} \qquad \underbrace{9\,C}_{\text{depthwise}} + \underbrace{C
# F}_{\text{pointwise}}, \qquad \text{a ratio of } \frac{1}{F} + \frac{1}{9} :$$
#
# about 8 times cheaper at $F = 64$ and never more than 9 times, in weights and in multiplications. Each is followed by
# batch norm and ReLU, as in MobileNet. The weight of the depthwise convolution has shape $(C, 1, 3, 3)$.


# %% exercise="a3/depthwise_separable_block"
class DepthwiseSeparableBlock(nn.Module):
    """A depthwise and a pointwise convolution: depthwise, bn1, ReLU, pointwise, bn2, ReLU.

    ``depthwise`` is 3×3 with padding 1 and the block's stride and filters each channel by itself; ``pointwise`` is 1×1.
    Neither has a bias. ``bn1`` has as many channels as the input, ``bn2`` as the output.
    """

    expansion = 1

    def __init__(self, in_channels, width, stride=1):
        """Make the layers.

        Args:
            in_channels: Channels of the input, C.
            width: Filters of the pointwise convolution, F.
            stride: Stride of the block, s, at least 1.
        """
        super().__init__()
        ### BEGIN SOLUTION
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels, bias=False
        )
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        ### END SOLUTION

    def forward(self, x):
        """Return shape (N, F, (H - 1) // s + 1, (W - 1) // s + 1) for x of shape (N, C, H, W); x stays as it is."""
        ### BEGIN SOLUTION
        out = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(out)))
        ### END SOLUTION


# %% check="a3/depthwise_separable_block"
check("a3/depthwise_separable_block", DepthwiseSeparableBlock)

# %% [markdown]
# ## 5. The ResNet
#
# Blocks in a row, in *stages*. Within a stage all blocks have one width and keep height and width of the image; every
# stage but the first begins with a block of stride 2, which halves them, while the width usually doubles. In front of
# the stages stands the *stem*, a convolution that brings the image to the first width; behind them global average
# pooling and one affine layer.
#
# For images of $32 \times 32$ pixels the stem is a single $3 \times 3$ convolution with stride 1. With stages of $n$
# blocks each, widths 16, 32 and 64, and two convolutions per block, the net has $6n + 2$ layers with weights (the
# projections are not counted): $n = 3$ gives ResNet-20.
#
# A block gives on `width * block.expansion` channels; that is what the next one gets, and the affine layer in the end.
# Counting them as you go is the whole difficulty.


# %% exercise="a3/resnet"
class ResNet(nn.Module):
    """A residual net: stem, stages, global average pooling, affine layer.

    - ``stem``: ``nn.Sequential`` of a 3×3 convolution with padding 1, stride 1 and without bias, to ``widths[0]``
      channels; a batch norm; and ReLU. (``stem.0``, ``stem.1``)
    - ``stages``: ``nn.Sequential`` with one ``nn.Sequential`` of blocks per stage. (``stages.0.1`` is the second block
      of the first stage.) The first block of every stage but the first has stride 2; all other blocks have stride 1.
    - ``fc``: ``nn.Linear`` from the channels of the last block to the classes.
    """

    def __init__(self, block, counts, widths, num_classes, in_channels=3, **options):
        """Make the layers.

        Args:
            block: Class of the blocks, made as ``block(in_channels, width, stride, **options)``; it gives on
                ``width * block.expansion`` channels.
            counts: Number of blocks in each stage, each at least 1.
            widths: Width of the blocks in each stage; as many as counts.
            num_classes: Scores per image, K.
            in_channels: Channels of the images, C.
            options: Further arguments of every block, such as ``zero_init=True``.
        """
        super().__init__()
        ### BEGIN SOLUTION
        channels = widths[0]
        convolution = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())
        stages = []
        for number, (count, width) in enumerate(zip(counts, widths, strict=True)):
            blocks = []
            for place in range(count):
                stride = 2 if number > 0 and place == 0 else 1
                blocks.append(block(channels, width, stride, **options))
                channels = width * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(channels, num_classes)
        ### END SOLUTION

    def features(self, x):
        """Return what the affine layer gets, shape (N, widths[-1] * block.expansion): stem, stages, mean over pixels."""
        ### BEGIN SOLUTION
        return self.stages(self.stem(x)).mean(dim=(2, 3))
        ### END SOLUTION

    def forward(self, x):
        """Return the scores, shape (N, K), of images of shape (N, C, H, W)."""
        ### BEGIN SOLUTION
        return self.fc(self.features(x))
        ### END SOLUTION


# %% check="a3/resnet"
check("a3/resnet", ResNet)

# %% [markdown]
# ### Counting
#
# Published sizes are a good test, since they leave no room for a forgotten layer. With the blocks above: ResNet-20 for
# ten classes (the paper says 0.27 million; its shortcuts have no weights, while our two projections hold 2,752), and
# the two nets for ImageNet, ResNet-18 with 11,689,512 and ResNet-50 with 25,557,032 parameters in torchvision, torch's
# collection of models. Images of 224 pixels want another stem, a $7 \times 7$ convolution with stride 2 and max-pooling,
# which takes the place of ours: a module is an attribute like any other. With the weights of torchvision's two nets,
# renamed, these give the same scores to the last digit (tried on random images).


# %% tags=["demo"]
def count_parameters(net):
    return sum(w.numel() for w in net.parameters())


def for_imagenet(block, counts):
    net = ResNet(block, counts, (64, 128, 256, 512), 1000)
    convolution = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
    net.stem = nn.Sequential(convolution, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
    return net


rows = {
    "ResNet-20 for CIFAR-10, plain": ResNet(PlainBlock, (3, 3, 3), (16, 32, 64), 10),
    "ResNet-20 for CIFAR-10, residual": ResNet(ResidualBlock, (3, 3, 3), (16, 32, 64), 10),
    "the same of depthwise separable blocks": ResNet(DepthwiseSeparableBlock, (3, 3, 3), (16, 32, 64), 10),
    "ResNet-18 for ImageNet": for_imagenet(ResidualBlock, (2, 2, 2, 2)),
    "ResNet-50 for ImageNet": for_imagenet(BottleneckBlock, (3, 4, 6, 3)),
    "Inception block 3a of GoogLeNet": InceptionBlock(192, 64, 96, 128, 16, 32, 32),
    "its 256 channels from one convolution 5×5": nn.Conv2d(192, 256, 5),
}
for name, module in rows.items():
    print(f"{name:42} {count_parameters(module):12,}")
del rows

# %% [markdown]
# ### What a deep net passes on
#
# Before any training: random images, any labels, one backward pass, and the norm of the gradient of every convolution's
# weights, from the first to the last. What to expect: in the plain net the gradient is *larger* at the bottom than at
# the top, the more so the deeper the net is. Batch norm keeps the activations in order on the way up, but on the way
# down every layer with ReLU multiplies the gradient by a bit more than 1, and 54 times a bit is a lot. (Without batch
# norm, with weights that are a little too small, it would vanish instead.) Measured with 56 layers: the first
# convolution's gradient is about 1,800 times as large as the last one's in the plain net, and 19 times in the residual
# one. And with $\gamma = 0$ in every last batch norm the convolutions inside the blocks get no gradient at all in the
# first step: what lies behind a factor of 0 cannot matter. It is the 0 itself that moves first.


# %% tags=["demo"]
def gradient_norms(block, count, **options):
    """Return the norm of the gradient of every 3×3 convolution, first to last, at the start."""
    torch.manual_seed(0)
    net = ResNet(block, (count,) * 3, (8, 16, 32), 10, **options)
    F.cross_entropy(net(torch.randn(32, 3, 16, 16)), torch.arange(32) % 10).backward()
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    return [layer.weight.grad.norm().item() for layer in layers]


figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.3), layout="constrained", sharey=True)
for axis, count in zip(axes, (3, 9), strict=True):
    for colour, (name, block) in zip(COLOURS, {"plain": PlainBlock, "residual": ResidualBlock}.items(), strict=False):
        norms = gradient_norms(block, count)
        axis.semilogy(range(1, len(norms) + 1), norms, color=colour, marker=".", label=name)
        print(
            f"{6 * count + 2} layers, {name}: the first gradient is {norms[0] / norms[-1]:,.0f} times as large as the last"
        )
    axis.set_title(f"{6 * count + 2} layers", fontsize=10)
    axis.set_xlabel("convolution, first to last")
    axis.set_xticks(range(0, len(norms) + 1, 5 if count == 3 else 10))
    axis.grid(alpha=0.3)
axes[0].set_ylabel("norm of the gradient")
axes[0].legend(frameon=False, fontsize=9)
plt.show()
zeros = gradient_norms(ResidualBlock, 9, zero_init=True)
print(f"zero_init: {sum(norm == 0 for norm in zeros)} of {len(zeros)} convolutions get a gradient of exactly 0")

# %% [markdown] question="zero_init" points=3
# **Question 2 (3 points).** A residual net is made with `zero_init=True`. (a) What does a block with identity shortcut
# compute at the start, given an input that comes out of a ReLU, and what does the whole net amount to? Which
# convolutions matter for the scores? (b) In the first step the convolutions inside the blocks get a gradient of exactly
# 0, as the line under the figure says. Derive from $u = \gamma \hat{v} + \beta$, with $\hat{v}$ the normalised output
# of the last convolution, which parameters of the block get one, and say why the net is not stuck, unlike a net of two
# affine layers whose weights all start at 0. (c) Why does this start help very deep nets and large learning rates?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\mathcal{F}(x) = 0 \cdot \hat{v} + 0 = 0$, so it computes $\operatorname{ReLU}(x) = x$. The net
# is the stem, the projections (with ReLU) at the beginning of each stage whose shape changes, and the affine layer: a
# shallow net, whatever its depth. Only the stem's and the projections' convolutions matter. (b) $\partial L / \partial
# \gamma = \sum \partial L / \partial u \cdot \hat{v}$ and $\partial L / \partial \beta = \sum \partial L / \partial u$
# differ from 0 in general; $\partial L / \partial \hat{v} = \gamma \, \partial L / \partial u = 0$ cuts off everything
# in front of it. After one step $\gamma \ne 0$ and the convolutions get gradients too. In the two affine layers both
# factors of the product are 0, so neither gets a gradient; here $\hat{v}$ is not 0, because the convolutions are
# random. (c) The net starts as an easy, shallow one; scores and gradients at the start do not grow with the number of
# blocks (each would add its variance to the sum), so that a learning rate which suits a shallow net does not blow the
# deep one up; blocks come in one by one as they become useful.
#
# *Rubric.* 1 point: identity blocks, the shallow net of stem and projections. 1 point: $\gamma$ and $\beta$ get
# gradients because $\hat{v} \ne 0$, the rest does not. 1 point: start does not depend on depth (size of signal or
# gradient).
# ### END MARK SCHEME

# %% [markdown]
# ## 6. Depth, with and without shortcuts
#
# Now the experiment that section 3 announced, in small: 2,000 images, halved to $16 \times 16$ pixels to save time; nets
# of 8, 20 and 32 layers, equal in all but the shortcuts (and the few projections); equal batches, equal learning
# rate. We look at the loss on the *training* batches, nothing else. The third kind is residual with `zero_init`.
#
# What to expect: the deeper the plain net, the higher its loss, and 32 layers have hardly begun to learn when the run
# ends. Residual nets get further, but at 32 layers they too are slow to start. With `zero_init` the three curves begin
# as one, because the three nets do; then the order by depth turns round, and the deepest net ends lowest. Measured,
# mean training loss of the last 20 of 160 steps, for 8, 20 and 32 layers:
#
# | | CIFAR-10 | drawn shapes |
# | --- | --- | --- |
# | plain | 1.60, 1.93, 2.17 | 1.65, 2.11, 2.25 |
# | residual | 1.59, 1.53, 1.89 | 1.94, 1.82, 2.21 |
# | residual, `zero_init` | 1.77, 1.66, 1.62 | 2.13, 2.11, 2.07 |
#
# This is the beginning of training, not its end: it shows who gets going. What helps 32 layers costs something at 8,
# which need no help: on drawn shapes the plain net of 8 layers is the fastest of all nine.

# %% tags=["demo"]
data = load_images("cifar10", n_train=2000 if is_fast() else 9000, n_val=500 if is_fast() else 1000, n_test=2000)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val = normalize(data.x_train, mean, std), normalize(data.x_val, mean, std)
y_train, y_val = data.y_train, data.y_val
K = len(data.classes)


def train(net, x, y, *, lr, steps, batch_size=64, mirror=False, bar=None, keep_statistics=False, parameters=None):
    """Train with momentum and a learning rate that rises and falls once; return the loss of every step."""
    generator = torch.Generator().manual_seed(0)
    parameters = list(net.parameters()) if parameters is None else parameters
    optimiser = torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.2)
    losses = []
    while len(losses) < steps:
        for rows in torch.randperm(len(x), generator=generator).split(batch_size)[: steps - len(losses)]:
            images = x[rows]
            if mirror:
                is_mirrored = torch.rand(len(rows), generator=generator) < 0.5
                images = torch.where(is_mirrored[:, None, None, None], images.flip(-1), images)
            losses.append(train_step(net, images, y[rows], optimiser, keep_statistics))
            schedule.step()
            if bar is not None:
                bar.update()
                bar.set_postfix(loss=f"{sum(losses[-20:]) / len(losses[-20:]):.3f}", refresh=False)
    return losses


# %% tags=["demo"]
depths, steps = ((8, 20), 12) if is_fast() else ((8, 20, 32), 160)
small = F.avg_pool2d(x_train[:2000], 2)
kinds = {
    "plain": (PlainBlock, {}),
    "residual": (ResidualBlock, {}),
    "residual, zero_init": (ResidualBlock, {"zero_init": True}),
}
curves = {}
with tqdm(total=len(depths) * len(kinds) * steps, desc="depth") as bar:
    for depth in depths:
        for kind, (block, options) in kinds.items():
            torch.manual_seed(0)
            net = ResNet(block, ((depth - 2) // 6,) * 3, (8, 16, 32), K, **options)
            curves[kind, depth] = train(net, small, y_train[:2000], lr=0.1, steps=steps, bar=bar)

window = max(steps // 8, 5)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
for axis, kind in zip(axes, kinds, strict=False):
    for colour, depth in zip(COLOURS, depths, strict=False):
        smooth = torch.tensor(curves[kind, depth]).unfold(0, window, 1).mean(dim=1)
        axis.plot(range(window, steps + 1), smooth, color=colour, label=f"{depth} layers")
    axis.set_title(kind, fontsize=10)
    axis.set_xlabel("step")
    axis.sharey(axes[0])
axes[0].set_ylabel(f"training loss, mean of {window} steps")
axes[0].legend(frameon=False, fontsize=8)
for colour, marker, kind in zip(COLOURS[3:], "osd", kinds, strict=False):
    ends = [sum(curves[kind, depth][-window:]) / window for depth in depths]
    axes[3].plot(depths, ends, color=colour, marker=marker, label=kind)
    print(f"{kind:20}", *(f"{depth} layers: {end:.2f}  " for depth, end in zip(depths, ends, strict=True)))
axes[3].set_title(f"the last {window} steps", fontsize=10)
axes[3].set_xlabel("layers")
axes[3].set_xticks(depths)
axes[3].legend(frameon=False, fontsize=8)
for axis in axes:
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ### A ResNet that is worth its name
#
# All training images, mirrored at random, eight epochs. With stride 2 in the stem a training step is nearly five times
# faster (measured), since all that follows works on a quarter of the pixels. Expect well over 50 % on CIFAR-10.
# Measured, on 9,000 training images and with 28 s of processor time: 61.7 % of the validation and 61.8 % of the test
# images, with 70 % of the training images; on drawn shapes 93.2 % and 95.0 %, with 98 %. The two-layer net of stage 2
# had 49.8 % on CIFAR-10, with more than ten times as many weights.

# %% tags=["demo"]
epochs = 1 if is_fast() else 8
torch.manual_seed(0)
resnet = ResNet(ResidualBlock, (1, 1, 1), (16, 32, 64), K)
resnet.stem[0].stride = (2, 2)
start, steps = time.perf_counter(), epochs * -(-len(x_train) // 100)
with tqdm(total=steps, desc="ResNet-8") as bar:
    losses = train(resnet, x_train, y_train, lr=0.1, steps=steps, batch_size=100, mirror=True, bar=bar)
print(f"{data.name}: {count_parameters(resnet):,} parameters, {steps} steps in {time.perf_counter() - start:.0f} s")
right = evaluate_accuracy(resnet, x_train[:1000], y_train[:1000]), evaluate_accuracy(resnet, x_val, y_val)
print(f"training {right[0]:.1%}, validation {right[1]:.1%}")
x_test = normalize(data.x_test, mean, std)
print(f"test {evaluate_accuracy(resnet, x_test, data.y_test):.1%}")

# %% [markdown]
# ## 7. Transfer: other classes, few images
#
# What the early layers of a net have learned (edges, colours, textures, parts) is of use for other classes too. So take
# a trained net, throw away its last layer, put a new one in its place, and train *that* on the new classes. All else
# stays **frozen**. Three things have to be right, and the third one is forgotten by nearly everybody:
#
# 1. **No gradients.** `requires_grad` is False in every parameter of the old net. Then autograd notes nothing down in
#    the old net, keeps none of its activations and has no way back through it to go.
# 2. **The optimiser gets the new layer's parameters and no others.** It cannot change what it does not have, and
#    keeps no momentum for it.
# 3. **The running statistics are no parameters.** In training mode a batch norm normalises with the batch's statistics
#    and moves its running ones, whether its $\gamma$ and $\beta$ are frozen or not. So a frozen net has to be in evaluation
#    mode *while the new layer is trained*. That is what `keep_statistics` in `train_step` is for.
#
# The last layer is linear, and with a frozen net its inputs never change. So this is a linear classifier again, as in
# stage 1, on features that a net has learned.


# %% exercise="a3/freeze_for_transfer"
def freeze_for_transfer(net, num_classes):
    """Freeze a trained net and give it a new last layer; the net is changed in place.

    Afterwards no parameter but those of ``net.fc`` requires a gradient, ``net.fc`` is a new ``nn.Linear`` with bias, on
    the device and of the dtype of the old one, and the net is in evaluation mode, with all modules inside it.

    Args:
        net: Module whose last layer is the ``nn.Linear`` ``net.fc``, such as a ``ResNet``; in any mode, any of its
            parameters frozen already or not.
        num_classes: Scores that the new layer gives, at least 1; may be as many as the old one's, the layer is new in
            any case.

    Returns:
        List of the parameters that the optimiser is to get: weight and bias of the new layer.
    """
    ### BEGIN SOLUTION
    for parameter in net.parameters():
        parameter.requires_grad = False
    old = net.fc.weight
    net.fc = nn.Linear(net.fc.in_features, num_classes, device=old.device, dtype=old.dtype)
    net.eval()
    return list(net.fc.parameters())
    ### END SOLUTION


# %% check="a3/freeze_for_transfer"
check("a3/freeze_for_transfer", freeze_for_transfer)

# %% [markdown]
# Six of the ten classes serve to train a small ResNet. The other four are the new task, with 5, 20 or 80 images of
# each, and three ways to go about it: the new layer on the frozen net; **fine-tuning**, the same start but with all
# parameters trained on, at a lower rate; and a new net from scratch. Small dots are single draws of the few images, and
# lines their means.
#
# What to expect: with few images both ways of reusing the net are ahead of a new one; on CIFAR-10, 80 images of each
# class are enough to catch up. Measured with 5, 20 and 80 images of each class, means of three draws:
#
# | | CIFAR-10 | drawn shapes |
# | --- | --- | --- |
# | frozen | 53 %, 62 %, 66 % | 47 %, 52 %, 56 % |
# | fine-tuned | 57 %, 64 %, 66 % | 40 %, 51 %, 57 % |
# | from scratch | 47 %, 54 %, 65 % | 30 %, 34 %, 43 % |
#
# Frozen or fine-tuned? On CIFAR-10 the dots of one lie among those of the other. On drawn shapes with 5 images the frozen
# net is ahead in every draw: so few images have little to teach 78,000 weights, and can spoil them.

# %% tags=["demo"]
is_old = y_train < 6
new_x, new_y = x_train[~is_old], y_train[~is_old] - 6
test_x, test_y = x_val[y_val >= 6], y_val[y_val >= 6] - 6


def small_resnet(num_classes):
    net = ResNet(ResidualBlock, (1, 1, 1), (16, 32, 64), num_classes)
    net.stem[0].stride = (2, 2)
    return net


def adapt(how, x, y, steps, bar):
    """Return a net for four new classes, trained on x and y in one of three ways."""
    if how == "from scratch":
        net = small_resnet(4)
        train(net, x, y, lr=0.05, steps=steps, batch_size=32, bar=bar)
        return net
    net = copy.deepcopy(old_net)
    head = freeze_for_transfer(net, 4)
    if how == "frozen":
        train(net, x, y, lr=0.05, steps=steps, batch_size=32, bar=bar, keep_statistics=True, parameters=head)
    else:
        for parameter in net.parameters():
            parameter.requires_grad = True
        train(net, x, y, lr=0.01, steps=steps, batch_size=32, bar=bar)
    return net


ways, counts, draws = ("frozen", "fine-tuned", "from scratch"), (5, 20, 80), 1 if is_fast() else 3
first_steps, steps = (10, 8) if is_fast() else (200, 60)
found = torch.zeros(len(ways), len(counts), draws)
with tqdm(total=first_steps + found.numel() * steps, desc="transfer") as bar:
    torch.manual_seed(0)
    old_net = small_resnet(6)
    train(old_net, x_train[is_old], y_train[is_old], lr=0.1, steps=first_steps, batch_size=100, mirror=True, bar=bar)
    for column, count in enumerate(counts):
        for draw in range(draws):
            order = torch.randperm(len(new_x), generator=torch.Generator().manual_seed(draw))
            rows = torch.cat([order[new_y[order] == label][:count] for label in range(4)])
            for row, how in enumerate(ways):
                torch.manual_seed(draw)
                net = adapt(how, new_x[rows], new_y[rows], steps, bar)
                found[row, column, draw] = evaluate_accuracy(net, test_x, test_y)

old_right = evaluate_accuracy(old_net, x_val[y_val < 6], y_val[y_val < 6])
print(f"{data.name}: the old net gets {old_right:.1%} of its own six classes")
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for colour, how, row in zip(COLOURS, ways, found, strict=False):
    axis.plot(range(len(counts)), row.mean(dim=1), color=colour, marker="o", label=how)
    axis.scatter([place for place in range(len(counts)) for _ in range(draws)], row.flatten(), color=colour, s=10)
    print(f"{how:13}", *(f"{count} images: {mean:.0%}  " for count, mean in zip(counts, row.mean(dim=1), strict=True)))
axis.axhline(0.25, color="grey", lw=1, ls="--", label="guessing")
axis.set_xticks(range(len(counts)), [str(count) for count in counts])
axis.set_xlabel("training images of each new class")
axis.set_ylabel("accuracy on the four new classes")
axis.legend(frameon=False, fontsize=9)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown] question="freeze_or_tune" points=3
# **Question 3 (3 points).** (a) You have a ResNet-50 trained on a million photographs. For each of these tasks say
# whether you would freeze, fine-tune or train from scratch, and why: 200 photographs of ten breeds of dogs; 50,000
# photographs of shop goods in 300 classes; 300 X-ray images of two classes; two million microscope images. (b) Why is
# the learning rate in fine-tuning several times lower than in training from scratch, and what may happen in the first
# steps if the new last layer is random and everything is trained at once? (c) A classmate froze all parameters, gave
# the optimiser the new layer alone, and called `net.train()` before every step. Training went well. In use, in
# evaluation mode, the net is much worse than it was on the training batches, and the *old* last layer does not fit any
# more either. Which numbers in the net have changed, and what two things go wrong?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Few images that look like those of the old task: freeze; a big net would learn 200 images by heart.
# Many similar images: fine-tune, they are enough to adapt all layers, and the start saves time. Few images of another
# kind: hardest; freeze, perhaps cutting earlier (early layers are more general), or fine-tune gently with strong
# regularisation and validation; not from scratch. Millions: fine-tune or from scratch, both work; the start matters less
# and less. (b) The weights are good already; large steps destroy what they know. With a random last layer the gradients
# that reach the body are noise, large ones; the features change before the new layer has anything to say. Train the
# layer first, then unfreeze, or use different rates. (c) The running means and variances of the batch norms: they are
# buffers, no parameters, and move in training mode at each forward pass. First, the new layer was trained on features
# normalised by batch statistics and is used on features normalised by running ones, which after a few steps are
# a mixture of old and new. Second, the body is no longer the old one: its statistics belong to other images, so
# whatever was built on it (the old layer) gets other features.
#
# *Rubric.* 1 point: at least three of four sensible, by number of images *and* similarity. 1 point: good weights
# destroyed by noise from the random layer or large steps. 1 point: running statistics, both consequences.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, *Deep residual learning for image recognition*, 2015,
#   arXiv:1512.03385: the degradation problem, the blocks, ResNet-20 to 1202 on CIFAR-10.
# - The same authors, *Identity mappings in deep residual networks*, 2016, arXiv:1603.05027: pre-activation, and why
#   the shortcut should be left alone.
# - Andreas Veit, Michael Wilber and Serge Belongie, *Residual networks behave like ensembles of relatively shallow
#   networks*, 2016, arXiv:1605.06431: remove a block from a trained ResNet, and little happens.
# - Greg Yang, Jeffrey Pennington, Vinay Rao, Jascha Sohl-Dickstein and Samuel Schoenholz, *A mean field theory of batch
#   normalization*, 2019, arXiv:1902.08129: why gradients explode in deep plain nets with batch norm.
# - Priya Goyal and others, *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017, arXiv:1706.02677: $\gamma =
#   0$ at the start, among other tricks.
# - Christian Szegedy and others, *Going deeper with convolutions*, 2014, arXiv:1409.4842: the Inception block.
# - Jie Hu, Li Shen, Samuel Albanie, Gang Sun and Enhua Wu, *Squeeze-and-excitation networks*, 2017, arXiv:1709.01507.
# - Andrew Howard and others, *MobileNets*, 2017, arXiv:1704.04861: depthwise separable convolutions.
# - Jason Yosinski, Jeff Clune, Yoshua Bengio and Hod Lipson, *How transferable are features in deep neural networks?*,
#   2014, arXiv:1411.1792.

# %%
check.summary()
