"""The exported files of a run that is being finished, which another process converts while the run is evaluated and diagnosed.

Takes the model of a run, its data and its folder; writes verified files to its folder `exports`. Must not change the model.
"""

import contextlib
import logging
import shlex
from pathlib import Path

import keras
import numpy as np

from kerastrain import data, export, report
from kerastrain.config import Config
from kerastrain.evaluation import operating_point, predictions
from kerastrain.recipe import named_predictions
from kerastrain.recipe.results import compared_part, exporting

logger = logging.getLogger("kerastrain")


class RunExports:
    """The exports of a run. A context manager, in which the model must not change.

    The files are compared with the outputs that the evaluation of the run writes to `predictions/`, if it measures the part.

    Args:
        model: keras.Model.
        config: Config of the run.
        split: data.Split of the run.
        directory: Path of the run.
        process: export.ServingProcess that runs and converts SavedModels.
    """

    def __init__(
        self,
        model: keras.Model,
        config: Config,
        split: data.Split,
        directory: Path,
        process: export.ServingProcess,
    ):
        self._model, self._config, self._split = model, config, split
        self._directory, self._process = directory, process
        self._finish, self._stack = None, contextlib.ExitStack()

    def __enter__(self) -> "RunExports":
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def begin(self, *, before_evaluation: bool = False) -> None:
        """Begins to export, unless that is done.

        Args:
            before_evaluation: bool, whether the run is not evaluated yet; files with an operating point, which is chosen by its
                measures, are then not begun.

        Raises:
            InputError: the model cannot be exported to one of the formats; nothing is written.
        """
        if self._finish is not None or (before_evaluation and self._config.export.operating_point):
            return
        context = exporting(
            self._model,
            self._config,
            self._split,
            self._config.export.formats,
            self._directory / "exports",
            replace=True,
            operating_point=operating_point.read(self._directory / operating_point.FILE, self._split.labels),
            process=self._process,
            outputs=self._known_outputs,
        )
        self._finish = self._stack.enter_context(context)

    def finish(self) -> dict[Path, export.Parity]:
        """Waits until the files are written and compared.

        Returns:
            dict from the Path of each file to its export.Parity.

        Raises:
            InputError: as for `recipe.export_all`; it says how to finish the run without the format. The other formats are
                exported and the report is written.
        """
        self.begin()
        exports, errors = self._finish()
        for name, error in errors.items():
            if isinstance(error, OSError):  # Of a full disk, which is no reason to leave the format out.
                raise error
            logger.warning("not exported to %s: %s", name, error)
        if not errors:
            return exports
        report.write(self._directory)
        rest = ", ".join(name for name in self._config.export.formats if name not in errors)
        error = next(iter(errors.values()))
        error.args = (
            f"{error} The model is trained and saved. Finish the run without {' and '.join(errors)}: kerastrain train --resume "
            f"{shlex.quote(str(self._directory))} export.formats='[{rest}]'",
        )
        raise error

    def _known_outputs(self) -> np.ndarray | None:
        """The outputs that the evaluation has written for the examples of the comparison; None if there are none."""
        name = compared_part(self._split)
        path = named_predictions.path(self._directory, name)
        if name not in self._config.evaluation.sets or not path.is_file():
            return None
        outputs = predictions.read(path).outputs
        # A classifier with one output has two columns there.
        shape = (len(self._split.parts[name]), *self._model.outputs[0].shape[1:])
        return outputs if outputs.shape == shape else None
