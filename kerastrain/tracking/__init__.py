"""Trackers of experiments: MLflow and Weights & Biases, through their public clients, and pictures for TensorBoard.

Takes names of trackers and the files of a run; sends them. A tracker that fails costs a warning and never the training. Must not
know of configs or models, and must not train.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "contents": ["measures", "parameters"],
        "tensorboard_pages": ["write_tensorboard"],
        "tensorboard_search": ["write_search"],
        "tracked_run": ["FILE", "TRACKERS", "TrackedRun", "links", "require"],
    },
)
