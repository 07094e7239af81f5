# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Recurrent networks
#
# An image comes all at once and always has the same size. A sentence comes word by word, and nobody says beforehand
# how many words there will be. A *recurrent* network reads one word at a time, with the same weights at every step,
# and keeps what it has to remember in a vector, its **state**. In this notebook you will
#
# - write **one step** of it and a **whole sequence**, and derive **backpropagation through time**: the backward pass
#   that visits the steps in reverse;
# - see by measurement why gradients **vanish or explode** on the way, and what eigenvalues have to do with it, and
#   what not;
# - build the layers of a **language model**: embedding, scores at every step, a loss that knows about padding;
# - train it on Python's own documentation, **character by character**, with clipped gradients and a text cut into
#   chunks, and let it **write** at several temperatures.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $x_t$ | input at step $t = 1 \dots T$; all of them together are `x`, $(N, T, D)$ | $(N, D)$ |
# | $h_t$ | state after step $t$, `next_h`; $h_0$ is what one starts from, `h0` | $(N, H)$ |
# | $a_t$ | what the tanh of step $t$ is taken of | $(N, H)$ |
# | $W_x$, $W_h$, $b$ | weights from input to state, from state to state, and biases: `Wx`, `Wh`, `b` | $(D, H)$, $(H, H)$, $(H,)$ |
# | $s_t$ | scores of the $V$ words at step $t$ | $(N, V)$ |
# | $y_t$ | the right words at step $t$, int64 | $(N,)$ |
# | $m_t$ | mask: true where there is a word to predict | $(N,)$ |
# | $E$ | one row of $D$ numbers for each of the $V$ words, `E` | $(V, D)$ |
# | $W_o$, $b_o$ | weights and biases from state to scores, `Wo`, `bo` | $(H, V)$, $(V,)$ |
# | $L$ | loss | a number |
# | $dA$, short for $\partial L / \partial A$ | gradient of the loss with respect to any tensor $A$ | as $A$ |
#
# A batch holds $N$ sequences of $T$ steps; an input has $D$ features, a state $H$ units. In code axis 0 counts the
# sequences and axis 1 the steps, from 0: step $t$ of the formulas is `x[:, t - 1]`, and the state after it
# `h[:, t - 1]`. Torch's `nn.RNN` keeps both weight matrices transposed.

# %% tags=["setup"]
import math

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast

# %% [markdown]
# ## 1. One network, unrolled
#
# The state after a step is made of the input and the state before it:
#
# $$a_t = x_t W_x + h_{t-1} W_h + b, \qquad h_t = \tanh(a_t) .$$
#
# The tanh keeps every entry between $-1$ and $1$, however long the sequence. Drawn with one box for each step, the
# network is a deep one with two peculiarities: every layer gets an input of its own, and **all layers share their
# weights**. ($L_t$ is what step $t$ contributes to the loss.)

# %% tags=["demo"]
figure, axis = plt.subplots(figsize=(10, 4.4), layout="constrained")
box = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "lw": 1.2}
rows = {"x": (0.0, "#dddddd"), "h": (1.5, "#b9cde5"), "L": (3.0, "#efe6b0")}
places = {"0": 0.0, "1": 2.3, "2": 4.6, "T": 7.9}


def draw_arrow(start, end, is_backward=False):
    """Draw an arrow of the forward pass, or a dashed one of the backward pass."""
    style = {"color": COLOURS[1], "ls": (0, (3, 2))} if is_backward else {"color": "#333333"}
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, lw=1.5, shrinkA=0, shrinkB=0, **style)
    )


for when, left in places.items():
    for name in "h" if when == "0" else "xhL":
        height, colour = rows[name]
        axis.add_patch(
            FancyBboxPatch((left - 0.4, height - 0.25), 0.8, 0.5, facecolor=colour, edgecolor="#555555", **box)
        )
        axis.text(left, height, f"${name}_{when}$", ha="center", va="center", fontsize=13)
    if when != "0":
        draw_arrow((left - 0.12, 0.3), (left - 0.12, 1.2))
        draw_arrow((left - 0.12, 1.8), (left - 0.12, 2.7))
        draw_arrow((left + 0.14, 2.7), (left + 0.14, 1.8), is_backward=True)
        draw_arrow((left + 0.14, 1.2), (left + 0.14, 0.3), is_backward=True)
        axis.text(left - 0.2, 0.72, "$W_x$", ha="right", va="center", fontsize=11)
        axis.text(left - 0.2, 2.22, "$W_o$", ha="right", va="center", fontsize=11)
for start, end in ((0.0, 2.3), (2.3, 4.6), (4.6, 6.2), (6.55, 7.9)):
    right, left = (start + 0.45 if start != 6.55 else 6.55), (end - 0.45 if end != 6.2 else 5.95)
    draw_arrow((right, 1.6), (left, 1.6))
    draw_arrow((left, 1.38), (right, 1.38), is_backward=True)
    if end != 6.2:
        axis.text((right + left) / 2, 1.78, "$W_h$", ha="center", fontsize=11)
axis.text(6.25, 1.5, "…", ha="center", va="center", fontsize=18)
axis.plot([], [], color="#333333", label="forward: a state goes up to the loss and on to the next step")
axis.plot([], [], color=COLOURS[1], ls=(0, (3, 2)), label="backward: what comes from above and from the right adds up")
axis.legend(loc="lower center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize=10, ncols=2)
axis.set_xlim(-0.6, 8.5)
axis.set_ylim(-0.4, 3.4)
axis.axis("off")
plt.show()

# %% [markdown]
# ### One step
#
# Forward is the formula. You may use `torch.tanh`, which is right for sums of any size; a tanh written with $e^a$ and
# $e^{-a}$ is not, as $e^{1000}$ is infinite. For the way back, note three things:
#
# - The derivative of $\tanh$ at $a$ is $1 - \tanh^2 a$, and $\tanh a_t$ is $h_t$, which you have. So
#   $da_t = dh_t \odot (1 - h_t^2)$, entry by entry.
# - $a_t$ is two affine layers added up. You know the rule from stage 2: for $A = XW$ with $X$ of shape $(N, D)$,
#   $dX = dA\, W^\top$ and $dW = X^\top dA$. Here it is used once with $X = x_t$ and once with $X = h_{t-1}$.
# - $b$ is added to each of the $N$ rows, so $db$ is the sum of $da_t$ over the rows.
#
# As no mean is taken in a layer, nothing is divided by $N$.


# %% exercise="a4/rnn_step"
def rnn_step_forward(x, prev_h, Wx, Wh, b):
    """Compute one step of a recurrent network with tanh.

    Args:
        x: Input of the step, shape (N, D), floating point; not modified.
        prev_h: State before the step, shape (N, H); not modified.
        Wx: Weights from input to state, shape (D, H).
        Wh: Weights from state to state, shape (H, H).
        b: Biases, shape (H,).

    Returns:
        ``(next_h, cache)``: the state after the step, shape (N, H), finite whatever the size of the sum inside the
        tanh; and what ``rnn_step_backward`` needs.
    """
    ### BEGIN SOLUTION
    next_h = torch.tanh(x @ Wx + prev_h @ Wh + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)
    ### END SOLUTION


# %% exercise="a4/rnn_step"
def rnn_step_backward(dnext_h, cache):
    """Compute the backward pass of one step.

    Args:
        dnext_h: Gradient of the state after the step, shape (N, H); not modified.
        cache: What ``rnn_step_forward`` returned.

    Returns:
        ``(dx, dprev_h, dWx, dWh, db)``: gradients of shapes (N, D), (N, H), (D, H), (H, H) and (H,).
    """
    ### BEGIN SOLUTION
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h**2)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(dim=0)
    ### END SOLUTION


