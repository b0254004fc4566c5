import CPool
import DequeModule
import Glibc
import Logging
import NIOCore
import NIOPosix
import Spawning

extension PythonPool {
    /// Longest payload of a job message; `armada_agent/runtime/wire.py` has it too.
    private static let jobLimit = 65536

    func link(_ key: PoolMachine.Key) -> WorkerLink? {
        guard links.indices.contains(key.slot), let link = links[key.slot], link.key == key else { return nil }
        return link
    }

    /// Carries out what the machine has decided.
    func pump() {
        guard !pumping else { return }
        pumping = true
        var next = 0
        while next < machine.actions.count {
            let action = machine.actions[next]
            next += 1
            perform(action)
        }
        machine.actions.removeAll(keepingCapacity: true)
        pumping = false
        if timerStale || machine.watchAt < timerDeadline { armTimer() }
        if phase == .draining { advanceShutdown() }
    }

    private func perform(_ action: PoolMachine.Action) {
        switch action {
        case .send(let slot, let job):
            if !send(job, slot: slot) { machine.sendFailed(slot: slot, job: job) }
        case .reclaim(let slot):
            let job = links.indices.contains(slot) ? links[slot]?.readBack() : nil
            machine.reclaimed(slot: slot, job: job, now: System.now)
        case .spawn(let key):
            timerStale = true
            spawn(key)
        case .kill(let key, let signal):
            timerStale = true
            kill(key, signal)
        case .closeJobs(let key):
            timerStale = true
            guard let link = link(key) else { return }
            machine.returned(slot: key.slot, jobs: link.readBackAll(), now: System.now)
            link.jobs.close()
            machine.feed(now: System.now)
        case .inspect(let key):
            guard let link = link(key) else { return }
            let hasRead = link.firstUnread() != machine.workers[key.slot].jobs.first
            // The worker may read between the look and this; then it is busy, and what was behind its job is queued anew.
            machine.inspected(key, unread: hasRead ? [] : link.readBackAll(), now: System.now)
        case .backOff(let pause):
            timerStale = true
            logger.error(
                "Python workers keep dying; pausing before the next is started",
                metadata: [LogKeys.delay: "\(pause / 1_000_000)"]
            )
        case .idle:
            onEvent(.idle)
        }
    }

    /// Sends a signal to a worker that is to end, and says why if that is not by order.
    private func kill(_ key: PoolMachine.Key, _ signal: Int32) {
        let link = link(key)
        var metadata: Logger.Metadata = [LogKeys.index: "\(key.slot + 1)", LogKeys.pid: "\(link?.pid ?? 0)"]
        switch machine.workers[key.slot].ending {
        case .notReady:
            metadata[LogKeys.limit] = "\(Duration.nanoseconds(Int64(machine.limits.readyDeadline)))"
            logger.error(
                """
                A Python worker isn't ready in time and is replaced: look for what hangs in a receiver of worker_process_init, \
                or give it more time (worker_proc_alive_timeout)
                """,
                metadata: metadata
            )
        case .unresponsive:
            metadata[LogKeys.limit] = "\(configuration.readDeadline)"
            logger.error(
                "A Python worker doesn't read the job that it was sent and is replaced; the job goes to another",
                metadata: metadata
            )
        case .retired, .recycled:
            logger.error(
                "A Python worker doesn't end and is killed: look for what hangs in a receiver of worker_process_shutdown",
                metadata: metadata
            )
        case .terminated:
            metadata[LogKeys.signal] = "\(signal)"
            logger.debug("Ending a Python worker with its job", metadata: metadata)
        case .unasked, nil:
            logger.error(
                "The Python main process starts no worker: look for what hangs in a signal's receiver or a control command",
                metadata: metadata
            )
        }
        _ = link?.end(signal)
    }

    /// Writes a job to a worker's socket.
    private func send(_ id: UInt64, slot: Int) -> Bool {
        guard let job = jobs[id], links.indices.contains(slot), let link = links[slot] else { return false }
        let large = job.size > Self.jobLimit
        prefix.clear()
        prefix.writeInteger(UInt8(1))
        prefix.writeInteger(job.flags.rawValue | (large ? 2 : 0))
        prefix.writeInteger(UInt16(0))
        prefix.writeInteger(id, endianness: .little)
        prefix.writeInteger(UInt32(truncatingIfNeeded: job.headers.readableBytes), endianness: .little)
        prefix.writeInteger(UInt32(truncatingIfNeeded: job.info.readableBytes), endianness: .little)
        prefix.writeInteger(UInt32(truncatingIfNeeded: job.body.readableBytes), endianness: .little)
        let descriptor = link.jobs.number
        let result = prefix.withUnsafeReadableBytes { prefix in
            if large { return cpool_send_parts(descriptor, prefix.baseAddress, prefix.count, nil, 0, nil, 0, nil, 0) }
            return job.headers.withUnsafeReadableBytes { headers in
                job.info.withUnsafeReadableBytes { info in
                    job.body.withUnsafeReadableBytes { body in
                        cpool_send_parts(
                            descriptor,
                            prefix.baseAddress,
                            prefix.count,
                            headers.baseAddress,
                            headers.count,
                            info.baseAddress,
                            info.count,
                            body.baseAddress,
                            body.count
                        )
                    }
                }
            }
        }
        return result >= 0
    }

