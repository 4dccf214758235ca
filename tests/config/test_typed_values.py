"""Values keep what was typed where the key is text; what is wrong is one plain sentence for each key."""

import logging
import re

import pytest
import yaml

import kerastrain as kt
from kerastrain.config import loading, reading, typed
from kerastrain.config.values import Section
from kerastrain.errors import ConfigError

WORDS = [
    "yes",
    "no",
    "on",
    "off",
    "y",
    "true",
    "01",
    "1e-3",
    "2024-05-01",
    "12:30",
    "0x10",
    "1_000",
    "1.0",
    "null!",
    ".5",
]
ARGUMENTS = [
    *WORDS,
    "C# texts",
    "a #b",
    " a ",
    "[a]",
    "{a: b}",
    "a: b",
    "- a",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "'a",
    "a, b",
]


def lines(*overrides, kind=None):
    """Returns the faults of overrides, without the first line."""
    with pytest.raises(ConfigError) as caught:
        if kind is None:
            kt.config.load(overrides=overrides)
        else:
            kt.config.validate(kt.config.override({}, overrides), kind)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize("text", ARGUMENTS)
def test_an_argument_for_a_text_key_stays_as_typed_and_comes_back_from_the_saved_config(text, tmp_path):
    config = kt.config.load(overrides=[f"data.path={text}", f"data.columns.group={text}"])
    assert (config.data.path, config.data.columns.group) == (text, text)
    path = tmp_path / "config.yaml"
    path.write_text(kt.config.dump(config))
    assert kt.config.load(path) == config
    assert yaml.safe_load(path.read_text())["data"]["path"] == text


@pytest.mark.parametrize("word", WORDS)
def test_a_word_in_a_file_a_list_or_a_mapping_stays_as_typed(word, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"data:\n  path: {word}\n  columns: {{targets: {word}, group: {word}}}\n  class_weights: {{{word}: 2, b: 1e-1}}\n"
    )
    data = kt.config.load(path).data
    assert (data.path, data.columns.targets, data.columns.group) == (word, (word,), word)
    assert data.class_weights == {word: 2, "b": 0.1}
    listed = kt.config.load(overrides=[f"data.columns.targets=[{word}, b]", f"data.class_weights.a{word}=3"]).data
    assert (listed.columns.targets, listed.class_weights) == ((word, "b"), {f"a{word}": 3})


def test_null_is_null_where_the_key_may_be_null_unless_it_is_quoted():
    assert kt.config.load(overrides=["data.columns.group=null"]).data.columns.group is None
    assert kt.config.load(overrides=["data.columns.group=~"]).data.columns.group is None
    assert kt.config.load(overrides=["data.columns.group='null'"]).data.columns.group == "null"
    assert kt.config.load(overrides=['data.columns.group="a b"']).data.columns.group == "a b"
    assert kt.config.load(overrides=["data.path=null"]).data.path == "null"
    assert kt.config.load(overrides=["data.class_weights={no: 5, 01: 2, null: 1}"]).data.class_weights == {
        "no": 5,
        "01": 2,
        "null": 1,
    }
    assert kt.config.load(overrides=["data.class_weights=null"]).data.class_weights is None
    assert kt.config.load(overrides=["data.class_weights.a.b=5", "data.class_weights.a.c=1"]).data.class_weights == {
        "a.b": 5,
        "a.c": 1,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("3e-4", 3e-4), ("1E-3", 1e-3), ("1.", 1.0), (".5", 0.5), ("1e5", 1e5), ("1_0", 10), ("0x10", 16)],
)
def test_a_number_is_one_in_every_spelling(text, value, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"optimizer: {{learning_rate: {text}}}")
    assert kt.config.load(path).optimizer.learning_rate == value
    assert kt.config.load(overrides=[f"optimizer.learning_rate={text}"]).optimizer.learning_rate == value


def test_a_number_has_no_octal_digits_and_no_minutes():
    assert kt.config.load(overrides=["fit.epochs=010"]).fit.epochs == 10
    assert kt.config.load(overrides=["fit.epochs=1e1"]).fit.epochs == 10
    assert lines("fit.epochs=1:30") == ["fit.epochs: must be a whole number of at least 0, or null. Received: '1:30'."]
    assert lines("optimizer.learning_rate=0,1") == [
        "optimizer.learning_rate: must be a number above 0, or null. Received: '0,1'. Write 0.1 with a point."
    ]
    assert lines("data.validation_fraction=20%") == [
        "data.validation_fraction: must be a number above 0 and below 1. Received: '20%'. Write 0.2."
    ]


