/// Seconds since 1970-01-01T00:00:00Z.
public typealias EpochSeconds = Double

/// The times that Celery's clients write into `eta` and `expires`, in all forms that `dateutil.parser.isoparse` reads (`celery/utils/time.py`,
/// `maybe_iso8601`). A time without a zone is UTC, as `maybe_make_aware` has it.
public enum ISO8601 {
    /// Reads a date, or a date and a time; `nil` where the text is neither.
    public static func parse(_ text: String) -> EpochSeconds? {
        var reader = Reader(bytes: Array(text.utf8))
        guard let days = reader.date() else { return nil }
        guard !reader.isAtEnd else { return EpochSeconds(days * 86_400) }
        // Any one character may stand between date and time.
        guard reader.skip() else { return nil }
        guard let seconds = reader.time(), let offset = reader.zone(), reader.isAtEnd else { return nil }
        return EpochSeconds(days * 86_400) + seconds - EpochSeconds(offset)
    }

    /// As Python's `datetime.isoformat()` writes a time in UTC: `2026-11-23T08:48:17.243959+00:00`, no fraction where it is zero.
    public static func format(_ time: EpochSeconds) -> String {
        let microseconds = Int64((time * 1_000_000).rounded())
        let (wholeSeconds, fraction) = microseconds.floorDivided(by: 1_000_000)
        var text = Self.dateAndTime(wholeSeconds)
        if fraction != 0 { text += ".\(padded(Int(fraction), 6))" }
        return text + "+00:00"
    }

    /// A time in UTC with milliseconds, that does not say its zone: `2026-11-23T08:48:17.243`.
    public static func format(milliseconds: Int64) -> String {
        let (seconds, fraction) = milliseconds.floorDivided(by: 1000)
        return "\(Self.dateAndTime(seconds)).\(Self.padded(Int(fraction), 3))"
    }

    private static func dateAndTime(_ seconds: Int64) -> String {
        let (days, secondOfDay) = seconds.floorDivided(by: 86_400)
        let (year, month, day) = Calendar.civil(fromDays: Int(days))
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T"
            + "\(padded(Int(secondOfDay) / 3600, 2)):\(padded(Int(secondOfDay) / 60 % 60, 2)):\(padded(Int(secondOfDay) % 60, 2))"
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = self.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

/// The proleptic Gregorian calendar, by the usual arithmetic on years that begin in March.
private enum Calendar {
    static func days(year: Int, month: Int, day: Int) -> Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    static func length(ofMonth month: Int, year: Int) -> Int {
        switch month {
        case 2: Self.isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    /// 0 is Monday; 1970-01-01 was a Thursday.
    static func weekday(ofDays days: Int) -> Int { ((days % 7) + 10) % 7 }
}

private struct Reader {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { self.position == self.bytes.count }

    /// Days since 1970-01-01, from `YYYY[-]MM[-]DD`, `YYYY-MM`, `YYYY`, `YYYY[-]DDD` or `YYYY[-]Www[[-]D]`.
    mutating func date() -> Int? {
        guard let year = self.number(4), year >= 1 else { return nil }
        guard self.peek() != nil else { return Calendar.days(year: year, month: 1, day: 1) }
        let hasDashes = self.take("-")
        if self.take("W") { return self.weekDate(year: year, hasDashes: hasDashes) }
        let digits = self.countDigits()
        if digits == 3 || (!hasDashes && digits == 3) {
            guard let day = self.number(3), (1...(Calendar.isLeap(year) ? 366 : 365)).contains(day) else { return nil }
            return Calendar.days(year: year, month: 1, day: 1) + day - 1
        }
        guard let month = self.number(2), (1...12).contains(month) else { return nil }
        if hasDashes {
            guard self.take("-") else { return self.isAtEnd ? Calendar.days(year: year, month: month, day: 1) : nil }
        }
        guard let day = self.number(2), (1...Calendar.length(ofMonth: month, year: year)).contains(day) else {
            return nil
        }
        return Calendar.days(year: year, month: month, day: day)
    }

    private mutating func weekDate(year: Int, hasDashes: Bool) -> Int? {
        guard let week = self.number(2), (1...53).contains(week) else { return nil }
        var weekday = 1
        let hasDay = hasDashes ? self.take("-") : self.countDigits() == 1
        if hasDay {
            guard let day = self.number(1), (1...7).contains(day) else { return nil }
            weekday = day
        }
        // Week 1 is the one that holds January 4.
        let fourth = Calendar.days(year: year, month: 1, day: 4)
        return fourth - Calendar.weekday(ofDays: fourth) + (week - 1) * 7 + weekday - 1
    }

    /// Seconds since midnight, from `hh[[:]mm[[:]ss[(.|,)f…]]]`; `24:00` is the end of the day.
    mutating func time() -> Double? {
        guard let hour = self.number(2), hour <= 24 else { return nil }
        var minute = 0
        var second = 0
        var fraction = 0.0
        let hasColons = self.peek() == UInt8(ascii: ":")
        if self.nextField(hasColons: hasColons) {
            guard let value = self.number(2), value < 60 else { return nil }
            minute = value
            if self.nextField(hasColons: hasColons) {
                guard let value = self.number(2), value < 60 else { return nil }
                second = value
                if self.take(".") || self.take(",") {
                    guard let value = self.fraction() else { return nil }
                    fraction = value
                }
            }
        }
        guard hour < 24 || (minute == 0 && second == 0 && fraction == 0) else { return nil }
        return Double(hour * 3600 + minute * 60 + second) + fraction
    }

    private mutating func nextField(hasColons: Bool) -> Bool {
        hasColons ? self.take(":") : self.countDigits() > 0
    }

    /// Python keeps six digits of a fraction.
    private mutating func fraction() -> Double? {
        var value = 0.0
        var scale = 0.1
        var count = 0
        while let byte = self.peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            if count < 6 { value += Double(byte - UInt8(ascii: "0")) * scale }
            scale /= 10
            count += 1
            self.position += 1
        }
        return count > 0 ? (value * 1_000_000).rounded() / 1_000_000 : nil
    }

    /// Seconds east of UTC; 0 where no zone is named.
    mutating func zone() -> Int? {
        if self.isAtEnd || self.take("Z") || self.take("z") { return 0 }
        let sign: Int
        if self.take("+") { sign = 1 } else if self.take("-") { sign = -1 } else { return nil }
        guard let hours = self.number(2), hours < 24 else { return nil }
        var seconds = hours * 3600
        if self.take(":") || self.countDigits() > 0 {
            guard let minutes = self.number(2), minutes < 60 else { return nil }
            seconds += minutes * 60
            if self.take(":") {
                guard let extra = self.number(2), extra < 60 else { return nil }
                seconds += extra
            }
        }
        return sign * seconds
    }

    private mutating func number(_ width: Int) -> Int? {
        guard self.position + width <= self.bytes.count else { return nil }
        var value = 0
        for byte in self.bytes[self.position..<self.position + width] {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        self.position += width
        return value
    }

    private func countDigits() -> Int {
        self.bytes[self.position...].prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
    }

    private func peek() -> UInt8? { self.isAtEnd ? nil : self.bytes[self.position] }

    mutating func skip() -> Bool {
        guard !self.isAtEnd else { return false }
        self.position += 1
        return true
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard self.peek() == UInt8(ascii: character) else { return false }
        self.position += 1
        return true
    }
}
