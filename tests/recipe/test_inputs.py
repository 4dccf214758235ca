import pytest
from PIL import Image

from kerastrain import config
from kerastrain.errors import InputError
from kerastrain.recipe import inputs


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(kind, *overrides):
    path = ["data.path=somewhere"] if kind == "text" else []
    return config.load(overrides=[f"data.kind={kind}", *path, *overrides])


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def found(kind, *arguments, **options):
    result = inputs.find(settings(kind), arguments, **options)
    return [(item.value, item.row) for item in result.found], list(result.notes), list(result.faults)


def test_a_table_a_file_a_folder_and_the_lines_of_stdin_are_texts(place):
    (place / "news.csv").write_text("text,label\ngood,pos\n,neg\n")
    (place / "lines.txt").write_text("one\n\n two \n")
    (place / "folder/inner").mkdir(parents=True)
    (place / "folder/inner/a.txt").write_text("first\n\nsecond\n")
    (place / "folder/b.txt").write_text(" \n")
    items, notes, faults = found("text", "so good", "news.csv", "lines.txt", "folder", "-", stdin=["x\n", "y\n"])
    assert items == [
        ("so good", ""),
        ("good", "line 2 of 'news.csv'"),
        ("one", "line 1 of 'lines.txt'"),
        ("two", "line 3 of 'lines.txt'"),
        ("first\n\nsecond", "'folder/inner/a.txt'"),
        ("x", "line 1 of standard input"),
        ("y", "line 2 of standard input"),
    ]
    assert notes == [
        "'news.csv': a table separated by commas, with texts in column 'text'",
        "'lines.txt': 2 texts, one in each line (1 empty line skipped)",
        "'folder': 1 text, one in each .txt file (of 3 lines; give the files themselves for a text in each line)",
        "standard input: 2 texts, one in each line",
    ]
    assert faults == ["line 3 of 'news.csv': column 'text' is empty.", "'folder/b.txt' contains no text."]


def test_what_looks_like_a_path_is_not_classified_silently(place):
    (place / "runs").mkdir()
    items, notes, faults = found(
        "text", "news.csv", "./news", "runs/gone", "and/or", "my old news.csv", "", "3.5 stars"
    )
    assert [value for value, _ in items] == ["and/or", "my old news.csv", "3.5 stars"]
    assert notes == ["'my old news.csv' is classified as a text, because there is no such file"]
    missing = "there is no file {!r}. To classify these characters as a text, use --text."
    assert faults == [*(missing.format(name) for name in ("news.csv", "./news", "runs/gone")), "the text '' is empty."]
    (place / "news.csv").write_text("text\nbad\n")
    assert found("text", texts=["news.csv", " "]) == ([("news.csv", "")], [], ["the text '' is empty."])
    with pytest.raises(InputError, match="--text is only for a text run"):
        found("images", texts=["good"])


def test_a_folder_and_a_table_of_images_are_read_and_others_are_left_to_the_decoder(place):
    for name in ("day2/0.png", "day1/b/0.png", "day1/a.jpg"):
        picture(place / name)
    (place / "day1/notes.txt").write_text("x")
    (place / "empty").mkdir()
    (place / "t.csv").write_text("image\nday2/0.png\ngone.png\n")
    items, notes, faults = found("images", "day1", "t.csv", "nothing.png", "empty")
    assert items == [
        ("day1/a.jpg", ""),
        ("day1/b/0.png", ""),
        ("day2/0.png", "line 2 of 't.csv'"),
        ("gone.png", "line 3 of 't.csv'"),
        ("nothing.png", ""),
    ]
    assert notes[0] == "'day1': 2 images (skipped: 1 .txt)"
    assert notes[1].startswith("'t.csv': a table")
    assert faults == ["'empty' contains no images."]


def test_the_column_of_the_run_is_only_required_where_it_is_given(place):
    (place / "other.csv").write_text("title,text\nA,good\n")
    own = settings("text", "data.columns.input=body")
    values = lambda config, own: [item.value for item in inputs.find(config, ["other.csv"], own=own).found]
    assert values(own, own) == ["good"]
    assert values(inputs.override(own, ["data.columns.input=title"]), own) == ["A"]
    wrong = inputs.find(inputs.override(own, ["data.columns.input=titel"]), ["other.csv"], own=own)
    assert "Did you mean 'title'?" in wrong.faults[0]


def test_overrides_are_told_from_inputs(place):
    (place / "data.a=b").write_text("x")
    arguments = ["a film", "data.path=t.csv", "data.columns.input=head", "data.a=b", "a = b", "columns.input=x"]
    assert inputs.divide(arguments) == (
        ["a film", "t.csv", "data.a=b", "a = b"],
        ["data.columns.input=head", "columns.input=x"],
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("columns.input=x", "Did you mean 'data.columns.input'"),
        ("data.kind=text", "`data.kind` belongs to the trained model and cannot be changed. Received: 'text'"),
        ("data.task=regression", "and the run has 'single_label'. Remove it, or train a run with it."),
        ("data.image_size=[9, 9]", "`data.image_size` belongs to the trained model"),
        ("fit.epochs=7", "`fit.epochs` belongs to the trained model"),
    ],
)
def test_what_the_model_fixes_cannot_be_overridden(override, message):
    with pytest.raises(InputError) as error:
        inputs.override(settings("images"), [override])
    assert message in str(error.value)


def test_what_is_read_can_be_overridden():
    changed = inputs.override(settings("images"), ["data.unreadable_fraction=0.5", "data.kind=images"])
    assert changed.data.unreadable_fraction == 0.5
