"""An early end of a training that produces NaN or infinity, and on a second pass the place where they first appear.

Takes the logs of each step, which Keras reads anyway; raises an error. Must not roll anything back.
"""

import math
from collections.abc import Callable

import keras

from kerastrain.callbacks import nonfinite_search
from kerastrain.callbacks.nonfinite_search import NonFiniteError


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Raises an error as soon as the loss is NaN or infinite, or a weight is at the end of an epoch.

    The loss reveals a nonfinite gradient one step late, when the step uses the weights that the gradient spoiled. In
    return, a normal step costs no more than one look at a number. To find the place where it began, train again from the
    last checkpoint with `suspect_step`, the `step` of the error, and `batch_at`: the callback then runs the suspect step
    and the one before it layer by layer, by `kerastrain.callbacks.nonfinite_search.find`.

    Args:
        suspect_step: int >= 0, the step of an earlier error; None to monitor only.
        batch_at: callable from a step to its batch, a tuple (x, y) or (x, y, sample_weight); required with
            `suspect_step`.

    Raises:
        NonFiniteError: in `fit`; its `step` counts from the first epoch, its `finding` is set after a search.

    Example:
        >>> model.fit(dataset, callbacks=[TerminateOnNonFinite()])  # doctest: +SKIP
    """

    def __init__(self, *, suspect_step: int | None = None, batch_at: Callable[[int], tuple] | None = None):
        super().__init__()
        self.suspect_step = suspect_step
        self.batch_at = batch_at

    def on_train_begin(self, logs=None):
        """Resets the count of steps."""
        self._earlier_steps = self._seen_steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Computes the number of the first step of this epoch."""
        self._first = epoch * (self.params.get("steps") or 0) + self._earlier_steps

    def on_train_batch_begin(self, batch, logs=None):
        """Runs a suspect step layer by layer before it is taken."""
        step = self._first + batch
        # The loss shows a nonfinite forward pass at its own step, and a nonfinite gradient one step late.
        if self.suspect_step is None or not self.suspect_step - 1 <= step <= self.suspect_step:
            return
        finding = nonfinite_search.find(self.model, *self.batch_at(step))
        if finding is not None:
            raise NonFiniteError(step, f"NaN or infinity at step {step:,}: {finding}.", finding)

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss."""
        self._seen_steps = batch + 1
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            step = self._first + batch
            raise NonFiniteError(step, f"the loss is {float(loss)} at step {step:,}.")

    def on_epoch_end(self, epoch, logs=None):
        """Checks the weights, because no further step may follow whose loss would show them."""
        step = self._first + self._seen_steps - 1
        self._earlier_steps = self._seen_steps = 0
        weight = nonfinite_search.nonfinite_weight(self.model)
        if weight is not None:
            raise NonFiniteError(step, f"the weight {weight!r} is not finite after step {step:,}.", weight=weight)

    def saved_state(self) -> dict:
        """State for a checkpoint: the steps of the current epoch that are done."""
        return {"steps": self._earlier_steps + self._seen_steps}

    def restore_state(self, state: dict) -> None:
        """Restores the state that `saved_state` returned.

        Args:
            state: dict of `saved_state`.
        """
        self._earlier_steps = state["steps"]
