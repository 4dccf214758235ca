"""Accuracy, size and latency of each kind of compression, measured on files that LiteRT runs.

    python benchmarks/compression.py [--folder FOLDER --weights FILE] [--image-size 128] [--epochs 12] [--write]

Without --folder: the digits of scikit-learn at 32 x 32 pixels and a small convolutional network. With --folder: a folder of
images with one folder per class, and MobileNetV1 of width 0.25 with the weights in FILE. A float model is trained first, and
every method starts from it, or from the method named before the "+". Accuracy is that of the TFLite file on held-out images;
sizes are those of the files; times are medians over interleaved runs of one image in one thread, as ratios to the float
file. Students with a quarter of the float model's parameters are trained without a teacher and distilled, on the same images
for the same number of steps, with several seeds; "gap closed" is the fraction of the mean accuracy gap to the teacher that
distillation closes. Students see the teacher's images; for digits only 100 of them, as with few labels, because with all of
them they learn as much without a teacher (--student-images 0). All trainings augment their images with --augment; a student
learns from the teacher's answers to the augmented images (Beyer et al. 2022, https://arxiv.org/abs/2106.05237).
"""

import argparse
import gc
import os
import statistics
import tempfile
from pathlib import Path

import results

ALLOWED = {  # method: points of accuracy lost; size, gzip and time as fractions of the float file
    "int8": (1.0, 0.30, None, None),
    "quantization-aware": (0.3, None, None, None),
    "pruned": (1.0, None, 0.35, None),
    "pruned + clustered + quantization-aware": (1.5, None, 0.12, None),
    "half the multiply-adds": (2.0, None, None, 0.65),
}


