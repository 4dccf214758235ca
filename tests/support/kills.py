"""Trainings that are killed at seeded moments and gone on with, until so many kills are done.

    python tests/support/kills.py KILLS SEED

`run` is a whole run of `recipe`: data, head, fine-tuning, model file, measures and an export. `replicas` is a plain
`fit` on two mirrored devices. Each process is ended by SIGKILL, either after a random time or right at a random
operation on its files, such as the rename of a checkpoint. Prints where the kills fell. A server that has imported
TensorFlow forks the processes.
"""

import csv
import errno
import functools
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import processes

MAKING_EVENTS = ("open", "os.mkdir", "os.link")
FILE_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")
OVERRIDES = (
    "model.backbone=module",
    "fit.head_epochs=2",
    "fit.epochs=2",
    "fit.global_batch_size=8",
    "fit.checkpoint_every=2 steps",
    "export.formats=[tflite_float32]",
    "export.samples=8",
)


def run(folder):
    """A run of `recipe` in `folder/run`, or what is left of it."""
    from kerastrain import config, recipe

    directory = folder / "run"
    overrides = [*OVERRIDES, f"data.path={folder.parent / 'colours'}"]
    overrides[0] = f"model.backbone={folder.parent / 'module'}"
    settings = config.load(overrides=overrides)
    if directory.exists():
        if not (directory / "finished.json").exists():
            recipe.resume(directory, settings)
    else:
        recipe.run(settings, directory)


def verb(folder, arguments, words):
    """What the command line makes of `arguments`, in `folder`; what it says on stderr goes to the connection `words`."""
    from kerastrain.cli import main

    os.dup2(words.fileno(), 2)
    sys.argv = ["kerastrain", *(str(folder / "run") if one == "run" else one for one in arguments)]
    main()


def replicas(folder):
    """A `fit` on two logical CPUs, from `folder/checkpoints` on; its end goes to `folder/end.json`."""
    import keras
    import numpy as np
    import tensorflow as tf

    from kerastrain import callbacks, distribute, optimizers, schedules
    from kerastrain.system import files

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = distribute.make("mirrored")
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(8),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(1),
            ]
        )
        rate = schedules.make("cosine", 0.01, steps=40)
        model.compile(optimizers.make("adamw", rate, ema_momentum=0.9), "mse", metrics=["mae"])
    x = np.random.default_rng(0).normal(size=(75, 6)).astype("float32")
    saving = callbacks.Checkpoints(folder / "checkpoints", every="2 steps")
    data = tf.data.Dataset.from_tensor_slices((x, x.sum(axis=1, keepdims=True))).batch(8).repeat(4)
    history = model.fit(
        distribute.shard(data.skip(saving.start.step), strategy),
        epochs=4,
        initial_epoch=saving.start.epoch,
        steps_per_epoch=10,
        shuffle=False,
        verbose=0,
        callbacks=saving.before([callbacks.AverageWeights(), callbacks.HistoryFile(folder / "history.csv")]),
    ).history
    values = [
        one.numpy()
        for variable in [*model.variables, *model.optimizer.variables]
        for one in strategy.experimental_local_results(variable.value)
    ]
    digest = hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()
    files.write_json(folder / "end.json", {"variables": digest, "history": history})


def child(program, folder, kill_at, count, full_at=None, most_bytes=None):
    """Runs a program, or a callable of the folder, and ends itself at the file operation number `kill_at`, if it is not None.

    From the operation number `full_at` on the disk is full: nothing new can be made on it, what is there can be moved and
    removed. With `most_bytes` each file fails in the write that passes them, whoever writes it: Python, HDF5 or TensorFlow.
    As on the command line, what a person can mend is one sentence, here in `folder.words`, and exit code 2.
    """
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)

    def hook(event, arguments):
        if event in FILE_EVENTS and isinstance(arguments[0], str | Path) and f"{folder}/" in str(arguments[0]):
            if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                return
            count.value += 1
            if count.value == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if full_at is not None and count.value >= full_at and event in MAKING_EVENTS:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    processes.collect_seldom()
    sys.addaudithook(hook)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    try:
        {"run": run, "replicas": replicas}.get(program, program)(folder)
    except (OSError, ValueError) as error:
        if full_at is None and most_bytes is None:
            raise
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        folder.with_suffix(".words").write_text(str(error))
        sys.exit(2)


