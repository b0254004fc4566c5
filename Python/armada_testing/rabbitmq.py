"""A RabbitMQ of one's own: loopback only, own ports, own Erlang cookie and port mapper, no plugins."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import amqp

from .processes import NotReady, Process, free_port, port_answers, private_directory, uninterrupted

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


def connect(port: int, virtual_host: str = "/", **options: Any) -> amqp.Connection:
    """A plain connection to a broker on loopback, open; a context manager that closes it."""
    connection = amqp.Connection(
        f"127.0.0.1:{port}", userid="guest", password="guest", virtual_host=virtual_host, connect_timeout=5, **options
    )
    connection.connect()
    return connection


def counts(connection: amqp.Connection, queue: str) -> tuple[int, int] | None:
    """(messages ready, consumers) of a queue, or `None` when there is no such queue."""
    try:
        declared = connection.channel().queue_declare(queue, passive=True)
    except amqp.exceptions.NotFound:
        return None
    return declared.message_count, declared.consumer_count


class Broker(Protocol):
    """What a worker is pointed at: a whole broker, or one of its virtual hosts."""

    @property
    def url(self) -> str: ...

    def connect(self) -> amqp.Connection: ...

    def counts(self, queue: str) -> tuple[int, int] | None: ...


class VirtualHost:
    """A virtual host of a broker, which `RabbitMQ.add_virtual_hosts` makes: queues that nothing else touches."""

    def __init__(self, broker: RabbitMQ, name: str) -> None:
        self.name = name
        self.url = f"amqp://guest:guest@127.0.0.1:{broker.port}/{name}"
        self._broker = broker

    def connect(self) -> amqp.Connection:
        return connect(self._broker.port, self.name)

    def counts(self, queue: str) -> tuple[int, int] | None:
        with self.connect() as connection:
            return counts(connection, queue)

    def declared(self) -> dict[str, list[dict[str, Any]]]:
        """Its queues, exchanges and bindings, with their arguments and counts, from the broker's own books."""
        found: dict[str, list[dict[str, Any]]] = json.loads(self._broker.evaluate(_DECLARED % {"host": self.name}))
        return found


# Erlang expressions for `rabbitmqctl eval`: one costs as little as any `rabbitmqctl`, and does the work of many.
_DECLARED = """
V = <<"%(host)s">>,
Name = fun({resource, _, _, N}) -> N end,
Text = fun(X) when is_list(X) -> iolist_to_binary(io_lib:format("~p", [X])); (X) -> X end,
Table = fun(A) -> [[K, T, Text(X)] || {K, T, X} <- A] end,
Yes = fun(X) -> X =:= true end,
Whole = fun(X) when is_integer(X) -> X; (_) -> 0 end,
Queues = [begin
  [{_, N}, {_, D}, {_, AD}, {_, E}, {_, A}, {_, C}, {_, R}, {_, U}] = rabbit_amqqueue:info(
    Q, [name, durable, auto_delete, exclusive, arguments, consumers, messages_ready, messages_unacknowledged]),
  #{name => Name(N), durable => Yes(D), auto_delete => Yes(AD), exclusive => Yes(E), arguments => Table(A),
    consumers => Whole(C), ready => Whole(R), unacknowledged => Whole(U)}
end || Q <- rabbit_amqqueue:list(V)],
Exchanges = [begin
  [{_, N}, {_, T}, {_, D}, {_, AD}, {_, I}, {_, A}] = rabbit_exchange:info(
    X, [name, type, durable, auto_delete, internal, arguments]),
  #{name => Name(N), type => T, durable => Yes(D), auto_delete => Yes(AD), internal => Yes(I), arguments => Table(A)}
end || X <- rabbit_exchange:list(V)],
Bindings = [begin
  [{_, S}, {_, N}, {_, K}, {_, A}] = rabbit_binding:info(B, [source_name, destination_name, routing_key, arguments]),
  #{source => S, destination => N, routing_key => K, arguments => Table(A)}
end || B <- rabbit_binding:list(V)],
io:format("~s~n", [rabbit_json:encode(#{queues => Queues, exchanges => Exchanges, bindings => Bindings})]).
"""
_ADD_HOSTS = """
[begin
  ok = rabbit_vhost:add(V, <<"tests">>),
  ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"tests">>),
  ok = rabbit_policy:set(V, <<"dead">>, <<"%(pattern)s">>,
    [{<<"dead-letter-exchange">>, <<>>}, {<<"dead-letter-routing-key">>, <<"%(dead)s">>}], 0, <<"queues">>, <<"tests">>)
end || V <- [%(hosts)s]].
"""


