"""Finds the key that was probably meant: `lr` is `optimizer.learning_rate`. Must not import TensorFlow."""

import difflib
from collections.abc import Iterator

from kerastrain.config.typed import types_in
from kerastrain.config.values import Section

_OTHER_NAMES = {
    "data.path": "data dataset datasets dataset_path data_dir data_path dir directory folder train_dir train_path input_dir",
    "data.kind": "data_kind data_type modality type",
    "data.task": "problem",
    "data.image_size": "img_size imgsz image_shape input_shape input_size target_size resolution size",
    "data.validation_fraction": "validation_split val_split val_fraction valid_fraction validation_size val_size",
    "data.test_fraction": "test_split test_size",
    "data.class_weights": "class_weight weights_by_class",
    "data.augment": "augmentation augmentations data_augmentation transforms",
    "data.columns.input": "input_column image_column text_column x_col x_column feature inputs",
    "data.columns.pair": "hypothesis text_pair pair_column second_text",
    "data.columns.numbers": "numeric numerical number_columns numeric_columns numeric_features tabular tabular_columns",
    "data.columns.slices": "slice slice_by slice_columns subgroups subgroup metadata stratify_by",
    "data.columns.targets": "label labels target label_column target_column y_col y_column class_column",
    "data.folds": "n_folds num_folds k_folds n_splits kfold cv",
    "model.backbone": "arch architecture base base_model encoder handle network pretrained_model hub_handle model_name",
    "model.sequence_length": "max_length max_len maxlen max_seq_length seq_len",
    "model.vocabulary_size": "vocab_size max_tokens max_features num_words",
    "model.embedding_dim": "embedding_size embed_dim",
    "model.hidden_units": "hidden hidden_layers hidden_size dense_units units",
    "model.dropout": "dropout_rate drop_rate",
    "optimizer.name": "optim optimiser",
    "optimizer.learning_rate": "lr base_lr eta init_lr initial_lr initial_learning_rate max_lr step_size",
    "optimizer.weight_decay": "wd",
    "optimizer.clip_norm": "clipnorm grad_clip gradient_clip max_grad_norm",
    "optimizer.clip_value": "clipvalue",
    "optimizer.global_clip_norm": "global_clipnorm",
    "schedule.name": "scheduler lr_schedule lr_scheduler learning_rate_schedule",
    "schedule.warmup": "warmup_epochs warmup_steps warmup_ratio",
    "fit.epochs": "epoch max_epochs n_epochs nb_epoch nb_epochs num_epochs num_train_epochs fine_tune_epochs",
    "fit.global_batch_size": "batch batch_size batchsize bs train_batch_size",
    "fit.early_stopping_epochs": "early_stopping early_stop patience",
    "fit.checkpoint_every": "save_every checkpoint_interval",
    "fine_tune.last": "unfreeze unfreeze_layers fine_tune_layers trainable_layers",
    "fine_tune.lora_rank": "lora lora_r",
    "memory.micro_batches": "accumulation_steps gradient_accumulation gradient_accumulation_steps accumulate_grad_batches",
    "memory.remat_blocks": "gradient_checkpointing remat",
    "evaluation.threshold": "thresholds operating_point threshold_objective",
    "evaluation.temperature": "calibrate calibration temperature_scaling",
    "evaluation.positive": "positive_class positive_label pos_label",
    "export.formats": "format export_format export_formats output_formats",
    "runtime.seed": "random_seed random_state",
    "runtime.precision": "amp dtype dtype_policy fp16 half mixed_precision",
    "runtime.jit_compile": "jit xla",
    "runtime.strategy": "distribution distribute distribution_strategy",
    "runtime.devices": "gpus n_gpus num_gpus ngpu",
}
_CANONICAL = {other: key for key, names in _OTHER_NAMES.items() for other in names.split()}


def meant(kind: type[Section], key: str) -> list[str]:
    """Returns the keys that an unknown key may mean, in the order of the schema.

    Args:
        kind: subclass of Section that has no such key.
        key: str, the whole dotted key, such as "columns.input" or "lr".

    Returns:
        list of str, whole dotted keys; empty if nothing is close.

    Example:
        >>> from kerastrain.config import Config
        >>> meant(Config, "lr"), meant(Config, "columns.input"), meant(Config, "Fit.Epochs")
        (['optimizer.learning_rate'], ['data.columns.input'], ['fit.epochs'])
    """
    known = list(_keys(kind))
    spelled = key.strip().lstrip("-").lower().replace("-", "_").replace(":", ".")
    *sections, last = spelled.split(".")
    exact = [name for name in known if name == spelled or name.endswith(f".{spelled}")]
    if sections and exact:
        return exact
    other = _CANONICAL.get(last, "")
    if other in known:
        return [other]
    if exact:
        return exact
    if same := [name for name in known if name.rpartition(".")[2] in (last, other.rpartition(".")[2] or last)]:
        return same
    near = difflib.get_close_matches(last, {name.rpartition(".")[2] for name in known}, n=1, cutoff=0.8)
    return [name for name in known if name.rpartition(".")[2] in near]


def _keys(kind: type[Section], prefix: str = "") -> Iterator[str]:
    """Yields every key of a section, and every key inside the sections below it."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        for member in types_in(field.annotation):
            if isinstance(member, type) and issubclass(member, Section):
                yield from _keys(member, f"{prefix}{name}.")
