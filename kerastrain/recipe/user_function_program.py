"""Finds the hyperparameters of a user's function in a process of its own, for `user_function.discover`.

Takes the path of a file, the name of a function in it and the path of the result; writes JSON. Must not train.
"""

import sys
from pathlib import Path

from kerastrain.errors import InputError
from kerastrain.recipe import user_model
from kerastrain.system import files, isolated_imports
from kerastrain.tuning import hyperparameters


def main(path: str, name: str, result: str) -> None:
    """Writes the hyperparameters, or the reason why there are none.

    Args:
        path: str, the path of the file.
        name: str, the name of the function.
        result: str, the path of the JSON file to write: "error" (a sentence or null), "hyperparameters" and "input_shape".
    """
    shapes = []

    def build(hp) -> None:
        shapes.append(user_model.called(function, hp, where=f"{path}:{name}").input_shape)

    found = {"error": None, "hyperparameters": None, "input_shape": None}
    try:
        function = user_model.load(Path(path), name)
        found["hyperparameters"] = hyperparameters.discover(isolated_imports.keras_tuner(), build)
        found["input_shape"] = list(shapes[0])
    except InputError as error:
        found["error"] = str(error)
    files.write_json(Path(result), found)


if __name__ == "__main__":
    main(*sys.argv[1:])
