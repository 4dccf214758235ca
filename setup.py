from setuptools import find_packages, setup

# The bundled backbones lie outside of the package, where `find:` in setup.cfg does not look.
BUNDLED = ("efficientnet_lite0", "fractal_small")
setup(
    packages=[
        *find_packages(include=["kerastrain", "kerastrain.*"]),
        *(f"kerastrain.saved_models.{name}" for name in BUNDLED),
    ]
)
