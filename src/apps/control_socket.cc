#include "apps/control_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "runtime/clock.h"

namespace weir::apps {

namespace {

constexpr const char* file_name = "control";

// The path of a socket may have 107 bytes; a data folder's is often longer. Through a descriptor of the folder every
// path is short.
class Folder {
 public:
  explicit Folder(const std::string& path) : fd_(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}
  ~Folder() {
    if (fd_ >= 0) close(fd_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  bool there() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  sockaddr_un address() const {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    const auto path = fmt::format("/proc/self/fd/{}/{}", fd_, file_name);
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    return at;
  }

 private:
  int fd_;
};

void send_all(int fd, std::string_view text) {
  // A few hundred bytes into an empty socket buffer: it takes them at once, or the client is gone.
  [[maybe_unused]] const auto n = send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

ControlSocket::ControlSocket(const std::string& folder, Handler handler)
    : folder_(folder), handler_(std::move(handler)) {
  const Folder at(folder);
  auto fail = [&](const char* what) {
    const int number = errno;
    if (listener_ >= 0) close(listener_);
    throw std::system_error(number, std::generic_category(), fmt::format("{} {}/{}", what, folder, file_name));
  };
  if (!at.there()) fail("cannot open");
  unlinkat(at.fd(), file_name, 0);
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener_ < 0) fail("cannot make");
  const auto address = at.address();
  const auto mask = umask(0177);
  const int bound = bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(mask);
  if (bound != 0 || ::listen(listener_, static_cast<int>(clients_max)) != 0) fail("cannot listen on");
}

ControlSocket::~ControlSocket() {
  *alive_ = false;
  for (auto& client : clients_) close(client.fd);
  close(listener_);
  const Folder at(folder_);
  if (at.there()) unlinkat(at.fd(), file_name, 0);
}

std::vector<int> ControlSocket::descriptors() const {
  std::vector<int> out;
  if (clients_.size() < clients_max) out.push_back(listener_);
  for (const auto& client : clients_) out.push_back(client.fd);
  return out;
}

void ControlSocket::take() {
  accept_all();
  // A handler may answer at once, which takes its client out of the list.
  std::vector<int> fds;
  for (const auto& client : clients_) fds.push_back(client.fd);
  for (const int fd : fds) {
    const auto it = std::ranges::find(clients_, fd, &Client::fd);
    if (it != clients_.end()) read_from(*it);
  }
}

void ControlSocket::accept_all() {
  while (clients_.size() < clients_max) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    clients_.push_back({fd, ++last_number_, {}, false});
  }
}

void ControlSocket::read_from(Client& client) {
  const int fd = client.fd;
  auto drop = [this, fd] {
    close(fd);
    std::erase_if(clients_, [fd](const Client& c) { return c.fd == fd; });
  };
  char buffer[line_bytes_max];
  const auto n = read(fd, buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop();
  if (client.asked) return;  // what comes after the line is nobody's
  client.line.append(buffer, static_cast<std::size_t>(n));
  const auto end = client.line.find('\n');
  if (end == std::string::npos) {
    if (client.line.size() > line_bytes_max) drop();
    return;
  }
  client.asked = true;
  const auto line = client.line.substr(0, end);
  // The client may be gone, and its descriptor another's, when the answer comes.
  auto answer = [this, number = client.number, alive = alive_](const std::expected<std::string, std::string>& said) {
    if (!*alive) return;
    const auto it = std::ranges::find(clients_, number, &Client::number);
    if (it == clients_.end()) return;
    send_all(it->fd, said ? "ok " + *said : "error " + said.error());
    close(it->fd);
    clients_.erase(it);
  };
  handler_(line, std::move(answer));
}

std::expected<std::string, std::string> ask_supervisor(const std::string& folder, const std::string& line,
                                                       milliseconds timeout) {
  const Folder at(folder);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = at.address();
  if (!at.there() || fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int number = errno;
    if (fd >= 0) close(fd);
    return std::unexpected(fmt::format("{} by {}/{}: {}", unreachable_text, folder, file_name, std::strerror(number)));
  }
  send_all(fd, line + "\n");
  std::string answer;
  const auto end = runtime::system_clock().mono() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(end - runtime::system_clock().mono());
    pollfd polled{fd, POLLIN, 0};
    const int n = poll(&polled, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (n < 0 && errno == EINTR) continue;
    char buffer[4096];
    const auto got = n > 0 ? read(fd, buffer, sizeof buffer) : -1;
    if (got > 0) {
      answer.append(buffer, static_cast<std::size_t>(got));
      continue;
    }
    close(fd);
    if (n == 0)
      return std::unexpected(fmt::format("not done within {} s; --timeout waits longer", timeout.count() / 1000));
    break;
  }
  if (answer.starts_with("ok ")) return answer.substr(3);
  if (answer.starts_with("error ")) return std::unexpected(answer.substr(6));
  return std::unexpected(std::string(unanswered_text));
}

}  // namespace weir::apps
