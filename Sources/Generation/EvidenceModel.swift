import Foundation

/// Two linear models over ``Evidence/features``: which sentence answers, and whether the best one answers at all.
///
/// `rank` is a conditional logit over the sentences of a question, `answers` a logistic regression on the best sentence against
/// questions that the text does not answer, both classes weighing the same. Fitted by `loadtest/fit-answers` on one half of the
/// articles of SQuAD's development sets; `loadtest/answers` reports on the other half.
struct EvidenceModel: Sendable {
    private let rank: [Double]
    private let answers: [Double]
    private let bias: Double
    /// Weights of the cosine between question and sentence; 0 without vectors.
    private let rankCosine: Double
    private let answersCosine: Double

    private init(rank: [String: Double], answers: [String: Double], bias: Double) {
        self.rank = Evidence.names.map { rank[$0] ?? 0 }
        self.answers = Evidence.names.map { answers[$0] ?? 0 }
        self.bias = bias
        rankCosine = rank["cosine"] ?? 0
        answersCosine = answers["cosine"] ?? 0
    }

    /// Higher is better; a difference of 1 means e times the odds. Only comparable within one question.
    func score(_ evidence: Evidence, cosine: Double = 0) -> Double { dot(rank, evidence.features) + rankCosine * cosine }

    /// Probability that the best sentence of a question answers it, if half of all questions are answered.
    func probability(_ best: Evidence, cosine: Double = 0) -> Double {
        1 / (1 + exp(-(dot(answers, best.features) + answersCosine * cosine + bias)))
    }

    private func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

    // FIT-BEGIN
    static let lexical = EvidenceModel(
        rank: [
            "coverage": 2.55, "contextCoverage": 4.91, "nextCoverage": 1.97, "sourceCoverage": 2.33, "windowCoverage": 3.51, "names":
            -0.8, "numbers": 1.56, "typeMiss": -1.69, "reason": 1.81, "negationMissing": -2.11, "rank": 0.23, "scoreGap": -13.67,
            "length": 2.19, "news": -2.02,
        ],
        answers: [
            "coverage": 1.11, "contextCoverage": 1.95, "nextCoverage": 0.91, "sourceCoverage": -2.68, "names": 0.63, "numbers": 2.2,
            "rarestMissing": -0.18, "namesMissing": -0.65, "typeMiss": -0.36, "negationMissing": -3.33, "antonym": -1.79, "terms": 1.75,
        ],
        bias: -4.02)
    static let withVectors = EvidenceModel(
        rank: [
            "coverage": 0.8, "contextCoverage": 5.75, "nextCoverage": 1.79, "sourceCoverage": 2.82, "windowCoverage": 2.89, "names":
            -1.27, "numbers": 1.44, "typeMiss": -1.77, "reason": 1.71, "negationMissing": -2.04, "rank": 0.32, "scoreGap": -9.48,
            "length": 1.91, "news": -1.33, "cosine": 5.83,
        ],
        answers: [
            "coverage": -0.08, "contextCoverage": 1.75, "nextCoverage": 0.73, "sourceCoverage": -2.25, "names": 0.44, "numbers": 2.19,
            "rarestMissing": -0.42, "namesMissing": -0.63, "typeMiss": -0.42, "negationMissing": -3.36, "antonym": -2.09, "terms": 0.98,
            "cosine": 3.99,
        ],
        bias: -5.04)
    // FIT-END
}
