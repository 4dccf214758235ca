"""The steps of a way: what a run's data, augmentation and seed make of its model.

Takes a run, its data and the settings of `compress`; gives new models. Must not write files.
"""

import contextlib
from collections.abc import Callable, Iterator

import keras

from kerastrain import backbones, compress, data, models, runtime
from kerastrain.compress import fine_tuning
from kerastrain.compression_search.candidates import Candidate
from kerastrain.config import CompressConfig
from kerastrain.config.compression import ClusterConfig, DistillConfig, PruneChannelsConfig, PruneConfig
from kerastrain.errors import InputError
from kerastrain.export import int4
from kerastrain.run_directory import Run
from kerastrain.transfer import freezing


class Trainer:
    """The models of a run after any steps, each trained once.

    Args:
        run: Run, whose model is not changed.
        split: data.Split of the run.
        settings: CompressConfig; the steps that it leaves out have their defaults.
    """

    def __init__(self, run: Run, split: data.Split, settings: CompressConfig):
        self.run, self.split, self.settings = run, split, settings
        self.loss = models.loss(run.model, label_smoothing=run.config.fit.label_smoothing)
        self._made: dict[tuple[str, ...], keras.Model | InputError] = {(): run.model}

    def model(self, steps: tuple[str, ...]) -> keras.Model:
        """The run's model after `steps`.

        Raises:
            InputError: one of the steps cannot be done with this model; the same again when it is asked for again.
        """
        if steps not in self._made:
            before = self.model(steps[:-1])
            # So that what a step draws does not depend on which others were tried before it.
            runtime.seed(self.run.config.runtime.seed)
            try:
                self._made[steps] = _STEPS[steps[-1]](self, before)
            except InputError as error:
                self._made[steps] = error
        if isinstance(found := self._made[steps], InputError):
            raise found
        return found

    def require(self, way: Candidate) -> None:
        """Refuses a way before anything is trained for it.

        Raises:
            InputError: one of its steps cannot be done with the run's model, or with the student that stands for it.
            MissingExtra: its number format needs a package that is not installed.
        """
        if way.quantize in int4.KINDS:
            int4.require()
        model = self.run.model
        if "distill" in way.steps and {"prune_channels", "quantize_aware"} & set(way.steps):
            model = self.student(model)
        if "prune_channels" in way.steps:
            wanted = self.settings.prune_channels or PruneChannelsConfig()
            compress.require_removable_channels(model, wanted.multiply_adds_fraction)
        if "quantize_aware" in way.steps:
            compress.require_int8_layers(model)

    def student(self, model: keras.Model) -> keras.Model:
        """A new network with the wanted share of the parameters of `model`."""
        wanted = self.settings.distill or DistillConfig()
        return _student(self, compress.propose_students(model, fraction=wanted.parameters_fraction)[0])

    def batches(self, epochs: int):
        """All epochs in one data set, as `batches` orders and augments each of them differently."""
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
        """The run's random changes to a batch."""
        return data.augment(**self.run.config.data.augment.named)

    def options(self, section) -> dict:
        """How any of the steps trains: one data set of all epochs, the rate, and the run's loss."""
        return {"epochs": 1, "learning_rate": section.learning_rate, "loss": self.loss}


# Of batch norm's averages. Keras's 0.99 needs several hundred steps to forget where it started, more than a student of a small
# data set takes, or what is left of a network: it would be right in training and at chance in use.
_MOMENTUM = 0.9


@contextlib.contextmanager
def _learning(model: keras.Model) -> Iterator[None]:
    """Lets the batch norm of `model` follow the layers that train, in the block: fewer weights give other means.

    Transfer freezes batch norm, and a network with 80 % zeros and the old means answers by chance.
    """
    layers = fine_tuning.following_batch_norm(model)
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
    wanted = trainer.settings.distill or DistillConfig()
    options = {
        **trainer.options(wanted),
        "temperature": wanted.temperature,
        "soft_weight": wanted.soft_weight,
    }
    return compress.distill(model, trainer.student(model), trainer.batches(wanted.epochs), **options)


def _student(trainer: Trainer, proposal: compress.Proposal) -> keras.Model:
    split, model = trainer.split, trainer.run.model
    several = models.task(model) == "multi_label"
    if split.train.image_size is None:
        return models.text_classifier(
            proposal.backbone, labels=split.labels, multi_label=several, texts=split.train.inputs, **proposal.options
        )
    backbone = backbones.load(proposal.backbone, **proposal.options)
    if models.task(model) == "regression":
        numbers = split.train.targets
        scale = {"mean": numbers.mean(axis=0), "stddev": numbers.std(axis=0)}
        student = models.image_regressor(backbone, labels=split.labels, **scale)
    else:
        student = models.image_classifier(backbone, labels=split.labels, multi_label=several)
    models.unfreeze(student, batch_norm=True)
    for layer in freezing.every_layer(student):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return student


def _prune_channels(trainer: Trainer, model: keras.Model) -> keras.Model:
    wanted = trainer.settings.prune_channels or PruneChannelsConfig()
    options = {"multiply_adds_fraction": wanted.multiply_adds_fraction, **trainer.options(wanted)}
    with _learning(model):
        return compress.prune_channels(model, trainer.batches(wanted.epochs), **options)


def _prune(trainer: Trainer, model: keras.Model) -> keras.Model:
    wanted = trainer.settings.prune or PruneConfig()
    fraction = wanted.fraction or PruneConfig().fraction
    with _learning(model):
        return compress.prune(model, trainer.batches(wanted.epochs), fraction=fraction, **trainer.options(wanted))


def _cluster(trainer: Trainer, model: keras.Model) -> keras.Model:
    wanted = trainer.settings.cluster or ClusterConfig()
    options = {"clusters": wanted.clusters, **trainer.options(wanted)}
    with _learning(model):
        return compress.cluster(model, trainer.batches(wanted.epochs), **options)


def _quantize_aware(trainer: Trainer, model: keras.Model) -> keras.Model:
    wanted = trainer.settings.quantize_aware
    return compress.quantize_aware(model, trainer.batches(wanted.epochs), **trainer.options(wanted))


_STEPS = {
    "distill": _distill,
    "prune_channels": _prune_channels,
    "prune": _prune,
    "cluster": _cluster,
    "quantize_aware": _quantize_aware,
}
