"""`kerastrain data scan` and `data preview` for conversations and texts, on the tokenizer of a tiny model."""

import json
import sys

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from language_folders import write_language_model

from kerastrain import cli, data
from kerastrain.errors import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_language_model(tmp_path_factory.mktemp("models") / "llama")


def run(monkeypatch, capsys, *arguments):
    """The exit code, and what the command prints."""
    monkeypatch.setattr(sys, "argv", ["kerastrain", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as exit:
        code = exit.code or 0
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def chats(path, count=10, *others):
    rows = [{"prompt": f"What is {number}?", "response": f"Four {number} 👍"} for number in range(count)]
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in (*rows, *others)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"data.path={path}"


def test_scan_says_what_is_read_and_what_is_not(monkeypatch, capsys, tmp_path, model):
    path = chats(tmp_path / "qa.jsonl", 10, '{"prompt": "a"', {"prompt": "b", "response": ""})
    options = ("data.kind=chat", path, f"model.backbone={model}", "data.packing=true", "data.test_fraction=0")
    code, printed = run(monkeypatch, capsys, "data", "scan", *options, "--out", tmp_path / "skipped.csv")
    assert code == 0
    for line in (
        "layout: one JSON object per line, with 'prompt' and 'response'",
        "examples: 8 train, 2 validation",
        "messages: 10 of the assistant, 10 of the user",
        "10 of 12 conversations can be used",
        f"incomplete: line 11 of '{tmp_path / 'qa.jsonl'}': it is not valid JSON (expecting ',' delimiter)",
        f"incomplete: line 12 of '{tmp_path / 'qa.jsonl'}': it has no 'response'",
        "a run would stop: 16.67% of the conversations are unreadable, and data.unreadable_fraction allows 10.00%",
    ):
        assert line in printed
    assert "tokens: " in printed
    assert " are learned (" in printed
    assert (tmp_path / "skipped.csv").read_text().count("incomplete") == 2
    code, printed = run(monkeypatch, capsys, "data", "preview", *options)
    assert code == 2
    assert "2 of 12 examples of" in printed
    assert "cannot be used, more than the fraction 0.1 that `data.unreadable_fraction` allows: line 11" in printed


def test_preview_shows_what_is_learned(monkeypatch, capsys, tmp_path, model):
    options = ("data.kind=chat", chats(tmp_path / "qa.jsonl"), f"model.backbone={model}", "fit.global_batch_size=2")
    code, printed = run(monkeypatch, capsys, "data", "preview", *options)
    assert code == 0
    assert printed.count("\n  learned  F·ou·r· ·") == 2
    assert printed.count("·👍·<|im_end|>\n") == 2
    assert printed.count("  read     <|im_start|>·user·⏎·Wh·at· is· ·") == 2


def test_texts_are_scanned_too(monkeypatch, capsys, tmp_path, model):
    (tmp_path / "book.txt").write_text("The capital of France is Paris.\n\n" * 60)
    options = (
        "data.kind=language",
        f"data.path={tmp_path / 'book.txt'}",
        f"model.backbone={model}",
        "model.sequence_length=32",
    )
    code, printed = run(monkeypatch, capsys, "data", "scan", *options)
    assert code == 0
    assert "layout: one text" in printed
    assert "long: 1 text with more than 32 tokens, continued in the next sequence" in printed
    assert "3 of 3 texts can be used" in printed


def test_near_misses_are_refused_in_a_sentence(monkeypatch, capsys, tmp_path, model):
    path = chats(tmp_path / "qa.jsonl")
    for overrides, sentence in (
        ((f"model.backbone={tmp_path / 'none'}",), f"no folder at '{tmp_path / 'none'}': the path does not exist."),
        (
            (f"model.backbone={model}", "model.sequence_length=65"),
            "`model.sequence_length` must be at most 64, the places for tokens",
        ),
        (
            (f"model.backbone={model}", "data.chat_template=chatml"),
            "`data.chat_template` must be a file with a chat template",
        ),
        (
            (f"model.backbone={model}", "data.chat_template={{ x.y.z }}"),
            "cannot be learned: the chat template does not take it: 'x' is",
        ),
    ):
        code, printed = run(monkeypatch, capsys, "data", "scan", "data.kind=chat", path, *overrides)
        assert code == 2
        assert sentence in printed
        assert "Traceback" not in printed


def test_check_says_the_plan_of_a_language_model(monkeypatch, capsys, tmp_path, model):
    options = (
        "data.kind=chat",
        chats(tmp_path / "qa.jsonl"),
        f"model.backbone={model}",
        "fit.global_batch_size=2",
        "fit.epochs=3",
    )
    code, printed = run(monkeypatch, capsys, "check", *options)
    assert code == 0
    assert "examples: 7 train, 2 validation, 1 test" in printed
    assert "3 x 4 = 12" in printed
    with pytest.raises(
        InputError, match=r"are images or texts\. Received: data\.kind=chat, for language models, which `check`"
    ):
        data.listing(tmp_path / "qa.jsonl", kind="chat")
