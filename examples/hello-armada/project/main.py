"""The project's tie to Celery: `app` and `agent_message` are given by the agent that executes this code."""

import asyncio

from celery.signals import worker_process_init, worker_process_shutdown

loop = None
agent_context = None


@worker_process_init.connect
def enter_agent(**_arguments: object) -> None:
    global loop, agent_context
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    agent_context = loop.run_until_complete(AgentContext(agent_message).__aenter__())


@worker_process_shutdown.connect
def leave_agent(**_arguments: object) -> None:
    loop.run_until_complete(agent_context.__aexit__(None, None, None))
    loop.close()


async def run_job(job_message: dict) -> str:
    async with JobContext(agent_context, job_message) as job:
        return await script(agent_context, job)


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message: dict) -> str:
    return loop.run_until_complete(run_job(job_message))
