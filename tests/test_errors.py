import pytest

from kerastrain.errors import ConfigError, is_whole_number, unknown


def test_unknown_names_the_list_and_the_nearest():
    assert unknown("schedule", "warmup_cosin", ["cosine", "warmup_cosine", "constant"]) == (
        "unknown schedule 'warmup_cosin'. Known: constant, cosine, warmup_cosine. Did you mean 'warmup_cosine'?"
    )


def test_unknown_offers_nothing_when_nothing_is_near():
    assert unknown("schedule", "xyz", ["cosine"]) == "unknown schedule 'xyz'. Known: cosine."


def test_config_error_lists_every_fault_with_its_path():
    error = ConfigError("recipe.yaml", [("fit.epochs", "must be > 0."), ("data", "missing.")])
    assert str(error) == "recipe.yaml has 2 faults:\n  fit.epochs: must be > 0.\n  data: missing."
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(("value", "expected"), [(3, True), (-1, True), (True, False), (3.0, False), ("3", False)])
def test_is_whole_number_accepts_ints_and_no_bools(value, expected):
    assert is_whole_number(value) is expected
