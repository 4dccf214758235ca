"""Rows of the table about commands from the shell, and about the files that they write."""

import json
import subprocess
import sys
from pathlib import Path

from rivals import contestants, log_times, photos
from rivals.lines import Line, where_time_went

HERE = Path(__file__).parent
BACKBONE = HERE.parents[1] / "saved_models" / "efficientnet_lite0"
PHOTOS = (600, 100)  # to train, validate and test on; the second number if quick
QUANTIZED = (1000, 400)  # the head of fewer is so undecided that its int8 file is refused
PREDICTED = (2070, 100)


def kerastrain(*words):
    """A command of kerastrain."""
    return [sys.executable, "-m", "kerastrain", *words]


def _train(folder, run, epochs, *keys):
    """The command that trains a head on the bundled backbone."""
    settings = [f"data.path={folder}", "data.image_size=[224, 224]", "model.backbone=kerastrain:efficientnet_lite0"]
    return kerastrain("train", *settings, f"fit.head_epochs={epochs}", *keys, "--run", run)


def _tflite_accuracy(path, folder, divide=1.0):
    command = [sys.executable, HERE / "tflite_accuracy.py", path, folder, "--divide", str(divide)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def model_maker(setting):
    """From a folder to an int8 file, against MediaPipe Model Maker with the same network, photos and epochs."""
    folder, epochs, work = photos.split(setting.work, setting.count(*QUANTIZED)), 10, setting.work
    test = folder / "test"

    def own_facts(turn, started, ended):
        run = work / f"int8_{turn}"
        parts = log_times.parts_of_run(run / "log.txt", started, ended)
        return {"accuracy": _tflite_accuracy(run / "exports" / "model_int8.tflite", test), "parts": parts}

    facts = contestants.alternate(
        {
            "kerastrain": contestants.Command(
                lambda turn: _train(
                    folder, work / f"int8_{turn}", epochs, "fit.epochs=0", "export.formats=[tflite_int8]"
                ),
                log=work / "int8.log",
                facts=own_facts,
            ),
            "Model Maker": contestants.Command(
                lambda turn: [
                    setting.python("model_maker"),
                    HERE / "model_maker_train.py",
                    *(folder, BACKBONE, work / f"model_maker_{turn}", "--epochs", epochs),
                ],
                log=work / "model_maker.log",
                facts=lambda turn, *_: {
                    "accuracy": _tflite_accuracy(work / f"model_maker_{turn}" / "model.tflite", test, 255)
                },
            ),
        },
        min(setting.repeats, 2),  # a turn of Model Maker takes minutes
    )
    work_name = f"folder → int8 file from the shell, EfficientNet-Lite0, head, {epochs} epochs, {_counted(folder)}"
    return [_line(work_name, "MediaPipe Model Maker", 0.25, facts, "Model Maker", "int8 file, Model Maker's row", 0.0)]


def fastai(setting):
    """From a folder to a saved model of the same accuracy, against fastai's `fine_tune` of the same network."""
    folder, work, epochs = photos.split(setting.work, setting.count(*PHOTOS)), setting.work, setting.count(2, 1)

    def own_facts(turn, started, ended):
        run = work / f"model_{turn}"
        measures = json.loads((run / "metrics.json").read_text())
        parts = log_times.parts_of_run(run / "log.txt", started, ended)
        return {"accuracy": measures["test"]["accuracy"], "parts": parts}

    facts = contestants.alternate(
        {
            "kerastrain": contestants.Command(
                lambda turn: _train(
                    folder, work / f"model_{turn}", setting.count(20, 2), "fit.epochs=0", "export.formats=[]"
                ),
                log=work / "model.log",
                facts=own_facts,
            ),
            "fastai": contestants.Command(
                lambda turn: [
                    setting.python("fastai"),
                    HERE / "fastai_train.py",
                    *(folder, work / f"fastai_{turn}", "--epochs", epochs),
                ],
                log=work / "fastai.log",
                facts=lambda turn, *_: {
                    "accuracy": json.loads((work / f"fastai_{turn}" / "accuracy.json").read_text())
                },
            ),
        },
        min(setting.repeats, 2),  # a turn of fastai takes minutes
    )
    work_name = f"folder → model from the shell, EfficientNet-Lite0, {_counted(folder)}; ours: head, 20 epochs"
    rival = f"fastai, `fine_tune({epochs})`"
    return [_line(work_name, rival, 0.5, facts, "fastai", "model, fastai's row", 0.5)]


def _counted(folder):
    return f"{sum(path.is_file() for path in folder.glob('train/*/*'))} photos to train"


def _line(work, rival, goal, facts, name, title, points):
    """A line of two commands with accuracies, and where the time of ours went."""
    own, others = facts["kerastrain"], facts[name]
    return Line(
        work,
        rival,
        goal,
        [fact["seconds"] for fact in own],
        [fact["seconds"] for fact in others],
        accuracies=tuple(sum(fact["accuracy"] for fact in each) / len(each) for each in (own, others)),
        points=points,
        notes=[f"{title}: {where_time_went(own)}."],
    )


def _run(setting, name, folder, epochs, *keys):
    """The folder of a finished run, which is trained if it is not there."""
    run = setting.work / name
    if not (run / "report.html").exists():
        command = _train(folder, run, epochs, "fit.epochs=0", *keys)
        contestants.Command(lambda turn: command, log=setting.work / f"{name}.log").turn()
    return run


def predict(setting):
    """The classes of a folder of photos in a CSV file, against plain Keras over `image_dataset_from_directory`."""
    work, (weights, _) = setting.work, photos.weights(setting.work, "MobileNetV2")
    keys = ("model.backbone=keras:MobileNetV2", f"model.weights={weights}", "export.formats=[]")
    run = _run(setting, "to_predict", photos.split(work, setting.count(*PHOTOS)), 1, *keys)
    folder = photos.flat(work, setting.count(*PREDICTED))
    arrays = work / "to_predict.npz"
    subprocess.run([sys.executable, HERE / "predict_keras.py", "--weights-of", run, arrays], check=True)
    facts = contestants.alternate(
        {
            "kerastrain": contestants.Command(
                lambda turn: kerastrain("predict", run, folder, "--out", work / f"own_{turn}.csv"),
                log=work / "predict_own.log",
            ),
            "Keras": contestants.Command(
                lambda turn: [
                    *(sys.executable, HERE / "predict_keras.py", "--photos", folder, "--network", "MobileNetV2"),
                    *("--weights", arrays, "--labels", run / "labels.txt", "--out", work / f"keras_{turn}.csv"),
                ],
                log=work / "predict_keras.log",
            ),
        },
        setting.repeats,
    )
    own, keras = (_classes(work / f"{name}_0.csv") for name in ("own", "keras"))
    same = sum(keras.get(name) == label for name, label in own.items()) / max(len(keras), len(own))
    return [
        Line(
            f"predict a folder of {len(own)} photos from the shell, MobileNetV2",
            "Keras over `image_dataset_from_directory`",
            0.8,
            [fact["seconds"] for fact in facts["kerastrain"]],
            [fact["seconds"] for fact in facts["Keras"]],
            notes=[f"Predictions: both say the same class for {same:.1%} of the photos."],
        )
    ]


def _classes(path):
    """{name of the photo: class} of a CSV file of predictions."""
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        return {Path(row["input"]).name: row["prediction"] for row in csv.DictReader(file)}


def exported_files(setting):
    """One photo at a time in the float and the int8 TFLite file, against ONNX Runtime on the ONNX files of the same network."""
    folder = photos.split(setting.work, setting.count(*QUANTIZED))
    run = _run(setting, "exported", folder, 10, "export.formats=[onnx, tflite_float32, tflite_int8]")
    options = [run / "exports", folder, "--threads", setting.threads, "--calls", setting.count(100, 10)]
    facts = contestants.alternate({"files": setting.process("file_speeds.py", *options)}, max(setting.repeats, 5))
    turns, accuracies = facts["files"], facts["files"][0]["accuracies"]
    return [
        Line(
            f"one photo in the {kind} file, EfficientNet-Lite0, {setting.threads} threads",
            f"ONNX Runtime, {kind}{', its static quantization' if kind == 'int8' else ''}",
            1.0,
            *([turn["milliseconds"][f"{runtime} {kind}"] for turn in turns] for runtime in ("TFLite", "ONNX")),
            unit="ms",
            accuracies=tuple(accuracies[f"{runtime} {kind}"] for runtime in ("TFLite", "ONNX")),
        )
        for kind in ("float", "int8")
    ]
