"""Transfer learning on any `keras.Model`: freezing, low-rank adapters, and splitting features from head."""
