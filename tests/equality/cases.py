"""A small training for each optimizer and option, to compare one device with two devices and two processes.

27 examples in batches of 6 make four full batches and a partial one, four epochs make 20 steps. The model has a
regularizer, a synchronized batch normalization and two metrics.
"""

import itertools

import keras
import numpy as np
import tensorflow as tf

from kerastrain import distribute, memory, optimizers, schedules

STEPS_PER_EPOCH, EPOCHS = 5, 4
OPTIONS = {
    "plain": {},
    "clip_norm": {"clip_norm": 0.05},
    "global_clip_norm": {"global_clip_norm": 0.1},
    "clip_value": {"clip_value": 0.01},
    "accumulation": {},
    "ema": {"ema_momentum": 0.9},
    "weight_decay": {"weight_decay": 0.1},
    "schedule": {},
    "all": {"global_clip_norm": 0.1, "ema_momentum": 0.9, "weight_decay": 0.1},
}
MIXED = ("mixed_float16", "mixed_bfloat16")  # equal within the precision of the dtype
RATES = {"adadelta": 0.5, "adagrad": 0.05, "ftrl": 0.05, "sgd": 0.05, "muon": 0.005}
EVERY = list(itertools.product(sorted(optimizers.OPTIMIZERS), OPTIONS))
# The optimizers that combine several gradients or count steps themselves, and the options that "all" lacks.
QUICK = [
    *((name, "all") for name in ("adafactor", "adamw", "lamb", "muon", "schedule_free_adamw", "sgd")),
    *(("adamw", option) for option in ("plain", "clip_norm", "clip_value", "accumulation")),
]


def examples():
    """27 inputs float32 (27, 6) and their labels float32 one-hot (27, 3)."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(27, 6)).astype("float32")
    return inputs, np.eye(3, dtype="float32")[generator.integers(0, 3, 27)]


def built(name, option, micro_batches):
    """The compiled model of a case; call it under the scope of a strategy."""
    keras.utils.set_random_seed(1)
    policy = option if option in MIXED else "float32"
    regularizer = keras.regularizers.L2(0.01)
    layers = [keras.Input((6,)), keras.layers.Dense(8, "relu", kernel_regularizer=regularizer, dtype=policy)]
    if option != "accumulation":  # the statistics of a micro-batch are not those of the batch
        layers.append(keras.layers.BatchNormalization(synchronized=True, dtype=policy))
    model = keras.Sequential([*layers, keras.layers.Dense(3, dtype="float32")])
    model.dtype_policy = keras.DTypePolicy(policy)  # tells `compile` to scale the loss
    rate = RATES.get(name, 0.005)
    if option in ("schedule", "all"):
        rate = schedules.make("cosine", rate, steps=20, warmup_steps=3)
    model.compile(
        optimizer=optimizers.make(name, rate, **OPTIONS.get(option, {})),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.AUC(name="auc", from_logits=True, num_thresholds=20)],
    )
    if option == "accumulation":
        memory.accumulate(model, micro_batches=micro_batches)
    return model


def trained_on_one_device(name, option):
    """The result of `trained` on one device, with whole batches."""
    return trained(name, option, tf.distribute.get_strategy(), micro_batches=1)


def trained(name, option, strategy, *, micro_batches=2):
    """Dict of float arrays: the weights, the logs of all epochs, and the results of `evaluate` and `predict`."""
    with strategy.scope():
        model = built(name, option, micro_batches)
    inputs, labels = examples()
    dataset = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(6)
    history = model.fit(
        distribute.shard(dataset.repeat(EPOCHS), strategy),
        epochs=EPOCHS,
        steps_per_epoch=STEPS_PER_EPOCH,
        shuffle=False,
        verbose=0,
    ).history
    metrics = model.evaluate(distribute.shard(dataset, strategy), steps=STEPS_PER_EPOCH, verbose=0, return_dict=True)
    inputs_only = distribute.shard(dataset.map(lambda inputs, labels: inputs), strategy)
    logits = model.predict(inputs_only, steps=STEPS_PER_EPOCH, verbose=0)
    return {
        **{f"weight {index}": value for index, value in enumerate(model.get_weights())},
        **{f"train {name}": np.array(values) for name, values in history.items()},
        **{f"evaluate {name}": np.array(value) for name, value in metrics.items()},
        "predict": keras.ops.convert_to_numpy(keras.ops.softmax(logits)),
    }


def largest_differences(first, second):
    """The largest absolute difference of the weights, and that of the losses, metrics and predictions."""
    assert set(first) == set(second)
    differences = {name: float(np.abs(first[name] - second[name]).max()) for name in first}
    weights = [difference for name, difference in differences.items() if name.startswith("weight")]
    return max(weights), max(difference for name, difference in differences.items() if not name.startswith("weight"))
