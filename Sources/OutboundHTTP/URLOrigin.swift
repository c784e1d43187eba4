import CCurl

/// Reads the part of a URL that names a server, as libcurl will.
enum URLOrigin {
    /// `scheme://host:port` of an absolute `http` or `https` URL, the port written out.
    static func of(_ url: String) throws(HTTPClientError) -> String {
        guard !url.utf8.contains(0) else { throw .invalidRequest("URL with a zero byte") }
        guard let handle = unsafe curl_url() else { throw .invalidRequest("libcurl has no memory for a URL") }
        defer { unsafe curl_url_cleanup(handle) }
        let code = unsafe curl_url_set(handle, CURLUPART_URL, url, 0)
        guard code == CURLUE_OK else {
            throw .invalidRequest("URL \(url.debugDescription): \(unsafe String(cString: curl_url_strerror(code)))")
        }
        func part(_ part: CURLUPart) -> String {
            var value: UnsafeMutablePointer<CChar>?
            guard unsafe curl_url_get(handle, part, &value, CUnsignedInt(CURLU_DEFAULT_PORT)) == CURLUE_OK, let value = unsafe value else {
                return ""
            }
            defer { unsafe curl_free(value) }
            return unsafe String(cString: value)
        }
        let scheme = part(CURLUPART_SCHEME)
        guard scheme == "http" || scheme == "https" else {
            throw .invalidRequest("URL \(url.debugDescription): scheme \(scheme), only http and https are served")
        }
        return "\(scheme)://\(part(CURLUPART_HOST)):\(part(CURLUPART_PORT))"
    }
}
