import CNGHTTP2

/// Where the C callbacks leave what they saw until ``HTTP2Session`` collects it, and take from what is to be sent.
final class SessionRecord {
    let maximumHeaderListBytes: Int
    var events: [HTTP2Event] = []
    /// The library's words for what went wrong last.
    var complaint: String?
    /// Bytes for the peer.
    var output: [UInt8] = []
    /// The library is told to pause once `output` holds so many bytes.
    var outputLimit = 0
    var bodies: [HTTP2StreamID: OutgoingBody] = [:]
    /// What is left of all bodies.
    var pendingBytes = 0
    /// Of a server's end only.
    var inspector: FrameInspector?
    /// Whether the peer has answered the first settings.
    var areSettingsAcknowledged = false
    /// Bytes of bodies sent since the last look for stalled ones.
    var takenBytes = 0
    /// Whether the bytes that came last change the windows of all streams, and one of them was too large for that.
    var changesWindows = false
    var hasWindowOverflow = false
    /// A header list is so large that reading it to its end is work for nothing.
    private(set) var isHeaderListAbsurd = false
    /// Address of the bytes that are being received: chunks of data are named by their offsets from it.
    var inputAddress: UInt = 0
    private var headers: [HTTP2Header] = []
    private var headerListBytes = 0

    init(maximumHeaderListBytes: Int) { self.maximumHeaderListBytes = maximumHeaderListBytes }

    static func behind(_ userData: UnsafeMutableRawPointer?) -> SessionRecord {
        unsafe Unmanaged<SessionRecord>.fromOpaque(userData!).takeUnretainedValue()
    }

    func dropBody(of stream: HTTP2StreamID) {
        guard let body = bodies.removeValue(forKey: stream) else { return }
        pendingBytes -= body.byteCount
    }

    func beginHeaders() {
        headers = []
        headerListBytes = 0
    }

    func header(_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) {
        headerListBytes += name.count + value.count + 32
        guard headerListBytes <= maximumHeaderListBytes else {
            headers = []
            isHeaderListAbsurd = isHeaderListAbsurd || headerListBytes > 4 * maximumHeaderListBytes
            return
        }
        unsafe headers.append(HTTP2Header(String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
    }

    func endHeaders(_ stream: HTTP2StreamID, endsStream: Bool) {
        if headerListBytes <= maximumHeaderListBytes {
            events.append(.headers(stream: stream, headers, endsStream: endsStream))
        } else {
            events.append(.headerListTooLarge(stream: stream, byteCount: headerListBytes, endsStream: endsStream))
        }
        headers = []
    }

    /// Answers the library's question how much of a body it may send now.
    func offer(_ stream: HTTP2StreamID, upTo limit: Int, session: OpaquePointer?, flags: UnsafeMutablePointer<UInt32>) -> Int {
        guard let body = bodies[stream] else { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }  // reset meanwhile
        let count = min(limit, body.byteCount)
        if count == 0 && !body.isEnded {
            bodies[stream]!.isDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        if count > 0 { unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue }
        if body.isEnded && count == body.byteCount {
            unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
            if !body.trailers.isEmpty {
                unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                // The stream is open, so this can fail only for want of memory.
                let code = unsafe withNameValues(body.trailers) { unsafe nghttp2_submit_trailer(session, stream, $0, $1) }
                if code != 0 { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
            }
        }
        return count
    }

    /// Writes a frame of data: its header as the library made it, its payload straight from the body.
    func write(_ stream: HTTP2StreamID, frameHeader: UnsafeBufferPointer<UInt8>, count: Int) -> CInt {
        guard bodies[stream] != nil else { return CInt(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
        unsafe output.append(contentsOf: frameHeader)
        bodies[stream]!.take(count, into: &output)
        takenBytes += count
        pendingBytes -= count
        return output.count < outputLimit ? 0 : CInt(NGHTTP2_ERR_PAUSE.rawValue)
    }
}

/// Calls `body` with `headers` as the library wants them: pointers into one block of bytes, which it copies.
func withNameValues<Result>(
    _ headers: [HTTP2Header], _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result
) -> Result {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count })
    for header in headers {
        bytes.append(contentsOf: header.name.utf8)
        bytes.append(contentsOf: header.value.utf8)
    }
    return unsafe bytes.withUnsafeMutableBufferPointer { bytes in
        unsafe withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: headers.count) { fields in
            var position = bytes.baseAddress
            for (index, header) in headers.enumerated() {
                let name = unsafe position
                let value = unsafe position.map { unsafe $0 + header.name.utf8.count }
                unsafe position = unsafe value.map { unsafe $0 + header.value.utf8.count }
                unsafe fields.initializeElement(
                    at: index,
                    to: nghttp2_nv(
                        name: name, value: value, namelen: header.name.utf8.count, valuelen: header.value.utf8.count,
                        flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
            }
            return unsafe body(UnsafePointer(fields.baseAddress), headers.count)
        }
    }
}
