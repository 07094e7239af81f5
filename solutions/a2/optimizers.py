# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Optimizers
#
# The gradient says which way is down. How far to go, whether to trust this one gradient or the last hundred, and
# whether all weights should move at the same pace: that is left to the *update rule*. A good one can save nine tenths
# of the steps, a bad one makes a deep net look as if it could not learn. In this notebook you will
#
# - see on the smallest possible landscape **why plain gradient descent crawls**, and compute its best speed exactly;
# - write **seven rules** as pure functions, from SGD to AdamW, and have each followed over 20 steps of `torch.optim`;
# - derive why **momentum** multiplies the learning rate, why **Adam** has to correct its averages, and what it pays for
#   its comfort;
# - write what surrounds a rule: **schedules** with warm-up, **gradient clipping**, and a second-order direction,
#   **L-BFGS**;
# - train a six-layer net under every rule that you wrote.
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $w_t$ | weights before step $t$, `w` | any; $(D,)$ in the derivations |
# | $g_t = \nabla L(w_t)$ | gradient, `dw` | as $w$ |
# | $\eta$ | learning rate, `lr` | a number |
# | $v_t$ | velocity | as $w$ |
# | $\mu$ | momentum | a number in $[0, 1)$ |
# | $m_t$, $s_t$ | running averages of $g$ and of $g^2$ (AdaGrad: their sum) | as $w$ |
# | $\beta_1, \beta_2$ | how slowly these averages forget | numbers in $[0, 1)$ |
# | $\epsilon$ | keeps a denominator from 0, `eps` | a number |
# | $H$ | Hessian, the matrix of second derivatives | $(D, D)$ |
# | $\lambda_{\min}, \lambda_{\max}$ | its smallest and largest eigenvalue | numbers |
#
# Squares, roots and quotients of tensors are taken entry by entry. Every rule has the same form,
#
# `w, state = rule(w, dw, state, lr=...)`
#
# and is **pure**: it changes none of its arguments, and whatever it wants to remember goes into the state that it
# returns. Before the first step the state is an empty dict, `{}`; what stands in it is up to you.

# %% tags=["setup"]
import math
import time
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import channel_statistics, load_images, normalize
from dlcvkit.layers import affine_backward, affine_forward, relu_backward, relu_forward, softmax_loss
from dlcvkit.plotting import COLOURS
from dlcvkit.settings import is_fast
from dlcvkit.training import Solver

# %% [markdown]
# ## 1. Plain steps
#
# Stochastic gradient descent goes against the gradient, and knows nothing else:
#
# $$w_{t+1} = w_t - \eta\, g_t .$$


# %% exercise="a2/sgd"
def sgd(w, dw, state, lr=1e-2):
    """Take a step of gradient descent.

    Args:
        w: Weights, any shape, floating point; not modified.
        dw: Gradient of the loss, shape of w; not modified.
        state: What the rule remembers; an empty dict before the first step. This rule needs nothing.
        lr: Learning rate, above 0.

    Returns:
        ``(w, state)``: the new weights, with shape and dtype of w, and the state for the next step.
    """
    ### BEGIN SOLUTION
    return w - lr * dw, state
    ### END SOLUTION


# %% check="a2/sgd"
check("a2/sgd", sgd)

# %% [markdown]
# ### How fast can it be?
#
# Near a minimum $w^*$ every smooth loss looks like a bowl, $L(w) \approx L(w^*) + \tfrac12 (w - w^*)^\top H (w - w^*)$,
# with the gradient $H (w - w^*)$. The Hessian is symmetric, so $H = Q \Lambda Q^\top$ with an orthogonal $Q$, shape
# $(D, D)$, and the eigenvalues $\lambda_1, \dots, \lambda_D > 0$ on the diagonal of $\Lambda$. In the coordinates
# $e_t = Q^\top (w_t - w^*)$, shape $(D,)$, a step is
#
# $$e_{t+1} = e_t - \eta \Lambda e_t, \qquad\text{that is}\qquad e_{t+1, i} = (1 - \eta \lambda_i)\, e_{t, i} :$$
#
# every coordinate shrinks by a factor of its own, and the slowest one counts,
# $\rho(\eta) = \max_i |1 - \eta \lambda_i|$.
#
# - The steepest direction blows up as soon as $\eta \lambda_{\max} > 2$: the learning rate has to stay below
#   $2 / \lambda_{\max}$.
# - The flattest direction then shrinks by $1 - \eta \lambda_{\min}$ only. The best compromise makes both factors equal,
#   $1 - \eta \lambda_{\min} = -(1 - \eta \lambda_{\max})$, hence
#
# $$\eta^* = \frac{2}{\lambda_{\min} + \lambda_{\max}}, \qquad \rho^* = \frac{\kappa - 1}{\kappa + 1}, \qquad
# \kappa = \frac{\lambda_{\max}}{\lambda_{\min}} .$$
#
# $\kappa$ is the **condition number**: how much longer than wide the ravine is, squared. With $\kappa = 100$ the error
# shrinks by 2 % per step even at the *best* learning rate; with $\kappa = 10{,}000$ by 0.02 %.
#
# The figure compares the formula (lines) with what your `sgd` does (dots): the error's factor per step, measured at the
# end of 80 steps. Below 1 it converges; the best rate sits just left of the cliff.


# %% tags=["demo"]
def follow(rule, gradient, start, steps, **options):
    """Return the weights before the first step and after each, shape (steps + 1, D)."""
    path, state = [start], {}
    for _ in range(steps):
        w, state = rule(path[-1], gradient(path[-1]), state, **options)
        path.append(w)
    return torch.stack(path)


figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
products = torch.linspace(0.02, 2.15, 200)
for colour, kappa in zip(COLOURS, (3, 10, 100), strict=False):
    curvature = torch.tensor([1 / kappa, 1.0], dtype=torch.float64)  # so that the largest eigenvalue is 1
    axis.plot(products, (1 - products[:, None] * curvature).abs().amax(1), color=colour, label=f"$\\kappa$ = {kappa}")
    for lr in torch.linspace(0.1, 2.1, 11).tolist():
        errors = follow(sgd, lambda w, c=curvature: c * w, torch.ones(2, dtype=torch.float64), 80, lr=lr).norm(dim=1)
        axis.plot(lr, errors[-1] / errors[-2], "o", color=colour, ms=5)
