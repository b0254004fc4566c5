public import JSON
public import NIOCore

/// A remote-control request, as `celery inspect` and `celery control` broadcast it (`kombu/pidbox.py`, `Mailbox._publish`).
public struct ControlRequest: Sendable, Equatable {
    /// Where the asker waits for replies.
    public struct ReplyAddress: Sendable, Equatable {
        public var exchange: String
        public var routingKey: String

        public init(exchange: String, routingKey: String) {
            self.exchange = exchange
            self.routingKey = routingKey
        }
    }

    public var method: String
    /// What stands where the method's name should, as Python shows it; ``method`` is empty then.
    public var unnamedMethod: String?
    public var arguments: JSONObject
    /// The nodes that are meant; empty for all.
    public var destination: [String]
    public var pattern: String?
    public var matcher: String?
    public var ticket: JSON
    public var replyTo: ReplyAddress?

    public init(
        method: String,
        arguments: JSONObject = [:],
        destination: [String] = [],
        pattern: String? = nil,
        matcher: String? = nil,
        ticket: JSON = .null,
        replyTo: ReplyAddress? = nil
    ) {
        self.method = method
        self.arguments = arguments
        self.destination = destination
        self.pattern = pattern
        self.matcher = matcher
        self.ticket = ticket
        self.replyTo = replyTo
    }

    /// A body that is no request.
    public struct Problem: Error, Sendable, Equatable, CustomStringConvertible {
        public var description: String

        public init(description: String) { self.description = description }
    }

    public init(parsing body: ByteBuffer) throws(Problem) {
        let json: JSON
        do throws(JSONError) {
            json = try JSON(parsing: body)
        } catch {
            throw Problem(description: error.description)
        }
        guard json.object != nil else { throw Problem(description: "\(json.kind) where an object was expected") }
        guard let method = json["method"] else { throw Problem(description: "no 'method'") }
        switch json["arguments"] {
        case nil, .null: self.arguments = [:]
        case .object(let arguments): self.arguments = arguments
        case let other?: throw Problem(description: "'arguments' is \(other.kind), where an object was expected")
        }
        switch json["destination"] {
        case nil, .null: self.destination = []
        // kombu asks `hostname in destination`, which text answers too.
        case .string(let node): self.destination = [node]
        case .array(let nodes): self.destination = nodes.compactMap(\.string)
        case let other?:
            throw Problem(description: "'destination' is \(other.kind), where a list of nodes was expected")
        }
        self.method = method.string ?? ""
        if method.string == nil { self.unnamedMethod = PythonRepr.value(method) }
        self.pattern = json["pattern"]?.string
        self.matcher = json["matcher"]?.string
        self.ticket = json["ticket"] ?? .null
        if let address = json["reply_to"], !address.isNull {
            guard let exchange = address["exchange"]?.string, let routingKey = address["routing_key"]?.string else {
                throw Problem(description: "'reply_to' has no exchange and routing_key: \(address)")
            }
            self.replyTo = ReplyAddress(exchange: exchange, routingKey: routingKey)
        }
    }
}
