"""Runs a `.keras` file as its receiver would: in a process of its own that has kerastrain, and nothing of the maker's.

`fresh_process` starts this file's text with `python -c`; arguments: the file, an .npz file with the array "inputs", and the
.npz file to write the array "outputs" to.
"""

import sys

import numpy as np
import tensorflow as tf

from kerastrain import saving


def main(path: str, inputs_path: str, outputs_path: str) -> None:
    """Opens the model in Keras's safe mode and lets it predict."""
    # The maker wrote the file a moment ago: a module in it is the maker's own.
    model = saving.load(path, allow_modules=True)
    with np.load(inputs_path) as inputs:
        np.savez(outputs_path, outputs=model.predict(tf.constant(inputs["inputs"]), verbose=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
