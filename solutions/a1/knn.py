# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # k-nearest neighbours
#
# The simplest classifier there is remembers every training image and, asked about a new one, looks up the most similar
# ones and lets them vote. It learns nothing, and yet it teaches three things that stay with us to the last notebook:
#
# - **whole-tensor code**: you will compute the same table of distances with two loops, with one and with none, and
#   watch the time fall from seconds to hundredths of a second;
# - **distance is a choice**: what counts as "similar" decides what the classifier can see, and pixels are a poor choice;
# - **hyperparameters are chosen on held-out data**: you will pick $k$ by cross-validation, and open the test set once.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $X$ | training images, one per row | $(N, D)$ |
# | $Z$ | test images, one per row | $(M, D)$ |
# | $y$ | labels of the training images | $(N,)$ |
# | $d$ | squared distances, test by training | $(M, N)$ |
#
# An image of $C \times H \times W$ numbers is a row of $D = C\,H\,W$; `images.flatten(1)` turns one into the other.

# %% tags=["setup"]
import time

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import load_images
from dlcvkit.plotting import draw_accuracies, draw_regions, show_images
from dlcvkit.settings import is_fast

# %% [markdown]
# ## The data
#
# With CIFAR-10 downloaded you work on photographs of ten classes, 32×32 pixels each; without it, on drawn shapes of the
# same size. The line below the cell says which. Nothing else in this notebook changes.

# %% tags=["demo"]
data = load_images("cifar10", n_train=500 if is_fast() else 5000, n_test=100 if is_fast() else 500)
print(data.note)
print("train", tuple(data.x_train.shape), " test", tuple(data.x_test.shape))
first_of_each = torch.stack([(data.y_train == label).nonzero()[:4, 0] for label in range(10)], dim=1).flatten()
show_images(data.x_train[first_of_each], [data.classes[label] for label in range(10)] + [""] * 30)

# %% [markdown]
# ## 1. Distances
#
# The squared Euclidean distance between test image $Z_i$ and training image $X_j$, both of shape $(D,)$, adds up the
# squared differences of their pixels:
#
# $$d_{ij} = \sum_{p=1}^{D} (Z_{ip} - X_{jp})^2 .$$
#
# We leave the square root out. It would not change which neighbour is nearest, and what is not computed costs nothing.
# Ready-made distances such as `torch.cdist`, and everything in `torch.nn`, are off limits in this notebook's exercises.
#
# ### Two loops
#
# Write it down as the formula reads: for every test image, for every training image. Images may come as
# $(N, C, H, W)$ or as rows already, so flatten all axes but the first.


# %% exercise="a1/knn_two_loops"
def compute_distances_two_loops(x_train, x_test):
    """Compute squared Euclidean distances with a loop over test and one over training images.

    Args:
        x_train: Training images of shape (N, ...).
        x_test: Test images of shape (M, ...), the same trailing shape.

    Returns:
        Tensor of shape (M, N), dtype and device as the inputs; entry [i, j] belongs to test image i and training
        image j. No square root.
    """
    ### BEGIN SOLUTION
    train_rows, test_rows = x_train.flatten(1), x_test.flatten(1)
    dists = x_train.new_zeros(len(test_rows), len(train_rows))
    for i in range(len(test_rows)):
        for j in range(len(train_rows)):
            dists[i, j] = ((test_rows[i] - train_rows[j]) ** 2).sum()
    return dists
    ### END SOLUTION


# %% check="a1/knn_two_loops"
check("a1/knn_two_loops", compute_distances_two_loops)

# %% [markdown]
# ### One loop
#
# Broadcasting takes one loop away: $X - Z_i$ subtracts the row $Z_i$, shape $(D,)$, from every row of $X$, shape
# $(N, D)$, and one sum over the pixel axis gives a whole row of $d$.


# %% exercise="a1/knn_one_loop"
def compute_distances_one_loop(x_train, x_test):
    """Compute squared Euclidean distances with one loop over the test images.

    Args:
        x_train: Training images of shape (N, ...).
        x_test: Test images of shape (M, ...), the same trailing shape.

    Returns:
        Tensor of shape (M, N), as from ``compute_distances_two_loops``.
    """
    ### BEGIN SOLUTION
    train_rows, test_rows = x_train.flatten(1), x_test.flatten(1)
    dists = x_train.new_zeros(len(test_rows), len(train_rows))
    for i in range(len(test_rows)):
        dists[i] = ((train_rows - test_rows[i]) ** 2).sum(dim=1)
    return dists
    ### END SOLUTION


# %% check="a1/knn_one_loop"
check("a1/knn_one_loop", compute_distances_one_loop)

