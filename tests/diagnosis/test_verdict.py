"""The rules of the verdict, on records with planted faults and on sound ones."""

import dataclasses
import math

import numpy as np
import pytest

from kerastrain import config as configs
from kerastrain import diagnosis
from kerastrain.diagnosis import curves, descriptors, differences, learning, statistics, verdict

SETTINGS = {
    "data.augment": {"resized_crop": {}, "colour": {"brightness": 0.2}},
    "data.class_weights": None,
    "data.folds": None,
    "data.kind": "images",
    "data.sampling": "uniform",
    "data.test_fraction": 0.1,
    "fit.epochs": 10,
    "fit.head_epochs": 30,
    "fit.label_smoothing": 0.0,
    "model.dropout": 0.2,
    "model.hidden_units": [],
    "model.l1": 0.0,
    "model.l2": 0.0,
    "optimizer.fine_tune_fraction": None,
    "optimizer.learning_rate": 0.01,
}
FALLING = [1.0, 0.4, 0.22, 0.2, 0.195, 0.194]


def part(accuracy, count, *, classes=4, seed=0, **options):
    """Predictions of which exactly a share is right, with logits that are sure where they are right."""
    random = np.random.default_rng(seed)
    targets = np.arange(count) % classes
    predicted = targets.copy()
    wrong = random.permutation(count)[round(accuracy * count) :]
    predicted[wrong] = (targets[wrong] + random.integers(1, classes, len(wrong))) % classes
    logits = random.normal(0, 0.1, (count, classes))
    logits[np.arange(count), predicted] += np.where(predicted == targets, 6, 1)
    return diagnosis.Part(targets, logits, **options)


def rows(losses, train=None, phase="fit"):
    train = losses if train is None else train
    rates = np.cos(np.linspace(0.2, 1.5, len(losses))) * 0.01
    return [
        {"phase": phase, "epoch": index + 1.0, "learning_rate": rate, "data_loss": loss, "val_data_loss": held_out}
        for index, (rate, loss, held_out) in enumerate(zip(rates, train, losses, strict=True))
    ]


def record(**changes):
    options = {
        "task": "single_label",
        "labels": ["a", "b", "c", "d"],
        "parts": {"train": part(0.99, 500), "validation": part(0.97, 400, seed=1), "test": part(0.97, 200, seed=2)},
        "history": rows(FALLING),
        "class_counts": np.array([400] * 4),
        "settings": SETTINGS,
        "steps_per_epoch": 50,
    }
    return diagnosis.Record(**{**options, **changes})


def kinds(record):
    return [finding.kind for finding in diagnosis.findings(record)]


def test_a_sound_run_has_no_finding_and_says_what_was_checked():
    sound = record()
    assert diagnosis.findings(sound) == []
    assert verdict.sound([], sound) == [kind for kind in verdict.KINDS if kind != "shift"]
    assert verdict.summary([], sound) == (
        "The run is sound: 10 checks found no fault (accuracy 0.970 on the validation part, 0.990 on training examples)."
    )


def test_overfitting_is_named_with_its_gap_and_settings():
    (finding,) = diagnosis.findings(record(parts={"train": part(1.0, 500), "validation": part(0.8, 400)}))
    assert finding.kind == "overfitting"
    assert finding.sentence == (
        "The model overfits: its accuracy is 1.000 on training examples and 0.800 on the validation part, a gap of 0.200 "
        "(95 % interval 0.160 to 0.240)."
    )
    assert [(change.key, change.value) for change in finding.changes] == [("model.dropout", 0.4), ("model.l2", 1e-4)]
    assert finding.confidence > 0.999


def test_the_same_gap_on_few_examples_is_noise():
    few = {"train": part(1.0, 500), "validation": part(0.9, 30)}
    assert kinds(record(parts=few)) == ["too_little_data"]
    assert kinds(record(parts={"train": part(1.0, 500), "validation": part(0.9, 600)})) == ["overfitting"]


