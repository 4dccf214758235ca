"""Image files: proving that each one opens, decoding, caching, and setting broken ones aside."""
