"""Computes with the libraries transformers and peft, in a process of its own: PyTorch and TensorFlow do not share one well.

The environment variable KERASTRAIN_TRANSFORMERS names a Python that has them; without it the one that runs the tests.
"""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

_PROGRAM = """
import json, sys
import numpy as np, torch, transformers
task = json.loads(sys.argv[1])
torch.set_num_threads(1)
model = transformers.AutoModelForCausalLM.from_pretrained(task["folder"], dtype=torch.float32, attn_implementation="eager")
if task["adapter"]:
    import peft
    model = peft.PeftModel.from_pretrained(model, task["adapter"])
    model.save_pretrained(task["out"] + ".adapter")
model.eval()
results = {}
for number, prompt in enumerate(task["prompts"]):
    ids = torch.tensor([prompt])
    with torch.no_grad():
        results[f"logits_{number}"] = model(ids).logits.numpy()[0]
        options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0, **task["options"]}
        written = model.generate(input_ids=ids, **options)
    results[f"ids_{number}"] = written[0, len(prompt):].numpy()
if task["texts"]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(task["folder"])
    for number, text in enumerate(task["texts"]):
        results[f"text_{number}"] = np.array(tokenizer(text)["input_ids"])
    chat = [{"role": "user", "content": task["texts"][0]}]
    results["chat"] = np.array(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
np.savez(task["out"], **results)
"""


def computed(folder, out, prompts, adapter=None, texts=(), **options):
    """The logits of prompts, and the ids that transformers writes greedily after each; or skips the test.

    `texts` are read with the folder's tokenizer: `f"{out}.npz"` has "text_0", "text_1", …, and as "chat" the prompt for a reply
    to the first.
    """
    python = require_transformers(", peft" if adapter else "")
    task = {"folder": str(folder), "adapter": adapter and str(adapter), "prompts": prompts, "out": str(out)}
    task["texts"] = list(texts)
    arguments = [python, "-c", _PROGRAM, json.dumps({**task, "options": options})]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(f"{out}.npz")
    numbers = range(len(prompts))
    return [found[f"logits_{number}"] for number in numbers], [found[f"ids_{number}"].tolist() for number in numbers]


def require_transformers(more=""):
    """Skips the test without the libraries; returns the Python that has them."""
    python, libraries = os.environ.get("KERASTRAIN_TRANSFORMERS", sys.executable), f"torch, transformers{more}"
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")) and python == sys.executable:
        pytest.skip("needs a Python with torch and transformers in KERASTRAIN_TRANSFORMERS")
    if subprocess.run([python, "-c", f"import {libraries}"], capture_output=True).returncode:
        pytest.skip(f"needs {libraries} in {python}; see KERASTRAIN_TRANSFORMERS")
    return python
