# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # LSTM and GRU
#
# A plain recurrent network writes its whole state anew at every step. What it saw fifty steps ago has been multiplied
# by fifty matrices and squashed fifty times, and so has the gradient that could tell it to remember. The LSTM keeps a
# second state, to which it *adds*, and lets small learned gates decide what is written, what is kept and what is shown.
# In this notebook you will
#
# - write **one step of an LSTM** and its backward pass, and then **the whole layer**, by backpropagation through time;
# - bring **torch's weights** into your layer and get the same numbers;
# - record what the **gates** do, compute how much of a memory is **left** after many steps, and start the forget gate
#   **open**;
# - write the **GRU**, which makes do with one state and three blocks of weights where the LSTM has two and four;
# - **measure** how the gradient fades on its way back in each of them, and train all of them on a task that needs
#   memory: the plain network guesses, yours do not.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $N$, $T$, $D$, $H$ | sequences in the batch, steps, features of an input, units | numbers |
# | $x_t$ | input at step $t$; all of them are `x`, $(N, T, D)$ | $(N, D)$ |
# | $h_t$ | hidden state after step $t$: what the layer puts out, `h`, $(N, T, H)$ | $(N, H)$ |
# | $c_t$ | cell state after step $t$ (LSTM only) | $(N, H)$ |
# | $W_x$, $W_h$, $b$ | weights of the LSTM; the 4 blocks of $H$ columns are $i, f, o, g$ | $(D, 4H)$, $(H, 4H)$, $(4H,)$ |
# | $W_x$, $W_h$, $b_x$, $b_h$ | weights of the GRU; the 3 blocks are $r, z, n$ | $(D, 3H)$, $(H, 3H)$, $(3H,)$, $(3H,)$ |
# | $\sigma$, $\odot$ | $\sigma(a) = 1 / (1 + e^{-a})$; product entry by entry | |
# | $dS$, short for $\partial L / \partial S$ | gradient of the loss $L$, a number, with respect to any tensor $S$ | as $S$ |

# %% tags=["setup"]
import math

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Circle, FancyBboxPatch
from torch import nn
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.layers import layer, softmax_loss
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast

# %% [markdown]
# ## 1. A state that is added to
#
# The plain network computes $h_t = \tanh(x_t W_x + h_{t-1} W_h + b)$. On the way back, each step multiplies the
# gradient by $W_h^\top$ and by the slope of tanh, which is at most 1. Fifty such factors make it tiny, or huge if $W_h$
# is large, and only by luck neither.
#
# The LSTM (long short-term memory, 1997) takes another road. Its cell state changes like this:
#
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t .$$
#
# No matrix and no squashing lies between $c_{t-1}$ and $c_t$, only a **forget gate** $f_t$ between 0 (erase) and 1
# (keep). The **input gate** $i_t$ says how much is written, and the **candidate** $g_t$, between −1 and 1, says *what*.
# The **output gate** $o_t$ says how much of the cell is shown to the outside:
#
# $$h_t = o_t \odot \tanh c_t .$$
#
# All four see the same, the input and the previous hidden state, each through weights of its own. One product serves
# all four:
#
# $$\underbrace{a_t}_{(N, 4H)} = x_t W_x + h_{t-1} W_h + b, \qquad
# a_t = \big(\, a^i \;\big|\; a^f \;\big|\; a^o \;\big|\; a^g \,\big),$$
#
# $$i_t = \sigma(a^i), \quad f_t = \sigma(a^f), \quad o_t = \sigma(a^o), \quad g_t = \tanh(a^g),
# \qquad \text{each } (N, H).$$
#
# Mind the order. This course has $i, f, o, g$, so that what goes through a sigmoid lies side by side; torch has
# $i, f, g, o$.

# %% tags=["demo"]
figure, axis = plt.subplots(figsize=(8.6, 3.7), layout="constrained")


def draw_arrow(start, end, colour="#555555"):
    axis.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
    )


def draw_node(x, y, text, colour, radius=0.24):
    axis.add_patch(Circle((x, y), radius, facecolor="white", edgecolor=colour, lw=1.8, zorder=3))
    axis.text(x, y - 0.01, text, ha="center", va="center", fontsize=11, zorder=4)


axis.plot([0.2, 9.6], [3, 3], color=COLOURS[0], lw=4, solid_capstyle="butt", zorder=1)
draw_arrow((9.5, 3), (9.8, 3), COLOURS[0])
axis.text(0.1, 3, "$c_{t-1}$", ha="right", va="center", fontsize=13)
axis.text(9.9, 3, "$c_t$", ha="left", va="center", fontsize=13)
draw_node(2, 3, "×", COLOURS[0])
draw_node(4.2, 3, "+", COLOURS[0])
gates = [
    (2, "$\\sigma$", "$f$  keep?"),
    (3.6, "$\\sigma$", "$i$  write?"),
    (4.8, "tanh", "$g$  what?"),
    (7.6, "$\\sigma$", "$o$  show?"),
]
for x, text, name in gates:
    box = FancyBboxPatch(
        (x - 0.4, 0.75), 0.8, 0.42, boxstyle="round,pad=0.04", facecolor="#f3e6c4", edgecolor="#b59a3c"
    )
    axis.add_patch(box)
    axis.text(x, 0.96, text, ha="center", va="center", fontsize=11)
    side, ha = (-0.12, "right") if x < 4 else (0.12, "left")
    axis.text(x + side, 1.42, name, ha=ha, va="center", fontsize=10, color="#666666")
    draw_arrow((x, 0.2), (x, 0.7))
axis.plot([0.2, 7.6], [0.2, 0.2], color="#555555", lw=1.6)
axis.text(0.1, 0.2, "$x_t,\\; h_{t-1}$", ha="right", va="center", fontsize=13)
draw_arrow((2, 1.22), (2, 2.74))
draw_node(4.2, 2.1, "×", "#555555")
draw_arrow((3.6, 1.22), (4.02, 1.92))
draw_arrow((4.8, 1.22), (4.38, 1.92))
draw_arrow((4.2, 2.36), (4.2, 2.74))
draw_node(7.6, 2.1, "×", "#555555")
axis.plot([6.4, 6.4], [3, 2.1], color="#555555", lw=1.6)
draw_arrow((6.4, 2.1), (7.34, 2.1))
axis.text(6.3, 2.5, "tanh", ha="right", va="center", fontsize=10, color="#666666")
draw_arrow((7.6, 1.22), (7.6, 1.84))
draw_arrow((7.86, 2.1), (9.8, 2.1))
axis.text(9.9, 2.1, "$h_t$", ha="left", va="center", fontsize=13)
axis.set_xlim(-1.1, 10.5)
axis.set_ylim(-0.1, 3.5)
axis.set_aspect("equal")
axis.axis("off")
plt.show()

# %% [markdown]
# The blue line is the cell state: along it there is one product and one sum. It begins left of the step and goes on to
# its right, from step to step.
#
# You may use `torch.sigmoid` and `torch.tanh`, in this notebook, as functions or methods. They are right for
# pre-activations of any size; a sigmoid written as $e^a / (1 + e^a)$ is not, as $e^{1000}$ is infinite.


