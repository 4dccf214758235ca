"""KerasHub's converters of timm are where `kerashub_converters` looks for them."""

import numpy as np
import pytest

from kerastrain.keras_internals import kerashub_converters

pytest.importorskip("keras_hub")


@pytest.mark.slow
def test_a_converter_asks_for_tensors_by_the_names_of_timm():
    asked = []

    class Ones(dict):
        def __missing__(self, name):
            asked.append(name)
            raise KeyError(name)

    with pytest.raises(KeyError, match=r"conv_stem\.weight"):
        kerashub_converters.build("efficientnet", "efficientnet_lite0", Ones(), (32, 32))
    assert asked == ["conv_stem.weight"]
    with pytest.raises(ValueError, match="shape"):
        kerashub_converters.build(
            "efficientnet", "efficientnet_lite0", {"conv_stem.weight": np.ones((2, 3, 3, 3))}, (32, 32)
        )
