import CPool
import Glibc

/// An open file descriptor that is closed with its last owner.
public final class Descriptor {
    public private(set) var number: Int32

    public init(_ number: Int32) {
        self.number = number
    }

    deinit { close() }

    public func close() {
        if number >= 0 { _ = Glibc.close(number) }
        number = -1
    }

    /// Gives the descriptor away.
    public func release() -> Int32 {
        defer { number = -1 }
        return number
    }
}

/// A system call failed: which, and its `errno`.
public struct SystemCallFailure: Error, Sendable, Hashable, CustomStringConvertible {
    public var call: String
    public var number: Int32

    public init(call: String, number: Int32) {
        self.call = call
        self.number = number
    }

    /// The value of a call that returns -errno when it fails.
    @discardableResult
    public static func check(_ call: String, _ result: Int32) throws(SystemCallFailure) -> Int32 {
        guard result >= 0 else { throw SystemCallFailure(call: call, number: -result) }
        return result
    }

    public var description: String { "\(call) failed: \(String(cString: strerror(number))) (errno \(number))" }
}

extension Descriptor {
    /// A pipe, close-on-exec.
    public static func pipe() throws(SystemCallFailure) -> (reading: Descriptor, writing: Descriptor) {
        var ends: [Int32] = [-1, -1]
        try SystemCallFailure.check("pipe", cpool_pipe(&ends))
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }
}