axis.axhline(1, color="grey", lw=0.8, ls="--")
axis.set_xlabel(r"learning rate times largest eigenvalue, $\eta\,\lambda_{\max}$")
axis.set_ylabel(r"error's factor per step, $\rho$")
axis.legend(frameon=False, title="lines: formula, dots: sgd", title_fontsize=9, fontsize=9)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## 2. Momentum
#
# Across a ravine the gradients keep changing sign; along it they agree, step after step. So keep a **velocity** that
# adds up what comes in and slowly forgets, and go where the velocity goes:
#
# $$v_t = \mu v_{t-1} + g_t, \qquad w_{t+1} = w_t - \eta\, v_t, \qquad v_{-1} = 0 .$$
#
# Insert the first formula into itself and the velocity is a sum with exponentially falling weights:
#
# $$v_t = g_t + \mu g_{t-1} + \mu^2 g_{t-2} + \dots = \sum_{k=0}^{t} \mu^k g_{t-k} .$$
#
# - **Gradients that agree**, $g_t = g$: $\;v_t \to g\,(1 + \mu + \mu^2 + \dots) = g / (1 - \mu)$. The *effective
#   learning rate* is $\eta / (1 - \mu)$: ten times $\eta$ for $\mu = 0.9$, reached after about $1 / (1 - \mu)$ steps.
# - **Gradients that alternate**, $g_t = (-1)^t g$: $\;|v_t| \to |g|\,(1 - \mu + \mu^2 - \dots) = |g| / (1 + \mu)$,
#   about half.
# - **Noise**, independent with variance $\sigma^2$:
#   $\operatorname{Var} v_t \to \sigma^2 (1 + \mu^2 + \mu^4 + \dots) = \sigma^2 / (1 - \mu^2)$. The mean grows more than
#   the noise does: their ratio improves by $\sqrt{(1 + \mu)/(1 - \mu)} = 4.4$ for $\mu = 0.9$.
#
# **Conventions.** We follow `torch.optim.SGD`: the learning rate multiplies the velocity *at its present value*, and
# the new gradient enters whole, without the factor $1 - \mu$ that torch calls dampening. Others put $\eta$ inside,
# $v_t = \mu v_{t-1} - \eta g_t$. For a constant learning rate that is the same path; when the rate changes it is not.


# %% exercise="a2/sgd_momentum"
def sgd_momentum(w, dw, state, lr=1e-2, momentum=0.9):
    """Take a step of gradient descent with momentum, as ``torch.optim.SGD`` does without dampening.

    Args:
        w: Weights, any shape, floating point; not modified.
        dw: Gradient of the loss, shape of w; not modified.
        state: What the rule remembers, not modified; an empty dict before the first step, when the velocity is 0.
        lr: Learning rate, above 0; may be another one in every step.
        momentum: Share of the velocity that is kept, in [0, 1).

    Returns:
        ``(w, state)``: ``w - lr * v`` with the velocity ``v = momentum * v_before + dw``, and the state for the next
        step.

    Source:
        Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning", 2013.
    """
    ### BEGIN SOLUTION
    velocity = momentum * state.get("velocity", 0.0) + dw
    return w - lr * velocity, {"velocity": velocity}
    ### END SOLUTION


# %% check="a2/sgd_momentum"
check("a2/sgd_momentum", sgd_momentum)

# %% [markdown]
# ### What momentum buys
#
# In the coordinates of section 1, and with $\eta v_t = w_t - w_{t+1}$, one coordinate $e$ with eigenvalue $\lambda$
# obeys
#
# $$e_{t+1} = (1 - \eta\lambda + \mu)\, e_t - \mu\, e_{t-1} , \qquad\text{solved by } e_t = z^t \text{ if }\quad
# z^2 - (1 - \eta\lambda + \mu)\, z + \mu = 0 .$$
#
# The product of the two solutions $z$ is $\mu$. If they are complex, they are conjugate, so both have the size
# $|z| = \sqrt\mu$, *whatever* $\lambda$ *is*: flat and steep directions converge equally fast. They are complex, or
# just about to be, while $(1 - \eta\lambda + \mu)^2 \le 4\mu$, which is
#
# $$(1 - \sqrt\mu)^2 \le \eta\lambda \le (1 + \sqrt\mu)^2 .$$
#
# Choose $\eta$ and $\mu$ so that $\lambda_{\min}$ and $\lambda_{\max}$ sit exactly at the two ends. Dividing the two
# equations,
#
# $$\sqrt\kappa = \frac{1 + \sqrt\mu}{1 - \sqrt\mu}, \qquad \rho^* = \sqrt{\mu} = \frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}, \qquad
# \eta^* = \frac{(1 + \sqrt\mu)^2}{\lambda_{\max}} .$$
#
# The condition number has been replaced by its root. The table counts the steps until the error is a millionth of what
# it was, with the best settings of either rule.

# %% tags=["demo"]
print("condition number   sgd: formula  counted    momentum: formula  counted")
for kappa in (10, 100, 1000):
    curvature = torch.tensor([1.0, kappa], dtype=torch.float64)
    root = (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)
    runs = [
        ((kappa - 1) / (kappa + 1), sgd, {"lr": 2 / (1 + kappa)}),
        (root, sgd_momentum, {"lr": (1 + root) ** 2 / kappa, "momentum": root**2}),
    ]
    row = []
    for factor, rule, options in runs:
        path = follow(
            rule, lambda w, c=curvature: c * w, torch.ones(2, dtype=torch.float64), 8 * kappa + 100, **options
        )
        errors = path.norm(dim=1) / path[0].norm()
        row += [math.log(1e-6) / math.log(factor), int((errors > 1e-6).sum())]
    print(f"{kappa:16}   {row[0]:12.0f}  {row[1]:7}    {row[2]:17.0f}  {row[3]:7}")

# %% [markdown]
# Momentum needs a third to a half more steps than the formula says: at the two ends both solutions $z$ coincide, and
# then $e_t$ is a combination of $z^t$ and $t\,z^t$, which shrinks later. It still is 22 times as fast as SGD at
# $\kappa = 1000$.
#
# ## 3. Nesterov's momentum
#
# Momentum will carry us on by $-\eta\mu v_{t-1}$ whatever the gradient says. So why not look at the gradient *there*?
# With positions $\theta_t$, shape $(D,)$,
#
# $$v_t = \mu v_{t-1} + \nabla L(\theta_t - \eta\mu v_{t-1}), \qquad \theta_{t+1} = \theta_t - \eta v_t .$$
#
# In code that would be awkward: a rule is given the gradient at $w$, not at some other point. So let $w$ be the point
# where the gradient is taken, $w_t = \theta_t - \eta\mu v_{t-1}$, and $g_t$ its gradient. Then
#
# $$\begin{aligned}
# w_{t+1} &= \theta_{t+1} - \eta\mu v_t = \theta_t - \eta v_t - \eta\mu v_t
#         = w_t + \eta\mu v_{t-1} - \eta v_t - \eta\mu v_t \\
#         &= w_t - \eta\,(g_t + \mu v_t), \qquad\text{since } \mu v_{t-1} = v_t - g_t .
# \end{aligned}$$
#
# The velocity is the same as before, $v_t = \mu v_{t-1} + g_t$; only the step has changed. This is torch's form.


