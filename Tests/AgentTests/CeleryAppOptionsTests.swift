import ArgumentParser
import Celery
import CeleryWorker
import JSON
import Logging
import NIOCore
import Testing

@testable import Agent

@Suite("The options of celery worker")
struct CeleryAppOptionsTests {
    private func configuration(
        _ arguments: [String],
        environment: [String: String] = [:]
    ) throws -> CeleryAppConfiguration {
        try CeleryAppConfiguration(
            CeleryAppOptions.parse(arguments),
            environment: environment,
            hostName: "box.example.com"
        )
    }

    private func problems(_ arguments: [String], environment: [String: String] = [:]) throws -> [OptionProblem] {
        do {
            _ = try self.configuration(arguments, environment: environment)
            return []
        } catch let error as OptionProblems {
            #expect(error.exitStatus == .usage)
            return error.problems
        }
    }

    @Test("nothing given leaves all to the project, with Celery's own defaults where it has them")
    func defaults() throws {
        let found = try self.configuration([])
        #expect(found.app == nil)
        #expect(found.nodeName.description == "celery@box.example.com")
        #expect(found.logLevel == .standard)
        #expect(found.arguments == [])
        let worker = found.worker
        #expect(worker.broker == nil && worker.pool == nil && worker.concurrency == nil && worker.autoscale == nil)
        #expect(worker.prefetchMultiplier == nil && worker.timeLimit == nil && worker.softTimeLimit == nil)
        #expect(worker.sendsTaskEvents == nil && worker.stateFile == nil && worker.drainTimeout == nil)
        #expect(worker.heartbeatInterval == 2)
        #expect(worker.mingles && !worker.gossips && !worker.purgesQueues && !worker.logsEachTask)
    }

    @Test(
        "a command line of Celery's, in long and in short, apart and joined",
        arguments: [
            [
                "-A", "proj", "-b", "amqp://b", "-l", "info", "-n", "w1@%h", "-c", "4", "-P", "prefork", "-E", "-O",
                "fair",
                "-Q", "a,b", "-X", "c", "-I", "m,n", "-S", "/state", "-f", "/log", "-C", "-q",
            ],
            [
                "-Aproj", "-bamqp://b", "-linfo", "-nw1@%h", "-c4", "-Pprefork", "-E", "-Ofair", "-Qa,b", "-Xc",
                "-Im,n",
                "-S/state", "-f/log", "-Cq",
            ],
            [
                "--app=proj", "--broker=amqp://b", "--loglevel=INFO", "--hostname=w1@%h", "--concurrency=4",
                "--pool=processes", "--events", "--optimization=fair", "--queues=a, b", "--exclude-queues=c",
                "--include=m,n", "--statedb=/state", "--logfile=/log", "--no-color", "--quiet",
            ],
        ]
    )
    func spellings(_ arguments: [String]) throws {
        let found = try self.configuration(arguments)
        #expect(found.app == "proj")
        #expect(found.broker == "amqp://b")
        #expect(found.logLevel.name == "INFO" && found.logLevel.level == .info)
        #expect(found.nodeName.description == "w1@box.example.com")
        #expect(found.concurrency == 4)
        #expect(found.pool == .prefork)
        #expect(found.sendsTaskEvents)
        #expect(found.queues == ["a", "b"] && found.excludedQueues == ["c"] && found.include == ["m", "n"])
        #expect(found.stateFile == "/state" && found.logFile == "/log")
        #expect(found.isWithoutColor && found.isQuiet)
        #expect(found.arguments == [])
        #expect(found.worker.logsEachTask)
    }

