import dataclasses
import io
import json
import shlex
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from interruptions import InterruptAfter, Interrupted

from kerastrain import config, data, recipe, report, run_directory
from kerastrain.errors import InputError
from kerastrain.evaluation import Predictions, predictions
from kerastrain.recipe import building, fitting, fold_plan, folds, plan, training_run

WORDS = {"fruit": ("apple", "pear", "plum"), "tool": ("saw", "hammer", "drill"), "bird": ("crow", "owl", "wren")}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A table of 66 texts, of which each writer has three, with a test part of six."""
    lines = ["text,label,writer,split"]
    for number in range(22):
        for label, words in WORDS.items():
            part = "test" if number >= 20 else "train"
            lines.append(f"{words[number % 3]} and {words[(number + 1) % 3]} {number},{label},w{number},{part}")
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def settings(texts, *overrides, count=3):
    fixed = (f"data.path={texts}", "data.kind=text", "data.fold=all", "data.columns.group=writer")
    return config.load(
        overrides=[
            *fixed,
            "data.columns.targets=label",
            "fit.epochs=2",
            "fit.global_batch_size=16",
            f"data.folds={count}",
            *overrides,
        ]
    )


def weights(run):
    found = {}
    with (
        zipfile.ZipFile(run / "model.keras") as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
    ):
        file.visititems(
            lambda name, item: found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
    return found


@pytest.fixture(scope="module")
def whole(texts, tmp_path_factory):
    """A cross-validation that nothing disturbs."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    return recipe.run_folds(settings(texts, count=2), directory)


@pytest.mark.slow
def test_every_example_is_predicted_by_the_fold_that_has_not_seen_it(texts, whole):
    pooled = predictions.read(whole.directory / "predictions/out_of_fold.npz")
    listing = plan.listing(settings(texts, count=2))
    rest = listing.examples.subset(np.flatnonzero(listing.predefined_split != "test"))
    assert sorted(pooled.digests.tolist()) == sorted(data.overlap.digests(rest).tolist())
    assert whole.measures["count"] == len(pooled) == 60
    for fold in range(2):
        run = whole.directory / f"fold_{fold}"
        of_fold = pooled.slices["fold"] == str(fold)
        with np.load(run / "example_digests.npz") as parts:
            assert not np.isin(pooled.digests[of_fold], parts["train"]).any()
            assert np.isin(pooled.digests[~of_fold], parts["train"]).all()
        own = predictions.read(run / "predictions/validation.npz")
        assert np.array_equal(pooled.outputs[of_fold], own.outputs)
        assert config.load(run / "config.yaml").data.fold == fold
    # A writer is never divided, so that none of them is in two folds.
    groups = dict(zip(listing.examples.keys, listing.examples.groups, strict=True))
    fold_of = {}
    for key, fold in zip(pooled.keys, pooled.slices["fold"], strict=True):
        assert fold_of.setdefault(groups[key], fold) == fold


@pytest.mark.slow
def test_the_summary_is_computed_from_the_folds(whole):
    summary = json.loads((whole.directory / "folds.json").read_text())
    assert summary == whole.summary
    metrics = [json.loads((whole.directory / f"fold_{fold}/metrics.json").read_text()) for fold in range(2)]
    for part in ("validation", "test"):
        values = [each[part]["accuracy"] for each in metrics]
        assert summary["measures"][part]["accuracy"]["values"] == values
        assert summary["measures"][part]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert [record["examples"]["validation"] for record in summary["folds"]] == [30, 30]
    assert json.loads((whole.directory / "metrics.json").read_text()) == {"out_of_fold": whole.measures}
    assert summary["next"].endswith(
        "config.yaml data.folds=null data.fold=0 data.validation_fraction=0.1 export.formats=null"
    )
    assert "out_of_fold" in (whole.directory / "report.html").read_text()


@pytest.mark.chaos
def test_a_fold_is_the_run_of_that_fold_alone(texts, whole, tmp_path):
    alone = config.folds.of_fold(settings(texts, count=2), 1)
    training_run.run(alone, tmp_path / "alone")
    assert weights(tmp_path / "alone") == weights(whole.directory / "fold_1")


