import sys

import platformdirs
import pytest

from kerastrain.system import user_folders

FOLDERS = [
    (user_folders.cache_folder, "XDG_CACHE_HOME", ".cache", "user_cache_path"),
    (user_folders.state_folder, "XDG_STATE_HOME", ".local/state", "user_state_path"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has other folders")
@pytest.mark.parametrize(("folder", "variable", "default", "_"), FOLDERS)
def test_folders_follow_the_xdg_specification(tmp_path, monkeypatch, folder, variable, default, _):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    assert folder() == tmp_path / "elsewhere" / "kerastrain"
    monkeypatch.setenv(variable, "")
    assert folder() == tmp_path / default / "kerastrain"
    monkeypatch.delenv(variable)
    assert folder() == tmp_path / default / "kerastrain"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("folder", "_", "default", "function"), FOLDERS)
def test_a_user_without_home_folder_is_an_error(monkeypatch, folder, _, default, function):
    monkeypatch.setattr(platformdirs, function, lambda name: user_folders.Path("~", default, name))
    with pytest.raises(RuntimeError, match="the user's home folder is unknown: set HOME to an absolute path"):
        folder()