# %% check="a4/rnn_step"
check("a4/rnn_step", rnn_step_forward, rnn_step_backward)

# %% [markdown]
# ## 2. Backpropagation through time
#
# Forward, a loop: each step starts from the state that the one before it has left.
#
# Backward, ask what a state is used for. $h_t$ goes **two ways**: up, to whatever is computed from the states (call
# the gradient that comes back from there $\bar d_t$, shape $(N, H)$; it is `dh[:, t - 1]`), and on to step $t + 1$.
# Where a value is used twice, gradients add up:
#
# $$dh_t = \underbrace{\bar d_t}_{\text{from above}} + \underbrace{da_{t+1} W_h^\top}_{\text{from step } t+1},
# \qquad da_t = dh_t \odot (1 - h_t^2), \qquad t = T, T - 1, \dots, 1 .$$
#
# Behind the last step nothing follows, so the second term is 0 at $t = T$. Before the first step only the second is
# left: $dh_0 = da_1 W_h^\top$. Each input is used once, $dx_t = da_t W_x^\top$. The weights are used at *every* step,
# so their gradients are sums over the steps:
#
# $$dW_x = \sum_{t=1}^T x_t^\top da_t, \qquad dW_h = \sum_{t=1}^T h_{t-1}^\top da_t,
# \qquad db = \sum_{t=1}^T \sum_{n=1}^N (da_t)_n .$$
#
# That is all there is to backpropagation *through time*: it is backpropagation in the unrolled network. If only the
# last state is used, as when a sentence is classified, $\bar d_t$ is 0 for $t < T$, and the same formulas hold. The
# price is memory: the caches of all $T$ steps must be kept until backward comes by.


# %% exercise="a4/rnn_sequence"
def rnn_forward(x, h0, Wx, Wh, b):
    """Run a recurrent network over sequences.

    Args:
        x: Inputs, shape (N, T, D) with T at least 1, floating point; not modified.
        h0: State before the first step, shape (N, H); not modified.
        Wx: Weights from input to state, shape (D, H).
        Wh: Weights from state to state, shape (H, H).
        b: Biases, shape (H,).

    Returns:
        ``(h, cache)``: the states after each step, shape (N, T, H), without ``h0``; and what ``rnn_backward`` needs.
    """
    ### BEGIN SOLUTION
    states, caches, state = [], [], h0
    for t in range(x.shape[1]):
        state, cache = rnn_step_forward(x[:, t], state, Wx, Wh, b)
        states.append(state)
        caches.append(cache)
    return torch.stack(states, dim=1), caches
    ### END SOLUTION


# %% exercise="a4/rnn_sequence"
def rnn_backward(dh, cache):
    """Go back through all steps.

    Args:
        dh: Shape (N, T, H): the gradient that each state gets from above, not counting what comes from later steps. It
            may be 0 at all steps but the last. Not modified.
        cache: What ``rnn_forward`` returned.

    Returns:
        ``(dx, dh0, dWx, dWh, db)``: gradients of shapes (N, T, D), (N, H), (D, H), (H, H) and (H,).
    """
    ### BEGIN SOLUTION
    later, dxs, shared = torch.zeros_like(dh[:, 0]), [], (0, 0, 0)
    for t in reversed(range(dh.shape[1])):
        dx, later, *own = rnn_step_backward(dh[:, t] + later, cache[t])
        dxs.append(dx)
        shared = [total + share for total, share in zip(shared, own, strict=True)]
    return torch.stack(dxs[::-1], dim=1), later, *shared
    ### END SOLUTION


# %% check="a4/rnn_sequence"
check("a4/rnn_sequence", rnn_forward, rnn_backward)

# %% [markdown]
# ## 3. Vanishing and exploding
#
# How much does a state of long ago matter for the loss at the end? Let only the last state have a gradient from
# above, and unroll the formula:
#
# $$dh_{T-k} = dh_T \, J_T J_{T-1} \cdots J_{T-k+1}, \qquad J_t = \operatorname{diag}(1 - h_t^2)\, W_h^\top ,$$
#
# for one sequence; $dh$ is a row of $H$ numbers and each $J_t$ is $(H, H)$. It is a product of $k$ matrices that all
# contain the same $W_h$. Let $\sigma$ be the largest *singular value* of $W_h$: the factor by which it stretches a
# vector at most. The derivative of tanh is never above 1, so
#
# $$\lVert dh_{T-k} \rVert \le \sigma^k \, \lVert dh_T \rVert .$$
#
# - If $\sigma < 1$, gradients **vanish**, exponentially, without any further condition.
# - If $\sigma > 1$, they *may* **explode**. They need not: the bound allows it, and tanh works against it. A state
#   near $\pm 1$ lets hardly any gradient through.
#
# The experiment: $W_h = \sigma Q$, where $Q$ is orthogonal, so that *all* singular values are $\sigma$; 64 units, 60
# steps, and your `rnn_step_backward`. Solid, with small inputs (normal, standard deviation 0.1); dashed, with inputs
# of standard deviation 1 at $\sigma = 1.5$; dotted, the bound.


