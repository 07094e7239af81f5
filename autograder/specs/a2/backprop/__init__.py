"""Hidden cases, mutants and other solutions of the notebook on backpropagation."""

from .gates import add_gate as add_gate
from .gates import copy_gate as copy_gate
from .gates import max_gate as max_gate
from .gates import mul_gate as mul_gate
from .gates import sigmoid_gate as sigmoid_gate
from .graph import topological_backward as topological_backward
from .graph import topological_order as topological_order
from .matrices import broadcast_add as broadcast_add
from .matrices import matmul as matmul
from .matrices import sigmoid_layer as sigmoid_layer
from .matrices import sum_to_shape as sum_to_shape
