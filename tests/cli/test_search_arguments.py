"""What the arguments of `kerastrain tune` mean: two kinds of files and of overrides."""

import pytest
import yaml

from kerastrain import config as configs
from kerastrain.cli import search_arguments
from kerastrain.errors import InputError


def test_the_keys_of_a_search_and_of_a_recipe_differ():
    assert not set(configs.SearchConfig.model_fields) & set(configs.Config.model_fields)


@pytest.fixture
def files(tmp_path):
    """A search and a recipe, as (path, path) of str."""
    search, recipe = tmp_path / "search.yaml", tmp_path / "recipe.yaml"
    search.write_text(yaml.safe_dump({"trials": 7, "space": {"model.dropout": [0.1, 0.3]}}))
    recipe.write_text(yaml.safe_dump({"fit": {"epochs": 3}}))
    return str(search), str(recipe)


def test_files_are_told_apart_by_their_keys_in_any_order(files):
    for order in (files, files[::-1]):
        search, config, has_own_space = search_arguments.read(order)
        assert (search.trials, config.fit.epochs, has_own_space) == (7, 3, True)


def test_overrides_change_the_search_the_recipe_and_the_space(files):
    search, config, _ = search_arguments.read(
        [
            *files,
            "trials=9",
            "fit.epochs=4",
            "space.fit.head_epochs={min: 1, max: 5, integer: true}",
            "algorithm=bayesian",
        ]
    )
    assert (search.trials, search.algorithm, config.fit.epochs) == (9, "bayesian", 4)
    assert [*search.space] == ["model.dropout", "fit.head_epochs"]
    assert (search.space["fit.head_epochs"].min, search.space["fit.head_epochs"].max) == (1, 5)


def test_a_search_needs_no_file():
    search, config, _ = search_arguments.read(["space.model.dropout=[0.1, 0.4]", "trials=3"])
    same = configs.validate({"trials": 3, "space": {"model.dropout": [0.1, 0.4]}}, configs.SearchConfig)
    assert (search, config) == (same, configs.load())


def test_without_a_space_rates_decay_and_dropout_are_searched_around_their_defaults(files):
    search, _, has_own_space = search_arguments.read([])
    assert [*search.space] == [
        "optimizer.learning_rate",
        "optimizer.fine_tune_fraction",
        "optimizer.weight_decay",
        "model.dropout",
    ]
    rate = search.space["optimizer.learning_rate"]
    assert (rate.min, rate.max, rate.sampling, has_own_space) == (1e-3, 1e-1, "log", False)
    frozen, *_ = search_arguments.read(["fit.epochs=0", "optimizer.learning_rate=0.02"])
    assert [*frozen.space] == ["optimizer.weight_decay", "model.dropout"]


def test_a_language_model_searches_rate_and_rank(tmp_path):
    data = ["data.kind=chat", f"data.path={tmp_path}/qa.jsonl", f"model.backbone={tmp_path}"]
    whole, *_ = search_arguments.read(data)
    pairs, *_ = search_arguments.read([*data, "fine_tune.lora_rank=8"])
    assert [*whole.space] == [*pairs.space] == ["optimizer.learning_rate"]
    assert pairs.space["optimizer.learning_rate"].max == 10 * whole.space["optimizer.learning_rate"].max


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trails=3"], "unknown setting of the search 'trails'.*Did you mean 'trials'"),
        (["lr=0.1"], "Did you mean 'optimizer.learning_rate'"),
        (["trials=many"], "trials"),
        (["search.yaml"], "there is no config file 'search.yaml'"),
        (["space=[model.dropout]"], "space"),
        (["space.model.dropout=0.3"], "space"),
        (["trials"], "a setting needs a value. Write trials=VALUE"),
        (["model.dropout"], "a setting needs a value. Write model.dropout=VALUE"),
        (
            ["optimizer.learning_rate=1", "optimizer.fine_tune_fraction=0.1", "optimizer.name=sgd", "model.dropout=0"],
            "there is nothing to search.*Received: all of them",
        ),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, FileNotFoundError), match=sentence):
        search_arguments.read(arguments)


def test_two_files_of_a_kind_are_refused(files, tmp_path):
    for kind, file in zip(("search", "recipe"), files, strict=True):
        with pytest.raises(InputError, match=f"2 files of the {kind}"):
            search_arguments.read([*files, file])
    with pytest.raises(InputError, match="is a folder and no config file"):
        search_arguments.read([str(tmp_path)])


def test_a_search_is_only_resumed_with_its_own_settings(files):
    own = search_arguments.read(files)
    search_arguments.require_same(own, search_arguments.read(files[::-1]))
    with pytest.raises(InputError, match=r"other values of space.model.dropout, fit.epochs\. Give only --resume"):
        search_arguments.require_same(
            own, search_arguments.read([*files, "fit.epochs=9", "space.model.dropout=[0, 1e-3]"])
        )
    others = ["data.path=x", "fit.epochs=9", "trials=1", "seeds=2", "minutes=3", "failures=9"]
    with pytest.raises(InputError, match=r"other values of (\S+, ){4}\S+ and 1 more\."):
        search_arguments.require_same(own, search_arguments.read([*files, *others]))
