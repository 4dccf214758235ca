"""Language models: decoders that write text, their data, adapters and generation.

`load` opens a pretrained model with its tokenizer, `examples` reads conversations or texts for it, `adapters.add` gives it LoRA
matrices; `training_batches`, `NextTokenCrossentropy` and `model.fit` train it; `measure` measures it, and a `Writer` writes
with it. Submodules are imported on first use, because most of the data needs no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["adapter_files", "adapters"],
    submod_attrs={
        "batches": ["Sequences", "evaluation_batches", "training_batches"],
        "evaluation": ["measure"],
        "losses": ["NextTokenCrossentropy", "next_token_accuracy"],
        "opening": ["Pretrained", "load"],
        "reading": ["examples"],
        "writer": ["Writer"],
    },
)
