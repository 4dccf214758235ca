"""What `kerastrain compress RUN budget.…` chooses and costs, beside an exhaustive search of all candidates.

    python benchmarks/compression_search.py [--sets digits sign_digits mango_leaves] [--seeds 0 1] [--photos 221]
        [--budget budget.accuracy_points=2] [--write]

For each set and seed a run is trained, and its model is compressed twice: as by default, which leaves out candidates that cannot
win and stops trainings that fall behind, and with `budget.exhaustive=true`. The table shows the files that win, their accuracy
on the validation part, which decides, and on the test part, and the processor seconds of both searches, of which the ratio
counts. The photos are folders of the shared data (see the environment variable KERASTRAIN_SHARED), of which a balanced sample is
taken, with MobileNetV1 of width 0.25 at 128 x 128 pixels; --lite0 takes EfficientNet-Lite0 at 224 x 224 instead. digits are those
of scikit-learn with the default backbone. Every cell is kept in a file (--results), so that an interrupted benchmark goes on.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

SETS = ("digits", "sign_digits", "mango_leaves")
SEARCHES = {"default": [], "exhaustive": ["budget.exhaustive=true"]}


def shared():
    """The folder of the shared data and models."""
    return Path(os.environ.get("KERASTRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def sampled(source, target, count, seed):
    """Links a balanced sample of `count` photos of a folder with a folder for each class."""
    import numpy as np

    random = np.random.default_rng(seed)
    classes = sorted(path for path in source.iterdir() if path.is_dir())
    for number, folder in enumerate(classes):
        share = count // len(classes) + (number < count % len(classes))
        photos = sorted(path for path in folder.rglob("*") if path.is_file())
        (target / folder.name).mkdir(parents=True)
        for index in random.permutation(len(photos))[:share]:
            (target / folder.name / photos[index].name).symlink_to(photos[index].resolve())
    return target


def kerastrain(*arguments):
    """Runs a command; returns its processor and wall seconds."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "kerastrain", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: no file is within the budget.
        raise SystemExit(f"kerastrain {' '.join(map(str, arguments))} failed:\n{done.stdout}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return processor, time.perf_counter() - began


def trained(name, seed, options, folder):
    """Trains a run on a set."""
    settings = [f"runtime.seed={seed}", "export.formats=[]", *options.set]
    if name == "digits":
        settings.append("data.path=digits")
    else:
        photos = sampled(shared() / "data" / name, folder / "photos", options.photos, seed)
        settings.append(f"data.path={photos}")
        if options.lite0:
            settings.append("model.backbone=kerastrain:efficientnet_lite0")
        else:
            weights = shared() / "models" / "mobilenet_v1_0.25_224.h5"
            settings += ["model.backbone=keras:MobileNet", "model.alpha=0.25", f"model.weights={weights}"]
            settings.append("data.image_size=[128, 128]")
    kerastrain("train", *settings, "--run", folder / "run")
    return folder / "run"


def cell(run, search, options):
    """Compresses a copy of a run; returns what won and what it cost."""
    copy = run.with_name(search)
    shutil.copytree(run, copy)
    processor, wall = kerastrain("compress", copy, *options.budget, *SEARCHES[search])
    record = json.loads((copy / "compressed/compression.json").read_text())
    measured = {result["name"]: result for result in record["results"]}
    winner = measured.get(record["choice"]["winner"])
    return {
        "winner": winner and winner["name"],
        "bytes": winner and winner["size_bytes"],
        "gzip": winner and winner["gzip_bytes"],
        "validation": winner and winner["validation"]["value"],
        "float": measured["baseline_float32"]["validation"]["value"],
        "test": winner and winner["test"] and winner["test"]["value"],
        "files": len(measured),
        "processor_seconds": round(processor, 1),
        "seconds": round(wall, 1),
    }


def measured(options, known):
    """Measures the cells that are not known yet."""
    for name in options.sets:
        if name != "digits" and not (shared() / "data" / name).is_dir():
            print(f"{name}: skipped, there is no {shared() / 'data' / name}", flush=True)
            continue
        for seed in options.seeds:
            keys = {search: key_of(name, seed, search, options) for search in SEARCHES}
            if all(key in known for key in keys.values()):
                continue
            with tempfile.TemporaryDirectory() as folder:
                print(name, seed, "training", flush=True)
                run = trained(name, seed, options, Path(folder))
                for search, key in keys.items():
                    if key not in known:
                        known[key] = {"key": list(key), **cell(run, search, options)}
                        results.add_cell(options.results, known[key])
                        print(known[key], flush=True)


def key_of(name, seed, search, options):
    """What a cell depends on."""
    model = "lite0" if options.lite0 and name != "digits" else ""
    return (name, options.photos, seed, model, " ".join(options.budget), " ".join(options.set), search)


def table(options, known):
    """A Markdown table with a row for each set and seed, after a sentence."""
    lines = [
        "| set | seed | winner | exhaustive | kB | exhaustive | validation (float) | exhaustive | test | exhaustive "
        "| files | exhaustive | processor seconds | exhaustive | ratio |",
        f"|{'---|' * 15}",
    ]
    ratios, sizes, good = [], [], 0
    count = "gzip" if any(word == "budget.size=gzip" for word in options.budget) else "bytes"
    for name in options.sets:
        for seed in options.seeds:
            pair = [known.get(key_of(name, seed, search, options)) for search in SEARCHES]
            if None in pair:
                continue
            ratios.append(pair[0]["processor_seconds"] / pair[1]["processor_seconds"])
            words = [name, seed, *(each["winner"] or "–" for each in pair)]
            if all(each["winner"] for each in pair):
                sizes.append(pair[0][count] / pair[1][count])
            good += pair[1]["winner"] is None or (pair[0]["winner"] is not None and sizes[-1] <= 1.01)
            words += [f"{each[count] / 1000:,.1f}" if each["winner"] else "–" for each in pair]
            words += [f"{each['validation']:.3f} ({each['float']:.3f})" if each["winner"] else "–" for each in pair]
            words += ["–" if each["test"] is None else f"{each['test']:.3f}" for each in pair]
            words += [each["files"] for each in pair]
            words += [f"{each['processor_seconds']:.0f}" for each in pair] + [f"{ratios[-1]:.2f}"]
            lines.append(f"| {' | '.join(map(str, words))} |")
    if not ratios:
        return "no cells"
    results.record("processor seconds, times those of an exhaustive search", *results.spread(ratios))
    if sizes:
        results.record("size of the winner, times that of an exhaustive search", *results.spread(sizes))
    median, low, high = results.spread(ratios)
    return "\n".join(
        [
            f"Processor seconds, times those of the exhaustive search: {median:.2f} ({low:.2f} to {high:.2f}). "
            f"In {good} of {len(ratios)} rows the winner is at most a hundredth larger than that of the exhaustive search.",
            "",
            *lines,
        ]
    )


def main():
    """Measures the cells and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--photos", type=int, default=221, help="photos of a set of photos")
    parser.add_argument("--budget", nargs="+", default=["budget.accuracy_points=2"], metavar="KEY=VALUE")
    parser.add_argument("--lite0", action="store_true", help="EfficientNet-Lite0 at 224 x 224 pixels for the photos")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the training")
    parser.add_argument("--results", type=Path, default=Path("compression_search.jsonl"), help="the file of the cells")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    known = results.cells(options.results)
    measured(options, known)
    text = table(options, known)
    print(text)
    if options.write:
        results.write("Compression within a budget", f"{results.machine()}\n\n{text}")


if __name__ == "__main__":
    main()
