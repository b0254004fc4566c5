import CeleryWorker
import Logging

// The values of Celery's options.

extension ValueFormat where Value == [String] {
    /// Names with commas between them (`celery/utils/text.py`, `str_to_list`).
    static var list: Self {
        Self(expected: "names with commas between them") { text in
            let names = text.split(separator: ",").map { $0.trimmed }.filter { !$0.isEmpty }
            return names.isEmpty ? nil : names
        }
    }
}

extension ValueFormat where Value == Double {
    /// Seconds, fractions allowed; 0 is taken for none where that means something.
    static var seconds: Self {
        Self(expected: "a number of seconds, 0 or more") { text in
            Double(text).flatMap { $0.isFinite && $0 >= 0 ? $0 : nil }
        }
    }
}

extension ValueFormat where Value == AutoscaleBounds {
    /// Two numbers in either order, or the larger one alone (`celery/bin/worker.py`, `Autoscale`).
    static var autoscale: Self {
        Self(expected: "MAX,MIN, two whole numbers of which one is above 0, or MAX alone") { text in
            let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0.trimmed) ?? -1 }
            guard (1...2).contains(numbers.count), let maximum = numbers.max(), let minimum = numbers.min(),
                minimum >= 0, maximum > 0
            else { return nil }
            return AutoscaleBounds(minimum: numbers.count == 1 ? 0 : minimum, maximum: maximum)
        }
    }
}

extension ValueFormat where Value == CeleryAppConfiguration.LogLevel {
    static var logLevel: Self {
        Self(expected: "DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL") { CeleryAppConfiguration.LogLevel($0) }
    }
}

extension ValueFormat where Value == UInt32 {
    /// Octal digits.
    static var mode: Self {
        Self(expected: "an octal number of at most 0777") { text in
            UInt32(text, radix: 8).flatMap { $0 <= 0o777 ? $0 : nil }
        }
    }
}

extension ValueFormat where Value == PoolKind {
    /// `celery/concurrency/__init__.py` has the names.
    static var pool: Self {
        Self(
            expected: "prefork or solo: tasks run in Python processes beside the agent; "
                + "for threads, gevent or eventlet use celery worker"
        ) { text in
            switch text {
            case "prefork", "processes": .prefork
            case "solo": .solo
            default: nil
            }
        }
    }
}

extension ValueFormat where Value == String {
    /// One of these words.
    static func word(_ words: [String], else why: String = "") -> Self {
        Self(expected: words.joined(separator: " or ") + why) { words.contains($0) ? $0 : nil }
    }
}

extension StringProtocol {
    /// Without the white space at both ends.
    var trimmed: String {
        String(self.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
