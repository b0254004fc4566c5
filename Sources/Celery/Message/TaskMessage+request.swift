import AMQP
import Marshal
public import NIOCore

/// The two dictionaries from which the Python worker builds a task's request, in Python's marshal format.
public struct MarshalledRequest: Sendable {
    /// The message's headers.
    public var headers: ByteBuffer
    /// What the worker adds to them: `properties`, `reply_to`, `correlation_id`, `hostname`, `delivery_info`.
    public var info: ByteBuffer
    /// Whether a value travels as a tuple that the worker must turn into an object marshal doesn't know
    /// (`("\0T", seconds)` for a time, `("\0D", text)` for a decimal).
    public var holdsExoticValues: Bool
}

extension TaskMessage {
    /// What `celery/worker/request.py` puts into a task's request, beside its arguments.
    public func marshalled(hostname: String) -> MarshalledRequest {
        var isExotic = false
        // As a rule less than what came, since short texts have a short length.
        var headers = MarshalWriter(ByteBufferAllocator().buffer(capacity: self.headers.encoded.readableBytes + 64))
        self.headers.withRawFields { headers.table($0, isExotic: &isExotic) }
        var info = MarshalWriter(ByteBufferAllocator().buffer(capacity: 512))
        info.openDictionary()
        info.string("properties")
        info.properties(self.properties)
        info.string("reply_to")
        info.optional(self.properties.replyTo)
        info.string("correlation_id")
        info.optional(self.properties.correlationID)
        info.string("hostname")
        info.string(hostname)
        info.string("delivery_info")
        info.openDictionary()
        info.string("exchange")
        info.string(self.deliveryInfo.exchange)
        info.string("routing_key")
        info.string(self.deliveryInfo.routingKey)
        info.string("priority")
        if let priority = self.deliveryInfo.priority { info.int(Int64(priority)) } else { info.none() }
        info.string("redelivered")
        info.bool(self.deliveryInfo.redelivered)
        info.closeDictionary()
        info.closeDictionary()
        return MarshalledRequest(headers: headers.buffer, info: info.buffer, holdsExoticValues: isExotic)
    }
}

extension MarshalWriter {
    fileprivate mutating func optional(_ value: String?) {
        if let value { self.string(value) } else { self.none() }
    }

    /// The properties that are set, by the names that py-amqp gives them; the headers are added by the worker.
    fileprivate mutating func properties(_ properties: BasicProperties) {
        self.openDictionary()
        self.member("content_type", properties.contentType)
        self.member("content_encoding", properties.contentEncoding)
        self.member("delivery_mode", properties.deliveryMode)
        self.member("priority", properties.priority)
        self.member("correlation_id", properties.correlationID)
        self.member("reply_to", properties.replyTo)
        self.member("expiration", properties.expiration)
        self.member("message_id", properties.messageID)
        self.member("type", properties.type)
        self.member("user_id", properties.userID)
        self.member("app_id", properties.appID)
        self.member("cluster_id", properties.clusterID)
        self.closeDictionary()
    }

    private mutating func member(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        self.string(name)
        self.string(value)
    }

    private mutating func member(_ name: StaticString, _ value: UInt8?) {
        guard let value else { return }
        self.string(name)
        self.int(Int64(value))
    }

    fileprivate mutating func table(_ table: RawFields, isExotic: inout Bool) {
        self.openDictionary()
        var table = table
        while let name = table.nextName(), let value = table.nextValue() {
            self.text(name)
            self.value(value, isExotic: &isExotic)
        }
        self.closeDictionary()
    }

    private mutating func value(_ value: RawFieldValue, isExotic: inout Bool) {
        switch value {
        case .void: self.none()
        case .bool(let value): self.bool(value)
        case .int(let value): self.int(value)
        case .double(let value): self.double(value)
        case .longString(let value): self.text(value)
        case .bytes(let value): self.bytes(value)
        case .table(let table): self.table(table, isExotic: &isExotic)
        case .array(let array):
            var count = 0
            var values = array
            while values.nextValue() != nil { count += 1 }
            self.openList(count: count)
            values = array
            while let value = values.nextValue() { self.value(value, isExotic: &isExotic) }
        case .timestamp(let seconds):
            isExotic = true
            self.openTuple(count: 2)
            self.string("\0T")
            self.int(Int64(clamping: seconds))
        case .decimal(let scale, let value):
            isExotic = true
            self.openTuple(count: 2)
            self.string("\0D")
            self.string("\(value)E-\(scale)")
        }
    }
}