# %% tags=["demo"]
def measure_norms(Wh, x, last):
    """Return the norm of the gradient of the state, k = 0 … T steps before the end, if it is ``last`` at the end."""
    eye, zeros = torch.eye(len(Wh), dtype=Wh.dtype), torch.zeros(len(Wh), dtype=Wh.dtype)
    state, caches = torch.zeros_like(last), []
    for t in range(x.shape[1]):
        state, cache = rnn_step_forward(x[:, t], state, eye, Wh, zeros)
        caches.append(cache)
    norms = [last.norm().item()]
    for cache in reversed(caches):
        last = rnn_step_backward(last, cache)[1]
        norms.append(last.norm().item())
    return norms


def draw_normal(*shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


source = torch.Generator().manual_seed(0)
H, T = 64, 60
rotation = torch.linalg.qr(draw_normal(H, H, generator=source))[0]
x, last = draw_normal(1, T, H, generator=source), draw_normal(1, H, generator=source)
last /= last.norm()
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for sigma, colour in zip((0.5, 1.0, 1.5), COLOURS, strict=False):
    norms = measure_norms(sigma * rotation, 0.1 * x, last)
    axes[0].plot(norms, color=colour, lw=2, label=f"σ = {sigma:g}")
    axes[0].plot([sigma**k for k in range(T + 1)], color=colour, ls=":", lw=1.2)
    print(
        f"σ = {sigma:g}, small inputs: {norms[10]:.1e} after 10 steps, {norms[60]:.1e} after 60; bound {sigma**60:.1e}"
    )
norms = measure_norms(1.5 * rotation, x, last)
axes[0].plot(norms, color=COLOURS[2], ls="--", lw=2, label="σ = 1.5, large inputs")
print(f"σ = 1.5, large inputs: {norms[10]:.1e} after 10 steps, {norms[60]:.1e} after 60")
axes[0].set_title("singular values all equal to σ", fontsize=10)
axes[0].set_ylim(1e-20, 1e12)

chain = 0.8 * torch.eye(20, dtype=torch.float64) + 0.3 * torch.diag(torch.ones(19, dtype=torch.float64), 1)
at_rest = torch.zeros(1, 200, 20, dtype=torch.float64)
last = draw_normal(1, 20, generator=source)
last /= last.norm()
print(f"chain: every eigenvalue 0.8, largest singular value {torch.linalg.svdvals(chain)[0]:.2f}")
norms = measure_norms(chain, at_rest, last)
print(f"chain: {max(norms):.1f} at its highest, after {norms.index(max(norms))} steps")
axes[1].plot(norms, color=COLOURS[5], lw=2, label="eigenvalues 0.8, singular values up to 1.10")
rotated = 0.8 * torch.linalg.qr(draw_normal(20, 20, generator=source))[0]
axes[1].plot(measure_norms(rotated, at_rest, last), color=COLOURS[0], lw=2, label="singular values 0.8")
axes[1].set_title("two matrices whose eigenvalues all have modulus 0.8, state at rest", fontsize=10)
axes[1].set_ylim(1e-6, 1e4)
for axis in axes:
    axis.set_yscale("log")
    axis.set_xlabel("steps back from the end")
    axis.set_ylabel("norm of the gradient of the state")
    axis.legend(frameon=False, fontsize=9)
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# On the left, $\sigma = 0.5$ leaves $4 \cdot 10^{-19}$ of the gradient after 60 steps, about half of what the bound
# allows: beside the gradients of later steps, nothing. At $\sigma = 1$ tanh alone takes 98 % away. At $\sigma = 1.5$
# the norm has grown to 81, where the bound says $4 \cdot 10^{10}$: the units drive each other away from 0, and the
# slope of tanh falls. (The curve is steepest at its right end. There are the first steps, whose states were still
# small.) And with large inputs the same matrix makes gradients vanish: $5 \cdot 10^{-5}$ is left.
#
# On the right, a warning. One often reads that the *eigenvalues* of $W_h$ decide. What is true:
#
# - For a fixed matrix and many steps they do: $\lVert W^k \rVert^{1/k}$ tends to the largest modulus of an
#   eigenvalue. That is the case of a network whose states stay near 0, where tanh is nearly the identity.
# - It says nothing about *few* steps. Both matrices on the right have eigenvalues of modulus 0.8 only. The second is
#   a multiple of an orthogonal matrix: eigenvalues and singular values agree, and the norm falls from the start. The
#   first is a chain, unit after unit, and its gradients grow to 65 times their size within 98 steps before they
#   vanish.
# - In a tanh network the $J_t$ differ from step to step, and eigenvalues of $W_h$ below 1 promise nothing at all.
#   Question 1 has an example with two units.

# %% [markdown] question="eigenvalues_promise_nothing" points=3
# **Question 1 (3 points).** (a) $\sigma < 1$ is enough for gradients to vanish. Is $\sigma > 1$ enough for them to
# explode? Give a reason from the formula for $J_t$ and a curve of the figure. (b) A network with two units has
# $W_h = \begin{pmatrix} 2 & 1 \\ -4 & -2 \end{pmatrix}$. What are its eigenvalues, and what is $W_h^2$? (c) Suppose
# that at every step unit 1 is at $h = 0$ and unit 2 is saturated at $h \approx 1$ (large inputs can bring this
# about). What is $J_t$, and what happens to the gradient $(1, 0)$ on its way back through $k$ steps? Compare with
# what the eigenvalues of $W_h$ suggest.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) No. $J_t$ also has the factors $1 - h_t^2 \le 1$, and large states make them small; besides, a
# vector need not point where $W_h$ stretches most. The dashed curve: all singular values 1.5, and with large inputs
# the gradient vanishes. (b) Trace 0 and determinant 0, so both eigenvalues are 0, and $W_h^2 = 0$: without tanh
# (states at rest) every gradient is gone after two steps. (c) $1 - h^2$ is 1 for unit 1 and about 0 for unit 2, so
# $J_t \approx \operatorname{diag}(1, 0)\, W_h^\top = \begin{pmatrix} 2 & -4 \\ 0 & 0 \end{pmatrix}$. From the row
# $(1, 0)$ it makes $(2, -4)$, and from $(2, -4)$ it makes $(4, -8)$: the gradient doubles with each step and
# **explodes**, $2^{k-1} (2, -4)$ after $k$ steps, though the eigenvalues of $W_h$ are 0. What counts are products of
# the $J_t$, and for them the singular values give a bound; the eigenvalues of $W_h$ give none.
#
# *Rubric.* 1 point: no, with the factor $1 - h^2$ (or: with the direction) and the dashed curve. 1 point: eigenvalues
# 0 and $W_h^2 = 0$. 1 point: $J_t$, growth like $2^k$, and that this contradicts what the eigenvalues suggest.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. Words in, scores out
#
# A network computes with numbers, and the number of a word means nothing: word 17 is not half of word 34. So each
# word gets a row of $D$ numbers, to be learned like all other weights, and the **embedding** looks it up:
#
# $$\text{out}_{nt} = W_{x_{nt}}, \qquad dW_v = \sum_{n, t:\; x_{nt} = v} d\text{out}_{nt} .$$
#
# (A product with a one-hot vector would give the same, slowly.) The sum on the right is the whole difficulty: a word
# that occurs five times gets five contributions. Beware of `dW[x] += dout`: for a word that is in `x` more than once,
# torch reads the old row, adds, and writes each result to the same place, and one of them is left.


# %% exercise="a4/word_embedding"
def word_embedding_forward(x, W):
    """Look up the vectors of words.

    Args:
        x: Words, shape (N, T), int64 in 0 … V-1; a word may occur more than once.
        W: One row per word, shape (V, D), floating point; not modified.

    Returns:
        ``(out, cache)``: the vectors, shape (N, T, D); and what ``word_embedding_backward`` needs.
    """
    ### BEGIN SOLUTION
    return W[x], (x, W)
    ### END SOLUTION


# %% exercise="a4/word_embedding"
def word_embedding_backward(dout, cache):
    """Compute the gradient of the vectors.

    Args:
        dout: Upstream gradient, shape (N, T, D); not modified.
        cache: What ``word_embedding_forward`` returned.

    Returns:
        dW: Shape (V, D). Rows of words that do not occur are 0.
    """
    ### BEGIN SOLUTION
    x, W = cache
    return torch.zeros_like(W).index_add(0, x.flatten(), dout.flatten(0, 1))
    ### END SOLUTION


# %% check="a4/word_embedding"
check("a4/word_embedding", word_embedding_forward, word_embedding_backward)

# %% [markdown]
# At the other end, an affine layer turns every state into $V$ scores. It is the layer of stage 2, with batch and time
# taken together as if there were $NT$ images: $s = xw + b$, $dx = ds\, w^\top$, and both $dw$ and $db$ are summed
# over sequences *and* steps.


# %% exercise="a4/temporal_affine"
def temporal_affine_forward(x, w, b):
    """Apply an affine layer to each step of each sequence.

    Args:
        x: Shape (N, T, D), floating point; not modified.
        w: Weights, shape (D, M).
        b: Biases, shape (M,).

    Returns:
        ``(out, cache)``: shape (N, T, M); and what ``temporal_affine_backward`` needs.
    """
    ### BEGIN SOLUTION
    return x @ w + b, (x, w)
    ### END SOLUTION


# %% exercise="a4/temporal_affine"
def temporal_affine_backward(dout, cache):
    """Compute the backward pass of the affine layer.

    Args:
        dout: Upstream gradient, shape (N, T, M); not modified.
        cache: What ``temporal_affine_forward`` returned.

    Returns:
        ``(dx, dw, db)``: gradients of shapes (N, T, D), (D, M) and (M,).
    """
    ### BEGIN SOLUTION
    x, w = cache
    return dout @ w.T, x.flatten(0, 1).T @ dout.flatten(0, 1), dout.sum(dim=(0, 1))
    ### END SOLUTION


# %% check="a4/temporal_affine"
check("a4/temporal_affine", temporal_affine_forward, temporal_affine_backward)

# %% [markdown]
# ## 5. A loss for sequences
#
# Each step is a classification with $V$ classes. Sentences of a batch differ in length, so the shorter ones are
# filled up with a padding word, and a mask says which steps count. In this course the loss is **summed over the steps
# and averaged over the batch**:
#
# $$L = \frac{1}{N} \sum_{n=1}^{N} \sum_{t=1}^{T} m_{nt} \left( \log \sum_{v=1}^{V} e^{s_{ntv}} - s_{nt y_{nt}} \right),
# \qquad ds_{ntv} = \frac{m_{nt}}{N} \left( \frac{e^{s_{ntv}}}{\sum_u e^{s_{ntu}}} - [v = y_{nt}] \right) .$$
#
# The inner sum is minus the log of the probability that the model gives to the whole sentence, because the
# probability of a sentence is the product of those of its words, each given the words before it. $N$ counts all
# sequences of the batch, one that is padding from end to end included. And as in stage 1: scores of 10,000 have
# exponentials that are infinite. Subtracting the same number from all scores of a step changes nothing; choose it
# such that the largest exponent is 0.


# %% exercise="a4/temporal_softmax_loss"
def temporal_softmax_loss(x, y, mask):
    """Compute the softmax loss of sequences, summed over steps and averaged over the batch.

    Args:
        x: Scores, shape (N, T, V), floating point of any size, such as 1e4; not modified.
        y: Right words, shape (N, T), int64 in 0 … V-1 at all steps. What stands at masked steps makes no difference.
        mask: Shape (N, T), bool: True where a step counts. There may be sequences, and batches, where none does.

    Returns:
        ``(loss, dx)``: a number or 0-dimensional tensor, the sum over counted steps divided by N; and its gradient,
        shape (N, T, V), 0 at steps that do not count.
    """
    ### BEGIN SOLUTION
    shifted = x - x.amax(dim=2, keepdim=True)
    logs = shifted - shifted.exp().sum(dim=2, keepdim=True).log()  # of probabilities
    weight = mask[..., None].to(x.dtype) / len(x)  # (N, T, 1)
    loss = -(logs.gather(2, y[..., None]) * weight).sum()
    return loss, (logs.exp() * weight).scatter_add(2, y[..., None], -weight)
    ### END SOLUTION


# %% check="a4/temporal_softmax_loss"
check("a4/temporal_softmax_loss", temporal_softmax_loss)

# %% [markdown] question="sum_or_mean" points=3
# **Question 2 (3 points).** Compare three losses: (i) ours, summed over steps and averaged over the $N$ sequences;
# (ii) averaged over all steps that count, in the whole batch; (iii) averaged over the steps of each sequence first,
# and then over the sequences. (a) A batch has one sentence of 2 words and one of 18. With which weight does
# *one word* of each sentence enter (i), (ii) and (iii)? (b) You double the length of your training chunks and
# change nothing else. What happens to the size of the gradient in (i) and in (ii), and to training with plain SGD,
# with Adam, and to a limit for clipping? (c) Name a reason for (i).
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) In (i) every word has the weight 1/2 (one over the number of sequences); in (ii) 1/20; in (iii)
# a word of the short sentence 1/4 and one of the long sentence 1/36. In (i) and (ii) all words of a batch count
# alike, 1/20 of the total weight each; in (iii) a word of the short sentence counts nine times as much. (b) In (i)
# twice as many terms are added up: loss and gradient are about twice as large (if the gradients of steps point the
# same way; less if they do not), in (ii) they stay about as they are. With SGD, (i) then takes steps twice as long,
# as if the learning rate had been doubled; Adam divides by the gradient's size and hardly notices; a limit for the
# norm is exceeded about twice as easily and has to be adapted. (c) It is minus the log-probability of a sentence, so
# minimising it is maximum likelihood; and the weight of a word does not depend on which other sentences happen to be
# in its batch, or on how much padding there is (in (ii) a word counts less beside long sentences).
#
# *Rubric.* 1 point: the weights in all three (or: (i) and (ii) treat words alike, (iii) prefers short sentences). 1
# point: doubled gradient in (i) and what follows for SGD or clipping. 1 point: likelihood of a sentence, or
# independence of the other sentences.
# ### END MARK SCHEME

