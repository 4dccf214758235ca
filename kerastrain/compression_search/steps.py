"""The training steps of candidates, each from a model to another one, with the data and settings of a `Trainer`.

Takes a Trainer and a model; returns a new model. Must not change the given model, and must not save any.
"""

import contextlib
from collections.abc import Iterator

import keras

from kerastrain import backbones, compress, models
from kerastrain.compress.fine_tuning import affected_batch_norm
from kerastrain.config.compression import PruneConfig
from kerastrain.keras_internals.layers import every_layer
from kerastrain.models import task_models
from kerastrain.transfer import freezing

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


def _distill(trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("distill")
    network, dataset = trainer.student(model), trainer.batches(section.epochs)
    options = {"temperature": section.temperature, "soft_weight": section.soft_weight}
    return compress.distill(model, network, dataset, fine_tuning=trainer.fine_tuning(section), **options)


def student(trainer, proposal: compress.Proposal) -> keras.Model:
    """Builds the network of a proposal for the data of a run, all of it trainable.

    Args:
        trainer: Trainer.
        proposal: compress.Proposal.

    Returns:
        keras.Model with random weights.
    """
    split = trainer.split
    if split.train.image_size is None:
        return task_models.for_split(split, proposal.backbone, text_network=proposal.options)
    network = task_models.for_split(split, backbones.load(proposal.backbone, **proposal.options))
    models.unfreeze(network, batch_norm=True)
    for layer in every_layer(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return network


def _prune_channels(trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("prune_channels")
    with _unfrozen_batch_norm(model):
        return compress.prune_channels(
            model,
            trainer.batches(section.epochs),
            multiply_adds_fraction=section.multiply_adds_fraction,
            fine_tuning=trainer.fine_tuning(section),
        )


def _prune(trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("prune")
    fraction = section.fraction or PruneConfig().fraction
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    with _unfrozen_batch_norm(model):
        return compress.prune(model, dataset, fraction=fraction, fine_tuning=fine_tuning)


def _cluster(trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("cluster")
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    with _unfrozen_batch_norm(model):
        return compress.cluster(model, dataset, clusters=section.clusters, fine_tuning=fine_tuning)


def _quantize_aware(trainer, model: keras.Model) -> keras.Model:
    section = trainer.section("quantize_aware")
    dataset, fine_tuning = trainer.batches(section.epochs), trainer.fine_tuning(section)
    return compress.quantize_aware(model, dataset, fine_tuning=fine_tuning)


STEPS = {
    "distill": _distill,
    "prune_channels": _prune_channels,
    "prune": _prune,
    "cluster": _cluster,
    "quantize_aware": _quantize_aware,
}
"""The steps by the keys of `candidates.STEP_NAMES`: callables from a Trainer and a model to the new model."""
