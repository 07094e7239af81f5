# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Features made by hand
#
# A linear classifier on raw pixels compares an image with one blurred template per class. Move the object by three
# pixels and most of the products in the score change. Before features were *learned*, they were *designed*: numbers
# computed from an image that stay much the same when the object moves a little or the light changes, and differ when
# the object is another one. You will build four of them and see how far the same classifiers get on better input:
#
# - a **colour histogram**: which colours, wherever they are;
# - a **histogram of oriented gradients** (HOG): which way the edges run, roughly where, whatever the colour;
# - **whitening** by principal components: the same information with the correlations taken out;
# - a **bag of visual words**: how often each of a hundred small patterns, found in the data, occurs.
#
# You will meet all four again. A histogram of edges over cells is a convolution followed by pooling (stage a3), block
# normalisation is a relative of batch norm, and visual words are filters that nobody drew.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $I$ | an image, values in $[0, 1]$ | $(C, H, W)$ |
# | $B$ | number of bins of a histogram | |
# | $G$ | grey image, the mean of the channels | $(H, W)$ |
# | $m, \theta$ | magnitude and angle of its gradient | $(H, W)$ each |
# | $X$ | data, one sample per row | $(N, D)$ |
# | $P$ | the $M$ patches of an image, one per row | $(M, D)$ |
# | $\mu_j$ | centroid $j$ of $K$, a visual word | $(D,)$ |
#
# The data is CIFAR-10 where it has been downloaded, drawn shapes where not.

# %% tags=["setup"]
import math
import time

import matplotlib.pyplot as plt
import torch
from matplotlib.collections import LineCollection
from torch import nn
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import load_images, load_photograph
from dlcvkit.plotting import COLOURS, show_images
from dlcvkit.settings import is_fast

# %% [markdown]
# ## The data

# %% tags=["demo"]
if is_fast():
    data = load_images("cifar10", n_train=400, n_val=100, n_test=100)
else:
    data = load_images("cifar10", n_train=9000, n_val=1000, n_test=2000)
print(data.note)
torch.set_num_threads(1)  # every step below is too small to share between cores; sharing would take longer

# %% [markdown]
# ## 1. Which colours?
#
# Cut the range $[0, 1]$ of values into $B$ bins of equal width. Bin $b$ holds the values $v$ with
# $b/B \le v < (b+1)/B$; the last bin also holds $v = 1$, which would otherwise be left without a home. The colour
# histogram of $I$ is, for every channel $c$, the share of pixels in each bin:
#
# $$h_{cb} = \frac{1}{HW} \sum_{y, x} \mathbb{1}\!\left[\, \min(\lfloor B\, I_{cyx} \rfloor,\, B - 1) = b \,\right],
# \qquad h \text{ of shape } (C, B).$$
#
# Shares, not counts, so that a small image and a large one can be compared. Return $h$ as one row of $C\,B$ numbers, all
# bins of channel 0 first. Count by yourself: `torch.histc` and its relatives are not allowed, `torch.bincount` is.


# %% exercise="a1/color_histogram"
def color_histogram(img, bins):
    """Compute the share of pixels in each bin of each channel.

    Args:
        img: Image of shape (C, H, W), floating point in [0, 1]; not modified.
        bins: Number of bins per channel, at least 1.

    Returns:
        Tensor of shape (C * bins,), dtype and device of ``img``; entry ``c * bins + b`` is the share of the pixels of
        channel c with a value in [b / bins, (b + 1) / bins). The value 1 belongs to the last bin.
    """
    ### BEGIN SOLUTION
    index = (img * bins).long().clamp(max=bins - 1).flatten(1)
    shares = [torch.bincount(channel, minlength=bins) / channel.numel() for channel in index]
    return torch.cat(shares).to(img.dtype)
    ### END SOLUTION


# %% check="a1/color_histogram"
check("a1/color_histogram", color_histogram)

# %% [markdown]
# Two photographs and their histograms with 16 bins. In the second figure the pixels of the dahlia have been put in
# random order. Predict its histogram before you look.

# %% tags=["demo"]
flower = load_photograph("flower")
china = load_photograph("china")
shuffled_order = torch.randperm(flower[0].numel(), generator=torch.Generator().manual_seed(0))
shuffled = flower.flatten(1)[:, shuffled_order].reshape(flower.shape)

figure, axes = plt.subplots(2, 3, figsize=(10.5, 4.6), height_ratios=(1.4, 1), layout="constrained")
pictures = {"temple": china, "dahlia": flower, "dahlia, pixels shuffled": shuffled}
for column, (name, picture) in enumerate(pictures.items()):
    axes[0, column].imshow(picture.permute(1, 2, 0))
    axes[0, column].set_title(name, fontsize=10)
    axes[0, column].axis("off")
    histogram = color_histogram(picture, 16).reshape(3, 16)
    for row, colour, channel in zip(histogram, (COLOURS[1], COLOURS[2], COLOURS[0]), "RGB", strict=True):
        axes[1, column].stairs(row, torch.linspace(0, 1, 17), color=colour, lw=1.6, label=channel)
    axes[1, column].set_xlabel("value")
    axes[1, column].set_ylim(0, 0.75)
