// DeleteTopics, versions 0 to 6.
//   4 flexible   5 error messages   6 by topic id

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "broker/topics.h"
#include "protocol/messages/delete_topics.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

// On the control shard.
Task<std::vector<Result<>>> delete_here(Node& node, std::vector<std::string> topics, nanoseconds timeout) {
  if (!co_await is_controller(node)) {
    co_return std::vector<Result<>>(topics.size(),
                                    fail(ErrorCode::NOT_CONTROLLER, "this broker is not the controller"));
  }
  auto results = co_await node.admin->delete_topics(topics);
  const auto deadline = node.clock->mono() + timeout;
  for (std::size_t i = 0; i < topics.size(); ++i) {
    if (!results[i]) continue;
    do {  // a little at a time: a broker that stops is not to wait for it
      const auto left = std::max(deadline - node.clock->mono(), nanoseconds(0));
      results[i] = co_await node.admin->wait_deleted(topics[i], std::min<nanoseconds>(left, milliseconds(500)));
    } while (!results[i] && results[i].error().code == ErrorCode::REQUEST_TIMED_OUT && node.clock->mono() < deadline &&
             !node.images->stopped());
  }
  co_return results;
}

}  // namespace

Task<Response> delete_topics(Request& request) {
  protocol::DeleteTopicsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto version = request.version();
  const auto image = node.image();
  protocol::DeleteTopicsResponse out;
  Texts texts;
  auto refuse = [&](protocol::DeleteTopicsResponse::DeletableTopicResult& to, ErrorCode code, std::string message) {
    to.error_code = static_cast<std::int16_t>(code);
    to.error_message = texts.keep(std::move(message));
  };
  if (version < 6) {
    for (const auto name : in.topic_names) {
      auto& to = out.responses.emplace_back();
      to.name = name;
    }
  }
  for (const auto& topic : in.topics) {
    auto& to = out.responses.emplace_back();
    to.name = topic.name;
    to.topic_id = topic.topic_id;
    if (topic.name && !topic.topic_id.is_zero()) {
      refuse(to, ErrorCode::INVALID_REQUEST, "a topic is named by its name or by its id, not by both");
    } else if (!topic.name) {
      if (const auto found = image->topic(topic.topic_id)) {
        to.name = found->name;
      } else {
        refuse(to, ErrorCode::UNKNOWN_TOPIC_ID, "no topic has this id");
      }
    } else if (const auto found = image->topic(*topic.name)) {
      to.topic_id = found->id;
    }
  }
  if (!node.config()->config.delete_topic_enable) {
    for (auto& to : out.responses) {
      refuse(to, version < 3 ? ErrorCode::INVALID_REQUEST : ErrorCode::TOPIC_DELETION_DISABLED,
             "topics cannot be deleted: delete.topic.enable is false");
    }
    co_return request.answer(out);
  }
  std::vector<std::string> names;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < out.responses.size(); ++i) {
    if (out.responses[i].error_code != 0 || !out.responses[i].name) continue;
    names.emplace_back(*out.responses[i].name);
    places.push_back(i);
  }
  const auto timeout = milliseconds(std::max(in.timeout_ms, 0));
  auto work = [&] { return delete_here(node, names, timeout); };
  auto results = co_await runtime::call(*node.control, std::move(work));
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (results[i]) {
      // What this shard answers next no longer knows the topic.
      auto gone = [&names, i](const cluster::Image& now) { return !now.topic(names[i]) || now.deleting(names[i]); };
      co_await node.images->wait_until(std::move(gone), milliseconds(500));
      continue;
    }
    refuse(out.responses[places[i]], results[i].error().code, std::move(results[i].error().message));
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
