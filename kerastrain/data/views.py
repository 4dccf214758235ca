"""Inputs of which every epoch reads another view.

Takes an array; is a `Store` for `Examples`. Must not know what the views show.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Views:
    """Several views of n examples, such as the features of augmented images: a `Store` that reads one view in an epoch.

    Args:
        arrays: float32 array (views, n, ...).
    """

    arrays: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, *shape of one input)."""
        return self.arrays.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs."""
        return self.arrays.dtype

    def __len__(self) -> int:
        return self.arrays.shape[1]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.arrays[0, indices]

    def of_epoch(self, epoch: int) -> np.ndarray:
        """Returns the view that an epoch reads.

        Args:
            epoch: int >= 0.

        Returns:
            array (n, ...), view epoch % views.
        """
        return self.arrays[epoch % len(self.arrays)]

    def subset(self, indices: np.ndarray) -> "Views":
        """Selects examples, with all their views.

        Args:
            indices: int array (m,) in [0, n).

        Returns:
            Views of m examples.
        """
        return Views(self.arrays[:, indices])
