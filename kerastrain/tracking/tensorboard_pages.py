"""The results of a run in its TensorBoard folder: pictures of its measures, samples and errors, and its verdict.

Takes the folder of a run; writes `tensorboard/results`. Only reads files, so it gives the same after a resumed training.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from kerastrain import diagnosis
from kerastrain.system import files
from kerastrain.tracking import contents, figures

FOLDER = "tensorboard/results"
_MOST_PICTURES = 24  # of errors, and of explanations
_DOTS_PER_INCH = 80


def write_tensorboard(directory: Path) -> Path | None:
    """Writes the pictures and the verdict of a finished training for TensorBoard, in the place of earlier ones.

    `measures/PART` are its curves, calibration and confusion; `training_samples`, `errors/NAME` and `explanations/NAME` the
    pictures of these files; `verdict`, `measures` and `classes` are texts.

    Args:
        directory: Path of the run.

    Returns:
        Path of the folder.

    Raises:
        WriteError: the disk is full or read-only.
    """
    folder = directory / FOLDER
    with files.atomic(folder) as temporary:
        temporary.mkdir(parents=True)
        with files.surface_write_errors(folder):
            writer = tf.summary.create_file_writer(str(temporary))
            with writer.as_default(step=0):
                for name, picture in _pictures(directory):
                    tf.summary.image(name, picture[None])
                for name, text in _texts(directory):
                    tf.summary.text(name, text)
            writer.close()
    return folder


def _pictures(directory: Path) -> Iterator[tuple[str, tf.Tensor]]:
    for part, measured in _json(directory / "metrics.json").items():
        figure = figures.measures(measured)
        if figure is not None:
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
            yield f"measures/{part}", tf.io.decode_png(content.getvalue(), 3)
    if (directory / "training_samples.png").is_file():
        yield "training_samples", _decoded(directory / "training_samples.png")
    for name in ("errors", "explanations"):
        found = [path for path in (directory / name).glob("*") if path.suffix in (".png", ".jpg")]
        for path in sorted(found)[:_MOST_PICTURES]:
            yield f"{name}/{path.stem}", _decoded(path)


def _decoded(path: Path) -> tf.Tensor:
    return tf.io.decode_image(path.read_bytes(), 3, expand_animations=False)


def _texts(directory: Path) -> Iterator[tuple[str, str]]:
    if lines := diagnosis.verdict.lines(_json(directory / "verdict.json")):
        yield "verdict", "\n\n".join(line.strip() for line in lines)
    measured = contents.measures(_json(directory / "metrics.json"))
    if measured:
        yield (
            "measures",
            "| measure | value |\n|---|---|\n" + "\n".join(f"| {k} | {v:.4g} |" for k, v in measured.items()),
        )
    labels = directory / "labels.txt"
    if labels.is_file():
        names = labels.read_text(encoding="utf-8").splitlines()
        yield "classes", "\n\n".join(f"{number}: {name}" for number, name in enumerate(names, start=1))


def _json(path: Path) -> dict:
    return files.read_json(path) if path.is_file() else {}
