#include "runtime/sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <system_error>

#include "runtime/asio_shard.h"
#include "runtime/pool.h"

namespace weir::runtime {

namespace asio = boost::asio;
using asio::ip::tcp;

std::string Address::text() const {
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

namespace {

std::unexpected<IoError> failed(int number, std::string_view what, const std::string& whom) {
  return std::unexpected(
      IoError{number, fmt::format("cannot {} {}: {}", what, whom, std::generic_category().message(number))});
}

constexpr std::size_t parts_per_call_max = 64;
constexpr std::uint64_t sendfile_bytes_max = 1024 * 1024;
constexpr std::size_t copy_bytes = 64 * 1024;
constexpr milliseconds given_up_look{100};
// Reads that needed no wait, and bytes sent without one, before other connections of the shard get their turn.
constexpr int eager_reads_max = 32;
constexpr std::size_t low_water_from = 16 * 1024;
constexpr std::size_t low_water_max = 256 * 1024;
constexpr std::uint64_t eager_bytes_max = 8 * 1024 * 1024;

AsioShard& asio_shard(Shard& shard) {
  auto* real = dynamic_cast<AsioShard*>(&shard);
  WEIR_CHECK(real != nullptr, "TCP needs a real shard");
  return *real;
}

struct Name {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }

  Address address() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (storage.ss_family == AF_INET) {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
      ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
      return {text.data(), ntohs(v4->sin_port)};
    }
    if (storage.ss_family == AF_INET6) {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
      if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {  // IPv4 on a listener for both: show it as people know it
        ::inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text.data(), text.size());
      } else {
        ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
      }
      return {text.data(), ntohs(v6->sin6_port)};
    }
    return {};
  }
};

Address local_of(int fd) {
  Name name;
  if (::getsockname(fd, name.get(), &name.length) != 0) return {};
  return name.address();
}

using Names = std::vector<Name>;

// Blocks when `host` is a name.
Io<Names> resolve(const Address& address, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto port = std::to_string(address.port);
  const int result = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (result != 0) {
    return std::unexpected(IoError{result == EAI_SYSTEM ? errno : EHOSTUNREACH,
                                   fmt::format("cannot resolve {}: {}", address.host, ::gai_strerror(result))});
  }
  Names names;
  for (auto* one = found; one != nullptr; one = one->ai_next) {
    Name name;
    std::memcpy(&name.storage, one->ai_addr, one->ai_addrlen);
    name.length = one->ai_addrlen;
    names.push_back(name);
  }
  ::freeaddrinfo(found);
  return names;
}

// Names are looked up here, never on a loop. It outlives everything, so that a slow name server does not hold up the
// end of the process.
Pool& resolver() {
  static auto* pool = make_pool(2).release();
  return *pool;
}

void set_option(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

void set_buffers(int fd, const SocketOptions& options) {
  if (options.send_buffer_bytes > 0) set_option(fd, SOL_SOCKET, SO_SNDBUF, options.send_buffer_bytes);
  if (options.receive_buffer_bytes > 0) set_option(fd, SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes);
}

struct ReadAwaiter {
  tcp::socket& socket;
  bytes::MutableBytes out;
  boost::system::error_code error{};
  std::size_t size = 0;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    socket.async_read_some(asio::buffer(out.data(), out.size()),
                           [this, handle](const boost::system::error_code& e, std::size_t n) {
                             error = e;
                             size = n;
                             handle.resume();
                           });
  }
  void await_resume() const noexcept {}
};

template <class Socket>
struct ReadyAwaiter {
  Socket& socket;
  asio::socket_base::wait_type what;
  boost::system::error_code error{};

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    socket.async_wait(what, [this, handle](const boost::system::error_code& e) {
      error = e;
      handle.resume();
    });
  }
  void await_resume() const noexcept {}
};

// Lets the rest of the shard run.
struct Yield {
  Shard& shard;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) const {
    shard.post([handle] { handle.resume(); });
  }
  void await_resume() const noexcept {}
};