def check_whole(folder):
    """Nothing under its final name is torn; logs that only grow, TensorBoard's and `log.txt`, may end anywhere."""
    for path in folder.rglob("*"):
        if ".tmp" in str(path.relative_to(folder)) or not path.is_file():
            continue
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None, path
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            rows(path)


def rows(path):
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def end(program, folder):
    """Everything that an uninterrupted training and one that was killed must have in common."""
    if program == "replicas":
        return (folder / "end.json").read_text(), rows(folder / "history.csv")
    directory = folder / "run"
    with zipfile.ZipFile(directory / "model.keras") as archive:
        weights = _datasets(archive.read("model.weights.h5"))
    exported = sorted((directory / "exports").glob("*.tflite"))
    left = sorted(path.name for path in directory.iterdir() if path.name.startswith("."))
    return (
        weights,
        rows(directory / "history.csv"),
        (directory / "metrics.json").read_text(),
        [(path.name, path.read_bytes()) for path in exported],
        left,
    )


def _datasets(content):
    import h5py

    found = {}
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(
            lambda name, one: found.update({name: one[()].tobytes()}) if isinstance(one, h5py.Dataset) else None
        )
    return found


def undisturbed(program, place):
    """The folder of a training in `place` that nothing disturbs, its operations on files and its seconds; it runs once."""
    folder, figures = place / f"{program}_whole", place / f"{program}_whole.json"
    if not figures.exists():
        folder.mkdir()
        context = processes.server()
        count = context.Value("i", 0)
        process = context.Process(target=child, args=(program, folder, None, count))
        began = time.monotonic()
        process.start()
        process.join()
        assert process.exitcode == 0, f"the training that is not killed ended with {process.exitcode}"
        figures.write_text(json.dumps([count.value, time.monotonic() - began]))
    return folder, *json.loads(figures.read_text())


