// Every message between a ZooKeeper client of 3.4 to 3.9 and its server, field by field in the order of the wire
// (Apache's zookeeper.jute). Requests follow a RequestHeader, answers a ReplyHeader; ConnectRequest and
// ConnectResponse have none. Names are those of the protocol.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "zkwire/codes.h"
#include "zkwire/jute.h"

namespace weir::zkwire {

// --- data -----------------------------------------------------------------------------------------------------

struct Id {
  std::string scheme;
  std::string id;
  WEIR_JUTE(scheme, id)
  friend bool operator==(const Id&, const Id&) = default;
};

struct Acl {
  std::int32_t perms = 0;
  Id id;
  WEIR_JUTE(perms, id)
  friend bool operator==(const Acl&, const Acl&) = default;
};

struct Stat {
  std::int64_t czxid = 0;  // zxid of the creation
  std::int64_t mzxid = 0;  // of the last change of the data
  std::int64_t ctime = 0;  // ms since the epoch
  std::int64_t mtime = 0;
  std::int32_t version = 0;          // changes of the data
  std::int32_t cversion = 0;         // changes of the children
  std::int32_t aversion = 0;         // changes of the ACL
  std::int64_t ephemeral_owner = 0;  // the session of an ephemeral node, else 0
  std::int32_t data_length = 0;
  std::int32_t num_children = 0;
  std::int64_t pzxid = 0;  // zxid of the last change of the children
  WEIR_JUTE(czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, data_length, num_children, pzxid)
  friend bool operator==(const Stat&, const Stat&) = default;
};

struct ClientInfo {
  std::string auth_scheme;
  std::string user;
  WEIR_JUTE(auth_scheme, user)
};

// --- headers and session --------------------------------------------------------------------------------------

struct ConnectRequest {
  std::int32_t protocol_version = 0;
  std::int64_t last_zxid_seen = 0;
  std::int32_t timeout_ms = 0;
  std::int64_t session_id = 0;
  Buffer password;
  WEIR_JUTE(protocol_version, last_zxid_seen, timeout_ms, session_id, password)
};

struct ConnectResponse {
  std::int32_t protocol_version = 0;
  std::int32_t timeout_ms = 0;  // as negotiated; 0: the session is not valid (any more)
  std::int64_t session_id = 0;
  Buffer password;
  WEIR_JUTE(protocol_version, timeout_ms, session_id, password)
};

// The byte that clients since 3.4 send after ConnectRequest, and that they alone are answered with.
struct ReadOnly {
  bool read_only = false;
  WEIR_JUTE(read_only)
};

struct RequestHeader {
  std::int32_t xid = 0;
  OpCode type = OpCode::notification;
  WEIR_JUTE(xid, type)
};

struct ReplyHeader {
  std::int32_t xid = 0;
  std::int64_t zxid = 0;
  Code err = Code::ok;
  WEIR_JUTE(xid, zxid, err)
};

struct WatcherEvent {
  EventType type = EventType::none;
  KeeperState state = KeeperState::sync_connected;
  std::string_view path;
  WEIR_JUTE(type, state, path)
};

struct AuthPacket {
  std::int32_t type = 0;
  std::string_view scheme;
  Buffer auth;
  WEIR_JUTE(type, scheme, auth)
};

struct SaslToken {  // GetSASLRequest, SetSASLResponse
  Buffer token;
  WEIR_JUTE(token)
};

struct ErrorResponse {
  Code err = Code::ok;
  WEIR_JUTE(err)
};

// --- writes ---------------------------------------------------------------------------------------------------

struct CreateRequest {  // create, create2, createContainer
  std::string_view path;
  Buffer data;
  std::vector<Acl> acl;
  std::int32_t flags = 0;
  WEIR_JUTE(path, data, acl, flags)
};

struct CreateTtlRequest {
  std::string_view path;
  Buffer data;
  std::vector<Acl> acl;
  std::int32_t flags = 0;
  std::int64_t ttl_ms = 0;
  WEIR_JUTE(path, data, acl, flags, ttl_ms)
};

struct CreateResponse {
  std::string path;
  WEIR_JUTE(path)
};

struct Create2Response {
  std::string path;
  Stat stat;
  WEIR_JUTE(path, stat)
};

struct PathVersion {  // DeleteRequest, CheckVersionRequest
  std::string_view path;
  std::int32_t version = 0;
  WEIR_JUTE(path, version)
};
using DeleteRequest = PathVersion;
using CheckVersionRequest = PathVersion;

struct SetDataRequest {
  std::string_view path;
  Buffer data;
  std::int32_t version = 0;
  WEIR_JUTE(path, data, version)
};

struct SetAclRequest {
  std::string_view path;
  std::vector<Acl> acl;
  std::int32_t version = 0;
  WEIR_JUTE(path, acl, version)
};

struct StatResponse {  // ExistsResponse, SetDataResponse, SetACLResponse
  Stat stat;
  WEIR_JUTE(stat)
};

// --- reads ----------------------------------------------------------------------------------------------------

struct PathWatch {  // ExistsRequest, GetDataRequest, GetChildrenRequest, GetChildren2Request
  std::string_view path;
  bool watch = false;
  WEIR_JUTE(path, watch)
};

struct PathOnly {  // GetACLRequest, SyncRequest and SyncResponse, GetAllChildrenNumberRequest, GetEphemeralsRequest
  std::string_view path;
  WEIR_JUTE(path)
};

struct GetDataResponse {
  Buffer data;
  Stat stat;
  WEIR_JUTE(data, stat)
};

struct PathsResponse {  // GetChildrenResponse, GetEphemeralsResponse
  std::vector<std::string> paths;
  WEIR_JUTE(paths)
};

struct GetChildren2Response {
  std::vector<std::string> children;
  Stat stat;
  WEIR_JUTE(children, stat)
};

struct GetAclResponse {
  std::vector<Acl> acl;
  Stat stat;
  WEIR_JUTE(acl, stat)
};

struct GetAllChildrenNumberResponse {
  std::int32_t total = 0;
  WEIR_JUTE(total)
};

struct WhoAmIResponse {
  std::vector<ClientInfo> client_info;
  WEIR_JUTE(client_info)
};

// --- watches --------------------------------------------------------------------------------------------------

struct SetWatches {
  std::int64_t relative_zxid = 0;
  std::vector<std::string_view> data;
  std::vector<std::string_view> exist;
  std::vector<std::string_view> child;
  WEIR_JUTE(relative_zxid, data, exist, child)
};

struct SetWatches2 {
  std::int64_t relative_zxid = 0;
  std::vector<std::string_view> data;
  std::vector<std::string_view> exist;
  std::vector<std::string_view> child;
  std::vector<std::string_view> persistent;
  std::vector<std::string_view> persistent_recursive;
  WEIR_JUTE(relative_zxid, data, exist, child, persistent, persistent_recursive)
};

struct AddWatchRequest {
  std::string_view path;
  AddWatchMode mode = AddWatchMode::persistent;
  WEIR_JUTE(path, mode)
};

struct WatchesRequest {  // CheckWatchesRequest, RemoveWatchesRequest
  std::string_view path;
  WatcherType type = WatcherType::any;
  WEIR_JUTE(path, type)
};

// --- multi ----------------------------------------------------------------------------------------------------
// A multi is a list of (MultiHeader, request) that ends with the header that says done; so is its answer.

struct MultiHeader {
  OpCode type = OpCode::error;
  bool done = false;
  std::int32_t err = -1;
  WEIR_JUTE(type, done, err)
};
inline constexpr MultiHeader multi_end{OpCode::error, true, -1};

struct MultiOp {
  OpCode type = OpCode::error;
  std::variant<CreateRequest, CreateTtlRequest, PathVersion, SetDataRequest, PathWatch> request;
};

// All operations of a multi or multiRead; nullopt when one is malformed or of a type that neither allows.
std::optional<std::vector<MultiOp>> decode_multi(bytes::Bytes from);

struct MultiResult {
  OpCode type = OpCode::error;  // error: the answer is an ErrorResponse
  std::variant<std::monostate, ErrorResponse, CreateResponse, Create2Response, StatResponse, GetDataResponse,
               PathsResponse>
      response;
};

bytes::Shared encode_multi(const std::vector<MultiResult>& results);

}  // namespace weir::zkwire
