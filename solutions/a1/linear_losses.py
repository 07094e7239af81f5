# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Losses of a linear classifier
#
# A linear classifier gives every class a score, and a *loss* says in one number how bad the scores are. Learning is
# then a walk downhill, and all that the walk needs is the gradient of the loss. In this notebook you will
#
# - write two losses, the **multiclass SVM** and **softmax**, each first with loops as the formula reads, then without;
# - derive both gradients by hand and **check them with numbers**, a habit that pays in every later notebook;
# - meet the values that a correct loss must have before any training, and the inputs that break a careless one.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $X$ | images, one per row | $(N, D)$ |
# | $y$ | labels, $0 \dots K-1$ | $(N,)$ |
# | $W$ | weights, one column per class | $(D, K)$ |
# | $S = XW$ | scores, row $i$ belongs to image $i$ | $(N, K)$ |
# | $L$ | loss | a number |
# | $\partial L/\partial W$, in code `dW` | gradient | $(D, K)$, as $W$ |
#
# The data is CIFAR-10 if it has been downloaded and drawn shapes if not; the first demo says which.

# %% tags=["setup"]
import time
from itertools import product

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import load_images
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast

# %% [markdown]
# ## 1. Scores, and where the bias went
#
# Class $j$ scores image $x$, shape $(D,)$, by $s_j = x \cdot w_j + b_j$ with its own weights $w_j$, shape $(D,)$, and a
# bias $b_j$, a number. Carrying $b$ along would make every formula below longer. The **bias trick** hides it: append a
# feature to every image that is always 1, and a row to $W$ that holds the biases. Then
#
# $$S = \begin{pmatrix} X & \mathbf 1 \end{pmatrix} \begin{pmatrix} W \\ b \end{pmatrix} = XW + b ,$$
#
# and $D$ has grown by one: from 3072 to 3073 for colour images of 32×32 pixels. From here on $X$ ends in that column.

# %%
generator = torch.Generator().manual_seed(0)
images = torch.randn(4, 6, generator=generator)
weights, bias = torch.randn(6, 3, generator=generator), torch.randn(3, generator=generator)

with_one = torch.cat([images, torch.ones(4, 1)], dim=1)  # (4, 7)
with_bias = torch.cat([weights, bias[None]], dim=0)  # (7, 3)
print("largest difference:", (with_one @ with_bias - (images @ weights + bias)).abs().max().item())

# %% [markdown]
# ## 2. A gradient from numbers
#
# Before deriving any gradient, build the tool that will tell you whether it is right. The slope of $f$ along entry $p$
# of $x$ is the limit of a difference quotient. Taylor's formula says what a finite step $h$ costs:
#
# $$\frac{f(x + h e_p) - f(x)}{h} = \frac{\partial f}{\partial x_p} + \frac{h}{2} \frac{\partial^2 f}{\partial x_p^2} + \dots
# \qquad
# \frac{f(x + h e_p) - f(x - h e_p)}{2h} = \frac{\partial f}{\partial x_p} + \frac{h^2}{6} \frac{\partial^3 f}{\partial x_p^3} + \dots$$
#
# where $e_p$ has the shape of $x$, a 1 in entry $p$ and 0 elsewhere. In the *centred* quotient on the right the second
# derivatives cancel, so a hundredth of the step gives a ten-thousandth of the error. That is the one to use.
#
# A smaller $h$ is not always better, as the figure shows: both values of $f$ are rounded, and dividing by $h$ blows
# their rounding error up. The centred quotient is best near $h \approx 10^{-5}$ in float64. In float32 it reaches some
# five digits at best, and three with that $h$, which is why gradients are checked in float64.

# %% tags=["demo"]
steps = torch.logspace(-12, 0, 49, dtype=torch.float64)
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for dtype, style in ((torch.float64, "-"), (torch.float32, ":")):
    at, h = torch.tensor(0.7, dtype=dtype), steps.to(dtype)
    slope = float(at.double().cos())  # at the rounded 0.7, so that only the quotient's error is seen
    forward = ((at + h).sin() - at.sin()) / h
    centred = ((at + h).sin() - (at - h).sin()) / (2 * h)
    name = str(dtype).removeprefix("torch.")
    for quotient, colour, what in ((forward, COLOURS[0], "forward"), (centred, COLOURS[1], "centred")):
        error = (quotient.double() - slope).abs() / slope
        axis.loglog(steps, error.clamp(min=1e-13), style, color=colour, label=f"{what}, {name}")
