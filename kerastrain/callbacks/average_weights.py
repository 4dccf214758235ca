"""Validation and checkpoints on the moving average of the weights, training on the weights themselves.

Takes a model whose optimizer keeps an average (`ema_momentum`, or Schedule-Free); does nothing for any other. Must not
touch the average.
"""

import keras

from kerastrain.callbacks.monitor import inner_optimizer


class AverageWeights(keras.callbacks.Callback):
    """Puts the moving average into the model for validation and from the end of an epoch to the start of the next.

    Without it Keras validates, and a checkpoint saves, weights that nobody will use: `fit` ends with the average.
    Keras's SwapEMAWeights exchanges both by sums and differences, which rounds the weights in every epoch, and gives
    back the wrong ones after early stopping. Here they are kept aside and come back bit by bit.

    It must stand in the list after callbacks that need the weights of the training (such as one that backs up its
    state) and before those that want the average (such as `BestCheckpoint`).
    """

    def on_train_begin(self, logs=None):
        """Notes that validation from here on is part of a training."""
        self._training = True
        self._kept = None

    def on_test_begin(self, logs=None):
        """Validation sees the average."""
        self._put_average_in()

    def on_test_end(self, logs=None):
        """Callbacks before this one see the weights of the training at the end of the epoch."""
        self._put_weights_back()

    def on_epoch_end(self, epoch, logs=None):
        """Callbacks after this one see the average."""
        self._put_average_in()

    def on_epoch_begin(self, epoch, logs=None):
        """The training goes on with its own weights."""
        self._put_weights_back()

    def on_train_end(self, logs=None):
        """Keras has put the average in for good."""
        self._training = False
        self._kept = None

    def saved_state(self) -> dict:
        """What a resumed training needs: the weights that are kept aside, if the average is in the model."""
        return {"kept": self._kept}

    def restore_state(self, state: dict) -> None:
        """Takes back what `saved_state` gave."""
        self._kept = state["kept"]

    def _put_average_in(self):
        optimizer = inner_optimizer(self.model)
        has_average = optimizer.use_ema or getattr(optimizer, "keeps_average", False)
        if getattr(self, "_training", False) and has_average and self._kept is None:
            variables = self.model.trainable_variables
            self._kept = [variable.numpy() for variable in variables]
            optimizer.finalize_variable_values(variables)

    def _put_weights_back(self):
        if getattr(self, "_kept", None) is not None:
            for variable, weight in zip(self.model.trainable_variables, self._kept, strict=True):
                variable.assign(weight)
            self._kept = None
