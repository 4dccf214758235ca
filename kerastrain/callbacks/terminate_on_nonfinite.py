"""A training that meets NaN or infinity ends at once, and on a second pass says where they came from.

Takes the logs of each step, which Keras reads anyway; gives an error. Must not roll anything back.
"""

import math
from collections.abc import Callable

import keras

from kerastrain.callbacks import nonfinite_search
from kerastrain.callbacks.nonfinite_search import NonFiniteError


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Raises an error as soon as the loss is NaN or infinite, or a weight is at the end of an epoch.

    A loss shows a bad gradient one step later, when the weights that it spoiled are used; until then no step costs more
    than a look at a number. To learn where it began, train again from the last checkpoint with `suspect_step`, the
    `step` of the error, and `batch_at`: then the last steps before it are run layer by layer first, by
    `kerastrain.callbacks.nonfinite_search.find`.

    Args:
        suspect_step: int >= 0, the step of an earlier error; None to watch only.
        batch_at: callable from a step to its batch, a tuple (x, y) or (x, y, sample_weight); needed with
            `suspect_step`.

    Raises:
        NonFiniteError: in `fit`; its `step` counts from the first epoch on, its `finding` is there after a search.

    Example:
        >>> model.fit(data, callbacks=[TerminateOnNonFinite()])  # doctest: +SKIP
    """

    def __init__(self, *, suspect_step: int | None = None, batch_at: Callable[[int], tuple] | None = None):
        super().__init__()
        self.suspect_step = suspect_step
        self.batch_at = batch_at

    def on_train_begin(self, logs=None):
        """Starts to count anew."""
        self._earlier_steps = self._seen_steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Notes how many steps lie before this epoch."""
        self._first = epoch * (self.params.get("steps") or 0) + self._earlier_steps

    def on_train_batch_begin(self, batch, logs=None):
        """Runs a suspect step layer by layer before it is taken."""
        step = self._first + batch
        # The loss shows at its own step what the forward pass met, and one step late what the gradient did.
        if self.suspect_step is None or not self.suspect_step - 1 <= step <= self.suspect_step:
            return
        finding = nonfinite_search.find(self.model, *self.batch_at(step))
        if finding is not None:
            raise NonFiniteError(step, f"NaN or infinity at step {step:,}: {finding}.", finding)

    def on_train_batch_end(self, batch, logs=None):
        """Looks at the loss."""
        self._seen_steps = batch + 1
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            step = self._first + batch
            raise NonFiniteError(step, f"the loss is {float(loss)} at step {step:,}.")

    def on_epoch_end(self, epoch, logs=None):
        """Looks at the weights, which no further step of this training may use."""
        step = self._first + self._seen_steps - 1
        self._earlier_steps = self._seen_steps = 0
        weight = nonfinite_search.infinite_weight(self.model)
        if weight is not None:
            raise NonFiniteError(step, f"the weight {weight!r} is not finite after step {step:,}.", weight=weight)

    def saved_state(self) -> dict:
        """What a resumed training needs: the steps that its epoch has behind it."""
        return {"steps": self._earlier_steps + self._seen_steps}

    def restore_state(self, state: dict) -> None:
        """Takes back what `saved_state` gave."""
        self._earlier_steps = state["steps"]
