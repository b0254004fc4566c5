extension PythonPool {
    public var size: Int { machine.wanted }
    public func grow(by count: Int) { resize(to: machine.wanted + count) }
    public func shrink(by count: Int) -> Bool { resize(to: machine.wanted - count); return true }
}
import NIOCore
extension PythonPool {
    public func restart(modules: [String]?, reload: Bool) async throws -> ByteBuffer { ByteBuffer() }
}
