"""Files, signals, archives, the terminal, resources and imports: what every other room needs of the machine."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["signals"])
