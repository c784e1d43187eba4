import CLibXML2

/// A parsed HTML document, owned: freed once.
///
/// libxml2 repairs what is malformed; nothing is fetched, no entity is loaded.
@safe struct HTMLTree: ~Copyable {
    private let pointer: htmlDocPtr

    /// `nil` if there is nothing to make a tree of.
    ///
    /// - Parameters:
    ///   - bytes: At most `Int32.max`.
    ///   - encoding: A name that libxml2 knows; it counts more than what the document says.
    init?(_ bytes: [UInt8], encoding: String) {
        guard bytes.count <= Int(Int32.max) else { return nil }
        let parsed: htmlDocPtr? = unsafe bytes.withUnsafeBytes { buffer -> htmlDocPtr? in
            guard let base = buffer.baseAddress, let context = unsafe htmlCreateMemoryParserCtxt(base.assumingMemoryBound(to: CChar.self), CInt(buffer.count))
            else { return nil }
            defer { unsafe htmlFreeParserCtxt(context) }
            let options = HTML_PARSE_RECOVER.rawValue | HTML_PARSE_NOERROR.rawValue | HTML_PARSE_NOWARNING.rawValue | HTML_PARSE_NONET.rawValue
            _ = unsafe htmlCtxtUseOptions(context, CInt(bitPattern: options))
            // Without it the parser gives up the rest of a document below 256 levels. The tree is walked and freed without recursion.
            unsafe context.pointee.options |= CInt(bitPattern: XML_PARSE_HUGE.rawValue)
            if let handler = unsafe xmlFindCharEncodingHandler(encoding) { _ = unsafe xmlSwitchToEncoding(context, handler) }
            _ = unsafe htmlParseDocument(context)
            return unsafe context.pointee.myDoc
        }
        guard let parsed = unsafe parsed else { return nil }
        unsafe pointer = parsed
    }

    deinit { unsafe xmlFreeDoc(pointer) }

    /// What `walk` meets.
    enum Event {
        case open(HTMLElement)
        case close(name: String)
        case text([UInt8])
    }

    /// Calls `visit` for each element and text in document order; `false` from an `open` skips what is inside, and its `close`.
    borrowing func walk(_ visit: (Event) -> Bool) {
        guard let root = unsafe xmlDocGetRootElement(pointer) else { return }
        var node = unsafe root
        while true {
            if unsafe enter(node, visit), let child = unsafe node.pointee.children {
                unsafe node = child
                continue
            }
            // The next in document order; elements that end on the way are closed.
            while true {
                if unsafe node == root { return }
                if let next = unsafe node.pointee.next {
                    unsafe node = next
                    break
                }
                guard let parent = unsafe node.pointee.parent else { return }
                unsafe node = parent
                if unsafe node.pointee.type == XML_ELEMENT_NODE { _ = visit(.close(name: unsafe String(cString: node.pointee.name))) }
            }
        }
    }

    /// Reports one node. Returns whether to go to its children.
    private borrowing func enter(_ node: xmlNodePtr, _ visit: (Event) -> Bool) -> Bool {
        switch unsafe node.pointee.type {
        case XML_ELEMENT_NODE:
            let element = unsafe HTMLElement(node)
            guard visit(.open(element)) else { return false }
            if unsafe node.pointee.children == nil { _ = visit(.close(name: element.name)) }
            return true
        case XML_TEXT_NODE, XML_CDATA_SECTION_NODE:
            if let content = unsafe node.pointee.content { _ = visit(.text(unsafe bytes(of: content))) }
        default: break
        }
        return false
    }
}

/// An element's name and attributes, both in lower case as HTML has them.
struct HTMLElement {
    let name: String
    let attributes: [String: String]

    fileprivate init(_ node: xmlNodePtr) {
        unsafe name = String(cString: node.pointee.name)
        var attributes: [String: String] = [:]
        var next = unsafe node.pointee.properties
        while let attribute = unsafe next {
            let value = unsafe attribute.pointee.children?.pointee.content
            unsafe attributes[String(cString: attribute.pointee.name)] = unsafe value.map { String(decoding: unsafe bytes(of: $0), as: UTF8.self) } ?? ""
            unsafe next = attribute.pointee.next
        }
        self.attributes = attributes
    }

    /// The names in `class`, then `role`, in lower case.
    var classes: [String] { words(of: "class") + words(of: "role") }
    /// The names in `id`, in lower case.
    var ids: [String] { words(of: "id") }

    private func words(of attribute: String) -> [String] {
        (attributes[attribute] ?? "").lowercased().split(whereSeparator: \.isWhitespace).map(String.init)
    }
}

/// A C string of libxml2's as bytes.
private func bytes(of string: UnsafeMutablePointer<xmlChar>) -> [UInt8] {
    unsafe Array(UnsafeBufferPointer(start: string, count: Int(xmlStrlen(string))))
}
