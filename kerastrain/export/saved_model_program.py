"""Runs SavedModels as a server would, and converts them: in a process that imports TensorFlow, and not Keras or kerastrain.

`serving_process` starts this file's text with `python -c`; arguments: the number of the process that does, and the folder of its
temporary files. A line on stdin is a JSON list: "respond" or "convert", and the arguments of the function of that name. The line
on stdout that answers it is JSON: null, or the text of an error. The process ends when stdin or the process that started it
does, also in the middle of its work, and then removes the temporary files.
"""

import importlib
import importlib.util
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np

_BATCH = 32
_MORE_OPERATIONS = "tensorflow_text"  # Registers the operations of modules of texts; a server needs them too.


def main(parent: int, scratch: str) -> None:
    """Answers the requests on stdin one after the other.

    Args:
        parent: int, the number of the process that writes the requests.
        scratch: str, the folder to remove if that process has ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one, and then ends it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print must not be taken for an answer.
    requests = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, scratch), daemon=True).start()
    threading.Thread(target=_watch, args=(parent, scratch), daemon=True).start()
    # TensorFlow imports Keras if it is there, which takes half of the time and no SavedModel needs.
    sys.modules["keras"] = None
    tf = importlib.import_module("tensorflow")
    while True:
        try:
            task, *arguments = json.loads(requests.get())
            {"respond": respond, "convert": convert}[task](tf, *arguments)
            error = None
        except Exception:
            error = traceback.format_exc()
        print(json.dumps(error), file=answers, flush=True)


def respond(tf, folder: str, inputs: str, outputs: str) -> None:
    """Calls each signature on its inputs: on one input first, to check that the batch size is variable, then on 32 at a time.

    Args:
        tf: module, TensorFlow.
        folder: str, the SavedModel, which is loaded for this call only.
        inputs: str, the folder with an array `SIGNATURE/ARGUMENT.npy` for each argument of each signature to call.
        outputs: str, the .npz file to write the outputs to, one array for each signature.

    Raises:
        ValueError: a signature takes other arguments.
    """
    signatures, results = _loaded(tf, folder).signatures, {}
    for place in sorted(Path(inputs).iterdir()):
        signature, batches = signatures[place.name], []
        arguments = {file.stem: np.load(file, mmap_mode="r") for file in place.iterdir()}
        if set(arguments) != set(signature.structured_input_signature[1]):
            raise ValueError(f"{place.name} takes {list(signature.structured_input_signature[1])}")
        count = len(next(iter(arguments.values())))
        starts = [0, *range(1, count, _BATCH)]
        for start, end in zip(starts, [*starts[1:], count], strict=True):
            batch = {name: tf.constant(np.asarray(values[start:end])) for name, values in arguments.items()}
            batches.append(next(iter(signature(**batch).values())).numpy())
        results[place.name] = np.concatenate(batches)
    np.savez(outputs, **results)


def convert(tf, folder: str, options: dict, calibration: str | None, program: str, target: str) -> None:
    """Converts a SavedModel to a TFLite file.

    Args:
        tf: module, TensorFlow.
        folder: str, the SavedModel.
        options: dict, `quantize` and `io` of `tflite_conversion.converter`.
        calibration: str, a folder with an array `ARGUMENT.npy` for each argument of the signature; None for none.
        program: str, the file `tflite_conversion.py`.
        target: str, the file to write. Why the model cannot be converted is written to `TARGET.txt` in its place.
    """
    spec = importlib.util.spec_from_file_location("tflite_conversion", program)
    conversion = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conversion)
    arrays = None
    if calibration is not None:
        arrays = {file.stem: np.load(file, mmap_mode="r") for file in Path(calibration).iterdir()}
    try:
        content = conversion.converter(folder, calibration=arrays, **options).convert()
    except Exception as error:
        if type(error).__name__ != "ConverterError":  # which has no public name
            raise
        Path(f"{target}.txt").write_text(str(error), encoding="utf-8")
        return
    Path(target).write_bytes(content)


def _loaded(tf, folder: str):
    try:
        return tf.saved_model.load(folder)
    except (OSError, RuntimeError, tf.errors.NotFoundError) as error:
        if "Op type not registered" not in str(error):
            raise
    sys.modules.pop("keras")  # tensorflow_text may import it.
    importlib.import_module(_MORE_OPERATIONS)
    return tf.saved_model.load(folder)


def _receive(requests: queue.SimpleQueue, scratch: str) -> None:
    for line in sys.stdin:
        requests.put(line)
    _end(scratch)


def _watch(parent: int, scratch: str) -> None:
    """Ends with the parent also if a fork of it, which inherits the other end of stdin, goes on."""
    while os.getppid() == parent:
        time.sleep(1)
    _end(scratch)


def _end(scratch: str) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
