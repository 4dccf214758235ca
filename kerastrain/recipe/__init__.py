"""The compositions of kerastrain: train a run, tune, find settings, and work with a finished run.

Takes a `Config` and the path of a folder; returns a `keras.Model` and writes files. Only calls public functions, so its
body also runs when it is copied into a script. Logic that a part or a tool could hold does not belong here.

Submodules are imported on first use, because `recipe.plan` works without TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["language_requirements", "operating_points", "requirements", "run_room", "tuning"],
    submod_attrs={
        "building": ["Prepared", "build", "load_backbone", "load_data", "make_strategy"],
        "data_check_files": ["write_data_check"],
        "data_checking": ["DataCheck", "check_data"],
        "evaluating": ["evaluate"],
        "comparing": ["Comparison", "compare"],
        "exporting": ["export_formats"],
        "ranking_backbones": ["find_backbone"],
        "folds": ["FoldsResult", "resume_folds", "run_folds"],
        "finding": ["find_batch_size", "find_learning_rate", "find_memory"],
        "fitting": ["compiled", "fit"],
        "precision_and_xla": ["with_measured_precision"],
        "explaining_images": ["explain_images"],
        "explaining": ["ExplainedText", "explain_texts"],
        "predicting": ["Prediction", "embed", "predict"],
        "preparation": ["prepare"],
        "previewing": ["preview"],
        "results": ["export_all", "measure"],
        "retraining": ["retrain"],
        "starting_run": ["config_from"],
        "training_run": ["RunResult", "resume", "run"],
        "writing": ["writer"],
    },
)
