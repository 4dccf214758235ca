"""What several tests need and only read: made once in a test run, whichever of its processes asks first."""

import fcntl
import os
import shutil


def once(tmp_path_factory, name, make):
    """The folder `name`, which `make(folder)` has filled once for all processes of this test run.

    Args:
        tmp_path_factory: pytest's fixture.
        name: str, a name for the folder.
        make: callable of the empty folder, a Path.

    Returns:
        Path of the folder. A test that changes what lies in it works on a copy.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, finished = base / name, base / f"{name}.finished"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a process that ends lets it go
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
