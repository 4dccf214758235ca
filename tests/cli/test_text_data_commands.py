"""What `check` and `data scan` say about texts before anything is trained, without TensorFlow."""

import csv
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("texts")
    (place / "reviews" / "train").mkdir(parents=True)
    (place / "reviews" / "test").mkdir()
    good, bad = ([f"a {word} film {number}" for number in range(12)] for word in ("good", "bad"))
    files = {"train/pos.txt": [*good, good[0], bad[1], "?!"], "train/neg.txt": bad}
    files |= {"test/pos.txt": [good[5], "a new film"], "test/neg.txt": ["A BAD film: 7"]}
    for name, lines in files.items():
        (place / "reviews" / name).write_text("\n".join(lines) + "\n")
    return place


def printed(place, *arguments):
    code = "import sys; from kerastrain import cli\ntry: cli.main()\nfinally: print('tensorflow' in sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *lines, has_tensorflow = done.stdout.splitlines()
    assert has_tensorflow == "False"
    return lines


def test_scan_of_texts_lists_what_a_run_would_skip(place):
    lines = printed(place, "data", "scan", "data.kind=text", "data.path=reviews", "--out", "skipped.csv")
    assert "examples: 19 train, 4 validation, 3 test" in lines
    assert "26 of 30 texts can be used" in lines
    assert (
        "equal texts: skipped 1 duplicate, 1 copy of a held-out example, 2 with conflicting labels ('a bad film 1': its label "
        "is 'neg' here, and 'pos' where it occurs again; 'a good film 5': it is in the train part, and again in the test "
        "part; 'a good film 0': it occurs 2 times; and 1 more)"
    ) in lines
    with open(place / "skipped.csv") as file:
        assert list(csv.reader(file)) == [
            ["path", "kind", "reason"],
            ["a bad film 1", "contradiction", "its label is 'neg' here, and 'pos' where it occurs again"],
            ["a good film 5", "leakage", "it is in the train part, and again in the test part"],
            ["a good film 0", "duplicate", "it occurs 2 times"],
            ["a bad film 1", "contradiction", "its label is 'pos' here, and 'neg' where it occurs again"],
        ]


def test_check_says_what_the_network_will_see(place):
    network = ["model.backbone=keras:embedding", "model.sequence_length=5"]
    lines = printed(place, "check", "data.kind=text", "data.path=reviews", *network)
    assert "examples: 19 train, 4 validation, 3 test" in lines
    cut = next(line for line in lines if line.startswith("cut: "))
    assert cut.endswith(
        "have more than the 5 words and pairs of words of model.sequence_length; model.sequence_length=7 holds 95% of the "
        "texts whole"
    )
    near = (
        "near copies: 1 of 3 test texts (33.3%) is a training text but for case, white space or punctuation, such as "
    )
    assert f"{near}'A BAD film: 7'" in lines
