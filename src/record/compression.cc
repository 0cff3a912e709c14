#include "record/compression.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "bytes/cursor.h"

namespace weir::record {
namespace {

using bytes::Bytes;
using bytes::MutableBytes;
using bytes::Shared;

constexpr std::array<std::string_view, 5> names = {"none", "gzip", "snappy", "lz4", "zstd"};

std::unexpected<Error> corrupt(std::string_view codec, std::string_view why) {
  return fail(ErrorCode::CORRUPT_MESSAGE, std::string(codec) + ": " + std::string(why));
}

// ---- gzip

Result<Shared> gzip(Bytes from, int level) {
  z_stream z{};
  if (level == default_level) level = Z_DEFAULT_COMPRESSION;
  if (deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR, "gzip cannot start");
  }
  auto out = Shared::allocate(deflateBound(&z, from.size()) + 32);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
  z.avail_in = static_cast<uInt>(from.size());
  z.next_out = reinterpret_cast<Bytef*>(out.mutable_view().data());
  z.avail_out = static_cast<uInt>(out.size());
  const int end = deflate(&z, Z_FINISH);
  const auto size = out.size() - z.avail_out;
  deflateEnd(&z);
  if (end != Z_STREAM_END) return fail(ErrorCode::UNKNOWN_SERVER_ERROR, "gzip did not finish");
  return out.sub(0, size);
}

class Gunzip final : public Decompressor {
 public:
  explicit Gunzip(Bytes from) : from_(from) {
    ok_ = inflateInit2(&z_, 15 + 16) == Z_OK;
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
    z_.avail_in = static_cast<uInt>(std::min<std::size_t>(from.size(), INT32_MAX));
  }
  ~Gunzip() override { inflateEnd(&z_); }
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;

  Result<std::size_t> pull(MutableBytes out) override {
    if (!ok_) return corrupt("gzip", "cannot start");
    std::size_t got = 0;
    while (got < out.size() && !done_) {
      z_.next_out = reinterpret_cast<Bytef*>(out.data() + got);
      z_.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size() - got, INT32_MAX));
      const auto room = z_.avail_out;
      const int status = inflate(&z_, Z_NO_FLUSH);
      got += room - z_.avail_out;
      if (status == Z_STREAM_END) {
        // Members may follow each other, as java.util.zip reads them.
        if (z_.avail_in == 0 || inflateReset(&z_) != Z_OK) done_ = true;
      } else if (status != Z_OK) {
        return corrupt("gzip", z_.msg != nullptr ? z_.msg : "the stream ends too early");
      }
    }
    return got;
  }

 private:
  Bytes from_;
  z_stream z_{};
  bool ok_ = false;
  bool done_ = false;
};

// ---- snappy, in the stream of snappy-java: a header of 16 bytes, then blocks with a big-endian length each

constexpr std::array<std::uint8_t, 8> xerial_magic = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
constexpr std::size_t xerial_header = 16;
constexpr std::size_t xerial_block = 32 * 1024;
// No block of a stream unpacks to more: what a peer claims beyond it is refused before memory is taken.
constexpr std::size_t snappy_unpacked_max = 128 * 1024 * 1024;

const char* chars(const std::byte* at) { return reinterpret_cast<const char*>(at); }

Result<Shared> snappy(Bytes from) {
  const auto blocks = (from.size() + xerial_block - 1) / xerial_block;
  auto out = Shared::allocate(xerial_header + blocks * (4 + snappy_max_compressed_length(xerial_block)));
  bytes::Writer w(out.mutable_view());
  w.put(std::as_bytes(std::span(xerial_magic)));
  w.i32(1);  // version
  w.i32(1);  // oldest version that can read it
  auto at = w.written();
  for (std::size_t done = 0; done < from.size();) {
    const auto n = std::min(xerial_block, from.size() - done);
    auto length = out.size() - at - 4;
    if (snappy_compress(chars(from.data() + done), n, reinterpret_cast<char*>(out.mutable_view().data() + at + 4),
                        &length) != SNAPPY_OK) {
      return fail(ErrorCode::UNKNOWN_SERVER_ERROR, "snappy did not finish");
    }
    bytes::store_big(out.mutable_view().data() + at, static_cast<std::int32_t>(length));
    at += 4 + length;
    done += n;
  }
  return out.sub(0, at);
}