    @Test("the other options, each in its place")
    func others() throws {
        let found = try self.configuration([
            "--result-backend", "redis://r", "--loader", "l", "--config", "c", "--workdir", "/w", "--skip-checks",
            "--prefetch-multiplier", "0", "--disable-prefetch", "--task-events", "--time-limit", "10.5",
            "--soft-time-limit", "5", "--max-tasks-per-child", "7", "--max-memory-per-child", "1000", "--discard",
            "--with-gossip", "--without-mingle", "--heartbeat-interval", "3", "--autoscale", "3,10", "--pidfile",
            "/p-%n",
            "--uid", "nobody", "--gid", "5", "--umask", "022", "--pool-start-method", "fork", "--statedb", "/s-%d",
        ])
        #expect(
            found.celeryVariables == [
                "CELERY_RESULT_BACKEND": "redis://r", "CELERY_LOADER": "l", "CELERY_CONFIG_MODULE": "c",
                "CELERY_SKIP_CHECKS": "true",
            ]
        )
        #expect(found.workingDirectory == "/w")
        #expect(found.user == "nobody" && found.group == "5" && found.mask == 0o22)
        let worker = found.worker
        #expect(worker.prefetchMultiplier == 0)
        #expect(worker.autoscale == AutoscaleBounds(minimum: 3, maximum: 10))
        #expect(worker.timeLimit == 10.5 && worker.softTimeLimit == 5)
        #expect(worker.sendsTaskEvents == true && worker.purgesQueues)
        #expect(worker.gossips && !worker.mingles && worker.heartbeatInterval == 3)
        #expect(worker.stateFile == "/s-example.com")
        let options = found.loadRequest(commandLine: [])["options"]
        #expect(options?["disable_prefetch"]?.bool == true)
        #expect(options?["max_tasks_per_child"]?.int == 7)
        #expect(options?["max_memory_per_child"]?.int == 1000)
        #expect(options?["autoscale"]?.array?.compactMap(\.int) == [10, 3])
        #expect(options?["pidfile"]?.string == "/p-celery")
    }

    @Test("a flag against a feature counts for more than one for it")
    func withoutFeatures() throws {
        let found = try self.configuration(["--with-gossip", "--without-gossip", "--without-heartbeat"])
        #expect(!found.worker.gossips)
        #expect(found.worker.heartbeatInterval == nil)
    }

    @Test("settings and the project's own options are left to the project, in their order")
    func rest() throws {
        let found = try self.configuration([
            "-A", "proj", "worker.soft_shutdown_timeout=3", "--color", "blue", "-l", "INFO", "-Z", "--",
            "broker.heartbeat=0",
        ])
        #expect(found.app == "proj" && found.logLevel.name == "INFO")
        #expect(
            found.arguments.filter { $0 != "--" } == [
                "worker.soft_shutdown_timeout=3", "--color", "blue", "-Z", "broker.heartbeat=0",
            ]
        )
    }

    @Test("--autoscale takes two numbers in either order, or one", arguments: [("10,3", 3), ("3,10", 3), ("10", 0)])
    func autoscale(_ text: String, _ minimum: Int) throws {
        #expect(
            try self.configuration(["--autoscale", text]).autoscale == AutoscaleBounds(minimum: minimum, maximum: 10)
        )
    }

    @Test("-c auto is what the container allows, and 0 leaves it to the configuration")
    func concurrency() throws {
        #expect(try self.configuration(["-c", "auto"]).concurrency == NIOCore.System.coreCount)
        #expect(try self.configuration(["-c", "0"]).concurrency == nil)
    }

    @Test("Celery's environment variables count where no option is given")
    func variables() throws {
        let environment = [
            "APP": "proj", "CELERY_BROKER": "amqp://b", "CELERY_WORKER_CONCURRENCY": "3", "CELERY_WORKER_QUEUES": "a,b",
            "CELERY_WORKER_TASK_EVENTS": "1", "CELERY_WORKER_LOGLEVEL": "", "NO_COLOR": "please", "CELERY_QUIET": "no",
        ]
        let found = try self.configuration(["-Q", "c"], environment: environment)
        #expect(found.app == "proj" && found.broker == "amqp://b" && found.concurrency == 3)
        #expect(found.queues == ["c"])
        #expect(found.sendsTaskEvents && found.isWithoutColor && !found.isQuiet)
        #expect(found.logLevel == .standard)
    }

    @Test(
        "what makes no sense is told with what would",
        arguments: [
            (["-c", "many"], "--concurrency", "auto"), (["-l", "loud"], "--loglevel", "CRITICAL"),
            (["-P", "gevent"], "--pool", "celery worker"), (["-O", "fast"], "--optimization", "default or fair"),
            (["--autoscale", "1,2,3"], "--autoscale", "MAX,MIN"), (["--autoscale", "0,0"], "--autoscale", "MAX,MIN"),
            (["--time-limit=-1"], "--time-limit", "seconds"), (["--umask", "8"], "--umask", "octal"),
            (["--prefetch-multiplier", "4.5"], "--prefetch-multiplier", "whole number"),
            (["-Q", ","], "--queues", "names"),
            (["--pool-start-method", "spawn"], "--pool-start-method", "fork"),
        ]
    )
    func wrongValues(_ arguments: [String], _ option: String, _ expected: String) throws {
        let problems = try self.problems(arguments)
        #expect(problems.count == 1)
        #expect(problems.first?.option == option)
        #expect(problems.first?.expected.contains(expected) == true)
    }

    @Test(
        "what can't be honoured is refused with what to do",
        arguments: [
            (["-D"], "--detach", "systemd"), (["--beat"], "--beat", "celery beat"),
            (["-s", "/x"], "--schedule-filename", "celery beat"),
            (["--schedule=/x"], "--schedule-filename", "celery beat"),
            (["--scheduler", "x"], "--scheduler", "celery beat"),
            (["--executable", "x"], "--executable", "AGENT_PYTHON"),
        ]
    )
    func refusals(_ arguments: [String], _ option: String, _ advice: String) throws {
        let problems = try self.problems(arguments)
        #expect(problems.map(\.option) == [option])
        #expect(problems.first?.expected.contains(advice) == true)
    }

    @Test("all problems are told at once, variables under their own names, and no secret in them")
    func severalProblems() throws {
        let problems = try self.problems(
            ["-c", "x", "-B"],
            environment: ["CELERY_WORKER_POOL": "amqp://user:secret@host"]
        )
        #expect(problems.map(\.option) == ["CELERY_WORKER_POOL (--pool)", "--concurrency", "--beat"])
        #expect(!problems.description.contains("secret"))
    }

    @Test("the agent's own variables count")
    func agentVariables() throws {
        let found = try self.configuration(
            [],
            environment: [
                "AGENT_DRAIN_SECONDS": "0.5", "AGENT_LOG_FORMAT": "json", "AGENT_PYTHON": "/py",
                "AGENT_MAX_DELIVERIES": "3",
            ]
        )
        #expect(found.worker.drainTimeout == 0.5 && found.worker.maximumDeliveries == 3)
        #expect(found.logFormat == .json && found.python == "/py")
    }

    @Test("a wrong variable of the agent's own is a wrong configuration")
    func ownVariables() {
        #expect(throws: ConfigurationErrors.self) {
            try self.configuration([], environment: ["AGENT_LOG_FORMAT": "xml"])
        }
    }

    @Test(
        "options of celery may stand before the word worker",
        arguments: [
            (["-A", "proj", "worker", "-l", "info"], ["worker", "-A", "proj", "-l", "info"]),
            (["--app=proj", "-q", "worker"], ["worker", "--app=proj", "-q"]),
            (["worker", "-A", "worker"], ["worker", "-A", "worker"]),
            (["-A", "worker"], ["-A", "worker"]), ([], []), (["--help"], ["--help"]),
            (["-A", "proj", "beat"], ["-A", "proj", "beat"]),
        ]
    )
    func order(_ given: [String], _ expected: [String]) {
        #expect(CeleryAppOptions.arguments(given) == expected)
    }
}