axis.set_xlabel("step h")
axis.set_ylabel("relative error of the slope")
axis.set_title("slope of sin at 0.7 by finite differences", fontsize=10)
axis.legend(frameon=False, fontsize=9)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ### Your turn
#
# Move one entry of $x$ at a time, in place, and put it back *exactly* before the next: keep the old number and assign it.
# (Adding $h$ and subtracting it again leaves rounding errors behind.) `product(*map(range, x.shape))` runs over all
# indices of a tensor of any shape, and `x[index]` takes such an index.


# %% exercise="a1/numerical_gradient"
def numerical_gradient(f, x, h=1e-5):
    """Compute the gradient of a function of a tensor by centred differences.

    Args:
        f: Maps a tensor of the shape of ``x`` to a number, a Python float or a tensor of shape ().
        x: Where the gradient is taken; floating point, any shape, not necessarily contiguous. Its entries may be
            changed on the way and have to be back, bit for bit, at the end.
        h: Step to either side, positive.

    Returns:
        Tensor with shape, dtype and device of ``x``; entry p is ``(f(x + h e_p) - f(x - h e_p)) / (2 h)``.
    """
    ### BEGIN SOLUTION
    gradient = torch.zeros_like(x)
    for index in product(*map(range, x.shape)):
        old = x[index].item()
        x[index] = old + h
        above = f(x)
        x[index] = old - h
        below = f(x)
        x[index] = old
        gradient[index] = (above - below) / (2 * h)
    return gradient
    ### END SOLUTION


# %% check="a1/numerical_gradient"
check("a1/numerical_gradient", numerical_gradient)

# %% [markdown]
# ## 3. The multiclass SVM loss
#
# The true class should win, and not just by a hair: its score should exceed every other by a margin $\Delta$. Whatever
# is missing is what the image costs. With the scores $s = S_i$, shape $(K,)$, of image $i$ and its label $y_i$,
#
# $$L_i = \sum_{j \ne y_i} \max\bigl(0,\; m_{ij}\bigr) , \qquad m_{ij} = s_j - s_{y_i} + \Delta ,$$
#
# and with `squared` the terms are squared: $L_i = \sum_{j \ne y_i} \max(0, m_{ij})^2$, which is lenient with small
# violations and hard on large ones. The loss of all images is the mean, plus the **regulariser**, which is small for
# small weights:
#
# $$L = \frac 1 N \sum_{i=1}^N L_i \;+\; \lambda \sum_{p=1}^D \sum_{j=1}^K W_{pj}^2 .$$
#
# $\lambda$ is `reg` in code. There is no factor ½ in front of it in this stage (there will be from stage 2 on), and the
# row of biases is regularised like the others.

# %% tags=["demo"]
lead = torch.linspace(-2, 3, 201)
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
axis.plot(lead, (1 - lead).clamp(min=0), color=COLOURS[0], label="hinge, Δ = 1")
axis.plot(lead, (1 - lead).clamp(min=0) ** 2, color=COLOURS[1], label="squared hinge, Δ = 1")
axis.plot(lead, (1 + (-lead).exp()).log(), color=COLOURS[2], label="softmax (section 5)")
axis.plot(lead, (lead < 0).float(), color="grey", ls="--", lw=1, drawstyle="steps-post", label="is it wrong? (0 or 1)")
axis.set_ylim(-0.15, 5)
axis.set_xlabel("lead of the true class over the other, $s_y - s_j$")
axis.set_ylabel("loss of one image")
axis.set_title("two classes: what a lead costs", fontsize=10)
axis.legend(frameon=False, fontsize=9)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ### Its gradient
#
# Only violated margins, $m_{ij} > 0$, have a slope. Such a term contains $s_j = X_i \cdot w_j$ once with a plus and
# $s_{y_i}$ once with a minus. So each violated pair $(i, j)$ gives, with $X_i$ of shape $(D,)$,
#
# $$\frac{\partial L_i}{\partial w_j} \mathrel{+}= a_{ij} X_i , \qquad
# \frac{\partial L_i}{\partial w_{y_i}} \mathrel{-}= a_{ij} X_i , \qquad
# a_{ij} = \begin{cases} 1 & \text{hinge} \\ 2\, m_{ij} & \text{squared} \end{cases}$$
#
# Note the second part: the column of the true class gets a contribution *for every* violated margin. The mean divides
# all this by $N$, and the regulariser adds $2 \lambda W$, shape $(D, K)$. Where a margin is exactly 0 the hinge has a
# kink; any slope between the two sides is a valid choice there, and 0 the usual one.
#
# Write loss and gradient in the same pair of loops. No autograd.


