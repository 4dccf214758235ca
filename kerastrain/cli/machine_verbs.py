"""The verbs about this machine."""

from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain.cli.program import app, start_tensorflow
from kerastrain.terminal import printable


@app.command()
def doctor(
    backbone: Annotated[str | None, typer.Option(help="A handle as in `model.backbone`, to describe.")] = None,
) -> None:
    """Print the versions and devices of this machine and the strategy they lead to, or what a backbone takes and gives."""
    start_tensorflow()
    from kerastrain import backbones, distribute, runtime

    if backbone is None:
        choice = distribute.choose()
        facts = {**runtime.record(), "strategy": {"auto": choice.name, "because": choice.reason}}
    else:
        facts = backbones.describe(backbone)
    print(printable(configs.to_yaml(facts).rstrip()))
