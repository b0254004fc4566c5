import NIOCore

/// What travels with a message beside its body (AMQP 0-9-1, class basic).
public struct BasicProperties: Sendable, Equatable {
    /// What is set. Out of line, since a message passes through many hands, and each copy would retain every text.
    private var box: Box

    private struct Fields: Sendable, Equatable {
        var contentType: String?
        var contentEncoding: String?
        var headers: FieldTable?
        var deliveryMode: UInt8?
        var priority: UInt8?
        var correlationID: String?
        var replyTo: String?
        var expiration: String?
        var messageID: String?
        var timestamp: UInt64?
        var type: String?
        var userID: String?
        var appID: String?
        var clusterID: String?
    }

    private final class Box: Sendable {
        let fields: Fields

        init(_ fields: Fields) { self.fields = fields }
    }

    public var contentType: String? {
        get { self.box.fields.contentType }
        set { self.change { $0.contentType = newValue } }
    }
    public var contentEncoding: String? {
        get { self.box.fields.contentEncoding }
        set { self.change { $0.contentEncoding = newValue } }
    }
    public var headers: FieldTable? {
        get { self.box.fields.headers }
        set { self.change { $0.headers = newValue } }
    }
    /// 2 for a message that survives the broker's restart.
    public var deliveryMode: UInt8? {
        get { self.box.fields.deliveryMode }
        set { self.change { $0.deliveryMode = newValue } }
    }
    public var priority: UInt8? {
        get { self.box.fields.priority }
        set { self.change { $0.priority = newValue } }
    }
    public var correlationID: String? {
        get { self.box.fields.correlationID }
        set { self.change { $0.correlationID = newValue } }
    }
    public var replyTo: String? {
        get { self.box.fields.replyTo }
        set { self.change { $0.replyTo = newValue } }
    }
    /// Milliseconds, as text.
    public var expiration: String? {
        get { self.box.fields.expiration }
        set { self.change { $0.expiration = newValue } }
    }
    public var messageID: String? {
        get { self.box.fields.messageID }
        set { self.change { $0.messageID = newValue } }
    }
    /// Seconds since 1970.
    public var timestamp: UInt64? {
        get { self.box.fields.timestamp }
        set { self.change { $0.timestamp = newValue } }
    }
    public var type: String? {
        get { self.box.fields.type }
        set { self.change { $0.type = newValue } }
    }
    public var userID: String? {
        get { self.box.fields.userID }
        set { self.change { $0.userID = newValue } }
    }
    public var appID: String? {
        get { self.box.fields.appID }
        set { self.change { $0.appID = newValue } }
    }
    public var clusterID: String? {
        get { self.box.fields.clusterID }
        set { self.change { $0.clusterID = newValue } }
    }

    private mutating func change(_ change: (inout Fields) -> Void) {
        var fields = self.box.fields
        change(&fields)
        self.box = Box(fields)
    }

    public static func == (one: Self, other: Self) -> Bool {
        one.box === other.box || one.box.fields == other.box.fields
    }

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
        self.box = Box(
            Fields(
                contentType: contentType,
                contentEncoding: contentEncoding,
                headers: headers,
                deliveryMode: deliveryMode,
                priority: priority,
                correlationID: correlationID,
                replyTo: replyTo,
                expiration: expiration,
                messageID: messageID,
                timestamp: timestamp,
                type: type,
                userID: userID,
                appID: appID,
                clusterID: clusterID
            )
        )
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
        var fields = Fields()
        if flags.contains(.contentType) { fields.contentType = try names.contentType.read(from: &reader) }
        if flags.contains(.contentEncoding) { fields.contentEncoding = try reader.readShortString() }
        if flags.contains(.headers) { fields.headers = try reader.readTable() }
        if flags.contains(.deliveryMode) { fields.deliveryMode = try reader.readUInt8() }
        if flags.contains(.priority) { fields.priority = try reader.readUInt8() }
        if flags.contains(.correlationID) { fields.correlationID = try reader.readShortString() }
        if flags.contains(.replyTo) { fields.replyTo = try names.replyTo.read(from: &reader) }
        if flags.contains(.expiration) { fields.expiration = try reader.readShortString() }
        if flags.contains(.messageID) { fields.messageID = try reader.readShortString() }
        if flags.contains(.timestamp) { fields.timestamp = try reader.readUInt64() }
        if flags.contains(.type) { fields.type = try reader.readShortString() }
        if flags.contains(.userID) { fields.userID = try reader.readShortString() }
        if flags.contains(.appID) { fields.appID = try reader.readShortString() }
        if flags.contains(.clusterID) { fields.clusterID = try reader.readShortString() }
        self.box = Box(fields)
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
        let fields = self.box.fields
        short(fields.contentType, .contentType)
        short(fields.contentEncoding, .contentEncoding)
        if let headers = fields.headers {
            flags.insert(.headers)
            buffer.writeLongString(headers.encoded)
        }
        octet(fields.deliveryMode, .deliveryMode)
        octet(fields.priority, .priority)
        short(fields.correlationID, .correlationID)
        short(fields.replyTo, .replyTo)
        short(fields.expiration, .expiration)
        short(fields.messageID, .messageID)
        if let timestamp = fields.timestamp {
            flags.insert(.timestamp)
            buffer.writeInteger(timestamp)
        }
        short(fields.type, .type)
        short(fields.userID, .userID)
        short(fields.appID, .appID)
        short(fields.clusterID, .clusterID)
        buffer.setInteger(flags.rawValue, at: flagsIndex)
    }
}
