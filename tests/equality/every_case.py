"""Every optimizer with every option on two devices, by `make equality`: too long for each run of the tests."""

import cases
import pytest
import test_equality_replicas
from test_equality_replicas import two_devices  # noqa: F401, a fixture


@pytest.mark.parametrize(("name", "option"), [case for case in cases.EVERY if case not in cases.QUICK])
def test_two_devices_equal_one_in_every_case(name, option, two_devices):  # noqa: F811
    test_equality_replicas.assert_equal_to_one_device(name, option, two_devices)
