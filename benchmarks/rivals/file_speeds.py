"""Milliseconds of one example in exported files: TFLite in LiteRT, ONNX in ONNX Runtime, float and int8.

    python file_speeds.py EXPORTS PHOTOS --threads 2 --calls 50

EXPORTS is the folder of a run's files with model.onnx, model_float32.tflite and model_int8.tflite. The int8 ONNX file is made
beside them with ONNX Runtime's static quantization of the float one, calibrated with photos of PHOTOS/train. A turn runs each
file `calls` times on one photo and answers the median of each, and once the accuracy of all on PHOTOS/test.
"""

import argparse
import itertools
import statistics
import time
from pathlib import Path

import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from tflite_accuracy import accuracy, interpreter, photos
from turns import Turns

CALIBRATION_PHOTOS = 64


class Calibration(quantization.CalibrationDataReader):
    """Gives ONNX Runtime the photos to calibrate with."""

    def __init__(self, name, images):
        self.inputs = iter([{name: image} for image in images])

    def get_next(self):
        """The next input, or None."""
        return next(self.inputs, None)


def onnx_session(path, threads):
    """A function of an image to scores of an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def quantized(path, images):
    """The int8 file of an ONNX file, made by ONNX Runtime."""
    prepared, out = path.with_name("prepared.onnx"), path.with_name("model_int8.onnx")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    name = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    quantization.quantize_static(
        str(prepared),
        str(out),
        Calibration(name, images),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return out


def main():
    """Times each file in each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exports", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=50)
    options = parser.parse_args()
    turns = Turns()
    floats, size = interpreter(options.exports / "model_float32.tflite", options.threads)
    int8, _ = interpreter(options.exports / "model_int8.tflite", options.threads)
    calibration = [image for image, _ in photos(options.photos / "train", size, CALIBRATION_PHOTOS)]
    runs = {
        "TFLite float": floats,
        "ONNX float": onnx_session(options.exports / "model.onnx", options.threads),
        "TFLite int8": int8,
        "ONNX int8": onnx_session(quantized(options.exports / "model.onnx", calibration), options.threads),
    }
    test = photos(options.photos / "test", size)
    accuracies = {name: accuracy(run, test) for name, run in runs.items()}
    for number in itertools.count():
        turns.wait()
        names = [*runs][number % len(runs) :] + [*runs][: number % len(runs)]  # each is first equally often
        milliseconds = {name: _median_milliseconds(runs[name], test[0][0], options.calls) for name in names}
        turns.answer(milliseconds=milliseconds, accuracies=accuracies)


def _median_milliseconds(run, image, calls):
    times = []
    for _ in range(calls + 5):
        start = time.perf_counter()
        run(image)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[5:])  # after a few to warm up


if __name__ == "__main__":
    main()