axes[1, 0].set_ylabel("share of pixels")
axes[1, 2].legend(frameon=False, ncols=3)
plt.show()

# %% [markdown] question="shuffled_pixels" points=2
# **Question 1 (2 points).** Shuffling the pixels of an image leaves its colour histogram exactly as it was. Name one
# change of a photograph for which this is welcome, and two classes of CIFAR-10 that a classifier on colour histograms
# alone will confuse because of it. Say why in each case.
#
# ### BEGIN MARK SCHEME
# *Model answer.* The histogram ignores where a colour is. Welcome: the object moves, or the image is mirrored or turned
# by 90 degrees; the same pixels occur at other places, so the feature stays (exactly for mirroring, nearly for a small
# shift). Confused: classes with the same colours in another arrangement, such as ship and airplane (blue background, grey
# object), automobile and truck, deer and horse, cat and dog: what tells them apart is shape, and shape is the
# arrangement of the pixels.
#
# *Rubric.* 1 point: a change that rearranges pixels (shift, mirroring, turning), with the reason. 1 point: two classes
# that share their colours and differ in shape, with the reason. Changes of brightness are no answer: they move values
# to other bins.
# ### END MARK SCHEME

# %% [markdown]
# ## 2. Which way do the edges run?
#
# ### Gradients
#
# Shape is where brightness changes. Let $G = \frac{1}{C} \sum_c I_c$ be the grey image. Its change along a row and along
# a column is measured between the two neighbours of each pixel,
#
# $$g^x_{yx} = G_{y,\,x+1} - G_{y,\,x-1}, \qquad g^y_{yx} = G_{y+1,\,x} - G_{y-1,\,x},$$
#
# all of shape $(H, W)$. Beyond the border the nearest pixel is repeated: $G_{y,-1} = G_{y,0}$ and so on. (Zeros there
# would draw a strong edge around every image.) Row numbers grow downwards, so $g^y > 0$ means brighter below.
#
# In polar form, with the *magnitude* $m$ and the *angle* $\theta$,
#
# $$m = \sqrt{(g^x)^2 + (g^y)^2}, \qquad \theta = \operatorname{atan2}(g^y, g^x) \bmod \pi \;\in [0, \pi).$$
#
# The angle is taken modulo $\pi$: a dark bar on white and a white bar on dark have opposite gradients but the same
# *orientation*, and for recognising a bar that is what counts. So $\pi$ itself becomes 0, and where $m = 0$ the angle
# is 0.


# %% exercise="a1/image_gradients"
def image_gradients(img):
    """Compute magnitude and orientation of the gradient of the grey image.

    Args:
        img: Image of shape (C, H, W), floating point; not modified. Grey is the mean over the channels.

    Returns:
        Tuple (magnitude, angle), each of shape (H, W), dtype and device of ``img``. Differences run over two pixels and
        are not divided; beyond the border the nearest pixel is repeated. Angles are in radians, in [0, pi).
    """
    ### BEGIN SOLUTION
    gray = img.mean(dim=0)
    wide = torch.cat([gray[:, :1], gray, gray[:, -1:]], dim=1)
    tall = torch.cat([gray[:1], gray, gray[-1:]], dim=0)
    gx = wide[:, 2:] - wide[:, :-2]
    gy = tall[2:] - tall[:-2]
    return torch.sqrt(gx**2 + gy**2), torch.atan2(gy, gx) % math.pi
    ### END SOLUTION


# %% check="a1/image_gradients"
check("a1/image_gradients", image_gradients)

# %% [markdown]
# On a photograph: the magnitude traces the outlines. On the right the angle is the hue and the magnitude the
# brightness, so edges of one orientation have one colour: both slopes of a roof differ, both sides of a pillar do not.