# %% exercise="a1/svm_naive"
def svm_loss_naive(W, X, y, reg, delta=1.0, squared=False):
    """Compute the multiclass SVM loss and its gradient with a loop over images and one over classes.

    Args:
        W: Weights of shape (D, K).
        X: Images of shape (N, D), dtype and device as ``W``.
        y: int64 labels of shape (N,), each in 0 .. K - 1.
        reg: Factor of the regulariser, at least 0.
        delta: Margin that is asked for.
        squared: Whether every violated margin is squared.

    Returns:
        loss: A number, ``mean of L_i + reg * sum(W ** 2)``.
        dW: Gradient of the loss, shape (D, K), dtype and device as ``W``.
    """
    ### BEGIN SOLUTION
    loss = 0.0
    dW = torch.zeros_like(W)
    for i in range(len(X)):
        scores = X[i] @ W
        for j in range(W.shape[1]):
            if j == y[i]:
                continue
            margin = scores[j] - scores[y[i]] + delta
            if margin > 0:
                loss += margin**2 if squared else margin
                slope = 2 * margin if squared else 1.0
                dW[:, j] += slope * X[i]
                dW[:, y[i]] -= slope * X[i]
    return loss / len(X) + reg * (W**2).sum(), dW / len(X) + 2 * reg * W
    ### END SOLUTION


# %% check="a1/svm_naive"
check("a1/svm_naive", svm_loss_naive)

# %% [markdown]
# ### Three numbers to know by heart
#
# 1. **Scores 13, −7, 11, true class 0, $\Delta = 10$.** Class 1 is 20 behind: nothing to pay. Class 2 is only 2 behind,
#    8 short of the margin. The loss is 8. With $W$ the 3×3 identity an image *is* its scores, which makes this easy to try.
# 2. **Before training.** With $W \approx 0$ all scores are about 0, every wrong class violates its margin by $\Delta = 1$,
#    and the loss is $K - 1$ per image, so $K - 1$ in the mean: 9 for ten classes, however many images there are.
# 3. **$W$ and $2W$.** If $W$ meets all margins, so does $2W$: every lead doubles. Both have zero hinge loss. Without a
#    regulariser the data cannot tell them apart; with one, the smaller wins.

# %% tags=["demo"]
identity = torch.eye(3)
example = torch.tensor([[13.0, -7.0, 11.0]])
loss, _ = svm_loss_naive(identity, example, torch.tensor([0]), 0.0, delta=10.0)
print(f"scores 13, -7, 11:  loss {float(loss):g}")

met = torch.tensor([[5.0, 1.0, 2.0], [0.0, 4.0, -1.0]])
for scale in (1, 2):
    loss, _ = svm_loss_naive(scale * identity, met, torch.tensor([0, 1]), 0.0)
    penalty = float((scale * identity).square().sum())
    print(f"{scale} W:  hinge loss {float(loss):g}, sum of squared weights {penalty:g}")

# %% [markdown]
# And the first use of your tool: compare the gradient that you derived with the one from numbers. Both are of shape
# $(D, K)$; the relative error should be around $10^{-8}$ or smaller. (A kink within $h$ of a margin can spoil an entry.)


