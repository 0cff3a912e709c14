#include "apps/api_caller.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "aws/client.h"
#include "net/tls.h"
#include "runtime/files.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::apps {

namespace json = boost::json;

struct ApiCaller::Impl {
  Impl(const DataDir& dir, aws::Client with) : files(dir), client(std::move(with)) {}
  ~Impl() { shards.stop(); }
  ControlFiles files;
  runtime::Shards shards{1};
  aws::Client client;
};

ApiCaller::ApiCaller(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ApiCaller::~ApiCaller() = default;
const ControlFiles& ApiCaller::files() const { return impl_->files; }

std::expected<std::unique_ptr<ApiCaller>, std::string> ApiCaller::open(const std::string& data_dir) {
  auto dir = DataDir::find(data_dir);
  if (!dir) return std::unexpected(dir.error());
  const ControlFiles files(*dir);
  auto place = read_api_place(files);
  if (!place) return std::unexpected(place.error());
  auto key = read_access_key(files);
  if (!key) return std::unexpected(key.error());
  aws::ClientOptions options;
  options.endpoint = place->local.empty() ? place->endpoint : place->local;
  options.signer = {key->id, key->secret, place->region, "kafka"};
  if (!place->authority.empty()) {
    net::TlsOptions tls;
    tls.truststore.location = place->authority;
    auto context = net::TlsContext::for_client(tls, runtime::system_files());
    if (!context) return std::unexpected(context.error().message);
    options.tls = std::move(*context);
  }
  auto client = aws::Client::make(std::move(options), runtime::system_sockets());
  if (!client) return std::unexpected(client.error().message);
  return std::unique_ptr<ApiCaller>(new ApiCaller(std::make_unique<Impl>(*dir, std::move(*client))));
}

std::expected<json::value, aws::Fault> ApiCaller::call(const std::string& method, const std::string& target,
                                                       const std::string& body) {
  std::optional<std::expected<aws::Answer, aws::Fault>> answer;
  runtime::block_on(impl_->shards[0], [&]() -> runtime::Task<void> {
    answer.emplace(co_await impl_->client.call(method, target, body));
  });
  if (!*answer) return std::unexpected(answer->error());
  json::error_code error;
  auto value = json::parse((*answer)->body, error);
  if (error || !value.is_object()) {
    return std::unexpected(aws::fault((*answer)->status, "InvalidAnswer", "the API's answer is no JSON object"));
  }
  return value;
}

}  // namespace weir::apps