# %% tags=["demo"]
magnitude, angle = image_gradients(china)
colours = torch.stack([angle / math.pi, torch.ones_like(angle), (magnitude / 0.5).clamp(max=1)], dim=-1)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 2.7), layout="constrained")
axes[0].imshow(china.mean(0), cmap="gray")
axes[0].set_title("grey image G", fontsize=10)
axes[1].imshow(magnitude, cmap="magma", vmax=0.8)
axes[1].set_title("magnitude m", fontsize=10)
axes[2].imshow(plt.matplotlib.colors.hsv_to_rgb(colours.numpy()))
axes[2].set_title("angle θ as hue", fontsize=10)
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# ### Cells
#
# Cut the image into cells of $c \times c$ pixels, $\lfloor H/c \rfloor$ rows by $\lfloor W/c \rfloor$ columns of them;
# pixels left over at the right and at the bottom take no part. In each cell, make a histogram of the angles with $B$
# bins over $[0, \pi)$ in which every pixel votes with its magnitude. Inside a cell it no longer matters where an edge
# is: that is what makes the feature tolerant of small shifts.
#
# With hard bins an edge at 19.9° and one at 20.1° could fall into different bins and look unrelated. So each vote is
# shared. The centre of bin $b$ lies at $(b + \frac12)\,\pi/B$, and an angle between two centres gives each bin a share that
# falls linearly with the distance. In units of bins,
#
# $$p = \frac{\theta B}{\pi} - \frac12, \qquad \ell = \lfloor p \rfloor, \qquad
# \begin{aligned}
# \text{bin } \ell \bmod B &\text{ gets } m\,(1 - (p - \ell)),\\
# \text{bin } (\ell + 1) \bmod B &\text{ gets } m\,(p - \ell).
# \end{aligned}$$
#
# The modulo closes the circle: 179° and 1° are neighbours. Loops over cells and bins are allowed, but you will run this
# on thousands of images; `scatter_add_`, `index_add_`, or a one-hot product and one `reshape` do it without.


# %% exercise="a1/cell_histograms"
def cell_histograms(magnitude, angle, cell, bins):
    """Compute a histogram of orientations for every cell.

    Args:
        magnitude: Weight of each pixel's vote, shape (H, W), floating point; not modified.
        angle: Orientation of each pixel in [0, pi), shape (H, W); not modified.
        cell: Height and width of a cell in pixels, at most min(H, W).
        bins: Number of bins over [0, pi), at least 1; bin b has its centre at (b + 1/2) * pi / bins.

    Returns:
        Tensor of shape (H // cell, W // cell, bins), dtype and device of ``magnitude``: sums of magnitudes, each shared
        linearly between the two nearest bins around the circle.
    """
    ### BEGIN SOLUTION
    position = angle * bins / math.pi - 0.5
    lower = position.floor()
    share = position - lower
    index = lower.long()[..., None]
    votes = magnitude.new_zeros(*magnitude.shape, bins)
    votes.scatter_add_(2, index % bins, (magnitude * (1 - share))[..., None])
    votes.scatter_add_(2, (index + 1) % bins, (magnitude * share)[..., None])
    rows, columns = magnitude.shape[0] // cell, magnitude.shape[1] // cell
    whole = votes[: rows * cell, : columns * cell]
    return whole.reshape(rows, cell, columns, cell, bins).sum(dim=(1, 3))
    ### END SOLUTION


# %% check="a1/cell_histograms"
check("a1/cell_histograms", cell_histograms)

# %% [markdown]
# ### Blocks
#
# Double the contrast of an image and all its magnitudes double. To take this out, every $2 \times 2$ neighbouring cells form
# a *block*, a vector $v$ of $4B$ numbers: top left, top right, bottom left, bottom right, each with its $B$ bins in
# order. It is divided by its length,
#
# $$\hat v = \frac{v}{\sqrt{\lVert v \rVert^2 + \varepsilon^2}}, \qquad v \text{ of shape } (4B,).$$
#
# The small $\varepsilon$ keeps empty sky, where $v$ is nearly 0, from being blown up into noise. Blocks overlap: one starts
# at every cell but the last of a row or column. So each inner cell appears four times, measured against four
# different neighbourhoods. Write the length out: `torch.nn` with its `normalize` is off limits here.


# %% exercise="a1/normalize_blocks"
def normalize_blocks(cells, eps):
    """Join each 2x2 cells into a block and divide the block by its length.

    Args:
        cells: Histograms of shape (R, S, B), floating point, R and S at least 2; not modified.
        eps: Added, squared, to the squared length under the root; positive.

    Returns:
        Tensor of shape (R - 1, S - 1, 4 * B), dtype and device of ``cells``; the last axis holds the top left, top
        right, bottom left and bottom right cell.
    """
    ### BEGIN SOLUTION
    blocks = torch.cat([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], dim=2)
    return blocks / torch.sqrt((blocks**2).sum(dim=2, keepdim=True) + eps**2)
    ### END SOLUTION


# %% check="a1/normalize_blocks"
check("a1/normalize_blocks", normalize_blocks)

# %% [markdown]
# ### All three together
#
# Gradients, cells, blocks, and then everything in one row. For a CIFAR-10 image with cells of 8 pixels and 9 bins that is
# $4 \times 4$ cells, $3 \times 3$ blocks, and $3 \cdot 3 \cdot 4 \cdot 9 = 324$ numbers in place of 3072.


