"""Transfer learning on any `keras.Model`: freezing, low-rank adapters, and the cut between features and head."""