class TcpSocket final : public Socket {
 public:
  // Takes over `fd`, which does not block.
  TcpSocket(Shard& shard, int fd, int family, const Name& peer)
      : shard_(shard), socket_(asio_shard(shard).context()), fd_(fd), local_(local_of(fd)), peer_(peer.address()) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    boost::system::error_code error;
    socket_.assign(family == AF_INET6 ? tcp::v6() : tcp::v4(), fd, error);
    if (error) {  // the reactor had no room for it
      ::close(fd);
      closed_ = true;
      return;
    }
    socket_.non_blocking(true, error);
  }
  ~TcpSocket() override {
    WEIR_CHECK(waiting_ == 0, "a socket outlives its reads and writes");
    close();
  }

  Task<Io<std::size_t>> read_some(bytes::MutableBytes out) override {
    if (closed_) co_return failed(ECANCELED, "read from", peer_.text());
    const auto expected = std::exchange(expected_, 0);
    if (more_likely_) {
      if (++eager_reads_ >= eager_reads_max) {
        eager_reads_ = 0;
        ++waiting_;
        co_await Yield{shard_};
        --waiting_;
        if (closed_) co_return failed(ECANCELED, "read from", peer_.text());
      }
      ssize_t n = 0;
      do {
        n = ::recv(socket_.native_handle(), out.data(), out.size(), MSG_DONTWAIT);
      } while (n < 0 && errno == EINTR);
      if (n >= 0) {
        more_likely_ = static_cast<std::size_t>(n) == out.size();
        co_return static_cast<std::size_t>(n);
      }
      if (errno != EAGAIN && errno != EWOULDBLOCK) co_return failed(errno, "read from", peer_.text());
    }
    eager_reads_ = 0;
    set_low_water(expected < low_water_from ? 1 : static_cast<int>(std::min(expected, low_water_max)));
    if (low_water_ > 1) {
      // A look at the socket before the wait would take what little is there.
      ReadyAwaiter<tcp::socket> ready{socket_, asio::socket_base::wait_read};
      ++waiting_;
      co_await ready;
      --waiting_;
      if (ready.error) co_return failed(closed_ ? ECANCELED : ready.error.value(), "read from", peer_.text());
      if (closed_) co_return failed(ECANCELED, "read from", peer_.text());
    }
    ReadAwaiter read{socket_, out};
    ++waiting_;
    co_await read;
    --waiting_;
    if (read.error == asio::error::eof) co_return std::size_t{0};
    if (read.error) co_return failed(closed_ ? ECANCELED : read.error.value(), "read from", peer_.text());
    more_likely_ = read.size == out.size();
    co_return read.size;
  }

  void expect(std::size_t size) override { expected_ = size; }
  std::size_t unread() const override {
    int size = 0;
    if (closed_ || ::ioctl(fd_, FIONREAD, &size) != 0) return 0;
    return static_cast<std::size_t>(std::max(size, 0));
  }

  Task<Io<>> write(std::vector<Chunk> chunks, std::uint64_t* progress) override {
    WEIR_CHECK(!std::exchange(writing_, true), "one write at a time");
    ++waiting_;
    auto result = co_await write_all(std::move(chunks), progress);
    --waiting_;
    writing_ = false;
    co_return result;
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

  const Address& local() const override { return local_; }
  const Address& peer() const override { return peer_; }

 private:
  void set_low_water(int size) {
    if (size == low_water_) return;
    set_option(socket_.native_handle(), SOL_SOCKET, SO_RCVLOWAT, size);
    low_water_ = size;
  }

  Task<Io<>> write_all(std::vector<Chunk> chunks, std::uint64_t* progress) {
    std::size_t at = 0;        // the chunk
    std::uint64_t offset = 0;  // within it
    std::uint64_t eager = 0;
    std::vector<std::byte> copy;  // for files that cannot be sent from
    while (at < chunks.size()) {
      if (closed_) co_return failed(ECANCELED, "write to", peer_.text());
      ssize_t n = 0;
      const auto& chunk = chunks[at];
      if (chunk.size() == offset) {
        offset = 0;
        ++at;
        continue;
      }
      if (!chunk.file) {
        n = send_memory(chunks, at, offset);
      } else {
        auto sent = send_file(chunk, offset, copy);
        if (!sent) co_return std::unexpected(sent.error());
        n = *sent;
      }
      if (n < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) co_return failed(errno, "write to", peer_.text());
        eager = 0;
        ReadyAwaiter<tcp::socket> ready{socket_, asio::socket_base::wait_write};
        co_await ready;
        if (ready.error) co_return failed(closed_ ? ECANCELED : ready.error.value(), "write to", peer_.text());
        continue;
      }
      auto left = static_cast<std::uint64_t>(n);
      if (progress != nullptr) *progress += left;
      eager += left;
      while (left > 0) {
        const auto step = std::min(left, chunks[at].size() - offset);
        left -= step;
        offset += step;
        if (offset == chunks[at].size()) {
          offset = 0;
          ++at;
        }
      }
      if (eager >= eager_bytes_max) {
        eager = 0;
        co_await Yield{shard_};
      }
    }
    co_return Io<>{};
  }

  // The memory chunks from `at` up to the next file, in one call.
  ssize_t send_memory(const std::vector<Chunk>& chunks, std::size_t at, std::uint64_t offset) {
    std::array<iovec, parts_per_call_max> parts;
    std::size_t count = 0;
    for (; at < chunks.size() && !chunks[at].file && count < parts.size(); ++at, offset = 0) {
      const auto view = chunks[at].memory.view().subspan(offset);
      if (!view.empty()) parts[count++] = {const_cast<std::byte*>(view.data()), view.size()};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const int more = at < chunks.size() ? MSG_MORE : 0;
    return ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
  }

  Io<ssize_t> send_file(const Chunk& chunk, std::uint64_t offset, std::vector<std::byte>& copy) {
    const auto position = chunk.position + offset;
    const auto left = chunk.length - offset;
    if (chunk.file->descriptor() >= 0) {
      auto from = static_cast<off_t>(position);
      const auto n =
          ::sendfile(socket_.native_handle(), chunk.file->descriptor(), &from, std::min(left, sendfile_bytes_max));
      if (n == 0) return std::unexpected(IoError{EIO, "a file ended before the range that was to be sent"});
      if (n > 0 || (errno != EINVAL && errno != ENOSYS)) return n;
    }
    copy.resize(std::min<std::uint64_t>(left, copy_bytes));
    const auto n = chunk.file->read_at(position, copy);
    if (!n) return std::unexpected(n.error());
    if (*n == 0) return std::unexpected(IoError{EIO, "a file ended before the range that was to be sent"});
    return ::send(socket_.native_handle(), copy.data(), *n, MSG_NOSIGNAL | MSG_DONTWAIT | (*n < left ? MSG_MORE : 0));
  }

  Shard& shard_;
  tcp::socket socket_;
  const int fd_;  // the socket's
  const Address local_;
  const Address peer_;
  bool closed_ = false;
  bool more_likely_ = true;
  std::size_t expected_ = 0;
  int low_water_ = 1;  // SO_RCVLOWAT, as the kernel has it
  bool writing_ = false;
  int waiting_ = 0;
  int eager_reads_ = 0;
};

