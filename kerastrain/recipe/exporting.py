"""Exports the model of a finished run to more formats.

Takes a `Run`; writes verified files into its folder. Must not change the model.
"""

from collections.abc import Mapping
from pathlib import Path

from kerastrain import export, models, recipe, report
from kerastrain.recipe import language_exports, operating_points, requirements
from kerastrain.recipe.results import export_each, file_name, measure_times, raise_first
from kerastrain.run_directory import Run


def export_formats(run: Run, settings: Mapping, *, replace: bool = False) -> dict[Path, export.Parity]:
    """Exports a run's model to more formats in `exports/`; see `recipe.export_all`.

    Args:
        run: Run.
        settings: mapping of the keys of the config section `export` that differ from the run's own, such as `formats`.
        replace: bool, whether existing files may be replaced.

    Returns:
        dict from the Path of each file to its export.Parity.

    Raises:
        ConfigError: a key or value is invalid.
        ParityError: a file differs too much from the model; it is removed, and the others stay.
        FileExistsError: a file exists and `replace` is False.
        InputError: the model cannot be exported to a format.
    """
    config, directory = requirements.with_exports(run.config, settings), run.directory / "exports"
    if config.is_language:
        exports = language_exports.export_run(run, config, replace=replace)
        report.write(run.directory)
        return exports
    for path in (directory / file_name(name) for name in config.export.formats):
        if path.exists() and not replace:
            raise FileExistsError(f"'{path}' exists already and is not overwritten. Use --replace to write it again.")
    operating_points.require_for_export(run.directory, config)
    split = recipe.load_data(config, run.image_size, labels=models.labels(run.model))
    exports, errors = export_each(
        run.model, config, split, config.export.formats, directory, replace=replace, operating_point=run.operating_point
    )
    if exports:
        measure_times(directory)
        report.write(run.directory)
    raise_first(errors)
    return exports
