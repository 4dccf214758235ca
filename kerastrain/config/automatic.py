"""The keys of `runtime` that a run chooses for itself before it begins. Must not import TensorFlow."""

from kerastrain.config.sections import Config

USUAL = {"precision": "float32", "jit_compile": "keras"}
"""The keys, each with the value that it has where nothing is measured."""
OPEN = ("auto", "measure")
"""The values under which a run chooses: if that pays, and in any case."""


def open_keys(config: Config) -> list[str]:
    """Returns the keys of `USUAL` that a config leaves open.

    Args:
        config: Config.

    Returns:
        list of str; empty for the config of a run, which has what was chosen.
    """
    return [name for name in USUAL if getattr(config.runtime, name) in OPEN]


def with_runtime(config: Config, **values: object) -> Config:
    """Sets keys of `runtime`.

    Args:
        config: Config.
        **values: from the names of keys, such as `precision`, to their values, which are not checked.

    Returns:
        Config.
    """
    return config.model_copy(update={"runtime": config.runtime.model_copy(update=values)})


def unmeasured(config: Config) -> Config:
    """Sets each key that is "auto" to its usual value, so that several trainings compute alike.

    Args:
        config: Config.

    Returns:
        Config.
    """
    return with_runtime(
        config, **{name: value for name, value in USUAL.items() if getattr(config.runtime, name) == "auto"}
    )


def used_precision(config: Config) -> str:
    """Returns the dtype policy that new layers of a config get: float32 where nothing was measured.

    Args:
        config: Config.

    Returns:
        str, "float32", "mixed_bfloat16" or "mixed_float16".
    """
    return USUAL["precision"] if config.runtime.precision in OPEN else config.runtime.precision
