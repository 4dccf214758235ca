"""Rows of the table about training: heads on frozen networks, and epochs of fine-tuning, in processes that take turns."""

import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rivals import contestants, photos
from rivals.lines import Line, where_time_went

VIEWS = 4
BATCH_SIZE = 16  # of fine-tuning: four ResNet50 that train fit into memory


@dataclass(frozen=True)
class Setting:
    """What all rows are given.

    Args:
        work: Path of a folder for photos, weights and logs.
        python: callable from the name of an environment to the Path of its interpreter.
        repeats: int > 0, turns of each contestant.
        quick: bool, whether to train on few photos for few epochs, which tells nothing but that the row works.
        threads: int > 0, cores.
    """

    work: Path
    python: object
    repeats: int
    quick: bool
    threads: int

    def count(self, full, quick):
        """A number of photos or epochs."""
        return quick if self.quick else full

    def process(self, script, *arguments, environment=None):
        """A contestant of a script; None for our own environment."""
        python = sys.executable if environment is None else self.python(environment)
        log = self.work / f"{Path(script).stem}_{time.time_ns()}.log"
        return contestants.Process(python, script, *arguments, log=log)


# network, alpha, photos without and with augmentation, photos if quick, whether the rival trains all epochs in the first turn
HEADS = (("MobileNet", 0.25, 2070, 2070, 200, True), ("MobileNetV2", None, 2070, 800, 100, False))
TIMED_EPOCHS = 2  # of the rival in other turns


def head(setting):
    """A head on a frozen network, against plain Keras, which computes the network in each epoch."""
    return [line for choice in HEADS for line in _head(setting, *choice)]


def views(setting):
    """The same with augmentation: some views of each photo are computed once, where plain Keras augments in each epoch."""
    return [line for choice in HEADS for line in _head(setting, *choice, augmented=True)]


def _head(setting, network, alpha, count, augmented_count, quick_count, is_whole, *, augmented=False):
    """The line of one network."""
    folder = photos.split(setting.work, setting.count(augmented_count if augmented else count, quick_count))
    epochs = setting.count(20, 4)
    weights, kind = photos.weights(setting.work, network)
    keys = [f"model.backbone=keras:{network}", f"model.weights={weights}", f"fit.head_epochs={epochs}"]
    keys += [f"model.alpha={alpha}"] if alpha else []
    keys += ["data.augment=[flip, rotation]", f"fit.head_views={VIEWS}"] if augmented else []
    options = ["--network", network, "--weights", weights, "--epochs", epochs]
    options += ["--alpha", alpha] if alpha else []
    options += ["--augment"] if augmented else []
    facts = contestants.alternate(
        {
            "kerastrain": setting.process("head_own.py", folder, *keys),
            "Keras": setting.process("head_keras.py", folder, *options),
        },
        min(setting.repeats, 2) if augmented else setting.repeats,
        request=lambda repeat: {"timed_epochs": epochs if is_whole and repeat == 0 else TIMED_EPOCHS, "repeat": repeat},
    )
    own, keras = facts["kerastrain"], facts["Keras"]
    known = [fact["accuracy"] for fact in keras if "accuracy" in fact]
    shown = f"{network}{'' if alpha is None else f' {alpha:g}'}, {kind}"
    notes = [f"{shown}{', augmented' if augmented else ''}: {where_time_went(own)}. {_computed(keras, epochs)}"]
    return [
        Line(
            f"head, {epochs} epochs{f', {VIEWS} augmented views' if augmented else ''}, {shown}, "
            f"{sum(path.is_file() for path in folder.glob('train/*/*'))} photos to train",
            "Keras `fit`",
            0.3 if augmented else 0.06,
            [fact["seconds"] for fact in own],
            [fact["seconds"] for fact in keras],
            accuracies=(own[0]["accuracy"], known[0]) if known else None,
            notes=notes,
        )
    ]


def _computed(facts, epochs):
    """How the rival's seconds were found."""
    whole = [fact for fact in facts if fact["is_whole"]]
    part = [fact for fact in facts if not fact["is_whole"]]
    if not part:
        return "Keras trained all epochs in each turn."
    text = f"Keras's seconds are computed from its first {TIMED_EPOCHS} epochs: the first, and {epochs - 1} times the second"
    if whole:
        return f"{text}; in the first turn it trained all: {whole[0]['seconds']:.1f} s, computed {whole[0]['computed']:.1f} s."
    return f"{text}."


# network, photos, photos if quick
FINE_TUNED = (("MobileNetV2", 60, 20), ("ResNet50", 30, 20))


def fine_tuning(setting):
    """An epoch of fine-tuning, against plain Keras and against PyTorch in float32 and in bfloat16."""
    return [line for choice in FINE_TUNED for line in _fine_tuning(setting, *choice)]


def _fine_tuning(setting, network, count, quick_count):
    """The lines of one network."""
    folder = photos.by_class(setting.work, setting.count(count, quick_count))
    weights, _ = photos.weights(setting.work, network)
    options = [folder, "--network", network, "--batch-size", BATCH_SIZE]
    keras_options = [*options, "--weights", weights]
    torch = {
        f"PyTorch {precision}": setting.process(
            "fit_torch.py", *options, "--precision", precision, environment="pytorch"
        )
        for precision in ("float32", "bfloat16")
    }
    facts = contestants.alternate(
        {
            "kerastrain": setting.process("fit_own.py", *keras_options),
            "Keras": setting.process("fit_keras.py", *keras_options),
            **torch,
        },
        setting.repeats,
        warm_up=1,
    )
    seconds = {name: [fact["seconds"] for fact in each] for name, each in facts.items()}
    best = min(torch, key=lambda name: statistics.median(seconds[name]))
    chosen = facts["kerastrain"][0]["chosen"]
    bfloat16 = chosen["precision"] != "float32"
    images = sum(path.is_file() for path in folder.glob("*/*"))
    speeds = ", ".join(f"{name} {images / statistics.median(each):.1f}" for name, each in seconds.items())
    note = f"{network}: kerastrain chose {chosen['precision']}; photos a second: {speeds}."
    work = f"epoch of fine-tuning, {network}, {images} photos of 224 pixels in batches of {BATCH_SIZE}"
    lines = (
        ("Keras `fit`, float32", "Keras", 0.5 if bfloat16 else 1.0),
        (f"PyTorch, {best.split()[1]}, channels-last", best, 1.0),
    )
    return [
        Line(work, rival, goal, seconds["kerastrain"], seconds[name], notes=[note] if name == "Keras" else [])
        for rival, name, goal in lines
    ]
