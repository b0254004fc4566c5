import CFreeTDS
import Marshal

/// Writes a connection's current row for Python.
///
/// What `marshal` has is written as it is. The rest goes in a plain form, and a letter for each column tells the SDK (`armada_agent/sdk/_rows.py`) what
/// to make of it:
///
/// | letter | value | plain form |
/// |---|---|---|
/// | `-` | `bool`, `int`, `float`, `str`, `bytes` | itself |
/// | `d` | `Decimal` | its digits |
/// | `D` | `date` | year, month, day |
/// | `T` | `time` | hour, minute, second, microsecond |
/// | `M` | `datetime` | the fields of both |
/// | `O` | `datetime` with an offset | the fields of both, and the offset in minutes |
/// | `u` | `UUID` | its bytes, as the server orders them |
struct RowEncoder {
    private enum Kind {
        case bit, tiny, small, int, big, real, float, text, bytes, decimal, money, smallMoney, date, time, moment,
            offset, uuid

        /// By FreeTDS's numbers of types. What has no meaning here is `bytes`, as with pymssql.
        init(type: Int32) {
            self =
                switch type {
                case 50, 104: .bit
                case 48: .tiny
                case 52: .small
                case 56: .int
                case 127: .big
                case 59: .real
                case 62: .float
                case 35, 39, 47, 99, 103: .text
                case 106, 108: .decimal
                case 60: .money
                case 122: .smallMoney
                case 40: .date
                case 41: .time
                case 58, 61, 42: .moment
                case 43: .offset
                case 36: .uuid
                default: .bytes
                }
        }

        /// How many bytes a value has at least.
        var size: Int {
            switch self {
            case .bit, .tiny: 1
            case .small: 2
            case .int, .real, .smallMoney: 4
            case .big, .float, .money: 8
            case .uuid: 16
            case .text, .bytes, .decimal, .date, .time, .moment, .offset: 0
            }
        }

        var letter: Character {
            switch self {
            case .decimal, .money, .smallMoney: "d"
            case .date: "D"
            case .time: "T"
            case .moment: "M"
            case .offset: "O"
            case .uuid: "u"
            default: "-"
            }
        }
    }

    private let handle: OpaquePointer
    private let columns: [(type: Int32, kind: Kind)]

    init(handle: OpaquePointer, columns: Int) {
        self.handle = handle
        self.columns = (1...columns).map { column in
            let type = cfreetds_column_type(handle, Int32(column))
            return (type, Kind(type: type))
        }
    }

    /// A letter for each column.
    var kinds: String { String(self.columns.map(\.kind.letter)) }

    /// Writes the current row, as a tuple.
    /// - Throws: for values that are not what their column says.
    func write(to writer: inout MarshalWriter) throws(SQLFailure) {
        writer.openTuple(count: self.columns.count)
        for (index, column) in self.columns.enumerated() {
            var length: Int32 = 0
            guard let value = cfreetds_value(self.handle, Int32(index + 1), &length) else {
                writer.none()
                continue
            }
            let bytes = UnsafeRawBufferPointer(start: value, count: Int(length))
            guard bytes.count >= column.kind.size else { throw Self.malformed }
            switch column.kind {
            case .bit: writer.bool(bytes.loadUnaligned(as: UInt8.self) != 0)
            case .tiny: writer.int(Int64(bytes.loadUnaligned(as: UInt8.self)))
            case .small: writer.int(Int64(bytes.loadUnaligned(as: Int16.self)))
            case .int: writer.int(Int64(bytes.loadUnaligned(as: Int32.self)))
            case .big: writer.int(bytes.loadUnaligned(as: Int64.self))
            case .real: writer.double(Double(bytes.loadUnaligned(as: Float.self)))
            case .float: writer.double(bytes.loadUnaligned(as: Double.self))
            case .text: writer.text(bytes)
            case .bytes, .uuid: writer.bytes(bytes)
            case .smallMoney: writer.string(Self.money(Int64(bytes.loadUnaligned(as: Int32.self))))
            case .money:
                // The high half comes first.
                let high = Int64(bytes.loadUnaligned(as: Int32.self))
                let low = Int64(bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
                writer.string(Self.money(high << 32 | low))
            case .decimal: try self.decimal(column.type, value, to: &writer)
            case .date, .time, .moment, .offset: try self.moment(column, value, to: &writer)
            }
        }
    }

    /// An amount in ten thousandths, as text.
    static func money(_ amount: Int64) -> String {
        let (whole, rest) = amount.magnitude.quotientAndRemainder(dividingBy: 10_000)
        let digits = String(rest)
        return "\(amount < 0 ? "-" : "")\(whole).\(String(repeating: "0", count: 4 - digits.utf8.count))\(digits)"
    }

    private static let malformed = SQLFailure(
        source: .library,
        number: 20020,
        text: "the server has sent a value that is not of its column's type"
    )

    private func decimal(
        _ type: Int32,
        _ value: UnsafeRawPointer,
        to writer: inout MarshalWriter
    ) throws(SQLFailure) {
        // 38 digits, a sign, a point and a zero before it.
        let isWritten = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            let length = cfreetds_decimal(self.handle, type, value, text.baseAddress, Int32(text.count))
            guard length > 0 else { return false }
            writer.text(UnsafeRawBufferPointer(start: text.baseAddress, count: Int(length)))
            return true
        }
        guard isWritten else { throw Self.malformed }
    }

    private func moment(
        _ column: (type: Int32, kind: Kind),
        _ value: UnsafeRawPointer,
        to writer: inout MarshalWriter
    ) throws(SQLFailure) {
        var moment = cfreetds_moment()
        guard cfreetds_moment_of(self.handle, column.type, value, &moment) != CFREETDS_FAILED else {
            throw Self.malformed
        }
        let date = [moment.year, moment.month, moment.day]
        let time = [moment.hour, moment.minute, moment.second, moment.nanosecond / 1000]
        let fields =
            switch column.kind {
            case .date: date
            case .time: time
            case .offset: date + time + [moment.offset]
            default: date + time
            }
        writer.openTuple(count: fields.count)
        for field in fields { writer.int(Int64(field)) }
    }
}
