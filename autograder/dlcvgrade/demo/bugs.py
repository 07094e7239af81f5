"""Typical bugs of the demo's students: stage to bug to the functions it touches, as their cells would read."""

from __future__ import annotations

_ROOT = """\
def compute_distances_no_loops(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return squares.clamp(min=0).sqrt()
"""

_HIGH_TIES = """\
def predict_labels(dists, y_train, k):
    labels = []
    for row in dists:
        votes = torch.bincount(y_train[row.argsort()[:k]])
        labels.append(max(range(len(votes)), key=lambda label: (votes[label].item(), label)))
    return torch.tensor(labels, device=dists.device)
"""

_LOST_REMAINDER = """\
def kfold_indices(n, folds):
    size = n // folds
    parts = [torch.arange(i * size, (i + 1) * size) for i in range(folds)]
    return [(torch.cat(parts[:i] + parts[i + 1 :]), parts[i]) for i in range(folds)]
"""

_NOT_AVERAGED = """\
def svm_loss_vectorized(W, X, y, reg, delta=1.0, squared=False):
    rows = torch.arange(len(X), device=X.device)
    scores = X @ W
    margins = (scores - scores[rows, y][:, None] + delta).clamp(min=0)
    margins[rows, y] = 0
    slopes = 2 * margins if squared else (margins > 0).to(X.dtype)
    slopes[rows, y] = -slopes.sum(1)
    losses = margins**2 if squared else margins
    return losses.sum() / len(X) + reg * (W**2).sum(), X.T @ slopes + 2 * reg * W
"""

_OVERFLOWS = """\
def softmax_loss_vectorized(W, X, y, reg):
    rows = torch.arange(len(X), device=X.device)
    powers = (X @ W).exp()
    probabilities = powers / powers.sum(1, keepdim=True)
    loss = -probabilities[rows, y].log().mean() + reg * (W**2).sum()
    slopes = probabilities.clone()
    slopes[rows, y] -= 1
    return loss, X.T @ slopes / len(X) + 2 * reg * W
"""

_ONE_SIDED = """\
def numerical_gradient(f, x, h=1e-5):
    gradient = torch.zeros_like(x)
    value = f(x)
    for index in product(*map(range, x.shape)):
        moved = x.clone()
        moved[index] += h
        gradient[index] = (f(moved) - value) / h
    return gradient
"""

_SUMMED = """\
def softmax_loss(scores, y):
    rows = torch.arange(len(scores), device=scores.device)
    shifted = scores - scores.amax(dim=1, keepdim=True)
    logs = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    dscores = logs.exp()
    dscores[rows, y] -= 1
    return -logs[rows, y].mean(), dscores
"""

_FIRST_BIAS = """\
def affine_backward(dout, cache):
    x, w = cache[:2]
    return (dout @ w.T).reshape(x.shape), x.flatten(1).T @ dout, dout[0]
"""

_NO_CORRECTION = """\
def adam(w, dw, state, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    mean = beta1 * state.get("mean", torch.zeros_like(w)) + (1 - beta1) * dw
    squares = beta2 * state.get("squares", torch.zeros_like(w)) + (1 - beta2) * dw**2
    return w - lr * mean / (squares.sqrt() + eps), {"mean": mean, "squares": squares}
"""

_SQUARED_NORM = """\
def clip_grad_norm(grads, max_norm):
    total = sum((grad**2).sum() for grad in grads.values())
    factor = min(1.0, float(max_norm / (total + 1e-6)))
    return {name: factor * grad for name, grad in grads.items()}, total
"""

_DIVIDES_BY_P = """\
def dropout_forward(x, p, is_training, generator):
    if not is_training or p == 0:
        return x, None
    mask = (torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= p).to(x.dtype) / p
    return x * mask, mask
"""

_MEAN_OF_SCORES = """\
def ensemble_predict(scores):
    probabilities = scores.mean(dim=0).softmax(dim=1)
    return probabilities, probabilities.argmax(dim=1)
"""

