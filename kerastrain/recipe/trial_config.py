"""The config of a trial: that of the search with the values of its point, reduced to what a comparison needs.

Takes the configs of a search and an `Assignment`; returns a `Config`. Must not import TensorFlow.
"""

from collections.abc import Mapping, Sequence

from kerastrain import config as configs
from kerastrain.config import Config
from kerastrain.evaluation import catalog
from kerastrain.recipe import user_function
from kerastrain.tuning.assignments import Assignment
from kerastrain.tuning.settings import Objective


def with_values(config: Config, values: Mapping) -> Config:
    """Sets keys of a config.

    Args:
        config: Config.
        values: mapping from keys such as "optimizer.learning_rate" to values.

    Returns:
        Config.

    Raises:
        ConfigError: a key is unknown, or a value is not accepted by its key.
    """
    nested = config.model_dump(mode="json")
    for key, value in values.items():
        nested = configs.put(nested, key, value)
    return configs.validate(nested, source="the search space")


def of_trial(base: Config, objectives: Sequence[Objective], assignment: Assignment) -> Config:
    """Returns the config of a trial.

    All trials compute in the same precision. Its further seeds divide the data as the first one does, so that none of them
    trains on what another is measured on. Only the validation part is evaluated, and only what an objective needs is exported.

    Args:
        base: Config of the search.
        objectives: sequence of Objective.
        assignment: Assignment.

    Returns:
        Config.

    Raises:
        ConfigError: a value of the point is not accepted by its key.
    """
    own = configs.automatic.unmeasured(with_values(base, user_function.split(assignment.values)[0]))
    changes = {
        "data.split_seed": base.runtime.seed if base.data.split_seed is None else base.data.split_seed,
        "runtime.seed": own.runtime.seed + assignment.seed,
        "evaluation.sets": ["validation"],
        "export.formats": export_formats(objectives),
    }
    if own.data.cache == "auto" and own.data.kind == "images":
        changes["data.cache"] = "disk"  # which the trials share
    first = objectives[0].name
    if own.fit.monitor is None and catalog.logged_name(first, own.measured_kind) is not None:
        changes["fit.monitor"] = first
    return with_values(own, changes)


def export_formats(objectives: Sequence[Objective]) -> list[str]:
    """The formats that the objectives need, such as "tflite_int8" for export.tflite_int8.bytes.

    Args:
        objectives: sequence of Objective.

    Returns:
        list of str.
    """
    names = [objective.name.split(".") for objective in objectives]
    return sorted({name[1] for name in names if name[0] == "export"})


def objectives(search: configs.SearchConfig) -> tuple[Objective, ...]:
    """The objectives of a search, as an oracle takes them.

    Args:
        search: SearchConfig.

    Returns:
        tuple of Objective.
    """
    return tuple(Objective(each.measure, each.direction, each.epoch) for each in search.objectives)
