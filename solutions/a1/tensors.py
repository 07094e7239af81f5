# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Tensors
#
# Every network in this course is a handful of operations on arrays of numbers. Those who can see the shapes find most
# of their bugs before they run anything; this first notebook is there to make shapes feel familiar. In about an hour
# and a half you will learn
#
# - how a tensor lies in memory, and which operations share that memory (*views*) and which do not (*copies*);
# - to select with masks and with index tensors, and to write labels as one-hot rows;
# - how *broadcasting* matches shapes from the right, and where it goes wrong without a word;
# - to multiply whole batches of matrices at once, and how much time that saves over a loop;
# - to take statistics along an axis, and why they come from the training images alone.
#
# At the end five of the seven functions that you write make up a classifier of images.
#
# *Data:* CIFAR-10 if you have it (`./data_download.sh cifar10`), drawn shapes if not; the notebook says which. There
# are 20 points to earn by code and 8 in prose.

# %% tags=["setup"]
import time

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.checking import Case, Function, Mistake, check_functions, normal
from dlcvkit.data import load_images
from dlcvkit.settings import is_fast

plt.rcParams.update({"figure.dpi": 100, "axes.titlesize": 11, "font.size": 10})

# %% [markdown]
# ## Conventions of this course
#
# They hold in all notebooks, and the checks test them. Skim them now, and come back when a name below turns up; this
# notebook needs the first two rows.
#
# | | |
# | --- | --- |
# | **Axes** | $N$ images, $C$ channels, $H \times W$ pixels, $D$ features, $K$ classes, $M$ outputs, $F$ filters, $T$ steps, $V$ words. In this notebook $C$ is also the number of classes in `make_one_hot`. Images are (N, C, H, W); labels are int64, counted from 0. |
# | **Your code** | works on torch tensors on any device: float64 in checks, float32 in demos. It copes with $N = 1$, with odd and non-square shapes, and with non-contiguous tensors. It makes new tensors where its inputs are (`device=x.device`). It never changes its inputs. |
# | **Layers** | written by hand come in pairs, `f_forward(...) -> (out, cache)` and `f_backward(dout, cache) -> grads`. What is in the cache is your business. In them `torch.nn`, `torch.nn.functional` and autograd are off limits, by whatever name, unless an exercise says otherwise. |
# | **Linear weights** | are (D, M), the transpose of torch's. |
# | **Regularisation** | is `reg * sum(W**2)` in stage 1, and `0.5 * reg * sum(W**2)` from stage 2 on. |
# | **kNN** | Distances are (num_test, num_train), and squared unless the name says otherwise. Tied votes go to the smaller label. |
# | **Batch norm** | uses the biased variance (divide by $N$) for the batch and for the running average; `running = momentum * running + (1 - momentum) * batch` with momentum 0.9. torch calls 0.1 what is 0.9 here, and its running variance is unbiased. The state is returned, not hidden. |
# | **Dropout** | `p` is the probability of dropping; kept values are divided by `1 - p` in training. |
# | **Max pooling** | Among equal values the first index wins. |
# | **LSTM, GRU** | LSTM gates come in the order i, f, o, g (torch: i, f, g, o). A GRU's reset gate is applied after the matrix product, as in torch. |
# | **Sequences** | Losses add up over time and average over the batch; padded steps are masked. |
# | **Attention** | A mask is True where a query may look. A query that may look nowhere gets zeros. |

# %% [markdown]
# ## How a check works
#
# Each exercise is a cell with a function to write, followed by a cell with `check(...)`. A check
#
# 1. draws random inputs from a seed: small ones, of odd sizes, on the CPU and on the GPU if there is one;
# 2. calls your function and a short reference made of torch operations on the same inputs; no answers are stored
#    anywhere;
# 3. compares the two by the **scaled error** $\max_i |\hat{y}_i - y_i| \,/\, \max_i |y_i|$, where $\hat{y}$ is your
#    answer, $y$ the reference's, and $i$ runs over all entries. At most $10^{-6}$ is allowed, or $10^{-4}$ if one of
#    the two is float32. Whole numbers must be equal;
# 4. if they differ, tries to recognise the mistake, and says what it is like and where to look.
#
# Things are looked at in a fixed order, and the first that is wrong is the one you read about: is the function there;
# has it a loop where there should be none; did it raise an error; did it change its inputs; did it use something that
# the exercise forbids; are structure, dtype, shape and device right; is every entry finite; and only then the values.
#
# The same inputs come back each time, so that you can follow one bug to its end; `check(..., seed=1)` draws others.
# When your work is graded, the same function also meets *hidden* cases, which differ only in their inputs: one row, no
# rows, equal sizes, large numbers, float32. What this page and the docstring promise is what they test, so reading the
# docstring to its last line pays.
#
# An exercise is nothing more than data and a reference of one line, so here is a complete one, made up for the
# occasion, and four attempts at it. Read what the check says about each before you go on: what would you change?

