"""What each way to compress costs in accuracy and saves in bytes and time, on files that LiteRT runs.

    python benchmarks/compression.py [--folder FOLDER --weights FILE] [--image-size 128] [--epochs 12] [--write]

Without --folder the digits of scikit-learn at 32 x 32 pixels and a small convolutional network; with it a folder of images
with one folder per class, and MobileNetV1 of width 0.25 with the weights in FILE. A float model is trained first, and
every method starts from it, or from what it says before its "+". Accuracy is that of the TFLite file on held-out images;
sizes are those of the files; times are medians over interleaved runs of one image in one thread, as ratios to the float
file. Students, a quarter of the float model in parameters, are trained alone and taught by it on the same images for as
long, from several seeds; "gap closed" is the share of what those alone lack to their teacher, on average, that those taught
do not. They see their teacher's images; of the digits 100, as where labels are few, for of all they learn as much alone
(--student-images 0). All trainings augment their images by --augment; a student learns from its teacher's answers to the
very images that it sees (Beyer et al. 2022, https://arxiv.org/abs/2106.05237).
"""

import argparse
import gc
import os
import statistics
import tempfile
from pathlib import Path

import results

ALLOWED = {  # method: points of accuracy lost; size, gzip and time as shares of the float file
    "int8": (1.0, 0.30, None, None),
    "quantization-aware": (0.3, None, None, None),
    "pruned": (1.0, None, 0.35, None),
    "pruned + clustered + quantization-aware": (1.5, None, 0.12, None),
    "half the multiply-adds": (2.0, None, None, 0.65),
}


class Bench:
    """A data set, a loss, a float model, and the files made of it."""

    def __init__(self, options, folder):
        import keras

        import kerastrain as kt

        keras.utils.set_random_seed(0)
        self.options, self.folder, self.kt, self.files = options, folder, kt, {}
        size = (options.image_size, options.image_size)
        shares = {"validation_fraction": 0.0, "test_fraction": 0.3}
        make = kt.data.image_folder if options.folder else kt.data.digits
        self.split = make(*([options.folder] if options.folder else []), image_size=size, **shares)
        self.loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        self.model = self.trained(self.network(size), self.batches(options.epochs), 2e-3)

    def network(self, size):
        """The float model before its training."""
        kt = self.kt
        if self.options.folder is None:
            return small(size, len(self.split.labels), 1.0)
        backbone = kt.backbones.load("keras:MobileNet", alpha=0.25, weights=self.options.weights, image_size=size)
        model = kt.models.image_classifier(backbone, labels=self.split.labels)
        model.compile("adam", self.loss)
        model.fit(self.batches(3), shuffle=False, verbose=0)  # the head alone
        kt.models.unfreeze(model, batch_norm=True)  # At this rate its statistics must follow.
        return model

    def batches(self, epochs, seed=0):
        """So many epochs of training images in one data set."""
        return self.augmented(self.split.train, 32, epochs, seed)

    def augmented(self, examples, size, epochs, seed):
        """So many epochs of examples, each time otherwise augmented, in one data set."""
        augment = self.kt.data.augment(*self.options.augment) if self.options.augment else None
        return self.kt.data.batches(examples, size, shuffle=True, epochs=epochs, seed=seed, augment=augment)

    def trained(self, model, data, rate):
        """The model, trained with Adam and a rate that falls along a cosine."""
        import keras

        falling = keras.optimizers.schedules.CosineDecay(rate, int(data.cardinality()))
        model.compile(keras.optimizers.Adam(falling), self.loss, metrics=["accuracy"])
        model.fit(data, shuffle=False, verbose=0)
        return model

    def export(self, name, model, quantize=None):
        """Writes and proves the file of a method, and prints its row."""
        path = self.folder / f"{len(self.files)}.tflite"
        options = {"samples": self.split.test, "sample_count": 64, "quantize": quantize}
        parity = self.kt.export.tflite(model, path, representative=self.split.train, **options)
        test = self.split.test
        answers = self.kt.export.litert.run(path, test.read(range(len(test))))
        self.files[name] = path, float((answers.argmax(1) == test.targets).mean()), parity
        print(f"{name}: accuracy {self.files[name][1]:.3f}, {parity}", flush=True)
        gc.collect()
        return model

    def accuracy(self, model):
        """What a model answers right of the test images."""
        return float(
            (
                model.predict(self.kt.data.batches(self.split.test, 64), verbose=0).argmax(1) == self.split.test.targets
            ).mean()
        )


