"""Records of searches as `trials.json` has them, of any size, made from a formula instead of trainings."""

import math

import numpy as np

from kerastrain.system import files

HOSTILE = "<script>document.title='search'</script><img src=/hit onerror=\"document.title='search'\">"
SPACE = {
    "optimizer.name": ["adamw", "sgd", HOSTILE],
    "optimizer.learning_rate": {"min": 1e-4, "max": 1e-1, "sampling": "log"},
    "optimizer.momentum": {"min": 0, "max": 0.95, "when": {"optimizer.name": ["sgd"]}},
    "model.hidden_units": [[], [64], [128, 64]],
    "model.dropout": {"choices": [0, 0.2, 0.5], "when": {"model.hidden_units": [[64], [128, 64]]}},
    "fit.global_batch_size": {"min": 16, "max": 128, "sampling": "log", "step": 2},
    "schedule.name": [None, "cosine", "null"],
    "fine_tune.batch_norm": [True, False],
    "data.augment": [[], ["flip"], ["flip", "mixup"]],
    "optimizer.weight_decay": {"min": 1e-6, "max": 1e-2, "sampling": "log"},
    "fit.label_smoothing": {"min": 0.0, "max": 0.2},
    "fine_tune.gradient_accumulation_steps": [1, 2, 4, 8],
}
MAX_EPOCHS = 9


def record(count=30, *, seed=0, objectives=1, seeds=1, space=SPACE, state="finished", prune=True, fail=True):
    """The contents of `trials.json`: the score depends on the learning rate, then on momentum, batch size and dropout."""
    random = np.random.default_rng(seed)
    trials = [_trial(number, space, random, seeds, objectives, prune, fail) for number in range(1, count + 1)]
    if state == "running" and trials:
        trials[-1] |= {
            "status": "running",
            "score": None,
            "scores": [],
            "measures": {},
            "curve": trials[-1]["curve"][:2],
        }
    completed = [trial for trial in trials if trial["status"] == "completed"]
    best = max(completed, key=lambda trial: trial["score"], default=None)
    goals = [
        {"measure": "validation.accuracy", "direction": "max", "epoch": "best"},
        {"measure": "exports.tflite_int8.size_bytes", "direction": "min", "epoch": "last"},
    ]
    return {
        "algorithm": "tpe",
        "objectives": goals[:objectives],
        "space": space,
        "seed": seed,
        "state": state,
        "reason": "3 trials in a row failed" if state == "stopped" else None,
        "trials_planned": count,
        "max_epochs": MAX_EPOCHS,
        "best": best and best["point"],
        "pareto": _pareto(completed) if objectives > 1 else [],
        "seconds": 31.5 * count,
        "trials": trials,
    }


def write(directory, content):
    """Writes the files of a search folder that a page is made from."""
    files.write_json(directory / "trials.json", content)
    files.write_text(directory / "search.yaml", f"algorithm: {content['algorithm']}\n# {HOSTILE}\n")
    files.write_text(directory / "config.yaml", f"data:\n  path: {HOSTILE!r}\n")
    return directory


def draw(space, random):
    """The values of a point, without those of keys whose condition does not hold."""
    values = {}
    for key, entry in space.items():
        options = entry if isinstance(entry, dict) else {"choices": entry}
        if any(values.get(other, other) not in allowed for other, allowed in options.get("when", {}).items()):
            continue
        values[key] = _value(options, random)
    return values


def _value(options, random):
    if "choices" in options:
        return options["choices"][random.integers(len(options["choices"]))]
    low, high = options["min"], options["max"]
    if options.get("sampling") == "log":
        drawn = math.exp(random.uniform(math.log(low), math.log(high)))
        return 2 ** round(math.log2(drawn)) if "step" in options else drawn
    return float(random.uniform(low, high))


def quality(values):
    """The accuracy that a training with these values would reach."""
    rate = math.log10(values.get("optimizer.learning_rate", 1e-3))
    score = 0.95 - 0.12 * (rate + 2.2) ** 2
    score -= 0.1 * abs(values.get("optimizer.momentum", 0.7) - 0.7)
    score -= 0.02 * abs(math.log2(values.get("fit.global_batch_size", 64)) - 6)
    return max(0.1, score - 0.04 * values.get("model.dropout", 0.2))


def _trial(number, space, random, seeds, objectives, prune, fail):
    values = draw(space, random)
    score = min(quality(values) + 0.01 * random.normal(), 1.0)
    start = 0.1
    curve = [
        [epoch, start + (score - start) * (1 - math.exp(-epoch / 2)) / (1 - math.exp(-MAX_EPOCHS / 2))]
        for epoch in range(1, 10)
    ]
    trial = {
        "point": number,
        "folder": f"trials/{number:03d}",
        "values": values,
        "status": "completed",
        "score": score,
        "scores": [score + 0.004 * offset for offset in range(seeds if number % 3 == 0 else 1)],
        "measures": {"validation.accuracy": score, "validation.loss": 1.2 - score},
        "epochs": MAX_EPOCHS,
        "curve": curve,
        "seconds": 20 + 10 * random.random(),
        "started": f"2026-11-29T{number // 60 % 24:02d}:{number % 60:02d}:00+00:00",
        "reason": None,
    }
    trial["score"] = sum(trial["scores"]) / len(trial["scores"])
    if objectives > 1:
        trial["measures"]["exports.tflite_int8.size_bytes"] = (
            1e5 * (1 + sum(values.get("model.hidden_units", [])) / 64) + number
        )
    if fail and number % 11 == 7:
        reason = "ResourceExhausted: out of memory" if number % 2 else f"killed by SIGKILL {HOSTILE}"
        trial |= {
            "status": "failed",
            "score": None,
            "scores": [],
            "measures": {},
            "curve": curve[:1],
            "epochs": 1,
            "reason": reason,
        }
    elif prune and number > 5 and score < 0.75:
        trial |= {
            "status": "pruned",
            "score": curve[2][1],
            "scores": [curve[2][1]],
            "measures": {},
            "curve": curve[:3],
            "epochs": 3,
        }
        trial["reason"] = "below the median of 5 trials at epoch 3"
    return trial


def _pareto(trials):
    pairs = {each["point"]: (each["score"], -each["measures"]["exports.tflite_int8.size_bytes"]) for each in trials}
    return [
        point
        for point, (score, size) in pairs.items()
        if not any(a >= score and b >= size and (a, b) != (score, size) for a, b in pairs.values())
    ]
