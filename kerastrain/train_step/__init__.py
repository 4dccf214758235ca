"""The train step whose result does not depend on the number of devices, and the cases that it rejects."""