# %% tags=["demo"]
example = Function(
    id="example/root_mean_square",
    functions=("root_mean_square",),
    reference=lambda x: x.square().mean(1).sqrt(),
    cases=[Case("four rows of three", x=normal(4, 3))],
    points={"rms": 2},
    mistakes=[Mistake("leaves the root out", lambda x: x.square().mean(1), hint="the name says root, mean and square")],
)


def first_attempt(x):
    return x.square().mean(0).sqrt()


def second_attempt(x):
    return x.square().mean(1)


def third_attempt(x):
    x *= x
    return x.mean(1).sqrt()


def fourth_attempt(x):
    return (x**2).mean(dim=1) ** 0.5


for attempt in (first_attempt, second_attempt, third_attempt, fourth_attempt):
    display(check_functions(example, [attempt]))

# %% [markdown]
# The first has one entry per column, where one per row was asked for. The second is recognised, because it stands in the
# list of mistakes. The third finds the right values, but ruins `x` for whoever uses it next; that is an error in this course,
# and the check says which line of thought mends it. The fourth is right; had it rounded differently from the reference,
# the report would state the scaled error.
#
# A check takes milliseconds, so run it after each change. If one ever says that it *could not check*, the fault is the
# check's, not yours, and costs you nothing.

# %% [markdown]
# ## 1. A tensor is a strip of memory and a way to walk along it
#
# The numbers of a tensor lie one after another in memory. What makes them a matrix is two small tuples: the **shape**,
# the length of each axis, and the **stride**, how far to step in memory to get to the next entry along each axis. For a
# tensor of shape $(R, S)$ with strides $(s_0, s_1)$ and offset $o$,
#
# $$x_{ij} \;\text{ lies at position }\; o + i\,s_0 + j\,s_1, \qquad 0 \le i < R,\; 0 \le j < S .$$
#
# Transposing a matrix or leaving out every other column moves no numbers. It only writes two new tuples: the result is
# a **view** of the same strip, and a change in one shows in the other.

# %% tags=["demo"]
LIGHT, DARK = "#f4f4f4", "#222222"


def draw_grid(ax, tensor, title, *, faded=None):
    """Draw a matrix of 0 ... 11 as coloured squares; those where ``faded`` is True are drawn pale."""
    alpha = torch.ones(tensor.shape) if faded is None else torch.where(faded, 0.3, 1.0)
    ax.imshow(tensor, cmap="viridis", vmin=0, vmax=11, alpha=alpha.numpy())
    for i, row in enumerate(tensor.tolist()):
        for j, value in enumerate(row):
            is_dark = value < 7 and alpha[i, j] == 1
            ax.text(j, i, value, ha="center", va="center", color=LIGHT if is_dark else DARK)
    ax.set_title(title)
    ax.axis("off")


x = torch.arange(12).reshape(3, 4)
views = {"x": x, "x.T": x.T, "x[:, ::2]": x[:, ::2], "x[1:, 1:3]": x[1:, 1:3]}
figure, axes = plt.subplot_mosaic(
    [["memory"] * 4, list(views)], figsize=(10, 4.6), height_ratios=[1, 3.4], layout="constrained"
)
draw_grid(axes["memory"], x.reshape(1, 12), "memory: twelve numbers in a row")
for name, view in views.items():
    title = f"{name}\nshape {tuple(view.shape)}, stride {view.stride()}\noffset {view.storage_offset()}"
    draw_grid(axes[name], view, title)
    axes[name].set(xlim=(-0.5, 3.5), ylim=(3.5, -0.5))  # one scale for all four
plt.show()

# %% [markdown]
# Same colour, same place in memory: all four are the one strip of twelve numbers. Check one entry by hand: `x.T[3, 2]`
# lies at $0 + 3 \cdot 1 + 2 \cdot 4 = 11$.
#
# | gives a view | gives a copy |
# | --- | --- |
# | slices `x[1:3]`, `x[:, ::2]`, `x[0]`, `x[None]` | a mask `x[x > 0]`, an index tensor `x[idx]` |
# | `x.T`, `x.transpose`, `x.permute`, `x.expand` | `x.clone()`, `x.repeat`, all arithmetic: `x + 1` |
# | `x.view(...)`, or an error if no strides exist that would do | `x.contiguous()`, but only if `x` is not contiguous already |
# | `x.reshape(...)` if it can | `x.reshape(...)` if it cannot |
#
# Three habits follow from it. To leave an input alone, write `x = x - 1`, which makes a new tensor, rather than
# `x -= 1`, which writes to the strip. Prefer `reshape` to `view`, unless you want to be told. And where `x[mask]`
# stands on the *left* of `=`, nothing is copied: that writes into `x`.

