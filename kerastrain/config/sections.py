"""The sections of a config: every key, its default, what it may be and what it means.

Frozen pydantic records; the sentence under a key is its documentation in the JSON schema. Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from kerastrain import durations

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=8, le=4096)]
Duration = Annotated[str | int, AfterValidator(lambda text: str(durations.parse(text)))]

OptimizerName = Literal[
    "sgd",
    "adam",
    "adamw",
    "adagrad",
    "rmsprop",
    "nadam",
    "adadelta",
    "adamax",
    "adafactor",
    "ftrl",
    "lion",
    "lamb",
    "muon",
]
ScheduleName = Literal["constant", "cosine", "linear", "exponential", "step"]
Augmentation = Literal["flip", "crop", "colour", "noise"]
ExportName = Literal[
    "saved_model", "tflite_float32", "tflite_float16", "tflite_dynamic", "tflite_int8", "tflite_int16x8"
]


class Section(BaseModel):
    """A part of the config: unknown keys are faults, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value, info):
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError(f"must not be true or false (or yes, no, on, off without quotes). Received: {value!r}.")
        return value


class DataConfig(Section):
    """Where the examples come from, how they are split and augmented."""

    kind: Literal["images", "text"] = "images"
    """What the examples are."""
    path: str = "digits"
    """A folder with one folder of images per class, or `digits`: scikit-learn's 1,797 handwritten digits. For texts a
    folder with one file per class, a text on each line, or one folder of .txt files per class."""
    image_size: tuple[Size, Size] | None = None
    """Height and width in pixels that images are resized to; null takes what the backbone was made for."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of each class held out to choose the best epoch."""
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of each class that only the final evaluation sees; 0 for none."""
    augment: tuple[Augmentation, ...] = ("crop", "colour", "noise")
    """Random changes to training images; add `flip` where a mirror image means the same."""

    @model_validator(mode="after")
    def _texts_have_a_place(self):
        if self.kind == "text" and self.path == "digits":
            raise ValueError("path must name a folder of texts: the embedded digits are images. Set data.path.")
        return self

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self):
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction and test_fraction must sum to less than 1, the rest is trained on. "
                f"Received: {self.validation_fraction:g} and {self.test_fraction:g}."
            )
        return self


class ModelConfig(Section):
    """The backbone and the head put on it."""

    backbone: str | None = None
    """A TF Hub handle, a SavedModel folder or .tar.gz, `keras:NAME`, a .keras file, or the bundled
    `kerastrain:fractal_small`, which null takes. For texts a Hub text module, `keras:transformer`, or
    `keras:embedding`, which null takes."""
    weights: str | None = None
    """Only for `keras:NAME`: a weights file, `imagenet` (downloads), or null for random ones."""
    value_range: tuple[float, float] | None = None
    """What the backbone wants pixels scaled to; null takes what it says, or [0, 1], the convention of TF Hub."""
    alpha: Positive | None = None
    """Only for the MobileNets of `keras:NAME`: their width as a share of the standard one."""
    width: Annotated[int, Field(gt=0)] | None = None
    """Only for texts under `keras:NAME`: numbers of a word's embedding; null takes the network's default."""
    depth: Annotated[int, Field(gt=0)] = 2
    """Only for `keras:transformer`: its blocks."""
    hidden_units: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Widths of dense layers between the features and the logits."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of features dropped before the logits while training."""
    batch_norm: bool = False
    """Whether batch norm stands before each hidden ReLU of the head."""
    l1: NotNegative = 0.0
    """L1 penalty on the kernels of the head."""
    l2: NotNegative = 0.0
    """L2 penalty on the kernels of the head."""

    @model_validator(mode="after")
    def _weights_have_a_network(self):
        if self.weights is not None and not (self.backbone or "").startswith("keras:"):
            raise ValueError(
                f"weights goes with a backbone `keras:NAME` alone. Received: backbone {self.backbone!r}, "
                "which brings its own weights. Remove weights."
            )
        return self


class OptimizerConfig(Section):
    """The rule that turns gradients into updates."""

    name: OptimizerName = "adamw"
    """The Keras optimizer, in lower case."""
    learning_rate: Positive = 1e-2
    """Peak rate while the head is trained on the frozen backbone."""
    fine_tune_fraction: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Peak rate of fine-tuning as a share of `learning_rate`."""
    weight_decay: NotNegative | None = None
    """Decoupled decay of all kernels, not of biases and norms; null takes the optimizer's default."""
    clip_norm: Positive | None = None
    """Largest L2 norm of each variable's gradient."""
    global_clip_norm: Positive | None = None
    """Largest L2 norm of all gradients together."""
    clip_value: Positive | None = None
    """Largest absolute value of a gradient's entry."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Only for sgd, rmsprop and muon; null takes the optimizer's default."""

    @model_validator(mode="after")
    def _arguments_fit(self):
        if self.momentum is not None and self.name not in ("sgd", "rmsprop", "muon"):
            raise ValueError(
                f"momentum goes with sgd, rmsprop and muon. Received: name {self.name!r}. Remove momentum."
            )
        clips = [name for name in ("clip_norm", "global_clip_norm", "clip_value") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"gradients are clipped one way only. Received: {' and '.join(clips)}. Keep one.")
        return self


