"""The layers of a model follow the keys of its config."""

import pytest

from kerastrain import config, models, recipe
from kerastrain.recipe.stages import unfreeze

TEXTS = ["a fine film", "a dull film"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    (place / "reviews").mkdir()
    for name, word in (("good", "fine"), ("bad", "dull")):
        lines = "".join(f"a {word} film number {number}\n" for number in range(12))
        (place / "reviews" / f"{name}.txt").write_text(lines)
    options = {"labels": ["x", "y"], "texts": TEXTS, "vocabulary_size": 20, "embedding_dim": 8, "num_layers": 2}
    models.text_classifier("keras:transformer", **options).save(place / "network.keras")
    return place


def built(place, *overrides):
    settings = config.load(overrides=["data.kind=text", f"data.path={place}/reviews", *overrides])
    return recipe.build(settings, None, recipe.load_data(settings, None)), settings


def test_the_size_and_the_dropout_of_a_text_network_come_from_the_config(place):
    sizes = ["model.vocabulary_size=7", "model.sequence_length=5", "model.embedding_dim=6", "model.word_dropout=0.25"]
    model, _ = built(place, "model.backbone=keras:embedding", *sizes)
    backbone = model.get_layer("backbone")
    assert len(backbone.get_layer("tokens").get_vocabulary()) == 7
    assert backbone.get_layer("tokens")(TEXTS).shape == (2, 5)
    assert backbone.get_layer("words").embeddings.shape == (7, 6)
    assert backbone.get_layer("word_dropout").rate == 0.25
    model, _ = built(place, "model.backbone=keras:transformer", *sizes, "model.num_layers=3")
    backbone = model.get_layer("backbone")
    assert backbone.get_layer("places").positions.shape == (5, 6)
    assert backbone.get_layer("block_2_dropout").rate == 0.25


def test_null_takes_what_the_text_networks_take_themselves(place):
    backbone = built(place)[0].get_layer("backbone")
    learned = backbone.get_layer("tokens").vocabulary_size()
    assert backbone.get_layer("words").embeddings.shape == (learned, 16)
    assert backbone.get_layer("tokens").get_config()["split"].length == 10_000
    backbone = built(place, "model.backbone=keras:embedding")[0].get_layer("backbone")
    assert backbone.get_layer("words").embeddings.shape == (30_000, 32)
    assert backbone.get_layer("tokens")(TEXTS).shape == (2, 100)
    assert backbone.get_layer("word_dropout").rate == 0.3


@pytest.mark.slow
def test_the_strength_and_the_layers_of_low_rank_pairs_come_from_the_config(place):
    pairs = "fine_tune={lora_rank: 2, lora_alpha: 8, lora_layers: [block_1_attention, block_0_dense_in]}"
    model, settings = built(place, f"model.backbone={place}/network.keras", pairs)
    unfreeze(model, settings)
    adapted = [layer for layer in model._flatten_layers() if getattr(layer, "lora_enabled", False)]
    assert sorted(layer.name for layer in adapted) == ["attention_output", "block_0_dense_in", "key", "query", "value"]
    assert {(layer.lora_rank, layer.lora_alpha) for layer in adapted} == {(2, 8.0)}


def test_an_existing_model_keeps_the_order_of_its_labels(tmp_path):
    for number in ("1", "2", "10"):
        (tmp_path / f"{number}.txt").write_text("".join(f"text {line} of {number}\n" for line in range(9)))
    settings = config.load(overrides=["data.kind=text", f"data.path={tmp_path}"])
    old = ("1", "10", "2")  # alphabetical, as earlier versions sorted the folders
    for labels, expected in ((None, ("1", "2", "10")), (old, old)):
        split = recipe.load_data(settings, None, labels=labels)
        assert split.labels == expected
        for part in split.parts.values():
            assert [text.split()[-1] for text in part.inputs] == [expected[target] for target in part.targets]
