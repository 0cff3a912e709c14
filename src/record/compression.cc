#include "record/compression.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
// For ZSTD_decompressBound and ZSTD_getFrameHeader.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "base/units.h"
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

// A context that unpacks costs more to make than a small batch to unpack, so each thread keeps one of each codec for
// its next stream. A stream holds its context alone; one that a stream made unusually large is not kept.
//
// `Codec` says how: make() (null when that fails), reset() before each use, small() and free().
template <class Codec>
class Lent {
 public:
  using Context = typename Codec::Context;

  Lent() : context_(std::exchange(spare.context, nullptr)) {
    if (context_ == nullptr) context_ = Codec::make();
    if (context_ != nullptr && !Codec::reset(context_)) Codec::free(std::exchange(context_, nullptr));
  }
  ~Lent() {
    if (context_ == nullptr) return;
    if (spare.context == nullptr && !spare.closed && Codec::small(context_)) {
      spare.context = context_;
    } else {
      Codec::free(context_);
    }
  }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;

  Context* get() const { return context_; }

 private:
  struct Spare {
    Context* context = nullptr;
    bool closed = false;  // the thread ends
    ~Spare() {
      closed = true;
      if (context != nullptr) Codec::free(std::exchange(context, nullptr));
    }
  };
  static inline thread_local Spare spare;
  Context* context_;
};

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

struct GunzipContext {
  using Context = z_stream;
  static Context* make() {
    auto made = std::make_unique<Context>();
    return inflateInit2(made.get(), 15 + 16) == Z_OK ? made.release() : nullptr;
  }
  static bool reset(Context* z) { return inflateReset(z) == Z_OK; }
  static bool small(const Context*) { return true; }
  static void free(Context* z) {
    inflateEnd(z);
    delete z;
  }
};

class Gunzip final : public Decompressor {
 public:
  explicit Gunzip(Bytes from) {
    auto* const z = context_.get();
    if (z == nullptr) return;
    z->next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
    z->avail_in = static_cast<uInt>(std::min<std::size_t>(from.size(), INT32_MAX));
  }

  // Each call copies the last 32 KiB for the next one to look back at: large steps are cheaper.
  std::size_t room() override { return 256 * KiB; }

  Result<std::size_t> pull(MutableBytes out) override {
    auto* const z = context_.get();
    if (z == nullptr) return corrupt("gzip", "cannot start");
    std::size_t got = 0;
    while (got < out.size() && !done_) {
      z->next_out = reinterpret_cast<Bytef*>(out.data() + got);
      z->avail_out = static_cast<uInt>(std::min<std::size_t>(out.size() - got, INT32_MAX));
      const auto space = z->avail_out;
      const int status = inflate(z, Z_NO_FLUSH);
      got += space - z->avail_out;
      if (status == Z_STREAM_END) {
        // Members may follow each other, as java.util.zip reads them.
        if (z->avail_in == 0 || inflateReset(z) != Z_OK) done_ = true;
      } else if (status != Z_OK) {
        return corrupt("gzip", z->msg != nullptr ? z->msg : "the stream ends too early");
      }
    }
    return got;
  }

 private:
  Lent<GunzipContext> context_;
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

  std::size_t room() override {
    if (at_ < held_) return held_ - at_;
    auto next = find_block();
    return next && *next ? block_size_ : 1;
  }

  Result<std::size_t> pull(MutableBytes out) override {
    if (at_ == held_) {
      auto next = find_block();
      if (!next) return std::unexpected(next.error());
      if (!*next) return 0;
      const auto packed = std::exchange(block_, {});
      if (block_size_ <= out.size()) return unpack(packed, out.data());
      if (buffer_size_ < block_size_) {
        buffer_ = std::make_unique_for_overwrite<std::byte[]>(block_size_);
        buffer_size_ = block_size_;
      }
      auto held = unpack(packed, buffer_.get());
      if (!held) return held;
      held_ = *held;
      at_ = 0;
    }
    const auto n = std::min(out.size(), held_ - at_);
    std::memcpy(out.data(), buffer_.get() + at_, n);
    at_ += n;
    return n;
  }

