"""The files with the ImageNet weights of keras.applications: where Keras has them, and whether a copy is on this machine.

Takes the name of a network and its options; returns an address and a path, or raises errors. Must not download anything or
import TensorFlow, so that `kerastrain check` and the start of a run can say what is missing.
"""

import os
import tempfile
from pathlib import Path

from kerastrain.errors import InputError
from kerastrain.system import network

OFFLINE = "kerastrain:efficientnet_lite0"
"""The backbone with ImageNet weights that needs no download."""

ALPHAS = {
    "MobileNet": (0.25, 0.5, 0.75, 1.0),
    "MobileNetV2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "MobileNetV3Large": (0.75, 1.0),
    "MobileNetV3Small": (0.75, 1.0),
}
"""The width multipliers for which there are ImageNet weights."""

_SERVER = "https://storage.googleapis.com"
_KERNELS = "weights_tf_dim_ordering_tf_kernels"
_SIDES = {"MobileNet": (128, 160, 192, 224), "MobileNetV2": (96, 128, 160, 192, 224)}  # sides with weights of their own
_MOBILENET_ALPHAS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}


def check_alpha(name: str, alpha: float | None) -> None:
    """Raises an error if there are no ImageNet weights of a width.

    Args:
        name: str, the network's name in keras.applications.
        alpha: float, the width multiplier, or None for 1.

    Raises:
        InputError: Keras has no ImageNet weights for the width.
    """
    known = ALPHAS.get(name, (alpha,))
    if alpha is not None and alpha not in known:
        raise InputError(
            f"`model.alpha` must be one of {', '.join(f'{width:g}' for width in known)} with the ImageNet weights of {name}. "
            f"Received: {alpha:g}. Choose one of them, or set model.weights=random."
        )


def location(name: str, alpha: float | None = None, image_size: tuple[int, int] | None = None) -> tuple[str, Path]:
    """The file with the ImageNet weights of a network without its top.

    Args:
        name: str, the network's name in keras.applications.
        alpha: float, the width multiplier of a MobileNet, or None for 1.
        image_size: (height, width) in pixels, which decides between the files of MobileNet and MobileNetV2; None for 224.

    Returns:
        (str, Path): the address of the file, and the path at which Keras expects a copy.

    Example:
        >>> location("MobileNetV2", 0.35, (96, 96))[0].rpartition("/")[2]
        'mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5'
    """
    height, width = image_size or (224, 224)
    side = height if height == width and height in _SIDES.get(name, ()) else 224
    address = f"{_SERVER}/{_address(name, float(alpha or 1), side)}"
    # Keras keeps NASNet's files under names of its own.
    copy = (
        address.rpartition("/")[2].lower().replace("-", "_")
        if name.startswith("NASNet")
        else address.rpartition("/")[2]
    )
    return address, _folder() / copy


def require(name: str, alpha: float | None = None, image_size: tuple[int, int] | None = None) -> None:
    """Checks that the ImageNet weights of a network are on this machine, or that the server with them answers.

    Args:
        name: str, the network's name in keras.applications.
        alpha: float, the width multiplier of a MobileNet, or None for 1.
        image_size: (height, width) in pixels, or None for the network's own.

    Raises:
        InputError: there are no ImageNet weights of this width.
        ConnectionError: there is no whole copy, and no network to download one.
    """
    check_alpha(name, alpha)
    address, copy = location(name, alpha, image_size)
    if is_whole(copy) or network.reachable(_SERVER):
        return
    is_cut = copy.is_file()
    lack = f"are cut off in {str(copy)!r}" if is_cut else "are not on this machine"
    raise ConnectionError(
        f"the ImageNet weights of {name} {lack}, and {_SERVER.partition('//')[2]} cannot be reached. {advice(address, copy)}"
    )


def advice(address: str, copy: Path) -> str:
    """What to do without the file.

    Args:
        address: str, from `location`.
        copy: Path, from `location`.

    Returns:
        str, sentences.
    """
    return (
        f"Download {address} on a machine with a network and put it there as {copy}, or give its path as model.weights. "
        f"Without a download: model.backbone={OFFLINE}, which has ImageNet weights too, or model.weights=random."
    )


def is_whole(copy: Path) -> bool:
    """Whether a file of weights is there, and not cut off.

    Args:
        copy: Path of an HDF5 file.

    Returns:
        bool.
    """
    import h5py  # Not before a file of weights is asked for: importing it costs a tenth of a second.

    try:
        h5py.File(copy, "r").close()
    except OSError:
        return False
    return True


def _folder() -> Path:
    """The folder in which Keras keeps weights; as Keras does, a temporary one where the home folder cannot be written."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    place = home if home.exists() else home.parent
    if not os.access(place, os.W_OK):
        home = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), ".keras")
    return home / "models"


def _address(name: str, alpha: float, side: int) -> str:
    """The path on the server, as in the modules of keras.applications."""
    folder, lower = "tensorflow/keras-applications", name.lower()
    if name.startswith("EfficientNetV2"):
        return f"{folder}/efficientnet_v2/efficientnetv2-{lower.removeprefix('efficientnetv2')}_notop.h5"
    if name.startswith("EfficientNet"):
        return f"keras-applications/{lower}_notop.h5"
    if name.startswith("ConvNeXt"):
        return f"{folder}/convnext/convnext_{lower.removeprefix('convnext')}_notop.h5"
    if name.startswith("MobileNetV3"):
        size = lower.removeprefix("mobilenetv3")
        return f"{folder}/mobilenet_v3/weights_mobilenet_v3_{size}_224_{alpha}_float_no_top_v2.h5"
    if name == "MobileNetV2":
        return f"{folder}/mobilenet_v2/mobilenet_v2_{_KERNELS}_{alpha}_{side}_no_top.h5"
    if name == "MobileNet":
        return f"{folder}/mobilenet/mobilenet_{_MOBILENET_ALPHAS[alpha]}_{side}_tf_no_top.h5"
    if name.startswith("NASNet"):
        return f"{folder}/nasnet/NASNet-{lower.removeprefix('nasnet')}-no-top.h5"
    spelled = {"InceptionResNetV2": "inception_resnet_v2", "InceptionV3": "inception_v3"}.get(name, lower)
    family = next((family for family in ("densenet", "resnet") if spelled.startswith(family)), spelled)
    return f"{folder}/{family}/{spelled}_{_KERNELS}_notop.h5"
