// How `weir restart`, `weir down --broker` and the control plane speak to the supervisor that runs elsewhere: a Unix
// socket in DIR/run, open to its owner alone. A client sends one line, "restart 2", "down 2", "start 2", "add 4" or
// "remove 4"; the answer is "ok TEXT" or "error TEXT" once it is done, then the end.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace weir::apps {

class ControlSocket {
 public:
  // Answers a request; may be called later than the handler returns, once, and also when the client is gone.
  using Answer = std::function<void(std::expected<std::string, std::string>)>;
  using Handler = std::function<void(const std::string& line, Answer answer)>;

  // Listens in `folder`; a socket that a killed supervisor left is replaced (the caller holds the folder's lock).
  // Throws std::system_error.
  ControlSocket(const std::string& folder, Handler handler);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  // For poll(): what to wait for (POLLIN). Then take() reads what there is; it never blocks.
  std::vector<int> descriptors() const;
  void take();

 private:
  static constexpr std::size_t clients_max = 16;
  static constexpr std::size_t line_bytes_max = 256;
  struct Client {
    int fd = -1;
    std::uint64_t number = 0;
    std::string line;
    bool asked = false;
  };
  void accept_all();
  void read_from(Client& client);

  std::string folder_;
  Handler handler_;
  int listener_ = -1;
  std::list<Client> clients_;
  std::uint64_t last_number_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Beginnings of errors: nobody was asked, nobody answered.
inline constexpr std::string_view unreachable_text = "cannot reach the supervisor";
inline constexpr std::string_view unanswered_text = "the supervisor ended before it answered";

// Sends `line` to the supervisor that listens in `folder` and waits for its answer. The errors are sentences.
std::expected<std::string, std::string> ask_supervisor(const std::string& folder, const std::string& line,
                                                       milliseconds timeout);

}  // namespace weir::apps
