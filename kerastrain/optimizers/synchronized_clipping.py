"""Clips gradients once, after the sum over the replicas; Keras clips the gradients of each replica before the sum.

A mixin for Keras optimizer classes, whose `clipnorm`, `global_clipnorm` and `clipvalue` then mean the same on any number
of devices. In Keras's order the weights of two replicas differed by up to 3e-2 from those of one after a few steps. Must
contain only this patch.

The private names are `_clip_gradients` and `_all_reduce_sum_gradients` of `keras.optimizers.Optimizer`, read in Keras
3.13.2 to 3.15.1. `tests/optimizers/test_synchronized_clipping.py` fails once Keras clips after the sum: then remove this
file.

Reference: https://github.com/tensorflow/tensorflow/issues/33929 ("before gradients get aggregated: usually wrong").
"""

import keras

PRIVATE_NAMES = ("_clip_gradients", "_all_reduce_sum_gradients")

_missing = [name for name in PRIVATE_NAMES if not hasattr(keras.optimizers.Optimizer, name)]
if _missing:
    raise ImportError(
        f"kerastrain clips gradients through keras.optimizers.Optimizer.{_missing[0]}, which Keras {keras.__version__} "
        f"does not have. Without it nothing would be clipped. Install keras>=3.13.2,<3.16."
    )


class SynchronizedClipping:
    """Mixin that precedes a Keras optimizer class and moves the clipping after the all-reduce.

    Example:
        >>> class ClippedSGD(SynchronizedClipping, keras.optimizers.SGD):
        ...     pass
        >>> ClippedSGD(0.1, global_clipnorm=1.0).global_clipnorm
        1.0
    """

    def _clip_gradients(self, gradients):
        return gradients

    def _all_reduce_sum_gradients(self, gradients_and_variables):
        gradients, variables = zip(*super()._all_reduce_sum_gradients(gradients_and_variables), strict=True)
        return list(zip(super()._clip_gradients(list(gradients)), variables, strict=True))
