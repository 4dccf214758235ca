"""TF Hub modules as native Keras 3 layers: source, trust, signatures, and the layer itself."""
