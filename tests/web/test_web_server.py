"""The web process as it runs: announced when ready, closed to strangers everywhere, quiet, clean to stop."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app import wiring
from app.web.gate import COOKIE, script_hash
from auth.tokens import new_token, token_hash
from core.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass
class Running:
    url: str
    pid: int
    home: Path
    process: subprocess.Popen[bytes]
    token: str

    @property
    def cookies(self) -> dict[str, str]:
        return {COOKIE: self.token}

    def open_socket(self, token: str = "", origin: str = "") -> None:
        """Open Streamlit's WebSocket; InvalidStatus when it is refused."""
        headers = {"Cookie": f"{COOKIE}={token}"} if token else {}
        address = self.url.replace("http", "ws") + "/_stcore/stream"
        with connect(address, additional_headers=headers, origin=origin or self.url, subprotocols=["streamlit"]):  # type: ignore[arg-type, list-item]
            pass


def start(home: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """The process and the line it wrote on its ready descriptor (empty when it ended first)."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "app.server", "--ready-fd", str(writer), *arguments],
        cwd=home,
        env={**os.environ, "ALIOTH_HOME": str(home), "PYTHONPATH": str(ROOT), "STREAMLIT_SERVER_ENABLE_AGENT_API": "1"},
        pass_fds=[writer],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], 90)
        return process, os.read(reader, 4096).decode() if ready else ""
    finally:
        os.close(reader)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("server")
    process, line = start(home, "--port", "0")
    said = json.loads(line)
    alioth = wiring.Alioth(Settings(home=home))
    user, token = alioth.accounts_store.add_user("ann", "!"), new_token()
    alioth.accounts_store.add_sign_in(token_hash(token), user.id, datetime.now(UTC) + timedelta(hours=1))
    alioth.close()
    try:
        yield Running(said["url"], said["pid"], home, process, token)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert out == b"" and err == b""  # the log is a file; nothing leaks to the terminal


def test_it_says_its_address_and_answers_there(running: Running) -> None:
    assert running.pid == running.process.pid
    assert httpx.get(f"{running.url}/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "path", ["/", "/_stcore/health", "/_stcore/host-config", "/_stcore/metrics", "/_stcore/agent", "/static/x.js", "/x"]
)
def test_streamlits_own_routes_are_behind_the_gate(running: Running, path: str) -> None:
    assert httpx.get(running.url + path).status_code == 401
    assert httpx.post(running.url + path).status_code == 401


def test_with_a_sign_in_the_page_is_served(running: Running) -> None:
    answer = httpx.get(running.url, cookies=running.cookies)
    assert answer.status_code == 200 and "<title>" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_websocket_opens_for_a_sign_in_on_our_own_page_only(running: Running) -> None:
    running.open_socket(running.token)
    for token, origin in (("", ""), ("forged", ""), (running.token, "https://evil.test")):
        with pytest.raises(InvalidStatus) as refused:
            running.open_socket(token, origin)
        assert refused.value.response.status_code == 403


def test_unknown_program_addresses_are_404_also_with_streamlit_behind(running: Running) -> None:
    for path in ("/v1", "/v1/models", "/api/v1/x", "/files/x/original"):
        answer = httpx.get(running.url + path, cookies=running.cookies)
        assert answer.status_code == 404 and answer.headers["content-type"] == "application/json"


def test_the_agent_api_is_off_whatever_the_environment_says(running: Running) -> None:
    address, headers = f"{running.url}/_stcore/agent", {"origin": running.url}
    answer = httpx.post(address, cookies=running.cookies, json={}, headers=headers)
    assert answer.status_code in (404, 405)


def test_an_upload_without_streamlits_own_token_is_refused(running: Running) -> None:
    answer = httpx.put(
        f"{running.url}/_stcore/upload_file/session/file",
        cookies=running.cookies,
        files={"file": b"x"},
        headers={"origin": running.url},
    )
    assert answer.status_code in (400, 403)


def test_a_taken_port_is_said_in_one_line(running: Running, tmp_path: Path) -> None:
    port = running.url.rpartition(":")[2]
    process, line = start(tmp_path, "--port", port)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1 and line == "" and out == b""
    assert f"Cannot listen on 127.0.0.1:{port}" in err.decode() and "Traceback" not in err.decode()


def test_sigterm_stops_it_and_frees_the_port(tmp_path: Path) -> None:
    process, line = start(tmp_path, "--port", "0")
    port = int(json.loads(line)["url"].rpartition(":")[2])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    assert "Traceback" not in (tmp_path / "logs" / "web.log").read_text(encoding="utf-8")


def test_the_policy_allows_exactly_the_inline_scripts_of_the_page_served(running: Running) -> None:
    answer = httpx.get(running.url, cookies=running.cookies)
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    policy = answer.headers["content-security-policy"]
    assert scripts and all(f"'{script_hash(script)}'" in policy for script in scripts)
    assert "unsafe-eval" not in policy and "script-src 'self' 'sha256-" in policy
