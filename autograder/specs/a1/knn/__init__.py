"""Hidden cases, mutants and other solutions for solutions/a1/knn.py."""

from .cross_validation import kfold_indices as kfold_indices
from .cross_validation import knn_best_k as knn_best_k
from .cross_validation import knn_cross_validate as knn_cross_validate
from .distances import knn_no_loops as knn_no_loops
from .distances import knn_one_loop as knn_one_loop
from .distances import knn_two_loops as knn_two_loops
from .distances import l1_distances as l1_distances
from .voting import predict_labels as predict_labels