# %% [markdown] question="views_and_copies" points=2
# **Question 1 (2 points).** Start from `x = torch.zeros(3, 4)` each time. Which of these leave `x` all zeros, and why?
#
# - (a) `y = x[1]; y += 1`
# - (b) `y = x[[1]]; y += 1`
# - (c) `y = x.T.reshape(12); y += 1`
# - (d) `y = x.reshape(12); y = y + 1`
#
# ### BEGIN MARK SCHEME
# *Model answer.* (b), (c) and (d). (a) changes row 1, because an integer index gives a view and `+=` writes through it.
# In (b) the list is an index tensor, which copies. In (c) the transposed matrix cannot be laid out as a vector by
# strides alone, so `reshape` has to copy. In (d) `y` is at first a view, but `y + 1` makes a new tensor and then gives
# it the name `y`; `x` is not written to.
#
# *Rubric.* 1 point for naming exactly (b), (c), (d). 1 point for reasons that tell copying by the index or reshape, (b)
# and (c), from rebinding the name, (d).
# ### END MARK SCHEME

# %% [markdown]
# ## 2. Selecting
#
# **By a mask.** A bool tensor of shape $(N,)$ in square brackets keeps the rows where it is True. It is how one picks
# "all images of class 3" or "all images that the model got wrong". Masks come from comparisons, such as `y == 3`.


# %% exercise="a1/select_rows_by_mask"
def select_rows_by_mask(x, mask):
    """Return the rows of x for which the mask is True.

    Args:
        x: Shape (N, ...) with any number of further axes, any dtype; not modified.
        mask: Shape (N,), bool; not modified.

    Returns:
        Shape (M, ...), where M is the number of True entries (it may be 0); the rows keep their order. No loops.
    """
    ### BEGIN SOLUTION
    return x[mask]
    ### END SOLUTION


# %% check="a1/select_rows_by_mask"
check("a1/select_rows_by_mask", select_rows_by_mask)

# %% [markdown]
# **By index tensors.** Two index tensors in the same brackets are walked *in step*, not crossed: `x[rows, columns]`,
# both of shape $(N,)$, has the entries `x[rows[0], columns[0]]`, `x[rows[1], columns[1]]` and so on, $N$ in all.
# Slices, on the other hand, are crossed with whatever else stands in the brackets: `x[:, columns]` has every row meet
# every index, $N \times N$ entries.
#
# Taking one entry per row is how a loss finds the score of the right class of each image, so you will use the next
# function many times.


# %% exercise="a1/take_one_per_row"
def take_one_per_row(x, idx):
    """Return entry idx[i] of each row i.

    Args:
        x: Shape (N, K), any dtype; not modified.
        idx: Shape (N,), int64, each in 0 ... K - 1; not modified.

    Returns:
        Shape (N,), with the dtype of x: entry i is x[i, idx[i]]. No loops.
    """
    ### BEGIN SOLUTION
    rows = torch.arange(x.shape[0], device=x.device)
    return x[rows, idx]
    ### END SOLUTION


# %% check="a1/take_one_per_row"
check("a1/take_one_per_row", take_one_per_row)

# %% [markdown]
# **Labels as one-hot rows.** A label $y_i \in \{0, \dots, C - 1\}$ is a name, and names cannot be multiplied. Written
# as a row $e_i \in \mathbb{R}^C$ with a one in place $y_i$ and zeros elsewhere, they can: with the one-hot matrix $Y$
# of shape $(N, C)$ and images $X$ of shape $(N, D)$, the product $Y^\top X$, of shape $(C, D)$, adds up the images of
# each class. We use it so at the end.
#
# The number of classes cannot be read off the labels, because the last class may be absent from a batch. Make the
# result where the labels are: `device=y.device`. torch has `one_hot` ready-made; here it is yours to write.


# %% exercise="a1/make_one_hot"
def make_one_hot(y, C):
    """Return labels as one-hot rows.

    Args:
        y: Labels, shape (N,), int64, each in 0 ... C - 1; not modified.
        C: Number of classes, an int; may be larger than any label.

    Returns:
        Shape (N, C), float32, on the device of y: 1 in row i and column y[i], 0 elsewhere. No loops.
    """
    ### BEGIN SOLUTION
    out = torch.zeros(y.shape[0], C, device=y.device)
    out[torch.arange(y.shape[0], device=y.device), y] = 1
    return out
    ### END SOLUTION


