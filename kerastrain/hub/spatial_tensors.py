"""Which tensors of a graph are feature maps: (batch, height, width, channels) between the first convolution and the pooling.

Takes a tf.Graph without calls, its input and its outputs; returns the maps that every path from the input to the outputs
passes, and those that only some pass. Must not run the graph.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import tensorflow as tf

# Operations that read the shape of a tensor, through which no value of it reaches the output.
_READ_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "_FusedConv2D", "Conv2DBackpropInput", "QuantizedConv2D")
_MIX_POSITIONS = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "XlaDotV2")
# Operations whose output is their input, or shows it in another form only.
_COPIES = (
    "Identity",
    "IdentityN",
    "Cast",
    "Pad",
    "PadV2",
    "Transpose",
    "Reshape",
    "StopGradient",
    "Placeholder",
    "Snapshot",
)
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclasses.dataclass(frozen=True)
class SpatialTensor:
    """Feature maps inside a graph.

    Args:
        tensor: tf.Tensor (batch, height, width, channels) of floats.
        name: str, the name of the layer or operation that computes it.
        is_passed_by_all: bool, whether every path from the input to the outputs passes it.
        is_mixed_later: bool, whether attention mixes its positions afterwards.
    """

    tensor: tf.Tensor
    name: str
    is_passed_by_all: bool
    is_mixed_later: bool


def spatial_tensors(graph: tf.Graph, source: tf.Tensor, outputs: Sequence[tf.Tensor]) -> tuple[SpatialTensor, ...]:
    """Finds the feature maps of a graph.

    Args:
        graph: tf.Graph without calls.
        source: tf.Tensor, the images (batch, height, width, channels).
        outputs: sequence of tf.Tensor.

    Returns:
        tuple of SpatialTensor in the order of the graph, the last one of each layer.
    """
    operations = _between(graph, source, outputs)
    ahead = _reaching({operation.name for operation in operations if operation.type in _CONVOLUTIONS}, operations)
    mixed = {operation.name for operation in operations if _mixes_positions(operation)}
    before_mixing = _leading_to(mixed, operations)
    bottlenecks, layouts, found = _bottlenecks(operations, source, outputs), {source.name: "NHWC"}, {}
    for operation in operations:
        layout = layouts[operation.name] = _layout(operation, layouts)
        tensor = operation.outputs[0]
        is_maps = (
            operation.name in ahead
            and operation.type not in _COPIES
            and layout == "NHWC"
            and tensor.dtype.is_floating
            and tensor.shape.rank == 4
            and tuple(tensor.shape[1:3]) != (1, 1)
        )
        if is_maps:
            name = layer_name(operation.name)
            found.pop(name, None)  # The last operation of a layer computes its output, and has its place in the order.
            found[name] = SpatialTensor(tensor, name, operation.name in bottlenecks, operation.name in before_mixing)
    return tuple(found.values())


def layer_name(operation: str) -> str:
    """The name of the layer around an operation, without the names of calls.

    Args:
        operation: str, such as "StatefulPartitionedCall/net/conv_1/Relu".

    Returns:
        str, such as "net/conv_1"; the name of the operation itself if it is in no layer.

    Example:
        >>> layer_name("StatefulPartitionedCall/net/conv_1/Relu")
        'net/conv_1'
    """
    parts = [part for part in operation.split("/") if part not in ("Func", "") and "PartitionedCall" not in part]
    return "/".join(parts[:-1] or parts)


def depends_on(tensors: Iterable[tf.Tensor], source: tf.Tensor, *, without: tf.Tensor) -> bool:
    """Whether tensors need the source even if another tensor is given, be it only for its shape.

    Args:
        tensors: iterable of tf.Tensor.
        source: tf.Tensor.
        without: tf.Tensor that is given.
    """
    seen, waiting = set(), [tensor for tensor in tensors if tensor is not without]
    while waiting:
        tensor = waiting.pop()
        if tensor.name == source.name:
            return True
        if tensor.op.name not in seen:
            seen.add(tensor.op.name)
            waiting += [item for item in tensor.op.inputs if item.name != without.name]
    return False


def _between(graph: tf.Graph, source: tf.Tensor, outputs: Sequence[tf.Tensor]) -> list[tf.Operation]:
    """The operations between the source and the outputs, each after those that it takes tensors from."""
    order, seen, waiting = [], set(), [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting[-1]
        inputs = [item.op for item in operation.inputs if item.op.name not in seen]
        if inputs and operation.name not in seen:
            waiting += inputs
            continue
        waiting.pop()
        if operation.name not in seen:
            seen.add(operation.name)
            order.append(operation)
    reached, between = {source.op.name}, []
    for operation in order:
        if operation.type not in _READ_SHAPES and any(item.op.name in reached for item in operation.inputs):
            reached.add(operation.name)
            between.append(operation)
    return between


def _bottlenecks(operations: list[tf.Operation], source: tf.Tensor, outputs: Sequence[tf.Tensor]) -> set[str]:
    """The operations whose first output every path from the source to the outputs passes."""
    names = {operation.name for operation in operations}
    uses = {}
    for operation in operations:
        for item in {item.name: item for item in operation.inputs}.values():
            uses[item.name] = uses.get(item.name, 0) + 1
    for item in outputs:
        uses[item.name] = uses.get(item.name, 0) + 1
    # Whatever is computed and not yet used by all that take it: a bottleneck is all there is at its time.
    open_uses, found = {source.name: uses.get(source.name, 0)}, set()
    for operation in operations:
        for item in {item.name: item for item in operation.inputs}.values():
            if item.name in open_uses:
                open_uses[item.name] -= 1
                if not open_uses[item.name]:
                    del open_uses[item.name]
        open_uses.update({item.name: uses[item.name] for item in operation.outputs if item.name in uses})
        if operation.name in names and set(open_uses) == {operation.outputs[0].name}:
            found.add(operation.name)
    return found


def _reaching(starts: set[str], operations: list[tf.Operation]) -> set[str]:
    reached = set(starts)
    for operation in operations:
        if any(item.op.name in reached for item in operation.inputs):
            reached.add(operation.name)
    return reached


def _leading_to(ends: set[str], operations: list[tf.Operation]) -> set[str]:
    """The operations before `ends`, without these."""
    leading = set()
    for operation in reversed(operations):
        if operation.name in ends or operation.name in leading:
            leading.update(item.op.name for item in operation.inputs)
    return leading


def _mixes_positions(operation: tf.Operation) -> bool:
    """Whether an operation is the product of attention: of two tensors that both depend on the image."""
    if operation.type not in _MIX_POSITIONS or len(operation.inputs) < 2:
        return False
    return all(item.op.type != "Const" and not _is_constant(item) for item in operation.inputs)


def _is_constant(tensor: tf.Tensor, depth: int = 0) -> bool:
    operation = tensor.op
    if operation.type == "Const":
        return True
    inputs = list(operation.inputs)
    return bool(inputs) and depth < 20 and all(_is_constant(item, depth + 1) for item in inputs)


def _layout(operation: tf.Operation, layouts: dict[str, str]) -> str | None:
    """The order of the axes, "NHWC" or "NCHW"; None where that is not known."""
    if "data_format" in operation.node_def.attr:
        layout = operation.get_attr("data_format").decode()
        return layout if layout in ("NHWC", "NCHW") else None
    inputs = [layouts.get(item.op.name, layouts.get(item.name)) for item in operation.inputs]
    ranks = [item.shape.rank for item in operation.inputs]
    before = next((layout for layout, rank in zip(inputs, ranks, strict=True) if layout and rank == 4), None)
    if operation.type == "Transpose":
        order = tf.get_static_value(operation.inputs[1])
        order = None if order is None else tuple(order.tolist())
        return {("NHWC", _TO_NCHW): "NCHW", ("NCHW", _TO_NHWC): "NHWC"}.get((before, order))
    if operation.type == "Reshape" or not operation.outputs or operation.outputs[0].shape.rank != 4:
        return None
    return before
