"""Workers of a search without training: they hand functions of the values to an Oracle, in an order that is always the same."""

import math

from kerastrain import tuning

SPACE = tuning.Space(
    {
        "rate": tuning.Interval(1e-4, 1.0, "log"),
        "units": tuning.Interval(4, 64, "log", integer=True, step=2),
        "name": tuning.Choices(("adam", "sgd", None)),
        "momentum": tuning.Interval(0.0, 0.9, when=(tuning.Condition("name", ("sgd",)),)),
        "layers": tuning.Choices(([], [64], [128, 64])),
        "dropout": tuning.Choices((0, 0.2, 0.5), when=(tuning.Condition("layers", ([64], [128, 64])),)),
    },
    constraints=("rate * units <= 32",),
)


def settings(algorithm="random", trials=8, **others):
    objectives = others.pop("objectives", (tuning.Objective("loss", "min"),))
    return tuning.Settings(algorithm, trials, objectives, **{"seed": 3, "max_epochs": 9, **others})


def loss(values, epoch):
    """A learning curve of the point: it falls towards its own limit."""
    limit = abs(math.log10(values["rate"]) + 2) + abs(values["units"] - 16) / 16 + values.get("momentum", 0.4)
    limit += {"adam": 0.0, "sgd": 0.3, None: 0.1}[values["name"]] + len(values["layers"]) * values.get("dropout", 0.1)
    return limit + (1 + 0.1 * values["units"]) / epoch


class Workers:
    """Some workers in one thread; the trial that started first ends first.

    Args:
        oracle: the Oracle.
        count: int, how many.
        measure: callable (values, epoch, seed) -> dict of objectives, or a float for the only one "loss".
    """

    def __init__(self, oracle, count=1, measure=lambda values, epoch, seed: loss(values, epoch) + seed / 100):
        self.oracle, self.measure = oracle, measure
        self.free = [f"tuner{number}" for number in range(count)]
        self.busy = []

    def step(self):
        """Ends the oldest trial after each worker has one; False when the search is over."""
        for name in list(self.free):
            trial = self.oracle.create_trial(name)
            if trial.status == "RUNNING":
                self.free.remove(name)
                self.busy.append((name, trial))
        if not self.busy:
            return False
        name, trial = self.busy.pop(0)
        self.train(trial)
        self.free.append(name)
        return True

    def train(self, trial):
        asked = tuning.assignment(trial)
        for epoch in range(1, (asked.epochs or 9) + 1):  # Those before a pause are reported again, as after a kill.
            values = self.measure(asked.values, epoch, asked.seed)
            values = values if isinstance(values, dict) else {"loss": values}
            if self.oracle.update_trial(asked.trial_id, values, step=epoch).status == "STOPPED":
                break
        trial.status = "COMPLETED"
        self.oracle.end_trial(trial)

    def run(self):
        while self.step():
            pass
        return self
