"""Language models as folders of Hugging Face and as SavedModels, each reopened and compared before it is kept.

Takes a `keras.Model` from `language.decoders.build`, with or without adapters, and prompts; writes a folder and returns a
`Parity`. Adapters are merged into what is written; the model is not changed.
"""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import presets, runtime
from kerastrain.errors import InputError, unknown
from kerastrain.export import parity, serving
from kerastrain.export.serving_process import ServingProcess
from kerastrain.language import adapters, generation, sampling
from kerastrain.language import decoders as models
from kerastrain.presets import decoders, language_folders, safetensors
from kerastrain.presets.preset import Preset
from kerastrain.system import files
from kerastrain.tokenization.language_tokens import LanguageTokens

_OF_SOURCE = ("quantization_config", "_name_or_path", "torch_dtype", "dtype")  # describes the weights of the source

GENERATE, LOGITS = "serving_default", "logits"

logger = logging.getLogger("kerastrain")


def hugging_face(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    preset: Preset,
    network: decoders.DecoderNetwork,
    prompts: Sequence[Sequence[int]],
    tokens: LanguageTokens,
    dtype: str = "float32",
    new_tokens: int = 16,
    tolerance: parity.Tolerance | None = None,
    replace: bool = False,
) -> parity.Parity:
    """Writes a language model as a folder of Hugging Face, opens it again, and keeps it only if it is the same model.

    The folder holds the weights, adapters merged, in `model.safetensors`; config.json of the source with the type of the
    weights; generation_config.json and the tokenizer. The reopened model's logits on the prompts must be within the tolerance,
    and, in float32, what it writes greedily must be the same tokens.

    Args:
        model: keras.Model from `language.decoders.build`.
        path: the folder to write.
        preset: Preset that the model comes from, fetched.
        network: DecoderNetwork of it.
        prompts: sequence of token ids of real texts.
        tokens: LanguageTokens of the model, with the chat template that it was trained with.
        dtype: str out of `safetensors.WRITTEN`: "float32", "bfloat16" or "float16".
        new_tokens: int >= 1, the tokens to write for each prompt.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`, and of "float16" where weights or computations are rounded.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity over the logits of all tokens of the prompts.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: `dtype` is unknown, or the weights cannot be written in it.
        ParityError: the folder holds another model; nothing is written and an existing `path` is kept.
    """
    if dtype not in safetensors.WRITTEN:
        raise InputError(unknown("dtype", dtype, safetensors.WRITTEN))
    path, rows = _target(path, replace), [list(prompt) for prompt in prompts]
    expected, ids = _logits(model, rows), generation.Generator(model).ids(rows, max_new_tokens=new_tokens)
    is_rounded = dtype != "float32" or model.get_layer("block_0").compute_dtype != "float32"
    with files.atomic(path) as temporary:
        temporary.mkdir()
        _write_weights(model, temporary / "model.safetensors", preset, network, dtype)
        language_folders.write(temporary, preset, tokens)
        config = {key: value for key, value in language_folders.config(preset, tokens).items() if key not in _OF_SOURCE}
        config["dtype" if "dtype" in preset.config else "torch_dtype"] = dtype
        (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        logger.info("comparing %s with the model on %d prompts", path.name, len(rows))
        written = presets.read(temporary, kind="language")
        with runtime.precision(model.get_layer("block_0").dtype_policy.name):
            reopened = models.load(written, decoders.network(written))
        measured = _checked(path.name, temporary, expected, _logits(reopened, rows), is_rounded, tolerance)
        new = generation.Generator(reopened).ids(rows, max_new_tokens=new_tokens)
        _check_ids(measured, ids, new, is_rounded)
        measured.save(temporary / "parity.json")
    return measured


def saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    tokenizer: str | None = None,
    new_tokens: int = 16,
    tolerance: parity.Tolerance | None = None,
    replace: bool = False,
) -> parity.Parity:
    """Writes a language model as a SavedModel that writes text, and checks it in a fresh process.

    Signatures, each with a variable batch size:

    - `serving_default`: int32 `token_ids` (b, t), the prompts, each followed by any ids, and for each prompt `lengths`,
      `max_new_tokens`, `temperature` (0 for the likeliest token), `top_k` (0 for all), `top_p` (1 for all) and `seed`; returns
      `ids`, int32 (b, n), the new tokens with the stop, and -1 after the end;
    - `logits`: int32 `token_ids` and `segments` (b, t), 1 for a token and 0 for padding; returns float32 `logits`.

    Args:
        model: keras.Model from `language.decoders.build`.
        path: the folder to write.
        prompts: sequence of token ids of real texts.
        stops: sequence of int, ids at which a text ends.
        tokenizer: str, the content of tokenizer.json, which is written to `assets.extra`; None for no such file.
        new_tokens: int >= 1, the tokens to write for each prompt in the check.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`, and of "float16" where computations are rounded.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity over the logits of all tokens of the prompts.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the SavedModel does not run in another process; nothing is written.
        ParityError: the SavedModel computes or writes something else; nothing is written and an existing `path` is kept.
    """
    path, rows = _target(path, replace), [list(prompt) for prompt in prompts]
    generator = generation.Generator(model)
    expected, ids = _logits(model, rows), generator.ids(rows, max_new_tokens=new_tokens, stops=stops)
    is_rounded = model.get_layer("block_0").compute_dtype != "float32"
    with files.atomic(path) as temporary:
        _write_saved_model(model, generator, temporary, stops)
        inputs = _inputs(rows)
        calls = {
            "token_ids": inputs["token_ids"],
            "lengths": np.array([len(row) for row in rows], "int32"),
            "max_new_tokens": np.full(len(rows), new_tokens, "int32"),
            **dict(
                zip(
                    ("temperature", "top_k", "top_p", "seed"),
                    sampling.sampling_options(len(rows), 0.0, None, None, 0),
                    strict=True,
                )
            ),
        }
        calls = {f"{GENERATE}/{name}": value for name, value in calls.items()}
        calls |= {f"{LOGITS}/{name}": value for name, value in inputs.items()}
        logger.info("comparing %s with the model on %d prompts", path.name, len(rows))
        with ServingProcess() as process:
            outputs = serving.answered(model, process.begin(temporary, calls))
        logits = outputs[LOGITS][inputs["segments"] > 0]
        measured = _checked(path.name, temporary, expected, logits, is_rounded, tolerance)
        new = [[int(token) for token in row if token != generation.NO_TOKEN] for row in outputs[GENERATE]]
        _check_ids(measured, ids, new, is_rounded)
        measured.save(temporary / "assets.extra" / "parity.json")
        if tokenizer is not None:
            files.write_text(temporary / "assets.extra" / "tokenizer.json", tokenizer)
    return measured


