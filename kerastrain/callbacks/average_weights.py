"""Validation and checkpoints on the moving average of the weights, while the raw weights keep training.

Takes a model whose optimizer keeps an average (`ema_momentum`, or Schedule-Free); does nothing for any other model.
Must not change the average.
"""

import keras

from kerastrain.callbacks.monitor import inner_optimizer


class AverageWeights(keras.callbacks.Callback):
    """Swaps the moving average into the model for validation, and from the end of an epoch to the start of the next.

    Without it Keras validates, and a checkpoint saves, weights that nobody will use: `fit` ends with the average.
    Keras's SwapEMAWeights exchanges the two by adding and subtracting, which rounds the weights in every epoch, and it
    restores the wrong weights after early stopping. This callback keeps a copy of the raw weights and restores it bit
    for bit.

    Place it after callbacks that need the raw weights (such as one that backs up the training state) and before those
    that need the average (such as `BestCheckpoint`).
    """

    def on_train_begin(self, logs=None):
        """Marks that later calls of `on_test_begin` belong to a training."""
        self._training = True
        self._raw_weights = None

    def on_test_begin(self, logs=None):
        """Swaps the average in for validation."""
        self._swap_average_in()

    def on_test_end(self, logs=None):
        """Restores the raw weights for the callbacks before this one."""
        self._restore_raw_weights()

    def on_epoch_end(self, epoch, logs=None):
        """Swaps the average in for the callbacks after this one."""
        self._swap_average_in()

    def on_epoch_begin(self, epoch, logs=None):
        """Restores the raw weights for training."""
        self._restore_raw_weights()

    def on_train_end(self, logs=None):
        """Drops the copy of the raw weights: the model keeps the average."""
        self._training = False
        self._raw_weights = None

    def saved_state(self) -> dict:
        """State for a checkpoint: the raw weights, or None while they are in the model."""
        return {"kept": self._raw_weights}

    def restore_state(self, state: dict) -> None:
        """Restores the state that `saved_state` returned.

        Args:
            state: dict of `saved_state`.
        """
        self._raw_weights = state["kept"]

    def _swap_average_in(self):
        optimizer = inner_optimizer(self.model)
        has_average = optimizer.use_ema or getattr(optimizer, "keeps_average", False)
        if getattr(self, "_training", False) and has_average and self._raw_weights is None:
            variables = self.model.trainable_variables
            self._raw_weights = [variable.numpy() for variable in variables]
            optimizer.finalize_variable_values(variables)

    def _restore_raw_weights(self):
        if getattr(self, "_raw_weights", None) is not None:
            for variable, weight in zip(self.model.trainable_variables, self._raw_weights, strict=True):
                variable.assign(weight)
            self._raw_weights = None
