"""Language models: decoders that write text, their data, adapters and generation."""
