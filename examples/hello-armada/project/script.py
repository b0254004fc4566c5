"""The automation itself: one coroutine, run for each job."""

import asyncio
import urllib.request


async def script(agent: AgentContext, job: JobContext) -> str:
    await asyncio.sleep(job.job_message.get("seconds", 0.1))
    text = f"{agent.greeting}, {job.job_message.get('name', 'Armada')}!"
    print(text, flush=True)
    await job.step(text)
    if agent.proxy is not None:
        await asyncio.to_thread(visit, job.job_message["page"], agent.proxy.url)
        job.answer = await agent.proxy.retrieve_async("answers")
    return text


def visit(page: str, proxy: str) -> None:
    """Loads a page through the proxy, as a browser would."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
    with opener.open(page, timeout=30) as answer:
        answer.read()
