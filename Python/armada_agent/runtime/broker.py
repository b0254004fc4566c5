"""The broker settings of a project as URLs that leave nothing to be looked up elsewhere."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import quote

from .errors import LoadError

AMQP = ("amqp", "pyamqp", "librabbitmq")
AMQP_TLS = ("amqps",)
# What these ask for, the agent's TLS 1.2 or later is.
TLS_VERSIONS = ("PROTOCOL_TLS", "PROTOCOL_TLS_CLIENT", "PROTOCOL_TLSv1_2")
SSL_OPTIONS = ("ca_certs", "certfile", "keyfile", "cert_reqs", "server_hostname")


def brokers(app: Any) -> dict[str, list[str]]:
    """URLs to consume from and to publish to, each in the order of the failover list. They hold secrets."""
    conf = app.conf
    found = {}
    for setting, connect in (
        ("broker_read_url", app.connection_for_read),
        ("broker_write_url", app.connection_for_write),
    ):
        value = getattr(conf, setting)
        # What the project has written counts for a message, not what stands for it.
        name = "broker_url" if value == conf.broker_url else setting
        check_transports(value, conf.broker_transport, name)
        try:
            found[setting] = urls(connect(heartbeat=conf.broker_heartbeat), name)
        except ValueError:
            # Its text may hold a part of the password.
            raise LoadError(
                "invalid",
                f"{name}: found a URL that can't be read, expected amqp://user:password@host:port/vhost; "
                "in a password, /, @, : and % are written %2F, %40, %3A and %25",
            ) from None
    return found


def check_transports(value: Any, transport: Any, setting: str) -> None:
    """Refuse other brokers before kombu imports what they need."""
    texts = value.split(";") if isinstance(value, str) else value or ()
    schemes = [str(text).partition("://")[0].strip() for text in texts if "://" in str(text)]
    if transport:
        # Then kombu looks at no scheme.
        schemes = [str(transport)]
    for scheme in schemes:
        if scheme not in (*AMQP, *AMQP_TLS):
            raise LoadError(
                "invalid",
                f"{setting}: found a broker of the kind {scheme!r}, expected amqp:// or amqps://, RabbitMQ's; "
                "for other brokers, use celery worker",
            )


def urls(connection: Any, setting: str) -> list[str]:
    """kombu knows what the URLs and the settings beside them come to; it connects nowhere for this."""
    found = [url(connection, setting)]
    for alternate in connection.alt[1:]:
        connection.switch(alternate)
        found.append(url(connection, setting))
    return found


def url(connection: Any, setting: str) -> str:
    """The URL of the broker that the connection is set to."""
    if callable(connection.password) or connection.credential_provider is not None:
        raise LoadError(
            "invalid",
            f"{setting}: found a password that is computed, expected text: the agent connects by itself; "
            "put the password into the URL, or use celery worker",
        )
    options = [("heartbeat", str(int(connection.heartbeat or 0)))]
    if connection.connect_timeout:
        options.append(("connection_timeout", str(float(connection.connect_timeout))))
    if connection.login_method:
        options.append(("login_method", str(connection.login_method)))
    tls = connection.ssl or connection.transport_cls in AMQP_TLS
    if isinstance(tls, dict):
        options += tls_options(tls, setting)
    scheme = "amqps" if tls else "amqp"
    user = quote(connection.userid or "guest", safe="")
    password = quote(connection.password or "guest", safe="")
    host = connection.hostname or "localhost"
    host = f"[{host}]" if ":" in host else quote(host, safe="")
    port = connection.port or (5671 if tls else 5672)
    path = connection.virtual_host or "/"
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options)
    return f"{scheme}://{user}:{password}@{host}:{port}/{quote(path, safe='')}?{query}"


def tls_options(options: dict[str, Any], setting: str) -> list[tuple[str, str]]:
    """`broker_use_ssl`, or a URL's `ssl_…` options: arguments of Python's `ssl`, by either's names."""
    found = []
    unknown = []
    for name, value in options.items():
        name = name.removeprefix("ssl_")
        if value is None:
            continue
        if name == "cert_reqs":
            lenient = value == ssl.CERT_NONE or str(value).upper() in ("CERT_NONE", "NONE")
            found.append(("ssl_cert_reqs", "CERT_NONE" if lenient else "CERT_REQUIRED"))
        elif name in SSL_OPTIONS:
            found.append((f"ssl_{name}", str(value)))
        elif name != "version" or getattr(value, "name", value) not in TLS_VERSIONS:
            unknown.append("ssl_version" if name == "version" else name)
    if unknown:
        raise LoadError(
            "invalid",
            f"broker_use_ssl ({setting}): found {', '.join(sorted(unknown))}, expected only "
            f"{', '.join(SSL_OPTIONS)}: the agent connects by itself, with TLS 1.2 or later",
        )
    return found