# %% [markdown]
# ## 6. Clipping, and a text in chunks
#
# Two devices make training possible. The first is **clipping**, which you may have met in stage 2 and which was
# invented for recurrent networks: where gradients explode, one step can undo an hour of training. The common norm of
# *all* gradients is limited to $c$, `max_norm`:
#
# $$\lVert g \rVert = \sqrt{\textstyle\sum_{p} \sum_{i} g_{p,i}^2},
# \qquad \tilde g_p = \min\!\left(1, \frac{c}{\lVert g \rVert}\right) g_p ,$$
#
# with $g_p$ the gradient of the parameter named $p$ and $i$ running over its entries. It is the norm that is compared
# with $c$, not its square. One case is new. A gradient can explode until an entry is infinite; then the direction is
# lost as well, and $\frac{c}{\infty} \cdot \infty$ is not a number, which would spoil every weight it is added to.
# Such a step is skipped: all gradients become 0, and the norm, infinite, tells that it happened.


# %% exercise="a4/clip_grad_norm"
def clip_grad_norm(grads, max_norm):
    """Scale gradients down so that their common norm is at most ``max_norm``.

    Args:
        grads: Name to gradient, a dict of at least one tensor of any shape; not modified. All entries may be 0, and
            entries may be infinite.
        max_norm: Largest norm, above 0.

    Returns:
        ``(clipped, norm)``: a dict with the same names, of gradients times ``min(1, max_norm / norm)``, or of zeros if
        the norm is infinite; and the norm before clipping, a number or 0-dimensional tensor.

    Source:
        Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1.
    """
    ### BEGIN SOLUTION
    norm = sum((gradient**2).sum() for gradient in grads.values()).sqrt()
    if not norm.isfinite():
        return {name: torch.zeros_like(gradient) for name, gradient in grads.items()}, norm
    scale = (max_norm / norm).clamp(max=1.0)  # at norm 0 the quotient is infinite
    return {name: gradient * scale for name, gradient in grads.items()}, norm
    ### END SOLUTION


