"""Networks of keras.applications under a head, and photos from a folder, as Keras's guide to transfer learning has them."""

import sys
from pathlib import Path

import keras
import tensorflow as tf

sys.path.append(str(Path(__file__).parents[1]))

import input_pipeline

SIZE = (224, 224)


def network(name, *, alpha=None, include_top=False):
    """A network of keras.applications with random weights."""
    options = {} if alpha is None else {"alpha": alpha}
    return getattr(keras.applications, name)(input_shape=(*SIZE, 3), include_top=include_top, weights=None, **options)


def load_weights(base, path, name, *, alpha=None):
    """Loads a file of weights, which may contain the classifier of ImageNet."""
    try:
        base.load_weights(path)
    except ValueError:
        whole = network(name, alpha=alpha, include_top=True)
        whole.load_weights(path)
        # A classifier comes after all layers of the base.
        base.set_weights(whole.get_weights()[: len(base.get_weights())])


def classifier(name, weights, class_count, *, alpha=None, trainable):
    """A classifier from pixels in [0, 255] to logits; batch norm keeps its statistics."""
    base = network(name, alpha=alpha)
    load_weights(base, weights, name, alpha=alpha)
    base.trainable = trainable
    inputs = keras.Input((*SIZE, 3))
    maps = base(preprocessing(name)(inputs), training=False)
    outputs = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(inputs, keras.layers.Dense(class_count)(keras.layers.Dropout(0.2)(outputs)))


def preprocessing(name):
    """A layer from pixels in [0, 255] to what the network was trained on."""
    if name.startswith("MobileNet"):
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0)
    return keras.layers.Lambda(keras.applications.resnet.preprocess_input)


def photos(folder, batch_size, *, shuffle=True):
    """A data set of the photos of a folder with a folder for each class."""
    return keras.utils.image_dataset_from_directory(
        folder, image_size=SIZE, batch_size=batch_size, shuffle=shuffle, seed=0, verbose=False
    )


def cached(dataset, augmentation=()):
    """The data set with its decoded photos in memory, and augmented by layers after that."""
    layers = input_pipeline.layers_of(augmentation)

    def augmented(images, labels):
        for layer in layers:
            images = layer(images, training=True)
        return images, labels

    dataset = dataset.cache()
    dataset = dataset.map(augmented, num_parallel_calls=tf.data.AUTOTUNE) if layers else dataset
    return dataset.prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":  # NETWORK FILE [ALPHA] writes random weights
    keras.utils.set_random_seed(0)
    network(sys.argv[1], alpha=float(sys.argv[3]) if sys.argv[3:] else None).save_weights(sys.argv[2])
