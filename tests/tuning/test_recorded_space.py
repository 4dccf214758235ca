import numpy as np
import pytest

from kerastrain.tuning import parameters, recorded_space


@pytest.mark.parametrize("sampling", ["linear", "log", "reverse_log"])
def test_a_number_is_where_the_search_draws_it(sampling):
    interval = parameters.Interval(0.001, 0.9, sampling)
    [key] = recorded_space.read({"k": {"min": 0.001, "max": 0.9, "sampling": sampling}}, [])
    for fraction in (0.0, 0.1, 0.5, 0.99):
        np.testing.assert_allclose(key.fraction(interval.at(fraction)), fraction, atol=1e-12)


def test_values_that_the_space_lacks_are_added():
    space = {"a": [1, None], "b": {"min": 1, "max": 2}, "c": {"choices": [0]}}
    keys = {key.name: key for key in recorded_space.read(space, [{"a": [], "b": 5}, {"d": "x"}, {"b": 0, "a": 1.0}])}
    assert keys["a"].choices == (1.0, None, [])
    assert (keys["b"].low, keys["b"].high) == (0, 5)
    assert keys["c"].choices == (0,)
    assert keys["d"].choices == ("x",)
    assert keys["a"].index([]) == 2
    [odd] = recorded_space.read({"b": {"min": 1, "max": 2}}, [{"b": "auto"}])
    assert odd.choices == ("auto",)
