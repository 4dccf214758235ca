"""The config section `memory`: errors come before anything is written, and the weights equal those of a plain run."""

import keras
import numpy as np
import pytest

from kerastrain import config, recipe, testing


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("memory")
    testing.colour_folder(place / "colours", count=8)
    inputs = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    maps = keras.layers.Conv2D(4, 3, activation="relu", name="second")(maps)
    keras.Model(inputs, maps).save(place / "network.keras")
    testing.saved_model(place / "module", image_size=(16, 16))
    return place


def settings(place, *overrides):
    shared = [f"data.path={place}/colours", f"model.backbone={place}/network.keras", "data.augment=[flip]"]
    shared += ["fit.head_epochs=1", "fit.epochs=2", "fit.global_batch_size=8", "model.dropout=0"]
    return config.load(overrides=[*shared, *overrides])


def fitted(wanted, directory):
    directory.mkdir()
    backbone = recipe.load_backbone(wanted) if wanted.data.kind == "images" else None
    split = recipe.load_data(wanted, backbone and backbone.image_size)
    keras.utils.set_random_seed(0)
    model = recipe.build(wanted, backbone, split)
    recipe.fit(model, wanted, split, directory)
    return model


@pytest.mark.slow
def test_a_lean_run_ends_with_the_weights_of_a_plain_one(place, tmp_path):
    plain = fitted(settings(place), tmp_path / "plain")
    lean = fitted(settings(place, "memory.micro_batches=3", "memory.remat_blocks=[first, second]"), tmp_path / "lean")
    assert lean.train_step.micro_batches == 3
    assert lean.train_step.forward is not None
    for one, other in zip(plain.get_weights(), lean.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_texts_are_checkpointed_too(tmp_path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    for name in ("good", "bad"):
        (folder / f"{name}.txt").write_text("".join(f"a {name} film number {count}\n" for count in range(12)))
    text = [f"data.path={folder}", "data.kind=text", "model.backbone=keras:transformer", "fit.epochs=1"]
    text += ["model.embedding_dim=8", "model.num_layers=1", "fit.global_batch_size=8", "data.augment=[]"]
    plain = fitted(config.load(overrides=text), tmp_path / "plain")
    lean = fitted(config.load(overrides=[*text, "memory.remat_blocks=auto"]), tmp_path / "lean")
    for one, other in zip(plain.get_weights(), lean.get_weights(), strict=True):
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["memory.remat_blocks=[fist]"], "`memory.remat_blocks`: unknown layer 'fist'.*'first'"),
        (["memory.remat_blocks=99"], "`memory.remat_blocks`: `blocks` must lie in"),
        (
            ["model.hidden_units=[4]", "model.batch_norm=true", "memory.micro_batches=2"],
            "`memory.micro_batches`: a BatchNormalization would see only its micro-batch",
        ),
        (["model.backbone={place}/module", "memory.remat_blocks=2"], "a HubLayer cannot be split into blocks"),
    ],
)
def test_what_the_model_cannot_do_is_told_before_anything_is_written(place, tmp_path, overrides, reason):
    wanted = settings(place, *(text.format(place=place) for text in overrides))
    with pytest.raises(ValueError, match=reason):
        recipe.run(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("memory.micro_batches=0", "must be a whole number above 0, or auto"),
        ("memory.micro_batches=true", "must be a whole number above 0, or auto"),
        ("memory.micro_batches=33", "must be at most fit.global_batch_size"),
        ("memory.remat_blocks=2 runtime.jit_compile=measure", "memory needs steps without XLA"),
        ("memory.micro_batches=auto runtime.strategy=mirrored", "is only for one device"),
        ("memory.remat_blocks=[]", "or the names of layers"),
        ("fit.epochs=0 memory.micro_batches=2", "memory is only for training the whole model"),
    ],
)
def test_a_setting_that_cannot_be_is_told(override, reason):
    with pytest.raises(ValueError, match=reason):
        config.load(overrides=override.split(" "))
