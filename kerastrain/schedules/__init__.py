"""Learning-rate schedules: pure curves, the one Keras class that carries them, and a look at them without training."""

from kerastrain.schedules.schedule import CURVES, Schedule, make
from kerastrain.schedules.simulate import plot, simulate

__all__ = ["CURVES", "Schedule", "make", "plot", "simulate"]
