import pytest

from kerastrain.errors import InputError
from kerastrain.tuning import constraints

VALUES = {"rate": 0.1, "fit.batch": 32, "model.units": [128, 64], "name": "sgd", "weight": None, "flag": True}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("rate * fit.batch <= 1", False),
        ("rate * fit.batch <= 4 and name == 'sgd'", True),
        ("1 <= fit.batch // 3 % 7 < 5 ** 2", True),
        ("-rate + 2 > 1.9 or rate / 0 > 1", False),
        ("not flag", False),
        ("len(model.units) == 2 and sum(model.units) == 192 and max(model.units) > min(model.units)", True),
        ("max(rate, 3, fit.batch) == 32 and abs(-2) == 2", True),
        ("model.units == [128, 64]", True),
        ("name in ['adam', 'adamw']", False),
        ("name not in ('adam', 'adamw')", True),
        ("weight == null or weight < 1", True),
        ("flag == true and flag != false", True),
    ],
)
def test_a_constraint_is_computed_as_python_would(text, holds):
    if text.endswith("rate / 0 > 1"):
        with pytest.raises(InputError, match=r"'-rate \+ 2.*cannot be computed.*zero.*Received: rate=0.1"):
            constraints.parse(text).holds(VALUES)
        return
    assert constraints.parse(text).holds(VALUES) is holds


def test_the_keys_of_a_constraint_are_dotted():
    assert constraints.parse("a.b.c < min(d, 2) * e.f or g == null").keys == {"a.b.c", "d", "e.f", "g"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rate <", "a constraint must be an expression. Received: 'rate <'. Write a comparison such as"),
        ("rate * 2", "a constraint must be a comparison. Received: 'rate * 2'."),
        ("__import__('os').system('true') == 0", "unknown function"),
        ("open('x') == 0", "unknown function 'open'. Known: abs, len, max, min, sum."),
        ("(lambda: 1)() == 1", "unknown function"),
        ("rate[0] < 1", "Received: 'rate[0]' in the constraint"),
        ("[x for x in rate] == 1", "Received: '[x for x in rate]'"),
        ("rate.__class__() == 1", "unknown function 'rate.__class__'"),
        ("rate is 1", "Received: 'rate is 1'"),
        ("rate << 2 > 1", "Received: 'rate << 2'"),
        ("max(rate, key=abs) > 1", "Received: 'max(rate, key=abs)'"),
        ("(rate := 1) > 1", "Received: '(rate := 1)'"),
        ("b'a' == 1", "Received: \"b'a'\""),
        ("-" * 400 + "1 < 'a' * 10000000000000", None),
        ("1 < " + "-" * 1000 + "1", "at most 500 characters. Received: 1,005. Write several."),
    ],
)
def test_only_keys_numbers_and_operators_are_read(text, sentence):
    if sentence is None:
        with pytest.raises(InputError, match="cannot be computed: 'a' is \"a\", not a number"):
            constraints.parse(text).holds({})
        return
    with pytest.raises(InputError) as error:
        constraints.parse(text)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("weight * 2 < 1", "cannot be computed: weight is null, not a number. Received: weight=null."),
        ("9 ** 9 ** 9 > rate", "cannot be computed: "),
        ("len(rate) > 1", "cannot be computed: object of type 'float' has no len()"),
        ("weight < 1", "cannot be computed: null is neither more nor less than a number. Received: weight=null."),
        ("name < 3", "cannot be computed: '<' not supported"),
    ],
)
def test_values_that_cannot_be_computed_with_are_named(text, sentence):
    with pytest.raises(InputError) as error:
        constraints.parse(text).holds(VALUES)
    assert sentence in str(error.value)
