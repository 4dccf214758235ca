"""Runs the training steps of the candidates with the data, augmentation and seed of a run.

Takes a run, its data and the settings of `compress`; returns new models. Must not write files.
"""

import contextlib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from kerastrain import backbones, compress, data, models, runtime
from kerastrain.compress.fine_tuning import affected_batch_norm
from kerastrain.compression_search.candidates import Candidate
from kerastrain.config import CompressConfig
from kerastrain.config.compression import ClusterConfig, DistillConfig, PruneChannelsConfig, PruneConfig
from kerastrain.errors import InputError
from kerastrain.export import int4
from kerastrain.keras_internals.layers import every_layer
from kerastrain.models import task_models
from kerastrain.run_directory import Run
from kerastrain.transfer import freezing


class Trainer:
    """Trains a run's model with any sequence of steps, each sequence once.

    Args:
        run: Run, whose model is not changed.
        split: data.Split of the run.
        settings: CompressConfig; steps that it does not set use their defaults.
    """

    def __init__(self, run: Run, split: data.Split, settings: CompressConfig):
        self.run, self.split, self.settings = run, split, settings
        self.loss = models.loss(run.model, label_smoothing=run.config.fit.label_smoothing)
        self._outcomes: dict[tuple[str, ...], keras.Model | InputError] = {(): run.model}

    def model(self, steps: tuple[str, ...]) -> keras.Model:
        """Returns the run's model after some steps, trained at the first call.

        Args:
            steps: tuple of str, keys of `candidates.STEP_NAMES`.

        Returns:
            keras.Model; the run's model without steps.

        Raises:
            InputError: the model does not support one of the steps; later calls raise the same error.
        """
        if steps not in self._outcomes:
            before = self.model(steps[:-1])
            # The random numbers of a step must not depend on the steps that were trained before.
            runtime.seed(self.run.config.runtime.seed)
            try:
                self._outcomes[steps] = _STEPS[steps[-1]](self, before)
            except InputError as error:
                self._outcomes[steps] = error
        if isinstance(outcome := self._outcomes[steps], InputError):
            raise outcome
        return outcome

    def require(self, candidate: Candidate) -> None:
        """Raises if a candidate cannot be made, before anything is trained for it.

        Args:
            candidate: Candidate.

        Raises:
            InputError: the run's model, or the student that replaces it, does not support one of the steps.
            MissingExtra: the number format needs a package that is not installed.
        """
        if candidate.quantize in int4.KINDS:
            int4.require()
        model = self.run.model
        if "distill" in candidate.steps and {"prune_channels", "quantize_aware"} & set(candidate.steps):
            model = self.student(model)
        if "prune_channels" in candidate.steps:
            section = self.settings.prune_channels or PruneChannelsConfig()
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
        section = self.settings.distill or DistillConfig()
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
        return compress.FineTuning(epochs=1, learning_rate=section.learning_rate, loss=self.loss)


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
    section = trainer.settings.distill or DistillConfig()
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
    section = trainer.settings.prune_channels or PruneChannelsConfig()
    with _unfrozen_batch_norm(model):
        return compress.prune_channels(
            model,
            trainer.batches(section.epochs),
            multiply_adds_fraction=section.multiply_adds_fraction,
            fine_tuning=trainer.fine_tuning(section),
        )


def _prune(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.settings.prune or PruneConfig()
    fraction = section.fraction or PruneConfig().fraction
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    with _unfrozen_batch_norm(model):
        return compress.prune(model, dataset, fraction=fraction, fine_tuning=fine_tuning)


def _cluster(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.settings.cluster or ClusterConfig()
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    with _unfrozen_batch_norm(model):
        return compress.cluster(model, dataset, clusters=section.clusters, fine_tuning=fine_tuning)


def _quantize_aware(trainer: Trainer, model: keras.Model) -> keras.Model:
    section = trainer.settings.quantize_aware
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    return compress.quantize_aware(model, dataset, fine_tuning=fine_tuning)


_STEPS = {
    "distill": _distill,
    "prune_channels": _prune_channels,
    "prune": _prune,
    "cluster": _cluster,
    "quantize_aware": _quantize_aware,
}
