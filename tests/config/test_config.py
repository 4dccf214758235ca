import dataclasses
import inspect
import json
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import kerastrain as kt
from kerastrain.errors import ConfigError
from kerastrain.models.heads import HeadOptions


def test_defaults_are_valid_and_come_back_from_their_own_dump(tmp_path):
    defaults = kt.config.load()
    path = tmp_path / "config.yaml"
    path.write_text(kt.config.dump(defaults))
    assert kt.config.load(path) == defaults


def test_yaml_holds_differences_and_overrides_win(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("fit:\n  epochs: 7\n  head_epochs: 2\noptimizer: {name: sgd, learning_rate: 1e-2}\n")
    config = kt.config.load(path, ["fit.epochs=3", "data.augment=[flip]", "schedule.warmup=2 epochs"])
    assert (config.fit.epochs, config.fit.head_epochs) == (3, 2)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("sgd", 0.01)
    assert config.data.augment.named == {"flip": {"probability": 0.5, "vertical_probability": 0.0}}
    assert config.schedule.warmup == "2 epochs"
    assert config.model == kt.config.load().model


def test_one_cycle_has_no_warmup_but_one_that_is_asked_for():
    assert kt.config.load().schedule.warmup == "5%"
    assert kt.config.load(overrides=["schedule.name=one_cycle"]).schedule.warmup == "0 steps"
    assert kt.config.load(overrides=["schedule={name: one_cycle, warmup: 1%}"]).schedule.warmup == "1%"


def test_the_rate_is_lower_where_a_network_of_texts_starts_anew():
    assert kt.config.load().optimizer.learning_rate == 0.01
    texts = ["data.kind=text", "data.path=reviews"]
    assert kt.config.load(overrides=texts).optimizer.learning_rate == 0.003
    assert kt.config.load(overrides=[*texts, "model.backbone=module"]).optimizer.learning_rate == 0.01
    assert kt.config.load(overrides=[*texts, "optimizer.learning_rate=0.1"]).optimizer.learning_rate == 0.1


def test_every_fault_is_told_at_once_with_path_and_nearest_name(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "fit: {epoch: 3, head_epochs: -1}\noptimizer: {name: adm}\nmodle: {}\nschedule: {warmup: 3 weeks}\n"
    )
    with pytest.raises(ConfigError) as caught:
        kt.config.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path} has 5 faults:")
    assert (
        "fit.epoch: unknown key 'epoch'. Known: checkpoint_every, checkpoints_kept, dpo_beta, early_stopping_epochs,"
        in text
    )
    assert "Did you mean 'epochs'?" in text
    assert "fit.head_epochs: must be a whole number of at least 0. Received: -1." in text
    assert "optimizer.name: unknown value 'adm'." in text
    assert "Did you mean 'model'?" in text
    assert "schedule.warmup: a duration must be like '2 epochs', '500 steps' or '5%'. Received: '3 weeks'." in text


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("fit=3", "fit: must be a section with the keys head_epochs, epochs,"),
        ("fit.epochs", "an override must have the form `section.key=value`"),
        ("fit..epochs=3", "an override must have the form `section.key=value`"),
        ("fit.epochs=[", "not valid YAML"),
        ("fit.epochs=true", "fit.epochs: must be a whole number of at least 0, or null. Received: true."),
        ("data.validation_fraction=0.95", "must sum to less than 1"),
        ("fit.head_views=0", "fit.head_views: must be a whole number above 0. Received: 0."),
        (
            "runtime={precision: measure, strategy: mirrored}",
            "precision measure is only for one device. Received: strategy 'mirrored'. Set another value",
        ),
        ("runtime={jit_compile: measure, strategy: multi_worker}", "jit_compile measure is only for one device."),
        (
            "fit={head_views: 2, head_epochs: 0}",
            "fit.head_views is for a phase that trains only the head. Received: 2, and",
        ),
        (
            "model.weights=imagenet",
            "model.weights is only for `keras:NAME` networks of images. Received: model.weights",
        ),
        (
            "model={backbone: 'keras:VGG16', value_range: [0, 1]}",
            "model.value_range is only for modules, .keras files and pretrained networks of images. Received: ",
        ),
        (
            "model={backbone: network.keras, output_key: a}",
            "model.output_key is only for Hub modules and SavedModels. Received: ",
        ),
        (
            "model.embedding_dim=8",
            "model.embedding_dim is only for `keras:ngrams`, `keras:embedding` and `keras:transformer` on texts. Received: ",
        ),
        (
            "model.word_dropout=0.1",
            "model.word_dropout is only for `keras:ngrams`, `keras:embedding` and `keras:transformer` on texts. Received: ",
        ),
        ("model.sequence_length=0", "model.sequence_length: must be a whole number above 0, or null. Received: 0."),
        ("fine_tune.lora_alpha=8", "lora_alpha needs lora_rank. Received: 8.0. Set fine_tune.lora_rank."),
        (
            "fine_tune.lora_layers=[mix]",
            "lora_layers needs lora_rank. Received: ['mix']. Set fine_tune.lora_rank.",
        ),
        ("fine_tune.timetable={0: 0}", "fine_tune.timetable.0: must be a whole number above 0, or null. Received: 0."),
        ("fine_tune.timetable={10: null}", "must name epochs below fit.epochs. Received: 10, and fit.epochs is 10"),
        ("optimizer.momentum=0.9", "momentum is only for sgd, rmsprop and muon"),
        ("schedule={name: exponential, end_fraction: 0}", "end_fraction must be > 0"),
        ("schedule={name: step, end_fraction: 0.1}", "'step' has no end_fraction. Received: "),
        (
            "optimizer.arguments.beta1=0.8",
            "optimizer.arguments: unknown argument of optimizer 'adamw': 'beta1'. Known:",
        ),
        ("optimizer.arguments.beta_1=2", "`beta_1` must lie in [0, 1). Received: beta_1=2."),
        ("optimizer.arguments.momentum=0.5", "momentum has its own key. Write optimizer.momentum."),
        ('optimizer.layer_rates={"(": 1}', "optimizer.layer_rates: keys must be regular expressions. Received: '('"),
        (
            "optimizer.ema_momentum=1",
            "optimizer.ema_momentum: must be a number above 0 and below 1, or null. Received: 1.",
        ),
        ("schedule.boundaries=[1 epoch]", "'cosine' has no boundaries. Received: boundaries=['1 epochs']."),
        ("schedule={name: constant, power: 2}", "'constant' has no power. Received: power=2.0. Remove power"),
        ("schedule={name: piecewise, fractions: [0.1]}", "'piecewise' needs boundaries. Received: none."),
        ("schedule.plateau_factor=1", "schedule.plateau_factor: must be a number above 0 and below 1. Received: 1."),
        ("data.kind=text", "path must name a folder of texts"),
        (
            "data={kind: text, path: reviews, image_size: [64, 64]}",
            "image_size is for images. Received: [64, 64], and kind 'text'. Remove it.",
        ),
        ("data.task=multilabel", "data.task: unknown value 'multilabel'. Known: "),
        (
            "data={task: multi_label, sampling: balanced}",
            "sampling: balanced draws classes, one for each example. Received: task 'multi_label'. Use uniform, and class",
        ),
        ("data.folds=1", "data.folds: must be a whole number of at least 2, or null. Received: 1."),
        ("data.fold=1", "fold must be less than folds, counted from 0. Received: fold 1 and no folds."),
        ("data={folds: 3, fold: 3}", "fold must be less than folds, counted from 0. Received: fold 3 and folds: 3."),
        (
            "data={task: regression, class_weights: balanced}",
            "class_weights is only for classes. Received: task 'regression'. Give each row of a table a weight with",
        ),
        (
            "data={sampling: balanced, class_weights: balanced}",
            "class_weights and sampling: balanced both balance the classes. Remove one.",
        ),
        (
            "data.class_weights=balance",
            "data.class_weights: must be balanced, or a mapping from classes to numbers >= 0",
        ),
        ("data.class_weights={rare: -1}", "such as {rare: 5}. Received: {rare: -1}."),
        (
            "data.columns.label=a",
            "data.columns.label: unknown key 'label'. Known: ",
        ),
        ("data.columns.separator=", "data.columns.separator: "),
        ("fine_tune={last: 2, lora_rank: 4}", "choose the layers that train in one way. Received: last and lora_rank"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate: must be a number above 0, or null. Received: inf."),
    ],
)
def test_an_override_that_breaks_a_rule_is_one_sentence(override, sentence):
    with pytest.raises(ConfigError) as caught:
        kt.config.load(overrides=[override])
    assert sentence in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_every_choice_of_a_builder_and_a_policy_has_a_key():
    models = kt.models
    built = {models.image_classifier, models.image_regressor, models.text_classifier, models.text_regressor}
    built |= {kt.backbones.load}
    elsewhere = {
        *(
            "handle",
            "backbone",
            "labels",
            "multi_label",
            "texts",
            "targets",
            "name",
        ),  # from the data, or from `model.backbone`
        *("mean", "stddev"),  # measured on the training part
        *("image_size", "pair", "numbers", "number_names"),  # keys of `data`
        "head",  # the keywords of `HeadOptions`
        *("log", "measure"),  # what is said about a backbone
    }
    expected = {name for builder in built for name in inspect.signature(builder).parameters} - elsewhere
    expected |= {field.name for field in dataclasses.fields(HeadOptions)}
    assert expected - set(kt.config.Config().model.model_dump()) == set()
    tuned = set(inspect.signature(models.unfreeze).parameters) - {"model"}
    tuned |= {f"lora_{name}" for name in inspect.signature(models.add_lora).parameters} - {"lora_model"}
    tuned |= {"lora_dropout", "lora_rank_stabilized", "quantize"}  # arguments of `language.adapters`
    tuned |= {"layer_rate_decay", "timetable"}  # the one argument of `layer_rates` and of `GradualUnfreezing`
    assert set(kt.config.Config().fine_tune.model_dump()) == tuned


