import Foundation

/// Two linear models over ``Evidence/features``: which sentence answers, and whether the best one answers at all.
///
/// `rank` is a conditional logit over the sentences of a question, `answers` a logistic regression on the best sentence against
/// questions that the text does not answer, both classes weighing the same. Fitted by `loadtest/fit-answers` on one half of the
/// articles of SQuAD's development sets and one half of some manuals' pages; `loadtest/answers` reports on the other halves.
struct EvidenceModel: Sendable {
    private let rank: [Double]
    private let answers: [Double]
    private let bias: Double
    /// Weights of the cosine between question and sentence; 0 without vectors.
    private let rankCosine: Double
    private let answersCosine: Double
    /// Weight of that cosine where the words agree, too: times `contextCoverage`.
    private let answersAgreement: Double

    private init(rank: [String: Double], answers: [String: Double], bias: Double) {
        self.rank = Evidence.names.map { rank[$0] ?? 0 }
        self.answers = Evidence.names.map { answers[$0] ?? 0 }
        self.bias = bias
        rankCosine = rank["cosine"] ?? 0
        answersCosine = answers["cosine"] ?? 0
        answersAgreement = answers["agreement"] ?? 0
    }

    /// Higher is better; a difference of 1 means e times the odds. Only comparable within one question.
    func score(_ evidence: Evidence, cosine: Double = 0) -> Double { dot(rank, evidence.features) + rankCosine * cosine }

    /// Probability that the best sentence of a question answers it, if half of all questions are answered.
    func probability(_ best: Evidence, cosine: Double = 0) -> Double {
        let vectors = (answersCosine + answersAgreement * best.features[Evidence.contextCoverage]) * cosine
        return 1 / (1 + exp(-(dot(answers, best.features) + vectors + bias)))
    }

    private func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

    static let lexical = EvidenceModel(
        rank: [
            "coverage": 2.07, "contextCoverage": 5.01, "nextCoverage": 2.56, "sourceCoverage": 2.72, "windowCoverage": 3.48,
            "names": -0.85, "numbers": 0.47, "typeMiss": -1.77, "reason": 2.10, "negationMissing": -2.43, "rank": 0.16,
            "scoreGap": -13.55, "length": 1.56, "news": -1.36, "placeCoverage": -2.11, "opening": 3.81,
        ],
        answers: [
            "coverage": 0.69, "contextCoverage": 3.74, "nextCoverage": 0.52, "sourceCoverage": -1.10, "names": 0.71,
            "numbers": 2.69, "rarestMissing": 0.67, "namesMissing": -0.80, "typeMiss": -0.08, "negationMissing": -3.27,
            "antonym": -1.56, "terms": 1.95, "placeCoverage": 2.20, "wish": 1.03,
        ],
        bias: -7.37)
    static let withVectors = EvidenceModel(
        rank: [
            "coverage": 0.03, "contextCoverage": 5.90, "nextCoverage": 2.01, "sourceCoverage": 3.03, "windowCoverage": 2.66,
            "names": -1.42, "numbers": 0.61, "typeMiss": -1.68, "reason": 2.06, "negationMissing": -1.13, "rank": 0.05,
            "scoreGap": -9.47, "length": 1.24, "news": -0.37, "placeCoverage": -6.25, "opening": 5.15, "cosine": 9.21,
        ],
        answers: [
            "coverage": -0.73, "contextCoverage": 6.40, "nextCoverage": -0.16, "sourceCoverage": -1.40, "names": 0.24,
            "numbers": 2.76, "rarestMissing": -0.40, "namesMissing": -0.93, "typeMiss": -0.22, "negationMissing": -2.93,
            "antonym": -1.92, "terms": 1.20, "placeCoverage": 1.05, "wish": 1.28, "cosine": 8.72, "agreement": -5.54,
        ],
        bias: -8.86)
}
