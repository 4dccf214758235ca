"""Importing kerastrain has no side effects. Each test runs in a new interpreter."""

import subprocess
import sys

import pytest


def python(script, **environment):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_quick_and_starts_no_tensorflow():
    """Quick, since it imports nothing but a few small modules of its own, of the standard library and of lazy-loader."""
    script = """
import importlib.util, sys
before = set(sys.modules)
import kerastrain
new = set(sys.modules) - before
print(len(new), *{name.partition(".")[0] for name in new} - sys.stdlib_module_names)
"""
    count, *libraries = python(script).split()
    assert set(libraries) == {"kerastrain", "lazy_loader"}
    assert int(count) < 150


@pytest.mark.slow
def test_every_module_leaves_the_process_as_it_was():
    script = """
import os, random, numpy, tensorflow as tf, keras
tf.random.set_seed(1); numpy.random.seed(1); random.seed(1)
before = dict(os.environ), random.getstate(), str(numpy.random.get_state()), keras.config.dtype_policy().name
import kerastrain
for name in kerastrain.__all__:
    getattr(kerastrain, name)
from kerastrain.system import isolated_imports
for name in ("tensorflow_hub", "tfmot", "keras_tuner", "tf_keras_vis"):
    getattr(isolated_imports, name)()
after = dict(os.environ), random.getstate(), str(numpy.random.get_state()), keras.config.dtype_policy().name
assert before == after
assert tf.keras.__version__.startswith("3"), tf.keras.__version__
first = tf.random.uniform([])
tf.random.set_seed(1)
assert first == tf.random.uniform([])
"""
    python(script)


@pytest.mark.slow
def test_libraries_import_where_the_user_has_chosen_keras_2_for_tf_keras(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")  # As Ray Train does in its workers.
    script = """
import tensorflow as tf
from kerastrain.system import isolated_imports
isolated_imports.tensorflow_hub(), isolated_imports.tfmot()
print(tf.keras.Model.__module__.split(".")[0])
"""
    assert python(script) == "tf_keras"


@pytest.mark.slow
@pytest.mark.parametrize("missing", [True, False])
def test_tensorflow_hub_imports_with_and_without_pkg_resources(missing):
    script = f"""
import sys, importlib.abc
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "pkg_resources": raise ModuleNotFoundError(name)
if {missing}:
    import importlib.util
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == "pkg_resources" else find(name, *rest)
    sys.meta_path.insert(0, Missing())
from kerastrain.system import isolated_imports
print(isolated_imports.tensorflow_hub().load.__name__, "pkg_resources" in sys.modules and {missing})
"""
    assert python(script) == "load False"


def test_unknown_attribute_is_an_attribute_error():
    import kerastrain

    with pytest.raises(AttributeError, match="No kerastrain attribute trainer"):
        kerastrain.trainer  # noqa: B018


@pytest.mark.slow
def test_a_model_opens_in_a_process_that_has_imported_nothing_else(tmp_path):
    path = str(tmp_path / "model.keras")
    script = f"""
import keras, kerastrain as kt
model = kt.models.image_classifier(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]), labels=["a", "b"])
schedule = kt.schedules.make("cosine", 1e-3, steps=10)
model.compile(kt.optimizers.make("adamw", schedule), loss=kt.models.loss(model), metrics=kt.evaluation.metrics(2, roc_auc=True))
model.save({path!r})
"""
    python(script)
    assert python(f"import kerastrain as kt; print(kt.models.load({path!r}).optimizer.name)") == "adam_w"
