"""Cuts a module at its feature maps: images to maps, and maps to outputs.

Takes a `HubLayer`; returns its two `Halves`, whose composition was compared with the module. A module's function is a graph:
its calls are inlined, its variables are frozen, and what only orders operations is dropped, since it would tie everything to
the input. Must not change the module.

References: `tf.compat.v1.wrap_function(...).prune`, https://www.tensorflow.org/api_docs/python/tf/compat/v1/wrap_function.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, unknown
from kerastrain.hub.layer import HubLayer
from kerastrain.hub.spatial_tensors import SpatialTensor, depends_on, spatial_tensors
from kerastrain.keras_internals.frozen_graphs import frozen

TOLERANCE = 1e-3
"""The largest difference of two outputs that count as equal, as a share of the largest output."""

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


class CannotCut(InputError):
    """A module has no feature maps that it could be cut at; the message is a reason, such as "its pooling comes first"."""


@dataclasses.dataclass(frozen=True)
class Halves:
    """A module in two parts, with the weights that it had when it was cut.

    Args:
        name: str, the layer of the module whose output the maps are.
        names: tuple of str, all layers that it can be cut at.
        maps: callable from images to float32 maps (batch, height, width, channels).
        outputs: callable from images and maps to the outputs of the layer. Images only matter where a path leads past the
            maps.
    """

    name: str
    names: tuple[str, ...]
    maps: Callable[[tf.Tensor], tf.Tensor]
    outputs: Callable[[tf.Tensor, tf.Tensor], object]


def cut(layer: HubLayer, image_shape: tuple[int, ...], *, name: str | None = None) -> Halves:
    """Cuts a module at its last feature maps before the pooling.

    Args:
        layer: HubLayer of a module of images.
        image_shape: tuple of int, height, width and channels of the images that the layer gets.
        name: str, the layer of the module to cut at, or the end of its name; None for the last one that every path from the
            images to the outputs passes.

    Returns:
        Halves.

    Raises:
        CannotCut: there are no such maps, attention mixes their positions afterwards, no gradient flows back to them, or the
            halves do not compute what the module computes.
        InputError: no layer of the module has this name; the message lists them.
    """
    graph, source, outputs, structure = _imported(layer, image_shape)
    found = spatial_tensors(graph.graph, source, outputs)
    chosen = _chosen(found, name)
    needs_images = depends_on(outputs, source, without=chosen.tensor)
    first = graph.prune(feeds=[source], fetches=[chosen.tensor])
    feeds = [source, chosen.tensor] if needs_images else [chosen.tensor]
    second = graph.prune(feeds=feeds, fetches=outputs)
    dtypes = (source.dtype, chosen.tensor.dtype)

    def to_maps(images):
        (maps,) = first(tf.cast(images, dtypes[0]))
        return tf.cast(maps, tf.float32)

    def to_outputs(images, maps):
        values = [tf.cast(images, dtypes[0]), tf.cast(maps, dtypes[1])] if needs_images else [tf.cast(maps, dtypes[1])]
        results = tf.nest.pack_sequence_as(structure, second(*values), expand_composites=True)
        return layer.finish(images, results)

    halves = Halves(chosen.name, tuple(item.name for item in found), to_maps, to_outputs)
    _check(layer, halves, image_shape)
    return halves


def _imported(layer: HubLayer, image_shape: tuple[int, ...]):
    """The graph without calls and control inputs, its input and its outputs, and the structure of these."""
    images = tf.TensorSpec((None, *image_shape), tf.float32)
    function = tf.function(layer.infer).get_concrete_function(images)
    structure = function.structured_outputs
    definition, source, outputs = _frozen(function)
    has_calls, own = any(node.op in _CALLS for node in definition.node), layer.graph
    if has_calls and own is not None and len(own.inputs) - len(own.captured_inputs) == 1:
        # Functions with the variables of TensorFlow 1, which are tensors, cannot be inlined. The signature itself has no calls.
        structure = layer.choose(own.structured_outputs)
        definition, source, _ = _frozen(own)
        outputs = [tensor.name for tensor in tf.nest.flatten(structure, expand_composites=True)]
    if any(node.op in _CALLS for node in definition.node):
        raise CannotCut("its graph calls functions that cannot be inlined")
    for node in definition.node:
        data = [text for text in node.input if not text.startswith("^")]
        del node.input[:]
        node.input.extend(data)
        # Shapes of the module's own tracing, which are less precise than those that follow from the size of the images.
        node.attr.pop("_output_shapes", None)
        if node.name == source.split(":")[0]:
            node.attr["shape"].shape.CopyFrom(images.shape.as_proto())
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
    tensor = imported.graph.get_tensor_by_name
    return imported, tensor(source), [tensor(output) for output in outputs], structure


def _frozen(function: object) -> tuple[object, str, list[str]]:
    """The definition of a function's graph with constants for variables, and the names of its input and outputs."""
    try:
        constant = frozen(function)
    except (ValueError, TypeError, NotImplementedError, tf.errors.OpError) as error:
        raise CannotCut(f"its graph cannot be frozen ({_first_line(error)})") from error
    return constant.graph.as_graph_def(), constant.inputs[0].name, [tensor.name for tensor in constant.outputs]


