"""k-nearest neighbours: distances, voting, cross-validation."""

from .cross_validation import kfold_indices, knn_best_k, knn_cross_validate
from .distances import knn_no_loops, knn_one_loop, knn_two_loops, l1_distances
from .voting import predict_labels

__all__ = [
    "knn_two_loops",
    "knn_one_loop",
    "knn_no_loops",
    "l1_distances",
    "predict_labels",
    "kfold_indices",
    "knn_cross_validate",
    "knn_best_k",
]
