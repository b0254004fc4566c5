import CPool
import Glibc
import NIOPosix

/// Where Python processes get connections to the modules from.
///
/// A `SOCK_SEQPACKET` socket that every Python process of the agent inherits. Whoever wants a connection makes a pair of sockets and sends one of them here.
/// Messages of such a socket arrive whole, so that any number of processes can share it: workers, and processes that user code forks from them.
public struct ModuleConnector: Sendable {
    /// The agent's end.
    private let accepting: Int32
    /// The Python processes' end, for them to inherit.
    public let connecting: Int32

    /// - Throws: ``ModuleError`` when the system has no more descriptors.
    public init() throws(ModuleError) {
        var ends: [Int32] = [-1, -1]
        let result = cpool_socketpair(Int32(SOCK_SEQPACKET.rawValue), &ends)
        guard result >= 0 else { throw Self.failure("socketpair", -result) }
        try self.init(accepting: ends[0], connecting: ends[1])
    }

    /// Takes the agent's end that another process has made: that of a script which started the agent for its modules' sake.
    public init(accepting: Int32) throws(ModuleError) { try self.init(accepting: accepting, connecting: -1) }

    private init(accepting: Int32, connecting: Int32) throws(ModuleError) {
        let result = cpool_pass_credentials(accepting)
        guard result >= 0 else { throw Self.failure("setsockopt on descriptor \(accepting)", -result) }
        self.accepting = accepting
        self.connecting = connecting
    }

    struct Connection: Sendable {
        var descriptor: Int32
        /// Who has asked for it.
        var pid: Int32
    }

    /// Calls `body` with each connection that is asked for, until nobody can ask any more or the task is cancelled.
    func forEachConnection(_ body: (Connection) -> Void) async throws {
        // The kernel hands descriptors over in `recvmsg` alone, which swift-nio does not have: a thread waits for them.
        let thread = NIOThreadPool(numberOfThreads: 1)
        thread.start()
        let accepting = self.accepting
        try await withTaskCancellationHandler {
            while !Task.isCancelled {
                guard let connection = try await thread.runIfActive({ try Self.accept(accepting) }) else { break }
                if connection.descriptor >= 0 { body(connection) }
            }
        } onCancel: {
            // Wakes the thread.
            _ = shutdown(accepting, Int32(SHUT_RDWR))
        }
        try await thread.shutdownGracefully()
        _ = Glibc.close(accepting)
    }

    private static func accept(_ socket: Int32) throws(ModuleError) -> Connection? {
        var descriptor: Int32 = -1
        var pid: Int32 = 0
        let result = cpool_accept_descriptor(socket, &descriptor, &pid)
        guard result >= 0 else { throw self.failure("recvmsg", -result) }
        return result == 0 ? nil : Connection(descriptor: descriptor, pid: pid)
    }

    private static func failure(_ call: String, _ number: Int32) -> ModuleError {
        ModuleError("system", "\(call) failed: errno \(number)")
    }
}
