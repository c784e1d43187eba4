import Foundation
import Model

/// Where a server of models is and how it is asked: OpenAI's API, as many servers have it, or Azure OpenAI's deployments.
///
/// - SeeAlso: Microsoft, "Azure OpenAI in Microsoft Foundry Models REST API reference"; OpenAI, "API reference".
package struct ModelEndpoint: Hashable, Sendable {
    package enum API: Hashable, Sendable {
        /// `<base>/<operation>`; the body names the model. Azure's `…/openai/v1` is one of these, too.
        case openAI
        /// `<base>/openai/deployments/<deployment>/<operation>?api-version=<version>`.
        case azure(deployment: String, version: String)
    }

    package enum Credential: Hashable, Sendable {
        case none
        /// An API key: `Authorization: Bearer` of OpenAI's API, `api-key` of Azure's; or as it is in the header named.
        case key(String, header: String? = nil)
        /// `Authorization: Bearer`, say a token of Entra ID.
        case token(String)
        /// The same from a file that somebody else renews; it is read for each request.
        case tokenFile(String)
    }

    /// The API's root, with its version: `https://api.openai.com/v1`; of Azure's the resource's: `https://name.openai.azure.com`. A query is kept.
    package var base: String
    package var api: API
    package var credential: Credential

    package init(base: String, api: API = .openAI, credential: Credential = .none) {
        self.base = base
        self.api = api
        self.credential = credential
    }

    /// - Parameter operation: `embeddings`, `chat/completions`.
    package func url(_ operation: String) -> String {
        let parts = base.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var path = String(parts[0])
        while path.hasSuffix("/") { path.removeLast() }
        var query = parts.count > 1 ? [String(parts[1])] : []
        switch api {
        case .openAI: break
        case .azure(let deployment, let version):
            // What the portal shows may end with this already.
            if !path.hasSuffix("/openai") { path += "/openai" }
            path += "/deployments/\(deployment)"
            query.append("api-version=\(version)")
        }
        return path + "/" + operation + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
    }

    /// The fields that say who asks.
    ///
    /// - Throws: `failedPrecondition` naming the file if a token cannot be read.
    package func authorization() throws(ClusterError) -> HTTPHeaders {
        switch credential {
        case .none: return [:]
        case .key(let key, let header?): return [header: key]
        case .key(let key, nil): return api == .openAI ? ["Authorization": "Bearer \(key)"] : ["api-key": key]
        case .token(let token): return ["Authorization": "Bearer \(token)"]
        case .tokenFile(let file): return ["Authorization": "Bearer \(try Self.token(in: file))"]
        }
    }

    /// - Throws: `failedPrecondition` unless the file holds one word.
    package static func token(in file: String) throws(ClusterError) -> String {
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw ClusterError(.failedPrecondition, "the token file \(file) cannot be read", reason: .modelServer)
        }
        let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard words.count == 1 else {
            throw ClusterError(.failedPrecondition, "the token file \(file) must hold one token, found \(words.count) words", reason: .modelServer)
        }
        return String(words[0])
    }
}
