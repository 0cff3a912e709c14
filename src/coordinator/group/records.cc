#include "coordinator/group/records.h"

#include <algorithm>

#include "base/check.h"
#include "bytes/cursor.h"

namespace weir::coordinator::group {
namespace {

using bytes::Bytes;
using bytes::Reader;
using bytes::Shared;
using bytes::Writer;

// Reads the primitives of one version: from version 4 of the values on, texts and lists are "compact" and a list of
// tagged fields ends each structure.
class Fields {
 public:
  Fields(Bytes from, bool compact) : in_(from), compact_(compact) {}

  Reader& in() { return in_; }
  std::optional<std::string_view> nullable_text() {
    const auto n = compact_ ? compact_length() : in_.i16();
    if (n < 0) return std::nullopt;
    return in_.text(static_cast<std::size_t>(n));
  }
  std::string_view text() {
    const auto t = nullable_text();
    if (!t) in_.fail();
    return t.value_or(std::string_view());
  }
  Bytes data() {
    const auto n = compact_ ? compact_length() : in_.i32();
    if (n < 0) {
      in_.fail();
      return {};
    }
    return in_.take(static_cast<std::size_t>(n));
  }
  std::int64_t list() { return compact_ ? compact_length() : in_.i32(); }
  void end() {
    if (!compact_) return;
    const auto n = in_.uvarint();
    for (std::uint32_t i = 0; i < n && in_.ok(); ++i) {
      in_.uvarint();
      in_.skip(in_.uvarint());
    }
  }

 private:
  std::int64_t compact_length() { return static_cast<std::int64_t>(in_.uvarint()) - 1; }

  Reader in_;
  bool compact_;
};

// Writes one of the non-flexible versions; the same code counts (no writer) and writes.
class Out {
 public:
  explicit Out(Writer* to) : to_(to) {}

  std::size_t size() const { return size_; }
  void i16(std::int16_t v) { put(v, &Writer::i16); }
  void i32(std::int32_t v) { put(v, &Writer::i32); }
  void i64(std::int64_t v) { put(v, &Writer::i64); }
  void text(std::string_view t) {
    WEIR_CHECK(t.size() <= text_bytes_max, "longer texts were refused");
    i16(static_cast<std::int16_t>(t.size()));
    raw(bytes::as_bytes(t));
  }
  void text(const std::optional<std::string_view>& t) {
    if (t) {
      text(*t);
    } else {
      i16(-1);
    }
  }
  void data(Bytes d) {
    i32(static_cast<std::int32_t>(d.size()));
    raw(d);
  }

 private:
  template <class Int>
  void put(Int v, void (Writer::*how)(Int)) {
    size_ += sizeof v;
    if (to_ != nullptr) (to_->*how)(v);
  }
  void raw(Bytes d) {
    size_ += d.size();
    if (to_ != nullptr) to_->put(d);
  }

  Writer* to_;
  std::size_t size_ = 0;
};

template <class Fn>
Shared write(Fn fields) {
  Out count(nullptr);
  fields(count);
  auto made = Shared::allocate(count.size());
  Writer to(made.mutable_view());
  Out out(&to);
  fields(out);
  WEIR_CHECK(to.left() == 0, "what was counted is written");
  return made;
}

std::unexpected<Error> damaged(const char* what) { return fail(ErrorCode::CORRUPT_MESSAGE, what); }

}  // namespace

Result<Key> parse_key(Bytes key) {
  Reader in(key);
  const auto version = in.i16();
  if (!in.ok()) return damaged("a key without a version");
  Fields fields(in.rest(), false);
  if (version == 0 || version == 1) {
    OffsetKey made;
    made.group = fields.text();
    made.topic = fields.text();
    made.partition = fields.in().i32();
    if (!fields.in().ok()) return damaged("an offset key that ends early");
    return made;
  }
  if (version == 2) {
    GroupKey made;
    made.group = fields.text();
    if (!fields.in().ok()) return damaged("a group key that ends early");
    return made;
  }
  return UnknownKey{version};
}

Result<OffsetValue> parse_offset_value(Bytes value) {
  Reader in(value);
  const auto version = in.i16();
  if (!in.ok() || version < 0 || version > 4) return damaged("an offset value of an unknown version");
  Fields fields(in.rest(), version >= 4);
  OffsetValue made;
  made.offset = fields.in().i64();
  if (version >= 3) made.leader_epoch = fields.in().i32();
  made.metadata = fields.text();
  made.commit_timestamp = fields.in().i64();
  if (version == 1) made.expire_timestamp = fields.in().i64();
  fields.end();
  if (!fields.in().ok()) return damaged("an offset value that ends early");
  return made;
}

Result<GroupValue> parse_group_value(Bytes value) {
  Reader in(value);
  const auto version = in.i16();
  if (!in.ok() || version < 0 || version > 4) return damaged("a group value of an unknown version");
  Fields fields(in.rest(), version >= 4);
  GroupValue made;
  made.protocol_type = fields.text();
  made.generation = fields.in().i32();
  made.protocol = fields.nullable_text();
  made.leader = fields.nullable_text();
  if (version >= 2) made.state_timestamp = fields.in().i64();
  const auto count = fields.list();
  if (count < 0) return damaged("a group value without members");
  // A member takes at least 14 bytes: a count that lies does not reserve memory.
  made.members.reserve(std::min<std::size_t>(static_cast<std::size_t>(count), fields.in().left() / 14));
  for (std::int64_t i = 0; i < count && fields.in().ok(); ++i) {
    MemberValue m;
    m.member_id = fields.text();
    if (version >= 3) m.instance_id = fields.nullable_text();
    m.client_id = fields.text();
    m.client_host = fields.text();
    if (version >= 1) m.rebalance_timeout_ms = fields.in().i32();
    m.session_timeout_ms = fields.in().i32();
    if (version == 0) m.rebalance_timeout_ms = m.session_timeout_ms;
    m.subscription = fields.data();
    m.assignment = fields.data();
    fields.end();
    made.members.push_back(m);
  }
  fields.end();
  if (!fields.in().ok()) return damaged("a group value that ends early");
  return made;
}

Shared offset_key(std::string_view group, std::string_view topic, std::int32_t partition) {
  return write([&](Out& out) {
    out.i16(1);
    out.text(group);
    out.text(topic);
    out.i32(partition);
  });
}

Shared group_key(std::string_view group) {
  return write([&](Out& out) {
    out.i16(2);
    out.text(group);
  });
}

Shared offset_value(const OffsetValue& value) {
  const bool expires = value.expire_timestamp != no_timestamp;
  return write([&](Out& out) {
    out.i16(expires ? 1 : 3);
    out.i64(value.offset);
    if (!expires) out.i32(value.leader_epoch);
    out.text(std::string_view(value.metadata));
    out.i64(value.commit_timestamp);
    if (expires) out.i64(value.expire_timestamp);
  });
}

Shared group_value(const GroupValue& value) {
  return write([&](Out& out) {
    out.i16(3);
    out.text(value.protocol_type);
    out.i32(value.generation);
    out.text(value.protocol);
    out.text(value.leader);
    out.i64(value.state_timestamp);
    out.i32(static_cast<std::int32_t>(value.members.size()));
    for (const auto& m : value.members) {
      out.text(m.member_id);
      out.text(m.instance_id);
      out.text(m.client_id);
      out.text(m.client_host);
      out.i32(m.rebalance_timeout_ms);
      out.i32(m.session_timeout_ms);
      out.data(m.subscription);
      out.data(m.assignment);
    }
  });
}

}  // namespace weir::coordinator::group