def test_underfitting_is_named_unless_the_training_was_stopped_early():
    weak = {"train": part(0.6, 500), "validation": part(0.6, 400)}
    assert kinds(record(parts=weak)) == ["underfitting"]
    assert kinds(record(parts=weak, history=rows([1.0, 0.8, 0.55]))) == ["still_improving"]


def test_a_training_that_was_stopped_early_is_proposed_twice_as_many_epochs():
    weak = {"train": part(0.6, 500), "validation": part(0.6, 400)}
    (finding,) = diagnosis.findings(
        record(parts=weak, history=rows([1.0, 0.8, 0.55]), settings={**SETTINGS, "fit.epochs": 3})
    )
    assert finding.sentence == (
        "The model was still improving when training ended: the second half of 3 epochs took the validation loss from 0.9 to "
        "0.55."
    )
    assert [(change.key, change.value) for change in finding.changes] == [("fit.epochs", 6)]


def test_a_loss_that_falls_in_a_line_means_a_rate_that_is_too_low():
    weak = {"train": part(0.6, 500), "validation": part(0.6, 400)}
    line = list(np.linspace(1.35, 0.8, 12))
    assert kinds(record(parts=weak, history=rows(line))) == ["rate_too_low", "underfitting"]
    (finding, _) = diagnosis.findings(record(parts=weak, history=rows(line)))
    assert [(change.key, change.value) for change in finding.changes] == [("optimizer.learning_rate", 0.1)]


def test_a_training_loss_above_that_of_a_guess_means_a_rate_that_is_too_high():
    bad = {"train": part(0.4, 500), "validation": part(0.4, 400)}
    history = rows([3.0, 9.0, 4.0], train=[5.0, 30.0, 8.0])
    (finding,) = diagnosis.findings(record(parts=bad, history=history))
    assert finding.sentence == (
        "The learning rate is too high: in phase fit the training loss rose to 30, above the 1.39 of a guess."
    )
    assert [(change.key, change.value) for change in finding.changes] == [("optimizer.learning_rate", 0.001)]
    dropped = rows([2.0, 1.2, 1.19], train=[9.0, 5.0, 4.0])  # much dropout: the loss is high, but falls
    assert "unstable_rate" not in kinds(record(parts=bad, history=dropped))


def test_a_first_epoch_that_no_other_reaches_again_means_a_rate_that_is_too_high():
    parts = {"train": part(0.97, 500), "validation": part(0.95, 400)}
    (finding,) = diagnosis.findings(
        record(parts=parts, history=rows([0.4, 0.8, 1.2, 1.5, 1.4], train=[1.0, 0.4, 0.2, 0.1, 0.1]))
    )
    assert finding.sentence == (
        "The learning rate is too high: in phase fit the validation loss was lowest after the first epoch (0.4) and rose to 1.4 "
        "after 5 epochs."
    )
    assert kinds(record(parts=parts, history=rows([0.5, 0.4, 0.5, 0.55, 0.55], train=[1.0, 0.4, 0.2, 0.1, 0.1]))) == []


def test_the_rate_of_fine_tuning_changes_by_its_fraction():
    settings = {**SETTINGS, "optimizer.fine_tune_fraction": 0.5}
    bad = {"train": part(0.4, 500), "validation": part(0.4, 400)}
    history = rows(FALLING, phase="head") + rows(
        [9.0, 4.0], phase="fine_tune"
    )  # which destroyed what the head had learned
    (finding,) = diagnosis.findings(record(parts=bad, history=history, settings=settings))
    assert [(change.key, change.value) for change in finding.changes] == [("optimizer.fine_tune_fraction", 0.05)]


def test_the_usual_answer_alone_is_told_from_a_set_with_one_usual_class():
    logits = np.zeros((300, 4))
    logits[:, 0] = 3
    usual = diagnosis.Part(np.where(np.arange(300) % 10 < 7, 0, 1), logits)
    uneven = record(parts={"train": usual, "validation": usual}, class_counts=np.array([700, 300, 0, 0]))
    found = diagnosis.findings(uneven)
    assert found[0].sentence == (
        "The model only knows the usual answer: it predicts 'a' for 100.0% of the validation part, where it is true of 70.0%."
    )
    assert found[0].changes[0] == diagnosis.Change(
        "data.class_weights", "balanced", "every class has the same weight in the loss"
    )
    only = diagnosis.Part(np.zeros(300, int), logits)
    assert "majority_class" not in kinds(record(parts={"train": only, "validation": only}))


