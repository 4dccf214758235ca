"""Hyperopt's tree-structured Parzen estimator as an algorithm of keras-tuner.

Takes keras-tuner's space and the scores of what it tried; gives the next point. keras-tuner runs and records the trials.
"""

import math
import warnings

from kerastrain.system import optional_imports

_MOST_RANDOM = 20  # hyperopt's own number


def oracle(keras_tuner, objective, parameters, *, trials: int, seed: int):
    """A keras-tuner Oracle that proposes by hyperopt's `tpe.suggest` what likely does better than the known points.

    It models the density of good points and that of the others, one parameter at a time, and proposes where their ratio is
    largest. The first third of the trials, at most 20, is drawn at random.

    Args:
        keras_tuner: the module.
        objective: keras_tuner.Objective.
        parameters: keras_tuner.HyperParameters of Float, Int and Choice.
        trials: int > 0, points to propose.
        seed: int, of all draws.

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
        """Tells hyperopt what came of its proposals, and asks for the next."""

        def __init__(self):
            super().__init__(objective, trials, parameters, seed=seed)
            self.proposals = hyperopt.Trials()

        def populate_space(self, trial_id):
            """The values of the next trial, as keras-tuner wants them."""
            for document, name in zip(self.proposals, self.start_order, strict=True):
                trial, untold = self.trials[name], document["state"] != hyperopt.JOB_STATE_DONE
                if untold and trial.status in ("COMPLETED", "FAILED"):
                    document.update(state=hyperopt.JOB_STATE_DONE, result={"status": hyperopt.STATUS_FAIL})
                    if trial.status == "COMPLETED":
                        document["result"] = {"status": hyperopt.STATUS_OK, "loss": sign * trial.score}
            self.proposals.refresh()
            number, starting = len(self.proposals), min(math.ceil(trials / 3), _MOST_RANDOM)
            with warnings.catch_warnings():
                # hyperopt 0.3.0 sets shapes, which NumPy 2.5 no longer likes.
                warnings.filterwarnings("ignore", "Setting the shape", DeprecationWarning)
                documents = hyperopt.tpe.suggest(
                    [number], domain, self.proposals, seed + number, n_startup_jobs=starting
                )
            self.proposals.insert_trial_docs(documents)
            self.proposals.refresh()
            values = hyperopt.space_eval(space, hyperopt.base.spec_from_misc(documents[0]["misc"]))
            return {
                "status": "RUNNING",
                "values": {one.name: _inside(one, values[one.name], choice) for one in parameters.space},
            }

    return ParzenOracle()


def _dimension(hp, parameter, choice: type):
    """The distribution of hyperopt's for a parameter of keras-tuner's."""
    name = parameter.name
    if isinstance(parameter, choice):
        return hp.choice(name, list(parameter.values))
    low, high, whole = parameter.min_value, parameter.max_value, isinstance(parameter.min_value, int)
    if whole:
        low, high = low - 0.5, high + 0.5  # so that the ends are as likely as the numbers between
    if parameter.sampling == "log":
        low, high = math.log(low), math.log(high)
        return hp.qloguniform(name, low, high, 1) if whole else hp.loguniform(name, low, high)
    return hp.quniform(name, low, high, 1) if whole else hp.uniform(name, low, high)


def _inside(parameter, value, choice: type):
    """`value` of the parameter's own type, within its ends after rounding."""
    if isinstance(parameter, choice):
        return value
    kind = type(parameter.min_value)
    return kind(min(max(value, parameter.min_value), parameter.max_value))
