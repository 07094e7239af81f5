# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Style transfer
#
# A network that was trained to name things has learned, on the way, two descriptions of a picture: *what is where*,
# which is in its maps, and *what it is made of*, which is in which of its maps are active together. In 2015 Leon Gatys,
# Alexander Ecker and Matthias Bethge saw that the two can be pulled apart: look for a picture that has the first
# description of a photograph and the second of a painting. No network is trained for it. What is optimised is the
# picture. In this notebook you will
#
# - write the **content loss** and the **style loss**, with the Gram matrix and its gradient by hand, and paint a
#   photograph in another style;
# - make **textures** out of noise, and find out what a Gram matrix remembers and what it forgets;
# - put **two styles into one picture**, each in a region of its own, or mixed everywhere;
# - train a small **feed-forward net** that does it in one pass, with a style to choose.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $I$ | the pictures that are made, pixels in $[0, 1]$ | $(N, 3, H, W)$ |
# | $F^\ell$ | maps of the pictures after layer $\ell$ of the frozen network | $(N, C_\ell, H_\ell, W_\ell)$ |
# | $P^\ell$ | the same for the photograph, the *content* | as $F^\ell$ |
# | $G^\ell$ | Gram matrices of $F^\ell$ | $(N, C_\ell, C_\ell)$ |
# | $A^\ell$ | Gram matrix of the painting, the *style* | $(1, C_\ell, C_\ell)$ |
# | $w_\ell$ | weight of layer $\ell$ in the style loss | a number |
# | $T_r$ | mask of region $r = 1 \dots R$, from 0 outside to 1 inside | $(H_\ell, W_\ell)$ |
# | $\gamma_s$, $\beta_s$ | scales and shifts of style $s = 1 \dots S$ in a normalisation | $(C,)$ |
# | $dT$, short for $\partial L / \partial T$ | gradient of the loss with respect to any tensor $T$ | as $T$ |
#
# The losses below are ordinary torch code, and autograd takes their gradient through the network to the pixels. So they
# have to stay connected, without `item()` or `detach()` on the way from input to loss, and the checks compare
# gradients too. One gradient you derive and write by hand, since there is something to learn from it.

# %% tags=["setup"]
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import load_photograph, load_picture, painting
from dlcvkit.frozen import load_frozen
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast

# %% [markdown]
# ## 1. Photographs, paintings, and a network that looks at them
#
# The paintings are drawn by the course kit: short strokes that follow a wind, stones in grout, and arcs as on old
# Japanese cloth. Each has a texture that is far from anything in the photographs, which is what a first try needs.
# Later you can put in pictures of your own.

# %% tags=["setup"]
SIZE = 128 if is_fast() else 256


def square(picture, size, left=0.5):
    """Cut the largest square out of a picture and resize it.

    Args:
        picture: Shape (3, H, W), in [0, 1].
        size: Height and width of the result, in pixels.
        left: Where a wide picture is cut, from 0 (its left end) to 1 (its right end).

    Returns:
        Shape (1, 3, size, size).
    """
    height, width = picture.shape[1:]
    side = min(height, width)
    top, first = (height - side) // 2, int((width - side) * left)
    return resized(picture[None, :, top : top + side, first : first + side], size)


def resized(images, size):
    """Return images (N, 3, H, H) as (N, 3, size, size), smoothed first if they get smaller."""
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True).clamp(0, 1)


def show_row(images, titles, height=3.7):
    """Draw pictures, each of shape (1, 3, H, W), side by side."""
    _, axes = plt.subplots(1, len(images), figsize=(height * len(images), height + 0.3), layout="constrained")
    for axis, image, title in zip(axes, images, titles, strict=True):
        axis.imshow(image[0].detach().clamp(0, 1).permute(1, 2, 0).numpy())
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    plt.show()


# %% tags=["demo"]
temple = square(load_photograph("china"), SIZE, left=0.1)
flower = square(load_photograph("flower"), SIZE, left=0.6)
paintings = {kind: painting(kind, SIZE)[None] for kind in ("strokes", "mosaic", "waves")}
show_row([temple, flower], ["temple", "flower"])
show_row(list(paintings.values()), list(paintings))

# %% [markdown]
# The network is frozen: its weights never change here. `load_frozen` takes SqueezeNet if you have downloaded it
# (`./data_download.sh squeezenet`), else the small network of the course kit, which learned to tell the ten classes of
# CIFAR-10 apart. Both take pictures of any size. What matters is not which names a network can give but that its layers
# look at ever larger patches: edges and colours first, then corners and grain, then arrangements of those.
#
# `describe` returns the maps $F^\ell$ of some layers, a dict from layer to maps. A network trained on small photographs
# knows little about *colour*, so that we add one layer below the first: layer $-1$ is the picture itself, three maps of
# red, green and blue.

# %% tags=["setup"]
network = load_frozen()
CONTENT_LAYER, STYLE_LAYERS = {
    "small CNN": (11, (-1, 1, 3, 6, 8, 11)),
    "SqueezeNet 1.1": (3, (-1, 1, 4, 6, 7)),
}[network.name]
DEEPEST = max(CONTENT_LAYER, *STYLE_LAYERS)


def describe(images):
    """Return the maps of images.

    Args:
        images: Shape (N, 3, H, W), in [0, 1]; not modified.

    Returns:
        Dict from layer, -1 for the pixels and then 0 .. DEEPEST, to maps of shape (N, C, H, W) of that layer.
    """
    features = {-1: images}
    maps = (images - network.mean) / network.std
    for number, layer in enumerate(network.features[: DEEPEST + 1]):
        maps = features[number] = layer(maps)
    return features


print(f"{network.name}: content from layer {CONTENT_LAYER}, style from layers {', '.join(map(str, STYLE_LAYERS))}")

# %% [markdown]
# ## 2. Content: what is where
#
# Two pictures show the same thing in the same place if a deep enough layer gives them similar maps, position by
# position. Pixels may differ: a roof in oil is still a roof. So the content loss compares maps of *one* layer, and our
# convention is the mean over all entries,
#
# $$L_{\text{content}} = \frac{1}{N C_\ell H_\ell W_\ell} \sum_{n, c, i, j}
# \bigl( F^\ell_{ncij} - P^\ell_{ncij} \bigr)^2 ,$$
#
# with $F^\ell$ and $P^\ell$ of shape $(N, C_\ell, H_\ell, W_\ell)$. Papers and other courses take the sum, or half of
# it. With the mean, one weight serves pictures of all sizes.


