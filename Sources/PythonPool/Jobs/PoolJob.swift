public import NIOCore

/// One task to run in a worker.
public struct PoolJob: Sendable {
    /// How a job is handed over.
    public struct Flags: OptionSet, Sendable, Hashable {
        public let rawValue: UInt8

        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// Ask for ``PoolEvent/started(job:pid:)`` when a worker takes the job up.
        public static let reportsStart = Flags(rawValue: 1)
        /// `headers` or `info` hold AMQP timestamps as `("\0T", seconds)` or decimals as `("\0D", text)`.
        public static let exoticValues = Flags(rawValue: 4)
        /// The message is of protocol 1: all of it is in its body.
        public static let protocol1 = Flags(rawValue: 8)
    }

    /// The caller's number for the job: not 0, and unique among the jobs in the pool.
    public var id: UInt64
    /// The message headers of protocol 2, a dictionary in Python's marshal format.
    public var headers: ByteBuffer
    /// `properties`, `reply_to`, `correlation_id`, `hostname` and `delivery_info`, a dictionary in marshal format.
    public var info: ByteBuffer
    /// The message body as it came.
    public var body: ByteBuffer
    public var flags: Flags
    /// When the pool has taken it, by ``System/now``.
    var submittedAt: UInt64 = 0

    public init(id: UInt64, headers: ByteBuffer, info: ByteBuffer, body: ByteBuffer, flags: Flags = []) {
        self.id = id
        self.headers = headers
        self.info = info
        self.body = body
        self.flags = flags
    }

    /// Bytes of the three parts.
    var size: Int {
        headers.readableBytes + info.readableBytes + body.readableBytes
    }
}
