"""What one agent keeps for the whole of its life: browsers, proxies, connections."""


class AgentContext:
    """Entered once per process, before its first job; left after its last."""

    def __init__(self, agent_message: dict) -> None:
        self.agent_message = agent_message
        self.jobs_done = 0
        self.greeting = ""

    async def __aenter__(self) -> "AgentContext":
        self.greeting = self.agent_message.get("greeting", "Hello")
        print(f"agent {self.agent_message['pod_index']} is set up", flush=True)
        return self

    async def __aexit__(self, *exception: object) -> None:
        print(f"agent {self.agent_message['pod_index']} is done after {self.jobs_done} jobs", flush=True)
