"""Writes the model card of a run: what is known of the model, with the metadata of Hugging Face's model cards.

Takes the contents of a run's files; returns Markdown with a YAML header. Must not say what nobody knows, such as a license.
"""

import re
from collections.abc import Mapping

import yaml
from markupsafe import Markup, escape

import kerastrain
from kerastrain.errors import InputError
from kerastrain.report import measure_views, run_files, templates, training_views

# Tasks that Hugging Face names, by the kind of data and the task; it has no name for a regression of images or texts.
_PIPELINES = {
    ("images", "single_label"): "image-classification",
    ("images", "multi_label"): "image-classification",
    ("text", "single_label"): "text-classification",
    ("text", "multi_label"): "text-classification",
    ("text", "language"): "text-generation",
    ("chat", "language"): "text-generation",
    ("language", "language"): "text-generation",
}
# Names of metrics in Hugging Face's library `evaluate`, by our paths; other measures keep our names in the results.
_METRICS = {
    "accuracy": "accuracy",
    "macro.f1": "f1",
    "macro.precision": "precision",
    "macro.recall": "recall",
    "macro.roc_auc": "roc_auc",
    "mcc": "matthews_correlation",
    "brier": "brier_score",
    "mae": "mae",
    "r2": "r_squared",
    "spearman": "spearmanr",
    "perplexity": "perplexity",
}
_RESULTS = 8  # measures of a set in the metadata
_NO_MARKDOWN = re.compile(r"([\\`*_{}\[\]|~!$]|(?<!&)#)")


def text(run: run_files.RunFiles) -> str:
    """Writes the model card of a run.

    Args:
        run: RunFiles.

    Returns:
        str, Markdown with a YAML header.
    """
    environment = templates.environment()
    environment.filters |= {"md": _plain, "code": _code}
    sets = {name: measure_views.view(measures) for name, measures in run.measures.items()}
    header = yaml.safe_dump(metadata(run), sort_keys=False, allow_unicode=True, width=1000)
    data = run.training_data
    body = environment.get_template("model_card.md").render(
        run=run,
        version=kerastrain.__version__,
        source=settings(run.config, "data"),
        backbone=settings(run.config, "model").get("backbone"),
        task=_task(run),
        data=data,
        labels=data.get("labels") or _labels(run),
        sets=sets,
        training=training_views.summary(run.history) if run.history else None,
    )
    return f"---\n{header}---\n\n{body}"


def metadata(run: run_files.RunFiles) -> dict:
    """The metadata of a model card: the fields of `huggingface_hub.ModelCardData` that the run's files answer.

    Args:
        run: RunFiles.

    Returns:
        dict for the YAML header.
    """
    source, task = settings(run.config, "data"), _task(run)
    kind, backbone = source.get("kind", "images"), str(settings(run.config, "model").get("backbone") or "")
    fields: dict = {"library_name": "keras", "tags": ["keras", "tensorflow", "kerastrain"]}
    if pipeline := _PIPELINES.get((kind, task)):
        fields["pipeline_tag"] = pipeline
    if backbone.startswith("hf://"):
        fields["base_model"] = backbone.removeprefix("hf://")
    results, names = [], []
    for name, measures in run.measures.items():
        rows = _results(measures)
        names += [row["type"] for row in rows if row["type"] in _METRICS.values()]
        if rows:
            results.append(
                {
                    "task": {"type": pipeline or f"{kind}-{task}".replace("_", "-")},
                    "dataset": {"name": f"{source.get('path', 'unknown')}, {name}", "type": "custom", "split": name},
                    "metrics": rows,
                }
            )
    if names:
        fields["metrics"] = list(dict.fromkeys(names))
    if results:
        fields["model-index"] = [{"name": run.name, "results": results}]
    return fields


def _results(measures: Mapping) -> list[dict]:
    if measures["task"] == "language":
        found = [(key, key, measures.get(key)) for key in ("perplexity", "loss", "accuracy")]
    else:
        found = [(row["key"], row["name"], row["value"]) for row in measure_views.scores(measures)]
    return [
        {"type": _METRICS.get(key, key.replace(".", "_")), "name": name, "value": round(float(value), 6)}
        for key, name, value in found[:_RESULTS]
        if isinstance(value, int | float)
    ]


def settings(config: str, section: str) -> dict:
    """The settings of a section of a config; empty if there are none.

    Args:
        config: str, YAML.
        section: str, such as "data".

    Returns:
        dict.

    Raises:
        InputError: the config is not YAML.
    """
    try:
        value = yaml.safe_load(config)
    except yaml.YAMLError as error:
        raise InputError(f"`config.yaml` must be YAML. Received: {' '.join(str(error).split())}. Repair it.") from error
    value = value.get(section) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _task(run: run_files.RunFiles) -> str:
    measured = next((measures["task"] for measures in run.measures.values()), None)
    return measured or run.training_data.get("task") or settings(run.config, "data").get("task") or "single_label"


def _plain(value: object) -> Markup:
    """Text that means nothing to Markdown or HTML, on one line."""
    return Markup(_NO_MARKDOWN.sub(r"\\\1", " ".join(str(escape(value)).split())))


def _code(value: object) -> Markup:
    """Text inside a block of code or between single backticks, where nothing is escaped."""
    return Markup(" ".join(str(value).replace("`", "'").split()))


def _labels(run: run_files.RunFiles) -> list[str]:
    rows = (measures.get("classes") or measures.get("outputs") or [] for measures in run.measures.values())
    return [row["label"] for row in next(rows, [])]
