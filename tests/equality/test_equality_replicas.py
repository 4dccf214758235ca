"""Weights, loss and metrics after 20 steps on two devices are those of one, for every optimizer."""

import cases
import pytest

TOLERANCE = 1e-6
FIRST = [("adamw", "plain")]  # runs by default; the others are slow


def assert_equal_to_one_device(name, option, strategy):
    expected = cases.trained_on_one_device(name, option)
    weights, metrics = cases.largest_differences(expected, cases.trained(name, option, strategy))
    print(f"{name} {option}: {weights:.2g} in weights, {metrics:.2g} in metrics")
    assert weights <= TOLERANCE
    assert metrics <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "option"), [pytest.param(*case, marks=[] if case in FIRST else pytest.mark.slow) for case in cases.QUICK]
)
def test_two_devices_equal_one(name, option, two_devices):
    assert_equal_to_one_device(name, option, two_devices)
