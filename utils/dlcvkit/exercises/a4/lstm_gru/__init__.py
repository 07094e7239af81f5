"""LSTM and GRU: one step, many steps, what the gates do, and where the gradient goes."""

from dlcvkit.exercises.a4.lstm_gru.gru import gru, gru_step
from dlcvkit.exercises.a4.lstm_gru.layout import count_recurrent_parameters, from_torch_lstm
from dlcvkit.exercises.a4.lstm_gru.lstm import lstm, lstm_step
from dlcvkit.exercises.a4.lstm_gru.memory import lstm_traces, memory_kept, open_forget_gate

__all__ = [
    "lstm_step",
    "lstm",
    "from_torch_lstm",
    "lstm_traces",
    "memory_kept",
    "open_forget_gate",
    "gru_step",
    "gru",
    "count_recurrent_parameters",
]