# %% check="a4/clip_grad_norm"
check("a4/clip_grad_norm", clip_grad_norm)

# %% [markdown] question="one_norm_for_all" points=3
# **Question 3 (3 points).** (a) A model has two weights $w_1$ and $w_2$, each a tensor of its own, with gradients 30
# and 0.4; the limit is 3. Compute what is left after clipping by the common norm, and after clipping each tensor by
# its own norm. Which of the two still points along the gradient, and what does the other one do? (b) Somebody forgets
# the root and compares, and divides by, $\lVert g \rVert^2$. What is the norm after clipping if
# $\lVert g \rVert = 30$ and $c = 3$? What happens at $\lVert g \rVert = 2$? (c) Clipping deals with exploding
# gradients. Why is there no such simple remedy for vanishing ones, such as scaling small gradients up?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Common norm $\sqrt{900.16} \approx 30.0$, factor 0.1: (3.0, 0.04), parallel to the gradient.
# Each for itself: (3, 0.4): the second weight moves ten times as far, relative to the first, as the gradient says;
# the direction depends on how the parameters happen to be cut into tensors, and a step need no longer be the steepest
# way down (it still goes down for a small enough step, as each entry keeps its sign). (b) Factor $3/900$, so the norm
# is $30 \cdot 3 / 900 = 0.1$ instead of 3: the larger the gradient, the smaller the step. At 2 the square, 4, is
# above 3, so a gradient that should be left alone is scaled by 3/4. (c) An exploded gradient still has a direction,
# only its length is wrong. In a vanished one the contribution of early steps is not small as a whole but small
# *beside* that of the late steps, which is added to it in the same $dW_h$. Scaling the sum up makes both larger; what
# the early steps say stays drowned (or has been rounded away). What helps is another architecture, such as gates.
#
# *Rubric.* 1 point: both results and that the common factor keeps the direction. 1 point: 0.1 (or "too small, the
# more so the larger") and that norms between $\sqrt c$ and $c$ are clipped without need. 1 point: sums of
# contributions of different age, so scaling does not bring the early ones back.
# ### END MARK SCHEME

# %% [markdown]
# The second device: a text of 400,000 characters is *one* sequence, and nobody wants to keep the caches of 400,000
# steps. So the text is cut into **chunks** of a few dozen steps. Forward, the state is carried on from chunk to
# chunk, so that the network can remember what was long ago. Backward, gradients stop at the chunk's beginning:
# *truncated* backpropagation through time.
#
# To have a batch, let $N$ readers read at once, from different places. Of $L$ tokens (here $L$ is a length, not the
# loss) each but the last has a successor to be predicted, so every reader gets $S = \lfloor (L - 1) / N \rfloor$
# steps. Reader $n$ (from 0) begins at token $nS$ and reads on:
#
# | | chunk 0 | chunk 1 | chunk 2 |
# | --- | --- | --- | --- |
# | reader 0 | tokens $0 \dots C - 1$ | tokens $C \dots 2C - 1$ | … to $S - 1$ |
# | reader 1 | tokens $S \dots S + C - 1$ | tokens $S + C \dots S + 2C - 1$ | … to $2S - 1$ |
#
# $C$ is `chunk_length`; the last chunk is shorter if $C$ does not divide $S$. The **targets** are the tokens that
# follow: one further on in the text, also at the end of a reader's part, where the next token is the first of the
# next reader. What is left over at the end of the text, fewer than $N$ tokens, is not used. Row $n$ of a chunk goes
# on exactly where row $n$ of the chunk before it ended; only so is the state that is carried the right one.