@pytest.mark.chaos
def test_a_killed_cross_validation_ends_as_an_undisturbed_one(texts, whole, tmp_path, monkeypatch):
    directory = tmp_path / "run"
    fit_phase, write, summarize = fitting.fit_phase, report.write, folds.summarize

    def interrupted_once(stage, *arguments, **options):
        monkeypatch.setattr(fitting, "fit_phase", fit_phase)
        stage = dataclasses.replace(stage, callbacks=[*stage.callbacks, InterruptAfter(4)])
        return fit_phase(stage, *arguments, **options)

    def fail(*arguments):
        raise Interrupted

    monkeypatch.setattr(fitting, "fit_phase", interrupted_once)
    with pytest.raises(Interrupted):
        recipe.run_folds(settings(texts, "fit.checkpoint_every=1 steps", count=2), directory)
    monkeypatch.setattr(report, "write", fail)  # after the training of the first fold
    with pytest.raises(Interrupted):
        recipe.resume_folds(directory)
    monkeypatch.setattr(report, "write", write)
    monkeypatch.setattr(folds, "summarize", fail)
    with pytest.raises(Interrupted):
        recipe.resume_folds(directory)
    assert sorted(path.name for path in directory.glob("fold_*/finished.json")) == ["finished.json"] * 2
    monkeypatch.setattr(folds, "summarize", summarize)
    recipe.resume_folds(directory)
    for fold in range(2):
        assert weights(directory / f"fold_{fold}") == weights(whole.directory / f"fold_{fold}")
    for name in ("metrics.json", "predictions/out_of_fold.npz"):
        assert (directory / name).read_bytes() == (whole.directory / name).read_bytes()
    with pytest.raises(InputError, match="the cross-validation in .* is finished"):
        recipe.resume_folds(directory)


@pytest.fixture
def quick(monkeypatch):
    """Replaces the training of a fold by one that answers at once; returns the moments at which it was, to be killed there."""
    moments, kills = [], []

    def at(moment):
        moments.append(moment)
        if kills and moment == kills[0]:
            kills.clear()
            raise Interrupted

    def carry_out(settings, folder, open_directory, *, load):
        settings = config.automatic.unmeasured(settings)  # which a run has done before it writes them
        split = load(settings, None, log=True)
        at(("read", folder.name))
        with open_directory(folder, settings, data_sha256=data.fingerprint(split)):
            at(("opened", folder.name))
            digests = {name: data.overlap.digests(part) for name, part in split.parts.items()}
            np.savez(folder / "example_digests.npz", **digests)
            part, random = split.validation, np.random.default_rng(settings.data.fold)
            answers = Predictions(
                *(part.targets, random.normal(size=(len(part), 3)), part.labels, part.task),
                keys=part.keys,
                digests=digests["validation"],
            )
            predictions.write(answers, folder / "predictions/validation.npz")
            accuracy = float((answers.outputs.argmax(axis=1) == answers.targets).mean())
            measured = {"validation": {"task": "single_label", "accuracy": accuracy}}
            (folder / "metrics.json").write_text(json.dumps(measured))
            at(("measured", folder.name))
            run_directory.finish(folder, 1.0)
        return training_run.RunResult(folder, None, measured, {}, 1.0)

    monkeypatch.setattr(training_run, "carry_out", carry_out)
    write = report.write
    monkeypatch.setattr(report, "write", lambda directory: (at(("report", directory.name)), write(directory)))
    return moments, kills


def content(directory):
    kept = [path for path in directory.rglob("*") if path.suffix in (".json", ".npz", ".yaml")]
    return {
        path.relative_to(directory): path.read_bytes()
        for path in kept
        if path.name not in ("environment.json", "finished.json")
    }


