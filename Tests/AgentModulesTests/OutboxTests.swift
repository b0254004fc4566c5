import Glibc
import JSON
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@testable import AgentModules

@Suite("The outbox", .timeLimit(.minutes(1)))
struct OutboxTests {
    private static func message(_ number: Int) -> MonitoringMessage {
        MonitoringMessage(method: .POST, path: "/api/events/", body: ["n": .int(Int64(number)), "t": "é\n"])
    }

    private static func entry(_ id: UInt64, lane: String = "a") -> OutboxEntry {
        OutboxEntry(
            id: id,
            lane: lane,
            task: id % 2 == 0 ? nil : "t",
            messages: [self.message(Int(truncatingIfNeeded: id)), self.message(0)]
        )
    }

    /// A folder that is gone afterwards.
    private static func inFolder(_ body: (String) async throws -> Void) async throws {
        var template = Array("/tmp/outbox-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { $0.baseAddress.map { mkdtemp($0) != nil } ?? false }
        try #require(made)
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            for name in ["journal", "refused"] { unlink("\(folder)/deep/\(name)") }
            rmdir("\(folder)/deep")
            rmdir(folder)
        }
        try await body("\(folder)/deep")
    }

    private static func outbox(_ folder: String) -> Outbox {
        Outbox(
            directory: folder,
            eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }

    /// Runs an outbox while `body` runs.
    private static func running(
        _ outbox: Outbox,
        _ attempt: @escaping @Sendable (MonitoringMessage) async -> Outbox.Attempt,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await outbox.run(attempt) }
            try await body()
            group.cancelAll()
        }
    }

    @Test("records are read as they were written")
    func records() {
        let records: [OutboxRecord] = [
            .entry(Self.entry(1)), .delivered(1), .entry(Self.entry(.max)), .delivered(.max),
        ]
        var buffer = ByteBuffer()
        for record in records { record.write(to: &buffer) }
        var read: [OutboxRecord] = []
        while let record = OutboxRecord.read(from: &buffer) { read.append(record) }
        #expect(read == records)
        #expect(buffer.readableBytes == 0)
    }

    @Test("a record that is torn, or was changed, is none")
    func torn() {
        var whole = ByteBuffer()
        OutboxRecord.entry(Self.entry(1)).write(to: &whole)
        for length in 0..<whole.readableBytes {
            var part = whole.getSlice(at: 0, length: length)!
            #expect(OutboxRecord.read(from: &part) == nil)
            #expect(part.readableBytes == length)
        }
        for position in 0..<whole.readableBytes {
            var changed = whole
            changed.setInteger(changed.getInteger(at: position, as: UInt8.self)! ^ 0x10, at: position)
            #expect(OutboxRecord.read(from: &changed) == nil)
        }
    }

    @Test("the checksum is that of zip")
    func checksum() {
        #expect(CRC32.checksum(of: ByteBuffer(string: "123456789")) == 0xCBF4_3926)
        #expect(CRC32.checksum(of: ByteBuffer()) == 0)
    }

    @Test(
        "what an earlier agent has left is read, a torn end is cut off, and what is appended follows the last whole record"
    )
    func reopening() async throws {
        try await Self.inFolder { folder in
            var (file, records, length) = try OutboxFile.open(folder)
            #expect(records == [])
            var data = ByteBuffer()
            OutboxRecord.entry(Self.entry(1)).write(to: &data)
            let whole = data
            OutboxRecord.entry(Self.entry(2)).write(to: &data)
            try file.append(data.getSlice(at: 0, length: data.readableBytes - 3)!, at: length)
            file.close()

            (file, records, length) = try OutboxFile.open(folder)
            #expect(records == [.entry(Self.entry(1))])
            #expect(length == Int64(OutboxRecord.header.readableBytes + whole.readableBytes))
            var more = ByteBuffer()
            OutboxRecord.delivered(1).write(to: &more)
            try file.append(more, at: length)
            file.close()

            (file, records, _) = try OutboxFile.open(folder)
            #expect(records == [.entry(Self.entry(1)), .delivered(1)])
            file.close()
        }
    }

    @Test("a folder serves one agent at a time, and a file of another kind is left alone")
    func refusals() async throws {
        try await Self.inFolder { folder in
            let (file, _, _) = try OutboxFile.open(folder)
            #expect(throws: ModuleError.self) { try OutboxFile.open(folder) }
            let foreign = ByteBuffer(string: "something else")
            try file.append(foreign, at: 0)
            file.close()
            #expect(throws: ModuleError.self) { try OutboxFile.open(folder) }
            #expect(throws: ModuleError.self) { try OutboxFile.open("/proc/no/such") }
        }
    }

    @Test("what was kept is delivered in order for each job, and the next agent has nothing left to do")
    func delivery() async throws {
        try await Self.inFolder { folder in
            let delivered = NIOLockedValueBox<[MonitoringMessage]>([])
            let outbox = Self.outbox(folder)
            try await Self.running(outbox) { message in
                delivered.withLockedValue { $0.append(message) }
                return .delivered
            } _: {
                for number in 1...20 {
                    try await outbox.add(lane: "a", task: "t", [Self.message(number), Self.message(-number)])
                }
                await outbox.settle(task: "t", within: .seconds(30))
            }
            #expect(delivered.withLockedValue { $0 } == (1...20).flatMap { [Self.message($0), Self.message(-$0)] })
            let next = Self.outbox(folder)
            try await Self.running(next) { message in
                Issue.record("\(message) was delivered before")
                return .delivered
            } _: {
                await next.settleAll(task: "t")
            }
        }
    }

    @Test("many callers at once, and a backend that fails now and then: nothing is lost, none is delivered twice")
    func concurrency() async throws {
        try await Self.inFolder { folder in
            let delivered = NIOLockedValueBox<[String: [Int]]>([:])
            let outbox = Self.outbox(folder)
            try await Self.running(outbox) { message in
                if Int.random(in: 0..<20) == 0 { return .again("by chance") }
                delivered.withLockedValue { $0[message.path, default: []].append(message.body["n"]?.int ?? -1) }
                return .delivered
            } _: {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for job in 0..<10 {
                        group.addTask {
                            for number in 0..<20 {
                                var message = Self.message(number)
                                message.path = "job \(job)"
                                try await outbox.add(lane: "\(job)", task: "\(job)", [message])
                            }
                            await outbox.settle(task: "\(job)", within: .seconds(50))
                        }
                    }
                    try await group.waitForAll()
                }
            }
            let all = delivered.withLockedValue { $0 }
            #expect(all.count == 10)
            for numbers in all.values { #expect(numbers == Array(0..<20)) }
        }
    }

    @Test("what is not delivered when the agent ends, the next one delivers")
    func restart() async throws {
        try await Self.inFolder { folder in
            let first = Self.outbox(folder)
            try await Self.running(first) {
                $0 == Self.message(1) ? .delivered : .again("down")
            } _: {
                for number in 1...3 { try await first.add(lane: "a", task: "t", [Self.message(number)]) }
                await first.settle(task: "t", within: .milliseconds(1))
            }
            let left = await first.counts
            #expect(left.waiting + left.delivered == 3)
            #expect(left.waiting >= 2)
            let delivered = NIOLockedValueBox<[MonitoringMessage]>([])
            let second = Self.outbox(folder)
            try await Self.running(second) { message in
                delivered.withLockedValue { $0.append(message) }
                return .delivered
            } _: {
                await second.settleAll(task: "t")
            }
            #expect(delivered.withLockedValue { $0.suffix(2) } == [Self.message(2), Self.message(3)])
            #expect(await second.counts == OutboxCounts(delivered: delivered.withLockedValue { $0.count }))
        }
    }

    @Test("what is refused for good is kept in a file of its own, and the job's next events go on")
    func refused() async throws {
        try await Self.inFolder { folder in
            let delivered = NIOLockedValueBox<[MonitoringMessage]>([])
            let outbox = Self.outbox(folder)
            try await Self.running(outbox) { message in
                if message == Self.message(1) { return .refused("HTTP 422") }
                delivered.withLockedValue { $0.append(message) }
                return .delivered
            } _: {
                for number in 1...2 { try await outbox.add(lane: "a", task: "t", [Self.message(number)]) }
                await outbox.settle(task: "t", within: .seconds(30))
            }
            #expect(delivered.withLockedValue { $0 } == [Self.message(2)])
            #expect(await outbox.counts == OutboxCounts(waiting: 0, delivered: 1, refused: 1))
            let file = try #require(fopen("\(folder)/refused", "r"))
            defer { fclose(file) }
            var line = [CChar](repeating: 0, count: 4096)
            try #require(fgets(&line, 4096, file) != nil)
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let json = try JSON(parsing: text)
            #expect(json["reason"] == "HTTP 422")
            #expect(json["path"] == "/api/events/")
            #expect(json["body"] == Self.message(1).body)
        }
    }

    @Test("a call that comes when the agent ends is told so")
    func ended() async throws {
        try await Self.inFolder { folder in
            let outbox = Self.outbox(folder)
            try await Self.running(outbox) { _ in
                .delivered
            } _: {
                try await outbox.add(lane: "a", task: nil, [Self.message(1)])
            }
            await #expect(throws: ModuleError.self) { try await outbox.add(lane: "a", task: nil, [Self.message(2)]) }
        }
    }
}

extension Outbox {
    /// Waits for what an earlier agent has left, which may not have been read yet.
    fileprivate func settleAll(task: String) async {
        // A record of this one's own is written once the file has been read.
        try? await self.add(lane: "b", task: nil, [])
        await self.settle(task: task, within: .seconds(30))
    }
}
