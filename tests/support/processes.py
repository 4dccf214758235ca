"""Processes that a server forks which has imported TensorFlow: they start at once, where an interpreter takes seconds."""

import functools
import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

PRELOADED = [
    "kerastrain.recipe.training_run",
    "kerastrain.distribute.strategies",
    "tensorflow_hub",
    # What a run imports where it uses it.
    "kerastrain.diagnosis.verdict",
    "kerastrain.recipe.language_run",
    "kerastrain.recipe.retrained_run",
    "scipy.ndimage",
    "scipy.spatial",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "matplotlib.backends.backend_svg",
]


@functools.cache
def server():
    """The context of multiprocessing whose processes need not import TensorFlow."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    first = context.Process(target=_nothing)
    first.start()
    first.join()  # the imports are done now, and in nobody's time
    return context


def share_server():
    """Lets this process, which the server has forked, have processes forked by the same one, as those of a search.

    Python would start another server, which imports TensorFlow once more.
    """
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running


def kerastrain(place, *arguments, code=0):
    """What the command line does with `arguments` in the folder `place`; AssertionError if it ends otherwise than with `code`.

    Returns:
        subprocess.CompletedProcess with `stdout` and `stderr`, as of a new interpreter.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        environment = {**os.environ, "XDG_STATE_HOME": str(place / "state")}
        words = [*map(str, arguments)]
        process = server().Process(target=_command, args=(place, words, environment, streams))
        process.start()
        process.join()
        told = [stream.read_text() for stream in streams]
    assert process.exitcode == code, "".join(told)
    return subprocess.CompletedProcess(arguments, code, *told)


def enter(environment, streams):
    """Makes `environment` that of this process; what it says goes to the files `streams`, of stdout and of stderr."""
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams, start=1):
        file = os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)


def collect_seldom():
    """As tests/conftest.py does in the process of the tests."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _command(place, words, environment, streams):
    from kerastrain.cli import main

    enter(environment, streams)
    collect_seldom()
    share_server()
    os.chdir(place)
    sys.argv = ["kerastrain", *words]
    main()


def _nothing():
    """What the first process does, with which the server starts."""
