"""Image files: checking that each can be read, decoding, caching, and the list of those that a run skips."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["quarantine"])
