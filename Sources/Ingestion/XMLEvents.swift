import CLibXML2
import Model

/// Reads XML one event at a time, so that a sheet of 100 MB never becomes a tree.
///
/// libxml2 refuses what is nested deeper than 256 levels and entities that grow; nothing is fetched.
enum XMLEvents {
    enum Event {
        /// Names are local ones. An attribute's key is its local name too, with `r:` before it if it is of Office's relationships.
        case open(String, [String: String])
        case close(String)
        case text(String)
    }

    /// Calls `visit` for each event in document order.
    ///
    /// - Parameter part: What the bytes are, for an error.
    /// - Throws: `invalidArgument` for what is not well-formed; what `visit` throws.
    static func read(_ bytes: [UInt8], part: String, _ visit: (Event) throws(ClusterError) -> Void) throws(ClusterError) {
        guard bytes.count <= Int(Int32.max) else { throw ClusterError(.resourceExhausted, "\(part) has \(bytes.count) bytes, the limit is \(Int32.max)") }
        let options = XML_PARSE_NONET.rawValue | XML_PARSE_NOERROR.rawValue | XML_PARSE_NOWARNING.rawValue | XML_PARSE_COMPACT.rawValue
        let result: Result<Void, ClusterError> = unsafe bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress,
                let reader = unsafe base.withMemoryRebound(
                    to: CChar.self, capacity: buffer.count, { unsafe xmlReaderForMemory($0, CInt(buffer.count), nil, nil, CInt(bitPattern: options)) })
            else { return .failure(ClusterError(.invalidArgument, "\(part) is empty")) }
            defer { unsafe xmlFreeTextReader(reader) }
            do throws(ClusterError) {
                var code = unsafe xmlTextReaderRead(reader)
                while code == 1 {
                    if let event = unsafe event(reader) {
                        try visit(event)
                        if case .open(let name, _) = event, unsafe xmlTextReaderIsEmptyElement(reader) == 1 { try visit(.close(name)) }
                    }
                    code = unsafe xmlTextReaderRead(reader)
                }
                guard code == 0 else { throw ClusterError(.invalidArgument, "\(part) is not well-formed XML, or nested too deeply") }
                return .success(())
            } catch { return .failure(error) }
        }
        try result.get()
    }

    private static func event(_ reader: xmlTextReaderPtr) -> Event? {
        switch unsafe xmlReaderTypes(rawValue: UInt32(bitPattern: xmlTextReaderNodeType(reader))) {
        case XML_READER_TYPE_ELEMENT:
            let name = unsafe text(xmlTextReaderConstLocalName(reader))
            var attributes: [String: String] = [:]
            while unsafe xmlTextReaderMoveToNextAttribute(reader) == 1 {
                let isRelation = unsafe text(xmlTextReaderConstNamespaceUri(reader)).hasSuffix("/relationships")
                attributes[(isRelation ? "r:" : "") + (unsafe text(xmlTextReaderConstLocalName(reader)))] = unsafe text(xmlTextReaderConstValue(reader))
            }
            _ = unsafe xmlTextReaderMoveToElement(reader)
            return .open(name, attributes)
        case XML_READER_TYPE_END_ELEMENT: return .close(unsafe text(xmlTextReaderConstLocalName(reader)))
        // Of two words, each in bold, the space between may be a run of its own.
        case XML_READER_TYPE_TEXT, XML_READER_TYPE_CDATA, XML_READER_TYPE_WHITESPACE, XML_READER_TYPE_SIGNIFICANT_WHITESPACE:
            return .text(unsafe text(xmlTextReaderConstValue(reader)))
        default: return nil
        }
    }

    private static func text(_ string: UnsafePointer<xmlChar>?) -> String { unsafe string.map { unsafe String(cString: $0) } ?? "" }
}
