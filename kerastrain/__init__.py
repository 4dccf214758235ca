"""kerastrain: from a folder of images or text to a small, explainable, verified model on Keras 3.

Parts and tools around plain `keras.Model`s. Every module is loaded on first use, so that `import kerastrain` takes
milliseconds, does not import TensorFlow and has no side effects.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "backbones",
        "callbacks",
        "compress",
        "config",
        "data",
        "diagnosis",
        "distribute",
        "durations",
        "errors",
        "evaluation",
        "explain",
        "export",
        "finders",
        "language",
        "memory",
        "models",
        "optimizers",
        "recipe",
        "report",
        "runtime",
        "schedules",
        "testing",
        "tracking",
        "tuning",
    ],
    submod_attrs={"hub.layer": ["HubLayer"], "system": ["signals"]},
)
