"""Runs the training steps of the candidates with the data, augmentation and seed of a run.

Takes a run, its data, the settings of `compress` and the folder of the compression; returns new models, which it saves
there with the checkpoints of the training that was interrupted.
"""

import functools
import logging
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from kerastrain import callbacks, compress, data, models, run_directory, runtime
from kerastrain.compression_search import steps as training_steps
from kerastrain.compression_search.candidates import Candidate
from kerastrain.compression_search.halving import Contest, FellBehind, Rungs
from kerastrain.compression_search.measurement import model_score
from kerastrain.compression_search.progress import Pace, Watch
from kerastrain.compression_search.unfinished import Unfinished
from kerastrain.config import CompressConfig
from kerastrain.config.compression import ClusterConfig, DistillConfig, PruneChannelsConfig, PruneConfig
from kerastrain.errors import InputError
from kerastrain.export import int4
from kerastrain.keras_internals.layers import every_layer
from kerastrain.presets import image_networks
from kerastrain.run_directory import Run
from kerastrain.system import files, signals

logger = logging.getLogger("kerastrain")

_DEFAULTS = {
    "distill": DistillConfig(),
    "prune_channels": PruneChannelsConfig(),
    "prune": PruneConfig(),
    "cluster": ClusterConfig(),
}


class Trainer:
    """Trains a run's model with any sequence of steps, each sequence once.

    Every trained model is saved, and a model that an earlier process saved is loaded. A training that was interrupted
    resumes from its newest checkpoint.

    Args:
        run: Run, whose model is not changed.
        split: data.Split of the run.
        settings: CompressConfig; steps that it does not set use their defaults.
        unfinished: Unfinished, the folder of the models and checkpoints.
        pace: Pace, to which each training reports.

    Attributes:
        contest: Contest, which stops trainings that fall behind; None to train all of them to the end.
    """

    def __init__(
        self, run: Run, split: data.Split, settings: CompressConfig, unfinished: Unfinished, pace: Pace | None = None
    ):
        self.run, self.split, self.settings = run, split, settings
        self.unfinished, self.pace = unfinished, pace or Pace()
        self.loss = models.loss(
            run.model,
            label_smoothing=run.config.fit.label_smoothing,
            positive_weights=split.train.positive_weights,
        )
        self.contest: Contest | None = None
        self._outcomes: dict[tuple[str, ...], keras.Model | Exception] = {(): run.model}
        self._callbacks: list[keras.callbacks.Callback] = []

    def model(self, steps: tuple[str, ...]) -> keras.Model:
        """Returns the run's model after some steps, trained at the first call.

        Args:
            steps: tuple of str, keys of `candidates.STEP_NAMES`.

        Returns:
            keras.Model; the run's model without steps.

        Raises:
            InputError: the model does not support one of the steps; later calls raise the same error, like any other
                error of the training.
            OutOfTime: the training does not fit into the budget of time.
            FellBehind: the training was stopped by the contest.
            Stopped: a signal arrived; the state of the training is saved.
        """
        if steps not in self._outcomes:
            try:
                self._outcomes[steps] = self._made(steps)
            except Exception as error:
                self._outcomes[steps] = error
                raise
        if isinstance(outcome := self._outcomes[steps], Exception):
            raise outcome
        return outcome

    def require_not_ended(self, steps: tuple[str, ...]) -> None:
        """Raises if a training that a model needs has failed or was stopped before.

        Args:
            steps: tuple of str, keys of `candidates.STEP_NAMES`.

        Raises:
            Exception: the error of the training, as from `model`.
        """
        for chain in (steps[: count + 1] for count in range(len(steps))):
            if isinstance(outcome := self._outcomes.get(chain), Exception):
                raise outcome
            if self.contest is not None:
                self.contest.require_not_stopped(Candidate(chain, "").stem)

    def steps_left(self, steps: tuple[str, ...]) -> dict[str, tuple[str, int]]:
        """Lists the trainings that are needed for a model and not done yet.

        Args:
            steps: tuple of str, keys of `candidates.STEP_NAMES`.

        Returns:
            dict from the stem of a model to (key of `candidates.STEP_NAMES`, training steps).
        """
        per_epoch = data.steps_per_epoch(self.split.train, self.run.config.fit.global_batch_size)
        chains = [steps[: count + 1] for count in range(len(steps))]
        return {
            stem: (chain[-1], per_epoch * self.section(chain[-1]).epochs)
            for chain in chains
            if not self.unfinished.model_path(stem := Candidate(chain, "").stem).exists()
        }

    def _made(self, steps: tuple[str, ...]) -> keras.Model:
        stem = Candidate(steps, "").stem
        path = self.unfinished.model_path(stem)
        if not path.exists():
            before, began = self.model(steps[:-1]), time.monotonic()
            saving = callbacks.Checkpoints(self.unfinished.checkpoints(stem), keep=1, phase=stem)
            bar = callbacks.Progress(phase=f"training {stem}", counts_epochs=False)
            if saving.start.step:
                logger.info("resuming the training of %s at step %d", stem, saving.start.step)
            watch = Watch(self.pace, steps[-1], first_step=saving.start.step, logs_lines=not bar.on_terminal)
            self._callbacks = [*saving.before([bar]), watch, *self._rungs(steps, saving.start.step)]
            # The random numbers of a step must not depend on the steps that were trained before.
            runtime.seed(self.run.config.runtime.seed)
            try:
                trained = training_steps.STEPS[steps[-1]](self, before)
            except FellBehind:
                self.unfinished.remove_checkpoints(stem)
                raise
            finally:
                signals.release()  # Keras does not end a training that raises
            if watch.out_of_time is not None:
                raise watch.out_of_time
            run_directory.remember_modules(trained)
            with files.atomic(path) as temporary:
                trained.save(temporary)
            self.pace.add_start(steps[-1], watch.step_count, time.monotonic() - began)
        self.unfinished.remove_checkpoints(stem)
        # Also where it was trained just now, so that an interruption changes nothing.
        return models.load(path)

    def _rungs(self, steps: tuple[str, ...], first_step: int) -> list[Rungs]:
        """The callback that measures a training for the contest, if there is one."""
        if self.contest is None:
            return []
        validation = self.split.validation
        return [Rungs(self.contest, steps, lambda model: model_score(model, validation), first_step=first_step)]

    def parameters(self, steps: tuple[str, ...]) -> int:
        """Counts the parameters of the run's model after no step, or one that removes some.

        Args:
            steps: tuple of str: (), ("distill",) or ("prune_channels",).

        Returns:
            int >= 1.

        Raises:
            InputError: the run's model does not support the step.
        """
        if steps == ("distill",):
            return self._proposal.parameters
        return self._channel_pruned_parameters if steps else self.run.model.count_params()

    @functools.cached_property
    def _channel_pruned_parameters(self) -> int:
        fraction = self.section("prune_channels").multiply_adds_fraction
        return compress.remaining_parameters(self.run.model, fraction)

    @functools.cached_property
    def _proposal(self) -> compress.Proposal:
        """The student of the run's model."""
        return compress.propose_students(self.run.model, fraction=self.section("distill").parameters_fraction)[0]

    def section(self, step: str):
        """Returns the section of the settings for a step, or its defaults.

        Args:
            step: str, key of `candidates.STEP_NAMES`.

        Returns:
            section of `CompressConfig`, such as PruneConfig.
        """
        return getattr(self.settings, step) or _DEFAULTS[step]

    def require(self, candidate: Candidate) -> None:
        """Raises if a candidate cannot be made, before anything is trained for it.

        Args:
            candidate: Candidate.

        Raises:
            InputError: the run's model, or the student that replaces it, does not support one of the steps or the number
                format.
            MissingExtra: the number format needs a package that is not installed.
        """
        if candidate.quantize in int4.KINDS:
            int4.require()
        model = self.run.model
        if "distill" not in candidate.steps:  # A student has other layers.
            kind = image_networks.kind_of_layers(type(layer).__name__ for layer in every_layer(model))
            if (reason := image_networks.without_integers(kind, [candidate.quantize])) is not None:
                raise InputError(f"`quantize`: {reason}.")
        if "distill" in candidate.steps:
            self.parameters(("distill",))
            if {"prune_channels", "quantize_aware"} & set(candidate.steps):
                model = self.student(model)
        if "prune_channels" in candidate.steps:
            if model is self.run.model:
                self.parameters(("prune_channels",))  # An error here costs this candidate, and later the whole search.
            else:
                compress.require_removable_channels(model, self.section("prune_channels").multiply_adds_fraction)
        if "quantize_aware" in candidate.steps:
            compress.require_int8_layers(model)

    def student(self, model: keras.Model) -> keras.Model:
        """Builds a new network with the configured fraction of a model's parameters.

        Args:
            model: keras.Model, the teacher.

        Returns:
            keras.Model with random weights.
        """
        fraction = self.section("distill").parameters_fraction
        is_own = model is self.run.model
        proposal = self._proposal if is_own else compress.propose_students(model, fraction=fraction)[0]
        return training_steps.student(self, proposal)

    def batches(self, epochs: int) -> tf.data.Dataset:
        """Builds one dataset of all epochs, each with its own order and augmentation.

        Args:
            epochs: int >= 1.

        Returns:
            tf.data.Dataset of the training part, as from `data.batches`.
        """
        return data.batches(
            self.split.train,
            self.run.config.fit.global_batch_size,
            shuffle=True,
            sampling=self.run.config.data.sampling,
            seed=self.run.config.runtime.seed,
            epochs=epochs,
            augment=self.augment,
        )

    @property
    def augment(self) -> Callable | None:
        """The run's augmentation of a batch."""
        return data.augment(**self.run.config.data.augment.named)

    def fine_tuning(self, section) -> compress.FineTuning:
        """The training options of a step, for a dataset of `batches`.

        Args:
            section: section of `CompressConfig` for the step, such as PruneConfig.

        Returns:
            FineTuning of one pass over the dataset, with the learning rate of the section and the loss of the run.
        """
        return compress.FineTuning(
            epochs=1,
            learning_rate=section.learning_rate,
            loss=self.loss,
            callbacks=self._callbacks,
            verbose=1,  # for the bar among the callbacks
        )
