import NIOCore

/// A port on loopback behind which one route begins.
public struct RelayListener: Sendable {
    private let server: any Channel
    private let connections: NIOLoopBoundBox<RelayConnections>
    /// On 127.0.0.1.
    public let port: Int

    init(server: any Channel, port: Int, connections: NIOLoopBoundBox<RelayConnections>) {
        self.server = server
        self.port = port
        self.connections = connections
    }

    /// Takes no new connections; open ones go on to their end.
    public func retire() async {
        // It fails where the port is closed already.
        try? await self.server.close().get()
    }

    /// Takes no new connections and breaks open ones off. Returns when none is left.
    public func close() async {
        await self.retire()
        try? await self.server.eventLoop.flatSubmit { self.connections.value.abort() }.get()
    }

    /// Tells listeners apart; a port may come again.
    var id: ObjectIdentifier { ObjectIdentifier(self.server) }

    /// How many connections are open, each with its upstream.
    var openConnections: Int {
        get async {
            (try? await self.server.eventLoop.submit { self.connections.value.count }.get()) ?? 0
        }
    }

    /// How many bytes have been read from one side and not been taken by the other, in all.
    var heldBytes: Int {
        get async {
            (try? await self.server.eventLoop.submit { self.connections.value.heldBytes }.get()) ?? 0
        }
    }
}
