import Model

/// Turns texts into vectors.
///
/// A collection records `model` and `dimension`; vectors of different models must never be compared.
package protocol Embedder: Sendable {
    /// The model's name as schemas record it, for example `all-MiniLM-L6-v2`.
    var model: String { get }
    /// Elements of each vector.
    var dimension: Int { get }
    /// The longest text that is seen whole, in tokens, special ones included; the rest of a longer one is ignored.
    var maximumTokens: Int { get }
    /// How many tokens `text` has, special ones included and without the cut at `maximumTokens`; never too few.
    func tokenCount(_ text: String) -> Int
    /// One vector a text, in order, each of unit length.
    ///
    /// - Throws: `invalidArgument` for texts the model refuses, `unavailable` or `deadlineExceeded` when it cannot be reached,
    ///   `failedPrecondition` for a wrong dimension, `cancelled`.
    func embed(_ texts: [String]) async throws(ClusterError) -> [[Float]]
}
