"""Runs the training steps of the candidates with the data, augmentation and seed of a run.

Takes a run, its data, the settings of `compress` and the folder of the compression; returns new models, which it saves
there with the checkpoints of the training that was interrupted.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from kerastrain import backbones, callbacks, compress, data, models, run_directory, runtime
from kerastrain.compress.fine_tuning import affected_batch_norm
from kerastrain.compression_search.candidates import Candidate
from kerastrain.compression_search.progress import Pace, Watch
from kerastrain.compression_search.unfinished import Unfinished
from kerastrain.config import CompressConfig
from kerastrain.config.compression import ClusterConfig, DistillConfig, PruneChannelsConfig, PruneConfig
from kerastrain.errors import InputError
from kerastrain.export import int4
from kerastrain.keras_internals.layers import every_layer
from kerastrain.models import task_models
from kerastrain.presets import image_networks
from kerastrain.run_directory import Run
from kerastrain.system import files, signals
from kerastrain.transfer import freezing

logger = logging.getLogger("kerastrain")


class Trainer:
    """Trains a run's model with any sequence of steps, each sequence once.

    Every trained model is saved, and a model that an earlier process saved is loaded. A training that was interrupted
    resumes from its newest checkpoint.

    Args:
        run: Run, whose model is not changed.
        split: data.Split of the run.
        settings: CompressConfig; steps that it does not set use their defaults.
        unfinished: Unfinished, the folder of the models and checkpoints.
        pace: Pace, to which each training reports.
    """

    def __init__(
        self, run: Run, split: data.Split, settings: CompressConfig, unfinished: Unfinished, pace: Pace | None = None
    ):
        self.run, self.split, self.settings = run, split, settings
        self.unfinished, self.pace = unfinished, pace or Pace()
        self.loss = models.loss(
            run.model,
            label_smoothing=run.config.fit.label_smoothing,
            positive_weights=split.train.positive_weights,
        )
        self._outcomes: dict[tuple[str, ...], keras.Model | Exception] = {(): run.model}
        self._callbacks: list[keras.callbacks.Callback] = []

    def model(self, steps: tuple[str, ...]) -> keras.Model:
        """Returns the run's model after some steps, trained at the first call.

        Args:
            steps: tuple of str, keys of `candidates.STEP_NAMES`.

        Returns:
            keras.Model; the run's model without steps.

        Raises:
            InputError: the model does not support one of the steps; later calls raise the same error, like any other
                error of the training.
            OutOfTime: the training does not fit into the budget of time.
            Stopped: a signal arrived; the state of the training is saved.
        """
        if steps not in self._outcomes:
            try:
                self._outcomes[steps] = self._made(steps)
            except Exception as error:
                self._outcomes[steps] = error
                raise
        if isinstance(outcome := self._outcomes[steps], Exception):
            raise outcome
        return outcome

    def steps_left(self, steps: tuple[str, ...]) -> dict[str, tuple[str, int]]:
        """Lists the trainings that are needed for a model and not done yet.

        Args:
            steps: tuple of str, keys of `candidates.STEP_NAMES`.

        Returns:
            dict from the stem of a model to (key of `candidates.STEP_NAMES`, training steps).
        """
        per_epoch = data.steps_per_epoch(self.split.train, self.run.config.fit.global_batch_size)
        chains = [steps[: count + 1] for count in range(len(steps))]
        return {
            stem: (chain[-1], per_epoch * self.section(chain[-1]).epochs)
            for chain in chains
            if not self.unfinished.model_path(stem := Candidate(chain, "").stem).exists()
        }

    def _made(self, steps: tuple[str, ...]) -> keras.Model:
        stem = Candidate(steps, "").stem
        path = self.unfinished.model_path(stem)
        if not path.exists():
            before, began = self.model(steps[:-1]), time.monotonic()
            saving = callbacks.Checkpoints(self.unfinished.checkpoints(stem), keep=1, phase=stem)
            bar = callbacks.Progress(phase=f"training {stem}", counts_epochs=False)
            if saving.start.step:
                logger.info("resuming the training of %s at step %d", stem, saving.start.step)
            watch = Watch(self.pace, steps[-1], first_step=saving.start.step, logs_lines=not bar.on_terminal)
            self._callbacks = [*saving.before([bar]), watch]
            # The random numbers of a step must not depend on the steps that were trained before.
            runtime.seed(self.run.config.runtime.seed)
            try:
                trained = _STEPS[steps[-1]](self, before)
            finally:
                signals.release()  # Keras does not end a training that raises
            if watch.out_of_time is not None:
                raise watch.out_of_time
            run_directory.remember_modules(trained)
            with files.atomic(path) as temporary:
                trained.save(temporary)
            self.pace.add_start(steps[-1], watch.step_count, time.monotonic() - began)
        self.unfinished.remove_checkpoints(stem)
        # Also where it was trained just now, so that an interruption changes nothing.
        return models.load(path)

    def section(self, step: str):
        """Returns the section of the settings for a step, or its defaults.

        Args:
            step: str, key of `candidates.STEP_NAMES`.

        Returns:
            section of `CompressConfig`, such as PruneConfig.
        """
        return getattr(self.settings, step) or _DEFAULTS[step]

    def require(self, candidate: Candidate) -> None:
        """Raises if a candidate cannot be made, before anything is trained for it.

        Args:
            candidate: Candidate.

        Raises:
            InputError: the run's model, or the student that replaces it, does not support one of the steps or the number
                format.
            MissingExtra: the number format needs a package that is not installed.
        """
        if candidate.quantize in int4.KINDS:
            int4.require()
        model = self.run.model
        if "distill" not in candidate.steps:  # A student has other layers.
            kind = image_networks.kind_of_layers(type(layer).__name__ for layer in every_layer(model))
            if (reason := image_networks.without_integers(kind, [candidate.quantize])) is not None:
                raise InputError(f"`quantize`: {reason}.")
        if "distill" in candidate.steps and {"prune_channels", "quantize_aware"} & set(candidate.steps):
            model = self.student(model)
        if "prune_channels" in candidate.steps:
            section = self.section("prune_channels")
            compress.require_removable_channels(model, section.multiply_adds_fraction)
        if "quantize_aware" in candidate.steps:
            compress.require_int8_layers(model)

    def student(self, model: keras.Model) -> keras.Model:
        """Builds a new network with the configured fraction of a model's parameters.

        Args:
            model: keras.Model, the teacher.

        Returns:
            keras.Model with random weights.
        """
        section = self.section("distill")
        return _student(self, compress.propose_students(model, fraction=section.parameters_fraction)[0])

    def batches(self, epochs: int) -> tf.data.Dataset:
        """Builds one dataset of all epochs, each with its own order and augmentation.

        Args:
            epochs: int >= 1.

        Returns:
            tf.data.Dataset of the training part, as from `data.batches`.
        """
        return data.batches(
            self.split.train,
            self.run.config.fit.global_batch_size,
            shuffle=True,
            sampling=self.run.config.data.sampling,
            seed=self.run.config.runtime.seed,
            epochs=epochs,
            augment=self.augment,
        )

    @property
    def augment(self) -> Callable | None:
        """The run's augmentation of a batch."""
        return data.augment(**self.run.config.data.augment.named)

    def fine_tuning(self, section) -> compress.FineTuning:
        """The training options of a step, for a dataset of `batches`.

        Args:
            section: section of `CompressConfig` for the step, such as PruneConfig.

        Returns:
            FineTuning of one pass over the dataset, with the learning rate of the section and the loss of the run.
        """
        return compress.FineTuning(
            epochs=1,
            learning_rate=section.learning_rate,
            loss=self.loss,
            callbacks=self._callbacks,
            verbose=1,  # for the bar among the callbacks
        )


