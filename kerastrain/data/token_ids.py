"""The token ids of texts, computed once and kept in memory.

Takes texts and a function to token ids; returns a store that pads each batch to its longest text. Must not know models.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

_AT_ONCE = 256  # texts
_MOST_IDS = 200_000_000  # 800 MB


@dataclasses.dataclass(frozen=True, eq=False)
class TokenIds:
    """The token ids of n texts: a `Store` whose batches are padded with 0 to their longest text.

    Args:
        values: int32 array (ids,), those of all texts.
        starts: int64 array (n,), the place of the first id of each text in `values`.
        counts: int64 array (n,), the number of ids of each text, without padding.
        fixed_length: int, the length of every batch; None for that of the longest text in it.
    """

    values: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    fixed_length: int | None = None
    dtype = np.dtype(np.int64)

    @property
    def shape(self) -> tuple[int, int | None]:
        """(n, tokens); None for the tokens where batches differ."""
        return (len(self.counts), self.fixed_length)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        counts = self.counts[indices]
        length = self.fixed_length or int(counts.max(initial=0))
        ids = np.zeros((len(counts), length), self.dtype)
        for row, start, count in zip(ids, self.starts[indices], counts, strict=True):
            row[:count] = self.values[start : start + count]
        return ids

    def subset(self, indices: np.ndarray) -> "TokenIds":
        """Selects texts without copying their ids.

        Args:
            indices: int array (m,) in [0, n).

        Returns:
            TokenIds of m texts.
        """
        return dataclasses.replace(self, starts=self.starts[indices], counts=self.counts[indices])


def token_ids(
    texts: Sequence[str],
    tokenize: Callable[[Sequence[str]], np.ndarray],
    *,
    fixed_length: int | None = None,
    most_ids: int = _MOST_IDS,
) -> TokenIds | None:
    """Computes the token ids of texts.

    Args:
        texts: sequence of str.
        tokenize: callable from a sequence of str to their token ids, int (n, tokens), padded with 0 at the end.
        fixed_length: int, the length of every batch that a model is trained on; None for that of its longest text.
        most_ids: int, the most ids to keep in memory.

    Returns:
        TokenIds, or None if there are more ids than `most_ids`.
    """
    parts, counts, total = [], [], 0
    for start in range(0, len(texts), _AT_ONCE):
        ids = np.asarray(tokenize(texts[start : start + _AT_ONCE]))
        # Not the number of ids that are not 0: an id of 0 between others is a token too.
        lengths = ids.shape[1] - np.argmax(ids[:, ::-1] != 0, axis=1) if ids.shape[1] else np.zeros(len(ids), np.int64)
        lengths = np.where((ids != 0).any(axis=1), lengths, 0)
        total += int(lengths.sum())
        if total > most_ids:
            return None
        parts.append(ids[np.arange(ids.shape[1]) < lengths[:, None]].astype(np.int32))
        counts.append(lengths)
    counts = np.concatenate(counts)
    return TokenIds(np.concatenate(parts), np.cumsum(counts) - counts, counts, fixed_length)
