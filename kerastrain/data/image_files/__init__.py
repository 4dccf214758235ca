"""Image files: proving that each one opens, decoding, caching, and setting broken ones aside."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["quarantine"])
