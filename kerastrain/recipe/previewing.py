"""Previews the first training batch of a config, before any training."""

from kerastrain import data
from kerastrain.config import Config
from kerastrain.recipe.building import load_backbone, load_data


def preview(config: Config) -> data.Preview:
    """Returns the first training batch before and after augmentation.

    Args:
        config: Config.

    Returns:
        data.Preview of `fit.global_batch_size` examples.

    Raises:
        InputError: the data or the backbone cannot be used.
    """
    image_size = config.data.image_size
    if config.data.kind == "images" and image_size is None:
        image_size = load_backbone(config).image_size
    return data.preview(
        load_data(config, image_size).train,
        config.fit.global_batch_size,
        shuffle=True,
        sampling=config.data.sampling,
        seed=config.runtime.seed,
        augment=data.augment(**config.data.augment.named),
    )
