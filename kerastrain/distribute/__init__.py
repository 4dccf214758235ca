"""Several devices and several machines, with the answer of one device.

`make` gives the strategy of the process, `divided` the data for its devices.
"""

from kerastrain.distribute.cluster import Cluster
from kerastrain.distribute.shares import divided
from kerastrain.distribute.strategies import Choice, choose, is_chief, make

__all__ = ["Choice", "Cluster", "choose", "divided", "is_chief", "make"]
