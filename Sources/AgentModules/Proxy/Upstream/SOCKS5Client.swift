import NIOCore

/// The client's part of a SOCKS 5 connection (RFC 1928), with user and password (RFC 1929) where there are any.
struct SOCKS5Client: Equatable {
    /// Why there is no connection to the target.
    enum Problem: Error, Equatable {
        /// The proxy takes none of the ways to log in that we know, or wants credentials that we don't have.
        case noMethod
        case credentialsRefused
        /// The proxy could not connect: the reply's code.
        case refused(UInt8)
        /// It does not speak SOCKS 5: what was found.
        case violation(String)
    }

    enum Step: Equatable {
        case send(ByteBuffer)
        /// The target's bytes follow.
        case connected
    }

    private enum State: Equatable {
        case method, authentication, reply, connected
    }

    private let target: HostPort
    private let credentials: UpstreamProxy.Credentials?
    private var state = State.method

    /// - Parameter target: goes to the proxy as it is; names are its to resolve.
    init(target: HostPort, credentials: UpstreamProxy.Credentials?) {
        self.target = target
        self.credentials = credentials
    }

    /// What the client begins with: the ways to log in that it offers.
    var greeting: ByteBuffer {
        ByteBuffer(bytes: self.credentials == nil ? [5, 1, Method.none] : [5, 2, Method.none, Method.password])
    }

    /// Takes what has come as far as it is understood. To be called again after a message was sent: the answer may be there already.
    /// - Returns: `nil` while more must come.
    mutating func receive(_ input: inout ByteBuffer) throws(Problem) -> Step? {
        switch self.state {
        case .method: try self.readMethod(&input)
        case .authentication: try self.readAuthentication(&input)
        case .reply: try self.readReply(&input)
        case .connected: .connected
        }
    }

    private mutating func readMethod(_ input: inout ByteBuffer) throws(Problem) -> Step? {
        try Self.check(input, version: 5)
        guard let bytes = input.readBytes(length: 2) else { return nil }
        switch bytes[1] {
        case Method.none:
            self.state = .reply
            return .send(self.request)
        case Method.password:
            guard let credentials else { throw .violation("a demand for credentials that were not offered") }
            self.state = .authentication
            var message = ByteBuffer(bytes: [1])
            message.writeCounted(credentials.user)
            message.writeCounted(credentials.password)
            return .send(message)
        default: throw .noMethod
        }
    }

    private mutating func readAuthentication(_ input: inout ByteBuffer) throws(Problem) -> Step? {
        // The version of the sub-negotiation is 1; some proxies answer with SOCKS's.
        guard let bytes = input.readBytes(length: 2) else { return nil }
        guard bytes[1] == 0 else { throw .credentialsRefused }
        self.state = .reply
        return .send(self.request)
    }

    private mutating func readReply(_ input: inout ByteBuffer) throws(Problem) -> Step? {
        try Self.check(input, version: 5)
        let bytes = input.readableBytesView
        guard bytes.count >= 2 else { return nil }
        // A refusal may be cut off behind its code.
        let code = bytes[bytes.startIndex + 1]
        guard code == 0 else { throw .refused(code) }
        guard bytes.count >= 5 else { return nil }
        let addressLength: Int
        switch bytes[bytes.startIndex + 3] {
        case AddressType.v4: addressLength = 4
        case AddressType.v6: addressLength = 16
        case AddressType.name: addressLength = 1 + Int(bytes[bytes.startIndex + 4])
        case let other: throw .violation("address type \(other) in its reply")
        }
        guard bytes.count >= 4 + addressLength + 2 else { return nil }
        input.moveReaderIndex(forwardBy: 4 + addressLength + 2)
        self.state = .connected
        return .connected
    }

    private var request: ByteBuffer {
        var message = ByteBuffer(bytes: [5, 1, 0])
        if let address = self.target.addressBytes {
            message.writeInteger(address.count == 4 ? AddressType.v4 : AddressType.v6)
            message.writeBytes(address)
        } else {
            message.writeInteger(AddressType.name)
            message.writeCounted(self.target.host)
        }
        message.writeInteger(UInt16(truncatingIfNeeded: self.target.port))
        return message
    }

    private static func check(_ input: ByteBuffer, version: UInt8) throws(Problem) {
        guard let found: UInt8 = input.getInteger(at: input.readerIndex) else { return }
        guard found == version else { throw .violation("\(found) where the version, 5, was expected") }
    }

    private enum Method {
        static let none: UInt8 = 0
        static let password: UInt8 = 2
    }

    private enum AddressType {
        static let v4: UInt8 = 1
        static let name: UInt8 = 3
        static let v6: UInt8 = 4
    }

    /// What a reply's code says (RFC 1928, section 6).
    static func meaning(of code: UInt8) -> String {
        switch code {
        case 1: "a general failure of the proxy"
        case 2: "not allowed by the proxy's rules"
        case 3: "the network can't be reached"
        case 4: "the host can't be reached"
        case 5: "the connection was refused"
        case 6: "the time to live has run out"
        case 7: "the proxy does not support CONNECT"
        case 8: "the proxy does not support this kind of address"
        default: "the proxy gives the unknown reason \(code)"
        }
    }
}

extension ByteBuffer {
    /// A text of at most 255 bytes behind its length.
    fileprivate mutating func writeCounted(_ text: String) {
        self.writeInteger(UInt8(truncatingIfNeeded: text.utf8.count))
        self.writeString(text)
    }
}
