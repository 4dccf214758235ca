"""Private names of Keras and TensorFlow, one file for each purpose. Nothing here may know what its callers do with them."""
