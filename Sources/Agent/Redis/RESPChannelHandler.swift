import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A command on its way, and who waits for its reply.
struct RESPRequest: Sendable {
    var command: RESPCommand
    var promise: EventLoopPromise<RESPReply>
}

/// Sends one command at a time and hands back its reply; anything unexpected ends the connection.
final class RESPChannelHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = RESPRequest
    typealias OutboundOut = ByteBuffer

    private enum State {
        case idle
        case waiting(RESPRequest, Scheduled<Void>)
        /// Over, for the given reason.
        case failed(RedisError)
    }

    private let timeout: Duration
    private let endings: ConnectionEndings
    private var parser: RESPParser
    private var state = State.idle

    init(timeout: Duration, maximumValue: Int, endings: ConnectionEndings) {
        self.timeout = timeout
        self.endings = endings
        self.parser = RESPParser(maximumBulk: maximumValue)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let request = Self.unwrapOutboundIn(data)
        switch self.state {
        case .idle:
            let loopBoundContext = NIOLoopBound(context, eventLoop: context.eventLoop)
            let loopBoundSelf = NIOLoopBound(self, eventLoop: context.eventLoop)
            let name = request.command.name
            let timeout = self.timeout
            let deadline = context.eventLoop.scheduleTask(in: TimeAmount(timeout)) {
                loopBoundSelf.value.fail(with: .timedOut(name, after: timeout), context: loopBoundContext.value)
            }
            self.state = .waiting(request, deadline)
            var buffer = context.channel.allocator.buffer(capacity: 128)
            request.command.write(to: &buffer)
            context.write(Self.wrapOutboundOut(buffer), promise: promise)
        case .waiting:
            // Our own misuse, which `RedisConnection` rules out by being awaited command by command.
            request.promise.fail(RedisError.refused(command: request.command.name, reason: "another is unanswered"))
            promise?.fail(ChannelError.ioOnClosedChannel)
        case .failed(let error):
            request.promise.fail(error)
            promise?.fail(ChannelError.ioOnClosedChannel)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.parser.append(Self.unwrapInboundIn(data))
        do {
            while let reply = try self.parser.next() {
                guard case .waiting(let request, let deadline) = self.state else {
                    if case .error(let code, let text) = reply {
                        // A server that has no room says so unasked, then closes.
                        return self.fail(
                            with: RedisError(code: code, text: text, command: .select(database: 0)),
                            context: context
                        )
                    }
                    throw RESPViolation(description: "an answer to no question")
                }
                deadline.cancel()
                self.state = .idle
                request.promise.succeed(reply)
            }
        } catch {
            self.fail(with: .protocolViolation(reason: "\(error)"), context: context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.fail(with: .closed, context: context)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(with: RedisError(channelError: error), context: context)
    }

    /// The first reason counts; later ones follow from it.
    private func fail(with error: RedisError, context: ChannelHandlerContext) {
        switch self.state {
        case .failed:
            return
        case .idle:
            self.state = .failed(error)
        case .waiting(let request, let deadline):
            self.state = .failed(error)
            deadline.cancel()
            request.promise.fail(error)
        }
        self.endings.record(error, of: context.channel)
        context.close(promise: nil)
    }
}

/// Why channels ended, for whoever comes too late: of a closed channel even the handler is gone.
///
/// One of these serves one attempt to connect, in which several addresses of a host may be tried.
final class ConnectionEndings: Sendable {
    private let reasons = Mutex<[ObjectIdentifier: RedisError]>([:])

    func record(_ reason: RedisError, of channel: any Channel) {
        self.reasons.withLock { $0[ObjectIdentifier(channel)] = reason }
    }

    func reason(of channel: any Channel) -> RedisError? {
        self.reasons.withLock { $0[ObjectIdentifier(channel)] }
    }
}

extension RedisError {
    /// What an error of the channel means.
    init(channelError error: any Error) {
        switch error {
        case let error as RedisError: self = error
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            self = .tlsFailed(reason: LogText.escaped("\(error)", quotes: false))
        case ChannelError.ioOnClosedChannel, ChannelError.alreadyClosed, ChannelError.inputClosed,
            ChannelError.outputClosed,
            ChannelError.eof:
            self = .closed
        default: self = .unreachable(reason: Self.reason(error))
        }
    }

    /// The innermost cause, on one line.
    static func reason(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return Self.reason(first.error) }
            return "the host name can't be resolved"
        case let error as IOError: return LogText.escaped(error.description, quotes: false)
        default: return LogText.escaped("\(error)", quotes: false)
        }
    }
}
