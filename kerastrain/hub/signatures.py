"""How a loaded module is called: which of its functions, with which inputs, and which of its outputs are returned.

Takes a module from `hub.modules.load` and the options of a `HubLayer`; returns an `Entry` that calls a reusable
SavedModel, a TF1 Hub module, a signature and a plain callable in the same way. Must not know of Keras layers.

The private name is `_is_hub_module_v1`, which `tensorflow_hub.load` and `hub.modules.load` set on TF1 modules;
`tests/hub/test_hub_layer.py` fails when it changes.
"""

import dataclasses
import inspect
from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain.errors import InputError, unknown


@dataclasses.dataclass(frozen=True)
class Entry:
    """The function of a module that a layer calls.

    Attributes:
        function: callable, from inputs and keyword arguments to a nest of tensors.
        takes_training: bool, whether `function` takes a `training` argument.
        can_train: bool, False for signatures and TF1 modules, which do not update batch norm.
        output_key: str or None, the entry of the outputs to return; None for all outputs.
        float_dtype: tf.DType of the floating-point inputs.
        input_specs: tuple of tf.TensorSpec, the flattened inputs; empty where the module does not declare them.
        kind: str, for messages: "SavedModel", "signature" or "TF1 module".
        graph: tf ConcreteFunction of the call without training, or None where the module has not been traced.
    """

    function: Callable
    takes_training: bool
    can_train: bool
    output_key: str | None
    float_dtype: tf.DType
    input_specs: tuple
    kind: str
    graph: object = None

    def to_module(self, tensor: object) -> object:
        """Converts a floating-point tensor to the dtype that the module was saved with.

        Args:
            tensor: tensor, array or number of any dtype.

        Returns:
            tensor of `float_dtype` if it was floating point, or rounded to the integers that the module's only input
            takes; ragged, sparse and other tensors as they are.
        """
        if isinstance(tensor, tf.RaggedTensor | tf.SparseTensor):
            return tensor
        tensor = tf.convert_to_tensor(tensor)
        if not tensor.dtype.is_floating:
            return tensor
        if len(self.input_specs) == 1 and self.input_specs[0].dtype.is_integer:
            dtype, whole = self.input_specs[0].dtype, tf.round(tensor)
            if dtype.size == 1:  # tf.saturate_cast would do this with an operation that TFLite lacks.
                whole = tf.minimum(tf.maximum(whole, float(dtype.min)), float(dtype.max))
            return tf.cast(whole, dtype)
        return tf.cast(tensor, self.float_dtype)

    def choose(self, outputs: object) -> object:
        """Picks the entry `output_key` of the outputs.

        Args:
            outputs: nest of tensors that the module returned.

        Returns:
            nest of tensors, all of `outputs` if `output_key` is None.

        Raises:
            InputError: `output_key` is set, and the outputs are not a dict or do not have this key.
        """
        if self.output_key is None:
            return outputs
        if not isinstance(outputs, dict):
            raise InputError(
                f"`output_key` picks from a dict of outputs. Received: output_key={self.output_key!r}, and the "
                f"module returns a {type(outputs).__name__}. Leave `output_key` out."
            )
        if self.output_key not in outputs:
            raise InputError(unknown("output_key", self.output_key, outputs))
        return outputs[self.output_key]


def entry(
    module: object,
    source: str,
    *,
    signature: str | None = None,
    signature_outputs_as_dict: bool | None = None,
    output_key: str | None = None,
) -> Entry:
    """The function of `module` that the options choose.

    Args:
        module: object from `hub.modules.load`, or a callable.
        source: str, the module's handle, for messages.
        signature: str, a signature's name; None for the module's own callable, or a TF1 module's "default".
        signature_outputs_as_dict: bool, whether to return all outputs of the signature as a dict.
        output_key: str, the output to return.

    Returns:
        Entry.

    Raises:
        InputError: the module cannot be called, the signature does not exist, or the options contradict each other.
    """
    is_tf1 = bool(getattr(module, "_is_hub_module_v1", False))
    if is_tf1:
        signature = signature or "default"
        if not signature_outputs_as_dict:
            output_key = output_key or "default"
    if signature is None:
        if signature_outputs_as_dict:
            raise InputError("`signature_outputs_as_dict` needs a `signature`. Set `signature`, or leave it out.")
        return _callable_entry(module, source, output_key)
    function = _signature(module, source, signature)
    names = sorted(function.structured_outputs)
    if not signature_outputs_as_dict and output_key is None:
        raise InputError(
            f"a signature returns a dict: set `output_key` to one of {', '.join(names)}, or "
            "`signature_outputs_as_dict=True`."
        )
    if signature_outputs_as_dict and output_key is not None:
        raise InputError("set either `output_key` or `signature_outputs_as_dict=True`, not both.")
    if output_key is not None and output_key not in names:
        raise InputError(unknown("output_key", output_key, names))
    specs = function.structured_input_signature[1]
    return Entry(
        function=_by_keyword(function, source, signature, sorted(specs)),
        takes_training=False,
        can_train=False,
        output_key=output_key,
        float_dtype=_float_dtype(specs),
        input_specs=tuple(specs[name] for name in sorted(specs)),
        kind="TF1 module" if is_tf1 else "signature",
        graph=function,
    )


