"""The broker settings of a project, as URLs that the agent connects to; no broker is needed for this."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from celery import Celery

from armada_agent.runtime.broker import brokers
from armada_agent.runtime.errors import LoadError

QUERY = "?heartbeat=120&connection_timeout=4.0"


def urls(setting: str = "broker_read_url", **settings: Any) -> list[str]:
    app = Celery("unit", set_as_current=False, config_source=settings)
    return brokers(app)[setting]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["amqp://guest:guest@localhost:5672/%2F"]),
        ({"broker_url": "amqp://"}, ["amqp://guest:guest@localhost:5672/%2F"]),
        ({"broker_url": "pyamqp://u:p%40@h:1234/v"}, ["amqp://u:p%40@h:1234/v"]),
        ({"broker_url": "amqp://h//"}, ["amqp://guest:guest@h:5672/%2F"]),
        ({"broker_url": "amqp://h/a%2Fb"}, ["amqp://guest:guest@h:5672/a%2Fb"]),
        ({"broker_url": "amqp://[::1]:1234/v"}, ["amqp://guest:guest@[::1]:1234/v"]),
        ({"broker_url": "amqp://a;amqp://b"}, ["amqp://guest:guest@a:5672/%2F", "amqp://guest:guest@b:5672/%2F"]),
        ({"broker_url": ["amqp://a", "amqp://b:1"]}, ["amqp://guest:guest@a:5672/%2F", "amqp://guest:guest@b:1/%2F"]),
        (
            {"broker_url": "amqp://h", "broker_user": "u", "broker_password": "p", "broker_vhost": "v"},
            ["amqp://u:p@h:5672/v"],
        ),
        ({"broker_url": "amqp://one", "broker_read_url": "amqp://two"}, ["amqp://guest:guest@two:5672/%2F"]),
        ({"broker_transport": "pyamqp", "broker_host": "h"}, ["amqp://guest:guest@h:5672/%2F"]),
        ({"broker_url": "amqps://h"}, ["amqps://guest:guest@h:5671/%2F"]),
        ({"broker_url": "amqp://h:5671", "broker_use_ssl": True}, ["amqps://guest:guest@h:5671/%2F"]),
    ],
)
def test_where_the_broker_is(settings: dict[str, Any], expected: list[str]) -> None:
    assert urls(**settings) == [url + QUERY for url in expected]


def test_where_is_published() -> None:
    settings = {"broker_url": "amqp://one", "broker_write_url": "amqp://two"}
    assert urls("broker_write_url", **settings) == ["amqp://guest:guest@two:5672/%2F" + QUERY]
    assert urls("broker_read_url", **settings) == ["amqp://guest:guest@one:5672/%2F" + QUERY]


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"broker_heartbeat": 0}, "heartbeat=0&connection_timeout=4.0"),
        ({"broker_connection_timeout": 1.5}, "heartbeat=120&connection_timeout=1.5"),
        ({"broker_login_method": "EXTERNAL"}, "heartbeat=120&connection_timeout=4.0&login_method=EXTERNAL"),
        ({"broker_url": "amqp://h?heartbeat=7&connect_timeout=2"}, "heartbeat=7&connection_timeout=2.0"),
    ],
)
def test_how_it_is_connected_to(settings: dict[str, Any], options: str) -> None:
    (url,) = urls(**settings)
    assert url.partition("?")[2] == options


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"ca_certs": "/ca", "certfile": "/c", "keyfile": "/k"},
            "ssl_ca_certs=%2Fca&ssl_certfile=%2Fc&ssl_keyfile=%2Fk",
        ),
        ({"ssl_version": ssl.PROTOCOL_TLSv1_2, "cert_reqs": ssl.CERT_NONE}, "ssl_cert_reqs=CERT_NONE"),
        ({"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "n"}, "ssl_cert_reqs=CERT_REQUIRED&ssl_server_hostname=n"),
    ],
)
def test_tls(settings: dict[str, Any], expected: str) -> None:
    (url,) = urls(broker_url="amqp://h", broker_use_ssl=settings)
    assert url == f"amqps://guest:guest@h:5671/%2F{QUERY}&{expected}"


def test_tls_options_of_a_url() -> None:
    (url,) = urls(broker_url="amqps://h?ssl_cert_reqs=CERT_NONE&ssl_ca_certs=/ca")
    assert url == f"amqps://guest:guest@h:5671/%2F{QUERY}&ssl_cert_reqs=CERT_NONE&ssl_ca_certs=%2Fca"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"broker_url": "redis://h"}, ("broker_url", "'redis'")),
        ({"broker_url": "memory://"}, ("broker_url", "'memory'")),
        ({"broker_url": "sqs://"}, ("broker_url", "'sqs'")),
        ({"broker_url": "amqp://a;redis://b"}, ("broker_url", "'redis'")),
        ({"broker_url": "amqp://a", "broker_use_ssl": {"ciphers": "x"}}, ("broker_use_ssl", "ciphers")),
        ({"broker_url": "amqp://u:sec/secret@h"}, ("broker_url", "%2F")),
        ({"broker_url": "amqp://h:port"}, ("broker_url", "host:port")),
        (
            {"broker_url": "amqp://a", "broker_use_ssl": {"ssl_version": ssl.PROTOCOL_TLSv1}},
            ("broker_use_ssl", "ssl_version"),
        ),
        ({"broker_url": "amqp://u:secret@a", "broker_write_url": "redis://b"}, ("broker_write_url", "'redis'")),
    ],
)
def test_what_the_agent_can_not_reach(settings: dict[str, Any], says: tuple[str, ...]) -> None:
    with pytest.raises(LoadError) as caught:
        urls(**settings)
    assert caught.value.kind == "invalid"
    for text in says:
        assert text in caught.value.message
    assert "secret" not in caught.value.message