# %% exercise="a4/content_loss"
def content_loss(features, target):
    """Compute the mean squared difference of two pictures' maps.

    Args:
        features: Maps of shape (N, C, H, W), floating point; not modified.
        target: Maps of the same shape and dtype that ``features`` should resemble; not modified.

    Returns:
        The mean over all N * C * H * W entries of the squared difference, a 0-dimensional tensor that autograd can
        differentiate with respect to ``features``.
    """
    ### BEGIN SOLUTION
    return (features - target).square().mean()
    ### END SOLUTION


# %% check="a4/content_loss"
check("a4/content_loss", content_loss)

# %% [markdown]
# ## 3. Style: what goes together
#
# Suppose one map answers to bright, curved edges and another to dark blue. If the two are active in the same places,
# the picture has blue swirls, wherever they are. So take the maps of one image two by two, multiply them position by
# position, and add up over the positions. With the two axes of the positions flattened to one,
# $f = F^\ell_n$ of shape $(C, HW)$,
#
# $$G_{ck} = \frac{1}{C H W} \sum_{p = 1}^{HW} f_{cp} f_{kp}, \qquad
# \underbrace{G}_{(C, C)} = \frac{1}{C H W} \, \underbrace{f}_{(C, HW)} \, \underbrace{f^\top}_{(HW, C)} .$$
#
# This is the **Gram matrix** of the maps: all scalar products of $C$ vectors. Our convention divides by $C H W$, so
# that layers of different sizes and pictures of different sizes give numbers that can be compared. There is one matrix
# per image: the batch axis stays.
#
# ### Backward
#
# Given $dG$ of shape $(C, C)$, which maps depend on what? Entry $f_{cp}$ is in row $c$ of $G$ as the first factor, and
# in column $c$ as the second:
#
# $$df_{cp} = \frac{1}{CHW} \Bigl( \sum_k dG_{ck} f_{kp} + \sum_k dG_{kc} f_{kp} \Bigr), \qquad
# \underbrace{df}_{(C, HW)} = \frac{1}{CHW} \bigl( dG + dG^\top \bigr) f .$$
#
# $G$ is symmetric, but nothing says that $dG$ is, and the checks draw one that is not. In the style loss it will be,
# and then $df = \frac{2}{CHW}\, dG\, f$: a weighted sum of *other maps at the same position*. The gradient of the style
# loss at a pixel's maps asks only what is active there, never where it is.


# %% exercise="a4/gram_matrix"
def gram_matrix_forward(x):
    """Compute the Gram matrix of every image's maps.

    Args:
        x: Maps of shape (N, C, H, W), floating point; not modified.

    Returns:
        ``(gram, cache)``: gram of shape (N, C, C), the sums over all positions of the products of two channels, divided
        by C * H * W; and what ``gram_matrix_backward`` needs.
    """
    ### BEGIN SOLUTION
    flat = x.flatten(2)  # (N, C, H * W)
    return flat @ flat.mT / x[0].numel(), x
    ### END SOLUTION


# %% exercise="a4/gram_matrix"
def gram_matrix_backward(dgram, cache):
    """Go back through the Gram matrix.

    Args:
        dgram: Upstream gradient of shape (N, C, C); it need not be symmetric. Not modified.
        cache: What ``gram_matrix_forward`` returned.

    Returns:
        dx: Gradient of shape (N, C, H, W).
    """
    ### BEGIN SOLUTION
    x = cache
    dflat = (dgram + dgram.mT) @ x.flatten(2) / x[0].numel()
    return dflat.reshape(x.shape)
    ### END SOLUTION


# %% check="a4/gram_matrix"
check("a4/gram_matrix", gram_matrix_forward, gram_matrix_backward)

# %% [markdown]
# What does a Gram matrix look like, and what does it see? Below, the maps of one layer for two pieces of the same
# painting and for a photograph. The two pieces show different strokes in different places, and their matrices are
# closer to each other than to the photograph's.

# %% tags=["demo"]
layer = STYLE_LAYERS[3]
half = SIZE // 2
pieces = {
    "upper left of the painting": paintings["mosaic"][:, :, :half, :half],
    "lower right of it": paintings["mosaic"][:, :, half:, half:],
    "a piece of the photograph": temple[:, :, half:, :half],
}
with torch.no_grad():
    grams = [gram_matrix_forward(describe(piece)[layer])[0][0] for piece in pieces.values()]
figure, axes = plt.subplots(2, 3, figsize=(9, 6.2), layout="constrained")
for column, (title, piece) in enumerate(pieces.items()):
    axes[0, column].imshow(piece[0].permute(1, 2, 0).numpy())
    axes[0, column].set_title(title, fontsize=10)
    distance = (grams[column] - grams[0]).norm() / grams[0].norm()
    image = axes[1, column].imshow(grams[column].sqrt(), cmap="magma", vmin=0, vmax=float(grams[0].max().sqrt()))
    axes[1, column].set_title(f"relative distance from the first: {distance:.2f}", fontsize=10)
    axes[0, column].axis("off")
    axes[1, column].set_xticks([])
    axes[1, column].set_yticks([])
figure.colorbar(image, ax=axes[1], label="root of the entry", shrink=0.9)
plt.show()

