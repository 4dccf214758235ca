"""Conditions between searched keys, such as `optimizer.learning_rate * fit.global_batch_size <= 1`.

Takes the text of an expression; returns the keys in it and a function from their values to a truth value. Must not run code:
the text is parsed with `ast`, and only the operators below are computed.
"""

import ast
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kerastrain.errors import InputError, unknown

_FUNCTIONS = {"abs": abs, "len": len, "max": max, "min": min, "sum": sum}
_WORDS = {"true": True, "false": False, "null": None}  # as YAML has them
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: float(base) ** exponent,  # of whole numbers, 9 ** 9 ** 9 would never end
}
_SIGNS = {ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_}
_COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}
_EXAMPLE = "Write a comparison such as optimizer.learning_rate * fit.global_batch_size <= 1."
_LONGEST = 500  # characters; a longer chain of signs would exhaust the stack


@dataclass(frozen=True)
class Constraint:
    """A condition that every point of a search must meet.

    Args:
        text: str, the expression as it was written.
        keys: frozenset of str, the dotted keys in it.
        tree: ast.expr, the parsed expression.
    """

    text: str
    keys: frozenset[str]
    tree: ast.expr

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the values meet the condition.

        Args:
            values: mapping from every key of `keys` to its value.

        Raises:
            InputError: the expression cannot be computed with these values, such as a sum with null.
        """
        try:
            return bool(_value(self.tree, values))
        except (TypeError, ValueError, ArithmeticError) as error:
            shown = ", ".join(f"{key}={json.dumps(values[key])}" for key in sorted(self.keys))
            raise InputError(
                f"the constraint {self.text!r} cannot be computed: {error}. Received: {shown}. Leave such values out of the "
                "space, set them in the recipe, or say in the constraint what holds for them."
            ) from None


def parse(text: str) -> Constraint:
    """Reads a constraint.

    Args:
        text: str, an expression with dotted keys, numbers, quoted texts, lists, true, false and null; with + - * / // % **,
            comparisons, `in`, and, or, not, and the functions abs, len, max, min and sum.

    Returns:
        Constraint.

    Raises:
        InputError: the text is not such an expression, or it is not a condition.

    Example:
        >>> small = parse("optimizer.learning_rate * fit.global_batch_size <= 1")
        >>> sorted(small.keys), small.holds({"optimizer.learning_rate": 0.1, "fit.global_batch_size": 32})
        (['fit.global_batch_size', 'optimizer.learning_rate'], False)
    """
    if len(text) > _LONGEST:
        raise InputError(
            f"a constraint must have at most {_LONGEST} characters. Received: {len(text):,}. Write several."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"a constraint must be an expression. Received: {text!r}. {_EXAMPLE}") from None
    is_condition = isinstance(tree, ast.Compare | ast.BoolOp) or (
        isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
    )
    if not is_condition:
        raise InputError(f"a constraint must be a comparison. Received: {text!r}. {_EXAMPLE}")
    keys: set[str] = set()
    _check(tree, text, keys)
    return Constraint(text, frozenset(keys), tree)


def _check(node: ast.expr, text: str, keys: set[str]) -> None:
    """Collects the keys below a node, and refuses what a constraint may not contain."""
    if (key := _key(node)) is not None:
        if key not in _WORDS:
            keys.add(key)
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
        return
    if isinstance(node, ast.Call):
        name = _key(node.func)
        if name not in _FUNCTIONS or node.keywords or not node.args:
            received = f"{ast.unparse(node)!r} in the constraint {text!r}"
            raise InputError(f"{unknown('function', name or '', _FUNCTIONS)} Received: {received}.")
    elif not _is_known(node):
        raise InputError(
            f"a constraint has keys, numbers, texts, + - * / // % **, comparisons, and, or, not, and the functions "
            f"{', '.join(_FUNCTIONS)}. Received: {ast.unparse(node)!r} in the constraint {text!r}. {_EXAMPLE}"
        )
    for inner in node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node):
        if isinstance(inner, ast.expr):
            _check(inner, text, keys)


def _is_known(node: ast.expr) -> bool:
    """Whether a node with operands has an operator that is computed."""
    if isinstance(node, ast.BinOp):
        return type(node.op) in _ARITHMETIC
    if isinstance(node, ast.UnaryOp):
        return type(node.op) in _SIGNS
    if isinstance(node, ast.Compare):
        return all(type(comparison) in _COMPARISONS for comparison in node.ops)
    return isinstance(node, ast.BoolOp | ast.List | ast.Tuple)


def _key(node: ast.expr) -> str | None:
    """The dotted key that a node is, or None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (section := _key(node.value)) is not None:
        return f"{section}.{node.attr}"
    return None


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Computes a checked node."""
    if (key := _key(node)) is not None:
        return _WORDS[key] if key in _WORDS else values[key]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, values) for item in node.elts]
    if isinstance(node, ast.Call):
        return _FUNCTIONS[_key(node.func)](*(_value(argument, values) for argument in node.args))
    if isinstance(node, ast.UnaryOp):
        return _SIGNS[type(node.op)](_value(node.operand, values))
    if isinstance(node, ast.BinOp):
        return _arithmetic(node, values)
    if isinstance(node, ast.BoolOp):
        stops = isinstance(node.op, ast.Or)
        return next((stops for part in node.values if bool(_value(part, values)) is stops), not stops)
    left = _value(node.left, values)
    for comparison, right_node in zip(node.ops, node.comparators, strict=True):
        right = _value(right_node, values)
        if isinstance(comparison, ast.Lt | ast.LtE | ast.Gt | ast.GtE) and (left is None or right is None):
            raise TypeError("null is neither more nor less than a number")
        if not _COMPARISONS[type(comparison)](left, right):
            return False
        left = right
    return True


def _arithmetic(node: ast.BinOp, values: Mapping[str, Any]) -> Any:
    """Computes with numbers only: a text times a large number would fill the memory."""
    left, right = _value(node.left, values), _value(node.right, values)
    for operand, side in ((left, node.left), (right, node.right)):
        if not isinstance(operand, int | float):
            raise TypeError(f"{ast.unparse(side)} is {json.dumps(operand)}, not a number")
    return _ARITHMETIC[type(node.op)](left, right)
