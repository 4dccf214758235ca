"""The config of a run: its sections, and the rules between them. Must not import TensorFlow."""

from pydantic import model_validator

from kerastrain.config import kinds, no_validation
from kerastrain.config.data import ALL_FOLDS, DataConfig
from kerastrain.config.expectations import shown
from kerastrain.config.memory import MemoryConfig
from kerastrain.config.model import FineTuneConfig, ModelConfig
from kerastrain.config.results import EvaluationConfig, ExportConfig, RuntimeConfig
from kerastrain.config.tracking import TrackingConfig
from kerastrain.config.training import (
    EPOCHS,
    GLOBAL_BATCH_SIZE,
    LANGUAGE_BATCH_SIZE,
    FitConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from kerastrain.config.values import Section
from kerastrain.errors import InputError
from kerastrain.evaluation import catalog


class Config(Section):
    """The config of a run. The resolved copy in the run directory reproduces the run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    fit: FitConfig = FitConfig()
    fine_tune: FineTuneConfig = FineTuneConfig()
    memory: MemoryConfig = MemoryConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
    tracking: TrackingConfig = TrackingConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _check_regression(self):
        if self.data.task == "regression" and self.fit.label_smoothing:
            raise ValueError("fit.label_smoothing is only for classes. Received: data.task regression. Remove it.")
        for section, key in (
            ("export", "probabilities"),
            ("export", "operating_point"),
            ("evaluation", "threshold"),
            ("evaluation", "temperature"),
        ):
            if self.data.task == "regression" and getattr(getattr(self, section), key):
                raise ValueError(f"{section}.{key} is only for classes. Received: data.task regression. Remove it.")
        return self

    @model_validator(mode="after")
    def _check_model(self):
        self.model.check_fits(self.data.kind)
        return self

    @model_validator(mode="after")
    def _check_kind(self):
        kinds.check(self, is_language=self.is_language)
        return self

    @model_validator(mode="after")
    def _check_head_views(self):
        if self.fit.head_views == 1:
            return self
        received = f"Received: {self.fit.head_views}"
        if self.data.kind != "images":
            raise ValueError(f"fit.head_views is for images. {received}, and data.kind={self.data.kind}. Remove it.")
        if self.from_scratch or not self.fit.head_epochs:
            why = f"{self.model.backbone} with random weights" if self.from_scratch else "fit.head_epochs=0"
            raise ValueError(
                f"fit.head_views is for a phase that trains only the head. {received}, and {why}, which has none. Remove it."
            )
        blends = [name for name in ("mixup", "cutmix") if name in self.data.augment.named]
        if blends:
            raise ValueError(
                "fit.head_views must be 1 where images are blended with each other, because features are of single images. "
                f"{received}, and data.augment with {' and '.join(blends)}. Remove one of them."
            )
        if not self.data.augment.named:
            raise ValueError(
                "fit.head_views needs data.augment, because all views of an image are equal without it. "
                f"{received}, and data.augment empty. Remove fit.head_views, or name transforms."
            )
        return self

    @model_validator(mode="after")
    def _check_train_on_validation(self):
        no_validation.check(self)
        return self

    @model_validator(mode="after")
    def _check_folds(self):
        if self.data.fold == ALL_FOLDS and "validation" not in self.evaluation.sets:
            raise ValueError(
                "evaluation.sets must contain validation for data.fold=all, which measures each fold on the examples that it "
                f"has not seen. Received: {shown(self.evaluation.sets)}. Add it."
            )
        return self

    @model_validator(mode="after")
    def _check_objective(self):
        if self.fit.objective != "dpo":
            if self.fit.dpo_beta is not None:
                raise ValueError(
                    f"fit.dpo_beta is only for fit.objective=dpo. Received: {self.fit.dpo_beta:g}, and fit.objective="
                    f"{self.fit.objective}. Remove it, or set fit.objective=dpo."
                )
            return self
        if self.data.kind != "chat":
            raise ValueError(
                "fit.objective=dpo learns from conversations with a chosen and a rejected answer. Received: data.kind="
                f"{self.data.kind}. Set data.kind=chat, or remove fit.objective."
            )
        if self.fine_tune.lora_rank is None:
            raise ValueError(
                "fit.objective=dpo needs LoRA, because the reference is the model without its LoRA matrices. Received: "
                "fine_tune.lora_rank null. Set it, such as fine_tune.lora_rank=8."
            )
        if self.data.packing:
            raise ValueError(
                "data.packing is not for fit.objective=dpo: each answer of a pair has a sequence of its own. Received: true. "
                "Remove it."
            )
        if self.data.learn != "answers":
            raise ValueError(
                "data.learn must be answers for fit.objective=dpo, which compares answers to the same prompt. Received: "
                f"{self.data.learn}. Remove it."
            )
        return self

    @model_validator(mode="after")
    def _check_monitor(self):
        if self.fit.monitor is not None:
            try:
                catalog.check_monitor(self.fit.monitor, self.measured_kind)
            except InputError as error:
                raise ValueError(f"fit.monitor: {error}") from None
        return self

    @model_validator(mode="after")
    def _check_fine_tune(self):
        changed = [name for name, value in self.fine_tune if value != getattr(FineTuneConfig(), name)]
        if changed and self.from_scratch:
            raise ValueError(
                f"fine_tune.{changed[0]} needs a pre-trained backbone. Received: {self.model.backbone or 'null'}, which has "
                "random weights and trains from scratch. Remove it, or set another model.backbone"
                f"{' or model.weights' if self.data.kind == 'images' else ''}."
            )
        epochs = EPOCHS if self.fit.epochs is None else self.fit.epochs
        late = [epoch for epoch in self.fine_tune.timetable if epoch >= epochs]
        if late:
            raise ValueError(
                f"fine_tune.timetable must name epochs below fit.epochs. Received: {late[0]}, and fit.epochs is "
                f"{epochs}."
            )
        return self

    @model_validator(mode="after")
    def _check_memory(self):
        if not self.memory.is_spared:
            return self
        usual = LANGUAGE_BATCH_SIZE if self.is_language else GLOBAL_BATCH_SIZE
        parts, examples = self.memory.micro_batches, self.fit.global_batch_size or usual
        if not self.fit.trains_whole:
            raise ValueError(
                "memory is only for training the whole model. Received: fit.epochs 0, which trains only the head. Remove "
                "memory."
            )
        if self.runtime.jit_compile not in (False, "auto", "keras"):
            raise ValueError(
                "memory needs steps without XLA, because XLA keeps the activations that should be freed. Received: "
                f"runtime.jit_compile {str(self.runtime.jit_compile).lower()}. Remove it, or remove memory."
            )
        if parts == "auto" and self.runtime.strategy not in ("auto", "none"):
            raise ValueError(
                f"memory.micro_batches auto is only for one device. Received: runtime.strategy {self.runtime.strategy}. "
                "Set a number."
            )
        if parts != "auto" and parts > examples:
            raise ValueError(
                f"memory.micro_batches must be at most fit.global_batch_size. Received: {parts} and {examples}."
            )
        return self

    @property
    def is_language(self) -> bool:
        """Whether the model is a language model, which writes text."""
        return self.data.kind in ("chat", "language")

    @property
    def measured_kind(self) -> str:
        """What kind of measures the model gets, as in `evaluation.catalog`: those of the task, or of a language model."""
        if not self.is_language:
            return self.data.task
        return "preference" if self.fit.objective == "dpo" else "language"

    @property
    def from_scratch(self) -> bool:
        """Whether the backbone has random weights, so that the whole model trains in one phase."""
        if self.model.from_run is not None:
            return False
        is_network = self.model.backbone_of(self.data.kind).startswith("keras:")
        return is_network and (self.data.kind == "text" or self.model.weights == "random")