# %% [markdown]
# ### No loop
#
# Taking the second loop away by broadcasting alone would make a tensor of shape $(M, N, D)$: for 500 test and 5000
# training images of 3072 numbers, 31 GB in float32. Expanding the square avoids it:
#
# $$d_{ij} = \underbrace{\sum_p Z_{ip}^2}_{(M,\,1)} \;+\; \underbrace{\sum_p X_{jp}^2}_{(N,)} \;-\;
# 2 \underbrace{\sum_p Z_{ip} X_{jp}}_{(M,\,N)} .$$
#
# The last term is a matrix product, $Z X^\top$, the operation that every processor is best at. The first two are a
# column and a row; broadcasting spreads them over the table.


# %% exercise="a1/knn_no_loops"
def compute_distances_no_loops(x_train, x_test):
    """Compute squared Euclidean distances with one matrix product and two broadcast sums.

    Args:
        x_train: Training images of shape (N, ...).
        x_test: Test images of shape (M, ...), the same trailing shape.

    Returns:
        Tensor of shape (M, N), as from ``compute_distances_two_loops``.
    """
    ### BEGIN SOLUTION
    train_rows, test_rows = x_train.flatten(1), x_test.flatten(1)
    test_squares = (test_rows**2).sum(dim=1, keepdim=True)
    train_squares = (train_rows**2).sum(dim=1)
    return test_squares + train_squares - 2 * test_rows @ train_rows.T
    ### END SOLUTION


# %% check="a1/knn_no_loops"
check("a1/knn_no_loops", compute_distances_no_loops)

# %% [markdown]
# ### How much does it matter?
#
# The next cell times the three versions, on 200 test and 5000 training images (fewer in fast mode). In one published
# run with NumPy, on 500 test images, the two loops took 15.3 s, one loop 29.6 s and none 0.46 s. The surprise is in the middle: the version
# with one loop can be the *slowest*. It writes three tables of $N \times D$ numbers per test image, 61 MB each, far more
# than a processor's cache holds, while the inner loop of the first version works on two rows that stay in the cache.
# With torch on two free cores we measured 12.0 s, 11.8 s and 0.07 s: taking one loop away gained nothing, and when other
# programs compete for the memory, that version falls behind. Fewer loops are not the aim; less traffic with memory is.

# %% tags=["demo"]
versions = {
    "two loops": compute_distances_two_loops,
    "one loop": compute_distances_one_loop,
    "no loops": compute_distances_no_loops,
}
tables = {}
for name, version in tqdm(versions.items(), desc="timing"):
    start = time.perf_counter()
    tables[name] = version(data.x_train, data.x_test[:200])
    print(f"{name:10} {time.perf_counter() - start:8.3f} s")
worst = max((tables[name] - tables["two loops"]).abs().max() for name in tables)
print(f"largest difference between the tables: {worst:.2g}, of distances around {tables['two loops'].mean():.0f}")

# %% [markdown]
# ### The table as a picture
#
# Each row is a test image, each column a training image; bright means far. There is structure in it: look at the rows
# and columns that stand out.

# %% tags=["demo"]
dists = compute_distances_no_loops(data.x_train, data.x_test)
figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
picture = axis.imshow(dists[:100, :400].sqrt(), cmap="magma", aspect="auto", interpolation="nearest")
axis.set_xlabel("training image")
axis.set_ylabel("test image")
figure.colorbar(picture, label="distance")
plt.show()

far, near = dists.mean(1).argsort(descending=True), dists.mean(1).argsort()
show_images(
    data.x_test[torch.cat([far[:8], near[:8]])],
    columns=8,
    title="test images of the brightest rows (top) and of the darkest (bottom)",
)

# %% [markdown] question="bright_rows" points=2
# **Question 1 (2 points).** Some rows of the distance picture are bright throughout, and so are some columns. What
# property of an image makes its row bright? What makes a column bright?
#
# ### BEGIN MARK SCHEME
# *Model answer.* A bright row is a test image that is far from nearly every training image: its pixel values are
# unlike the usual ones, for example because it is very bright, very dark or of high contrast (a white background against
# a data set of mid-grey averages), so $\sum_p (Z_{ip} - X_{jp})^2$ is large whatever $j$. A bright column is the same
# for a training image: it is unlike all test images.
#
# *Rubric.* 1 point: a row belongs to one test image that is far from almost all training images, a column to one
# training image that is far from almost all test images. 1 point: names a property of the pixels that causes it
# (unusual brightness, contrast or colour; noise), not "it has another class".
# ### END MARK SCHEME

