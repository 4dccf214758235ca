"""Describes a search before it starts: data, algorithm, space, objectives, epochs, workers, disk and folder.

Takes a SearchConfig and a Config; returns lines. Must not import TensorFlow or print.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kerastrain import config as configs
from kerastrain.cli.search_progress import SearchProgress
from kerastrain.cli.search_texts import written
from kerastrain.errors import counted
from kerastrain.recipe import automatic_backbone, plan, user_function

_TITLE_WIDTH = 12
_KEY_WIDTH = 32


class DataPlan(NamedTuple):
    """What is known of the trainings once their data are listed.

    Args:
        config: Config with the name of a backbone in place of "auto".
        lines: list of str, how the data are understood.
        epochs: mapping from the name of a phase to its epochs.
        examples: int >= 0, the number of examples to train and validate on; 0 if they are not counted yet.
    """

    config: configs.Config
    lines: list[str]
    epochs: Mapping[str, int]
    examples: int = 0


def data_plan(config: configs.Config, *, has_function: bool = False) -> DataPlan:
    """Lists the data of a config without decoding them.

    Args:
        config: Config, which every trial changes.
        has_function: bool, whether a user's function makes the models, which train in one phase.

    Returns:
        DataPlan.

    Raises:
        FileNotFoundError: the path of the data does not exist.
        InputError: the data cannot be used; see `plan.parts`.
    """
    if config.is_language:  # Its data are tokenized to be counted.
        return DataPlan(config, [], {"fine_tune": config.fit.epochs})
    listing = plan.listing(config)
    if has_function:
        lines = plan.description(config, listing, plan.parts(config, listing))
        return DataPlan(config, lines, {"fit": user_function.epochs(config)})
    config, sentence = automatic_backbone.choose(config, listing)
    parts = plan.parts(config, listing)
    lines = [*filter(None, [sentence]), *plan.description(config, listing, parts)]
    epochs = {phase.name: phase.epochs for phase in plan.phases(config, len(parts["train"]))}
    return DataPlan(config, lines, epochs, sum(len(part) for name, part in parts.items() if name != "test"))


def lines(
    search: configs.SearchConfig, epochs: Mapping[str, int] | None, function: user_function.UserFunction | None = None
) -> Iterator[str]:
    """Describes a search.

    Args:
        search: SearchConfig.
        epochs: mapping from the name of a phase to its epochs; None if they are not known.
        function: UserFunction whose hyperparameters are searched too; None for none.

    Yields:
        str, lines without line ends.
    """
    yield _line("search", ", ".join(_algorithm(search)))
    for objective in search.objectives:
        best = "highest" if objective.direction == "max" else "lowest"
        yield _line("objective", f"{objective.measure}, {best} is best, {objective.epoch} epoch of each trial")
    space = search.model_dump(mode="json")["space"]
    if function is not None:
        yield _line("models", function.text)
        space = {**space, **function.space.to_dict()["parameters"]}
    for index, (key, parameter) in enumerate(space.items()):
        yield _line("space" if not index else "", f"{key:<{_KEY_WIDTH}} {_parameter(parameter)}")
    for constraint in search.constraints:
        yield _line("constraint", constraint)
    if search.pruning is not None:
        yield _line("pruning", _pruning(search.pruning))
    if epochs is not None:
        phases = " and ".join(f"{count} of {name}" for name, count in epochs.items())
        yield _line("each trial", f"{counted(sum(epochs.values()), 'epochs')}: {phases}")


def progress(search: configs.SearchConfig, planned: int | None, earlier: Iterable[Mapping]) -> SearchProgress:
    """Starts the state that shows a search.

    Args:
        search: SearchConfig.
        planned: int > 0, the number of trials; None if unknown.
        earlier: iterable of trial records of `trials.json`, for a search that is resumed.

    Returns:
        SearchProgress.
    """
    further = (search.seeds - 1) * min(search.finalists, planned or search.finalists)
    first = search.objectives[0]
    return SearchProgress(
        first.measure,
        first.direction,
        trials=planned,
        trainings=None if planned is None else planned + further,
        minutes=search.minutes,
        earlier=earlier,
    )


def to_yaml(search: configs.SearchConfig) -> str:
    """Writes a search file without what is usual.

    Args:
        search: SearchConfig.

    Returns:
        str, YAML.
    """
    differences = search.model_dump(mode="json", exclude_defaults=True)
    always = search.model_dump(mode="json", include={"algorithm", "objective"})
    return configs.to_yaml({**always, **differences})


def place(directory: Path, workers: int, room: str | None = None) -> Iterator[str]:
    """Describes where a search runs, and what it takes.

    Args:
        directory: Path of the search.
        workers: int >= 1, the number of trials at a time.
        room: str, the space on disk; None if unknown.

    Yields:
        str, lines without line ends.
    """
    yield _line("workers", counted(workers, "workers"))
    if room is not None:
        yield _line("disk", room)
    yield _line("folder", str(directory))


def _line(title: str, text: str) -> str:
    return f"{title:<{_TITLE_WIDTH}}{text}"


def _algorithm(search: configs.SearchConfig) -> Iterator[str]:
    yield search.algorithm
    if search.algorithm != "hyperband" and search.trials is not None:
        yield counted(search.trials, "trials")
    if search.seeds > 1:
        yield f"{search.seeds} seeds for the best {search.finalists}"
    if search.minutes is not None:
        yield f"at most {search.minutes:g} minutes"
    if search.trial_minutes is not None:
        yield f"at most {search.trial_minutes:g} minutes for each trial"


def _parameter(parameter: Mapping | list) -> str:
    """Describes an interval or choices, as they are written in a search file."""
    if isinstance(parameter, list):
        return _choices(parameter)
    condition = parameter.get("when") or {}
    when = f", when {' and '.join(_condition(key, value) for key, value in condition.items())}" if condition else ""
    if parameter.get("choices") is not None:
        return _choices(parameter["choices"]) + when
    text = f"{parameter['min']:g} to {parameter['max']:g}"
    if parameter["sampling"] != "linear":
        text += f", {parameter['sampling']}"
    if parameter.get("step") is not None:
        text += f", in {'factors' if parameter['sampling'] == 'log' else 'steps'} of {parameter['step']:g}"
    return text + (", whole numbers" if parameter["integer"] else "") + when


def _choices(values: list) -> str:
    return ", ".join(map(written, values))


def _condition(key: str, value: object) -> str:
    return f"{key} is {_choices(value) if isinstance(value, list) else written(value)}"


def _pruning(pruning) -> str:
    if pruning.name == "median":
        since = f"from epoch {pruning.min_epochs} on, once {counted(pruning.startup_trials, 'trials')} are complete"
        return f"a trial that is worse than the median of the others ends, {since}"
    epochs = ", ".join(str(pruning.min_epochs * pruning.factor**power) for power in range(3))
    return f"trials pause after {epochs}, … epochs, and the best one of {pruning.factor} continues"