# %% tags=["demo"]
def show_gradient_check(loss_function, **options):
    """Compare the gradient of a loss with the one from centred differences, on 12 random images of 6 features."""
    generator = torch.Generator().manual_seed(1)
    W = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    X = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    y = torch.arange(12) % 4
    _, dW = loss_function(W, X, y, 0.2, **options)
    numeric = numerical_gradient(lambda W: loss_function(W, X, y, 0.2, **options)[0], W)
    error = (dW - numeric).abs().max() / numeric.abs().max()
    note = ", ".join(f"{name}={value}" for name, value in options.items())
    print(f"{loss_function.__name__:24} {note:14} relative error {error:.1e}")


show_gradient_check(svm_loss_naive)
show_gradient_check(svm_loss_naive, squared=True)

# %% [markdown] question="first_loss" points=3
# **Question 1 (3 points).** Ten classes, 500 images, weights drawn with a standard deviation of $10^{-4}$, no
# regulariser, $\Delta = 1$. Three classmates print their first SVM loss: 9.00, 10.00 and 4500. Which value is right, and
# what have the other two done? What is the largest and the smallest value that the SVM loss of one image can take?
#
# ### BEGIN MARK SCHEME
# *Model answer.* 9.00 is right: all scores are nearly 0, so each of the nine wrong classes costs $\Delta = 1$, and the
# mean over images of 9 is 9. 10.00 counts the true class too, whose margin is always $\Delta$. 4500 = 500 · 9 adds up
# over the images instead of averaging. The loss of one image is 0 if all margins are met, and has no largest value: it
# grows without limit with the lead of a wrong class.
#
# *Rubric.* 1 point: 9 with the reason. 1 point: both mistakes. 1 point: from 0 to infinity.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. The same without loops
#
# All margins at once: $M = \max(0, S - s^{\text{true}} + \Delta)$, where $s^{\text{true}}$, shape $(N, 1)$, holds the
# true class's score of each image and broadcasts over the columns. The entries of the true classes come out as $\Delta$;
# set them to 0. Then $L = \frac 1 N \sum_{ij} M_{ij} + \lambda \sum W^2$.
#
# For the gradient, collect how often each score enters with which factor in a matrix $A$ of shape $(N, K)$: $a_{ij}$ in
# the columns of wrong classes, and minus the row's sum of them in the column of the true class. The loops of before,
# "add $A_{ij} X_i$ to column $j$, for all $i$", are then one product:
#
# $$\frac{\partial L}{\partial W} = \frac 1 N \underbrace{X^\top}_{(D,\,N)} \underbrace{A}_{(N,\,K)} + 2 \lambda W .$$
#
# To read or write one entry per row, index with two index tensors: `scores[rows, y]` with `rows` running from 0 to
# $N - 1$. Tensors that you make yourself need `device=X.device`, or the code breaks on a GPU.


# %% exercise="a1/svm_vectorized"
def svm_loss_vectorized(W, X, y, reg, delta=1.0, squared=False):
    """Compute the multiclass SVM loss and its gradient without loops.

    Args:
        W: Weights of shape (D, K).
        X: Images of shape (N, D), dtype and device as ``W``.
        y: int64 labels of shape (N,), each in 0 .. K - 1.
        reg: Factor of the regulariser, at least 0.
        delta: Margin that is asked for.
        squared: Whether every violated margin is squared.

    Returns:
        loss, dW: As from ``svm_loss_naive``.
    """
    ### BEGIN SOLUTION
    rows = torch.arange(len(X), device=X.device)
    scores = X @ W
    margins = (scores - scores[rows, y][:, None] + delta).clamp(min=0)
    margins[rows, y] = 0
    loss = (margins**2 if squared else margins).sum() / len(X) + reg * (W**2).sum()
    slopes = 2 * margins if squared else (margins > 0).to(W.dtype)
    slopes[rows, y] = -slopes.sum(dim=1)
    return loss, X.T @ slopes / len(X) + 2 * reg * W
    ### END SOLUTION


# %% check="a1/svm_vectorized"
check("a1/svm_vectorized", svm_loss_vectorized)

# %% [markdown]
# ### On images
#
# Now on real data, or its stand-in. The mean training image is subtracted from all images, so that the features are
# centred around 0, and the column of ones is appended. The first loss should be close to $K - 1 = 9$.

# %% tags=["demo"]
data = load_images("cifar10", n_train=500 if is_fast() else 3000, n_val=500, n_test=100)
print(data.note)
mean_image = data.x_train.mean(0)


