"""`recipe.prepare`: the seed, the data and the model that a run starts from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import config, recipe


@pytest.fixture
def texts(tmp_path):
    for name, word in (("good", "fine"), ("bad", "dull")):
        lines = "".join(f"a {word} film number {number}\n" for number in range(12))
        (tmp_path / f"{name}.txt").write_text(lines)
    return config.load(overrides=["data.kind=text", f"data.path={tmp_path}", "model.embedding_dim=4"])


def test_a_prepared_model_has_the_weights_of_its_seed_and_is_compiled(texts):
    keras.utils.set_random_seed(99)
    prepared = recipe.prepare(texts)
    model = prepared.build()
    assert (prepared.config, prepared.backbone, prepared.timings) == (config.automatic.unmeasured(texts), None, ())
    assert (prepared.config.runtime.precision, prepared.config.runtime.jit_compile) == ("float32", "keras")
    assert prepared.strategy is tf.distribute.get_strategy()
    assert model.optimizer.built
    keras.utils.set_random_seed(texts.runtime.seed)
    expected = recipe.build(texts, None, recipe.load_data(texts, None))
    for weight, same in zip(model.trainable_weights, expected.trainable_weights, strict=True):
        np.testing.assert_array_equal(weight, same)


def test_the_data_come_from_the_function_that_is_passed(texts):
    split = recipe.load_data(texts, None)
    calls = []

    def load(*arguments):
        calls.append(arguments)
        return split

    assert recipe.prepare(texts, load=load).split is split
    assert calls == [(texts, None)]