def _write_saved_model(model, generator, path: Path, stops: Sequence[int]) -> None:
    positions = generator.positions

    def write(token_ids, lengths, max_new_tokens, *options):
        if positions is not None:
            max_new_tokens = tf.minimum(max_new_tokens, positions - lengths)
        stop_ids = tf.constant(list(stops), tf.int32, (len(stops),))
        return {"ids": generator.whole(token_ids, lengths, max_new_tokens, *options, stop_ids)}

    def compute(token_ids, segments):
        return {"logits": model({"token_ids": token_ids, "segments": segments}, training=False)}

    specs = [tf.TensorSpec((None, None), tf.int32, name=name) for name in models.INPUT_NAMES]
    archive = keras.export.ExportArchive()  # Not told of the model: it finds the weights, and would store them twice.
    archive.add_endpoint(GENERATE, write, input_signature=list(generation.WHOLE_SIGNATURE[:-1]))
    archive.add_endpoint(LOGITS, compute, input_signature=specs)
    archive.write_out(str(path), verbose=False)


def _write_weights(model, path: Path, preset: Preset, network: decoders.DecoderNetwork, dtype: str) -> None:
    variables = {variable.path: variable for variable in model.weights}
    paths = {name: path for path, name in decoders.names(network).items()}
    kernels, shapes = set(adapters.paths(model)), decoders.shapes(network)

    def value(name: str) -> np.ndarray:
        place = paths[name]
        array = adapters.merged_kernel(model, place) if place in kernels else np.asarray(variables[place], np.float32)
        return decoders.turned(place, array, preset.architecture, to_file=True)

    safetensors.write(path, {name: shapes[place] for name, place in paths.items()}, value, dtype)


def _target(path: str | os.PathLike, replace: bool) -> Path:
    if Path(path).exists() and not replace:
        raise FileExistsError(f"{path} exists. Choose another path or allow it to be replaced.")
    return Path(path)


def _inputs(rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    shape = (len(rows), max(map(len, rows)))
    inputs = {name: np.zeros(shape, "int32") for name in models.INPUT_NAMES}
    for number, row in enumerate(rows):
        inputs["token_ids"][number, : len(row)], inputs["segments"][number, : len(row)] = row, 1
    return inputs


def _logits(model: keras.Model, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """float32 (tokens of all rows, vocabulary)."""
    inputs = _inputs(rows)
    return np.asarray(model.predict(inputs, batch_size=4, verbose=0))[inputs["segments"] > 0]


def _checked(name, path, expected, logits, is_rounded, tolerance) -> parity.Parity:
    return parity.check(
        expected,
        logits,
        file=name,
        kind="float16" if is_rounded else "float32",
        # Compressing gigabytes would take minutes and save little.
        size_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        gzip_bytes=None,
        tolerance=tolerance,
    )


def _check_ids(measured: parity.Parity, expected, ids, is_rounded: bool) -> None:
    count = sum(one != other for one, other in zip(expected, ids, strict=True))
    if count and not is_rounded:
        raise parity.ParityError(
            f"`{measured.file}` does not write what its model writes: {count} of {len(expected)} greedy texts differ. It was "
            "removed.",
            measured,
        )
    if count:
        logger.warning(
            "%s writes other tokens than its model after %d of %d prompts, because its numbers are rounded; float32 would "
            "write the same",
            measured.file,
            count,
            len(expected),
        )