# %% [markdown] question="where_is_forgotten" points=3
# **Question 1 (3 points).** (a) Let $\pi$ be any permutation of the $HW$ positions, and apply it to all $C$ maps alike.
# Show that the Gram matrix does not change. (b) So a layer's Gram matrix cannot tell a painting from its pixels thrown
# about at random, if only that layer's maps are thrown about in the same way. Why do textures made from Gram matrices
# nevertheless show strokes and stones instead of noise? (c) A checkerboard of black and white squares, 8 pixels wide, is
# to be made from noise by matching the Gram matrices of layers whose units see patches of at most 5 pixels. What will
# be right in the result and what will not?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\sum_p f_{c \pi(p)} f_{k \pi(p)}$ has the same terms as $\sum_p f_{cp} f_{kp}$ in another order
# (or: $f \Pi \Pi^\top f^\top = f f^\top$ for a permutation matrix $\Pi$). (b) Throwing the *pixels* about does not throw
# the maps about: each entry of a map is computed from a whole patch, so scattered pixels give other maps, with other
# products. What is forgotten is where a patch was; what is inside a patch (up to the receptive field) is kept, and
# overlapping patches have to fit together. Several layers keep this at several sizes. (c) Colours and their shares, flat
# areas, straight edges and their two directions, corners will be right. The width of the squares, their regular
# arrangement and the alternation will not: no unit sees two opposite edges of a square at once, so nothing ties them to
# a distance of 8.
#
# *Rubric.* 1 point: the sum has the same terms. 1 point: maps see patches, and patches are kept. 1 point: local
# properties right, width and period wrong, because of the receptive field.
# ### END MARK SCHEME

# %% [markdown]
# ### The style loss
#
# The painting is looked at once, and its Gram matrices $A^\ell$ are kept. The style loss adds up how far those of the
# picture are from them, over several layers, each with a weight. For $N$ images it is the mean:
#
# $$L_{\text{style}} = \sum_\ell w_\ell \, \frac1N \sum_{n=1}^{N} \bigl\| G^\ell_n - A^\ell \bigr\|_F^2 ,
# \qquad \| M \|_F^2 = \sum_{c, k} M_{ck}^2 ,$$
#
# with $G^\ell_n$ and $A^\ell$ of shape $(C_\ell, C_\ell)$. Call your `gram_matrix_forward`; it is differentiable as it
# stands.


# %% exercise="a4/style_loss"
def style_loss(features, targets, weights):
    """Compute the style loss over several layers.

    Args:
        features: Dict from layer to maps of shape (N, C, H, W); C, H and W differ from layer to layer. It may hold
            layers that have no weight; they do not count. Not modified.
        targets: Dict from layer to the painting's Gram matrix, shape (1, C, C), for every layer in ``weights`` at
            least. Not modified.
        weights: Dict from layer to a number, at least 0; at least one layer. The order of the layers may differ from
            that in ``features``.

    Returns:
        The sum over the layers in ``weights`` of the layer's weight times the mean, over the N images, of the squared
        Frobenius distance of the image's Gram matrix and the target; a 0-dimensional tensor that autograd can
        differentiate with respect to ``features``.
    """
    ### BEGIN SOLUTION
    loss = 0.0
    for layer, weight in weights.items():
        gram, _ = gram_matrix_forward(features[layer])
        loss = loss + weight * (gram - targets[layer]).square().sum(dim=(1, 2)).mean()
    return loss
    ### END SOLUTION


# %% check="a4/style_loss"
check("a4/style_loss", style_loss)

# %% [markdown]
# ## 4. Smoothness
#
# A network does not see everything. Patterns of single pixels that it hardly reacts to cost nothing, so they come up as
# noise. The **total variation** is a price on them: the squared differences of pixels that are neighbours in a row or
# in a column,
#
# $$L_{\text{tv}} = \frac1N \sum_{n, c} \Bigl( \sum_{i=1}^{H} \sum_{j=1}^{W-1} \bigl( I_{n,c,i,j+1} - I_{n,c,i,j} \bigr)^2
# + \sum_{i=1}^{H-1} \sum_{j=1}^{W} \bigl( I_{n,c,i+1,j} - I_{n,c,i,j} \bigr)^2 \Bigr) .$$
#
# Here the squares are added up over channels and pixels, and only images are averaged over. There is a reason to leave
# the sum a sum: enlarge a smooth picture to twice its height and width, and the differences halve, their squares are a
# quarter, and there are four times as many. The total stays about the same. (The name comes from the same sum with
# absolute values, which leaves edges sharper. The squared form is what most style transfer uses.)


# %% exercise="a4/tv_loss"
def tv_loss(images):
    """Compute the total variation of images.

    Args:
        images: Shape (N, C, H, W), floating point; not modified. H or W may be 1, not both.

    Returns:
        The mean over the N images of the sum, over all channels and all pairs of pixels that are next to each other in
        a row or in a column, of the squared difference; a 0-dimensional tensor that autograd can differentiate.
    """
    ### BEGIN SOLUTION
    across = images[:, :, :, 1:] - images[:, :, :, :-1]
    down = images[:, :, 1:, :] - images[:, :, :-1, :]
    return (across.square().sum() + down.square().sum()) / len(images)
    ### END SOLUTION


# %% check="a4/tv_loss"
check("a4/tv_loss", tv_loss)

# %% [markdown]
# ## 5. A photograph in another style
#
# The picture is what is optimised:
#
# $$I^* = \arg\min_I \; L_{\text{style}} + \alpha \, L_{\text{content}} + \tau \, L_{\text{tv}} .$$
#
# Four decisions make it work in seconds:
#
# - **Weights that say something.** $w_\ell = 1 / \| A^\ell \|_F^2$ makes a layer's share a *relative* error: 1 for a
#   picture whose maps are all 0, 0 for a perfect match. In the same way the content loss is divided by the variance of
#   $P^\ell$. So $\alpha$ and $\tau$ hardly depend on network or layer.
# - **Start with the photograph**, not with noise: the content is there from the first step.
# - **From coarse to fine.** First at half the size, where a step costs a quarter and large strokes find their places;
#   then enlarge the result and go on.
# - **L-BFGS instead of Adam.** There is no batch, so the gradient has no noise, and a method that learns the curvature
#   from the last ten gradients goes further with each.

# %% tags=["setup"]
CONTENT_WEIGHT, TV_WEIGHT = 0.1, 3e-5


def style_of(picture):
    """Return the Gram matrices of a painting, a dict from layer to shape (1, C, C)."""
    with torch.no_grad():
        features = describe(picture)
        return {layer: gram_matrix_forward(features[layer])[0] for layer in STYLE_LAYERS}


def relative_weights(targets):
    """Return the weight of every layer: 1 over the squared Frobenius norm of its target."""
    return {layer: 1 / float(gram.square().sum()) for layer, gram in targets.items()}


