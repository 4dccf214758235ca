"""Reads the arguments of `kerastrain tune`: settings of the search and of the recipe, in files and in overrides.

Takes arguments; returns a SearchConfig and a Config. Must not import TensorFlow or write files.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import yaml

from kerastrain import config as configs
from kerastrain.cli import settings
from kerastrain.config import keys, typed
from kerastrain.config.reading import Argument, parse
from kerastrain.errors import InputError, unknown
from kerastrain.recipe import starting_space

_SPACE = "space"
_MOST_NAMED = 5


class SearchArguments(NamedTuple):
    """What the arguments of `kerastrain tune` mean.

    Args:
        search: SearchConfig.
        config: Config of the recipe, which every trial changes.
        has_own_space: bool, whether the user gave the space; False for the one of `starting_space`.
    """

    search: configs.SearchConfig
    config: configs.Config
    has_own_space: bool


def read(arguments: Sequence[str], *, has_function: bool = False) -> SearchArguments:
    """Reads files and overrides; the keys of a file and the first key of an override say what they set.

    Args:
        arguments: sequence of str, such as "search.yaml", "trials=30" and "data.path=flowers/".
        has_function: bool, whether a user's function makes the models, whose hyperparameters are searched.

    Returns:
        SearchArguments. Without a space or an objective, those of `starting_space`; with a function, no space.

    Raises:
        FileNotFoundError: a file does not exist.
        InputError: there are two files of the same kind, nothing to search, or a setting is invalid.
    """
    files, overrides = settings.files_and_overrides(arguments, (configs.Config, configs.SearchConfig))
    search_file, recipe_file = _search_and_recipe(files)
    own = [text for text in overrides if _is_of_search(text)]
    rest = [text for text in overrides if not _is_of_search(text)]
    _require_known(rest)
    config = configs.load(recipe_file, rest)
    configs.folds.refuse_all(config)
    values = {} if search_file is None else configs.read_yaml(search_file)
    values = _with_overrides(values, own)
    has_own_space = _SPACE in values
    if not has_own_space and not has_function:
        written = configs.override({} if recipe_file is None else configs.read_yaml(recipe_file), rest)
        values[_SPACE] = starting_space.propose(config, written)
    values.setdefault("objective", starting_space.objective(config))
    source = search_file or "the command line"
    return SearchArguments(configs.validate(values, configs.SearchConfig, source=source), config, has_own_space)


def require_same(own: SearchArguments, given: SearchArguments) -> None:
    """Checks that a search is resumed with its own settings.

    Args:
        own: SearchArguments that the search was started with.
        given: SearchArguments of the command line. The backbone "auto" takes the search's own choice.

    Raises:
        InputError: they differ; the message names the keys.
    """
    config = given.config
    if config.model.backbone == configs.AUTO_BACKBONE:
        model = config.model.model_copy(update={"backbone": own.config.model.backbone})
        config = config.model_copy(update={"model": model})
    values = [
        {**_flat(search.model_dump(mode="json")), **_flat(recipe.model_dump(mode="json"))}
        for search, recipe in ((given.search, config), (own.search, own.config))
    ]
    missing = object()
    different = [
        key for key in {**values[0], **values[1]} if values[0].get(key, missing) != values[1].get(key, missing)
    ]
    if different:
        more = f" and {len(different) - _MOST_NAMED} more" if len(different) > _MOST_NAMED else ""
        raise InputError(
            "a search is resumed with the settings that it was started with. Received: other values of "
            f"{', '.join(different[:_MOST_NAMED])}{more}. Give only --resume, or start a new search with --out."
        )


def _flat(values: Mapping) -> dict[str, object]:
    """Returns the values of two levels by their keys, such as "trials", "space.model.dropout" and "fit.epochs"."""
    flat: dict[str, object] = {}
    for section, inner in values.items():
        flat.update(
            {f"{section}.{key}": value for key, value in inner.items()}
            if isinstance(inner, Mapping)
            else {section: inner}
        )
    return flat


def _is_of_search(override: str) -> bool:
    return _first_key(override) in configs.SearchConfig.model_fields


def _first_key(override: str) -> str:
    return override.partition("=")[0].strip().partition(".")[0]


def _require_known(overrides: Sequence[str]) -> None:
    """Raises an error for a key that is similar to one of the search and to none of the recipe."""
    sections, known = configs.Config.model_fields, configs.SearchConfig.model_fields
    for text in overrides:
        first = _first_key(text)
        if first not in sections and not keys.meant(configs.Config, first) and keys.meant(configs.SearchConfig, first):
            raise InputError(unknown("setting of the search", first, known))


def _search_and_recipe(files: Sequence[str]) -> tuple[str | None, str | None]:
    """Returns the file of the search and that of the recipe."""
    searches, recipes = [], []
    for file in files:
        settings.require_config(file)
        is_search = any(key in configs.SearchConfig.model_fields for key in configs.read_yaml(file))
        (searches if is_search else recipes).append(file)
    for found, kind in ((searches, "search"), (recipes, "recipe")):
        if len(found) > 1:
            raise InputError(
                "give at most one file with settings of the search, such as algorithm and space, and one recipe, with sections "
                f"such as data and fit. Received: {len(found)} files of the {kind}: {', '.join(found)}."
            )
    return (searches[0] if searches else None), (recipes[0] if recipes else None)


def _with_overrides(values: Mapping, overrides: Sequence[str]) -> dict:
    """Returns the settings of a search with overrides, in which `space.KEY` has the dotted key of the recipe."""
    values, plain = dict(values), []
    for text in overrides:
        name, equals, value = text.partition("=")
        first, _, key = name.strip().partition(".")
        if first == _SPACE and key and equals:
            space = typed.expanded(values.get(_SPACE) or {})
            values[_SPACE] = {**space, key: _parsed(value)} if isinstance(space, Mapping) else space
        else:
            plain.append(text)
    return configs.override(values, plain)


def _parsed(value: str) -> object:
    """Returns the choices or the interval of a key; text that is neither stays, for the validation to report."""
    if value.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(yaml.YAMLError):
            return parse(value)
    return Argument(value)
