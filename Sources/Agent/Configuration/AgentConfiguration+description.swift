// Printed or dumped, whole or in part, a configuration tells where it points and never its secrets.

extension AgentConfiguration: CustomStringConvertible, CustomReflectable {
    public var description: String { "AgentConfiguration(runID: \(self.runID), podIndex: \(self.podIndex))" }
    public var customMirror: Mirror {
        Mirror(self, children: ["runID": self.runID, "podIndex": self.podIndex, "redis": self.redis])
    }
}

extension RedisConfiguration: CustomStringConvertible, CustomReflectable {
    public var description: String { "RedisConfiguration(\(self.address), database: \(self.database))" }
    public var customMirror: Mirror { Mirror(self, children: ["address": self.address, "database": self.database]) }
}
