# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Looking into a trained net
#
# Training asks how the loss depends on the weights. The same backward pass, carried one step further, answers another
# question: how does a score depend on the *pixels*? From here on the weights stay as they are and the image moves. With
# that you can ask a net what it looks at, find images that it is badly wrong about, and let it draw. In this notebook
# you will
#
# - differentiate a score with respect to the image, and turn that into a **saliency map**;
# - **fool** a net with a change too small to see, and derive why there has to be one;
# - ask the same question in two other ways, by **occlusion** and by **guided backpropagation**, and learn to test
#   whether a fine picture explains anything;
# - **make images** by climbing the gradient: what a class looks like to the net, what a layer still knows of an image,
#   and what happens when a layer is given more of what it sees (DeepDream).
#
# | symbol | meaning | shape |
# | --- | --- | --- |
# | $x$ | images, pixels in $[0, 1]$ | $(N, C, H, W)$, $C = 3$ for colour |
# | $S(x)$ | scores | $(N, K)$ |
# | $y$, $t$ | the class asked about; the class aimed at | $(N,)$, or a number for one image |
# | $G$ | gradient of a score with respect to the image | as $x$ |
# | $M$ | saliency map | $(N, H, W)$ |
# | $\delta$ | change of an image | as the image |
# | $\varepsilon$ | largest change of a pixel that is allowed | a number |
# | $\Phi(x)$ | maps after some layer | $(N, C', H', W')$ |
# | $\Phi^*$ | maps that are to be reached | $(1, C', H', W')$ |
#
# Automatic differentiation is allowed throughout. What is asked for is *what* to differentiate, and what to do with it.

# %% tags=["setup"]
import copy

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from dlcvkit import check
from dlcvkit.data import load_images, load_photograph
from dlcvkit.frozen import load_frozen
from dlcvkit.plotting import COLOURS, show_images
from dlcvkit.settings import is_fast

# %% [markdown]
# ## The net and the pictures
#
# The net is trained already, and frozen: SqueezeNet 1.1 if it has been downloaded (1,000 classes of ImageNet, images of
# 224×224), else a small convolutional net that comes with the kit (the ten classes of CIFAR-10, images of 32×32). Both
# take images with pixels in $[0, 1]$ and do the normalisation themselves, so that gradients are with respect to pixels
# that can be shown.
#
# The small net is shown test images of CIFAR-10, one per class and correctly recognised, if these have been downloaded.
# Without them there are crops of three photographs. They are of none of the small net's classes, and it has to name one
# of ten all the same. What we ask below is then why it says *what it says*, not why it is right.


# %% tags=["demo"]
def photographs(size):
    """Return six square crops of three photographs, shape (6, 3, size, size)."""
    crops = {"flower": [(60, 135, 330), (140, 220, 170)], "china": [(25, 60, 360), (25, 120, 160)]}
    crops["portrait"] = [(10, 100, 330), (88, 0, 512)]
    pictures = []
    for name, places in crops.items():
        photograph = load_photograph(name)
        for top, left, side in places:
            crop = photograph[None, :, top : top + side, left : left + side]
            pictures.append(functional.interpolate(crop, (size, size), mode="bilinear", antialias=True)[0])
    return torch.stack(pictures)


def images_named_right(net, data, classes):
    """Return for each class the first test image that the net gets right, shape (len(classes), 3, 32, 32)."""
    is_right = net(data.x_test).argmax(dim=1) == data.y_test
    return torch.stack([data.x_test[is_right & (data.y_test == label)][0] for label in classes])