class TcpListener final : public Listener {
 public:
  TcpListener(Shard& shard, int fd, int family) : acceptor_(asio_shard(shard).context()), local_(local_of(fd)) {
    boost::system::error_code error;
    acceptor_.assign(family == AF_INET6 ? tcp::v6() : tcp::v4(), fd, error);
    WEIR_CHECK(!error, "a new socket can be registered");
    acceptor_.non_blocking(true, error);
  }
  ~TcpListener() override { close(); }

  Task<Io<std::unique_ptr<Socket>>> accept(Shard& owner) override {
    for (;;) {
      if (closed_) co_return failed(ECANCELED, "accept on", local_.text());
      Name peer;
      const int fd = ::accept4(acceptor_.native_handle(), peer.get(), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        // What was accepted inherits the buffer sizes of the listener.
        std::unique_ptr<Socket> socket = std::make_unique<TcpSocket>(owner, fd, peer.storage.ss_family, peer);
        co_return socket;
      }
      // The peer went away while it waited: the next one may be there.
      if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) co_return failed(errno, "accept on", local_.text());
      ReadyAwaiter<tcp::acceptor> ready{acceptor_, asio::socket_base::wait_read};
      co_await ready;
      if (ready.error && !closed_) co_return failed(ready.error.value(), "accept on", local_.text());
    }
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
  }
  const Address& local() const override { return local_; }

 private:
  tcp::acceptor acceptor_;
  const Address local_;
  bool closed_ = false;
};

Io<int> bound(const Name& name, const Address& at, const SocketOptions& options) {
  const auto family = name.storage.ss_family;
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed(errno, "listen on", at.text());
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&name.storage);
    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ? 0 : 1);
  }
  set_buffers(fd, options);
  if (::bind(fd, name.get(), name.length) != 0 || ::listen(fd, options.backlog) != 0) {
    const int number = errno;
    ::close(fd);
    return failed(number, "listen on", at.text());
  }
  return fd;
}

