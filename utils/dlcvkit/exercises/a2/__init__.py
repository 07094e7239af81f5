"""Exercises of stage a2, two-layer and fully-connected nets: one module per notebook."""