 private:
  // The next block that is not empty, in block_ and block_size_ until it is unpacked; false at the end.
  Result<bool> find_block() {
    while (block_.empty()) {
      if (rest_.empty()) return false;
      Bytes packed = rest_;
      if (framed_) {
        if (rest_.size() < 4) return corrupt("snappy", "the stream ends too early");
        // Streams written one after the other: a header may stand where a length would.
        if (rest_.size() >= xerial_header && std::memcmp(rest_.data(), xerial_magic.data(), xerial_magic.size()) == 0) {
          rest_ = rest_.subspan(xerial_header);
          continue;
        }
        const auto length = bytes::load_big<std::int32_t>(rest_.data());
        if (length < 0 || static_cast<std::size_t>(length) > rest_.size() - 4) {
          return corrupt("snappy", "a block is longer than the stream");
        }
        packed = rest_.subspan(4, static_cast<std::size_t>(length));
      }
      std::size_t size = 0;
      if (snappy_uncompressed_length(chars(packed.data()), packed.size(), &size) != SNAPPY_OK ||
          size > snappy_unpacked_max || size > 64 * packed.size() + 64) {  // a block packs 64 bytes into 3 at best
        return corrupt("snappy", "a block's length is not possible");
      }
      // An empty block may hold nothing but its length, or be broken.
      if (size == 0) {
        std::byte none{};
        block_size_ = 0;
        if (auto fine = unpack(packed, &none); !fine) return std::unexpected(fine.error());
      } else {
        block_ = packed;
        block_size_ = size;
      }
      rest_ = rest_.subspan(framed_ ? 4 + packed.size() : packed.size());
    }
    return true;
  }

  // `to` has block_size_ bytes.
  Result<std::size_t> unpack(Bytes packed, std::byte* to) {
    std::size_t size = block_size_;
    if (snappy_uncompress(chars(packed.data()), packed.size(), reinterpret_cast<char*>(to), &size) != SNAPPY_OK) {
      return corrupt("snappy", "a block is broken");
    }
    return size;
  }

  Bytes rest_;
  bool framed_ = false;
  Bytes block_;
  std::size_t block_size_ = 0;
  // A block for which there was no room.
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t buffer_size_ = 0;
  std::size_t held_ = 0;
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

struct Unlz4Context {
  struct Context {
    LZ4F_dctx* frame = nullptr;
    bool small = true;
  };
  static Context* make() {
    auto made = std::make_unique<Context>();
    return LZ4F_isError(LZ4F_createDecompressionContext(&made->frame, LZ4F_VERSION)) == 0 ? made.release() : nullptr;
  }
  static bool reset(Context* context) {
    LZ4F_resetDecompressionContext(context->frame);
    return true;
  }
  static bool small(const Context* context) { return context->small; }
  static void free(Context* context) {
    LZ4F_freeDecompressionContext(context->frame);
    delete context;
  }
};

class Unlz4 final : public Decompressor {
 public:
  explicit Unlz4(Bytes from) : rest_(from) {
    if (context_.get() == nullptr) return;
    LZ4F_frameInfo_t info{};
    auto taken = rest_.size();
    const auto hint = LZ4F_getFrameInfo(context_.get()->frame, &info, rest_.data(), &taken);
    if (LZ4F_isError(hint) != 0) {
      broken_ = LZ4F_getErrorName(hint);
      return;
    }
    rest_ = rest_.subspan(taken);
    step_ = hint;
    // 64 KiB, 256 KiB, 1 MiB or 4 MiB.
    if (info.blockSizeID >= LZ4F_max64KB && info.blockSizeID <= LZ4F_max4MB) block_ = 1U << (8 + 2 * info.blockSizeID);
    if (block_ > 1 * MiB) context_.get()->small = false;
  }

  std::size_t room() override { return block_; }

