"""Custom Keras layers, registered so that `.keras` files load, and functions that read them from a model."""
