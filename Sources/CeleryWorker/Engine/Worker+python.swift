import AMQP
import Celery
import JSON
import Logging
import NIOCore
import PythonPool

extension Worker {
    /// How long a call to the Python main process may take.
    static let pythonCallLimit = Duration.seconds(30)

    /// How long a write to the result backend is tried again: as long as a server takes to come back.
    static let backendWriteLimit = Duration.seconds(300)

    /// Calls the Python main process, which takes its calls in order; a failure is logged.
    func callPython(_ method: String, _ arguments: JSONObject) {
        self.pythonCallCount += 1
        let limit = method.hasPrefix("backend.") ? Self.backendWriteLimit : Self.pythonCallLimit
        self.pool.assumeIsolated { pool in
            pool.startCall(method, JSON.object(arguments).encoded, deadline: limit) { result in
                self.assumeIsolated { $0.pythonCalled(method, result) }
            }
        }
    }

    private func pythonCalled(_ method: String, _ result: Result<ByteBuffer, any Error>) {
        self.pythonCallCount -= 1
        if self.phase > .running { self.stateChanges.send() }
        guard case .failure(let error) = result else { return }
        self.logger.warning(
            "a call to the Python main process has failed",
            metadata: [LogKeys.method: "\(method)", LogKeys.error: "\(error)"]
        )
    }

    /// Fires one of the signals of a worker's parent in the Python main process, if the project listens to it.
    func fire(_ signal: String, _ fields: JSONObject = [:]) {
        guard self.listens(to: signal) else { return }
        self.callPython("signal", ["name": .string(signal), "fields": .object(fields)])
    }

    /// Fires a signal and waits until its receivers have run.
    func fireAndWait(_ signal: String, _ fields: JSONObject = [:]) async {
        guard self.listens(to: signal) else { return }
        do {
            let arguments: JSON = ["name": .string(signal), "fields": .object(fields)]
            _ = try await self.pool.call("signal", arguments.encoded, deadline: Self.pythonCallLimit)
        } catch {
            self.logger.warning(
                "a signal's receivers have failed",
                metadata: [LogKeys.method: "\(signal)", LogKeys.error: "\(error)"]
            )
        }
    }

    func listens(to signal: String) -> Bool {
        self.project?.manifest.signalReceivers.contains(signal) ?? false
    }

    func decode(_ delivery: Delivery) async throws -> JSON {
        let arguments: JSON = [
            "body": .string(delivery.body.base64),
            "content_type": JSON(delivery.properties.contentType),
            "content_encoding": JSON(delivery.properties.contentEncoding),
            "compression": JSON(delivery.properties.headers?["compression"]?.string),
        ]
        let reply = try await self.pool.call("decode_body", arguments.encoded, deadline: Self.pythonCallLimit)
        return try JSON(parsing: reply)
    }

    /// Runs `work` on this actor, under ``run(loading:)``; what is still waiting when the worker ends is cancelled.
    func background(_ work: @escaping @Sendable (isolated Worker) async -> Void) {
        self.backgroundWork.continuation.yield(work)
    }

    func runBackgroundWork() async {
        await withDiscardingTaskGroup { group in
            for await work in self.backgroundWork.stream {
                group.addTask { await work(self) }
            }
        }
    }
}

extension ByteBuffer {
    /// RFC 4648, for bytes that travel within JSON.
    var base64: String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        text.reserveCapacity((self.readableBytes + 2) / 3 * 4)
        self.withUnsafeReadableBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let chunk = bytes[start..<min(start + 3, bytes.count)]
                let bits = (0..<3).reduce(UInt32(0)) { bits, offset in
                    bits << 8 | (offset < chunk.count ? UInt32(chunk[start + offset]) : 0)
                }
                for position in 0..<4 {
                    let isPadding = position > chunk.count
                    text.append(
                        isPadding ? UInt8(ascii: "=") : alphabet[Int(bits >> (18 - 6 * UInt32(position)) & 0x3F)]
                    )
                }
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