# %% exercise="a4/truncated_bptt_chunks"
def truncated_bptt_chunks(tokens, batch_size, chunk_length):
    """Cut a text into batches of chunks, so that each row goes on where it ended in the chunk before.

    Args:
        tokens: The text, shape (L,) with L at least 1, int64; not modified.
        batch_size: Number of readers N, at least 1.
        chunk_length: Steps of a chunk, at least 1.

    Returns:
        A list of pairs ``(inputs, targets)``, all int64 and of shape (N, chunk_length); the last pair may have fewer
        steps, but at least one. Side by side, the inputs have shape (N, S) with ``S = (L - 1) // N``; entry (n, s) is
        ``tokens[n * S + s]`` in the inputs and ``tokens[n * S + s + 1]`` in the targets. If S is 0, the list is empty.
    """
    ### BEGIN SOLUTION
    steps = (len(tokens) - 1) // batch_size
    inputs, targets = (tokens[first : first + batch_size * steps].reshape(batch_size, steps) for first in (0, 1))
    starts = range(0, steps, chunk_length)
    return [(inputs[:, s : s + chunk_length], targets[:, s : s + chunk_length]) for s in starts]
    ### END SOLUTION


# %% check="a4/truncated_bptt_chunks"
check("a4/truncated_bptt_chunks", truncated_bptt_chunks)

# %% [markdown] question="what_truncation_loses" points=3
# **Question 4 (3 points).** A text is read in chunks of 50 characters, with the state carried on. (a) A bracket is
# opened 120 characters before it is closed. Can the network *use* the opening bracket when it predicts the closing
# one? Can it *learn* to keep it in mind from this example? (b) What changes if the state is set to 0 at the beginning
# of each chunk? Why do the losses of the first steps of each chunk become worse? (c) Someone shuffles the list of
# chunks before each epoch, as one does with images. What goes wrong?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Use: yes, if the state still holds it, because forward nothing is cut. Learn: not from this
# example. The gradient of the loss at the closing bracket stops at the beginning of its chunk, at most 49 steps back,
# and never reaches the step at which the bracket was read; no weight is told to store it *there*. It may learn to
# keep such things from nearer examples, of within one chunk, and what it has learned may then carry further. (b)
# Nothing from before the chunk can be used at all; at the first step the network sees one character and knows nothing
# of what was before it, as often as there are chunks; at the first positions it can at best be as good as counts of
# pairs, triples and so on. Besides, training and writing differ: when it writes, the state is never reset. (c) The
# state carried then comes from another place of the text: row $n$ of a chunk no longer goes on where row $n$ of the
# chunk before ended. The network is given a misleading memory and learns to ignore it. (With states reset to 0,
# shuffling would be fine.)
#
# *Rubric.* 1 point: can use, cannot learn from this example, because the gradient stops. 1 point: no context at the
# first steps. 1 point: state and text no longer fit.
# ### END MARK SCHEME

# %% [markdown]
# ## 7. A language model
#
# Put it together. At each step the model reads a token and predicts the next:
#
# $$\underbrace{\text{inputs}}_{(N, T)} \xrightarrow{E} \underbrace{x}_{(N, T, D)} \xrightarrow{W_x,\, W_h,\, b,\, h_0}
# \underbrace{h}_{(N, T, H)} \xrightarrow{W_o,\, b_o} \underbrace{s}_{(N, T, V)} \xrightarrow{\text{targets}} L .$$
#
# Backward runs through the same layers the other way. All steps count here. The state after the last step is
# returned, for the next chunk to start from; $dh_0$ is thrown away, which is the truncation.


# %% exercise="a4/language_model_loss"
def language_model_loss(inputs, targets, h0, params):
    """Compute loss and gradients of a recurrent language model on one batch of chunks.

    Args:
        inputs: Tokens that are read, shape (N, T), int64 in 0 … V-1.
        targets: Tokens to be predicted, shape (N, T), int64 in 0 … V-1.
        h0: State that the chunk starts from, shape (N, H), floating point; not modified.
        params: Dict of weights, none of them modified: ``"E"`` (V, D), ``"Wx"`` (D, H), ``"Wh"`` (H, H), ``"b"`` (H,),
            ``"Wo"`` (H, V), ``"bo"`` (V,).

    Returns:
        ``(loss, grads, h_last)``: the loss, summed over steps and averaged over the batch; a dict of gradients with the
        names of ``params``; and the state after the last step, shape (N, H).
    """
    ### BEGIN SOLUTION
    words, word_cache = word_embedding_forward(inputs, params["E"])
    h, rnn_cache = rnn_forward(words, h0, params["Wx"], params["Wh"], params["b"])
    scores, score_cache = temporal_affine_forward(h, params["Wo"], params["bo"])
    loss, dscores = temporal_softmax_loss(scores, targets, torch.ones_like(targets, dtype=torch.bool))
    grads = {}
    dh, grads["Wo"], grads["bo"] = temporal_affine_backward(dscores, score_cache)
    dwords, _, grads["Wx"], grads["Wh"], grads["b"] = rnn_backward(dh, rnn_cache)
    grads["E"] = word_embedding_backward(dwords, word_cache)
    return loss, grads, h[:, -1]
    ### END SOLUTION


# %% check="a4/language_model_loss"
check("a4/language_model_loss", language_model_loss)

# %% [markdown]
# ## 8. Writing
#
# To write, let the model predict, **draw** a word, and feed it back in as the next input. Always taking the likeliest
# word soon runs in circles; drawing with the model's probabilities is livelier, but now and then something very
# unlikely turns up and spoils what follows. Two knobs lie between the two:
#
# - **Temperature** $\tau$: the probabilities are $\operatorname{softmax}(s / \tau)$. Below 1 likely words become
#   likelier; above 1 all come closer together; at $\tau = 0$, which is a case of its own, the largest score gets
#   probability 1, and of equal ones the first.
# - **Top-k**: only words whose score is at least the $k$-th largest score *of their row* stay in the race. Where
#   several are equal to the $k$-th largest, all of these stay. The probabilities of those that are left add up to 1.
#
# This is a matter of use, not of training: `torch.softmax` is allowed in the two functions.