# %% exercise="a4/lstm_step"
def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    """Compute one step of an LSTM.

    Args:
        x: Inputs of shape (N, D), floating point; not modified, like all arguments.
        prev_h: Hidden state before the step, shape (N, H), dtype and device as ``x``.
        prev_c: Cell state before the step, shape (N, H).
        Wx: Weights of the input, shape (D, 4H); the four blocks of H columns belong to i, f, o, g, in this order.
        Wh: Weights of the hidden state, shape (H, 4H), in the same order.
        b: Biases, shape (4H,), in the same order.

    Returns:
        ``(next_h, next_c, cache)``: hidden state and cell state after the step, both (N, H), finite for
        pre-activations of any size; and what ``lstm_step_backward`` needs.
    """
    ### BEGIN SOLUTION
    H = prev_h.shape[1]
    a = x @ Wx + prev_h @ Wh + b  # (N, 4H)
    i, f, o = a[:, : 3 * H].sigmoid().chunk(3, dim=1)
    g = a[:, 3 * H :].tanh()
    next_c = f * prev_c + i * g
    tanh_c = next_c.tanh()
    return o * tanh_c, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c)
    ### END SOLUTION


# %% [markdown]
# ### The way back
#
# A step has two outputs, so two gradients come in: $dh_t$ and $dc_t$, which is what the *later* steps tell the cell.
# The cell has a second way to the loss, through $h_t$. Both add up to the whole gradient of the cell, $(N, H)$,
#
# $$\delta = dc_t + dh_t \odot o_t \odot (1 - \tanh^2 c_t) .$$
#
# From here on each product passes the gradient to one factor, multiplied by the other:
#
# $$do_t = dh_t \odot \tanh c_t, \qquad di_t = \delta \odot g_t, \qquad df_t = \delta \odot c_{t-1}, \qquad
# dg_t = \delta \odot i_t, \qquad dc_{t-1} = \delta \odot f_t .$$
#
# Then through the squashing functions, whose slopes are best written with their outputs. For each of the gates
# $s \in \{i, f, o\}$,
#
# $$da^s = ds \odot s \odot (1 - s), \qquad da^g = dg \odot (1 - g \odot g) ,$$
#
# and with $da_t = (da^i \,|\, da^f \,|\, da^o \,|\, da^g)$, $(N, 4H)$, the rest is an affine layer's:
#
# $$dx_t = da_t W_x^\top, \quad dh_{t-1} = da_t W_h^\top, \quad dW_x = x_t^\top da_t, \quad dW_h = h_{t-1}^\top da_t,
# \quad db = \textstyle\sum_n da_{t,n} .$$
#
# *An example with one unit.* Let $c_{t-1} = 2$ and $f = 0.9$, $i = 0.5$, $g = -0.6$, $o = 0.2$. Then
# $c_t = 1.8 - 0.3 = 1.5$, $\tanh c_t = 0.905$ and $h_t = 0.181$. With $dh_t = 1$ and $dc_t = 0.5$,
#
# $$\delta = 0.5 + 1 \cdot 0.2 \cdot (1 - 0.819) = 0.536, \qquad dc_{t-1} = 0.9 \cdot 0.536 = 0.483, \qquad
# df = 2 \cdot 0.536 = 1.072, \qquad do = 0.905 .$$


# %% exercise="a4/lstm_step"
def lstm_step_backward(dnext_h, dnext_c, cache):
    """Compute the backward pass of one step of an LSTM.

    Args:
        dnext_h: Gradient of the hidden state after the step, shape (N, H); not modified.
        dnext_c: Gradient of the cell state after the step, as told by later steps (the way through ``next_h`` is not
            in it), shape (N, H); not modified.
        cache: What ``lstm_step_forward`` returned.

    Returns:
        ``(dx, dprev_h, dprev_c, dWx, dWh, db)``: gradients of shapes (N, D), (N, H), (N, H), (D, 4H), (H, 4H), (4H,).
    """
    ### BEGIN SOLUTION
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, tanh_c = cache
    dc = dnext_c + dnext_h * o * (1 - tanh_c**2)
    di, df, do, dg = dc * g, dc * prev_c, dnext_h * tanh_c, dc * i
    da = torch.cat([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)], dim=1)
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(0)
    ### END SOLUTION


# %% check="a4/lstm_step"
check("a4/lstm_step", lstm_step_forward, lstm_step_backward)

# %% [markdown]
# ## 2. Through time
#
# The layer repeats the step, with the same weights for all steps. The hidden state starts at $h_0$, which is given (an
# encoder may have made it), and the cell starts **empty**: $c_0 = 0$.
#
# Backward runs through the steps from the last to the first. $h_t$ reaches the loss in two ways: the layer put it out,
# so `dh[:, t - 1]` comes from above (code counts steps from 0), and step $t+1$ used it, so `dprev_h` comes from there.
# The two are **added**. The gradient of the cell comes from step $t + 1$ alone; at the last step there is none, so it
# is zero. And as all steps share the weights, the gradients of the weights add up over time.


# %% exercise="a4/lstm"
def lstm_forward(x, h0, Wx, Wh, b):
    """Compute an LSTM over whole sequences.

    Args:
        x: Inputs of shape (N, T, D), T at least 1, floating point; not modified, like all arguments.
        h0: Hidden state before the first step, shape (N, H). The cell state before the first step is zero.
        Wx: Weights of the input, shape (D, 4H), blocks i, f, o, g.
        Wh: Weights of the hidden state, shape (H, 4H), in the same order.
        b: Biases, shape (4H,), in the same order.

    Returns:
        ``(h, cache)``: the hidden states after each step, shape (N, T, H); and what ``lstm_backward`` needs.
    """
    ### BEGIN SOLUTION
    h, c = h0, torch.zeros_like(h0)
    states, caches = [], []
    for x_t in x.unbind(1):
        h, c, cache = lstm_step_forward(x_t, h, c, Wx, Wh, b)
        states.append(h)
        caches.append(cache)
    return torch.stack(states, dim=1), caches
    ### END SOLUTION


# %% exercise="a4/lstm"
def lstm_backward(dh, cache):
    """Compute the backward pass of an LSTM over whole sequences.

    Args:
        dh: Upstream gradient of the hidden states, shape (N, T, H), of each as an output (what goes from step to step
            is not in it); not modified.
        cache: What ``lstm_forward`` returned.

    Returns:
        ``(dx, dh0, dWx, dWh, db)``: gradients of shapes (N, T, D), (N, H), (D, 4H), (H, 4H) and (4H,).
    """
    ### BEGIN SOLUTION
    dprev_h = dprev_c = torch.zeros_like(dh[:, 0])
    dx, dWx, dWh, db = [], 0, 0, 0
    for t in reversed(range(dh.shape[1])):
        dx_t, dprev_h, dprev_c, *found = lstm_step_backward(dh[:, t] + dprev_h, dprev_c, cache[t])
        dx.append(dx_t)
        dWx, dWh, db = dWx + found[0], dWh + found[1], db + found[2]
    return torch.stack(dx[::-1], dim=1), dprev_h, dWx, dWh, db
    ### END SOLUTION


# %% check="a4/lstm"
check("a4/lstm", lstm_forward, lstm_backward)

