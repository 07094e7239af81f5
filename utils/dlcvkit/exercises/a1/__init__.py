"""Stage a1: kNN and linear classifiers."""
