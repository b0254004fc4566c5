"""The automation itself: one coroutine, run for each job."""

import asyncio


async def script(agent: AgentContext, job: JobContext) -> str:
    await asyncio.sleep(job.job_message.get("seconds", 0.1))
    text = f"{agent.greeting}, {job.job_message.get('name', 'Armada')}!"
    print(text, flush=True)
    await job.step(text)
    return text