# %% check="a1/make_one_hot"
check("a1/make_one_hot", make_one_hot)

# %% [markdown]
# ## 3. Broadcasting: shapes are matched from the right
#
# Arithmetic between tensors of different shapes follows one rule:
#
# 1. write the two shapes under each other, **flush right**; where one is shorter, put ones in front;
# 2. two lengths fit if they are equal or one of them is 1; if any two do not fit, that is an error;
# 3. an axis of length 1 is read again and again, with stride 0, until it is as long as the other. Nothing is copied.
#
# ```
#   image      (N, 3, H, W)          scores   (N, K)          a column  (3, 1)
#   per colour    (3, 1, 1)          bias        (K)          a row        (4)
#   result     (N, 3, H, W)          result   (N, K)          result    (3, 4)
# ```
#
# `x[:, None]` or `x.unsqueeze(1)` puts an axis of length 1 where you want one; `keepdim=True` keeps one where a sum or
# mean would drop it.

# %% tags=["demo"]
a = torch.tensor([[0], [3], [6]])
b = torch.tensor([[1, 2, 4, 5]])
shape = (3, 4)
is_copy_of_a = torch.arange(4).expand(shape) > 0
is_copy_of_b = torch.arange(3)[:, None].expand(shape) > 0
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9))
draw_grid(axes[0], a.expand(shape), "a, shape (3, 1)", faded=is_copy_of_a)
draw_grid(axes[1], b.expand(shape), "b, shape (1, 4)", faded=is_copy_of_b)
draw_grid(axes[2], a + b, "a + b, shape (3, 4)")
for ax, sign in zip(axes[:2], "+=", strict=True):
    ax.text(1.1, 0.5, sign, transform=ax.transAxes, fontsize=20, ha="center", va="center")
figure.tight_layout(w_pad=5)
plt.show()

# %% [markdown]
# The pale entries are not there: the one column of `a` is read four times, the one row of `b` three times.
#
# Write the sums of *all pairs* of rows in this way. With $a \in \mathbb{R}^{N \times D}$ and
# $b \in \mathbb{R}^{M \times D}$,
#
# $$s_{ijd} = a_{id} + b_{jd}, \qquad s \in \mathbb{R}^{N \times M \times D}.$$
#
# Write down the three axes of $s$, then find where $a$ and where $b$ needs an axis of length 1. In the next notebook
# the same thought, with a minus sign, compares every test image with every training image.


# %% exercise="a1/pairwise_sums"
def pairwise_sums(a, b):
    """Return the sum of every row of a with every row of b.

    Args:
        a: Shape (N, D), floating point; not modified.
        b: Shape (M, D), same dtype; not modified.

    Returns:
        Shape (N, M, D): entry [i, j] is a[i] + b[j]. No loops.
    """
    ### BEGIN SOLUTION
    return a[:, None, :] + b[None, :, :]
    ### END SOLUTION


# %% check="a1/pairwise_sums"
check("a1/pairwise_sums", pairwise_sums)

# %% [markdown]
# Something to look at. With $t_1 < \dots < t_n$ evenly spaced in $[-1, 1]$ and three frequencies $f_d$, one for each of
# red, green and blue, take $a_{id} = f_d\, t_i^2$ and $b_{jd} = f_d\, t_j^2$. Then $s_{ijd} = f_d\,(t_i^2 + t_j^2)$ is
# a squared distance from the centre, and $\tfrac12 + \tfrac12 \cos s$ is a picture with $3n^2$ numbers, made from two
# tables of $3n$. On the right, $a_{id} = \tfrac13 f_d \sin 3 t_i$ and
# $b_{jd} = \tfrac13 f_d \cos 4 t_j$.

