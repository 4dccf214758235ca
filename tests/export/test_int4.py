import sys

import keras
import numpy as np
import pytest

from kerastrain import export
from kerastrain.errors import InputError
from kerastrain.export import compact, litert

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("float32")
_INT4, _INT8 = 17, 9  # TensorType in the schema


def classifier():
    inputs = x = keras.Input((8, 8, 3))
    layers = (
        keras.layers.Rescaling(1 / 127.5, offset=-1),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.DepthwiseConv2D(3),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(3),
    )
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def test_a_missing_extra_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer.quantizer", None)
    with pytest.raises(InputError, match=r"needs ai_edge_quantizer. .*kerastrain\[int4\]"):
        export.tflite(classifier(), tmp_path / "a.tflite", samples=IMAGES, quantize="int4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["int4", "dynamic_int4"])
@pytest.mark.slow
def test_kernels_have_four_bits_and_the_file_answers_nearly_as_predict(kind, tmp_path):
    pytest.importorskip("ai_edge_quantizer.quantizer")
    keras.utils.set_random_seed(0)
    model, path = classifier(), tmp_path / "a.tflite"
    float32 = export.tflite(model, tmp_path / "float32.tflite", samples=IMAGES)
    tolerance = export.Tolerance(0.3, agreement=0.5)
    measured = export.tflite(model, path, samples=IMAGES, quantize=kind, tolerance=tolerance)
    assert (measured.kind, measured.size_bytes < 0.25 * float32.size_bytes) == (kind, True)
    graph = compact.unpacked(path.read_bytes()).subgraphs[0]
    tensors = {(tuple(tensor.shape), tensor.type) for tensor in graph.tensors}
    assert {((32, 3, 3, 3), _INT4), ((64, 512), _INT4), ((1, 3, 3, 32), _INT8)} <= tensors
    difference = np.abs(litert.run(path, IMAGES) - model.predict(IMAGES, verbose=0)).max()
    assert 0 < difference == pytest.approx(measured.largest_difference, rel=1e-3)


def test_a_file_that_would_not_be_smaller_is_refused(tmp_path):
    pytest.importorskip("ai_edge_quantizer.quantizer")
    ids = keras.Input((6,), dtype="int32")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(500, 16)(ids))
    model = keras.Model(ids, keras.layers.Dense(2)(x))
    with pytest.raises(InputError, match="`quantize` must make a file smaller. Received: 'int4'"):
        export.tflite(model, tmp_path / "a.tflite", samples=np.ones((4, 6), "int32"), quantize="int4")
    assert not list(tmp_path.iterdir())
