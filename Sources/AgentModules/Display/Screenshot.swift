import NIOConcurrencyHelpers
import NIOCore
import Spawning

/// A picture of a whole screen, taken by ImageMagick's `import`.
struct Screenshot: Sendable {
    /// As `DISPLAY` has it.
    var display: String
    /// As `XAUTHORITY` has it.
    var authority: String?
    var timeLimit = Duration.seconds(30)

    /// More than the PNG of any screen of a real size.
    private static let limit = 256 << 20

    /// - Returns: a PNG, in colours of 8 bits each whatever it shows.
    /// - Throws: `CancellationError`; ``ModuleError``: `missing`, `timeout`, `screenshot` with ImageMagick's own words.
    func take(on eventLoop: any EventLoop) async throws -> ByteBuffer {
        let picture = NIOLockedValueBox(ByteBuffer())
        var environment = ProcessCommand.basicEnvironment
        environment["DISPLAY"] = self.display
        environment["XAUTHORITY"] = self.authority
        let command = ProcessCommand(
            executable: "import",
            // Silent: it would ring the bell.
            arguments: ["-silent", "-window", "root", "png24:-"],
            environment: environment,
            standardOutput: .bytes { bytes in
                picture.withLockedValue { if $0.readableBytes <= Self.limit { $0.writeImmutableBuffer(bytes) } }
            },
            remedy: "install Debian's package imagemagick"
        )
        let (lines, exit) = try await ManagedProcess.run(command, on: eventLoop) { process in
            try await self.waitForEnd(of: process)
            return process.lastLines
        }
        let bytes = picture.withLockedValue { $0 }
        guard exit == .code(0), bytes.readableBytes > 0, bytes.readableBytes <= Self.limit else {
            let words = lines.filter { !$0.isEmpty }.joined(separator: " / ")
            throw ModuleError(
                "screenshot",
                "ImageMagick's import gave no picture of display \(self.display) (\(exit)): \(words.isEmpty ? "it said nothing" : words)"
            )
        }
        return bytes
    }

    private func waitForEnd(of process: ManagedProcess) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                _ = try await process.exit()
                return true
            }
            group.addTask {
                try await Task.sleep(for: self.timeLimit)
                return false
            }
            guard try await group.next() == false else { return }
            throw ModuleError(
                "timeout",
                "display \(self.display) gave no picture within \(self.timeLimit): its server, or a program that holds it, hangs"
            )
        }
    }
}
