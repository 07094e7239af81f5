# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Vision transformer
#
# A convolution is built for images: it looks at small windows, and at all of them with the same weights. A
# transformer is built for sequences, and knows nothing about images. In 2020 it was shown that one can feed it an
# image all the same, cut into patches that are read like the words of a sentence, and that with enough data it keeps
# up with the best convolutional nets, or beats them. In this notebook you will
#
# - turn images into **sequences of patches**, and see that embedding them *is* a convolution;
# - add a **class token** and **positions**, and put the **vision transformer** (ViT) together, small enough to be
#   trained on two processor cores;
# - compute what a ViT **costs**, to the last of the 86,567,656 parameters of ViT-B/16, and find the term that grows
#   with the square of the number of patches;
# - train one beside a **convolutional net**, on the same images, and see what it means to know nothing about images;
# - look at what it has learned: **filters**, **positions**, and **where it looks**.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $X$ | images, `x` | $(N, C, H, W)$ |
# | $P_H$, $P_W$ | height and width of a patch; $P$ if they are equal | numbers |
# | $h = H / P_H$, $w = W / P_W$ | rows and columns of the grid of patches | numbers |
# | $L = h w$ | number of patches | a number |
# | $D$ | length of a token; a multiple of the number of heads | a number |
# | $M$ | hidden units in the small net of a block | a number |
# | $K$ | number of classes | a number |
# | $U$ | patches as rows | $(N, L, C P_H P_W)$ |
# | $E$, $e$ | weights and bias of the embedding, in the order of the formulas | $(C P_H P_W, D)$, $(D,)$ |
# | $c$ | class token, `cls` | $(D,)$ |
# | $T = L + 1$ | number of tokens | a number |
# | $R$ | position embeddings, `pos` | $(T, D)$ |
# | $Z_0, \dots, Z_B$ | tokens before the first and after each of $B$ blocks | $(N, T, D)$ each |
# | $A_b$ | attention of block $b$ | $(N, \text{heads}, T, T)$ |
# | $S$ | scores | $(N, K)$ |
#
# The blocks are those of the notebook on transformers, where you write them by hand. Here torch's own
# `nn.TransformerEncoderLayer` does the work, and autograd the backward pass.

# %% tags=["setup"]
import math
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, normalize
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast


def height_and_width(patch_size):
    """Return (PH, PW) of a patch size that is an int or a tuple already."""
    return (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)


# %% [markdown]
# ## 1. An image as a sequence
#
# Attention compares every element of a sequence with every other one. With the pixels of a small image of $32 \times
# 32$ as elements these are 1,024 elements and a million comparisons, in each head of each block; with those of a
# photograph of $224 \times 224$ it is 2.5 thousand million. Patches are the way out: cut the image into squares of $P
# \times P$ pixels that do not overlap, and let each of them be one element. At $P = 16$ the photograph is a sequence
# of 196.
#
# Patch number $l$ lies in row $i = \lfloor l / w \rfloor$ and column $j = l \bmod w$ of a grid with $h = H / P_H$ rows
# and $w = W / P_W$ columns. Flattened into a row of $C P_H P_W$ numbers it is
#
# $$U_{n,\, l,\, (c P_H + p) P_W + q} = X_{n,\, c,\, i P_H + p,\, j P_W + q} ,$$
#
# so the channel $c$ changes slowest, then the row $p$ within the patch, and the column $q$ fastest. (The columns of
# `im2col` had the same order.)
#
# No number is computed here, they only move. To move them, split axes, put them in another order, and merge them.
# `x.reshape(N, C, h, PH, w, PW)` splits the height into the slow part that says which patch and the fast part that says
# where in it; `permute` and another `reshape` do the rest. Loops are not needed, and are not allowed; nor are, in this
# section, `F.unfold` and `F.fold` and whatever else stands in `torch.nn`.


