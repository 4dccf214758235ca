"""Where examples come from: folders, tables, arrays, TFRecord files, and named data sets."""
