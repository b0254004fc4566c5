public import JSON

extension MarshalWriter {
    /// A value as Python's `json.loads` would give it.
    public mutating func json(_ value: JSON) {
        switch value {
        case .null: self.none()
        case .bool(let value): self.bool(value)
        case .int(let value): self.int(value)
        // Nobody here writes such numbers; as text they keep their digits.
        case .bigInteger(let digits): self.string(digits)
        case .double(let value): self.double(value)
        case .string(let value): self.string(value)
        case .array(let elements):
            self.openList(count: elements.count)
            for element in elements { self.json(element) }
        case .object(let object):
            self.openDictionary()
            for (key, value) in object {
                self.string(key)
                self.json(value)
            }
            self.closeDictionary()
        }
    }
}
