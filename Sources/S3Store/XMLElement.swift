import CLibXML2

/// An element of a reply: its name without a namespace, its text, its child elements.
package struct XMLElement {
    package let name: String
    package let text: String
    let children: [XMLElement]

    func first(_ name: String) -> XMLElement? { children.first { $0.name == name } }
    func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }
    package func text(_ name: String) -> String? { first(name)?.text }

    /// Replies are four levels deep; a deeper one is none of S3's.
    private static let maximumDepth = 16

    /// - Returns: The document's root, or `nil` if the bytes are not one well-formed document without a document type.
    package init?(decoding bytes: [UInt8]) {
        let options = CInt(XML_PARSE_NONET.rawValue | XML_PARSE_NOERROR.rawValue | XML_PARSE_NOWARNING.rawValue | XML_PARSE_NOCDATA.rawValue)
        guard !bytes.isEmpty, bytes.count < Int(CInt.max) else { return nil }
        let document = unsafe bytes.withUnsafeBytes { bytes in
            unsafe xmlReadMemory(bytes.baseAddress!.assumingMemoryBound(to: CChar.self), CInt(bytes.count), nil, nil, options)
        }
        guard let document = unsafe document else { return nil }
        defer { unsafe xmlFreeDoc(document) }
        // A document type is the door to entities, which no reply has.
        guard unsafe document.pointee.intSubset == nil, let root = unsafe xmlDocGetRootElement(document) else { return nil }
        guard let element = unsafe XMLElement(node: root, depth: 0) else { return nil }
        self = element
    }

    private init?(node: xmlNodePtr, depth: Int) {
        guard depth < Self.maximumDepth, let label = unsafe node.pointee.name else { return nil }
        var children: [XMLElement] = []
        var text = ""
        var next = unsafe node.pointee.children
        while let child = unsafe next {
            switch unsafe child.pointee.type {
            case XML_ELEMENT_NODE:
                guard let element = unsafe XMLElement(node: child, depth: depth + 1) else { return nil }
                children.append(element)
            case XML_TEXT_NODE, XML_CDATA_SECTION_NODE:
                if let content = unsafe child.pointee.content { text += unsafe String(cString: content) }
            default: break
            }
            unsafe next = child.pointee.next
        }
        name = unsafe String(cString: label)
        self.text = text
        self.children = children
    }
}
