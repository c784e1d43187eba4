import Coordination
import Model

/// A collection as Qdrant's clients describe it, and under `covey` as it is.
struct QdrantCollectionInfo {
    private let collection: ClusterStatus.Collection

    /// - Throws: `unavailable` if no shard answered: zeros would look like an empty collection.
    init(_ collection: ClusterStatus.Collection) throws(ClusterError) {
        if collection.shards.isEmpty, let gap = collection.gaps.first {
            throw ClusterError(
                .unavailable, "no shard of \"\(collection.schema.name)\" answers; shard \(gap.shard.index) on node \(gap.node): \(gap.reason)")
        }
        self.collection = collection
    }

    var json: JSONOutput {
        [
            // Qdrant's colours: yellow while a part is missing, red when data is damaged.
            "status": .string(!collection.damaged.isEmpty ? "red" : collection.gaps.isEmpty ? "green" : "yellow"),
            "optimizer_status": "ok",
            "indexed_vectors_count": .integer(collection.pointsByCode),
            "points_count": .integer(collection.points),
            "segments_count": .integer(collection.segments),
            "config": configuration,
            "payload_schema": [:],
            "covey": covey,
        ]
    }

    private var configuration: JSONOutput {
        let schema = collection.schema
        return [
            "params": [
                "vectors": vectors,
                "shard_number": .integer(collection.shards.count + collection.gaps.count), "replication_factor": 1, "write_consistency_factor": 1, "on_disk_payload": true,
            ],
            // Clients insist on these figures. There is no graph here: an `m` of 0 says so in Qdrant's own terms.
            "hnsw_config": ["m": 0, "ef_construct": 0, "full_scan_threshold": 0],
            "optimizer_config": ["default_segment_number": 0, "flush_interval_sec": 0],
            "wal_config": ["wal_capacity_mb": 0, "wal_segments_ahead": 0],
            "quantization_config": nil,
        ]
    }

    private var vectors: JSONOutput {
        let schema = collection.schema
        let (size, distance) = (JSONOutput.integer(schema.dimension), JSONOutput.string(schema.metric.qdrantName))
        // Clients refuse a datatype that they do not know: int8 stands under `covey`.
        return schema.datatype == .int8 || schema.datatype == .float32
            ? ["size": size, "distance": distance] : ["size": size, "distance": distance, "datatype": .string(schema.datatype.rawValue)]
    }

    private var covey: JSONOutput {
        let schema = collection.schema
        return [
            "incarnation": .string(schema.incarnationText),
            "datatype": .string(schema.datatype.rawValue),
            "embedding_model": schema.embeddingModel.map(JSONOutput.string) ?? .null,
            "created_at": .integer(Int(schema.createdAt)),
            "shards_asked": .integer(collection.shards.count + collection.gaps.count),
            "shards_answered": .integer(collection.shards.count),
            "points_by_code": .integer(collection.pointsByCode),
            "points_exactly": .integer(collection.pointsExactly),
            "index_bytes": .integer(collection.indexBytes),
            "file_bytes": .integer(collection.fileBytes),
            "damaged": .array(collection.damaged.map(JSONOutput.string)),
            "shards": .array(collection.shards.map(shard)),
            "gaps": .array(collection.gaps.map(\.json)),
        ]
    }

    private func shard(_ shard: ClusterStatus.Collection.Shard) -> JSONOutput {
        let status = shard.status
        return [
            "shard": .integer(status.shard.index), "node": .string(shard.node.rawValue), "points": .integer(status.points),
            "points_by_code": .integer(status.pointsByCode), "segments": .integer(status.segments),
            "log_position": .unsigned(status.logPosition), "epoch": .unsigned(status.epoch),
            "manifest_version": .unsigned(status.manifestVersion), "index_bytes": .integer(status.indexBytes),
            "file_bytes": .integer(status.fileBytes), "sealing": status.sealing.map(JSONOutput.number) ?? .null,
            "quantization_error": status.quantizationError.map(JSONOutput.number) ?? .null,
            "new_points_error": status.newPointsError.map(JSONOutput.number) ?? .null, "drift": status.drift.map(JSONOutput.number) ?? .null,
        ]
    }
}
