"""`python -m kerastrain` is the command `kerastrain`."""

from kerastrain.cli import main

if __name__ == "__main__":
    main()