def as_rows(images):
    """Return centred images (N, C, H, W) as rows (N, D) with a feature that is always 1."""
    rows = (images - mean_image).flatten(1)
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


X_train, X_val = as_rows(data.x_train), as_rows(data.x_val)
K = len(data.classes)
W_first = 1e-4 * torch.randn(X_train.shape[1], K, generator=torch.Generator().manual_seed(0))
print("X", tuple(X_train.shape), " W", tuple(W_first.shape))
for name, version in (("loops", svm_loss_naive), ("no loops", svm_loss_vectorized)):
    start = time.perf_counter()
    loss, gradient = version(W_first, X_train[:500], data.y_train[:500], 0.0)
    print(
        f"{name:9} first loss {float(loss):.4f}, gradient norm {gradient.norm():.4f}, {time.perf_counter() - start:.4f} s"
    )

# %% [markdown] question="kink" points=2
# **Question 2 (2 points).** A friend's SVM gradient agrees with the one from numbers to eight digits in 29,999 of
# 30,000 entries, and is off by a third in one. She changes nothing but the random seed, and all agree. Is her gradient
# wrong? What happened, and why can it not happen to the squared hinge to the same degree?
#
# ### BEGIN MARK SCHEME
# *Model answer.* The gradient is right. In the one entry, some margin lies within the reach of the step from 0, so that
# $x - h$ and $x + h$ lie on different sides of the hinge's kink; the quotient then mixes the slopes of both sides, while
# the derived gradient is that of one side. The squared hinge has no kink: its slope, $2m$, goes to 0 continuously
# (only the second derivative jumps), so the quotient is off by something of the order of $h$ at most.
#
# *Rubric.* 1 point: the step crosses a kink, so the numeric value is the wrong one. 1 point: the square's slope is
# continuous at 0.
# ### END MARK SCHEME

# %% [markdown]
# ### What the regulariser prefers
#
# Let $x = (1, 1, 1, 1)$, and compare the weights $u = (1, 0, 0, 0)$ and $v = (¼, ¼, ¼, ¼)$. Both give the score 1, so no
# loss of scores can tell them apart. The penalties can: $\sum u^2 = 1$ and $\sum v^2 = ¼$. Squares prefer weights that
# use every feature a little over weights that stake everything on one, and a classifier that listens to many pixels
# is harder to fool by any single one.

# %%
x = torch.ones(4)
for w in (torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.full((4,), 0.25)):
    print(f"w = {w.tolist()}:  score {float(x @ w):g}, penalty {float((w**2).sum()):g}")

# %% [markdown]
# ## 5. Softmax and cross-entropy
#
# The SVM is content once the margins are met. Softmax asks for more: it reads the scores as *probabilities*. For image
# $i$ with scores $s$, shape $(K,)$,
#
# $$p_{ij} = \frac{e^{s_j}}{\sum_{k=1}^{K} e^{s_k}} , \qquad L_i = -\log p_{i y_i} , \qquad
# L = \frac 1 N \sum_{i=1}^{N} L_i + \lambda \sum_{pj} W_{pj}^2 .$$
#
# Since $0 < p < 1$, the loss of an image lies between 0 (certain and right) and infinity (certain and wrong). With
# $W \approx 0$ all classes are equally likely, and the first loss is $-\log \frac 1 K = \log K$: 2.303 for ten classes.
#
# **Why this loss?** A label is a distribution $q$ over the classes, shape $(K,)$: 1 for the true class and 0 for all
# others. The *cross-entropy* from $q$ to $p$ splits into two parts,
#
# $$H(q, p) = -\sum_j q_j \log p_j
# = \underbrace{-\sum_j q_j \log q_j}_{\text{entropy } H(q)} + \underbrace{\sum_j q_j \log \frac{q_j}{p_j}}_{D_{\mathrm{KL}}(q \,\Vert\, p) \,\ge\, 0} .$$
#
# The first does not depend on the model. The second, the Kullback–Leibler divergence, is 0 exactly if $p = q$. So to
# minimise the cross-entropy is to bring the model's distribution as close to the labels' as it gets; and for a label
# that is certain, $H(q) = 0$ and $H(q, p) = -\log p_{y}$: the loss above.

