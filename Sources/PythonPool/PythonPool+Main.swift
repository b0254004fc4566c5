import CPool
import Glibc
import Logging
import NIOCore
import NIOPosix
import Spawning

extension PythonPool {
    func startMain() throws {
        let process = try MainProcess.start(configuration)
        main = process
        logger.debug("Started the Python main process", metadata: [LogKeys.pid: "\(process.pid)"])
        open(process.control, as: .control)
        if let output = process.standardOutput { open(output, as: .pipe(nil, .standardOutput)) }
        if let error = process.standardError { open(error, as: .pipe(nil, .standardError)) }
    }

    // MARK: Frames

    func sendControl(_ type: FrameType, _ body: (inout ByteBuffer) -> Void) {
        var frame = ByteBuffer()
        frame.writeFrame(type, body)
        if let control {
            control.writeAndFlush(frame, promise: nil)
        } else {
            earlyFrames.writeImmutableBuffer(frame)
        }
    }

    func controlRead(_ bytes: ByteBuffer) {
        do {
            try controlDecoder.decode(bytes) { type, payload in
                received(try MainFrame(type, &payload))
            }
        } catch {
            logger.error("The Python main process broke the protocol", metadata: [LogKeys.error: "\(error)"])
            failure = failure ?? .protocolViolation("\(error)")
            killEverything()
        }
    }

    private func received(_ frame: MainFrame) {
        switch frame {
        case .booted:
            bootedAt = System.now
        case .loaded(let manifest):
            loading.take()?.resume(returning: manifest)
        case .loadFailed(let failure):
            loading.take()?.resume(throwing: failure)
        case .workerForked(let index, let generation, let pid):
            guard let key = key(index, generation) else { return }
            if let link = link(key) { identify(link, pid: pid) }
            machine.forked(key, pid: pid, now: System.now)
            timerStale = true
            pump()
        case .workerExited(let index, let generation, let pid, let exit):
            guard let key = key(index, generation) else { return }
            workerExited(key, pid: pid, exit: exit)
        case .reply(let id, let answer):
            guard let (completion, deadline) = calls.removeValue(forKey: id) else { return }
            deadline.cancel()
            completion(.success(answer))
        case .callFailed(let id, let kind, let message):
            guard let (completion, deadline) = calls.removeValue(forKey: id) else { return }
            deadline.cancel()
            completion(.failure(PoolError.callFailed(kind: kind, message: message)))
        }
    }

    private func key(_ index: UInt32, _ generation: UInt32) -> PoolMachine.Key? {
        index > 0 ? PoolMachine.Key(slot: Int(index) - 1, generation: generation) : nil
    }

    /// Has the main process do something: `ping`, `signal`, `decode_body`, `control`, or `backend.*`, which runs in a
    /// process of its own.
    ///
    /// - Parameters:
    ///   - arguments: JSON; `armada_agent/runtime/calls.py` says what each method takes.
    ///   - deadline: After this the answer is not waited for. A `backend.*` call that fails, or hangs for a third of it, is made again until
    ///     then, after pauses of up to ten seconds, forty times at the most.
    /// - Returns: JSON.
    /// - Throws: ``PoolError``
    public func call(_ method: String, _ arguments: ByteBuffer, deadline: Duration) async throws -> ByteBuffer {
        try await withCheckedThrowingContinuation { continuation in
            startCall(method, arguments, deadline: deadline) { continuation.resume(with: $0) }
        }
    }

    /// As ``call(_:_:deadline:)``, for callers whose calls are to be made in the order in which they ask for them.
    ///
    /// - Parameter completion: is called once, on the event loop, with the answer or a ``PoolError``.
    public func startCall(
        _ method: String,
        _ arguments: ByteBuffer,
        deadline: Duration,
        completion: @escaping @Sendable (Result<ByteBuffer, any Error>) -> Void
    ) {
        guard phase == .idle || phase == .running || phase == .draining else {
            return completion(.failure(PoolError.notRunning))
        }
        lastCall &+= 1
        let id = lastCall
        let timer = eventLoop.scheduleTask(in: deadline.timeAmount + .milliseconds(200)) {
            self.assumeIsolated { pool in
                guard let (completion, _) = pool.calls.removeValue(forKey: id) else { return }
                completion(.failure(PoolError.deadlineExceeded(method: method)))
            }
        }
        calls[id] = (completion, timer)
        sendControl(.call) { frame in
            frame.writeInteger(id, endianness: .little)
            let milliseconds = deadline.nanoseconds / 1_000_000
            frame.writeInteger(UInt32(clamping: milliseconds), endianness: .little)
            frame.writeInteger(UInt16(truncatingIfNeeded: method.utf8.count), endianness: .little)
            frame.writeString(method)
            frame.writeImmutableBuffer(arguments)
        }
    }

    // MARK: Ends

    func controlEnded() {
        control = nil
        // It is dead or deaf.
        if let main, mainExit == nil { _ = Glibc.kill(main.pid, SIGKILL) }
        reapMain()
    }

    private func reapMain() {
        guard let main, mainExit == nil else { return }
        var status: Int32 = 0
        let result = cpool_reap(main.pid, &status)
        guard result != 0 else {
            eventLoop.scheduleTask(in: .milliseconds(5)) { self.assumeIsolated { $0.reapMain() } }
            return
        }
        mainExit = ProcessExit(waitStatus: status)
        // The workers die with it, by the kernel's hand or by this one.
        machine.stopping = true
        for link in links.compactMap({ $0 }) {
            _ = link.end(SIGKILL)
            workerExited(link.key, pid: link.pid, exit: .signal(SIGKILL))
        }
        advanceShutdown()
    }

    /// Takes the next step of the end, if it is time for it.
    func advanceShutdown() {
        switch phase {
        case .running, .draining:
            if let mainExit {
                guard machine.isEmpty else { return }
                failure = failure ?? .mainExited(mainExit)
                logger.error("The Python main process ended", metadata: [LogKeys.exit: "\(mainExit)"])
                onEvent(.mainExited(mainExit))
                end()
            } else if phase == .draining, machine.isEmpty {
                phase = .ending
                endTimer?.cancel()
                sendControl(.stop) { _ in }
                endTimer = eventLoop.scheduleTask(in: .seconds(2)) {
                    self.assumeIsolated { $0.killEverything() }
                }
            }
        case .ending:
            if mainExit != nil { end() }
        case .idle, .ended:
            break
        }
    }

    private func end() {
        phase = .ended
        endTimer?.cancel()
        timer?.cancel()
        for channel in channels.values { channel.close(promise: nil) }
        failWaiters(failure ?? .notRunning)
        finishRun()
    }

    func finishRun() {
        runWaiter.take()?.resume()
        let waiters = shutdownWaiters
        shutdownWaiters = []
        for waiter in waiters { waiter.resume() }
    }

    func failWaiters(_ error: any Error) {
        loading.take()?.resume(throwing: error)
        let pending = calls
        calls = [:]
        for (completion, timer) in pending.values {
            timer.cancel()
            completion(.failure(error))
        }
    }

    func killWorkers() {
        for link in links.compactMap({ $0 }) { _ = link.end(SIGKILL) }
    }

    func killEverything() {
        // What is killed on purpose ends without an error.
        if phase == .running || phase == .draining { phase = .ending }
        killWorkers()
        if let main, mainExit == nil { _ = Glibc.kill(main.pid, SIGKILL) }
    }
}
