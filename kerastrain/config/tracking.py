"""The section `tracking`: the trackers of experiments that a run is sent to. Must not import TensorFlow."""

from typing import Literal

from kerastrain.config.values import NotNegative, Section


class TrackingConfig(Section):
    """The trackers of experiments that get a run's config, its metrics by epoch, its measures and its files.

    Servers and keys come from the trackers' own variables, such as MLFLOW_TRACKING_URI and WANDB_MODE.
    """

    to: tuple[Literal["mlflow", "wandb"], ...] = ()
    """Trackers: `mlflow` needs the extra `mlflow`, and `wandb` (Weights & Biases) the extra `wandb`. One that fails costs a
    warning, and the training continues."""
    project: str | None = None
    """The experiment of MLflow and the project of Weights & Biases. Null means MLFLOW_EXPERIMENT_NAME and WANDB_PROJECT, or
    else kerastrain."""
    name: str | None = None
    """The name of the run there. Null means the name of its folder."""
    upload_mb: NotNegative = 10
    """Exported files up to this size in MB are sent too. Of larger ones the path is noted."""
