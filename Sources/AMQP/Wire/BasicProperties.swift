import NIOCore

/// What travels with a message beside its body (AMQP 0-9-1, class basic).
public struct BasicProperties: Sendable, Equatable {
    public var contentType: String?
    public var contentEncoding: String?
    public var headers: FieldTable?
    /// 2 for a message that survives the broker's restart.
    public var deliveryMode: UInt8?
    public var priority: UInt8?
    public var correlationID: String?
    public var replyTo: String?
    /// Milliseconds, as text.
    public var expiration: String?
    public var messageID: String?
    /// Seconds since 1970.
    public var timestamp: UInt64?
    public var type: String?
    public var userID: String?
    public var appID: String?
    public var clusterID: String?

    public init(
        contentType: String? = nil,
        contentEncoding: String? = nil,
        headers: FieldTable? = nil,
        deliveryMode: UInt8? = nil,
        priority: UInt8? = nil,
        correlationID: String? = nil,
        replyTo: String? = nil,
        expiration: String? = nil,
        messageID: String? = nil,
        timestamp: UInt64? = nil,
        type: String? = nil,
        userID: String? = nil,
        appID: String? = nil,
        clusterID: String? = nil
    ) {
        self.contentType = contentType
        self.contentEncoding = contentEncoding
        self.headers = headers
        self.deliveryMode = deliveryMode
        self.priority = priority
        self.correlationID = correlationID
        self.replyTo = replyTo
        self.expiration = expiration
        self.messageID = messageID
        self.timestamp = timestamp
        self.type = type
        self.userID = userID
        self.appID = appID
        self.clusterID = clusterID
    }
}

extension BasicProperties {
    /// The bits that tell which properties follow, the first property's the highest; bit 0 says that more bits follow.
    private struct Flags: OptionSet {
        var rawValue: UInt16

        static let contentType = Flags(rawValue: 1 << 15)
        static let contentEncoding = Flags(rawValue: 1 << 14)
        static let headers = Flags(rawValue: 1 << 13)
        static let deliveryMode = Flags(rawValue: 1 << 12)
        static let priority = Flags(rawValue: 1 << 11)
        static let correlationID = Flags(rawValue: 1 << 10)
        static let replyTo = Flags(rawValue: 1 << 9)
        static let expiration = Flags(rawValue: 1 << 8)
        static let messageID = Flags(rawValue: 1 << 7)
        static let timestamp = Flags(rawValue: 1 << 6)
        static let type = Flags(rawValue: 1 << 5)
        static let userID = Flags(rawValue: 1 << 4)
        static let appID = Flags(rawValue: 1 << 3)
        static let clusterID = Flags(rawValue: 1 << 2)
        static let reserved = Flags(rawValue: 1 << 1)
        static let continued = Flags(rawValue: 1)
    }

    init(reading reader: inout ByteBuffer, names: inout RepeatedNames) throws(AMQPError) {
        let flags = Flags(rawValue: try reader.readUInt16())
        guard flags.isDisjoint(with: [.reserved, .continued]) else {
            throw .syntax("property flags 0x\(String(flags.rawValue, radix: 16)) that the basic class doesn't have")
        }
        if flags.contains(.contentType) { self.contentType = try names.contentType.read(from: &reader) }
        if flags.contains(.contentEncoding) { self.contentEncoding = try reader.readShortString() }
        if flags.contains(.headers) { self.headers = try reader.readTable() }
        if flags.contains(.deliveryMode) { self.deliveryMode = try reader.readUInt8() }
        if flags.contains(.priority) { self.priority = try reader.readUInt8() }
        if flags.contains(.correlationID) { self.correlationID = try reader.readShortString() }
        if flags.contains(.replyTo) { self.replyTo = try names.replyTo.read(from: &reader) }
        if flags.contains(.expiration) { self.expiration = try reader.readShortString() }
        if flags.contains(.messageID) { self.messageID = try reader.readShortString() }
        if flags.contains(.timestamp) { self.timestamp = try reader.readUInt64() }
        if flags.contains(.type) { self.type = try reader.readShortString() }
        if flags.contains(.userID) { self.userID = try reader.readShortString() }
        if flags.contains(.appID) { self.appID = try reader.readShortString() }
        if flags.contains(.clusterID) { self.clusterID = try reader.readShortString() }
    }

    func write(to buffer: inout ByteBuffer) {
        var flags: Flags = []
        let flagsIndex = buffer.writerIndex
        buffer.writeInteger(flags.rawValue)
        func short(_ text: String?, _ flag: Flags) {
            guard let text else { return }
            flags.insert(flag)
            buffer.writeShortString(text)
        }
        func octet(_ value: UInt8?, _ flag: Flags) {
            guard let value else { return }
            flags.insert(flag)
            buffer.writeInteger(value)
        }
        short(self.contentType, .contentType)
        short(self.contentEncoding, .contentEncoding)
        if let headers {
            flags.insert(.headers)
            buffer.writeLongString(headers.encoded)
        }
        octet(self.deliveryMode, .deliveryMode)
        octet(self.priority, .priority)
        short(self.correlationID, .correlationID)
        short(self.replyTo, .replyTo)
        short(self.expiration, .expiration)
        short(self.messageID, .messageID)
        if let timestamp {
            flags.insert(.timestamp)
            buffer.writeInteger(timestamp)
        }
        short(self.type, .type)
        short(self.userID, .userID)
        short(self.appID, .appID)
        short(self.clusterID, .clusterID)
        buffer.setInteger(flags.rawValue, at: flagsIndex)
    }
}
