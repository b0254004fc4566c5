import CPool
import Dispatch
import Glibc
import NIOCore

/// The end of a process, as an event.
///
/// A pidfd becomes readable when its process ends (pidfd_open(2)). There is nothing to be read from one, which is why swift-nio can't wait for it; Dispatch's
/// one thread for such waiting can.
struct ProcessEnd: Sendable {
    private static let queue = DispatchQueue(label: "ends of processes")

    /// Succeeds when the process has ended, or the waiting has been given up by ``cancel()``.
    let future: EventLoopFuture<Void>
    /// Only ever cancelled, which Dispatch allows from any thread.
    private nonisolated(unsafe) let source: any DispatchSourceRead

    /// - Parameter pid: a process that has not been reaped, unless it is somebody else's.
    /// - Returns: `nil` where there is no such process.
    /// - Throws: ``ModuleError`` where the system has no more descriptors.
    init?(of pid: Int32, on eventLoop: any EventLoop) throws(ModuleError) {
        let descriptor = cpool_pidfd_open(pid)
        if descriptor == -ESRCH { return nil }
        guard descriptor >= 0 else {
            throw ModuleError("system", "process \(pid) can't be watched: \(String(cString: strerror(-descriptor)))")
        }
        let ended = eventLoop.makePromise(of: Void.self)
        nonisolated(unsafe) let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: Self.queue)
        source.setEventHandler { source.cancel() }
        source.setCancelHandler {
            close(descriptor)
            ended.succeed()
        }
        source.activate()
        self.future = ended.futureResult
        self.source = source
    }

    func cancel() { self.source.cancel() }
}