_LOSES_THE_BIAS = """\
def fold_batchnorm(w, b, gamma, beta, running_mean, running_var, eps=1e-5):
    factor = gamma / torch.sqrt(running_var + eps)
    return w * factor.reshape(-1, 1, 1, 1), beta - running_mean * factor
"""

_NO_GAPS = """\
def conv_output_size(size, kernel, stride=1, pad=0, dilation=1):
    places = (size + 2 * pad - kernel) // stride + 1
    if places < 1:
        raise ValueError("the window does not fit")
    return places
"""

_STEPS_FORGOTTEN = """\
def receptive_field(layers):
    seen, jump = 1, 1
    for kernel, stride, dilation in layers:
        seen += (kernel - 1) * dilation
        jump *= stride
    return seen, jump
"""

_NOT_TURNED = """\
def fc_to_conv(W, b, shape):
    return W.reshape(-1, *shape), b
"""

_ALL_ALIKE = """\
def stretch_to_images(x):
    return (x - x.min()) / (x.max() - x.min())
"""

_STAYS_IN_TRAINING = """\
def evaluate_accuracy(net, x, y, batch_size=500):
    with torch.no_grad():
        found = torch.cat([net(part).argmax(dim=1) for part in x.split(batch_size)])
    return (found == y).double().mean().item()
"""

_SIGNED = """\
def saliency_map(model, images, labels):
    return score_gradient(model, images, labels).amax(dim=1)
"""

_ROWS_ONLY = """\
def tv_loss(images):
    return (images[..., 1:] - images[..., :-1]).pow(2).sum() / images.shape[0]
"""

_SATURATES = """\
def generator_loss(logits_fake):
    return torch.log(1 - torch.sigmoid(logits_fake)).mean()
"""

_UNSTABLE = """\
def bce_with_logits(logits, targets):
    p = logits.sigmoid()
    return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
"""

_VARIANCE_FOR_DEVIATION = """\
def reparametrize(mu, logvar, generator=None):
    drawn = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + logvar.exp() * drawn
"""

_KEEPS_THE_SUM = """\
def style_mix(targets, weights):
    if (weights < 0).any() or weights.sum() == 0:
        raise ValueError("no such weights")
    return {layer: torch.einsum("s,scd->cd", weights, grams)[None] for layer, grams in targets.items()}
"""

BUGS = {
    "a1": {
        "bug-keeps-the-root": {"compute_distances_no_loops": _ROOT, "svm_loss_vectorized": _NOT_AVERAGED},
        "bug-ties-go-up": {"predict_labels": _HIGH_TIES, "softmax_loss_vectorized": _OVERFLOWS},
        "bug-loses-the-rest": {"kfold_indices": _LOST_REMAINDER, "numerical_gradient": _ONE_SIDED},
    },
    "a2": {
        "bug-adds-up": {"softmax_loss": _SUMMED, "affine_backward": _FIRST_BIAS},
        "bug-starts-small": {"adam": _NO_CORRECTION, "clip_grad_norm": _SQUARED_NORM},
        "bug-divides-by-p": {"dropout_forward": _DIVIDES_BY_P, "ensemble_predict": _MEAN_OF_SCORES},
    },
    "a3": {
        "bug-loses-the-bias": {"fold_batchnorm": _LOSES_THE_BIAS, "conv_output_size": _NO_GAPS},
        "bug-forgets-the-steps": {"receptive_field": _STEPS_FORGOTTEN, "fc_to_conv": _NOT_TURNED},
        "bug-stays-in-training": {"stretch_to_images": _ALL_ALIKE, "evaluate_accuracy": _STAYS_IN_TRAINING},
    },
    "a4": {
        "bug-keeps-the-sign": {"saliency_map": _SIGNED, "tv_loss": _ROWS_ONLY},
        "bug-saturates": {"generator_loss": _SATURATES, "bce_with_logits": _UNSTABLE},
        "bug-mixes-too-much": {"style_mix": _KEEPS_THE_SUM, "reparametrize": _VARIANCE_FOR_DEVIATION},
    },
}