def test_classes_called_by_numbers_are_weighted_by_them():
    assert kt.config.load(overrides=["data.class_weights={7: 3}"]).data.class_weights == {"7": 3}


def test_what_trains_as_a_whole_from_the_start_is_not_fine_tuned():
    text = ["data.kind=text", "data.path=reviews"]
    for overrides in (
        ["model.backbone=keras:VGG16", "model.weights=random"],
        text,
        [*text, "model.backbone=keras:transformer"],
    ):
        with pytest.raises(ConfigError, match="fine_tune.last needs a pre-trained backbone. Received: "):
            kt.config.load(overrides=[*overrides, "fine_tune.last=2"])
    with pytest.raises(ConfigError, match="model.num_layers is only for `keras:transformer` on texts. Received: "):
        kt.config.load(overrides=[*text, "model.num_layers=3"])
    with pytest.raises(ConfigError, match="model.weights is only for `keras:NAME` networks of images. Received: "):
        kt.config.load(overrides=[*text, "model.weights=imagenet"])


def test_numbers_have_no_labels_to_smooth_and_no_probabilities():
    with pytest.raises(ConfigError, match="fit.label_smoothing is only for classes. Received: data.task regression"):
        kt.config.load(overrides=["data.task=regression", "fit.label_smoothing=0.1"])
    with pytest.raises(ConfigError, match="export.probabilities is only for classes. Received: data.task regression"):
        kt.config.load(overrides=["data.task=regression", "export.probabilities=true"])