@pytest.mark.slow
def test_a_cross_validation_killed_at_any_moment_ends_alike(texts, tmp_path, quick):
    moments, kills = quick
    recipe.run_folds(settings(texts), tmp_path / "run")
    whole = content(tmp_path / "run")
    assert len(moments) == 3 * 3 + 1
    page = (tmp_path / "run/report.html").read_text()
    assert all(f'<a href="fold_{fold}/report.html">fold_{fold}</a>' in page for fold in range(3))
    assert "data.folds=null data.fold=0 data.validation_fraction=0.1 export.formats=null</pre>" in page
    assert "Measures: out_of_fold" in page
    assert not (tmp_path / "run/model_card.md").exists()
    shutil.rmtree(tmp_path / "run")
    for moment in [
        ("read", "fold_0"),
        ("opened", "fold_0"),
        ("read", "fold_1"),
        ("report", "run"),
    ]:
        kills.append(moment)
        with pytest.raises(Interrupted):
            recipe.run_folds(settings(texts), tmp_path / "run")
        if moment == ("read", "fold_0"):  # Nothing is written before the data are known to be usable.
            assert not (tmp_path / "run").exists()
            continue
        moments.clear()
        result = recipe.resume_folds(tmp_path / "run")
        repeated = {name for name in ("fold_0", "fold_1", "fold_2") if ("read", name) in moments}
        assert repeated == {
            name for name in ("fold_0", "fold_1", "fold_2") if moment[0] != "report" and name >= moment[1]
        }
        assert content(tmp_path / "run") == whole
        assert result.summary["measures"]["validation"]["accuracy"]["mean"] == pytest.approx(1 / 3, abs=0.2)
        shutil.rmtree(tmp_path / "run")


def test_changed_data_are_not_mixed_with_finished_folds(texts, tmp_path, quick):
    copy = tmp_path / "texts.csv"
    copy.write_text(texts.read_text())
    quick[1].append(("read", "fold_1"))
    with pytest.raises(Interrupted):
        recipe.run_folds(settings(copy), tmp_path / "run")
    copy.write_text(copy.read_text().replace("saw and hammer 0,", "saw and axe 0,"))
    with pytest.raises(InputError, match="only be resumed with the data that it was started with"):
        recipe.resume_folds(tmp_path / "run")
    assert not (tmp_path / "run/fold_1").exists()
    with pytest.raises(InputError, match="config that it was started with. Received: data.folds=4 .in the run 3."):
        recipe.resume_folds(tmp_path / "run", settings(copy, count=4))


def test_the_data_are_read_once_for_all_folds(texts, tmp_path, quick, monkeypatch):
    reads, read = [], building.data.read_listing
    monkeypatch.setattr(building.data, "read_listing", lambda *a, **k: (reads.append(1), read(*a, **k))[1])
    recipe.run_folds(settings(texts), tmp_path / "run")
    assert len(reads) == 1


def test_nothing_is_written_for_data_that_cannot_be_split(texts, tmp_path):
    with pytest.raises(
        InputError, match="class .bird. occurs in only 20 groups .*, too few for 21 parts, since a group"
    ):
        recipe.run_folds(settings(texts, count=21), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_each_door_takes_its_own_config(texts, tmp_path):
    everything = settings(texts)
    with pytest.raises(InputError, match="`data.fold` must be the number of a fold here. Received: all"):
        recipe.run(everything, tmp_path / "run")
    with pytest.raises(InputError, match="needs a config with data.fold=all. Received: 1."):
        recipe.run_folds(config.folds.of_fold(everything, 1), tmp_path / "run")
    assert everything.export.formats == ()
    of_workers = settings(texts, "runtime.strategy=multi_worker", "export.formats=[saved_model]")
    (tmp_path / "config.yaml").write_text(config.dump(of_workers))
    command = shlex.split(config.folds.final_command(of_workers, tmp_path))
    final = config.load(command[2], command[3:])
    assert (final.data.folds, final.data.fold, final.runtime.strategy) == (None, 0, "auto")
    assert final.export.formats == ("saved_model",)
    assert settings(texts, "export.formats=[saved_model]").export.formats == ("saved_model",)
    assert fold_plan.sizes(everything, plan.listing(everything)) == [
        {"train": 39, "validation": 21, "test": 6},
        {"train": 39, "validation": 21, "test": 6},
        {"train": 42, "validation": 18, "test": 6},
    ]


def test_an_error_of_a_fold_names_the_run_that_is_resumed(texts, tmp_path, monkeypatch):
    def carry_out(settings, folder, *arguments, **options):
        raise InputError(f"Finish the run without onnx: kerastrain train --resume {folder} export.formats='[]'")

    monkeypatch.setattr(training_run, "carry_out", carry_out)
    with pytest.raises(InputError) as error:
        recipe.run_folds(settings(texts), tmp_path / "run")
    assert str(error.value).endswith(f"kerastrain train --resume {tmp_path / 'run'} export.formats='[]'")