# %% exercise="a4/sampling_probabilities"
def sampling_probabilities(logits, temperature, top_k):
    """Compute the probabilities that words are drawn with.

    Args:
        logits: Scores, shape (N, V), floating point of any size, such as 1e4; not modified.
        temperature: At least 0. At 0, the first of the largest scores of each row gets probability 1, whatever
            ``top_k`` is.
        top_k: None for all words, or a number of at least 1: words whose score is below the ``top_k``-th largest of
            their row get probability 0. With V or more, all words are kept.

    Returns:
        Shape (N, V), dtype of ``logits``; each row adds up to 1.
    """
    ### BEGIN SOLUTION
    if temperature == 0:
        return torch.zeros_like(logits).scatter(1, logits.argmax(dim=1, keepdim=True), 1.0)
    if top_k is not None:
        least = logits.topk(min(top_k, logits.shape[1]), dim=1).values[:, -1:]  # (N, 1)
        logits = logits.masked_fill(logits < least, -math.inf)
    return torch.softmax(logits / temperature, dim=1)
    ### END SOLUTION


# %% check="a4/sampling_probabilities"
check("a4/sampling_probabilities", sampling_probabilities)

# %% [markdown]
# And the draw itself. `torch.multinomial` draws from rows of probabilities and takes a `generator`. With a generator
# of one's own a text can be written again exactly, whatever else draws random numbers in the meantime.


# %% exercise="a4/sample"
def sample(logits, temperature, top_k, generator):
    """Draw one word per row.

    Args:
        logits: Scores, shape (N, V), floating point of any size, such as 1e4; not modified.
        temperature: At least 0; see ``sampling_probabilities``.
        top_k: None or at least 1; see ``sampling_probabilities``.
        generator: ``torch.Generator`` on the device of ``logits``, the only source of randomness.

    Returns:
        Words, shape (N,), int64; each drawn by itself with the probabilities of its row.
    """
    ### BEGIN SOLUTION
    probabilities = sampling_probabilities(logits, temperature, top_k)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    ### END SOLUTION


# %% check="a4/sample"
check("a4/sample", sample)

# %% [markdown]
# ## 9. Learning to write documentation
#
# The text ships with Python: the module `pydoc_data.topics` holds parts of Python's documentation, mostly of *The
# Python Language Reference* (© Python Software Foundation, PSF licence), for `help("for")` and the like. In Python 3.11
# it is 79 topics with 465,000 characters, 103 different ones; other versions differ a little. A character is a word
# here. The last 5 % of the text is kept for validation.
#
# How good is a loss? Per character, in nats: guessing among 103 characters costs $\log 103 = 4.63$. A model that
# knows how frequent each character is, and one that knows which character follows which, are counted in the cell
# below.

# %% tags=["demo"]
from pydoc_data.topics import topics

text = "\n".join(topics[name] for name in sorted(topics))
letters = sorted(set(text))
number = {letter: n for n, letter in enumerate(letters)}
tokens = torch.tensor([number[letter] for letter in text])
cut = int(0.95 * len(tokens))
train_tokens, val_tokens = tokens[:cut], tokens[cut:]
V = len(letters)
print(f"{len(text):,} characters, {V} different ones; guessing costs {math.log(V):.2f} nats per character")

singles = torch.bincount(train_tokens, minlength=V) + 0.1
pairs = torch.bincount(train_tokens[:-1] * V + train_tokens[1:], minlength=V * V).reshape(V, V) + 0.1
unigram = -(singles / singles.sum()).log()[val_tokens].mean().item()
bigram = -(pairs / pairs.sum(1, keepdim=True)).log()[val_tokens[:-1], val_tokens[1:]].mean().item()
print(
    f"validation: {unigram:.2f} if one knows each character's frequency, {bigram:.2f} if one knows the character before"
)

# %% [markdown]
# The model has 256 units and embeddings of 64 numbers. $W_h$ starts as an orthogonal matrix, times 0.9: after section
# 3 you know why something near 1 is wanted. Training: 32 readers, chunks of 50 characters, states carried on,
# gradients clipped, Adam with a learning rate that rises for 50 steps and then falls along a cosine. While it trains
# it writes; the first samples are worth a look.


# %% tags=["demo"]
def make_model(V, D, H, generator):
    """Draw first weights for a language model."""

    def draw(fan_in, fan_out):
        return torch.randn(fan_in, fan_out, generator=generator) / math.sqrt(fan_in)

    orthogonal = torch.linalg.qr(torch.randn(H, H, generator=generator))[0]
    return {
        "E": 0.5 * torch.randn(V, D, generator=generator),
        "Wx": draw(D, H),
        "Wh": 0.9 * orthogonal,
        "b": torch.zeros(H),
        "Wo": draw(H, V),
        "bo": torch.zeros(V),
    }


def write(params, beginning, length, temperature, top_k, generator):
    """Let the model go on from a beginning; return the beginning and what it wrote."""
    weights = params["Wx"], params["Wh"], params["b"]
    read = torch.tensor([[number[letter] for letter in beginning]])
    h = rnn_forward(params["E"][read], torch.zeros(1, len(params["Wh"])), *weights)[0][:, -1]
    written = beginning
    for _ in range(length):
        token = sample(h @ params["Wo"] + params["bo"], temperature, top_k, generator)
        written += letters[token.item()]
        h = rnn_step_forward(params["E"][token], h, *weights)[0]
    return written


def measure_validation_loss(params, tokens):
    """Return nats per character, states carried on throughout."""
    h, total, count = torch.zeros(16, len(params["Wh"])), 0.0, 0
    for inputs, targets in truncated_bptt_chunks(tokens, 16, 100):
        loss, _, h = language_model_loss(inputs, targets, h, params)
        total, count = total + 16 * loss.item(), count + inputs.numel()
    return total / count


