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

    static let lexical = EvidenceModel(
        rank: [
            "coverage": 2.64, "contextCoverage": 5.05, "nextCoverage": 2.08, "sourceCoverage": 2.06, "windowCoverage": 3.80,
            "names": -0.93, "numbers": 1.11, "typeMiss": -1.66, "reason": 1.93, "negationMissing": -2.46, "rank": 0.34,
            "scoreGap": -10.80, "length": 1.69, "news": -1.53,
        ],
        answers: [
            "coverage": 1.31, "contextCoverage": 3.00, "nextCoverage": 0.72, "sourceCoverage": -2.01, "names": 0.32,
            "numbers": 2.44, "rarestMissing": 0.44, "namesMissing": -0.84, "typeMiss": -0.17, "negationMissing": -3.34,
            "antonym": -1.76, "terms": 1.69,
        ],
        bias: -5.61)
    static let withVectors = EvidenceModel(
        rank: [
            "coverage": 0.88, "contextCoverage": 5.93, "nextCoverage": 1.94, "sourceCoverage": 2.52, "windowCoverage": 3.28,
            "names": -1.41, "numbers": 1.02, "typeMiss": -1.69, "reason": 1.89, "negationMissing": -2.43, "rank": 0.43,
            "scoreGap": -6.66, "length": 1.51, "news": -0.91, "cosine": 5.73,
        ],
        answers: [
            "coverage": 0.01, "contextCoverage": 3.26, "nextCoverage": 0.07, "sourceCoverage": -1.87, "names": 0.05,
            "numbers": 2.56, "rarestMissing": 0.07, "namesMissing": -0.88, "typeMiss": -0.25, "negationMissing": -3.45,
            "antonym": -2.12, "terms": 1.05, "cosine": 4.13,
        ],
        bias: -6.42)
}
