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


@given(st.integers(1, 10**9), st.sampled_from(["steps", "epochs", "%"]))
def test_what_a_duration_prints_parses_to_itself(value, unit):
    duration = durations.Duration(float(value % 100 if unit == "%" else value), unit)
    assert durations.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [
        ("500 steps", 500, None),
        ("1 step", 1, None),
        ("2 epochs", 500, None),
        ("0.001 epochs", 1, None),
        ("90 seconds", None, 90),
        ("1.5 minutes", None, 90),
        ("2 hours", None, 7200),
    ],
)
def test_interval_of_every_form(text, steps, seconds):
    interval = durations.parse_interval(text)
    assert interval.steps(steps_per_epoch=250) == steps
    assert interval.seconds == seconds


@pytest.mark.parametrize("text", ["", "0 steps", "1.5 steps", "-1 minutes", "5%", "10", "often", None, True, "1 week"])
def test_parse_interval_refuses_other_forms_with_a_sentence(text):
    with pytest.raises(InputError, match="an interval"):
        durations.parse_interval(text)


@given(st.integers(1, 10**9), st.sampled_from(["steps", "epochs", "seconds", "minutes", "hours"]))
def test_what_an_interval_prints_parses_to_itself(value, unit):
    interval = durations.Interval(float(value), unit)
    assert durations.parse_interval(str(interval)) == interval
