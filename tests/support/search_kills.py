"""Searches that are killed at seeded moments and resumed, until so many kills are done.

    python tests/support/search_kills.py KILLS SEED

The searches are carried out by the parts of `kerastrain tune`: Oracle, journal, workers, processes of trials, and keras-tuner's
server between chief and workers. `train` replaces a training: after each epoch it saves a state that depends on all epochs
before, as weights do, and adds a row to `history.csv`. So a search takes a second, and epochs that are lost, trained twice or
trained from another state are seen. SIGKILL hits the process that searches, a trial, the chief or a worker of another machine,
and SIGTERM the process that searches, after a random time or when the journal has a random number of lines. `command_campaign`
does it to `kerastrain tune` itself.
"""

import contextlib
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import kills
import processes

from kerastrain.system import signals

EPOCHS, EPOCH_SECONDS = 4, 0.01
SEARCHES = {  # name: other settings
    "random": {},
    "grid": {},
    "bayesian": {},
    "tpe": {},
    "hyperband": {},
    "median": {"algorithm": "random", "pruning": {"name": "median", "startup_trials": 2}},
    "halving": {"algorithm": "random", "pruning": {"name": "halving", "factor": 2}},
    "seeds": {"algorithm": "random", "seeds": 2, "finalists": 2},
}


def settings(name, trials=6):
    """The settings of a search of `SEARCHES`."""
    from kerastrain import tuning

    changes = {"algorithm": name, **SEARCHES[name]}
    if pruning := changes.pop("pruning", None):
        changes["pruning"] = tuning.Pruning(**pruning)
    trials = None if changes["algorithm"] == "hyperband" else trials
    return tuning.Settings(
        trials=trials, objectives=(tuning.Objective("score", "max", "last"),), max_epochs=EPOCHS, **changes
    )


def space():
    """An interval for the algorithms that model it, and choices under a condition."""
    from kerastrain.tuning import Choices, Condition, Interval, Space

    return Space(
        {
            "kind": Choices(("a", "b")),
            "x": Interval(0.0, 1.0, step=0.01),
            "depth": Choices((1, None, [2, 3]), when=(Condition("kind", ("b",)),)),
        }
    )


def train(assignment, directory, link):
    """Carries out a trial without a model, with an exact resume, in a process of its own."""
    from kerastrain.errors import InputError
    from kerastrain.system import locks

    folder = directory / assignment.folder
    folder.mkdir(parents=True, exist_ok=True)
    while True:  # until the process has ended that trained for a search that was killed
        try:
            with locks.locked(folder, "training in"):
                return _train(assignment, directory, link)
        except InputError:
            time.sleep(0.01)


def _train(assignment, directory, link):
    from kerastrain.system import files
    from kerastrain.tuning import trial_process, trial_records

    folder = directory / assignment.folder
    state_file, history_file = folder / "state.json", folder / "history.csv"
    saved = json.loads(state_file.read_text()) if state_file.exists() else {"rows": [], "weights": ""}
    link.begin(epochs=EPOCHS, done=len(saved["rows"]))
    answer = "continue"
    if saved["rows"]:  # The report of the last epoch can be lost.
        answer = link.epoch(len(saved["rows"]), {"score": saved["rows"][-1][1]})
    while answer == "continue" and len(saved["rows"]) < EPOCHS:
        time.sleep(EPOCH_SECONDS)
        epoch = len(saved["rows"]) + 1
        digest = hashlib.sha256(f"{saved['weights']} {assignment.seed} {dict(assignment.values)} {epoch}".encode())
        score = epoch * (1 - (assignment.values["x"] - 0.6) ** 2) + digest.digest()[0] / 1000
        saved = {"rows": [*saved["rows"], [epoch, score]], "weights": digest.hexdigest()}
        files.write_json(state_file, saved)
        files.write_text(history_file, "epoch,score\n" + "".join(f"{row[0]},{row[1]!r}\n" for row in saved["rows"]))
        answer = link.epoch(epoch, {"score": score})
        signals.raise_if_pending()
    status = {"continue": "completed", "pause": "paused", "stop": "pruned"}[answer]
    epochs, score = saved["rows"][-1]
    record = {"measures": {"score": score}, "curve": saved["rows"], "epochs": epochs, "seconds": 0.0}
    trial_records.write(directory, assignment, status=status, **record)
    return trial_process.Outcome(status, epochs, {"score": score})


