import Glibc

/// Becoming another user (`celery/platforms.py`, `maybe_drop_privileges`). Only before the process has threads or files of its own.
enum Privileges {
    struct Failure: StartupError {
        var message: String
        var exitStatus: ExitStatus { .configuration }
    }

    /// - Parameters:
    ///   - user: name or number; their own group is taken if `group` is `nil`.
    ///   - group: name or number.
    static func drop(user: String?, group: String?) throws(Failure) {
        guard user != nil || group != nil else { return }
        var groupID = try group.map(Self.groupID)
        guard let user else {
            if let groupID { try Self.check("--gid", setgid(groupID)) }
            return
        }
        guard let account = Self.account(user) else {
            throw Failure(message: "--uid: found \(Redaction.quoted(user)), expected a user that exists")
        }
        groupID = groupID ?? account.group
        // To be who one is already takes no right.
        if account.user == geteuid(), groupID == getegid() { return }
        try Self.check(group == nil ? "--uid" : "--gid", setgid(groupID ?? account.group))
        try Self.check("--uid", initgroups(account.name, groupID ?? account.group))
        try Self.check("--uid", setuid(account.user))
        // Once given away, root's rights must not come back.
        if account.user != 0, setuid(0) == 0 {
            throw Failure(message: "--uid: found a process that can become root again, expected one that can't")
        }
    }

    private static func account(_ user: String) -> (name: String, user: uid_t, group: gid_t)? {
        let entry = uid_t(user).map { getpwuid($0) } ?? getpwnam(user)
        return entry.map { (String(cString: $0.pointee.pw_name), $0.pointee.pw_uid, $0.pointee.pw_gid) }
    }

    private static func groupID(_ group: String) throws(Failure) -> gid_t {
        if let number = gid_t(group) { return number }
        guard let entry = getgrnam(group) else {
            throw Failure(message: "--gid: found \(Redaction.quoted(group)), expected a group that exists")
        }
        return entry.pointee.gr_gid
    }

    private static func check(_ option: String, _ result: Int32) throws(Failure) {
        guard result != 0 else { return }
        let reason = String(cString: strerror(errno))
        throw Failure(message: "\(option): found \(reason), expected the rights of root, which it takes")
    }
}
