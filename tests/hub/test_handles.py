import zipfile

import pytest

from kerastrain.errors import InputError
from kerastrain.hub import handles


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "model.h5",
            b"",
            "it is a Keras model in HDF5. Open it with keras.models.load_model and save it as a .keras file, or, if Keras 2",
        ),
        ("weights", b"\x89HDF\r\n\x1a\nrest", "it is a Keras model in HDF5."),
        (
            "model.tflite",
            b"",
            "it is a TensorFlow Lite file, which cannot be trained. Give the SavedModel or .keras file",
        ),
        ("model", b"\x1c\0\0\0TFL3rest", "it is a TensorFlow Lite file"),
        ("model.onnx", b"", "it is an ONNX file. Give a SavedModel or a .keras file."),
        ("model.pth", b"", "it holds weights of PyTorch. Give a SavedModel or a .keras file."),
        (
            "model.safetensors",
            b"",
            "it holds weights without their network. Give its folder, which needs a config.json",
        ),
        ("module.zip", b"", "it is a zip archive. Unpack it and give the folder"),
        ("saved_model.pb", b"", "it is the graph of one. Give its folder, '"),
        ("config.json", b"{}", "it names a network. Give its folder, '"),
        ("notes.md", b"text", "is no SavedModel, which is a folder: it is a file."),
    ],
)
def test_a_file_that_is_no_saved_model_is_told_by_its_kind(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        handles.check_saved_model(tmp_path / name, name)
    assert str(caught.value).startswith(f"{name!r} is no SavedModel")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["1/saved_model.pb"], "Give the folder inside it, '{folder}/1'."),
        (["1/saved_model.pb", "2/saved_model.pb"], "Give the folder inside it, '{folder}/1' or '{folder}/2'."),
        (["variables/variables.index"], "It was one, whose graph is missing: copy it again."),
        (["best.keras"], "It holds 'best.keras': give that file."),
        ([], "It is empty: the download may have failed."),
        (["ckpt.index"], "It holds a checkpoint, which is weights without their network: save the model as"),
        (["model.json"], "It holds a model of TensorFlow.js. Give the SavedModel that it was made from."),
        (
            ["labels.txt", "keras_model.h5"],
            "It holds 'keras_model.h5', a Keras model in HDF5. Open it with keras.models.",
        ),
        (["labels.txt", "model.tflite"], "It holds 'model.tflite', a TensorFlow Lite file, which cannot be trained."),
        (["model.keras"], "A run's model is '{folder}/model.keras'."),
        (["readme.txt"], "it holds no saved_model.pb."),
    ],
)
def test_a_folder_that_is_no_saved_model_says_what_is_in_it(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError) as caught:
        handles.check_saved_model(tmp_path, "module")
    assert str(caught.value).startswith("'module' is no SavedModel: it holds no saved_model.pb.")
    assert message.format(folder=tmp_path) in str(caught.value)


def test_a_keras_file_under_another_name_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "model", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match="or name it .keras if it is a saved Keras model"):
        handles.check_saved_model(tmp_path / "model", "model")


@pytest.mark.parametrize(
    ("location", "meant"),
    [
        ("google/vit-base-patch16-224", "hf:google/vit-base-patch16-224"),
        ("huggingface.co/google/vit-base-patch16-224", "hf:google/vit-base-patch16-224"),
        ("https://huggingface.co/google/vit-base-patch16-224/blob/main/config.json", "hf:google/vit-base-patch16-224"),
        ("hf://bert-base-uncased", "hf:bert-base-uncased"),
        ("hf-hub:timm/vit_tiny_patch16_224.augreg_in21k", "hf:timm/vit_tiny_patch16_224.augreg_in21k"),
        ("timm:resnet18.a1_in1k", "hf:timm/resnet18.a1_in1k"),
        ("./google/vit-base-patch16-224", None),
        ("/models/vit", None),
        ("a/b/c", None),
        ("vit", None),
        ("here/vit", None),
    ],
)
def test_a_repository_in_another_notation_is_recognized(tmp_path, monkeypatch, location, meant):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert handles.hugging_face_handle(location) == meant


def test_auto_is_chosen_for_a_config_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="name kerastrain:efficientnet_lite0, for photos, or kerastrain:fractal_small"
    ):
        handles.check_saved_model(tmp_path / "auto", "auto")
