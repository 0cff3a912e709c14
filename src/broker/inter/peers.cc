#include "broker/inter/peers.h"

#include <utility>

#include "base/log.h"

namespace weir::broker {

using client::Connection;
using runtime::Task;

// Neither a host that does not answer nor a process that takes a connection and then says nothing holds up a stop.
Task<Result<std::shared_ptr<Connection>>> Peers::open(std::shared_ptr<Peer> peer) {
  auto options = options_;
  options.socket.connect_given_up = peer->given_up;
  options.transport = [make = options_.transport, seen = std::weak_ptr(peer)](std::unique_ptr<runtime::Socket> socket,
                                                                              const runtime::Address& to) {
    auto made = make ? make(std::move(socket), to) : net::plain_transport(std::move(socket));
    if (const auto opened = seen.lock()) {
      opened->shaking_hands = made.get();
      if (*opened->given_up) made->close();
    }
    return made;
  };
  auto opened = co_await Connection::open(shard_, scope_, sockets_, peer->address, std::move(options));
  peer->shaking_hands = nullptr;
  co_return opened;
}

void Peers::give_up(Peer& peer, const std::string& why) {
  *peer.given_up = true;
  if (peer.shaking_hands != nullptr) peer.shaking_hands->close();
  if (peer.connection) peer.connection->close(why);
}

Task<Result<std::shared_ptr<Connection>>> Peers::to(BrokerId broker, runtime::Address address, std::int64_t life) {
  auto found = peers_.find(broker);
  if (found != peers_.end() && (found->second->life != life || found->second->address != address)) {
    drop(broker);
    found = peers_.end();
  }
  if (found == peers_.end()) {
    auto made = std::make_shared<Peer>();
    made->address = address;
    made->life = life;
    found = peers_.emplace(broker, std::move(made)).first;
  }
  const auto peer = found->second;
  if (peer->opening) {
    runtime::Waiter waiter(shard_);
    const auto at = peer->waiting.insert(peer->waiting.end(), &waiter);
    co_await waiter.wait();
    peer->waiting.erase(at);
    if (peer->connection && !peer->connection->closed()) co_return peer->connection;
    co_return fail(ErrorCode::NETWORK_EXCEPTION, fmt::format("broker {} is not reached", broker.value));
  }
  if (stopping_) co_return fail(ErrorCode::NETWORK_EXCEPTION, "this broker stops");
  if (peer->connection && !peer->connection->closed()) co_return peer->connection;
  peer->opening = true;
  ++opening_;
  auto opened = co_await open(peer);
  peer->opening = false;
  const auto current = peers_.find(broker);
  const bool wanted = !stopping_ && current != peers_.end() && current->second == peer;
  if (opened) {
    if (wanted) {
      peer->connection = *opened;
    } else {
      (*opened)->close("it is not needed any more");
    }
  }
  for (auto* waiter : peer->waiting) waiter->wake();
  if (--opening_ == 0 && stopper_ != nullptr) stopper_->wake();
  if (!opened) co_return std::unexpected(opened.error());
  if (!wanted) co_return fail(ErrorCode::NETWORK_EXCEPTION, "the broker is another one now");
  co_return std::move(*opened);
}

void Peers::drop(BrokerId broker) {
  const auto found = peers_.find(broker);
  if (found == peers_.end()) return;
  const auto peer = found->second;
  peers_.erase(found);
  give_up(*peer, "the broker is gone, or another one now");
}

Task<void> Peers::stop() {
  stopping_ = true;
  for (const auto& [id, peer] : peers_) give_up(*peer, "this broker stops");
  while (opening_ > 0) {
    runtime::Waiter waiter(shard_);
    stopper_ = &waiter;
    co_await waiter.wait();
    stopper_ = nullptr;
  }
  peers_.clear();
  co_await scope_.stop();
}

}  // namespace weir::broker