# %% [markdown]
# ## 3. Weights from torch
#
# Sooner or later you will load weights that somebody else has trained. `torch.nn.LSTM` keeps them differently: outputs
# come first, the blocks are in another order, and there are two biases.
#
# | torch | shape | course | shape |
# | --- | --- | --- | --- |
# | `weight_ih_l0` | $(4H, D)$, blocks of rows $i, f, g, o$ | `Wx` | $(D, 4H)$, blocks of columns $i, f, o, g$ |
# | `weight_hh_l0` | $(4H, H)$, likewise | `Wh` | $(H, 4H)$, likewise |
# | `bias_ih_l0`, `bias_hh_l0` | $(4H,)$ each, likewise; both are added to $a$ | `b` | $(4H,)$ |


# %% exercise="a4/from_torch_lstm"
def from_torch_lstm(weight_ih, weight_hh, bias_ih, bias_hh):
    """Bring the weights of a ``torch.nn.LSTM`` of one layer into the course's layout.

    Args:
        weight_ih: Weights of the input, shape (4H, D), blocks of rows i, f, g, o; not modified, like all arguments.
        weight_hh: Weights of the hidden state, shape (4H, H), in the same order.
        bias_ih: Biases, shape (4H,), in the same order.
        bias_hh: More biases, shape (4H,), in the same order.

    Returns:
        ``(Wx, Wh, b)`` of shapes (D, 4H), (H, 4H) and (4H,), with which ``lstm_forward`` computes what torch does.
    """
    ### BEGIN SOLUTION
    i, f, g, o = torch.arange(len(bias_ih), device=bias_ih.device).chunk(4)
    rows = torch.cat([i, f, o, g])
    return weight_ih[rows].T, weight_hh[rows].T, (bias_ih + bias_hh)[rows]
    ### END SOLUTION


# %% check="a4/from_torch_lstm"
check("a4/from_torch_lstm", from_torch_lstm)

# %% [markdown]
# Your layer and torch's, with the same weights, on 30 steps in float64. The differences should be of the size of
# rounding errors, about $10^{-16}$ for the states and not much more for the gradients.

# %% tags=["demo"]
torch.manual_seed(0)
theirs = nn.LSTM(10, 20, batch_first=True, dtype=torch.float64)
x = torch.randn(4, 30, 10, dtype=torch.float64)
upstream = torch.randn(4, 30, 20, dtype=torch.float64)
weights = [parameter.detach() for parameter in theirs.parameters()]
h, cache = lstm_forward(x, torch.zeros(4, 20, dtype=torch.float64), *from_torch_lstm(*weights))
variable = x.clone().requires_grad_()
h_torch, _ = theirs(variable)
h_torch.backward(upstream)
dx = lstm_backward(upstream, cache)[0]
print(
    f"largest difference of h: {float((h - h_torch.detach()).abs().max()):.1e}, "
    f"of dx: {float((dx - variable.grad).abs().max()):.1e}"
)

# %% [markdown]
# ## 4. Watching the gates
#
# A gate is a number between 0 and 1, one for each unit and step: it can be drawn. For that they have to be recorded.


# %% exercise="a4/lstm_traces"
def lstm_traces(x, h0, Wx, Wh, b):
    """Record what an LSTM does at each step.

    Args:
        x: Inputs of shape (N, T, D), T at least 1; not modified, like all arguments.
        h0: Hidden state before the first step, shape (N, H). The cell state before the first step is zero.
        Wx: Weights of the input, shape (D, 4H), blocks i, f, o, g.
        Wh: Weights of the hidden state, shape (H, 4H), in the same order.
        b: Biases, shape (4H,), in the same order.

    Returns:
        A dict with the keys ``"i"``, ``"f"``, ``"o"`` (the gates, after the sigmoid), ``"g"`` (the candidate, after the
        tanh) and ``"c"`` (the cell state after the step), each of shape (N, T, H), finite for pre-activations of any
        size.
    """
    ### BEGIN SOLUTION
    h, c = h0, torch.zeros_like(h0)
    traces = {name: [] for name in ("i", "f", "o", "g", "c")}
    for x_t in x.unbind(1):
        a_i, a_f, a_o, a_g = (x_t @ Wx + h @ Wh + b).chunk(4, dim=1)
        h, c, _ = lstm_step_forward(x_t, h, c, Wx, Wh, b)
        traces["i"].append(a_i.sigmoid())
        traces["f"].append(a_f.sigmoid())
        traces["o"].append(a_o.sigmoid())
        traces["g"].append(a_g.tanh())
        traces["c"].append(c)
    return {name: torch.stack(each, dim=1) for name, each in traces.items()}
    ### END SOLUTION


# %% check="a4/lstm_traces"
check("a4/lstm_traces", lstm_traces)

# %% [markdown]
# ## 5. What is left of a memory
#
# Follow the blue line from the end back to step $t$. Every step on the way multiplies by its forget gate, and by
# nothing else. So, along this line,
#
# $$\frac{\partial c_T}{\partial c_t} = \prod_{s = t + 1}^{T} f_s ,$$
#
# for each sequence and unit on its own. This is at once the share that is left at the end of what was written at step
# $t$, and the factor by which the gradient of the end is multiplied on its way back to step $t$: remembering and
# learning to remember are one and the same number. The LSTM's inventors had no forget gate at all, $f = 1$, and called
# the line the *constant error carousel*. (There are other ways from $c_t$ to $c_T$: through $h_t$ into the gates of
# step $t + 1$. They are the plain network's ways, with matrices and slopes on them. Section 8 measures all ways
# together.)


# %% exercise="a4/memory_kept"
def memory_kept(f):
    """Compute which share of what is written at each step is left in the cell after the last step.

    Args:
        f: Forget gates of shape (N, T, H), each from 0 to 1, both included; T at least 1; not modified.

    Returns:
        Shape (N, T, H): at step t, the product of the forget gates of all steps after t. At the last step that
        is 1. Exact where gates are 0, too: nothing is left of what came before a gate that is shut.
    """
    ### BEGIN SOLUTION
    kept = [torch.ones_like(f[:, 0])]
    for gate in reversed(f[:, 1:].unbind(1)):
        kept.append(kept[-1] * gate)
    return torch.stack(kept[::-1], dim=1)
    ### END SOLUTION


# %% check="a4/memory_kept"
check("a4/memory_kept", memory_kept)

# %% [markdown]
# ### A gate that starts open
#
# With small random weights and a bias of 0, forget gates are close to $\sigma(0) = 0.5$: fifty steps later
# $0.5^{50} = 9 \cdot 10^{-16}$ of a memory is left, and as much of the gradient. The network would have to learn to
# keep its gates open, but what would tell it so is the gradient that does not arrive.
#
# So give the forget gate a bias to start with. If every gate is $f = 1 - 1/\tau$, the product after $\tau$ steps is
# about $1/e = 0.37$: the cell remembers for $\tau$ steps. Solve $\sigma(b) = 1 - 1/\tau$ for $b$, and you have the
# exercise.


