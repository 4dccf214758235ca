"""What is made within `garbage.lasting` is not searched for garbage, in this process as well as after an error."""

import contextlib
import gc

import pytest

from kerastrain.system import garbage


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_made_within_is_not_searched_for_garbage(fails):
    gc.collect()
    frozen = gc.get_freeze_count()
    with pytest.raises(ImportError) if fails else contextlib.nullcontext(), garbage.lasting():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
        if fails:
            raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(made)
    assert not any(one is made for one in gc.get_objects())


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    try:
        with garbage.lasting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