def answers(images):
    """Return the net's answer to each image, int64 of shape (N,), and what it says in words."""
    best = net(images).softmax(dim=1).max(dim=1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return best.indices, [f"{net.classes[label]}\n{share:.0%}" for label, share in pairs]


net = load_frozen()
is_large = net.image_size > 100
data = load_images("cifar10", n_train=10, n_val=10)
if data.name == "cifar10" and not is_large:
    pictures = images_named_right(net, data, [1, 3, 4, 6, 7, 8])
else:
    pictures = photographs(net.image_size)
said, words = answers(pictures)
print(f"{net.name}, {len(net.classes):,} classes, {net.image_size}×{net.image_size} pixels")
show_images(pictures, words, columns=6, size=1.6)

# %% [markdown]
# ## 1. The gradient of a score
#
# Let $S_y(x)$ be the score of class $y$ for one image $x$, shape $(C, H, W)$. Its gradient $G$ has the shape of the
# image, and to first order it says what any small change $\delta$ does:
#
# $$G_{chw} = \frac{\partial S_y}{\partial x_{chw}}, \qquad
# S_y(x + \delta) \approx S_y(x) + \sum_{c,h,w} G_{chw}\, \delta_{chw} .$$
#
# For a linear classifier, $S_y = w_y \cdot x + b_y$ with $w_y$ in the shape of an image, this is exact: $G = w_y$, the
# template of the class, whatever the image. A net made of convolutions, ReLU and max-pooling is *piecewise* linear.
# Around almost every image there is a neighbourhood in which no ReLU and no maximum changes sides, and there the net is
# a linear classifier, with a template $G$ for this image alone. That is what we look at.
#
# ### In torch
#
# `torch.autograd.grad(number, x)` returns a tuple with the gradient of `number` with respect to `x`. Nothing else is
# touched, while `.backward()` would also leave gradients in weights that are not frozen. `x` has to require gradients.
# Turn that on in a copy (`detach()` makes a new tensor on the same numbers): the caller's tensor is not yours to change.
#
# *One pass for all images.* Image $i$ has no influence on the scores of image $j \ne i$. So the gradient of the
# **sum** $\sum_i S_{i y_i}$ with respect to $x_i$ is the gradient of $S_{i y_i}$ alone, and one backward pass serves
# the batch. A mean instead of the sum would divide every gradient by $N$.


# %% exercise="a4/score_gradient"
def score_gradient(model, images, labels):
    """Differentiate the score of one class per image with respect to the image.

    Args:
        model: Maps images (N, C, H, W) to scores (N, K), each image by itself; its weights may require gradients.
        images: Shape (N, C, H, W), floating point; not modified, and not made to require gradients.
        labels: int64 of shape (N,), each in 0 .. K - 1: the class that is asked about, right or wrong.

    Returns:
        Shape (N, C, H, W), dtype of images: entry [i] is the gradient of the score ``model(images)[i, labels[i]]``
        with respect to ``images[i]``. Does not require gradients.
    """
    ### BEGIN SOLUTION
    x = images.detach().requires_grad_()
    scores = model(x).gather(1, labels[:, None])
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    return gradient
    ### END SOLUTION


# %% check="a4/score_gradient"
check("a4/score_gradient", score_gradient)

# %% [markdown]
# ## 2. Saliency
#
# To see at a glance *where* the score is sensitive, one number per pixel is enough: the largest size among the pixel's
# channels, sign dropped,
#
# $$\underbrace{M_{ihw}}_{(N, H, W)} = \max_{c} \bigl| G_{ichw} \bigr| .$$


# %% exercise="a4/saliency_map"
def saliency_map(model, images, labels):
    """Map how strongly each pixel acts on the score of a class.

    Args:
        model: Maps images (N, C, H, W) to scores (N, K), each image by itself.
        images: Shape (N, C, H, W), floating point; not modified.
        labels: int64 of shape (N,): the class that is asked about.

    Returns:
        Shape (N, H, W), dtype of images: for each pixel the largest absolute value, over the channels, of the gradient
        of the score of ``labels[i]``. Not scaled. Does not require gradients.

    Source:
        Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks: visualising image classification models and
        saliency maps", 2014, section 3.1.
    """
    ### BEGIN SOLUTION
    return score_gradient(model, images, labels).abs().amax(dim=1)
    ### END SOLUTION


# %% check="a4/saliency_map"
check("a4/saliency_map", saliency_map)

# %% [markdown]
# Below each picture its map, bright where the score is sensitive, each map scaled to its own largest entries. Expect
# specks rather than outlines: neighbouring pixels are seen through different weights, and a net is not asked in
# training to have a smooth gradient. Where most specks gather is what to look at.


# %% tags=["demo"]
def as_grey(maps):
    """Scale maps (N, H, W) so that the 99th percentile of each is 1, for showing; returns (N, 3, H, W)."""
    top = maps.flatten(1).quantile(0.99, dim=1).clamp(min=1e-12)
    return (maps / top[:, None, None]).clamp(0, 1)[:, None].expand(-1, 3, -1, -1)


saliency = saliency_map(net, pictures, said)
show_images(torch.cat([pictures, as_grey(saliency)]), words + [""] * 6, columns=6, size=1.6)

# %% [markdown] question="saliency" points=3
# **Question 1 (3 points).** (a) For one pixel, $G$ is $(0.2, -0.9, 0.1)$ in its three channels. What is $M$ there, and
# what would a small increase of the green channel do to the score? (b) A classmate leaves the absolute value out and
# takes $\max_c G_{chw}$. Which pixels vanish from the map, and why are they as interesting as the others? (c) A white
# lamp is what the net knows a class by; its pixels are at 1 in all channels, and the score does not change any more
# when they are made a little brighter or darker. What does the map show there? What does that say about reading a
# saliency map as "what the net has used"?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) 0.9; the score falls, by about 0.9 times the increase. (b) Those with negative gradient in all
# channels: brightening them lowers the score, darkening them raises it. The net depends on them as much; only the
# direction differs, and which direction counts as "for" the class depends on whether the object is light on dark or
# dark on light. (c) Zero: the derivative there is 0, although the score would fall if the lamp were gone. A gradient
# tells what a *small change* would do, not how much of the score is owed to a pixel; saturated evidence is invisible.
#
# *Rubric.* 1 point: 0.9 and a falling score. 1 point: pixels with negative gradient, on which the score depends as
# much. 1 point: the map is 0 there, since sensitivity is local and not a share of the score.
# ### END MARK SCHEME

# %% [markdown]
# ## 3. Fooling
#
# Now use the gradient to change the answer. Take one image $x$, shape $(C, H, W)$, and a target class $t$ that the net
# does not see in it. The target's lead over the best of the others,
#
# $$\gamma(x) = S_t(x) - \max_{k \ne t} S_k(x),$$
#
# is negative at first; the net is fooled once it is positive. Let $g = \partial \gamma / \partial x$, shape $(C, H, W)$,
# and $D = C H W$ the number of its entries. Among all changes with $|\delta_{chw}| \le \varepsilon$, which one raises
# $\gamma$ most, to first order? Each entry adds $g_{chw} \delta_{chw}$ and is free to choose, so each goes to the limit
# in the direction of its gradient's sign:
#
# $$\delta = \varepsilon \operatorname{sign}(g), \qquad
# \gamma(x + \delta) - \gamma(x) \approx \sum_{c,h,w} g_{chw}\, \varepsilon \operatorname{sign}(g_{chw})
# = \varepsilon\, \lVert g \rVert_1 .$$
#
# **That number is large.** If the entries of $g$ have a mean size of $m$, it is $\varepsilon\, m\, D$: it grows with the
# number of pixels, while the change of any one of them stays below what the eye notices. Random signs instead,
# $\delta = \varepsilon r$ with independent $r_{chw} = \pm 1$, have the mean effect 0 and the standard deviation
# $\varepsilon \lVert g \rVert_2$, because the variances $\varepsilon^2 g_{chw}^2$ add up. If all entries of $g$ have the
# size $m$ that is $\varepsilon\, m \sqrt{D}$: smaller by $\sqrt{D}$, a factor of 55 for 32×32 pixels in colour. So a
# net can shrug off noise and still fall for a change of the same size that is aimed.
#
# **Small steps.** A net is linear only nearby, so go in steps of size $\alpha$ and differentiate again after each. From
# $x^{(0)} = x$,
#
# $$x^{(s+1)} = \operatorname{clip}\bigl( x^{(s)} + \alpha \operatorname{sign}(g^{(s)}) \bigr), \qquad
# g^{(s)} = \frac{\partial \gamma}{\partial x}\Big|_{x^{(s)}},$$
#
# where clip brings each entry back into $[x_{chw} - \varepsilon,\ x_{chw} + \varepsilon]$, the budget around the image
# that *came in*, and into $[0, 1]$. Stop as soon as the net's answer is $t$. As long as it is not, the best of the other
# classes is simply the answer.


# %% exercise="a4/fooling_image"
def fooling_image(model, image, target, epsilon, step, max_steps):
    """Change an image a little until the model takes it for another class.

    Before each step the model is asked; if its highest score is that of the target (of equal ones the first counts), or
    ``max_steps`` steps were taken, the image is returned. A step adds ``step`` times the sign of the gradient of
    gamma = (target's score) - (highest score of the other classes), with sign(0) = 0, and clips.

    Args:
        model: Maps images (N, C, H, W) to scores (N, K), each image by itself.
        image: One image, shape (C, H, W), floating point in [0, 1]; not modified.
        target: The class aimed at, an int in 0 .. K - 1.
        epsilon: Largest change of an entry, measured from ``image``, at least 0.
        step: Change of an entry in one step, above 0; may be larger than epsilon.
        max_steps: Largest number of steps, at least 0.

    Returns:
        ``(fooled, steps)``: the changed image, shape (C, H, W), dtype of image, each entry in [0, 1] and at most
        epsilon from where it was; and the number of steps that were taken, an int. Whether the model is fooled in the
        end depends on the budget. ``fooled`` does not require gradients.

    Source:
        Kurakin, Goodfellow & Bengio, "Adversarial examples in the physical world", 2017, section 2.
    """
    ### BEGIN SOLUTION
    low, high = (image - epsilon).clamp(min=0), (image + epsilon).clamp(max=1)
    fooled = image
    for taken in range(max_steps):
        x = fooled.detach().requires_grad_()
        (scores,) = model(x[None])
        if scores.argmax() == target:
            return fooled, taken
        (gradient,) = torch.autograd.grad(scores[target] - scores.max(), x)
        fooled = (fooled + step * gradient.sign()).clamp(low, high)
    return fooled, max_steps
    ### END SOLUTION


# %% check="a4/fooling_image"
check("a4/fooling_image", fooling_image)

# %% [markdown]
# Three pictures, each pushed towards the class that stands three places after the net's answer in its list, with a budget
# of 8/255 per pixel: eight of the 256 levels that a screen can show. In the middle is the change, ten times as strong and
# around grey. Measured for the small net: one to seven steps, on the photographs and on images of CIFAR-10.

# %% tags=["demo"]
shown, titles = [], []
for number in (0, 2, 4):
    image, target = pictures[number], (int(said[number]) + 3) % len(net.classes)
    fooled, steps = fooling_image(net, image, target, 8 / 255, 1 / 255, 100)
    largest = float((fooled - image).abs().max() * 255)
    shown += [image, 0.5 + 10 * (fooled - image), fooled]
    titles += [words[number], f"change × 10\nsteps: {steps}, at most {largest:.0f}/255", answers(fooled[None])[1][0]]
show_images(torch.stack(shown), titles, columns=3, size=2.1)

# %% [markdown]
# The derivation at work, for the first of these pictures: how $\gamma$ grows along $\operatorname{sign}(g)$, what the
# linear formula says, and what ten random patterns of signs of the same size do.

# %% tags=["demo"]
image, target = pictures[0], (int(said[0]) + 3) % len(net.classes)


def lead(images):
    """Return the target's lead over the best other class, shape (N,)."""
    scores = net(images)
    others = scores.index_fill(1, torch.tensor([target]), -torch.inf)
    return scores[:, target] - others.amax(dim=1)


x = image[None].clone().requires_grad_()
(g,) = torch.autograd.grad(lead(x).sum(), x)
sizes = torch.linspace(0, 8 / 255, 33)
directions = {"along sign(g)": g.sign()}
generator = torch.Generator().manual_seed(0)
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
axis.plot(
    sizes * 255,
    (lead(x) + sizes * g.abs().sum()).detach(),
    "--",
    color="black",
    label="linear: $\\gamma(x) + \\varepsilon\\,\\Vert g\\Vert_1$",
)
axis.plot(sizes * 255, lead(image + sizes[:, None, None, None] * g.sign()), color=COLOURS[1], label="along sign(g)")
for number in range(10):
    signs = torch.randint(2, image.shape, generator=generator) * 2.0 - 1
    along = lead(image + sizes[:, None, None, None] * signs)
    axis.plot(sizes * 255, along, color=COLOURS[0], lw=0.8, label="random signs" if number == 0 else None)
axis.axhline(0, color="grey", lw=0.8)
axis.set_xlabel("size of the change in every pixel, of 255")
axis.set_ylabel("lead of the target, γ")
axis.legend(frameon=False)
plt.show()

# %% [markdown] question="fooling" points=3
# **Question 2 (3 points).** A linear classifier for two classes, $\gamma(x) = w \cdot x + b$ with $w$ of shape $(D,)$,
# says $\gamma = -6$ for an image with pixels well inside $[0, 1]$. The entries of $w$ have a mean size of 0.05. (a) Find
# the smallest $\varepsilon$ that fools it for $D = 3{,}072$ and for $D = 150{,}528$ (a colour image of 224×224), in
# units of 1/255. (b) With $D = 3{,}072$, that $\varepsilon$, random signs and all entries of $w$ of size 0.05: how many
# standard deviations away from fooled is the classifier? (c) It is said that nets can be fooled because they are too
# nonlinear. What do the derivation and the plot say to that?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) $\varepsilon \lVert w \rVert_1 = \varepsilon D \cdot 0.05$ has to exceed 6: $\varepsilon = 6 /
# 153.6 = 0.039$, which is $10/255$; and $6 / 7526.4 = 0.0008$, which is $0.2/255$, far below one level. (b) The standard
# deviation is $\varepsilon \lVert w \rVert_2 = 0.039 \cdot 0.05 \sqrt{3072} = 0.108$; 6 is 55 of them ($= \sqrt{D}$).
# (c) A purely linear classifier in many dimensions is fooled already: many tiny, aligned contributions add up. In the
# plot the net follows the straight line closely for small changes (and bends away from it for larger ones), so it is its
# near-linearity that the attack uses.
#
# *Rubric.* 1 point: both values of $\varepsilon$. 1 point: 55 standard deviations. 1 point: linearity in high dimensions
# is enough, and supported by the plot.
# ### END MARK SCHEME

# %% [markdown]
# ## 4. Occlusion
#
# A gradient answers what a *small* change would do. Occlusion makes a large one: cover a square of the image with a
# plain colour, see how far the score falls, and repeat that for every place. No gradient is needed, which makes it a
# good second opinion.
#
# With a patch of side $q$ (`size`) that moves in strides of $r$ (`stride`), entry $(i, j)$ of the map belongs to the
# patch over the rows $ir \dots ir + q - 1$ and the columns $jr \dots jr + q - 1$ of an image $x$ of shape $(C, H, W)$.
# Let $x^{(ij)}$ be the image with $x_{chw}$ replaced by $f_c$ there, for a colour $f$ of shape $(C,)$:
#
# $$O_{ij} = S_y(x) - S_y(x^{(ij)}), \qquad
# O \text{ of shape } \left( \left\lfloor \frac{H - q}{r} \right\rfloor + 1,\ \left\lfloor \frac{W - q}{r} \right\rfloor + 1 \right) .$$
#
# Positive means that the patch hid something that speaks *for* class $y$. For a linear classifier the map is known
# beforehand: $O_{ij} = \sum w_{y,chw} (x_{chw} - f_c)$ over the patch.
#
# There are hundreds of positions, and one image at a time is slow while all at once may not fit into memory. So give
# the model a few at a time.


# %% exercise="a4/occlusion_map"
def occlusion_map(model, image, label, size, stride, fill, batch_size):
    """Map how far the score of a class falls when a square of the image is covered.

    Args:
        model: Maps images (N, C, H, W) to scores (N, K), each image by itself; its weights may require gradients.
        image: One image, shape (C, H, W), floating point; not modified.
        label: The class asked about, an int in 0 .. K - 1.
        size: Side of the square patch in pixels, at least 1.
        stride: Pixels from one position of the patch to the next, at least 1.
        fill: Colour of the patch, one value per channel, shape (C,), dtype of image.
        batch_size: Largest number of images that the model is given at once, at least 1.

    Returns:
        Shape ((H - size) // stride + 1, (W - size) // stride + 1), dtype of image. Entry [i, j] is the score without
        a patch, less the score with the patch's upper left corner at row i * stride and column j * stride. Does not
        require gradients.

    Raises:
        ValueError: If the patch is higher or wider than the image.

    Source:
        Zeiler & Fergus, "Visualizing and understanding convolutional networks", 2014, section 4.2.
    """
    ### BEGIN SOLUTION
    _, H, W = image.shape
    if size > min(H, W):
        raise ValueError(f"a patch of side {size} does not fit into an image of {H}×{W} pixels")
    tops, lefts = range(0, H - size + 1, stride), range(0, W - size + 1, stride)
    places = [(top, left) for top in tops for left in lefts]
    with torch.no_grad():
        drops = []
        before = model(image[None])[:, label]
        for first in range(0, len(places), batch_size):
            chunk = places[first : first + batch_size]
            covered = image.repeat(len(chunk), 1, 1, 1)
            for number, (top, left) in enumerate(chunk):
                covered[number, :, top : top + size, left : left + size] = fill[:, None, None]
            drops.append(before - model(covered)[:, label])
    return torch.cat(drops).reshape(len(tops), len(lefts))
    ### END SOLUTION


# %% check="a4/occlusion_map"
check("a4/occlusion_map", occlusion_map)

# %% [markdown]
# Red where covering makes the score fall, blue where it rises, for a large and a small patch in the picture's own mean
# colour. A large patch hides whole parts and gives a smooth map, a small one is sharper and hides too little of what a
# net can also see elsewhere. Compare the places with the saliency maps above.

# %% tags=["demo"]
chosen = (0, 2, 3, 5)
stride = net.image_size // (8 if is_fast() or is_large else 16)
figure, axes = plt.subplots(3, len(chosen), figsize=(2.3 * len(chosen), 7.2), layout="constrained")
for column, number in enumerate(tqdm(chosen, unit="picture")):
    image = pictures[number]
    axes[0, column].imshow(image.permute(1, 2, 0))
    axes[0, column].set_title(words[number].replace("\n", ", "), fontsize=9)
    for row, size in enumerate((net.image_size // 3, net.image_size // 6), 1):
        drop = occlusion_map(net, image, int(said[number]), size, stride, image.mean(dim=(1, 2)), 32)
        large = functional.interpolate(drop[None, None], image.shape[1:], mode="bilinear", align_corners=True)[0, 0]
        axes[row, column].imshow(image.mean(dim=0), cmap="gray", vmin=0, vmax=1)
        limit = float(drop.abs().max())
        drawn = axes[row, column].imshow(large, cmap="RdBu_r", alpha=0.6, vmin=-limit, vmax=limit)
        axes[row, column].set_title(f"patch of {size}, up to {drop.max():+.1f}", fontsize=9)
for axis in axes.flat:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## 5. Guided backpropagation
#
# Gradients look noisy. *Guided backpropagation* changes the backward pass of every ReLU, and the pictures become clean
# and full of edges. For one ReLU with input $a$, and the signal $u$ that comes back to it (both of any one shape),
#
# | what goes on to the layer before | rule |
# | --- | --- |
# | gradient | $[a > 0] \, u$ |
# | guided | $[a > 0] \, [u > 0] \, u$ |
#
# with $[\,\cdot\,]$ equal to 1 where the statement holds, else 0. Besides ReLU's own gate on the way forward, a second
# one stops signals that are negative on the way back: whatever speaks *against* the class at any unit is dropped. The
# result is not the gradient of any function, and what it shows is worth a question.
#
# ### Hooks
#
# The model is not yours to rewrite. torch lets you step into the backward pass of a module instead:
# `handle = module.register_full_backward_hook(hook)` has `hook(module, grad_input, grad_output)` called each time
# gradients pass. Both are tuples with one entry here: what comes back to the output ($u$), and what torch is about to
# pass on, $[a > 0]\, u$. If the hook returns a tuple, that is passed on in place of `grad_input`.
# `handle.remove()` takes it off again. A hook that is left behind spoils every later gradient of the same model without
# a word, so remove them even if something in between raises an error: that is what `try: ... finally: ...` is for.
# `model.modules()` goes through all modules, however deeply nested.


# %% exercise="a4/guided_backprop"
def guided_backprop(model, images, labels):
    """Send the score of a class back to the image, past every ReLU only what is positive.

    Args:
        model: ``nn.Module`` that maps images (N, C, H, W) to scores (N, K), each image by itself. Its ReLUs are modules
            of type ``nn.ReLU``, not in place, possibly inside other modules. Afterwards it has the same hooks as before.
        images: Shape (N, C, H, W), floating point; not modified.
        labels: int64 of shape (N,): the class that is asked about.

    Returns:
        Shape (N, C, H, W), dtype of images: what arrives at the images, of either sign, when the backward pass of each
        ReLU lets through only what is positive and came to a unit with positive input. Does not require gradients.

    Source:
        Springenberg, Dosovitskiy, Brox & Riedmiller, "Striving for simplicity: the all convolutional net", 2015,
        section 3.4.
    """

    ### BEGIN SOLUTION
    def keep_positive(module, grad_input, grad_output):
        (passed_on,) = grad_input
        return (passed_on.clamp(min=0),)

    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    handles = [module.register_full_backward_hook(keep_positive) for module in relus]
    try:
        return score_gradient(model, images, labels)
    finally:
        for handle in handles:
            handle.remove()
    ### END SOLUTION


# %% check="a4/guided_backprop"
check("a4/guided_backprop", guided_backprop)

# %% [markdown]
# ### Does the picture explain the answer?
#
# A test by Adebayo and others: what explains a net's answer has to change when the net's knowledge is destroyed. Below,
# the first two rows of maps are those of the trained net. For the other two, the weights of the classifier and of the
# second half of the layers are replaced by random numbers of the same standard deviation. Such a net knows nothing of
# classes. Above the figure stands, for each method, the rank correlation of the maps before and after, mean over the
# pictures: 1 would mean that the map has not noticed. Measured for the small net: 0.36 for the gradient and 0.84 for
# guided backpropagation on the photographs, 0.34 and 0.82 on CIFAR-10.


# %% tags=["demo"]
def with_random_top(net, generator):
    """Return a copy of the net whose later half has random weights of the same standard deviation."""
    broken = copy.deepcopy(net)
    layers = [layer for layer in broken.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers[len(layers) // 2 :]:
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * layer.weight.std())
    return broken


def rank_correlation(a, b):
    """Return the correlation of the ranks of two sets of maps (N, H, W), mean over the N."""
    ranks = torch.stack([a.flatten(1), b.flatten(1)]).argsort(dim=2).argsort(dim=2).double()
    ranks = ranks - ranks.mean(dim=2, keepdim=True)
    ranks = ranks / ranks.norm(dim=2, keepdim=True)
    return float((ranks[0] * ranks[1]).sum(dim=1).mean())


broken = with_random_top(net, torch.Generator().manual_seed(0))
methods = {"gradient": score_gradient, "guided": guided_backprop}
maps = {
    (which, name): method(model, pictures, said).abs().amax(dim=1)
    for which, model in (("trained", net), ("random top", broken))
    for name, method in methods.items()
}
rows = torch.cat([pictures, *(as_grey(each) for each in maps.values())])
figure = show_images(rows, columns=6, size=1.6)
for row, name in enumerate(["picture", *(f"{name},\n{which}" for which, name in maps)]):
    figure.axes[6 * row].text(
        -0.08, 0.5, name, transform=figure.axes[6 * row].transAxes, ha="right", va="center", fontsize=9
    )
for name in methods:
    value = rank_correlation(maps["trained", name], maps["random top", name])
    print(f"{name:8} rank correlation, trained against random top: {value:.2f}")
figure

# %% [markdown] question="guided" points=3
# **Question 3 (3 points).** (a) Why can guided backpropagation never show evidence *against* a class, and give an
# example of a unit (with a weight and a sign) whose contribution it drops though the gradient has it. (b) Look at the
# figure and the two numbers. Which of the two methods depends more on what the net has learned? What, then, do the clean
# outlines of the other one tell? (c) A company shows guided maps to prove that its net "looks at the tumour". Which
# experiment would you ask for, and which result would convince you?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) At each ReLU only positive signals pass on. A unit that is active and has a negative weight to the
# score sends back a negative $u$, which is cut to 0: all that it has seen in the image is left out. (b) The gradient's
# map changes much more when the upper layers are random; the guided map stays similar, as its higher rank correlation
# says. Its outlines come from the image and the first layers' filters, mostly edges, and would be drawn for a net that
# knows no classes: it works much like an edge detector. (c) The randomisation test (random weights, or a net trained on
# random labels: the map has to change), and occlusion of the tumour: the score has to fall when it is covered and not
# when a patch of equal size elsewhere is. It convinces if the map depends on weights and class, and covering agrees.
#
# *Rubric.* 1 point: negative signals are cut at every ReLU, with an example. 1 point: the gradient depends more on the
# weights; guided maps show edges of the image. 1 point: a fitting experiment with the result that would convince.
# ### END MARK SCHEME

# %% [markdown]
# ## 6. What does a class look like?
#
# Leave photographs behind and let the score lead: start from noise and climb. Without a brake, the climb ends in
# patterns of extreme pixels that no photograph has, so there is a penalty that pulls pixels to grey. For one image $x$,
# shape $(C, H, W)$, and target class $t$,
#
# $$J(x) = S_t(x) - \lambda \sum_{c,h,w} \Bigl( x_{chw} - \frac12 \Bigr)^2, \qquad
# G_{chw} = \frac{\partial S_t}{\partial x_{chw}} - 2 \lambda \Bigl( x_{chw} - \frac12 \Bigr),$$
#
# with a strength $\lambda$ (`l2`). The size of $G$ differs by orders of magnitude between classes and along the way, so
# the step has a length of its own, $\eta$ (`lr`), and only its direction comes from $G$:
#
# $$x \leftarrow \operatorname{clip}_{[0, 1]} \Bigl( x + \eta \, \frac{G}{\lVert G \rVert_2} \Bigr), \qquad
# \lVert G \rVert_2 = \Bigl( \sum_{c,h,w} G_{chw}^2 \Bigr)^{1/2} .$$
#
# A batch holds $N$ such climbs, each with its own target and its own norm. Where $G$ is zero everywhere there is no
# direction, and the image stays.


# %% exercise="a4/class_visualization_step"
def class_visualization_step(model, images, targets, lr, l2):
    """Take one step uphill, for each image towards its class.

    Args:
        model: Maps images (N, C, H, W) to scores (N, K), each image by itself; its weights may require gradients.
        images: Shape (N, C, H, W), floating point in [0, 1]; not modified.
        targets: int64 of shape (N,): the class that each image climbs towards.
        lr: Length of the step, above 0: the Euclidean norm of each image's change before pixels are clipped.
        l2: Strength of the penalty, ``l2`` times the sum of (pixel - 0.5) squared, at least 0.

    Returns:
        Shape (N, C, H, W), dtype of images, in [0, 1]: ``images + lr * G / norm of G``, with G the gradient of score
        less penalty and one norm per image, then clipped. Where G is zero throughout, that image as it was. Does not
        require gradients.

    Source:
        Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks: visualising image classification models and
        saliency maps", 2014, section 2.
    """
    ### BEGIN SOLUTION
    uphill = score_gradient(model, images, targets) - 2 * l2 * (images - 0.5)
    length = uphill.flatten(1).norm(dim=1)[:, None, None, None]
    direction = torch.where(length > 0, uphill / length, 0.0)
    return (images + lr * direction).clamp(0, 1)
    ### END SOLUTION


# %% check="a4/class_visualization_step"
check("a4/class_visualization_step", class_visualization_step)

# %% [markdown]
# Two more brakes keep fine patterns from growing, which score high and show nothing. *Jitter*: the image is rolled by a
# few random pixels before each step and back after it, so that what grows has to work a little off its place as well.
# *Blur*: every few steps the image is smoothed, strongly in the beginning and weakly in the end, so that large forms
# come first.


# %%
def blur(images, sigma):
    """Smooth images (N, C, H, W) with a Gaussian of standard deviation sigma, in pixels; borders are mirrored."""
    C, radius = images.shape[1], max(round(3 * sigma), 1)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    bell = (-offsets.square() / (2 * sigma**2)).softmax(dim=0).repeat(C, 1, 1, 1)  # (C, 1, 1, 2 * radius + 1)
    images = functional.conv2d(functional.pad(images, (radius, radius, 0, 0), mode="reflect"), bell, groups=C)
    return functional.conv2d(
        functional.pad(images, (0, 0, radius, radius), mode="reflect"), bell.transpose(2, 3), groups=C
    )


# %% [markdown]
# Ten classes of the net at once (in a batch: every picture climbs by itself). Do not expect photographs. Expect colours
# and parts that the class cannot do without, several times over: the net averages its evidence over the picture, so
# three half horses are worth more to it than one.


# %% tags=["demo"]
def climb(net, targets, size, steps, generator, lr=1.5, l2=0.05):
    """Return images (N, 3, size, size) that look to the net like the targets (N,)."""
    images = (0.5 + 0.1 * torch.randn(len(targets), 3, size, size, generator=generator)).clamp(0, 1)
    reach = size // 8
    for step in tqdm(range(steps), unit="step"):
        down, across = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        images = images.roll((down, across), dims=(2, 3))
        images = class_visualization_step(net, images, targets, lr * (1 - 0.7 * step / steps), l2)
        images = images.roll((-down, -across), dims=(2, 3))
        if step % 4 == 0:
            images = blur(images, 1.0 - 0.5 * step / steps)
    return images


names = list(net.classes)
if is_large:
    names = ["tarantula", "goldfish", "strawberry", "flamingo", "daisy"]
targets = torch.tensor([net.classes.index(name) for name in names])
steps = 20 if is_fast() else 50 if is_large else 100
classes = climb(net, targets, net.image_size, steps, torch.Generator().manual_seed(0))
shares = net(classes).softmax(dim=1)[torch.arange(len(targets)), targets]
titles = [f"{name}\n{share:.0%}" for name, share in zip(names, shares.tolist(), strict=True)]
enlarged = functional.interpolate(classes, scale_factor=1 if is_large else 6, mode="bicubic")
show_images(enlarged, titles, columns=5, size=2.0)

# %% [markdown]
# ## 7. What a layer still knows
#
# A layer's maps $\Phi^* = \Phi(x^*)$ are computed from an image $x^*$. How much of the image is left in them? Ask for
# *any* image with the same maps. Whatever comes back differently, the layer did not keep.
#
# Start from noise and make the relative distance of the maps small, plus a penalty $R(x)$, a number, that prefers smooth
# images where the maps leave the choice. With sums over all entries of the maps, shape $(1, C', H', W')$,
#
# $$E(x) = \frac{\sum \bigl( \Phi(x) - \Phi^* \bigr)^2}{\sum \bigl( \Phi^* \bigr)^2} + R(x), \qquad
# x \leftarrow \operatorname{clip}_{[0, 1]} \bigl( \text{Adam's step on } E \bigr) .$$
#
# The denominator is a constant, and makes layers comparable: a distance of 1 is what all-zero maps would have. Adam is
# that of the notebook on optimisers, `torch.optim.Adam` with its default $\beta_1$, $\beta_2$ and $\epsilon$. After each
# step the pixels are clipped in place, under `torch.no_grad()`.


# %% exercise="a4/invert_features"
def invert_features(features, target, start, penalty, lr, steps):
    """Look for an image with given features by Adam on the pixels.

    Args:
        features: Maps images (1, C, H, W) to maps (1, C', H', W'); its weights may require gradients.
        target: The maps to be reached, shape (1, C', H', W'), floating point, not all zero; not modified.
        start: The first image, shape (1, C, H, W), floating point in [0, 1]; not modified.
        penalty: Maps images (1, C, H, W) to a number, a tensor of shape ().
        lr: Adam's learning rate, above 0; everything else about Adam is torch's default.
        steps: Number of steps, at least 1.

    Returns:
        ``(image, losses)``: the last image, shape (1, C, H, W), dtype of start, in [0, 1], clipped after every step,
        which does not require gradients; and a list of E before each step, ``steps`` numbers, of which the first is
        that of start.

    Source:
        Mahendran & Vedaldi, "Understanding deep image representations by inverting them", 2015, section 2.
    """
    ### BEGIN SOLUTION
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=lr)
    losses = []
    for _ in range(steps):
        energy = (features(image) - target).square().sum() / target.square().sum() + penalty(image)
        (image.grad,) = torch.autograd.grad(energy, image)
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
        losses.append(energy.item())
    return image.detach(), losses
    ### END SOLUTION


# %% check="a4/invert_features"
check("a4/invert_features", invert_features)

# %% [markdown]
# From left to right the picture and what comes back from maps deeper and deeper in the net, always from the same grey
# start, with the relative distance that is left in percent. To the layer that stands above an image it is nearly the same
# as the picture.


# %%
def layers_up_to(net, number):
    """Return the function that maps images (N, 3, H, W) to the maps after layer ``number`` of ``net.features``."""
    layers = net.features[: number + 1]

    def features(images):
        return layers((images - net.mean) / net.std)

    return features


def roughness(images):
    """Return the mean squared difference of neighbouring pixels, a number."""
    return images.diff(dim=2).square().mean() + images.diff(dim=3).square().mean()


# %% tags=["demo"]
depths = (1, 4, 7, 12) if is_large else (3, 8, 11, 15)
chosen = (0,) if is_large else (0, 2, 4)
steps = 20 if is_fast() else 60 if is_large else 200
start = (0.5 + 0.05 * torch.randn(pictures[:1].shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
shown, titles = [], []
with tqdm(total=len(chosen) * len(depths), unit="inversion") as bar:
    for number in chosen:
        shown.append(pictures[number])
        titles.append("picture")
        for depth in depths:
            features = layers_up_to(net, depth)
            target = features(pictures[number : number + 1])
            image, losses = invert_features(features, target, start, lambda x: 3 * roughness(x), 0.03, steps)
            left = (features(image) - target).square().sum() / target.square().sum()
            shown.append(image[0])
            titles.append(f"layer {depth + 1}, {left:.1%}")
            bar.update()
show_images(torch.stack(shown), titles, columns=1 + len(depths), size=1.8)

# %% [markdown] question="inversion" points=3
# **Question 4 (3 points).** (a) Name two operations of the net after which different images have *exactly* equal maps,
# and say for each what can be changed in the image, or in the maps before it, without any effect. (b) In the deep
# inversions, parts of the picture may appear at other places, or be missing. Which property of the later layers (think
# of how much of the image one of their positions sees, and of how many positions there are) explains that, and why is it
# useful for recognising things? (c) A friend concludes: "The inversion from the last layer is blurred, so the net has
# thrown the details away." What else could have made it blurred? How would you tell the two apart?
#
# ### BEGIN MARK SCHEME
# *Model answer.* (a) ReLU: everything negative becomes 0, so a negative entry may be any other negative one.
# Max-pooling: only the largest of each window counts; the others may be anything smaller, and the largest may sit
# anywhere in the window. (Also: convolutions with stride or with fewer outputs than inputs, averaging over all
# positions.) (b) A position deep in the net sees a large part of the image, and there are few positions left: their
# values say *that* something is there and only roughly where. For recognising it, where it stands to the pixel does not
# matter. (c) The penalty prefers smooth images, the start is grey, and the descent may not have converged. Compare:
# other starts (what the maps determine comes back each time, the rest differs), a weaker penalty and more steps; or look
# at the remaining distance: if a sharp and a blurred image have equally near maps, the layer does not tell them apart.
#
# *Rubric.* 1 point: two operations with what may change. 1 point: large fields of view and few positions, and that
# recognition needs no exact place. 1 point: penalty or optimisation as another cause, with a way to tell.
# ### END MARK SCHEME

# %% [markdown]
# ## 8. DeepDream
#
# The last one is for the pleasure of it. Take a photograph, take a layer, and give the layer *more of what it sees
# already*: climb the mean of its squared activations, over all $n$ entries of the maps,
#
# $$J(x) = \frac1n \sum \Phi(x)^2 .$$
#
# Its derivative with respect to one activation is proportional to that activation: what is strong gets the most, what is
# absent stays absent. A cloud that faintly looks like a wheel becomes a wheel.
#
# Zero padding at the border and the grid of the pooling layers leave marks at fixed places. So the layer is shown the
# image rolled by a shift $(d_h, d_w)$, drawn anew for each step by whoever calls; pixels that leave on one side come
# back in on the other. With $\operatorname{roll}$ for that, and $G$ of shape $(1, C, H, W)$,
#
# $$G = \operatorname{roll}_{-d} \Bigl( \frac{\partial J}{\partial x} \Big|_{\operatorname{roll}_{d}(x)} \Bigr), \qquad
# x \leftarrow \operatorname{clip}_{[0,1]} \Bigl( x + \eta\, \frac{G}{\operatorname{mean} |G|} \Bigr) :$$
#
# the image itself stays where it is, and a pixel moves by $\eta$ on average, whatever the layer.


# %% exercise="a4/deepdream_step"
def deepdream_step(features, image, lr, shift):
    """Give a layer more of what it sees already.

    Args:
        features: Maps images (1, C, H, W) to maps (1, C', H', W'); its weights may require gradients.
        image: Shape (1, C, H, W), floating point in [0, 1]; not modified.
        lr: Mean absolute change of an entry before clipping, above 0.
        shift: ``(down, across)``, two ints of either sign: the layer is shown the image rolled by that many rows and
            columns, as ``torch.roll`` does.

    Returns:
        ``(image, strength)``: the image after the step, shape (1, C, H, W), dtype of image, in [0, 1], not rolled; and
        the mean of the squared entries of the maps *before* the step, a number. Where the gradient is zero throughout,
        the image is as it was. Neither requires gradients.

    Source:
        Mordvintsev, Olah & Tyka, "Inceptionism: going deeper into neural networks", Google Research blog, 2015.
    """
    ### BEGIN SOLUTION
    down, across = shift
    x = image.roll((down, across), dims=(2, 3)).detach().requires_grad_()
    strength = features(x).square().mean()
    (gradient,) = torch.autograd.grad(strength, x)
    gradient = gradient.roll((-down, -across), dims=(2, 3))
    size = gradient.abs().mean()
    if size > 0:
        gradient = gradient / size
    return (image + lr * gradient).clamp(0, 1), strength.item()
    ### END SOLUTION


# %% check="a4/deepdream_step"
check("a4/deepdream_step", deepdream_step)

# %% [markdown]
# **Octaves.** The patterns of a layer have the size that the layer sees, a few dozen pixels. To get them in all sizes,
# dream on a small version of the photograph first; enlarge what has been *added* and put it on the next larger version;
# dream on. The net is convolutional throughout and takes any size. With the small net, look for cars on the temple's
# storeys, antlers in the bushes and a ship on the lake.


# %% tags=["demo"]
def dream(features, photograph, sizes, steps, lr, generator):
    """Return a photograph (1, 3, H, W) after ``steps`` steps at each of the sizes [(H_1, W_1), ..., (H, W)]."""
    added = torch.zeros(1, 3, *sizes[0])
    with tqdm(total=len(sizes) * steps, unit="step") as bar:
        for size in sizes:
            base = functional.interpolate(photograph, size, mode="bilinear", antialias=True)
            image = (base + functional.interpolate(added, size, mode="bilinear", align_corners=False)).clamp(0, 1)
            for _ in range(steps):
                shift = torch.randint(-16, 17, (2,), generator=generator).tolist()
                image, strength = deepdream_step(features, image, lr, tuple(shift))
                bar.set_postfix(strength=f"{strength:.3g}")
                bar.update()
            added = image - base
    return image


photograph = load_photograph("china")[None, :, :400, 20:620]
height, width = (128, 192) if is_fast() else (256, 384)
sizes = [(round(height * scale), round(width * scale)) for scale in (0.5, 0.71, 1.0)]
layer = 7 if is_large else 13
dreamt = dream(
    layers_up_to(net, layer), photograph, sizes, 3 if is_fast() else 10, 0.012, torch.Generator().manual_seed(0)
)
figure, axis = plt.subplots(figsize=(10, 6.8), layout="constrained")
axis.imshow(dreamt[0].permute(1, 2, 0))
axis.axis("off")
plt.show()

# %% [markdown]
# ## Where to read more
#
# - K. Simonyan, A. Vedaldi, A. Zisserman, *Deep inside convolutional networks: visualising image classification models
#   and saliency maps*, 2014, arXiv:1312.6034.
# - M. Zeiler, R. Fergus, *Visualizing and understanding convolutional networks*, 2014, arXiv:1311.2901.
# - J. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller, *Striving for simplicity: the all convolutional net*, 2015,
#   arXiv:1412.6806.
# - C. Szegedy and others, *Intriguing properties of neural networks*, 2014, arXiv:1312.6199; and I. Goodfellow,
#   J. Shlens, C. Szegedy, *Explaining and harnessing adversarial examples*, 2015, arXiv:1412.6572.
# - A. Mahendran, A. Vedaldi, *Understanding deep image representations by inverting them*, 2015, arXiv:1412.0035.
# - J. Adebayo and others, *Sanity checks for saliency maps*, 2018, arXiv:1810.03292.
# - C. Olah, A. Mordvintsev, L. Schubert, *Feature visualization*, Distill, 2017.