def test_columns_take_one_name_or_several():
    assert kt.config.load(overrides=["data.columns.targets=age"]).data.columns.targets == ("age",)
    assert kt.config.load(overrides=["data.columns.targets=[a, b]"]).data.columns.targets == ("a", "b")


def test_the_folder_of_a_named_set_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    assert kt.config.load(overrides=["data.path=hf:set"]).data.path == f"hf:{tmp_path / 'set'}"
    assert kt.config.load(overrides=["data.path=tfds:mnist"]).data.path == "tfds:mnist"


def test_two_clips_or_no_epochs_are_faults():
    with pytest.raises(ConfigError, match="choose one way to clip gradients. Received: clip_norm and clip_value"):
        kt.config.load(overrides=["optimizer.clip_norm=1", "optimizer.clip_value=1"])
    with pytest.raises(ConfigError, match="must not both be 0"):
        kt.config.load(overrides=["fit.epochs=0", "fit.head_epochs=0"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("fit: [", "not valid YAML"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("x: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, content, sentence):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        kt.config.load(path)


def test_a_missing_file_is_told():
    with pytest.raises(FileNotFoundError, match="there is no config file 'nowhere.yaml'"):
        kt.config.load("nowhere.yaml")


def test_paths_that_exist_become_absolute(tmp_path, monkeypatch):
    (tmp_path / "flowers").mkdir()
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert kt.config.load(overrides=["data.path=flowers"]).data.path == str(tmp_path / "flowers")
    assert kt.config.load().data.path == "digits"


def test_schema_describes_every_key():
    schema = kt.config.schema()
    for section in schema["$defs"].values():
        for name, key in section["properties"].items():
            assert key.get("description") or "$ref" in key, name
    assert json.loads(json.dumps(schema)) == schema


def test_search_space_reads_intervals_and_choices():
    text = "space:\n  optimizer.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}\n  model.dropout: [0.0, 0.5]\n"
    search = kt.config.validate(yaml.safe_load(text), kt.config.SearchConfig, source="search.yaml")
    assert search.space["optimizer.learning_rate"].min == 1e-4
    assert search.space["model.dropout"] == [0.0, 0.5]
    with pytest.raises(ConfigError, match=r"space: the choices of fit.epochs must contain at least one value"):
        kt.config.validate({"space": {"fit.epochs": []}}, kt.config.SearchConfig)


def test_nulls_that_stand_for_a_choice_are_spelled_out(tmp_path):
    images, texts = kt.config.load(), kt.config.load(overrides=["data.kind=text", f"data.path={tmp_path}"])
    assert images.model.backbone == "auto"
    assert images.export.formats == ("saved_model", "tflite_float32", "tflite_int8")
    vit = kt.config.load(overrides=["model.backbone=hf:google/vit-base-patch16-224"])
    assert vit.export.formats == ("saved_model", "tflite_float32", "tflite_dynamic")
    assert (texts.model.backbone, texts.export.formats) == (
        "keras:ngrams",
        ("saved_model", "tflite_float32"),
    )
    assert texts.from_scratch
    assert not images.from_scratch


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from([f"{section}.{key}" for section, values in kt.config.load() for key in type(values).model_fields]),
)
@settings(max_examples=300, deadline=None)
def test_any_value_of_any_key_is_taken_and_comes_back_or_is_told_by_its_path(value, key):
    section, name = key.split(".")
    try:
        config = kt.config.validate({section: {name: value}})
    except ConfigError as error:
        assert section in str(error)
        return
    again = kt.config.validate(yaml.safe_load(kt.config.dump(config)))
    assert kt.config.dump(again) == kt.config.dump(config)


@given(st.lists(st.text(max_size=30), max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_words_of_the_command_line_are_a_config_or_a_config_error(words):
    try:
        assert isinstance(kt.config.load(overrides=words), kt.config.Config)
    except ConfigError as error:
        assert str(error)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_of_a_file_are_a_config_or_a_config_error(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_bytes(content)
        try:
            assert isinstance(kt.config.load(path), kt.config.Config)
        except ConfigError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("fit.on_bad_numbers=stop", kt.config.Config, "`fit.on_bad_numbers` is now `fit.on_nonfinite`."),
        ("memory.checkpoint_blocks=2", kt.config.Config, "`memory.checkpoint_blocks` is now `memory.remat_blocks`."),
        ("model.width=8", kt.config.Config, "`model.width` is now `model.embedding_dim`."),
        ("model.depth=2", kt.config.Config, "`model.depth` is now `model.num_layers`."),
        ("model.length=9", kt.config.Config, "`model.length` is now `model.sequence_length`."),
        (
            "data.augment={noise: {deviation: 4}}",
            kt.config.Config,
            "`data.augment.noise.deviation` is now `data.augment.noise.stddev`.",
        ),
        ("distil={}", kt.config.CompressConfig, "`distil` is now `distill`."),
        ("channels={}", kt.config.CompressConfig, "`channels` is now `prune_channels`."),
        ("aware.epochs=1", kt.config.CompressConfig, "`aware` is now `quantize_aware`."),
        ("quantize=aware", kt.config.CompressConfig, "`quantize=aware` is now `quantize=quantize_aware`."),
    ],
)
def test_a_key_of_an_earlier_version_is_answered_with_its_name_today(key, kind, message):
    with pytest.raises(ConfigError) as caught:
        kt.config.validate(kt.config.override({}, [key]), kind)
    assert message in str(caught.value)


def test_a_network_of_keras_takes_imagenet_weights_unless_random_ones_are_asked_for(tmp_path):
    network = "model.backbone=keras:VGG16"
    assert kt.config.load(overrides=[network]).model.weights == "imagenet"
    assert not kt.config.load(overrides=[network]).from_scratch
    random = kt.config.load(overrides=[network, "model.weights=random"])
    assert (random.model.weights, random.from_scratch) == ("random", True)
    assert kt.config.load().model.weights is None
    (tmp_path / "config.yaml").write_text("model: {backbone: 'keras:VGG16', weights: null}\n")
    assert kt.config.load(tmp_path / "config.yaml").model.weights == "imagenet"
    (tmp_path / "environment.json").write_text("{}")  # a run of an earlier version, where null meant random weights
    assert kt.config.load(tmp_path / "config.yaml").model.weights == "random"
    assert kt.config.load(tmp_path / "config.yaml", ["fit.epochs=3"]).from_scratch
    (tmp_path / "config.yaml").write_text("model: {backbone: 'keras:VGG16', weights: null, from_run: /a/run}\n")
    assert kt.config.load(tmp_path / "config.yaml").model.weights is None
    (tmp_path / "config.yaml").write_text(kt.config.dump(random))
    assert kt.config.load(tmp_path / "config.yaml") == random
