"""A run directory with every file that a report shows, with hostile names wherever a name can be."""

import io

import numpy as np
import PIL.Image

from kerastrain.evaluation import multi_label, regression, single_label
from kerastrain.export import parity
from kerastrain.system import files

HOSTILE = "<script>document.title='run'</script><img src=/hit onerror=\"document.title='run'\">"
SECTIONS = (
    "verdict",
    "headline",
    "data",
    "training",
    "measures-1",
    "measures-2",
    "measures-3",
    "operating-point",
    "errors",
)
SECTIONS += ("explanations", "data-check", "skipped", "exports", "compression", "reproduce")


def picture(width=24, height=16):
    content = io.BytesIO()
    PIL.Image.fromarray(np.arange(width * height * 3, dtype="uint8").reshape(height, width, 3)).save(content, "PNG")
    return content.getvalue()


def write(directory, *, classes=4):
    """Writes the files; `classes` names have the hostile one among them."""
    random = np.random.default_rng(0)
    names = [HOSTILE, "犬 & cat", *(f"class {number}" for number in range(2, classes))]
    targets = np.arange(300) % classes
    logits = random.normal(size=(300, classes)) + 2.5 * np.eye(classes)[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    validation = single_label.measure(targets, probabilities, names)
    slices = {"by": HOSTILE, "value": HOSTILE, "count": 20, "accuracy": 0.4, "interval": [0.2, 0.6], "rest": 0.8}
    validation["slices"] = [{**slices, "p": 0.001, "worse": True}, {**slices, "value": "b", "p": 1.0, "worse": False}]
    labels = random.integers(0, 2, (60, 2))
    numbers = random.normal(50, 10, (60, 1))
    sets = {
        "validation": validation,
        "several": multi_label.measure(labels, random.random((60, 2)), [HOSTILE, "b"]),
        "numbers": regression.measure(numbers, numbers + random.normal(size=(60, 1)), [HOSTILE]),
    }
    files.write_text(
        directory / "config.yaml", f'data:\n  path: "{HOSTILE.replace(chr(34), "")}"\nruntime:\n  seed: 7\n'
    )
    files.write_json(directory / "metrics.json", sets)
    record = {"command": f"kerastrain train '{HOSTILE}'", "keras": "3.15.1", "python": "3.11", "data_sha256": "ab" * 32}
    files.write_json(directory / "environment.json", record)
    files.write_text(
        directory / "history.csv",
        "phase,epoch,seconds,learning_rate,loss,data_loss,val_loss,val_data_loss\nhead,1,2,0.01,1.9,1.9,1.7,1.7\n"
        "fine_tune,1,3,0.001,1.07,0.29,1.2,0.42\n",
    )
    count = [int((targets == number).sum()) for number in range(classes)]
    samples = {"tile": [8, 8], "columns": 3, "labels": [HOSTILE, "b"]}
    data = {"kind": "images", "task": "single_label", "source": HOSTILE, "labels": names, "augmented": True}
    data["parts"] = {name: {"count": sum(count), "classes": count} for name in ("train", "validation")}
    files.write_json(directory / "training_data.json", {**data, "samples": samples})
    files.write_bytes(directory / "training_samples.png", picture(24, 8))
    change = {"key": "fit.epochs", "value": 20, "why": HOSTILE}
    finding = {"kind": "overfitting", "part": "validation", "sentence": f"It overfits {HOSTILE}.", "confidence": 0.9}
    finding |= {"evidence": {"gap": 0.3, HOSTILE: HOSTILE}, "try": [change]}
    verdict = {"sentence": "Found: overfitting.", "findings": [finding], "sound": ["leakage", HOSTILE]}
    files.write_json(directory / "verdict.json", verdict)
    measured = {"count": 60, "accuracy": 0.9, "accepted": 0.8, "labels": {HOSTILE: {"precision": 0.5, "f1": None}}}
    point = {
        "temperature": 1.3,
        "thresholds": {HOSTILE: 0.4},
        "objective": "f1",
        "chosen_on": "validation",
        "notes": [HOSTILE],
    }
    point["measures"] = {"validation": {"with": measured, "without": {**measured, "accepted": 1.0}}}
    files.write_json(directory / "operating_point.json", point)
    files.write_bytes(directory / "errors" / "1.png", picture())
    error = {"key": HOSTILE, "part": "test", "true": HOSTILE, "predicted": "b", "probability": 0.99, "loss": 4.5}
    error |= {"picture": "errors/1.png", "heatmap": "errors/../../secret.png", "text": HOSTILE}
    pair = {"true": HOSTILE, "predicted": "b", "count": 3, "share": 0.3, "picture": "errors/1.png"}
    errors = {"part": "test", "count": 60, "errors": 9, "confident": [error], "pairs": [pair], "hardest": [error]}
    files.write_json(directory / "errors.json", errors)
    files.write_bytes(directory / "data_check" / "thumbnails" / "1.png", picture())
    example = {"key": HOSTILE, "part": "train", "label": HOSTILE, "proposed": "b", "score": 0.01, "reason": HOSTILE}
    example |= {"action": "look", "picture": "data_check/thumbnails/1.png", "other_text": HOSTILE}
    finding = {
        "kind": "label_error",
        "sentence": f"looks like another class {HOSTILE}",
        "count": 4,
        "parts": {"train": 4},
    }
    check = {"findings": [{**finding, "examples": [example]}], "checked": ["label_error", "blurred"], "rule": HOSTILE}
    check["proposals"] = {"exclude": 3, "relabel": 0, "look": 0}
    files.write_json(directory / "data_check" / "findings.json", {**check, "command": f"kerastrain train '{HOSTILE}'"})
    files.write_bytes(directory / "explanations" / "a&b_gradcam.png", picture())
    explained = {"file": "a&b_gradcam.png", "input": HOSTILE, "true": HOSTILE, "predicted": "b", "probability": 0.7}
    explained |= {
        "explained": "b",
        "method": "gradcam",
        "reason": HOSTILE,
        "scores": {"deletion": 0.2, "insertion": None},
    }
    methods = {"gradcam": {"images": 1, "deletion": 0.2, "insertion": 0.7, "sanity": {"correlations": [0.9, 0.1]}}}
    files.write_json(directory / "explanations" / "index.json", {"explanations": [explained], "methods": methods})
    files.write_text(directory / "quarantine.csv", f'path,kind,reason\n"{HOSTILE.replace(chr(34), "")}",empty,none\n')
    outputs = random.normal(size=(32, 4))
    same = {"outputs": outputs + 1e-6, "size_bytes": 123456, "gzip_bytes": 65432, "kind": "float32"}
    parity.check(outputs, file="model.tflite", **same).save(directory / "exports" / "model.parity.json")
    latency = {"seconds": {"model.tflite": 0.0042}, "threads": 1, "processor": HOSTILE}
    files.write_json(directory / "exports" / "latency.json", latency)
    score = {"value": 0.9, "low": 0.8, "high": 0.95, "count": 100}
    row = {"name": HOSTILE, "file": "a.tflite", "steps": [], "measure": "accuracy", "validation": score, "test": None}
    row |= {"zeros_fraction": 0.8, "size_bytes": 1000, "gzip_bytes": 300, "time_ratio": None, "memory_ratio": None}
    record = {"results": [row], "skipped": {HOSTILE: HOSTILE}, "choice": None, "calibration": []}
    files.write_json(directory / "compressed" / "compression.json", record)
    return directory