    /// Takes back what a worker hasn't read.
    func returnUnread(slot: Int) {
        guard links.indices.contains(slot), let link = links[slot] else { return }
        machine.returned(slot: slot, jobs: link.readBackAll(), now: System.now)
    }

    // MARK: Starting

    private func spawn(_ key: PoolMachine.Key) {
        do {
            try startWorker(key)
        } catch {
            logger.error(
                "A Python worker couldn't be started",
                metadata: [LogKeys.index: "\(key.slot + 1)", LogKeys.error: "\(error)"]
            )
            _ = machine.exited(key, pid: 0, exit: .code(-1))
            _ = machine.streamClosed(key)
            bury(key)
        }
    }

    private func startWorker(_ key: PoolMachine.Key) throws(PoolError) {
        guard let main else { throw .notRunning }
        let jobs = try System.pair(sequenced: true)
        let stream = try System.pair(sequenced: false)
        let output = try System.outputPipe(configuration.output)
        let error = try System.outputPipe(configuration.output)
        let unread = Descriptor(try System.check("dup", cpool_duplicate(jobs.1.number)))
        let descriptors = [
            jobs.1.number, stream.1.number, output?.writing.number ?? STDOUT_FILENO,
            error?.writing.number ?? STDERR_FILENO,
        ]
        let numbers = [UInt32(truncatingIfNeeded: key.slot + 1).littleEndian, key.generation.littleEndian]
        let sent = numbers.withUnsafeBytes { bytes in
            cpool_send_descriptors(main.spawns.number, bytes.baseAddress, bytes.count, descriptors, descriptors.count)
        }
        try System.check("sendmsg", sent)
        while links.count <= key.slot { links.append(nil) }
        let link = WorkerLink(key: key, jobs: jobs.0, unread: unread)
        links[key.slot] = link
        open(stream.0, as: .stream(key))
        if let output { open(output.reading, as: .pipe(key, .standardOutput)) }
        if let error { open(error.reading, as: .pipe(key, .standardError)) }
        watchMain()
        logger.debug("Starting a Python worker", metadata: [LogKeys.index: "\(key.slot + 1)"])
    }

    // MARK: Frames

    func streamRead(_ key: PoolMachine.Key, _ bytes: ByteBuffer) {
        guard let link = link(key) else { return }
        do {
            try link.decoder.decode(bytes) { type, payload in
                try received(WorkerFrame(type, &payload), from: link)
            }
        } catch {
            logger.error(
                "A Python worker broke the protocol and is killed",
                metadata: [LogKeys.index: "\(key.slot + 1)", LogKeys.error: "\(error)"]
            )
            _ = link.end(SIGKILL)
            link.stream?.close(promise: nil)
        }
    }

    private func received(_ frame: WorkerFrame, from link: WorkerLink) throws {
        switch frame {
        case .result(let job, let outcome, let runtime, let isLast):
            // Most jobs don't report their start: the worker was free for this one since then.
            let start = machine.workers[link.key.slot].startedAt
            guard machine.finished(link.key, job: job, isLast: isLast, now: System.now) else {
                throw FrameError(description: "a result for job \(job), which it doesn't run")
            }
            let submission = jobs.removeValue(forKey: job)?.submittedAt ?? start
            let waited = start > submission ? Double(start - submission) / 1e9 : 0
            onEvent(.finished(job: job, pid: link.pid, outcome: outcome, runtime: runtime, waited: waited))
            machine.feed(now: System.now)
            pump()
        case .started(let job):
            guard machine.started(link.key, job: job, now: System.now) else {
                throw FrameError(description: "the start of job \(job), which it doesn't have")
            }
            onEvent(.started(job: job, pid: link.pid))
        case .fetch(let id):
            guard let job = jobs[id], machine.workers[link.key.slot].jobs.first == id, let stream = link.stream else {
                throw FrameError(description: "a request for job \(id), which it doesn't have")
            }
            var frame = ByteBuffer()
            frame.reserveCapacity(job.size + 5)
            frame.writeFrame(.body) {
                $0.writeImmutableBuffer(job.headers)
                $0.writeImmutableBuffer(job.info)
                $0.writeImmutableBuffer(job.body)
            }
            stream.writeAndFlush(frame, promise: nil)
        case .ready(let pid):
            identify(link, pid: pid)
            guard machine.ready(link.key, pid: pid, now: System.now) else {
                throw FrameError(description: "that it is ready, twice")
            }
            onEvent(.workerReady(pid: pid, index: link.key.slot + 1))
            timerStale = true
            pump()
        case .output(let job, let stream, let level, let text):
            emit(text, job: job, stream: stream, level: level, of: link)
        case .fatal(let text):
            logger.error(
                "A Python worker failed outside of a job",
                metadata: [LogKeys.index: "\(link.key.slot + 1)", LogKeys.error: "\(text)"]
            )
        }
    }