def small(size, classes, width):
    """A plain convolutional network of about 75,000 parameters at width 1."""
    import keras

    x = inputs = keras.Input((*size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(x)
    for channels, strides in ((24, 2), (48, 2), (64, 1), (48, 2)):
        x = keras.layers.Conv2D(round(width * channels), 3, strides=strides, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def compress(bench):
    """Every method in turn."""
    tools, epochs, options = bench.kt.compress, bench.options.epochs, {"epochs": 1, "loss": bench.loss}
    bench.export("float", bench.model)
    bench.export("int8", bench.model, "int8")
    quick = max(epochs // 3, 1)
    aware = tools.quantize_aware(bench.model, bench.batches(quick, 1), **options)
    bench.export("quantization-aware", aware, "int8")
    narrow = tools.prune_channels(bench.model, bench.batches(epochs, 2), learning_rate=2e-3, **options)
    bench.export("half the multiply-adds", narrow)
    bench.export("half the multiply-adds + int8", narrow, "int8")
    pruned = tools.prune(bench.model, bench.batches(epochs, 3), fraction=0.8, learning_rate=2e-3, **options)
    bench.export("pruned", pruned)
    bench.export("pruned + int8", pruned, "int8")
    clustered = tools.cluster(bench.model, bench.batches(quick, 4), learning_rate=3e-4, **options)
    bench.export("clustered + int8", clustered, "int8")
    both = tools.cluster(pruned, bench.batches(quick, 4), learning_rate=3e-4, **options)
    bench.export("pruned + clustered + int8", both, "int8")
    last = tools.quantize_aware(both, bench.batches(quick, 5), **options)
    bench.export("pruned + clustered + quantization-aware", last, "int8")


def table(bench):
    """Markdown: one row for each file."""
    measured = bench.kt.export.costs([path for path, _, _ in bench.files.values()])
    times = {name: cost.seconds for name, cost in zip(bench.files, measured, strict=True)}
    _, accuracy, whole = bench.files["float"]
    lines = [
        "| method | accuracy | points lost | kB | gzip, kB | size of float's | gzip of float's | time of float's | allowed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (_, right, parity) in bench.files.items():
        lost, slow = 100 * (accuracy - right), times[name] / times["float"]
        size, share = parity.size_bytes / whole.size_bytes, parity.gzip_bytes / whole.gzip_bytes
        bounds, values = ALLOWED.get(name, (None,) * 4), (lost, size, share, slow)
        kept = all(bound is None or value <= bound for bound, value in zip(bounds, values, strict=True))
        words = ("{:g} points", "size {:g}", "gzip {:g}", "time {:g}")
        said = ", ".join(word.format(bound) for word, bound in zip(words, bounds, strict=True) if bound is not None)
        said = said and f"{said}: {'kept' if kept else 'missed'}"
        lines.append(
            f"| {name} | {right:.3f} | {lost:.1f} | {parity.size_bytes / 1000:.1f} | {parity.gzip_bytes / 1000:.1f} "
            f"| {size:.2f} | {share:.2f} | {slow:.2f} | {said or '–'} |"
        )
    return "\n".join(lines)


def students(bench):
    """Markdown: what students of a quarter of the parameters learn alone and taught."""
    import keras
    import numpy as np

    kt, size = bench.kt, (bench.options.image_size, bench.options.image_size)
    teacher, every = bench.accuracy(bench.model), len(bench.split.train)
    count = min(bench.options.student_images or every, every)
    images = bench.split.train.subset(np.random.default_rng(0).permutation(every)[:count])
    epochs = bench.options.student_epochs * every // count  # as many steps, however few the images
    lines, found = ["| seed | alone | taught |", "|---|---|---|"], []
    for seed in range(bench.options.seeds):

        def student(seed=seed):
            keras.utils.set_random_seed(seed)
            if bench.options.folder is None:
                return small(size, len(bench.split.labels), 0.48)
            proposal = kt.compress.propose_students(bench.model, fraction=0.25)[0]
            keras.utils.set_random_seed(seed)
            backbone = kt.backbones.load(proposal.backbone, **proposal.options)
            model = kt.models.image_classifier(backbone, labels=bench.split.labels)
            kt.models.unfreeze(model, batch_norm=True)
            return model

        data = bench.augmented(images, 25, epochs, seed)  # no batch so small that it disturbs batch norm
        alone = bench.accuracy(bench.trained(student(), data, 3e-3))
        options = {"epochs": 1, "loss": bench.loss, "learning_rate": 3e-3}
        taught = bench.accuracy(kt.compress.distill(bench.model, student(), data, **options))
        found.append((alone, taught))
        lines.append(f"| {seed} | {alone:.3f} | {taught:.3f} |")
        print(lines[-1], flush=True)
    small_one = student()
    share = small_one.count_params() / bench.model.count_params()
    alone, taught = (statistics.mean(column) for column in zip(*found, strict=True))
    gap = f"{(taught - alone) / (teacher - alone):.2f} (0.33 wanted)" if alone < teacher else "none to close"
    return (
        f"Teacher {teacher:.3f}, of {every} images; students of {share:.2f} of its parameters, {epochs} epochs of {count} of "
        f"these images, alone {alone:.3f} and taught {taught:.3f}; gap closed: {gap}.\n\n" + "\n".join(lines)
    )


def main():
    """Trains, compresses, measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a folder with one folder of images per class")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of MobileNetV1 0.25")
    parser.add_argument("--image-size", type=int, help="pixels; 32 without a folder, 128 with one")
    parser.add_argument("--epochs", type=int, help="36 without a folder, 12 with one")
    parser.add_argument("--augment", nargs="*", default=["crop"], help="of `kerastrain.data.augment`")
    parser.add_argument("--student-epochs", type=int, default=20, help="of all images, or as many steps of fewer")
    parser.add_argument("--student-images", type=int, help="of the teacher's, 0 for all; 100 without a folder")
    parser.add_argument("--seeds", type=int, default=3, help="how many students of each kind")
    parser.add_argument("--only", choices=("methods", "students"), help="one of the two tables")
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    options = parser.parse_args()
    options.image_size = options.image_size or (128 if options.folder else 32)
    options.epochs = options.epochs or (12 if options.folder else 36)
    if options.student_images is None:
        options.student_images = 0 if options.folder else 100
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    place = options.folder.name if options.folder else "digits of scikit-learn"
    name = f"{place} at {options.image_size} x {options.image_size} pixels"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        sizes = f"{len(bench.split.train)} images to train, {len(bench.split.test)} to test"
        head = f"{bench.model.count_params():,} parameters, {sizes}. {results.machine()}"
        if options.only != "students":
            compress(bench)
            tell(f"Compression: {name}", f"{head}\n\n{table(bench)}", write=options.write)
        if options.only != "methods":
            tell(f"Students: {name}", f"{head}\n\n{students(bench)}", write=options.write)


def tell(title, text, *, write):
    """Prints a table, and puts it into RESULTS.md."""
    print(text, flush=True)
    if write:
        results.write(title, text)


if __name__ == "__main__":
    main()
