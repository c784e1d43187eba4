import Embedding
import Foundation
import Generation
import Model
import OutboundHTTP

/// The servers of models that the settings name: those under `embedding` and `generation`, and how they are reached, under `models`.
struct ModelSettings {
    let configuration: Configuration

    /// - Throws: ``ConfigurationError``.
    func embedder(url: String) throws -> RemoteEmbedder {
        var remote = RemoteEmbedderConfiguration(
            endpoint: try endpoint("embedding", url), model: configuration.text("embedding.model"), dimension: configuration.number("embedding.dimension"))
        remote.maximumTokens = configuration.number("embedding.maximum_tokens")
        remote.sendsDimension = configuration.text("embedding.send_dimension") == "yes"
        remote.maximumBatchTexts = configuration.number("embedding.batch_texts")
        remote.maximumBackOff = .seconds(configuration.number("embedding.longest_wait_seconds"))
        return try RemoteEmbedder(configuration: remote, client: try client())
    }

    /// - Returns: `nil` without a server.
    /// - Throws: ``ConfigurationError``.
    func languageModel() throws -> RemoteLanguageModel? {
        let url = configuration.text("generation.url")
        guard !url.isEmpty else { return nil }
        var model = RemoteLanguageModel.Configuration(endpoint: try endpoint("generation", url), model: configuration.text("generation.model"))
        model.tokenLimitField = configuration.text("generation.token_limit_field")
        model.sendsTemperature = configuration.text("generation.send_temperature") == "yes"
        model.longestRetryDelay = .seconds(configuration.number("generation.longest_wait_seconds"))
        return RemoteLanguageModel(client: try client(), configuration: model)
    }

    private func endpoint(_ section: String, _ url: String) throws -> ModelEndpoint {
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
            throw ConfigurationError("\(section).url must begin with http:// or https://, found \"\(url)\"")
        }
        let model = configuration.text("\(section).model")
        guard !model.isEmpty else { throw ConfigurationError("\(section).model is missing: \(section).url \(url) needs the name of a model there") }
        var endpoint = ModelEndpoint(base: url, credential: try credential(section))
        if configuration.text("\(section).api") == "azure" {
            let deployment = first("\(section).deployment", or: model)
            let isName: (Character) -> Bool = { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
            guard deployment.allSatisfy(isName), deployment.count <= 64 else {
                throw ConfigurationError("\(section).deployment must have at most 64 letters, digits, - _ and ., found \"\(deployment)\"")
            }
            endpoint.api = .azure(deployment: deployment, version: configuration.text("\(section).api_version"))
        }
        return endpoint
    }

    private func credential(_ section: String) throws -> ModelEndpoint.Credential {
        let given = ["api_key", "token", "token_file"].map { "\(section).\($0)" }.filter { !configuration.text($0).isEmpty }
        guard given.count < 2 else { throw ConfigurationError("\(given.joined(separator: " and ")) are given: only one can count") }
        let header = configuration.text("\(section).key_header")
        guard header.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }) else {
            throw ConfigurationError("\(section).key_header must be a header's name, found \"\(header)\"")
        }
        guard let setting = given.first else { return .none }
        let text = configuration.text(setting)
        switch setting {
        case "\(section).api_key": return .key(text, header: header.isEmpty ? nil : header)
        case "\(section).token": return .token(text)
        default:
            do throws(ClusterError) { _ = try ModelEndpoint.token(in: text) } catch { throw ConfigurationError("\(setting): \(error.message)") }
            return .tokenFile(text)
        }
    }

    private func client() throws -> HTTPClient {
        var client = HTTPClientConfiguration()
        let proxy = configuration.text("models.proxy")
        if !proxy.isEmpty {
            guard ["http://", "https://", "socks5://", "socks5h://"].contains(where: proxy.hasPrefix) else {
                throw ConfigurationError("models.proxy must begin with http://, https://, socks5:// or socks5h://")  // it may hold a password
            }
            client.proxy = proxy
            client.noProxy = configuration.text("models.no_proxy")
        }
        let file = configuration.text("models.ca_file")
        if !file.isEmpty {
            guard FileManager.default.isReadableFile(atPath: file) else { throw ConfigurationError("models.ca_file \(file) cannot be read") }
            client.certificateAuthorityFile = file
        }
        return HTTPClient(configuration: client)
    }

    private func first(_ key: String, or other: String) -> String { configuration.text(key).isEmpty ? other : configuration.text(key) }
}