def test_search_spaces_are_read_by_the_types_of_their_keys(tmp_path):
    path = tmp_path / "search.yaml"
    path.write_text(
        "space:\n  data.path: [no, 01]\n  optimizer.learning_rate: [1e-3, 1]\n  model.batch_norm: [yes, no]\n"
        "  optimizer.arguments.beta_1: [1e-1]\n  model.dropout: {min: 1e-2, max: .5}\n"
    )
    space = kt.config.validate(kt.config.read_yaml(path), kt.config.SearchConfig).space
    assert space["data.path"] == ["no", "01"]
    assert space["optimizer.learning_rate"] == [0.001, 1]
    assert space["model.batch_norm"] == [True, False]
    assert space["optimizer.arguments.beta_1"] == [0.1]
    assert (space["model.dropout"].min, space["model.dropout"].max) == (0.01, 0.5)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (
            "memory.micro_batches: [1, auto, 1]",
            "space: the choices of memory.micro_batches must differ. Received: [1, 'auto', 1].",
        ),
        (
            "optimizer: {learning_rate: [1e-3]}",
            "space: keys must be written whole, such as optimizer.learning_rate. Received: optimizer.",
        ),
        (
            "optimizer.learning_rate: 3",
            "space.optimizer.learning_rate: must be a section with the keys choices, min, max, sampling, integer, step, "
            "when, or a list of values. Received: '3'.",
        ),
        (
            "optimizer.learning_rate: {min: 1, max: 2, log: yes}",
            "space.optimizer.learning_rate.log: unknown key 'log'. Known: choices, integer, max, min, sampling, step, when.",
        ),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_sentence(space, sentence, tmp_path):
    path = tmp_path / "search.yaml"
    path.write_text(f"space: {{{space}}}")
    with pytest.raises(ConfigError) as caught:
        kt.config.validate(kt.config.read_yaml(path), kt.config.SearchConfig, source=str(path))
    assert str(caught.value).splitlines()[1:] == [f"  {sentence}"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"fit:\n  epochs: 3\n  epochs: 5\n",
            "line 3: not valid YAML: the key 'epochs' is given twice, first in line 2.",
        ),
        (b"fit: {epochs: 3}\nfit: {}", "line 2: not valid YAML: the key 'fit' is given twice, first in line 1."),
        (b"fit:\n\tepochs: 3\n", "line 2: not valid YAML: a tab; indent with spaces."),
        (b"data:\n  path: Bl\xe4tter", "line 2: the file is not UTF-8 text. Save it with the encoding UTF-8."),
        (b"fit.epochs: 3", "fit.epochs: a file has one section inside the other. Write fit: {epochs: …}."),
        (b"data: {path: [a]}", "data.path: must be text that is not empty. Received: ['a']."),
        (b"data: {path: }", "data.path: must be text that is not empty. Received: null."),
        (
            b"data: {augment: {flip: }}",
            "data.augment.flip: it has no value. Write {} to turn it on with its defaults, or null to turn it off.",
        ),
        (b"a: 1\n---\nb: 2", "line 2: not valid YAML: a second document; remove the line `---`."),
        (b"data: {path: @x}", "line 1: not valid YAML: text that begins with '@' needs quotes."),
    ],
)
def test_a_file_with_a_fault_is_told_by_its_line_or_key(content, sentence, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        kt.config.load(path)
    assert str(caught.value).splitlines() == [f"{path} has one fault:", f"  {sentence}"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbffit:\r\n  epochs: 4 # a comment\r\n",
        "fit: {epochs: 4}".encode("utf-16"),
        b"fit: {<<: {epochs: 4}}\ndata:\n",
    ],
)
def test_a_file_as_windows_writes_it_is_read(content, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    assert kt.config.load(path).fit.epochs == 4


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("columns.input=a", "columns.input: unknown key. Did you mean 'data.columns.input'?"),
        ("epochs=3", "epochs: unknown key. Did you mean 'fit.epochs'?"),
        ("lr=3", "lr: unknown key. Did you mean 'optimizer.learning_rate'?"),
        ("learning_rate=3", "learning_rate: unknown key. Did you mean 'optimizer.learning_rate'?"),
        ("batch_size=3", "batch_size: unknown key. Did you mean 'fit.global_batch_size'?"),
        ("image_size=3", "image_size: unknown key. Did you mean 'data.image_size'?"),
        ("train.epochs=3", "train.epochs: unknown key. Did you mean 'fit.epochs'?"),
        ("Fit.Epochs=3", "Fit.Epochs: unknown key. Did you mean 'fit.epochs'?"),
        ("fit:epochs=3", "fit:epochs: unknown key. Did you mean 'fit.epochs'?"),
        ("name=adam", "name: unknown key. Did you mean 'optimizer.name', 'schedule.name' or 'tracking.name'?"),
        ("backbone=keras:VGG16", "backbone: unknown key. Did you mean 'model.backbone'?"),
    ],
)
def test_a_wrong_key_is_answered_with_the_right_one(wrong, right):
    assert lines(wrong) == [right]


