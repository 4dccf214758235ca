"""The report in a real browser: nothing runs, nothing is requested, everything fits, in the light and in the dark."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import numpy as np
import PIL.Image
import pytest
import report_run
import search_records

from kerastrain import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
FLAGS += ["--enable-logging=stderr"]
# Measures the report in frames as wide as a phone and as a desk; only this page has a script.
OUTER = """<!doctype html><meta charset="utf-8"><title>waiting</title>
<iframe src="report.html" width="390" height="800"></iframe><iframe src="report.html" width="1200" height="800"></iframe>
<pre id="result"></pre><script>onload = () => { const results = [];
for (const frame of document.querySelectorAll("iframe")) { const page = frame.contentDocument; results.push({
  width: frame.clientWidth, scroll: page.documentElement.scrollWidth, title: page.title,
  ids: [...page.querySelectorAll("[id]")].map(e => e.id), scripts: page.scripts.length,
  broken: [...page.images].filter(i => i.loading !== "lazy" && !i.naturalWidth).length, images: page.images.length,
  lost: [...page.querySelectorAll("a")].filter(a => !page.getElementById(a.hash.slice(1))).length}); }
document.getElementById("result").textContent = JSON.stringify(results); }</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no chromium, chromium-browser or google-chrome on this machine"
    ),
]


def browse(folder, *options):
    """Runs the browser; returns what it printed."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert not re.findall(r".*CONSOLE.*", done.stderr), done.stderr
    return done.stdout


@pytest.fixture
def served(tmp_path):
    """The address of a folder and the paths that were asked of it."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    folder = tmp_path / "run"
    folder.mkdir()
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize("classes", [4, 100])
def test_nothing_runs_and_every_section_fits_a_phone_and_a_desk(served, tmp_path, classes):
    folder, address, asked = served
    title = f"{report.write(report_run.write(folder, classes=classes)).parent.name} · kerastrain report"
    (folder / "outer.html").write_text(OUTER, encoding="utf-8")
    dom = browse(tmp_path / "profile", "--virtual-time-budget=20000", "--dump-dom", f"{address}/outer.html")
    phone, desk = json.loads(re.search(r'<pre id="result">(.*?)</pre>', dom)[1])
    assert (phone["width"], desk["width"]) == (390, 1200)
    for page in (phone, desk):
        assert page["scroll"] <= page["width"]
        assert set(report_run.SECTIONS) <= set(page["ids"])
        assert page["title"] == title
        assert page["scripts"] == page["broken"] == page["lost"] == 0
        assert page["images"] >= 7
    assert set(asked) <= {"/outer.html", "/report.html", "/favicon.ico"}


def test_the_page_is_dark_where_the_reader_wants_it(tmp_path):
    page = report.write(report_run.write(tmp_path / "run"))
    means = {}
    for scheme, options in (("light", []), ("dark", ["--blink-settings=preferredColorScheme=0"])):
        shot = tmp_path / f"{scheme}.png"
        options += ["--window-size=390,2000", f"--screenshot={shot}"]
        browse(tmp_path / scheme, *options, page.as_uri())
        pixels = np.asarray(PIL.Image.open(shot).convert("L"))
        assert pixels.shape == (2000, 390)
        assert pixels.std() > 10, "something is drawn"
        means[scheme] = pixels.mean()
    assert means["light"] > 200
    assert means["dark"] < 80


def test_the_page_of_a_search_fits_a_phone_and_a_desk(served, tmp_path):
    folder, address, asked = served
    report.write(search_records.write(folder, search_records.record(100, seeds=3)))
    (folder / "outer.html").write_text(OUTER.replace("report.html", "search.html"), encoding="utf-8")
    dom = browse(tmp_path / "profile", "--virtual-time-budget=20000", "--dump-dom", f"{address}/outer.html")
    phone, desk = json.loads(re.search(r'<pre id="result">(.*?)</pre>', dom)[1])
    assert (phone["width"], desk["width"]) == (390, 1200)
    for page in (phone, desk):
        assert page["scroll"] <= page["width"]
        assert {"winner", "history", "importances", "parallel", "slices", "trials", "failures"} <= set(page["ids"])
        assert page["title"] == "run · kerastrain search"
        assert page["scripts"] == page["broken"] == page["lost"] == page["images"] == 0
    assert set(asked) <= {"/outer.html", "/search.html", "/favicon.ico"}