# %%
model = torch.tensor([0.6, 0.3, 0.1])
for q in (torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.7, 0.2, 0.1]), model):
    likely, given = q[q > 0], model[q > 0]  # 0 log 0 counts as 0
    cross_entropy = -(likely * given.log()).sum()
    entropy = (likely * (1 / likely).log()).sum()
    divergence = (likely * (likely / given).log()).sum()
    shown = [round(value, 2) for value in q.tolist()]
    print(f"q = {shown!s:17} cross-entropy {cross_entropy:.4f} = entropy {entropy:.4f} + KL {divergence:.4f}")

# %% [markdown]
# ### Its gradient, and how not to overflow
#
# With $L_i = -s_{y_i} + \log \sum_k e^{s_k}$ the derivative is short. The logarithm's part gives back the probability,
#
# $$\frac{\partial L_i}{\partial s_j} = p_{ij} - \mathbb 1[j = y_i] , \qquad
# \frac{\partial L}{\partial W} = \frac 1 N \, X^\top (P - Q) + 2 \lambda W ,$$
#
# where $P$ and $Q$, both $(N, K)$, hold the probabilities and a one-hot row per label. Every class pulls, each in
# proportion to how wrong it is; nothing is ever exactly content.
#
# Computed as it stands, $e^{s}$ overflows: above $s \approx 709$ in float64, and 88 in float32, it is infinite. But
# subtracting the same number from all scores of an image changes no probability. Take off the largest, $m_i = \max_j s_j$:
#
# $$\log p_{ij} = (s_j - m_i) - \log \sum_k e^{s_k - m_i} .$$
#
# Now the largest exponent is $e^0 = 1$, and the sum is at least 1. Keep this form for the loss: the *quotient* can
# still become 0 for a hopeless class, and its logarithm infinite, where the difference is an ordinary number.

# %%
scores = torch.tensor([10_000.0, -10_000.0, 5.0])
shifted = scores - scores.max()
print("exp as it stands:         ", (scores.exp() / scores.exp().sum()).tolist())
print("shifted, log of quotient: ", (shifted.exp() / shifted.exp().sum()).log().tolist())
print("shifted, as a difference: ", (shifted - shifted.exp().sum().log()).tolist())

# %% [markdown]
# Write it with loops: over the images, and over the classes where you need one. Ready-made softmax, cross-entropy and
# `logsumexp` are off limits; `exp`, `log`, `max` and `sum` are all you need.


# %% exercise="a1/softmax_naive"
def softmax_loss_naive(W, X, y, reg):
    """Compute the softmax loss and its gradient with loops.

    Args:
        W: Weights of shape (D, K).
        X: Images of shape (N, D), dtype and device as ``W``; the scores may be as large as 10,000 in size.
        y: int64 labels of shape (N,), each in 0 .. K - 1.
        reg: Factor of the regulariser, at least 0.

    Returns:
        loss: A number, ``mean of -log p[i, y[i]] + reg * sum(W ** 2)``, finite.
        dW: Gradient of the loss, shape (D, K), dtype and device as ``W``, finite.
    """
    ### BEGIN SOLUTION
    loss = 0.0
    dW = torch.zeros_like(W)
    for i in range(len(X)):
        scores = X[i] @ W
        shifted = scores - scores.max()
        log_p = shifted - shifted.exp().sum().log()
        loss -= log_p[y[i]]
        for j in range(W.shape[1]):
            dW[:, j] += log_p[j].exp() * X[i]
        dW[:, y[i]] -= X[i]
    return loss / len(X) + reg * (W**2).sum(), dW / len(X) + 2 * reg * W
    ### END SOLUTION


# %% check="a1/softmax_naive"
check("a1/softmax_naive", softmax_loss_naive)

# %% [markdown]
# And without loops. Each step is one operation on an $(N, K)$ tensor; mind which axis the maximum and the sum run over,
# and keep that axis (`keepdim=True`) so that the result broadcasts back over the columns.