class Unsnappy final : public Decompressor {
 public:
  explicit Unsnappy(Bytes from) : rest_(from) {
    framed_ = from.size() >= xerial_header && std::memcmp(from.data(), xerial_magic.data(), xerial_magic.size()) == 0;
    if (framed_) rest_ = rest_.subspan(xerial_header);
  }

  Result<std::size_t> pull(MutableBytes out) override {
    std::size_t got = 0;
    while (got < out.size()) {
      if (at_ == block_.size()) {
        if (rest_.empty()) break;
        if (auto next = unpack(); !next) return std::unexpected(next.error());
        continue;
      }
      const auto n = std::min(out.size() - got, block_.size() - at_);
      std::memcpy(out.data() + got, block_.data() + at_, n);
      got += n;
      at_ += n;
    }
    return got;
  }

 private:
  Result<> unpack() {
    Bytes packed = rest_;
    if (framed_) {
      if (rest_.size() < 4) return corrupt("snappy", "the stream ends too early");
      // Streams written one after the other: a header may stand where a length would.
      if (rest_.size() >= xerial_header && std::memcmp(rest_.data(), xerial_magic.data(), xerial_magic.size()) == 0) {
        rest_ = rest_.subspan(xerial_header);
        return {};
      }
      const auto length = bytes::load_big<std::int32_t>(rest_.data());
      if (length < 0 || static_cast<std::size_t>(length) > rest_.size() - 4) {
        return corrupt("snappy", "a block is longer than the stream");
      }
      packed = rest_.subspan(4, static_cast<std::size_t>(length));
      rest_ = rest_.subspan(4 + packed.size());
    } else {
      rest_ = {};
    }
    std::size_t size = 0;
    if (snappy_uncompressed_length(chars(packed.data()), packed.size(), &size) != SNAPPY_OK ||
        size > snappy_unpacked_max || size > 64 * packed.size() + 64) {  // a block packs 64 bytes into 3 at best
      return corrupt("snappy", "a block's length is not possible");
    }
    block_.resize(size);
    at_ = 0;
    if (snappy_uncompress(chars(packed.data()), packed.size(), reinterpret_cast<char*>(block_.data()), &size) !=
        SNAPPY_OK) {
      return corrupt("snappy", "a block is broken");
    }
    return {};
  }

  Bytes rest_;
  bool framed_ = false;
  std::vector<std::byte> block_;
  std::size_t at_ = 0;
};

// ---- lz4 frames

Result<Shared> lz4(Bytes from, int level) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  // Kafka's levels count from 1 to 17 and mean the high-compression ones; its default, 9, is what "fast" is here.
  preferences.compressionLevel = level == default_level ? 0 : level;
  auto out = Shared::allocate(LZ4F_compressFrameBound(from.size(), &preferences));
  const auto size = LZ4F_compressFrame(out.mutable_view().data(), out.size(), from.data(), from.size(), &preferences);
  if (LZ4F_isError(size) != 0) return fail(ErrorCode::UNKNOWN_SERVER_ERROR, LZ4F_getErrorName(size));
  return out.sub(0, size);
}

class Unlz4 final : public Decompressor {
 public:
  explicit Unlz4(Bytes from) : rest_(from) {
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context_, LZ4F_VERSION)) != 0) context_ = nullptr;
  }
  ~Unlz4() override { LZ4F_freeDecompressionContext(context_); }
  Unlz4(const Unlz4&) = delete;
  Unlz4& operator=(const Unlz4&) = delete;

  Result<std::size_t> pull(MutableBytes out) override {
    if (context_ == nullptr) return corrupt("lz4", "cannot start");
    std::size_t got = 0;
    while (got < out.size() && !done_) {
      auto taken = rest_.size();
      auto made = out.size() - got;
      const auto hint = LZ4F_decompress(context_, out.data() + got, &made, rest_.data(), &taken, nullptr);
      if (LZ4F_isError(hint) != 0) return corrupt("lz4", LZ4F_getErrorName(hint));
      rest_ = rest_.subspan(taken);
      got += made;
      if (hint == 0) {
        done_ = true;
      } else if (made == 0 && taken == 0) {
        return corrupt("lz4", "the frame ends too early");
      }
    }
    return got;
  }

 private:
  Bytes rest_;
  LZ4F_dctx* context_ = nullptr;
  bool done_ = false;
};

// ---- zstd

