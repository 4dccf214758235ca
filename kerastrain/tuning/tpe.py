"""Hyperopt's tree-structured Parzen estimator as a keras-tuner Oracle.

Takes keras-tuner's space and the scores of finished trials; returns the next point. Must not run or record trials:
keras-tuner does.
"""

import math
import warnings

from kerastrain.system import optional_imports

_MAX_RANDOM_TRIALS = 20  # hyperopt's default


def oracle(keras_tuner, objective, parameters, *, trials: int, seed: int):
    """A keras-tuner Oracle that proposes points with hyperopt's `tpe.suggest`.

    TPE models the density of good points and that of the other points, one parameter at a time, and proposes the point with
    the largest ratio of the two. The first third of the trials, at most 20, is drawn at random.

    Args:
        keras_tuner: the module keras_tuner.
        objective: keras_tuner.Objective.
        parameters: keras_tuner.HyperParameters of Float, Int and Choice.
        trials: int > 0, the number of points to propose.
        seed: int, seed of all draws.

    Returns:
        keras_tuner.Oracle.

    Raises:
        MissingExtra: hyperopt is not installed.

    Reference: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization, section 4,
    https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization.
    """
    hyperopt = optional_imports.need("hyperopt", extra="tpe", to="search with tpe")
    choice = keras_tuner.engine.hyperparameters.Choice
    space = {parameter.name: _dimension(hyperopt.hp, parameter, choice) for parameter in parameters.space}
    domain = hyperopt.base.Domain(lambda values: None, space)
    sign = 1 if objective.direction == "min" else -1

    class ParzenOracle(keras_tuner.Oracle):
        """Reports the results of finished trials to hyperopt, and asks it for the next point."""

        def __init__(self):
            super().__init__(objective, trials, parameters, seed=seed)
            self.proposals = hyperopt.Trials()

        def populate_space(self, trial_id):
            """Returns the values of the next trial in keras-tuner's format.

            Args:
                trial_id: str, keras-tuner's name of the trial; unused.
            """
            for document, name in zip(self.proposals, self.start_order, strict=True):
                trial, unreported = self.trials[name], document["state"] != hyperopt.JOB_STATE_DONE
                if unreported and trial.status in ("COMPLETED", "FAILED"):
                    document.update(state=hyperopt.JOB_STATE_DONE, result={"status": hyperopt.STATUS_FAIL})
                    if trial.status == "COMPLETED":
                        document["result"] = {"status": hyperopt.STATUS_OK, "loss": sign * trial.score}
            self.proposals.refresh()
            number, random_trials = len(self.proposals), min(math.ceil(trials / 3), _MAX_RANDOM_TRIALS)
            with warnings.catch_warnings():
                # hyperopt 0.3.0 sets the shape of arrays, which NumPy 2.5 deprecates.
                warnings.filterwarnings("ignore", "Setting the shape", DeprecationWarning)
                documents = hyperopt.tpe.suggest(
                    [number], domain, self.proposals, seed + number, n_startup_jobs=random_trials
                )
            self.proposals.insert_trial_docs(documents)
            self.proposals.refresh()
            values = hyperopt.space_eval(space, hyperopt.base.spec_from_misc(documents[0]["misc"]))
            return {
                "status": "RUNNING",
                "values": {
                    parameter.name: _within_limits(parameter, values[parameter.name], choice)
                    for parameter in parameters.space
                },
            }

    return ParzenOracle()


def _dimension(hp, parameter, choice: type):
    """The hyperopt distribution for a keras-tuner parameter."""
    name = parameter.name
    if isinstance(parameter, choice):
        return hp.choice(name, list(parameter.values))
    low, high, integer = parameter.min_value, parameter.max_value, isinstance(parameter.min_value, int)
    if integer:
        low, high = low - 0.5, high + 0.5  # makes the limits as likely as the numbers between them
    if parameter.sampling == "log":
        low, high = math.log(low), math.log(high)
        return hp.qloguniform(name, low, high, 1) if integer else hp.loguniform(name, low, high)
    return hp.quniform(name, low, high, 1) if integer else hp.uniform(name, low, high)


def _within_limits(parameter, value, choice: type):
    """`value` converted to the parameter's type and clipped to its limits, which rounding can exceed."""
    if isinstance(parameter, choice):
        return value
    dtype = type(parameter.min_value)
    return dtype(min(max(value, parameter.min_value), parameter.max_value))
