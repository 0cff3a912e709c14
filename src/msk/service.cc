#include "msk/service.h"

#include <algorithm>
#include <boost/json.hpp>
#include <exception>
#include <utility>

#include "msk/api/api.h"

namespace weir::msk {
namespace {

constexpr milliseconds connect_max{3'000};
constexpr milliseconds answer_max{10'000};

aws::Router make_router() {
  std::vector<aws::Route> routes;
  for (const auto& entry : api::entries()) {
    routes.push_back({std::string(entry.method), std::string(entry.uri), std::string(entry.operation)});
  }
  return aws::Router(std::move(routes));
}

aws::Fault to_aws(const Fault& fault) {
  return aws::fault(status(fault.type), std::string(name(fault.type)), fault.message, fault.invalid_parameter);
}

}  // namespace

struct Service::Impl {
  Impl(runtime::Shard& on, runtime::Random& random, zkclient::Zk& zk, provision::Place& place, ServiceOptions with)
      : shard(on),
        options(std::move(with)),
        store(on, zk, options.root),
        driver(on, random, zk, place, options),
        context{on, random, zk, place, store, driver, options},
        router(make_router()),
        calls(on) {}

  struct Call {
    Call(runtime::Shard& on, aws::Request of) : request(std::move(of)), waiter(on) {}
    const aws::Request request;
    std::optional<Answer<api::Object>> answer;
    std::exception_ptr error;  // instead of an answer
    runtime::Waiter waiter;
  };
  Task<void> carry_out(std::shared_ptr<Call> call, api::Handler handler) {
    try {
      call->answer = co_await handler(context, call->request);
    } catch (...) {
      call->error = std::current_exception();
    }
    call->waiter.wake();
  }
  // Clients hear soon that there is no ZooKeeper, and may ask again. What was begun meanwhile goes on.
  Task<Answer<api::Object>> in_time(aws::Request request, api::Handler handler) {
    const Fault late{FaultType::unavailable, "The coordination service does not answer. Try again.", {}};
    if (context.zk.state() != zkclient::State::connected && !co_await context.zk.wait_connected(connect_max)) {
      co_return std::unexpected(late);
    }
    const auto call = std::make_shared<Call>(shard, std::move(request));
    calls.spawn(carry_out(call, handler));
    (void)co_await call->waiter.wait(answer_max);
    if (call->error) std::rethrow_exception(call->error);
    if (!call->answer) co_return std::unexpected(late);
    co_return std::move(*call->answer);
  }

  Task<aws::Reply> handle(aws::Request request) {
    const auto entries = api::entries();
    const auto found = std::ranges::find(entries, std::string_view(request.operation), &api::Entry::operation);
    if (found == entries.end())
      co_return std::unexpected(aws::fault(404, "NotFoundException", "There is no such operation."));
    if (found->handler == nullptr) {
      co_return std::unexpected(to_aws({FaultType::bad_request, std::string(found->not_yet), {}}));
    }
    auto answer = co_await in_time(std::move(request), found->handler);
    if (!answer) co_return std::unexpected(to_aws(answer.error()));
    if (found->status == 204) {
      aws::Response empty;
      empty.status = 204;
      empty.body.clear();
      co_return empty;
    }
    co_return aws::reply(*answer, found->status);
  }

  runtime::Shard& shard;
  const ServiceOptions options;
  Store store;
  Driver driver;
  api::Context context;
  const aws::Router router;
  runtime::Scope calls;
};

Service::Service(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk, provision::Place& place,
                 ServiceOptions options)
    : impl_(std::make_unique<Impl>(shard, random, zk, place, std::move(options))) {}
Service::~Service() = default;

Task<std::expected<void, std::string>> Service::start() {
  auto opened = co_await impl_->store.open();
  if (!opened) co_return std::unexpected(opened.error().text);
  impl_->driver.start();
  co_return std::expected<void, std::string>{};
}

void Service::set_active(bool active) { impl_->driver.set_active(active); }

Task<void> Service::stop() {
  co_await impl_->driver.stop();
  co_await impl_->calls.stop();
}

const aws::Router& Service::router() const { return impl_->router; }

Task<aws::Reply> Service::handle(aws::Request request) {
  auto work = [this, request = std::move(request)]() mutable -> Task<aws::Reply> {
    return impl_->handle(std::move(request));
  };
  return runtime::call(impl_->shard, std::move(work));
}

}  // namespace weir::msk
