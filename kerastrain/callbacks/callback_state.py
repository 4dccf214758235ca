"""State of callbacks, saved and restored so that a resumed training continues as if it had not been interrupted.

Takes callbacks; returns dicts and restores them. Your own callback takes part through two methods:

    saved_state() -> dict          numbers, text, arrays, Paths of files that are only replaced whole, lists and dicts
    restore_state(state)           called after `on_train_begin` of all callbacks, before `on_epoch_begin` of any other

Private names: `_ema_weights_in_model` of SwapEMAWeights and `_batches_seen_since_last_saving` and `_last_batch_seen` of
ModelCheckpoint, read in Keras 3.13.2 to 3.15.1; `tests/checkpoints/test_checkpoints.py` fails when one of them moves.
Must not know of models or files.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import keras

KERAS_CALLBACKS = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best", "_batches_seen_since_last_saving", "_last_batch_seen"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.History: ("history", "epoch"),
}


def saved(callbacks: Iterable[keras.callbacks.Callback]) -> dict:
    """State of each callback that has any.

    Args:
        callbacks: iterable of keras.callbacks.Callback.

    Returns:
        dict from "ClassName number" (the number counts the callbacks of the class from 1) to the callback's state, a
        dict.
    """
    states = {name: _state(callback) for name, callback in _named(callbacks)}
    return {name: state for name, state in states.items() if state}


def restore(callbacks: Iterable[keras.callbacks.Callback], states: dict) -> None:
    """Restores the state of each callback; one without a saved state keeps its initial state.

    Args:
        callbacks: iterable of keras.callbacks.Callback.
        states: dict of `saved`.
    """
    for name, callback in _named(callbacks):
        if name not in states:
            continue
        if hasattr(callback, "restore_state"):
            callback.restore_state(states[name])
        else:
            vars(callback).update(states[name])


def _state(callback: keras.callbacks.Callback) -> dict:
    if hasattr(callback, "saved_state"):
        return callback.saved_state()
    names = [name for kind, names in KERAS_CALLBACKS.items() if isinstance(callback, kind) for name in names]
    return {name: value for name, value in vars(callback).items() if name in names}


def _named(callbacks: Iterable[keras.callbacks.Callback]) -> Iterator[tuple[str, keras.callbacks.Callback]]:
    count = Counter()
    for callback in callbacks:
        name = type(callback).__qualname__
        count[name] += 1
        yield f"{name} {count[name]}", callback