# %% exercise="a4/patchify"
def patchify(x, patch_size):
    """Cut images into patches, and make each of them a row. No loops, nothing of ``torch.nn``.

    Args:
        x: Images of shape (N, C, H, W), floating point; not modified.
        patch_size: Height and width of a patch: an int P for P × P, or a tuple (PH, PW).

    Returns:
        Shape (N, L, C * PH * PW) with L = (H // PH) * (W // PW), dtype and device as ``x``: the patches row by row
        through the image; within a patch the channel changes slowest and the column fastest.

    Raises:
        ValueError: If H is not a multiple of PH, or W not of PW; with a message that says so.
    """
    ### BEGIN SOLUTION
    PH, PW = height_and_width(patch_size)
    N, C, H, W = x.shape
    if H % PH or W % PW:
        raise ValueError(f"images of {H}×{W} cannot be cut into patches of {PH}×{PW}")
    blocks = x.reshape(N, C, H // PH, PH, W // PW, PW)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(N, -1, C * PH * PW)
    ### END SOLUTION


# %% check="a4/patchify"
check("a4/patchify", patchify)

# %% [markdown]
# And back: the same steps in reverse. With it one can *look* at patches that have been changed, sorted or left out.


# %% exercise="a4/unpatchify"
def unpatchify(patches, patch_size, image_size):
    """Put patches together to images; the inverse of ``patchify``. No loops, nothing of ``torch.nn``.

    Args:
        patches: Shape (N, L, C * PH * PW), floating point, in the order of ``patchify``; not modified.
        patch_size: Height and width of a patch: an int P for P × P, or a tuple (PH, PW).
        image_size: Tuple (H, W).

    Returns:
        Images of shape (N, C, H, W), dtype and device as ``patches``; C follows from the length of a row.

    Raises:
        ValueError: If H is not a multiple of PH or W not of PW; if L is not (H // PH) * (W // PW); or if the length of
            a row is not a multiple of PH * PW.
    """
    ### BEGIN SOLUTION
    (PH, PW), (H, W) = height_and_width(patch_size), image_size
    N, L, length = patches.shape
    if H % PH or W % PW or L != (H // PH) * (W // PW) or length % (PH * PW):
        raise ValueError(f"{L} patches of {PH}×{PW} with {length} numbers do not make images of {H}×{W}")
    C = length // (PH * PW)
    blocks = patches.reshape(N, H // PH, W // PW, C, PH, PW)
    return blocks.permute(0, 3, 1, 4, 2, 5).reshape(N, C, H, W)
    ### END SOLUTION


# %% check="a4/unpatchify"
check("a4/unpatchify", unpatchify)

# %% [markdown]
# The data: photographs if CIFAR-10 has been downloaded, drawn shapes if not; the line below the cell says which. One
# image of it, its patches of $4 \times 4$ as a grid, and the same patches in random order; below, the sequence that
# the net gets. For the net, image and disorder are the same set of patches. Unless it is told where each of them was,
# the two are one and the same to it.

# %% tags=["demo"]
data = load_images(
    "cifar10", n_train=1000 if is_fast() else 9000, n_val=300 if is_fast() else 1000, n_test=300 if is_fast() else 1000
)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val, x_test = (normalize(images, mean, std) for images in (data.x_train, data.x_val, data.x_test))
y_train, y_val, y_test = data.y_train, data.y_val, data.y_test
K = len(data.classes)

P = 4
picture = data.x_train[2:3]
sequence = patchify(picture, P)
tiles = unpatchify(sequence.reshape(-1, 1, 3 * P * P), P, (P, P))  # (L, 3, P, P)
shuffled = sequence[:, torch.randperm(sequence.shape[1], generator=torch.Generator().manual_seed(0))]


def with_gaps(tiles, columns):
    """Lay tiles (L, 3, P, P) out row by row, with white gaps; returns (rows, columns, 3) for ``imshow``."""
    roomy = F.pad(tiles, (0, 1, 0, 1), value=1.0).flatten(1)[None]
    size = tiles.shape[2] + 1
    return unpatchify(roomy, size, (len(tiles) // columns * size, columns * size))[0, :, :-1, :-1].permute(1, 2, 0)


figure = plt.figure(figsize=(9, 3.9), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[3, 1])
panels = {
    "the image": picture[0].permute(1, 2, 0),
    "64 patches of 4×4": with_gaps(tiles, 8),
    "the patches in random order": unpatchify(shuffled, P, (32, 32))[0].permute(1, 2, 0),
}
for axis, (title, pixels) in zip(above.subplots(1, 3), panels.items(), strict=True):
    axis.imshow(pixels, interpolation="nearest")
    axis.set_title(title, fontsize=10)
    axis.axis("off")
axis = below.subplots()
axis.imshow(with_gaps(tiles, 32), interpolation="nearest")
axis.set_title("the sequence, patches 0 to 31 above and 32 to 63 below", fontsize=10)
axis.axis("off")
plt.show()

# %% [markdown]
# ## 2. Tokens
#
# A patch is a row of pixels; the blocks want vectors of a length $D$ of their own choice. So each row goes through
# one and the same affine layer, and what comes out is called a **token**:
#
# $$\underbrace{U}_{(N,\, L,\, C P_H P_W)} \underbrace{E}_{(C P_H P_W,\, D)} + \underbrace{e}_{(D,)}
# \qquad \text{of shape } (N, L, D) .$$
#
# `nn.Linear` works on the last axis of whatever it gets. (It keeps its weights transposed, as $(D, C P_H P_W)$.)


# %% exercise="a4/patch_embedding"
class PatchEmbedding(nn.Module):
    """Patches through an affine layer.

    Attributes:
        proj: ``nn.Linear`` from C * PH * PW numbers, in the order of ``patchify``, to ``dim``.
    """

    def __init__(self, patch_size, in_channels, dim):
        """Make the layer.

        Args:
            patch_size: Height and width of a patch: an int P for P × P, or a tuple (PH, PW).
            in_channels: Channels of the images, C.
            dim: Length of a token, D.
        """
        super().__init__()
        ### BEGIN SOLUTION
        PH, PW = height_and_width(patch_size)
        self.patch_size = PH, PW
        self.proj = nn.Linear(in_channels * PH * PW, dim)
        ### END SOLUTION

    def forward(self, x):
        """Map images (N, C, H, W) to tokens (N, L, D), patch by patch in the order of ``patchify``."""
        ### BEGIN SOLUTION
        return self.proj(patchify(x, self.patch_size))
        ### END SOLUTION


# %% check="a4/patch_embedding"
check("a4/patch_embedding", PatchEmbedding)

# %% [markdown]
# Look at the sum that makes entry $d$ of a token, with $i$ and $j$ the row and the column of its patch:
#
# $$\sum_{c, p, q} X_{n,\, c,\, i P_H + p,\, j P_W + q} \; E_{(c P_H + p) P_W + q,\; d} + e_d .$$
#
# A window that slides, multiplied with the same weights at each place: this is a convolution with $D$ filters of
# $P_H \times P_W$ pixels, that moves on by a whole patch. The transformer without convolutions begins with one. Many
# implementations write it so, and it means that the weights can be looked at as filters, which we will do.


# %% exercise="a4/as_convolution"
def as_convolution(proj, patch_size):
    """Make the convolution that computes what a patch embedding's affine layer computes.

    Args:
        proj: ``nn.Linear`` with C * PH * PW inputs in the order of ``patchify``, D outputs and a bias; not modified.
        patch_size: Height and width of a patch: an int P for P × P, or a tuple (PH, PW).

    Returns:
        ``nn.Conv2d`` from C channels to D filters, with a bias, on the device and of the dtype of ``proj``. For images
        (N, C, H, W) in which patches fit, it gives (N, D, H // PH, W // PW): the D numbers of a token at the place of
        its patch. C follows from the number of inputs.
    """
    ### BEGIN SOLUTION
    size = height_and_width(patch_size)
    D, length = proj.weight.shape
    C = length // math.prod(size)
    conv = nn.Conv2d(C, D, size, stride=size, device=proj.weight.device, dtype=proj.weight.dtype)
    conv.load_state_dict({"weight": proj.weight.reshape(D, C, *size), "bias": proj.bias})
    return conv
    ### END SOLUTION


# %% check="a4/as_convolution"
check("a4/as_convolution", as_convolution)

# %% [markdown]
# ### The class token, and positions
#
# Two things are missing. **Who answers?** The blocks give as many tokens as they get, and for one answer for the
# whole image one needs *one* vector. So a token is added that belongs to no patch: the class token $c$, whose first
# numbers are learned and equal for all images. It attends to the patches, block after block, and gathers what it
# needs; in the end the classifier reads it and nothing else.
#
# **Where?** Attention is a weighted sum over tokens, and a sum does not know the order of its terms. So every place
# gets a vector of its own that is added to whatever token stands there. The original transformer computed it with
# sines; the ViT *learns* it, a row of $R$ for each place, the class token's included:
#
# $$Z_0 = \bigl[\, c;\; U E + e \,\bigr] + R ,$$
#
# where $[\,\cdot\,;\,\cdot\,]$ puts the class token in front of each image's patches. Nobody tells the net that place 9
# lies below place 1. It has to find out, and we will see whether it does.


# %% exercise="a4/add_class_token"
def add_class_token(tokens, cls, pos):
    """Put the class token in front of the patches, and add positions.

    Args:
        tokens: Embedded patches of shape (N, L, D), floating point; not modified.
        cls: The class token, of shape (D,), the same for all images.
        pos: Position embeddings of shape (L + 1, D); row 0 belongs to the class token, row 1 + l to patch l.

    Returns:
        Shape (N, L + 1, D): the sequence, with the class token at place 0. Gradients flow to all three arguments.
    """
    ### BEGIN SOLUTION
    front = cls.expand(len(tokens), 1, -1)
    return torch.cat([front, tokens], dim=1) + pos
    ### END SOLUTION


# %% check="a4/add_class_token"
check("a4/add_class_token", add_class_token)

# %% [markdown]
# ## 3. The vision transformer
#
# The rest is a transformer's encoder: $B$ blocks, each of which has attention and then a small net of two layers for
# every token by itself, both as residual branches. After the last block comes one more layer norm, and the class token
# goes through an affine layer, the head:
#
# $$Z_b = \operatorname{block}_b(Z_{b-1}), \qquad
# \underbrace{S}_{(N, K)} = \operatorname{head}\bigl(\operatorname{LayerNorm}(Z_B)_{:,\,0}\bigr) .$$
#
# A block is an `nn.TransformerEncoderLayer(dim, heads, mlp_dim, ...)`, where `mlp_dim` is $M$, the size of the hidden
# layer in the small net. Most of its defaults are those of the first transformer, of 2017. Here four things are
# otherwise, so have a look at its documentation:
#
# | | by default | here |
# | --- | --- | --- |
# | where the layer norms are | after the sum | at the beginning of each branch |
# | nonlinearity | ReLU | GELU |
# | axis of the batch | 1 | 0 |
# | dropout | 0.1 | none |
#
# Everything else stays as torch has it: biases, and the `eps` of the norms.
#
# With the norm at the beginning of a branch the path past the branches is free: a sum from the first tokens to the
# last, with no norm on it. That makes deep nets of this kind easier to train, and it is why one more norm is needed
# at the end.
#
# Mind that blocks which start with equal weights are a poor start. torch's `nn.TransformerEncoder` makes its blocks by
# copying *one*, weights and all. So make them yourself, one by one.


# %% exercise="a4/vit"
class ViT(nn.Module):
    """A vision transformer for images of one size.

    Attributes:
        embed: ``PatchEmbedding``.
        cls: ``nn.Parameter`` of shape (D,), the class token.
        pos: ``nn.Parameter`` of shape (L + 1, D), the position embeddings.
        blocks: ``nn.ModuleList`` of ``depth`` times ``nn.TransformerEncoderLayer``: norm first, GELU, batch first, no
            dropout, each with weights of its own.
        norm: ``nn.LayerNorm`` over D numbers.
        head: ``nn.Linear`` from D to K.
    """

    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_dim, in_channels=3):
        """Make the layers. The first numbers of ``cls`` and ``pos`` are normal with standard deviation 0.02.

        Args:
            image_size: Tuple (H, W), in which patches fit.
            patch_size: Height and width of a patch: an int P for P × P, or a tuple (PH, PW).
            num_classes: Classes, K.
            dim: Length of a token, D; a multiple of ``heads``.
            depth: Number of blocks.
            heads: Attention heads in each block.
            mlp_dim: Hidden units in each block's small net, M.
            in_channels: Channels of the images, C.
        """
        super().__init__()
        ### BEGIN SOLUTION
        (H, W), (PH, PW) = image_size, height_and_width(patch_size)
        places = (H // PH) * (W // PW) + 1
        self.embed = PatchEmbedding(patch_size, in_channels, dim)
        self.cls = nn.Parameter(0.02 * torch.randn(dim))
        self.pos = nn.Parameter(0.02 * torch.randn(places, dim))
        settings = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(dim, heads, mlp_dim, **settings) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        ### END SOLUTION

    def tokens(self, x):
        """Map images (N, C, H, W) to the sequence that enters the first block, (N, L + 1, D)."""
        ### BEGIN SOLUTION
        return add_class_token(self.embed(x), self.cls, self.pos)
        ### END SOLUTION

    def forward(self, x):
        """Map images (N, C, H, W) to scores (N, K), which are read off the class token."""
        ### BEGIN SOLUTION
        h = self.tokens(x)
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h)[:, 0])
        ### END SOLUTION


# %% check="a4/vit"
check("a4/vit", ViT)

# %% [markdown] question="without_positions" points=3
# **Question 1 (3 points).** Let $\Pi$ be a permutation of the $L$ patches. (a) Suppose the ViT had no position
# embeddings. Show that its scores would be the same for an image and for the image with its patches in another order.
# Go through the net step by step, and say for each kind of step what it does to a sequence whose patches have been
# permuted. (b) Now with learned positions. You permute the patches of *all* images, training and test, by the same
# $\Pi$, and train anew. What happens to the accuracy of the ViT, and what to that of a convolutional net? (c) What
# does (b) say about what a ViT knows of images before training? Name two things about images that *are* built into
# it.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Embedding, layer norm, the small nets and the residual sums work on each token by itself:
# permuted tokens in, equally permuted tokens out. Attention: queries, keys and values are permuted, so $A$ has its
# rows and columns permuted, and $A V$ is $V$ permuted in the same way; the softmax and the sum over keys do not
# depend on the order. The class token stays at place 0, and its row is a sum over the same set of terms. So by
# induction over the blocks the class token is the same, and so are the scores. (b) Nothing happens to the ViT: place
# $l$ and its row of $R$ are just called otherwise, and as $R$ is drawn at random and learned, training goes as before
# up to chance (exactly alike if the rows of $R$ are permuted as well). The convolutional net gets worse: at the
# borders of patches its windows cover pixels that do not belong together, pooling merges patches from anywhere, and
# patterns that run across patches are at fixed but scattered places. (It still does better than nothing: within a
# patch all is well.) (c) It does not know which patches are neighbours, nor that an image has two dimensions. Built
# in: pixels of one patch are processed together (locality within a patch, a grid of squares), and all patches go
# through the same embedding and the same blocks (weights are shared over places). Also acceptable: images are of a
# fixed size; channels belong together.
#
# *Rubric.* 1 point: token-wise steps and attention both argued. 1 point: ViT unaffected, convolutional net worse, with
# reasons. 1 point: neighbourhood is unknown, and two built-in things.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. What it costs
#
# Let a net have square images and patches, and $M$ hidden units (`mlp_dim`). Count **parameters**: the embedding, $c$
# and $R$, the layers of the blocks with their norms, the last norm, the head. Attention has four affine layers from
# $D$ to $D$, with biases: for queries, keys, values, and one for what the heads bring together. How many heads there
# are does not matter.
#
# Then count **multiply-adds** for one image (a multiplication and the addition that goes with it are one), of two
# kinds:
#
# - *linear*: an affine layer with $m \times n$ weights costs $m n$ for **each token** that goes through it. Biases,
#   norms and nonlinearities are left out;
# - *attention*: per block, queries times keys and then the weights times the values. Either costs $T^2 D$, over all
#   heads together, which share the $D$ numbers of a token among them.


# %% exercise="a4/vit_cost"
def vit_cost(image_size, patch_size, num_classes, dim, depth, mlp_dim, in_channels=3):
    """Count parameters and multiply-adds of a ViT by formula.

    Args:
        image_size: Height and width of the image, an int; a multiple of ``patch_size``.
        patch_size: Height and width of a patch, an int.
        num_classes: Classes, K.
        dim: Length of a token, D.
        depth: Number of blocks; 0 is possible.
        mlp_dim: Hidden units in each block's small net, M.
        in_channels: Channels of the images, C.

    Returns:
        Dict of ints: ``tokens``, the length of the sequence in the blocks; ``parameters``, of the class ``ViT``; and
        for one image ``linear``, the multiply-adds in all affine layers, and ``attention``, those of the two products
        in all blocks.
    """
    ### BEGIN SOLUTION
    L, length = (image_size // patch_size) ** 2, in_channels * patch_size**2
    T = L + 1
    weights = 4 * dim**2 + 2 * dim * mlp_dim  # of a block, without biases and norms
    block = weights + 4 * dim + (mlp_dim + dim) + 2 * 2 * dim
    outside = (length + 1) * dim + (1 + T) * dim + 2 * dim + (dim + 1) * num_classes
    return {
        "tokens": T,
        "parameters": outside + depth * block,
        "linear": L * length * dim + depth * T * weights + dim * num_classes,
        "attention": depth * 2 * T**2 * dim,
    }
    ### END SOLUTION


# %% check="a4/vit_cost"
check("a4/vit_cost", vit_cost)

# %% [markdown]
# ViT-B/16 (B for base, 16 for the patch) has $D = 768$, 12 blocks and $M = 3072$. On images of $224 \times 224$ with
# 1,000 classes that makes 86,567,656 parameters, exactly the number of torchvision's `vit_b_16`. The table shows the
# same net with other patches and other images. The numbers of parameters hardly differ, by 3 % at most, but look at
# the last columns: halve the patch, and there are about four times as many tokens, four times the work in affine
# layers and sixteen times the work in attention. The maps of attention, $T^2$ numbers for each head of each block,
# grow just as fast.

# %% tags=["demo"]
print("image patch   tokens   parameters   linear, 10⁹   attention, 10⁹   share of attention")
for image_size, P in ((224, 32), (224, 16), (384, 16), (224, 8), (512, 8), (224, 4)):
    cost = vit_cost(image_size, P, 1000, 768, 12, 3072)
    linear, attention = cost["linear"] / 1e9, cost["attention"] / 1e9
    row = f"{image_size:5} {P:5} {cost['tokens']:8,} {cost['parameters']:12,} {linear:13.2f} {attention:16.2f}"
    print(f"{row} {attention / (linear + attention):20.1%}")

sizes = torch.arange(14, 225, 2).tolist()
costs = [vit_cost(16 * side, 16, 1000, 768, 12, 3072) for side in sizes]
counts = [cost["tokens"] for cost in costs]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for colour, name in zip(COLOURS, ("linear", "attention"), strict=False):
    axis.loglog(counts, [cost[name] for cost in costs], color=colour, label=name)
axis.axvline(197, color="grey", lw=1, ls="--")
axis.text(205, 2e13, "224×224", fontsize=8, color="grey")
axis.set_xlabel("tokens T, in patches of 16×16")
axis.set_ylabel("multiply-adds of an image")
axis.legend(frameon=False, fontsize=9)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown] question="small_patches" points=3
# **Question 2 (3 points).** (a) At which number of tokens do the two products of attention cost as much as the affine
# layers of a block? Derive it as a formula in $D$ and $M$, and give the number for ViT-B. How large would a square
# image in patches of $16 \times 16$ be? (b) Somebody wants patches of a single pixel, "so that nothing is lost", for
# photographs of $224 \times 224$. How large are the maps of attention of *one* block of ViT-B (12 heads) for one
# image, in float32? (c) Does a patch of $16 \times 16$ lose information, at $D = 768$ and three channels? What then
# is lost with large patches?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $2 T^2 D = T (4 D^2 + 2 D M)$, so $T = 2 D + M$, for ViT-B $1536 + 3072 = 4608$; as $T = 1 + (s
# / 16)^2$, $s \approx 16 \sqrt{4607} \approx 1086$ pixels. Below that attention is the smaller part. (b) $T =
# 50{,}177$, $12 \, T^2 \approx 3.02 \cdot 10^{10}$ numbers, 121 GB. (c) A patch has $3 \cdot 256 = 768$ numbers, so
# the embedding can be invertible: nothing need be lost. What is lost is resolution of the *comparison*: there is one
# query, key and value for 256 pixels, so the net cannot relate parts of a patch to parts of another one by attention,
# an object smaller than a patch shares its token with what is around it, and a pattern looks different to the
# embedding depending on where in the patch it lies (no equivariance to shifts within a patch).
#
# *Rubric.* 1 point: $2D + M$ and 4608 (about 1,086 pixels). 1 point: about 121 GB (with or without the class token). 1
# point: 768 numbers in, 768 out; and something of what attention cannot do within a patch.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. One batch by heart
#
# Before a long run, the short ones. The first loss should lie near $\log K = 2.303$, a little above, since the head
# does not start at 0. And a net of this size must be able to learn 100 images by heart. The ViT below has 3 blocks
# with 4 heads. Expect all 100 images right after some 30 steps. Measured on CIFAR-10: a first loss of 2.50, all right
# after 31 steps, and a loss of 0.035 after 40; on drawn shapes 2.42, 33 steps and 0.037.


# %% tags=["demo"]
def make_vit(image_size=(32, 32)):
    """Return a fresh ViT, the same one at each call."""
    torch.manual_seed(0)
    return ViT(image_size, patch_size=4, num_classes=K, dim=64, depth=3, heads=4, mlp_dim=128)


def take_step(net, images, labels, optimiser):
    """Change the weights once; return the loss before that, and the share of images that were right."""
    scores = net(images)
    loss = F.cross_entropy(scores, labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach()), float((scores.argmax(1) == labels).float().mean())


net = make_vit()
print(f"{sum(p.numel() for p in net.parameters()):,} parameters; by formula {vit_cost(32, 4, K, 64, 3, 128)}")
optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
steps = [
    take_step(net, x_train[:100], y_train[:100], optimiser)
    for _ in tqdm(range(10 if is_fast() else 40), desc="one batch")
]
losses, accuracies = zip(*steps, strict=True)
first = next((step for step, accuracy in enumerate(accuracies) if accuracy == 1), f"more than {len(steps)}")
print(f"loss {losses[0]:.2f} -> {losses[-1]:.4f}; all right after {first} steps; at the end {accuracies[-1]:.0%}")
figure, axes = plt.subplots(1, 2, figsize=(8, 2.7), layout="constrained")
axes[0].semilogy(losses, color=COLOURS[0])
axes[0].axhline(math.log(K), color="grey", lw=1, ls="--", label="log K")
axes[0].set_ylabel("loss")
axes[0].legend(frameon=False, fontsize=9)
axes[1].plot(accuracies, color=COLOURS[0])
axes[1].set_ylabel("accuracy on the batch")
for axis in axes:
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## 6. Training, beside a convolutional net
#
# Transformers are trained with some care: AdamW, and a learning rate that **warms up**, here from a 25th of its
# largest value and over the first 15 % of the steps, before it falls along half a cosine. (One explanation: early
# steps with a large rate, while Adam's averages are still poor, can do harm that takes long to undo.) Images are
# mirrored at random.
#
# Beside it a convolutional net after the plan of stage 3, three times convolution, batch norm, ReLU and pooling, with
# the same optimiser and the same images. The ViT sees each of them three times, the convolutional net only twice, for
# about a quarter of the processor time. Before you run it: which one will be ahead, and why?
#
# Measured on 9,000 training images, on a busy machine:
#
# | | epochs | processor time | training | validation | test |
# | --- | --- | --- | --- | --- | --- |
# | CIFAR-10: ViT, 108,554 parameters | 3 | 38 s | 47.7 % | 44.9 % | 45.6 % |
# | CIFAR-10: convolutional net, 33,946 parameters | 2 | 10 s | 64.7 % | 59.6 % | 60.3 % |
# | drawn shapes: ViT | 3 | 42 s | 41.6 % | 41.5 % | 41.1 % |
# | drawn shapes: convolutional net | 2 | 10 s | 89.6 % | 87.6 % | 87.8 % |


# %% tags=["demo"]
def train(net, images, labels, epochs, lr, title, batch_size=50):
    """Train with AdamW, warm-up and cosine; return the validation accuracy after each epoch."""
    generator = torch.Generator().manual_seed(0)
    total = epochs * math.ceil(len(images) / batch_size)
    optimiser = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, lr, total_steps=total, pct_start=0.15, cycle_momentum=False
    )
    reached = []
    with tqdm(total=total, desc=title) as bar:
        for _ in range(epochs):
            net.train()
            for rows in torch.randperm(len(images), generator=generator).split(batch_size):
                batch = images[rows]
                is_mirrored = torch.rand(len(rows), generator=generator) < 0.5
                batch = torch.where(is_mirrored[:, None, None, None], batch.flip(3), batch)
                loss, _ = take_step(net, batch, labels[rows], optimiser)
                schedule.step()
                bar.update()
            reached.append(evaluate(net, x_val, y_val))
            bar.set_postfix(loss=f"{loss:.2f}", validation=f"{reached[-1]:.1%}")
    return reached


@torch.no_grad()
def evaluate(net, images, labels):
    """Return the share of images that a net gets right."""
    net.eval()
    return float((torch.cat([net(batch) for batch in images.split(250)]).argmax(1) == labels).float().mean())


def make_convnet():
    """Return a fresh convolutional net for images of 32×32, the same one at each call."""
    torch.manual_seed(0)
    layers, channels = [], 3
    for filters in (16, 32, 64):
        layers += [nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
        channels = filters
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, K))


start = make_vit()
vit, convnet = make_vit(), make_convnet()
runs = {"ViT": (vit, 1 if is_fast() else 3, 2e-3), "convolutional net": (convnet, 1 if is_fast() else 2, 4e-3)}
figure, axis = plt.subplots(figsize=(5.5, 3), layout="constrained")
for colour, (name, (net, epochs, lr)) in zip(COLOURS, runs.items(), strict=False):
    before = time.process_time()
    reached = train(net, x_train, y_train, epochs, lr, name)
    seconds = time.process_time() - before
    right = evaluate(net, x_train[:1000], y_train[:1000]), reached[-1], evaluate(net, x_test, y_test)
    print(f"{data.name}, {name}: {sum(p.numel() for p in net.parameters()):,} parameters, {epochs} epochs", end=", ")
    print(f"{seconds:.0f} s; training {right[0]:.1%}, validation {right[1]:.1%}, test {right[2]:.1%}")
    times = [seconds * (epoch + 1) / epochs for epoch in range(epochs)]
    axis.plot(times, reached, color=colour, marker="o", label=name)
axis.set_xlabel("processor time, s")
axis.set_ylabel("validation accuracy")
axis.set_xlim(left=0)
axis.legend(frameon=False, fontsize=9)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# It is not even close. On photographs the convolutional net is 15 points ahead, with a third of the parameters
# and fewer passes over the images; on drawn shapes, where everything depends on outlines that run across patches,
# 46 points.
#
# A convolutional net starts out knowing what the ViT has to find out: that neighbours belong together, that a pattern
# is the same wherever it is, that larger things are made of smaller ones near each other. Such built-in knowledge is
# called an **inductive bias**. It helps most while there is little to learn from. It can also stand in the way, as a
# window of 3×3 does if what matters lies at the other end of the image. Trained on ImageNet alone, 1.3 million
# images, and without strong regularisation, the ViT came out a few percentage points behind convolutional nets of its
# size, its authors report. With 300 million images to learn from it was level or ahead, and that at a lower cost of
# training.

# %% [markdown] question="what_it_shows" points=3
# **Question 3 (3 points).** A classmate reads the numbers above and writes: "The ViT has too many parameters for so few
# images and overfits, as transformers do." (a) Which numbers above would you look at to test this, and what do they
# say? (b) What then is the likeliest reason why the ViT is behind at this budget? Propose one experiment that would
# tell the reasons apart (too few images, too little training, too small a net), and say which outcome would mean what.
# (c) Name one thing in which the comparison is fair, and one in which it is not.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Training against validation accuracy of the ViT. They lie close together, so there is no
# overfitting to speak of; a net that overfits gets nearly all training images right and far fewer others. The other
# claim can be looked up, too: the numbers of parameters are printed. (b) It has not been trained long enough: it has
# to learn from the data what the convolutional net has built in, and within a few epochs it has not even fitted the
# training images. Experiment: train ten times as long on the same images. If training *and* validation accuracy rise,
# it was too little training; if training accuracy rises to near 100 % and validation stays, there are too few images
# (then more images or stronger augmentation must help); if even training accuracy stays where it is, the net is too
# small (or badly optimised: vary the learning rate). (c) Fair: same images, same augmentation, optimiser and shape of
# the learning rate's curve. Not fair, for instance: a learning rate and sizes that were chosen with different care;
# numbers of parameters and of epochs that differ; one seed each; images of 32 pixels, which favour small
# convolutions; a few epochs instead of a run until nothing improves any more.
#
# *Rubric.* 1 point: training against validation accuracy, and the gap is small. 1 point: an experiment whose outcomes
# are told apart by training *and* validation accuracy. 1 point: one fair and one unfair aspect that make sense.
# ### END MARK SCHEME

# %% [markdown]
# ## 7. What it has learned: filters and positions
#
# **Filters.** The embedding is a convolution, so its weights are 64 filters of $4 \times 4$ pixels in three colours.
# Each of them still carries the noise that it started with. So take what training has *added*, and of that the
# principal components: the patterns that the 64 changes have most in common, most important first. Below, for
# comparison, those of the weights before training. (To be shown, each is stretched to the range from 0 to 1.)
#
# Expect the first few patterns to be smooth, unlike those of the start: the brightness or a colour of the whole patch,
# or one side of it against the other. Measured on drawn shapes: what was added has a standard deviation of 0.016, the
# start one of 0.083.


# %% tags=["demo"]
def principal_filters(kernel, count=14):
    """Return the first principal components of filters (D, C, P, P), (count, C, P, P), stretched to 0 ... 1."""
    components = torch.linalg.svd(kernel.flatten(1), full_matrices=False).Vh[:count].unflatten(1, kernel.shape[1:])
    low, high = components.amin((1, 2, 3), keepdim=True), components.amax((1, 2, 3), keepdim=True)
    return (components - low) / (high - low)


before, after = (as_convolution(net.embed.proj, 4).weight.detach() for net in (start, vit))
figure, axes = plt.subplots(2, 1, figsize=(9, 1.9), layout="constrained")
for axis, (title, kernel) in zip(axes, {"added by training": after - before, "the start": before}.items(), strict=True):
    axis.imshow(with_gaps(principal_filters(kernel), 14), interpolation="nearest")
    axis.set_title(title, fontsize=10, loc="left", pad=3)
    axis.axis("off")
plt.show()
print(f"size of the start {float(before.std()):.3f}, of what was added {float((after - before).std()):.3f}")

# %% [markdown]
# **Positions.** Here is the question of section 2: has the net found out which places are neighbours? For every patch,
# laid out as in the image, a small map of how similar its row of $R$ is to the rows of all patches:
#
# $$\operatorname{sim}(l, m) = \frac{\tilde R_l \cdot \tilde R_m}{\|\tilde R_l\| \, \|\tilde R_m\|} ,
# \qquad \tilde R_l = R_l - \text{mean of the rows of all patches} .$$
#
# Before training every row is similar to itself alone. Afterwards, expect neighbours to be similar and places that
# are far apart not: on CIFAR-10 the mean similarity was measured as 0.52 at distance 1 in the grid, 0.28 at 2, 0.12
# at 3 and −0.15 at 5. The maps show more than the means: after three epochs the net knows that there is a top, a
# bottom and a border. Now look at a patch at the left border: its map is bright on the right as well. Why does this
# net not tell left from right? (Look at how the training images were changed.) On drawn shapes the means are 0.36,
# 0.05, 0.01 and −0.02, and the maps show rings: there it has mostly learned how far a place is from the middle.

# %% tags=["demo"]
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
for axis, (title, net) in zip(axes, {"before training": start, "after training": vit}.items(), strict=True):
    rows = net.pos.detach()[1:]
    rows = F.normalize(rows - rows.mean(0), dim=1)
    maps = (rows @ rows.T).reshape(64, 1, 8, 8)
    roomy = F.pad(maps, (0, 1, 0, 1), value=float("nan")).flatten(1)[None]
    image = axis.imshow(unpatchify(roomy, 9, (72, 72))[0, 0, :-1, :-1], cmap="RdBu_r", vmin=-1, vmax=1)
    axis.set_title(title, fontsize=10)
    axis.axis("off")
figure.colorbar(image, ax=axes, shrink=0.7, label="similarity of positions")
plt.show()
print("similarity of positions, mean over all pairs of patches, by distance in the grid")
places = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
distances = torch.cdist(places, places)
for reach in (1, 2, 3, 5, 7):
    print(f"distance {reach}: {float((rows @ rows.T)[distances == reach].mean()):+.2f}")

# %% [markdown]
# ## 8. Images of another size
#
# The embedding and the blocks do not care how many patches there are; $R$ does, as it has one row for each place. For
# images of another size, in patches of the same size, one would like to keep what has been learned: a place in the
# middle of the new grid should get what stood in the middle of the old one. So take the rows of the patches as a
# small image with $D$ channels, and resample it to the size of the new grid. The class token has no place in the grid
# and keeps its row.
#
# This is done often: train on small images, which is cheap, and finish on larger ones, where the net sees more.
#
# `F.interpolate(image, size=(h, w), mode="bicubic", align_corners=False)` resamples images of shape $(N, C, H, W)$.


# %% exercise="a4/interpolate_positions"
def interpolate_positions(pos, old_grid, new_grid):
    """Resample position embeddings for another number of patches.

    Args:
        pos: Shape (1 + h * w, D), floating point: row 0 belongs to the class token, row 1 + i * w + j to the patch in
            row i and column j of the grid; not modified.
        old_grid: Tuple (h, w): rows and columns of patches.
        new_grid: Tuple (h', w'), at least (1, 1); larger or smaller along each axis.

    Returns:
        Shape (1 + h' * w', D), dtype and device as ``pos``: row 0 as it was, the others resampled over the two axes of
        the grid, each of the D numbers by itself; bicubic, with ``align_corners=False``.
    """
    ### BEGIN SOLUTION
    image = pos[1:].T.reshape(1, -1, *old_grid)  # (1, D, h, w)
    image = F.interpolate(image, size=new_grid, mode="bicubic", align_corners=False)
    return torch.cat([pos[:1], image[0].flatten(1).T])
    ### END SOLUTION


# %% check="a4/interpolate_positions"
check("a4/interpolate_positions", interpolate_positions)

# %% [markdown]
# The test images, made larger or smaller, and the ViT that was trained on $32 \times 32$, with positions resampled in
# this way and, for comparison, with none at all (zeros in place of $R$, but for the class token's row). Expect the
# best accuracy at the size of training and a slow decline to both sides. Measured on CIFAR-10: 44.8 % at 24, 45.6 %
# at 32 and 43.3 % at 40 pixels, for 0.5, 1 and 1.7 times the multiply-adds. Without positions it is only 2 to 5
# points less! A net that gets that far without knowing where anything is mostly counts *which* patches there are: a
# bag of patches. It has learned the positions, but not yet to make much of them. On drawn shapes, where places matter
# more, it is 41.1 % with and 24.4 % without them at 32 pixels.


# %% tags=["demo"]
def at_size(net, side, has_positions=True):
    """Return a ViT for images of another size, with the weights of a net for 32×32."""
    weights = net.state_dict()
    pos = interpolate_positions(weights["pos"], (8, 8), (side // 4, side // 4))
    other = make_vit((side, side))
    other.load_state_dict(weights | {"pos": pos if has_positions else torch.cat([pos[:1], torch.zeros_like(pos[1:])])})
    return other


for side in (24, 32, 40):
    images = F.interpolate(x_test, size=(side, side), mode="bilinear", antialias=True)
    right = [evaluate(at_size(vit, side, has_positions), images, y_test) for has_positions in (True, False)]
    print(f"{side}×{side}, {(side // 4) ** 2:3} patches: {right[0]:.1%}, without positions {right[1]:.1%}")

# %% [markdown]
# ## 9. Where it looks
#
# Attention has an advantage over other layers: its weights can be looked at. Row $s$ of a map in $A_b$ says how much
# token $s$ takes from each of the tokens, and its entries sum to 1. torch keeps the maps to itself unless one asks
# its `nn.MultiheadAttention`, which is `self_attn` in a block. Called with `need_weights=True` and
# `average_attn_weights=False` it returns its output and the weights of every head. It must be given what it is given
# inside the block, so remember where the norms are; a block's two norms are called `norm1` and `norm2`.


# %% exercise="a4/attention_maps"
def attention_maps(blocks, x):
    """Return what each block attends to.

    Args:
        blocks: Iterable of B ``nn.TransformerEncoderLayer`` as in ``ViT`` (norm first, batch first), in evaluation
            mode; not modified.
        x: The sequence that enters the first block, of shape (N, T, D); not modified.

    Returns:
        Shape (B, N, heads, T, T): for each block, image and head the attention of every query (rows) to every key
        (columns).
    """
    ### BEGIN SOLUTION
    maps = []
    for block in blocks:
        h = block.norm1(x)
        _, weights = block.self_attn(h, h, h, need_weights=True, average_attn_weights=False)
        maps.append(weights)
        x = block(x)
    return torch.stack(maps)
    ### END SOLUTION


# %% check="a4/attention_maps"
check("a4/attention_maps", attention_maps)

# %% [markdown]
# **How far?** A line for every head: how much attention a patch pays to patches at a distance, as a multiple of what
# it would pay if it attended to all alike (1, the dashed line), as a mean over patches and test images. The distance
# is that of the centres, in pixels. For a convolution of $3 \times 3$ all attention lies within 1.4 pixels. What
# would you expect after so little training? Measured on drawn shapes: between 0.4 and 1.5 throughout, and in the last
# block between 0.75 and 1.1. Looking near, which a convolution does from the start, has hardly begun to be learned.

# %% tags=["demo"]
with torch.no_grad():
    vit.eval()
    maps = attention_maps(vit.blocks, vit.tokens(x_test[:200]))
among_patches = maps[..., 1:, 1:] / maps[..., 1:, 1:].sum(-1, keepdim=True)
relative = 64 * among_patches.mean(dim=1)  # (B, heads, L, L)
rings = distances.round()
radii = range(int(rings.max()))
figure, axes = plt.subplots(1, 3, figsize=(9.5, 2.8), layout="constrained", sharey=True)
for number, (axis, heads) in enumerate(zip(axes, relative, strict=True), 1):
    for colour, head in zip(COLOURS, heads, strict=False):
        axis.plot([4 * radius for radius in radii], [head[rings == radius].mean() for radius in radii], color=colour)
    axis.axhline(1, color="grey", lw=1, ls="--")
    axis.set_xlabel("distance, pixels")
    axis.set_title(f"block {number}, four heads", fontsize=10)
    axis.grid(alpha=0.3)
    near, far = (heads[:, rings == radius].mean(1).tolist() for radius in (1, 7))
    print(f"block {number}: neighbours", *(f"{value:.2f}" for value in near), end="; ")
    print("28 pixels away", *(f"{value:.2f}" for value in far))
axes[0].set_ylabel("attention, relative")
axes[0].set_ylim(bottom=0)
plt.show()

# %% [markdown]
# ### Rollout
#
# A map of the last block says which *tokens* the class token reads there. But these are no longer patches: the blocks
# before have mixed them. Rollout follows the mixing back to the first tokens. Two simplifications make it one product
# of matrices: the heads of a block are averaged, and the small nets and norms, which work on each token by itself,
# are ignored. What goes through the attention of block $b$ is then the sum of two ways, the attention itself and the
# path past it, and both are counted one half:
#
# $$\bar A_b = \frac12 \Bigl( \frac{1}{\text{heads}} \sum_{k=1}^{\text{heads}} A_{b,k} + I \Bigr), \qquad
# \operatorname{rollout} = \bar A_B \, \bar A_{B-1} \cdots \bar A_1 ,$$
#
# all of shape $(T, T)$ for each image, with $A_{b,k}$ for the map of head $k$ and $I$ for the identity. The rows of
# every $\bar A_b$ sum to 1, so those of the product do. Row 0, without its first entry, says which patches the class
# token's answer goes back to.


# %% exercise="a4/attention_rollout"
def attention_rollout(maps):
    """Follow attention back through all blocks.

    Args:
        maps: Attention maps of shape (B, N, heads, T, T), block 1 first, rows for queries, each of them with sum 1; not
            modified.

    Returns:
        Shape (N, T, T): for each image the product of its blocks' matrices, the last block's on the left, where the
        matrix of a block is one half of the mean over heads plus one half of the identity.
    """
    ### BEGIN SOLUTION
    mixed = 0.5 * maps.mean(dim=2) + 0.5 * torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    rollout = mixed[0]
    for step in mixed[1:]:
        rollout = step @ rollout
    return rollout
    ### END SOLUTION


# %% check="a4/attention_rollout"
check("a4/attention_rollout", attention_rollout)

# %% [markdown]
# Test images that the net gets right, those of each class that it is surest of. Below each, where the class token
# looks in the last block, as a mean over heads, and the rollout; bright is much, and each map has a scale of its own.
# Expect a few bright patches that lie on the object often, but not always, and maps that differ between the two rows.
# On CIFAR-10 the last block is mostly the more selective one, and the rollout mixes it with the more even attention
# of the blocks before. On drawn shapes it is the other way round: the last block reads almost everywhere, and the
# rollout is bright in the middle, whatever the shape. Is that what you would look at? And what of bright patches at
# the border?

# %% tags=["demo"]
with torch.no_grad():
    scores = torch.cat([vit(images) for images in x_test.split(250)])
sureness = scores.softmax(1)[range(len(y_test)), y_test] * (scores.argmax(1) == y_test)
best = [int((sureness * (y_test == label)).argmax()) for label in range(K)]
with torch.no_grad():
    maps = attention_maps(vit.blocks, vit.tokens(x_test[best]))
rows = {"last block": maps[-1].mean(1)[:, 0, 1:], "rollout": attention_rollout(maps)[:, 0, 1:]}
figure, axes = plt.subplots(3, K, figsize=(11, 3.7), layout="constrained")
for column, number in enumerate(best):
    axes[0, column].imshow(data.x_test[number].permute(1, 2, 0), interpolation="nearest")
    axes[0, column].set_title(data.classes[int(y_test[number])], fontsize=9)
    for axis, seen in zip(axes[1:, column], rows.values(), strict=True):
        axis.imshow(seen[column].reshape(8, 8), cmap="magma", vmin=0)
for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
for axis, name in zip(axes[:, 0], ("image", *rows), strict=True):
    axis.set_ylabel(name, fontsize=9)
plt.show()

# %% [markdown] question="reading_maps" points=3
# **Question 4 (3 points).** (a) Show that each row of the rollout is a set of weights, not negative and with sum 1.
# What would happen to the maps of a net with 50 blocks, if each $\bar A_b$ had only positive entries and they were
# all alike? (b) Rollout is often shown as "what the decision is based on". Name two things in the net that it leaves
# out, and for one of them describe how it can make a patch with a large weight irrelevant to the scores. (c) Propose
# a test of such maps that does not rely on how convincing they look.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Rows of $\bar A_b$ are means of a row of weights with sum 1 and a row of the identity, so not
# negative with sum 1; if $M \mathbf{1} = \mathbf{1}$ and $M' \mathbf{1} = \mathbf{1}$ then $M M' \mathbf{1} =
# \mathbf{1}$, and products of non-negative entries are not negative. A power of one positive matrix of this kind (a
# Markov chain) tends to a matrix with equal rows: every token would end up with the same map, the stationary
# distribution, whatever the class token looked at. (b) Values and the output projection (how *much* of a token is
# passed on, and its direction: a token with a large weight and a value near zero, or one that is orthogonal to
# everything the head reads, contributes nothing); the small nets, which can erase or turn what attention has brought;
# layer norms; differences between heads; the weight of the shortcut, which is not one half in fact but depends on the
# norms of both; the class: the map is the same for each score. (c) Delete patches in the order of the map (replace
# them by the mean patch, or leave their tokens out) and see how fast the score falls, compared with deleting in
# random order and in the opposite order; or randomise the weights of the last blocks and see whether the maps change
# at all; or a data set where the place of the evidence is known.
#
# *Rubric.* 1 point: both properties, and equal rows (or: maps become alike). 1 point: two things left out, one
# mechanism. 1 point: a test with a comparison that could fail.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Alexey Dosovitskiy and others, *An image is worth 16×16 words: transformers for image recognition at scale*, 2020,
#   arXiv:2010.11929: the vision transformer, its filters, positions, attention distances, and what it takes in data.
# - Ashish Vaswani and others, *Attention is all you need*, 2017, arXiv:1706.03762: the transformer.
# - Hugo Touvron and others, *Training data-efficient image transformers and distillation through attention*, 2020,
#   arXiv:2012.12877: DeiT, ViTs trained on ImageNet alone, with strong augmentation and, at best, a teacher.
# - Tete Xiao and others, *Early convolutions help transformers see better*, 2021, arXiv:2106.14881: what changes if the
#   one large convolution at the start is replaced by a few of $3 \times 3$.
# - Ze Liu and others, *Swin transformer: hierarchical vision transformer using shifted windows*, 2021,
#   arXiv:2103.14030: attention within windows, so that the cost no longer grows with the square.
# - Kaiming He and others, *Masked autoencoders are scalable vision learners*, 2021, arXiv:2111.06377: leave out three
#   quarters of the patches, and learn by painting them in.
# - Samira Abnar and Willem Zuidema, *Quantifying attention flow in transformers*, 2020, arXiv:2005.00928: rollout.
# - Sarthak Jain and Byron Wallace, *Attention is not explanation*, 2019, arXiv:1902.10186.

# %%
check.summary()