def test_imbalance_counts_only_if_the_rare_class_suffers():
    targets = np.where(np.arange(400) % 20 == 0, 1, 0)
    counts, labels = np.array([950, 50]), ["common", "rare"]
    logits = np.zeros((400, 2))
    logits[np.arange(400), targets] = 4
    good = diagnosis.Part(targets, logits)
    missed = logits.copy()
    missed[(targets == 1) & (np.arange(400) % 60 != 0)] = [4, 0]
    bad = diagnosis.Part(targets, missed)
    options = {"labels": labels, "class_counts": counts}
    assert kinds(record(parts={"train": good, "validation": good}, **options)) == []
    findings = diagnosis.findings(record(parts={"train": bad, "validation": bad}, **options))
    assert "imbalance" in [finding.kind for finding in findings]
    balanced = {**SETTINGS, "data.class_weights": "balanced"}
    assert "imbalance" not in kinds(record(parts={"train": bad, "validation": bad}, **options, settings=balanced))


def noisy(fraction, count=600, seed=3):
    random = np.random.default_rng(seed)
    clean = part(0.98, count, seed=seed)
    clean = dataclasses.replace(clean, outputs=clean.outputs * random.uniform(0.2, 2, (count, 1)))
    flipped = random.random(count) < fraction
    targets = np.where(flipped, (clean.targets + random.integers(1, 4, count)) % 4, clean.targets)
    return dataclasses.replace(clean, targets=targets)


def test_flipped_labels_are_estimated_and_told_from_hard_ones():
    assert statistics.label_noise(noisy(0.1).outputs, noisy(0.1).targets).fraction == pytest.approx(0.1, abs=0.03)
    (finding,) = diagnosis.findings(record(parts={"train": noisy(0.1, 500, 4), "validation": noisy(0.1)}))
    assert finding.kind == "label_noise"
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (600, 4))  # 3 in 4 of the answers are right, and the model knows when it is unsure
    hard = np.array([random.choice(4, p=row) for row in np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)])
    assert statistics.label_noise(logits, hard).interval[0] < learning.LEAST_NOISE


def test_labels_that_were_learned_by_heart_and_are_guessed_elsewhere_are_unrelated_to_the_inputs():
    (finding, *_) = diagnosis.findings(record(parts={"train": part(0.9, 500), "validation": part(0.25, 400)}))
    assert finding.sentence == (
        "The labels have nothing to do with the inputs: the accuracy on the validation part is 0.250, no better than a guess "
        "(0.250), though it is 0.900 on training examples."
    )


def test_copies_of_training_examples_are_leakage_however_few():
    leaking = {**record().parts, "test": part(0.97, 200, shared=7)}
    (finding,) = diagnosis.findings(record(parts=leaking))
    assert (finding.kind, finding.part, finding.confidence) == ("leakage", "test", 1.0)
    assert finding.sentence == (
        "Leakage: 7 of 200 examples of the test part (4%) are training examples too, so its measures are too good."
    )
    assert kinds(record(parts={**record().parts, "test": part(0.97, 200, shared=1)})) == []
    (finding,) = diagnosis.findings(record(left_out=40))
    assert finding.sentence == (
        "Leakage: 40 training examples were copies of held-out ones, and were left out. Where the parts come from, they overlap."
    )


def sampled(accuracy, count, features, seed, brightness=120.0, **options):
    own = part(accuracy, count, seed=seed, **options)
    random = np.random.default_rng(seed)
    properties = {"brightness": random.normal(brightness, 10, count), "contrast": random.normal(40, 5, count)}
    return dataclasses.replace(own, features=features, properties=properties, sample_targets=own.targets)


