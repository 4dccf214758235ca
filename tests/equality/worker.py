"""Trains the cases named on the command line as one worker of the cluster in TF_CONFIG; the answers go to a folder.

worker.py FOLDER optimizer:option …
"""

import sys
from pathlib import Path

import cases
import numpy as np

from kerastrain import distribute

folder, *names = sys.argv[1:]
strategy = distribute.make("multi_worker", timeout_seconds=120)
index = strategy.cluster_resolver.task_id
for case in names:
    name, option = case.split(":")
    np.savez(Path(folder) / f"{name}_{option}_{index}.npz", **cases.trained(name, option, strategy))
