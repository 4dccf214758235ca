"""Every optimizer with every option on two devices and in two processes, for `make equality`: too slow for the default
tests. `-s` prints the largest differences."""

import cases
import pytest
import test_equality_processes
import test_equality_replicas

pytestmark = pytest.mark.equality


@pytest.mark.parametrize(("name", "option"), [case for case in cases.EVERY if case not in cases.QUICK])
def test_two_devices_equal_one_in_every_case(name, option, two_devices):
    test_equality_replicas.assert_equal_to_one_device(name, option, two_devices)


@pytest.mark.multi_worker
def test_two_processes_equal_one_in_every_case(tmp_path, free_addresses):
    # All cases share one pair of processes, since starting a process takes longer than a case.
    addresses = free_addresses(2)
    test_equality_processes.assert_all_equal_one_process(addresses, cases.EVERY, tmp_path, timeout_seconds=3600)
