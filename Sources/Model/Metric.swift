/// How two vectors are compared. Scores mean what they mean in Qdrant's API.
package enum Metric: String, Sendable, CaseIterable {
    /// Vectors are brought to unit length when they are stored and when they are asked; the score is the inner product. Higher is better.
    case cosine
    /// The inner product. Higher is better.
    case dot
    /// The Euclidean distance. Lower is better.
    case euclid

    package var higherIsBetter: Bool { self != .euclid }

    /// Whether score `a` ranks before score `b`.
    package func isBetter(_ a: Float, than b: Float) -> Bool { higherIsBetter ? a > b : a < b }

    /// What counts as the score of vectors whose score is no number, as it can be when finite elements' products overflow.
    package var worstScore: Float { higherIsBetter ? -.infinity : .infinity }
}
