"""What one agent keeps for the whole of its life: browsers, proxies, connections."""


def add_greeting(flow: "http.HTTPFlow") -> None:
    """Runs in mitmproxy, on each request."""
    flow.request.headers["X-Greeting"] = agent_message.get("greeting", "Hello")


def capture_answer(flow: "http.HTTPFlow", queue: object) -> None:
    """Runs in mitmproxy, on each response."""
    queue.put({"status": flow.response.status_code, "sent": flow.request.headers["X-Greeting"]})


class AgentContext:
    """Entered once per process, before its first job; left after its last."""

    def __init__(self, agent_message: dict) -> None:
        self.agent_message = agent_message
        self.jobs_done = 0
        self.greeting = ""
        self.proxy = None

    async def __aenter__(self) -> "AgentContext":
        self.greeting = self.agent_message.get("greeting", "Hello")
        if "config_proxy" in self.agent_message:
            from src.proxy_manager import ProxyManager

            self.proxy = ProxyManager(self.agent_message["config_proxy"])
            self.proxy.add_request_modifier(add_greeting).add_retriever("answers", capture_answer)
            await self.proxy.launch_proxy_async()
        print(f"agent {self.agent_message['pod_index']} is set up", flush=True)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self.proxy is not None:
            await self.proxy.exit_local_proxy_async()
        print(f"agent {self.agent_message['pod_index']} is done after {self.jobs_done} jobs", flush=True)
