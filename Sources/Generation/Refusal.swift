/// What an answer says when the sources do not answer.
enum Refusal {
    /// The exact sentence: extractive answers use it, models are told to.
    static let sentence = "The sources do not answer this question."
}