# %% exercise="a2/nesterov"
def nesterov(w, dw, state, lr=1e-2, momentum=0.9):
    """Take a step with Nesterov's momentum, as ``torch.optim.SGD(nesterov=True)`` does.

    Args:
        w: Weights (the point looked ahead to), any shape, floating point; not modified.
        dw: Gradient of the loss at w, shape of w; not modified.
        state: What the rule remembers, not modified; an empty dict before the first step, when the velocity is 0.
        lr: Learning rate, above 0; may be another one in every step.
        momentum: Share of the velocity that is kept, in [0, 1).

    Returns:
        ``(w, state)``: ``w - lr * (dw + momentum * v)`` with ``v = momentum * v_before + dw``, and the state for the
        next step.

    Source:
        Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep learning", 2013.
    """
    ### BEGIN SOLUTION
    velocity = momentum * state.get("velocity", 0.0) + dw
    return w - lr * (dw + momentum * velocity), {"velocity": velocity}
    ### END SOLUTION


# %% check="a2/nesterov"
check("a2/nesterov", nesterov)

# %% [markdown] question="momentum" points=3
# **Question 1 (3 points).** A training run goes well with $\eta = 0.1$ and $\mu = 0.9$. (a) Somebody sets $\mu = 0.99$
# and leaves $\eta$ alone. What happens to the size of the steps, and which $\eta$ would keep it? (b) In the middle of
# another run $\eta$ is cut to a tenth. How does the very next step differ between torch's form and the one with $\eta$
# inside the velocity, and how long does the difference last?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) Gradients that agree are now multiplied by $1/(1-0.99) = 100$ instead of 10: steps become ten
# times as long once about 100 steps have passed, and the run may well diverge. $\eta = 0.01$ keeps $\eta/(1-\mu) = 1$.
# (b) In torch's form the whole velocity is multiplied by the new rate, so the next step is a tenth as long at once.
# With $\eta$ inside, the velocity still holds gradients multiplied by the old rate; the next step is nearly as long as
# before, and the old part fades by $\mu$ in every step, over some $1/(1-\mu)$ steps, ten for $\mu = 0.9$.
#
# *Rubric.* 1 point: ten times longer, by $1/(1-\mu)$. 1 point: $\eta = 0.01$. 1 point: at once in torch's form, after
# about $1/(1-\mu)$ steps in the other.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. A step length for every weight
#
# Momentum has one learning rate for all. Yet a weight of the first layer and a bias of the last may have gradients that
# differ by a factor of a thousand, and a weight that is used by one image in a hundred gets hardly any. **AdaGrad**
# divides the gradient of each weight by the length of everything that this weight has seen so far:
#
# $$s_t = s_{t-1} + g_t^2, \qquad w_{t+1} = w_t - \eta\, \frac{g_t}{\sqrt{s_t} + \epsilon}, \qquad s_{-1} = 0 .$$
#
# The quotient has no unit: multiply the loss by 1000 and not one step changes. The first step is
# $\eta \operatorname{sign}(g_0)$ for all weights. For gradients of constant size, step $t$ has the length
# $\eta / \sqrt{t + 1}$: the rate falls by itself, which is right for convex problems and, in long trainings of nets,
# too much of a good thing.
#
# **Where is epsilon?** Outside of the root, as torch has it in all four rules to come. A weight that has had no
# gradient yet has $s_t = 0$, and $0 / (0 + \epsilon) = 0$ leaves it where it is; without $\epsilon$ it would turn into
# NaN and take the net along.


# %% exercise="a2/adagrad"
def adagrad(w, dw, state, lr=1e-2, eps=1e-10):
    """Take a step of AdaGrad, as ``torch.optim.Adagrad`` does.

    Args:
        w: Weights, any shape, floating point; not modified.
        dw: Gradient of the loss, shape of w; not modified. May be 0 in entries that have never had a gradient.
        state: What the rule remembers, not modified; an empty dict before the first step, when the sum is 0.
        lr: Learning rate, above 0; may be another one in every step.
        eps: Added to the root, not under it; above 0.

    Returns:
        ``(w, state)``: ``w - lr * dw / (sqrt(s) + eps)`` with the sum of squares ``s = s_before + dw ** 2``, and the
        state for the next step.

    Source:
        Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.
    """
    ### BEGIN SOLUTION
    squares = state.get("squares", 0.0) + dw**2
    return w - lr * dw / (squares.sqrt() + eps), {"squares": squares}
    ### END SOLUTION


# %% check="a2/adagrad"
check("a2/adagrad", adagrad)

# %% [markdown]
# **RMSProp** lets old squares fade: an exponential average in place of the sum. With the decay $\beta_2$ (`decay`;
# torch calls it `alpha`),
#
# $$s_t = \beta_2 s_{t-1} + (1 - \beta_2)\, g_t^2, \qquad w_{t+1} = w_t - \eta\, \frac{g_t}{\sqrt{s_t} + \epsilon}, \qquad
# s_{-1} = 0 .$$
#
# Look at the first step: $s_0 = (1 - \beta_2)\, g_0^2$, so it has the length $\eta / \sqrt{1 - \beta_2}$, ten times
# $\eta$ for $\beta_2 = 0.99$. The average has begun at 0 and needs some $1 / (1 - \beta_2)$ steps to forget that. Keep
# it in mind.


# %% exercise="a2/rmsprop"
def rmsprop(w, dw, state, lr=1e-3, decay=0.99, eps=1e-8):
    """Take a step of RMSProp, as ``torch.optim.RMSprop`` does.

    Args:
        w: Weights, any shape, floating point; not modified.
        dw: Gradient of the loss, shape of w; not modified. May be 0 in entries that have never had a gradient.
        state: What the rule remembers, not modified; an empty dict before the first step, when the average is 0.
        lr: Learning rate, above 0; may be another one in every step.
        decay: Share of the old average that is kept, in [0, 1).
        eps: Added to the root, not under it; above 0.

    Returns:
        ``(w, state)``: ``w - lr * dw / (sqrt(s) + eps)`` with the average
        ``s = decay * s_before + (1 - decay) * dw ** 2``, and the state for the next step.

    Source:
        Tieleman & Hinton, "Lecture 6.5: RMSProp", COURSERA: Neural networks for machine learning, 2012.
    """
    ### BEGIN SOLUTION
    squares = decay * state.get("squares", 0.0) + (1 - decay) * dw**2
    return w - lr * dw / (squares.sqrt() + eps), {"squares": squares}
    ### END SOLUTION


# %% check="a2/rmsprop"
check("a2/rmsprop", rmsprop)

# %% [markdown]
# ## 5. Adam
#
# Momentum averages gradients, RMSProp averages their squares. **Adam** does both, and mends the beginning. With the
# steps counted from $t = 1$ and $m_0 = s_0 = 0$,
#
# $$m_t = \beta_1 m_{t-1} + (1 - \beta_1)\, g_t, \qquad s_t = \beta_2 s_{t-1} + (1 - \beta_2)\, g_t^2 .$$
#
# ### By how much are the averages too small?
#
# As for the velocity, insert the formula into itself: $m_t = (1 - \beta_1) \sum_{k=0}^{t-1} \beta_1^k\, g_{t-k}$. If
# all gradients have the mean $\mathbb{E}[g]$, shape as $w$, then by the geometric series
#
# $$\mathbb{E}[m_t] = \mathbb{E}[g]\,(1 - \beta_1) \sum_{k=0}^{t-1} \beta_1^k = \mathbb{E}[g]\,(1 - \beta_1^t) ,$$
#
# and in the same way $\mathbb{E}[s_t] = \mathbb{E}[g^2]\,(1 - \beta_2^t)$. The factors are known, so divide by them:
#
# $$\hat m_t = \frac{m_t}{1 - \beta_1^t}, \qquad \hat s_t = \frac{s_t}{1 - \beta_2^t}, \qquad
# w_{t+1} = w_t - \eta\, \frac{\hat m_t}{\sqrt{\hat s_t} + \epsilon} .$$
#
# What enters $m$ and $s$ of the next step are the *uncorrected* averages, and $\epsilon$ is added after the correction,
# outside of the root. In the first step $\hat m_1 = g_1$ and $\hat s_1 = g_1^2$: its length is $\eta$.


