"""Private names of Keras and TensorFlow, one file each; everything else uses public names."""
