"""The verbs about this machine."""

from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain.cli.program import app, start_tensorflow
from kerastrain.system.terminal import printable


@app.command()
def doctor(
    backbone: Annotated[str | None, typer.Option(help="A handle as in `model.backbone`, to describe.")] = None,
    signature: Annotated[
        str | None, typer.Option(help="As `model.signature`: which signature of it is called.")
    ] = None,
    output_key: Annotated[str | None, typer.Option(help="As `model.output_key`: which output is the features.")] = None,
) -> None:
    """Print the versions and devices of this machine and the strategy they lead to, or what a backbone takes and gives."""
    start_tensorflow()
    from kerastrain import backbones, distribute, runtime

    if backbone is None:
        choice = distribute.choose()
        facts = {**runtime.record(), "strategy": {"auto": choice.name, "because": choice.reason}}
    else:
        chosen = {"signature": signature, "output_key": output_key}
        facts = backbones.describe(backbone, **{name: value for name, value in chosen.items() if value is not None})
    print(printable(configs.to_yaml(facts).rstrip()))