# %% exercise="a4/open_forget_gate"
def open_forget_gate(b, steps):
    """Return an LSTM's bias that lets the cell remember for about so many steps.

    Args:
        b: Biases of shape (4H,), blocks i, f, o, g; not modified.
        steps: The number of steps τ, an int or float above 1.

    Returns:
        A new tensor of shape (4H,): in the block of the forget gate, every entry is the number whose sigmoid is
        1 - 1 / steps; the other three blocks are those of ``b``.
    """
    ### BEGIN SOLUTION
    H = len(b) // 4
    opened = b.clone()
    opened[H : 2 * H] = math.log(steps - 1)
    return opened
    ### END SOLUTION


# %% check="a4/open_forget_gate"
check("a4/open_forget_gate", open_forget_gate)

# %% tags=["demo"]
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
T = 100
for number, steps in enumerate((2, 5, 20, 100, 1000)):
    bias = open_forget_gate(torch.zeros(4, dtype=torch.float64), steps)
    gate = bias[1].sigmoid()
    share = memory_kept(gate.expand(1, T, 1))[0, :, 0].flip(0)
    label = f"$\\tau$ = {steps}: b = {float(bias[1]):.2f}, f = {float(gate):.3f}"
    axis.plot(range(T), share, color=COLOURS[number], lw=2, label=label)
axis.set_yscale("log")
axis.set_ylim(1e-10, 3)
axis.set_xlabel("steps since it was written")
axis.set_ylabel("share that is left")
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %% [markdown]
# Without a bias, $\tau = 2$: less than a thousandth is left after ten steps. torch draws all biases around 0, so this
# is the first thing to set when an LSTM does not learn to remember.
#
# ## 6. The GRU
#
# Does it take two states and four blocks of weights? The *gated recurrent unit* of 2014 has one state and three blocks.
# Its **update gate** $z_t$ is forget gate and input gate in one: what is not kept is written.
#
# $$h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1} .$$
#
# What is written, the candidate $n_t$, sees the previous state through a **reset gate** $r_t$: shut, the candidate
# depends on the input alone. With the shares of input and state apart, and both in blocks $r, z, n$,
#
# $$\underbrace{u_t}_{(N, 3H)} = x_t W_x + b_x = (u^r | u^z | u^n), \qquad
# \underbrace{v_t}_{(N, 3H)} = h_{t-1} W_h + b_h = (v^r | v^z | v^n),$$
#
# $$r_t = \sigma(u^r + v^r), \qquad z_t = \sigma(u^z + v^z), \qquad n_t = \tanh(u^n + r_t \odot v^n),
# \qquad \text{each } (N, H).$$
#
# The reset gate is applied **after** the product with $W_h$, as torch does it; in the first paper it came before. That
# is why there are two biases: $v^n$ carries a bias that the reset gate multiplies, $u^n$ one that it does not. (For $r$
# and $z$ only the sum of the two matters.)
#
# torch's weights fit as they are, transposed: its order is $r, z, n$ as well.


# %% exercise="a4/gru_step"
def gru_step_forward(x, prev_h, Wx, Wh, bx, bh):
    """Compute one step of a GRU.

    Args:
        x: Inputs of shape (N, D), floating point; not modified, like all arguments.
        prev_h: Hidden state before the step, shape (N, H), dtype and device as ``x``.
        Wx: Weights of the input, shape (D, 3H); the three blocks of H columns belong to r, z, n, in this order.
        Wh: Weights of the hidden state, shape (H, 3H), in the same order.
        bx: Biases of the input's share, shape (3H,), in the same order.
        bh: Biases of the hidden state's share, shape (3H,), in the same order.

    Returns:
        ``(next_h, cache)``: the hidden state after the step, shape (N, H), finite for pre-activations of any size; and
        what ``gru_step_backward`` needs.
    """
    ### BEGIN SOLUTION
    H = prev_h.shape[1]
    u, v = x @ Wx + bx, prev_h @ Wh + bh  # (N, 3H) each
    r, z = (u + v)[:, : 2 * H].sigmoid().chunk(2, dim=1)
    v_n = v[:, 2 * H :]
    n = (u[:, 2 * H :] + r * v_n).tanh()
    return (1 - z) * n + z * prev_h, (x, prev_h, Wx, Wh, r, z, n, v_n)
    ### END SOLUTION


# %% [markdown]
# ### The way back
#
# Derive it yourself, from the last line of the step to the first, as it was done for the LSTM. The landmarks:
#
# - $z_t$ appears twice in the last line, so $dz_t$ has two terms; $h_{t-1}$ appears there once, and once more in $v_t$.
# - Let $a^r$, $a^z$, $a^n$ be what the two sigmoids and the tanh are taken of, each $(N, H)$. Then
#   $du_t = (da^r | da^z | da^n)$, and $dv_t$ agrees with it in two of the three blocks. The third differs by a factor.
# - The reset gate was multiplied with $v^n$, bias included.
#
# *An example with one unit.* Let $h_{t-1} = 0.5$, $z = 0.8$, $r = 0.5$, $u^n = 0.2$ and $v^n = 0.6$. Then
# $n = \tanh(0.2 + 0.3) = 0.462$ and $h_t = 0.2 \cdot 0.462 + 0.8 \cdot 0.5 = 0.492$. With $dh_t = 1$:
#
# $$dz = 0.5 - 0.462 = 0.038, \qquad du^n = 1 \cdot 0.2 \cdot (1 - 0.214) = 0.157, \qquad dv^n = 0.079,
# \qquad dr = 0.094 .$$


# %% exercise="a4/gru_step"
def gru_step_backward(dnext_h, cache):
    """Compute the backward pass of one step of a GRU.

    Args:
        dnext_h: Gradient of the hidden state after the step, shape (N, H); not modified.
        cache: What ``gru_step_forward`` returned.

    Returns:
        ``(dx, dprev_h, dWx, dWh, dbx, dbh)``: gradients of shapes (N, D), (N, H), (D, 3H), (H, 3H), (3H,), (3H,).
    """
    ### BEGIN SOLUTION
    x, prev_h, Wx, Wh, r, z, n, v_n = cache
    da_n = dnext_h * (1 - z) * (1 - n**2)
    da_z = dnext_h * (prev_h - n) * z * (1 - z)
    da_r = da_n * v_n * r * (1 - r)
    du = torch.cat([da_r, da_z, da_n], dim=1)
    dv = torch.cat([da_r, da_z, da_n * r], dim=1)
    return du @ Wx.T, dnext_h * z + dv @ Wh.T, x.T @ du, prev_h.T @ dv, du.sum(0), dv.sum(0)
    ### END SOLUTION


# %% check="a4/gru_step"
check("a4/gru_step", gru_step_forward, gru_step_backward)


# %% exercise="a4/gru"
def gru_forward(x, h0, Wx, Wh, bx, bh):
    """Compute a GRU over whole sequences.

    Args:
        x: Inputs of shape (N, T, D), T at least 1, floating point; not modified, like all arguments.
        h0: Hidden state before the first step, shape (N, H).
        Wx: Weights of the input, shape (D, 3H), blocks r, z, n.
        Wh: Weights of the hidden state, shape (H, 3H), in the same order.
        bx: Biases of the input's share, shape (3H,), in the same order.
        bh: Biases of the hidden state's share, shape (3H,), in the same order.

    Returns:
        ``(h, cache)``: the hidden states after each step, shape (N, T, H); and what ``gru_backward`` needs.
    """
    ### BEGIN SOLUTION
    h = h0
    states, caches = [], []
    for x_t in x.unbind(1):
        h, cache = gru_step_forward(x_t, h, Wx, Wh, bx, bh)
        states.append(h)
        caches.append(cache)
    return torch.stack(states, dim=1), caches
    ### END SOLUTION


