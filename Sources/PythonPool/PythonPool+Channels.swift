import Glibc
import Logging
import NIOCore
import NIOPosix
import Spawning

/// Where bytes come from.
enum ByteSource: Hashable, Sendable {
    /// The main process's frames.
    case control
    /// A worker's frames.
    case stream(PoolMachine.Key)
    /// What a worker, or the main process, writes to its standard output or error, with what it starts.
    case pipe(PoolMachine.Key?, PoolOutput.Stream)
}

extension PythonPool {
    /// Makes a channel of a descriptor, which it then owns.
    func open(_ descriptor: Descriptor, as source: ByteSource) {
        if case .pipe = source { lines[source] = LineSplitter() }
        let number = descriptor.release()
        let initializer: @Sendable (any Channel) -> EventLoopFuture<Void> = { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(ByteHandler(pool: self, source: source))
            }
        }
        let channel: EventLoopFuture<any Channel>
        if case .pipe = source {
            channel = NIOPipeBootstrap(group: eventLoop)
                .channelInitializer(initializer)
                .takingOwnershipOfDescriptor(input: number)
        } else {
            channel = ClientBootstrap(group: eventLoop)
                .channelInitializer(initializer)
                .withConnectedSocket(number)
        }
        channel
            .whenComplete { result in
                self.assumeIsolated { pool in
                    switch result {
                    case .success(let channel):
                        pool.opened(channel, as: source)
                    case .failure(let error):
                        pool.logger.error("A socket couldn't be opened", metadata: [LogKeys.error: "\(error)"])
                        _ = Glibc.close(number)
                        pool.ended(source)
                    }
                }
            }
    }

    private func opened(_ channel: any Channel, as source: ByteSource) {
        let identifier = ObjectIdentifier(channel)
        channels[identifier] = channel
        channel.closeFuture.whenComplete { _ in
            self.assumeIsolated { $0.channels[identifier] = nil }
        }
        switch source {
        case .control:
            control = channel
            if earlyFrames.readableBytes > 0 {
                channel.writeAndFlush(earlyFrames, promise: nil)
                earlyFrames = ByteBuffer()
            }
        case .stream(let key):
            link(key)?.stream = channel
        case .pipe:
            break
        }
    }

    /// Bytes have come.
    func received(_ bytes: ByteBuffer, from source: ByteSource) {
        switch source {
        case .stream(let key): streamRead(key, bytes)
        case .control: controlRead(bytes)
        case .pipe(let key, let stream):
            guard var splitter = lines.removeValue(forKey: source) else { return }
            splitter.append(bytes) { emit($0, of: key, stream) }
            lines[source] = splitter
        }
    }

    /// Nothing more will come.
    func ended(_ source: ByteSource) {
        switch source {
        case .stream(let key): streamEnded(key)
        case .control: controlEnded()
        case .pipe(let key, let stream):
            guard var splitter = lines.removeValue(forKey: source) else { return }
            splitter.finish { emit($0, of: key, stream) }
        }
    }

    /// A line that a process, or one that it started, wrote to the descriptor itself.
    private func emit(_ text: String, of key: PoolMachine.Key?, _ stream: PoolOutput.Stream) {
        guard let key else {
            onEvent(.output(PoolOutput(job: nil, pid: mainPid, index: 0, stream: stream, text: text)))
            return
        }
        // Once the worker is gone, the line is of a process that it left behind.
        let link = link(key)
        let job = link == nil ? nil : machine.workers[key.slot].jobs.first
        onEvent(
            .output(PoolOutput(job: job, pid: link?.pid ?? 0, index: key.slot + 1, stream: stream, text: text))
        )
    }
}
