"""Findings about a finished run: from its records and arrays to what is wrong and what to try. No config, no files."""