def signatures(module: object) -> str:
    """The signatures of a module as text.

    Args:
        module: object from `hub.modules.load`.

    Returns:
        str, such as "serving_default(images: float32 (None, 8, 8, 3)) -> features"; several are joined by "; ".
    """
    texts = []
    for name, function in sorted((getattr(module, "signatures", None) or {}).items()):
        inputs = (
            f"{key}: {_dtype_and_shape(spec)}" for key, spec in sorted(function.structured_input_signature[1].items())
        )
        texts.append(f"{name}({', '.join(inputs)}) -> {', '.join(sorted(function.structured_outputs))}")
    return "; ".join(texts)


def signature_tensors(module: object) -> dict[str, dict[str, dict[str, tf.TensorSpec]]]:
    """The inputs and outputs of each signature of a module.

    Args:
        module: object from `hub.modules.load`.

    Returns:
        dict from a signature's name to {"inputs": {...}, "outputs": {...}}, both from names to tf.TensorSpec.
    """
    return {
        name: {"inputs": dict(function.structured_input_signature[1]), "outputs": dict(function.structured_outputs)}
        for name, function in sorted((getattr(module, "signatures", None) or {}).items())
    }


def needs_signature(module: object) -> bool:
    """Whether a module can be called only through a signature, which the caller must choose.

    Args:
        module: object from `hub.modules.load`.
    """
    is_tf1 = bool(getattr(module, "_is_hub_module_v1", False))
    return not callable(module) and not is_tf1 and bool(getattr(module, "signatures", None))


def variables(module: object, attribute: str) -> list[tf.Variable]:
    """The numeric variables that a module lists under `attribute`, without duplicates and `None`.

    Args:
        module: object from `hub.modules.load`.
        attribute: str, "variables" or "trainable_variables".

    Returns:
        list of tf.Variable in the module's order.
    """
    distinct = {id(item): item for item in getattr(module, attribute, None) or () if isinstance(item, tf.Variable)}
    return [item for item in distinct.values() if item.dtype.is_numpy_compatible and item.dtype != tf.string]


def _callable_entry(module: object, source: str, output_key: str | None) -> Entry:
    if not callable(module):
        if getattr(module, "signatures", None):
            raise InputError(
                f"the SavedModel {source!r} can only be called through a signature: set `signature` and `output_key`. "
                f"It has {signatures(module)}."
            )
        raise InputError(f"the SavedModel {source!r} cannot be called: it has no `__call__` and no signature.")
    specs = _traced_inputs(module)
    return Entry(
        function=module,
        # The arguments of a loaded module are known from its `__call__`, those of a plain function from the function.
        takes_training=any(
            "training" in inspect.signature(function).parameters for function in (module, module.__call__)
        ),
        can_train=True,
        output_key=output_key,
        float_dtype=_float_dtype(specs),
        input_specs=tuple(specs),
        kind="SavedModel",
        graph=_inference_graph(module),
    )


def _signature(module: object, source: str, name: str) -> Callable:
    known = getattr(module, "signatures", None) or {}
    if not known:
        raise InputError(f"the module {source!r} has no signatures. Received: signature={name!r}. Leave it out.")
    if name not in known:
        raise InputError(f"{unknown('signature', name, known)} The module {source!r} has {signatures(module)}.")
    return known[name]


def _by_keyword(function: Callable, source: str, name: str, inputs: list[str]) -> Callable:
    def call(values, **arguments):
        if isinstance(values, dict):
            return function(**values, **arguments)
        free = [key for key in inputs if key not in arguments]
        if len(free) != 1:
            raise InputError(
                f"the signature {name!r} of {source!r} takes a dict with {', '.join(inputs)}. "
                f"Received: a {type(values).__name__}."
            )
        return function(**{free[0]: values}, **arguments)

    return call


def _traced_inputs(module: object) -> list[tf.TensorSpec]:
    functions = getattr(module.__call__, "concrete_functions", None) or ()
    for function in functions:
        positional = function.structured_input_signature[0]
        if positional:
            return [spec for spec in keras.tree.flatten(positional[0]) if isinstance(spec, tf.TensorSpec)]
    return []


def _inference_graph(module: object) -> object | None:
    functions = getattr(module.__call__, "concrete_functions", None) or ()

    def trains(function) -> bool:
        return any(value is True for value in keras.tree.flatten(function.structured_input_signature))

    return next((function for function in functions if not trains(function)), next(iter(functions), None))


def _float_dtype(specs: object) -> tf.DType:
    dtypes = (getattr(spec, "dtype", None) for spec in keras.tree.flatten(specs))
    return next((dtype for dtype in dtypes if dtype is not None and dtype.is_floating), tf.float32)


def _dtype_and_shape(spec: tf.TensorSpec) -> str:
    return f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank is not None else 'of any shape'}"
