"""The sections `evaluation`, `export` and `runtime`: what is measured, which files are written, and on which devices.

Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kerastrain import objectives
from kerastrain.config.expectations import shown
from kerastrain.config.values import Fraction, Section

ExportName = Literal[
    "saved_model",
    "keras",
    "onnx",
    "tflite_float32",
    "tflite_float16",
    "tflite_dynamic",
    "tflite_int8",
    "tflite_int16x8",
    "tflite_int4",
    "tflite_dynamic_int4",
    "hugging_face",
    "adapter",
]


class EvaluationConfig(Section):
    """How the trained model is evaluated."""

    sets: tuple[Literal["train", "validation", "test"], ...] = ("validation", "test")
    """Parts of the data to evaluate; empty parts are skipped."""
    batch_size: Annotated[int, Field(gt=0)] | None = None
    """Examples per forward pass. Null means 64, and 8 for language models."""
    threshold: str | None = None
    """What thresholds are chosen for, on the validation part only: `f1`, `precision>=0.95`, `recall>=0.9` (with the number that
    you want) or `equal_error`, between two classes, or for each label of data.task multi_label; or `accuracy>=0.98`, below which
    the most probable of several classes is rejected. They are written to operating_point.json, measured on the other parts and
    used by `kerastrain predict`. Null means the most probable class, and 0.5 for each label of many."""
    positive: str | None = None
    """Of two classes, the one that `threshold` is about. Null means the second."""
    temperature: bool = False
    """Whether the probabilities are calibrated by a temperature, under which the targets of the validation part are most likely.
    It is part of operating_point.json, too, and changes no predicted class."""
    answers: Annotated[int, Field(ge=0)] = 4
    """Only for language models: number of held-out prompts whose answers before and after the training are in the report."""
    answer_tokens: Annotated[int, Field(gt=0)] = 64
    """Only for language models: most tokens of such an answer."""

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, value: str | None) -> str | None:
        return None if value is None else str(objectives.parse(value))

    @model_validator(mode="after")
    def _check_operating_point(self):
        for key in ("threshold", "temperature"):
            if getattr(self, key) and "validation" not in self.sets:
                raise ValueError(
                    f"{key} is chosen on the validation part. Received: {shown(getattr(self, key))}, and sets "
                    f"{shown(self.sets)}. Add validation to evaluation.sets."
                )
        if self.positive is not None and self.threshold is None:
            raise ValueError(
                f"positive names the class of a threshold. Received: {self.positive!r}, and threshold null. Set threshold, such "
                "as evaluation.threshold=f1, or remove it."
            )
        return self


class ExportConfig(Section):
    """The exported files. Each is re-opened and compared with `predict`, and removed if it differs too much."""

    formats: tuple[ExportName, ...] | None = None
    """Formats written at the end of a run; `kerastrain export` can write more later. Null means SavedModel, float32 TFLite
    and int8 TFLite for images (dynamic instead of int8 with a network of Hugging Face or timm), SavedModel and float32
    TFLite for texts, and only SavedModel for a Hub text module. `onnx` needs the extra `onnx`, the int4 formats need the
    extra `int4`."""
    probabilities: bool = False
    """Whether the files return probabilities (softmax or sigmoid) instead of logits."""
    operating_point: bool = False
    """Whether the files carry the operating point of the run, chosen by `evaluation.threshold` or `evaluation.temperature`: as
    operating_point.json beside them or in their metadata, and with `probabilities` the temperature inside the graph."""
    samples: Annotated[int, Field(ge=8)] | None = 512
    """Number of held-out examples on which a file is compared with `predict`, spread over the classes; null means all."""
    score_loss_fraction: Fraction | None = None
    """Largest loss of accuracy (for regression, of R²) on these examples, as a fraction: 0.01 is one percentage point. A
    file that loses more is removed. Null means 0.005 for float32, 0.01 for float16, 0.1 for int4 and 0.05 for the other
    integer formats."""
    representative_samples: Annotated[int, Field(ge=8)] = 128
    """Number of training examples that calibrate the int8 ranges, spread over the classes."""


class RuntimeConfig(Section):
    """Seed, precision, devices and XLA."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the split (unless data.split_seed is set), the order of the examples, augmentation, initial weights and dropout."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16", "measure"] = "auto"
    """Keras dtype policy of the layers; variables and logits stay float32. `measure` times the train step with float32 and
    with every precision that the hardware supports (bfloat16 on CPUs with AMX or AVX-512 BF16, on GPUs and TPUs), and
    keeps the fastest. `auto` does so only in a run that is at least twenty times as long as the trials, takes what an earlier
    run of the same model has measured on this machine, and is float32 otherwise; also for regression, for several devices, and
    with deterministic. The run's config.yaml has what was chosen."""
    jit_compile: bool | Literal["auto", "keras", "measure"] = "auto"
    """Whether XLA compiles the train step. `keras` is Keras's rule: yes on one GPU or a TPU, no on a CPU. `measure` times the
    step with and without XLA (on a CPU, only if compiling takes seconds) and writes its choice to the run's config.yaml.
    `auto` measures as precision=auto does, and is `keras` otherwise."""
    strategy: Literal["auto", "none", "mirrored", "multi_worker", "tpu"] = "auto"
    """Which devices train together. none: one device. mirrored: all GPUs of this machine. multi_worker: all processes of
    `kerastrain launch` or of a cluster. tpu: a TPU. auto chooses by the devices of the machine. All of them train to the
    same weights as one device."""
    devices: Annotated[int, Field(gt=0)] | None = None
    """Only for mirrored: number of devices; null means all. Without a GPU, the CPU is divided into that many devices."""
    all_reduce: Literal["auto", "nccl", "ring", "hierarchical_copy", "one_device"] = "auto"
    """Algorithm that sums the gradients: nccl, hierarchical_copy or one_device for mirrored, nccl or ring for multi_worker.
    auto uses NCCL between GPUs."""
    start_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Only for multi_worker: how long a worker waits for the others to start, in seconds. After that it reports which one
    is missing and exits."""
    profile: bool = False
    """Whether the run measures where its time goes: in profile.json, printed in the end and in the report, with a trace of a few
    steps of each phase for TensorBoard. It does not change what is trained. The trials of a search are not measured."""
    deterministic: bool = False
    """Whether every operation must return the same bits on every run. It is slower on a GPU, where a few operations raise
    an error."""

    @model_validator(mode="after")
    def _check_strategy_options(self):
        if self.devices is not None and self.strategy != "mirrored":
            raise ValueError(f"devices is only for strategy mirrored. Received: strategy {self.strategy!r}. Remove it.")
        if "measure" in (self.precision, self.jit_compile) and self.strategy not in ("auto", "none"):
            name = "precision" if self.precision == "measure" else "jit_compile"
            raise ValueError(
                f"{name} measure is only for one device. Received: strategy {self.strategy!r}. Set another value, such as "
                "auto, or strategy none."
            )
        known = {"mirrored": ("nccl", "hierarchical_copy", "one_device"), "multi_worker": ("nccl", "ring")}
        if self.all_reduce != "auto" and self.all_reduce not in known.get(self.strategy, ()):
            raise ValueError(
                f"strategy {self.strategy!r} has no all_reduce {self.all_reduce!r}. Known: "
                f"{', '.join((*known.get(self.strategy, ()), 'auto'))}."
            )
        return self