class Bench:
    """A data set, a loss, a float model, and the files exported from it."""

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
        """The untrained float model."""
        kt = self.kt
        if self.options.folder is None:
            return small(size, len(self.split.labels), 1.0)
        backbone = kt.backbones.load(
            "keras:MobileNet", alpha=0.25, weights=self.options.weights or "random", image_size=size
        )
        model = kt.models.image_classifier(backbone, labels=self.split.labels)
        model.compile("adam", self.loss)
        model.fit(self.batches(3), shuffle=False, verbose=0)  # only the head
        kt.models.unfreeze(model, batch_norm=True)  # At this learning rate the statistics must be updated.
        return model

    def batches(self, epochs, seed=0):
        """Several epochs of training images in one data set."""
        return self.augmented(self.split.train, 32, epochs, seed)

    def augmented(self, examples, size, epochs, seed):
        """Several epochs of examples in one data set, augmented differently in each epoch."""
        augment = self.kt.data.augment(*self.options.augment) if self.options.augment else None
        return self.kt.data.batches(examples, size, shuffle=True, epochs=epochs, seed=seed, augment=augment)

    def trained(self, model, dataset, learning_rate):
        """The model, trained with Adam and cosine decay."""
        import keras

        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, int(dataset.cardinality()))
        model.compile(keras.optimizers.Adam(schedule), self.loss, metrics=["accuracy"])
        model.fit(dataset, shuffle=False, verbose=0)
        return model

    def export(self, name, model, quantize=None):
        """Writes and checks the file of a method, and prints its accuracy."""
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
        """Accuracy on the test images."""
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
    """Exports a file for every method."""
    tools, epochs = bench.kt.compress, bench.options.epochs

    def fine_tuning(learning_rate=None):
        return tools.FineTuning(epochs=1, learning_rate=learning_rate, loss=bench.loss)

    bench.export("float", bench.model)
    bench.export("int8", bench.model, "int8")
    quick = max(epochs // 3, 1)
    quantized = tools.quantize_aware(bench.model, bench.batches(quick, 1), fine_tuning=fine_tuning())
    bench.export("quantization-aware", quantized, "int8")
    narrow = tools.prune_channels(bench.model, bench.batches(epochs, 2), fine_tuning=fine_tuning(2e-3))
    bench.export("half the multiply-adds", narrow)
    bench.export("half the multiply-adds + int8", narrow, "int8")
    pruned = tools.prune(bench.model, bench.batches(epochs, 3), fraction=0.8, fine_tuning=fine_tuning(2e-3))
    bench.export("pruned", pruned)
    bench.export("pruned + int8", pruned, "int8")
    clustered = tools.cluster(bench.model, bench.batches(quick, 4), fine_tuning=fine_tuning(3e-4))
    bench.export("clustered + int8", clustered, "int8")
    both = tools.cluster(pruned, bench.batches(quick, 4), fine_tuning=fine_tuning(3e-4))
    bench.export("pruned + clustered + int8", both, "int8")
    last = tools.quantize_aware(both, bench.batches(quick, 5), fine_tuning=fine_tuning())
    bench.export("pruned + clustered + quantization-aware", last, "int8")


def table(bench):
    """A Markdown table with a row per file."""
    measured = bench.kt.export.costs([path for path, _, _ in bench.files.values()])
    times = {name: cost.seconds for name, cost in zip(bench.files, measured, strict=True)}
    _, accuracy, whole = bench.files["float"]
    lines = [
        "| method | accuracy | points lost | kB | gzip, kB | size ratio | gzip ratio | time ratio | allowed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (_, right, parity) in bench.files.items():
        lost, slow = 100 * (accuracy - right), times[name] / times["float"]
        size, share = parity.size_bytes / whole.size_bytes, parity.gzip_bytes / whole.gzip_bytes
        bounds, values = ALLOWED.get(name, (None,) * 4), (lost, size, share, slow)
        count = len(bench.split.test)
        results.record(f"{name}: accuracy", *results.share(round(right * count), count), better="higher")
        results.record(f"{name}: size, of float", size)
        is_met = all(bound is None or value <= bound for bound, value in zip(bounds, values, strict=True))
        words = ("{:g} points", "size {:g}", "gzip {:g}", "time {:g}")
        verdict = ", ".join(word.format(bound) for word, bound in zip(words, bounds, strict=True) if bound is not None)
        verdict = verdict and f"{verdict}: {'met' if is_met else 'missed'}"
        lines.append(
            f"| {name} | {right:.3f} | {lost:.1f} | {parity.size_bytes / 1000:.1f} | {parity.gzip_bytes / 1000:.1f} "
            f"| {size:.2f} | {share:.2f} | {slow:.2f} | {verdict or '–'} |"
        )
    return "\n".join(lines)


def students(bench):
    """A Markdown table: accuracy of students with a quarter of the parameters, without a teacher and distilled."""
    import keras
    import numpy as np

    kt, size = bench.kt, (bench.options.image_size, bench.options.image_size)
    teacher, every = bench.accuracy(bench.model), len(bench.split.train)
    count = min(bench.options.student_images or every, every)
    images = bench.split.train.subset(np.random.default_rng(0).permutation(every)[:count])
    epochs = bench.options.student_epochs * every // count  # the same number of steps for any number of images
    lines, accuracies = ["| seed | without teacher | distilled |", "|---|---|---|"], []
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

        dataset = bench.augmented(images, 25, epochs, seed)  # 25 divides 100, so no batch is too small for batch norm
        baseline = bench.accuracy(bench.trained(student(), dataset, 3e-3))
        fine_tuning = kt.compress.FineTuning(epochs=1, loss=bench.loss, learning_rate=3e-3)
        distilled = bench.accuracy(kt.compress.distill(bench.model, student(), dataset, fine_tuning=fine_tuning))
        accuracies.append((baseline, distilled))
        lines.append(f"| {seed} | {baseline:.3f} | {distilled:.3f} |")
        print(lines[-1], flush=True)
    for name, column in zip(("without teacher", "distilled"), zip(*accuracies, strict=True), strict=True):
        results.record(f"student {name}: accuracy", *results.spread(column), better="higher")
    share = student().count_params() / bench.model.count_params()
    baseline, distilled = (statistics.mean(column) for column in zip(*accuracies, strict=True))
    gap = f"{(distilled - baseline) / (teacher - baseline):.2f} (goal 0.33)" if baseline < teacher else "none"
    return (
        f"Teacher {teacher:.3f}, trained on {every} images; students with {share:.2f} of its parameters, {epochs} epochs of "
        f"{count} of these images, without teacher {baseline:.3f}, distilled {distilled:.3f}; gap closed: {gap}.\n\n"
        + "\n".join(lines)
    )


def main():
    """Trains, compresses, measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="a folder with one folder of images per class")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of MobileNetV1 0.25")
    parser.add_argument("--image-size", type=int, help="pixels; 32 without a folder, 128 with one")
    parser.add_argument("--epochs", type=int, help="36 without a folder, 12 with one")
    parser.add_argument("--augment", nargs="*", default=["crop"], help="names for `kerastrain.data.augment`")
    parser.add_argument(
        "--student-epochs", type=int, default=20, help="epochs over all images, or the same number of steps over fewer"
    )
    parser.add_argument(
        "--student-images", type=int, help="number of the teacher's images, 0 for all; 100 without a folder"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of students of each kind")
    parser.add_argument("--only", choices=("methods", "students"), help="one of the two tables")
    parser.add_argument("--write", action="store_true", help="write the tables to RESULTS.md")
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
            print_table(f"Compression: {name}", f"{head}\n\n{table(bench)}", write=options.write)
        if options.only != "methods":
            print_table(f"Students: {name}", f"{head}\n\n{students(bench)}", write=options.write)


def print_table(title, text, *, write):
    """Prints a table, and writes it to RESULTS.md if asked to."""
    print(text, flush=True)
    if write:
        results.write(title, text)


if __name__ == "__main__":
    main()
