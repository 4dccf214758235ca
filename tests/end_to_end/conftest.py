"""What the kills and the full disks have in common."""

import kills
import pytest
import sharing


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with the images and the backbone of `kills`, and a run that nothing disturbs; to be copied."""

    def make(folder):
        kills.prepare(folder)
        kills.undisturbed("run", folder)

    return sharing.once(tmp_path_factory, "kills", make)
