import Celery
import Glibc
import JSON
import PythonPool

extension Worker {
    /// (`celery/worker/worker.py`, `WorkController.stats`)
    func stats() -> JSON {
        let workers = self.pool.assumeIsolated { $0.workers }
        // Celery counts a task when it starts.
        var counts = self.statistics.total
        for running in self.runningJobs() { counts[running.job.message.task, default: 0] += 1 }
        let total = counts.sorted { $0.key < $1.key }.map { ($0.key, JSON.int(Int64($0.value))) }
        var stats: JSONObject = [
            "total": .object(JSONObject(total)),
            "pid": .int(Int64(getpid())),
            "clock": .string(String(self.clock.value)),
            "uptime": .int(Int64(self.wallClock() - self.statistics.startedAt)),
            "pool": [
                "implementation": .string((self.settings?.pool ?? .prefork).implementation),
                "max-concurrency": .int(Int64(workers.count)),
                "processes": .array(workers.map { .int(Int64($0.pid)) }),
                "max-tasks-per-child": self.project?.manifest.maximumTasksPerChild.map { .int(Int64($0)) } ?? "N/A",
                "put-guarded-by-semaphore": false,
                "timeouts": [Self.shown(self.settings?.limits.soft), Self.shown(self.settings?.limits.hard)],
                "writes": self.writes(workers),
            ],
            "broker": self.settings?.broker.shown ?? [:],
            "prefetch_count": .int(Int64(self.session?.prefetchCount ?? 0)),
            "rusage": Self.resourceUsage(),
        ]
        if let autoscaler {
            stats["autoscaler"] = [
                "max": .int(Int64(autoscaler.bounds.maximum)),
                "min": .int(Int64(autoscaler.bounds.minimum)),
                "current": .int(Int64(self.poolSize)),
                "qty": .int(Int64(self.ledger.jobs.count - self.ledger.scheduledCount)),
            ]
        }
        return .object(stats)
    }

    /// Celery shows 0 for no limit.
    private static func shown(_ limit: Double?) -> JSON { limit.map(JSON.double) ?? 0 }

    /// How the jobs are spread over the Python workers (`celery/concurrency/asynpool.py`, `human_write_stats`).
    private func writes(_ workers: [WorkerStatus]) -> JSON {
        let counts = workers.map(\.finished)
        let total = counts.reduce(0, +)
        func share(_ count: Int) -> String {
            let hundredths = total > 0 ? (count * 100 + total / 2) / total : 0
            return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
        }
        return [
            "total": .int(Int64(total)),
            "avg": .string(share(counts.isEmpty ? 0 : total / counts.count)),
            // Only those that had any.
            "all": .string(counts.filter { $0 > 0 }.map(share).joined(separator: ", ")),
            "raw": .string(counts.filter { $0 > 0 }.map(String.init).joined(separator: ", ")),
            "strategy": "fair",
            "inqueues": [
                "total": .int(Int64(workers.count)),
                "active": .int(Int64(workers.count { $0.currentJob != nil })),
            ],
        ]
    }

    private static func resourceUsage() -> JSON {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return [:] }
        func seconds(_ time: timeval) -> JSON { .double(Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000) }
        return [
            "utime": seconds(usage.ru_utime),
            "stime": seconds(usage.ru_stime),
            "maxrss": .int(Int64(usage.ru_maxrss)),
            "ixrss": .int(Int64(usage.ru_ixrss)),
            "idrss": .int(Int64(usage.ru_idrss)),
            "isrss": .int(Int64(usage.ru_isrss)),
            "minflt": .int(Int64(usage.ru_minflt)),
            "majflt": .int(Int64(usage.ru_majflt)),
            "nswap": .int(Int64(usage.ru_nswap)),
            "inblock": .int(Int64(usage.ru_inblock)),
            "oublock": .int(Int64(usage.ru_oublock)),
            "msgsnd": .int(Int64(usage.ru_msgsnd)),
            "msgrcv": .int(Int64(usage.ru_msgrcv)),
            "nsignals": .int(Int64(usage.ru_nsignals)),
            "nvcsw": .int(Int64(usage.ru_nvcsw)),
            "nivcsw": .int(Int64(usage.ru_nivcsw)),
        ]
    }
}
