"""The arguments of each optimizer besides those that all optimizers share, and their valid values.

Takes names and values; raises an error for the first invalid one. Must not import TensorFlow: a config is checked before
TensorFlow starts.
"""

from collections.abc import Callable, Mapping

from kerastrain.errors import InputError, is_whole_number, unknown

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "nesterov"),
    "adam": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "adamw": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "adagrad": ("initial_accumulator_value", "epsilon"),
    "rmsprop": ("rho", "momentum", "epsilon", "centered"),
    "adadelta": ("rho", "epsilon"),
    "adafactor": ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"),
    "adamax": ("beta_1", "beta_2", "epsilon"),
    "nadam": ("beta_1", "beta_2", "epsilon"),
    "ftrl": (
        "learning_rate_power",
        "initial_accumulator_value",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "l2_shrinkage_regularization_strength",
        "beta",
    ),
    "lamb": ("beta_1", "beta_2", "epsilon"),
    "lion": ("beta_1", "beta_2"),
    "muon": (
        "momentum",
        "nesterov",
        "ns_steps",
        "muon_a",
        "muon_b",
        "muon_c",
        "rms_rate",
        "exclude_layers",
        "exclude_embeddings",
        "adam_beta_1",
        "adam_beta_2",
        "adam_weight_decay",
        "adam_lr_ratio",
        "epsilon",
    ),
    "schedule_free_adamw": ("beta_1", "beta_2", "epsilon"),
}
"""Keras's names for the arguments of each optimizer; a test compares them with Keras."""


def check(name: str, arguments: Mapping[str, object], *, further: tuple[str, ...] = ()) -> None:
    """Checks the names and values of an optimizer's arguments.

    Args:
        name: str, a key of `ARGUMENTS`.
        arguments: mapping from an argument's name to its value.
        further: tuple of str, more valid names, whose values are not checked.

    Raises:
        InputError: the optimizer has no such argument, or a value breaks the argument's rule.

    Example:
        >>> check("adam", {"beta_1": 0.8})
        >>> check("adam", {"beta1": 0.8})
        Traceback (most recent call last):
        kerastrain.errors.InputError: unknown argument of optimizer 'adam': 'beta1'. Known: amsgrad, beta_1, beta_2, ...
    """
    for argument, value in arguments.items():
        if argument not in (*ARGUMENTS[name], *further):
            raise InputError(unknown(f"argument of optimizer {name!r}:", argument, (*ARGUMENTS[name], *further)))
        rule, valid = next((rule for names, rule in _RULES.items() if argument in names), ("", lambda value: True))
        if not valid(value):
            received = str(value).lower() if isinstance(value, bool) else repr(value)
            raise InputError(f"`{argument}` must {rule}. Received: {argument}={received}.")


def _number(valid: Callable[[float], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and valid(value)


_RULES: dict[tuple[str, ...], tuple[str, Callable[[object], bool]]] = {
    ("beta_1", "beta_2", "rho", "momentum", "adam_beta_1", "adam_beta_2"): (
        "lie in [0, 1)",
        _number(lambda value: 0 <= value < 1),
    ),
    ("epsilon", "epsilon_1", "epsilon_2", "clip_threshold", "adam_lr_ratio"): (
        "be a number above 0",
        _number(lambda value: value > 0),
    ),
    (
        "initial_accumulator_value",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "l2_shrinkage_regularization_strength",
        "beta",
        "adam_weight_decay",
    ): ("be a number of at least 0", _number(lambda value: value >= 0)),
    ("learning_rate_power", "beta_2_decay"): ("be a number of at most 0", _number(lambda value: value <= 0)),
    ("muon_a", "muon_b", "muon_c"): ("be a number", _number(lambda value: True)),
    ("rms_rate",): ("be a number above 0, or None", lambda value: value is None or _number(lambda v: v > 0)(value)),
    ("ns_steps",): (
        "be a whole number above 0",
        lambda value: is_whole_number(value) and value > 0,
    ),
    ("nesterov", "amsgrad", "centered", "relative_step", "exclude_embeddings"): (
        "be true or false",
        lambda value: isinstance(value, bool),
    ),
    ("exclude_layers",): (
        "be a list of words to search for in the names of layers",
        lambda value: isinstance(value, list | tuple) and all(isinstance(word, str) for word in value),
    ),
}
