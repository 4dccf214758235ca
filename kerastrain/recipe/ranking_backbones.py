"""Ranks backbones by linear probes on their frozen features, before anybody fine-tunes one.

Takes a `Config` and handles; returns a `finders.BackboneRanking`. Keeps no model and no files.
"""

import logging
import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from kerastrain import config as configs
from kerastrain import data, finders, models
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.export.samples import stratified
from kerastrain.recipe import requirements
from kerastrain.recipe.building import load_data, prepare_unmeasured
from kerastrain.transfer.freezing import backbone_of

logger = logging.getLogger("kerastrain")

_TIMED_EXAMPLES = 64


@data.surface_read_errors()
def find_backbone(config: Config, handles: Sequence[str], *, most_examples: int = 2000) -> finders.BackboneRanking:
    """Ranks backbones by how well a linear model of their frozen features predicts the validation part.

    Each backbone is built as a run would build it, with its own image size unless `data.image_size` is set. The probe is
    fitted to the training part, and its penalty is chosen by cross-validation inside that part. Numbers beside the images or
    texts do not count. A backbone that cannot be used costs only itself.

    Args:
        config: Config of the run, whose `model.backbone` does not matter.
        handles: sequence of str, at least one, as in `model.backbone`.
        most_examples: int > 0, the most examples of each part, drawn with every class in proportion.

    Returns:
        finders.BackboneRanking.

    Raises:
        InputError: there are no handles, or the data cannot be used or have no validation part.
        FileNotFoundError: there are no data at their path.
    """
    if not handles:
        raise InputError("there is no backbone to rank. Name some, such as hf:OWNER/NAME or a folder.")
    configs.no_validation.require_validation(config, "a ranking of backbones")
    splits, probes = _Splits(most_examples), []
    for number, handle in enumerate(dict.fromkeys(handles), start=1):
        logger.info("probing backbone %d of %d: %s", number, len(dict.fromkeys(handles)), handle)
        try:
            probes.append(_probe(_for_probe(config, handle), handle, splits))
        except _DataError as error:
            raise error.__cause__ from None
        except (InputError, OSError, tf.errors.OpError) as error:
            probes.append(finders.BackboneProbe(handle, reason=_sentence(error)))
        keras.backend.clear_session()
    split = splits.any(config)
    return finders.rank_backbones(probes, split.train, split.validation)


def _for_probe(config: Config, handle: str) -> Config:
    """The config of a run that trains only the head on a backbone."""
    values = config.model_dump(mode="json")
    values["model"]["backbone"] = handle
    values["fit"] |= {"epochs": 0}
    values["export"]["formats"] = []
    config = configs.validate(values, source="the command line")
    requirements.require(config)
    if config.from_scratch:
        raise InputError("its weights are random, and their features tell nothing before training.")
    return config


def _probe(config: Config, handle: str, splits: "_Splits") -> finders.BackboneProbe:
    prepared = prepare_unmeasured(config, tf.distribute.get_strategy(), splits.load)
    model, split, size = prepared.build(), prepared.split, config.evaluation.batch_size
    features, _ = models.split_at_backbone(model)

    def computed(examples: data.Examples) -> data.Examples:
        return data.features.precompute(
            features, examples, size, lengths=models.text_lengths(features, examples.inputs)
        )

    train, validation = (computed(part.without_numbers()) for part in (split.train, split.validation))
    timed = split.validation.without_numbers().subset(range(min(_TIMED_EXAMPLES, len(split.validation))))
    computed(timed)  # traces batches of this size
    start = time.perf_counter()
    computed(timed)
    seconds = (time.perf_counter() - start) / len(timed)
    outputs = finders.linear_probe(train, validation, seed=config.runtime.seed)
    parameters = backbone_of(model).count_params()
    return finders.BackboneProbe(handle, outputs, seconds, parameters, split.train.image_size)


def _sentence(error: Exception) -> str:
    """The message of an error in one line; TensorFlow's errors go on with the graph in further lines."""
    text = str(error).partition("\n")[0] if isinstance(error, tf.errors.OpError) else str(error)
    return " ".join(text.split())


class _DataError(Exception):
    """The data cannot be used, with any backbone."""


class _Splits:
    """The parts of the data, read once for each image size."""

    def __init__(self, most_examples: int):
        self._most_examples, self._by_size = most_examples, {}

    def load(self, config: Config, image_size: tuple[int, int] | None) -> data.Split:
        if image_size not in self._by_size:
            try:
                split = load_data(config, image_size, log=not self._by_size)
            except (InputError, OSError) as error:
                raise _DataError from error
            self._by_size[image_size] = data.Split(*map(self._fewer, (split.train, split.validation)))
        return self._by_size[image_size]

    def any(self, config: Config) -> data.Split:
        if not self._by_size:  # No backbone could be used, so that nobody asked for a size.
            self.load(config, (config.data.image_size or (32, 32)) if config.data.kind == "images" else None)
        return next(iter(self._by_size.values()))

    def _fewer(self, examples: data.Examples) -> data.Examples:
        return examples.subset(stratified(examples.strata, self._most_examples))