class ScheduleConfig(Section):
    """How the learning rate moves over the steps of a phase."""

    name: ScheduleName = "cosine"
    """The curve after the warm-up."""
    warmup: Duration = "5%"
    """Linear rise from near 0 to the peak: `2 epochs`, `500 steps` or `5%` of the phase."""
    end_fraction: Fraction | None = None
    """Final rate as a share of the peak; null takes the curve's own end (0 for cosine and linear)."""

    @model_validator(mode="after")
    def _curve_has_that_end(self):
        if self.name == "exponential" and self.end_fraction == 0:
            raise ValueError("end_fraction must be > 0 for exponential decay, which never reaches 0. Try 0.01.")
        if self.name in ("constant", "step") and self.end_fraction is not None:
            raise ValueError(
                f"end_fraction does not go with {self.name!r}. Received: {self.end_fraction:g}. Remove it."
            )
        return self


class FitConfig(Section):
    """How long and in what batches the model is trained."""

    head_epochs: Count = 30
    """Epochs of the head alone, on features that the frozen backbone gives once."""
    epochs: Count = 10
    """Epochs of fine-tuning the whole model, batch-norm statistics held still; 0 keeps the backbone frozen."""
    global_batch_size: Annotated[int, Field(gt=0)] = 32
    """Examples in one optimizer step, over all devices together."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a label's weight that the loss spreads over all classes."""
    early_stopping_epochs: Annotated[int, Field(gt=0)] | None = None
    """Epochs without a better validation loss after which a phase ends; null never stops early."""

    @model_validator(mode="after")
    def _trains_at_all(self):
        if self.head_epochs + self.epochs == 0:
            raise ValueError("head_epochs and epochs must not both be 0, or nothing is trained.")
        return self


class FineTuneConfig(Section):
    """What of a pre-trained backbone trains in the second phase, and how fast."""

    last: Count | None = None
    """How many layers with weights train, counted from the backbone's end; null for all."""
    from_layer: str | None = None
    """Name of the first layer of the backbone that trains; null for all."""
    batch_norm: bool = False
    """Whether batch norm trains too; on few images it had better stay still."""
    layer_rate_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Factor on the rate from each layer to the one below it; null gives all layers the same rate."""
    lora_rank: Annotated[int, Field(gt=0)] | None = None
    """Rank of low-rank pairs that train instead of the dense, embedding and attention kernels; merged at the end."""
    timetable: dict[Count, Count | None] = {}
    """Epoch (from 0) and how many layers train from then on, null for all: gradual unfreezing."""

    @model_validator(mode="after")
    def _one_way_only(self):
        ways = [name for name in ("last", "from_layer", "lora_rank") if getattr(self, name) is not None]
        ways += ["timetable"] if self.timetable else []
        if len(ways) > 1:
            raise ValueError(f"what trains is chosen one way only. Received: {' and '.join(ways)}. Keep one.")
        return self


class EvaluationConfig(Section):
    """What the finished model is measured on."""

    sets: tuple[Literal["train", "validation", "test"], ...] = ("validation", "test")
    """Parts of the data; a part that is empty is left out."""
    batch_size: Annotated[int, Field(gt=0)] = 64
    """Examples in one forward pass."""


class ExportConfig(Section):
    """The files that ship, each re-opened and compared with `predict` before it counts."""

    formats: tuple[ExportName, ...] | None = None
    """Files written at the end of a run, `kerastrain export` writes more; null takes SavedModel, float32 and int8
    TFLite for images, SavedModel for texts."""
    probabilities: bool = False
    """Whether the exported file ends in a softmax instead of logits."""
    samples: Annotated[int, Field(ge=8)] = 128
    """Held-out images on which a file is compared with `predict`."""
    representative_samples: Annotated[int, Field(ge=8)] = 128
    """Training images that int8 quantization takes its ranges from, spread over the classes."""


class RuntimeConfig(Section):
    """What the run stands on."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The one seed: split, order, augmentation, initial weights, dropout."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Keras dtype policy of the layers; variables and logits stay float32."""
    deterministic: bool = False
    """Whether every operation must give the same bits on every run; slower on a GPU."""


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

    @property
    def from_scratch(self) -> bool:
        """Whether the backbone has random weights, so that there is nothing to keep frozen."""
        return self.model.backbone.startswith("keras:") and self.model.weights is None