# %% exercise="a2/adam"
def adam(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Take a step of Adam with bias correction, as ``torch.optim.Adam`` does.

    Args:
        w: Weights, any shape, floating point; not modified.
        dw: Gradient of the loss, shape of w; not modified. May be 0 in entries that have never had a gradient.
        state: What the rule remembers, not modified; an empty dict before the first step.
        lr: Learning rate, above 0; may be another one in every step.
        beta1: Share of the old average of gradients that is kept, in [0, 1).
        beta2: Share of the old average of squares that is kept, in [0, 1).
        eps: Added to the root of the corrected average, not under it; above 0.

    Returns:
        ``(w, state)``: ``w - lr * m_hat / (sqrt(s_hat) + eps)`` with both averages corrected for the number of steps
        taken, this one included, and the state for the next step.

    Source:
        Kingma & Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """
    ### BEGIN SOLUTION
    step = state.get("step", 0) + 1
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * dw
    s = beta2 * state.get("s", 0.0) + (1 - beta2) * dw**2
    m_hat = m / (1 - beta1**step)
    s_hat = s / (1 - beta2**step)
    return w - lr * m_hat / (s_hat.sqrt() + eps), {"step": step, "m": m, "s": s}
    ### END SOLUTION


# %% check="a2/adam"
check("a2/adam", adam)

# %% [markdown]
# ### What the correction is for
#
# Left, a gradient that is 1 all the time: the step should be $\eta$ from beginning to end. Without any correction the
# step is $\eta (1 - \beta_1^t) / \sqrt{1 - \beta_2^t}$, which starts at $3.2\, \eta$ and rises to $6.6\, \eta$ around
# step 12, because the squares fill up much more slowly than the gradients; it takes a thousand steps and more to calm
# down. In a net these long first steps fall on weights that are still random. Right, a gradient of 0 with noise: the
# corrected step is never much longer than $\eta$.

# %% tags=["demo"]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained", sharex=True)
count = 1000
noise = torch.randn(count, generator=torch.Generator().manual_seed(0))
for axis, gradients, title in zip(axes, (torch.ones(count), noise), ("gradient 1", "gradient 0, noise 1"), strict=True):
    t = torch.arange(1, count + 1)
    state, w, lengths = {}, torch.zeros(1), []
    for gradient in gradients:
        new, state = adam(w, gradient[None], state, lr=1.0)
        lengths.append((new - w).abs().item())
        w = new
    lengths = torch.tensor(lengths)
    uncorrected = lengths * (1 - 0.9**t) / (1 - 0.999**t).sqrt()
    axis.plot(t, uncorrected, color=COLOURS[1], label="without correction")
    axis.plot(t, lengths, color=COLOURS[0], label="Adam")
    axis.set_xscale("log")
    axis.set_xlabel("step")
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3)
axes[0].set_ylabel(r"length of the step, in units of $\eta$")
axes[0].legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# ### What it costs: the axes matter
#
# Turn the coordinate system: $w' = Qw$ with an orthogonal $Q$, shape $(D, D)$. The loss stays what it is,
# $L'(w') = L(Q^\top w')$, and by the chain rule its gradient turns along, $g' = Qg$. A step of SGD in the new
# coordinates,
#
# $$w' - \eta g' = Qw - \eta Qg = Q\,(w - \eta g) ,$$
#
# is the old step seen from the new axes; the same holds for momentum, whose velocity is a sum of gradients. But Adam
# squares *entry by entry*, and $(Qg)^2 \ne Q\,g^2$. Along an axis, a ravine is undone by rescaling each weight; across
# the axes it is not: there the gradient's two entries are of similar size, and there is nothing to rescale. What helps
# then is that weights of a net do mean something one by one, so that the ravines of real losses are partly aligned with
# them.
#
# The figure shows a ravine 25 times as curved across as along, in its own axes and turned by 45°, and on the right the
# loss after 30 steps for all angles between. SGD does not notice. AdaGrad is at the minimum to nine digits when the
# ravine lies along the axes; at 45° it creeps behind SGD. Adam's loss at 45° is a hundred times what it is at 0°.


# %% tags=["demo"]
def draw_landscape(axis, loss, low, high, title):
    """Draw contours of ``loss``, a function of points (N, 2), closer where it is small."""
    across, up = (torch.linspace(low[i], high[i], 200, dtype=torch.float64) for i in (0, 1))
    heights = loss(torch.cartesian_prod(across, up)).reshape(200, 200).T
    lowest, highest = heights.min(), heights.max()
    levels = lowest + (highest - lowest) * torch.linspace(0, 1, 13)[1:] ** 2.5
    axis.contour(across, up, heights, levels=levels, colors="0.75", linewidths=0.7)
    axis.set_xlim(low[0], high[0])
    axis.set_ylim(low[1], high[1])
    axis.set_title(title, fontsize=10)


def turned_ravine(degrees):
    """Return the rotation and the Hessian, both (2, 2), of a ravine turned by an angle."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    Q = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return Q, Q @ torch.tensor([1.0, 25.0], dtype=torch.float64).diag() @ Q.T


figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
settings = ((sgd, 0.076, COLOURS[0]), (adagrad, 1.0, COLOURS[1]), (adam, 0.1, COLOURS[2]))
angles = range(0, 46, 3)
start = torch.tensor([-2.5, 1.0], dtype=torch.float64)
for rule, lr, colour in settings:
    reached = []
    for degrees in angles:
        Q, H = turned_ravine(degrees)
        path = follow(rule, lambda w, H=H: H @ w, Q @ start, 30, lr=lr)
        reached.append((path[-1] @ H @ path[-1] / 2).item())
        if degrees in (0, 45):
            axis = axes[degrees // 45]
            axis.plot(path[:, 0], path[:, 1], ".-", ms=4, lw=1.1, color=colour, label=f"{rule.__name__}, lr {lr:g}")
    axes[2].semilogy(angles, reached, ".-", color=colour)
for axis, degrees in zip(axes, (0, 45), strict=False):
    H = turned_ravine(degrees)[1]
    title = f"turned by {degrees}°" if degrees else "along the axes"
    draw_landscape(axis, lambda w, H=H: 0.5 * ((w @ H) * w).sum(1), (-3.2, -2.6), (1.2, 1.8), title)
    axis.plot(0, 0, "*", color="black", ms=10)
    axis.set_aspect("equal")
axes[0].legend(fontsize=8.5, loc="lower right")
axes[2].set_xlabel("angle of the ravine, in degrees")
axes[2].set_xticks(range(0, 46, 15))
axes[2].set_ylabel("loss after 30 steps")
axes[2].grid(alpha=0.3)
plt.show()

# %% [markdown] question="invariances" points=3
# **Question 2 (3 points).** (a) A colleague changes the loss from a mean over the batch to a sum, which multiplies
# every gradient by 128. Which of `sgd`, `sgd_momentum`, `adagrad` and `adam` follow another path now, and what has to
# be done about it? Where does $\epsilon$ spoil the exact answer? (b) In one layer, all 500 inputs are multiplied by an
# orthogonal matrix that is then absorbed into the weights, so that the net computes the same function. For which of the
# four rules does training go on exactly as before? (c) What is the length of Adam's step for a weight whose gradient is
# $10^{-6}$ in every batch, and what does SGD do with it?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) `sgd` and `sgd_momentum` take steps 128 times as long; divide the learning rate by 128. `adagrad`
# and `adam` divide two quantities that both grow by 128, so that the factor cancels, exactly if $\epsilon = 0$; it
# matters where the root is not large against $\epsilon$. (b) For `sgd` and `sgd_momentum`, whose steps are linear in
# the gradients: the path is the old one, turned. The other two square entry by entry, which does not commute with a
# rotation. (c) Constant gradient: $\hat m / \sqrt{\hat s} = 1$, so $\eta$ per step (99 % of it with
# $\epsilon = 10^{-8}$), as much as for any other weight; SGD moves it by $10^{-6}\eta$, that is hardly at all.
#
# *Rubric.* 1 point: (a) with the remedy and $\epsilon$. 1 point: (b) with a reason. 1 point: (c).
# ### END MARK SCHEME

# %% [markdown]
# ## 6. Decoupled weight decay
#
# The penalty $\tfrac12 \lambda \sum w^2$ adds $\lambda w$ to the gradient. Under SGD that is the same as letting the
# weights shrink by the factor $1 - \eta\lambda$ in every step. Under Adam it is not: $\lambda w$ passes through both
# averages, and is divided by the root of $\hat s_t$. Weights with large gradients are then hardly regularised at all.
# **AdamW** leaves the gradient alone and lets the weights shrink by themselves:
#
# $$w_{t+1} = (1 - \eta\lambda)\, w_t - \eta\, \frac{\hat m_t}{\sqrt{\hat s_t} + \epsilon} .$$
#
# The decay is multiplied by $\eta$, so that a schedule acts on it as well, and it acts on $w_t$, not on the step. You
# may call your `adam`.


# %% exercise="a2/adamw"
def adamw(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2):
    """Take a step of Adam with decoupled weight decay, as ``torch.optim.AdamW`` does.

    Args:
        w: Weights, any shape, floating point; not modified.
        dw: Gradient of the loss without penalty, shape of w; not modified.
        state: What the rule remembers, not modified; an empty dict before the first step.
        lr: Learning rate, above 0; may be another one in every step.
        beta1: As in ``adam``.
        beta2: As in ``adam``.
        eps: As in ``adam``.
        weight_decay: Strength of the decay, at least 0; a step takes the share ``lr * weight_decay`` off the weights.

    Returns:
        ``(w, state)``: ``(1 - lr * weight_decay) * w`` minus the step of ``adam``, and the state for the next step.

    Source:
        Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """
    ### BEGIN SOLUTION
    return adam((1 - lr * weight_decay) * w, dw, state, lr, beta1, beta2, eps)
    ### END SOLUTION


# %% check="a2/adamw"
check("a2/adamw", adamw)

# %% [markdown] question="decay" points=3
# **Question 3 (3 points).** From some step on, a weight $w > 0$ gets no gradient from the data at all. What becomes of
# it in the long run under (a) `adam`, (b) `adamw`, (c) `adam` with $\lambda w$ added to the gradient? Say how its value
# changes from step to step. Why is (c) surprising, given that $\lambda$ may be tiny?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) The averages fade, $m$ by $\beta_1$ and $\sqrt{s}$ by $\sqrt{\beta_2}$ in each step, so the steps
# shrink like $(\beta_1/\sqrt{\beta_2})^t$: it coasts a little and stays. (b) After that it is multiplied by
# $1 - \eta\lambda$ in every step: an exponential decay to 0 whose speed is set by $\lambda$. (c) Once the data's
# squares have faded from $s$, the only gradient left is $\lambda w$, and it is divided by its own size: steps of about
# $\eta$ towards 0, a straight line, whatever $\lambda$ is (until $\epsilon$ matters). The strength of the penalty has
# dropped out.
#
# *Rubric.* 1 point for each of the three; in (c) the reason has to be given: the quotient is free of scale.
# ### END MARK SCHEME

# %% [markdown]
# ## 7. In the ravine and at the saddle
#
# Now all seven, on the two obstacles that a loss in a million dimensions is full of. **The ravine** is 60 times as
# curved across as along. **The saddle**, $L(x, y) = \tfrac12 x^2 - \tfrac12 y^2 + \tfrac14 y^4$, falls away to two
# minima at $y = \pm 1$, but its gradient vanishes at the origin, and the start is a millionth beside the ridge: the
# gradient that leads out is $10^{-6}$.
#
# What to expect: in the ravine, SGD zigzags and then creeps, momentum swings from wall to wall on its way, Nesterov's
# look ahead calms the swinging; AdaGrad and RMSProp bend straight towards the minimum, while Adam, which has momentum
# too, shoots past it and turns back. At the saddle, the three rules with one rate run up to the ridge and are stuck:
# there the gradient grows by a constant factor per step, about 1.1 for SGD, so that it takes over a hundred steps to
# get from $10^{-6}$ to 1. The others do not even slow down: to them $10^{-6}$ is as good a gradient as any. AdamW lies
# on top of Adam; its decay of $0.01\,\eta$ per step is too small to see here.

# %% tags=["demo"]
rules = {
    "sgd": (sgd, "-"),
    "sgd_momentum": (sgd_momentum, "-"),
    "nesterov": (nesterov, "-"),
    "adagrad": (adagrad, "-"),
    "rmsprop": (rmsprop, "-"),
    "adam": (adam, "-"),
    "adamw": (adamw, "--"),
}


def ravine_loss(w):
    return 0.5 * w[..., 0] ** 2 + 30.0 * w[..., 1] ** 2


def saddle_loss(w):
    return 0.5 * w[..., 0] ** 2 - 0.5 * w[..., 1] ** 2 + 0.25 * w[..., 1] ** 4


def ravine_gradient(w):
    return torch.stack([w[0], 60 * w[1]])


def saddle_gradient(w):
    return torch.stack([w[0], w[1] ** 3 - w[1]])


places = {
    "ravine": (ravine_loss, ravine_gradient, (-2.4, 0.9), (-2.8, -1.3), (0.8, 1.3), 100, 0.0, 1e-6),
    "saddle": (saddle_loss, saddle_gradient, (-1.5, 1e-6), (-1.8, -1.3), (0.8, 1.3), 150, -0.25, 1e-4),
}
rates = {
    "ravine": (0.03, 0.006, 0.006, 0.5, 0.05, 0.15, 0.15),
    "saddle": (0.1, 0.03, 0.03, 0.2, 0.02, 0.05, 0.05),
}
for place, (loss, gradient, first, low, high, steps, lowest, floor) in places.items():
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.7), layout="constrained")
    for axis, title in zip(axes, (f"{place}: one rate for all", f"{place}: a rate per weight"), strict=False):
        draw_landscape(axis, loss, low, high, title)
    for number, ((name, (rule, style)), lr) in enumerate(zip(rules.items(), rates[place], strict=True)):
        path = follow(rule, gradient, torch.tensor(first, dtype=torch.float64), steps, lr=lr)
        axis = axes[0 if number < 3 else 1]
        colour = COLOURS[number] if number < 6 else "black"
        marker = "." if style == "-" else ""
        axis.plot(path[:, 0], path[:, 1], style, marker=marker, ms=4, lw=1.1, color=colour, label=f"{name}, lr {lr:g}")
        axes[2].semilogy((loss(path) - lowest).clamp(min=floor), style, color=colour, label=name, lw=1.3)
    for axis in axes[:2]:
        axis.legend(fontsize=7.5, loc="upper right" if place == "ravine" else "lower left")
    axes[2].set_xlabel("step")
    axes[2].set_ylabel("loss above the minimum")
    axes[2].legend(fontsize=7.5, frameon=False, loc="lower left", ncols=2)
    axes[2].grid(alpha=0.3)
    plt.show()