# %% exercise="a4/gru"
def gru_backward(dh, cache):
    """Compute the backward pass of a GRU over whole sequences.

    Args:
        dh: Upstream gradient of the hidden states, shape (N, T, H), of each as an output (what goes from step to step
            is not in it); not modified.
        cache: What ``gru_forward`` returned.

    Returns:
        ``(dx, dh0, dWx, dWh, dbx, dbh)``: gradients of shapes (N, T, D), (N, H), (D, 3H), (H, 3H), (3H,) and (3H,).
    """
    ### BEGIN SOLUTION
    dprev_h = torch.zeros_like(dh[:, 0])
    dx, dWx, dWh, dbx, dbh = [], 0, 0, 0, 0
    for t in reversed(range(dh.shape[1])):
        dx_t, dprev_h, *found = gru_step_backward(dh[:, t] + dprev_h, cache[t])
        dx.append(dx_t)
        dWx, dWh, dbx, dbh = dWx + found[0], dWh + found[1], dbx + found[2], dbh + found[3]
    return torch.stack(dx[::-1], dim=1), dprev_h, dWx, dWh, dbx, dbh
    ### END SOLUTION


# %% check="a4/gru"
check("a4/gru", gru_forward, gru_backward)

# %% [markdown] question="reset_after" points=3
# **Question 1 (3 points).** In the first paper the candidate is $\tanh(u^n + (r_t \odot h_{t-1}) W_n)$; here and in
# torch it is $\tanh(u^n + r_t \odot (h_{t-1} W_n + b_n))$, with $W_n$ the last block of $W_h$, $(H, H)$. (a) How many
# products with the hidden state does a step need in each version, of which shapes, and which can be done at the same
# time? Why does it matter on a GPU? (b) Let $H = 2$, $h = (1, -1)$, $r = (1, 0)$ and
# $W_n = \begin{pmatrix} 1 & 1 \\ 1 & 1 \end{pmatrix}$, without biases. Compute what the candidate sees of the state in
# both versions. For which $r$ do the two agree for every $W_n$? (c) Why can $b_h$ and $b_x$ not be merged into one bias
# here, and why could they in the LSTM?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) After: one product, $(N, H)$ by $(H, 3H)$, for all three blocks. Before: $(N, H)$ by $(H, 2H)$ for
# $r$ and $z$, and then, since it needs $r$, $(N, H)$ by $(H, H)$ for the candidate. The number of multiplications is
# the same, but the second product has to wait for the first. A GPU is fast with one large product and slow with several
# small ones in a row, and a recurrent network has few to do at a time anyway. (b) After: $h W_n = (0, 0)$, so $(0, 0)$.
# Before: $r \odot h = (1, 0)$, so $(1, 1)$. They agree for every $W_n$ (without bias) if all entries of $r$ are equal
# (whatever $h$): $r$ is a number then, which can be taken out of the product. In general one gates what leaves the
# matrix, unit by unit, the other what enters it. (c) In the candidate $b_n$ of $b_h$ is multiplied by $r$, that of
# $b_x$ is not: two different functions of the weights. In the LSTM, and for $r$ and $z$ here, only the sum of the two
# enters.
#
# *Rubric.* 1 point: one product against two, the second waiting for the first. 1 point: $(0, 0)$ and $(1, 1)$, and
# equal entries of $r$. 1 point: $r$ multiplies one bias and not the other.
# ### END MARK SCHEME

# %% [markdown]
# ## 7. What they cost
#
# A comparison is fair between networks of equal size. Count: each block of $H$ columns has weights for the input,
# weights for the hidden state, and one bias, or two in the GRU.


# %% exercise="a4/count_recurrent_parameters"
def count_recurrent_parameters(kind, D, H):
    """Count the parameters of a recurrent layer, in the layout of this notebook.

    Args:
        kind: ``"rnn"``, for h = tanh(x Wx + prev_h Wh + b) with Wx (D, H), Wh (H, H) and b (H,); ``"lstm"``, with Wx,
            Wh and b; or ``"gru"``, with Wx, Wh, bx and bh.
        D: Features of an input, at least 1.
        H: Units, at least 1.

    Returns:
        The number of entries of all weights and biases together, an int.
    """
    ### BEGIN SOLUTION
    blocks = {"rnn": 1, "lstm": 4, "gru": 3}[kind]
    biases = 2 if kind == "gru" else 1
    return blocks * H * (D + H + biases)
    ### END SOLUTION


# %% check="a4/count_recurrent_parameters"
check("a4/count_recurrent_parameters", count_recurrent_parameters)

# %% tags=["demo"]
for kind in ("rnn", "gru", "lstm"):
    widest = max(H for H in range(1, 200) if count_recurrent_parameters(kind, 6, H) <= 5000)
    count = count_recurrent_parameters(kind, 256, 256)
    print(f"{kind:4}  D = H = 256: {count:7,} parameters;  widest with D = 6 and at most 5000 parameters: H = {widest}")

# %% [markdown] question="what_the_gru_saves" points=3
# **Question 2 (3 points).** (a) With $D = H = 256$, by how much is the GRU smaller than the LSTM, and what besides
# weights does it save from step to step? (b) Give something that an LSTM cell can do and a GRU unit cannot, because $z$
# has to serve for keeping and for writing, and say why. (c) A GRU has no output gate. What does it mean for a unit that
# must keep something for a long time without disturbing the rest of the network?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $4 \cdot 256 \cdot 513 = 525{,}312$ against $3 \cdot 256 \cdot 514 = 394{,}752$: a quarter (24.9
# %) fewer, and about as much less arithmetic. One state instead of two goes from step to step (and less is kept for
# backward: $r, z, n, v^n$ against $i, f, o, g, \tanh c_t, c_{t-1}$). (b) Counting: with $f = i = 1$ the cell adds $g$
# at every step and can grow beyond 1. The GRU's new state is a weighted mean of the old one and of a candidate in
# $(-1, 1)$, so it never leaves $(-1, 1)$ (when it starts in there), and it cannot keep everything and add something at
# the same time. (c) It is always visible: $h$ goes into every gate and to the layers above at full size. The others
# have to learn to ignore it, or make use of it; in the LSTM $o = 0$ hides it.
#
# *Rubric.* 1 point: about a quarter, and the second state. 1 point: keep and add at once (counting, an unbounded
# state), with the reason. 1 point: the state cannot be hidden, and what follows from that.
# ### END MARK SCHEME

# %% [markdown]
# ## 8. The gradient on its way back
#
# Now measure. Sequences of 100 random inputs, 64 units, weights as torch starts them: uniform between $-1/\sqrt{H}$ and
# $1/\sqrt{H}$, with biases of 0. The loss looks at the last step only, and we follow its gradient back, step by step,
# with the functions you wrote: how long is $dh_t$, and in the LSTM $dc_t$, compared with the last step? For the plain
# network there is a ready-made step.