# %% exercise="a1/hog"
def hog(img, cell, bins, eps):
    """Compute the histogram of oriented gradients of an image.

    Args:
        img: Image of shape (C, H, W), floating point in [0, 1], H and W at least 2 * cell; not modified.
        cell: Height and width of a cell in pixels.
        bins: Number of orientation bins.
        eps: As for ``normalize_blocks``.

    Returns:
        Tensor of shape ((H // cell - 1) * (W // cell - 1) * 4 * bins,), dtype and device of ``img``: the blocks row by
        row.
    """
    ### BEGIN SOLUTION
    magnitude, angle = image_gradients(img)
    cells = cell_histograms(magnitude, angle, cell, bins)
    return normalize_blocks(cells, eps).flatten()
    ### END SOLUTION


# %% check="a1/hog"
check("a1/hog", hog)

# %% [markdown]
# ### What HOG sees
#
# Every cell is drawn as a star of $B$ strokes. A stroke runs *along* the edge, at a right angle to the gradient, and is
# as bright as its bin is full. Step back, or squint, and the shapes reappear.


# %% tags=["demo"]
def draw_cells(axis, cells, cell):
    """Draw histograms of shape (R, S, B) as stars on a black background."""
    rows, columns, bins = cells.shape
    strokes, colours = [], []
    for row in range(rows):
        for column in range(columns):
            for b in range(bins):
                along = (b + 0.5) * math.pi / bins + math.pi / 2
                dx, dy = 0.48 * cell * math.cos(along), 0.48 * cell * math.sin(along)
                x, y = (column + 0.5) * cell, (row + 0.5) * cell
                strokes.append([(x - dx, y - dy), (x + dx, y + dy)])
                colours.append((1, 1, 1, float(cells[row, column, b] / cells.max())))
    axis.set_facecolor("black")
    axis.add_collection(LineCollection(strokes, colors=colours, linewidths=1.4))
    axis.set(xlim=(0, columns * cell), ylim=(rows * cell, 0), aspect="equal", xticks=[], yticks=[])


figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.7), layout="constrained")
axes[0].imshow(flower.permute(1, 2, 0))
axes[0].axis("off")
draw_cells(axes[1], cell_histograms(*image_gradients(flower), 16, 9), 16)
plt.show()

first_of_each = [int((data.y_train == label).nonzero()[0]) for label in range(10)]
figure, axes = plt.subplots(2, 10, figsize=(10.5, 2.5), layout="constrained")
for column, i in enumerate(first_of_each):
    axes[0, column].imshow(data.x_train[i].permute(1, 2, 0))
    axes[0, column].set_title(data.classes[column], fontsize=9)
    axes[0, column].axis("off")
    draw_cells(axes[1, column], cell_histograms(*image_gradients(data.x_train[i]), 4, 9), 4)
plt.show()

# %% [markdown] question="hog_light" points=3
# **Question 2 (3 points).** An image $I$ is replaced by $aI + b$ with numbers $a > 0$ and $b$ (nothing is clipped).
# What becomes of $m$ and $\theta$, of the cells, and of the normalised blocks? Which of the two, $a$ or $b$, does HOG
# ignore exactly, and what is the part of $\varepsilon$ in the other? And what if $a = -1$?
#
# ### BEGIN MARK SCHEME
# *Model answer.* $b$ cancels in the differences. So $m$ becomes $a\,m$ and $\theta$ stays; the cells become $a$ times
# what they were; a block becomes $av / \sqrt{a^2 \lVert v \rVert^2 + \varepsilon^2}$. HOG ignores $b$ exactly. It would
# ignore $a$ exactly with $\varepsilon = 0$; with $\varepsilon > 0$ it nearly does where $a \lVert v \rVert \gg
# \varepsilon$ (and $\lVert v \rVert \gg \varepsilon$), while in flat regions, where $a\lVert v \rVert \ll \varepsilon$,
# the block still grows with $a$: noise stays small there. With $a = -1$, a negative, gradients turn around; $m$ is
# the same and so is $\theta$ modulo $\pi$: HOG does not change at all.
#
# *Rubric.* 1 point: $b$ drops out exactly, $m$ and the cells scale with $a$, $\theta$ stays. 1 point: blocks ignore $a$
# up to $\varepsilon$, and where $\varepsilon$ matters. 1 point: the negative has the same HOG, because angles are
# taken modulo $\pi$.
# ### END MARK SCHEME

