"""A training that ends in the middle, as if its process had been killed."""

import keras


class Interrupted(Exception):
    """The training ends here, as if the process had been killed."""


class InterruptAfter(keras.callbacks.Callback):
    """Ends the training after so many steps of this process."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise Interrupted
