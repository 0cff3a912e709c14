// The codecs of record batches, as Kafka frames them: gzip (RFC 1952), snappy (the stream of snappy-java, raw blocks
// are read too), lz4 (LZ4 frame format) and zstd (KIP-110).
//
// Decompression is a stream: a Decompressor holds a window of bounded size however much comes out of it, so that a
// small batch that unpacks to gigabytes costs time only as far as somebody pulls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "bytes/shared.h"

namespace weir::record {

// The low three bits of a batch's attributes.
enum class Compression : std::uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };

// "none", "gzip", ...: as in compression.type. "uncompressed" is Kafka's word for none in topic configurations.
std::string_view name(Compression codec);
std::optional<Compression> parse_compression(std::string_view name);

// A codec's default level.
inline constexpr int default_level = -1'000'000;

// The whole of `from`, framed as Kafka frames it. With Compression::none a copy.
Result<bytes::Shared> compress(Compression codec, bytes::Bytes from, int level = default_level);

class Decompressor {
 public:
  virtual ~Decompressor() = default;
  // Unpacks the next bytes into `out`, at least one and as many as the codec's own steps make of it; 0 when the stream
  // is over. `out` has at least one byte. CORRUPT_MESSAGE for data that is not what the codec says or that ends too
  // early.
  virtual Result<std::size_t> pull(bytes::MutableBytes out) = 0;
  // How many bytes of `out` let the next pull unpack straight into it. It is what the data claims, so a caller holds it
  // against a bound of its own; with less room pull is right too, by way of a buffer.
  virtual std::size_t room() = 0;
};

// A stream over `from`, which must outlive it. UNSUPPORTED_COMPRESSION_TYPE for a codec that is none of the above.
Result<std::unique_ptr<Decompressor>> decompressor(Compression codec, bytes::Bytes from);

// The whole, unpacked; MESSAGE_TOO_LARGE when that is more than `size_max`.
Result<bytes::Shared> decompress(Compression codec, bytes::Bytes from, std::size_t size_max);

}  // namespace weir::record