class TcpSockets final : public Sockets {
 public:
  // sendfile(2) has no MSG_NOSIGNAL: a peer that went away must not end the process.
  TcpSockets() { ::signal(SIGPIPE, SIG_IGN); }

  Io<std::unique_ptr<Listener>> listen(Shard& shard, Address at, SocketOptions options) override {
    // No host: both families where there are both.
    std::vector<Address> tries{at};
    if (at.host.empty()) tries = {{"::", at.port}, {"0.0.0.0", at.port}};
    std::unexpected<IoError> last = failed(EADDRNOTAVAIL, "listen on", at.text());
    for (const auto& one : tries) {
      const auto names = resolve(one, AI_PASSIVE);
      if (!names) {
        last = std::unexpected(names.error());
        continue;
      }
      for (const auto& name : *names) {
        auto fd = bound(name, at, options);
        if (fd) return std::make_unique<TcpListener>(shard, *fd, name.storage.ss_family);
        last = std::unexpected(fd.error());
        if (fd.error().number == EADDRINUSE) return last;
      }
    }
    return last;
  }

  Task<Io<std::unique_ptr<Socket>>> connect(Shard& shard, Address to, SocketOptions options) override {
    WEIR_CHECK(shard.here(), "a connection is made on its shard");
    const auto deadline = shard.clock().mono() + options.connect_max;
    auto names = resolve(to, AI_NUMERICHOST);
    if (!names) {
      auto look_up = [to] { return resolve(to, 0); };
      names = co_await resolver().run(look_up);
    }
    if (!names) co_return std::unexpected(names.error());
    std::unexpected<IoError> last = failed(EHOSTUNREACH, "connect to", to.text());
    for (const auto& name : *names) {
      auto socket = co_await connect_one(shard, name, to, options, deadline);
      if (socket) co_return socket;
      last = std::unexpected(socket.error());
      if (shard.clock().mono() >= deadline || last.error().number == ECANCELED) break;
    }
    co_return last;
  }

 private:
  static Task<Io<std::unique_ptr<Socket>>> connect_one(Shard& shard, Name name, Address to, SocketOptions options,
                                                       nanoseconds deadline) {
    const auto family = name.storage.ss_family;
    const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) co_return failed(errno, "connect to", to.text());
    set_buffers(fd, options);
    if (::connect(fd, name.get(), name.length) != 0) {
      if (errno != EINPROGRESS) {
        const int number = errno;
        ::close(fd);
        co_return failed(number, "connect to", to.text());
      }
      tcp::socket pending(asio_shard(shard).context());
      boost::system::error_code error;
      pending.assign(family == AF_INET6 ? tcp::v6() : tcp::v4(), fd, error);
      if (error) {
        ::close(fd);
        co_return failed(error.value(), "connect to", to.text());
      }
      int ended = 0;
      const auto given_up = [&options] { return options.connect_given_up && *options.connect_given_up; };
      const auto look_at = [&] {
        const auto next = shard.clock().mono() + given_up_look;
        return options.connect_given_up ? std::min<nanoseconds>(deadline, next) : deadline;
      };
      std::uint64_t timer = 0;
      std::function<void()> look = [&] {
        ended = given_up() ? ECANCELED : shard.clock().mono() >= deadline ? ETIMEDOUT : 0;
        if (ended == 0) {
          timer = shard.schedule(look_at(), [&look] { look(); });
          return;
        }
        boost::system::error_code ignored;
        pending.cancel(ignored);
      };
      timer = shard.schedule(look_at(), [&look] { look(); });
      ReadyAwaiter<tcp::socket> ready{pending, asio::socket_base::wait_write};
      co_await ready;
      shard.cancel(timer);
      if (ended != 0) co_return failed(ended, "connect to", to.text());
      if (ready.error) co_return failed(ready.error.value(), "connect to", to.text());
      int number = 0;
      socklen_t length = sizeof number;
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length);
      if (number != 0) co_return failed(number, "connect to", to.text());
      pending.release(error);  // out of the reactor, still open
    }
    std::unique_ptr<Socket> socket = std::make_unique<TcpSocket>(shard, fd, family, name);
    co_return socket;
  }
};

}  // namespace

Sockets& system_sockets() {
  static TcpSockets sockets;
  return sockets;
}

}  // namespace weir::runtime
