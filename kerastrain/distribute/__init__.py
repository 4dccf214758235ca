"""Strategies, and what Keras gets wrong under them."""
