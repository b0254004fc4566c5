import Glibc

/// This program's own code in memory.
enum ExecutableMemory {
    /// Gives back the pages of code that start-up has touched, and that work does not need: what is needed comes back from the page cache, page by
    /// page. Of a static binary of 20 MiB, most of what is resident after start-up is such code.
    ///
    /// Only code is given back, never data: its pages are as they are in the file.
    static func releaseStartupCode() {
        for (start, length) in Self.codeSegments() {
            // Where the kernel refuses, the pages stay, and nothing else changes.
            _ = madvise(UnsafeMutableRawPointer(bitPattern: start), length, MADV_DONTNEED)
        }
    }

    /// The mappings of this executable that can be executed and not written to, from `/proc/self/maps`.
    private static func codeSegments() -> [(start: UInt, length: Int)] {
        guard let maps = Self.read("/proc/self/maps"), let program = Self.programPath() else { return [] }
        return maps.split(separator: "\n").compactMap { line in
            // 55d0c8a00000-55d0c9800000 r-xp 003e5000 fe:00 1234   /usr/bin/armada-agent
            let fields = line.split(separator: " ", maxSplits: 5)
            guard fields.count == 6, fields[1] == "r-xp", fields[5].drop(while: { $0 == " " }) == program else {
                return nil
            }
            let bounds = fields[0].split(separator: "-")
            guard bounds.count == 2, let start = UInt(bounds[0], radix: 16), let end = UInt(bounds[1], radix: 16),
                start < end
            else { return nil }
            return (start, Int(end - start))
        }
    }

    private static func programPath() -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }

    private static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk.prefix(count))
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