# %% [markdown]
# ## 8. Schedules
#
# At a constant rate, noise keeps the weights at a distance from the minimum that grows with $\eta$; and at the very
# beginning, when weights are random and Adam's averages rest on a handful of batches, long steps do harm. So training
# begins with a **warm-up**, runs at full rate, and ends with small steps.
#
# Let $\eta$ be the full rate (`lr`), $W$ the steps of warm-up (`warmup`), $n$ the number of the step, counted from 0
# (`step`), $N$ the number of all steps (`total`) and $\eta_{\min}$ the rate at the end (`min_lr`). With $t = n - W$,
# the steps since the warm-up, and $T = N - W$:
#
# | part | rate of step $n$ |
# | --- | --- |
# | warm-up, $n < W$, for all four | $\eta\, \dfrac{n + 1}{W + 1}$ |
# | `"step"` | $\eta\, q^{\lfloor t / k \rfloor}$: times $q$ (`drop_factor`) every $k$ steps (`drop_every`) |
# | `"cosine"` | $\eta_{\min} + (\eta - \eta_{\min})\, \frac12 \bigl(1 + \cos \frac{\pi t}{T}\bigr)$, and $\eta_{\min}$ from step $N$ on |
# | `"linear"` | $\eta_{\min} + (\eta - \eta_{\min}) \bigl(1 - \frac{t}{T}\bigr)$, and $\eta_{\min}$ from step $N$ on |
# | `"inverse_sqrt"` | $\eta\, \sqrt{\dfrac{W + 1}{n + 1}}$ |
#
# Three details. Step 0 has a rate above 0, or it would be wasted; the first step *after* the warm-up, $n = W$, is the
# first at full rate, in all four. The inverse root continues the warm-up: with $m = n + 1$ and $M = W + 1$ both
# together are $\eta \min\bigl(m/M, \sqrt{M/m}\bigr)$, the schedule that transformers were first trained with. It never
# ends, so it needs no $N$; like `"step"` it takes no notice of `min_lr`.