def _chosen(found: tuple[SpatialTensor, ...], name: str | None) -> SpatialTensor:
    if name is not None:
        matches = [item for item in found if item.name == name or item.name.endswith(f"/{name}")]
        if not matches:
            raise InputError(unknown("layer", name, _without_common_start([item.name for item in found])))
        return matches[-1]
    if not found:
        raise CannotCut("it computes no feature maps (batch, height, width, channels) that are larger than 1 by 1")
    passed = [item for item in found if item.is_passed_by_all]
    if not passed:
        raise CannotCut("its paths from the images to the outputs have no feature maps in common")
    if passed[-1].is_mixed_later:
        raise CannotCut("attention mixes the positions of its last feature maps afterwards")
    return passed[-1]


def _without_common_start(names: list[str]) -> list[str]:
    """Names without the models that all of them are in."""
    parts = [name.split("/") for name in names]
    while parts and min(map(len, parts)) > 1 and len({item[0] for item in parts}) == 1:
        parts = [item[1:] for item in parts]
    return ["/".join(item) for item in parts]


def _check(layer: HubLayer, halves: Halves, image_shape: tuple[int, ...]) -> None:
    """Checks on noise that the halves compute what the module computes, and that gradients flow back to the maps."""
    low, high = (0.0, 255.0) if layer.input_specs and layer.input_specs[0].dtype.is_integer else (0.0, 1.0)
    images = tf.constant(np.random.default_rng(0).uniform(low, high, (2, *image_shape)).astype("float32"))
    try:
        expected = layer.finish(images, layer.infer(images))
        with tf.GradientTape() as tape:
            maps = halves.maps(images)
            tape.watch(maps)
            outputs = halves.outputs(images, maps)
            total = tf.add_n([tf.reduce_sum(tf.cast(item, tf.float32)) for item in tf.nest.flatten(outputs)])
        gradient = tape.gradient(total, maps)
    except (LookupError, ValueError, TypeError, tf.errors.OpError) as error:
        raise CannotCut(f"its second half cannot be differentiated ({_first_line(error)})") from error
    if gradient is None:
        raise CannotCut("no gradient of its outputs reaches its feature maps")
    if maps.shape.rank != 4 or tuple(maps.shape[1:3]) == (1, 1):
        raise CannotCut(f"its last feature maps are {' by '.join(map(str, maps.shape[1:3]))}")
    difference = largest_difference(outputs, expected)
    if not difference <= TOLERANCE:
        raise CannotCut(f"its halves differ from it by {difference:.2g} of its largest output")


def largest_difference(outputs: object, expected: object) -> float:
    """The largest difference between the outputs of the halves and of the module.

    Args:
        outputs: nest of tensors.
        expected: nest of tensors of the same structure.

    Returns:
        float >= 0, as a share of the largest absolute value of each of `expected`, at least 1.
    """
    shares = []
    for one, other in zip(keras.tree.flatten(outputs), keras.tree.flatten(expected), strict=True):
        one, other = (np.float64(tf.cast(tensor, tf.float32)) for tensor in (one, other))
        shares.append(np.abs(one - other).max() / max(1.0, np.abs(other).max()))
    return float(max(shares))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
