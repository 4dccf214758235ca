"""Peak memory of fine-tuning steps of language models, and what the formula of `check` and `train` computes for them.

    python benchmarks/language_memory.py [FOLDER …] [--batch-size 4] [--tokens 256] [--steps 1] [--methods …] [--write]
    python benchmarks/language_memory.py --sizes --batch-size 4 --tokens 512

FOLDER is a language model of Hugging Face; without one, a Llama of random weights is made. Each method runs in a separate
process, through the functions of `kerastrain train`: the model is built, compiled and fitted on sequences of random tokens.
"peak" is the largest resident memory of the process (getrusage) from its start to the end of the last step, TensorFlow and the
loading of the weights included; "computed" is the line of `kerastrain check`. Prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

LORA = ("fine_tune.lora_rank=8",)
REMAT, MICRO = "memory.remat_blocks=auto", "memory.micro_batches=4"
METHODS = {
    "whole": (),
    "whole, remat": (REMAT,),
    "last 4 blocks": ("fine_tune.last=4",),
    "LoRA": LORA,
    "LoRA, remat": (*LORA, REMAT),
    "LoRA, remat, 4 micro-batches": (*LORA, REMAT, MICRO),
    "LoRA, int8": (*LORA, "fine_tune.quantize=int8"),
    "LoRA, int8, remat": (*LORA, "fine_tune.quantize=int8", REMAT),
    "LoRA, int4, remat": (*LORA, "fine_tune.quantize=int4", REMAT),
}
SIZES = {  # width, blocks, heads, heads of keys, intermediate, vocabulary, whether the embeddings are shared
    "SmolLM2-135M": (576, 30, 9, 3, 1536, 49152, True),
    "Llama-3.2-1B": (2048, 16, 32, 8, 8192, 128256, True),
    "Mistral-7B": (4096, 32, 32, 8, 14336, 32768, False),
    "Llama-2-13B": (5120, 40, 40, 40, 13824, 32000, False),
}
"""Models of `--sizes`, as in their config.json."""

TOLERANCE = 0.25
"""The share by which "computed" may differ from "peak"."""


def make_llama(folder: Path, *, width=256, blocks=4, vocabulary=8192, seed=0) -> Path:
    """Writes a Llama of random weights as Hugging Face does, without a tokenizer."""
    import numpy as np

    from kerastrain.presets import decoders, safetensors
    from kerastrain.presets.preset import Preset

    content = {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": blocks,
        "num_attention_heads": width // 64,
        "num_key_value_heads": max(width // 128, 1),
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text("{}")  # only its existence is checked
    options = {"handle": str(folder), "location": str(folder), "origin": "transformers", "family": "llama3"}
    preset = Preset(**options, kind="language", architecture="llama", config=content, is_fetched=False)
    network = decoders.network(preset)
    shapes = decoders.shapes(network)
    paths = {name: path for path, name in decoders.names(network).items()}
    random = np.random.default_rng(seed)

    def value(name):
        scale = paths[name].endswith("/scale")
        return random.normal(1.0 if scale else 0.0, 0.02, shapes[paths[name]]).astype(np.float32)

    safetensors.write(
        folder / "model.safetensors", {name: shapes[path] for name, path in paths.items()}, value, "bfloat16"
    )
    return folder


def setting(folder: str, method: str, options, data: str = __file__):
    """The config of a method, and the network."""
    from kerastrain import config as configs
    from kerastrain import presets
    from kerastrain.presets import decoders
    from kerastrain.recipe import language_data

    preset = presets.read(folder, kind="language")
    settings = [
        "data.kind=language",
        f"data.path={data}",
        f"model.backbone={folder}",
        f"fit.global_batch_size={options.batch_size}",
        f"evaluation.batch_size={options.batch_size}",
        "fit.epochs=1",
        "optimizer.learning_rate=1e-4",
        "schedule.warmup=0 steps",
        *METHODS[method],
        *options.set,
    ]
    return configs.load(overrides=settings), language_data.LanguageSource(preset, decoders.network(preset), None)


def measure(folder: str, method: str, options) -> None:
    """Prints a line of JSON with the peak of one method and the seconds of a step."""
    import numpy as np

    from kerastrain.language.batches import Sequences
    from kerastrain.recipe import fitting, language_run, plan
    from kerastrain.recipe.stages import Stage
    from kerastrain.system import resources

    config, origin = setting(folder, method, options)
    shape = options.batch_size * options.steps, options.tokens
    ids = np.random.default_rng(0).integers(0, origin.network.vocabulary_size, shape, np.int32)
    sequences = Sequences(ids, np.ones_like(ids), np.roll(ids, -1, axis=1))
    model = language_run.build(config, origin)
    [phase] = plan.phases(config, len(sequences))
    language_run.compiled(model, config, phase)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        fitting.fit_phase(Stage(model, sequences, sequences.subset(np.arange(1))), config, phase, Path(temporary))
    seconds = (time.perf_counter() - start) / options.steps
    print("\nmeasured " + json.dumps({"peak": resources.peak_bytes(), "seconds": seconds}))


def main() -> None:
    """Runs every method of every model in a separate process and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further settings of every method")
    parser.add_argument("--results", type=Path, help="file of measured methods, which are not measured again")
    parser.add_argument("--sizes", action="store_true", help="print what is computed for models of 0.1 to 13 billion")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sizes:
        print(sizes(options))
        return
    if options.measure:
        measure(*options.measure, options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folders = options.folders or [str(make_llama(Path(temporary, "llama")))]
        text = f"Batches of {options.batch_size} × {options.tokens} tokens. {results.machine()}\n\n{table(folders, options)}"
    print(text)
    if options.write:
        results.write("Memory of fine-tuning a language model", text)


def sizes(options) -> str:
    """A Markdown table of what is computed for `SIZES` on a GPU, where TensorFlow's own memory is elsewhere."""
    from kerastrain import config as configs
    from kerastrain.presets import decoders
    from kerastrain.presets.preset import Preset
    from kerastrain.system import resources

    resources.gpu_bytes = lambda: 80 * 2**30
    lines = ["| parameters | " + " | ".join(METHODS) + " |", "|---" * (len(METHODS) + 1) + "|"]
    for name, (width, blocks, heads, kv_heads, between, vocabulary, tied) in SIZES.items():
        content = {"hidden_size": width, "num_hidden_layers": blocks, "num_attention_heads": heads}
        content |= {"num_key_value_heads": kv_heads, "intermediate_size": between, "vocab_size": vocabulary}
        content |= {"tie_word_embeddings": tied, "max_position_embeddings": 4096}
        origin = {"handle": name, "location": name, "origin": "transformers", "family": "llama3"}
        preset = Preset(**origin, kind="language", architecture="llama", config=content, is_fetched=False)
        network, cells = decoders.network(preset), []
        for settings in METHODS.values():
            fixed = ["data.kind=language", f"data.path={__file__}", f"model.backbone={Path(__file__).parent}"]
            batch = f"fit.global_batch_size={options.batch_size}"
            config = configs.load(overrides=[*fixed, batch, "optimizer.learning_rate=1e-4", *settings, *options.set])
            cells.append(f"{language_memory().need(config, network, options.tokens).total / 1e9:.1f}")
        count = sum(memory_need().parameter_counts(network).values())
        lines.append(f"| {name}, {count / 1e9:.2f} billion | {' | '.join(cells)} |")
    return "\n".join(lines)


def memory_need():
    """The module of the counts."""
    from kerastrain.language import memory_need

    return memory_need


def language_memory():
    """The module of the formula, which needs the environment of a benchmark without a GPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from kerastrain.recipe import language_memory

    return language_memory


def table(folders, options) -> str:
    """A Markdown table of each method of each model."""
    lines = [
        "| model | method | peak, GB | computed, GB | ratio | within a quarter | seconds of a step and its compilation |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    shared = ["--batch-size", options.batch_size, "--tokens", options.tokens, "--steps", options.steps]
    shared += ["--set", *options.set] if options.set else []
    known = results.cells(options.results) if options.results else {}
    for folder in folders:
        for method in options.methods:
            key = (Path(folder).name, method, options.batch_size, options.tokens, *options.set)
            if key not in known:
                command = [sys.executable, __file__, "--measure", folder, method, *map(str, shared)]
                output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
                line = next(line for line in output.splitlines() if line.startswith("measured "))
                known[key] = {"key": key, **json.loads(line.removeprefix("measured "))}
                if options.results:
                    results.add_cell(options.results, known[key])
            config, origin = setting(folder, method, options)
            computed = language_memory().need(config, origin.network, options.tokens).total / 1e9
            peak = known[key]["peak"] / 1e9
            results.record(f"{method}: peak, GB", peak)
            is_near = "yes" if abs(computed / peak - 1) <= TOLERANCE else "no"
            row = [Path(folder).name, method, f"{peak:.2f}", f"{computed:.2f}", f"{computed / peak:.2f}", is_near]
            lines.append(f"| {' | '.join(row)} | {known[key]['seconds']:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
