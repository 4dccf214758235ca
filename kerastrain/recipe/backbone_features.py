"""The features of a model's backbone for the parts of its data, which training, evaluation and diagnosis share.

Takes a model, a config and examples; returns examples of features. Must not know what the head makes of them.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from kerastrain import data, models
from kerastrain.config import Config
from kerastrain.data.views import Views
from kerastrain.errors import InputError
from kerastrain.recipe import head_features
from kerastrain.recipe.stages import Stage

CHUNK = 4096  # examples whose features are in memory at a time
_MOST_TRAINING, _MOST_OTHERS = 500, 250  # examples of a part that are sampled


class BackboneFeatures:
    """A model in two steps, a backbone and a head, of which the backbone sees no example twice as far as that can be avoided.

    It keeps the features of a sample of each part that passed through the backbone. The weights of the model must not change
    between two passes.

    Args:
        model: keras.Model, built, whose features are computed on one device.
        config: Config, of which the seed and `evaluation.batch_size` are used.

    Attributes:
        model: keras.Model, the whole.
        head: keras.Model from features to the outputs of `model`; `model` itself if it is not divided.
        is_divided: bool; False for a model that was made elsewhere, and one on several devices.
    """

    def __init__(self, model: keras.Model, config: Config):
        self.model, self.batch_size, self._seed = model, config.evaluation.batch_size, config.runtime.seed
        self._backbone, self.head = None, model
        if model.distribute_strategy.num_replicas_in_sync == 1:
            with contextlib.suppress(InputError):  # of a model that was made elsewhere
                self._backbone, self.head = models.split_at_backbone(model)
        self.is_divided = self._backbone is not None
        self._samples, self._whole = {}, {}

    @functools.cached_property
    def _extract(self) -> keras.Model:
        return head_features.inference_model(self._backbone)  # traced once for all parts

    def keep(self, stage: Stage) -> None:
        """Keeps features that the training of a head has computed, and the model that has computed them.

        They are those of the trained model only where the backbone stays as it is.

        Args:
            stage: Stage of the head; of several views of an image the first counts, the image as it is.
        """
        if not self.is_divided:
            return
        self._extract, (train, validation) = stage.extract, (stage.train.inputs, stage.validation)
        train = train.of_epoch(0) if isinstance(train, Views) else train
        self._samples["train"] = np.array(train[self.sampled_rows("train", len(stage.train))])
        # The file of features that did not fit into memory is removed after the phase.
        if validation is not None and not isinstance(validation.inputs, np.memmap):
            self._whole["validation"] = validation.inputs

    def sampled_rows(self, name: str, size: int) -> np.ndarray:
        """Which examples of a part are sampled, the same at every call.

        Args:
            name: str, the name of the part.
            size: int, its number of examples.

        Returns:
            int array, ascending: 500 training examples, 250 of another part, or all if there are fewer.
        """
        count = _MOST_TRAINING if name == "train" else _MOST_OTHERS
        return np.sort(np.random.default_rng(self._seed).choice(size, min(count, size), replace=False))

    def sample(self, name: str, part: data.Examples) -> data.Examples:
        """The features of the sample of a part, which were kept or are computed here.

        Args:
            name: str, the name of the part.
            part: data.Examples, the whole part.

        Returns:
            data.Examples of features float32 (n, ...).
        """
        rows = self.sampled_rows(name, len(part))
        chosen, known = part.subset(rows), self._whole.get(name)
        if name in self._samples or known is not None:
            return dataclasses.replace(chosen, inputs=self._samples[name] if known is None else known[rows])
        lengths = models.text_lengths(self._backbone, chosen.inputs)
        return data.features.precompute(self._extract, chosen, self.batch_size, lengths=lengths)

    def chunks(
        self, name: str, part: data.Examples, *, on_inputs: Callable[[tf.Tensor], None] | None = None
    ) -> Iterator[tuple[np.ndarray, data.Examples]]:
        """Passes a whole part through the backbone, and keeps the features of its sample.

        Args:
            name: str, the name of the part.
            part: data.Examples.
            on_inputs: callable that gets each batch of images in their order, such as to measure them; None for none.

        Yields:
            tuple of an int array, the numbers of some examples, and data.Examples of their features. Images come in their order,
            texts the longest first.
        """
        lengths = models.text_lengths(self._backbone, part.inputs)
        order = np.arange(len(part)) if lengths is None else np.argsort(-lengths, kind="stable")
        sampled, kept = self.sampled_rows(name, len(part)), []
        size = max(1, CHUNK // self.batch_size) * self.batch_size  # so that batches are those of one pass
        known = self._whole.get(name)
        for start in range(0, len(part), size):
            rows = order[start : start + size]
            chosen = part.subset(rows)
            if known is None:
                computed = data.features.precompute(self._extract, chosen, self.batch_size, on_inputs=on_inputs)
            else:
                computed = dataclasses.replace(chosen, inputs=known[rows])
                for batch in data.batches(chosen.without_numbers(), self.batch_size) if on_inputs else ():
                    on_inputs(batch[0])
            kept.append(computed.inputs[np.isin(rows, sampled)])
            yield rows, computed
        places = order[np.isin(order, sampled)]
        self._samples[name] = np.concatenate(kept)[np.argsort(places)]
