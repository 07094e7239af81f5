"""LSTM and GRU: one step, many steps, what the gates do, and where the gradient goes."""

from dlcvkit.exercises.a4.lstm_gru.gru import gru, gru_step
from dlcvkit.exercises.a4.lstm_gru.layout import count_recurrent_parameters, from_torch_lstm
from dlcvkit.exercises.a4.lstm_gru.lstm import lstm, lstm_step
from dlcvkit.exercises.a4.lstm_gru.memory import lstm_traces, memory_kept, open_forget_gate

__all__ = [
    "count_recurrent_parameters",
    "from_torch_lstm",
    "gru",
    "gru_step",
    "lstm",
    "lstm_step",
    "lstm_traces",
    "memory_kept",
    "open_forget_gate",
]
