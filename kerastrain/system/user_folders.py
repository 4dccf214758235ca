"""Folders of the current user for what kerastrain stores outside of a run: caches and state.

Takes nothing and returns paths, which need not exist. Must not create them or import TensorFlow.
"""

from pathlib import Path

import platformdirs

_NAME = "kerastrain"


def cache_folder() -> Path:
    """Folder for what can be computed again: decoded pixels, results of scans.

    On Linux `$XDG_CACHE_HOME/kerastrain`, by default `~/.cache/kerastrain`; on macOS `~/Library/Caches/kerastrain`.

    Returns:
        Path, absolute.

    Raises:
        RuntimeError: the user's home folder is unknown.

    Reference: https://specifications.freedesktop.org/basedir-spec/
    """
    return _absolute(platformdirs.user_cache_path(_NAME))


def state_folder() -> Path:
    """Folder for what is remembered between runs and cannot be computed again: the Hub modules that the user trusts.

    On Linux `$XDG_STATE_HOME/kerastrain`, by default `~/.local/state/kerastrain`; on macOS
    `~/Library/Application Support/kerastrain`.

    Returns:
        Path, absolute.

    Raises:
        RuntimeError: the user's home folder is unknown.

    Reference: https://specifications.freedesktop.org/basedir-spec/
    """
    return _absolute(platformdirs.user_state_path(_NAME))


def _absolute(path: Path) -> Path:
    # Older versions of platformdirs return "~/…" for a user without a home folder, newer ones raise RuntimeError.
    if not path.is_absolute():
        raise RuntimeError("the user's home folder is unknown: set HOME to an absolute path")
    return path