# %% [markdown]
# ## 2. Another distance
#
# The L1 or Manhattan distance adds up absolute differences instead of squares,
#
# $$d^{(1)}_{ij} = \sum_{p=1}^{D} \lvert Z_{ip} - X_{jp} \rvert ,$$
#
# so one pixel that is far off weighs less. There is no expansion with a matrix product for it; broadcasting to
# $(M, N, D)$ is the way, and its memory the price.


# %% exercise="a1/l1_distances"
def l1_distances(x_train, x_test):
    """Compute L1 distances without loops.

    Args:
        x_train: Training images of shape (N, ...).
        x_test: Test images of shape (M, ...), the same trailing shape.

    Returns:
        Tensor of shape (M, N), dtype and device as the inputs.
    """
    ### BEGIN SOLUTION
    train_rows, test_rows = x_train.flatten(1), x_test.flatten(1)
    return (test_rows[:, None, :] - train_rows[None, :, :]).abs().sum(dim=2)
    ### END SOLUTION


# %% check="a1/l1_distances"
check("a1/l1_distances", l1_distances)

# %% [markdown] question="l1_invariance" points=3
# **Question 2 (3 points).** Before classifying with the L1 distance, someone changes all images, training and test
# alike. Which of these changes leave the *predictions* of the nearest-neighbour classifier as they were, and why?
#
# 1. Subtract one number, the mean $\mu$ over all pixels of all images, from every pixel.
# 2. Subtract from each pixel position $p$ its own mean $\mu_p$ over the training images.
# 3. Divide every pixel by one number, the standard deviation $\sigma > 0$ over everything.
# 4. Divide each pixel position by its own standard deviation $\sigma_p$.
# 5. Rotate every image by 90 degrees.
# 6. Replace every value $v$ by $v^2$.
#
# ### BEGIN MARK SCHEME
# *Model answer.* 1, 2, 3 and 5 leave them. Shifts (1, 2) cancel in $Z_{ip} - X_{jp}$, also when each position has a
# shift of its own. Dividing by one number (3) divides all distances by $\sigma$ and keeps their order. Rotating (5) by
# 90 degrees permutes the pixels of every image alike, and the sum does not care about the order. Dividing by $\sigma_p$
# (4) weighs the positions anew and can change the order; so can squaring (6), which stretches differences between
# bright pixels.
#
# *Rubric.* Half a point for each of the six that is decided rightly with a reason.
# ### END MARK SCHEME

# %% [markdown]
# ## 3. The vote
#
# For test image $i$, take the $k$ training images with the smallest $d_{ij}$ and count their labels. The label with the
# most votes wins; among equals the smaller label wins, so that the answer is defined and you can compare yours with
# anyone's.


# %% exercise="a1/predict_labels"
def predict_labels(dists, y_train, k):
    """Let the k nearest training images vote.

    Args:
        dists: Distances of shape (M, N), floating point.
        y_train: int64 labels of the training images, shape (N,), each at least 0.
        k: Number of neighbours that vote, between 1 and N.

    Returns:
        Integer tensor of shape (M,): the most frequent label among the k nearest; of equally frequent ones the
        smallest.
    """
    ### BEGIN SOLUTION
    nearest = dists.topk(k, dim=1, largest=False).indices
    labels = y_train[nearest]
    votes = torch.zeros(len(dists), int(y_train.max()) + 1, dtype=torch.int64, device=dists.device)
    votes.scatter_add_(1, labels, torch.ones_like(labels))
    return votes.argmax(dim=1)
    ### END SOLUTION


# %% check="a1/predict_labels"
check("a1/predict_labels", predict_labels)

# %% [markdown]
# ### What k does
#
# In two dimensions one can see the classifier. Sixty points in three classes, with a few stray ones; each background
# colour is the label that the classifier would give to a point there. With $k = 1$ every stray point owns an island.
# As $k$ grows the islands drown and the borders become smooth, and where the votes are split they fray.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(3)
toy_y = torch.arange(60) % 3
centres = torch.tensor([[0.0, 0.0], [2.2, 0.4], [0.8, 2.0]])
toy_x = centres[toy_y] + 0.85 * torch.randn(60, 2, generator=generator)

figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
for axis, k in zip(axes, (1, 3, 5), strict=True):
    draw_regions(
        axis, lambda points, k=k: predict_labels(compute_distances_no_loops(toy_x, points), toy_y, k), toy_x, toy_y
    )
    axis.set_title(f"k = {k}")
plt.show()

