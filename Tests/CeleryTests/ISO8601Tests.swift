import Celery
import Testing

@Suite("Times as isoparse reads them")
struct ISO8601Tests {
    @Test(
        "forms of one instant",
        arguments: [
            "2026-11-23T08:48:17+00:00", "2026-11-23T08:48:17Z", "2026-11-23 08:48:17", "20261123T084817Z",
            "2026-11-23T09:48:17+01:00", "2026-11-23T03:18:17-0530", "2026-11-23T08:48:17.000000",
            "2026-W48-1T08:48:17",
            "2026W481T084817", "2026-327T08:48:17", "2026-11-23T10:48:17+02",
        ]
    )
    func forms(text: String) {
        #expect(ISO8601.parse(text) == 1_795_423_697)
    }

    @Test("dates alone, fractions and the ends of the calendar")
    func others() {
        #expect(ISO8601.parse("1970-01-01") == 0)
        #expect(ISO8601.parse("1970") == 0)
        #expect(ISO8601.parse("1970-02") == 2_678_400)
        #expect(ISO8601.parse("1969-12-31T23:59:59.5") == -0.5)
        #expect(ISO8601.parse("2024-02-29T24:00") == ISO8601.parse("2024-03-01"))
        #expect(ISO8601.parse("2026-11-23T08:48:17,243959") == 1_795_423_697.243959)
        #expect(ISO8601.parse("2026-11-23T08:48:17.2439591234") == 1_795_423_697.243959)
        #expect(ISO8601.parse("0001-01-01T00:00:00") == -62_135_596_800)
    }

    @Test(
        "what is no time is refused",
        arguments: [
            "", "soon", "2026-13-01", "2026-02-29", "2026-11-23T25:00", "2026-11-23T08:60", "2026-11-23T08:48:17+24:00",
            "2026-11-23T08:48:17 UTC", "2026-11-23T", "2026-11-23T08:48:17.", "12345", "2026-W54", "2026-366",
            "0000-01-01",
        ]
    )
    func refusals(text: String) {
        #expect(ISO8601.parse(text) == nil)
    }

    @Test(
        "times are written as isoformat writes them",
        arguments: [0, 0.5, 1_795_423_697.243959, -86_400.25, 951_782_400]
    )
    func roundTrip(time: EpochSeconds) {
        #expect(ISO8601.parse(ISO8601.format(time)) == time)
    }

    @Test func format() {
        #expect(ISO8601.format(1_795_423_697.243959) == "2026-11-23T08:48:17.243959+00:00")
        #expect(ISO8601.format(951_782_400) == "2000-02-29T00:00:00+00:00")
    }
}
