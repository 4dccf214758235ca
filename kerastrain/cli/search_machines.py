"""`kerastrain tune` on several machines: the part of the command that a worker carries out.

Takes the role of the process and what it was given; prints. The chief's part is the command itself.
"""

from pathlib import Path

from kerastrain.cli import search_arguments, search_plan
from kerastrain.cli.program import console, plain, start_tensorflow
from kerastrain.cli.search_table import SearchTable
from kerastrain.recipe import search_files, search_requirements
from kerastrain.system import signals
from kerastrain.tuning import cluster
from kerastrain.tuning.cluster import Role


def find_role(directory: Path | None, workers: int) -> Role | None:
    """The role of this process in a search over several machines.

    Args:
        directory: Path that was given for the search; None if none was.
        workers: int, the number of trials at a time.

    Returns:
        Role; None for a search on this machine alone.

    Raises:
        InputError: keras-tuner's variables contradict each other or the command.
    """
    role = cluster.from_environment()
    if role is not None:
        cluster.require(role, directory, workers)
        cluster.leave_training_cluster()
    return role


def work(role: Role, directory: Path, arguments: list[str], workers: int) -> None:
    """Carries out trials of the search that the chief has made in the folder, until it is over.

    Args:
        role: Role of this process, which is not the chief.
        directory: Path of the search.
        arguments: list of str, the files and settings of the command; none to take the search as it is.
        workers: int, the number of trials at a time.

    Raises:
        InputError: the chief does not come, or searches otherwise; or this machine has too few cores.
        ChiefLost: the chief does not answer any more.
        Stopped: a signal arrived.
    """
    console.print(
        plain(f"{role.name} waits for the chief at {role.address}:{role.port} and for the folder '{directory}'")
    )
    cluster.wait_for_search(role, directory)
    own = search_files.read(directory)
    if arguments:
        search_arguments.require_same(own, search_arguments.read(arguments))
    search_requirements.require(own.config, own.search, directory, workers=workers, resumes=True)
    for line in search_plan.place(directory, workers):
        console.print(plain(line))
    start_tensorflow(initializes_devices=False)
    from kerastrain.recipe import search_cluster
    from kerastrain.tuning.remote_oracle import ChiefLost

    try:
        with signals.graceful(), SearchTable(search_plan.progress(own.search, None, ()), console) as table:
            search_cluster.work(role, directory, workers=workers, on_event=table.show)
    except (signals.Stopped, ChiefLost) as stopped:
        console.print(plain(stopped))
        console.print(plain(f"its trials continue when {role.name} is started again, or on another worker"))
        raise
    console.print(plain(f"the search is over; the chief writes its results to '{directory}'"))