    private func emit(_ text: String, job: UInt64, stream: UInt8, level: UInt16, of link: WorkerLink) {
        let target: PoolOutput.Stream =
            switch stream {
            case 1: .standardOutput
            case 2: .standardError
            default: .log(level: Int(level))
            }
        func tell(_ line: Substring) {
            let output = PoolOutput(
                job: job == 0 ? nil : job,
                pid: link.pid,
                index: link.key.slot + 1,
                stream: target,
                text: String(line)
            )
            onEvent(.output(output))
        }
        let body = text.hasSuffix("\n") ? text.dropLast() : text[...]
        if case .log = target {
            tell(body)
        } else {
            for line in body.split(separator: "\n", omittingEmptySubsequences: false) { tell(line) }
        }
    }

    /// Learns a worker's process, while it is certain that the number is still its own.
    func identify(_ link: WorkerLink, pid: Int32) {
        guard link.process == nil, pid > 0 else { return }
        link.pid = pid
        let descriptor = cpool_pidfd_open(pid)
        if descriptor >= 0 { link.process = Descriptor(descriptor) }
    }

    // MARK: Ends

    func streamEnded(_ key: PoolMachine.Key) {
        guard let link = link(key) else { return }
        link.stream = nil
        if machine.streamClosed(key) {
            bury(key)
        } else {
            // A worker without its stream is of no use. As a rule it has ended by itself, and what it leaves behind is left alone.
            _ = link.signal(SIGKILL)
        }
    }

    /// The main process has reaped a worker.
    func workerExited(_ key: PoolMachine.Key, pid: Int32, exit: ProcessExit) {
        link(key)?.endGroup()
        if machine.exited(key, pid: pid, exit: exit) {
            bury(key)
            return
        }
        // What it wrote is in the socket already; only a process that it left behind could keep that open.
        eventLoop.scheduleTask(in: configuration.drainGrace.timeAmount) {
            self.assumeIsolated { $0.bury(key) }
        }
    }

    func bury(_ key: PoolMachine.Key) {
        let link = link(key)
        guard let departure = machine.buried(key, unread: link?.readBackAll() ?? [], now: System.now) else { return }
        if let link {
            link.stream?.close(promise: nil)
            if links[key.slot] === link { links[key.slot] = nil }
        }
        if let job = departure.lost {
            jobs[job] = nil
            onEvent(.lost(job: job, departure.exit))
        }
        let metadata: Logger.Metadata = [
            LogKeys.index: "\(key.slot + 1)", LogKeys.pid: "\(departure.exit.pid)",
            LogKeys.exit: "\(departure.exit.exit)", LogKeys.cause: "\(departure.exit.cause)",
        ]
        logger.log(level: departure.exit.expected ? .debug : .warning, "A Python worker ended", metadata: metadata)
        onEvent(.workerExited(departure.exit))
        pump()
        if mainExit != nil { advanceShutdown() }
    }

    // MARK: Time

    private func armTimer() {
        timerStale = false
        let deadline = machine.nextDeadline ?? .max
        guard deadline != timerDeadline else { return }
        timer?.cancel()
        timerDeadline = deadline
        guard deadline != .max else { return }
        let now = System.now
        let delay = deadline > now ? deadline - now : 0
        timer = eventLoop.scheduleTask(in: .nanoseconds(Int64(min(delay, .max / 4)))) {
            self.assumeIsolated { pool in
                pool.timerDeadline = .max
                pool.machine.tick(now: System.now)
                pool.timerStale = true
                pool.pump()
            }
        }
    }
}