def test_near_copies_are_found_by_features_and_independent_examples_are_not():
    random = np.random.default_rng(0)
    known, new = random.normal(size=(400, 16)), random.normal(size=(200, 16))
    copies = known[:200] + random.normal(0, 0.01, (200, 16))
    train, validation = sampled(0.99, 400, known, 1), sampled(0.97, 200, new, 2)
    apart = record(parts={"train": train, "validation": validation})
    assert differences.leakage(apart) == []
    (finding,) = differences.leakage(record(parts={"train": train, "validation": sampled(0.97, 200, copies, 2)}))
    assert finding.sentence.startswith(
        "Leakage: about 99% of the validation part are nearly copies of training examples"
    )


def test_a_shifted_set_is_named_with_what_differs_and_an_unshifted_one_is_not():
    random = np.random.default_rng(0)
    train, validation, test, field = (
        sampled(0.97, 240, random.normal(size=(240, 16)), seed, brightness)
        for seed, brightness in ((1, 120), (2, 120), (3, 120), (4, 60))
    )
    same = record(parts={"train": train, "validation": validation, "test": test})
    assert differences.shift(same) == []
    (finding,) = verdict.findings_of_other(
        record(parts={"train": train, "validation": validation, "field": field}), "field"
    )
    assert (finding.kind, finding.part) == ("shift", "field")
    assert finding.sentence.startswith(
        "'field' is unlike the validation part: a classifier tells them apart with an AUC of 1.00"
    )
    assert "above all by brightness, " in finding.sentence
    (change,) = finding.changes
    accepted = configs.load(overrides=[diagnosis.setting(change.key, change.value)])
    assert accepted.data.augment.colour.brightness == 0.5


def test_other_class_frequencies_are_no_shift():
    random = np.random.default_rng(0)
    targets = [np.repeat([0, 1], counts) for counts in ((200, 100), (60, 240))]
    parts = [
        diagnosis.Part(t, np.eye(2)[t] * 5, features=random.normal(size=(300, 8)) + 3 * t[:, None], sample_targets=t)
        for t in targets
    ]
    assert (
        differences.shift(record(labels=["a", "b"], parts=dict(zip(("validation", "test"), parts, strict=True)))) == []
    )


def test_too_few_examples_are_counted_with_how_many_are_needed():
    small = {"train": part(0.97, 400), "validation": part(0.95, 40), "test": part(0.9, 40)}
    (finding,) = diagnosis.findings(record(parts=small))
    assert finding.sentence == (
        "The test part has 40 examples, too few: its accuracy of 0.900 is only known to ± 0.10. About 165 would make it ± 0.05."
    )
    assert [change.key for change in finding.changes] == ["data.folds"]
    (finding,) = diagnosis.findings(record(parts={**record().parts, "validation": part(0.95, 60)}))
    assert (finding.part, [(change.key, change.value) for change in finding.changes]) == (
        "validation",
        [("data.folds", 5)],
    )


def test_several_labels_and_numbers_have_the_same_rules():
    random = np.random.default_rng(0)
    targets = (random.random((500, 3)) < 0.4).astype(float)
    right = (2 * targets - 1) * 5
    wrong = np.where(random.random(targets.shape) < 0.25, -right, right)
    labels = ["x", "y", "z"]
    learned, missed = diagnosis.Part(targets, right), diagnosis.Part(targets, wrong)
    parts = {"train": learned, "validation": missed}
    options = {"task": "multi_label", "labels": labels, "class_counts": None}
    assert "overfitting" in kinds(record(parts=parts, **options))
    assert kinds(record(parts={"train": learned, "validation": learned}, **options)) == []
    numbers = random.normal(50, 10, (500, 1))
    close, far = numbers + random.normal(0, 1, (500, 1)), numbers + random.normal(0, 6, (500, 1))
    options = {"task": "regression", "labels": ["age"], "class_counts": None}
    good, bad = diagnosis.Part(numbers, close), diagnosis.Part(numbers, far)
    assert kinds(record(parts={"train": good, "validation": good}, **options)) == []
    assert kinds(record(parts={"train": good, "validation": bad}, **options)) == ["overfitting"]
    flat = diagnosis.Part(numbers, np.full((500, 1), 50.0))
    found = kinds(record(parts={"train": flat, "validation": flat}, **options))
    assert found == ["majority_class", "underfitting", "too_little_data"]


