"""Pairs of a chosen and a rejected answer through `check`, `data scan` and `data preview`, without TensorFlow."""

import json
import sys

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from language_folders import write_language_model

from kerastrain import cli

ROWS = [{"prompt": f"What is {number}?", "chosen": "Four.", "rejected": "two and"} for number in range(20)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_language_model(tmp_path_factory.mktemp("models") / "llama", max_position_embeddings=64)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, model):
    def run(command, rows, *overrides):
        """The exit code, and what the command prints."""
        path = tmp_path / "pairs.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        settings = (
            "data.kind=chat",
            f"data.path={path}",
            f"model.backbone={model}",
            "fine_tune.lora_rank=2",
            *overrides,
        )
        monkeypatch.setattr(sys, "argv", ["kerastrain", *command.split(), *settings])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, (printed.out + printed.err).replace(f"'{path}'", "FILE")

    return run


def test_scan_says_what_is_learned_of_pairs_and_what_is_skipped(run):
    others = [
        {"prompt": "p", "response": "r"},
        {"prompt": "q", "chosen": "same", "rejected": "same"},
        {"prompt": "What is 0?", "chosen": "two and", "rejected": "Four."},
        {"prompt": "w", "chosen": "x " * 40 + "a", "rejected": "x " * 40 + "b"},
    ]
    code, printed = run("data scan", [*ROWS, *others], "fit.objective=dpo", "fit.dpo_beta=0.3", "data.test_fraction=0")
    assert code == 0
    for line in (
        "layout: one JSON object per line, 22 rows with 'prompt', 'chosen' and 'rejected' and 1 row with 'prompt' and "
        "'response'",
        "objective: direct preference optimization of 22 pairs of answers, beta 0.3; the reference is the model without its "
        "LoRA matrices",
        "note: 2 pairs that another pair contradicts: chosen here, rejected there",
        "incomplete: line 22 of FILE: its chosen and rejected answers are equal",
        "incomplete: line 21 of FILE: it has no rejected answer",
        "incomplete: line 24 of FILE: its chosen and rejected answers have the same tokens",
        "21 of 24 conversations can be used",
    ):
        assert line in printed
    assert printed.count("\nchosen sequences: ") == printed.count("\nrejected sequences: ") == 1


def test_without_the_objective_only_chosen_answers_are_learned_which_is_said(run):
    code, printed = run("check", ROWS)
    assert code == 0
    assert (
        "note: 20 conversations with a rejected answer, which is not learned: only the chosen ones are. fit.objective=dpo "
        "learns which of both is better" in printed
    )
    assert "│ 2 x 2 = 4  │" not in printed
    assert "0.022" in printed


def test_check_plans_pairs_and_preview_shows_both_answers(run):
    code, printed = run("check", ROWS, "fit.objective=dpo", "fit.global_batch_size=4", "fit.epochs=2")
    assert code == 0
    assert "2 x 4 = 8" in printed
    assert "0.0022" in printed
    code, printed = run("data preview", ROWS, "fit.objective=dpo", "fit.global_batch_size=1")
    assert code == 0
    lines = printed.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith(("chosen", "rejected"))] == ["chosen", "rejected"]
    assert [line for line in lines if line.startswith("  learned")] == [
        "  learned  F·ou·r·.·<|im_end|>",
        "  learned  tw·o· an·d·<|im_end|>",
    ]


def test_near_misses_are_refused_in_a_sentence(run):
    for rows, overrides, sentence in (
        (
            [{"prompt": f"{n}", "response": "r"} for n in range(20)],
            [],
            "`fit.objective=dpo` learns from pairs of answers, and FILE has no rejected ones. Received: one JSON object per "
            "line, with 'prompt' and 'response'. Give columns prompt, chosen and rejected,",
        ),
        (
            [{"chosen": "The sky is blue", "rejected": "The sky is green"}],
            [],
            "line 1 of FILE: it has no prompt: neither a column with it, nor messages that its chosen and rejected",
        ),
        (
            [{"prompt": f"{n}", "chosen": "x " * 40 + "a", "rejected": "x " * 40 + "b"} for n in range(20)],
            [],
            "no pair of answers is left to learn. Received: 14 examples that cannot be used, such as line ",
        ),
    ):
        code, printed = run("check", rows, "fit.objective=dpo", *overrides)
        assert code == 2
        assert sentence in printed
        assert "Traceback" not in printed
