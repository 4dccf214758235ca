"""Runs a `.keras` file as its recipient would: in a process that imports kerastrain and none of the author's code.

`fresh_process` starts this file's text with `python -c`; arguments: the file, an .npz file with the array "inputs", for a
model that reads numbers too with "numbers", and the .npz file to write the array "outputs" to.
"""

import sys

import numpy as np
import tensorflow as tf

from kerastrain import saving


def main(path: str, inputs_path: str, outputs_path: str) -> None:
    """Opens the model in Keras's safe mode and writes its predictions.

    Args:
        path: str, the `.keras` file.
        inputs_path: str, the .npz file with the array "inputs", and perhaps "numbers".
        outputs_path: str, the .npz file to write the array "outputs" to.
    """
    # The same user wrote the file a moment ago, so a Hub module in it is trusted.
    model = saving.load(path, allow_modules=True)
    with np.load(inputs_path) as inputs:
        values = tuple(tf.constant(inputs[name]) for name in ("inputs", "numbers") if name in inputs)
    np.savez(outputs_path, outputs=model.predict(values if len(values) > 1 else values[0], verbose=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