def optimize(image, loss_of, steps, progress, frames=None):
    """Change an image until a loss is small.

    Args:
        image: Start, shape (N, 3, H, W); not modified.
        loss_of: Maps the image to a 0-dimensional loss.
        steps: Evaluations of the loss.
        progress: A progress bar, updated at every step.
        frames: List that every fifth image is appended to, or None.

    Returns:
        The image, cut to [0, 1], and the list of losses.
    """
    image = image.clone().requires_grad_()
    options = {"history_size": 10, "tolerance_grad": 0, "tolerance_change": 0}
    optimizer = torch.optim.LBFGS([image], max_iter=steps, max_eval=steps, **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(image)
        loss.backward()
        if frames is not None and len(losses) % 5 == 0:
            frames.append(image.detach().clone())
        losses.append(loss.item())
        progress.update()
        return loss

    optimizer.step(closure)
    return image.detach().clamp(0, 1), losses


def transfer(content, style, sizes, steps, content_weight=CONTENT_WEIGHT, frames=None):
    """Paint a photograph in the style of a painting.

    Args:
        content: Shape (1, 3, H, H), H the last of ``sizes``.
        style: The painting, of the same shape.
        sizes: Heights of the pictures, from coarse to fine.
        steps: Evaluations of the loss at each size.
        content_weight: How much the content counts against the style.
        frames: List that pictures on the way are appended to, or None.

    Returns:
        The picture, shape (1, 3, H, H), and the list of losses.
    """
    image, losses = resized(content, sizes[0]), []
    with tqdm(total=sum(steps), desc="painting") as progress:
        for size, count in zip(sizes, steps, strict=True):
            with torch.no_grad():
                goal = describe(resized(content, size))[CONTENT_LAYER]
            targets = style_of(resized(style, size))
            weights = relative_weights(targets)
            spread = goal.var()

            def loss_of(picture, goal=goal, targets=targets, weights=weights, spread=spread):
                features = describe(picture)
                loss = style_loss(features, targets, weights)
                loss = loss + content_weight * content_loss(features[CONTENT_LAYER], goal) / spread
                return loss + TV_WEIGHT * tv_loss(picture)

            image, part = optimize(resized(image, size), loss_of, count, progress, frames)
            losses += part
    return image, losses


# %% [markdown]
# What to expect, measured with the small network: 140 steps in some 20 s of processor time. The loss falls from 4.3 to
# 0.1 at 128 pixels, jumps when the picture is enlarged (its strokes are blurred then, and L-BFGS has to learn the
# curvature anew), and ends at 0.2. In the strip the painting is there after a few dozen steps; the rest is detail.

# %% tags=["demo"]
SIZES = [SIZE // 2, SIZE]
STEPS = [30, 15] if is_fast() else [80, 60]
start, frames = time.perf_counter(), []
result, losses = transfer(temple, paintings["strokes"], SIZES, STEPS, frames=frames)
print(f"{sum(STEPS)} steps in {time.perf_counter() - start:.0f} s; loss {losses[0]:.2f} -> {losses[-1]:.3f}")
show_row([temple, paintings["strokes"], result], ["content", "style", "result"])
chosen = [frames[i] for i in torch.linspace(0, len(frames) - 1, 7).long().tolist()]
show_row(chosen, [f"{picture.shape[-1]} px" for picture in chosen], height=1.6)
figure, axis = plt.subplots(figsize=(7, 2.4), layout="constrained")
axis.semilogy(losses, color=COLOURS[0])
axis.axvline(STEPS[0], color="grey", lw=1, ls="--", label="enlarged")
axis.set_xlabel("evaluations of the loss")
axis.set_ylabel("loss")
axis.legend(frameon=False, fontsize=9)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# The weight $\alpha$ of the content is a dial between the photograph and the painting. Try another painting at three
# positions of it, at half the size.

# %% tags=["demo"]
dials = [10 * CONTENT_WEIGHT, CONTENT_WEIGHT, CONTENT_WEIGHT / 10]
small = SIZE // 2
results = [
    transfer(resized(temple, small), resized(paintings["mosaic"], small), [small], [15 if is_fast() else 60], dial)[0]
    for dial in dials
]
show_row(results, [f"content weight {dial:g}" for dial in dials], height=3.2)

# %% [markdown] question="what_smoothness_costs" points=3
# **Question 2 (3 points).** (a) Give the derivative of $L_{\text{tv}}$ with respect to one pixel away from the border,
# in terms of its four neighbours, and say what a step against it does to the pixel. (b) What would the result look like
# for $\tau = 0$, and for $\tau$ a hundred times as large as above? Say for each which losses are small and which
# suffer. (c) The mosaic has sharp dark-to-light edges of grout. Does the total variation make it harder to paint than
# an equally colourful picture of soft clouds? Which change to the formula would make it cheaper to have an edge?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\frac{2}{N} (4 I_{ij} - I_{i-1,j} - I_{i+1,j} - I_{i,j-1} - I_{i,j+1})$, eight over N times the
# pixel's difference from the mean of its neighbours: the step moves the pixel towards that mean (diffusion, a blur).
# (b) $\tau = 0$: style and content losses get as small as they can, but single-pixel noise to which the network is
# blind stays or comes up, and the total variation is large. Hundred times: a blurred picture, smooth areas of colour;
# fine strokes are gone, so the style loss of the shallow layers is large (the content loss of a deep layer suffers
# less). (c) Yes: a step of height $h$ across one pixel costs $h^2$ per pixel of its length, the same step spread over
# $k$ pixels only $k (h/k)^2 = h^2 / k$. Absolute differences (or a root of the sum of both squares, the true total
# variation) cost $h$ in either case, so edges are not dearer than ramps.
#
# *Rubric.* 1 point: the derivative and its meaning. 1 point: both extremes, with the losses. 1 point: squares make
# sharp edges dearer; absolute differences do not.
# ### END MARK SCHEME

# %% [markdown]
# ## 6. Textures
#
# Leave the content out and start with noise: what comes up is what the Gram matrices say and nothing else. With the
# pixels and the first layers alone, that is colours and grain. Each deeper layer sees larger patches and adds larger
# structure.

# %% tags=["demo"]
side = 96 if is_fast() else 128
generator = torch.Generator().manual_seed(0)
noise = torch.rand(1, 3, side, side, generator=generator) * 0.4 + 0.3
original = resized(paintings["mosaic"], SIZE)[:, :, :side, :side] if side < SIZE else paintings["mosaic"]
depths = [STYLE_LAYERS[:2], STYLE_LAYERS[:-2], STYLE_LAYERS]
textures = []
with tqdm(total=len(depths) * (25 if is_fast() else 80), desc="textures") as progress:
    for layers in depths:
        targets = {layer: gram for layer, gram in style_of(original).items() if layer in layers}
        weights = relative_weights(targets)

        def texture_loss(picture, targets=targets, weights=weights):
            return style_loss(describe(picture), targets, weights) + TV_WEIGHT / 3 * tv_loss(picture)

        textures.append(optimize(noise, texture_loss, progress.total // len(depths), progress)[0])
show_row([original, *textures], ["painting", *(f"layers up to {layers[-1]}" for layers in depths)], height=3.0)

# %% [markdown]
# ## 7. Two styles in one picture
#
# ### Each in its region
#
# A sky of strokes over a temple of stones: give each region $r$ a mask $T_r$ and a Gram matrix of its own, of maps
# multiplied by the mask. The features of position $p$ enter with weight $T_{rp}$, and since each product holds two of
# them, the products enter with $T_{rp}^2$. Divide by the sum of *those*, and a region's Gram matrix depends on what is
# in it and not on how large it is:
#
# $$G_{r, ck} = \frac{1}{C \sum_p T_{rp}^2} \sum_{p=1}^{HW} T_{rp}^2 f_{cp} f_{kp},
# \qquad \underbrace{G_r}_{(C, C)} = \frac{(f \odot T_r)(f \odot T_r)^\top}{C \sum_p T_{rp}^2} ,$$
#
# with $f$ of shape $(C, HW)$ and $T_r$ of shape $(HW,)$, multiplied into every row of $f$. With $T_r = 1$ everywhere
# this is `gram_matrix_forward`. A region may be empty, $T_r = 0$ everywhere: then the sum above the line is 0 as well,
# and the Gram matrix is defined as 0. Beware of repairing NaN afterwards: the gradient would keep it.


# %% exercise="a4/guided_gram_matrix"
def guided_gram_matrix(x, masks):
    """Compute one Gram matrix per region.

    Args:
        x: Maps of shape (N, C, H, W), floating point; not modified.
        masks: Shape (R, H, W), dtype as ``x``, in [0, 1]: how much of each position belongs to region r. The same for
            all images; not modified. A mask may be 0 everywhere; if not, some entry is at least 0.001.

    Returns:
        Shape (N, R, C, C): the Gram matrix of the maps times the mask, divided by C times the sum of the mask's squares.
        Where a mask is 0 everywhere, the Gram matrix is 0. Autograd can differentiate it with respect to ``x``, and the
        gradient is finite.
    """
    ### BEGIN SOLUTION
    inside = (x[:, None] * masks[:, None]).flatten(3)  # (N, R, C, H * W)
    area = masks.square().sum(dim=(1, 2)).clamp(min=1e-12)
    return inside @ inside.mT / (x.shape[1] * area[:, None, None])
    ### END SOLUTION


# %% check="a4/guided_gram_matrix"
check("a4/guided_gram_matrix", guided_gram_matrix)

# %% [markdown]
# In this photograph sky and water are the bright part, so a threshold on the darkest colour channel is enough for a
# mask. It is smoothed, since a unit at the border sees both sides, and shrunk to the size of every layer's maps.


# %% tags=["setup"]
def bright_mask(picture, threshold):
    """Return a soft mask of the bright part of a picture and the mask of the rest, shape (2, H, W)."""
    is_bright = (picture.amin(dim=1, keepdim=True) > threshold).float()
    width = picture.shape[-1] // 32 * 2 + 1
    soft = functional.avg_pool2d(is_bright, width, stride=1, padding=width // 2, count_include_pad=False)[0, 0]
    return torch.stack([soft, 1 - soft])


def guided_transfer(content, styles, masks, sizes, steps, content_weight=CONTENT_WEIGHT):
    """Paint each region of a photograph in a style of its own.

    Args:
        content: Shape (1, 3, H, H).
        styles: R paintings, each of shape (1, 3, H, H).
        masks: Shape (R, H, H), in [0, 1].
        sizes: Heights of the pictures, from coarse to fine.
        steps: Evaluations of the loss at each size.
        content_weight: How much the content counts against the style.

    Returns:
        The picture, shape (1, 3, H, H).
    """
    image = resized(content, sizes[0])
    with tqdm(total=sum(steps), desc="painting") as progress:
        for size, count in zip(sizes, steps, strict=True):
            with torch.no_grad():
                features = describe(resized(content, size))
            goal = features[CONTENT_LAYER]
            areas = {layer: functional.adaptive_avg_pool2d(masks, features[layer].shape[2:]) for layer in STYLE_LAYERS}
            targets = [style_of(resized(style, size)) for style in styles]
            targets = {layer: torch.cat([target[layer] for target in targets]) for layer in STYLE_LAYERS}  # (R, C, C)

            def loss_of(picture, goal=goal, areas=areas, targets=targets):
                features = describe(picture)
                loss = content_weight * content_loss(features[CONTENT_LAYER], goal) / goal.var()
                loss = loss + TV_WEIGHT * tv_loss(picture)
                for layer, target in targets.items():
                    grams = guided_gram_matrix(features[layer], areas[layer])  # (1, R, C, C)
                    errors = (grams - target).square().sum(dim=(2, 3)) / target.square().sum(dim=(1, 2))
                    loss = loss + errors.mean()
                return loss

            image, _ = optimize(resized(image, size), loss_of, count, progress)
    return image


# %% tags=["demo"]
masks = bright_mask(temple, 0.62)
guided = guided_transfer(
    temple, [paintings["strokes"], paintings["mosaic"]], masks, SIZES, STEPS if is_fast() else [60, 40]
)
mask_picture = masks[0].expand(1, 3, -1, -1)
show_row([temple, mask_picture, guided], ["content", "mask: strokes where white", "result"])

# %% [markdown]
# ### Mixed everywhere
#
# Gram matrices can be averaged: with targets $A^\ell_1 \dots A^\ell_S$ and weights $v_s \ge 0$,
#
# $$A^\ell_{\text{mix}} = \frac{\sum_s v_s A^\ell_s}{\sum_s v_s} ,$$
#
# of shape $(1, C_\ell, C_\ell)$ like any other target. Only the proportions of the weights count. That is a target for
# which there need not be any painting, and the optimiser looks for a compromise.


# %% exercise="a4/style_mix"
def style_mix(targets, weights):
    """Mix styles.

    Args:
        targets: Dict from layer to the Gram matrices of S paintings, shape (S, C, C); C differs from layer to layer.
            Not modified.
        weights: Shape (S,), dtype as the Gram matrices; only their proportions count. Not modified.

    Returns:
        Dict from layer to the average of its S Gram matrices, weighted by ``weights``, shape (1, C, C).

    Raises:
        ValueError: If a weight is negative or all weights are 0.
    """
    ### BEGIN SOLUTION
    if (weights < 0).any() or not weights.any():
        raise ValueError(f"weights are at least 0 and not all 0, not {weights.tolist()}")
    shares = (weights / weights.sum())[:, None, None]
    return {layer: (shares * grams).sum(dim=0, keepdim=True) for layer, grams in targets.items()}
    ### END SOLUTION


# %% check="a4/style_mix"
check("a4/style_mix", style_mix)

# %% tags=["demo"]
small_flower = resized(flower, small)
with torch.no_grad():
    goal = describe(small_flower)[CONTENT_LAYER]
pair = [style_of(resized(paintings[kind], small)) for kind in ("strokes", "mosaic")]
pair = {layer: torch.cat([style[layer] for style in pair]) for layer in STYLE_LAYERS}  # (2, C, C)
portions = [0.0, 0.35, 0.65, 1.0]
mixtures = []
with tqdm(total=len(portions) * (15 if is_fast() else 40), desc="mixing") as progress:
    for portion in portions:
        targets = style_mix(pair, torch.tensor([1 - portion, portion]))
        weights = relative_weights(targets)

        def mixture_loss(picture, targets=targets, weights=weights):
            features = describe(picture)
            loss = style_loss(features, targets, weights) + TV_WEIGHT * tv_loss(picture)
            return loss + CONTENT_WEIGHT * content_loss(features[CONTENT_LAYER], goal) / goal.var()

        mixtures.append(optimize(small_flower, mixture_loss, progress.total // len(portions), progress)[0])
show_row(mixtures, [f"{1 - portion:.0%} strokes, {portion:.0%} mosaic" for portion in portions], height=2.8)

# %% [markdown]
# ## 8. One pass instead of a hundred steps
#
# A picture in a quarter of a minute is no way to paint a film. Justin Johnson, Alexandre Alahi and Li Fei-Fei let a *network*
# paint: photograph in, painting out, trained once per style on the very same losses. Training takes longer than a
# picture took before; afterwards each picture costs one forward pass. Two parts of such a net are yours to write.
#
# ### Normalise each picture by itself
#
# A painting has the contrast of the painting, whatever the photograph had. So every map of every image is brought to
# mean 0 and variance 1 over its own positions: **instance norm**. Then a scale and a shift per channel follow, and it
# turns out that these *are* the style: the same convolutions with another $\gamma$ and $\beta$ paint in another one. With
# a row per style in $\gamma$ and $\beta$, both of shape $(S, C)$, and the style $s_n$ of image $n$,
#
# $$Y_{ncij} = \gamma_{s_n c} \, \frac{X_{ncij} - \mu_{nc}}{\sqrt{\sigma^2_{nc} + \varepsilon}} + \beta_{s_n c},
# \qquad \mu_{nc} = \frac{1}{HW} \sum_{i,j} X_{ncij}, \qquad
# \sigma^2_{nc} = \frac{1}{HW} \sum_{i,j} (X_{ncij} - \mu_{nc})^2 ,$$
#
# where $X$ and $Y$ have shape $(N, C, H, W)$, $\mu$ and $\sigma^2$ shape $(N, C)$. Subtract the mean before you square:
# $\overline{X^2} - \mu^2$ loses its digits in float32 where the mean is large.


# %% exercise="a4/conditional_instance_norm"
def conditional_instance_norm(x, gammas, betas, styles, eps=1e-5):
    """Normalise every map of every image, then scale and shift it as the image's style asks.

    Args:
        x: Maps of shape (N, C, H, W), floating point; not modified.
        gammas: Scales of S styles, shape (S, C).
        betas: Shifts of S styles, shape (S, C).
        styles: int64, shape (N,), each in 0 .. S - 1: the style of each image.
        eps: Added to the variance.

    Returns:
        Shape (N, C, H, W). Mean and variance (the mean squared deviation, divided by H * W) are those of one map of one
        image; a map may have a single position. Autograd can differentiate the result with respect to ``x``,
        ``gammas`` and ``betas``.
    """
    ### BEGIN SOLUTION
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3), keepdim=True)
    gamma, beta = gammas[styles][:, :, None, None], betas[styles][:, :, None, None]
    return gamma * (x - mean) / (variance + eps).sqrt() + beta
    ### END SOLUTION


# %% check="a4/conditional_instance_norm"
check("a4/conditional_instance_norm", conditional_instance_norm)

# %% [markdown]
# ### Enlarge without a grid
#
# The net works on maps of a quarter of the picture's size, where it is cheap and sees far, and has to come back up. A
# transposed convolution with stride 2 and filters of 3×3 covers some pixels with one entry of the filter and others
# with two or four, and leaves a chequerboard behind. The remedy is to separate the two jobs: first **enlarge** by
# repeating every entry in a square of 2×2, then **convolve** with stride 1, where all pixels are treated alike. At the
# border the maps are padded by *reflection* ($x_2\, x_1 \,|\, x_0\, x_1\, x_2 \dots$: the border pixel itself is not
# repeated), since zeros would be seen as a dark frame.


# %% exercise="a4/upsample_conv"
def upsample_conv(x, w, b):
    """Double the height and the width of maps, then convolve them.

    Each entry becomes a square of 2×2 equal entries; the border is padded by reflection so that the convolution, with
    stride 1, keeps the size. ``torch.nn.functional`` and ``torch.nn`` may be used.

    Args:
        x: Maps of shape (N, C, H, W), floating point; not modified.
        w: Filters of shape (F, C, k, k), k odd and k // 2 less than 2 * H and 2 * W. Like torch, do not turn them.
        b: Bias of shape (F,).

    Returns:
        Shape (N, F, 2 * H, 2 * W).
    """
    ### BEGIN SOLUTION
    larger = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    margin = w.shape[-1] // 2
    return functional.conv2d(functional.pad(larger, [margin] * 4, mode="reflect"), w, b)
    ### END SOLUTION


# %% check="a4/upsample_conv"
check("a4/upsample_conv", upsample_conv)

# %% [markdown]
# The net: two convolutions with stride 2 on the way down, residual blocks at a quarter of the size, your
# `upsample_conv` twice on the way up, and conditional instance norm after each but the last convolution. Two things make
# it learn fast. What comes out is *added* to the photograph, before a sigmoid brings it to $[0, 1]$, and the last filters
# start at 0: an untrained net hands the photograph through, and has only to learn how to change it. And a fourth channel
# of noise goes in with the colours, so that a flat sky gives the net something to make strokes of.


# %% tags=["setup"]
class TransformNet(nn.Module):
    """A net that paints photographs in one of several styles.

    Args:
        styles: Number of styles S.
        widths: Filters at full, half and quarter size.
        blocks: Residual blocks at quarter size.
    """

    def __init__(self, styles, widths=(12, 24, 40), blocks=2):
        super().__init__()
        full, half, quarter = widths
        sizes = [(4, full), (full, half), (half, quarter), *[(quarter, quarter)] * 2 * blocks]
        sizes += [(quarter, half), (half, full), (full, 3)]
        self.blocks = blocks
        self.convolutions = nn.ModuleList(nn.Conv2d(before, after, 3) for before, after in sizes)
        self.gammas = nn.ParameterList(torch.ones(styles, after) for _, after in sizes[:-1])
        self.betas = nn.ParameterList(torch.zeros(styles, after) for _, after in sizes[:-1])
        nn.init.zeros_(self.convolutions[-1].weight)
        nn.init.zeros_(self.convolutions[-1].bias)

    def forward(self, images, styles):
        """Paint images (N, 3, H, W), in [0, 1], H and W divisible by 4, in styles (N,), int64."""

        def normalized(maps, number):
            return conditional_instance_norm(maps, self.gammas[number], self.betas[number], styles)

        def convolved(maps, number, stride=1):
            layer = self.convolutions[number]
            return functional.conv2d(
                functional.pad(maps, (1, 1, 1, 1), mode="reflect"), layer.weight, layer.bias, stride
            )

        maps = torch.cat([images, torch.rand_like(images[:, :1])], dim=1)  # (N, 4, H, W)
        number = 0
        for stride in (1, 2, 2):
            maps = normalized(convolved(maps, number, stride), number).relu()
            number += 1
        for _ in range(self.blocks):
            inner = normalized(convolved(maps, number), number).relu()
            maps = maps + normalized(convolved(inner, number + 1), number + 1)
            number += 2
        for _ in range(2):
            layer = self.convolutions[number]
            maps = normalized(upsample_conv(maps, layer.weight, layer.bias), number).relu()
            number += 1
        return torch.sigmoid(images.clamp(0.02, 0.98).logit() + convolved(maps, number))


def random_crops(photographs, count, size, generator):
    """Return squares cut out of photographs at random, at random scales, every other one mirrored by chance.

    Args:
        photographs: List of tensors of shape (3, H, W), in [0, 1], H and W at least ``size``.
        count: Number of crops.
        size: Their height and width, in pixels.
        generator: ``torch.Generator`` on the CPU.

    Returns:
        Shape (count, 3, size, size).
    """

    def draw(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    crops = []
    for _ in range(count):
        picture = photographs[draw(0, len(photographs) - 1)]
        side = draw(size, min(picture.shape[1:]))
        top, left = draw(0, picture.shape[1] - side), draw(0, picture.shape[2] - side)
        crop = resized(picture[None, :, top : top + side, left : left + side], size)
        crops.append(crop.flip(3) if draw(0, 1) else crop)
    return torch.cat(crops)


# %% [markdown]
# Every step takes one crop and paints it in both styles, `styles = [0, 1]`. The training photographs are the flower and
# the portrait; the temple is new to the net, though not to us: the weight of the content was chosen by looking at it.
#
# What to expect, measured: 600 steps take some 35 s of processor time, and the loss of a step falls from 4 to between 1
# and 2. A picture of 256 pixels then takes 0.05 s. The strokes follow the edges of the photograph and stand in rows, and the
# mosaic's stones are strewn rather than laid: a pass of a small net is no match for a hundred steps on the picture itself,
# which end at 0.2. Longer training and more than two photographs bring it closer.

# %% tags=["demo"]
torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
crop_size, steps = 64, 25 if is_fast() else 600
kinds = ["strokes", "mosaic"]
training = [load_photograph("flower"), load_photograph("portrait")]
learned = [style_of(paintings[kind]) for kind in kinds]
learned_weights = [relative_weights(style) for style in learned]
net = TransformNet(len(kinds))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps, pct_start=0.1)
styles = torch.arange(len(kinds))
start, net_losses = time.perf_counter(), []
with tqdm(total=steps, desc="training") as progress:
    for _ in range(steps):
        crop = random_crops(training, 1, crop_size, generator)
        with torch.no_grad():
            goal = describe(crop)[CONTENT_LAYER]
        painted = net(crop.expand(len(kinds), -1, -1, -1), styles)
        features = describe(painted)
        spread = goal.var() + 0.01
        loss = 0.2 * content_loss(features[CONTENT_LAYER], goal.expand(len(kinds), -1, -1, -1)) / spread
        loss = loss + TV_WEIGHT * tv_loss(painted)
        for s in range(len(kinds)):
            of_style = {layer: features[layer][s : s + 1] for layer in STYLE_LAYERS}
            loss = loss + style_loss(of_style, learned[s], learned_weights[s]) / len(kinds)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        net_losses.append(loss.item())
        progress.update()
print(f"{steps} steps in {time.perf_counter() - start:.0f} s; loss {net_losses[0]:.2f} -> {net_losses[-1]:.2f}")
start = time.perf_counter()
with torch.no_grad():
    fast = net(temple.expand(len(kinds), -1, -1, -1), styles)
print(f"two pictures of {SIZE} px in {1000 * (time.perf_counter() - start):.0f} ms")
show_row([temple, fast[:1], fast[1:]], ["new photograph", "strokes, one pass", "mosaic, one pass"])

# %% [markdown]
# Scales and shifts can be blended like Gram matrices, since they are just numbers: the same net, with its two rows
# mixed, paints in between.

# %% tags=["demo"]
blends = []
with torch.no_grad():
    for portion in (0.0, 0.25, 0.5, 0.75, 1.0):
        blended = TransformNet(1)
        mixed = {
            name: value if name.startswith("convolutions") else torch.lerp(value[:1], value[1:], portion)
            for name, value in net.state_dict().items()
        }
        blended.load_state_dict(mixed)
        blends.append(blended(flower, torch.zeros(1, dtype=torch.int64)))
show_row(blends, [f"{portion:.0%} mosaic" for portion in (0.0, 0.25, 0.5, 0.75, 1.0)], height=2.4)

# %% [markdown] question="why_instance_norm" points=3
# **Question 3 (3 points).** (a) A photograph $I$ is replaced by a foggy one, $0.3\, I + 0.6$. How do the maps of the first
# convolution change (leave the noise aside), and what is left of that after instance norm with $\varepsilon = 0$?
# Why is that welcome here? (b) Compare with batch norm in training: what would the result of one photograph depend on,
# and when would a batch of one dark and one bright photograph go wrong? (c) Mean and variance of a map are part of what a
# Gram matrix tells ($\sum_p f_{cp}^2 / (CHW)$ is its diagonal). Why does this make $\gamma$ and $\beta$ a natural place
# to keep a style, and what must the convolutions, which are shared, take care of? (d) In which task would instance norm
# right after the first layer do harm?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) A convolution is linear: the maps become $0.3\, X + c$ with a constant $c$ per channel (bias and
# the sum of the filter times 0.6). Subtracting the mean removes the constant, dividing by the standard deviation the
# factor 0.3: nothing is left. The contrast of the result should be the painting's, whatever the photograph's was, so
# the net need not learn to undo it. (b) On the other photographs in the batch: mean and variance are shared. With one
# dark and one bright photograph the shared mean lies between, both keep their offsets, and each is painted too dark or
# too bright; when used with running averages, or alone, it would change again. (c) After the normalisation $\gamma^2 +
# \beta^2$ is the mean square of a map, which is the diagonal of its Gram matrix (up to the factor $1/C$). So choosing
# $\gamma$ and $\beta$ sets the first and second moments of all maps directly, by few numbers, and those are what tells
# styles apart. (The net's maps are not the frozen network's, but the same holds: how strongly each pattern is present.)
# The convolutions carry what styles have in common: seeing the content, and a stock of strokes and edges
# that $\gamma$ and $\beta$ turn up or off. (d) Whenever contrast or brightness is the answer: telling day from night,
# fog, how deep a shadow is in an X-ray.
#
# *Rubric.* 1 point: (a) affine change is removed, contrast should not matter. 1 point: (b) dependence on the batch.
# 1 point: (c) moments, and (d) an example where brightness or contrast matters; half a point each.
# ### END MARK SCHEME

# %% [markdown]
# ## 9. Your own pictures
#
# Put the names of two files here, or leave one as it is. Photographs with a clear subject work best, and paintings with
# a strong, even texture: the network knows nothing of composition.

# %% tags=["demo"]
MY_PHOTOGRAPH = None  # such as "holiday.jpg"
MY_PAINTING = None  # such as "monet.png"
if MY_PHOTOGRAPH or MY_PAINTING:
    photograph = square(load_picture(MY_PHOTOGRAPH), SIZE) if MY_PHOTOGRAPH else temple
    style = square(load_picture(MY_PAINTING), SIZE) if MY_PAINTING else paintings["waves"]
    mine, _ = transfer(photograph, style, SIZES, STEPS)
    show_row([photograph, style, mine], ["content", "style", "result"])

# %% [markdown]
# ## Where to read more
#
# - Leon Gatys, Alexander Ecker and Matthias Bethge, *Texture synthesis using convolutional neural networks*, 2015,
#   arXiv:1505.07376, and *A neural algorithm of artistic style*, 2015, arXiv:1508.06576: Gram matrices, and the idea.
# - Justin Johnson, Alexandre Alahi and Li Fei-Fei, *Perceptual losses for real-time style transfer and
#   super-resolution*, 2016, arXiv:1603.08155: a net per style.
# - Dmitry Ulyanov, Andrea Vedaldi and Victor Lempitsky, *Instance normalization: the missing ingredient for fast
#   stylization*, 2016, arXiv:1607.08022.
# - Vincent Dumoulin, Jonathon Shlens and Manjunath Kudlur, *A learned representation for artistic style*, 2016,
#   arXiv:1610.07629: many styles in one net, by scale and shift.
# - Leon Gatys, Alexander Ecker, Matthias Bethge, Aaron Hertzmann and Eli Shechtman, *Controlling perceptual factors in
#   neural style transfer*, 2016, arXiv:1611.07865: regions, colours and scales.
# - Augustus Odena, Vincent Dumoulin and Chris Olah, *Deconvolution and checkerboard artifacts*, Distill, 2016: why to
#   enlarge first.
# - Yanghao Li, Naiyan Wang, Jiaying Liu and Xiaodi Hou, *Demystifying neural style transfer*, 2017, arXiv:1701.01036:
#   matching Gram matrices is matching distributions.

# %%
check.summary()
