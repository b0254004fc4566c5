import Glibc
import NIOCore
import NIOPosix
import Spawning

/// A stream that a process writes to: its writing end, for the process, and what becomes of what is read from the other one.
struct ProcessStream {
    private var pipe: (reading: Descriptor, writing: Descriptor)?
    private let output: ProcessCommand.Output
    let writing: Int32

    init(_ output: ProcessCommand.Output) throws(ModuleError) {
        self.output = output
        if case .descriptor(let number) = output {
            self.writing = number
            return
        }
        do throws(SystemCallFailure) {
            let pipe = try Descriptor.pipe()
            self.pipe = pipe
            self.writing = pipe.writing.number
        } catch {
            throw ModuleError("system", "\(error)")
        }
    }

    /// Reads until nobody can write any more.
    func open(for process: ManagedProcess, on eventLoop: any EventLoop) -> EventLoopFuture<any Channel>? {
        guard let reading = self.pipe?.reading.release() else { return nil }
        let output = self.output
        let channel = NIOPipeBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ProcessOutputHandler(output, of: process))
                }
            }
            .takingOwnershipOfDescriptor(input: reading)
        channel.whenFailure { _ in close(reading) }
        return channel
    }
}

private final class ProcessOutputHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let output: ProcessCommand.Output
    private let process: ManagedProcess
    private var splitter = LineSplitter(limit: 8192)

    init(_ output: ProcessCommand.Output, of process: ManagedProcess) {
        self.output = output
        self.process = process
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        switch self.output {
        case .lines: self.splitter.append(bytes) { self.emit($0) }
        case .bytes(let receive): receive(bytes)
        case .descriptor: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.splitter.finish { self.emit($0) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func emit(_ line: String) {
        self.process.keep(line)
        if case .lines(let receive) = self.output { receive(line) }
    }
}
