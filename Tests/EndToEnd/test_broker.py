"""The broker as it is in production: behind TLS, and short of memory at times."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from armada_testing.processes import free_port, wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .conftest import PROJECT_CODE, Run


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls_run(store: Redis, tmp_path: Path) -> Iterator[tuple[Run, str]]:
    """A run on a broker that speaks TLS too, and the URL for that without its options."""
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    options = (
        f"listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {certificate}\n"
        f"ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\nssl_options.verify = verify_none"
    )
    with RabbitMQ(options) as broker, ExitStack() as resources:
        yield Run(broker, store, tmp_path, resources, PROJECT_CODE), f"amqps://guest:guest@127.0.0.1:{port}//"


def test_a_run_over_tls(tls_run: tuple[Run, str], ours: None) -> None:
    run, url = tls_run
    authority = run.home / "certificate.pem"
    agent = run.agent(environment={"RABBITMQ_URL": f"{url}?ssl_ca_certs={authority}"})
    run.dispatch(1)
    run.wait_for("end", 1)
    assert agent.warm() == 0
    assert run.broker.counts(run.run_id) == (0, 0)


def test_a_broker_that_nobody_vouches_for_is_refused(tls_run: tuple[Run, str], ours: None) -> None:
    run, url = tls_run
    agent = run.agent(ready=False, environment={"RABBITMQ_URL": url})
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in agent.output(), 30, "the log tells of the certificate")
    assert "guest:guest" not in agent.output()
    assert agent.warm() == 0


def test_a_memory_alarm_stops_no_job(fragile_run: Run, ours: None) -> None:
    run = fragile_run
    agent = run.agent()
    run.dispatch_held(1)
    for number in range(2, 6):
        run.dispatch(number)
    run.wait_for("start", 1)
    run.broker.control("set_vm_memory_high_watermark", "absolute", "1MB")
    # Heartbeat events are published meanwhile, over a connection that the broker has stopped reading from.
    wait_until(lambda: "accepts no messages" in agent.output(), 20, "the broker has told of its alarm")
    run.open_gate()
    run.wait_done(range(1, 6), 30)
    run.wait_empty()
    run.broker.control("set_vm_memory_high_watermark", "0.8")
    run.dispatch(6)
    run.wait_for("end", 6)
    assert agent.warm() == 0
    assert set(run.times("end").values()) == {1}


def test_a_deleted_queue_is_declared_anew(run: Run) -> None:
    agent = run.agent()
    run.dispatch(1)
    run.wait_for("end", 1)
    with run.broker.connect() as connection:
        connection.channel().queue_delete(run.run_id)
    wait_until(lambda: (run.broker.counts(run.run_id) or (0, 0))[1] == 1, 40, "the queue is there and consumed again")
    run.dispatch(2)
    run.wait_for("end", 2)
    assert agent.warm() == 0
    # One process all along.
    assert len({step.pid for step in run.steps("start")}) == 1