class RabbitMQ:
    """`with RabbitMQ() as broker:` starts it; `stop()` and `start()` in between keep its port and its data.

    `configuration` holds further lines of rabbitmq.conf, e.g. `consumer_timeout = 1000`.
    """

    def __init__(self, configuration: str = "") -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._node = f"test{secrets.token_hex(4)}@localhost"
        self._configuration = configuration
        self._resources = contextlib.ExitStack()
        self._home = Path()
        self._environment: dict[str, str] = {}
        self._server: Process | None = None

    def __enter__(self) -> RabbitMQ:
        if not Path(SERVER).exists():
            raise NotReady(
                f"RabbitMQ is not installed ({SERVER} is missing): run scripts/setup or `apt install rabbitmq-server`"
            )
        with contextlib.ExitStack() as resources:
            self._home = resources.enter_context(private_directory("rabbitmq"))
            resources.callback(self.stop)
            self._prepare(resources)
            self.start()
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted():
            self.kill()
            self._resources.close()

    def _prepare(self, resources: contextlib.ExitStack) -> None:
        home = self._home
        cookie = home / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (home / "rabbitmq.conf").write_text(
            "loopback_users.guest = true\nlog.console = true\nlog.console.level = warning\nlog.file = false\n"
            # The memory and disk alarms look at the whole machine, which other work shares.
            "vm_memory_high_watermark.relative = 0.8\ndisk_free_limit.absolute = 50MB\n" + self._configuration + "\n"
        )
        (home / "enabled_plugins").write_text("[].\n")
        mapper_port = free_port()
        self._environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper_port),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "absent"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            "RABBITMQ_CTL_ERL_ARGS": "+S 1:1",
            # Replaces the start script by the server: the process that is signalled is the one that serves.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        # Started here, in the foreground, since the server would leave a daemon of its own behind.
        mapper = Process(
            ["epmd", "-address", "127.0.0.1", "-port", str(mapper_port)], home / "epmd.log", self._environment
        )
        resources.enter_context(mapper)
        mapper.wait_ready(lambda: port_answers(mapper_port), 10, "Erlang's port mapper listens")

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.running

    def start(self) -> None:
        """Starts the server and waits until it greets AMQP clients."""
        if self.running:
            return
        server = Process([SERVER], self._home / "server.log", self._environment, cwd=self._home)
        self._server = server
        server.wait_ready(self._greets, 90, "RabbitMQ answers")

    def stop(self) -> None:
        """An ordered stop: connections are closed by the server, durable queues and messages are kept."""
        if self._server is not None:
            self._server.stop(signal.SIGTERM, 60)

    def kill(self) -> None:
        """What a crash does."""
        if self._server is not None:
            self._server.kill()

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def control(self, *arguments: str, seconds: float = 60) -> str:
        """Runs `rabbitmqctl`; slow (about a second), since it starts an Erlang system."""
        result = subprocess.run(
            [CONTROL, "--quiet", "--node", self._node, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout

    def evaluate(self, expressions: str) -> str:
        """Runs Erlang expressions in the broker; what they print. The value of the last one is left out."""
        return self.control("eval", expressions).rpartition("\n")[0].rpartition("\n")[0]

    def add_virtual_hosts(self, names: Iterable[str], dead: str, dead_lettered: str) -> None:
        """Adds virtual hosts for `guest`; queues that a pattern fits dead-letter to the queue `dead` of their host."""
        hosts = ", ".join(f'<<"{name}">>' for name in names)
        self.control("eval", _ADD_HOSTS % {"hosts": hosts, "dead": dead, "pattern": dead_lettered}, seconds=300)

    def connect(self) -> amqp.Connection:
        """A plain connection, open; a context manager that closes it."""
        return connect(self.port)

    def counts(self, queue: str) -> tuple[int, int] | None:
        """(messages ready, consumers) of a queue, or `None` when there is no such queue."""
        with self.connect() as connection:
            return counts(connection, queue)

    def depths(self, queue: str) -> tuple[int, int]:
        """(ready, delivered but not acknowledged) of a queue, from the broker's own books."""
        for line in self.control(
            "list_queues", "--no-table-headers", "name", "messages_ready", "messages_unacknowledged"
        ).splitlines():
            name, ready, unacknowledged = line.split("\t")
            if name == queue:
                return int(ready), int(unacknowledged)
        raise KeyError(queue)

    def log(self) -> str:
        return (self._home / "server.log").read_text(errors="replace")