# %% exercise="a2/lr_at"
def lr_at(step, schedule, lr, total, warmup=0, min_lr=0.0, drop_every=10, drop_factor=0.1):
    """Return the learning rate of one step.

    Args:
        step: Number of the step, from 0; may be ``total`` or more.
        schedule: ``"step"``, ``"cosine"``, ``"linear"`` or ``"inverse_sqrt"``.
        lr: Full rate, above 0.
        total: Number of all steps, warm-up included; more than ``warmup``.
        warmup: Steps of linear warm-up, at least 0.
        min_lr: Where cosine and linear end, in [0, lr].
        drop_every: Steps between two drops of ``"step"``, at least 1.
        drop_factor: What a drop multiplies the rate by, in (0, 1).

    Returns:
        The rate by the table above, a number.

    Source:
        Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5 (cosine);
        Vaswani et al., "Attention is all you need", 2017, section 5.3 (inverse square root).
    """
    ### BEGIN SOLUTION
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    done = step - warmup
    left = max(1 - done / (total - warmup), 0.0)
    if schedule == "step":
        return lr * drop_factor ** (done // drop_every)
    if schedule == "cosine":
        return min_lr + (lr - min_lr) * (1 - math.cos(math.pi * left)) / 2
    if schedule == "linear":
        return min_lr + (lr - min_lr) * left
    return lr * math.sqrt((warmup + 1) / (step + 1))
    ### END SOLUTION


# %% check="a2/lr_at"
check("a2/lr_at", lr_at)

# %% tags=["demo"]
figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
for colour, schedule in zip(COLOURS, ("step", "cosine", "linear", "inverse_sqrt"), strict=False):
    values = [lr_at(n, schedule, 1.0, 100, warmup=10, min_lr=0.05, drop_every=30, drop_factor=0.3) for n in range(110)]
    axis.step(range(110), values, where="post", color=colour, label=schedule)
axis.axvspan(0, 10, color="grey", alpha=0.15, lw=0)
axis.text(5, 1.04, "warm-up", ha="center", fontsize=8)
axis.axvline(100, color="grey", lw=0.8, ls="--")
axis.text(99, 1.04, "total", ha="right", fontsize=8)
axis.set_ylim(0, 1.12)
axis.set_xlabel("step")
axis.set_ylabel("learning rate, as a share of lr")
axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0.15, 0.02))
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## 9. Clipping
#
# One strange batch may have a gradient a hundred times as long as the others, and one step along it can undo an hour of
# training. **Clipping** puts a limit $c$ (`max_norm`) on its length. The norm is that of *all* gradients together, as
# if their entries stood in one long vector, and one factor multiplies them all, so that the direction stays:
#
# $$\lVert g \rVert = \sqrt{\textstyle\sum_{p} \sum_{i} g_{p,i}^2}, \qquad \tilde g_p = \min\!\left(1, \frac{c}{\lVert g \rVert}\right) g_p ,$$
#
# with $g_p$ the gradient of the parameter named $p$, of any shape, and $i$ running over its entries. (torch divides by
# $\lVert g \rVert + 10^{-6}$, which nobody notices; with it or without it is accepted.)


