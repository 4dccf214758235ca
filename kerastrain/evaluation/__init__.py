"""How good a model is: metrics during training, and exact measures over whole datasets afterwards.

Takes a `keras.Model` and a dataset of (inputs, targets), or arrays of targets and predictions; returns dicts that can be
written as JSON, and a table for the terminal. Must not train, and must not change the model it measures.

Modules are imported on first use, because `predictions` and the measures of arrays work without TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        *(
            "catalog",
            "cross_validation",
            "intervals",
            "matching",
            "multi_label",
            "operating_point",
            "paired",
            "predictions",
        ),
        *("regression", "scores", "single_label", "slices", "tables", "thresholds"),
    ],
    submod_attrs={
        "data_sets": ["evaluate", "predict", "predictor", "report"],
        "keras_metrics": ["DataLoss", "LabelsF1", "RocAuc", "metrics"],
        "measuring": ["measures"],
        "operating_point": ["OperatingPoint"],
        "predictions": ["Predictions"],
        "scores": ["MEASURES", "score"],
        "single_label": ["measure"],
        "tables": ["table"],
    },
)
