"""`python -m kerastrain` is the command `kerastrain`."""

from kerastrain.cli import main

main()