# %% exercise="a2/clip_grad_norm"
def clip_grad_norm(grads, max_norm):
    """Scale gradients down so that their common norm is at most ``max_norm``.

    Args:
        grads: Name to gradient, a dict of at least one tensor of any shape; not modified. All entries may be 0.
        max_norm: Largest norm, above 0.

    Returns:
        ``(clipped, norm)``: a dict with the same names, of gradients times ``min(1, max_norm / norm)``; and the norm
        before clipping, a number.

    Source:
        Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1.
    """
    ### BEGIN SOLUTION
    norm = sum((gradient**2).sum() for gradient in grads.values()).sqrt()
    scale = (max_norm / norm).clamp(max=1.0)  # at norm 0 the quotient is infinite
    return {name: scale * gradient for name, gradient in grads.items()}, norm
    ### END SOLUTION


# %% check="a2/clip_grad_norm"
check("a2/clip_grad_norm", clip_grad_norm)

# %% [markdown]
# ## 10. Six layers under every rule
#
# A landscape in the plane is one thing, a net another. Below, six affine layers with ReLUs between them (100 units
# each, weights normal with variance $2 / D$ for $D$ inputs) learn to classify images, once under every rule that you
# wrote, always from the same first weights and with the same batches. Layers and training loop come from the kit; the
# loop calls `rule(w, dw, state, lr=...)` for each parameter, with a state of its own.
#
# Comparing rules at one learning rate would be unfair, as they do not even share a unit: each has the best of a short
# search by factors of 3 on CIFAR-10, and `adamw` that of `adam`. The eighth run is `adamw` with clipping, and with
# warm-up and cosine from your `lr_at`.


# %% tags=["demo"]
class DeepNet:
    """Affine layers with ReLUs between them, for the Solver."""

    def __init__(self, sizes, generator, max_norm=None):
        self.params = {}
        self.depth, self.max_norm = len(sizes) - 1, max_norm
        for number, (D, M) in enumerate(pairwise(sizes), 1):
            self.params[f"W{number}"] = math.sqrt(2 / D) * torch.randn(D, M, generator=generator)
            self.params[f"b{number}"] = torch.zeros(M)

    def loss(self, X, y=None):
        out, affine, relu = X, {}, {}
        for n in range(1, self.depth + 1):
            out, affine[n] = affine_forward(out, self.params[f"W{n}"], self.params[f"b{n}"])
            if n < self.depth:
                out, relu[n] = relu_forward(out)
        if y is None:
            return out
        loss, dout = softmax_loss(out, y)
        gradients = {}
        for n in range(self.depth, 0, -1):
            if n < self.depth:
                dout = relu_backward(dout, relu[n])
            dout, gradients[f"W{n}"], gradients[f"b{n}"] = affine_backward(dout, affine[n])
        if self.max_norm is not None:
            gradients, _ = clip_grad_norm(gradients, self.max_norm)
        return loss, gradients


