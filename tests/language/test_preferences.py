"""A small Llama learns which of two answers people liked more, as direct preference optimization has it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastrain import distribute, evaluation, memory
from kerastrain.errors import InputError
from kerastrain.evaluation import intervals
from kerastrain.language import adapters, batches, decoders, preferences
from kerastrain.presets.decoders import DecoderNetwork

VOCABULARY, LENGTH, BETA = 23, 16, 0.5


def sequences(random, prompts):
    """A prompt and an answer of another length in each sequence."""
    token_ids, segments = np.zeros((2, len(prompts), LENGTH), np.int32)
    targets = np.full_like(token_ids, batches.NOT_LEARNED)
    for row, prompt in enumerate(prompts):
        whole = np.concatenate([prompt, random.integers(1, VOCABULARY, random.integers(1, LENGTH - len(prompt)))])
        token_ids[row, : len(whole)], segments[row, : len(whole)] = whole, 1
        targets[row, len(prompt) - 1 : len(whole) - 1] = whole[len(prompt) :]
    return batches.Sequences(token_ids, segments, targets)


def pairs(count=7, seed=0):
    random = np.random.default_rng(seed)
    prompts = [random.integers(1, VOCABULARY, random.integers(1, 6)) for _ in range(count)]
    return preferences.Preferences(sequences(random, prompts), sequences(random, prompts))


def network():
    block = {"num_heads": 4, "num_kv_heads": 2, "head_size": 4, "intermediate": 24, "rope": {"base": 100.0}}
    return DecoderNetwork(VOCABULARY, 64, 16, 1e-6, True, 1.0, None, (block,))


def language_model():
    """A model whose adapters have learned something."""
    model = decoders.build(network())
    adapters.add(model, 2, layers="query|down")
    random = np.random.default_rng(2)
    for weight in model.weights:
        if len(weight.shape) == 2:
            weight.assign(random.normal(0, 0.3, weight.shape))
    return model


def log_probabilities(model, given):
    """In numpy, without the functions of kerastrain: log p(answer | prompt) of each sequence."""
    logits = np.asarray(model({"token_ids": given.token_ids, "segments": given.segments}), np.float64)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    taken = np.take_along_axis(logs, np.maximum(given.targets, 0)[..., None].astype(int), -1)[..., 0]
    return (taken * (given.targets >= 0)).sum(1)


def expected(model, given):
    """(margins, log-probabilities under the policy) by the formula of the paper, equation 7."""
    both = (given.chosen, given.rejected)
    policy = np.stack([log_probabilities(model, each) for each in both], 1)
    with adapters.switched_off(model):
        reference = np.stack([log_probabilities(model, each) for each in both], 1)
    chosen, rejected = (policy - reference).T
    return chosen - rejected, policy


@pytest.mark.slow
def test_loss_and_measures_are_those_of_the_paper():
    model, given = language_model(), pairs()
    margins, policy = expected(model, given)
    losses = -np.log(1 / (1 + np.exp(-BETA * margins)))
    assert np.abs(margins).max() > 0.1
    given = preferences.with_reference(model, given, batch_size=3)
    whole, loss = preferences.margin_model(model), preferences.PreferenceLoss(BETA)
    outputs = [(ones, whole(inputs)) for inputs, ones in preferences.evaluation_batches(given, 3)]
    ones, found = (np.concatenate(values) for values in zip(*outputs, strict=True))
    order = batches.longest_first(given)
    np.testing.assert_allclose(found[:, 0], margins[order], atol=1e-5)
    assert float(loss(ones, found)) == pytest.approx(losses.mean(), abs=1e-5)
    np.testing.assert_array_equal(preferences.preference_accuracy(ones, found), margins[order] > 0)
    measured = preferences.measure(model, given, beta=BETA, batch_size=3)
    assert measured["pairs"] == 7
    assert measured["loss"] == pytest.approx(losses.mean(), abs=1e-5)
    assert measured["margin"] == pytest.approx(BETA * margins.mean(), abs=1e-5)
    assert measured["accuracy"] == pytest.approx((margins > 0).mean())
    assert measured["likelier"] == pytest.approx((policy[:, 0] > policy[:, 1]).mean())
    for name in ("loss", "margin", "accuracy", "likelier"):
        low, high = measured[f"{name}_interval"]
        assert low <= measured[name] <= high
    assert measured["accuracy_interval"] == list(intervals.wilson(int((margins > 0).sum()), 7))
    before = preferences.measure(None, given, beta=BETA)
    assert (before["loss"], before["accuracy"], before["margin"]) == (pytest.approx(np.log(2)), 0.5, 0.0)


def preferences_accuracy():
    return keras.metrics.MeanMetricWrapper(preferences.preference_accuracy, name="accuracy")


def trained(strategy=None, micro_batches=1, remat=None):
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = language_model()
        given = preferences.with_reference(model, pairs())
        whole = preferences.margin_model(model)
        loss = preferences.PreferenceLoss(BETA)
        whole.compile(
            keras.optimizers.SGD(0.1),
            loss,
            weighted_metrics=[preferences_accuracy(), evaluation.DataLoss(loss)],
            jit_compile=False,
        )
    if micro_batches > 1:
        memory.accumulate(whole, micro_batches=micro_batches)
    if remat:
        memory.remat(whole, blocks=remat)
    data = distribute.shard(preferences.training_batches(given, 3, seed=4, epochs=2), strategy)
    history = whole.fit(data, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0).history
    return {pair: np.asarray(each.b) for pair, each in adapters.pairs(model).items()}, history


@pytest.mark.slow
@pytest.mark.equality
def test_two_devices_and_micro_batches_and_rematerialization_give_the_weights_of_one_step():
    plain, history = trained()
    assert history["data_loss"][1] < history["data_loss"][0]
    for other, logs in (
        trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())),
        trained(micro_batches=3, remat=["block_0"]),
    ):
        assert logs["data_loss"] == pytest.approx(history["data_loss"], abs=1e-5)
        for path, value in plain.items():
            np.testing.assert_allclose(other[path], value, atol=1e-6, err_msg=path)


def test_batches_are_a_function_of_seed_and_step():
    reference = np.arange(14, dtype=np.float32).reshape(7, 2)
    given = dataclasses.replace(pairs(), reference=reference)
    whole = list(preferences.training_batches(given, 3, seed=3, epochs=2))
    later = list(preferences.training_batches(given, 3, seed=3, epochs=2, start_step=4))
    assert [len(targets) for _, targets in whole] == [3, 3, 1] * 2
    for one, other in zip(whole[4:], later, strict=True):
        assert all((a == b).numpy().all() for a, b in zip(*map(keras.tree.flatten, (one, other)), strict=True))
    seen = np.concatenate([inputs["reference"] for inputs, _ in whole[:3]])
    assert sorted(map(tuple, seen)) == sorted(map(tuple, reference))


def test_what_is_no_pair_is_refused():
    given = pairs()
    with pytest.raises(InputError, match="every chosen answer must have a rejected one. Received: 7 and 2."):
        preferences.Preferences(given.chosen, given.rejected.subset(np.arange(2)))
    with pytest.raises(InputError, match="`beta` must be above 0. Received: 0."):
        preferences.PreferenceLoss(0)