# %% tags=["demo"]
rnn_step_forward, rnn_step_backward = layer(lambda x, prev_h, Wx, Wh, b: torch.tanh(x @ Wx + prev_h @ Wh + b))


def draw_weights(shapes, H, generator, dtype=torch.float64):
    """Draw weights as torch does, and set the biases to zero."""
    scale = 1 / math.sqrt(H)
    drawn = [torch.rand(shape, generator=generator, dtype=dtype) * 2 * scale - scale for shape in shapes]
    return [w if w.dim() > 1 else torch.zeros_like(w) for w in drawn]


def measure_lengths(forward, backward, x, state, weights, upstream):
    """Return the mean length of the gradient of each part of the state after each step, (parts, T).

    ``forward(x, *state, *weights)`` returns the next state's parts and a cache; ``backward(*gradients, cache)`` returns
    dx and the gradients of the state's parts first.
    """
    caches = []
    for x_t in x.unbind(1):
        *state, cache = forward(x_t, *state, *weights)
        caches.append(cache)
    gradients = [upstream] + [torch.zeros_like(upstream) for _ in state[1:]]
    lengths = []
    for cache in reversed(caches):
        lengths.append([float(each.norm(dim=1).mean()) for each in gradients])
        gradients = backward(*gradients, cache)[1 : 1 + len(state)]
    return torch.tensor(lengths, dtype=torch.float64).flip(0).T


T, D, H = 100, 8, 64
generator = torch.Generator().manual_seed(0)
x = torch.randn(16, T, D, generator=generator, dtype=torch.float64)
upstream = torch.randn(16, H, generator=generator, dtype=torch.float64)
start = torch.zeros(16, H, dtype=torch.float64)
of_rnn = draw_weights([(D, H), (H, H), (H,)], H, generator)
of_lstm = draw_weights([(D, 4 * H), (H, 4 * H), (4 * H,)], H, generator)
of_gru = draw_weights([(D, 3 * H), (H, 3 * H), (3 * H,), (3 * H,)], H, generator)
opened = [*of_lstm[:2], open_forget_gate(of_lstm[2], T)]
update_bias = of_gru[2].clone()
update_bias[H : 2 * H] = math.log(T - 1)
gru_opened = [*of_gru[:2], update_bias, of_gru[3]]

runs = {
    "plain, $dh_t$": (rnn_step_forward, rnn_step_backward, [start], of_rnn, 0, COLOURS[1], "-"),
    "GRU, $dh_t$": (gru_step_forward, gru_step_backward, [start], of_gru, 0, COLOURS[2], ":"),
    "GRU, update gate open, $dh_t$": (gru_step_forward, gru_step_backward, [start], gru_opened, 0, COLOURS[2], "-"),
    "LSTM, $dc_t$": (lstm_step_forward, lstm_step_backward, [start, start], of_lstm, 1, COLOURS[0], ":"),
    "LSTM, forget gate open, $dc_t$": (
        lstm_step_forward,
        lstm_step_backward,
        [start, start],
        opened,
        1,
        COLOURS[0],
        "-",
    ),
}
figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
for name, (forward, backward, state, weights, part, colour, style) in runs.items():
    lengths = measure_lengths(forward, backward, x, state, weights, upstream)[part]
    # The last step's own dc is zero: nothing comes from later steps, and h's share is not in it.
    relative = lengths / lengths[-1 - part]
    axis.plot(range(1, T + 1 - part), relative[: T - part], color=colour, ls=style, lw=2, label=name)
    print(f"{name:32} step 1: {float(relative[0]):8.1e}   step 50: {float(relative[49]):8.1e}")
kept = memory_kept(lstm_traces(x, start, *opened)["f"]).mean((0, 2))
axis.plot(
    range(1, T), kept[:-1] / kept[-2], color="black", ls=(0, (1, 2)), lw=1.5, label="memory_kept of the open LSTM"
)
axis.set_yscale("log")
axis.set_ylim(1e-25, 1e3)
axis.set_xlabel("step t (the loss is at step 100)")
axis.set_ylabel("length, last step = 1")
axis.spines[["top", "right"]].set_visible(False)
axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
plt.show()

# %% [markdown]
# A hundred steps back, the plain network has $10^{-24}$ of its gradient left, and the LSTM and the GRU have $10^{-20}$:
# with gates at one half, being an LSTM is worth next to nothing. With the gates open (at 99/100), the same GRU has 0.37
# of it left at the first step, and the same LSTM 43 times as much as at the end. The black line is what `memory_kept`
# predicts for the blue one, 0.37: it counts the cell's own line alone. The rest comes by the other ways, through $h$
# into all the gates, where many small contributions add up over a hundred steps. So the line keeps gradients from
# vanishing; it does not keep them from growing, and LSTMs are trained with clipped gradients too.

# %% [markdown] question="why_additive" points=3
# **Question 3 (3 points).** (a) Write down $\partial h_t / \partial h_{t-1}$ of the plain network for one sequence, and
# $\partial c_t / \partial c_{t-1}$ along the blue line. Over 100 steps, what do the two products look like, and which
# property of the sum in $c_t = f \odot c_{t-1} + i \odot g$ makes the difference? (b) The first LSTM had no forget
# gate, $f = 1$. What does that do to the gradient along the line, and what goes wrong with the cell when a long stream
# of text is read without ever resetting the state? (c) Can gradients still vanish in an LSTM with forget gates? Can
# they still explode? Name the way in each case.
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\partial h_t / \partial h_{t-1} = W_h\,\mathrm{diag}(1 - h_t^2)$, its rows standing for $h_{t-1}$
# (the transpose is as good), against $\mathrm{diag}(f_t)$. The first product is of 100 matrices with slopes below 1: it
# shrinks or grows exponentially with the singular values, and it mixes the units. The second is a product of 100
# numbers for each unit, which can all be close to 1. A sum passes the gradient on unchanged to both its terms: what is
# written does not disturb the way back of what was there. (b) The gradient is passed on unchanged, whatever the
# distance. The cell can only be added to: it grows, $\tanh c$ saturates at ±1, the slope in $\delta$ vanishes, and old
# and new cannot be told apart; nothing can be erased. (That is why the forget gate was added.) (c) Vanish: whenever
# forget gates are below 1, $0.5^{50} \approx 10^{-15}$, or when the output gate is shut or $\tanh c$ saturated.
# Explode: not along the line, where no factor is above 1, but through $h_{t-1}$ and $W_h$ into the gates and $g$, as in
# the plain network. So gradients are clipped here too.
#
# *Rubric.* 1 point: both factors, product of matrices against product of gates, and that a sum passes the gradient
# unchanged. 1 point: constant gradient, and a cell that cannot be emptied and saturates. 1 point: vanishing by $f < 1$
# (or a shut output gate), exploding through $W_h$.
# ### END MARK SCHEME

