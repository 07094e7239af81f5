"""Losses of a linear classifier: the multiclass SVM, softmax, and the gradient by finite differences."""

from .finite_differences import numerical_gradient
from .softmax import softmax_naive, softmax_vectorized
from .svm import svm_naive, svm_vectorized

__all__ = [
    "numerical_gradient",
    "svm_naive",
    "svm_vectorized",
    "softmax_naive",
    "softmax_vectorized",
]
