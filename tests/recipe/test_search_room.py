"""The space on disk that a search takes, before anything is built."""

import shutil

import pytest

from kerastrain import config
from kerastrain.config import SearchConfig
from kerastrain.errors import InputError
from kerastrain.hub.bundled import bundled
from kerastrain.recipe import networks, search_room


def search(**settings):
    return config.validate({"space": {"model.dropout": [0, 0.2]}, "trials": 10, **settings}, SearchConfig)


def recipe(*overrides):
    return config.load(overrides=["model.backbone=kerastrain:fractal_small", "optimizer.name=adam", *overrides])


def module_bytes():
    return sum(path.stat().st_size for path in bundled()["fractal_small"].rglob("*") if path.is_file())


def test_checkpoints_models_and_logs_are_counted():
    weights = module_bytes()
    room = search_room.estimate(recipe("fit.checkpoints_kept=2"), search(keep_models=3), workers=2)
    state = 3 * weights  # Adam has two averages
    assert room.running_bytes == 2 * (4 * state + weights)
    assert room.model_bytes == 5 * state  # of the best three, and of those that have just ended
    assert room.paused_bytes == 0
    assert room.bytes == room.running_bytes + room.model_bytes + room.other_bytes
    assert "checkpoints of the 2 trials that train at a time" in room.sentence
    assert "histories, logs and predictions of 10 trainings" in room.sentence


def test_a_frozen_backbone_has_no_state_of_the_optimizer():
    weights = module_bytes()
    assert search_room.estimate(recipe("fit.epochs=0"), search()).model_bytes == 2 * weights
    assert search_room.estimate(recipe("fit.epochs=0"), search(space={"fit.epochs": [0, 3]})).model_bytes == 6 * weights


def test_paused_trials_keep_their_checkpoints():
    weights = module_bytes()
    room = search_room.estimate(recipe("fit.checkpoints_kept=1"), search(pruning="halving"), workers=2)
    assert room.paused_bytes == 8 * (2 * 3 * weights + weights)
    assert search_room.estimate(recipe(), search(algorithm="hyperband"), trials=17).paused_bytes > room.paused_bytes
    assert search_room.estimate(recipe(), search(pruning="median")).paused_bytes == 0


def test_the_largest_backbone_and_optimizer_of_the_space_decide():
    space = {"model.backbone": ["kerastrain:fractal_small", "keras:MobileNetV2"], "optimizer.name": ["sgd", "adam"]}
    room = search_room.estimate(recipe("optimizer.name=sgd"), search(space=space))
    assert room.model_bytes == pytest.approx(2 * 3 * 4 * 2.3e6)


def test_features_of_each_backbone_are_kept_where_the_head_trains_alone():
    count = lambda *overrides, **settings: search_room.estimate(recipe(*overrides), search(**settings), examples=1000)
    one = count().feature_bytes
    assert one == 1000 * 2048 * 4
    assert "8 MB features of frozen backbones" in count().sentence
    assert count("fit.head_epochs=0").feature_bytes == 0
    space = {"model.backbone": ["kerastrain:fractal_small", "keras:MobileNetV2"]}
    assert count(space=space).feature_bytes == 2 * one


def test_seeds_of_the_finalists_and_the_points_of_a_grid_count():
    assert search_room.estimate(recipe(), search(seeds=3, finalists=4)).trials == 10 + 2 * 4
    assert search_room.estimate(recipe(), search(algorithm="grid", trials=None)).trials == 2


@pytest.mark.parametrize("name", ["ngrams", "embedding", "transformer"])
def test_texts_are_estimated_by_their_largest_vocabulary(name):
    texts = ("data.kind=text", "data.path=.", f"model.backbone=keras:{name}", "model.embedding_dim=8")
    small, large = (
        search_room.estimate(config.load(overrides=[*texts, f"model.vocabulary_size={size}"]), search()).model_bytes
        for size in (1000, 4000)
    )
    assert large == 4 * small > 4 * 4 * 8 * 1000


def test_a_full_disk_is_said_before_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(
        InputError, match="the search writes about .* MB to .* and its disk has 1 MB free. .* lower workers"
    ):
        search_room.require(tmp_path / "search", recipe(), search())
    monkeypatch.undo()
    assert search_room.require(tmp_path / "search", recipe(), search()).bytes > 0


def test_the_size_of_every_network_is_known():
    assert set(networks.MILLIONS_OF_PARAMETERS) == set(networks.IMAGE_NETWORKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "VGG16"])
def test_the_sizes_of_networks_are_those_of_keras(name):
    import keras

    network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(64, 64, 3))
    assert network.count_params() / 1e6 == pytest.approx(networks.MILLIONS_OF_PARAMETERS[name], rel=0.06)
