import CPool
import Glibc
import NIOCore
import Spawning

/// The agent's ends of one worker's sockets and pipes.
final class WorkerLink {
    let key: PoolMachine.Key
    /// Jobs are written here.
    let jobs: Descriptor
    /// The same end that the worker reads from: what it hasn't read can be read back here.
    let unread: Descriptor
    /// Names the process, once it is known.
    var process: Descriptor?
    var stream: (any Channel)?
    var decoder = FrameDecoder(limit: 64 << 20)
    var pid: Int32 = 0
    /// The process group that the worker led when it was ended.
    private var group: Int32 = 0

    init(key: PoolMachine.Key, jobs: Descriptor, unread: Descriptor) {
        self.key = key
        self.jobs = jobs
        self.unread = unread
    }

    /// Reads one message back: the number of its job, or nil if the worker has read all.
    func readBack() -> UInt64? {
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { space in
            // The rest of the message is dropped: the pool still has the job.
            let count = cpool_receive(unread.number, space.baseAddress, space.count)
            guard count >= 12 else { return nil }
            return UInt64(littleEndian: space.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
        }
    }

    /// The first job that the worker hasn't read, left where it is.
    func firstUnread() -> UInt64? {
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { space in
            let count = cpool_peek(unread.number, space.baseAddress, space.count)
            guard count >= 12 else { return nil }
            return UInt64(littleEndian: space.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
        }
    }

    func readBackAll() -> [UInt64] {
        var found: [UInt64] = []
        while let job = readBack() { found.append(job) }
        return found
    }

    /// Sends a signal to the worker's process and no other.
    func signal(_ number: Int32) -> Bool {
        guard let process else { return false }
        return cpool_pidfd_signal(process.number, number) >= 0
    }

    /// Sends a signal that is to end the worker: to its process group too, if a job has made it the leader of one, since what the job
    /// has started (a browser, say) is in there.
    ///
    /// Billiard does so for a hard time limit (`billiard/pool.py`, `_trywaitkill`). A worker is never in the agent's own group.
    func end(_ number: Int32) -> Bool {
        // The process that the descriptor names has not been reaped as long as this succeeds, so the number is its own.
        guard signal(0) else { return false }
        guard pid > 1, getpgid(pid) == pid else { return signal(number) }
        group = pid
        return kill(-pid, number) == 0
    }

    /// The worker that was ended is gone: whoever is left of its group goes too.
    func endGroup() {
        guard group > 1 else { return }
        _ = kill(-group, SIGKILL)
        group = 0
    }
}