# %% exercise="a1/softmax_vectorized"
def softmax_loss_vectorized(W, X, y, reg):
    """Compute the softmax loss and its gradient without loops.

    Args:
        W: Weights of shape (D, K).
        X: Images of shape (N, D), dtype and device as ``W``; the scores may be as large as 10,000 in size.
        y: int64 labels of shape (N,), each in 0 .. K - 1.
        reg: Factor of the regulariser, at least 0.

    Returns:
        loss, dW: As from ``softmax_loss_naive``.
    """
    ### BEGIN SOLUTION
    rows = torch.arange(len(X), device=X.device)
    scores = X @ W
    shifted = scores - scores.amax(dim=1, keepdim=True)
    log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    loss = -log_p[rows, y].mean() + reg * (W**2).sum()
    slopes = log_p.exp()
    slopes[rows, y] -= 1
    return loss, X.T @ slopes / len(X) + 2 * reg * W
    ### END SOLUTION


# %% check="a1/softmax_vectorized"
check("a1/softmax_vectorized", softmax_loss_vectorized)

# %% tags=["demo"]
show_gradient_check(softmax_loss_naive)
show_gradient_check(softmax_loss_vectorized)
print(f"log K = {torch.tensor(float(K)).log():.4f}")
for name, version in (("loops", softmax_loss_naive), ("no loops", softmax_loss_vectorized)):
    start = time.perf_counter()
    loss, gradient = version(W_first, X_train[:500], data.y_train[:500], 0.0)
    print(
        f"{name:9} first loss {float(loss):.4f}, gradient norm {gradient.norm():.4f}, {time.perf_counter() - start:.4f} s"
    )

# %% [markdown]
# ## 6. Two landscapes
#
# How do the losses look to someone walking downhill? Below, three images with two features each, three classes, and the
# loss along a straight line through the space of weights, $W(t) = W_0 + t V$ with $W_0$ and $V$ of shape $(D, K)$. The
# hinge loss is made of straight pieces: between two kinks the slope does not change. Softmax is smooth, and both are
# **convex**: no line meets a second valley, so there is no place from which every way leads up but a lowest one. Enjoy
# it; from stage 2 on it is no longer true.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(5)
few_x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
few_y = torch.tensor([0, 1, 2])
start_at, along = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
along = along / along.norm()
line = torch.linspace(-6, 6, 241, dtype=torch.float64)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharex=True)
for axis, version, name in ((axes[0], svm_loss_vectorized, "hinge"), (axes[1], softmax_loss_vectorized, "softmax")):
    for i in range(3):
        one = [float(version(start_at + t * along, few_x[i : i + 1], few_y[i : i + 1], 0.0)[0]) for t in line]
        axis.plot(line, one, color=COLOURS[i], lw=1, label=f"image {i}")
    mean = [float(version(start_at + t * along, few_x, few_y, 0.0)[0]) for t in line]
    axis.plot(line, mean, color="black", lw=2, label="mean")
    axis.set_title(name, fontsize=10)
    axis.set_xlabel("position t on the line")
    axis.grid(alpha=0.3)
axes[0].set_ylabel("loss")
axes[0].legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown] question="twice_the_weights" points=3
# **Question 3 (3 points).** Suppose $W$ classifies every training image correctly and meets all SVM margins, and
# $\lambda = 0$. What happens to the SVM loss when $W$ is replaced by $2W$? What to the softmax loss, and what does that
# mean for the "best" $W$ of softmax without a regulariser? And what happens to both if a constant $c$ is added to all
# scores of one image?
#
# ### BEGIN MARK SCHEME
# *Model answer.* The SVM loss is 0 for both: every lead doubles and stays above $\Delta$. The softmax loss falls: each
# lead of the true class doubles, so $p_{y}$ grows, but never reaches 1. It can be lowered for ever by scaling $W$ up and
# has no minimiser; the weights would grow without limit. A regulariser makes a finite $W$ best. Adding $c$ to all scores of an
# image changes neither loss: differences of scores, and the quotient that defines $p$, stay as they are.
#
# *Rubric.* 1 point: SVM stays 0. 1 point: softmax decreases towards 0 without reaching it, hence no finite best $W$. 1
# point: both are unchanged by $c$, with a reason.
# ### END MARK SCHEME

