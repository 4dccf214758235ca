"""Runs the command `kerastrain` as `python -m kerastrain`."""

from kerastrain.cli import main

if __name__ == "__main__":
    main()
