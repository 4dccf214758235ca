"""The sections `evaluation`, `export` and `runtime`: what is measured and shipped, and on what the run stands.

Must not import TensorFlow.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

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
]


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
    TFLite for images, SavedModel and float32 TFLite for texts, of which a Hub module gives SavedModel alone. `onnx` and
    the int4 formats need the extras `onnx` and `int4`."""
    probabilities: bool = False
    """Whether the exported file ends in a softmax instead of logits."""
    samples: Annotated[int, Field(ge=8)] | None = 512
    """Held-out examples on which a file is compared with `predict`, spread over the classes; null takes all."""
    score_loss_fraction: Fraction | None = None
    """The most accuracy (of numbers, R²) that a file may lose on them, 0.01 for a point; past it, it is removed. Null takes
    0.005 for float32, 0.01 for float16, 0.1 for int4 and 0.05 for other integers."""
    representative_samples: Annotated[int, Field(ge=8)] = 128
    """Training images that int8 quantization takes its ranges from, spread over the classes."""


class RuntimeConfig(Section):
    """What the run stands on."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The one seed: split, order, augmentation, initial weights, dropout."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "measure"] = "float32"
    """Keras dtype policy of the layers; variables and logits stay float32. `measure` times the train step under those that the
    machine has in hardware (bfloat16 on CPUs with AMX or AVX-512 BF16, GPUs and TPUs) and keeps the fastest."""
    jit_compile: bool | Literal["auto", "measure"] = "auto"
    """Whether XLA compiles the train step. `auto` is Keras's rule: on one GPU or a TPU, never on a CPU. `measure` times the
    step both ways, on a CPU only where compiling takes seconds; what was chosen stands in the run's config.yaml."""
    strategy: Literal["auto", "none", "mirrored", "multi_worker", "tpu"] = "auto"
    """Which devices train together, with the weights of one: none (one device), mirrored (all GPUs of this machine),
    multi_worker (all processes of `kerastrain launch` or of a cluster), tpu; auto takes what the machine has."""
    devices: Annotated[int, Field(gt=0)] | None = None
    """Only for mirrored: how many devices; null takes all. Without a GPU the CPU is divided into so many."""
    all_reduce: Literal["auto", "nccl", "ring", "hierarchical_copy", "one_device"] = "auto"
    """How gradients are added up: nccl, hierarchical_copy or one_device under mirrored, nccl or ring under
    multi_worker; auto is NCCL among GPUs."""
    start_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Only for multi_worker: how long a worker waits for the others to start; then it says which is missing, and ends."""
    deterministic: bool = False
    """Whether every operation must give the same bits on every run. Slower on a GPU, where a few operations
    refuse it."""

    @model_validator(mode="after")
    def _the_strategy_takes_them(self):
        if self.devices is not None and self.strategy != "mirrored":
            raise ValueError(f"devices goes with strategy mirrored. Received: strategy {self.strategy!r}. Remove it.")
        takes = {"mirrored": ("nccl", "hierarchical_copy", "one_device"), "multi_worker": ("nccl", "ring")}
        if self.all_reduce != "auto" and self.all_reduce not in takes.get(self.strategy, ()):
            raise ValueError(
                f"all_reduce {self.all_reduce!r} does not go with strategy {self.strategy!r}. Known: "
                f"{', '.join(takes.get(self.strategy, ()))}{', ' if self.strategy in takes else ''}auto."
            )
        return self