# %% [markdown]
# ## 3. Whitening
#
# Neighbouring pixels are nearly equal, so a distance between patches counts the same brightness dozens of times and the
# fine structure hardly at all. *Whitening* changes the coordinates so that all directions have variance 1 and none are correlated.
#
# Let $X$ of shape $(N, D)$ hold one sample per row, $\mu = \frac1N \sum_i X_i$ of shape $(D,)$ its mean, and
#
# $$\Sigma = \frac{1}{N} (X - \mu)^\top (X - \mu) = V \Lambda V^\top, \qquad \Sigma, V \text{ of shape } (D, D),$$
#
# the covariance with its eigenvalues $\lambda_1 \ge \dots \ge \lambda_D \ge 0$ on the diagonal of $\Lambda$ and
# orthonormal eigenvectors in the *columns* of $V$. Direction $j$ has variance $\lambda_j$:
#
# $$\frac1N \sum_i \left((X_i - \mu)\, V_{:,j}\right)^2 = V_{:,j}^\top\, \Sigma\, V_{:,j} = \lambda_j .$$
#
# So keep the $k$ directions of largest variance, where most of the signal is, and divide each by its standard deviation:
#
# $$W_{:,j} = \frac{V_{:,j}}{\sqrt{\lambda_j + \varepsilon}}, \qquad Z = (X - \mu)\, W, \qquad
# W \text{ of shape } (D, k), \; Z \text{ of shape } (N, k).$$
#
# The columns of $Z$ are uncorrelated, and their variances are $\lambda_j / (\lambda_j + \varepsilon)$: nearly 1 where there is
# signal, less where there is little but noise. $\mu$ and $W$ are returned as well, because new data has to go through the
# *same* map.
#
# An eigenvector is determined up to its sign. To make the answer unique, let **the entry of largest absolute value in each
# column of $V$ be positive**. `torch.linalg.eigh(Σ)` gives eigenvalues from small to large;
# `torch.linalg.svd(X - μ)` gives $V^\top$ and singular values $s_j = \sqrt{N \lambda_j}$. Either will do.


# %% exercise="a1/pca_whiten"
def pca_whiten(X, k, eps):
    """Project data on its k principal directions and scale each to variance (nearly) 1.

    Args:
        X: Data of shape (N, D), floating point, one sample per row; not modified.
        k: Number of directions to keep, at most D, and at most max(N - 1, 1).
        eps: Added to each eigenvalue of the covariance; positive.

    Returns:
        Tuple (Z, mean, W), dtype and device of ``X``: Z = (X - mean) @ W of shape (N, k), mean of shape (D,), W of shape
        (D, k). Column j of W is the eigenvector of the j-th largest eigenvalue of the covariance (sum divided by N),
        divided by sqrt(eigenvalue + eps); its entry of largest absolute value is positive.
    """
    ### BEGIN SOLUTION
    mean = X.mean(dim=0)
    centred = X - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(X))
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    W = vectors * largest.sign() / torch.sqrt(values.clamp(min=0) + eps)
    return centred @ W, mean, W
    ### END SOLUTION


# %% check="a1/pca_whiten"
check("a1/pca_whiten", pca_whiten)

# %% [markdown]
# In two dimensions one can watch it: shift to the middle, rotate to the axes of the ellipse, scale to a circle.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(1)
cloud = torch.randn(400, 2, generator=generator) @ torch.tensor([[1.6, 0.9], [0.0, 0.35]]) + torch.tensor([2.0, 1.0])
whitened, cloud_mean, cloud_map = pca_whiten(cloud, 2, 1e-6)
directions = cloud_map / cloud_map.norm(dim=0)
stages = {
    "X": cloud,
    "centred: X - μ": cloud - cloud_mean,
    "rotated: (X - μ) V": (cloud - cloud_mean) @ directions,
    "whitened: Z": whitened,
}
figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.9), sharex=True, sharey=True, layout="constrained")
for axis, (name, points) in zip(axes, stages.items(), strict=True):
    axis.scatter(points[:, 0], points[:, 1], c=whitened[:, 0], cmap="viridis", s=8)
    axis.set_title(name, fontsize=10)
    axis.axhline(0, color="grey", lw=0.6)
    axis.axvline(0, color="grey", lw=0.6)
    axis.set(aspect="equal", xlim=(-7, 7), ylim=(-4.5, 4.5))
plt.show()

# %% [markdown]
# ## 4. A bag of visual words
#
# A text can be classified by counting its words, in any order. What are the words of an image? Take many small patches,
# cluster them into $K$ groups with k-means, and let each centroid $\mu_j$, of shape $(D,)$, be a word. A patch $P_i$ *is* the
# word it is nearest to,
#
# $$w_i = \arg\min_j \lVert P_i - \mu_j \rVert^2, \qquad
# h_j = \frac{1}{M} \sum_{i=1}^{M} \mathbb{1}[w_i = j], \qquad h \text{ of shape } (K,),$$
#
# and the bag $h$ says which share of the image's patches each word has. Of equally near words the one with the smaller index
# counts. You know the table of squared distances from the notebook on nearest neighbours; compute it without loops and
# without `torch.cdist`. (What does not depend on $j$ need not be computed at all.)


