public import AMQP
public import NIOCore

/// A message that asks for a task, as far as a worker must understand it: what it needs for scheduling is read, all else stays as it came.
///
/// In protocol 2 (`celery/app/amqp.py`, `as_task_v2`) everything of interest is in the headers, and the body, `[args, kwargs, embed]`, is opaque here.
/// In protocol 1 it is all in the body.
public struct TaskMessage: Sendable {
    /// What the body holds, and so who takes it apart.
    public enum Form: Sendable, Equatable {
        case protocol2
        case protocol1
    }

    /// How the message came, as `request.delivery_info` tells the task.
    public struct DeliveryInfo: Sendable, Equatable {
        public var exchange: String
        public var routingKey: String
        public var priority: UInt8?
        public var redelivered: Bool
        /// The queue that it was taken from; tasks are not told.
        public var queue: String

        public init(exchange: String, routingKey: String, priority: UInt8?, redelivered: Bool, queue: String = "") {
            self.exchange = exchange
            self.routingKey = routingKey
            self.priority = priority
            self.redelivered = redelivered
            self.queue = queue
        }
    }

    public var form: Form
    public var id: String
    /// The registered name of the task.
    public var task: String
    /// When to run it, if not at once.
    public var eta: EpochSeconds?
    /// When it is no longer to be run.
    public var expires: EpochSeconds?
    public var retries: Int64
    /// Seconds; `timelimit` in the message is `[hard, soft]`.
    public var hardTimeLimit: Double?
    public var softTimeLimit: Double?
    public var deliveryInfo: DeliveryInfo
    public var properties: BasicProperties
    public var body: ByteBuffer

    public init(
        form: Form,
        id: String,
        task: String,
        eta: EpochSeconds? = nil,
        expires: EpochSeconds? = nil,
        retries: Int64 = 0,
        hardTimeLimit: Double? = nil,
        softTimeLimit: Double? = nil,
        deliveryInfo: DeliveryInfo,
        properties: BasicProperties,
        body: ByteBuffer
    ) {
        self.form = form
        self.id = id
        self.task = task
        self.eta = eta
        self.expires = expires
        self.retries = retries
        self.hardTimeLimit = hardTimeLimit
        self.softTimeLimit = softTimeLimit
        self.deliveryInfo = deliveryInfo
        self.properties = properties
        self.body = body
    }

    /// `eta` as events show it.
    public var shownETA: String? { self.eta.map { self.shown($0, "eta") } }

    /// `expires` as events show it.
    public var shownExpires: String? { self.expires.map { self.shown($0, "expires") } }

    /// A time keeps the offset that its sender has given it.
    private func shown(_ time: EpochSeconds, _ header: String) -> String {
        if let text = self.headers[header]?.string, text.count > 6 {
            let offset = text.suffix(6).utf8
            let isOffset =
                [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(offset.first)
                && offset.dropFirst(3).first == UInt8(ascii: ":")
            if isOffset, !text.hasSuffix("00:00") { return text }
        }
        return ISO8601.format(time)
    }

    /// Copies body and headers out of the buffer that they were read into, which they would otherwise keep in memory as a whole.
    public mutating func detach() {
        self.body = ByteBuffer(bytes: self.body.readableBytesView)
        self.properties.headers = self.properties.headers.map { FieldTable(copying: $0) }
    }

    public var headers: FieldTable { self.properties.headers ?? FieldTable() }

    public var contentType: String { self.properties.contentType ?? "" }

    /// The name to show: the sender's, where it gave one.
    public var name: String {
        if let shadow = self.headers["shadow"]?.string, !shadow.isEmpty { return shadow }
        return self.task
    }

    public var rootID: String? { self.headers["root_id"]?.string }
    public var parentID: String? { self.headers["parent_id"]?.string }
    public var argsRepr: String { self.headers["argsrepr"]?.string ?? "" }
    public var kwargsRepr: String { self.headers["kwargsrepr"]?.string ?? "" }
    public var replacedTaskNesting: Int64 { self.headers["replaced_task_nesting"]?.int ?? 0 }
}
