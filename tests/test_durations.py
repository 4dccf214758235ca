import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerastrain import durations
from kerastrain.errors import InputError


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("2 epochs", 500),
        ("1 epoch", 250),
        ("0.5 epochs", 125),
        ("500 steps", 500),
        ("5%", 50),
        (7, 7),
        ("7", 7),
        (0, 0),
    ],
)
def test_steps_of_every_form(text, steps):
    assert durations.parse(text).steps(steps_per_epoch=250, total_steps=1000) == steps


@pytest.mark.parametrize(
    "text", ["", "soon", "-1 steps", "3 weeks", "101%", "1.5 steps", "1.5", True, None, "5%%", "nan"]
)
def test_parse_refuses_other_forms_with_a_sentence(text):
    with pytest.raises(InputError, match="a duration"):
        durations.parse(text)


@given(st.integers(0, 10**9), st.sampled_from(["steps", "epochs"]))
def test_text_of_a_duration_parses_to_itself(value, unit):
    duration = durations.Duration(float(value), unit)
    assert durations.parse(f"{value} {unit}") == duration


@given(st.text(max_size=20))
def test_parse_either_understands_or_explains(text):
    try:
        assert durations.parse(text).value >= 0
    except InputError as error:
        assert repr(text) in str(error)