def test_a_record_without_parts_or_history_has_no_finding():
    empty = record(parts={}, history=[], class_counts=None)
    assert diagnosis.findings(empty) == []
    assert verdict.sound([], empty) == []
    assert verdict.summary([], empty) == "Nothing was found, but without held-out examples little can be."
    one = {"train": part(1.0, 1), "validation": part(1.0, 1), "test": part(1.0, 1)}
    assert kinds(record(parts=one)) == ["too_little_data"]


def test_printed_lines_can_be_pasted_into_a_shell():
    finding = {
        "sentence": "It is dark.",
        "confidence": 0.98,
        "try": [{"key": "a.b", "value": {"c": 0.5}, "why": "light"}],
    }
    assert verdict.lines({"findings": [finding]}) == [
        "verdict: It is dark. (98.0% sure)",
        """    try 'a.b={"c": 0.5}': light""",
    ]
    assert verdict.lines({"findings": [], "sentence": "Fine."}) == ["verdict: Fine."]
    assert verdict.lines({}) == []


def test_two_sample_statistics_equal_their_formulas():
    random = np.random.default_rng(0)
    same = statistics.compare(random.normal(size=(100, 3)), random.normal(size=(120, 3)))
    assert same.counts == (100, 120)
    assert min(same.auc_p, same.mmd_p) > 0.01
    other = statistics.compare(random.normal(size=(100, 3)), random.normal(1.5, 1, size=(120, 3)))
    assert other.auc.value > 0.9
    assert other.auc_p < 1e-6
    assert other.mmd_p == pytest.approx(1 / 200)
    difference = statistics.difference(np.ones(96), np.repeat([1.0, 0.0], 48))
    assert difference.value == pytest.approx(0.5)
    assert difference.error == pytest.approx(math.sqrt(0.98 * 0.02 / 100 + 0.25 / 100))


def test_half_of_a_curve_is_that_of_its_epochs_or_of_its_learning_rates():
    curve = curves.Curve("fit", 2.0, math.inf, np.zeros(2), np.array([1.0, 0.0]), np.array([1.0, 0.0]), 2.0)
    assert curve.after(0.5) == 1.0
    assert curve.after(0.5, of="rates") == pytest.approx(2 - 0.75)  # of 1 + 0.5, half is 0.75


def test_a_language_model_is_judged_by_its_validation_perplexity():
    overfit = [{"phase": "fine_tune", "val_data_loss": loss} for loss in (2.0, 1.5, 1.7)]
    (finding,) = curves.of_language(overfit)
    assert finding.sentence == (
        "The model overfits: its validation perplexity was lowest after epoch 2 (4.482) and then rose to 5.474."
    )
    assert finding.changes == (diagnosis.Change("fit.epochs", 2, "as long as it got better"),)
    (finding,) = curves.of_language([{"phase": "fine_tune", "val_loss": loss} for loss in (2.0, 1.5, 1.2)])
    assert (finding.kind, finding.changes[0].value) == ("still_improving", 6)
    assert curves.of_language([{"phase": "fine_tune", "val_loss": loss} for loss in (2.0, 1.99, 1.99)]) == []
    assert curves.of_language(overfit[:1]) == []


def test_descriptors_see_light_and_words():
    images = np.full((2, 8, 8, 3), 100, np.uint8)
    images[1] //= 2
    assert descriptors.of_inputs(images)["brightness"].tolist() == [100, 50]
    pairs = np.array([["AB", "c"], ["x", "y z"]], object)
    assert descriptors.of_inputs(pairs)["words"].tolist() == [2, 3]
    assert descriptors.of_inputs(np.zeros((3, 4), np.float32)) == {}