# %% [markdown]
# ## 9. A task that needs memory
#
# A stream of 20 to 40 steps, at each but the last a random symbol out of 4. One of the first five is **marked**. The
# network must say *nothing* until, at the last step, it is **asked**, and then name the marked symbol. In between there
# are 14 to 38 symbols that look just like the one that matters. A guess is right in 25 % of all cases.
#
# Each step's input has 6 features: the symbol, one-hot (at the last step there is none), the mark and the question. An
# affine layer turns $h_t$ into 5 scores, 4 symbols and *nothing*; the loss is softmax, summed over time and averaged
# over the batch. The bias of *nothing* starts where it belongs, as that is the right answer at nearly every step. All
# networks have at most 5000 recurrent parameters, see the same batches and are trained by Adam with gradients clipped
# to length 1. The LSTM is trained twice: with all gates starting at 0.5, and with forget gates that start open, at
# 29/30, by `open_forget_gate`. With those it pays to start the input gates nearly shut, at 1/30, by the opposite bias;
# otherwise the cell piles up thirty random numbers before anything is learned. In the GRU one bias does both.

# %%
SYMBOLS, STEPS = 4, 30
MARKED, ASKED, NOTHING = SYMBOLS, SYMBOLS + 1, SYMBOLS


def recall_batch(N, T, generator):
    """Draw sequences of the recall task: inputs (N, T, 6), float32, and labels (N, T), int64."""
    symbols = torch.randint(SYMBOLS, (N, T), generator=generator)
    marked = torch.randint(5, (N,), generator=generator)
    rows = torch.arange(N)
    x = torch.zeros(N, T, SYMBOLS + 2)
    x[:, :-1, :SYMBOLS] = nn.functional.one_hot(symbols[:, :-1], SYMBOLS).float()
    x[rows, marked, MARKED] = 1
    x[:, -1, ASKED] = 1
    y = torch.full((N, T), NOTHING)
    y[:, -1] = symbols[rows, marked]
    return x, y


# %% tags=["demo"]
rnn_forward, rnn_backward = layer(
    lambda x, h0, Wx, Wh, b: torch.rnn_tanh(
        x, h0[None], [Wx.T.contiguous(), Wh.T.contiguous(), b, torch.zeros_like(b)], True, 1, 0.0, False, False, True
    )[0]
)
PAIRS = {"rnn": (rnn_forward, rnn_backward), "lstm": (lstm_forward, lstm_backward), "gru": (gru_forward, gru_backward)}
BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}


def start_weights(kind, is_open, seed=0):
    """Draw the weights of the widest layer with 5000 parameters, and those of the affine layer behind it."""
    D = SYMBOLS + 2
    H = max(H for H in range(1, 200) if count_recurrent_parameters(kind, D, H) <= 5000)
    columns = BLOCKS[kind] * H
    shapes = [(D, columns), (H, columns), (columns,), *([(columns,)] if kind == "gru" else []), (H, 5), (5,)]
    weights = draw_weights(shapes, H, torch.Generator().manual_seed(seed), torch.float32)
    weights[-1][NOTHING] = math.log(SYMBOLS * (STEPS - 1))
    if is_open and kind == "lstm":
        weights[2] = open_forget_gate(weights[2], STEPS)
        weights[2][:H] = -weights[2][H : 2 * H]
    if is_open and kind == "gru":
        weights[2][H : 2 * H] = math.log(STEPS - 1)
    return weights


def recall(kind, weights, x):
    """Return the scores at every step (N, T, 5), the hidden states and the layer's cache."""
    *recurrent, W_out, b_out = weights
    h, cache = PAIRS[kind][0](x, x.new_zeros(len(x), W_out.shape[0]), *recurrent)
    return h @ W_out + b_out, h, cache


def train(kind, weights, iterations, name, seed=1):
    """Train, modifying ``weights``; return the loss and the share of right answers of every batch."""
    optimizer = torch.optim.Adam(weights, lr=0.015)
    generator = torch.Generator().manual_seed(seed)
    losses, shares = [], []
    for _ in tqdm(range(iterations), desc=name):
        T = int(torch.randint(20, 41, (1,), generator=generator))
        x, y = recall_batch(64, T, generator)
        scores, h, cache = recall(kind, weights, x)
        loss, dscores = softmax_loss(scores.flatten(0, 1), y.flatten())  # the mean over rows and steps
        dscores = dscores.unflatten(0, y.shape) * T
        _, _, *gradients = PAIRS[kind][1](dscores @ weights[-2].T, cache)
        gradients += [torch.einsum("nth,ntk->hk", h, dscores), dscores.sum((0, 1))]
        for w, gradient in zip(weights, gradients, strict=True):
            w.grad = gradient
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(float(loss) * T)
        shares.append(float((scores[:, -1].argmax(1) == y[:, -1]).float().mean()))
    return losses, shares


iterations = 40 if is_fast() else 900
networks = {
    "plain": ("rnn", False, COLOURS[1], "-"),
    "LSTM, gates at 0.5": ("lstm", False, COLOURS[0], ":"),
    "LSTM, forget 29/30, input 1/30": ("lstm", True, COLOURS[0], "-"),
    "GRU, update 29/30": ("gru", True, COLOURS[2], "-"),
}
trained, curves = {}, {}
for name, (kind, is_open, _, _) in networks.items():
    trained[name] = start_weights(kind, is_open)
    curves[name] = train(kind, trained[name], iterations, name)


def smooth(values, width=20):
    """Return the mean over the last ``width`` values, at each place."""
    sums = torch.tensor([0.0, *values], dtype=torch.float64).cumsum(0)
    return (sums[width:] - sums[:-width]) / width


figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for name, (_, _, colour, style) in networks.items():
    losses, shares = curves[name]
    axes[0].plot(smooth(losses), color=colour, ls=style, lw=2)
    axes[1].plot(smooth(shares), color=colour, ls=style, lw=2, label=name)
axes[0].set_yscale("log")
axes[0].axhline(math.log(SYMBOLS), color="#999999", lw=1)
across = axes[0].get_yaxis_transform()
axes[0].text(
    0.99, math.log(SYMBOLS) * 1.1, "guessing", transform=across, ha="right", va="bottom", fontsize=9, color="#777777"
)
axes[0].set_title("loss", fontsize=10, loc="left")
axes[1].axhline(1 / SYMBOLS, color="#999999", lw=1)
axes[1].set_title("share of right answers when asked", fontsize=10, loc="left")
for axis in axes:
    axis.set_xlabel("batch")
    axis.spines[["top", "right"]].set_visible(False)
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
plt.show()

# %% tags=["demo"]
generator = torch.Generator().manual_seed(2)
lengths = (15, 30, 60, 120, 240)
batches = [recall_batch(250, length, generator) for length in lengths]
print(f"{'steps':32}" + "".join(f"{length:>7}" for length in lengths))
for name, (kind, *_) in networks.items():
    answers = [recall(kind, trained[name], x)[0][:, -1].argmax(1) == y[:, -1] for x, y in batches]
    print(f"{name:32}" + "".join(f"{float(right.float().mean()):7.0%}" for right in answers))

