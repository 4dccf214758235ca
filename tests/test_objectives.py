import pytest

from kerastrain import objectives
from kerastrain.errors import InputError


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("F1 ", "f1"),
        ("equal_error", "equal_error"),
        ("precision>=0.95", "precision>=0.95"),
        ("recall = 90%", "recall>=0.9"),
        ("accuracy>=1", "accuracy>=1"),
        ("precision>=.5", "precision>=0.5"),
    ],
)
def test_an_objective_is_read_and_written(text, written):
    assert str(objectives.parse(text)) == written
    assert objectives.parse(written) == objectives.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "precision",
            r"precision needs a value, such as precision=0\.95\. Received: 'precision'\. In a shell, .* in quotes",
        ),
        ("recall>=95", r"above 0 and at most 1\. Received: 'recall>=95'\. For 95 percent, write recall>=0\.95"),
        ("recall>=0", "above 0 and at most 1"),
        ("precision>0.9", "is chosen by f1, precision>=0.95"),
        ("f1>=0.9", "is chosen by f1"),
        ("0.7", "is chosen by f1"),
        ("auc", r"Received: 'auc'"),
    ],
)
def test_a_near_miss_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        objectives.parse(text)