# %% [markdown] question="k_one_on_train" points=2
# **Question 3 (2 points).** With $k = 1$ the classifier labels its own training set without error, provided that no two
# training images are equal. Why? What does this say about accuracy on the training set as a way to choose $k$?
#
# ### BEGIN MARK SCHEME
# *Model answer.* Every training image is its own nearest neighbour: $d_{jj} = 0$ and all other distances are larger. So
# it votes for its own label. Training accuracy is 100 % for $k = 1$ whatever the data, and would always choose $k = 1$;
# it says nothing about new images. $k$ has to be chosen on images that the classifier has not stored.
#
# *Rubric.* 1 point: distance zero to itself, so its own label wins. 1 point: training accuracy is no guide to accuracy
# on new images, so held-out data is needed.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. Choosing k by cross-validation
#
# The test set is opened once, at the very end. To compare values of $k$ we hold out part of the *training* set. In
# $F$-fold cross-validation the $N$ training images are cut into $F$ parts; each part is held out once while the others
# serve as training set, so each $k$ gets $F$ accuracies, and their spread shows how far to trust the mean.
#
# When $F$ does not divide $N$ the parts differ in size by at most one image: none is lost.


# %% exercise="a1/kfold_indices"
def kfold_indices(n, folds):
    """Cut the indices 0 .. n - 1 into folds.

    Args:
        n: Number of images, at least ``folds``.
        folds: Number of parts, at least 2.

    Returns:
        List of ``folds`` pairs (train, val) of int64 tensors of one dimension: ``val`` holds the indices of one part,
        ``train`` all others. Every index is in exactly one ``val``; the parts differ in size by at most 1.
    """
    ### BEGIN SOLUTION
    parts = torch.arange(n).tensor_split(folds)
    pairs = []
    for held_out in range(folds):
        others = [part for number, part in enumerate(parts) if number != held_out]
        pairs.append((torch.cat(others), parts[held_out]))
    return pairs
    ### END SOLUTION


# %% check="a1/kfold_indices"
check("a1/kfold_indices", kfold_indices)

# %% [markdown]
# Now put the pieces together. For this function let fold $i$ hold out the $i$-th *consecutive* block of indices, the
# first blocks being one longer where the division leaves a rest; `torch.arange(n).tensor_split(folds)` cuts like that.
# The table of distances does not depend on $k$, so compute it once per fold.


# %% exercise="a1/knn_cross_validate"
def knn_cross_validate(x, y, folds, k_choices):
    """Measure the accuracy of every k on every fold.

    Args:
        x: Images of shape (N, ...).
        y: int64 labels of shape (N,).
        folds: Number of consecutive folds, at least 2.
        k_choices: Values of k to try, each at most the size of the smallest training part.

    Returns:
        Dict from k to the list of its ``folds`` accuracies, each between 0 and 1, in the order of the held-out blocks.
        Squared Euclidean distances; ties as in ``predict_labels``.
    """
    ### BEGIN SOLUTION
    parts = torch.arange(len(x), device=x.device).tensor_split(folds)
    accuracies = {k: [] for k in k_choices}
    for held_out in range(folds):
        val = parts[held_out]
        train = torch.cat([part for number, part in enumerate(parts) if number != held_out])
        dists = compute_distances_no_loops(x[train], x[val])
        for k in k_choices:
            is_right = predict_labels(dists, y[train], k) == y[val]
            accuracies[k].append(is_right.double().mean().item())
    return accuracies
    ### END SOLUTION


# %% check="a1/knn_cross_validate"
check("a1/knn_cross_validate", knn_cross_validate)


# %% exercise="a1/knn_best_k"
def knn_best_k(accuracies):
    """Choose the k with the best mean accuracy.

    Args:
        accuracies: Dict from k to the list of its accuracies, as from ``knn_cross_validate``.

    Returns:
        The k whose mean is highest; of equally good ones the smallest.
    """
    ### BEGIN SOLUTION
    means = {k: sum(row) / len(row) for k, row in accuracies.items()}
    return min(means, key=lambda k: (-means[k], k))
    ### END SOLUTION


# %% check="a1/knn_best_k"
check("a1/knn_best_k", knn_best_k)

# %% [markdown]
# ### The curve
#
# Each dot is one fold. Expect the folds of one $k$ to differ more than the means of neighbouring $k$ do: the choice
# among good values is not critical, and a difference smaller than the spread is no evidence.

# %% tags=["demo"]
k_choices = [1, 3, 5, 8, 10, 12, 15, 20, 50, 100]
accuracies = knn_cross_validate(data.x_train, data.y_train, 5, k_choices)
best_k = knn_best_k(accuracies)

figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
draw_accuracies(axis, accuracies, xlabel="k")
axis.set_xscale("log")
axis.set_xticks(k_choices, [str(k) for k in k_choices])
axis.minorticks_off()
axis.set_title(f"5-fold cross-validation: best k = {best_k}")
plt.show()

# %% [markdown]
# ## 5. The test set, once
#
# Now $k$ is fixed, and the test images are used for the first time. With 5000 training and 500 test images of CIFAR-10
# expect 26–29 % (measured: $k = 10$, 27.6 %), where guessing gives 10 %. On the drawn shapes expect about 37 %
# (measured: $k = 20$, 36.8 %).
# A published run with the L1 distance and all 50,000 training images reaches 38.6 %.

# %% tags=["demo"]
predictions = predict_labels(dists, data.y_train, best_k)
accuracy = (predictions == data.y_test).double().mean().item()
print(
    f"{data.name}: k = {best_k}, test accuracy {100 * accuracy:.1f} %, guessing gives {100 / len(data.classes):.0f} %"
)

shown = torch.arange(6)
neighbours = dists[shown].topk(7, dim=1, largest=False).indices
rows = torch.cat([torch.cat([data.x_test[i : i + 1], data.x_train[neighbours[i]]]) for i in shown])
names = []
for i in shown:
    names += [f"? {data.classes[int(data.y_test[i])]}"] + [
        data.classes[int(label)] for label in data.y_train[neighbours[i]]
    ]
show_images(rows, names, columns=8, title="test images (left) and their seven nearest training images")

# %% [markdown]
# Look along the rows: neighbours share background and overall colour much more than the object. Squared pixel
# differences have no idea what a thing is; moving an image by two pixels can cost more than exchanging a frog for a deer.
# The notebook *features* improves what is compared, and from stage a2 on the features are learned.

# %% [markdown]
# ### Why more images do not save us
#
# How does the distance to the *nearest* of $N$ random points compare with the *average* distance, as the dimension $D$
# grows? Below, points are drawn uniformly from the unit cube $[0, 1]^D$.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
dimensions = [1, 2, 5, 10, 30, 100, 300, 1000, 3072]
ratios = {}
for n in (100, 1000) if is_fast() else (100, 1000, 5000):
    ratios[n] = []
    for d in dimensions:
        points = torch.rand(n, d, generator=generator)
        queries = torch.rand(50, d, generator=generator)
        roots = compute_distances_no_loops(points, queries).clamp(min=0).sqrt()
        ratios[n].append((roots.amin(1) / roots.mean(1)).mean().item())

figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
for n, ratio in ratios.items():
    axis.plot(dimensions, ratio, marker="o", ms=4, label=f"N = {n}")
axis.axhline(1, color="grey", lw=0.8, ls="--")
axis.set_xscale("log")
axis.set_xticks(dimensions, [str(d) for d in dimensions])
axis.minorticks_off()
axis.set_xlabel("dimension D")
axis.set_ylabel("nearest / average distance")
axis.set_ylim(0, 1.08)
axis.legend(frameon=False)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown] question="dimensions" points=3
# **Question 4 (3 points).** To cover a line of length 1 so that every point has a training point within 0.05, 10 evenly
# spaced points suffice. How many does the same spacing need for a square, and for a cube in $D$ dimensions? Use this and
# the curve above to explain why nearest neighbours on raw pixels get little from ten times as many images, and why they
# still do better than guessing on real photographs.
#
# ### BEGIN MARK SCHEME
# *Model answer.* $10^2$ and $10^D$ points (with the same spacing of 0.1 along every axis). For $D = 3072$ no data set
# covers anything: the nearest neighbour is nearly as far as the average one (the ratio approaches 1), and ten times as
# many images move the curve only a little, since $10\,N$ points correspond to one more dimension. Photographs do not
# fill the cube: neighbouring pixels are alike, so images lie near a set of much lower dimension, where neighbours do
# mean something.
#
# *Rubric.* 1 point: $10^D$. 1 point: nearest and average distance become alike in high dimension, so neighbours carry
# little information and more data helps little. 1 point: real images are not uniform; they occupy a small part of the space.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Thomas Cover and Peter Hart, *Nearest neighbor pattern classification*, IEEE Transactions on Information Theory, 1967:
#   with unlimited data the error of $k = 1$ is at most twice the smallest possible.
# - Charu Aggarwal, Alexander Hinneburg and Daniel Keim, *On the surprising behavior of distance metrics in high
#   dimensional space*, ICDT 2001: why L1 can be the better choice when $D$ is large.
# - Alex Krizhevsky, *Learning multiple layers of features from tiny images*, 2009: where CIFAR-10 comes from.

# %%
check.summary()
