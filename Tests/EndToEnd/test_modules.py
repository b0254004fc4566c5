"""The modules of the SDK at a desk, where no agent runs: the real program, and a server that answers as it is told."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from armada_agent.sdk import AgentUnavailable, ModuleError, _connection
from armada_agent.sdk.fingerprint import FingerprintManager
from armada_agent.sdk.monitoring import MonitoringClient
from armada_testing.agent import agent_binary
from armada_testing.backend import Answer, Backend, Request
from armada_testing.desk import forget_agent

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A script at a desk, with a backend and a fingerprint provider; its agent ends with it."""
    with Backend() as backend:
        for variable in ("BACKEND_URL", "FINGERPRINT_PROVIDER_URL"):
            monkeypatch.setenv(variable, backend.url)
        monkeypatch.setenv("AGENT_BINARY", str(agent_binary()))
        forget_agent()
        yield backend
        forget_agent()


def job(number: int = 0) -> MonitoringClient:
    return MonitoringClient(run_uuid="run", agent_number=number, job_uuid="job")


class TestFingerprint:
    def test_sends_the_configuration_and_returns_the_text(self, desk: Backend) -> None:
        desk.answer = lambda _: Answer(200, '{"größe": 1}'.encode())
        config = {"os": "größe", "z": 1.50, "a": {"y": None, "b": [1, 2**80]}}
        assert FingerprintManager(config).get_fingerprint() == '{"größe": 1}'
        request = desk.requests[0]
        assert (request.method, request.path) == ("GET", "/get-fingerprint")
        assert request.headers["content-type"] == "application/json"
        assert request.body == json.dumps(config).encode()

    def test_a_file_passes_through_as_it_stands(self, desk: Backend, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text('{ "z": 1.50,\n"a" : [1e2, {"b":-0.0}], "A": "\\u00fc", "e": {} }')
        FingerprintManager(file).get_fingerprint()
        FingerprintManager(str(file)).get_fingerprint({"e": 7, "new": True})
        assert desk.requests[0].body == b'{"z": 1.50, "a": [1e2, {"b":-0.0}], "A": "\\u00fc", "e": {}}'
        assert desk.requests[1].body == b'{"z": 1.50, "a": [1e2, {"b":-0.0}], "A": "\\u00fc", "e": 7, "new": true}'

    def test_additional_data_is_for_one_call(self, desk: Backend) -> None:
        manager = FingerprintManager({"a": 1})
        asyncio.run(manager.get_fingerprint_async({"a": 2, "b": 3}))
        manager.get_fingerprint()
        assert [request.json for request in desk.requests] == [{"a": 2, "b": 3}, {"a": 1}]

    @pytest.mark.parametrize("text", ["[]", "7", "{"])
    def test_a_file_that_holds_no_object_is_refused(self, text: str, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text(text)
        with pytest.raises(ValueError):
            FingerprintManager(file)

    def test_a_charset_is_honoured(self, desk: Backend) -> None:
        desk.answer = lambda _: Answer(200, "é".encode("latin-1"), {"Content-Type": "text/plain; charset=ISO-8859-1"})
        assert FingerprintManager({}).get_fingerprint() == "é"

    def test_another_status_is_an_error_with_the_body(self, desk: Backend) -> None:
        desk.answer = lambda _: Answer(404, b"no such fingerprint")
        with pytest.raises(ModuleError, match="HTTP 404 Not Found: no such fingerprint") as caught:
            FingerprintManager({}).get_fingerprint()
        assert (caught.value.kind, caught.value.details["status"]) == ("status", 404)
        assert len(desk.requests) == 1

    def test_an_empty_answer_is_an_error(self, desk: Backend) -> None:
        desk.answer = lambda _: Answer(200, b"")
        with pytest.raises(ModuleError, match="an empty body; a fingerprint was expected"):
            FingerprintManager({}).get_fingerprint()

    def test_a_redirect_is_followed_with_the_body(self, desk: Backend) -> None:
        def answer(request: Request) -> Answer:
            moved = request.path == "/get-fingerprint"
            return Answer(302, b"", {"Location": "/other"}) if moved else Answer(200, b"here")

        desk.answer = answer
        assert FingerprintManager({"a": 1}).get_fingerprint() == "here"
        assert [request.json for request in desk.requests] == [{"a": 1}, {"a": 1}]

    def test_redirects_in_a_circle_end(self, desk: Backend) -> None:
        desk.answer = lambda _: Answer(302, b"", {"Location": "/get-fingerprint"})
        with pytest.raises(ModuleError, match=r"network error"):
            FingerprintManager({}).get_fingerprint()

    def test_a_large_answer_comes_whole_and_a_huge_one_is_refused(self, desk: Backend) -> None:
        body = bytes(range(32, 127)) * 150_000
        desk.answer = lambda request: Answer(200, body * (1 + 2 * ("huge" in request.json)))
        assert FingerprintManager({}).get_fingerprint().encode() == body
        with pytest.raises(ModuleError, match="longer than 32 MiB"):
            FingerprintManager({"huge": 1}).get_fingerprint()
        assert FingerprintManager({}).get_fingerprint().encode() == body

    def test_a_provider_that_is_not_there(self, desk: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FINGERPRINT_PROVIDER_URL", f"http://user:secret@127.0.0.1:{free_port()}")
        with pytest.raises(RuntimeError, match=r"network error: GET http://127.0.0.1.*refused") as caught:
            FingerprintManager({}).get_fingerprint()
        assert "secret" not in str(caught.value)

    def test_credentials_of_the_url_are_sent(self, desk: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FINGERPRINT_PROVIDER_URL", desk.url.replace("//", "//user:p%40ss@") + "/base/")
        FingerprintManager({}).get_fingerprint()
        assert desk.requests[0].path == "/base/get-fingerprint"
        assert desk.requests[0].headers["authorization"] == "Basic dXNlcjpwQHNz"


class TestTLS:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        """A certificate for localhost with its key, signed by itself."""
        file = tmp_path / "certificate.pem"
        options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        subprocess.run(
            ["openssl", *options.split(), "-keyout", file, "-out", tmp_path / "public.pem"],
            check=True,
            capture_output=True,
        )
        file.write_text(file.read_text() + (tmp_path / "public.pem").read_text())
        return file

    @pytest.fixture
    def secure(self, desk: Backend, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with Backend(tls=context) as backend:
            monkeypatch.setenv("FINGERPRINT_PROVIDER_URL", backend.url)
            yield backend

    def test_an_unknown_certificate_is_refused(self, secure: Backend) -> None:
        with pytest.raises(
            ModuleError, match="certificate is not one that this system's authorities vouch for"
        ) as caught:
            FingerprintManager({}).get_fingerprint()
        assert caught.value.kind == "network"
        assert not secure.requests


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


class TestMonitoring:
    def test_the_documented_requests(self, desk: Backend) -> None:
        run, number = uuid.uuid4(), uuid.uuid4()
        client = MonitoringClient(run, 3, number)
        assert (client.run_uuid, client.agent_number, client.job_uuid) == (run, 3, number)
        begun = time.time()
        assert client.create_job().record_success_event("a step – done").record_finalsuccess_event("all") is client
        client.record_failed_event({"why": ["no", 1.5, None]})
        ended = time.time()

        created, event, last, success, problem, failed = desk.requests
        assert (created.method, created.path) == ("POST", "/api/jobs/")
        body = created.json
        moment = body.pop("job_datetime")
        assert TIME.fullmatch(moment)
        at = datetime.fromisoformat(moment + "+00:00").timestamp()
        assert begun - 0.001 <= at <= ended
        assert body == {
            "run_uuid": str(run),
            "job_uuid": str(number),
            "job_associated_agent": 3,
            "job_status": "Running",
        }
        contents = {"a step – done": "Success", "all": "Success"}
        identifiers = set()
        for request in (event, last, problem):
            assert (request.method, request.path) == ("POST", "/api/events/")
            body = request.json
            assert TIME.fullmatch(body.pop("event_datetime"))
            identifier = uuid.UUID(body.pop("event_uuid"))
            assert (identifier.version, identifier.variant) == (4, uuid.RFC_4122)
            identifiers.add(identifier)
            content = body.pop("event_content")
            status = "Failed" if isinstance(content, dict) else contents[content]
            assert body == {"job_uuid": str(number), "event_status": status}
        assert len(identifiers) == 3
        assert problem.json["event_content"] == {"why": ["no", 1.5, None]}
        for request, status in ((success, "Success"), (failed, "Failed")):
            assert (request.method, request.path) == ("PATCH", "/api/jobs/status")
            assert request.json == {"job_uuid": str(number), "job_status": status}

    def test_one_connection_is_kept(self, desk: Backend) -> None:
        for _ in range(20):
            job().record_success_event("x")
        assert len({request.connection for request in desk.requests}) == 1

    def test_the_async_twins(self, desk: Backend) -> None:
        async def all_of_them() -> None:
            client = await job().create_job_async()
            await asyncio.gather(*(client.record_success_event_async(str(number)) for number in range(20)))
            await client.record_finalsuccess_event_async("end")
            assert await client.record_failed_event_async("end") is client

        asyncio.run(all_of_them())
        assert len(desk.requests) == 1 + 20 + 2 + 2
        assert {request.json["event_content"] for request in desk.requests[1:21]} == {str(n) for n in range(20)}

    @pytest.mark.parametrize("trouble", [Answer(502), Answer(503), Answer(504), Answer(cuts=True)])
    def test_trouble_that_passes_is_waited_out(self, desk: Backend, trouble: Answer) -> None:
        desk.answer = lambda _: trouble if len(desk.requests) < 3 else Answer()
        job().record_success_event("x")
        assert len(desk.requests) == 3
        # The same event each time: the backend can tell.
        assert len({request.body for request in desk.requests}) == 1

    def test_a_repetition_that_the_backend_knows_already_has_arrived(self, desk: Backend) -> None:
        desk.answer = lambda _: Answer(cuts=True) if len(desk.requests) < 2 else Answer(409)
        job().create_job()
        with pytest.raises(ModuleError, match="HTTP 409"):
            job().create_job()

    @pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
    def test_what_the_backend_refuses_is_told_at_once(self, desk: Backend, status: int) -> None:
        desk.answer = lambda _: Answer(status, b'{"detail": "no \xc3\xa9"}')
        with pytest.raises(RuntimeError, match=f"HTTP {status} .*no é") as caught:
            job().record_finalsuccess_event("x")
        error = caught.value
        assert isinstance(error, ModuleError)
        assert (error.kind, error.details) == ("status", {"status": status, "body": '{"detail": "no é"}'})
        # The job's status is not set for an event that is not there.
        assert len(desk.requests) == 1

    def test_a_backend_that_is_started_late(self, desk: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        late = threading.Thread(target=job().create_job)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
            monkeypatch.setenv("BACKEND_URL", f"http://127.0.0.1:{port}")
            late.start()
            # The first attempt is turned away.
            closed.settimeout(10)
            closed.accept()[0].close()
        with Backend(port=port) as backend:
            late.join(10)
            assert len(backend.requests) == 1

    def test_a_backend_that_never_comes(self, desk: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BACKEND_URL", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(RuntimeError, match=r"network error: POST http://.*/api/jobs/: .*refused"):
            job().create_job()

    def test_a_backend_that_hangs(self, desk: Backend) -> None:
        silent = threading.Event()
        desk.answer = lambda _: Answer() if silent.wait(60) else Answer(500)
        try:
            with pytest.raises(RuntimeError, match=r"timeout: no answer to POST .*/api/events/ within 10 s"):
                job().record_success_event("x")
        finally:
            silent.set()

    def test_arguments_that_are_none_of_json(self, desk: Backend) -> None:
        with pytest.raises(TypeError, match="can't be sent to the agent"):
            job().record_success_event(object())
        assert not desk.requests


class TestCallers:
    def test_threads(self, desk: Backend) -> None:
        threads = [threading.Thread(target=job(number).create_job) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(request.json["job_associated_agent"] for request in desk.requests) == list(range(16))

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_processes(self, desk: Backend, method: str) -> None:
        job().create_job()
        with multiprocessing.get_context(method).Pool(3) as pool:
            pool.map(record, range(12))
        # The parent's own connection still serves it.
        job().create_job()
        recorded = sorted(request.json["event_content"] for request in desk.requests[1:-1])
        assert recorded == list(range(12))

    def test_a_request_that_is_too_long_is_refused_by_its_length(self, desk: Backend) -> None:
        def padded(length: int) -> dict[str, str]:
            rest = len(_connection._request("nothing.at_all", {"padding": ""})) - 4
            return {"padding": "x" * (length - rest)}

        limit = 64 << 20
        for call in (_connection.call, lambda *args, **kwargs: asyncio.run(_connection.call_async(*args, **kwargs))):
            with pytest.raises(ModuleError, match="the agent has no method") as taken:
                call("nothing.at_all", **padded(limit))
            assert taken.value.kind == "unknown_method"
            with pytest.raises(ModuleError, match=rf"nothing.at_all: found arguments of {limit + 1} bytes") as refused:
                call("nothing.at_all", **padded(limit + 1))
            assert refused.value.kind == "argument"

    def test_a_signal_in_the_middle_gives_the_call_up(self, desk: Backend) -> None:
        silent = threading.Event()

        def answer(request: Request) -> Answer:
            if "run_uuid" in request.json:
                return Answer()
            os.kill(os.getpid(), signal.SIGALRM)
            return Answer() if silent.wait(60) else Answer(500)

        def interrupt(_: int, __: object) -> None:
            raise TimeoutError

        desk.answer = answer
        previous = signal.signal(signal.SIGALRM, interrupt)
        try:
            with pytest.raises(TimeoutError):
                job().record_success_event("x")
            assert MonitoringClient("run", 0, "job").create_job()
        finally:
            signal.signal(signal.SIGALRM, previous)
            silent.set()
        # The interrupted call's connection was closed, the next call's is kept.
        assert len(_connection._pool.free) == 1

    def test_a_task_that_is_cancelled_gives_the_call_up(self, desk: Backend) -> None:
        silent = threading.Event()

        async def cancelled() -> None:
            loop = asyncio.get_running_loop()
            call = asyncio.ensure_future(job().record_success_event_async("x"))

            def answer(_: Request) -> Answer:
                if not silent.is_set():
                    loop.call_soon_threadsafe(call.cancel)
                return Answer() if silent.wait(60) else Answer(500)

            desk.answer = answer
            with pytest.raises(asyncio.CancelledError):
                await call
            silent.set()
            await job().create_job_async()

        asyncio.run(cancelled())

    def test_no_agent_at_all(self, desk: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AGENT_BINARY", str(tmp_path / "nothing"))
        with pytest.raises(AgentUnavailable, match="can't be started"):
            job().create_job()


def record(number: int) -> None:
    job().record_success_event(number)