# %% exercise="a1/bag_of_visual_words"
def bag_of_visual_words(patches, centroids):
    """Compute the share of patches that is nearest to each visual word, without loops.

    Args:
        patches: Patches of one image as rows, shape (M, D), floating point, M at least 1; not modified.
        centroids: The words, shape (K, D), same dtype; not modified.

    Returns:
        Tensor of shape (K,), dtype and device of ``patches``, that sums to 1. Euclidean distance; ties go to the
        smaller index.
    """
    ### BEGIN SOLUTION
    costs = (centroids**2).sum(dim=1) - 2 * patches @ centroids.T
    counts = torch.bincount(costs.argmin(dim=1), minlength=len(centroids))
    return counts.to(patches.dtype) / len(patches)
    ### END SOLUTION


# %% check="a1/bag_of_visual_words"
check("a1/bag_of_visual_words", bag_of_visual_words)

# %% [markdown]
# ### Finding the words
#
# `cut_patches` is given: it cuts all patches of 6×6 pixels whose corners lie on a grid, and brings each to mean 0 and
# nearly standard deviation 1, so that a word means a pattern and not a brightness. The patches are whitened with *your*
# `pca_whiten`, and scikit-learn's k-means clusters them. Only training images take part.


# %% tags=["demo"]
def cut_patches(img, size=6, stride=2):
    """Return the patches of an image (C, H, W) as a grid of rows, shape (R, S, C * size * size), contrast-normalised."""
    grid = img.unfold(1, size, stride).unfold(2, size, stride).permute(1, 2, 0, 3, 4).flatten(2)
    centred = grid - grid.mean(dim=2, keepdim=True)
    return centred / (centred.square().mean(dim=2, keepdim=True) + 0.03**2).sqrt()


from sklearn.cluster import MiniBatchKMeans

generator = torch.Generator().manual_seed(0)
samples = []
for img in tqdm(data.x_train[: 300 if is_fast() else 3000], desc="cutting patches"):
    patches = cut_patches(img, stride=1).flatten(0, 1)
    samples.append(patches[torch.randint(len(patches), (10,), generator=generator)])
samples = torch.cat(samples)

start = time.perf_counter()
white, patch_mean, patch_map = pca_whiten(samples, 40, 0.01)
clustering = MiniBatchKMeans(n_clusters=100, batch_size=2048, n_init=3, max_iter=40, random_state=0).fit(white.numpy())
centroids = torch.from_numpy(clustering.cluster_centers_).to(white.dtype)
kept = (patch_map.norm(dim=0) ** -2 - 0.01).sum() / (samples - patch_mean).square().sum(1).mean()
print(f"{len(samples):,} patches of {samples.shape[1]} numbers; 40 directions keep {100 * kept:.1f} % of the variance")
print(f"{len(centroids)} words in {time.perf_counter() - start:.1f} s")


def as_pictures(rows):
    """Stretch each row, a pattern around 0, to an image (3, 6, 6) around mid-grey."""
    return 0.5 + 0.5 * (rows / rows.abs().amax(dim=1, keepdim=True)).reshape(-1, 3, 6, 6)


show_images(as_pictures(patch_map.T[:20]), columns=20, size=0.52, title="the first 20 principal directions")

# %% [markdown]
# On photographs the directions come out as waves of growing frequency, most of them in brightness, some between blue and
# orange or green and purple. Undoing the whitening shows the words themselves: edges of all orientations, bars, corners,
# and plain colours. Nobody drew them; the first layer of a trained network looks much like this (stages a2 and a3).

# %% tags=["demo"]
most_used_first = torch.bincount(torch.from_numpy(clustering.labels_).long(), minlength=100).argsort(descending=True)
undo = torch.linalg.pinv(patch_map)
words = as_pictures(centroids[most_used_first] @ undo + patch_mean)
show_images(words, columns=20, size=0.52, title="the hundred words, most frequent first")

# %% [markdown]
# A bag says nothing about places. To keep a little of it, each quarter of the image gets a bag of its own: $4 \cdot 100$
# numbers per image.


# %% tags=["demo"]
def bags_of_quarters(img):
    """Return the bags of the four quarters of an image (C, H, W), shape (4 * K,)."""
    white = (cut_patches(img) - patch_mean) @ patch_map
    rows, columns = white.shape[0] // 2, white.shape[1] // 2
    quarters = [white[:rows, :columns], white[:rows, columns:], white[rows:, :columns], white[rows:, columns:]]
    return torch.cat([bag_of_visual_words(quarter.flatten(0, 1), centroids) for quarter in quarters])


figure, axes = plt.subplots(3, 2, figsize=(10.5, 4.2), width_ratios=(1, 7), layout="constrained")
for row, i in enumerate(first_of_each[:3]):
    axes[row, 0].imshow(data.x_train[i].permute(1, 2, 0))
    axes[row, 0].axis("off")
    patches = (cut_patches(data.x_train[i]).flatten(0, 1) - patch_mean) @ patch_map
    axes[row, 1].bar(range(100), bag_of_visual_words(patches, centroids)[most_used_first], color=COLOURS[0], width=0.9)
    axes[row, 1].set_title(data.classes[int(data.y_train[i])], fontsize=9, loc="left")
    axes[row, 1].set_ylabel("share")
    axes[row, 1].margins(x=0.01)
