"""TF Hub modules as native Keras 3 layers: where they come from, which are trusted, and how they are called."""
