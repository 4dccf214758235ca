"""A run in Weights & Biases, through its public client: https://docs.wandb.ai/ref/python/.

Takes names, numbers and paths; sends them to the server of WANDB_BASE_URL, or with WANDB_MODE=offline to files that
`wandb sync` sends later. Must not use an active run, which may be the user's own.
"""

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain.errors import InputError
from kerastrain.system import optional_imports

_PURPOSE = {"extra": "wandb", "to": "track runs with Weights & Biases"}
_START_SECONDS, _END_SECONDS = 30, 120  # for a server that does not answer
_LOCAL_MODES = ("offline", "disabled", "dryrun")


class WandbTracker:
    """A run in Weights & Biases: a new one, or the one that an earlier process began.

    Args:
        project: str; None for WANDB_PROJECT or "kerastrain".
        name: str, the name of the run.
        run: str, the id of the run to continue; None for a new one.
        parameters: mapping of str to str.
        tags: mapping of str to str, kept as `config.run`.
        directory: Path of the folder for the client's own files, unless WANDB_DIR names another.
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
        self._wandb = optional_imports.need("wandb", **_PURPOSE)
        self.run = run or uuid.uuid4().hex[:8]
        self._run = self._wandb.init(
            project=project or os.environ.get("WANDB_PROJECT") or "kerastrain",
            name=name,
            id=self.run,
            resume="allow",
            reinit="create_new",
            dir=os.environ.get("WANDB_DIR") or str(directory),
            config={**parameters, "run": dict(tags)},
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                init_timeout=_START_SECONDS,
                finish_timeout=_END_SECONDS,
                finish_timeout_raises=True,
            ),
        )

    @property
    def link(self) -> str:
        """Where the run can be seen: an address, or how to send it."""
        if self._run.offline:
            # A resumed run has several of these folders.
            return f"run {self.run}, to send with: wandb sync {Path(self._run.dir).parents[1]}/offline-run-*-{self.run}"
        return self._run.url or f"run {self.run}"

    def logged_epochs(self) -> int:
        """The number of epochs that the server has; 0 offline, where it is not known."""
        return int(self._run.summary.get("epoch") or 0)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Sends the numbers of an epoch.

        Args:
            epoch: int >= 1, over all phases.
            values: mapping of names to numbers.
        """
        self._run.log(dict(values), step=epoch)

    def add(self, values: Mapping[str, float], tags: Mapping[str, str], paths: Mapping[str, Sequence[Path]]) -> None:
        """Sends measures, tags and files.

        Args:
            values: mapping of names to numbers.
            tags: mapping of str to str.
            paths: mapping from folders of the artifact, "" for its root, to files and folders.
        """
        self._run.summary.update(dict(values))
        self._run.config.update({"run": {**self._run.config.get("run", {}), **tags}}, allow_val_change=True)
        artifact = self._wandb.Artifact(f"{_safe(self._run.name)}-{self.run}", type="run")
        for folder, each in paths.items():
            for path in each:
                for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
                    name = Path(folder, file.relative_to(path.parent)).as_posix()
                    artifact.add_file(str(file), name=name)
        self._run.log_artifact(artifact)

    def end(self, *, finished: bool) -> None:
        """Sends the rest, and ends the run.

        Args:
            finished: bool; False marks it as failed.
        """
        self._run.finish(exit_code=0 if finished else 1)


def _safe(name: str | None) -> str:
    """A part of an artifact's name, which has at most 128 characters."""
    return re.sub(r"[^A-Za-z0-9\-._]", "_", name or "run")[:100]


def require_login() -> None:
    """Checks that the server would let a run in.

    Raises:
        MissingExtra: the library is not installed.
        InputError: there is no API key, and WANDB_MODE is not offline.
    """
    if os.environ.get("WANDB_MODE") in _LOCAL_MODES:
        return
    wandb = optional_imports.need("wandb", **_PURPOSE)
    if not wandb.login(prompt=False, verify=False):
        raise InputError(
            "`tracking.to`: Weights & Biases needs an API key. Received: none. Call `wandb login`, or set WANDB_MODE=offline."
        )
