"""What a run would train on, to look at before it trains."""

from kerastrain import data
from kerastrain.config import Config
from kerastrain.recipe.building import load_backbone, load_data


def preview(config: Config) -> data.Preview:
    """The first batch of training, before and after what `config` says of augmentation."""
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
