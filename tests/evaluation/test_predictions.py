import numpy as np
import pytest

from kerastrain.errors import InputError
from kerastrain.evaluation import predictions


def example(**changes):
    values = {
        "targets": np.array([0, 1, 1]),
        "outputs": np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5]]),
        "labels": ("<script>", "dög"),
        "task": "single_label",
        "keys": ("a/1.png", "a text\x00 of \udce9\n" * 3, "\u2028"),
        "digests": np.array([1, 2**64 - 1, 7], np.uint64),
        "slices": {"camera/left": np.array(["A", "B", ""], object)},
        "properties": {"brightness": np.array([3.0, 4.0, 5.0])},
    }
    return predictions.Predictions(**(values | changes))


def test_predictions_survive_their_file(tmp_path):
    written = example()
    read = predictions.read(predictions.write(written, tmp_path / "predictions" / "test.npz"))
    assert (read.labels, read.task, read.keys) == (written.labels, written.task, written.keys)
    for name, dtype in (("targets", np.int64), ("outputs", np.float32), ("digests", np.uint64)):
        assert getattr(read, name).dtype == dtype
        assert np.array_equal(getattr(read, name), getattr(written, name))
    assert {name: values.tolist() for name, values in read.slices.items()} == {"camera/left": ["A", "B", ""]}
    assert {name: values.tolist() for name, values in read.properties.items()} == {"brightness": [3.0, 4.0, 5.0]}
    assert read.probabilities[0] == pytest.approx([np.exp(2) / (np.exp(2) + 1), 1 / (np.exp(2) + 1)])
    bare = predictions.read(predictions.write(example(keys=None, digests=None, slices={}), tmp_path / "bare.npz"))
    assert (bare.keys, bare.digests, bare.slices) == (("1", "2", "3"), None, {})


def test_a_long_text_among_short_ones_takes_only_its_own_room(tmp_path):
    keys = ("x" * 100_000, *map(str, range(9_999)))
    path = predictions.write(
        predictions.Predictions(np.zeros(10_000, int), np.zeros((10_000, 2)), ("a", "b"), "single_label", keys),
        tmp_path / "test.npz",
    )
    assert path.stat().st_size < 600_000
    assert predictions.read(path).keys == keys


def test_predictions_refuse_what_does_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"`outputs` must be \(3, 2\).* Received: outputs \(3, 3\)"):
        example(outputs=np.zeros((3, 3)))
    with pytest.raises(InputError, match="`camera` must hold one value for each target. Received: 1 for 3"):
        example(slices={"camera": ["A"]})
    with pytest.raises(InputError, match="have no probabilities"):
        _ = example(task="regression", targets=np.zeros((3, 2))).probabilities
    with pytest.raises(FileNotFoundError, match="no predictions at"):
        predictions.read(tmp_path / "test.npz")
    for name, content in (
        ("text.npz", b"no zip"),
        ("cut.npz", predictions.write(example(), tmp_path / "a.npz").read_bytes()[:90]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="is not a file of predictions"):
            predictions.read(tmp_path / name)
