"""Hidden cases, mutants and other solutions for solutions/a4/image_captioning.py."""

from .attending import attention_lstm, dot_product_attention
from .model import captioner, captioning_rnn
from .searching import beam_search
from .words import build_vocabulary, decode_captions, encode_captions

__all__ = [
    "attention_lstm",
    "beam_search",
    "build_vocabulary",
    "captioner",
    "captioning_rnn",
    "decode_captions",
    "dot_product_attention",
    "encode_captions",
]
