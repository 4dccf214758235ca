"""The modules that this user has trained with, so that a finished run opens again without asking.

A Hub module's graph is a program, and a `.keras` file may bring one. Whoever starts a training names the module
themselves; its fingerprint is remembered for the user, as ssh remembers hosts, and files that bring the same module
open. Takes and gives fingerprints; must not load anything.
"""

from pathlib import Path

from kerastrain.system import files, user_folders


def remember(fingerprint: str) -> None:
    """Adds a module's sha256, from `hub_modules.fingerprint`, to the user's list.

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