  Result<std::size_t> pull(MutableBytes out) override {
    if (context_.get() == nullptr) return corrupt("lz4", "cannot start");
    if (broken_ != nullptr) return corrupt("lz4", broken_);
    std::size_t got = 0;
    // Block for block, each of its own length: given more, the library would unpack the one after, too, and keep what
    // there is no room for. A call that makes nothing has read a header or a mark.
    while (got == 0 && !done_) {
      auto taken = std::min(rest_.size(), step_);
      got = out.size();
      step_ = LZ4F_decompress(context_.get()->frame, out.data(), &got, rest_.data(), &taken, nullptr);
      if (LZ4F_isError(step_) != 0) return corrupt("lz4", LZ4F_getErrorName(step_));
      rest_ = rest_.subspan(taken);
      if (step_ == 0) {
        done_ = true;
      } else if (got == 0 && taken == 0) {
        return corrupt("lz4", "the frame ends too early");
      }
    }
    return got;
  }

 private:
  Bytes rest_;
  Lent<Unlz4Context> context_;
  const char* broken_ = nullptr;
  std::size_t block_ = 64 * KiB;
  std::size_t step_ = 0;  // how much the library would like next
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

// Frames that ask for a larger window are refused: 2^27 is what any reader of the format may refuse beyond, and batches
// of a broker are far below.
constexpr int zstd_window_log_max = 27;

struct UnzstdContext {
  using Context = ZSTD_DCtx;
  static Context* make() {
    auto* const made = ZSTD_createDCtx();
    if (made != nullptr) ZSTD_DCtx_setParameter(made, ZSTD_d_windowLogMax, zstd_window_log_max);
    return made;
  }
  static bool reset(Context* context) { return ZSTD_isError(ZSTD_DCtx_reset(context, ZSTD_reset_session_only)) == 0; }
  // The window of zstd's usual levels is 2 MiB.
  static bool small(const Context* context) { return ZSTD_sizeof_DCtx(context) <= 4 * MiB; }
  static void free(Context* context) { ZSTD_freeDCtx(context); }
};

class Unzstd final : public Decompressor {
 public:
  explicit Unzstd(Bytes from) : in_{from.data(), from.size(), 0} {
    // One frame, as producers write it, can be unpacked in one go into the caller's memory when there is room for all
    // of it: no window is needed then, nor a copy out of it.
    ZSTD_frameHeader header;
    if (ZSTD_getFrameHeader(&header, from.data(), from.size()) != 0 || header.frameType != ZSTD_frame ||
        header.windowSize > (std::uint64_t{1} << zstd_window_log_max) ||
        ZSTD_findFrameCompressedSize(from.data(), from.size()) != from.size()) {
      return;
    }
    const auto bound = ZSTD_decompressBound(from.data(), from.size());
    if (bound != ZSTD_CONTENTSIZE_ERROR) whole_ = bound;
  }

  std::size_t room() override { return in_.pos == 0 && whole_ > 0 ? whole_ : ZSTD_DStreamOutSize(); }

  Result<std::size_t> pull(MutableBytes out) override {
    auto* const context = context_.get();
    if (context == nullptr) return corrupt("zstd", "cannot start");
    if (in_.pos == 0 && whole_ > 0 && out.size() >= whole_) {
      const auto size = ZSTD_decompressDCtx(context, out.data(), out.size(), in_.src, in_.size);
      if (ZSTD_isError(size) != 0) return corrupt("zstd", ZSTD_getErrorName(size));
      in_.pos = in_.size;
      frame_over_ = true;
      return size;
    }
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos < to.size) {
      if (frame_over_ && in_.pos == in_.size) break;
      const auto before_in = in_.pos;
      const auto before_out = to.pos;
      const auto left = ZSTD_decompressStream(context, &to, &in_);
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
  Lent<UnzstdContext> context_;
  std::uint64_t whole_ = 0;  // what the one frame unpacks to at most
  bool frame_over_ = false;
};

class Plain final : public Decompressor {
 public:
  explicit Plain(Bytes from) : rest_(from) {}
  std::size_t room() override { return rest_.size(); }
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
    if (*got == 0) break;
  }
  return Shared::copy(Bytes(out).first(held));
}

}  // namespace weir::record
