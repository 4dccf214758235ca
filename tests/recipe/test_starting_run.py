import pytest
import untrained
from PIL import Image

from kerastrain import config, recipe
from kerastrain.errors import InputError
from kerastrain.recipe import plan, starting_run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def classes(folder, *names):
    for number, name in enumerate(names):
        for index in range(8):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number * 60, index, 0)).save(folder / name / f"{index}.png")
    return folder


def lines(settings):
    whole = plan.listing(settings)
    return plan.description(settings, whole, plan.parts(settings, whole))


def test_the_config_of_the_run_holds_where_nothing_is_given(place):
    run = untrained.card(place / "run", ["a", "b"], overrides=["fit.epochs=7", "optimizer.learning_rate=0.5"])
    (place / "more.yaml").write_text("fit: {head_epochs: 2}\noptimizer: {learning_rate: 0.25}\n")
    settings = recipe.config_from("run", "more.yaml", ["optimizer.learning_rate=0.125"])
    assert (settings.fit.epochs, settings.fit.head_epochs, settings.optimizer.learning_rate) == (7, 2, 0.125)
    assert settings.model.from_run == str(run)
    assert settings.data.image_size == (8, 8)
    assert recipe.config_from("run/model.keras").model.from_run == str(run)
    assert not settings.from_scratch


def test_columns_are_forgotten_where_the_new_data_are_no_table(place):
    (place / "t.csv").write_text("picture,kind\nx.png,a\n")
    untrained.card(place / "run", ["a", "b"], overrides=["data.path=t.csv", "data.columns.input=picture"])
    assert recipe.config_from("run").data.columns.input == "picture"
    (place / "u.csv").write_text("picture,kind\nx.png,a\n")
    assert recipe.config_from("run", overrides=["data.path=u.csv"]).data.columns.input == "picture"
    classes(place / "photos", "a", "b")
    assert recipe.config_from("run", overrides=["data.path=photos"]).data.columns.input is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "dog"], ["head: kept, for the same 2 labels"]),
        (["Cat", "dog "], ["head: kept, for the same 2 labels"]),
        (["bird", "cat", "dog"], ["head: 2 kept (cat, dog), 1 new (bird)"]),
        (
            ["bird", "cat"],
            ["head: 1 kept (cat), 1 new (bird), 1 dropped (dog)", "warning: the new model will not know dog"],
        ),
        (
            ["x", "y"],
            ["head: 2 new (x, y), 2 dropped (dog, cat)", "warning: no label of the data is one of the model's"],
        ),
    ],
)
def test_what_is_kept_of_the_head_is_said_before_training(place, names, said):
    untrained.card(place / "run", ["dog", "cat"])
    classes(place / "photos", *names)
    last = lines(recipe.config_from("run", overrides=["data.path=photos"]))
    start = last.index(f"starts from: {place / 'run'}")
    assert len(last) == start + 1 + len(said)
    for line, expected in zip(last[start + 1 :], said, strict=True):
        assert line.startswith(expected)


def test_texts_keep_their_vocabulary_and_say_so(place):
    untrained.card(place / "run", ["neg", "pos"], overrides=["data.kind=text", "data.path=reviews"])
    (place / "reviews").mkdir()
    for name in ("neg", "pos"):
        (place / f"reviews/{name}.txt").write_text("".join(f"a {name} text {number}\n" for number in range(9)))
    said = lines(recipe.config_from("run"))
    assert "vocabulary: that of the run to start from; words that it does not contain stay unknown" in said


@pytest.mark.parametrize(
    ("override", "received"),
    [
        ("data.task=multi_label", "'multi_label', and the run has 'single_label'"),
        ("data.image_size=[9, 9]", "(9, 9), and the run has (8, 8)"),
        ("model.backbone=keras:MobileNetV2", "'keras:MobileNetV2', and the run has 'kerastrain:fractal_small'"),
        ("model.hidden_units=[4]", "(4,), and the run has ()"),
        ("runtime.precision=mixed_bfloat16", "'mixed_bfloat16', and the run has 'float32'"),
    ],
)
def test_what_the_weights_depend_on_cannot_change(place, override, received):
    untrained.card(place / "run", ["a", "b"])
    with pytest.raises(InputError) as error:
        recipe.config_from("run", overrides=[override])
    key = override.partition("=")[0]
    assert f"`{key}` must be that of the run to start from, 'run'. Received: {received}" in str(error.value).replace(
        str(place / "run"), "run"
    )


def test_a_regression_must_have_the_same_numbers(place):
    untrained.card(place / "run", ["price", "age"], task="regression")
    Image.new("RGB", (8, 8)).save(place / "x.png")
    rows = "".join(f"{number}.png,{number},{number}\n" for number in range(20))
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(place / f"{number}.png")
    (place / "t.csv").write_text(f"image,age,cost\n{rows}")
    settings = recipe.config_from("run", overrides=["data.path=t.csv", "data.columns.targets=[age, cost]"])
    with pytest.raises(
        InputError, match="the numbers must be those of the run to start from, price, age. Received: age"
    ):
        lines(settings)


def test_only_a_trained_run_can_be_started_from(place):
    with pytest.raises(FileNotFoundError, match="'run' is not a run directory"):
        recipe.config_from("run")
    untrained.card(place / "run", ["a", "b"])
    (place / "run/model.keras").write_text("x")
    with pytest.raises(InputError, match="is not a model that kerastrain has trained"):
        recipe.config_from("run")
    (place / "run/model.keras").unlink()
    with pytest.raises(InputError, match="was stopped before its training finished. Resume it with"):
        recipe.config_from("run")


def test_a_config_without_a_run_to_start_from_says_nothing():
    assert starting_run.description(config.load(), ["a"]) == []
    starting_run.check(config.load())
