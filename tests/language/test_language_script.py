"""The script of docs/language.md, on a tiny model in place of the one that it names."""

import re
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from language_folders import lines, write_language_model

from kerastrain import language
from kerastrain.language import adapter_files, adapters

DOCUMENT = Path(__file__).parents[2] / "docs" / "language.md"


@pytest.mark.slow
def test_the_script_of_the_page_trains_writes_and_saves(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (script,) = (block for block in blocks if "kt.language.load" in block)
    write_language_model(tmp_path / "SmolLM2-135M-Instruct", num_hidden_layers=1, max_position_embeddings=128)
    lines(tmp_path / "qa.jsonl", [{"prompt": f"Say {n}.", "response": "Paris is the capital."} for n in range(20)])
    monkeypatch.chdir(tmp_path)
    before = language.load("SmolLM2-135M-Instruct")
    sequences = language.examples("qa.jsonl", before)["validation"]
    perplexity = language.measure(before.model, sequences)["perplexity"]
    scope = {}
    exec(compile(script, str(DOCUMENT), "exec"), scope)
    printed = [float(line) for line in capsys.readouterr().out.splitlines() if re.fullmatch(r"\d+\.\d+", line)]
    assert printed[0] < perplexity
    exported = language.load("qa-model")
    assert exported.tokens.template == before.tokens.template
    adapter_files.read(before.model, "qa-adapter", before.network)
    adapters.merge(before.model)
    after = [language.measure(each.model, sequences)["perplexity"] for each in (exported, before)]
    assert after == pytest.approx(printed[:1] * 2, rel=1e-5)
