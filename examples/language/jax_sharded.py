"""Fine-tunes a language model that no single device holds: every weight is divided over the devices, on Keras's JAX back end.

    pip install "kerastrain[language]" "jax[cuda12]"
    KERAS_BACKEND=jax python examples/language/jax_sharded.py FOLDER qa.jsonl --rank 8 --to tuned/

TensorFlow cannot divide a weight, so kerastrain cannot either: this script takes the data from kerastrain (conversations, chat
template, learned tokens) and the network with the rules of its division from KerasHub (Llama, Qwen and Gemma have them). On a
machine without accelerators it runs on two pieces of the CPU:

    XLA_FLAGS=--xla_force_host_platform_device_count=2 KERAS_BACKEND=jax python examples/language/jax_sharded.py …

The folder `--to` is a preset of KerasHub. Not here: resume after a kill, measures before and after, exports that are compared.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import keras_hub
import numpy as np

from kerastrain import config as configs
from kerastrain.language.batches import NOT_LEARNED
from kerastrain.recipe import language_data

FAMILIES = {
    "llama": keras_hub.models.Llama3Backbone,
    "qwen2": keras_hub.models.QwenBackbone,
    "gemma": keras_hub.models.GemmaBackbone,
    "gemma2": keras_hub.models.GemmaBackbone,
}


class Batches(keras.utils.PyDataset):
    """Batches of (inputs, targets, weights): the weighted mean over all tokens is the mean over the learned ones."""

    def __init__(self, arrays, batch_size, seed):
        super().__init__()
        self.arrays, self.batch_size = arrays, batch_size
        self.order = np.random.default_rng(seed).permutation(len(arrays[0]))

    def __len__(self):
        return len(self.order) // self.batch_size  # A batch must fill all devices.

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        token_ids, segments, targets = (values[rows] for values in self.arrays)
        learned = targets != NOT_LEARNED
        inputs = {"token_ids": token_ids, "padding_mask": segments != 0}
        return inputs, np.where(learned, targets, 0), learned * np.float32(learned.size / learned.sum())


def main() -> None:
    """Reads the data, divides the network, trains and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="language model of Hugging Face")
    parser.add_argument("data", help="conversations, as for data.kind=chat")
    parser.add_argument("--rank", type=int, help="rank of LoRA; without it all weights train")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--to", default="tuned", help="folder to write")
    options = parser.parse_args()

    settings = ["data.kind=chat", f"data.path={options.data}", f"model.backbone={options.folder}"]
    config = configs.load(overrides=settings)
    origin = language_data.source(config)
    if origin.preset.architecture not in FAMILIES:
        raise SystemExit(
            f"KerasHub has rules of division for {', '.join(FAMILIES)}. Received: {origin.preset.architecture}. Write a "
            "keras.distribution.LayoutMap for it."
        )
    loaded = language_data.load(config, origin)
    print(*loaded.lines, sep="\n")

    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((1, len(devices)), ("batch", "model"), devices)
    layout = FAMILIES[origin.preset.architecture].get_layout_map(mesh)
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
    keras.config.set_dtype_policy("mixed_bfloat16" if devices[0].startswith(("gpu", "tpu", "cuda")) else "float32")

    backbone = keras_hub.models.Backbone.from_preset(options.folder)
    if options.rank:
        backbone.enable_lora(options.rank)
    logits = keras.layers.Activation("linear", dtype="float32")(backbone.token_embedding(backbone.output, reverse=True))
    model = keras.Model(backbone.input, logits)
    for weight in backbone.get_layer("transformer_layer_0").weights[:4]:
        print(f"{weight.path:60} {str(weight.shape):20} {getattr(weight.value.sharding, 'spec', 'whole')}")
    model.compile(
        keras.optimizers.AdamW(options.learning_rate, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    train = Batches(loaded.arrays["train"], options.batch_size, config.runtime.seed)
    model.fit(train, epochs=options.epochs, verbose=2)
    backbone.save_to_preset(options.to)
    print(f"written to {options.to}")


if __name__ == "__main__":
    main()
