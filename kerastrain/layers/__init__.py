"""Keras layers of our own, registered so that `.keras` files open; and functions that read them from a model."""
