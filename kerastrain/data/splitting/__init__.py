"""Splits into training, validation and test parts that change little when files are added."""
