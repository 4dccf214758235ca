import numpy as np
import pytest
from interruptions import InterruptAfter, Interrupted

from kerastrain import config as configs
from kerastrain import data
from kerastrain.distribute import make
from kerastrain.recipe import fit, fitting, plan, stages
from kerastrain.recipe.building import prepare_unmeasured


def _split():
    words = ["fine", "warm", "dull", "cold", "film", "song", "day", "night"]
    random = np.random.default_rng(0)
    targets = np.arange(40) % 2
    texts = [
        " ".join(random.choice(words[:2] if target else words[2:4], 2).tolist() + random.choice(words, 3).tolist())
        for target in targets
    ]
    whole = data.Examples(targets, ("bad", "good"), np.array([f"{text} {n}" for n, text in enumerate(texts)], object))
    return data.Split(whole.subset(np.arange(30)), whole.subset(np.arange(30, 40)))


def _weights(folder, *settings):
    folder.mkdir(exist_ok=True)
    overrides = ["data.kind=text", "data.path=/tmp", "fit.epochs=2", "model.vocabulary_size=200", *settings]
    split = _split()
    config = configs.load(overrides=overrides)
    runtime = config.runtime
    strategy = make(runtime.strategy, devices=runtime.devices, all_reduce=runtime.all_reduce)
    prepared = prepare_unmeasured(config, strategy, lambda *_: split)
    model = prepared.build()
    fit(model, prepared.config, split, folder)
    return model.get_weights()


@pytest.mark.slow
def test_training_on_token_ids_gives_the_weights_of_training_on_texts(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    settings = ("model.word_dropout=0.3", "model.dropout=0.2")
    ids = _weights(tmp_path / "ids", *settings)
    assert "computing the tokens of 40 texts" in caplog.text
    caplog.clear()
    monkeypatch.setattr(stages, "_after_tokens", lambda *_: None)
    for once, each_epoch in zip(ids, _weights(tmp_path / "texts", *settings), strict=True):
        np.testing.assert_array_equal(once, each_epoch)
    assert np.abs(ids[0]).max() > 0.001


@pytest.mark.slow
def test_the_whole_model_is_measured_where_token_ids_are_not_wanted():
    config = configs.load(overrides=["data.kind=text", "data.path=/tmp", "model.vocabulary_size=200"])
    split = _split()
    prepared = prepare_unmeasured(config, make("none"), lambda *_: split)
    model = prepared.build()
    [phase] = plan.phases(prepared.config, len(split.train))
    stage = stages.staged(model, prepared.config, split, phase, tokens_once=False)
    assert stage.model is model
    assert stages.staged(model, prepared.config, split, phase).train.shape == (None,)


@pytest.mark.slow
def test_an_interrupted_training_on_token_ids_ends_with_the_same_bits(tmp_path, monkeypatch):
    settings = ("fit.global_batch_size=8", "fit.checkpoint_every=2 steps")  # and the default dropout
    whole = _weights(tmp_path / "whole", *settings)
    standard = fitting.callbacks.standard
    with monkeypatch.context() as patched:
        patched.setattr(fitting.callbacks, "standard", lambda *a, **k: [*standard(*a, **k), InterruptAfter(7)])
        with pytest.raises(Interrupted):
            _weights(tmp_path / "killed", *settings)
    for one, other in zip(whole, _weights(tmp_path / "killed", *settings), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_two_replicas_on_token_ids_give_the_weights_of_one(tmp_path):
    # Each replica draws its own dropout, and AdamW makes steps of rounding errors.
    settings = ("model.word_dropout=0", "model.dropout=0", "optimizer.name=sgd", "optimizer.learning_rate=0.5")
    one = _weights(tmp_path / "one", "runtime.strategy=none", *settings)
    # Other tests of the process have strategies, too, and the collective keys of two could clash.
    devices = ("runtime.strategy=mirrored", "runtime.devices=2", "runtime.all_reduce=hierarchical_copy")
    two = _weights(tmp_path / "two", *devices, *settings)
    for single, mirrored in zip(one, two, strict=True):
        np.testing.assert_allclose(single, mirrored, atol=2e-6)


@pytest.mark.slow
def test_texts_that_are_augmented_are_not_replaced_by_token_ids(tmp_path, caplog):
    caplog.set_level("INFO")
    _weights(tmp_path / "run", "data.augment.word_dropout.probability=0.1")
    assert "computing the tokens" not in caplog.text