# %% [markdown]
# ## 7. Downhill
#
# A gradient is there to be followed: $W \leftarrow W - \eta\, \partial L / \partial W$ with the learning rate $\eta$, again
# and again, here with all training images in every step. (The next notebook does it properly: with mini-batches, and with
# settings chosen on held-out images.) Note that the two losses are numbers of different kinds, 9 and 2.3 at the start;
# compare accuracies, not losses.
#
# *What to expect.* Both losses fall fast, then slowly, and within 80 steps both classifiers are far above the 10 % of
# guessing. In one run with 3,000 training and 500 validation images of CIFAR-10 the hinge loss went from 9.0 to 4.2 with
# 36.8 % of the validation images right, and the softmax loss from 2.30 to 1.79 with 37.0 %; on drawn shapes expect about
# 32 % for both. With 500 validation images, differences of two percentage points are chance. A step takes less than a
# tenth of a second of processor time.

# %% tags=["demo"]
runs = {"hinge": (svm_loss_vectorized, 0.01), "softmax": (softmax_loss_vectorized, 0.06)}
steps = 30 if is_fast() else 80
histories, accuracies = {}, {}
start = time.perf_counter()
for name, (version, rate) in runs.items():
    W = W_first.clone()
    histories[name], accuracies[name] = [], []
    for _ in tqdm(range(steps), desc=name):
        loss, gradient = version(W, X_train, data.y_train, 1e-3)
        W -= rate * gradient
        histories[name].append(float(loss))
        accuracies[name].append(float(((X_val @ W).argmax(1) == data.y_val).float().mean()))
    print(f"{name:8} loss {histories[name][0]:.3f} -> {histories[name][-1]:.3f}, validation {accuracies[name][-1]:.1%}")
print(f"{time.perf_counter() - start:.1f} s on {data.name}")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for (name, history), colour in zip(histories.items(), (COLOURS[0], COLOURS[2]), strict=True):
    axes[0].plot([value / history[0] for value in history], color=colour, label=name)
    axes[1].plot(accuracies[name], color=colour, label=name)
axes[0].set_ylabel("loss, as a share of the first")
axes[1].set_ylabel("validation accuracy")
axes[1].axhline(1 / K, color="grey", ls="--", lw=1, label="guessing")
for axis in axes:
    axis.set_xlabel("step")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown] question="uncertain_labels" points=2
# **Question 4 (2 points).** Ten people label a blurred image: nine say cat, one says dog. You train with the cross-entropy
# $H(q, p)$ and $q = (0.9, 0.1, 0, \dots)$ instead of a one-hot label. What is the smallest value that the loss of this image can
# take, and for which $p$? Is a loss above 0 here a sign that the model should be trained longer?
#
# ### BEGIN MARK SCHEME
# *Model answer.* $H(q, p) = H(q) + D_{\mathrm{KL}}(q \Vert p) \ge H(q)$, with equality for $p = q$ only. So the smallest
# value is the entropy $H(q) = -0.9 \log 0.9 - 0.1 \log 0.1 \approx 0.325$ (natural logarithm), reached in the limit in which
# softmax gives 0.9, 0.1 and nothing to the rest. No: part of the loss is the labels' own uncertainty, which no training
# removes.
#
# *Rubric.* 1 point: entropy of $q$, at $p = q$ (the number is not needed). 1 point: the rest is in the labels and cannot be trained away.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Jason Weston and Chris Watkins, *Support vector machines for multi-class pattern recognition*, ESANN 1999: the loss of
#   section 3.
# - Koby Crammer and Yoram Singer, *On the algorithmic implementation of multiclass kernel-based vector machines*, Journal of
#   Machine Learning Research, 2001: only the worst class counts.
# - Yichuan Tang, *Deep learning using linear support vector machines*, 2013, arXiv:1306.0239: the squared hinge in place of
#   softmax at the end of a network.
# - Ian Goodfellow, Yoshua Bengio and Aaron Courville, *Deep Learning*, 2016, sections 3.13 and 4.1: cross-entropy and
#   divergence; overflow and underflow.
# - Atılım Güneş Baydin, Barak Pearlmutter, Alexey Radul and Jeffrey Mark Siskind, *Automatic differentiation in machine
#   learning: a survey*, 2018, arXiv:1502.05767: what comes after finite differences and derivation by hand.

# %%
check.summary()
