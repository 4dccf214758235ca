"""How a loaded module is called: which of its functions, with which inputs, and what is taken from its outputs.

Takes a module as `hub_modules.load` gives it and the choices of a `HubLayer`; gives one `Entry` with one way to call
it, be it a reusable SavedModel, a TF1 Hub module, a signature or a plain callable. Must not know of Keras layers.
"""

import dataclasses
import inspect
from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain.errors import InputError, unknown


@dataclasses.dataclass(frozen=True)
class Entry:
    """The one function of a module that a layer calls.

    Attributes:
        function: callable, from inputs and keyword arguments to a nest of tensors.
        takes_training: bool, whether it accepts a `training` argument.
        can_train: bool, False for signatures and TF1 modules, which know neither training nor batch norm's updates.
        output_key: str or None, the one entry of the outputs that is wanted.
        float_dtype: tf.DType of its floating-point inputs.
        input_specs: tuple of the tf.TensorSpec of its inputs, flattened; empty where the module does not tell.
        kind: str, for messages: "SavedModel", "signature" or "TF1 module".
    """

    function: Callable
    takes_training: bool
    can_train: bool
    output_key: str | None
    float_dtype: tf.DType
    input_specs: tuple
    kind: str

    def to_module(self, tensor: object) -> object:
        """`tensor` in the floating-point dtype that the module was saved with; any other tensor as it is."""
        if isinstance(tensor, tf.RaggedTensor | tf.SparseTensor):
            return tensor
        tensor = tf.convert_to_tensor(tensor)
        return tf.cast(tensor, self.float_dtype) if tensor.dtype.is_floating else tensor

    def choose(self, outputs: object) -> object:
        """The wanted part of the module's outputs.

        Raises:
            InputError: `output_key` is set, and the outputs are no dict or lack it.
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
    """The function of `module` that the choices name.

    Args:
        module: object from `hub_modules.load`, or a callable.
        source: str, the module's handle, for messages.
        signature: str, a signature's name; None for the module's own callable, or a TF1 module's "default".
        signature_outputs_as_dict: bool, whether all outputs of the signature are wanted, as a dict.
        output_key: str, the one output that is wanted.

    Returns:
        Entry.

    Raises:
        InputError: there is nothing to call, the signature does not exist, or the choices contradict each other.
    """
    is_tf1 = bool(getattr(module, "_is_hub_module_v1", False))
    if is_tf1:
        signature = signature or "default"
        if not signature_outputs_as_dict:
            output_key = output_key or "default"
    if signature is None:
        if signature_outputs_as_dict:
            raise InputError("`signature_outputs_as_dict` goes with a `signature`. Name one, or leave it out.")
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
    )


def signatures(module: object) -> str:
    """The signatures of a module in words: "serving_default(images: float32 (None, 8, 8, 3)) -> features"."""
    found = []
    for name, function in sorted((getattr(module, "signatures", None) or {}).items()):
        inputs = (f"{key}: {_words(spec)}" for key, spec in sorted(function.structured_input_signature[1].items()))
        found.append(f"{name}({', '.join(inputs)}) -> {', '.join(sorted(function.structured_outputs))}")
    return "; ".join(found)


def signature_tensors(module: object) -> dict[str, dict[str, dict[str, tf.TensorSpec]]]:
    """What each signature of a module takes and gives: {"serving_default": {"inputs": {...}, "outputs": {...}}}."""
    return {
        name: {"inputs": dict(function.structured_input_signature[1]), "outputs": dict(function.structured_outputs)}
        for name, function in sorted((getattr(module, "signatures", None) or {}).items())
    }


def needs_signature(module: object) -> bool:
    """Whether a module can be called through a signature alone, and does not say through which."""
    is_tf1 = bool(getattr(module, "_is_hub_module_v1", False))
    return not callable(module) and not is_tf1 and bool(getattr(module, "signatures", None))


def variables(module: object, attribute: str) -> list[tf.Variable]:
    """The numeric variables that a module lists under `attribute`, each once; a `None` among them is passed over."""
    found = {id(item): item for item in getattr(module, attribute, None) or () if isinstance(item, tf.Variable)}
    return [item for item in found.values() if item.dtype.is_numpy_compatible and item.dtype != tf.string]


def _callable_entry(module: object, source: str, output_key: str | None) -> Entry:
    if not callable(module):
        if getattr(module, "signatures", None):
            raise InputError(
                f"the SavedModel {source!r} cannot be called itself, only through a signature: set `signature` and "
                f"`output_key`. It has {signatures(module)}."
            )
        raise InputError(f"the SavedModel {source!r} holds nothing to call: no `__call__` and no signature.")
    specs = _traced_inputs(module)
    return Entry(
        function=module,
        # A loaded module tells its arguments only through its `__call__`, a plain function only by itself.
        takes_training=any("training" in inspect.signature(one).parameters for one in (module, module.__call__)),
        can_train=True,
        output_key=output_key,
        float_dtype=_float_dtype(specs),
        input_specs=tuple(specs),
        kind="SavedModel",
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


def _float_dtype(specs: object) -> tf.DType:
    dtypes = (getattr(spec, "dtype", None) for spec in keras.tree.flatten(specs))
    return next((dtype for dtype in dtypes if dtype is not None and dtype.is_floating), tf.float32)


def _words(spec: tf.TensorSpec) -> str:
    return f"{spec.dtype.name} {tuple(spec.shape) if spec.shape.rank is not None else 'of any shape'}"
