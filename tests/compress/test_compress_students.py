import keras
import pytest

from kerastrain import backbones, compress, models
from kerastrain.errors import InputError


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.25, 0.02])
def test_proposed_networks_have_nearly_the_size_that_was_asked_for(fraction):
    teacher = keras.applications.MobileNetV2(input_shape=(64, 64, 3), weights=None, classes=10)
    budget = fraction * teacher.count_params()
    proposals = compress.propose_students(teacher, fraction=fraction)
    sizes = [proposal.parameters for proposal in proposals]
    assert sizes == sorted(sizes, reverse=True)
    for proposal in proposals:
        backbone = backbones.load(proposal.backbone, **proposal.options)
        student = models.image_classifier(backbone, labels=[str(digit) for digit in range(10)])
        assert student.count_params() == proposal.parameters
        assert student.input_shape == teacher.input_shape
        assert 0.8 * budget <= proposal.parameters <= budget or proposal.options["alpha"] == 1.0


def test_students_of_texts_are_narrower_or_know_fewer_words():
    texts = [f"word{number} other{number}" for number in range(2000)]
    sizes = {"vocabulary_size": 5000, "embedding_dim": 64}
    teacher = models.text_classifier("keras:embedding", labels=["bad", "good"], texts=texts, **sizes)
    narrow, few = sorted(
        compress.propose_students(teacher, fraction=0.5), key=lambda proposal: proposal.options["embedding_dim"]
    )
    for proposal in (narrow, few):
        student = models.text_classifier(proposal.backbone, labels=["bad", "good"], texts=texts, **proposal.options)
        assert student.count_params() == proposal.parameters <= teacher.count_params() / 2
    assert (narrow.options["vocabulary_size"], few.options["embedding_dim"]) == (5000, 32)


@pytest.mark.parametrize(
    ("shape", "fraction", "message"),
    [
        ((8, 8, 3), 1.0, r"`fraction` must lie in \(0, 1\). Received: 1.0"),
        ((8,), 0.25, "`teacher` must take images .* or strings .*. Received: float32 .None, 8."),
        ((16, 16, 3), 0.5, "takes images of at least 32 by 32 pixels"),
    ],
)
def test_propose_students_refuses_what_it_cannot_do(shape, fraction, message):
    inputs = keras.Input(shape)
    teacher = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    with pytest.raises(InputError, match=message):
        compress.propose_students(teacher, fraction=fraction)


def test_propose_students_says_that_nothing_is_so_small():
    sizes = {"vocabulary_size": 10, "embedding_dim": 4}
    teacher = models.text_classifier("keras:embedding", labels=["bad", "good"], texts=["a b c"], **sizes)
    with pytest.raises(InputError, match="`fraction` must leave enough for a network. Received: 0.5, 25 parameters"):
        compress.propose_students(teacher, fraction=0.5)


def test_students_of_texts_read_them_as_their_teacher_does():
    texts = [f"文字{number % 100}文" for number in range(400)] + [chr(0x4E00 + number) * 2 for number in range(400)]
    options = {"tokenizer": "characters", "sequence_length": 33, "embedding_dim": 64}
    teacher = models.text_classifier("keras:embedding", labels=["bad", "good"], texts=texts, **options)
    for proposal in compress.propose_students(teacher):
        assert {**proposal.options, "tokenizer": "characters", "sequence_length": 33} == proposal.options
        student = models.text_classifier(proposal.backbone, labels=["bad", "good"], texts=texts, **proposal.options)
        assert student.count_params() <= teacher.count_params() / 4
    teacher = models.text_classifier(labels=["bad", "good"], texts=texts, tokenizer="characters", embedding_dim=64)
    assert {proposal.options["tokenizer"] for proposal in compress.propose_students(teacher)} == {"characters"}
