"""Interface to the machine: files, signals, archives, the terminal, resources, folders of the user, and imports."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["signals"])
