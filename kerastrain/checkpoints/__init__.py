"""The state of a training on disk: everything that the next step depends on, complete or absent.

Takes a compiled `keras.Model` and the state of its callbacks; writes folders from which a later process resumes bit for
bit. `kerastrain.callbacks.Checkpoints` writes them while `fit` runs. Must not know of data, schedules or configs.

Built on the tensor files of `tf.train.Checkpoint`, which carry a CRC for each tensor, but not on `tf.train.Checkpoint`
itself, for three reasons measured on TensorFlow 2.21 with Keras 3.15: of a variable that differs between replicas, such
as the averages of batch norm, it keeps only the first replica's value; of a metric it keeps the sum over the replicas
and gives each an equal share, which rounds; and its manager lists a checkpoint before it is on the disk.
"""

from kerastrain.checkpoints.rollback import roll_back
from kerastrain.checkpoints.store import Stored, latest, write
from kerastrain.checkpoints.training_state import Position, capture, restore, restore_metrics

__all__ = ["Position", "Stored", "capture", "latest", "restore", "restore_metrics", "roll_back", "write"]
