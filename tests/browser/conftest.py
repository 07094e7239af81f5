"""A real browser and a Jupyter server; screenshots of what was seen go to build/screenshots."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
SECONDS = 180
SETTINGS = {
    # JupyterLab takes cells that are out of sight out of the page otherwise, and asks whether to show news.
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}


def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("no Chromium on PATH; Debian: apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, and in a container, Chromium's own sandbox does not start.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        found = playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    # Half as many pixels again, so that pictures are sharp in a page.
    context = browser.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=1.5)
    context.set_default_timeout(SECONDS * 1000)
    yield context.new_page()
    context.close()


@pytest.fixture
def shoot() -> Callable[[Any, str], None]:
    """Keep what a page, or a part of it, looks like; ``make pictures`` takes some of these for the docs."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return lambda seen, name, **part: seen.screenshot(path=str(SCREENSHOTS / f"{name}.png"), **part)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start JupyterLab, or Notebook 7, in a folder; returns its address."""
    running: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, environment: dict[str, str] | None = None, app: str = "jupyterlab") -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = folder.parent / "lab-settings"
        for name, text in SETTINGS.items():
            path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", app, "--no-browser", f"--port={port}", "--IdentityProvider.token="]
        command += ["--ServerApp.port_retries=0"]
        command += ["--allow-root"] if os.geteuid() == 0 else []
        variables = {**(environment or os.environ), "JUPYTERLAB_SETTINGS_DIR": str(settings)}
        with (folder.parent / "server.log").open("wb") as log:
            running.append(subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log))
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                return address
            except OSError:
                if running[-1].poll() is not None:
                    break
                time.sleep(0.3)
        pytest.fail(f"{app} did not start:\n{(folder.parent / 'server.log').read_text()}")

    yield start
    for process in running:
        process.terminate()
        process.wait(30)
