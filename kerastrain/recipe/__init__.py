"""The one composition: from a config to a trained, measured and exported model, in the order of the README.

Takes a `Config` and a folder name, gives a `keras.Model` and files. Made only of calls to public functions, so its
body, copied into a script, runs. Must not hold logic that a part or a tool could hold.
"""

from kerastrain.recipe.accelerating import accelerated
from kerastrain.recipe.building import build, load_backbone, load_data, make_strategy
from kerastrain.recipe.finding import find_batch_size, find_learning_rate, find_memory
from kerastrain.recipe.fitting import compiled, fit
from kerastrain.recipe.previewing import preview
from kerastrain.recipe.results import export_all, measure
from kerastrain.recipe.whole import Finished, resume, run

__all__ = [
    "Finished",
    "accelerated",
    "build",
    "compiled",
    "export_all",
    "find_batch_size",
    "find_learning_rate",
    "find_memory",
    "fit",
    "load_backbone",
    "load_data",
    "make_strategy",
    "measure",
    "preview",
    "resume",
    "run",
]
