"""What a module's graph does to its input before the first layer, and with which operation it ends.

Takes a concrete function; returns the arithmetic on the input, such as a division by 255, from which follows what pixel
values the module expects, and the name of the last operation. Looks into the functions that the graph calls. Must not
run the module.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Operations on the input that look at it without changing what follows.
_LOOKS = ("Shape", "ShapeN", "Rank", "Size", "Assert", "NoOp", "Greater", "GreaterEqual", "Less", "LessEqual")
# Operations that move or copy pixels without changing the range of their values.
_MOVES = (
    "Cast", "CheckNumerics", "CropAndResize", "EnsureShape", "ExpandDims", "Identity", "MirrorPad", "Pad", "PadV2",
    "PreventGradient", "Reshape", "ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor", "ReverseV2",
    "ScaleAndTranslate", "Slice", "Snapshot", "Squeeze", "StopGradient", "StridedSlice", "Transpose",
)  # fmt: skip
_CONSTANT_OPERATIONS = {
    "Add": np.add, "AddV2": np.add, "Div": np.divide, "Identity": np.asarray, "Maximum": np.maximum, "Mul": np.multiply,
    "Neg": np.negative, "RealDiv": np.divide, "Reciprocal": np.reciprocal, "Sqrt": np.sqrt, "Square": np.square,
    "Sub": np.subtract, "Rsqrt": lambda values: 1 / np.sqrt(values),
}  # fmt: skip
_MOST_VALUES = 4  # one for each channel


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation on the pixels.

    Args:
        name: str, the rest of a sentence about the module, such as "divides by 255".
        scale: float, the factor of all steps up to this one, the mean over the channels.
        offset: float, what all steps up to this one add to scaled pixels, the mean over the channels.
        limits: (low, high) that the values are clipped to by this step, either may be None; None for other steps.
    """

    name: str
    scale: float
    offset: float
    limits: tuple[float | None, float | None] | None = None


def input_steps(function: object) -> tuple[Step, ...]:
    """The arithmetic on the first input of a function, up to the first other operation.

    Casts, resizing, padding and transposing are passed over, also inside the functions that the graph calls. Ends where
    the input enters a layer, several operations at once, or arithmetic with numbers that are not constant.

    Args:
        function: tf ConcreteFunction of a loaded module.

    Returns:
        tuple of Step in the order of the graph; empty if the pixels enter the first layer as they are.
    """
    body = _outermost(function)
    found = []
    if function.graph.inputs:
        _follow(body, (function.graph.inputs[0].op.name, 0), _Affine(found))
    return tuple(found)


def last_operation(function: object, output: int = 0) -> str:
    """The operation that computes an output, such as "Softmax".

    Args:
        function: tf ConcreteFunction of a loaded module.
        output: int >= 0, the position of the output among the flattened outputs.

    Returns:
        str, the type of the operation, with copies and casts passed over.
    """
    tensor = function.graph.outputs[output]
    body, reference = _outermost(function), (tensor.op.name, tensor.value_index)
    while (node := body.nodes.get(reference[0])) is not None:
        called = body.called(node) if node.op in _CALLS else None
        if called is not None:
            body, _, results = called
            reference = results[reference[1]]
        elif node.op in ("Identity", "Cast", "Reshape", "Squeeze"):
            reference = _reference(node.input[0])
        elif node.op == "IdentityN":
            reference = _reference(node.input[reference[1]])
        else:
            return node.op
    return ""


def _outermost(function: object) -> "_Body":
    definition = function.graph.as_graph_def()
    names = [tensor.op.name for tensor in function.graph.inputs]
    captured = dict(zip(names[len(names) - len(function.captured_inputs) :], function.captured_inputs, strict=True))
    return _Body(
        definition.node, {item.signature.name: item for item in definition.library.function}, captured=captured
    )


class _Affine:
    """The steps so far, with their scale and offset for each channel."""

    def __init__(self, steps: list[Step]):
        self._steps, self._scale, self._offset = steps, np.ones(1), np.zeros(1)

    def add(self, operation: str, position: int, constant: np.ndarray) -> bool:
        """Adds an operation with a constant; returns whether it could be added."""
        limits = None
        if operation == "Mul":
            self._scale, self._offset = self._scale * constant, self._offset * constant
            name = (
                f"divides by {_text(1 / constant)}"
                if np.all(constant) and np.all(abs(constant) < 0.1)
                else f"multiplies by {_text(constant)}"
            )
        elif operation in ("RealDiv", "Div", "DivNoNan") and position == 0 and np.all(constant):
            self._scale, self._offset = self._scale / constant, self._offset / constant
            name = f"divides by {_text(constant)}"
        elif operation in ("Add", "AddV2", "BiasAdd", "Sub") and (operation != "Sub" or position == 0):
            change = -constant if operation == "Sub" else constant
            self._offset = self._offset + change
            name = f"subtracts {_text(-change)}" if np.all(change <= 0) else f"adds {_text(change)}"
        elif operation in ("Maximum", "Minimum") and constant.size == 1:
            limit = float(constant[0])
            limits = (limit, None) if operation == "Maximum" else (None, limit)
            name = f"clips at {limit:g}"
        else:
            return False
        if name in ("multiplies by 1", "divides by 1", "adds 0", "subtracts 0", "subtracts -0"):
            return True
        self._steps.append(Step(name, float(self._scale.mean()), float(self._offset.mean()), limits))
        return True


