"""Training, validation and test parts that stay the same as files are added."""
