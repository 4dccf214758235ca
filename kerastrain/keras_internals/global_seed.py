"""The seed that Keras draws from where a layer or function has no seed: `keras.random.normal(shape)`.

Returns its variable. Must not draw from it.

The private names are `global_seed_generator` and `GLOBAL_SEED_GENERATOR` of `keras.src.random.seed_generator` (Keras 3.12,
the last for Python 3.10, has the key only as a text) and `get_global_attribute` of
`keras.src.backend.common.global_state`. Keras has a public name that resets the generator (`set_random_seed`,
https://github.com/keras-team/keras/pull/21874) but none that reads it. Read in Keras 3.12.4 to 3.15.1;
`tests/checkpoints/test_checkpoints.py` fails when they move.
"""

import keras
from keras.src.backend.common import global_state
from keras.src.random import seed_generator

PRIVATE_NAMES = ("global_seed_generator",)

_missing = [name for name in PRIVATE_NAMES if not hasattr(seed_generator, name)]
if _missing:
    raise ImportError(
        f"kerastrain saves Keras's global seed through keras.src.random.seed_generator.{_missing[0]}, which Keras "
        f"{keras.__version__} does not have. Without it a resumed training could differ. Install keras>=3.13.2,<3.16."
    )


_KEY = getattr(seed_generator, "GLOBAL_SEED_GENERATOR", "global_seed_generator")


def existing() -> list[keras.Variable]:
    """The state of Keras's global seed generator, or no variable if it does not exist yet.

    It is not created here, because creating it draws from Python's generator.
    """
    generator = global_state.get_global_attribute(_KEY)
    return [] if generator is None else [generator.state]


def get_or_create() -> list[keras.Variable]:
    """The state of Keras's global seed generator, which is created if it does not exist yet."""
    return [seed_generator.global_seed_generator().state]


def reset() -> None:
    """Forgets the global seed generator, as `keras.utils.set_random_seed` does from Keras 3.13 on."""
    global_state.set_global_attribute(_KEY, None)
