"""The verbs about this machine."""

from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain.cli.program import app, start_tensorflow


@app.command()
def doctor(
    backbone: Annotated[str | None, typer.Option(help="A handle as in `model.backbone`, to describe.")] = None,
) -> None:
    """Print the versions and devices of this machine, and what a backbone takes and gives."""
    start_tensorflow()
    from kerastrain import backbones, runtime

    facts = runtime.record() if backbone is None else backbones.describe(backbone)
    print(configs.to_yaml(facts).rstrip())
