"""Interruption of a training in the middle, as if its process had been killed."""

import keras


class Interrupted(Exception):
    """Ends the training in place of a kill signal."""


class InterruptAfter(keras.callbacks.Callback):
    """Ends the training after a number of steps of this process.

    Args:
        steps: int >= 1.
    """

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Interrupted
