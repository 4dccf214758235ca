from setuptools import find_packages, setup

# The bundled backbone lies outside of the package, where `find:` in setup.cfg does not look.
setup(packages=[*find_packages(include=["kerastrain", "kerastrain.*"]), "kerastrain.saved_models.fractal_small"])