# %% tags=["demo"]
t = torch.linspace(-1, 1, 480)[:, None]
frequencies = torch.tensor([20.0, 24.0, 29.0])
rings = pairwise_sums(t**2 * frequencies, t**2 * frequencies)
waves = pairwise_sums(torch.sin(3 * t) * frequencies / 3, torch.cos(4 * t) * frequencies / 3)
figure, axes = plt.subplots(1, 2, figsize=(9, 4.5))
pictures = {"squares of the coordinates": rings, "sine of one, cosine of the other": waves}
for ax, (title, phase) in zip(axes, pictures.items(), strict=True):
    ax.imshow(0.5 + 0.5 * torch.cos(phase), extent=(-1, 1, 1, -1))
    ax.set(title=title, xlabel="$t_j$", ylabel="$t_i$", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
figure.tight_layout()
plt.show()

# %% [markdown] question="silent_broadcast" points=2
# **Question 2 (2 points).** A model returns predictions of shape (N, 1); the targets have shape (N,). Someone writes
# `loss = ((pred - target) ** 2).mean()`. No error appears, the loss goes down for a while, and the model ends up
# predicting the mean of the targets for everything. What is computed, and why that mean?
#
# ### BEGIN MARK SCHEME
# *Model answer.* Flush right, (N, 1) meets (1, N): the difference has shape (N, N), every prediction minus every
# target. The loss is the mean over all $N^2$ pairs, so each prediction is pulled towards all targets alike, and
# $\frac1N \sum_j (p_i - t_j)^2$ is smallest for $p_i = \frac1N \sum_j t_j$. Comparing shapes first, or `pred[:, 0]`,
# prevents it.
#
# *Rubric.* 1 point for the (N, N) matrix of all pairs. 1 point for why the mean minimises it: each prediction is
# compared with all targets.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. Batches of matrices
#
# A GPU, and a modern CPU too, is fast when it is given much to do at once. Attention, for one, multiplies a pair of
# matrices for each image and each head. With $X$ of shape $(B, N, M)$ and $Y$ of shape $(B, M, P)$ the batched product
# is
#
# $$Z_{bnp} = \sum_{m=1}^{M} X_{bnm}\, Y_{bmp}, \qquad Z \in \mathbb{R}^{B \times N \times P}:$$
#
# the batch axis $b$ is walked in step, the shared axis $m$ is added up and disappears. torch offers several ways to say
# this in one call (`torch.bmm`, `@`, `torch.einsum`), and all are allowed here. Try two, and see that they agree.


# %% exercise="a1/batched_matmul"
def batched_matmul(x, y):
    """Return the matrix product of x[b] and y[b] for every b.

    Args:
        x: Shape (B, N, M), floating point; not modified.
        y: Shape (B, M, P), same dtype; not modified.

    Returns:
        Shape (B, N, P). No loops.
    """
    ### BEGIN SOLUTION
    return torch.bmm(x, y)
    ### END SOLUTION


# %% check="a1/batched_matmul"
check("a1/batched_matmul", batched_matmul)

# %% [markdown]
# How much does it save? The next cell multiplies 64 pairs of square matrices of growing size, once in a Python loop and
# once in one call, and takes the best of several runs, on one core. Expect one call to be twenty times faster or more at
# the smallest sizes, and the two curves to meet at a hundred rows and columns or so. We measured 84 times at 2 × 2, 17
# times at 16 × 16, 1.9 times at 64 × 64, and no difference at 256 × 256.


# %% tags=["demo"]
def multiply_in_a_loop(x, y):
    return torch.stack([x[b] @ y[b] for b in range(len(x))])


def best_milliseconds(function, *arguments, runs=7):
    """Return the shortest time of several calls: whatever else the computer does can only make a call longer."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function(*arguments)
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


threads = torch.get_num_threads()
torch.set_num_threads(1)  # compare the two ways of calling, not the number of cores
sizes = [2, 4, 8, 16, 32, 64] if is_fast() else [2, 4, 8, 16, 32, 64, 128, 256]
looped, batched, ratios = [], [], []
for size in tqdm(sizes, desc="timing"):
    x, y = torch.randn(2, 64, size, size)
    looped.append(best_milliseconds(multiply_in_a_loop, x, y))
    batched.append(best_milliseconds(batched_matmul, x, y))
    ratios.append(looped[-1] / batched[-1])
    print(f"{size:4d} × {size:<4d} loop {looped[-1]:8.3f} ms, batched {batched[-1]:8.3f} ms, ratio {ratios[-1]:5.1f}")
torch.set_num_threads(threads)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
axes[0].loglog(sizes, looped, "o-", color="#d1495b", label="loop over 64 pairs")
axes[0].loglog(sizes, batched, "s-", color="#2e6f9e", label="one batched product")
axes[0].set_ylabel("time in ms")
axes[0].legend()
axes[1].semilogx(sizes, ratios, "o-", color="#444444")
axes[1].axhline(1, color="#999999", linewidth=1)
axes[1].set_ylabel("loop time / batched time")
axes[1].set_ylim(bottom=0)
for ax in axes:
    ax.set_xlabel("rows and columns of each matrix")
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    ax.grid(alpha=0.3)
figure.tight_layout()
plt.show()

# %% [markdown] question="speed_of_batches" points=2
# **Question 3 (2 points).** Both versions do the same number of multiplications. Why is the loop so much slower for
# small matrices, and why does the gap close for large ones?
#
# ### BEGIN MARK SCHEME
# *Model answer.* Each turn of the loop pays a fixed price that has nothing to do with arithmetic: Python's interpreter,
# indexing, choosing a kernel, making a result tensor; some microseconds, 64 times. The batched call pays it once. For
# tiny matrices that price is nearly all of the time. The arithmetic grows as the cube of the size while the price stays
# the same, so for large matrices both versions spend their time in the same multiplications.
#
# *Rubric.* 1 point for the fixed cost per call (or per turn of the loop). 1 point for the arithmetic, growing as the
# cube, that outweighs it.
# ### END MARK SCHEME

# %% [markdown]
# ## 5. Statistics along an axis
#
# `x.mean(dim=0)` names the axis that **disappears**: for $X$ of shape $(N, D)$ the result has shape $(D,)$, one mean
# per column. To normalise the columns is to give each of them mean 0 and standard deviation 1:
#
# $$\mu_j = \frac1N \sum_{i=1}^{N} x_{ij}, \qquad
# \sigma_j = \sqrt{\frac1N \sum_{i=1}^{N} (x_{ij} - \mu_j)^2}, \qquad
# z_{ij} = \begin{cases} (x_{ij} - \mu_j) / \sigma_j & \text{if } \sigma_j > 0 \\ 0 & \text{if } \sigma_j = 0 \end{cases}$$
#
# with $\mu, \sigma \in \mathbb{R}^D$ and $z \in \mathbb{R}^{N \times D}$. Three things to watch:
#
# - The course divides by $N$. torch's `std` and `var` divide by $N - 1$, unless you say `correction=0`. Batch norm will
#   divide by $N$ as well.
# - A constant column has $\sigma_j = 0$, and $0 / 0$ is NaN. `torch.where` can put a 1 in the place of such a
#   $\sigma_j$. Adding a small number to every $\sigma_j$ instead changes all columns a little, and columns of small
#   numbers a lot.
# - On paper $\sigma_j^2$ is also $\frac1N \sum_i x_{ij}^2 - \mu_j^2$. In floating point that subtracts two large
#   numbers to get a small one: float32 keeps about seven digits, and if $\mu_j = 300$ and $\sigma_j = 1$, five of them
#   cancel. Subtract the mean first.


# %% exercise="a1/normalize_columns"
def normalize_columns(x):
    """Return x with each column shifted and scaled to mean 0 and standard deviation 1.

    Args:
        x: Shape (N, D), floating point; not modified.

    Returns:
        Shape (N, D), the dtype of x: (x - mean) / std with statistics over axis 0, the standard deviation dividing by
        N, not N - 1, and nothing added to it. A column whose entries are all equal becomes zeros. No loops.
    """
    ### BEGIN SOLUTION
    mean = x.mean(dim=0)
    std = x.std(dim=0, correction=0)
    return (x - mean) / torch.where(std > 0, std, 1)
    ### END SOLUTION


# %% check="a1/normalize_columns"
check("a1/normalize_columns", normalize_columns)

# %% [markdown]
# **The same for data that is split.** A model is fitted on training images and judged on images it has not seen, and
# its input must mean the same in both. So the statistics are those of the training images, $\mu, \sigma$ of the shape
# of *one* image, and every other part is transformed with these same numbers:
#
# $$z^{\text{train}} = \frac{x^{\text{train}} - \mu}{\sigma}, \qquad z^{\text{val}} = \frac{x^{\text{val}} - \mu}{\sigma}, \qquad z^{\text{test}} = \frac{x^{\text{test}} - \mu}{\sigma}.$$
#
# The other parts then have a mean *near* 0, not at it, and that is as it should be. Where a feature does not vary in
# training, $\sigma = 0$, it is shifted and not scaled. A loop over the parts, of which there are three or so, is fine
# here; loops over images are what we avoid.


# %% exercise="a1/standardize"
def standardize(train, *others):
    """Return all parts of a dataset, shifted and scaled by the statistics of the training part.

    Args:
        train: Shape (N, ...) with any number of further axes, floating point; not modified.
        *others: Any number of tensors, perhaps none, of shape (N_other, ...) with the same further axes; not modified.

    Returns:
        A tuple of 1 + len(others) tensors, train first, then the others in their order, with the shapes they came in.
        Mean and standard deviation are taken over axis 0 of train, the latter dividing by N; both have shape (...).
        Where the standard deviation is 0, features are shifted by the mean and divided by 1.
    """
    ### BEGIN SOLUTION
    mean = train.mean(dim=0)
    std = train.std(dim=0, correction=0)
    std = torch.where(std > 0, std, 1)
    return tuple((part - mean) / std for part in (train, *others))
    ### END SOLUTION


# %% check="a1/standardize"
check("a1/standardize", standardize)

# %% [markdown]
# Now on images, where a feature is one colour of one pixel. The mean of the training images shows what they have in
# common; the standard deviation shows where they differ. On the right are the values of three such features over all
# training images, before and after: the centres and widths now agree, and the shapes are as they were. Pixels are much
# alike to begin with, so the change is mild; where one feature counts metres and another grams, it decides everything.

# %% tags=["demo"]
n_train, n_test = (500, 200) if is_fast() else (5000, 1000)
data = load_images("cifar10", n_train=n_train, n_val=n_test, n_test=n_test)
print(data.note)
train, val, test = standardize(data.x_train, data.x_val, data.x_test)
for name, part in {"train": train, "validation": val, "test": test}.items():
    print(f"{name:>10}: shape {tuple(part.shape)}, mean {part.mean():+.4f}, standard deviation {part.std():.4f}")


def show_image(ax, image, title):
    """Show a (C, H, W) image with values in [0, 1]; anything outside is cut off."""
    ax.imshow(image.permute(1, 2, 0).clamp(0, 1))
    ax.set_title(title)
    ax.axis("off")


def stretch(image):
    """Map an image's own smallest and largest value to 0 and 1, to make faint differences visible."""
    return (image - image.min()) / (image.max() - image.min())


figure, axes = plt.subplots(1, 4, figsize=(12, 2.9), width_ratios=[1, 1, 1.3, 1.3], layout="constrained")
show_image(axes[0], stretch(data.x_train.mean(0)), "mean")
show_image(axes[1], stretch(data.x_train.std(0, correction=0)), "standard deviation")
features = {"blue, top": (2, 1, 16), "red, centre": (0, 16, 16), "green, bottom": (1, 30, 16)}
for (name, (c, h, w)), colour in zip(features.items(), ("#2e6f9e", "#d1495b", "#3a7d44"), strict=True):
    for ax, part in ((axes[2], data.x_train), (axes[3], train)):
        ax.hist(part[:, c, h, w], bins=25, histtype="step", linewidth=1.5, color=colour, label=name)
axes[2].set(title="three features", xlabel="value", ylabel="training images")
axes[3].set(title="standardised", xlabel="value")
axes[3].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
plt.show()

# %% [markdown] question="train_statistics" points=2
# **Question 4 (2 points).** Why not standardise the test images by their own mean and standard deviation, or all images
# together before splitting them? Give one reason against each.
#
# ### BEGIN MARK SCHEME
# *Model answer.* By their own statistics: the same image would become a different input depending on the company it is
# in; a single image would become all zeros; and the inputs would no longer mean what they meant when the model was
# fitted. All together: the training data would then hold information about the test images, and the test would no
# longer stand for unseen data, so that its result may be too good.
#
# *Rubric.* 1 point for a reason against own statistics: another transformation than the model was fitted with,
# dependence on the batch, or failing for one image. 1 point for the leak of test information in the case of all
# together.
# ### END MARK SCHEME

# %% [markdown]
# ## 6. All of it together: the nearest mean
#
# The simplest classifier that looks at images: for each class $c$ average its training images to one *mean image*, and
# give a new image the class whose mean is nearest. With training images as rows of $X$, shape $(N, D)$, and their
# one-hot labels $Y$, shape $(N, K)$,
#
# $$m_c = \frac{\sum_i Y_{ic}\, x_i}{\sum_i Y_{ic}}, \qquad \text{all at once:}\quad m = \frac{Y^\top X}{\text{column sums of } Y} \in \mathbb{R}^{K \times D},$$
#
# and the squared distance of image $x_i$ to mean $m_c$, both in $\mathbb{R}^D$, is expanded as
#
# $$\lVert x_i - m_c \rVert^2 = \underbrace{\lVert x_i \rVert^2 + \lVert m_c \rVert^2}_{\text{a sum for every pair}} \;-\; 2\, \underbrace{x_i^\top m_c}_{\text{a matrix product}} .$$
#
# That is `pairwise_sums` of two columns of shapes $(N, 1)$ and $(K, 1)$, and one matrix product. You will meet the
# trick again in the next notebook.
#
# **What to expect.** More training images make better means, up to a point: ten means cannot hold much. On CIFAR-10
# accuracy levels off at about 500 images and then wobbles by a point, since 1,000 validation images settle no more than
# that. With 5,000 training images we measured 25.3 % on pixels and 26.0 % on standardised ones; on drawn shapes, where
# the curve is still rising, 24.6 % on both. Guessing gives 10 %. The whole notebook took 9 s on two free cores, with
# CIFAR-10 as with shapes, and up to 40 s on busy ones.


# %% tags=["demo"]
def class_means(x, y, classes):
    """Return the mean image of each class, shape (K, D), from images (N, D) and labels (N,)."""
    one_hot = make_one_hot(y, classes).to(x.dtype)
    return one_hot.T @ x / one_hot.sum(0)[:, None]


def squared_distances(x, means):
    """Return the squared distance of every image (N, D) to every mean (K, D), shape (N, K)."""
    norms = pairwise_sums(x.square().sum(1)[:, None], means.square().sum(1)[:, None])[:, :, 0]
    return norms - 2 * x @ means.T


classes = len(data.classes)
counts = [count for count in (20, 50, 100, 200, 500, 1000, 2000, 3500, 5000) if count <= n_train]
accuracy = {"pixels in [0, 1]": [], "standardised": []}
for count in tqdm(counts, desc="more training images"):
    for name, scaled in (("pixels in [0, 1]", False), ("standardised", True)):
        x_train, x_val = data.x_train[:count], data.x_val
        if scaled:
            x_train, x_val = standardize(x_train, x_val)
        means = class_means(x_train.flatten(1), data.y_train[:count], classes)
        predicted = squared_distances(x_val.flatten(1), means).argmin(1)
        accuracy[name].append((predicted == data.y_val).float().mean().item())

figure, ax = plt.subplots(figsize=(7, 3.6))
for (name, values), style in zip(accuracy.items(), ("o-", "s-"), strict=True):
    ax.semilogx(counts, [100 * value for value in values], style, label=f"{name}: {100 * values[-1]:.1f} % at the end")
ax.axhline(100 / classes, color="#999999", linestyle="--", linewidth=1, label="guessing")
ax.set_xticks(counts, [f"{count:,}" for count in counts], rotation=45)
ax.minorticks_off()
ax.set_xlabel("training images")
ax.set_ylabel("validation accuracy in %")
ax.set_ylim(bottom=0)
ax.grid(alpha=0.3)
ax.legend(loc="lower right")
ax.set_title(f"nearest mean on {data.name}")
plt.show()

# %% [markdown]
# The means themselves, stretched to the full range, are worth a look: what can a class be told by? Below each, the
# validation image of that class that lies nearest to its own mean, and the one that lies farthest; `take_one_per_row` finds the
# distance of each image to the mean of its own class.

# %% tags=["demo"]
means = class_means(data.x_train.flatten(1), data.y_train, classes)
own = take_one_per_row(squared_distances(data.x_val.flatten(1), means), data.y_val)
figure, axes = plt.subplots(3, classes, figsize=(1.25 * classes, 4.4))
for c in range(classes):
    is_class = data.y_val == c
    images = select_rows_by_mask(data.x_val, is_class)
    distances = select_rows_by_mask(own, is_class)
    show_image(axes[0, c], stretch(means[c].reshape(data.x_train.shape[1:])), data.classes[c])
    show_image(axes[1, c], images[distances.argmin()], "")
    show_image(axes[2, c], images[distances.argmax()], "")
for ax, text in zip(axes[:, 0], ("mean", "nearest", "farthest"), strict=True):
    ax.text(-0.12, 0.5, text, transform=ax.transAxes, rotation=90, ha="right", va="center")
figure.tight_layout()
plt.show()

# %% [markdown]
# The nearest images are plain ones of middling brightness, the farthest are glaring white or black: squared distances in
# pixels are, above all, about light. That is the weakness of every method in the next notebook, and the reason why the later
# ones learn what to look at.
#
# ## Where to read more
#
# - Stéfan van der Walt, S. Chris Colbert, Gaël Varoquaux, *The NumPy array: a structure for efficient numerical
#   computation*, 2011, arXiv:1102.1523. Strides, views and broadcasting, by people who made them.
# - Charles R. Harris et al., *Array programming with NumPy*, Nature 585, 2020, arXiv:2006.10256. The same ideas nine
#   years on, and where torch got them from.
# - Adam Paszke et al., *PyTorch: An Imperative Style, High-Performance Deep Learning Library*, 2019, arXiv:1912.01703.
# - The pages *Broadcasting semantics* and *Tensor Views* of the PyTorch documentation.
# - Yann LeCun, Léon Bottou, Genevieve B. Orr, Klaus-Robert Müller, *Efficient BackProp*, 1998, section 4.3: why inputs
#   are standardised.
# - Alex Rogozhnikov, *Einops: Clear and Reliable Tensor Manipulations with Einstein-like Notation*, ICLR 2022. Shapes
#   that are written out by name.

# %%
check.summary()