def search(directory, name, workers=1, *, prefix="tuner"):
    """A search on one machine, new or resumed, as `kerastrain tune` carries it out."""
    from kerastrain import tuning
    from kerastrain.system import files, locks
    from kerastrain.tuning import records
    from kerastrain.tuning import workers as slots

    directory.mkdir(exist_ok=True)
    with locks.locked(directory, "searching in"), signals.graceful():
        oracle = tuning.oracle(settings(name), space(), directory)
        try:
            slots.run(oracle, train, directory, workers=workers, worker_prefix=prefix)
        except signals.Stopped:
            oracle.stop("stopped by a signal")
            raise
        finally:
            records.write(directory)
        files.write_json(directory / "finished.json", {})


def chief(directory, name, trials, stale_seconds):
    """The chief of a search on several machines, new or resumed."""
    from kerastrain import tuning
    from kerastrain.system import files
    from kerastrain.tuning import chief as serving
    from kerastrain.tuning import records

    directory.mkdir(exist_ok=True)
    (directory / "search.yaml").touch()
    oracle = tuning.oracle(settings(name, trials), space(), directory, keep_ongoing=True)
    serving.serve(oracle, directory, stale_seconds=stale_seconds)
    records.write(directory)
    files.write_json(directory / "finished.json", {})


def worker(directory, wait_seconds):
    """A worker machine of that search."""
    from kerastrain.tuning import cluster, heartbeats, remote_oracle
    from kerastrain.tuning import workers as slots

    role = cluster.from_environment()
    cluster.wait_for_search(role, directory, timeout_seconds=wait_seconds)
    with signals.graceful(), heartbeats.beating(directory, role.worker_ids(1), every_seconds=0.1) as signs:
        oracle = remote_oracle.RemoteOracle(role, directory, signs, wait_seconds=wait_seconds)
        slots.run(oracle, train, directory, worker_prefix=f"{role.name}.")


def command(directory, words):
    """`kerastrain tune` in the folder above `directory`, new or resumed; `words` are its settings."""
    from kerastrain.cli import main

    os.chdir(directory.parent)
    sys.argv = ["kerastrain", "tune", "--resume", directory.name, *words]
    main()


def start(function, *arguments, environment=None, **options):
    """A process that the server forks, which calls a function of this module."""
    streams = [Path(arguments[0]).with_suffix(".out"), Path(arguments[0]).with_suffix(".err")]
    whole = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **(environment or {})}
    process = processes.server().Process(target=_call, args=(function, arguments, options, whole, streams))
    process.start()
    return process


def _call(function, arguments, options, environment, streams):
    processes.enter(environment, streams)
    processes.collect_seldom()
    processes.share_server()
    function(*arguments, **options)


def lines(directory):
    """How many whole lines the journal has."""
    with contextlib.suppress(OSError):
        return (directory / "journal.jsonl").read_bytes().count(b"\n")
    return 0