# %% [markdown]
# With these seeds, the plain network and the LSTM with gates at one half never get beyond guessing in 900 batches. The
# same LSTM with other biases learns it after about 700, in steps, one symbol after the other; the GRU after about 150.
# The two that have learned it also answer after 240 steps, six times as many as they were trained on (100 % and 98 % of
# 250 sequences): they do not count the steps, they keep the symbol until they are asked.
#
# Do not read the curves as GRU against LSTM: with other seeds, learning rates or tasks the order changes. What they
# show is that the way a gate starts can decide whether anything is learned. And do not expect your curves to be the
# same to the last digit: rounding differs between computers.
#
# ## 10. Written, kept, read
#
# Now look inside. One sequence of 30 steps, marked at step 4, runs through the trained LSTM, and then three more times
# with each of the other symbols in the marked place. Where the four cell states differ, there the memory is. Drawn are
# the 16 units in which they differ most at the end.

# %% tags=["demo"]
x, _ = recall_batch(40, STEPS, torch.Generator().manual_seed(3))
chosen = int((x[:, 3, MARKED] == 1).nonzero()[0])  # marked at step 4
x = x[chosen].repeat(SYMBOLS, 1, 1)
x[:, 3, :SYMBOLS] = torch.eye(SYMBOLS)  # the same stream four times, but for the marked symbol
weights = trained["LSTM, forget 29/30, input 1/30"]
traces = lstm_traces(x, x.new_zeros(SYMBOLS, weights[-2].shape[0]), *weights[:3])
traces["c"] = traces["c"] - traces["c"].mean(0)  # what of the memory depends on the marked symbol
shown = traces["c"][:, -2].std(0).argsort(descending=True)[:16]
traces = {name: each[0] for name, each in traces.items()}
titles = {
    "i": "input gate: what is written",
    "f": "forget gate: what is kept",
    "c": "cell state, less its mean over the four symbols that might have been marked",
    "o": "output gate: what is shown",
}
figure, axes = plt.subplots(5, 1, figsize=(9, 8.2), layout="constrained", sharex=True, height_ratios=[0.5, 1, 1, 1, 1])
steps = torch.arange(1, STEPS)
axes[0].scatter(steps, torch.zeros(STEPS - 1), c=[COLOURS[int(s)] for s in x[0, :-1, :SYMBOLS].argmax(1)], s=45)
axes[0].scatter([4], [0], s=170, facecolors="none", edgecolors="black", lw=1.5)
axes[0].text(4, 0.55, "marked", ha="center", fontsize=9)
axes[0].text(STEPS, 0, "?", ha="center", va="center", fontsize=14, weight="bold")
axes[0].text(0.3, 0.02, "input", ha="right", va="center", fontsize=10)
axes[0].set_ylim(-0.5, 0.9)
axes[0].axis("off")
for axis, (name, title) in zip(axes[1:], titles.items(), strict=True):
    values = traces[name][:, shown].T
    limit = float(values.abs().max()) if name == "c" else 1
    look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if name == "c" else {"cmap": "magma", "vmin": 0, "vmax": 1}
    image = axis.imshow(values, aspect="auto", interpolation="nearest", extent=(0.5, STEPS + 0.5, 16.5, 0.5), **look)
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_ylabel("unit")
    axis.set_yticks([1, 8, 16])
    figure.colorbar(image, ax=axis, pad=0.01)
axes[-1].set_xlabel("step")
plt.show()

# %% [markdown]
# Before step 4 the cells know nothing. At step 4 two input gates, those of units 10 and 13, open for this one step: the
# symbol is **written**, and the cell of unit 13 takes a colour that it keeps to the end. Almost all forget gates are
# open throughout: it is **kept**. Other units read it from there step by step, and pile it up in their own cells. Most
# output gates are shut until the last step, when the question opens nearly all of them: it is **read**. Nobody told the
# network to divide the work like this. (Your picture may look different in which units do what, if your rounding does.)

# %% [markdown] question="the_forget_bias" points=3
# **Question 4 (3 points).** (a) With forget gates at 0.5, and with `open_forget_gate(b, 50)`, which share of the
# gradient is left 50 steps back along the line? (b) Both LSTMs can represent the same functions, and the bias is
# learned like any other weight. Why can the one not simply learn to open its gates? Use section 8. (c) When would a
# forget gate that starts wide open be a bad start, and what would the cell do? (d) `torch.nn.LSTM` adds two biases.
# Somebody fills the forget gate's block with 1 in *every* bias, as a recipe says. Which gate does that give?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $0.5^{50} = 8.9 \cdot 10^{-16}$ and $0.98^{50} = 0.364$. (b) What a step early in the sequence
# should have done differently is told by the gradient from the end, and that is multiplied by the same product of
# gates: it is $10^{-15}$ of what it should be, far below the noise of everything else that is learned. Only the last
# few steps are told anything, and they do not hold the answer. The gate learns to stay open from examples in which
# staying open already helps a little. (c) When only the recent past matters, or there is much to forget: with the gate
# open and input gates at 0.5, the cell adds up everything it sees, its size grows like a random walk, $\tanh c$
# saturates, and old things drown new ones. The network first has to learn to forget. (d) The two add up:
# $\sigma(2) = 0.88$, not $\sigma(1) = 0.73$, which remembers for about 8 steps instead of 4.
#
# *Rubric.* 1 point: both numbers of (a). 1 point: the gradient that should open the gate passes the closed gate itself.
# 1 point: (c) a short memory or noise with a cell that piles up, and (d) $\sigma(2)$.
# ### END MARK SCHEME

# %% [markdown]
# ## Where to read more
#
# - Sepp Hochreiter and Jürgen Schmidhuber, *Long short-term memory*, Neural Computation 9, 1997: the constant error
#   carousel, still without a forget gate.
# - Felix Gers, Jürgen Schmidhuber and Fred Cummins, *Learning to forget: continual prediction with LSTM*, Neural
#   Computation 12, 2000: the forget gate, and why it is needed.
# - Yoshua Bengio, Patrice Simard and Paolo Frasconi, *Learning long-term dependencies with gradient descent is
#   difficult*, IEEE Transactions on Neural Networks 5, 1994.
# - Kyunghyun Cho and others, *Learning phrase representations using RNN encoder–decoder for statistical machine
#   translation*, 2014, arXiv:1406.1078: the GRU.
# - Junyoung Chung, Caglar Gulcehre, KyungHyun Cho and Yoshua Bengio, *Empirical evaluation of gated recurrent neural
#   networks on sequence modeling*, 2014, arXiv:1412.3555: GRU against LSTM.
# - Rafal Jozefowicz, Wojciech Zaremba and Ilya Sutskever, *An empirical exploration of recurrent network
#   architectures*, 2015: thousands of variants, and how much the forget bias matters.
# - Klaus Greff and others, *LSTM: a search space odyssey*, 2015, arXiv:1503.04069: what can be left out.
# - Corentin Tallec and Yann Ollivier, *Can recurrent neural networks warp time?*, 2018, arXiv:1804.11188: biases from
#   the time that a memory should last.
# - Andrej Karpathy, Justin Johnson and Li Fei-Fei, *Visualizing and understanding recurrent networks*, 2015,
#   arXiv:1506.02078: gates and cells of trained networks, read like this notebook's heat maps.

# %%
check.summary()
