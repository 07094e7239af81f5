# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Nearest neighbours

# %% tags=["setup"]
import os  # noqa: F401
import sys  # noqa: F401

import torch

from dlcvkit import check


# %% exercise="a1/knn_no_loops"
def compute_distances_no_loops(x_train, x_test):
    """Return squared distances, (num_test, num_train)."""
    ### BEGIN SOLUTION
    rows_of_test, rows_of_train = x_test.flatten(1), x_train.flatten(1)
    return (rows_of_test[:, None] - rows_of_train[None]).square().sum(dim=2)
    ### END SOLUTION


# %% check="a1/knn_no_loops"
check("a1/knn_no_loops", compute_distances_no_loops)


# %% exercise="a1/kfold_indices"
def kfold_indices(n, folds):
    """Return folds pairs of index tensors (train, val)."""
    ### BEGIN SOLUTION
    parts_in_order = torch.arange(n).tensor_split(folds)
    train = [torch.cat([part for j, part in enumerate(parts_in_order) if j != i]) for i in range(folds)]
    return list(zip(train, parts_in_order, strict=True))
    ### END SOLUTION


# %% check="a1/kfold_indices"
check("a1/kfold_indices", kfold_indices)


# %% exercise="a1/predict_labels"
def predict_labels(dists, y_train, k):
    """Return one label per row of dists, (num_test,)."""
    ### BEGIN SOLUTION
    nearest_labels = y_train[dists.argsort(dim=1)[:, :k]]
    return nearest_labels.mode(dim=1).values
    ### END SOLUTION


# %% check="a1/predict_labels"
check("a1/predict_labels", predict_labels)


# %% exercise="a1/elastic_net_penalty"
def elastic_net_penalty(W, l1, l2):
    """Return the penalty and its gradient, (D, K)."""
    ### BEGIN SOLUTION
    penalty_of_all_weights = l1 * W.abs().sum() + l2 * (W * W).sum()
    return penalty_of_all_weights, l1 * W.sign() + 2 * l2 * W
    ### END SOLUTION


# %% check="a1/elastic_net_penalty"
check("a1/elastic_net_penalty", elastic_net_penalty)

# %% check="a1/linear_answer"
check("a1/linear_answer", "linear_weights.safetensors")

# %% tags=["demo"]
raise RuntimeError("a demo is not run when grading")

# %%
check.summary()
