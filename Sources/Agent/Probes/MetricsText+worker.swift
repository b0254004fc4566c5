import AgentModules
import CeleryWorker
import PythonPool

extension MetricsText {
    /// All metrics of a worker, of its modules and of this process.
    init(_ metrics: WorkerMetrics, outbox: OutboxCounts? = nil, _ process: ProcessMetrics) {
        self.init()
        self.addTasks(metrics)
        self.addMessages(metrics)
        if let outbox { self.addOutbox(outbox) }
        self.addState(metrics)
        self.addProcess(process, startedAt: metrics.startedAt)
    }

    private mutating func addTasks(_ metrics: WorkerMetrics) {
        let tasks = metrics.tasks.sorted { $0.key < $1.key }
        self.add("armada_agent_tasks_total", .counter, "Tasks that have ended, by what became of them.") { samples in
            for (name, statistics) in tasks {
                for state in TaskStatistics.State.allCases where statistics[state] > 0 {
                    samples.sample(statistics[state], ["task": name, "state": "\(state)"])
                }
            }
        }
        self.add("armada_agent_task_runtime_seconds", .histogram, "How long tasks ran that succeeded.") { samples in
            for (name, statistics) in tasks where statistics.runtime.count > 0 {
                samples.histogram(statistics.runtime, [("task", name)])
            }
        }
        self.add(
            "armada_agent_job_wait_seconds",
            .histogram,
            "How long jobs that have ended had waited for a Python worker once they were ready."
        ) { $0.histogram(metrics.waits) }
    }

    private mutating func addMessages(_ metrics: WorkerMetrics) {
        self.add("armada_agent_messages_received_total", .counter, "Messages from task queues.", metrics.received)
        self.add(
            "armada_agent_messages_refused_total",
            .counter,
            "Messages that could not be run as a task.",
            metrics.refused
        )
        self.add(
            "armada_agent_jobs_lost_total",
            .counter,
            "Jobs whose Python worker died.",
            metrics.lost
        )
        self.add(
            "armada_agent_messages_set_aside_total",
            .counter,
            "Messages that have cost their Python worker too often, and were set aside.",
            metrics.setAside
        )
        self.add(
            "armada_agent_redeliveries_adopted_total",
            .counter,
            "Redeliveries of tasks that were running, or had ended, here.",
            metrics.adopted
        )
        self.add(
            "armada_agent_settlements_stale_total",
            .counter,
            "Settlements that were not sent, since their connection was gone.",
            metrics.staleSettlements
        )
        self.add(
            "armada_agent_messages_dropped_total",
            .counter,
            "Replies and events that were not sent, as too many waited.",
            metrics.dropped
        )
        self.add(
            "armada_agent_broker_connections_lost_total",
            .counter,
            "Sessions with the broker that ended against the agent's will.",
            metrics.connectionsLost
        )
    }

    private mutating func addOutbox(_ counts: OutboxCounts) {
        self.add("armada_agent_outbox_waiting", .gauge, "Events that wait for the backend.", counts.waiting)
        self.add("armada_agent_outbox_delivered_total", .counter, "Events that the backend has.", counts.delivered)
        self.add(
            "armada_agent_outbox_refused_total",
            .counter,
            "Events that the backend refuses for good, kept in the file 'refused'.",
            counts.refused
        )
    }

    private mutating func addState(_ metrics: WorkerMetrics) {
        self.add("armada_agent_info", .gauge, "The node and its versions; always 1.") { samples in
            samples.sample(
                1,
                ["node": metrics.nodeName, "celery": metrics.celeryVersion, "python": metrics.pythonVersion]
            )
        }
        self.add("armada_agent_consuming", .gauge, "1 while jobs are taken, else 0.", metrics.isConsuming ? 1 : 0)
        self.add("armada_agent_jobs", .gauge, "Jobs that are held, by what they wait for.") { samples in
            samples.sample(metrics.running, ["state": "running"])
            samples.sample(metrics.reserved, ["state": "reserved"])
            samples.sample(metrics.scheduled, ["state": "scheduled"])
            samples.sample(metrics.limited, ["state": "limited"])
        }
        self.add(
            "armada_agent_prefetch_count",
            .gauge,
            "Messages that the broker may hand out unsettled; 0 for no limit, and while there is no session.",
            metrics.prefetch
        )
        self.add("armada_agent_python_workers", .gauge, "Python workers by what they do.") { samples in
            for state in WorkerStatus.State.allCases {
                samples.sample(metrics.pythonWorkers[state] ?? 0, ["state": "\(state)"])
            }
        }
    }

    private mutating func addProcess(_ process: ProcessMetrics, startedAt: Double) {
        self.add("process_resident_memory_bytes", .gauge, "Resident memory of the agent.", process.residentBytes)
        self.add("process_cpu_seconds_total", .counter, "Processor time of the agent.") {
            $0.sample(process.processorSeconds)
        }
        self.add("process_start_time_seconds", .gauge, "When the agent's worker was made, since 1970.") {
            $0.sample(startedAt)
        }
    }
}
