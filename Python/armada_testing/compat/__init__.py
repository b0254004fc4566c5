"""`scripts/compat`: one table of scenarios, run by `celery worker` and by ours; what was observed is compared.

A scenario is a function of a `Session`: it sends tasks and commands and records what it sees. Around it, the session
records what any scenario can change: the events, the results, what tasks wrote to their journal, what was
dead-lettered. Each setting (the options and the configuration of a worker) has a virtual host and a Redis
database of its own for each kind of worker, so that both see the same names. Task ids are chosen, not random, so that a
difference says what it is about.
"""
