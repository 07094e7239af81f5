"""Backpropagation: gates, the scalar graph, and whole matrices at a time. In the order of the notebook."""

from __future__ import annotations

from dlcvkit.exercises.a2.backprop import gates, graph, matrices

add_gate = gates.add_gate
mul_gate = gates.mul_gate
max_gate = gates.max_gate
copy_gate = gates.copy_gate
sigmoid_gate = gates.sigmoid_gate
topological_order = graph.topological_order
topological_backward = graph.topological_backward
matmul = matrices.matmul
sum_to_shape = matrices.sum_to_shape
broadcast_add = matrices.broadcast_add
sigmoid_layer = matrices.sigmoid_layer