units, readers, chunk_length, max_norm, rate = 256, 32, 50, 40.0, 4e-3
chunks = truncated_bptt_chunks(train_tokens, readers, chunk_length)
total = 60 if is_fast() else 5 * len(chunks)
source = torch.Generator().manual_seed(0)
params = make_model(V, 64, units, source)
optimiser = torch.optim.Adam(params.values())
losses, norms, val_losses = [], [], {}
h = torch.zeros(readers, units)
progress = tqdm(range(total), desc="training")
for step in progress:
    place = step % len(chunks)
    if place == 0:
        h = torch.zeros(readers, units)  # back at the beginning of the text
    loss, grads, h = language_model_loss(*chunks[place], h, params)
    clipped, norm = clip_grad_norm(grads, max_norm)
    for group in optimiser.param_groups:
        group["lr"] = rate * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / total)) / 2
    for name, weight in params.items():
        weight.grad = clipped[name]
    optimiser.step()
    losses.append(loss.item() / chunks[place][0].shape[1])
    norms.append(float(norm))
    if step + 1 in {total // 30, total // 6, total // 2, total}:
        val_losses[step + 1] = measure_validation_loss(params, val_tokens[:3000] if is_fast() else val_tokens)
        tqdm.write(f"--- step {step + 1}, validation {val_losses[step + 1]:.2f} nats per character")
        tqdm.write(write(params, "The ", 60 if is_fast() else 200, 0.7, None, source))
    progress.set_postfix(loss=f"{losses[-1]:.2f}", refresh=False)

# %% tags=["demo"]
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
axes[0].plot(losses, color=COLOURS[0], lw=0.6, alpha=0.7, label="training, each chunk")
axes[0].plot(list(val_losses), list(val_losses.values()), "o-", color=COLOURS[1], label="validation")
for value, name in ((math.log(V), "guessing"), (unigram, "frequencies"), (bigram, "the character before")):
    axes[0].axhline(value, color="grey", lw=0.8, ls="--")
    axes[0].text(total, value + 0.04, name, ha="right", fontsize=8, color="#555555")
axes[0].set_ylabel("nats per character")
axes[0].legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.55, 0.86))
axes[1].plot(norms, color=COLOURS[2], lw=0.6)
axes[1].axhline(max_norm, color=COLOURS[1], lw=1, ls="--", label="max_norm")
axes[1].set_yscale("log")
axes[1].set_ylabel("norm of all gradients, before clipping")
axes[1].legend(frameon=False, fontsize=9)
for axis in axes:
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
plt.show()
print(f"{sum(norm > max_norm for norm in norms) / len(norms):.0%} of the steps were clipped")

# %% [markdown]
# What to expect, as measured with Python 3.11 at full length (five times through the text, 1385 steps, about 36 seconds
# of one CPU core; other versions of Python and torch give slightly other numbers): on the validation text, the loss is
# below that of counted pairs (2.24) after 46 steps already; it is 1.47 after 230 and 1.15 at the end, which is 1.66
# bits per character. First come the lengths of words, then words, then quoted keywords and line breaks where the
# documentation has them. Sense does not come.
#
# Only 2 % of the steps were clipped, nearly all of them among the first 40, where the norm went up to about 124; that
# is when clipping earns its keep. The five dips are the last chunk of each pass: it has 6 steps instead of 50, and a
# loss that is summed over steps has a short gradient then.
#
# ### Temperature and top-k
#
# The same beginning and the same generator, with other settings:

# %% tags=["demo"]
length = 80 if is_fast() else 240
for temperature, top_k in ((0.0, None), (0.5, None), (1.0, None), (1.0, 3), (1.5, None)):
    kept = "all characters" if top_k is None else f"top {top_k}"
    print(f"=== temperature {temperature:g}, {kept}")
    print(write(params, "The ", length, temperature, top_k, torch.Generator().manual_seed(1)), end="\n\n")

# %% [markdown]
# At temperature 0 the model runs in a circle after a few words: once a state nearly returns, so does what follows it.
# At 0.5 most words exist; at 1 some are invented, because among 103 characters there are many unlikely ones, and
# together they are drawn often; top 3 cuts these off and leaves the choice between the likely ones as it is. At 1.5
# hardly a word survives. (At full length; after the short training there are hardly any words yet, and at temperature 0
# nothing but spaces.)
#
# ### How far back does it look?
#
# A measurement instead of a guess. The validation text is read in chunks that all start from $h_0 = 0$, and the loss
# is averaged for each position in the chunk. At position 0 the model knows one character, at position 10 eleven.

# %% tags=["demo"]
cuts = truncated_bptt_chunks(val_tokens, len(val_tokens) // 60 - 1, 60)
inputs, targets = cuts[0]
states, _ = rnn_forward(params["E"][inputs], torch.zeros(len(inputs), units), *(params[n] for n in ("Wx", "Wh", "b")))
scores = states @ params["Wo"] + params["bo"]
penalties = -scores.log_softmax(2).gather(2, targets[..., None])[..., 0].mean(0)
figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
axis.plot(penalties, color=COLOURS[0], lw=2, label="started from zeros")
axis.axhline(list(val_losses.values())[-1], color=COLOURS[1], ls="--", label="state carried on")
axis.axhline(bigram, color="grey", ls="--", lw=0.8)
axis.text(len(penalties) - 1, bigram + 0.02, "pairs of characters, counted", ha="right", fontsize=8, color="#555555")
axis.set_xlabel("position in the chunk")
axis.set_ylabel("nats per character")
axis.legend(frameon=False, fontsize=9)
axis.grid(alpha=0.3)
plt.show()
print(" ".join(f"{p}: {penalties[p]:.2f}" for p in (0, 1, 2, 5, 10, 20, 40)))

# %% [markdown]
# From 3.48 at the first position the loss falls to 1.3 after five characters and about 1.2 after ten, as good as with
# the state carried on but for noise, which is about 0.1 here. So most of what this network uses are the last ten
# characters or so, although the state could hold more and gradients went back up to 49 steps. The first position is
# even worse than counted pairs, because a state of zeros is something that the network has met in training only once
# in 277 chunks.
# In the next notebook, *gates* will keep gradients alive for longer.
#
# ## Where to read more
#
# - Jeffrey Elman, *Finding structure in time*, Cognitive Science 14, 1990: the network of this notebook, and what its
#   states learn.
# - Paul Werbos, *Backpropagation through time: what it does and how to do it*, Proceedings of the IEEE 78, 1990.
# - Yoshua Bengio, Patrice Simard and Paolo Frasconi, *Learning long-term dependencies with gradient descent is
#   difficult*, IEEE Transactions on Neural Networks 5, 1994: vanishing gradients, and why remembering and learning
#   are at odds.
# - Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, *On the difficulty of training recurrent neural networks*, 2013,
#   arXiv:1211.5063: section 3 and clipping.
# - Ilya Sutskever, James Martens and Geoffrey Hinton, *Generating text with recurrent neural networks*, 2011:
#   characters as words.
# - Andrej Karpathy, *The unreasonable effectiveness of recurrent neural networks*, 2015 (blog post): what such
#   networks write, and single units that follow quotes and brackets.

# %%
check.summary()