axes[2, 1].set_xlabel("word, most frequent first")
plt.show()

# %% [markdown] question="train_only" points=2
# **Question 3 (2 points).** `patch_mean`, `patch_map` and `centroids` are computed from training images and then used,
# unchanged, for validation and test images. Why not compute them from all images, or from each split by itself? No label
# is involved.
#
# ### BEGIN MARK SCHEME
# *Model answer.* From all images: then the test images have had a part in making the features, and the test accuracy is
# no longer that of images the system has never met; it may come out too good, labels or not. From each split by itself:
# then feature $j$ means one thing in training and another in testing (other directions, other signs and order, other words),
# and a classifier trained on the first cannot read the second. A single new image has no statistics of its own at all.
#
# *Rubric.* 1 point: the test set must not influence what is being tested (leakage). 1 point: training and test must go
# through the same map, or the columns do not mean the same.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. The same classifiers on better input
#
# Now compute the features of all images and train twice: a linear softmax classifier (as in *linear_training*, here
# with torch's own layers), and a small net with one hidden layer, which stage a2 takes apart. Every feature is
# standardised with the training images' mean and standard deviation, or else large numbers would dominate.

# %% tags=["demo"]
makers = {
    "colour": lambda img: color_histogram(img, 8),
    "HOG": lambda img: hog(img, 8, 9, 0.1),
    "words": bags_of_quarters,
}
splits = {"train": data.x_train, "val": data.x_val, "test": data.x_test}
features = {"pixels": {split: images.flatten(1) for split, images in splits.items()}}
for name, make in makers.items():
    start = time.perf_counter()
    features[name] = {
        split: torch.stack([make(img) for img in tqdm(images, desc=f"{name}, {split}", leave=False)])
        for split, images in splits.items()
    }
    size = features[name]["train"].shape[1]
    print(f"{name:8} {size:4} numbers per image, {time.perf_counter() - start:5.1f} s")
everything = {split: torch.cat([features[name][split] for name in makers], dim=1) for split in splits}
features["all three"] = everything


# %% tags=["demo"]
def standardised(parts):
    mean, std = parts["train"].mean(0), parts["train"].std(0).clamp(min=1e-3)
    return {split: (rows - mean) / std for split, rows in parts.items()}


