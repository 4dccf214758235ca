"""What the page of a search says: its outcome, the winner as a command, importances, the table of trials and the failures.

Takes the contents of `trials.json` and its trials; returns texts and numbers for the template. Must not read files.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from markupsafe import Markup

from kerastrain.report.formats import UNDEFINED
from kerastrain.report.search_axes import short, shown
from kerastrain.report.search_trials import Trial
from kerastrain.tuning import importance, winner

_STATES = {
    "running": "The search was running when this page was written.",
    "finished": "The search is finished.",
    "stopped": "The search was stopped",
}
_KINDS = ("completed", "pruned", "running", "paused", "failed")
_BAR_WIDTH, _BAR_HEIGHT = 180, 16
_LONGEST_VALUE = 40  # characters of a value in the table
_MOST_LISTED = 12  # trials of a reason


def outcome(record: Mapping, trials: Sequence[Trial]) -> dict:
    """The tiles and the sentence at the top.

    Args:
        record: mapping, the contents of `trials.json`.
        trials: sequence of Trial.

    Returns:
        dict with "counts" (list of (kind, int), those that occur), "planned" (int or None), "seconds" (float), "epochs" (int: all
        that were trained) and "state" (str, a sentence).
    """
    kinds = [trial.kind for trial in trials]
    counts = [(kind, kinds.count(kind)) for kind in _KINDS if kind in kinds]
    state, reason = _STATES[record["state"]], record.get("reason")
    if record["state"] == "stopped":
        state += f": {reason}." if reason else "."
    elif reason:
        state += f" It ended early: {reason}."
    return {
        "counts": counts,
        "planned": record.get("trials_planned"),
        "seconds": record.get("seconds"),
        "epochs": sum(trial.epochs for trial in trials),
        "state": state.replace("..", "."),
    }


def best(
    record: Mapping, trials: Sequence[Trial], folder: Path, added: Mapping[str, object] | None = None
) -> dict | None:
    """The winner, and how to train it again.

    Args:
        record: mapping, the contents of `trials.json`.
        trials: sequence of Trial.
        folder: Path of the search, as commands name it.
        added: mapping from further keys that the search set to their values, such as "fit.monitor"; None for none.

    Returns:
        dict with "trial" (Trial), "sentence", "noise" (float or None), "command", "yaml" and "fits_train" (bool,
        whether `train` takes all values); None for several objectives, or if no trial completed.
    """
    found = next((trial for trial in trials if trial.number == record.get("best")), None)
    if found is None or len(record["objectives"]) > 1:
        return None
    chosen = winner.choose(record)
    values = {**found.values, **{key: value for key, value in (added or {}).items() if key not in found.values}}
    settings = [f"{key}={_written(value)}" for key, value in values.items() if not key.startswith("hp.")]
    command = ["kerastrain", "train", str(folder / "config.yaml"), *settings]
    return {
        "trial": found,
        "noise": chosen and chosen.noise,
        "sentence": chosen.sentence if chosen else "",
        "command": shlex.join(command),
        "yaml": "\n".join(_yaml(_nested(found.values))),
        "fits_train": not any(key.startswith("hp.") for key in found.values),
    }


def tested(record: Mapping) -> dict | None:
    """Whether the winner was trained again and measured on the test part.

    Args:
        record: mapping, the contents of `trials.json`.

    Returns:
        dict with "folder", "date" (str) and "measures" (list of (name, float)); None if it was not.
    """
    test = record.get("test")
    if not test:
        return None
    numbers = [(name, value) for name, value in (test.get("measures") or {}).items() if isinstance(value, int | float)]
    return {"folder": test.get("folder", "best"), "date": str(test.get("measured") or "")[:10], "measures": numbers}


def importances(record: Mapping) -> list[dict]:
    """The importances of the keys for each objective.

    Args:
        record: mapping, the contents of `trials.json`.

    Returns:
        list of dict with "measure", "trials" (int), "epochs" (int or None), "explained" (float or None), "reason" (str or
        None) and "rows": list of (key, importance, bar, "low to high", whether it is undecided).
    """
    views = []
    for number, objective in enumerate(record["objectives"]):
        measured = importance.measure(record, number)
        bars = _bars(measured.keys)
        rows = [
            (key.key, _signed(key.value), bar, f"{_signed(key.low)} to {_signed(key.high)}", key.is_undecided)
            for key, bar in zip(measured.keys, bars, strict=True)
        ]
        views.append({**vars(measured), "measure": objective["measure"], "rows": rows})
    return views


def table(record: Mapping, trials: Sequence[Trial]) -> dict:
    """All trials, the best first.

    Args:
        record: mapping, the contents of `trials.json`.
        trials: sequence of Trial.

    Returns:
        dict with "keys" (list of str), "others" (list of str, measures of further objectives), "has_noise" (bool) and "rows":
        list of dict with "trial", "score", "stddev", "others", and "values" as (shortened text, whole text).
    """
    sign = -1.0 if record["objectives"][0]["direction"] == "min" else 1.0
    ranked = sorted(
        trials,
        key=lambda trial: (
            trial.number != record.get("best"),
            _KINDS.index(trial.kind),
            trial.score is None,
            -sign * (trial.score or 0.0),
            trial.number,
        ),
    )
    keys = list(dict.fromkeys(key for trial in trials for key in trial.values))
    others = [objective["measure"] for objective in record["objectives"][1:]]
    rows = []
    for trial in ranked:
        values = [shown(trial.values.get(key, ...)) for key in keys]
        rows.append(
            {
                "trial": trial,
                "score": UNDEFINED
                if trial.score is None
                else f"{trial.score:.4f}"
                if abs(trial.score) < 10
                else f"{trial.score:.5g}",
                "stddev": "" if trial.stddev is None else f"{trial.stddev:.2g}",
                "others": [f"{trial.measures[name]:.4g}" if name in trial.measures else UNDEFINED for name in others],
                "values": [(short(value, _LONGEST_VALUE), value) for value in values],
            }
        )
    return {
        "keys": keys,
        "others": others,
        "has_noise": any(trial.stddev is not None for trial in trials),
        "rows": rows,
    }


def failures(trials: Sequence[Trial]) -> list[tuple[str, int, str]]:
    """The failed trials by their reason, the most frequent first.

    Args:
        trials: sequence of Trial.

    Returns:
        list of (reason, number of trials, numbers of the trials as text).
    """
    groups: dict[str, list[int]] = {}
    for trial in trials:
        if trial.kind == "failed":
            groups.setdefault(trial.reason or "no reason was recorded", []).append(trial.number)
    return [
        (reason, len(numbers), ", ".join(map(str, numbers[:_MOST_LISTED])) + ", …" * (len(numbers) > _MOST_LISTED))
        for reason, numbers in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def _bars(keys: Sequence[importance.KeyImportance]) -> list[Markup]:
    """A point and its interval beside a line at 0 for each key, all at one scale."""
    low = min([key.low for key in keys] + [0.0])
    high = max([key.high for key in keys] + [1e-9])
    place = lambda value: 4 + (_BAR_WIDTH - 8) * (value - low) / (high - low)
    middle, bars = _BAR_HEIGHT / 2, []
    for key in keys:
        colour = "c7" if key.is_undecided else "c0"
        bars.append(
            Markup(
                '<svg width="{w}" height="{h}" viewBox="0 0 {w} {h}" aria-hidden="true">'
                '<line class="s-quiet" x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="{h}"/>'
                '<line class="s-{c}" stroke-width="2" x1="{low:.1f}" y1="{m}" x2="{high:.1f}" y2="{m}"/>'
                '<circle class="f-{c}" cx="{value:.1f}" cy="{m}" r="3.5"/></svg>'
            ).format(
                w=_BAR_WIDTH,
                h=_BAR_HEIGHT,
                m=middle,
                c=colour,
                zero=place(0.0),
                low=place(key.low),
                high=place(key.high),
                value=place(key.value),
            )
        )
    return bars


def _written(value: object) -> str:
    """A value as YAML on one line, all digits included."""
    if isinstance(value, str):
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf")).strip()
        return text.removesuffix("\n...").removesuffix("...").strip()
    return json.dumps(value, ensure_ascii=False)


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-0.000", "0.000").replace("-", "−")


def _yaml(nested: Mapping, indent: str = "") -> list[str]:
    """The lines of sections, each value on one line."""
    lines = []
    for name, value in nested.items():
        if isinstance(value, _Section):
            lines += [f"{indent}{name}:", *_yaml(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_written(value)}")
    return lines


class _Section(dict):
    """Keys below a key; a plain dict is a value."""


def _nested(values: Mapping[str, object]) -> _Section:
    """Dotted keys as sections."""
    nested = _Section()
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, _Section())
        inner[name] = value
    return nested
