"""Typical bugs of the demo's students: bug to the functions it touches, as their cells would read."""

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

BUGS = {
    "bug-keeps-the-root": {"compute_distances_no_loops": _ROOT, "svm_loss_vectorized": _NOT_AVERAGED},
    "bug-ties-go-up": {"predict_labels": _HIGH_TIES, "softmax_loss_vectorized": _OVERFLOWS},
    "bug-loses-the-rest": {"kfold_indices": _LOST_REMAINDER, "numerical_gradient": _ONE_SIDED},
}
