#include "zkwire/codes.h"

namespace weir::zkwire {

std::string_view name(Code code) {
  switch (code) {
    case Code::ok: return "Ok";
    case Code::system_error: return "SystemError";
    case Code::runtime_inconsistency: return "RuntimeInconsistency";
    case Code::data_inconsistency: return "DataInconsistency";
    case Code::connection_loss: return "ConnectionLoss";
    case Code::marshalling_error: return "MarshallingError";
    case Code::unimplemented: return "Unimplemented";
    case Code::operation_timeout: return "OperationTimeout";
    case Code::bad_arguments: return "BadArguments";
    case Code::no_node: return "NoNode";
    case Code::no_auth: return "NoAuth";
    case Code::bad_version: return "BadVersion";
    case Code::no_children_for_ephemerals: return "NoChildrenForEphemerals";
    case Code::node_exists: return "NodeExists";
    case Code::not_empty: return "NotEmpty";
    case Code::session_expired: return "SessionExpired";
    case Code::invalid_callback: return "InvalidCallback";
    case Code::invalid_acl: return "InvalidACL";
    case Code::auth_failed: return "AuthFailed";
    case Code::session_moved: return "SessionMoved";
    case Code::not_read_only: return "NotReadOnly";
    case Code::no_watcher: return "NoWatcher";
    case Code::request_timeout: return "RequestTimeout";
    case Code::reconfig_disabled: return "ReconfigDisabled";
    case Code::session_closed_require_sasl_auth: return "SessionClosedRequireSaslAuth";
    case Code::quota_exceeded: return "QuotaExceeded";
    case Code::throttled_op: return "ThrottledOp";
  }
  return "Unknown";
}

std::string_view short_name(OpCode op) {
  switch (op) {
    case OpCode::create:
    case OpCode::create2:
    case OpCode::create_container:
    case OpCode::create_ttl: return "CREA";
    case OpCode::remove:
    case OpCode::delete_container: return "DELE";
    case OpCode::exists: return "EXIS";
    case OpCode::get_data: return "GETD";
    case OpCode::set_data: return "SETD";
    case OpCode::get_acl: return "GETA";
    case OpCode::set_acl: return "SETA";
    case OpCode::get_children:
    case OpCode::get_children2: return "GETC";
    case OpCode::sync: return "SYNC";
    case OpCode::ping: return "PING";
    case OpCode::check: return "CHEC";
    case OpCode::multi: return "MULT";
    case OpCode::reconfig: return "RECO";
    case OpCode::check_watches: return "CHKW";
    case OpCode::remove_watches: return "REMW";
    case OpCode::multi_read: return "MLTR";
    case OpCode::set_watches: return "SETW";
    case OpCode::get_ephemerals: return "GETE";
    case OpCode::get_all_children_number: return "GETACN";
    case OpCode::set_watches2: return "STW2";
    case OpCode::add_watch: return "ADDW";
    case OpCode::who_am_i: return "HOMI";
    case OpCode::create_session: return "SESS";
    case OpCode::close_session: return "CLOS";
    case OpCode::notification:
    case OpCode::auth:
    case OpCode::sasl:
    case OpCode::error: return "NA";
  }
  return "NA";
}

}  // namespace weir::zkwire
