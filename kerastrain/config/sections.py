"""The whole config: its sections, in the order of a run. Must not import TensorFlow."""

from pydantic import model_validator

from kerastrain.config.data import DataConfig
from kerastrain.config.model import FineTuneConfig, ModelConfig
from kerastrain.config.results import EvaluationConfig, ExportConfig, RuntimeConfig
from kerastrain.config.training import FitConfig, OptimizerConfig, ScheduleConfig
from kerastrain.config.values import Section


class Config(Section):
    """Everything that decides a run; the resolved copy in the run directory reproduces it."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    fit: FitConfig = FitConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _numbers_are_no_classes(self):
        if self.data.task == "regression" and self.fit.label_smoothing:
            raise ValueError("fit.label_smoothing goes with classes. Received: data.task regression. Remove it.")
        if self.data.task == "regression" and self.export.probabilities:
            raise ValueError("export.probabilities goes with classes. Received: data.task regression. Remove it.")
        return self

    @property
    def from_scratch(self) -> bool:
        """Whether the backbone has random weights, so that there is nothing to keep frozen."""
        return self.model.backbone.startswith("keras:") and self.model.weights is None
