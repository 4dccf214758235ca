"""Runs a SavedModel as a server would: in a process that imports TensorFlow and nothing of kerastrain.

`fresh_process` starts this file's text with `python -c`; arguments: the SavedModel folder, an .npz file with an array
"SIGNATURE/ARGUMENT" for each argument of each signature to call, and the .npz file to write the outputs to, one array per
signature.
"""

import importlib
import sys

import numpy as np
import tensorflow as tf

_MORE_OPERATIONS = "tensorflow_text"  # Registers the operations of modules of texts; a server needs them too.


def main(folder: str, inputs_path: str, outputs_path: str) -> None:
    """Calls each signature on its inputs: on one input first, to check that the batch size is variable, then on 32 at a time.

    Args:
        folder: str, the SavedModel.
        inputs_path: str, the .npz file with one array per argument of a signature.
        outputs_path: str, the .npz file to write the outputs to.

    Raises:
        ValueError: a signature takes other arguments.
    """
    signatures = _loaded(folder).signatures
    calls, outputs = {}, {}
    for place, values in np.load(inputs_path).items():
        name, argument = place.split("/")
        calls.setdefault(name, {})[argument] = values
    for name, arguments in calls.items():
        if set(arguments) != set(signatures[name].structured_input_signature[1]):
            raise ValueError(f"{name} takes {list(signatures[name].structured_input_signature[1])}")
        count = len(next(iter(arguments.values())))
        starts, results = [0, *range(1, count, 32)], []
        for a, b in zip(starts, [*starts[1:], count], strict=True):
            batch = {argument: tf.constant(values[a:b]) for argument, values in arguments.items()}
            results.append(next(iter(signatures[name](**batch).values())).numpy())
        outputs[name] = np.concatenate(results)
    np.savez(outputs_path, **outputs)


def _loaded(folder: str):
    try:
        return tf.saved_model.load(folder)
    except (OSError, RuntimeError, tf.errors.NotFoundError) as error:
        if "Op type not registered" not in str(error):
            raise
    importlib.import_module(_MORE_OPERATIONS)
    return tf.saved_model.load(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
