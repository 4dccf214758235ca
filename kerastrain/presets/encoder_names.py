"""Under which names the sizes and weights of text encoders are stored by Hugging Face and KerasHub.

Tables only. The right sides are names of `layers.encoder` and of fields of `EncoderNetwork`.
"""

KEYS = {  # origin -> field -> the keys of config.json that hold it
    "transformers": {
        "vocabulary_size": ("vocab_size",),
        "num_layers": ("num_hidden_layers", "n_layers"),
        "num_heads": ("num_attention_heads", "n_heads"),
        "width": ("hidden_size", "dim"),
        "intermediate": ("intermediate_size", "hidden_dim"),
        "positions": ("max_position_embeddings",),
    },
    "kerashub": {
        "vocabulary_size": ("vocabulary_size", "vocab_size"),
        "num_layers": ("num_layers",),
        "num_heads": ("num_heads",),
        "width": ("hidden_dim",),
        "intermediate": ("intermediate_dim",),
        "positions": ("max_sequence_length",),
    },
}
BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
DISTIL_BERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention_output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "intermediate": "ffn.lin1",
    "output": "ffn.lin2",
    "output_norm": "output_layer_norm",
}
KERASHUB = {  # the ends of the paths of KerasHub's variables
    "token_embedding": "embedding/tokens",
    "embeddings_layer_norm": "embedding/norm",
    "embeddings_projection": "projection",
    "rel_embeddings_layer_norm": "positions/norm",
    "self_attention_layer/query": "query",
    "self_attention_layer/key": "key",
    "self_attention_layer/value": "value",
    "self_attention_layer/attention_output": "attention_output",
    "self_attention_layer_norm": "attention_norm",
    "feedforward_intermediate_dense": "intermediate",
    "feedforward_output_dense": "output",
    "feedforward_layer_norm": "output_norm",
}
MPNET = {
    **BERT,
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "attention_output": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
}
DEBERTA = {
    **BERT,
    "query": "attention.self.query_proj",
    "key": "attention.self.key_proj",
    "value": "attention.self.value_proj",
}
BLOCKS = {"distil_bert": DISTIL_BERT, "mpnet": MPNET, "deberta_v3": DEBERTA}
"""The tensors of a block by family; those of the others are named as in BERT."""
