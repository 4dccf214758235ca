"""How a text becomes the tokens of a text network, in plain Python; `layers.text` does the same in a graph."""

from kerastrain.tokenization.class_ratios import log_count_ratios
from kerastrain.tokenization.saved import SavedTokens, read
from kerastrain.tokenization.text_rules import TOKENIZERS, TextRules, Tokenizer, rules
from kerastrain.tokenization.vocabulary import NETWORKS, SPECIAL_TOKENS, Network, Tokens, joined, learn

__all__ = [
    "NETWORKS",
    "SPECIAL_TOKENS",
    "TOKENIZERS",
    "Network",
    "SavedTokens",
    "TextRules",
    "Tokenizer",
    "Tokens",
    "joined",
    "learn",
    "log_count_ratios",
    "read",
    "rules",
]
