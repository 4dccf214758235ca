"""Makes the environments of rivals, each with its own packages of pinned versions.

An environment is a folder of `python -m venv`; one that is complete is used again. Must not change kerastrain's own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = {"model_maker": (3, 11)}  # TensorFlow 2.15 knows no newer Python, the others take ours
MARK = "complete.txt"  # in a complete environment: the digest of its requirements


def default_folder():
    """Where environments are kept, outside the repository: they take several gigabytes."""
    import platformdirs

    return platformdirs.user_cache_path("kerastrain-rivals")


def requirements(name, replaced=()):
    """The lines of an environment's file; of packages in `replaced`, such as "torch==2.9.1", that version instead."""
    instead = {line.partition("==")[0]: line for line in replaced}
    lines = [line for line in (HERE / f"{name}.txt").read_text().splitlines() if line and not line.startswith("#")]
    return [instead.get(line.partition("==")[0], line) for line in lines]


def interpreter(name, folder, replaced=()):
    """The Python of an environment, which is made if it is not complete.

    Args:
        name: "pytorch", "fastai" or "model_maker".
        folder: Path of the folder of all environments.
        replaced: sequence of str, packages in other versions than the file's.

    Raises:
        OSError: it cannot be made here; the message says why.
    """
    lines, place = requirements(name, replaced), folder / name
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    python, mark = place / "bin" / "python", place / MARK
    if python.exists() and mark.exists() and mark.read_text().strip() == digest:
        return python
    version = PYTHON.get(name, sys.version_info[:2])
    made_with = sys.executable if version == sys.version_info[:2] else shutil.which("python{}.{}".format(*version))
    if made_with is None:
        raise OSError("the environment {} needs Python {}.{}, which is not installed.".format(name, *version))
    print(f"making the environment {name} in {place}; this downloads and takes minutes", file=sys.stderr, flush=True)
    mark.unlink(missing_ok=True)
    commands = (
        [made_with, "-m", "venv", place],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *lines],
    )
    for command in commands:
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, env=_plain_environment())
        if done.returncode:
            raise OSError(f"the environment {name} cannot be made: {done.stderr.strip()[-300:]}")
    mark.write_text(digest + "\n")
    return python


def _plain_environment():
    """The environment variables without those that lead to another environment's packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
