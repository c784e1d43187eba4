/// What a client verb could not do, in words for whoever typed the command.
package struct ConsoleError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    /// The HTTP status, if the cluster answered.
    package let status: Int?

    package init(_ description: String, status: Int? = nil) {
        self.description = description
        self.status = status
    }
}