def wait_until_moment(dice, seconds, count, directory, process):
    """Waits for a random time, or for a random number of lines in the journal; whether `process` still runs then."""
    by_time = dice.random() < 0.5
    now, moment = time.monotonic(), dice.uniform(0.0, seconds)
    line = lines(directory) + dice.randint(1, max(2, count // 3))
    while process.is_alive():
        if time.monotonic() - now > moment if by_time else lines(directory) >= line:
            return True
        assert time.monotonic() - now < 300, f"the search in {directory} does not go on"
        time.sleep(0.001)
    return False


def kill_a_trial(directory, dice, process):
    """Kills the process of a trial, as soon as one is running; False if `process` ended before."""
    while process.is_alive():
        if found := trials_running(directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(found), signal.SIGKILL)
                return True
    return False


def trials_running(directory):
    """The processes of trials, which print into the folder of the search."""
    found, folder = [], f"{(directory / 'trials').resolve()}/"
    for path in Path("/proc").glob("[0-9]*/fd/1"):
        with contextlib.suppress(OSError):
            if os.readlink(path).startswith(folder):
                found.append(int(path.parts[2]))
    return sorted(found)


def end(directory):
    """Everything that a search that was killed must have in common with one that was not."""
    record = json.loads((directory / "trials.json").read_text())
    trials = [
        {key: trial[key] for key in ("point", "values", "status", "score", "scores", "epochs", "curve")}
        for trial in record["trials"]
    ]
    states = {
        str(path.parent.relative_to(directory)): json.loads(path.read_text())
        for path in directory.glob("trials/*/state.json")
    }
    return {"trials": trials, "best": record["best"], "state": record["state"], "states": states}


def end_of_command(directory):
    """The same for a search of trainings: trials, best trial, what each training logged, and the weights that stay."""
    record = json.loads((directory / "trials.json").read_text())
    trials = [
        {key: value for key, value in trial.items() if key not in ("seconds", "started")} for trial in record["trials"]
    ]
    histories = {str(path.relative_to(directory)): kills.rows(path) for path in directory.glob("trials/*/history.csv")}
    weights = {}
    for path in directory.glob("trials/*/model.keras"):
        with zipfile.ZipFile(path) as archive:
            weights[path.parent.name] = kills._datasets(archive.read("model.weights.h5"))
    best = (directory / "best.yaml").read_text().replace(directory.name, "SEARCH")  # a comment names the folder
    names = ("state", "best")
    return {"trials": trials, **{name: record[name] for name in names}, "states": [histories, weights], "file": best}


def check_stopped(directory):
    """A search that was asked to stop has left its tables, and the best config if there is one."""
    if not (directory / "trials.json").exists():
        journal = directory / "journal.jsonl"
        assert not journal.exists() or '"event": "start"' not in journal.read_text(), "it has begun"
        return
    record = json.loads((directory / "trials.json").read_text())
    assert record["state"] in ("stopped", "finished"), record["state"]
    assert record["best"] is None or not (directory / "config.yaml").exists() or (directory / "best.yaml").exists()


def check(directory):
    """No trial of the journal starts or ends twice, and no epoch is in a history twice."""
    events = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    for kind in ("start", "end"):
        counts = Counter(event["trial"] for event in events if event["event"] == kind)
        assert set(counts.values()) <= {1}, f"{directory}: {kind} of {counts}"
    ends = {event["trial"] for event in events if event["event"] == "end"}
    starts = {event["trial"] for event in events if event["event"] == "start"}
    assert starts == ends, f"{directory}: {starts ^ ends} started and did not end"
    assert any(event["event"] == "report" for event in events), directory
    for path in directory.glob("trials/*/history.csv"):
        with path.open(newline="") as file:
            epochs = [(row.get("phase"), int(row["epoch"])) for row in csv.DictReader(file)]
        for phase in {phase for phase, _ in epochs}:
            numbers = [number for name, number in epochs if name == phase]
            assert numbers == list(range(1, len(numbers) + 1)), f"{path}: {epochs}"


def undisturbed(begin, directory):
    """The seconds and the lines of the journal of a search that nothing disturbs."""
    began = time.monotonic()
    process = begin(directory)
    process.join()
    assert process.exitcode == 0, directory.with_suffix(".err").read_text()
    return time.monotonic() - began, lines(directory)


def campaign(name, kills, seed, place, *, workers=1):
    """Kills and resumes searches until `kills` kills are done; raises AssertionError if an end differs.

    With more than one worker the order of the ends is not determined, so that only the points of algorithms that do not look
    at scores must be equal; that nothing is lost or doubled is checked always.

    Returns:
        Counter of the victims, and of the searches that came to their end.
    """

    def begin(directory, count=workers):
        return start(search, directory, name, count)

    whole = place / f"{name}_whole"
    seconds, count = undisturbed(lambda directory: begin(directory, 1), whole)
    dice, expected = random.Random(f"{name} {seed}"), end(whole)
    check(whole)
    return _killed(
        begin, kills, dice, place, seconds, count, lambda directory: compare(directory, expected, name, workers)
    )


def command_campaign(words, kills, seed, place):
    """The same for the command: trainings with TensorFlow, whose weights must be equal bit by bit."""

    def begin(directory):
        return start(command, directory, words)

    def is_equal(directory):
        _compare_ends(directory, end_of_command(directory), expected)

    whole = place / "whole"
    seconds, count = undisturbed(begin, whole)
    expected = end_of_command(whole)
    check(whole)
    return _killed(begin, kills, random.Random(seed), place, seconds, count, is_equal)


def _killed(begin, kills, dice, place, seconds, count, is_equal):
    """Kills and resumes one search after the other."""
    tally, victims, chain = Counter(), ("search", "trial", "stop"), 0
    while tally.total() - tally["ended equal"] < kills:
        chain += 1
        directory, code = place / f"search_{chain}", None
        while code != 0:
            process = begin(directory)
            victim = dice.choice(victims) if tally.total() - tally["ended equal"] < kills else None
            if victim is not None and wait_until_moment(dice, seconds, count, directory, process):
                if victim == "trial":
                    tally["trial"] += kill_a_trial(directory, dice, process)
                else:
                    os.kill(process.pid, signal.SIGKILL if victim == "search" else signal.SIGTERM)
                    tally[victim] += 1
            process.join()
            code = process.exitcode
            # SIGTERM ends a process at once that has not begun to search.
            known = (0, -signal.SIGKILL, -signal.SIGTERM, signals.EXIT_CODE)
            assert code in known, (code, directory.with_suffix(".err").read_text())
            if code == signals.EXIT_CODE:
                check_stopped(directory)
        check(directory)
        is_equal(directory)
        tally["ended equal"] += 1
        shutil.rmtree(directory)
    return tally


def compare(directory, expected, name, workers=1):
    """The end of a search equals that of the undisturbed one, as far as the number of workers determines it."""
    found = end(directory)
    if workers == 1:
        _compare_ends(directory, found, expected)
        return
    assert found["state"] == expected["state"] == "finished"
    if name in ("random", "grid", "seeds"):

        def by_values(trials):
            return sorted((json.dumps(trial["values"]), trial["score"]) for trial in trials)

        assert by_values(found["trials"]) == by_values(expected["trials"])


def _compare_ends(directory, found, expected):
    assert {**found, "trials": None, "states": None} == {**expected, "trials": None, "states": None}, directory
    for one, other in zip(found["trials"], expected["trials"], strict=True):
        assert one == other, directory
    assert found["states"] == expected["states"], directory


def free_port():
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def machines(name, kills, seed, place, *, trials=24, stale_seconds=8.0):
    """The same for a chief and two workers, which `kills` kills hit while one search is carried out.

    Returns:
        Counter of the victims.
    """
    dice, tally, directory = random.Random(f"{name} {seed}"), Counter(), place / f"{name}_machines_{seed}"
    variables = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free_port())}

    def begin(role):
        environment = {**variables, "KERASTUNER_TUNER_ID": role}
        if role == "chief":
            return start(chief, directory, name, trials, stale_seconds, environment=environment)
        return start(worker, directory, 60.0, environment=environment)

    running = {role: begin(role) for role in ("chief", "tuner0", "tuner1")}
    while running["chief"].is_alive():
        if sum(tally.values()) < kills:
            if wait_until_moment(dice, 1.0, 18, directory, running["chief"]):
                role = dice.choice(["chief", "tuner0", "tuner1", "trial"])
                if role == "trial":
                    tally[role] += kill_a_trial(directory, dice, running["chief"])
                elif running[role].is_alive():
                    running[role].kill()
                    running[role].join()
                    running[role] = begin(role)
                    tally[role] += 1
        else:
            running["chief"].join(300)
            assert not running["chief"].is_alive(), "the chief does not end"
    for role, process in running.items():
        process.join(120)
        assert process.exitcode == 0, (role, process.exitcode, directory.with_suffix(".err").read_text())
    check(directory)
    record = json.loads((directory / "trials.json").read_text())
    assert (record["state"], [trial["status"] for trial in record["trials"]]) == ("finished", ["completed"] * trials)
    return tally


def main(kills, seed):
    """Kills in every kind of search."""
    with tempfile.TemporaryDirectory() as place:
        for name in SEARCHES:
            for workers in (1, 2):
                began = time.monotonic()
                folder = Path(place, f"{name}{workers}")
                folder.mkdir()
                tally = campaign(name, kills, seed, folder, workers=workers)
                seconds = time.monotonic() - began
                print(f"{name}, {workers} workers, {seconds:.0f} s: {dict(tally)}", flush=True)
        for round_ in range(max(1, kills // 3)):
            print(f"machines: {dict(machines('random', 3, seed + round_, Path(place)))}", flush=True)


if __name__ == "__main__":
    import search_kills  # so that the processes find its functions by their name

    search_kills.main(*(int(argument) for argument in sys.argv[1:]))
