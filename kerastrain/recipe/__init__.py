"""The one composition: from a config to a trained, measured and exported model, in the order of the README.

Takes a `Config` and a folder name, gives a `keras.Model` and files. Made only of calls to public functions, so its
body, copied into a script, runs. Must not hold logic that a part or a tool could hold.

Loaded on first use, because `recipe.plan` answers without TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "building": ["build", "load_backbone", "load_data", "make_strategy"],
        "finding": ["find_batch_size", "find_learning_rate", "find_memory"],
        "fitting": ["compiled", "fit"],
        "precision_and_xla": ["with_measured_precision"],
        "previewing": ["preview"],
        "results": ["export_all", "measure"],
        "training_run": ["RunResult", "resume", "run"],
    },
)
