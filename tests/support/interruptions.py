"""Interruption of a training in the middle, as if its process had been killed."""

import signal

import keras

from kerastrain.system.signals import Stopped


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


class StopInStep(keras.callbacks.Callback):
    """Ends the training as SIGTERM does, in a step of each epoch.

    Args:
        step: int >= 0, counted from the start of an epoch.
    """

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.step:
            raise Stopped(signal.SIGTERM)