_DEFAULTS = {
    "distill": DistillConfig(),
    "prune_channels": PruneChannelsConfig(),
    "prune": PruneConfig(),
    "cluster": ClusterConfig(),
}

# Momentum of batch norm's moving statistics. Keras's 0.99 needs several hundred steps to forget the initial statistics, more
# than a student of a small dataset or a pruned network trains: training would work, and inference would be at chance level.
_MOMENTUM = 0.9


@contextlib.contextmanager
def _unfrozen_batch_norm(model: keras.Model) -> Iterator[None]:
    """Within the block, the batch norm after trainable layers updates its statistics, because fewer weights change them.

    Transfer learning freezes batch norm, and a network with 80 % zeros and the old statistics predicts at chance level.
    """
    layers = affected_batch_norm(model)
    momenta = [layer.momentum for layer in layers]
    with freezing.preserved_trainable_flags(model):
        for layer in layers:
            layer.trainable, layer.momentum = True, min(layer.momentum, _MOMENTUM)
        try:
            yield
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum


def _distill(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("distill")
    student, dataset = trainer.student(model), trainer.batches(section.epochs)
    options = {"temperature": section.temperature, "soft_weight": section.soft_weight}
    return compress.distill(model, student, dataset, fine_tuning=trainer.fine_tuning(section), **options)


def _student(trainer: Trainer, proposal: compress.Proposal) -> keras.Model:
    split = trainer.split
    if split.train.image_size is None:
        return task_models.for_split(split, proposal.backbone, text_network=proposal.options)
    student = task_models.for_split(split, backbones.load(proposal.backbone, **proposal.options))
    models.unfreeze(student, batch_norm=True)
    for layer in every_layer(student):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return student


def _prune_channels(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("prune_channels")
    with _unfrozen_batch_norm(model):
        return compress.prune_channels(
            model,
            trainer.batches(section.epochs),
            multiply_adds_fraction=section.multiply_adds_fraction,
            fine_tuning=trainer.fine_tuning(section),
        )


def _prune(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("prune")
    fraction = section.fraction or PruneConfig().fraction
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    with _unfrozen_batch_norm(model):
        return compress.prune(model, dataset, fraction=fraction, fine_tuning=fine_tuning)


def _cluster(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("cluster")
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    with _unfrozen_batch_norm(model):
        return compress.cluster(model, dataset, clusters=section.clusters, fine_tuning=fine_tuning)


def _quantize_aware(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("quantize_aware")
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    return compress.quantize_aware(model, dataset, fine_tuning=fine_tuning)


_STEPS = {
    "distill": _distill,
    "prune_channels": _prune_channels,
    "prune": _prune,
    "cluster": _cluster,
    "quantize_aware": _quantize_aware,
}