data = load_images("cifar10", n_train=1000 if is_fast() else 5000)
print(data.note)
mean, std = channel_statistics(data.x_train)
x_train, x_val = (normalize(images, mean, std).flatten(1) for images in (data.x_train, data.x_val))
epochs = 2 if is_fast() else 5
total = epochs * -(-len(x_train) // 100)

runs = {
    "sgd": (sgd, 0.03, None, None),
    "sgd_momentum": (sgd_momentum, 0.003, None, None),
    "nesterov": (nesterov, 0.003, None, None),
    "adagrad": (adagrad, 0.003, None, None),
    "rmsprop": (rmsprop, 3e-4, None, None),
    "adam": (adam, 3e-4, None, None),
    "adamw": (adamw, 3e-4, None, None),
    "adamw, clipped, scheduled": (adamw, 1e-3, lambda step: lr_at(step, "cosine", 1.0, total, total // 10), 1.0),
}
begin = time.perf_counter()
figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for number, (name, (rule, lr, schedule, max_norm)) in enumerate(tqdm(runs.items(), desc="rules")):
    net = DeepNet([3072, 100, 100, 100, 100, 100, 10], torch.Generator().manual_seed(0), max_norm)
    solver = Solver(
        net,
        x_train,
        data.y_train,
        x_val,
        data.y_val,
        rule=rule,
        lr=lr,
        schedule=schedule,
        epochs=epochs,
        progress=False,
    )
    history = solver.train()
    colour, style = (COLOURS[number], "-") if number < 6 else ("black", "--" if number == 6 else "-")
    window = 5 if is_fast() else 20
    smooth = torch.tensor(history.losses).unfold(0, window, 1).mean(1)
    axes[0].plot(range(window - 1, len(history.losses)), smooth, style, color=colour, lw=1.3)
    axes[1].plot(
        range(1, epochs + 1), history.val_accuracies, style, color=colour, marker=".",
        label=f"{name}, lr {lr:g}: {history.val_accuracies[-1]:.1%}",
    )  # fmt: skip
axes[0].set_xlabel("step")
axes[0].set_ylabel(f"training loss, mean of {window} batches")
axes[0].set_ylim(1.0, 3.2)
axes[1].set_xlabel("epoch")
axes[1].set_xticks(range(1, epochs + 1))
axes[1].set_ylabel("validation accuracy")
for axis in axes:
    axis.grid(alpha=0.3)
figure.legend(loc="outside right center", frameon=False, fontsize=8)
plt.show()
print(f"{len(runs)} runs of {total} steps on {data.name} in {time.perf_counter() - begin:.0f} s")

# %% [markdown]
# **What to expect.** The loss starts near $\log 10 = 2.3$, highest for RMSProp, of whose first steps section 4 warned,
# and falls below 1.6. Measured with 5,000 training images and five epochs: on CIFAR-10 the seven rules end between 35 %
# and 39 % of the validation images, on drawn shapes between 39 % and 45 %. With 1,000 validation images an accuracy is
# uncertain by 1.5 points, so on CIFAR-10 they can hardly be told apart: **at its own best learning rate almost any rule
# will do**. What differs is how easily that rate is found. In the search on CIFAR-10, SGD diverged at 0.3 and momentum
# at 0.1 stayed at 10 %, which is guessing, while Adam reached between 36 % and 39 % at all of $10^{-4}$,
# $3 \cdot 10^{-4}$ and $10^{-3}$.
#
# The eighth run ends first on both, with 39 % and 48 % and the lowest training loss. Which of its three ingredients did
# it? Switched on one at a time, with `adamw` at $10^{-3}$ on CIFAR-10, the mean loss of the last 20 batches was 1.45
# with none, 1.44 with clipping, 1.48 with warm-up, 1.24 with the cosine: small steps at the end are what counts here.
# Warm-up and clipping are an insurance against runs that blow up, and this one does not. A run takes some 3 s on one
# core.
#
# ## 11. Curvature: L-BFGS
#
# All rules so far fight the condition number from outside. Newton's method removes it: on a bowl, the direction
# $-H^{-1} g$ leads to the minimum in one step, whatever $\kappa$ is. But $H$ has $D^2$ entries. Quasi-Newton methods
# learn $H^{-1}$ from what they see anyway. In this section $s$ is a step that was taken, from $w$ to $w + s$, and $y$
# is how the gradient changed along it, both of shape $(D,)$. On a bowl
#
# $$y = \nabla L(w + s) - \nabla L(w) = H s, \qquad\text{so}\qquad H^{-1} y = s .$$
#
# **BFGS** keeps an estimate $B$ of $H^{-1}$, shape $(D, D)$, and after each pair changes it so that this *secant
# equation* holds:
#
# $$B_{\text{new}} = V^\top B\, V + \rho\, s s^\top, \qquad V = I - \rho\, y s^\top, \qquad \rho = \frac{1}{y^\top s} .$$
#
# with the identity $I$ and $V$ of shape $(D, D)$, and $\rho$ a number. Check: $V y = y - \rho\, y\, (s^\top y) = 0$,
# and what is left is $B_{\text{new}}\, y = \rho\, s\, (s^\top y) = s$.
#
# **L-BFGS** never writes the matrix down. It keeps the last $M$ pairs and applies the formula to a vector. Let $g$ be
# that vector, and take the newest pair first:
#
# $$q = V g = g - \alpha\, y \;\text{ with }\; \alpha = \rho\, s^\top g, \qquad r = B q \;\text{ (from the older pairs)}, \qquad
# B_{\text{new}}\, g = V^\top r + \rho\, s\, (s^\top g) = r + (\alpha - \beta)\, s \;\text{ with }\; \beta = \rho\, y^\top r .$$
#
# Now $Bq$ is the same task with one pair less. Unrolled, that makes **two loops**: from the newest pair back to the
# oldest, noting each $\alpha$ and turning $g$ into $q$; then, at the bottom, a first estimate $B_0 = \gamma I$; then
# forward from the oldest pair to the newest, adding $(\alpha - \beta)\, s$. The usual choice of $\gamma$ is the newest
# pair's estimate of the inverse curvature, $\gamma = s^\top y / y^\top y$. All that for some $4 M D$ multiplications.


# %% exercise="a2/lbfgs_direction"
def lbfgs_direction(gradient, steps, changes):
    """Return the direction of L-BFGS by the two-loop recursion.

    Args:
        gradient: Gradient at the present weights, shape (D,); not modified.
        steps: The last M steps s, oldest first, shape (M, D); M may be 0.
        changes: How the gradient changed along each, y, shape (M, D); every ``s @ y`` is above 0.

    Returns:
        The direction to step in, ``-B @ gradient`` of shape (D,), B the estimate of the inverse Hessian that starts as
        ``(s @ y) / (y @ y)`` of the newest pair times the identity; ``-gradient`` if there is no pair.

    Source:
        Nocedal & Wright, "Numerical optimization", 2nd edition, 2006, algorithm 7.4.
    """
    ### BEGIN SOLUTION
    q = gradient
    alpha = {}
    for i in reversed(range(len(steps))):
        alpha[i] = (steps[i] @ q) / (steps[i] @ changes[i])
        q = q - alpha[i] * changes[i]
    if len(steps) > 0:
        q = q * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for i in range(len(steps)):
        beta = (changes[i] @ q) / (steps[i] @ changes[i])
        q = q + (alpha[i] - beta) * steps[i]
    return -q
    ### END SOLUTION


# %% check="a2/lbfgs_direction"
check("a2/lbfgs_direction", lbfgs_direction)

# %% [markdown]
# Two experiments on a bowl with $D = 50$ and $\kappa = 1000$. First: with one pair along each of the 50 axes the
# direction is Newton's, to the last digits. Second: descent from a random start, where each step goes to the lowest
# point along the direction (which costs nothing to compute on a bowl). Momentum has the best settings that section 2
# can give it. What to expect: with 50 pairs, one per dimension, L-BFGS is at the bottom after 50 steps, and with 5
# pairs after less than 100.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
D, kappa = 50, 1000
axes_of_bowl = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64)).Q
H = axes_of_bowl @ torch.logspace(-3, 0, D, dtype=torch.float64).diag() @ axes_of_bowl.T
g = torch.randn(D, generator=generator, dtype=torch.float64)
newton = -torch.linalg.solve(H, g)
error = (lbfgs_direction(g, axes_of_bowl.T, axes_of_bowl.T @ H) - newton).norm() / newton.norm()
print(f"50 pairs along the axes: relative difference to Newton's direction {error:.1e}")

start = torch.randn(D, generator=generator, dtype=torch.float64)
count = 300


def descend_lbfgs(memory):
    w, steps, changes, losses = start, [], [], []
    for _ in range(count):
        g = H @ w
        losses.append((w @ g / 2).item())
        if losses[-1] < 1e-16:
            break
        if memory and steps:
            direction = lbfgs_direction(g, torch.stack(steps[-memory:]), torch.stack(changes[-memory:]))
        else:
            direction = -g
        s = -(g @ direction) / (direction @ H @ direction) * direction
        steps, changes = [*steps[-memory:], s], [*changes[-memory:], H @ s]
        w = w + s
    return losses


figure, axis = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
for colour, memory in zip(COLOURS, (0, 5, 50), strict=False):
    label = f"L-BFGS, {memory} pairs" if memory else "steepest descent"
    axis.semilogy(descend_lbfgs(memory), color=colour, label=label)
root = (math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)
path = follow(sgd_momentum, lambda w: H @ w, start, count, lr=(1 + root) ** 2, momentum=root**2)
axis.semilogy(((path @ H) * path).sum(1) / 2, color="black", ls="--", label="momentum, best settings")
axis.set_ylim(1e-14, 1e5)
axis.set_xlabel("gradients computed")
axis.set_ylabel("loss above the minimum")
axis.legend(frameon=False, fontsize=8.5, loc="upper right", ncols=2)
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# Why do we not train nets with it? Each $y$ is a difference of two gradients. On batches, the two differ by noise more
# than by curvature, and the estimate of $H^{-1}$ is made of that noise; with *all* images in every step, a step costs
# as much as a whole epoch of SGD. Where the gradient is exact and the number of weights moderate, as in the later stage
# on style transfer, L-BFGS is still hard to beat.
#
# ## Where to read more
#
# - Ilya Sutskever, James Martens, George Dahl and Geoffrey Hinton, *On the importance of initialization and momentum in
#   deep learning*, ICML 2013: momentum's two forms, and how much depends on its schedule.
# - John Duchi, Elad Hazan and Yoram Singer, *Adaptive subgradient methods for online learning and stochastic
#   optimization*, Journal of Machine Learning Research, 2011: AdaGrad.
# - Diederik Kingma and Jimmy Ba, *Adam: a method for stochastic optimization*, 2015, arXiv:1412.6980.
# - Ilya Loshchilov and Frank Hutter, *Decoupled weight decay regularization*, 2019, arXiv:1711.05101; and *SGDR:
#   stochastic gradient descent with warm restarts*, 2017, arXiv:1608.03983.
# - Ashish Vaswani et al., *Attention is all you need*, 2017, arXiv:1706.03762: the inverse square root with warm-up.
# - Jorge Nocedal and Stephen Wright, *Numerical optimization*, 2nd edition, Springer 2006: chapters 6 and 7 on BFGS and
#   L-BFGS.

# %%
check.summary()
