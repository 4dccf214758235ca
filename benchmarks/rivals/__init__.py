"""The contestants of `benchmarks/rivals.py`: what each of them runs, in which environment."""
