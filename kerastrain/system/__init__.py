"""Files, signals, archives, the terminal, resources and imports: what every other room needs of the machine."""
