"""Layouts, tables and arrays as people have them, with what `kerastrain check` says about each, word for word.

Each file in `tests/odd_data` describes data and ends with what is said about them. After a message has changed on purpose,
`python tests/support/odd_data.py --write tests/odd_data/*.yaml` writes the new ones; read them.
"""

from pathlib import Path

import odd_data
import pytest
import yaml

CASES = sorted((Path(__file__).parents[2] / "odd_data").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_odd_data_are_read_as_a_person_would(path):
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert odd_data.said(case) == case["says"]
