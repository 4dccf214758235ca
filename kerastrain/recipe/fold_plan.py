"""Plans a cross-validation: the sizes of the parts of each fold. Must not import TensorFlow."""

from kerastrain import config as configs
from kerastrain import data
from kerastrain.config import Config
from kerastrain.recipe import plan


def sizes(config: Config, listing: data.Listing) -> list[dict[str, int]]:
    """The sizes of the parts of every fold, whose phases are checked too.

    Args:
        config: Config with `data.fold="all"`.
        listing: data.Listing from `plan.listing`.

    Returns:
        list of dict from the name of a part to its number of examples, one for each fold.

    Raises:
        InputError: as for `plan.parts` and `plan.phases`.
    """
    planned = []
    for fold in range(config.data.folds):
        of_fold = configs.folds.of_fold(config, fold)
        parts = plan.parts(of_fold, listing)
        plan.phases(of_fold, len(parts["train"]))
        planned.append({name: len(part) for name, part in parts.items()})
    return planned
