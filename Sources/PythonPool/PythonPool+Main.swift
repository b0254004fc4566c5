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
        case .reply(let id, let answer): answered(id, .success(answer))
        case .callFailed(let id, let kind, let message):
            answered(id, .failure(PoolError.callFailed(kind: kind, message: message)))
        case .heldUp(let function, let place): heldUp(function, place)
        }
    }

    private func key(_ index: UInt32, _ generation: UInt32) -> PoolMachine.Key? {
        index > 0 ? PoolMachine.Key(slot: Int(index) - 1, generation: generation) : nil
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
        mainTimer?.cancel()
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
        for call in pending.values {
            call.deadline.cancel()
            call.completion(.failure(error))
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
