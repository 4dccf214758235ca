"""What the commands print, in interpreters of their own: each slow step has its line, and libraries have none."""

import os
import re
import subprocess
import sys

import pytest
import yaml

CHATTER = re.compile(
    r"absl|oneDNN|cuInit|XNNPACK|fully_quantize|Assets written|Traceback|deprecat|^[IWEF]\d{4} |^INFO|^WARNING|WARNING:",
    re.MULTILINE,
)
SMALL = ["data.image_size=[8, 8]", "fit.head_epochs=1", "fit.epochs=1", "fit.global_batch_size=256", "export.samples=8"]


def kerastrain(folder, *arguments, code=0):
    """(stdout, stderr) of the program in a new interpreter, where TensorFlow has not started."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_CPP")}
    done = subprocess.run(
        [sys.executable, "-c", "from kerastrain.cli import main; main()", *map(str, arguments)],
        cwd=folder,
        env={**environment, "XDG_STATE_HOME": str(folder / "state"), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def in_order(text, *lines):
    """Whether the lines start lines of a text, one after the other."""
    return re.search("^" + ".*^".join(map(re.escape, lines)), text, re.DOTALL | re.MULTILINE) is not None


@pytest.mark.slow
def test_doctor_says_that_tensorflow_starts_and_prints_yaml_only(tmp_path):
    printed, errors = kerastrain(tmp_path, "doctor")
    assert errors == ""
    assert printed.startswith("# starting TensorFlow\n")
    assert yaml.safe_load(printed)["strategy"]["auto"] == "none"


@pytest.mark.slow
def test_training_and_compression_say_each_slow_step_and_nothing_of_libraries(tmp_path):
    printed, errors = kerastrain(tmp_path, "train", *SMALL, "export.formats=[tflite_int8]", "--run", "run")
    assert errors == ""
    assert not CHATTER.search(printed), printed
    assert in_order(
        printed,
        "starting TensorFlow",
        "loading the backbone kerastrain:fractal_small",
        "computing the backbone's features of 1,618 examples",
        "tracing the first step of phase head",
        "tracing the first step of phase fine_tune",
        "writing model.keras",
        "exporting tflite_int8",
        "evaluating validation: 359 examples",
        "diagnosing the run",
        "comparing model_int8.tflite with the model on 8 inputs",
        "writing report.html",
        "verdict: ",
        "validation: 359 examples",
    )
    printed, errors = kerastrain(tmp_path, "compress", "run", "prune=null", "quantize=int8", "calibration_counts=[]")
    assert errors == ""
    assert not CHATTER.search(printed), printed
    assert in_order(
        printed,
        "starting TensorFlow",
        "loading the model of run",
        "reading the data of the run",
        "candidate 1 of 2: baseline_float32",
        "candidate 2 of 2: baseline_int8",
        "timing 2 files in turns",
    )


def test_a_reader_that_is_gone_gets_no_traceback(tmp_path):
    code = (
        "import logging, sys\n"
        "from kerastrain.cli import program\n"
        "program.app.registered_commands.clear()\n"
        "@program.app.command()\n"
        "def talk():\n"
        "    for _ in range(3):\n"
        "        logging.getLogger('kerastrain').info('a line')\n"
        "    print('the end', file=sys.stderr)\n"
        "sys.argv = ['kerastrain', 'talk']\n"
        "program.main()\n"
    )
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-c", code], stdout=writes, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writes)
    assert "the end" in done.stderr
    assert "Traceback" not in done.stderr
