"""Attention and the Transformer, from one query to greedy decoding."""

from dlcvkit.exercises.a4.transformer import attention, blocks, decoding, heads, tables, whole

# In the order of the notebook, which is the order of summaries.
attention_naive = attention.attention_naive
attention_weights = attention.attention_weights
scaled_dot_product_attention = attention.scaled_dot_product_attention
causal_mask = tables.causal_mask
multi_head_attention = heads.multi_head_attention
positional_encoding = tables.positional_encoding
learned_positions = tables.learned_positions
layer_norm = tables.layer_norm
feed_forward = heads.feed_forward
encoder_block = blocks.encoder_block
decoder_block = blocks.decoder_block
transformer = whole.transformer
invariants = decoding.invariants
greedy_decode = decoding.greedy_decode
