import Model
import Testing

@Suite("what vectors are stored as")
struct VectorDatatypeTests {
    @Test("what a type holds is stored as it is, halves rounded to the nearest")
    func stored() throws {
        #expect(try VectorDatatype.float32.stored([0.1, -1e38]) == [0.1, -1e38])
        #expect(try VectorDatatype.float16.stored([0.1, 65_504, 65_519, -0.0, 1e-9, 2_049]) == [0.0999755859375, 65_504, 65_504, 0, 0, 2_048])
        #expect(try VectorDatatype.uint8.stored([0, 255, -0.0]) == [0, 255, 0])
        #expect(try VectorDatatype.int8.stored([-128, 127]) == [-128, 127])
        for datatype in VectorDatatype.allCases { #expect(try datatype.stored(datatype.stored([0, 1, 100])) == [0, 1, 100]) }
    }

    @Test("what it does not hold is refused with its place, its value and the limits", arguments: [
        (.float32, .infinity, "float32 holds finite numbers"), (.float16, 65_520, "float16 holds numbers -65504…65504"), (.float16, .nan, "float16"),
        (.uint8, 256, "uint8 holds whole numbers 0…255"), (.uint8, -1, "uint8"), (.uint8, 0.5, "uint8"), (.int8, 128, "int8 holds whole numbers -128…127"),
        (.int8, .nan, "int8"), (.int8, -.infinity, "int8"),
    ] as [(VectorDatatype, Float, String)])
    func refused(datatype: VectorDatatype, value: Float, words: String) {
        let error = #expect(throws: ClusterError.self) { try datatype.stored([1, value]) }
        #expect(error?.code == .invalidArgument && error?.message.contains("element 1 of the vector is \(value), \(words)") == true)
    }
}
