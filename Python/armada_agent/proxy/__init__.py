"""What runs in mitmdump: the agent's add-on. It needs mitmproxy and cloudpickle, and nothing of the worker's."""