def campaign(program, kills, seed, place):
    """Kills and goes on until `kills` kills are done; raises AssertionError if an end differs or a file is torn.

    Returns:
        Counter of the kind of kill, and of the trainings that came to their end.
    """
    context, dice, tally = processes.server(), random.Random(seed), Counter()

    def attempt(folder, kill_at=None, seconds=None):
        count = context.Value("i", 0)
        process = context.Process(target=child, args=(program, folder, kill_at, count))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
        process.join()
        return process.exitcode

    whole, operations, seconds = undisturbed(program, place)
    expected, chain, folder = end(program, whole), 0, None
    while tally["time"] + tally["file operation"] < kills:
        if folder is None:
            chain += 1
            folder = place / f"{program}_{chain}"
            folder.mkdir()
        by_time = dice.random() < 0.5
        code = (
            attempt(folder, seconds=dice.uniform(0.3, 0.9) * seconds)
            if by_time
            else attempt(folder, kill_at=dice.randint(1, max(2, operations // 3)))
        )
        assert code in (0, -signal.SIGKILL), f"a training that went on ended with {code} in {folder}"
        check_whole(folder)
        if code:
            tally["time" if by_time else "file operation"] += 1
        else:
            assert end(program, folder) == expected, f"{folder} ended otherwise than {whole}"
            tally["ended equal"] += 1
            folder = None
    if folder is not None:
        assert attempt(folder) == 0
        assert end(program, folder) == expected, f"{folder} ended otherwise than {whole}"
        tally["ended equal"] += 1
    return tally


def fill(place, moments, sizes, seed):
    """Runs on disks that are full; what was there stays whole, and with room the run goes on to the same end.

    Args:
        place: Path of a folder that `prepare` has filled.
        moments: int, how many runs find the disk full from a seeded moment on, one in each of as many stretches.
        sizes: sequence of int, the bytes that a file can have at most in one more run each.
        seed: int.

    Returns:
        list of str, what each of them said.
    """
    context, dice, said = processes.server(), random.Random(seed), []

    def attempt(folder, **fault):
        count = context.Value("i", 0)
        process = context.Process(target=child, args=("run", folder, None, count), kwargs=fault)
        process.start()
        process.join()
        return process.exitcode

    whole, operations, _ = undisturbed("run", place)
    expected = end("run", whole)
    faults = [{"full_at": 1 + int((number + dice.random()) * operations / moments)} for number in range(moments)]
    faults += [{"most_bytes": size} for size in sizes]
    for number, fault in enumerate(faults):
        folder = place / f"full_{number}"
        folder.mkdir()
        code = attempt(folder, **fault)
        assert code in (0, 2), f"a disk with {fault} ended the run with {code}"
        check_whole(folder)
        if code == 2:
            said.append(folder.with_suffix(".words").read_text())
            assert attempt(folder) == 0, f"the run does not go on after a disk with {fault}"
        assert end("run", folder) == expected, f"{folder} ended otherwise than {whole}"
    return said


def fill_verb(place, arguments, moments, sizes):
    """Calls a verb for a finished run on disks that are full; what was there stays, and with room the verb does its work.

    Args:
        place: Path of a folder that `prepare` has filled.
        arguments: list of str, the verb and what it takes; the run is "run".
        moments: sequence of float in [0, 1), the parts of its operations on files after which the disk is full.
        sizes: sequence of int, the bytes that a file can have at most in one more call each.

    Returns:
        list of str, what each call said that could not do its work.
    """
    context, said = processes.server(), []
    finished, _, _ = undisturbed("run", place)

    def attempt(folder, **fault):
        count, (reading, writing) = context.Value("i", 0), context.Pipe(duplex=False)
        program = functools.partial(verb, arguments=arguments, words=writing)
        process = context.Process(target=child, args=(program, folder, None, count), kwargs=fault)
        process.start()
        writing.close()
        with open(os.dup(reading.fileno()), encoding="utf-8") as words:
            heard = words.read()
        process.join()
        return process.exitcode, count.value, heard

    def copied(name):
        return Path(shutil.copytree(finished, place / f"{arguments[0]}_{name}"))

    code, operations, heard = attempt(copied("not_full"))
    assert code == 0, heard
    faults = [{"full_at": 1 + int(moment * operations)} for moment in moments]
    faults += [{"most_bytes": size} for size in sizes]
    for number, fault in enumerate(faults):
        folder = copied(number)
        before = {path.relative_to(folder) for path in folder.rglob("*")}
        code, _, heard = attempt(folder, **fault)
        assert code in (0, 2), f"{arguments} on a disk with {fault} ended with {code}: {heard}"
        check_whole(folder)
        after = {path.relative_to(folder) for path in folder.rglob("*")}
        assert before <= after, f"{arguments} on a disk with {fault} lost {before - after}"
        assert not [path for path in after if ".tmp" in str(path)], (
            f"{arguments} on a disk with {fault}: {after - before}"
        )
        if code == 2:
            said.append(heard)
            code, _, heard = attempt(folder)
            assert code == 0, f"{arguments} does not do its work after a disk with {fault}: {heard}"
    return said


def prepare(place):
    """The images and the backbone that the runs take, made in a process of their own."""
    process = processes.server().Process(target=_prepare, args=(place,))
    process.start()
    process.join()
    assert process.exitcode == 0


def _prepare(place):
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    from kerastrain import testing

    testing.saved_model(place / "module", image_size=(32, 32))
    testing.colour_folder(place / "colours", count=12)


def main(kills, seed):
    """Half of the kills in each program."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        for program in ("run", "replicas"):
            began = time.monotonic()
            tally = campaign(program, kills // 2, seed, Path(place))
            print(f"{program}: {dict(tally)} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
