"""Checks that what a search compares its trials by exists, and that its algorithm can compare them so.

Takes a `Config` and a `SearchConfig`; raises errors. Must not import TensorFlow, and must not measure anything.
"""

from kerastrain.config import EPOCHS, Config, SearchConfig
from kerastrain.errors import InputError
from kerastrain.evaluation import catalog

_EPOCH_KEYS = ("fit.epochs", "fit.head_epochs")
_CHANGE_THE_LOSS = {  # kind -> keys of the loss that is trained, which is also that of the validation part after each epoch
    "single_label": ("fit.label_smoothing",),  # class weights are those of training examples
    "multi_label": ("fit.label_smoothing", "data.class_weights"),
}
_SCALED_BY_BETA = ("validation.preference.loss", "validation.preference.margin")


def check(config: Config, search: SearchConfig, *, has_function: bool = False) -> None:
    """Raises an error unless every trial has the objectives when the algorithm needs them.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        has_function: bool, whether the models are those of a user's function.

    Raises:
        InputError: there is no such measure for these data, an objective is given twice, its values are not comparable over the
            space, or the algorithm, the pruning, the objectives and the epochs do not fit together.
    """
    kind = config.measured_kind
    measures = [objective.measure for objective in search.objectives]
    for measure in measures:
        catalog.check(measure, kind)
    if has_function and any(measure.startswith("export.") for measure in measures):
        raise InputError(
            "files are exported only from models of the config. Received: an objective of exported files, and --build. Choose a "
            "measure of the validation part, or model.parameters."
        )
    if repeated := [measure for index, measure in enumerate(measures) if measure in measures[:index]]:
        raise InputError(f"the objectives must differ. Received: {repeated[0]} twice. Remove one of them.")
    early = _early_end(search)
    if search.pruning is not None and search.algorithm in ("grid", "hyperband"):
        why = "hyperband ends bad trials itself" if search.algorithm == "hyperband" else "a grid trains every point"
        raise InputError(
            f"pruning is for random, bayesian and tpe: {why}. Received: pruning {search.pruning.name} with algorithm "
            f"{search.algorithm}. Remove one of them."
        )
    _check_comparable(search, kind, early)
    if early is not None:
        _check_early_end(config, search, early, has_function=has_function)
    _check_epoch_values(config, search, early)


def _check_comparable(search: SearchConfig, kind: str, early: str | None) -> None:
    """Raises an error if a searched key changes what an objective means, so that trials cannot be compared by it."""
    if "fit.dpo_beta" in search.space:
        for objective in search.objectives:
            if objective.measure in _SCALED_BY_BETA:
                raise InputError(
                    f"trials of different fit.dpo_beta cannot be compared by {objective.measure}, which is scaled by it. "
                    "Received: a space with fit.dpo_beta. Remove it from the space, or choose validation.preference.accuracy."
                )
    searched = [key for key in _CHANGE_THE_LOSS.get(kind, ()) if key in search.space]
    for objective in search.objectives if searched else ():
        if objective.measure == "validation.loss" and (early is not None or objective.epoch == "last"):
            raise InputError(
                f"{early or 'epoch: last'} compares trials by the loss that each of them trains, which {searched[0]} changes. "
                f"Received: objective validation.loss, and a space with {searched[0]}. Remove it from the space, or choose "
                "validation.accuracy or validation.brier."
            )


def _check_epoch_values(config: Config, search: SearchConfig, early: str | None) -> None:
    """Raises an error if an objective is needed after each epoch, and another measure is computed then."""
    kind, first = config.measured_kind, search.objectives[0].measure
    last = [each.measure for each in search.objectives if each.epoch == "last"]
    needed = [measure for measure in last if measure.startswith("validation.")] + ([] if early is None else [first])
    is_searched, monitor = "fit.monitor" in search.space, config.fit.monitor or first
    for measure in needed:
        if catalog.logged_name(measure, kind) is None:
            raise InputError(
                f"{measure} is measured once, with the weights of the best epoch. Received: epoch: last. Use epoch: best."
            )
        if (is_searched or measure != monitor) and not catalog.is_logged_by_keras(measure, kind):
            received = "a space with fit.monitor" if is_searched else f"fit.monitor={monitor}"
            raise InputError(
                f"{measure} is needed after each epoch, where only fit.monitor and what Keras logs are measured. Received: "
                f"{received}. Set fit.monitor={measure}, or make it the first objective without fit.monitor."
            )


def _early_end(search: SearchConfig) -> str | None:
    """What ends trials before their last epoch, if anything does."""
    if search.algorithm == "hyperband":
        return "hyperband"
    return None if search.pruning is None else f"pruning: {search.pruning.name}"


def _check_early_end(config: Config, search: SearchConfig, early: str, *, has_function: bool) -> None:
    """Raises an error unless trials can be compared before their last epoch."""
    measures = [objective.measure for objective in search.objectives]
    if len(measures) > 1:
        raise InputError(
            f"{early} compares trials by one objective. Received: {', '.join(measures)}. Keep one, or search for all of them "
            "with random, grid, bayesian or tpe and without pruning."
        )
    if catalog.logged_name(measures[0], config.measured_kind) is None:
        raise InputError(
            f"{early} compares trials after each epoch, and {measures[0]} is measured only at the end. Choose a measure such as "
            "validation.loss, or search without it."
        )
    _check_epochs(config, search, early, has_function=has_function)


def _check_epochs(config: Config, search: SearchConfig, early: str, *, has_function: bool) -> None:
    searched = [key for key in _EPOCH_KEYS if key in search.space]
    if searched and early != "pruning: median":
        raise InputError(
            f"{early} chooses the epochs of each trial itself. Received: a space with {searched[0]}. Remove it from the space."
        )
    if searched:
        return
    epochs = EPOCHS if config.fit.epochs is None else config.fit.epochs
    if not (config.from_scratch or config.is_language or has_function):
        epochs += config.fit.head_epochs
    least = 1 if search.pruning is None else search.pruning.min_epochs
    if epochs <= least:
        raise InputError(
            f"{early} needs trials of at least {least + 1} epochs. Received: {epochs}, the sum of fit.head_epochs and "
            "fit.epochs. Raise it, or search without it."
        )
