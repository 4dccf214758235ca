"""The command that describes this machine or a backbone: `kerastrain doctor`."""

from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain.cli.program import app, start_tensorflow
from kerastrain.errors import InputError
from kerastrain.system.terminal import printable


@app.command()
def doctor(
    backbone: Annotated[str | None, typer.Option(help="Backbone to describe, as in `model.backbone`.")] = None,
    signature: Annotated[
        str | None, typer.Option(help="Signature of the backbone to describe, as in `model.signature`.")
    ] = None,
    output_key: Annotated[
        str | None, typer.Option(help="Output that holds the features, as in `model.output_key`.")
    ] = None,
) -> None:
    """Print versions and devices, or describe a backbone.

    Without --backbone, print the versions and devices of this machine and the strategy that `auto` chooses. With it, print
    the inputs, the outputs and the number of parameters of the backbone; of a language model its sizes and whether it has a
    chat template.
    """
    if backbone == configs.AUTO_BACKBONE:
        raise InputError(
            "auto is chosen by the size of a run's images, and `kerastrain check data.path=…` says which backbone it is. "
            "Received: --backbone auto. Give the name of a backbone, such as kerastrain:efficientnet_lite0."
        )
    from kerastrain import presets
    from kerastrain.presets import language_description

    is_preset = backbone is not None and presets.is_preset(backbone) and signature is output_key is None
    if is_preset and (facts := language_description.describe(backbone)):
        print(printable(configs.to_yaml(facts).rstrip()))
        return
    start_tensorflow(prints="yaml")
    from kerastrain import backbones, distribute, runtime

    if backbone is None:
        choice = distribute.choose()
        facts = {**runtime.record(), "strategy": {"auto": choice.name, "because": choice.reason}}
    else:
        options = {"signature": signature, "output_key": output_key}
        facts = backbones.describe(backbone, **{name: value for name, value in options.items() if value is not None})
    print(printable(configs.to_yaml(facts).rstrip()))
