"""Decodes images in other processes, on this machine or on others, by the service of tf.data.

`orders` describes what has to be read, `worker` reads it, `client` receives it. A training gets the same batches in the same
order as without a service.
"""