Result<Shared> zstd(Bytes from, int level) {
  auto out = Shared::allocate(ZSTD_compressBound(from.size()));
  const auto size = ZSTD_compress(out.mutable_view().data(), out.size(), from.data(), from.size(),
                                  level == default_level ? ZSTD_CLEVEL_DEFAULT : level);
  if (ZSTD_isError(size) != 0) return fail(ErrorCode::UNKNOWN_SERVER_ERROR, ZSTD_getErrorName(size));
  return out.sub(0, size);
}

class Unzstd final : public Decompressor {
 public:
  // Frames that ask for a larger window are refused: 2^27 is what any reader of the format may refuse beyond, and
  // batches of a broker are far below.
  static constexpr int window_log_max = 27;

  explicit Unzstd(Bytes from) : in_{from.data(), from.size(), 0}, stream_(ZSTD_createDStream()) {
    if (stream_ != nullptr) ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, window_log_max);
  }
  ~Unzstd() override { ZSTD_freeDStream(stream_); }
  Unzstd(const Unzstd&) = delete;
  Unzstd& operator=(const Unzstd&) = delete;

  Result<std::size_t> pull(MutableBytes out) override {
    if (stream_ == nullptr) return corrupt("zstd", "cannot start");
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos < to.size) {
      if (frame_over_ && in_.pos == in_.size) break;
      const auto before_in = in_.pos;
      const auto before_out = to.pos;
      const auto left = ZSTD_decompressStream(stream_, &to, &in_);
      if (ZSTD_isError(left) != 0) return corrupt("zstd", ZSTD_getErrorName(left));
      frame_over_ = left == 0;
      if (!frame_over_ && in_.pos == before_in && to.pos == before_out) {
        return corrupt("zstd", "the frame ends too early");
      }
    }
    return to.pos;
  }

 private:
  ZSTD_inBuffer in_;
  ZSTD_DStream* stream_;
  bool frame_over_ = false;
};

class Plain final : public Decompressor {
 public:
  explicit Plain(Bytes from) : rest_(from) {}
  Result<std::size_t> pull(MutableBytes out) override {
    const auto n = std::min(out.size(), rest_.size());
    if (n > 0) std::memcpy(out.data(), rest_.data(), n);
    rest_ = rest_.subspan(n);
    return n;
  }

 private:
  Bytes rest_;
};

}  // namespace

std::string_view name(Compression codec) {
  const auto n = static_cast<std::size_t>(codec);
  return n < names.size() ? names[n] : "unknown";
}

std::optional<Compression> parse_compression(std::string_view text) {
  if (text == "uncompressed") return Compression::none;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == text) return static_cast<Compression>(i);
  }
  return std::nullopt;
}

Result<Shared> compress(Compression codec, Bytes from, int level) {
  switch (codec) {
    case Compression::none: return Shared::copy(from);
    case Compression::gzip: return gzip(from, level);
    case Compression::snappy: return snappy(from);
    case Compression::lz4: return lz4(from, level);
    case Compression::zstd: return zstd(from, level);
  }
  return fail(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "there is no such codec");
}

Result<std::unique_ptr<Decompressor>> decompressor(Compression codec, Bytes from) {
  switch (codec) {
    case Compression::none: return std::make_unique<Plain>(from);
    case Compression::gzip: return std::make_unique<Gunzip>(from);
    case Compression::snappy: return std::make_unique<Unsnappy>(from);
    case Compression::lz4: return std::make_unique<Unlz4>(from);
    case Compression::zstd: return std::make_unique<Unzstd>(from);
  }
  return fail(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "there is no such codec");
}

Result<Shared> decompress(Compression codec, Bytes from, std::size_t size_max) {
  auto stream = decompressor(codec, from);
  if (!stream) return std::unexpected(stream.error());
  std::vector<std::byte> out;
  std::size_t held = 0;
  while (true) {
    if (held == out.size()) out.resize(std::min(size_max + 1, std::max<std::size_t>(4 * from.size(), 2 * held) + 1024));
    auto got = (*stream)->pull(MutableBytes(out).subspan(held));
    if (!got) return std::unexpected(got.error());
    held += *got;
    if (held > size_max) return fail(ErrorCode::MESSAGE_TOO_LARGE, "unpacked it is larger than the limit");
    if (held < out.size()) break;
  }
  return Shared::copy(Bytes(out).first(held));
}

}  // namespace weir::record