def test_a_wrong_key_in_the_right_section_is_told_with_the_keys_there():
    assert lines("fit.lr=1")[0].endswith("stop_epoch. Did you mean 'optimizer.learning_rate'?")
    assert lines("fit.global-batch-size=1")[0].endswith("Did you mean 'global_batch_size'?")
    assert lines("prun.fraction=0.5", kind=kt.config.CompressConfig) == [
        "prun.fraction: unknown key. Did you mean 'prune.fraction'?"
    ]


def test_a_value_in_another_form_is_told_how_it_is_written():
    assert lines("data.image_size=64x32")[0].endswith("Received: '64x32'. Write [64, 32].")
    assert lines("model.hidden_units=64, 32")[0].endswith("Received: '64, 32'. Write [64, 32].")
    assert lines("export.formats=keras,onnx")[0].endswith("Received: 'keras,onnx'. Write [keras, onnx].")
    assert lines("export.formats=all")[0].endswith("or null. Received: 'all'.")
    assert lines("fit.epochs=3,")[0].endswith("Received: '3,'.")
    assert lines("data.class_weights={a:5}")[0].endswith("Received: {a:5: null}. Write a space after each colon.")
    assert lines("runtime.seed=-1")[0].endswith(
        "must be a whole number of at least 0 and below 2147483648. Received: -1."
    )
    assert lines("optimizer.name=ADAMW")[0].endswith("Did you mean 'adamw'?")


def test_an_empty_value_is_refused():
    assert lines("data.path=") == ["data.path: it has no value. Write it right after the `=`."]
    assert lines("model.backbone=") == ["model.backbone: it has no value. Write it right after the `=`, or null."]
    assert lines("fit.epochs= ") == ["fit.epochs: it has no value. Write it right after the `=`, or null."]
    assert kt.config.load(overrides=["data.columns.separator= "]).data.columns.separator == " "
    assert lines("data.path=''") == ["data.path: must be text that is not empty. Received: ''."]


def keys(section, prefix=""):
    for name, field in section.model_fields.items():
        yield prefix + name
        for member in typed.types_in(field.annotation):
            if isinstance(member, type) and issubclass(member, Section):
                yield from keys(member, f"{prefix}{name}.")


# Words of pydantic and Python, which mean nothing to who writes a config.
INTERNAL = re.compile(
    r"function-|\[_|NoneType|tuple|\bdict|\bstr\b|\bint\b|\bfloat\b|\bbool\b|Input |valid |none required|constrained|"
    r"literal|pydantic|instance|Traceback|greater than|None|True|False|lambda"
)
WRONG = ["true", "-7", "2.5", "text", "null", "[1, text]", "{a: b}", "[{a: [1]}]", "2024-05-01", "[]", "{}", "''"]


@pytest.mark.parametrize("kind", [kt.config.Config, kt.config.CompressConfig, kt.config.SearchConfig])
def test_every_key_takes_a_value_or_says_in_one_plain_sentence_what_it_takes(kind):
    needed = {"space": {"fit.epochs": [1]}} if kind is kt.config.SearchConfig else {}
    for key in keys(kind):
        for value in WRONG:
            for nested in (
                kt.config.override(needed, [f"{key}={value}"]),
                kt.config.put(needed, key, reading.parse(value)),
                kt.config.put(needed, key, yaml.safe_load(value)),
            ):
                try:
                    kt.config.validate(nested, kind)
                except ConfigError as error:
                    assert len({path for path, _ in error.faults}) == len(error.faults), str(error)
                    for path, sentence in error.faults:
                        assert not INTERNAL.search(sentence), (key, value, sentence)
                        assert path in ("config", key) or path.startswith((f"{key}.", key.split(".")[0])), (key, path)


def test_a_word_wins_over_a_folder_of_its_name_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    loading._warn_of_namesake.cache_clear()
    monkeypatch.setattr(logging.getLogger("kerastrain"), "propagate", True)
    for name in ("digits", "imagenet", "keras:VGG16"):
        (tmp_path / name).mkdir()
    config = kt.config.load(overrides=["model.backbone=keras:VGG16", "model.weights=imagenet"])
    assert (config.data.path, config.model.backbone, config.model.weights) == ("digits", "keras:VGG16", "imagenet")
    assert sorted(set(caplog.messages)) == [
        "digits is the bundled data set, and not the file or folder of this name here: write ./digits for that",
        "imagenet is the weights that Keras downloads, and not the file or folder of this name here: write ./imagenet for that",
        "keras:VGG16 is a network of Keras, and not the file or folder of this name here: write ./keras:VGG16 for that",
    ]
    assert kt.config.load(overrides=["data.path=./digits"]).data.path == str(tmp_path / "digits")
