"""Hidden cases, mutants and other solutions of the notebook on LSTM and GRU."""

from .gru import gru as gru
from .gru import gru_step as gru_step
from .layout import count_recurrent_parameters as count_recurrent_parameters
from .layout import from_torch_lstm as from_torch_lstm
from .lstm import lstm as lstm
from .lstm import lstm_step as lstm_step
from .memory import lstm_traces as lstm_traces
from .memory import memory_kept as memory_kept
from .memory import open_forget_gate as open_forget_gate
