"""A function as one graph without calls and variables.

Private here: `convert_variables_to_constants_v2` of `tensorflow.python.framework.convert_to_constants`, the only function of
TensorFlow 2 that inlines the calls of a graph and replaces its variables by their values. Read in TensorFlow 2.21.0;
`tests/keras_internals/test_frozen_graphs.py` fails when the name moves or becomes public. Must hold nothing else.
"""

import tensorflow as tf

try:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
except ImportError as error:
    raise ImportError(
        "kerastrain looks into TF Hub modules with tensorflow.python.framework.convert_to_constants."
        f"convert_variables_to_constants_v2. TensorFlow {tf.__version__} does not have it. Install tensorflow>=2.20,<2.22."
    ) from error


def frozen(function: object) -> object:
    """Inlines the functions that a function calls, and replaces its variables by constants.

    Args:
        function: tf ConcreteFunction.

    Returns:
        tf ConcreteFunction, whose graph changes no variable and reads none.
    """
    return convert_variables_to_constants_v2(function, lower_control_flow=False)
