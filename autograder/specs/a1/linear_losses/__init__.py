"""Hidden cases, mutants and other solutions for solutions/a1/linear_losses.py."""

from .finite_differences import numerical_gradient as numerical_gradient
from .softmax import softmax_naive as softmax_naive
from .softmax import softmax_vectorized as softmax_vectorized
from .svm import svm_naive as svm_naive
from .svm import svm_vectorized as svm_vectorized