def train(model, parts, steps, learning_rate, weight_decay, name):
    """Train with Adam on random batches of 256; return the validation accuracy every tenth of the way."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(0)
    curve = []
    for step in tqdm(range(1, steps + 1), desc=name, leave=False):
        rows = torch.randint(len(data.y_train), (256,), generator=generator)
        loss = nn.functional.cross_entropy(model(parts["train"][rows]), data.y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % (steps // 10) == 0:
            curve.append((step, accuracy(model, parts["val"], data.y_val)))
    return curve


def accuracy(model, rows, y):
    model.eval()
    with torch.no_grad():
        share = (model(rows).argmax(1) == y).double().mean().item()
    model.train()
    return share


steps = 100 if is_fast() else 1000
results, curves = {}, {}
for name, parts in features.items():
    torch.manual_seed(0)
    parts = standardised(parts)
    model = nn.Linear(parts["train"].shape[1], 10)
    curve = train(model, parts, steps, 1e-3, 0.1, f"softmax on {name}")
    results[f"softmax on {name}"] = (accuracy(model, parts["val"], data.y_val), model, parts)

curves["softmax on all three"] = curve

parts = standardised(everything)
torch.manual_seed(0)
net = nn.Sequential(
    nn.Dropout(0.3), nn.Linear(parts["train"].shape[1], 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)
)
curves["net on all three"] = train(net, parts, steps, 1e-3, 0.05, "net on all three")
results["net on all three"] = (accuracy(net, parts["val"], data.y_val), net, parts)
for name, (share, *_) in results.items():
    print(f"{name:22} {100 * share:5.1f} % of the validation images")

# %% [markdown]
# The validation images have done their work; now the test images, once.

# %% tags=["demo"]
tested = {name: accuracy(model, parts["test"], data.y_test) for name, (_, model, parts) in results.items()}
figure, (axis, right) = plt.subplots(1, 2, figsize=(10.5, 3), width_ratios=(1.7, 1), layout="constrained")
bars = axis.barh(list(tested), [100 * share for share in tested.values()], color=[COLOURS[0]] * 5 + [COLOURS[1]])
axis.bar_label(bars, fmt="%.1f %%", padding=4)
axis.axvline(10, color="grey", ls="--", lw=0.9)
axis.text(10.4, -0.85, "guessing", color="grey", fontsize=8)
axis.invert_yaxis()
axis.set_xlim(0, max(100 * share for share in tested.values()) * 1.2)
axis.set_xlabel(f"test accuracy on {data.name}, percent")
axis.spines[["top", "right"]].set_visible(False)
for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
    right.plot([step for step, _ in curve], [100 * share for _, share in curve], "o-", ms=3, color=colour, label=name)
right.set_xlabel("step")
right.set_ylabel("validation accuracy, percent")
right.legend(frameon=False, fontsize=8)
right.grid(alpha=0.3)
plt.show()

# %% [markdown]
# Measured with 9,000 training and 2,000 test images, percent right, one run each:
#
# | classifier | CIFAR-10 | drawn shapes |
# | --- | --- | --- |
# | softmax on pixels | 33 | 35 |
# | softmax on colour | 25 | 18 |
# | softmax on HOG | 51 | 73 |
# | softmax on words | 49 | 69 |
# | softmax on all three | 57 | 80 |
# | net on all three | 64 | 93 |
#
# Expect at least 42 % for the linear classifier and 48 % for the net; the whole notebook took 40 s of processor time.
# Colour alone does worse than the pixels, but it adds to the edges, because it knows what they do not; on the drawn
# shapes, whose colours are random, it is worth little. The net makes more of the same 748 numbers than the linear
# classifier does, and the next stages go further: they learn the features too.
#
# ### Where it is wrong

# %% tags=["demo"]
with torch.no_grad():
    net.eval()
    predicted = net(parts["test"]).argmax(1)
confusion = torch.zeros(10, 10)
confusion.index_put_((data.y_test, predicted), torch.ones(len(predicted)), accumulate=True)
confusion = 100 * confusion / confusion.sum(1, keepdim=True)
figure, axis = plt.subplots(figsize=(6.2, 5), layout="constrained")
picture = axis.imshow(confusion, cmap="Blues", vmin=0)
for i in range(10):
    for j in range(10):
        shade = "white" if confusion[i, j] > 0.6 * confusion.max() else "black"
        axis.text(j, i, f"{confusion[i, j]:.0f}", ha="center", va="center", fontsize=8, color=shade)
axis.set_xticks(range(10), data.classes, rotation=40, ha="right")
axis.set_yticks(range(10), data.classes)
axis.set_xlabel("predicted")
axis.set_ylabel("true class")
axis.set_title("of each true class, percent predicted as", fontsize=10)
plt.show()

sheet = torch.ones(4, 10, *data.x_test.shape[1:])  # white where a class has fewer than four
for label in range(10):
    mistaken = data.x_test[(predicted == label) & (data.y_test != label)][:4]
    sheet[: len(mistaken), label] = mistaken
show_images(sheet.flatten(0, 1), [*data.classes, *[""] * 30], title="each wrongly taken for the class above it")

# %% [markdown] question="mistakes" points=2
# **Question 4 (2 points).** Choose two of the commonest confusions in the table. For each, name one of the three
# features that should tell the two classes apart and say why it does not here, or name what information none of the three
# holds.
#
# ### BEGIN MARK SCHEME
# *Model answer.* On CIFAR-10, for example: cat and dog have the same colours, similar outlines and fur in both, so no
# feature separates them; what would is the fine shape of ears and muzzle, and cells of 8 pixels blur that. Airplane and
# ship: both grey on blue, so the colour histogram says the same; HOG sees a long horizontal outline in both.
# Truck and automobile: man-made, any colour, horizontal and vertical edges; the height of the box is a matter of places,
# which cells keep only coarsely. On the drawn shapes: pairs that differ in the number of corners only, or by a
# rotation that the coarse orientation bins cannot resolve.
#
# *Rubric.* 1 point per confusion: it is among the large off-diagonal entries of the student's table, and the reason names
# what the feature keeps or loses (place, orientation, colour, scale), not just "they look alike".
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Navneet Dalal, Bill Triggs: *Histograms of oriented gradients for human detection*, 2005 (CVPR). The original; it
#   tries out every choice you made here, one at a time.
# - David Lowe: *Distinctive image features from scale-invariant keypoints*, 2004 (International Journal of Computer
#   Vision 60). SIFT: orientation histograms around points that can be found again.
# - Gabriella Csurka, Christopher Dance, Lixin Fan, Jutta Willamowski, Cédric Bray: *Visual categorization with bags of
#   keypoints*, 2004 (ECCV workshop on statistical learning in computer vision).
# - Svetlana Lazebnik, Cordelia Schmid, Jean Ponce: *Beyond bags of features: spatial pyramid matching for recognizing
#   natural scene categories*, 2006 (CVPR). Bags with places, as in the quarters above.
# - Adam Coates, Honglak Lee, Andrew Ng: *An analysis of single-layer networks in unsupervised feature learning*, 2011
#   (AISTATS). Whitened patches and k-means reach 80 % on CIFAR-10, given 4000 words and a softer assignment.

# %%
check.summary()
