import Glibc

/// What this process uses, of the machine's.
struct ProcessMetrics: Sendable, Equatable {
    var residentBytes: Int
    /// In user code and in the kernel.
    var processorSeconds: Double

    init(residentBytes: Int, processorSeconds: Double) {
        self.residentBytes = residentBytes
        self.processorSeconds = processorSeconds
    }

    /// As the kernel tells; 0 for what it doesn't.
    static var current: ProcessMetrics {
        ProcessMetrics(residentBytes: Self.residentPages * sysconf(Int32(_SC_PAGESIZE)), processorSeconds: Self.time)
    }

    /// The second number of `/proc/self/statm`.
    private static var residentPages: Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let numbers = text.split(separator: " ")
        return numbers.count > 1 ? Int(numbers[1]) ?? 0 : 0
    }

    private static var time: Double {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
        return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1_000_000 }
    }
}
