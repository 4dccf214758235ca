"""The sources of examples: folders, tables, arrays, TFRecord files and published data sets."""
