"""Weights, loss and metrics after 20 steps on two devices are those of one, for every optimizer."""

import cases
import pytest

TOLERANCE = 1e-6
FIRST = [("adamw", "plain"), ("sgd", "all")]  # of the default tests


def assert_equal_to_one_device(name, option, strategy):
    together = cases.trained(name, option, strategy)
    weights, measures = cases.largest_differences(cases.trained_alone(name, option), together)
    print(f"{name} {option}: {weights:.2g} in weights, {measures:.2g} in measures")
    assert weights <= TOLERANCE
    assert measures <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "option"), [pytest.param(*case, marks=[] if case in FIRST else pytest.mark.slow) for case in cases.QUICK]
)
def test_two_devices_equal_one(name, option, two_devices):
    assert_equal_to_one_device(name, option, two_devices)