class _Body:
    """The nodes of a graph or function, with the constants that they can be traced to."""

    def __init__(self, nodes, library: Mapping, *, captured: Mapping | None = None, arguments: Mapping | None = None):
        self.nodes = {node.name: node for node in nodes}
        self._library, self._captured, self._arguments = library, captured or {}, arguments or {}
        self._uses = {}
        for node in nodes:
            for position, text in enumerate(node.input):
                if not text.startswith("^") and node.op not in _LOOKS:
                    self._uses.setdefault(_reference(text), []).append((node, position))

    def uses(self, tensor: tuple[str, int]) -> list:
        """The (node, input position) pairs that take a tensor."""
        return self._uses.get(tensor, [])

    def called(self, node) -> tuple["_Body", list[str], list[tuple[str, int]]] | None:
        """The body of the function that a node calls, the names of its arguments, and its results."""
        function = self._library.get(node.attr["f"].func.name)
        if function is None:
            return None
        names = [argument.name for argument in function.signature.input_arg]
        inputs = [_reference(text) for text in node.input if not text.startswith("^")]
        arguments = {name: (self, tensor) for name, tensor in zip(names, inputs, strict=False)}
        results = [_reference(function.ret[output.name]) for output in function.signature.output_arg]
        return _Body(function.node_def, self._library, arguments=arguments), names, results

    def constant(self, tensor: tuple[str, int], depth: int = 0) -> np.ndarray | None:
        """The values of a small constant tensor, one or one for each channel; None for any other tensor."""
        value = self._value(tensor, depth)
        if value is None or value.size > _MOST_VALUES or value.dtype.kind not in "fiu":
            return None
        return np.asarray(value, np.float64).reshape(-1)

    def _value(self, tensor: tuple[str, int], depth: int) -> np.ndarray | None:
        name = tensor[0]
        if depth > 30:
            return None
        if name in self._arguments:
            body, outer = self._arguments[name]
            return body._value(outer, depth + 1)
        if name in self._captured:
            captured = self._captured[name]
            return None if captured.dtype in (tf.resource, tf.variant, tf.string) else captured.numpy()
        node = self.nodes.get(name)
        if node is None:
            return None
        if node.op == "Const":
            return tf.make_ndarray(node.attr["value"].tensor)
        if node.op == "ReadVariableOp":
            return self._variable(_reference(node.input[0]), node.attr["dtype"].type)
        inputs = [_reference(text) for text in node.input if not text.startswith("^")]
        if node.op in ("Cast", "Reshape", "ExpandDims", "Squeeze"):
            return self._value(inputs[0], depth + 1)
        if node.op in _CALLS and (called := self.called(node)) is not None:
            body, _, results = called
            return body._value(results[tensor[1]], depth + 1)
        operation: Callable | None = _CONSTANT_OPERATIONS.get(node.op)
        operands = [self.constant(item, depth + 1) for item in inputs] if operation else [None]
        return None if any(operand is None for operand in operands) else operation(*operands)

    def _variable(self, tensor: tuple[str, int], dtype: int) -> np.ndarray | None:
        body, name = self, tensor[0]
        while name in body._arguments or (name in body.nodes and body.nodes[name].op == "Identity"):
            if name in body._arguments:
                body, (name, _) = body._arguments[name]
            else:
                name = _reference(body.nodes[name].input[0])[0]
        resource = body._captured.get(name)
        if resource is None or resource.dtype != tf.resource:
            return None
        value = tf.raw_ops.ReadVariableOp(resource=resource, dtype=tf.as_dtype(dtype))
        return value.numpy() if value.shape.num_elements() <= _MOST_VALUES else None


def _follow(body: _Body, tensor: tuple[str, int], affine: _Affine) -> tuple[str, int] | None:
    """Follows a tensor of pixels; returns the one that nothing in this body takes, or None after the last step."""
    while uses := body.uses(tensor):
        if len(uses) > 1:
            return None
        node, position = uses[0]
        if node.op in _CALLS:
            called = body.called(node)
            if called is None:
                return None
            inner, names, results = called
            end = _follow(inner, (names[position], 0), affine)
            if end not in results:
                return None
            tensor = (node.name, results.index(end))
        elif node.op == "IdentityN":
            tensor = (node.name, position)
        elif node.op in _MOVES and position == 0:
            tensor = (node.name, 0)
        else:
            others = [_reference(text) for text in node.input if not text.startswith("^")]
            if node.op == "ClipByValue" and position == 0:
                bounds = [body.constant(other) for other in others[1:]]
                operations = list(zip(("Maximum", "Minimum"), bounds, strict=True))
            elif len(others) == 2:
                operations = [(node.op, body.constant(others[1 - position]))]
            else:
                return None
            if not all(bound is not None and affine.add(name, position, bound) for name, bound in operations):
                return None
            tensor = (node.name, 0)
    return tensor


def _reference(text: str) -> tuple[str, int]:
    """The node and the output of "node", "node:1" or, in a function, "node:output:1"."""
    name, *rest = text.split(":")
    return name, int(rest[-1]) if rest and rest[-1].isdigit() else 0


def _text(values: np.ndarray) -> str:
    numbers = [f"{value:.4g}" for value in values]
    return numbers[0] if len(set(numbers)) == 1 else f"[{', '.join(numbers)}]"
