"""A small Llama learns tokens, and ends with the weights of one device however a step is shared."""

import io
import json

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

import kerastrain as kt
from kerastrain import distribute, evaluation, memory, report
from kerastrain.errors import InputError
from kerastrain.language import batches, decoders, losses
from kerastrain.presets.decoders import DecoderNetwork

VOCABULARY, LENGTH = 23, 12


def network(**options):
    block = {"num_heads": 4, "num_kv_heads": 2, "head_size": 4, "intermediate": 24, "rope": {"base": 100.0}, **options}
    return DecoderNetwork(VOCABULARY, 64, 16, 1e-6, True, 1.0, None, (block, block))


def sequences(count=10, seed=0):
    """Counting texts, of which the second half is learned; two share a sequence."""
    random = np.random.default_rng(seed)
    token_ids, segments = np.zeros((2, count, LENGTH), np.int32)
    targets = np.full((count, LENGTH), batches.NOT_LEARNED, np.int32)
    for row in range(count):
        cut = random.integers(3, 7)
        end = cut + random.integers(3, LENGTH - cut + 1)
        for number, (first, last) in enumerate(((0, cut), (cut, end)), start=1):
            token_ids[row, first:last] = (random.integers(VOCABULARY) + np.arange(last - first)) % VOCABULARY
            segments[row, first:last] = number
            begin = (first + last) // 2
            targets[row, begin : last - 1] = token_ids[row, begin + 1 : last]
    return batches.Sequences(token_ids, segments, targets)


def trained(strategy=None, micro_batches=1, remat=False, epochs=2, rate=0.01):
    keras.utils.set_random_seed(1)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = decoders.build(network())
        loss = losses.NextTokenCrossentropy()
        model.compile(keras.optimizers.SGD(rate), loss, weighted_metrics=[evaluation.DataLoss(loss)], jit_compile=False)
    if micro_batches > 1:
        memory.accumulate(model, micro_batches=micro_batches)
    if remat:
        memory.remat(model, blocks=["block_0", "block_1"])
    data = batches.training_batches(sequences(), 4, epochs=epochs)
    history = model.fit(
        distribute.shard(data, strategy), epochs=epochs, steps_per_epoch=3, shuffle=False, verbose=0
    ).history
    return model, history


def largest_difference(one, other):
    return max(float(abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(one.weights, other.weights, strict=True))


def test_the_loss_of_a_batch_is_the_mean_over_its_learned_tokens():
    model = decoders.build(network())
    model.compile("sgd", losses.NextTokenCrossentropy())
    given = sequences()
    logits = model.predict({"token_ids": given.token_ids, "segments": given.segments}, verbose=0)
    learned = given.targets != batches.NOT_LEARNED
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_probabilities, np.maximum(given.targets, 0)[..., None], -1)[..., 0][
        learned
    ].mean()
    assert model.evaluate(batches.evaluation_batches(given, 4), verbose=0) == pytest.approx(expected, abs=1e-5)
    [whole] = batches.training_batches(given, 10)
    assert model.evaluate(*whole[:2], sample_weight=whole[2], verbose=0) == pytest.approx(expected, abs=1e-5)


def test_a_single_sequence_has_no_interval(tmp_path):
    model, given = decoders.build(network()), sequences(2)
    several = kt.language.measure(model, given)
    assert several["loss_interval"][0] < several["loss"] < several["loss_interval"][1]
    one = kt.language.measure(model, given.subset(np.arange(1)))
    assert (one["sequences"], one["loss_interval"], one["perplexity_interval"]) == (1, None, None)
    console = rich.console.Console(width=100, file=io.StringIO())
    console.print(evaluation.table({**one, "before": one}))
    printed = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert printed[0] == f"{one['tokens']} learned tokens of 1 sequence"
    assert "\n".join(printed).count("–") == 2
    (tmp_path / "metrics.json").write_text(json.dumps({"test": one}))
    (tmp_path / "config.yaml").write_text("data:\n  path: digits\n")
    page = report.write(tmp_path).read_text()
    assert f"{one['tokens']} tokens of 1 sequence<" in page
    assert "<td>–</td></tr>" in page


def test_packed_examples_do_not_see_each_other():
    model = decoders.build(network(window=3))
    given = sequences(1)
    first = int((given.segments[0] == 1).sum())
    second = int((given.segments[0] == 2).sum())
    logits = model.predict({"token_ids": given.token_ids, "segments": given.segments}, verbose=0)[0]
    alone = {"token_ids": given.token_ids[:, first : first + second], "segments": np.ones((1, second), np.int32)}
    np.testing.assert_allclose(logits[first : first + second], model.predict(alone, verbose=0)[0], atol=1e-6)


@pytest.mark.slow
def test_two_devices_and_micro_batches_and_rematerialization_give_the_weights_of_one_step():
    plain, history = trained()
    assert history["data_loss"][1] < history["data_loss"][0]
    for other, _ in (
        trained(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.HierarchicalCopyAllReduce())),
        trained(micro_batches=3),
        trained(remat=True),
    ):
        assert largest_difference(plain, other) < 1e-6


def test_batches_are_a_function_of_seed_and_step():
    given = sequences(11)
    whole = list(batches.training_batches(given, 4, seed=3, epochs=2))
    later = list(batches.training_batches(given, 4, seed=3, epochs=2, start_step=4))
    assert [len(batch[2]) for batch in whole] == [4, 4, 3] * 2
    for one, other in zip(whole[4:], later, strict=True):
        assert all(
            (a == b).numpy().all() for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True)
        )
    assert sorted(np.concatenate([batch[0]["token_ids"][:, 0] for batch in whole[:3]])) == sorted(given.token_ids[:, 0])


def test_a_sequence_without_anything_to_learn_is_refused():
    given = sequences(2)
    targets = given.targets.copy()
    targets[1] = batches.NOT_LEARNED
    with pytest.raises(InputError, match="every sequence must have a token to learn. Received: none in sequence 1."):
        batches.Sequences(given.token_ids, given.segments, targets)


def test_accuracy_counts_learned_tokens_only():
    logits = np.eye(4, dtype="float32")[[[2, 1, 0], [3, 3, 3]]]
    targets = np.array([[2, -1, 1], [3, -1, -1]])
    assert losses.next_token_accuracy(targets, logits).numpy().tolist() == [0.5, 1.0]
