"""Exercises of stage a3: convolution, normalization and CNNs."""
