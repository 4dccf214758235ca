"""The Hub modules that this user has trained with, whose files open without a question.

A module's graph is a program, and a `.keras` file may contain one. Who starts a training chooses the module: its
fingerprint is stored for this user, as ssh stores known hosts, and files that contain the same module open. Takes and
returns fingerprints. Must not load anything.
"""

from pathlib import Path

from kerastrain.system import files, user_folders


def remember(fingerprint: str) -> None:
    """Adds a module to the user's list.

    Args:
        fingerprint: str, 64 hexadecimal digits from `hub.modules.fingerprint`.

    Raises:
        OSError: the list cannot be written.
    """
    known = remembered()
    if fingerprint not in known:
        files.write_text(_list(), "".join(f"{line}\n" for line in sorted({*known, fingerprint})))


def remembered() -> frozenset[str]:
    """The fingerprints on the user's list."""
    return frozenset(_list().read_text().split()) if _list().is_file() else frozenset()


def _list() -> Path:
    return user_folders.state_folder() / "trusted_modules"
