"""The environment of the templates of pages, which escapes every value.

Takes nothing; returns an environment of jinja2. Must not read the files of a run.
"""

import jinja2

from kerastrain.report import formats


def environment() -> jinja2.Environment:
    """Makes the environment of the templates in this folder.

    Returns:
        jinja2.Environment that escapes every value, fails at names without a value, and has the filters of `formats`.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("kerastrain.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= formats.FILTERS
    return made
