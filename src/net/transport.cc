#include "net/transport.h"

#include <utility>

namespace weir::net {
namespace {

class Plain final : public Transport {
 public:
  explicit Plain(std::unique_ptr<runtime::Socket> socket) : socket_(std::move(socket)) {}

  runtime::Task<runtime::Io<>> open() override { co_return runtime::Io<>{}; }
  runtime::Task<runtime::Io<std::size_t>> read_some(bytes::MutableBytes out) override {
    return socket_->read_some(out);
  }
  void expect(std::size_t size) override { socket_->expect(size); }
  std::size_t unread() const override { return socket_->unread(); }
  runtime::Task<runtime::Io<>> write(std::vector<runtime::Chunk> chunks, std::uint64_t* progress) override {
    return socket_->write(std::move(chunks), progress);
  }
  void close() override { socket_->close(); }
  const runtime::Address& local() const override { return socket_->local(); }
  const runtime::Address& peer() const override { return socket_->peer(); }
  const std::string& peer_principal() const override { return nobody_; }

 private:
  const std::unique_ptr<runtime::Socket> socket_;
  const std::string nobody_;
};

}  // namespace

std::unique_ptr<Transport> plain_transport(std::unique_ptr<runtime::Socket> socket) {
  return std::make_unique<Plain>(std::move(socket));
}

}  // namespace weir::net
