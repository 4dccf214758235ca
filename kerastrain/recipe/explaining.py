"""Explains the answers of a finished run of texts by their words, and writes the explanations.

Takes a `Run` and texts; returns explanations, which `write` puts into a page and a file of JSON lines. Explains a few texts at
a time, so that any number of them fits into memory. Must not change the model.
"""

import dataclasses
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerastrain import explain, models, report
from kerastrain.errors import InputError, counted, unknown
from kerastrain.recipe.input_batches import input_batches
from kerastrain.recipe.inputs import Input
from kerastrain.report import explained_texts
from kerastrain.run_directory import Run

logger = logging.getLogger("kerastrain")

_TEXTS_AT_ONCE = 16


@dataclass(frozen=True)
class ExplainedText:
    """A text whose answer was explained.

    Args:
        explanation: explain.TextExplanation.
        label: str, the class or number that is explained.
        answer: float, the probability of the class, or the number.
        is_number: bool, whether it is a number.
        deletion: explain.Deletion, the answers without the words that speak most for it, and to them alone.
        reason: str, why the method was chosen; empty if it was asked for.
        row: str, where the text was found, such as "line 3 of 'news.csv'"; empty if it was given itself.
    """

    explanation: explain.TextExplanation
    label: str
    answer: float
    is_number: bool
    deletion: explain.Deletion
    reason: str = ""
    row: str = ""

    @property
    def record(self) -> dict:
        """The explanation as plain values, as in the file of JSON lines."""
        text = self.explanation.text
        inputs = {"input": text} if isinstance(text, str) else dict(zip(("input", "pair"), text, strict=True))
        answer = (
            {"number": self.answer}
            if self.is_number
            else {"probability": self.answer, "log_odds": self.explanation.score}
        )
        words = [
            {
                "word": word.text,
                "start": word.start,
                "end": word.end,
                "value": word.value,
                **({"of": "pair" if word.place else "input"} if "pair" in inputs else {}),
            }
            for word in self.explanation.words
        ]
        row = {"row": self.row} if self.row else {}
        at_once = {"words_at_once": self.explanation.words_at_once}
        method = {"method": self.explanation.method, **({"reason": self.reason} if self.reason else {})}
        completeness = self.explanation.completeness
        complete = {} if completeness is None else {"completeness": dataclasses.asdict(completeness)}
        deletion = {"deletion": dataclasses.asdict(self.deletion)}
        return {
            **inputs,
            **row,
            "label": self.label,
            **answer,
            **method,
            **complete,
            **deletion,
            **at_once,
            "words": words,
        }


def explain_texts(
    run: Run,
    inputs: Sequence[str | tuple[str, str] | Input],
    *,
    method: str = "auto",
    label: str | None = None,
) -> Iterator[ExplainedText]:
    """Explains which words of each text speak for and against a class.

    Integrated gradients (`explain.integrated_gradients`) where the model shows embeddings of its tokens, and else occlusion
    (`explain.occlusion`). Each explanation is scored by `explain.deletion`.

    Args:
        run: Run of a text model.
        inputs: sequence of texts, of pairs of texts, or of Input; one that is given twice is explained once.
        method: "auto", "integrated_gradients" or "occlusion"; see `explain.text_method`.
        label: str, the class or number to explain; None for the predicted class, or for the first number.

    Yields:
        ExplainedText for each text, in order.

    Raises:
        InputError: the run is of images, the method or label is unknown, or an input is not what the run reads.
    """
    if run.config.data.kind != "text":
        raise InputError(f"explain_texts needs a text model. Received: {str(run.directory)!r}, an image model.")
    labels, is_number = models.labels(run.model), models.task(run.model) == "regression"
    if label is not None and label not in labels:
        raise InputError(unknown("label", label, labels))
    method, reason = explain.text_method(run.model, method)
    inputs = list(dict.fromkeys(inputs))
    because = f", because {reason}" if reason else ""
    logger.info("explaining %s by %s%s", counted(len(inputs), "texts"), method.replace("_", " "), because)
    index = None if label is None else labels.index(label)
    for batch, values in input_batches(run, inputs, _TEXTS_AT_ONCE, None):
        numbers = values[1] if isinstance(values, tuple) else None
        texts = [item.value for item in batch]
        explanations = explain.TEXT_METHODS[method](run.model, texts, index, numbers=numbers)
        deletions = explain.deletion(run.model, explanations, numbers=numbers)
        for item, one, deletion in zip(batch, explanations, deletions, strict=True):
            answer = one.score if is_number else 1 / (1 + math.exp(-one.score))
            yield ExplainedText(one, labels[one.index], answer, is_number, deletion, reason, item.row)


def check_folder(out: Path, *, replace: bool) -> None:
    """Checks that explanations can be written to a folder.

    Args:
        out: Path of the folder, which need not exist.
        replace: bool, whether existing explanations may be replaced.

    Raises:
        FileExistsError: the folder has explanations, or is a file, and `replace` is False.
    """
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"'{out}' is a file. Give a folder for the explanations.")
    existing = [out / name for name in explained_texts.FILES if os.path.lexists(out / name)]
    if existing and not replace:
        raise FileExistsError(
            f"'{existing[0]}' exists already and is not overwritten. Use --replace, or --out for another folder."
        )


def write(run: Run, explained: Sequence[ExplainedText], out: Path | None = None) -> Path:
    """Writes explanations as a page and as JSON lines.

    Args:
        run: Run.
        explained: sequence of ExplainedText.
        out: Path of the folder; None for `explanations` in the run's folder, where they join those of other texts, and
            whose report is then written again.

    Returns:
        Path of the page.

    Raises:
        OSError: the folder cannot be written to.
    """
    records = [item.record for item in explained]
    if out is not None:
        return explained_texts.write(out, records, title=run.directory.resolve().name)
    folder = run.directory / "explanations"
    earlier = explained_texts.read(folder)
    page = explained_texts.write(folder, explained_texts.joined(records, earlier), title=run.directory.resolve().name)
    report.write(run.directory)
    return page
