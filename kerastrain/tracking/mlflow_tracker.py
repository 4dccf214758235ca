"""A run in MLflow, through its public client: https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html.

Takes names, numbers and paths; sends them to the server, database or folder of MLFLOW_TRACKING_URI. Must not use MLflow's
active run, which may be the user's own.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain.system import optional_imports

_AT_ONCE = 100  # parameters in a request
_LONGEST_PARAMETER, _LONGEST_TAG = 6000, 5000  # characters
# MLflow's own are 7 and 120, with which a server that is down would hold a training for minutes at each epoch.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}


class MlflowTracker:
    """A run in MLflow: a new one, or the one that an earlier process began.

    Args:
        project: str, the name of the experiment; None for MLFLOW_EXPERIMENT_NAME or "kerastrain".
        name: str, the name of the run.
        run: str, the id of the run to continue; None for a new one.
        parameters: mapping of str to str, kept for a new run.
        tags: mapping of str to str, kept for a new run.
        directory: Path, not used.
    """

    def __init__(
        self,
        *,
        project: str | None,
        name: str,
        run: str | None,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
        directory: Path,
    ):
        for key, value in _PATIENCE.items():
            os.environ.setdefault(key, value)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # It would warn of each retry.
        self._mlflow = mlflow = optional_imports.need("mlflow", extra="mlflow", to="track runs with MLflow")
        self._client = mlflow.MlflowClient()
        if run is not None:
            self.run, self._experiment = run, self._client.get_run(run).info.experiment_id
            self._client.update_run(run, status="RUNNING")
            return
        project = project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "kerastrain"
        experiment = self._client.get_experiment_by_name(project)
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(project)
        self.run = self._client.create_run(self._experiment, run_name=name, tags=_cut(tags, _LONGEST_TAG)).info.run_id
        params = [mlflow.entities.Param(*item) for item in _cut(parameters, _LONGEST_PARAMETER).items()]
        for start in range(0, len(params), _AT_ONCE):
            self._client.log_batch(self.run, params=params[start : start + _AT_ONCE])

    @property
    def link(self) -> str:
        """Where the run can be seen: an address, or how to open it."""
        uri = self._mlflow.get_tracking_uri()
        if uri.startswith("http"):
            return f"{uri.rstrip('/')}/#/experiments/{self._experiment}/runs/{self.run}"
        return f"run {self.run} in {uri}"

    def logged_epochs(self) -> int:
        """The number of epochs that MLflow has."""
        return int(self._client.get_run(self.run).data.metrics.get("epoch", 0))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Sends the numbers of an epoch, in one request.

        Args:
            epoch: int >= 1, over all phases.
            values: mapping of names to numbers.
        """
        self._client.log_batch(self.run, metrics=self._metrics(values, epoch))

    def add(self, values: Mapping[str, float], tags: Mapping[str, str], paths: Mapping[str, Sequence[Path]]) -> None:
        """Sends measures, tags and files.

        Args:
            values: mapping of names to numbers.
            tags: mapping of str to str.
            paths: mapping from folders of the run in MLflow, "" for its root, to files and folders.
        """
        known = self._client.get_run(self.run).data.metrics
        new = {name: value for name, value in values.items() if known.get(name) != value}
        metrics = self._metrics(new, 0)
        for start in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self.run, metrics=metrics[start : start + _AT_ONCE])
        for key, value in _cut(tags, _LONGEST_TAG).items():
            self._client.set_tag(self.run, key, value)
        for folder, each in paths.items():
            for path in each:
                if path.is_dir():
                    self._client.log_artifacts(self.run, str(path), "/".join(filter(None, (folder, path.name))))
                else:
                    self._client.log_artifact(self.run, str(path), folder or None)

    def end(self, *, finished: bool) -> None:
        """Marks the run as finished, or as stopped.

        Args:
            finished: bool.
        """
        self._client.set_terminated(self.run, "FINISHED" if finished else "KILLED")

    def _metrics(self, values: Mapping[str, float], step: int) -> list:
        now = int(time.time() * 1000)
        return [self._mlflow.entities.Metric(name, value, now, step) for name, value in values.items()]


def _cut(texts: Mapping[str, str], most: int) -> dict[str, str]:
    return {key: text[:most] for key, text in texts.items()}
