"""A small backend for the monitoring module: receives jobs and their events, prints them, and shows them on a page.

    python backend.py --port 8000

It answers the platform's requests (`POST /api/runs/`, `/api/jobs/`, `/api/events/`, `PATCH /api/jobs/status`), each of
which may come twice, and `GET /` with a page, `GET /api/jobs/` with the same as JSON. It keeps all in memory.
"""

from __future__ import annotations

import argparse
import html
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[HTTPStatus, Any]


class Store:
    """What has been received, by identifier."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}

    def handle(self, method: str, path: str, body: dict[str, Any]) -> Reply:
        """The answer to one request."""
        with self.lock:
            try:
                if (method, path) == ("POST", "/api/runs/"):
                    return self.create(self.runs, body["run_uuid"], body)
                if (method, path) == ("POST", "/api/jobs/"):
                    return self.create(self.jobs, body["job_uuid"], {**body, "events": []})
                if (method, path) == ("POST", "/api/events/"):
                    return self.record(body)
                if (method, path) == ("PATCH", "/api/jobs/status"):
                    self.jobs[body["job_uuid"]]["job_status"] = body["job_status"]
                    print(f"{body['job_uuid']}: {body['job_status']}", flush=True)
                    return HTTPStatus.OK, {}
                if (method, path) == ("GET", "/api/jobs/"):
                    return HTTPStatus.OK, list(self.jobs.values())
            except KeyError as error:
                return HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": f"unknown or missing: {error}"}
        return HTTPStatus.NOT_FOUND, {"detail": f"nothing answers {method} {path}"}

    def create(self, table: dict[str, dict[str, Any]], identifier: str, row: dict[str, Any]) -> Reply:
        if identifier in table:
            return HTTPStatus.OK, {}
        table[identifier] = row
        return HTTPStatus.CREATED, {}

    def record(self, event: dict[str, Any]) -> Reply:
        if event["event_uuid"] not in self.events:
            self.jobs[event["job_uuid"]]["events"].append(event)
            self.events[event["event_uuid"]] = event
            print(f"{event['job_uuid']}: {event['event_status']}: {event['event_content']}", flush=True)
        return HTTPStatus.CREATED, {}

    def page(self) -> str:
        """All jobs and their events."""
        with self.lock:
            rows = [
                f"<tr><th>{escape(job['job_uuid'])}</th><td>agent {escape(job['job_associated_agent'])}</td>"
                f"<td>{escape(job['job_status'])}</td><td>{events(job)}</td></tr>"
                for job in self.jobs.values()
            ]
        return f"<!doctype html><meta charset=utf-8><title>Jobs</title><table>{''.join(rows)}</table>"


def events(job: dict[str, Any]) -> str:
    lines = [f"{e['event_datetime']} {e['event_status']}: {e['event_content']}" for e in job["events"]]
    return "<br>".join(escape(line) for line in lines)


def escape(value: Any) -> str:
    return html.escape(str(value))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer leave in one piece.
    wbufsize = -1
    store = Store()

    def do_GET(self) -> None:
        if self.path == "/":
            self.answer(HTTPStatus.OK, self.store.page().encode(), "text/html; charset=utf-8")
        else:
            self.do_POST()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(content or b"{}")
        except ValueError as error:
            status, answer = HTTPStatus.BAD_REQUEST, {"detail": f"not JSON: {error}"}
        else:
            status, answer = self.store.handle(self.command, self.path, body)
        self.answer(status, json.dumps(answer).encode(), "application/json")

    do_PATCH = do_POST

    def answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Events are printed, requests are not."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    port: int = parser.parse_args().port
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
